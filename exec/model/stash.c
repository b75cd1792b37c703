/* What F keeps. One walk over the modules gives sizes and, where they are wanted, offsets. */
#include "exec/model/stash.h"

#include "exec/model/layout.h"

#include <stdlib.h>

enum { ALIGN_BYTES = 64, FLOAT_BYTES = 4, INT_BYTES = 4 };

struct walk {
    const struct pp_shape *shape;
    int64_t tokens, act_bytes, at;
};

static int64_t take(struct walk *w, int64_t count, int64_t element_bytes) {
    int64_t offset = w->at;
    w->at += (count * element_bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    return offset;
}

static int64_t take_act(struct walk *w, int64_t rows, int64_t width) {
    return take(w, rows * width, w->act_bytes);
}

static void take_moe(struct walk *w, struct pp_stash_layer *l) {
    const struct pp_shape *s = w->shape;
    int64_t rows = w->tokens * s->experts_per_token;
    l->probability = take(w, w->tokens * s->experts, FLOAT_BYTES);
    l->weight = take(w, rows, FLOAT_BYTES);
    l->choice = take(w, rows, INT_BYTES);
    l->row = take(w, rows, INT_BYTES);
    l->token = take(w, rows, INT_BYTES);
    l->offsets = take(w, s->experts + 1, INT_BYTES);
    l->router_grad = take_act(w, w->tokens, s->experts);
    l->rows_in = take_act(w, rows, s->hidden);
    l->rows_gate_up = take_act(w, rows, 2 * s->expert_ffn);
    l->rows_a = take_act(w, rows, s->expert_ffn);
    l->rows_out = take_act(w, rows, s->hidden);
}

static struct pp_stash_layer take_layer(struct walk *w, int32_t layer) {
    const struct pp_shape *s = w->shape;
    int64_t q = (int64_t)s->heads * s->head_dim;
    int64_t kv = (int64_t)s->kv_heads * s->head_dim;
    struct pp_stash_layer l = {0};
    l.rstd1 = take(w, w->tokens, FLOAT_BYTES);
    l.h1 = take_act(w, w->tokens, s->hidden);
    l.qkv = take_act(w, w->tokens, q + 2 * kv);
    l.lse = take(w, w->tokens * s->heads, FLOAT_BYTES);
    l.o = take_act(w, w->tokens, q);
    l.x2 = take_act(w, w->tokens, s->hidden);
    l.rstd2 = take(w, w->tokens, FLOAT_BYTES);
    l.h2 = take_act(w, w->tokens, s->hidden);
    int64_t ffn = pp_layout_dense_ffn(s, layer);
    l.gate_up = take_act(w, w->tokens, 2 * ffn);
    l.a = take_act(w, w->tokens, ffn);
    if (pp_shape_is_moe(s, layer)) {
        take_moe(w, &l);
    }
    return l;
}

/* `stash` has room for offsets, or is NULL. */
static int64_t walk_stage(const struct pp_shape *shape, const struct pp_stage_modules *m,
                          const struct pp_batch_shape *batch, int64_t act_bytes,
                          struct pp_stash *stash) {
    struct walk w = {shape, pp_batch_tokens(batch), act_bytes, 0};
    int32_t layers = m->layer_end - m->layer_begin;
    int64_t ids = m->embedding ? take(&w, w.tokens, INT_BYTES) : -1;
    for (int32_t i = 0; i <= layers; i++) {
        bool outside = (i == 0 && !m->embedding) || (i == layers && !m->head);
        int64_t x = outside ? -1 : take_act(&w, w.tokens, shape->hidden);
        struct pp_stash_layer l = {0};
        if (i < layers) {
            l = take_layer(&w, m->layer_begin + i);
        }
        if (stash != NULL) {
            stash->x[i] = x;
            stash->layers[i] = l;
        }
    }
    int64_t rstd = m->head ? take(&w, w.tokens, FLOAT_BYTES) : -1;
    int64_t h = m->head ? take_act(&w, w.tokens, shape->hidden) : -1;
    int64_t logits = m->head ? take_act(&w, w.tokens, shape->vocab) : -1;
    if (stash != NULL) {
        stash->ids = ids;
        stash->rstd = rstd;
        stash->h = h;
        stash->logits = logits;
        stash->bytes = w.at;
    }
    return w.at;
}

enum pp_status pp_stash_init(struct pp_stash *stash, const struct pp_shape *shape,
                             const struct pp_stage_modules *modules,
                             const struct pp_batch_shape *batch, int64_t act_bytes,
                             struct pp_err *err) {
    size_t count = (size_t)(modules->layer_end - modules->layer_begin) + 1;
    struct pp_stash s = {0};
    s.x = calloc(count, sizeof *s.x);
    s.layers = calloc(count, sizeof *s.layers);
    if (s.x == NULL || s.layers == NULL) {
        pp_stash_deinit(&s);
        return pp_fail(err, PP_E_NOMEM, "no memory for the offsets of a stage's activations");
    }
    walk_stage(shape, modules, batch, act_bytes, &s);
    *stash = s;
    return PP_OK;
}

void pp_stash_deinit(struct pp_stash *stash) {
    free(stash->x);
    free(stash->layers);
    *stash = (struct pp_stash){0};
}

int64_t pp_stash_bytes(const struct pp_shape *shape, const struct pp_stage_modules *modules,
                       const struct pp_batch_shape *batch, int64_t act_bytes) {
    return walk_stage(shape, modules, batch, act_bytes, NULL);
}
