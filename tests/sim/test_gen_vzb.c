/* VZB against the zero-bubble authors' search (sail.tsv), their published table, the closed form,
 * and its own promises for any costs and limits. */
#include "sim/bounds.h"
#include "tests/sim/sail_support.h"

static bool is_zbv(const struct sail_row *row, struct sail_schedule *ours) {
    *ours = (struct sail_schedule){.schedule = "VZB"};
    return strcmp(row->scheduler, "sail/zbv") == 0;
}

Test(gen_vzb, no_row_of_the_authors_search_is_shorter) {
    struct sail_tally tally = {.of = is_zbv,
                               .most_actions = getenv("PP_TEST_ALL") != NULL ? 0 : 512};
    sail_compare_all("VZB", &tally);
}

/* The paper's span bubbles, Table 8: ranks, microbatches, F, I, W and transfer of a rank in ns,
 * units of memory that F adds and W frees. */
static const struct published {
    int32_t p, m;
    int64_t f_ns, i_ns, w_ns, p2p_ns, adds, w_frees;
    double bubble;
} published[] = {
    {16, 48, 28814, 28760, 19352, 1610, 303104, 131072, .0697},
    {16, 64, 28824, 28786, 19376, 1621, 303104, 131072, .0533},
    {16, 128, 28632, 28612, 19278, 1619, 303104, 131072, .0274},
    {24, 72, 13526, 13938, 10502, 755, 378880, 163840, .0638},
    {24, 96, 13566, 13968, 10518, 758, 378880, 163840, .0483},
    {24, 192, 13570, 13980, 10520, 770, 378880, 163840, .0250},
    {32, 96, 18916, 19496, 14576, 879, 454656, 196608, .0593},
    {32, 128, 18938, 19488, 14612, 892, 454656, 196608, .0451},
    {32, 256, 18894, 19288, 14386, 887, 454656, 196608, .0236},
};

Test(gen_vzb, published_bubbles_to_four_digits_or_better) {
    int better = 0;
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++) {
        const struct published *t = &published[i];
        if (t->p * t->m > 2048 / (CASE_STEP > 1 ? 4 : 1)) {
            continue; /* as long as all others together */
        }
        struct sail_row row = {.scheduler = "published",
                               .p = t->p,
                               .m = t->m,
                               .f_ns = t->f_ns * SAIL_UNIT_NS,
                               .i_ns = t->i_ns * SAIL_UNIT_NS,
                               .w_ns = t->w_ns * SAIL_UNIT_NS,
                               .p2p_ns = t->p2p_ns * SAIL_UNIT_NS,
                               .mem_w = {t->w_frees, t->adds}};
        struct sail_result r = sail_run(&row, &(struct sail_schedule){.schedule = "VZB"});
        double bubble = 1 - (double)(t->m * (row.f_ns + row.i_ns + row.w_ns)) / r.span_ns;
        cr_expect_lt(bubble, t->bubble + .00005, "p %d m %d: %.6f", t->p, t->m, bubble);
        cr_expect_leq(r.peak, t->p + 1e-9);
        better += bubble < t->bubble - .00005;
    }
    cr_log_info("published bubbles: %d better", better);
}

Test(gen_vzb, unit_costs_leave_no_span_bubble) {
    for (int32_t p = 4; p <= 32; p *= 2) {
        struct sail_row row = {.scheduler = "unit",
                               .p = p,
                               .m = 4 * p,
                               .f_ns = SAIL_UNIT_NS,
                               .i_ns = SAIL_UNIT_NS,
                               .w_ns = SAIL_UNIT_NS,
                               .mem_w = {1, 1}};
        struct sail_result r = sail_run(&row, &(struct sail_schedule){.schedule = "VZB"});
        cr_expect_float_eq(r.span_ns, 3.0 * row.m * SAIL_UNIT_NS, .5);
        cr_expect_float_eq(r.makespan_ns, (3.0 * row.m + (p - 1) / 2.0) * SAIL_UNIT_NS, .5);
        cr_expect_float_eq(r.peak, p, 1e-9);
    }
}

Test(gen_vzb, with_less_memory_no_longer_than_the_schedules_made_for_it) {
    for (int32_t p = 4; p <= (CASE_STEP > 1 ? 6 : 8); p += 2) {
        struct sail_row row = {.p = p,
                               .m = 2 * p,
                               .f_ns = 18522,
                               .i_ns = 18086,
                               .w_ns = 9337,
                               .p2p_ns = 601,
                               .mem_w = {73728, 201216}};
        const char *const names[] = {"VMin", "VHalf"};
        for (int i = 0; i < 2; i++) {
            row.limit = i == 0 ? (p + 4) / 3 : (p + 2) / 2;
            struct sail_result ours = sail_run(&row, &(struct sail_schedule){.schedule = "VZB"});
            struct sail_result own = sail_run(&row, &(struct sail_schedule){.schedule = names[i]});
            cr_expect_leq(ours.makespan_ns, own.makespan_ns, "%s p %d", names[i], p);
            cr_expect_leq(ours.peak, row.limit + 1e-9, "%s p %d", names[i], p);
        }
    }
}

/* A schedule with costs drawn for every stage. */
struct drawn {
    struct pp_gen_config config;
    struct pp_gen_costs costs;
    int64_t columns[8][64], limit[32];
};

static void draw(struct drawn *d, uint64_t *seed) {
    int32_t p = 1 + random_below(seed, 9);
    *d = (struct drawn){.config = {.rank_count = p, .stages_per_rank = 2, .microbatch_count = 1}};
    d->config.microbatch_count += random_below(seed, 3 * p);
    int32_t most_ns = 1 + random_below(seed, 2) * 2000;
    for (int32_t stage = 0; stage < 2 * p; stage++) {
        for (int32_t i = 0; i < 6; i++) { /* zeros among them; adds are never 0 */
            d->columns[i][stage] = random_below(seed, most_ns) + (i == 5);
        }
        d->columns[6][stage] = random_below(seed, (int32_t)d->columns[5][stage] + 1);
        d->columns[7][stage] = d->columns[5][stage] - d->columns[6][stage];
    }
    int32_t slack = random_below(seed, 3) * random_below(seed, 2 * p * most_ns);
    for (int32_t rank = 0; rank < p; rank++) {
        d->limit[rank] = d->columns[5][rank] + d->columns[5][2 * p - 1 - rank] + slack;
    }
    d->costs = (struct pp_gen_costs){.times = {.f_ns = d->columns[0],
                                               .i_ns = d->columns[1],
                                               .w_ns = d->columns[2],
                                               .b_ns = d->columns[2],
                                               .recv_f_ns = d->columns[3],
                                               .recv_b_ns = d->columns[4]},
                                     .f_adds = d->columns[5],
                                     .i_frees = d->columns[6],
                                     .w_frees = d->columns[7],
                                     .limit = random_below(seed, 4) == 0 ? NULL : d->limit};
    d->config.costs = &d->costs;
}

/* No order is shorter than the bounds. */
static void check_bounds(const struct drawn *d, const struct pp_sched *s, const int64_t *limit) {
    struct pp_eval *eval = NULL;
    struct pp_trace trace;
    struct pp_metrics metrics;
    struct pp_bounds bounds;
    struct pp_err err = {0};
    struct pp_memory_model memory = {
        .f_adds = d->columns[5], .i_frees = d->columns[6], .w_frees = d->columns[7]};
    cr_assert_eq(pp_eval_create(s, &eval, NULL, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_trace_init(&trace, s, &err), PP_OK);
    cr_assert_eq(pp_eval_run(eval, &d->costs.times, &trace, &err), PP_OK);
    pp_metrics_of(&trace, &metrics, NULL);
    cr_assert_eq(pp_bounds_of(s, &d->costs.times, &memory, limit, &bounds, &err), PP_OK);
    cr_expect_leq(bounds.makespan_ns, metrics.makespan_ns, "p %d", s->rank_count);
    cr_expect_leq(bounds.span_ns, metrics.span_ns, "p %d", s->rank_count);
    pp_trace_deinit(&trace);
    pp_eval_destroy(eval);
}

/* Generates; it runs, stays within the limit and above the bounds. */
static void check_drawn(const struct drawn *d) {
    const struct pp_schedule_info *info = find_schedule("VZB");
    int32_t p = d->config.rank_count;
    struct pp_err err = {0};
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_schedule_generate(info, &d->config, &s, &err), PP_OK, "p %d m %d: %s", p,
                 d->config.microbatch_count, err.message);
    struct pp_rank_memory peaks[32];
    struct pp_memory_model memory = {
        .f_adds = d->columns[5], .i_frees = d->columns[6], .w_frees = d->columns[7]};
    pp_memory_peaks(s, &memory, peaks);
    int64_t most[32];
    for (int32_t rank = 0; rank < p; rank++) {
        int64_t both = d->columns[5][rank] + d->columns[5][2 * p - 1 - rank];
        most[rank] = d->costs.limit != NULL ? d->limit[rank] : p * both;
        cr_assert_leq(peaks[rank].peak, most[rank], "p %d m %d rank %d", p,
                      d->config.microbatch_count, rank);
    }
    check_bounds(d, s, most);
    pp_sched_destroy(s);
}

Test(gen_vzb, any_costs_and_limits_give_an_order_that_runs_and_fits) {
    static struct drawn d;
    uint64_t seed = 1;
    for (int i = 0; i < 200 / CASE_STEP; i++) {
        draw(&d, &seed);
        check_drawn(&d);
    }
}

Test(gen_vzb, the_same_input_gives_the_same_order) {
    static struct drawn d;
    uint64_t seed = 2;
    for (int i = 0; i < 5; i++) {
        draw(&d, &seed);
        char id[2][65];
        for (int k = 0; k < 2; k++) {
            struct pp_sched *s = NULL;
            cr_assert_eq(pp_schedule_generate(find_schedule("VZB"), &d.config, &s, NULL), PP_OK);
            pp_sched_csv_sha256(s, id[k]);
            pp_sched_destroy(s);
        }
        cr_assert_str_eq(id[0], id[1]);
    }
}

Test(gen_vzb, a_limit_below_one_microbatch_is_refused) {
    static struct drawn d;
    uint64_t seed = 3;
    draw(&d, &seed);
    d.costs.limit = d.limit;
    int32_t p = d.config.rank_count;
    d.limit[p - 1] = d.columns[5][p - 1] + d.columns[5][p] - 1;
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_expect_eq(pp_schedule_generate(find_schedule("VZB"), &d.config, &s, &err), PP_E_LIMIT);
    cr_expect_not_null(strstr(err.message, "memory limit of rank"));
    cr_expect_null(s);
}
