/* VMin, VHalf, V1F1B: V schedules that repeat one building block. The block gives the memory and
 * where the search starts; the costs decide the order. VZB: its authors' rounds, improved; with
 * less memory than these are made for, the same search. */
#include "sim/gen_vclimb.h"
#include "sim/gen_vrounds.h"

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

/* Ops that a search schedules at most: a second or two; less where an order is there. */
enum { SEARCH_OPS = 22000000, IMPROVE_OPS = 4000000 };

struct block {
    int32_t shares;       /* microbatches whose activations a rank holds at most */
    bool fused;           /* B instead of I and W */
    pp_vpattern *pattern; /* NULL: VZB, whose memory the user may also raise */
};

static struct block vmin(int32_t p) {
    return (struct block){.shares = (p + 4) / 3, .pattern = vmin_slots};
}

static struct block vhalf(int32_t p) {
    return (struct block){.shares = (p + 2) / 2, .pattern = vhalf_slots};
}

/* An order under construction. */
struct search {
    struct pp_gen_model model;
    struct pp_order best, trial; /* with the limits to keep */
};

static void search_deinit(struct search *x) {
    pp_order_deinit(&x->trial);
    pp_order_deinit(&x->best);
    pp_gen_model_deinit(&x->model);
}

static enum pp_status search_init(struct search *x, const struct pp_gen_config *c,
                                  const struct pp_sched *s, struct pp_err *err) {
    *x = (struct search){0};
    PP_TRY(pp_gen_model_init(&x->model, c, s, err));
    PP_TRY(pp_order_init(&x->best, s, &x->model, err));
    return pp_order_init(&x->trial, s, &x->model, err);
}

/* A microbatch's activations on both stages of a rank. */
static int64_t one_share(const struct search *x, int32_t rank) {
    return x->model.adds[rank] + x->model.adds[x->best.s->stage_count - 1 - rank];
}

/* The block's own memory, or what is given. */
static enum pp_status set_limits(struct search *x, const struct block *b, struct pp_err *err) {
    for (int32_t rank = 0; rank < x->best.s->rank_count; rank++) {
        int64_t one = one_share(x, rank);
        int64_t own = b->shares * one;
        int64_t limit = x->model.limit[rank];
        if (limit == INT64_MAX || (limit > own && b->pattern != NULL)) {
            limit = own;
        }
        x->best.limit[rank] = x->trial.limit[rank] = limit;
        if (limit < one) {
            return pp_fail(err, PP_E_LIMIT,
                           "memory limit of rank %d: no room for one microbatch on its two stages",
                           rank);
        }
    }
    return PP_OK;
}

static enum pp_status search_from(struct search *x, const struct block *b, int64_t most_ops,
                                  struct pp_err *err) {
    PP_TRY(pp_vslots_try(b->pattern, b->fused, &x->trial, &x->best, err));
    PP_TRY(pp_vclimb(b->pattern, b->fused, most_ops, &x->trial, &x->best, err));
    PP_ASSERT(x->best.makespan < INT64_MAX);
    return PP_OK;
}

/* PyTorch's order, which knows no costs. */
static enum pp_status try_fixed(struct search *x, const struct pp_gen_config *c,
                                struct pp_err *err) {
    const struct pp_sched *like = x->best.s;
    struct pp_sched *s = NULL;
    PP_TRY(pp_sched_create(like->rank_count, like->stage_count, like->microbatch_count,
                           like->stage_rank, &s, err));
    enum pp_status status = pp_schedule_finish(&pp_gen_info_zbv_zero_bubble, c, s, err);
    if (status == PP_OK) {
        pp_order_clear(&x->trial);
        for (int32_t i = 0; i < s->action_count; i++) {
            const struct pp_action *a = &s->actions[i];
            pp_order_push(&x->trial, (enum pp_action_type)a->type, a->stage, a->microbatch);
        }
        if (pp_order_time(&x->trial) && pp_order_fits(&x->trial)) {
            pp_order_keep_better(&x->best, &x->trial);
        }
    }
    pp_sched_destroy(s);
    return status;
}

/* Microbatches that fit every rank, or the rank count if that is less. */
static int32_t shares_that_fit(const struct search *x) {
    int64_t shares = x->best.s->rank_count;
    for (int32_t rank = 0; rank < x->best.s->rank_count; rank++) {
        int64_t one = one_share(x, rank);
        if (shares * one > x->best.limit[rank]) {
            shares = x->best.limit[rank] / one;
        }
    }
    return (int32_t)shares;
}

/* Is the order as short as the work of a rank and the way to it allow? */
static bool is_ideal(const struct pp_order *o) {
    const struct pp_gen_model *m = o->model;
    int64_t way = 0;
    int64_t span = 0;
    int64_t makespan = 0;
    for (int32_t rank = 0; rank < o->s->rank_count; rank++) {
        int32_t up = o->s->stage_count - 1 - rank;
        int64_t work = m->f_ns[rank] + m->i_ns[rank] + m->w_ns[rank];
        work = (work + m->f_ns[up] + m->i_ns[up] + m->w_ns[up]) * o->s->microbatch_count;
        way += rank == 0 ? 0 : m->f_ns[rank - 1] + m->recv_f_ns[rank];
        span = work > span ? work : span;
        makespan = way + work > makespan ? way + work : makespan;
    }
    return o->makespan == makespan && o->span == span;
}

/* With the memory that the rounds are made for, what comes after them is no longer than they are,
 * neither in makespan nor in span. */
static enum pp_status search_vzb(struct search *x, const struct pp_gen_config *c,
                                 struct pp_err *err) {
    struct pp_order *best = &x->best;
    struct block half = vhalf(c->rank_count);
    struct block min = vmin(c->rank_count);
    int32_t shares = shares_that_fit(x);
    PP_TRY(pp_vrounds_try(&x->trial, best, err));
    if (best->makespan < INT64_MAX && shares == c->rank_count) {
        best->most_makespan = best->makespan;
        best->most_span = best->span;
    }
    PP_TRY(try_fixed(x, c, err));
    if (best->makespan < INT64_MAX) {
        pp_order_keep_refilled(best, &x->trial, best);
    }
    if (is_ideal(best)) {
        return PP_OK;
    }
    bool has_mark = best->most_span < INT64_MAX;
    return search_from(x, shares < half.shares ? &min : &half, has_mark ? IMPROVE_OPS : SEARCH_OPS,
                       err);
}

static enum pp_status generate(struct block b, const struct pp_gen_config *c, struct pp_sched *s,
                               struct pp_err *err) {
    struct search x;
    enum pp_status status = search_init(&x, c, s, err);
    if (status == PP_OK) {
        status = set_limits(&x, &b, err);
    }
    if (status == PP_OK) {
        status = b.pattern == NULL ? search_vzb(&x, c, err) : search_from(&x, &b, SEARCH_OPS, err);
    }
    if (status == PP_OK) {
        status = pp_order_emit(&x.best, s, err);
    }
    search_deinit(&x);
    return status;
}

static enum pp_status generate_vmin(const struct pp_gen_config *c, struct pp_sched *s,
                                    struct pp_err *err) {
    return generate(vmin(c->rank_count), c, s, err);
}

static enum pp_status generate_vhalf(const struct pp_gen_config *c, struct pp_sched *s,
                                     struct pp_err *err) {
    return generate(vhalf(c->rank_count), c, s, err);
}

static enum pp_status generate_v1f1b(const struct pp_gen_config *c, struct pp_sched *s,
                                     struct pp_err *err) {
    struct block b = {.shares = (2 * c->rank_count + 3) / 3, .fused = true, .pattern = v1f1b_slots};
    return generate(b, c, s, err);
}

static enum pp_status generate_vzb(const struct pp_gen_config *c, struct pp_sched *s,
                                   struct pp_err *err) {
    return generate((struct block){.shares = c->rank_count}, c, s, err);
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
V_BLOCK(vzb, "VZB", true, "(p-1)/(6*m+p-1) for F = I = W and m >= p", "min(m, p)",
        "V-ZB, its order by costs");
