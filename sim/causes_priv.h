/* Rooms behind causes.h: the gaps of a rank, and the chain that ended one. */
#ifndef PP_SIM_CAUSES_PRIV_H
#define PP_SIM_CAUSES_PRIV_H

#include "sim/causes.h"
#include "sim/memory_priv.h"

/* A walk over ranks. */
struct pp_gaps {
    const struct pp_trace *trace;
    const struct pp_cause_inputs *in;
    int32_t last;        /* the action that ends last */
    int64_t makespan_ns; /* its end */
    /* of the rank that is being walked, for the cause memory */
    bool timed; /* memory changes beside the compute lane, too */
    struct pp_memory_walk walk;
    int32_t held_until; /* `held` is what the actions before this one leave, where not timed */
    int64_t held;
    int32_t next_f; /* no F stands between the last gap looked at and this one */
};

/* A stretch in which a rank computes nothing. */
struct pp_gap {
    int64_t begin_ns, end_ns;
    int32_t rank;
    int32_t ended_by; /* the compute action that starts at its end; the trace's last action if
                         the gap is the rank's last */
    enum pp_cause
        compute; /* of another rank is FILL, DRAIN or FLUSH; DEPENDENCY: to be looked at */
    int64_t blocked_from_ns; /* no room for the next F from .. to; equal: room enough */
    int64_t blocked_to_ns;
};

struct pp_gaps pp_gaps_of(const struct pp_trace *trace, const struct pp_cause_inputs *in);

/* How long a rank idles. */
int64_t pp_gaps_idle_ns(const struct pp_gaps *gaps, int32_t rank);

/* Calls `take` for each gap of a rank, in order of time. */
typedef void pp_gap_visit(void *context, struct pp_gaps *gaps, const struct pp_gap *gap);
void pp_gaps_visit(struct pp_gaps *gaps, int32_t rank, pp_gap_visit *take, void *context);

/* What a chain was doing from .. to. */
struct pp_link {
    int64_t start_ns, end_ns;
    int32_t action;      /* -1: a lag, or before anything */
    enum pp_cause cause; /* DEPENDENCY: compute, to be looked at */
};

/* A chain, followed back from a gap's end to its beginning. A copy goes on from where it is. */
struct pp_chain {
    const struct pp_trace *trace;
    const struct pp_cause_inputs *in;
    int64_t begin_ns, now_ns;
    int32_t at;
    bool inside; /* the time of `at` before now_ns has not been taken */
};

struct pp_chain pp_chain_of(const struct pp_gaps *gaps, const struct pp_gap *gap);

/* The link before. @return false at the gap's beginning */
bool pp_chain_next(struct pp_chain *c, struct pp_link *link);

#endif
