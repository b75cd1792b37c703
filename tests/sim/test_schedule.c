#include "tests/sim/sim_support.h"

static const int32_t loop[] = {0, 1, 0, 1};

static struct pp_sched *create(int32_t ranks, int32_t stages, int32_t microbatches) {
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_sched_create(ranks, stages, microbatches, loop, &s, NULL), PP_OK);
    return s;
}

Test(schedule, counts_out_of_range_are_refused) {
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_expect_eq(pp_sched_create(0, 4, 1, loop, &s, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_create(PP_SCHED_MAX_RANKS + 1, 4, 1, loop, &s, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_create(2, 0, 1, loop, &s, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_create(2, INT32_MAX, 1, loop, &s, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_create(2, 4, 0, loop, &s, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_create(2, 4, INT32_MAX, loop, &s, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_create(2, 65536, 1 << 20, loop, &s, &err), PP_E_RANGE);
    cr_expect_not_null(strstr(err.message, "actions"), "%s", err.message);
    cr_assert_null(s);
}

Test(schedule, placements_with_a_hole_are_refused) {
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_expect_eq(pp_sched_create(3, 4, 1, loop, &s, &err), PP_E_PLACEMENT);
    cr_expect_not_null(strstr(err.message, "rank 2 holds none"), "%s", err.message);
    cr_expect_eq(pp_sched_create(1, 4, 1, loop, &s, &err), PP_E_PLACEMENT);
    int32_t negative[] = {0, -1};
    cr_expect_eq(pp_sched_create(1, 2, 1, negative, &s, &err), PP_E_PLACEMENT);
    cr_assert_null(s);
}

Test(schedule, actions_that_cannot_be_are_refused) {
    struct pp_sched *s = create(2, 4, 2);
    struct pp_err err = {0};
    cr_expect_eq(pp_sched_add(s, 2, PP_F, 0, 0, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add(s, -1, PP_F, 0, 0, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add(s, 0, PP_F, 4, 0, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add(s, 0, PP_F, -1, 0, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add(s, 0, PP_F, 0, 2, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add(s, 0, PP_SEND_F, 0, 0, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add(s, 0, PP_F, 1, 0, &err), PP_E_PLACEMENT);
    cr_expect_str_eq(err.message, "1F0 on rank 0, but stage 1 is on rank 1");
    cr_expect_eq(pp_sched_add_pair(s, 0, PP_F, 0, 0, PP_F, 2, 0, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add_pair(s, 0, PP_I, 0, 0, PP_W, 2, 0, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add_pair(s, 0, PP_F, 0, 0, PP_B, 1, 0, &err), PP_E_PLACEMENT);
    cr_expect_eq(pp_sched_add_idle(s, 0, -1, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add_idle(s, 0, INT32_MAX, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add_idle(s, 2, 1, &err), PP_E_RANGE);
    cr_assert_eq(s->action_count, 0);
    cr_assert_eq(s->cell_count[0], 0);
    pp_sched_destroy(s);
    pp_sched_destroy(NULL);
}

/* Ranks may be filled in any order; sealing groups them and keeps each rank's order. */
Test(schedule, sealing_groups_by_rank_and_links_producers) {
    struct pp_sched *s = create(2, 2, 1);
    cr_assert_eq(pp_sched_add_idle(s, 1, 1, NULL), PP_OK);
    cr_assert_eq(pp_sched_add(s, 1, PP_F, 1, 0, NULL), PP_OK);
    cr_assert_eq(pp_sched_add(s, 0, PP_F, 0, 0, NULL), PP_OK);
    cr_assert_eq(pp_sched_add(s, 1, PP_I, 1, 0, NULL), PP_OK);
    cr_assert_eq(pp_sched_add(s, 0, PP_B, 0, 0, NULL), PP_OK);
    cr_assert_eq(pp_sched_add(s, 1, PP_W, 1, 0, NULL), PP_OK);
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_seal(s, &err), PP_OK, "%s", err.message);
    cr_assert_eq(s->rank_begin[1], 2);
    cr_assert_eq(s->rank_begin[2], 5);
    static const int32_t producer[] = {-1, 3, 0, -1, -1}; /* 0F0 0B0 | 1F0 1I0 1W0 */
    for (int i = 0; i < 5; i++) {
        cr_expect_eq(s->producer[i], producer[i], "action %d", i);
    }
    cr_expect_eq(s->actions[2].cell, 1);
    struct pp_text csv = {0};
    cr_assert_eq(pp_sched_csv_write(s, &csv, NULL), PP_OK);
    cr_expect_str_eq(csv.bytes, "0F0,0B0\r\n,1F0,1I0,1W0\r\n");
    char expected[65];
    char hex[65];
    pp_sha256_hex(csv.bytes, csv.size, expected);
    pp_sched_csv_sha256(s, hex);
    cr_expect_str_eq(hex, expected);
    pp_text_free(&csv);
    pp_sched_destroy(s);
}

Test(schedule, an_unfinished_schedule_says_what_is_missing_and_can_be_finished) {
    struct pp_sched *s = create(1, 1, 1);
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_seal(s, &err), PP_E_CSV);
    cr_assert_not_null(strstr(err.message, "never runs 0F0"), "%s", err.message);
    cr_assert_eq(pp_sched_add(s, 0, PP_F, 0, 0, NULL), PP_OK);
    cr_assert_eq(pp_sched_seal(s, &err), PP_E_CSV);
    cr_assert_not_null(strstr(err.message, "never runs 0B0 (or I and W)"), "%s", err.message);
    cr_assert_eq(pp_sched_add(s, 0, PP_I, 0, 0, NULL), PP_OK);
    cr_assert_eq(pp_sched_seal(s, &err), PP_E_CSV);
    cr_assert_not_null(strstr(err.message, "never runs 0W0"), "%s", err.message);
    cr_assert_not(s->sealed);
    cr_assert_eq(pp_sched_add(s, 0, PP_W, 0, 0, NULL), PP_OK);
    cr_assert_eq(pp_sched_seal(s, &err), PP_OK);
    pp_sched_destroy(s);
}

/* Adds to rank 0 actions of stage 0, a letter and a digit each, such as "F0O0R0B0". */
static void add_row(struct pp_sched *s, const char *row) {
    static const struct {
        char letter;
        enum pp_action_type type;
    } types[] = {{'F', PP_F}, {'B', PP_B},       {'I', PP_I},
                 {'W', PP_W}, {'O', PP_OFFLOAD}, {'R', PP_RELOAD}};
    for (; *row != '\0'; row += 2) {
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
            if (*row == types[i].letter) {
                cr_assert_eq(pp_sched_add(s, 0, types[i].type, 0, row[1] - '0', NULL), PP_OK);
            }
        }
    }
}

Test(schedule, texts_are_pytorchs) {
    char text[PP_ACTION_TEXT_BYTES];
    struct pp_action a = {.stage = 2, .microbatch = 0, .type = PP_F};
    cr_expect_str_eq(pp_action_text(&a, text), "2F0");
    a = (struct pp_action){.stage = 1, .microbatch = -1, .type = PP_UNSHARD};
    cr_expect_str_eq(pp_action_text(&a, text), "1UNSHARD");
    a = (struct pp_action){.stage = INT32_MAX, .microbatch = INT32_MAX, .type = PP_REDUCE_GRAD};
    cr_expect_str_eq(pp_action_text(&a, text), "2147483647REDUCE_GRAD2147483647");
    a = (struct pp_action){.stage = 65535, .microbatch = 1000000, .type = PP_SEND_B};
    cr_expect_str_eq(pp_action_text(&a, text), "65535SEND_B1000000");
    cr_expect_str_eq(pp_action_type_text(PP_I), "I");
    for (int at = 0; at < PP_ACTION_TYPE_COUNT * PP_ACTION_TYPE_COUNT; at++) {
        const char *name = pp_action_type_text(at / PP_ACTION_TYPE_COUNT);
        const char *other = pp_action_type_text(at % PP_ACTION_TYPE_COUNT);
        cr_expect(name == other || strncmp(name, other, strlen(name)) != 0, "%s, %s", name, other);
    }
}

/* One stage; units are microbatch * slices + slice. */
Test(schedule, slices_run_in_order_and_back_in_reverse) {
    static const struct {
        int32_t slices;
        const char *row, *message; /* NULL: fine */
    } cases[] = {
        {2, "F0F1B1B0F2F3B3B2", NULL},
        {2, "F2F0F3F1I1I3W3W1I0I2W0W2", NULL}, /* two microbatches in any order */
        {2, "F1F0B1B0F2F3B3B2",
         "row 1, column 1: 0F1 comes before the forward of the slice before it"},
        {2, "F0F1B0B1F2F3B3B2",
         "row 1, column 3: 0B0 comes before the backward of the slice after it"},
        {2, "F0F1B1B0F2F3I2I3W2W3",
         "row 1, column 7: 0I2 comes before the backward of the slice after it"},
        {4, "F0F2F1F3B3B2B1B0",
         "row 1, column 2: 0F2 comes before the forward of the slice before it"},
        {4, "F0F1F2F3B3B1B2B0",
         "row 1, column 6: 0B1 comes before the backward of the slice after it"},
        {1, "F3F0F2F1B0B1B2B3", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pp_sched *s = create(1, 1, 4);
        struct pp_err err = {0};
        cr_assert_eq(pp_sched_set_slices(s, cases[i].slices, NULL), PP_OK);
        add_row(s, cases[i].row);
        cr_expect_eq(pp_sched_seal(s, &err), cases[i].message == NULL ? PP_OK : PP_E_CSV);
        cr_expect_str_eq(err.message, cases[i].message == NULL ? "" : cases[i].message, "%s",
                         cases[i].row);
        pp_sched_destroy(s);
    }
}

Test(schedule, equal_content_gives_equal_ids_and_other_content_another) {
    static const char *const names[] = {"Interleaved1F1B", "Interleaved1F1B", "LoopedBFS"};
    char id[3][65];
    for (int i = 0; i < 3; i++) {
        struct pp_sched *s = make_schedule(names[i], 4, 2, 8);
        pp_sched_csv_sha256(s, id[i]);
        cr_assert_eq(pp_sched_stages_of(s, 3), 2);
        pp_sched_destroy(s);
    }
    cr_assert_str_eq(id[0], id[1]);
    cr_assert_str_neq(id[0], id[2]);
}

Test(schedule, a_rank_may_hold_all_stages_there_can_be) {
    static int32_t stage_rank[PP_SCHED_MAX_STAGES]; /* zeros */
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_sched_create(1, PP_SCHED_MAX_STAGES, 1, stage_rank, &s, NULL), PP_OK);
    cr_expect_eq(pp_sched_stages_of(s, 0), PP_SCHED_MAX_STAGES);
    cr_expect_eq(pp_sched_shares_of(s, 0), PP_SCHED_MAX_STAGES);
    cr_assert_eq(pp_sched_set_bidirectional(s, NULL), PP_OK);
    cr_expect_eq(pp_sched_shares_of(s, 0), PP_SCHED_MAX_STAGES / 2);
    pp_sched_destroy(s);
}

/* --- transfers to the host ---------------------------------------------------------------------*/

static struct pp_sched *of_rows(const char *row) {
    struct pp_sched *s = create(1, 1, 1 + (strchr(row, '1') != NULL));
    add_row(s, row);
    return s;
}

Test(schedule, offloads_stand_between_forward_and_backward) {
    static const struct {
        const char *row, *message; /* NULL: fine */
    } cases[] = {
        {"F0O0R0B0", NULL},
        {"F0F1O0O1R1B1R0I0W0", NULL},
        {"O0F0R0B0", "row 1, column 1: 0OFFLOAD0 comes before its forward; F must run first"},
        {"F0O0O0R0B0", "row 1, column 2: 0OFFLOAD0 appears a second time"},
        {"F0O0R0R0B0", "row 1, column 2: 0RELOAD0 appears a second time"},
        {"F0R0O0B0", "row 1, column 2: 0RELOAD0 comes before its OFFLOAD; it must leave first"},
        {"F0R0B0", "row 1, column 2: 0RELOAD0 comes before its OFFLOAD; it must leave first"},
        {"F0O0B0R0", "row 1, column 3: 0RELOAD0 comes after its backward, which needs it"},
        {"F0O0I0R0W0", "row 1, column 3: 0RELOAD0 comes after its backward, which needs it"},
        {"F0F1O1B1B0",
         "row 1, column 3: 0OFFLOAD1 has no RELOAD; its backward needs what it moves"},
        {"F0B0O0", "row 1, column 3: 0OFFLOAD0 has no RELOAD; its backward needs what it moves"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pp_sched *s = of_rows(cases[i].row);
        struct pp_err err = {0};
        enum pp_status status = pp_sched_seal(s, &err);
        cr_expect_eq(status, cases[i].message == NULL ? PP_OK : PP_E_CSV, "%s", cases[i].row);
        cr_expect_str_eq(err.message, cases[i].message == NULL ? "" : cases[i].message);
        pp_sched_destroy(s);
    }
}

Test(schedule, backwards_know_their_reload_and_files_do_not_hold_it) {
    struct pp_sched *s = of_rows("F0F1O0O1R1B1R0I0W0");
    cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
    static const int32_t reload[] = {-1, -1, -1, -1, -1, 4, -1, 6, -1};
    for (int i = 0; i < 9; i++) {
        cr_expect_eq(s->reload[i], reload[i], "action %d", i);
    }
    struct pp_text csv = {0};
    cr_assert_eq(pp_sched_csv_write(s, &csv, NULL), PP_OK);
    cr_expect_str_eq(csv.bytes, "0F0,0F1,0B1,0I0,0W0\r\n");
    pp_text_free(&csv);
    pp_sched_destroy(s);
}
