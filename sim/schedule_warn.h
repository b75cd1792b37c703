/**
 * @file schedule_warn.h
 * What is wrong with an order that PyTorch runs without a word: it trains on wrong gradients, or
 * hangs where buffers are full (found with PyTorch 2.14.1 and NeMo Automodel 36044ad3).
 */
#ifndef PP_SIM_SCHEDULE_WARN_H
#define PP_SIM_SCHEDULE_WARN_H

#include "sim/generate.h"

/* W_LOSS_ORDER: a last stage runs its forwards in another order than their microbatch numbers.
 *     PyTorch appends losses as they are computed and takes them by number: gradients are wrong.
 * W_FIFO, lowered: a rank receives from another in another order than that one sends. PyTorch
 *     matches messages by order alone: it computes with the wrong tensors.
 * W_PLACEMENT: stages lie elsewhere than where Automodel builds them under the schedule's name, as
 * in a V-shaped file under a name that it places in a loop. */
enum { PP_SCHED_MAX_WARNINGS = 3 };

struct pp_sched_warning {
    const char *code; /* static, "W_LOSS_ORDER" */
    char message[240];
};

struct pp_sched_warnings {
    int32_t count;
    struct pp_sched_warning items[PP_SCHED_MAX_WARNINGS]; /* in the order of the list above */
};

/**
 * @param s     sealed, compute-only or lowered
 * @param info  the name under which the order is to run; NULL = none, and no W_PLACEMENT. Nor is
 *              there one for names that Automodel does not know
 * @return PP_OK, PP_E_NOMEM
 * Cost: O(actions).
 */
enum pp_status pp_sched_warn(const struct pp_sched *s, const struct pp_schedule_info *info,
                             struct pp_sched_warnings *warnings, struct pp_err *err);

#endif
