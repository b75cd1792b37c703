/* The control plane: collective calls, in pieces where there are more bytes than MPI can count. */
#include "exec/mpi/mpi_priv.h"

#include "exec/clock.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS_AT_ONCE = 2000, SLEEP_NS = 50000, LOOK_NS = 20000000, BELIEVE_NS = 200000000 };

/* Waits for a request, and looks around meanwhile. A process that ended well may be seen to be gone
 * a moment before its last message is: what was seen is believed if nothing comes for a while. */
static enum pp_status wait_for(struct pp_mpi *mpi, const char *what, MPI_Request *request,
                               struct pp_err *err) {
    int64_t next_look_ns = pp_now_ns() + LOOK_NS;
    int64_t believe_ns = INT64_MAX;
    for (int64_t round = 0;; round++) {
        int done = 0;
        PP_MPI_TRY(mpi, what, MPI_Test(request, &done, MPI_STATUS_IGNORE));
        if (done) {
            return PP_OK;
        }
        if (round < ROUNDS_AT_ONCE) {
            continue;
        }
        int64_t now_ns = pp_now_ns();
        if (mpi->look != NULL && now_ns >= next_look_ns) {
            struct pp_err seen = {0};
            bool over = mpi->look(mpi->look_context, &seen);
            believe_ns = !over ? INT64_MAX : pp_min_i64(believe_ns, now_ns + BELIEVE_NS);
            if (over && now_ns >= believe_ns) {
                mpi->failed = true;
                if (err != NULL) {
                    *err = seen;
                }
                return PP_E_RUN;
            }
            next_look_ns = now_ns + LOOK_NS;
        }
        pp_sleep_until_ns(now_ns + SLEEP_NS);
    }
}

static int piece_of(size_t left) {
    return left < PP_MPI_PIECE_BYTES ? (int)left : PP_MPI_PIECE_BYTES;
}

/* Large blocks go one after the other: MPI's own gather would need displacements beyond int. */
static enum pp_status gather_pieces(struct pp_mpi *mpi, const char *mine, size_t size, char *all,
                                    struct pp_err *err) {
    static const char what[] = "gathering at process 0";
    MPI_Request request;
    for (int p = 1; p < mpi->process_count; p++) {
        for (size_t at = 0; at < size; at += PP_MPI_PIECE_BYTES) {
            int piece = piece_of(size - at);
            if (mpi->process == p) {
                PP_MPI_TRY(mpi, what,
                           MPI_Isend(mine + at, piece, MPI_BYTE, 0, PP_MPI_TAG_GATHER, mpi->comm,
                                     &request));
                PP_TRY(wait_for(mpi, what, &request, err));
            } else if (mpi->process == 0) {
                PP_MPI_TRY(mpi, what,
                           MPI_Irecv(all + (size_t)p * size + at, piece, MPI_BYTE, p,
                                     PP_MPI_TAG_GATHER, mpi->comm, &request));
                PP_TRY(wait_for(mpi, what, &request, err));
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
    static const char what[] = "gathering at process 0";
    struct pp_mpi *mpi = context;
    MPI_Request request;
    if (size > PP_MPI_PIECE_BYTES) {
        return gather_pieces(mpi, mine, size, all, err);
    }
    PP_MPI_TRY(
        mpi, what,
        MPI_Igather(mine, (int)size, MPI_BYTE, all, (int)size, MPI_BYTE, 0, mpi->comm, &request));
    return wait_for(mpi, what, &request, err);
}

static enum pp_status broadcast(void *context, void *data, size_t size, struct pp_err *err) {
    static const char what[] = "broadcasting from process 0";
    struct pp_mpi *mpi = context;
    for (size_t at = 0; at < size; at += PP_MPI_PIECE_BYTES) {
        MPI_Request request;
        PP_MPI_TRY(
            mpi, what,
            MPI_Ibcast((char *)data + at, piece_of(size - at), MPI_BYTE, 0, mpi->comm, &request));
        PP_TRY(wait_for(mpi, what, &request, err));
    }
    return PP_OK;
}

static enum pp_status barrier(void *context, struct pp_err *err) {
    static const char what[] = "waiting for all processes";
    struct pp_mpi *mpi = context;
    MPI_Request request;
    PP_MPI_TRY(mpi, what, MPI_Ibarrier(mpi->comm, &request));
    return wait_for(mpi, what, &request, err);
}

static void watch(void *context, pp_control_look *look, void *look_context) {
    struct pp_mpi *mpi = context;
    mpi->look = look;
    mpi->look_context = look_context;
}

static void end_all(void *context, int code) {
    struct pp_mpi *mpi = context;
    mpi->failed = true;
    MPI_Abort(MPI_COMM_WORLD, code);
    _Exit(code);
}

static const struct pp_control_ops mpi_control = {
    .gather = gather, .broadcast = broadcast, .barrier = barrier, .watch = watch, .abort = end_all};

struct pp_control pp_mpi_control(struct pp_mpi *mpi) {
    return (struct pp_control){.ops = &mpi_control,
                               .context = mpi,
                               .process = mpi->process,
                               .process_count = mpi->process_count};
}
