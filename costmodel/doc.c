/* A document's life and the questions it answers. */
#include "costmodel/doc.h"

#include "costmodel/doc_node.h"
#include "costmodel/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 32 * 1024, ALIGNMENT = 16 };

struct pp_doc_chunk {
    struct pp_doc_chunk *next;
    size_t used, size;
    _Alignas(ALIGNMENT) char bytes[];
};

void *pp_doc_alloc(struct pp_doc *doc, size_t size) {
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct pp_doc_chunk *chunk = doc->chunks;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        chunk = calloc(1, sizeof *chunk + room);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->size = room;
        chunk->next = doc->chunks;
        doc->chunks = chunk;
    }
    void *memory = chunk->bytes + chunk->used;
    chunk->used += size;
    return memory;
}

const char *pp_doc_copy(struct pp_doc *doc, const char *bytes, size_t size) {
    char *copy = pp_doc_alloc(doc, size + 1);
    if (copy != NULL && size > 0) {
        memcpy(copy, bytes, size);
    }
    return copy;
}

struct pp_pair *pp_doc_append(struct pp_doc *doc, struct pp_node *collection) {
    if (collection->count == collection->capacity) {
        int32_t capacity = collection->capacity == 0 ? 4 : collection->capacity * 2;
        struct pp_pair *pairs = pp_doc_alloc(doc, (size_t)capacity * sizeof *pairs);
        if (pairs == NULL) {
            return NULL;
        }
        if (collection->count > 0) {
            memcpy(pairs, collection->pairs, (size_t)collection->count * sizeof *pairs);
        }
        collection->pairs = pairs;
        collection->capacity = capacity;
    }
    return &collection->pairs[collection->count++];
}

/* NUL ends libfyaml's input silently, other control characters and broken UTF-8 pass it: all mean
 * that this is no text file. @return offset of the first byte that no YAML text has, or `size` */
static size_t first_binary_byte(const char *text, size_t size) {
    size_t n;
    for (size_t i = 0; i < size; i += n) {
        unsigned char c = (unsigned char)text[i];
        n = pp_utf8_length(text + i, size - i);
        if (n == 0 || (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
            return i;
        }
    }
    return size;
}

static enum pp_status refuse_binary(const struct pp_doc *doc, size_t at, struct pp_err *err) {
    int32_t line = 1;
    size_t line_begin = 0;
    for (size_t i = 0; i < at; i++) {
        if (doc->text[i] == '\n') {
            line++;
            line_begin = i + 1;
        }
    }
    pp_fail(err, PP_E_SYNTAX, "byte 0x%02x is not text: expected a YAML or JSON file in UTF-8",
            (unsigned)(unsigned char)doc->text[at]);
    pp_err_place(err, doc->name, line, (int32_t)(at - line_begin) + 1);
    return PP_E_SYNTAX;
}

/* Takes `text`, which is malloc'ed and zero-terminated. */
static enum pp_status parse_owned(const char *name, char *text, size_t size, struct pp_doc **doc_p,
                                  struct pp_err *err) {
    struct pp_doc *doc = calloc(1, sizeof *doc);
    if (doc != NULL) {
        doc->text = text;
        doc->size = size;
        doc->name = malloc(strlen(name) + 1);
    } else {
        free(text);
    }
    if (doc == NULL || doc->name == NULL) {
        pp_doc_destroy(doc);
        return pp_fail(err, PP_E_NOMEM, "out of memory for %s", name);
    }
    strcpy(doc->name, name);
    size_t binary = first_binary_byte(text, size);
    enum pp_status status = binary < size ? refuse_binary(doc, binary, err)
                                          : pp_doc_build(doc, text, size, NULL, &doc->root, err);
    if (status != PP_OK) {
        pp_doc_destroy(doc);
        return status;
    }
    *doc_p = doc;
    return PP_OK;
}

enum pp_status pp_doc_read(const char *path, struct pp_doc **doc_p, struct pp_err *err) {
    char *text = NULL;
    size_t size = 0;
    PP_TRY(pp_read_file(path, PP_DOC_MAX_BYTES, &text, &size, err));
    return parse_owned(path, text, size, doc_p, err);
}

enum pp_status pp_doc_parse(const char *name, const char *text, size_t size, struct pp_doc **doc_p,
                            struct pp_err *err) {
    if (size > PP_DOC_MAX_BYTES) {
        pp_fail(err, PP_E_SYNTAX, "%zu bytes are more than the limit of %d", size,
                PP_DOC_MAX_BYTES);
        pp_err_place(err, name, 0, 0);
        return PP_E_SYNTAX;
    }
    char *copy = malloc(size + 1);
    if (copy == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %s", name);
    }
    if (size > 0) {
        memcpy(copy, text, size);
    }
    copy[size] = '\0';
    return parse_owned(name, copy, size, doc_p, err);
}

void pp_doc_destroy(struct pp_doc *doc) {
    if (doc == NULL) {
        return;
    }
    while (doc->chunks != NULL) {
        struct pp_doc_chunk *next = doc->chunks->next;
        free(doc->chunks);
        doc->chunks = next;
    }
    free(doc->name);
    free(doc->text);
    free(doc);
}

const char *pp_doc_name(const struct pp_doc *doc) {
    return doc->name;
}

const char *pp_doc_text(const struct pp_doc *doc) {
    return doc->text;
}

struct pp_node *pp_doc_root(const struct pp_doc *doc) {
    return doc->root;
}

static struct pp_pair *find_pair_sized(const struct pp_node *node, const char *key, size_t size) {
    if (node == NULL || node->kind != PP_NODE_MAPPING) {
        return NULL;
    }
    for (int32_t i = 0; i < node->count; i++) {
        if (strncmp(node->pairs[i].key, key, size) == 0 && node->pairs[i].key[size] == '\0') {
            return &node->pairs[i];
        }
    }
    return NULL;
}

struct pp_pair *pp_node_find_pair(const struct pp_node *mapping, const char *key) {
    return find_pair_sized(mapping, key, strlen(key));
}

void pp_doc_redirect(struct pp_doc *doc, const char *from, const char *to) {
    PP_ASSERT(doc->redirect_count < PP_DOC_MAX_REDIRECTS);
    doc->redirects[doc->redirect_count++] = (struct pp_doc_redirect){.from = from, .to = to};
}

static const struct pp_pair *find_first(const struct pp_doc *doc, const char *key, size_t size) {
    for (int32_t i = 0; i < doc->redirect_count; i++) {
        const struct pp_doc_redirect *r = &doc->redirects[i];
        if (strlen(r->from) == size && memcmp(r->from, key, size) == 0) {
            return find_pair_sized(doc->root, r->to, strlen(r->to));
        }
    }
    return find_pair_sized(doc->root, key, size);
}

struct pp_node *pp_doc_find(const struct pp_doc *doc, const char *dotted) {
    struct pp_node *node = doc->root;
    const char *p = dotted;
    while (node != NULL) {
        size_t size = strcspn(p, ".");
        const struct pp_pair *pair =
            p == dotted ? find_first(doc, p, size) : find_pair_sized(node, p, size);
        node = pair != NULL ? pair->value : NULL;
        if (p[size] == '\0') {
            break;
        }
        p += size + 1;
    }
    return node;
}

enum pp_node_kind pp_node_kind(const struct pp_node *node) {
    return node->kind;
}

const char *pp_node_kind_name(enum pp_node_kind kind) {
    switch (kind) {
    case PP_NODE_NULL:
        return "null";
    case PP_NODE_BOOL:
        return "a boolean";
    case PP_NODE_INT:
        return "an integer";
    case PP_NODE_FLOAT:
        return "a float";
    case PP_NODE_STRING:
        return "a string";
    case PP_NODE_SEQUENCE:
        return "a sequence";
    case PP_NODE_MAPPING:
        return "a mapping";
    }
    return "nothing";
}

const char *pp_node_text(const struct pp_node *node) {
    return node->text;
}

bool pp_node_get_bool(const struct pp_node *node, bool *value_p) {
    if (node->kind != PP_NODE_BOOL) {
        return false;
    }
    *value_p = node->boolean;
    return true;
}

bool pp_node_get_int(const struct pp_node *node, int64_t *value_p) {
    if (!node->has_integer) {
        return false;
    }
    *value_p = node->integer;
    return true;
}

bool pp_node_get_float(const struct pp_node *node, double *value_p) {
    if (!node->has_real) {
        return false;
    }
    *value_p = node->real;
    return true;
}

int32_t pp_node_count(const struct pp_node *node) {
    return node->count;
}

struct pp_node *pp_node_item(const struct pp_node *node, int32_t index) {
    PP_ASSERT(node->kind == PP_NODE_SEQUENCE && index >= 0 && index < node->count);
    return node->pairs[index].value;
}

struct pp_node *pp_node_pair(const struct pp_node *node, int32_t index, const char **key_p) {
    PP_ASSERT(node->kind == PP_NODE_MAPPING && index >= 0 && index < node->count);
    if (key_p != NULL) {
        *key_p = node->pairs[index].key;
    }
    return node->pairs[index].value;
}

struct pp_node *pp_node_get(const struct pp_node *mapping, const char *key) {
    const struct pp_pair *pair = pp_node_find_pair(mapping, key);
    return pair != NULL ? pair->value : NULL;
}

struct pp_place pp_node_place(const struct pp_node *node) {
    return node->place;
}

struct pp_place pp_node_key_place(const struct pp_node *mapping, int32_t index) {
    PP_ASSERT(mapping->kind == PP_NODE_MAPPING && index >= 0 && index < mapping->count);
    return mapping->pairs[index].key_place;
}

enum pp_status pp_node_fail(struct pp_err *err, const struct pp_doc *doc,
                            const struct pp_node *node, enum pp_status status, const char *format,
                            ...) {
    char message[PP_ERR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (node->origin != NULL) {
        return pp_fail(err, status, "%s: %s", node->origin, message);
    }
    pp_fail(err, status, "%s", message);
    pp_err_place(err, doc->name, node->place.line, node->place.column);
    return status;
}
