/**
 * @file batch_m256i.h
 * Private to the batch: kernel_vector of batch_kernel.h as four lanes in 256 bits, all of it but
 * the maximum. Needs KERNEL_TARGET.
 */
#include <immintrin.h>
#include <stdint.h>

typedef __m256i kernel_vector;

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
