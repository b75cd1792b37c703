/* Faults that are done to messages: a transport around another one, which sees only messages that
 * it might have been given. What is broken about a message but its place in the channel is told by
 * an envelope of its own (message.h). Only the rank of the action does anything but pass on. */
#include "exec/fault_priv.h"
#include "exec/clock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct endpoint {
    struct faulty *of;
    void *inner;
};

struct faulty {
    const struct pp_program *program;
    struct pp_fault fault;
    struct pp_transport inner;
    struct pp_transport_ops ops;
    struct endpoint *endpoints; /* [rank_count] */
    void **pointers;            /* [rank_count] */
    int32_t channel;            /* of the message; -1 if the action is none */
    int32_t rank;

    /* All below belongs to the thread of that rank. */
    bool has_struck;
    int64_t release_ns;      /* when what is held goes on; INT64_MAX: never, or by another cause */
    struct pp_message *held; /* [message_count + 1] not posted yet, in order */
    int32_t held_count;
    bool dropped;
    bool doubling; /* the message goes out again when it is done */
    struct pp_message again;
    unsigned char *copy; /* [message_bytes] */
    struct pp_envelope envelope;
};

/* ---- posting ---- */

static enum pp_status pass(const struct endpoint *e, const struct pp_message *m,
                           struct pp_err *err) {
    const struct pp_transport_ops *inner = e->of->inner.ops;
    bool sends = e->of->program->channels[m->channel].from_rank == e->of->rank;
    return sends ? inner->post_send(e->inner, m, err) : inner->post_recv(e->inner, m, err);
}

static void hold(struct faulty *f, const struct pp_message *m) {
    PP_ASSERT(f->held_count <= f->program->channels[f->channel].message_count);
    f->held[f->held_count++] = *m;
}

static enum pp_status release(const struct endpoint *e, struct pp_err *err) {
    struct faulty *f = e->of;
    int32_t count = f->held_count;
    f->held_count = 0;
    for (int32_t i = 0; i < count; i++) {
        PP_TRY(pass(e, &f->held[i], err));
    }
    return PP_OK;
}

static void copy_data(struct faulty *f, const struct pp_message *m) {
    if (m->bytes > 0) {
        memcpy(f->copy, m->data, (size_t)m->bytes);
    }
}

/* What the envelope says is true of the data as they were. */
static enum pp_status post_changed(const struct endpoint *e, const struct pp_message *m,
                                   struct pp_err *err) {
    struct faulty *f = e->of;
    struct pp_message changed = *m;
    uint64_t bit = (uint64_t)m->index * 0x9e3779b97f4a7c15 % (uint64_t)(8 * m->bytes);
    pp_envelope_fill(&f->envelope, m, 0);
    copy_data(f, m);
    f->copy[bit / 8] ^= (unsigned char)(1 << bit % 8);
    changed.data = f->copy;
    changed.envelope = &f->envelope;
    return pass(e, &changed, err);
}

/* The message of the action, in its step. */
static enum pp_status strike(const struct endpoint *e, const struct pp_message *m,
                             struct pp_err *err) {
    struct faulty *f = e->of;
    struct pp_message changed = *m;
    f->has_struck = true;
    switch (f->fault.kind) {
    case PP_FAULT_DROP:
        f->dropped = true;
        return PP_OK;
    case PP_FAULT_DUPLICATE:
        f->doubling = true; /* what comes behind it is held until then */
        f->release_ns = INT64_MAX;
        f->again = *m;
        copy_data(f, m); /* the sender may use its buffer again before that is read */
        f->again.data = f->copy;
        return pass(e, m, err);
    case PP_FAULT_REORDER:
    case PP_FAULT_STALL:
        f->release_ns = INT64_MAX;
        hold(f, m);
        return PP_OK;
    case PP_FAULT_DELAY:
        f->release_ns = pp_now_ns() + f->fault.delay_ns;
        hold(f, m);
        return PP_OK;
    case PP_FAULT_CORRUPT:
        return post_changed(e, m, err);
    case PP_FAULT_TRUNCATE:
        changed.bytes--;
        return pass(e, &changed, err);
    case PP_FAULT_KILL:
        raise(SIGKILL);
        return PP_OK;
    default:
        return pass(e, m, err);
    }
}

static bool is_concerned(const struct endpoint *e, const struct pp_message *m) {
    const struct faulty *f = e->of;
    return m->channel == f->channel && e == &f->endpoints[f->rank];
}

static enum pp_status post_concerned(const struct endpoint *e, const struct pp_message *m,
                                     struct pp_err *err) {
    struct faulty *f = e->of;
    if (!f->has_struck && m->index == f->fault.action && m->step == f->fault.step) {
        return strike(e, m, err);
    }
    if (f->held_count == 0 && !f->doubling) {
        return pass(e, m, err);
    }
    if (f->fault.kind == PP_FAULT_REORDER) {
        PP_TRY(pass(e, m, err));
        return release(e, err);
    }
    hold(f, m); /* a channel stays in order behind what is late */
    return PP_OK;
}

static enum pp_status fault_send(void *endpoint, const struct pp_message *m, struct pp_err *err) {
    const struct endpoint *e = endpoint;
    return is_concerned(e, m) ? post_concerned(e, m, err)
                              : e->of->inner.ops->post_send(e->inner, m, err);
}

static enum pp_status fault_receive(void *endpoint, const struct pp_message *m,
                                    struct pp_err *err) {
    const struct endpoint *e = endpoint;
    return is_concerned(e, m) ? post_concerned(e, m, err)
                              : e->of->inner.ops->post_recv(e->inner, m, err);
}

/* ---- testing ---- */

static bool is_held(const struct faulty *f, const struct pp_message *m) {
    for (int32_t i = 0; i < f->held_count; i++) {
        if (f->held[i].index == m->index) {
            return true;
        }
    }
    return false;
}

static bool is_struck(const struct faulty *f, const struct pp_message *m) {
    return m->index == f->fault.action && m->step == f->fault.step;
}

static enum pp_status fault_test(void *endpoint, const struct pp_message *m, bool *done_p,
                                 struct pp_err *err) {
    const struct endpoint *e = endpoint;
    struct faulty *f = e->of;
    if (!is_concerned(e, m)) {
        return f->inner.ops->test(e->inner, m, done_p, err);
    }
    if (f->held_count > 0 && f->release_ns < INT64_MAX && pp_now_ns() >= f->release_ns) {
        PP_TRY(release(e, err));
    }
    if (is_held(f, m) || (f->dropped && is_struck(f, m))) {
        *done_p = !is_held(f, m);
        return PP_OK;
    }
    PP_TRY(f->inner.ops->test(e->inner, m, done_p, err));
    if (*done_p && f->doubling && is_struck(f, m)) {
        f->doubling = false;
        PP_TRY(pass(e, &f->again, err));
        return release(e, err);
    }
    return PP_OK;
}

static bool fault_under_way(void *endpoint) {
    const struct endpoint *e = endpoint;
    const struct faulty *f = e->of;
    if (e == &f->endpoints[f->rank] && f->held_count > 0 && f->release_ns < INT64_MAX) {
        return true;
    }
    return f->inner.ops->under_way != NULL && f->inner.ops->under_way(e->inner);
}

static int64_t fault_peer_posted_ns(void *endpoint, const struct pp_message *m) {
    const struct endpoint *e = endpoint;
    return e->of->inner.ops->peer_posted_ns(e->inner, m);
}

static int64_t fault_done_ns(void *endpoint, const struct pp_message *m) {
    const struct endpoint *e = endpoint;
    const struct faulty *f = e->of;
    /* The inner transport does not know the one, and knows the other by its second life. */
    bool unknown = (f->fault.kind == PP_FAULT_DROP || f->fault.kind == PP_FAULT_DUPLICATE) &&
                   is_concerned(e, m) && is_struck(f, m);
    return unknown ? 0 : f->inner.ops->done_ns(e->inner, m);
}

static void fault_abort(void *endpoint) {
    const struct endpoint *e = endpoint;
    e->of->inner.ops->abort(e->inner);
}

/* ---- wrapping ---- */

static bool has_later_send(const struct pp_program *p, int32_t action) {
    const struct pp_bound *b = p->bound;
    return b[action].sequence + 1 < p->channels[b[action].channel].message_count;
}

static enum pp_status check(const struct pp_program *program, const struct pp_fault *fault,
                            struct pp_err *err) {
    const struct pp_sched *s = program->sched;
    char text[PP_ACTION_TEXT_BYTES];
    if (fault->action < 0 || fault->action >= s->action_count) {
        return pp_fail(err, PP_E_VALUE, "a fault at action %d of %d", fault->action,
                       s->action_count);
    }
    const struct pp_action *a = &s->actions[fault->action];
    pp_action_text(a, text);
    if (!pp_fault_is_about_messages(fault->kind)) {
        return PP_OK;
    }
    if (a->type != PP_SEND_F && a->type != PP_SEND_B) {
        return pp_fail(err, PP_E_VALUE, "a message is broken at its SEND, %s is none", text);
    }
    if (fault->kind == PP_FAULT_REORDER && !has_later_send(program, fault->action)) {
        return pp_fail(err, PP_E_VALUE,
                       "%s is the last message of its channel: none to change with", text);
    }
    if ((fault->kind == PP_FAULT_CORRUPT || fault->kind == PP_FAULT_TRUNCATE) &&
        program->bound[fault->action].message_bytes == 0) {
        return pp_fail(err, PP_E_VALUE, "the message of %s has no bytes to break", text);
    }
    return PP_OK;
}

static void fill_ops(struct faulty *f) {
    const struct pp_transport_ops *inner = f->inner.ops;
    f->ops = (struct pp_transport_ops){
        .api = PP_TRANSPORT_API,
        .name = inner->name,
        .post_send = fault_send,
        .post_recv = fault_receive,
        .test = fault_test,
        .under_way = fault_under_way,
        .peer_posted_ns = inner->peer_posted_ns == NULL ? NULL : fault_peer_posted_ns,
        .done_ns = inner->done_ns == NULL ? NULL : fault_done_ns,
        .abort = inner->abort == NULL ? NULL : fault_abort};
}

static void free_faulty(struct faulty *f) {
    if (f != NULL) {
        free(f->endpoints);
        free((void *)f->pointers);
        free(f->held);
        free(f->copy);
        free(f);
    }
}

static bool allocate(struct faulty *f) {
    size_t ranks = (size_t)f->program->sched->rank_count;
    int32_t messages = f->channel < 0 ? 0 : f->program->channels[f->channel].message_count;
    f->endpoints = calloc(ranks, sizeof *f->endpoints);
    f->pointers = (void **)calloc(ranks, sizeof *f->pointers);
    f->held = malloc(((size_t)messages + 1) * sizeof *f->held);
    f->copy = malloc((size_t)f->program->bound[f->fault.action].message_bytes + 1);
    return f->endpoints != NULL && f->pointers != NULL && f->held != NULL && f->copy != NULL;
}

enum pp_status pp_fault_wrap(struct pp_transport *transport, const struct pp_program *program,
                             const struct pp_fault *fault, struct pp_err *err) {
    const struct pp_sched *s = program->sched;
    bool is_none = fault->kind == PP_FAULT_NONE;
    if (!is_none) {
        PP_TRY(check(program, fault, err));
    }
    const struct pp_action *a = &s->actions[is_none ? 0 : fault->action];
    bool is_message = !is_none && a->type >= PP_SEND_F && a->type <= PP_RECV_B;
    struct faulty *f = calloc(1, sizeof *f);
    if (f != NULL) {
        f->program = program;
        f->fault = *fault;
        f->fault.action = is_none ? 0 : fault->action;
        f->inner = *transport;
        f->channel = is_message ? program->bound[fault->action].channel : -1;
        f->rank = s->stage_rank[a->stage];
    }
    if (f == NULL || !allocate(f)) {
        free_faulty(f);
        return pp_fail(err, PP_E_NOMEM, "out of memory for a fault");
    }
    fill_ops(f);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        f->endpoints[rank] = (struct endpoint){.of = f, .inner = transport->endpoints[rank]};
        f->pointers[rank] = transport->endpoints[rank] == NULL ? NULL : &f->endpoints[rank];
    }
    *transport = (struct pp_transport){.ops = &f->ops, .endpoints = f->pointers, .state = f};
    return PP_OK;
}

void pp_fault_unwrap(struct pp_transport *transport) {
    struct faulty *f = transport->state;
    *transport = f->inner;
    free_faulty(f);
}
