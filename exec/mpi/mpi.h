/**
 * @file mpi.h
 * A process a rank, over MPI (tested with Open MPI and mpirun). Process i drives rank i. Only this
 * folder knows MPI's own types; a build without MPI has the functions, which return PP_E_ENV.
 *
 * A channel is a source and a tag on a communicator of ours: MPI keeps its messages in order,
 * whatever else is under way. MPI's errors are returned, not fatal; a rank that dies is seen by its
 * ring's lock (peers.h) on the same machine, else by the deadline. mpirun, which sees it too, sends
 * the others SIGTERM at once and SIGKILL a second or two later: time to say who died, and where.
 */
#ifndef PP_EXEC_MPI_H
#define PP_EXEC_MPI_H

#include "exec/control.h"
#include "exec/transport.h"

struct pp_mpi;

/** Is MPI in this build? */
bool pp_mpi_built(void);
/** Was this process started by mpirun, srun or the like? (environment of PMIx, PMI, Open MPI) */
bool pp_mpi_launched(void);
/** Version of the library, "" without. */
void pp_mpi_describe(char *text, size_t size);

/** MPI_Init_thread. Once a process. @return PP_OK, PP_E_ENV */
enum pp_status pp_mpi_begin(struct pp_mpi **mpi_p, struct pp_err *err);
/** MPI_Finalize, if nothing failed: after a failure it could wait for ever, and the process leaves
 *  without it (control's abort, or exit with a code that is not 0: the launcher ends the others).
 */
void pp_mpi_end(struct pp_mpi *mpi);

/** Valid while `mpi` is. */
struct pp_control pp_mpi_control(struct pp_mpi *mpi);

/** All processes call it, each with the same program (checked by its hash).
 *  @return PP_OK, PP_E_RUN (another program, or another number of processes than ranks: names
 *          them), PP_E_ENV, PP_E_NOMEM */
enum pp_status pp_mpi_open(struct pp_mpi *mpi, const struct pp_program *program,
                           struct pp_transport *transport_p, struct pp_err *err);
void pp_mpi_close(struct pp_mpi *mpi, struct pp_transport *transport);

/** What to add to this process's clock (clock.h) to get process 0's, in ns; by the round trip that
 *  was shortest. All processes call it. 0 at process 0. */
enum pp_status pp_mpi_clock_offset(struct pp_mpi *mpi, int64_t *offset_ns_p, struct pp_err *err);

#endif
