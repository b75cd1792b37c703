/* Runs of the program beside the test, whose ranks are watched by their rings and stopped where
 * they are wanted. */
#ifndef PP_TESTS_CLI_LAUNCH_H
#define PP_TESTS_CLI_LAUNCH_H

#include "exec/clock.h"
#include "exec/mpi/mpi.h"
#include "exec/ring.h"
#include "tests/cli/run.h"
#include "tests/sim/sim_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>

static const int64_t MS = 1000000;
static const int64_t PATIENCE_NS = 100000000000; /* sanitizers on a busy machine */

/* ---- a line that runs beside the test ---- */

struct launch {
    struct scratch s;
    pid_t pid;
    int code; /* as struct ran's, when it has ended */
    int64_t ended_ns;
    char *out, *messages;
};

static inline void set_mpi_environment(void) {
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 0);
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    setenv("LSAN_OPTIONS", "suppressions=" PP_TEST_DIR "/exec/mpi.supp:print_suppressions=0", 0);
    setenv("ASAN_OPTIONS", "fast_unwind_on_malloc=0", 0);
}

/* $P is the program, $D a folder, $D/run is to be its --run-dir; what it prints goes to files. */
static inline void start(struct launch *l, const char *line) {
    char path[128];
    struct pp_text t = {0};
    pp_text_printf(&t, "P='%s'; D='%s'; %s", PP_PROGRAM, l->s.folder, line);
    fflush(NULL);
    l->pid = fork();
    cr_assert_geq(l->pid, 0);
    if (l->pid == 0) {
        set_mpi_environment();
        snprintf(path, sizeof path, "%s/out", l->s.folder);
        dup2(open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600), STDOUT_FILENO);
        snprintf(path, sizeof path, "%s/messages", l->s.folder);
        dup2(open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600), STDERR_FILENO);
        execl("/bin/sh", "sh", "-c", t.bytes, (char *)NULL);
        _exit(127);
    }
    pp_text_free(&t);
}

static inline char *read_text(const struct launch *l, const char *name) {
    char path[128], *bytes = NULL;
    size_t size;
    struct pp_err err = {0};
    snprintf(path, sizeof path, "%s/%s", l->s.folder, name);
    cr_assert_eq(pp_read_file(path, 1 << 26, &bytes, &size, &err), PP_OK, "%s", err.message);
    return bytes;
}

/* Processes that have the folder in their command line. */
static inline int count_left(const struct launch *l) {
    char command[160], line[32];
    int count = 0;
    snprintf(command, sizeof command, "exec pgrep -f '%s/run'", l->s.folder);
    FILE *f = popen(command, "r");
    while (fgets(line, sizeof line, f) != NULL) {
        count++;
    }
    pclose(f);
    return count;
}

/* Ended, and nobody is left behind. */
static inline void finish(struct launch *l, int code) {
    int status = 0;
    int64_t end_ns = pp_now_ns() + PATIENCE_NS;
    while (waitpid(l->pid, &status, WNOHANG) == 0) {
        if (pp_now_ns() > end_ns) {
            char command[160];
            snprintf(command, sizeof command, "exec pkill -9 -f '%s/run'", l->s.folder);
            cr_assert_neq(system(command), -1);
            cr_assert_fail("it does not end");
        }
        pp_sleep_until_ns(pp_now_ns() + 2 * MS);
    }
    l->ended_ns = pp_now_ns();
    l->code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    free(l->out);
    free(l->messages);
    l->out = read_text(l, "out");
    l->messages = read_text(l, "messages");
    cr_assert_eq(l->code, code, "exit code %d, expected %d: %s", l->code, code, l->messages);
    cr_assert(strstr(l->messages, "Sanitizer") == NULL &&
                  strstr(l->messages, "runtime error") == NULL,
              "%s", l->messages);
    for (int i = 0; i < 200 && count_left(l) > 0; i++) {
        pp_sleep_until_ns(pp_now_ns() + 10 * MS);
    }
    cr_assert_eq(count_left(l), 0, "processes are left");
}

static inline struct launch make_launch(void) {
    return (struct launch){.s = make_scratch()};
}

static inline void end_launch(struct launch *l) {
    free(l->out);
    free(l->messages);
    remove_scratch(&l->s);
}

static inline void run_line(struct launch *l, const char *line, int code) {
    start(l, line);
    finish(l, code);
}

static inline json_t *document_of(const struct launch *l) {
    json_error_t error;
    json_t *document = json_loads(l->out, 0, &error);
    cr_assert_not_null(document, "%s in: %.200s; %s", error.text, l->out, l->messages);
    return document;
}

static inline bool has_mpi(void) {
    return pp_mpi_built() && system("mpirun --version >/dev/null 2>&1") == 0;
}

#define SKIP_WITHOUT_MPI()                                                                         \
    do {                                                                                           \
        if (!has_mpi()) {                                                                          \
            cr_skip_test("a build without MPI, or no mpirun");                                     \
        }                                                                                          \
    } while (0)

/* ---- by the rings of its ranks ---- */

static inline bool read_rank(const struct launch *l, int32_t rank, struct pp_ring_reading *r) {
    char folder[128];
    snprintf(folder, sizeof folder, "%s/run", l->s.folder);
    return pp_ring_read(folder, rank, NULL, r, NULL) == PP_OK && r->count > 0;
}

/* Does a rank stand where it is wanted? */
typedef bool stands(const struct launch *l, const struct pp_ring_reading *r);

static inline bool is_between_steps(const struct launch *l, const struct pp_ring_reading *r) {
    const struct pp_event *last = &r->events[r->count - 1];
    (void)l;
    return last->kind == PP_EVENT_STEP_DONE && last->step >= 2;
}

static inline bool is_in_a_step(const struct launch *l, const struct pp_ring_reading *r) {
    const struct pp_event *last = &r->events[r->count - 1];
    (void)l;
    return last->kind != PP_EVENT_STEP_DONE && last->step >= 2;
}

/* Names with `part` in them. */
static inline int count_files(const char *folder, const char *part, int depth) {
    DIR *dir = opendir(folder);
    int count = 0;
    if (dir == NULL) {
        return 0;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        count += strstr(e->d_name, part) != NULL;
        if (depth > 0 && e->d_name[0] != '.') {
            struct pp_text path = {0};
            pp_text_printf(&path, "%s/%s", folder, e->d_name);
            count += count_files(path.bytes, part, depth - 1);
            pp_text_free(&path);
        }
    }
    closedir(dir);
    return count;
}

/* Half of a checkpoint is there, and a whole one. */
static inline bool is_in_a_checkpoint(const struct launch *l, const struct pp_ring_reading *r) {
    char folder[128];
    snprintf(folder, sizeof folder, "%s/c", l->s.folder);
    return is_between_steps(l, r) && count_files(folder, ".tmp", 1) > 0 &&
           count_files(folder, "manifest", 1) > 0;
}

/* Stops (SIGSTOP) a rank's process where it is wanted. @return it */
static inline pid_t stop_at(const struct launch *l, int32_t rank, stands *is_there) {
    static struct pp_ring_reading r;
    uint64_t seed = 1;
    int64_t end_ns = pp_now_ns() + PATIENCE_NS;
    while (!read_rank(l, rank, &r) || !r.alive) {
        cr_assert(pp_now_ns() < end_ns, "no ring of rank %d", rank);
        pp_sleep_until_ns(pp_now_ns() + MS);
    }
    pid_t process = (pid_t)r.process;
    while (pp_now_ns() < end_ns) {
        kill(process, SIGSTOP);
        pp_sleep_until_ns(pp_now_ns() + 2 * MS);
        if (read_rank(l, rank, &r) && is_there(l, &r)) {
            return process;
        }
        kill(process, SIGCONT);
        pp_sleep_until_ns(pp_now_ns() + random_below(&seed, 3000) * 1000);
    }
    cr_assert_fail("rank %d never stands where it is wanted", rank);
    return -1;
}

#endif
