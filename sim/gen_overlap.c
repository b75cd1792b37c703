/* 1F1B and Interleaved1F1B with one forward more ahead, so that the forward and the backward of the
 * steady phase belong to different microbatches and can run as one: the computation of one hides
 * the expert exchange of the other. */
#include "sim/gen_rounds.h"

static void fill_overlap(const struct pp_gen_config *c, struct pp_gen_row *row) {
    struct pp_gen_rounds o = pp_gen_rounds_of(c, row->rank, 2);
    struct pp_gen_walk forwards = pp_gen_forwards(&o);
    struct pp_gen_walk backwards = pp_gen_backwards(&o);
    int32_t ahead = o.ahead_count < o.pass_count ? o.ahead_count + 1 : o.pass_count;
    for (int32_t i = 0; i < ahead; i++) {
        struct pp_gen_pass f = pp_gen_take(&forwards);
        pp_gen_row_add(row, PP_F, f.stage, f.microbatch);
    }
    for (int32_t i = 0; i < o.pass_count; i++) {
        struct pp_gen_pass b = pp_gen_take(&backwards);
        if (ahead + i < o.pass_count) {
            struct pp_gen_pass f = pp_gen_take(&forwards);
            pp_gen_row_pair(row, f.stage, f.microbatch, b.stage, b.microbatch);
        } else {
            pp_gen_row_add(row, PP_B, b.stage, b.microbatch);
        }
    }
}

static enum pp_status generate_overlap(const struct pp_gen_config *c, struct pp_sched *s,
                                       struct pp_err *err) {
    return pp_gen_rows(c, fill_overlap, s, err);
}

const struct pp_schedule_info pp_gen_info_1f1b_overlap = {
    .name = "1F1BOverlap",
    .kind = PP_KIND_SINGLE,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .max_stages_per_rank = 1,
    .default_stages_per_rank = 1,
    .microbatch_rule = "any",
    .bubble = "(p-1)/(m+p-1) for pairs that run in order and m >= 2*p-1",
    .memory = "min(m, 2*p)",
    .source = "Megatron-LM, 1F1B with expert exchange overlapped; Victarry, "
              "PP-Schedule-Visualization",
    .check = pp_gen_check_any,
    .generate = generate_overlap,
};

const struct pp_schedule_info pp_gen_info_interleaved_1f1b_overlap = {
    .name = "Interleaved1F1BOverlap",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .default_stages_per_rank = 2,
    .microbatch_rule = "m a multiple of max(1, floor(m/p))",
    .bubble = "(p-1)/(v*m+p-1) for pairs that run in order and m a multiple of p",
    .memory = "min(m, p + p/v) for m a multiple of p",
    .source = "Megatron-LM, interleaved 1F1B with expert exchange overlapped; Victarry, "
              "PP-Schedule-Visualization",
    .check = pp_gen_check_rounds,
    .generate = generate_overlap,
};
