/* Rows of a table, by number. */
#include "exec/host/kernels.h"
#include "exec/host/simd.h"

void KERNEL(embed)(void *context, void *y, const void *table, const int32_t *ids, int64_t tokens,
                   int64_t width) {
    (void)context;
    float *to = y;
    const float *from = table;
    for (int64_t t = 0; t < tokens; t++) {
        memcpy(to + t * width, from + ids[t] * width, (size_t)width * sizeof to[0]);
    }
}

void KERNEL(embed_grad)(void *context, float *dtable, const void *dy, const int32_t *ids,
                        int64_t tokens, int64_t width) {
    (void)context;
    const float *from = dy;
    for (int64_t t = 0; t < tokens; t++) {
        pp_add_scaled(dtable + ids[t] * width, from + t * width, 1.0F, width);
    }
}
