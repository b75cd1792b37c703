/* 1F1BOverlap and Interleaved1F1BOverlap against their closed form and another simulator's totals;
 * the same simulator's 1F1B and Interleaved1F1B show that the two agree on what time is. */
#include "tests/sim/anchor_support.h"

Test(gen_overlap, another_simulator_agrees_on_orders_without_pairs) {
    struct anchor_tally single = {.strategy = "1f1b", .schedule = "1F1B"};
    anchor_compare_all(&single);
    cr_assert_eq(single.better, 0);
    struct anchor_tally interleaved = {.strategy = "interleave", .schedule = "Interleaved1F1B"};
    anchor_compare_all(&interleaved);
    cr_assert_eq(interleaved.better, 0);
}

/* Equal where transfers take no time. Where they do, the other simulator lets a sender wait for its
 * transfer before it computes the next of the same stage and kind in the ramps: ours is shorter,
 * and equal again if our evaluation is given that rule. */
Test(gen_overlap, no_row_is_longer_than_another_simulators) {
    struct anchor_tally single = {.strategy = "1f1b_overlap", .schedule = "1F1BOverlap"};
    anchor_compare_all(&single);
    struct anchor_tally interleaved = {.strategy = "1f1b_interleave_overlap",
                                       .schedule = "Interleaved1F1BOverlap"};
    anchor_compare_all(&interleaved);
}

/* (p-1)(F+B)/v + (p(v-1)+1)(F+B)/v + (m v - p(v-1) - 1) pair/v, for m a multiple of p, m >= 2p. */
static int64_t closed_form(const struct flush *f) {
    int64_t alone = f->p - 1 + f->p * (f->v - 1) + 1;
    int64_t pairs = f->m * f->v - f->p * (f->v - 1) - 1;
    return (alone * (f->f + f->i + f->w) + pairs * f->pair) / f->v;
}

Test(gen_overlap, takes_what_the_closed_form_says) {
    static const int32_t ranks[] = {1, 2, 3, 4, 8, 16, 32};
    for (size_t k = 0; k < sizeof ranks / sizeof ranks[0]; k++) {
        for (int32_t v = 1; v <= 4; v++) {
            for (int64_t pair = 2 * UNIT; pair <= 3 * UNIT; pair += UNIT / 2) {
                struct flush f = {.schedule = v == 1 ? "1F1BOverlap" : "Interleaved1F1BOverlap",
                                  .p = ranks[k],
                                  .v = v,
                                  .m = 4 * ranks[k],
                                  .f = UNIT,
                                  .i = UNIT,
                                  .w = UNIT,
                                  .pair = pair};
                cr_expect_eq(run_flush(&f).makespan, closed_form(&f), "p %d v %d pair %ld: %ld",
                             f.p, v, pair, run_flush(&f).makespan);
            }
        }
    }
}

/* Any counts that are accepted run, and hold what the row states. */
Test(gen_overlap, any_counts_run_and_hold_what_is_stated) {
    uint64_t seed = 5;
    for (int i = 0; i < 600; i++) {
        int32_t v = 1 + random_below(&seed, 4);
        struct flush f = {.schedule = v == 1 ? "1F1BOverlap" : "Interleaved1F1BOverlap",
                          .p = 1 + random_below(&seed, 9),
                          .v = v,
                          .m = 1 + random_below(&seed, 40),
                          .f = random_below(&seed, UNIT),
                          .i = random_below(&seed, UNIT),
                          .w = random_below(&seed, UNIT),
                          .p2p = random_below(&seed, UNIT)};
        int32_t rounds = f.m / f.p > 1 ? f.m / f.p : 1;
        if (v > 1 && f.m % rounds != 0) {
            continue;
        }
        struct flush_result r = run_flush(&f);
        int64_t ahead = (int64_t)(v - 1) * (f.m / rounds) + 2 * f.p;
        int64_t all = (int64_t)f.m * v;
        cr_expect_eq(r.peak, ahead < all ? ahead : all, "%s p %d v %d m %d: peak %ld", f.schedule,
                     f.p, v, f.m, r.peak);
    }
}
