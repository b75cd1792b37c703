#include "exec/runtime.h"

#include <stdlib.h>

struct run {
    const struct pp_sched *s;
    const struct pp_compute_ops *ops;
    void *context;
    struct pp_trace *trace;
    int64_t begin_ns;
    int32_t *next;  /* [rank_count] action a rank is at */
    bool *started;  /* [rank_count] that action is in flight */
    bool *finished; /* [action_count] */
    int32_t left;   /* actions not finished */
    int32_t in_flight;
};

/* The action whose output action `at` lacks, or -1. */
static int32_t lacking(const struct run *r, int32_t at) {
    int32_t producer = r->s->producer[at];
    return producer >= 0 && !r->finished[producer] ? producer : -1;
}

/* A pair is entered when the inputs of both parts are there, as the evaluator has it. */
static int32_t lacking_to_enter(const struct run *r, int32_t at) {
    int32_t first = lacking(r, at);
    return first < 0 && r->s->actions[at].pair == 1 ? lacking(r, at + 1) : first;
}

/* Finishes or starts the rank's next action; *advanced_p turns true if it could. */
static enum pp_status poll_rank(struct run *r, int32_t rank, bool *advanced_p, struct pp_err *err) {
    int32_t at = r->next[rank];
    if (at == r->s->rank_begin[rank + 1]) {
        return PP_OK;
    }
    if (r->started[rank]) {
        if (r->ops->done(r->context, r->s, at)) {
            r->trace->end_ns[at] = r->ops->now_ns(r->context) - r->begin_ns;
            r->finished[at] = true;
            r->started[rank] = false;
            r->next[rank]++;
            r->left--;
            r->in_flight--;
            *advanced_p = true;
        }
        return PP_OK;
    }
    if (lacking_to_enter(r, at) >= 0) {
        return PP_OK;
    }
    r->trace->start_ns[at] = r->ops->now_ns(r->context) - r->begin_ns;
    PP_TRY(r->ops->start(r->context, r->s, at, err));
    r->started[rank] = true;
    r->in_flight++;
    *advanced_p = true;
    return PP_OK;
}

static enum pp_status report_deadlock(const struct run *r, struct pp_err *err) {
    for (int32_t rank = 0; rank < r->s->rank_count; rank++) {
        int32_t at = r->next[rank];
        if (at < r->s->rank_begin[rank + 1]) {
            char waiting[PP_ACTION_TEXT_BYTES];
            char needed[PP_ACTION_TEXT_BYTES];
            const struct pp_action *need = &r->s->actions[lacking_to_enter(r, at)];
            return pp_fail(err, PP_E_DEADLOCK,
                           "rank %d waits in %s for %s of rank %d, which cannot run", rank,
                           pp_action_text(&r->s->actions[at], waiting),
                           pp_action_text(need, needed), r->s->stage_rank[need->stage]);
        }
    }
    return pp_fail(err, PP_E_DEADLOCK, "no rank can advance");
}

static enum pp_status run_all(struct run *r, struct pp_err *err) {
    while (r->left > 0) {
        bool advanced = false;
        for (int32_t rank = 0; rank < r->s->rank_count; rank++) {
            PP_TRY(poll_rank(r, rank, &advanced, err));
        }
        if (!advanced) {
            if (r->in_flight == 0) {
                return report_deadlock(r, err);
            }
            r->ops->idle(r->context);
        }
    }
    return PP_OK;
}

enum pp_status pp_exec_run(const struct pp_sched *s, const struct pp_compute_ops *ops,
                           void *context, struct pp_trace *trace, struct pp_err *err) {
    PP_ASSERT(s->sealed && ops->api == PP_COMPUTE_API && trace->sched == s);
    if (s->reload != NULL) {
        return pp_fail(err, PP_E_ARG, "a schedule that offloads activations cannot be run yet");
    }
    struct run r = {
        .s = s, .ops = ops, .context = context, .trace = trace, .left = s->action_count};
    r.next = malloc((size_t)s->rank_count * sizeof *r.next);
    r.started = calloc((size_t)s->rank_count, sizeof *r.started);
    r.finished = calloc((size_t)s->action_count + 1, sizeof *r.finished);
    enum pp_status status;
    if (r.next == NULL || r.started == NULL || r.finished == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory to run %d actions", s->action_count);
    } else {
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            r.next[rank] = s->rank_begin[rank];
        }
        r.begin_ns = ops->now_ns(context);
        status = run_all(&r, err);
    }
    free(r.next);
    free(r.started);
    free(r.finished);
    return status;
}
