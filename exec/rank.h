/**
 * @file rank.h
 * The interpreter of one rank: a state machine that is polled and never waits. It walks the rank's
 * list in order. What is compute is started when its waits are over, and the walk goes on when it
 * is done (with an overlapping workload both parts of a pair are in flight). All else is posted to
 * its lane when its waits are over, and the walk goes on at once; waits are those of program.h.
 *
 * One thread at a time may poll a rank; who drives many of them is drive.h.
 */
#ifndef PP_EXEC_RANK_H
#define PP_EXEC_RANK_H

#include "exec/compute.h"
#include "exec/ring.h"
#include "exec/transport.h"

enum pp_progress {
    PP_ADVANCED, /* something was started, posted or found done */
    PP_BLOCKED,  /* nothing to do until something in flight is done */
    PP_FINISHED, /* the list is at its end and all that was posted is done */
    PP_FAILED,
};

/** How an action stands in the step. */
enum pp_action_state {
    PP_ACTION_AHEAD,   /* the walk has not come to it, or stands at it */
    PP_ACTION_HELD,    /* the walk has passed it, but what it waits for is not over */
    PP_ACTION_STARTED, /* posted or started */
    PP_ACTION_DONE
};

/** What a rank is doing. */
struct pp_rank_view {
    int32_t rank;
    int32_t action;    /* at which it stands; -1: at the end of its list */
    int32_t waits_for; /* action of the same rank that is not done; -1: none, it runs */
    int32_t peer_rank; /* whose SEND or RECV that one needs; -1: none */
    int32_t peer_action;
    int64_t since_ns; /* when it came to stand there, by clock.h */
    bool running;     /* the action was started and is not done */
};

struct pp_rank_config {
    const struct pp_program *program;
    int32_t rank;
    const struct pp_compute_ops *compute;
    void *compute_context;
    const struct pp_transport_ops *transport;
    void *endpoint;
    void *arena;            /* [arena_bytes], aligned to 64; NULL if 0 */
    void *host_arena;       /* [host_bytes] */
    struct pp_ring *ring;   /* recent events; NULL: none are kept */
    struct pp_trace *trace; /* queue, start and end of the rank's actions, since begin's `zero_ns`;
                               of a RECV start is when the transfer began where that is known, of a
                               SEND pp_trace_settle sets it. NULL: not recorded */
};

struct pp_rank;

/** @param config  copied; what it points to must outlive the rank. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_rank_create(const struct pp_rank_config *config, struct pp_rank **rank_p,
                              struct pp_err *err);
void pp_rank_destroy(struct pp_rank *rank);

/** Back to the first action. The step before must have finished. @param zero_ns  time 0 of the
 *  trace, by clock.h; the same for all ranks */
enum pp_status pp_rank_begin(struct pp_rank *rank, int64_t step, int64_t zero_ns,
                             struct pp_err *err);

/** Does what can be done now, at least one thing if any, and says how it stands.
 *  Cost: tens of ns an action beside what compute and transport take. */
enum pp_progress pp_rank_poll(struct pp_rank *rank, struct pp_err *err);

/** For reports; another thread may ask while the rank is polled and gets a recent answer. */
struct pp_rank_view pp_rank_view(const struct pp_rank *rank);

/** Gives up what is posted. */
void pp_rank_abort(struct pp_rank *rank);

/**
 * Sets the start of SENDs (and of RECVs where unknown) once all ranks' parts of a trace are
 * together: the later of the two sides' queue_ns, at most the end.
 */
void pp_trace_settle(struct pp_trace *trace);

#endif
