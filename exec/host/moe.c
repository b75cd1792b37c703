/* Which token goes to which expert, and the way there and back. */
#include "exec/host/kernels.h"
#include "exec/host/simd.h"

#include <math.h>

static void softmax(float *p, const float *logits, int32_t count) {
    float most = logits[0];
    for (int32_t i = 1; i < count; i++) {
        most = logits[i] > most ? logits[i] : most;
    }
    double sum = 0;
    for (int32_t i = 0; i < count; i += PP_LANES) {
        pp_put(p + i, pp_exp(pp_get(logits + i, count - i) - most), count - i);
    }
    for (int32_t i = 0; i < count; i++) {
        sum += (double)p[i];
    }
    float factor = (float)(1 / sum);
    for (int32_t i = 0; i < count; i++) {
        p[i] *= factor;
    }
}

static bool is_chosen(const int32_t *choice, int32_t count, int32_t expert) {
    for (int32_t i = 0; i < count; i++) {
        if (choice[i] == expert) {
            return true;
        }
    }
    return false;
}

/* The `count` most probable, one after the other; a NaN is never more probable than another. */
static void choose(int32_t *choice, float *weight, const float *p, int32_t experts, int32_t count) {
    double sum = 0;
    for (int32_t i = 0; i < count; i++) {
        int32_t best = -1;
        for (int32_t e = 0; e < experts; e++) {
            if ((best < 0 || p[e] > p[best]) && !is_chosen(choice, i, e)) {
                best = e;
            }
        }
        choice[i] = best;
        sum += (double)p[best];
    }
    for (int32_t i = 0; i < count; i++) {
        weight[i] = (float)((double)p[choice[i]] / sum);
    }
}

/* Tokens in the order of their experts, ascending in each: counts, then places. */
static void sort(struct pp_routing *r) {
    int64_t rows = (int64_t)r->tokens * r->per_token;
    memset(r->offsets, 0, (size_t)(r->experts + 1) * sizeof r->offsets[0]);
    for (int64_t i = 0; i < rows; i++) {
        r->offsets[r->choice[i] + 1]++;
    }
    for (int32_t e = 0; e < r->experts; e++) {
        r->offsets[e + 1] += r->offsets[e];
    }
    for (int64_t i = 0; i < rows; i++) {
        int32_t place = r->offsets[r->choice[i]]++;
        r->row[i] = place;
        r->token[place] = (int32_t)(i / r->per_token);
    }
    for (int32_t e = r->experts; e > 0; e--) { /* each went up to where the next began */
        r->offsets[e] = r->offsets[e - 1];
    }
    r->offsets[0] = 0;
}

void KERNEL(route)(void *context, struct pp_routing *r, const void *logits) {
    (void)context;
    for (int64_t t = 0; t < r->tokens; t++) {
        float *p = r->probability + t * r->experts;
        softmax(p, (const float *)logits + t * r->experts, r->experts);
        choose(r->choice + t * r->per_token, r->weight + t * r->per_token, p, r->experts,
               r->per_token);
    }
    sort(r);
}

/* The weights are a softmax of the chosen logits alone. */
void KERNEL(route_grad)(void *context, void *dlogits, const struct pp_routing *r,
                        const float *dweight) {
    (void)context;
    float *to = dlogits;
    memset(to, 0, (size_t)r->tokens * (size_t)r->experts * sizeof to[0]);
    for (int64_t t = 0; t < r->tokens; t++) {
        const float *w = r->weight + t * r->per_token;
        const float *dw = dweight + t * r->per_token;
        double mean = 0;
        for (int32_t i = 0; i < r->per_token; i++) {
            mean += (double)w[i] * (double)dw[i];
        }
        for (int32_t i = 0; i < r->per_token; i++) {
            to[t * r->experts + r->choice[t * r->per_token + i]] =
                (float)((double)w[i] * ((double)dw[i] - mean));
        }
    }
}

void KERNEL(gather)(void *context, void *rows, const void *x, const struct pp_routing *r,
                    int64_t width) {
    KERNEL(embed)(context, rows, x, r->token, (int64_t)r->tokens * r->per_token, width);
}

void KERNEL(gather_grad)(void *context, void *dx, const void *rows, const struct pp_routing *r,
                         int64_t width) {
    (void)context;
    for (int64_t i = 0; i < (int64_t)r->tokens * r->per_token; i++) {
        pp_add_scaled((float *)dx + i / r->per_token * width,
                      (const float *)rows + r->row[i] * width, 1.0F, width);
    }
}

void KERNEL(combine)(void *context, void *y, const void *rows, const struct pp_routing *r,
                     int64_t width) {
    (void)context;
    for (int64_t i = 0; i < (int64_t)r->tokens * r->per_token; i++) {
        pp_add_scaled((float *)y + i / r->per_token * width,
                      (const float *)rows + r->row[i] * width, r->weight[i], width);
    }
}

void KERNEL(combine_grad)(void *context, void *drows, float *dweight, const void *dy,
                          const void *rows, const struct pp_routing *r, int64_t width) {
    (void)context;
    for (int64_t i = 0; i < (int64_t)r->tokens * r->per_token; i++) {
        const float *from = (const float *)dy + i / r->per_token * width;
        float *to = (float *)drows + r->row[i] * width;
        dweight[i] = (float)pp_dot(from, (const float *)rows + r->row[i] * width, width);
        for (int64_t j = 0; j < width; j += PP_LANES) {
            pp_put(to + j, pp_get(from + j, width - j) * r->weight[i], width - j);
        }
    }
}
