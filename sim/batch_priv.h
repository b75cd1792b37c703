/**
 * @file batch_priv.h
 * Private to the batch: what its sweeps read and write, eight cost sets side by side, and one sweep
 * for each kind of vector instructions.
 */
#ifndef PP_SIM_BATCH_PRIV_H
#define PP_SIM_BATCH_PRIV_H

#include "sim/batch.h"
#include "sim/eval_sweep.h"

enum { PP_BATCH_LANES = 8, PP_BATCH_ALIGN = 64 };

/** A figure of each cost set. */
struct pp_batch_lanes {
    _Alignas(PP_BATCH_ALIGN) int64_t ns[PP_BATCH_LANES];
};

/** Of a key (eval_sweep.h). */
struct pp_batch_cost {
    struct pp_batch_lanes duration, transfer;
};

struct pp_batch_work {
    const struct pp_sched *s;
    struct pp_sweep sweep;
    struct pp_batch_cost *costs; /* [PP_SWEEP_TYPE_COUNT][stage_count] */
    struct pp_batch_lanes
        *pairs; /* [stage_count] of a pair as one, by the stage of its first part */
    struct pp_batch_lanes *slots; /* [slot_count]; the first is always 0 */
    struct pp_batch_lanes *first; /* [rank_count] first start */
    struct pp_batch_lanes *last;  /* [rank_count] where the rank is free; 0 before a sweep */
};

/** @param as_one  pairs take `pairs`, else their parts run in order */
typedef void pp_batch_sweep(const struct pp_batch_work *w, bool as_one);

pp_batch_sweep pp_batch_sweep_scalar;
#ifdef __x86_64__
pp_batch_sweep pp_batch_sweep_avx2;
pp_batch_sweep pp_batch_sweep_avx512;
#endif

#endif
