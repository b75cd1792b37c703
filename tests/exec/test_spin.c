/* Actions that only last: what is measured is what was predicted. */
#include "tests/exec/runtime_support.h"

#include <sched.h>

enum { RANKS = 4, ACTION_NS = 5000000, OTHERS_NS = 1000000, TRIES = 8 };

static struct program_case c;
static struct run r;

static void open_spin(const struct how *how, const int64_t *duration_ns) {
    r = (struct run){.how = *how, .program = c.program};
    for (int32_t i = 0; i < c.program->sched->rank_count; i++) {
        struct pp_spin *spin = NULL;
        cr_assert_eq(pp_spin_create(c.program, duration_ns, &spin, NULL), PP_OK);
        r.contexts[i] = spin;
    }
    run_open_ranks(&r, how->overlaps ? &pp_spin_overlap_ops : &pp_spin_ops);
}

static void close_spin(void) {
    run_close(&r);
    for (int32_t i = 0; i < c.program->sched->rank_count; i++) {
        pp_spin_destroy(r.contexts[i]);
    }
}

static int64_t makespan_ns(void) {
    int64_t end_ns = 0;
    for (int32_t i = 0; i < r.program->sched->action_count; i++) {
        end_ns = pp_max_i64(end_ns, r.trace.end_ns[i]);
    }
    return end_ns;
}

/* By how much the measured makespan misses the predicted one: the best of some tries, as the
 * machine may be busy with other things. */
static double miss(const char *what) {
    double best = 1e9;
    for (int64_t step = 0; step < TRIES && best > 0.03; step++) {
        run_step_well(&r, step, what);
        double took = (double)makespan_ns() / (double)c.program->expected_makespan_ns;
        cr_expect_geq(took, r.how.overlaps ? 0.9 : 0.999,
                      "%s: faster than it can be: %.4f of the prediction", what, took);
        best = took - 1 < best ? took - 1 : best;
    }
    return best;
}

static void make_case(const struct pp_schedule_info *info) {
    for (int32_t m = RANKS; m <= 2 * RANKS; m++) {
        struct pp_gen_config config = {.rank_count = RANKS,
                                       .stages_per_rank = info->default_stages_per_rank,
                                       .microbatch_count = m};
        struct pp_sched *order = NULL;
        if (pp_schedule_generate(info, &config, &order, NULL) == PP_OK) {
            make_timed_case(&c, order, ACTION_NS, OTHERS_NS);
            return;
        }
    }
    cr_assert_fail("%s takes no microbatches", info->name);
}

/* Time can only be kept by who runs when it is due: before others, where the machine lets us. */
static void ask_for_priority(void) {
    const struct sched_param param = {.sched_priority = sched_get_priority_min(SCHED_RR)};
    if (sched_setscheduler(0, SCHED_RR, &param) != 0) {
        cr_log_info("no priority: a busy machine may disturb this test");
    }
}

static void keep_time(bool threads) {
    double worst = 0;
    ask_for_priority();
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        char what[96];
        snprintf(what, sizeof what, "%s, %s", pp_schedule_at(i)->name,
                 threads ? "threads" : "one thread");
        make_case(pp_schedule_at(i));
        open_spin(&(struct how){.threads = threads}, c.program->expected_ns);
        double missed = miss(what);
        cr_expect_leq(missed, 0.03, "%s: %.2f %% above the prediction", what, 100 * missed);
        worst = missed > worst ? missed : worst;
        close_spin();
        program_case_deinit(&c);
    }
    cr_log_info("worst miss %.3f %%", 100 * worst);
}

Test(spin, keeps_the_predicted_time_on_one_thread) {
    keep_time(false);
}

Test(spin, keeps_the_predicted_time_with_threads) {
    keep_time(true);
}

/* A rank is free for what follows a pair when both parts have ended, whichever ends last. */
static void expect_no_place_before_both_ended(void) {
    const struct pp_sched *s = c.lowered;
    int32_t shorter_second = 0;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int64_t free_ns = 0;
        for (int32_t i = s->rank_begin[rank]; i < s->rank_begin[rank + 1]; i++) {
            const struct pp_action *a = &s->actions[i];
            if (pp_action_is_compute(a)) {
                cr_assert(a->pair == 2 || r.trace.queue_ns[i] >= free_ns, "%d", i);
                shorter_second += a->pair == 2 && r.trace.end_ns[i] < free_ns;
                free_ns = pp_max_i64(free_ns, r.trace.end_ns[i]);
            }
        }
    }
    cr_assert_gt(shorter_second, 0);
}

/* Both parts of a pair at once: a pair takes as long as the longer one. Parts whose inputs come at
 * different times start apart, which the prediction does not know: it may be beaten a little. */
Test(spin, keeps_the_predicted_time_of_overlapped_pairs) {
    static int64_t duration_ns[1 << 12];
    ask_for_priority();
    make_case(find_schedule("DualPipeV"));
    for (int32_t i = 0; i < c.lowered->action_count; i++) {
        duration_ns[i] = c.program->expected_ns[i];
    }
    pp_program_destroy(c.program);
    pp_trace_deinit(&c.expected);
    c.costs.compute.pair_ns = c.times[3];
    program_case_expect(&c);
    program_case_create(&c);
    open_spin(&(struct how){.overlaps = true}, duration_ns);
    double missed = miss("DualPipeV, overlapped");
    cr_expect_leq(missed, 0.03, "%.2f %% above the prediction", 100 * missed);
    int32_t together = 0;
    for (int32_t i = 0; i < c.lowered->action_count; i++) {
        together += c.lowered->actions[i].pair == 2 && r.trace.start_ns[i] < r.trace.end_ns[i - 1];
    }
    cr_expect_gt(together, 0);
    for (int32_t i = 0; i < c.lowered->action_count; i++) {
        duration_ns[i] /= c.lowered->actions[i].pair == 2 ? 8 : 1;
    }
    run_step_well(&r, 1, "second parts are shorter");
    expect_no_place_before_both_ended();
    close_spin();
    program_case_deinit(&c);
}
