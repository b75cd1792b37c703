#include "costmodel/recipe.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* @return the new text (free it), or NULL if refused */
static char *rewrite(const char *text, const struct pp_setting *settings, int32_t count,
                     struct pp_err *err) {
    struct pp_doc *doc = NULL;
    cr_assert_eq(pp_doc_parse("r.yaml", text, strlen(text), &doc, err), PP_OK, "%s", text);
    struct pp_text out = {0};
    enum pp_status status = pp_recipe_rewrite(doc, settings, count, &out, err);
    cr_assert_eq(status == PP_OK, out.size > 0);
    pp_doc_destroy(doc);
    return out.bytes;
}

static void expect(const char *text, const char *key, const char *value, const char *result) {
    struct pp_err err = {0};
    const struct pp_setting setting = {key, value};
    char *got = rewrite(text, &setting, 1, &err);
    cr_assert_not_null(got, "%s: %s", text, err.message);
    cr_assert_str_eq(got, result, "%s=%s in\n%s\ngave\n%s", key, value, text, got);
    free(got);
}

Test(rewrite, scalars_are_replaced_in_place) {
    expect("a:\n  b: 1   # why\n  c: x\n", "a.b", "22", "a:\n  b: 22   # why\n  c: x\n");
    expect("a: 'x'\n", "a", "gpipe", "a: gpipe\n");
    expect("a: \"x\" # c", "a", "1f1b", "a: 1f1b # c");
    expect("a: null # c\n", "a", "up", "a: up # c\n");
    expect("a: ~\n", "a", "true", "a: true\n");
    expect("a:\nb: 1\n", "a", "3", "a: 3\nb: 1\n");
    expect("a:   # c\nb: 1\n", "a", "3", "a: 3   # c\nb: 1\n");
    expect("a: 5", "a", "none", "a: null");
    expect("a: {b: 1, c: [2, 3]}\n", "a.b", "9", "a: {b: 9, c: [2, 3]}\n");
    expect("a: {b: 1, c: [2, 3]}\n", "a.c", "[4]", "a: {b: 1, c: [4]}\n");
    expect("a: [[x]]\n", "a", "None", "a: null\n");
    expect("a: !!str 12\n", "a", "7", "a: !!str 7\n"); /* Automodel reads "7" as 7 */
    expect("a: one\n  two\nb: 1\n", "a", "3", "a: 3\nb: 1\n");
    expect("\xef\xbb\xbf\xc3\xa9: \xc3\xbc\nb: 1\n", "b", "2",
           "\xef\xbb\xbf\xc3\xa9: \xc3\xbc\nb: 2\n");
}

Test(rewrite, missing_keys_are_added_at_their_mappings_end) {
    expect("a:\n    b: 1\n\n# next\nc: 2\n", "a.x", "7",
           "a:\n    b: 1\n    x: 7\n\n# next\nc: 2\n");
    expect("a:\n  b: 1", "a.x", "7", "a:\n  b: 1\n  x: 7\n");
    expect("a: 1\n", "x.y.z", "7", "a: 1\nx:\n  y:\n    z: 7\n");
    expect("a:\n  b:\n  - 1\n  - k: |\n      text\n\nc: 1\n", "a.x", "7",
           "a:\n  b:\n  - 1\n  - k: |\n      text\n\n  x: 7\nc: 1\n");
    expect("a:\n  b: {c: 1} # d\n", "a.x", "7", "a:\n  b: {c: 1} # d\n  x: 7\n");
    expect("a: {b: 1}\n", "a.x", "7", "a: {b: 1, x: 7}\n");
    expect("a: {}\n", "a.x.y", "7", "a: {x: {y: 7}}\n");
    expect("a: { b: 1, }\n", "a.x", "7", "a: { b: 1, x: 7 }\n");
    expect("a: null # c\nb: 1\n", "a.x", "7", "a: # c\n  x: 7\nb: 1\n");
    expect("a:\nb: 1\n", "a.x.y", "7", "a:\n  x:\n    y: 7\nb: 1\n");
    expect("a: none\n", "a.x", "7", "a:\n  x: 7\n");
    expect("a: ~", "a.x", "7", "a:\n  x: 7\n");
    expect("q: {a: ~, b: }\n", "q.b.c", "7", "q: {a: ~, b: {c: 7} }\n");
}

Test(rewrite, line_ends_stay_what_they_are) {
    expect("a:\r\n  b: 1\r\nc: 2\r\n", "a.x.y", "7",
           "a:\r\n  b: 1\r\n  x:\r\n    y: 7\r\nc: 2\r\n");
    expect("a:\r\n  b: 1", "a.b", "7", "a:\r\n  b: 7");
    expect("a: null\r\nb: 1\r\n", "a.x", "7", "a:\r\n  x: 7\r\nb: 1\r\n");
}

Test(rewrite, values_are_quoted_where_yaml_would_misread_them) {
    static const struct {
        const char *value, *text;
    } cases[] = {
        {"yes", "'yes'"},         {"~", "'~'"},       {"null", "'null'"}, {"", "''"},
        {"1e-8", "1e-8"},         {"1:30", "'1:30'"}, {"a: b", "'a: b'"}, {"it's", "'it''s'"},
        {"0x10", "16"},           {"'4'", "'4'"},     {"# x", "'# x'"},   {"a\tb", "\"a\\x09b\""},
        {"/a/b.csv", "/a/b.csv"}, {"-x", "'-x'"},     {"1_0", "10"},      {"010", "'010'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char result[64];
        snprintf(result, sizeof result, "a: %s\n", cases[i].text);
        if (strcmp(cases[i].value, "010") == 0) {
            snprintf(result, sizeof result,
                     "a: '010'\n"); /* 010 is 8 in YAML, a string in Python */
        }
        expect("a: 1\n", "a", cases[i].value, result);
    }
}

Test(rewrite, what_cannot_be_edited_is_refused) {
    static const struct {
        const char *text, *key;
    } cases[] = {
        {"a: &A {b: 1}\nc: *A\n", "c.b"},
        {"a: &A {b: 1}\nc: *A\n", "a.b"},
        {"a: &A 1\nc: *A\n", "a"},
        {"a: |\n  text\n", "a"},
        {"a:\n- 1\n", "a"},
        {"a: 1\n", "a.b"},
        {"a:\n  b: {c: 1}\n", "a.b.c.d"},
        {"a: [1]\n", "a.0"},
        {"a: 1\n", ""},
        {"a: 1\n", "a..b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pp_err err = {0};
        const struct pp_setting setting = {cases[i].key, "7"};
        char *got = rewrite(cases[i].text, &setting, 1, &err);
        cr_assert_null(got, "%s in %s gave %s", cases[i].key, cases[i].text, got);
        cr_assert_eq(err.status, PP_E_VALUE, "%s: %s", cases[i].text, err.message);
    }
}

Test(rewrite, own_keys_win_over_merged_ones) {
    expect("a: &A {b: 1}\nc:\n  <<: *A\n  d: 2\n", "c.b", "7",
           "a: &A {b: 1}\nc:\n  <<: *A\n  d: 2\n  b: 7\n");
}

static const struct pp_setting plan_settings[] = {
    {"distributed.pp_size", "8"},
    {"distributed.pipeline.pp_schedule", "interleaved1f1b"},
    {"distributed.pipeline.pp_microbatch_size", "2"},
    {"distributed.pipeline.layers_per_stage", "none"},
    {"distributed.pipeline.round_virtual_stages_to_pp_multiple", "up"},
    {"step_scheduler.local_batch_size", "64"},
};
enum { PLAN_SETTINGS = sizeof plan_settings / sizeof *plan_settings };

enum { MAX_LINES = 600 };

static int split_lines(const char *text, const char *lines[MAX_LINES], size_t sizes[MAX_LINES]) {
    int n = 0;
    while (*text != '\0' && n < MAX_LINES) {
        lines[n] = text;
        sizes[n] = strcspn(text, "\n");
        text += sizes[n] + (text[sizes[n]] == '\n');
        n++;
    }
    return n;
}

/* Lines of `a` that are not in the longest common subsequence with `b`. */
static int changed_lines(const char *a, const char *b) {
    static const char *x[MAX_LINES], *y[MAX_LINES];
    static size_t nx[MAX_LINES], ny[MAX_LINES];
    static int common[MAX_LINES + 1][MAX_LINES + 1];
    int n = split_lines(a, x, nx);
    int m = split_lines(b, y, ny);
    for (int i = 1; i <= n; i++) {
        for (int k = 1; k <= m; k++) {
            bool same = nx[i - 1] == ny[k - 1] && memcmp(x[i - 1], y[k - 1], nx[i - 1]) == 0;
            int skip = common[i - 1][k] > common[i][k - 1] ? common[i - 1][k] : common[i][k - 1];
            common[i][k] = same ? common[i - 1][k - 1] + 1 : skip;
        }
    }
    return n - common[n][m];
}

Test(rewrite, automodels_recipes_keep_every_other_line) {
    DIR *dir = opendir(PP_SHARED_DIR "/recipes");
    if (dir == NULL) {
        cr_skip_test("../shared is not there");
    }
    int count = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strstr(entry->d_name, ".yaml") == NULL) {
            continue;
        }
        char path[700];
        snprintf(path, sizeof path, PP_SHARED_DIR "/recipes/%s", entry->d_name);
        struct pp_doc *doc = NULL;
        struct pp_err err = {0};
        cr_assert_eq(pp_doc_read(path, &doc, &err), PP_OK, "%s", err.message);
        struct pp_text out = {0};
        cr_assert_eq(pp_recipe_rewrite(doc, plan_settings, PLAN_SETTINGS, &out, &err), PP_OK,
                     "%s: %s", path, err.message);
        cr_assert_leq(changed_lines(pp_doc_text(doc), out.bytes), PLAN_SETTINGS, "%s", path);
        pp_doc_destroy(doc);
        struct pp_recipe *r = NULL;
        cr_assert_eq(pp_doc_parse(path, out.bytes, out.size, &doc, &err), PP_OK);
        cr_assert_eq(pp_recipe_from_doc(doc, &r, &err), PP_OK, "%s: %s", path, err.message);
        cr_assert(r->pp_size == 8 && r->local_batch_size == 64);
        cr_assert(r->pipeline.pp_microbatch_size == 2 && r->pipeline.round == PP_ROUND_UP);
        cr_assert_not(r->pipeline.has_layers_per_stage);
        cr_assert_str_eq(r->pipeline.pp_schedule, "interleaved1f1b");
        pp_recipe_destroy(r);
        pp_text_free(&out);
        count++;
    }
    closedir(dir);
    cr_assert_eq(count, 94);
}

/* Any text is a value that can be written, in block and in flow: never refused, always read back.
 */
Test(rewrite, every_value_can_be_written) {
    static const char alphabet[] = "ab019 .:,-_#&*!|>'\"%@`{}[]()?~=\\\n\t\r\x07\xc3\xa9neoyNul/";
    static const char *const texts[] = {"k: 1\nz: 2\n", "q: {k: 1}\n", "q: {z: [1]}\n",
                                        "z:\n  y: 2"};
    static const char *const keys[] = {"k", "q.k", "q.k", "z.k"};
    uint32_t rng = 11;
    for (int i = 0; i < 3000; i++) {
        char value[16];
        rng = rng * 1664525u + 1013904223u;
        size_t size = (rng >> 8) % (sizeof value - 1);
        for (size_t k = 0; k < size; k++) {
            rng = rng * 1664525u + 1013904223u;
            value[k] = alphabet[(rng >> 8) % (sizeof alphabet - 1)];
            if ((unsigned char)value[k] >= 0x80) { /* whole characters only */
                value[k] = 'x';
            }
        }
        value[size] = '\0';
        const struct pp_setting setting = {keys[i % 4], value};
        struct pp_err err = {0};
        char *got = rewrite(texts[i % 4], &setting, 1, &err);
        cr_assert_not_null(got, "'%s' in %s: %s", value, texts[i % 4], err.message);
        free(got);
    }
}

/* Random layouts: either refused or, as the function itself verifies, right. */
Test(rewrite, mutated_text_breaks_nothing) {
    static const char seed_text[] =
        "# head\nstep_scheduler: {local_batch_size: 4}\ndistributed: &D\n  pp_size: 2 # two\n"
        "  pipeline:\n    pp_schedule: '1f1b'\n    layers_per_stage:\n  x: 12\ny: |\n  t\n"
        "z:\n  <<: *D\n";
    static const char spice[] = "{}[]:,-&*!|>'\"#%\n\t ?<~0aA\\\r";
    uint32_t rng = 3;
    int done = 0;
    for (int i = 0; i < 2000; i++) {
        char text[sizeof seed_text];
        memcpy(text, seed_text, sizeof text);
        for (int k = 0; k <= i % 3; k++) {
            rng = rng * 1664525u + 1013904223u;
            text[(rng >> 8) % (sizeof seed_text - 1)] = spice[(rng >> 3) % (sizeof spice - 1)];
        }
        struct pp_doc *doc = NULL;
        if (pp_doc_parse("t", text, strlen(text), &doc, NULL) != PP_OK) {
            continue;
        }
        struct pp_text out = {0};
        struct pp_err err = {0};
        if (pp_recipe_rewrite(doc, plan_settings, PLAN_SETTINGS, &out, &err) == PP_OK) {
            done++;
        } else {
            cr_assert_neq(err.message[0], '\0');
        }
        pp_text_free(&out);
        pp_doc_destroy(doc);
    }
    cr_assert_gt(done, 100);
}
