/* The largest schedules, the longest costs, and nothing at all: a clear answer or a clear refusal.
 * Counts are those of the headers, also in slow builds, so there is one case each. */
#include "sim/batch.h"
#include "sim/metrics.h"
#include "sim/step.h"
#include "sim/vary.h"
#include "tests/sim/lower_support.h"

/* One figure for every stage. */
static int64_t *column(int32_t stages, int64_t ns) {
    int64_t *figures = malloc((size_t)stages * sizeof *figures);
    for (int32_t stage = 0; stage < stages; stage++) {
        figures[stage] = ns;
    }
    return figures;
}

static struct pp_costs all_of(const int64_t *ns) {
    return (struct pp_costs){.f_ns = ns,
                             .i_ns = ns,
                             .w_ns = ns,
                             .b_ns = ns,
                             .recv_f_ns = ns,
                             .recv_b_ns = ns,
                             .offload_ns = ns};
}

static struct pp_metrics evaluate(const struct pp_sched *s, const struct pp_costs *costs) {
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_metrics metrics;
    struct pp_err err = {0};
    cr_assert_eq(pp_eval_create(s, &e, NULL, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(e, costs, &t, &err), PP_OK, "%s", err.message);
    pp_metrics_of(&t, &metrics, NULL);
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
    return metrics;
}

/* ---- counts ---- */

Test(limits, a_million_microbatches) {
    int32_t m = PP_SCHED_MAX_MICROBATCHES;
    struct pp_sched *s = make_schedule("1F1B", 2, 1, m);
    cr_assert_eq(s->action_count, 4 * m);
    int64_t *longest = column(2, PP_COST_MAX_NS);
    struct pp_costs costs = all_of(longest);
    costs.recv_f_ns = costs.recv_b_ns = NULL;
    struct pp_metrics metrics = evaluate(s, &costs);
    cr_assert_eq(metrics.makespan_ns, 2 * (int64_t)(m + 1) * PP_COST_MAX_NS);
    cr_assert_eq(metrics.max_busy_ns, 2 * (int64_t)m * PP_COST_MAX_NS);
    free(longest);
    pp_sched_destroy(s);
}

Test(limits, one_more_than_a_million_is_refused) {
    struct pp_gen_config config = {
        .rank_count = 2, .stages_per_rank = 1, .microbatch_count = PP_SCHED_MAX_MICROBATCHES + 1};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_generate(find_schedule("1F1B"), &config, &s, &err), PP_E_RANGE);
    cr_assert_not_null(strstr(err.message, "1048576"), "%s", err.message);
    config.microbatch_count = 8;
    config.rank_count = PP_SCHED_MAX_RANKS + 1;
    cr_assert_eq(pp_schedule_generate(find_schedule("1F1B"), &config, &s, &err), PP_E_RANGE);
    cr_assert_not_null(strstr(err.message, "4096"), "%s", err.message);
    config.rank_count = config.microbatch_count = PP_SCHED_MAX_RANKS; /* 2^25 actions */
    cr_assert_eq(pp_schedule_generate(find_schedule("1F1B"), &config, &s, &err), PP_E_RANGE);
    cr_assert_not_null(strstr(err.message, "16777216"), "%s", err.message);
    cr_assert_null(s);
}

Test(limits, four_thousand_ranks) {
    int32_t p = PP_SCHED_MAX_RANKS;
    struct pp_sched *s = make_schedule("GPipe", p, 1, 16);
    int64_t *unit = column(p, 1000);
    struct pp_costs costs = all_of(unit);
    costs.b_ns = column(p, 2000);
    costs.recv_f_ns = costs.recv_b_ns = NULL;
    cr_assert_eq(evaluate(s, &costs).makespan_ns, (int64_t)(16 + p - 1) * 3000);
    free((void *)costs.b_ns);
    free(unit);
    pp_sched_destroy(s);
}

Test(limits, as_many_actions_as_there_may_be) {
    struct pp_sched *s = make_schedule("GPipe", 8, 1, PP_SCHED_MAX_MICROBATCHES);
    cr_assert_eq(s->action_count, PP_SCHED_MAX_ACTIONS);
    int64_t *longest = column(8, PP_COST_MAX_NS);
    struct pp_costs costs = all_of(longest);
    struct pp_metrics metrics = evaluate(s, &costs);
    int64_t m = PP_SCHED_MAX_MICROBATCHES;
    cr_assert_eq(metrics.makespan_ns, (2 * (m + 7) + 14) * PP_COST_MAX_NS);
    free(longest);
    pp_sched_destroy(s);
}

/* ---- costs ---- */

Test(limits, one_action_at_a_time) {
    struct pp_sched *s = make_schedule("1F1B", 1, 1, 1);
    cr_assert_eq(s->action_count, 2);
    int64_t none[] = {0};
    int64_t longest[] = {PP_COST_MAX_NS};
    struct pp_costs costs = all_of(none);
    struct pp_metrics metrics = evaluate(s, &costs);
    cr_assert_eq(metrics.makespan_ns, 0);
    cr_assert(metrics.bubble_ratio == 0 && metrics.span_bubble_ratio == 0 &&
              metrics.over_ideal_ratio == 0);
    costs = all_of(longest);
    cr_assert_eq(evaluate(s, &costs).makespan_ns, 2 * PP_COST_MAX_NS);
    pp_sched_destroy(s);
}

Test(limits, nothing_takes_any_time_in_any_schedule) {
    for (int32_t k = 0; k < pp_schedule_count(); k++) {
        const struct pp_schedule_info *info = pp_schedule_at(k);
        struct pp_sched *s = make_schedule(info->name, 4, info->default_stages_per_rank, 8);
        int64_t *none = column(s->stage_count, 0);
        struct pp_costs costs = all_of(none);
        cr_assert_eq(evaluate(s, &costs).makespan_ns, 0, "%s", info->name);
        int64_t *longest = column(s->stage_count, PP_COST_MAX_NS);
        costs = all_of(longest);
        int64_t makespan = evaluate(s, &costs).makespan_ns;
        cr_assert(makespan >= 16 * PP_COST_MAX_NS &&
                      makespan <= 2 * (int64_t)s->action_count * PP_COST_MAX_NS,
                  "%s", info->name);
        free(none);
        free(longest);
        pp_sched_destroy(s);
    }
}

/* Begins as late as may be, all else as long as may be. */
Test(limits, ranks_that_begin_in_a_century) {
    struct pp_sched *s = make_schedule("ZBH1", 4, 1, 8);
    int64_t *longest = column(4, PP_COST_MAX_NS);
    int64_t begin[] = {INT64_MAX / 4, 0, INT64_MAX / 4, 1};
    struct pp_costs costs = all_of(longest);
    struct pp_eval_inputs in = {.costs = &costs, .begin_ns = begin};
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_err err = {0};
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run_with(e, &in, &t, &err), PP_OK, "%s", err.message);
    cr_assert_eq(t.start_ns[0], INT64_MAX / 4);
    begin[1] = INT64_MAX / 4 + 1;
    cr_assert_eq(pp_eval_run_with(e, &in, &t, &err), PP_E_RANGE);
    cr_assert_not_null(strstr(err.message, "rank 1"), "%s", err.message);
    begin[1] = -1;
    cr_assert_eq(pp_eval_run_with(e, &in, &t, &err), PP_E_RANGE);
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
    free(longest);
    pp_sched_destroy(s);
}

/* ---- the same through batches, steps and samples ---- */

static void expect_batch(const struct pp_sched *s, const struct pp_costs *costs, int64_t makespan) {
    struct pp_batch *b = NULL;
    struct pp_batch_result results[3];
    const struct pp_costs sets[] = {*costs, *costs, *costs};
    struct pp_err err = {0};
    cr_assert_eq(pp_batch_create(s, PP_SIMD_BEST, &b, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_batch_run(b, sets, 3, results, &err), PP_OK, "%s", err.message);
    for (int32_t k = 0; k < 3; k++) {
        cr_assert_eq(results[k].makespan_ns, makespan);
    }
    pp_batch_destroy(b);
}

static void expect_sample(const struct pp_sched *s, const struct pp_costs *costs,
                          int64_t makespan) {
    struct pp_vary none = {.seed = 1};
    struct pp_vary_sampling once = {.sample_count = 1, .thread_count = 1};
    struct pp_vary_figures figures;
    int64_t sample = 0;
    struct pp_err err = {0};
    cr_assert_eq(pp_vary_run(s, costs, &none, &once, &figures, &sample, &err), PP_OK, "%s",
                 err.message);
    cr_assert(sample == makespan && figures.mean_ns == makespan && figures.steady_ns == makespan);
}

static void expect_step(const struct pp_sched *s, const struct pp_costs *costs, int64_t makespan) {
    struct pp_step_inputs once = {.flush_count = 1};
    struct pp_step_times times;
    struct pp_step *step = NULL;
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_err err = {0};
    cr_assert_eq(pp_step_create(s, &step, &err), PP_OK);
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_step_run(step, e, costs, &once, &t, &times, &err), PP_OK, "%s", err.message);
    cr_assert_eq(times.step_ns, makespan);
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
    pp_step_destroy(step);
}

Test(limits, batches_steps_and_samples_of_the_largest) {
    const struct {
        int32_t p, m;
        const char *name;
        int64_t ns;
    } rows[] = {{2, PP_SCHED_MAX_MICROBATCHES / CASE_STEP, "1F1B", PP_COST_MAX_NS},
                {PP_SCHED_MAX_RANKS, 3, "GPipe", PP_COST_MAX_NS},
                {1, 1, "1F1B", PP_COST_MAX_NS},
                {1, 1, "1F1B", 0}};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        struct pp_sched *s = make_schedule(rows[k].name, rows[k].p, 1, rows[k].m);
        int64_t *ns = column(rows[k].p, rows[k].ns);
        struct pp_costs costs = all_of(ns);
        costs.recv_f_ns = costs.recv_b_ns = NULL;
        int64_t makespan = 2 * (int64_t)(rows[k].m + rows[k].p - 1) * rows[k].ns;
        cr_assert_eq(evaluate(s, &costs).makespan_ns, makespan);
        expect_batch(s, &costs, makespan);
        expect_sample(s, &costs, makespan);
        expect_step(s, &costs, makespan);
        free(ns);
        pp_sched_destroy(s);
    }
}
