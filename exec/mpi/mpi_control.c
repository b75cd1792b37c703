/* The control plane: collective calls, in pieces where there are more bytes than MPI can count. */
#include "exec/mpi/mpi_priv.h"

#include <stdlib.h>
#include <string.h>

static int piece_of(size_t left) {
    return left < PP_MPI_PIECE_BYTES ? (int)left : PP_MPI_PIECE_BYTES;
}

/* Large blocks go one after the other: MPI's own gather would need displacements beyond int. */
static enum pp_status gather_pieces(struct pp_mpi *mpi, const char *mine, size_t size, char *all,
                                    struct pp_err *err) {
    for (int p = 0; p < mpi->process_count; p++) {
        for (size_t at = 0; at < size; at += PP_MPI_PIECE_BYTES) {
            int piece = piece_of(size - at);
            if (mpi->process == p && p != 0) {
                PP_MPI_TRY(mpi, "gathering at process 0",
                           MPI_Send(mine + at, piece, MPI_BYTE, 0, PP_MPI_TAG_GATHER, mpi->comm));
            } else if (mpi->process == 0 && p != 0) {
                PP_MPI_TRY(mpi, "gathering at process 0",
                           MPI_Recv(all + (size_t)p * size + at, piece, MPI_BYTE, p,
                                    PP_MPI_TAG_GATHER, mpi->comm, MPI_STATUS_IGNORE));
            }
        }
    }
    if (mpi->process == 0) {
        memcpy(all, mine, size);
    }
    return PP_OK;
}

static enum pp_status gather(void *context, const void *mine, size_t size, void *all,
                             struct pp_err *err) {
    struct pp_mpi *mpi = context;
    if (size > PP_MPI_PIECE_BYTES) {
        return gather_pieces(mpi, mine, size, all, err);
    }
    PP_MPI_TRY(mpi, "gathering at process 0",
               MPI_Gather(mine, (int)size, MPI_BYTE, all, (int)size, MPI_BYTE, 0, mpi->comm));
    return PP_OK;
}

static enum pp_status broadcast(void *context, void *data, size_t size, struct pp_err *err) {
    struct pp_mpi *mpi = context;
    for (size_t at = 0; at < size; at += PP_MPI_PIECE_BYTES) {
        PP_MPI_TRY(mpi, "broadcasting from process 0",
                   MPI_Bcast((char *)data + at, piece_of(size - at), MPI_BYTE, 0, mpi->comm));
    }
    return PP_OK;
}

static enum pp_status barrier(void *context, struct pp_err *err) {
    struct pp_mpi *mpi = context;
    PP_MPI_TRY(mpi, "waiting for all processes", MPI_Barrier(mpi->comm));
    return PP_OK;
}

static void end_all(void *context, int code) {
    struct pp_mpi *mpi = context;
    mpi->failed = true;
    MPI_Abort(MPI_COMM_WORLD, code);
    _Exit(code);
}

static const struct pp_control_ops mpi_control = {
    .gather = gather, .broadcast = broadcast, .barrier = barrier, .abort = end_all};

struct pp_control pp_mpi_control(struct pp_mpi *mpi) {
    return (struct pp_control){.ops = &mpi_control,
                               .context = mpi,
                               .process = mpi->process,
                               .process_count = mpi->process_count};
}
