/* The MLP half of a layer: SwiGLU, dense or as the shared expert beside a mixture. */
#include "exec/model/stage.h"

static bool is_moe(const struct pp_stage *s, int32_t i) {
    return pp_shape_is_moe(s->shape, s->modules.layer_begin + i);
}

static int64_t ffn_of(const struct pp_stage *s, int32_t i) {
    return pp_layout_dense_ffn(s->shape, s->modules.layer_begin + i);
}

static void dense_forward(const struct pp_stage *s, int32_t i, char *stash, void *y) {
    const struct pp_device_ops *d = s->device;
    const struct pp_layer_layout *p = &s->layout->layers[i];
    const struct pp_stash_layer *at = &s->stash.layers[i];
    int64_t tokens = pp_stage_tokens(s);
    int64_t width = s->shape->hidden;
    int64_t ffn = ffn_of(s, i);
    void *gate_up = stash + at->gate_up;
    void *a = stash + at->a;
    d->linear(s->context, gate_up, stash + at->h2, pp_stage_weight(s, p->gate_up), tokens, width,
              2 * ffn, false);
    d->swiglu(s->context, a, gate_up, tokens, ffn);
    d->linear(s->context, y, a, pp_stage_weight(s, p->down), tokens, ffn, width, true);
}

/* h_grad = or += */
static void dense_input_grad(const struct pp_stage *s, int32_t i, char *stash, const void *y_grad,
                             void *h_grad, bool accumulate) {
    const struct pp_device_ops *d = s->device;
    const struct pp_layer_layout *p = &s->layout->layers[i];
    int64_t tokens = pp_stage_tokens(s);
    int64_t width = s->shape->hidden;
    int64_t ffn = ffn_of(s, i);
    void *gate_up = stash + s->stash.layers[i].gate_up;
    void *a_grad = s->scratch->inner;
    d->linear_input_grad(s->context, a_grad, y_grad, pp_stage_weight(s, p->down), tokens, ffn,
                         width, false);
    d->swiglu_grad(s->context, gate_up, a_grad, tokens, ffn);
    d->linear_input_grad(s->context, h_grad, gate_up, pp_stage_weight(s, p->gate_up), tokens, width,
                         2 * ffn, accumulate);
}

void pp_mlp_forward(const struct pp_stage *s, int32_t i, char *stash, void *y) {
    const struct pp_stash_layer *at = &s->stash.layers[i];
    int64_t tokens = pp_stage_tokens(s);
    int64_t width = s->shape->hidden;
    s->device->norm(s->context, stash + at->h2, (float *)(void *)(stash + at->rstd2),
                    stash + at->x2, pp_stage_weight(s, s->layout->layers[i].norm2), tokens, width,
                    s->shape->norm_epsilon);
    s->device->copy(s->context, y, stash + at->x2, pp_stage_stream_bytes(s));
    if (is_moe(s, i)) {
        pp_moe_forward(s, i, stash, y);
    }
    if (ffn_of(s, i) > 0) {
        dense_forward(s, i, stash, y);
    }
}

void pp_mlp_input_grad(const struct pp_stage *s, int32_t i, char *stash, void *grad) {
    const struct pp_layer_layout *p = &s->layout->layers[i];
    const struct pp_stash_layer *at = &s->stash.layers[i];
    int64_t tokens = pp_stage_tokens(s);
    int64_t width = s->shape->hidden;
    void *h_grad = s->scratch->hidden;
    bool moe = is_moe(s, i);
    if (moe) {
        pp_moe_input_grad(s, i, stash, grad, h_grad);
    }
    if (ffn_of(s, i) > 0) {
        dense_input_grad(s, i, stash, grad, h_grad, moe);
    }
    s->device->norm_grad(s->context, grad, s->grads + p->norm2, h_grad, stash + at->x2,
                         (const float *)(const void *)(stash + at->rstd2),
                         pp_stage_weight(s, p->norm2), tokens, width);
    s->device->copy(s->context, stash + at->x2, grad, pp_stage_stream_bytes(s));
}

void pp_mlp_weight_grad(const struct pp_stage *s, int32_t i, char *stash, const void *y_grad) {
    const struct pp_layer_layout *p = &s->layout->layers[i];
    const struct pp_stash_layer *at = &s->stash.layers[i];
    int64_t tokens = pp_stage_tokens(s);
    int64_t width = s->shape->hidden;
    int64_t ffn = ffn_of(s, i);
    if (is_moe(s, i)) {
        pp_moe_weight_grad(s, i, stash);
    }
    if (ffn > 0) {
        s->device->linear_weight_grad(s->context, s->grads + p->down, y_grad, stash + at->a, tokens,
                                      ffn, width);
        s->device->linear_weight_grad(s->context, s->grads + p->gate_up, stash + at->gate_up,
                                      stash + at->h2, tokens, width, 2 * ffn);
    }
}
