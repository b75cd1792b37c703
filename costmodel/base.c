#include "costmodel/base.h"

#include "costmodel/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *pp_status_code(enum pp_status status) {
    static const char *const codes[] = {
#define PP_STATUS_CODE(name, code, text) code,
        PP_STATUS_LIST(PP_STATUS_CODE)
#undef PP_STATUS_CODE
    };
    return status >= 0 && status < PP_STATUS_COUNT ? codes[status] : "E_UNKNOWN";
}

enum pp_status pp_fail(struct pp_err *err, enum pp_status status, const char *format, ...) {
    if (err != NULL) {
        *err = (struct pp_err){.status = status};
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        pp_utf8_make_line(err->message);
    }
    return status;
}

void pp_hint(struct pp_err *err, const char *format, ...) {
    if (err == NULL) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(err->hint, sizeof err->hint, format, args);
    va_end(args);
    pp_utf8_make_line(err->hint);
}

void pp_err_place(struct pp_err *err, const char *file, int32_t line, int32_t column) {
    if (err == NULL) {
        return;
    }
    if (file != NULL) {
        pp_copy(err->file, sizeof err->file, file);
        pp_utf8_make_line(err->file);
    }
    err->line = line;
    err->column = column;
}

_Noreturn void pp_assert_failed(const char *cond, const char *file, int line) {
    fprintf(stderr, "pipeplan: internal error: %s does not hold (%s:%d)\n", cond, file, line);
    abort();
}

bool pp_mul_i64(int64_t a, int64_t b, int64_t *r_p) {
    int64_t r;
    if (__builtin_mul_overflow(a, b, &r)) {
        return false;
    }
    *r_p = r;
    return true;
}

bool pp_add_i64(int64_t a, int64_t b, int64_t *r_p) {
    int64_t r;
    if (__builtin_add_overflow(a, b, &r)) {
        return false;
    }
    *r_p = r;
    return true;
}

int64_t pp_gcd_i64(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

int64_t pp_div_round_i64(int64_t a, int64_t b) {
    PP_ASSERT(a >= 0 && b > 0);
    int64_t q = a / b;
    int64_t r = a % b;
    return r >= b - r ? q + 1 : q;
}

int64_t pp_div_ceil_i64(int64_t a, int64_t b) {
    PP_ASSERT(a >= 0 && b > 0);
    return a / b + (a % b != 0);
}

int64_t pp_round_i64(double x) {
    const double limit = (double)(INT64_MAX / 4);
    if (!(x > 0.0)) {
        return 0; /* NaN too */
    }
    if (x >= limit) {
        return INT64_MAX / 4;
    }
    return (int64_t)floor(x + 0.5);
}

char pp_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool pp_equal_nocase(const char *a, const char *b) {
    while (*a != '\0' && pp_lower(*a) == pp_lower(*b)) {
        a++;
        b++;
    }
    return pp_lower(*a) == pp_lower(*b);
}

bool pp_copy(char *dst, size_t size, const char *src) {
    size_t n = strlen(src);
    bool whole = n < size;
    if (!whole) {
        n = size - 1;
        while (n > 0 && ((unsigned char)src[n] & 0xc0) == 0x80) {
            n--; /* not within a UTF-8 character */
        }
    }
    memcpy(dst, src, n);
    dst[n] = '\0';
    return whole;
}

static bool text_reserve(struct pp_text *t, size_t extra) {
    if (t->failed) {
        return false;
    }
    if (extra < t->capacity - t->size) { /* room for the zero, too */
        return true;
    }
    size_t need = t->size + extra + 1;
    size_t capacity = t->capacity < 64 ? 64 : t->capacity;
    while (capacity < need) {
        capacity += capacity / 2;
    }
    char *bytes = need < extra ? NULL : realloc(t->bytes, capacity);
    if (bytes == NULL) {
        t->failed = true;
        return false;
    }
    t->bytes = bytes;
    t->capacity = capacity;
    return true;
}

void pp_text_add(struct pp_text *t, const char *bytes, size_t size) {
    if (text_reserve(t, size)) {
        memcpy(t->bytes + t->size, bytes, size);
        t->size += size;
        t->bytes[t->size] = '\0';
    }
}

void pp_text_puts(struct pp_text *t, const char *s) {
    pp_text_add(t, s, strlen(s));
}

void pp_text_printf(struct pp_text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !text_reserve(t, (size_t)n)) {
        t->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(t->bytes + t->size, (size_t)n + 1, format, args);
    va_end(args);
    t->size += (size_t)n;
}

void pp_text_free(struct pp_text *t) {
    free(t->bytes);
    *t = (struct pp_text){0};
}

static enum pp_status file_fail(struct pp_err *err, const char *path, const char *why) {
    enum pp_status status = pp_fail(err, PP_E_FILE, "cannot read %s: %s", path, why);
    pp_err_place(err, path, 0, 0);
    return status;
}

/* What errno says. A signal without SA_RESTART ends the waiting for a pipe or a terminal. */
static enum pp_status system_fail(struct pp_err *err, const char *path) {
    return errno == EINTR ? pp_fail(err, PP_E_INTERRUPTED, "interrupted while reading %s", path)
                          : file_fail(err, path, strerror(errno));
}

static enum pp_status read_stream(FILE *f, const char *path, int64_t max_bytes, struct pp_text *t,
                                  struct pp_err *err) {
    char buffer[65536];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, f)) > 0) {
        if ((int64_t)(t->size + n) > max_bytes) {
            enum pp_status status =
                pp_fail(err, PP_E_FILE, "cannot read %s: larger than the limit of %lld bytes", path,
                        (long long)max_bytes);
            pp_err_place(err, path, 0, 0);
            return status;
        }
        pp_text_add(t, buffer, n);
    }
    if (ferror(f)) {
        return system_fail(err, path);
    }
    pp_text_add(t, "", 0); /* an empty file is an empty string, not NULL */
    return t->failed ? pp_fail(err, PP_E_NOMEM, "out of memory reading %s", path) : PP_OK;
}

enum pp_status pp_read_file(const char *path, int64_t max_bytes, char **text_p, size_t *size_p,
                            struct pp_err *err) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return system_fail(err, path);
    }
    struct stat st;
    if (fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode)) {
        fclose(f);
        return file_fail(err, path, "is a directory, expected a file");
    }
    struct pp_text t = {0};
    enum pp_status status = read_stream(f, path, max_bytes, &t, err);
    fclose(f);
    if (status != PP_OK) {
        pp_text_free(&t);
        return status;
    }
    *text_p = t.bytes;
    *size_p = t.size;
    return PP_OK;
}
