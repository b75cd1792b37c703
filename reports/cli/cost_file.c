/* --costs FILE.csv: durations of each stage. Few lines, each field copied out and read by the same
 * rules as a flag. */
#include "costmodel/value.h"
#include "reports/cli/cost_options.h"

#include <stdlib.h>
#include <string.h>

enum { COST_FILE_MAX_BYTES = 16 * 1024 * 1024, FIELD_COUNT = 4, FIELD_BYTES = 64 };

static const char *const heading[FIELD_COUNT] = {"stage", "f", "i", "w"};

struct reader {
    const char *path;
    const char *at, *end; /* what is left */
    int32_t line;
    int32_t stage_count;
    int32_t *line_of; /* [stage_count] where a stage was given; 0 not yet */
    int64_t *ns[FIELD_COUNT];
    struct pp_err *err;
};

/* A line's fields, blanks around them left out. */
struct fields {
    int32_t count;
    char text[FIELD_COUNT][FIELD_BYTES];
    int32_t column[FIELD_COUNT];
};

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static enum pp_status place(const struct reader *r, int32_t column, enum pp_status status) {
    pp_err_place(r->err, r->path, r->line, column);
    return status;
}

/* Copies bytes [begin, end) of a line as its next field. */
static enum pp_status take_field(const struct reader *r, const char *line, const char *begin,
                                 const char *end, struct fields *f) {
    while (begin < end && is_blank(*begin)) {
        begin++;
    }
    while (end > begin && is_blank(end[-1])) {
        end--;
    }
    int32_t column = (int32_t)(begin - line) + 1;
    size_t size = (size_t)(end - begin);
    if (f->count == FIELD_COUNT) {
        return place(
            r, column,
            pp_fail(r->err, PP_E_CSV, "more than %d fields; expected stage,f,i,w", FIELD_COUNT));
    }
    if (size >= FIELD_BYTES || memchr(begin, '\0', size) != NULL) {
        return place(r, column,
                     pp_fail(r->err, PP_E_CSV, "a field of %zu bytes that is no number", size));
    }
    memcpy(f->text[f->count], begin, size);
    f->text[f->count][size] = '\0';
    f->column[f->count++] = column;
    return PP_OK;
}

/* Takes the next line apart; *blank_p if there is nothing in it. */
static enum pp_status next_line(struct reader *r, struct fields *f, bool *blank_p) {
    const char *line = r->at;
    const char *end = memchr(line, '\n', (size_t)(r->end - line));
    end = end == NULL ? r->end : end;
    r->at = end == r->end ? end : end + 1;
    r->line++;
    f->count = 0;
    for (const char *begin = line; begin <= end;) {
        const char *comma = memchr(begin, ',', (size_t)(end - begin));
        comma = comma == NULL ? end : comma;
        PP_TRY(take_field(r, line, begin, comma, f));
        begin = comma + 1;
    }
    *blank_p = f->count == 1 && f->text[0][0] == '\0';
    if (!*blank_p && f->count < FIELD_COUNT) {
        return place(r, (int32_t)(end - line) + 1,
                     pp_fail(r->err, PP_E_CSV, "%d field%s; expected stage,f,i,w", f->count,
                             f->count == 1 ? "" : "s"));
    }
    return PP_OK;
}

static enum pp_status read_heading(struct reader *r) {
    struct fields f;
    bool blank;
    PP_TRY(next_line(r, &f, &blank));
    if (blank && r->at == r->end) {
        return place(r, 1,
                     pp_fail(r->err, PP_E_CSV,
                             "the file is empty (a pipe can be read only once); expected the "
                             "heading stage,f,i,w"));
    }
    for (int32_t i = 0; i < FIELD_COUNT; i++) {
        if (i >= f.count || strcmp(f.text[i], heading[i]) != 0) {
            return place(r, i < f.count ? f.column[i] : 1,
                         pp_fail(r->err, PP_E_CSV,
                                 "the first line is \"%s...\"; expected the heading stage,f,i,w",
                                 f.text[0]));
        }
    }
    return PP_OK;
}

/* A number that does not parse is a fault of the file, not of the command line. */
static enum pp_status in_file(const struct reader *r, const struct fields *f, int32_t field,
                              enum pp_status status, const struct pp_err *why) {
    enum pp_status own = status == PP_E_USAGE ? PP_E_CSV : status;
    return place(r, f->column[field], pp_fail(r->err, own, "%s: %s", heading[field], why->message));
}

static enum pp_status read_row(struct reader *r, const struct fields *f) {
    int64_t stage;
    struct pp_err why = {0};
    enum pp_status status = pp_parse_int(f->text[0], 0, r->stage_count - 1, &stage, &why);
    if (status != PP_OK) {
        return in_file(r, f, 0, status, &why);
    }
    if (r->line_of[stage] != 0) {
        return place(r, f->column[0],
                     pp_fail(r->err, PP_E_CSV, "stage %lld again; line %d has it already",
                             (long long)stage, r->line_of[stage]));
    }
    r->line_of[stage] = r->line;
    for (int32_t i = 1; i < FIELD_COUNT; i++) {
        status = pp_parse_duration_ns(f->text[i], &r->ns[i][stage], &why);
        if (status == PP_OK && r->ns[i][stage] > PP_COST_MAX_NS) {
            status = pp_fail(&why, PP_E_RANGE, "'%s' is too long for one action", f->text[i]);
        }
        if (status != PP_OK) {
            return in_file(r, f, i, status, &why);
        }
    }
    return PP_OK;
}

static enum pp_status read_all(struct reader *r) {
    PP_TRY(read_heading(r));
    while (r->at < r->end) {
        struct fields f;
        bool blank;
        PP_TRY(next_line(r, &f, &blank));
        if (!blank) {
            PP_TRY(read_row(r, &f));
        }
    }
    for (int32_t stage = 0; stage < r->stage_count; stage++) {
        if (r->line_of[stage] == 0) {
            return place(r, 1,
                         pp_fail(r->err, PP_E_CSV,
                                 "the file ends without stage %d; expected every stage, 0 to %d, "
                                 "once",
                                 stage, r->stage_count - 1));
        }
    }
    return PP_OK;
}

enum pp_status pp_cost_file_read(const char *path, int32_t stage_count, int64_t *f_ns,
                                 int64_t *i_ns, int64_t *w_ns, struct pp_err *err) {
    char *text = NULL;
    size_t size;
    PP_TRY(pp_read_file(path, COST_FILE_MAX_BYTES, &text, &size, err));
    struct reader r = {
        .path = path,
        .at = text,
        .end = text + size,
        .stage_count = stage_count,
        .line_of = calloc((size_t)stage_count, sizeof *r.line_of),
        .ns = {NULL, f_ns, i_ns, w_ns},
        .err = err,
    };
    enum pp_status status = PP_E_NOMEM;
    if (r.line_of == NULL) {
        pp_fail(err, PP_E_NOMEM, "out of memory for %d stages", stage_count);
    } else {
        status = read_all(&r);
    }
    free(r.line_of);
    free(text);
    return status;
}
