/* Many flushes, most of which are not run one by one. */
#include "tests/sim/step_support.h"

Test(step_flushes, many_flushes_are_those_that_explicit_ones_give) {
    uint64_t seed = 44;
    static struct figures c;
    for (int i = 0; i < 120; i += CASE_STEP) {
        struct pp_sched *s = draw_offloading_schedule(&seed);
        struct bench b = bench_of(s);
        draw_figures(&c, &seed, i % 2 == 0 ? 5 : 300);
        c.in.flush_count = PP_STEP_MAX_FLUSHES + 1 + random_below(&seed, 30);
        cr_assert(expect_slow(&b, &c, "many"));
        bench_free(&b);
        pp_sched_destroy(s);
    }
}

/* Two pipelines on two ranks, where a rank is through `lag` later than the other allows, and each
 * flush hands the head start of one to the other: it takes two flushes to come round. */
Test(step_flushes, a_head_start_that_changes_hands) {
    static const char order[] = "0F0,3F0,3I0,3W0,0I0,0W0\n2F0,1F0,1I0,1W0,2I0,2W0\n";
    static struct figures c;
    struct pp_csv_expect expect = {.is_bidirectional = true};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_csv_parse("x", order, strlen(order), &expect, &s, &err), PP_OK, "%s",
                 err.message);
    struct bench b = bench_of(s);
    c = (struct figures){.f = {3, 2, 3, 2},
                         .i = {2, 2, 2, 2},
                         .w = {1, 20, 1, 20},
                         .b = {0},
                         .recv_f = {5, 5, 5, 5},
                         .recv_b = {5, 5, 5, 5},
                         .unshard = {0, 0, 3, 0}};
    c.costs = (struct pp_costs){.f_ns = c.f,
                                .i_ns = c.i,
                                .w_ns = c.w,
                                .b_ns = c.b,
                                .recv_f_ns = c.recv_f,
                                .recv_b_ns = c.recv_b};
    c.in = (struct pp_step_inputs){
        .unshard_ns = c.unshard, .reduce_ns = c.reduce, .optimizer_ns = c.optimizer};
    for (int32_t n = 1; n <= 24; n++) {
        for (int32_t reduction = 0; reduction < 45; reduction++) {
            for (int32_t g = 0; g < 4; g++) {
                c.reduce[g] = g % 2 == 0 ? reduction / 3 : reduction - reduction / 3;
            }
            c.in.flush_count = n;
            c.optimizer[0] = n % 3 == 0 ? 100 : 0; /* so that this rank's lane shows */
            c.in.reduce = (enum pp_reduce)(reduction % 3);
            expect_slow(&b, &c, "changes hands");
        }
    }
    c.in.flush_count = 1000001;
    struct pp_step_times t = run(&b, &c);
    cr_assert_eq(t.flushes_run, 3); /* the third ends as the first, moved by two of 35 */
    cr_assert_eq(t.flushes_ns, 1000001LL * 35 + 3);
    c.in.flush_count = 1000000;
    cr_assert_eq(run(&b, &c).flushes_ns, 1000000LL * 35 + 3);
    bench_free(&b);
    pp_sched_destroy(s);
}

/* A flush as a matrix of longest paths: from when a rank begins to when another is through */

struct paths {
    int32_t n;
    int64_t ns[MOST_RANKS][MOST_RANKS];
};

/* A rank that begins much later than all others decides when every rank is through. */
static struct paths paths_of(struct bench *b, const struct figures *c) {
    const int64_t late = (int64_t)1 << 50;
    struct paths a = {.n = b->s->rank_count};
    for (int32_t from = 0; from < a.n; from++) {
        int64_t begin[MOST_RANKS] = {0};
        begin[from] = late;
        struct pp_eval_inputs in = {.costs = &c->costs, .begin_ns = begin};
        cr_assert_eq(pp_eval_run_with(b->eval, &in, &b->trace, NULL), PP_OK);
        for (int32_t to = 0; to < a.n; to++) {
            a.ns[to][from] = b->trace.end_ns[b->s->rank_begin[to + 1] - 1] - late;
            cr_assert_geq(a.ns[to][from], 0);
        }
    }
    return a;
}

static struct paths then(const struct paths *first, const struct paths *second) {
    struct paths both = {.n = first->n};
    for (int32_t to = 0; to < both.n; to++) {
        for (int32_t from = 0; from < both.n; from++) {
            for (int32_t by = 0; by < both.n; by++) {
                both.ns[to][from] =
                    most_of(both.ns[to][from], first->ns[by][from] + second->ns[to][by]);
            }
        }
    }
    return both;
}

/* Longest of any path through `count` flushes: by squaring, so that errors of a cycle show. */
static int64_t slow_flushes(const struct paths *flush, int64_t count) {
    struct paths power = *flush;
    struct paths sum = {.n = 0};
    for (; count > 0; count /= 2) {
        if (count % 2 != 0) {
            sum = sum.n == 0 ? power : then(&sum, &power);
        }
        power = then(&power, &power);
    }
    int64_t longest = 0;
    for (int32_t to = 0; to < sum.n; to++) {
        for (int32_t from = 0; from < sum.n; from++) {
            longest = most_of(longest, sum.ns[to][from]);
        }
    }
    return longest;
}

Test(step_flushes, a_million_flushes_are_the_millionth_power_of_one) {
    uint64_t seed = 45;
    static struct figures c;
    static const int64_t counts[] = {65, 1000, 999983, 1000000};
    for (int i = 0; i < 1000; i += CASE_STEP) {
        struct pp_sched *s = draw_offloading_schedule(&seed);
        struct bench b = bench_of(s);
        draw_figures(&c, &seed, i % 2 == 0 ? 4 : 1000);
        c.in.unshard_ns = NULL;
        struct paths flush = paths_of(&b, &c);
        c.in.flush_count = counts[i % 4];
        struct pp_step_times t = run(&b, &c);
        cr_assert_lt(t.flushes_run, PP_STEP_MAX_FLUSHES);
        cr_assert_eq(t.flushes_ns, slow_flushes(&flush, c.in.flush_count));
        bench_free(&b);
        pp_sched_destroy(s);
    }
}

/* Nearly even stages of two pipelines: a rank catches up by a few ns a flush. Within the limit it
 * is exact, behind it a bound from above that is as good as even. */
Test(step_flushes, a_step_that_settles_too_late_is_bounded_from_above) {
    uint64_t seed = 46;
    static struct figures c;
    struct pp_sched *s = make_schedule("Chimera", 6, 2, 8);
    struct bench b = bench_of(s);
    int bounded = 0;
    int most = CASE_STEP == 1 ? 4 : 1;
    for (int i = 0; i < 400 && bounded < most; i++) {
        draw_figures(&c, &seed, 1000);
        for (int32_t g = 0; g < MOST_STAGES; g++) {
            c.f[g] = 100000 + random_below(&seed, 20);
            c.b[g] = 180000 + random_below(&seed, 40);
            c.recv_f[g] = c.recv_b[g] = 5000;
            c.unshard[g] = random_below(&seed, 2400000);
        }
        c.in.unshard_ns = c.unshard;
        c.in.flush_count = 80;
        struct pp_step_times t = run(&b, &c);
        if (t.flushes_run < PP_STEP_MAX_FLUSHES) {
            continue;
        }
        struct pp_step_times want = slow_step(s, &c);
        cr_assert(t.flushes_ns >= want.flushes_ns && t.reduced_ns >= want.reduced_ns &&
                  t.step_ns >= want.step_ns);
        cr_assert_lt((double)(t.flushes_ns - want.flushes_ns), 1e-4 * (double)want.flushes_ns);
        cr_assert_lt((double)(t.step_ns - want.step_ns), 1e-4 * (double)want.step_ns);
        bounded++;
    }
    cr_assert_eq(bounded, most);
    bench_free(&b);
    pp_sched_destroy(s);
}
