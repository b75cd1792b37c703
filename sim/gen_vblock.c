/* VMin, VHalf, V1F1B: V schedules that repeat one building block. The block gives the memory and
 * where the search starts; the costs decide the order. */
#include "sim/gen_vclimb.h"

#include <string.h>

struct block {
    int32_t shares; /* microbatches whose activations a rank holds at most */
    bool fused;
    pp_vpattern *pattern;
};

static void vmin_slots(int32_t p, int32_t *f, int32_t *b) {
    int32_t turn = p % 3 == 0 ? 2 : 0;
    for (int32_t rank = 0; rank < p; rank++) {
        int32_t up = 2 * p - 1 - rank;
        f[rank] = rank;
        f[up] = 2 * p - 1 - rank;
        b[up] = 2 * p + turn + rank;
        b[rank] = 4 * p + turn - 1 - rank;
    }
}

static void vhalf_slots(int32_t p, int32_t *f, int32_t *b) {
    int32_t turn = p % 2 == 0 ? 3 : 0;
    for (int32_t rank = 0; rank < p; rank++) {
        int32_t up = 2 * p - 1 - rank;
        f[rank] = 2 * rank;
        f[up] = 3 * p - 2 - rank;
        b[up] = 3 * p + turn - 1 + 2 * rank;
        b[rank] = 6 * p + turn - 2 - rank;
    }
}

/* Is the pair of slots from `slot` on free, of the six that are taken by `used`, and does it leave
 * room for another pair? */
static bool is_pair(unsigned used, int32_t slot) {
    unsigned pair = 1u << slot % PP_VBLOCK_SLOTS | 1u << (slot + 1) % PP_VBLOCK_SLOTS;
    if ((used & pair) != 0) {
        return false;
    }
    unsigned left = ~(used | pair) & ((1u << PP_VBLOCK_SLOTS) - 1);
    for (int32_t other = 0; other < PP_VBLOCK_SLOTS; other++) {
        unsigned both = 1u << other | 1u << (other + 1) % PP_VBLOCK_SLOTS;
        if ((left & both) == both) {
            return true;
        }
    }
    return left == 0;
}

/* Forwards a slot each, one after the other; every backward takes the first two slots that are free
 * in its rank's block: three in a row, then a pause of three slots. */
static void v1f1b_slots(int32_t p, int32_t *f, int32_t *b) {
    int32_t slot = 2 * p;
    for (int32_t stage = 2 * p - 1; stage >= 0; stage--) {
        int32_t up = stage < p ? 2 * p - 1 - stage : stage;
        int32_t down = 2 * p - 1 - up;
        f[stage] = stage;
        unsigned used = 1u << up % PP_VBLOCK_SLOTS | 1u << down % PP_VBLOCK_SLOTS;
        if (stage < p) {
            used |= 1u << b[up] % PP_VBLOCK_SLOTS | 1u << (b[up] + 1) % PP_VBLOCK_SLOTS;
        }
        while (!is_pair(used, slot)) {
            slot++;
        }
        b[stage] = slot;
        slot += 2;
    }
}

/* The schedule's own memory, or less where less is given. */
static enum pp_status set_limits(struct pp_order *o, int32_t shares, struct pp_err *err) {
    const struct pp_gen_model *m = o->model;
    for (int32_t rank = 0; rank < o->s->rank_count; rank++) {
        int64_t one = m->adds[rank] + m->adds[o->s->stage_count - 1 - rank];
        int64_t own = shares * one;
        o->limit[rank] = own < m->limit[rank] ? own : m->limit[rank];
        if (o->limit[rank] < one) {
            return pp_fail(err, PP_E_LIMIT,
                           "memory limit of rank %d: no room for one microbatch on its two stages",
                           rank);
        }
    }
    return PP_OK;
}

static enum pp_status find(const struct block *b, struct pp_order *best, struct pp_err *err) {
    struct pp_order trial;
    PP_TRY(set_limits(best, b->shares, err));
    PP_TRY(pp_order_init(&trial, best->s, best->model, err));
    memcpy(trial.limit, best->limit, (size_t)best->s->rank_count * sizeof *trial.limit);
    enum pp_status status = pp_vslots_try(b->pattern, b->fused, &trial, best, err);
    if (status == PP_OK) {
        status = pp_vclimb(b->pattern, b->fused, &trial, best, err);
    }
    PP_ASSERT(status != PP_OK || best->makespan < INT64_MAX);
    pp_order_deinit(&trial);
    return status;
}

static enum pp_status generate(const struct block *b, const struct pp_gen_config *c,
                               struct pp_sched *s, struct pp_err *err) {
    struct pp_gen_model model;
    struct pp_order best = {0};
    PP_TRY(pp_gen_model_init(&model, c, s, err));
    enum pp_status status = pp_order_init(&best, s, &model, err);
    if (status == PP_OK) {
        status = find(b, &best, err);
    }
    if (status == PP_OK) {
        status = pp_order_emit(&best, s, err);
    }
    pp_order_deinit(&best);
    pp_gen_model_deinit(&model);
    return status;
}

static enum pp_status generate_vmin(const struct pp_gen_config *c, struct pp_sched *s,
                                    struct pp_err *err) {
    struct block b = {.shares = (c->rank_count + 4) / 3, .pattern = vmin_slots};
    return generate(&b, c, s, err);
}

static enum pp_status generate_vhalf(const struct pp_gen_config *c, struct pp_sched *s,
                                     struct pp_err *err) {
    struct block b = {.shares = (c->rank_count + 2) / 2, .pattern = vhalf_slots};
    return generate(&b, c, s, err);
}

static enum pp_status generate_v1f1b(const struct pp_gen_config *c, struct pp_sched *s,
                                     struct pp_err *err) {
    struct block b = {.shares = (2 * c->rank_count + 3) / 3, .fused = true, .pattern = v1f1b_slots};
    return generate(&b, c, s, err);
}

#define V_BLOCK(id, name_, splits, bubble_, memory_, source_)                                      \
    const struct pp_schedule_info pp_gen_info_##id = {                                             \
        .name = name_,                                                                             \
        .kind = PP_KIND_MULTI,                                                                     \
        .placement = PP_PLACE_V,                                                                   \
        .automodel_placement = PP_PLACE_V,                                                         \
        .min_stages_per_rank = 2,                                                                  \
        .max_stages_per_rank = 2,                                                                  \
        .default_stages_per_rank = 2,                                                              \
        .splits_backward = splits,                                                                 \
        .uses_costs = true,                                                                        \
        .microbatch_rule = "any",                                                                  \
        .bubble = bubble_,                                                                         \
        .memory = memory_,                                                                         \
        .source = "Qi et al., Pipeline Parallelism with Controllable Memory, arXiv "               \
                  "2405.15362; " source_,                                                          \
        .check = pp_gen_check_any,                                                                 \
        .generate = generate_##id,                                                                 \
    }

V_BLOCK(vmin, "VMin", true, "(4*p-5)/(6*m+4*p-5) for F = I = W and p >= 2, at most",
        "min(m, floor((p+4)/3))", "V-Min, its W's and order by costs");
V_BLOCK(vhalf, "VHalf", true,
        "(3*p-7)/(6*m+3*p-7) for F = I = W, p even, p >= 4 and m >= p, at most",
        "min(m, floor((p+2)/2))", "V-Half, its W's and order by costs");
V_BLOCK(v1f1b, "V1F1B", false, "5*(p-1)/(6*m+5*(p-1)) for F = I = W and m >= p, at most",
        "min(m, floor((2*p+3)/3))", "V with a fused backward, as in its authors' code");
