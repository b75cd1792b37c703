/**
 * @file packed_table.h
 * Tables of facts for tests, small: which combinations of keys are present (a bitmap) and a SHA-256
 * of their results. Written by tests/tools/pack_table.sh, which tells the format. A test program
 * gives a function that computes the result of one combination; a group whose hash differs names
 * the group, and the full table (where it is present) then names the row.
 */
#ifndef PP_TESTS_PACKED_TABLE_H
#define PP_TESTS_PACKED_TABLE_H

#include "costmodel/base.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PACKED_MAX_AXES = 6, PACKED_MAX_VALUES = 256 };

/** Appends the result of one combination of keys. */
typedef void packed_result(char *const *keys, struct pp_text *out);

struct packed_table {
    char *text;
    int axis_count;
    int value_count[PACKED_MAX_AXES];
    char *values[PACKED_MAX_AXES][PACKED_MAX_VALUES];
    packed_result *result;
    long row_count;
};

static inline int packed_nibble(char c) {
    return c >= 'a' ? c - 'a' + 10 : c - '0';
}

/* Keys of a cell of the group's bitmap, but for the group's own; the last axis turns fastest. */
static inline void packed_keys(struct packed_table *t, long cell, char **keys) {
    for (int axis = t->axis_count - 1; axis > 0; axis--) {
        keys[axis] = t->values[axis][cell % t->value_count[axis]];
        cell /= t->value_count[axis];
    }
}

/* Appends a line for each combination that the group's bitmap has. */
static inline void packed_lines(struct packed_table *t, char **keys, const char *bitmap,
                                struct pp_text *lines) {
    for (long bit = 0; bitmap[bit / 4] != '\0'; bit++) {
        if ((packed_nibble(bitmap[bit / 4]) >> (3 - bit % 4) & 1) == 0) {
            continue;
        }
        packed_keys(t, bit, keys);
        for (int a = 0; a < t->axis_count; a++) {
            pp_text_printf(lines, "%s ", keys[a]);
        }
        t->result(keys, lines);
        pp_text_puts(lines, "\n");
        t->row_count++;
    }
}

static inline void packed_group(struct packed_table *t, char *line) {
    char *save;
    char *keys[PACKED_MAX_AXES] = {strtok_r(line, " ", &save)};
    const char *bitmap = strtok_r(NULL, " ", &save);
    const char *wanted = strtok_r(NULL, " ", &save);
    struct pp_text lines = {0};
    char got[65];
    packed_lines(t, keys, bitmap, &lines);
    pp_sha256_hex(lines.bytes, lines.size, got);
    cr_expect_str_eq(got, wanted, "group %s differs; ours begins with: %.200s", keys[0],
                     lines.bytes);
    pp_text_free(&lines);
}

/** Checks every group of a packed file. @return rows checked */
static inline long packed_check(const char *path, packed_result *result) {
    static struct packed_table t;
    t = (struct packed_table){.result = result};
    size_t size;
    struct pp_err err = {0};
    cr_assert_eq(pp_read_file(path, 1 << 20, &t.text, &size, &err), PP_OK, "%s", err.message);
    char *save;
    for (char *line = strtok_r(t.text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "axis ", 5) == 0) {
            cr_assert_lt(t.axis_count, PACKED_MAX_AXES);
            char *inner;
            for (char *v = strtok_r(line + 5, " ", &inner); v != NULL;
                 v = strtok_r(NULL, " ", &inner)) {
                t.values[t.axis_count][t.value_count[t.axis_count]++] = v;
            }
            t.axis_count++;
        } else {
            packed_group(&t, line + strlen("group "));
        }
    }
    free(t.text);
    return t.row_count;
}

/** Takes the fields of one row of a full table apart into the keys and the result it states.
 *  @return false to pass over the row */
typedef bool table_row(char **fields, int count, char **keys, struct pp_text *wanted);

/** Compares a full table row by row and stops at the first difference. @return rows compared */
static inline long table_check(const char *path, table_row *row, packed_result *result) {
    char *text;
    size_t size;
    if (pp_read_file(path, 64 << 20, &text, &size, NULL) != PP_OK) {
        cr_skip_test("no %s", path);
    }
    long row_count = 0;
    char *end;
    for (char *line = strchr(text, '\n') + 1; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        *end = '\0';
        char *fields[16] = {line};
        int count = 1;
        for (char *tab = strchr(line, '\t'); tab != NULL; tab = strchr(tab + 1, '\t')) {
            *tab = '\0';
            fields[count++] = tab + 1;
        }
        char *keys[PACKED_MAX_AXES] = {0};
        struct pp_text wanted = {0};
        struct pp_text got = {0};
        if (row(fields, count, keys, &wanted)) {
            result(keys, &got);
            pp_text_puts(&got, "");
            cr_assert_str_eq(got.bytes, wanted.bytes, "row %ld (%s %s %s ...)", row_count + 1,
                             keys[0], keys[1], keys[2] != NULL ? keys[2] : "");
            row_count++;
        }
        pp_text_free(&wanted);
        pp_text_free(&got);
    }
    free(text);
    return row_count;
}

#endif
