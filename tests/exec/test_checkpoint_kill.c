/* A process that writes checkpoints is killed at any moment: what is found is whole. */
#include "tests/exec/state_support.h"

#include "exec/clock.h"

#include <signal.h>
#include <sys/wait.h>

enum { STAGES = 3, NUMBERS = 20000 };

static struct held make_stages(void) {
    return make_held(STAGES, (const int32_t[]){0, 1, 2}, NUMBERS);
}

/* Goes on from what is there, as a run would; now and then writes a step again. */
static void write_for_ever(const char *folder) {
    struct held h = make_stages();
    struct pp_checkpoint_key key;
    int64_t step = pp_checkpoint_find(folder, &key, NULL) == PP_OK ? key.step : 0;
    for (int64_t i = 0;; i++) {
        step += i % 3 != 0; /* the first is one that is there */
        key = make_key(step, STAGES);
        fill_held(&h, step);
        if (write_alone(folder, &h, &key, 1 + (int32_t)(i % 2), NULL) != PP_OK) {
            _exit(1);
        }
    }
}

/* How long a process takes to start and write one, here and now. */
static int64_t time_of_one(void) {
    struct folder f = make_folder();
    int64_t start_ns = pp_now_ns();
    pid_t child = fork();
    if (child == 0) {
        struct held h = make_stages();
        const struct pp_checkpoint_key key = make_key(1, STAGES);
        fill_held(&h, 1);
        _exit(write_alone(f.path, &h, &key, 1, NULL) != PP_OK);
    }
    int status = 1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    int64_t ns = pp_now_ns() - start_ns;
    remove_tree(f.path);
    return ns;
}

Test(checkpoint_kill, at_any_moment) {
    struct folder f = make_folder();
    struct held h = make_stages();
    int rounds = getenv("PP_TEST_FULL") != NULL ? 2000 : 120, found = 0, cut = 0;
    int64_t one_ns = pp_min_i64(time_of_one(), time_of_one());
    uint64_t state = 77;
    int64_t last = -1, first = -1;
    for (int round = 0; round < rounds; round++) {
        pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0) {
            write_for_ever(f.path);
        }
        pp_sleep_until_ns(pp_now_ns() + (int64_t)(next_number(&state) % (3 * (uint64_t)one_ns)));
        kill(child, SIGKILL);
        int status = 0;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

        struct pp_err err = {0};
        struct pp_checkpoint_key key;
        enum pp_status got = pp_checkpoint_find(f.path, &key, &err);
        cr_assert(got == PP_OK || (got == PP_E_NOT_FOUND && found == 0), "%s", err.message);
        cut += count_entries(f.path, "step-") > 1;
        if (got != PP_OK) {
            continue;
        }
        found++;
        cr_assert_geq(key.step, last); /* never back behind what was there */
        last = key.step;
        first = first < 0 ? last : first;
        cr_assert_eq(read_alone(f.path, &h, &key, &err), PP_OK, "%s", err.message);
        cr_assert(held_is(&h, key.step));
    }
    cr_expect_gt(found, rounds / 4);
    cr_expect_gt(last, first);
    cr_log_info("%d killed, %d with a checkpoint, %d with leftovers or two; steps %lld to %lld",
                rounds, found, cut, (long long)first, (long long)last);
    free_held(&h);
    remove_tree(f.path);
}
