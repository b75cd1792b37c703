#include "sim/metrics.h"

/* Time a compute action keeps its rank busy; nothing else does. The parts of a pair that ran as one
 * share one interval. */
static int64_t busy_of(const struct pp_trace *t, int32_t at) {
    if (t->sched->actions[at].pair == 2 && t->start_ns[at] < t->end_ns[at - 1]) {
        return pp_max_i64(0, t->end_ns[at] - t->end_ns[at - 1]);
    }
    return t->end_ns[at] - t->start_ns[at];
}

void pp_metrics_of(const struct pp_trace *t, struct pp_metrics *metrics_p, int64_t *busy_ns) {
    const struct pp_sched *s = t->sched;
    struct pp_metrics m = {0};
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int32_t begin = s->rank_begin[rank];
        int32_t end = s->rank_begin[rank + 1];
        int64_t busy = 0;
        int64_t last = 0;
        int64_t last_compute = 0;
        int64_t first = INT64_MAX;
        for (int32_t at = begin; at < end; at++) {
            last = pp_max_i64(last, t->end_ns[at]);
            if (pp_action_is_compute(&s->actions[at])) {
                busy += busy_of(t, at);
                first = pp_min_i64(first, t->start_ns[at]);
                last_compute = t->end_ns[at];
            }
        }
        m.makespan_ns = pp_max_i64(m.makespan_ns, last);
        m.span_ns = pp_max_i64(m.span_ns, first < INT64_MAX ? last_compute - first : 0);
        m.max_busy_ns = pp_max_i64(m.max_busy_ns, busy);
        m.total_busy_ns += busy;
        if (busy_ns != NULL) {
            busy_ns[rank] = busy;
        }
    }
    if (m.max_busy_ns > 0) {
        m.bubble_ratio =
            1.0 - (double)m.total_busy_ns / ((double)s->rank_count * (double)m.makespan_ns);
        m.span_bubble_ratio = 1.0 - (double)m.max_busy_ns / (double)m.span_ns;
        m.over_ideal_ratio = (double)m.makespan_ns / (double)m.max_busy_ns - 1.0;
    }
    *metrics_p = m;
}
