/**
 * @file step.h
 * A whole optimizer step: flushes one after the other (gradient accumulation), the gradient
 * reductions among data-parallel ranks, and the optimizer, with or without a barrier across the
 * ranks of the pipeline.
 *
 * A rank goes on to its next flush when it is through with the last; nothing else joins flushes. So
 * a step of n flushes is not n times a flush: a schedule whose ranks end one after the other (zero
 * bubble) begins the next flush in that slant. Once every rank begins a flush later than the one
 * before, or than the one some flushes before, by the same time, it goes on like this for ever and
 * the rest is a product: exact.
 *
 * Stages are gathered (UNSHARD) before the rank's first action, one after the other in the order in
 * which they are used, and a stage's compute waits for its own gather only; reduced (REDUCE_GRAD)
 * from the end of their last backward (B or W) on, one at a time on the rank's collective lane,
 * after the gathers, in the order of those ends. `reduce` says of which flushes. In another flush
 * than the last they hold up nothing but later reductions. Then the optimizer: with a
 * barrier (the norm of all gradients, by which Automodel and torchtitan clip) it starts when every
 * rank is reduced, else on each rank on its own.
 *
 * sim/plan_step.c tells which of Automodel's options come to which of these.
 */
#ifndef PP_SIM_STEP_H
#define PP_SIM_STEP_H

#include "sim/eval.h"

enum pp_reduce {
    PP_REDUCE_STEP,       /* once, after the last flush (Automodel's MoE models) */
    PP_REDUCE_FLUSH,      /* after every flush (dense models under FSDP) */
    PP_REDUCE_MICROBATCH, /* after every backward, B or W (defer_fsdp_grad_sync: false) */
};

struct pp_step_inputs {
    int64_t flush_count; /* 1 or more */
    enum pp_reduce reduce;
    const int64_t *unshard_ns;   /* [stage_count]; NULL = zeros, also below */
    const int64_t *reduce_ns;    /* [stage_count] of one REDUCE_GRAD */
    const int64_t *optimizer_ns; /* [rank_count] */
    bool barrier;
    const int64_t *begin_ns; /* [rank_count] when each rank begins the step */
};

struct pp_step_times {
    int64_t gathered_ns; /* when the last rank's first stage is there: part of the fill */
    int64_t flushes_ns;  /* last end of a compute action */
    int64_t reduced_ns;  /* last end of a reduction; flushes_ns if they take no time */
    int64_t step_ns;     /* last end of the optimizer */
    int64_t flushes_run; /* how many were simulated before the rest was a product */
};

struct pp_step; /* opaque workspace of one schedule; one thread a workspace */

/** @param s  sealed and compute-only; must outlive it. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_step_create(const struct pp_sched *s, struct pp_step **step_p,
                              struct pp_err *err);
void pp_step_destroy(struct pp_step *step);

/**
 * @param eval   of the same schedule
 * @param trace  of the same schedule; holds the first flush afterwards
 * @return PP_OK, PP_E_RANGE (no flush; a time negative or above PP_COST_MAX_NS; a step of more
 *         than INT64_MAX / 4 ns)
 * Cost: O(actions) a simulated flush, mostly 2 to 4, at most PP_STEP_MAX_FLUSHES; no allocation.
 * After that many the rest continues at the pace of the rank that was slowest in the last, which is
 * never too short (no later flush is slower): seen only where two pipelines that are even to a few
 * ns catch up with one another.
 */
enum pp_status pp_step_run(struct pp_step *step, const struct pp_eval *eval,
                           const struct pp_costs *costs, const struct pp_step_inputs *in,
                           struct pp_trace *trace, struct pp_step_times *times_p,
                           struct pp_err *err);

enum { PP_STEP_MAX_FLUSHES = 64 };

/** When each rank is through with its optimizer in the last run: [rank_count], owned by `step`. */
const int64_t *pp_step_done_ns(const struct pp_step *step);

/**
 * What a step takes in the long run, one after the other, each rank beginning its next when its
 * optimizer is through: with a barrier the time of one step where all optimizers take the same;
 * without, ranks keep the slant of the pipeline from step to step, so that fill and drain are paid
 * once. in->begin_ns is where the first begins.
 * @param pace_ns_p  to nearest where steps repeat in groups
 * @return PP_OK, as pp_step_run, PP_E_NOMEM
 * Cost: that of a few steps, at most PP_STEP_MAX_STEPS; after that many, the pace of the last.
 */
enum pp_status pp_step_pace(struct pp_step *step, const struct pp_eval *eval,
                            const struct pp_costs *costs, const struct pp_step_inputs *in,
                            struct pp_trace *trace, int64_t *pace_ns_p, struct pp_err *err);

enum { PP_STEP_MAX_STEPS = 32 };

#endif
