/* Drives the ranks of a process through a step, one after the other on the caller's thread. */
#include "exec/drive_priv.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- life ---- */

enum pp_status pp_drive_create(struct pp_rank **ranks, int32_t rank_count,
                               const struct pp_program *program,
                               const struct pp_drive_options *options, struct pp_drive **drive_p,
                               struct pp_err *err) {
    struct pp_drive *d = malloc(sizeof *d);
    if (d == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory to drive %d ranks", rank_count);
    }
    *d = (struct pp_drive){
        .ranks = ranks, .rank_count = rank_count, .program = program, .options = *options};
    enum pp_status status = options->threads ? pp_threads_create(d, err) : PP_OK;
    if (status != PP_OK) {
        free(d);
        return status;
    }
    *drive_p = d;
    return PP_OK;
}

void pp_drive_destroy(struct pp_drive *d) {
    if (d != NULL) {
        if (d->threads != NULL) {
            pp_threads_destroy(d);
        }
        free(d);
    }
}

void pp_failure_deinit(struct pp_failure *failure) {
    free(failure->views);
    failure->views = NULL;
    failure->view_count = 0;
}

/* ---- waiting ---- */

enum {
    SPIN_ROUNDS = 64,      /* some 20 us beside the polls */
    YIELD_ROUNDS = 16,     /* then let others run */
    NAP_NS = 50000,        /* then sleep */
    WAKE_EARLY_NS = 80000, /* a sleeper comes late by about this much */
    PAUSES = 8
};

static inline void pause_core(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void pause_a_while(void) {
    for (int i = 0; i < PAUSES; i++) {
        pause_core();
    }
}

void pp_idle_wait(struct pp_idle *idle, int64_t wake_ns, bool may_sleep) {
    int32_t spins = idle->alone ? SPIN_ROUNDS : 0;
    bool known = wake_ns != 0 && wake_ns != INT64_MAX;
    idle->rounds++;
    if (!(known && may_sleep) && idle->rounds <= spins + YIELD_ROUNDS) {
        if (idle->rounds <= spins) {
            pause_a_while();
        } else {
            sched_yield();
        }
        return;
    }
    int64_t now_ns = pp_now_ns();
    int64_t left_ns = known ? wake_ns - WAKE_EARLY_NS - now_ns : INT64_MAX;
    if (left_ns <= 0) {
        pause_a_while(); /* who yields now may come back too late */
    } else {
        pp_sleep_until_ns(now_ns + pp_min_i64(left_ns, known && may_sleep ? PP_WATCH_NS : NAP_NS));
    }
}

/* ---- one thread ---- */

struct round {
    bool advanced, finished;
    bool working;    /* work is in flight */
    bool under_way;  /* a transport moves something by itself */
    int64_t wake_ns; /* no work in flight is done before */
};

/* Polls every rank once. @return PP_OK, or what a rank failed with */
static enum pp_status poll_all(struct pp_drive *d, struct round *round_p,
                               struct pp_failure *failure, struct pp_err *err) {
    *round_p = (struct round){.finished = true};
    for (int32_t i = 0; i < d->rank_count; i++) {
        bool was_finished = d->ranks[i]->finished;
        switch (pp_rank_poll(d->ranks[i], err)) {
        case PP_FAILED:
            pp_watch_failed(d, d->ranks[i], failure, err);
            return err->status;
        case PP_ADVANCED:
            round_p->advanced = true;
            round_p->finished = false;
            break;
        case PP_BLOCKED:
            round_p->finished = false;
            break;
        case PP_FINISHED: /* what it did last may be what a rank that was polled before waits for */
            round_p->advanced = round_p->advanced || !was_finished;
            break;
        }
    }
    return PP_OK;
}

/* Nothing advanced: what may still come by itself, and not before when? */
static void look_ahead(const struct pp_drive *d, struct round *round) {
    round->wake_ns = INT64_MAX;
    for (int32_t i = 0; i < d->rank_count; i++) {
        round->working = round->working || d->ranks[i]->flight_count > 0;
        round->under_way = round->under_way || pp_rank_under_way(d->ranks[i]);
        round->wake_ns = pp_min_i64(round->wake_ns, pp_rank_wake_ns(d->ranks[i]));
    }
}

static enum pp_status drive_alone(struct pp_drive *d, struct pp_failure *failure,
                                  struct pp_err *err) {
    struct pp_idle idle = {.alone = true};
    int64_t look_ns = 0;
    for (;;) {
        struct round round;
        PP_TRY(poll_all(d, &round, failure, err));
        if (round.finished) {
            return PP_OK;
        }
        if (round.advanced) {
            idle.rounds = 0;
            look_ns = 0;
            continue;
        }
        look_ahead(d, &round);
        if (!round.working && !round.under_way) {
            return pp_watch_standstill(d, failure, err);
        }
        pp_idle_wait(&idle, round.wake_ns, !round.under_way);
        if (pp_watch_is_due(&look_ns) && pp_watch(d, failure, err)) {
            return err->status;
        }
    }
}

/* ---- a step ---- */

/* In the ring of a rank that did not fail by itself, too: its process will leave because of this,
 * and others must not take it for one that died. The action may be another rank's. */
static void note_failure(struct pp_rank *rank, const struct pp_failure *failure) {
    if (rank->failure == PP_FAIL_NONE) {
        pp_rank_note(rank, PP_EVENT_FAILED, failure->action, -1);
    }
}

enum pp_status pp_drive_step(struct pp_drive *d, int64_t step, struct pp_failure *failure_p,
                             struct pp_err *err) {
    struct pp_err own = {0};
    struct pp_err *error = err != NULL ? err : &own;
    *failure_p = (struct pp_failure){.kind = PP_FAIL_NONE, .rank = -1, .action = -1};
    d->zero_ns = pp_now_ns();
    enum pp_status status = PP_OK;
    for (int32_t i = 0; i < d->rank_count && status == PP_OK; i++) {
        status = pp_rank_begin(d->ranks[i], step, d->zero_ns, error);
        if (status != PP_OK) {
            pp_watch_failed(d, d->ranks[i], failure_p, error);
        }
    }
    if (status == PP_OK) {
        status = d->threads != NULL ? pp_threads_step(d, failure_p, error)
                                    : drive_alone(d, failure_p, error);
    }
    if (status != PP_OK) {
        pp_watch_views(d, failure_p);
        for (int32_t i = 0; i < d->rank_count; i++) {
            note_failure(d->ranks[i], failure_p);
            pp_rank_abort(d->ranks[i]);
        }
    }
    return status;
}

int64_t pp_drive_zero_ns(const struct pp_drive *d) {
    return d->zero_ns;
}
