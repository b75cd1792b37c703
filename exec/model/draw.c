/* Numbers by counter. The mixing function is that of splitmix64 (Steele, Lea, Flood: Fast
 * splittable pseudorandom number generators, 2014). */
#include "exec/model/draw.h"

#include "exec/model/transformer.h"

enum { DRAW_BITS = 24, NOISE_MASK = 7 };

static uint64_t mix(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static uint64_t key_of(uint64_t seed, uint64_t stream) {
    return mix(mix(seed) ^ stream);
}

static uint32_t bits_of(uint64_t key, uint64_t index) {
    return (uint32_t)(mix(key ^ index) >> (64 - DRAW_BITS));
}

static float number_of(uint64_t key, uint64_t index) {
    return (float)((int32_t)bits_of(key, index) - (1 << (DRAW_BITS - 1))) * 0x1p-23f;
}

float pp_draw(uint64_t seed, uint64_t stream, uint64_t index) {
    return number_of(key_of(seed, stream), index);
}

uint64_t pp_draw_stream(const char *name) {
    uint64_t hash = 0xCBF29CE484222325u;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (unsigned char)*name) * 0x100000001B3u;
    }
    return hash;
}

void pp_draw_fill(float *data, int64_t count, uint64_t seed, uint64_t stream, uint64_t first,
                  float scale) {
    uint64_t key = key_of(seed, stream);
    for (int64_t i = 0; i < count; i++) {
        data[i] = number_of(key, first + (uint64_t)i) * scale;
    }
}

void pp_draw_chain(uint64_t seed, int64_t number, int32_t length, int64_t vocab, int32_t *tokens) {
    uint64_t key = key_of(seed, pp_draw_stream("tokens"));
    uint64_t first = (uint64_t)number * ((uint64_t)length + 1);
    for (int32_t i = 0; i <= length; i++) {
        uint32_t bits = bits_of(key, first + (uint64_t)i);
        if (i == 0 || (bits & NOISE_MASK) == 0) {
            tokens[i] = (int32_t)((int64_t)bits * vocab >> DRAW_BITS);
        } else {
            tokens[i] = (int32_t)((5 * (int64_t)tokens[i - 1] + 7) % vocab);
        }
    }
}
