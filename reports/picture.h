/**
 * @file picture.h
 * Pictures through a gnuplot pipe, each as SVG and PNG: <dir>/<name>.svg and <dir>/<name>.png.
 *
 * Conventions engineers know: a row a rank, rank 0 on top; F blue, full B orange, I teal, W green;
 * shade = virtual stage; the microbatch number where the box has room; colours that stay apart for
 * colour-blind readers and in print. The same input gives the same bytes. Files are written under a
 * temporary name and renamed, so that a failure leaves no half picture.
 */
#ifndef PP_REPORTS_PICTURE_H
#define PP_REPORTS_PICTURE_H

#include "sim/memory.h"
#include "sim/trace.h"

/** One Gantt chart; several share one time axis, stacked. */
struct pp_gantt {
    const char *title;            /* "as it is: Interleaved1F1B ..., step 12.3 s" */
    const struct pp_trace *trace; /* one flush */
    int32_t flush_count;          /* flushes to draw, one after the other; 0 = 1 */
};

/** Memory over time, one line a rank. */
struct pp_memory_chart {
    const char *title;
    int32_t rank_count;
    const struct pp_memory_point *const *points; /* [rank_count] */
    const int32_t *point_counts;                 /* [rank_count] */
    int64_t limit_bytes;                         /* drawn as a line; 0 = none */
};

/** One plan in the step time against peak memory picture. */
struct pp_pareto_point {
    int64_t step_ns, peak_bytes;
    bool fits, is_current, is_best;
    const char *label; /* schedule name: one colour and key entry each */
};

/**
 * Charts are drawn one above the other on one time axis. Beyond 256 ranks every n-th is drawn;
 * actions too narrow to be seen are merged so that the colours keep their proportions.
 * @param chart_count  at least 1
 * @param dir          must exist
 * @return PP_OK, PP_E_ENV (no gnuplot, or it failed: its message), PP_E_IO, PP_E_NOMEM,
 *         PP_E_INTERRUPTED (gnuplot was interrupted), PP_E_ARG (nothing to draw)
 */
enum pp_status pp_picture_gantt(const struct pp_gantt *charts, int32_t chart_count, const char *dir,
                                struct pp_err *err);
enum pp_status pp_picture_memory(const struct pp_memory_chart *charts, int32_t chart_count,
                                 const char *dir, struct pp_err *err);
/** @param limit_bytes  the memory limit, drawn as a line; beyond it is the out-of-memory side */
enum pp_status pp_picture_pareto(const struct pp_pareto_point *points, int32_t point_count,
                                 int64_t limit_bytes, const char *dir, struct pp_err *err);

#endif
