#include "sim/eval.h"

#include "sim/eval_sweep.h"

#include <stdlib.h>

/* How far ahead of a run its rank's next times are fetched: it comes back only after many others,
 * and a line that is not there yet holds up the sweep. */
enum { FETCH_AHEAD = 32 };

struct pp_eval {
    const struct pp_sched *s;
    struct pp_sweep sweep;
    /* Rewritten by every run; one block. */
    int64_t *duration_ns; /* [PP_SWEEP_TYPE_COUNT][stage_count] */
    int64_t *transfer_ns; /* likewise, of the input; 0 if that is made on the same rank */
    int64_t *free_ns;     /* [rank_count] when the rank is free for its next compute action */
    int64_t *host_ns;     /* [rank_count] and for its next transfer to the host */
    int64_t *slots;       /* [slot_count]; the first stays 0 */
};

enum pp_status pp_eval_create(const struct pp_sched *s, struct pp_eval **eval_p,
                              struct pp_deadlock *deadlock_p, struct pp_err *err) {
    PP_ASSERT(s->sealed);
    if (s->lowered) {
        return pp_fail(err, PP_E_ARG,
                       "a lowered schedule cannot be evaluated, need the compute-only one");
    }
    struct pp_sweep sweep;
    PP_TRY(pp_sweep_init(&sweep, s, deadlock_p, err));
    struct pp_eval *e = calloc(1, sizeof *e);
    if (e == NULL) {
        pp_sweep_deinit(&sweep);
        return pp_fail(err, PP_E_NOMEM, "out of memory to evaluate %d actions", s->action_count);
    }
    e->s = s;
    e->sweep = sweep;
    size_t keys = (size_t)s->stage_count * PP_SWEEP_TYPE_COUNT;
    size_t ranks = (size_t)s->rank_count;
    int64_t *block = calloc(2 * keys + 2 * ranks + (size_t)sweep.slot_count, sizeof *block);
    if (block == NULL) {
        pp_eval_destroy(e);
        return pp_fail(err, PP_E_NOMEM, "out of memory to evaluate %d actions", s->action_count);
    }
    e->duration_ns = block;
    e->transfer_ns = e->duration_ns + keys;
    e->free_ns = e->transfer_ns + keys;
    e->host_ns = e->free_ns + ranks;
    e->slots = e->host_ns + ranks;
    *eval_p = e;
    return PP_OK;
}

void pp_eval_destroy(struct pp_eval *e) {
    if (e != NULL) {
        pp_sweep_deinit(&e->sweep);
        free(e->duration_ns);
        free(e);
    }
}

static void fill_costs(const struct pp_eval *e, const struct pp_costs *c) {
    const int64_t *durations[PP_SWEEP_TYPE_COUNT] = {
        [PP_F] = c->f_ns, [PP_I] = c->i_ns, [PP_W] = c->w_ns, [PP_B] = c->b_ns};
    for (enum pp_action_type type = PP_F; type <= PP_B; type++) {
        for (int32_t stage = 0; stage < e->s->stage_count; stage++) {
            int32_t key = pp_sweep_key_of(e->s, (int32_t)type, stage);
            e->duration_ns[key] = durations[type][stage];
            e->transfer_ns[key] =
                type == PP_W ? 0 : pp_costs_transfer_ns(c, e->s, type == PP_F, stage);
        }
    }
}

/* All ranks free at 0, or from when they begin. */
static void free_ranks(const struct pp_eval *e, const int64_t *begin_ns) {
    for (int32_t rank = 0; rank < e->s->rank_count; rank++) {
        e->free_ns[rank] = e->host_ns[rank] = begin_ns == NULL ? 0 : begin_ns[rank];
    }
}

static int64_t later(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* When the input of an action arrives. */
static int64_t input_at(const struct pp_eval *e, uint64_t word) {
    return e->slots[pp_sweep_in(word)] + e->transfer_ns[pp_sweep_key(word)];
}

static void fetch(const struct pp_sweep_run *run, const int64_t *start_ns, const int64_t *end_ns) {
    __builtin_prefetch(&start_ns[run->at + FETCH_AHEAD], 1);
    __builtin_prefetch(&end_ns[run->at + FETCH_AHEAD], 1);
}

static void sweep(const struct pp_eval *e, int64_t *restrict start_ns, int64_t *restrict end_ns) {
    const int64_t *duration_ns = e->duration_ns;
    const int64_t *transfer_ns = e->transfer_ns;
    int64_t *slots = e->slots;
    int64_t *free_ns = e->free_ns;
    const uint64_t *last = e->sweep.words + e->sweep.word_count;
    for (const uint64_t *head = e->sweep.words, *next; head < last; head = next) {
        struct pp_sweep_run run = pp_sweep_run_of(*head);
        const uint64_t *word = head + 1;
        next = word + run.count;
        fetch(&run, start_ns, end_ns);
        int64_t free_at = free_ns[run.rank];
        int32_t at = run.at;
        do {
            size_t key = pp_sweep_key(*word);
            int64_t start = later(free_at, slots[pp_sweep_in(*word)] + transfer_ns[key]);
            free_at = start + duration_ns[key];
            start_ns[at] = start;
            end_ns[at++] = slots[pp_sweep_out(*word)] = free_at;
        } while (++word < next);
        free_ns[run.rank] = free_at;
    }
}

/* The same with pairs as one: both parts start when both could, and end together. */
static void sweep_pairs(const struct pp_eval *e, const int64_t *pair_ns, int64_t *start_ns,
                        int64_t *end_ns) {
    const struct pp_action *actions = e->s->actions;
    const uint64_t *last = e->sweep.words + e->sweep.word_count;
    for (const uint64_t *word = e->sweep.words; word < last;) {
        struct pp_sweep_run run = pp_sweep_run_of(*word++);
        const uint64_t *until = word + run.count;
        int64_t free_at = e->free_ns[run.rank];
        for (int32_t at = run.at; word < until; word++, at++) {
            int64_t start = later(free_at, input_at(e, *word));
            free_at = start + e->duration_ns[pp_sweep_key(*word)];
            if (actions[at].pair == 1) {
                start = later(start, input_at(e, word[1]));
                free_at = start + pair_ns[actions[at].stage];
                e->slots[pp_sweep_out(*word++)] = free_at;
                start_ns[at] = start;
                end_ns[at++] = free_at;
            }
            start_ns[at] = start;
            end_ns[at] = e->slots[pp_sweep_out(*word)] = free_at;
        }
        e->free_ns[run.rank] = free_at;
    }
}

/* OFFLOAD or RELOAD: in list order on the rank's lane. @return its end */
static int64_t run_offload(const struct pp_eval *e, int32_t rank, int64_t duration,
                           int64_t *start_ns) {
    *start_ns = later(e->free_ns[rank], e->host_ns[rank]);
    e->host_ns[rank] = *start_ns + duration;
    return e->host_ns[rank];
}

/* One of the actions that sweep_all runs. */
struct step {
    int32_t at;
    uint64_t word;
};

static int64_t duration_of(const struct pp_eval *e, const struct pp_eval_inputs *in,
                           struct step step) {
    const struct pp_action *a = &e->s->actions[step.at];
    if (in->duration_ns != NULL) {
        return in->duration_ns[step.at];
    }
    if (pp_action_is_offload(a)) {
        return in->costs->offload_ns == NULL ? 0 : in->costs->offload_ns[a->stage];
    }
    bool as_one = a->pair == 1 && in->costs->pair_ns != NULL;
    return as_one ? in->costs->pair_ns[a->stage] : e->duration_ns[pp_sweep_key(step.word)];
}

/* When the step's input, its stage and what it had offloaded are there. */
static int64_t ready_at(const struct pp_eval *e, const struct pp_eval_inputs *in, struct step step,
                        const int64_t *end_ns) {
    const struct pp_sched *s = e->s;
    int32_t reload = s->reload == NULL ? -1 : s->reload[step.at];
    int32_t producer = s->producer[step.at];
    int64_t arrival = input_at(e, step.word);
    if (in->transfer_ns != NULL && producer >= 0 &&
        s->stage_rank[s->actions[step.at].stage] != s->stage_rank[s->actions[producer].stage]) {
        arrival = end_ns[producer] + in->transfer_ns[step.at];
    }
    int64_t begin = in->stage_begin_ns == NULL ? 0 : in->stage_begin_ns[s->actions[step.at].stage];
    return later(later(arrival, begin), reload < 0 ? 0 : end_ns[reload]);
}

/* Everything that may be asked for: transfers to the host, pairs as one, durations of each action,
 * ranks and stages that begin late. */
static void sweep_all(const struct pp_eval *e, const struct pp_eval_inputs *in, int64_t *start_ns,
                      int64_t *end_ns) {
    const struct pp_action *actions = e->s->actions;
    const uint64_t *last = e->sweep.words + e->sweep.word_count;
    for (const uint64_t *word = e->sweep.words; word < last;) {
        struct pp_sweep_run run = pp_sweep_run_of(*word++);
        for (int32_t at = run.at; at < run.at + run.count; at++, word++) {
            struct step step = {.at = at, .word = *word};
            int64_t duration = duration_of(e, in, step);
            if (pp_action_is_offload(&actions[at])) {
                end_ns[at] = run_offload(e, run.rank, duration, &start_ns[at]);
                continue;
            }
            int64_t start = later(e->free_ns[run.rank], ready_at(e, in, step, end_ns));
            int64_t end = start + duration;
            if (actions[at].pair == 1 && in->costs->pair_ns != NULL) {
                start = later(start, ready_at(e, in, (struct step){at + 1, word[1]}, end_ns));
                end = start + duration;
                e->slots[pp_sweep_out(*word++)] = end;
                start_ns[at] = start;
                end_ns[at++] = end;
            }
            start_ns[at] = start;
            end_ns[at] = e->free_ns[run.rank] = e->slots[pp_sweep_out(*word)] = end;
        }
    }
}

/* By the sweep that does no more than is asked for. */
static void sweep_least(const struct pp_eval *e, const struct pp_eval_inputs *in,
                        struct pp_trace *trace) {
    fill_costs(e, in->costs);
    free_ranks(e, in->begin_ns);
    trace->end_ns[e->s->action_count] = 0;
    if (e->s->reload != NULL || in->duration_ns != NULL || in->transfer_ns != NULL ||
        in->stage_begin_ns != NULL) {
        sweep_all(e, in, trace->start_ns, trace->end_ns);
    } else if (e->sweep.has_pairs && in->costs->pair_ns != NULL) {
        sweep_pairs(e, in->costs->pair_ns, trace->start_ns, trace->end_ns);
    } else {
        sweep(e, trace->start_ns, trace->end_ns);
    }
}

enum pp_status pp_eval_run(const struct pp_eval *e, const struct pp_costs *costs,
                           struct pp_trace *trace, struct pp_err *err) {
    const struct pp_eval_inputs in = {.costs = costs};
    PP_ASSERT(trace->sched == e->s);
    PP_TRY(pp_costs_check(costs, e->s, err));
    sweep_least(e, &in, trace);
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
    sweep_least(e, in, trace);
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

/* Takes `at` if it and its lag end at `start`, and comes first of those that do. */
static void consider(struct pp_binding *found, const struct pp_trace *trace, int64_t start,
                     int32_t at, int64_t lag_ns) {
    if (at >= 0 && trace->end_ns[at] + lag_ns == start &&
        (found->action < 0 || at < found->action)) {
        *found = (struct pp_binding){.action = at, .lag_ns = lag_ns};
    }
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
    struct pp_binding found = {.action = -1};
    for (int32_t part = first; part <= last; part++) {
        const struct pp_action *a = &s->actions[part];
        int32_t reload = s->reload == NULL ? -1 : s->reload[part];
        consider(&found, trace, start, reload, 0);
        consider(&found, trace, start, s->producer[part],
                 e->transfer_ns[pp_sweep_key_of(s, a->type, a->stage)]);
    }
    for (int32_t part = first; part <= last && found.action < 0; part++) {
        int32_t producer = s->producer[part]; /* under a transfer of its own */
        if (producer >= 0 && s->stage_rank[s->actions[producer].stage] != rank) {
            found = (struct pp_binding){producer, start - trace->end_ns[producer]};
        }
    }
    return found;
}
