/* VZB: ZBV's placement with an order chosen for the given costs and memory limits. Orders that are
 * built from rules come first, then hill climbing from the best. The paper's choice among its own
 * orders is the mark: makespan and span both stay at or below it. */
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

/* Of the orders built in rounds the one of the shortest span, as in the paper. Whatever is offered
 * later must be no worse than that in makespan, too. */
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
    struct pp_sched *s = NULL;
    PP_TRY(pp_sched_create(like->rank_count, like->stage_count, like->microbatch_count,
                           like->stage_rank, &s, err));
    enum pp_status status = pp_schedule_finish(&pp_gen_info_zbv_zero_bubble, c, s, err);
    if (status == PP_OK) {
        for (int32_t i = 0; i < s->action_count; i++) {
            const struct pp_action *a = &s->actions[i];
            enum pp_action_type type = (enum pp_action_type)a->type;
            best->trial[pp_decode_index(best->decoder, type, a->stage, a->microbatch)] = i;
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

/* A building block of the papers, repeated for every microbatch, in slots of a sixth of a
 * microbatch's time: how many from rank to rank on the way out (F down the ranks, I again), on the
 * way back, and from the last F to the first I. V-Min has 1 and 1, V-Half 2 and 1. */
struct block {
    int64_t out, back, turn;
};

static void lay_blocks(struct pp_search *best, struct block b, int64_t slot_ns) {
    const struct pp_decoder *d = best->decoder;
    int32_t p = d->rank_count;
    for (int32_t i = 0; i < d->microbatch_count; i++) {
        int64_t key = 6 * slot_ns * i;
        for (int32_t stage = 0; stage < 2 * p; stage++) {
            best->trial[pp_decode_index(d, PP_F, stage, i)] = key;
            key += (stage < p ? b.out : b.back) * slot_ns;
        }
        key += b.turn * slot_ns;
        for (int32_t stage = 2 * p - 1; stage >= 0; stage--) {
            best->trial[pp_decode_index(d, PP_I, stage, i)] = key;
            best->trial[pp_decode_index(d, PP_W, stage, i)] = key + slot_ns;
            key += (stage > p ? b.out : b.back) * slot_ns;
        }
    }
}

/* Blocks of many shapes. What collides, and whatever the true costs do to them, the decoder sorts
 * out, with more or less freedom. The shortest makespan wins. */
static void offer_blocks(struct pp_search *best) {
    struct pp_decoder *d = best->decoder;
    const struct pp_gen_model *m = d->model;
    int64_t all_ns = 0;
    for (int32_t stage = 0; stage < d->stage_count; stage++) {
        all_ns += m->f_ns[stage] + m->i_ns[stage] + m->w_ns[stage];
    }
    int64_t slot_ns = all_ns / (6 * d->rank_count);
    for (int32_t shape = 0; shape < 4 * 3 * 6; shape++) {
        lay_blocks(best, (struct block){1 + shape / 18, 1 + shape / 6 % 3, shape % 6}, slot_ns);
        for (int64_t slots = 0; slots <= 12; slots += 3) {
            struct pp_decode_rules rules = {.look = PP_DECODE_ALL, .overtake = slots * slot_ns};
            struct pp_decode_figures most = {best->figures.makespan_ns - 1, INT64_MAX};
            struct pp_decode_figures f;
            if (pp_decode(d, best->trial, rules, most, &f)) {
                pp_search_take(best, f);
            }
        }
    }
}

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Most gains come early, small orders need fewer steps, and huge ones would need too many: 50 ms
 * for 8 ranks and 32 microbatches, 0.3 s for 32 and 256, never more than some seconds. */
static int64_t climb_steps(int64_t action_count) {
    return min_i64(min_i64(2000 * action_count, 600000 + 32 * action_count), 16000000);
}

static enum pp_status search(struct pp_search *best, const struct pp_gen_config *c,
                             struct pp_sched *s, struct pp_err *err) {
    PP_TRY(offer_rounds(best, err));
    PP_TRY(offer_fixed(best, c, s, err));
    bool has_order = best->figures.span_ns < INT64_MAX;
    offer_greedy(best);
    if (!has_order) { /* less memory than rounds and the fixed order are made for */
        offer_blocks(best);
    }
    if (best->figures.span_ns == INT64_MAX) {
        return pp_fail(err, PP_E_LIMIT, "no order found that fits the memory limit");
    }
    pp_search_climb(best, climb_steps(best->decoder->action_count));
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
    .bubble = "(p-1)/(6*m+p-1) for F = I = W and m >= p",
    .memory = "min(m, p)",
    .source = "Qi et al., Pipeline Parallelism with Controllable Memory, arXiv 2405.15362",
    .check = pp_gen_check_any,
    .generate = generate_vzb,
};
