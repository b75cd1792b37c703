/**
 * @file program.h
 * What ranks execute: a lowered schedule bound to buffers, channels and expected times. One program
 * is one optimizer step (sim/schedule.h: pp_sched_repeat puts its flushes one behind the other). It
 * is made from the schedule that was simulated and never changes; its hash says whether two
 * processes, or a run and a database, speak of the same one.
 *
 * Buffers. Every tensor that an action makes for a later one has a slot in the arena of its rank,
 * planned here from lifetimes, so that nothing is allocated while a step runs and what it takes is
 * known before step 0:
 *
 *   input        what F of a stage receives; until its B or W has ended (norms need it again)
 *   stash        what F keeps for I and W; until B or W has ended
 *   output grad  what I or B of a stage receives; until B or W has ended
 *   message      what a SEND takes; from the compute action that makes it until the SEND has ended
 *
 * Between stages of one rank nothing is sent: the output of F is the input of the next stage's F,
 * the input gradient of I or B the output gradient of the stage before, one slot each. The first
 * stage has no input and no input gradient, the last no output and no output gradient. OFFLOAD
 * moves input and stash of a microbatch to slots of the host arena, RELOAD moves them back to new
 * slots; in between their slots in the arena are free.
 *
 * Two tenants of one slot follow one another in the expected trace: the second is made after the
 * last user of the first has ended. Where that user is a SEND or OFFLOAD, which its rank does not
 * otherwise wait for, the second's first action waits for it (a *gate*), and the expected trace has
 * it end strictly before. So the expected trace is a witness: all waits, gates included, point
 * forward in it, and no run of the program can come to a standstill, at any speed of ranks and
 * links and with no buffer in the channels. pp_program_create believes that of no trace: it runs
 * the program once on paper.
 *
 * Channels. One FIFO a directed pair of ranks (sim/lower.h, PP_LOWER_OURS): its k-th SEND meets its
 * k-th RECV. Of a schedule with two copies of the model (part_count < stage_count) each REDUCE_GRAD
 * exchanges gradients with the rank of the other copy, over a second channel between the two.
 *
 * Source: the design of DeepSpeed's ring of buffers, which aliased (issues 2800, 4708), is the one
 * to avoid; lifetimes are those of sim/memory.h.
 */
#ifndef PP_EXEC_PROGRAM_H
#define PP_EXEC_PROGRAM_H

#include "sim/schedule.h"
#include "sim/trace.h"

/** Bytes of one microbatch (or unit). Arrays are [stage_count]; all >= 0, < PP_PROGRAM_MAX_BYTES.
 */
struct pp_program_sizes {
    const int64_t *input_bytes; /* what a stage receives from the one before, and as much gradient
                                   goes back; ignored for stages without one before */
    const int64_t *stash_bytes; /* what F keeps */
    const int64_t *fixed_bytes; /* weights, gradients, optimizer state: not in the arena, but in the
                                   table of what a rank takes; NULL = zeros */
};

#define PP_PROGRAM_MAX_BYTES ((int64_t)1 << 50)

enum { PP_PROGRAM_MAX_WAITS = 6, PP_HASH_BYTES = 65 };

/** How an action is bound. Offsets are bytes into the arena of its rank, multiples of 64; -1: it
 * has none, also where a size is 0. */
struct pp_bound {
    int64_t input, output, output_grad, input_grad, stash; /* of F I B W; of OFFLOAD and RELOAD
                                                              input and stash in the arena */
    int64_t host_input, host_stash;      /* of OFFLOAD and RELOAD, in the host arena */
    int64_t message;                     /* of SEND and RECV */
    int64_t message_bytes;               /* 0 for all others */
    int32_t channel;                     /* of SEND and RECV, and of REDUCE_GRAD that exchanges (the
                                            outgoing one); else -1 */
    int32_t sequence;                    /* number of its message on that channel, from 0. What
                                            comes in by an exchange has the other copy's number,
                                            which may differ: ranks may reduce in any order */
    int32_t waits[PP_PROGRAM_MAX_WAITS]; /* actions of the same rank that must have ended before it
                                            starts: its RECV, RELOAD and UNSHARD (of a RELOAD its
                                            OFFLOAD, of an UNSHARD the RESHARD before), gates, and
                                            (only if it is not compute) the compute action before
                                            it, of a pair both parts. Not compute actions before a
                                            compute action: those ended; but the first part of a
                                            pair where the second needs what it makes */
    int32_t wait_count;
    int32_t unused;
};

struct pp_channel {
    int32_t from_rank, to_rank;
    int32_t message_count; /* in one step */
    bool copies;           /* gradients between copies of a stage, else activations */
};

/** Read-only once created; arrays are owned. Any number of threads may read it. */
struct pp_program {
    const struct pp_sched *sched; /* lowered, not owned; must outlive the program */
    struct pp_bound *bound;       /* [action_count] */
    struct pp_channel *channels;  /* [channel_count], by from_rank, to_rank, copies */
    int32_t channel_count;
    int64_t *arena_bytes; /* [rank_count] */
    int64_t *host_bytes;  /* [rank_count] arena in host memory, for OFFLOAD */
    int64_t *fixed_bytes; /* [rank_count] */
    int64_t *expected_ns; /* [action_count] expected duration */
    int64_t expected_makespan_ns;
    char hash[PP_HASH_BYTES]; /* of ranks, stages, actions and sizes; not of expected times */
};

/**
 * @param lowered   sealed, by PP_LOWER_OURS; not owned, must outlive the program
 * @param sizes     not kept
 * @param expected  times of `lowered` under rendezvous, each compute action at least 1 ns
 *                  (sim/engine.h, PP_RUNTIME_OURS); not kept
 * @return PP_OK; PP_E_ARG (not lowered, or not by PP_LOWER_OURS: a channel's receives in another
 *         order than its sends; or copies exchange gradients more than once a stage); PP_E_RANGE (a
 *         size or time outside its limits, an arena that would overflow); PP_E_DEADLOCK (the
 *         expected trace is not one of this schedule, or ranks would wait for one another for
 *         ever); PP_E_NOMEM
 *
 * Cost: O(actions log actions), 100 to 250 ns an action; some 20 allocations.
 */
enum pp_status pp_program_create(const struct pp_sched *lowered,
                                 const struct pp_program_sizes *sizes,
                                 const struct pp_trace *expected, struct pp_program **program_p,
                                 struct pp_err *err);
void pp_program_destroy(struct pp_program *program);

/** Copy of the model's stage that `stage` shares its parameters with; -1 if it is the only one. */
int32_t pp_program_copy_of(const struct pp_program *program, int32_t stage);

/** The RECV that the message of `send` goes to. Cost: O(actions of its rank). */
int32_t pp_program_receiver(const struct pp_program *program, int32_t send);

/** What each rank takes, one line a rank: fixed, arena, host, together. Appends to `out`. */
void pp_program_table(const struct pp_program *program, struct pp_text *out);

/**
 * Refuses before step 0 what does not fit.
 * @param available_bytes  of all ranks of this process together (host) or of each (device)
 * @return PP_OK; PP_E_LIMIT with the need and the room; the table is for the caller to print
 */
enum pp_status pp_program_check_memory(const struct pp_program *program, int32_t rank_begin,
                                       int32_t rank_end, int64_t available_bytes,
                                       struct pp_err *err);

/**
 * Whether a recorded trace is an execution of the program: every rank's compute in list order, one
 * after the other (but for overlapped pairs), and every wait of every action over before it
 * started. @param wrong_p  first action that is out of order; -1 if none. May be NULL.
 */
bool pp_program_in_order(const struct pp_program *program, const struct pp_trace *trace,
                         int32_t *wrong_p);

#endif
