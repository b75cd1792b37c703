/* Final norm, head and loss. The loss makes the gradient of the logits at once, in their place: F
 * leaves it in the stash, and I turns it into the head's weight gradient as well. */
#include "exec/model/stage.h"

void pp_head_forward(const struct pp_stage *s, const struct pp_buffers *b, const void *x) {
    const struct pp_device_ops *d = s->device;
    int64_t tokens = pp_stage_tokens(s);
    int64_t width = s->shape->hidden;
    void *h = b->stash + s->stash.h;
    void *logits = b->stash + s->stash.logits;
    d->norm(s->context, h, (float *)(void *)(b->stash + s->stash.rstd), x,
            pp_stage_weight(s, s->layout->final_norm), tokens, width, s->shape->norm_epsilon);
    d->linear(s->context, logits, h, pp_stage_weight(s, s->layout->head), tokens, width,
              s->shape->vocab, false);
    d->cross_entropy(s->context, b->loss, logits, s->scratch->targets, tokens, s->shape->vocab,
                     b->loss_scale);
}

void pp_head_input_grad(const struct pp_stage *s, const struct pp_buffers *b, const void *x,
                        void *grad) {
    const struct pp_device_ops *d = s->device;
    int64_t tokens = pp_stage_tokens(s);
    int64_t width = s->shape->hidden;
    int64_t vocab = s->shape->vocab;
    void *logits_grad = b->stash + s->stash.logits;
    void *h = b->stash + s->stash.h;
    void *h_grad = s->scratch->hidden;
    d->linear_weight_grad(s->context, s->grads + s->layout->head, logits_grad, h, tokens, width,
                          vocab);
    d->linear_input_grad(s->context, h_grad, logits_grad, pp_stage_weight(s, s->layout->head),
                         tokens, width, vocab, false);
    d->zero(s->context, grad, pp_stage_stream_bytes(s));
    d->norm_grad(s->context, grad, s->grads + s->layout->final_norm, h_grad, x,
                 (const float *)(const void *)(b->stash + s->stash.rstd),
                 pp_stage_weight(s, s->layout->final_norm), tokens, width);
}
