/* The three bubbles of a trace, on traces where they differ. */
#include "tests/sim/sim_support.h"

#include "sim/metrics.h"

/* Rank 0 from 0 to 10 with a gap of 4, rank 1 from 6 to 20 without one: no rank is there from the
 * first start to the last end. */
Test(metrics, a_span_is_one_ranks_own) {
    struct pp_err err = {0};
    struct pp_sched *s = parse_csv("0F0,0B0\n1F0,1B0\n", &err);
    struct pp_trace t;
    struct pp_metrics m;
    int64_t busy_ns[2];
    cr_assert_not_null(s, "%s", err.message);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    const int64_t times[4][2] = {{0, 3}, {7, 10}, {6, 12}, {12, 20}};
    for (int i = 0; i < 4; i++) {
        t.start_ns[i] = times[i][0];
        t.end_ns[i] = times[i][1];
    }
    pp_metrics_of(&t, &m, busy_ns);
    cr_assert_eq(m.makespan_ns, 20);
    cr_assert_eq(m.span_ns, 14);
    cr_assert_eq(busy_ns[0], 6);
    cr_assert_eq(busy_ns[1], 14);
    cr_assert_float_eq(m.bubble_ratio, 1 - 20.0 / 40, 1e-12);
    cr_assert_float_eq(m.span_bubble_ratio, 0, 1e-12);
    cr_assert_float_eq(m.over_ideal_ratio, 20.0 / 14 - 1, 1e-12);
    pp_trace_deinit(&t);
    pp_sched_destroy(s);
}

/* Rank 0 waits from 10 to 57 and computes 30 in all, rank 1 from 15 to 45; its last message moves
 * until 52, its reduction until 99. */
Test(metrics, only_compute_keeps_a_rank_of_a_lowered_schedule_busy) {
    struct pp_csv_expect lowered = {.is_lowered = true};
    const char *text = "0F0,0SEND_F0,0RECV_B0,0B0,0REDUCE_GRAD\n"
                       "1RECV_F0,1F0,1B0,1SEND_B0,1REDUCE_GRAD\n";
    struct pp_err err = {0};
    struct pp_sched *s = NULL;
    struct pp_trace t;
    struct pp_metrics m;
    int64_t busy_ns[2];
    cr_assert_eq(pp_sched_csv_parse("x.csv", text, strlen(text), &lowered, &s, &err), PP_OK, "%s",
                 err.message);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    const int64_t times[10][2] = {{0, 10},  {10, 15}, {45, 57}, {57, 77}, {77, 80},
                                  {10, 15}, {15, 25}, {25, 45}, {45, 52}, {45, 99}};
    for (int i = 0; i < 10; i++) {
        t.start_ns[i] = times[i][0];
        t.end_ns[i] = times[i][1];
    }
    pp_metrics_of(&t, &m, busy_ns);
    cr_assert_eq(m.makespan_ns, 99);
    cr_assert_eq(m.span_ns, 77);
    cr_assert_eq(busy_ns[0], 30);
    cr_assert_eq(busy_ns[1], 30);
    cr_assert_float_eq(m.bubble_ratio, 1 - 60.0 / 198, 1e-12);
    cr_assert_float_eq(m.span_bubble_ratio, 1 - 30.0 / 77, 1e-12);
    pp_trace_deinit(&t);
    pp_sched_destroy(s);
}
