#include "tests/sim/sail_support.h"

/* sail/gi2xG: GIS with two chunks a rank and groups of G; GISH where G is the smallest. */
static bool gis_of(const struct sail_row *row, struct sail_schedule *ours) {
    if (strncmp(row->scheduler, "sail/gi2x", 9) != 0) {
        return false;
    }
    *ours = (struct sail_schedule){.schedule = "GIS",
                                   .stages_per_rank = 2,
                                   .group = (int32_t)strtol(row->scheduler + 9, NULL, 10)};
    return true;
}

static bool gish_of(const struct sail_row *row, struct sail_schedule *ours) {
    if (!gis_of(row, ours) || ours->group != (row->p + 1) / 2) {
        return false;
    }
    *ours = (struct sail_schedule){.schedule = "GISH"};
    return true;
}

Test(gen_gis, no_row_of_the_authors_scheduler_is_better) {
    struct sail_tally gis = {.of = gis_of};
    struct sail_tally gish = {.of = gish_of};
    sail_compare_all("gi2x", &gis);
    sail_compare_all("gi2x of half groups", &gish);
    cr_assert_gt(gis.equal + gis.better, 100);
}

/* Makespan and peak at F = I = W, in chunks' work. */
static struct sail_result at_unit_costs(const char *name, int32_t p, int32_t v, int32_t m,
                                        int32_t group) {
    struct sail_row row = {
        .p = p, .m = m, .f_ns = 1000 * v, .i_ns = 1000 * v, .w_ns = 1000 * v, .mem_w = {1, 1}};
    struct sail_schedule ours = {.schedule = name, .stages_per_rank = v, .group = group};
    struct sail_result r = sail_run(&row, &ours);
    r.makespan_ns /= 1000;
    r.peak *= v;
    return r;
}

Test(gen_gis, idle_time_and_memory_are_the_closed_forms) {
    for (int32_t p = 1; p <= 32; p = p < 9 ? p + 1 : 2 * p - 2) {
        for (int32_t v = 1; v <= 5; v++) {
            for (int32_t group = (p + 1) / 2; group <= p; group++) {
                int32_t m = 3 * group;
                struct sail_result r = at_unit_costs("GIS", p, v, m, group);
                int32_t idle = 2 * (p - 1) + (v - 1) * (p - group);
                cr_expect_eq(r.makespan_ns, 3 * m * v + idle, "p %d v %d g %d: %f", p, v, group,
                             r.makespan_ns);
                cr_expect_eq(r.peak, group * (v - 1) + p, "p %d v %d g %d: %f", p, v, group,
                             r.peak);
            }
        }
    }
    for (int32_t p = 4; p <= 32; p *= 2) { /* 5p/4 - 1 of a rank's share */
        struct sail_result r = at_unit_costs("GISH", p, 2, 4 * p, 0);
        cr_expect_eq(r.makespan_ns, 2 * 3 * 4 * p + 5 * p / 2 - 2, "p %d", p);
    }
}

Test(gen_gis, groups_out_of_range_are_refused) {
    static const struct {
        int32_t p, group;
        bool fits;
    } cases[] = {{1, 1, true},  {1, 2, false}, {4, 1, false}, {4, 2, true},  {4, 4, true},
                 {4, 5, false}, {5, 2, false}, {5, 3, true},  {4, -1, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pp_gen_config c = {.rank_count = cases[i].p,
                                  .stages_per_rank = 2,
                                  .microbatch_count = 3,
                                  .group = cases[i].group};
        struct pp_err err = {0};
        enum pp_status status = pp_schedule_check(find_schedule("GIS"), &c, &err);
        cr_expect_eq(status, cases[i].fits ? PP_OK : PP_E_RANGE, "p %d g %d", c.rank_count,
                     c.group);
        cr_expect(cases[i].fits || err.hint[0] != '\0');
        cr_expect_eq(pp_schedule_check(find_schedule("GISH"), &c, NULL), PP_E_VALUE);
    }
}

/* Fewer microbatches than a group, and groups that stay incomplete: still an order that runs. */
Test(gen_gis, any_microbatch_count_runs) {
    for (int32_t p = 1; p <= 7; p++) {
        for (int32_t m = 1; m <= 2 * p + 1; m++) {
            for (int32_t v = 1; v <= 4; v++) {
                struct sail_result full = at_unit_costs("GIS", p, v, m, 0);
                struct sail_result half = at_unit_costs("GISH", p, v, m, 0);
                cr_expect_leq(full.peak, p * v);
                cr_expect_leq(half.peak, (p + 1) / 2 * (v - 1) + p);
            }
        }
    }
}
