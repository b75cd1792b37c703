/**
 * @file session.h
 * A training run of this process's ranks: opens arenas, drives step after step, gathers the traces
 * of all processes after each, checkpoints, stops at a signal. What it is made of comes from
 * outside: a program, a workload with one context a rank, a transport, a control plane.
 */
#ifndef PP_EXEC_SESSION_H
#define PP_EXEC_SESSION_H

#include "exec/checkpoint.h"
#include "exec/drive.h"

#include <signal.h>

enum { PP_CHECKPOINTS_KEPT = 2 }; /* the newest, and the one before in case that one's disk dies */

/** What is known after each step; lives only for the call. At process 0 all of it. */
struct pp_step_report {
    int64_t step; /* from 0 */
    bool has_loss;
    double loss;                  /* mean over microbatches */
    int64_t wall_ns;              /* of the step, optimizer included */
    const struct pp_trace *trace; /* all ranks, settled, from the step's begin; with queue_ns. NULL:
                                     not recorded, or not at process 0 */
};

struct pp_session_config {
    const struct pp_program *program;
    const struct pp_compute_ops *compute;
    void *const *contexts; /* [rank_end - rank_begin] */
    const struct pp_transport *transport;
    struct pp_control control;
    int64_t clock_offset_ns;      /* to process 0's clock */
    int32_t rank_begin, rank_end; /* of this process */
    struct pp_drive_options drive;
    const char *run_folder; /* rings of the ranks; NULL: kept in memory only */
    int64_t first_step, step_count;
    int64_t trace_every;           /* steps; the last is recorded, too. 0: none is */
    const char *checkpoint_folder; /* NULL: none */
    int64_t checkpoint_every;      /* steps; 0: only at the end and when stopped */
    struct pp_checkpoint_key key;  /* step is ignored */
    bool poison; /* fill arenas with NaNs before each step: what is read before it was written shows
                  */
    const volatile sig_atomic_t *stop; /* nonzero: finish the step, checkpoint, return */
    enum pp_status (*report)(void *context, const struct pp_step_report *report,
                             struct pp_err *err); /* not called during a step */
    void *report_context;
};

struct pp_session_result {
    int64_t steps_done; /* this session's */
    struct pp_failure failure;
};

/**
 * @param result_p  filled also on failure; pp_failure_deinit(&result_p->failure)
 * @return PP_OK; PP_E_INTERRUPTED (stopped; a checkpoint was written if there is a folder);
 * PP_E_RUN and what drive, workload, checkpoint and report return; PP_E_NOMEM. Of several processes
 * others may wait for one that failed: it is for the caller to end them (control's abort)
 */
enum pp_status pp_session_run(const struct pp_session_config *config,
                              struct pp_session_result *result_p, struct pp_err *err);

#endif
