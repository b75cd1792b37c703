/* The longest path, in visiting order: where nothing is shared, an end is known as soon as its
 * start is. A SEND's or RECV's gate waits for its message in start_ns. */
#include "sim/engine_priv.h"

struct sweep {
    struct pp_engine *e;
    int64_t *start_ns, *end_ns;
    bool waits_more; /* for more than the input and the compute action before */
};

static inline int64_t later(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t more_waits(const struct sweep *w, const struct pp_engine_step *step) {
    const struct pp_engine *e = w->e;
    const struct pp_engine_lane *lane = &e->lanes[step->rank];
    int64_t start = later(e->gathered_ns[step->cost / PP_COMPUTE_TYPE_COUNT], lane->batch_ns);
    if (e->s->reload != NULL && e->s->reload[step->at] >= 0) {
        start = later(start, w->end_ns[e->s->reload[step->at]]);
    }
    return e->runtime.reduce_blocks ? later(start, lane->reduce_ns) : start;
}

static inline int64_t ready_at(const struct sweep *w, const struct pp_engine_step *step) {
    int64_t start = w->end_ns[step->other];
    return w->waits_more ? later(start, more_waits(w, step)) : start;
}

static inline void post(const struct sweep *w, int32_t at, uint32_t count, int64_t gate_ns) {
    for (uint32_t i = 0; i < count; i++) {
        w->start_ns[at + (int32_t)i] = gate_ns;
    }
}

static inline void compute(const struct sweep *w, const struct pp_engine_step *step, int64_t start,
                           int64_t duration_ns) {
    int64_t end = start + duration_ns;
    w->start_ns[step->at] = start;
    w->end_ns[step->at] = end;
    w->e->lanes[step->rank].compute_ns = end;
    post(w, step->at + 1, step->count, end);
}

static void compute_pair(const struct sweep *w, const struct pp_engine_step *step) {
    const struct pp_engine *e = w->e;
    int64_t start =
        later(e->lanes[step->rank].compute_ns, later(ready_at(w, step), ready_at(w, step + 1)));
    int64_t duration_ns = e->costs->compute.pair_ns[e->s->actions[step->at].stage];
    compute(w, step, start, duration_ns);
    compute(w, step + 1, start, duration_ns);
}

static void batch(const struct sweep *w, int32_t rank, int64_t end) {
    struct pp_engine_lane *lane = &w->e->lanes[rank];
    lane->batch_ns = w->e->runtime.batched ? later(lane->batch_ns, end) : 0;
}

static inline void message(const struct sweep *w, const struct pp_engine_step *step) {
    struct pp_engine *e = w->e;
    const struct pp_engine_message *m = &e->messages[step->cost];
    int64_t *send_free = &e->free_ns[m->send_queue];
    int64_t *recv_free = &e->free_ns[m->recv_queue];
    int64_t start = later(later(w->start_ns[step->at], w->start_ns[step->other]),
                          later(*send_free, *recv_free));
    int64_t moved = start + m->alone_ns;
    w->start_ns[step->at] = w->start_ns[step->other] = start;
    w->end_ns[step->at] = *send_free = *recv_free = moved;
    w->end_ns[step->other] = moved + m->latency_ns;
    if (e->runtime.batched) {
        batch(w, m->from, moved);
        batch(w, m->to, moved + m->latency_ns);
    }
}

static void send(const struct sweep *w, const struct pp_engine_step *step) {
    struct pp_engine *e = w->e;
    const struct pp_engine_message *m = &e->messages[step->cost];
    int64_t start = later(w->start_ns[step->at], e->free_ns[m->send_queue]);
    if (step->other < e->s->action_count) {
        int32_t before = step->other; /* its place is free when it is released */
        start = later(start, later(w->start_ns[before], w->end_ns[e->entries[before].partner]));
    }
    w->start_ns[step->at] = start;
    w->end_ns[step->at] = e->free_ns[m->send_queue] = start + m->alone_ns;
    batch(w, m->from, start + m->alone_ns);
}

static void receive(const struct sweep *w, const struct pp_engine_step *step) {
    struct pp_engine *e = w->e;
    const struct pp_engine_message *m = &e->messages[step->cost];
    int64_t start =
        later(later(w->start_ns[step->at], e->free_ns[m->recv_queue]), w->start_ns[step->other]);
    int64_t moved = w->end_ns[step->other];
    w->start_ns[step->at] = start;
    e->free_ns[m->recv_queue] = later(start, moved);
    w->end_ns[step->at] = later(start, moved + m->latency_ns);
    batch(w, m->to, w->end_ns[step->at]);
}

/* UNSHARD, REDUCE_GRAD, RESHARD, OFFLOAD and RELOAD. */
static void local(const struct sweep *w, const struct pp_engine_step *step) {
    struct pp_engine *e = w->e;
    struct pp_engine_lane *lane = &e->lanes[step->rank];
    int64_t start = later(lane->compute_ns, lane->batch_ns);
    int64_t end = start;
    if (step->kind == PP_STEP_COLLECTIVE) {
        const struct pp_engine_collective *c = &e->collectives[step->cost];
        start = later(start, lane->collective_ns);
        end = lane->collective_ns = start + c->alone_ns + c->fixed_ns;
        if (step->cost % 2 == 0) {
            e->gathered_ns[step->cost / 2] = end;
        } else {
            lane->reduce_ns = end;
        }
    } else if (step->kind == PP_STEP_HOST) {
        const int64_t *offload_ns = e->costs->compute.offload_ns;
        start = later(start, lane->host_ns);
        end = lane->host_ns = start + (offload_ns == NULL ? 0 : offload_ns[step->cost]);
    }
    w->start_ns[step->at] = start;
    w->end_ns[step->at] = end;
}

static void reset(struct pp_engine *e) {
    for (int32_t rank = 0; rank < e->s->rank_count; rank++) {
        e->lanes[rank] = (struct pp_engine_lane){0};
    }
    for (int32_t stage = 0; stage < e->s->stage_count; stage++) {
        e->gathered_ns[stage] = 0;
    }
    for (int32_t queue = 0; queue < e->queue_count; queue++) {
        e->free_ns[queue] = 0;
    }
}

void pp_engine_sweep(struct pp_engine *e, int64_t *start_ns, int64_t *end_ns) {
    struct sweep w = {.e = e, .start_ns = start_ns, .end_ns = end_ns};
    w.waits_more = e->gathers || e->runtime.batched || e->s->reload != NULL ||
                   (e->runtime.reduce_blocks && e->has_reductions);
    reset(e);
    const struct pp_engine_step *last = e->steps + e->step_count;
    for (const struct pp_engine_step *step = e->steps; step < last; step++) {
        const struct pp_engine_lane *lane = &e->lanes[step->rank];
        switch ((enum pp_engine_step_kind)step->kind) {
        case PP_STEP_PAIR:
            if (e->ran_pairs) {
                compute_pair(&w, step++);
                break;
            }
            /* fall through */
        case PP_STEP_COMPUTE:
            compute(&w, step, later(lane->compute_ns, ready_at(&w, step)),
                    e->compute_ns[step->cost]);
            break;
        case PP_STEP_MESSAGE:
            message(&w, step);
            break;
        case PP_STEP_POST:
            post(&w, step->at, step->count, later(lane->compute_ns, lane->batch_ns));
            break;
        case PP_STEP_SEND:
            send(&w, step);
            break;
        case PP_STEP_RECV:
            receive(&w, step);
            break;
        case PP_STEP_COLLECTIVE:
        case PP_STEP_HOST:
        case PP_STEP_RESHARD:
            local(&w, step);
            break;
        }
    }
}
