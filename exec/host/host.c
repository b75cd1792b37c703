/* The host's table: memory, and every kernel at the context's level. */
#include "exec/host/host.h"
#include "exec/host/kernels.h"
#include "exec/host/linear.h"
#include "exec/host/product.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static void *host_alloc(void *context, int64_t bytes) {
    (void)context;
    if (bytes < 0 || bytes > INT64_MAX - ALIGNMENT) {
        return NULL;
    }
    size_t whole = ((size_t)bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return aligned_alloc(ALIGNMENT, whole > 0 ? whole : ALIGNMENT);
}

static void host_free(void *context, void *memory) {
    (void)context;
    free(memory);
}

static void host_zero(void *context, void *memory, int64_t bytes) {
    (void)context;
    memset(memory, 0, (size_t)bytes);
}

static void host_copy(void *context, void *to, const void *from, int64_t bytes) {
    (void)context;
    memcpy(to, from, (size_t)bytes);
}

static int64_t host_act_bytes(void *context) {
    (void)context;
    return (int64_t)sizeof(float);
}

/* name's entry in the table, at the level of the context */
#define AT_LEVEL(name, parameters, arguments)                                                      \
    static void host_##name parameters {                                                           \
        ((const struct pp_host *)context)->kernels->name arguments;                                \
    }

AT_LEVEL(embed,
         (void *context, void *y, const void *table, const int32_t *ids, int64_t tokens,
          int64_t width),
         (context, y, table, ids, tokens, width))
AT_LEVEL(embed_grad,
         (void *context, float *dtable, const void *dy, const int32_t *ids, int64_t tokens,
          int64_t width),
         (context, dtable, dy, ids, tokens, width))
AT_LEVEL(norm,
         (void *context, void *y, float *rstd, const void *x, const void *gamma, int64_t tokens,
          int64_t width, float epsilon),
         (context, y, rstd, x, gamma, tokens, width, epsilon))
AT_LEVEL(norm_grad,
         (void *context, void *dx, float *dgamma, const void *dy, const void *x, const float *rstd,
          const void *gamma, int64_t tokens, int64_t width),
         (context, dx, dgamma, dy, x, rstd, gamma, tokens, width))
AT_LEVEL(rope,
         (void *context, void *qkv, const struct pp_attention_shape *s, float theta, bool back),
         (context, qkv, s, theta, back))
AT_LEVEL(attention,
         (void *context, void *o, float *lse, const void *qkv, const struct pp_attention_shape *s),
         (context, o, lse, qkv, s))
AT_LEVEL(attention_grad,
         (void *context, void *dqkv, const void *do_, const void *o, const float *lse,
          const void *qkv, const struct pp_attention_shape *s),
         (context, dqkv, do_, o, lse, qkv, s))
AT_LEVEL(swiglu, (void *context, void *a, const void *gate_up, int64_t tokens, int64_t ffn),
         (context, a, gate_up, tokens, ffn))
AT_LEVEL(swiglu_grad, (void *context, void *gate_up, const void *da, int64_t tokens, int64_t ffn),
         (context, gate_up, da, tokens, ffn))
AT_LEVEL(add, (void *context, void *y, const void *x, int64_t count), (context, y, x, count))
AT_LEVEL(add_float, (void *context, float *y, const float *x, int64_t count),
         (context, y, x, count))
AT_LEVEL(scale_float, (void *context, float *y, float factor, int64_t count),
         (context, y, factor, count))
AT_LEVEL(cross_entropy,
         (void *context, double *loss_sum, void *logits, const int32_t *targets, int64_t tokens,
          int64_t vocab, float scale),
         (context, loss_sum, logits, targets, tokens, vocab, scale))
AT_LEVEL(route, (void *context, struct pp_routing *r, const void *logits), (context, r, logits))
AT_LEVEL(route_grad,
         (void *context, void *dlogits, const struct pp_routing *r, const float *dweight),
         (context, dlogits, r, dweight))
AT_LEVEL(gather,
         (void *context, void *rows, const void *x, const struct pp_routing *r, int64_t width),
         (context, rows, x, r, width))
AT_LEVEL(gather_grad,
         (void *context, void *dx, const void *rows, const struct pp_routing *r, int64_t width),
         (context, dx, rows, r, width))
AT_LEVEL(combine,
         (void *context, void *y, const void *rows, const struct pp_routing *r, int64_t width),
         (context, y, rows, r, width))
AT_LEVEL(combine_grad,
         (void *context, void *drows, float *dweight, const void *dy, const void *rows,
          const struct pp_routing *r, int64_t width),
         (context, drows, dweight, dy, rows, r, width))
AT_LEVEL(adamw,
         (void *context, float *parameter, float *m, float *v, const float *grad, int64_t count,
          const struct pp_adamw *options),
         (context, parameter, m, v, grad, count, options))

const struct pp_device_ops pp_host_ops = {
    .api = PP_DEVICE_API,
    .name = "host",
    .alloc = host_alloc,
    .free = host_free,
    .zero = host_zero,
    .copy = host_copy,
    .upload = host_copy,
    .download = host_copy,
    .act_bytes = host_act_bytes,
    .linear = pp_host_linear,
    .linear_input_grad = pp_host_linear_input_grad,
    .linear_weight_grad = pp_host_linear_weight_grad,
    .embed = host_embed,
    .embed_grad = host_embed_grad,
    .norm = host_norm,
    .norm_grad = host_norm_grad,
    .rope = host_rope,
    .attention = host_attention,
    .attention_grad = host_attention_grad,
    .swiglu = host_swiglu,
    .swiglu_grad = host_swiglu_grad,
    .add = host_add,
    .add_float = host_add_float,
    .scale_float = host_scale_float,
    .cross_entropy = host_cross_entropy,
    .route = host_route,
    .route_grad = host_route_grad,
    .gather = host_gather,
    .gather_grad = host_gather_grad,
    .combine = host_combine,
    .combine_grad = host_combine_grad,
    .experts_linear = pp_host_experts_linear,
    .experts_input_grad = pp_host_experts_input_grad,
    .experts_weight_grad = pp_host_experts_weight_grad,
    .adamw = host_adamw,
};

struct level {
    const char *name;
    const struct pp_device_ops *kernels;
};

static const struct level levels[] = {
    {"base", &pp_host_kernels_base},
#ifdef PP_HOST_X86
    {"avx2", &pp_host_kernels_avx2},
    {"avx512", &pp_host_kernels_avx512},
#endif
};
enum { LEVELS = sizeof levels / sizeof levels[0] };

int32_t pp_host_level_count(void) {
    return LEVELS;
}

const char *pp_host_level_name(int32_t level) {
    return levels[level].name;
}

/* What the files of the level are compiled with. */
static bool has_level(int32_t level) {
#ifdef PP_HOST_X86
    if (level == 2) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    }
    if (level == 1) {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }
#endif
    return level == 0;
}

bool pp_host_use_level(struct pp_host *host, int32_t level) {
    if (!has_level(level)) {
        return false;
    }
    host->kernels = levels[level].kernels;
    return true;
}

enum pp_status pp_host_create(struct pp_host **host_p, struct pp_err *err) {
    struct pp_host *host = calloc(1, sizeof *host);
    int64_t turned = PP_HOST_HEAD_DIM * PP_HOST_QUERIES;
    float *scores = host_alloc(NULL, 2 * (PP_HOST_SCORES + turned) * (int64_t)sizeof scores[0]);
    if (host == NULL || scores == NULL) {
        free(host);
        free(scores);
        return pp_fail(err, PP_E_NOMEM, "no memory for a context of the host's kernels");
    }
    host->scores = scores;
    host->dscores = scores + PP_HOST_SCORES;
    host->q = host->dscores + PP_HOST_SCORES;
    host->do_ = host->q + turned;
    for (int32_t level = LEVELS - 1; !pp_host_use_level(host, level); level--) {
    }
    *host_p = host;
    return PP_OK;
}

void pp_host_destroy(struct pp_host *host) {
    if (host != NULL) {
        free(host->scores);
        free(host);
    }
}

void pp_host_describe(char *text, size_t size) {
    pp_product_describe(text, size);
}

void pp_host_set_threads(int32_t count) {
    pp_product_set_threads(count);
}
