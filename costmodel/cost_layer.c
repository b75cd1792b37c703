/* A layer and the model's two ends as sums of kernels and collectives. Sizes: reference costs.md
 * sections 2.1, 2.2; element-wise bytes and tensor-parallel pairs: section 6. */
#include "costmodel/cost_priv.h"

#include <math.h>

static void add_gqa(const struct pp_cost_context *c, struct pp_work *work) {
    const struct pp_model *m = &c->model;
    double h = (double)m->hidden, d = (double)m->head_dim;
    double q = (double)m->heads * d / c->tp;
    double kv = fmax(1, (double)m->kv_heads / c->tp) * d;
    pp_work_linear(c, c->tokens, h, q + 2 * kv, work);
    pp_work_linear(c, c->tokens, q, h, work);
}

/** Down to the latents (on every tensor-parallel rank), up per head, and out. */
static void add_mla(const struct pp_cost_context *c, struct pp_work *work) {
    const struct pp_model *m = &c->model;
    double h = (double)m->hidden, heads = (double)m->heads / c->tp;
    double qk = (double)(m->qk_nope_dim + m->qk_rope_dim);
    if (m->q_rank > 0) {
        pp_work_linear(c, c->tokens, h, (double)m->q_rank, work);
        pp_work_linear(c, c->tokens, (double)m->q_rank, heads * qk, work);
    } else {
        pp_work_linear(c, c->tokens, h, heads * qk, work);
    }
    pp_work_linear(c, c->tokens, h, (double)(m->kv_rank + m->qk_rope_dim), work);
    pp_work_linear(c, c->tokens, (double)m->kv_rank, heads * (double)(m->qk_nope_dim + m->v_dim),
                   work);
    pp_work_linear(c, c->tokens, heads * (double)m->v_dim, h, work);
}

static void add_mlp(const struct pp_cost_context *c, double width, struct pp_work *work) {
    double h = (double)c->model.hidden, f = width / c->tp;
    pp_work_linear(c, c->tokens, h, c->model.gated ? 2 * f : f, work);
    pp_work_linear(c, c->tokens, f, h, work);
}

static void add_moe(const struct pp_cost_context *c, struct pp_work *work) {
    const struct pp_model *m = &c->model;
    pp_work_product(c, c->moe_tokens, (double)m->hidden, (double)m->experts, !c->train.peft,
                    work); /* router */
    if (m->shared_ffn > 0) {
        add_mlp(c, (double)m->shared_ffn, work);
    }
    pp_work_grouped(c, work);
    double exchange = 2 * pp_dispatch_ns(c); /* dispatch and combine, and both again backward */
    work->f_ns += exchange;
    work->i_ns += exchange;
}

/** Bytes of norms, residuals, rotary and activation functions in one forward. The section's factors
 *  are for 2-byte elements. */
static double elementwise_bytes(const struct pp_cost_context *c, bool moe) {
    const struct pp_model *m = &c->model;
    double h = (double)m->hidden, scale = c->width / 2;
    double act = (m->gated ? 3.2 : 2.2) * 2;
    double q =
        (double)m->heads * (double)(m->attention == PP_ATTENTION_MLA ? m->v_dim : m->head_dim);
    double bytes = c->tokens * (28 * h * c->stream_share + 12 * q / c->tp);
    if (!moe) {
        return (bytes + c->tokens * act * (double)m->ffn / c->tp) * scale;
    }
    double k = (double)m->experts_per_token;
    bytes += c->tokens * act * (double)m->shared_ffn / c->tp;
    bytes += c->moe_tokens * k * (act * (double)m->expert_ffn + 8 * h); /* permute and unpermute */
    return bytes * scale + c->moe_tokens * 8 * (double)m->experts;
}

/** Attention and MLP each end in one all-reduce, or start and end in a gather and a scatter. */
static double tensor_pairs_ns(const struct pp_cost_context *c) {
    struct pp_group group = {c->tp, 1};
    return 2 * pp_reduce_pair_ns(&c->hw, group, c->tokens * (double)c->model.hidden * c->width);
}

void pp_layer_work(const struct pp_cost_context *c, struct pp_layer_kind kind, struct pp_work *work,
                   double *again_ns_p) {
    *work = (struct pp_work){0};
    if (c->model.attention == PP_ATTENTION_MLA) {
        add_mla(c, work);
    } else {
        add_gqa(c, work);
    }
    pp_work_attention(c, kind.windowed, work);
    if (kind.moe) {
        add_moe(c, work);
    } else {
        add_mlp(c, (double)c->model.ffn, work);
    }
    double bytes = elementwise_bytes(c, kind.moe);
    pp_work_traffic(c, bytes, work);
    double pairs = tensor_pairs_ns(c);
    work->f_ns += pairs;
    work->i_ns += pairs;
    *again_ns_p = pp_traffic_ns(&c->hw, bytes);
}

void pp_embedding_work(const struct pp_cost_context *c, struct pp_work *work) {
    *work = (struct pp_work){0};
    double row_bytes = c->tokens * (double)c->model.hidden;
    work->f_ns = pp_traffic_ns(&c->hw, 2 * c->width * row_bytes);
    work->f_ns += pp_reduce_pair_ns(&c->hw, (struct pp_group){c->tp, 1}, c->width * row_bytes);
    if (!c->train.peft) { /* scatter-add: read the gradient, read and write the rows */
        double grad = pp_dtype_bytes(c->train.reduce_dtype);
        work->w_ns = pp_traffic_ns(&c->hw, (c->width + 2 * grad) * row_bytes);
    }
}

void pp_head_work(const struct pp_cost_context *c, struct pp_work *work) {
    *work = (struct pp_work){0};
    const struct pp_model *m = &c->model;
    double h = (double)m->hidden, vocab = (double)m->vocab / c->tp;
    pp_work_product(c, c->tokens, h, vocab, !c->train.peft, work); /* not adapted by LoRA */
    double logits = c->tokens * vocab;
    bool fused = c->train.fused_cross_entropy;
    /* Unfused: read, write fp32, read, write log-softmax; backward the same and back to bf16. */
    work->f_ns += pp_traffic_ns(&c->hw, logits * (fused ? c->width * 2 : c->width + 12));
    work->i_ns += pp_traffic_ns(&c->hw, logits * (fused ? c->width : c->width + 12));
    pp_work_traffic(c, 3 * c->tokens * h * c->width, work); /* final norm */
}
