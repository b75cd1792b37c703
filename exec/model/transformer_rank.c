/* One rank's stages, and the table by which the runtime has them work. */
#include "exec/model/transformer_priv.h"

#include "exec/model/draw.h"

#include <stdio.h>
#include <stdlib.h>

enum { FLOAT_BYTES = 4, DRAW_AT_ONCE = 1 << 14 };

struct pp_transformer_rank {
    const struct pp_transformer *transformer;
    const struct pp_device_ops *device;
    void *context; /* the device's */
    int32_t part_count;
    int32_t stage_count;
    struct pp_stage *stages; /* [stage_count] in ascending order */
    int32_t *stage_index;    /* [stage_count of the schedule] in `stages`; -1: of another rank */
    struct pp_scratch scratch;
    struct pp_profile profile;
    int32_t *ids, *targets, *sequence; /* host: [T], [T], [length + 1] */
    double *losses;                    /* device: [microbatches], times tokens */
    double *host_losses;
    int64_t step;
};

static void close_stage(struct pp_stage *s) {
    if (s->device == NULL) {
        return;
    }
    if (s->weights != s->params) {
        s->device->free(s->context, s->weights);
    }
    s->device->free(s->context, s->params);
    s->device->free(s->context, s->grads);
    s->device->free(s->context, s->m);
    s->device->free(s->context, s->v);
    pp_stash_deinit(&s->stash);
}

void pp_transformer_close(struct pp_transformer_rank *rank) {
    if (rank == NULL) {
        return;
    }
    for (int32_t i = 0; i < rank->stage_count; i++) {
        close_stage(&rank->stages[i]);
    }
    const struct pp_device_ops *d = rank->device;
    const struct pp_scratch *c = &rank->scratch;
    void *const memory[] = {c->grad, c->hidden,          c->inner,   c->qkv,
                            c->rows, c->row_weight_grad, c->targets, rank->losses};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++) {
        d->free(rank->context, memory[i]);
    }
    pp_profile_deinit(&rank->profile);
    free(rank->stages);
    free(rank->stage_index);
    free(rank->ids);
    free(rank->targets);
    free(rank->sequence);
    free(rank->host_losses);
    free(rank);
}

static enum pp_status check_schedule(const struct pp_transformer *t, const struct pp_sched *sched,
                                     struct pp_err *err) {
    if (sched->slice_count != 1) {
        pp_fail(err, PP_E_SCHEDULE,
                "the schedule cuts sequences into %d slices; the transformer takes whole ones, as "
                "it keeps no keys and values between slices",
                sched->slice_count);
        pp_hint(err, "choose a schedule without slices, such as 1F1B instead of Seq1F1B");
        return PP_E_SCHEDULE;
    }
    if (sched->part_count != t->config.stage_count) {
        return pp_fail(err, PP_E_STAGES,
                       "the schedule splits the model into %d stages, the transformer into %d",
                       sched->part_count, t->config.stage_count);
    }
    int32_t count = sched->microbatch_count * (sched->stage_count / sched->part_count);
    if (count != t->config.microbatches) {
        return pp_fail(err, PP_E_RANGE,
                       "the schedule runs %d microbatches, the transformer expects %d", count,
                       t->config.microbatches);
    }
    return PP_OK;
}

/* Of the device; nothing (NULL) if there is no need. @return false: no memory */
static bool take(struct pp_transformer_rank *r, int64_t bytes, void **memory_p) {
    *memory_p = bytes > 0 ? r->device->alloc(r->context, bytes) : NULL;
    return bytes == 0 || *memory_p != NULL;
}

static bool take_floats(struct pp_transformer_rank *r, int64_t count, float **memory_p) {
    void *memory;
    bool taken = take(r, count * FLOAT_BYTES, &memory);
    *memory_p = memory;
    return taken;
}

static bool take_scratch(struct pp_transformer_rank *r) {
    struct pp_scratch_sizes n = pp_scratch_sizes_of(r->transformer);
    struct pp_scratch *s = &r->scratch;
    int64_t act = r->device->act_bytes(r->context);
    void *targets = NULL;
    void *losses = NULL;
    bool taken = take(r, n.stream * act, &s->grad) && take(r, n.stream * act, &s->hidden) &&
                 take(r, n.inner * act, &s->inner) && take(r, n.qkv * act, &s->qkv) &&
                 take(r, n.rows * act, &s->rows) &&
                 take_floats(r, n.row_weights, &s->row_weight_grad) &&
                 take(r, n.tokens * (int64_t)sizeof(int32_t), &targets) &&
                 take(r, n.losses * (int64_t)sizeof(double), &losses);
    s->targets = targets;
    r->losses = losses;
    return taken;
}

static bool take_host(struct pp_transformer_rank *r) {
    const struct pp_transformer_config *c = &r->transformer->config;
    size_t tokens = (size_t)c->sequences * (size_t)c->length;
    r->ids = malloc(tokens * sizeof *r->ids);
    r->targets = malloc(tokens * sizeof *r->targets);
    r->sequence = malloc(((size_t)c->length + 1) * sizeof *r->sequence);
    r->host_losses = malloc((size_t)c->microbatches * sizeof *r->host_losses);
    return r->ids != NULL && r->targets != NULL && r->sequence != NULL && r->host_losses != NULL;
}

static void draw_params(struct pp_stage *s, uint64_t seed) {
    float piece[DRAW_AT_ONCE];
    for (int32_t i = 0; i < s->layout->tensor_count; i++) {
        const struct pp_tensor *t = &s->layout->tensors[i];
        uint64_t stream = pp_draw_stream(t->name);
        for (int64_t at = 0; at < t->count; at += DRAW_AT_ONCE) {
            int64_t count = pp_min_i64(DRAW_AT_ONCE, t->count - at);
            pp_draw_fill(piece, count, seed, stream, (uint64_t)at, t->scale);
            for (int64_t k = 0; t->scale == 0 && k < count; k++) {
                piece[k] = 1;
            }
            s->device->upload(s->context, s->params + t->offset + at, piece, count * FLOAT_BYTES);
        }
    }
}

static enum pp_status open_stage(struct pp_transformer_rank *r, int32_t stage, struct pp_stage *s,
                                 struct pp_err *err) {
    const struct pp_transformer *t = r->transformer;
    int32_t part = pp_transformer_part(t, stage);
    *s = (struct pp_stage){
        .stage = stage,
        .part = part,
        .shape = &t->config.shape,
        .modules = t->stages[part],
        .layout = &t->layouts[part],
        .batch = pp_transformer_batch(t),
        .device = r->device,
        .context = r->context,
        .act_bytes = r->device->act_bytes(r->context),
        .scratch = &r->scratch,
        .profile = &r->profile,
    };
    PP_TRY(pp_stash_init(&s->stash, s->shape, &s->modules, &s->batch, s->act_bytes, err));
    int64_t count = s->layout->count;
    bool taken = take_floats(r, count, &s->params) && take_floats(r, count, &s->grads) &&
                 take_floats(r, count, &s->m) && take_floats(r, count, &s->v);
    if (taken && r->device->cast == NULL) {
        s->weights = s->params;
    } else {
        taken = taken && take(r, count * s->act_bytes, &s->weights);
    }
    if (!taken) {
        return pp_fail(err, PP_E_NOMEM, "no memory on device %s for stage %d: %lld parameters",
                       r->device->name, stage, (long long)count);
    }
    float *const blocks[] = {s->params, s->grads, s->m, s->v};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        s->device->zero(s->context, blocks[i], count * FLOAT_BYTES);
    }
    draw_params(s, t->config.seed);
    if (s->weights != s->params) {
        s->device->cast(s->context, s->weights, s->params, count);
    }
    return PP_OK;
}

static enum pp_status open_stages(struct pp_transformer_rank *r, const struct pp_sched *sched,
                                  int32_t rank, struct pp_err *err) {
    size_t all = (size_t)sched->stage_count;
    r->stages = calloc((size_t)sched->rank_stages[rank], sizeof *r->stages);
    r->stage_index = malloc(all * sizeof *r->stage_index);
    if (r->stages == NULL || r->stage_index == NULL || !take_host(r) || !take_scratch(r)) {
        return pp_fail(err, PP_E_NOMEM, "no memory for the work of rank %d", rank);
    }
    int32_t layers = r->transformer->config.shape.layers;
    PP_TRY(pp_profile_init(&r->profile, PP_MODULE_EMBEDDING, layers + 2, err));
    for (int32_t stage = 0; stage < sched->stage_count; stage++) {
        r->stage_index[stage] = -1;
        if (sched->stage_rank[stage] == rank) {
            r->stage_index[stage] = r->stage_count;
            r->stage_count++;
            PP_TRY(open_stage(r, stage, &r->stages[r->stage_count - 1], err));
        }
    }
    return PP_OK;
}

enum pp_status pp_transformer_open(const struct pp_transformer *t, const struct pp_sched *sched,
                                   int32_t rank, const struct pp_device_ops *device,
                                   void *device_context, struct pp_transformer_rank **rank_p,
                                   struct pp_err *err) {
    PP_TRY(check_schedule(t, sched, err));
    if (t->config.shape.experts > 0 && device->route == NULL) {
        return pp_fail(err, PP_E_MODEL, "device %s has no kernels for mixtures of experts",
                       device->name);
    }
    struct pp_transformer_rank *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return pp_fail(err, PP_E_NOMEM, "no memory for rank %d", rank);
    }
    r->transformer = t;
    r->device = device;
    r->context = device_context;
    r->part_count = sched->part_count;
    enum pp_status status = open_stages(r, sched, rank, err);
    if (status != PP_OK) {
        pp_transformer_close(r);
        return status;
    }
    *rank_p = r;
    return PP_OK;
}

/* ---- actions ---- */

/* Both pipelines of a bidirectional schedule count from 0: the second takes the second half. */
static int32_t global_microbatch(const struct pp_transformer_rank *r, const struct pp_action *a) {
    bool second = a->stage >= r->part_count;
    return a->microbatch + (second ? r->transformer->config.microbatches / 2 : 0);
}

static void load_tokens(struct pp_transformer_rank *r, const struct pp_stage *s, char *stash,
                        int32_t microbatch) {
    int32_t length = s->batch.length;
    for (int32_t i = 0; i < s->batch.sequences; i++) {
        pp_draw_tokens(r->transformer, r->step, microbatch, i, r->sequence);
        for (int32_t k = 0; k < length; k++) {
            r->ids[i * length + k] = r->sequence[k];
            r->targets[i * length + k] = r->sequence[k + 1];
        }
    }
    int64_t bytes = pp_stage_tokens(s) * (int64_t)sizeof(int32_t);
    if (s->modules.embedding) {
        s->device->upload(s->context, stash + s->stash.ids, r->ids, bytes);
    }
    if (s->modules.head) {
        s->device->upload(s->context, s->scratch->targets, r->targets, bytes);
    }
}

static void run_compute(struct pp_transformer_rank *r, const struct pp_stage *s,
                        const struct pp_work *w) {
    const struct pp_transformer_config *c = &r->transformer->config;
    int32_t microbatch = global_microbatch(r, &w->action);
    struct pp_buffers b = {
        .input = w->input,
        .output = w->output,
        .output_grad = w->output_grad,
        .input_grad = w->input_grad,
        .stash = w->stash,
        .loss = &r->losses[microbatch],
    };
    int32_t shared_by = c->scale_in_schedule ? 1 : c->microbatches;
    b.loss_scale = (float)(1.0 / ((double)pp_stage_tokens(s) * shared_by));
    switch ((enum pp_action_type)w->action.type) {
    case PP_F:
        if (s->modules.embedding || s->modules.head) {
            load_tokens(r, s, b.stash, microbatch);
        }
        pp_stage_forward(s, &b);
        break;
    case PP_I:
        pp_stage_input_grad(s, &b);
        break;
    case PP_W:
        pp_stage_weight_grad(s, &b);
        break;
    default: /* B */
        pp_stage_input_grad(s, &b);
        pp_stage_weight_grad(s, &b);
        break;
    }
}

/* Several reductions may come in a step, of what is there so far (sim/lower.h). Only the last knows
 * all that its own microbatches gave, and is where those of the copy and the scale join. */
static bool is_last_reduce(const struct pp_work *w) {
    if (w->action.microbatch < 0) {
        return true;
    }
    const struct pp_sched *sched = w->program->sched;
    int32_t end = sched->rank_begin[sched->stage_rank[w->action.stage] + 1];
    for (int32_t at = w->index + 1; at < end; at++) {
        const struct pp_action *a = &sched->actions[at];
        if (a->type == PP_REDUCE_GRAD && a->stage == w->action.stage) {
            return false;
        }
    }
    return true;
}

/* A sum of two is the same from both sides, so copies stay equal to the bit. */
static void reduce(const struct pp_transformer_rank *r, const struct pp_stage *s,
                   const struct pp_work *w) {
    if (!is_last_reduce(w)) {
        return;
    }
    if (w->copy_grad != NULL) {
        s->device->add_float(s->context, s->grads, w->copy_grad, s->layout->count);
    }
    if (r->transformer->config.scale_in_schedule) {
        s->device->scale_float(s->context, s->grads,
                               (float)(1.0 / r->transformer->config.microbatches),
                               s->layout->count);
    }
}

/* The first stage has no input; one without layers keeps nothing. */
static void offload(const struct pp_stage *s, const struct pp_work *w) {
    if (w->input != NULL) {
        s->device->download(s->context, w->host_input, w->input, pp_stage_stream_bytes(s));
    }
    if (s->stash.bytes > 0) {
        s->device->download(s->context, w->host_stash, w->stash, s->stash.bytes);
    }
}

static void reload(const struct pp_stage *s, const struct pp_work *w) {
    if (w->input != NULL) {
        s->device->upload(s->context, w->input, w->host_input, pp_stage_stream_bytes(s));
    }
    if (s->stash.bytes > 0) {
        s->device->upload(s->context, w->stash, w->host_stash, s->stash.bytes);
    }
}

static enum pp_status start(void *context, const struct pp_work *w, struct pp_err *err) {
    struct pp_transformer_rank *r = context;
    const struct pp_stage *s = &r->stages[r->stage_index[w->action.stage]];
    switch ((enum pp_action_type)w->action.type) {
    case PP_F:
    case PP_I:
    case PP_W:
    case PP_B:
        run_compute(r, s, w);
        return PP_OK;
    case PP_UNSHARD:
        if (s->weights != s->params) {
            s->device->cast(s->context, s->weights, s->params, s->layout->count);
        }
        return PP_OK;
    case PP_RESHARD:
        return PP_OK;
    case PP_REDUCE_GRAD:
        reduce(r, s, w);
        return PP_OK;
    case PP_OFFLOAD:
        offload(s, w);
        return PP_OK;
    case PP_RELOAD:
        reload(s, w);
        return PP_OK;
    default:
        break;
    }
    char text[PP_ACTION_TEXT_BYTES];
    return pp_fail(err, PP_E_ARG, "%s is not the transformer's to start",
                   pp_action_text(&w->action, text));
}

/* ---- steps ---- */

static enum pp_status begin_step(void *context, int64_t step, struct pp_err *err) {
    struct pp_transformer_rank *r = context;
    (void)err;
    r->step = step;
    int64_t bytes = r->transformer->config.microbatches * (int64_t)sizeof *r->losses;
    r->device->zero(r->context, r->losses, bytes);
    for (int32_t i = 0; i < r->stage_count; i++) {
        const struct pp_stage *s = &r->stages[i];
        s->device->zero(s->context, s->grads, s->layout->count * FLOAT_BYTES);
    }
    return PP_OK;
}

static enum pp_status end_step(void *context, int64_t step, struct pp_err *err) {
    struct pp_transformer_rank *r = context;
    (void)err;
    struct pp_adamw options = r->transformer->config.optimizer;
    options.step = step + 1;
    for (int32_t i = 0; i < r->stage_count; i++) {
        const struct pp_stage *s = &r->stages[i];
        for (int32_t k = 0; k < s->layout->tensor_count; k++) { /* alike in every split */
            const struct pp_tensor *t = &s->layout->tensors[k];
            s->device->adamw(s->context, s->params + t->offset, s->m + t->offset, s->v + t->offset,
                             s->grads + t->offset, t->count, &options);
        }
    }
    return PP_OK;
}

static double loss(void *context) {
    struct pp_transformer_rank *r = context;
    const struct pp_transformer_config *c = &r->transformer->config;
    r->device->download(r->context, r->host_losses, r->losses,
                        c->microbatches * (int64_t)sizeof *r->losses);
    double sum = 0;
    for (int32_t i = 0; i < c->microbatches; i++) {
        sum += r->host_losses[i] / ((double)c->sequences * c->length);
    }
    return sum;
}

static struct pp_state state_of(const struct pp_stage *s, int32_t index) {
    static const char *const suffixes[] = {"", ".m", ".v"};
    const struct pp_tensor *t = &s->layout->tensors[index / 3];
    float *const blocks[] = {s->params, s->m, s->v};
    struct pp_state state = {
        .stage = s->part, /* copies share their state, and any split may go on from it */
        .data = blocks[index % 3] + t->offset,
        .grad = index % 3 == 0 ? s->grads + t->offset : NULL,
        .count = t->count,
    };
    snprintf(state.name, sizeof state.name, "%s%s", t->name, suffixes[index % 3]);
    return state;
}

static int32_t state(void *context, int32_t index, struct pp_state *state_p) {
    struct pp_transformer_rank *r = context;
    int32_t count = 0;
    for (int32_t i = 0; i < r->stage_count; i++) {
        int32_t own = 3 * r->stages[i].layout->tensor_count;
        if (index >= count && index < count + own) {
            *state_p = state_of(&r->stages[i], index - count);
        }
        count += own;
    }
    return count;
}

static const void *exchange(void *context, int32_t stage, int64_t *bytes_p) {
    struct pp_transformer_rank *r = context;
    const struct pp_stage *s = &r->stages[r->stage_index[stage]];
    *bytes_p = s->layout->count * FLOAT_BYTES;
    return s->grads;
}

static int32_t profile(void *context, struct pp_profile_row *rows, int32_t room) {
    struct pp_transformer_rank *r = context;
    return pp_profile_rows(&r->profile, rows, room);
}

const struct pp_compute_ops pp_transformer_ops = {
    .api = PP_COMPUTE_API,
    .name = "transformer",
    .start = start,
    .begin_step = begin_step,
    .end_step = end_step,
    .loss = loss,
    .state = state,
    .exchange = exchange,
    .profile = profile,
};
