/* What a rank has under way beside its walk: messages, work on lanes, and what is held until what
 * it waits for is over. A lane takes its actions in list order: what is held holds those behind it
 * in its lane, and nothing else. */
#include "exec/rank_priv.h"

#include <string.h>

enum { LANE_HOST = -1, LANE_FREE = -2 };

/* Of messages the channel; collectives never wait long for anything but exchanges, which stand for
 * themselves. */
static int32_t lane_of(const struct pp_rank *r, int32_t action) {
    const struct pp_action *a = &r->sched->actions[action];
    if (a->type >= PP_SEND_F && a->type <= PP_RECV_B) {
        return r->bound[action].channel;
    }
    return pp_action_is_offload(a) ? LANE_HOST : LANE_FREE;
}

int32_t pp_rank_open_wait(const struct pp_rank *r, int32_t action) {
    const struct pp_bound *b = &r->bound[action];
    for (int32_t i = 0; i < b->wait_count; i++) {
        if (pp_rank_state(r, b->waits[i]) != PP_ACTION_DONE) {
            return b->waits[i];
        }
    }
    return -1;
}

static bool lane_is_held(const struct pp_rank *r, int32_t action) {
    int32_t lane = lane_of(r, action);
    for (int32_t i = 0; lane != LANE_FREE && i < r->held_count; i++) {
        if (r->held[i] == action) {
            break;
        }
        if (lane_of(r, r->held[i]) == lane) {
            return true;
        }
    }
    return false;
}

/* ---- ends ---- */

static void finish(struct pp_rank *r, int32_t action, int64_t start_ns, int64_t end_ns) {
    int32_t at = action - r->begin;
    struct pp_trace *trace = r->config.trace;
    r->start_ns[at] = start_ns;
    r->end_ns[at] = end_ns;
    /* It may have ended during this poll; what follows is not before it. */
    r->now_ns = r->now_ns == 0 ? 0 : pp_max_i64(r->now_ns, end_ns);
    pp_rank_set_state(r, action, PP_ACTION_DONE);
    if (trace != NULL) {
        trace->start_ns[action] = start_ns - r->zero_ns;
        trace->end_ns[action] = end_ns - r->zero_ns;
        if (trace->queue_ns != NULL) {
            trace->queue_ns[action] = pp_min_i64(r->queue_ns[at], start_ns) - r->zero_ns;
        }
    }
    pp_rank_note(r, PP_EVENT_DONE, action, -1);
}

/* ---- work ---- */

static inline void *in_arena(void *arena, int64_t offset) {
    return offset < 0 || arena == NULL ? NULL : (char *)arena + offset;
}

/* When all it waits for was over. */
static int64_t ready_of(struct pp_rank *r, int32_t action) {
    const struct pp_bound *b = &r->bound[action];
    if (pp_exchange_of(r, action) >= 0) {
        return pp_rank_now(r);
    }
    int64_t ready = r->queue_ns[action - r->begin];
    for (int32_t i = 0; i < b->wait_count; i++) {
        ready = pp_max_i64(ready, r->end_ns[b->waits[i] - r->begin]);
    }
    return ready;
}

static struct pp_work work_of(const struct pp_rank *r, int32_t action) {
    const struct pp_bound *b = &r->bound[action];
    void *arena = r->config.arena;
    struct pp_work w = {.program = r->config.program,
                        .index = action,
                        .action = r->sched->actions[action],
                        .input = in_arena(arena, b->input),
                        .output = in_arena(arena, b->output),
                        .output_grad = in_arena(arena, b->output_grad),
                        .input_grad = in_arena(arena, b->input_grad),
                        .stash = in_arena(arena, b->stash),
                        .host_input = in_arena(r->config.host_arena, b->host_input),
                        .host_stash = in_arena(r->config.host_arena, b->host_stash)};
    if (w.action.type == PP_REDUCE_GRAD) {
        int32_t exchange = pp_exchange_of(r, action);
        w.copy_grad = exchange < 0 ? NULL : r->exchanges[exchange].scratch;
    }
    return w;
}

/* A workload that tells no times: seen to start and to end. */
static void finish_work(struct pp_rank *r, int32_t action) {
    int64_t start_ns = r->start_ns[action - r->begin];
    int64_t end_ns = pp_rank_now(r);
    if (r->config.compute->times != NULL) {
        r->config.compute->times(r->config.compute_context, action, &start_ns, &end_ns);
    }
    finish(r, action, start_ns, end_ns);
    int32_t exchange = pp_exchange_of(r, action);
    r->exchanges_open -= exchange >= 0;
}

enum pp_status pp_rank_start(struct pp_rank *r, int32_t action, struct pp_err *err) {
    struct pp_work w = work_of(r, action);
    const struct pp_compute_ops *ops = r->config.compute;
    w.ready_ns = ready_of(r, action);
    r->start_ns[action - r->begin] = pp_rank_now(r);
    pp_rank_set_state(r, action, PP_ACTION_STARTED);
    pp_rank_note(r, PP_EVENT_STARTED, action, -1);
    enum pp_status status = ops->start(r->config.compute_context, &w, err);
    r->now_ns = 0;
    if (status != PP_OK) {
        r->failure = PP_FAIL_COMPUTE;
        r->failed_action = action;
        return status;
    }
    if (ops->done == NULL || ops->done(r->config.compute_context, &w)) {
        finish_work(r, action);
    } else {
        r->flights[r->flight_count++] = action;
    }
    return PP_OK;
}

static void move_flights(struct pp_rank *r, bool *advanced_p) {
    int32_t kept = 0;
    int32_t count = r->flight_count;
    for (int32_t i = 0; i < count; i++) {
        struct pp_work w = work_of(r, r->flights[i]);
        if (r->config.compute->done(r->config.compute_context, &w)) {
            finish_work(r, w.index);
            *advanced_p = true;
        } else {
            r->flights[kept++] = w.index;
        }
    }
    r->flight_count = kept;
}

/* ---- messages ---- */

enum pp_status pp_rank_post(struct pp_rank *r, const struct pp_message *m, bool send,
                            int32_t exchange, struct pp_err *err) {
    const struct pp_transport_ops *ops = r->config.transport;
    struct pp_posted *p = &r->posted[r->posted_count++];
    p->m = *m;
    p->exchange = exchange;
    p->send = send;
    r->posted_sends += send;
    enum pp_status status = send ? ops->post_send(r->config.endpoint, m, err)
                                 : ops->post_recv(r->config.endpoint, m, err);
    if (status != PP_OK) {
        r->failure = PP_FAIL_MESSAGE;
        r->failed_action = m->index;
    }
    return status;
}

static enum pp_status post_message(struct pp_rank *r, int32_t action, struct pp_err *err) {
    const struct pp_bound *b = &r->bound[action];
    enum pp_action_type type = (enum pp_action_type)r->sched->actions[action].type;
    struct pp_message m = {.program = r->config.program,
                           .index = action,
                           .channel = b->channel,
                           .sequence = b->sequence,
                           .step = r->step,
                           .bytes = b->message_bytes,
                           .data = in_arena(r->config.arena, b->message)};
    pp_rank_set_state(r, action, PP_ACTION_STARTED);
    pp_rank_note(r, PP_EVENT_POSTED, action, -1);
    return pp_rank_post(r, &m, type == PP_SEND_F || type == PP_SEND_B, -1, err);
}

static void finish_message(struct pp_rank *r, const struct pp_posted *p) {
    const struct pp_transport_ops *ops = r->config.transport;
    if (p->exchange >= 0) {
        struct pp_exchange *x = &r->exchanges[p->exchange];
        bool in = p->m.channel == x->in.channel;
        x->received = x->received || in;
        x->sent = x->sent || !in;
        return;
    }
    int64_t end_ns = ops->done_ns == NULL ? 0 : ops->done_ns(r->config.endpoint, &p->m);
    int64_t start_ns = r->queue_ns[p->m.index - r->begin];
    end_ns = end_ns == 0 ? pp_rank_now(r) : end_ns;
    enum pp_action_type type = (enum pp_action_type)r->sched->actions[p->m.index].type;
    if (ops->peer_posted_ns != NULL && (type == PP_RECV_F || type == PP_RECV_B)) {
        int64_t peer_ns = ops->peer_posted_ns(r->config.endpoint, &p->m);
        start_ns = pp_min_i64(pp_max_i64(start_ns, peer_ns), end_ns);
    }
    finish(r, p->m.index, start_ns, end_ns);
}

/* A channel is a FIFO: what is wrong with it is told of the first, which may have come since it was
 * tested. @param seen  index of the one that was found wrong, with `status` and `err` */
static enum pp_status tell_first_wrong(struct pp_rank *r, int32_t kept, int32_t seen,
                                       enum pp_status status, struct pp_err *err) {
    r->failure = PP_FAIL_MESSAGE;
    r->failed_action = r->posted[seen].m.index;
    for (int32_t i = 0; i < kept; i++) {
        const struct pp_posted *p = &r->posted[i];
        struct pp_err first = {0};
        bool done = false;
        if (p->m.channel == r->posted[seen].m.channel &&
            r->config.transport->test(r->config.endpoint, &p->m, &done, &first) != PP_OK) {
            r->failed_action = p->m.index;
            if (err != NULL) {
                *err = first;
            }
            return first.status;
        }
    }
    return status;
}

static enum pp_status move_messages(struct pp_rank *r, bool *advanced_p, struct pp_err *err) {
    int32_t kept = 0;
    for (int32_t i = 0; i < r->posted_count; i++) {
        bool done = false;
        enum pp_status status =
            r->config.transport->test(r->config.endpoint, &r->posted[i].m, &done, err);
        if (status != PP_OK) {
            return tell_first_wrong(r, kept, i, status, err);
        }
        if (done) {
            r->posted_sends -= r->posted[i].send;
            finish_message(r, &r->posted[i]);
            *advanced_p = true;
        } else {
            if (kept != i) {
                r->posted[kept] = r->posted[i];
            }
            kept++;
        }
    }
    r->posted_count = kept;
    return PP_OK;
}

/* ---- handing over ---- */

static enum pp_status hand_over(struct pp_rank *r, int32_t action, struct pp_err *err) {
    enum pp_action_type type = (enum pp_action_type)r->sched->actions[action].type;
    r->queue_ns[action - r->begin] = pp_rank_now(r);
    if (type >= PP_SEND_F && type <= PP_RECV_B) {
        return post_message(r, action, err);
    }
    int32_t exchange = pp_exchange_of(r, action);
    return exchange >= 0 ? pp_exchange_reach(r, exchange, err) : pp_rank_start(r, action, err);
}

enum pp_status pp_rank_pass(struct pp_rank *r, int32_t action, struct pp_err *err) {
    if (pp_rank_open_wait(r, action) < 0 && !(r->held_count > 0 && lane_is_held(r, action))) {
        return hand_over(r, action, err);
    }
    pp_rank_set_state(r, action, PP_ACTION_HELD);
    r->held[r->held_count++] = action;
    return PP_OK;
}

static enum pp_status move_held(struct pp_rank *r, bool *advanced_p, struct pp_err *err) {
    for (int32_t i = 0; i < r->held_count;) {
        int32_t action = r->held[i];
        if (pp_rank_open_wait(r, action) >= 0 || lane_is_held(r, action)) {
            i++;
            continue;
        }
        r->held_count--;
        memmove(&r->held[i], &r->held[i + 1], (size_t)(r->held_count - i) * sizeof r->held[0]);
        *advanced_p = true;
        PP_TRY(hand_over(r, action, err));
    }
    return PP_OK;
}

enum pp_status pp_rank_move(struct pp_rank *r, bool *advanced_p, struct pp_err *err) {
    PP_TRY(move_messages(r, advanced_p, err));
    if (r->flight_count > 0) {
        move_flights(r, advanced_p);
    }
    if (r->exchanges_open > 0) {
        PP_TRY(pp_exchanges_move(r, advanced_p, err));
    }
    return r->held_count > 0 ? move_held(r, advanced_p, err) : PP_OK;
}
