/* A recipe's text with a few keys changed and everything else, comments included, as it was. One
 * edit a key, each on freshly parsed text, so that no edit has to know of the others; at the end
 * the result is parsed and compared with what the settings mean. */
#include "costmodel/doc_node.h"
#include "costmodel/recipe_fields.h"
#include "costmodel/value.h"
#include "costmodel/yaml_text.h"

#include <stdlib.h>
#include <string.h>

enum { INDENT_STEP = 2 };

/* Replace text[begin, end) by `with`. */
struct edit {
    size_t begin, end;
    struct pp_text with;
};

/* One setting on its way into the text. */
struct job {
    const struct pp_doc *doc;
    const struct pp_setting *setting;
    const char *newline; /* the file's own: "\n" or "\r\n" */
    struct edit *edit;
    struct pp_err *err;
};

static enum pp_status refuse(const struct job *job, const struct pp_node *node, const char *why) {
    pp_node_fail(job->err, job->doc, node, PP_E_VALUE, "%s cannot be edited here: %s",
                 job->setting->dotted, why);
    pp_hint(job->err, "change it by hand to %.100s", job->setting->value);
    return PP_E_VALUE;
}

/* --- where things end ------------------------------------------------------------------------ */

/* End of the last byte that belongs to a node. A block collection's own end mark is no use: it is
 * the next token, behind comments and blank lines. */
static size_t content_end(const struct pp_node *node) {
    if (node->style != PP_STYLE_BLOCK) {
        return node->place.end;
    }
    size_t end = node->place.begin;
    for (int32_t i = 0; i < node->count; i++) {
        const struct pp_pair *pair = &node->pairs[i];
        size_t pair_end = pair->shared ? pair->key_place.end : content_end(pair->value);
        if (!pair->merged && pair_end > end) {
            end = pair_end;
        }
    }
    return end;
}

/* Start of the line behind the one that holds byte `at`. A text block ends at a line's start. */
static size_t next_line(const struct pp_doc *doc, size_t at) {
    if (at > 0 && doc->text[at - 1] == '\n') {
        return at;
    }
    const char *newline = memchr(doc->text + at, '\n', doc->size - at);
    return newline != NULL ? (size_t)(newline - doc->text) + 1 : doc->size;
}

/* Column of a block mapping's keys; 0 if it has none of its own. */
static int32_t key_column(const struct pp_node *mapping) {
    for (int32_t i = 0; i < mapping->count; i++) {
        if (!mapping->pairs[i].merged) {
            return mapping->pairs[i].key_place.column;
        }
    }
    return 0;
}

/* --- what is written ------------------------------------------------------------------------- */

static void add_indent(struct pp_text *out, int32_t width) {
    for (int32_t i = 0; i < width; i++) {
        pp_text_puts(out, " ");
    }
}

/* The rest of a dotted path as nested block mappings, the value in the last line. */
static void add_block_path(const struct job *job, const char *path, int32_t indent) {
    struct pp_text *out = &job->edit->with;
    for (;;) {
        size_t size = strcspn(path, ".");
        add_indent(out, indent);
        pp_yaml_text_string(out, path, size);
        if (path[size] == '\0') {
            break;
        }
        pp_text_puts(out, ":");
        pp_text_puts(out, job->newline);
        path += size + 1;
        indent += INDENT_STEP;
    }
    pp_text_puts(out, ": ");
    pp_yaml_text_value(out, job->setting->value);
    pp_text_puts(out, job->newline);
}

/* The same as nested flow mappings, without the outermost braces. */
static void add_flow_path(const struct job *job, const char *path) {
    struct pp_text *out = &job->edit->with;
    int32_t open = 0;
    size_t size;
    while (path[size = strcspn(path, ".")] != '\0') {
        pp_yaml_text_string(out, path, size);
        pp_text_puts(out, ": {");
        path += size + 1;
        open++;
    }
    pp_yaml_text_string(out, path, size);
    pp_text_puts(out, ": ");
    pp_yaml_text_value(out, job->setting->value);
    for (; open > 0; open--) {
        pp_text_puts(out, "}");
    }
}

/* --- the edits ------------------------------------------------------------------------------- */

/* New lines behind byte `at`'s line. */
static void insert_lines(const struct job *job, size_t at, const char *path, int32_t indent) {
    const struct pp_doc *doc = job->doc;
    size_t line = next_line(doc, at);
    job->edit->begin = job->edit->end = line;
    if (line > 0 && doc->text[line - 1] != '\n') {
        pp_text_puts(&job->edit->with, job->newline);
    }
    add_block_path(job, path, indent);
}

/* Behind the last entry of a flow mapping. */
static enum pp_status insert_in_flow(const struct job *job, const struct pp_node *mapping,
                                     const char *path) {
    const char *text = job->doc->text;
    size_t at = mapping->place.end;
    if (at <= mapping->place.begin + 1 || text[at - 1] != '}') {
        return refuse(job, mapping, "its mapping's end cannot be found");
    }
    at--;
    while (text[at - 1] == ' ' || text[at - 1] == '\n' || text[at - 1] == '\r') {
        at--;
    }
    job->edit->begin = job->edit->end = at;
    if (text[at - 1] == ',') {
        pp_text_puts(&job->edit->with, " ");
    } else if (text[at - 1] != '{') {
        pp_text_puts(&job->edit->with, ", ");
    }
    add_flow_path(job, path);
    return PP_OK;
}

static enum pp_status insert_key(const struct job *job, const struct pp_node *mapping,
                                 const char *path) {
    if (mapping->style == PP_STYLE_FLOW) {
        return insert_in_flow(job, mapping, path);
    }
    int32_t column = key_column(mapping);
    if (column == 0) {
        return refuse(job, mapping, "its mapping has no key of its own");
    }
    insert_lines(job, content_end(mapping), path, column - 1);
    return PP_OK;
}

/* A null becomes a mapping: `key: null` loses its value and gains lines below, or braces. */
static enum pp_status replace_null(const struct job *job, const struct pp_node *parent,
                                   const struct pp_pair *pair, const char *path) {
    struct edit *edit = job->edit;
    const struct pp_place *place = &pair->value->place;
    const char *text = job->doc->text;
    bool is_empty = place->begin == place->end;
    if (parent->style == PP_STYLE_FLOW) {
        edit->begin = place->begin;
        edit->end = place->end;
        pp_text_puts(&edit->with, is_empty ? " {" : "{");
        add_flow_path(job, path);
        pp_text_puts(&edit->with, "}");
        return PP_OK;
    }
    edit->begin = place->begin;
    while (!is_empty && edit->begin > 0 && text[edit->begin - 1] == ' ') {
        edit->begin--;
    }
    edit->end = next_line(job->doc, place->end);
    pp_text_add(&edit->with, text + place->end, edit->end - place->end); /* a comment stays */
    if (edit->end > 0 && text[edit->end - 1] != '\n') {
        pp_text_puts(&edit->with, job->newline);
    }
    add_block_path(job, path, pair->key_place.column - 1 + INDENT_STEP);
    return PP_OK;
}

static enum pp_status replace_value(const struct job *job, const struct pp_pair *pair) {
    const struct pp_node *value = pair->value;
    if (value->style == PP_STYLE_BLOCK || value->style == PP_STYLE_TEXT_BLOCK) {
        return refuse(job, value, "its present value is a block of several lines");
    }
    job->edit->begin = value->place.begin;
    job->edit->end = value->place.end;
    if (value->place.begin == value->place.end) {
        pp_text_puts(&job->edit->with, " "); /* right behind the colon */
    }
    pp_yaml_text_value(&job->edit->with, job->setting->value);
    return PP_OK;
}

/* Walks the path and makes the one edit it needs. */
static enum pp_status plan_edit(const struct job *job) {
    const struct pp_node *mapping = job->doc->root;
    const char *path = job->setting->dotted;
    for (;;) {
        size_t size = strcspn(path, ".");
        bool is_last = path[size] == '\0';
        const struct pp_pair *pair = NULL;
        for (int32_t i = 0; i < mapping->count && pair == NULL; i++) {
            const char *key = mapping->pairs[i].key;
            if (strncmp(key, path, size) == 0 && key[size] == '\0') {
                pair = &mapping->pairs[i];
            }
        }
        if (pair == NULL || (pair->merged && is_last)) {
            return insert_key(job, mapping, path); /* an own key wins over a merged one */
        }
        if (pair->shared || pair->value->aliased) {
            return refuse(job, pair->value, "it is shared through an anchor");
        }
        if (is_last) {
            return replace_value(job, pair);
        }
        if (pp_node_is_none(pair->value)) {
            return replace_null(job, mapping, pair, path + size + 1);
        }
        if (pair->value->kind != PP_NODE_MAPPING) {
            return refuse(job, pair->value, "a value stands where its mapping would be");
        }
        mapping = pair->value;
        path += size + 1;
    }
}

/* --- verification ---------------------------------------------------------------------------- */

static bool is_same_scalar(const struct pp_node *a, const struct pp_node *b) {
    struct pp_field_value x = pp_field_view(a);
    struct pp_field_value y = pp_field_view(b);
    if (x.kind != y.kind) {
        return false;
    }
    switch (x.kind) {
    case PP_NODE_NULL:
        return true;
    case PP_NODE_BOOL:
        return x.boolean == y.boolean;
    case PP_NODE_INT:
        return x.integer == y.integer && x.huge == y.huge && !(x.real < y.real) &&
               !(x.real > y.real);
    case PP_NODE_FLOAT: /* two NaNs are the same */
        return !(x.real < y.real) && !(x.real > y.real);
    case PP_NODE_STRING:
        return strcmp(a->text, b->text) == 0;
    case PP_NODE_SEQUENCE:
    case PP_NODE_MAPPING:
        break;
    }
    return false;
}

/* Same values under the same keys, in any order. At most PP_DOC_MAX_DEPTH deep. */
static bool is_same_tree(const struct pp_node *a, const struct pp_node *b) {
    bool is_mapping = a->kind == PP_NODE_MAPPING;
    if (!is_mapping && a->kind != PP_NODE_SEQUENCE) {
        return b->text != NULL && is_same_scalar(a, b);
    }
    if (a->kind != b->kind || a->count != b->count) {
        return false;
    }
    for (int32_t i = 0; i < a->count; i++) {
        const struct pp_pair *other = &b->pairs[i];
        if (is_mapping && strcmp(a->pairs[i].key, other->key) != 0) {
            other = pp_node_find_pair(b, a->pairs[i].key);
        }
        if (other == NULL || !is_same_tree(a->pairs[i].value, other->value)) {
            return false;
        }
    }
    return true;
}

static enum pp_status verify(const struct pp_doc *original, const struct pp_doc *result,
                             const struct pp_setting *settings, int32_t setting_count,
                             struct pp_err *err) {
    struct pp_doc *expected = NULL;
    PP_TRY(pp_doc_parse(original->name, original->text, original->size, &expected, err));
    enum pp_status status = PP_OK;
    for (int32_t i = 0; i < setting_count && status == PP_OK; i++) {
        status = pp_doc_set(expected, settings[i].dotted, settings[i].value, err);
    }
    if (status == PP_OK && !is_same_tree(expected->root, result->root)) {
        status = pp_fail(err, PP_E_VALUE,
                         "%s cannot be edited without changing more than the keys asked for",
                         original->name);
        pp_hint(err, "an anchor or a tag on one of them is in the way: change them by hand");
    }
    pp_doc_destroy(expected);
    return status;
}

/* --- all together ---------------------------------------------------------------------------- */

static const char *newline_of(const struct pp_doc *doc) {
    const char *newline = memchr(doc->text, '\n', doc->size);
    return newline != NULL && newline > doc->text && newline[-1] == '\r' ? "\r\n" : "\n";
}

/* Replaces *doc_p by the document with one setting written into its text. */
static enum pp_status apply(struct pp_doc **doc_p, const struct pp_setting *setting,
                            struct pp_err *err) {
    struct pp_doc *doc = *doc_p;
    struct edit edit = {0};
    struct job job = {
        .doc = doc, .setting = setting, .newline = newline_of(doc), .edit = &edit, .err = err};
    struct pp_text text = {0};
    struct pp_doc *edited = NULL;
    enum pp_status status = plan_edit(&job);
    if (status == PP_OK) {
        pp_text_add(&text, doc->text, edit.begin);
        pp_text_add(&text, edit.with.bytes != NULL ? edit.with.bytes : "", edit.with.size);
        pp_text_add(&text, doc->text + edit.end, doc->size - edit.end);
        if (text.failed || edit.with.failed) {
            status = pp_fail(err, PP_E_NOMEM, "out of memory for %s", doc->name);
        } else if (pp_doc_parse(doc->name, text.bytes, text.size, &edited, NULL) != PP_OK) {
            status = refuse(&job, doc->root, "the text around it leaves no room");
        } else {
            pp_doc_destroy(doc);
            *doc_p = edited;
        }
    }
    pp_text_free(&text);
    pp_text_free(&edit.with);
    return status;
}

enum pp_status pp_recipe_rewrite(const struct pp_doc *doc, const struct pp_setting *settings,
                                 int32_t setting_count, struct pp_text *out, struct pp_err *err) {
    struct pp_doc *work = NULL;
    PP_TRY(pp_doc_parse(doc->name, doc->text, doc->size, &work, err));
    enum pp_status status = PP_OK;
    if (work->root->kind != PP_NODE_MAPPING) {
        status = pp_field_type_error(work, work->root, "the recipe", "a mapping", err);
    }
    for (int32_t i = 0; i < setting_count && status == PP_OK; i++) {
        status = apply(&work, &settings[i], err);
    }
    if (status == PP_OK) {
        status = verify(doc, work, settings, setting_count, err);
    }
    if (status == PP_OK) {
        pp_text_add(out, work->text, work->size);
        if (out->failed) {
            status = pp_fail(err, PP_E_NOMEM, "out of memory for %s", doc->name);
        }
    }
    pp_doc_destroy(work);
    return status;
}
