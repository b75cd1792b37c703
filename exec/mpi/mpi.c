/* The real one: MPI is there. */
#include "exec/mpi/mpi.h"

#include <mpi.h>

#include <string.h>

bool pp_mpi_built(void) {
    return true;
}

void pp_mpi_describe(char *text, size_t size) {
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(version, &length);
    version[strcspn(version, ",\n")] = '\0';
    pp_copy(text, size, version);
}
