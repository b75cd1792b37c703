/* A build without MPI: everything says so. */
#include "exec/mpi/mpi.h"

bool pp_mpi_built(void) {
    return false;
}

bool pp_mpi_launched(void) {
    return false;
}

void pp_mpi_describe(char *text, size_t size) {
    pp_copy(text, size, "");
}

static enum pp_status not_built(struct pp_err *err) {
    pp_fail(err, PP_E_ENV, "this pipeplan was built without MPI");
    pp_hint(err, "install libopenmpi-dev and build again, or use --transport local");
    return PP_E_ENV;
}

enum pp_status pp_mpi_begin(struct pp_mpi **mpi_p, struct pp_err *err) {
    (void)mpi_p;
    return not_built(err);
}

void pp_mpi_end(struct pp_mpi *mpi) {
    (void)mpi;
}

struct pp_control pp_mpi_control(struct pp_mpi *mpi) {
    (void)mpi;
    return pp_control_alone();
}

enum pp_status pp_mpi_open(struct pp_mpi *mpi, const struct pp_program *program,
                           struct pp_transport *transport_p, struct pp_err *err) {
    (void)mpi;
    (void)program;
    (void)transport_p;
    return not_built(err);
}

void pp_mpi_close(struct pp_mpi *mpi, struct pp_transport *transport) {
    (void)mpi;
    (void)transport;
}

enum pp_status pp_mpi_clock_offset(struct pp_mpi *mpi, int64_t *offset_ns_p, struct pp_err *err) {
    (void)mpi;
    (void)offset_ns_p;
    return not_built(err);
}
