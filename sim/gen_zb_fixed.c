/* ZBH1 and ZBH2: one stage a rank, orders that look at no costs. Forwards and backwards are those
 * of 1F1B with a longer or equal lead; what makes them is how many backwards for the weights a rank
 * holds back, to run them where it would wait. */
#include "sim/gen_priv.h"

/* `ahead` forwards, then one backward for the input and one forward in turn. A backward for the
 * weights follows wherever more than `held` of them wait, so that the rank keeps that many for the
 * end, when it has nothing else to do while gradients climb. */
static void fill(const struct pp_gen_config *c, struct pp_gen_row *row, int32_t ahead,
                 int32_t held) {
    int32_t m = c->microbatch_count;
    int32_t f_count = 0;
    int32_t w_count = 0;
    while (f_count < ahead && f_count < m) {
        pp_gen_row_add(row, PP_F, row->rank, f_count++);
    }
    for (int32_t i = 0; i < m; i++) {
        pp_gen_row_add(row, PP_I, row->rank, i);
        if (i + 1 - w_count > held) {
            pp_gen_row_add(row, PP_W, row->rank, w_count++);
        }
        if (f_count < m) {
            pp_gen_row_add(row, PP_F, row->rank, f_count++);
        }
    }
    while (w_count < m) {
        pp_gen_row_add(row, PP_W, row->rank, w_count++);
    }
}

static void fill_zbh1(const struct pp_gen_config *c, struct pp_gen_row *row) {
    fill(c, row, c->rank_count - row->rank, row->rank);
}

static void fill_zbh2(const struct pp_gen_config *c, struct pp_gen_row *row) {
    fill(c, row, 2 * (c->rank_count - row->rank) - 1, 2 * row->rank);
}

static enum pp_status generate_zbh1(const struct pp_gen_config *c, struct pp_sched *s,
                                    struct pp_err *err) {
    return pp_gen_rows(c, fill_zbh1, s, err);
}

static enum pp_status generate_zbh2(const struct pp_gen_config *c, struct pp_sched *s,
                                    struct pp_err *err) {
    return pp_gen_rows(c, fill_zbh2, s, err);
}

const struct pp_schedule_info pp_gen_info_zbh1 = {
    .name = "ZBH1",
    .kind = PP_KIND_SINGLE,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .max_stages_per_rank = 1,
    .default_stages_per_rank = 1,
    .splits_backward = true,
    .microbatch_rule = "any",
    .bubble = "(p-1)/(3*m+p-1) for F = I = W and m >= p",
    .memory = "min(m, p)",
    .source = "Qi et al., Zero Bubble Pipeline Parallelism, arXiv 2401.10241",
    .check = pp_gen_check_any,
    .generate = generate_zbh1,
};

const struct pp_schedule_info pp_gen_info_zbh2 = {
    .name = "ZBH2",
    .kind = PP_KIND_SINGLE,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .max_stages_per_rank = 1,
    .default_stages_per_rank = 1,
    .splits_backward = true,
    .microbatch_rule = "any",
    .bubble = "(p-1)/(3*m+p-1) for F = I = W and m >= 2*p-1, when each rank's own span has none",
    .memory = "min(m, 2*p-1)",
    .source = "Qi et al., Zero Bubble Pipeline Parallelism, arXiv 2401.10241",
    .check = pp_gen_check_any,
    .generate = generate_zbh2,
};
