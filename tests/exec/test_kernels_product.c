/* The product for machines without OpenBLAS, and OpenBLAS's, against plain sums. */
#define pp_product plain_product
#define pp_product_describe plain_describe
#define pp_product_set_threads plain_set_threads
#include "exec/host/product_plain.c"
#undef pp_product
#undef pp_product_describe
#undef pp_product_set_threads

#include <criterion/criterion.h>
#include <math.h>

enum { MOST = 150, SIDE = MOST + 3 };

/* As product.h declares it; the header itself was used up above. */
void pp_product(float *c, int64_t c_stride, struct pp_matrix a, struct pp_matrix b, int64_t rows,
                int64_t columns, int64_t inner, float factor, bool accumulate);

struct operands {
    float a[SIDE * SIDE], b[SIDE * SIDE], c[SIDE * SIDE];
};

static float element(const struct pp_matrix *m, int64_t i, int64_t j) {
    return m->transposed ? m->at[j * m->stride + i] : m->at[i * m->stride + j];
}

static int64_t size_of(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    int64_t most = (*state >> 33) % 4 == 0 ? MOST : 20;
    return 1 + (int64_t)((*state >> 40) % (uint64_t)most);
}

static void draw(float *x, uint64_t *state) {
    for (int i = 0; i < SIDE * SIDE; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)((int32_t)(*state >> 32) % 1000) / 1000;
    }
}

typedef void product_of(float *, int64_t, struct pp_matrix, struct pp_matrix, int64_t, int64_t,
                        int64_t, float, bool);

static void expect_product(product_of *product, bool accumulate, uint64_t *state) {
    static struct operands x;
    int64_t rows = size_of(state);
    int64_t columns = size_of(state);
    int64_t inner = size_of(state);
    struct pp_matrix a = {x.a, SIDE, (*state >> 50) % 2 == 0};
    struct pp_matrix b = {x.b, SIDE, (*state >> 51) % 2 == 0};
    draw(x.a, state);
    draw(x.b, state);
    draw(x.c, state);
    float before[SIDE * SIDE];
    memcpy(before, x.c, sizeof before);
    product(x.c, SIDE, a, b, rows, columns, inner, 0.75F, accumulate);
    double off = 0;
    double norm = 0;
    for (int64_t i = 0; i < SIDE; i++) {
        for (int64_t j = 0; j < SIDE; j++) {
            double sum = accumulate ? (double)before[i * SIDE + j] : 0;
            for (int64_t k = 0; k < inner && i < rows && j < columns; k++) {
                sum += 0.75 * (double)element(&a, i, k) * (double)element(&b, k, j);
            }
            if (i >= rows || j >= columns) { /* beyond: as it was */
                cr_assert_eq(x.c[i * SIDE + j], before[i * SIDE + j]);
            } else {
                double d = (double)x.c[i * SIDE + j] - sum;
                off += d * d;
                norm += sum * sum;
            }
        }
    }
    cr_expect(sqrt(off) <= 1e-6 * sqrt(norm), "%lld x %lld x %lld: off by %g", (long long)rows,
              (long long)inner, (long long)columns, sqrt(off / norm));
}

Test(kernels_product, without_a_library) {
    uint64_t state = 1;
    for (int i = 0; i < 60; i++) {
        expect_product(plain_product, i % 2 == 0, &state);
    }
}

Test(kernels_product, as_built) {
    uint64_t state = 2;
    for (int i = 0; i < 60; i++) {
        expect_product(pp_product, i % 2 == 0, &state);
    }
}

/* NaN in what is overwritten must not live on. */
Test(kernels_product, what_is_overwritten_does_not_matter) {
    const float one[4] = {1, 2, 3, 4};
    float c[4] = {NAN, NAN, NAN, NAN};
    float d[4] = {NAN, NAN, NAN, NAN};
    struct pp_matrix m = {one, 2, false};
    plain_product(c, 2, m, m, 2, 2, 2, 1, false);
    pp_product(d, 2, m, m, 2, 2, 2, 1, false);
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(c[i], d[i]);
    }
    cr_expect_eq(c[3], 22);
    pp_product(d, 2, m, m, 0, 2, 2, 1, false); /* nothing to do */
    plain_product(d, 2, m, m, 2, 0, 2, 1, false);
    cr_expect_eq(d[3], 22);
}

Test(kernels_product, the_plain_one_says_so) {
    char text[32];
    plain_describe(text, sizeof text);
    cr_expect_str_eq(text, "built in (slow)");
    plain_set_threads(4);
}
