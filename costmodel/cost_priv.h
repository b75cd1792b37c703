/**
 * @file cost_priv.h
 * The inside of the cost model: doubles in ns, FLOPs and bytes. Only cost.c turns them to integers.
 */
#ifndef PP_COSTMODEL_COST_PRIV_H
#define PP_COSTMODEL_COST_PRIV_H

#include "costmodel/cost.h"

/** What the formulas ask for all the time; everything about one microbatch on one rank. */
struct pp_cost_context {
    struct pp_model model;
    struct pp_hardware hw;
    struct pp_train train;
    double tokens;       /* of a microbatch on this rank, context parallelism applied */
    double moe_tokens;   /* tokens this rank routes: the tensor-parallel group shares them out */
    double tp, cp, ep;   /* as doubles */
    double stream_share; /* share of the residual stream held: 1/tp with sequence parallelism */
    double width;        /* bytes of an activation element */
};

/** Time and FLOPs of some work, by pass. */
struct pp_work {
    double f_ns, i_ns, w_ns;
    double f_flops, i_flops, w_flops;
};

/** Attention pattern and MLP of a layer: what its cost depends on. */
struct pp_layer_kind {
    bool moe, windowed;
};

/* cost_gemm.c: single kernels */

/** One matrix product (m x k by k x n), tile and wave quantised, against its memory traffic. */
double pp_gemm_ns(const struct pp_hardware *hw, double width, double m, double n, double k);
/** A read or write of `bytes`, launch included. */
double pp_traffic_ns(const struct pp_hardware *hw, double bytes);
/** Adds one product over `tokens` to F and I, and to W if its weight is trained. */
void pp_work_product(const struct pp_cost_context *c, double tokens, double in, double out,
                     bool trained, struct pp_work *work);
/** Adds a linear layer; under PEFT frozen, with an adapter beside it. */
void pp_work_linear(const struct pp_cost_context *c, double tokens, double in, double out,
                    struct pp_work *work);
/** Adds the routed experts' two (three if gated) products over the tokens this rank receives. */
void pp_work_grouped(const struct pp_cost_context *c, struct pp_work *work);
/** Adds fused attention over the context, forward and 2.5 times backward. */
void pp_work_attention(const struct pp_cost_context *c, bool windowed, struct pp_work *work);
/** Adds element-wise traffic: forward bytes; the backward moves 1.6 times as many. */
void pp_work_traffic(const struct pp_cost_context *c, double bytes, struct pp_work *work);

/* cost_link.c: messages and collectives */

/** A group of `size` ranks, `stride` global ranks apart. */
struct pp_group {
    double size, stride;
};
/** All-gather or reduce-scatter of `bytes` in total. */
double pp_gather_ns(const struct pp_hardware *hw, struct pp_group group, double bytes);
/** All-gather plus reduce-scatter, or one all-reduce. */
double pp_reduce_pair_ns(const struct pp_hardware *hw, struct pp_group group, double bytes);
/** One direction of expert-parallel dispatch or combine. */
double pp_dispatch_ns(const struct pp_cost_context *c);
/** Key and value exchange of context parallelism during one attention forward. */
double pp_context_exchange_ns(const struct pp_cost_context *c);
double pp_message_ns(const struct pp_hardware *hw, bool other_node, double bytes);
/** Ranks that share a layer's dense (not routed) parameters, and its routed experts. */
struct pp_group pp_shard_group(const struct pp_cost_context *c, bool routed);

/* cost_layer.c: layers and ends */

/** Kernels and collectives of a layer, without recompute. @param again_ns what selective recompute
 *  repeats in the backward */
void pp_layer_work(const struct pp_cost_context *c, struct pp_layer_kind kind, struct pp_work *work,
                   double *again_ns_p);
void pp_embedding_work(const struct pp_cost_context *c, struct pp_work *work);
void pp_head_work(const struct pp_cost_context *c, struct pp_work *work);

/* cost_memory.c: bytes */

/** Parameters of something on one rank, before sharding over data parallelism. */
struct pp_holding {
    double dense, routed;                 /* elements */
    double trained_dense, trained_routed; /* of these or of their adapters */
};
struct pp_holding pp_layer_holding(const struct pp_cost_context *c, bool moe);
struct pp_holding pp_embedding_holding(const struct pp_cost_context *c);
/** `with_matrix`: the head's own matrix, or its copy of a tied one. */
struct pp_holding pp_head_holding(const struct pp_cost_context *c, bool with_matrix);

/** Bytes of parameters, gradients and optimizer states. */
struct pp_states {
    double weight, grad, optimizer;
    double gathered;       /* parameters of this unit unsharded, only while it runs */
    double grad_unsharded; /* the same of its gradients */
    double unsharded;      /* parameters unsharded: part of weight, or gathered */
};
struct pp_states pp_states_of(const struct pp_cost_context *c, const struct pp_holding *holding);

/** Bytes that live for a while. */
struct pp_activation {
    double kept;        /* from F until the backward */
    double weight_grad; /* from I until W */
    double f_transient, b_transient;
};
struct pp_activation pp_layer_activation(const struct pp_cost_context *c, bool moe);
/** Final norm, logits and loss. @param logits_p part of `kept` */
struct pp_activation pp_head_activation(const struct pp_cost_context *c, double *logits_p);
/** The stage's output: kept for its backward, and sent on. */
double pp_output_bytes(const struct pp_cost_context *c);

#endif
