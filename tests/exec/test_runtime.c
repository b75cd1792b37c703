/* Running schedules with the workload that only lets time pass: the trace must keep every order,
 * and can take longer than simulated, never shorter. */
#include "exec/spin.h"
#include "sim/eval.h"
#include "sim/generate.h"
#include "sim/metrics.h"
#include "sim/schedule_csv.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT_NS = 100000, MAX_STAGES = 16 };

static struct pp_sched *make_schedule(const struct pp_schedule_info *info, int32_t p, int32_t m) {
    struct pp_gen_config c = {
        .rank_count = p, .stages_per_rank = info->default_stages_per_rank, .microbatch_count = m};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_generate(info, &c, &s, &err), PP_OK, "%s", err.message);
    return s;
}

static int64_t simulated_ns(const struct pp_sched *s, const int64_t *ns) {
    struct pp_costs costs = {.f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns};
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_metrics metrics;
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(e, &costs, &t, NULL), PP_OK);
    pp_metrics_of(&t, &metrics, NULL);
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
    return metrics.makespan_ns;
}

/* Every action lasts, follows its rank's previous one and the action that makes its input. */
static void expect_order(const struct pp_trace *t, const int64_t *duration_ns) {
    const struct pp_sched *s = t->sched;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            cr_assert_geq(t->end_ns[at] - t->start_ns[at], duration_ns[at]);
            cr_assert(at == s->rank_begin[rank] || t->start_ns[at] >= t->end_ns[at - 1]);
            int32_t producer = s->producer[at];
            cr_assert(producer < 0 || t->start_ns[at] >= t->end_ns[producer]);
        }
    }
}

Test(runtime, every_schedule_runs_in_its_order) {
    int64_t ns[MAX_STAGES];
    for (int i = 0; i < MAX_STAGES; i++) {
        ns[i] = UNIT_NS;
    }
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        struct pp_sched *s = make_schedule(pp_schedule_at(i), 4, 8);
        int64_t *duration_ns = malloc((size_t)s->action_count * sizeof *duration_ns);
        for (int32_t at = 0; at < s->action_count; at++) {
            duration_ns[at] = UNIT_NS;
        }
        struct pp_err err = {0};
        struct pp_spin spin;
        struct pp_trace t;
        struct pp_metrics metrics;
        cr_assert_eq(pp_spin_init(&spin, s, duration_ns, &err), PP_OK);
        cr_assert_eq(pp_trace_init(&t, s, &err), PP_OK);
        if (pp_schedule_at(i)->offloads) {
            cr_assert_eq(pp_exec_run(s, &pp_spin_ops, &spin, &t, &err), PP_E_ARG);
            cr_assert_not_null(strstr(err.message, "offloads"), "%s", err.message);
            pp_trace_deinit(&t);
            pp_spin_deinit(&spin);
            free(duration_ns);
            pp_sched_destroy(s);
            continue;
        }
        cr_assert_eq(pp_exec_run(s, &pp_spin_ops, &spin, &t, &err), PP_OK, "%s", err.message);
        expect_order(&t, duration_ns);
        pp_metrics_of(&t, &metrics, NULL);
        cr_expect_geq(metrics.makespan_ns, simulated_ns(s, ns), "%s", pp_schedule_at(i)->name);
        pp_trace_deinit(&t);
        pp_spin_deinit(&spin);
        free(duration_ns);
        pp_sched_destroy(s);
    }
}

static struct pp_sched *parse(const char *text) {
    struct pp_csv_expect any = {0};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_csv_parse("x.csv", text, strlen(text), &any, &s, &err), PP_OK, "%s",
                 err.message);
    return s;
}

Test(runtime, a_deadlock_is_reported_not_waited_for) {
    struct pp_sched *s = parse("0F0,0B0,0F1,0B1\n1F0,1F1,1B0,1B1\n");
    int64_t duration_ns[8] = {0};
    struct pp_err err = {0};
    struct pp_spin spin;
    struct pp_trace t;
    cr_assert_eq(pp_spin_init(&spin, s, duration_ns, &err), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, &err), PP_OK);
    cr_assert_eq(pp_exec_run(s, &pp_spin_ops, &spin, &t, &err), PP_E_DEADLOCK);
    cr_assert_str_eq(err.message, "rank 0 waits in 0B0 for 1B0 of rank 1, which cannot run");
    pp_trace_deinit(&t);
    pp_spin_deinit(&spin);
    pp_sched_destroy(s);
}

/* A pair is entered as one, so a part that needs the other's effect on another rank never runs:
 * what the evaluator calls a deadlock is one here, too. */
Test(runtime, a_pair_waits_for_the_inputs_of_both_parts) {
    struct pp_sched *s = parse("(0F0;0B0)OVERLAP_F_B\n1F0,1B0\n");
    int64_t duration_ns[4] = {0};
    struct pp_err err = {0};
    struct pp_eval *e = NULL;
    struct pp_spin spin;
    struct pp_trace t;
    cr_assert_eq(pp_eval_create(s, &e, NULL, &err), PP_E_DEADLOCK);
    cr_assert_eq(pp_spin_init(&spin, s, duration_ns, &err), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, &err), PP_OK);
    cr_assert_eq(pp_exec_run(s, &pp_spin_ops, &spin, &t, &err), PP_E_DEADLOCK);
    cr_assert_str_eq(err.message, "rank 0 waits in 0F0 for 1B0 of rank 1, which cannot run");
    pp_trace_deinit(&t);
    pp_spin_deinit(&spin);
    pp_sched_destroy(s);
}

/* A backend of our own: time is a counter, and one action can be told to fail. */
struct counted {
    int64_t now_ns;
    int32_t fails_at; /* -1: none */
    int32_t started, idled;
    int64_t until_ns[64];
};

static int64_t counted_now(void *context) {
    return ((struct counted *)context)->now_ns;
}

static enum pp_status counted_start(void *context, const struct pp_sched *s, int32_t index,
                                    struct pp_err *err) {
    struct counted *c = context;
    if (index == c->fails_at) {
        char text[PP_ACTION_TEXT_BYTES];
        return pp_fail(err, PP_E_ENV, "%s failed", pp_action_text(&s->actions[index], text));
    }
    c->until_ns[index] = c->now_ns + 1000;
    c->started++;
    return PP_OK;
}

static bool counted_done(void *context, const struct pp_sched *s, int32_t index) {
    (void)s;
    struct counted *c = context;
    return c->now_ns >= c->until_ns[index];
}

static void counted_idle(void *context) {
    struct counted *c = context;
    c->now_ns += 1000;
    c->idled++;
}

static const struct pp_compute_ops counted_ops = {.api = PP_COMPUTE_API,
                                                  .name = "counted",
                                                  .now_ns = counted_now,
                                                  .start = counted_start,
                                                  .done = counted_done,
                                                  .idle = counted_idle};

Test(runtime, with_a_perfect_clock_the_run_is_the_simulation) {
    int64_t ns[] = {1000, 1000, 1000};
    struct pp_sched *s = make_schedule(pp_schedule_at(1), 3, 4);
    struct counted c = {.fails_at = -1};
    struct pp_trace t;
    struct pp_metrics metrics;
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_exec_run(s, &counted_ops, &c, &t, NULL), PP_OK);
    cr_assert_eq(c.started, s->action_count);
    pp_metrics_of(&t, &metrics, NULL);
    cr_assert_eq(metrics.makespan_ns, simulated_ns(s, ns));
    pp_trace_deinit(&t);
    pp_sched_destroy(s);
}

Test(runtime, a_failing_action_ends_the_run_with_its_status) {
    struct pp_sched *s = parse("0F0,0F1,0B0,0B1\n,1F0,1B0,1F1,1B1\n");
    struct counted c = {.fails_at = 5};
    struct pp_trace t;
    struct pp_err err = {0};
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_exec_run(s, &counted_ops, &c, &t, &err), PP_E_ENV);
    cr_assert_str_eq(err.message, "1B0 failed");
    pp_trace_deinit(&t);
    pp_sched_destroy(s);
}
