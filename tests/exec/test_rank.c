/* Ranks over the local transport: every schedule moves every tensor to where it belongs. */
#include "tests/exec/runtime_support.h"

static bool is_full(void) {
    return getenv("PP_TEST_FULL") != NULL;
}

struct setting {
    uint64_t seed;
    struct how how;
    int32_t runs;
};

/* With drawn costs and sizes, two steps, so that what one leaves behind meets the next. */
static void run_order(struct pp_sched *order, const char *what, void *context) {
    struct setting *x = context;
    static struct program_case c;
    static struct run r;
    program_case_make(&c, order, &x->seed);
    run_open(&r, &c, &x->how);
    run_step_well(&r, 0, what);
    run_step_well(&r, 1, what);
    run_close(&r);
    program_case_deinit(&c);
    x->runs++;
}

/* Few microbatches and more than ranks, as far as the schedule takes them. */
static void run_schedule(const struct pp_schedule_info *info, int32_t p, struct setting *x) {
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
            run_order(order, what, x);
            taken++;
        }
    }
}

static void run_all(const struct how *how, uint64_t seed) {
    struct setting x = {.seed = seed, .how = *how};
    if (is_full()) {
        int32_t count = for_each_schedule(8, run_order, &x);
        cr_assert_eq(count, x.runs);
        return;
    }
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        int32_t before = x.runs;
        for (int32_t p = 2; p <= 4; p++) {
            run_schedule(pp_schedule_at(i), p, &x);
        }
        cr_assert_gt(x.runs, before, "%s was never run", pp_schedule_at(i)->name);
    }
}

Test(rank, every_schedule_without_any_buffer) {
    run_all(&(struct how){0}, 1);
}

Test(rank, every_schedule_with_a_buffer_a_channel) {
    run_all(&(struct how){.buffers = 1}, 2);
}

Test(rank, every_schedule_with_work_that_takes_a_while) {
    run_all(&(struct how){.most_polls = 5}, 3);
}

Test(rank, every_schedule_with_both_parts_of_a_pair_at_once) {
    run_all(&(struct how){.most_polls = 5, .overlaps = true}, 4);
}

Test(rank, every_schedule_with_latency) {
    run_all(&(struct how){.latency_ns = 20000}, 5);
}

Test(rank, every_schedule_with_a_thread_a_rank) {
    run_all(&(struct how){.threads = true}, 6);
}

Test(rank, every_schedule_with_threads_and_buffers) {
    run_all(&(struct how){.threads = true, .buffers = 2, .most_polls = 3, .overlaps = true}, 7);
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
