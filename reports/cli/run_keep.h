/* What of a run goes into the database: by process 0, between steps, never during one. */
#ifndef PP_REPORTS_CLI_RUN_KEEP_H
#define PP_REPORTS_CLI_RUN_KEEP_H

#include "reports/cli/run_job.h"
#include "sim/execution.h"

struct pp_run_keep {
    struct pp_store *store; /* NULL: nothing is kept */
    struct pp_execution *execution;
};

/* @param store  taken over; NULL: keep nothing. @return PP_OK, PP_E_STORE, PP_E_NOMEM */
enum pp_status pp_run_keep_begin(struct pp_run_keep *keep, struct pp_store *store,
                                 const struct pp_run_job *job, struct pp_err *err);
enum pp_status pp_run_keep_step(struct pp_run_keep *keep, const struct pp_step_report *report,
                                struct pp_err *err);
/* Profiles, and how it ended; all processes call it unless the run failed. A store that fails now
 * only loses that: the steps are there. @param error  JSON; NULL: none */
enum pp_status pp_run_keep_end(struct pp_run_keep *keep, const struct pp_run_job *job,
                               enum pp_status ended, const char *error, struct pp_err *err);
void pp_run_keep_close(struct pp_run_keep *keep);

#endif
