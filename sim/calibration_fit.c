/* Learning from profiles and traces. */
#include "sim/calibration_priv.h"
#include "sim/waits.h"

#include <stdlib.h>
#include <string.h>

/* What an action that is no message took. */
struct sample {
    int32_t source, stage;
    enum pp_action_type type;
    int64_t ns;
};

struct fitter {
    const struct pp_calibration_source *sources;
    int32_t source_count;
    struct pp_calibration c;
    struct sample *samples; /* [sample_count] by type, then stage */
    int32_t sample_count;
    struct pp_point *points; /* [point_count] messages */
    int32_t point_count;
    int64_t *lags[PP_LAG_COUNT];
    int32_t lag_count[PP_LAG_COUNT];
    int64_t *values; /* scratch, a figure a sample */
};

static enum pp_status no_memory(struct pp_err *err) {
    return pp_fail(err, PP_E_NOMEM, "out of memory for a calibration");
}

static const char *text_of(const char *text) {
    return text == NULL ? "" : text;
}

/* ---- what goes together ---- */

static enum pp_status check_sources(const struct fitter *f, struct pp_err *err) {
    const struct pp_stored_execution *first = f->sources[0].execution;
    int32_t traces = 0;
    for (int32_t i = 0; i < f->source_count; i++) {
        const struct pp_stored_execution *e = f->sources[i].execution;
        const char *const pairs[][3] = {{"model", e->model_key, first->model_key},
                                        {"device", e->device, first->device},
                                        {"transport", e->transport, first->transport},
                                        {"machine", e->machine, first->machine}};
        for (size_t k = 0; k < sizeof pairs / sizeof pairs[0]; k++) {
            if (strcmp(text_of(pairs[k][1]), text_of(pairs[k][2])) != 0) {
                pp_fail(err, PP_E_VALUE,
                        "executions %.12s and %.12s are of another %s: %.40s, %.40s", first->id,
                        e->id, pairs[k][0], text_of(pairs[k][2]), text_of(pairs[k][1]));
                pp_hint(err, "calibrate each kind on its own");
                return PP_E_VALUE;
            }
        }
        traces += f->sources[i].trace_count;
    }
    if (traces == 0) {
        pp_fail(err, PP_E_NOT_FOUND, "execution %.12s has no traces to learn from", first->id);
        pp_hint(err, "run it again and keep the traces of some steps");
        return PP_E_NOT_FOUND;
    }
    return PP_OK;
}

static enum pp_status copy_keys(struct fitter *f, struct pp_err *err) {
    const struct pp_stored_execution *first = f->sources[0].execution;
    struct pp_calibration *c = &f->c;
    c->model_key = strdup(text_of(first->model_key));
    c->device = strdup(text_of(first->device));
    c->transport = strdup(text_of(first->transport));
    c->machine = strdup(text_of(first->machine));
    c->executions = calloc((size_t)f->source_count, sizeof *c->executions);
    if (c->model_key == NULL || c->device == NULL || c->transport == NULL || c->machine == NULL ||
        c->executions == NULL) {
        return no_memory(err);
    }
    for (int32_t i = 0; i < f->source_count; i++) {
        pp_copy(c->executions[c->execution_count++], 33, f->sources[i].execution->id);
    }
    return PP_OK;
}

/* ---- samples ---- */

static enum pp_status make_room(struct fitter *f, struct pp_err *err) {
    int64_t count = 1;
    int64_t rows = 1;
    for (int32_t i = 0; i < f->source_count; i++) {
        const struct pp_calibration_source *s = &f->sources[i];
        count += (int64_t)s->trace_count * s->execution->sched->action_count;
        rows += s->row_count + (int64_t)(PP_B + 1) * s->execution->sched->stage_count;
    }
    if (count > INT32_MAX || rows > INT32_MAX) {
        pp_fail(err, PP_E_RANGE, "%lld samples are more than a calibration takes",
                (long long)count);
        pp_hint(err, "name fewer executions");
        return PP_E_RANGE;
    }
    f->samples = malloc((size_t)count * sizeof *f->samples);
    f->values = malloc((size_t)count * sizeof *f->values);
    f->points = malloc((size_t)count * sizeof *f->points);
    f->c.rows = calloc((size_t)rows, sizeof *f->c.rows);
    bool failed = f->samples == NULL || f->values == NULL || f->points == NULL || f->c.rows == NULL;
    for (int kind = 0; kind < PP_LAG_COUNT; kind++) {
        f->lags[kind] = malloc((size_t)count * sizeof *f->lags[kind]);
        failed = failed || f->lags[kind] == NULL;
    }
    return failed ? no_memory(err) : PP_OK;
}

static void take_trace(struct fitter *f, int32_t source, const struct pp_trace *t) {
    const struct pp_stored_execution *e = f->sources[source].execution;
    for (int32_t at = 0; at < e->sched->action_count; at++) {
        const struct pp_action *a = &e->sched->actions[at];
        int64_t ns = t->end_ns[at] - t->start_ns[at];
        if (a->type == PP_RECV_F || a->type == PP_RECV_B) {
            int32_t from =
                a->type == PP_RECV_F ? a->stage : pp_sched_stage_after(e->sched, a->stage);
            f->points[f->point_count++] = (struct pp_point){e->message_bytes[from], ns};
        } else if (a->type != PP_SEND_F && a->type != PP_SEND_B) {
            f->samples[f->sample_count++] = (struct sample){source, a->stage, a->type, ns};
        }
    }
}

static int by_type(const void *a, const void *b) {
    const struct sample *x = a;
    const struct sample *y = b;
    if (x->type != y->type) {
        return (x->type > y->type) - (x->type < y->type);
    }
    return (x->stage > y->stage) - (x->stage < y->stage);
}

static void add_lag(struct fitter *f, enum pp_lag_kind kind, int64_t ns) {
    f->lags[kind][f->lag_count[kind]++] = ns;
}

static void take_lags(struct fitter *f, const struct pp_waits *waits, const struct pp_trace *t) {
    const struct pp_action *actions = t->sched->actions;
    for (int32_t at = 0; at < t->sched->action_count; at++) {
        const struct pp_action *a = &actions[at];
        struct pp_binding b = pp_waits_binding(waits, t, at);
        enum pp_action_type before = b.action < 0 ? PP_ACTION_TYPE_COUNT : actions[b.action].type;
        bool is_recv = a->type == PP_RECV_F || a->type == PP_RECV_B;
        if (pp_action_is_compute(a) && before <= PP_B) {
            add_lag(f, PP_LAG_COMPUTE, b.lag_ns);
        } else if (pp_action_is_compute(a) && (before == PP_RECV_F || before == PP_RECV_B)) {
            add_lag(f, PP_LAG_WAKE, b.lag_ns);
        } else if (is_recv && before <= PP_B) {
            add_lag(f, PP_LAG_POST, b.lag_ns);
        }
    }
}

static enum pp_status take_traces(struct fitter *f, struct pp_err *err) {
    for (int32_t i = 0; i < f->source_count; i++) {
        struct pp_waits *waits = NULL;
        PP_TRY(pp_waits_create(f->sources[i].execution->sched, &waits, err));
        for (int32_t k = 0; k < f->sources[i].trace_count; k++) {
            take_trace(f, i, &f->sources[i].traces[k]);
            take_lags(f, waits, &f->sources[i].traces[k]);
        }
        pp_waits_destroy(waits);
    }
    qsort(f->samples, (size_t)f->sample_count, sizeof *f->samples, by_type);
    return PP_OK;
}

/* ---- rows ---- */

static int by_module(const void *a, const void *b) {
    const struct pp_profile_row *x = a;
    const struct pp_profile_row *y = b;
    if (x->module != y->module) {
        return (x->module > y->module) - (x->module < y->module);
    }
    if (x->type != y->type) {
        return (x->type > y->type) - (x->type < y->type);
    }
    return (x->median_ns > y->median_ns) - (x->median_ns < y->median_ns);
}

/* Of rows of one module and type, sorted by their medians: the one in the middle of what ran. */
static struct pp_profile_row middle_row(const struct pp_profile_row *rows, int32_t count) {
    int64_t total = 0;
    for (int32_t i = 0; i < count; i++) {
        total += rows[i].count;
    }
    int64_t below = 0;
    int32_t at = 0;
    while (at < count - 1 && 2 * (below + rows[at].count) < total) {
        below += rows[at++].count;
    }
    struct pp_profile_row row = rows[at];
    row.count = (int32_t)pp_min_i64(total, INT32_MAX);
    return row;
}

/* Joins the rows of all sources. */
static void take_module_rows(struct fitter *f) {
    struct pp_calibration *c = &f->c;
    int32_t count = 0;
    for (int32_t i = 0; i < f->source_count; i++) {
        for (int32_t k = 0; k < f->sources[i].row_count; k++) {
            c->rows[count++] = f->sources[i].rows[k];
        }
    }
    qsort(c->rows, (size_t)count, sizeof *c->rows, by_module);
    for (int32_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && c->rows[to].module == c->rows[from].module &&
                            c->rows[to].type == c->rows[from].type;
             to++) {
        }
        c->rows[c->row_count++] = middle_row(&c->rows[from], to - from);
    }
}

/* Of samples of one stage and type. */
static struct pp_profile_row stage_row(const struct fitter *f, int32_t from, int32_t to) {
    const struct sample *first = &f->samples[from];
    for (int32_t i = from; i < to; i++) {
        f->values[i - from] = f->samples[i].ns;
    }
    struct pp_profile_row row = {.module = first->stage, .type = first->type, .count = to - from};
    row.median_ns = pp_median(f->values, to - from);
    row.spread_ns = pp_spread(f->values, to - from, row.median_ns);
    return row;
}

static void take_stage_rows(struct fitter *f) {
    struct pp_calibration *c = &f->c;
    for (int32_t from = 0, to; from < f->sample_count && f->samples[from].type <= PP_B; from = to) {
        for (to = from + 1;
             to < f->sample_count && by_type(&f->samples[to], &f->samples[from]) == 0; to++) {
        }
        c->rows[c->row_count++] = stage_row(f, from, to);
    }
    qsort(c->rows, (size_t)c->row_count, sizeof *c->rows, by_module);
}

static enum pp_status take_rows(struct fitter *f, struct pp_err *err) {
    int32_t splits = 0;
    int32_t profiles = 0;
    for (int32_t i = 0; i < f->source_count; i++) {
        splits += f->sources[i].execution->split != NULL;
        profiles += f->sources[i].row_count > 0;
    }
    if (splits == 0) {
        f->c.by_stage = true;
        take_stage_rows(f);
    } else if (profiles > 0 && splits == f->source_count) {
        take_module_rows(f);
    } else {
        pp_fail(err, PP_E_NOT_FOUND, "execution %.12s has no profile of its modules",
                f->sources[0].execution->id);
        pp_hint(err, "a profile is stored when an execution ends; let one run to its end, or name "
                     "another one");
        return PP_E_NOT_FOUND;
    }
    return PP_OK;
}

/* ---- what rows leave ---- */

static enum pp_status explain(const struct fitter *f, const struct sample *s, int64_t *ns_p,
                              struct pp_err *err) {
    const struct pp_stored_execution *e = f->sources[s->source].execution;
    return pp_calibration_explain(&f->c, e->split, e->sched->stage_count, s->stage, s->type, ns_p,
                                  err);
}

static struct pp_action_fit fit_values(int64_t *values, int32_t count) {
    struct pp_action_fit fit = {.median_ns = pp_median(values, count), .count = count};
    fit.spread_ns = pp_spread(values, count, fit.median_ns);
    return fit;
}

/* Sorted by type, so the samples of one stand together. */
static enum pp_status fit_actions(struct fitter *f, struct pp_err *err) {
    struct pp_calibration *c = &f->c;
    for (int32_t from = 0, to; from < f->sample_count; from = to) {
        enum pp_action_type type = f->samples[from].type;
        int32_t count = 0;
        for (to = from; to < f->sample_count && f->samples[to].type == type; to++) {
            const struct sample *s = &f->samples[to];
            int64_t explained_ns = 0;
            if (type <= PP_B) {
                PP_TRY(explain(f, s, &explained_ns, err));
            }
            f->values[count++] = s->ns - explained_ns;
        }
        c->actions[type] = fit_values(f->values, count);
    }
    return PP_OK;
}

/* In millionths, which are integers as medians are here. */
static enum pp_status find_residual(struct fitter *f, struct pp_err *err) {
    int32_t count = 0;
    for (int32_t i = 0; i < f->sample_count && f->samples[i].type <= PP_B; i++) {
        const struct sample *s = &f->samples[i];
        int64_t fitted_ns = 0;
        PP_TRY(explain(f, s, &fitted_ns, err));
        fitted_ns += f->c.actions[s->type].median_ns;
        int64_t off_ns = s->ns > fitted_ns ? s->ns - fitted_ns : fitted_ns - s->ns;
        f->values[count++] = pp_round_i64(1e6 * (double)off_ns / (double)pp_max_i64(1, s->ns));
    }
    f->c.sample_count = count;
    f->c.residual = (double)pp_median(f->values, count) / 1e6;
    return PP_OK;
}

static enum pp_status fit(struct fitter *f, struct pp_err *err) {
    PP_TRY(check_sources(f, err));
    PP_TRY(copy_keys(f, err));
    PP_TRY(make_room(f, err));
    PP_TRY(take_traces(f, err));
    PP_TRY(take_rows(f, err));
    PP_TRY(fit_actions(f, err));
    PP_TRY(find_residual(f, err));
    for (int kind = 0; kind < PP_LAG_COUNT; kind++) {
        f->c.lags[kind] = fit_values(f->lags[kind], f->lag_count[kind]);
    }
    return pp_fit_line(f->points, f->point_count, &f->c.link, err);
}

enum pp_status pp_calibration_fit(const struct pp_calibration_source *sources, int32_t count,
                                  struct pp_calibration *calibration_p, struct pp_err *err) {
    PP_ASSERT(count >= 1);
    struct fitter f = {.sources = sources, .source_count = count};
    enum pp_status status = fit(&f, err);
    free(f.samples);
    free(f.values);
    for (int kind = 0; kind < PP_LAG_COUNT; kind++) {
        free(f.lags[kind]);
    }
    free(f.points);
    if (status != PP_OK) {
        pp_calibration_deinit(&f.c);
        return status;
    }
    *calibration_p = f.c;
    return PP_OK;
}
