/* ZB1P and ZB2P: one stage a rank, the order chosen for the costs of every stage and the memory
 * limit of every rank. A portfolio is played and the best order kept: the authors' heuristic with
 * all of its switches, then others that may not lose to it. */
#include "sim/gen_zb.h"

#include <stdlib.h>

struct search {
    struct pp_zb_play play;
    uint8_t *orders; /* owns play.order and best */
    uint8_t *best;
    struct pp_zb_result result; /* of the best */
    struct pp_zb_result most;   /* span and makespan that an order may have to be kept */
};

/* Shorter span, then shorter makespan, then less memory: all fit the limit. */
static bool is_better(const struct pp_zb_result *a, const struct pp_zb_result *b) {
    if (a->span_ns != b->span_ns) {
        return a->span_ns < b->span_ns;
    }
    if (a->makespan_ns != b->makespan_ns) {
        return a->makespan_ns < b->makespan_ns;
    }
    return a->peak < b->peak;
}

static void try_variant(struct search *t, struct pp_zb_variant variant) {
    struct pp_zb_result result = pp_zb_play_variant(&t->play, variant);
    if (result.span_ns <= t->most.span_ns && result.makespan_ns <= t->most.makespan_ns &&
        is_better(&result, &t->result)) {
        uint8_t *order = t->play.order;
        t->play.order = t->best;
        t->best = order;
        t->result = result;
    }
}

/* Ways of putting forwards off, as a set. */
enum { NONE = 1, ONE = 2, ONE_AND_THOSE_BEFORE = 4 };

static void try_switches(struct search *t, struct pp_zb_variant v, unsigned ways) {
    for (int fills = 0; fills < 2; fills++) {
        for (unsigned way = NONE; way <= ONE_AND_THOSE_BEFORE; way *= 2) {
            if ((ways & way) != 0) {
                v.fills_any_gap = fills == 1;
                v.prefers_gradients = way != NONE;
                v.spreads = way == ONE_AND_THOSE_BEFORE;
                try_variant(t, v);
            }
        }
    }
}

/* The authors' own choice first. A shorter span than theirs is not worth a longer makespan, nor the
 * other way round. */
static void try_all(struct search *t) {
    for (int lead = PP_ZB_LEAD_ENDED; lead <= PP_ZB_LEAD_STARTED; lead++) {
        struct pp_zb_variant v = {.lead = (enum pp_zb_lead)lead};
        try_switches(t, v, NONE | ONE_AND_THOSE_BEFORE);
    }
    t->most = t->result;
    for (int counts_fill = 0; counts_fill < 2; counts_fill++) {
        for (int lead = PP_ZB_LEAD_ENDED; lead <= PP_ZB_LEAD_STARTED; lead++) {
            struct pp_zb_variant v = {.lead = (enum pp_zb_lead)lead,
                                      .counts_fill = counts_fill == 1};
            try_switches(t, v, counts_fill == 1 ? NONE | ONE | ONE_AND_THOSE_BEFORE : ONE);
        }
        for (int lead = PP_ZB_LEAD_1F1B; lead <= PP_ZB_LEAD_MEMORY; lead++) {
            struct pp_zb_variant v = {
                .lead = (enum pp_zb_lead)lead, .by_time = true, .counts_fill = counts_fill == 1};
            try_switches(t, v, NONE | ONE);
        }
    }
    /* ZBH1 and ZBH2 */
    try_variant(t, (struct pp_zb_variant){.lead = PP_ZB_LEAD_1F1B, .holds = 1});
    try_variant(t, (struct pp_zb_variant){.lead = PP_ZB_LEAD_DOUBLE, .holds = 2});
}

/* The given limits, or `shares` of a rank's activations of a microbatch. */
static enum pp_status resolve_limits(struct pp_zb_play *play, int64_t shares, struct pp_err *err) {
    for (int32_t rank = 0; rank < play->stage_count; rank++) {
        int64_t adds = play->model->adds[rank];
        int64_t limit = play->model->limit[rank];
        if (limit == INT64_MAX && adds < INT64_MAX / shares) {
            limit = shares * adds;
        }
        if (limit < adds) {
            pp_fail(err, PP_E_LIMIT,
                    "memory limit of rank %d: no room for the activations of one microbatch", rank);
            pp_hint(err, "smaller microbatches, recomputation or more ranks need less");
            return PP_E_LIMIT;
        }
        play->limit[rank] = limit;
    }
    return PP_OK;
}

static enum pp_status write_rows(const struct search *t, struct pp_sched *s, struct pp_err *err) {
    const uint8_t *at = t->best;
    for (int32_t rank = 0; rank < t->play.stage_count; rank++) {
        struct pp_gen_row row = {.s = s, .rank = rank, .status = PP_OK, .err = err};
        int32_t next[PP_B] = {0}; /* by type: F, I, W */
        for (int32_t i = 0; i < 3 * t->play.microbatch_count; i++) {
            enum pp_action_type type = (enum pp_action_type) * at++;
            pp_gen_row_add(&row, type, rank, next[type]++);
        }
        PP_TRY(row.status);
    }
    return PP_OK;
}

static enum pp_status search_init(struct search *t, const struct pp_gen_config *c,
                                  const struct pp_gen_model *model, struct pp_err *err) {
    static const struct pp_zb_result none = {.span_ns = INT64_MAX, .makespan_ns = INT64_MAX};
    size_t p = (size_t)c->rank_count;
    size_t n = p * (size_t)c->microbatch_count;
    int64_t *numbers = malloc((2 * p + 2 * n) * sizeof *numbers);
    int32_t *winner = malloc(2 * p * sizeof *winner);
    struct pp_zb_stage *stages = malloc(p * sizeof *stages);
    uint8_t *orders = malloc(6 * n);
    if (numbers == NULL || winner == NULL || stages == NULL || orders == NULL) {
        free(numbers);
        free(winner);
        free(stages);
        free(orders);
        return pp_fail(err, PP_E_NOMEM, "out of memory for an order of %d ranks, %d microbatches",
                       c->rank_count, c->microbatch_count);
    }
    *t = (struct search){.play = {.model = model,
                                  .stage_count = c->rank_count,
                                  .microbatch_count = c->microbatch_count,
                                  .stages = stages,
                                  .limit = numbers,
                                  .scratch = numbers + p,
                                  .winner = winner,
                                  .f_end_ns = numbers + 2 * p,
                                  .i_end_ns = numbers + 2 * p + n,
                                  .order = orders},
                         .orders = orders,
                         .best = orders + 3 * n,
                         .result = none,
                         .most = none};
    return PP_OK;
}

static void search_deinit(struct search *t) {
    free(t->play.limit);
    free(t->play.winner);
    free(t->play.stages);
    free(t->orders);
}

/* `shares`: microbatches that a rank may hold where no limit is given, in times the ranks. */
static enum pp_status generate(const struct pp_gen_config *c, int64_t shares, struct pp_sched *s,
                               struct pp_err *err) {
    struct pp_gen_model model;
    struct search t;
    PP_TRY(pp_gen_model_init(&model, c, s, err));
    enum pp_status status = search_init(&t, c, &model, err);
    if (status == PP_OK) {
        status = resolve_limits(&t.play, shares * c->rank_count, err);
        if (status == PP_OK) {
            try_all(&t);
            status = write_rows(&t, s, err);
        }
        search_deinit(&t);
    }
    pp_gen_model_deinit(&model);
    return status;
}

static enum pp_status generate_zb1p(const struct pp_gen_config *c, struct pp_sched *s,
                                    struct pp_err *err) {
    return generate(c, 1, s, err);
}

static enum pp_status generate_zb2p(const struct pp_gen_config *c, struct pp_sched *s,
                                    struct pp_err *err) {
    return generate(c, 2, s, err);
}

const struct pp_schedule_info pp_gen_info_zb1p = {
    .name = "ZB1P",
    .kind = PP_KIND_SINGLE,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .max_stages_per_rank = 1,
    .default_stages_per_rank = 1,
    .splits_backward = true,
    .uses_costs = true,
    .microbatch_rule = "any",
    .bubble = "(p-1)/(3*m+p-1) for F = I = W and m >= p",
    .memory = "p for the default limit, at most",
    .source = "Qi et al., Zero Bubble Pipeline Parallelism, arXiv 2401.10241",
    .check = pp_gen_check_any,
    .generate = generate_zb1p,
};

const struct pp_schedule_info pp_gen_info_zb2p = {
    .name = "ZB2P",
    .kind = PP_KIND_SINGLE,
    .placement = PP_PLACE_LOOP,
    .automodel_placement = PP_PLACE_LOOP,
    .min_stages_per_rank = 1,
    .max_stages_per_rank = 1,
    .default_stages_per_rank = 1,
    .splits_backward = true,
    .uses_costs = true,
    .microbatch_rule = "any",
    .bubble =
        "(p-1)/(3*m+p-1) for F = I = W and m >= p; each rank's own span has none for m >= 2*p-1",
    .memory = "2*p for the default limit, at most",
    .source = "Qi et al., Zero Bubble Pipeline Parallelism, arXiv 2401.10241",
    .check = pp_gen_check_any,
    .generate = generate_zb2p,
};
