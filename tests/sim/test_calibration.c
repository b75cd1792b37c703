#include "sim/calibration.h"
#include "tests/sim/execution_support.h"

/* ---- statistics ---- */

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

Test(calibration, medians_quantiles_and_spreads_of_lists_written_out) {
    int64_t odd[] = {5, 1, 9};
    int64_t even[] = {10, 2, 4, 7};
    int64_t below[] = {-3, -8};
    int64_t wild[] = {10, 11, 9, 10, 1000000};
    cr_assert_eq(pp_median(odd, 3), 5);
    cr_assert_eq(pp_median(even, 4), 5);
    cr_assert_eq(pp_median(below, 2), -6);
    cr_assert_eq(pp_median(NULL, 0), 0);
    cr_assert_eq(pp_quantile(even, 4, 0.5), 4);
    cr_assert_eq(pp_quantile(even, 4, 0.95), 10);
    cr_assert_eq(pp_quantile(even, 4, 0.0), 2);
    cr_assert_eq(pp_quantile(even, 4, 1.0), 10);
    cr_assert_eq(pp_spread(wild, 5, 10), 1);
}

/* Every pair of points, sorted: the definition, for a few points. */
static struct pp_line slow_line(const struct pp_point *p, int32_t n) {
    static double slopes[64 * 64];
    static int64_t rest[64];
    struct pp_line line = {.count = n};
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++) {
        for (int32_t k = 0; k < n; k++) {
            if (p[k].bytes > p[i].bytes) {
                double slope = (double)(p[k].ns - p[i].ns) / (double)(p[k].bytes - p[i].bytes);
                int32_t at = count++;
                for (; at > 0 && slopes[at - 1] > slope; at--) {
                    slopes[at] = slopes[at - 1];
                }
                slopes[at] = slope;
            }
        }
    }
    double slope = count == 0 ? 0
                   : count % 2 == 1
                       ? slopes[count / 2]
                       : slopes[count / 2 - 1] + (slopes[count / 2] - slopes[count / 2 - 1]) / 2;
    line.bytes_per_s = slope > 1e-5 ? pp_max_i64(1, (int64_t)(1e9 / slope + 0.5)) : 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t i = 0; i < n; i++) {
            double moving =
                line.bytes_per_s > 0 ? (double)p[i].bytes * 1e9 / (double)line.bytes_per_s : 0;
            rest[i] = p[i].ns - (int64_t)(moving + 0.5) - line.alpha_ns;
            rest[i] = pass == 1 && rest[i] < 0 ? -rest[i] : rest[i];
        }
        qsort(rest, (size_t)n, sizeof *rest, ascending);
        int64_t low = rest[(n - 1) / 2];
        int64_t middle = low + (rest[n / 2] - low) / 2;
        if (pass == 0) {
            line.alpha_ns = middle > 0 ? middle : 0;
        } else {
            line.spread_ns = middle;
        }
    }
    return line;
}

Test(calibration, the_line_is_that_of_a_slow_second_implementation) {
    uint64_t seed = 7;
    int flat = 0;
    for (int k = 0; k < 3000; k++) {
        struct pp_point points[40];
        struct pp_point copy[40];
        int32_t n = 1 + random_below(&seed, 40);
        int32_t sizes = 1 + random_below(&seed, 5);
        int32_t ns_a_byte = random_below(&seed, 4);
        for (int32_t i = 0; i < n; i++) {
            points[i].bytes = 1000 * random_below(&seed, sizes);
            points[i].ns = 500 + ns_a_byte * points[i].bytes + random_below(&seed, 300);
            if (random_below(&seed, 6) == 0) {
                points[i].ns += 10000000; /* the other process was away */
            }
        }
        memcpy(copy, points, sizeof points);
        struct pp_line slow = slow_line(copy, n);
        struct pp_line line;
        cr_assert_eq(pp_fit_line(points, n, &line, NULL), PP_OK);
        cr_assert_eq(line.alpha_ns, slow.alpha_ns, "case %d", k);
        cr_assert_eq(line.bytes_per_s, slow.bytes_per_s, "case %d", k);
        cr_assert_eq(line.spread_ns, slow.spread_ns, "case %d", k);
        cr_assert_eq(line.count, n);
        flat += line.bytes_per_s == 0;
    }
    cr_assert(flat > 100 && flat < 2900, "%d", flat);
}

Test(calibration, a_line_is_found_in_noise_and_among_many_points) {
    enum { COUNT = 20000 };
    struct pp_point *points = malloc(COUNT * sizeof *points);
    uint64_t seed = 8;
    for (int32_t i = 0; i < COUNT; i++) {
        points[i].bytes = 4096 << random_below(&seed, 6);
        points[i].ns = 20000 + points[i].bytes / 4 + random_below(&seed, 201) - 100; /* 4 GB/s */
        points[i].ns += random_below(&seed, 5) == 0 ? random_below(&seed, 1000000) : 0;
    }
    struct pp_line line;
    cr_assert_eq(pp_fit_line(points, COUNT, &line, NULL), PP_OK);
    cr_assert_eq(line.count, COUNT);
    cr_assert(llabs(line.alpha_ns - 20000) < 200, "%lld", (long long)line.alpha_ns);
    cr_assert(llabs(line.bytes_per_s - 4000000000) < 40000000, "%lld", (long long)line.bytes_per_s);
    cr_assert(llabs(pp_line_ns(&line, 65536) - (20000 + 16384)) < 300);
    free(points);
    /* one size, none, and sizes that run the wrong way: the median is all there is to know */
    struct pp_point same[] = {{64, 7}, {64, 9}, {64, 100}};
    struct pp_point wrong[] = {{10, 900}, {20, 800}, {30, 700}};
    cr_assert_eq(pp_fit_line(same, 3, &line, NULL), PP_OK);
    cr_assert(line.alpha_ns == 9 && line.bytes_per_s == 0 && line.spread_ns == 2);
    cr_assert_eq(pp_fit_line(wrong, 3, &line, NULL), PP_OK);
    cr_assert(line.alpha_ns == 800 && line.bytes_per_s == 0);
    cr_assert_eq(pp_fit_line(wrong, 0, &line, NULL), PP_OK);
    cr_assert(line.alpha_ns == 0 && line.bytes_per_s == 0 && line.count == 0);
}

/* ---- from executions ---- */

enum { MAX_ROWS = 66 * 3 };

struct learnt {
    struct pp_stored_execution execution;
    struct pp_trace traces[4];
    struct pp_profile_row rows[MAX_ROWS];
    struct pp_calibration_source source;
};

/* What an execution of `x` would leave in the database; nothing is owned but the traces. */
/* An embedding has no I. */
static bool is_work(int32_t module, int type) {
    return module != PP_MODULE_EMBEDDING || type != PP_I;
}

static void learn_from(struct learnt *l, struct executed *x, int32_t trace_count) {
    l->execution = (struct pp_stored_execution){.sched = x->sched,
                                                .message_bytes = x->message_bytes,
                                                .split = x->split,
                                                .model_key = "a model",
                                                .device = "host",
                                                .transport = "local",
                                                .machine = "here"};
    strcpy(l->execution.id, "0123456789abcdef0123456789abcdef");
    int32_t count = 0;
    for (int32_t m = -1; m <= x->layers; m++) {
        for (int t = PP_F; t <= PP_W; t++) {
            if (!is_work(m, t)) {
                continue;
            }
            l->rows[count++] = (struct pp_profile_row){.module = m,
                                                       .type = (enum pp_action_type)t,
                                                       .median_ns = x->module_ns[m + 1][t],
                                                       .spread_ns = 3,
                                                       .count = 8};
        }
    }
    l->source = (struct pp_calibration_source){.execution = &l->execution,
                                               .traces = l->traces,
                                               .trace_count = trace_count,
                                               .rows = l->rows,
                                               .row_count = count};
}

/* Each action longer or shorter by up to `noise_ns`, some by a lot; what waits for it starts when
 * it ends, and compute `between_ns` later still. */
static void disturb(struct pp_trace *t, int64_t noise_ns, int64_t between_ns, uint64_t *seed) {
    struct pp_waits *waits = NULL;
    struct pp_trace longer;
    size_t n = (size_t)t->sched->action_count;
    cr_assert_eq(pp_waits_create(t->sched, &waits, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&longer, t->sched, NULL), PP_OK);
    for (size_t at = 0; at < n; at++) {
        int64_t ns = t->end_ns[at] - t->start_ns[at];
        if (ns > 0) {
            ns += random_below(seed, (int32_t)(2 * noise_ns + 1)) - noise_ns;
            ns += random_below(seed, 12) == 0 ? 400000 : 0;
        }
        bool lags = pp_action_is_compute(&t->sched->actions[at]);
        longer.end_ns[at] = ns + (lags ? between_ns : 0);
        t->start_ns[at] = 0;
        t->end_ns[at] = longer.end_ns[at];
    }
    push_on(&longer, t, waits, -1);
    for (size_t at = 0; at < n; at++) { /* the lag is before it */
        t->start_ns[at] += pp_action_is_compute(&t->sched->actions[at]) ? between_ns : 0;
    }
    pp_trace_deinit(&longer);
    pp_waits_destroy(waits);
}

/* Costs that traces and profiles were made of come out again, for the split that ran and for
 * another one of the same model. */
Test(calibration, known_costs_come_out_of_noisy_traces) {
    static const struct {
        const char *schedule;
        int32_t ranks, stages_per_rank;
    } kinds[] = {
        {"1F1B", 4, 1}, {"InterleavedZeroBubble", 2, 2}, {"ZBVZeroBubble", 4, 2}, {"GPipe", 2, 1}};
    enum { OVERHEAD = 7000, LATENCY = 15000, NOISE = 2000, BETWEEN = 3000 };
    enum { ALL = OVERHEAD + BETWEEN };
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        struct executed x;
        struct learnt l;
        uint64_t seed = 100 + k;
        struct pp_calibration c;
        struct pp_err err = {0};
        executed_init(&x, kinds[k].schedule, kinds[k].ranks, kinds[k].stages_per_rank, 8, 12);
        draw_modules(&x, &seed);
        for (int i = 0; i < 3; i++) {
            l.traces[i] = executed_trace(&x, OVERHEAD, LATENCY);
            disturb(&l.traces[i], NOISE, BETWEEN, &seed);
        }
        learn_from(&l, &x, 3);
        cr_assert_eq(pp_calibration_fit(&l.source, 1, &c, &err), PP_OK, "%s", err.message);
        cr_assert_not(c.by_stage);
        cr_assert_eq(c.row_count, 14 * 3 - 1);
        cr_assert_eq(c.execution_count, 1);
        for (int t = PP_F; t <= PP_B; t++) {
            const struct pp_action_fit *fit = &c.actions[t];
            cr_assert(fit->count == 0 || llabs(fit->median_ns - OVERHEAD) < NOISE, "%s %d: %lld",
                      kinds[k].schedule, t, (long long)fit->median_ns);
        }
        cr_assert_gt(c.actions[PP_F].count, 0);
        cr_assert_eq(c.actions[PP_SEND_F].count, 0);
        cr_assert(llabs(c.link.alpha_ns - LATENCY) < NOISE, "%lld", (long long)c.link.alpha_ns);
        cr_assert_eq(c.lags[PP_LAG_COMPUTE].median_ns, BETWEEN);
        cr_assert_eq(c.lags[PP_LAG_WAKE].median_ns, BETWEEN);
        cr_assert_eq(c.lags[PP_LAG_POST].median_ns, 0);
        cr_assert(c.residual < 0.02, "%g", c.residual);
        /* another split: everything uneven, another number of stages */
        struct executed y;
        struct pp_calibrated_costs costs;
        executed_init(&y, "Interleaved1F1B", 3, 2, 6, 12);
        memcpy(y.module_ns, x.module_ns, sizeof x.module_ns);
        y.split[0].layer_end = y.split[1].layer_begin = 0;
        cr_assert_eq(pp_calibration_costs(&c, y.sched, y.split, y.message_bytes, &costs, &err),
                     PP_OK, "%s", err.message);
        for (int32_t s = 0; s < 6; s++) {
            int64_t b = stage_ns(&y, s, PP_I) + stage_ns(&y, s, PP_W) + ALL;
            cr_assert(llabs(costs.f_ns[s] - stage_ns(&y, s, PP_F) - ALL) < NOISE);
            cr_assert(llabs(costs.i_ns[s] - stage_ns(&y, s, PP_I) - ALL) < NOISE);
            cr_assert(llabs(costs.w_ns[s] - stage_ns(&y, s, PP_W) - ALL) < NOISE);
            cr_assert(llabs(costs.b_ns[s] - b) < NOISE);
            cr_assert_eq(costs.costs.compute.recv_f_ns[s], c.link.alpha_ns);
        }
        cr_assert_null(pp_calibrated_network(&costs)); /* all messages were of one size */
        pp_calibrated_costs_deinit(&costs);
        pp_calibration_deinit(&c);
        for (int i = 0; i < 3; i++) {
            pp_trace_deinit(&l.traces[i]);
        }
        executed_deinit(&x);
        executed_deinit(&y);
    }
}

/* Without noise the prediction of a schedule that never ran is exact. */
Test(calibration, another_schedule_of_the_model_is_predicted_exactly_without_noise) {
    struct executed x;
    struct executed y;
    struct learnt l;
    struct pp_calibration c;
    struct pp_calibrated_costs costs;
    struct pp_err err = {0};
    uint64_t seed = 9;
    executed_init(&x, "1F1B", 4, 1, 8, 8);
    executed_init(&y, "ZBVZeroBubble", 4, 2, 8, 8);
    draw_modules(&x, &seed);
    memcpy(y.module_ns, x.module_ns, sizeof x.module_ns);
    l.traces[0] = executed_trace(&x, 5000, 9000);
    learn_from(&l, &x, 1);
    cr_assert_eq(pp_calibration_fit(&l.source, 1, &c, &err), PP_OK, "%s", err.message);
    cr_assert_eq(c.residual, 0.0);
    cr_assert_eq(pp_calibration_costs(&c, y.sched, y.split, y.message_bytes, &costs, &err), PP_OK);
    struct pp_trace truth = executed_trace(&y, 5000, 9000);
    struct pp_trace predicted;
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    struct pp_engine *engine = NULL;
    cr_assert_eq(pp_trace_init(&predicted, y.sched, NULL), PP_OK);
    cr_assert_eq(pp_engine_create(y.sched, &runtime, &engine, NULL, &err), PP_OK);
    cr_assert_eq(
        pp_engine_run(engine, &costs.costs, pp_calibrated_network(&costs), &predicted, &err), PP_OK,
        "%s", err.message);
    size_t bytes = (size_t)y.sched->action_count * sizeof *truth.end_ns;
    cr_assert_arr_eq(predicted.start_ns, truth.start_ns, bytes);
    cr_assert_arr_eq(predicted.end_ns, truth.end_ns, bytes);
    pp_engine_destroy(engine);
    pp_trace_deinit(&predicted);
    pp_trace_deinit(&truth);
    pp_trace_deinit(&l.traces[0]);
    pp_calibrated_costs_deinit(&costs);
    pp_calibration_deinit(&c);
    executed_deinit(&x);
    executed_deinit(&y);
}

/* What was beyond the modules of one form of the backward, and the other form in its place. */
Test(calibration, a_form_of_the_backward_that_was_not_seen_has_one_action_more_or_less) {
    struct pp_profile_row rows[] = {
        {0, PP_F, 100, 0, 1}, {0, PP_I, 200, 0, 1}, {0, PP_W, 300, 0, 1}};
    struct pp_calibration c = {.rows = rows, .row_count = 3};
    struct pp_split_stage split[] = {{false, false, 0, 1}};
    struct pp_sched *s = make_schedule("GPipe", 1, 1, 1);
    struct pp_calibrated_costs costs;
    c.actions[PP_F] = (struct pp_action_fit){10, 0, 5};
    c.actions[PP_B] = (struct pp_action_fit){90, 0, 5}; /* 10 of them once an action */
    cr_assert_eq(pp_calibration_costs(&c, s, split, NULL, &costs, NULL), PP_OK);
    cr_assert(costs.f_ns[0] == 110 && costs.b_ns[0] == 590);
    cr_assert(costs.i_ns[0] == 250 && costs.w_ns[0] == 350);
    pp_calibrated_costs_deinit(&costs);
    c.actions[PP_B] = (struct pp_action_fit){0};
    c.actions[PP_I] = (struct pp_action_fit){40, 0, 5};
    c.actions[PP_W] = (struct pp_action_fit){60, 0, 5};
    cr_assert_eq(pp_calibration_costs(&c, s, split, NULL, &costs, NULL), PP_OK);
    cr_assert(costs.i_ns[0] == 240 && costs.w_ns[0] == 360 && costs.b_ns[0] == 590);
    pp_calibrated_costs_deinit(&costs);
    c.actions[PP_I] = c.actions[PP_W] = c.actions[PP_F] = (struct pp_action_fit){0};
    cr_assert_eq(pp_calibration_costs(&c, s, split, NULL, &costs, NULL), PP_OK);
    cr_assert(costs.f_ns[0] == 100 && costs.b_ns[0] == 500 && costs.w_ns[0] == 300);
    pp_calibrated_costs_deinit(&costs);
    pp_sched_destroy(s);
}

/* A workload without modules: each stage for itself; where only B was seen, half of it each. */
Test(calibration, stages_without_modules_are_learnt_one_by_one) {
    struct executed x;
    struct learnt l;
    struct pp_calibration c;
    struct pp_calibrated_costs costs;
    struct pp_err err = {0};
    uint64_t seed = 10;
    executed_init(&x, "1F1B", 4, 1, 8, 8);
    draw_modules(&x, &seed);
    l.traces[0] = executed_trace(&x, 1000, 300);
    learn_from(&l, &x, 1);
    l.execution.split = NULL;
    l.source.row_count = 0;
    cr_assert_eq(pp_calibration_fit(&l.source, 1, &c, &err), PP_OK, "%s", err.message);
    cr_assert(c.by_stage);
    cr_assert_eq(c.row_count, 4 * 2);
    cr_assert_eq(pp_calibration_costs(&c, x.sched, NULL, NULL, &costs, &err), PP_OK, "%s",
                 err.message);
    for (int32_t s = 0; s < 4; s++) {
        cr_assert_eq(costs.f_ns[s], x.f_ns[s]);
        cr_assert_eq(costs.b_ns[s], x.b_ns[s]);
        cr_assert_eq(costs.i_ns[s], x.b_ns[s] / 2);
        cr_assert_eq(costs.i_ns[s] + costs.w_ns[s], x.b_ns[s]);
    }
    pp_calibrated_costs_deinit(&costs);
    struct pp_sched *more = make_schedule("1F1B", 5, 1, 8);
    cr_assert_eq(pp_calibration_costs(&c, more, NULL, NULL, &costs, &err), PP_E_NOT_FOUND);
    cr_assert(strstr(err.message, "stage 4") != NULL, "%s", err.message);
    pp_sched_destroy(more);
    pp_trace_deinit(&l.traces[0]);
    pp_calibration_deinit(&c);
    executed_deinit(&x);
}

/* Messages of other sizes take longer by what the channel moves. */
Test(calibration, message_sizes_that_vary_give_a_rate) {
    struct executed x;
    struct learnt l;
    struct pp_calibration c;
    struct pp_calibrated_costs costs;
    struct pp_err err = {0};
    uint64_t seed = 11;
    executed_init(&x, "1F1B", 4, 1, 8, 8);
    draw_modules(&x, &seed);
    for (int32_t s = 1; s < 4; s++) {
        x.message_bytes[s] = 1000000 * s;
    }
    l.traces[0] = executed_trace(&x, 1000, 300);
    for (int32_t at = 0; at < x.sched->action_count; at++) { /* 2 GB/s */
        const struct pp_action *a = &x.sched->actions[at];
        if (a->type == PP_RECV_F || a->type == PP_RECV_B) {
            int32_t from = a->type == PP_RECV_F ? a->stage : a->stage + 1;
            l.traces[0].end_ns[at] += x.message_bytes[from] / 2;
        }
    }
    learn_from(&l, &x, 1);
    cr_assert_eq(pp_calibration_fit(&l.source, 1, &c, &err), PP_OK, "%s", err.message);
    cr_assert_eq(c.link.bytes_per_s, 2000000000);
    cr_assert_eq(c.link.alpha_ns, 300);
    cr_assert_eq(c.link.spread_ns, 0);
    cr_assert_eq(pp_calibration_costs(&c, x.sched, x.split, x.message_bytes, &costs, &err), PP_OK);
    cr_assert_not_null(pp_calibrated_network(&costs));
    cr_assert_eq(costs.network.port_bytes_per_s, 2000000000);
    cr_assert_eq(costs.costs.message_f_bytes[2], 2000000);
    cr_assert_eq(costs.costs.message_b_bytes[2], 3000000);
    cr_assert_eq(costs.costs.message_b_bytes[3], 0);
    cr_assert_eq(pp_network_check(&costs.network, 4, &err), PP_OK, "%s", err.message);
    pp_calibrated_costs_deinit(&costs);
    pp_trace_deinit(&l.traces[0]);
    pp_calibration_deinit(&c);
    executed_deinit(&x);
}

Test(calibration, several_executions_are_joined_and_what_does_not_go_together_is_refused) {
    struct executed x;
    struct learnt a;
    struct learnt b;
    struct pp_calibration c;
    struct pp_calibrated_costs costs;
    struct pp_err err = {0};
    uint64_t seed = 12;
    executed_init(&x, "1F1B", 2, 1, 8, 6);
    draw_modules(&x, &seed);
    a.traces[0] = executed_trace(&x, 0, 0);
    b.traces[0] = a.traces[0];
    learn_from(&a, &x, 1);
    learn_from(&b, &x, 1);
    for (int32_t i = 0; i < b.source.row_count; i++) {
        b.rows[i].median_ns += 1000000; /* the one that ran more often tells */
        b.rows[i].count = 3;
    }
    struct pp_calibration_source both[] = {a.source, b.source};
    cr_assert_eq(pp_calibration_fit(both, 2, &c, &err), PP_OK, "%s", err.message);
    cr_assert_eq(c.row_count, 8 * 3 - 1);
    cr_assert_eq(c.rows[0].median_ns, x.module_ns[0][PP_F]);
    cr_assert_eq(c.rows[0].count, 11);
    cr_assert_eq(c.execution_count, 2);
    /* what was not seen */
    struct executed y;
    executed_init(&y, "1F1B", 2, 1, 8, 9);
    cr_assert_eq(pp_calibration_costs(&c, y.sched, y.split, NULL, &costs, &err), PP_E_NOT_FOUND);
    cr_assert(strstr(err.message, "layer 7") != NULL, "%s", err.message); /* 6 was the head */
    cr_assert_eq(pp_calibration_costs(&c, y.sched, NULL, NULL, &costs, &err), PP_E_NOT_FOUND);
    pp_calibration_deinit(&c);
    b.execution.machine = "there";
    cr_assert_eq(pp_calibration_fit(both, 2, &c, &err), PP_E_VALUE);
    cr_assert(strstr(err.message, "machine") != NULL, "%s", err.message);
    a.source.row_count = 0;
    cr_assert_eq(pp_calibration_fit(&a.source, 1, &c, &err), PP_E_NOT_FOUND);
    cr_assert(strstr(err.message, "no profile") != NULL, "%s", err.message);
    a.source.trace_count = 0;
    cr_assert_eq(pp_calibration_fit(&a.source, 1, &c, &err), PP_E_NOT_FOUND);
    pp_trace_deinit(&a.traces[0]);
    executed_deinit(&x);
    executed_deinit(&y);
}

/* ---- in the database ---- */

static void expect_same(const struct pp_calibration *a, const struct pp_calibration *b) {
    for (int i = 0; i < PP_LAG_COUNT; i++) {
        cr_assert(a->lags[i].count > 0 && a->lags[i].median_ns == b->lags[i].median_ns &&
                  a->lags[i].spread_ns == b->lags[i].spread_ns &&
                  a->lags[i].count == b->lags[i].count);
    }
    cr_assert_str_eq(a->id, b->id);
    cr_assert_str_eq(a->model_key, b->model_key);
    cr_assert_str_eq(a->device, b->device);
    cr_assert_str_eq(a->transport, b->transport);
    cr_assert_str_eq(a->machine, b->machine);
    cr_assert_eq(a->by_stage, b->by_stage);
    cr_assert_eq(a->row_count, b->row_count);
    for (int32_t i = 0; i < a->row_count; i++) {
        const struct pp_profile_row *x = &a->rows[i], *y = &b->rows[i];
        cr_assert(x->module == y->module && x->type == y->type && x->median_ns == y->median_ns &&
                  x->spread_ns == y->spread_ns && x->count == y->count);
    }
    for (int i = 0; i < PP_ACTION_TYPE_COUNT; i++) {
        const struct pp_action_fit *x = &a->actions[i], *y = &b->actions[i];
        cr_assert(x->median_ns == y->median_ns && x->spread_ns == y->spread_ns &&
                  x->count == y->count);
    }
    cr_assert(a->link.alpha_ns == b->link.alpha_ns && a->link.count == b->link.count &&
              a->link.bytes_per_s == b->link.bytes_per_s && a->link.spread_ns == b->link.spread_ns);
    cr_assert(a->sample_count == b->sample_count && a->residual == b->residual);
    cr_assert_eq(a->execution_count, b->execution_count);
    cr_assert_str_eq(a->executions[0], b->executions[0]);
}

static struct pp_calibration fit_one(struct executed *x, const char *execution, int64_t overhead) {
    struct learnt l;
    struct pp_calibration c;
    struct pp_err err = {0};
    l.traces[0] = executed_trace(x, overhead, 300);
    learn_from(&l, x, 1);
    strcpy(l.execution.id, execution);
    cr_assert_eq(pp_calibration_fit(&l.source, 1, &c, &err), PP_OK, "%s", err.message);
    pp_trace_deinit(&l.traces[0]);
    return c;
}

Test(calibration, comes_back_as_it_went_in_and_the_latest_is_found) {
    struct executed x;
    uint64_t seed = 13;
    struct pp_err err = {0};
    executed_init(&x, "ZBH1", 2, 1, 8, 6);
    draw_modules(&x, &seed);
    struct pp_store *store = open_store(x.path);
    struct pp_calibration first = fit_one(&x, "aa", 1000);
    struct pp_calibration second = fit_one(&x, "bb", 2000);
    struct pp_calibration back;
    struct pp_calibration_key key = {"a model", "host", "local", "here", NULL};
    cr_assert_eq(pp_store_find_calibration(store, &key, &back, &err), PP_E_NOT_FOUND);
    for (int i = 0; i < 2; i++) { /* twice: stored once */
        cr_assert_eq(pp_store_add_calibration(store, &first, &err), PP_OK, "%s", err.message);
    }
    cr_assert_eq(pp_store_add_calibration(store, &second, &err), PP_OK, "%s", err.message);
    cr_assert_eq(count_rows(x.path, "SELECT count(*) FROM calibrations"), 2);
    cr_assert_str_neq(first.id, second.id);
    cr_assert_eq(pp_store_read_calibration(store, first.id, &back, &err), PP_OK, "%s", err.message);
    expect_same(&first, &back);
    pp_calibration_deinit(&back);
    cr_assert_eq(pp_store_find_calibration(store, &key, &back, &err), PP_OK, "%s", err.message);
    expect_same(&second, &back);
    pp_calibration_deinit(&back);
    key.not_alone_from = "bb";
    cr_assert_eq(pp_store_find_calibration(store, &key, &back, &err), PP_OK, "%s", err.message);
    expect_same(&first, &back);
    pp_calibration_deinit(&back);
    key.transport = "mpi";
    cr_assert_eq(pp_store_find_calibration(store, &key, &back, &err), PP_E_NOT_FOUND);
    cr_assert_eq(pp_store_read_calibration(store, "", &back, &err), PP_E_NOT_FOUND);
    cr_assert_eq(pp_store_read_calibration(store, "ffffffffffffffffffffffffffffffff", &back, &err),
                 PP_E_NOT_FOUND);
    pp_calibration_deinit(&first);
    pp_calibration_deinit(&second);
    pp_store_close(store);
    executed_deinit(&x);
}

Test(calibration, edited_rows_are_refused) {
    static const char *const edits[] = {
        "UPDATE calibrations SET executions = '[]'",
        "UPDATE calibrations SET executions = '[1]'",
        "UPDATE calibrations SET executions = 'aa'",
        "UPDATE calibrations SET link_alpha_ns = -1",
        "UPDATE calibrations SET link_bytes_per_s = -1",
        "UPDATE calibration_rows SET median_ns = -1 WHERE kind = 'module'",
        "UPDATE calibration_rows SET key = -2 WHERE kind = 'module' AND key = 0",
        "UPDATE calibration_rows SET type = 'G' WHERE kind = 'module' AND type = 'F'",
        "UPDATE calibration_rows SET type = 'B' WHERE kind = 'module' AND type = 'F'",
        "UPDATE calibration_rows SET kind = 'stage' WHERE key = 3",
        "UPDATE calibration_rows SET median_ns = -1 WHERE kind = 'lag'",
        "UPDATE calibration_rows SET type = 'lack' WHERE type = 'wake'",
        "DELETE FROM calibration_rows",
        "DELETE FROM calibration_rows WHERE kind = 'module'",
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        struct executed x;
        uint64_t seed = 14;
        struct pp_err err = {0};
        struct pp_calibration back;
        executed_init(&x, "1F1B", 2, 1, 4, 6);
        draw_modules(&x, &seed);
        struct pp_store *store = open_store(x.path);
        struct pp_calibration c = fit_one(&x, "aa", 1000);
        cr_assert_eq(pp_store_add_calibration(store, &c, &err), PP_OK, "%s", err.message);
        change_rows(x.path, edits[i]);
        cr_assert_eq(pp_store_read_calibration(store, c.id, &back, &err), PP_E_STORE,
                     "%s was taken", edits[i]);
        cr_assert(strstr(err.message, "cannot be read back") != NULL, "%s", err.message);
        pp_calibration_deinit(&c);
        pp_store_close(store);
        executed_deinit(&x);
    }
}
