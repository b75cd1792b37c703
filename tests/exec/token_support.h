/* A workload that writes into its buffers what it is, and looks whether what it is given is what it
 * should be: the bytes of an output tell stage, microbatch, direction and, through a hash, all
 * that went into it. So a run in which nothing is wrong has moved every tensor to where it belongs,
 * and has kept it there as long as it was needed. Buffers that are free are poisoned. Work may take
 * some polls: it reads when it starts, and again when it ends, and writes when it ends. */
#ifndef PP_TESTS_TOKEN_SUPPORT_H
#define PP_TESTS_TOKEN_SUPPORT_H

#include "exec/compute.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_POISON = 0xa5, TOKEN_BLOCK = 6, TOKEN_FLIGHTS = 64 };

/* Of one program; read only while it runs. */
struct token_model {
    const struct pp_program *program;
    const int64_t *input_bytes, *stash_bytes; /* [stage_count] */
    uint64_t *forward, *backward;             /* [stage_count * microbatch_count] */
    int32_t most_polls;                       /* work lasts up to as many; 0: none */
    bool has_unshard;
};

struct token_flight {
    int32_t index, polls;
};

/* One a rank. */
struct token {
    const struct token_model *model;
    uint64_t seed;
    struct token_flight flights[TOKEN_FLIGHTS];
    int32_t flight_count;
    int32_t *order; /* [action_count] actions as they were started, all lanes */
    int32_t order_count;
    uint64_t (*block)[TOKEN_BLOCK]; /* [stage_count] gradients */
    int32_t *through;               /* [stage_count] backwards ended */
    bool *gathered;                 /* [stage_count] */
    char wrong[200];                /* the first thing found wrong; empty: none */
    int64_t failing_step;           /* start of `failing` fails in that step; -1 */
    int32_t failing;
    int64_t step;
};

static inline uint64_t token_hash(uint64_t a, uint64_t b) {
    uint64_t z = a * 0x9e3779b97f4a7c15u + b + 0x94d049bb133111ebu;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    return z ^ z >> 29;
}

/* What F of a stage, or I or B, hands on; 0 for what is before the first and behind the last. */
static inline uint64_t token_of(const struct token_model *m, bool forward, int32_t stage,
                                int32_t microbatch) {
    const uint64_t *of = forward ? m->forward : m->backward;
    return stage < 0 ? 0 : of[stage * m->program->sched->microbatch_count + microbatch];
}

static inline void token_model_init(struct token_model *m, const struct pp_program *program,
                                    const struct pp_program_sizes *sizes) {
    const struct pp_sched *s = program->sched;
    size_t count = (size_t)s->stage_count * (size_t)s->microbatch_count;
    *m = (struct token_model){.program = program,
                              .input_bytes = sizes->input_bytes,
                              .stash_bytes = sizes->stash_bytes,
                              .forward = calloc(count, sizeof(uint64_t)),
                              .backward = calloc(count, sizeof(uint64_t))};
    for (int32_t k = 0; k < s->microbatch_count; k++) {
        for (int32_t up = 0; up < s->stage_count; up++) {
            uint64_t before = token_of(m, true, pp_sched_stage_before(s, up), k);
            m->forward[up * s->microbatch_count + k] =
                token_hash(before, (uint64_t)(up * 4096 + k + 1));
        }
        for (int32_t down = s->stage_count - 1; down >= 0; down--) {
            uint64_t after = token_of(m, false, pp_sched_stage_after(s, down), k);
            m->backward[down * s->microbatch_count + k] =
                token_hash(after, token_of(m, true, down, k));
        }
    }
    for (int32_t i = 0; i < s->action_count; i++) {
        m->has_unshard = m->has_unshard || s->actions[i].type == PP_UNSHARD;
    }
}

static inline void token_model_deinit(struct token_model *m) {
    free(m->forward);
    free(m->backward);
}

static inline void token_init(struct token *t, const struct token_model *m, uint64_t seed) {
    const struct pp_sched *s = m->program->sched;
    size_t stages = (size_t)s->stage_count;
    *t = (struct token){.model = m,
                        .seed = seed,
                        .failing = -1,
                        .order = calloc((size_t)s->action_count, sizeof(int32_t)),
                        .block = calloc(stages, sizeof(uint64_t[TOKEN_BLOCK])),
                        .through = calloc(stages, sizeof(int32_t)),
                        .gathered = calloc(stages, sizeof(bool))};
}

static inline void token_deinit(struct token *t) {
    free(t->order);
    free(t->block);
    free(t->through);
    free(t->gathered);
}

/* ---- bytes ---- */

/* Ends in full, and some of a long middle: another tenant's bytes lie in a row. */
static inline int64_t token_next(int64_t at, int64_t bytes) {
    return at >= 128 && at + 128 + 61 < bytes ? at + 61 : at + 1;
}

static inline unsigned char token_byte(uint64_t token, int64_t at) {
    return (unsigned char)(token_hash(token, (uint64_t)at / 8) >> at % 8 * 8);
}

static inline void token_write(void *buffer, int64_t bytes, uint64_t token) {
    for (int64_t at = 0; at < bytes; at = token_next(at, bytes)) {
        ((unsigned char *)buffer)[at] = token_byte(token, at);
    }
}

static inline bool token_is(const void *buffer, int64_t bytes, uint64_t token) {
    for (int64_t at = 0; at < bytes; at = token_next(at, bytes)) {
        if (((const unsigned char *)buffer)[at] != token_byte(token, at)) {
            return false;
        }
    }
    return true;
}

static inline void token_poison(void *buffer, int64_t bytes) {
    if (bytes > 0) {
        memset(buffer, TOKEN_POISON, (size_t)bytes);
    }
}

static inline void token_wrong(struct token *t, const struct pp_action *a, const char *what) {
    char text[PP_ACTION_TEXT_BYTES];
    if (t->wrong[0] == '\0') {
        snprintf(t->wrong, sizeof t->wrong, "%s: %s is not what it should be",
                 pp_action_text(a, text), what);
    }
}

static inline void token_expect(struct token *t, const struct pp_action *a, const void *buffer,
                                int64_t bytes, uint64_t token, const char *what) {
    if (bytes > 0 && (buffer == NULL || !token_is(buffer, bytes, token))) {
        token_wrong(t, a, what);
    }
}

/* ---- actions ---- */

static inline uint64_t token_stash(const struct token_model *m, const struct pp_action *a) {
    return token_hash(token_of(m, true, a->stage, a->microbatch), 77);
}

/* All that an action reads must be right, at its start and at its end. */
static inline void token_look(struct token *t, const struct pp_work *w) {
    const struct token_model *m = t->model;
    const struct pp_action *a = &w->action;
    const struct pp_sched *s = m->program->sched;
    int32_t before = pp_sched_stage_before(s, a->stage);
    int32_t after = pp_sched_stage_after(s, a->stage);
    if (pp_action_is_compute(a)) {
        if (m->has_unshard && !t->gathered[a->stage]) {
            token_wrong(t, a, "its stage (not gathered)");
        }
        if (before >= 0) {
            token_expect(t, a, w->input, m->input_bytes[a->stage],
                         token_of(m, true, before, a->microbatch), "its input");
        }
        if (a->type != PP_F) {
            token_expect(t, a, w->stash, m->stash_bytes[a->stage], token_stash(m, a), "its stash");
            if (after >= 0) {
                token_expect(t, a, w->output_grad, m->input_bytes[after],
                             token_of(m, false, after, a->microbatch), "its output gradient");
            }
        }
    } else if (pp_action_is_offload(a)) {
        bool out = a->type == PP_OFFLOAD;
        if (before >= 0) {
            token_expect(t, a, out ? w->input : w->host_input, m->input_bytes[a->stage],
                         token_of(m, true, before, a->microbatch), "the input it moves");
        }
        token_expect(t, a, out ? w->stash : w->host_stash, m->stash_bytes[a->stage],
                     token_stash(m, a), "the stash it moves");
    }
}

/* Gradients of a microbatch, exact in any order. */
static inline uint64_t token_grad(const struct token_model *m, const struct pp_action *a,
                                  int32_t at) {
    return token_hash(token_of(m, false, a->stage, a->microbatch), (uint64_t)at) >> 24;
}

/* All of a stage's of a step. */
static inline uint64_t token_grads(const struct token_model *m, int32_t stage, int32_t at) {
    uint64_t sum = 0;
    for (int32_t k = 0; k < m->program->sched->microbatch_count; k++) {
        struct pp_action a = {.stage = stage, .microbatch = k};
        sum += token_grad(m, &a, at);
    }
    return sum;
}

static inline void token_move(void *to, void *from, int64_t bytes) {
    if (bytes > 0) {
        memcpy(to, from, (size_t)bytes);
        token_poison(from, bytes);
    }
}

static inline void token_reduce(struct token *t, const struct pp_work *w) {
    const struct token_model *m = t->model;
    int32_t stage = w->action.stage;
    int32_t copy = pp_program_copy_of(m->program, stage);
    const uint64_t *other = w->copy_grad;
    if (w->action.microbatch < 0 && t->through[stage] != m->program->sched->microbatch_count) {
        token_wrong(t, &w->action, "the number of its backwards");
    }
    for (int32_t i = 0; copy >= 0 && i < TOKEN_BLOCK; i++) {
        if (other == NULL || other[i] != token_grads(m, copy, i)) {
            token_wrong(t, &w->action, "the gradients of its copy");
            return;
        }
        t->block[stage][i] += other[i];
    }
}

static inline void token_end(struct token *t, const struct pp_work *w) {
    const struct token_model *m = t->model;
    const struct pp_action *a = &w->action;
    const struct pp_sched *s = m->program->sched;
    int32_t stage = a->stage;
    int32_t before = pp_sched_stage_before(s, stage);
    int32_t after = pp_sched_stage_after(s, stage);
    int64_t input_bytes = before >= 0 ? m->input_bytes[stage] : 0;
    token_look(t, w);
    switch (a->type) {
    case PP_F:
        token_write(w->stash, m->stash_bytes[stage], token_stash(m, a));
        if (after >= 0) {
            token_write(w->output, m->input_bytes[after], token_of(m, true, stage, a->microbatch));
        }
        break;
    case PP_I:
    case PP_B:
        token_write(w->input_grad, input_bytes, token_of(m, false, stage, a->microbatch));
        break;
    case PP_UNSHARD:
    case PP_RESHARD:
        t->gathered[stage] = a->type == PP_UNSHARD;
        break;
    case PP_REDUCE_GRAD:
        token_reduce(t, w);
        break;
    case PP_OFFLOAD:
        token_move(w->host_input, w->input, input_bytes);
        token_move(w->host_stash, w->stash, m->stash_bytes[stage]);
        break;
    case PP_RELOAD:
        token_move(w->input, w->host_input, input_bytes);
        token_move(w->stash, w->host_stash, m->stash_bytes[stage]);
        break;
    default:
        break;
    }
    if (a->type == PP_W || a->type == PP_B) {
        t->through[stage]++;
        for (int32_t i = 0; i < TOKEN_BLOCK; i++) {
            t->block[stage][i] += token_grad(m, a, i);
        }
    }
}

/* ---- the table ---- */

static inline enum pp_status token_begin_step(void *context, int64_t step, struct pp_err *err) {
    struct token *t = context;
    size_t stages = (size_t)t->model->program->sched->stage_count;
    (void)err;
    t->step = step;
    t->order_count = t->flight_count = 0;
    memset(t->block, 0, stages * sizeof t->block[0]);
    memset(t->through, 0, stages * sizeof t->through[0]);
    memset(t->gathered, 0, stages * sizeof t->gathered[0]);
    return PP_OK;
}

static inline enum pp_status token_start(void *context, const struct pp_work *w,
                                         struct pp_err *err) {
    struct token *t = context;
    if (w->index == t->failing && t->step == t->failing_step) {
        return pp_fail(err, PP_E_VALUE, "told to fail");
    }
    t->order[t->order_count++] = w->index;
    token_look(t, w);
    if (t->model->most_polls == 0) {
        token_end(t, w);
        return PP_OK;
    }
    t->seed = token_hash(t->seed, 5);
    if (t->flight_count == TOKEN_FLIGHTS) {
        token_wrong(t, &w->action, "the number of actions in flight");
        return PP_OK;
    }
    t->flights[t->flight_count++] = (struct token_flight){
        .index = w->index, .polls = (int32_t)(t->seed % (uint64_t)(t->model->most_polls + 1))};
    return PP_OK;
}

static inline bool token_done(void *context, const struct pp_work *w) {
    struct token *t = context;
    if (t->model->most_polls == 0) {
        return true;
    }
    for (int32_t i = 0; i < t->flight_count; i++) {
        if (t->flights[i].index == w->index) {
            if (t->flights[i].polls-- > 0) {
                return false;
            }
            t->flights[i] = t->flights[--t->flight_count];
            token_end(t, w);
            return true;
        }
    }
    token_wrong(t, &w->action, "asked for: it was not started");
    return true;
}

static inline const void *token_exchange(void *context, int32_t stage, int64_t *bytes_p) {
    struct token *t = context;
    *bytes_p = sizeof t->block[0];
    return t->block[stage];
}

static const struct pp_compute_ops token_ops = {.api = PP_COMPUTE_API,
                                                .name = "token",
                                                .start = token_start,
                                                .done = token_done,
                                                .begin_step = token_begin_step,
                                                .exchange = token_exchange};
static const struct pp_compute_ops token_overlap_ops = {.api = PP_COMPUTE_API,
                                                        .name = "token",
                                                        .overlaps = true,
                                                        .start = token_start,
                                                        .done = token_done,
                                                        .begin_step = token_begin_step,
                                                        .exchange = token_exchange};

/* ---- afterwards ---- */

/* Everything was done, once, compute in list order; gradients are what they should be.
 * @return what is wrong; NULL: nothing */
static inline const char *token_verdict(struct token *t, int32_t rank) {
    const struct token_model *m = t->model;
    const struct pp_sched *s = m->program->sched;
    int32_t at = 0;
    int32_t work = 0;
    if (t->wrong[0] != '\0') {
        return t->wrong;
    }
    for (int32_t i = s->rank_begin[rank]; i < s->rank_begin[rank + 1]; i++) {
        const struct pp_action *a = &s->actions[i];
        work += a->type < PP_SEND_F || a->type > PP_RECV_B;
        if (pp_action_is_compute(a)) {
            while (at < t->order_count && !pp_action_is_compute(&s->actions[t->order[at]])) {
                at++;
            }
            if (at == t->order_count || t->order[at++] != i) {
                return "compute ran in another order than the list's";
            }
        }
    }
    if (work != t->order_count || t->flight_count != 0) {
        return "an action was started twice, or not at all";
    }
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        int32_t copy = pp_program_copy_of(m->program, stage);
        bool reduced = false;
        for (int32_t i = 0; i < s->action_count; i++) {
            reduced =
                reduced || (s->actions[i].type == PP_REDUCE_GRAD && s->actions[i].stage == stage);
        }
        for (int32_t i = 0; s->stage_rank[stage] == rank && i < TOKEN_BLOCK; i++) {
            uint64_t sum =
                token_grads(m, stage, i) + (copy >= 0 && reduced ? token_grads(m, copy, i) : 0);
            if (t->block[stage][i] != sum) {
                return "the gradients of a stage are not the sum of its microbatches'";
            }
        }
    }
    return NULL;
}

#endif
