/* F, I and W over the modules of a stage. x[i] is the residual stream before layer i, x[layers]
 * behind the last; its gradient takes its place in I. */
#include "exec/model/stage.h"

#include "exec/clock.h"

static int32_t layers_of(const struct pp_stage *s) {
    return s->modules.layer_end - s->modules.layer_begin;
}

static void *stream(const struct pp_stage *s, const struct pp_buffers *b, int32_t i) {
    if (s->stash.x[i] >= 0) {
        return b->stash + s->stash.x[i];
    }
    return i == 0 && !s->modules.embedding ? b->input : b->output;
}

static void *stream_grad(const struct pp_stage *s, const struct pp_buffers *b, int32_t i) {
    if (s->stash.x[i] >= 0) {
        return b->stash + s->stash.x[i];
    }
    return i == layers_of(s) && !s->modules.head ? b->output_grad : b->input_grad;
}

/* Ends the time of a module and begins that of the next. */
static void lap(const struct pp_stage *s, int32_t module, enum pp_action_type type,
                int64_t *since_ns) {
    int64_t now = pp_now_ns();
    pp_profile_add(s->profile, module, type, now - *since_ns);
    *since_ns = now;
}

void pp_stage_forward(const struct pp_stage *s, const struct pp_buffers *b) {
    int32_t layers = layers_of(s);
    int64_t since = pp_now_ns();
    if (s->modules.embedding) {
        s->device->embed(s->context, stream(s, b, 0), pp_stage_weight(s, s->layout->embedding),
                         (const int32_t *)(const void *)(b->stash + s->stash.ids),
                         pp_stage_tokens(s), s->shape->hidden);
        lap(s, PP_MODULE_EMBEDDING, PP_F, &since);
    }
    for (int32_t i = 0; i < layers; i++) {
        pp_block_forward(s, i, b->stash, stream(s, b, i));
        pp_mlp_forward(s, i, b->stash, stream(s, b, i + 1));
        lap(s, s->modules.layer_begin + i, PP_F, &since);
    }
    if (s->modules.head) {
        pp_head_forward(s, b, stream(s, b, layers));
        lap(s, s->shape->layers, PP_F, &since);
    } else if (layers == 0 && !s->modules.embedding) {
        s->device->copy(s->context, b->output, b->input, pp_stage_stream_bytes(s));
    }
}

void pp_stage_input_grad(const struct pp_stage *s, const struct pp_buffers *b) {
    int32_t layers = layers_of(s);
    void *grad = s->scratch->grad;
    int64_t since = pp_now_ns();
    if (s->modules.head) {
        pp_head_input_grad(s, b, stream(s, b, layers), grad);
        s->device->copy(s->context, stream_grad(s, b, layers), grad, pp_stage_stream_bytes(s));
        lap(s, s->shape->layers, PP_I, &since);
    } else {
        s->device->copy(s->context, grad, b->output_grad, pp_stage_stream_bytes(s));
    }
    for (int32_t i = layers - 1; i >= 0; i--) {
        pp_mlp_input_grad(s, i, b->stash, grad);
        pp_block_input_grad(s, i, b->stash, stream(s, b, i), grad);
        s->device->copy(s->context, stream_grad(s, b, i), grad, pp_stage_stream_bytes(s));
        lap(s, s->modules.layer_begin + i, PP_I, &since);
    }
    if (layers == 0 && !s->modules.embedding && !s->modules.head) {
        s->device->copy(s->context, b->input_grad, b->output_grad, pp_stage_stream_bytes(s));
    }
}

void pp_stage_weight_grad(const struct pp_stage *s, const struct pp_buffers *b) {
    int64_t since = pp_now_ns();
    for (int32_t i = layers_of(s) - 1; i >= 0; i--) {
        pp_mlp_weight_grad(s, i, b->stash, stream_grad(s, b, i + 1));
        pp_block_weight_grad(s, i, b->stash);
        lap(s, s->modules.layer_begin + i, PP_W, &since);
    }
    if (s->modules.embedding) {
        s->device->embed_grad(s->context, s->grads + s->layout->embedding, stream_grad(s, b, 0),
                              (const int32_t *)(const void *)(b->stash + s->stash.ids),
                              pp_stage_tokens(s), s->shape->hidden);
        lap(s, PP_MODULE_EMBEDDING, PP_W, &since);
    }
}
