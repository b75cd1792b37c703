/**
 * @file vary.h
 * Step times when actions do not take what they should: seeded jitter, stragglers and microbatches
 * of different lengths, and a Monte Carlo over them.
 *
 * In sample k, an action of stage s and microbatch j on rank r takes
 *
 *   ((duration * rank(r) * stage(s)) * microbatch(j)) * action
 *
 *   rank(r)        1 + rank_sd z(r); for the whole sample, with probability rank_straggler_chance,
 *                  times rank_straggler_factor
 *   stage(s)       1 + stage_sd z(s)
 *   microbatch(j)  weight[j] * (1 + microbatch_sd z(j))
 *   action         1 + action_sd z(action); with probability straggler_chance, times
 *                  straggler_factor
 *
 * where each z is a standard normal draw of its own (of the sample, and of what it is about), a
 * factor below 0 is 0, and every product is rounded to nearest, in this order: durations to 1 ns,
 * microbatch(j) to a part of PP_VARY_ONE. A pair with a duration of its own (pair_ns) varies as its
 * first part does; OFFLOAD and RELOAD vary as any action. Transfers between ranks take transfer *
 * (1 + action_sd z(transfer)): they neither straggle nor have a weight.
 *
 * Everything is integers: factors are in parts per 2^20, draws come from a counter (SplitMix64 of
 * seed, sample and what it is about: stage, microbatch, type), so a sample depends on its number
 * alone: the same bytes for any thread count and compiler; and an action draws the same in any
 * schedule, so that schedules are compared under the same luck. Normal draws are by inversion
 * (sim/vary_normal.h): exactly symmetric, variance 1 + 3e-5, every quantile down to 2^-32 in each
 * tail within 1e-3 of its size and none beyond 6.34. With sd above about 0.3 the factors cut at 0
 * raise the mean.
 */
#ifndef PP_SIM_VARY_H
#define PP_SIM_VARY_H

#include "sim/eval.h"

#include <signal.h>

/* Ratios are in parts per PP_VARY_ONE: PP_VARY_ONE is 1. */
#define PP_VARY_ONE ((int64_t)1 << 20)

enum { PP_VARY_MAX_FACTOR = 1000, PP_VARY_MAX_SAMPLES = 1000000 };

struct pp_vary {
    uint64_t seed;
    int64_t action_sd, rank_sd, stage_sd, microbatch_sd; /* 0 .. PP_VARY_ONE */
    int64_t straggler_chance, rank_straggler_chance;     /* 0 .. PP_VARY_ONE */
    int64_t straggler_factor;         /* PP_VARY_ONE .. PP_VARY_MAX_FACTOR * PP_VARY_ONE; 0 reads as
                                         PP_VARY_ONE */
    int64_t rank_straggler_factor;    /* likewise */
    const int64_t *microbatch_weight; /* [pp_vary_microbatches(s)], each 0 .. PP_VARY_MAX_FACTOR *
                                         PP_VARY_ONE; NULL: 1 */
};

struct pp_vary_sampling {
    int32_t sample_count;              /* 1 .. PP_VARY_MAX_SAMPLES */
    int32_t thread_count;              /* 0: as many as the process may use */
    const volatile sig_atomic_t *stop; /* nonzero interrupts; may be NULL */
};

struct pp_vary_figures {
    int32_t sample_count;
    int64_t mean_ns, min_ns, p5_ns, p50_ns, p95_ns,
        max_ns;        /* makespans; mean to nearest, quantiles by nearest rank: p5 is the smallest
                          that at least 5 % of the samples do not exceed */
    int64_t steady_ns; /* without any variation but the weights */
};

/** Microbatches that weights and draws are about. The units of one sequence share theirs (Seq1F1B);
 *  where two pipelines share a flush (DualPipe, Chimera), those of the second, numbered from 0 in
 *  the schedule, come after those of the first. */
int32_t pp_vary_microbatches(const struct pp_sched *s);

/** @return PP_OK, PP_E_RANGE naming the field */
enum pp_status pp_vary_check(const struct pp_vary *vary, int32_t microbatch_count,
                             struct pp_err *err);

/**
 * Durations and transfers of one sample, as pp_eval_inputs takes them.
 * @param sample  >= 0
 * @param duration_ns, transfer_ns  [action_count]
 * @return PP_OK, PP_E_RANGE (as pp_costs_check and pp_vary_check; an action or a transfer above
 *         PP_COST_MAX_NS), PP_E_NOMEM
 */
enum pp_status pp_vary_draw(const struct pp_sched *s, const struct pp_costs *costs,
                            const struct pp_vary *vary, int32_t sample, int64_t *duration_ns,
                            int64_t *transfer_ns, struct pp_err *err);

/**
 * @param s          sealed and compute-only
 * @param samples_p  [sample_count] makespan of each sample, in order of sample; may be NULL
 * @return PP_OK, PP_E_RANGE (as pp_costs_check and pp_vary_check; a sample_count out of range; a
 *         sample with an action above PP_COST_MAX_NS), PP_E_INTERRUPTED, as pp_eval_create
 * Cost: O(actions * samples / threads), 8 to 20 ns an action and sample; 48 bytes an action and
 *       thread.
 */
enum pp_status pp_vary_run(const struct pp_sched *s, const struct pp_costs *costs,
                           const struct pp_vary *vary, const struct pp_vary_sampling *sampling,
                           struct pp_vary_figures *figures_p, int64_t *samples_p,
                           struct pp_err *err);

#endif
