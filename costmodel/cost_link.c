/* Times of messages and collectives: alpha-beta with the link that a group's extent implies.
 * Ranks are laid out pipeline outermost, then data, context, tensor parallel; expert groups are
 * consecutive ranks within one pipeline rank. Forms: reference costs.md sections 2.7 and 6. */
#include "costmodel/cost_priv.h"

#include <math.h>

static double intra_bytes_per_s(const struct pp_hardware *hw) {
    return (double)hw->intra_node.bytes_per_s * hw->intra_link_efficiency;
}

static double inter_bytes_per_s(const struct pp_hardware *hw) {
    return (double)hw->inter_node.bytes_per_s * hw->inter_link_efficiency;
}

static bool spans_nodes(const struct pp_hardware *hw, struct pp_group group) {
    return group.size * group.stride > hw->gpus_per_node;
}

/** Bytes a second at which one rank's share of a ring moves. Ranks of the group on one node use
 *  that many ports side by side. */
static double ring_bytes_per_s(const struct pp_hardware *hw, struct pp_group group) {
    double intra = intra_bytes_per_s(hw);
    if (!spans_nodes(hw, group)) {
        return intra;
    }
    double ports = fmax(1, floor(hw->gpus_per_node / group.stride));
    return fmin(intra, ports * inter_bytes_per_s(hw));
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

/** Expected number of nodes that hold a token's experts. Group-limited routing (DeepSeek) keeps a
 *  token to a few groups of experts, which lie on consecutive ranks. */
static double nodes_reached(const struct pp_model *m, double nodes) {
    double reached = nodes * (1 - whole_power(1 - 1 / nodes, m->experts_per_token));
    if (m->expert_groups > 1 && m->groups_per_token > 0) {
        double nodes_a_group = fmax(1, nodes / (double)m->expert_groups);
        reached = fmin(reached, (double)m->groups_per_token * nodes_a_group);
    }
    return reached;
}

double pp_dispatch_ns(const struct pp_cost_context *c) {
    if (c->ep <= 1) {
        return 0;
    }
    const struct pp_model *m = &c->model;
    const struct pp_hardware *hw = &c->hw;
    struct pp_group group = {c->ep, 1};
    double bytes = c->moe_tokens * (double)m->hidden * c->width;
    double alpha = collective_alpha_ns(hw, group);
    double inside =
        bytes * (double)m->experts_per_token * (c->ep - 1) / c->ep / intra_bytes_per_s(hw) * 1e9;
    if (!spans_nodes(hw, group)) {
        return inside + alpha;
    }
    /* A token crosses to each node at most once and is spread there (as DeepEP does). */
    double nodes = ceil(c->ep / hw->gpus_per_node);
    double outside =
        bytes * nodes_reached(m, nodes) * (nodes - 1) / nodes / inter_bytes_per_s(hw) * 1e9;
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
    return other_node ? (double)hw->inter_node.latency_ns + bytes / inter_bytes_per_s(hw) * 1e9
                      : (double)hw->intra_node.latency_ns + bytes / intra_bytes_per_s(hw) * 1e9;
}

struct pp_group pp_shard_group(const struct pp_cost_context *c, bool routed) {
    double replicate = c->train.dp_replicate > 1 ? c->train.dp_replicate : 1;
    double ranks = c->train.dp / replicate * c->cp;
    if (!routed) {
        return (struct pp_group){ranks, c->tp};
    }
    return (struct pp_group){fmax(1, ranks * c->tp / c->ep), c->ep};
}
