/* Linear layers, embedding, norm, SwiGLU, sums, cross-entropy, optimizer. */
#include "tests/exec/kernel_harness.h"
#include "tests/exec/kernel_oracle.h"

#include <string.h>

static double *copy_of(struct suite *s, const double *from, int64_t count) {
    double *to = scratch(s, count);
    memcpy(to, from, (size_t)count * sizeof to[0]);
    return to;
}

/* ---- memory ---- */

static void memory_case(struct suite *s, const void *what) {
    int64_t count = *(const int64_t *)what;
    struct tensor *from = random_input(s, FLOAT, count, 1);
    struct tensor *to = poisoned(s, FLOAT, count);
    check(s, (uintptr_t)from->device % 64 == 0 && (uintptr_t)to->device % 64 == 0,
          "memory is not aligned to 64");
    s->ops->copy(s->context, to->device, from->device, to->bytes);
    check_close_by(s, "copy", to, from->at, 0);
    s->ops->zero(s->context, to->device, to->bytes);
    check_close_by(s, "zero", to, scratch(s, count), 0);
    s->ops->free(s->context, NULL);
}

/* ---- linear ---- */

struct linear_size {
    int64_t tokens, in, out;
};

static void linear_case(struct suite *s, const void *what) {
    const struct linear_size *z = what;
    int64_t T = z->tokens;
    struct tensor *x = random_input(s, ACT, T * z->in, 1);
    struct tensor *w = random_input(s, ACT, z->out * z->in, 0.5);
    struct tensor *dy = random_input(s, ACT, T * z->out, 1);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        struct tensor *y =
            accumulate ? random_start(s, ACT, T * z->out) : poisoned(s, ACT, T * z->out);
        struct tensor *dx =
            accumulate ? random_start(s, ACT, T * z->in) : poisoned(s, ACT, T * z->in);
        s->ops->linear(s->context, y->device, x->device, w->device, T, z->in, z->out, accumulate);
        s->ops->linear_input_grad(s->context, dx->device, dy->device, w->device, T, z->in, z->out,
                                  accumulate);
        oracle_linear(y->at, x->at, w->at, T, z->in, z->out);
        oracle_linear_input_grad(dx->at, dy->at, w->at, T, z->in, z->out);
        check_close(s, "y", y, y->at);
        check_close(s, "dx", dx, dx->at);
    }
    struct tensor *dw = random_start(s, FLOAT, z->out * z->in);
    s->ops->linear_weight_grad(s->context, dw->device, dy->device, x->device, T, z->in, z->out);
    oracle_linear_weight_grad(dw->at, dy->at, x->at, T, z->in, z->out);
    check_close(s, "dw", dw, dw->at);
}

static void linear_cases(struct suite *s) {
    static const struct linear_size sizes[] = {{1, 1, 1},    {1, 7, 5},      {3, 64, 64},
                                               {5, 1, 9},    {65, 33, 129},  {64, 64, 256},
                                               {130, 96, 1}, {17, 259, 131}, {70, 200, 3}};
    s->group = "linear";
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        run_case(s, linear_case, &sizes[i], "%lld x %lld x %lld", (long long)sizes[i].tokens,
                 (long long)sizes[i].in, (long long)sizes[i].out);
    }
}

/* ---- embedding ---- */

struct embed_size {
    int64_t tokens, vocab, width;
};

static void embed_case(struct suite *s, const void *what) {
    const struct embed_size *z = what;
    struct tensor *table = random_input(s, ACT, z->vocab * z->width, 1);
    struct tensor *dy = random_input(s, ACT, z->tokens * z->width, 1);
    struct tensor *ids = random_ids(s, z->tokens, z->vocab);
    struct tensor *y = poisoned(s, ACT, z->tokens * z->width);
    struct tensor *dtable = random_start(s, FLOAT, z->vocab * z->width);
    s->ops->embed(s->context, y->device, table->device, ids->device, z->tokens, z->width);
    s->ops->embed_grad(s->context, dtable->device, dy->device, ids->device, z->tokens, z->width);
    oracle_embed(y->at, table->at, ints_of(s, ids), z->tokens, z->width);
    oracle_embed_grad(dtable->at, dy->at, ints_of(s, ids), z->tokens, z->width);
    check_close_by(s, "y", y, y->at, 0);
    check_close(s, "dtable", dtable, dtable->at);
}

/* ---- norm ---- */

struct norm_size {
    int64_t tokens, width;
    double scale;
};

static void norm_case(struct suite *s, const void *what) {
    const struct norm_size *z = what;
    int64_t count = z->tokens * z->width;
    const float epsilon = 1e-5F;
    struct tensor *x = random_input(s, ACT, count, z->scale);
    struct tensor *gamma = random_input(s, ACT, z->width, 1);
    struct tensor *dy = random_input(s, ACT, count, 1);
    struct tensor *y = poisoned(s, ACT, count);
    struct tensor *rstd = poisoned(s, FLOAT, z->tokens);
    s->ops->norm(s->context, y->device, rstd->device, x->device, gamma->device, z->tokens, z->width,
                 epsilon);
    oracle_norm(y->at, rstd->at, x->at, gamma->at, z->tokens, z->width, (double)epsilon);
    check_close(s, "y", y, y->at);
    check_close(s, "rstd", rstd, rstd->at);
    struct tensor *dx = random_start(s, ACT, count);
    struct tensor *dgamma = random_start(s, FLOAT, z->width);
    s->ops->norm_grad(s->context, dx->device, dgamma->device, dy->device, x->device, rstd->device,
                      gamma->device, z->tokens, z->width);
    oracle_norm_grad(dx->at, dgamma->at, dy->at, x->at, gamma->at, z->tokens, z->width,
                     (double)epsilon);
    check_close(s, "dx", dx, dx->at);
    check_close(s, "dgamma", dgamma, dgamma->at);
}

static void norm_cases(struct suite *s) {
    static const struct norm_size sizes[] = {
        {1, 1, 1},     {1, 64, 1},     {3, 3, 1},    {33, 100, 1}, {64, 64, 1},
        {40, 64, 1e4}, {40, 64, 1e-3}, {5, 1024, 1}, {7, 31, 1},   {400, 17, 1}};
    s->group = "norm";
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        run_case(s, norm_case, &sizes[i], "%lld x %lld, scale %g", (long long)sizes[i].tokens,
                 (long long)sizes[i].width, sizes[i].scale);
    }
}

/* ---- SwiGLU ---- */

struct swiglu_size {
    int64_t tokens, ffn;
    double scale;
};

static void swiglu_case(struct suite *s, const void *what) {
    const struct swiglu_size *z = what;
    int64_t count = z->tokens * z->ffn;
    struct tensor *gate_up = random_input(s, ACT, 2 * count, z->scale);
    struct tensor *da = random_input(s, ACT, count, 1);
    struct tensor *a = poisoned(s, ACT, count);
    s->ops->swiglu(s->context, a->device, gate_up->device, z->tokens, z->ffn);
    oracle_swiglu(a->at, gate_up->at, z->tokens, z->ffn);
    check_close(s, "a", a, a->at);
    in_place(gate_up);
    s->ops->swiglu_grad(s->context, gate_up->device, da->device, z->tokens, z->ffn);
    oracle_swiglu_grad(gate_up->at, da->at, z->tokens, z->ffn);
    check_close(s, "dgate_up", gate_up, gate_up->at);
}

static void swiglu_cases(struct suite *s) {
    static const struct swiglu_size sizes[] = {{0, 8, 1},    {1, 1, 1},   {3, 31, 1}, {9, 64, 3},
                                               {9, 64, 100}, {2, 5, 1e4}, {4, 176, 1}};
    s->group = "swiglu";
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        run_case(s, swiglu_case, &sizes[i], "%lld x %lld, scale %g", (long long)sizes[i].tokens,
                 (long long)sizes[i].ffn, sizes[i].scale);
    }
}

/* ---- sums ---- */

static void sum_case(struct suite *s, const void *what) {
    int64_t count = *(const int64_t *)what;
    struct tensor *x = random_input(s, ACT, count, 1);
    struct tensor *y = random_start(s, ACT, count);
    struct tensor *xf = random_input(s, FLOAT, count, 1);
    struct tensor *yf = random_start(s, FLOAT, count);
    double *scaled = scratch(s, count);
    s->ops->add(s->context, y->device, x->device, count);
    s->ops->add_float(s->context, yf->device, xf->device, count);
    for (int64_t i = 0; i < count; i++) {
        y->at[i] += x->at[i];
        yf->at[i] += xf->at[i];
        scaled[i] = yf->at[i] * 0.375;
    }
    check_close(s, "add", y, y->at);
    check_close(s, "add_float", yf, yf->at);
    s->ops->scale_float(s->context, yf->device, 0.375F, count);
    check_close(s, "scale_float", yf, scaled);
}

/* ---- cross-entropy ---- */

struct entropy_size {
    int64_t tokens, vocab;
    double scale, offset;
    double sure; /* added to the target's logit */
};

static void entropy_case(struct suite *s, const void *what) {
    const struct entropy_size *z = what;
    double *values = scratch(s, z->tokens * z->vocab);
    struct tensor *targets = random_ids(s, z->tokens, z->vocab);
    struct tensor *drawn = random_input(s, FLOAT, z->tokens * z->vocab, z->scale);
    const double start[1] = {2.5};
    struct tensor *loss = in_place(input(s, DOUBLE, 1, start));
    for (int64_t i = 0; i < z->tokens * z->vocab; i++) {
        values[i] = drawn->at[i] + z->offset +
                    (i % z->vocab == (int64_t)targets->at[i / z->vocab] ? z->sure : 0);
    }
    struct tensor *logits = in_place(input(s, ACT, z->tokens * z->vocab, values));
    s->ops->cross_entropy(s->context, loss->device, logits->device, targets->device, z->tokens,
                          z->vocab, 0.125F);
    double expected = start[0] + oracle_cross_entropy(logits->at, ints_of(s, targets), z->tokens,
                                                      z->vocab, 0.125);
    if (z->vocab > 1) {
        check_close(s, "dlogits", logits, logits->at);
    } else {
        check_close_by(s, "dlogits", logits, logits->at, 0);
    }
    check_close(s, "loss", loss, &expected);
}

/* What the loss itself is worth where a start value would hide it. */
static void sure_case(struct suite *s, const void *what) {
    const double sure = *(const double *)what;
    const double values[4] = {0, sure, 0, 0};
    const double one[1] = {1};
    const double zero[1] = {0};
    struct tensor *logits = in_place(input(s, ACT, 4, values));
    struct tensor *target = input(s, INT, 1, one);
    struct tensor *loss = in_place(input(s, DOUBLE, 1, zero));
    s->ops->cross_entropy(s->context, loss->device, logits->device, target->device, 1, 4, 1);
    double expected = oracle_cross_entropy(logits->at, ints_of(s, target), 1, 4, 1);
    check_close(s, "loss", loss, &expected);
    check_close(s, "dlogits", logits, logits->at);
}

static void entropy_cases(struct suite *s) {
    static const struct entropy_size sizes[] = {
        {1, 1, 1, 0, 0},       {1, 2, 1, 0, 0},    {5, 7, 1, 0, 0},    {3, 1000, 1, 0, 0},
        {33, 100, 3, 0, 0},    {4, 513, 30, 0, 0}, {4, 64, 100, 0, 0}, {4, 64, 1, 10000, 0},
        {4, 64, 1, -10000, 0}, {4, 64, 3e4, 0, 0}, {6, 50, 1, 0, 12},  {6, 50, 1, 0, -50}};
    static const double sure[] = {0, 5, 10, 20, 30, -100};
    s->group = "cross_entropy";
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        run_case(s, entropy_case, &sizes[i], "%lld x %lld, scale %g, offset %g, sure %g",
                 (long long)sizes[i].tokens, (long long)sizes[i].vocab, sizes[i].scale,
                 sizes[i].offset, sizes[i].sure);
    }
    for (size_t i = 0; i < sizeof sure / sizeof sure[0]; i++) {
        run_case(s, sure_case, &sure[i], "one token, sure by %g", sure[i]);
    }
}

/* ---- optimizer ---- */

static void adamw_case(struct suite *s, const void *what) {
    int64_t count = *(const int64_t *)what;
    struct tensor *parameter = random_start(s, FLOAT, count);
    struct tensor *m = in_place(input(s, FLOAT, count, scratch(s, count)));
    struct tensor *v = in_place(input(s, FLOAT, count, scratch(s, count)));
    double *before = copy_of(s, parameter->at, count);
    for (int64_t step = 1; step <= 4; step++) {
        struct tensor *grad = random_input(s, FLOAT, count, step == 2 ? 1e-6 : 1e-2);
        const struct pp_adamw options = {.learning_rate = 3e-2F,
                                         .beta1 = 0.9F,
                                         .beta2 = 0.95F,
                                         .epsilon = 1e-8F,
                                         .weight_decay = 0.1F,
                                         .step = step == 4 ? 100000 : step};
        s->ops->adamw(s->context, parameter->device, m->device, v->device, grad->device, count,
                      &options);
        oracle_adamw(parameter->at, m->at, v->at, grad->at, count, &options);
    }
    check_close(s, "m", m, m->at);
    check_close(s, "v", v, v->at);
    check_close(s, "parameter", parameter, parameter->at);
    double *now = download(s, parameter); /* the steps themselves, which the parameters hide */
    double off = 0;
    double moved = 0;
    for (int64_t i = 0; i < count; i++) {
        off += fabs((now[i] - before[i]) - (parameter->at[i] - before[i]));
        moved += fabs(parameter->at[i] - before[i]);
    }
    check(s, off <= 1e-4 * moved, "steps are off by %g of themselves", off / moved);
}

/* No gradient ever: only the weights decay. */
static void adamw_idle_case(struct suite *s, const void *what) {
    int64_t count = *(const int64_t *)what;
    struct tensor *parameter = random_start(s, FLOAT, count);
    struct tensor *m = in_place(input(s, FLOAT, count, scratch(s, count)));
    struct tensor *v = in_place(input(s, FLOAT, count, scratch(s, count)));
    struct tensor *grad = input(s, FLOAT, count, scratch(s, count));
    const struct pp_adamw options = {0.25F, 0.9F, 0.95F, 1e-8F, 0.5F, 1};
    s->ops->adamw(s->context, parameter->device, m->device, v->device, grad->device, count,
                  &options);
    for (int64_t i = 0; i < count; i++) {
        parameter->at[i] *= 1 - 0.125;
    }
    check_close(s, "parameter", parameter, parameter->at);
}

static void cast_case(struct suite *s, const void *what) {
    int64_t count = *(const int64_t *)what;
    struct tensor *from = random_input(s, FLOAT, count, 1);
    struct tensor *same = random_input(s, ACT, count, 1); /* only for its rounding */
    struct tensor *to = poisoned(s, ACT, count);
    (void)same;
    s->ops->cast(s->context, to->device, from->device, count);
    check_close_by(s, "cast", to, input(s, ACT, count, from->at)->at, 0);
}

void kernel_cases_dense(struct suite *s) {
    static const int64_t counts[] = {1, 15, 16, 17, 64, 100, 1000};
    static const struct embed_size tables[] = {{1, 1, 1}, {7, 3, 5}, {50, 11, 64}, {4, 1000, 33}};
    linear_cases(s);
    norm_cases(s);
    swiglu_cases(s);
    entropy_cases(s);
    s->group = "embed";
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        run_case(s, embed_case, &tables[i], "%lld of %lld x %lld", (long long)tables[i].tokens,
                 (long long)tables[i].vocab, (long long)tables[i].width);
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        s->group = "memory";
        run_case(s, memory_case, &counts[i], "%lld", (long long)counts[i]);
        s->group = "sums";
        run_case(s, sum_case, &counts[i], "%lld", (long long)counts[i]);
        s->group = "adamw";
        run_case(s, adamw_case, &counts[i], "%lld", (long long)counts[i]);
        run_case(s, adamw_idle_case, &counts[i], "%lld, no gradient", (long long)counts[i]);
        if (s->ops->cast != NULL) {
            s->group = "cast";
            run_case(s, cast_case, &counts[i], "%lld", (long long)counts[i]);
        }
    }
}
