/* Exact parameter counts. Formulas: reference costs.md section 2.1 (Megatron-LM's
 * theoretical_memory_usage.py); what families add to them: model_family.c. */
#include "costmodel/model.h"

bool pp_model_is_moe_layer(const struct pp_model *m, int32_t layer) {
    if (m->experts == 0 || layer < m->first_dense_layers) {
        return false;
    }
    const int32_t masked = (int32_t)(sizeof m->dense_mask * 8);
    if (layer < masked && (m->dense_mask[layer / 64] >> (layer % 64) & 1) != 0) {
        return false;
    }
    return m->moe_every <= 1 || ((int64_t)layer + m->moe_phase) % m->moe_every == 0;
}

static int64_t attention_params(const struct pp_model *m) {
    int64_t h = m->hidden, a = m->heads;
    if (m->attention == PP_ATTENTION_GQA) {
        return 2 * h * m->head_dim * (a + m->kv_heads) + m->attention_extra;
    }
    int64_t qk = m->qk_nope_dim + m->qk_rope_dim;
    int64_t q = m->q_rank > 0 ? m->q_rank * (h + 1 + a * qk) : h * a * qk;
    int64_t kv =
        h * (m->kv_rank + m->qk_rope_dim) + m->kv_rank * (1 + a * (m->qk_nope_dim + m->v_dim));
    return q + kv + a * m->v_dim * h + m->attention_extra;
}

static int64_t moe_params(const struct pp_model *m, bool active) {
    int64_t matrices = m->gated ? 3 : 2;
    int64_t experts = active ? m->experts_per_token : m->experts;
    return m->hidden * m->experts +
           experts * (matrices * m->hidden * m->expert_ffn + m->expert_extra) +
           matrices * m->hidden * m->shared_ffn + m->moe_extra;
}

int64_t pp_model_layer_params(const struct pp_model *m, int32_t layer, bool active) {
    int64_t mlp = pp_model_is_moe_layer(m, layer)
                      ? moe_params(m, active)
                      : (m->gated ? 3 : 2) * m->hidden * m->ffn + m->dense_mlp_extra;
    return attention_params(m) + mlp + m->norm_params;
}

int64_t pp_model_embedding_params(const struct pp_model *m) {
    return m->hidden * (m->vocab + m->position_count) + m->embedding_extra;
}

int64_t pp_model_head_params(const struct pp_model *m) {
    return m->final_extra + (m->tied ? 0 : m->hidden * m->vocab);
}

int64_t pp_model_total_params(const struct pp_model *m, bool active) {
    int64_t total = pp_model_embedding_params(m) + pp_model_head_params(m);
    for (int32_t layer = 0; layer < m->layer_count; layer++) {
        total += pp_model_layer_params(m, layer, active);
    }
    return total;
}
