/* A batch gives what pp_eval_run and pp_metrics_of give, bit for bit, whatever the instructions. */
#include "sim/batch.h"
#include "sim/metrics.h"
#include "tests/sim/random_sched.h"

enum { SETS = 20, STAGES = 64 };

struct cost_set {
    int64_t f[STAGES], i[STAGES], w[STAGES], b[STAGES], pair[STAGES], recv_f[STAGES],
        recv_b[STAGES];
};

static void draw_costs(struct cost_set *c, struct pp_costs *costs, uint64_t *seed, bool pairs) {
    int64_t scale = random_below(seed, 8) == 0 ? PP_COST_MAX_NS / 2000 : 1;
    bool transfers = random_below(seed, 4) != 0;
    for (int32_t s = 0; s < STAGES; s++) {
        c->f[s] = scale * random_below(seed, 1000);
        c->i[s] = scale * random_below(seed, 1000);
        c->w[s] = scale * random_below(seed, 1000);
        c->b[s] = scale * random_below(seed, 2000);
        c->pair[s] = scale * random_below(seed, 2000);
        c->recv_f[s] = scale * random_below(seed, 300);
        c->recv_b[s] = scale * random_below(seed, 300);
    }
    *costs = (struct pp_costs){.f_ns = c->f,
                               .i_ns = c->i,
                               .w_ns = c->w,
                               .b_ns = c->b,
                               .pair_ns = pairs ? c->pair : NULL,
                               .recv_f_ns = transfers ? c->recv_f : NULL,
                               .recv_b_ns = transfers ? c->recv_b : NULL};
}

static const enum pp_simd kinds[] = {PP_SIMD_BEST, PP_SIMD_NONE, PP_SIMD_AVX2, PP_SIMD_AVX512};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* What one evaluation after the other gives. */
static void expect_results(const struct pp_sched *s, const struct pp_costs *costs, int32_t count,
                           const struct pp_batch_result *results) {
    struct pp_eval *e = NULL;
    struct pp_trace t;
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    for (int32_t i = 0; i < count; i++) {
        struct pp_metrics m;
        cr_assert_eq(pp_eval_run(e, &costs[i], &t, NULL), PP_OK);
        pp_metrics_of(&t, &m, NULL);
        cr_assert_eq(results[i].makespan_ns, m.makespan_ns, "set %d of %d", i, count);
        cr_assert_eq(results[i].span_ns, m.span_ns, "set %d of %d", i, count);
        cr_assert_eq(results[i].max_busy_ns, m.max_busy_ns, "set %d of %d", i, count);
        cr_assert_eq(results[i].total_busy_ns, m.total_busy_ns, "set %d of %d", i, count);
    }
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
}

/* Batches of every kind of instructions, each used twice. @return kinds that the processor has */
static int expect_same(const struct pp_sched *s, uint64_t *seed) {
    static struct cost_set sets[SETS];
    struct pp_costs costs[SETS];
    struct pp_batch_result results[SETS];
    bool pairs = random_below(seed, 2) == 0;
    int tried = 0;
    for (int k = 0; k < KINDS; k++) {
        struct pp_batch *b = NULL;
        struct pp_err err = {0};
        enum pp_status status = pp_batch_create(s, kinds[k], &b, &err);
        if (status == PP_E_ARG && k >= 2) {
            cr_assert_not_null(strstr(err.message, "this processor has no AVX"));
            continue;
        }
        cr_assert_eq(status, PP_OK, "%s", err.message);
        tried++;
        for (int again = 0; again < 2; again++, pairs = !pairs) {
            int32_t count = 1 + random_below(seed, SETS);
            for (int32_t i = 0; i < count; i++) {
                draw_costs(&sets[i], &costs[i], seed, pairs);
            }
            cr_assert_eq(pp_batch_run(b, costs, count, results, &err), PP_OK, "%s", err.message);
            expect_results(s, costs, count, results);
        }
        pp_batch_destroy(b);
    }
    return tried;
}

Test(batch, figures_are_those_of_one_evaluation_after_the_other) {
    uint64_t seed = 11;
    int tried = 0;
    for (int i = 0; i < 1000; i += CASE_STEP) {
        struct pp_sched *s = draw_schedule(&seed);
        cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
        tried = expect_same(s, &seed);
        pp_sched_destroy(s);
    }
    cr_assert_geq(tried, 2);
    cr_log_info("kinds of instructions: %d", tried);
}

Test(batch, named_schedules_too) {
    uint64_t seed = 12;
    for (int32_t n = 0; n < pp_schedule_count(); n++) {
        const struct pp_schedule_info *info = pp_schedule_at(n);
        int32_t step = info->is_bidirectional ? 2 : 1;
        for (int32_t p = step; p <= 4 && !info->offloads; p += step) {
            struct pp_sched *s =
                make_schedule(info->name, p, info->default_stages_per_rank, 2 * p + 2 * (p == 1));
            expect_same(s, &seed);
            pp_sched_destroy(s);
        }
    }
}

/* Runs longer than the walk lets them be, with and without pairs. */
Test(batch, long_lists_too) {
    static const char *const names[] = {"GPipe", "1F1B", "1F1BOverlap"};
    uint64_t seed = 13;
    for (int n = 0; n < 3; n++) {
        struct pp_sched *s = make_schedule(names[n], 3, 1, 500);
        expect_same(s, &seed);
        pp_sched_destroy(s);
    }
}

Test(batch, costs_out_of_range_are_refused_with_the_set) {
    static struct cost_set sets[3];
    struct pp_costs costs[3];
    struct pp_batch_result results[3];
    struct pp_batch *b = NULL;
    struct pp_err err = {0};
    uint64_t seed = 14;
    struct pp_sched *s = make_schedule("1F1B", 2, 1, 4);
    cr_assert_eq(pp_batch_create(s, PP_SIMD_BEST, &b, NULL), PP_OK);
    for (int i = 0; i < 3; i++) {
        draw_costs(&sets[i], &costs[i], &seed, false);
        costs[i].recv_f_ns = sets[i].recv_f;
    }
    cr_assert_eq(pp_batch_run(b, costs, 3, results, &err), PP_OK);
    sets[1].b[1] = PP_COST_MAX_NS + 1;
    cr_assert_eq(pp_batch_run(b, costs, 3, results, &err), PP_E_RANGE);
    cr_assert_not_null(strstr(err.message, "cost set 1: B of stage 1"), "%s", err.message);
    cr_assert_eq(pp_batch_run(b, costs, 1, results, &err), PP_OK);
    sets[1].b[1] = 0;
    sets[2].recv_f[1] = -1;
    cr_assert_eq(pp_batch_run(b, costs, 3, results, &err), PP_E_RANGE);
    cr_assert_not_null(strstr(err.message, "cost set 2: transfer of stage 1"), "%s", err.message);
    sets[2].recv_f[1] = 0;
    sets[2].recv_f[0] = -1; /* nobody is charged */
    cr_assert_eq(pp_batch_run(b, costs, 3, results, &err), PP_OK, "%s", err.message);
    costs[2].pair_ns = sets[2].pair;
    cr_assert_eq(pp_batch_run(b, costs, 3, results, &err), PP_E_ARG);
    costs[0].pair_ns = costs[1].pair_ns = sets[2].pair;
    cr_assert_eq(pp_batch_run(b, costs, 3, results, &err), PP_OK);
    sets[2].pair[0] = -1;
    cr_assert_eq(pp_batch_run(b, costs, 3, results, &err), PP_E_RANGE);
    cr_assert_not_null(strstr(err.message, "cost set 0: pair of stage 0"), "%s", err.message);
    pp_batch_destroy(b);
    pp_sched_destroy(s);
}

Test(batch, deadlocks_and_transfers_to_the_host_are_refused) {
    struct pp_batch *b = NULL;
    struct pp_err err = {0};
    struct pp_sched *s = parse_csv("1F0,0F0,0B0,1B0\r\n", &err);
    if (s != NULL) {
        cr_assert_eq(pp_batch_create(s, PP_SIMD_BEST, &b, &err), PP_E_DEADLOCK);
        cr_assert_neq(err.message[0], '\0');
        pp_sched_destroy(s);
    }
    cr_assert_not_null(s);
    s = make_schedule("PipeOffload", 4, 2, 8);
    cr_assert_eq(pp_batch_create(s, PP_SIMD_BEST, &b, &err), s->reload != NULL ? PP_E_ARG : PP_OK);
    cr_assert_not_null(s->reload);
    pp_sched_destroy(s);
    cr_assert_null(b);
}
