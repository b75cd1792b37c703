/**
 * @file engine.h
 * What happens when, with communication: start and end of every action of a lowered schedule, under
 * the habits of a runtime, on lanes and over links that may be shared.
 *
 * Lanes. Each rank has five: compute (F I W B), send, receive, collective (UNSHARD RESHARD
 * REDUCE_GRAD), host (OFFLOAD RELOAD). A rank walks its list in order and hands each action to its
 * lane; only compute waits.
 *
 * The gate of an action that is not compute is the latest end of the compute actions before it in
 * its rank's list (a stream that waits for what was issued before it). In a batched runtime every
 * SEND and RECV of earlier batches counts as well; a batch is a run of adjacent SENDs and RECVs.
 *
 * Compute starts at the latest of
 * - the end of the compute action before it on its rank,
 * - the end of the RECV of its input, if that comes from another rank,
 * - the end of the last UNSHARD of its stage before it in the list,
 * - the end of its RELOAD,
 * - batched: the end of every SEND and RECV before it in the list,
 * - reduce_blocks: the end of every REDUCE_GRAD before it in the list.
 * A pair is entered, as in pp_eval, when the inputs of both its parts can be made. Without pair_ns
 * its parts run in order by this rule; with it both start when both could, and end together.
 *
 * Messages. The k-th SEND of a directed rank pair meets its k-th RECV. Both stand in a queue of
 * their rank (which share one: pp_channels) and are taken in list order; `free` is when the one
 * before in the queue was released, 0 for the first.
 *   rendezvous:     t = max(gate(SEND), free(SEND), gate(RECV), free(RECV))
 *   with K places:  t = max(gate(SEND), free(SEND), release of the RECV K before)
 * where the release of a RECV that is none is 0. The transfer moves from t on for x ns (below) and
 * arrives `latency` ns later. SEND: start t, end t + x, released at its end. RECV: start
 * max(t, gate(RECV), free(RECV)), end max(start, t + x + latency), released at max(start, t + x):
 * latency holds nobody up but the consumer. Bytes and latency are of what is sent, where a SEND
 * meets the RECV of something else.
 *
 * Collectives of a rank run one after the other: start at the latest of the gate and the end of the
 * one before; a transfer moves for x ns; end x + the fixed time later. RESHARD takes no time: start
 * = end = its gate, on no lane. OFFLOAD and RELOAD as in pp_eval: one after the other on the rank's
 * host lane, each at the latest of its gate and the end of the one before.
 *
 * x is 0 without bytes or without a network, else what sim/network.h says: alone, or at the fair
 * rate of every moment. All that ends or starts at one instant does so before rates are told again.
 * With shared links the end of a transfer is rounded up to a whole ns when it comes; apart
 * from rates (sim/network.h) nothing else is rounded.
 *
 * Where nothing is shared, times are a longest path, swept in a stored order; else an event queue.
 * Both give the same numbers where nothing is in fact shared, and those of pp_eval where messages
 * have no bytes and are received in the order in which they are sent, places are plenty, pairs run
 * as one (part by part, the SENDs behind a pair wait for both), lanes do not block and there are no
 * collectives.
 */
#ifndef PP_SIM_ENGINE_H
#define PP_SIM_ENGINE_H

#include "sim/check.h"
#include "sim/costs.h"
#include "sim/network.h"
#include "sim/trace.h"

#define PP_LANE_LIST(X)                                                                            \
    X(PP_LANE_COMPUTE, "compute")                                                                  \
    X(PP_LANE_SEND, "send")                                                                        \
    X(PP_LANE_RECV, "receive")                                                                     \
    X(PP_LANE_COLLECTIVE, "collective")                                                            \
    X(PP_LANE_HOST, "host")

enum pp_lane {
#define PP_LANE_ENUM(name, text) name,
    PP_LANE_LIST(PP_LANE_ENUM)
#undef PP_LANE_ENUM
        PP_LANE_COUNT
};

/** "compute", ... Never NULL. */
const char *pp_lane_text(enum pp_lane lane);
/** RESHARD, which takes no time, counts to the collective lane. */
enum pp_lane pp_lane_of(enum pp_action_type type);

/** How a runtime communicates. */
struct pp_runtime {
    struct pp_comms comms;
    bool batched;       /* compute and the next batch wait for a batch to end (Megatron's
                           batch_isend_irecv and wait) */
    bool reduce_blocks; /* compute waits for reductions before it */
};

/* Which runtime, name on the command line.
 *
 * In PyTorch REDUCE_GRAD holds compute up: perform_reduce_grad (torch/distributed/pipelining/
 * stage.py) ends in FSDP's _root_post_backward_final_callback, by which the compute stream waits
 * for the reduction; "the reduce scatter compute stream sync blocks the other stages from executing
 * their backwards" (pytorch/pytorch#165106, which therefore moved them to the end of the step).
 * Megatron's batch is one group call, whose operations do not wait for one another: directed. */
#define PP_RUNTIME_LIST(X)                                                                         \
    X(PP_RUNTIME_OURS, "ours")         /* directed channels, rendezvous, all overlaps */           \
    X(PP_RUNTIME_TORCH, "torch")       /* PyTorch 2.14.1: a queue a pair, rendezvous */            \
    X(PP_RUNTIME_MEGATRON, "megatron") /* batched p2p: nothing overlaps with transfers */

enum pp_runtime_kind {
#define PP_RUNTIME_ENUM(name, text) name,
    PP_RUNTIME_LIST(PP_RUNTIME_ENUM)
#undef PP_RUNTIME_ENUM
        PP_RUNTIME_COUNT
};

/** "ours", ... Never NULL. */
const char *pp_runtime_text(enum pp_runtime_kind kind);
/** Its habits, as told at PP_RUNTIME_LIST. */
struct pp_runtime pp_runtime_of(enum pp_runtime_kind kind);

/** What actions cost. Arrays are [stage_count]; NULL stands for zeros but in `compute`. */
struct pp_engine_costs {
    struct pp_costs compute;        /* recv_f_ns and recv_b_ns are the latencies of messages */
    const int64_t *message_f_bytes; /* of the input that F of `stage` receives */
    const int64_t *message_b_bytes; /* of the gradient that I or B of `stage` receives */
    const int64_t *unshard_ns, *unshard_bytes; /* fixed time, and bytes through the rank's links */
    const int64_t *reduce_ns, *reduce_bytes;   /* likewise, of one REDUCE_GRAD */
};

struct pp_engine; /* opaque; one thread an engine, the schedule may be shared */

/**
 * @param lowered     sealed and lowered; must outlive the engine
 * @param deadlock_p  filled on PP_E_DEADLOCK as by pp_check_run; may be NULL. What only a batched
 *                    runtime comes to wait for has no cycle there: the message names the wait of
 *                    one rank
 * @return PP_OK, PP_E_ARG (not lowered), PP_E_DEADLOCK, PP_E_NOMEM
 * Cost: O(actions).
 */
enum pp_status pp_engine_create(const struct pp_sched *lowered, const struct pp_runtime *runtime,
                                struct pp_engine **engine_p, struct pp_deadlock *deadlock_p,
                                struct pp_err *err);
void pp_engine_destroy(struct pp_engine *e);

/**
 * @param net    NULL: transfers take their latency only
 * @param trace  of the lowered schedule
 * @return PP_OK, PP_E_RANGE (as pp_costs_check and pp_network_check; bytes negative or above
 *         PP_TRANSFER_MAX_BYTES; all durations together above INT64_MAX / 4)
 * Cost: O(actions), no allocation; with sharing each transfer's start and end cost its connected
 * component of links.
 */
enum pp_status pp_engine_run(struct pp_engine *e, const struct pp_engine_costs *costs,
                             const struct pp_network *net, struct pp_trace *trace,
                             struct pp_err *err);

/** The same through the event queue, also where nothing is shared: for tests and benchmarks.
 *  @param event_count_p  ends of actions and transfers taken from the queue; may be NULL */
enum pp_status pp_engine_run_events(struct pp_engine *e, const struct pp_engine_costs *costs,
                                    const struct pp_network *net, struct pp_trace *trace,
                                    int64_t *event_count_p, struct pp_err *err);

/** What held up the start of `at` in the trace of the last run (sim/causes.h).
 *  @param engine  a struct pp_engine */
struct pp_binding pp_engine_binding(const void *engine, const struct pp_trace *trace, int32_t at);

#endif
