/* ZBVZeroBubble: rank r holds stage r on the way down and 2P-1-r on the way up, so the loss is on
 * rank 0; with unit costs only the fill of half stages is idle. The order is made for at least 2P-1
 * microbatches; surplus actions become idle cells. */
#include "sim/gen_priv.h"

enum side { DOWN, UP };

struct zbv {
    struct pp_gen_row *row;
    int32_t microbatch_count;
    int32_t stage[2];       /* by side */
    int32_t count[2][PP_B]; /* emitted so far by side and type (F, I, W) */
};

static void emit(struct zbv *z, enum pp_action_type type, enum side side) {
    int32_t microbatch = z->count[side][type]++;
    if (microbatch < z->microbatch_count) {
        pp_gen_row_add(z->row, type, z->stage[side], microbatch);
    } else {
        pp_gen_row_idle(z->row, 1);
    }
}

static void emit_all(struct zbv *z, enum side side) {
    emit(z, PP_F, side);
    emit(z, PP_I, side);
    emit(z, PP_W, side);
}

static void warm_up(struct zbv *z, int32_t rank_count, int32_t rank) {
    for (int32_t i = 0; i < 2 * (rank_count - rank) - 1; i++) {
        emit(z, PP_F, DOWN);
    }
    for (int32_t i = 0; i < rank; i++) {
        emit(z, PP_F, UP);
        emit(z, PP_F, DOWN);
    }
    for (int32_t i = 0; i < rank_count - rank; i++) {
        emit_all(z, UP);
    }
}

static void steady(struct zbv *z, int32_t planned_count) {
    int32_t *f_down = &z->count[DOWN][PP_F];
    int32_t *f_up = &z->count[UP][PP_F];
    while (*f_up < *f_down || *f_up < planned_count) {
        if (*f_down < planned_count) {
            emit(z, PP_F, DOWN);
        }
        emit(z, PP_I, DOWN);
        emit(z, PP_W, DOWN);
        emit_all(z, UP);
    }
}

static void cool_down(struct zbv *z, int32_t rank_count, int32_t rank) {
    for (int32_t i = 0; i < rank; i++) {
        emit(z, PP_I, DOWN);
        emit(z, PP_I, UP);
    }
    for (int32_t i = 0; i < rank_count - rank; i++) {
        emit(z, PP_I, DOWN);
        emit(z, PP_W, DOWN);
    }
    while (z->count[UP][PP_W] < z->count[UP][PP_I]) {
        emit(z, PP_W, UP);
    }
    while (z->count[DOWN][PP_W] < z->count[DOWN][PP_I]) {
        emit(z, PP_W, DOWN);
    }
}

static void fill_zbv(const struct pp_gen_config *c, struct pp_gen_row *row) {
    struct zbv z = {.row = row,
                    .microbatch_count = c->microbatch_count,
                    .stage = {row->rank, 2 * c->rank_count - 1 - row->rank}};
    int32_t planned_count = 2 * c->rank_count - 1;
    if (planned_count < c->microbatch_count) {
        planned_count = c->microbatch_count;
    }
    pp_gen_row_idle(row, row->rank);
    warm_up(&z, c->rank_count, row->rank);
    steady(&z, planned_count);
    cool_down(&z, c->rank_count, row->rank);
}

static enum pp_status generate_zbv(const struct pp_gen_config *c, struct pp_sched *s,
                                   struct pp_err *err) {
    return pp_gen_rows(c, fill_zbv, s, err);
}

const struct pp_schedule_info pp_gen_info_zbv_zero_bubble = {
    .name = "ZBVZeroBubble",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_V,
    .automodel_placement = PP_PLACE_V,
    .min_stages_per_rank = 2,
    .max_stages_per_rank = 2,
    .default_stages_per_rank = 2,
    .splits_backward = true,
    .microbatch_rule = "any",
    .bubble = "(p-1)/(6*m+p-1) for F = I = W and m >= 3*p/2",
    .memory = "min(m, p)",
    .source = "Qi et al., Pipeline Parallelism with Controllable Memory, arXiv 2405.15362; "
              "PyTorch 2.14.1 ScheduleZBVZeroBubble",
    .check = pp_gen_check_any,
    .generate = generate_zbv,
    .in_pytorch = true,
};
