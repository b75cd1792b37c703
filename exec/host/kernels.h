/**
 * @file kernels.h
 * Inside the host device only. Everything that computes element by element is compiled once for
 * each level of vector instructions (exec/CMakeLists.txt: base, and on x86-64 avx2 and avx512),
 * with PP_HOST_LEVEL as the end of its names; a context picks the best one that its processor has.
 * No kernel allocates: attention works in blocks of a fixed size, whatever the length.
 */
#ifndef PP_EXEC_HOST_KERNELS_H
#define PP_EXEC_HOST_KERNELS_H

#include "exec/host/host.h"

enum {
    PP_HOST_QUERIES = 64, /* of one block of attention */
    PP_HOST_KEYS = 512,
    PP_HOST_SCORES = PP_HOST_QUERIES * PP_HOST_KEYS,
    PP_HOST_HEAD_DIM = 512 /* at most */
};

struct pp_host {
    const struct pp_device_ops *kernels; /* of the level; its memory and products are not set */
    float *scores, *dscores;             /* [PP_HOST_KEYS][PP_HOST_QUERIES], aligned to 64 */
    float *q, *do_;                      /* [PP_HOST_HEAD_DIM][PP_HOST_QUERIES] */
};

/** From the lowest; "base" is always there. */
int32_t pp_host_level_count(void);
const char *pp_host_level_name(int32_t level);

/** For tests and benchmarks: work at that level. @return false if this processor cannot */
bool pp_host_use_level(struct pp_host *host, int32_t level);

extern const struct pp_device_ops pp_host_kernels_base, pp_host_kernels_avx2,
    pp_host_kernels_avx512;

#ifdef PP_HOST_LEVEL

#define PP_HOST_JOIN_(name, level) pp_host_##name##_##level
#define PP_HOST_JOIN(name, level) PP_HOST_JOIN_(name, level)
#define KERNEL(name) PP_HOST_JOIN(name, PP_HOST_LEVEL)

void KERNEL(embed)(void *context, void *y, const void *table, const int32_t *ids, int64_t tokens,
                   int64_t width);
void KERNEL(embed_grad)(void *context, float *dtable, const void *dy, const int32_t *ids,
                        int64_t tokens, int64_t width);
void KERNEL(norm)(void *context, void *y, float *rstd, const void *x, const void *gamma,
                  int64_t tokens, int64_t width, float epsilon);
void KERNEL(norm_grad)(void *context, void *dx, float *dgamma, const void *dy, const void *x,
                       const float *rstd, const void *gamma, int64_t tokens, int64_t width);
void KERNEL(rope)(void *context, void *qkv, const struct pp_attention_shape *s, float theta,
                  bool back);
void KERNEL(attention)(void *context, void *o, float *lse, const void *qkv,
                       const struct pp_attention_shape *s);
void KERNEL(attention_grad)(void *context, void *dqkv, const void *do_, const void *o,
                            const float *lse, const void *qkv, const struct pp_attention_shape *s);
void KERNEL(swiglu)(void *context, void *a, const void *gate_up, int64_t tokens, int64_t ffn);
void KERNEL(swiglu_grad)(void *context, void *gate_up, const void *da, int64_t tokens, int64_t ffn);
void KERNEL(add)(void *context, void *y, const void *x, int64_t count);
void KERNEL(add_float)(void *context, float *y, const float *x, int64_t count);
void KERNEL(scale_float)(void *context, float *y, float factor, int64_t count);
void KERNEL(cross_entropy)(void *context, double *loss_sum, void *logits, const int32_t *targets,
                           int64_t tokens, int64_t vocab, float scale);
void KERNEL(route)(void *context, struct pp_routing *r, const void *logits);
void KERNEL(route_grad)(void *context, void *dlogits, const struct pp_routing *r,
                        const float *dweight);
void KERNEL(gather)(void *context, void *rows, const void *x, const struct pp_routing *r,
                    int64_t width);
void KERNEL(gather_grad)(void *context, void *dx, const void *rows, const struct pp_routing *r,
                         int64_t width);
void KERNEL(combine)(void *context, void *y, const void *rows, const struct pp_routing *r,
                     int64_t width);
void KERNEL(combine_grad)(void *context, void *drows, float *dweight, const void *dy,
                          const void *rows, const struct pp_routing *r, int64_t width);
void KERNEL(adamw)(void *context, float *parameter, float *m, float *v, const float *grad,
                   int64_t count, const struct pp_adamw *options);

#endif
#endif
