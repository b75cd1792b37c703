/* AdamW (Loshchilov & Hutter, 2019, algorithm 2), its weight decay scaled by the learning rate. */
#include "exec/host/kernels.h"

#include <math.h>

void KERNEL(adamw)(void *context, float *restrict parameter, float *restrict m, float *restrict v,
                   const float *restrict grad, int64_t count, const struct pp_adamw *options) {
    (void)context;
    double correct1 = 1 - pow((double)options->beta1, (double)options->step);
    double correct2 = 1 - pow((double)options->beta2, (double)options->step);
    float beta1 = options->beta1;
    float beta2 = options->beta2;
    float rest1 = 1 - beta1;
    float rest2 = 1 - beta2;
    float decay = (float)((double)options->learning_rate * (double)options->weight_decay);
    float rate = (float)((double)options->learning_rate / correct1);
    float root = (float)(1 / sqrt(correct2));
    float epsilon = options->epsilon;
    for (int64_t i = 0; i < count; i++) {
        float g = grad[i];
        m[i] = beta1 * m[i] + rest1 * g;
        v[i] = beta2 * v[i] + rest2 * (g * g);
        parameter[i] -= decay * parameter[i] + rate * (m[i] / (sqrtf(v[i]) * root + epsilon));
    }
}
