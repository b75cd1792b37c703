#include "reports/picture_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* Layout in pixels. */
enum {
    LEFT = 80,
    RIGHT = 150,
    PLOT_WIDTH = PP_PICTURE_WIDTH - LEFT - RIGHT,
    PLOT_HEIGHT = 300,
    HEADING_SPACE = 40,
    GAP = 24,
    AXIS_SPACE = 52,
};

/* Up to this many ranks have a key entry each; more are told apart by a colour bar. */
enum { MAX_KEYS = 16 };

/* More lines than this are thinned out: every n-th rank, and the one with the peak. */
enum { MAX_LINES = 64 };

struct drawing {
    struct pp_picture picture;
    struct pp_time_unit unit;
    int64_t max_ns, max_bytes;
};

static void measure(struct drawing *d, const struct pp_memory_chart *charts, int32_t chart_count) {
    d->max_ns = 1;
    d->max_bytes = 1;
    for (int32_t i = 0; i < chart_count; i++) {
        const struct pp_memory_chart *chart = &charts[i];
        d->max_bytes = chart->limit_bytes > d->max_bytes ? chart->limit_bytes : d->max_bytes;
        for (int32_t rank = 0; rank < chart->rank_count; rank++) {
            for (int32_t k = 0; k < chart->point_counts[rank]; k++) {
                const struct pp_memory_point *p = &chart->points[rank][k];
                d->max_ns = p->time_ns > d->max_ns ? p->time_ns : d->max_ns;
                d->max_bytes = p->amount > d->max_bytes ? p->amount : d->max_bytes;
            }
        }
    }
    d->unit = pp_picture_time_unit(d->max_ns);
    d->picture.height = chart_count * (HEADING_SPACE + PLOT_HEIGHT + GAP) + AXIS_SPACE;
}

static void put_point(struct drawing *d, int64_t time_ns, int64_t amount) {
    pp_text_printf(&d->picture.data, "%.9g %.9g\n", (double)time_ns / d->unit.ns,
                   pp_picture_gib(amount));
}

/* Steps closer than can be seen, `pixels` wide, become the lowest, highest and last value; of many
   lines only the highest, or they would hide each other. */
static void put_line(struct drawing *d, const struct pp_memory_point *points, int32_t count,
                     int64_t end_ns, bool is_one_of_many) {
    int64_t pixel_ns = d->max_ns / PLOT_WIDTH * (is_one_of_many ? 4 : 1) + 1;
    for (int32_t i = 0; i < count;) {
        int64_t column = points[i].time_ns / pixel_ns;
        int64_t low = points[i].amount;
        int64_t high = low;
        int32_t k = i;
        for (; k < count && points[k].time_ns / pixel_ns == column; k++) {
            low = points[k].amount < low ? points[k].amount : low;
            high = points[k].amount > high ? points[k].amount : high;
        }
        if (is_one_of_many) {
            put_point(d, points[i].time_ns, high);
            i = k;
        } else if (k - i <= 4) {
            for (; i < k; i++) {
                put_point(d, points[i].time_ns, points[i].amount);
            }
        } else {
            put_point(d, points[i].time_ns, low);
            put_point(d, points[i].time_ns, high);
            put_point(d, points[k - 1].time_ns, points[k - 1].amount);
            i = k;
        }
    }
    if (count > 0) {
        put_point(d, end_ns, points[count - 1].amount);
    }
}

static int64_t end_of(const struct pp_memory_chart *chart) {
    int64_t end = 0;
    for (int32_t rank = 0; rank < chart->rank_count; rank++) {
        int32_t n = chart->point_counts[rank];
        if (n > 0 && chart->points[rank][n - 1].time_ns > end) {
            end = chart->points[rank][n - 1].time_ns;
        }
    }
    return end;
}

static bool is_drawn(const struct pp_memory_chart *chart, int32_t rank, int32_t peak_rank) {
    int32_t step = (chart->rank_count + MAX_LINES - 1) / MAX_LINES;
    return rank % step == 0 || rank == peak_rank;
}

static void put_data(struct drawing *d, const struct pp_memory_chart *chart, int32_t index,
                     int32_t peak_rank) {
    struct pp_text *out = &d->picture.data;
    for (int32_t rank = 0; rank < chart->rank_count; rank++) {
        if (!is_drawn(chart, rank, peak_rank)) {
            continue;
        }
        pp_text_printf(out, "$m%d_%d << EOD\n", index, rank);
        if (chart->point_counts[rank] == 0) {
            put_point(d, 0, 0);
        }
        put_line(d, chart->points[rank], chart->point_counts[rank], end_of(chart),
                 chart->rank_count > MAX_KEYS);
        pp_text_puts(out, "EOD\n");
    }
}

/* The highest point of all ranks; NULL if there is none. */
static const struct pp_memory_point *find_peak(const struct pp_memory_chart *chart,
                                               int32_t *rank_p) {
    const struct pp_memory_point *peak = NULL;
    *rank_p = 0;
    for (int32_t rank = 0; rank < chart->rank_count; rank++) {
        for (int32_t k = 0; k < chart->point_counts[rank]; k++) {
            const struct pp_memory_point *p = &chart->points[rank][k];
            if (peak == NULL || p->amount > peak->amount) {
                peak = p;
                *rank_p = rank;
            }
        }
    }
    return peak;
}

static void put_peak(struct drawing *d, const struct pp_memory_point *peak, int32_t peak_rank) {
    if (peak == NULL) {
        return;
    }
    bool right_half = peak->time_ns > d->max_ns / 2;
    double time = (double)peak->time_ns / d->unit.ns;
    double gib = pp_picture_gib(peak->amount);
    pp_text_printf(&d->picture.commands,
                   "unset label 2\nset label 2 'peak: rank %d, %.4g GiB' at %.9g, %.9g %s offset "
                   "%s,0.9 point pt 7 "
                   "ps 0.7 lc rgb '#111111' tc rgb '#111111' front\n",
                   peak_rank, gib, time, gib, right_half ? "right" : "left",
                   right_half ? "-0.8" : "0.8");
}

static void put_limit(struct drawing *d, const struct pp_memory_chart *chart) {
    struct pp_text *c = &d->picture.commands;
    if (chart->limit_bytes <= 0) {
        pp_text_puts(c, "unset arrow 1\nunset label 3\n");
        return;
    }
    double gib = pp_picture_gib(chart->limit_bytes);
    pp_text_printf(
        c,
        "set arrow 1 from graph 0, first %.9g to graph 1, first %.9g nohead lw 2 dt 2 lc "
        "rgb '#c22f2f' front\nset label 3 'limit %.4g GiB' at graph 0.995, first %.9g "
        "right offset 0,0.6 tc rgb '#c22f2f' front\n",
        gib, gib, gib, gib);
}

static void put_plot(struct drawing *d, const struct pp_memory_chart *chart, int32_t index,
                     int32_t peak_rank) {
    struct pp_text *c = &d->picture.commands;
    int32_t n = chart->rank_count;
    pp_text_puts(c, "plot ");
    for (int32_t rank = 0; rank < n; rank++) {
        if (!is_drawn(chart, rank, peak_rank)) {
            continue;
        }
        pp_text_printf(c, "%s$m%d_%d using 1:2 with steps lw %s lc rgb %u ", rank == 0 ? "" : ", ",
                       index, rank,
                       n <= 4          ? "2"
                       : n <= MAX_KEYS ? "1.5"
                                       : "1",
                       (unsigned)pp_picture_ordered_colour(rank, n));
        if (n <= MAX_KEYS) {
            pp_text_printf(c, "title 'rank %d'", rank);
        } else {
            pp_text_puts(c, "notitle");
        }
    }
    if (n > MAX_KEYS) { /* draws nothing but makes gnuplot show the colour bar */
        pp_text_puts(c, ", NaN with points palette notitle");
    }
    pp_text_puts(c, "\n");
}

static void put_palette(struct drawing *d, int32_t rank_count) {
    enum { STOPS = 6 };
    struct pp_text *c = &d->picture.commands;
    pp_text_puts(c, "set palette defined (");
    for (int32_t i = 0; i < STOPS; i++) {
        pp_text_printf(c, "%s%d '#%06x'", i == 0 ? "" : ", ", i,
                       (unsigned)pp_picture_ordered_colour(i, STOPS));
    }
    pp_text_printf(c, ")\nset cbrange [0:%d]\nset cblabel 'rank'\n", rank_count - 1);
}

static void put_chart(struct drawing *d, const struct pp_memory_chart *chart, int32_t index,
                      bool is_last) {
    struct pp_picture *p = &d->picture;
    struct pp_text *c = &p->commands;
    int32_t top = HEADING_SPACE + index * (HEADING_SPACE + PLOT_HEIGHT + GAP);
    pp_picture_margins(p, LEFT, RIGHT, top, p->height - top - PLOT_HEIGHT);
    pp_picture_heading(p, LEFT, top, chart->title);
    int32_t peak_rank;
    const struct pp_memory_point *peak = find_peak(chart, &peak_rank);
    put_data(d, chart, index, peak_rank);
    put_limit(d, chart);
    put_peak(d, peak, peak_rank);
    if (chart->rank_count > MAX_KEYS) {
        put_palette(d, chart->rank_count);
    }
    if (is_last) {
        pp_text_printf(c, "set xtics format '%%g'\nset xlabel 'time (%s)'\n", d->unit.name);
    } else {
        pp_text_puts(c, "set xtics format ''\nunset xlabel\n");
    }
    put_plot(d, chart, index, peak_rank);
}

enum pp_status pp_picture_memory(const struct pp_memory_chart *charts, int32_t chart_count,
                                 const char *dir, struct pp_err *err) {
    if (chart_count < 1) {
        return pp_fail(err, PP_E_ARG, "no memory to draw");
    }
    for (int32_t i = 0; i < chart_count; i++) {
        if (charts[i].rank_count < 1) {
            return pp_fail(err, PP_E_ARG, "memory chart %d has no rank", i);
        }
    }
    struct drawing d = {.picture = {.name = "memory"}};
    measure(&d, charts, chart_count);
    pp_text_printf(&d.picture.commands,
                   "set multiplot\nset xrange [0:%.9g]\nset yrange [0:%.9g]\n"
                   "set border 3 lc rgb '#888888'\nset tics nomirror out textcolor rgb '#333333'\n"
                   "set grid lc rgb '#dddddd' lw 0.5\nset ylabel 'memory a GPU (GiB)'\n"
                   "set key at graph 1.01, graph 1 left top reverse Left samplen 2\n",
                   (double)d.max_ns / d.unit.ns, pp_picture_gib(d.max_bytes) * 1.12);
    for (int32_t i = 0; i < chart_count; i++) {
        put_chart(&d, &charts[i], i, i == chart_count - 1);
    }
    pp_text_puts(&d.picture.commands, "unset multiplot\n");
    return pp_picture_write(&d.picture, dir, err);
}
