/* The kernel suite's reference (kernel_oracle.h): every gradient against finite differences of its
 * forward, in float64. */
#include "tests/exec/kernel_oracle.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* A function of x[count] is judged by its outputs times fixed weights: one number. */
struct function {
    int64_t count, outputs;
    double *x; /* what is varied, of any arrays that the function knows */
    void (*forward)(double *y, const struct function *f);
    const void *with;
    int32_t *ids;
    const double *other;
};

static double drawn(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-52 - 1;
}

static double *draw(uint64_t seed, int64_t count) {
    double *x = malloc((size_t)count * sizeof x[0]);
    for (int64_t i = 0; i < count; i++) {
        x[i] = drawn(&seed);
    }
    return x;
}

static double *zeros(int64_t count) {
    return calloc((size_t)count, sizeof(double));
}

static double judged(const struct function *f, const double *weight) {
    double *y = zeros(f->outputs);
    double sum = 0;
    f->forward(y, f);
    for (int64_t i = 0; i < f->outputs; i++) {
        sum += weight[i] * y[i];
    }
    free(y);
    return sum;
}

static void expect_gradient(const char *name, const struct function *f, const double *weight,
                            const double *gradient) {
    const double h = 1e-5;
    double off = 0;
    double norm = 0;
    for (int64_t i = 0; i < f->count; i++) {
        double x = f->x[i];
        f->x[i] = x + h;
        double above = judged(f, weight);
        f->x[i] = x - h;
        double below = judged(f, weight);
        f->x[i] = x;
        double slope = (above - below) / (2 * h);
        off += (slope - gradient[i]) * (slope - gradient[i]);
        norm += slope * slope;
    }
    cr_expect(norm > 0 && off <= 1e-14 * norm, "%s: off by %g of the finite differences", name,
              sqrt(off / norm));
}

/* ---- linear ---- */

enum { T = 5, IN = 4, OUT = 6 };

static void linear_of_x(double *y, const struct function *f) {
    oracle_linear(y, f->x, f->other, T, IN, OUT);
}
static void linear_of_w(double *y, const struct function *f) {
    oracle_linear(y, f->other, f->x, T, IN, OUT);
}

Test(kernel_oracle, linear) {
    double *x = draw(1, T * IN);
    double *w = draw(2, OUT * IN);
    double *dy = draw(3, T * OUT);
    double *dx = zeros(T * IN);
    double *dw = zeros(OUT * IN);
    oracle_linear_input_grad(dx, dy, w, T, IN, OUT);
    oracle_linear_weight_grad(dw, dy, x, T, IN, OUT);
    struct function of_x = {T * IN, T * OUT, x, linear_of_x, NULL, NULL, w};
    struct function of_w = {OUT * IN, T * OUT, w, linear_of_w, NULL, NULL, x};
    expect_gradient("dx", &of_x, dy, dx);
    expect_gradient("dw", &of_w, dy, dw);
    free(x), free(w), free(dy), free(dx), free(dw);
}

/* ---- embedding ---- */

static void embed_of_table(double *y, const struct function *f) {
    oracle_embed(y, f->x, f->ids, T, IN);
}

Test(kernel_oracle, embedding) {
    int32_t ids[T] = {2, 0, 2, 2, 1};
    double *table = draw(1, 4 * IN);
    double *dy = draw(2, T * IN);
    double *dtable = zeros(4 * IN);
    oracle_embed_grad(dtable, dy, ids, T, IN);
    struct function f = {4 * IN, T * IN, table, embed_of_table, NULL, ids, NULL};
    expect_gradient("dtable", &f, dy, dtable);
    free(table), free(dy), free(dtable);
}

/* ---- norm ---- */

static void norm_of_x(double *y, const struct function *f) {
    double rstd[T];
    oracle_norm(y, rstd, f->x, f->other, T, OUT, 0.125);
}
static void norm_of_gamma(double *y, const struct function *f) {
    double rstd[T];
    oracle_norm(y, rstd, f->other, f->x, T, OUT, 0.125);
}

Test(kernel_oracle, norm) {
    double *x = draw(1, T * OUT);
    double *gamma = draw(2, OUT);
    double *dy = draw(3, T * OUT);
    double *dx = zeros(T * OUT);
    double *dgamma = zeros(OUT);
    oracle_norm_grad(dx, dgamma, dy, x, gamma, T, OUT, 0.125);
    struct function of_x = {T * OUT, T * OUT, x, norm_of_x, NULL, NULL, gamma};
    struct function of_gamma = {OUT, T * OUT, gamma, norm_of_gamma, NULL, NULL, x};
    expect_gradient("dx", &of_x, dy, dx);
    expect_gradient("dgamma", &of_gamma, dy, dgamma);
    free(x), free(gamma), free(dy), free(dx), free(dgamma);
}

/* ---- attention and rope ---- */

static int64_t count_of(const struct pp_attention_shape *s, int64_t heads) {
    return (int64_t)s->sequences * s->length * heads * s->head_dim;
}

static void attention_of_qkv(double *o, const struct function *f) {
    const struct pp_attention_shape *s = f->with;
    double p[16];
    double lse[64];
    oracle_attention(o, lse, p, f->x, s);
}

static void rope_of_qkv(double *y, const struct function *f) {
    memcpy(y, f->x, (size_t)f->count * sizeof y[0]);
    oracle_rope(y, f->with, 100, false);
}

static const struct pp_attention_shape shapes[] = {
    {1, 1, 1, 1, 4, 0}, {2, 5, 2, 1, 4, 0}, {1, 9, 3, 3, 2, 3}, {1, 6, 4, 2, 4, 1}};

/* dv is the one part of T = 1 that is not zero. */
Test(kernel_oracle, attention) {
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct pp_attention_shape *s = &shapes[i];
        int64_t count = count_of(s, s->heads + 2 * s->kv_heads);
        int64_t outputs = count_of(s, s->heads);
        double *qkv = draw(1, count);
        double *do_ = draw(2, outputs);
        double *dqkv = zeros(count);
        double p[16];
        double dp[16];
        oracle_attention_grad(dqkv, p, dp, do_, qkv, s);
        struct function f = {count, outputs, qkv, attention_of_qkv, s, NULL, NULL};
        expect_gradient("dqkv", &f, do_, dqkv);
        free(qkv), free(do_), free(dqkv);
    }
}

/* A rotation: its gradient is the rotation back. */
Test(kernel_oracle, rope) {
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct pp_attention_shape *s = &shapes[i];
        int64_t count = count_of(s, s->heads + 2 * s->kv_heads);
        double *qkv = draw(1, count);
        double *dy = draw(2, count);
        double *dx = zeros(count);
        memcpy(dx, dy, (size_t)count * sizeof dx[0]);
        oracle_rope(dx, s, 100, true);
        struct function f = {count, count, qkv, rope_of_qkv, s, NULL, NULL};
        expect_gradient("rope", &f, dy, dx);
        free(qkv), free(dy), free(dx);
    }
}

/* ---- SwiGLU ---- */

static void swiglu_of_gate_up(double *a, const struct function *f) {
    oracle_swiglu(a, f->x, T, OUT);
}

Test(kernel_oracle, swiglu) {
    double *gate_up = draw(1, 2 * T * OUT);
    double *da = draw(2, T * OUT);
    double *gradient = zeros(2 * T * OUT);
    memcpy(gradient, gate_up, 2 * T * OUT * sizeof gradient[0]);
    oracle_swiglu_grad(gradient, da, T, OUT);
    struct function f = {2 * T * OUT, T * OUT, gate_up, swiglu_of_gate_up, NULL, NULL, NULL};
    expect_gradient("dgate_up", &f, da, gradient);
    free(gate_up), free(da), free(gradient);
}

/* ---- cross-entropy ---- */

static void loss_of_logits(double *loss, const struct function *f) {
    double logits[T * OUT];
    memcpy(logits, f->x, sizeof logits);
    *loss = oracle_cross_entropy(logits, f->ids, T, OUT, 1);
}

Test(kernel_oracle, cross_entropy) {
    int32_t targets[T] = {0, 5, 3, 3, 1};
    const double scale = 0.25;
    double *logits = draw(1, T * OUT);
    double gradient[T * OUT];
    for (int64_t i = 0; i < T * OUT; i++) {
        gradient[i] = logits[i] *= 3;
    }
    oracle_cross_entropy(gradient, targets, T, OUT, scale);
    struct function f = {T * OUT, 1, logits, loss_of_logits, NULL, targets, NULL};
    expect_gradient("dlogits", &f, &scale, gradient);
    free(logits);
}

/* ---- routing ---- */

enum { EXPERTS = 6, CHOSEN = 3 };

static void weights_of_logits(double *weight, const struct function *f) {
    oracle_route_weights(weight, f->x, f->ids, T, EXPERTS, CHOSEN);
}

Test(kernel_oracle, route) {
    int32_t choice[T * CHOSEN] = {0, 1, 2, 5, 4, 3, 2, 0, 5, 1, 3, 5, 4, 0, 2};
    double *logits = draw(1, T * EXPERTS);
    double *dweight = draw(2, T * CHOSEN);
    double *dlogits = zeros(T * EXPERTS);
    double weight[T * CHOSEN];
    oracle_route_weights(weight, logits, choice, T, EXPERTS, CHOSEN);
    oracle_route_grad(dlogits, weight, dweight, choice, T, EXPERTS, CHOSEN);
    struct function f = {T * EXPERTS, T * CHOSEN, logits, weights_of_logits, NULL, choice, NULL};
    expect_gradient("dlogits", &f, dweight, dlogits);
    free(logits), free(dweight), free(dlogits);
}

static const int32_t places[T * CHOSEN] = {3, 14, 0, 1, 2, 7, 8, 4, 5, 13, 12, 6, 9, 11, 10};

static void combined_of_rows(double *y, const struct function *f) {
    oracle_combine(y, f->other, f->x, places, T, CHOSEN, IN);
}
static void combined_of_weights(double *y, const struct function *f) {
    oracle_combine(y, f->x, f->other, places, T, CHOSEN, IN);
}
static void gathered_of_x(double *rows, const struct function *f) {
    oracle_gather(rows, f->x, places, T, CHOSEN, IN);
}

Test(kernel_oracle, gather_and_combine) {
    enum { ROWS = T * CHOSEN };
    double *x = draw(1, T * IN);
    double *rows = draw(2, ROWS * IN);
    double *weight = draw(3, ROWS);
    double *dy = draw(4, T * IN);
    double *drows = zeros(ROWS * IN);
    double *dweight = zeros(ROWS);
    double *dx = zeros(T * IN);
    double ones[ROWS];
    for (int i = 0; i < ROWS; i++) {
        ones[i] = 1;
    }
    oracle_combine_grad(drows, dweight, dy, weight, rows, places, T, CHOSEN, IN);
    struct function of_rows = {ROWS * IN, T * IN, rows, combined_of_rows, NULL, NULL, weight};
    struct function of_weight = {ROWS, T * IN, weight, combined_of_weights, NULL, NULL, rows};
    expect_gradient("drows", &of_rows, dy, drows);
    expect_gradient("dweight", &of_weight, dy, dweight);
    oracle_combine(dx, ones, rows, places, T, CHOSEN, IN); /* rows stand for the gradient */
    struct function of_x = {T * IN, ROWS * IN, x, gathered_of_x, NULL, NULL, NULL};
    expect_gradient("dx", &of_x, rows, dx);
    free(x), free(rows), free(weight), free(dy), free(drows), free(dweight), free(dx);
}

/* ---- optimizer ---- */

/* Its first step is lr * (sign of the gradient + decay * parameter), whatever the gradient. */
Test(kernel_oracle, adamw) {
    const struct pp_adamw options = {0.01F, 0.9F, 0.999F, 0, 0.5F, 1};
    double parameter[3] = {2, -1, 0.5};
    double m[3] = {0};
    double v[3] = {0};
    const double grad[3] = {1e-7, -3, 1e5};
    oracle_adamw(parameter, m, v, grad, 3, &options);
    double rate = (double)options.learning_rate;
    cr_expect_float_eq(parameter[0], 2 - rate * (1 + 1), 1e-12);
    cr_expect_float_eq(parameter[1], -1 + rate * (1 + 0.5), 1e-12);
    cr_expect_float_eq(parameter[2], 0.5 - rate * (1 + 0.25), 1e-12);
}
