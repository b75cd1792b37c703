/* Chimera: two 1F1B pipelines in opposite directions fill each other's gaps. With forwards and
 * backwards of one slot, stage k (of either pipeline) runs the forward of its q-th microbatch in
 * slot k + 2q and the backward in slot 2p-1-k + 2q. On every rank the two directions then take
 * slots of different parity, or one has ended before the other begins, as long as a unit has p
 * microbatches (p/2 in each direction); units follow 2p slots apart without a gap. */
#include "sim/gen_priv.h"

enum { STREAM_COUNT = 4 };

/* Forwards or backwards of one direction on a rank, in order of microbatches. */
struct stream {
    enum pp_action_type type;
    int32_t stage;
    int32_t first_slot;
    int32_t count; /* emitted so far */
};

static int32_t next_slot(const struct stream *t, int32_t rank_count) {
    int32_t unit_size = rank_count / 2;
    return t->first_slot + 2 * rank_count * (t->count / unit_size) + 2 * (t->count % unit_size);
}

static void fill_chimera(const struct pp_gen_config *c, struct pp_gen_row *row) {
    int32_t p = c->rank_count;
    int32_t down = row->rank;
    int32_t up = p - 1 - row->rank;
    int32_t microbatch_count = row->s->microbatch_count;
    struct stream streams[STREAM_COUNT] = {
        {.type = PP_F, .stage = down, .first_slot = down},
        {.type = PP_F, .stage = p + up, .first_slot = up},
        {.type = PP_B, .stage = down, .first_slot = 2 * p - 1 - down},
        {.type = PP_B, .stage = p + up, .first_slot = 2 * p - 1 - up},
    };
    for (int32_t n = 0; n < STREAM_COUNT * microbatch_count; n++) {
        struct stream *next = NULL;
        for (struct stream *t = streams; t < streams + STREAM_COUNT; t++) {
            if (t->count < microbatch_count &&
                (next == NULL || next_slot(t, p) < next_slot(next, p))) {
                next = t;
            }
        }
        pp_gen_row_add(row, next->type, next->stage, next->count++);
    }
}

static enum pp_status generate_chimera(const struct pp_gen_config *c, struct pp_sched *s,
                                       struct pp_err *err) {
    return pp_gen_rows(c, fill_chimera, s, err);
}

static enum pp_status check_chimera(const struct pp_gen_config *c, struct pp_err *err) {
    return pp_gen_check_two_ends(c, 2, err);
}

const struct pp_schedule_info pp_gen_info_chimera = {
    .name = "Chimera",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_V,
    .automodel_placement = PP_PLACE_V,
    .min_stages_per_rank = 2,
    .max_stages_per_rank = 2,
    .default_stages_per_rank = 2,
    .is_bidirectional = true,
    .microbatch_rule = "p even, m even",
    .bubble = "(p-2)/(3*m*p/(m+p)+p-2) for F = I = W and m a multiple of p",
    .memory = "min(m, p)",
    .source = "Li and Hoefler, Chimera, arXiv 2107.06925",
    .check = check_chimera,
    .generate = generate_chimera,
};
