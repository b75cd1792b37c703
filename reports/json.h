/**
 * @file json.h
 * JSON documents of the command line: one object a command, `"schema": "pipeplan.<command>/1"`.
 * Trees are Jansson's; members keep insertion order, so the same input gives the same bytes.
 */
#ifndef PP_REPORTS_JSON_H
#define PP_REPORTS_JSON_H

#include "costmodel/base.h"

#include <jansson.h>
#include <stdio.h>

/** A new document with its schema member; NULL if out of memory. */
json_t *pp_json_document(const char *command);

/** {"code", "message", "hint", "file", "line", "column"}; place members only if known. */
json_t *pp_json_error(const struct pp_err *err);

/** A string of any bytes, such as a path: bytes that are not UTF-8 show as '?'. */
json_t *pp_json_text(const char *text);

/** An integer array. */
json_t *pp_json_i32s(const int32_t *values, int32_t count);
json_t *pp_json_i64s(const int64_t *values, int32_t count);

/** Writes the document and a newline; reals with 12 significant digits.
 *  @return PP_OK, PP_E_IO, PP_E_NOMEM (document NULL) */
enum pp_status pp_json_write(const json_t *document, FILE *out, struct pp_err *err);

#endif
