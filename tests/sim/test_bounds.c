/* Lower bounds: those of the table, and that no schedule, theirs or ours, is below one. */
#include "sim/bounds.h"
#include "tests/sim/random_sched.h"
#include "tests/sim/sail_support.h"

/* The empty schedule of a row's counts. */
static struct pp_sched *place(const struct sail_row *row, enum pp_placement placement, int32_t v,
                              int32_t slices) {
    int32_t *stage_rank = calloc((size_t)(row->p * v), sizeof *stage_rank);
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_place(placement, row->p, row->p * v, stage_rank, &err), PP_OK);
    cr_assert_eq(pp_sched_create(row->p, row->p * v, row->m * slices, stage_rank, &s, &err), PP_OK,
                 "%s", err.message);
    cr_assert_eq(pp_sched_set_slices(s, slices, &err), PP_OK);
    free(stage_rank);
    return s;
}

/* `limit` in a rank's whole share. */
static struct pp_bounds bounds_of(const struct sail_row *row, enum pp_placement placement,
                                  int32_t v, int32_t slices, double limit) {
    struct sail_row limited = *row;
    limited.limit = limit + 1e-6;
    struct pp_sched *s = place(row, placement, v, slices);
    struct sail_costs costs;
    struct pp_bounds b = {0};
    struct pp_err err = {0};
    sail_costs_init(&costs, &limited, s);
    cr_assert_eq(pp_bounds_of(s, &costs.gen.times, &costs.memory, costs.gen.limit, &b, &err), PP_OK,
                 "%s", err.message);
    free(costs.columns);
    pp_sched_destroy(s);
    return b;
}

/* ---- the table of bounds ---- */

struct table_tally {
    int equal, higher;
};

/* scheduler p m tF tB tW tComm mem_limit peak_mem span lb_span ... Spans are printed with six
 * digits. Its bounds of V placements look at rank 0 only; ours at every rank. */
static void compare_bound(char *f[MAX_FIELDS], int count, void *context) {
    struct table_tally *t = context;
    if (strcmp(f[0], "scheduler") == 0) {
        return;
    }
    cr_assert_geq(count, 11);
    struct sail_row row = {.p = (int32_t)strtol(f[1], NULL, 10),
                           .m = (int32_t)strtol(f[2], NULL, 10),
                           .f_ns = pp_round_i64(strtod(f[3], NULL) * SAIL_UNIT_NS),
                           .i_ns = pp_round_i64(strtod(f[4], NULL) * SAIL_UNIT_NS),
                           .w_ns = pp_round_i64(strtod(f[5], NULL) * SAIL_UNIT_NS),
                           .p2p_ns = pp_round_i64(strtod(f[6], NULL) * SAIL_UNIT_NS),
                           .mem_w = {16, 37}};
    if (row.f_ns == row.w_ns) {
        row.mem_w[0] = row.mem_w[1];
    }
    bool is_v = strncmp(f[0], "sail/v", 6) == 0 || strcmp(f[0], "sail/zbv") == 0;
    double limit = strtod(is_v || strcmp(f[7], "None") == 0 ? f[8] : f[7], NULL);
    struct pp_bounds b = bounds_of(&row, is_v ? PP_PLACE_V : PP_PLACE_LOOP, is_v ? 2 : 1, 1, limit);
    double theirs = strtod(f[10], NULL) * SAIL_UNIT_NS;
    double ours = (double)(b.ends_ns > b.chain_ns ? b.ends_ns : b.chain_ns);
    const double digits = 5e-6;
    bool is_equal = ours > theirs * (1 - digits) && ours < theirs * (1 + digits);
    cr_expect(is_equal || (is_v && ours > theirs), "%s p %s m %s F %s c %s limit %s: %.0f of %.0f",
              f[0], f[1], f[2], f[3], f[6], f[7], ours, theirs);
    cr_expect_leq((double)b.span_ns, strtod(f[9], NULL) * SAIL_UNIT_NS * (1 + digits),
                  "%s p %s m %s F %s c %s limit %s", f[0], f[1], f[2], f[3], f[6], f[7]);
    t->equal += is_equal;
    t->higher += !is_equal;
}

Test(bounds, equal_the_tables) {
    const char *path = PP_SHARED_DIR "/golden/schedules/bounds.tsv";
    if (!has_shared(path)) {
        cr_skip_test("../shared is not there");
    }
    struct table_tally t = {0};
    each_row(path, compare_bound, &t);
    cr_log_info("bounds: %d equal, %d of V placements higher", t.equal, t.higher);
}

/* ---- results that must not be below ---- */

static const struct {
    const char *scheduler;
    enum pp_placement placement;
    int32_t v, slices;
    const char *ours; /* name of the schedule of ours that stands for it; NULL = another test's */
} families[] = {
    {"own/gpipe", PP_PLACE_LOOP, 1, 1, "GPipe"},  {"own/zb-h1", PP_PLACE_LOOP, 1, 1, "ZBH1"},
    {"own/zb-h2", PP_PLACE_LOOP, 1, 1, "ZBH2"},   {"sail/zb", PP_PLACE_LOOP, 1, 1, "ZB1P"},
    {"sail/zbv", PP_PLACE_V, 2, 1, "VZB"},        {"sail/v-half", PP_PLACE_V, 2, 1, "VHalf"},
    {"sail/v-min", PP_PLACE_V, 2, 1, "VMin"},     {"sail/v-1f1b", PP_PLACE_V, 2, 1, "V1F1B"},
    {"sail/1f1b", PP_PLACE_LOOP, 1, 1, "1F1B"},   {"sail/1f1b-i2", PP_PLACE_LOOP, 2, 1, NULL},
    {"sail/1f1b-i4", PP_PLACE_LOOP, 4, 1, NULL},  {"sail/seq1f1b2", PP_PLACE_LOOP, 1, 2, NULL},
    {"sail/seq1f1b4", PP_PLACE_LOOP, 1, 4, NULL},
};

struct crossing_tally {
    int64_t most_actions; /* rows with more ranks * microbatches are left out; 0 = none are */
    int theirs, ours, optimal;
};

/* Rounding of shares (half a chunk of an odd time) is at most an ns an action. */
static void expect_above(const struct pp_bounds *b, const struct sail_row *row, double span_ns,
                         double makespan_ns, const char *whose) {
    double slack = 8.0 * (row->m + row->p);
    cr_expect_geq(span_ns + slack, (double)b->span_ns, "%s %s p %d m %d F %ld", whose,
                  row->scheduler, row->p, row->m, row->f_ns);
    cr_expect_geq(makespan_ns + slack, (double)b->makespan_ns, "%s %s p %d m %d F %ld", whose,
                  row->scheduler, row->p, row->m, row->f_ns);
}

static void check_crossing(const struct sail_row *row, void *context) {
    struct crossing_tally *t = context;
    size_t i = 0;
    size_t n = sizeof families / sizeof families[0];
    while (i < n && strcmp(families[i].scheduler, row->scheduler) != 0) {
        i++;
    }
    if (i == n || (t->most_actions > 0 && (int64_t)row->p * row->m > t->most_actions)) {
        return;
    }
    struct pp_bounds b = bounds_of(row, families[i].placement, families[i].v, families[i].slices,
                                   row->limit > 0 ? row->limit : row->peak);
    expect_above(&b, row, row->span_ns, row->makespan_ns, "their");
    t->theirs++;
    const struct pp_schedule_info *info = NULL;
    if (families[i].ours == NULL || t->theirs % CASE_STEP != 0 ||
        pp_schedule_find(families[i].ours, &info, NULL) != PP_OK) {
        return;
    }
    struct sail_schedule ours = {.schedule = families[i].ours};
    struct sail_result r = sail_run(row, &ours);
    b = bounds_of(row, families[i].placement, families[i].v, families[i].slices,
                  row->limit > 0 ? row->limit : r.peak);
    expect_above(&b, row, r.span_ns, r.makespan_ns, "our");
    t->ours++;
    t->optimal += strcmp(row->scheduler, "sail/zb") == 0 && r.span_ns == (double)b.span_ns;
}

Test(bounds, nothing_is_below_them) {
    struct crossing_tally t = {.most_actions = 512};
    sail_each_row(check_crossing, &t);
    cr_assert_gt(t.ours, 300 / CASE_STEP);
    cr_log_info("bounds: %d results of theirs, %d of ours above, %d of ZB1P's provably optimal",
                t.theirs, t.ours, t.optimal);
}

/* ---- any order on any placement ---- */

enum { COLUMN = 64 };

static void check_random(const struct pp_sched *s, uint64_t *seed, int *reached) {
    int64_t f[COLUMN], i[COLUMN], w[COLUMN], b[COLUMN], recv_f[COLUMN], recv_b[COLUMN];
    int64_t adds[COLUMN], i_frees[COLUMN], w_frees[COLUMN], limit[COLUMN];
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        f[stage] = random_below(seed, 100);
        i[stage] = random_below(seed, 100);
        w[stage] = random_below(seed, 100);
        b[stage] = i[stage] + w[stage];
        recv_f[stage] = random_below(seed, 30);
        recv_b[stage] = random_below(seed, 30);
        i_frees[stage] = random_below(seed, 10);
        w_frees[stage] = random_below(seed, 10);
        adds[stage] = i_frees[stage] + w_frees[stage];
    }
    struct pp_costs costs = {
        .f_ns = f, .i_ns = i, .w_ns = w, .b_ns = b, .recv_f_ns = recv_f, .recv_b_ns = recv_b};
    struct pp_memory_model memory = {.f_adds = adds, .i_frees = i_frees, .w_frees = w_frees};
    struct pp_rank_memory peaks[COLUMN];
    struct pp_eval *eval = NULL;
    struct pp_trace trace;
    struct pp_metrics metrics;
    struct pp_bounds bounds;
    pp_memory_peaks(s, &memory, peaks);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        limit[rank] = peaks[rank].peak;
    }
    if (pp_eval_create(s, &eval, NULL, NULL) != PP_OK) {
        return; /* a pair that needs its other part */
    }
    cr_assert_eq(pp_trace_init(&trace, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(eval, &costs, &trace, NULL), PP_OK);
    pp_metrics_of(&trace, &metrics, NULL);
    cr_assert_eq(pp_bounds_of(s, &costs, &memory, limit, &bounds, NULL), PP_OK);
    cr_expect_leq(bounds.span_ns, metrics.span_ns);
    cr_expect_leq(bounds.makespan_ns, metrics.makespan_ns);
    *reached += bounds.span_ns == metrics.span_ns;
    pp_trace_deinit(&trace);
    pp_eval_destroy(eval);
}

Test(bounds, no_random_order_is_below_them) {
    uint64_t seed = 77;
    int reached = 0;
    for (int n = 0; n < 3000; n++) {
        struct pp_sched *s = draw_schedule(&seed);
        cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
        check_random(s, &seed, &reached);
        pp_sched_destroy(s);
    }
    cr_log_info("random orders: %d of 3000 are optimal", reached);
}

/* ---- closed forms and edges ---- */

/* Qi et al., arXiv 2401.10241, section 2: with the memory of p microbatches ZB-H1 is optimal. */
Test(bounds, prove_zbh1_optimal_at_its_memory) {
    for (int32_t p = 2; p <= 32; p *= 2) {
        struct sail_row row = {
            .p = p, .m = 3 * p, .f_ns = 30, .i_ns = 28, .w_ns = 20, .mem_w = {1, 2}};
        struct pp_bounds b = bounds_of(&row, PP_PLACE_LOOP, 1, 1, p);
        cr_expect_eq(b.span_ns, 3 * p * 78 + (p - 1) * (30 + 28 - 20));
        cr_expect_eq(b.work_ns, 3 * p * 78);
    }
}

/* One microbatch in memory at a time: no rank overlaps anything. */
Test(bounds, memory_times_time_counts_at_tight_limits) {
    struct sail_row row = {
        .p = 4, .m = 10, .f_ns = 10, .i_ns = 10, .w_ns = 10, .p2p_ns = 3, .mem_w = {1, 1}};
    struct pp_bounds b = bounds_of(&row, PP_PLACE_LOOP, 1, 1, 1);
    cr_expect_eq(b.memory_ns, 10 * (4 * 20 + 6 * 3 + 10));
    cr_expect_eq(b.span_ns, b.memory_ns);
    struct pp_sched *s = place(&row, PP_PLACE_LOOP, 1, 1);
    struct sail_costs costs;
    struct pp_err err = {0};
    row.limit = 0.5;
    sail_costs_init(&costs, &row, s);
    costs.gen.limit = costs.columns + 8 * 4;
    memset((int64_t *)costs.gen.limit, 0, 4 * sizeof(int64_t));
    cr_expect_eq(pp_bounds_of(s, &costs.gen.times, &costs.memory, costs.gen.limit, &b, &err),
                 PP_E_LIMIT);
    cr_expect_not_null(strstr(err.message, "rank 0"), "%s", err.message);
    cr_expect_eq(pp_bounds_of(s, &costs.gen.times, NULL, NULL, &b, &err), PP_OK);
    cr_expect_eq(b.memory_ns, 0);
    free(costs.columns);
    pp_sched_destroy(s);
}

/* 2 units for 10 ns of the 3 that there are: 20/3 ns. */
Test(bounds, memory_times_time_is_rounded_up) {
    static const int64_t five[] = {5}, two[] = {2}, zero[] = {0}, three[] = {3};
    static const int32_t stage_rank[] = {0};
    struct pp_costs costs = {.f_ns = five, .i_ns = five, .w_ns = zero};
    struct pp_memory_model memory = {.f_adds = two, .i_frees = two, .w_frees = zero};
    struct pp_sched *s = NULL;
    struct pp_bounds b;
    cr_assert_eq(pp_sched_create(1, 1, 1, stage_rank, &s, NULL), PP_OK);
    cr_assert_eq(pp_bounds_of(s, &costs, &memory, three, &b, NULL), PP_OK);
    cr_expect_eq(b.memory_ns, 7);
    pp_sched_destroy(s);
}

/* Either pipeline may come first on a rank, so that only work and memory bind. */
Test(bounds, two_pipelines_are_bound_by_work_and_memory) {
    for (int32_t p = 2; p <= 8; p += 2) {
        for (int32_t m = p; m <= 4 * p; m += p) {
            struct pp_sched *s = make_schedule("Chimera", p, 2, m);
            struct sail_row row = {
                .p = p, .m = m, .f_ns = 20, .i_ns = 20, .w_ns = 20, .p2p_ns = 2, .mem_w = {1, 1}};
            struct sail_costs costs;
            struct pp_bounds b;
            struct pp_eval *eval = NULL;
            struct pp_trace trace;
            struct pp_metrics metrics;
            sail_costs_init(&costs, &row, s);
            cr_assert_eq(pp_bounds_of(s, &costs.gen.times, NULL, NULL, &b, NULL), PP_OK);
            cr_expect(b.ends_ns == 0 && b.chain_ns == 0 && b.span_ns == b.work_ns);
            cr_assert_eq(pp_eval_create(s, &eval, NULL, NULL), PP_OK);
            cr_assert_eq(pp_trace_init(&trace, s, NULL), PP_OK);
            cr_assert_eq(pp_eval_run(eval, &costs.gen.times, &trace, NULL), PP_OK);
            pp_metrics_of(&trace, &metrics, NULL);
            cr_expect_leq(b.span_ns, metrics.span_ns);
            cr_expect_leq(b.makespan_ns, metrics.makespan_ns);
            pp_trace_deinit(&trace);
            pp_eval_destroy(eval);
            free(costs.columns);
            pp_sched_destroy(s);
        }
    }
}

/* Memory for one stage's microbatch at a time, the longest costs, nearly the most actions: more
 * time than a number holds is told as the most. */
Test(bounds, are_not_beyond_the_longest_order) {
    enum { STAGES = 4096, MICROBATCHES = 1 << 10 };
    static int32_t stage_rank[STAGES]; /* all on rank 0 */
    static int64_t longest[STAGES], one[STAGES];
    for (int32_t stage = 0; stage < STAGES; stage++) {
        longest[stage] = PP_COST_MAX_NS;
        one[stage] = 1;
    }
    struct pp_costs costs = {.f_ns = longest, .i_ns = longest, .w_ns = longest};
    struct pp_memory_model memory = {.f_adds = one, .w_frees = one};
    struct pp_sched *s = NULL;
    struct pp_bounds b;
    cr_assert_eq(pp_sched_create(1, STAGES, MICROBATCHES, stage_rank, &s, NULL), PP_OK);
    cr_assert_eq(pp_bounds_of(s, &costs, &memory, one, &b, NULL), PP_OK);
    cr_expect_eq(b.work_ns, 3 * STAGES * (int64_t)MICROBATCHES * PP_COST_MAX_NS);
    cr_expect_eq(b.memory_ns, (int64_t)1 << 62);
    cr_expect_eq(b.span_ns, b.memory_ns);
    cr_expect_eq(b.makespan_ns, b.memory_ns);
    pp_sched_destroy(s);
}

/* A slow stage in the middle: the others wait for it to begin and to end. */
Test(bounds, costs_of_every_stage_count) {
    const int64_t f[] = {10, 50, 10};
    const int64_t i[] = {10, 50, 10};
    const int64_t w[] = {5, 5, 5};
    const int64_t transfer[] = {2, 2, 2};
    struct pp_costs costs = {
        .f_ns = f, .i_ns = i, .w_ns = w, .recv_f_ns = transfer, .recv_b_ns = transfer};
    struct sail_row row = {.p = 3, .m = 6};
    struct pp_sched *s = place(&row, PP_PLACE_LOOP, 1, 1);
    struct pp_bounds b;
    cr_assert_eq(pp_bounds_of(s, &costs, NULL, NULL, &b, NULL), PP_OK);
    cr_expect_eq(b.work_ns, 6 * 105);
    cr_expect_eq(b.chain_ns, 10 + 2 + 6 * 100 + 2 + 10 + 5);
    cr_expect_eq(b.makespan_ns, 12 + 6 * 105);
    pp_sched_destroy(s);
}
