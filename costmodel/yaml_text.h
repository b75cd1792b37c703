/**
 * @file yaml_text.h
 * Values as YAML text that reads back as what it stands for, quoted only where needed. The result
 * is good in block and in flow context.
 */
#ifndef PP_COSTMODEL_YAML_TEXT_H
#define PP_COSTMODEL_YAML_TEXT_H

#include "costmodel/base.h"

/** A string of `size` bytes. */
void pp_yaml_text_string(struct pp_text *out, const char *bytes, size_t size);

/** A value given as on Automodel's command line (pp_value_translate). */
void pp_yaml_text_value(struct pp_text *out, const char *value);

#endif
