/* What a text means on Automodel's command line: three words, then Python's literals. */
#include "costmodel/value.h"

#include <stdlib.h>
#include <string.h>

/* Automodel does not look into longer texts; Python's parser gives up on deep nesting. */
enum { MAX_LITERAL_BYTES = 1000, MAX_LITERAL_DEPTH = 90 };

static bool is_digit_of(char c, int base) {
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : 99;
    return digit < base;
}

static const char *skip_blanks(const char *p) {
    while (*p == ' ' || *p == '\t') {
        p++;
    }
    return p;
}

/* Digits with single underscores between them; NULL if there is none or an underscore is loose. */
static const char *skip_digits(const char *p, int base) {
    if (!is_digit_of(*p, base)) {
        return NULL;
    }
    while (is_digit_of(*p, base) || (*p == '_' && is_digit_of(p[1], base))) {
        p++;
    }
    return p;
}

/* strtod or strtoll of [begin, end) without underscores; the range holds a checked number. */
static void convert(const char *begin, const char *end, int base, struct pp_value *v) {
    char digits[MAX_LITERAL_BYTES + 1];
    size_t n = 0;
    for (const char *p = begin; p < end; p++) {
        if (*p != '_') {
            digits[n++] = *p;
        }
    }
    digits[n] = '\0';
    if (v->kind == PP_VALUE_FLOAT) {
        v->real = strtod(digits, NULL);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char c = digits[i];
        int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
        int64_t next;
        v->real = v->real * base + digit;
        if (v->huge || !pp_mul_i64(v->integer, base, &next) || !pp_add_i64(next, digit, &next)) {
            v->huge = true;
            next = INT64_MAX;
        }
        v->integer = next;
    }
}

/* 0x.., 0o.., 0b..: the base, or 0 */
static int prefix_base(const char *p) {
    if (*p != '0') {
        return 0;
    }
    switch (p[1]) {
    case 'x':
    case 'X':
        return 16;
    case 'o':
    case 'O':
        return 8;
    case 'b':
    case 'B':
        return 2;
    default:
        return 0;
    }
}

/* End of a float's fraction and exponent behind the whole part's end; `begin` if it is no float. */
static const char *float_end(const char *begin, const char *whole_end) {
    const char *p = whole_end != NULL ? whole_end : begin;
    bool is_float = false;
    if (*p == '.') {
        const char *fraction = skip_digits(p + 1, 10);
        if (fraction == NULL && whole_end == NULL) {
            return begin;
        }
        p = fraction != NULL ? fraction : p + 1;
        is_float = true;
    }
    if ((*p == 'e' || *p == 'E') && p > begin) {
        const char *sign = p[1] == '+' || p[1] == '-' ? p + 2 : p + 1;
        const char *exponent = skip_digits(sign, 10);
        if (exponent != NULL) {
            p = exponent;
            is_float = true;
        }
    }
    return is_float ? p : begin;
}

/* An unsigned Python number at p. @return its end, NULL if there is none */
static const char *scan_number(const char *p, struct pp_value *v) {
    int base = prefix_base(p);
    if (base != 0) {
        const char *begin = p[2] == '_' ? p + 3 : p + 2;
        const char *end = skip_digits(begin, base);
        if (end != NULL) {
            v->kind = PP_VALUE_INT;
            convert(begin, end, base, v);
        }
        return end;
    }
    const char *whole_end = skip_digits(p, 10);
    const char *end = float_end(p, whole_end);
    if (end != p) {
        v->kind = PP_VALUE_FLOAT;
        convert(p, end, 10, v);
        return end;
    }
    if (whole_end == NULL) {
        return NULL;
    }
    if (*p == '0' && strspn(p, "0_") != (size_t)(whole_end - p)) {
        return NULL; /* 007 is not Python */
    }
    v->kind = PP_VALUE_INT;
    convert(p, whole_end, 10, v);
    return whole_end;
}

static const char *scan_signed_number(const char *p, struct pp_value *v) {
    bool negative = *p == '-';
    bool has_sign = negative || *p == '+';
    *v = (struct pp_value){.kind = PP_VALUE_STRING};
    const char *end = scan_number(has_sign ? skip_blanks(p + 1) : p, v);
    if (end != NULL && negative) {
        v->real = -v->real;
        v->integer = v->huge ? INT64_MIN : -v->integer;
    }
    return end;
}

/* A quoted string at p. @return the byte after the closing quote, NULL if it never closes */
static const char *scan_string(const char *p) {
    char quote = *p++;
    for (; *p != quote; p++) {
        if (*p == '\\' && p[1] != '\0') {
            p++;
        }
        if (*p == '\0' || *p == '\n') {
            return NULL;
        }
    }
    return p + 1;
}

static const char *scan_literal(const char *p, int depth);

/* Items of a list, tuple, set or dict behind the opening bracket, up to and with `close`. */
static const char *scan_items(const char *p, char close, int depth) {
    for (p = skip_blanks(p); *p != close; p = skip_blanks(p)) {
        p = scan_literal(p, depth + 1);
        if (p == NULL) {
            return NULL;
        }
        p = skip_blanks(p);
        if (*p == ':' && close == '}') {
            p = scan_literal(skip_blanks(p + 1), depth + 1);
            if (p == NULL) {
                return NULL;
            }
            p = skip_blanks(p);
        }
        if (*p == ',') {
            p++;
        } else if (*p != close) {
            return NULL;
        }
    }
    return p + 1;
}

/* Any literal inside a compound. @return its end, NULL if there is none */
static const char *scan_literal(const char *p, int depth) {
    static const char *const words[] = {"None", "True", "False"};
    if (depth > MAX_LITERAL_DEPTH) {
        return NULL;
    }
    switch (*p) {
    case '[':
        return scan_items(p + 1, ']', depth);
    case '(':
        return scan_items(p + 1, ')', depth);
    case '{':
        return scan_items(p + 1, '}', depth);
    case '\'':
    case '"':
        return scan_string(p);
    default:
        break;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strncmp(p, words[i], strlen(words[i])) == 0) {
            return p + strlen(words[i]);
        }
    }
    struct pp_value ignored;
    return scan_signed_number(p, &ignored);
}

static bool is_whole(const char *end) {
    return end != NULL && *skip_blanks(end) == '\0';
}

struct pp_value pp_value_translate(const char *text) {
    static const struct {
        const char *word;
        struct pp_value value;
    } words[] = {
        {"none", {.kind = PP_VALUE_NONE}},
        {"None", {.kind = PP_VALUE_NONE}},
        {"true", {.kind = PP_VALUE_BOOL, .boolean = true}},
        {"True", {.kind = PP_VALUE_BOOL, .boolean = true}},
        {"false", {.kind = PP_VALUE_BOOL}},
        {"False", {.kind = PP_VALUE_BOOL}},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i].word) == 0) {
            return words[i].value;
        }
    }
    struct pp_value v = {.kind = PP_VALUE_STRING, .text = text, .size = strlen(text)};
    if (v.size > MAX_LITERAL_BYTES) {
        return v;
    }
    const char *p = skip_blanks(text);
    if (*p == '\'' || *p == '"') {
        const char *end = scan_string(p);
        if (is_whole(end)) {
            v.text = p + 1;
            v.size = (size_t)(end - p) - 2;
        }
    } else if (*p == '[' || *p == '(' || *p == '{') {
        if (is_whole(scan_literal(p, 0))) {
            v.kind = PP_VALUE_COMPOUND;
        }
    } else {
        struct pp_value number;
        if (is_whole(scan_signed_number(p, &number))) {
            v = number;
        }
    }
    return v;
}
