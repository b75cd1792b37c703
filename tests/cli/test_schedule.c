#include "tests/cli/run.h"

#include "sim/generate.h"
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
    expect_error(SCHED("LoopedBFS", "4", "8") "--slices 2", 3, "E_VALUE", "LoopedBFS");
    expect_error(SCHED("1F1B", "4", "8") "--format csv-comms", 2, "E_USAGE", "csv or json");
    expect_error(SCHED("1F1B", "4", "8") "--format xml", 2, "E_USAGE", "csv or json");
    expect_error(SCHED("1F1B", "4", "x"), 2, "E_USAGE", "--microbatches: 'x'");
    expect_error(SCHED("1F1B", "4", "8") "--t-f soon", 2, "E_USAGE", "--t-f");
    expect_error(SCHED("1F1B", "4", "8") "--mem-w 2", 3, "E_RANGE", "--mem-w");
    expect_error(SCHED("GPipe", "4", "8") "--memory-limit 7", 1, "E_LIMIT", "0F7");
    expect_error("schedule --pp 4 --microbatches 8", 2, "E_USAGE", "missing --schedule");
    expect_error("schedule --schedule 1F1B --microbatches 8", 2, "E_USAGE", "missing --pp");
    expect_error("schedule --schedule 1F1B --pp 8", 2, "E_USAGE", "missing --microbatches");
#undef SCHED
}
