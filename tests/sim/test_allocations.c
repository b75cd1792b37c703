/* An evaluation allocates nothing, and what it works with stays within its budget: 24 bytes an
 * action for the schedule, 32 for the evaluator with its trace and for a batch. */
#include "sim/batch.h"
#include "tests/count_memory.h"
#include "tests/sim/sim_support.h"

enum { SETS = 3, STAGES = 64 };

static const char *const names[] = {
    "GPipe", "1F1B", "Interleaved1F1B", "InterleavedZeroBubble", "ZBVZeroBubble", "DualPipeV"};
enum { NAMES = sizeof names / sizeof names[0] };

static struct pp_sched *make(int n) {
    int32_t v = find_schedule(names[n])->default_stages_per_rank;
    return make_schedule(names[n], 16, v, 512);
}

static struct pp_costs even_costs(void) {
    static int64_t ns[STAGES];
    for (int i = 0; i < STAGES; i++) {
        ns[i] = 1000 + i;
    }
    return (struct pp_costs){
        .f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns, .recv_f_ns = ns, .recv_b_ns = ns};
}

Test(allocations, an_evaluation_makes_none) {
    struct pp_costs costs[SETS] = {even_costs(), even_costs(), even_costs()};
    struct pp_batch_result results[SETS];
    for (int n = 0; n < NAMES; n++) {
        struct pp_sched *s = make(n);
        struct pp_eval *e = NULL;
        struct pp_batch *b = NULL;
        struct pp_trace t;
        cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
        cr_assert_eq(pp_batch_create(s, PP_SIMD_BEST, &b, NULL), PP_OK);
        cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
        const struct pp_eval_inputs in = {.costs = costs};
        int64_t before = allocation_count;
        cr_assert_gt(before, 0);
        enum pp_status once = pp_eval_run(e, costs, &t, NULL);
        enum pp_status with = pp_eval_run_with(e, &in, &t, NULL);
        enum pp_status many = pp_batch_run(b, costs, SETS, results, NULL);
        int64_t made = allocation_count - before;
        cr_assert(once == PP_OK && with == PP_OK && many == PP_OK);
        cr_assert_eq(made, 0, "%s: %lld allocations", names[n], (long long)made);
        pp_trace_deinit(&t);
        pp_batch_destroy(b);
        pp_eval_destroy(e);
        pp_sched_destroy(s);
    }
}

#ifndef __SANITIZE_ADDRESS__ /* which pads what it hands out */
Test(allocations, bytes_an_action_stay_within_their_budgets) {
    for (int n = 0; n < NAMES; n++) {
        struct pp_eval *e = NULL;
        struct pp_batch *b = NULL;
        struct pp_trace t;
        int64_t begin = live_bytes;
        struct pp_sched *s = make(n);
        double actions = s->action_count;
        double schedule = (double)(live_bytes - begin) / actions;
        begin = live_bytes;
        cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
        cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
        double workspace = (double)(live_bytes - begin) / actions;
        begin = live_bytes;
        cr_assert_eq(pp_batch_create(s, PP_SIMD_BEST, &b, NULL), PP_OK);
        double batch = (double)(live_bytes - begin) / actions;
        cr_expect(schedule > 16 && schedule <= 24, "%s: %.1f", names[n], schedule);
        cr_expect(workspace > 16 && workspace <= 32, "%s: %.1f", names[n], workspace);
        cr_expect(batch > 8 && batch <= 32, "%s: %.1f", names[n], batch);
        pp_trace_deinit(&t);
        pp_batch_destroy(b);
        pp_eval_destroy(e);
        pp_sched_destroy(s);
        cr_expect_lt(live_bytes, begin);
    }
}
#endif
