/* RMSNorm. */
#include "exec/host/kernels.h"
#include "exec/host/simd.h"

#include <math.h>

void KERNEL(norm)(void *context, void *y, float *rstd, const void *x, const void *gamma,
                  int64_t tokens, int64_t width, float epsilon) {
    (void)context;
    const float *g = gamma;
    for (int64_t t = 0; t < tokens; t++) {
        const float *from = (const float *)x + t * width;
        float *to = (float *)y + t * width;
        double mean = pp_dot(from, from, width) / (double)width;
        rstd[t] = (float)(1 / sqrt(mean + (double)epsilon));
        for (int64_t i = 0; i < width; i += PP_LANES) {
            pp_put(to + i, pp_get(from + i, width - i) * rstd[t] * pp_get(g + i, width - i),
                   width - i);
        }
    }
}

/* dx += rstd * (dy gamma - xhat * mean(dy gamma xhat)), where xhat = x * rstd */
static void row_grad(float *dx, const float *dy, const float *x, const float *gamma, float rstd,
                     int64_t width) {
    pp_vector sum = {0};
    for (int64_t i = 0; i < width; i += PP_LANES) {
        int64_t left = width - i;
        sum += pp_get(dy + i, left) * pp_get(gamma + i, left) * pp_get(x + i, left);
    }
    double r = (double)rstd;
    float along = (float)(pp_sum(sum) / (double)width * r * r * r);
    for (int64_t i = 0; i < width; i += PP_LANES) {
        int64_t left = width - i;
        pp_vector through = pp_get(dy + i, left) * pp_get(gamma + i, left) * rstd;
        pp_put(dx + i, pp_get(dx + i, left) + (through - pp_get(x + i, left) * along), left);
    }
}

/* Of at most BLOCK rows, which are summed before they join what there is: shorter sums, smaller
 * errors. */
enum { BLOCK = 32 };

static void gamma_grad(float *dgamma, const float *dy, const float *x, const float *rstd,
                       int64_t tokens, int64_t width) {
    for (int64_t i = 0; i < width; i += PP_LANES) {
        int64_t left = width - i;
        pp_vector sum = {0};
        for (int64_t t = 0; t < tokens; t++) {
            sum += pp_get(dy + t * width + i, left) * pp_get(x + t * width + i, left) * rstd[t];
        }
        pp_put(dgamma + i, pp_get(dgamma + i, left) + sum, left);
    }
}

void KERNEL(norm_grad)(void *context, void *dx, float *dgamma, const void *dy, const void *x,
                       const float *rstd, const void *gamma, int64_t tokens, int64_t width) {
    (void)context;
    for (int64_t t = 0; t < tokens; t += BLOCK) {
        int64_t rows = pp_min_i64(BLOCK, tokens - t);
        const float *out = (const float *)dy + t * width;
        const float *in = (const float *)x + t * width;
        for (int64_t i = 0; i < rows; i++) {
            row_grad((float *)dx + (t + i) * width, out + i * width, in + i * width, gamma,
                     rstd[t + i], width);
        }
        gamma_grad(dgamma, out, in, rstd + t, rows, width);
    }
}
