/* From the keys of a config.json to a shape. Which module a key or a family stands for is in
 * model_family.c; what a shape counts is in model_params.c. */
#include "costmodel/model_keys.h"
#include "costmodel/model_priv.h"
#include "costmodel/split.h"

#include <stdio.h>
#include <string.h>

/** An optional key that keeps `*value_p` where it is absent. */
static enum pp_status read_int(const struct pp_keys *keys, const char *aliases, int64_t low,
                               int64_t high, int64_t *value_p) {
    bool found;
    return pp_keys_int(keys, aliases, low, high, value_p, &found);
}

static enum pp_status read_int32(const struct pp_keys *keys, const char *aliases, int32_t low,
                                 int32_t high, int32_t *value_p) {
    int64_t value = *value_p;
    PP_TRY(read_int(keys, aliases, low, high, &value));
    *value_p = (int32_t)value;
    return PP_OK;
}

/** A needed key, unless the family's class has a default for it. */
static enum pp_status need_or_default(const struct pp_keys *keys, const struct pp_family *family,
                                      const char *key, const char *aliases, int64_t high,
                                      int64_t *value_p) {
    bool found;
    PP_TRY(pp_keys_int(keys, aliases, 1, high, value_p, &found));
    int64_t absent = pp_family_default(family, key);
    if (!found && absent > 0) {
        *value_p = absent;
        return PP_OK;
    }
    return pp_keys_need(keys, aliases, 1, high, value_p);
}

static enum pp_status read_trait(const struct pp_keys *keys, enum pp_trait trait, const char *alias,
                                 bool *value_p) {
    *value_p = trait == PP_ALWAYS || trait == PP_KEY_YES;
    return trait == PP_KEY_NO || trait == PP_KEY_YES ? pp_keys_bool(keys, alias, value_p) : PP_OK;
}

static enum pp_status read_family(const struct pp_keys *keys, struct pp_model *m) {
    const struct pp_doc *doc = NULL;
    const struct pp_node *node = pp_keys_find(keys, "model_type", &doc);
    if (node == NULL) {
        return PP_OK;
    }
    if (pp_node_kind(node) != PP_NODE_STRING) {
        return pp_node_fail(keys->err, doc, node, PP_E_TYPE, "model_type is %s, expected a string",
                            pp_node_kind_name(pp_node_kind(node)));
    }
    pp_copy(m->family, sizeof m->family, pp_node_text(node));
    return PP_OK;
}

/** Layers that are not attention plus MLP have other costs: refuse rather than count them wrong. */
static enum pp_status check_supported(const struct pp_keys *keys) {
    static const char *const foreign[] = {
        "hybrid_override_pattern", "layers_block_type",  "linear_num_key_heads", "ssm_cfg",
        "mamba_d_state",           "mamba_num_heads",    "state_size",           "block_types",
        "linear_attn_config",      "attn_layer_indices", "block_configs",
    };
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        const struct pp_doc *doc = NULL;
        const struct pp_node *node = pp_keys_find(keys, foreign[i], &doc);
        if (node != NULL) {
            pp_node_fail(keys->err, doc, node, PP_E_MODEL,
                         "%s: this model has layers other than attention with an MLP, expected a "
                         "uniform transformer",
                         foreign[i]);
            pp_hint(keys->err, "give its depth instead (--layers), without costs");
            return PP_E_MODEL;
        }
    }
    bool encoder_decoder = false;
    PP_TRY(pp_keys_bool(keys, "is_encoder_decoder", &encoder_decoder));
    if (encoder_decoder) {
        return pp_fail(keys->err, PP_E_MODEL,
                       "is_encoder_decoder is true, expected a decoder-only model");
    }
    return PP_OK;
}

static enum pp_status read_sizes(const struct pp_keys *keys, const struct pp_family *family,
                                 struct pp_model *m) {
    int64_t layers = 0;
    PP_TRY(pp_keys_need(keys, "num_hidden_layers|n_layer|n_layers|num_layers", 1, PP_MAX_LAYERS,
                        &layers));
    m->layer_count = (int32_t)layers;
    PP_TRY(pp_keys_need(keys, "hidden_size|n_embd|d_model|dim", 1, PP_MAX_HIDDEN, &m->hidden));
    PP_TRY(need_or_default(keys, family, "vocab_size", "vocab_size|padded_vocab_size", PP_MAX_WIDTH,
                           &m->vocab));
    m->tied = family->tied;
    PP_TRY(pp_keys_bool(keys, "tie_word_embeddings", &m->tied));
    if ((family->has & PP_HAS_POSITIONS) != 0) {
        PP_TRY(pp_keys_need(keys, "n_positions|max_position_embeddings|n_ctx", 1, PP_MAX_WIDTH,
                            &m->position_count));
        m->position_count += (family->has & PP_HAS_POSITION_OFFSET) != 0 ? 2 : 0;
    }
    return PP_OK;
}

static enum pp_status read_heads(const struct pp_keys *keys, const struct pp_family *family,
                                 struct pp_model *m) {
    PP_TRY(need_or_default(keys, family, "num_attention_heads",
                           "num_attention_heads|n_head|n_heads", PP_MAX_HEADS, &m->heads));
    bool multi_query = (family->has & PP_HAS_MULTI_QUERY) != 0;
    bool new_decoder = false;
    if (multi_query) {
        PP_TRY(pp_keys_bool(keys, "multi_query", &multi_query));
        PP_TRY(pp_keys_bool(keys, "new_decoder_architecture", &new_decoder));
    }
    int64_t kv_heads = pp_family_default(family, "num_key_value_heads");
    m->kv_heads = kv_heads > 0 ? kv_heads : m->heads;
    if (multi_query && !new_decoder) {
        m->kv_heads = 1;
    } else {
        PP_TRY(read_int(keys, "num_key_value_heads|num_kv_heads|n_kv_heads|num_query_groups", 1,
                        PP_MAX_HEADS, &m->kv_heads));
    }
    m->head_dim = family->head_dim;
    bool found;
    PP_TRY(pp_keys_int(keys, "head_dim|attention_head_dim|kv_channels", 1, PP_MAX_HEAD_DIM,
                       &m->head_dim, &found));
    if (!found && m->head_dim == 0) {
        if (m->hidden % m->heads != 0) {
            return pp_fail(keys->err, PP_E_MODEL,
                           "hidden_size %lld is not divisible by num_attention_heads %lld, and "
                           "there is no head_dim",
                           (long long)m->hidden, (long long)m->heads);
        }
        m->head_dim = m->hidden / m->heads;
    }
    if (m->heads % m->kv_heads != 0) {
        return pp_fail(keys->err, PP_E_MODEL,
                       "num_attention_heads %lld is not divisible by num_key_value_heads %lld",
                       (long long)m->heads, (long long)m->kv_heads);
    }
    return PP_OK;
}

static enum pp_status read_mla(const struct pp_keys *keys, struct pp_model *m) {
    bool found;
    PP_TRY(pp_keys_int(keys, "kv_lora_rank", 1, PP_MAX_HIDDEN, &m->kv_rank, &found));
    if (!found) {
        return PP_OK;
    }
    m->attention = PP_ATTENTION_MLA;
    PP_TRY(read_int(keys, "q_lora_rank", 1, PP_MAX_HIDDEN, &m->q_rank));
    PP_TRY(pp_keys_need(keys, "qk_nope_head_dim", 1, PP_MAX_HEAD_DIM, &m->qk_nope_dim));
    PP_TRY(pp_keys_need(keys, "qk_rope_head_dim", 0, PP_MAX_HEAD_DIM, &m->qk_rope_dim));
    PP_TRY(pp_keys_need(keys, "v_head_dim", 1, PP_MAX_HEAD_DIM, &m->v_dim));
    m->kv_heads = m->heads;
    return PP_OK;
}

/** Biases and norms on queries and keys of ordinary attention. */
static enum pp_status read_gqa_extras(const struct pp_keys *keys, const struct pp_family *family,
                                      struct pp_model *m) {
    bool bias, output_bias;
    const char *names = "attention_bias|use_qkv_bias|qkv_bias|use_bias|bias";
    PP_TRY(read_trait(keys, family->attention_bias, names, &bias));
    PP_TRY(read_trait(keys, family->output_bias, "attention_out_bias|attention_bias|use_bias|bias",
                      &output_bias));
    int64_t q = m->heads * m->head_dim, kv = m->kv_heads * m->head_dim;
    m->attention_extra += (bias ? q + 2 * kv : 0) + (output_bias ? m->hidden : 0);
    bool qk_norm = family->qk_norm != PP_QK_HEAD_IF && family->qk_norm != PP_QK_FULL_IF;
    if (family->qk_norm >= PP_QK_HEAD_IF) {
        PP_TRY(pp_keys_bool(keys, "use_qk_norm", &qk_norm));
    }
    switch (family->qk_norm) {
    case PP_QK_NONE:
        break;
    case PP_QK_HEAD:
    case PP_QK_HEAD_IF:
        m->attention_extra += qk_norm ? 2 * m->head_dim : 0;
        break;
    case PP_QK_FULL:
    case PP_QK_FULL_IF:
    case PP_QK_FULL_UNLESS:
        m->attention_extra += qk_norm ? q + kv : 0;
        break;
    }
    m->attention_extra += (family->has & PP_HAS_SINKS) != 0 ? m->heads : 0;
    return PP_OK;
}

/** Biases of the projections next to the latents, and DeepSeek sparse attention's indexer. */
static enum pp_status read_mla_extras(const struct pp_keys *keys, const struct pp_family *family,
                                      struct pp_model *m) {
    bool bias;
    PP_TRY(read_trait(keys, family->attention_bias, "attention_bias", &bias));
    if (bias) {
        m->attention_extra += m->q_rank + m->kv_rank + m->qk_rope_dim + m->hidden;
    }
    int64_t index_heads = 0, index_dim = 0;
    PP_TRY(read_int(keys, "index_n_heads", 1, PP_MAX_HEADS, &index_heads));
    PP_TRY(read_int(keys, "index_head_dim", 1, PP_MAX_HEAD_DIM, &index_dim));
    if (index_heads > 0 && index_dim > 0) {
        /* query from the latent, one shared key with its LayerNorm, a weight a head */
        m->attention_extra += (m->q_rank > 0 ? m->q_rank : m->hidden) * index_heads * index_dim +
                              m->hidden * index_dim + 2 * index_dim + m->hidden * index_heads;
    }
    return PP_OK;
}

static enum pp_status read_window(const struct pp_keys *keys, const struct pp_family *family,
                                  struct pp_model *m) {
    bool uses = true;
    PP_TRY(pp_keys_bool(keys, "use_sliding_window", &uses));
    PP_TRY(read_int(keys, "sliding_window", 0, PP_MAX_WIDTH, &m->sliding_window));
    if (!uses) {
        m->sliding_window = 0;
    }
    if (m->sliding_window == 0) {
        return PP_OK;
    }
    m->sliding_every = (family->has & PP_HAS_WINDOW_ALTERNATING) != 0
                           ? 2
                           : (int32_t)pp_family_default(family, "sliding_window_pattern");
    PP_TRY(read_int32(keys, "sliding_window_pattern", 1, PP_MAX_LAYERS, &m->sliding_every));
    const struct pp_doc *doc = NULL;
    const struct pp_node *types = pp_keys_find(keys, "layer_types", &doc);
    int32_t count = types != NULL ? pp_node_count(types) : 0;
    int32_t full = 0;
    for (int32_t i = 0; types != NULL && pp_node_kind(types) == PP_NODE_SEQUENCE && i < count;
         i++) {
        const char *text = pp_node_text(pp_node_item(types, i));
        full += text != NULL && strcmp(text, "full_attention") == 0;
    }
    if (full > 0) { /* the period that gives the same share of full layers */
        m->sliding_every = count / full;
        m->sliding_window = m->sliding_every <= 1 ? 0 : m->sliding_window;
    }
    return PP_OK;
}

static enum pp_status read_dense_list(const struct pp_keys *keys, struct pp_model *m) {
    const struct pp_doc *doc = NULL;
    const struct pp_node *list = pp_keys_find(keys, "mlp_only_layers", &doc);
    if (list == NULL) {
        return PP_OK;
    }
    if (pp_node_kind(list) != PP_NODE_SEQUENCE) {
        return pp_node_fail(keys->err, doc, list, PP_E_TYPE,
                            "mlp_only_layers is %s, expected a list of layer numbers",
                            pp_node_kind_name(pp_node_kind(list)));
    }
    const int32_t limit = (int32_t)(sizeof m->dense_mask * 8);
    for (int32_t i = 0; i < pp_node_count(list); i++) {
        const struct pp_node *item = pp_node_item(list, i);
        int64_t layer;
        if (!pp_node_get_int(item, &layer)) {
            return pp_node_fail(keys->err, doc, item, PP_E_TYPE,
                                "mlp_only_layers holds %s, expected layer numbers",
                                pp_node_kind_name(pp_node_kind(item)));
        }
        if (layer < 0 || layer >= limit) {
            return pp_node_fail(keys->err, doc, item, PP_E_RANGE,
                                "mlp_only_layers holds %lld, expected 0 to %d", (long long)layer,
                                limit - 1);
        }
        m->dense_mask[layer / 64] |= UINT64_C(1) << (layer % 64);
    }
    return PP_OK;
}

/** Which layers are MoE. */
static enum pp_status read_moe_pattern(const struct pp_keys *keys, struct pp_model *m) {
    m->moe_every = 1;
    int64_t step = 1;
    bool found;
    PP_TRY(read_int32(keys, "first_k_dense_replace|moe_layer_start_index", 0, PP_MAX_LAYERS,
                      &m->first_dense_layers));
    PP_TRY(read_int32(keys, "moe_layer_freq|moe_layer_interval", 1, PP_MAX_LAYERS, &m->moe_every));
    PP_TRY(pp_keys_int(keys, "decoder_sparse_step|interleave_moe_layer_step", 1, PP_MAX_LAYERS,
                       &step, &found));
    if (found) { /* counts from one: layers step - 1, 2 step - 1, ... */
        m->moe_every = (int32_t)step;
        m->moe_phase = 1;
    }
    return read_dense_list(keys, m);
}

static enum pp_status read_shared_experts(const struct pp_keys *keys,
                                          const struct pp_family *family, struct pp_model *m) {
    int64_t count = 0;
    bool found;
    if ((family->has & PP_HAS_LLAMA4_MLP) != 0) {
        m->shared_ffn = m->expert_ffn;
        return PP_OK;
    }
    PP_TRY(pp_keys_int(keys, "shared_expert_intermediate_size|shared_intermediate_size", 0,
                       PP_MAX_WIDTH, &m->shared_ffn, &found));
    PP_TRY(read_int(keys, "n_shared_experts|num_shared_experts|moe_num_shared_experts", 0,
                    PP_MAX_EXPERTS, &count));
    if (found) {
        return PP_OK;
    }
    int64_t each = m->expert_ffn;
    PP_TRY(read_int(keys, "moe_shared_expert_intermediate_size", 1, PP_MAX_WIDTH, &each));
    m->shared_ffn = count * each;
    return m->shared_ffn <= PP_MAX_WIDTH
               ? PP_OK
               : pp_fail(keys->err, PP_E_RANGE,
                         "n_shared_experts %lld of width %lld, expected at most %d in all",
                         (long long)count, (long long)each, PP_MAX_WIDTH);
}

/** Is there a score correction bias in the router? */
static bool has_correction(const struct pp_keys *keys, const struct pp_family *family) {
    const struct pp_doc *doc = NULL;
    const struct pp_node *method = pp_keys_find(keys, "topk_method", &doc);
    const char *text = method != NULL ? pp_node_text(method) : NULL;
    if (text != NULL) {
        return (family->has & (PP_HAS_CORRECTION | PP_HAS_NOAUX_CORRECTION)) != 0 &&
               strcmp(text, "noaux_tc") == 0;
    }
    return (family->has & PP_HAS_CORRECTION) != 0;
}

static enum pp_status read_experts(const struct pp_keys *keys, const struct pp_family *family,
                                   struct pp_model *m) {
    PP_TRY(read_int(keys, "num_local_experts|num_experts|n_routed_experts|moe_num_experts", 0,
                    PP_MAX_EXPERTS, &m->experts));
    if (m->experts == 0) {
        return PP_OK;
    }
    PP_TRY(pp_keys_need(keys,
                        "num_experts_per_tok|num_experts_per_token|experts_per_token|moe_topk|"
                        "moe_top_k|moe_k",
                        1, PP_MAX_EXPERTS, &m->experts_per_token));
    if (m->experts_per_token > m->experts) {
        return pp_fail(keys->err, PP_E_MODEL,
                       "num_experts_per_tok %lld is more than the %lld experts there are",
                       (long long)m->experts_per_token, (long long)m->experts);
    }
    PP_TRY(read_int(keys, "n_group", 1, PP_MAX_EXPERTS, &m->expert_groups));
    PP_TRY(read_int(keys, "topk_group", 1, PP_MAX_EXPERTS, &m->groups_per_token));
    m->expert_ffn = m->ffn;
    PP_TRY(read_int(keys, "moe_intermediate_size|expert_intermediate_size", 1, PP_MAX_WIDTH,
                    &m->expert_ffn));
    PP_TRY(read_shared_experts(keys, family, m));
    PP_TRY(read_moe_pattern(keys, m));
    m->moe_extra += has_correction(keys, family) ? m->experts : 0;
    m->moe_extra += (family->has & PP_HAS_SHARED_GATE) != 0 && m->shared_ffn > 0 ? m->hidden : 0;
    if ((family->has & PP_HAS_ROUTER_BIAS) != 0) {
        m->moe_extra += m->experts;
        m->expert_extra = 2 * m->expert_ffn + m->hidden;
    }
    return PP_OK;
}

static enum pp_status read_mlp(const struct pp_keys *keys, const struct pp_family *family,
                               struct pp_model *m) {
    m->gated = family->gated;
    const char *names = "intermediate_size|n_inner|ffn_dim|ffn_hidden_size";
    bool mlp_bias;
    PP_TRY(read_trait(keys, family->mlp_bias, "mlp_bias|use_bias|bias", &mlp_bias));
    if ((family->has & PP_HAS_FFN_4H) != 0) {
        m->ffn = 4 * m->hidden;
        PP_TRY(read_int(keys, names, 1, PP_MAX_WIDTH, &m->ffn));
    } else {
        bool found; /* a model of experts only may lack it */
        PP_TRY(pp_keys_int(keys, names, 1, PP_MAX_WIDTH, &m->ffn, &found));
        bool experts_only = false;
        int64_t width = 0;
        PP_TRY(pp_keys_int(keys, "moe_intermediate_size", 1, PP_MAX_WIDTH, &width, &experts_only));
        if (!found && experts_only) {
            m->ffn = width;
        } else if (!found) {
            PP_TRY(pp_keys_need(keys, names, 1, PP_MAX_WIDTH, &m->ffn));
        }
    }
    PP_TRY(read_experts(keys, family, m));
    if ((family->has & PP_HAS_LLAMA4_MLP) != 0) {
        PP_TRY(read_int(keys, "intermediate_size_mlp", 1, PP_MAX_WIDTH, &m->ffn));
    }
    m->dense_mlp_extra = mlp_bias ? (m->gated ? 2 : 1) * m->ffn + m->hidden : 0;
    return PP_OK;
}

static enum pp_status read_norms(const struct pp_keys *keys, const struct pp_family *family,
                                 struct pp_model *m) {
    int64_t count = family->norm_count;
    bool second = false;
    PP_TRY(pp_keys_bool(keys, "new_decoder_architecture", &second));
    if (second) { /* Falcon-40B and later: one norm each for attention and MLP */
        count = 2;
    }
    m->norm_params = count * family->norm_vectors * m->hidden;
    m->final_extra = family->norm_vectors * m->hidden;
    bool head_bias = (family->has & PP_HAS_HEAD_BIAS) != 0;
    PP_TRY(pp_keys_bool(keys, "lm_head_bias", &head_bias));
    m->final_extra += head_bias ? m->vocab : 0;
    m->embedding_extra =
        (family->has & PP_HAS_EMBEDDING_NORM) != 0 ? family->norm_vectors * m->hidden : 0;
    return PP_OK;
}

/* An optional number above 0. Newer configs nest theta in rope_parameters: then it is not stated.
 */
static enum pp_status read_positive(const struct pp_keys *keys, const char *alias,
                                    double *value_p) {
    const struct pp_doc *doc = NULL;
    const struct pp_node *node = pp_keys_find(keys, alias, &doc);
    double value = 0.0;
    if (node == NULL) {
        return PP_OK;
    }
    int64_t whole = 0;
    if (pp_node_get_int(node, &whole)) {
        value = (double)whole;
    } else if (!pp_node_get_float(node, &value)) {
        return pp_node_fail(keys->err, doc, node, PP_E_TYPE, "%s is %s, expected a number", alias,
                            pp_node_kind_name(pp_node_kind(node)));
    }
    if (!(value > 0.0 && value < 1e30)) {
        return pp_node_fail(keys->err, doc, node, PP_E_RANGE,
                            "%s is %g, expected a number above 0%s", alias, value,
                            value > 0 ? " and below 1e30" : "");
    }
    *value_p = value;
    return PP_OK;
}

static enum pp_status read_model(const struct pp_keys *keys, struct pp_model *m) {
    PP_TRY(read_family(keys, m));
    PP_TRY(check_supported(keys));
    const struct pp_family *family = pp_family_find(m->family);
    PP_TRY(read_sizes(keys, family, m));
    PP_TRY(read_heads(keys, family, m));
    PP_TRY(read_mla(keys, m));
    if (m->attention == PP_ATTENTION_MLA) {
        PP_TRY(read_mla_extras(keys, family, m));
    } else {
        PP_TRY(read_gqa_extras(keys, family, m));
    }
    PP_TRY(read_window(keys, family, m));
    PP_TRY(read_mlp(keys, family, m));
    PP_TRY(read_norms(keys, family, m));
    PP_TRY(read_positive(keys, "rope_theta", &m->rope_theta));
    PP_TRY(read_positive(keys, "rms_norm_eps", &m->norm_epsilon));
    PP_TRY(read_int32(keys, "num_nextn_predict_layers|num_mtp_modules", 0, PP_MAX_LAYERS,
                      &m->mtp_layers));
    return pp_model_check(m, keys->err);
}

enum pp_status pp_model_from_node(const struct pp_doc *doc, const struct pp_node *config,
                                  const struct pp_doc *overrides_doc,
                                  const struct pp_node *overrides, struct pp_model *model_p,
                                  struct pp_err *err) {
    if (config == NULL || pp_node_kind(config) != PP_NODE_MAPPING) {
        return config == NULL ? pp_fail(err, PP_E_ARG, "no model configuration given")
                              : pp_node_fail(err, doc, config, PP_E_TYPE,
                                             "the model configuration is %s, expected a mapping",
                                             pp_node_kind_name(pp_node_kind(config)));
    }
    struct pp_keys keys = {.err = err};
    pp_keys_add(&keys, overrides_doc, overrides);
    pp_keys_add(&keys, doc, config);
    struct pp_model m = {0};
    pp_copy(m.id, sizeof m.id, pp_doc_name(doc));
    enum pp_status status = read_model(&keys, &m);
    if (status != PP_OK) {
        if (err != NULL && err->file[0] == '\0') { /* what is wrong is not one node */
            pp_err_place(err, pp_doc_name(doc), 0, 0);
        }
        return status;
    }
    if (pp_family_find(m.family)->name[0] == '\0') {
        snprintf(m.source, sizeof m.source,
                 "%.120s; model_type '%s' is not known: counted like Llama", pp_doc_name(doc),
                 m.family);
    } else {
        pp_copy(m.source, sizeof m.source, pp_doc_name(doc));
    }
    *model_p = m;
    return PP_OK;
}
