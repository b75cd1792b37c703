/**
 * @file doc.h
 * A YAML or JSON document with positions: libfyaml behind the few questions we ask.
 *
 * One document a file; anchors and aliases resolved, duplicate keys refused. Every complaint
 * carries file, line and column. A document is immutable after pp_doc_set calls end; one thread at
 * a time. Limits: PP_DOC_MAX_BYTES a file, PP_DOC_MAX_DEPTH levels and PP_DOC_MAX_NODES values,
 * both with aliases and merge keys written out.
 *
 * Plain scalars are typed as PyYAML's safe_load (YAML 1.1) types them: yes/no/on/off are booleans,
 * 010 is 8, 1:30 is 90; `none` and `1e-8` are strings, which Automodel's loader turns into None and
 * a float afterwards (pp_value_translate; recipe.h does the same). Quoted scalars are strings.
 */
#ifndef PP_COSTMODEL_DOC_H
#define PP_COSTMODEL_DOC_H

#include "costmodel/base.h"

enum {
    PP_DOC_MAX_BYTES = 4 * 1024 * 1024,
    PP_DOC_MAX_DEPTH = 64,
    PP_DOC_MAX_NODES = 1 << 18,
    PP_DOC_MAX_REDIRECTS = 2,
};

struct pp_doc;  /* owns text and tree */
struct pp_node; /* a place in a document; lives as long as the document */

enum pp_node_kind {
    PP_NODE_NULL, /* null, ~, the empty value */
    PP_NODE_BOOL,
    PP_NODE_INT,
    PP_NODE_FLOAT,
    PP_NODE_STRING, /* also every quoted scalar */
    PP_NODE_SEQUENCE,
    PP_NODE_MAPPING,
};

/** Reads a file. @return PP_OK, PP_E_FILE, PP_E_SYNTAX (also: empty, second document), PP_E_NOMEM
 */
enum pp_status pp_doc_read(const char *path, struct pp_doc **doc_p, struct pp_err *err);

/** Parses a text (copied); `name` stands for the file in messages. @return as pp_doc_read */
enum pp_status pp_doc_parse(const char *name, const char *text, size_t size, struct pp_doc **doc_p,
                            struct pp_err *err);

void pp_doc_destroy(struct pp_doc *doc);

const char *pp_doc_name(const struct pp_doc *doc); /* path or name */
const char *pp_doc_text(const struct pp_doc *doc); /* verbatim input */
struct pp_node *pp_doc_root(const struct pp_doc *doc);

/** The node at a dotted path ("distributed.pipeline.pp_schedule"); NULL if absent. */
struct pp_node *pp_doc_find(const struct pp_doc *doc, const char *dotted);

/**
 * Sets the node at a dotted path to a value given as text, creating mappings on the way, as
 * `--dotted.key value` on Automodel's command line does. Value rules: see value.h. A null in the
 * way becomes a mapping; Automodel drops any other value in the way, we refuse. Such nodes have
 * line 0, and complaints about them name `--set key=value` instead.
 * @return PP_OK, PP_E_VALUE (empty path, a value in the way, a list that cannot be read),
 * PP_E_NOMEM
 */
enum pp_status pp_doc_set(struct pp_doc *doc, const char *dotted, const char *value,
                          struct pp_err *err);

/**
 * From now on pp_doc_find reads `to` where a path begins with `from`: so a recipe's teacher_*
 * sections are read by the rules of the plain ones. At most PP_DOC_MAX_REDIRECTS; strings must
 * outlive `doc`.
 */
void pp_doc_redirect(struct pp_doc *doc, const char *from, const char *to);

enum pp_node_kind pp_node_kind(const struct pp_node *node);
/** "null", "a boolean", "an integer", ... for messages. */
const char *pp_node_kind_name(enum pp_node_kind kind);
/** Text of a scalar; NULL for sequences and mappings. Lives as long as the document. */
const char *pp_node_text(const struct pp_node *node);
bool pp_node_get_bool(const struct pp_node *node, bool *value_p);
bool pp_node_get_int(const struct pp_node *node, int64_t *value_p); /* false also on overflow */
/** Floats, integers, and plain strings that Python takes for numbers, such as 1e-8. */
bool pp_node_get_float(const struct pp_node *node, double *value_p);

int32_t pp_node_count(const struct pp_node *node); /* items or pairs; 0 for scalars */
struct pp_node *pp_node_item(const struct pp_node *node, int32_t index); /* sequence */
/** Pair `index` of a mapping: key text and value. */
struct pp_node *pp_node_pair(const struct pp_node *node, int32_t index, const char **key_p);
struct pp_node *pp_node_get(const struct pp_node *mapping, const char *key); /* NULL if absent */

/** Place of a node in the verbatim text. */
struct pp_place {
    int32_t line, column; /* 1-based; 0 for --set values */
    size_t begin, end;    /* byte offsets of the value's text (quotes included) */
};
struct pp_place pp_node_place(const struct pp_node *node);
/** Place of the key of pair `index`; line 0 for --set keys. */
struct pp_place pp_node_key_place(const struct pp_node *mapping, int32_t index);

/** pp_fail with the node's place attached. */
enum pp_status pp_node_fail(struct pp_err *err, const struct pp_doc *doc,
                            const struct pp_node *node, enum pp_status status, const char *format,
                            ...) __attribute__((format(printf, 5, 6)));

#endif
