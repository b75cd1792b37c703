/* One run put together: from what is to run to a program, the ranks' work, and what carries their
 * messages. */
#ifndef PP_REPORTS_CLI_RUN_JOB_H
#define PP_REPORTS_CLI_RUN_JOB_H

#include "exec/fault.h"
#include "exec/host/host.h"
#include "exec/local/local.h"
#include "exec/model/transformer.h"
#include "exec/mpi/mpi.h"
#include "exec/session.h"
#include "exec/spin.h"
#include "reports/cli/run_expect.h"
#include "reports/cli/run_source.h"

/* Owns everything in it but `source` and `options`. */
struct pp_run_job {
    const struct pp_run_options *options;
    const struct pp_run_source *source;
    struct pp_mpi *mpi; /* NULL: one process */
    struct pp_control control;
    int64_t clock_offset_ns;

    struct pp_sched *lowered;
    int64_t *size_columns; /* owns the arrays of sizes */
    struct pp_program_sizes sizes;
    struct pp_run_expect expect;
    struct pp_program *program;
    int32_t rank_begin, rank_end; /* of this process */

    struct pp_transformer *transformer; /* NULL: spin */
    struct pp_host **hosts;             /* [rank_end - rank_begin] likewise the next two */
    struct pp_transformer_rank **ranks;
    struct pp_spin **spins;
    int64_t *spin_ns; /* [action_count] */
    struct pp_fault fault;
    struct pp_fault_compute *faulty; /* [rank_end - rank_begin] */
    const struct pp_compute_ops *compute;
    void **contexts; /* [rank_end - rank_begin] */
    struct pp_transport transport;
    bool is_local; /* whose the transport is */

    char machine[256];             /* host name */
    char model_key[PP_HASH_BYTES]; /* equal: the same modules, or spin stages, in the same batch */
    struct pp_checkpoint_key checkpoint;
};

/*
 * Up to the program and what it takes; then up to the ranks' memory. What the first finds is known
 * before anything is spent.
 * @param job   zero but for options, source, mpi and control
 * @param store of calibrations; may be NULL
 * @return PP_OK; as pp_sched_lower, pp_run_expect_init, pp_program_create; PP_E_LIMIT (does not
 * fit; pp_program_table says why); PP_E_RUN (as many processes as ranks are needed); PP_E_VALUE (a
 * fault that cannot be); job is to be deinited in any case
 */
enum pp_status pp_run_job_plan(struct pp_run_job *job, struct pp_store *store, struct pp_err *err);
enum pp_status pp_run_job_open(struct pp_run_job *job, struct pp_err *err);
/* Connects the ranks; processes wait for one another here. @return as the transport's open */
enum pp_status pp_run_job_connect(struct pp_run_job *job, struct pp_err *err);
void pp_run_job_deinit(struct pp_run_job *job);

/* Memory that this machine can give now, in bytes. */
int64_t pp_run_available_bytes(void);

#endif
