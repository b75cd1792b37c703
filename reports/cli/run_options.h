/* The flags of `run`. */
#ifndef PP_REPORTS_CLI_RUN_OPTIONS_H
#define PP_REPORTS_CLI_RUN_OPTIONS_H

#include "reports/cli/cost_options.h"
#include "reports/cli/sched_options.h"

struct pp_run_options {
    /* what */
    const char *db, *plan_id;
    struct pp_sched_options sched; /* without a plan */
    struct pp_cost_options costs;
    int64_t flushes; /* of a step; 0: the plan's, or one */
    const char *model;
    const char *workload; /* "transformer", "spin"; NULL: transformer where there is a model */
    int64_t seq_len, microbatch_size; /* 0: the plan's, or 256 and 1 */
    int64_t seed;
    const char *learning_rate; /* a decimal number */
    float learning_rate_value; /* of it */
    bool scale_in_schedule;
    int64_t spin_scale[2];
    /* where */
    const char *device, *transport; /* "host"; "local", "mpi"; NULL: mpi under its launcher */
    const char *drive;              /* "one" thread for all ranks, or "ranks": one each */
    int64_t buffers, latency_ns;    /* of local */
    /* how long */
    int64_t steps;
    int64_t deadline_ns, deadline_factor;
    /* what is kept */
    int64_t trace_every;
    const char *run_folder;
    const char *checkpoint;
    int64_t checkpoint_every;
    bool resume;
    /* tests and rehearsals */
    const char *fault;
    bool poison;
};

#define PP_RUN_OPTIONS_DEFAULT                                                                     \
    {                                                                                              \
        .costs = PP_COST_OPTIONS_DEFAULT, .seed = 1, .learning_rate = "1e-3",                      \
        .spin_scale = {1, 1}, .device = "host", .drive = "ranks", .steps = 5,                      \
        .deadline_ns = 30000000000, .deadline_factor = 50, .trace_every = 1,                       \
    }

/* --help and parsing. @param usage_p  for messages about missing flags; lives as long as `rows`
 * @return as pp_parse_options, PP_E_USAGE (flags that do not go together), PP_E_VALUE */
enum { PP_RUN_OPTION_COUNT = PP_SCHED_OPTION_COUNT + PP_COST_OPTION_COUNT + 40 };
struct pp_run_usage {
    struct pp_option rows[PP_RUN_OPTION_COUNT];
    struct pp_usage usage;
};
enum pp_status pp_run_options_parse(struct pp_cli *cli, int argc, char **argv,
                                    struct pp_run_options *o, struct pp_run_usage *usage,
                                    bool *helped_p, struct pp_err *err);

#endif
