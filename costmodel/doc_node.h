/**
 * @file doc_node.h
 * The tree behind doc.h, shared by the files that build it (doc_build.c), change it (doc_set.c) and
 * edit its text (recipe_rewrite.c). Everybody else goes through doc.h.
 *
 * Nodes and strings live in the document's arena. An alias or a merge key makes several pairs point
 * at one node; such pairs are marked `shared` and the node `aliased`. A change clones what is
 * shared first, from whichever side it comes, as Automodel wraps each place on its own.
 */
#ifndef PP_COSTMODEL_DOC_NODE_H
#define PP_COSTMODEL_DOC_NODE_H

#include "costmodel/doc.h"

enum pp_node_style {
    PP_STYLE_PLAIN,
    PP_STYLE_QUOTED,     /* single or double */
    PP_STYLE_TEXT_BLOCK, /* | or > */
    PP_STYLE_BLOCK,      /* mapping or sequence by indentation */
    PP_STYLE_FLOW,       /* mapping or sequence in brackets */
};

/** An entry of a mapping or, with key NULL, of a sequence. */
struct pp_pair {
    const char *key;
    struct pp_node *value;
    struct pp_place key_place; /* of the key's text, quotes included; without key, of an alias */
    bool shared;               /* value reached through an alias or a merge key */
    bool merged;               /* the pair itself comes from a merge key */
};

struct pp_node {
    enum pp_node_kind kind;
    enum pp_node_style style;
    const char *text; /* scalars */
    bool boolean;
    bool has_integer; /* fits int64 */
    bool has_real;
    int64_t integer;
    double real;
    struct pp_pair *pairs; /* collections */
    int32_t count, capacity;
    struct pp_place place;
    int32_t height;     /* levels below this node */
    int64_t weight;     /* nodes with all aliases written out, this one included */
    bool aliased;       /* an alias names it: more than one pair leads here */
    bool open;          /* its end has not been read yet */
    const char *origin; /* "--set key=value" for nodes that no file holds, else NULL */
};

struct pp_doc {
    char *name;
    char *text;
    size_t size;
    struct pp_node *root;
    struct pp_doc_chunk *chunks;
};

/** Zeroed memory that lives as long as the document; NULL if there is none. */
void *pp_doc_alloc(struct pp_doc *doc, size_t size);

/** A copy of `size` bytes with a zero behind them; NULL if out of memory. */
const char *pp_doc_copy(struct pp_doc *doc, const char *bytes, size_t size);

/** Adds an empty entry at the collection's end; NULL if out of memory. */
struct pp_pair *pp_doc_append(struct pp_doc *doc, struct pp_node *collection);

/** The pair of a key; NULL if absent. */
struct pp_pair *pp_node_find_pair(const struct pp_node *mapping, const char *key);

/** null, or the word none that Automodel's loader turns into it. */
bool pp_node_is_none(const struct pp_node *node);

/**
 * Parses `text` into a tree in the document's arena.
 * @param origin  NULL: the document's own text; else the text stands for a `--set` value: its nodes
 *                carry `origin` and no place
 * @return PP_OK, PP_E_SYNTAX, PP_E_NOMEM
 */
enum pp_status pp_doc_build(struct pp_doc *doc, const char *text, size_t size, const char *origin,
                            struct pp_node **root_p, struct pp_err *err);

#endif
