/* Schedules of every kind under random costs, for tests of what varies. */
#ifndef PP_TESTS_VARY_SUPPORT_H
#define PP_TESTS_VARY_SUPPORT_H

#include "sim/vary.h"
#include "tests/sim/random_sched.h"

enum { STAGES_MAX = 64, ACTIONS_MAX = 4096, SAMPLES = 400 };
#define ONE PP_VARY_ONE

struct subject {
    struct pp_sched *s;
    int64_t ns[7][STAGES_MAX];
    struct pp_costs costs;
};

static inline void set_costs(struct subject *x, uint64_t *seed, int64_t most, bool pairs) {
    cr_assert_leq(x->s->stage_count, STAGES_MAX);
    cr_assert_leq(x->s->action_count, ACTIONS_MAX);
    for (int i = 0; i < 7; i++) {
        for (int32_t k = 0; k < x->s->stage_count; k++) {
            x->ns[i][k] = most == ONE ? ONE : (int64_t)(next_random(seed) % (uint64_t)(most + 1));
        }
    }
    x->costs = (struct pp_costs){.f_ns = x->ns[0],
                                 .i_ns = x->ns[1],
                                 .w_ns = x->ns[2],
                                 .b_ns = x->ns[3],
                                 .recv_f_ns = x->ns[4],
                                 .recv_b_ns = x->ns[4],
                                 .offload_ns = x->ns[5],
                                 .pair_ns = pairs ? x->ns[6] : NULL};
}

/* Every kind of schedule: fused and split, V, two pipelines, slices, offloads, pairs. */
static const struct {
    const char *name;
    int32_t ranks, v, m;
} kinds[] = {{"1F1B", 4, 1, 8},          {"InterleavedZeroBubble", 4, 2, 8},
             {"ZBVZeroBubble", 3, 2, 6}, {"DualPipe", 4, 2, 10},
             {"Seq1F1B", 4, 1, 4},       {"PipeOffload", 4, 2, 8},
             {"1F1BOverlap", 4, 1, 8},   {"DualPipeV", 4, 2, 10}};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static inline void make_subject(struct subject *x, int k, int64_t most, bool pairs,
                                uint64_t *seed) {
    struct pp_gen_config c = {.rank_count = kinds[k].ranks,
                              .stages_per_rank = kinds[k].v,
                              .microbatch_count = kinds[k].m};
    if (strcmp(kinds[k].name, "Seq1F1B") == 0) {
        c.slice_count = 3;
    }
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_generate(find_schedule(kinds[k].name), &c, &x->s, &err), PP_OK, "%s",
                 err.message);
    set_costs(x, seed, most, pairs);
}

/* 1F1B at one cost for everything. */
static inline void simple_subject(struct subject *x, int64_t ns) {
    uint64_t seed = 18;
    x->s = make_schedule("1F1B", 2, 1, 3);
    set_costs(x, &seed, 0, false);
    for (int i = 0; i < 7; i++) {
        for (int32_t k = 0; k < x->s->stage_count; k++) {
            x->ns[i][k] = ns;
        }
    }
}

static const struct pp_vary everything = {
    .seed = 42,
    .action_sd = ONE / 20,
    .rank_sd = ONE / 30,
    .stage_sd = ONE / 40,
    .microbatch_sd = ONE / 4,
    .straggler_chance = ONE / 10,
    .straggler_factor = 3 * ONE,
    .rank_straggler_chance = ONE / 5,
    .rank_straggler_factor = 3 * ONE / 2,
};

static inline struct pp_vary_figures run(const struct subject *x, const struct pp_vary *vary,
                                         int32_t samples, int32_t threads, int64_t *out) {
    struct pp_vary_figures f;
    struct pp_err err = {0};
    const struct pp_vary_sampling sampling = {.sample_count = samples, .thread_count = threads};
    cr_assert_eq(pp_vary_run(x->s, &x->costs, vary, &sampling, &f, out, &err), PP_OK, "%s",
                 err.message);
    return f;
}

static inline int64_t makespan(const struct subject *x, const int64_t *duration_ns,
                               const int64_t *transfer_ns) {
    struct pp_eval *eval = NULL;
    struct pp_trace trace;
    const struct pp_eval_inputs in = {
        .costs = &x->costs, .duration_ns = duration_ns, .transfer_ns = transfer_ns};
    cr_assert_eq(pp_eval_create(x->s, &eval, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&trace, x->s, NULL), PP_OK);
    cr_assert_eq(duration_ns == NULL ? pp_eval_run(eval, &x->costs, &trace, NULL)
                                     : pp_eval_run_with(eval, &in, &trace, NULL),
                 PP_OK);
    int64_t last = 0;
    for (int32_t at = 0; at < x->s->action_count; at++) {
        last = trace.end_ns[at] > last ? trace.end_ns[at] : last;
    }
    pp_trace_deinit(&trace);
    pp_eval_destroy(eval);
    return last;
}

#endif
