/* What the host's kernels are built of (exec/host/simd.h, tile.h), at the level that tests are
 * compiled for. */
#include "exec/host/tile.h"

#include <criterion/criterion.h>

static float exp_of(float x) {
    float y = 0;
    pp_put(&y, pp_exp(pp_all(x)), 1);
    return y;
}

Test(kernels_simd, exponentials_are_right_to_two_units_of_the_last_place) {
    double worst = 0;
    for (int64_t i = -870000; i <= 880000; i++) {
        float x = (float)i * 1e-4F;
        if (x >= -87.0F && x <= 88.0F) {
            worst = fmax(worst, fabs((double)exp_of(x) / exp((double)x) - 1));
        }
    }
    cr_expect_leq(worst, 2e-7);
    cr_expect_eq(exp_of(0), 1.0F);
}

Test(kernels_simd, exponentials_at_the_ends) {
    static const float nothing[] = {-87.001F, -100, -1000, -1e10F, -3e38F, -INFINITY};
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        cr_expect_eq(exp_of(nothing[i]), 0.0F, "e^%g", (double)nothing[i]);
    }
    cr_expect(isnan(exp_of(NAN)));
    cr_expect_float_eq(exp_of(1e-30F), 1, 0);
}

/* Rows of every length: sums, greatest, and nothing written behind. */
Test(kernels_simd, rows_of_any_length) {
    enum { MOST = 70 };
    for (int64_t count = 1; count <= MOST; count++) {
        float x[MOST + 1];
        float y[MOST + 1];
        double dot = 0;
        float greatest = -1e9F;
        for (int64_t i = 0; i <= MOST; i++) {
            x[i] = (float)((i * 37 + count * 11) % 101 - 120) / 16;
            y[i] = (float)(i % 5);
        }
        for (int64_t i = 0; i < count; i++) {
            dot += (double)x[i] * (double)y[i];
            greatest = x[i] > greatest ? x[i] : greatest;
        }
        cr_expect_float_eq(pp_dot(x, y, count), dot, 1e-3);
        cr_expect_eq(pp_row_greatest(x, count), greatest, "of %d", (int)count);
        double sum = 0;
        float behind = x[count];
        for (int64_t i = 0; i < count; i++) {
            sum += exp((double)x[i] - (double)greatest);
        }
        double got = pp_row_exp(x, greatest, count); /* the macro names its arguments twice */
        cr_expect_float_eq(got, sum, 1e-5 * sum);
        cr_expect_eq(x[count], behind);
        behind = y[count];
        pp_add_scaled(y, x, 2, count);
        cr_expect_eq(y[count], behind);
    }
}

/* A long row of small terms: lanes that added up in float alone would lose 1e-5 of it. */
Test(kernels_simd, sums_of_long_rows_keep_their_digits) {
    enum { COUNT = 200000 };
    static float x[COUNT];
    double sum = 0;
    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)(i % 97) * -0.01F;
        sum += exp((double)x[i]);
    }
    double got = pp_row_exp(x, 0, COUNT);
    cr_expect_float_eq(got, sum, 1e-6 * sum);
}

enum { SIDE = 40 };

static void expect_tiles(int64_t rows, int64_t columns, int64_t inner, bool turned,
                         bool accumulate) {
    float a[SIDE * SIDE];
    float b[SIDE * SIDE];
    float c[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++) {
        a[i] = (float)(i * 31 % 17 - 8); /* integers: sums are exact */
        b[i] = (float)(i * 13 % 23 - 11);
        c[i] = (float)(i % 7);
    }
    struct pp_tiles p = {.c = c,
                         .a = a,
                         .b = b,
                         .c_stride = SIDE,
                         .a_row = turned ? 1 : SIDE,
                         .a_inner = turned ? SIDE : 1,
                         .b_stride = SIDE,
                         .rows = rows,
                         .columns = columns,
                         .inner = inner,
                         .accumulate = accumulate};
    pp_tiles(&p);
    for (int64_t i = 0; i < SIDE; i++) {
        for (int64_t j = 0; j < SIDE; j++) {
            bool inside = i < rows && j < columns;
            float sum = inside && !accumulate ? 0 : (float)((i * SIDE + j) % 7);
            for (int64_t k = 0; k < inner && inside; k++) {
                sum += a[turned ? k * SIDE + i : i * SIDE + k] * b[k * SIDE + j];
            }
            cr_assert_eq(c[i * SIDE + j], sum);
        }
    }
}

Test(kernels_simd, tiles_of_any_size) {
    for (int64_t rows = 1; rows < 20; rows += 3) {
        for (int64_t columns = 1; columns <= SIDE; columns++) {
            expect_tiles(rows, columns, 1 + columns % 9, columns % 2 == 0, columns % 3 == 0);
        }
    }
    expect_tiles(5, 5, 0, false, false); /* an empty sum is 0 */
}
