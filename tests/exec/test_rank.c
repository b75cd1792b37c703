/* Ranks over the local transport: every schedule moves every tensor to where it belongs. */
#include "tests/exec/runtime_support.h"

static bool is_full(void) {
    return getenv("PP_TEST_FULL") != NULL;
}

static const struct how hows[] = {
    {.buffers = 0},
    {.buffers = 1},
    {.most_polls = 5},
    {.most_polls = 5, .overlaps = true},
    {.latency_ns = 5000},
    {.threads = true},
    {.threads = true, .buffers = 2, .most_polls = 3, .overlaps = true},
};

/* In every way two steps, so that what one leaves behind meets the next. */
static void run_order(struct pp_sched *order, const char *what, void *context) {
    uint64_t *seed = context;
    static struct program_case c;
    static struct run r;
    program_case_make(&c, order, seed);
    for (size_t i = 0; i < sizeof hows / sizeof hows[0]; i++) {
        char how[128];
        snprintf(how, sizeof how, "%s, way %zu", what, i);
        run_open(&r, &c, &hows[i]);
        run_step_well(&r, 0, how);
        run_step_well(&r, 1, how);
        run_close(&r);
    }
    program_case_deinit(&c);
}

/* Few microbatches and more than ranks, as far as the schedule takes them. */
static void run_schedule(const struct pp_schedule_info *info, int32_t p, uint64_t *seed) {
    const int32_t microbatches[] = {2 * p, p + 1, 2};
    int32_t taken = 0;
    for (int k = 0; k < 3 && taken < 2; k++) {
        struct pp_gen_config config = {.rank_count = p,
                                       .stages_per_rank = info->default_stages_per_rank,
                                       .microbatch_count = microbatches[k]};
        struct pp_sched *order = NULL;
        if (pp_schedule_generate(info, &config, &order, NULL) == PP_OK) {
            char what[96];
            snprintf(what, sizeof what, "%s p=%d m=%d", info->name, p, microbatches[k]);
            run_order(order, what, seed);
            taken++;
        }
    }
    cr_assert(taken > 0 || p % 2 == 1, "%s was not run with %d ranks", info->name, p);
}

static void run_all(int32_t p) {
    uint64_t seed = (uint64_t)p;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        run_schedule(pp_schedule_at(i), p, &seed);
    }
}

Test(rank, every_schedule_of_two_ranks) {
    run_all(2);
}

Test(rank, every_schedule_of_three_ranks) {
    run_all(3);
}

Test(rank, every_schedule_of_four_ranks) {
    run_all(4);
}

Test(rank, every_schedule_at_many_counts) {
    uint64_t seed = 9;
    if (!is_full()) {
        cr_skip_test("PP_TEST_FULL=1 runs it");
    }
    cr_assert_gt(for_each_schedule(8, run_order, &seed), 100);
}

/* ---- random orders ---- */

Test(rank, random_orders) {
    static struct program_case c;
    static struct run r;
    for (uint64_t seed = 0; seed < (is_full() ? 2000 : 100); seed++) {
        uint64_t state = seed;
        char what[32];
        struct how how = {.buffers = random_below(&state, 3),
                          .most_polls = random_below(&state, 4),
                          .overlaps = random_below(&state, 2) == 0,
                          .threads = seed % 16 == 0};
        snprintf(what, sizeof what, "seed %d", (int)seed);
        program_case_make(&c, draw_sealed_within(&state, &draw_usual), &state);
        if (c.lowered->rank_count <= RUN_RANKS) {
            run_open(&r, &c, &how);
            run_step_well(&r, 0, what);
            run_step_well(&r, 1, what);
            run_close(&r);
        }
        program_case_deinit(&c);
    }
}
