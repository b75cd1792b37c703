/* The processes of a run: one, or under MPI one a rank. They agree before anything is waited for,
 * and one that fails takes the others with it. */
#ifndef PP_REPORTS_CLI_RUN_PROCESSES_H
#define PP_REPORTS_CLI_RUN_PROCESSES_H

#include "exec/mpi/mpi.h"
#include "reports/cli/run_options.h"

struct pp_run_processes {
    struct pp_mpi *mpi; /* NULL: this one alone */
    struct pp_control control;
    char folder[PP_ERR_PLACE_BYTES]; /* of the ranks' rings; empty: none */
    bool owns_folder;                /* made for this run, removed when it ends well */
};

/* Is this the only process, or the first of those that a launcher started? */
bool pp_run_processes_first(void);

/* Starts MPI if it is asked for, or if a launcher of it started this process. Makes the folder.
 * @return PP_OK, PP_E_ENV, PP_E_IO */
enum pp_status pp_run_processes_begin(struct pp_run_processes *p, const struct pp_run_options *o,
                                      struct pp_err *err);

/* All processes learn whether one has failed so far.
 * @return `status` where this one has; PP_E_RUN where another one has, with nothing to say */
enum pp_status pp_run_processes_agree(const struct pp_run_processes *p, enum pp_status status,
                                      struct pp_err *err);

/*
 * The end, after everything was said. Failed while ranks waited for one another: does not return,
 * process 0 goes at once, others give it time to say what happened.
 * @param running  the failure was met while ranks ran, so others may wait for this one
 */
void pp_run_processes_end(struct pp_run_processes *p, enum pp_status status, bool running);

#endif
