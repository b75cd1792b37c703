/**
 * @file lower.h
 * Lowering: from what each rank computes to what it computes, sends, receives, gathers and reduces.
 *
 * All modes keep the compute order and drop idle cells. Each rank gathers a stage's parameters
 * (UNSHARD) before its next use, with a bound on the stages gathered at once, frees them (RESHARD)
 * when others are needed sooner, and reduces a stage's gradients right after its last B or W. A
 * SEND stands directly after its compute action. Stages on one rank hand over without a transfer.
 * OFFLOAD and RELOAD stay where they stand. The modes differ in where a RECV stands:
 *
 * PP_LOWER_TORCH: byte for byte PyTorch 2.14.1 (torch.distributed.pipelining.schedules): where the
 * receiver is when the sender gets there, all ranks in lock step, one action a pass. As early as
 * possible, so a receive may hold a buffer, and a queue, long before it is needed. With
 * reshard_after_use or reduce_every, which PyTorch does not have, by the same rule.
 *
 * PP_LOWER_OURS: one FIFO channel per directed pair of ranks. A channel's receives stand in the
 * order of its sends; each at most `look_ahead` cells of compute before its consumer, or earlier
 * where a later receive of the channel is needed earlier. It stays free of deadlock with no buffer
 * at all, for every schedule whose compute actions do not wait in a cycle, where posting a SEND or
 * RECV does not block, a message moves when it is first in its channel on both sides, and a rank
 * waits only at a compute action for its inputs. For if ranks were stuck, each would wait at a
 * compute action for a message; that RECV and all before it in its channel are posted, and the k-th
 * RECV belongs to the k-th SEND, so its sender has not come to that SEND and is itself stuck at or
 * before the compute action that makes the message. Following these waits closes a cycle of compute
 * actions.
 *
 * PP_LOWER_BATCHED: in rounds, as Megatron-LM exchanges: in each every rank runs its next cell if
 * its inputs came in an earlier one, and sends and receives what the round made right behind it. So
 * a rank's transfers between two cells are one batch, and a runtime that waits for a batch to end
 * cannot hang: what a batch waits for was computed in its own or an earlier round, and messages of
 * earlier rounds end first.
 */
#ifndef PP_SIM_LOWER_H
#define PP_SIM_LOWER_H

#include "sim/schedule.h"

/* mode, name on the command line */
#define PP_LOWER_MODE_LIST(X)                                                                      \
    X(PP_LOWER_TORCH, "torch")                                                                     \
    X(PP_LOWER_OURS, "ours")                                                                       \
    X(PP_LOWER_BATCHED, "batched")

enum pp_lower_mode {
#define PP_LOWER_MODE_ENUM(name, text) name,
    PP_LOWER_MODE_LIST(PP_LOWER_MODE_ENUM)
#undef PP_LOWER_MODE_ENUM
        PP_LOWER_MODE_COUNT
};

/** "torch", "ours", "batched". Never NULL. */
const char *pp_lower_mode_text(enum pp_lower_mode mode);

struct pp_lower_options {
    enum pp_lower_mode mode;
    int32_t max_active_stages; /* gathered at once on a rank, one more for a pair that needs both of
                                  its stages; at least 1 */
    int32_t look_ahead;        /* cells of compute, at least 0; only PP_LOWER_OURS */
    bool reshard_after_use;    /* RESHARD right after every cell, UNSHARD before the next that needs
                                  the stage (FSDP's reshard_after_forward): directly before, or
                                  before the cell before that if max_active_stages leaves room and
                                  that one does not use it too */
    int32_t reduce_every; /* REDUCE_GRAD of a stage each time this many more of its microbatches
                             (units, if sliced) are through, and after the last; its number is that
                             of the last microbatch it takes in. 0: once, without a number, after
                             all */
};

enum {
    PP_LOWER_MAX_ACTIVE_STAGES = 3, /* PyTorch's */
    PP_LOWER_LOOK_AHEAD = 2,        /* a transfer hides behind an action; few receives are open */
};

#define PP_LOWER_OPTIONS_DEFAULT(of_mode)                                                          \
    {                                                                                              \
        .mode = (of_mode), .max_active_stages = PP_LOWER_MAX_ACTIVE_STAGES,                        \
        .look_ahead = PP_LOWER_LOOK_AHEAD,                                                         \
    }

/**
 * @param s          sealed and compute-only; not kept
 * @param lowered_p  a new schedule, sealed
 * @return PP_OK, PP_E_ARG (`s` is lowered already), PP_E_RANGE (an option below its least value,
 *         too many actions), PP_E_NOMEM; all but PP_LOWER_OURS also PP_E_DEADLOCK (the compute
 *         actions wait in a cycle; the message names a shortest one). PP_LOWER_OURS lowers those,
 *         too, and keeps the cycle.
 * Cost: O(actions * min(max_active_stages, stages of a rank)) in time, and the same of one rank in
 * memory; a cycle O(ranks^2) more.
 */
enum pp_status pp_sched_lower(const struct pp_sched *s, const struct pp_lower_options *options,
                              struct pp_sched **lowered_p, struct pp_err *err);

#endif
