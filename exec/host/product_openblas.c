/* Matrix products by OpenBLAS. */
#include "exec/host/product.h"

#include <cblas.h>
#include <stdio.h>

/* Rows times columns of what fits a machine fit OpenBLAS's int in each direction. */
static blasint narrow(int64_t x) {
    PP_ASSERT(x <= INT32_MAX);
    return (blasint)x;
}

void pp_product(float *c, int64_t c_stride, struct pp_matrix a, struct pp_matrix b, int64_t rows,
                int64_t columns, int64_t inner, float factor, bool accumulate) {
    if (rows == 0 || columns == 0) {
        return;
    }
    cblas_sgemm(CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans,
                b.transposed ? CblasTrans : CblasNoTrans, narrow(rows), narrow(columns),
                narrow(inner), factor, a.at, narrow(a.stride), b.at, narrow(b.stride),
                accumulate ? 1.0F : 0.0F, c, narrow(c_stride));
}

/* The library says "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...": its name and version suffice. */
void pp_product_describe(char *text, size_t size) {
    char version[32] = "";
    if (sscanf(openblas_get_config(), "OpenBLAS %31s", version) != 1) {
        version[0] = 0;
    }
    snprintf(text, size, "OpenBLAS%s%s, %s", version[0] ? " " : "", version,
             openblas_get_corename());
}

void pp_product_set_threads(int32_t count) {
    openblas_set_num_threads(count);
}
