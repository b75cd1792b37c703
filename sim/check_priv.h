/**
 * @file check_priv.h
 * Private to the check: the state in which a run ends, and naming what it hangs on.
 */
#ifndef PP_SIM_CHECK_PRIV_H
#define PP_SIM_CHECK_PRIV_H

#include "sim/check.h"

/** A directed rank pair that messages go along. Link l ^ 1 is the way back. */
struct pp_check_link {
    int32_t from, to;               /* ranks */
    int32_t send_queue, recv_queue; /* where its SENDs and its RECVs are posted */
    int32_t sent, received;         /* messages so far: SENDs done, RECVs done */
    int32_t next_of_from;           /* links of one sender, a list; -1 at its end */
};

/** Posted and not done, first to last; actions are chained by `after`. */
struct pp_check_queue {
    int32_t head, tail; /* -1 if empty */
};

struct pp_check {
    const struct pp_sched *s;
    const struct pp_comms *comms;
    int32_t *next;    /* [rank_count] first action not posted or run */
    int32_t *link_of; /* [stage_count][PP_TRANSFER_TYPE_COUNT]; -1 where nothing crosses ranks */
    struct pp_check_link *links;
    int32_t link_count;
    struct pp_check_queue *queues;
    int32_t queue_count;
    int32_t *after;   /* [action_count] behind it in its queue; -1 if last */
    uint8_t *done;    /* [action_count] */
    int32_t *ready;   /* [rank_count] stack of ranks that may advance */
    bool *is_waiting; /* [rank_count] not in `ready`, and stands before a compute action */
    int32_t *dirty;   /* [queue_count] stack of queues whose first may be done */
    bool *is_dirty;   /* [queue_count] */
    int32_t ready_count, dirty_count;
};

static inline bool pp_check_is_send(const struct pp_action *a) {
    return a->type == PP_SEND_F || a->type == PP_SEND_B;
}

static inline bool pp_check_is_transfer(const struct pp_action *a) {
    return a->type >= PP_SEND_F && a->type <= PP_RECV_B;
}

static inline int32_t pp_check_link_of(const struct pp_check *c, const struct pp_action *a) {
    return c->link_of[a->stage * PP_TRANSFER_TYPE_COUNT + a->type - PP_SEND_F];
}

/** Names the shortest cycle in a run that stands still before its end. @return as pp_check_run */
enum pp_status pp_check_comm_cycle(const struct pp_check *c, struct pp_deadlock *deadlock_p,
                                   struct pp_err *err);

/** Fills `err` with a cycle in words. @return PP_E_DEADLOCK */
enum pp_status pp_check_describe(const struct pp_sched *s, const struct pp_wait *waits,
                                 int32_t wait_count, struct pp_err *err);

#endif
