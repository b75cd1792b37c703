/* What the tests of sim/ share: schedules by name, tables, a generator of random numbers. */
#ifndef PP_TESTS_SIM_SUPPORT_H
#define PP_TESTS_SIM_SUPPORT_H

#include "sim/eval.h"
#include "sim/generate.h"
#include "sim/schedule_csv.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 24 };

/* Long loops take every such case: all in an optimised build, fewer where sanitizers, or no
 * optimisation, make each several times as slow. Prime, so that it is no step of nested counts. */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
enum { CASE_STEP = 1 };
#else
enum { CASE_STEP = 7 };
#endif

/* splitmix64: the same numbers everywhere. */
static inline uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline int32_t random_below(uint64_t *state, int32_t n) {
    return (int32_t)(next_random(state) % (uint64_t)n);
}

static inline const struct pp_schedule_info *find_schedule(const char *name) {
    const struct pp_schedule_info *info = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_find(name, &info, &err), PP_OK, "%s", err.message);
    return info;
}

static inline struct pp_sched *make_schedule(const char *name, int32_t p, int32_t v, int32_t m) {
    struct pp_gen_config c = {.rank_count = p, .stages_per_rank = v, .microbatch_count = m};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_generate(find_schedule(name), &c, &s, &err), PP_OK, "%s %d %d %d: %s",
                 name, p, v, m, err.message);
    return s;
}

static inline struct pp_sched *parse_csv(const char *text, struct pp_err *err) {
    struct pp_csv_expect any = {0};
    struct pp_sched *s = NULL;
    return pp_sched_csv_parse("x.csv", text, strlen(text), &any, &s, err) == PP_OK ? s : NULL;
}

/* Does the schedule's content id begin with these digits? */
static inline bool has_id(const struct pp_sched *s, const char *digits) {
    char hex[65];
    pp_sched_csv_sha256(s, hex);
    return strlen(digits) == 16 && strncmp(hex, digits, 16) == 0;
}

/* The schedule of a row of torch_custom.tsv. */
static inline struct pp_sched *parse_custom(char *const f[]) {
    struct pp_text csv = {0};
    for (const char *at = f[6]; *at != '\0'; at++) {
        pp_text_add(&csv, *at == '/' ? "\r\n" : at, *at == '/' ? 2 : 1);
    }
    pp_text_puts(&csv, "\r\n");
    struct pp_csv_expect expect = {.rank_count = (int32_t)strtol(f[0], NULL, 10),
                                   .stage_count = (int32_t)strtol(f[1], NULL, 10),
                                   .microbatch_count = (int32_t)strtol(f[2], NULL, 10)};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_csv_parse("custom", csv.bytes, csv.size, &expect, &s, &err), PP_OK, "%s",
                 err.message);
    pp_text_free(&csv);
    return s;
}

/* Cuts a line at tabs. */
static inline int split_fields(char *line, char *fields[MAX_FIELDS]) {
    int n = 0;
    for (char *at = line; at != NULL && n < MAX_FIELDS; n++) {
        fields[n] = at;
        at = strchr(at, '\t');
        if (at != NULL) {
            *at++ = '\0';
        }
    }
    return n;
}

/* Calls `row` for each line of a table that is no comment; returns how many there were. */
typedef void table_row(char *fields[MAX_FIELDS], int count, void *context);
static inline int each_row(const char *path, table_row *row, void *context) {
    char *text = NULL;
    size_t size = 0;
    struct pp_err err = {0};
    cr_assert_eq(pp_read_file(path, 1 << 24, &text, &size, &err), PP_OK, "%s", err.message);
    int n = 0;
    for (char *line = text, *end; *line != '\0'; line = end) {
        end = line + strcspn(line, "\n");
        if (*end != '\0') {
            *end++ = '\0';
        }
        if (*line != '#') {
            char *fields[MAX_FIELDS];
            row(fields, split_fields(line, fields), context);
            n++;
        }
    }
    free(text);
    return n;
}

static inline bool has_shared(const char *path) {
    char *text = NULL;
    size_t size = 0;
    bool there = pp_read_file(path, 1 << 26, &text, &size, NULL) == PP_OK;
    free(text);
    return there;
}

#endif
