/* The engine on random lowered schedules: against pp_eval where nothing but compute takes time, the
 * sweep against the event queue, and what must hold of every trace. */
#include "sim/eval.h"
#include "tests/sim/engine_support.h"

enum { CASES = 3000 / CASE_STEP };

struct random_costs {
    int64_t f[CASE_STAGES], i[CASE_STAGES], w[CASE_STAGES], b[CASE_STAGES], pair[CASE_STAGES];
    int64_t recv_f[CASE_STAGES], recv_b[CASE_STAGES], offload[CASE_STAGES];
    int64_t f_bytes[CASE_STAGES], b_bytes[CASE_STAGES];
    int64_t unshard_ns[CASE_STAGES], unshard_bytes[CASE_STAGES];
    int64_t reduce_ns[CASE_STAGES], reduce_bytes[CASE_STAGES];
    int32_t node[CASE_RANKS], nic[CASE_RANKS];
    struct pp_engine_costs costs;
    struct pp_network net;
};

/* Often 0, mostly small: what ties and what does not. */
static int64_t draw_figure(uint64_t *seed, int32_t most) {
    return random_below(seed, 4) == 0 ? 0 : random_below(seed, most);
}

static void draw_network(struct random_costs *k, uint64_t *seed) {
    int32_t ranks_a_node = 1 + random_below(seed, 4);
    int32_t ranks_a_nic = 1 + random_below(seed, ranks_a_node);
    for (int32_t rank = 0; rank < CASE_RANKS; rank++) {
        k->node[rank] = rank / ranks_a_node * 7 - 3;
        int32_t in_node = rank % ranks_a_node;
        k->nic[rank] = rank - in_node % ranks_a_nic;
    }
    k->net =
        (struct pp_network){.node = k->node,
                            .nic = k->nic,
                            .port_bytes_per_s = BYTE_A_NS * (int64_t)(1 + random_below(seed, 5)),
                            .nic_bytes_per_s = BYTE_A_NS / (1 + random_below(seed, 3)),
                            .collectives_use_port = random_below(seed, 3) == 0};
}

static void draw_all_costs(struct random_costs *k, uint64_t *seed) {
    bool as_one = random_below(seed, 2) == 0;
    for (int32_t s = 0; s < CASE_STAGES; s++) {
        k->f[s] = draw_figure(seed, 100);
        k->i[s] = draw_figure(seed, 100);
        k->w[s] = draw_figure(seed, 100);
        k->b[s] = draw_figure(seed, 200);
        k->pair[s] = draw_figure(seed, 200);
        k->recv_f[s] = draw_figure(seed, 60);
        k->recv_b[s] = draw_figure(seed, 60);
        k->offload[s] = draw_figure(seed, 200);
        k->f_bytes[s] = draw_figure(seed, 100);
        k->b_bytes[s] = draw_figure(seed, 100);
        k->unshard_ns[s] = draw_figure(seed, 40);
        k->unshard_bytes[s] = draw_figure(seed, 100);
        k->reduce_ns[s] = draw_figure(seed, 40);
        k->reduce_bytes[s] = draw_figure(seed, 100);
    }
    k->costs = (struct pp_engine_costs){.compute = {.f_ns = k->f,
                                                    .i_ns = k->i,
                                                    .w_ns = k->w,
                                                    .b_ns = k->b,
                                                    .pair_ns = as_one ? k->pair : NULL,
                                                    .recv_f_ns = k->recv_f,
                                                    .recv_b_ns = k->recv_b,
                                                    .offload_ns = k->offload},
                                        .message_f_bytes = k->f_bytes,
                                        .message_b_bytes = k->b_bytes,
                                        .unshard_ns = k->unshard_ns,
                                        .unshard_bytes = k->unshard_bytes,
                                        .reduce_ns = k->reduce_ns,
                                        .reduce_bytes = k->reduce_bytes};
    draw_network(k, seed);
}

static struct pp_sched *draw_plain(uint64_t *seed) {
    if (random_below(seed, 3) == 0) {
        return draw_offloading_schedule(seed);
    }
    struct pp_sched *s = draw_schedule(seed);
    cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
    return s;
}

static struct pp_sched *draw_lowered(const struct pp_sched *plain, bool any_mode, uint64_t *seed) {
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_sched *lowered = NULL;
    struct pp_err err = {0};
    options.max_active_stages = 1 + random_below(seed, 3);
    options.look_ahead = random_below(seed, 4);
    options.reshard_after_use = random_below(seed, 3) == 0;
    options.reduce_every = random_below(seed, 3);
    if (any_mode && random_below(seed, 3) == 0) {
        options = (struct pp_lower_options)PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_TORCH);
    }
    cr_assert_eq(pp_sched_lower(plain, &options, &lowered, &err), PP_OK, "%s", err.message);
    return lowered;
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

/* Receives in another order than the sends (PyTorch's way) would wait for one another, and the
 * SENDs of a pair that runs part by part stand behind both parts. */
Test(engine_random, without_bytes_it_is_the_evaluation) {
    static struct random_costs k;
    for (int32_t seed = 0; seed < CASES; seed++) {
        uint64_t state = (uint64_t)seed;
        struct pp_sched *plain = draw_plain(&state);
        struct pp_sched *lowered = draw_lowered(plain, false, &state);
        struct pp_engine *engine = NULL;
        struct pp_eval *eval = NULL;
        struct pp_trace t;
        struct pp_trace expected;
        struct pp_err err = {0};
        struct pp_runtime runtime = {
            .comms = {.channels = PP_CHANNELS_DIRECTED, .buffer_count = 1000}};
        draw_all_costs(&k, &state);
        k.costs.compute.pair_ns = k.pair;
        k.costs.message_f_bytes = k.costs.message_b_bytes = NULL;
        k.costs.unshard_ns = k.costs.unshard_bytes = NULL;
        k.costs.reduce_ns = k.costs.reduce_bytes = NULL;
        k.net.shared = random_below(&state, 2) == 0;
        cr_assert_eq(pp_eval_create(plain, &eval, NULL, &err), PP_OK, "%s", err.message);
        cr_assert_eq(pp_engine_create(lowered, &runtime, &engine, NULL, &err), PP_OK, "%s",
                     err.message);
        cr_assert_eq(pp_trace_init(&t, lowered, NULL), PP_OK);
        cr_assert_eq(pp_trace_init(&expected, plain, NULL), PP_OK);
        cr_assert_eq(pp_eval_run(eval, &k.costs.compute, &expected, &err), PP_OK);
        cr_assert_eq(pp_engine_run(engine, &k.costs, &k.net, &t, &err), PP_OK, "%s", err.message);
        expect_same_compute(&t, &expected, seed);
        expect_bindings(engine, &t);
        cr_assert_eq(pp_engine_run_events(engine, &k.costs, &k.net, &t, NULL, &err), PP_OK);
        expect_same_compute(&t, &expected, seed);
        pp_trace_deinit(&t);
        pp_trace_deinit(&expected);
        pp_engine_destroy(engine);
        pp_eval_destroy(eval);
        pp_sched_destroy(lowered);
        pp_sched_destroy(plain);
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

static struct pp_runtime draw_runtime(uint64_t *seed) {
    return (struct pp_runtime){
        .comms = {.channels = (enum pp_channels)random_below(seed, PP_CHANNELS_COUNT),
                  .buffer_count = random_below(seed, 4)},
        .batched = random_below(seed, 4) == 0,
        .reduce_blocks = random_below(seed, 2) == 0};
}

Test(engine_random, the_sweep_and_the_events_agree) {
    static struct random_costs k;
    int32_t ran = 0;
    int32_t batched = 0;
    for (int32_t seed = 0; seed < CASES; seed++) {
        uint64_t state = (uint64_t)seed + 1000000;
        struct pp_sched *plain = draw_plain(&state);
        struct pp_sched *lowered = draw_lowered(plain, true, &state);
        struct pp_engine *engine = NULL;
        struct pp_trace a;
        struct pp_trace b;
        struct pp_err err = {0};
        struct pp_runtime runtime = draw_runtime(&state);
        draw_all_costs(&k, &state);
        enum pp_status status = pp_engine_create(lowered, &runtime, &engine, NULL, &err);
        enum pp_status verdict = pp_check_run(lowered, &runtime.comms, NULL, NULL);
        cr_assert(runtime.batched ? status == PP_OK || status == PP_E_DEADLOCK : status == verdict,
                  "seed %d: %s", seed, err.message);
        if (status == PP_OK) {
            cr_assert_eq(verdict, PP_OK);
            cr_assert_eq(pp_trace_init(&a, lowered, NULL), PP_OK);
            cr_assert_eq(pp_trace_init(&b, lowered, NULL), PP_OK);
            cr_assert_eq(pp_engine_run(engine, &k.costs, &k.net, &a, &err), PP_OK, "%s",
                         err.message);
            expect_bindings(engine, &a);
            cr_assert_eq(pp_engine_run_events(engine, &k.costs, &k.net, &b, NULL, &err), PP_OK);
            expect_same(&a, &b, seed);
            pp_trace_deinit(&a);
            pp_trace_deinit(&b);
            ran++;
            batched += runtime.batched;
        }
        pp_engine_destroy(engine);
        pp_sched_destroy(lowered);
        pp_sched_destroy(plain);
    }
    cr_expect_gt(ran, CASES / 2);
    cr_expect_gt(batched, CASES / 40);
}

/* ---- shared links ---- */

struct run {
    struct pp_sched *plain, *lowered;
    struct pp_engine *engine; /* NULL: a deadlock */
    struct pp_trace alone, shared;
};

static void draw_run(struct run *r, struct random_costs *k, uint64_t *seed) {
    struct pp_err err = {0};
    struct pp_runtime runtime = draw_runtime(seed);
    *r = (struct run){.plain = draw_plain(seed)};
    r->lowered = draw_lowered(r->plain, true, seed);
    draw_all_costs(k, seed);
    if (pp_engine_create(r->lowered, &runtime, &r->engine, NULL, &err) == PP_OK) {
        cr_assert_eq(pp_trace_init(&r->alone, r->lowered, NULL), PP_OK);
        cr_assert_eq(pp_trace_init(&r->shared, r->lowered, NULL), PP_OK);
    }
}

static void run_both(struct run *r, struct random_costs *k) {
    struct pp_err err = {0};
    k->net.shared = false;
    cr_assert_eq(pp_engine_run(r->engine, &k->costs, &k->net, &r->alone, &err), PP_OK, "%s",
                 err.message);
    k->net.shared = true;
    cr_assert_eq(pp_engine_run(r->engine, &k->costs, &k->net, &r->shared, &err), PP_OK, "%s",
                 err.message);
}

static void end_run(struct run *r) {
    if (r->engine != NULL) {
        pp_trace_deinit(&r->alone);
        pp_trace_deinit(&r->shared);
    }
    pp_engine_destroy(r->engine);
    pp_sched_destroy(r->lowered);
    pp_sched_destroy(r->plain);
}

/* Links so wide that every share of them takes one ns for anything. */
Test(engine_random, wide_links_are_as_good_as_none_shared) {
    static struct random_costs k;
    for (int32_t seed = 0; seed < CASES; seed++) {
        uint64_t state = (uint64_t)seed + 2000000;
        struct run r;
        draw_run(&r, &k, &state);
        if (r.engine != NULL) {
            k.net.port_bytes_per_s = k.net.nic_bytes_per_s = PP_LINK_MAX_BYTES_PER_S;
            run_both(&r, &k);
            expect_same(&r.alone, &r.shared, seed);
        }
        end_run(&r);
    }
}

Test(engine_random, sharing_never_makes_anything_earlier) {
    static struct random_costs k;
    int32_t later = 0;
    for (int32_t seed = 0; seed < CASES; seed++) {
        uint64_t state = (uint64_t)seed + 3000000;
        struct run r;
        draw_run(&r, &k, &state);
        if (r.engine != NULL) {
            run_both(&r, &k);
            bool any = false;
            for (int32_t at = 0; at < r.lowered->action_count; at++) {
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
