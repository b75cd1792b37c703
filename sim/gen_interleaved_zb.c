/* InterleavedZeroBubble: Interleaved1F1B with the backward split and fewer forwards ahead. PyTorch
 * then walks all ranks in lock step and puts an idle cell before a forward whose input was not
 * issued in an earlier step; those idle cells are what needs all rows at once. */
#include "sim/gen_rounds.h"

#include <stdlib.h>

enum { NOT_ISSUED = -1 };

struct planned {
    uint8_t type;
    int32_t stage, microbatch;
    int32_t idle_before;
};

struct lock_step {
    const struct pp_gen_config *c;
    struct planned *rows;    /* [rank_count][row_size] */
    int32_t row_size;        /* cells of a rank that are not idle */
    int32_t *next;           /* [rank_count] first cell without a step */
    int32_t *step;           /* [rank_count] step after the last cell */
    int32_t *forward_issued; /* [stage_count][microbatch_count] step of F */
};

static void plan(struct planned **cell_p, enum pp_action_type type, struct pp_gen_pass pass,
                 int32_t *idle_p) {
    **cell_p = (struct planned){.type = (uint8_t)type,
                                .stage = pass.stage,
                                .microbatch = pass.microbatch,
                                .idle_before = *idle_p};
    (*cell_p)++;
    *idle_p = 0;
}

/* A rank's row without the idle cells of the lock step: weights stay `rank` backwards behind. */
static void plan_row(const struct pp_gen_config *c, int32_t rank, struct planned *cell) {
    struct pp_gen_rounds o = pp_gen_rounds_of(c, rank, 1);
    int32_t idle = rank;
    for (int32_t i = 0; i < o.ahead_count; i++) {
        plan(&cell, PP_F, pp_gen_forward(&o, i), &idle);
    }
    if (o.ahead_count > 0) {
        idle += c->rank_count - 1 - rank;
    }
    int32_t weight = 0;
    for (int32_t i = 0; i < o.pass_count; i++) {
        if (o.ahead_count + i < o.pass_count) {
            plan(&cell, PP_F, pp_gen_forward(&o, o.ahead_count + i), &idle);
        }
        plan(&cell, PP_I, pp_gen_backward(&o, i), &idle);
        if (i >= rank) {
            plan(&cell, PP_W, pp_gen_backward(&o, weight++), &idle);
        }
    }
    while (weight < o.pass_count) {
        plan(&cell, PP_W, pp_gen_backward(&o, weight++), &idle);
    }
}

/* Gives steps to the rank's cells until one waits for a forward that has none yet. */
static bool advance(struct lock_step *l, int32_t rank) {
    int32_t from = l->next[rank];
    while (l->next[rank] < l->row_size) {
        struct planned *cell = &l->rows[(int64_t)rank * l->row_size + l->next[rank]];
        int32_t m = l->c->microbatch_count;
        int32_t at = l->step[rank] + cell->idle_before;
        if (cell->type == PP_F) {
            int32_t *issued = &l->forward_issued[(int64_t)cell->stage * m + cell->microbatch];
            if (cell->stage > 0) {
                int32_t input = issued[-(ptrdiff_t)m];
                if (input == NOT_ISSUED) {
                    break;
                }
                if (at <= input) {
                    cell->idle_before += input + 1 - at;
                    at = input + 1;
                }
            }
            *issued = at;
        }
        l->step[rank] = at + 1;
        l->next[rank]++;
    }
    return l->next[rank] != from;
}

static void walk(struct lock_step *l) {
    bool advanced = true;
    while (advanced) {
        advanced = false;
        for (int32_t rank = 0; rank < l->c->rank_count; rank++) {
            advanced = advance(l, rank) || advanced;
        }
    }
}

static enum pp_status emit(const struct lock_step *l, struct pp_sched *s, struct pp_err *err) {
    for (int32_t rank = 0; rank < l->c->rank_count; rank++) {
        PP_ASSERT(l->next[rank] == l->row_size);
        struct pp_gen_row row = {.s = s, .rank = rank, .status = PP_OK, .err = err};
        const struct planned *cell = &l->rows[(int64_t)rank * l->row_size];
        for (int32_t i = 0; i < l->row_size; i++, cell++) {
            if (cell->idle_before > 0) {
                pp_gen_row_idle(&row, cell->idle_before);
            }
            pp_gen_row_add(&row, cell->type, cell->stage, cell->microbatch);
        }
        PP_TRY(row.status);
    }
    return PP_OK;
}

static enum pp_status generate_interleaved_zero_bubble(const struct pp_gen_config *c,
                                                       struct pp_sched *s, struct pp_err *err) {
    size_t forward_count = (size_t)c->rank_count * (size_t)c->stages_per_rank;
    forward_count *= (size_t)c->microbatch_count;
    struct lock_step l = {.c = c, .row_size = 3 * c->microbatch_count * c->stages_per_rank};
    l.rows = malloc(3 * forward_count * sizeof *l.rows);
    l.next = calloc((size_t)c->rank_count, sizeof *l.next);
    l.step = calloc((size_t)c->rank_count, sizeof *l.step);
    l.forward_issued = malloc(forward_count * sizeof *l.forward_issued);
    enum pp_status status;
    if (l.rows == NULL || l.next == NULL || l.step == NULL || l.forward_issued == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory to plan %zu forwards", forward_count);
    } else {
        for (size_t i = 0; i < forward_count; i++) {
            l.forward_issued[i] = NOT_ISSUED;
        }
        for (int32_t rank = 0; rank < c->rank_count; rank++) {
            plan_row(c, rank, &l.rows[(int64_t)rank * l.row_size]);
        }
        walk(&l);
        status = emit(&l, s, err);
    }
    free(l.rows);
    free(l.next);
    free(l.step);
    free(l.forward_issued);
    return status;
}

const struct pp_schedule_info pp_gen_info_interleaved_zero_bubble = {
    .name = "InterleavedZeroBubble",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .default_stages_per_rank = 2,
    .splits_backward = true,
    .microbatch_rule = "m a multiple of max(1, floor(m/p))",
    .bubble = "(p-1)/(3*v*m+p-1) for F = I = W and m a multiple of p",
    .memory = "p for m a multiple of p",
    .source = "Qi et al., Zero Bubble Pipeline Parallelism, arXiv 2401.10241; PyTorch 2.14.1 "
              "ScheduleInterleavedZeroBubble",
    .check = pp_gen_check_rounds,
    .generate = generate_interleaved_zero_bubble,
    .in_pytorch = true,
};
