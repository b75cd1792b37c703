#include "sim/vary.h"

#include "sim/vary_normal.h"
#include "tests/sim/random_sched.h"

#include <math.h>

enum { STAGES_MAX = 64, ACTIONS_MAX = 4096, SAMPLES = 400 };
#define ONE PP_VARY_ONE

/* ---- normal draws ---- */

static double draw_of(uint64_t bits) {
    double z = (double)pp_vary_normal(bits) / (1 << PP_VARY_Z_SHIFT);
    return bits >> 63 == 0 ? z : -z;
}

/* Upper tail probability. */
static double tail(double z) {
    return 0.5 * erfc(z / sqrt(2.0));
}

Test(vary, normal_draws_have_mean_0_variance_1_and_the_normal_quantiles) {
    enum { DRAWS = 1000000 };
    const double z[] = {0.1, 0.5, 1.0, 1.644853627, 2.0, 2.5, 3.0, 3.5, 4.0};
    enum { MARKS = sizeof z / sizeof z[0] };
    int above[MARKS] = {0};
    int below[MARKS] = {0};
    double sum[5] = {0};
    for (int i = 0; i < DRAWS; i++) {
        double x = draw_of(pp_vary_bits(7, (uint64_t)i));
        for (int k = 1; k <= 4; k++) {
            sum[k] += pow(x, k);
        }
        for (int k = 0; k < MARKS; k++) {
            above[k] += x > z[k];
            below[k] += x < -z[k];
        }
    }
    /* four standard errors of 10^6 draws */
    cr_assert_float_eq(sum[1] / DRAWS, 0.0, 4e-3);
    cr_assert_float_eq(sum[2] / DRAWS, 1.0, 4 * 1.42e-3);
    cr_assert_float_eq(sum[3] / DRAWS, 0.0, 4 * 3.9e-3);
    cr_assert_float_eq(sum[4] / DRAWS, 3.0, 4 * 9.8e-3);
    for (int k = 0; k < MARKS; k++) {
        double expected = DRAWS * tail(z[k]);
        double bound = 4 * sqrt(expected) + 1;
        cr_assert_float_eq(above[k], expected, bound, "above %g: %d", z[k], above[k]);
        cr_assert_float_eq(below[k], expected, bound, "below -%g: %d", z[k], below[k]);
        cr_assert_float_eq(above[k], below[k], 1.5 * bound);
    }
}

/* Not by chance: every tail probability gives its own quantile. */
Test(vary, a_normal_draw_is_the_quantile_of_its_bits) {
    double before = INFINITY;
    for (double octave = -33; octave < -1; octave++) {
        for (int i = 0; i < 1000; i++) {
            double p = exp2(octave) * (1 + (i + 0.5) / 1000);
            uint64_t bits = (uint64_t)(p * 0x1p64);
            double z = draw_of(bits);
            cr_assert_eq(draw_of(bits | (uint64_t)1 << 63), -z, "exactly symmetric");
            cr_assert_leq(z, before, "p %g", p);
            before = z;
            /* in 43 bits the least of p is 2^-44 */
            cr_assert(octave == -33 || fabs(tail(z) / p - 1) < 1e-3 + 0x1p-44 / p,
                      "p 2^%g: z %g has %g", log2(p), z, tail(z));
        }
    }
    const uint64_t sign = (uint64_t)1 << 63;
    cr_assert_float_eq(draw_of(0), 6.338, 1e-3, "none is beyond the table");
    cr_assert_eq(draw_of(sign), -draw_of(0));
    cr_assert_float_eq(draw_of(~sign), 0.0, 1e-7);
    cr_assert_eq(draw_of(0xfffff), draw_of(0), "the lowest bits are another draw's");
}

Test(vary, the_variance_of_the_table_is_1) {
    double variance = 0;
    for (uint64_t i = 0; i < 1 << 20; i++) { /* even steps of the tail probability */
        double z = draw_of((2 * i + 1) << 42);
        variance += z * z / (1 << 20);
    }
    cr_assert_float_eq(variance, 1.0, 1e-4);
}

/* ---- schedules under costs ---- */

struct subject {
    struct pp_sched *s;
    int64_t ns[7][STAGES_MAX];
    struct pp_costs costs;
};

static void set_costs(struct subject *x, uint64_t *seed, int64_t most, bool pairs) {
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

static struct subject make_subject(int k, int64_t most, bool pairs, uint64_t *seed) {
    struct subject x = {.s = NULL};
    struct pp_gen_config c = {.rank_count = kinds[k].ranks,
                              .stages_per_rank = kinds[k].v,
                              .microbatch_count = kinds[k].m};
    if (strcmp(kinds[k].name, "Seq1F1B") == 0) {
        c.slice_count = 3;
    }
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_generate(find_schedule(kinds[k].name), &c, &x.s, &err), PP_OK, "%s",
                 err.message);
    set_costs(&x, seed, most, pairs);
    return x;
}

static void link_costs(struct subject *x) { /* after it was copied */
    x->costs.f_ns = x->ns[0];
    x->costs.i_ns = x->ns[1];
    x->costs.w_ns = x->ns[2];
    x->costs.b_ns = x->ns[3];
    x->costs.recv_f_ns = x->costs.recv_b_ns = x->ns[4];
    x->costs.offload_ns = x->ns[5];
    x->costs.pair_ns = x->costs.pair_ns == NULL ? NULL : x->ns[6];
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

static struct pp_vary_figures run(const struct subject *x, const struct pp_vary *vary,
                                  int32_t samples, int32_t threads, int64_t *out) {
    struct pp_vary_figures f;
    struct pp_err err = {0};
    const struct pp_vary_sampling sampling = {.sample_count = samples, .thread_count = threads};
    cr_assert_eq(pp_vary_run(x->s, &x->costs, vary, &sampling, &f, out, &err), PP_OK, "%s",
                 err.message);
    return f;
}

static int64_t makespan(const struct subject *x, const int64_t *duration_ns,
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

/* ---- the same bytes everywhere ---- */

Test(vary, samples_are_the_same_bytes_for_any_thread_count_and_compiler) {
    struct pp_sha256 all;
    pp_sha256_begin(&all);
    for (int k = 0; k < KINDS; k++) {
        uint64_t seed = 5;
        struct subject x = make_subject(k, 1000000, k % 2 == 1, &seed);
        link_costs(&x);
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
        struct subject x = make_subject(k, 1000000, k % 2 == 0, &seed);
        link_costs(&x);
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

/* ---- what a duration is made of ---- */

struct drawn {
    int64_t duration_ns[ACTIONS_MAX], transfer_ns[ACTIONS_MAX];
};

static void draw(const struct subject *x, const struct pp_vary *vary, int32_t sample,
                 struct drawn *d) {
    struct pp_err err = {0};
    cr_assert_eq(pp_vary_draw(x->s, &x->costs, vary, sample, d->duration_ns, d->transfer_ns, &err),
                 PP_OK, "%s", err.message);
}

/* x * factor to nearest, by long division. */
static int64_t rounded(int64_t x, int64_t factor) {
    __int128 product = (__int128)x * factor;
    int64_t whole = (int64_t)(product / ONE);
    return whole + ((int64_t)(product % ONE) * 2 >= ONE);
}

static int32_t microbatch_of(const struct pp_sched *s, const struct pp_action *a) {
    int32_t own = a->microbatch / s->slice_count;
    return a->stage < s->part_count ? own : own + s->microbatch_count / s->slice_count;
}

static int64_t cost_of(const struct subject *x, const struct pp_action *a) {
    if (a->pair != 0 && x->costs.pair_ns != NULL) {
        return a->pair == 1 ? x->ns[6][a->stage] : 0;
    }
    return pp_action_is_offload(a) ? x->ns[5][a->stage] : x->ns[a->type][a->stage];
}

/* Durations of 1 show the factors of one kind of variation at a time; the duration under all kinds
 * is their product, rounded after each. */
static void expect_products(int k, uint64_t *seed, int32_t sample) {
    static struct drawn rank, slow, stage, microbatch, action, straggling, all;
    struct pp_vary v = everything;
    struct subject one = make_subject(k, ONE, false, seed);
    link_costs(&one);
    v.seed = next_random(seed);
    draw(&one, &(struct pp_vary){.seed = v.seed, .rank_sd = v.rank_sd}, sample, &rank);
    draw(&one,
         &(struct pp_vary){.seed = v.seed,
                           .rank_straggler_chance = v.rank_straggler_chance,
                           .rank_straggler_factor = v.rank_straggler_factor},
         sample, &slow);
    draw(&one, &(struct pp_vary){.seed = v.seed, .stage_sd = v.stage_sd}, sample, &stage);
    draw(&one, &(struct pp_vary){.seed = v.seed, .microbatch_sd = v.microbatch_sd}, sample,
         &microbatch);
    draw(&one, &(struct pp_vary){.seed = v.seed, .action_sd = v.action_sd}, sample, &action);
    draw(&one,
         &(struct pp_vary){.seed = v.seed,
                           .straggler_chance = v.straggler_chance,
                           .straggler_factor = v.straggler_factor},
         sample, &straggling);
    int64_t weight[64];
    cr_assert_leq(pp_vary_microbatches(one.s), 64);
    for (int i = 0; i < 64; i++) {
        weight[i] = i % 5 == 0 ? 0 : (int64_t)(next_random(seed) % (uint64_t)(3 * ONE));
    }
    v.microbatch_weight = weight;
    for (int pairs = 0; pairs < 2; pairs++) {
        struct subject x =
            make_subject(k, (int64_t)1 << (10 + next_random(seed) % 25), pairs == 1, seed);
        link_costs(&x);
        draw(&x, &v, sample, &all);
        for (int32_t at = 0; at < x.s->action_count; at++) {
            const struct pp_action *a = &x.s->actions[at];
            int64_t own = rounded(weight[microbatch_of(x.s, a)], microbatch.duration_ns[at]);
            int64_t ns = rounded(cost_of(&x, a), rank.duration_ns[at]);
            ns = rounded(rounded(ns, slow.duration_ns[at]), stage.duration_ns[at]);
            ns = rounded(rounded(ns, own), action.duration_ns[at]);
            ns = rounded(ns, straggling.duration_ns[at]);
            cr_assert_eq(all.duration_ns[at], ns, "%s action %d: %lld, expected %lld",
                         kinds[k].name, at, (long long)all.duration_ns[at], (long long)ns);
            bool forward = a->type == PP_F;
            bool arrives = forward || a->type == PP_I || a->type == PP_B;
            int64_t plain = arrives ? pp_costs_transfer_ns(&x.costs, x.s, forward, a->stage) : 0;
            bool arrived = arrives && action.transfer_ns[at] > 0;
            cr_assert_eq(all.transfer_ns[at], arrived ? rounded(plain, action.transfer_ns[at]) : 0);
            cr_assert(arrived || plain == 0);
        }
        pp_sched_destroy(x.s);
    }
    pp_sched_destroy(one.s);
}

Test(vary, durations_are_products_of_factors_rounded_after_each) {
    uint64_t seed = 7;
    for (int round = 0; round < 10; round++) {
        for (int k = 0; k < KINDS; k++) {
            expect_products(k, &seed, round * 1000);
        }
    }
}

/* Factors of one kind, at duration 1: equal where `key` is equal, else not. */
typedef int64_t key_of_action(const struct pp_sched *s, int32_t at);

static int64_t by_rank(const struct pp_sched *s, int32_t at) {
    return s->stage_rank[s->actions[at].stage];
}
static int64_t by_stage(const struct pp_sched *s, int32_t at) {
    return s->actions[at].stage;
}
static int64_t by_microbatch(const struct pp_sched *s, int32_t at) {
    return microbatch_of(s, &s->actions[at]);
}
static int64_t by_action(const struct pp_sched *s, int32_t at) {
    (void)s;
    return at;
}

static void expect_grouped(const struct pp_vary *vary, key_of_action *key) {
    static struct drawn d;
    uint64_t seed = 8;
    for (int k = 0; k < KINDS; k++) {
        struct subject x = make_subject(k, ONE, false, &seed);
        link_costs(&x);
        draw(&x, vary, 3, &d);
        int clashes = 0;
        for (int32_t a = 0; a < x.s->action_count; a++) {
            for (int32_t b = 0; b < a; b++) {
                bool same = d.duration_ns[a] == d.duration_ns[b];
                bool expected = key(x.s, a) == key(x.s, b);
                cr_assert(same || !expected, "%s: actions %d and %d", kinds[k].name, a, b);
                clashes += same && !expected;
            }
        }
        cr_assert_lt(clashes, 12, "%s: %d", kinds[k].name, clashes); /* by chance, of 2^18 */
        pp_sched_destroy(x.s);
    }
}

Test(vary, each_kind_of_jitter_is_about_its_own_thing) {
    expect_grouped(&(struct pp_vary){.rank_sd = ONE / 5}, by_rank);
    expect_grouped(&(struct pp_vary){.stage_sd = ONE / 5}, by_stage);
    expect_grouped(&(struct pp_vary){.microbatch_sd = ONE / 5}, by_microbatch);
    expect_grouped(&(struct pp_vary){.action_sd = ONE / 5}, by_action);
}

Test(vary, an_action_has_the_same_luck_in_any_schedule) {
    uint64_t seed = 9;
    struct subject x[2] = {{.s = make_schedule("GPipe", 4, 1, 8)},
                           {.s = make_schedule("1F1B", 4, 1, 8)}};
    static struct drawn d[2];
    for (int i = 0; i < 2; i++) {
        set_costs(&x[i], &seed, ONE, false);
        draw(&x[i], &everything, 11, &d[i]);
    }
    int found = 0;
    int moved = 0;
    for (int32_t a = 0; a < x[0].s->action_count; a++) {
        for (int32_t b = 0; b < x[1].s->action_count; b++) {
            const struct pp_action *p = &x[0].s->actions[a];
            const struct pp_action *q = &x[1].s->actions[b];
            if (p->type == q->type && p->stage == q->stage && p->microbatch == q->microbatch) {
                cr_assert_eq(d[0].duration_ns[a], d[1].duration_ns[b]);
                cr_assert_eq(d[0].transfer_ns[a], d[1].transfer_ns[b]);
                found++;
                moved += a != b;
            }
        }
    }
    cr_assert_eq(found, x[0].s->action_count);
    cr_assert_gt(moved, 0);
    pp_sched_destroy(x[0].s);
    pp_sched_destroy(x[1].s);
}

Test(vary, kinds_of_variation_draw_apart) {
    const struct pp_vary kind[] = {{.rank_sd = ONE / 5},
                                   {.stage_sd = ONE / 5},
                                   {.microbatch_sd = ONE / 5},
                                   {.action_sd = ONE / 5}};
    static struct drawn d[4];
    uint64_t seed = 19;
    struct subject x = {.s = make_schedule("1F1B", 4, 1, 8)};
    set_costs(&x, &seed, ONE, false);
    for (int32_t sample = 0; sample < 10; sample++) {
        for (int i = 0; i < 4; i++) {
            draw(&x, &kind[i], sample, &d[i]);
        }
        for (int32_t at = 0; at < x.s->action_count; at++) { /* 0F0, too: all numbers 0 */
            for (int i = 0; i < 4; i++) {
                cr_assert_neq(d[i].duration_ns[at], d[(i + 1) % 4].duration_ns[at]);
                cr_assert_neq(d[i].duration_ns[at], d[(i + 2) % 4].duration_ns[at]);
            }
            cr_assert_neq(d[3].duration_ns[at], d[3].transfer_ns[at]);
        }
    }
    pp_sched_destroy(x.s);
}

Test(vary, what_has_no_chance_never_happens) {
    const struct pp_vary vary = {
        .action_sd = 1, .straggler_factor = 2 * ONE, .rank_straggler_factor = 2 * ONE};
    static struct drawn d;
    uint64_t seed = 20;
    struct subject x = {.s = make_schedule("1F1B", 4, 1, 500)};
    set_costs(&x, &seed, ONE, false);
    for (int32_t sample = 0; sample < 3000; sample += CASE_STEP) { /* of 2^20 one draws 0 */
        draw(&x, &vary, sample, &d);
        for (int32_t at = 0; at < x.s->action_count; at++) {
            cr_assert_lt(d.duration_ns[at], ONE + 10);
        }
    }
    pp_sched_destroy(x.s);
}

/* Mean and deviation of one action's factor over many samples. */
static void expect_moments(const struct pp_vary *vary, double mean, double sd) {
    enum { DRAWS = 20000 };
    static struct drawn d;
    uint64_t seed = 10;
    struct subject x = {.s = make_schedule("1F1B", 2, 1, 2)};
    set_costs(&x, &seed, ONE, false);
    double sum = 0;
    double squares = 0;
    for (int32_t i = 0; i < DRAWS; i++) {
        draw(&x, vary, i, &d);
        double f = (double)d.duration_ns[3] / ONE;
        sum += f;
        squares += f * f;
    }
    double m = sum / DRAWS;
    cr_assert_float_eq(m, mean, 4 * sd / sqrt(DRAWS), "mean %g, expected %g", m, mean);
    double deviation = sqrt(squares / DRAWS - m * m);
    cr_assert_float_eq(deviation, sd, 0.04 * sd, "deviation %g, expected %g", deviation, sd);
    pp_sched_destroy(x.s);
}

Test(vary, factors_have_the_mean_and_deviation_asked_for) {
    expect_moments(&(struct pp_vary){.seed = 1, .rank_sd = ONE / 10}, 1, 0.1);
    expect_moments(&(struct pp_vary){.seed = 2, .stage_sd = ONE / 10}, 1, 0.1);
    expect_moments(&(struct pp_vary){.seed = 3, .microbatch_sd = ONE / 10}, 1, 0.1);
    expect_moments(&(struct pp_vary){.seed = 4, .action_sd = ONE / 10}, 1, 0.1);
    /* max(0, 1 + z): mean Phi(1) + phi(1), second moment 2 Phi(1) + phi(1) */
    double mean = 1 - tail(1) + exp(-0.5) / sqrt(2 * acos(-1.0));
    double second = 2 * (1 - tail(1)) + exp(-0.5) / sqrt(2 * acos(-1.0));
    expect_moments(&(struct pp_vary){.seed = 5, .action_sd = ONE}, mean,
                   sqrt(second - mean * mean));
    /* one in four takes three times as long */
    struct pp_vary slow = {.seed = 6, .straggler_chance = ONE / 4, .straggler_factor = 3 * ONE};
    expect_moments(&slow, 1.5, 2 * sqrt(0.25 * 0.75));
    struct pp_vary ranks = {
        .seed = 7, .rank_straggler_chance = ONE / 4, .rank_straggler_factor = 3 * ONE};
    expect_moments(&ranks, 1.5, 2 * sqrt(0.25 * 0.75));
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
        struct subject x = make_subject(k / 2, 1000000, k % 2 == 1, &seed);
        link_costs(&x);
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
        struct subject x = make_subject(k, 1000000, k % 2 == 0, &seed);
        link_costs(&x);
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
        struct subject x = make_subject(k, 1000000, false, &seed);
        link_costs(&x);
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
        struct subject x = make_subject((int)c % KINDS, c % 3 == 0 ? 3 : 1000000, false, &seed);
        link_costs(&x);
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

static struct subject simple_subject(int64_t ns) {
    uint64_t seed = 18;
    struct subject x = {.s = make_schedule("1F1B", 2, 1, 3)};
    set_costs(&x, &seed, 0, false);
    for (int i = 0; i < 7; i++) {
        for (int32_t k = 0; k < x.s->stage_count; k++) {
            x.ns[i][k] = ns;
        }
    }
    return x;
}

static void expect_refused(struct subject *x, const struct pp_vary *vary, int32_t samples,
                           const char *words) {
    struct pp_err err = {0};
    struct pp_vary_figures f = {.mean_ns = -1};
    int64_t out[1] = {-1};
    const struct pp_vary_sampling sampling = {.sample_count = samples, .thread_count = 2};
    link_costs(x);
    cr_assert_eq(pp_vary_run(x->s, &x->costs, vary, &sampling, &f, out, &err), PP_E_RANGE, "%s",
                 words);
    cr_assert(strstr(err.message, words) != NULL, "\"%s\" lacks \"%s\"", err.message, words);
    cr_assert(f.mean_ns == -1 && out[0] == -1, "outputs are written only on success");
}

Test(vary, fields_out_of_range_are_named) {
    struct subject x = simple_subject(1000);
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
    struct subject x = simple_subject(PP_COST_MAX_NS);
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
    x = simple_subject(PP_COST_MAX_NS);
    link_costs(&x);
    struct pp_vary_figures f = run(&x, &(struct pp_vary){0}, 3, 2, NULL);
    cr_assert_eq(f.mean_ns, makespan(&x, NULL, NULL));
    pp_sched_destroy(x.s);
}

/* What is too long for the clock half way may come to fit again. */
Test(vary, products_are_exact_beyond_the_clock) {
    struct subject x = simple_subject(PP_COST_MAX_NS - 12345);
    const int64_t weight[] = {ONE / 1024, 0, 3};
    struct pp_vary v = {.rank_straggler_chance = ONE,
                        .rank_straggler_factor = 1000 * ONE,
                        .microbatch_weight = weight};
    static struct drawn d;
    link_costs(&x);
    draw(&x, &v, 0, &d);
    for (int32_t at = 0; at < x.s->action_count; at++) {
        int64_t base = (PP_COST_MAX_NS - 12345) * 1000;
        cr_assert_eq(d.duration_ns[at], rounded(base, weight[x.s->actions[at].microbatch]));
    }
    pp_sched_destroy(x.s);
    for (int64_t factor = ONE / 2; factor < 1000 * ONE; factor = factor * 5 / 4 + 1) {
        for (int64_t ns = 1; ns <= PP_COST_MAX_NS; ns = ns * 3 / 2 + 1) {
            const int64_t weights[] = {factor, factor, factor};
            x = simple_subject(ns);
            link_costs(&x);
            v = (struct pp_vary){.microbatch_weight = weights};
            bool fits = rounded(ns, factor) <= PP_COST_MAX_NS;
            cr_assert_eq(pp_vary_draw(x.s, &x.costs, &v, 0, d.duration_ns, d.transfer_ns, NULL),
                         fits ? PP_OK : PP_E_RANGE, "%lld * %lld", (long long)ns,
                         (long long)factor);
            cr_assert(!fits || d.duration_ns[0] == rounded(ns, factor));
            pp_sched_destroy(x.s);
        }
    }
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
    struct subject x = simple_subject(1000);
    link_costs(&x);
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
