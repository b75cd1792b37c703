/* An order under construction is timed as pp_eval times the schedule it becomes; W's placed anew
 * keep the order of F and I, and the limit. */
#include "sim/gen_order.h"
#include "sim/memory.h"
#include "sim/metrics.h"
#include "tests/sim/sim_support.h"

enum { MOST_STAGES = 64 };

struct random_costs {
    int64_t f[MOST_STAGES], i[MOST_STAGES], w[MOST_STAGES], b[MOST_STAGES];
    int64_t recv_f[MOST_STAGES], recv_b[MOST_STAGES];
    int64_t adds[MOST_STAGES], i_frees[MOST_STAGES], w_frees[MOST_STAGES];
    struct pp_gen_costs gen;
};

static void draw_costs(struct random_costs *c, uint64_t *state) {
    for (int32_t stage = 0; stage < MOST_STAGES; stage++) {
        c->f[stage] = 500 + random_below(state, 1000);
        c->i[stage] = 500 + random_below(state, 1000);
        c->w[stage] = 200 + random_below(state, 1000);
        c->b[stage] = c->i[stage] + c->w[stage];
        c->recv_f[stage] = random_below(state, 400);
        c->recv_b[stage] = random_below(state, 400);
        c->w_frees[stage] = 1 + random_below(state, 9);
        c->i_frees[stage] = random_below(state, 9);
        c->adds[stage] = c->w_frees[stage] + c->i_frees[stage];
    }
    c->gen = (struct pp_gen_costs){.times = {.f_ns = c->f,
                                             .i_ns = c->i,
                                             .w_ns = c->w,
                                             .b_ns = c->b,
                                             .recv_f_ns = c->recv_f,
                                             .recv_b_ns = c->recv_b},
                                   .f_adds = c->adds,
                                   .i_frees = c->i_frees,
                                   .w_frees = c->w_frees};
}

static void push_all(struct pp_order *o, const struct pp_sched *s) {
    for (int32_t i = 0; i < s->action_count; i++) {
        pp_order_push(o, s->actions[i].type, s->actions[i].stage, s->actions[i].microbatch);
    }
}

/* The order `o`, emitted, has the times, span and peaks that `o` says, in the model's unit. */
static void expect_same(const struct pp_order *o, const char *name,
                        const struct pp_schedule_info *info, const struct pp_gen_config *config,
                        const struct random_costs *c) {
    const struct pp_gen_model *m = o->model;
    const struct pp_costs times = {.f_ns = m->f_ns,
                                   .i_ns = m->i_ns,
                                   .w_ns = m->w_ns,
                                   .b_ns = m->b_ns,
                                   .recv_f_ns = m->recv_f_ns,
                                   .recv_b_ns = m->recv_b_ns};
    struct pp_sched *s = NULL;
    struct pp_eval *eval = NULL;
    struct pp_trace trace;
    struct pp_metrics metrics;
    struct pp_rank_memory peaks[MOST_STAGES];
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_begin(info, config, &s, &err), PP_OK);
    cr_assert_eq(pp_order_emit(o, s, &err), PP_OK, "%s: %s", name, err.message);
    cr_assert_eq(pp_sched_seal(s, &err), PP_OK, "%s: %s", name, err.message);
    cr_assert_eq(pp_eval_create(s, &eval, NULL, &err), PP_OK, "%s: %s", name, err.message);
    cr_assert_eq(pp_trace_init(&trace, s, &err), PP_OK);
    cr_assert_eq(pp_eval_run(eval, &times, &trace, &err), PP_OK);
    pp_metrics_of(&trace, &metrics, NULL);
    struct pp_memory_model memory = {
        .f_adds = c->adds, .i_frees = c->i_frees, .w_frees = c->w_frees};
    pp_memory_peaks(s, &memory, peaks);
    cr_expect_eq(o->makespan, metrics.makespan_ns, "%s", name);
    cr_expect_eq(o->span, metrics.span_ns, "%s", name);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        cr_expect_eq(o->peak[rank], peaks[rank].peak, "%s rank %d", name, rank);
        for (int32_t i = 0; i < o->count[rank]; i++) {
            cr_assert_eq(o->start[o->begin[rank] + i], trace.start_ns[s->rank_begin[rank] + i],
                         "%s rank %d op %d", name, rank, i);
        }
    }
    pp_trace_deinit(&trace);
    pp_eval_destroy(eval);
    pp_sched_destroy(s);
}

static void check_schedule(const char *name, int32_t p, int32_t v, int32_t m, uint64_t *state) {
    const struct pp_schedule_info *info = find_schedule(name);
    struct pp_gen_config config = {
        .rank_count = p, .stages_per_rank = v, .microbatch_count = m, .costs = NULL};
    struct random_costs c;
    draw_costs(&c, state);
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_generate(info, &config, &s, &err), PP_OK);
    config.costs = &c.gen;
    struct pp_gen_model model;
    struct pp_order o, again;
    cr_assert_eq(pp_gen_model_init(&model, &config, s, &err), PP_OK);
    cr_assert_eq(pp_order_init(&o, s, &model, &err), PP_OK);
    cr_assert_eq(pp_order_init(&again, s, &model, &err), PP_OK);
    push_all(&o, s);
    cr_assert(pp_order_time(&o), "%s", name);
    expect_same(&o, name, info, &config, &c);
    memcpy(again.limit, o.peak, (size_t)p * sizeof *again.limit);
    for (int32_t eighths = 1; eighths <= 8; eighths++) {
        struct pp_order_fill fill = {.eighths = eighths,
                                     .level_idle = eighths % 2 == 0,
                                     .keep = eighths > 4,
                                     .keep_f = random_below(state, m)};
        cr_assert(pp_order_refill(&o, &fill, &again), "%s", name);
        cr_expect(pp_order_fits(&again), "%s", name);
        expect_same(&again, name, info, &config, &c);
    }
    struct pp_order best;
    cr_assert_eq(pp_order_init(&best, s, &model, &err), PP_OK);
    best.most_makespan = o.makespan;
    best.most_span = o.span - 1;
    pp_order_keep_better(&best, &o);
    cr_expect_eq(best.makespan, INT64_MAX, "%s: longer than allowed", name);
    best.most_span = INT64_MAX;
    best.most_makespan = INT64_MAX;
    pp_order_keep_refilled(&o, &again, &best);
    cr_expect_lt(best.makespan, INT64_MAX, "%s", name);
    expect_same(&best, name, info, &config, &c);
    pp_order_deinit(&o);
    pp_order_deinit(&again);
    pp_order_deinit(&best);
    pp_gen_model_deinit(&model);
    pp_sched_destroy(s);
}

Test(gen_order, is_timed_as_the_schedule_it_becomes) {
    uint64_t state = 3;
    for (int32_t p = 1; p <= 9; p++) {
        for (int32_t round = 0; round < 4; round++) {
            int32_t m = 1 + random_below(&state, 3 * p);
            check_schedule("ZBVZeroBubble", p, 2, m, &state);
            check_schedule("1F1B", p, 1, p + m, &state);
            check_schedule("InterleavedZeroBubble", p, 3, p * (1 + m / p), &state);
        }
    }
}

/* A search sees the same costs whatever they are multiplied by, and their ratios. */
Test(gen_order, the_model_is_the_costs_in_a_unit_of_its_own) {
    uint64_t state = 4;
    const struct pp_schedule_info *info = find_schedule("ZBVZeroBubble");
    for (int k = 0; k < 50; k++) {
        struct random_costs c;
        struct pp_gen_config config = {
            .rank_count = 4, .stages_per_rank = 2, .microbatch_count = 4, .costs = &c.gen};
        draw_costs(&c, &state);
        struct pp_sched *s = NULL;
        struct pp_gen_model one, many;
        cr_assert_eq(pp_schedule_generate(info, &config, &s, NULL), PP_OK);
        cr_assert_eq(pp_gen_model_init(&one, &config, s, NULL), PP_OK);
        int64_t *const columns[] = {c.f, c.i, c.w, c.b, c.recv_f, c.recv_b};
        int64_t factor = 1 + random_below(&state, 1000000);
        for (int32_t stage = 0; stage < s->stage_count; stage++) {
            cr_expect_eq((__int128)one.i_ns[stage] * c.f[0], (__int128)one.f_ns[0] * c.i[stage]);
            cr_expect_eq((__int128)one.w_ns[stage] * c.f[0], (__int128)one.f_ns[0] * c.w[stage]);
        }
        for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
            for (int32_t stage = 0; stage < MOST_STAGES; stage++) {
                columns[i][stage] *= factor;
            }
        }
        cr_assert_eq(pp_gen_model_init(&many, &config, s, NULL), PP_OK);
        size_t bytes = (size_t)s->stage_count * sizeof *one.f_ns;
        cr_expect_eq(memcmp(one.f_ns, many.f_ns, bytes), 0);
        cr_expect_eq(memcmp(one.i_ns, many.i_ns, bytes), 0);
        cr_expect_eq(memcmp(one.w_ns, many.w_ns, bytes), 0);
        cr_expect_eq(memcmp(one.recv_f_ns, many.recv_f_ns, bytes), 0);
        cr_expect_eq(memcmp(one.recv_b_ns, many.recv_b_ns, bytes), 0);
        pp_gen_model_deinit(&one);
        pp_gen_model_deinit(&many);
        pp_sched_destroy(s);
    }
}

Test(gen_order, a_circle_is_no_order) {
    int32_t stage_rank[] = {0, 1};
    struct pp_gen_config config = {.rank_count = 2, .stages_per_rank = 1, .microbatch_count = 1};
    struct pp_sched *s = NULL;
    struct pp_gen_model model;
    struct pp_order o;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_create(2, 2, 1, stage_rank, &s, &err), PP_OK);
    cr_assert_eq(pp_gen_model_init(&model, &config, s, &err), PP_OK);
    cr_assert_eq(pp_order_init(&o, s, &model, &err), PP_OK);
    pp_order_push(&o, PP_F, 0, 0);
    pp_order_push(&o, PP_B, 0, 0);
    pp_order_push(&o, PP_B, 1, 0);
    pp_order_push(&o, PP_F, 1, 0);
    cr_expect_not(pp_order_time(&o));
    pp_order_deinit(&o);
    pp_gen_model_deinit(&model);
    pp_sched_destroy(s);
}
