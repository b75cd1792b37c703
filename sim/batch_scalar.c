/* The batch's sweep with whatever instructions every processor has. */
#include <stdint.h>

typedef int64_t kernel_vector;

#define KERNEL_NAME pp_batch_sweep_scalar
#define KERNEL_TARGET
#define KERNEL_VECTORS 8

static inline kernel_vector kernel_load(const int64_t *from) {
    return *from;
}
static inline void kernel_store(int64_t *to, kernel_vector x) {
    *to = x;
}
static inline kernel_vector kernel_add(kernel_vector x, kernel_vector y) {
    return x + y;
}
static inline kernel_vector kernel_max(kernel_vector x, kernel_vector y) {
    return x > y ? x : y;
}

#include "sim/batch_kernel.h"
