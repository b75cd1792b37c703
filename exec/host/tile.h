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

#ifdef __AVX512F__
enum { PP_TILE_ROWS = 8 }; /* times two vectors: sixteen of 32 registers */
#else
enum { PP_TILE_ROWS = 4 }; /* eight of sixteen */
#endif

/* c[rows][columns] = a b, or += it. a's element (i, k) is a[i * a_row + k * a_inner]. */
struct pp_tiles {
    float *c;
    const float *a, *b;
    int64_t c_stride, a_row, a_inner, b_stride;
    int64_t rows, columns, inner;
    bool accumulate;
};

/* `rows` and `vectors` are constants where this is called, so that sums become registers. Not
 * `whole`: the last vector has what is left of the columns. */
__attribute__((always_inline)) static inline void
pp_tile(const struct pp_tiles *p, int64_t row, int64_t column, int rows, int vectors, bool whole) {
    pp_vector sum[PP_TILE_ROWS][2];
    int64_t left = p->columns - column - (vectors - 1) * PP_LANES;
    int64_t last = whole ? PP_LANES : left;
    float *c = p->c + row * p->c_stride + column;
    const float *a = p->a + row * p->a_row;
    const float *b = p->b + column;
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < vectors; j++) {
            sum[i][j] = (pp_vector){0};
        }
    }
    for (int64_t k = 0; k < p->inner; k++) {
        pp_vector of_b[2];
        of_b[0] = vectors == 1 ? pp_get(b, last) : pp_get(b, PP_LANES);
        of_b[1] = vectors == 1 ? of_b[0] : pp_get(b + PP_LANES, last);
        for (int i = 0; i < rows; i++) {
            pp_vector of_a = pp_all(a[i * p->a_row]);
            for (int j = 0; j < vectors; j++) {
                sum[i][j] = pp_fma(of_a, of_b[j], sum[i][j]);
            }
        }
        a += p->a_inner;
        b += p->b_stride;
    }
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < vectors; j++) {
            float *to = c + i * p->c_stride + j * PP_LANES;
            int64_t count = j + 1 < vectors ? PP_LANES : last;
            pp_put(to, p->accumulate ? pp_get(to, count) + sum[i][j] : sum[i][j], count);
        }
    }
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
