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

#include "sim/gen_order.h"

/**
 * Builds in every way and keeps, of these and `best`, the order of the shortest span, then
 * makespan: what the paper chooses by.
 * @param trial  workspace; like `best` made for the same schedule, with the limits to keep
 * @return PP_OK (also if the rounds run into the limits), PP_E_NOMEM
 * Cost: mostly 4 * 2 passes of O(actions), each about 40 ns an action.
 */
enum pp_status pp_vrounds_try(struct pp_order *trial, struct pp_order *best, struct pp_err *err);

#endif
