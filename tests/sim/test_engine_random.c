/* The engine on random lowered schedules: against pp_eval where nothing but compute takes time, the
 * sweep against the event queue, and what must hold of every trace. */
#include "sim/eval.h"
#include "tests/sim/engine_support.h"
#include "tests/sim/random_lowered.h"

enum { CASES = 3000 / CASE_STEP };

static struct lowered_case drawn;

static void draw_case(uint64_t *seed) {
    draw_lowered(&drawn, seed, &draw_usual);
    drawn.runtime = draw_runtime(seed);
    draw_engine_costs(&drawn, seed);
    draw_network(&drawn, seed);
    drawn.net = &drawn.network;
}

/* ---- against pp_eval ---- */

/* The compute actions and trips of both are the same, in the same order. */
static void expect_same_compute(const struct pp_trace *a, const struct pp_trace *b, int32_t seed) {
    int32_t other = 0;
    for (int32_t at = 0; at < a->sched->action_count; at++) {
        const struct pp_action *x = &a->sched->actions[at];
        if (!pp_action_is_compute(x) && !pp_action_is_offload(x)) {
            continue;
        }
        const struct pp_action *y = &b->sched->actions[other];
        cr_assert(x->type == y->type && x->stage == y->stage && x->microbatch == y->microbatch);
        cr_assert(a->start_ns[at] == b->start_ns[other] && a->end_ns[at] == b->end_ns[other],
                  "seed %d: action %d of %d: %lld-%lld, evaluated %lld-%lld", seed, at,
                  a->sched->action_count, (long long)a->start_ns[at], (long long)a->end_ns[at],
                  (long long)b->start_ns[other], (long long)b->end_ns[other]);
        other++;
    }
    cr_assert_eq(other, b->sched->action_count);
}

/* Lowered our way: receives in another order than the sends (PyTorch's way) would wait for one
 * another, and the SENDs of a pair that runs part by part stand behind both parts. */
Test(engine_random, without_bytes_it_is_the_evaluation) {
    for (int32_t seed = 0; seed < CASES; seed++) {
        uint64_t state = (uint64_t)seed;
        struct pp_lower_options options = draw_lower_options(&state);
        struct pp_engine *engine = NULL;
        struct pp_eval *eval = NULL;
        struct pp_trace t;
        struct pp_trace expected;
        struct pp_err err = {0};
        struct pp_runtime runtime = {
            .comms = {.channels = PP_CHANNELS_DIRECTED, .buffer_count = 1000}};
        options.mode = PP_LOWER_OURS;
        drawn.order = draw_sealed_within(&state, &draw_usual);
        cr_assert_eq(pp_sched_lower(drawn.order, &options, &drawn.lowered, &err), PP_OK, "%s",
                     err.message);
        draw_engine_costs(&drawn, &state);
        draw_network(&drawn, &state);
        drawn.costs.compute.pair_ns = drawn.pair;
        drawn.costs.message_f_bytes = drawn.costs.message_b_bytes = NULL;
        drawn.costs.unshard_ns = drawn.costs.unshard_bytes = NULL;
        drawn.costs.reduce_ns = drawn.costs.reduce_bytes = NULL;
        drawn.network.shared = random_below(&state, 2) == 0;
        cr_assert_eq(pp_eval_create(drawn.order, &eval, NULL, &err), PP_OK, "%s", err.message);
        cr_assert_eq(pp_engine_create(drawn.lowered, &runtime, &engine, NULL, &err), PP_OK, "%s",
                     err.message);
        cr_assert_eq(pp_trace_init(&t, drawn.lowered, NULL), PP_OK);
        cr_assert_eq(pp_trace_init(&expected, drawn.order, NULL), PP_OK);
        cr_assert_eq(pp_eval_run(eval, &drawn.costs.compute, &expected, &err), PP_OK);
        cr_assert_eq(pp_engine_run(engine, &drawn.costs, &drawn.network, &t, &err), PP_OK, "%s",
                     err.message);
        expect_same_compute(&t, &expected, seed);
        expect_bindings(engine, &t);
        cr_assert_eq(pp_engine_run_events(engine, &drawn.costs, &drawn.network, &t, NULL, &err),
                     PP_OK);
        expect_same_compute(&t, &expected, seed);
        pp_trace_deinit(&t);
        pp_trace_deinit(&expected);
        pp_engine_destroy(engine);
        pp_eval_destroy(eval);
        lowered_case_deinit(&drawn);
    }
}

/* ---- the sweep against the event queue ---- */

static void expect_same(const struct pp_trace *a, const struct pp_trace *b, int32_t seed) {
    for (int32_t at = 0; at < a->sched->action_count; at++) {
        char text[PP_ACTION_TEXT_BYTES];
        cr_assert(a->start_ns[at] == b->start_ns[at] && a->end_ns[at] == b->end_ns[at],
                  "seed %d: %s: swept %lld-%lld, by events %lld-%lld", seed,
                  pp_action_text(&a->sched->actions[at], text), (long long)a->start_ns[at],
                  (long long)a->end_ns[at], (long long)b->start_ns[at], (long long)b->end_ns[at]);
    }
}

Test(engine_random, the_sweep_and_the_events_agree) {
    int32_t ran = 0;
    int32_t batched = 0;
    for (int32_t seed = 0; seed < CASES; seed++) {
        uint64_t state = (uint64_t)seed + 1000000;
        struct pp_engine *engine = NULL;
        struct pp_trace a;
        struct pp_trace b;
        struct pp_err err = {0};
        draw_case(&state);
        enum pp_status status =
            pp_engine_create(drawn.lowered, &drawn.runtime, &engine, NULL, &err);
        enum pp_status verdict = pp_check_run(drawn.lowered, &drawn.runtime.comms, NULL, NULL);
        cr_assert(drawn.runtime.batched ? status == PP_OK || status == PP_E_DEADLOCK
                                        : status == verdict,
                  "seed %d: %s", seed, err.message);
        if (status == PP_OK) {
            cr_assert_eq(verdict, PP_OK);
            cr_assert_eq(pp_trace_init(&a, drawn.lowered, NULL), PP_OK);
            cr_assert_eq(pp_trace_init(&b, drawn.lowered, NULL), PP_OK);
            cr_assert_eq(pp_engine_run(engine, &drawn.costs, drawn.net, &a, &err), PP_OK, "%s",
                         err.message);
            expect_bindings(engine, &a);
            cr_assert_eq(pp_engine_run_events(engine, &drawn.costs, drawn.net, &b, NULL, &err),
                         PP_OK);
            expect_same(&a, &b, seed);
            pp_trace_deinit(&a);
            pp_trace_deinit(&b);
            ran++;
            batched += drawn.runtime.batched;
        }
        pp_engine_destroy(engine);
        lowered_case_deinit(&drawn);
    }
    cr_expect_gt(ran, CASES / 2);
    cr_expect_gt(batched, CASES / 40);
}

/* ---- shared links ---- */

struct run {
    struct pp_engine *engine; /* NULL: a deadlock */
    struct pp_trace alone, shared;
};

static void begin_run(struct run *r, uint64_t *seed) {
    *r = (struct run){0};
    draw_case(seed);
    if (pp_engine_create(drawn.lowered, &drawn.runtime, &r->engine, NULL, NULL) == PP_OK) {
        cr_assert_eq(pp_trace_init(&r->alone, drawn.lowered, NULL), PP_OK);
        cr_assert_eq(pp_trace_init(&r->shared, drawn.lowered, NULL), PP_OK);
    }
}

static void run_both(struct run *r) {
    struct pp_err err = {0};
    drawn.network.shared = false;
    cr_assert_eq(pp_engine_run(r->engine, &drawn.costs, drawn.net, &r->alone, &err), PP_OK, "%s",
                 err.message);
    drawn.network.shared = true;
    cr_assert_eq(pp_engine_run(r->engine, &drawn.costs, drawn.net, &r->shared, &err), PP_OK, "%s",
                 err.message);
}

static void end_run(struct run *r) {
    if (r->engine != NULL) {
        pp_trace_deinit(&r->alone);
        pp_trace_deinit(&r->shared);
    }
    pp_engine_destroy(r->engine);
    lowered_case_deinit(&drawn);
}

/* Links so wide that every share of them takes one ns for anything. */
Test(engine_random, wide_links_are_as_good_as_none_shared) {
    for (int32_t seed = 0; seed < CASES; seed++) {
        uint64_t state = (uint64_t)seed + 2000000;
        struct run r;
        begin_run(&r, &state);
        if (r.engine != NULL) {
            draw_engine_costs_below(&drawn, 100, &state);
            drawn.network.port_bytes_per_s = PP_LINK_MAX_BYTES_PER_S;
            drawn.network.nic_bytes_per_s = PP_LINK_MAX_BYTES_PER_S;
            run_both(&r);
            expect_same(&r.alone, &r.shared, seed);
        }
        end_run(&r);
    }
}

Test(engine_random, sharing_never_makes_anything_earlier) {
    int32_t later = 0;
    for (int32_t seed = 0; seed < CASES; seed++) {
        uint64_t state = (uint64_t)seed + 3000000;
        struct run r;
        begin_run(&r, &state);
        if (r.engine != NULL) {
            run_both(&r);
            bool any = false;
            for (int32_t at = 0; at < drawn.lowered->action_count; at++) {
                cr_assert(r.shared.start_ns[at] >= r.alone.start_ns[at] &&
                              r.shared.end_ns[at] >= r.alone.end_ns[at],
                          "seed %d: action %d", seed, at);
                any = any || r.shared.end_ns[at] > r.alone.end_ns[at];
            }
            later += any;
            expect_bindings(r.engine, &r.shared);
        }
        end_run(&r);
    }
    cr_expect_gt(later, CASES / 4);
}
