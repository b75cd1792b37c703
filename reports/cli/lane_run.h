/* One simulation with its communication: the lowered schedule, its engine, costs and links. */
#ifndef PP_REPORTS_CLI_LANE_RUN_H
#define PP_REPORTS_CLI_LANE_RUN_H

#include "reports/cli/lane_options.h"

struct pp_lane_run {
    struct pp_sched *lowered;
    struct pp_engine *engine;
    struct pp_engine_costs costs;
    struct pp_network net;
    bool has_net;
    int64_t *columns; /* owns the arrays of costs */
    int32_t *places;  /* owns those of net */
};

/*
 * Lowers and prepares.
 * @param s           compute-only, all flushes of the step; must outlive the run
 * @param costs       of its stages; must outlive the run
 * @param deadlock_p  filled on PP_E_DEADLOCK; of run->lowered
 * @return PP_OK, as pp_sched_lower, pp_engine_create; run is to be deinited in any case
 */
enum pp_status pp_lane_run_init(struct pp_lane_run *run, const struct pp_lane_options *o,
                                const struct pp_lane_setup *setup, const struct pp_sched *s,
                                const struct pp_stage_costs *costs, bool has_p2p_time,
                                struct pp_deadlock *deadlock_p, struct pp_err *err);
void pp_lane_run_deinit(struct pp_lane_run *run);

/* @param trace  of run->lowered. @return as pp_engine_run */
enum pp_status pp_lane_run(struct pp_lane_run *run, struct pp_trace *trace, struct pp_err *err);

#endif
