/**
 * @file check.h
 * Whether a schedule runs to its end or the ranks come to wait for one another for ever: a verdict
 * on paper, under declared semantics of communication, and the shortest cycle of waits if not.
 *
 * The model of a lowered schedule. Each rank walks its list in order.
 *
 * - SEND and RECV are posted without waiting, as isend and irecv, each into a queue of its rank
 *   that is worked off in order: which operations share a queue, pp_channels says.
 * - F, I and B wait until their RECV is done, or until the neighbour stage's action ran where that
 *   is on the same rank. A pair is entered when both its parts could be. W and the rest never wait.
 * - Messages of a directed rank pair match by number, as all tags are equal: its k-th SEND meets
 *   its k-th RECV, whatever the two are called. Receives in another order than the sends so are
 *   wrong data (W_FIFO of sim/schedule_warn.h), not a hang.
 * - Rendezvous: SEND and RECV are done together, once each is the first of its queue. Buffered with
 *   K places: a SEND that is first of its queue is done at once while fewer than K messages of its
 *   directed pair are unreceived, a RECV that is first of its queue once its message was sent.
 * - A rank is through when its list is at its end and all that it posted is done.
 *
 * Nothing that could happen is ever undone by something else happening first, so one run in any
 * order decides for all of them: the set of done actions at its end is the only one.
 *
 * A schedule without communication is judged by its compute order alone: every F, I, B waits for
 * the neighbour stage's action, and a transfer is never in the way.
 *
 * Sources: PyTorch 2.14.1, torch.distributed.pipelining (posting, one queue a pair or, with its
 * flag, a direction); NCCL (operations of one communicator in issue order); pytorch/pytorch#172668.
 */
#ifndef PP_SIM_CHECK_H
#define PP_SIM_CHECK_H

#include "sim/schedule.h"

/* which operations of a rank share a queue, name on the command line */
#define PP_CHANNELS_LIST(X)                                                                        \
    X(PP_CHANNELS_DIRECTED, "directed") /* per peer, sends and receives apart: our executor */     \
    X(PP_CHANNELS_PAIR, "pair")         /* per peer: one communicator a pair, PyTorch's default */ \
    X(PP_CHANNELS_RANK, "rank")         /* all of them: one communicator, one stream */

enum pp_channels {
#define PP_CHANNELS_ENUM(name, text) name,
    PP_CHANNELS_LIST(PP_CHANNELS_ENUM)
#undef PP_CHANNELS_ENUM
        PP_CHANNELS_COUNT
};

/** "directed", ... Never NULL. */
const char *pp_channels_text(enum pp_channels channels);

struct pp_comms {
    enum pp_channels channels;
    int32_t buffer_count; /* places of each directed rank pair; 0 = rendezvous */
};

/**
 * A wait of a deadlock: `action` of `rank` waits for `for_action` of `for_rank` (indices into
 * sched->actions). Entry k+1 is on the rank to which entry k points, the last points to the first.
 *
 * Compute-only: both are compute actions, `for_action` one that its rank has not reached. Lowered:
 * both are a SEND or RECV; `action` is the first of its queue and keeps what is behind it; and
 * `for_action` (the RECV of that number for a SEND, with K places the one K before; the SEND for a
 * RECV) is behind the next entry's action in its queue, or not posted, as its rank stands before a
 * compute action whose RECV is, or is behind, that entry's. A cycle of one: a rank
 * waits for what it would do later itself.
 */
struct pp_wait {
    int32_t rank, action, for_rank, for_action;
};

struct pp_deadlock {
    int32_t wait_count;
    struct pp_wait *waits; /* free with pp_deadlock_deinit */
};
void pp_deadlock_deinit(struct pp_deadlock *d);

/**
 * The verdict.
 * @param s           sealed
 * @param deadlock_p  filled on PP_E_DEADLOCK with a cycle of the fewest entries, each on another
 *                    rank; may be NULL
 * @return PP_OK, PP_E_DEADLOCK (message names the cycle), PP_E_NOMEM
 * Cost: O(actions), 10 to 25 ns an action; memory 5 bytes an action, allocated once. A deadlock
 * costs O(actions + queues^2) more.
 */
enum pp_status pp_check_run(const struct pp_sched *s, const struct pp_comms *comms,
                            struct pp_deadlock *deadlock_p, struct pp_err *err);

/**
 * Finds a shortest wait cycle of a compute-only schedule once no rank can advance.
 * @param next         [rank_count] first action of each rank that has not run
 * @param deadlock_p   filled; may be NULL
 * @return PP_E_DEADLOCK (message names the cycle), PP_E_NOMEM
 * Cost: O(ranks^2).
 */
enum pp_status pp_check_order_cycle(const struct pp_sched *s, const int32_t *next,
                                    struct pp_deadlock *deadlock_p, struct pp_err *err);

#endif
