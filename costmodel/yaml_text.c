#include "costmodel/yaml_text.h"

#include "costmodel/scalar.h"
#include "costmodel/value.h"

#include <stdlib.h>
#include <string.h>

static bool is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Characters that mean nothing to YAML wherever they stand. */
static bool is_harmless(const char *bytes, size_t size) {
    if (size == 0 || size > 200 || !(is_alphanumeric(*bytes) || *bytes == '_' || *bytes == '/')) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (!is_alphanumeric(bytes[i]) && strchr("_/.+-", bytes[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* Would PyYAML take the plain text for a string? */
static bool is_string_when_plain(const char *bytes, size_t size) {
    char text[201];
    memcpy(text, bytes, size);
    text[size] = '\0';
    return pp_scalar_resolve(text).kind == PP_NODE_STRING;
}

static bool has_control_character(const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

static void add_double_quoted(struct pp_text *out, const char *bytes, size_t size) {
    pp_text_puts(out, "\"");
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\') {
            pp_text_printf(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            pp_text_printf(out, "\\x%02x", (unsigned)c);
        } else {
            pp_text_add(out, &bytes[i], 1);
        }
    }
    pp_text_puts(out, "\"");
}

void pp_yaml_text_string(struct pp_text *out, const char *bytes, size_t size) {
    if (is_harmless(bytes, size) && is_string_when_plain(bytes, size)) {
        pp_text_add(out, bytes, size);
        return;
    }
    if (has_control_character(bytes, size)) {
        add_double_quoted(out, bytes, size);
        return;
    }
    pp_text_puts(out, "'");
    for (size_t i = 0; i < size; i++) {
        pp_text_add(out, &bytes[i], 1);
        if (bytes[i] == '\'') {
            pp_text_puts(out, "'");
        }
    }
    pp_text_puts(out, "'");
}

void pp_yaml_text_value(struct pp_text *out, const char *value) {
    struct pp_value v = pp_value_translate(value);
    switch (v.kind) {
    case PP_VALUE_NONE:
        pp_text_puts(out, "null");
        break;
    case PP_VALUE_BOOL:
        pp_text_puts(out, v.boolean ? "true" : "false");
        break;
    case PP_VALUE_INT:
        if (!v.huge) {
            pp_text_printf(out, "%lld", (long long)v.integer);
            break;
        }
        pp_yaml_text_string(out, value, strlen(value)); /* the loader reads digits in a string */
        break;
    case PP_VALUE_FLOAT:
        pp_yaml_text_string(out, value, strlen(value));
        break;
    case PP_VALUE_STRING:
        pp_yaml_text_string(out, v.text, v.size);
        break;
    case PP_VALUE_COMPOUND:
        pp_text_puts(out, value);
        break;
    }
}
