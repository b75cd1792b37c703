/**
 * @file eval_priv.h
 * Private to the evaluation: naming the cycle in which ranks wait for one another.
 */
#ifndef PP_SIM_EVAL_PRIV_H
#define PP_SIM_EVAL_PRIV_H

#include "sim/eval.h"

/** Actions that one cell holds: 2 at the first part of a pair, else 1. */
static inline int32_t pp_eval_cell_size(const struct pp_sched *s, int32_t action) {
    return s->actions[action].pair == 1 ? 2 : 1;
}

/**
 * Finds a shortest wait cycle once no rank can advance.
 * @param next         [rank_count] first action of each rank that has not run
 * @param deadlock_p   filled; may be NULL
 * @return PP_E_DEADLOCK (message names the cycle), PP_E_NOMEM
 */
enum pp_status pp_eval_deadlock(const struct pp_sched *s, const int32_t *next,
                                struct pp_deadlock *deadlock_p, struct pp_err *err);

#endif
