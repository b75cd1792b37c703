/* One conformance suite for every device's table of kernels (exec/device.h): each entry against
 * float64 (kernel_oracle.h), by alloc, upload and download alone. Plain C, no test framework, so
 * that it runs where there is none: see test_kernels.c for the host. */
#ifndef PP_TESTS_KERNEL_SUITE_H
#define PP_TESTS_KERNEL_SUITE_H

#include "exec/device.h"

struct kernel_counts {
    int32_t passed, failed;
    double worst; /* of what was within the tolerance */
};

/* Runs everything that the table has; prints each failure and "N passed, M failed". A result is
 * right where the norm of its difference is at most `tolerance` times the norm of the reference:
 * 1e-5 for a device that computes in float. */
struct kernel_counts kernel_suite(const struct pp_device_ops *ops, void *context, double tolerance);

#endif
