/* A thread a rank. Threads live as long as the drive and wait for a step to begin; while one runs
 * they share nothing but flags. */
#include "exec/drive_priv.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct worker {
    struct pp_threads *threads;
    struct pp_rank *rank;
    pthread_t thread;
};

struct pp_threads {
    struct pp_drive *drive;
    struct worker *workers; /* [rank_count] */
    int32_t started;        /* threads that run */
    bool enough_cores;

    pthread_mutex_t looking; /* held by who asks pp_watch */
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    int64_t step;    /* how many were begun; under the lock, as is all to `err` */
    int32_t running; /* threads in this step */
    bool quit, failed;
    struct pp_failure failure; /* the first */
    struct pp_err err;

    /* Set under the lock when one has failed; the others ask it, relaxed, to stop soon. */
    _Atomic bool stop;
};

/* The first to fail is the one that is told. */
static void set_failure(struct pp_threads *t, const struct pp_failure *failure,
                        const struct pp_err *err) {
    pthread_mutex_lock(&t->lock);
    if (!t->failed) {
        t->failed = true;
        t->failure = *failure;
        t->err = *err;
        atomic_store_explicit(&t->stop, true, memory_order_relaxed);
    }
    pthread_mutex_unlock(&t->lock);
}

/* One at a time: who is asked, look_around too, need not be ready for several. */
static void look(struct pp_threads *t) {
    struct pp_failure failure = {.rank = -1, .action = -1};
    struct pp_err err = {0};
    if (pthread_mutex_trylock(&t->looking) != 0) {
        return;
    }
    if (!atomic_load_explicit(&t->stop, memory_order_relaxed) &&
        pp_watch(t->drive, &failure, &err)) {
        set_failure(t, &failure, &err);
    }
    pthread_mutex_unlock(&t->looking);
}

/* A rank's step. */
static void drive_rank(struct pp_threads *t, struct pp_rank *rank) {
    struct pp_idle idle = {.alone = t->enough_cores};
    struct pp_err err = {0};
    int64_t look_ns = 0;
    while (!atomic_load_explicit(&t->stop, memory_order_relaxed)) {
        enum pp_progress progress = pp_rank_poll(rank, &err);
        if (progress == PP_FINISHED) {
            return;
        }
        if (progress == PP_FAILED) {
            struct pp_failure failure = {.rank = -1, .action = -1};
            pthread_mutex_lock(&t->looking);
            pp_watch_failed(t->drive, rank, &failure, &err);
            pthread_mutex_unlock(&t->looking);
            set_failure(t, &failure, &err);
            return;
        }
        if (progress == PP_ADVANCED) {
            idle.rounds = 0;
            look_ns = 0;
            continue;
        }
        pp_idle_wait(&idle, pp_rank_wake_ns(rank), pp_rank_may_sleep(rank));
        if (pp_watch_is_due(&look_ns)) {
            look(t);
        }
    }
}

static void *work(void *argument) {
    struct worker *w = argument;
    struct pp_threads *t = w->threads;
    int64_t seen = 0;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (t->step == seen && !t->quit) {
            pthread_cond_wait(&t->begin, &t->lock);
        }
        if (t->quit) {
            break;
        }
        seen = t->step;
        pthread_mutex_unlock(&t->lock);
        drive_rank(t, w->rank);
        pthread_mutex_lock(&t->lock);
        if (--t->running == 0) {
            pthread_cond_signal(&t->end);
        }
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

enum pp_status pp_threads_create(struct pp_drive *d, struct pp_err *err) {
    struct pp_threads *t = calloc(1, sizeof *t);
    struct worker *workers = calloc((size_t)d->rank_count, sizeof *workers);
    if (t == NULL || workers == NULL) {
        free(t);
        free(workers);
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d threads", d->rank_count);
    }
    t->drive = d;
    t->workers = workers;
    t->enough_cores = sysconf(_SC_NPROCESSORS_ONLN) >= d->rank_count;
    pthread_mutex_init(&t->looking, NULL);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->begin, NULL);
    pthread_cond_init(&t->end, NULL);
    d->threads = t;
    for (; t->started < d->rank_count; t->started++) {
        struct worker *w = &workers[t->started];
        *w = (struct worker){.threads = t, .rank = d->ranks[t->started]};
        int error = pthread_create(&w->thread, NULL, work, w);
        if (error != 0) {
            int32_t started = t->started;
            pp_threads_destroy(d);
            return pp_fail(err, PP_E_ENV, "no thread for rank %d, after %d: %s",
                           d->ranks[started]->config.rank, started, strerror(error));
        }
    }
    return PP_OK;
}

void pp_threads_destroy(struct pp_drive *d) {
    struct pp_threads *t = d->threads;
    pthread_mutex_lock(&t->lock);
    t->quit = true;
    pthread_cond_broadcast(&t->begin);
    pthread_mutex_unlock(&t->lock);
    for (int32_t i = 0; i < t->started; i++) {
        pthread_join(t->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&t->begin);
    pthread_cond_destroy(&t->end);
    pthread_mutex_destroy(&t->lock);
    pthread_mutex_destroy(&t->looking);
    free(t->workers);
    free(t);
    d->threads = NULL;
}

enum pp_status pp_threads_step(struct pp_drive *d, struct pp_failure *failure, struct pp_err *err) {
    struct pp_threads *t = d->threads;
    pthread_mutex_lock(&t->lock);
    t->step++;
    t->running = d->rank_count;
    pthread_cond_broadcast(&t->begin);
    while (t->running > 0) {
        pthread_cond_wait(&t->end, &t->lock);
    }
    bool failed = t->failed;
    if (failed) {
        *failure = t->failure;
        *err = t->err;
    }
    pthread_mutex_unlock(&t->lock);
    return failed ? err->status : PP_OK;
}
