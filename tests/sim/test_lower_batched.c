/* Lowering in batches: transfers in rounds, and runtimes that wait for each batch. */
#include "sim/engine.h"
#include "sim/metrics.h"
#include "tests/sim/lower_support.h"
#include "tests/sim/random_sched.h"

enum { STAGES = 64 };

static int64_t makespan_of(const struct pp_sched *lowered, enum pp_runtime_kind kind, int64_t ns) {
    struct pp_err err = {0};
    struct pp_runtime runtime = pp_runtime_of(kind);
    struct pp_engine *engine = NULL;
    struct pp_trace trace;
    cr_assert_eq(pp_engine_create(lowered, &runtime, &engine, NULL, &err), PP_OK, "%s",
                 err.message);
    cr_assert_eq(pp_trace_init(&trace, lowered, &err), PP_OK);
    int64_t one[STAGES], two[STAGES];
    for (int32_t i = 0; i < STAGES; i++) {
        one[i] = ns;
        two[i] = 2 * ns;
    }
    const struct pp_engine_costs costs = {
        .compute = {.f_ns = one, .i_ns = one, .w_ns = one, .b_ns = two}};
    cr_assert_eq(pp_engine_run(engine, &costs, NULL, &trace, &err), PP_OK, "%s", err.message);
    struct pp_metrics metrics;
    pp_metrics_of(&trace, &metrics, NULL);
    pp_trace_deinit(&trace);
    pp_engine_destroy(engine);
    return metrics.makespan_ns;
}

Test(lower_batched, as_written_down) {
    /* as Megatron's 1F1B: the gradient that comes back crosses with the next forward */
    struct pp_sched *s = make_schedule("1F1B", 2, 1, 3);
    struct pp_sched *lowered = lower(s, PP_LOWER_BATCHED);
    struct pp_text csv = {0};
    cr_assert_eq(pp_sched_csv_write(lowered, &csv, NULL), PP_OK);
    cr_expect_str_eq(csv.bytes,
                     "0UNSHARD,0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0F2,0RECV_B1,0SEND_F2,0B1,"
                     "0RECV_B2,0B2,0REDUCE_GRAD,0RESHARD\r\n"
                     "1UNSHARD,1RECV_F0,1F0,1RECV_F1,1B0,1SEND_B0,1F1,1B1,1SEND_B1,1RECV_F2,1F2,"
                     "1B2,1SEND_B2,1REDUCE_GRAD,1RESHARD\r\n");
    pp_text_free(&csv);
    pp_sched_destroy(lowered);
    pp_sched_destroy(s);
}

/* No batch waits for ever, for any order that does not wait in a cycle by itself. */
Test(lower_batched, runs_where_batches_block) {
    uint64_t seed = 51;
    for (int i = 0; i < 4000; i += CASE_STEP) {
        struct pp_sched *s = draw_offloading_schedule(&seed);
        struct pp_sched *lowered = lower(s, PP_LOWER_BATCHED);
        makespan_of(lowered, PP_RUNTIME_MEGATRON, 100);
        pp_sched_destroy(lowered);
        pp_sched_destroy(s);
    }
}

Test(lower_batched, every_schedule_runs_under_every_runtime_that_it_is_for) {
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        struct pp_gen_config c = {.rank_count = 4,
                                  .stages_per_rank = info->default_stages_per_rank,
                                  .microbatch_count = 16};
        struct pp_sched *s = NULL;
        cr_assert_eq(pp_schedule_generate(info, &c, &s, NULL), PP_OK, "%s", info->name);
        struct pp_sched *batched = lower(s, PP_LOWER_BATCHED);
        int64_t megatron = makespan_of(batched, PP_RUNTIME_MEGATRON, 100);
        int64_t ours = makespan_of(batched, PP_RUNTIME_OURS, 100);
        cr_assert_leq(ours, megatron, "%s", info->name); /* the same list, waiting for less */
        pp_sched_destroy(batched);
        pp_sched_destroy(s);
    }
}

/* With transfers that take no time, 1F1B loses nothing to waiting for batches. */
Test(lower_batched, costs_1f1b_nothing_where_transfers_are_free) {
    for (int32_t p = 2; p <= 8; p *= 2) {
        struct pp_sched *s = make_schedule("1F1B", p, 1, 4 * p);
        struct pp_sched *lowered = lower(s, PP_LOWER_BATCHED);
        cr_assert_eq(makespan_of(lowered, PP_RUNTIME_MEGATRON, 100), 300 * (4 * p + p - 1));
        pp_sched_destroy(lowered);
        pp_sched_destroy(s);
    }
}
