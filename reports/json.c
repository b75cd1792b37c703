#include "reports/json.h"

#include "costmodel/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

json_t *pp_json_document(const char *command) {
    char schema[64];
    snprintf(schema, sizeof schema, "pipeplan.%s/1", command);
    return json_pack("{s:s}", "schema", schema);
}

json_t *pp_json_error(const struct pp_err *err) {
    json_t *error = json_pack("{s:s, s:s, s:s}", "code", pp_status_code(err->status), "message",
                              err->message, "hint", err->hint);
    if (error != NULL && err->file[0] != '\0') {
        json_object_set_new(error, "file", json_string(err->file));
    }
    if (error != NULL && err->line > 0) {
        json_object_set_new(error, "line", json_integer(err->line));
        json_object_set_new(error, "column", json_integer(err->column));
    }
    return error;
}

json_t *pp_json_text(const char *text) {
    char *copy = strdup(text);
    if (copy == NULL) {
        return NULL;
    }
    pp_utf8_make_line(copy);
    json_t *string = json_string(copy);
    free(copy);
    return string;
}

json_t *pp_json_i32s(const int32_t *values, int32_t count) {
    json_t *array = json_array();
    for (int32_t i = 0; i < count; i++) {
        json_array_append_new(array, json_integer(values[i]));
    }
    return array;
}

json_t *pp_json_i64s(const int64_t *values, int32_t count) {
    json_t *array = json_array();
    for (int32_t i = 0; i < count; i++) {
        json_array_append_new(array, json_integer(values[i]));
    }
    return array;
}

enum pp_status pp_json_write(const json_t *document, FILE *out, struct pp_err *err) {
    if (document == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the JSON document");
    }
    if (json_dumpf(document, out, JSON_INDENT(1) | JSON_REAL_PRECISION(12)) != 0 ||
        fputc('\n', out) == EOF) {
        return pp_fail(err, PP_E_IO, "cannot write the JSON document: %s", strerror(errno));
    }
    return PP_OK;
}
