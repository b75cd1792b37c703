/* What the tests of the transformer share: small models, splits into stages, and a step run by
 * hand, action by action, without program and runtime. */
#ifndef PP_TESTS_TRAIN_SUPPORT_H
#define PP_TESTS_TRAIN_SUPPORT_H

#include "exec/host/host.h"
#include "exec/model/transformer.h"
#include "tests/sim/sim_support.h"

#include <math.h>

enum { TRAIN_MAX_STAGES = 16, GUARD_BYTES = 64, POISON = 0xff };

enum model_kind { DENSE_MODEL, MOE_SHARED_MODEL, MOE_MODEL, MODEL_KIND_COUNT };

/* Grouped queries and a sliding window in every second layer; mixtures have a dense first layer. */
static inline struct pp_shape small_shape(enum model_kind kind, int32_t layers) {
    struct pp_shape s = {
        .layers = layers,
        .hidden = 16,
        .vocab = 24,
        .heads = 4,
        .kv_heads = 2,
        .head_dim = 6,
        .ffn = 28, /* the widest of a dense layer */
        .window = 3,
        .windowed = {0xaaaa},
        .rope_theta = 100,
        .norm_epsilon = 1e-5f,
    };
    if (kind != DENSE_MODEL) {
        s.experts = 5;
        s.experts_per_token = 2;
        s.expert_ffn = 16; /* so are the rows of a mixture */
        s.shared_ffn = kind == MOE_SHARED_MODEL ? 12 : 0;
        s.moe[0] = 0xfffe;
    }
    return s;
}

static inline struct pp_adamw small_optimizer(void) {
    return (struct pp_adamw){.learning_rate = 3e-3f,
                             .beta1 = 0.9f,
                             .beta2 = 0.95f,
                             .epsilon = 1e-8f,
                             .weight_decay = 0.1f};
}

/* Layers as evenly as it goes. */
static inline void split_evenly(int32_t layers, int32_t stages, struct pp_stage_modules *modules) {
    for (int32_t i = 0; i < stages; i++) {
        modules[i] = (struct pp_stage_modules){.embedding = i == 0,
                                               .head = i == stages - 1,
                                               .layer_begin = layers * i / stages,
                                               .layer_end = layers * (i + 1) / stages};
    }
}

static inline struct pp_transformer_config small_config(enum model_kind kind, int32_t layers,
                                                        int32_t microbatches) {
    return (struct pp_transformer_config){
        .shape = small_shape(kind, layers),
        .sequences = 2,
        .length = 7,
        .microbatches = microbatches,
        .seed = 11,
        .scale_in_schedule = true,
        .optimizer = small_optimizer(),
    };
}

static inline struct pp_transformer *make_transformer(const struct pp_transformer_config *config,
                                                      int32_t stages) {
    struct pp_stage_modules *modules = calloc((size_t)stages, sizeof *modules);
    split_evenly(config->shape.layers, stages, modules);
    struct pp_transformer_config c = *config;
    c.stage_count = stages;
    c.stages = modules;
    struct pp_transformer *t = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_transformer_create(&c, &t, &err), PP_OK, "%s", err.message);
    free(modules);
    return t;
}

/* ---- a device whose memory begins poisoned, and is counted ---- */

static int64_t allocated_bytes;

static inline void *poisoned_alloc(void *context, int64_t bytes) {
    void *memory = pp_host_ops.alloc(context, bytes);
    memset(memory, POISON, (size_t)bytes);
    allocated_bytes += bytes;
    return memory;
}

static inline void copy_floats(void *context, void *to, const float *from, int64_t count) {
    (void)context;
    memcpy(to, from, (size_t)count * sizeof(float));
}

/* @param casts  weights are used from a copy, as on a device with another activation type */
static inline struct pp_device_ops test_device(bool casts) {
    struct pp_device_ops device = pp_host_ops;
    device.alloc = poisoned_alloc;
    device.cast = casts ? copy_floats : NULL;
    return device;
}

/* A pipeline run by hand: a rank a stage, buffers of one microbatch. */
struct pipeline {
    struct pp_transformer *transformer;
    struct pp_sched *sched;
    int32_t stages;
    struct pp_device_ops device;
    struct pp_host *hosts[TRAIN_MAX_STAGES];
    struct pp_transformer_rank *ranks[TRAIN_MAX_STAGES];
    int64_t input_bytes[TRAIN_MAX_STAGES], stash_bytes[TRAIN_MAX_STAGES];
    int64_t fixed_bytes[TRAIN_MAX_STAGES];
};

static inline void open_pipeline(struct pipeline *p, const struct pp_transformer_config *config,
                                 int32_t stages) {
    struct pp_err err = {0};
    *p = (struct pipeline){.stages = stages, .device = test_device(false)};
    p->transformer = make_transformer(config, stages);
    p->sched = make_schedule("GPipe", stages, 1, config->microbatches);
    pp_transformer_sizes(p->transformer, p->sched, sizeof(float), p->input_bytes, p->stash_bytes,
                         p->fixed_bytes);
    for (int32_t i = 0; i < stages; i++) {
        cr_assert_eq(pp_host_create(&p->hosts[i], &err), PP_OK, "%s", err.message);
        cr_assert_eq(pp_transformer_open(p->transformer, p->sched, i, &p->device, p->hosts[i],
                                         &p->ranks[i], &err),
                     PP_OK, "%s", err.message);
    }
}

static inline void close_pipeline(struct pipeline *p) {
    for (int32_t i = 0; i < p->stages; i++) {
        pp_transformer_close(p->ranks[i]);
        pp_host_destroy(p->hosts[i]);
    }
    pp_sched_destroy(p->sched);
    pp_transformer_destroy(p->transformer);
}

/* Poisoned, with a guard behind it. */
static inline void *take_buffer(int64_t bytes) {
    size_t whole = ((size_t)bytes + GUARD_BYTES + 63) / 64 * 64;
    void *buffer = aligned_alloc(64, whole);
    memset(buffer, POISON, whole);
    return buffer;
}

static inline void give_buffer(void *buffer, int64_t bytes) {
    const unsigned char *guard = (const unsigned char *)buffer + bytes;
    for (int32_t i = 0; i < GUARD_BYTES; i++) {
        cr_assert_eq(guard[i], POISON, "written %d bytes behind a buffer of %lld", i,
                     (long long)bytes);
    }
    free(buffer);
}

static inline void start_action(struct pp_transformer_rank *rank, struct pp_work *w,
                                enum pp_action_type type) {
    struct pp_err err = {0};
    w->action.type = (uint8_t)type;
    cr_assert_eq(pp_transformer_ops.start(rank, w, &err), PP_OK, "%s", err.message);
}

/* Forward and backward of one microbatch; I and W (all W after all I) if split. */
static inline void run_microbatch(struct pipeline *p, int32_t microbatch, bool split) {
    int64_t bytes = p->stages > 1 ? p->input_bytes[1] : 0;
    void *streams[TRAIN_MAX_STAGES + 1] = {NULL}; /* [i]: between stages i - 1 and i */
    void *grads[TRAIN_MAX_STAGES + 1] = {NULL};
    struct pp_work work[TRAIN_MAX_STAGES] = {{0}};
    for (int32_t i = 1; i < p->stages; i++) {
        streams[i] = take_buffer(bytes);
        grads[i] = take_buffer(bytes);
    }
    for (int32_t i = 0; i < p->stages; i++) {
        work[i] = (struct pp_work){.action = {.stage = i, .microbatch = microbatch},
                                   .input = streams[i],
                                   .output = streams[i + 1],
                                   .input_grad = grads[i],
                                   .output_grad = grads[i + 1],
                                   .stash = take_buffer(p->stash_bytes[i])};
        start_action(p->ranks[i], &work[i], PP_F);
    }
    for (int32_t i = p->stages - 1; i >= 0; i--) {
        start_action(p->ranks[i], &work[i], split ? PP_I : PP_B);
    }
    for (int32_t i = 0; i < p->stages; i++) {
        if (split) {
            start_action(p->ranks[i], &work[i], PP_W);
        }
        give_buffer(work[i].stash, p->stash_bytes[i]);
    }
    for (int32_t i = 1; i < p->stages; i++) {
        give_buffer(streams[i], bytes);
        give_buffer(grads[i], bytes);
    }
}

/* @return the mean loss of the step's microbatches */
static inline double run_step(struct pipeline *p, int64_t step, bool split, bool optimize) {
    for (int32_t i = 0; i < p->stages; i++) {
        pp_transformer_ops.begin_step(p->ranks[i], step, NULL);
    }
    for (int32_t m = 0; m < p->sched->microbatch_count; m++) {
        run_microbatch(p, m, split);
    }
    double loss = 0;
    for (int32_t i = 0; i < p->stages; i++) {
        struct pp_work w = {.action = {.stage = i, .microbatch = -1}};
        start_action(p->ranks[i], &w, PP_REDUCE_GRAD);
        if (optimize) {
            pp_transformer_ops.end_step(p->ranks[i], step, NULL);
        }
        loss += pp_transformer_ops.loss(p->ranks[i]);
    }
    return loss / p->sched->microbatch_count;
}

/* ---- comparing states of runs that split the model in different ways ---- */

struct tensors {
    struct pp_state *states;
    int32_t count;
};

static inline bool has_tensor(const struct tensors *t, const char *name) {
    for (int32_t i = 0; i < t->count; i++) {
        if (strcmp(t->states[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* All state of `rank_count` ranks; data are those of the ranks. Copies of a stage are left out
 * unless they are asked for. Stages are those of one pipeline, `stages` of them. */
static inline struct tensors list_tensors(struct pp_transformer_rank *const *ranks,
                                          int32_t rank_count, int32_t stages, bool copies) {
    struct tensors t = {0};
    for (int32_t r = 0; r < rank_count; r++) {
        int32_t own = pp_transformer_ops.state(ranks[r], -1, NULL);
        t.states = realloc(t.states, (size_t)(t.count + own) * sizeof *t.states);
        for (int32_t i = 0; i < own; i++) {
            pp_transformer_ops.state(ranks[r], i, &t.states[t.count]);
            cr_assert(t.states[t.count].stage >= 0 && t.states[t.count].stage < stages);
            t.count += copies || !has_tensor(&t, t.states[t.count].name);
        }
    }
    return t;
}

static inline const struct pp_state *find_tensor(const struct tensors *t, const char *name) {
    for (int32_t i = 0; i < t->count; i++) {
        if (strcmp(t->states[i].name, name) == 0) {
            return &t->states[i];
        }
    }
    cr_assert_fail("no tensor %s", name);
    return NULL;
}

struct difference {
    bool bitwise;
    double relative; /* the largest over tensors of |a - b| / |b|, Euclidean norms */
};

static inline void compare_floats(const float *a, const float *b, int64_t count,
                                  struct difference *d) {
    double off = 0;
    double size = 0;
    for (int64_t i = 0; i < count; i++) {
        double delta = (double)a[i] - (double)b[i];
        off += delta * delta;
        size += (double)b[i] * (double)b[i];
    }
    d->bitwise = d->bitwise && memcmp(a, b, (size_t)count * sizeof *a) == 0;
    double relative = off == 0 ? 0 : sqrt(off / size);
    d->relative = relative <= d->relative ? d->relative : relative; /* NaN stays */
}

/* Parameters, moments and gradients of every tensor. */
static inline struct difference compare_tensors(const struct tensors *a, const struct tensors *b) {
    struct difference d = {.bitwise = true};
    cr_assert_eq(a->count, b->count);
    for (int32_t i = 0; i < a->count; i++) {
        const struct pp_state *x = &a->states[i];
        const struct pp_state *y = find_tensor(b, x->name);
        cr_assert_eq(x->count, y->count);
        compare_floats(x->data, y->data, x->count, &d);
        if (x->grad != NULL) {
            compare_floats(x->grad, y->grad, x->count, &d);
        }
    }
    return d;
}

#endif
