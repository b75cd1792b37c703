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

/** Bytes for the program, of a schedule's stages (copies of a part cost what the part does). What
 *  the stages of a rank share, scratch memory, is divided among them.
 *  @param sched  of as many stages as the transformer
 *  @param act_bytes  of an activation element
 *  @param input_bytes, stash_bytes, fixed_bytes  [stage_count of `sched`] */
void pp_transformer_sizes(const struct pp_transformer *t, const struct pp_sched *sched,
                          int64_t act_bytes, int64_t *input_bytes, int64_t *stash_bytes,
                          int64_t *fixed_bytes);

/** One rank's stages: parameters, gradients, moments, scratch. The context of pp_transformer_ops.
 */
struct pp_transformer_rank;

/** Parameters are drawn, gradients and moments zero. @return PP_OK; PP_E_SCHEDULE (it cuts
 *  sequences into slices), PP_E_STAGES, PP_E_RANGE (other numbers of stages or microbatches than
 *  the transformer's), PP_E_MODEL (the device cannot), PP_E_NOMEM */
enum pp_status pp_transformer_open(const struct pp_transformer *t, const struct pp_sched *sched,
                                   int32_t rank, const struct pp_device_ops *device,
                                   void *device_context, struct pp_transformer_rank **rank_p,
                                   struct pp_err *err);
void pp_transformer_close(struct pp_transformer_rank *rank);

extern const struct pp_compute_ops pp_transformer_ops;

/**
 * Uniform in [-1, 1), a multiple of 2^-23. With splitmix64's step
 *   mix(x): x += 9E3779B97F4A7C15; x = (x ^ x >> 30) * BF58476D1CE4E5B9;
 *           x = (x ^ x >> 27) * 94D049BB133111EB; x ^ x >> 31          (hexadecimal, modulo 2^64)
 *   bits = mix(mix(mix(seed) ^ stream) ^ index) >> 40                  (24 bits)
 * it is (bits - 2^23) / 2^23.
 *
 * Parameter i of a tensor is pp_draw(seed, pp_draw_stream(name), i) * scale, rounded to float;
 * scale is the float nearest to 1 / sqrt(in) of a matrix [out][in], 1/32 of the embedding; norms
 * are ones. Names are those of pp_state: Hugging Face's, but a mixture's experts are one tensor for
 * all: mlp.experts.gate_up_proj [expert][gate rows, then up rows][hidden] and mlp.experts.down_proj
 * [expert][hidden][ffn]; beside it mlp.gate.weight and mlp.shared_experts.{gate,up,down}_proj.
 * Weight decay takes all parameters.
 */
float pp_draw(uint64_t seed, uint64_t stream, uint64_t index);
/** Stream of a parameter's name (FNV-1a, 64 bits). */
uint64_t pp_draw_stream(const char *name);
/**
 * Tokens of a sequence: input ids are tokens[0..length-1], targets tokens[1..length]. Sequence
 * n = (step * microbatches + microbatch) * sequences + sequence; `microbatch` counts over both
 * directions, the second's after all of the first's. Of a text it is the piece n modulo their
 * number. Drawn, it follows a rule that can be learnt, with noise: with `bits` as above of stream
 * "tokens" and index n * (length + 1) + i,
 *   tokens[i] = bits * vocab / 2^24 (rounded down)    if i is 0 or bits is a multiple of 8, else
 *               (5 * tokens[i - 1] + 7) modulo vocab
 */
void pp_draw_tokens(const struct pp_transformer *t, int64_t step, int32_t microbatch,
                    int32_t sequence, int32_t *tokens /* [length + 1] */);

#endif
