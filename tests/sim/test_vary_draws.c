/* What is drawn: normal numbers, factors, the durations that they make. */
#include "sim/vary_normal.h"
#include "tests/sim/vary_support.h"

#include <math.h>

/* ---- normal draws ---- */

static double draw_of(uint64_t bits) {
    double z = (double)pp_vary_normal(bits) / (1 << PP_VARY_Z_SHIFT);
    return bits >> 63 == 0 ? z : -z;
}

/* Upper tail probability. */
static double tail(double z) {
    return 0.5 * erfc(z / sqrt(2.0));
}

Test(vary_draws, normal_draws_have_mean_0_variance_1_and_the_normal_quantiles) {
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
Test(vary_draws, a_normal_draw_is_the_quantile_of_its_bits) {
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

Test(vary_draws, the_variance_of_the_table_is_1) {
    double variance = 0;
    for (uint64_t i = 0; i < 1 << 20; i++) { /* even steps of the tail probability */
        double z = draw_of((2 * i + 1) << 42);
        variance += z * z / (1 << 20);
    }
    cr_assert_float_eq(variance, 1.0, 1e-4);
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
    struct subject one;
    make_subject(&one, k, ONE, false, seed);
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
        struct subject x;
        make_subject(&x, k, (int64_t)1 << (10 + next_random(seed) % 25), pairs == 1, seed);
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

Test(vary_draws, durations_are_products_of_factors_rounded_after_each) {
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
        struct subject x;
        make_subject(&x, k, ONE, false, &seed);
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

Test(vary_draws, each_kind_of_jitter_is_about_its_own_thing) {
    expect_grouped(&(struct pp_vary){.rank_sd = ONE / 5}, by_rank);
    expect_grouped(&(struct pp_vary){.stage_sd = ONE / 5}, by_stage);
    expect_grouped(&(struct pp_vary){.microbatch_sd = ONE / 5}, by_microbatch);
    expect_grouped(&(struct pp_vary){.action_sd = ONE / 5}, by_action);
}

Test(vary_draws, an_action_has_the_same_luck_in_any_schedule) {
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

Test(vary_draws, kinds_of_variation_draw_apart) {
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

Test(vary_draws, what_has_no_chance_never_happens) {
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

Test(vary_draws, factors_have_the_mean_and_deviation_asked_for) {
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

/* What is too long for the clock half way may come to fit again. */
Test(vary_draws, products_are_exact_beyond_the_clock) {
    struct subject x;
    simple_subject(&x, PP_COST_MAX_NS - 12345);
    const int64_t weight[] = {ONE / 1024, 0, 3};
    struct pp_vary v = {.rank_straggler_chance = ONE,
                        .rank_straggler_factor = 1000 * ONE,
                        .microbatch_weight = weight};
    static struct drawn d;
    draw(&x, &v, 0, &d);
    for (int32_t at = 0; at < x.s->action_count; at++) {
        int64_t base = (PP_COST_MAX_NS - 12345) * 1000;
        cr_assert_eq(d.duration_ns[at], rounded(base, weight[x.s->actions[at].microbatch]));
    }
    pp_sched_destroy(x.s);
    for (int64_t factor = ONE / 2; factor < 1000 * ONE; factor = factor * 5 / 4 + 1) {
        for (int64_t ns = 1; ns <= PP_COST_MAX_NS; ns = ns * 3 / 2 + 1) {
            const int64_t weights[] = {factor, factor, factor};
            simple_subject(&x, ns);
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
