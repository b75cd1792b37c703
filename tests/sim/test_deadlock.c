/* Which cycle a deadlock is reported with. */
#include "tests/sim/sim_support.h"

/* Ranks 0 to 2 wait in a cycle of three, ranks 3 and 4 in one of two; the search begins at 0. */
Test(deadlock, the_shortest_cycle_is_named_also_if_a_longer_one_is_found_first) {
    struct pp_err err = {0};
    struct pp_sched *s = parse_csv("3F0,0F0,3B0,0B0\n1F0,4F0,4B0,1B0\n2F0,5F0,5B0,2B0\n"
                                   "8F0,6F0,8B0,6B0\n7F0,9F0,9B0,7B0\n",
                                   &err);
    struct pp_eval *e = NULL;
    struct pp_deadlock d = {0};
    cr_assert_not_null(s, "%s", err.message);
    cr_assert_eq(pp_eval_create(s, &e, &d, &err), PP_E_DEADLOCK);
    cr_assert_eq(d.wait_count, 2, "%s", err.message);
    for (int32_t i = 0; i < 2; i++) {
        cr_assert_eq(d.waits[i].rank, 3 + i);
        cr_assert_eq(d.waits[i].for_rank, 4 - i);
        cr_assert_eq(d.waits[i].for_action, s->producer[d.waits[i].action]);
    }
    pp_deadlock_deinit(&d);
    pp_sched_destroy(s);
}

/* A loop of `ranks`, each with its two stages' actions the wrong way round. */
static struct pp_sched *waiting_loop(int32_t ranks) {
    struct pp_text csv = {0};
    struct pp_err err = {0};
    pp_text_printf(&csv, "%dF0,0F0,%dB0,0B0\n", ranks, ranks);
    for (int32_t r = 1; r < ranks; r++) {
        pp_text_printf(&csv, "%dF0,%dF0,%dB0,%dB0\n", r, ranks + r, ranks + r, r);
    }
    struct pp_sched *s = parse_csv(csv.bytes, &err);
    cr_assert_not_null(s, "%s", err.message);
    pp_text_free(&csv);
    return s;
}

Test(deadlock, six_waits_are_named_and_more_are_counted) {
    for (int32_t ranks = 2; ranks <= 9; ranks++) {
        struct pp_sched *s = waiting_loop(ranks);
        struct pp_eval *e = NULL;
        struct pp_deadlock d = {0};
        struct pp_err err = {0};
        cr_assert_eq(pp_eval_create(s, &e, &d, &err), PP_E_DEADLOCK);
        cr_assert_eq(d.wait_count, ranks, "%s", err.message);
        int named = 0;
        for (const char *at = err.message; (at = strstr(at, "waits in ")) != NULL; at++) {
            named++;
        }
        cr_expect_eq(named, ranks < 6 ? ranks : 6, "%s", err.message);
        char rest[32];
        snprintf(rest, sizeof rest, " and so on, %d waits", ranks);
        cr_expect_eq(strstr(err.message, rest) != NULL, ranks > 6, "%s", err.message);
        pp_deadlock_deinit(&d);
        pp_sched_destroy(s);
    }
}
