#include "sim/waits.h"

#include "sim/check.h"

#include <stdlib.h>

/* All are actions, -1: none. */
struct wait {
    int32_t gate;    /* compute before it on its rank */
    int32_t before;  /* on its lane, or the SEND before on its channel */
    int32_t partner; /* of a SEND its RECV and the other way round */
    int32_t unshard; /* of compute */
};

struct pp_waits {
    const struct pp_sched *s;
    struct wait *of; /* [action_count] */
};

static bool is_message(enum pp_action_type type) {
    return type >= PP_SEND_F && type <= PP_RECV_B;
}

static bool is_send(enum pp_action_type type) {
    return type == PP_SEND_F || type == PP_SEND_B;
}

/* ---- reading the lists ---- */

/* What a walk along a rank's list has passed. */
struct passed {
    int32_t *unshard; /* [stage_count] */
    int32_t compute, collective, host;
};

static void read_rank(struct pp_waits *w, int32_t rank, struct passed *p) {
    const struct pp_sched *s = w->s;
    p->compute = p->collective = p->host = -1;
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        int32_t *lane = NULL;
        w->of[at] = (struct wait){p->compute, -1, -1, -1};
        if (pp_action_is_compute(a)) {
            w->of[at].unshard = p->unshard[a->stage];
            p->compute = at;
        } else if (pp_action_is_offload(a)) {
            lane = &p->host;
        } else if (a->type == PP_UNSHARD || a->type == PP_REDUCE_GRAD) {
            lane = &p->collective;
        }
        if (a->type == PP_UNSHARD) {
            p->unshard[a->stage] = at;
        }
        if (lane != NULL) {
            w->of[at].before = *lane;
            *lane = at;
        }
    }
}

/* A SEND or RECV: its channel, and where it stands. */
struct end {
    int32_t from, to, at;
};

static int by_channel(const void *a, const void *b) {
    const struct end *x = a;
    const struct end *y = b;
    if (x->from != y->from) {
        return (x->from > y->from) - (x->from < y->from);
    }
    if (x->to != y->to) {
        return (x->to > y->to) - (x->to < y->to);
    }
    return (x->at > y->at) - (x->at < y->at);
}

static struct end end_of(const struct pp_sched *s, int32_t at) {
    const struct pp_action *a = &s->actions[at];
    bool up = a->type == PP_SEND_F || a->type == PP_RECV_B; /* the other one is the stage after */
    int32_t other = up ? pp_sched_stage_after(s, a->stage) : pp_sched_stage_before(s, a->stage);
    int32_t own_rank = s->stage_rank[a->stage];
    int32_t other_rank = s->stage_rank[other];
    return is_send(a->type) ? (struct end){own_rank, other_rank, at}
                            : (struct end){other_rank, own_rank, at};
}

/* A channel's k-th SEND meets its k-th RECV: of both there are as many, as sealing checks. */
static void match_messages(struct pp_waits *w, struct end *sends, struct end *recvs) {
    int32_t send_count = 0;
    int32_t recv_count = 0;
    for (int32_t at = 0; at < w->s->action_count; at++) {
        enum pp_action_type type = w->s->actions[at].type;
        if (is_send(type)) {
            sends[send_count++] = end_of(w->s, at);
        } else if (is_message(type)) {
            recvs[recv_count++] = end_of(w->s, at);
        }
    }
    PP_ASSERT(send_count == recv_count);
    qsort(sends, (size_t)send_count, sizeof *sends, by_channel);
    qsort(recvs, (size_t)recv_count, sizeof *recvs, by_channel);
    for (int32_t i = 0; i < send_count; i++) {
        w->of[sends[i].at].partner = recvs[i].at;
        w->of[recvs[i].at].partner = sends[i].at;
        if (i > 0 && sends[i].from == sends[i - 1].from && sends[i].to == sends[i - 1].to) {
            w->of[sends[i].at].before = sends[i - 1].at;
        }
    }
}

static enum pp_status read_lists(struct pp_waits *w, struct pp_err *err) {
    const struct pp_sched *s = w->s;
    size_t n = (size_t)s->action_count;
    struct passed p = {.unshard = malloc((size_t)s->stage_count * sizeof *p.unshard)};
    struct end *ends = malloc(2 * n * sizeof *ends);
    w->of = malloc(n * sizeof *w->of);
    bool failed = p.unshard == NULL || ends == NULL || w->of == NULL;
    for (int32_t stage = 0; !failed && stage < s->stage_count; stage++) {
        p.unshard[stage] = -1;
    }
    for (int32_t rank = 0; !failed && rank < s->rank_count; rank++) {
        read_rank(w, rank, &p);
    }
    if (!failed) {
        match_messages(w, ends, ends + n);
    }
    free(ends);
    free(p.unshard);
    return failed ? pp_fail(err, PP_E_NOMEM, "out of memory for the waits of %d actions",
                            s->action_count)
                  : PP_OK;
}

enum pp_status pp_waits_create(const struct pp_sched *lowered, struct pp_waits **waits_p,
                               struct pp_err *err) {
    static const struct pp_comms rendezvous = {.channels = PP_CHANNELS_DIRECTED};
    if (!lowered->lowered) {
        return pp_fail(err, PP_E_ARG, "waits are of lowered schedules only");
    }
    PP_TRY(pp_check_run(lowered, &rendezvous, NULL, err));
    struct pp_waits *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for waits");
    }
    w->s = lowered;
    enum pp_status status = read_lists(w, err);
    if (status != PP_OK) {
        pp_waits_destroy(w);
        return status;
    }
    *waits_p = w;
    return PP_OK;
}

void pp_waits_destroy(struct pp_waits *waits) {
    if (waits != NULL) {
        free(waits->of);
        free(waits);
    }
}

/* ---- in a trace ---- */

struct search {
    const struct pp_waits *w;
    const struct pp_trace *t;
    int32_t own;  /* compute before on the same rank: preferred of ties */
    int32_t best; /* -1: none yet */
};

static void consider(struct search *b, int32_t at) {
    if (at < 0) {
        return;
    }
    int64_t end_ns = b->t->end_ns[at];
    int64_t best_ns = b->best < 0 ? 0 : b->t->end_ns[b->best];
    bool preferred = at == b->own || (b->best != b->own && at < b->best);
    if (b->best < 0 || end_ns > best_ns || (end_ns == best_ns && preferred)) {
        b->best = at;
    }
}

static void consider_inputs(struct search *b, int32_t at) {
    consider(b, b->w->s->producer[at]);
    consider(b, b->w->of[at].unshard);
    if (b->w->s->reload != NULL) {
        consider(b, b->w->s->reload[at]);
    }
}

/* Whether both parts of the pair whose second part is `at` were in flight at once. */
static bool ran_together(const struct pp_trace *t, int32_t at) {
    return t->start_ns[at] < t->end_ns[at - 1];
}

static void consider_compute(struct search *b, int32_t at) {
    int pair = b->w->s->actions[at].pair;
    int32_t second = pair == 1 ? at + 1 : at;
    bool together = pair != 0 && ran_together(b->t, second);
    b->own = b->w->of[together ? second - 1 : at].gate;
    consider(b, b->own);
    consider_inputs(b, at);
    if (together) {
        consider_inputs(b, pair == 1 ? second : second - 1);
    }
}

struct pp_binding pp_waits_binding(const void *waits, const struct pp_trace *trace, int32_t at) {
    const struct pp_waits *w = waits;
    enum pp_action_type type = w->s->actions[at].type;
    struct search b = {.w = w, .t = trace, .own = w->of[at].gate, .best = -1};
    if (type <= PP_B) {
        consider_compute(&b, at);
    } else if (is_message(type)) {
        int32_t send = is_send(type) ? at : w->of[at].partner;
        consider(&b, w->of[at].gate);
        consider(&b, w->of[w->of[at].partner].gate);
        consider(&b, w->of[send].before);
    } else {
        consider(&b, w->of[at].gate);
        consider(&b, w->of[at].before);
    }
    struct pp_binding binding = {.action = b.best};
    if (b.best >= 0) {
        binding.lag_ns = pp_max_i64(0, trace->start_ns[at] - trace->end_ns[b.best]);
    }
    return binding;
}

int64_t pp_waits_queue_ns(const struct pp_waits *waits, const struct pp_trace *trace, int32_t at) {
    int32_t gate = waits->of[at].gate;
    return trace->queue_ns != NULL ? trace->queue_ns[at] : gate >= 0 ? trace->end_ns[gate] : 0;
}
