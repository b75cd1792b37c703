#define _GNU_SOURCE /* RTLD_NEXT */
#include "sim/parallel.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- threads that cannot be started: this program's own pthread_create comes first ---- */

typedef int create_thread(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static _Atomic int threads_allowed = -1; /* -1: any number */
static _Atomic int threads_started, threads_joined;

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                   void *argument) {
    create_thread *next;
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    if (threads_allowed >= 0 && threads_started >= threads_allowed) {
        return EAGAIN;
    }
    threads_started++;
    return next(thread, attr, run, argument);
}

int pthread_join(pthread_t thread, void **result) {
    int (*next)(pthread_t, void **);
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_join");
    threads_joined++;
    return next(thread, result);
}

/* ---- work ---- */

enum { PIECES = 5000, WORKERS = 8 };

struct job {
    _Atomic int32_t done[PIECES]; /* how often */
    _Atomic int32_t inside[PP_PARALLEL_MAX_THREADS];
    _Atomic int32_t clashes, strangers, elsewhere;
    int32_t worker_count;
    int32_t lowest_bad, bad_step; /* pieces lowest_bad + k * bad_step fail */
    pthread_t caller;
    int64_t result[PIECES];
};

static enum pp_status one_piece(void *context, int32_t index, int32_t worker, struct pp_err *err) {
    struct job *job = context;
    if (worker < 0 || worker >= job->worker_count) {
        job->strangers++;
        return PP_OK;
    }
    job->clashes += atomic_fetch_add(&job->inside[worker], 1) != 0;
    job->elsewhere += (worker == 0) != (pthread_equal(pthread_self(), job->caller) != 0);
    job->done[index]++;
    uint64_t x = (uint64_t)index;
    for (int i = 0; i < index % 97; i++) {
        x = x * 6364136223846793005u + 1;
    }
    if (index % 64 == 0) {
        sched_yield(); /* lets another thread in at once */
    }
    job->result[index] = (int64_t)(x >> 1);
    atomic_fetch_sub(&job->inside[worker], 1);
    if (job->bad_step > 0 && index >= job->lowest_bad &&
        (index - job->lowest_bad) % job->bad_step == 0) {
        return pp_fail(err, index % 2 == 0 ? PP_E_RANGE : PP_E_VALUE, "piece %d", index);
    }
    return PP_OK;
}

static struct job job; /* too large for a stack; every test is a process of its own */

static enum pp_status run(int32_t count, int32_t threads, struct pp_err *err) {
    job.worker_count = threads < 1 ? 1 : threads;
    job.caller = pthread_self();
    for (int32_t i = 0; i < PIECES; i++) {
        job.done[i] = 0;
        job.result[i] = 0;
    }
    return pp_parallel_for(count, threads, one_piece, &job, err);
}

static void expect_all_done(int32_t count) {
    for (int32_t i = 0; i < PIECES; i++) {
        cr_assert_eq(job.done[i], i < count, "piece %d: %d times", i, job.done[i]);
    }
    cr_assert_eq(job.clashes, 0, "a workspace was used twice at once");
    cr_assert_eq(job.strangers, 0);
    cr_assert_eq(job.elsewhere, 0, "worker 0, and no other, is the caller's thread");
}

Test(parallel, every_piece_is_done_once_and_its_result_depends_on_its_index_only) {
    const int32_t threads[] = {-1, 0, 1, 2, 3, WORKERS};
    static int64_t first[PIECES];
    for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
        cr_assert_eq(run(PIECES, threads[t], NULL), PP_OK);
        expect_all_done(PIECES);
        if (t == 0) {
            memcpy(first, job.result, sizeof first);
        }
        cr_assert_eq(memcmp(first, job.result, sizeof first), 0, "%d threads", threads[t]);
    }
}

Test(parallel, threads_are_used_as_many_as_asked_for_and_no_more_than_pieces) {
    threads_started = 0; /* the test library has some of its own */
    run(PIECES, WORKERS, NULL);
    cr_assert_eq(threads_started, WORKERS - 1, "and the caller's");
    threads_started = 0;
    run(PIECES, 1, NULL);
    cr_assert_eq(threads_started, 0);
    run(3, WORKERS, NULL);
    cr_assert_eq(threads_started, 2);
    expect_all_done(3);
    run(0, WORKERS, NULL);
    cr_assert_eq(threads_started, 2);
    expect_all_done(0);
    threads_started = 0;
    cr_assert_eq(run(PIECES, INT32_MAX, NULL), PP_OK);
    cr_assert_lt(threads_started, PP_PARALLEL_MAX_THREADS);
}

Test(parallel, the_failure_of_the_lowest_index_wins) {
    for (int32_t round = 0; round < 200; round++) {
        struct pp_err err = {0};
        job.lowest_bad = 20 * round;
        job.bad_step = 1 + round % 3;
        char text[32];
        snprintf(text, sizeof text, "piece %d", job.lowest_bad);
        cr_assert_eq(run(PIECES, 1 + round % WORKERS, &err),
                     job.lowest_bad % 2 == 0 ? PP_E_RANGE : PP_E_VALUE);
        cr_assert_str_eq(err.message, text);
        int32_t above = 0;
        for (int32_t i = 0; i < PIECES; i++) {
            cr_assert(job.done[i] == 1 || (i > job.lowest_bad && job.done[i] == 0));
            above += i > job.lowest_bad && job.done[i] == 1;
        }
        cr_assert_lt(above, PIECES - job.lowest_bad - 1, "no more pieces are handed out");
        cr_assert_eq(run(PIECES, 1 + round % WORKERS, NULL), /* nobody to tell */
                     job.lowest_bad % 2 == 0 ? PP_E_RANGE : PP_E_VALUE);
    }
    cr_assert_eq(job.clashes, 0);
}

Test(parallel, threads_that_cannot_be_started_are_done_without) {
    for (int allowed = 0; allowed < 3; allowed++) {
        threads_allowed = allowed;
        threads_started = threads_joined = 0;
        cr_assert_eq(run(PIECES, WORKERS, NULL), PP_OK);
        cr_assert_eq(threads_started, allowed);
        cr_assert_eq(threads_joined, allowed);
        expect_all_done(PIECES);
    }
}

static _Atomic int signals_here, signals_elsewhere;
static pthread_t caller;

static void count_signal(int number) {
    (void)number;
    if (pthread_equal(pthread_self(), caller)) {
        signals_here++;
    } else {
        signals_elsewhere++;
    }
}

static enum pp_status raise_in_process(void *context, int32_t index, int32_t worker,
                                       struct pp_err *err) {
    (void)context, (void)index, (void)worker, (void)err;
    kill(getpid(), SIGUSR1); /* to the process: any thread that does not block it may take it */
    return PP_OK;
}

static void *call_from_here(void *argument) {
    sigset_t before;
    sigset_t after;
    (void)argument;
    caller = pthread_self();
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &one, &before);
    sigdelset(&before, SIGUSR1);
    cr_assert_eq(pp_parallel_for(500, WORKERS, raise_in_process, NULL, NULL), PP_OK);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int number = 1; number < 32; number++) {
        cr_assert_eq(sigismember(&before, number), sigismember(&after, number));
    }
    return NULL;
}

/* The first thread is the one that the system prefers: it blocks the signal, and another calls. */
Test(parallel, signals_stay_with_the_thread_of_the_caller) {
    struct sigaction action = {.sa_handler = count_signal};
    sigset_t one;
    pthread_t thread;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    sigaction(SIGUSR1, &action, NULL);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    cr_assert_eq(pthread_create(&thread, NULL, call_from_here, NULL), 0);
    pthread_join(thread, NULL);
    cr_assert_gt(signals_here, 0);
    cr_assert_eq(signals_elsewhere, 0);
}

Test(parallel, processors_follow_the_affinity_and_the_limit) {
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    cr_assert_eq(pp_parallel_threads(INT32_MAX), CPU_COUNT(&set));
    cr_assert_eq(pp_parallel_threads(1), 1);
    cr_assert_eq(pp_parallel_threads(-5), 1);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &set)) {
        cpu++;
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_assert_eq(pp_parallel_threads(8), 1);
}
