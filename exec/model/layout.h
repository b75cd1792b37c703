/**
 * @file layout.h
 * The parameters of a stage: one block of floats, and as large ones for gradients and moments.
 * Tensors that one product uses together (q, k and v; gate and up) lie side by side without a gap;
 * what begins such a group is aligned to 64 bytes, so that a layer's arithmetic does not depend on
 * which stage holds it.
 */
#ifndef PP_EXEC_MODEL_LAYOUT_H
#define PP_EXEC_MODEL_LAYOUT_H

#include "exec/model/shape.h"

enum { PP_TENSOR_NAME_BYTES = 60, PP_LAYOUT_ALIGN = 16 };

struct pp_tensor {
    char name[PP_TENSOR_NAME_BYTES]; /* as Hugging Face: model.layers.3.self_attn.q_proj.weight */
    float scale;                     /* drawn in [-scale, scale); 0: ones */
    int64_t offset, count;           /* in elements of the block */
};

/** Where a layer's parameters begin, in elements; -1: it has none. */
struct pp_layer_layout {
    int64_t norm1, qkv, o, norm2;
    int64_t gate_up, down; /* dense, or the shared expert */
    int64_t router, experts_gate_up,
        experts_down; /* [expert][2 ffn][hidden], [expert][hidden][ffn] */
};

struct pp_layout {
    int64_t embedding, final_norm, head;
    struct pp_layer_layout *layers; /* [layer_end - layer_begin] */
    struct pp_tensor *tensors;      /* [tensor_count] in the order of the block */
    int32_t tensor_count;
    int64_t count; /* elements of the block, gaps included */
};

/** @return PP_OK, PP_E_NOMEM */
enum pp_status pp_layout_init(struct pp_layout *layout, const struct pp_shape *shape,
                              const struct pp_stage_modules *modules, struct pp_err *err);
void pp_layout_deinit(struct pp_layout *layout);

/** Width of the MLP that every token of a layer takes: dense, or the shared expert; 0: none. */
int64_t pp_layout_dense_ffn(const struct pp_shape *shape, int32_t layer);

#endif
