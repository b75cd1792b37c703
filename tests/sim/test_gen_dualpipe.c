/* DualPipe and DualPipeV: orders recorded from DeepSeek's code, makespans of others, what ranks
 * hold, what is refused. */
#include "tests/sim/anchor_support.h"

/* Written by tests/tools/dualpipe_ids.py. */
static const struct {
    const char *schedule;
    int32_t p, m;
    const char *id;
} orders[] = {
    {"DualPipe", 16, 40, "ab7596904d6c71ce"}, {"DualPipe", 8, 16, "6a1514288194a3d9"},
    {"DualPipe", 8, 20, "024296ee31941a60"},  {"DualPipeV", 2, 4, "83941aadef6600b2"},
    {"DualPipeV", 4, 10, "79add97597aa6df5"}, {"DualPipeV", 8, 20, "6d10370252b9ecea"},
};

Test(gen_dualpipe, orders_are_deepseeks) {
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        struct pp_sched *s = make_schedule(orders[i].schedule, orders[i].p, 2, orders[i].m);
        cr_expect(has_id(s, orders[i].id), "%s p %d m %d", orders[i].schedule, orders[i].p,
                  orders[i].m);
        pp_sched_destroy(s);
    }
}

/* F, I, W and a pair in units; what the recorded order took when it was run elsewhere. */
Test(gen_dualpipe, makespans_are_those_of_the_recorded_orders) {
    static const struct {
        const char *schedule;
        int32_t p, m;
        double f, i, w, pair, makespan;
    } rows[] = {
        {"DualPipe", 8, 20, 1, 1, 1, 3, 66},    {"DualPipe", 8, 20, 1, 1, 1, 2.5, 59},
        {"DualPipe", 8, 20, 1, 1, 1, 2, 52},    {"DualPipe", 8, 20, 2, 3, 1, 5, 125},
        {"DualPipeV", 4, 10, 2, 2, 2, 6, 66},   {"DualPipeV", 4, 10, 2, 2, 2, 5, 59},
        {"DualPipeV", 4, 10, 4, 6, 2, 10, 125},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct flush f = {.schedule = rows[i].schedule,
                          .p = rows[i].p,
                          .m = rows[i].m,
                          .f = (int64_t)(rows[i].f * UNIT),
                          .i = (int64_t)(rows[i].i * UNIT),
                          .w = (int64_t)(rows[i].w * UNIT),
                          .pair = (int64_t)(rows[i].pair * UNIT)};
        cr_expect_eq(run_flush(&f).makespan, (int64_t)(rows[i].makespan * UNIT), "row %zu: %g", i,
                     (double)run_flush(&f).makespan / UNIT);
    }
}

/* The other simulator lets W wait for a transfer after its own I, and senders in the ramps for
 * theirs: it is never shorter, and equal where transfers take no time. */
Test(gen_dualpipe, no_row_is_longer_than_another_simulators) {
    struct anchor_tally ends = {.strategy = "dualpipe", .schedule = "DualPipe"};
    anchor_compare_all(&ends);
    struct anchor_tally v = {.strategy = "dualpipe_v", .schedule = "DualPipeV"};
    anchor_compare_all(&v);
}

/* Twice the stated idle time where a pair runs as one and gives both results at its end. */
Test(gen_dualpipe, idle_and_peak_are_what_the_row_states) {
    for (int32_t p = 2; p <= 32; p += 2) {
        for (int32_t m = 2 * p; m <= 4 * p; m += 2 + p / 2 * 2) {
            struct flush f = {
                .schedule = "DualPipe", .p = p, .m = m, .f = UNIT, .i = UNIT, .w = UNIT};
            struct flush_result r = run_flush(&f);
            int64_t idle = (int64_t)(p - 2) * UNIT / 2;
            int64_t work = (int64_t)3 * m * UNIT;
            cr_expect_eq(r.makespan, work + idle, "p %d m %d: %ld", p, m, r.makespan);
            cr_expect_eq(r.peak, p + 1, "p %d m %d: peak %ld", p, m, r.peak);
            cr_expect_eq(r.least_peak, p + 1, "p %d m %d: peak %ld", p, m, r.least_peak);
            f.pair = 3 * UNIT;
            cr_expect_eq(run_flush(&f).makespan, work + 2 * idle, "p %d m %d as one", p, m);
        }
    }
}

/* The refused number is replaced by the one of the hint. */
static void take_hint(struct pp_gen_config *c, enum pp_status status, const struct pp_err *err) {
    bool is_ranks = status == PP_E_RANGE;
    const char *text =
        is_ranks ? "nearest number of ranks that works: " : "nearest count that works: ";
    cr_assert_eq(strncmp(err->hint, text, strlen(text)), 0, "%s", err->hint);
    int32_t works = (int32_t)strtol(err->hint + strlen(text), NULL, 10);
    *(is_ranks ? &c->rank_count : &c->microbatch_count) = works;
}

Test(gen_dualpipe, any_counts_run_or_are_refused_with_one_that_works) {
    uint64_t seed = 11;
    for (int i = 0; i < 400; i++) {
        struct pp_gen_config c = {.rank_count = 1 + random_below(&seed, 10),
                                  .stages_per_rank = 2,
                                  .microbatch_count = 1 + random_below(&seed, 50)};
        const struct pp_schedule_info *info = find_schedule("DualPipe");
        bool works = c.rank_count % 2 == 0 && c.microbatch_count % 2 == 0 &&
                     c.microbatch_count >= 2 * c.rank_count;
        struct pp_err err = {0};
        enum pp_status status = pp_schedule_check(info, &c, &err);
        cr_expect_eq(status == PP_OK, works, "p %d m %d", c.rank_count, c.microbatch_count);
        for (int tries = 0; tries < 2 && status != PP_OK; tries++) {
            take_hint(&c, status, &err);
            status = pp_schedule_check(info, &c, &err);
        }
        cr_assert_eq(status, PP_OK, "%s", err.message);
        struct flush f = {.schedule = "DualPipe",
                          .p = c.rank_count,
                          .m = c.microbatch_count,
                          .f = random_below(&seed, UNIT),
                          .i = random_below(&seed, UNIT),
                          .w = random_below(&seed, UNIT),
                          .pair = random_below(&seed, UNIT),
                          .p2p = random_below(&seed, UNIT)};
        run_flush(&f);
    }
}
