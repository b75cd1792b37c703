/**
 * @file model_priv.h
 * What distinguishes one model_type from another where the config's keys do not say it.
 */
#ifndef PP_COSTMODEL_MODEL_PRIV_H
#define PP_COSTMODEL_MODEL_PRIV_H

#include "costmodel/model.h"

/* Above any model ever proposed, and small enough that two of them multiply within int64. */
enum {
    PP_MAX_HIDDEN = 10000000,
    PP_MAX_WIDTH = 100000000, /* of an MLP, a vocabulary, a window */
    PP_MAX_HEADS = 1000000,
    PP_MAX_HEAD_DIM = 100000,
    PP_MAX_EXPERTS = 100000,
};

/** Whether a bias (or a norm) exists: by family, or by a key whose absence means no or yes. */
enum pp_trait { PP_NEVER, PP_ALWAYS, PP_KEY_NO, PP_KEY_YES };

/** Norms on queries and keys. */
enum pp_qk_norm {
    PP_QK_NONE,
    PP_QK_HEAD,        /* one weight per head dimension, shared by the heads */
    PP_QK_FULL,        /* one weight per projected channel */
    PP_QK_HEAD_IF,     /* as HEAD where use_qk_norm is true */
    PP_QK_FULL_IF,     /* as FULL where use_qk_norm is true */
    PP_QK_FULL_UNLESS, /* as FULL unless use_qk_norm is false */
};

/** Features that few families have. */
enum {
    PP_HAS_SINKS = 1 << 0,       /* one attention sink logit a head */
    PP_HAS_ROUTER_BIAS = 1 << 1, /* also: biases inside every expert */
    PP_HAS_CORRECTION = 1 << 2,  /* e_score_correction_bias, unless topk_method says otherwise */
    PP_HAS_NOAUX_CORRECTION = 1 << 3, /* the same, only where topk_method is noaux_tc */
    PP_HAS_SHARED_GATE = 1 << 4,      /* a sigmoid gate on the shared expert */
    PP_HAS_POSITIONS = 1 << 5,        /* learned absolute positions */
    PP_HAS_POSITION_OFFSET = 1 << 6,  /* ... two more of them than the config says */
    PP_HAS_EMBEDDING_NORM = 1 << 7,
    PP_HAS_HEAD_BIAS = 1 << 8,
    PP_HAS_FFN_4H = 1 << 9,              /* no width given means four times hidden */
    PP_HAS_WINDOW_ALTERNATING = 1 << 10, /* every other layer is windowed */
    PP_HAS_LLAMA4_MLP = 1 << 11,  /* shared expert as wide as one expert, dense width apart */
    PP_HAS_MULTI_QUERY = 1 << 12, /* one kv head unless the config says otherwise */
};

struct pp_family {
    const char *name; /* model_type */
    bool tied;        /* where tie_word_embeddings is absent */
    bool gated;
    int8_t norm_vectors; /* vectors a norm has: 0 none, 1 weight, 2 weight and bias */
    int8_t norm_count;   /* norms of `hidden` in a layer */
    enum pp_trait attention_bias, output_bias, mlp_bias;
    enum pp_qk_norm qk_norm;
    int32_t head_dim; /* where absent; 0 = hidden / heads */
    uint32_t has;
};

/** Traits of a model_type; if it is not known those of an ordinary Llama-like decoder, under the
 *  empty name. */
const struct pp_family *pp_family_find(const char *model_type);

/** Value of an absent key in this family's configuration class; 0 if it has none of its own. */
int64_t pp_family_default(const struct pp_family *family, const char *key);

/** Parameters of a layer by how parallelism divides them. */
struct pp_layer_parts {
    int64_t split;      /* divided by tensor parallelism */
    int64_t replicated; /* on every tensor-parallel rank: norms, latents, router */
    int64_t routed;     /* routed experts, divided by expert parallelism */
};
struct pp_layer_parts pp_model_layer_parts(const struct pp_model *m, bool moe, bool active);

/** Is every field within the limits that keep all counts inside int64? @return PP_OK, PP_E_RANGE */
enum pp_status pp_model_check(const struct pp_model *m, struct pp_err *err);

#endif
