/* Speed of the host's kernels on one thread: matrix products and attention in GFLOP/s, what goes
 * element by element in ns an element. Not a test: build the target `bench` with the release preset
 * and run it on a quiet machine. With an argument (base, avx2, avx512) at that level of vector
 * instructions; otherwise at the best that there is. tests/bench/torch_kernels.py measures the same
 * in PyTorch. */
#include "exec/host/kernels.h"
#include "tests/bench/bench.h"

#include <string.h>

struct subject {
    struct pp_host *host;
    int64_t tokens, in, out;
    struct pp_attention_shape shape;
    float *x, *y, *w, *rstd, *gamma;
    int32_t *ids;
    double loss;
    struct pp_adamw adamw;
};

enum { FLOATS = 4 << 20 };

static void linear(struct subject *s) {
    pp_host_ops.linear(s->host, s->y, s->x, s->w, s->tokens, s->in, s->out, false);
}

static void input_grad(struct subject *s) {
    pp_host_ops.linear_input_grad(s->host, s->x, s->y, s->w, s->tokens, s->in, s->out, false);
}

static void weight_grad(struct subject *s) {
    pp_host_ops.linear_weight_grad(s->host, s->w, s->y, s->x, s->tokens, s->in, s->out);
}

static void attention(struct subject *s) {
    pp_host_ops.attention(s->host, s->y, s->rstd, s->x, &s->shape);
}

static void attention_grad(struct subject *s) {
    pp_host_ops.attention_grad(s->host, s->w, s->gamma, s->y, s->rstd, s->x, &s->shape);
}

static void rope(struct subject *s) {
    pp_host_ops.rope(s->host, s->x, &s->shape, 10000.0F, false);
}

static void norm(struct subject *s) {
    pp_host_ops.norm(s->host, s->y, s->rstd, s->x, s->gamma, s->tokens, s->in, 1e-5F);
}

static void norm_grad(struct subject *s) {
    pp_host_ops.norm_grad(s->host, s->w, s->w + FLOATS / 2, s->y, s->x, s->rstd, s->gamma,
                          s->tokens, s->in);
}

static void swiglu(struct subject *s) {
    pp_host_ops.swiglu(s->host, s->y, s->x, s->tokens, s->in);
}

static void swiglu_grad(struct subject *s) {
    pp_host_ops.copy(s->host, s->w, s->x, s->tokens * s->in * 8); /* it would wander off */
    pp_host_ops.swiglu_grad(s->host, s->w, s->y, s->tokens, s->in);
}

static void cross_entropy(struct subject *s) {
    pp_host_ops.copy(s->host, s->y, s->x, s->tokens * s->in * 4);
    pp_host_ops.cross_entropy(s->host, &s->loss, s->y, s->ids, s->tokens, s->in, 1e-3F);
}

static void adamw(struct subject *s) {
    pp_host_ops.adamw(s->host, s->w, s->y, s->gamma, s->x, s->tokens * s->in, &s->adamw);
}

/* Small random numbers, so that nothing overflows or fades away. */
static void fill(struct subject *s) {
    uint64_t state = 1;
    float *all[] = {s->x, s->y, s->w, s->rstd, s->gamma};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        for (int64_t j = 0; j < FLOATS; j++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            all[i][j] = (float)(int32_t)(state >> 32) * 0x1p-31F + (all[i] == s->gamma ? 1.5F : 0);
        }
    }
    for (int32_t i = 0; i < FLOATS; i++) {
        s->ids[i] = i % 32;
    }
}

/* A run lasts 5 ms or so. */
static double median_of_work(struct subject *s, void (*work)(struct subject *s)) {
    int64_t begin = cpu_ns();
    work(s);
    int64_t took = pp_max_i64(cpu_ns() - begin, 1000);
    return median_ns(s, work, (int32_t)pp_max_i64(5000000 / took, 1));
}

static void products(struct subject *s) {
    static const int64_t sizes[][3] = {
        {64, 64, 64}, {256, 64, 64}, {256, 256, 256}, {512, 1024, 1024}, {512, 1024, 2816}};
    printf("linear T x in x out         us forward   input grad  weight grad | GFLOP/s\n");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        s->tokens = sizes[i][0];
        s->in = sizes[i][1];
        s->out = sizes[i][2];
        double flops = 2.0 * (double)s->tokens * (double)s->in * (double)s->out;
        fill(s);
        double forward = median_of_work(s, linear);
        double by_input = median_of_work(s, input_grad);
        fill(s);
        double by_weight = median_of_work(s, weight_grad);
        printf("%5lld x %4lld x %4lld %17.1f %12.1f %12.1f | %6.1f %6.1f %6.1f\n",
               (long long)s->tokens, (long long)s->in, (long long)s->out, forward / 1e3,
               by_input / 1e3, by_weight / 1e3, flops / forward, flops / by_input,
               flops / by_weight);
    }
}

static void attentions(struct subject *s) {
    static const struct pp_attention_shape shapes[] = {
        {4, 64, 4, 4, 16, 0},    {1, 256, 4, 4, 16, 0},  {1, 256, 4, 4, 64, 0},
        {1, 512, 16, 16, 64, 0}, {1, 512, 16, 4, 64, 0}, {1, 512, 8, 8, 128, 0}};
    printf("\nattention, causal (half of the pairs counted)  us forward   backward     rope | "
           "GFLOP/s\n");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct pp_attention_shape *z = &shapes[i];
        s->shape = *z;
        fill(s);
        double flops = 2.0 * z->sequences * z->length * (z->length + 1.0) * z->heads * z->head_dim;
        double forward = median_of_work(s, attention);
        double backward = median_of_work(s, attention_grad);
        double turn = median_of_work(s, rope);
        printf("%2d x %3d, %2d heads of %3d, %2d kv %24.1f %10.1f %8.1f | %6.1f %6.1f\n",
               z->sequences, z->length, z->heads, z->head_dim, z->kv_heads, forward / 1e3,
               backward / 1e3, turn / 1e3, flops / forward, 2.5 * flops / backward);
    }
}

static void row(struct subject *s, const char *name, void (*work)(struct subject *s),
                int64_t tokens, int64_t width) {
    s->tokens = tokens;
    s->in = width;
    fill(s);
    double took = median_of_work(s, work);
    printf("%-16s %4lld x %4lld %12.1f %12.3f\n", name, (long long)tokens, (long long)width,
           took / 1e3, took / (double)(tokens * width));
}

static void elements(struct subject *s) {
    static const int64_t sizes[][2] = {{256, 64}, {512, 1024}};
    printf("\n                                  us   ns/element\n");
    for (size_t i = 0; i < 2; i++) {
        int64_t T = sizes[i][0];
        int64_t width = sizes[i][1];
        row(s, "norm", norm, T, width);
        row(s, "norm_grad", norm_grad, T, width);
        row(s, "swiglu", swiglu, T, width * 11 / 4);
        row(s, "swiglu_grad*", swiglu_grad, T, width * 11 / 4);
        row(s, "cross_entropy*", cross_entropy, T, width * 4);
        row(s, "adamw", adamw, T, width);
    }
    printf("* with a copy of the input\n");
}

int main(int argc, char **argv) {
    struct subject s = {.adamw = {1e-4F, 0.9F, 0.95F, 1e-8F, 0.1F, 10}};
    struct pp_err err = {0};
    char text[128];
    must(pp_host_create(&s.host, &err), &err);
    pp_host_set_threads(1);
    pp_host_describe(text, sizeof text);
    const char *used = "";
    for (int32_t level = 0; level < pp_host_level_count(); level++) {
        const char *name = pp_host_level_name(level);
        if ((argc < 2 || strcmp(argv[1], name) == 0) && pp_host_use_level(s.host, level)) {
            used = name;
        }
    }
    printf("%s, %s\n", text, used);
    float **all[] = {&s.x, &s.y, &s.w, &s.rstd, &s.gamma};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        *all[i] = pp_host_ops.alloc(s.host, FLOATS * 4);
    }
    s.ids = pp_host_ops.alloc(s.host, FLOATS * 4);
    products(&s);
    attentions(&s);
    elements(&s);
    return 0;
}
