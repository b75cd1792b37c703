#include "costmodel/base.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(base, sha256_of_the_standards_examples) {
    char hex[65];
    pp_sha256_hex("", 0, hex);
    cr_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    pp_sha256_hex("abc", 3, hex);
    cr_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    pp_sha256_hex(two, strlen(two), hex);
    cr_assert_str_eq(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    pp_sha256_hex(million, 1000000, hex);
    cr_assert_str_eq(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

Test(base, sha256_in_pieces_equals_sha256_of_the_whole) {
    unsigned char bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(i * 7);
    }
    for (size_t size = 0; size <= sizeof bytes; size++) {
        char whole[65];
        char pieces[65];
        pp_sha256_hex(bytes, size, whole);
        for (size_t step = 1; step < 140; step += 23) {
            struct pp_sha256 h;
            pp_sha256_begin(&h);
            for (size_t at = 0; at < size; at += step) {
                pp_sha256_add(&h, bytes + at, size - at < step ? size - at : step);
            }
            pp_sha256_end(&h, pieces);
            cr_assert_str_eq(pieces, whole, "size %zu in steps of %zu", size, step);
        }
    }
}

Test(base, largest_smallest_and_common_divisor) {
    cr_assert_eq(pp_max_i64(-2, 3), 3);
    cr_assert_eq(pp_min_i64(-2, 3), -2);
    cr_assert_eq(pp_gcd_i64(12, 18), 6);
    cr_assert_eq(pp_gcd_i64(0, 5), 5);
    cr_assert_eq(pp_gcd_i64(5, 0), 5);
    cr_assert_eq(pp_gcd_i64(7, 9), 1);
}

Test(base, division_rounds_halves_up) {
    cr_assert_eq(pp_div_round_i64(5, 2), 3);
    cr_assert_eq(pp_div_round_i64(4, 3), 1);
    cr_assert_eq(pp_div_round_i64(5, 3), 2);
    cr_assert_eq(pp_div_round_i64(INT64_MAX, 1), INT64_MAX);
    cr_assert_eq(pp_div_ceil_i64(0, 3), 0);
    cr_assert_eq(pp_div_ceil_i64(7, 3), 3);
    cr_assert_eq(pp_round_i64(-3.0), 0);
    cr_assert_eq(pp_round_i64(2.5), 3);
    cr_assert_eq(pp_round_i64(1e300), INT64_MAX / 4);
}

Test(base, overflow_is_reported_and_leaves_the_result_alone) {
    int64_t r = 7;
    cr_assert_not(pp_mul_i64(INT64_MAX, 2, &r));
    cr_assert_not(pp_add_i64(INT64_MAX, 1, &r));
    cr_assert_eq(r, 7);
    cr_assert(pp_mul_i64(-3, 4, &r));
    cr_assert_eq(r, -12);
}

Test(base, text_grows_and_stays_terminated) {
    struct pp_text t = {0};
    for (int i = 0; i < 1000; i++) {
        pp_text_printf(&t, "%d,", i);
    }
    cr_assert_eq(t.size, 10 * 2 + 90 * 3 + 900 * 4);
    cr_assert_eq(strlen(t.bytes), t.size);
    pp_text_free(&t);
}

Test(base, reading_a_directory_or_nothing_says_so) {
    struct pp_err err = {0};
    char *text = NULL;
    size_t size = 0;
    cr_assert_eq(pp_read_file("/", 10, &text, &size, &err), PP_E_FILE);
    cr_assert(strstr(err.message, "directory") != NULL);
    cr_assert_eq(pp_read_file("/no/such/file", 10, &text, &size, &err), PP_E_FILE);
    cr_assert_str_eq(err.file, "/no/such/file");
    cr_assert_eq(pp_read_file("/dev/zero", 10, &text, &size, &err), PP_E_FILE);
    cr_assert(strstr(err.message, "larger") != NULL);
    cr_assert_null(text);
}
