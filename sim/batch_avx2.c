/* The batch's sweep with AVX2, four lanes a vector. It has no maximum of 64-bit integers. */
#ifdef __x86_64__
#include <immintrin.h>
#include <stdint.h>

typedef __m256i kernel_vector;

#define KERNEL_NAME pp_batch_sweep_avx2
#define KERNEL_TARGET __attribute__((target("avx2")))
#define KERNEL_VECTORS 2

KERNEL_TARGET static inline kernel_vector kernel_load(const int64_t *from) {
    return _mm256_load_si256((const __m256i *)from);
}
KERNEL_TARGET static inline void kernel_store(int64_t *to, kernel_vector x) {
    _mm256_store_si256((__m256i *)to, x);
}
KERNEL_TARGET static inline kernel_vector kernel_add(kernel_vector x, kernel_vector y) {
    return _mm256_add_epi64(x, y);
}
KERNEL_TARGET static inline kernel_vector kernel_max(kernel_vector x, kernel_vector y) {
    return _mm256_blendv_epi8(y, x, _mm256_cmpgt_epi64(x, y));
}

#include "sim/batch_kernel.h"
#else
typedef int pp_batch_avx2_is_for_x86_64; /* ISO C wants something in a file */
#endif
