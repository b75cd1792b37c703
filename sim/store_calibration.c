/* Calibrations in the database. */
#include "sim/calibration.h"
#include "sim/store_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static const char *kind_of(const struct pp_calibration *c) {
    return c->by_stage ? "stage" : "module";
}

static void put_executions(struct pp_text *t, const struct pp_calibration *c) {
    pp_text_puts(t, "[");
    for (int32_t i = 0; i < c->execution_count; i++) {
        pp_text_printf(t, "%s\"%s\"", i == 0 ? "" : ",", c->executions[i]);
    }
    pp_text_puts(t, "]");
}

/* ---- writing ---- */

static enum pp_status make_id(struct pp_calibration *c, const char *executions,
                              struct pp_err *err) {
    const char *const texts[] = {c->model_key, c->device,  c->transport,
                                 c->machine,   executions, kind_of(c)};
    struct pp_text t = {0};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        pp_store_add_input(&t, texts[i]);
    }
    for (int32_t i = 0; i < c->row_count; i++) {
        const struct pp_profile_row *r = &c->rows[i];
        pp_text_printf(&t, "%d,%d,%lld,%lld,%d;", r->module, (int)r->type, (long long)r->median_ns,
                       (long long)r->spread_ns, r->count);
    }
    for (int i = 0; i < PP_ACTION_TYPE_COUNT + PP_LAG_COUNT; i++) {
        const struct pp_action_fit *a =
            i < PP_ACTION_TYPE_COUNT ? &c->actions[i] : &c->lags[i - PP_ACTION_TYPE_COUNT];
        pp_text_printf(&t, "%lld,%lld,%d;", (long long)a->median_ns, (long long)a->spread_ns,
                       a->count);
    }
    pp_text_printf(&t, "%lld,%lld,%lld,%d", (long long)c->link.alpha_ns,
                   (long long)c->link.bytes_per_s, (long long)c->link.spread_ns, c->link.count);
    enum pp_status status = pp_store_make_id(&t, c->id, err);
    pp_text_free(&t);
    return status;
}

static enum pp_status step(const struct pp_store *store, sqlite3_stmt *stmt, bool bound,
                           struct pp_err *err) {
    if (!bound) {
        return pp_fail(err, PP_E_NOMEM, "out of memory storing a calibration");
    }
    int code = sqlite3_step(stmt);
    enum pp_status status =
        code == SQLITE_DONE ? PP_OK : pp_store_fail(store, "store the calibration", err);
    sqlite3_reset(stmt);
    return status;
}

static enum pp_status put_head(const struct pp_store *store, const struct pp_calibration *c,
                               const char *executions, struct pp_err *err) {
    const char *const texts[] = {c->id,        c->model_key, c->device,
                                 c->transport, c->machine,   executions};
    const int64_t numbers[] = {c->link.alpha_ns, c->link.bytes_per_s, c->link.spread_ns,
                               c->link.count, c->sample_count};
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(store,
                            "INSERT OR IGNORE INTO calibrations VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, "
                            "?, ?, ?, ?, ?)",
                            &stmt, err));
    bool bound = true;
    int at = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        bound = bound && sqlite3_bind_text(stmt, ++at, texts[i], -1, SQLITE_STATIC) == SQLITE_OK;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        bound = bound && sqlite3_bind_int64(stmt, ++at, numbers[i]) == SQLITE_OK;
    }
    bound = bound && sqlite3_bind_double(stmt, ++at, c->residual) == SQLITE_OK;
    enum pp_status status = step(store, stmt, bound, err);
    sqlite3_finalize(stmt);
    return status;
}

struct row {
    const char *kind;
    int32_t key;
    const char *type;
    int64_t median_ns, spread_ns;
    int32_t count;
};

static enum pp_status put_row(const struct pp_store *store, sqlite3_stmt *stmt, struct row row,
                              struct pp_err *err) {
    bool bound = sqlite3_bind_text(stmt, 2, row.kind, -1, SQLITE_STATIC) == SQLITE_OK &&
                 sqlite3_bind_int64(stmt, 3, row.key) == SQLITE_OK &&
                 sqlite3_bind_text(stmt, 4, row.type, -1, SQLITE_STATIC) == SQLITE_OK &&
                 sqlite3_bind_int64(stmt, 5, row.median_ns) == SQLITE_OK &&
                 sqlite3_bind_int64(stmt, 6, row.spread_ns) == SQLITE_OK &&
                 sqlite3_bind_int64(stmt, 7, row.count) == SQLITE_OK;
    return step(store, stmt, bound, err);
}

/* What was not seen has no row. */
static enum pp_status put_fit(const struct pp_store *store, sqlite3_stmt *stmt, const char *kind,
                              const char *type, const struct pp_action_fit *f, struct pp_err *err) {
    struct row row = {kind, 0, type, f->median_ns, f->spread_ns, f->count};
    return f->count == 0 ? PP_OK : put_row(store, stmt, row, err);
}

static enum pp_status put_rows(const struct pp_store *store, const struct pp_calibration *c,
                               struct pp_err *err) {
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(store, "INSERT INTO calibration_rows VALUES (?, ?, ?, ?, ?, ?, ?)",
                            &stmt, err));
    sqlite3_bind_int64(stmt, 1, sqlite3_last_insert_rowid(store->db));
    enum pp_status status = PP_OK;
    for (int32_t i = 0; status == PP_OK && i < c->row_count; i++) {
        const struct pp_profile_row *r = &c->rows[i];
        struct row row = {kind_of(c),   r->module,    pp_action_type_text(r->type),
                          r->median_ns, r->spread_ns, r->count};
        status = put_row(store, stmt, row, err);
    }
    for (int i = 0; status == PP_OK && i < PP_ACTION_TYPE_COUNT; i++) {
        status = put_fit(store, stmt, "action", pp_action_type_text((enum pp_action_type)i),
                         &c->actions[i], err);
    }
    for (int i = 0; status == PP_OK && i < PP_LAG_COUNT; i++) {
        status = put_fit(store, stmt, "lag", pp_lag_text((enum pp_lag_kind)i), &c->lags[i], err);
    }
    sqlite3_finalize(stmt);
    return status;
}

enum pp_status pp_store_add_calibration(struct pp_store *store, struct pp_calibration *c,
                                        struct pp_err *err) {
    struct pp_text executions = {0};
    put_executions(&executions, c);
    enum pp_status status = executions.failed ? pp_fail(err, PP_E_NOMEM, "out of memory for ids")
                                              : make_id(c, executions.bytes, err);
    if (status == PP_OK) {
        status = pp_store_exec(store, "BEGIN IMMEDIATE", err);
    }
    if (status == PP_OK) {
        status = put_head(store, c, executions.bytes, err);
        if (status == PP_OK && sqlite3_changes(store->db) > 0) {
            status = put_rows(store, c, err);
        }
        status = pp_store_end(store, status, err);
    }
    pp_text_free(&executions);
    return status;
}

/* ---- reading ---- */

static enum pp_status bad_row(const struct pp_store *store, const char *column, const char *id,
                              struct pp_err *err) {
    return pp_store_bad_row(store, column, "calibration", id, err);
}

static bool read_executions(const char *text, struct pp_calibration *c) {
    json_t *list = text == NULL ? NULL : json_loads(text, 0, NULL);
    size_t count = json_array_size(list);
    bool good = count > 0 && count <= 1 << 20;
    c->executions = good ? calloc(count, sizeof *c->executions) : NULL;
    good = good && c->executions != NULL;
    for (size_t i = 0; good && i < count; i++) {
        const char *id = json_string_value(json_array_get(list, i));
        good = id != NULL && pp_store_is_id(id);
        if (good) {
            pp_copy(c->executions[c->execution_count++], sizeof c->executions[0], id);
        }
    }
    json_decref(list);
    return good;
}

static bool find_type(const char *text, enum pp_action_type *type_p) {
    for (int i = 0; text != NULL && i < PP_ACTION_TYPE_COUNT; i++) {
        if (strcmp(text, pp_action_type_text((enum pp_action_type)i)) == 0) {
            *type_p = (enum pp_action_type)i;
            return true;
        }
    }
    return false;
}

static bool find_lag(const char *text, enum pp_lag_kind *kind_p) {
    for (int i = 0; i < PP_LAG_COUNT; i++) {
        if (strcmp(text, pp_lag_text((enum pp_lag_kind)i)) == 0) {
            *kind_p = (enum pp_lag_kind)i;
            return true;
        }
    }
    return false;
}

/* A row of a module or stage. */
static bool read_key_row(sqlite3_stmt *stmt, bool by_stage, const struct pp_action_fit *fit,
                         struct pp_calibration *c) {
    bool good = c->row_count == 0 || by_stage == c->by_stage;
    struct pp_profile_row row = {
        .median_ns = fit->median_ns, .spread_ns = fit->spread_ns, .count = fit->count};
    row.module = (int32_t)pp_store_within(stmt, 1, by_stage ? 0 : PP_MODULE_EMBEDDING,
                                          PP_SCHED_MAX_STAGES, &good);
    good = good && find_type((const char *)sqlite3_column_text(stmt, 2), &row.type) &&
           row.type <= (by_stage ? PP_B : PP_W) && row.median_ns >= 0;
    c->by_stage = by_stage;
    c->rows[c->row_count++] = row;
    return good;
}

/* kind, key, type, median, spread, count */
static bool read_row(sqlite3_stmt *stmt, struct pp_calibration *c) {
    const char *kind = (const char *)sqlite3_column_text(stmt, 0);
    const char *type = (const char *)sqlite3_column_text(stmt, 2);
    struct pp_action_fit fit;
    enum pp_action_type action;
    enum pp_lag_kind lag;
    bool good = kind != NULL && type != NULL;
    fit.median_ns = pp_store_within(stmt, 3, -PP_COST_MAX_NS, PP_COST_MAX_NS, &good);
    fit.spread_ns = pp_store_within(stmt, 4, 0, INT64_MAX / 4, &good);
    fit.count = (int32_t)pp_store_within(stmt, 5, 0, INT32_MAX, &good);
    if (!good) {
        return false;
    }
    if (strcmp(kind, "action") == 0 && find_type(type, &action)) {
        c->actions[action] = fit;
        return action <= PP_B || fit.median_ns >= 0;
    }
    if (strcmp(kind, "lag") == 0 && find_lag(type, &lag)) {
        c->lags[lag] = fit;
        return fit.median_ns >= 0;
    }
    bool by_stage = strcmp(kind, "stage") == 0;
    return (by_stage || strcmp(kind, "module") == 0) && read_key_row(stmt, by_stage, &fit, c);
}

static enum pp_status read_rows(const struct pp_store *store, int64_t number,
                                struct pp_calibration *c, struct pp_err *err) {
    /* types in the order of enum pp_action_type, by which rows are looked up */
    static const char sql[] =
        "SELECT kind, key, type, median_ns, spread_ns, count, count(*) OVER () "
        "FROM calibration_rows WHERE calibration = ?1 "
        "ORDER BY kind, key, instr('FIWB', type)";
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(store, sql, &stmt, err));
    sqlite3_bind_int64(stmt, 1, number);
    bool good = true;
    int code = SQLITE_DONE;
    while (good && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (c->rows == NULL) {
            c->rows = calloc((size_t)sqlite3_column_int64(stmt, 6), sizeof *c->rows);
        }
        if (c->rows == NULL) {
            break;
        }
        good = read_row(stmt, c);
    }
    enum pp_status status = PP_OK;
    if (!good || (code == SQLITE_DONE && c->row_count == 0)) {
        status = bad_row(store, "a row", c->id, err);
    } else if (code == SQLITE_ROW) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for a calibration");
    } else if (code != SQLITE_DONE) {
        status = pp_store_fail(store, "read the calibrations", err);
    }
    sqlite3_finalize(stmt);
    return status;
}

#define HEAD                                                                                       \
    "SELECT number, calibration_id, model_key, device, transport, machine, executions, "           \
    "link_alpha_ns, link_bytes_per_s, link_spread_ns, link_count, sample_count, residual "         \
    "FROM calibrations "

static enum pp_status read_head(const struct pp_store *store, sqlite3_stmt *stmt,
                                struct pp_calibration *c, struct pp_err *err) {
    bool failed = false;
    bool good = true;
    pp_store_copy_id(stmt, 1, sizeof c->id, c->id);
    c->model_key = pp_store_copy_text(stmt, 2, &failed);
    c->device = pp_store_copy_text(stmt, 3, &failed);
    c->transport = pp_store_copy_text(stmt, 4, &failed);
    c->machine = pp_store_copy_text(stmt, 5, &failed);
    c->link.alpha_ns = pp_store_within(stmt, 7, 0, PP_COST_MAX_NS, &good);
    c->link.bytes_per_s = pp_store_within(stmt, 8, 0, PP_LINK_MAX_BYTES_PER_S, &good);
    c->link.spread_ns = pp_store_within(stmt, 9, 0, INT64_MAX / 4, &good);
    c->link.count = (int32_t)pp_store_within(stmt, 10, 0, INT32_MAX, &good);
    c->sample_count = (int32_t)pp_store_within(stmt, 11, 0, INT32_MAX, &good);
    c->residual = sqlite3_column_double(stmt, 12);
    if (failed) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for a calibration");
    }
    if (!good || !read_executions((const char *)sqlite3_column_text(stmt, 6), c)) {
        return bad_row(store, good ? "the list of executions" : "a figure", c->id, err);
    }
    return read_rows(store, sqlite3_column_int64(stmt, 0), c, err);
}

static enum pp_status none(const struct pp_store *store, const char *what, struct pp_err *err) {
    pp_fail(err, PP_E_NOT_FOUND, "%s holds no %s", store->path, what);
    pp_hint(err, "`pipeplan calibrate --db %s` makes one of executions", store->path);
    return PP_E_NOT_FOUND;
}

enum pp_status pp_store_read_calibration(struct pp_store *store, const char *id,
                                         struct pp_calibration *calibration_p, struct pp_err *err) {
    PP_TRY(pp_store_check_id(id, "calibration", err));
    if (store->version < PP_STORE_EXECUTIONS) {
        return none(store, "calibrations", err);
    }
    sqlite3_stmt *stmt = NULL;
    struct pp_calibration c = {0};
    PP_TRY(pp_store_prepare(store, HEAD "WHERE substr(calibration_id, 1, length(?1)) = ?1 LIMIT 2",
                            &stmt, err));
    sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
    enum pp_status status = pp_store_step_one(store, stmt, "calibration", id, err);
    if (status == PP_OK) {
        status = read_head(store, stmt, &c, err);
    }
    if (status == PP_OK) {
        status = pp_store_check_unique(store, stmt, "calibration", id, err);
    }
    sqlite3_finalize(stmt);
    if (status != PP_OK) {
        pp_calibration_deinit(&c);
        return status;
    }
    *calibration_p = c;
    return PP_OK;
}

enum pp_status pp_store_find_calibration(struct pp_store *store,
                                         const struct pp_calibration_key *key,
                                         struct pp_calibration *calibration_p, struct pp_err *err) {
    static const char wanted[] = "calibration of this model, device, transport and machine";
    if (store->version < PP_STORE_EXECUTIONS) {
        return none(store, wanted, err);
    }
    const char *const texts[] = {key->model_key, key->device, key->transport, key->machine};
    char alone[48] = "";
    sqlite3_stmt *stmt = NULL;
    struct pp_calibration c = {0};
    PP_TRY(pp_store_prepare(store,
                            HEAD "WHERE model_key = ? AND device = ? AND transport = ? AND "
                                 "machine = ? AND executions <> ? ORDER BY number DESC LIMIT 1",
                            &stmt, err));
    for (int i = 0; i < 4; i++) {
        sqlite3_bind_text(stmt, i + 1, texts[i], -1, SQLITE_STATIC);
    }
    if (key->not_alone_from != NULL) {
        snprintf(alone, sizeof alone, "[\"%.32s\"]", key->not_alone_from);
    }
    sqlite3_bind_text(stmt, 5, alone, -1, SQLITE_STATIC);
    enum pp_status status = PP_OK;
    switch (sqlite3_step(stmt)) {
    case SQLITE_ROW:
        status = read_head(store, stmt, &c, err);
        break;
    case SQLITE_DONE:
        status = none(store, wanted, err);
        break;
    default:
        status = pp_store_fail(store, "read the calibrations", err);
    }
    sqlite3_finalize(stmt);
    if (status != PP_OK) {
        pp_calibration_deinit(&c);
        return status;
    }
    *calibration_p = c;
    return PP_OK;
}
