#include "reports/picture_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Layout in pixels. */
enum {
    LEFT = 92,
    RIGHT = 220,
    TOP = 44,
    BOTTOM = 76,
    HEIGHT = 736,
};

/* Points that fall into the same cell of this grid, schedule and fit cannot be told apart. */
enum { CELLS_X = 490, CELLS_Y = 308 };

/* Beyond this ratio of largest to smallest an axis is logarithmic. */
enum { LOG_RATIO = 20 };

/* Schedules with colours of their own; more share the last. */
enum { MAX_SERIES = 24 };

struct axis {
    double low, high; /* of the points */
    bool is_log;
};

struct drawing {
    struct pp_picture picture;
    struct pp_time_unit unit;
    const struct pp_pareto_point *points;
    int32_t point_count;
    struct axis x, y;
    int32_t series_count;
    const char *series[MAX_SERIES];
};

static const uint32_t colours[] = {0x2f6db5, 0xef8a1d, 0x1a9e77, 0xb5479b, 0x7a5230, 0x66a61e,
                                   0x56b4e9, 0x8064c8, 0xd8b816, 0x5f6b7a, 0xd95f4e, 0x107a8b};
enum { COLOUR_COUNT = sizeof colours / sizeof colours[0] };

static int32_t series_of(const struct drawing *d, const char *label) {
    for (int32_t i = 0; i < d->series_count; i++) {
        if (strcmp(d->series[i], label) == 0) {
            return i;
        }
    }
    return d->series_count < MAX_SERIES ? d->series_count : MAX_SERIES - 1;
}

static double x_of(const struct drawing *d, const struct pp_pareto_point *p) {
    return (double)p->step_ns / d->unit.ns;
}

static void widen(struct axis *a, double v, bool is_first) {
    a->low = is_first || v < a->low ? v : a->low;
    a->high = is_first || v > a->high ? v : a->high;
}

static void measure(struct drawing *d) {
    int64_t least = d->points[0].step_ns;
    for (int32_t i = 0; i < d->point_count; i++) {
        least = d->points[i].step_ns < least ? d->points[i].step_ns : least;
    }
    d->unit = pp_picture_time_unit(least);
    for (int32_t i = 0; i < d->point_count; i++) {
        const struct pp_pareto_point *p = &d->points[i];
        widen(&d->x, x_of(d, p), i == 0);
        widen(&d->y, pp_picture_gib(p->peak_bytes), i == 0);
        int32_t s = series_of(d, p->label);
        if (s == d->series_count) {
            d->series[d->series_count++] = p->label;
        }
    }
    d->x.is_log = d->x.low > 0 && d->x.high > LOG_RATIO * d->x.low;
    d->y.is_log = d->y.low > 0 && d->y.high > LOG_RATIO * d->y.low;
}

static int cell_of(const struct axis *a, double v, int cells) {
    /* Linear cells serve a logarithmic axis too if they are taken of v relative to the low end. */
    double span = a->high - a->low;
    double at = a->is_log ? 1.0 - a->low / v : (span > 0 ? (v - a->low) / span : 0.0);
    int cell = (int)(at * (cells - 1));
    return cell < 0 ? 0 : cell >= cells ? cells - 1 : cell;
}

/* The points of one schedule that fit, or that do not. @return number of points written */
static int32_t put_series(struct drawing *d, int32_t series, bool fits, unsigned char *taken) {
    struct pp_text *out = &d->picture.data;
    int32_t count = 0;
    memset(taken, 0, (size_t)CELLS_X * CELLS_Y);
    pp_text_printf(out, "$%s%d << EOD\n", fits ? "fit" : "over", series);
    for (int32_t i = 0; i < d->point_count; i++) {
        const struct pp_pareto_point *p = &d->points[i];
        if (p->fits != fits || series_of(d, p->label) != series) {
            continue;
        }
        double x = x_of(d, p);
        double y = pp_picture_gib(p->peak_bytes);
        size_t cell =
            (size_t)cell_of(&d->x, x, CELLS_X) * CELLS_Y + (size_t)cell_of(&d->y, y, CELLS_Y);
        if (taken[cell] == 0) {
            pp_text_printf(out, "%.9g %.9g\n", x, y);
            taken[cell] = 1;
            count++;
        }
    }
    if (count == 0) {
        pp_text_puts(out, "NaN NaN\n");
    }
    pp_text_puts(out, "EOD\n");
    return count;
}

static int by_time(const void *a, const void *b) {
    const struct pp_pareto_point *p = *(const struct pp_pareto_point *const *)a;
    const struct pp_pareto_point *q = *(const struct pp_pareto_point *const *)b;
    if (p->step_ns != q->step_ns) {
        return p->step_ns < q->step_ns ? -1 : 1;
    }
    return (p->peak_bytes > q->peak_bytes) - (p->peak_bytes < q->peak_bytes);
}

/* The plans that fit and that no other beats in both time and memory. */
static enum pp_status put_front(struct drawing *d, struct pp_err *err) {
    const struct pp_pareto_point **sorted = malloc((size_t)d->point_count * sizeof *sorted);
    if (sorted == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory drawing pareto");
    }
    for (int32_t i = 0; i < d->point_count; i++) {
        sorted[i] = &d->points[i];
    }
    qsort(sorted, (size_t)d->point_count, sizeof *sorted, by_time);
    pp_text_puts(&d->picture.data, "$front << EOD\n");
    int64_t least = INT64_MAX;
    for (int32_t i = 0; i < d->point_count; i++) {
        if (sorted[i]->fits && sorted[i]->peak_bytes < least) {
            least = sorted[i]->peak_bytes;
            pp_text_printf(&d->picture.data, "%.9g %.9g\n", x_of(d, sorted[i]),
                           pp_picture_gib(least));
        }
    }
    pp_text_puts(&d->picture.data, least == INT64_MAX ? "NaN NaN\nEOD\n" : "EOD\n");
    free(sorted);
    return PP_OK;
}

static void put_range(struct drawing *d, const char *name, const struct axis *a) {
    struct pp_text *c = &d->picture.commands;
    double pad = a->high > a->low ? (a->high - a->low) * 0.06 : a->high * 0.1 + 0.1;
    if (a->is_log) {
        pp_text_printf(c, "set logscale %s\nset %srange [%.9g:%.9g]\n", name, name, a->low / 1.3,
                       a->high * 1.3);
    } else {
        double low = a->low - pad;
        pp_text_printf(c, "set %srange [%.9g:%.9g]\n", name, low < 0 ? 0 : low, a->high + pad);
    }
}

static void put_limit(struct drawing *d, int64_t limit_bytes) {
    double gib = pp_picture_gib(limit_bytes);
    struct pp_text *c = &d->picture.commands;
    pp_text_printf(
        c,
        "set object 1 rect from graph 0, first %.9g to graph 1, graph 1 behind fs solid 1 "
        "noborder fc rgb '#fbe9e7'\n"
        "set arrow 1 from graph 0, first %.9g to graph 1, first %.9g nohead lw 2 dt 2 lc "
        "rgb '#c22f2f'\n"
        "set label 2 'out of memory above %.4g GiB' at graph 0.99, first %.9g right "
        "offset 0,0.7 tc rgb '#c22f2f'\n",
        gib, gib, gib, gib, gib);
}

/* A mark on a point and its name: a star (gnuplot's point type 3) for the recipe as it is, a ring
   (6) for the best plan. */
static void put_mark(struct drawing *d, int tag, const struct pp_pareto_point *p, const char *text,
                     bool below) {
    double room = d->x.high - d->x.low;
    bool right = x_of(d, p) > d->x.low + 0.75 * room;
    pp_text_printf(&d->picture.commands,
                   "set label %d '%s' at %.9g, %.9g %s offset %s,%s point pt %d ps %s lw 2 lc rgb "
                   "'#111111' tc rgb '#111111' front\n",
                   tag, text, x_of(d, p), pp_picture_gib(p->peak_bytes), right ? "right" : "left",
                   right ? "-1" : "1", below ? "-0.9" : "0.9", p->is_current ? 3 : 6,
                   p->is_current ? "2" : "2.6");
}

static void put_marks(struct drawing *d) {
    for (int32_t i = 0; i < d->point_count; i++) {
        const struct pp_pareto_point *p = &d->points[i];
        if (p->is_current) {
            put_mark(d, 10, p, p->is_best ? "as it is: the best" : "as it is", false);
        } else if (p->is_best) {
            put_mark(d, 11, p, "best", true);
        }
    }
}

static enum pp_status put_points(struct drawing *d, struct pp_err *err) {
    struct pp_text *c = &d->picture.commands;
    unsigned char *taken = malloc((size_t)CELLS_X * CELLS_Y);
    if (taken == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory drawing pareto");
    }
    pp_text_puts(c, "plot $front using 1:2 with steps lw 1.5 lc rgb '#aaaaaa' title "
                    "'best trade-offs that fit'");
    bool any_over = false;
    for (int32_t s = 0; s < d->series_count; s++) {
        unsigned rgb = (unsigned)colours[s % COLOUR_COUNT];
        put_series(d, s, true, taken);
        any_over = put_series(d, s, false, taken) > 0 || any_over;
        /* the schedule's key entry, also if none of its plans fits */
        pp_text_printf(c, ", $fit%d using 1:2 with points pt 7 ps 0.8 lc rgb %u title ", s, rgb);
        pp_gnuplot_quote(c, d->series[s]);
        pp_text_printf(c, ", $over%d using 1:2 with points pt 6 ps 0.8 lc rgb %u notitle", s, rgb);
    }
    if (any_over) {
        pp_text_puts(c, ", NaN with points pt 6 ps 0.8 lc rgb '#444444' title 'hollow: does not "
                        "fit'");
    }
    pp_text_puts(c, "\n");
    free(taken);
    return PP_OK;
}

static enum pp_status put_all(struct drawing *d, int64_t limit_bytes, struct pp_err *err) {
    struct pp_picture *p = &d->picture;
    pp_picture_margins(p, LEFT, RIGHT, TOP, BOTTOM);
    pp_picture_heading(p, LEFT, TOP,
                       "All plans: step time against peak memory (left and low is better)");
    pp_text_printf(&p->commands,
                   "set border 3 lc rgb '#888888'\nset tics nomirror out textcolor rgb '#333333'\n"
                   "set grid lc rgb '#dddddd' lw 0.5\nset xlabel 'step time (%s)'\n"
                   "set ylabel 'peak memory of the fullest GPU (GiB)'\n"
                   "set key at graph 1.01, graph 1 left top reverse Left samplen 1.5\n",
                   d->unit.name);
    if (limit_bytes > 0) {
        double gib = pp_picture_gib(limit_bytes);
        widen(&d->y, gib, false);
        put_limit(d, limit_bytes);
    }
    put_range(d, "x", &d->x);
    put_range(d, "y", &d->y);
    put_marks(d);
    PP_TRY(put_front(d, err));
    return put_points(d, err);
}

enum pp_status pp_picture_pareto(const struct pp_pareto_point *points, int32_t point_count,
                                 int64_t limit_bytes, const char *dir, struct pp_err *err) {
    if (point_count < 1) {
        return pp_fail(err, PP_E_ARG, "no plans to draw");
    }
    struct drawing d = {.picture = {.name = "pareto", .height = HEIGHT},
                        .points = points,
                        .point_count = point_count};
    measure(&d);
    enum pp_status status = put_all(&d, limit_bytes, err);
    if (status != PP_OK) {
        pp_text_free(&d.picture.data);
        pp_text_free(&d.picture.commands);
        return status;
    }
    return pp_picture_write(&d.picture, dir, err);
}
