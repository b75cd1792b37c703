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
