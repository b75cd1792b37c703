/* Messages between ranks of one process. Each channel has a ring of slots; its k-th send and its
 * k-th receive share one. Whoever comes second moves the message, so that nobody is waited for and
 * no lock is needed: each side writes its part of the slot, then sets its bit in `sides`, and the
 * one that finds the other's bit set is second.
 *
 * With buffers a send is copied to a place of the channel first and the place shares the slot with
 * the receive. Sends that found no place wait at the sender, whose tests bring them in, in order.
 * Exchanges between copies are always rendezvous: a program does not tell their size. */
#include "exec/local/local.h"
#include "exec/clock.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SENDER = 1, RECEIVER = 2 };

struct slot {
    _Atomic uint32_t sides; /* acq_rel: what a side wrote before its bit is seen by who finds it */
    /* Set (release) by who moved the message, read (acquire) by the side's tests. */
    _Atomic uint32_t sent, arrived;
    const void *from;
    void *to;
    int64_t room;             /* bytes the receive is for */
    int64_t moved_ns, due_ns; /* due: there for the receiver */
    struct pp_envelope envelope;
};

struct channel {
    struct slot *slots; /* [slot_count], a power of two; more than messages are under way at once */
    uint32_t slot_mask;
    int32_t buffers;
    int64_t place_bytes;
    char *places; /* [buffers * place_bytes] */

    /* The sender's. */
    _Alignas(64) uint32_t posted_sends;
    uint32_t published;          /* of these, in the ring; less only with buffers */
    uint32_t *send_at;           /* [message_count] by sequence: which post */
    struct pp_message *unplaced; /* [slot_count] with buffers: sends without a place */

    /* The receiver's. */
    _Alignas(64) uint32_t posted_receives;
    uint32_t *receive_at;

    /* Places that are free again. Released by who moved a message, acquired by the sender. */
    _Alignas(64) _Atomic uint32_t moved;
};

struct endpoint {
    struct local *local;
    int32_t rank;
    int64_t due_ns; /* latest arrival that a test waits for; 0: none */
};

struct local {
    const struct pp_program *program;
    struct pp_local_options options;
    struct channel *channels;
    struct endpoint *endpoints; /* [rank_count] */
    void **endpoint_pointers;
};

/* ---- life ---- */

static int64_t largest_message(const struct pp_program *program, int32_t channel) {
    int64_t bytes = 0;
    for (int32_t i = 0; i < program->sched->action_count; i++) {
        if (program->bound[i].channel == channel) {
            bytes = pp_max_i64(bytes, program->bound[i].message_bytes);
        }
    }
    return bytes;
}

/* Some more than messages, for what faults send twice. */
static uint32_t slots_for(int32_t messages) {
    uint32_t count = 4;
    while (count < (uint32_t)messages + 2) {
        count *= 2;
    }
    return count;
}

static bool open_channel(struct local *l, int32_t index) {
    const struct pp_channel *of = &l->program->channels[index];
    struct channel *c = &l->channels[index];
    size_t messages = (size_t)of->message_count + 1;
    size_t slots = slots_for(of->message_count);
    c->slot_mask = (uint32_t)slots - 1;
    c->slots = calloc(slots, sizeof *c->slots);
    c->send_at = calloc(messages, sizeof *c->send_at);
    c->receive_at = calloc(messages, sizeof *c->receive_at);
    c->buffers = of->copies ? 0 : l->options.buffers;
    if (c->buffers > 0) {
        c->place_bytes = largest_message(l->program, index);
        c->places = malloc((size_t)(c->buffers * c->place_bytes) + 1);
        c->unplaced = malloc(slots * sizeof *c->unplaced);
    }
    return c->slots != NULL && c->send_at != NULL && c->receive_at != NULL &&
           (c->buffers == 0 || (c->places != NULL && c->unplaced != NULL));
}

static void close_local(struct local *l) {
    for (int32_t i = 0; l->channels != NULL && i < l->program->channel_count; i++) {
        struct channel *c = &l->channels[i];
        free(c->slots);
        free(c->send_at);
        free(c->receive_at);
        free(c->places);
        free(c->unplaced);
    }
    free(l->channels);
    free(l->endpoints);
    free((void *)l->endpoint_pointers);
    free(l);
}

static bool open_local(struct local *l) {
    size_t channels = (size_t)l->program->channel_count;
    size_t ranks = (size_t)l->program->sched->rank_count;
    l->endpoints = calloc(ranks, sizeof *l->endpoints);
    l->endpoint_pointers = (void **)calloc(ranks, sizeof *l->endpoint_pointers);
    /* A multiple of its alignment in size, as aligned_alloc wants it. */
    l->channels = aligned_alloc(_Alignof(struct channel), (channels + 1) * sizeof *l->channels);
    if (l->endpoints == NULL || l->endpoint_pointers == NULL || l->channels == NULL) {
        free(l->channels);
        l->channels = NULL;
        return false;
    }
    memset((void *)l->channels, 0, (channels + 1) * sizeof *l->channels);
    for (size_t rank = 0; rank < ranks; rank++) {
        l->endpoints[rank] = (struct endpoint){.local = l, .rank = (int32_t)rank};
        l->endpoint_pointers[rank] = &l->endpoints[rank];
    }
    bool good = true;
    for (int32_t i = 0; good && i < l->program->channel_count; i++) {
        good = open_channel(l, i);
    }
    return good;
}

/* ---- moving ---- */

/* By the side that came second: both parts of the slot are its own now. A message of a wrong size
 * is not copied; the receiver finds it wrong by its envelope. */
static void move_message(const struct local *l, struct channel *c, struct slot *slot) {
    if (slot->envelope.bytes == slot->room && slot->room > 0) {
        memcpy(slot->to, slot->from, (size_t)slot->room);
    }
    slot->moved_ns = pp_now_ns();
    slot->due_ns = slot->moved_ns + l->options.latency_ns;
    atomic_store_explicit(&slot->sides, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->moved, 1, memory_order_release);
    atomic_store_explicit(&slot->sent, 1, memory_order_release);
    atomic_store_explicit(&slot->arrived, 1, memory_order_release);
}

static void meet(const struct local *l, struct channel *c, struct slot *slot, uint32_t side) {
    if (atomic_fetch_or_explicit(&slot->sides, side, memory_order_acq_rel) != 0) {
        move_message(l, c, slot);
    }
}

/* ---- sending ---- */

static struct slot *new_send(struct channel *c, const struct pp_message *m) {
    struct slot *slot = &c->slots[c->posted_sends & c->slot_mask];
    c->send_at[m->sequence] = c->posted_sends++;
    atomic_store_explicit(&slot->sent, 0, memory_order_relaxed);
    return slot;
}

/* Brings waiting sends to places, as far as there are free ones. */
static void place_sends(const struct local *l, struct channel *c) {
    while (c->published != c->posted_sends &&
           c->published - atomic_load_explicit(&c->moved, memory_order_acquire) <
               (uint32_t)c->buffers) {
        struct slot *slot = &c->slots[c->published & c->slot_mask];
        const struct pp_message *m = &c->unplaced[c->published & c->slot_mask];
        char *place = c->places + (int64_t)(c->published % (uint32_t)c->buffers) * c->place_bytes;
        if (m->bytes > 0) {
            memcpy(place, m->data, (size_t)pp_min_i64(m->bytes, c->place_bytes));
        }
        slot->from = place;
        c->published++;
        atomic_store_explicit(&slot->sent, 1,
                              memory_order_relaxed); /* read by this side only ... */
        meet(l, c, slot, SENDER);                    /* ... until here */
    }
}

static enum pp_status local_send(void *endpoint, const struct pp_message *m, struct pp_err *err) {
    const struct local *l = ((struct endpoint *)endpoint)->local;
    struct channel *c = &l->channels[m->channel];
    (void)err;
    struct slot *slot = new_send(c, m);
    pp_envelope_fill(&slot->envelope, m, pp_now_ns());
    if (c->buffers > 0) {
        c->unplaced[(c->posted_sends - 1) & c->slot_mask] = *m;
        place_sends(l, c);
        return PP_OK;
    }
    slot->from = m->data;
    c->published++;
    meet(l, c, slot, SENDER);
    return PP_OK;
}

/* ---- receiving ---- */

static enum pp_status local_receive(void *endpoint, const struct pp_message *m,
                                    struct pp_err *err) {
    const struct local *l = ((struct endpoint *)endpoint)->local;
    struct channel *c = &l->channels[m->channel];
    (void)err;
    struct slot *slot = &c->slots[c->posted_receives & c->slot_mask];
    c->receive_at[m->sequence] = c->posted_receives++;
    atomic_store_explicit(&slot->arrived, 0, memory_order_relaxed);
    slot->to = m->data;
    slot->room = m->bytes;
    meet(l, c, slot, RECEIVER);
    return PP_OK;
}

static enum pp_status test_receive(struct endpoint *e, struct channel *c,
                                   const struct pp_message *m, bool *done_p, struct pp_err *err) {
    const struct slot *slot = &c->slots[c->receive_at[m->sequence] & c->slot_mask];
    *done_p = false;
    if (atomic_load_explicit(&slot->arrived, memory_order_acquire) == 0) {
        return PP_OK;
    }
    if (e->local->options.latency_ns > 0) {
        if (pp_now_ns() < slot->due_ns) {
            e->due_ns = pp_max_i64(e->due_ns, slot->due_ns);
            return PP_OK;
        }
        e->due_ns = slot->due_ns >= e->due_ns ? 0 : e->due_ns;
    }
    *done_p = true;
    bool copied = slot->envelope.bytes == m->bytes;
    return pp_envelope_check(&slot->envelope, m, copied ? m->data : NULL, err);
}

static enum pp_status local_test(void *endpoint, const struct pp_message *m, bool *done_p,
                                 struct pp_err *err) {
    struct endpoint *e = endpoint;
    struct channel *c = &e->local->channels[m->channel];
    if (e->local->program->channels[m->channel].to_rank == e->rank) {
        return test_receive(e, c, m, done_p, err);
    }
    if (c->buffers > 0) {
        place_sends(e->local, c);
    }
    const struct slot *slot = &c->slots[c->send_at[m->sequence] & c->slot_mask];
    *done_p = atomic_load_explicit(&slot->sent, memory_order_acquire) != 0;
    return PP_OK;
}

static bool local_under_way(void *endpoint) {
    return ((const struct endpoint *)endpoint)->due_ns > 0;
}

static int64_t local_peer_posted_ns(void *endpoint, const struct pp_message *m) {
    const struct endpoint *e = endpoint;
    const struct channel *c = &e->local->channels[m->channel];
    return c->slots[c->receive_at[m->sequence] & c->slot_mask].envelope.posted_ns;
}

static int64_t local_done_ns(void *endpoint, const struct pp_message *m) {
    const struct endpoint *e = endpoint;
    const struct channel *c = &e->local->channels[m->channel];
    if (e->local->program->channels[m->channel].to_rank == e->rank) {
        return c->slots[c->receive_at[m->sequence] & c->slot_mask].due_ns;
    }
    return c->buffers > 0 ? 0 : c->slots[c->send_at[m->sequence] & c->slot_mask].moved_ns;
}

/* ---- transport ---- */

static const struct pp_transport_ops local_ops = {.api = PP_TRANSPORT_API,
                                                  .name = "local",
                                                  .post_send = local_send,
                                                  .post_recv = local_receive,
                                                  .test = local_test,
                                                  .under_way = local_under_way,
                                                  .peer_posted_ns = local_peer_posted_ns,
                                                  .done_ns = local_done_ns};

enum pp_status pp_local_open(const struct pp_program *program,
                             const struct pp_local_options *options,
                             struct pp_transport *transport_p, struct pp_err *err) {
    struct local *l = calloc(1, sizeof *l);
    if (l != NULL) {
        l->program = program;
        l->options = *options;
    }
    if (l == NULL || !open_local(l)) {
        if (l != NULL) {
            close_local(l);
        }
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d channels", program->channel_count);
    }
    *transport_p =
        (struct pp_transport){.ops = &local_ops, .endpoints = l->endpoint_pointers, .state = l};
    return PP_OK;
}

void pp_local_close(struct pp_transport *transport) {
    close_local(transport->state);
    *transport = (struct pp_transport){0};
}
