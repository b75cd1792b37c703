/* The host's kernels through the suite that every device has to pass (kernel_suite.h), at each
 * level of vector instructions; and the suite's own reference by finite differences. */
#include "exec/host/kernels.h"
#include "tests/exec/kernel_suite.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(kernels, the_host_conforms_at_every_level) {
    struct pp_host *host = NULL;
    cr_assert_eq(pp_host_create(&host, NULL), PP_OK);
    for (int32_t level = 0; level < pp_host_level_count(); level++) {
        if (pp_host_use_level(host, level)) {
            printf("%s: ", pp_host_level_name(level));
            struct kernel_counts counts = kernel_suite(&pp_host_ops, host, 1e-5);
            cr_expect_eq(counts.failed, 0);
            cr_expect_gt(counts.passed, 1000);
        }
    }
    pp_host_destroy(host);
}
