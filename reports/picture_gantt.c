#include "reports/picture_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* Layout in pixels. */
enum {
    LEFT = 220,
    RIGHT = 30,
    PLOT_WIDTH = PP_PICTURE_WIDTH - LEFT - RIGHT,
    KEY_SPACE = 34,     /* above the first chart */
    HEADING_SPACE = 34, /* above each chart */
    GAP = 16,           /* below each chart */
    AXIS_SPACE = 66,    /* below the last */
};

/* More rows than this are thinned out: every n-th rank. */
enum { MAX_ROWS = 256 };

/* Boxes of all charts together; what would be more is merged into wider boxes. */
enum { MAX_BOXES = 30000 };

enum { COMPUTE_TYPES = 4, TRACKS = 3 };

static const struct {
    enum pp_action_type type;
    const char *key;
    uint32_t rgb;
} kinds[COMPUTE_TYPES] = {
    {PP_F, "F forward", 0x2f6db5},
    {PP_B, "B full backward", 0xef8a1d},
    {PP_I, "I backward for input", 0x1aa6a6},
    {PP_W, "W backward for weights", 0x5ca83a},
};

/* Where in its row a box lies: all of it, or half if a pair runs as one. */
static const struct {
    double top, bottom;
} tracks[TRACKS] = {{-0.44, 0.44}, {-0.44, 0.0}, {0.0, 0.44}};

/* A rectangle of the chart. */
struct box {
    int64_t start_ns, end_ns;
    double row;
    double shade; /* 0 the full colour, to 1 white */
    int kind, track;
};

/* A box being merged from actions narrower than `min_ns`. */
struct run {
    int64_t start_ns, end_ns;
    int64_t busy_ns;
    int64_t owed_ns[COMPUTE_TYPES]; /* time of each kind that no box has shown yet */
    double shade[COMPUTE_TYPES];    /* of the last action of each kind */
};

struct drawing {
    struct pp_picture picture;
    struct pp_time_unit unit;
    int64_t max_ns; /* end of the time axis */
    int64_t min_ns; /* boxes narrower than this are merged */
    bool seen[COMPUTE_TYPES];
    bool shades;
    /* of the chart in work */
    const struct pp_trace *trace;
    int32_t flush_count;
    int64_t flush_ns;     /* a flush begins when the one before has ended on every rank */
    int64_t offset_ns;    /* of the flush in work */
    int32_t row_step;     /* every row_step-th rank is drawn */
    int32_t row_height;   /* pixels */
    int32_t *stage_index; /* [stage_count] place of a stage among its rank's */
    int32_t *stages_of;   /* [rank_count] */
    struct pp_text boxes, narrow_boxes, labels;
};

static int32_t rows_of(const struct drawing *d, const struct pp_trace *t) {
    return (t->sched->rank_count + d->row_step - 1) / d->row_step;
}

static int32_t row_height(int32_t rows) {
    return rows <= 8 ? 34 : rows <= 16 ? 26 : rows <= 32 ? 18 : rows <= 64 ? 13 : 5;
}

static int kind_of(const struct pp_action *a) {
    for (int k = 0; k < COMPUTE_TYPES; k++) {
        if (kinds[k].type == a->type) {
            return k;
        }
    }
    return -1;
}

static double units(const struct drawing *d, int64_t ns) {
    return (double)ns / d->unit.ns;
}

static void put_box(struct drawing *d, const struct box *b) {
    double low = units(d, b->start_ns);
    double high = units(d, b->end_ns);
    bool narrow = (double)(b->end_ns - b->start_ns) * PLOT_WIDTH < 5.0 * (double)d->max_ns;
    pp_text_printf(narrow ? &d->narrow_boxes : &d->boxes, "%.9g %.9g %.9g %.9g %.9g %.9g %u\n",
                   (low + high) / 2, b->row, low, high, b->row + tracks[b->track].top,
                   b->row + tracks[b->track].bottom,
                   (unsigned)pp_picture_lighten(kinds[b->kind].rgb, b->shade));
}

/* The microbatch number, if it has room. */
static void put_label(struct drawing *d, const struct box *b, int32_t microbatch) {
    char text[16];
    int digits = snprintf(text, sizeof text, "%d", microbatch);
    double width = (double)(b->end_ns - b->start_ns) / (double)d->max_ns * PLOT_WIDTH;
    int32_t height = b->track == 0 ? d->row_height : d->row_height / 2;
    if (width >= 7.0 * digits + 3.0 && height >= 13) {
        pp_text_printf(&d->labels, "%.9g %.9g %s %u\n", units(d, b->start_ns / 2 + b->end_ns / 2),
                       b->row + (tracks[b->track].top + tracks[b->track].bottom) / 2, text,
                       b->shade > 0.3 ? 0x222222U : 0xffffffU);
    }
}

/* A merged box shows the kind that is owed most time; what it leaves unshown is carried over, so
   that the colours of a row stand in the proportion of their times. */
static void flush(struct drawing *d, struct run *run, double row, int track) {
    if (run->end_ns <= run->start_ns) {
        return;
    }
    int kind = 0;
    for (int k = 1; k < COMPUTE_TYPES; k++) {
        kind = run->owed_ns[k] > run->owed_ns[kind] ? k : kind;
    }
    put_box(d, &(struct box){run->start_ns, run->end_ns, row, run->shade[kind], kind, track});
    run->owed_ns[kind] -= run->busy_ns;
    run->start_ns = run->end_ns = run->busy_ns = 0;
}

/* Half boxes only where the two parts really run at the same time. */
static int track_of(const struct pp_trace *t, int32_t i) {
    int pair = t->sched->actions[i].pair;
    int32_t other = pair == 1 ? i + 1 : i - 1;
    if (pair == 0 || t->start_ns[other] >= t->end_ns[i] || t->start_ns[i] >= t->end_ns[other]) {
        return 0;
    }
    return pair;
}

static double shade_of(const struct drawing *d, const struct pp_action *a) {
    int32_t count = d->stages_of[d->trace->sched->stage_rank[a->stage]];
    return count > 1 ? 0.6 * d->stage_index[a->stage] / (count - 1) : 0.0;
}

static void merge(struct drawing *d, struct run *r, const struct box *b) {
    bool joins = r->end_ns - r->start_ns < d->min_ns && b->start_ns - r->end_ns < d->min_ns / 2;
    if (!joins) {
        flush(d, r, b->row, b->track);
    }
    if (r->end_ns == 0) {
        r->start_ns = b->start_ns;
    }
    r->end_ns = b->end_ns;
    r->busy_ns += b->end_ns - b->start_ns;
    r->owed_ns[b->kind] += b->end_ns - b->start_ns;
    r->shade[b->kind] = b->shade;
}

static void put_action(struct drawing *d, int32_t i, double row, struct run run[TRACKS]) {
    const struct pp_action *a = &d->trace->sched->actions[i];
    struct box b = {.start_ns = d->offset_ns + d->trace->start_ns[i],
                    .end_ns = d->offset_ns + d->trace->end_ns[i],
                    .row = row,
                    .kind = kind_of(a)};
    if (b.kind < 0 || b.end_ns <= b.start_ns) {
        return;
    }
    b.shade = shade_of(d, a);
    b.track = track_of(d->trace, i);
    d->seen[b.kind] = true;
    if (b.end_ns - b.start_ns < d->min_ns) {
        merge(d, &run[b.track], &b);
    } else {
        flush(d, &run[b.track], row, b.track);
        put_box(d, &b);
        put_label(d, &b, a->microbatch);
    }
}

static void put_row(struct drawing *d, int32_t rank, int32_t row) {
    const struct pp_sched *s = d->trace->sched;
    struct run run[TRACKS] = {0};
    for (int32_t flush = 0; flush < d->flush_count; flush++) {
        d->offset_ns = flush * d->flush_ns;
        for (int32_t i = s->rank_begin[rank]; i < s->rank_begin[rank + 1]; i++) {
            put_action(d, i, row, run);
        }
    }
    for (int track = 0; track < TRACKS; track++) {
        flush(d, &run[track], row, track);
    }
}

/* "rank 3 · stages 3, 11": all of few stages, the ends of many. */
static void row_label(const struct drawing *d, int32_t rank, char *out, size_t size) {
    const struct pp_sched *s = d->trace->sched;
    int32_t count = d->stages_of[rank];
    int used = snprintf(out, size, "rank %d · stage%s ", rank, count == 1 ? "" : "s");
    int32_t k = 0;
    for (int32_t stage = 0; stage < s->stage_count && used > 0 && (size_t)used < size; stage++) {
        if (s->stage_rank[stage] != rank) {
            continue;
        }
        bool shown = count <= 4 || k < 2 || k == count - 1;
        if (shown) {
            used += snprintf(out + used, size - (size_t)used, "%s%d", k == 0 ? "" : ", ", stage);
        } else if (k == 2) {
            used += snprintf(out + used, size - (size_t)used, ", …");
        }
        k++;
    }
}

static void put_row_labels(struct drawing *d, int32_t rows) {
    struct pp_text *c = &d->picture.commands;
    int32_t every = d->row_height >= 13 ? 1 : 4; /* labels need some 13 pixels */
    pp_text_puts(c, "set ytics scale 0 (");
    for (int32_t row = 0; row < rows; row += every) {
        char label[96];
        row_label(d, row * d->row_step, label, sizeof label);
        pp_text_puts(c, row == 0 ? "" : ", ");
        pp_gnuplot_quote(c, label);
        pp_text_printf(c, " %d", row);
    }
    pp_text_printf(c, ") font %s\n", d->row_height >= 18 ? "normal_font" : "small_font");
}

static enum pp_status index_stages(struct drawing *d, struct pp_err *err) {
    const struct pp_sched *s = d->trace->sched;
    free(d->stage_index);
    free(d->stages_of);
    d->stage_index = calloc((size_t)s->stage_count, sizeof *d->stage_index);
    d->stages_of = calloc((size_t)s->rank_count, sizeof *d->stages_of);
    if (d->stage_index == NULL || d->stages_of == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory drawing gantt");
    }
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        d->stage_index[stage] = d->stages_of[s->stage_rank[stage]]++;
        d->shades = d->shades || d->stage_index[stage] > 0;
    }
    return PP_OK;
}

static int64_t flush_ns(const struct pp_trace *t) {
    int64_t end = 1;
    for (int32_t i = 0; i < t->sched->action_count; i++) {
        end = t->end_ns[i] > end ? t->end_ns[i] : end;
    }
    return end;
}

static int32_t flushes_of(const struct pp_gantt *chart) {
    return chart->flush_count > 1 ? chart->flush_count : 1;
}

/* Each block begins with a point outside the axes, since gnuplot refuses an empty block. */
static void put_data(struct drawing *d, int32_t chart, int32_t rows) {
    struct pp_text *out = &d->picture.data;
    for (int32_t row = 0; row < rows; row++) {
        put_row(d, row * d->row_step, row);
    }
    pp_text_printf(out, "$boxes%d << EOD\n-1 -9 -1 -1 -9 -9 0\n", chart);
    pp_picture_append(out, &d->boxes);
    pp_text_printf(out, "EOD\n$narrow%d << EOD\n-1 -9 -1 -1 -9 -9 0\n", chart);
    pp_picture_append(out, &d->narrow_boxes);
    pp_text_printf(out, "EOD\n$labels%d << EOD\n-1 -9 0 0\n", chart);
    pp_picture_append(out, &d->labels);
    pp_text_puts(out, "EOD\n");
    pp_text_free(&d->boxes);
    pp_text_free(&d->narrow_boxes);
    pp_text_free(&d->labels);
}

/* A line where the last action ends, with its time: above, or beside it where the heading is. */
static void put_end(struct drawing *d, int64_t end_ns, int32_t top) {
    struct pp_text *c = &d->picture.commands;
    char text[PP_PICTURE_TIME_BYTES];
    double end = units(d, end_ns);
    pp_picture_time_text(end_ns, text);
    pp_text_printf(c,
                   "set arrow 1 from %.9g, graph 0 to %.9g, graph 1 nohead lw 1.5 dt 2 "
                   "lc rgb '#444444'\nunset label 2\nset label 2 '%s' ",
                   end, end, text);
    if (end_ns > d->max_ns / 10 * 7) {
        pp_text_printf(c, "at %.9g, screen %.6f right", end,
                       1.0 - (double)(top - 14) / d->picture.height);
    } else {
        pp_text_printf(c, "at %.9g, graph 0.5 left offset 1,0", end);
    }
    pp_text_puts(c, " tc rgb '#444444'\n");
}

/* One chart whose axes begin `top` pixels down. */
static void put_chart(struct drawing *d, const struct pp_gantt *chart, int32_t index, int32_t top,
                      int32_t rows, bool is_last) {
    struct pp_picture *p = &d->picture;
    struct pp_text *c = &p->commands;
    int32_t bottom = top + rows * d->row_height;
    pp_picture_margins(p, LEFT, RIGHT, top, p->height - bottom);
    pp_picture_heading(p, LEFT, top, chart->title);
    put_row_labels(d, rows);
    pp_text_printf(c, "set yrange [%d.5:-0.5]\n", rows - 1);
    put_end(d, d->flush_count * d->flush_ns, top);
    if (is_last) {
        pp_text_printf(c, "set xtics format '%%g' nomirror out\nset xlabel 'time (%s)%s'\n",
                       d->unit.name, d->row_step > 1 ? "; not every rank is shown" : "");
    } else {
        pp_text_puts(c, "set xtics format '' nomirror out\nunset xlabel\n");
    }
    pp_text_printf(
        c,
        "plot $boxes%d using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 %s "
        "lc rgb variable notitle, $narrow%d using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 "
        "noborder lc rgb variable notitle, $labels%d using 1:2:3:4 with labels font small_font "
        "tc rgb variable notitle\n",
        index, d->row_height >= 13 ? "border lc rgb '#ffffff'" : "noborder", index, index);
}

/* Coloured squares with their meaning, along the top edge. */
static void put_key(struct drawing *d) {
    struct pp_text *c = &d->picture.commands;
    int32_t x = LEFT;
    int tag = 100;
    double y = 1.0 - 16.0 / d->picture.height;
    double half = 6.0 / d->picture.height;
    for (int k = 0; k < COMPUTE_TYPES; k++) {
        if (!d->seen[k]) {
            continue;
        }
        pp_text_printf(c,
                       "set object %d rect from screen %.6f, screen %.6f to screen %.6f, screen "
                       "%.6f fs solid 1 noborder fc rgb %u front\nset label %d '%s' at screen "
                       "%.6f, screen %.6f left front tc rgb '#222222'\n",
                       tag, (double)x / PP_PICTURE_WIDTH, y - half,
                       (double)(x + 12) / PP_PICTURE_WIDTH, y + half, (unsigned)kinds[k].rgb, tag,
                       kinds[k].key, (double)(x + 18) / PP_PICTURE_WIDTH, y);
        x += 190;
        tag++;
    }
    if (d->shades) {
        pp_text_printf(c,
                       "set label %d 'lighter: later stage of the rank' at screen %.6f, screen "
                       "%.6f left front tc rgb '#666666'\n",
                       tag, (double)x / PP_PICTURE_WIDTH, y);
    }
}

static int64_t measure(struct drawing *d, const struct pp_gantt *charts, int32_t chart_count) {
    int32_t most_ranks = 1;
    int64_t rows = 0;
    for (int32_t i = 0; i < chart_count; i++) {
        const struct pp_trace *t = charts[i].trace;
        int64_t end = flushes_of(&charts[i]) * flush_ns(t);
        d->max_ns = end > d->max_ns ? end : d->max_ns;
        most_ranks = t->sched->rank_count > most_ranks ? t->sched->rank_count : most_ranks;
    }
    d->row_step = (most_ranks + MAX_ROWS - 1) / MAX_ROWS;
    d->row_height = row_height((most_ranks + d->row_step - 1) / d->row_step);
    for (int32_t i = 0; i < chart_count; i++) {
        rows += rows_of(d, charts[i].trace);
    }
    d->unit = pp_picture_time_unit(d->max_ns);
    d->picture.height = (int32_t)(KEY_SPACE + chart_count * (HEADING_SPACE + GAP) +
                                  rows * d->row_height + AXIS_SPACE - GAP);
    double boxes_a_row = (double)MAX_BOXES / (double)rows;
    double least = boxes_a_row < PLOT_WIDTH ? PLOT_WIDTH / boxes_a_row : 1.0; /* pixels */
    d->min_ns = (int64_t)((double)d->max_ns * least / PLOT_WIDTH);
    return rows;
}

enum pp_status pp_picture_gantt(const struct pp_gantt *charts, int32_t chart_count, const char *dir,
                                struct pp_err *err) {
    if (chart_count < 1) {
        return pp_fail(err, PP_E_ARG, "no schedule to draw");
    }
    struct drawing d = {.picture = {.name = "gantt"}};
    enum pp_status status = PP_OK;
    measure(&d, charts, chart_count);
    struct pp_text *c = &d.picture.commands;
    pp_text_printf(c,
                   "set multiplot\nset xrange [0:%.9g]\nset border 3 lc rgb '#888888'\nset tics "
                   "textcolor rgb '#333333'\n"
                   "set grid xtics lc rgb '#dddddd' lw 0.5\nunset key\n",
                   units(&d, d.max_ns) * 1.002);
    int32_t top = KEY_SPACE + HEADING_SPACE;
    for (int32_t i = 0; i < chart_count && status == PP_OK; i++) {
        d.trace = charts[i].trace;
        d.flush_count = flushes_of(&charts[i]);
        d.flush_ns = flush_ns(d.trace);
        status = index_stages(&d, err);
        if (status != PP_OK) {
            goto free_all;
        }
        int32_t rows = rows_of(&d, d.trace);
        put_data(&d, i, rows);
        if (i == chart_count - 1) {
            put_key(&d);
        }
        put_chart(&d, &charts[i], i, top, rows, i == chart_count - 1);
        top += rows * d.row_height + GAP + HEADING_SPACE;
    }
    pp_text_puts(c, "unset multiplot\n");
    status = pp_picture_write(&d.picture, dir, err);
free_all:
    free(d.stage_index);
    free(d.stages_of);
    pp_text_free(&d.picture.data);
    pp_text_free(c);
    return status;
}
