/* What a run is expected to do: its times by the best costs that are known, played through the
 * engine. They bind the program's buffers in any case; as a prediction they only count where they
 * are in this machine's time. */
#ifndef PP_REPORTS_CLI_RUN_EXPECT_H
#define PP_REPORTS_CLI_RUN_EXPECT_H

#include "exec/program.h"
#include "reports/cli/run_source.h"
#include "sim/trace.h"

struct pp_run_expect {
    struct pp_trace trace; /* of the lowered schedule */
    int64_t makespan_ns;
    bool is_prediction;      /* times are this machine's */
    const char *by;          /* "calibration", "the plan's costs", "the given costs" */
    char calibration_id[33]; /* empty: none */
    int64_t *columns;        /* owns the arrays of `costs` */
    struct pp_costs costs;   /* [stage_count] that the plan or the flags give, scaled for spin */
};

/* What calibrations go by. */
struct pp_run_place {
    const char *model_key, *device, *transport, *machine;
};

/*
 * @param input_bytes  [stage_count] of a message
 * @param store        NULL: no calibrations
 * @return PP_OK, as pp_engine_create and pp_engine_run; expect is to be deinited in any case
 */
enum pp_status pp_run_expect_init(struct pp_run_expect *expect, const struct pp_run_source *source,
                                  const struct pp_run_options *o, const struct pp_sched *lowered,
                                  const int64_t *input_bytes, const struct pp_run_place *place,
                                  struct pp_store *store, struct pp_err *err);
void pp_run_expect_deinit(struct pp_run_expect *expect);

#endif
