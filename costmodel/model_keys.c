#include "costmodel/model_keys.h"

#include <string.h>

static void add_scope(struct pp_keys *keys, const struct pp_doc *doc,
                      const struct pp_node *mapping) {
    if (mapping != NULL && pp_node_kind(mapping) == PP_NODE_MAPPING &&
        keys->count < PP_KEY_SCOPES) {
        keys->scopes[keys->count].doc = doc;
        keys->scopes[keys->count].mapping = mapping;
        keys->count++;
    }
}

void pp_keys_add(struct pp_keys *keys, const struct pp_doc *doc, const struct pp_node *mapping) {
    static const char *const towers[] = {"text_config", "llm_config", "language_config"};
    if (mapping == NULL || pp_node_kind(mapping) != PP_NODE_MAPPING) {
        return;
    }
    for (size_t i = 0; i < sizeof towers / sizeof towers[0]; i++) {
        const struct pp_node *tower = pp_node_get(mapping, towers[i]);
        if (tower != NULL && pp_node_kind(tower) == PP_NODE_MAPPING) {
            add_scope(keys, doc, tower);
            break;
        }
    }
    add_scope(keys, doc, mapping);
}

/** Copies alias number `index` of "a|b|c"; false past the last. */
static bool alias_at(const char *aliases, int32_t index, char name[PP_KEY_BYTES]) {
    for (; index > 0; index--) {
        aliases = strchr(aliases, '|');
        if (aliases == NULL) {
            return false;
        }
        aliases++;
    }
    size_t size = strcspn(aliases, "|");
    PP_ASSERT(size < PP_KEY_BYTES);
    memcpy(name, aliases, size);
    name[size] = '\0';
    return true;
}

/** @param name  the alias that was found, or the last one looked for */
static const struct pp_node *find(const struct pp_keys *keys, const char *aliases,
                                  const struct pp_doc **doc_p, char name[PP_KEY_BYTES]) {
    for (int32_t s = 0; s < keys->count; s++) {
        bool explicit_null = false;
        for (int32_t a = 0; alias_at(aliases, a, name); a++) {
            const struct pp_node *node = pp_node_get(keys->scopes[s].mapping, name);
            if (node != NULL && pp_node_kind(node) != PP_NODE_NULL) {
                *doc_p = keys->scopes[s].doc;
                return node;
            }
            explicit_null = explicit_null || node != NULL;
        }
        if (explicit_null) { /* null in an override takes the value away */
            return NULL;
        }
    }
    return NULL;
}

const struct pp_node *pp_keys_find(const struct pp_keys *keys, const char *aliases,
                                   const struct pp_doc **doc_p) {
    char name[PP_KEY_BYTES];
    return find(keys, aliases, doc_p, name);
}

enum pp_status pp_keys_int(const struct pp_keys *keys, const char *aliases, int64_t low,
                           int64_t high, int64_t *value_p, bool *found_p) {
    const struct pp_doc *doc = NULL;
    char name[PP_KEY_BYTES];
    const struct pp_node *node = find(keys, aliases, &doc, name);
    *found_p = node != NULL;
    if (node == NULL) {
        return PP_OK;
    }
    int64_t value;
    const char *text = pp_node_text(node);
    if (!pp_node_get_int(node, &value)) {
        if (pp_node_kind(node) == PP_NODE_INT) {
            return pp_node_fail(keys->err, doc, node, PP_E_RANGE, "%s is %s, expected %lld to %lld",
                                name, text, (long long)low, (long long)high);
        }
        return pp_node_fail(keys->err, doc, node, PP_E_TYPE, "%s is %s%s%.60s, expected an integer",
                            name, pp_node_kind_name(pp_node_kind(node)), text != NULL ? ": " : "",
                            text != NULL ? text : "");
    }
    if (value < low || value > high) {
        return pp_node_fail(keys->err, doc, node, PP_E_RANGE, "%s is %lld, expected %lld to %lld",
                            name, (long long)value, (long long)low, (long long)high);
    }
    *value_p = value;
    return PP_OK;
}

enum pp_status pp_keys_need(const struct pp_keys *keys, const char *aliases, int64_t low,
                            int64_t high, int64_t *value_p) {
    bool found;
    PP_TRY(pp_keys_int(keys, aliases, low, high, value_p, &found));
    if (found) {
        return PP_OK;
    }
    const struct pp_doc *doc = keys->count > 0 ? keys->scopes[keys->count - 1].doc : NULL;
    pp_fail(keys->err, PP_E_KEY, "the model configuration has none of the keys %s", aliases);
    pp_err_place(keys->err, doc != NULL ? pp_doc_name(doc) : NULL, 0, 0);
    pp_hint(keys->err, "add one of them, or name a config.json that has it");
    return PP_E_KEY;
}

enum pp_status pp_keys_bool(const struct pp_keys *keys, const char *aliases, bool *value_p) {
    const struct pp_doc *doc = NULL;
    char name[PP_KEY_BYTES];
    const struct pp_node *node = find(keys, aliases, &doc, name);
    if (node == NULL) {
        return PP_OK;
    }
    bool value;
    if (!pp_node_get_bool(node, &value)) {
        return pp_node_fail(keys->err, doc, node, PP_E_TYPE, "%s is %s, expected true or false",
                            name, pp_node_kind_name(pp_node_kind(node)));
    }
    *value_p = value;
    return PP_OK;
}
