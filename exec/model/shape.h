/**
 * @file shape.h
 * What the executor needs to know of a model: a decoder of RMSNorm, grouped-query attention with
 * RoPE, and SwiGLU or mixture-of-experts blocks. Plain numbers, so that the executor's core needs
 * no reader of configuration files; reports/cli/run_model.h fills it in from a config.json.
 */
#ifndef PP_EXEC_SHAPE_H
#define PP_EXEC_SHAPE_H

#include "costmodel/base.h"

enum { PP_SHAPE_MAX_LAYERS = 1024, PP_SHAPE_MAX_WIDTH = 1 << 20 };

struct pp_shape {
    int32_t layers;
    int64_t hidden, vocab;
    int32_t heads, kv_heads, head_dim; /* head_dim even */
    int64_t ffn;                       /* of dense layers */
    int32_t window;                    /* sliding window of `windowed` layers; 0: none */
    uint64_t windowed[PP_SHAPE_MAX_LAYERS / 64];
    int32_t experts, experts_per_token;     /* 0: dense */
    int64_t expert_ffn, shared_ffn;         /* shared: one MLP that every token takes; 0: none */
    uint64_t moe[PP_SHAPE_MAX_LAYERS / 64]; /* bit l: layer l is a mixture of experts */
    float rope_theta, norm_epsilon;
};

static inline bool pp_shape_is_moe(const struct pp_shape *s, int32_t layer) {
    return s->experts > 0 && (s->moe[layer / 64] >> (layer % 64) & 1) != 0;
}
static inline bool pp_shape_is_windowed(const struct pp_shape *s, int32_t layer) {
    return s->window > 0 && (s->windowed[layer / 64] >> (layer % 64) & 1) != 0;
}

/** @return PP_OK, PP_E_MODEL (a number outside its range, or two that do not go together) */
enum pp_status pp_shape_check(const struct pp_shape *s, struct pp_err *err);

/** What a stage holds, as module_fqns_per_model_part says it. */
struct pp_stage_modules {
    bool embedding, head; /* head: final norm, head and loss */
    int32_t layer_begin, layer_end;
};

/** Parameters of a module (pp_profile_row.module), in elements. */
int64_t pp_shape_module_params(const struct pp_shape *s, int32_t module);

#endif
