/* DualPipe and DualPipeV: two streams of microbatches meet on every rank, forwards and backwards
 * overlap in pairs in the steady phase, backwards are split only where they shorten the ramps.
 *
 * DualPipe runs a second copy of the model from the other end: the near stream is the one whose end
 * is nearer, `half` ranks share it, and a rank's `depth` is its distance from that end. DualPipeV
 * is one half of it: the far stream's stages are those after the turn of the V, so all ranks are
 * the half and the depth is the rank. */
#include "sim/gen_priv.h"

#include <stdlib.h>

struct weight {
    int32_t stage, microbatch;
};

struct dual {
    struct pp_gen_row *row;
    int32_t half, depth, unit_count; /* ranks of a stream, this one's place, its microbatches */
    int32_t near, far;               /* the rank's two stages */
    int32_t f_near, f_far;           /* forwards emitted */
    int32_t b_near, b_far;           /* backwards emitted; I and B share the count */
    struct weight *weights;          /* W of every I, in order; [2 * unit_count] */
    int32_t pushed, popped;
};

static enum pp_status check_dualpipev(const struct pp_gen_config *c, struct pp_err *err) {
    int32_t need = c->rank_count * c->stages_per_rank;
    if (c->microbatch_count >= need) {
        return PP_OK;
    }
    pp_fail(err, PP_E_MICROBATCH,
            "DualPipeV needs at least as many microbatches as stages: got %d microbatches, %d "
            "stages",
            c->microbatch_count, need);
    pp_hint(err, "nearest count that works: %d", need);
    return PP_E_MICROBATCH;
}

enum pp_status pp_gen_check_two_ends(const struct pp_gen_config *c, int32_t least,
                                     struct pp_err *err) {
    if (c->rank_count % 2 != 0) {
        pp_fail(err, PP_E_RANGE, "a pipeline from each end needs an even number of ranks: got %d",
                c->rank_count);
        pp_hint(err, "nearest number of ranks that works: %d", c->rank_count + 1);
        return PP_E_RANGE;
    }
    int32_t works = c->microbatch_count + c->microbatch_count % 2;
    works = works < least ? least : works;
    if (c->microbatch_count == works) {
        return PP_OK;
    }
    pp_fail(err, PP_E_MICROBATCH,
            "half of the microbatches enter at each end: they must be even and at least %d, got %d",
            least, c->microbatch_count);
    pp_hint(err, "nearest count that works: %d", works);
    return PP_E_MICROBATCH;
}

static enum pp_status check_dualpipe(const struct pp_gen_config *c, struct pp_err *err) {
    return pp_gen_check_two_ends(c, 2 * c->rank_count, err);
}

static int32_t *forward_count(struct dual *d, int32_t stage) {
    return stage == d->near ? &d->f_near : &d->f_far;
}

static int32_t *backward_count(struct dual *d, int32_t stage) {
    return stage == d->near ? &d->b_near : &d->b_far;
}

static void forward(struct dual *d, int32_t stage) {
    pp_gen_row_add(d->row, PP_F, stage, (*forward_count(d, stage))++);
}

static void backward_full(struct dual *d, int32_t stage) {
    pp_gen_row_add(d->row, PP_B, stage, (*backward_count(d, stage))++);
}

static void backward_input(struct dual *d, int32_t stage) {
    int32_t microbatch = (*backward_count(d, stage))++;
    pp_gen_row_add(d->row, PP_I, stage, microbatch);
    d->weights[d->pushed++] = (struct weight){.stage = stage, .microbatch = microbatch};
}

static void backward(struct dual *d, int32_t stage, bool input_only) {
    if (input_only) {
        backward_input(d, stage);
    } else {
        backward_full(d, stage);
    }
}

static void pop_weight(struct dual *d) {
    if (d->popped < d->pushed) {
        struct weight w = d->weights[d->popped++];
        pp_gen_row_add(d->row, PP_W, w.stage, w.microbatch);
    }
}

static void pair(struct dual *d, int32_t forward_stage, int32_t backward_stage) {
    int32_t f = (*forward_count(d, forward_stage))++;
    int32_t b = (*backward_count(d, backward_stage))++;
    pp_gen_row_pair(d->row, forward_stage, f, backward_stage, b);
}

static void warm_up(struct dual *d) {
    int32_t after = d->half - 1 - d->depth;
    for (int32_t i = 0; i < 2 * after; i++) {
        forward(d, d->near);
    }
    for (int32_t i = 0; i < d->depth + 1; i++) {
        forward(d, d->near);
        forward(d, d->far);
    }
    for (int32_t i = 0; i < after; i++) {
        backward_input(d, d->far);
        pop_weight(d);
        forward(d, d->far);
    }
}

static void steady(struct dual *d) {
    int32_t after = d->half - 1 - d->depth;
    for (int32_t i = 0; i < d->unit_count - 2 * d->half + d->depth + 1; i++) {
        if (i == 0 && after == 0) { /* where a stream turns or ends, the two do not overlap */
            forward(d, d->near);
            backward_full(d, d->far);
        } else {
            pair(d, d->near, d->far);
        }
        pair(d, d->far, d->near);
    }
    for (int32_t i = 0; i < after; i++) {
        backward_full(d, d->far);
        pair(d, d->far, d->near);
    }
}

static void cool_down(struct dual *d) {
    bool input_only = false;
    int32_t half = (d->depth + 1) / 2;
    for (int32_t i = 0; i < d->depth + 1; i++) {
        input_only = input_only || (i == half && d->depth % 2 == 1);
        backward(d, d->far, input_only);
        input_only = input_only || (i == half && d->depth % 2 == 0);
        backward(d, d->near, input_only);
    }
    for (int32_t i = 0; i < d->half - 1 - d->depth; i++) {
        pop_weight(d);
        backward(d, d->near, input_only);
    }
    for (int32_t i = 0; i < d->depth + 1; i++) {
        pop_weight(d);
    }
}

/* The streams of a rank, as stages and places. */
static void place_v(const struct pp_gen_config *c, struct dual *d) {
    d->half = c->rank_count;
    d->depth = d->row->rank;
    d->near = d->depth;
    d->far = 2 * c->rank_count - 1 - d->depth;
}

static void place_ends(const struct pp_gen_config *c, struct dual *d) {
    int32_t rank = d->row->rank;
    int32_t down = rank;
    int32_t up = 2 * c->rank_count - 1 - rank; /* the second copy's stages follow the first's */
    d->half = c->rank_count / 2;
    bool from_start = rank < d->half;
    d->depth = from_start ? rank : c->rank_count - 1 - rank;
    d->near = from_start ? down : up;
    d->far = from_start ? up : down;
}

static enum pp_status generate(const struct pp_gen_config *c,
                               void (*place)(const struct pp_gen_config *c, struct dual *d),
                               struct pp_sched *s, struct pp_err *err) {
    struct weight *weights = malloc(2 * (size_t)s->microbatch_count * sizeof *weights);
    if (weights == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d microbatches", s->microbatch_count);
    }
    enum pp_status status = PP_OK;
    for (int32_t rank = 0; rank < c->rank_count && status == PP_OK; rank++) {
        struct pp_gen_row row = {.s = s, .rank = rank, .status = PP_OK, .err = err};
        struct dual d = {.row = &row, .unit_count = s->microbatch_count, .weights = weights};
        place(c, &d);
        warm_up(&d);
        steady(&d);
        cool_down(&d);
        status = row.status;
    }
    free(weights);
    return status;
}

static enum pp_status generate_dualpipev(const struct pp_gen_config *c, struct pp_sched *s,
                                         struct pp_err *err) {
    return generate(c, place_v, s, err);
}

static enum pp_status generate_dualpipe(const struct pp_gen_config *c, struct pp_sched *s,
                                        struct pp_err *err) {
    return generate(c, place_ends, s, err);
}

const struct pp_schedule_info pp_gen_info_dualpipev = {
    .name = "DualPipeV",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_V,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 2,
    .max_stages_per_rank = 2,
    .default_stages_per_rank = 2,
    .splits_backward = true,
    .microbatch_rule = "m >= 2p",
    .bubble = "(p-1)/(6*m+p-1) for F = I = W and pairs that run in order",
    .memory = "p + 1/2",
    .source = "DeepSeek, DualPipe (V form); PyTorch 2.14.1 ScheduleDualPipeV",
    .check = check_dualpipev,
    .generate = generate_dualpipev,
    .in_pytorch = true,
};

const struct pp_schedule_info pp_gen_info_dualpipe = {
    .name = "DualPipe",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_V,
    .automodel_placement = PP_PLACE_V,
    .min_stages_per_rank = 2,
    .max_stages_per_rank = 2,
    .default_stages_per_rank = 2,
    .splits_backward = true,
    .is_bidirectional = true,
    .microbatch_rule = "p even, m even, m >= 2p",
    .bubble = "(p-2)/(6*m+p-2) for F = I = W and pairs that run in order",
    .memory = "p + 1",
    .source = "DeepSeek-V3 Technical Report, arXiv 2412.19437; DeepSeek, DualPipe",
    .check = check_dualpipe,
    .generate = generate_dualpipe,
};
