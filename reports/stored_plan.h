/**
 * @file stored_plan.h
 * A plan read back from the database and played again: what pictures and exports start from.
 */
#ifndef PP_REPORTS_STORED_PLAN_H
#define PP_REPORTS_STORED_PLAN_H

#include "sim/replay.h"
#include "sim/store.h"

/** Owns everything in it; free with pp_stored_plan_deinit. */
struct pp_stored_plan {
    struct pp_plan plan;
    struct pp_stored_run run;
    struct pp_sched *csv; /* the recipe's own order, where the plan uses it */
    struct pp_sched *own; /* the generated order, otherwise */
    struct pp_replay replay;
};

/**
 * @param id  plan id or a unique beginning of one
 * @return PP_OK, PP_E_NOT_FOUND, PP_E_STORE, PP_E_CSV, PP_E_NOMEM
 */
enum pp_status pp_stored_plan_load(struct pp_store *store, const char *id,
                                   struct pp_stored_plan *stored_p, struct pp_err *err);
void pp_stored_plan_deinit(struct pp_stored_plan *stored);

/**
 * Memory of one rank over `flush_count` flushes as the plan counts it: allocator slack and reserved
 * memory included, so that its highest point is the plan's peak.
 * @param points_p  fresh memory, free with free()
 * @return PP_OK, PP_E_NOMEM
 */
enum pp_status pp_stored_plan_memory(const struct pp_stored_plan *stored, int32_t rank,
                                     int32_t flush_count, struct pp_memory_point **points_p,
                                     int32_t *count_p, struct pp_err *err);

#endif
