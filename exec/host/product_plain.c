/* Matrix products without a library: blocks of the operands are packed so that the innermost loop
 * runs along memory, and four rows share every load of b. */
#include "exec/host/product.h"

#include <stdio.h>
#include <string.h>

enum { ROWS = 64, COLUMNS = 128, INNER = 64, TOGETHER = 4 };

/* to[i][j] = from(row + i, column + j), `stride` apart; rows up to `high` beyond those there are
 * become zero. */
static void pack(float *to, int64_t stride, const struct pp_matrix *from, int64_t row,
                 int64_t column, int64_t rows, int64_t columns, int64_t high) {
    for (int64_t i = 0; i < high; i++) {
        float *line = to + i * stride;
        if (i >= rows) {
            memset(line, 0, (size_t)columns * sizeof line[0]);
        } else if (!from->transposed) {
            memcpy(line, from->at + (row + i) * from->stride + column,
                   (size_t)columns * sizeof line[0]);
        } else {
            for (int64_t j = 0; j < columns; j++) {
                line[j] = from->at[(column + j) * from->stride + row + i];
            }
        }
    }
}

/* Four rows of c += those of a times b. */
static void four_rows(float *restrict c, const float *restrict a, const float *restrict b,
                      int64_t inner) {
    for (int64_t k = 0; k < inner; k++) {
        const float *line = b + k * COLUMNS;
        float a0 = a[k];
        float a1 = a[INNER + k];
        float a2 = a[2 * INNER + k];
        float a3 = a[3 * INNER + k];
        for (int64_t j = 0; j < COLUMNS; j++) {
            c[j] += a0 * line[j];
            c[COLUMNS + j] += a1 * line[j];
            c[2 * COLUMNS + j] += a2 * line[j];
            c[3 * COLUMNS + j] += a3 * line[j];
        }
    }
}

struct blocks {
    float a[ROWS * INNER], b[INNER * COLUMNS], c[TOGETHER * COLUMNS];
};

static void block(struct blocks *w, float *c, int64_t c_stride, int64_t rows, int64_t columns,
                  int64_t inner, float factor) {
    for (int64_t i = 0; i < rows; i += TOGETHER) {
        memset(w->c, 0, sizeof w->c);
        four_rows(w->c, w->a + i * INNER, w->b, inner);
        for (int64_t r = i; r < pp_min_i64(i + TOGETHER, rows); r++) {
            for (int64_t j = 0; j < columns; j++) {
                c[r * c_stride + j] += factor * w->c[(r - i) * COLUMNS + j];
            }
        }
    }
}

void pp_product(float *c, int64_t c_stride, struct pp_matrix a, struct pp_matrix b, int64_t rows,
                int64_t columns, int64_t inner, float factor, bool accumulate) {
    struct blocks w;
    memset(w.b, 0, sizeof w.b); /* columns beyond those there are stay finite */
    for (int64_t i = 0; i < rows && !accumulate; i++) {
        memset(c + i * c_stride, 0, (size_t)columns * sizeof c[0]);
    }
    for (int64_t j = 0; j < columns; j += COLUMNS) {
        int64_t wide = pp_min_i64(COLUMNS, columns - j);
        for (int64_t k = 0; k < inner; k += INNER) {
            int64_t deep = pp_min_i64(INNER, inner - k);
            pack(w.b, COLUMNS, &b, k, j, deep, wide, deep);
            for (int64_t i = 0; i < rows; i += ROWS) {
                int64_t high = pp_min_i64(ROWS, rows - i);
                pack(w.a, INNER, &a, i, k, high, deep, (high + TOGETHER - 1) / TOGETHER * TOGETHER);
                block(&w, c + i * c_stride + j, c_stride, high, wide, deep, factor);
            }
        }
    }
}

void pp_product_describe(char *text, size_t size) {
    snprintf(text, size, "built in (slow)");
}

void pp_product_set_threads(int32_t count) {
    (void)count; /* it has one */
}
