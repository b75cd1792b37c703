/* A mixture of experts: router, routing, and the experts' products over rows sorted by expert. */
#include "exec/model/stage.h"

static struct pp_routing routing_of(const struct pp_stage *s, int32_t i, char *stash) {
    const struct pp_stash_layer *at = &s->stash.layers[i];
    return (struct pp_routing){
        .tokens = (int32_t)pp_stage_tokens(s),
        .experts = s->shape->experts,
        .per_token = s->shape->experts_per_token,
        .probability = (float *)(void *)(stash + at->probability),
        .weight = (float *)(void *)(stash + at->weight),
        .choice = (int32_t *)(void *)(stash + at->choice),
        .row = (int32_t *)(void *)(stash + at->row),
        .token = (int32_t *)(void *)(stash + at->token),
        .offsets = (int32_t *)(void *)(stash + at->offsets),
    };
}

static int64_t rows_of(const struct pp_stage *s) {
    return pp_stage_tokens(s) * s->shape->experts_per_token;
}

void pp_moe_forward(const struct pp_stage *s, int32_t i, char *stash, void *y) {
    const struct pp_device_ops *d = s->device;
    const struct pp_layer_layout *p = &s->layout->layers[i];
    const struct pp_stash_layer *at = &s->stash.layers[i];
    struct pp_routing r = routing_of(s, i, stash);
    int64_t width = s->shape->hidden;
    int64_t ffn = s->shape->expert_ffn;
    void *logits = s->scratch->rows;
    void *gate_up = stash + at->rows_gate_up;
    d->linear(s->context, logits, stash + at->h2, pp_stage_weight(s, p->router), r.tokens, width,
              r.experts, false);
    d->route(s->context, &r, logits);
    d->gather(s->context, stash + at->rows_in, stash + at->h2, &r, width);
    d->experts_linear(s->context, gate_up, stash + at->rows_in,
                      pp_stage_weight(s, p->experts_gate_up), &r, width, 2 * ffn);
    d->swiglu(s->context, stash + at->rows_a, gate_up, rows_of(s), ffn);
    d->experts_linear(s->context, stash + at->rows_out, stash + at->rows_a,
                      pp_stage_weight(s, p->experts_down), &r, ffn, width);
    d->combine(s->context, y, stash + at->rows_out, &r, width);
}

void pp_moe_input_grad(const struct pp_stage *s, int32_t i, char *stash, const void *y_grad,
                       void *h_grad) {
    const struct pp_device_ops *d = s->device;
    const struct pp_layer_layout *p = &s->layout->layers[i];
    const struct pp_stash_layer *at = &s->stash.layers[i];
    struct pp_routing r = routing_of(s, i, stash);
    int64_t width = s->shape->hidden;
    int64_t ffn = s->shape->expert_ffn;
    float *weight_grad = s->scratch->row_weight_grad;
    void *rows_grad = s->scratch->rows;
    void *a_grad = s->scratch->inner;
    void *gate_up = stash + at->rows_gate_up;
    void *router_grad = stash + at->router_grad;

    d->combine_grad(s->context, rows_grad, weight_grad, y_grad, stash + at->rows_out, &r, width);
    d->copy(s->context, stash + at->rows_out, rows_grad, rows_of(s) * width * s->act_bytes);
    d->experts_input_grad(s->context, a_grad, rows_grad, pp_stage_weight(s, p->experts_down), &r,
                          ffn, width);
    d->swiglu_grad(s->context, gate_up, a_grad, rows_of(s), ffn);
    d->experts_input_grad(s->context, rows_grad, gate_up, pp_stage_weight(s, p->experts_gate_up),
                          &r, width, 2 * ffn);
    d->route_grad(s->context, router_grad, &r, weight_grad);
    d->linear_input_grad(s->context, h_grad, router_grad, pp_stage_weight(s, p->router), r.tokens,
                         width, r.experts, false);
    d->gather_grad(s->context, h_grad, rows_grad, &r, width);
}

void pp_moe_weight_grad(const struct pp_stage *s, int32_t i, char *stash) {
    const struct pp_device_ops *d = s->device;
    const struct pp_layer_layout *p = &s->layout->layers[i];
    const struct pp_stash_layer *at = &s->stash.layers[i];
    struct pp_routing r = routing_of(s, i, stash);
    int64_t width = s->shape->hidden;
    int64_t ffn = s->shape->expert_ffn;
    d->linear_weight_grad(s->context, s->grads + p->router, stash + at->router_grad, stash + at->h2,
                          r.tokens, width, r.experts);
    d->experts_weight_grad(s->context, s->grads + p->experts_down, stash + at->rows_out,
                           stash + at->rows_a, &r, ffn, width);
    d->experts_weight_grad(s->context, s->grads + p->experts_gate_up, stash + at->rows_gate_up,
                           stash + at->rows_in, &r, width, 2 * ffn);
}
