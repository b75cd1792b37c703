/**
 * @file costs.h
 * What the actions of a schedule cost: durations and transfers, a figure a stage. Read by the
 * evaluation and by generators that choose an order for given costs.
 */
#ifndef PP_SIM_COSTS_H
#define PP_SIM_COSTS_H

#include "sim/schedule.h"

/** Arrays are [stage_count], ns, each <= PP_COST_MAX_NS. */
struct pp_costs {
    const int64_t *f_ns, *i_ns, *w_ns, *b_ns;
    const int64_t *pair_ns;    /* OVERLAP_F_B by the stage of its first part; NULL = the two parts
                                  run in order, each emitting at its own end */
    const int64_t *recv_f_ns;  /* transfer from the stage before, charged if the ranks differ;
                                  NULL = zeros */
    const int64_t *recv_b_ns;  /* transfer from the stage after, likewise */
    const int64_t *offload_ns; /* activations of a microbatch to the host, and as long back; NULL =
                                  zeros */
};

#define PP_COST_MAX_NS ((int64_t)1 << 38) /* 275 s an action: 2^24 actions stay below 2^62 */

/** @param s  sealed or not: only its placement is read
 *  @return PP_OK, PP_E_RANGE (a duration, or a transfer between ranks, negative or above
 *          PP_COST_MAX_NS, with its stage) */
enum pp_status pp_costs_check(const struct pp_costs *c, const struct pp_sched *s,
                              struct pp_err *err);

/** Transfer of the input that F (`forward`), else I or B, of `stage` gets: 0 if it is made on the
 *  same rank, or is the first. */
int64_t pp_costs_transfer_ns(const struct pp_costs *c, const struct pp_sched *s, bool forward,
                             int32_t stage);

#endif
