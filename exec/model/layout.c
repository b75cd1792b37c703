/* The parameters of a stage. */
#include "exec/model/layout.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYER_TENSORS = 12, OTHER_TENSORS = 3 };

#define EMBEDDING_SCALE 0.03125f

int64_t pp_layout_dense_ffn(const struct pp_shape *shape, int32_t layer) {
    return pp_shape_is_moe(shape, layer) ? shape->shared_ffn : shape->ffn;
}

static float scale_of(int64_t in) {
    return (float)(1.0 / sqrt((double)in));
}

/* A tensor of rows * in elements. `prefix` and `name` make its name. */
static int64_t put(struct pp_layout *l, const char *prefix, const char *name, int64_t rows,
                   int64_t in, float scale) {
    struct pp_tensor *t = &l->tensors[l->tensor_count++];
    pp_copy(t->name, sizeof t->name, prefix);
    size_t used = strlen(prefix);
    PP_ASSERT(used < sizeof t->name && pp_copy(t->name + used, sizeof t->name - used, name));
    t->scale = scale;
    t->offset = l->count;
    t->count = rows * in;
    l->count += t->count;
    return t->offset;
}

/* The same at the beginning of a group. */
static int64_t begin(struct pp_layout *l, const char *prefix, const char *name, int64_t rows,
                     int64_t in, float scale) {
    l->count = (l->count + PP_LAYOUT_ALIGN - 1) / PP_LAYOUT_ALIGN * PP_LAYOUT_ALIGN;
    return put(l, prefix, name, rows, in, scale);
}

static void put_moe(struct pp_layout *l, struct pp_layer_layout *at, const char *prefix,
                    const struct pp_shape *s) {
    int64_t d = s->hidden;
    at->router = begin(l, prefix, "mlp.gate.weight", s->experts, d, scale_of(d));
    at->experts_gate_up = begin(l, prefix, "mlp.experts.gate_up_proj",
                                s->experts * 2 * s->expert_ffn, d, scale_of(d));
    at->experts_down = begin(l, prefix, "mlp.experts.down_proj", s->experts * d, s->expert_ffn,
                             scale_of(s->expert_ffn));
}

static void put_dense(struct pp_layout *l, struct pp_layer_layout *at, const char *prefix,
                      bool shared, int64_t d, int64_t ffn) {
    const char *gate = shared ? "mlp.shared_experts.gate_proj.weight" : "mlp.gate_proj.weight";
    const char *up = shared ? "mlp.shared_experts.up_proj.weight" : "mlp.up_proj.weight";
    const char *down = shared ? "mlp.shared_experts.down_proj.weight" : "mlp.down_proj.weight";
    at->gate_up = begin(l, prefix, gate, ffn, d, scale_of(d));
    put(l, prefix, up, ffn, d, scale_of(d));
    at->down = begin(l, prefix, down, d, ffn, scale_of(ffn));
}

static void put_layer(struct pp_layout *l, struct pp_layer_layout *at, const struct pp_shape *s,
                      int32_t layer) {
    char prefix[32];
    snprintf(prefix, sizeof prefix, "model.layers.%d.", layer);
    int64_t d = s->hidden;
    int64_t q = (int64_t)s->heads * s->head_dim;
    int64_t kv = (int64_t)s->kv_heads * s->head_dim;
    *at = (struct pp_layer_layout){.gate_up = -1, .down = -1, .router = -1};
    at->norm1 = begin(l, prefix, "input_layernorm.weight", 1, d, 0);
    at->qkv = begin(l, prefix, "self_attn.q_proj.weight", q, d, scale_of(d));
    put(l, prefix, "self_attn.k_proj.weight", kv, d, scale_of(d));
    put(l, prefix, "self_attn.v_proj.weight", kv, d, scale_of(d));
    at->o = begin(l, prefix, "self_attn.o_proj.weight", d, q, scale_of(q));
    at->norm2 = begin(l, prefix, "post_attention_layernorm.weight", 1, d, 0);
    bool moe = pp_shape_is_moe(s, layer);
    if (moe) {
        put_moe(l, at, prefix, s);
    }
    int64_t ffn = pp_layout_dense_ffn(s, layer);
    if (ffn > 0) {
        put_dense(l, at, prefix, moe, d, ffn);
    }
}

enum pp_status pp_layout_init(struct pp_layout *layout, const struct pp_shape *shape,
                              const struct pp_stage_modules *modules, struct pp_err *err) {
    int32_t layers = modules->layer_end - modules->layer_begin;
    struct pp_layout l = {.embedding = -1, .final_norm = -1, .head = -1};
    l.layers = calloc((size_t)layers + 1, sizeof *l.layers);
    l.tensors = calloc((size_t)layers * LAYER_TENSORS + OTHER_TENSORS, sizeof *l.tensors);
    if (l.layers == NULL || l.tensors == NULL) {
        pp_layout_deinit(&l);
        return pp_fail(err, PP_E_NOMEM, "no memory for the names of a stage's parameters");
    }
    if (modules->embedding) {
        l.embedding = begin(&l, "", "model.embed_tokens.weight", shape->vocab, shape->hidden,
                            EMBEDDING_SCALE);
    }
    for (int32_t i = 0; i < layers; i++) {
        put_layer(&l, &l.layers[i], shape, modules->layer_begin + i);
    }
    if (modules->head) {
        l.final_norm = begin(&l, "", "model.norm.weight", 1, shape->hidden, 0);
        l.head =
            begin(&l, "", "lm_head.weight", shape->vocab, shape->hidden, scale_of(shape->hidden));
    }
    l.count = pp_max_i64(l.count, 1); /* a stage without modules: kernels take no empty blocks */
    l.count = (l.count + PP_LAYOUT_ALIGN - 1) / PP_LAYOUT_ALIGN * PP_LAYOUT_ALIGN;
    *layout = l;
    return PP_OK;
}

void pp_layout_deinit(struct pp_layout *layout) {
    free(layout->layers);
    free(layout->tensors);
    *layout = (struct pp_layout){0};
}
