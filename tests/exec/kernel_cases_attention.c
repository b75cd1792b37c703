/* Rotary positions and attention. */
#include "tests/exec/kernel_harness.h"
#include "tests/exec/kernel_oracle.h"

#include <string.h>

struct attention_case {
    struct pp_attention_shape shape;
    double scale; /* of the rows */
};

static int64_t row_width(const struct pp_attention_shape *z) {
    return ((int64_t)z->heads + 2 * z->kv_heads) * z->head_dim;
}

static void rope_case(struct suite *s, const void *what) {
    const struct pp_attention_shape *z = &((const struct attention_case *)what)->shape;
    int64_t count = (int64_t)z->sequences * z->length * row_width(z);
    for (int back = 0; back < 2; back++) {
        struct tensor *rows = random_start(s, ACT, count);
        double *before = scratch(s, count);
        memcpy(before, rows->at, (size_t)count * sizeof before[0]);
        s->ops->rope(s->context, rows->device, z, 10000.0F, back);
        oracle_rope(rows->at, z, 10000, back);
        check_close(s, back ? "back" : "forth", rows, rows->at);
        s->ops->rope(s->context, rows->device, z, 10000.0F, !back);
        check_close(s, "there and back", rows, before);
    }
}

static void attention_case(struct suite *s, const void *what) {
    const struct attention_case *c = what;
    const struct pp_attention_shape *z = &c->shape;
    int64_t tokens = (int64_t)z->sequences * z->length;
    int64_t out = tokens * z->heads * z->head_dim;
    struct tensor *qkv = random_input(s, ACT, tokens * row_width(z), c->scale);
    struct tensor *o = poisoned(s, ACT, out);
    struct tensor *lse = poisoned(s, FLOAT, tokens * z->heads);
    struct tensor *do_ = random_input(s, ACT, out, 1);
    struct tensor *dqkv = poisoned(s, ACT, qkv->count);
    double *p = scratch(s, z->length);
    double *dp = scratch(s, z->length);
    s->ops->attention(s->context, o->device, lse->device, qkv->device, z);
    oracle_attention(o->at, lse->at, p, qkv->at, z);
    check_close(s, "o", o, o->at);
    check_close(s, "lse", lse, lse->at);
    s->ops->attention_grad(s->context, dqkv->device, do_->device, o->device, lse->device,
                           qkv->device, z);
    oracle_attention_grad(dqkv->at, p, dp, do_->at, qkv->at, z);
    check_close(s, "dqkv", dqkv, dqkv->at);
}

/* Scores of thousands: which key wins is clear, by so much that float and float64 agree. Only the
 * greatest probability, 1, and exact zeros are left, so overflow shows and rounding does not. */
static void steep_case(struct suite *s, const void *what) {
    const struct pp_attention_shape *z = &((const struct attention_case *)what)->shape;
    int64_t width = row_width(z);
    int64_t tokens = (int64_t)z->sequences * z->length;
    double *values = scratch(s, tokens * width);
    for (int64_t i = 0; i < tokens * width; i++) {
        int64_t head = i % width / z->head_dim;
        bool is_value = head >= z->heads + z->kv_heads;
        bool is_key = head >= z->heads && !is_value;
        int64_t place = i / width % z->length;
        values[i] = is_value ? uniform(s) - 0.5 : is_key ? (double)(place * 37 % 64) : 64;
    }
    struct tensor *qkv = input(s, ACT, tokens * width, values);
    struct tensor *o = poisoned(s, ACT, tokens * z->heads * z->head_dim);
    struct tensor *lse = poisoned(s, FLOAT, tokens * z->heads);
    s->ops->attention(s->context, o->device, lse->device, qkv->device, z);
    oracle_attention(o->at, lse->at, scratch(s, z->length), qkv->at, z);
    check_close(s, "o", o, o->at);
    check_close(s, "lse", lse, lse->at);
}

static const struct attention_case cases[] = {
    /* sequences, length, heads, kv_heads, head_dim, window */
    {{1, 1, 1, 1, 8, 0}, 1},    {{3, 1, 2, 1, 16, 0}, 1},    {{1, 2, 1, 1, 8, 0}, 1},
    {{2, 7, 4, 2, 8, 0}, 1},    {{1, 63, 2, 2, 16, 0}, 1},   {{1, 64, 4, 1, 32, 0}, 1},
    {{2, 65, 3, 3, 24, 0}, 1},  {{1, 130, 4, 2, 64, 0}, 1},  {{1, 96, 1, 1, 128, 0}, 1},
    {{1, 9, 6, 2, 10, 3}, 1},   {{2, 70, 2, 1, 16, 1}, 1},   {{1, 130, 2, 2, 16, 5}, 1},
    {{1, 200, 2, 1, 8, 64}, 1}, {{1, 67, 2, 1, 8, 500}, 1},  {{1, 600, 1, 1, 8, 0}, 1},
    {{1, 1100, 1, 1, 8, 0}, 1}, {{1, 700, 2, 1, 8, 550}, 1}, {{1, 64, 2, 2, 16, 0}, 3},
    {{1, 577, 1, 1, 8, 0}, 4},
};

void kernel_cases_attention(struct suite *s) {
    static const struct attention_case turning[] = {
        {{1, 1, 1, 1, 2, 0}, 1}, {{1, 300, 1, 1, 256, 0}, 1}, {{1, 3000, 1, 1, 4, 0}, 1}};
    static const struct attention_case steep[] = {
        {{1, 50, 2, 1, 16, 0}, 1}, {{1, 640, 1, 1, 16, 0}, 1}, {{2, 90, 2, 1, 64, 33}, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct pp_attention_shape *z = &cases[i].shape;
        s->group = "attention";
        run_case(s, attention_case, &cases[i],
                 "%d x %d, %d heads of %d, %d kv, window %d, scale %g", z->sequences, z->length,
                 z->heads, z->head_dim, z->kv_heads, z->window, cases[i].scale);
        s->group = "rope";
        if (z->length < 300) {
            run_case(s, rope_case, &cases[i], "%d x %d, %d + %d heads of %d", z->sequences,
                     z->length, z->heads, z->kv_heads, z->head_dim);
        }
    }
    for (size_t i = 0; i < sizeof turning / sizeof turning[0]; i++) {
        run_case(s, rope_case, &turning[i], "length %d, heads of %d", turning[i].shape.length,
                 turning[i].shape.head_dim);
    }
    s->group = "attention";
    for (size_t i = 0; i < sizeof steep / sizeof steep[0]; i++) {
        run_case(s, steep_case, &steep[i], "steep, length %d, window %d", steep[i].shape.length,
                 steep[i].shape.window);
    }
}
