/**
 * @file vary.h
 * Step times when actions do not take what they should: seeded jitter, stragglers and microbatches
 * of different lengths, and a Monte Carlo over them.
 *
 * In sample k, an action of stage s and microbatch j on rank r takes
 *   its duration * weight[j] * (1 + rank_sd z(r)) * (1 + stage_sd z(s)) * (1 + microbatch_sd z(j))
 * * (1 + action_sd z(action)), times straggler_factor with probability straggler_chance where each
 * z is a standard normal draw of its own (of the sample, and of what it is about), a factor below 0
 * is 0, and every product is rounded to nearest. A rank straggles in a whole sample with
 * probability rank_straggler_chance. Transfers vary like actions, by action_sd only.
 *
 * Everything is integers: factors are in parts per 2^20, draws come from a counter (a hash of seed,
 * sample and what it is about), so a sample depends on its number alone: the same bytes for any
 * thread count and compiler.
 */
#ifndef PP_SIM_VARY_H
#define PP_SIM_VARY_H

#include "sim/eval.h"

/* Ratios are in parts per PP_VARY_ONE: PP_VARY_ONE is 1. */
#define PP_VARY_ONE ((int64_t)1 << 20)

struct pp_vary {
    uint64_t seed;
    int64_t action_sd, rank_sd, stage_sd, microbatch_sd; /* 0 .. PP_VARY_ONE */
    int64_t straggler_chance, rank_straggler_chance;     /* 0 .. PP_VARY_ONE */
    int64_t straggler_factor; /* PP_VARY_ONE .. 1000 * PP_VARY_ONE; 0 reads as PP_VARY_ONE */
    const int64_t
        *microbatch_weight; /* [microbatch_count], as straggler_factor from 0 on; NULL: 1 */
};

struct pp_vary_figures {
    int32_t sample_count;
    int64_t mean_ns, min_ns, p5_ns, p50_ns, p95_ns,
        max_ns;        /* makespans; mean to nearest, quantiles by nearest rank */
    int64_t steady_ns; /* without any variation but the weights */
};

/** @return PP_OK, PP_E_RANGE naming the field */
enum pp_status pp_vary_check(const struct pp_vary *vary, int32_t microbatch_count,
                             struct pp_err *err);

/** Durations and transfers of one sample. @param duration_ns, transfer_ns  [action_count] */
void pp_vary_draw(const struct pp_sched *s, const struct pp_costs *costs,
                  const struct pp_vary *vary, int32_t sample, int64_t *duration_ns,
                  int64_t *transfer_ns);

/**
 * @param eval       of the schedule; read only
 * @param samples_p  [sample_count] makespan of each sample, in order of sample; may be NULL
 * @return PP_OK, PP_E_RANGE (as pp_costs_check and pp_vary_check; fewer than 1 or more than 10^6
 *         samples; durations that do not fit the clock), PP_E_NOMEM
 * Cost: O(actions * samples / threads); 16 bytes an action and thread besides the trace.
 */
enum pp_status pp_vary_run(const struct pp_eval *eval, const struct pp_sched *s,
                           const struct pp_costs *costs, const struct pp_vary *vary,
                           int32_t sample_count, int32_t thread_count,
                           struct pp_vary_figures *figures_p, int64_t *samples_p,
                           struct pp_err *err);

#endif
