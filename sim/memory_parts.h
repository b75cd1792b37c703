/**
 * @file memory_parts.h
 * What a rank's memory consists of at its peak, to the byte: the parts of a plan's peak_bytes.
 */
#ifndef PP_SIM_MEMORY_PARTS_H
#define PP_SIM_MEMORY_PARTS_H

#include "sim/replay.h"

/* member, member in JSON (with _bytes), words */
#define PP_MEMORY_PART_LIST(X)                                                                     \
    X(parameters, "parameters", "parameters, this rank's share")                                   \
    X(unsharded, "unsharded", "gathered parameters")                                               \
    X(gradients, "gradients", "gradients")                                                         \
    X(optimizer, "optimizer", "optimizer states")                                                  \
    X(activations, "activations", "activations")                                                   \
    X(logits, "logits", "logits and loss")                                                         \
    X(p2p, "p2p", "receive buffers")                                                               \
    X(transient, "transient", "while the action of the peak runs")                                 \
    X(slack, "slack", "reserved by the allocator, not allocated")                                  \
    X(reserved, "reserved", "context, communicators, workspace")

/** Bytes. */
struct pp_memory_parts {
#define PP_MEMORY_PART_MEMBER(member, text, words) int64_t member;
    PP_MEMORY_PART_LIST(PP_MEMORY_PART_MEMBER)
#undef PP_MEMORY_PART_MEMBER
};

int64_t pp_memory_parts_sum(const struct pp_memory_parts *parts);

/**
 * The parts of a rank at the action that makes its peak: together plan->peak_bytes[rank]. Logits
 * are there from a head stage's F until its I or B; what W still needs of them counts as
 * activations.
 * @param replay    of the plan's schedule, the plan's costs filled in last
 * @param plan      with costs
 * @param gathered  [stage_count] by pp_cost_gathered; NULL: gathered parameters count as parameters
 *                  and as transient
 * Cost: O(actions of the rank + stages).
 */
void pp_plan_memory_parts(const struct pp_replay *replay, const struct pp_plan *plan,
                          const struct pp_gathered_bytes *gathered, int32_t rank,
                          struct pp_memory_parts *parts);

#endif
