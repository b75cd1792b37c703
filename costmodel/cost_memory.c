/* Bytes a stage holds. Activations: reference costs.md section 2.4 (a line checked against 17
 * measured peaks) and section 6 item 5 (experts, latent attention); states: FSDP2 under pipeline
 * parallelism, reference nemo.md section 7. */
#include "costmodel/cost_priv.h"
#include "costmodel/model_priv.h"

#include <math.h>

static double share_up(double count, double parts) {
    return ceil(count / parts);
}

/** LoRA adapters of a linear layer. */
static double adapter(const struct pp_cost_context *c, double in, double out) {
    return (in + out) * c->train.peft_dim;
}

static double attention_adapters(const struct pp_cost_context *c) {
    const struct pp_model *m = &c->model;
    double h = (double)m->hidden, a = (double)m->heads;
    if (m->attention == PP_ATTENTION_GQA) {
        double q = a * (double)m->head_dim, kv = (double)(m->kv_heads * m->head_dim);
        return adapter(c, h, q) + 2 * adapter(c, h, kv) + adapter(c, q, h);
    }
    double q_out = a * (double)(m->qk_nope_dim + m->qk_rope_dim), q_rank = (double)m->q_rank;
    double q =
        q_rank > 0 ? adapter(c, h, q_rank) + adapter(c, q_rank, q_out) : adapter(c, h, q_out);
    return q + adapter(c, h, (double)(m->kv_rank + m->qk_rope_dim)) +
           adapter(c, (double)m->kv_rank, a * (double)(m->qk_nope_dim + m->v_dim)) +
           adapter(c, a * (double)m->v_dim, h);
}

static double mlp_adapters(const struct pp_cost_context *c, int64_t width) {
    return (c->model.gated ? 3 : 2) * adapter(c, (double)c->model.hidden, (double)width);
}

struct pp_holding pp_layer_holding(const struct pp_cost_context *c, bool moe) {
    struct pp_layer_parts parts = pp_model_layer_parts(&c->model, moe, false);
    struct pp_holding holding = {
        .dense = share_up((double)parts.split, c->tp) + (double)parts.replicated,
        .routed = share_up((double)parts.routed, c->ep),
    };
    holding.trained_dense = holding.dense;
    holding.trained_routed = holding.routed;
    if (c->train.peft) { /* adapters counted whole on each tensor-parallel rank: an upper bound */
        holding.trained_dense =
            attention_adapters(c) + mlp_adapters(c, moe ? c->model.shared_ffn : c->model.ffn);
        holding.trained_routed =
            moe ? (double)c->model.experts / c->ep * mlp_adapters(c, c->model.expert_ffn) : 0;
        holding.dense += holding.trained_dense;
        holding.routed += holding.trained_routed;
    }
    return holding;
}

struct pp_holding pp_embedding_holding(const struct pp_cost_context *c) {
    double count = share_up((double)pp_model_embedding_params(&c->model), c->tp);
    return (struct pp_holding){.dense = count, .trained_dense = c->train.peft ? 0 : count};
}

struct pp_holding pp_head_holding(const struct pp_cost_context *c, bool with_matrix) {
    const struct pp_model *m = &c->model;
    double matrix = with_matrix ? (double)m->hidden * (double)m->vocab : 0;
    double count = share_up(matrix, c->tp) + (double)m->final_extra;
    return (struct pp_holding){.dense = count, .trained_dense = c->train.peft ? 0 : count};
}

/** States of one kind of parameter, sharded over `shards` ranks. */
static struct pp_states states_of(const struct pp_cost_context *c, double count, double trained,
                                  double shards) {
    double state = pp_dtype_bytes(c->train.state_dtype);
    double compute = pp_dtype_bytes(c->train.param_dtype);
    double reduce = pp_dtype_bytes(c->train.reduce_dtype);
    bool copies = shards > 1 || state != compute; /* else the states are the parameters used */
    struct pp_states s = {
        .weight = share_up(count, shards) * state,
        .optimizer = share_up(trained, shards) * 2 * state, /* Adam's two moments */
        .gathered = copies ? count * compute : 0,
        .unsharded = copies ? count * compute : 0,
        .grad_unsharded = trained * reduce,
    };
    if (!c->train.reshard_after_forward) {
        s.weight += s.gathered;
        s.gathered = 0;
    }
    double sharded_grad = share_up(trained, shards) * state;
    s.grad = sharded_grad;
    if (c->train.defer_grad_sync) { /* unsharded until the last microbatch, then both at once */
        s.grad = s.grad_unsharded + (shards > 1 || reduce != state ? sharded_grad : 0);
        s.grad_unsharded = 0;
    }
    return s;
}

struct pp_states pp_states_of(const struct pp_cost_context *c, const struct pp_holding *holding) {
    struct pp_states a =
        states_of(c, holding->dense, holding->trained_dense, pp_shard_group(c, false).size);
    struct pp_states b =
        states_of(c, holding->routed, holding->trained_routed, pp_shard_group(c, true).size);
    return (struct pp_states){
        .weight = a.weight + b.weight,
        .grad = a.grad + b.grad,
        .optimizer = a.optimizer + b.optimizer,
        .gathered = a.gathered + b.gathered,
        .grad_unsharded = a.grad_unsharded + b.grad_unsharded,
        .unsharded = a.unsharded + b.unsharded,
    };
}

/* What one layer saves, in bytes at two bytes an element, by whether the backward for input
 * (`scores`) or only selective recompute (`cheap`) does without it. */
struct saved {
    double all;
    double scores; /* log-sum-exp and router probabilities: gone after I */
    double cheap;  /* norm outputs and activation outputs: selective recompute drops them */
};

static struct saved saved_by_attention(const struct pp_cost_context *c) {
    const struct pp_model *m = &c->model;
    double h = (double)m->hidden, a = (double)m->heads / c->tp;
    struct saved s = {.scores = 4 * a, .cheap = 2 * h * c->stream_share};
    if (m->attention == PP_ATTENTION_GQA) { /* norm in and out, q, k, v, output */
        double kv = fmax(1, (double)m->kv_heads / c->tp) * (double)m->head_dim;
        s.all = 4 * h * c->stream_share + 4 * a * (double)m->head_dim + 4 * kv + s.scores;
        return s;
    }
    double qk = (double)(m->qk_nope_dim + m->qk_rope_dim), v = (double)m->v_dim;
    double kv_up = (double)m->qk_nope_dim + v;
    s.all = 6 * h * c->stream_share + 4 * (double)m->q_rank +
            2 * (double)(m->kv_rank + m->qk_rope_dim) + 2 * (double)m->kv_rank +
            a * (2 * qk + 2 * kv_up + 2 * qk + 2 * v) + s.scores;
    return s;
}

/** Input of the MLP's norm, its output, and per width: product of the first layer, activation. */
static struct saved saved_by_mlp(const struct pp_cost_context *c, bool moe) {
    const struct pp_model *m = &c->model;
    double h = (double)m->hidden;
    double per_width = m->gated ? 6 : 4;
    double width = (double)(moe ? m->shared_ffn : m->ffn) / c->tp;
    struct saved s = {.all = 4 * h * c->stream_share + per_width * width,
                      .cheap = 2 * h * c->stream_share + 2 * width};
    if (moe) {
        double routed = c->moe_tokens / c->tokens; /* routed tokens a token of this rank */
        double k = (double)m->experts_per_token * routed;
        s.scores = 8 * (double)m->experts * routed;
        s.all += k * (2 * h + per_width * (double)m->expert_ffn) + s.scores;
        s.cheap += k * 2 * (double)m->expert_ffn;
    }
    return s;
}

/** Working space of the widest point of a layer, forward and backward. */
static void add_transients(const struct pp_cost_context *c, bool moe, struct pp_activation *a) {
    const struct pp_model *m = &c->model;
    double h = (double)m->hidden, gathered = c->tp > 1 ? 2 * h : 0;
    double width = (double)(moe ? m->shared_ffn : m->ffn) / c->tp;
    double f = c->tokens * (2 * width + gathered), b = c->tokens * (6 * width + gathered);
    if (moe) {
        double routed = c->moe_tokens * (double)m->experts_per_token;
        f = fmax(f, routed * (2 * (double)m->expert_ffn + 2 * h));
        b = fmax(b, routed * (6 * (double)m->expert_ffn + 2 * h));
    }
    a->f_transient = f;
    a->b_transient = b;
}

struct pp_activation pp_layer_activation(const struct pp_cost_context *c, bool moe) {
    struct saved attention = saved_by_attention(c), mlp = saved_by_mlp(c, moe);
    double all = c->tokens * (attention.all + mlp.all);
    double scores = c->tokens * (attention.scores + mlp.scores);
    double cheap = c->tokens * (attention.cheap + mlp.cheap);
    struct pp_activation a = {.kept = all, .weight_grad = all - scores};
    add_transients(c, moe, &a);
    switch (c->train.recompute) {
    case PP_RECOMPUTE_NONE:
        break;
    case PP_RECOMPUTE_SELECTIVE:
        a.kept = all - cheap;
        a.b_transient += cheap;
        break;
    case PP_RECOMPUTE_FULL:
        a.kept = 2 * c->tokens * (double)c->model.hidden * c->stream_share;
        a.f_transient += all - a.kept; /* a layer runs as usual, then drops what it saved */
        a.b_transient += all;
        break;
    }
    double scale = c->width / 2;
    return (struct pp_activation){a.kept * scale, a.weight_grad * scale, a.f_transient * scale,
                                  a.b_transient * scale};
}

struct pp_activation pp_head_activation(const struct pp_cost_context *c, double *logits_p) {
    double stream = c->tokens * (double)c->model.hidden * c->stream_share * c->width;
    double logits = c->tokens * (double)c->model.vocab / c->tp;
    struct pp_activation a = {.kept = 2 * stream, .weight_grad = stream};
    if (c->train.fused_cross_entropy) { /* the gradient overwrites the logits */
        *logits_p = logits * c->width;
        a.weight_grad += logits * c->width;
    } else { /* the logits, their log-softmax in fp32; copies and gradients in fp32 come and go */
        *logits_p = logits * (c->width + 4);
        a.f_transient = 4 * logits;
        a.b_transient = 4 * logits;
        a.weight_grad += logits * c->width;
    }
    a.kept += *logits_p;
    return a;
}

double pp_output_bytes(const struct pp_cost_context *c) {
    return c->tokens * (double)c->model.hidden * c->stream_share * c->width;
}
