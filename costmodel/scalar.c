#include "costmodel/scalar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_one_of(const char *text, const char *const *words) {
    for (; *words != NULL; words++) {
        if (strcmp(text, *words) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static int digit_value(char c) {
    return is_digit(c)              ? c - '0'
           : (c >= 'a' && c <= 'f') ? c - 'a' + 10
           : (c >= 'A' && c <= 'F') ? c - 'A' + 10
                                    : 99;
}

/* number = number * factor + digit, in both forms */
static void append(struct pp_scalar *s, int factor, int64_t digit) {
    int64_t next;
    s->real = s->real * factor + (double)digit;
    if (s->huge || !pp_mul_i64(s->integer, factor, &next) || !pp_add_i64(next, digit, &next)) {
        s->huge = true;
        next = INT64_MAX;
    }
    s->integer = next;
}

/* Digits and underscores of `base` up to the end of the text; at least one digit, `any` = there was
 * one already. */
static bool read_digits(const char *p, int base, bool any, struct pp_scalar *s) {
    for (; *p != '\0'; p++) {
        if (*p == '_') {
            continue;
        }
        if (digit_value(*p) >= base) {
            return false;
        }
        append(s, base, digit_value(*p));
        any = true;
    }
    return any;
}

/* "1:30:00", each group behind the first 0..59 with at most two digits */
static bool read_sexagesimal(const char *p, struct pp_scalar *s) {
    for (; *p != ':'; p++) {
        if (*p != '_') {
            if (!is_digit(*p)) {
                return false;
            }
            append(s, 10, *p - '0');
        }
    }
    while (*p == ':') {
        p++;
        int64_t group = 0;
        int n = 0;
        for (; is_digit(*p) && n < 2; n++, p++) {
            group = group * 10 + *p - '0';
        }
        if (n == 0 || group > 59) {
            return false;
        }
        append(s, 60, group);
    }
    return *p == '\0';
}

static bool read_unsigned_int(const char *p, struct pp_scalar *s) {
    if (p[0] == '0' && p[1] != '\0') {
        if (p[1] == 'b') {
            return read_digits(p + 2, 2, false, s);
        }
        if (p[1] == 'x') {
            return read_digits(p + 2, 16, false, s);
        }
        return read_digits(p + 1, 8, true, s);
    }
    if (!is_digit(*p)) {
        return false;
    }
    return strchr(p, ':') != NULL ? read_sexagesimal(p, s) : read_digits(p, 10, false, s);
}

static bool read_int(const char *text, struct pp_scalar *s) {
    bool negative = *text == '-';
    struct pp_scalar number = {.kind = PP_NODE_INT};
    if (!read_unsigned_int(negative || *text == '+' ? text + 1 : text, &number)) {
        return false;
    }
    if (negative) {
        number.real = -number.real;
        number.integer = number.huge ? INT64_MIN : -number.integer;
    }
    *s = number;
    return true;
}

/* digits . digits [e sign digits]: YAML 1.1 wants the point and the exponent's sign */
static bool is_float(const char *text) {
    const char *p = *text == '-' || *text == '+' ? text + 1 : text;
    bool whole = is_digit(*p);
    while (is_digit(*p) || (whole && *p == '_')) {
        p++;
    }
    if (*p != '.' || (!whole && (p != text || !is_digit(p[1])))) {
        return false;
    }
    for (p++; is_digit(*p) || *p == '_'; p++) {
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if ((*p != '-' && *p != '+') || !is_digit(p[1])) {
            return false;
        }
        for (p++; is_digit(*p); p++) {
        }
    }
    return *p == '\0';
}

static double float_of(const char *text) {
    char digits[64]; /* a double needs 17 digits; longer texts lose nothing but their tail */
    size_t n = 0;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p != '_' && n + 1 < sizeof digits) {
            digits[n++] = *p;
        }
    }
    digits[n] = '\0';
    return strlen(text) < sizeof digits ? strtod(digits, NULL) : strtod(text, NULL);
}

static bool read_float(const char *text, struct pp_scalar *s) {
    static const char *const infinities[] = {".inf", ".Inf", ".INF", NULL};
    static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};
    if (is_float(text)) {
        *s = (struct pp_scalar){.kind = PP_NODE_FLOAT, .real = float_of(text)};
        return true;
    }
    bool has_sign = *text == '-' || *text == '+';
    if (is_one_of(has_sign ? text + 1 : text, infinities)) {
        double real = *text == '-' ? -(double)INFINITY : (double)INFINITY;
        *s = (struct pp_scalar){.kind = PP_NODE_FLOAT, .real = real};
        return true;
    }
    if (is_one_of(text, nans)) {
        *s = (struct pp_scalar){.kind = PP_NODE_FLOAT, .real = (double)NAN};
        return true;
    }
    return false;
}

struct pp_scalar pp_scalar_resolve(const char *text) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes",
                                        "YES",  "on",   "On",   "ON",  NULL};
    static const char *const falses[] = {"false", "False", "FALSE", "no",  "No",
                                         "NO",    "off",   "Off",   "OFF", NULL};
    struct pp_scalar s = {.kind = PP_NODE_STRING};
    if (is_one_of(text, nulls)) {
        s.kind = PP_NODE_NULL;
    } else if (is_one_of(text, trues)) {
        s = (struct pp_scalar){.kind = PP_NODE_BOOL, .boolean = true};
    } else if (is_one_of(text, falses)) {
        s.kind = PP_NODE_BOOL;
    } else if (!read_int(text, &s)) {
        read_float(text, &s);
    }
    return s;
}
