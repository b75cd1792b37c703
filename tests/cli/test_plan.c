/* plan, report and export as a user runs them: the main job end to end, and what goes wrong. */
#include "tests/cli/run.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>

#define EXAMPLE PP_TEST_DIR "/../reports/example/deepseek_v3.yaml"
#define PLAN "plan " EXAMPLE " --gpus 256"

static int64_t count_rows(const char *path, const char *sql) {
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    cr_assert_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

static void change(const char *path, const char *sql) {
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* A line of shell with the scratch folder as $D. */
static struct ran run_in(const struct scratch *s, const char *line) {
    struct pp_text t = {0};
    pp_text_printf(&t, "D='%s'; cd \"$D\"; %s", s->folder, line);
    struct ran r = run_shell(t.bytes);
    pp_text_free(&t);
    return r;
}

static void expect_code(const struct scratch *s, const char *line, int code, const char *words) {
    struct ran r = run_in(s, line);
    cr_assert_eq(r.code, code, "%s: exit %d, expected %d: %s", line, r.code, code,
                 text_of(&r.messages));
    cr_assert(strstr(text_of(&r.messages), words) != NULL, "%s: \"%s\" lacks \"%s\"", line,
              text_of(&r.messages), words);
    size_t n = r.messages.size;
    cr_assert(n == 0 || (text_of(&r.messages)[n - 1] == '\n' &&
                         strchr(text_of(&r.messages), '\n') == text_of(&r.messages) + n - 1),
              "more than one line: %s", text_of(&r.messages));
    ran_free(&r);
}

static json_t *find_plan(const json_t *document, const char *id) {
    size_t i;
    json_t *plan;
    json_array_foreach(json_object_get(document, "plans"), i, plan) {
        if (strcmp(string_of(plan, "plan_id"), id) == 0) {
            return plan;
        }
    }
    return NULL;
}

Test(plan, answers_what_the_recipe_does_and_what_is_better) {
    json_t *document = run_json(PLAN, 0);
    json_t *current = json_object_get(document, "current");
    expect_member(document, "hardware", "\"h100-sxm\"");
    cr_assert_eq(integer_of(document, "gpus"), 256);
    cr_assert_str_eq(string_of(current, "schedule"), "Interleaved1F1B");
    cr_assert_eq(integer_of(current, "num_virtual_stages"), 28);
    cr_assert_eq(integer_of(current, "stages_per_rank"), 7);
    expect_member(current, "error", "null");
    cr_assert_eq(json_array_size(json_object_get(current, "peak_memory_bytes")), 4);
    cr_assert_gt(integer_of(current, "step_time_ns"), 0);
    cr_assert_eq(integer_of(current, "step_time_ns"),
                 integer_of(current, "flushes_time_ns") + integer_of(current, "param_gather_ns") +
                     integer_of(current, "grad_sync_ns") + integer_of(current, "optimizer_ns"));
    json_t *best = find_plan(document, string_of(document, "best"));
    cr_assert_leq(integer_of(best, "step_time_ns"), integer_of(current, "step_time_ns"));
    json_t *up = find_plan(document, string_of(document, "other_round"));
    cr_assert_str_eq(string_of(up, "round"), "up");
    cr_assert_eq(integer_of(up, "layers_per_stage"), 2);
    cr_assert_eq(integer_of(up, "num_virtual_stages"), 32);
    expect_member(up, "overrides",
                  "[\"--distributed.pipeline.round_virtual_stages_to_pp_multiple=up\"]");
    json_decref(document);
}

/* What a user pastes gives what the table promised. */
Test(plan, overrides_of_the_best_plan_reproduce_it) {
    json_t *document = run_json(PLAN, 0);
    json_t *best = find_plan(document, string_of(document, "best"));
    struct pp_text args = {0};
    size_t i;
    json_t *override;
    pp_text_puts(&args, PLAN);
    json_array_foreach(json_object_get(best, "overrides"), i, override) {
        pp_text_printf(&args, " --set %s", json_string_value(override));
    }
    json_t *again = run_json(args.bytes, 0);
    json_t *current = json_object_get(again, "current");
    cr_assert_eq(integer_of(current, "step_time_ns"), integer_of(best, "step_time_ns"));
    cr_assert(json_equal(json_object_get(current, "peak_memory_bytes"),
                         json_object_get(best, "peak_memory_bytes")));
    json_decref(document);
    json_decref(again);
    pp_text_free(&args);
}

Test(plan, the_same_command_twice_gives_the_same_bytes_and_stores_nothing_twice) {
    struct scratch s = make_scratch();
    char db[128];
    struct ran a = run_in(&s, "\"$P\" " PLAN " --db p.db --json");
    struct ran b = run_in(&s, "\"$P\" " PLAN " --db p.db --json");
    cr_assert_eq(a.code, 0, "%s", text_of(&a.messages));
    cr_assert_eq(a.out.size, b.out.size);
    cr_assert_arr_eq(a.out.bytes, b.out.bytes, a.out.size);
    snprintf(db, sizeof db, "%s/p.db", s.folder);
    cr_assert_eq(count_rows(db, "SELECT count(*) FROM runs"), 1);
    json_t *document = json_loads(a.out.bytes, 0, NULL);
    cr_assert_eq(count_rows(db, "SELECT count(*) FROM plans"),
                 (int64_t)json_array_size(json_object_get(document, "plans")));
    json_decref(document);
    ran_free(&a);
    ran_free(&b);
    remove_scratch(&s);
}

Test(plan, report_draws_and_export_hands_back) {
    struct scratch s = make_scratch();
    struct ran r =
        run_in(&s, "\"$P\" " PLAN " --db p.db >/dev/null && "
                   "\"$P\" report --db p.db --out new/pictures/ && mv new/pictures pictures");
    cr_assert_eq(r.code, 0, "%s", text_of(&r.messages));
    static const char *const files[] = {"gantt.svg",  "gantt.png",  "memory.svg",
                                        "memory.png", "pareto.svg", "pareto.png"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[160];
        struct stat st;
        snprintf(path, sizeof path, "%s/pictures/%s", s.folder, files[i]);
        cr_assert_eq(stat(path, &st), 0, "%s", path);
        cr_assert_gt(st.st_size, 1000, "%s", path);
        cr_assert(strstr(text_of(&r.out), files[i]) != NULL);
    }
    ran_free(&r);
    r = run_in(&s, "id=$(sqlite3 p.db \"SELECT other_round_plan_id FROM runs\"); "
                   "\"$P\" export --db p.db --plan $id --format nemo-cli; "
                   "\"$P\" export --db p.db --plan $id --format nemo-yaml >new.yaml; "
                   "diff " EXAMPLE " new.yaml; "
                   "\"$P\" export --db p.db --plan $id --format csv >order.csv; "
                   "\"$P\" schedule --schedule interleaved1f1b --pp 4 --stages-per-rank 8 "
                   "--microbatches 4 | cmp - order.csv && echo same order; "
                   "\"$P\" export --db p.db --plan $id --format csv-comms >lowered.csv; "
                   "\"$P\" schedule --csv order.csv --stages 32 --format csv-comms "
                   "| cmp - lowered.csv && echo same lowered order; ls p.db*");
    cr_assert_str_eq(text_of(&r.out),
                     "--distributed.pipeline.round_virtual_stages_to_pp_multiple=up\n"
                     "29c29\n"
                     "<     round_virtual_stages_to_pp_multiple: down\n"
                     "---\n"
                     ">     round_virtual_stages_to_pp_multiple: up\n"
                     "same order\n"
                     "same lowered order\n"
                     "p.db\n"); /* nothing left beside the database */
    ran_free(&r);
    remove_scratch(&s);
}

Test(plan, export_names_the_whole_id_and_refuses_changed_rows) {
    struct scratch s = make_scratch();
    struct ran r = run_in(&s, "\"$P\" " PLAN " --db p.db >/dev/null; "
                              "id=$(sqlite3 p.db 'SELECT best_plan_id FROM runs'); "
                              "\"$P\" export --db p.db --plan $(echo $id | head -c 9) "
                              "--format nemo-cli --json | grep -c $id");
    cr_assert_str_eq(text_of(&r.out), "1\n", "%s", text_of(&r.messages));
    ran_free(&r);
    static const char *const edits[] = {
        "UPDATE runs SET settings = '[\"nonsense\"]'", "UPDATE runs SET settings = '7'",
        "UPDATE runs SET settings = '[]'; UPDATE plan_rows SET overrides = '[5]'"};
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        char db[128];
        snprintf(db, sizeof db, "%s/p.db", s.folder);
        change(db, edits[i]);
        expect_code(
            &s,
            "\"$P\" export --db p.db --plan $(sqlite3 p.db 'SELECT best_plan_id FROM runs') "
            "--format nemo-yaml",
            5, "cannot be read back");
    }
    remove_scratch(&s);
}

/* PyTorch runs this order and trains on wrong gradients. */
Test(plan, an_order_that_goes_wrong_in_silence_is_exported_by_force_only) {
    struct scratch s = make_scratch();
    struct ran r = run_in(
        &s, "\"$P\" schedule --schedule LoopedBFS --pp 4 --stages-per-rank 2 --microbatches 4 "
            "| sed '4s/7F0,7F1/7F1,7F0/' >o.csv; \"$P\" " PLAN
            " --db p.db --set distributed.pipeline.layers_per_stage=none "
            "--set distributed.pipeline.pp_schedule_csv=o.csv >/dev/null; "
            "sqlite3 p.db 'SELECT current_plan_id FROM runs' >id");
    cr_assert_eq(r.code, 0, "%s", text_of(&r.messages));
    ran_free(&r);
    static const char *const formats[] = {"csv", "csv-comms", "nemo-yaml"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        char line[160];
        int n = snprintf(line, sizeof line, "\"$P\" export --db p.db --plan $(cat id) --format %s",
                         formats[i]);
        expect_code(&s, line, 3, "W_LOSS_ORDER");
        snprintf(line + n, sizeof line - (size_t)n, " --force >forced");
        expect_code(&s, line, 0, "warning: W_LOSS_ORDER");
    }
    r = run_in(&s, "\"$P\" export --db p.db --plan $(cat id) --format csv --force --json");
    json_t *document = json_loads(r.out.bytes, 0, NULL);
    json_t *warnings = json_object_get(document, "warnings");
    cr_assert_eq(json_array_size(warnings), 1);
    cr_assert_str_eq(string_of(json_array_get(warnings, 0), "code"), "W_LOSS_ORDER");
    cr_assert_eq(r.messages.size, 0);
    json_decref(document);
    ran_free(&r);
    remove_scratch(&s);
}

Test(plan, a_recipe_with_its_own_csv_runs_that_order) {
    struct scratch s = make_scratch();
    struct ran r = run_in(
        &s, "\"$P\" schedule --schedule LoopedBFS --pp 4 --stages-per-rank 2 --microbatches 4 "
            ">o.csv; \"$P\" " PLAN " --db p.db --set distributed.pipeline.layers_per_stage=none "
            "--set distributed.pipeline.pp_schedule_csv=o.csv --json");
    cr_assert_eq(r.code, 0, "%s", text_of(&r.messages));
    json_t *document = json_loads(r.out.bytes, 0, NULL);
    json_t *current = json_object_get(document, "current");
    cr_assert_eq(integer_of(current, "num_virtual_stages"), 8);
    size_t i;
    json_t *plan;
    bool same = false;
    json_array_foreach(json_object_get(document, "plans"), i, plan) {
        same = same || (strcmp(string_of(plan, "schedule"), "LoopedBFS") == 0 &&
                        integer_of(plan, "num_virtual_stages") == 8 &&
                        integer_of(plan, "step_time_ns") == integer_of(current, "step_time_ns"));
    }
    cr_assert(same, "the file's order does not take the time of LoopedBFS");
    json_decref(document);
    ran_free(&r);
    expect_code(&s, "\"$P\" report --db p.db --out pictures >/dev/null", 0, "");
    expect_code(&s, "\"$P\" " PLAN " --set distributed.pipeline.pp_schedule_csv=o.csv >/dev/null",
                3, "E_CSV");
    remove_scratch(&s);
}

/* Input that is wrong in itself: one line that says what, where and what to do; exit code 3. */
static const struct {
    const char *args, *code, *words;
} bad[] = {
    {"plan /no/such/recipe.yaml", "E_FILE", "/no/such/recipe.yaml"},
    {"plan /", "E_FILE", "directory"},
    {PLAN " --set distributed.pipeline.pp_microbatch_size=many", "E_TYPE", "pp_microbatch_size"},
    {PLAN " --set distributed.pipeline.pp_microbatch_size=0", "E_RANGE", "pp_microbatch_size"},
    {PLAN " --set distributed.pipeline.layers_per_stage=-2", "E_RANGE", "layers_per_stage"},
    {PLAN " --set distributed.pipeline.pp_schedul=1f1b", "E_KEY", "pp_schedule"},
    {PLAN " --set distributed.pipeline.pp_schedule=zero_bubble", "E_SCHEDULE",
     "InterleavedZeroBubble"},
    {PLAN " --set distributed.pipeline.layers_per_stage=62", "E_MULTI", "62"},
    {PLAN " --set distributed.pipeline.round_virtual_stages_to_pp_multiple=none", "E_NODIV",
     "try --set distributed.pipeline.round_virtual_stages_to_pp_multiple=up"},
    {PLAN " --set distributed.pipeline.layers_per_stage=1000000000000", "E_RANGE",
     "layers_per_stage"},
    {PLAN " --set distributed.pipeline.round_virtual_stages_to_pp_multiple=nearest", "E_ROUND",
     "nearest"},
    {PLAN " --set distributed.pipeline.pp_microbatch_size=3", "E_BATCH", "3"},
    {PLAN " --set step_scheduler.global_batch_size=500", "E_BATCH", "500"},
    {PLAN " --set step_scheduler.global_batch_size=0", "E_RANGE", "global_batch_size"},
    {PLAN " --set dataset.seq_len=999999999999999999999", "E_", "seq_len"},
    {PLAN " --set dataset.seq_len=100000000", "E_RANGE", ""},
    {PLAN " --hardware h1000", "E_HARDWARE", "h100-sxm"},
    {PLAN " --model /no/such/config.json", "E_FILE", "config.json"},
    {"plan " EXAMPLE " --gpus 7", "E_WORLD", "--gpus"},
    {PLAN " --set model.config.num_hidden_layers=0", "E_RANGE", "1 to 100000"},
    {PLAN " --set model.config.num_hidden_layers=5000000000", "E_RANGE", "1 to 100000"},
    {PLAN " --set model.config.num_hidden_layers=few", "E_TYPE", "num_hidden_layers"},
};

Test(plan, bad_input_gets_one_clear_line_and_exit_code_3) {
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *document = run_json(bad[i].args, 3);
        json_t *error = json_object_get(document, "error");
        struct pp_text all = {0};
        cr_assert_not_null(error, "%s", bad[i].args);
        cr_assert(json_equal(error, json_object_get(json_object_get(document, "current"), "error")),
                  "%s", bad[i].args);
        cr_assert(json_is_array(json_object_get(document, "plans")));
        cr_assert(strncmp(string_of(error, "code"), bad[i].code, strlen(bad[i].code)) == 0,
                  "%s: %s %s", bad[i].args, string_of(error, "code"), string_of(error, "message"));
        pp_text_printf(&all, "%s; %s", string_of(error, "message"), string_of(error, "hint"));
        cr_assert(strstr(all.bytes, bad[i].words) != NULL, "%s: \"%s\" lacks \"%s\"", bad[i].args,
                  all.bytes, bad[i].words);
        pp_text_free(&all);
        json_decref(document);
    }
}

/* A batch that does not divide over GPUs that we assumed is no fault of the recipe, if a change
 * mends it; over GPUs that the user named it is. */
Test(plan, a_batch_is_judged_by_who_named_the_gpus) {
    static const struct {
        const char *args;
        int code;
    } cases[] = {
        {"plan " EXAMPLE " --set step_scheduler.global_batch_size=576", 0},
        {PLAN " --set step_scheduler.global_batch_size=576", 3},
        {"plan " EXAMPLE " --set step_scheduler.global_batch_size=500", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *document = run_json(cases[i].args, cases[i].code);
        json_t *current = json_object_get(document, "current");
        cr_assert_str_eq(string_of(json_object_get(current, "error"), "code"), "E_BATCH");
        cr_assert_eq(integer_of(current, "num_virtual_stages"), 28);
        expect_member(current, "step_time_ns", "null");
        json_decref(document);
    }
}

Test(plan, a_flag_out_of_range_is_exit_code_3) {
    expect_error(PLAN " --layers 0", 3, "E_RANGE", "--layers");
    expect_error(PLAN " --gpus 0", 3, "E_RANGE", "--gpus");
}

Test(plan, mistakes_in_a_file_carry_line_and_column) {
    struct scratch s = make_scratch();
    expect_code(&s, "printf 'a: [1,\\nb: 2\\n' >r.yaml; \"$P\" plan r.yaml", 3, "r.yaml:2:");
    expect_code(&s, "printf 'distributed:\\n  pp_size: two\\n' >r.yaml; \"$P\" plan r.yaml", 3,
                "r.yaml:2:12");
    expect_code(&s, ": >r.yaml; \"$P\" plan r.yaml", 3, "r.yaml");
    expect_code(&s, "head -c 5000 /dev/urandom >r.yaml; \"$P\" plan r.yaml", 3, "r.yaml");
    expect_code(&s, "printf '{\"hidden_size\": ' >c.json; \"$P\" " PLAN " --model c.json", 3,
                "c.json:2:1");
    expect_code(&s, "printf '{\"hidden_size\": 5}' >c.json; \"$P\" " PLAN " --model c.json", 3,
                "c.json");
    expect_code(&s,
                "printf '0F0,0F1\\r\\n1F0' >o.csv; \"$P\" " PLAN
                " --set distributed.pipeline.pp_schedule_csv=o.csv",
                3, "o.csv");
    remove_scratch(&s);
}

Test(plan, usage_mistakes_are_exit_code_2) {
    struct scratch s = make_scratch();
    expect_code(&s, "\"$P\" plan", 2, "missing RECIPE.yaml");
    expect_code(&s, "\"$P\" " PLAN " --gpu 8", 2, "--gpus");
    expect_code(&s, "\"$P\" " PLAN " --gpus", 2, "--gpus needs a value");
    expect_code(&s, "\"$P\" " PLAN " --gpus many", 2, "--gpus");
    expect_code(&s, "\"$P\" " PLAN " --set nothing", 2, "key=value");
    expect_code(&s, "\"$P\" report --db x.db", 2, "--out");
    expect_code(&s, "\"$P\" export --db x.db --plan 00 --format trace", 2, "nemo-yaml");
    expect_code(&s, "\"$P\" nonsense", 2, "nonsense");
    expect_code(&s, "\"$P\"", 2, "no command");
    remove_scratch(&s);
}

/* What the recipe does say is repeated beside the error, and nothing is advised to be zero. */
Test(plan, an_unknown_schedule_leaves_the_rest_of_the_recipe_known) {
    json_t *document = run_json(PLAN " --set distributed.pipeline.pp_schedule=zero_bubble", 3);
    json_t *current = json_object_get(document, "current");
    expect_member(current, "schedule", "null");
    expect_member(current, "overrides", "[]");
    cr_assert_eq(integer_of(current, "pp_size"), 4);
    cr_assert_eq(integer_of(current, "pp_microbatch_size"), 1);
    cr_assert_str_eq(string_of(json_object_get(current, "error"), "code"), "E_SCHEDULE");
    json_decref(document);
}

/* A value that is cut in the middle of a character, or has line breaks: still one line and one JSON
 * document, stored too. A setting that is no text is refused, for it could not be stored. */
Test(plan, odd_bytes_end_neither_the_line_nor_the_document) {
    struct scratch s = make_scratch();
    struct pp_text args = {0};
    pp_text_printf(&args, PLAN " --db %s/p.db --set distributed.pipeline.pp_schedule=x", s.folder);
    for (int i = 0; i < 50; i++) {
        pp_text_puts(&args, "\xc3\xa9");
    }
    expect_error(args.bytes, 3, "E_SCHEDULE", "unknown schedule");
    expect_code(&s,
                "\"$P\" " PLAN " --set \"distributed.pipeline.pp_schedule=a\nb\" --db p.db >x.txt",
                3, "'a b'");
    expect_code(&s, "\"$P\" " PLAN " --set \"model.x=\xff\"", 2, "UTF-8");
    pp_text_free(&args);
    remove_scratch(&s);
}

Test(plan, nothing_fits_is_a_negative_answer_with_the_closest_plans) {
    struct ran r = run_plan(PLAN " --hardware a100-40-sxm");
    cr_assert_eq(r.code, 1, "%d %s", r.code, text_of(&r.messages));
    cr_assert(strstr(text_of(&r.messages), "E_NO_FIT") != NULL);
    cr_assert(strstr(text_of(&r.out), "Nothing fits; closest") != NULL, "%s", text_of(&r.out));
    ran_free(&r);
}

Test(plan, a_store_that_fails_loses_nothing) {
    struct scratch s = make_scratch();
    char db[128];
    snprintf(db, sizeof db, "%s/p.db", s.folder);
    expect_code(&s, "\"$P\" " PLAN " --db p.db >/dev/null", 0, "");
    int64_t plans = count_rows(db, "SELECT count(*) FROM plans");
    /* a file that may not grow any further: what a full disk does */
    expect_code(&s,
                "(ulimit -f 200; \"$P\" plan " EXAMPLE " --gpus 512 --search-pp --db p.db "
                ">/dev/null)",
                5, "E_STORE");
    cr_assert_eq(count_rows(db, "SELECT count(*) FROM plans"), plans);
    cr_assert_eq(count_rows(db, "SELECT count(*) FROM runs"), 1);
    cr_assert_eq(count_rows(db, "SELECT count(*) FROM pragma_integrity_check WHERE "
                                "integrity_check = 'ok'"),
                 1);
    expect_code(&s, "\"$P\" " PLAN " --db /no/such/folder/p.db", 5, "E_STORE");
    expect_code(&s, "echo precious >text.db; \"$P\" " PLAN " --db text.db", 5, "E_STORE");
    expect_code(&s, "[ \"$(cat text.db)\" = precious ]", 0, "");
    expect_code(&s, "sqlite3 theirs.db 'CREATE TABLE t (x)'; \"$P\" " PLAN " --db theirs.db", 5,
                "another program");
    expect_code(&s, "\"$P\" report --db missing.db --out x", 5, "E_STORE");
    expect_code(&s, "\"$P\" " PLAN " --db \"\"", 5, "is no file");
    expect_code(&s, "\"$P\" " PLAN " --db :memory:", 5, "is no file");
    expect_code(&s, "[ ! -e missing.db ]", 0, "");
    expect_code(&s, "\"$P\" export --db p.db --plan ffffffffffffffffffffffffffffffff --format csv",
                3, "E_NOT_FOUND");
    remove_scratch(&s);
}

Test(plan, a_plan_changed_from_outside_is_drawn_or_refused) {
    struct scratch s = make_scratch();
    expect_code(&s, "\"$P\" " PLAN " --db p.db >/dev/null", 0, "");
    expect_code(&s,
                "sqlite3 p.db 'UPDATE plan_rows SET flushes_per_step = 9223372036854775807'; "
                "\"$P\" report --db p.db --out x >/dev/null",
                0, "");
    remove_scratch(&s);
}

/* Permissions do not bind root, so root runs this as nobody, from a copy that nobody can read. A
 * program built for coverage writes its counts where nobody may. */
Test(plan, a_read_only_database_is_refused_for_writing_and_read_for_reports) {
    struct scratch s = make_scratch();
    struct ran r = run_in(&s, "mkdir db out && cp \"$P\" program && cp " EXAMPLE " r.yaml && "
                              "./program plan r.yaml --gpus 256 --db db/p.db >/dev/null && "
                              "chmod 755 . program && chmod 444 db/p.db && chmod 555 db && "
                              "chmod 777 out && sha256sum db/p.db >before");
    cr_assert_eq(r.code, 0, "%s", text_of(&r.messages));
    ran_free(&r);
    static const char nobody[] = "export GCOV_PREFIX=$PWD/out; as=; [ $(id -u) -ne 0 ] || "
                                 "as='setpriv --reuid=65534 --clear-groups'; $as ./program ";
    char line[512];
    snprintf(line, sizeof line, "%splan r.yaml --gpus 512 --db db/p.db >/dev/null", nobody);
    expect_code(&s, line, 5, "writable");
    snprintf(line, sizeof line, "%sreport --db db/p.db --out out >/dev/null", nobody);
    expect_code(&s, line, 0, "");
    expect_code(&s, "sha256sum -c --quiet before && ls out/pareto.png >/dev/null && chmod 755 db",
                0, "");
    remove_scratch(&s);
}

/* Several plans at once, from the first one on: each is stored, none is refused. */
Test(plan, processes_share_a_new_database) {
    for (int round = 0; round < 4; round++) {
        struct scratch s = make_scratch();
        struct ran r = run_in(&s, "for g in 64 128 256 512; do \"$P\" plan " EXAMPLE " --gpus 256 "
                                  "--set dataset.seq_len=$g --db p.db >/dev/null & done; wait; "
                                  "sqlite3 p.db 'SELECT count(*) FROM runs'");
        cr_assert_str_eq(text_of(&r.out), "4\n", "%s", text_of(&r.messages));
        ran_free(&r);
        remove_scratch(&s);
    }
}

Test(plan, an_environment_that_lacks_something_is_exit_code_4) {
    struct scratch s = make_scratch();
    expect_code(&s, "\"$P\" " PLAN " --db p.db >/dev/null", 0, "");
    expect_code(&s, "PATH=/nowhere \"$P\" report --db p.db --out x", 4, "gnuplot");
    expect_code(&s, "\"$P\" report --db p.db --out /proc/no/such", 4, "/proc/no");
    expect_code(&s, "touch file; \"$P\" report --db p.db --out file/x", 4, "file");
    expect_code(&s, "\"$P\" report --db p.db --out \"\"", 2, "--out");
    expect_code(&s, "\"$P\" " PLAN " >/dev/full", 4, "standard output");
    expect_code(&s, "\"$P\" " PLAN " --json >&-", 4, "E_IO");
    struct ran r = run_in(&s, "set -o pipefail 2>/dev/null; \"$P\" " PLAN " --json | head -c 10");
    cr_assert(r.code < 1000);
    ran_free(&r);
    remove_scratch(&s);
}

/* A pipe that nobody writes to: waiting for its first byte ends by the signal, too. */
Test(plan, ctrl_c_while_waiting_for_a_file_is_exit_code_130) {
    struct scratch s = make_scratch();
    expect_code(&s, "mkfifo f; timeout --preserve-status -s INT 0.5 \"$P\" plan f >/dev/null", 130,
                "E_INTERRUPTED");
    remove_scratch(&s);
}

/* Ctrl-C in the middle: 130, and the database holds whole runs only. The signal comes at a
 * different moment each time; whichever it hits, nothing is half stored. */
Test(plan, ctrl_c_leaves_whole_runs_only) {
    struct scratch s = make_scratch();
    char db[128];
    int interrupted = 0;
    snprintf(db, sizeof db, "%s/p.db", s.folder);
    expect_code(&s, "\"$P\" " PLAN " --db p.db >/dev/null", 0, "");
    for (int ms = 0; ms < 400; ms += 20) {
        char line[512];
        snprintf(line, sizeof line,
                 "timeout --preserve-status -s INT 0.%03d \"$P\" plan " EXAMPLE
                 " --gpus 64 --set distributed.ep_size=2 --set step_scheduler.global_batch_size=%d "
                 "--search-pp --db p.db >/dev/null",
                 ms + 1, 2048 + 64 * ms);
        struct ran r = run_in(&s, line);
        cr_assert(r.code == 0 || r.code == 1 || r.code == 130, "exit %d: %s", r.code,
                  text_of(&r.messages));
        interrupted += r.code == 130;
        ran_free(&r);
        cr_assert_eq(count_rows(db, "SELECT count(*) FROM runs WHERE NOT EXISTS (SELECT 1 FROM "
                                    "plan_rows WHERE plan_rows.run_id = runs.run_id)"),
                     0);
    }
    cr_assert_gt(interrupted, 0);
    remove_scratch(&s);
}
