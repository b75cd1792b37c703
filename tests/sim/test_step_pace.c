/* Steps in the long run, and steps that ranks begin one after the other. */
#include "sim/step.h"
#include "tests/sim/random_sched.h"

enum { MAX_RANKS = 16, STAGES = 64, LONG = 300 };

struct bench {
    struct pp_sched *s;
    struct pp_eval *eval;
    struct pp_step *step;
    struct pp_trace trace;
    int64_t f[STAGES], i[STAGES], w[STAGES], b[STAGES], p2p[STAGES], unshard[STAGES],
        reduce[STAGES];
    int64_t optimizer[MAX_RANKS];
    struct pp_costs costs;
    struct pp_step_inputs in;
};

static void bench_init(struct bench *x, struct pp_sched *s, uint64_t *seed, bool collectives) {
    struct pp_err err = {0};
    cr_assert(s->sealed || pp_sched_seal(s, &err) == PP_OK, "%s", err.message);
    x->s = s;
    cr_assert_eq(pp_eval_create(s, &x->eval, NULL, &err), PP_OK);
    cr_assert_eq(pp_step_create(s, &x->step, &err), PP_OK);
    cr_assert_eq(pp_trace_init(&x->trace, s, &err), PP_OK);
    for (int32_t k = 0; k < STAGES; k++) {
        x->f[k] = random_below(seed, 100);
        x->i[k] = random_below(seed, 100);
        x->w[k] = random_below(seed, 100);
        x->b[k] = random_below(seed, 200);
        x->p2p[k] = random_below(seed, 30);
        x->unshard[k] = collectives ? random_below(seed, 50) : 0;
        x->reduce[k] = collectives ? random_below(seed, 90) : 0;
    }
    for (int32_t r = 0; r < MAX_RANKS; r++) {
        x->optimizer[r] = collectives ? random_below(seed, 70) : 40;
    }
    x->costs = (struct pp_costs){.f_ns = x->f,
                                 .i_ns = x->i,
                                 .w_ns = x->w,
                                 .b_ns = x->b,
                                 .recv_f_ns = x->p2p,
                                 .recv_b_ns = x->p2p};
    x->in = (struct pp_step_inputs){.flush_count = 1,
                                    .unshard_ns = x->unshard,
                                    .reduce_ns = x->reduce,
                                    .optimizer_ns = x->optimizer};
}

static void bench_deinit(struct bench *x) {
    pp_trace_deinit(&x->trace);
    pp_step_destroy(x->step);
    pp_eval_destroy(x->eval);
    pp_sched_destroy(x->s);
}

static int64_t pace_of(struct bench *x) {
    struct pp_err err = {0};
    int64_t pace;
    cr_assert_eq(pp_step_pace(x->step, x->eval, &x->costs, &x->in, &x->trace, &pace, &err), PP_OK,
                 "%s", err.message);
    return pace;
}

/* A step that begins with ranks at `begin`; then those of the next. */
static struct pp_step_times step_from(struct bench *x, int64_t *begin) {
    struct pp_err err = {0};
    struct pp_step_times t;
    struct pp_step_inputs in = x->in;
    in.begin_ns = begin;
    cr_assert_eq(pp_step_run(x->step, x->eval, &x->costs, &in, &x->trace, &t, &err), PP_OK);
    memcpy(begin, pp_step_done_ns(x->step), (size_t)x->s->rank_count * sizeof *begin);
    return t;
}

Test(sim_step_pace, is_what_many_steps_take_on_average) {
    uint64_t seed = 31;
    for (int32_t k = 0; k < 400; k++) {
        struct bench x;
        bench_init(&x, draw_schedule(&seed), &seed, k % 2 == 0);
        x.in.barrier = k % 3 == 0;
        x.in.flush_count = 1 + k % 4;
        int64_t pace = pace_of(&x);
        int64_t begin[MAX_RANKS] = {0};
        int64_t half = 0;
        for (int32_t i = 0; i < LONG; i++) {
            half = i == LONG / 2 ? begin[0] : half;
            step_from(&x, begin);
        }
        int64_t average = pp_div_round_i64(begin[0] - half, LONG / 2);
        cr_assert_leq(llabs(pace - average), 1 + pace / 100, "case %d: %lld, on average %lld", k,
                      (long long)pace, (long long)average);
        bench_deinit(&x);
    }
}

/* The evaluation of a flush that begins in a slant, times flush_count, is a repeated schedule's. */
Test(sim_step_pace, a_step_may_begin_in_a_slant) {
    uint64_t seed = 32;
    for (int32_t k = 0; k < 400; k++) {
        struct bench x;
        struct pp_err err = {0};
        bench_init(&x, draw_schedule(&seed), &seed, false);
        x.in.flush_count = 1 + k % 5;
        int64_t begin[MAX_RANKS];
        for (int32_t r = 0; r < MAX_RANKS; r++) {
            begin[r] = random_below(&seed, 2000);
        }
        struct pp_sched *all = NULL;
        struct pp_eval *eval = NULL;
        struct pp_trace trace;
        cr_assert_eq(pp_sched_repeat(x.s, (int32_t)x.in.flush_count, &all, &err), PP_OK);
        cr_assert_eq(pp_eval_create(all, &eval, NULL, &err), PP_OK);
        cr_assert_eq(pp_trace_init(&trace, all, &err), PP_OK);
        const struct pp_eval_inputs in = {.costs = &x.costs, .begin_ns = begin};
        cr_assert_eq(pp_eval_run_with(eval, &in, &trace, &err), PP_OK);
        int64_t last = 0;
        for (int32_t at = 0; at < all->action_count; at++) {
            last = pp_max_i64(last, trace.end_ns[at]);
        }
        struct pp_step_times t = step_from(&x, begin);
        cr_assert_eq(t.flushes_ns, last);
        cr_assert_eq(t.step_ns, last + 40);
        pp_trace_deinit(&trace);
        pp_eval_destroy(eval);
        pp_sched_destroy(all);
        bench_deinit(&x);
    }
}

/* Without a barrier a zero-bubble schedule pays its slant once: the span counts, not the makespan.
 */
Test(sim_step_pace, without_a_barrier_only_the_span_counts) {
    uint64_t seed = 33;
    struct pp_err err = {0};
    const struct pp_schedule_info *info;
    cr_assert_eq(pp_schedule_find("ZBH2", &info, &err), PP_OK);
    const struct pp_gen_config config = {
        .rank_count = 4, .stages_per_rank = 1, .microbatch_count = 12};
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_schedule_generate(info, &config, &s, &err), PP_OK);
    struct bench x;
    bench_init(&x, s, &seed, false);
    for (int32_t k = 0; k < 4; k++) {
        x.f[k] = x.i[k] = x.w[k] = 1000;
        x.p2p[k] = 0;
    }
    cr_assert_eq(pace_of(&x), 12 * 3000 + 40);
    x.in.barrier = true;
    cr_assert_eq(pace_of(&x), (12 + 1) * 3000 + 40);
    bench_deinit(&x);
}
