/* Rotary positions. Angles of one position are those of the one before plus a step, so cosines and
 * sines are advanced by a rotation, in double: no table, and 1e-12 after ten thousand positions. */
#include "exec/host/kernels.h"

#include <math.h>

enum { PAIRS = 64 }; /* taken at a time */

struct turn {
    double cosine[PAIRS], sine[PAIRS]; /* of the position */
    double step_cosine[PAIRS], step_sine[PAIRS];
    float c[PAIRS], s[PAIRS]; /* the position's, as they are used */
};

static void turn_begin(struct turn *w, int64_t first, int64_t pairs, int32_t head_dim, float theta,
                       bool back) {
    for (int64_t i = 0; i < pairs; i++) {
        double angle = pow((double)theta, -2.0 * (double)(first + i) / head_dim);
        w->cosine[i] = 1;
        w->sine[i] = 0;
        w->step_cosine[i] = cos(angle);
        w->step_sine[i] = back ? -sin(angle) : sin(angle);
    }
}

static void turn_use(struct turn *w, int64_t pairs) {
    for (int64_t i = 0; i < pairs; i++) {
        w->c[i] = (float)w->cosine[i];
        w->s[i] = (float)w->sine[i];
    }
    for (int64_t i = 0; i < pairs; i++) {
        double c = w->cosine[i];
        w->cosine[i] = c * w->step_cosine[i] - w->sine[i] * w->step_sine[i];
        w->sine[i] = c * w->step_sine[i] + w->sine[i] * w->step_cosine[i];
    }
}

/* Pairs (low[i], high[i]) of one head. */
static void rotate(float *restrict low, float *restrict high, const struct turn *restrict w,
                   int64_t pairs) {
    for (int64_t i = 0; i < pairs; i++) {
        float x = low[i];
        float y = high[i];
        low[i] = x * w->c[i] - y * w->s[i];
        high[i] = y * w->c[i] + x * w->s[i];
    }
}

void KERNEL(rope)(void *context, void *qkv, const struct pp_attention_shape *s, float theta,
                  bool back) {
    (void)context;
    int64_t half = s->head_dim / 2;
    int64_t turned = s->heads + s->kv_heads;
    int64_t width = (turned + s->kv_heads) * s->head_dim;
    struct turn w;
    for (int64_t first = 0; first < half; first += PAIRS) {
        int64_t pairs = pp_min_i64(PAIRS, half - first);
        turn_begin(&w, first, pairs, s->head_dim, theta, back);
        for (int64_t t = 0; t < s->length; t++) {
            turn_use(&w, pairs);
            for (int64_t q = 0; q < s->sequences; q++) {
                float *row = (float *)qkv + (q * s->length + t) * width + first;
                for (int64_t h = 0; h < turned; h++) {
                    rotate(row + h * s->head_dim, row + h * s->head_dim + half, &w, pairs);
                }
            }
        }
    }
}
