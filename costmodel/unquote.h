/**
 * @file unquote.h
 * The text of a quoted YAML or JSON scalar: escapes, and lines folded into one.
 *
 * Ours, because libfyaml 0.7.12 loses characters of some: long double-quoted ones that mix escapes
 * with line continuations, single-quoted ones with several quotes in a row. Used by doc_build.c
 * only. Pure.
 */
#ifndef PP_COSTMODEL_UNQUOTE_H
#define PP_COSTMODEL_UNQUOTE_H

#include "costmodel/base.h"

/**
 * Appends the value of the `size` bytes between the quotes to `out`.
 * @param quote  the double or the single quote
 * @return false if an escape is not one of YAML's, or not whole
 */
bool pp_unquote(const char *raw, size_t size, char quote, struct pp_text *out);

#endif
