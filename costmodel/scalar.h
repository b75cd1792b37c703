/**
 * @file scalar.h
 * What a plain YAML scalar is, as PyYAML's safe_load (YAML 1.1) sees it: yes/no/on/off are
 * booleans, 010 is octal, 1:30 is 90, 1e-8 and 0o17 are strings. Base-60 floats (1:30.5) are
 * left strings, too: nobody writes them. Used by doc*.c only. Pure.
 */
#ifndef PP_COSTMODEL_SCALAR_H
#define PP_COSTMODEL_SCALAR_H

#include "costmodel/doc.h"

struct pp_scalar {
    enum pp_node_kind kind; /* NULL, BOOL, INT, FLOAT or STRING */
    bool boolean;
    bool huge; /* INT beyond int64 */
    int64_t integer;
    double real; /* INT and FLOAT */
};

struct pp_scalar pp_scalar_resolve(const char *text);

#endif
