/**
 * @file cost.h
 * What one pipeline stage costs: seconds of F, I and W, bytes of everything it holds.
 *
 * Formulas: reference costs.md sections 2 and 6 (GEMM roofline with tile and wave quantisation plus
 * launch; FlashAttention-2 style attention; element-wise traffic; grouped GEMM for experts; TP, CP
 * and EP collectives; activations by recompute mode; FSDP2 under pipeline parallelism, nemo.md
 * section 7). A `pp_cost_table` holds the cost of each layer kind for one microbatch shape, so that
 * a stage is a sum and thousands of splits cost nothing. Doubles live inside the formulas; results
 * are integers.
 */
#ifndef PP_COSTMODEL_COST_H
#define PP_COSTMODEL_COST_H

#include "costmodel/hardware.h"
#include "costmodel/model.h"
#include "costmodel/recipe.h"

/** How the model is trained: everything but the pipeline's own choices. */
struct pp_train {
    int64_t seq_len;            /* tokens a sequence */
    int32_t microbatch_size;    /* sequences a microbatch and data-parallel rank */
    int32_t tp, cp, ep, dp, pp; /* dp: replicas of the whole pipeline (replicate * shard) */
    int32_t dp_replicate;       /* of dp, how many hold full copies (HSDP); 0 or 1: all shard */
    bool sequence_parallel;
    enum pp_recompute recompute;
    enum pp_dtype param_dtype;  /* compute dtype */
    enum pp_dtype state_dtype;  /* dtype parameters and optimizer states are kept in */
    enum pp_dtype reduce_dtype; /* dtype of unsharded gradient accumulation */
    bool reshard_after_forward; /* parameters of a stage are freed between uses */
    bool defer_grad_sync;       /* gradients stay unsharded until the last microbatch */
    bool fused_cross_entropy;
    bool peft; /* base weights frozen; LoRA adapters of rank peft_dim on all linear layers and
                  experts, not on router, embedding and head */
    int32_t peft_dim;
};

/** Cost of one stage for one microbatch. */
struct pp_stage_cost {
    int64_t f_ns, i_ns, w_ns;          /* B = I + W */
    int64_t f_flops, i_flops, w_flops; /* hardware FLOPs of this rank, recompute included in I */
    int64_t recv_ns;                   /* F input from the previous stage, if on another rank */
    int64_t recv_grad_ns;              /* gradient from the next stage, if on another rank */
    int64_t p2p_bytes;                 /* one boundary message, one direction */
    int64_t param_count;               /* elements this rank holds before FSDP sharding */
    int64_t expert_count;              /* of these, in routed experts */
    int64_t trainable_count;           /* of these, not frozen: base weights, or PEFT adapters */
    int64_t expert_trainable_count;    /* of the trainable ones, in routed experts */
    int64_t weight_bytes;      /* parameters resident during the step, gathered or sharded */
    int64_t grad_bytes;        /* gradients resident during the step */
    int64_t optimizer_bytes;   /* optimizer states and master weights */
    int64_t activation_bytes;  /* kept from F until the backward, one microbatch */
    int64_t weight_grad_bytes; /* kept between I and W. With recompute more than activation_bytes:
                                  I brings the layer inputs back, and W still needs them */
    int64_t f_transient_bytes; /* extra while F runs */
    int64_t b_transient_bytes; /* extra while B, I or W runs */
    int64_t logits_bytes;      /* part of activation_bytes that the head and loss cause */
};

/** What no action carries, of a stage or of all stages of a rank. */
struct pp_step_cost {
    int64_t grad_sync_ns;    /* one reduction of its gradients */
    int64_t param_gather_ns; /* one gather of its parameters */
    int64_t optimizer_ns;    /* its update */
};

struct pp_cost_table; /* opaque; immutable after creation; copies what it is made from */

/**
 * Costs of each layer kind under one way of training.
 *
 * First form, to be calibrated; left out: multi-token prediction layers, uneven experts, sparse
 * attention's savings, padding of the vocabulary, block-diagonal masks of packed sequences, and
 * that a first stage needs no gradient below its layer 0.
 * @return PP_OK, PP_E_RANGE (a size that is not positive or gives more than 2^53 ns or bytes a
 *         stage), PP_E_NO_SHAPE (hidden == 0), PP_E_MODEL (heads not divisible by tp, experts not
 *         by ep), PP_E_WORLD (dp not divisible by dp_replicate, dp * cp * tp not by ep), PP_E_NOMEM
 *
 * Cost: O(layers).
 */
enum pp_status pp_cost_table_create(const struct pp_model *model, const struct pp_hardware *hw,
                                    const struct pp_train *train, struct pp_cost_table **table_p,
                                    struct pp_err *err);
void pp_cost_table_destroy(struct pp_cost_table *table);

/** A stage of layers [first_layer, first_layer + layer_count). */
struct pp_stage_shape {
    int32_t first_layer, layer_count;
    bool has_embedding, has_head;
    bool prev_other_node, next_other_node; /* the neighbour stage's rank is on another node */
};

/**
 * Sum of the layers plus ends. Cost: O(1) (prefix counts of layer kinds).
 * A stage without head also keeps its output until the backward (PyTorch's stages do).
 */
void pp_cost_stage(const struct pp_cost_table *table, const struct pp_stage_shape *shape,
                   struct pp_stage_cost *cost_p);

/** What of a stage's memory are parameters gathered from other ranks. */
struct pp_gathered_bytes {
    int64_t resident;                 /* part of weight_bytes */
    int64_t f_transient, b_transient; /* parts of those, of the layer that makes them */
};

/** Of the same shape as the stage's costs. Cost: O(1). */
void pp_cost_gathered(const struct pp_cost_table *table, const struct pp_stage_shape *shape,
                      struct pp_gathered_bytes *gathered_p);

/**
 * Collectives and update of a stage, or of a rank from the sum of its stages' costs: each one of
 * the dense and one of the routed parameters.
 * Gathers are 0 with reshard_after_forward, as F and I carry them; reductions without
 * defer_grad_sync, as W carries what shows of them, but for the sum over dp_replicate.
 */
void pp_cost_step(const struct pp_cost_table *table, const struct pp_stage_cost *stage_or_sum,
                  struct pp_step_cost *step_p);

/** Memory of a rank that no stage owns: context, communicators, workspace, and the factor by which
 *  the allocator reserves more than it allocates: the upper end decides "fits". */
int64_t pp_cost_reserved_bytes(const struct pp_cost_table *table);
int64_t pp_cost_with_slack(const struct pp_cost_table *table, int64_t allocated_bytes);

#endif
