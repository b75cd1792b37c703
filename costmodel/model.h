/**
 * @file model.h
 * A transformer's shape, read from Hugging Face config.json keys, and its exact parameter counts.
 *
 * Keys and aliases: n_layer/n_embd/n_head, num_local_experts|num_experts|n_routed_experts,
 * moe_intermediate_size (absent: intermediate_size), head_dim (absent: hidden/heads), kv heads
 * (absent: heads), q_lora_rank null = dense q, tie_word_embeddings absent = by model type,
 * text_config nesting. Parameter formulas: reference costs.md section 2.1; each family's biases,
 * norms and extra vectors follow its published count (see tests/costmodel/test_model.c).
 */
#ifndef PP_COSTMODEL_MODEL_H
#define PP_COSTMODEL_MODEL_H

#include "costmodel/doc.h"

enum pp_attention { PP_ATTENTION_GQA, PP_ATTENTION_MLA };

struct pp_model {
    char id[128];     /* Hugging Face id or file name */
    char family[40];  /* model_type */
    char source[256]; /* where the facts come from */

    int32_t layer_count;
    int64_t hidden, vocab;
    int64_t position_count; /* learned absolute positions (GPT-2), else 0 */
    bool tied;              /* input and output embeddings are one matrix */

    enum pp_attention attention;
    int64_t heads, kv_heads, head_dim;
    int64_t q_rank, kv_rank, qk_nope_dim, qk_rope_dim, v_dim; /* MLA; q_rank 0 = dense q */
    int64_t sliding_window;                                   /* 0 = none */
    int32_t sliding_every; /* of every N layers, N-1 are windowed (0 or 1: all, if windowed) */

    int64_t ffn; /* dense MLP width */
    bool gated;  /* SwiGLU-like: three matrices */

    int64_t experts;                                   /* 0 = dense model */
    int64_t experts_per_token, expert_ffn, shared_ffn; /* shared: total width of shared experts */
    int64_t expert_groups,
        groups_per_token;         /* a token's experts lie in few of the groups; 0: any */
    int32_t first_dense_layers;   /* the first k layers are dense */
    int32_t moe_every, moe_phase; /* then MoE where (layer + phase) % every == 0; 1, 0 = all */
    uint64_t dense_mask[16];      /* bit l: layer l is dense all the same (l < 1024) */

    double rope_theta, norm_epsilon; /* numbers of no cost, for who runs the model; 0: not stated */

    int32_t mtp_layers; /* multi-token prediction layers in the config (not in the totals) */

    /* parameters that only the count needs, per layer and per model, by family */
    int64_t attention_extra, dense_mlp_extra, moe_extra, norm_params, final_extra;
    int64_t expert_extra;    /* biases of one routed expert */
    int64_t embedding_extra; /* norms next to the input embedding */
};

/**
 * Reads a config.json (or a YAML mapping with the same keys).
 * @param overrides  a mapping whose keys win (a recipe's model.config), or NULL
 * @return PP_OK, PP_E_KEY (a needed key missing, with the aliases that were looked for), PP_E_TYPE,
 *         PP_E_RANGE, PP_E_MODEL (inconsistent, such as heads not divisible by kv heads; not a
 *         decoder of attention layers, such as a Mamba hybrid)
 */
enum pp_status pp_model_from_node(const struct pp_doc *doc, const struct pp_node *config,
                                  const struct pp_doc *overrides_doc,
                                  const struct pp_node *overrides, struct pp_model *model_p,
                                  struct pp_err *err);

/** Is `layer` (0-based) a mixture-of-experts layer? */
bool pp_model_is_moe_layer(const struct pp_model *m, int32_t layer);

/** Parameters of one layer, of the input side (embeddings), of the output side (final norm + head;
 *  head 0 if tied). Exact, in elements. `active`: only the experts one token uses. */
int64_t pp_model_layer_params(const struct pp_model *m, int32_t layer, bool active);
int64_t pp_model_embedding_params(const struct pp_model *m);
int64_t pp_model_head_params(const struct pp_model *m);
int64_t pp_model_total_params(const struct pp_model *m, bool active);

/**
 * The shipped catalogue, facts with sources (costmodel/data/models), in file order.
 * Entries with a known depth but unknown shape have hidden == 0.
 */
struct pp_catalogue;
enum pp_status pp_catalogue_open(struct pp_catalogue **cat_p, struct pp_err *err);
void pp_catalogue_close(struct pp_catalogue *cat);
int32_t pp_catalogue_count(const struct pp_catalogue *cat);
const struct pp_model *pp_catalogue_at(const struct pp_catalogue *cat, int32_t index);
/**
 * By exact id, then alias, then by the last path component with case and punctuation ignored.
 * @return NULL if unknown. A recipe's own name never decides.
 */
const struct pp_model *pp_catalogue_find(const struct pp_catalogue *cat, const char *model_id);

#endif
