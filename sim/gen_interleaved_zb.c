/* InterleavedZeroBubble: Interleaved1F1B with the backward split and fewer forwards ahead. PyTorch
 * then walks all ranks in lock step and puts an idle cell before a forward whose input was not
 * issued in an earlier step; those idle cells are what needs all ranks at once. */
#include "sim/gen_rounds.h"

#include <stdlib.h>

enum { NOT_ISSUED = -1 };

/* A rank in lock step, by its forwards: what stands between two of them takes as many steps as it
 * has cells. */
struct lane {
    struct pp_gen_rounds rounds;
    struct pp_gen_walk forwards;
    int32_t count; /* forwards issued */
    int32_t step;  /* after the last of them */
};

struct lock_step {
    const struct pp_gen_config *c;
    struct lane *lanes;      /* [rank_count] */
    int32_t *forward_issued; /* [stage_count][microbatch_count] step of F */
};

/* Idle cells before the first backward or the forward that comes with it. */
static int32_t gap_of(const struct pp_gen_rounds *o) {
    return o->ahead_count > 0 ? o->rank_count - 1 - o->rank : 0;
}

/* Cells, idle ones too, between the forward before number `i` and this one. Weights stay `rank`
 * backwards behind. */
static int32_t cells_before(const struct pp_gen_rounds *o, int32_t i) {
    int32_t cells = i == 0 ? o->rank : 0;
    int32_t backward = i - o->ahead_count; /* that follows this forward */
    if (backward == 0) {
        cells += gap_of(o);
    }
    return cells + (backward > 0 ? 1 + (backward > o->rank) : 0);
}

/* Gives steps to the rank's forwards until one waits for an input that has none yet. */
static bool advance(const struct lock_step *l, struct lane *lane) {
    int32_t from = lane->count;
    int32_t m = l->c->microbatch_count;
    for (; lane->count < lane->rounds.pass_count; lane->count++) {
        struct pp_gen_pass pass = lane->forwards.next;
        int32_t *issued = &l->forward_issued[(int64_t)pass.stage * m + pass.microbatch];
        int32_t at = lane->step + cells_before(&lane->rounds, lane->count);
        if (pass.stage > 0) {
            int32_t input = issued[-(ptrdiff_t)m];
            if (input == NOT_ISSUED) {
                break;
            }
            at = at > input ? at : input + 1;
        }
        *issued = at;
        lane->step = at + 1;
        pp_gen_take(&lane->forwards);
    }
    return lane->count != from;
}

static void walk(const struct lock_step *l) {
    for (int32_t rank = 0; rank < l->c->rank_count; rank++) {
        struct pp_gen_rounds o = pp_gen_rounds_of(l->c, rank, 1);
        l->lanes[rank] = (struct lane){.rounds = o, .forwards = pp_gen_forwards(&o)};
    }
    for (bool advanced = true; advanced;) {
        advanced = false;
        for (int32_t rank = 0; rank < l->c->rank_count; rank++) {
            advanced = advance(l, &l->lanes[rank]) || advanced;
        }
    }
}

/* Adds a forward in its step: `*step_p` is the next one, which it moves on. */
static void add_forward(const struct lock_step *l, struct pp_gen_row *row,
                        struct pp_gen_walk *forwards, int32_t *step_p) {
    struct pp_gen_pass f = pp_gen_take(forwards);
    int32_t at = l->forward_issued[(int64_t)f.stage * l->c->microbatch_count + f.microbatch];
    if (at > *step_p) {
        pp_gen_row_idle(row, at - *step_p);
    }
    pp_gen_row_add(row, PP_F, f.stage, f.microbatch);
    *step_p = at + 1;
}

static void add_backward(struct pp_gen_row *row, enum pp_action_type type,
                         struct pp_gen_walk *backwards, int32_t *step_p) {
    struct pp_gen_pass b = pp_gen_take(backwards);
    pp_gen_row_add(row, type, b.stage, b.microbatch);
    ++*step_p;
}

static void fill(const struct lock_step *l, struct pp_gen_row *row) {
    struct pp_gen_rounds o = l->lanes[row->rank].rounds;
    PP_ASSERT(l->lanes[row->rank].count == o.pass_count);
    struct pp_gen_walk forwards = pp_gen_forwards(&o);
    struct pp_gen_walk backwards = pp_gen_backwards(&o);
    struct pp_gen_walk weights = backwards;
    int32_t step = 0;
    for (int32_t i = 0; i < o.ahead_count; i++) {
        add_forward(l, row, &forwards, &step);
    }
    if (o.ahead_count == o.pass_count) { /* else the idle cells come with the next forward */
        pp_gen_row_idle(row, gap_of(&o));
    }
    for (int32_t i = 0; i < o.pass_count; i++) {
        if (o.ahead_count + i < o.pass_count) {
            add_forward(l, row, &forwards, &step);
        }
        add_backward(row, PP_I, &backwards, &step);
        if (i >= row->rank) {
            add_backward(row, PP_W, &weights, &step);
        }
    }
    for (int32_t i = o.pass_count - row->rank; i < o.pass_count; i++) {
        if (i >= 0) {
            add_backward(row, PP_W, &weights, &step);
        }
    }
}

static enum pp_status generate_interleaved_zero_bubble(const struct pp_gen_config *c,
                                                       struct pp_sched *s, struct pp_err *err) {
    size_t forward_count = (size_t)c->rank_count * (size_t)c->stages_per_rank;
    forward_count *= (size_t)c->microbatch_count;
    struct lock_step l = {.c = c,
                          .lanes = malloc((size_t)c->rank_count * sizeof *l.lanes),
                          .forward_issued = malloc(forward_count * sizeof *l.forward_issued)};
    enum pp_status status = PP_OK;
    if (l.lanes == NULL || l.forward_issued == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory to plan %zu forwards", forward_count);
    } else {
        for (size_t i = 0; i < forward_count; i++) {
            l.forward_issued[i] = NOT_ISSUED;
        }
        walk(&l);
    }
    for (int32_t rank = 0; rank < c->rank_count && status == PP_OK; rank++) {
        struct pp_gen_row row = {.s = s, .rank = rank, .status = PP_OK, .err = err};
        fill(&l, &row);
        status = row.status;
    }
    free(l.lanes);
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
