/* Sealing of lowered schedules: what is legal, what is not and where. */
#include "tests/sim/sim_support.h"

/* Adds a rank's actions, such as "0UNSHARD 0F0 0SEND_F0". */
static enum pp_status add_row(struct pp_sched *s, int32_t rank, const char *row,
                              struct pp_err *err) {
    for (const char *at = row; *at != '\0'; at += *at == ' ') {
        char *end = NULL;
        int32_t stage = (int32_t)strtol(at, &end, 10);
        enum pp_action_type best = PP_F;
        for (enum pp_action_type type = PP_F; type < PP_ACTION_TYPE_COUNT; type++) {
            const char *text = pp_action_type_text(type);
            if (strncmp(end, text, strlen(text)) == 0 &&
                strlen(text) >= strlen(pp_action_type_text(best))) {
                best = type;
            }
        }
        at = end + strlen(pp_action_type_text(best));
        int32_t microbatch = *at == ' ' || *at == '\0' ? -1 : (int32_t)strtol(at, &end, 10);
        at += strspn(at, "0123456789");
        PP_TRY(pp_sched_add(s, rank, best, stage, microbatch, err));
    }
    return PP_OK;
}

/* Two ranks with a stage each and one microbatch. */
static enum pp_status seal_rows(const char *const rows[2], struct pp_sched **sched_p,
                                struct pp_err *err) {
    static const int32_t stage_rank[] = {0, 1};
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_sched_create(2, 2, 1, stage_rank, &s, NULL), PP_OK);
    pp_sched_set_lowered(s);
    for (int32_t rank = 0; rank < 2; rank++) {
        cr_assert_eq(add_row(s, rank, rows[rank], err), PP_OK, "%s", err->message);
    }
    *sched_p = s;
    return pp_sched_seal(s, err);
}

Test(schedule_lowered, a_whole_one_seals_and_links_producers) {
    static const char *const rows[] = {
        "0UNSHARD 0F0 0SEND_F0 0RECV_B0 0B0 0REDUCE_GRAD 0RESHARD",
        "1UNSHARD 1RECV_F0 1F0 1I0 1SEND_B0 1W0 1REDUCE_GRAD 1RESHARD"};
    static const int32_t producer[] = {-1, -1, 1, 11, 3, -1, -1, -1, 2, 8, -1, 10, -1, -1, -1};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(seal_rows(rows, &s, &err), PP_OK, "%s", err.message);
    cr_assert_eq(s->action_count, 15);
    for (int32_t at = 0; at < s->action_count; at++) {
        cr_expect_eq(s->actions[at].cell, at < 7 ? at : at - 7);
        cr_expect_eq(s->producer[at], producer[at], "action %d", at);
    }
    struct pp_eval *e = NULL;
    cr_expect_eq(pp_eval_create(s, &e, NULL, &err), PP_E_ARG);
    cr_expect_null(e);
    pp_sched_destroy(s);
}

struct broken {
    const char *rows[2];
    int32_t line, column;
    const char *word;
};

static const struct broken broken_ones[] = {
    {{"0F0 0RECV_B0 0B0", "1RECV_F0 1F0 1B0 1SEND_B0"}, 1, 3, "never runs 0SEND_F0"},
    {{"0F0 0SEND_F0 0RECV_B0 0B0", "1RECV_F0 1F0 1B0"}, 2, 3, "never runs 1SEND_B0"},
    {{"0F0 0SEND_F0 0RECV_B0 0B0", "1F0 1B0 1SEND_B0"}, 2, 3, "never runs 1RECV_F0"},
    {{"0SEND_F0 0F0 0RECV_B0 0B0", "1RECV_F0 1F0 1B0 1SEND_B0"}, 1, 1, "before 0F0"},
    {{"0F0 0SEND_F0 0B0 0RECV_B0", "1RECV_F0 1F0 1B0 1SEND_B0"}, 1, 4, "after 0B0"},
    {{"0F0 0SEND_F0 0RECV_B0 0B0", "1F0 1RECV_F0 1B0 1SEND_B0"}, 2, 2, "after 1F0"},
    {{"0F0 0SEND_F0 0SEND_F0 0RECV_B0 0B0", "1RECV_F0 1F0 1B0 1SEND_B0"}, 1, 3, "second time"},
    {{"0RECV_F0 0F0 0SEND_F0 0RECV_B0 0B0", "1RECV_F0 1F0 1B0 1SEND_B0"}, 1, 1, "the first of"},
    {{"0F0 0SEND_F0 0RECV_B0 0B0", "1RECV_F0 1F0 1B0 1SEND_B0 1SEND_F0"}, 2, 5, "the last of"},
    {{"0F0 0UNSHARD 0SEND_F0 0RECV_B0 0B0 0RESHARD", "1RECV_F0 1F0 1B0 1SEND_B0"},
     1,
     1,
     "outside of its stage's UNSHARD"},
    {{"0UNSHARD 0F0 0SEND_F0 0RECV_B0 0B0 0RESHARD", "1RECV_F0 1F0 1B0 1SEND_B0"},
     2,
     2,
     "outside of its stage's UNSHARD"},
    {{"0UNSHARD 0UNSHARD 0F0 0SEND_F0 0RECV_B0 0B0", "1RECV_F0 1F0 1B0 1SEND_B0"},
     1,
     2,
     "gathered already"},
    {{"0F0 0SEND_F0 0RECV_B0 0B0 0RESHARD", "1RECV_F0 1F0 1B0 1SEND_B0"}, 1, 5, "not gathered"},
    {{"0UNSHARD 0F0 0SEND_F0 0RECV_B0 0B0 0RESHARD", "1UNSHARD 1RECV_F0 1F0 1B0 1SEND_B0"},
     2,
     5,
     "never runs 1RESHARD"},
    {{"0F0 0SEND_F0 0RECV_B0 0REDUCE_GRAD 0B0", "1RECV_F0 1F0 1B0 1SEND_B0"},
     1,
     4,
     "before its stage's last"},
    {{"0F0 0SEND_F0 0RECV_B0 0B0 0REDUCE_GRAD 0REDUCE_GRAD", "1RECV_F0 1F0 1B0 1SEND_B0"},
     1,
     6,
     "second time"},
    {{"0F0 0SEND_F0 0RECV_B0 0B0 0REDUCE_GRAD", "1RECV_F0 1F0 1B0 1SEND_B0"},
     2,
     4,
     "never runs 1REDUCE_GRAD"},
    {{"0F0 0SEND_F0 0RECV_B0 0B0 0F0", "1RECV_F0 1F0 1B0 1SEND_B0"}, 1, 5, "second time"},
    {{"0F0 0SEND_F0 0RECV_B0", "1RECV_F0 1F0 1B0 1SEND_B0"}, 1, 3, "never runs 0B0"},
};

Test(schedule_lowered, broken_ones_are_refused_with_row_column_and_reason) {
    for (size_t i = 0; i < sizeof broken_ones / sizeof broken_ones[0]; i++) {
        const struct broken *b = &broken_ones[i];
        struct pp_sched *s = NULL;
        struct pp_err err = {0};
        cr_expect_eq(seal_rows(b->rows, &s, &err), PP_E_CSV, "%zu", i);
        cr_expect(err.line == b->line && err.column == b->column, "%zu: %d:%d, %s", i, err.line,
                  err.column, err.message);
        cr_expect_not_null(strstr(err.message, b->word), "%zu: %s", i, err.message);
        pp_sched_destroy(s);
    }
}

/* Not after the first of the microbatches only, and a W counts as well as a B. */
Test(schedule_lowered, gradients_are_reduced_after_the_last_microbatch) {
    static const struct {
        const char *row;
        enum pp_status status;
    } cases[] = {
        {"0F0 0F1 0B0 0B1 0REDUCE_GRAD", PP_OK},
        {"0F0 0F1 0I0 0B1 0W0 0REDUCE_GRAD", PP_OK},
        {"0F0 0F1 0B0 0REDUCE_GRAD 0B1", PP_E_CSV},
        {"0F0 0F1 0I0 0B1 0REDUCE_GRAD 0W0", PP_E_CSV},
        /* with numbers: after the B or W of each, all covered once */
        {"0F0 0F1 0B0 0REDUCE_GRAD0 0B1 0REDUCE_GRAD1", PP_OK},
        {"0F0 0F1 0I0 0B1 0REDUCE_GRAD1 0W0 0REDUCE_GRAD0", PP_OK},
        {"0F0 0F1 0B0 0B1 0REDUCE_GRAD1", PP_OK},
        {"0F0 0F1 0B0 0B1 0REDUCE_GRAD0", PP_OK},
        {"0F0 0F1 0B1 0REDUCE_GRAD0 0B0 0REDUCE_GRAD1", PP_E_CSV},
        {"0F0 0F1 0I0 0REDUCE_GRAD0 0B1 0W0 0REDUCE_GRAD1", PP_E_CSV},
        {"0F0 0F1 0B0 0REDUCE_GRAD0 0B1", PP_E_CSV},
        {"0F0 0F1 0B0 0B1 0REDUCE_GRAD0 0REDUCE_GRAD1", PP_E_CSV},
        {"0F0 0F1 0B0 0REDUCE_GRAD0 0B1 0REDUCE_GRAD0", PP_E_CSV},
        {"0F0 0F1 0B0 0B1 0REDUCE_GRAD1 0REDUCE_GRAD1", PP_E_CSV},
        {"0F0 0F1 0B0 0REDUCE_GRAD0 0B1 0REDUCE_GRAD", PP_E_CSV},
        {"0F0 0F1 0B0 0B1 0REDUCE_GRAD 0REDUCE_GRAD1", PP_E_CSV},
    };
    static const int32_t one[] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pp_sched *s = NULL;
        struct pp_err err = {0};
        cr_assert_eq(pp_sched_create(1, 1, 2, one, &s, NULL), PP_OK);
        pp_sched_set_lowered(s);
        cr_assert_eq(add_row(s, 0, cases[i].row, &err), PP_OK, "%s", err.message);
        cr_expect_eq(pp_sched_seal(s, &err), cases[i].status, "%s: %s", cases[i].row, err.message);
        pp_sched_destroy(s);
    }
}

/* Numbered or not is each stage's own; what is wrong is said where it stands. */
Test(schedule_lowered, numbered_reductions_say_what_is_wrong) {
    static const struct {
        const char *row;
        int32_t column;
        const char *word;
    } cases[] = {
        {"0F0 1F0 1B0 1REDUCE_GRAD0 0B0 0F1 1F1 1B1 1REDUCE_GRAD1 0B1 0REDUCE_GRAD", 0, ""},
        {"0F0 1F0 1B0 0B0 0F1 1F1 1REDUCE_GRAD1 1B1 0B1 0REDUCE_GRAD", 7,
         "before the B or W of its microbatch"},
        {"0F0 1F0 1B0 0B0 0F1 1F1 1B1 1REDUCE_GRAD1 1REDUCE_GRAD0 0B1 0REDUCE_GRAD", 9,
         "REDUCE_GRAD before has"},
        {"0F0 1F0 1B0 1REDUCE_GRAD0 0B0 0F1 1F1 1B1 1REDUCE_GRAD 0B1 0REDUCE_GRAD", 9,
         "needs a microbatch number on all"},
        {"0F0 1F0 1B0 1REDUCE_GRAD0 0B0 0F1 1F1 1B1 0B1 0REDUCE_GRAD", 10,
         "never runs 1REDUCE_GRAD1"},
        {"0F0 1F0 1B0 1REDUCE_GRAD0 0B0 0F1 1F1 1B1 1REDUCE_GRAD1 0B1", 10,
         "never runs 0REDUCE_GRAD in"},
    };
    static const int32_t one[] = {0, 0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pp_sched *s = NULL;
        struct pp_err err = {0};
        cr_assert_eq(pp_sched_create(1, 2, 2, one, &s, NULL), PP_OK);
        pp_sched_set_lowered(s);
        cr_assert_eq(add_row(s, 0, cases[i].row, &err), PP_OK, "%s", err.message);
        cr_expect_eq(pp_sched_seal(s, &err), cases[i].column > 0 ? PP_E_CSV : PP_OK, "%zu: %s", i,
                     err.message);
        cr_expect(err.column == cases[i].column && strstr(err.message, cases[i].word) != NULL,
                  "%zu: %d, %s", i, err.column, err.message);
        pp_sched_destroy(s);
    }
}

Test(schedule_lowered, neighbours_on_one_rank_use_no_transfer) {
    static const int32_t one[] = {0, 0};
    struct pp_err err = {0};
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_sched_create(1, 2, 1, one, &s, NULL), PP_OK);
    pp_sched_set_lowered(s);
    cr_assert_eq(add_row(s, 0, "0F0 1F0 1B0 0B0", &err), PP_OK);
    cr_assert_eq(pp_sched_seal(s, &err), PP_OK, "%s", err.message);
    static const int32_t producer[] = {-1, 0, -1, 2};
    cr_expect_eq(memcmp(s->producer, producer, sizeof producer), 0);
    pp_sched_destroy(s);
    cr_assert_eq(pp_sched_create(1, 2, 1, one, &s, NULL), PP_OK);
    pp_sched_set_lowered(s);
    cr_assert_eq(add_row(s, 0, "0F0 0SEND_F0 1F0 1B0 0B0", &err), PP_OK);
    cr_assert_eq(pp_sched_seal(s, &err), PP_E_CSV);
    cr_expect_not_null(strstr(err.message, "on one rank"), "%s", err.message);
    pp_sched_destroy(s);
}

Test(schedule_lowered, actions_that_cannot_be_are_refused) {
    static const int32_t stage_rank[] = {0, 1};
    struct pp_err err = {0};
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_sched_create(2, 2, 1, stage_rank, &s, NULL), PP_OK);
    pp_sched_set_lowered(s);
    cr_expect_eq(pp_sched_add(s, 0, PP_UNSHARD, 0, 0, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add(s, 0, PP_RESHARD, 0, 0, &err), PP_E_RANGE);
    cr_expect_str_eq(err.message, "RESHARD has no microbatch, need -1, got 0");
    cr_expect_eq(pp_sched_add(s, 0, PP_REDUCE_GRAD, 0, 1, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add(s, 0, PP_REDUCE_GRAD, 0, -2, &err), PP_E_RANGE);
    cr_expect_str_eq(err.message, "microbatch -2 is out of range, need 0 to 0");
    cr_expect_eq(pp_sched_add(s, 0, PP_SEND_F, 0, -1, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add(s, 0, PP_SEND_F, 0, 1, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add(s, 0, PP_UNSHARD, 1, -1, &err), PP_E_PLACEMENT);
    cr_expect_str_eq(err.message, "1UNSHARD on rank 0, but stage 1 is on rank 1");
    cr_expect_eq(pp_sched_add_idle(s, 0, 1, &err), PP_E_RANGE);
    cr_expect_eq(pp_sched_add_pair(s, 0, PP_SEND_F, 0, 0, PP_F, 0, 0, &err), PP_E_RANGE);
    cr_assert_eq(s->action_count, 0);
    pp_sched_destroy(s);
}
