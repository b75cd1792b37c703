/* The attention half of a layer. */
#include "exec/model/stage.h"

static struct pp_attention_shape attention_of(const struct pp_stage *s, int32_t i) {
    const struct pp_shape *shape = s->shape;
    return (struct pp_attention_shape){
        .sequences = s->batch.sequences,
        .length = s->batch.length,
        .heads = shape->heads,
        .kv_heads = shape->kv_heads,
        .head_dim = shape->head_dim,
        .window = pp_shape_is_windowed(shape, s->modules.layer_begin + i) ? shape->window : 0,
    };
}

static int64_t q_width(const struct pp_shape *s) {
    return (int64_t)s->heads * s->head_dim;
}

static int64_t qkv_width(const struct pp_shape *s) {
    return ((int64_t)s->heads + 2 * (int64_t)s->kv_heads) * s->head_dim;
}

void pp_block_forward(const struct pp_stage *s, int32_t i, char *stash, const void *x) {
    const struct pp_device_ops *d = s->device;
    const struct pp_layer_layout *p = &s->layout->layers[i];
    const struct pp_stash_layer *at = &s->stash.layers[i];
    struct pp_attention_shape shape = attention_of(s, i);
    int64_t tokens = pp_stage_tokens(s);
    int64_t width = s->shape->hidden;
    void *h = stash + at->h1;
    void *qkv = stash + at->qkv;
    void *o = stash + at->o;
    void *x2 = stash + at->x2;

    d->norm(s->context, h, (float *)(void *)(stash + at->rstd1), x, pp_stage_weight(s, p->norm1),
            tokens, width, s->shape->norm_epsilon);
    d->linear(s->context, qkv, h, pp_stage_weight(s, p->qkv), tokens, width, qkv_width(s->shape),
              false);
    d->rope(s->context, qkv, &shape, s->shape->rope_theta, false);
    d->attention(s->context, o, (float *)(void *)(stash + at->lse), qkv, &shape);
    d->copy(s->context, x2, x, pp_stage_stream_bytes(s));
    d->linear(s->context, x2, o, pp_stage_weight(s, p->o), tokens, q_width(s->shape), width, true);
}

void pp_block_input_grad(const struct pp_stage *s, int32_t i, char *stash, const void *x,
                         void *grad) {
    const struct pp_device_ops *d = s->device;
    const struct pp_layer_layout *p = &s->layout->layers[i];
    const struct pp_stash_layer *at = &s->stash.layers[i];
    struct pp_attention_shape shape = attention_of(s, i);
    int64_t tokens = pp_stage_tokens(s);
    int64_t width = s->shape->hidden;
    int64_t qkv_wide = qkv_width(s->shape);
    void *o_grad = s->scratch->inner;
    void *qkv_grad = s->scratch->qkv;
    void *h_grad = s->scratch->hidden;

    d->linear_input_grad(s->context, o_grad, grad, pp_stage_weight(s, p->o), tokens,
                         q_width(s->shape), width, false);
    d->attention_grad(s->context, qkv_grad, o_grad, stash + at->o,
                      (const float *)(const void *)(stash + at->lse), stash + at->qkv, &shape);
    d->rope(s->context, qkv_grad, &shape, s->shape->rope_theta, true);
    d->copy(s->context, stash + at->qkv, qkv_grad, tokens * qkv_wide * s->act_bytes);
    d->linear_input_grad(s->context, h_grad, qkv_grad, pp_stage_weight(s, p->qkv), tokens, width,
                         qkv_wide, false);
    d->norm_grad(s->context, grad, s->grads + p->norm1, h_grad, x,
                 (const float *)(const void *)(stash + at->rstd1), pp_stage_weight(s, p->norm1),
                 tokens, width);
}

void pp_block_weight_grad(const struct pp_stage *s, int32_t i, char *stash) {
    const struct pp_device_ops *d = s->device;
    const struct pp_layer_layout *p = &s->layout->layers[i];
    const struct pp_stash_layer *at = &s->stash.layers[i];
    int64_t tokens = pp_stage_tokens(s);
    int64_t width = s->shape->hidden;
    d->linear_weight_grad(s->context, s->grads + p->o, stash + at->x2, stash + at->o, tokens,
                          q_width(s->shape), width);
    d->linear_weight_grad(s->context, s->grads + p->qkv, stash + at->qkv, stash + at->h1, tokens,
                          width, qkv_width(s->shape));
}
