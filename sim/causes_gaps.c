/* The gaps of a rank: where they are, whether the pipeline fills or drains there, and since when
 * the next forward has had no room. */
#include "sim/causes_priv.h"

/* ---- the trace's end ---- */

/* The first of the rank's actions that end with its last: compute alone, so ends never fall. */
static int32_t last_of_rank(const struct pp_trace *t, int32_t rank) {
    int32_t at = t->sched->rank_begin[rank + 1] - 1;
    while (at > t->sched->rank_begin[rank] && t->end_ns[at - 1] == t->end_ns[at]) {
        at--;
    }
    return at;
}

static bool has_compute_only(const struct pp_sched *s) {
    return !s->lowered && s->reload == NULL;
}

/* The action that ends last, of ties the lowest index. */
static int32_t last_action(const struct pp_trace *t) {
    const struct pp_sched *s = t->sched;
    int32_t last = 0;
    if (has_compute_only(s)) {
        last = last_of_rank(t, 0);
        for (int32_t rank = 1; rank < s->rank_count; rank++) {
            int32_t at = last_of_rank(t, rank);
            last = t->end_ns[at] > t->end_ns[last] ? at : last;
        }
        return last;
    }
    for (int32_t at = 1; at < s->action_count; at++) {
        last = t->end_ns[at] > t->end_ns[last] ? at : last;
    }
    return last;
}

struct pp_gaps pp_gaps_of(const struct pp_trace *trace, const struct pp_cause_inputs *in) {
    struct pp_gaps g = {.trace = trace, .in = in, .last = last_action(trace)};
    g.makespan_ns = trace->end_ns[g.last];
    g.timed = !has_compute_only(trace->sched);
    return g;
}

/* ---- flushes ---- */

/* The part of a rank's list that is one flush. */
struct flush {
    int32_t end;
    int32_t first; /* compute action */
    int32_t first_backward;
    int32_t last_f;
    bool is_first; /* of the rank */
};

static bool is_backward(const struct pp_action *a) {
    return a->type == PP_I || a->type == PP_B;
}

static int32_t flush_end(const struct pp_gaps *g, int32_t begin, int32_t end) {
    const struct pp_action *actions = g->trace->sched->actions;
    int32_t size = g->in->flush_microbatches;
    if (size <= 0 || begin == end) {
        return end;
    }
    int64_t next = ((int64_t)actions[begin].microbatch / size + 1) * size;
    int32_t at = begin;
    while (at < end && (!pp_action_is_compute(&actions[at]) || actions[at].microbatch < next)) {
        at++;
    }
    return at;
}

static struct flush flush_from(const struct pp_gaps *g, int32_t rank, int32_t begin) {
    const struct pp_sched *s = g->trace->sched;
    const struct pp_action *actions = s->actions;
    int32_t end = s->rank_begin[rank + 1];
    struct flush f = {.first = begin, .is_first = begin == s->rank_begin[rank]};
    while (f.first < end && !pp_action_is_compute(&actions[f.first])) {
        f.first++;
    }
    f.end = flush_end(g, f.first, end);
    f.first_backward = f.first;
    while (f.first_backward < f.end && !is_backward(&actions[f.first_backward])) {
        f.first_backward++;
    }
    f.last_f = f.end - 1;
    while (f.last_f > begin && actions[f.last_f].type != PP_F) {
        f.last_f--;
    }
    return f;
}

static enum pp_cause cause_before(const struct flush *f, int32_t at) {
    if (at == f->first && !f->is_first) {
        return PP_CAUSE_FLUSH;
    }
    if (at <= f->first_backward) {
        return PP_CAUSE_FILL;
    }
    return at > f->last_f ? PP_CAUSE_DRAIN : PP_CAUSE_DEPENDENCY;
}

/* ---- room for the next forward ---- */

static bool looks_at_memory(const struct pp_gaps *g) {
    return g->in->memory != NULL && g->in->limit != NULL &&
           (!g->trace->sched->lowered || g->in->memory_work != NULL);
}

static void begin_memory(struct pp_gaps *g, int32_t rank) {
    const struct pp_memory_model *m = g->in->memory;
    if (!looks_at_memory(g)) {
        return;
    }
    g->held_until = g->next_f = g->trace->sched->rank_begin[rank];
    g->held = m->base == NULL ? 0 : m->base[rank];
    g->walk = (struct pp_memory_walk){0}; /* begun when a gap needs it */
}

/* When the input of an F was there. */
static int64_t input_ns(const struct pp_gaps *g, int32_t at) {
    const struct pp_sched *s = g->trace->sched;
    int32_t producer = s->producer[at];
    int32_t stage = s->actions[at].stage;
    if (producer < 0) {
        return 0;
    }
    bool lags = !s->lowered && g->in->recv_f_ns != NULL &&
                s->stage_rank[s->actions[producer].stage] != s->stage_rank[stage];
    return g->trace->end_ns[producer] + (lags ? g->in->recv_f_ns[stage] : 0);
}

/* Memory changes with the compute actions only: what those before `at` leave. */
static int64_t held_before(struct pp_gaps *g, int32_t at) {
    for (; g->held_until < at; g->held_until++) {
        struct pp_memory_effect e =
            pp_memory_effect_of(g->in->memory, &g->trace->sched->actions[g->held_until]);
        g->held += e.adds - e.frees;
    }
    return g->held;
}

static void begin_walk(struct pp_gaps *g, int32_t rank) {
    const struct pp_memory_model *m = g->in->memory;
    g->walk = g->trace->sched->lowered
                  ? pp_memory_walk_begin_lowered(g->in->memory_work, g->trace, m, rank)
                  : pp_memory_walk_begin(g->trace, m, rank);
}

/* Goes on to the rank's memory at a time, all that changes then included. */
static void walk_to(struct pp_memory_walk *w, int64_t time_ns) {
    struct pp_memory_moment m;
    while (pp_memory_walk_next_ns(w) <= time_ns) {
        pp_memory_walk_step(w, &m);
    }
}

/* The first time in from .. to at which no more than `most` is held; `to` if there is none. */
static int64_t room_ns(struct pp_gaps *g, int32_t at, int64_t most, int64_t from, int64_t to) {
    if (!g->timed) {
        return held_before(g, at) <= most ? from : to;
    }
    if (g->walk.trace == NULL) {
        begin_walk(g, g->trace->sched->stage_rank[g->trace->sched->actions[at].stage]);
    }
    int64_t now = from;
    walk_to(&g->walk, now);
    while (g->walk.amount > most && now < to) {
        now = pp_min_i64(pp_memory_walk_next_ns(&g->walk), to);
        if (now < to) {
            walk_to(&g->walk, now);
        }
    }
    return now;
}

/* `at`: the action that ends the gap, which is before the flush's last F. */
static void find_blocked(struct pp_gaps *g, struct pp_gap *gap, int32_t at) {
    const struct pp_action *actions = g->trace->sched->actions;
    const struct pp_memory_model *m = g->in->memory;
    int32_t f = g->next_f > at ? g->next_f : at;
    while (actions[f].type != PP_F) {
        f++;
    }
    g->next_f = f;
    int64_t from = pp_max_i64(gap->begin_ns, input_ns(g, f));
    if (from >= gap->end_ns) {
        return;
    }
    struct pp_memory_effect e = pp_memory_effect_of(m, &actions[f]);
    int64_t most = g->in->limit[gap->rank] - e.adds - e.transient;
    gap->blocked_from_ns = from;
    gap->blocked_to_ns = room_ns(g, at, most, from, gap->end_ns);
}

/* ---- gaps ---- */

static struct pp_gap gap_before(struct pp_gaps *g, int32_t rank, const struct flush *f, int32_t at,
                                int64_t free_ns) {
    struct pp_gap gap = {.begin_ns = free_ns,
                         .end_ns = g->trace->start_ns[at],
                         .rank = rank,
                         .ended_by = at,
                         .compute = cause_before(f, at)};
    if (gap.compute == PP_CAUSE_DEPENDENCY && looks_at_memory(g)) {
        find_blocked(g, &gap, at);
    }
    return gap;
}

/* The first compute action from `at` on that starts after the rank is free; `end` if none does. */
static int32_t next_late(const struct pp_gaps *g, int32_t at, int32_t end, int64_t *free_ns) {
    const int64_t *start_ns = g->trace->start_ns;
    const int64_t *end_ns = g->trace->end_ns;
    const struct pp_action *actions = g->trace->sched->actions;
    int64_t now = *free_ns;
    if (!g->timed) {
        for (; at < end && start_ns[at] <= now; at++) {
            now = end_ns[at];
        }
    }
    for (; g->timed && at < end; at++) {
        if (pp_action_is_compute(&actions[at])) {
            if (start_ns[at] > now) {
                break;
            }
            now = end_ns[at];
        }
    }
    *free_ns = now;
    return at;
}

void pp_gaps_visit(struct pp_gaps *g, int32_t rank, pp_gap_visit *take, void *context) {
    const struct pp_sched *s = g->trace->sched;
    int32_t at = s->rank_begin[rank];
    int32_t end = s->rank_begin[rank + 1];
    int64_t free_ns = 0;
    begin_memory(g, rank);
    while (at < end) {
        struct flush f = flush_from(g, rank, at);
        for (at = next_late(g, at, f.end, &free_ns); at < f.end;
             at = next_late(g, at, f.end, &free_ns)) {
            struct pp_gap gap = gap_before(g, rank, &f, at, free_ns);
            take(context, g, &gap);
            free_ns = gap.end_ns;
        }
    }
    if (g->makespan_ns > free_ns) {
        struct pp_gap gap = {.begin_ns = free_ns,
                             .end_ns = g->makespan_ns,
                             .rank = rank,
                             .ended_by = g->last,
                             .compute = PP_CAUSE_DRAIN};
        take(context, g, &gap);
    }
}

static void add_length(void *context, struct pp_gaps *g, const struct pp_gap *gap) {
    (void)g;
    *(int64_t *)context += gap->end_ns - gap->begin_ns;
}

int64_t pp_gaps_idle_ns(const struct pp_gaps *gaps, int32_t rank) {
    struct pp_cause_inputs plain = {.flush_microbatches = 0};
    struct pp_gaps g = *gaps;
    int64_t idle_ns = 0;
    g.in = &plain;
    pp_gaps_visit(&g, rank, add_length, &idle_ns);
    return idle_ns;
}
