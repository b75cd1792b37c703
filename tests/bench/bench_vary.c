/* CPU time of the Monte Carlo of sim/vary.h on one thread, ns an action and sample; and wall time
 * of 1000 samples on 1 and 2 threads. Not a test: build the target `bench` with the release preset.
 * usage: bench_vary */
#include "sim/generate.h"
#include "sim/vary.h"
#include "tests/bench/bench.h"

enum { MAX_STAGES = 1024 };

static struct pp_sched *make(const char *name, int32_t ranks, int32_t v, int32_t m) {
    const struct pp_schedule_info *info = NULL;
    struct pp_sched *s = NULL;
    struct pp_gen_config c = {.rank_count = ranks, .stages_per_rank = v, .microbatch_count = m};
    struct pp_err err = {0};
    must(pp_schedule_find(name, &info, &err), &err);
    must(pp_schedule_generate(info, &c, &s, &err), &err);
    return s;
}

/* Median seconds of a run. */
static double seconds(const struct pp_sched *s, const struct pp_costs *costs,
                      const struct pp_vary *vary, int32_t samples, int32_t threads,
                      clockid_t clock) {
    int64_t took[RUNS];
    struct pp_vary_figures f;
    struct pp_err err = {0};
    const struct pp_vary_sampling sampling = {.sample_count = samples, .thread_count = threads};
    for (int i = -1; i < RUNS; i++) {
        int64_t begin = clock_ns(clock);
        must(pp_vary_run(s, costs, vary, &sampling, &f, NULL, &err), &err);
        if (i >= 0) {
            took[i] = clock_ns(clock) - begin;
        }
    }
    return (double)median_of(took, RUNS) / NS_PER_S;
}

static void one_schedule(const char *name, int32_t ranks, int32_t v, int32_t m) {
    static int64_t ns[MAX_STAGES];
    const int64_t r = PP_VARY_ONE / 20;
    const struct pp_costs costs = {
        .f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns, .recv_f_ns = ns, .recv_b_ns = ns};
    const struct {
        const char *name;
        struct pp_vary vary;
    } kinds[] = {
        {"nothing", {0}},
        {"rank", {.rank_sd = r}},
        {"microbatch", {.microbatch_sd = r}},
        {"action", {.action_sd = r}},
        {"stragglers", {.straggler_chance = r, .straggler_factor = 2 * PP_VARY_ONE}},
        {"all",
         {.action_sd = r,
          .rank_sd = r,
          .stage_sd = r,
          .microbatch_sd = r,
          .straggler_chance = r,
          .rank_straggler_chance = r,
          .straggler_factor = 2 * PP_VARY_ONE,
          .rank_straggler_factor = 2 * PP_VARY_ONE}},
    };
    struct pp_sched *s = make(name, ranks, v, m);
    int32_t samples = 4000000 / s->action_count + 1;
    for (int32_t i = 0; i < s->stage_count; i++) {
        ns[i] = 1000000 + 1000 * i;
    }
    printf("%s (%d,%d,%d), %d actions, ns an action and sample:", name, ranks, v, m,
           s->action_count);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        double took = seconds(s, &costs, &kinds[k].vary, samples, 1, CLOCK_PROCESS_CPUTIME_ID);
        printf(" %s %.1f", kinds[k].name, took * 1e9 / samples / s->action_count);
    }
    const struct pp_vary *all = &kinds[sizeof kinds / sizeof kinds[0] - 1].vary;
    printf("; 1000 samples of all, wall ms: 1 thread %.1f, 2 threads %.1f\n",
           1e3 * seconds(s, &costs, all, 1000, 1, CLOCK_MONOTONIC),
           1e3 * seconds(s, &costs, all, 1000, 2, CLOCK_MONOTONIC));
    pp_sched_destroy(s);
}

int main(void) {
    one_schedule("1F1B", 8, 1, 32);
    one_schedule("InterleavedZeroBubble", 16, 2, 128);
    one_schedule("Interleaved1F1B", 64, 2, 512);
    return 0;
}
