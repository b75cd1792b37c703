/* Actions that only last: what is measured is what was predicted. */
#include "tests/exec/runtime_support.h"

enum { RANKS = 4, ACTION_NS = 5000000, OTHERS_NS = 1000000, TRIES = 3 };

static struct program_case c;
static struct run r;

static void open_spin(const struct how *how) {
    r = (struct run){.how = *how, .program = c.program};
    for (int32_t i = 0; i < c.program->sched->rank_count; i++) {
        struct pp_spin *spin = NULL;
        cr_assert_eq(pp_spin_create(c.program, c.program->expected_ns, &spin, NULL), PP_OK);
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
        cr_expect_geq(took, 0.999, "%s: faster than it can be: %.4f of the prediction", what, took);
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

static void keep_time(bool threads, int32_t part, int32_t parts) {
    double worst = 0;
    for (int32_t i = part; i < pp_schedule_count(); i += parts) {
        char what[96];
        snprintf(what, sizeof what, "%s, %s", pp_schedule_at(i)->name,
                 threads ? "threads" : "one thread");
        make_case(pp_schedule_at(i));
        open_spin(&(struct how){.threads = threads});
        double missed = miss(what);
        cr_expect_leq(missed, 0.03, "%s: %.2f %% above the prediction", what, 100 * missed);
        worst = missed > worst ? missed : worst;
        close_spin();
        program_case_deinit(&c);
    }
    cr_log_info("worst miss %.3f %%", 100 * worst);
}

Test(spin, keeps_the_predicted_time_on_one_thread) {
    keep_time(false, 0, 1);
}

Test(spin, keeps_the_predicted_time_with_threads) {
    keep_time(true, 0, 1);
}
