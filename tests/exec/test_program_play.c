/* Programs at random speeds of ranks and links: nothing is overwritten before its last user has
 * ended, and no run comes to a standstill. */
#include "tests/exec/program_play.h"

TestSuite(program_play, .timeout = 280);

struct tries {
    uint64_t seed;
    int32_t runs, runs_each;
};

static bool is_full(void) {
    return getenv("PP_TEST_FULL") != NULL || getenv("PP_TEST_ALL") != NULL;
}

static void play_one(struct pp_sched *order, const char *what, void *context) {
    struct tries *t = context;
    struct program_case c;
    struct oracle o;
    struct play g;
    program_case_make(&c, order, &t->seed);
    oracle_init(&o, &c);
    play_init(&g, &o);
    for (int32_t i = 0; i < t->runs_each; i++, t->runs++) {
        play_run(&g, &t->seed);
        cr_assert_eq(g.wrong[0], '\0', "%s: %s", what, g.wrong);
    }
    play_deinit(&g);
    oracle_deinit(&o);
    program_case_deinit(&c);
}

Test(program_play, of_every_schedule) {
    struct tries t = {.seed = 21, .runs_each = is_full() ? 20 : CASE_STEP == 1 ? 2 : 1};
    for_each_schedule(is_full() ? 6 : CASE_STEP == 1 ? 4 : 3, play_one, &t);
    cr_expect_gt(t.runs, 200);
    cr_log_info("%d runs", t.runs);
}

Test(program_play, of_drawn_orders) {
    struct tries t = {.seed = 22, .runs_each = is_full() ? 20 : 4};
    for (int32_t i = 0; i < (is_full() ? 5000 : 500); i++) {
        play_one(draw_sealed_within(&t.seed, &draw_usual), "drawn", &t);
    }
    cr_expect_geq(t.runs, 2000);
    cr_log_info("%d runs", t.runs);
}

/* Takes one action's waits of a kind out. @return how many there were */
static int32_t take_out(struct program_case *c, int32_t at,
                        bool (*is_kind)(const struct pp_action *)) {
    struct pp_bound *b = &c->program->bound[at];
    int32_t count = 0;
    for (int32_t i = b->wait_count - 1; i >= 0; i--) {
        if (is_kind(&c->lowered->actions[b->waits[i]])) {
            b->waits[i] = b->waits[--b->wait_count];
            count++;
        }
    }
    return count;
}

/* Does the play see what it is there for? Without a gate someone is overwritten sooner or later. */
static int32_t count_wrong(bool (*is_kind)(const struct pp_action *), int32_t *without_p) {
    uint64_t seed = 23;
    int32_t wrong = 0;
    for (int32_t n = 0; n < 20; n++) {
        struct program_case c;
        struct oracle o;
        struct play g;
        program_case_make(&c, make_schedule("1F1B", 4, 1, 8), &seed);
        for (int32_t at = 0; at < c.lowered->action_count; at++) {
            *without_p += take_out(&c, at, is_kind);
        }
        oracle_init(&o, &c);
        play_init(&g, &o);
        for (int32_t i = 0; i < 20; i++) {
            play_run(&g, &seed);
            wrong += g.wrong[0] != '\0';
        }
        play_deinit(&g);
        oracle_deinit(&o);
        program_case_deinit(&c);
    }
    return wrong;
}

Test(program_play, sees_a_missing_gate) {
    int32_t without = 0;
    cr_expect_gt(count_wrong(is_send, &without), 5);
    cr_expect_gt(without, 100);
}

Test(program_play, sees_a_missing_receive) {
    int32_t without = 0;
    cr_expect_gt(count_wrong(is_recv, &without), 100);
    cr_expect_gt(without, 100);
}
