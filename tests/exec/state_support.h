/* A workload that is nothing but state: stages with tensors, and processes that are threads. */
#ifndef PP_TESTS_STATE_SUPPORT_H
#define PP_TESTS_STATE_SUPPORT_H

#include "exec/checkpoint.h"
#include "tests/exec/folder_support.h"

#include <pthread.h>

enum { TENSORS = 3, MAX_HELD = 4 };

/* A rank's stages. */
struct held {
    int32_t stages[MAX_HELD], stage_count;
    int64_t numbers; /* of the largest tensor */
    float *data[MAX_HELD][TENSORS];
};

/* 0 numbers, a few, and many: across the blocks of a file */
static inline int64_t tensor_count(const struct held *h, int32_t tensor) {
    return tensor == 0 ? h->numbers : tensor == 1 ? 0 : 7;
}

static inline struct held make_held(int32_t count, const int32_t *stages, int64_t numbers) {
    struct held h = {.stage_count = count, .numbers = numbers};
    for (int32_t i = 0; i < count; i++) {
        h.stages[i] = stages[i];
        for (int32_t t = 0; t < TENSORS; t++) {
            h.data[i][t] = calloc((size_t)tensor_count(&h, t) + 1, sizeof(float));
        }
    }
    return h;
}

static inline void free_held(struct held *h) {
    for (int32_t i = 0; i < h->stage_count; i++) {
        for (int32_t t = 0; t < TENSORS; t++) {
            free(h->data[i][t]);
        }
    }
}

/* Bits that say where they belong, NaNs among them; `salt` is the step. */
static inline uint32_t bits_of(int32_t stage, int32_t tensor, int64_t at, int64_t salt) {
    uint64_t state =
        ((uint64_t)stage << 48) ^ ((uint64_t)tensor << 40) ^ ((uint64_t)salt << 20) ^ (uint64_t)at;
    return (uint32_t)next_number(&state);
}

static inline void fill_held(struct held *h, int64_t salt) {
    for (int32_t i = 0; i < h->stage_count; i++) {
        for (int32_t t = 0; t < TENSORS; t++) {
            for (int64_t k = 0; k < tensor_count(h, t); k++) {
                uint32_t bits = bits_of(h->stages[i], t, k, salt);
                memcpy(&h->data[i][t][k], &bits, sizeof bits);
            }
        }
    }
}

static inline bool held_is(const struct held *h, int64_t salt) {
    for (int32_t i = 0; i < h->stage_count; i++) {
        for (int32_t t = 0; t < TENSORS; t++) {
            for (int64_t k = 0; k < tensor_count(h, t); k++) {
                uint32_t expected = bits_of(h->stages[i], t, k, salt);
                if (memcmp(&h->data[i][t][k], &expected, sizeof expected) != 0) {
                    return false;
                }
            }
        }
    }
    return true;
}

/* Tensor by tensor, stages in turn: as a workload may that keeps moments behind parameters. */
static inline int32_t held_state(void *context, int32_t index, struct pp_state *state_p) {
    struct held *h = context;
    if (index >= 0) {
        int32_t i = index % h->stage_count, t = index / h->stage_count;
        static const char *const names[TENSORS] = {"weight", "empty", "weight.m"};
        *state_p = (struct pp_state){
            .stage = h->stages[i], .data = h->data[i][t], .count = tensor_count(h, t)};
        snprintf(state_p->name, sizeof state_p->name, "layers.%d.%s", (int)h->stages[i], names[t]);
    }
    return h->stage_count * TENSORS;
}

static const struct pp_compute_ops held_ops = {
    .api = PP_COMPUTE_API, .name = "held", .state = held_state};

static inline struct pp_checkpoint_key make_key(int64_t step, int32_t stage_count) {
    return (struct pp_checkpoint_key){.step = step,
                                      .seed = 42,
                                      .stage_count = stage_count,
                                      .model = "a0a1a2a3a4a5a6a7a8a9",
                                      .program = "b0b1b2b3"};
}

/* ---- processes that are threads of one ---- */

enum { MAX_PROCESSES = 4 };

struct meeting {
    pthread_barrier_t barrier;
    const void *sent[MAX_PROCESSES];
    int32_t count;
};

struct seat {
    struct meeting *meeting;
    int32_t process;
};

static inline enum pp_status meet_gather(void *context, const void *mine, size_t size, void *all,
                                         struct pp_err *err) {
    (void)err;
    struct seat *s = context;
    s->meeting->sent[s->process] = mine;
    pthread_barrier_wait(&s->meeting->barrier);
    for (int32_t p = 0; s->process == 0 && p < s->meeting->count; p++) {
        memcpy((char *)all + (size_t)p * size, s->meeting->sent[p], size);
    }
    pthread_barrier_wait(&s->meeting->barrier);
    return PP_OK;
}

static inline enum pp_status meet_broadcast(void *context, void *data, size_t size,
                                            struct pp_err *err) {
    (void)err;
    struct seat *s = context;
    s->meeting->sent[s->process] = data;
    pthread_barrier_wait(&s->meeting->barrier);
    if (s->process != 0) {
        memcpy(data, s->meeting->sent[0], size);
    }
    pthread_barrier_wait(&s->meeting->barrier);
    return PP_OK;
}

static inline enum pp_status meet_barrier(void *context, struct pp_err *err) {
    (void)err;
    struct seat *s = context;
    pthread_barrier_wait(&s->meeting->barrier);
    return PP_OK;
}

static const struct pp_control_ops meeting_ops = {
    .gather = meet_gather, .broadcast = meet_broadcast, .barrier = meet_barrier};

/* One process's part of a write. */
struct part {
    struct seat seat;
    const char *folder;
    const struct pp_checkpoint_key *key;
    struct pp_checkpoint_ranks ranks;
    int32_t keep;
    enum pp_status status;
    struct pp_err err;
};

static inline void *write_part(void *argument) {
    struct part *p = argument;
    const struct pp_control control = {.ops = &meeting_ops,
                                       .context = &p->seat,
                                       .process = p->seat.process,
                                       .process_count = p->seat.meeting->count};
    p->status = pp_checkpoint_write(p->folder, p->key, &p->ranks, &control, p->keep, &p->err);
    return NULL;
}

/* All of them; each has one rank of its number. @param parts  [count] filled */
static inline void write_together(const char *folder, const struct pp_checkpoint_key *key,
                                  struct held *held, int32_t count, int32_t keep,
                                  struct part *parts) {
    struct meeting meeting = {.count = count};
    pthread_t threads[MAX_PROCESSES];
    void *contexts[MAX_PROCESSES];
    pthread_barrier_init(&meeting.barrier, NULL, (unsigned)count);
    for (int32_t p = 0; p < count; p++) {
        contexts[p] = &held[p];
        parts[p] = (struct part){
            .seat = {.meeting = &meeting, .process = p},
            .folder = folder,
            .key = key,
            .ranks = {.compute = &held_ops, .contexts = &contexts[p], .count = 1, .rank_begin = p},
            .keep = keep};
        cr_assert_eq(pthread_create(&threads[p], NULL, write_part, &parts[p]), 0);
    }
    for (int32_t p = 0; p < count; p++) {
        pthread_join(threads[p], NULL);
    }
    pthread_barrier_destroy(&meeting.barrier);
}

/* ---- one process, one rank ---- */

static inline enum pp_status write_alone(const char *folder, struct held *h,
                                         const struct pp_checkpoint_key *key, int32_t keep,
                                         struct pp_err *err) {
    void *context = h;
    const struct pp_checkpoint_ranks ranks = {
        .compute = &held_ops, .contexts = &context, .count = 1};
    const struct pp_control control = pp_control_alone();
    return pp_checkpoint_write(folder, key, &ranks, &control, keep, err);
}

static inline enum pp_status read_alone(const char *folder, struct held *h,
                                        const struct pp_checkpoint_key *key, struct pp_err *err) {
    void *context = h;
    const struct pp_checkpoint_ranks ranks = {
        .compute = &held_ops, .contexts = &context, .count = 1};
    return pp_checkpoint_read(folder, key, &ranks, err);
}

#endif
