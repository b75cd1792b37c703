/* Exact parameter counts. Formulas: reference costs.md section 2.1 (Megatron-LM's
 * theoretical_memory_usage.py); what families add to them: model_family.c. */
#include "costmodel/model_priv.h"
#include "costmodel/split.h"

static const double max_params = 1e15;

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

static void add_attention(const struct pp_model *m, struct pp_layer_parts *parts) {
    int64_t h = m->hidden, a = m->heads;
    if (m->attention == PP_ATTENTION_GQA) {
        parts->split += 2 * h * m->head_dim * (a + m->kv_heads);
        parts->replicated += m->attention_extra;
        return;
    }
    int64_t qk = m->qk_nope_dim + m->qk_rope_dim;
    int64_t from = m->q_rank > 0 ? m->q_rank : h;
    parts->split += from * a * qk + m->kv_rank * a * (m->qk_nope_dim + m->v_dim) + a * m->v_dim * h;
    parts->replicated +=
        m->q_rank * (h + 1) + h * (m->kv_rank + m->qk_rope_dim) + m->kv_rank + m->attention_extra;
}

struct pp_layer_parts pp_model_layer_parts(const struct pp_model *m, bool moe, bool active) {
    struct pp_layer_parts parts = {.replicated = m->norm_params};
    int64_t matrices = m->gated ? 3 : 2;
    add_attention(m, &parts);
    if (!moe) {
        parts.split += matrices * m->hidden * m->ffn;
        parts.replicated += m->dense_mlp_extra;
        return parts;
    }
    int64_t experts = active ? m->experts_per_token : m->experts;
    parts.split += matrices * m->hidden * m->shared_ffn;
    parts.replicated += m->hidden * m->experts + m->moe_extra;
    parts.routed = experts * (matrices * m->hidden * m->expert_ffn + m->expert_extra);
    return parts;
}

int64_t pp_model_layer_params(const struct pp_model *m, int32_t layer, bool active) {
    struct pp_layer_parts parts = pp_model_layer_parts(m, pp_model_is_moe_layer(m, layer), active);
    return parts.split + parts.replicated + parts.routed;
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

/** The total in doubles, which cannot overflow; every layer counted as the larger of both kinds. */
static double rough_total(const struct pp_model *m) {
    double h = (double)m->hidden, a = (double)m->heads;
    double attention = 4.0 * h * a * (double)m->head_dim + (double)m->attention_extra;
    double latent = a * (double)(m->qk_nope_dim + m->qk_rope_dim + m->v_dim) *
                    ((double)m->q_rank + (double)m->kv_rank + 2.0 * h);
    double mlp = 3.0 * h * ((double)m->ffn + (double)m->shared_ffn);
    double routed =
        (double)m->experts * (3.0 * h * (double)m->expert_ffn + h + (double)m->expert_extra);
    return (attention + latent + mlp + routed) * m->layer_count +
           h * (2.0 * (double)m->vocab + (double)m->position_count);
}

enum pp_status pp_model_check(const struct pp_model *m, struct pp_err *err) {
    const struct {
        const char *name;
        int64_t value, low, high;
    } limits[] = {
        {"layers", m->layer_count, 1, PP_MAX_LAYERS},
        {"hidden size", m->hidden, 1, PP_MAX_HIDDEN},
        {"vocabulary", m->vocab, 1, PP_MAX_WIDTH},
        {"positions", m->position_count, 0, PP_MAX_WIDTH + 2},
        {"attention heads", m->heads, 1, PP_MAX_HEADS},
        {"kv heads", m->kv_heads, 1, PP_MAX_HEADS},
        {"head dimension", m->head_dim, 1, PP_MAX_HEAD_DIM},
        {"q latent rank", m->q_rank, 0, PP_MAX_HIDDEN},
        {"kv latent rank", m->kv_rank, 0, PP_MAX_HIDDEN},
        {"qk_nope dimension", m->qk_nope_dim, 0, PP_MAX_HEAD_DIM},
        {"qk_rope dimension", m->qk_rope_dim, 0, PP_MAX_HEAD_DIM},
        {"v dimension", m->v_dim, 0, PP_MAX_HEAD_DIM},
        {"sliding window", m->sliding_window, 0, PP_MAX_WIDTH},
        {"MLP width", m->ffn, 1, PP_MAX_WIDTH},
        {"experts", m->experts, 0, PP_MAX_EXPERTS},
        {"experts a token", m->experts_per_token, m->experts > 0, m->experts},
        {"expert width", m->expert_ffn, m->experts > 0, PP_MAX_WIDTH},
        {"shared expert width", m->shared_ffn, 0, PP_MAX_WIDTH},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (limits[i].value < limits[i].low || limits[i].value > limits[i].high) {
            return pp_fail(err, PP_E_RANGE, "the model's %s is %lld, expected %lld to %lld",
                           limits[i].name, (long long)limits[i].value, (long long)limits[i].low,
                           (long long)limits[i].high);
        }
    }
    double total = rough_total(m);
    if (!(total <= max_params)) {
        return pp_fail(err, PP_E_RANGE, "the model has %.3g parameters, expected at most %.0e",
                       total, max_params);
    }
    return PP_OK;
}
