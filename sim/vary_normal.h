/* Draws from a counter, all in integers, behind vary.h.
 *
 * Bits: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
 * 2014) is a bijection of a counter: state = key + counter * golden ratio, then two rounds of xor,
 * shift and multiply. So the n-th number of a stream is had without those before it.
 *
 * Normal: the inverse of the distribution by table (tests/tools/make_normal_table.py), a line
 * between two entries. One bit is the sign, so that draws are exactly symmetric; 43 are the tail
 * probability; the lowest 20 are left for a draw of another kind. */
#ifndef PP_SIM_VARY_NORMAL_H
#define PP_SIM_VARY_NORMAL_H

#include <stdint.h>

enum {
    PP_VARY_SPARE_BITS = 20,                         /* of a draw that a normal leaves unused */
    PP_VARY_Z_SHIFT = 24,                            /* z is in parts per 2^24 */
    PP_VARY_OCTAVES = 27,                            /* of tail probabilities, 2^-33 to 2^-6 */
    PP_VARY_PARTS = 32,                              /* lines of an octave */
    PP_VARY_TAIL = PP_VARY_OCTAVES * PP_VARY_PARTS,  /* lines below 2^-6 */
    PP_VARY_NORMAL_LINES = PP_VARY_TAIL + 1024 - 32, /* and the equal ones up to 1/2 */
};

extern const int32_t pp_vary_normal_table[PP_VARY_NORMAL_LINES + 1];

static inline uint64_t pp_vary_mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* 64 random bits of a stream. */
static inline uint64_t pp_vary_bits(uint64_t key, uint64_t counter) {
    return pp_vary_mix(key + (counter + 1) * 0x9e3779b97f4a7c15u);
}

/* |z| of a draw, 0 to 6.34 * 2^24; its sign is the highest bit. The tail probability is 1/2 times
 * the bits after that as a binary fraction. 31 of 32 times its first ten bits are the line; else
 * the number of leading zeros says the octave, and the five bits after the leading one which line
 * of it. The 32 bits after those are where on the line. */
static inline int64_t pp_vary_normal(uint64_t bits) {
    uint64_t fraction = bits >> PP_VARY_SPARE_BITS << (PP_VARY_SPARE_BITS + 1);
    uint64_t line = fraction >> 54;
    if (line >= PP_VARY_PARTS) {
        line += PP_VARY_TAIL - PP_VARY_PARTS;
        fraction <<= 10;
    } else {
        int zeros = __builtin_clzll(fraction | (uint64_t)1 << 32); /* 5 .. 31: 2^-33 ends it */
        fraction <<= zeros;
        line = (uint64_t)(31 - zeros) * PP_VARY_PARTS + (fraction >> 58) % PP_VARY_PARTS;
        fraction <<= 6;
    }
    int64_t low = pp_vary_normal_table[line];
    int64_t fall = low - pp_vary_normal_table[line + 1];
    return low - (fall * (int64_t)(fraction >> 32) >> 32);
}

#endif
