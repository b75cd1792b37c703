#include "costmodel/utf8.h"

#include "costmodel/base.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct {
    const char *in, *out;
} lines[] = {
    {"", ""},
    {"plain", "plain"},
    {"a\nb\tc\x7f", "a b c "},
    {"\x1b[31mred", " [31mred"},
    {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
    {"\xff\xfe", "??"},
    {"cut \xe2\x82", "cut ??"},
    {"\xc0\xaf", "??"},             /* overlong */
    {"\xed\xa0\x80", "???"},        /* a surrogate */
    {"\xf4\x90\x80\x80", "????"},   /* beyond U+10FFFF */
    {"\xc3\xa9\xc3(", "\xc3\xa9?("} /* a lead byte without its second */
};

Test(utf8, any_bytes_become_one_line_of_text) {
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[32];
        cr_assert(pp_copy(text, sizeof text, lines[i].in));
        pp_utf8_make_line(text);
        cr_assert_str_eq(text, lines[i].out);
        cr_assert(pp_utf8_is_valid(text));
        cr_assert_eq(pp_utf8_is_valid(lines[i].in), strchr(lines[i].out, '?') == NULL);
    }
}

Test(utf8, a_copy_ends_before_a_character_that_does_not_fit) {
    char text[5];
    cr_assert_not(pp_copy(text, sizeof text, "abc\xc3\xa9"));
    cr_assert_str_eq(text, "abc");
    cr_assert_not(pp_copy(text, sizeof text, "\xf0\x9f\x98\x80\xf0\x9f\x98\x80"));
    cr_assert_str_eq(text, "\xf0\x9f\x98\x80");
    cr_assert_not(pp_copy(text, sizeof text, "abcdef"));
    cr_assert_str_eq(text, "abcd");
}

Test(utf8, errors_are_lines_of_text_whatever_they_quote) {
    struct pp_err err = {0};
    pp_fail(&err, PP_E_VALUE, "found '%.4s'", "abc\xc3\xa9");
    pp_hint(&err, "first\nsecond \xff");
    pp_err_place(&err, "dir\xff/file", 1, 2);
    cr_assert_str_eq(err.message, "found 'abc?'");
    cr_assert_str_eq(err.hint, "first second ?");
    cr_assert_str_eq(err.file, "dir?/file");
}
