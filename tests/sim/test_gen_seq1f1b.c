/* Seq1F1B against the zero-bubble authors' runs of it and its closed forms. */
#include "tests/sim/anchor_support.h"
#include "tests/sim/sail_support.h"

static bool of_seq1f1b(const struct sail_row *row, struct sail_schedule *ours) {
    if (strncmp(row->scheduler, "sail/seq1f1b", 12) != 0) {
        return false;
    }
    ours->schedule = "Seq1F1B";
    ours->slices = (int32_t)strtol(row->scheduler + 12, NULL, 10);
    return true;
}

Test(gen_seq1f1b, every_row_is_equal) {
    struct sail_tally tally = {.of = of_seq1f1b};
    sail_compare_all("Seq1F1B", &tally);
    cr_assert_eq(tally.better, 0);
}

Test(gen_seq1f1b, one_slice_is_1f1b) {
    struct pp_gen_config c = {
        .rank_count = 4, .stages_per_rank = 1, .microbatch_count = 9, .slice_count = 1};
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_schedule_generate(find_schedule("Seq1F1B"), &c, &s, NULL), PP_OK);
    struct pp_sched *plain = make_schedule("1F1B", 4, 1, 9);
    char ids[2][65];
    pp_sched_csv_sha256(s, ids[0]);
    pp_sched_csv_sha256(plain, ids[1]);
    cr_assert_str_eq(ids[0], ids[1]);
    pp_sched_destroy(plain);
    pp_sched_destroy(s);
}

Test(gen_seq1f1b, idle_shrinks_with_the_slices) {
    for (int32_t p = 4; p <= 32; p *= 2) {
        for (int32_t slices = 1; slices <= 5; slices++) {
            struct flush f = {.schedule = "Seq1F1B",
                              .p = p,
                              .m = 4 * p,
                              .slices = slices,
                              .f = UNIT,
                              .i = UNIT,
                              .w = UNIT};
            int64_t idle = (int64_t)3 * (p - 1) * UNIT / slices;
            struct flush_result r = run_flush(&f);
            cr_expect_eq(r.makespan, (int64_t)3 * f.m * UNIT + idle, "p %d slices %d: %ld", p,
                         slices, r.makespan);
        }
    }
}

Test(gen_seq1f1b, any_counts_run_and_hold_what_is_stated) {
    uint64_t seed = 3;
    for (int i = 0; i < 500; i++) {
        struct flush f = {.schedule = "Seq1F1B",
                          .p = 1 + random_below(&seed, 9),
                          .m = 1 + random_below(&seed, 20),
                          .slices = 1 + random_below(&seed, 6),
                          .f = random_below(&seed, UNIT),
                          .i = random_below(&seed, UNIT),
                          .w = random_below(&seed, UNIT),
                          .p2p = random_below(&seed, UNIT)};
        struct flush_result r = run_flush(&f);
        int64_t ahead = f.p - 1 + f.slices;
        int64_t all = (int64_t)f.m * f.slices;
        cr_expect_eq(r.peak, ahead < all ? ahead : all, "p %d m %d slices %d: peak %ld", f.p, f.m,
                     f.slices, r.peak);
        cr_expect_eq(r.share, f.slices);
    }
}
