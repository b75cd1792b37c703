/* A step against a second way of computing it, and by hand. */
#include "tests/sim/step_support.h"

Test(step, random_schedules_step_as_their_flushes_in_one) {
    uint64_t seed = 41;
    static struct figures c;
    int products = 0;
    int cases = 4000 / CASE_STEP;
    for (int i = 0; i < cases; i++) {
        struct pp_sched *s = draw_offloading_schedule(&seed);
        struct bench b = bench_of(s);
        for (int k = 0; k < 3; k++) { /* workspaces are used again */
            draw_figures(&c, &seed, k == 0 ? 4 : 1000);
            c.in.flush_count = 1 + random_below(&seed, 12);
            products += expect_slow(&b, &c, "drawn");
        }
        bench_free(&b);
        pp_sched_destroy(s);
    }
    cr_assert_geq(products, cases);
    cr_log_info("%d steps, %d with a product", 3 * cases, products);
}

Test(step, generated_schedules_step_as_their_flushes_in_one) {
    uint64_t seed = 42;
    static struct figures c;
    int made = 0;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        for (int32_t p = 1; p <= 6; p++) {
            struct pp_gen_config config = {.rank_count = p,
                                           .stages_per_rank = info->default_stages_per_rank,
                                           .microbatch_count = 12};
            struct pp_sched *s = NULL;
            if (pp_schedule_generate(info, &config, &s, NULL) != PP_OK) {
                continue;
            }
            struct bench b = bench_of(s);
            for (int k = 0; k < (CASE_STEP == 1 ? 4 : 1); k++) {
                draw_figures(&c, &seed, 200);
                c.in.flush_count = 1 + random_below(&seed, 12);
                expect_slow(&b, &c, info->name);
            }
            bench_free(&b);
            pp_sched_destroy(s);
            made++;
        }
    }
    cr_assert_geq(made, 60, "%d", made);
}

/* The same through the evaluator: its sweep of the repeated schedule, bare. */
Test(step, flushes_are_the_evaluation_of_the_repeated_schedule) {
    uint64_t seed = 43;
    static struct figures c;
    for (int i = 0; i < 1000 / CASE_STEP; i++) {
        struct pp_sched *s = draw_offloading_schedule(&seed);
        struct bench b = bench_of(s);
        draw_figures(&c, &seed, 1000);
        c.in = (struct pp_step_inputs){.flush_count = 1 + i % 12};
        struct pp_step_times t = run(&b, &c);
        struct pp_trace first = b.trace;
        struct pp_sched *all = NULL;
        cr_assert_eq(pp_sched_repeat(s, 1 + i % 12, &all, NULL), PP_OK);
        struct bench whole = bench_of(all);
        cr_assert_eq(pp_eval_run(whole.eval, &c.costs, &whole.trace, NULL), PP_OK);
        int64_t last = 0;
        for (int32_t at = 0; at < all->action_count; at++) {
            last = most_of(last, whole.trace.end_ns[at]);
        }
        cr_assert(t.flushes_ns == last && t.reduced_ns == last && t.step_ns == last &&
                  t.gathered_ns == 0);
        for (int32_t rank = 0; rank < s->rank_count; rank++) { /* the trace is the first flush's */
            int32_t n = s->rank_begin[rank + 1] - s->rank_begin[rank];
            cr_assert_eq(memcmp(first.start_ns + s->rank_begin[rank],
                                whole.trace.start_ns + all->rank_begin[rank],
                                (size_t)n * sizeof(int64_t)),
                         0);
        }
        bench_free(&whole);
        bench_free(&b);
        pp_sched_destroy(all);
        pp_sched_destroy(s);
    }
}

/* What is multiplied is what more flushes would have given. */
/* ---- by hand ---- */

static struct pp_sched *two_ranks(struct figures *c) {
    struct pp_err err = {0};
    struct pp_sched *s = parse_csv("0F0,0B0\n1F0,1B0\n", &err);
    cr_assert_not_null(s, "%s", err.message);
    *c = (struct figures){
        .f = {1, 1}, .b = {2, 2}, .unshard = {5, 100}, .reduce = {50, 7}, .optimizer = {4, 9}};
    c->costs = (struct pp_costs){.f_ns = c->f, .i_ns = c->i, .w_ns = c->w, .b_ns = c->b};
    c->in = (struct pp_step_inputs){.flush_count = 3,
                                    .unshard_ns = c->unshard,
                                    .reduce_ns = c->reduce,
                                    .optimizer_ns = c->optimizer};
    return s;
}

static void expect_run(struct bench *b, const struct figures *c, struct pp_step_times want,
                       const char *label) {
    struct pp_step_times t = run(b, c);
    expect_times(&t, &want, label);
}

/* A flush lasts 6; stage 1 is there at 100, so rank 0 is through at 105, 111, 117 and rank 1 at
 * 103, 109, 115. */
Test(step, as_written_down) {
    static struct figures c;
    struct pp_sched *s = two_ranks(&c);
    struct bench b = bench_of(s);
    expect_run(&b, &c, (struct pp_step_times){100, 117, 167, 171, 0}, "once");
    c.in.barrier = true;
    expect_run(&b, &c, (struct pp_step_times){100, 117, 167, 176, 0}, "once, barrier");
    c.in.reduce = PP_REDUCE_FLUSH; /* rank 0: 105, 155, 205, 255; rank 1: 103, 110, 117, 124 */
    expect_run(&b, &c, (struct pp_step_times){100, 117, 255, 264, 0}, "each flush");
    c.in.barrier = false;
    c.optimizer[1] = 140;
    expect_run(&b, &c, (struct pp_step_times){100, 117, 255, 264, 0}, "rank 1 ends last");
    c.in.flush_count = 1000000;
    expect_run(&b, &c, (struct pp_step_times){100, 6000099, 50000105, 50000109, 0}, "many");
    c.reduce[0] = 3;
    expect_run(&b, &c, (struct pp_step_times){100, 6000099, 7000103, 7000243, 0}, "rank 1's lane");
    c.reduce[1] = 4;
    expect_run(&b, &c, (struct pp_step_times){100, 6000099, 6000102, 6000241, 0}, "lanes idle");
    c.in.reduce_ns = NULL;
    c.in.optimizer_ns = NULL;
    expect_run(&b, &c, (struct pp_step_times){100, 6000099, 6000099, 6000099, 0}, "bare");
    c.in.unshard_ns = NULL;
    expect_run(&b, &c, (struct pp_step_times){0, 6000000, 6000000, 6000000, 0}, "nothing else");
    bench_free(&b);
    pp_sched_destroy(s);
}

static void expect_refused(struct bench *b, const struct figures *c, const char *word) {
    struct pp_step_times t = {.step_ns = 77};
    struct pp_err err = {0};
    cr_expect_eq(pp_step_run(b->step, b->eval, &c->costs, &c->in, &b->trace, &t, &err), PP_E_RANGE);
    cr_expect_not_null(strstr(err.message, word), "%s: %s", word, err.message);
    cr_expect_eq(t.step_ns, 77, "outputs only on success");
}

Test(step, what_does_not_fit_is_refused) {
    static struct figures c;
    struct pp_sched *s = two_ranks(&c);
    struct bench b = bench_of(s);
    const struct figures good = c;
    static const int64_t none[] = {0, -1, INT64_MIN};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        c.in.flush_count = none[i];
        expect_refused(&b, &c, "flushes of a step");
    }
    int64_t *const figures[] = {&c.unshard[1], &c.reduce[1], &c.optimizer[1], &c.f[1]};
    static const char *const words[] = {"gather of stage 1", "reduction of stage 1",
                                        "optimizer of rank 1", "stage 1"};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        int64_t kept = *figures[i];
        c.in.flush_count = 3;
        *figures[i] = -1;
        expect_refused(&b, &c, words[i]);
        *figures[i] = PP_COST_MAX_NS + 1;
        expect_refused(&b, &c, words[i]);
        *figures[i] = kept;
    }
    /* flushes, reductions after each of them, and both at the very end of the clock */
    static const int64_t counts[] = {INT64_MAX, INT64_MAX / 6, INT64_MAX / 4 / 6 + 1};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        for (c.in.reduce = PP_REDUCE_STEP; c.in.reduce <= PP_REDUCE_MICROBATCH; c.in.reduce++) {
            c.in.flush_count = counts[i];
            expect_refused(&b, &c, "does not fit the clock");
        }
    }
    c.reduce[0] = c.reduce[1] = PP_COST_MAX_NS;
    c.in.flush_count = ((int64_t)1 << 23) + 1;
    c.in.reduce = PP_REDUCE_FLUSH;
    expect_refused(&b, &c, "does not fit the clock");
    c.in.flush_count = ((int64_t)1 << 25) - 1; /* a product that an int64_t just holds */
    c.unshard[0] = c.unshard[1] = PP_COST_MAX_NS;
    expect_refused(&b, &c, "does not fit the clock");
    c.unshard[0] = 5;
    c.unshard[1] = 100;
    c.in.reduce = PP_REDUCE_STEP;
    c.in.flush_count = (int64_t)1 << 23;
    struct pp_step_times t = run(&b, &c);
    cr_expect_eq(t.flushes_ns, 99 + 6 * c.in.flush_count);
    cr_expect_eq(t.reduced_ns, t.flushes_ns + PP_COST_MAX_NS);
    c = good;
    bench_free(&b);
    pp_sched_destroy(s);
}

/* Costs as large as they may be, of as many actions as there may be. */
Test(step, the_largest_costs_stay_within_the_clock) {
    static int64_t most[2] = {PP_COST_MAX_NS, PP_COST_MAX_NS};
    struct pp_costs costs = {.f_ns = most,
                             .i_ns = most,
                             .w_ns = most,
                             .b_ns = most,
                             .recv_f_ns = most,
                             .recv_b_ns = most};
    struct pp_sched *s = make_schedule("GPipe", 2, 1, 1 << (CASE_STEP == 1 ? 20 : 14));
    struct bench b = bench_of(s);
    struct pp_step_inputs in = {.unshard_ns = most, .reduce_ns = most, .optimizer_ns = most};
    struct pp_step_times t;
    struct pp_err err = {0};
    for (in.reduce = PP_REDUCE_STEP; in.reduce <= PP_REDUCE_MICROBATCH; in.reduce++) {
        for (in.flush_count = 1; in.flush_count < 20; in.flush_count += 6) {
            enum pp_status status = pp_step_run(b.step, b.eval, &costs, &in, &b.trace, &t, &err);
            cr_expect(status == PP_OK ? t.step_ns > 0 : status == PP_E_RANGE, "%s", err.message);
        }
    }
    bench_free(&b);
    pp_sched_destroy(s);
}
