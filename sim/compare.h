/**
 * @file compare.h
 * Two traces of one lowered schedule, held against one another: what was predicted and what was
 * measured, or two executions. Differences are always b - a; with a prediction in a and a
 * measurement in b, the prediction's error is a / b - 1.
 *
 * The critical path of each is the chain of what held actions up (sim/waits.h), back from the
 * action that ends last. The traces diverge at the first action of b's path, from its beginning,
 * for which one of these holds:
 *   start        it starts more than the tolerance earlier or later than in a
 *   predecessor  what held it up in b is another action than in a, and one that in a had ended more
 *                than the tolerance before that other
 */
#ifndef PP_SIM_COMPARE_H
#define PP_SIM_COMPARE_H

#include "sim/metrics.h"
#include "sim/waits.h"

/** Time along a critical path; the four sum to the makespan. */
struct pp_path {
    int32_t *actions; /* [count] from the first */
    int32_t count;
    int64_t compute_ns, message_ns, other_ns; /* other: collectives, transfers to the host */
    int64_t lag_ns;                           /* between actions */
};

/** Messages of one direction of one trace: how they spent the time since their SEND or RECV was
 *  posted. Figures of RECVs. */
struct pp_message_times {
    int64_t wait_ns, transfer_ns;               /* sums */
    int64_t median_wait_ns, median_transfer_ns; /* wait: until both sides are there */
};

struct pp_compared_trace {
    struct pp_metrics metrics;
    int64_t *busy_ns; /* [rank_count] */
    struct pp_path path;
    struct pp_message_times messages[2]; /* forward, backward */
};

struct pp_compared_type {
    int32_t count;
    int64_t a_ns, b_ns;    /* median durations */
    int64_t difference_ns; /* median of the differences */
};

enum pp_divergence_reason { PP_DIVERGED_NOT, PP_DIVERGED_START, PP_DIVERGED_PREDECESSOR };

struct pp_divergence {
    enum pp_divergence_reason reason;
    int64_t tolerance_ns;
    int32_t at;                 /* index in b's path */
    int32_t action;             /* -1: none */
    int32_t a_before, b_before; /* what held it up; -1: nothing */
};

/** Owned; free with pp_comparison_deinit. */
struct pp_comparison {
    struct pp_compared_trace a, b;
    double makespan_error;                            /* a / b - 1; 0 where b is empty */
    int64_t start_p50_ns, start_p95_ns, start_max_ns; /* of |b - a| of starts of compute actions */
    int32_t start_max_action;
    struct pp_compared_type types[PP_ACTION_TYPE_COUNT];
    int32_t message_count[2];
    struct pp_divergence divergence;
};
void pp_comparison_deinit(struct pp_comparison *comparison);

/** Names of the reasons in reports: "start", "predecessor"; "" if not. */
const char *pp_divergence_text(enum pp_divergence_reason reason);

enum { PP_COMPARE_TOLERANCE_SHARE = 100 }; /* of a's makespan, where no tolerance is given: 1 % */

/**
 * @param a, b          of one schedule, or of two that are the same action by action
 * @param tolerance_ns  negative: a's makespan / PP_COMPARE_TOLERANCE_SHARE
 * @return PP_OK, PP_E_ARG (of two schedules), PP_E_DEADLOCK (as pp_waits_create), PP_E_NOMEM
 * Cost: O(actions log actions).
 */
enum pp_status pp_compare(const struct pp_trace *a, const struct pp_trace *b, int64_t tolerance_ns,
                          struct pp_comparison *comparison_p, struct pp_err *err);

/** Is it the same schedule, action by action? */
bool pp_sched_same(const struct pp_sched *a, const struct pp_sched *b);

#endif
