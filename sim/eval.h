/**
 * @file eval.h
 * Start and end of every action of a schedule: the longest path through two kinds of edges, "after
 * the previous action of my rank" and "after my producer plus the transfer time".
 *
 *   start(a) = max(end(previous on rank), end(producer) + p2p if it is on another rank)
 *
 * OFFLOAD and RELOAD run on their rank's lane to the host: each starts at the end of the transfer
 * before it, and of the compute action before it, whichever is later; they hold up nothing but the
 * I or B that waits for its RELOAD.
 *
 * Whether a pair can run at all is judged as where PyTorch places sends and receives: the inputs of
 * both its parts must be makeable before it, so a schedule that would need the first part's output
 * for the second is a deadlock. Its times follow the rule above part by part, unless pairs have a
 * duration of their own (pp_costs.pair_ns).
 *
 * pp_eval_create walks the ranks once with one cursor each (O(V + E), no heap), stores the visiting
 * order and finds deadlocks; pp_eval_run then is one linear sweep for each set of costs, without
 * allocation. One thread an evaluator; the schedule may be shared.
 */
#ifndef PP_SIM_EVAL_H
#define PP_SIM_EVAL_H

#include "sim/check.h"
#include "sim/costs.h"
#include "sim/trace.h"

struct pp_eval; /* opaque */

/**
 * @param s           sealed and compute-only
 * @param deadlock_p  filled on PP_E_DEADLOCK with the cycle; may be NULL
 * @return PP_OK, PP_E_ARG (a lowered schedule), PP_E_DEADLOCK (message names the cycle), PP_E_NOMEM
 * Cost: O(actions), about 10 ns an action.
 */
enum pp_status pp_eval_create(const struct pp_sched *s, struct pp_eval **eval_p,
                              struct pp_deadlock *deadlock_p, struct pp_err *err);
void pp_eval_destroy(struct pp_eval *e);

/**
 * Evaluates one cost set into a trace of the same schedule. A pair with pair_ns starts when both
 * parts could start and both end at its end.
 * @return PP_OK, PP_E_RANGE (a cost negative or above PP_COST_MAX_NS)
 * Cost: O(actions), about 2 ns an action, some more with pairs as one or offloads; no allocation.
 */
enum pp_status pp_eval_run(const struct pp_eval *e, const struct pp_costs *costs,
                           struct pp_trace *trace, struct pp_err *err);

/** What pp_eval_run_with may be told beyond costs. */
struct pp_eval_inputs {
    const struct pp_costs *costs;
    const int64_t *duration_ns; /* [action_count] instead of the costs' durations; of a pair_ns pair
                                   that of its first part; NULL: the costs' */
    const int64_t *transfer_ns; /* [action_count] of the input of each action, charged between
                                   ranks; NULL: the costs' */
    const int64_t *begin_ns;    /* [rank_count] nothing of the rank starts before; NULL: zeros */
    const int64_t *stage_begin_ns; /* [stage_count] no compute of the stage starts before; NULL:
                                      zeros */
};

/**
 * The same with durations of each action, and ranks that begin late.
 * @return as pp_eval_run; PP_E_RANGE also where one of the arrays has a figure out of its range
 *         (begin_ns, stage_begin_ns: 0 .. INT64_MAX / 4)
 * Cost: O(actions), about 4 ns an action, with nothing but begins of ranks as pp_eval_run; no
 * allocation.
 */
enum pp_status pp_eval_run_with(const struct pp_eval *e, const struct pp_eval_inputs *in,
                                struct pp_trace *trace, struct pp_err *err);

/** What held up the start of `at` in the trace of the last run, one without begins
 * (sim/causes.h). Pairs as one: of either part, what held up the pair.
 *  @param eval  a struct pp_eval */
struct pp_binding pp_eval_binding(const void *eval, const struct pp_trace *trace, int32_t at);

#endif
