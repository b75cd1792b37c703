/* The program against times that are said to be of it, and without any. */
#include "exec/program_priv.h"

#include <stdlib.h>
#include <string.h>

/* ---- against times ---- */

/* Did everything that action `at` waits for end before it started? */
static bool waits_kept(const struct pp_program *p, const struct pp_trace *t, int32_t at) {
    const struct pp_bound *b = &p->bound[at];
    bool kept = t->start_ns[at] <= t->end_ns[at];
    for (int32_t i = 0; i < b->wait_count; i++) {
        kept = kept && t->end_ns[b->waits[i]] <= t->start_ns[at];
    }
    return kept;
}

bool pp_program_in_order(const struct pp_program *program, const struct pp_trace *trace,
                         int32_t *wrong_p) {
    const struct pp_sched *s = program->sched;
    PP_ASSERT(trace->sched->action_count == s->action_count);
    int32_t wrong = -1;
    for (int32_t rank = 0; rank < s->rank_count && wrong < 0; rank++) {
        int64_t before_ns = INT64_MIN; /* latest end of the cells before ... */
        int64_t latest_ns = INT64_MIN; /* ... and with this one */
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1] && wrong < 0; at++) {
            bool good = waits_kept(program, trace, at);
            if (pp_action_is_compute(&s->actions[at])) {
                before_ns = s->actions[at].pair == 2 ? before_ns : latest_ns;
                good = good && trace->start_ns[at] >= before_ns;
                latest_ns = pp_max_i64(latest_ns, trace->end_ns[at]);
            }
            wrong = good ? -1 : at;
        }
    }
    if (wrong_p != NULL) {
        *wrong_p = wrong;
    }
    return wrong < 0;
}

enum pp_status pp_program_check_expected(const struct pp_program *program,
                                         const struct pp_trace *expected, struct pp_err *err) {
    const struct pp_sched *s = program->sched;
    char text[PP_ACTION_TEXT_BYTES];
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        int64_t start_ns = expected->start_ns[at];
        int64_t end_ns = expected->end_ns[at];
        if (start_ns < 0 || end_ns > INT64_MAX / 2 ||
            (pp_action_is_compute(a) && end_ns <= start_ns)) {
            return pp_fail(err, PP_E_RANGE,
                           "expected times of %s are %lld to %lld ns, need 0 or later and at least "
                           "1 ns for compute",
                           pp_action_text(a, text), (long long)start_ns, (long long)end_ns);
        }
        bool is_recv = a->type == PP_RECV_F || a->type == PP_RECV_B;
        if (is_recv && end_ns < expected->start_ns[s->producer[at]]) {
            return pp_fail(err, PP_E_DEADLOCK,
                           "the expected times are not of this schedule: %s of rank %d is through "
                           "before its SEND begins",
                           pp_action_text(a, text), s->stage_rank[a->stage]);
        }
    }
    int32_t wrong;
    if (!pp_program_in_order(program, expected, &wrong)) {
        return pp_fail(err, PP_E_DEADLOCK,
                       "the expected times are not of this schedule: %s of rank %d starts at %lld "
                       "ns, before what it waits for has ended",
                       pp_action_text(&s->actions[wrong], text),
                       s->stage_rank[s->actions[wrong].stage],
                       (long long)expected->start_ns[wrong]);
    }
    return PP_OK;
}

/* ---- without times ---- */

/* Every rank goes on until an action lacks what it waits for, also one that is only posted: a
 * runtime may well take that for a reason to stop. What it posts is done once it is first in its
 * channel on both sides. */
struct paper {
    const struct pp_program *program;
    int32_t *next;            /* [rank_count] */
    int32_t *sent, *received; /* [channel_count] posted so far */
    int32_t *ready;           /* [rank_count] stack of ranks that may go on */
    bool *is_waiting;         /* [rank_count] not on it */
    int32_t ready_count;
};

static bool is_done(const struct paper *r, int32_t rank, int32_t at) {
    const struct pp_bound *b = &r->program->bound[at];
    if (at >= r->next[rank]) {
        return false;
    }
    return b->channel < 0 ||
           (b->sequence < r->sent[b->channel] && b->sequence < r->received[b->channel]);
}

/* @return what the action where `rank` stands waits for; -1 if nothing */
static int32_t find_wait(const struct paper *r, int32_t rank) {
    const struct pp_bound *b = &r->program->bound[r->next[rank]];
    for (int32_t i = 0; i < b->wait_count; i++) {
        if (!is_done(r, rank, b->waits[i])) {
            return b->waits[i];
        }
    }
    return -1;
}

static void wake(struct paper *r, int32_t rank) {
    if (r->is_waiting[rank]) {
        r->is_waiting[rank] = false;
        r->ready[r->ready_count++] = rank;
    }
}

static void post(struct paper *r, int32_t at) {
    const struct pp_bound *b = &r->program->bound[at];
    const struct pp_channel *c = &r->program->channels[b->channel];
    enum pp_action_type type = r->program->sched->actions[at].type;
    if (type == PP_REDUCE_GRAD) {
        /* both ways; the other side counts the same numbers on the way back */
        r->sent[b->channel]++;
        r->received[b->channel]++;
    } else if (type == PP_SEND_F || type == PP_SEND_B) {
        r->sent[b->channel]++;
        wake(r, c->to_rank);
    } else {
        r->received[b->channel]++;
        wake(r, c->from_rank);
    }
}

static void advance(struct paper *r, int32_t rank) {
    int32_t end = r->program->sched->rank_begin[rank + 1];
    for (; r->next[rank] < end; r->next[rank]++) {
        if (find_wait(r, rank) >= 0) {
            r->is_waiting[rank] = true;
            return;
        }
        if (r->program->bound[r->next[rank]].channel >= 0) {
            post(r, r->next[rank]);
        }
    }
}

static enum pp_status fail_stuck(const struct paper *r, int32_t rank, struct pp_err *err) {
    const struct pp_sched *s = r->program->sched;
    int32_t wait = find_wait(r, rank);
    char text[PP_ACTION_TEXT_BYTES];
    char other[PP_ACTION_TEXT_BYTES];
    return pp_fail(err, PP_E_DEADLOCK,
                   "ranks wait for one another for ever: rank %d stands at %s, which waits for %s",
                   rank, pp_action_text(&s->actions[r->next[rank]], text),
                   pp_action_text(&s->actions[wait], other));
}

static enum pp_status run(struct paper *r, struct pp_err *err) {
    const struct pp_sched *s = r->program->sched;
    for (int32_t rank = s->rank_count - 1; rank >= 0; rank--) {
        r->next[rank] = s->rank_begin[rank];
        r->ready[r->ready_count++] = rank;
    }
    while (r->ready_count > 0) {
        advance(r, r->ready[--r->ready_count]);
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        if (r->next[rank] < s->rank_begin[rank + 1]) {
            return fail_stuck(r, rank, err);
        }
    }
    for (int32_t channel = 0; channel < r->program->channel_count; channel++) {
        PP_ASSERT(r->sent[channel] == r->received[channel]); /* sealed: as many of both */
    }
    return PP_OK;
}

enum pp_status pp_program_run_on_paper(const struct pp_program *program, struct pp_err *err) {
    size_t ranks = (size_t)program->sched->rank_count;
    size_t channels = (size_t)program->channel_count;
    struct paper r = {.program = program};
    int32_t *block = calloc(3 * ranks + 2 * channels, sizeof *block);
    if (block == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory to check a program of %zu ranks", ranks);
    }
    r.next = block;
    r.ready = r.next + ranks;
    r.sent = r.ready + ranks;
    r.received = r.sent + channels;
    r.is_waiting = (bool *)(r.received + channels);
    enum pp_status status = run(&r, err);
    free(block);
    return status;
}
