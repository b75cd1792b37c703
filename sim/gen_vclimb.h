/**
 * @file gen_vclimb.h
 * A search for the V placement: the keys of list scheduling start as the slots of a building block
 * and are changed at random for spans of ranks, as long as that makes the order no longer. The
 * numbers are the same every time and their count depends on the sizes alone.
 */
#ifndef PP_SIM_GEN_VCLIMB_H
#define PP_SIM_GEN_VCLIMB_H

#include "sim/gen_vslots.h"

/**
 * Keeps what it finds in `best` if it is better than what is there. Finds an order wherever each
 * rank's limit holds one microbatch of both its stages.
 * @param fused  B instead of I and W
 * @param most_ops  no further order is tried once so many ops have been scheduled
 * @param trial  workspace; like `best` made for the same schedule, with the limits to keep
 * @return PP_OK, PP_E_NOMEM
 * Cost: some hundred times list scheduling, see gen_vlist.h.
 */
enum pp_status pp_vclimb(pp_vpattern *pattern, bool fused, int64_t most_ops, struct pp_order *trial,
                         struct pp_order *best, struct pp_err *err);

#endif
