/* The decoder of keys, and the search's bounds, against the evaluator. */
#include "sim/eval.h"
#include "sim/gen_search.h"
#include "sim/metrics.h"
#include "tests/sim/sim_support.h"

enum { MAX_STAGES = 64 };

/* Costs drawn for every stage of a schedule. */
struct drawn_costs {
    int64_t columns[5][MAX_STAGES];
    struct pp_gen_costs gen;
};

static void draw_costs(struct drawn_costs *c, uint64_t *seed, int32_t stage_count) {
    for (int32_t stage = 0; stage < stage_count; stage++) {
        for (int32_t i = 0; i < 5; i++) { /* zeros, too */
            c->columns[i][stage] = random_below(seed, 8) == 0 ? 0 : random_below(seed, 1000);
        }
    }
    c->gen = (struct pp_gen_costs){.times = {.f_ns = c->columns[0],
                                             .i_ns = c->columns[1],
                                             .w_ns = c->columns[2],
                                             .b_ns = c->columns[2],
                                             .recv_f_ns = c->columns[3],
                                             .recv_b_ns = c->columns[4]}};
}

/* Decodes a schedule's own order: its places as keys, nothing passed over. */
static void check_order(const struct pp_sched *s, const struct drawn_costs *costs) {
    struct pp_gen_config config = {.rank_count = s->rank_count,
                                   .stages_per_rank = s->stage_count / s->rank_count,
                                   .microbatch_count = s->microbatch_count,
                                   .costs = &costs->gen};
    struct pp_gen_model model;
    struct pp_decoder d;
    struct pp_search search;
    struct pp_decode_figures f;
    struct pp_eval *eval = NULL;
    struct pp_trace trace;
    struct pp_metrics metrics;
    cr_assert_eq(pp_gen_model_init(&model, &config, s, NULL), PP_OK);
    cr_assert_eq(pp_decoder_init(&d, s, &model, NULL), PP_OK);
    cr_assert_eq(pp_search_init(&search, &d, NULL), PP_OK);
    cr_assert_eq(pp_eval_create(s, &eval, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&trace, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(eval, &costs->gen.times, &trace, NULL), PP_OK);
    pp_metrics_of(&trace, &metrics, NULL);
    for (int32_t i = 0; i < s->action_count; i++) {
        const struct pp_action *a = &s->actions[i];
        search.trial[pp_decode_index(&d, (enum pp_action_type)a->type, a->stage, a->microbatch)] =
            i;
    }
    cr_assert(pp_search_offer(&search, search.trial, PP_DECODE_STRICT));
    f = search.figures;
    cr_assert_eq(f.makespan_ns, metrics.makespan_ns);
    cr_assert_eq(f.span_ns, metrics.span_ns);
    for (int32_t i = 0; i < s->action_count; i++) {
        const struct pp_action *a = &s->actions[i];
        int64_t at = pp_decode_index(&d, (enum pp_action_type)a->type, a->stage, a->microbatch);
        cr_assert_eq(d.start[at], trace.start_ns[i]);
    }
    cr_assert_leq(search.bounds.makespan_ns, f.makespan_ns);
    cr_assert_leq(search.bounds.span_ns, f.span_ns);
    pp_search_climb(&search, 5000);
    cr_assert_leq(search.figures.makespan_ns, f.makespan_ns);
    cr_assert_leq(search.figures.span_ns, f.span_ns);
    cr_assert_leq(search.bounds.makespan_ns, search.figures.makespan_ns);
    cr_assert_leq(search.bounds.span_ns, search.figures.span_ns);
    pp_trace_deinit(&trace);
    pp_eval_destroy(eval);
    pp_search_deinit(&search);
    pp_decoder_deinit(&d);
    pp_gen_model_deinit(&model);
}

Test(gen_decode, an_order_decodes_to_itself_with_the_evaluators_times) {
    static struct drawn_costs costs;
    uint64_t seed = 1;
    int checked[5] = {0}; /* by stages a rank */
    for (int i = 0; i < 100; i++) {
        bool is_v = random_below(&seed, 2) == 0;
        int32_t p = 1 + random_below(&seed, 9);
        int32_t v = is_v ? 2 : 2 + random_below(&seed, 3);
        int32_t m = is_v ? 1 + random_below(&seed, 30) : p * (1 + random_below(&seed, 3));
        struct pp_sched *s =
            make_schedule(is_v ? "ZBVZeroBubble" : "InterleavedZeroBubble", p, v, m);
        bool is_split = true;
        for (int32_t a = 0; a < s->action_count; a++) {
            is_split &= s->actions[a].type != PP_B;
        }
        if (is_split) {
            draw_costs(&costs, &seed, s->stage_count);
            check_order(s, &costs);
            checked[v]++;
        }
        pp_sched_destroy(s);
    }
    cr_log_info("%d, %d, %d orders of 2, 3, 4 stages a rank", checked[2], checked[3], checked[4]);
    cr_assert(checked[2] > 0 && checked[3] > 0 && checked[4] > 0);
}

/* Two ranks in a line, room for one microbatch on rank 0. */
Test(gen_decode, keys_that_cannot_run_or_fit_are_refused) {
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_sched_create(2, 2, 2, (int32_t[]){0, 1}, &s, NULL), PP_OK);
    int64_t limit[2] = {1, 2};
    struct pp_gen_costs costs = {.limit = limit};
    struct pp_gen_config config = {
        .rank_count = 2, .stages_per_rank = 1, .microbatch_count = 2, .costs = &costs};
    struct pp_gen_model model;
    struct pp_decoder d;
    struct pp_decode_figures f = {7, 7};
    cr_assert_eq(pp_gen_model_init(&model, &config, s, NULL), PP_OK);
    cr_assert_eq(pp_decoder_init(&d, s, &model, NULL), PP_OK);
    int64_t both_first[12] = {0, 1, 2, 4, 3, 5, 0, 1, 2, 4, 3, 5};
    cr_expect_not(pp_decode(&d, both_first, PP_DECODE_STRICT, PP_DECODE_ANY, &f));
    cr_expect_eq(f.makespan_ns, 7, "written on failure");
    int64_t in_turn[12] = {0, 3, 1, 4, 2, 5, 0, 3, 1, 4, 2, 5};
    cr_expect(pp_decode(&d, in_turn, PP_DECODE_STRICT, PP_DECODE_ANY, &f));
    cr_expect_eq(f.makespan_ns, 10000); /* F F I I W on two ranks, twice one after the other */
    cr_expect_not(pp_decode(&d, in_turn, PP_DECODE_STRICT,
                            (struct pp_decode_figures){f.makespan_ns - 1, INT64_MAX}, &f));
    pp_decoder_deinit(&d);
    pp_gen_model_deinit(&model);
    pp_sched_destroy(s);
}
