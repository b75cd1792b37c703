/* The batch's sweep with AVX-512's instructions on vectors of 256 bits: on Zen 4 an end that was
 * just stored comes back from the store queue sooner than one of 512 bits, which halves the time.
 */
#ifdef __x86_64__
#define KERNEL_NAME pp_batch_sweep_avx512
#define KERNEL_TARGET __attribute__((target("avx512f,avx512vl")))
#include "sim/batch_m256i.h"

KERNEL_TARGET static inline kernel_vector kernel_max(kernel_vector x, kernel_vector y) {
    return _mm256_max_epi64(x, y);
}

#include "sim/batch_kernel.h"
#else
typedef int pp_batch_avx512_is_for_x86_64; /* ISO C wants something in a file */
#endif
