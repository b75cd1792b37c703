/* Values that no file holds: `--set dotted.key=value`. */
#include "costmodel/doc_node.h"
#include "costmodel/value.h"

#include <stdio.h>
#include <string.h>

enum { ORIGIN_BYTES = 160 };

struct setter {
    struct pp_doc *doc;
    const char *dotted;
    const char *value;
    const char *origin;
    struct pp_err *err;
};

static enum pp_status no_memory(const struct setter *s) {
    return pp_fail(s->err, PP_E_NOMEM, "out of memory for %s", s->origin);
}

static enum pp_status new_node(const struct setter *s, enum pp_node_kind kind,
                               struct pp_node **node_p) {
    struct pp_node *node = pp_doc_alloc(s->doc, sizeof *node);
    if (node == NULL) {
        return no_memory(s);
    }
    *node = (struct pp_node){.kind = kind, .weight = 1, .origin = s->origin};
    *node_p = node;
    return PP_OK;
}

/* Lists and dicts: Python's literals are YAML flow collections, but for tuples. */
static enum pp_status compound_node(const struct setter *s, struct pp_node **node_p) {
    enum pp_status status =
        pp_doc_build(s->doc, s->value, strlen(s->value), s->origin, node_p, NULL);
    if (status == PP_E_NOMEM) {
        return no_memory(s);
    }
    if (status != PP_OK) {
        pp_fail(s->err, PP_E_VALUE, "%s: not a list or mapping that can be read", s->origin);
        pp_hint(s->err, "write lists in brackets, such as [[\"a\", \"b\"], [\"c\"]]");
        return PP_E_VALUE;
    }
    return PP_OK;
}

static enum pp_status value_node(const struct setter *s, struct pp_node **node_p) {
    static const enum pp_node_kind kinds[] = {
        [PP_VALUE_NONE] = PP_NODE_NULL,     [PP_VALUE_BOOL] = PP_NODE_BOOL,
        [PP_VALUE_INT] = PP_NODE_INT,       [PP_VALUE_FLOAT] = PP_NODE_FLOAT,
        [PP_VALUE_STRING] = PP_NODE_STRING, [PP_VALUE_COMPOUND] = PP_NODE_SEQUENCE,
    };
    struct pp_value v = pp_value_translate(s->value);
    if (v.kind == PP_VALUE_COMPOUND && *s->value != '(') {
        return compound_node(s, node_p);
    }
    if (v.kind == PP_VALUE_COMPOUND) {
        v = (struct pp_value){.kind = PP_VALUE_STRING, .text = s->value, .size = strlen(s->value)};
    }
    struct pp_node *node = NULL;
    PP_TRY(new_node(s, kinds[v.kind], &node));
    node->boolean = v.boolean;
    node->integer = v.integer;
    node->real = v.real;
    node->has_integer = v.kind == PP_VALUE_INT && !v.huge;
    node->has_real = v.kind == PP_VALUE_INT || v.kind == PP_VALUE_FLOAT;
    bool is_string = v.kind == PP_VALUE_STRING;
    node->text =
        pp_doc_copy(s->doc, is_string ? v.text : s->value, is_string ? v.size : strlen(s->value));
    if (node->text == NULL) {
        return no_memory(s);
    }
    *node_p = node;
    return PP_OK;
}

/* A mapping of its own for this pair: the anchor's other users must not see the
 * change. */
static enum pp_status unshare(const struct setter *s, struct pp_pair *pair) {
    if (!pair->shared && !pair->value->aliased) {
        return PP_OK;
    }
    const struct pp_node *original = pair->value;
    struct pp_node *copy = NULL;
    PP_TRY(new_node(s, original->kind, &copy));
    *copy = *original;
    copy->pairs = NULL;
    copy->aliased = false;
    copy->count = copy->capacity = 0;
    for (int32_t i = 0; i < original->count; i++) {
        struct pp_pair *entry = pp_doc_append(s->doc, copy);
        if (entry == NULL) {
            return no_memory(s);
        }
        *entry = original->pairs[i];
        entry->shared = true; /* its value is still the original's */
    }
    pair->value = copy;
    pair->shared = false;
    return PP_OK;
}

bool pp_node_is_none(const struct pp_node *node) {
    return node->kind == PP_NODE_NULL ||
           (node->kind == PP_NODE_STRING && pp_value_translate(node->text).kind == PP_VALUE_NONE);
}

/* The pair of a key, made if absent. */
static enum pp_status own_pair(const struct setter *s, struct pp_node *mapping, const char *key,
                               struct pp_pair **pair_p) {
    struct pp_pair *pair = pp_node_find_pair(mapping, key);
    if (pair == NULL) {
        struct pp_node *null = NULL;
        PP_TRY(new_node(s, PP_NODE_NULL, &null));
        null->text = "";
        pair = pp_doc_append(s->doc, mapping);
        if (pair == NULL) {
            return no_memory(s);
        }
        *pair = (struct pp_pair){.key = key, .value = null};
    }
    *pair_p = pair;
    return PP_OK;
}

/* Walks to the mapping that holds the last part of the path. null on the way becomes a mapping, as
 * an absent key does; anything else in the way is refused where Automodel would drop it. */
static enum pp_status step_into(const struct setter *s, struct pp_node *mapping, const char *key,
                                struct pp_node **next_p) {
    struct pp_pair *pair = NULL;
    PP_TRY(own_pair(s, mapping, key, &pair));
    if (pp_node_is_none(pair->value)) {
        PP_TRY(new_node(s, PP_NODE_MAPPING, &pair->value));
        pair->value->style = PP_STYLE_BLOCK;
        pair->shared = false;
    }
    if (pair->value->kind != PP_NODE_MAPPING) {
        pp_fail(s->err, PP_E_VALUE, "%s: '%s' is %s here, not a mapping that could hold a key",
                s->origin, key, pp_node_kind_name(pair->value->kind));
        pp_hint(s->err, "line %d of %s", pair->value->place.line, s->doc->name);
        return PP_E_VALUE;
    }
    PP_TRY(unshare(s, pair));
    *next_p = pair->value;
    return PP_OK;
}

static enum pp_status set_value(const struct setter *s) {
    struct pp_node *value = NULL;
    PP_TRY(value_node(s, &value));
    struct pp_node *mapping = s->doc->root;
    const char *part = s->dotted;
    for (;;) {
        size_t size = strcspn(part, ".");
        const char *key = pp_doc_copy(s->doc, part, size);
        if (key == NULL) {
            return no_memory(s);
        }
        if (part[size] == '\0') {
            struct pp_pair *pair = NULL;
            PP_TRY(own_pair(s, mapping, key, &pair));
            pair->value = value;
            pair->shared = false;
            return PP_OK;
        }
        PP_TRY(step_into(s, mapping, key, &mapping));
        part += size + 1;
    }
}

/* No empty part, not more parts than a file may nest. */
static bool is_path(const char *dotted) {
    int32_t parts = 1;
    size_t size = 0;
    for (const char *p = dotted; *p != '\0'; p++) {
        if (*p == '.') {
            if (size == 0) {
                return false;
            }
            parts++;
            size = 0;
        } else {
            size++;
        }
    }
    return size > 0 && parts <= PP_DOC_MAX_DEPTH / 2;
}

enum pp_status pp_doc_set(struct pp_doc *doc, const char *dotted, const char *value,
                          struct pp_err *err) {
    char origin[ORIGIN_BYTES];
    snprintf(origin, sizeof origin, "--set %.80s=%.60s", dotted, value);
    if (!is_path(dotted)) {
        pp_fail(err, PP_E_VALUE, "%s: '%.80s' is not a dotted key", origin, dotted);
        pp_hint(err, "write it as in distributed.pipeline.pp_schedule");
        return PP_E_VALUE;
    }
    if (doc->root->kind != PP_NODE_MAPPING) {
        return pp_fail(err, PP_E_VALUE, "%s: %s holds %s, not a mapping", origin, doc->name,
                       pp_node_kind_name(doc->root->kind));
    }
    struct setter s = {.doc = doc, .dotted = dotted, .value = value, .err = err};
    s.origin = pp_doc_copy(doc, origin, strlen(origin));
    if (s.origin == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %s", origin);
    }
    return set_value(&s);
}
