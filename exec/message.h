/**
 * @file message.h
 * A message between ranks and the envelope it travels in. Transports that carry bytes of their own
 * (local, mpi) put the envelope in front and check it on arrival, so that a message that was lost,
 * doubled, reordered, cut or changed is named, not trained on.
 */
#ifndef PP_EXEC_MESSAGE_H
#define PP_EXEC_MESSAGE_H

#include "exec/program.h"

/** One SEND or RECV that a rank posts, or an exchange of gradients between copies. */
struct pp_message {
    const struct pp_program *program;
    int32_t index; /* of the action (SEND, RECV, or REDUCE_GRAD for both sides of an exchange) */
    int32_t channel;
    int32_t sequence; /* on that channel, in this step */
    int64_t step;
    int64_t bytes;
    void *data; /* to send, not written to; or to receive into. Stays valid until done */
    const struct pp_envelope *envelope; /* of a message to send that is broken on purpose: what
                                           pp_envelope_fill writes in place of the truth. NULL */
};

/** In front of the data. Same layout on both sides: one program, one kind of machine. */
struct pp_envelope {
    uint64_t magic;
    uint64_t program; /* first 8 bytes of the program's hash */
    int64_t step;
    int32_t channel, sequence;
    int32_t stage, microbatch; /* of the SEND */
    int32_t type, unused;      /* enum pp_action_type of the SEND, or PP_REDUCE_GRAD */
    int64_t bytes;
    uint64_t checksum; /* of the data */
    int64_t posted_ns; /* when the sender posted it, by the common clock (clock.h) */
};

/** @param e  whole, unused parts too, so that it may be sent as bytes */
void pp_envelope_fill(struct pp_envelope *e, const struct pp_message *m, int64_t posted_ns);

/**
 * Is this what `expected` (the RECV that is next on the channel) waits for?
 * @param data  [e->bytes] what came; NULL: only the envelope is looked at
 * @return PP_OK; PP_E_RUN: names the RECV's rank and action, what came instead, and which it is of:
 *         another program, a message too early (one or more were lost), too late (doubled), of
 *         another step, of a wrong size, changed on the way
 */
enum pp_status pp_envelope_check(const struct pp_envelope *e, const struct pp_message *expected,
                                 const void *data, struct pp_err *err);

/** 64-bit checksum of `size` bytes; several bytes a cycle. Not cryptographic. */
uint64_t pp_checksum(const void *data, size_t size);

#endif
