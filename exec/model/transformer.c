/* What all ranks of a run share: options, their check, sizes, data. */
#include "exec/model/transformer_priv.h"

#include "exec/model/draw.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_TOKENS = 1 << 24, /* of a microbatch, times experts a token */
    FLOAT_BYTES = 4,
    STATE_FLOATS = 4, /* parameter, gradient, two moments */
};

static enum pp_status check_counts(const struct pp_transformer_config *c, struct pp_err *err) {
    if (c->stage_count < 1 || c->stage_count > PP_SCHED_MAX_STAGES) {
        return pp_fail(err, PP_E_RANGE, "%d stages, expected 1 to %d", c->stage_count,
                       (int)PP_SCHED_MAX_STAGES);
    }
    if (c->microbatches < 1 || c->microbatches > PP_SCHED_MAX_MICROBATCHES) {
        return pp_fail(err, PP_E_RANGE, "%d microbatches, expected 1 to %d", c->microbatches,
                       (int)PP_SCHED_MAX_MICROBATCHES);
    }
    int64_t most = MAX_TOKENS / (c->shape.experts > 0 ? c->shape.experts_per_token : 1);
    if (c->sequences < 1 || c->length < 1 || (int64_t)c->sequences * c->length > most) {
        pp_fail(err, PP_E_RANGE,
                "a microbatch of %d sequences of %d tokens, expected 1 to %lld tokens",
                c->sequences, c->length, (long long)most);
        pp_hint(err, "use smaller microbatches and more of them");
        return PP_E_RANGE;
    }
    return PP_OK;
}

static enum pp_status check_text(const struct pp_transformer_config *c, struct pp_err *err) {
    if (c->tokens == NULL) {
        return PP_OK;
    }
    if (c->token_count <= c->length) {
        return pp_fail(err, PP_E_RANGE, "a text of %lld tokens, a sequence takes %d",
                       (long long)c->token_count, c->length + 1);
    }
    for (int64_t i = 0; i < c->token_count; i++) {
        if (c->tokens[i] < 0 || c->tokens[i] >= c->shape.vocab) {
            return pp_fail(err, PP_E_RANGE, "token %lld of the text is %d, expected 0 to %lld",
                           (long long)i, c->tokens[i], (long long)c->shape.vocab - 1);
        }
    }
    return PP_OK;
}

static enum pp_status check_stages(const struct pp_transformer_config *c, struct pp_err *err) {
    int32_t next = 0;
    for (int32_t i = 0; i < c->stage_count; i++) {
        const struct pp_stage_modules *m = &c->stages[i];
        if (m->embedding != (i == 0) || m->head != (i == c->stage_count - 1)) {
            return pp_fail(err, PP_E_FQN,
                           "stage %d of %d has %s embedding and %s head, expected the embedding in "
                           "the first stage and the head in the last",
                           i, c->stage_count, m->embedding ? "the" : "no", m->head ? "the" : "no");
        }
        if (m->layer_begin != next || m->layer_end < next || m->layer_end > c->shape.layers) {
            return pp_fail(err, PP_E_FQN,
                           "stage %d holds layers %d to before %d of %d, expected them to begin at "
                           "%d",
                           i, m->layer_begin, m->layer_end, c->shape.layers, next);
        }
        next = m->layer_end;
    }
    if (next != c->shape.layers) {
        return pp_fail(err, PP_E_FQN, "the stages hold %d layers, the model has %d", next,
                       c->shape.layers);
    }
    return PP_OK;
}

static enum pp_status fill(struct pp_transformer *t, const struct pp_transformer_config *config,
                           struct pp_err *err) {
    size_t count = (size_t)config->stage_count;
    t->config = *config;
    t->stages = malloc(count * sizeof *t->stages);
    t->layouts = calloc(count, sizeof *t->layouts);
    if (t->stages == NULL || t->layouts == NULL) {
        return pp_fail(err, PP_E_NOMEM, "no memory for %d stages", config->stage_count);
    }
    memcpy(t->stages, config->stages, count * sizeof *t->stages);
    t->config.stages = t->stages;
    for (size_t i = 0; i < count; i++) {
        PP_TRY(pp_layout_init(&t->layouts[i], &t->config.shape, &t->stages[i], err));
    }
    return PP_OK;
}

enum pp_status pp_transformer_create(const struct pp_transformer_config *config,
                                     struct pp_transformer **t_p, struct pp_err *err) {
    PP_TRY(pp_shape_check(&config->shape, err));
    PP_TRY(check_counts(config, err));
    PP_TRY(check_stages(config, err));
    PP_TRY(check_text(config, err));
    struct pp_transformer *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return pp_fail(err, PP_E_NOMEM, "no memory for a model");
    }
    enum pp_status status = fill(t, config, err);
    if (status != PP_OK) {
        pp_transformer_destroy(t);
        return status;
    }
    *t_p = t;
    return PP_OK;
}

void pp_transformer_destroy(struct pp_transformer *t) {
    if (t == NULL) {
        return;
    }
    for (int32_t i = 0; t->layouts != NULL && i < t->config.stage_count; i++) {
        pp_layout_deinit(&t->layouts[i]);
    }
    free(t->layouts);
    free(t->stages);
    free(t);
}

struct pp_scratch_sizes pp_scratch_sizes_of(const struct pp_transformer *t) {
    const struct pp_shape *s = &t->config.shape;
    struct pp_batch_shape batch = pp_transformer_batch(t);
    int64_t tokens = pp_batch_tokens(&batch);
    int64_t inner = (int64_t)s->heads * s->head_dim;
    struct pp_scratch_sizes sizes = {
        .losses = t->config.microbatches,
        .stream = tokens * s->hidden,
        .qkv = tokens * ((int64_t)s->heads + 2 * (int64_t)s->kv_heads) * s->head_dim,
        .tokens = tokens,
    };
    for (int32_t layer = 0; layer < s->layers; layer++) {
        inner = pp_max_i64(inner, pp_layout_dense_ffn(s, layer));
        if (pp_shape_is_moe(s, layer)) {
            int64_t rows = tokens * s->experts_per_token;
            inner = pp_max_i64(inner, s->experts_per_token * s->expert_ffn);
            sizes.rows = pp_max_i64(rows * s->hidden, tokens * s->experts);
            sizes.row_weights = rows;
        }
    }
    sizes.inner = tokens * inner;
    return sizes;
}

int64_t pp_scratch_bytes(const struct pp_scratch_sizes *sizes, int64_t act_bytes) {
    return (2 * sizes->stream + sizes->inner + sizes->qkv + sizes->rows) * act_bytes +
           (sizes->row_weights + sizes->tokens) * FLOAT_BYTES +
           sizes->losses * (int64_t)sizeof(double);
}

static int64_t state_bytes(const struct pp_transformer *t, int32_t part, int64_t act_bytes) {
    int64_t copy_bytes = act_bytes == FLOAT_BYTES ? 0 : act_bytes;
    return t->layouts[part].count * (STATE_FLOATS * FLOAT_BYTES + copy_bytes);
}

void pp_transformer_sizes(const struct pp_transformer *t, const struct pp_sched *sched,
                          int64_t act_bytes, int64_t *input_bytes, int64_t *stash_bytes,
                          int64_t *fixed_bytes) {
    PP_ASSERT(sched->part_count == t->config.stage_count);
    struct pp_batch_shape batch = pp_transformer_batch(t);
    struct pp_scratch_sizes scratch = pp_scratch_sizes_of(t);
    int64_t stream_bytes = pp_batch_tokens(&batch) * t->config.shape.hidden * act_bytes;
    for (int32_t stage = 0; stage < sched->stage_count; stage++) {
        int32_t part = pp_transformer_part(t, stage);
        input_bytes[stage] = pp_sched_stage_before(sched, stage) < 0 ? 0 : stream_bytes;
        stash_bytes[stage] = pp_stash_bytes(&t->config.shape, &t->stages[part], &batch, act_bytes);
        fixed_bytes[stage] = state_bytes(t, part, act_bytes);
        int32_t share = sched->rank_stages[sched->stage_rank[stage]];
        fixed_bytes[stage] += pp_div_ceil_i64(pp_scratch_bytes(&scratch, act_bytes), share);
        if (sched->part_count < sched->stage_count) { /* what comes from its copy (rank_priv.h) */
            fixed_bytes[stage] += t->layouts[part].count * FLOAT_BYTES;
        }
    }
}

void pp_draw_tokens(const struct pp_transformer *t, int64_t step, int32_t microbatch,
                    int32_t sequence, int32_t *tokens) {
    const struct pp_transformer_config *c = &t->config;
    int64_t number = (step * c->microbatches + microbatch) * c->sequences + sequence;
    if (c->tokens == NULL) {
        pp_draw_chain(c->seed, number, c->length, c->shape.vocab, tokens);
        return;
    }
    int64_t pieces = c->token_count / ((int64_t)c->length + 1);
    memcpy(tokens, c->tokens + number % pieces * ((int64_t)c->length + 1),
           ((size_t)c->length + 1) * sizeof *tokens);
}
