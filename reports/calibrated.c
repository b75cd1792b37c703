#include "reports/calibrated.h"

#include "reports/json.h"
#include "reports/table.h"

#include <stdlib.h>
#include <string.h>

/* ---- what it is learned from ---- */

struct learned {
    struct pp_stored_execution execution;
    struct pp_trace *traces;
    int32_t trace_count;
    struct pp_profile_row *rows;
    int32_t row_count;
};

static void learned_deinit(struct learned *l) {
    for (int32_t i = 0; i < l->trace_count; i++) {
        pp_trace_deinit(&l->traces[i]);
    }
    free(l->traces);
    free(l->rows);
    pp_stored_execution_deinit(&l->execution);
}

static enum pp_status load_traces(struct pp_store *store, struct learned *l, struct pp_err *err) {
    const struct pp_stored_execution *e = &l->execution;
    int32_t stored = 0;
    for (int32_t i = 0; i < e->step_count; i++) {
        stored += e->steps[i].has_trace;
    }
    l->traces = calloc((size_t)stored + 1, sizeof *l->traces);
    if (l->traces == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for traces");
    }
    bool first = stored > 1;
    for (int32_t i = 0; i < e->step_count; i++) {
        if (e->steps[i].has_trace && !first) {
            PP_TRY(
                pp_store_read_trace(store, e, e->steps[i].step, &l->traces[l->trace_count], err));
            l->trace_count++;
        }
        first = first && !e->steps[i].has_trace;
    }
    return PP_OK;
}

static enum pp_status load(struct pp_store *store, const char *id, struct learned *l,
                           struct pp_err *err) {
    PP_TRY(pp_store_read_execution(store, id, &l->execution, err));
    PP_TRY(load_traces(store, l, err));
    return pp_store_read_profile(store, &l->execution, &l->rows, &l->row_count, err);
}

/* The last execution with a trace. */
static enum pp_status find_last(struct pp_store *store, char id[33], struct pp_err *err) {
    struct pp_execution_summary *list = NULL;
    int32_t count = 0;
    PP_TRY(pp_store_list_executions(store, &list, &count, err));
    while (count > 0 && list[count - 1].trace_count == 0) {
        count--;
    }
    enum pp_status status = PP_OK;
    if (count > 0) {
        pp_copy(id, 33, list[count - 1].id);
    } else {
        status = pp_fail(err, PP_E_NOT_FOUND, "the database holds no execution with traces");
        pp_hint(err, "`pipeplan run --db FILE --plan ID` makes one");
    }
    free(list);
    return status;
}

static enum pp_status fit(struct pp_store *store, const char *const *ids, struct learned *all,
                          struct pp_calibration_source *sources, int32_t *loaded_p, int32_t count,
                          struct pp_calibration *calibration_p, struct pp_err *err) {
    int32_t source_count = 0;
    for (int32_t i = 0; i < count; i++) {
        struct learned *l = &all[(*loaded_p)++];
        PP_TRY(load(store, ids[i], l, err));
        bool again = false;
        for (int32_t k = 0; k < i; k++) {
            again = again || l->execution.number == all[k].execution.number;
        }
        if (!again) {
            sources[source_count++] = (struct pp_calibration_source){.execution = &l->execution,
                                                                     .traces = l->traces,
                                                                     .trace_count = l->trace_count,
                                                                     .rows = l->rows,
                                                                     .row_count = l->row_count};
        }
    }
    return pp_calibration_fit(sources, source_count, calibration_p, err);
}

enum pp_status pp_calibrate_executions(struct pp_store *store, const char *const *ids,
                                       int32_t count, struct pp_calibration *calibration_p,
                                       struct pp_err *err) {
    char last[33];
    const char *const only[] = {last};
    if (count == 0) {
        PP_TRY(find_last(store, last, err));
        ids = only;
        count = 1;
    }
    struct learned *all = calloc((size_t)count, sizeof *all);
    struct pp_calibration_source *sources = calloc((size_t)count, sizeof *sources);
    int32_t loaded = 0;
    enum pp_status status = all == NULL || sources == NULL
                                ? pp_fail(err, PP_E_NOMEM, "out of memory for %d executions", count)
                                : fit(store, ids, all, sources, &loaded, count, calibration_p, err);
    for (int32_t i = 0; i < loaded; i++) {
        learned_deinit(&all[i]);
    }
    free(all);
    free(sources);
    return status;
}

/* ---- how it is shown ---- */

/* The last module that was seen is the head if the first is the embedding: a split that was run has
 * both or its modules go by number. */
static const char *name_of(const struct pp_calibration *c, int32_t module, char out[32]) {
    if (c->by_stage) {
        snprintf(out, 32, "stage %d", module);
    } else if (module == PP_MODULE_EMBEDDING) {
        pp_copy(out, 32, "embedding");
    } else if (module == c->rows[c->row_count - 1].module) {
        pp_copy(out, 32, "head");
    } else {
        snprintf(out, 32, "layer %d", module);
    }
    return out;
}

static const char *signed_us(int64_t ns, char out[PP_NUMBER_BYTES + 1]) {
    out[0] = '-';
    pp_us_text(ns < 0 ? -ns : ns, ns < 0 ? out + 1 : out);
    return out;
}

static void add_row(struct pp_table *t, const char *what, enum pp_action_type type,
                    int64_t median_ns, int64_t spread_ns, int32_t count) {
    char median[PP_NUMBER_BYTES + 1];
    char spread[PP_NUMBER_BYTES];
    pp_table_cell(t, "%s", what);
    pp_table_cell(t, "%s", pp_action_type_text(type));
    pp_table_cell(t, "%s", signed_us(median_ns, median));
    pp_table_cell(t, "%s", pp_us_text(spread_ns, spread));
    pp_table_cell(t, "%d", count);
}

static enum pp_status write_rows(FILE *out, const struct pp_calibration *c, struct pp_err *err) {
    static const char *const heading[] = {"", "type", "median us", "spread us", "n"};
    struct pp_table t;
    char name[32];
    pp_table_init(&t, "llrrr");
    pp_table_row(&t, heading);
    for (int32_t i = 0; i < c->row_count; i++) {
        const struct pp_profile_row *r = &c->rows[i];
        add_row(&t, name_of(c, r->module, name), r->type, r->median_ns, r->spread_ns, r->count);
    }
    for (int type = 0; type < PP_ACTION_TYPE_COUNT; type++) {
        const struct pp_action_fit *a = &c->actions[type];
        if (a->count > 0) {
            add_row(&t, type <= PP_B ? "beyond them" : "each", (enum pp_action_type)type,
                    a->median_ns, a->spread_ns, a->count);
        }
    }
    enum pp_status status = pp_table_print(&t, out, err);
    pp_table_deinit(&t);
    return status;
}

static void write_lags(FILE *out, const struct pp_calibration *c) {
    static const char *const words[PP_LAG_COUNT] = {
        [PP_LAG_COMPUTE] = "between compute actions",
        [PP_LAG_POST] = "between compute and a message",
        [PP_LAG_WAKE] = "between a message and compute",
    };
    for (int kind = 0; kind < PP_LAG_COUNT; kind++) {
        const struct pp_action_fit *lag = &c->lags[kind];
        char median[PP_NUMBER_BYTES];
        char spread[PP_NUMBER_BYTES];
        if (lag->count > 0) {
            fprintf(out, "%s: %s us; spread %s us, n %d\n", words[kind],
                    pp_us_text(lag->median_ns, median), pp_us_text(lag->spread_ns, spread),
                    lag->count);
        }
    }
}

enum pp_status pp_text_calibration(FILE *out, const struct pp_calibration *c, struct pp_err *err) {
    char alpha[PP_NUMBER_BYTES];
    char spread[PP_NUMBER_BYTES];
    fprintf(out, "calibration %s: model %.12s, %s over %s on %s, from %d execution%s\n\n", c->id,
            c->model_key, c->device, c->transport, c->machine, c->execution_count,
            c->execution_count == 1 ? "" : "s");
    PP_TRY(write_rows(out, c, err));
    fputc('\n', out);
    write_lags(out, c);
    if (c->link.count > 0) {
        fprintf(out, "a message: %s us", pp_us_text(c->link.alpha_ns, alpha));
        if (c->link.bytes_per_s > 0) {
            fprintf(out, " + its bytes at %.2f GB/s", (double)c->link.bytes_per_s / 1e9);
        } else {
            fputs(", whatever its size", out);
        }
        fprintf(out, "; spread %s us, n %d\n", pp_us_text(c->link.spread_ns, spread),
                c->link.count);
    }
    fprintf(out, "half of %d compute actions are within %.2f %% of this\n", c->sample_count,
            100.0 * c->residual);
    return PP_OK;
}

static json_t *rows_json(const struct pp_calibration *c) {
    json_t *array = json_array();
    char name[32];
    for (int32_t i = 0; i < c->row_count; i++) {
        const struct pp_profile_row *r = &c->rows[i];
        json_array_append_new(
            array, json_pack("{s:i, s:s, s:s, s:I, s:I, s:i}", c->by_stage ? "stage" : "module",
                             r->module, "name", name_of(c, r->module, name), "type",
                             pp_action_type_text(r->type), "median_ns", (json_int_t)r->median_ns,
                             "spread_ns", (json_int_t)r->spread_ns, "n", r->count));
    }
    return array;
}

static void add_fit(json_t *array, const char *key, const char *name,
                    const struct pp_action_fit *fit) {
    if (fit->count > 0) {
        json_array_append_new(array, json_pack("{s:s, s:I, s:I, s:i}", key, name, "median_ns",
                                               (json_int_t)fit->median_ns, "spread_ns",
                                               (json_int_t)fit->spread_ns, "n", fit->count));
    }
}

static json_t *actions_json(const struct pp_calibration *c) {
    json_t *array = json_array();
    for (int type = 0; type < PP_ACTION_TYPE_COUNT; type++) {
        add_fit(array, "type", pp_action_type_text((enum pp_action_type)type), &c->actions[type]);
    }
    return array;
}

static json_t *lags_json(const struct pp_calibration *c) {
    json_t *array = json_array();
    for (int kind = 0; kind < PP_LAG_COUNT; kind++) {
        add_fit(array, "kind", pp_lag_text((enum pp_lag_kind)kind), &c->lags[kind]);
    }
    return array;
}

void pp_json_calibration(json_t *document, const struct pp_calibration *c) {
    json_t *executions = json_array();
    for (int32_t i = 0; i < c->execution_count; i++) {
        json_array_append_new(executions, json_string(c->executions[i]));
    }
    json_object_set_new(document, "calibration_id", json_string(c->id));
    json_object_set_new(document, "model_key", pp_json_text(c->model_key));
    json_object_set_new(document, "device", pp_json_text(c->device));
    json_object_set_new(document, "transport", pp_json_text(c->transport));
    json_object_set_new(document, "machine", pp_json_text(c->machine));
    json_object_set_new(document, "executions", executions);
    json_object_set_new(document, "by", json_string(c->by_stage ? "stage" : "module"));
    json_object_set_new(document, "rows", rows_json(c));
    json_object_set_new(document, "actions", actions_json(c));
    json_object_set_new(document, "lags", lags_json(c));
    json_object_set_new(
        document, "message",
        json_pack("{s:I, s:o, s:I, s:i}", "alpha_ns", (json_int_t)c->link.alpha_ns, "bytes_per_s",
                  c->link.bytes_per_s > 0 ? json_integer(c->link.bytes_per_s) : json_null(),
                  "spread_ns", (json_int_t)c->link.spread_ns, "n", c->link.count));
    json_object_set_new(document, "sample_count", json_integer(c->sample_count));
    json_object_set_new(document, "residual", json_real(c->residual));
}
