#include "costmodel/value.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static void expect_int(const char *text, int64_t value) {
    struct pp_value v = pp_value_translate(text);
    cr_assert_eq(v.kind, PP_VALUE_INT, "%s", text);
    cr_assert_eq(v.integer, value, "%s", text);
}

static void expect_float(const char *text, double value) {
    struct pp_value v = pp_value_translate(text);
    cr_assert_eq(v.kind, PP_VALUE_FLOAT, "%s", text);
    cr_assert_eq(v.real, value, "%s", text);
}

static void expect_string(const char *text, const char *value) {
    struct pp_value v = pp_value_translate(text);
    cr_assert_eq(v.kind, PP_VALUE_STRING, "%s is kind %d", text, (int)v.kind);
    cr_assert_eq(v.size, strlen(value), "%s", text);
    cr_assert_eq(memcmp(v.text, value, v.size), 0, "%s", text);
}

Test(value, words_are_what_automodel_makes_of_them) {
    cr_assert_eq(pp_value_translate("none").kind, PP_VALUE_NONE);
    cr_assert_eq(pp_value_translate("None").kind, PP_VALUE_NONE);
    cr_assert(pp_value_translate("true").boolean);
    cr_assert(pp_value_translate("True").boolean);
    cr_assert_eq(pp_value_translate("false").kind, PP_VALUE_BOOL);
    cr_assert_not(pp_value_translate("False").boolean);
    const char *const strings[] = {"null", "~", "TRUE", "yes", "NONE", "1f1b", "interleaved1f1b"};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        expect_string(strings[i], strings[i]);
    }
}

Test(value, numbers_are_pythons) {
    expect_int("4", 4);
    expect_int("-3", -3);
    expect_int("+7", 7);
    expect_int("1_000", 1000);
    expect_int("0x1F", 31);
    expect_int("0o17", 15);
    expect_int("0b1_01", 5);
    expect_int("000", 0);
    expect_int(" 12 ", 12);
    expect_int("9223372036854775807", INT64_MAX);
    expect_float("1e-8", 1e-8);
    expect_float("1.", 1.0);
    expect_float(".5", 0.5);
    expect_float("-2.5E+3", -2500.0);
    expect_float("1e999", INFINITY);
    const char *const strings[] = {"",    "--5", "0x",    "nan", "inf", "1__0", "_1",  "1_",
                                   "007", "1e",  "1.2.3", "e5",  ".",   "-",    "1 2", "1,"};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        expect_string(strings[i], strings[i]);
    }
}

Test(value, integers_beyond_int64_say_so) {
    struct pp_value v = pp_value_translate("1000000000000000000000000000000");
    cr_assert_eq(v.kind, PP_VALUE_INT);
    cr_assert(v.huge);
    cr_assert_eq(v.integer, INT64_MAX);
    cr_assert_float_eq(v.real / 1e30, 1.0, 1e-12);
    v = pp_value_translate("-1000000000000000000000000000000");
    cr_assert(v.huge);
    cr_assert_eq(v.integer, INT64_MIN);
}

Test(value, quotes_and_compounds) {
    expect_string("'4'", "4");
    expect_string("\"down\"", "down");
    expect_string("'open", "'open");
    expect_string("[1f1b]", "[1f1b]");
    expect_string("[1, 2", "[1, 2");
    expect_string("'it\\'s'", "it\\'s");
    cr_assert_eq(pp_value_translate("[]").kind, PP_VALUE_COMPOUND);
    cr_assert_eq(pp_value_translate("[['a', 'b'], [\"c\"]]").kind, PP_VALUE_COMPOUND);
    cr_assert_eq(pp_value_translate("(1, 2,)").kind, PP_VALUE_COMPOUND);
    cr_assert_eq(pp_value_translate("{'a': [1, None], 'b': True}").kind, PP_VALUE_COMPOUND);
    char deep[901];
    memset(deep, '[', 450);
    memset(deep + 450, ']', 450);
    deep[900] = '\0';
    cr_assert_eq(pp_value_translate(deep).kind, PP_VALUE_STRING);
}

typedef enum pp_status parse_quantity(const char *, int64_t *, struct pp_err *);

struct quantity {
    parse_quantity *parse;
    const char *text;
    enum pp_status status;
    int64_t value;
};

Test(value, quantities) {
    static const struct quantity cases[] = {
        {pp_parse_duration_ns, "12", PP_OK, 12000},
        {pp_parse_duration_ns, "0", PP_OK, 0},
        {pp_parse_duration_ns, "-0", PP_OK, 0},
        {pp_parse_duration_ns, "12ns", PP_OK, 12},
        {pp_parse_duration_ns, "1.5ms", PP_OK, 1500000},
        {pp_parse_duration_ns, "0.1us", PP_OK, 100},
        {pp_parse_duration_ns, "0.0005us", PP_OK, 1},
        {pp_parse_duration_ns, "0.000499999999999999999999999us", PP_OK, 0},
        {pp_parse_duration_ns, "4.35s", PP_OK, INT64_C(4350000000)},
        {pp_parse_duration_ns, "9007199254740992ns", PP_OK, INT64_C(1) << 53},
        {pp_parse_duration_ns, "9007199254740993ns", PP_E_RANGE, 0},
        {pp_parse_duration_ns, "9007199.254740993s", PP_E_RANGE, 0},
        {pp_parse_duration_ns, "99999999999999999999999999s", PP_E_RANGE, 0},
        {pp_parse_duration_ns, "-5", PP_E_RANGE, 0},
        {pp_parse_duration_ns, "--5", PP_E_USAGE, 0},
        {pp_parse_duration_ns, "", PP_E_USAGE, 0},
        {pp_parse_duration_ns, ".", PP_E_USAGE, 0},
        {pp_parse_duration_ns, "ms", PP_E_USAGE, 0},
        {pp_parse_duration_ns, "nan", PP_E_USAGE, 0},
        {pp_parse_duration_ns, "0x", PP_E_USAGE, 0},
        {pp_parse_duration_ns, "1e999", PP_E_USAGE, 0},
        {pp_parse_duration_ns, "1.2.3ms", PP_E_USAGE, 0},
        {pp_parse_duration_ns, "5 ms", PP_E_USAGE, 0},
        {pp_parse_duration_ns, "5MS", PP_E_USAGE, 0},
        {pp_parse_bytes, "80GiB", PP_OK, INT64_C(80) << 30},
        {pp_parse_bytes, "1.5KiB", PP_OK, 1536},
        {pp_parse_bytes, "17", PP_OK, 17},
        {pp_parse_bytes, "2TB", PP_OK, INT64_C(2000000000000)},
        {pp_parse_bytes, "8192TiB", PP_OK, INT64_C(1) << 53},
        {pp_parse_bytes, "8193TiB", PP_E_RANGE, 0},
        {pp_parse_bytes, "-1B", PP_E_RANGE, 0},
        {pp_parse_bytes, "1gb", PP_E_USAGE, 0},
        {pp_parse_bandwidth, "900GB/s", PP_OK, INT64_C(900000000000)},
        {pp_parse_bandwidth, "400Gb/s", PP_OK, INT64_C(50000000000)},
        {pp_parse_bandwidth, "1.5TiB/s", PP_OK, INT64_C(3) << 39},
        {pp_parse_bandwidth, "12b/s", PP_OK, 2},
        {pp_parse_bandwidth, "900", PP_E_USAGE, 0},
        {pp_parse_bandwidth, "99999999TB/s", PP_E_RANGE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct quantity *c = &cases[i];
        int64_t value = 0;
        struct pp_err err = {0};
        cr_assert_eq(c->parse(c->text, &value, &err), c->status, "%s: %s", c->text, err.message);
        cr_assert_eq(value, c->value, "%s gave %lld", c->text, (long long)value);
        cr_assert_eq(err.message[0] != '\0', c->status != PP_OK, "%s", c->text);
    }
}

Test(value, whole_numbers) {
    int64_t value = 77;
    cr_assert_eq(pp_parse_int("12", 1, 100, &value, NULL), PP_OK);
    cr_assert_eq(value, 12);
    cr_assert_eq(pp_parse_int("-12", -100, 100, &value, NULL), PP_OK);
    cr_assert_eq(value, -12);
    const char *const no_numbers[] = {"", "-", "1.0", "0x10", "1e3", "12a", " 1", "nan", "--5"};
    for (size_t i = 0; i < sizeof no_numbers / sizeof *no_numbers; i++) {
        cr_assert_eq(pp_parse_int(no_numbers[i], 0, 9, &value, NULL), PP_E_USAGE, "%s",
                     no_numbers[i]);
    }
    cr_assert_eq(pp_parse_int("0", 1, 9, &value, NULL), PP_E_RANGE);
    cr_assert_eq(pp_parse_int("99999999999999999999999", 1, INT64_MAX, &value, NULL), PP_E_RANGE);
    cr_assert_eq(pp_parse_int("-99999999999999999999999", INT64_MIN, 1, &value, NULL), PP_E_RANGE);
    cr_assert_eq(value, -12);
}

Test(value, ratios_are_exact_and_reduced) {
    int64_t num = 0;
    int64_t den = 0;
    cr_assert_eq(pp_parse_ratio("1.50", &num, &den, NULL), PP_OK);
    cr_assert(num == 3 && den == 2);
    cr_assert_eq(pp_parse_ratio("34/66", &num, &den, NULL), PP_OK);
    cr_assert(num == 17 && den == 33);
    cr_assert_eq(pp_parse_ratio("0", &num, &den, NULL), PP_OK);
    cr_assert(num == 0 && den == 1);
    cr_assert_eq(pp_parse_ratio("1000000000/999999999", &num, &den, NULL), PP_OK);
    const char *const usage[] = {"", "/", "1/", "/2", "1/2/3", "1.5/2", "1/2.5", "a", "1e3", "nan"};
    for (size_t i = 0; i < sizeof usage / sizeof *usage; i++) {
        cr_assert_eq(pp_parse_ratio(usage[i], &num, &den, NULL), PP_E_USAGE, "%s", usage[i]);
    }
    const char *const range[] = {"-1",
                                 "1/0",
                                 "1/-2",
                                 "1000000001",
                                 "0.3333333333333333333333",
                                 "0.1234567890123",
                                 "99999999999999999999/3",
                                 "9999999999.123456789"};
    for (size_t i = 0; i < sizeof range / sizeof *range; i++) {
        cr_assert_eq(pp_parse_ratio(range[i], &num, &den, NULL), PP_E_RANGE, "%s", range[i]);
    }
}

/* Every short text over a hostile alphabet: nothing may crash, and what parses is within bounds. */
Test(value, no_text_breaks_the_parsers) {
    static const char alphabet[] = "0159.-+_/eExobinftusGBKMgs[](){}'\",: \\\t";
    uint32_t seed = 12345;
    for (int i = 0; i < 20000; i++) {
        char text[24];
        seed = seed * 1664525u + 1013904223u;
        size_t size = seed >> 8 & 15;
        for (size_t k = 0; k < size; k++) {
            seed = seed * 1664525u + 1013904223u;
            text[k] = alphabet[(seed >> 8) % (sizeof alphabet - 1)];
        }
        text[size] = '\0';
        struct pp_value v = pp_value_translate(text);
        cr_assert(v.kind != PP_VALUE_STRING || v.size <= size);
        int64_t a = 0;
        int64_t b = 1;
        pp_parse_duration_ns(text, &a, NULL);
        cr_assert(a >= 0 && a <= INT64_C(1) << 53);
        pp_parse_bytes(text, &a, NULL);
        pp_parse_bandwidth(text, &a, NULL);
        cr_assert(a >= 0 && a <= INT64_C(1) << 53);
        if (pp_parse_ratio(text, &a, &b, NULL) == PP_OK) {
            cr_assert(a >= 0 && a <= 1000000000 && b >= 1 && b <= 1000000000, "%s", text);
        }
        pp_parse_int(text, 0, 9, &a, NULL);
    }
}
