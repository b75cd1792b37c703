/* Seq1F1B: 1F1B whose units are slices of a microbatch's sequence. A slice attends to the earlier
 * ones, so forwards take a microbatch's slices in order and backwards in reverse; the first
 * backward needs the last slice, hence the forwards ahead. */
#include "sim/gen_priv.h"

enum { DEFAULT_SLICES = 2 };

static void fill_seq1f1b(const struct pp_gen_config *c, struct pp_gen_row *row) {
    int32_t slices = row->s->slice_count;
    int32_t units = row->s->microbatch_count;
    int64_t ahead = (int64_t)c->rank_count - 2 - row->rank + slices;
    int32_t forward = 0;
    for (; forward < ahead && forward < units; forward++) {
        pp_gen_row_add(row, PP_F, row->rank, forward);
    }
    for (int32_t i = 0; i < units; i++) {
        if (forward < units) {
            pp_gen_row_add(row, PP_F, row->rank, forward++);
        }
        int32_t slice = i % slices;
        pp_gen_row_add(row, PP_B, row->rank, i - slice + slices - 1 - slice);
    }
}

static enum pp_status generate_seq1f1b(const struct pp_gen_config *c, struct pp_sched *s,
                                       struct pp_err *err) {
    return pp_gen_rows(c, fill_seq1f1b, s, err);
}

const struct pp_schedule_info pp_gen_info_seq1f1b = {
    .name = "Seq1F1B",
    .kind = PP_KIND_SINGLE,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .max_stages_per_rank = 1,
    .default_stages_per_rank = 1,
    .takes_slices = true,
    .default_slices = DEFAULT_SLICES,
    .microbatch_rule = "any; s slices a microbatch, 2 by default",
    .bubble = "(p-1)/(s*m+p-1) for equal slices",
    .memory = "min(m, (p-1+s)/s)",
    .source = "Sun et al., Seq1F1B, arXiv 2406.03488",
    .check = pp_gen_check_any,
    .generate = generate_seq1f1b,
};
