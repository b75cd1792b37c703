/** @file transformer_priv.h What transformer.c and transformer_rank.c share. */
#ifndef PP_EXEC_MODEL_TRANSFORMER_PRIV_H
#define PP_EXEC_MODEL_TRANSFORMER_PRIV_H

#include "exec/model/stage.h"
#include "exec/model/transformer.h"

struct pp_transformer {
    struct pp_transformer_config config; /* stages: our copy */
    struct pp_stage_modules *stages;     /* [stage_count] */
    struct pp_layout *layouts;           /* [stage_count] */
};

/** Elements of each part of a rank's scratch memory. */
struct pp_scratch_sizes {
    int64_t stream, inner, qkv, rows, row_weights, tokens, losses;
};
struct pp_scratch_sizes pp_scratch_sizes_of(const struct pp_transformer *t);
int64_t pp_scratch_bytes(const struct pp_scratch_sizes *sizes, int64_t act_bytes);

static inline struct pp_batch_shape pp_transformer_batch(const struct pp_transformer *t) {
    return (struct pp_batch_shape){t->config.sequences, t->config.length};
}

/** Part of the model that a stage of the schedule is: copies (DualPipe) share one. */
static inline int32_t pp_transformer_part(const struct pp_transformer *t, int32_t stage) {
    return stage % t->config.stage_count;
}

#endif
