/* VMin, VHalf and V1F1B: against their authors' scheduler, against the closed forms for equal
 * costs, and for any ranks, microbatches, costs and limits. */
#include "tests/sim/sail_support.h"

static bool is_vmin(const struct sail_row *row, struct sail_schedule *ours) {
    ours->schedule = "VMin";
    return strcmp(row->scheduler, "sail/v-min") == 0;
}

static bool is_vhalf(const struct sail_row *row, struct sail_schedule *ours) {
    ours->schedule = "VHalf";
    return strcmp(row->scheduler, "sail/v-half") == 0;
}

static bool is_v1f1b(const struct sail_row *row, struct sail_schedule *ours) {
    ours->schedule = "V1F1B";
    return strcmp(row->scheduler, "sail/v-1f1b") == 0;
}

/* The larger rows take seconds each under sanitizers: without a bound all are compared. */
enum { MOST_ACTIONS = 64 };

static int64_t most_actions(void) {
    return getenv("PP_TEST_ALL") != NULL ? 0 : MOST_ACTIONS;
}

Test(gen_vblock, vmin_is_never_longer_than_its_authors) {
    struct sail_tally t = {.of = is_vmin, .most_actions = most_actions()};
    sail_compare_all("V-Min", &t);
}

Test(gen_vblock, vhalf_is_never_longer_than_its_authors) {
    struct sail_tally t = {.of = is_vhalf, .most_actions = most_actions()};
    sail_compare_all("V-Half", &t);
}

Test(gen_vblock, v1f1b_is_never_longer_than_its_authors) {
    struct sail_tally t = {.of = is_v1f1b, .most_actions = most_actions()};
    sail_compare_all("V-1F1B", &t);
}

/* Makespan beyond 3m, in units of F = I = W, and memory in whole shares. */
static const struct {
    const char *schedule;
    int32_t p;
    double idle, shares;
} closed_forms[] = {
    {"VMin", 4, 5.5, 2},  {"VMin", 8, 13.5, 4},  {"VMin", 16, 29.5, 6},   {"VMin", 32, 61.5, 12},
    {"VHalf", 4, 2.5, 3}, {"VHalf", 8, 8.5, 5},  {"VHalf", 16, 20.5, 9},  {"VHalf", 32, 44.5, 17},
    {"V1F1B", 4, 7.5, 3}, {"V1F1B", 8, 16.5, 6}, {"V1F1B", 16, 37.5, 11}, {"V1F1B", 32, 76.5, 22},
    {"VMin", 3, 3.5, 2},  {"VMin", 5, 7.5, 3},   {"VMin", 6, 9.5, 3},     {"VMin", 1, 0, 1},
    {"VHalf", 3, 2.5, 2}, {"VHalf", 5, 5.5, 3},  {"VHalf", 6, 5.5, 4},    {"VHalf", 1, 0, 1},
    {"V1F1B", 3, 4, 3},   {"V1F1B", 5, 9, 4},    {"V1F1B", 6, 11, 5},     {"V1F1B", 1, 0, 1},
};

Test(gen_vblock, equal_costs_give_the_closed_forms) {
    for (size_t i = 0; i < sizeof closed_forms / sizeof *closed_forms; i++) {
        if (closed_forms[i].p > 8 && most_actions() > 0) {
            continue;
        }
        struct sail_row row = {.p = closed_forms[i].p,
                               .m = 4 * closed_forms[i].p,
                               .f_ns = SAIL_UNIT_NS,
                               .i_ns = SAIL_UNIT_NS,
                               .w_ns = SAIL_UNIT_NS,
                               .mem_w = {1, 1}};
        struct sail_schedule ours = {.schedule = closed_forms[i].schedule};
        struct sail_result r = sail_run(&row, &ours);
        double idle = r.makespan_ns / SAIL_UNIT_NS - 3 * row.m;
        cr_log_info("%s p %d m %d: 3m + %.1f of 3m + %.1f, memory %.1f of %.1f", ours.schedule,
                    row.p, row.m, idle, closed_forms[i].idle, r.peak, closed_forms[i].shares);
        cr_expect_leq(idle, closed_forms[i].idle, "%s %d", ours.schedule, row.p);
        cr_expect_leq(r.peak, closed_forms[i].shares, "%s %d", ours.schedule, row.p);
    }
}

/* Orders and times as their authors' code made them; times there are in halves of ours. */
static const struct {
    const char *file, *ours; /* NULL: none of ours has its memory */
    int32_t p, m;
    bool is_unit;
} orders[] = {
    {"v-half_p3_m6", "VHalf", 3, 6, false},   {"v-half_p3_m6", "VHalf", 3, 6, true},
    {"v-half_p4_m4", "VHalf", 4, 4, false},   {"v-half_p4_m4", "VHalf", 4, 4, true},
    {"v-half_p4_m8", "VHalf", 4, 8, false},   {"v-half_p4_m8", "VHalf", 4, 8, true},
    {"v-half_p8_m16", "VHalf", 8, 16, false}, {"v-half_p8_m16", "VHalf", 8, 16, true},
    {"v-min_p3_m6", "VMin", 3, 6, false},     {"v-min_p3_m6", "VMin", 3, 6, true},
    {"v-min_p4_m4", "VMin", 4, 4, false},     {"v-min_p4_m4", "VMin", 4, 4, true},
    {"v-min_p4_m8", "VMin", 4, 8, false},     {"v-min_p4_m8", "VMin", 4, 8, true},
    {"v-min_p8_m16", "VMin", 8, 16, false},   {"v-1f1b_p3_m6", "V1F1B", 3, 6, false},
    {"v-1f1b_p3_m6", "V1F1B", 3, 6, true},    {"v-1f1b_p4_m4", "V1F1B", 4, 4, false},
    {"v-1f1b_p4_m8", "V1F1B", 4, 8, true},    {"v-auto_mem2_p4_m4", NULL, 4, 4, false},
    {"v-auto_mem2_p4_m4", NULL, 4, 4, true},  {"v-auto_mem2_p4_m8", NULL, 4, 8, false},
    {"v-auto_mem2_p4_m8", NULL, 4, 8, true},  {"v-auto_mem3_p3_m6", NULL, 3, 6, false},
    {"v-auto_mem3_p3_m6", NULL, 3, 6, true},  {"v-auto_mem4_p4_m4", NULL, 4, 4, false},
    {"v-auto_mem4_p4_m4", NULL, 4, 4, true},  {"v-auto_mem4_p4_m8", NULL, 4, 8, false},
    {"v-auto_mem4_p4_m8", NULL, 4, 8, true},
};

enum { MOST_ORDER = 4096 };

struct order_file {
    struct pp_sched *s;
    double start[MOST_ORDER], end[MOST_ORDER];
    int32_t count;
};

static enum pp_action_type type_of(const char *text) {
    return text[0] == 'F' ? PP_F : text[0] == 'W' ? PP_W : strcmp(text, "BW") == 0 ? PP_B : PP_I;
}

static void read_order(const char *path, struct order_file *f) {
    char *text = NULL;
    size_t size = 0;
    struct pp_err err = {0};
    cr_assert_eq(pp_read_file(path, 1 << 24, &text, &size, &err), PP_OK, "%s", err.message);
    f->count = 0;
    for (char *line = strchr(text, '\n') + 1; *line != '\0'; line = strchr(line, '\n') + 1) {
        int rank, index, microbatch, stage;
        char type[4];
        cr_assert_eq(sscanf(line, "%d,%d,%3[A-Z],%d,%d,%*d,%*d,%lf,%lf", &rank, &index, type,
                            &microbatch, &stage, &f->start[f->count], &f->end[f->count]),
                     7, "%s", line);
        cr_assert_eq(pp_sched_add(f->s, rank, type_of(type), stage, microbatch, &err), PP_OK, "%s",
                     err.message);
        f->count++;
    }
    free(text);
    cr_assert_eq(pp_sched_seal(f->s, &err), PP_OK, "%s: %s", path, err.message);
}

static void check_order(size_t i) {
    static struct order_file f;
    char path[512];
    snprintf(path, sizeof path, PP_SHARED_DIR "/golden/schedules/orders/%s_%s.csv", orders[i].file,
             orders[i].is_unit ? "unit" : "prof");
    struct sail_row row = {.p = orders[i].p, .m = orders[i].m, .mem_w = {73728, 201216}};
    if (orders[i].is_unit) {
        row = (struct sail_row){.p = orders[i].p, .m = orders[i].m, .mem_w = {1, 1}};
        row.f_ns = row.i_ns = row.w_ns = 2 * 1000;
    } else {
        row.f_ns = 2 * 18522;
        row.i_ns = 2 * 18086;
        row.w_ns = 2 * 9337;
        row.p2p_ns = 2 * 601;
    }
    struct pp_gen_config config = {
        .rank_count = row.p, .stages_per_rank = 2, .microbatch_count = row.m};
    struct pp_eval *eval = NULL;
    struct pp_trace trace;
    struct pp_metrics metrics;
    struct pp_rank_memory peaks[8];
    struct sail_costs costs;
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_begin(find_schedule("VMin"), &config, &f.s, &err), PP_OK);
    read_order(path, &f);
    sail_costs_init(&costs, &row, f.s);
    cr_assert_eq(pp_eval_create(f.s, &eval, NULL, &err), PP_OK, "%s: %s", path, err.message);
    cr_assert_eq(pp_trace_init(&trace, f.s, &err), PP_OK);
    cr_assert_eq(pp_eval_run(eval, &costs.gen.times, &trace, &err), PP_OK);
    for (int32_t at = 0; at < f.count; at++) {
        cr_assert_eq((double)trace.start_ns[at], 2 * f.start[at], "%s %d", path, at);
        cr_assert_eq((double)trace.end_ns[at], 2 * f.end[at], "%s %d", path, at);
    }
    pp_metrics_of(&trace, &metrics, NULL);
    pp_memory_peaks(f.s, &costs.memory, peaks);
    if (orders[i].ours != NULL) {
        struct sail_result r = sail_run(&row, &(struct sail_schedule){.schedule = orders[i].ours});
        double peak = 0;
        for (int32_t rank = 0; rank < row.p; rank++) {
            double own = (double)peaks[rank].peak / (2 * (double)row.mem_w[1]);
            peak = own > peak ? own : peak;
        }
        cr_expect_leq(r.makespan_ns, (double)metrics.makespan_ns, "%s", path);
        cr_expect_leq(r.span_ns, (double)metrics.span_ns, "%s", path);
        cr_expect_leq(r.peak, peak, "%s", path);
    }
    free(costs.columns);
    pp_trace_deinit(&trace);
    pp_eval_destroy(eval);
    pp_sched_destroy(f.s);
}

Test(gen_vblock, published_orders_have_their_times_and_ours_are_no_longer) {
    if (!has_shared(PP_SHARED_DIR "/golden/schedules/orders/v-min_p3_m6_unit.csv")) {
        cr_skip_test("../shared is not there");
    }
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        check_order(i);
    }
}

enum { MOST_STAGES = 32 };

struct any_costs {
    int64_t f[MOST_STAGES], i[MOST_STAGES], w[MOST_STAGES], b[MOST_STAGES];
    int64_t recv_f[MOST_STAGES], recv_b[MOST_STAGES];
    int64_t adds[MOST_STAGES], i_frees[MOST_STAGES], w_frees[MOST_STAGES];
    int64_t limit[MOST_STAGES];
    struct pp_gen_costs gen;
};

static void draw_costs(struct any_costs *c, uint64_t *state) {
    for (int32_t stage = 0; stage < MOST_STAGES; stage++) {
        c->f[stage] = random_below(state, 1000);
        c->i[stage] = random_below(state, 1000);
        c->w[stage] = random_below(state, 1000);
        c->b[stage] = c->i[stage] + c->w[stage];
        c->recv_f[stage] = random_below(state, 400);
        c->recv_b[stage] = random_below(state, 400);
        c->w_frees[stage] = random_below(state, 9);
        c->i_frees[stage] = random_below(state, 9);
        c->adds[stage] = c->w_frees[stage] + c->i_frees[stage];
    }
    c->gen = (struct pp_gen_costs){.times = {.f_ns = c->f,
                                             .i_ns = c->i,
                                             .w_ns = c->w,
                                             .b_ns = c->b,
                                             .recv_f_ns = c->recv_f,
                                             .recv_b_ns = c->recv_b},
                                   .f_adds = c->adds,
                                   .i_frees = c->i_frees,
                                   .w_frees = c->w_frees};
}

/* Legal (sealed), runs, and each rank's peak within `shares` and its limit. */
static void check_any(const struct pp_schedule_info *info, const struct pp_gen_config *config,
                      int32_t shares, const struct any_costs *c) {
    struct pp_sched *s = NULL, *again = NULL;
    struct pp_eval *eval = NULL;
    struct pp_rank_memory peaks[MOST_STAGES];
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_generate(info, config, &s, &err), PP_OK, "%s", err.message);
    if (c->gen.limit == NULL) {
        cr_assert_eq(pp_schedule_generate(info, config, &again, &err), PP_OK, "%s", err.message);
        cr_expect_eq(s->action_count, again->action_count);
        cr_expect_arr_eq(s->actions, again->actions, (size_t)s->action_count * sizeof *s->actions);
    }
    cr_assert_eq(pp_eval_create(s, &eval, NULL, &err), PP_OK, "%s", err.message);
    pp_memory_peaks(
        s,
        &(struct pp_memory_model){.f_adds = c->adds, .i_frees = c->i_frees, .w_frees = c->w_frees},
        peaks);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int64_t most = shares * (c->adds[rank] + c->adds[s->stage_count - 1 - rank]);
        if (c->gen.limit != NULL && c->limit[rank] < most) {
            most = c->limit[rank];
        }
        cr_expect_leq(peaks[rank].peak, most, "%s p %d m %d rank %d", info->name, s->rank_count,
                      s->microbatch_count, rank);
    }
    pp_eval_destroy(eval);
    pp_sched_destroy(s);
    pp_sched_destroy(again);
}

Test(gen_vblock, any_ranks_microbatches_costs_and_limits) {
    static struct any_costs c;
    uint64_t state = 11;
    for (int32_t round = 0; round < 15; round++) {
        int32_t p = 1 + 2 * round / 3;
        int32_t m = 1 + random_below(&state, round % 2 == 0 ? p : 2 * p + 2);
        const int32_t shares[] = {(p + 4) / 3, (p + 2) / 2, (2 * p + 3) / 3};
        const char *const names[] = {"VMin", "VHalf", "V1F1B"};
        struct pp_gen_config config = {
            .rank_count = p, .stages_per_rank = 2, .microbatch_count = m, .costs = &c.gen};
        draw_costs(&c, &state);
        check_any(find_schedule(names[round % 3]), &config, shares[round % 3], &c);
        for (int32_t rank = 0; rank < p; rank++) { /* one microbatch, or somewhat more */
            c.limit[rank] = c.adds[rank] + c.adds[2 * p - 1 - rank] +
                            (round % 2 == 0 ? 0 : random_below(&state, 30));
        }
        c.gen.limit = c.limit;
        check_any(find_schedule(names[round % 3]), &config, shares[round % 3], &c);
    }
}

Test(gen_vblock, less_than_one_microbatch_is_no_limit) {
    static struct any_costs c;
    uint64_t state = 5;
    draw_costs(&c, &state);
    for (int32_t rank = 0; rank < 4; rank++) {
        c.limit[rank] = c.adds[rank] + c.adds[7 - rank];
    }
    c.limit[2]--;
    c.gen.limit = c.limit;
    struct pp_gen_config config = {
        .rank_count = 4, .stages_per_rank = 2, .microbatch_count = 6, .costs = &c.gen};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_expect_eq(pp_schedule_generate(find_schedule("VHalf"), &config, &s, &err), PP_E_LIMIT);
    cr_expect(strstr(err.message, "rank 2") != NULL, "%s", err.message);
}
