/* What the files of the interpreter share, and what those that drive it may ask. */
#ifndef PP_EXEC_RANK_PRIV_H
#define PP_EXEC_RANK_PRIV_H

#include "exec/clock.h"
#include "exec/drive.h"
#include "exec/where.h"

#include <stdatomic.h>

/**
 * One exchange of gradients with the other copy of a stage. Each side adds the other's gradients as
 * they were before either added anything. Between ranks that is what was sent: the receive is
 * posted into `scratch` when the step begins, the own block is sent when the walk comes to the
 * REDUCE_GRAD, and only when both are over the REDUCE_GRAD starts. Copies on one rank: when the
 * walk has passed both REDUCE_GRADs, and so the last B or W of both, each gets a copy of the
 * other's block. Nothing of the lane waits behind an exchange: the other side may need what comes
 * later.
 */
struct pp_exchange {
    int32_t action;      /* own REDUCE_GRAD */
    int32_t peer_action; /* the other copy's */
    int32_t twin;        /* on the same rank: index of the other side; else -1 */
    int64_t bytes;
    void *scratch; /* [bytes] the other side's gradients */
    struct pp_message in, out;
    bool reached, sent, received, started; /* in this step */
};

/* A message that is posted and not done. */
struct pp_posted {
    struct pp_message m;
    int32_t exchange; /* it belongs to; -1 */
    bool send;
};

struct pp_rank {
    struct pp_rank_config config;
    const struct pp_sched *sched;
    const struct pp_bound *bound;
    int32_t begin, end; /* its actions */
    int32_t cursor;
    int64_t step, zero_ns;
    int64_t now_ns; /* of this poll; 0: not asked yet */
    bool finished;

    /* [end - begin] enum pp_action_state. The rank's own thread writes it; the watchdog of another
     * thread reads it, for which a picture that is a little old will do: relaxed. */
    _Atomic uint8_t *state;
    int64_t *queue_ns; /* [end - begin] by clock.h; 0: not yet */
    int64_t *start_ns, *end_ns;
    int64_t cursor_ns; /* when the walk came to the action it stands at */

    int32_t *held; /* actions, in list order */
    int32_t held_count;
    struct pp_posted *posted; /* in order of posting */
    int32_t posted_count, posted_sends;
    int32_t *flights; /* work that was started and is not done; compute among it */
    int32_t flight_count;

    struct pp_exchange *exchanges; /* incoming messages in the order of their channels */
    int32_t exchange_count;
    int32_t exchanges_open;

    enum pp_failure_kind failure; /* after PP_FAILED */
    int32_t failed_action;

    /* The view, for other threads: a recent answer, at most newer in `since_ns`. */
    _Atomic uint64_t stands; /* action + 1 in the high half, 2 * (waits_for + 1) + running below */
    _Atomic int64_t since_ns;
};

static inline enum pp_action_state pp_rank_state(const struct pp_rank *r, int32_t action) {
    return (enum pp_action_state)atomic_load_explicit(&r->state[action - r->begin],
                                                      memory_order_relaxed);
}

static inline void pp_rank_set_state(struct pp_rank *r, int32_t action,
                                     enum pp_action_state state) {
    atomic_store_explicit(&r->state[action - r->begin], (uint8_t)state, memory_order_relaxed);
}

static inline int64_t pp_rank_now(struct pp_rank *r);

/* The one place that knows that a rank may have no ring. */
static inline void pp_rank_note(struct pp_rank *r, enum pp_event_kind kind, int32_t action,
                                int32_t other) {
    if (r->config.ring != NULL) {
        struct pp_event event = {.time_ns = pp_rank_now(r),
                                 .step = r->step,
                                 .action = action,
                                 .other = other,
                                 .kind = (int32_t)kind};
        pp_ring_write(r->config.ring, &event);
    }
}

/* ---- lanes: rank_lanes.c ---- */

/* First wait of an action that is not over; -1: it may start. */
int32_t pp_rank_open_wait(const struct pp_rank *r, int32_t action);
/* Hands over what is no compute, or holds it until it can be. */
enum pp_status pp_rank_pass(struct pp_rank *r, int32_t action, struct pp_err *err);
/* Starts work: compute, or a lane's. */
enum pp_status pp_rank_start(struct pp_rank *r, int32_t action, struct pp_err *err);
/* Is work that was started done? */
bool pp_rank_work_done(struct pp_rank *r, int32_t action);
/* Moves on what is under way and held. */
enum pp_status pp_rank_move(struct pp_rank *r, bool *advanced_p, struct pp_err *err);

/* ---- exchanges: rank_exchange.c ---- */

enum pp_status pp_exchanges_create(struct pp_rank *r, struct pp_err *err);
void pp_exchanges_destroy(struct pp_rank *r);
enum pp_status pp_exchanges_begin(struct pp_rank *r, struct pp_err *err);
/* Which exchange an action is; -1 if none. */
static inline int32_t pp_exchange_of(const struct pp_rank *r, int32_t action) {
    int32_t i = r->sched->actions[action].type == PP_REDUCE_GRAD ? r->exchange_count - 1 : -1;
    while (i >= 0 && r->exchanges[i].action != action) {
        i--;
    }
    return i;
}
enum pp_status pp_exchange_reach(struct pp_rank *r, int32_t exchange, struct pp_err *err);
/* Starts those that both sides are through with. */
enum pp_status pp_exchanges_move(struct pp_rank *r, bool *advanced_p, struct pp_err *err);

/* Puts a message on its way. */
enum pp_status pp_rank_post(struct pp_rank *r, const struct pp_message *m, bool send,
                            int32_t exchange, struct pp_err *err);

/* ---- for drive and watch ---- */

/* May a message be done although nobody posts anything further? */
static inline bool pp_rank_under_way(const struct pp_rank *r) {
    return r->config.transport->under_way != NULL &&
           r->config.transport->under_way(r->config.endpoint);
}

/* Need nobody look after this rank's messages? A send may have to be brought in by its sender. */
static inline bool pp_rank_may_sleep(const struct pp_rank *r) {
    return r->posted_sends == 0 && !pp_rank_under_way(r);
}

/* No work of this rank is done before; INT64_MAX: none is in flight, 0: not known. */
static inline int64_t pp_rank_wake_ns(const struct pp_rank *r) {
    if (r->flight_count == 0) {
        return INT64_MAX;
    }
    return r->config.compute->wake_ns == NULL
               ? 0
               : r->config.compute->wake_ns(r->config.compute_context);
}

static inline int64_t pp_rank_now(struct pp_rank *r) {
    if (r->now_ns == 0) {
        r->now_ns = pp_now_ns();
    }
    return r->now_ns;
}

#endif
