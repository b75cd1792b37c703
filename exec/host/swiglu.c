/* SwiGLU: silu(gate) * up, with silu(x) = x * sigmoid(x). */
#include "exec/host/kernels.h"
#include "exec/host/simd.h"

/* e^-x, kept where 1 / (1 + it) is a normal number. */
static inline pp_vector exp_minus(pp_vector x) {
    return pp_exp(-pp_greater(pp_all(-80.0F), x)); /* a NaN stays */
}

void KERNEL(swiglu)(void *context, void *a, const void *gate_up, int64_t tokens, int64_t ffn) {
    (void)context;
    for (int64_t t = 0; t < tokens; t++) {
        const float *gate = (const float *)gate_up + t * 2 * ffn;
        const float *up = gate + ffn;
        float *to = (float *)a + t * ffn;
        for (int64_t i = 0; i < ffn; i += PP_LANES) {
            pp_vector g = pp_get(gate + i, ffn - i);
            pp_put(to + i, g / (1.0F + exp_minus(g)) * pp_get(up + i, ffn - i), ffn - i);
        }
    }
}

/* silu'(x) = s * (1 + x * (1 - s)), s = sigmoid(x); 1 - s = e^-x * s loses no digits */
void KERNEL(swiglu_grad)(void *context, void *gate_up, const void *da, int64_t tokens,
                         int64_t ffn) {
    (void)context;
    for (int64_t t = 0; t < tokens; t++) {
        float *gate = (float *)gate_up + t * 2 * ffn;
        float *up = gate + ffn;
        const float *from = (const float *)da + t * ffn;
        for (int64_t i = 0; i < ffn; i += PP_LANES) {
            int64_t left = ffn - i;
            pp_vector g = pp_get(gate + i, left);
            pp_vector e = exp_minus(g);
            pp_vector s = 1.0F / (1.0F + e);
            pp_vector d = pp_get(from + i, left) * s;
            pp_vector dgate = d * pp_get(up + i, left) * (1.0F + g * (e * s));
            pp_put(gate + i, dgate, left);
            pp_put(up + i, d * g, left);
        }
    }
}
