/**
 * @file gen_vslots.h
 * From a building block to an order for the V placement: the block is repeated every six slots of a
 * table, warm-up and cool-down are drawn together, and the W's are placed by the real costs.
 *
 * Source: Qi et al., Pipeline Parallelism with Controllable Memory, arXiv 2405.15362.
 */
#ifndef PP_SIM_GEN_VSLOTS_H
#define PP_SIM_GEN_VSLOTS_H

#include "sim/gen_order.h"

enum {
    PP_VBLOCK_SLOTS = 6
}; /* F, I and W of a rank's two stages; a slot is a sixth of their time */

/** A building block: the slots in which microbatch 0 passes the stages [2 * ranks], forward and
 *  backward. F, I and W take a slot, B two; no two of a rank may be the same modulo six. */
typedef void pp_vpattern(int32_t ranks, int32_t *f_slot, int32_t *b_slot);

/**
 * Tries the readings of the block, keeps the best order if it is better than `best`. Leaves it
 * where the table would be very large (millions of actions on hundreds of ranks).
 * @param fused  B instead of I and W
 * @param trial  workspace; like `best` made for the same schedule, with the limits to keep
 * @return PP_OK (also if no order fits the limits), PP_E_NOMEM
 * Cost: O(ops * ranks) at both ends, O(ops) between, where no slots are free.
 */
enum pp_status pp_vslots_try(pp_vpattern *pattern, bool fused, struct pp_order *trial,
                             struct pp_order *best, struct pp_err *err);

#endif
