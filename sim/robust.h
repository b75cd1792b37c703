/**
 * @file robust.h
 * Statistics that a few wild values do not move: medians and a line through points. Integers in,
 * integers out.
 */
#ifndef PP_SIM_ROBUST_H
#define PP_SIM_ROBUST_H

#include "costmodel/base.h"

/** Sorts `values`. @return the middle one, or halfway between the two (rounded down); 0 of none */
int64_t pp_median(int64_t *values, int32_t count);

/** Sorts. @param share  0 to 1. @return the smallest value that at least this share is not above
 *  (nearest rank); 0 of none */
int64_t pp_quantile(int64_t *values, int32_t count, double share);

/** Median of how far values lie from `center`. Overwrites them with that, sorted. */
int64_t pp_spread(int64_t *values, int32_t count, int64_t center);

struct pp_point {
    int64_t bytes, ns;
};

/** Time of a message by its size: alpha_ns + bytes / bytes_per_s. */
struct pp_line {
    int64_t alpha_ns;
    int64_t bytes_per_s; /* 0: sizes do not vary, or larger ones take no longer: all is alpha_ns */
    int64_t spread_ns;   /* median distance of the points from the line */
    int32_t count;       /* points */
};

enum { PP_LINE_MAX_POINTS = 1024 }; /* of more, so many in even steps of the sorted ones */

/**
 * Theil-Sen: the slope is the median of the slopes between any two points of different size, the
 * intercept the median of what it leaves (Sen, J. Am. Stat. Assoc. 63, 1968).
 * @param points  sorted and thinned in place; bytes >= 0
 * @return PP_OK, PP_E_NOMEM
 */
enum pp_status pp_fit_line(struct pp_point *points, int32_t count, struct pp_line *line_p,
                           struct pp_err *err);

/** What the line says of a size. */
int64_t pp_line_ns(const struct pp_line *line, int64_t bytes);

#endif
