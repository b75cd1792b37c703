#include "sim/robust.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int by_slope(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static int by_size(const void *a, const void *b) {
    const struct pp_point *x = a;
    const struct pp_point *y = b;
    return x->bytes != y->bytes ? (x->bytes > y->bytes) - (x->bytes < y->bytes)
                                : (x->ns > y->ns) - (x->ns < y->ns);
}

int64_t pp_median(int64_t *values, int32_t count) {
    if (count == 0) {
        return 0;
    }
    qsort(values, (size_t)count, sizeof *values, by_value);
    int64_t high = values[count / 2];
    int64_t low = values[(count - 1) / 2];
    return low + (high - low) / 2;
}

int64_t pp_quantile(int64_t *values, int32_t count, double share) {
    if (count == 0) {
        return 0;
    }
    qsort(values, (size_t)count, sizeof *values, by_value);
    int32_t rank = (int32_t)(share * (double)count);
    rank += (double)rank < share * (double)count; /* rounded up, at least the first */
    return values[rank > 0 ? rank - 1 : 0];
}

int64_t pp_spread(int64_t *values, int32_t count, int64_t center) {
    for (int32_t i = 0; i < count; i++) {
        values[i] = values[i] > center ? values[i] - center : center - values[i];
    }
    return pp_median(values, count);
}

/* The median of all slopes; false if there is none. */
static enum pp_status find_slope(const struct pp_point *points, int32_t count, double *slope_p,
                                 bool *found_p, struct pp_err *err) {
    size_t room = (size_t)count * (size_t)count / 2 + 1;
    double *slopes = malloc(room * sizeof *slopes);
    if (slopes == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the slopes of %d messages", count);
    }
    size_t n = 0;
    for (int32_t i = 0; i < count; i++) {
        for (int32_t k = i + 1; k < count; k++) {
            if (points[k].bytes > points[i].bytes) {
                slopes[n++] = (double)(points[k].ns - points[i].ns) /
                              (double)(points[k].bytes - points[i].bytes);
            }
        }
    }
    *found_p = n > 0;
    if (n > 0) {
        qsort(slopes, n, sizeof *slopes, by_slope);
        *slope_p = slopes[(n - 1) / 2] + (slopes[n / 2] - slopes[(n - 1) / 2]) / 2.0;
    }
    free(slopes);
    return PP_OK;
}

int64_t pp_line_ns(const struct pp_line *line, int64_t bytes) {
    double moving = line->bytes_per_s > 0 ? (double)bytes * 1e9 / (double)line->bytes_per_s : 0.0;
    return line->alpha_ns + pp_round_i64(moving);
}

enum pp_status pp_fit_line(struct pp_point *points, int32_t count, struct pp_line *line_p,
                           struct pp_err *err) {
    static const double FASTEST_BYTES_PER_S = 1e14; /* what is above is no slope */
    struct pp_line line = {.count = count};
    double slope = 0.0;
    bool found = false;
    qsort(points, (size_t)count, sizeof *points, by_size);
    int32_t n = count < PP_LINE_MAX_POINTS ? count : PP_LINE_MAX_POINTS;
    for (int32_t i = 0; i < n; i++) {
        points[i] = points[(int64_t)i * count / n];
    }
    PP_TRY(find_slope(points, n, &slope, &found, err));
    if (found && slope > 1e9 / FASTEST_BYTES_PER_S) {
        line.bytes_per_s = pp_max_i64(1, pp_round_i64(1e9 / slope));
    }
    int64_t *rest = malloc(((size_t)n + 1) * sizeof *rest);
    if (rest == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d messages", n);
    }
    for (int32_t i = 0; i < n; i++) {
        rest[i] = points[i].ns - pp_line_ns(&line, points[i].bytes);
    }
    line.alpha_ns = pp_max_i64(0, pp_median(rest, n));
    for (int32_t i = 0; i < n; i++) {
        rest[i] = points[i].ns - pp_line_ns(&line, points[i].bytes);
    }
    line.spread_ns = pp_spread(rest, n, 0);
    free(rest);
    *line_p = line;
    return PP_OK;
}
