/* Times of messages and collectives: alpha-beta with the link that a group's extent implies.
 * Ranks are laid out pipeline outermost, then data, context, tensor parallel; expert groups are
 * consecutive ranks within one pipeline rank. Forms: reference costs.md sections 2.7 and 6. */
#include "costmodel/cost_priv.h"

#include <math.h>

static bool spans_nodes(const struct pp_hardware *hw, struct pp_group group) {
    return group.size * group.stride > hw->gpus_per_node;
}

/** Bytes a second at which one rank's share of a ring moves. Ranks of the group on one node use
 *  that many ports side by side. */
static double ring_bytes_per_s(const struct pp_hardware *hw, struct pp_group group) {
    double intra = (double)hw->intra_node.bytes_per_s;
    if (!spans_nodes(hw, group)) {
        return intra * hw->link_efficiency;
    }
    double ports = fmax(1, floor(hw->gpus_per_node / group.stride));
    return fmin(intra, ports * (double)hw->inter_node.bytes_per_s) * hw->link_efficiency;
}

/** Fixed cost of a collective: grows with the ranks of a node, then with the tree over nodes. */
static double collective_alpha_ns(const struct pp_hardware *hw, struct pp_group group) {
    double alpha = (double)hw->collective_latency_ns * (0.5 + fmin(group.size, 8) / 8);
    if (spans_nodes(hw, group)) {
        for (double reach = hw->gpus_per_node; reach < group.size * group.stride; reach *= 2) {
            alpha += (double)hw->inter_node.latency_ns;
        }
    }
    return alpha;
}

double pp_gather_ns(const struct pp_hardware *hw, struct pp_group group, double bytes) {
    if (group.size <= 1) {
        return 0;
    }
    return (group.size - 1) / group.size * bytes / ring_bytes_per_s(hw, group) * 1e9 +
           collective_alpha_ns(hw, group);
}

double pp_reduce_pair_ns(const struct pp_hardware *hw, struct pp_group group, double bytes) {
    if (group.size <= 1) {
        return 0;
    }
    return 2 * (group.size - 1) / group.size * bytes / ring_bytes_per_s(hw, group) * 1e9 +
           collective_alpha_ns(hw, group);
}

/** base to the power of a whole exponent, by squaring: the same on every machine. */
static double whole_power(double base, int64_t exponent) {
    double result = 1;
    for (; exponent > 0; exponent /= 2) {
        result *= exponent % 2 != 0 ? base : 1;
        base *= base;
    }
    return result;
}

double pp_dispatch_ns(const struct pp_cost_context *c) {
    if (c->ep <= 1) {
        return 0;
    }
    const struct pp_model *m = &c->model;
    const struct pp_hardware *hw = &c->hw;
    struct pp_group group = {c->ep, 1};
    double token_bytes = (double)m->hidden * c->width;
    double copies = (double)m->experts_per_token;
    double alpha = collective_alpha_ns(hw, group);
    double inside = c->moe_tokens * copies * token_bytes * (c->ep - 1) / c->ep /
                    ((double)hw->intra_node.bytes_per_s * hw->link_efficiency) * 1e9;
    if (!spans_nodes(hw, group)) {
        return inside + alpha;
    }
    /* A token crosses to each node at most once and is spread there (as DeepEP does): expected
     * number of distinct nodes among its experts, less the share that is the own node. */
    double nodes = ceil(c->ep / hw->gpus_per_node);
    double reached = nodes * (1 - whole_power(1 - 1 / nodes, m->experts_per_token));
    double outside = c->moe_tokens * reached * (nodes - 1) / nodes * token_bytes /
                     ((double)hw->inter_node.bytes_per_s * hw->link_efficiency) * 1e9;
    return fmax(inside, outside) + alpha;
}

double pp_context_exchange_ns(const struct pp_cost_context *c) {
    if (c->cp <= 1) {
        return 0;
    }
    const struct pp_model *m = &c->model;
    bool latent = m->attention == PP_ATTENTION_MLA;
    double heads = fmax(1, (double)m->kv_heads / c->tp);
    double channels = latent ? heads * (double)(m->qk_nope_dim + m->qk_rope_dim + m->v_dim)
                             : heads * 2 * (double)m->head_dim;
    struct pp_group group = {c->cp, c->tp};
    return (c->cp - 1) * (c->tokens * channels * c->width / ring_bytes_per_s(&c->hw, group) * 1e9 +
                          (double)c->hw.intra_node.latency_ns);
}

double pp_message_ns(const struct pp_hardware *hw, bool other_node, double bytes) {
    const struct pp_link *link = other_node ? &hw->inter_node : &hw->intra_node;
    return (double)link->latency_ns +
           bytes / ((double)link->bytes_per_s * hw->link_efficiency) * 1e9;
}

struct pp_group pp_shard_group(const struct pp_cost_context *c, bool routed) {
    double replicate = c->train.dp_replicate > 1 ? c->train.dp_replicate : 1;
    double ranks = c->train.dp / replicate * c->cp;
    if (!routed) {
        return (struct pp_group){ranks, c->tp};
    }
    return (struct pp_group){fmax(1, ranks * c->tp / c->ep), c->ep};
}
