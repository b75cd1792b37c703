/* The batch's sweep with AVX2, four lanes a vector. It has no maximum of 64-bit integers. */
#ifdef __x86_64__
#define KERNEL_NAME pp_batch_sweep_avx2
#define KERNEL_TARGET __attribute__((target("avx2")))
#include "sim/batch_m256i.h"

KERNEL_TARGET static inline kernel_vector kernel_max(kernel_vector x, kernel_vector y) {
    return _mm256_blendv_epi8(y, x, _mm256_cmpgt_epi64(x, y));
}

#include "sim/batch_kernel.h"
#else
typedef int pp_batch_avx2_is_for_x86_64; /* ISO C wants something in a file */
#endif
