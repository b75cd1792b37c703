/**
 * @file schedule_priv.h
 * Private to sealing: what the check of the compute actions hands to those of the transfers.
 */
#ifndef PP_SIM_SCHEDULE_PRIV_H
#define PP_SIM_SCHEDULE_PRIV_H

#include "sim/schedule_findings.h"

/** Actions of one (stage, microbatch), as index + 1; 0 = none seen yet. */
struct pp_sched_slot {
    int32_t forward;
    int32_t backward; /* I or B */
    int32_t weight;   /* W, or the same B */
};

/** Seals a compute order of whole microbatches, grouped by rank, without OFFLOAD, in which nothing
 * is wrong. @return false if it is anything else, or out of memory: then nothing is said, and the
 * rest of sealing begins anew. Cost: one pass over the actions. */
bool pp_sched_seal_plain(struct pp_sched *s);

/** Reports an action that cannot stand where it is: "why" completes "row 2, column 5: 1B0 ...".
 *  @return PP_E_CSV */
enum pp_status pp_sched_misplaced(const struct pp_sched *s, int32_t at, const char *why,
                                  struct pp_err *err);

/**
 * Checks everything of a lowered schedule but its compute actions, and links producers.
 * @param slots  [stage_count * microbatch_count], whole
 * @param f      NULL, or notes all that is found
 * @return PP_OK, PP_E_CSV, PP_E_NOMEM
 */
enum pp_status pp_sched_seal_lowered(struct pp_sched *s, const struct pp_sched_slot *slots,
                                     struct pp_findings *f, struct pp_err *err);

/**
 * Checks OFFLOAD and RELOAD, if there are any, and links the backwards to the RELOADs they wait
 * for.
 * @param slots  [stage_count * microbatch_count], whole
 * @return PP_OK, PP_E_CSV, PP_E_NOMEM
 */
enum pp_status pp_sched_seal_offloads(struct pp_sched *s, const struct pp_sched_slot *slots,
                                      struct pp_err *err);

#endif
