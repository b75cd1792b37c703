#include "tests/exec/kernel_harness.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD_BYTES = 256, POISON = 0xFF }; /* all bits: NaN in every type of number */

static uint64_t next_random(struct suite *s) {
    uint64_t x = s->random += 0x9E3779B97F4A7C15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

double uniform(struct suite *s) {
    return (double)(next_random(s) >> 11) * 0x1p-53;
}

static double normal(struct suite *s) {
    double sum = -6;
    for (int i = 0; i < 12; i++) {
        sum += uniform(s);
    }
    return sum;
}

static void *must_have(void *memory) {
    if (memory == NULL) {
        fprintf(stderr, "kernel suite: no memory\n");
        exit(1);
    }
    return memory;
}

static int64_t bytes_of(struct suite *s, enum tensor_type type) {
    switch (type) {
    case ACT:
        return s->ops->act_bytes(s->context);
    case FLOAT:
    case INT:
        return 4;
    case DOUBLE:
        return 8;
    }
    return 0;
}

/* An activation of two bytes is a bfloat16: the upper half of a float, rounded to nearest even. */
static void encode(unsigned char *bits, enum tensor_type type, int64_t size, double value) {
    float f = (float)value;
    int32_t i = (int32_t)value;
    uint32_t word = 0;
    if (type == DOUBLE) {
        memcpy(bits, &value, 8);
    } else if (type == INT) {
        memcpy(bits, &i, 4);
    } else if (size == 4) {
        memcpy(bits, &f, 4);
    } else {
        memcpy(&word, &f, 4);
        uint16_t upper = (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
        memcpy(bits, &upper, 2);
    }
}

static double decode(const unsigned char *bits, enum tensor_type type, int64_t size) {
    double d = 0;
    float f = 0;
    int32_t i = 0;
    uint16_t upper = 0;
    if (type == DOUBLE) {
        memcpy(&d, bits, 8);
        return d;
    }
    if (type == INT) {
        memcpy(&i, bits, 4);
        return i;
    }
    if (size == 4) {
        memcpy(&f, bits, 4);
        return (double)f;
    }
    memcpy(&upper, bits, 2);
    uint32_t word = (uint32_t)upper << 16;
    memcpy(&f, &word, 4);
    return (double)f;
}

static struct tensor *tensor_new(struct suite *s, enum tensor_type type, int64_t count) {
    struct tensor *t = must_have(calloc(1, sizeof *t));
    t->next = s->tensors;
    s->tensors = t;
    t->type = type;
    t->count = count;
    t->bytes = count * bytes_of(s, type);
    t->at = must_have(calloc((size_t)count + 1, sizeof t->at[0]));
    t->bits = must_have(malloc((size_t)t->bytes + GUARD_BYTES));
    memset(t->bits, POISON, (size_t)t->bytes + GUARD_BYTES);
    return t;
}

static struct tensor *send(struct suite *s, struct tensor *t) {
    int64_t size = bytes_of(s, t->type);
    for (int64_t i = 0; i < t->count; i++) {
        encode(t->bits + i * size, t->type, size, t->at[i]);
        t->at[i] = decode(t->bits + i * size, t->type, size);
    }
    t->device = must_have(s->ops->alloc(s->context, t->bytes + GUARD_BYTES));
    s->ops->upload(s->context, t->device, t->bits, t->bytes + GUARD_BYTES);
    return t;
}

struct tensor *input(struct suite *s, enum tensor_type type, int64_t count, const double *values) {
    struct tensor *t = tensor_new(s, type, count);
    memcpy(t->at, values, (size_t)count * sizeof values[0]);
    return send(s, t);
}

struct tensor *random_input(struct suite *s, enum tensor_type type, int64_t count, double scale) {
    struct tensor *t = tensor_new(s, type, count);
    for (int64_t i = 0; i < count; i++) {
        t->at[i] = scale * normal(s);
    }
    return send(s, t);
}

struct tensor *random_ids(struct suite *s, int64_t count, int64_t below) {
    struct tensor *t = tensor_new(s, INT, count);
    for (int64_t i = 0; i < count; i++) {
        t->at[i] = (double)(next_random(s) % (uint64_t)below);
    }
    return send(s, t);
}

struct tensor *poisoned(struct suite *s, enum tensor_type type, int64_t count) {
    struct tensor *t = tensor_new(s, type, count);
    t->output = true;
    t->device = must_have(s->ops->alloc(s->context, t->bytes + GUARD_BYTES));
    s->ops->upload(s->context, t->device, t->bits, t->bytes + GUARD_BYTES);
    return t;
}

struct tensor *in_place(struct tensor *t) {
    t->output = true;
    return t;
}

struct tensor *random_start(struct suite *s, enum tensor_type type, int64_t count) {
    return in_place(random_input(s, type, count, 1));
}

double *scratch(struct suite *s, int64_t count) {
    struct tensor *t =
        must_have(calloc(1, sizeof *t)); /* freed as one, with nothing on the device */
    t->next = s->tensors;
    s->tensors = t;
    t->output = true;
    t->at = must_have(calloc((size_t)count + 1, sizeof t->at[0]));
    return t->at;
}

int32_t *ints_of(struct suite *s, const struct tensor *t) {
    int32_t *ints = (int32_t *)scratch(s, t->count);
    for (int64_t i = 0; i < t->count; i++) {
        ints[i] = (int32_t)t->at[i];
    }
    return ints;
}

void check(struct suite *s, bool ok, const char *format, ...) {
    if (ok) {
        s->counts.passed++;
        return;
    }
    s->counts.failed++;
    va_list arguments;
    va_start(arguments, format);
    printf("FAILED %s %s: ", s->group, s->name);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

static void digest(struct suite *s, const unsigned char *bytes, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        s->digest = (s->digest ^ bytes[i]) * 0x100000001B3u; /* FNV-1a */
    }
}

static unsigned char *bits_now(struct suite *s, const struct tensor *t) {
    unsigned char *now = must_have(malloc((size_t)t->bytes + GUARD_BYTES));
    s->ops->download(s->context, now, t->device, t->bytes + GUARD_BYTES);
    return now;
}

double *download(struct suite *s, const struct tensor *t) {
    double *at = scratch(s, t->count);
    unsigned char *now = bits_now(s, t);
    int64_t size = bytes_of(s, t->type);
    for (int64_t i = 0; i < t->count; i++) {
        at[i] = decode(now + i * size, t->type, size);
    }
    digest(s, now, t->bytes);
    free(now);
    return at;
}

void check_close_by(struct suite *s, const char *what, const struct tensor *t,
                    const double *expected, double tolerance) {
    const double *now = download(s, t);
    double difference = 0;
    double norm = 0;
    int64_t worst = 0;
    for (int64_t i = 0; i < t->count; i++) {
        double d = fabs(now[i] - expected[i]);
        if (!isfinite(now[i])) {
            check(s, false, "%s[%lld] is %g, expected %.9g", what, (long long)i, now[i],
                  expected[i]);
            return;
        }
        worst = d > fabs(now[worst] - expected[worst]) ? i : worst;
        difference += d * d;
        norm += expected[i] * expected[i];
    }
    bool ok = sqrt(difference) <= tolerance * sqrt(norm);
    s->counts.worst =
        ok && norm > 0 ? fmax(s->counts.worst, sqrt(difference / norm)) : s->counts.worst;
    check(s, ok, "%s is off by %.2g of its norm; worst at %lld: %.9g, expected %.9g", what,
          sqrt(difference / norm), (long long)worst, t->count > 0 ? now[worst] : 0,
          t->count > 0 ? expected[worst] : 0);
}

void check_close(struct suite *s, const char *what, const struct tensor *t,
                 const double *expected) {
    check_close_by(s, what, t, expected, s->tolerance);
}

/* Nothing was written behind a tensor, nor to one that is only read. Frees them. */
static void end_case(struct suite *s) {
    while (s->tensors != NULL) {
        struct tensor *t = s->tensors;
        s->tensors = t->next;
        if (t->device != NULL) {
            unsigned char *now = bits_now(s, t);
            check(s, memcmp(now + t->bytes, t->bits + t->bytes, GUARD_BYTES) == 0,
                  "a kernel wrote behind a tensor of %lld elements", (long long)t->count);
            check(s, t->output || memcmp(now, t->bits, (size_t)t->bytes) == 0,
                  "a kernel wrote to an input of %lld elements", (long long)t->count);
            s->ops->free(s->context, t->device);
            free(now);
        }
        free(t->at);
        free(t->bits);
        free(t);
    }
}

void run_case(struct suite *s, void (*body)(struct suite *s, const void *what), const void *what,
              const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(s->name, sizeof s->name, format, arguments);
    va_end(arguments);
    uint64_t seed = s->random;
    uint64_t first = 0;
    for (int run = 0; run < 2; run++) {
        s->random = seed;
        s->digest = 0xCBF29CE484222325u;
        body(s, what);
        end_case(s);
        first = run == 0 ? s->digest : first;
    }
    check(s, s->digest == first, "two runs gave different bits");
}
