/**
 * @file stash.h
 * What F keeps of a microbatch for I and W, as offsets into one buffer. I puts gradients where
 * activations were that it was the last to need, so that from I to W nothing is added: per token of
 * a dense layer 6 D + 2 Dkv + 3 ffn elements (D hidden, Dkv all heads of k; where heads * head_dim
 * is D), and three floats' worth of statistics.
 *
 *              from F                              after I, for W
 *   x          input of a layer                    gradient of that: of the output of the layer
 * before qkv        rotated q and k, and v              gradient of what the product gave x2
 * between attention and MLP           its gradient gate_up    both halves their gradient rows_out
 * outputs of the experts              their gradient logits     gradient of the logits (in F!) not
 * needed
 *
 * The head's logits, [T][vocab], are turned into their gradient in F, where the loss is, and stay
 * until I.
 */
#ifndef PP_EXEC_MODEL_STASH_H
#define PP_EXEC_MODEL_STASH_H

#include "exec/device.h"
#include "exec/model/shape.h"

/** Tokens of a microbatch. */
struct pp_batch_shape {
    int32_t sequences, length;
};
static inline int64_t pp_batch_tokens(const struct pp_batch_shape *b) {
    return (int64_t)b->sequences * b->length;
}

/** Offsets in bytes, multiples of 64; -1: it has none. */
struct pp_stash_layer {
    int64_t rstd1, h1, qkv, lse, o, x2, rstd2, h2;            /* h1, h2: what the norms gave */
    int64_t gate_up, a;                                       /* dense, or the shared expert */
    int64_t probability, weight, choice, row, token, offsets; /* struct pp_routing */
    int64_t router_grad;                                      /* written by I */
    int64_t rows_in, rows_gate_up, rows_a, rows_out;          /* of experts, in sorted order */
};

struct pp_stash {
    int64_t ids; /* int32_t [T], of a stage with the embedding */
    int64_t *x;  /* [layers + 1] x[i]: input of layer i, x[layers]: output of the last. -1: the
                    stage's input or output buffer */
    struct pp_stash_layer *layers; /* [layers] */
    int64_t rstd, h, logits;       /* of the head */
    int64_t bytes;
};

/** @return PP_OK, PP_E_NOMEM */
enum pp_status pp_stash_init(struct pp_stash *stash, const struct pp_shape *shape,
                             const struct pp_stage_modules *modules,
                             const struct pp_batch_shape *batch, int64_t act_bytes,
                             struct pp_err *err);
void pp_stash_deinit(struct pp_stash *stash);

/** The same without the offsets: bytes only. */
int64_t pp_stash_bytes(const struct pp_shape *shape, const struct pp_stage_modules *modules,
                       const struct pp_batch_shape *batch, int64_t act_bytes);

#endif
