/* One run of `simulate`: from flags to a trace and its figures. */
#ifndef PP_REPORTS_CLI_SIMULATION_H
#define PP_REPORTS_CLI_SIMULATION_H

#include "reports/cli/lane_run.h"
#include "reports/cli/sched_options.h"
#include "reports/cli/vary_options.h"
#include "sim/causes.h"
#include "sim/metrics.h"

struct pp_simulate_flags {
    struct pp_sched_options sched;
    struct pp_cost_options costs;
    struct pp_lane_options lanes;
    struct pp_vary_options vary;
    bool explain;          /* causes of each rank's idle time as text */
    int64_t critical_path; /* how many actions of it to show, the last ones */
};

/* Everything that one simulation makes. */
struct pp_simulation {
    const struct pp_simulate_flags *flags;
    const struct pp_schedule_info *info; /* NULL for a CSV */
    struct pp_sched *flush;              /* one flush, compute-only */
    struct pp_sched *repeated;           /* all flushes of the step; NULL: one */
    struct pp_lane_setup setup;
    struct pp_stage_costs costs;
    struct pp_eval *eval;               /* without communication, else NULL */
    struct pp_lane_run lanes;           /* with it */
    struct pp_memory_work *memory_work; /* on lanes under a memory limit, else NULL */
    struct pp_trace trace;
    struct pp_metrics metrics;
    int64_t *busy_ns;              /* [rank_count] */
    struct pp_idle *idle;          /* [rank_count] */
    struct pp_activation *peaks;   /* [rank_count] of one flush */
    int64_t step_ns;               /* one step, optimizer included */
    int64_t pace_ns;               /* a step in the long run; step_ns with a barrier */
    struct pp_variation variation; /* of the makespan of all flushes */
    struct pp_deadlock deadlock;
};

/* All flushes, compute-only. */
const struct pp_sched *pp_simulation_compute(const struct pp_simulation *sim);
/* What was run and traced: that, or its lowered form. */
const struct pp_sched *pp_simulation_ran(const struct pp_simulation *sim);

/* What pp_idle_of and pp_critical_path are to know. */
struct pp_cause_inputs pp_simulation_cause_inputs(const struct pp_simulation *sim);

/*
 * @param sim  zero but for `flags`; to be deinited in any case
 * @return PP_OK, PP_E_DEADLOCK (sim->deadlock, of pp_simulation_ran), as its parts
 */
enum pp_status pp_simulation_run(struct pp_simulation *sim, const struct pp_usage *usage,
                                 struct pp_err *err);
void pp_simulation_deinit(struct pp_simulation *sim);

#endif
