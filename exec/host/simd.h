/**
 * @file simd.h
 * Inside the host device only: vectors as wide as the level's registers, by the compilers' vector
 * types, and what is built of them. The last vector of a row is taken and put in part, so any width
 * will do.
 */
#ifndef PP_EXEC_HOST_SIMD_H
#define PP_EXEC_HOST_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { PP_LANES = 16 };
#elif defined(__AVX2__)
enum { PP_LANES = 8 };
#else
enum { PP_LANES = 4 };
#endif

typedef float pp_vector __attribute__((vector_size(PP_LANES * 4)));
typedef int32_t pp_mask
    __attribute__((vector_size(PP_LANES * 4))); /* all bits of a lane, or none */
typedef float pp_half __attribute__((vector_size(PP_LANES * 2)));
typedef double pp_double __attribute__((vector_size(PP_LANES * 4))); /* PP_LANES / 2 */

static inline pp_vector pp_all(float x) {
    return x - (pp_vector){0};
}

/* The next PP_LANES of `left` (> 0) elements; zeros behind them. */
static inline pp_vector pp_get(const float *from, int64_t left) {
    pp_vector x = {0};
    if (left >= PP_LANES) {
        memcpy(&x, from, sizeof x);
    } else {
        memcpy(&x, from, (size_t)left * sizeof from[0]);
    }
    return x;
}

static inline void pp_put(float *to, pp_vector x, int64_t left) {
    if (left >= PP_LANES) {
        memcpy(to, &x, sizeof x);
    } else {
        memcpy(to, &x, (size_t)left * sizeof to[0]);
    }
}

static inline pp_vector pp_pick(pp_mask where, pp_vector yes, pp_vector no) {
    return (pp_vector)((where & (pp_mask)yes) | (~where & (pp_mask)no));
}

static inline pp_vector pp_greater(pp_vector x, pp_vector y) {
    return pp_pick(x > y, x, y);
}

static inline double pp_sum(pp_vector x) {
    double sum = 0;
    for (int i = 0; i < PP_LANES; i++) {
        sum += (double)x[i];
    }
    return sum;
}

static inline float pp_greatest(pp_vector x) {
    float most = x[0];
    for (int i = 1; i < PP_LANES; i++) {
        most = x[i] > most ? x[i] : most;
    }
    return most;
}

/* Sums of float vectors in double. */
static inline pp_double pp_add_double(pp_double sum, pp_vector x) {
    pp_half half[2];
    memcpy(half, &x, sizeof x);
    return sum + (__builtin_convertvector(half[0], pp_double) +
                  __builtin_convertvector(half[1], pp_double));
}

static inline double pp_sum_double(pp_double x) {
    double sum = 0;
    for (int i = 0; i < PP_LANES / 2; i++) {
        sum += x[i];
    }
    return sum;
}

/*
 * e^x to 2e-7 of itself; 0 below -87, and not beyond e^88. x = n ln 2 + r: ln 2 is taken away in
 * two parts of which n times the first is exact; e^r by its series; 2^n goes into the exponent.
 */
static inline pp_vector pp_exp(pp_vector x) {
    const pp_vector lowest = pp_all(-87.0F);
    const pp_vector round = pp_all(12582912.0F); /* 1.5 * 2^23: what is added to it is an integer */
    pp_mask nothing = x < lowest;
    x = pp_pick(x > 88.0F, pp_all(88.0F), x);
    pp_vector shifted = x * 1.44269504F + round;
    pp_vector n = shifted - round;
    pp_vector r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
    pp_vector p = r * (1.0F / 5040) + 1.0F / 720;
    p = p * r + 1.0F / 120;
    p = p * r + 1.0F / 24;
    p = p * r + 1.0F / 6;
    p = p * r + 0.5F;
    p = p * (r * r) + r + 1.0F;
    pp_mask power = ((pp_mask)shifted - (pp_mask)round + 127) << 23;
    return (pp_vector)(~nothing & (pp_mask)(p * (pp_vector)power));
}

/* Sum of a[i] * b[i]. Four sums at a time, so that they do not wait for each other. */
static inline double pp_dot(const float *a, const float *b, int64_t count) {
    pp_vector sum[4] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
    for (; i + 4 * PP_LANES <= count; i += 4 * PP_LANES) {
        for (int j = 0; j < 4; j++) {
            sum[j] +=
                pp_get(a + i + j * PP_LANES, PP_LANES) * pp_get(b + i + j * PP_LANES, PP_LANES);
        }
    }
    for (; i < count; i += PP_LANES) {
        sum[0] += pp_get(a + i, count - i) * pp_get(b + i, count - i);
    }
    return pp_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* y += factor * x */
static inline void pp_add_scaled(float *y, const float *x, float factor, int64_t count) {
    for (int64_t i = 0; i < count; i += PP_LANES) {
        pp_put(y + i, pp_get(y + i, count - i) + factor * pp_get(x + i, count - i), count - i);
    }
}

/* Of at least one element. */
static inline float pp_row_greatest(const float *x, int64_t count) {
    pp_vector most = pp_all(x[0]);
    for (int64_t i = 0; i < count; i += PP_LANES) {
        int64_t left = count - i;
        if (left >= PP_LANES) {
            most = pp_greater(pp_get(x + i, left), most);
        } else {
            for (int64_t j = 0; j < left; j++) {
                most = pp_greater(pp_all(x[i + j]), most);
            }
        }
    }
    return pp_greatest(most);
}

/* x becomes e^(x - most); @return the sum of them */
static inline double pp_row_exp(float *x, float most, int64_t count) {
    pp_double sum = {0};
    int64_t whole = count - count % PP_LANES;
    for (int64_t i = 0; i < whole; i += PP_LANES) {
        pp_vector e = pp_exp(pp_get(x + i, PP_LANES) - most);
        pp_put(x + i, e, PP_LANES);
        sum = pp_add_double(sum, e);
    }
    double total = pp_sum_double(sum);
    if (whole < count) {
        pp_put(x + whole, pp_exp(pp_get(x + whole, count - whole) - most), count - whole);
        for (int64_t i = whole; i < count; i++) {
            total += (double)x[i];
        }
    }
    return total;
}

#endif
