/**
 * @file device.h
 * The arithmetic a transformer is made of, as a table of kernels that every device fills in: `host`
 * (host/host.h), later `cuda`. The model (model/transformer.h) is written once, against this table;
 * one conformance suite (tests/exec/test_kernels.c) compares every entry of every device with
 * float64.
 *
 * Matrices are row-major and dense unless a stride is given. T counts tokens (rows), so an
 * activation is [T][width]. "act" marks memory in the device's activation type (host: float), all
 * else says its type. Weights are [out][in], as PyTorch stores them. Nothing overlaps unless it is
 * said to be in place. What a kernel accumulates into (+=) is never cleared by it. Results are a
 * function of the inputs alone: the same for any microbatch that a row shares a call with would be
 * more than BLAS promises, the same for the same call is what is promised.
 *
 * Calls of one context come from one thread. A device may enqueue and return.
 */
#ifndef PP_EXEC_DEVICE_H
#define PP_EXEC_DEVICE_H

#include "costmodel/base.h"

enum { PP_DEVICE_API = 1 };

/** One attention: `sequences` of `length` tokens each, T = sequences * length. */
struct pp_attention_shape {
    int32_t sequences, length;
    int32_t heads, kv_heads, head_dim; /* heads is a multiple of kv_heads */
    int32_t window; /* a token sees itself and the window - 1 before it; 0: all before it */
};

/** Where tokens go: made by route_forward, read by the rest. Rows of expert e are
 *  offsets[e]..offsets[e+1]-1 of the sorted order. */
struct pp_routing {
    int32_t tokens, experts, per_token;
    float *probability; /* [tokens][experts] softmax of the router's logits */
    float *weight;      /* [tokens][per_token] of the chosen: probability / sum over the chosen */
    int32_t *choice;  /* [tokens][per_token] experts, the most probable first; ties: lower number */
    int32_t *row;     /* [tokens][per_token] the choice's place in the sorted order */
    int32_t *token;   /* [tokens * per_token] token of each sorted row, ascending in an expert */
    int32_t *offsets; /* [experts + 1] */
};

struct pp_adamw {
    float learning_rate, beta1, beta2, epsilon, weight_decay;
    int64_t step; /* from 1 */
};

/** All entries are required unless said otherwise. Sizes are > 0 unless said otherwise. */
struct pp_device_ops {
    int32_t api;      /* PP_DEVICE_API */
    const char *name; /* "host" */

    /* ---- memory ---- */
    void *(*alloc)(void *context, int64_t bytes); /* aligned to 64; NULL: no memory */
    void (*free)(void *context, void *memory);
    void (*zero)(void *context, void *memory, int64_t bytes);
    void (*copy)(void *context, void *to, const void *from, int64_t bytes); /* on the device */
    void (*upload)(void *context, void *device, const void *host, int64_t bytes);
    void (*download)(void *context, void *host, const void *device, int64_t bytes); /* waits */
    int64_t (*act_bytes)(void *context); /* of one activation element */

    /* ---- linear layers: w is act [out][in] ---- */
    /* y[T][out] = x[T][in] w^T, or += */
    void (*linear)(void *context, void *y, const void *x, const void *w, int64_t tokens, int64_t in,
                   int64_t out, bool accumulate);
    /* dx[T][in] = dy[T][out] w, or += */
    void (*linear_input_grad)(void *context, void *dx, const void *dy, const void *w,
                              int64_t tokens, int64_t in, int64_t out, bool accumulate);
    /* dw float[out][in] += dy^T x */
    void (*linear_weight_grad)(void *context, float *dw, const void *dy, const void *x,
                               int64_t tokens, int64_t in, int64_t out);

    /* ---- embedding: ids in [0, vocab) ---- */
    void (*embed)(void *context, void *y, const void *table, const int32_t *ids, int64_t tokens,
                  int64_t width);
    /* dtable float[vocab][width] += rows of dy, in the order of the tokens */
    void (*embed_grad)(void *context, float *dtable, const void *dy, const int32_t *ids,
                       int64_t tokens, int64_t width);

    /* ---- RMSNorm: y = x / sqrt(mean(x^2) + epsilon) * gamma ---- */
    void (*norm)(void *context, void *y, float *rstd, const void *x, const void *gamma,
                 int64_t tokens, int64_t width, float epsilon);
    /* dx += gradient (always accumulates: it joins a residual stream); dgamma float += */
    void (*norm_grad)(void *context, void *dx, float *dgamma, const void *dy, const void *x,
                      const float *rstd, const void *gamma, int64_t tokens, int64_t width);

    /* ---- attention over packed rows: qkv[T][(heads + 2 kv_heads) * head_dim], q, k, v ---- */
    /* Rotates q and k in place, halves convention (Llama): pairs (i, i + head_dim / 2), angle
     * position * theta^(-2i / head_dim); `back` rotates the other way. */
    void (*rope)(void *context, void *qkv, const struct pp_attention_shape *s, float theta,
                 bool back);
    /* o[T][heads * head_dim] causal softmax(q k^T / sqrt(head_dim)) v; lse float[T][heads] */
    void (*attention)(void *context, void *o, float *lse, const void *qkv,
                      const struct pp_attention_shape *s);
    /* dqkv (not in place) = from do_[T][heads * head_dim] and what the forward made */
    void (*attention_grad)(void *context, void *dqkv, const void *do_, const void *o,
                           const float *lse, const void *qkv, const struct pp_attention_shape *s);

    /* ---- SwiGLU: gate_up[T][2 ffn], gate first; a[T][ffn] = silu(gate) * up; T may be 0 ---- */
    void (*swiglu)(void *context, void *a, const void *gate_up, int64_t tokens, int64_t ffn);
    /* gate_up is overwritten by its gradient */
    void (*swiglu_grad)(void *context, void *gate_up, const void *da, int64_t tokens, int64_t ffn);

    /* ---- sums ---- */
    void (*add)(void *context, void *y, const void *x, int64_t count); /* act, y += x */
    void (*add_float)(void *context, float *y, const float *x, int64_t count);
    void (*scale_float)(void *context, float *y, float factor, int64_t count);

    /* ---- head: logits act[T][vocab] become their gradient times `scale` in place ---- */
    /* *loss_sum (device memory, double) += sum over tokens of -log softmax(logits)[target] */
    void (*cross_entropy)(void *context, double *loss_sum, void *logits, const int32_t *targets,
                          int64_t tokens, int64_t vocab, float scale);

    /* ---- mixture of experts; optional, all or none. Rows R = tokens * per_token ---- */
    void (*route)(void *context, struct pp_routing *r, const void *logits); /* act[T][experts] */
    /* dlogits act[T][experts] = from dweight float[T][per_token] */
    void (*route_grad)(void *context, void *dlogits, const struct pp_routing *r,
                       const float *dweight);
    /* rows[R][width] = x of each sorted row's token */
    void (*gather)(void *context, void *rows, const void *x, const struct pp_routing *r,
                   int64_t width);
    /* dx[T][width] += rows of its choices, in the order of the choices */
    void (*gather_grad)(void *context, void *dx, const void *rows, const struct pp_routing *r,
                        int64_t width);
    /* y[T][width] += weight * rows, in the order of the choices */
    void (*combine)(void *context, void *y, const void *rows, const struct pp_routing *r,
                    int64_t width);
    /* drows[R][width] = weight * dy of its token; dweight float[T][per_token] = dot(dy, rows) */
    void (*combine_grad)(void *context, void *drows, float *dweight, const void *dy,
                         const void *rows, const struct pp_routing *r, int64_t width);
    /* as the linear ones, expert e with w[e][out][in] on its own rows, of which it may have none */
    void (*experts_linear)(void *context, void *y, const void *x, const void *w,
                           const struct pp_routing *r, int64_t in, int64_t out);
    void (*experts_input_grad)(void *context, void *dx, const void *dy, const void *w,
                               const struct pp_routing *r, int64_t in, int64_t out);
    void (*experts_weight_grad)(void *context, float *dw, const void *dy, const void *x,
                                const struct pp_routing *r, int64_t in, int64_t out);

    /* ---- optimizer: all float; decoupled weight decay (Loshchilov & Hutter, 2019) ---- */
    void (*adamw)(void *context, float *parameter, float *m, float *v, const float *grad,
                  int64_t count, const struct pp_adamw *options);
    /* compute copy of parameters in the activation type. NULL: it is float, they are used as is */
    void (*cast)(void *context, void *to, const float *from, int64_t count);
};

#endif
