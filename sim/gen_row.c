#include "sim/gen_priv.h"

void pp_gen_row_idle(struct pp_gen_row *row, int32_t count) {
    if (row->status == PP_OK) {
        row->status = pp_sched_add_idle(row->s, row->rank, count, row->err);
    }
}

void pp_gen_row_pair(struct pp_gen_row *row, int32_t forward_stage, int32_t forward_microbatch,
                     int32_t backward_stage, int32_t backward_microbatch) {
    if (row->status == PP_OK) {
        row->status = pp_sched_add_pair(row->s, row->rank, PP_F, forward_stage, forward_microbatch,
                                        PP_B, backward_stage, backward_microbatch, row->err);
    }
}

enum pp_status pp_gen_rows(const struct pp_gen_config *c, pp_gen_fill_row *fill, struct pp_sched *s,
                           struct pp_err *err) {
    for (int32_t rank = 0; rank < c->rank_count; rank++) {
        struct pp_gen_row row = {.s = s, .rank = rank, .status = PP_OK, .err = err};
        fill(c, &row);
        PP_TRY(row.status);
    }
    return PP_OK;
}
