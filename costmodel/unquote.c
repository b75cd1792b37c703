#include "costmodel/unquote.h"

#include <string.h>

struct reader {
    const char *p, *end;
    struct pp_text *out;
    size_t kept; /* out up to here came from escapes or is not blank: folding must not trim it */
};

static void add_utf8(struct pp_text *out, uint32_t c) {
    char bytes[4];
    size_t n;
    if (c < 0x80) {
        bytes[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        bytes[0] = (char)(0xc0 | c >> 6);
        n = 2;
    } else if (c < 0x10000) {
        bytes[0] = (char)(0xe0 | c >> 12);
        n = 3;
    } else {
        bytes[0] = (char)(0xf0 | c >> 18);
        n = 4;
    }
    for (size_t i = 1; i < n; i++) {
        bytes[i] = (char)(0x80 | (c >> 6 * (n - 1 - i) & 0x3f));
    }
    pp_text_add(out, bytes, n);
}

static bool read_hex(struct reader *r, int digits, uint32_t *value_p) {
    uint32_t value = 0;
    for (int i = 0; i < digits; i++, r->p++) {
        if (r->p == r->end) {
            return false;
        }
        char c = *r->p;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16) {
            return false;
        }
        value = value << 4 | digit;
    }
    *value_p = value;
    return true;
}

/* \x, \u, \U; JSON writes characters beyond 16 bits as two \u, a surrogate pair. */
static bool add_code_point(struct reader *r, int digits) {
    uint32_t c;
    if (!read_hex(r, digits, &c)) {
        return false;
    }
    if (c >= 0xd800 && c < 0xdc00 && r->end - r->p >= 2 && r->p[0] == '\\' && r->p[1] == 'u') {
        uint32_t low;
        r->p += 2;
        if (!read_hex(r, 4, &low) || low < 0xdc00 || low > 0xdfff) {
            return false;
        }
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
        return false;
    }
    add_utf8(r->out, c);
    return true;
}

/* One line break at p, if there is one. */
static bool skip_break(struct reader *r) {
    if (r->p < r->end && *r->p == '\r') {
        r->p++;
        if (r->p < r->end && *r->p == '\n') {
            r->p++;
        }
        return true;
    }
    if (r->p < r->end && *r->p == '\n') {
        r->p++;
        return true;
    }
    return false;
}

static void skip_blanks(struct reader *r) {
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t')) {
        r->p++;
    }
}

/* Behind a line break: empty lines are newlines, the next line's indentation is nothing.
 * @return number of empty lines */
static int skip_empty_lines(struct reader *r) {
    int lines = 0;
    skip_blanks(r);
    while (skip_break(r)) {
        pp_text_puts(r->out, "\n");
        lines++;
        skip_blanks(r);
    }
    return lines;
}

static bool read_escape(struct reader *r) {
    static const char names[] = "0abtnvfre \"/\\N_LP\t";
    static const uint32_t values[] = {0,   7,   8,   9,    10,   11,   12,     13,     27,
                                      ' ', '"', '/', '\\', 0x85, 0xa0, 0x2028, 0x2029, '\t'};
    if (r->p == r->end) {
        return false;
    }
    if (skip_break(r)) {
        skip_empty_lines(r);
        return true;
    }
    char c = *r->p++;
    if (c == 'x' || c == 'u' || c == 'U') {
        return add_code_point(r, c == 'x' ? 2 : c == 'u' ? 4 : 8);
    }
    const char *name = c != '\0' ? strchr(names, c) : NULL;
    if (name == NULL) {
        return false;
    }
    add_utf8(r->out, values[name - names]);
    return true;
}

/* A line break without a backslash: blanks before it go, it becomes a space or the empty lines. */
static void fold(struct reader *r) {
    while (r->out->size > r->kept &&
           (r->out->bytes[r->out->size - 1] == ' ' || r->out->bytes[r->out->size - 1] == '\t')) {
        r->out->bytes[--r->out->size] = '\0';
    }
    if (skip_empty_lines(r) == 0) {
        pp_text_puts(r->out, " ");
    }
}

bool pp_unquote(const char *raw, size_t size, char quote, struct pp_text *out) {
    struct reader r = {.p = raw, .end = raw + size, .out = out, .kept = out->size};
    while (r.p < r.end) {
        if (quote == '"' && *r.p == '\\') {
            r.p++;
            if (!read_escape(&r)) {
                return false;
            }
            r.kept = out->size;
        } else if (skip_break(&r)) {
            fold(&r);
            r.kept = out->size;
        } else {
            pp_text_add(out, r.p, 1);
            bool is_pair = quote == '\'' && r.end - r.p > 1 && r.p[0] == quote && r.p[1] == quote;
            r.p += is_pair ? 2 : 1;
        }
    }
    return true;
}
