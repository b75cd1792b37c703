/* Wall time of `pipeplan plan` on a DeepSeek-V3 recipe, as a user runs it: a whole process, with
 * database and JSON. Not a test: build the target `bench` with the release preset. Budget: 0.3 s.
 * usage: bench_plan PROGRAM RECIPE */
#include "tests/bench/bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { NS_PER_MS = 1000000 };

static int64_t run_ns(char *const *argv) {
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int64_t begin_ns = clock_ns(CLOCK_MONOTONIC);
    int failed = posix_spawn(&child, argv[0], &actions, NULL, argv, environ);
    if (failed == 0) {
        waitpid(child, &status, 0);
    }
    int64_t ns = clock_ns(CLOCK_MONOTONIC) - begin_ns;
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "%s plan failed\n", argv[0]);
        exit(1);
    }
    return ns;
}

int main(int argc, char **argv) {
    char db[] = "/tmp/pp_bench_XXXXXX";
    int64_t ns[RUNS];
    if (argc != 3) {
        fprintf(stderr, "usage: bench_plan PROGRAM RECIPE\n");
        return 2;
    }
    close(mkstemp(db));
    char *const command[] = {argv[1], "plan", argv[2], "--gpus", "256", "--json", "--db", db, NULL};
    for (int i = -WARM_UP; i < RUNS; i++) {
        unlink(db); /* a fresh database each time: storing is part of the job */
        int64_t one_ns = run_ns(command);
        if (i >= 0) {
            ns[i] = one_ns;
        }
    }
    unlink(db);
    int64_t median = median_of(ns, RUNS);
    printf(
        "plan, %s, 256 GPUs, fresh database, wall ms of %d runs: min %.1f median %.1f max %.1f\n",
        argv[2], RUNS, (double)ns[0] / NS_PER_MS, (double)median / NS_PER_MS,
        (double)ns[RUNS - 1] / NS_PER_MS);
    return 0;
}
