/**
 * @file metrics.h
 * Figures of a trace, simulated or measured. The three bubbles that people quote differ:
 *
 *   bubble_ratio       1 - mean over ranks of busy / makespan: the wall clock of a flush
 *   span_bubble_ratio  1 - max busy / longest (last end - first start) of any rank: the zero-bubble
 *                      papers' figure
 *   over_ideal_ratio   makespan / max busy - 1: Megatron's (p-1)/(v m)
 *
 * Only compute keeps a rank busy, and a rank's span is from its first compute action to the end of
 * its last. The makespan is the last end of any action: of a lowered schedule, also of sends,
 * reductions and whatever else runs beside.
 */
#ifndef PP_SIM_METRICS_H
#define PP_SIM_METRICS_H

#include "sim/trace.h"

struct pp_metrics {
    int64_t makespan_ns; /* last end of any action - 0 */
    int64_t span_ns;     /* longest (last end - first start) of any rank's compute actions */
    int64_t max_busy_ns, total_busy_ns;
    double bubble_ratio, span_bubble_ratio, over_ideal_ratio; /* 0 where nothing runs */
};

/**
 * @param busy_ns  [rank_count], time each rank computes (a pair that runs as one counts once);
 *                 may be NULL
 * Cost: O(actions).
 */
void pp_metrics_of(const struct pp_trace *trace, struct pp_metrics *metrics_p, int64_t *busy_ns);

#endif
