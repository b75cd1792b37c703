#include "costmodel/recipe_fields.h"

#include "costmodel/value.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN_BYTES = 60 };

struct pp_field_value pp_field_view(const struct pp_node *node) {
    static const enum pp_node_kind kinds[] = {
        [PP_VALUE_NONE] = PP_NODE_NULL,     [PP_VALUE_BOOL] = PP_NODE_BOOL,
        [PP_VALUE_INT] = PP_NODE_INT,       [PP_VALUE_FLOAT] = PP_NODE_FLOAT,
        [PP_VALUE_STRING] = PP_NODE_STRING, [PP_VALUE_COMPOUND] = PP_NODE_STRING,
    };
    struct pp_field_value view = {.kind = pp_node_kind(node)};
    switch (view.kind) {
    case PP_NODE_BOOL:
        pp_node_get_bool(node, &view.boolean);
        break;
    case PP_NODE_INT:
        view.huge = !pp_node_get_int(node, &view.integer);
        pp_node_get_float(node, &view.real);
        break;
    case PP_NODE_STRING: {
        struct pp_value v = pp_value_translate(pp_node_text(node));
        view.kind = kinds[v.kind];
        view.boolean = v.boolean;
        view.integer = v.integer;
        view.huge = v.huge;
        view.real = v.real;
        break;
    }
    case PP_NODE_FLOAT:
        pp_node_get_float(node, &view.real);
        break;
    case PP_NODE_NULL:
    case PP_NODE_SEQUENCE:
    case PP_NODE_MAPPING:
        break;
    }
    return view;
}

const struct pp_node *pp_field_find(const struct pp_doc *doc, const char *dotted) {
    const struct pp_node *node = pp_doc_find(doc, dotted);
    return node != NULL && pp_field_view(node).kind != PP_NODE_NULL ? node : NULL;
}

enum pp_status pp_field_type_error(const struct pp_doc *doc, const struct pp_node *node,
                                   const char *key, const char *expected, struct pp_err *err) {
    char shown[SHOWN_BYTES + 8] = "";
    const char *text = pp_node_text(node);
    if (text != NULL && pp_node_kind(node) != PP_NODE_NULL) {
        snprintf(shown, sizeof shown, " ('%.*s')", SHOWN_BYTES, text);
    }
    pp_node_fail(err, doc, node, PP_E_TYPE, "%s is %s%s; expected %s", key,
                 pp_node_kind_name(pp_field_view(node).kind), shown, expected);
    if (text != NULL && strchr(text, '$') != NULL) {
        pp_hint(err,
                "environment references are not resolved here; give the value with --set %s=", key);
    }
    return PP_E_TYPE;
}

static enum pp_status read_integer(const struct pp_doc *doc, const struct pp_field *field,
                                   const struct pp_node *node, void *target, struct pp_err *err) {
    struct pp_field_value view = pp_field_view(node);
    if (view.kind != PP_NODE_INT) {
        return pp_field_type_error(doc, node, field->key, "an integer", err);
    }
    if (view.huge || view.integer < field->low || view.integer > field->high) {
        return pp_node_fail(err, doc, node, PP_E_RANGE, "%s is %.*s; expected %lld to %lld",
                            field->key, SHOWN_BYTES, pp_node_text(node), (long long)field->low,
                            (long long)field->high);
    }
    if (field->kind == PP_FIELD_INT32) {
        int32_t value = (int32_t)view.integer;
        memcpy(target, &value, sizeof value);
    } else {
        memcpy(target, &view.integer, sizeof view.integer);
    }
    return PP_OK;
}

static enum pp_status read_dtype(const struct pp_doc *doc, const struct pp_field *field,
                                 const struct pp_node *node, void *target, struct pp_err *err) {
    if (pp_field_view(node).kind != PP_NODE_STRING) {
        return pp_field_type_error(doc, node, field->key, "the name of a dtype", err);
    }
    enum pp_dtype dtype = PP_DTYPE_BF16;
    if (!pp_dtype_from_name(pp_node_text(node), &dtype)) {
        pp_node_fail(err, doc, node, PP_E_VALUE, "%s is '%.*s', which is no dtype", field->key,
                     SHOWN_BYTES, pp_node_text(node));
        pp_hint(err, "write bfloat16, float16 or float32");
        return PP_E_VALUE;
    }
    memcpy(target, &dtype, sizeof dtype);
    return PP_OK;
}

static enum pp_status read_field(const struct pp_doc *doc, const struct pp_field *field,
                                 const struct pp_node *node, void *target, struct pp_err *err) {
    struct pp_field_value view = pp_field_view(node);
    switch (field->kind) {
    case PP_FIELD_INT32:
    case PP_FIELD_INT64:
        return read_integer(doc, field, node, target, err);
    case PP_FIELD_DTYPE:
        return read_dtype(doc, field, node, target, err);
    case PP_FIELD_BOOL:
        if (view.kind != PP_NODE_BOOL) {
            return pp_field_type_error(doc, node, field->key, "true or false", err);
        }
        memcpy(target, &view.boolean, sizeof view.boolean);
        return PP_OK;
    case PP_FIELD_TEXT: {
        if (view.kind != PP_NODE_STRING) {
            return pp_field_type_error(doc, node, field->key, "a string", err);
        }
        const char *text = pp_node_text(node);
        memcpy(target, &text, sizeof text);
        return PP_OK;
    }
    }
    return PP_OK;
}

enum pp_status pp_fields_read(const struct pp_doc *doc, const struct pp_field *fields,
                              size_t field_count, void *base, struct pp_err *err) {
    for (size_t i = 0; i < field_count; i++) {
        const struct pp_field *field = &fields[i];
        const struct pp_node *node = pp_doc_find(doc, field->key);
        if (node == NULL || (field->takes_null && pp_field_view(node).kind == PP_NODE_NULL)) {
            continue;
        }
        PP_TRY(read_field(doc, field, node, (char *)base + field->offset, err));
    }
    return PP_OK;
}

enum pp_status pp_fields_want_mappings(const struct pp_doc *doc, const char *const *keys,
                                       struct pp_err *err) {
    for (; *keys != NULL; keys++) {
        const struct pp_node *node = pp_field_find(doc, *keys);
        if (node != NULL && pp_node_kind(node) != PP_NODE_MAPPING) {
            return pp_field_type_error(doc, node, *keys, "a mapping", err);
        }
    }
    return PP_OK;
}
