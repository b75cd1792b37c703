/**
 * @file linear.h
 * Inside the host device only: those entries of its table that are matrix products (device.h).
 */
#ifndef PP_EXEC_HOST_LINEAR_H
#define PP_EXEC_HOST_LINEAR_H

#include "exec/device.h"

void pp_host_linear(void *context, void *y, const void *x, const void *w, int64_t tokens,
                    int64_t in, int64_t out, bool accumulate);
void pp_host_linear_input_grad(void *context, void *dx, const void *dy, const void *w,
                               int64_t tokens, int64_t in, int64_t out, bool accumulate);
void pp_host_linear_weight_grad(void *context, float *dw, const void *dy, const void *x,
                                int64_t tokens, int64_t in, int64_t out);
void pp_host_experts_linear(void *context, void *y, const void *x, const void *w,
                            const struct pp_routing *r, int64_t in, int64_t out);
void pp_host_experts_input_grad(void *context, void *dx, const void *dy, const void *w,
                                const struct pp_routing *r, int64_t in, int64_t out);
void pp_host_experts_weight_grad(void *context, float *dw, const void *dy, const void *x,
                                 const struct pp_routing *r, int64_t in, int64_t out);

#endif
