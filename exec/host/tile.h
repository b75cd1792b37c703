/**
 * @file tile.h
 * Inside the host device only: matrix products small enough that a library's own ways of arranging
 * memory would cost more than the product: those of attention's blocks. Tiles of c stay in
 * registers; b is read along its rows, a element by element in either direction.
 */
#ifndef PP_EXEC_HOST_TILE_H
#define PP_EXEC_HOST_TILE_H

#include "exec/host/simd.h"

#include <stdbool.h>

/* Each row of a tile has two sums, named lest a compiler (clang 14) keep them in memory. */
#ifdef __AVX512F__
enum { PP_TILE_ROWS = 8 }; /* sixteen sums in 32 registers */
#define PP_EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#else
enum { PP_TILE_ROWS = 4 }; /* eight in sixteen */
#define PP_EACH_ROW(X) X(0) X(1) X(2) X(3)
#endif

/* c[rows][columns] = a b, or += it. a's element (i, k) is a[i * a_row + k * a_inner]. */
struct pp_tiles {
    float *c;
    const float *a, *b;
    int64_t c_stride, a_row, a_inner, b_stride;
    int64_t rows, columns, inner;
    bool accumulate;
};

static inline void pp_add_or_put(float *to, pp_vector x, int64_t left, bool add) {
    pp_put(to, add ? pp_get(to, left) + x : x, left);
}

/* `rows` (PP_TILE_ROWS or 1), `vectors` (1 or 2) and `whole` are constants where this is called.
 * Not `whole`: the last vector has what is left of the columns. */
__attribute__((always_inline)) static inline void
pp_tile(const struct pp_tiles *p, int64_t row, int64_t column, int rows, int vectors, bool whole) {
    const int64_t left = p->columns - column - (vectors - 1) * PP_LANES;
    const int64_t last = whole ? PP_LANES : left;
    const int64_t first = vectors == 1 ? last : PP_LANES;
    const float *a = p->a + row * p->a_row;
    const float *b = p->b + column;
    float *c = p->c + row * p->c_stride + column;
#define PP_BEGIN(i) pp_vector low##i = {0}, high##i = {0};
    PP_EACH_ROW(PP_BEGIN)
#undef PP_BEGIN
    for (int64_t k = 0; k < p->inner; k++) {
        pp_vector low = pp_get(b, first);
        pp_vector high = vectors == 1 ? low : pp_get(b + PP_LANES, last);
#define PP_MULTIPLY(i)                                                                             \
    if (i < rows) {                                                                                \
        pp_vector x = pp_all(a[i * p->a_row]);                                                     \
        low##i = pp_fma(x, low, low##i);                                                           \
        high##i = vectors == 1 ? high##i : pp_fma(x, high, high##i);                               \
    }
        PP_EACH_ROW(PP_MULTIPLY)
#undef PP_MULTIPLY
        a += p->a_inner;
        b += p->b_stride;
    }
#define PP_END(i)                                                                                  \
    if (i < rows) {                                                                                \
        pp_add_or_put(c + i * p->c_stride, low##i, first, p->accumulate);                          \
        if (vectors == 2) {                                                                        \
            pp_add_or_put(c + i * p->c_stride + PP_LANES, high##i, last, p->accumulate);           \
        }                                                                                          \
    }
    PP_EACH_ROW(PP_END)
#undef PP_END
}

/* All rows of some columns. */
__attribute__((always_inline)) static inline void
pp_tile_rows(const struct pp_tiles *p, int64_t column, int vectors, bool whole) {
    int64_t row = 0;
    for (; row + PP_TILE_ROWS <= p->rows; row += PP_TILE_ROWS) {
        pp_tile(p, row, column, PP_TILE_ROWS, vectors, whole);
    }
    for (; row < p->rows; row++) {
        pp_tile(p, row, column, 1, vectors, whole);
    }
}

static inline void pp_tiles(const struct pp_tiles *p) {
    for (int64_t column = 0; column < p->columns; column += 2 * PP_LANES) {
        int64_t left = p->columns - column;
        if (left >= 2 * PP_LANES) {
            pp_tile_rows(p, column, 2, true);
        } else if (left > PP_LANES) {
            pp_tile_rows(p, column, 2, false);
        } else if (left == PP_LANES) {
            pp_tile_rows(p, column, 1, true);
        } else {
            pp_tile_rows(p, column, 1, false);
        }
    }
}

#endif
