#include "costmodel/doc.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct pp_doc *parse(const char *text) {
    struct pp_doc *doc = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_doc_parse("t.yaml", text, strlen(text), &doc, &err), PP_OK, "%s: %d:%d %s",
                 text, err.line, err.column, err.message);
    return doc;
}

struct refusal {
    const char *text;
    int32_t line, column;
    const char *part; /* of the message */
};

static void expect_refusal(const struct refusal *r, size_t size) {
    struct pp_doc *doc = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_doc_parse("t.yaml", r->text, size, &doc, &err), PP_E_SYNTAX, "%s", r->text);
    cr_assert_null(doc);
    cr_assert_str_eq(err.file, "t.yaml");
    cr_assert(err.line == r->line && err.column == r->column, "%s: %d:%d %s", r->text, err.line,
              err.column, err.message);
    cr_assert(strstr(err.message, r->part) != NULL, "%s: %s", r->text, err.message);
}

static enum pp_node_kind kind_at(const struct pp_doc *doc, const char *dotted) {
    struct pp_node *node = pp_doc_find(doc, dotted);
    cr_assert_not_null(node, "%s", dotted);
    return pp_node_kind(node);
}

Test(doc, plain_scalars_are_typed_as_pyyaml_types_them) {
    static const struct {
        const char *text;
        enum pp_node_kind kind;
        double number;
    } cases[] = {
        {"", PP_NODE_NULL, 0},
        {"~", PP_NODE_NULL, 0},
        {"null", PP_NODE_NULL, 0},
        {"NULL", PP_NODE_NULL, 0},
        {"none", PP_NODE_STRING, 0},
        {"None", PP_NODE_STRING, 0},
        {"yes", PP_NODE_BOOL, 1},
        {"On", PP_NODE_BOOL, 1},
        {"off", PP_NODE_BOOL, 0},
        {"FALSE", PP_NODE_BOOL, 0},
        {"y", PP_NODE_STRING, 0},
        {"tRue", PP_NODE_STRING, 0},
        {"12", PP_NODE_INT, 12},
        {"-12", PP_NODE_INT, -12},
        {"+1_000", PP_NODE_INT, 1000},
        {"010", PP_NODE_INT, 8},
        {"08", PP_NODE_STRING, 0},
        {"0x1F", PP_NODE_INT, 31},
        {"0o17", PP_NODE_STRING, 15},
        {"0b101", PP_NODE_INT, 5},
        {"1:30", PP_NODE_INT, 90},
        {"1:60", PP_NODE_STRING, 0},
        {"1.5", PP_NODE_FLOAT, 1.5},
        {"1.", PP_NODE_FLOAT, 1},
        {".5", PP_NODE_FLOAT, .5},
        {"1.0e-8", PP_NODE_FLOAT, 1e-8},
        {"1e-8", PP_NODE_STRING, 1e-8},
        {"1.5e3", PP_NODE_STRING, 1500},
        {".inf", PP_NODE_FLOAT, INFINITY},
        {"-.Inf", PP_NODE_FLOAT, -INFINITY},
        {"1f1b", PP_NODE_STRING, 0},
        {"2.13.0", PP_NODE_STRING, 0},
        {"'12'", PP_NODE_STRING, 0},
        {"\"true\"", PP_NODE_STRING, 0},
        {"!!str 12", PP_NODE_STRING, 0},
        {"|-\n  12", PP_NODE_STRING, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        snprintf(text, sizeof text, "k: %s\n", cases[i].text);
        struct pp_doc *doc = parse(text);
        cr_assert_eq(kind_at(doc, "k"), cases[i].kind, "%s", text);
        double number = 0;
        bool boolean = false;
        if (pp_node_get_bool(pp_doc_find(doc, "k"), &boolean)) {
            number = boolean;
        } else {
            pp_node_get_float(pp_doc_find(doc, "k"), &number);
        }
        cr_assert_eq(number, cases[i].number, "%s gave %g", text, number);
        pp_doc_destroy(doc);
    }
}

Test(doc, integers_beyond_int64_are_integers_without_value) {
    struct pp_doc *doc = parse("k: 1000000000000000000000000000000\n");
    int64_t value = 5;
    cr_assert_eq(kind_at(doc, "k"), PP_NODE_INT);
    cr_assert_not(pp_node_get_int(pp_doc_find(doc, "k"), &value));
    cr_assert_eq(value, 5);
    pp_doc_destroy(doc);
}

Test(doc, places_are_where_the_text_is) {
    const char *text =
        "\xef\xbb\xbf# c\r\na: 1\r\nb: \"x y\"\r\nc: {d: [7, 'q']}\r\n\xc3\xa9: z\r\ne:\r\n";
    struct pp_doc *doc = parse(text);
    static const struct {
        const char *key;
        int32_t line, column;
        const char *text;
    } cases[] = {{"a", 2, 4, "1"},          {"b", 3, 4, "\"x y\""},  {"c", 4, 4, "{d: [7, 'q']}"},
                 {"c.d", 4, 8, "[7, 'q']"}, {"\xc3\xa9", 5, 4, "z"}, {"e", 6, 3, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pp_place p = pp_node_place(pp_doc_find(doc, cases[i].key));
        cr_assert(p.line == cases[i].line && p.column == cases[i].column, "%s at %d:%d",
                  cases[i].key, p.line, p.column);
        cr_assert_eq(p.end - p.begin, strlen(cases[i].text), "%s", cases[i].key);
        cr_assert_eq(strncmp(text + p.begin, cases[i].text, p.end - p.begin), 0);
    }
    struct pp_err err = {0};
    pp_node_fail(&err, doc, pp_doc_find(doc, "c.d"), PP_E_TYPE, "no %s", "good");
    cr_assert(err.line == 4 && err.column == 8 && strcmp(err.file, "t.yaml") == 0);
    cr_assert_str_eq(err.message, "no good");
    pp_doc_destroy(doc);
}

Test(doc, aliases_and_merge_keys_are_resolved) {
    struct pp_doc *doc = parse("a: &A {x: 1, y: 2}\n"
                               "b: *A\n"
                               "c:\n  y: 3\n  <<: *A\n  z: 4\n"
                               "d: {<<: [{x: 9}, *A]}\n");
    int64_t v = 0;
    cr_assert(pp_node_get_int(pp_doc_find(doc, "b.y"), &v) && v == 2);
    cr_assert(pp_node_get_int(pp_doc_find(doc, "c.y"), &v) && v == 3);
    cr_assert(pp_node_get_int(pp_doc_find(doc, "c.x"), &v) && v == 1);
    cr_assert(pp_node_get_int(pp_doc_find(doc, "d.x"), &v) && v == 9);
    cr_assert(pp_node_get_int(pp_doc_find(doc, "d.y"), &v) && v == 2);
    cr_assert_eq(pp_node_count(pp_doc_find(doc, "c")), 3);
    /* a change behind an alias is nobody else's */
    cr_assert_eq(pp_doc_set(doc, "b.y", "7", NULL), PP_OK);
    cr_assert_eq(pp_doc_set(doc, "c.x", "8", NULL), PP_OK);
    cr_assert(pp_node_get_int(pp_doc_find(doc, "b.y"), &v) && v == 7);
    cr_assert(pp_node_get_int(pp_doc_find(doc, "a.y"), &v) && v == 2);
    cr_assert(pp_node_get_int(pp_doc_find(doc, "a.x"), &v) && v == 1);
    /* nor is a change of the anchored value itself */
    cr_assert_eq(pp_doc_set(doc, "a.x", "5", NULL), PP_OK);
    cr_assert(pp_node_get_int(pp_doc_find(doc, "a.x"), &v) && v == 5);
    cr_assert(pp_node_get_int(pp_doc_find(doc, "b.x"), &v) && v == 1);
    pp_doc_destroy(doc);
}

Test(doc, json_goes_through_the_same_calls) {
    struct pp_doc *doc =
        parse("{\n\t\"a\": [1, 2.5, true, null, \"x\\u00e9\\/\"],\n\t\"b\": {\"c\": 1e-06}\n}\n");
    cr_assert_eq(pp_node_count(pp_doc_find(doc, "a")), 5);
    cr_assert_str_eq(pp_node_text(pp_node_item(pp_doc_find(doc, "a"), 4)), "x\xc3\xa9/");
    double real = 0;
    cr_assert(pp_node_get_float(pp_doc_find(doc, "b.c"), &real));
    cr_assert_eq(real, 1e-6);
    cr_assert_null(pp_doc_find(doc, "a.0"));
    cr_assert_null(pp_doc_find(doc, "b.c.d"));
    pp_doc_destroy(doc);
}

static void expect_text(const char *yaml, const char *text) {
    struct pp_doc *doc = parse(yaml);
    const struct pp_node *node = pp_doc_find(doc, "k");
    cr_assert_eq(pp_node_kind(node), PP_NODE_STRING);
    cr_assert_str_eq(pp_node_text(node), text, "%s gave '%s'", yaml, pp_node_text(node));
    pp_doc_destroy(doc);
}

Test(doc, strings_of_several_lines_and_escapes) {
    expect_text("k: \"a\\n\\\n   b \\\n   \\ c\"\n", "a\nb  c");
    expect_text("k: \"a \n  b\n\n\n  \\tc\"\n", "a b\n\n\tc");
    expect_text("k: \"a\\t \r\n  b\"\r\n", "a\t b");
    expect_text("k: \"\\x41\\u00e9\\U0001F600\\ud83d\\ude00\\/\\\\\\\"\\e\"\n",
                "A\xc3\xa9\xf0\x9f\x98\x80\xf0\x9f\x98\x80/\\\"\x1b");
    expect_text("k: 'it''s\n\n  two'\n", "it's\ntwo");
    expect_text("k: ''''':'\n", "'':");
    expect_text("k: ''''\n", "'");
    expect_text("k: >-\n  a\n  b\n\n  c\n", "a b\nc");
    expect_text("k: |\n  a\n   b\n", "a\n b\n");
    /* long and full of escapes: libfyaml 0.7.12 loses characters of such a scalar */
    char yaml[9000] = "k: \"";
    char text[9000] = "";
    for (int i = 0; i < 300; i++) {
        strcat(yaml, "line\\n\\\n    \\  {{x}}\\n\\\n    ");
        strcat(text, "line\n  {{x}}\n");
    }
    strcat(yaml, "\"\n");
    expect_text(yaml, text);
}

Test(doc, what_is_not_well_formed_is_refused_with_its_place) {
    static const struct refusal cases[] = {
        {"", 1, 1, "empty"},
        {"# only a comment\n", 1, 1, "empty"},
        {"a: 1\n---\nb: 2\n", 2, 1, "second document"},
        {"a: [1, 2\n", 2, 1, "without a closing bracket"},
        {"a: 1\n  b: 2\n", 1, 4, "multiline"},
        {"a: 1\nb: 2\na: 3\n", 3, 1, "twice"},
        {"{\"a\": 1, \"a\": 2}", 1, 10, "twice"},
        {"a: *x\n", 1, 5, "not defined"},
        {"a: &x [*x]\n", 1, 9, "inside its own"},
        {"a: !python/object:os.system x\n", 1, 29, "tag"},
        {"[a, b]: c\n", 1, 1, "not a scalar"},
        {"a:\n  <<: 3\n", 2, 3, "merge key"},
        {"a: \"x\\0y\"\n", 1, 4, "NUL"},
        {"\xff\xfe", 1, 1, "not text"},
        {"a: b\nc: \xc3(\n", 2, 4, "not text"},
        {"a: \xe0\x80\x80\n", 1, 4, "not text"},
        {"a: \xed\xa0\x80\n", 1, 4, "not text"},
        {"a: \xf0\x9f\x98", 1, 4, "not text"},
        {"a:\n\tb: 1\n", 2, 1, "tab"},
        {"\x7f"
         "ELF",
         1, 1, "not text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_refusal(&cases[i], strlen(cases[i].text));
    }
    expect_refusal(&(struct refusal){"a: 1\nb\0c", 2, 2, "not text"}, 8);
}

Test(doc, depth_and_expansion_are_bounded) {
    char deep[201];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    expect_refusal(&(struct refusal){deep, 1, 65, "deep"}, 200);
    char bomb[2000] = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 9; i++) {
        char line[120];
        snprintf(line, sizeof line,
                 "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i,
                 i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
        strcat(bomb, line);
    }
    struct pp_doc *doc = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_doc_parse("t", bomb, strlen(bomb), &doc, &err), PP_E_SYNTAX);
    cr_assert(strstr(err.message, "too many") != NULL, "%s", err.message);
    char *wide = malloc(560001);
    for (int i = 0; i < 280000; i++) {
        memcpy(wide + 2 * i, i == 0 ? "[a" : ",a", 2);
    }
    wide[560000] = '\0';
    cr_assert_eq(pp_doc_parse("t", wide, 560000, &doc, &err), PP_E_SYNTAX);
    cr_assert(strstr(err.message, "too many") != NULL, "%s", err.message);
    free(wide);
}

Test(doc, files_that_cannot_be_read_say_why) {
    struct pp_doc *doc = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_doc_read("/no/such/recipe.yaml", &doc, &err), PP_E_FILE);
    cr_assert_str_eq(err.file, "/no/such/recipe.yaml");
    cr_assert_eq(pp_doc_read("/", &doc, &err), PP_E_FILE);
    cr_assert_eq(pp_doc_read("/dev/null", &doc, &err), PP_E_SYNTAX);
    cr_assert(strstr(err.message, "empty") != NULL);
}

Test(doc, settings_create_what_is_missing) {
    struct pp_doc *doc = parse("a: {b: 1}\nn:\n");
    static const struct {
        const char *key, *value;
        enum pp_node_kind kind;
    } cases[] = {
        {"a.b", "2", PP_NODE_INT},
        {"x.y.z", "1f1b", PP_NODE_STRING},
        {"n.m", "true", PP_NODE_BOOL},
        {"a.c", "none", PP_NODE_NULL},
        {"a.d", "1e-8", PP_NODE_FLOAT},
        {"a.e", "[['p', 'q'], [\"r\"]]", PP_NODE_SEQUENCE},
        {"a.f", "{'g': 3}", PP_NODE_MAPPING},
        {"a.h", "'4'", PP_NODE_STRING},
        {"x.y.w", "-5", PP_NODE_INT},
        {"a.i", "", PP_NODE_STRING},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pp_err err = {0};
        cr_assert_eq(pp_doc_set(doc, cases[i].key, cases[i].value, &err), PP_OK, "%s", err.message);
        cr_assert_eq(kind_at(doc, cases[i].key), cases[i].kind, "%s", cases[i].key);
        cr_assert_eq(pp_node_place(pp_doc_find(doc, cases[i].key)).line, 0);
    }
    cr_assert_str_eq(pp_node_text(pp_doc_find(doc, "a.h")), "4");
    cr_assert_eq(pp_node_count(pp_node_item(pp_doc_find(doc, "a.e"), 0)), 2);
    struct pp_err err = {0};
    pp_node_fail(&err, doc, pp_doc_find(doc, "x.y.w"), PP_E_RANGE, "is negative");
    cr_assert_str_eq(err.message, "--set x.y.w=-5: is negative");
    cr_assert_eq(err.line, 0);
    pp_doc_destroy(doc);
}

Test(doc, settings_that_cannot_be_applied_are_refused) {
    struct pp_doc *doc = parse("a: {b: 1, s: [1]}\n");
    static const char *const keys[] = {"", ".", "a.", ".a", "a..b", "a.b.c", "a.s.0"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct pp_err err = {0};
        cr_assert_eq(pp_doc_set(doc, keys[i], "1", &err), PP_E_VALUE, "%s", keys[i]);
        cr_assert_neq(err.message[0], '\0');
    }
    cr_assert_eq(pp_doc_set(doc, "a.x", "[1, (2, 3)]", NULL), PP_OK);
    cr_assert_eq(pp_doc_set(doc, "a.x", "{'k': 1, 'k': 2}", NULL), PP_E_VALUE);
    pp_doc_destroy(doc);
}

/* Reads every node and its place, so that the sanitizers see them. */
static size_t walk(const struct pp_node *node, size_t size) {
    struct pp_place place = pp_node_place(node);
    cr_assert(place.begin <= place.end && place.end <= size);
    size_t sum = pp_node_text(node) != NULL ? strlen(pp_node_text(node)) : 0;
    for (int32_t i = 0; i < pp_node_count(node); i++) {
        const char *key = "";
        const struct pp_node *child = pp_node_kind(node) == PP_NODE_MAPPING
                                          ? pp_node_pair(node, i, &key)
                                          : pp_node_item(node, i);
        sum += strlen(key) + walk(child, size);
    }
    return sum;
}

Test(doc, mutated_text_breaks_nothing) {
    static const char seed_text[] =
        "# head\nmodel:\n  _target_: a.b.c\n  config: {n: 2, l: [1, 'x', \"y\\n\"]}\n"
        "d: &A\n  pp_size: 4\n  pipeline:\n    pp_schedule: 1f1b\n    csv: null\n"
        "e:\n  <<: *A\n  f: |-\n    text\n    more\n  g: >\n    folded\n"
        "h:\n- 1\n- k: 1e-8\n  l: ~\n- *A\nz: !!str 5\n";
    static const char spice[] = "{}[]:,-&*!|>'\"#%@`\n\t ?<~0aA\\\xc3\xa9\x01";
    uint32_t rng = 7;
    for (int i = 0; i < 4000; i++) {
        char text[sizeof seed_text];
        size_t size = sizeof seed_text - 1;
        memcpy(text, seed_text, sizeof text);
        for (int k = 0; k <= i % 4; k++) {
            rng = rng * 1664525u + 1013904223u;
            text[(rng >> 8) % size] = spice[(rng >> 3) % (sizeof spice - 1)];
        }
        rng = rng * 1664525u + 1013904223u;
        if (rng >> 30 == 0) {
            size = (rng >> 8) % size;
        }
        struct pp_doc *doc = NULL;
        struct pp_err err = {0};
        if (pp_doc_parse("t", text, size, &doc, &err) == PP_OK) {
            walk(pp_doc_root(doc), size);
            pp_doc_set(doc, "d.pipeline.pp_schedule", "gpipe", NULL);
            pp_doc_set(doc, "e.pipeline.x", "1", NULL);
            walk(pp_doc_root(doc), size);
            pp_doc_destroy(doc);
        } else {
            cr_assert_neq(err.message[0], '\0');
        }
    }
}
