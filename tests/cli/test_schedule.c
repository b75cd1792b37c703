#include "tests/cli/run.h"

#include "sim/generate.h"
#include "sim/lower.h"
#include "sim/schedule_csv.h"

/* What the library writes, which other tests hold against PyTorch's files. */
static void library_csv(const struct pp_schedule_info *info, int32_t p, int32_t m,
                        struct pp_text *out) {
    struct pp_gen_config c = {
        .rank_count = p, .stages_per_rank = info->default_stages_per_rank, .microbatch_count = m};
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_schedule_generate(info, &c, &s, NULL), PP_OK);
    cr_assert_eq(pp_sched_csv_write(s, out, NULL), PP_OK);
    pp_sched_destroy(s);
}

Test(cli_schedule, csv_is_the_librarys_byte_for_byte) {
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        struct pp_text wanted = {0};
        library_csv(info, 4, 8, &wanted);
        char args[128];
        snprintf(args, sizeof args, "schedule --schedule %s --pp 4 --microbatches 8", info->name);
        struct ran r = run_plan(args);
        cr_assert_eq(r.code, 0, "%s", text_of(&r.messages));
        cr_assert_str_eq(text_of(&r.messages), "");
        cr_assert_eq(r.out.size, wanted.size, "%s", args);
        cr_assert_eq(memcmp(r.out.bytes, wanted.bytes, wanted.size), 0, "%s", args);
        ran_free(&r);
        pp_text_free(&wanted);
    }
}

Test(cli_schedule, one_f_one_b_as_written_down) {
    struct ran r = run_plan("schedule --schedule 1f1b --pp=2 --microbatches=3 --format csv");
    cr_assert_str_eq(text_of(&r.out), "0F0,0F1,0B0,0F2,0B1,0B2\r\n1F0,1B0,1F1,1B1,1F2,1B2\r\n");
    ran_free(&r);
}

Test(cli_schedule, json_holds_counts_places_and_cells) {
    json_t *d = run_json("schedule --schedule ZBVZeroBubble --pp 2 --microbatches 1", 0);
    cr_assert_eq(integer_of(d, "ranks"), 2);
    cr_assert_eq(integer_of(d, "stages"), 4);
    cr_assert_eq(integer_of(d, "microbatches"), 1);
    cr_assert_eq(integer_of(d, "actions"), 12);
    expect_member(d, "stage_ranks", "[0,1,1,0]");
    cr_assert_eq(json_array_size(json_object_get(d, "rows")), 2);
    json_decref(d);
    struct ran r = run_plan("schedule --schedule gpipe --pp 1 --microbatches 2 --format json");
    cr_assert(strstr(text_of(&r.out), "\"0F0\"") != NULL);
    ran_free(&r);
}

Test(cli_schedule, json_of_millions_of_cells_is_refused_and_csv_is_not) {
    expect_error("schedule --schedule GPipe --pp 3 --microbatches 400000", 3, "E_RANGE",
                 "too many for JSON");
    struct ran r = run_plan("schedule --schedule GPipe --pp 3 --microbatches 400000");
    cr_expect_eq(r.code, 0, "%s", text_of(&r.messages));
    cr_expect_gt(r.out.size, 12 * 1000 * 1000);
    ran_free(&r);
}

/* Idle cells are "", and the rows put together again are the CSV. */
Test(cli_schedule, json_rows_are_the_csv) {
    const struct pp_schedule_info *info = NULL;
    cr_assert_eq(pp_schedule_find("Interleaved1F1B", &info, NULL), PP_OK);
    struct pp_text wanted = {0};
    library_csv(info, 3, 6, &wanted);
    json_t *d = run_json("schedule --schedule Interleaved1F1B --pp 3 --microbatches 6", 0);
    struct pp_text got = {0};
    size_t r;
    json_t *row;
    json_array_foreach(json_object_get(d, "rows"), r, row) {
        size_t c;
        json_t *cell;
        json_array_foreach(row, c, cell) {
            pp_text_puts(&got, c == 0 ? "" : ",");
            pp_text_puts(&got, json_string_value(cell));
        }
        pp_text_puts(&got, "\r\n");
    }
    cr_assert_str_eq(got.bytes, wanted.bytes);
    cr_assert(strstr(got.bytes, ",,") != NULL, "no idle cell in this one");
    pp_text_free(&got);
    pp_text_free(&wanted);
    json_decref(d);
}

Test(cli_schedule, list_names_all) {
    json_t *d = run_json("schedule --list", 0);
    json_t *rows = json_object_get(d, "schedules");
    cr_assert_eq(json_array_size(rows), (size_t)pp_schedule_count());
    struct ran r = run_plan("schedule --list");
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const char *name = pp_schedule_at(i)->name;
        cr_assert(strstr(text_of(&r.out), name) != NULL);
        cr_assert_str_eq(string_of(json_array_get(rows, (size_t)i), "name"), name);
    }
    ran_free(&r);
    json_decref(d);
}

/* Whether or not the order depends on them: no other command takes them either. */
Test(cli_schedule, costs_beyond_the_limit_are_refused) {
    static const char *const names[] = {"GPipe", "VZB", "ZB1P", "Hanayo", "PipeOffload"};
    static const char *const costs[] = {"--t-f 4000000s", "--t-p2p 300s", "--t-offload 300000s",
                                        "--t-w 1200s --t-i 1us"};
    for (size_t i = 0; i < 5 * 4; i++) {
        char args[160];
        snprintf(args, sizeof args, "schedule --schedule %s --pp 4 --microbatches 8 %s",
                 names[i % 5], costs[i / 5]);
        expect_error(args, 3, "E_RANGE", "need 0 to 274877906944");
    }
}

Test(cli_schedule, refusals) {
#define SCHED(name, p, m) "schedule --schedule " name " --pp " p " --microbatches " m " "
    expect_error(SCHED("bogus", "4", "8"), 3, "E_SCHEDULE", "known schedules: ");
    expect_error(SCHED("dfs", "4", "8"), 3, "E_SCHEDULE", "LoopedBFS");
    expect_error(SCHED("'1F1B '", "4", "8"), 3, "E_SCHEDULE", "1F1B");
    expect_error(SCHED("1F1B", "4", "3"), 3, "E_MICROBATCH", "1F1B");
    expect_error(SCHED("DualPipeV", "4", "7"), 3, "E_MICROBATCH", "DualPipeV");
    expect_error(SCHED("1F1B", "4", "0"), 3, "E_RANGE", "--microbatches: '0'");
    expect_error(SCHED("1F1B", "-4", "8"), 3, "E_RANGE", "--pp: '-4'");
    expect_error(SCHED("1F1B", "4", "8") "--stages-per-rank 2", 3, "E_STAGES", "exactly 1");
    expect_error(SCHED("ZBVZeroBubble", "4", "8") "--stages-per-rank 3", 3, "E_STAGES", "2");
    expect_error(SCHED("1F1B", "4", "8") "--stages-per-rank 0", 3, "E_RANGE", "--stages-per-rank");
    expect_error(SCHED("1F1B", "4", "1000000000"), 3, "E_RANGE", "--microbatches");
    expect_error(SCHED("GPipe", "4096", "1048576"), 3, "E_RANGE", "actions");
    expect_error(SCHED("1F1B", "4", "8") "--group 2", 3, "E_VALUE", "1F1B does not take --group");
    expect_error(SCHED("LoopedBFS", "4", "8") "--slices 2", 3, "E_VALUE",
                 "LoopedBFS does not take --slices");
    expect_error(SCHED("1F1B", "4", "8") "--format xml", 2, "E_USAGE", "csv, csv-comms or json");
    expect_error(SCHED("1F1B", "4", "8") "--lowering ours", 2, "E_USAGE", "csv-comms");
    expect_error(SCHED("1F1B", "4", "8") "--format csv-comms --lowering theirs", 2, "E_USAGE",
                 "torch, ours or batched");
    expect_error(SCHED("1F1B", "4", "8") "--stages 4", 2, "E_USAGE", "--csv");
    expect_error(SCHED("1F1B", "4", "x"), 2, "E_USAGE", "--microbatches: 'x'");
    expect_error(SCHED("1F1B", "4", "8") "--t-f soon", 2, "E_USAGE", "--t-f");
    expect_error(SCHED("1F1B", "4", "8") "--mem-w 2", 3, "E_RANGE", "--mem-w");
    expect_error(SCHED("GPipe", "4", "8") "--memory-limit 7", 1, "E_LIMIT", "0F7");
    expect_error("schedule --pp 4 --microbatches 8", 2, "E_USAGE", "missing --schedule");
    expect_error("schedule --schedule 1F1B --microbatches 8", 2, "E_USAGE", "missing --pp");
    expect_error("schedule --schedule 1F1B --pp 8", 2, "E_USAGE", "missing --microbatches");
#undef SCHED
}

/* What the library writes, lowered. */
static void library_lowered(const struct pp_schedule_info *info, enum pp_lower_mode mode,
                            struct pp_text *out) {
    struct pp_gen_config c = {
        .rank_count = 4, .stages_per_rank = info->default_stages_per_rank, .microbatch_count = 8};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(mode);
    struct pp_sched *s = NULL;
    struct pp_sched *lowered = NULL;
    cr_assert_eq(pp_schedule_generate(info, &c, &s, NULL), PP_OK);
    cr_assert_eq(pp_sched_lower(s, &options, &lowered, NULL), PP_OK);
    cr_assert_eq(pp_sched_csv_write(lowered, out, NULL), PP_OK);
    pp_sched_destroy(lowered);
    pp_sched_destroy(s);
}

static void expect_output(const char *args, const struct pp_text *wanted) {
    struct ran r = run_plan(args);
    cr_assert_eq(r.code, 0, "%s: %s", args, text_of(&r.messages));
    cr_assert_eq(r.out.size, wanted->size, "%s", args);
    cr_assert_eq(memcmp(r.out.bytes, wanted->bytes, wanted->size), 0, "%s", args);
    ran_free(&r);
}

Test(cli_schedule, lowered_is_the_librarys_byte_for_byte) {
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        struct pp_text torch = {0};
        struct pp_text ours = {0};
        char args[160];
        library_lowered(info, PP_LOWER_TORCH, &torch);
        library_lowered(info, PP_LOWER_OURS, &ours);
        int n = snprintf(args, sizeof args,
                         "schedule --schedule %s --pp 4 --microbatches 8 --format csv-comms",
                         info->name);
        expect_output(args, info->in_pytorch ? &torch : &ours);
        snprintf(args + n, sizeof args - (size_t)n, " --lowering torch");
        expect_output(args, &torch);
        snprintf(args + n, sizeof args - (size_t)n, " --lowering ours");
        expect_output(args, &ours);
        pp_text_free(&torch);
        pp_text_free(&ours);
    }
}

Test(cli_schedule, lowered_as_json) {
    json_t *d = run_json("schedule --schedule 1F1B --pp 2 --microbatches 2 --format csv-comms", 0);
    cr_assert_str_eq(string_of(d, "lowering"), "torch");
    cr_assert_eq(integer_of(d, "actions"), 22);
    json_t *last = json_array_get(json_object_get(d, "rows"), 1);
    cr_assert_str_eq(json_string_value(json_array_get(last, 1)), "1RECV_F0");
    json_decref(d);
    d = run_json("schedule --schedule 1F1B --pp 2 --microbatches 2 --lowering ours --format json",
                 0);
    cr_assert_str_eq(string_of(d, "lowering"), "ours");
    json_decref(d);
    d = run_json("schedule --schedule 1F1B --pp 2 --microbatches 2", 0);
    expect_member(d, "lowering", "null");
    expect_member(d, "warnings", "[]");
    json_decref(d);
}

/* A file of the user's, here as CSV on one line with '/' between rows. */
struct user_file {
    const char *rows;
    const char *args;
    int code;
    const char *out;   /* whole; NULL: not looked at */
    const char *words; /* in the messages; NULL: there are none */
};

static const struct user_file user_files[] = {
    {"0F0,,0B0/,1F0,1B0", "--stages 2", 0, "0F0,,0B0\r\n,1F0,1B0\r\n", NULL},
    {"0F0,,0B0/,1F0,1B0", "--stages 2 --pp 2 --microbatches 1 --format csv-comms", 0,
     "0UNSHARD,0F0,0SEND_F0,0RECV_B0,0B0,0REDUCE_GRAD,0RESHARD\r\n"
     "1UNSHARD,1RECV_F0,1F0,1B0,1SEND_B0,1REDUCE_GRAD,1RESHARD\r\n",
     NULL},
    {"0F1,0F0,0B1,0B0/1F1,1F0,1B1,1B0", "--stages 2", 0, NULL, "warning: W_LOSS_ORDER: row 2"},
    {"0F0,0B0,0F1,0B1/1F0,1F1,1B0,1B1", "--stages 2", 3, "", "E_DEADLOCK"},
    {"0F0,0B0,0F1,0B1/1F0,1F1,1B0,1B1", "--stages 2 --format csv-comms --lowering ours", 3, "",
     "E_DEADLOCK"},
    {"0F0,0B0/1F0,1B0", "", 2, "", "missing --stages"},
    {"0F0,0B0/1F0,1B0", "--stages 3", 3, "", "need 3 stages"},
    {"0F0,0B0/1F0,1B0", "--stages 2 --pp 3", 3, "", "need one for each of 3 ranks"},
    {"0F0,0B0/1F0,1B0", "--stages 2 --microbatches 2", 3, "", "0F1"},
    {"0F0,0B0/1F0,1B0", "--stages 2 --schedule 1F1B", 2, "", "exclude each other"},
    {"0F0,0B0/1F0,1B0x", "--stages 2", 3, "", "row 2, column 2"},
    {"0F0,0F1,0B0,0B1/1F0,1F1,1B0,1B1", "--stages 2 --memory-limit 1", 1, "", "E_LIMIT"},
};

Test(cli_schedule, files_of_the_user) {
    struct scratch scratch = make_scratch();
    for (size_t i = 0; i < sizeof user_files / sizeof user_files[0]; i++) {
        const struct user_file *f = &user_files[i];
        struct pp_text csv = {0};
        char path[128];
        char args[256];
        for (const char *at = f->rows; *at != '\0'; at++) {
            pp_text_add(&csv, *at == '/' ? "\n" : at, 1);
        }
        scratch_write(&scratch, "a.csv", csv.bytes, csv.size, path);
        snprintf(args, sizeof args, "schedule --csv %s %s", path, f->args);
        struct ran r = run_plan(args);
        cr_expect_eq(r.code, f->code, "%s: %d, %s", args, r.code, text_of(&r.messages));
        if (f->out != NULL) {
            cr_expect_str_eq(text_of(&r.out), f->out, "%s", args);
        }
        cr_expect(f->words == NULL ? r.messages.size == 0
                                   : strstr(text_of(&r.messages), f->words) != NULL,
                  "%s: %s", args, text_of(&r.messages));
        ran_free(&r);
        pp_text_free(&csv);
    }
    remove_scratch(&scratch);
}
