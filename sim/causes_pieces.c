/* Gaps piece by piece, in order of time. */
#include "sim/causes_priv.h"

struct pieces {
    pp_idle_visit *visit;
    void *context;
    int64_t less_ns; /* what the rank computes less than the busiest, and has not been told */
};

static void tell(struct pieces *p, int64_t start_ns, int64_t end_ns, enum pp_cause cause,
                 int32_t action) {
    if (start_ns < end_ns) {
        struct pp_idle_piece piece = {
            .start_ns = start_ns, .end_ns = end_ns, .cause = cause, .action = action};
        p->visit(p->context, &piece);
    }
}

/* Time in which there was room: what no order could spare the rank first. */
static void tell_free(struct pieces *p, int64_t start_ns, int64_t end_ns, int32_t action) {
    if (start_ns < end_ns) {
        int64_t until_ns = start_ns + pp_min_i64(p->less_ns, end_ns - start_ns);
        p->less_ns -= until_ns - start_ns;
        tell(p, start_ns, until_ns, PP_CAUSE_IMBALANCE, action);
        tell(p, until_ns, end_ns, PP_CAUSE_DEPENDENCY, action);
    }
}

static void tell_link(struct pieces *p, const struct pp_gap *gap, const struct pp_link *l) {
    if (l->cause != PP_CAUSE_DEPENDENCY || gap->compute != PP_CAUSE_DEPENDENCY) {
        enum pp_cause cause = l->cause != PP_CAUSE_DEPENDENCY ? l->cause : gap->compute;
        tell(p, l->start_ns, l->end_ns, cause, l->action);
        return;
    }
    int64_t from_ns = pp_min_i64(pp_max_i64(l->start_ns, gap->blocked_from_ns), l->end_ns);
    int64_t to_ns = pp_min_i64(pp_max_i64(l->start_ns, gap->blocked_to_ns), l->end_ns);
    tell_free(p, l->start_ns, from_ns, l->action);
    tell(p, from_ns, to_ns, PP_CAUSE_MEMORY, l->action);
    tell_free(p, to_ns, l->end_ns, l->action);
}

enum { LEAF_LINKS = 128 };

static void tell_leaf(struct pieces *p, const struct pp_gap *gap, struct pp_chain chain,
                      int32_t count) {
    struct pp_link links[LEAF_LINKS];
    for (int32_t i = 0; i < count; i++) {
        pp_chain_next(&chain, &links[i]);
    }
    while (count > 0) {
        tell_link(p, gap, &links[--count]);
    }
}

/* The chain's next `count` links, which go back in time, forward: the half that is further back
 * first, found by going over the nearer half once more. O(count log count), without a list of all.
 */
static void tell_forward(struct pieces *p, const struct pp_gap *gap, struct pp_chain chain,
                         int32_t count) {
    if (count <= LEAF_LINKS) {
        tell_leaf(p, gap, chain, count);
        return;
    }
    struct pp_chain further = chain;
    struct pp_link link;
    for (int32_t i = 0; i < count / 2; i++) {
        pp_chain_next(&further, &link);
    }
    tell_forward(p, gap, further, count - count / 2);
    tell_forward(p, gap, chain, count / 2);
}

static void tell_gap(void *context, struct pp_gaps *g, const struct pp_gap *gap) {
    struct pieces *p = context;
    struct pp_chain chain = pp_chain_of(g, gap);
    struct pp_chain counted = chain;
    int32_t count = 0;
    for (struct pp_link link; pp_chain_next(&counted, &link);) {
        count++;
    }
    tell_forward(p, gap, chain, count);
}

void pp_idle_pieces(const struct pp_trace *trace, const struct pp_cause_inputs *in, int32_t rank,
                    pp_idle_visit *visit, void *context) {
    struct pieces p = {.visit = visit, .context = context};
    struct pp_gaps gaps = pp_gaps_of(trace, in);
    int64_t least_ns = INT64_MAX;
    for (int32_t r = 0; r < trace->sched->rank_count; r++) {
        least_ns = pp_min_i64(least_ns, pp_gaps_idle_ns(&gaps, r));
    }
    p.less_ns = pp_gaps_idle_ns(&gaps, rank) - least_ns;
    pp_gaps_visit(&gaps, rank, tell_gap, &p);
}
