/**
 * @file unquote.h
 * The text of a double-quoted YAML or JSON scalar: escapes, and lines folded into one.
 *
 * Ours, because libfyaml 0.7.12 drops characters of long scalars that mix escapes with line
 * continuations (and pads the end with zeros). Used by doc_build.c only. Pure.
 */
#ifndef PP_COSTMODEL_UNQUOTE_H
#define PP_COSTMODEL_UNQUOTE_H

#include "costmodel/base.h"

/**
 * Appends the value of the `size` bytes between the quotes to `out`.
 * @return false if an escape is not one of YAML's, or not whole
 */
bool pp_unquote_double(const char *raw, size_t size, struct pp_text *out);

#endif
