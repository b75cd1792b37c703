/* Sealing has a way of its own for schedules in which nothing is wrong. Actions that are added rank
 * after rank may go it, others never do: both must say the same of the same lists. */
#include "tests/sim/random_sched.h"

#include "sim/eval_sweep.h"

enum { MOST = 4096 };

/* The lists of `from`, actions[] in their ranks' order, added anew.
 * @param shuffled  the last rank's first action before all others */
static struct pp_sched *add_all(const struct pp_sched *from, const struct pp_action *actions,
                                int32_t count, bool shuffled) {
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_sched_create(from->rank_count, from->stage_count, from->microbatch_count,
                                 from->stage_rank, &s, NULL),
                 PP_OK);
    if (from->part_count != from->stage_count) {
        cr_assert_eq(pp_sched_set_bidirectional(s, NULL), PP_OK);
    }
    int32_t first = count;
    for (int32_t at = 0; at < count && shuffled && first == count; at++) {
        if (from->stage_rank[actions[at].stage] == from->rank_count - 1) {
            first = at;
        }
    }
    for (int32_t i = first < count ? -1 : 0; i < count; i++) {
        const struct pp_action *a = &actions[i < 0 ? first : i];
        if (i != first) {
            cr_assert_eq(
                pp_sched_add(s, from->stage_rank[a->stage], a->type, a->stage, a->microbatch, NULL),
                PP_OK);
        }
    }
    return s;
}

/* Some action becomes another of its rank, is moved within its rank or is left out.
 * @return how many there are now */
static int32_t spoil(const struct pp_sched *s, struct pp_action *actions, int32_t count,
                     uint64_t *seed) {
    int32_t at = random_below(seed, count);
    int32_t other = random_below(seed, count);
    struct pp_action *a = &actions[at];
    struct pp_action *b = &actions[other];
    if (random_below(seed, 8) == 0) {
        memmove(a, a + 1, (size_t)(count - 1 - at) * sizeof *a);
        return count - 1;
    }
    if (random_below(seed, 4) == 0) {
        a->type = (uint8_t)random_below(seed, PP_B + 1);
    } else if (s->stage_rank[a->stage] == s->stage_rank[b->stage]) {
        struct pp_action old = *a;
        *a = *b;
        if (random_below(seed, 2) == 0) {
            *b = old;
        }
    }
    return count;
}

Test(schedule_plain, says_what_the_other_way_says) {
    static struct pp_action actions[MOST];
    uint64_t seed = 21;
    int right = 0;
    int wrong = 0;
    for (int i = 0; i < 20000; i += CASE_STEP) {
        struct pp_sched *drawn = draw_schedule(&seed);
        int32_t count = drawn->action_count;
        cr_assert_leq(count, MOST);
        memcpy(actions, drawn->actions, (size_t)count * sizeof *actions);
        for (int32_t n = random_below(&seed, 4); n > 0 && count > 1; n--) {
            count = spoil(drawn, actions, count, &seed);
        }
        struct pp_err err[2] = {{0}, {0}};
        struct pp_sched *s[2];
        enum pp_status status[2];
        for (int k = 0; k < 2; k++) {
            s[k] = add_all(drawn, actions, count, k == 1);
            status[k] = pp_sched_seal(s[k], &err[k]);
        }
        cr_assert_eq(status[0], status[1], "case %d: %s / %s", i, err[0].message, err[1].message);
        cr_assert_str_eq(err[0].message, err[1].message);
        for (int32_t at = 0; at < count && status[0] == PP_OK; at++) {
            cr_assert_eq(s[0]->producer[at], s[1]->producer[at], "case %d, action %d", i, at);
        }
        right += status[0] == PP_OK && drawn->rank_count > 1;
        wrong += status[0] != PP_OK && drawn->rank_count > 1;
        pp_sched_destroy(s[0]);
        pp_sched_destroy(s[1]);
        pp_sched_destroy(drawn);
    }
    cr_assert_gt(right, 500);
    cr_assert_gt(wrong, 500);
}

/* As many actions as there should be, one twice and one never. */
Test(schedule_plain, one_twice_and_one_never) {
    static const int32_t rank_of[] = {0};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_create(1, 1, 2, rank_of, &s, NULL), PP_OK);
    pp_sched_add(s, 0, PP_F, 0, 0, NULL);
    pp_sched_add(s, 0, PP_F, 0, 1, NULL);
    pp_sched_add(s, 0, PP_B, 0, 0, NULL);
    pp_sched_add(s, 0, PP_B, 0, 0, NULL);
    cr_assert_eq(pp_sched_seal(s, &err), PP_E_CSV);
    cr_assert_not_null(strstr(err.message, "0B0 runs a second backward"), "%s", err.message);
    pp_sched_destroy(s);
}

/* A transfer to the host is no backward. */
Test(schedule_plain, a_transfer_stands_for_no_backward) {
    static const int32_t rank_of[] = {0};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_create(1, 1, 1, rank_of, &s, NULL), PP_OK);
    pp_sched_add(s, 0, PP_F, 0, 0, NULL);
    pp_sched_add(s, 0, PP_OFFLOAD, 0, 0, NULL);
    pp_sched_add(s, 0, PP_W, 0, 0, NULL);
    cr_assert_eq(pp_sched_seal(s, &err), PP_E_CSV);
    cr_assert_not_null(strstr(err.message, "0W0 comes before its I"), "%s", err.message);
    pp_sched_destroy(s);
}

/* What a sweep keeps does not grow with the microbatches. */
Test(sweep, slots_are_used_again) {
    static const char *const names[] = {
        "GPipe", "1F1B", "Interleaved1F1B", "InterleavedZeroBubble", "ZBVZeroBubble", "DualPipeV"};
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        int32_t v = find_schedule(names[n])->default_stages_per_rank;
        int32_t slots[2];
        for (int k = 0; k < 2; k++) {
            struct pp_sched *s = make_schedule(names[n], 8, v, k == 0 ? 128 : 512);
            struct pp_sweep sweep;
            cr_assert_eq(pp_sweep_init(&sweep, s, NULL, NULL), PP_OK);
            slots[k] = sweep.slot_count;
            pp_sweep_deinit(&sweep);
            pp_sched_destroy(s);
        }
        cr_assert_eq(slots[0], slots[1], "%s: %d, %d", names[n], slots[0], slots[1]);
    }
}
