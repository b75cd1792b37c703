/* Programs for tests: schedules by name or drawn, with drawn costs, sizes and expected times. */
#ifndef PP_TESTS_PROGRAM_SUPPORT_H
#define PP_TESTS_PROGRAM_SUPPORT_H

#include "exec/program.h"
#include "tests/sim/lower_support.h"
#include "tests/sim/random_lowered.h"

enum { PROGRAM_STAGES = 256 };

struct program_case {
    struct pp_sched *lowered;
    int64_t times[9][PROGRAM_STAGES];
    struct pp_engine_costs costs;
    int64_t input_bytes[PROGRAM_STAGES], stash_bytes[PROGRAM_STAGES], fixed_bytes[PROGRAM_STAGES];
    struct pp_program_sizes sizes;
    struct pp_trace expected;
    struct pp_program *program; /* NULL before pp_program_create */
};

static inline void program_case_deinit(struct program_case *c) {
    pp_program_destroy(c->program);
    pp_trace_deinit(&c->expected);
    pp_sched_destroy(c->lowered);
}

/* Takes a sealed compute-only schedule and lowers it with drawn options. */
static inline void program_case_lower(struct program_case *c, struct pp_sched *order,
                                      uint64_t *seed) {
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_err err = {0};
    options.look_ahead = random_below(seed, 4);
    options.max_active_stages = 1 + random_below(seed, 3);
    options.reshard_after_use = random_below(seed, 3) == 0;
    if (order->part_count == order->stage_count) {
        options.reduce_every = random_below(seed, 3);
    }
    cr_assert_eq(pp_sched_lower(order, &options, &c->lowered, &err), PP_OK, "%s", err.message);
    pp_sched_destroy(order);
}

/* Compute takes at least 1 ns; now and then all figures are small, so that many times are equal. */
static inline void program_case_costs(struct program_case *c, uint64_t *seed) {
    int32_t scale = random_below(seed, 3) == 0 ? 3 : 100000;
    bool is_even = random_below(seed, 3) == 0;
    for (int32_t kind = 0; kind < 9; kind++) {
        int32_t all = random_below(seed, scale);
        for (int32_t s = 0; s < PROGRAM_STAGES; s++) {
            c->times[kind][s] = (is_even ? all : random_below(seed, scale)) + (kind < 5);
        }
    }
    bool has_latency = random_below(seed, 3) != 0;
    bool gathers = random_below(seed, 2) == 0;
    c->costs = (struct pp_engine_costs){
        .compute = {.f_ns = c->times[0],
                    .i_ns = c->times[1],
                    .w_ns = c->times[2],
                    .b_ns = c->times[3],
                    .pair_ns = random_below(seed, 2) == 0 ? c->times[4] : NULL,
                    .recv_f_ns = has_latency ? c->times[5] : NULL,
                    .recv_b_ns = has_latency ? c->times[6] : NULL,
                    .offload_ns = random_below(seed, 3) != 0 ? c->times[7] : NULL},
        .unshard_ns = gathers ? c->times[8] : NULL,
        .reduce_ns = gathers ? c->times[8] : NULL};
}

static inline void program_case_expect(struct program_case *c) {
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    struct pp_engine *e = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_engine_create(c->lowered, &runtime, &e, NULL, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_trace_init(&c->expected, c->lowered, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_engine_run(e, &c->costs, NULL, &c->expected, &err), PP_OK, "%s", err.message);
    pp_engine_destroy(e);
}

/* One microbatch of a model: equal stages, or the ends larger, or anything. */
static inline void program_case_sizes(struct program_case *c, uint64_t *seed) {
    int32_t kind = random_below(seed, 4);
    int64_t input = 64 + random_below(seed, 1000);
    int64_t stash = input * (1 + random_below(seed, 40));
    for (int32_t s = 0; s < PROGRAM_STAGES; s++) {
        bool is_end = s == 0 || s == c->lowered->stage_count - 1;
        c->input_bytes[s] = input;
        c->stash_bytes[s] = kind == 1 && is_end ? stash + stash / 3 : stash;
        c->fixed_bytes[s] = 1000 + s;
        if (kind == 2) {
            c->stash_bytes[s] = 1 + random_below(seed, 100000);
        } else if (kind == 3) {
            c->input_bytes[s] = random_below(seed, 4) == 0 ? 0 : random_below(seed, 3000);
            c->stash_bytes[s] = random_below(seed, 4) == 0 ? 0 : random_below(seed, 10000);
        }
    }
    c->sizes = (struct pp_program_sizes){.input_bytes = c->input_bytes,
                                         .stash_bytes = c->stash_bytes,
                                         .fixed_bytes = c->fixed_bytes};
}

static inline void program_case_create(struct program_case *c) {
    struct pp_err err = {0};
    cr_assert_eq(pp_program_create(c->lowered, &c->sizes, &c->expected, &c->program, &err), PP_OK,
                 "%s", err.message);
}

/* All of it. Takes `order`. */
static inline void program_case_make(struct program_case *c, struct pp_sched *order,
                                     uint64_t *seed) {
    *c = (struct program_case){0};
    program_case_lower(c, order, seed);
    program_case_costs(c, seed);
    program_case_expect(c);
    program_case_sizes(c, seed);
    program_case_create(c);
}

/* Calls `each` for every schedule by name at some counts. `each` owns the schedule. */
typedef void each_schedule(struct pp_sched *order, const char *what, void *context);
static inline int32_t for_each_schedule(int32_t most_ranks, each_schedule *each, void *context) {
    int32_t count = 0;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        for (int32_t p = 1; p <= most_ranks; p++) {
            const int32_t microbatches[] = {1, 2, 3, p + 2, 2 * p, 2 * p + 1, 4 * p};
            for (size_t k = 0; k < sizeof microbatches / sizeof microbatches[0]; k++) {
                int32_t m = microbatches[k];
                if (info->uses_costs && CASE_STEP > 1 && k % 3 != 1) {
                    continue; /* a search, slow where not optimised */
                }
                struct pp_gen_config config = {.rank_count = p,
                                               .stages_per_rank = info->default_stages_per_rank,
                                               .microbatch_count = m};
                struct pp_sched *order = NULL;
                if (pp_schedule_generate(info, &config, &order, NULL) == PP_OK) {
                    char what[96];
                    snprintf(what, sizeof what, "%s p=%d m=%d", info->name, p, m);
                    each(order, what, context);
                    count++;
                }
            }
        }
    }
    return count;
}

#endif
