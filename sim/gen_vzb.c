/* VZB: ZBV's placement, but with an order chosen for the given costs and memory. Orders that are
 * built from rules come first; the best of them is improved by search, in makespan and span. */
#include "sim/gen_search.h"
#include "sim/gen_vrounds.h"

/* The default limit: p shares of a microbatch on every rank. */
static void limit_memory(const struct pp_gen_config *c, struct pp_gen_model *m) {
    int32_t p = c->rank_count;
    for (int32_t rank = 0; rank < p; rank++) {
        if (m->limit[rank] == INT64_MAX) {
            m->limit[rank] = p * (m->adds[rank] + m->adds[2 * p - 1 - rank]);
        }
    }
}

/* An order is possible if and only if each rank has room for a microbatch on both of its stages:
 * then one after the other is. */
static enum pp_status check_limit(const struct pp_gen_config *c, const struct pp_gen_model *m,
                                  struct pp_err *err) {
    int32_t p = c->rank_count;
    for (int32_t rank = 0; rank < p; rank++) {
        int64_t least = m->adds[rank] + m->adds[2 * p - 1 - rank];
        if (m->limit[rank] < least) {
            return pp_fail(err, PP_E_LIMIT,
                           "memory limit of rank %d: got %lld, one microbatch on its two stages "
                           "takes %lld",
                           rank, (long long)m->limit[rank], (long long)least);
        }
    }
    return PP_OK;
}

/* Of the orders built in rounds the one of the shortest span, as in the paper: what is offered
 * later must not be worse than that in makespan either. */
static enum pp_status offer_rounds(struct pp_search *best, struct pp_err *err) {
    struct pp_decoder *d = best->decoder;
    struct pp_vrounds *rounds = NULL;
    PP_TRY(pp_vrounds_create(d->rank_count, d->microbatch_count, d->model, &rounds, err));
    for (int32_t i = 0; i < 4; i++) {
        struct pp_vrounds_flags flags = {.fill_f = i % 2 == 0, .fill_i_up = i / 2 == 0};
        struct pp_decode_figures f;
        if (pp_vrounds_build(rounds, flags, best->trial) &&
            pp_decode(d, best->trial, PP_DECODE_STRICT, PP_DECODE_ANY, &f) &&
            (f.span_ns < best->figures.span_ns ||
             (f.span_ns == best->figures.span_ns && f.makespan_ns < best->figures.makespan_ns))) {
            pp_search_take(best, f);
        }
    }
    pp_vrounds_destroy(rounds);
    return PP_OK;
}

/* PyTorch's order, which knows no costs. */
static enum pp_status offer_fixed(struct pp_search *best, const struct pp_gen_config *c,
                                  const struct pp_sched *like, struct pp_err *err) {
    const struct pp_decoder *d = best->decoder;
    struct pp_sched *s = NULL;
    PP_TRY(pp_sched_create(like->rank_count, like->stage_count, like->microbatch_count,
                           like->stage_rank, &s, err));
    enum pp_status status = pp_schedule_finish(&pp_gen_info_zbv_zero_bubble, c, s, err);
    if (status == PP_OK) {
        for (int32_t i = 0; i < s->action_count; i++) {
            const struct pp_action *a = &s->actions[i];
            enum pp_action_type type = (enum pp_action_type)a->type;
            best->trial[pp_decode_index(d, type, a->stage, a->microbatch)] = i;
        }
        pp_search_offer(best, best->trial, PP_DECODE_STRICT);
    }
    pp_sched_destroy(s);
    return status;
}

/* Whatever can run: backward before forward, earlier microbatches first, which never gets stuck
 * (gen_decode.h). W before all else or after it. */
static void offer_greedy(struct pp_search *best) {
    const struct pp_decoder *d = best->decoder;
    int64_t m = d->microbatch_count;
    for (int32_t w_last = 0; w_last < 2; w_last++) {
        for (int32_t stage = 0; stage < d->stage_count; stage++) {
            for (int32_t i = 0; i < m; i++) {
                best->trial[pp_decode_index(d, PP_F, stage, i)] = i * d->stage_count + stage;
                best->trial[pp_decode_index(d, PP_I, stage, i)] = i - m;
                best->trial[pp_decode_index(d, PP_W, stage, i)] =
                    i + (w_last != 0 ? m * d->stage_count : -2 * m);
            }
        }
        for (int32_t look = 0; look <= PP_DECODE_ALL; look += PP_DECODE_ALL / 2) {
            pp_search_offer(best, best->trial,
                            (struct pp_decode_rules){.look = look, .overtake = INT64_MAX});
        }
    }
}

static enum pp_status search(struct pp_search *best, const struct pp_gen_config *c,
                             struct pp_sched *s, struct pp_err *err) {
    PP_TRY(offer_rounds(best, err));
    PP_TRY(offer_fixed(best, c, s, err));
    offer_greedy(best);
    pp_search_climb(best, 1000000);
    if (best->figures.span_ns == INT64_MAX) {
        return pp_fail(err, PP_E_LIMIT, "no order found that fits the memory limit");
    }
    return pp_decode_put(best->decoder, best->order, s, err);
}

static enum pp_status generate_with(const struct pp_gen_config *c, struct pp_gen_model *model,
                                    struct pp_sched *s, struct pp_err *err) {
    struct pp_decoder decoder;
    struct pp_search best;
    limit_memory(c, model);
    PP_TRY(check_limit(c, model, err));
    PP_TRY(pp_decoder_init(&decoder, s, model, err));
    enum pp_status status = pp_search_init(&best, &decoder, err);
    if (status == PP_OK) {
        status = search(&best, c, s, err);
        pp_search_deinit(&best);
    }
    pp_decoder_deinit(&decoder);
    return status;
}

static enum pp_status generate_vzb(const struct pp_gen_config *c, struct pp_sched *s,
                                   struct pp_err *err) {
    struct pp_gen_model model;
    PP_TRY(pp_gen_model_init(&model, c, s, err));
    enum pp_status status = generate_with(c, &model, s, err);
    pp_gen_model_deinit(&model);
    return status;
}

const struct pp_schedule_info pp_gen_info_vzb = {
    .name = "VZB",
    .kind = PP_KIND_MULTI,
    .placement = PP_PLACE_V,
    .automodel_placement = PP_PLACE_V,
    .min_stages_per_rank = 2,
    .max_stages_per_rank = 2,
    .default_stages_per_rank = 2,
    .splits_backward = true,
    .uses_costs = true,
    .microbatch_rule = "any",
    .bubble = "(p-1)/(6*m+p-1) for F = I = W",
    .memory = "p",
    .source = "Qi et al., Pipeline Parallelism with Controllable Memory, arXiv 2405.15362",
    .check = pp_gen_check_any,
    .generate = generate_vzb,
};
