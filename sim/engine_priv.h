/**
 * @file engine_priv.h
 * Private to the engine: what its rooms hand to one another. engine.c owns the object and its
 * costs, engine_graph.c finds what waits for what, engine_order.c a visiting order, engine_sweep.c
 * and engine_events.c run it, engine_fair.c tells transfers in motion their rates, engine_binding.c
 * says what held up a start.
 *
 * About 32 bytes an action, 36 with places, beside the trace.
 *
 * "None" is action_count wherever an end time is looked up: the trace's last entry, 0.
 */
#ifndef PP_SIM_ENGINE_PRIV_H
#define PP_SIM_ENGINE_PRIV_H

#include "sim/engine.h"

enum { PP_COMPUTE_TYPE_COUNT = PP_B + 1 };

/** Of the sweep. A POST tells `count` actions from `at` on their gate, in start_ns, until a MESSAGE
 *  or SEND and RECV writes their start there. Compute posts the `count` actions behind it. */
enum pp_engine_step_kind {
    PP_STEP_COMPUTE,
    PP_STEP_PAIR, /* first part; its second is the next step */
    PP_STEP_POST,
    PP_STEP_MESSAGE, /* rendezvous: `at` the SEND, `other` the RECV */
    PP_STEP_SEND,    /* with places: `other` the RECV as many before */
    PP_STEP_RECV,    /* likewise: `other` the SEND */
    PP_STEP_COLLECTIVE,
    PP_STEP_HOST,
    PP_STEP_RESHARD,
};

enum { PP_STEP_MAX_COUNT = UINT16_MAX };

struct pp_engine_step {
    int32_t at;
    int32_t other; /* see above; compute: the RECV of its input, or none */
    int32_t cost;  /* index into compute_ns, messages or collectives */
    uint32_t kind : 4;
    uint32_t rank : 12;
    uint32_t count : 16;
};

/** What the event queue reads of an action, in one place. */
struct pp_engine_entry {
    int32_t partner; /* of a SEND or RECV the other end, by number; of compute the last UNSHARD of
                        its stage before it; -1 */
    int32_t after;   /* behind it in its queue, or lane if collective or host; of compute the RECV
                        of its input; -1 */
    uint32_t stage : 16;
    uint32_t type : 8;
    uint32_t pair : 8;
};

/** The messages that a stage receives, F at 2 * stage, B at 2 * stage + 1. */
struct pp_engine_message {
    int64_t bytes, alone_ns, latency_ns; /* of the run */
    int32_t from, to;                    /* ranks; -1 where nothing crosses ranks */
    int32_t send_queue, recv_queue;
    int32_t link; /* directed rank pair */
    struct pp_route route;
};

/** UNSHARD at 2 * stage, REDUCE_GRAD at 2 * stage + 1. */
struct pp_engine_collective {
    int64_t bytes, alone_ns, fixed_ns;
    struct pp_route route;
};

/** When a rank is through with what; of the sweep. */
struct pp_engine_lane {
    int64_t compute_ns, batch_ns, collective_ns, reduce_ns, host_ns;
};

struct pp_engine_events; /* engine_events.c */

struct pp_engine {
    const struct pp_sched *s;
    struct pp_runtime runtime;
    int32_t link_count, queue_count, step_count;
    bool gathers, has_reductions, has_pairs;

    struct pp_engine_step *steps;    /* [step_count] */
    struct pp_engine_entry *entries; /* [action_count] */
    int32_t *prev;                   /* [action_count] before it in its queue, or lane if collective
                                        or host; -1 */
    int32_t *gate;                   /* [action_count] last compute action before it; -1 */
    int32_t *room;                   /* [action_count] of a SEND the RECV K before, of a RECV the
                                        SEND K behind; -1. NULL without places */
    int32_t *queue_first;            /* [queue_count] -1 */
    int32_t *queue_rank;             /* [queue_count] */
    int32_t *collective_first;       /* [rank_count] -1 */
    int32_t (*type_count)[PP_ACTION_TYPE_COUNT]; /* [stage_count] how many there are, without... */
    int32_t (*pair_count)[PP_COMPUTE_TYPE_COUNT + 1]; /* ... parts of pairs; last: pairs by the
                                                         stage of their first part */

    struct pp_engine_message *messages;       /* [2 * stage_count] */
    struct pp_engine_collective *collectives; /* [2 * stage_count] */
    const struct pp_engine_costs *costs;      /* of the run */
    int64_t *compute_ns;                      /* [stage_count * PP_COMPUTE_TYPE_COUNT] */
    struct pp_engine_lane *lanes;             /* [rank_count] */
    int64_t *gathered_ns;                     /* [stage_count] end of the last UNSHARD so far */
    int64_t *free_ns;                         /* [queue_count] */
    struct pp_engine_events *events;
    bool ran_pairs; /* the last run took pairs as one */
};

static inline bool pp_engine_is_send(enum pp_action_type type) {
    return type == PP_SEND_F || type == PP_SEND_B;
}

static inline bool pp_engine_is_transfer(enum pp_action_type type) {
    return type >= PP_SEND_F && type <= PP_RECV_B;
}

static inline bool pp_engine_is_collective(enum pp_action_type type) {
    return type == PP_UNSHARD || type == PP_REDUCE_GRAD;
}

/** Which of `messages` a SEND or RECV is: it is numbered by its own stage, they by the receiver's,
 * the next or the one before. */
static inline int32_t pp_engine_message_at(int32_t stage, enum pp_action_type type) {
    static const int8_t behind[PP_TRANSFER_TYPE_COUNT] = {[PP_SEND_F - PP_SEND_F] = 2,
                                                          [PP_RECV_F - PP_SEND_F] = 0,
                                                          [PP_SEND_B - PP_SEND_F] = -1,
                                                          [PP_RECV_B - PP_SEND_F] = 1};
    return 2 * stage + behind[type - PP_SEND_F];
}
static inline int32_t pp_engine_message_of(const struct pp_action *a) {
    return pp_engine_message_at(a->stage, a->type);
}

static inline int32_t pp_engine_queue_of(const struct pp_engine *e, const struct pp_action *a) {
    const struct pp_engine_message *m = &e->messages[pp_engine_message_of(a)];
    return pp_engine_is_send(a->type) ? m->send_queue : m->recv_queue;
}

static inline int32_t pp_engine_collective_at(int32_t stage, enum pp_action_type type) {
    return 2 * stage + (type == PP_REDUCE_GRAD);
}
static inline int32_t pp_engine_collective_of(const struct pp_action *a) {
    return pp_engine_collective_at(a->stage, a->type);
}

/** Fills the graph of an engine whose arrays are there. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_engine_make_graph(struct pp_engine *e, struct pp_err *err);
/** Fills the steps, by the graph. @return as pp_engine_create */
enum pp_status pp_engine_find_order(struct pp_engine *e, struct pp_deadlock *deadlock_p,
                                    struct pp_err *err);

void pp_engine_sweep(struct pp_engine *e, int64_t *start_ns, int64_t *end_ns);

/** @return NULL without memory */
struct pp_engine_events *pp_engine_events_create(struct pp_engine *e);
void pp_engine_events_destroy(struct pp_engine_events *ev);
/** @param net  NULL: every transfer moves as if alone */
void pp_engine_play(struct pp_engine *e, const struct pp_network *net, int64_t *start_ns,
                    int64_t *end_ns, int64_t *event_count_p);

#endif
