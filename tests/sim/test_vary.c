/* Samples: the same everywhere, by laws, summed up rightly; and what is refused. */
#include "tests/sim/vary_support.h"

/* ---- the same bytes everywhere ---- */

Test(vary, samples_are_the_same_bytes_for_any_thread_count_and_compiler) {
    struct pp_sha256 all;
    pp_sha256_begin(&all);
    for (int k = 0; k < KINDS; k++) {
        uint64_t seed = 5;
        struct subject x;
        make_subject(&x, k, 1000000, k % 2 == 1, &seed);
        int64_t samples[4][SAMPLES];
        const int32_t threads[] = {1, 2, 3, 8};
        struct pp_vary_figures first = {0};
        for (int t = 0; t < 4; t++) {
            struct pp_vary_figures f = run(&x, &everything, SAMPLES, threads[t], samples[t]);
            cr_assert_eq(memcmp(samples[t], samples[0], sizeof samples[0]), 0, "%s: %d threads",
                         kinds[k].name, threads[t]);
            first = t == 0 ? f : first;
            cr_assert_eq(memcmp(&f, &first, sizeof f), 0);
        }
        for (int i = 0; i < SAMPLES; i++) {
            char text[32];
            pp_sha256_add(&all, text,
                          (size_t)snprintf(text, sizeof text, "%lld\n", (long long)samples[0][i]));
        }
        pp_sched_destroy(x.s);
    }
    char hex[65];
    pp_sha256_end(&all, hex);
    cr_assert_str_eq(hex, "5641181fa0d3da162dc9d3f616efac60445a0fda1adc4b5565107064d20499d2");
}

Test(vary, a_sample_depends_on_its_number_alone) {
    uint64_t seed = 6;
    for (int k = 0; k < KINDS; k++) {
        struct subject x;
        make_subject(&x, k, 1000000, k % 2 == 0, &seed);
        int64_t samples[SAMPLES];
        int64_t few[20];
        static int64_t duration_ns[ACTIONS_MAX];
        static int64_t transfer_ns[ACTIONS_MAX];
        run(&x, &everything, SAMPLES, 2, samples);
        run(&x, &everything, 20, 1, few);
        cr_assert_eq(memcmp(few, samples, sizeof few), 0);
        for (int i = 1; i < SAMPLES; i++) {
            cr_assert_neq(samples[i], samples[i - 1]);
        }
        for (int32_t i = SAMPLES - 1; i >= 0; i -= 37) {
            cr_assert_eq(
                pp_vary_draw(x.s, &x.costs, &everything, i, duration_ns, transfer_ns, NULL), PP_OK);
            cr_assert_eq(makespan(&x, duration_ns, transfer_ns), samples[i], "%s: sample %d",
                         kinds[k].name, i);
        }
        struct pp_vary other = everything;
        other.seed++;
        run(&x, &other, 20, 1, few);
        int same = 0;
        for (int i = 0; i < 20; i++) {
            same += few[i] == samples[i] || few[i] == samples[i + 1];
        }
        cr_assert_eq(same, 0, "another seed, other samples");
        pp_sched_destroy(x.s);
    }
}

/* ---- laws ---- */

Test(vary, without_variation_every_sample_is_the_plain_evaluation) {
    const struct pp_vary none[] = {
        {.seed = 99},
        {.straggler_factor = 7 * ONE, .rank_straggler_factor = 7 * ONE}, /* with no chance */
        {.straggler_chance = ONE, .rank_straggler_chance = ONE},         /* of factor 1 */
    };
    uint64_t seed = 12;
    for (int k = 0; k < 2 * KINDS; k++) {
        struct subject x;
        make_subject(&x, k / 2, 1000000, k % 2 == 1, &seed);
        int64_t plain = makespan(&x, NULL, NULL);
        int64_t samples[10];
        for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
            struct pp_vary_figures f = run(&x, &none[i], 10, 2, samples);
            const int64_t figures[] = {f.mean_ns, f.min_ns, f.p5_ns,    f.p50_ns,
                                       f.p95_ns,  f.max_ns, f.steady_ns};
            for (size_t n = 0; n < sizeof figures / sizeof figures[0]; n++) {
                cr_assert_eq(figures[n], plain, "%s figure %zu", kinds[k / 2].name, n);
            }
            for (int n = 0; n < 10; n++) {
                cr_assert_eq(samples[n], plain);
            }
        }
        pp_sched_destroy(x.s);
    }
}

Test(vary, random_schedules_without_variation_are_the_plain_evaluation) {
    uint64_t seed = 13;
    for (int i = 0; i < 300; i += CASE_STEP) {
        struct subject x = {.s = draw_schedule(&seed)};
        cr_assert_eq(pp_sched_seal(x.s, NULL), PP_OK);
        struct pp_eval *eval = NULL;
        if (pp_eval_create(x.s, &eval, NULL, NULL) == PP_OK) { /* some pairs wait for each other */
            set_costs(&x, &seed, 1000, i % 2 == 0);
            struct pp_vary_figures f = run(&x, &(struct pp_vary){.seed = 1}, 3, 1, NULL);
            cr_assert_eq(f.mean_ns, makespan(&x, NULL, NULL));
        }
        pp_eval_destroy(eval);
        pp_sched_destroy(x.s);
    }
}

Test(vary, equal_weights_and_certain_stragglers_scale_exactly) {
    const int64_t factors[] = {ONE, 2 * ONE, 5 * ONE, 1000 * ONE};
    uint64_t seed = 14;
    for (int k = 0; k < KINDS; k++) {
        struct subject x;
        make_subject(&x, k, 1000000, k % 2 == 0, &seed);
        x.costs.recv_f_ns = x.costs.recv_b_ns = NULL; /* transfers do not scale */
        int64_t plain = makespan(&x, NULL, NULL);
        for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
            int64_t weight[64];
            for (int n = 0; n < 64; n++) {
                weight[n] = factors[i];
            }
            struct pp_vary_figures f =
                run(&x, &(struct pp_vary){.microbatch_weight = weight}, 2, 1, NULL);
            cr_assert_eq(f.mean_ns, plain * (factors[i] / ONE));
            cr_assert_eq(f.steady_ns, f.mean_ns, "weights are there in the steady time, too");
            struct pp_vary slow = {.straggler_chance = ONE, .straggler_factor = factors[i]};
            f = run(&x, &slow, 2, 1, NULL);
            cr_assert_eq(f.min_ns, plain * (factors[i] / ONE));
            cr_assert_eq(f.steady_ns, plain, "stragglers are not");
            slow.rank_straggler_chance = ONE;
            slow.rank_straggler_factor = 3 * ONE;
            f = run(&x, &slow, 2, 1, NULL);
            cr_assert_eq(f.max_ns, 3 * plain * (factors[i] / ONE), "both kinds");
        }
        pp_sched_destroy(x.s);
    }
}

Test(vary, weights_of_zero_leave_the_transfers) {
    const int64_t weight[8] = {0};
    uint64_t seed = 15;
    struct subject x = {.s = make_schedule("1F1B", 4, 1, 8)};
    set_costs(&x, &seed, 1000, false);
    struct pp_vary_figures f =
        run(&x, &(struct pp_vary){.action_sd = ONE / 2, .microbatch_weight = weight}, 50, 2, NULL);
    cr_assert_gt(f.steady_ns, 0);
    cr_assert_lt(f.min_ns, f.max_ns);
    x.costs.recv_f_ns = x.costs.recv_b_ns = NULL;
    f = run(&x, &(struct pp_vary){.action_sd = ONE / 2, .microbatch_weight = weight}, 50, 2, NULL);
    cr_assert_eq(f.max_ns, 0);
    pp_sched_destroy(x.s);
}

/* A makespan is a maximum of sums, so its mean is not below that of the mean durations. */
Test(vary, the_mean_is_not_below_the_steady_time) {
    uint64_t seed = 16;
    for (int k = 0; k < KINDS; k++) {
        struct subject x;
        make_subject(&x, k, 1000000, false, &seed);
        const struct pp_vary jitter[] = {
            {.seed = 3, .action_sd = ONE / 10},
            {.seed = 3, .rank_sd = ONE / 10},
            {.seed = 3, .stage_sd = ONE / 10},
            {.seed = 3, .microbatch_sd = ONE / 10},
        };
        for (size_t i = 0; i < sizeof jitter / sizeof jitter[0]; i++) {
            struct pp_vary_figures f = run(&x, &jitter[i], 2000, 0, NULL);
            int64_t noise = 4 * (f.p95_ns - f.p5_ns) / 147; /* 4 sd / sqrt(2000); 3.29 sd apart */
            cr_assert_geq(f.mean_ns, f.steady_ns - noise, "%s, %zu", kinds[k].name, i);
            cr_assert(f.min_ns < f.p5_ns && f.p5_ns < f.p50_ns && f.p50_ns < f.p95_ns &&
                      f.p95_ns < f.max_ns);
        }
        pp_sched_destroy(x.s);
    }
}

/* ---- figures ---- */

/* The smallest sample that at least `percent` do not exceed, by counting. */
static int64_t quantile_by_counting(const int64_t *samples, int32_t n, int32_t percent) {
    int64_t best = INT64_MAX;
    for (int32_t i = 0; i < n; i++) {
        int32_t not_above = 0;
        for (int32_t k = 0; k < n; k++) {
            not_above += samples[k] <= samples[i];
        }
        if (100 * not_above >= percent * n && samples[i] < best) {
            best = samples[i];
        }
    }
    return best;
}

Test(vary, figures_are_those_of_the_samples) {
    const int32_t counts[] = {1, 2, 3, 10, 19, 20, 21, 99, 100, 101, SAMPLES};
    uint64_t seed = 17;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        int32_t n = counts[c];
        struct subject x;
        make_subject(&x, (int)c % KINDS, c % 3 == 0 ? 3 : 1000000, false, &seed);
        int64_t samples[SAMPLES];
        struct pp_vary_figures f = run(&x, &everything, n, 2, samples);
        int64_t sum = 0;
        int64_t low = samples[0];
        int64_t high = samples[0];
        for (int32_t i = 0; i < n; i++) {
            sum += samples[i];
            low = samples[i] < low ? samples[i] : low;
            high = samples[i] > high ? samples[i] : high;
        }
        cr_assert_eq(f.sample_count, n);
        cr_assert_eq(f.min_ns, low);
        cr_assert_eq(f.max_ns, high);
        cr_assert_eq(f.p5_ns, quantile_by_counting(samples, n, 5));
        cr_assert_eq(f.p50_ns, quantile_by_counting(samples, n, 50));
        cr_assert_eq(f.p95_ns, quantile_by_counting(samples, n, 95));
        int64_t off = 2 * (f.mean_ns * n - sum);
        cr_assert(-n < off && off <= n, "mean %lld of %lld / %d", (long long)f.mean_ns,
                  (long long)sum, n);
        pp_sched_destroy(x.s);
    }
}

/* ---- refusals ---- */

static void expect_refused(struct subject *x, const struct pp_vary *vary, int32_t samples,
                           const char *words) {
    struct pp_err err = {0};
    struct pp_vary_figures f = {.mean_ns = -1};
    int64_t out[1] = {-1};
    const struct pp_vary_sampling sampling = {.sample_count = samples, .thread_count = 2};
    cr_assert_eq(pp_vary_run(x->s, &x->costs, vary, &sampling, &f, out, &err), PP_E_RANGE, "%s",
                 words);
    cr_assert(strstr(err.message, words) != NULL, "\"%s\" lacks \"%s\"", err.message, words);
    cr_assert(f.mean_ns == -1 && out[0] == -1, "outputs are written only on success");
}

Test(vary, fields_out_of_range_are_named) {
    struct subject x;
    simple_subject(&x, 1000);
    const int64_t below[] = {ONE, -1, ONE};
    const int64_t above[] = {ONE, ONE, 1000 * ONE + 1};
    expect_refused(&x, &(struct pp_vary){.action_sd = -1}, 1, "action_sd is -1");
    expect_refused(&x, &(struct pp_vary){.action_sd = ONE + 1}, 1, "action_sd");
    expect_refused(&x, &(struct pp_vary){.rank_sd = ONE + 1}, 1, "rank_sd");
    expect_refused(&x, &(struct pp_vary){.rank_sd = -1}, 1, "rank_sd");
    expect_refused(&x, &(struct pp_vary){.stage_sd = INT64_MIN}, 1, "stage_sd");
    expect_refused(&x, &(struct pp_vary){.stage_sd = ONE + 1}, 1, "stage_sd");
    expect_refused(&x, &(struct pp_vary){.microbatch_sd = INT64_MAX}, 1, "microbatch_sd");
    expect_refused(&x, &(struct pp_vary){.microbatch_sd = -1}, 1, "microbatch_sd");
    expect_refused(&x, &(struct pp_vary){.straggler_chance = ONE + 1}, 1, "straggler_chance");
    expect_refused(&x, &(struct pp_vary){.straggler_chance = -1}, 1, "straggler_chance");
    expect_refused(&x, &(struct pp_vary){.rank_straggler_chance = ONE + 1}, 1,
                   "rank_straggler_chance");
    expect_refused(&x, &(struct pp_vary){.rank_straggler_chance = -1}, 1, "rank_straggler_chance");
    expect_refused(&x, &(struct pp_vary){.straggler_factor = ONE - 1}, 1, "straggler_factor");
    expect_refused(&x, &(struct pp_vary){.straggler_factor = 1000 * ONE + 1}, 1,
                   "straggler_factor");
    expect_refused(&x, &(struct pp_vary){.rank_straggler_factor = -ONE}, 1,
                   "rank_straggler_factor");
    expect_refused(&x, &(struct pp_vary){.microbatch_weight = below}, 1, "microbatch_weight[1]");
    expect_refused(&x, &(struct pp_vary){.microbatch_weight = above}, 1, "microbatch_weight[2]");
    expect_refused(&x, &(struct pp_vary){0}, 0, "0 samples");
    expect_refused(&x, &(struct pp_vary){0}, -7, "-7 samples");
    expect_refused(&x, &(struct pp_vary){0}, PP_VARY_MAX_SAMPLES + 1, "1000001 samples");
    x.ns[0][1] = -1;
    expect_refused(&x, &(struct pp_vary){0}, 1, "F of stage 1");
    pp_sched_destroy(x.s);
}

Test(vary, durations_that_do_not_fit_the_clock_are_refused_with_sample_and_action) {
    struct subject x;
    simple_subject(&x, PP_COST_MAX_NS);
    const int64_t weight[] = {ONE, ONE, ONE + ONE / 2};
    const struct pp_vary all = {.straggler_chance = ONE,
                                .rank_straggler_chance = ONE,
                                .straggler_factor = 1000 * ONE,
                                .rank_straggler_factor = 1000 * ONE,
                                .action_sd = ONE,
                                .rank_sd = ONE,
                                .stage_sd = ONE,
                                .microbatch_sd = ONE};
    expect_refused(&x, &(struct pp_vary){.straggler_chance = ONE, .straggler_factor = 2 * ONE}, 9,
                   "in sample 0 0F0 takes more than 274877906944 ns");
    expect_refused(&x, &(struct pp_vary){.microbatch_weight = weight}, 9, "in sample 0 0F2");
    expect_refused(&x, &all, 1000, "in sample ");
    for (int i = 0; i < 4; i++) {
        x.ns[i][0] = x.ns[i][1] = 1;
    }
    expect_refused(&x, &(struct pp_vary){.action_sd = ONE / 10}, 9, "the transfer to ");
    pp_sched_destroy(x.s); /* at the very limit: */
    simple_subject(&x, PP_COST_MAX_NS);
    struct pp_vary_figures f = run(&x, &(struct pp_vary){0}, 3, 2, NULL);
    cr_assert_eq(f.mean_ns, makespan(&x, NULL, NULL));
    pp_sched_destroy(x.s);
}

Test(vary, a_schedule_that_waits_for_itself_is_a_deadlock) {
    struct pp_err err = {0};
    struct subject x = {.s = parse_csv("0F0,0B0,0F1,0B1\n1F1,1B1,1F0,1B0\n", &err)};
    uint64_t seed = 1;
    cr_assert_not_null(x.s, "%s", err.message);
    set_costs(&x, &seed, 100, false);
    const struct pp_vary_sampling sampling = {.sample_count = 5, .thread_count = 2};
    struct pp_vary_figures f;
    cr_assert_eq(pp_vary_run(x.s, &x.costs, &everything, &sampling, &f, NULL, &err), PP_E_DEADLOCK);
    pp_sched_destroy(x.s);
}

Test(vary, a_stop_request_ends_the_sampling) {
    struct subject x;
    simple_subject(&x, 1000);
    volatile sig_atomic_t stop = 1;
    for (int32_t threads = 1; threads <= 2; threads++) {
        const struct pp_vary_sampling sampling = {
            .sample_count = PP_VARY_MAX_SAMPLES, .thread_count = threads, .stop = &stop};
        struct pp_vary_figures f;
        struct pp_err err = {0};
        cr_assert_eq(pp_vary_run(x.s, &x.costs, &everything, &sampling, &f, NULL, &err),
                     PP_E_INTERRUPTED);
        cr_assert_str_eq(err.message, "interrupted");
    }
    pp_sched_destroy(x.s);
}
