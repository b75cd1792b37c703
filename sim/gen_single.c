/* GPipe and 1F1B: one stage a rank. PyTorch runs both by code of their own and its planned lists
 * for them cannot be loaded back, so these are the orders that it executes. */
#include "sim/gen_priv.h"

enum pp_status pp_gen_check_any(const struct pp_gen_config *c, struct pp_err *err) {
    (void)c;
    (void)err;
    return PP_OK;
}

static enum pp_status check_1f1b(const struct pp_gen_config *c, struct pp_err *err) {
    if (c->microbatch_count >= c->rank_count) {
        return PP_OK;
    }
    pp_fail(err, PP_E_MICROBATCH,
            "1F1B needs at least as many microbatches as stages: got %d microbatches, %d stages",
            c->microbatch_count, c->rank_count);
    pp_hint(err, "nearest count that works: %d", c->rank_count);
    return PP_E_MICROBATCH;
}

static void fill_gpipe(const struct pp_gen_config *c, struct pp_gen_row *row) {
    for (int32_t i = 0; i < c->microbatch_count; i++) {
        pp_gen_row_add(row, PP_F, row->rank, i);
    }
    for (int32_t i = 0; i < c->microbatch_count; i++) {
        pp_gen_row_add(row, PP_B, row->rank, i);
    }
}

static enum pp_status generate_gpipe(const struct pp_gen_config *c, struct pp_sched *s,
                                     struct pp_err *err) {
    return pp_gen_rows(c, fill_gpipe, s, err);
}

/* As many forwards ahead as ranks follow, then one forward and one backward in turn. */
static void fill_1f1b(const struct pp_gen_config *c, struct pp_gen_row *row) {
    int32_t ahead = c->rank_count - 1 - row->rank; /* fewer than there are: m >= p */
    for (int32_t i = 0; i < ahead; i++) {
        pp_gen_row_add(row, PP_F, row->rank, i);
    }
    for (int32_t i = 0; i < c->microbatch_count; i++) {
        if (ahead + i < c->microbatch_count) {
            pp_gen_row_add(row, PP_F, row->rank, ahead + i);
        }
        pp_gen_row_add(row, PP_B, row->rank, i);
    }
}

static enum pp_status generate_1f1b(const struct pp_gen_config *c, struct pp_sched *s,
                                    struct pp_err *err) {
    return pp_gen_rows(c, fill_1f1b, s, err);
}

const struct pp_schedule_info pp_gen_info_gpipe = {
    .name = "GPipe",
    .kind = PP_KIND_SINGLE,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .max_stages_per_rank = 1,
    .default_stages_per_rank = 1,
    .microbatch_rule = "any",
    .bubble = "(p-1)/(m+p-1)",
    .memory = "m",
    .source = "Huang et al., GPipe, arXiv 1811.06965; PyTorch 2.14.1 ScheduleGPipe",
    .check = pp_gen_check_any,
    .generate = generate_gpipe,
    .in_pytorch = true,
};

const struct pp_schedule_info pp_gen_info_1f1b = {
    .name = "1F1B",
    .kind = PP_KIND_SINGLE,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .max_stages_per_rank = 1,
    .default_stages_per_rank = 1,
    .microbatch_rule = "m >= p",
    .bubble = "(p-1)/(m+p-1)",
    .memory = "p",
    .source = "Narayanan et al., PipeDream-Flush, arXiv 2006.09503; PyTorch 2.14.1 "
              "Schedule1F1B",
    .check = check_1f1b,
    .generate = generate_1f1b,
    .in_pytorch = true,
};
