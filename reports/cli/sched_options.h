/* The flags that name a schedule, shared by `schedule` and `simulate`. */
#ifndef PP_REPORTS_CLI_SCHED_OPTIONS_H
#define PP_REPORTS_CLI_SCHED_OPTIONS_H

#include "reports/cli/cli.h"
#include "reports/cli/cost_options.h"
#include "sim/generate.h"
#include "sim/schedule_csv.h"

struct pp_sched_options {
    const char *schedule;
    int64_t pp, stages_per_rank, microbatches, group, slices;
    bool has_schedule, has_pp, has_stages_per_rank, has_microbatches, has_group, has_slices;
    const char *csv; /* a file instead of a name */
    int64_t stages;  /* that the file has */
    bool has_stages;
};

enum { PP_SCHED_OPTION_COUNT = 8 };

/* Writes the rows of an option table. @param rows  [PP_SCHED_OPTION_COUNT] */
void pp_sched_options_rows(struct pp_sched_options *o, struct pp_option *rows);

/*
 * Finds, checks and generates, for these costs; or reads the compute-only file of --csv.
 * @param info_p  of the name; NULL for a file
 * @return PP_OK, PP_E_USAGE (a needed flag is missing, or one does not go with another),
 *         PP_E_SCHEDULE, PP_E_VALUE (--group or --slices for a schedule without them), as
 *         pp_stage_costs_init, as pp_schedule_generate, as pp_sched_csv_read
 */
enum pp_status pp_sched_options_make(const struct pp_sched_options *o,
                                     const struct pp_cost_options *cost_options,
                                     const struct pp_usage *usage,
                                     const struct pp_schedule_info **info_p,
                                     struct pp_sched **sched_p, struct pp_err *err);

/*
 * How a file is to be read that is under a schedule's name: two pipelines that share the flush's
 * microbatches, or units of sequences. Counts that are 0 in `expect` stay so.
 * @param info         NULL = under no name
 * @param slice_count  0 = not given: then Seq1F1B's microbatches are its units
 * @return PP_OK, PP_E_VALUE (slices without a schedule that has them), PP_E_MICROBATCH, PP_E_STAGES
 *         (odd for two pipelines), PP_E_RANGE
 */
enum pp_status pp_csv_expect_kind(struct pp_csv_expect *expect, const struct pp_schedule_info *info,
                                  int32_t slice_count, struct pp_err *err);

#endif
