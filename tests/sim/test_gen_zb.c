/* The zero-bubble schedules with one stage a rank. */
#include "sim/bounds.h"
#include "tests/sim/sail_support.h"

#include <math.h>

/* ---- row by row against the authors' schedulers ---- */

static bool is_zbh1(const struct sail_row *row, struct sail_schedule *ours) {
    *ours = (struct sail_schedule){.schedule = "ZBH1"};
    return strcmp(row->scheduler, "own/zb-h1") == 0;
}

static bool is_zbh2(const struct sail_row *row, struct sail_schedule *ours) {
    *ours = (struct sail_schedule){.schedule = "ZBH2"};
    return strcmp(row->scheduler, "own/zb-h2") == 0;
}

/* Their heuristic takes any limit, and ZB1P any that it is given. */
static bool is_zb(const struct sail_row *row, struct sail_schedule *ours) {
    *ours = (struct sail_schedule){.schedule = "ZB1P"};
    return strcmp(row->scheduler, "sail/zb") == 0;
}

Test(gen_zb, zbh1_is_as_short_as_theirs) {
    sail_compare_all("ZBH1", &(struct sail_tally){.of = is_zbh1});
}

Test(gen_zb, zbh2_is_as_short_as_theirs) {
    sail_compare_all("ZBH2", &(struct sail_tally){.of = is_zbh2});
}

Test(gen_zb, zb1p_is_as_short_as_theirs_at_any_limit) {
    sail_compare_all("ZB1P", &(struct sail_tally){.of = is_zb, .most_actions = 1024});
}

/* ---- the bubbles that the paper prints ---- */

static const struct {
    const char *printed, *ours; /* NULL: a closed form */
    double limit_in_ranks;      /* 0 = the schedule's own */
} published_columns[] = {
    {"1F1B", "1F1B", 0},  {"1F1B-I", NULL, 0},  {"ZB-H1", "ZBH1", 0}, {"ZB-H2", "ZBH2", 0},
    {"ZB-1p", "ZB1P", 0}, {"ZB-2p", "ZB2P", 0}, {"ZBV", "VZB", 1},
};

enum { PUBLISHED_COLUMNS = sizeof published_columns / sizeof published_columns[0] };

struct published_tally {
    int equal[PUBLISHED_COLUMNS], better[PUBLISHED_COLUMNS], missing[PUBLISHED_COLUMNS];
    int rows;
};

/* Longest span by column `n`; 0 where we have no such schedule. */
static double published_span(const struct sail_row *row, int n, int32_t stages_per_rank) {
    int64_t work = row->f_ns + row->i_ns + row->w_ns;
    if (published_columns[n].ours == NULL) {
        return (double)(row->m * work +
                        pp_interleaved_1f1b_idle_ns(row->p, stages_per_rank, work, row->p2p_ns));
    }
    const struct pp_schedule_info *info = NULL;
    if (pp_schedule_find(published_columns[n].ours, &info, NULL) != PP_OK) {
        return 0;
    }
    struct sail_row limited = *row;
    limited.limit = row->p * published_columns[n].limit_in_ranks;
    struct sail_schedule ours = {.schedule = info->name};
    return sail_run(&limited, &ours).span_ns;
}

static void compare_published(char *f[MAX_FIELDS], int count, void *context) {
    struct published_tally *t = context;
    cr_assert_eq(count, 9 + PUBLISHED_COLUMNS);
    if (t->rows++ % CASE_STEP != 0) {
        return;
    }
    struct sail_row row = {.p = (int32_t)strtol(f[1], NULL, 10),
                           .m = (int32_t)strtol(f[2], NULL, 10),
                           .f_ns = strtol(f[3], NULL, 10) * 1000,
                           .i_ns = strtol(f[4], NULL, 10) * 1000,
                           .w_ns = strtol(f[5], NULL, 10) * 1000,
                           .p2p_ns = strtol(f[6], NULL, 10) * 1000};
    sscanf(f[8], "%ld/%ld", &row.mem_w[0], &row.mem_w[1]);
    double work = (double)(row.f_ns + row.i_ns + row.w_ns) * row.m;
    for (int n = 0; n < PUBLISHED_COLUMNS; n++) {
        if (strcmp(f[9 + n], "-") == 0) {
            continue;
        }
        double span = published_span(&row, n, (int32_t)strtol(f[7], NULL, 10));
        long ours = lround((1 - work / span) * 1e4);
        long printed = lround(strtod(f[9 + n], NULL) * 1e4);
        if (span == 0) {
            t->missing[n]++;
            continue;
        }
        cr_expect_leq(ours, printed, "table %s, p %d, m %d, F %s: %s %.6f, printed %s", f[0], row.p,
                      row.m, f[3], published_columns[n].printed, 1 - work / span, f[9 + n]);
        t->equal[n] += ours == printed;
        t->better[n] += ours < printed;
    }
}

Test(gen_zb, bubbles_are_those_that_the_paper_prints) {
    struct published_tally t = {0};
    int rows = each_row(PP_TEST_DIR "/sim/published.tsv", compare_published, &t);
    cr_assert_eq(rows, 21);
    for (int n = 0; n < PUBLISHED_COLUMNS; n++) {
        cr_log_info("published %s: %d equal, %d better%s", published_columns[n].printed, t.equal[n],
                    t.better[n], t.missing[n] > 0 ? ", skipped: we have no such schedule yet" : "");
    }
}

/* ---- closed forms at F = I = W = 1, m = 4 p ---- */

static const struct {
    const char *schedule;
    double limit_in_ranks;
    double span_p, span_1; /* idle: span_p * p + span_1 */
} closed_forms[] = {
    {"ZBH1", 0, 1, -1}, {"ZB1P", 0, 1, -1},     {"ZBH2", 0, 0, 0},
    {"ZB2P", 0, 0, 0},  {"ZB1P", 1.5, 0.5, -1}, {"ZB1P", 2, 0, 0},
};

Test(gen_zb, unit_costs_give_the_closed_forms) {
    int equal = 0;
    int better = 0;
    for (size_t i = 0; i < sizeof closed_forms / sizeof closed_forms[0]; i++) {
        for (int32_t p = 4; p <= 32; p *= 2) {
            struct sail_row row = {.p = p,
                                   .m = 4 * p,
                                   .f_ns = 1000,
                                   .i_ns = 1000,
                                   .w_ns = 1000,
                                   .mem_w = {1, 1},
                                   .limit = p * closed_forms[i].limit_in_ranks};
            struct sail_schedule ours = {.schedule = closed_forms[i].schedule};
            struct sail_result r = sail_run(&row, &ours);
            double span = 3 * row.m + p * closed_forms[i].span_p + closed_forms[i].span_1;
            double makespan = 3 * row.m + p - 1;
            cr_expect_leq(r.span_ns, span * 1000, "%s p %d", ours.schedule, p);
            cr_expect_leq(r.makespan_ns, makespan * 1000, "%s p %d", ours.schedule, p);
            bool is_equal = r.span_ns == span * 1000 && r.makespan_ns == makespan * 1000;
            equal += is_equal;
            better += !is_equal;
        }
    }
    cr_log_info("closed forms: %d equal, %d better", equal, better);
}

/* Equal to the authors' programs' orders, as test_orders.c finds, by content. */
static const struct {
    const char *schedule;
    int32_t p, m;
    const char *id;
} order_ids[] = {
    {"ZBH1", 3, 6, "7a645e3e8b2137a2"},  {"ZBH1", 4, 8, "6e7c1c738d34a656"},
    {"ZBH1", 8, 16, "29c541a4ebcfbf32"}, {"ZBH2", 3, 6, "4d87cf1f55e21d1f"},
    {"ZBH2", 4, 8, "1535c3bba6f37fd3"},  {"ZBH2", 8, 16, "7e8e260b13694c4a"},
};

Test(gen_zb, fixed_orders_stay_what_they_are) {
    for (size_t i = 0; i < sizeof order_ids / sizeof order_ids[0]; i++) {
        struct pp_sched *s =
            make_schedule(order_ids[i].schedule, order_ids[i].p, 1, order_ids[i].m);
        char hex[65];
        pp_sched_csv_sha256(s, hex);
        cr_expect(has_id(s, order_ids[i].id), "%s p %d m %d is %.16s", order_ids[i].schedule,
                  order_ids[i].p, order_ids[i].m, hex);
        pp_sched_destroy(s);
    }
}

/* Room for more than it takes is left alone: orders of the same time differ in memory. */
Test(gen_zb, a_wide_limit_is_not_filled_for_nothing) {
    for (int32_t p = 2; p <= 16; p *= 2) {
        struct sail_row row = {.p = p,
                               .m = 4 * p,
                               .f_ns = 1000,
                               .i_ns = 1000,
                               .w_ns = 1000,
                               .mem_w = {1, 1},
                               .limit = 10 * p};
        struct sail_result r = sail_run(&row, &(struct sail_schedule){.schedule = "ZB1P"});
        cr_expect_eq(r.span_ns, 3000 * row.m, "p %d", p);
        cr_expect_leq(r.peak, 2 * p - 1, "p %d: ZBH2 needs no more", p);
    }
}

/* ---- any counts, costs and limits ---- */

enum { MOST_RANKS = 12 };

struct random_case {
    struct pp_gen_config config;
    struct pp_gen_costs costs;
    struct pp_memory_model memory;
    int64_t f[MOST_RANKS], i[MOST_RANKS], w[MOST_RANKS], b[MOST_RANKS];
    int64_t recv_f[MOST_RANKS], recv_b[MOST_RANKS];
    int64_t adds[MOST_RANKS], i_frees[MOST_RANKS], w_frees[MOST_RANKS], limit[MOST_RANKS];
};

/* Each rank's limit holds 1 to 3 p microbatches; every cost may be 0. */
static void make_case(uint64_t *seed, struct random_case *c) {
    int32_t p = 1 + random_below(seed, MOST_RANKS);
    bool same = random_below(seed, 2) == 0;
    *c = (struct random_case){.config = {.rank_count = p,
                                         .stages_per_rank = 1,
                                         .microbatch_count = 1 + random_below(seed, 30),
                                         .costs = &c->costs}};
    int32_t w_part = random_below(seed, 101);
    int32_t held = 1 + random_below(seed, 3 * p);
    for (int32_t r = 0; r < p; r++) {
        bool copy = same && r > 0;
        c->f[r] = copy ? c->f[0] : random_below(seed, 100);
        c->i[r] = copy ? c->i[0] : random_below(seed, 100);
        c->w[r] = copy ? c->w[0] : random_below(seed, 100);
        c->b[r] = c->i[r] + c->w[r];
        c->recv_f[r] = copy ? c->recv_f[0] : random_below(seed, 20);
        c->recv_b[r] = copy ? c->recv_b[0] : random_below(seed, 20);
        c->adds[r] = same ? 100 : random_below(seed, 1000);
        c->w_frees[r] = c->adds[r] * w_part / 100;
        c->i_frees[r] = c->adds[r] - c->w_frees[r];
        c->limit[r] = c->adds[r] * (same ? held : 1 + random_below(seed, 3 * p)) +
                      random_below(seed, 2) * c->adds[r] / 2;
    }
    c->costs = (struct pp_gen_costs){.times = {.f_ns = c->f,
                                               .i_ns = c->i,
                                               .w_ns = c->w,
                                               .b_ns = c->b,
                                               .recv_f_ns = c->recv_f,
                                               .recv_b_ns = c->recv_b},
                                     .f_adds = c->adds,
                                     .i_frees = c->i_frees,
                                     .w_frees = c->w_frees,
                                     .limit = c->limit};
    c->memory =
        (struct pp_memory_model){.f_adds = c->adds, .i_frees = c->i_frees, .w_frees = c->w_frees};
}

static struct pp_metrics measure(const struct random_case *c, const struct pp_sched *s) {
    struct pp_eval *eval = NULL;
    struct pp_trace trace;
    struct pp_metrics metrics;
    struct pp_err err = {0};
    cr_assert_eq(pp_eval_create(s, &eval, NULL, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_trace_init(&trace, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(eval, &c->costs.times, &trace, NULL), PP_OK);
    pp_metrics_of(&trace, &metrics, NULL);
    pp_trace_deinit(&trace);
    pp_eval_destroy(eval);
    return metrics;
}

static bool fits(const struct random_case *c, const struct pp_sched *s, const int64_t *limit) {
    struct pp_rank_memory peaks[MOST_RANKS];
    bool ok = true;
    pp_memory_peaks(s, &c->memory, peaks);
    for (int32_t r = 0; r < s->rank_count; r++) {
        ok = ok && peaks[r].peak <= limit[r];
    }
    return ok;
}

static void check_case(const struct random_case *c, const char *name, const char *fixed) {
    struct pp_sched *s = NULL;
    struct pp_sched *rival =
        make_schedule(fixed, c->config.rank_count, 1, c->config.microbatch_count);
    struct pp_bounds b;
    struct pp_err err = {0};
    int64_t own_limit[MOST_RANKS];
    const int64_t *limit = c->costs.limit;
    for (int32_t r = 0; limit == NULL && r < c->config.rank_count; r++) {
        own_limit[r] = c->adds[r] * c->config.rank_count * (strcmp(name, "ZB1P") == 0 ? 1 : 2);
    }
    limit = limit == NULL ? own_limit : limit;
    cr_assert_eq(pp_schedule_generate(find_schedule(name), &c->config, &s, &err), PP_OK, "%s",
                 err.message);
    cr_expect(fits(c, s, limit));
    cr_assert_eq(pp_bounds_of(s, &c->costs.times, &c->memory, limit, &b, &err), PP_OK);
    struct pp_metrics ours = measure(c, s);
    cr_expect_geq(ours.span_ns, b.span_ns);
    cr_expect_geq(ours.makespan_ns, b.makespan_ns);
    if (fits(c, rival, limit)) {
        struct pp_metrics its = measure(c, rival);
        cr_expect(ours.span_ns < its.span_ns || ours.makespan_ns < its.makespan_ns ||
                      (ours.span_ns == its.span_ns && ours.makespan_ns == its.makespan_ns),
                  "%s loses to %s", name, fixed);
    }
    pp_sched_destroy(rival);
    pp_sched_destroy(s);
}

Test(gen_zb, any_costs_and_limits_give_an_order_that_fits_and_runs) {
    uint64_t seed = 2401;
    for (int n = 0; n < 150; n++) {
        struct random_case c;
        make_case(&seed, &c);
        check_case(&c, "ZB1P", "ZBH1");
        c.costs.limit = NULL;
        check_case(&c, "ZB1P", "ZBH1");
        check_case(&c, "ZB2P", "ZBH2");
    }
}

/* One microbatch in memory: one after the other, which is all that fits. */
Test(gen_zb, the_tightest_limit_is_met_optimally) {
    uint64_t seed = 5;
    for (int n = 0; n < 200; n++) {
        struct random_case c;
        struct pp_sched *s = NULL;
        struct pp_bounds b;
        make_case(&seed, &c);
        for (int32_t r = 0; r < c.config.rank_count; r++) {
            c.adds[r] = c.limit[r] = c.w_frees[r] = 7;
            c.i_frees[r] = 0;
        }
        cr_assert_eq(pp_schedule_generate(find_schedule("ZB1P"), &c.config, &s, NULL), PP_OK);
        cr_assert_eq(pp_bounds_of(s, &c.costs.times, &c.memory, c.limit, &b, NULL), PP_OK);
        cr_expect_eq(measure(&c, s).span_ns, b.span_ns);
        pp_sched_destroy(s);
    }
}

Test(gen_zb, a_limit_below_one_microbatch_is_refused_with_the_rank) {
    uint64_t seed = 6;
    struct random_case c;
    do {
        make_case(&seed, &c);
    } while (c.config.rank_count < 3 || c.adds[2] == 0);
    c.limit[2] = c.adds[2] - 1;
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_generate(find_schedule("ZB2P"), &c.config, &s, &err), PP_E_LIMIT);
    cr_assert_null(s);
    cr_assert_not_null(strstr(err.message, "rank 2"), "%s", err.message);
    cr_assert_neq(err.hint[0], '\0');
}

Test(gen_zb, the_same_question_gets_the_same_order) {
    uint64_t seed = 8;
    for (int n = 0; n < 20; n++) {
        struct random_case c;
        struct pp_sched *s[2];
        char hex[2][65];
        make_case(&seed, &c);
        for (int k = 0; k < 2; k++) {
            cr_assert_eq(pp_schedule_generate(find_schedule("ZB2P"), &c.config, &s[k], NULL),
                         PP_OK);
            pp_sched_csv_sha256(s[k], hex[k]);
            pp_sched_destroy(s[k]);
        }
        cr_expect_str_eq(hex[0], hex[1]);
    }
}
