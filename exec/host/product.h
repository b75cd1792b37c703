/**
 * @file product.h
 * Inside the host device only: the matrix product it stands on, by OpenBLAS or by our own.
 */
#ifndef PP_EXEC_HOST_PRODUCT_H
#define PP_EXEC_HOST_PRODUCT_H

#include "costmodel/base.h"

/** A row-major matrix inside a larger one: element (i, j) is at[i * stride + j]; transposed, it
 *  stands for the one with (i, j) at at[j * stride + i]. */
struct pp_matrix {
    const float *at;
    int64_t stride;
    bool transposed;
};

/**
 * c[rows][columns] = factor * a b, or += it; `inner` is the length of the sums. c must not overlap
 * a or b; without `accumulate` what it held does not matter. Nothing happens without rows or
 * columns. Any number of threads may call it.
 */
void pp_product(float *c, int64_t c_stride, struct pp_matrix a, struct pp_matrix b, int64_t rows,
                int64_t columns, int64_t inner, float factor, bool accumulate);

/** See pp_host_describe and pp_host_set_threads. */
void pp_product_describe(char *text, size_t size);
void pp_product_set_threads(int32_t count);

#endif
