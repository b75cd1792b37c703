/* SHA-256, FIPS 180-4. Here rather than from a library because schedules carry a content id and the
 * executor that checks it must build with libc alone. */
#include "costmodel/base.h"

#include <stdio.h>
#include <string.h>

static const uint32_t round_constant[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int n) {
    return x >> n | x << (32 - n);
}

static uint32_t read_word(const unsigned char *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* One round. Instead of moving the eight working variables, the caller names them one further. */
#define ROUND(a, b, c, d, e, f, g, h, t)                                                           \
    do {                                                                                           \
        uint32_t t1 = (h) + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +                       \
                      ((g) ^ ((e) & ((f) ^ (g)))) + round_constant[t] + w[t];                      \
        (d) += t1;                                                                                 \
        (h) = t1 + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +                                \
              (((a) & (b)) | ((c) & ((a) | (b))));                                                 \
    } while (0)

static void compress(uint32_t state[8], const unsigned char block[64]) {
    uint32_t w[64];
    for (int t = 0; t < 16; t++) {
        w[t] = read_word(block + 4 * t);
    }
    for (int t = 16; t < 64; t++) {
        uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 64; t += 8) {
        ROUND(a, b, c, d, e, f, g, h, t);
        ROUND(h, a, b, c, d, e, f, g, t + 1);
        ROUND(g, h, a, b, c, d, e, f, t + 2);
        ROUND(f, g, h, a, b, c, d, e, t + 3);
        ROUND(e, f, g, h, a, b, c, d, t + 4);
        ROUND(d, e, f, g, h, a, b, c, t + 5);
        ROUND(c, d, e, f, g, h, a, b, t + 6);
        ROUND(b, c, d, e, f, g, h, a, t + 7);
    }
    const uint32_t v[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) {
        state[i] += v[i];
    }
}

void pp_sha256_begin(struct pp_sha256 *h) {
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    h->size = 0;
    memcpy(h->state, initial, sizeof initial);
}

void pp_sha256_add(struct pp_sha256 *h, const void *data, size_t size) {
    const unsigned char *bytes = data;
    size_t used = (size_t)(h->size % sizeof h->block);
    h->size += size;
    if (used > 0 && size >= sizeof h->block - used) {
        size_t fill = sizeof h->block - used;
        memcpy(h->block + used, bytes, fill);
        compress(h->state, h->block);
        bytes += fill;
        size -= fill;
        used = 0;
    }
    for (; size >= sizeof h->block; size -= sizeof h->block, bytes += sizeof h->block) {
        compress(h->state, bytes); /* only with an empty block: a full one was handled above */
    }
    if (size > 0) {
        memcpy(h->block + used, bytes, size);
    }
}

void pp_sha256_end(struct pp_sha256 *h, char hex[65]) {
    unsigned char tail[72] = {0x80}; /* a one bit, zeros, the length in bits */
    uint64_t bit_count = h->size * 8;
    size_t used = (size_t)(h->size % sizeof h->block);
    size_t pad = used < 56 ? 56 - used : 120 - used;
    for (int i = 0; i < 8; i++) {
        tail[pad + (size_t)i] = (unsigned char)(bit_count >> (56 - 8 * i));
    }
    pp_sha256_add(h, tail, pad + 8);
    for (int i = 0; i < 8; i++) {
        snprintf(hex + 8 * i, 9, "%08x", (unsigned)h->state[i]);
    }
}

void pp_sha256_hex(const void *data, size_t size, char hex[65]) {
    struct pp_sha256 h;
    pp_sha256_begin(&h);
    pp_sha256_add(&h, data, size);
    pp_sha256_end(&h, hex);
}
