/**
 * @file engine_fair.h
 * Private to the engine: how fast each transfer in motion moves where links are shared, and when it
 * will be through.
 *
 * Max-min fair rates by filling (sim/network.h has the source): a link with a smaller share for
 * each of its flows than any link next to it fixes their rates, what these leave of the other links
 * is shared among the rest, and so on. That is begun on links where a flow began or ended, and goes
 * on where a rate changed on a link that is, or was, full: elsewhere each flow still has a full
 * link on which none is faster, and that is what max-min means. A flow whose rate stays is not
 * touched.
 *
 * Exact: what is left counts in bytes * 10^9 * 2^16, rates in 2^-16 bytes/s, rounded down (and at
 * least one of these). A flow's end is rounded up to a whole ns, anew from what is left at each
 * change.
 */
#ifndef PP_SIM_ENGINE_FAIR_H
#define PP_SIM_ENGINE_FAIR_H

#include "sim/engine_heap.h"
#include "sim/network.h"

struct pp_flow {
    unsigned __int128 left; /* at since_ns */
    uint64_t rate;          /* 0: not told yet */
    int64_t since_ns;
    uint32_t told; /* its rate, in the round of that number */
};

/* A flow on one of its links. Flow k has two of these: 2 k and 2 k + 1. */
struct pp_fair_end {
    int32_t link, other; /* this one; that of the other end */
    int32_t next, prev;  /* another end on this link; -1 */
};

struct pp_fair_link {
    unsigned __int128 load; /* the rates of its flows, more than its own only within a round */
    uint64_t rate, even;    /* of the whole link, and for each of its flows */
    uint64_t room;          /* of its rate, without those told in this round; between rounds all */
    uint64_t share;         /* of room, for each of the others */
    int32_t open;           /* how many others */
    int32_t count;          /* flows */
    int32_t first;          /* end; -1 */
    uint32_t noted;         /* dirty, in the round of that number */
};

struct pp_fair {
    struct pp_flow *flows;      /* [flow_count] */
    struct pp_fair_end *ends;   /* [2 * flow_count] */
    struct pp_fair_link *links; /* [link_count] a line of the cache each */
    int32_t *dirty;             /* [link_count] links on which a flow began, ended or changed */
    int32_t *taken;             /* [link_count] links of which something was taken in this round */
    int32_t *path;              /* [link_count] from a link down to tighter ones */
    int32_t *open;              /* [flow_count] ends of the flows without a rate on a link */
    int32_t flow_count, link_count, dirty_count, taken_count;
    uint32_t round; /* which is told next */
};

/** @return false without memory */
bool pp_fair_init(struct pp_fair *f, int32_t flow_count, int32_t link_count);
void pp_fair_deinit(struct pp_fair *f);

/** Nothing moves. */
void pp_fair_begin(struct pp_fair *f, const struct pp_network *net, int32_t rank_count);

void pp_fair_add(struct pp_fair *f, int32_t flow, const struct pp_route *route, int64_t bytes,
                 int64_t now_ns);
void pp_fair_remove(struct pp_fair *f, int32_t flow);

/** Tells rates again, after all that began and ended at now_ns, and sets the ends of flows in the
 *  heap. */
void pp_fair_tell(struct pp_fair *f, int64_t now_ns, struct pp_engine_heap *heap);

#endif
