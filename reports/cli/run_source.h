/* What `run` is to run: a plan of the database, or a schedule by its flags. */
#ifndef PP_REPORTS_CLI_RUN_SOURCE_H
#define PP_REPORTS_CLI_RUN_SOURCE_H

#include "exec/model/shape.h"
#include "reports/cli/run_model.h"
#include "reports/cli/run_options.h"
#include "reports/stored_plan.h"
#include "sim/execution.h"

/* Owns everything in it. */
struct pp_run_source {
    bool has_plan;
    struct pp_stored_plan plan;
    struct pp_sched *flush; /* by flags; with a plan NULL */
    struct pp_sched *step;  /* all flushes of a step, one behind the other, compute-only */
    int32_t flush_count;
    struct pp_stage_costs flag_costs;
    struct pp_costs costs; /* [stage_count] what the plan, or the flags, say of its stages */
    const char *name;      /* of the schedule, or of its file */

    bool has_model; /* else there is nothing but time to spend */
    struct pp_shape shape;
    struct pp_run_remarks remarks;
    struct pp_stage_modules *stages; /* [part_count] */
    struct pp_split_stage *split;    /* [stage_count] the same, by stage of the schedule */
    int32_t seq_len, microbatch_size;
};

/*
 * @param store  NULL: no plan is asked for
 * @return PP_OK; PP_E_NOT_FOUND, PP_E_STORE; as pp_sched_options_make; as pp_run_shape;
 *         PP_E_VALUE (a model of another depth than the plan's), PP_E_RANGE, PP_E_NOMEM; source is
 *         to be deinited in any case
 */
enum pp_status pp_run_source_init(struct pp_run_source *source, const struct pp_run_options *o,
                                  const struct pp_usage *usage, struct pp_store *store,
                                  struct pp_err *err);
void pp_run_source_deinit(struct pp_run_source *source);

#endif
