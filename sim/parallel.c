#define _GNU_SOURCE /* sched_getaffinity */
#include "sim/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

/* What the threads of one pp_parallel_for share. */
struct shared {
    pp_parallel_work *work;
    void *context;
    int32_t count;
    _Atomic int32_t next; /* first piece not handed out */
    pthread_mutex_t lock; /* of what follows */
    enum pp_status status;
    int32_t failed; /* lowest index that failed; `count` if none has */
    struct pp_err *err;
};

struct worker {
    struct shared *shared;
    int32_t index;
};

int32_t pp_parallel_threads(int32_t most) {
    cpu_set_t set;
    long count =
        sched_getaffinity(0, sizeof set, &set) == 0
            ? CPU_COUNT(&set)
            : sysconf(_SC_NPROCESSORS_ONLN); /* more processors than the set has room for */
    return (int32_t)pp_max_i64(1, pp_min_i64(count, most));
}

/* Keeps the failure of the lowest index and stops the handing out. */
static void note_failure(struct shared *s, int32_t index, enum pp_status status,
                         const struct pp_err *why) {
    pthread_mutex_lock(&s->lock);
    if (index < s->failed) {
        s->failed = index;
        s->status = status;
        if (s->err != NULL) {
            *s->err = *why;
        }
    }
    pthread_mutex_unlock(&s->lock);
    atomic_store_explicit(&s->next, s->count, memory_order_relaxed);
}

/* The next piece, or -1. By compare and exchange, so that the counter cannot run past `count`. */
static int32_t take_piece(struct shared *s) {
    int32_t index = atomic_load_explicit(&s->next, memory_order_relaxed);
    while (index < s->count &&
           !atomic_compare_exchange_weak_explicit(&s->next, &index, index + 1, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
    return index < s->count ? index : -1;
}

/* Pieces are handed out in ascending order and those begun are finished, so below a failure nothing
 * is left out: the lowest failure does not depend on the threads. */
static void *run_worker(void *argument) {
    const struct worker *w = argument;
    struct shared *s = w->shared;
    for (int32_t index = take_piece(s); index >= 0; index = take_piece(s)) {
        struct pp_err why = {0};
        enum pp_status status = s->work(s->context, index, w->index, &why);
        if (status != PP_OK) {
            note_failure(s, index, status, &why);
        }
    }
    return NULL;
}

/* Signals are for the caller's thread: those started here inherit a mask that blocks them all.
 * @return how many threads were started */
static int32_t start_threads(struct worker *workers, pthread_t *threads, int32_t count) {
    sigset_t all;
    sigset_t before;
    int32_t started = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started < count &&
           pthread_create(&threads[started], NULL, run_worker, &workers[started + 1]) == 0) {
        started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

enum pp_status pp_parallel_for(int32_t count, int32_t thread_count, pp_parallel_work *work,
                               void *context, struct pp_err *err) {
    struct shared shared = {.work = work,
                            .context = context,
                            .count = count,
                            .lock = PTHREAD_MUTEX_INITIALIZER,
                            .failed = count,
                            .err = err};
    struct worker workers[PP_PARALLEL_MAX_THREADS];
    pthread_t threads[PP_PARALLEL_MAX_THREADS];
    thread_count = (int32_t)pp_max_i64(
        1, pp_min_i64(pp_min_i64(count, thread_count), PP_PARALLEL_MAX_THREADS));
    for (int32_t i = 0; i < thread_count; i++) {
        workers[i] = (struct worker){.shared = &shared, .index = i};
    }
    int32_t started = start_threads(workers, threads, thread_count - 1);
    run_worker(&workers[0]);
    for (int32_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_mutex_destroy(&shared.lock);
    return shared.status;
}
