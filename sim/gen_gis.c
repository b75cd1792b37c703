/* GIS: generalised interleaving of chunks by groups of microbatches, the backward split. All chunks
 * of a group's g microbatches run, then those of the next group. In slots of a third of a chunk's
 * work, with the group's number j, chunk k, place q in the group and rank d:
 *
 *   F  3gvj + 3gk + 3q + d
 *   I  3gvj + 3g(v-1) + p + 2(p-1-d) + 3g(v-1-k) + 3q, W right after
 *
 * Modulo 3, a rank's F, I and W take different slots, so no two of them meet. With g < p an I's
 * slot may come before that of its input: slots give the order, not the times. Below half of the
 * ranks the ranks would wait in a cycle. GISH is the form with the smallest group. */
#include "sim/gen_priv.h"

/* Chunk and microbatch of one place in the order of a rank's forwards, or of its backwards. */
struct pass {
    int64_t slot; /* without the part of the rank */
    int32_t chunk, microbatch;
};

struct gis {
    int32_t rank_count, stages_per_rank, microbatch_count, group;
};

static int32_t smallest_group(const struct pp_gen_config *c) {
    return (c->rank_count + 1) / 2;
}

/* The i-th pass of the forwards; that of the backwards has the chunks in reverse. */
static struct pass pass_at(const struct gis *o, int64_t i) {
    int64_t chunks = i / o->group;
    int64_t q = i % o->group;
    int64_t groups = chunks / o->stages_per_rank;
    return (struct pass){.slot = 3 * i,
                         .chunk = (int32_t)(chunks % o->stages_per_rank),
                         .microbatch = (int32_t)(groups * o->group + q)};
}

static void add_forward(const struct gis *o, struct pp_gen_row *row, const struct pass *f) {
    if (f->microbatch < o->microbatch_count) {
        pp_gen_row_add(row, PP_F, f->chunk * o->rank_count + row->rank, f->microbatch);
    }
}

static void add_backward(const struct gis *o, struct pp_gen_row *row, const struct pass *b) {
    if (b->microbatch < o->microbatch_count) {
        int32_t chunk = o->stages_per_rank - 1 - b->chunk;
        pp_gen_row_add(row, PP_I, chunk * o->rank_count + row->rank, b->microbatch);
        pp_gen_row_add(row, PP_W, chunk * o->rank_count + row->rank, b->microbatch);
    }
}

/* Merges the two orders by slot. The last group runs whole; what it lacks is left out. */
static void fill_gis(const struct gis *o, struct pp_gen_row *row) {
    int64_t group_count = (o->microbatch_count + o->group - 1) / o->group;
    int64_t pass_count = group_count * o->group * o->stages_per_rank;
    int64_t backward_slot = (int64_t)3 * o->group * (o->stages_per_rank - 1) + o->rank_count +
                            2 * (o->rank_count - 1 - row->rank);
    int64_t forward = 0;
    for (int64_t backward = 0; backward < pass_count; backward++) {
        struct pass b = pass_at(o, backward);
        for (; forward < pass_count; forward++) {
            struct pass f = pass_at(o, forward);
            if (f.slot + row->rank > b.slot + backward_slot) {
                break;
            }
            add_forward(o, row, &f);
        }
        add_backward(o, row, &b);
    }
}

static struct gis gis_of(const struct pp_gen_config *c, int32_t group) {
    return (struct gis){.rank_count = c->rank_count,
                        .stages_per_rank = c->stages_per_rank,
                        .microbatch_count = c->microbatch_count,
                        .group = group};
}

static void fill_gis_row(const struct pp_gen_config *c, struct pp_gen_row *row) {
    struct gis o = gis_of(c, c->group > 0 ? c->group : c->rank_count);
    fill_gis(&o, row);
}

static void fill_gish_row(const struct pp_gen_config *c, struct pp_gen_row *row) {
    struct gis o = gis_of(c, smallest_group(c));
    fill_gis(&o, row);
}

static enum pp_status generate_gis(const struct pp_gen_config *c, struct pp_sched *s,
                                   struct pp_err *err) {
    return pp_gen_rows(c, fill_gis_row, s, err);
}

static enum pp_status generate_gish(const struct pp_gen_config *c, struct pp_sched *s,
                                    struct pp_err *err) {
    return pp_gen_rows(c, fill_gish_row, s, err);
}

static enum pp_status check_group(const struct pp_gen_config *c, struct pp_err *err) {
    if (c->group == 0 || (c->group >= smallest_group(c) && c->group <= c->rank_count)) {
        return PP_OK;
    }
    pp_fail(err, PP_E_RANGE, "GIS with %d ranks takes groups of %d to %d microbatches: got %d",
            c->rank_count, smallest_group(c), c->rank_count, c->group);
    pp_hint(err, "%d takes the least memory, %d the least time", smallest_group(c), c->rank_count);
    return PP_E_RANGE;
}

const struct pp_schedule_info pp_gen_info_gis = {
    .name = "GIS",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .default_stages_per_rank = 2,
    .splits_backward = true,
    .takes_group = true,
    .microbatch_rule = "any; group g of ceil(p/2) to p, default p",
    .bubble = "(2*(p-1)+(v-1)*(p-g))/(3*v*m+2*(p-1)+(v-1)*(p-g)) for F = I = W "
              "and m a multiple of g",
    .memory = "(g*(v-1)+p)/v for m >= p",
    .source = "Wan et al., PipeOffload, arXiv 2503.01328",
    .check = check_group,
    .generate = generate_gis,
};

const struct pp_schedule_info pp_gen_info_gish = {
    .name = "GISH",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .default_stages_per_rank = 2,
    .splits_backward = true,
    .microbatch_rule = "any",
    .bubble = "(2*(p-1)+(v-1)*floor(p/2))/(3*v*m+2*(p-1)+(v-1)*floor(p/2)) for F = I = W "
              "and m a multiple of ceil(p/2)",
    .memory = "(ceil(p/2)*(v-1)+p)/v for m >= p",
    .source = "Wan et al., PipeOffload, arXiv 2503.01328",
    .check = pp_gen_check_any,
    .generate = generate_gish,
};
