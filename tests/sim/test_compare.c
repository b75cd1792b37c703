#include "sim/causes.h"
#include "sim/compare.h"
#include "tests/sim/execution_support.h"
#include "tests/sim/random_lowered.h"

static struct pp_trace copy_trace(const struct pp_trace *t) {
    struct pp_trace copy;
    size_t n = (size_t)t->sched->action_count;
    cr_assert_eq(pp_trace_init_queued(&copy, t->sched, NULL), PP_OK);
    memcpy(copy.start_ns, t->start_ns, n * sizeof *t->start_ns);
    memcpy(copy.end_ns, t->end_ns, n * sizeof *t->end_ns);
    if (t->queue_ns != NULL) {
        memcpy(copy.queue_ns, t->queue_ns, n * sizeof *t->queue_ns);
    }
    return copy;
}

static struct pp_comparison compare(const struct pp_trace *a, const struct pp_trace *b,
                                    int64_t tolerance_ns) {
    struct pp_comparison c;
    struct pp_err err = {0};
    cr_assert_eq(pp_compare(a, b, tolerance_ns, &c, &err), PP_OK, "%s", err.message);
    return c;
}

/* A random lowered schedule that our runtime could run, and the engine's trace of it. */
static void draw_case(struct lowered_case *c, struct pp_trace *t, uint64_t *seed) {
    struct pp_engine *e = NULL;
    struct pp_err err = {0};
    for (;;) {
        c->order = draw_sealed_within(seed, &draw_usual);
        struct pp_lower_options options = draw_lower_options(seed);
        options.mode = PP_LOWER_OURS;
        c->runtime = pp_runtime_of(PP_RUNTIME_OURS);
        cr_assert_eq(pp_sched_lower(c->order, &options, &c->lowered, &err), PP_OK, "%s",
                     err.message);
        if (pp_engine_create(c->lowered, &c->runtime, &e, NULL, &err) == PP_OK) {
            break;
        }
        lowered_case_deinit(c);
    }
    draw_engine_costs_below(c, 1000000, seed);
    c->costs.compute.pair_ns = NULL;
    draw_network(c, seed);
    c->network.shared = false;
    cr_assert_eq(pp_trace_init(t, c->lowered, NULL), PP_OK);
    cr_assert_eq(
        pp_engine_run(e, &c->costs, random_below(seed, 2) == 0 ? &c->network : NULL, t, &err),
        PP_OK, "%s", err.message);
    pp_engine_destroy(e);
}

/* What holds actions up in a trace of the engine ends right when they start: the waits read from
 * the schedule are all that our runtime waits for. */
Test(compare, waits_explain_every_start_of_the_engine) {
    uint64_t seed = 31;
    for (int k = 0; k < 300; k++) {
        struct lowered_case c;
        struct pp_trace t;
        struct pp_waits *waits = NULL;
        struct pp_err err = {0};
        draw_case(&c, &t, &seed);
        cr_assert_eq(pp_waits_create(c.lowered, &waits, &err), PP_OK, "%s", err.message);
        for (int32_t at = 0; at < c.lowered->action_count; at++) {
            struct pp_binding b = pp_waits_binding(waits, &t, at);
            char text[PP_ACTION_TEXT_BYTES];
            cr_assert_eq(b.lag_ns, 0);
            cr_assert_eq(b.action < 0 ? 0 : t.end_ns[b.action], t.start_ns[at], "case %d: %s", k,
                         pp_action_text(&c.lowered->actions[at], text));
        }
        pp_waits_destroy(waits);
        pp_trace_deinit(&t);
        lowered_case_deinit(&c);
    }
}

/* Any schedule that can run, whoever lowered it, with times that are none: chains end all the same.
 */
Test(compare, chains_end_whatever_the_times_are) {
    uint64_t seed = 32;
    int refused = 0;
    for (int k = 0; k < 300; k++) {
        struct lowered_case c;
        struct pp_trace t;
        struct pp_waits *waits = NULL;
        struct pp_err err = {0};
        draw_lowered(&c, &seed, &draw_usual);
        enum pp_status status = pp_waits_create(c.lowered, &waits, &err);
        if (status == PP_E_DEADLOCK) {
            refused++;
            lowered_case_deinit(&c);
            continue;
        }
        cr_assert_eq(status, PP_OK, "%s", err.message);
        cr_assert_eq(pp_trace_init(&t, c.lowered, NULL), PP_OK);
        for (int32_t at = 0; at < c.lowered->action_count; at++) {
            t.start_ns[at] = random_below(&seed, 50);
            t.end_ns[at] = random_below(&seed, 50);
        }
        struct pp_cause_inputs in = {.binding = pp_waits_binding, .context = waits};
        int32_t count = pp_critical_path(&t, &in, NULL, 0);
        cr_assert(count >= 1 && count <= c.lowered->action_count);
        pp_waits_destroy(waits);
        pp_trace_deinit(&t);
        lowered_case_deinit(&c);
    }
    cr_assert_lt(refused, 150);
}

Test(compare, a_trace_with_itself_is_all_zeros) {
    uint64_t seed = 33;
    for (int k = 0; k < 200; k++) {
        struct lowered_case c;
        struct pp_trace t;
        draw_case(&c, &t, &seed);
        struct pp_trace same = copy_trace(&t);
        for (int32_t at = 0; at < c.lowered->action_count && k % 2 == 0; at++) {
            same.queue_ns[at] = t.start_ns[at];
        }
        struct pp_comparison d = compare(&t, &t, 0);
        cr_assert_eq(d.makespan_error, 0.0);
        cr_assert_eq(d.start_p50_ns + d.start_p95_ns + d.start_max_ns, 0);
        for (int type = 0; type < PP_ACTION_TYPE_COUNT; type++) {
            cr_assert_eq(d.types[type].difference_ns, 0);
            cr_assert_eq(d.types[type].a_ns, d.types[type].b_ns);
        }
        cr_assert_eq(d.divergence.reason, PP_DIVERGED_NOT);
        cr_assert_eq(d.a.path.count, d.b.path.count);
        cr_assert_eq(
            memcmp(d.a.path.actions, d.b.path.actions, (size_t)d.a.path.count * sizeof(int32_t)),
            0);
        cr_assert_eq(
            memcmp(d.a.busy_ns, d.b.busy_ns, (size_t)c.lowered->rank_count * sizeof(int64_t)), 0);
        cr_assert_eq(d.a.messages[0].wait_ns, d.b.messages[0].wait_ns);
        cr_assert_eq(d.a.path.compute_ns + d.a.path.message_ns + d.a.path.other_ns +
                         d.a.path.lag_ns,
                     d.a.metrics.makespan_ns);
        cr_assert_eq(d.a.path.lag_ns, 0);
        pp_comparison_deinit(&d);
        d = compare(&t, &same, 0); /* what is queued when moves nothing else */
        cr_assert_eq(d.divergence.reason, PP_DIVERGED_NOT);
        cr_assert(k % 2 == 1 || d.b.messages[0].wait_ns == 0);
        pp_comparison_deinit(&d);
        pp_trace_deinit(&same);
        pp_trace_deinit(&t);
        lowered_case_deinit(&c);
    }
}

/* Which parts of pairs were in flight together changes with their times, and with it what they wait
 * for: there an action may be late by more than what made it late. */
static bool has_pairs(const struct pp_sched *s) {
    for (int32_t at = 0; at < s->action_count; at++) {
        if (s->actions[at].pair != 0) {
            return true;
        }
    }
    return false;
}

/* One action begins late: it is where the traces part, and its delay is what they differ by. */
Test(compare, one_late_action_is_the_first_divergence) {
    uint64_t seed = 34;
    int looked_at = 0;
    for (int k = 0; k < 400; k++) {
        struct lowered_case c;
        struct pp_trace t;
        struct pp_waits *waits = NULL;
        draw_case(&c, &t, &seed);
        cr_assert_eq(pp_waits_create(c.lowered, &waits, NULL), PP_OK);
        struct pp_trace late = copy_trace(&t);
        int32_t at = random_below(&seed, c.lowered->action_count);
        if (!pp_action_is_compute(&c.lowered->actions[at]) || c.lowered->actions[at].pair != 0) {
            at = -1; /* both ends of a message, and both parts of a pair, would have to move */
        }
        int64_t makespan_ns = 0;
        for (int32_t i = 0; i < c.lowered->action_count; i++) {
            makespan_ns = pp_max_i64(makespan_ns, t.end_ns[i]);
        }
        if (at >= 0) {
            late.start_ns[at] += makespan_ns + 1; /* so long that nothing else is critical */
            late.end_ns[at] += makespan_ns + 1;
            push_on(&t, &late, waits, at);
            struct pp_comparison d = compare(&t, &late, makespan_ns);
            cr_assert_eq(d.divergence.reason, PP_DIVERGED_START, "case %d", k);
            cr_assert_eq(d.divergence.action, at, "case %d", k);
            cr_assert_eq(d.b.path.actions[d.divergence.at], at);
            cr_assert_eq(d.b.path.lag_ns, makespan_ns + 1);
            cr_assert_geq(d.start_max_ns, makespan_ns + 1);
            cr_assert(d.makespan_error < 0.0 || makespan_ns == 0);
            pp_comparison_deinit(&d);
            d = compare(&t, &late, makespan_ns + 1); /* within the tolerance */
            cr_assert(d.divergence.reason != PP_DIVERGED_START || has_pairs(c.lowered));
            pp_comparison_deinit(&d);
            looked_at++;
        }
        pp_trace_deinit(&late);
        pp_trace_deinit(&t);
        pp_waits_destroy(waits);
        lowered_case_deinit(&c);
    }
    cr_assert_gt(looked_at, 80);
}

/* Two ranks, two microbatches, written out by hand. Predicted: 1F0 waits for its message and 1F1
 * for 1B0 before it; measured: the second message is late, by less than the tolerance of starts,
 * but more than it had to spare. */
Test(compare, what_held_an_action_up_is_told_apart_by_the_tolerance) {
    static const char csv[] = "0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1\r\n"
                              "1RECV_F0,1F0,1RECV_F1,1B0,1SEND_B0,1F1,1B1,1SEND_B1\r\n";
    struct pp_csv_expect expect = {.is_lowered = true};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    struct pp_trace a;
    cr_assert_eq(pp_sched_csv_parse("x", csv, strlen(csv), &expect, &s, &err), PP_OK, "%s",
                 err.message);
    cr_assert_eq(pp_trace_init_queued(&a, s, NULL), PP_OK);
    static const int64_t times[][3] = {
        {0, 0, 100},     {100, 100, 110}, {100, 100, 200}, {200, 200, 210}, /* queue, start, end */
        {200, 410, 420}, {420, 420, 620}, {620, 810, 820}, {820, 820, 1020},
        {0, 100, 110},   {110, 110, 210}, {110, 200, 210}, {210, 210, 410},
        {410, 410, 420}, {410, 410, 510}, {510, 510, 810}, {810, 810, 820},
    };
    for (int32_t at = 0; at < 16; at++) {
        a.queue_ns[at] = times[at][0];
        a.start_ns[at] = times[at][1];
        a.end_ns[at] = times[at][2];
    }
    struct pp_trace b = copy_trace(&a);
    struct pp_comparison d = compare(&a, &b, 0);
    cr_assert_eq(d.divergence.reason, PP_DIVERGED_NOT);
    cr_assert_eq(d.a.messages[0].wait_ns, 100 + 90);
    cr_assert_eq(d.a.messages[0].transfer_ns, 20);
    cr_assert_eq(d.a.messages[1].wait_ns, 210 + 190);
    cr_assert_eq(d.message_count[0], 2);
    cr_assert_eq(d.a.metrics.makespan_ns, 1020);
    cr_assert_eq(d.a.busy_ns[0], 600);
    cr_assert_eq(d.a.path.compute_ns, 100 + 100 + 200 + 100 + 300 + 200);
    cr_assert_eq(d.a.path.message_ns, 20);
    pp_comparison_deinit(&d);
    b.end_ns[10] = 415; /* 1RECV_F1, 205 later */
    b.start_ns[13] = 415;
    b.end_ns[13] = 515; /* 1F1 */
    d = compare(&a, &b, 50);
    cr_assert_eq(d.divergence.reason, PP_DIVERGED_PREDECESSOR);
    cr_assert_eq(d.divergence.action, 13);
    cr_assert_eq(d.divergence.a_before, 11); /* 1B0 */
    cr_assert_eq(d.divergence.b_before, 10);
    cr_assert_eq(d.types[PP_RECV_F].difference_ns, 102); /* of 0 and 205 */
    cr_assert_eq(d.types[PP_F].difference_ns, 0);
    pp_comparison_deinit(&d);
    d = compare(&a, &b, 4);
    cr_assert_eq(d.divergence.reason, PP_DIVERGED_START);
    cr_assert_eq(d.divergence.action, 13);
    pp_comparison_deinit(&d);
    d = compare(&a, &b, 200); /* as little to spare as nothing */
    cr_assert_eq(d.divergence.reason, PP_DIVERGED_NOT);
    pp_comparison_deinit(&d);
    d = compare(&a, &b, -1);
    cr_assert_eq(d.divergence.tolerance_ns, 10);
    pp_comparison_deinit(&d);
    pp_trace_deinit(&a);
    pp_trace_deinit(&b);
    pp_sched_destroy(s);
}

Test(compare, errors_and_quantiles_of_a_slower_run) {
    struct executed x;
    uint64_t seed = 35;
    executed_init(&x, "Interleaved1F1B", 4, 2, 8, 8);
    draw_modules(&x, &seed);
    struct pp_trace a = executed_trace(&x, 0, 0);
    struct pp_trace b = executed_trace(&x, 50000, 0);
    struct pp_comparison d = compare(&a, &b, -1);
    cr_assert_eq(d.types[PP_F].difference_ns, 50000);
    cr_assert_eq(d.types[PP_B].difference_ns, 50000);
    cr_assert_float_eq(d.makespan_error,
                       (double)d.a.metrics.makespan_ns / (double)d.b.metrics.makespan_ns - 1.0,
                       1e-12);
    cr_assert_lt(d.makespan_error, 0.0);
    cr_assert(d.start_p50_ns <= d.start_p95_ns && d.start_p95_ns <= d.start_max_ns);
    cr_assert_gt(d.start_p50_ns, 0);
    int64_t per_rank = 8 * 2 * 2 * 50000;
    for (int32_t r = 0; r < 4; r++) {
        cr_assert_eq(d.b.busy_ns[r] - d.a.busy_ns[r], per_rank);
    }
    pp_comparison_deinit(&d);
    struct executed y;
    executed_init(&y, "1F1B", 4, 1, 8, 8);
    struct pp_trace other = executed_trace(&y, 0, 0);
    struct pp_err err = {0};
    cr_assert_eq(pp_compare(&a, &other, 0, &d, &err), PP_E_ARG);
    pp_trace_deinit(&other);
    pp_trace_deinit(&a);
    pp_trace_deinit(&b);
    executed_deinit(&x);
    executed_deinit(&y);
}
