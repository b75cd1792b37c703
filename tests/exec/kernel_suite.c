#include "tests/exec/kernel_harness.h"

#include <stdio.h>

struct kernel_counts kernel_suite(const struct pp_device_ops *ops, void *context,
                                  double tolerance) {
    struct suite s = {.ops = ops, .context = context, .tolerance = tolerance, .random = 1};
    check(&s, ops->api == PP_DEVICE_API, "the table's api is %d, expected %d", ops->api,
          PP_DEVICE_API);
    kernel_cases_dense(&s);
    kernel_cases_attention(&s);
    if (ops->route != NULL) {
        kernel_cases_moe(&s);
    }
    printf("kernels of %s: %d passed, %d failed; off by at most %.1e\n", ops->name, s.counts.passed,
           s.counts.failed, s.counts.worst);
    return s.counts;
}
