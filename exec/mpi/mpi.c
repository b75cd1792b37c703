/* Beginning and end, and the common clock. */
#include "exec/mpi/mpi_priv.h"

#include "exec/clock.h"

#include <stdlib.h>
#include <string.h>

bool pp_mpi_built(void) {
    return true;
}

bool pp_mpi_launched(void) {
    /* set by Open MPI's mpirun; by PMIx (srun --mpi=pmix, prterun); by PMI 1 and 2 (srun, Hydra) */
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_FD"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (getenv(names[i]) != NULL) {
            return true;
        }
    }
    return false;
}

void pp_mpi_describe(char *text, size_t size) {
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(version, &length);
    version[strcspn(version, ",\n")] = '\0';
    pp_copy(text, size, version);
}

enum pp_status pp_mpi_fail(struct pp_mpi *mpi, const char *what, int error, struct pp_err *err) {
    char why[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    mpi->failed = true;
    if (MPI_Error_string(error, why, &length) != MPI_SUCCESS) {
        pp_copy(why, sizeof why, "unknown error");
    }
    return pp_fail(err, PP_E_RUN, "%s: %s", what, why);
}

static enum pp_status begin(struct pp_mpi *mpi, struct pp_err *err) {
    int provided = MPI_THREAD_SINGLE,
        error = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
    if (error != MPI_SUCCESS) {
        return pp_fail(err, PP_E_ENV, "MPI cannot be started (error %d)", error);
    }
    /* a rank may be driven by another thread than the one that gathers between steps */
    if (provided < MPI_THREAD_SERIALIZED) {
        return pp_fail(err, PP_E_ENV, "this MPI serves one thread only (level %d, needed %d)",
                       provided, MPI_THREAD_SERIALIZED);
    }
    error = MPI_Comm_dup(MPI_COMM_WORLD, &mpi->comm);
    if (error != MPI_SUCCESS) {
        return pp_fail(err, PP_E_ENV, "MPI cannot make a communicator (error %d)", error);
    }
    MPI_Comm_set_errhandler(mpi->comm, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(mpi->comm, &mpi->process);
    MPI_Comm_size(mpi->comm, &mpi->process_count);
    return PP_OK;
}

enum pp_status pp_mpi_begin(struct pp_mpi **mpi_p, struct pp_err *err) {
    int initialized = 0;
    MPI_Initialized(&initialized);
    if (initialized) {
        return pp_fail(err, PP_E_ENV, "MPI was started already; it starts once a process");
    }
    struct pp_mpi *mpi = calloc(1, sizeof *mpi);
    if (mpi == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for MPI");
    }
    enum pp_status status = begin(mpi, err);
    if (status != PP_OK) {
        free(mpi);
        return status;
    }
    *mpi_p = mpi;
    return PP_OK;
}

void pp_mpi_end(struct pp_mpi *mpi) {
    if (mpi == NULL) {
        return;
    }
    if (!mpi->failed) {
        MPI_Comm_free(&mpi->comm);
        MPI_Finalize();
    }
    free(mpi);
}

/* ---- clock ---- */

enum { ROUNDS = 32 };

struct sounding {
    int64_t offset_ns, round_trip_ns; /* of the shortest */
};

/* Process 0 tells its time as often as it is asked. */
static enum pp_status answer(struct pp_mpi *mpi, int process, struct pp_err *err) {
    for (int round = 0; round < ROUNDS; round++) {
        int64_t time_ns = 0;
        PP_MPI_TRY(mpi, "comparing clocks",
                   MPI_Recv(&time_ns, 1, MPI_INT64_T, process, PP_MPI_TAG_CLOCK, mpi->comm,
                            MPI_STATUS_IGNORE));
        time_ns = pp_now_ns();
        PP_MPI_TRY(mpi, "comparing clocks",
                   MPI_Send(&time_ns, 1, MPI_INT64_T, process, PP_MPI_TAG_CLOCK, mpi->comm));
    }
    return PP_OK;
}

static enum pp_status ask(struct pp_mpi *mpi, struct sounding *best, struct pp_err *err) {
    *best = (struct sounding){.round_trip_ns = INT64_MAX};
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start_ns = pp_now_ns(), time_ns = 0;
        PP_MPI_TRY(mpi, "comparing clocks",
                   MPI_Sendrecv(&start_ns, 1, MPI_INT64_T, 0, PP_MPI_TAG_CLOCK, &time_ns, 1,
                                MPI_INT64_T, 0, PP_MPI_TAG_CLOCK, mpi->comm, MPI_STATUS_IGNORE));
        int64_t round_trip_ns = pp_now_ns() - start_ns;
        if (round_trip_ns < best->round_trip_ns) {
            best->round_trip_ns = round_trip_ns;
            best->offset_ns = time_ns - start_ns - round_trip_ns / 2;
        }
    }
    return PP_OK;
}

enum pp_status pp_mpi_clock_offset(struct pp_mpi *mpi, int64_t *offset_ns_p, struct pp_err *err) {
    struct sounding best = {0};
    if (mpi->process != 0) {
        PP_TRY(ask(mpi, &best, err));
    }
    for (int p = 1; mpi->process == 0 && p < mpi->process_count; p++) {
        PP_TRY(answer(mpi, p, err));
    }
    /* What cannot be told from 0 is 0: processes of one machine have one clock (clock.h), and where
     * they outnumber its cores half a round trip may be milliseconds. */
    int64_t distance_ns = best.offset_ns < 0 ? -best.offset_ns : best.offset_ns;
    mpi->clock_offset_ns = 2 * distance_ns <= best.round_trip_ns + 1 ? 0 : best.offset_ns;
    *offset_ns_p = mpi->clock_offset_ns;
    return PP_OK;
}
