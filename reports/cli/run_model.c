#include "reports/cli/run_model.h"

static const double DEFAULT_THETA = 10000.0; /* Llama's */
static const double DEFAULT_EPSILON = 1e-5;

/* Same rule as the cost model's: of every N layers the last sees everything. */
static bool is_windowed(const struct pp_model *m, int32_t layer) {
    return m->sliding_window > 0 &&
           (m->sliding_every <= 1 || ((int64_t)layer + 1) % m->sliding_every != 0);
}

static enum pp_status refuse(const struct pp_model *m, const char *what, struct pp_err *err) {
    pp_fail(err, PP_E_MODEL,
            "%s has %s, for which the executor has no kernels yet (it has RMSNorm, grouped-query "
            "attention with RoPE, SwiGLU and mixture-of-experts blocks)",
            m->id, what);
    pp_hint(err, "rehearse the plan with --model small.json, another model of %d layers",
            m->layer_count);
    return PP_E_MODEL;
}

static enum pp_status check_kinds(const struct pp_model *m, struct pp_err *err) {
    if (m->hidden == 0) {
        pp_fail(err, PP_E_NO_SHAPE, "the shape of %s is not known", m->id);
        pp_hint(err, "give its config.json with --model, or a small one of %d layers",
                m->layer_count);
        return PP_E_NO_SHAPE;
    }
    if (m->attention == PP_ATTENTION_MLA) {
        return refuse(m, "multi-head latent attention (MLA)", err);
    }
    if (m->position_count > 0) {
        return refuse(m, "learned positions", err);
    }
    if (!m->gated) {
        return refuse(m, "an MLP without a gate", err);
    }
    if (m->layer_count > PP_SHAPE_MAX_LAYERS) {
        return pp_fail(err, PP_E_RANGE, "%s has %d layers, the executor takes at most %d", m->id,
                       m->layer_count, PP_SHAPE_MAX_LAYERS);
    }
    return PP_OK;
}

static void remark(struct pp_run_remarks *remarks, bool applies, const char *text) {
    if (applies && remarks->count < PP_RUN_MODEL_REMARKS) {
        remarks->items[remarks->count++] = text;
    }
}

enum pp_status pp_run_shape(const struct pp_model *m, struct pp_shape *shape_p,
                            struct pp_run_remarks *remarks_p, struct pp_err *err) {
    PP_TRY(check_kinds(m, err));
    struct pp_shape shape = {
        .layers = m->layer_count,
        .hidden = m->hidden,
        .vocab = m->vocab,
        .heads = (int32_t)m->heads,
        .kv_heads = (int32_t)m->kv_heads,
        .head_dim = (int32_t)m->head_dim,
        .ffn = m->ffn,
        .window = (int32_t)pp_min_i64(m->sliding_window, INT32_MAX),
        .experts = (int32_t)m->experts,
        .experts_per_token = (int32_t)m->experts_per_token,
        .expert_ffn = m->expert_ffn,
        .shared_ffn = m->experts > 0 ? m->shared_ffn : 0,
        .rope_theta = (float)(m->rope_theta > 0 ? m->rope_theta : DEFAULT_THETA),
        .norm_epsilon = (float)(m->norm_epsilon > 0 ? m->norm_epsilon : DEFAULT_EPSILON),
    };
    for (int32_t layer = 0; layer < m->layer_count; layer++) {
        uint64_t bit = (uint64_t)1 << (layer % 64);
        shape.moe[layer / 64] |= pp_model_is_moe_layer(m, layer) ? bit : 0;
        shape.windowed[layer / 64] |= is_windowed(m, layer) ? bit : 0;
    }
    PP_TRY(pp_shape_check(&shape, err));
    struct pp_run_remarks remarks = {.count = 0};
    remark(&remarks, m->tied, "embedding and head are two matrices here, not one");
    remark(&remarks, m->attention_extra > 0 || m->dense_mlp_extra > 0 || m->expert_extra > 0,
           "biases and norms inside attention and MLPs are left out");
    remark(&remarks, m->norm_params > 2 * m->hidden,
           "a layer has two RMSNorms here, before attention and before the MLP");
    remark(&remarks, m->expert_groups > 1, "experts are chosen among all groups");
    remark(&remarks, m->mtp_layers > 0, "layers of multi-token prediction are left out");
    remark(&remarks, m->experts > 0,
           "the router takes the softmax of all experts and gives the chosen a sum of 1");
    *shape_p = shape;
    *remarks_p = remarks;
    return PP_OK;
}
