/* The loss of a transformer in double precision, by obvious loops: an independent reading of what
 * exec/device.h and exec/model/transformer.h say. Gradients come from it by central differences. */
#ifndef PP_TESTS_TRANSFORMER_ORACLE_H
#define PP_TESTS_TRANSFORMER_ORACLE_H

#include "exec/model/transformer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ORACLE_MAX_TENSORS = 128 };

struct oracle_tensor {
    char name[64];
    double *data;
    int64_t count;
};

struct oracle {
    const struct pp_shape *shape;
    int32_t sequences, length;
    struct oracle_tensor tensors[ORACLE_MAX_TENSORS];
    int32_t tensor_count;
};

static inline void oracle_add(struct oracle *o, const char *name, const float *data,
                              int64_t count) {
    cr_assert_lt(o->tensor_count, ORACLE_MAX_TENSORS);
    struct oracle_tensor *t = &o->tensors[o->tensor_count++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->count = count;
    t->data = malloc((size_t)count * sizeof(double));
    for (int64_t i = 0; i < count; i++) {
        t->data[i] = (double)data[i];
    }
}

static inline void oracle_free(struct oracle *o) {
    for (int32_t i = 0; i < o->tensor_count; i++) {
        free(o->tensors[i].data);
    }
}

/* layer -1: no prefix */
static inline const double *oracle_find(const struct oracle *o, int32_t layer, const char *name) {
    char full[96];
    if (layer < 0) {
        snprintf(full, sizeof full, "%s", name);
    } else {
        snprintf(full, sizeof full, "model.layers.%d.%s", layer, name);
    }
    for (int32_t i = 0; i < o->tensor_count; i++) {
        if (strcmp(o->tensors[i].name, full) == 0) {
            return o->tensors[i].data;
        }
    }
    cr_assert_fail("no tensor %s", full);
    return NULL;
}

/* y[t][out] = sum over in of x[t][in] w[out][in] */
static inline void oracle_linear(double *y, const double *x, const double *w, int64_t tokens,
                                 int64_t in, int64_t out) {
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t o = 0; o < out; o++) {
            double sum = 0;
            for (int64_t i = 0; i < in; i++) {
                sum += x[t * in + i] * w[o * in + i];
            }
            y[t * out + o] = sum;
        }
    }
}

static inline void oracle_norm(double *y, const double *x, const double *gamma, int64_t tokens,
                               int64_t width, double epsilon) {
    for (int64_t t = 0; t < tokens; t++) {
        double sum = 0;
        for (int64_t i = 0; i < width; i++) {
            sum += x[t * width + i] * x[t * width + i];
        }
        double rms = sqrt(sum / (double)width + epsilon);
        for (int64_t i = 0; i < width; i++) {
            y[t * width + i] = x[t * width + i] / rms * gamma[i];
        }
    }
}

static inline void oracle_rope(double *x, const struct oracle *o, int32_t heads) {
    int32_t half = o->shape->head_dim / 2;
    for (int64_t t = 0; t < (int64_t)o->sequences * o->length; t++) {
        for (int32_t h = 0; h < heads; h++) {
            double *v = x + (t * heads + h) * 2 * half;
            for (int32_t i = 0; i < half; i++) {
                double angle =
                    (double)(t % o->length) * pow((double)o->shape->rope_theta, -(double)i / half);
                double a = v[i];
                double b = v[i + half];
                v[i] = a * cos(angle) - b * sin(angle);
                v[i + half] = b * cos(angle) + a * sin(angle);
            }
        }
    }
}

/* One token and head: softmax over what it sees. */
static inline void oracle_attend(const struct oracle *o, double *out, const double *q,
                                 const double *k, const double *v, int64_t t, int32_t head,
                                 int32_t window) {
    const struct pp_shape *s = o->shape;
    int32_t kv = head / (s->heads / s->kv_heads);
    int64_t first = t - t % o->length;
    if (window > 0 && t - window + 1 > first) {
        first = t - window + 1;
    }
    double weights[64];
    double sum = 0;
    cr_assert_lt(t - first, 64);
    for (int64_t u = first; u <= t; u++) {
        double dot = 0;
        for (int32_t i = 0; i < s->head_dim; i++) {
            dot += q[(t * s->heads + head) * s->head_dim + i] *
                   k[(u * s->kv_heads + kv) * s->head_dim + i];
        }
        weights[u - first] = exp(dot / sqrt(s->head_dim));
        sum += weights[u - first];
    }
    for (int32_t i = 0; i < s->head_dim; i++) {
        double mean = 0;
        for (int64_t u = first; u <= t; u++) {
            mean += weights[u - first] / sum * v[(u * s->kv_heads + kv) * s->head_dim + i];
        }
        out[(t * s->heads + head) * s->head_dim + i] = mean;
    }
}

/* x += attention(norm(x)) */
static inline void oracle_attention(const struct oracle *o, int32_t layer, double *x) {
    const struct pp_shape *s = o->shape;
    int64_t tokens = (int64_t)o->sequences * o->length;
    int64_t d = s->hidden;
    int64_t wide = (int64_t)s->heads * s->head_dim;
    int64_t narrow = (int64_t)s->kv_heads * s->head_dim;
    double *h = calloc((size_t)(tokens * (2 * d + 2 * wide + 2 * narrow)), sizeof(double));
    double *q = h + tokens * d;
    double *k = q + tokens * wide;
    double *v = k + tokens * narrow;
    double *out = v + tokens * narrow;
    double *y = out + tokens * wide;
    oracle_norm(h, x, oracle_find(o, layer, "input_layernorm.weight"), tokens, d,
                (double)s->norm_epsilon);
    oracle_linear(q, h, oracle_find(o, layer, "self_attn.q_proj.weight"), tokens, d, wide);
    oracle_linear(k, h, oracle_find(o, layer, "self_attn.k_proj.weight"), tokens, d, narrow);
    oracle_linear(v, h, oracle_find(o, layer, "self_attn.v_proj.weight"), tokens, d, narrow);
    oracle_rope(q, o, s->heads);
    oracle_rope(k, o, s->kv_heads);
    for (int64_t t = 0; t < tokens; t++) {
        for (int32_t head = 0; head < s->heads; head++) {
            oracle_attend(o, out, q, k, v, t, head, pp_shape_is_windowed(s, layer) ? s->window : 0);
        }
    }
    oracle_linear(y, out, oracle_find(o, layer, "self_attn.o_proj.weight"), tokens, wide, d);
    for (int64_t i = 0; i < tokens * d; i++) {
        x[i] += y[i];
    }
    free(h);
}

/* y[width] += weight * down(silu(gate x) * up x), one token */
static inline void oracle_swiglu(double *y, double weight, const double *x, const double *gate,
                                 const double *up, const double *down, int64_t d, int64_t ffn) {
    double *a = calloc((size_t)(2 * ffn + d), sizeof(double));
    oracle_linear(a, x, gate, 1, d, ffn);
    oracle_linear(a + ffn, x, up, 1, d, ffn);
    for (int64_t i = 0; i < ffn; i++) {
        a[i] = a[i] / (1 + exp(-a[i])) * a[ffn + i];
    }
    oracle_linear(a + 2 * ffn, a, down, 1, ffn, d);
    for (int64_t i = 0; i < d; i++) {
        y[i] += weight * a[2 * ffn + i];
    }
    free(a);
}

/* One token: the most probable experts, weighted by their share of what they have together. */
static inline void oracle_mixture(const struct oracle *o, int32_t layer, double *y,
                                  const double *h) {
    const struct pp_shape *s = o->shape;
    int64_t d = s->hidden;
    int64_t ffn = s->expert_ffn;
    const double *gate_up = oracle_find(o, layer, "mlp.experts.gate_up_proj");
    const double *down = oracle_find(o, layer, "mlp.experts.down_proj");
    double p[64];
    bool taken[64] = {false};
    int32_t chosen[64];
    double total = 0;
    oracle_linear(p, h, oracle_find(o, layer, "mlp.gate.weight"), 1, d, s->experts);
    for (int32_t c = 0; c < s->experts_per_token; c++) {
        int32_t best = -1;
        for (int32_t e = 0; e < s->experts; e++) {
            if (!taken[e] && (best < 0 || p[e] > p[best])) {
                best = e;
            }
        }
        taken[best] = true;
        chosen[c] = best;
        total += exp(p[best]);
    }
    for (int32_t c = 0; c < s->experts_per_token; c++) {
        const double *w = gate_up + chosen[c] * 2 * ffn * d;
        oracle_swiglu(y, exp(p[chosen[c]]) / total, h, w, w + ffn * d, down + chosen[c] * d * ffn,
                      d, ffn);
    }
}

/* x += MLP(norm(x)) */
static inline void oracle_mlp(const struct oracle *o, int32_t layer, double *x) {
    const struct pp_shape *s = o->shape;
    int64_t tokens = (int64_t)o->sequences * o->length;
    int64_t d = s->hidden;
    double *h = calloc((size_t)(tokens * d), sizeof(double));
    oracle_norm(h, x, oracle_find(o, layer, "post_attention_layernorm.weight"), tokens, d,
                (double)s->norm_epsilon);
    bool moe = pp_shape_is_moe(s, layer);
    for (int64_t t = 0; t < tokens; t++) {
        if (moe) {
            oracle_mixture(o, layer, x + t * d, h + t * d);
        }
        if (moe && s->shared_ffn > 0) {
            oracle_swiglu(x + t * d, 1, h + t * d,
                          oracle_find(o, layer, "mlp.shared_experts.gate_proj.weight"),
                          oracle_find(o, layer, "mlp.shared_experts.up_proj.weight"),
                          oracle_find(o, layer, "mlp.shared_experts.down_proj.weight"), d,
                          s->shared_ffn);
        }
        if (!moe) {
            oracle_swiglu(x + t * d, 1, h + t * d, oracle_find(o, layer, "mlp.gate_proj.weight"),
                          oracle_find(o, layer, "mlp.up_proj.weight"),
                          oracle_find(o, layer, "mlp.down_proj.weight"), d, s->ffn);
        }
    }
    free(h);
}

/* Mean cross-entropy of one microbatch. */
static inline double oracle_loss(const struct oracle *o, const int32_t *ids,
                                 const int32_t *targets) {
    const struct pp_shape *s = o->shape;
    int64_t tokens = (int64_t)o->sequences * o->length;
    int64_t d = s->hidden;
    double *x = calloc((size_t)(tokens * (2 * d + s->vocab)), sizeof(double));
    double *h = x + tokens * d;
    double *logits = h + tokens * d;
    const double *table = oracle_find(o, -1, "model.embed_tokens.weight");
    for (int64_t i = 0; i < tokens * d; i++) {
        x[i] = table[ids[i / d] * d + i % d];
    }
    for (int32_t layer = 0; layer < s->layers; layer++) {
        oracle_attention(o, layer, x);
        oracle_mlp(o, layer, x);
    }
    oracle_norm(h, x, oracle_find(o, -1, "model.norm.weight"), tokens, d, (double)s->norm_epsilon);
    oracle_linear(logits, h, oracle_find(o, -1, "lm_head.weight"), tokens, d, s->vocab);
    double loss = 0;
    for (int64_t t = 0; t < tokens; t++) {
        double sum = 0;
        for (int64_t v = 0; v < s->vocab; v++) {
            sum += exp(logits[t * s->vocab + v]);
        }
        loss += log(sum) - logits[t * s->vocab + targets[t]];
    }
    free(x);
    return loss / (double)tokens;
}

#endif
