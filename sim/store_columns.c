/* What readers and writers of the tables share: ids, texts, arrays as JSON. */
#include "sim/store_priv.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* ---- ids ---- */

bool pp_store_is_id(const char *id) {
    return id[0] != '\0' && strspn(id, "0123456789abcdef") == strlen(id) && strlen(id) <= 32;
}

enum pp_status pp_store_check_id(const char *id, const char *what, struct pp_err *err) {
    if (pp_store_is_id(id)) {
        return PP_OK;
    }
    pp_fail(err, PP_E_NOT_FOUND, "\"%s\" is no %s id: expected up to 32 hex digits", id, what);
    pp_hint(err, strcmp(what, "plan") == 0 || strcmp(what, "run") == 0
                     ? "`pipeplan plan --json` and the view plans show the ids"
                     : "the tables executions and calibrations show the ids");
    return PP_E_NOT_FOUND;
}

enum pp_status pp_store_step_one(const struct pp_store *store, sqlite3_stmt *stmt, const char *what,
                                 const char *id, struct pp_err *err) {
    int code = sqlite3_step(stmt);
    if (code == SQLITE_DONE) {
        bool planned = strcmp(what, "plan") == 0 || strcmp(what, "run") == 0;
        pp_fail(err, PP_E_NOT_FOUND, "%s holds no %s %s", store->path, what, id);
        pp_hint(err, "`sqlite3 %s 'SELECT %s%s FROM %ss'` lists them", store->path,
                planned ? "run_id, plan" : what, "_id", planned ? "plan" : what);
        return PP_E_NOT_FOUND;
    }
    return code == SQLITE_ROW ? PP_OK : pp_store_fail(store, "read the database", err);
}

enum pp_status pp_store_check_unique(const struct pp_store *store, sqlite3_stmt *stmt,
                                     const char *what, const char *id, struct pp_err *err) {
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        pp_fail(err, PP_E_NOT_FOUND, "more than one %s in %s begins with %s", what, store->path,
                id);
        pp_hint(err, "give more of the id");
        return PP_E_NOT_FOUND;
    }
    return PP_OK;
}

enum pp_status pp_store_bad_row(const struct pp_store *store, const char *column, const char *what,
                                const char *id, struct pp_err *err) {
    pp_fail(err, PP_E_STORE, "%s: %s of %s %s cannot be read back", store->path, column, what, id);
    pp_hint(err, "the database was changed from outside; %s again into a new one",
            strcmp(what, "plan") == 0 ? "plan" : "run");
    return PP_E_STORE;
}

void pp_store_add_input(struct pp_text *t, const char *input) {
    if (input == NULL) {
        pp_text_puts(t, "-;");
    } else {
        pp_text_printf(t, "%zu:%s;", strlen(input), input);
    }
}

enum pp_status pp_store_make_id(const struct pp_text *t, char id_p[33], struct pp_err *err) {
    if (t->failed) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for an id");
    }
    char hex[65];
    pp_sha256_hex(t->bytes, t->size, hex);
    memcpy(id_p, hex, 32);
    id_p[32] = '\0';
    return PP_OK;
}

/* ---- columns ---- */

char *pp_store_copy_text(sqlite3_stmt *stmt, int column, bool *failed_p) {
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    char *copy = text == NULL ? NULL : strdup(text);
    *failed_p = *failed_p || (text != NULL && copy == NULL);
    return copy;
}

void pp_store_copy_id(sqlite3_stmt *stmt, int column, size_t size, char *id) {
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    pp_copy(id, size, text == NULL ? "" : text);
}

int64_t pp_store_within(sqlite3_stmt *stmt, int column, int64_t low, int64_t high, bool *good_p) {
    int64_t value = sqlite3_column_int64(stmt, column);
    if (value < low || value > high) {
        *good_p = false;
        return 0;
    }
    return value;
}

bool pp_store_read_i64s(const char *text, int32_t count, int64_t low, int64_t high,
                        int64_t *values) {
    json_t *array = text == NULL ? NULL : json_loads(text, 0, NULL);
    bool good = json_is_array(array) && json_array_size(array) == (size_t)count;
    for (int32_t i = 0; good && i < count; i++) {
        json_t *item = json_array_get(array, (size_t)i);
        values[i] = json_integer_value(item);
        good = json_is_integer(item) && values[i] >= low && values[i] <= high;
    }
    json_decref(array);
    return good;
}

int64_t *pp_store_column_i64s(sqlite3_stmt *stmt, int column, int32_t count, int64_t low,
                              int64_t high) {
    int64_t *values = malloc((size_t)count * sizeof *values);
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    if (values != NULL && !pp_store_read_i64s(text, count, low, high, values)) {
        free(values);
        return NULL;
    }
    return values;
}

int32_t *pp_store_column_i32s(sqlite3_stmt *stmt, int column, int32_t count, int64_t low,
                              int64_t high) {
    int64_t *wide = pp_store_column_i64s(stmt, column, count, low, high);
    int32_t *values = wide == NULL ? NULL : malloc((size_t)count * sizeof *values);
    for (int32_t i = 0; values != NULL && i < count; i++) {
        values[i] = (int32_t)wide[i];
    }
    free(wide);
    return values;
}

void pp_store_put_i64s(struct pp_text *t, const int64_t *values, int32_t count) {
    pp_text_puts(t, "[");
    for (int32_t i = 0; i < count; i++) {
        pp_text_printf(t, i == 0 ? "%lld" : ",%lld", (long long)values[i]);
    }
    pp_text_puts(t, "]");
}

void pp_store_put_i32s(struct pp_text *t, const int32_t *values, int32_t count) {
    pp_text_puts(t, "[");
    for (int32_t i = 0; i < count; i++) {
        pp_text_printf(t, i == 0 ? "%d" : ",%d", values[i]);
    }
    pp_text_puts(t, "]");
}
