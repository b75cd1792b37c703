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

enum { TOGETHER = 4 }; /* rows whose part of dgamma is summed before it joins the others */

/* dx += rstd * dy gamma - x * along, where along = rstd^3 * mean(dy gamma x) */
struct rows {
    float *dx;
    const float *dy, *x;
    float rstd[TOGETHER], along[TOGETHER];
};

static float along_of(const float *dy, const float *x, const float *gamma, float rstd,
                      int64_t width) {
    pp_vector sum[2] = {{0}, {0}};
    int64_t i = 0;
    for (; i + 2 * PP_LANES <= width; i += 2 * PP_LANES) {
        for (int j = 0; j < 2; j++) {
            int64_t at = i + j * PP_LANES;
            sum[j] +=
                pp_get(dy + at, PP_LANES) * pp_get(gamma + at, PP_LANES) * pp_get(x + at, PP_LANES);
        }
    }
    for (; i < width; i += PP_LANES) {
        int64_t left = width - i;
        sum[0] += pp_get(dy + i, left) * pp_get(gamma + i, left) * pp_get(x + i, left);
    }
    double r = (double)rstd;
    return (float)(pp_sum(sum[0] + sum[1]) / (double)width * r * r * r);
}

/* `count` is a constant where this is called. */
__attribute__((always_inline)) static inline void
rows_grad(const struct rows *r, float *dgamma, const float *gamma, int64_t width, int count) {
    for (int64_t i = 0; i < width; i += PP_LANES) {
        int64_t left = width - i;
        pp_vector g = pp_get(gamma + i, left);
        pp_vector sum = {0};
        for (int j = 0; j < count; j++) {
            int64_t at = j * width + i;
            pp_vector dy = pp_get(r->dy + at, left) * r->rstd[j];
            pp_vector x = pp_get(r->x + at, left);
            sum += dy * x;
            pp_put(r->dx + at, pp_get(r->dx + at, left) + (dy * g - x * r->along[j]), left);
        }
        pp_put(dgamma + i, pp_get(dgamma + i, left) + sum, left);
    }
}

void KERNEL(norm_grad)(void *context, void *dx, float *dgamma, const void *dy, const void *x,
                       const float *rstd, const void *gamma, int64_t tokens, int64_t width) {
    (void)context;
    for (int64_t t = 0; t < tokens; t += TOGETHER) {
        int64_t count = pp_min_i64(TOGETHER, tokens - t);
        struct rows r = {.dx = (float *)dx + t * width,
                         .dy = (const float *)dy + t * width,
                         .x = (const float *)x + t * width};
        for (int64_t j = 0; j < count; j++) {
            r.rstd[j] = rstd[t + j];
            r.along[j] = along_of(r.dy + j * width, r.x + j * width, gamma, rstd[t + j], width);
        }
        if (count == TOGETHER) {
            rows_grad(&r, dgamma, gamma, width, TOGETHER);
        } else {
            for (int64_t j = 0; j < count; j++) {
                struct rows one = {.dx = r.dx + j * width,
                                   .dy = r.dy + j * width,
                                   .x = r.x + j * width,
                                   .rstd = {r.rstd[j]},
                                   .along = {r.along[j]}};
                rows_grad(&one, dgamma, gamma, width, 1);
            }
        }
    }
}
