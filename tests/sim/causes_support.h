/* Why ranks are idle, a second time: for every nanosecond the bindings are followed afresh, and
 * everything is looked up by going through all actions. Slow and obvious. */
#ifndef PP_TESTS_CAUSES_SUPPORT_H
#define PP_TESTS_CAUSES_SUPPORT_H

#include "sim/causes.h"
#include "tests/sim/random_sched.h"

enum { SLOW_MAX_NS = 1 << 13 };

struct slow {
    const struct pp_trace *t;
    const struct pp_cause_inputs *in;
    int32_t rank;
    int64_t makespan;
    int32_t last;
    int64_t busy_ns[64];
    int64_t most_busy_ns;
};

static inline struct slow slow_begin(const struct pp_trace *t, const struct pp_cause_inputs *in) {
    struct slow w = {.t = t, .in = in, .last = -1};
    for (int32_t at = 0; at < t->sched->action_count; at++) {
        if (t->end_ns[at] > w.makespan || w.last < 0) {
            w.makespan = t->end_ns[at];
            w.last = at;
        }
    }
    return w;
}

static inline bool is_own_compute(const struct slow *w, int32_t at) {
    const struct pp_sched *s = w->t->sched;
    return at >= s->rank_begin[w->rank] && at < s->rank_begin[w->rank + 1] &&
           pp_action_is_compute(&s->actions[at]);
}

static inline bool slow_busy(const struct slow *w, int64_t ns) {
    for (int32_t at = 0; at < w->t->sched->action_count; at++) {
        if (is_own_compute(w, at) && w->t->start_ns[at] <= ns && ns < w->t->end_ns[at]) {
            return true;
        }
    }
    return false;
}

/* The compute action that ends the gap at `ns`; -1: none, it is the last. */
static inline int32_t slow_ender(const struct slow *w, int64_t ns) {
    int32_t found = -1;
    for (int32_t at = 0; at < w->t->sched->action_count; at++) {
        if (is_own_compute(w, at) && w->t->start_ns[at] > ns &&
            (found < 0 || w->t->start_ns[at] < w->t->start_ns[found])) {
            found = at;
        }
    }
    return found;
}

static inline int64_t slow_gap_begin(const struct slow *w, int64_t ns) {
    int64_t begin = 0;
    for (int32_t at = 0; at < w->t->sched->action_count; at++) {
        if (is_own_compute(w, at) && w->t->start_ns[at] <= ns && w->t->end_ns[at] > begin) {
            begin = w->t->end_ns[at];
        }
    }
    return begin;
}

enum { IN_LAG = -1, IN_NOTHING = -2 };

/* What the chain was in at `ns`: an action, IN_LAG or IN_NOTHING. */
static inline int32_t slow_chain(const struct slow *w, int64_t ns) {
    int32_t at = slow_ender(w, ns);
    if (at < 0) {
        at = w->last;
        if (w->t->start_ns[at] <= ns) {
            return at;
        }
    }
    for (;;) {
        at = w->in->binding(w->in->context, w->t, at).action;
        if (at < 0) {
            return IN_NOTHING;
        }
        if (w->t->end_ns[at] <= ns) {
            return IN_LAG;
        }
        if (w->t->start_ns[at] <= ns) {
            return at;
        }
    }
}

/* Of a rank whose list has reached action `at`, and was in `flush` before. */
static inline int64_t slow_flush(const struct slow *w, int32_t at, int64_t flush) {
    const struct pp_action *a = &w->t->sched->actions[at];
    int32_t size = w->in->flush_microbatches;
    bool is_later = size > 0 && pp_action_is_compute(a) && a->microbatch / size > flush;
    return is_later ? a->microbatch / size : flush;
}

static inline int64_t slow_entry(const int64_t *array, int32_t index) {
    return array == NULL ? 0 : array[index];
}

/* What a rank of a lowered trace holds then: from the timeline, which has tests of its own. */
static inline int64_t slow_held_lowered(const struct slow *w, int64_t ns) {
    static struct pp_memory_point points[1 << 12];
    struct pp_memory_work *work = NULL;
    int64_t held = 0;
    cr_assert_lt(w->t->sched->action_count, 1 << 11);
    cr_assert_eq(pp_memory_work_create(w->t->sched, &work, NULL), PP_OK);
    int32_t n = pp_memory_timeline_lowered(work, w->t, w->in->memory, w->rank, points);
    for (int32_t i = 0; i < n && points[i].time_ns <= ns; i++) {
        held = points[i].amount;
    }
    pp_memory_work_destroy(work);
    return held;
}

/* What the rank holds after everything that happens at `ns`. */
static inline int64_t slow_held(const struct slow *w, int64_t ns) {
    const struct pp_sched *s = w->t->sched;
    const struct pp_memory_model *m = w->in->memory;
    if (s->lowered) {
        return slow_held_lowered(w, ns);
    }
    int64_t sum = slow_entry(m->base, w->rank);
    for (int32_t at = s->rank_begin[w->rank]; at < s->rank_begin[w->rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        bool started = w->t->start_ns[at] <= ns;
        bool ended = w->t->end_ns[at] <= ns;
        int64_t adds = slow_entry(m->f_adds, a->stage);
        sum += started && (a->type == PP_F || a->type == PP_RELOAD) ? adds : 0;
        sum -= ended && a->type == PP_OFFLOAD ? adds : 0;
        if (a->type == PP_I || a->type == PP_B) {
            sum -= ended ? slow_entry(m->i_frees, a->stage) : 0;
        }
        if (a->type == PP_W || a->type == PP_B) {
            sum -= ended ? slow_entry(m->w_frees, a->stage) : 0;
        }
    }
    return sum; /* no transients: they are for gaps */
}

/* Has there been no room for the next F since its input was there? */
static inline bool slow_blocked(const struct slow *w, int32_t ender, int64_t ns) {
    const struct pp_sched *s = w->t->sched;
    int32_t f = ender;
    if (w->in->memory == NULL || w->in->limit == NULL ||
        (s->lowered && w->in->memory_work == NULL)) {
        return false;
    }
    while (s->actions[f].type != PP_F) {
        f++;
    }
    int32_t stage = s->actions[f].stage;
    int64_t from = slow_gap_begin(w, ns);
    if (s->producer[f] >= 0) {
        int32_t from_stage = s->actions[s->producer[f]].stage;
        int64_t input = w->t->end_ns[s->producer[f]];
        if (s->stage_rank[from_stage] != s->stage_rank[stage] && !s->lowered) {
            input += slow_entry(w->in->recv_f_ns, stage);
        }
        from = input > from ? input : from;
    }
    int64_t needs =
        slow_entry(w->in->memory->f_adds, stage) + slow_entry(w->in->memory->f_transient, stage);
    for (int64_t then = from; then <= ns; then++) {
        if (slow_held(w, then) + needs <= w->in->limit[w->rank]) {
            return false;
        }
    }
    return ns >= from;
}

static inline int64_t slow_busy_ns(struct slow w, int32_t rank) {
    int64_t sum = 0;
    w.rank = rank;
    for (int64_t ns = 0; ns < w.makespan; ns++) {
        sum += slow_busy(&w, ns);
    }
    return sum;
}

static inline bool slow_has_compute_before(const struct slow *w, int32_t ender) {
    for (int32_t at = w->t->sched->rank_begin[w->rank]; at < ender; at++) {
        if (pp_action_is_compute(&w->t->sched->actions[at])) {
            return true;
        }
    }
    return false;
}

/* The cause by place: FILL, DRAIN, FLUSH, or DEPENDENCY where it is to be looked at. */
static inline enum pp_cause slow_place(const struct slow *w, int32_t ender) {
    const struct pp_sched *s = w->t->sched;
    if (ender < 0) {
        return PP_CAUSE_DRAIN;
    }
    bool backward_before = false; /* both in the flush of `ender` */
    bool forward_after = false;
    bool flush_ended = false;
    int64_t flush = 0;
    for (int32_t at = s->rank_begin[w->rank]; at <= ender; at++) {
        enum pp_action_type type = s->actions[at].type;
        bool is_later = slow_flush(w, at, flush) > flush;
        flush = slow_flush(w, at, flush);
        flush_ended = is_later && at == ender && slow_has_compute_before(w, ender);
        backward_before =
            !is_later && (backward_before || (at < ender && (type == PP_I || type == PP_B)));
    }
    int64_t now = flush;
    for (int32_t at = ender; at < s->rank_begin[w->rank + 1] && now == flush; at++) {
        now = slow_flush(w, at, flush);
        forward_after = forward_after || (now == flush && s->actions[at].type == PP_F);
    }
    if (flush_ended) {
        return PP_CAUSE_FLUSH;
    }
    return !backward_before ? PP_CAUSE_FILL : forward_after ? PP_CAUSE_DEPENDENCY : PP_CAUSE_DRAIN;
}

/* Causes of every nanosecond of a rank; PP_CAUSE_COUNT where it computes. */
static inline void slow_causes(struct slow *w, int32_t rank, uint8_t *causes) {
    const struct pp_sched *s = w->t->sched;
    int64_t less = w->most_busy_ns - w->busy_ns[rank]; /* than the busiest */
    w->rank = rank;
    cr_assert_lt(w->makespan, SLOW_MAX_NS);
    for (int64_t ns = 0; ns < w->makespan; ns++) {
        causes[ns] = PP_CAUSE_COUNT;
        if (slow_busy(w, ns)) {
            continue;
        }
        int32_t ender = slow_ender(w, ns);
        int32_t in = slow_chain(w, ns);
        enum pp_cause place = slow_place(w, ender);
        if (in < 0) {
            causes[ns] = in == IN_LAG ? PP_CAUSE_P2P : PP_CAUSE_FILL;
        } else if (!pp_action_is_compute(&s->actions[in])) {
            enum pp_action_type type = s->actions[in].type;
            causes[ns] = type == PP_OFFLOAD || type == PP_RELOAD ? PP_CAUSE_MEMORY
                         : type >= PP_UNSHARD                    ? PP_CAUSE_COLLECTIVE
                                                                 : PP_CAUSE_P2P;
        } else if (place != PP_CAUSE_DEPENDENCY) {
            causes[ns] = (uint8_t)place;
        } else {
            causes[ns] = slow_blocked(w, ender, ns) ? PP_CAUSE_MEMORY
                         : less > 0                 ? PP_CAUSE_IMBALANCE
                                                    : PP_CAUSE_DEPENDENCY;
            less -= causes[ns] == PP_CAUSE_IMBALANCE;
        }
    }
}

/* Paints pieces over a rank's nanoseconds. */
struct paint {
    uint8_t causes[SLOW_MAX_NS];
    int64_t now;
    struct pp_idle sums;
};

static inline void paint_piece(void *context, const struct pp_idle_piece *piece) {
    struct paint *p = context;
    cr_assert_geq(piece->start_ns, p->now);
    cr_assert_gt(piece->end_ns, piece->start_ns);
    for (int64_t ns = piece->start_ns; ns < piece->end_ns && ns < SLOW_MAX_NS; ns++) {
        p->causes[ns] = (uint8_t)piece->cause;
    }
    p->now = piece->end_ns;
    p->sums.ns[piece->cause] += piece->end_ns - piece->start_ns;
}

/* Compares sums and pieces of every rank, to the nanosecond, with the slow ones; adds the causes up
 * in `seen`. */
static inline void expect_slow_causes(const struct pp_trace *t, const struct pp_cause_inputs *in,
                                      struct pp_idle *seen, const char *what) {
    static uint8_t slow[SLOW_MAX_NS];
    static struct paint paint;
    struct pp_idle ranks[64];
    struct slow w = slow_begin(t, in);
    cr_assert_leq(t->sched->rank_count, 64);
    pp_idle_of(t, in, ranks);
    for (int32_t rank = 0; rank < t->sched->rank_count; rank++) {
        w.busy_ns[rank] = slow_busy_ns(w, rank);
        w.most_busy_ns = w.busy_ns[rank] > w.most_busy_ns ? w.busy_ns[rank] : w.most_busy_ns;
    }
    for (int32_t rank = 0; rank < t->sched->rank_count; rank++) {
        struct pp_idle sums = {0};
        slow_causes(&w, rank, slow);
        memset(&paint, PP_CAUSE_COUNT, sizeof paint.causes);
        paint.now = 0;
        paint.sums = (struct pp_idle){0};
        pp_idle_pieces(t, in, rank, paint_piece, &paint);
        for (int64_t ns = 0; ns < w.makespan; ns++) {
            cr_assert_eq(paint.causes[ns], slow[ns], "%s: rank %d at %d ns: %d, slow %d", what,
                         rank, (int)ns, paint.causes[ns], slow[ns]);
            if (slow[ns] != PP_CAUSE_COUNT) {
                sums.ns[slow[ns]]++;
            }
        }
        for (int c = 0; c < PP_CAUSE_COUNT; c++) {
            cr_assert_eq(ranks[rank].ns[c], sums.ns[c], "%s: rank %d: %s %lld, slow %lld", what,
                         rank, pp_cause_text((enum pp_cause)c), (long long)ranks[rank].ns[c],
                         (long long)sums.ns[c]);
            cr_assert_eq(paint.sums.ns[c], sums.ns[c]);
            seen->ns[c] += sums.ns[c];
        }
    }
}

#endif
