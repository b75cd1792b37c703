/* Causes of lowered traces, under every runtime. */
#include "tests/sim/causes_support.h"
#include "tests/sim/random_lowered.h"
#include "tests/sim/random_memory.h"

static struct lowered_case drawn;
static struct drawn_memory memory;

/* @return microbatches of a flush, 0: there is one */
static int32_t draw_case(uint64_t *seed, int i) {
    int32_t flush = 0;
    struct pp_err err = {0};
    drawn.order = draw_sealed_within(seed, &draw_usual);
    if (i % 3 == 1) {
        struct pp_sched *one = drawn.order;
        flush = one->microbatch_count;
        cr_assert_eq(pp_sched_repeat(one, 2, &drawn.order, &err), PP_OK, "%s", err.message);
        pp_sched_destroy(one);
    }
    draw_lowering(&drawn, seed);
    draw_engine_costs_below(&drawn, 5, seed);
    draw_network(&drawn, seed);
    drawn.network.shared = i % 5 == 0;
    drawn.net = i % 3 > 0 ? &drawn.network : NULL;
    drawn.runtime = pp_runtime_of((enum pp_runtime_kind)(i / 4 % PP_RUNTIME_COUNT));
    if (i % 7 == 0) {
        drawn.runtime.reduce_blocks = !drawn.runtime.reduce_blocks;
    }
    if (i % 11 == 0) {
        drawn.runtime.comms.buffer_count = 1;
    }
    draw_memory(&memory, 4, seed);
    return flush;
}

static void expect_contiguous(const struct pp_trace *t, const struct pp_cause_inputs *in) {
    static int32_t path[1 << 11];
    int32_t n = pp_critical_path(t, in, path, 1 << 11);
    cr_assert(n > 0 && n <= 1 << 11);
    cr_assert_eq(t->start_ns[path[0]], 0);
    for (int32_t k = 1; k < n; k++) {
        cr_assert_eq(t->start_ns[path[k]], t->end_ns[path[k - 1]]);
    }
    for (int32_t at = 0; at < t->sched->action_count; at++) {
        cr_assert_leq(t->end_ns[at], t->end_ns[path[n - 1]]);
        cr_assert(at >= path[n - 1] || t->end_ns[at] < t->end_ns[path[n - 1]]);
    }
}

Test(causes_lowered, equal_those_of_a_slow_second_implementation) {
    struct pp_idle seen = {0};
    uint64_t seed = 41;
    int ran[PP_RUNTIME_COUNT] = {0};
    for (int i = 0; i < 2400; i += CASE_STEP) {
        int32_t flush = draw_case(&seed, i);
        struct pp_engine *e = NULL;
        struct pp_memory_work *work = NULL;
        struct pp_trace t;
        struct pp_err err = {0};
        enum pp_status status = pp_engine_create(drawn.lowered, &drawn.runtime, &e, NULL, &err);
        if (status == PP_E_DEADLOCK) { /* of a lowering under a runtime that it is not for */
            lowered_case_deinit(&drawn);
            continue;
        }
        cr_assert_eq(status, PP_OK, "%s", err.message);
        cr_assert_eq(pp_trace_init(&t, drawn.lowered, NULL), PP_OK);
        cr_assert_eq(pp_memory_work_create(drawn.lowered, &work, NULL), PP_OK);
        cr_assert_eq(pp_engine_run(e, &drawn.costs, drawn.net, &t, &err), PP_OK, "%s", err.message);
        struct pp_cause_inputs in = {
            .binding = pp_engine_binding, .context = e, .flush_microbatches = flush};
        if (i % 4 > 1) {
            in.memory = &memory.model;
            in.limit = memory.limit;
            in.memory_work = i % 8 > 3 ? work : NULL;
        }
        char what[32];
        snprintf(what, sizeof what, "schedule %d", i);
        expect_slow_causes(&t, &in, &seen, what);
        expect_contiguous(&t, &in);
        ran[i / 4 % PP_RUNTIME_COUNT]++;
        pp_memory_work_destroy(work);
        pp_engine_destroy(e);
        pp_trace_deinit(&t);
        lowered_case_deinit(&drawn);
    }
    for (int k = 0; k < PP_CAUSE_COUNT; k++) {
        cr_log_info("%s: %lld ns", pp_cause_text((enum pp_cause)k), (long long)seen.ns[k]);
        cr_assert_gt(seen.ns[k], 100);
    }
    for (int k = 0; k < PP_RUNTIME_COUNT; k++) {
        cr_log_info("%s: %d ran", pp_runtime_text((enum pp_runtime_kind)k), ran[k]);
        cr_assert_gt(ran[k], 200 / CASE_STEP);
    }
}
