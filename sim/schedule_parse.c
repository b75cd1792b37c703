/* Reading PyTorch's schedule CSV, compute-only or lowered. The text is walked twice: a survey finds
 * the counts and where each stage lives, then the actions are added; nothing is kept in between. */
#include "sim/schedule_csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the file may be read against and where messages point. */
struct reader {
    const char *name;
    const char *at, *end;
    const struct pp_csv_expect *expect;
    int32_t row, column;          /* 0-based cell under the cursor */
    struct pp_findings *findings; /* NULL: the first failure ends the reading */
    bool is_second;               /* walk: what fails was noted in the first */
    const char *field;            /* text of the cell under the cursor */
    size_t field_size;
    struct pp_err *err;
};

/* One cell: `count` 0 is idle, 2 a pair, BAD_CELL none of these. */
enum { BAD_CELL = -1 };
struct cell {
    int32_t count;
    struct pp_action part[2];
};

/* What the survey learns. */
struct survey {
    int32_t row_count, stage_count, microbatch_count;
    int32_t stage_capacity;
    int32_t *stage_rank; /* [stage_capacity]; -1 for a stage not seen */
    int32_t *blamed_row; /* [stage_capacity] last row in which it was out of place; -1 */
};

enum { SHOWN = 40 };

/* Reports at the cursor. `text` is shown with unprintable bytes as \xNN, cut where it is long. */
static enum pp_status fail_at(const struct reader *r, const char *text, size_t size,
                              const char *why) {
    char shown[SHOWN * 4 + 4];
    size_t n = 0;
    for (size_t i = 0; i < size && i < SHOWN; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 32 && c < 127) {
            shown[n++] = (char)c;
        } else {
            n += (size_t)snprintf(shown + n, 5, "\\x%02x", c);
        }
    }
    snprintf(shown + n, 4, "%s", size > SHOWN ? "..." : "");
    enum pp_status status = pp_fail(r->err, PP_E_CSV, "row %d, column %d: '%s' %s", r->row + 1,
                                    r->column + 1, shown, why);
    pp_err_place(r->err, r->name, r->row + 1, r->column + 1);
    return status;
}

/* Notes a failure of the cell under the cursor, to go on behind it, or gives it back. */
static enum pp_status tolerate(const struct reader *r, enum pp_status status) {
    if (status == PP_OK || r->findings == NULL) {
        return status;
    }
    if (r->is_second && (status == PP_E_CSV || status == PP_E_PLACEMENT)) {
        return PP_OK;
    }
    char text[PP_ACTION_TEXT_BYTES];
    snprintf(text, sizeof text, "%.*s", (int)(r->field_size < SHOWN ? r->field_size : SHOWN),
             r->field);
    return pp_findings_take(r->findings, status, r->err, text);
}

static const char action_form[] = "write stage, type, microbatch, such as 2F0 (F forward, B full "
                                  "backward, I and W its halves); cells are separated by commas";

/* Reads digits from *at_p. @return -1 where there are none, `limit` where the number is larger */
static int32_t read_number(const char **at_p, const char *end, int32_t limit) {
    const char *at = *at_p;
    int64_t n = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        n = n * 10 + (*at - '0');
        n = n < limit ? n : limit;
    }
    bool any = at > *at_p;
    *at_p = at;
    return any ? (int32_t)n : -1;
}

/* Reads an action's type; no name begins with another. @return PP_ACTION_TYPE_COUNT if none fits */
static enum pp_action_type read_type(const char **at_p, const char *end) {
    for (enum pp_action_type type = PP_F; type < PP_ACTION_TYPE_COUNT; type++) {
        const char *text = pp_action_type_text(type);
        size_t size = strlen(text);
        if (size <= (size_t)(end - *at_p) && memcmp(*at_p, text, size) == 0) {
            *at_p += size;
            return type;
        }
    }
    return PP_ACTION_TYPE_COUNT;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static void strip(const char **text_p, size_t *size_p) {
    while (*size_p > 0 && is_blank((*text_p)[0])) {
        (*text_p)++;
        (*size_p)--;
    }
    while (*size_p > 0 && is_blank((*text_p)[*size_p - 1])) {
        (*size_p)--;
    }
}

static enum pp_status check_indices(const struct reader *r, const struct pp_action *a,
                                    const char *text, size_t size) {
    int32_t stage_limit = r->expect->stage_count > 0 ? r->expect->stage_count : PP_SCHED_MAX_STAGES;
    int32_t microbatch_limit =
        r->expect->microbatch_count > 0 ? r->expect->microbatch_count : PP_SCHED_MAX_MICROBATCHES;
    char why[96];
    if (a->stage >= stage_limit) {
        snprintf(why, sizeof why, "has a stage out of range, need 0 to %d", stage_limit - 1);
        return fail_at(r, text, size, why);
    }
    if (a->microbatch >= microbatch_limit) {
        snprintf(why, sizeof why, "has a microbatch out of range, need 0 to %d",
                 microbatch_limit - 1);
        return fail_at(r, text, size, why);
    }
    return PP_OK;
}

/* "2F0", all of it. */
static enum pp_status read_action(const struct reader *r, const char *text, size_t size,
                                  struct pp_action *a) {
    const char *at = text;
    const char *end = text + size;
    int32_t stage = read_number(&at, end, PP_SCHED_MAX_STAGES);
    enum pp_action_type type = stage < 0 ? PP_ACTION_TYPE_COUNT : read_type(&at, end);
    if (type == PP_ACTION_TYPE_COUNT) {
        fail_at(r, text, size, "is not an action");
        pp_hint(r->err, "%s", action_form);
        return PP_E_CSV;
    }
    if (type > PP_B && !r->expect->is_lowered) {
        fail_at(r, text, size, "is a communication action, which a compute-only schedule lacks");
        pp_hint(r->err, "give the compute-only file, before PyTorch lowers it; only F, I, W, B "
                        "and OVERLAP_F_B cells are read");
        return PP_E_CSV;
    }
    int32_t microbatch = read_number(&at, end, PP_SCHED_MAX_MICROBATCHES);
    if (microbatch < 0 && pp_action_has_microbatch(type)) {
        return fail_at(r, text, size, "has no microbatch number");
    }
    if (microbatch >= 0 && (type == PP_UNSHARD || type == PP_RESHARD)) {
        return fail_at(r, text, size, "has a microbatch number, but is about the whole stage");
    }
    if (at != end) {
        fail_at(r, text, size,
                microbatch >= 0 ? "has something after the microbatch number"
                                : "has something after the action's name");
        pp_hint(r->err, "%s", action_form);
        return PP_E_CSV;
    }
    *a = (struct pp_action){.stage = stage, .microbatch = microbatch, .type = (uint8_t)type};
    return check_indices(r, a, text, size);
}

/* "(0F3;3B1)OVERLAP_F_B", the text between the parentheses being `size` bytes at `text`. */
static enum pp_status read_parts(const struct reader *r, const char *text, size_t size,
                                 struct cell *cell) {
    const char *semicolon = memchr(text, ';', size);
    if (semicolon == NULL ||
        memchr(semicolon + 1, ';', (size_t)(text + size - semicolon - 1)) != NULL) {
        return fail_at(r, text, size, "is not a pair, need two actions and one ';' between them");
    }
    const char *part[2] = {text, semicolon + 1};
    size_t part_size[2] = {(size_t)(semicolon - text), (size_t)(text + size - semicolon - 1)};
    for (int i = 0; i < 2; i++) {
        strip(&part[i], &part_size[i]);
        PP_TRY(read_action(r, part[i], part_size[i], &cell->part[i]));
    }
    if ((cell->part[0].type == PP_F) == (cell->part[1].type == PP_F) || cell->part[0].type > PP_B ||
        cell->part[1].type > PP_B) {
        return fail_at(r, text, size, "needs one forward and one backward in a pair");
    }
    cell->count = 2;
    return PP_OK;
}

static enum pp_status read_cell(const struct reader *r, const char *text, size_t size,
                                struct cell *cell) {
    static const char pair_type[] = "OVERLAP_F_B";
    strip(&text, &size);
    cell->count = 0;
    if (size == 0) {
        return PP_OK;
    }
    if (text[0] != '(') {
        cell->count = 1;
        return read_action(r, text, size, &cell->part[0]);
    }
    const char *close = memchr(text, ')', size);
    if (close == NULL || (size_t)(text + size - close - 1) != strlen(pair_type) ||
        memcmp(close + 1, pair_type, strlen(pair_type)) != 0) {
        fail_at(r, text, size, "is not a pair");
        pp_hint(r->err, "write a pair as (0F3;3B1)OVERLAP_F_B");
        return PP_E_CSV;
    }
    return read_parts(r, text + 1, (size_t)(close - text - 1), cell);
}

/* Finds the text of the cell under the cursor and moves behind it, to a comma or a line's end. */
static enum pp_status next_field(struct reader *r, const char **text_p, size_t *size_p) {
    bool quoted = r->at < r->end && *r->at == '"';
    const char *begin = r->at + quoted;
    const char *at = begin;
    while (at < r->end && *at != '\n' && *at != '\r' && *at != '\0' && *at != '"' &&
           (quoted || *at != ',')) {
        at++;
    }
    *text_p = begin;
    *size_p = (size_t)(at - begin);
    r->at = at;
    if (at < r->end && *at == '\0') {
        return fail_at(r, begin, *size_p + 1, "holds a zero byte; this is not a text file");
    }
    bool at_quote = at < r->end && *at == '"';
    if (quoted != at_quote) {
        return fail_at(r, begin, *size_p, quoted ? "lacks its closing quote" : "holds a quote");
    }
    r->at += quoted;
    if (r->at < r->end && *r->at != ',' && *r->at != '\n' && *r->at != '\r') {
        return fail_at(r, begin, *size_p, "goes on after its closing quote");
    }
    return PP_OK;
}

/* Moves to the end of a cell that could not be read. */
static void skip_field(struct reader *r) {
    while (r->at < r->end && *r->at != ',' && *r->at != '\n' && *r->at != '\r') {
        r->at++;
    }
}

/* Reads the next cell. *row_ends_p: it was the last of its row, and the cursor is behind it. */
static enum pp_status next_cell(struct reader *r, struct cell *cell, bool *row_ends_p) {
    enum pp_status status = next_field(r, &r->field, &r->field_size);
    if (status == PP_OK) {
        status = read_cell(r, r->field, r->field_size, cell);
    }
    if (status != PP_OK) {
        PP_TRY(tolerate(r, status));
        cell->count = BAD_CELL;
        skip_field(r);
    }
    *row_ends_p = r->at == r->end || *r->at != ',';
    if (r->at == r->end) {
        return PP_OK;
    }
    if (*r->at == '\r') {
        r->at++;
        if (r->at < r->end && *r->at != '\n') {
            return tolerate(r, fail_at(r, r->field, r->field_size,
                                       "ends in a carriage return without a line feed"));
        }
    }
    r->at += r->at < r->end; /* the comma or the line feed */
    return PP_OK;
}

/* Calls `take` for each cell in the file's order. */
static enum pp_status each_cell(struct reader *r,
                                enum pp_status (*take)(struct reader *r, const struct cell *cell,
                                                       void *context),
                                void *context) {
    for (r->row = 0; r->at < r->end; r->row++) {
        bool row_ends = false;
        for (r->column = 0; !row_ends; r->column++) {
            struct cell cell;
            PP_TRY(next_cell(r, &cell, &row_ends));
            PP_TRY(tolerate(r, take(r, &cell, context)));
        }
    }
    return PP_OK;
}

static enum pp_status reserve_stage(struct survey *v, int32_t stage, struct pp_err *err) {
    if (stage < v->stage_capacity) {
        return PP_OK;
    }
    int32_t capacity = stage < 64 ? 64 : stage + 1 + stage / 2;
    int32_t *stage_rank = realloc(v->stage_rank, (size_t)capacity * sizeof *stage_rank);
    v->stage_rank = stage_rank != NULL ? stage_rank : v->stage_rank;
    int32_t *blamed_row = realloc(v->blamed_row, (size_t)capacity * sizeof *blamed_row);
    v->blamed_row = blamed_row != NULL ? blamed_row : v->blamed_row;
    if (stage_rank == NULL || blamed_row == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d stages", capacity);
    }
    for (int32_t i = v->stage_capacity; i < capacity; i++) {
        stage_rank[i] = -1;
        blamed_row[i] = -1;
    }
    v->stage_capacity = capacity;
    return PP_OK;
}

/* Checks that an action stands in its stage's row: the expected one, or else the first in which
 * the stage appeared. */
static enum pp_status check_place(const struct reader *r, const struct survey *v,
                                  const struct pp_action *a) {
    const int32_t *expected = r->expect->stage_rank;
    int32_t rank = expected != NULL ? expected[a->stage] : v->stage_rank[a->stage];
    if (rank < 0 || rank == r->row) {
        return PP_OK;
    }
    char text[PP_ACTION_TEXT_BYTES];
    char why[96];
    pp_action_text(a, text);
    if (expected == NULL) {
        snprintf(why, sizeof why, "is on rank %d, but stage %d began on rank %d", r->row, a->stage,
                 rank);
        return fail_at(r, text, strlen(text), why);
    }
    snprintf(why, sizeof why, "stands on rank %d, but stage %d belongs to rank %d (row %d)", r->row,
             a->stage, rank, rank + 1);
    fail_at(r, text, strlen(text), why);
    pp_hint(r->err, "rows are in the order of the ranks; either rows are swapped or the file was "
                    "made for another placement");
    return PP_E_CSV;
}

static enum pp_status survey_action(struct reader *r, struct survey *v, const struct pp_action *a) {
    PP_TRY(reserve_stage(v, a->stage, r->err));
    enum pp_status status = check_place(r, v, a);
    if (status != PP_OK) {
        if (r->findings != NULL) { /* once for a stage and row says it; the expected row counts */
            bool is_known = v->blamed_row[a->stage] == r->row;
            v->blamed_row[a->stage] = r->row;
            r->findings->is_partial = true;
            status = is_known ? PP_OK : tolerate(r, status);
        }
        PP_TRY(status);
    }
    if (v->stage_rank[a->stage] < 0) {
        v->stage_rank[a->stage] =
            r->expect->stage_rank != NULL ? r->expect->stage_rank[a->stage] : r->row;
    }
    if (a->stage >= v->stage_count) {
        v->stage_count = a->stage + 1;
    }
    if (a->microbatch >= v->microbatch_count) {
        v->microbatch_count = a->microbatch + 1;
    }
    return PP_OK;
}

static enum pp_status survey_cell(struct reader *r, const struct cell *cell, void *context) {
    struct survey *v = context;
    int32_t most = r->expect->rank_count > 0 ? r->expect->rank_count : PP_SCHED_MAX_RANKS;
    if (r->row > most || (r->row == most && r->column > 0)) {
        return PP_OK; /* told already */
    }
    if (r->row == most) {
        enum pp_status status =
            pp_fail(r->err, PP_E_CSV, "row %d is one too many, need %s%d ranks (a row each)",
                    r->row + 1, r->expect->rank_count > 0 ? "" : "at most ", most);
        pp_hint(r->err, "a blank line counts as a rank");
        pp_err_place(r->err, r->name, r->row + 1, 1);
        return status;
    }
    v->row_count = r->row + 1;
    if (cell->count == 0 && r->expect->is_lowered) {
        fail_at(r, "", 0, "is an idle cell, which a lowered schedule lacks");
        pp_hint(r->err, "rows end with their last action, without commas behind it");
        return PP_E_CSV;
    }
    for (int32_t i = 0; i < cell->count; i++) {
        PP_TRY(survey_action(r, v, &cell->part[i]));
    }
    return PP_OK;
}

/* Adds the place to a failure of the whole file or of a row. */
static enum pp_status placed(const struct reader *r, enum pp_status status, int32_t row) {
    pp_err_place(r->err, r->name, row, 0);
    return status;
}

/* Every stage up to the last must appear, and every row must hold one. */
static enum pp_status check_stages(const struct reader *r, const struct survey *v) {
    bool holds[PP_SCHED_MAX_RANKS] = {false};
    for (int32_t stage = 0; stage < v->stage_count; stage++) {
        if (v->stage_rank[stage] < 0) {
            return placed(r,
                          pp_fail(r->err, PP_E_CSV,
                                  "stage %d never appears, but stage %d does; stages count from 0 "
                                  "without gaps",
                                  stage, v->stage_count - 1),
                          0);
        }
        holds[v->stage_rank[stage]] = true;
    }
    for (int32_t row = 0; row < v->row_count; row++) {
        if (!holds[row]) {
            return placed(r,
                          pp_fail(r->err, PP_E_CSV,
                                  "row %d has no action; every row is a rank and holds at least "
                                  "one stage",
                                  row + 1),
                          row + 1);
        }
    }
    return PP_OK;
}

/* Checks that the file's counts are whole and as expected; takes over the expected microbatches. */
static enum pp_status check_survey(const struct reader *r, struct survey *v) {
    const struct pp_csv_expect *x = r->expect;
    if (x->rank_count > 0 && v->row_count != x->rank_count) {
        return placed(r,
                      pp_fail(r->err, PP_E_CSV,
                              "the file has %d row%s, need one for each of %d ranks", v->row_count,
                              v->row_count == 1 ? "" : "s", x->rank_count),
                      v->row_count);
    }
    if (v->stage_count == 0) {
        return placed(r, pp_fail(r->err, PP_E_CSV, "the file holds no action"), 1);
    }
    if (x->stage_count > 0 && v->stage_count != x->stage_count) {
        return placed(r,
                      pp_fail(r->err, PP_E_CSV,
                              "stage %d never appears: the file has stages 0 to %d, need %d stages",
                              v->stage_count, v->stage_count - 1, x->stage_count),
                      0);
    }
    if (x->microbatch_count > 0) {
        v->microbatch_count = x->microbatch_count;
    }
    return check_stages(r, v);
}

static enum pp_status add_actions(const struct reader *r, const struct cell *cell,
                                  struct pp_sched *s) {
    const struct pp_action *a = &cell->part[0];
    const struct pp_action *b = &cell->part[1];
    switch (cell->count) {
    case BAD_CELL:
        return PP_OK;
    case 0: /* of a lowered file: noted */
        return s->lowered ? PP_OK : pp_sched_add_idle(s, r->row, 1, r->err);
    case 1:
        return pp_sched_add(s, r->row, a->type, a->stage, a->microbatch, r->err);
    }
    return pp_sched_add_pair(s, r->row, a->type, a->stage, a->microbatch, b->type, b->stage,
                             b->microbatch, r->err);
}

static enum pp_status add_cell(struct reader *r, const struct cell *cell, void *context) {
    struct pp_sched *s = context;
    if (r->row >= s->rank_count) {
        return PP_OK;
    }
    int32_t before = s->cell_count[r->row];
    enum pp_status status = add_actions(r, cell, s);
    if (r->findings != NULL && s->cell_count[r->row] == before && before < PP_SCHED_MAX_ACTIONS) {
        s->cell_count[r->row]++; /* what was left out keeps its column */
    }
    return status;
}

/* Makes the empty schedule that the survey and the expectations describe. */
static enum pp_status begin(const struct reader *r, const struct survey *v,
                            struct pp_sched **sched_p) {
    const struct pp_csv_expect *x = r->expect;
    PP_TRY(pp_sched_create(v->row_count, v->stage_count, v->microbatch_count, v->stage_rank,
                           sched_p, r->err));
    if (x->is_bidirectional) {
        PP_TRY(pp_sched_set_bidirectional(*sched_p, r->err));
    }
    if (x->slice_count > 0) {
        PP_TRY(pp_sched_set_slices(*sched_p, x->slice_count, r->err));
    }
    if (x->is_lowered) {
        pp_sched_set_lowered(*sched_p);
    }
    return PP_OK;
}

static enum pp_status build(struct reader *r, const char *text, const struct survey *v,
                            struct pp_sched **sched_p) {
    struct pp_sched *s = NULL;
    enum pp_status status = begin(r, v, &s);
    if (status == PP_OK) {
        r->at = text;
        r->is_second = true;
        status = each_cell(r, add_cell, s);
        if (status != PP_OK) { /* only limits are left to hit: the survey saw every cell */
            pp_err_place(r->err, r->name, r->row + 1, r->column + 1);
        }
    }
    bool is_whole = status == PP_OK && (r->findings == NULL || r->findings->count == 0);
    if (status == PP_OK) {
        status = pp_sched_seal_all(s, r->findings, r->err);
    }
    if (status != PP_OK && r->err != NULL) {
        pp_err_place(r->err, r->name, r->err->line, r->err->column);
    }
    if (status == PP_OK || (r->findings != NULL && is_whole)) {
        *sched_p = s;
    } else {
        pp_sched_destroy(s);
    }
    return status;
}

static enum pp_status check_beginning(const struct reader *r, size_t size) {
    if (size >= 3 && memcmp(r->at, "\xef\xbb\xbf", 3) == 0) {
        fail_at(r, r->at, 3, "is a byte order mark, need plain text");
        pp_hint(r->err, "save the file as UTF-8 without a byte order mark");
        return PP_E_CSV;
    }
    return PP_OK;
}

/* What stands in the way of the counts, noted like all else; there is no going on behind it. */
static enum pp_status give_up(const struct reader *r, enum pp_status status) {
    if (r->findings != NULL) {
        pp_findings_take(r->findings, status, r->err, "");
    }
    return status;
}

enum pp_status pp_sched_csv_parse_all(const char *name, const char *text, size_t size,
                                      const struct pp_csv_expect *expect,
                                      struct pp_findings *findings, struct pp_sched **sched_p,
                                      struct pp_err *err) {
    struct reader r = {.name = name,
                       .at = text,
                       .end = text + size,
                       .expect = expect,
                       .findings = findings,
                       .err = err};
    struct survey v = {0};
    PP_ASSERT(expect->stage_rank == NULL || expect->stage_count > 0);
    PP_ASSERT(findings == NULL || err != NULL);
    PP_TRY(give_up(&r, check_beginning(&r, size)));
    enum pp_status status = each_cell(&r, survey_cell, &v);
    if (status == PP_OK) {
        status = give_up(&r, check_survey(&r, &v));
    }
    if (status == PP_OK) {
        status = build(&r, text, &v, sched_p);
    }
    free(v.stage_rank);
    free(v.blamed_row);
    return status;
}

enum pp_status pp_sched_csv_parse(const char *name, const char *text, size_t size,
                                  const struct pp_csv_expect *expect, struct pp_sched **sched_p,
                                  struct pp_err *err) {
    return pp_sched_csv_parse_all(name, text, size, expect, NULL, sched_p, err);
}

enum pp_status pp_sched_csv_read(const char *path, const struct pp_csv_expect *expect,
                                 struct pp_sched **sched_p, struct pp_err *err) {
    char *text = NULL;
    size_t size = 0;
    PP_TRY(pp_read_file(path, expect->is_lowered ? PP_CSV_MAX_LOWERED_BYTES : PP_CSV_MAX_BYTES,
                        &text, &size, err));
    enum pp_status status = pp_sched_csv_parse(path, text, size, expect, sched_p, err);
    free(text);
    return status;
}
