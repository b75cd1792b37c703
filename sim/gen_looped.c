/* LoopedBFS and Interleaved1F1B: stage s on rank s mod P. */
#include "sim/gen_priv.h"
#include "sim/gen_rounds.h"

/* Breadth first: all microbatches of a stage before the next stage; the backwards of a stage take
 * the microbatches in descending order. */
static void fill_looped_bfs(const struct pp_gen_config *c, struct pp_gen_row *row) {
    pp_gen_row_idle(row, row->rank);
    for (int32_t k = 0; k < c->stages_per_rank; k++) {
        for (int32_t i = 0; i < c->microbatch_count; i++) {
            pp_gen_row_add(row, PP_F, k * c->rank_count + row->rank, i);
        }
    }
    pp_gen_row_idle(row, 2 * (c->rank_count - 1 - row->rank));
    for (int32_t k = c->stages_per_rank - 1; k >= 0; k--) {
        for (int32_t i = c->microbatch_count - 1; i >= 0; i--) {
            pp_gen_row_add(row, PP_B, k * c->rank_count + row->rank, i);
        }
    }
}

static enum pp_status generate_looped_bfs(const struct pp_gen_config *c, struct pp_sched *s,
                                          struct pp_err *err) {
    return pp_gen_rows(c, fill_looped_bfs, s, err);
}

/* The microbatches are taken in rounds of nearly P. Both interleaved schedules share the rule. */
enum pp_status pp_gen_check_rounds(const struct pp_gen_config *c, struct pp_err *err) {
    int32_t m = c->microbatch_count;
    int32_t rounds = pp_gen_round_count(c->rank_count, m);
    if (m % rounds == 0) {
        return PP_OK;
    }
    int32_t below = m - 1; /* ends: any m < 2P is one round */
    while (below % pp_gen_round_count(c->rank_count, below) != 0) {
        below--;
    }
    int32_t above = m + 1; /* ends: multiples of P work */
    while (above % pp_gen_round_count(c->rank_count, above) != 0) {
        above++;
    }
    pp_fail(err, PP_E_MICROBATCH,
            "microbatches must be a multiple of the number of rounds, floor(%d / %d ranks) = %d; "
            "got %d microbatches",
            m, c->rank_count, rounds, m);
    pp_hint(err, "nearest counts that work: %d and %d", below, above);
    return PP_E_MICROBATCH;
}

/* Idle cells between the forwards ahead and the first backward, as PyTorch plans them. */
static int32_t gap_of(const struct pp_gen_rounds *o, int32_t rank) {
    int32_t gap = o->stages_per_rank * o->rank_count + 2 * (o->rank_count - 1 - rank) -
                  (o->ahead_count + rank);
    return o->ahead_count > 0 && gap > 0 ? gap : 0;
}

static void fill_interleaved_1f1b(const struct pp_gen_config *c, struct pp_gen_row *row) {
    struct pp_gen_rounds o = pp_gen_rounds_of(c, row->rank, 2);
    struct pp_gen_walk forwards = pp_gen_forwards(&o);
    struct pp_gen_walk backwards = pp_gen_backwards(&o);
    pp_gen_row_idle(row, row->rank);
    for (int32_t i = 0; i < o.ahead_count; i++) {
        struct pp_gen_pass f = pp_gen_take(&forwards);
        pp_gen_row_add(row, PP_F, f.stage, f.microbatch);
    }
    pp_gen_row_idle(row, gap_of(&o, row->rank));
    for (int32_t i = 0; i < o.pass_count; i++) {
        if (o.ahead_count + i < o.pass_count) {
            struct pp_gen_pass f = pp_gen_take(&forwards);
            pp_gen_row_add(row, PP_F, f.stage, f.microbatch);
        } else {
            pp_gen_row_idle(row, 1);
        }
        struct pp_gen_pass b = pp_gen_take(&backwards);
        pp_gen_row_add(row, PP_B, b.stage, b.microbatch);
    }
}

static enum pp_status generate_interleaved_1f1b(const struct pp_gen_config *c, struct pp_sched *s,
                                                struct pp_err *err) {
    return pp_gen_rows(c, fill_interleaved_1f1b, s, err);
}

int64_t pp_interleaved_1f1b_idle_ns(int64_t ranks, int64_t stages_per_rank, int64_t work_ns,
                                    int64_t transfer_ns) {
    return pp_div_round_i64((ranks - 1) * work_ns, stages_per_rank) +
           (2 * ranks * stages_per_rank - ranks - 2) * transfer_ns;
}

const struct pp_schedule_info pp_gen_info_interleaved_1f1b = {
    .name = "Interleaved1F1B",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .default_stages_per_rank = 2,
    .microbatch_rule = "m a multiple of max(1, floor(m/p))",
    .bubble = "(p-1)/(v*m+p-1) for m a multiple of p; idle (p-1)*T/v + (2*p*v-p-2)*c with "
              "transfers of c",
    .memory = "min(m, p + (p-1)/v) for m a multiple of p",
    .source = "Narayanan et al., Megatron-LM, arXiv 2104.04473; PyTorch 2.14.1 "
              "ScheduleInterleaved1F1B",
    .check = pp_gen_check_rounds,
    .generate = generate_interleaved_1f1b,
    .in_pytorch = true,
};

const struct pp_schedule_info pp_gen_info_looped_bfs = {
    .name = "LoopedBFS",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .default_stages_per_rank = 2,
    .microbatch_rule = "any",
    .bubble = "(p-1)/(v*m+p-1) for m >= p",
    .memory = "m",
    .source = "Lamy-Poirier, Breadth-First Pipeline Parallelism, arXiv 2211.05953; PyTorch "
              "2.14.1 ScheduleLoopedBFS",
    .check = pp_gen_check_any,
    .generate = generate_looped_bfs,
    .in_pytorch = true,
};
