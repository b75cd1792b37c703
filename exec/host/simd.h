/**
 * @file simd.h
 * Inside the host device only: vectors as wide as the level's registers, by the compilers' vector
 * types, and what is built of them. The last vector of a row is taken and put in part, so any width
 * will do.
 */
#ifndef PP_EXEC_HOST_SIMD_H
#define PP_EXEC_HOST_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

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
typedef uint32_t pp_bits __attribute__((vector_size(PP_LANES * 4)));
typedef float pp_half __attribute__((vector_size(PP_LANES * 2)));
typedef float pp_four __attribute__((vector_size(16)));

static inline pp_vector pp_all(float x) {
    return x - (pp_vector){0};
}

/* The first `left` (1..PP_LANES - 1) elements; zeros behind them, of which memory is not touched.
 */
#if defined(__AVX512F__)
static inline __mmask16 pp_lanes(int64_t left) {
    return (__mmask16)((1U << left) - 1);
}
static inline pp_vector pp_get_part(const float *from, int64_t left) {
    return (pp_vector)_mm512_maskz_loadu_ps(pp_lanes(left), from);
}
static inline void pp_put_part(float *to, pp_vector x, int64_t left) {
    _mm512_mask_storeu_ps(to, pp_lanes(left), (__m512)x);
}
#elif defined(__AVX2__)
static inline __m256i pp_lanes(int64_t left) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)left), lane);
}
static inline pp_vector pp_get_part(const float *from, int64_t left) {
    return (pp_vector)_mm256_maskload_ps(from, pp_lanes(left));
}
static inline void pp_put_part(float *to, pp_vector x, int64_t left) {
    _mm256_maskstore_ps(to, pp_lanes(left), (__m256)x);
}
#else
static inline pp_vector pp_get_part(const float *from, int64_t left) {
    return (pp_vector){from[0], left > 1 ? from[1] : 0, left > 2 ? from[2] : 0, 0};
}
static inline void pp_put_part(float *to, pp_vector x, int64_t left) {
    for (int64_t i = 0; i < left; i++) {
        to[i] = x[i];
    }
}
#endif

/* The next PP_LANES of `left` (> 0) elements; zeros behind them. */
static inline pp_vector pp_get(const float *from, int64_t left) {
    pp_vector x;
    if (left < PP_LANES) {
        return pp_get_part(from, left);
    }
    memcpy(&x, from, sizeof x);
    return x;
}

static inline void pp_put(float *to, pp_vector x, int64_t left) {
    if (left < PP_LANES) {
        pp_put_part(to, x, left);
    } else {
        memcpy(to, &x, sizeof x);
    }
}

static inline pp_vector pp_pick(pp_mask where, pp_vector yes, pp_vector no) {
    return (pp_vector)((where & (pp_mask)yes) | (~where & (pp_mask)no));
}

/* Of two; a NaN loses. */
static inline pp_vector pp_greater(pp_vector x, pp_vector y) {
#if defined(__AVX512F__)
    return (pp_vector)_mm512_max_ps((__m512)x, (__m512)y);
#elif defined(__AVX2__)
    return (pp_vector)_mm256_max_ps((__m256)x, (__m256)y);
#else
    return pp_pick(x > y, x, y);
#endif
}

/* a * b + c, in one rounding where the level has it. */
static inline pp_vector pp_fma(pp_vector a, pp_vector b, pp_vector c) {
#if defined(__AVX512F__)
    return (pp_vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
    return (pp_vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

/* Halves are folded onto each other until four are left. */
static inline pp_four pp_fold_sum(pp_vector x) {
#if defined(__AVX512F__)
    pp_half half[2];
    pp_four quarter[2];
    memcpy(half, &x, sizeof x);
    half[0] += half[1];
    memcpy(quarter, &half[0], sizeof half[0]);
    return quarter[0] + quarter[1];
#elif defined(__AVX2__)
    pp_four half[2];
    memcpy(half, &x, sizeof x);
    return half[0] + half[1];
#else
    return x;
#endif
}

static inline double pp_sum(pp_vector x) {
    pp_four four = pp_fold_sum(x);
    return (double)((four[0] + four[2]) + (four[1] + four[3]));
}

static inline float pp_greatest(pp_vector x) {
#if defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)x);
#else
    float most = x[0];
    for (int i = 1; i < PP_LANES; i++) {
        most = x[i] > most ? x[i] : most;
    }
    return most;
#endif
}

/*
 * e^x to 2e-7 of itself for x <= 88; 0 below -87. x = n ln 2 + r: ln 2 is taken away in two parts
 * of which n times the first is exact; e^r = 1 + r + r^2 q(r), the coefficients of q fitted to a
 * relative error of 3e-9 for |r| <= ln 2 / 2; 2^n goes into the exponent.
 */
static inline pp_vector pp_exp(pp_vector x) {
    const pp_vector round = pp_all(12582912.0F); /* 1.5 * 2^23: what is added to it is an integer */
    pp_vector shifted = pp_fma(x, pp_all(1.44269504F), round);
    pp_vector n = shifted - round;
    pp_vector r = pp_fma(n, pp_all(-0.693359375F), x);
    r = pp_fma(n, pp_all(2.12194440e-4F), r);
    pp_vector q = pp_fma(r, pp_all(1.38144661e-3F), pp_all(8.36878084e-3F));
    q = pp_fma(q, r, pp_all(4.16683927e-2F));
    q = pp_fma(q, r, pp_all(1.66665196e-1F));
    q = pp_fma(q, r, pp_all(4.99999940e-1F));
    q = pp_fma(q * r, r, r) + 1.0F;
    pp_bits power = ((pp_bits)shifted << 23) + (127U << 23); /* its low bits are n's */
    return (pp_vector)(~(x < -87.0F) & (pp_mask)(q * (pp_vector)power));
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
    if (count < PP_LANES) {
        float most = x[0];
        for (int64_t i = 1; i < count; i++) {
            most = x[i] > most ? x[i] : most;
        }
        return most;
    }
    pp_vector most = pp_get(x + count - PP_LANES, PP_LANES); /* overlaps the last whole one */
    for (int64_t i = 0; i + PP_LANES <= count; i += PP_LANES) {
        most = pp_greater(pp_get(x + i, PP_LANES), most);
    }
    return pp_greatest(most);
}

/* x becomes e^(x - most); @return the sum of them. Lanes add up a few hundred in float, lest errors
 * grow with the row. */
static inline double pp_row_exp(float *x, float most, int64_t count) {
    enum { SHORT = 256 * PP_LANES };
    double total = 0;
    for (int64_t begin = 0; begin < count; begin += SHORT) {
        int64_t end = begin + SHORT < count ? begin + SHORT : count;
        pp_vector sum = {0};
        int64_t i = begin;
        for (; i + PP_LANES <= end; i += PP_LANES) {
            pp_vector e = pp_exp(pp_get(x + i, PP_LANES) - most);
            pp_put(x + i, e, PP_LANES);
            sum += e;
        }
        if (i < end) {
            pp_put(x + i, pp_exp(pp_get(x + i, end - i) - most), end - i);
            sum += pp_get(x + i, end - i);
        }
        total += pp_sum(sum);
    }
    return total;
}

#endif
