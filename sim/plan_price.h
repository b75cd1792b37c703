/**
 * @file plan_price.h
 * What memory is worth: how much faster a step would be with one more GiB, how much slower with one
 * less, and from which memory on the answer is another plan.
 */
#ifndef PP_SIM_PLAN_PRICE_H
#define PP_SIM_PLAN_PRICE_H

#include "sim/plan.h"

#define PP_PRICE_STEP_BYTES ((int64_t)1 << 30)

/** The best plan under some limit, against the best under the limit as it is. */
struct pp_price_point {
    int64_t limit_bytes;
    int32_t plan;      /* index into the set's plans; -1: nothing fits */
    int64_t change_ns; /* of the step; 0 unless both are known. More memory: <= 0 */
};

struct pp_memory_price {
    struct pp_price_point now;  /* change_ns 0 */
    struct pp_price_point more; /* with PP_PRICE_STEP_BYTES more */
    struct pp_price_point less; /* with as much less */
    struct pp_price_point next; /* the smallest higher limit with another answer, one that is faster
                                   (the first that fits if nothing does now); plan -1: there is
                                   none. Its limit is the plan's peak */
};

/** Best is the fastest step of all plans whose peak is within the limit; of ties the one with the
 *  lower peak, then the lower index. Without plans that have costs all `plan`s are -1.
 *  Cost: O(plans). */
void pp_plan_price(const struct pp_plan_set *set, struct pp_memory_price *price);

#endif
