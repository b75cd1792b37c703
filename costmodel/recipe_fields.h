/**
 * @file recipe_fields.h
 * Typed reading of a recipe's keys with complaints that say what was found and what was expected.
 * Used by recipe*.c only.
 *
 * An absent key leaves the default in place; so does null where a field takes it.
 */
#ifndef PP_COSTMODEL_RECIPE_FIELDS_H
#define PP_COSTMODEL_RECIPE_FIELDS_H

#include "costmodel/recipe.h"

enum pp_field_kind {
    PP_FIELD_INT32,
    PP_FIELD_INT64,
    PP_FIELD_BOOL,
    PP_FIELD_TEXT,  /* const char *, lives in the document */
    PP_FIELD_DTYPE, /* enum pp_dtype */
};

struct pp_field {
    const char *key; /* dotted, from the document's root */
    enum pp_field_kind kind;
    bool takes_null;
    size_t offset;     /* in the struct that is filled */
    int64_t low, high; /* integers */
};

/** A node as Automodel's loader sees it: strings translated. `kind` is final; numbers and booleans
 *  are filled. */
struct pp_field_value {
    enum pp_node_kind kind;
    bool boolean;
    bool huge;
    int64_t integer;
    double real; /* integers, too */
};
struct pp_field_value pp_field_view(const struct pp_node *node);

/** The node at a dotted path unless it is absent or (translated) null. */
const struct pp_node *pp_field_find(const struct pp_doc *doc, const char *dotted);

/** PP_E_TYPE: "`key` is <what was found>; expected <expected>". */
enum pp_status pp_field_type_error(const struct pp_doc *doc, const struct pp_node *node,
                                   const char *key, const char *expected, struct pp_err *err);

/** Fills the fields of `base`. @return PP_OK, PP_E_TYPE, PP_E_RANGE, PP_E_VALUE (dtype) */
enum pp_status pp_fields_read(const struct pp_doc *doc, const struct pp_field *fields,
                              size_t field_count, void *base, struct pp_err *err);

/** PP_E_TYPE if one of these is there and neither a mapping nor null. `keys` ends with NULL. */
enum pp_status pp_fields_want_mappings(const struct pp_doc *doc, const char *const *keys,
                                       struct pp_err *err);

#endif
