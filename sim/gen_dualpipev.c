/* DualPipeV (DeepSeek's DualPipe cut in half): V placement, forwards and backwards overlapped in
 * pairs in the steady phase, split backwards only where they shorten the ramps. */
#include "sim/gen_priv.h"

#include <stdlib.h>

struct weight {
    int32_t stage, microbatch;
};

struct dual {
    struct pp_gen_row *row;
    int32_t rank_count, microbatch_count;
    int32_t down, up;       /* the rank's two stages */
    int32_t f_down, f_up;   /* forwards emitted */
    int32_t b_down, b_up;   /* backwards emitted; I and B share the count */
    struct weight *weights; /* W of every I, in order; [2 * microbatch_count] */
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

static int32_t *forward_count(struct dual *d, int32_t stage) {
    return stage == d->down ? &d->f_down : &d->f_up;
}

static int32_t *backward_count(struct dual *d, int32_t stage) {
    return stage == d->down ? &d->b_down : &d->b_up;
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

static void warm_up(struct dual *d, int32_t rank) {
    int32_t after = d->rank_count - 1 - rank;
    for (int32_t i = 0; i < 2 * after; i++) {
        forward(d, d->down);
    }
    for (int32_t i = 0; i < rank + 1; i++) {
        forward(d, d->down);
        forward(d, d->up);
    }
    for (int32_t i = 0; i < after; i++) {
        backward_input(d, d->up);
        pop_weight(d);
        forward(d, d->up);
    }
}

static void steady(struct dual *d, int32_t rank) {
    int32_t after = d->rank_count - 1 - rank;
    for (int32_t i = 0; i < d->microbatch_count - 2 * d->rank_count + rank + 1; i++) {
        if (i == 0 && after == 0) { /* the turn of the V: the two do not overlap */
            forward(d, d->down);
            backward_full(d, d->up);
        } else {
            pair(d, d->down, d->up);
        }
        pair(d, d->up, d->down);
    }
    for (int32_t i = 0; i < after; i++) {
        backward_full(d, d->up);
        pair(d, d->up, d->down);
    }
}

static void cool_down(struct dual *d, int32_t rank) {
    bool input_only = false;
    int32_t half = (rank + 1) / 2;
    for (int32_t i = 0; i < rank + 1; i++) {
        input_only = input_only || (i == half && rank % 2 == 1);
        backward(d, d->up, input_only);
        input_only = input_only || (i == half && rank % 2 == 0);
        backward(d, d->down, input_only);
    }
    for (int32_t i = 0; i < d->rank_count - 1 - rank; i++) {
        pop_weight(d);
        backward(d, d->down, input_only);
    }
    for (int32_t i = 0; i < rank + 1; i++) {
        pop_weight(d);
    }
}

static enum pp_status generate_dualpipev(const struct pp_gen_config *c, struct pp_sched *s,
                                         struct pp_err *err) {
    struct weight *weights = malloc(2 * (size_t)c->microbatch_count * sizeof *weights);
    if (weights == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d microbatches", c->microbatch_count);
    }
    enum pp_status status = PP_OK;
    for (int32_t rank = 0; rank < c->rank_count && status == PP_OK; rank++) {
        struct pp_gen_row row = {.s = s, .rank = rank, .status = PP_OK, .err = err};
        struct dual d = {.row = &row,
                         .rank_count = c->rank_count,
                         .microbatch_count = c->microbatch_count,
                         .down = rank,
                         .up = 2 * c->rank_count - 1 - rank,
                         .weights = weights};
        warm_up(&d, rank);
        steady(&d, rank);
        cool_down(&d, rank);
        status = row.status;
    }
    free(weights);
    return status;
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
