/* libfyaml's events to our tree: positions, aliases, merge keys, duplicate keys, limits. */
#include "costmodel/doc_node.h"
#include "costmodel/scalar.h"
#include "costmodel/unquote.h"
#include "costmodel/value.h"

#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ANCHORS = 1000 };

/* A collection whose end has not been read. */
struct frame {
    struct pp_node *node;
    bool has_key; /* mapping: a key was read, its value is next */
    const char *key;
    struct pp_place key_place;
    bool key_is_merge;      /* a plain << */
    struct pp_node *merges; /* sequence of what merge keys named; NULL if none */
};

struct anchor {
    const char *name;
    struct pp_node *node;
};

struct builder {
    struct pp_doc *doc;
    const char *text;
    size_t size;
    const char *origin;
    struct pp_err *err;
    struct frame stack[PP_DOC_MAX_DEPTH];
    int32_t depth;
    int64_t weight;
    struct anchor anchors[MAX_ANCHORS];
    int32_t anchor_count;
    struct pp_node *root;
    int32_t document_count;
};

static enum pp_status no_memory(struct builder *b) {
    return pp_fail(b->err, PP_E_NOMEM, "out of memory for %s", b->doc->name);
}

/* PP_E_SYNTAX with a place; for `--set` values with their origin instead. */
static enum pp_status refuse(struct builder *b, const struct pp_place *place, const char *what) {
    struct pp_node at = {.place = *place, .origin = b->origin};
    return pp_node_fail(b->err, b->doc, &at, PP_E_SYNTAX, "%s", what);
}

static struct pp_place place_of(const struct builder *b, const struct fy_mark *begin,
                                const struct fy_mark *end) {
    struct pp_place place = {0};
    if (begin == NULL || b->origin != NULL) {
        return place;
    }
    place.line = begin->line + 1;
    place.column = begin->column + 1;
    place.begin = begin->input_pos < b->size ? begin->input_pos : b->size;
    place.end = place.begin;
    if (end != NULL && end->input_pos >= place.begin && end->input_pos <= b->size) {
        place.end = end->input_pos;
    }
    return place;
}

static struct pp_place event_place(const struct builder *b, struct fy_event *event) {
    return place_of(b, fy_event_start_mark(event), fy_event_end_mark(event));
}

/* libfyaml's marks of a quoted scalar leave the quotes out. */
static void include_quotes(const struct builder *b, struct pp_place *place) {
    if (place->line > 0 && place->begin > 0 && place->end < b->size) {
        place->begin--;
        place->end++;
        place->column--;
    }
}

/* An empty value has no mark: it stands right behind its key's colon. */
static struct pp_place behind_key(const struct builder *b, const struct pp_place *key) {
    struct pp_place place = *key;
    size_t at = key->end;
    while (at < b->size && (b->text[at] == ' ' || b->text[at] == '\t')) {
        at++;
    }
    if (key->line > 0 && at < b->size && b->text[at] == ':') {
        place.column += (int32_t)(at + 1 - key->begin);
        place.begin = place.end = at + 1;
    }
    return place;
}

static enum pp_status new_node(struct builder *b, enum pp_node_kind kind,
                               const struct pp_place *place, struct pp_node **node_p) {
    if (b->weight >= PP_DOC_MAX_NODES) {
        return refuse(b, place, "the document has too many values");
    }
    struct pp_node *node = pp_doc_alloc(b->doc, sizeof *node);
    if (node == NULL) {
        return no_memory(b);
    }
    b->weight++;
    *node = (struct pp_node){.kind = kind, .place = *place, .weight = 1, .origin = b->origin};
    *node_p = node;
    return PP_OK;
}

/* Gives the node its place in the tree: root, item, or value of the pending key. */
static enum pp_status attach(struct builder *b, struct pp_node *node, bool shared) {
    if (b->depth == 0) {
        b->root = node;
        return PP_OK;
    }
    struct frame *frame = &b->stack[b->depth - 1];
    struct pp_node *parent = frame->node;
    if (frame->has_key && frame->key_is_merge) {
        parent = frame->merges;
    }
    struct pp_pair *pair = pp_doc_append(b->doc, parent);
    if (pair == NULL) {
        return no_memory(b);
    }
    *pair = (struct pp_pair){.value = node, .shared = shared};
    if (parent == frame->node && frame->has_key) {
        pair->key = frame->key;
        pair->key_place = frame->key_place;
    }
    frame->has_key = false;
    return PP_OK;
}

static enum pp_status add_anchor(struct builder *b, struct fy_token *token, struct pp_node *node) {
    if (token == NULL) {
        return PP_OK;
    }
    if (b->anchor_count == MAX_ANCHORS) {
        return refuse(b, &node->place, "the document has too many anchors");
    }
    size_t size = 0;
    const char *name = fy_token_get_text(token, &size);
    struct anchor *anchor = &b->anchors[b->anchor_count];
    anchor->name = name != NULL ? pp_doc_copy(b->doc, name, size) : NULL;
    if (anchor->name == NULL) {
        return no_memory(b);
    }
    anchor->node = node;
    b->anchor_count++;
    return PP_OK;
}

/* Explicit tags that change a plain scalar's kind; others are refused, as safe_load does. */
static enum pp_status apply_tag(struct builder *b, struct fy_token *tag, struct pp_node *node,
                                bool *as_string_p) {
    static const char prefix[] = "tag:yaml.org,2002:";
    static const char *const known[] = {"int", "float", "bool", "null", "seq", "map"};
    const char *text = tag != NULL ? fy_token_get_text0(tag) : NULL;
    if (text == NULL) {
        return PP_OK;
    }
    if (strcmp(text, "!") == 0 || strcmp(text, "tag:yaml.org,2002:str") == 0) {
        *as_string_p = true;
        return PP_OK;
    }
    bool core = strncmp(text, prefix, sizeof prefix - 1) == 0;
    for (size_t i = 0; core && i < sizeof known / sizeof *known; i++) {
        if (strcmp(text + sizeof prefix - 1, known[i]) == 0) {
            return PP_OK;
        }
    }
    return refuse(b, &node->place, "a tag that is not one of YAML's own (!!str, !!int, ...)");
}

/* Kind and value of a plain scalar. Texts that only Python takes for numbers ("1e-8") stay
 * strings, but can be read as floats. */
static void resolve_plain(struct pp_node *node) {
    struct pp_scalar s = pp_scalar_resolve(node->text);
    node->kind = s.kind;
    node->boolean = s.boolean;
    node->integer = s.integer;
    node->real = s.real;
    node->has_integer = s.kind == PP_NODE_INT && !s.huge;
    node->has_real = s.kind == PP_NODE_INT || s.kind == PP_NODE_FLOAT;
    if (s.kind == PP_NODE_STRING) {
        struct pp_value v = pp_value_translate(node->text);
        node->has_real = v.kind == PP_VALUE_FLOAT || v.kind == PP_VALUE_INT;
        node->real = v.real;
    }
}

static enum pp_node_style scalar_style(struct fy_event *event) {
    enum fy_scalar_style style = fy_token_scalar_style(event->scalar.value);
    if (style == FYSS_LITERAL || style == FYSS_FOLDED) {
        return PP_STYLE_TEXT_BLOCK;
    }
    return style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED ? PP_STYLE_QUOTED
                                                                      : PP_STYLE_PLAIN;
}

/* The scalar's bytes as they stand in the text; NULL if it has no place in it (an empty value). */
static const char *raw_scalar(const struct builder *b, struct fy_event *event, size_t *size_p) {
    const struct fy_mark *begin = fy_event_start_mark(event);
    const struct fy_mark *end = fy_event_end_mark(event);
    if (begin == NULL || end == NULL || end->input_pos > b->size ||
        begin->input_pos > end->input_pos) {
        return NULL;
    }
    *size_p = end->input_pos - begin->input_pos;
    return b->text + begin->input_pos;
}

static char quote_of(struct fy_event *event) {
    enum fy_scalar_style style = fy_token_scalar_style(event->scalar.value);
    return style == FYSS_SINGLE_QUOTED ? '\'' : style == FYSS_DOUBLE_QUOTED ? '"' : '\0';
}

/* Copies a scalar's value into the document. Quoted ones are decoded by us: see unquote.h. */
static enum pp_status scalar_text(struct builder *b, struct fy_event *event,
                                  const struct pp_place *place, const char **text_p) {
    struct pp_text unquoted = {0};
    size_t size = 0;
    const char *text = raw_scalar(b, event, &size);
    char quote = quote_of(event);
    if (quote != '\0' && text != NULL) {
        if (!pp_unquote(text, size, quote, &unquoted)) {
            pp_text_free(&unquoted);
            return refuse(b, place, "an escape in quotes that YAML does not know");
        }
        text = unquoted.bytes;
        size = unquoted.size;
    } else {
        text = fy_token_get_text(event->scalar.value, &size);
    }
    size = text != NULL ? size : 0;
    bool has_nul = size > 0 && memchr(text, '\0', size) != NULL;
    const char *copy = unquoted.failed ? NULL : pp_doc_copy(b->doc, text, size);
    pp_text_free(&unquoted);
    if (has_nul) {
        return refuse(b, place, "a scalar with a NUL character");
    }
    if (copy == NULL) {
        return no_memory(b);
    }
    *text_p = copy;
    return PP_OK;
}

static bool expects_key(const struct builder *b) {
    const struct frame *frame = b->depth > 0 ? &b->stack[b->depth - 1] : NULL;
    return frame != NULL && frame->node->kind == PP_NODE_MAPPING && !frame->has_key;
}

static enum pp_status on_key(struct builder *b, struct fy_event *event) {
    struct frame *frame = &b->stack[b->depth - 1];
    struct pp_place place = event_place(b, event);
    enum pp_node_style style = scalar_style(event);
    if (style == PP_STYLE_QUOTED) {
        include_quotes(b, &place);
    }
    PP_TRY(scalar_text(b, event, &place, &frame->key));
    if (event->scalar.anchor != NULL) {
        return refuse(b, &place, "an anchor on a key, which is not supported");
    }
    frame->key_place = place;
    frame->has_key = true;
    frame->key_is_merge = style == PP_STYLE_PLAIN && strcmp(frame->key, "<<") == 0;
    if (frame->key_is_merge && frame->merges == NULL) {
        PP_TRY(new_node(b, PP_NODE_SEQUENCE, &place, &frame->merges));
    }
    return PP_OK;
}

static enum pp_status on_scalar(struct builder *b, struct fy_event *event) {
    struct pp_place place = event_place(b, event);
    enum pp_node_style style = scalar_style(event);
    if (style == PP_STYLE_QUOTED) {
        include_quotes(b, &place);
    }
    if (place.line == 0 && b->depth > 0) {
        const struct frame *frame = &b->stack[b->depth - 1];
        place = frame->has_key ? behind_key(b, &frame->key_place) : frame->node->place;
    }
    struct pp_node *node = NULL;
    PP_TRY(new_node(b, PP_NODE_STRING, &place, &node));
    node->style = style;
    bool as_string = style != PP_STYLE_PLAIN;
    PP_TRY(apply_tag(b, event->scalar.tag, node, &as_string));
    PP_TRY(scalar_text(b, event, &place, &node->text));
    if (!as_string) {
        resolve_plain(node);
    }
    PP_TRY(add_anchor(b, event->scalar.anchor, node));
    return attach(b, node, false);
}

static enum pp_status on_alias(struct builder *b, struct fy_event *event) {
    struct pp_place place = event_place(b, event);
    size_t size = 0;
    const char *name = fy_token_get_text(event->alias.anchor, &size);
    struct pp_node *node = NULL;
    for (int32_t i = b->anchor_count - 1; i >= 0 && node == NULL; i--) {
        if (strlen(b->anchors[i].name) == size && memcmp(b->anchors[i].name, name, size) == 0) {
            node = b->anchors[i].node;
        }
    }
    if (expects_key(b)) {
        return refuse(b, &place, "an alias as a key, which is not supported");
    }
    if (node == NULL) {
        return refuse(b, &place, "an alias of an anchor that is not defined before it");
    }
    if (node->open) {
        return refuse(b, &place, "an alias inside its own anchor");
    }
    if (node->height + b->depth >= PP_DOC_MAX_DEPTH) {
        return refuse(b, &place, "aliases nest too deep");
    }
    b->weight += node->weight;
    if (b->weight > PP_DOC_MAX_NODES) {
        return refuse(b, &place, "aliases expand to too many values");
    }
    node->aliased = true;
    PP_TRY(attach(b, node, true));
    const struct pp_node *parent = b->depth > 0 ? b->stack[b->depth - 1].node : NULL;
    if (parent != NULL && parent->kind == PP_NODE_SEQUENCE) {
        parent->pairs[parent->count - 1].key_place = place;
    }
    return PP_OK;
}

static enum pp_status on_start(struct builder *b, struct fy_event *event, enum pp_node_kind kind) {
    struct pp_place place = event_place(b, event);
    if (expects_key(b)) {
        return refuse(b, &place, "a key that is not a scalar");
    }
    if (b->depth == PP_DOC_MAX_DEPTH) {
        return refuse(b, &place, "nested too deep");
    }
    struct pp_node *node = NULL;
    PP_TRY(new_node(b, kind, &place, &node));
    node->style = fy_event_get_node_style(event) == FYNS_FLOW ? PP_STYLE_FLOW : PP_STYLE_BLOCK;
    node->open = true;
    bool is_mapping = kind == PP_NODE_MAPPING;
    bool as_string = false;
    PP_TRY(apply_tag(b, is_mapping ? event->mapping_start.tag : event->sequence_start.tag, node,
                     &as_string));
    PP_TRY(add_anchor(b, is_mapping ? event->mapping_start.anchor : event->sequence_start.anchor,
                      node));
    PP_TRY(attach(b, node, false));
    b->stack[b->depth++] = (struct frame){.node = node};
    return PP_OK;
}

/* Adds the pairs of `source`, marked as merged, behind the mapping's own. */
static enum pp_status merge_from(struct builder *b, struct pp_node *mapping,
                                 const struct pp_node *source, const struct pp_place *place) {
    if (source->kind != PP_NODE_MAPPING) {
        return refuse(b, place, "a merge key (<<) takes a mapping or a sequence of mappings");
    }
    for (int32_t i = 0; i < source->count; i++) {
        b->weight += source->pairs[i].value->weight;
        if (b->weight > PP_DOC_MAX_NODES) {
            return refuse(b, place, "merge keys expand to too many values");
        }
        struct pp_pair *pair = pp_doc_append(b->doc, mapping);
        if (pair == NULL) {
            return no_memory(b);
        }
        *pair = source->pairs[i];
        pair->shared = true;
        pair->merged = true;
    }
    return PP_OK;
}

static enum pp_status apply_merges(struct builder *b, const struct frame *frame) {
    for (int32_t i = 0; frame->merges != NULL && i < frame->merges->count; i++) {
        const struct pp_node *source = frame->merges->pairs[i].value;
        if (source->kind != PP_NODE_SEQUENCE) {
            PP_TRY(merge_from(b, frame->node, source, &frame->merges->place));
            continue;
        }
        for (int32_t k = 0; k < source->count; k++) {
            PP_TRY(merge_from(b, frame->node, source->pairs[k].value, &frame->merges->place));
        }
    }
    return PP_OK;
}

/* By key, then in order of appearance (all pairs are in one array). */
static int compare_pairs(const void *a, const void *b) {
    const struct pp_pair *x = *(struct pp_pair *const *)a;
    const struct pp_pair *y = *(struct pp_pair *const *)b;
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : (x > y) - (x < y);
}

/* Drops merged pairs whose key came before; a key written twice is an error. */
static enum pp_status settle_keys(struct builder *b, struct pp_node *mapping) {
    struct pp_pair **sorted = malloc((size_t)mapping->count * sizeof *sorted + 1);
    if (sorted == NULL) {
        return no_memory(b);
    }
    for (int32_t i = 0; i < mapping->count; i++) {
        sorted[i] = &mapping->pairs[i];
    }
    qsort(sorted, (size_t)mapping->count, sizeof(struct pp_pair *), compare_pairs);
    enum pp_status status = PP_OK;
    const struct pp_pair *twice = NULL;
    const char *last = NULL;
    for (int32_t i = 0; i < mapping->count; i++) {
        if (last != NULL && strcmp(last, sorted[i]->key) == 0) {
            if (sorted[i]->merged) {
                sorted[i]->value = NULL;
            } else if (twice == NULL || sorted[i] < twice) {
                twice = sorted[i];
            }
        }
        last = sorted[i]->key;
    }
    free(sorted);
    if (twice != NULL) {
        struct pp_node at = {.place = twice->key_place, .origin = b->origin};
        status = pp_node_fail(b->err, b->doc, &at, PP_E_SYNTAX,
                              "key '%.100s' stands twice in one mapping", twice->key);
        pp_hint(b->err, "remove one of the two");
    }
    int32_t kept = 0;
    for (int32_t i = 0; i < mapping->count; i++) {
        if (mapping->pairs[i].value != NULL) {
            mapping->pairs[kept++] = mapping->pairs[i];
        }
    }
    mapping->count = kept;
    return status;
}

static enum pp_status on_end(struct builder *b, struct fy_event *event) {
    struct frame *frame = &b->stack[--b->depth];
    struct pp_node *node = frame->node;
    struct pp_place end = event_place(b, event);
    node->open = false;
    if (node->place.line > 0 && end.end >= node->place.begin) {
        node->place.end = end.end;
    }
    if (node->kind == PP_NODE_MAPPING) {
        PP_TRY(apply_merges(b, frame));
        PP_TRY(settle_keys(b, node));
    }
    for (int32_t i = 0; i < node->count; i++) {
        const struct pp_node *child = node->pairs[i].value;
        node->weight += child->weight;
        node->height = child->height + 1 > node->height ? child->height + 1 : node->height;
    }
    return PP_OK;
}

static enum pp_status on_document(struct builder *b, struct fy_event *event) {
    if (b->document_count++ > 0) {
        struct pp_place place = event_place(b, event);
        enum pp_status status = refuse(b, &place, "a second document; expected one a file");
        pp_hint(b->err, "put it into a file of its own");
        return status;
    }
    return PP_OK;
}

static enum pp_status on_event(struct builder *b, struct fy_event *event) {
    switch (event->type) {
    case FYET_DOCUMENT_START:
        return on_document(b, event);
    case FYET_MAPPING_START:
        return on_start(b, event, PP_NODE_MAPPING);
    case FYET_SEQUENCE_START:
        return on_start(b, event, PP_NODE_SEQUENCE);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        return on_end(b, event);
    case FYET_SCALAR:
        return expects_key(b) ? on_key(b, event) : on_scalar(b, event);
    case FYET_ALIAS:
        return on_alias(b, event);
    case FYET_NONE:
    case FYET_STREAM_START:
    case FYET_STREAM_END:
    case FYET_DOCUMENT_END:
        return PP_OK;
    }
    return PP_OK;
}

/* What libfyaml complained about first. */
static enum pp_status report_syntax(struct builder *b, struct fy_diag *diag) {
    void *cursor = NULL;
    struct fy_diag_error *error = fy_diag_errors_iterate(diag, &cursor);
    struct pp_place place = {0};
    if (error == NULL) {
        return refuse(b, &place, "not well-formed YAML or JSON");
    }
    if (b->origin == NULL) {
        place.line = error->line;
        place.column = error->column;
    }
    struct pp_node at = {.place = place, .origin = b->origin};
    pp_node_fail(b->err, b->doc, &at, PP_E_SYNTAX, "not well-formed: %.300s", error->msg);
    pp_hint(b->err, "look at this line and the one before it: indentation by spaces, closed quotes "
                    "and brackets, a space behind each colon");
    return PP_E_SYNTAX;
}

static enum pp_status build_events(struct builder *b, struct fy_parser *parser,
                                   struct fy_diag *diag) {
    enum pp_status status = PP_OK;
    struct fy_event *event;
    while (status == PP_OK && (event = fy_parser_parse(parser)) != NULL) {
        status = on_event(b, event);
        fy_parser_event_free(parser, event);
    }
    if (status != PP_OK) {
        return status;
    }
    if (fy_parser_get_stream_error(parser)) {
        return report_syntax(b, diag);
    }
    if (b->root == NULL) {
        struct pp_place start = {.line = 1, .column = 1};
        return refuse(b, &start, "empty: no document in it");
    }
    return PP_OK;
}

enum pp_status pp_doc_build(struct pp_doc *doc, const char *text, size_t size, const char *origin,
                            struct pp_node **root_p, struct pp_err *err) {
    struct fy_diag_cfg diag_config;
    fy_diag_cfg_default(&diag_config);
    diag_config.fp = NULL;
    diag_config.colorize = false;
    struct builder *b = calloc(1, sizeof *b);
    struct fy_diag *diag = fy_diag_create(&diag_config);
    struct fy_parse_cfg config = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG, .diag = diag};
    struct fy_parser *parser = NULL;
    enum pp_status status;
    if (diag != NULL) {
        fy_diag_set_collect_errors(diag, true);
        parser = fy_parser_create(&config);
    }
    if (b == NULL || parser == NULL || fy_parser_set_string(parser, text, size) != 0) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for %s", doc->name);
    } else {
        *b = (struct builder){.doc = doc, .text = text, .size = size, .origin = origin, .err = err};
        status = build_events(b, parser, diag);
    }
    if (status == PP_OK) {
        *root_p = b->root;
    }
    if (parser != NULL) {
        fy_parser_destroy(parser);
    }
    if (diag != NULL) {
        fy_diag_destroy(diag);
    }
    free(b);
    return status;
}
