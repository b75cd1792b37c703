/* Hanayo and Chimera: no longer than the recorded totals of list schedules, closed forms, peaks,
 * limits, and costs that differ between stages. */
#include "tests/sim/anchor_support.h"

Test(gen_wave, hanayo_is_no_longer_than_any_row) {
    struct anchor_tally tally = {.strategy = "hanayo_wave_greedy", .schedule = "Hanayo"};
    anchor_compare_all(&tally);
}

Test(gen_wave, chimera_is_no_longer_than_any_row) {
    struct anchor_tally tally = {.strategy = "chimera_greedy", .schedule = "Chimera"};
    anchor_compare_all(&tally);
}

/* --- Hanayo ----------------------------------------------------------------------------------- */

/* The last rank cannot start before the first forwards reach it, and its last backward has to go
 * back to the first: with one wave that is all, from m = 3p/2 on. */
Test(gen_wave, hanayo_with_one_wave_idles_as_little_as_it_can) {
    for (int32_t p = 1; p <= 16; p++) {
        for (int32_t m = (3 * p + 1) / 2; m <= 4 * p; m += 1 + p / 3) {
            struct flush f = {
                .schedule = "Hanayo", .p = p, .m = m, .f = UNIT, .i = UNIT, .w = UNIT};
            struct flush_result r = run_flush(&f);
            cr_expect_eq(r.makespan, (int64_t)3 * m * UNIT + (int64_t)3 * (p - 1) * UNIT / 2,
                         "p %d m %d: %g", p, m, (double)r.makespan / UNIT);
            int64_t most = (m < 2 * p ? m : 2 * p) * r.share;
            cr_expect_leq(r.peak, most, "p %d m %d: peak %ld", p, m, r.peak);
        }
    }
}

Test(gen_wave, hanayo_with_more_waves_is_near_the_least) {
    for (int32_t p = 2; p <= 12; p += 3) {
        for (int32_t v = 4; v <= 8; v += 2) {
            for (int32_t m = 2 * p; m <= 6 * p; m += 2 * p) {
                struct flush f = {
                    .schedule = "Hanayo", .p = p, .v = v, .m = m, .f = UNIT, .i = UNIT, .w = UNIT};
                double least = 3.0 * m + 3.0 * (p - 1) / v;
                double ours = (double)run_flush(&f).makespan / UNIT;
                cr_expect_geq(ours, least - 1e-9);
                cr_expect_leq(ours, 1.02 * least, "p %d v %d m %d: %g of %g", p, v, m, ours, least);
            }
        }
    }
}

/* Costs of a model whose stages differ, activations and a limit in units of the smallest. */
struct uneven {
    int64_t f[64], i[64], w[64], b[64], recv[64], adds[64], limit[16];
    struct pp_gen_costs gen;
};

static void draw_uneven(struct uneven *u, uint64_t *seed, bool limited) {
    for (int32_t s = 0; s < 64; s++) {
        u->f[s] = random_below(seed, 1000);
        u->i[s] = random_below(seed, 1000);
        u->w[s] = random_below(seed, 1000);
        u->b[s] = u->i[s] + u->w[s];
        u->recv[s] = random_below(seed, 500);
        u->adds[s] = 1 + random_below(seed, 3);
    }
    for (int32_t r = 0; r < 16; r++) {
        u->limit[r] = 6 + random_below(seed, 30);
    }
    u->gen = (struct pp_gen_costs){.times = {.f_ns = u->f,
                                             .i_ns = u->i,
                                             .w_ns = u->w,
                                             .b_ns = u->b,
                                             .recv_f_ns = u->recv,
                                             .recv_b_ns = u->recv},
                                   .f_adds = u->adds,
                                   .w_frees = u->adds,
                                   .limit = limited ? u->limit : NULL};
}

/* Does one microbatch at a time already exceed a limit? */
static bool hopeless(const struct uneven *u, const struct pp_sched *s) {
    int64_t held[16] = {0};
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        held[s->stage_rank[stage]] += u->adds[stage];
    }
    bool any = false;
    for (int32_t r = 0; r < s->rank_count; r++) {
        any = any || held[r] > u->limit[r];
    }
    return any;
}

static void expect_within_limits(const struct uneven *u, const struct pp_sched *s) {
    struct pp_rank_memory peaks[16];
    struct pp_memory_model memory = {.f_adds = u->adds, .w_frees = u->adds};
    pp_memory_peaks(s, &memory, peaks);
    for (int32_t r = 0; r < s->rank_count; r++) {
        cr_expect_leq(peaks[r].peak, u->limit[r], "rank %d", r);
    }
}

Test(gen_wave, hanayo_runs_under_any_costs_and_keeps_any_limit) {
    static struct uneven u;
    uint64_t seed = 23;
    int fitted = 0;
    for (int i = 0; i < 400; i++) {
        bool limited = i % 2 == 1;
        struct pp_gen_config c = {.rank_count = 1 + random_below(&seed, 8),
                                  .stages_per_rank = 2 + 2 * random_below(&seed, 3),
                                  .microbatch_count = 1 + random_below(&seed, 24)};
        const struct pp_schedule_info *info = find_schedule("Hanayo");
        struct pp_sched *s = NULL;
        struct pp_err err = {0};
        draw_uneven(&u, &seed, limited);
        cr_assert_eq(pp_schedule_begin(info, &c, &s, &err), PP_OK, "%s", err.message);
        c.costs = &u.gen;
        enum pp_status wanted = limited && hopeless(&u, s) ? PP_E_LIMIT : PP_OK;
        cr_assert_eq(pp_schedule_finish(info, &c, s, &err), wanted, "%s", err.message);
        if (wanted == PP_OK) {
            struct pp_eval *e = NULL;
            cr_expect_eq(pp_eval_create(s, &e, NULL, &err), PP_OK, "%s", err.message);
            pp_eval_destroy(e);
        }
        if (wanted == PP_OK && limited) {
            expect_within_limits(&u, s);
            fitted++;
        }
        pp_sched_destroy(s);
    }
    cr_assert_gt(fitted, 50);
}

Test(gen_wave, hanayo_needs_whole_waves) {
    struct pp_gen_config c = {.rank_count = 4, .stages_per_rank = 3, .microbatch_count = 8};
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_check(find_schedule("Hanayo"), &c, &err), PP_E_STAGES);
    cr_assert_not_null(strstr(err.hint, "2 and 4"), "%s", err.hint);
}

/* --- Chimera ---------------------------------------------------------------------------------- */

Test(gen_wave, chimera_takes_what_the_closed_forms_say) {
    for (int32_t p = 2; p <= 32; p += 2) {
        for (int32_t units = 1; units <= 4; units++) {
            int32_t m = units * p;
            struct flush f = {
                .schedule = "Chimera", .p = p, .m = m, .f = 2 * UNIT, .i = UNIT, .w = UNIT};
            int64_t even = (int64_t)(2 * m + p - 2) * 2 * UNIT;
            cr_expect_eq(run_flush(&f).makespan, even, "p %d m %d F = B", p, m);
            f.f = UNIT;
            int64_t doubled = (int64_t)(3 * m + (p - 2) * (units + 1)) * UNIT;
            cr_expect_eq(run_flush(&f).makespan, doubled, "p %d m %d B = 2 F", p, m);
        }
    }
}

/* Units one after the other take no longer than the unit as often. */
Test(gen_wave, chimera_units_join) {
    uint64_t seed = 7;
    for (int i = 0; i < 300; i++) {
        int32_t p = 2 + 2 * random_below(&seed, 5);
        struct flush f = {.schedule = "Chimera",
                          .p = p,
                          .m = p,
                          .f = random_below(&seed, UNIT),
                          .i = random_below(&seed, UNIT),
                          .w = random_below(&seed, UNIT),
                          .p2p = random_below(&seed, UNIT)};
        int64_t one = run_flush(&f).makespan;
        int32_t units = 2 + random_below(&seed, 4);
        f.m = units * p;
        cr_expect_leq(run_flush(&f).makespan, units * one, "p %d units %d", p, units);
    }
}

Test(gen_wave, chimera_runs_any_even_counts_and_holds_what_is_stated) {
    for (int32_t p = 2; p <= 12; p += 2) {
        for (int32_t m = 2; m <= 4 * p; m += 2) {
            struct flush f = {
                .schedule = "Chimera", .p = p, .m = m, .f = UNIT, .i = UNIT, .w = UNIT};
            struct flush_result r = run_flush(&f);
            cr_expect_eq(r.peak, m < p ? m : p, "p %d m %d: %ld", p, m, r.peak);
            if (m == p) {
                cr_expect_eq(r.least_peak, p / 2 + 1, "p %d: %ld", p, r.least_peak);
            }
        }
    }
}

Test(gen_wave, chimera_refuses_odd_counts_with_one_that_works) {
    struct pp_gen_config c = {.rank_count = 3, .stages_per_rank = 2, .microbatch_count = 8};
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_check(find_schedule("Chimera"), &c, &err), PP_E_RANGE);
    cr_assert_not_null(strstr(err.hint, "4"), "%s", err.hint);
    c = (struct pp_gen_config){.rank_count = 4, .stages_per_rank = 2, .microbatch_count = 7};
    cr_assert_eq(pp_schedule_check(find_schedule("Chimera"), &c, &err), PP_E_MICROBATCH);
    cr_assert_not_null(strstr(err.hint, "8"), "%s", err.hint);
}
