/* What ranks execute: that every schedule becomes a program. */
#include "tests/exec/program_support.h"

TestSuite(program, .timeout = 120);

static void make_one(struct pp_sched *order, const char *what, void *context) {
    struct program_case c;
    (void)what;
    program_case_make(&c, order, context);
    program_case_deinit(&c);
}

Test(program, of_every_schedule) {
    uint64_t seed = 1;
    int32_t count = for_each_schedule(5, make_one, &seed);
    cr_expect_gt(count, 300, "only %d schedules", count);
    cr_log_warn("%d", count);
}

Test(program, of_drawn_orders) {
    uint64_t seed = 2;
    for (int32_t i = 0; i < 300; i++) {
        make_one(draw_sealed_within(&seed, &draw_usual), "drawn", &seed);
    }
}
