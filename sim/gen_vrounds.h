/**
 * @file gen_vrounds.h
 * Private to the generators: orders for two stages a rank in V placement (rank r holds stages r, on
 * the way down, and 2p-1-r, on the way up), built forwards in time for given costs and memory.
 *
 * Warm-up: as many forwards as fit before the first one returns from the last rank. Then by turns
 * one backward on every rank and one forward on every rank. W fills the gaps that it fits into, and
 * goes where waiting would make its rank the idlest. Passes repeat while that shrinks the most idle
 * time of all ranks, each allowing what the one before needed.
 *
 * Source: Qi et al., Pipeline Parallelism with Controllable Memory, arXiv 2405.15362 (V-ZB).
 */
#ifndef PP_SIM_GEN_VROUNDS_H
#define PP_SIM_GEN_VROUNDS_H

#include "sim/gen_decode.h"

/** Before which actions a W may go though it does not fit: F, and I on the way up. */
struct pp_vrounds_flags {
    bool fill_f, fill_i_up;
};

struct pp_vrounds; /* opaque: the room that building takes */

/** @param model  borrowed. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_vrounds_create(int32_t rank_count, int32_t microbatch_count,
                                 const struct pp_gen_model *model, struct pp_vrounds **rounds_p,
                                 struct pp_err *err);
void pp_vrounds_destroy(struct pp_vrounds *r);

/**
 * Builds an order.
 * @param place  of every action in its rank's row, by pp_decode_index
 * @return false: the rounds run into the memory limit or wait for what never comes
 * Cost: O(passes * actions), mostly 2 passes, each about 30 ns an action; no allocation.
 */
bool pp_vrounds_build(struct pp_vrounds *r, struct pp_vrounds_flags flags, int64_t *place);

#endif
