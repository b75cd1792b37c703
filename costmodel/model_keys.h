/**
 * @file model_keys.h
 * Reads keys of a config.json under their aliases, through the mappings that may hold them.
 */
#ifndef PP_COSTMODEL_MODEL_KEYS_H
#define PP_COSTMODEL_MODEL_KEYS_H

#include "costmodel/doc.h"

enum { PP_KEY_SCOPES = 4, PP_KEY_BYTES = 64 };

/** Mappings to look into, in order; the first that has one of the aliases wins. */
struct pp_keys {
    struct {
        const struct pp_doc *doc;
        const struct pp_node *mapping;
    } scopes[PP_KEY_SCOPES];
    int32_t count;
    struct pp_err *err;
};

/** Adds a mapping, and in front of it the language tower nested in it, if any. NULL is no mapping.
 */
void pp_keys_add(struct pp_keys *keys, const struct pp_doc *doc, const struct pp_node *mapping);

/** The value under the first of `aliases` ("a|b|c") that is present; NULL if absent or null. */
const struct pp_node *pp_keys_find(const struct pp_keys *keys, const char *aliases,
                                   const struct pp_doc **doc_p);

/** @return PP_OK (absent: *value_p untouched, *found_p false), PP_E_TYPE, PP_E_RANGE */
enum pp_status pp_keys_int(const struct pp_keys *keys, const char *aliases, int64_t low,
                           int64_t high, int64_t *value_p, bool *found_p);
/** @return as pp_keys_int, and PP_E_KEY if absent */
enum pp_status pp_keys_need(const struct pp_keys *keys, const char *aliases, int64_t low,
                            int64_t high, int64_t *value_p);
/** Absent: *value_p untouched. @return PP_OK, PP_E_TYPE */
enum pp_status pp_keys_bool(const struct pp_keys *keys, const char *aliases, bool *value_p);

#endif
