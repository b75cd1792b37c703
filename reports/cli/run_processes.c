#include "reports/cli/run_processes.h"

#include "exec/clock.h"
#include "exec/ring.h"
#include "reports/cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LEAVE_AFTER_NS = 1500000000 }; /* process 0 looks around every few ms */

static bool wants_mpi(const struct pp_run_options *o) {
    return o->transport != NULL ? strcmp(o->transport, "mpi") == 0 : pp_mpi_launched();
}

/* By what launchers set: before MPI has begun there is nobody to ask. */
bool pp_run_processes_first(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *rank = getenv(names[i]);
        if (rank != NULL) {
            return strcmp(rank, "0") == 0;
        }
    }
    return true;
}

/* The one of --run-dir, or with several processes a fresh one, so that they see one another die. */
static enum pp_status make_folder(struct pp_run_processes *p, const char *given,
                                  struct pp_err *err) {
    const char *tmp = getenv("TMPDIR");
    if (given != NULL) {
        pp_copy(p->folder, sizeof p->folder, given);
        if (p->control.process == 0 && mkdir(given, 0777) != 0 && errno != EEXIST) {
            return pp_fail(err, PP_E_IO, "--run-dir %s cannot be made: %s", given, strerror(errno));
        }
        return PP_OK;
    }
    if (p->mpi == NULL) {
        return PP_OK;
    }
    if (p->control.process == 0) {
        snprintf(p->folder, sizeof p->folder, "%.200s/pipeplan-run-XXXXXX",
                 tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
        p->owns_folder = mkdtemp(p->folder) != NULL;
        if (!p->owns_folder) {
            p->folder[0] = '\0'; /* goes without: deadlines still end a run */
        }
    }
    return p->control.ops->broadcast(p->control.context, p->folder, sizeof p->folder, err);
}

enum pp_status pp_run_processes_begin(struct pp_run_processes *p, const struct pp_run_options *o,
                                      struct pp_err *err) {
    *p = (struct pp_run_processes){.control = pp_control_alone()};
    if (wants_mpi(o)) {
        PP_TRY(pp_mpi_begin(&p->mpi, err));
        p->control = pp_mpi_control(p->mpi);
    }
    enum pp_status made = make_folder(p, o->run_folder, err);
    return pp_run_processes_agree(p, made, err);
}

enum pp_status pp_run_processes_agree(const struct pp_run_processes *p, enum pp_status status,
                                      struct pp_err *err) {
    const struct pp_control *control = &p->control;
    if (control->process_count <= 1) {
        return status;
    }
    int32_t mine = (int32_t)status;
    int32_t worst = PP_OK;
    int32_t *all = calloc((size_t)control->process_count, sizeof *all);
    if (all == NULL) {
        control->ops->abort(control->context, pp_exit_code(PP_E_NOMEM));
    } else {
        struct pp_err lost = {0};
        if (control->ops->gather(control->context, &mine, sizeof mine, all, &lost) != PP_OK) {
            control->ops->abort(control->context, pp_exit_code(PP_E_RUN));
        }
        for (int32_t i = 0; control->process == 0 && i < control->process_count; i++) {
            worst = all[i] != PP_OK ? all[i] : worst;
        }
        if (control->ops->broadcast(control->context, &worst, sizeof worst, &lost) != PP_OK) {
            control->ops->abort(control->context, pp_exit_code(PP_E_RUN));
        }
    }
    free(all);
    if (status != PP_OK || worst == PP_OK) {
        return status;
    }
    return pp_fail(err, (enum pp_status)worst, "another process of the run could not start");
}

static void remove_folder(const struct pp_run_processes *p) {
    char path[2 * PP_ERR_PLACE_BYTES];
    for (int32_t rank = 0; rank < p->control.process_count; rank++) {
        pp_ring_path(p->folder, rank, path, sizeof path);
        unlink(path);
    }
    rmdir(p->folder);
}

void pp_run_processes_end(struct pp_run_processes *p, enum pp_status status, bool running) {
    bool failed = status != PP_OK && status != PP_E_INTERRUPTED;
    if (failed && running && p->control.process_count > 1) {
        fflush(NULL);
        if (p->control.process != 0) {
            pp_sleep_until_ns(pp_now_ns() + LEAVE_AFTER_NS);
        }
        p->control.ops->abort(p->control.context, pp_exit_code(status));
    }
    if (p->owns_folder) {
        remove_folder(p);
    }
    pp_mpi_end(p->mpi);
}
