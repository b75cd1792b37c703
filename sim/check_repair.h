/**
 * @file check_repair.h
 * An order that runs, as near to a given one as running the pipeline makes it.
 */
#ifndef PP_SIM_CHECK_REPAIR_H
#define PP_SIM_CHECK_REPAIR_H

#include "sim/schedule.h"

/**
 * Runs the pipeline in the order given. Where no rank can go on, one action that could run is
 * pulled forward to where its rank stands: of all ranks' earliest such actions the one with the
 * shortest way, of equal ones that of the lowest rank. So each rank keeps its order but for what is
 * pulled, and an order that runs stays as it is. A pair moves as one; it is split only where no
 * pair and no single action can run without.
 *
 * @param s           grouped by rank: sealed, or refused by sealing for the order of its actions;
 *                    without slices.
 *                    Only compute actions are looked at; neither idle cells nor communication are
 *                    carried over
 * @param repaired_p  a new compute-only schedule, sealed
 * @param moved_p     how many actions were pulled forward or split off; 0 if the order runs
 * @return PP_OK, PP_E_CSV (actions double or missing, or OFFLOAD and RELOAD: no order mends that),
 *         PP_E_NOMEM
 * Cost: O(actions * log(actions) + splits * ranks).
 */
enum pp_status pp_check_repair(const struct pp_sched *s, struct pp_sched **repaired_p,
                               int32_t *moved_p, struct pp_err *err);

#endif
