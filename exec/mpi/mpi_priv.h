/**
 * @file mpi_priv.h
 * What the files of this folder share. Nobody else includes <mpi.h>.
 */
#ifndef PP_EXEC_MPI_PRIV_H
#define PP_EXEC_MPI_PRIV_H

#include "exec/mpi/mpi.h"

#include <mpi.h>

struct pp_mpi {
    MPI_Comm comm; /* of ours alone, with errors returned */
    int process, process_count;
    int64_t clock_offset_ns; /* to process 0's clock */
    pp_control_look *look;   /* asked while waiting for other processes; NULL: none */
    void *look_context;
    bool failed; /* an MPI call did, or the run was given up: no MPI_Finalize */
};

/** More bytes than this travel in pieces, or as a type of larger elements: MPI counts with int. */
enum { PP_MPI_PIECE_BYTES = 1 << 26 };

/** "what: why", from MPI's own text; notes the failure. @return PP_E_RUN */
enum pp_status pp_mpi_fail(struct pp_mpi *mpi, const char *what, int error, struct pp_err *err);

/** Passes a failure of an MPI call on. */
#define PP_MPI_TRY(mpi, what, call)                                                                \
    do {                                                                                           \
        int pp_mpi_error = (call);                                                                 \
        if (pp_mpi_error != MPI_SUCCESS) {                                                         \
            return pp_mpi_fail(mpi, what, pp_mpi_error, err);                                      \
        }                                                                                          \
    } while (0)

/** Tags on the one communicator. Channels between the same two ranks in the same direction are at
 *  most two. */
enum {
    PP_MPI_TAG_ENVELOPE, /* + 1 of a channel between copies */
    PP_MPI_TAG_DATA = 2, /* likewise */
    PP_MPI_TAG_CLOCK = 4,
    PP_MPI_TAG_GATHER = 5,
};

#endif
