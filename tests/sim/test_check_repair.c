/* Repaired orders: they run, hold the same actions, and are the same where nothing was wrong. */
#include "sim/check_repair.h"
#include "tests/sim/check_support.h"
#include "tests/sim/random_sched.h"

/* Shuffles the cells of every rank, or only swaps neighbours `swaps` times if that is not 0. */
static struct pp_sched *shuffled(const struct pp_sched *s, int32_t swaps, uint64_t *seed) {
    struct pp_sched *t = NULL;
    cr_assert_eq(pp_sched_create(s->rank_count, s->stage_count, s->microbatch_count, s->stage_rank,
                                 &t, NULL),
                 PP_OK);
    int32_t *cells = malloc((size_t)s->action_count * sizeof *cells);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int32_t n = 0;
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            cells[n] = at;
            n += s->actions[at].pair != 2;
        }
        for (int32_t i = 0; i < (swaps > 0 ? swaps : n) && n > 1; i++) {
            int32_t a = swaps > 0 ? random_below(seed, n - 1) : i;
            int32_t b = swaps > 0 ? a + 1 : random_below(seed, n);
            int32_t cell = cells[a];
            cells[a] = cells[b];
            cells[b] = cell;
        }
        for (int32_t i = 0; i < n; i++) {
            copy_cell(t, s, cells[i]);
        }
    }
    free(cells);
    return t;
}

static bool same_order(const struct pp_sched *a, const struct pp_sched *b) {
    for (int32_t at = 0; at < a->action_count; at++) {
        const struct pp_action *x = &a->actions[at];
        const struct pp_action *y = &b->actions[at];
        if (x->stage != y->stage || x->microbatch != y->microbatch || x->type != y->type ||
            x->pair != y->pair) {
            return false;
        }
    }
    return a->action_count == b->action_count;
}

static bool runs(const struct pp_sched *s) {
    struct pp_comms comms = {.channels = PP_CHANNELS_DIRECTED};
    struct pp_sched *ours = lower(s, PP_LOWER_OURS);
    bool does = pp_check_run(s, &comms, NULL, NULL) == PP_OK &&
                pp_check_run(ours, &comms, NULL, NULL) == PP_OK;
    pp_sched_destroy(ours);
    return does;
}

Test(check_repair, shuffled_schedules_run_again) {
    enum { ROUNDS = 2000 };
    uint64_t seed = 7;
    int64_t hung = 0;
    int64_t out_of_order = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct pp_sched *s = sealed(draw_schedule(&seed));
        struct pp_sched *t = shuffled(s, i % 4, &seed);
        struct pp_sched *repaired = NULL;
        struct pp_sched *again = NULL;
        struct pp_findings findings = {0};
        struct pp_err err = {0};
        int32_t moved = -1;
        bool was_sealed = pp_sched_seal_all(t, &findings, &err) == PP_OK;
        bool ran = was_sealed && runs(t);
        cr_assert_eq(pp_check_repair(t, &repaired, &moved, &err), PP_OK, "%s", err.message);
        cr_assert(runs(repaired));
        cr_assert_eq(repaired->action_count, s->action_count);
        cr_assert_eq(moved == 0, ran);
        cr_assert_eq(same_order(t, repaired), ran);
        cr_assert_eq(pp_check_repair(repaired, &again, &moved, &err), PP_OK);
        cr_assert(moved == 0 && same_order(repaired, again));
        out_of_order += !was_sealed;
        hung += was_sealed && !ran;
        pp_findings_deinit(&findings);
        pp_sched_destroy(again);
        pp_sched_destroy(repaired);
        pp_sched_destroy(t);
        pp_sched_destroy(s);
    }
    cr_log_info("%d schedules: %ld out of order within a rank, %ld more hung", ROUNDS, out_of_order,
                hung);
}

static void expect_repair_of(const struct pp_csv_expect *kind, const char *text, const char *wanted,
                             int32_t wanted_moved) {
    struct pp_findings findings = {0};
    struct pp_sched *s = NULL;
    struct pp_sched *repaired = NULL;
    struct pp_text csv = {0};
    struct pp_err err = {0};
    int32_t moved;
    pp_sched_csv_parse_all("x.csv", text, strlen(text), kind, &findings, &s, &err);
    cr_assert_not_null(s, "%s", err.message);
    cr_assert_eq(pp_check_repair(s, &repaired, &moved, &err), PP_OK, "%s", err.message);
    cr_expect_eq(repaired->part_count, s->part_count);
    cr_assert_eq(pp_sched_csv_write(repaired, &csv, &err), PP_OK);
    cr_expect_str_eq(csv.bytes, wanted);
    cr_expect_eq(moved, wanted_moved, "%d moved, need %d", moved, wanted_moved);
    pp_text_free(&csv);
    pp_findings_deinit(&findings);
    pp_sched_destroy(repaired);
    pp_sched_destroy(s);
}

static void expect_repair(const char *text, const char *wanted, int32_t wanted_moved) {
    expect_repair_of(&(struct pp_csv_expect){0}, text, wanted, wanted_moved);
}

/* Stages 0 and 1 are one pipeline, 2 and 3 the other, from the other end. */
Test(check_repair, two_pipelines_wait_for_their_own_stages_only) {
    struct pp_csv_expect both = {.is_bidirectional = true};
    expect_repair_of(&both, "0F0,3F0,3B0,0B0\n2F0,1F0,1B0,2B0\n",
                     "0F0,3F0,3B0,0B0\r\n2F0,1F0,1B0,2B0\r\n", 0);
    expect_repair_of(&both, "0F0,0B0,3F0,3B0\n2F0,2B0,1F0,1B0\n",
                     "0F0,3F0,3B0,0B0\r\n2F0,1F0,2B0,1B0\r\n", 3);
}

Test(check_repair, one_action_is_pulled_forward_the_shortest_way) {
    /* rank 0 wants its first backward too early: rank 1 still waits for the second forward */
    expect_repair("0F0,0B0,0F1,0B1\n1F0,1F1,1B0,1B1\n", "0F0,0F1,0B0,0B1\r\n1F0,1F1,1B0,1B1\r\n",
                  1);
    expect_repair("0B0,0F0\n1F0,1B0\n", "0F0,0B0\r\n1F0,1B0\r\n", 1);
    expect_repair("0F0,0W0,0I0\n1W0,1I0,1F0\n", "0F0,0I0,0W0\r\n1F0,1I0,1W0\r\n", 3);
}

Test(check_repair, a_pair_is_split_only_where_it_must_be) {
    /* on the last stage a pair may use what it makes */
    expect_repair("0F0,0B0\n(1F0;1B0)OVERLAP_F_B\n", "0F0,0B0\r\n(1F0;1B0)OVERLAP_F_B\r\n", 0);
    expect_repair("0F0,0B0\n(1B0;1F0)OVERLAP_F_B\n", "0F0,0B0\r\n1F0,1B0\r\n", 1);
    expect_repair("(0F0;0B0)OVERLAP_F_B\n1F0,1B0\n", "0F0,0B0\r\n1F0,1B0\r\n", 1);
    /* two pairs that need each other: one is split */
    expect_repair("0F0,(0F1;0B0)OVERLAP_F_B,0B1\n1F0,(1F1;1B0)OVERLAP_F_B,1B1\n",
                  "0F0,0F1,0B0,0B1\r\n1F0,(1F1;1B0)OVERLAP_F_B,1B1\r\n", 1);
    /* W needs more than the pair's F */
    expect_repair("(0F0;0W0)OVERLAP_F_B,0I0\n", "0F0,0I0,0W0\r\n", 2);
    /* pulled forward whole: two actions */
    expect_repair("0F0,0B1,(0F1;0B0)OVERLAP_F_B\n", "0F0,(0F1;0B0)OVERLAP_F_B,0B1\r\n", 2);
}

static void expect_none(bool is_lowered, const char *text, const char *words) {
    struct pp_csv_expect any = {.is_lowered = is_lowered};
    struct pp_findings findings = {0};
    struct pp_sched *s = NULL;
    struct pp_sched *repaired = NULL;
    struct pp_err err = {0};
    int32_t moved;
    pp_sched_csv_parse_all("x.csv", text, strlen(text), &any, &findings, &s, &err);
    cr_assert_not_null(s, "%s", err.message);
    cr_assert_eq(pp_check_repair(s, &repaired, &moved, &err), PP_E_CSV);
    cr_assert(strstr(err.message, words) != NULL, "%s", err.message);
    pp_findings_deinit(&findings);
    pp_sched_destroy(s);
}

Test(check_repair, what_no_order_mends_is_said) {
    expect_none(false, "0F0,0B0,0F0\n1F0,1B0\n", "0F0 is one too many");
    expect_none(false, "0F0,0B0,0W0\n1F0,1B0\n", "0W0 is one too many");
    expect_none(false, "0F0,0I0\n1F0,1B0\n", "0W0 is missing");
    expect_none(false, "0F0,0B0\n1F0\n", "1B0 is missing");
    expect_none(true, "0F0,0OFFLOAD0,0RELOAD0,0B0\n", "0OFFLOAD0 is bound to its place");
}
