#include "sim/lower.h"
#include "tests/sim/random_sched.h"

#include <stdio.h>

static const struct pp_csv_expect any = {0};
static const struct pp_csv_expect two = {.rank_count = 2, .stage_count = 2, .microbatch_count = 2};

/* Reads a text, writes it back and compares; returns whether it was accepted. */
static bool same_again(const char *label, const char *text, const char *expected,
                       const struct pp_csv_expect *expect) {
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    if (pp_sched_csv_parse(label, text, strlen(text), expect, &s, &err) != PP_OK) {
        cr_expect_null(s);
        cr_log_info("%s: %s", label, err.message);
        return false;
    }
    struct pp_text out = {0};
    cr_assert_eq(pp_sched_csv_write(s, &out, NULL), PP_OK);
    cr_expect_str_eq(out.bytes, expected, "%s", label);
    pp_text_free(&out);
    pp_sched_destroy(s);
    return true;
}

static void custom_row(char *f[MAX_FIELDS], int count, void *context) {
    int *accepted = context;
    cr_assert_eq(count, 7);
    struct pp_sched *s = parse_custom(f);
    struct pp_err err = {0};
    cr_expect(has_id(s, f[4]), "%s", f[6]);
    char *at = f[3];
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        cr_expect_eq(s->stage_rank[stage], (int32_t)strtol(at, &at, 10));
        at += *at == ',';
    }
    struct pp_eval *e = NULL;
    cr_expect_eq(pp_eval_create(s, &e, NULL, &err), PP_OK, "%s", err.message);
    pp_eval_destroy(e);
    pp_sched_destroy(s);
    (*accepted)++;
}

Test(schedule_csv, hand_made_schedules_come_back_byte_for_byte) {
    int accepted = 0;
    int rows = each_row(PP_TEST_DIR "/sim/torch_custom.tsv", custom_row, &accepted);
    cr_assert_eq(accepted, rows);
    cr_assert_geq(rows, 90);
}

Test(schedule_csv, accepts_what_spreadsheets_and_editors_do_to_a_file) {
    const char *plain = "0F0,0F1,0B0,0B1\r\n,1F0,1B0,1F1,1B1\r\n";
    cr_expect(same_again("plain", plain, plain, &two));
    cr_expect(same_again("LF", "0F0,0F1,0B0,0B1\n,1F0,1B0,1F1,1B1\n", plain, &two));
    cr_expect(same_again("no end", "0F0,0F1,0B0,0B1\r\n,1F0,1B0,1F1,1B1", plain, &two));
    cr_expect(same_again("spaces", "0F0 , 0F1\t,0B0, 0B1\r\n ,1F0,1B0,1F1, 1B1 ", plain, &two));
    cr_expect(
        same_again("quotes", "\"0F0\",0F1,0B0,\"0B1\"\r\n\"\",1F0,1B0,1F1,1B1\r\n", plain, &any));
    cr_expect(same_again("idle at the end", "0F0,0B0,,\n", "0F0,0B0,,\r\n", &any));
}

Test(schedule_csv, pairs_keep_their_order) {
    const char *text = "0F0,0F1,0B0,0B1\r\n(1F0;1B0)OVERLAP_F_B,(1F1;1B1)OVERLAP_F_B\r\n";
    cr_expect(same_again("pairs", text, text, &two));
    struct pp_err err = {0};
    struct pp_sched *s = parse_csv(text, &err);
    cr_assert_not_null(s, "%s", err.message);
    cr_assert_eq(s->actions[4].pair, 1);
    cr_assert_eq(s->actions[5].pair, 2);
    cr_assert_eq(s->actions[4].cell, s->actions[5].cell);
    cr_assert_eq(s->actions[5].type, PP_B);
    cr_assert_eq(s->cell_count[1], 2);
    pp_sched_destroy(s);
}

/* Text, row and column of the complaint (0: none), and a word of it. */
struct broken {
    const char *text;
    int32_t line, column;
    const char *word;
};

static const struct broken broken_files[] = {
    {"", 0, 0, "rows"},
    {"\n\n", 1, 0, "no action"},
    {"0F0,0F1,0B0,0B1\r\n", 1, 0, "1 row"},
    {"0F0,0F1,0B0,0B1\r\n1F0,1F1,1B0,1B1\r\n\r\n", 3, 1, "too many"},
    {"0F0,0F1,0B0,0B1,1F0,1F1,1B0,1B1\r\n\r\n", 2, 0, "no action"},
    {"0F0,0F1,0B0,0B1,1F0,1F1,1B0,1B1\r\n,\r\n", 2, 0, "no action"},
    {"0F0;0F1;0B0;0B1\r\n1F0;1F1;1B0;1B1\r\n", 1, 1, "after the microbatch"},
    {"0f0,0f1,0b0,0b1\r\n1f0,1f1,1b0,1b1\r\n", 1, 1, "not an action"},
    {"0F0,0F1,0B0,0B1\r\n,1F0,1B0,hello,1B1\r\n", 2, 4, "hello"},
    {"0F0junk,0F1,0B0,0B1\r\n1F0,1F1,1B0,1B1\r\n", 1, 1, "0F0junk"},
    {"0F0,0F1,0B0,0B1\r\n1F,1F1,1B0,1B1\r\n", 2, 1, "no microbatch"},
    {"0F0,0F1,0B0,0B1\r\n,1B0,1F0,1F1,1B1\r\n", 2, 2, "before its forward"},
    {"0F0,0F1,0B0,0B1\r\n,1F0,1W0,1I0,1F1,1B1\r\n", 2, 3, "before its I"},
    {"0F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1,0F1\r\n", 2, 5, "began on rank 0"},
    {"0F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,2B1\r\n", 2, 4, "stage out of range"},
    {"0F0,0F1,0B0,0B1,0F2\r\n1F0,1B0,1F1,1B1\r\n", 1, 5, "microbatch out of range"},
    {"0F0,0F1,0B0,0B1\r\n,1F0,1B0\r\n", 2, 3, "stage 1, microbatch 1"},
    {"0F0,0F1,0B0,0B1\r\n1F0,1I0,1F1,1B1\r\n", 2, 4, "1W0"},
    {"0F0,0F1,0B0,0B1\r\n1F0,1B0,1I0,1W0,1F1,1B1\r\n", 2, 3, "second backward"},
    {"0F0,0F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", 1, 2, "second time"},
    {"0F0,0F1,0B0,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", 1, 4, "second backward"},
    {"0F0,0F1,0I0,0W0,0W0,0B1\r\n1F0,1B0,1F1,1B1\r\n", 1, 5, "second time"},
    {"0F0,0SEND_F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", 1, 2, "communication"},
    {"0UNSHARD,0F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", 1, 1, "communication"},
    {"0F0,0F1,0B0,0B1,0REDUCE_GRAD\r\n1F1,1B0,1F2,1B1,1REDUCE_GRAD\r\n", 1, 5, "communication"},
    {"0F0,0F1,0B0,0B1\r\n(1F0;1B0)F,(1F1;1B1)OVERLAP_F_B\r\n", 2, 1, "not a pair"},
    {"0F0,0F1,0B0,0B1,()OVERLAP_F_B\r\n1F0,1B0,1F1,1B1\r\n", 1, 5, "not a pair"},
    {"0F0,0F1,0B0,0B1\r\n1F0,(1F1;1I0)OVERLAP_F_B,(1W0;1B1)OVERLAP_F_B\r\n", 2, 3, "one forward"},
    {"0F0,0F1,0B0,0B1\r\n(1F0;1B0;1F1)OVERLAP_F_B,1B1\r\n", 2, 1, "not a pair"},
    {"0F0,0F1,0B0,0B1\r\n(1F0;1B0,1F1,1B1\r\n", 2, 1, "not a pair"},
    {"1OVERLAP_F_B,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", 1, 1, "not an action"},
    {"\xef\xbb\xbf"
     "0F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n",
     1, 1, "byte order mark"},
    {"0F99999999999999999999,0B0\r\n1F0\r\n", 1, 1, "microbatch out of range"},
    {"99999999999999999999F0,0B0\r\n1F0\r\n", 1, 1, "stage out of range"},
    {"0F0,\"0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", 1, 2, "closing quote"},
    {"0F0,\"0F1\"x,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", 1, 2, "closing quote"},
    {"0F0,0F1,0B0,0B1\r1F0,1B0,1F1,1B1\r\n", 1, 4, "carriage return"},
    {"0F0,0F1,0B0,0B\xc3\xa9\r\n1F0,1B0,1F1,1B1\r\n", 1, 4, "\\xc3"},
    {"-1F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", 1, 1, "not an action"},
    {"0 F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", 1, 1, "not an action"},
};

static const char lowered_text[] =
    "0UNSHARD,0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1,0REDUCE_GRAD,0RESHARD\r\n"
    "1UNSHARD,1RECV_F0,1F0,1RECV_F1,(1F1;1B0)OVERLAP_F_B,1SEND_B0,1I1,1SEND_B1,1W1,1REDUCE_GRAD,"
    "1RESHARD\r\n";
static const struct pp_csv_expect two_lowered = {
    .rank_count = 2, .stage_count = 2, .microbatch_count = 2, .is_lowered = true};

/* Rows of a lowered file for two ranks, stages and microbatches; the first is always the same. */
#define ROW_0 "0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1\n"
#define ROW_1 "1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1"

static const struct broken broken_lowered[] = {
    {"0F0,,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", 1, 2, "idle"},
    {"0F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", 1, 4, "never runs 0SEND_F0"},
    {ROW_0 ROW_1 ",\n", 2, 9, "idle"},
    {ROW_0 ROW_1 "\n\n", 3, 1, "too many"},
    {ROW_0 "\n" ROW_1, 2, 1, "idle"},
    {ROW_0, 1, 0, "1 row"},
    {ROW_0 ROW_1 ",1SEND_F0", 2, 9, "the last of its pipeline"},
    {ROW_0 ROW_1 ",1SEND_B1", 2, 9, "second time"},
    {ROW_0 ROW_1 ",1RECV_F1", 2, 9, "second time"},
    {ROW_0 ROW_1 ",1F1", 2, 9, "second time"},
    {ROW_0 ROW_1 "x", 2, 8, "after the microbatch"},
    {ROW_0 ROW_1 ",1RECV_F", 2, 9, "no microbatch"},
    {ROW_0 ROW_1 ",1RECV_F2", 2, 9, "microbatch out of range"},
    {ROW_0 ROW_1 ",2SEND_B0", 2, 9, "stage out of range"},
    {ROW_0 ROW_1 ",0SEND_F0", 2, 9, "began on rank 0"},
    {ROW_0 ROW_1 ",1UNSHARD3", 2, 9, "about the whole stage"},
    {ROW_0 ROW_1 ",1RESHARD0", 2, 9, "about the whole stage"},
    {ROW_0 ROW_1 ",1REDUCE_GRAD2", 2, 9, "microbatch out of range"},
    {ROW_0 ROW_1 ",1REDUCE_GRADx", 2, 9, "after the action's name"},
    {ROW_0 ROW_1 ",1REDUCE_GRAD1x", 2, 9, "after the microbatch"},
    {ROW_0 ROW_1 ",1UNSHARDx", 2, 9, "after the"},
    {ROW_0 ROW_1 ",1UNSHARD", 1, 1, "outside of its stage's UNSHARD"},
    {ROW_0 ROW_1 ",1RESHARD", 2, 9, "not gathered"},
    {ROW_0 "1REDUCE_GRAD," ROW_1, 2, 1, "before its stage's last"},
    {ROW_0 ROW_1 ",1REDUCE_GRAD", 1, 8, "never runs 0REDUCE_GRAD"},
    {ROW_0 ROW_1 ",1SEND", 2, 9, "not an action"},
    {ROW_0 ROW_1 ",1send_b1", 2, 9, "not an action"},
    {ROW_0 ROW_1 ",(1SEND_B0;1F0)OVERLAP_F_B", 2, 9, "one forward"},
    {ROW_0 ROW_1 ",(1UNSHARD;1RESHARD)OVERLAP_F_B", 2, 9, "one forward"},
    {ROW_0 "1RECV_F0,1F0,1B0,1SEND_B0,1F1,1RECV_F1,1B1,1SEND_B1", 2, 6, "after 1F1"},
    {ROW_0 "1RECV_F0,1F0,1SEND_B0,1B0,1RECV_F1,1F1,1B1,1SEND_B1", 2, 3, "before 1B0"},
    {ROW_0 "1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1", 2, 7, "never runs 1RECV_F0"},
    {ROW_0 "1RECV_F0,1F0,1B0,1RECV_F1,1F1,1B1,1SEND_B1", 2, 7, "never runs 1SEND_B0"},
};

static void expect_refused(const struct broken *files, size_t count,
                           const struct pp_csv_expect *expect) {
    for (size_t i = 0; i < count; i++) {
        const struct broken *b = &files[i];
        struct pp_sched *s = NULL;
        struct pp_err err = {0};
        cr_expect_eq(pp_sched_csv_parse("b.csv", b->text, strlen(b->text), expect, &s, &err),
                     PP_E_CSV, "file %zu", i);
        cr_expect_null(s);
        cr_expect_str_eq(err.file, "b.csv", "file %zu", i);
        cr_expect(err.line == b->line && err.column == b->column, "file %zu: %d:%d, %s", i,
                  err.line, err.column, err.message);
        cr_expect_not_null(strstr(err.message, b->word), "file %zu: %s", i, err.message);
    }
}

Test(schedule_csv, broken_files_are_refused_with_row_column_and_reason) {
    expect_refused(broken_files, sizeof broken_files / sizeof broken_files[0], &two);
    expect_refused(broken_lowered, sizeof broken_lowered / sizeof broken_lowered[0], &two_lowered);
}

Test(schedule_csv, rows_and_stages_elsewhere_than_expected_are_refused) {
    static const int32_t straight[] = {0, 1};
    static const int32_t loop[] = {0, 1, 0, 1};
    static const struct broken swapped[] = {
        {"1F0,1F1,1B0,1B1\n0F0,0F1,0B0,0B1\n", 1, 1, "stage 1 belongs to rank 1 (row 2)"}};
    static const struct broken v_shaped[] = {
        {"0F0,3F0,3B0,0B0\n1F0,2F0,2B0,1B0\n", 1, 2, "stage 3 belongs to rank 1"}};
    struct pp_csv_expect expect = two;
    expect.stage_rank = straight;
    expect_refused(swapped, 1, &expect);
    expect.is_lowered = true;
    expect_refused(swapped, 1, &expect);
    struct pp_csv_expect looped = {.stage_count = 4, .stage_rank = loop};
    expect_refused(v_shaped, 1, &looped);
    cr_expect(same_again("in place", "0F0,2F0,2B0,0B0\r\n1F0,3F0,3B0,1B0\r\n",
                         "0F0,2F0,2B0,0B0\r\n1F0,3F0,3B0,1B0\r\n", &looped));
}

Test(schedule_csv, lowered_files_come_back_byte_for_byte) {
    cr_expect(same_again("lowered", lowered_text, lowered_text, &two_lowered));
    cr_expect_not(same_again("as compute-only", lowered_text, lowered_text, &two));
    uint64_t seed = 8;
    for (int i = 0; i < 1000; i++) {
        struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(i % 2);
        options.reduce_every = i % 2 == PP_LOWER_OURS ? i / 2 % 4 : 0;
        options.reshard_after_use = i % 2 == PP_LOWER_OURS && i % 3 == 0;
        struct pp_sched *s = draw_schedule(&seed);
        struct pp_sched *lowered = NULL;
        struct pp_text csv = {0};
        cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
        cr_assert_eq(pp_sched_lower(s, &options, &lowered, NULL), PP_OK);
        cr_assert_eq(pp_sched_csv_write(lowered, &csv, NULL), PP_OK);
        struct pp_csv_expect expect = {
            .stage_count = s->stage_count, .stage_rank = s->stage_rank, .is_lowered = true};
        cr_assert(same_again("drawn", csv.bytes, csv.bytes, &expect));
        pp_text_free(&csv);
        pp_sched_destroy(lowered);
        pp_sched_destroy(s);
    }
}

/* What one fault brings along is not told again: every action of a stage that is elsewhere, what
 * its rank then lacks, the rest of a row too many and the rows after it. */
Test(schedule_csv, faults_are_noted_once) {
    static const struct {
        const char *text;
        int32_t count;
        const char *actions[3];
    } cases[] = {
        {"0F0,0B0,0F1,0B1\n1F0,1B0,1F1,1B1\n", 0, {NULL}},
        {"1F0,1B0,1F1,1B1\n0F0,0B0,0F1,0B1\n", 2, {"1F0", "0F0"}},
        {"0F0,0B0,1F0,1B0,0F1,0B1\n1F0,1B0,0F0,1F1,1B1\n", 2, {"1F0", "0F0"}},
        {"0F0,0B0,0F1,0B1\n1F0,1B0,1F1,1B1\n0F0,1F0\n\n1F0\n", 1, {"0F0"}},
        {"0F0,0B0,\"0F1\"no,0F1,0B1\n1F0,1B0,1F1,1B1\n", 1, {"0F1"}},
        {"0F0,0B0,0F1,0B1\n1F0,1B0,1F1,1\"B1,1B1\n", 1, {"1"}},
    };
    static const int32_t straight[] = {0, 1};
    struct pp_csv_expect expect = {
        .rank_count = 2, .stage_count = 2, .microbatch_count = 2, .stage_rank = straight};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pp_findings f = {0};
        struct pp_sched *s = NULL;
        struct pp_err err = {0};
        pp_sched_csv_parse_all("f", cases[i].text, strlen(cases[i].text), &expect, &f, &s, &err);
        cr_expect_eq(f.count, cases[i].count, "%zu: %d", i, f.count);
        for (int32_t k = 0; k < f.count; k++) {
            cr_expect(k < cases[i].count && strcmp(f.items[k].action, cases[i].actions[k]) == 0,
                      "%zu: %s: %s", i, f.items[k].action, f.items[k].err.message);
        }
        pp_findings_deinit(&f);
        pp_sched_destroy(s);
    }
}

Test(schedule_csv, a_zero_byte_is_refused) {
    const char text[] = "0F0,0\0F1,0B0,0B1\r\n";
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_csv_parse("z", text, sizeof text - 1, &any, &s, &err), PP_E_CSV);
    cr_assert_not_null(strstr(err.message, "zero byte"));
    cr_assert_eq(err.column, 2);
}

Test(schedule_csv, counts_that_a_file_only_claims_cost_no_memory) {
    struct pp_err err = {0};
    cr_assert_null(parse_csv("0F0,0B0,0F1000000\n", &err));
    cr_assert_not_null(strstr(err.message, "microbatch 1 is incomplete"), "%s", err.message);
    cr_assert_null(parse_csv("0F0,0B0,65535F0\n", &err));
    cr_assert_not_null(strstr(err.message, "stage 1 never appears"), "%s", err.message);
}

Test(schedule_csv, a_file_that_cannot_be_read_says_so) {
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_csv_read("/no/such.csv", &any, &s, &err), PP_E_FILE);
    cr_assert_eq(pp_sched_csv_read("/", &any, &s, &err), PP_E_FILE);
    cr_assert_null(s);
}

/* Reads back what a schedule was written as, and compares all but the idle cells at row ends. */
static void expect_read_back(const struct pp_sched *s) {
    struct pp_csv_expect expect = {.rank_count = s->rank_count,
                                   .stage_count = s->stage_count,
                                   .microbatch_count = s->microbatch_count,
                                   .stage_rank = s->stage_rank,
                                   .is_lowered = s->lowered,
                                   .is_bidirectional = s->part_count < s->stage_count,
                                   .slice_count = s->slice_count};
    struct pp_text csv = {0};
    struct pp_sched *again = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_csv_write(s, &csv, NULL), PP_OK);
    cr_assert_eq(pp_sched_csv_parse("again", csv.bytes, csv.size, &expect, &again, &err), PP_OK,
                 "%s", err.message);
    struct pp_text twice = {0};
    cr_assert_eq(pp_sched_csv_write(again, &twice, NULL), PP_OK);
    cr_assert_str_eq(twice.bytes, csv.bytes);
    if (s->action_count == again->action_count) { /* compute-only files lack OFFLOAD and RELOAD */
        size_t count = (size_t)s->action_count;
        cr_assert_eq(memcmp(s->actions, again->actions, count * sizeof *s->actions), 0);
        cr_assert_eq(memcmp(s->producer, again->producer, count * sizeof *s->producer), 0);
    }
    cr_assert(s->action_count == again->action_count || !s->lowered);
    cr_assert(s->part_count == again->part_count && s->slice_count == again->slice_count);
    pp_text_free(&twice);
    pp_text_free(&csv);
    pp_sched_destroy(again);
}

Test(schedule_csv, every_generator_can_be_read_back) {
    int made = 0;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        struct pp_gen_config c = {.rank_count = 4,
                                  .stages_per_rank = info->default_stages_per_rank,
                                  .microbatch_count = 16};
        struct pp_sched *s = NULL;
        if (pp_schedule_generate(info, &c, &s, NULL) != PP_OK) {
            continue;
        }
        expect_read_back(s);
        for (enum pp_lower_mode mode = PP_LOWER_TORCH; mode <= PP_LOWER_OURS; mode++) {
            struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(mode);
            struct pp_sched *lowered = NULL;
            cr_assert_eq(pp_sched_lower(s, &options, &lowered, NULL), PP_OK, "%s", info->name);
            expect_read_back(lowered);
            pp_sched_destroy(lowered);
        }
        pp_sched_destroy(s);
        made++;
    }
    cr_assert_geq(made, 7);
    cr_log_info("read back: %d schedules of %d", made, pp_schedule_count());
}

/* The byte or code point of a numeric escape of `digits` digits, as UTF-8. */
static char *put_escape(char *out, const char *digits, int count) {
    char number[9] = "";
    memcpy(number, digits, (size_t)count);
    unsigned long c = strtoul(number, NULL, 16);
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* Undoes Python's repr() of a string: quotes around it, backslash escapes inside. @return size */
static size_t from_repr(char *text) {
    char *out = text;
    size_t size = strlen(text);
    for (char *at = text + 1; at < text + size - 1; at++) {
        if (*at != '\\') {
            *out++ = *at;
            continue;
        }
        at++;
        int digits = *at == 'x' ? 2 : *at == 'u' ? 4 : 0;
        if (digits > 0) {
            out = put_escape(out, at + 1, digits);
            at += digits;
        } else {
            *out++ = *at == 'r' ? '\r' : *at == 'n' ? '\n' : *at == 't' ? '\t' : *at;
        }
    }
    *out = '\0';
    return (size_t)(out - text);
}

/* Reads a file as PyTorch's loader would, which lowers what is compute-only.
 *  @return NULL if it is refused */
static struct pp_sched *load(char *f[MAX_FIELDS], struct pp_err *err) {
    struct pp_csv_expect expect = {.rank_count = (int32_t)strtol(f[1], NULL, 10),
                                   .stage_count = (int32_t)strtol(f[2], NULL, 10),
                                   .microbatch_count = (int32_t)strtol(f[3], NULL, 10),
                                   .is_lowered = strcmp(f[4], "compute_comms") == 0};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_TORCH);
    struct pp_sched *s = NULL;
    struct pp_sched *lowered = NULL;
    size_t size = from_repr(f[5]);
    if (pp_sched_csv_parse(f[0], f[5], size, &expect, &s, err) != PP_OK || s->lowered) {
        return s;
    }
    pp_sched_lower(s, &options, &lowered, err);
    pp_sched_destroy(s);
    return lowered;
}

struct loaded {
    int rows, refused, equal;
};

static void load_error_row(char *f[MAX_FIELDS], int count, void *context) {
    struct loaded *tally = context;
    if (count < 7 || strncmp(f[4], "compute_", 8) != 0) {
        return; /* the head, and formats that neither knows */
    }
    struct pp_err err = {0};
    struct pp_sched *s = load(f, &err);
    tally->rows++;
    tally->refused += s == NULL;
    if (strcmp(f[6], "OK") != 0) {
        cr_expect_null(s, "%s: PyTorch says %s", f[0], f[6]);
    } else if (s == NULL) {
        cr_log_info("refused, though PyTorch passes it: %s: %s", f[0], err.message);
    } else {
        struct pp_text csv = {0};
        from_repr(f[7]);
        pp_sched_csv_write(s, &csv, NULL);
        cr_expect_str_eq(csv.bytes, f[7], "%s", f[0]);
        pp_text_free(&csv);
        tally->equal++;
    }
    pp_sched_destroy(s);
}

Test(schedule_csv, refuses_everything_that_pytorch_refuses) {
    const char *path = PP_SHARED_DIR "/golden/torch/load_errors.tsv";
    if (!has_shared(path)) {
        cr_skip_test("../shared is not there");
    }
    struct loaded tally = {0};
    each_row(path, load_error_row, &tally);
    cr_assert_geq(tally.rows, 30);
    cr_assert_geq(tally.refused, 25);
    cr_log_info("odd files: %d, refused %d, lowered as PyTorch lowers them %d", tally.rows,
                tally.refused, tally.equal);
}

/* Changes some bytes of a valid file: the reader must answer, and what it accepts must be whole. */
static void mutate(const struct pp_sched *source, const struct pp_csv_expect *expect) {
    static const char alphabet[] = "0123456789FIWB,;()\r\n\"OVERLAP_F_B SEND_\x00\xff";
    struct pp_text csv = {0};
    pp_sched_csv_write(source, &csv, NULL);
    char *text = malloc(csv.size);
    uint64_t seed = 5;
    int accepted = 0;
    for (int i = 0; i < 6000; i++) {
        memcpy(text, csv.bytes, csv.size);
        size_t size = csv.size;
        for (int32_t n = 1 + random_below(&seed, 4); n > 0; n--) {
            text[random_below(&seed, (int32_t)size)] =
                alphabet[random_below(&seed, sizeof alphabet)];
        }
        if (random_below(&seed, 4) == 0) {
            size = (size_t)random_below(&seed, (int32_t)size);
        }
        struct pp_sched *s = NULL;
        struct pp_err err = {0};
        if (pp_sched_csv_parse("m", text, size, expect, &s, &err) == PP_OK) {
            struct pp_eval *e = NULL;
            pp_eval_create(s, &e, NULL, &err);
            pp_eval_destroy(e);
            accepted++;
        } else {
            cr_assert_neq(err.message[0], '\0');
        }
        pp_sched_destroy(s);
    }
    cr_log_info("mutated: %d of 6000 still valid", accepted);
    free(text);
    pp_text_free(&csv);
}

Test(schedule_csv, mutated_files_never_crash) {
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_TORCH);
    struct pp_csv_expect any_lowered = {.is_lowered = true};
    struct pp_sched *source = make_schedule("DualPipeV", 2, 2, 5);
    struct pp_sched *lowered = NULL;
    cr_assert_eq(pp_sched_lower(source, &options, &lowered, NULL), PP_OK);
    mutate(source, &any);
    mutate(lowered, &any_lowered);
    pp_sched_destroy(lowered);
    pp_sched_destroy(source);
}
