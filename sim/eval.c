#include "sim/eval.h"

#include <stdlib.h>
#include <string.h>

enum { TYPE_COUNT = PP_B + 1 };

/* One action in visiting order, with what the sweep needs of it, in 12 bytes: the sweep reads them
 * from memory, everything else of it fits a cache. Indices point into the trace's end times; "none"
 * is the entry after the last, which is 0. */
struct step {
    int32_t at;
    int32_t producer;
    uint32_t is_first : 1; /* of its rank: no previous action, else that is at - 1 */
    uint32_t cost : 31;    /* index into the cost table */
};

/* Of a stage and type. */
struct cost {
    int64_t duration_ns;
    int64_t transfer_ns; /* of its input; 0 if that is made on the same rank */
};

/* When a rank is free for the next of its compute actions, and of its transfers to the host. */
struct lane {
    int64_t compute_ns, host_ns;
};

struct pp_eval {
    const struct pp_sched *s;
    struct step *steps; /* [action_count] */
    struct cost *costs; /* [stage_count][TYPE_COUNT], rewritten by every run */
    struct lane *lanes; /* [rank_count], likewise */
    bool has_pairs;
};

/* The walk that finds the order: each rank runs until it lacks an input, and is woken by the rank
 * that makes it. */
struct walk {
    const struct pp_sched *s;
    int32_t *next;     /* [rank_count] first action not visited */
    int32_t *wait_for; /* [rank_count] action a rank waits for; -1 if it is in `ready` or done */
    int32_t *ready;    /* [rank_count] stack of ranks that may advance */
    int32_t ready_count;
    struct step *steps;
    int32_t step_count;
};

/* The input of action `at` that is not there yet, or -1. */
static int32_t lacking(const struct walk *w, int32_t at) {
    int32_t producer = w->s->producer[at];
    if (producer < 0) {
        return -1;
    }
    int32_t rank = pp_sched_producer_rank(w->s, &w->s->actions[at]);
    return producer < w->next[rank] ? -1 : producer;
}

/* Wakes the rank that waits for action `at`, if there is one: only the neighbour stage uses it. */
static void wake(struct walk *w, int32_t at) {
    const struct pp_action *a = &w->s->actions[at];
    int32_t consumer = a->type == PP_F ? pp_sched_stage_after(w->s, a->stage)
                                       : pp_sched_stage_before(w->s, a->stage);
    if (a->type == PP_W || pp_action_is_offload(a) || consumer < 0) {
        return;
    }
    int32_t rank = w->s->stage_rank[consumer];
    if (w->wait_for[rank] == at) {
        w->wait_for[rank] = -1;
        w->ready[w->ready_count++] = rank;
    }
}

static void visit(struct walk *w, int32_t at, int32_t rank) {
    const struct pp_sched *s = w->s;
    const struct pp_action *a = &s->actions[at];
    int32_t none = s->action_count;
    int32_t type = pp_action_is_offload(a) ? 0 : a->type; /* of an offload no cost is looked up */
    w->steps[w->step_count++] =
        (struct step){.at = at,
                      .producer = s->producer[at] >= 0 ? s->producer[at] : none,
                      .is_first = at == s->rank_begin[rank],
                      .cost = (uint32_t)(a->stage * TYPE_COUNT + type) & INT32_MAX};
    w->next[rank] = at + 1;
    wake(w, at);
}

/* Runs a rank until it lacks an input or is done. A pair needs the inputs of both parts, as where
 * PyTorch places sends and receives, so that one order serves both ways of timing pairs. */
static void advance(struct walk *w, int32_t rank) {
    int32_t end = w->s->rank_begin[rank + 1];
    for (int32_t at = w->next[rank]; at < end;) {
        int32_t size = pp_sched_cell_size(w->s, at);
        int32_t wait_for = lacking(w, at);
        if (wait_for < 0 && size == 2) {
            wait_for = lacking(w, at + 1);
        }
        if (wait_for >= 0) {
            w->wait_for[rank] = wait_for;
            return;
        }
        for (int32_t i = 0; i < size; i++) {
            visit(w, at + i, rank);
        }
        at += size;
    }
}

static enum pp_status walk_all(struct walk *w, struct pp_deadlock *deadlock_p, struct pp_err *err) {
    for (int32_t rank = w->s->rank_count - 1; rank >= 0; rank--) {
        w->next[rank] = w->s->rank_begin[rank];
        w->wait_for[rank] = -1;
        w->ready[w->ready_count++] = rank;
    }
    while (w->ready_count > 0) {
        advance(w, w->ready[--w->ready_count]);
    }
    if (w->step_count < w->s->action_count) {
        return pp_check_order_cycle(w->s, w->next, deadlock_p, err);
    }
    return PP_OK;
}

static bool any_pair(const struct pp_sched *s) {
    for (int32_t at = 0; at < s->action_count; at++) {
        if (s->actions[at].pair != 0) {
            return true;
        }
    }
    return false;
}

enum pp_status pp_eval_create(const struct pp_sched *s, struct pp_eval **eval_p,
                              struct pp_deadlock *deadlock_p, struct pp_err *err) {
    PP_ASSERT(s->sealed);
    if (s->lowered) {
        return pp_fail(err, PP_E_ARG,
                       "a lowered schedule cannot be evaluated, need the compute-only one");
    }
    size_t rank_count = (size_t)s->rank_count;
    struct walk w = {.s = s};
    w.next = malloc(3 * rank_count * sizeof *w.next);
    struct pp_eval *e = calloc(1, sizeof *e);
    enum pp_status status = PP_E_NOMEM;
    if (e != NULL && w.next != NULL) {
        e->s = s;
        e->steps = malloc(((size_t)s->action_count + 1) * sizeof *e->steps);
        e->costs = malloc((size_t)s->stage_count * TYPE_COUNT * sizeof *e->costs);
        e->lanes = malloc(rank_count * sizeof *e->lanes);
        e->has_pairs = any_pair(s);
    }
    if (e == NULL || w.next == NULL || e->steps == NULL || e->costs == NULL || e->lanes == NULL) {
        pp_fail(err, PP_E_NOMEM, "out of memory to evaluate %d actions", s->action_count);
        goto cleanup;
    }
    w.wait_for = w.next + rank_count;
    w.ready = w.wait_for + rank_count;
    w.steps = e->steps;
    status = walk_all(&w, deadlock_p, err);
    if (status == PP_OK) {
        *eval_p = e;
        e = NULL;
    }
cleanup:
    pp_eval_destroy(e);
    free(w.next);
    return status;
}

void pp_eval_destroy(struct pp_eval *e) {
    if (e != NULL) {
        free(e->steps);
        free(e->costs);
        free(e->lanes);
        free(e);
    }
}

static void fill_costs(const struct pp_eval *e, const struct pp_costs *c) {
    const int64_t *durations[TYPE_COUNT] = {
        [PP_F] = c->f_ns, [PP_I] = c->i_ns, [PP_W] = c->w_ns, [PP_B] = c->b_ns};
    for (int32_t stage = 0; stage < e->s->stage_count; stage++) {
        for (enum pp_action_type type = PP_F; type <= PP_B; type++) {
            e->costs[stage * TYPE_COUNT + (int32_t)type] = (struct cost){
                .duration_ns = durations[type][stage],
                .transfer_ns =
                    type == PP_W ? 0 : pp_costs_transfer_ns(c, e->s, type == PP_F, stage)};
        }
    }
}

static int64_t later(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* When the rank of a step is free for it. */
static int64_t free_at(const struct step *step, int32_t none, const int64_t *end_ns) {
    return end_ns[step->is_first ? none : step->at - 1];
}

/* When the input of a step arrives. */
static int64_t input_at(const struct step *step, const struct cost *cost, const int64_t *end_ns) {
    return end_ns[step->producer] + cost->transfer_ns;
}

static void sweep(const struct pp_eval *e, int64_t *restrict start_ns, int64_t *restrict end_ns) {
    int32_t none = e->s->action_count;
    const struct step *last = e->steps + none;
    for (const struct step *step = e->steps; step < last; step++) {
        const struct cost *cost = &e->costs[step->cost];
        int64_t start = later(free_at(step, none, end_ns), input_at(step, cost, end_ns));
        start_ns[step->at] = start;
        end_ns[step->at] = start + cost->duration_ns;
    }
}

/* The same with pairs as one: both parts start when both could, and end together. */
static void sweep_pairs(const struct pp_eval *e, const int64_t *pair_ns, int64_t *start_ns,
                        int64_t *end_ns) {
    const struct pp_action *actions = e->s->actions;
    int32_t none = e->s->action_count;
    const struct step *last = e->steps + none;
    for (const struct step *step = e->steps; step < last; step++) {
        const struct cost *cost = &e->costs[step->cost];
        int64_t start = later(free_at(step, none, end_ns), input_at(step, cost, end_ns));
        int64_t duration = cost->duration_ns;
        const struct pp_action *a = &actions[step->at];
        if (a->pair == 1) {
            step++;
            start = later(start, input_at(step, &e->costs[step->cost], end_ns));
            duration = pair_ns[a->stage];
            start_ns[step->at - 1] = start;
            end_ns[step->at - 1] = start + duration;
        }
        start_ns[step->at] = start;
        end_ns[step->at] = start + duration;
    }
}

/* OFFLOAD or RELOAD: in list order on the rank's lane. @return its end */
static int64_t run_offload(struct lane *lane, int64_t duration, int64_t *start_ns) {
    *start_ns = later(lane->compute_ns, lane->host_ns);
    lane->host_ns = *start_ns + duration;
    return lane->host_ns;
}

static int64_t duration_of(const struct pp_eval *e, const struct pp_eval_inputs *in,
                           const struct step *step) {
    const struct pp_action *a = &e->s->actions[step->at];
    if (in->duration_ns != NULL) {
        return in->duration_ns[step->at];
    }
    if (pp_action_is_offload(a)) {
        return in->costs->offload_ns == NULL ? 0 : in->costs->offload_ns[a->stage];
    }
    bool as_one = a->pair == 1 && in->costs->pair_ns != NULL;
    return as_one ? in->costs->pair_ns[a->stage] : e->costs[step->cost].duration_ns;
}

/* When the step's input, its stage and what it had offloaded are there. */
static int64_t ready_at(const struct pp_eval *e, const struct pp_eval_inputs *in,
                        const struct step *step, const int64_t *end_ns) {
    int32_t reload = e->s->reload == NULL ? -1 : e->s->reload[step->at];
    int64_t transfer = e->costs[step->cost].transfer_ns;
    if (in->transfer_ns != NULL && step->producer < e->s->action_count &&
        e->s->stage_rank[e->s->actions[step->at].stage] !=
            e->s->stage_rank[e->s->actions[step->producer].stage]) {
        transfer = in->transfer_ns[step->at];
    }
    int64_t begin =
        in->stage_begin_ns == NULL ? 0 : in->stage_begin_ns[e->s->actions[step->at].stage];
    return later(later(end_ns[step->producer] + transfer, begin), reload < 0 ? 0 : end_ns[reload]);
}

/* Everything that may be asked for: transfers to the host, pairs as one, durations of each action,
 * ranks and stages that begin late. */
static void sweep_all(const struct pp_eval *e, const struct pp_eval_inputs *in, int64_t *start_ns,
                      int64_t *end_ns) {
    const struct pp_action *actions = e->s->actions;
    const struct step *last = e->steps + e->s->action_count;
    for (int32_t rank = 0; rank < e->s->rank_count; rank++) {
        int64_t begin = in->begin_ns == NULL ? 0 : in->begin_ns[rank];
        e->lanes[rank] = (struct lane){.compute_ns = begin, .host_ns = begin};
    }
    for (const struct step *step = e->steps; step < last; step++) {
        const struct pp_action *a = &actions[step->at];
        struct lane *lane = &e->lanes[e->s->stage_rank[a->stage]];
        int64_t duration = duration_of(e, in, step);
        if (pp_action_is_offload(a)) {
            end_ns[step->at] = run_offload(lane, duration, &start_ns[step->at]);
            continue;
        }
        int64_t start = later(lane->compute_ns, ready_at(e, in, step, end_ns));
        if (a->pair == 1 && in->costs->pair_ns != NULL) {
            step++;
            start = later(start, ready_at(e, in, step, end_ns));
            start_ns[step->at - 1] = start;
            end_ns[step->at - 1] = start + duration;
        }
        start_ns[step->at] = start;
        end_ns[step->at] = lane->compute_ns = start + duration;
    }
}

enum pp_status pp_eval_run(const struct pp_eval *e, const struct pp_costs *costs,
                           struct pp_trace *trace, struct pp_err *err) {
    PP_ASSERT(trace->sched == e->s);
    PP_TRY(pp_costs_check(costs, e->s, err));
    fill_costs(e, costs);
    trace->end_ns[e->s->action_count] = 0;
    if (e->s->reload != NULL) {
        const struct pp_eval_inputs in = {.costs = costs};
        sweep_all(e, &in, trace->start_ns, trace->end_ns);
    } else if (e->has_pairs && costs->pair_ns != NULL) {
        sweep_pairs(e, costs->pair_ns, trace->start_ns, trace->end_ns);
    } else {
        sweep(e, trace->start_ns, trace->end_ns);
    }
    return PP_OK;
}

static enum pp_status check_range(const int64_t *figures, int32_t count, int64_t most,
                                  const char *what, struct pp_err *err) {
    for (int32_t i = 0; figures != NULL && i < count; i++) {
        if (figures[i] < 0 || figures[i] > most) {
            return pp_fail(err, PP_E_RANGE, "%s %d is %lld ns, expected 0 to %lld", what, i,
                           (long long)figures[i], (long long)most);
        }
    }
    return PP_OK;
}

enum pp_status pp_eval_run_with(const struct pp_eval *e, const struct pp_eval_inputs *in,
                                struct pp_trace *trace, struct pp_err *err) {
    PP_ASSERT(trace->sched == e->s);
    int32_t n = e->s->action_count;
    PP_TRY(pp_costs_check(in->costs, e->s, err));
    PP_TRY(check_range(in->duration_ns, n, PP_COST_MAX_NS, "duration of action", err));
    PP_TRY(check_range(in->transfer_ns, n, PP_COST_MAX_NS, "transfer to action", err));
    PP_TRY(check_range(in->begin_ns, e->s->rank_count, INT64_MAX / 4, "begin of rank", err));
    PP_TRY(
        check_range(in->stage_begin_ns, e->s->stage_count, INT64_MAX / 4, "begin of stage", err));
    fill_costs(e, in->costs);
    trace->end_ns[n] = 0;
    sweep_all(e, in, trace->start_ns, trace->end_ns);
    return PP_OK;
}

/* ---- what held up a start ---- */

/* Whether the action's pair ran as one. */
static bool ran_as_one(const struct pp_trace *trace, int32_t first) {
    return trace->start_ns[first] == trace->start_ns[first + 1] &&
           trace->end_ns[first] == trace->end_ns[first + 1];
}

/* The action before `at` on its rank that is a transfer to the host, or is not; -1: none. */
static int32_t nearest_before(const struct pp_sched *s, int32_t begin, int32_t at, bool offload) {
    int32_t before = at - 1;
    while (before >= begin && pp_action_is_offload(&s->actions[before]) != offload) {
        before--;
    }
    return before >= begin ? before : -1;
}

struct pp_binding pp_eval_binding(const void *eval, const struct pp_trace *trace, int32_t at) {
    const struct pp_eval *e = eval;
    const struct pp_sched *s = e->s;
    int64_t start = trace->start_ns[at];
    int32_t first = at;
    int32_t last = at;
    if (s->actions[at].pair != 0) {
        int32_t head = s->actions[at].pair == 1 ? at : at - 1;
        if (ran_as_one(trace, head)) {
            first = head;
            last = head + 1;
        }
    }
    int32_t rank = s->stage_rank[s->actions[at].stage];
    bool is_offload = pp_action_is_offload(&s->actions[at]);
    int32_t before = nearest_before(s, s->rank_begin[rank], first, false);
    if (before >= 0 && trace->end_ns[before] == start) {
        return (struct pp_binding){.action = before};
    }
    if (is_offload) {
        before = nearest_before(s, s->rank_begin[rank], first, true);
        bool binds = before >= 0 && trace->end_ns[before] == start;
        return (struct pp_binding){.action = binds ? before : -1};
    }
    for (int32_t part = first; part <= last; part++) {
        int32_t reload = s->reload == NULL ? -1 : s->reload[part];
        if (reload >= 0 && trace->end_ns[reload] == start) {
            return (struct pp_binding){.action = reload};
        }
    }
    struct pp_binding latest = {.action = -1};
    for (int32_t part = first; part <= last; part++) {
        int32_t producer = s->producer[part];
        bool is_own = producer >= 0 && s->stage_rank[s->actions[producer].stage] == rank;
        if (producer >= 0 && (!is_own || trace->end_ns[producer] == start) &&
            (latest.action < 0 || trace->end_ns[producer] > trace->end_ns[latest.action])) {
            latest =
                (struct pp_binding){.action = producer, .lag_ns = start - trace->end_ns[producer]};
        }
    }
    return latest;
}
