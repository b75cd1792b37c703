/* Exact fractions of 128 bits for oracles. Where one would not fit, `exact_lost` is set and the
 * result means nothing: the case is to be left out, and counted. */
#ifndef PP_TESTS_EXACT_H
#define PP_TESTS_EXACT_H

#include <stdbool.h>
#include <stdint.h>

struct exact {
    __int128 num, den; /* lowest terms, den > 0 */
};

static bool exact_lost;

static inline struct exact exact_of(int64_t whole) {
    return (struct exact){.num = whole, .den = 1};
}

static inline __int128 exact_times(__int128 a, __int128 b) {
    __int128 product = 0;
    exact_lost = __builtin_mul_overflow(a, b, &product) || exact_lost;
    return product;
}

static inline struct exact exact_ratio(__int128 num, __int128 den) {
    __int128 a = num < 0 ? -num : num;
    __int128 b = den;
    while (b != 0) {
        __int128 rest = a % b;
        a = b;
        b = rest;
    }
    return (struct exact){.num = num / a, .den = den / a};
}

/* x + sign y */
static inline struct exact exact_sum(struct exact x, struct exact y, int sign) {
    __int128 sum = 0;
    if (x.den == y.den) {
        exact_lost = __builtin_add_overflow(x.num, sign * y.num, &sum) || exact_lost;
        return x.den == 1 ? (struct exact){.num = sum, .den = 1} : exact_ratio(sum, x.den);
    }
    __int128 left = exact_times(x.num, y.den);
    __int128 right = exact_times(y.num, x.den);
    exact_lost = __builtin_add_overflow(left, sign * right, &sum) || exact_lost;
    return exact_lost ? exact_of(0) : exact_ratio(sum, exact_times(x.den, y.den));
}

static inline struct exact exact_add(struct exact x, struct exact y) {
    return exact_sum(x, y, 1);
}

static inline struct exact exact_sub(struct exact x, struct exact y) {
    return exact_sum(x, y, -1);
}

static inline struct exact exact_mul(struct exact x, struct exact y) {
    struct exact a = exact_ratio(x.num, y.den);
    struct exact b = exact_ratio(y.num, x.den);
    struct exact z = {.num = exact_times(a.num, b.num), .den = exact_times(a.den, b.den)};
    return exact_lost ? exact_of(0) : z;
}

/* y > 0 */
static inline struct exact exact_div(struct exact x, struct exact y) {
    return exact_mul(x, (struct exact){.num = y.den, .den = y.num});
}

static inline bool exact_less(struct exact x, struct exact y) {
    if (x.den == y.den) {
        return x.num < y.num;
    }
    return exact_times(x.num, y.den) < exact_times(y.num, x.den);
}

static inline bool exact_equal(struct exact x, struct exact y) {
    return x.num == y.num && x.den == y.den;
}

static inline struct exact exact_later(struct exact x, struct exact y) {
    return exact_less(x, y) ? y : x;
}

/* The next whole number; x >= 0. */
static inline struct exact exact_ceil(struct exact x) {
    return (struct exact){.num = x.num / x.den + (x.num % x.den != 0), .den = 1};
}

#endif
