/**
 * @file transport.h
 * What carries messages between ranks: a table of operations, and one endpoint a rank. Transports:
 * `local` (local/local.h, ranks of one process), `mpi` (mpi/mpi.h, a process a rank); `fault`
 * (fault.h) wraps one and breaks it on purpose.
 *
 * A channel (program.h) is a FIFO: its k-th send goes to its k-th receive. Posting never waits. An
 * endpoint belongs to the thread that drives its rank; endpoints of one transport may be driven by
 * different threads. Receives of an exchange are posted when a step begins, in the order of their
 * channel; their sends come with the REDUCE_GRADs.
 */
#ifndef PP_EXEC_TRANSPORT_H
#define PP_EXEC_TRANSPORT_H

#include "exec/message.h"

enum { PP_TRANSPORT_API = 1 };

struct pp_transport_ops {
    int32_t api;      /* PP_TRANSPORT_API */
    const char *name; /* "local" */

    /* ---- required ---- */

    /** Takes a message. At most one message of an action is under way, of an exchange one each way
     *  (index is the same, channel tells them apart). @return PP_OK, PP_E_RUN */
    enum pp_status (*post_send)(void *endpoint, const struct pp_message *m, struct pp_err *err);
    enum pp_status (*post_recv)(void *endpoint, const struct pp_message *m, struct pp_err *err);
    /** Is the message of this action done: a send's buffer may be used again, a receive's data are
     *  there and checked? Moves things on where the transport needs it.
     *  @return PP_OK, PP_E_RUN (names rank and action) */
    enum pp_status (*test)(void *endpoint, const struct pp_message *m, bool *done_p,
                           struct pp_err *err);

    /* ---- optional: NULL means what is said here ---- */

    /** May something posted still be done although no rank posts anything further? Asked before a
     *  deadlock is reported. NULL: no. */
    bool (*under_way)(void *endpoint);
    /** When the peer posted its side of a received message, by this process's clock (clock.h); the
     *  transfer began then or when this side posted, whichever is later. NULL or 0: not known. */
    int64_t (*peer_posted_ns)(void *endpoint, const struct pp_message *m);
    /** When a message that is done was so, by the common clock: a rank that computes looks late.
     *  NULL or 0: when `test` told. */
    int64_t (*done_ns)(void *endpoint, const struct pp_message *m);
    /** Gives up all that is posted; buffers may be freed afterwards. NULL: nothing to do. */
    void (*abort)(void *endpoint);
};

/** A transport, opened for a program. */
struct pp_transport {
    const struct pp_transport_ops *ops;
    void **endpoints; /* [rank_count]; NULL for ranks of other processes */
    void *state;      /* the transport's own */
};

#endif
