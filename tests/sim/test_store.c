#include "tests/sim/store_support.h"

Test(store, the_same_run_twice_adds_nothing_twice) {
    struct stored s;
    stored_init(&s);
    cr_assert(stored_add(&s));
    int64_t plans = count_rows(s.path, "SELECT count(*) FROM plans");
    cr_assert_eq(plans, s.set->plan_count);
    cr_assert_not(stored_add(&s));
    cr_assert_eq(count_rows(s.path, "SELECT count(*) FROM plans"), plans);
    cr_assert_eq(count_rows(s.path, "SELECT count(*) FROM runs"), 1);
    cr_assert_eq(count_rows(s.path, "SELECT count(*) FROM plans WHERE is_current"), 1);
    cr_assert_eq(count_rows(s.path, "SELECT json_array_length(peak_memory_bytes) FROM plans"), 4);
    stored_deinit(&s);
}

/* Every input that can change a result is part of the id; where the files lie is not. */
Test(store, other_inputs_are_another_run) {
    const struct pp_run_inputs first = {.recipe_path = "a.yaml",
                                        .recipe_text = "a: 1",
                                        .settings = "[]",
                                        .model_name = "m",
                                        .hardware_name = "h",
                                        .hardware_text = "x: 1",
                                        .gpu_count = 8};
    struct pp_run_inputs others[] = {first, first, first, first, first, first, first, first, first};
    enum { COUNT = sizeof others / sizeof others[0] };
    char ids[COUNT + 1][33];
    others[0].recipe_text = "a: 2";
    others[1].settings = "[\"a=b\"]";
    others[2].model_name = "n";
    others[3].model_text = "";
    others[4].hardware_text = "x: 2";
    others[5].csv_text = "0F0";
    others[6].gpu_count = 16;
    others[7].layers = 4;
    others[8].search_pp = true;
    cr_assert_eq(pp_run_id(&first, ids[COUNT], NULL), PP_OK);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(pp_run_id(&others[i], ids[i], NULL), PP_OK);
        cr_assert_str_neq(ids[i], ids[COUNT], "input %d is not in the id", i);
    }
    struct pp_run_inputs moved = first;
    char id[33];
    moved.recipe_path = "b/a.yaml";
    cr_assert_eq(pp_run_id(&moved, id, NULL), PP_OK);
    cr_assert_str_eq(id, ids[COUNT]);
}

Test(store, plans_come_back_as_they_went_in) {
    struct stored s;
    stored_init(&s);
    stored_add(&s);
    struct pp_store *store = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_store_open_read(s.path, &store, &err), PP_OK, "%s", err.message);
    for (int32_t i = 0; i < s.set->plan_count; i += 7) {
        const struct pp_plan *in = &s.set->plans[i];
        struct pp_plan out;
        char run_id[33];
        cr_assert_eq(pp_store_read_plan(store, in->id, &out, run_id, &err), PP_OK, "%s",
                     err.message);
        cr_assert_str_eq(run_id, s.run_id);
        cr_assert_eq(out.config.schedule, in->config.schedule);
        cr_assert_eq(out.config.round, in->config.round);
        cr_assert_eq(out.config.has_layers_per_stage, in->config.has_layers_per_stage);
        cr_assert_eq(out.step_ns, in->step_ns);
        cr_assert_eq(out.max_peak_bytes, in->max_peak_bytes);
        cr_assert_eq(out.reserved_bytes, in->reserved_bytes);
        size_t n = (size_t)in->stage_count;
        cr_assert_arr_eq(out.stage_costs, in->stage_costs, n * sizeof *in->stage_costs);
        cr_assert_arr_eq(out.layer_counts, in->layer_counts, n * sizeof *in->layer_counts);
        cr_assert_arr_eq(out.stage_rank, in->stage_rank, n * sizeof *in->stage_rank);
        pp_plan_deinit(&out);
    }
    struct pp_stored_run run;
    cr_assert_eq(pp_store_read_run(store, NULL, &run, &err), PP_OK, "%s", err.message);
    cr_assert_str_eq(run.recipe_text, deepseek_recipe);
    cr_assert_str_eq(run.best_id, s.set->plans[s.set->best < 0 ? 0 : s.set->best].id);
    pp_stored_run_deinit(&run);
    pp_store_close(store);
    stored_deinit(&s);
}

/* A column of one row as text; free it. */
static char *text_at(const char *path, const char *format, const char *id) {
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    char sql[256];
    snprintf(sql, sizeof sql, format, id);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_step(stmt), SQLITE_ROW, "%s", sql);
    char *text = strdup((const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return text;
}

static void expect_text(const char *path, const char *format, const char *id, const char *wanted) {
    char *got = text_at(path, format, id);
    cr_assert_str_eq(got, wanted, "%s", format);
    free(got);
}

Test(store, rows_hold_what_other_programs_read) {
    struct stored s;
    stored_init(&s);
    stored_add(&s);
    const struct pp_plan_set *set = s.set;
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)set->considered_count);
    expect_text(s.path, "SELECT considered_count FROM runs WHERE run_id = '%s'", s.run_id, number);
    expect_text(s.path, "SELECT best_plan_id FROM runs WHERE run_id = '%s'", s.run_id,
                set->plans[set->best].id);
    expect_text(s.path, "SELECT best_same_memory_plan_id FROM runs WHERE run_id = '%s'", s.run_id,
                set->plans[set->best_same_memory].id);
    expect_text(s.path, "SELECT other_round_plan_id FROM runs WHERE run_id = '%s'", s.run_id,
                set->plans[set->other_round].id);
    for (int32_t i = 0; i < set->plan_count; i += 9) {
        const struct pp_plan *p = &set->plans[i];
        struct pp_text actions = {0};
        for (int32_t r = 0; r < p->config.pp_size; r++) {
            char text[PP_ACTION_TEXT_BYTES];
            pp_text_printf(&actions, "%s\"%s\"", r == 0 ? "[" : ",",
                           pp_plan_peak_action(p, r, text));
        }
        pp_text_puts(&actions, "]");
        snprintf(number, sizeof number, "%d", i + 1);
        expect_text(s.path, "SELECT position FROM plans WHERE plan_id = '%s'", p->id, number);
        expect_text(s.path, "SELECT peak_actions FROM plan_rows WHERE plan_id = '%s'", p->id,
                    actions.bytes);
        expect_text(s.path, "SELECT why FROM plans WHERE plan_id = '%s'", p->id, p->why);
        pp_text_free(&actions);
    }
    stored_deinit(&s);
}

Test(store, unknown_and_ambiguous_ids_are_told_apart) {
    struct stored s;
    stored_init(&s);
    stored_add(&s);
    struct pp_store *store = NULL;
    struct pp_plan plan;
    struct pp_err err = {0};
    char run_id[33];
    cr_assert_eq(pp_store_open_read(s.path, &store, &err), PP_OK);
    cr_assert_eq(pp_store_read_plan(store, "00000000000000000000000000000000", &plan, run_id, &err),
                 PP_E_NOT_FOUND);
    cr_assert_eq(pp_store_read_plan(store, "", &plan, run_id, &err), PP_E_NOT_FOUND);
    cr_assert_eq(pp_store_read_plan(store, "x' OR 1", &plan, run_id, &err), PP_E_NOT_FOUND);
    char one[2] = {s.set->plans[0].id[0], '\0'};
    cr_assert_eq(pp_store_read_plan(store, one, &plan, run_id, &err), PP_E_NOT_FOUND);
    cr_assert(strstr(err.message, "more than one") != NULL, "%s", err.message);
    pp_store_close(store);
    stored_deinit(&s);
}

Test(store, other_peoples_databases_are_left_alone) {
    struct stored s;
    stored_init(&s);
    struct pp_store *store = NULL;
    struct pp_err err = {0};
    change_rows(s.path, "CREATE TABLE precious (x); INSERT INTO precious VALUES (1)");
    cr_assert_eq(pp_store_open(s.path, &store, &err), PP_E_STORE);
    cr_assert(strstr(err.message, "another program") != NULL, "%s", err.message);
    cr_assert_eq(count_rows(s.path, "SELECT count(*) FROM sqlite_master"), 1);
    cr_assert_eq(count_rows(s.path, "SELECT x FROM precious"), 1);
    stored_deinit(&s);
}

/* Reading makes nothing, not even tables in a file that is there and empty. */
Test(store, an_empty_file_holds_no_plans_and_stays_empty) {
    struct stored s;
    stored_init(&s);
    struct pp_store *store = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_store_open_read(s.path, &store, &err), PP_E_STORE);
    cr_assert(strstr(err.message, "holds no plans") != NULL, "%s", err.message);
    cr_assert_eq(count_rows(s.path, "SELECT count(*) FROM sqlite_master"), 0);
    stored_deinit(&s);
}

Test(store, a_newer_schema_and_a_text_file_are_refused) {
    struct stored s;
    stored_init(&s);
    struct pp_store *store = NULL;
    struct pp_err err = {0};
    stored_add(&s);
    change_rows(s.path, "PRAGMA user_version = 99");
    cr_assert_eq(pp_store_open(s.path, &store, &err), PP_E_STORE);
    cr_assert(strstr(err.message, "99") != NULL, "%s", err.message);
    FILE *f = fopen(s.path, "w");
    for (int i = 0; i < 100; i++) {
        fputs("this is no database, but it is long enough to be looked at\n", f);
    }
    fclose(f);
    cr_assert_eq(pp_store_open(s.path, &store, &err), PP_E_STORE);
    cr_assert(err.hint[0] != '\0');
    cr_assert_eq(pp_store_open("/no/such/folder/x.db", &store, &err), PP_E_STORE);
    cr_assert_eq(pp_store_open_read("/tmp/pp_no_such_database.db", &store, &err), PP_E_STORE);
    stored_deinit(&s);
}

Test(store, an_interrupted_run_leaves_nothing_behind) {
    struct stored s;
    stored_init(&s);
    volatile sig_atomic_t stop = 1;
    struct pp_store *store = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_store_open(s.path, &store, &err), PP_OK);
    cr_assert_eq(
        pp_store_add_run(store, &s.inputs, s.bed.recipe, s.set, s.run_id, &stop, NULL, &err),
        PP_E_INTERRUPTED);
    pp_store_close(store);
    cr_assert_eq(count_rows(s.path, "SELECT count(*) FROM runs"), 0);
    cr_assert_eq(count_rows(s.path, "SELECT count(*) FROM plans"), 0);
    cr_assert(stored_add(&s));
    stored_deinit(&s);
}

Test(store, a_full_database_keeps_what_it_had) {
    struct stored s;
    stored_init(&s);
    stored_add(&s);
    int64_t plans = count_rows(s.path, "SELECT count(*) FROM plans");
    struct pp_store *store = NULL;
    struct pp_err err = {0};
    char id[33];
    s.inputs.gpu_count = 512;
    cr_assert_eq(pp_run_id(&s.inputs, id, NULL), PP_OK);
    pp_plan_set_destroy(s.set);
    s.bed.request.run_id = id;
    s.set = bed_search(&s.bed);
    cr_assert_eq(pp_store_open(s.path, &store, &err), PP_OK);
    /* SQLite's own limit gives the same error as a full disk */
    sqlite3_exec(*(sqlite3 **)store, "PRAGMA max_page_count = 1", NULL, NULL, NULL);
    cr_assert_eq(pp_store_add_run(store, &s.inputs, s.bed.recipe, s.set, id, NULL, NULL, &err),
                 PP_E_STORE);
    cr_assert(strstr(err.message, "full") != NULL, "%s", err.message);
    pp_store_close(store);
    cr_assert_eq(count_rows(s.path, "SELECT count(*) FROM plans"), plans);
    cr_assert_eq(count_rows(s.path, "SELECT count(*) FROM runs"), 1);
    stored_deinit(&s);
}

/* Rows that somebody edited: every one is refused or read, none crashes. */
Test(store, edited_rows_are_refused) {
    static const char *const edits[] = {
        "layer_counts = '[1,2]'",
        "layer_counts = '[\"a\"]'",
        "stage_ranks = 'nonsense'",
        "stage_ranks = replace(stage_ranks, '0', '99')",
        "num_virtual_stages = 1000000000",
        "num_virtual_stages = -1",
        "schedule = 'nothing'",
        "round = 'sideways'",
        "pp_size = 0",
        "peak_memory_bytes = NULL",
        "peak_memory_bytes = '[1.5,2,3,4]'",
        "num_microbatches = 99999999999",
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        struct stored s;
        char sql[256];
        struct pp_store *store = NULL;
        struct pp_plan plan;
        struct pp_err err = {0};
        char run_id[33];
        stored_init(&s);
        stored_add(&s);
        snprintf(sql, sizeof sql, "UPDATE plan_rows SET %s", edits[i]);
        change_rows(s.path, sql);
        cr_assert_eq(pp_store_open_read(s.path, &store, &err), PP_OK);
        cr_assert_eq(pp_store_read_plan(store, s.set->plans[0].id, &plan, run_id, &err), PP_E_STORE,
                     "%s was taken", edits[i]);
        cr_assert(strstr(err.message, "cannot be read back") != NULL, "%s", err.message);
        pp_store_close(store);
        stored_deinit(&s);
    }
}
