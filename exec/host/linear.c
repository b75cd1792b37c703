/* Linear layers, of one weight or of one an expert. */
#include "exec/host/linear.h"
#include "exec/host/product.h"

void pp_host_linear(void *context, void *y, const void *x, const void *w, int64_t tokens,
                    int64_t in, int64_t out, bool accumulate) {
    (void)context;
    pp_product(y, out, (struct pp_matrix){x, in, false}, (struct pp_matrix){w, in, true}, tokens,
               out, in, 1.0F, accumulate);
}

void pp_host_linear_input_grad(void *context, void *dx, const void *dy, const void *w,
                               int64_t tokens, int64_t in, int64_t out, bool accumulate) {
    (void)context;
    pp_product(dx, in, (struct pp_matrix){dy, out, false}, (struct pp_matrix){w, in, false}, tokens,
               in, out, 1.0F, accumulate);
}

void pp_host_linear_weight_grad(void *context, float *dw, const void *dy, const void *x,
                                int64_t tokens, int64_t in, int64_t out) {
    (void)context;
    pp_product(dw, in, (struct pp_matrix){dy, out, true}, (struct pp_matrix){x, in, false}, out, in,
               tokens, 1.0F, true);
}

void pp_host_experts_linear(void *context, void *y, const void *x, const void *w,
                            const struct pp_routing *r, int64_t in, int64_t out) {
    for (int32_t e = 0; e < r->experts; e++) {
        int64_t first = r->offsets[e];
        pp_host_linear(context, (float *)y + first * out, (const float *)x + first * in,
                       (const float *)w + e * in * out, r->offsets[e + 1] - first, in, out, false);
    }
}

void pp_host_experts_input_grad(void *context, void *dx, const void *dy, const void *w,
                                const struct pp_routing *r, int64_t in, int64_t out) {
    for (int32_t e = 0; e < r->experts; e++) {
        int64_t first = r->offsets[e];
        pp_host_linear_input_grad(context, (float *)dx + first * in,
                                  (const float *)dy + first * out, (const float *)w + e * in * out,
                                  r->offsets[e + 1] - first, in, out, false);
    }
}

void pp_host_experts_weight_grad(void *context, float *dw, const void *dy, const void *x,
                                 const struct pp_routing *r, int64_t in, int64_t out) {
    for (int32_t e = 0; e < r->experts; e++) {
        int64_t first = r->offsets[e];
        if (r->offsets[e + 1] > first) {
            pp_host_linear_weight_grad(context, dw + e * in * out, (const float *)dy + first * out,
                                       (const float *)x + first * in, r->offsets[e + 1] - first, in,
                                       out);
        }
    }
}
