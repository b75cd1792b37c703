/**
 * @file transformer.h
 * The workload that trains: a decoder-only transformer whose stages run F, I, W and B on a device
 * (device.h). B is I then W, the same code, so the two forms give the same bits. W holds only
 * weight gradients of matrices; norms give theirs in I. The head's weight gradient is made in I, so
 * that a stage need not keep the gradients of its logits until W.
 *
 *   F  reads input (the first stage its tokens), writes output and stash
 *   I  reads input, stash, output_grad; writes input_grad; leaves in the stash what W needs
 *   W  reads stash and output_grad
 *
 * Loss: mean over the tokens of a microbatch of the cross-entropy, summed over microbatches.
 * Gradients are those of that sum divided by the number of microbatches of the step: at REDUCE_GRAD
 * (scale_in_schedule), or by scaling every microbatch's loss. Microbatches are of one size, so both
 * are the mean over all tokens. Each stage adds up its microbatches in the order its rank runs
 * them.
 *
 * Numbers are drawn by counter, so every rank, every split and every other program can draw the
 * same: pp_draw(seed, stream, index). Streams: parameters by name, tokens by step and microbatch.
 */
#ifndef PP_EXEC_TRANSFORMER_H
#define PP_EXEC_TRANSFORMER_H

#include "exec/compute.h"
#include "exec/device.h"
#include "exec/model/shape.h"

struct pp_transformer_config {
    struct pp_shape shape;
    int32_t stage_count;                   /* of one pipeline (part_count of the schedule) */
    const struct pp_stage_modules *stages; /* [stage_count], not kept */
    int32_t sequences, length;             /* of a microbatch */
    int32_t microbatches;                  /* of a step: of all flushes, both directions */
    uint64_t seed;                         /* of parameters and data */
    bool scale_in_schedule;
    struct pp_adamw optimizer; /* step is ignored */
    const int32_t *tokens;     /* [token_count] text to train on instead of drawn tokens: each
                                  sequence takes length + 1 of them; NULL = drawn; not owned */
    int64_t token_count;
};

/** What all ranks of a run share: layout, options. Read-only once created. */
struct pp_transformer;

/** @return PP_OK, PP_E_MODEL, PP_E_RANGE, PP_E_FQN (stages that do not cover the model), PP_E_NOMEM
 */
enum pp_status pp_transformer_create(const struct pp_transformer_config *config,
                                     struct pp_transformer **t_p, struct pp_err *err);
void pp_transformer_destroy(struct pp_transformer *t);

/** Bytes for the program, of a schedule's stages (copies of a part cost what the part does).
 *  @param act_bytes  of an activation element
 *  @param input_bytes, stash_bytes, fixed_bytes  [stage_count of `sched`] */
void pp_transformer_sizes(const struct pp_transformer *t, const struct pp_sched *sched,
                          int64_t act_bytes, int64_t *input_bytes, int64_t *stash_bytes,
                          int64_t *fixed_bytes);

/** One rank's stages: parameters, gradients, moments, scratch. The context of pp_transformer_ops.
 */
struct pp_transformer_rank;

/** Parameters are drawn, gradients and moments zero. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_transformer_open(const struct pp_transformer *t, const struct pp_sched *sched,
                                   int32_t rank, const struct pp_device_ops *device,
                                   void *device_context, struct pp_transformer_rank **rank_p,
                                   struct pp_err *err);
void pp_transformer_close(struct pp_transformer_rank *rank);

extern const struct pp_compute_ops pp_transformer_ops;

/** Uniform in [-1, 1), a multiple of 2^-23: splitmix64 of seed, stream and index. */
float pp_draw(uint64_t seed, uint64_t stream, uint64_t index);
/** Stream of a parameter's name (FNV-1a, 64 bits). */
uint64_t pp_draw_stream(const char *name);
/** Tokens of a sequence: input ids are tokens[0..length-1], targets tokens[1..length]. */
void pp_draw_tokens(const struct pp_transformer *t, int64_t step, int32_t microbatch,
                    int32_t sequence, int32_t *tokens /* [length + 1] */);

#endif
