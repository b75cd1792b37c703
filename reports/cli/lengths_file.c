/* --microbatch-lengths FILE: how long each microbatch is, beside the others. */
#include "costmodel/value.h"
#include "reports/cli/vary_options.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 64 * 1024 * 1024, FIELD_BYTES = 64 };

/* Lengths are read in billionths, which hold every ratio that can be written exactly enough. */
static const int64_t unit = 1000000000;

struct lines {
    const char *path;
    const char *at, *end; /* what is left */
    int32_t line;         /* of the length read last */
    int32_t line_count;
};

static enum pp_status place(const struct lines *l, int32_t line, enum pp_status status,
                            struct pp_err *err) {
    pp_err_place(err, l->path, line, line > 0 ? 1 : 0);
    return status;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static enum pp_status parse_length(const struct lines *l, const char *begin, size_t size,
                                   int64_t *length_p, struct pp_err *err) {
    char text[FIELD_BYTES];
    int64_t num;
    int64_t den;
    struct pp_err why = {0};
    if (size >= sizeof text || memchr(begin, '\0', size) != NULL) {
        return place(l, l->line,
                     pp_fail(err, PP_E_CSV, "a line of %zu bytes that is no number", size), err);
    }
    memcpy(text, begin, size);
    text[size] = '\0';
    enum pp_status status = pp_parse_ratio(text, &num, &den, &why);
    if (status != PP_OK) {
        enum pp_status own = status == PP_E_USAGE ? PP_E_CSV : status;
        return place(l, l->line, pp_fail(err, own, "length: %.600s", why.message), err);
    }
    *length_p = (int64_t)(((__int128)num * unit + den / 2) / den);
    return PP_OK;
}

/* The next line that is not blank; *found_p false at the end of the file. */
static enum pp_status next_length(struct lines *l, int64_t *length_p, bool *found_p,
                                  struct pp_err *err) {
    *found_p = false;
    while (l->at < l->end) {
        const char *begin = l->at;
        const char *end = memchr(begin, '\n', (size_t)(l->end - begin));
        end = end == NULL ? l->end : end;
        l->at = end == l->end ? end : end + 1;
        l->line_count++;
        while (begin < end && is_blank(*begin)) {
            begin++;
        }
        while (end > begin && is_blank(end[-1])) {
            end--;
        }
        if (begin < end) {
            l->line = l->line_count;
            *found_p = true;
            return parse_length(l, begin, (size_t)(end - begin), length_p, err);
        }
    }
    return PP_OK;
}

static enum pp_status read_lengths(struct lines *l, int32_t count, int64_t *length,
                                   struct pp_err *err) {
    int64_t one;
    bool found = false;
    for (int32_t i = 0; i < count; i++) {
        PP_TRY(next_length(l, &length[i], &found, err));
        if (!found) {
            return place(l, 0,
                         pp_fail(err, PP_E_CSV,
                                 "%d length%s; expected one a line for each of %d microbatches", i,
                                 i == 1 ? "" : "s", count),
                         err);
        }
    }
    PP_TRY(next_length(l, &one, &found, err));
    return found
               ? place(l, l->line,
                       pp_fail(err, PP_E_CSV, "more lengths than the %d microbatches", count), err)
               : PP_OK;
}

/* length[i] becomes length[i] / mean. @param l  of the same file, from its beginning: for places */
static enum pp_status scale(struct lines *l, int32_t count, int64_t *length, struct pp_err *err) {
    __int128 sum = 0;
    int64_t same;
    bool found;
    for (int32_t i = 0; i < count; i++) {
        sum += length[i];
    }
    if (sum == 0) {
        return place(l, 0, pp_fail(err, PP_E_RANGE, "every length is 0; expected one above it"),
                     err);
    }
    for (int32_t i = 0; i < count; i++) {
        PP_TRY(next_length(l, &same, &found, err));
        if ((__int128)length[i] * count > sum * PP_VARY_MAX_FACTOR) {
            return place(l, l->line,
                         pp_fail(err, PP_E_RANGE, "a length of more than %d times the mean",
                                 PP_VARY_MAX_FACTOR),
                         err);
        }
        length[i] = (int64_t)((2 * (__int128)length[i] * count * PP_VARY_ONE + sum) / (2 * sum));
    }
    return PP_OK;
}

enum pp_status pp_lengths_read(const char *path, int32_t count, int64_t *weight,
                               struct pp_err *err) {
    char *text = NULL;
    size_t size;
    PP_TRY(pp_read_file(path, MAX_BYTES, &text, &size, err));
    struct lines lines = {.path = path, .at = text, .end = text + size};
    struct lines again = lines;
    enum pp_status status = read_lengths(&lines, count, weight, err);
    if (status == PP_OK) {
        status = scale(&again, count, weight, err);
    }
    free(text);
    return status;
}
