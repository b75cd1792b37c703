/* The walk over every legal change of a recipe's pipeline, behind plan.h. */
#ifndef PP_SIM_PLAN_CANDIDATES_H
#define PP_SIM_PLAN_CANDIDATES_H

#include "sim/plan_priv.h"

/* Where plans go. */
struct pp_plan_sink {
    struct pp_plan *plans;
    int32_t plan_count, capacity;
    int64_t considered_count; /* settings looked at, refused ones included */
};

/** Takes the plan's memory on success. @return PP_OK, PP_E_RANGE (more than PP_PLAN_MAX_ROWS),
 *  PP_E_NOMEM */
enum pp_status pp_plan_sink_add(struct pp_plan_sink *sink, const struct pp_plan *plan,
                                struct pp_err *err);

/** Evaluates every legal candidate of one pipeline size into the sink.
 *  @return PP_OK, PP_E_RANGE, PP_E_MODEL, PP_E_INTERRUPTED, PP_E_NOMEM */
enum pp_status pp_plan_candidates(const struct pp_plan_world *world, struct pp_plan_sink *sink,
                                  struct pp_err *err);

#endif
