#include "tests/sim/sim_support.h"

/* Checks one row of a table: schedule, ranks, stages a rank, microbatches, accepted[, hash]. */
struct tally {
    int accepted, refused;
};

static void check_row(char *f[MAX_FIELDS], int count, void *context) {
    struct tally *tally = context;
    struct pp_gen_config c = {.rank_count = (int32_t)strtol(f[1], NULL, 10),
                              .stages_per_rank = (int32_t)strtol(f[2], NULL, 10),
                              .microbatch_count = (int32_t)strtol(f[3], NULL, 10)};
    bool valid = f[4][0] == '1';
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    enum pp_status status = pp_schedule_generate(find_schedule(f[0]), &c, &s, &err);
    cr_expect_eq(status == PP_OK, valid, "%s pp %s v %s m %s: %s, expected %s", f[0], f[1], f[2],
                 f[3], pp_status_code(status), valid ? "OK" : "a refusal");
    if (status != PP_OK) {
        cr_expect_null(s);
        cr_expect_neq(err.message[0], '\0');
        tally->refused++;
        return;
    }
    if (count > 5) {
        cr_expect(has_id(s, f[5]), "%s pp %s v %s m %s is not %s", f[0], f[1], f[2], f[3], f[5]);
    }
    tally->accepted++;
    pp_sched_destroy(s);
}

Test(generate, every_order_is_pytorchs) {
    struct tally tally = {0};
    int rows = each_row(PP_TEST_DIR "/sim/torch_index.tsv", check_row, &tally);
    cr_assert_geq(rows, 500);
    cr_assert_geq(tally.accepted, 400);
    cr_assert_geq(tally.refused, 50);
    cr_log_info("orders: %d equal, %d refused", tally.accepted, tally.refused);
}

Test(generate, accepts_what_automodel_and_pytorch_accept) {
    struct tally tally = {0};
    int rows = each_row(PP_TEST_DIR "/sim/automodel_accept.tsv", check_row, &tally);
    cr_assert_geq(rows, 1000);
    cr_assert_eq(tally.accepted + tally.refused, rows);
}

/* Names the first cell in which two files differ. */
static void expect_same_cells(const char *label, const char *ours, const char *theirs) {
    int row = 1;
    int column = 1;
    size_t i = 0;
    for (; ours[i] == theirs[i] && ours[i] != '\0'; i++) {
        column = ours[i] == '\n' ? 1 : column + (ours[i] == ',');
        row += ours[i] == '\n';
    }
    cr_expect_eq(ours[i], theirs[i], "%s: row %d, column %d: '%.12s', expected '%.12s'", label, row,
                 column, ours + i, theirs + i);
}

/* PyTorch's GPipe rows end in an extra REDUCE_GRAD cell, which the compute-only form lacks. */
static void drop_reduce_grad(char *text) {
    char *out = text;
    for (const char *at = text; *at != '\0';) {
        size_t digits = *at == ',' ? strspn(at + 1, "0123456789") : 0;
        if (digits > 0 && strncmp(at + 1 + digits, "REDUCE_GRAD", 11) == 0) {
            at += 1 + digits + 11;
        } else {
            *out++ = *at++;
        }
    }
    *out = '\0';
}

static void compare_case(char *f[MAX_FIELDS], int count, void *context) {
    int *compared = context;
    if (strcmp(f[0], "schedule") == 0 || f[4][0] != '1' || count < 7 || f[6][0] == '\0' ||
        strcmp(f[0], "1F1B") == 0 || strcmp(f[3], "0") == 0) {
        return;
    }
    char path[512];
    snprintf(path, sizeof path, PP_SHARED_DIR "/golden/torch/%s", f[6]);
    char *theirs = NULL;
    size_t size = 0;
    if (pp_read_file(path, 1 << 26, &theirs, &size, NULL) != PP_OK) {
        return; /* only part of the files is there */
    }
    drop_reduce_grad(theirs);
    struct pp_sched *s =
        make_schedule(f[0], (int32_t)strtol(f[1], NULL, 10), (int32_t)strtol(f[2], NULL, 10),
                      (int32_t)strtol(f[3], NULL, 10));
    struct pp_text ours = {0};
    cr_assert_eq(pp_sched_csv_write(s, &ours, NULL), PP_OK);
    expect_same_cells(f[6], ours.bytes, theirs);
    pp_text_free(&ours);
    pp_sched_destroy(s);
    free(theirs);
    (*compared)++;
}

Test(generate, files_equal_pytorchs_cell_by_cell) {
    if (!has_shared(PP_SHARED_DIR "/golden/torch/index.tsv")) {
        cr_skip_test("../shared is not there");
    }
    int compared = 0;
    each_row(PP_SHARED_DIR "/golden/torch/index.tsv", compare_case, &compared);
    cr_assert_gt(compared, 300);
    cr_log_info("files compared: %d", compared);
}

Test(generate, names_match_in_any_case_and_untrimmed) {
    cr_assert_str_eq(find_schedule("dualpipev")->name, "DualPipeV");
    cr_assert_str_eq(find_schedule("1f1b")->name, "1F1B");
    const struct pp_schedule_info *info = NULL;
    cr_assert_eq(pp_schedule_find("1F1B ", &info, NULL), PP_E_SCHEDULE);
    cr_assert_eq(pp_schedule_find("", &info, NULL), PP_E_SCHEDULE);
    cr_assert_null(info);
    cr_assert_eq(pp_schedule_torch_count(), 7);
}

Test(generate, documented_but_unknown_names_get_the_one_that_works) {
    static const char *const names[][2] = {{"interleaved_1f1b", "Interleaved1F1B"},
                                           {"looped_bfs", "LoopedBFS"},
                                           {"dfs", "LoopedBFS"},
                                           {"v_schedule", "ZBVZeroBubble"},
                                           {"Zero_Bubble", "InterleavedZeroBubble"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct pp_schedule_info *info = NULL;
        struct pp_err err = {0};
        cr_expect_eq(pp_schedule_find(names[i][0], &info, &err), PP_E_SCHEDULE);
        cr_expect_not_null(strstr(err.hint, names[i][1]), "%s: %s", names[i][0], err.hint);
    }
}

Test(generate, unknown_names_get_all_names_nearest_first) {
    const struct pp_schedule_info *info = NULL;
    struct pp_err err = {0};
    pp_schedule_find_torch("DualPipe", &info, &err);
    cr_assert_not_null(strstr(err.hint, ": DualPipeV, "), "%s", err.hint);
    for (int32_t i = 0; i < pp_schedule_torch_count(); i++) {
        cr_expect_not_null(strstr(err.hint, pp_schedule_at(i)->name));
    }
    pp_schedule_find("1f1", &info, &err);
    cr_assert_not_null(strstr(err.hint, ": 1F1B, "), "%s", err.hint);
    char *endless = malloc(100001);
    memset(endless, 'x', 100000);
    endless[100000] = '\0';
    cr_assert_eq(pp_schedule_find(endless, &info, &err), PP_E_SCHEDULE);
    free(endless);
}

static enum pp_status check(const char *name, int32_t p, int32_t v, int32_t m, struct pp_err *err) {
    struct pp_gen_config c = {.rank_count = p, .stages_per_rank = v, .microbatch_count = m};
    return pp_schedule_check(find_schedule(name), &c, err);
}

Test(generate, counts_out_of_range_are_refused_before_anything_is_built) {
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const char *name = pp_schedule_at(i)->name;
        int32_t v = pp_schedule_at(i)->default_stages_per_rank;
        struct pp_err err = {0};
        cr_expect_eq(check(name, 4, v, 1000000000, &err), PP_E_RANGE);
        cr_expect_eq(check(name, 4, v, INT32_MAX, &err), PP_E_RANGE);
        cr_expect_eq(check(name, 4, v, 0, &err), PP_E_RANGE);
        cr_expect_eq(check(name, 4, v, -1, &err), PP_E_RANGE);
        cr_expect_eq(check(name, 0, v, 8, &err), PP_E_RANGE);
        cr_expect_eq(check(name, INT32_MAX, v, 8, &err), PP_E_RANGE);
        cr_expect_eq(check(name, 4, INT32_MAX, 8, &err), PP_E_RANGE);
        cr_expect_eq(check(name, 4, 0, 8, &err), PP_E_RANGE);
        cr_expect_eq(check(name, 4096, v, 1 << 16, &err), PP_E_RANGE, "%s total", name);
        cr_expect_not_null(strstr(err.message, "actions"), "%s", err.message);
    }
}

/* What a unit brings: F and B, or F, I and W, and OFFLOAD and RELOAD; units, where there are
 * slices. */
Test(generate, the_most_actions_are_counted_by_what_a_schedule_has) {
    struct pp_err err = {0};
    int32_t m = PP_SCHED_MAX_ACTIONS / 64; /* units that 64 stages have at most, by actions each */
    cr_expect_eq(check("LoopedBFS", 16, 4, m / 2, &err), PP_OK);
    cr_expect_eq(check("LoopedBFS", 16, 4, m / 2 + 1, &err), PP_E_RANGE);
    cr_expect_eq(check("GISH", 16, 4, m / 3, &err), PP_OK);
    cr_expect_eq(check("GISH", 16, 4, m / 3 + 1, &err), PP_E_RANGE);
    cr_expect_eq(check("PipeOffload", 16, 4, m / 5, &err), PP_OK);
    cr_expect_eq(check("PipeOffload", 16, 4, m / 5 + 1, &err), PP_E_RANGE);
    cr_expect_eq(check("Chimera", 32, 2, m, &err), PP_OK); /* half of them in each direction */
    cr_expect_eq(check("Chimera", 32, 2, m + 2, &err), PP_E_RANGE);
    struct pp_gen_config c = {.rank_count = 1, .stages_per_rank = 1, .microbatch_count = 1 << 18};
    for (c.slice_count = 1; c.slice_count <= 8; c.slice_count++) {
        cr_expect_eq(pp_schedule_check(find_schedule("Seq1F1B"), &c, &err),
                     c.slice_count <= 4 ? PP_OK : PP_E_RANGE, "%d slices: %s", c.slice_count,
                     err.message);
    }
}

Test(generate, refusals_name_the_nearest_counts_that_work) {
    struct pp_err err = {0};
    cr_assert_eq(check("Interleaved1F1B", 4, 2, 9, &err), PP_E_MICROBATCH);
    cr_assert_not_null(strstr(err.hint, "8 and 10"), "%s", err.hint);
    cr_assert_eq(check("Interleaved1F1B", 4, 2, 8, &err), PP_OK);
    cr_assert_eq(check("Interleaved1F1B", 4, 2, 10, &err), PP_OK);
    cr_assert_eq(check("1F1B", 4, 1, 3, &err), PP_E_MICROBATCH);
    cr_assert_not_null(strstr(err.hint, "4"), "%s", err.hint);
    cr_assert_eq(check("DualPipeV", 4, 2, 7, &err), PP_E_MICROBATCH);
    cr_assert_not_null(strstr(err.hint, "8"), "%s", err.hint);
    cr_assert_eq(check("DualPipeV", 4, 1, 8, &err), PP_E_STAGES);
    cr_assert_eq(check("1F1B", 4, 2, 8, &err), PP_E_STAGES);
    cr_assert_not_null(strstr(err.message, "exactly 1 stage a rank"), "%s", err.message);
}

/* Whatever the counts, either a refusal with a reason or a schedule that runs. */
Test(generate, any_counts_give_a_running_schedule_or_a_reason) {
    uint64_t seed = 17;
    for (int i = 0; i < 1500; i += CASE_STEP) {
        const struct pp_schedule_info *info =
            pp_schedule_at(random_below(&seed, pp_schedule_count()));
        struct pp_gen_config c = {.rank_count = 1 + random_below(&seed, 9),
                                  .stages_per_rank = 1 + random_below(&seed, 5),
                                  .microbatch_count = 1 + random_below(&seed, 40)};
        struct pp_sched *s = NULL;
        struct pp_err err = {0};
        if (pp_schedule_generate(info, &c, &s, &err) != PP_OK) {
            cr_expect_neq(err.message[0], '\0');
            continue;
        }
        struct pp_eval *e = NULL;
        cr_expect_eq(pp_eval_create(s, &e, NULL, &err), PP_OK, "%s", err.message);
        pp_eval_destroy(e);
        pp_sched_destroy(s);
    }
}
