/**
 * @file batch.h
 * One schedule under many sets of costs at once: cost sets side by side in vector lanes, end times
 * in slots that are reused as soon as nothing needs them, so that a batch stays in the first cache
 * at any size. For searches and what-ifs that need figures, not traces.
 *
 * Results are those of pp_eval_run, bit for bit, with AVX-512, AVX2 or neither (chosen when the
 * program runs). One thread a batch; the schedule may be shared.
 */
#ifndef PP_SIM_BATCH_H
#define PP_SIM_BATCH_H

#include "sim/costs.h"

struct pp_batch; /* opaque */

/** Which instructions: for tests and benchmarks; PP_SIMD_BEST is the widest that the processor has.
 */
enum pp_simd { PP_SIMD_BEST, PP_SIMD_NONE, PP_SIMD_AVX2, PP_SIMD_AVX512 };

/**
 * @param s  sealed and compute-only, without OFFLOAD; must outlive the batch
 * @return PP_OK, PP_E_ARG (lowered, offloads, or instructions that the processor lacks),
 *         PP_E_DEADLOCK, PP_E_NOMEM
 */
enum pp_status pp_batch_create(const struct pp_sched *s, enum pp_simd simd,
                               struct pp_batch **batch_p, struct pp_err *err);
void pp_batch_destroy(struct pp_batch *b);

/** Figures of one cost set. */
struct pp_batch_result {
    int64_t makespan_ns;
    int64_t span_ns; /* as pp_metrics */
    int64_t max_busy_ns, total_busy_ns;
};

/**
 * @param costs    [count]; either all have pair_ns or none
 * @param results  [count]
 * @return PP_OK, PP_E_ARG (some have pair_ns), PP_E_RANGE (as pp_costs_check, naming the set)
 * Cost: O(actions * count), no allocation.
 */
enum pp_status pp_batch_run(struct pp_batch *b, const struct pp_costs *costs, int32_t count,
                            struct pp_batch_result *results, struct pp_err *err);

#endif
