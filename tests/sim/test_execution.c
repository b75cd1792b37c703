#include "tests/sim/execution_support.h"
#include "tests/sim/random_lowered.h"
#include "tests/sim/schema_1.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static void expect_same_sched(const struct pp_sched *a, const struct pp_sched *b) {
    size_t n = (size_t)a->action_count;
    cr_assert_eq(a->rank_count, b->rank_count);
    cr_assert_eq(a->stage_count, b->stage_count);
    cr_assert_eq(a->microbatch_count, b->microbatch_count);
    cr_assert_eq(a->part_count, b->part_count);
    cr_assert_eq(a->slice_count, b->slice_count);
    cr_assert_eq(a->action_count, b->action_count);
    cr_assert(a->lowered && b->lowered);
    cr_assert_arr_eq(a->stage_rank, b->stage_rank, (size_t)a->stage_count * sizeof *a->stage_rank);
    cr_assert_arr_eq(a->rank_begin, b->rank_begin,
                     ((size_t)a->rank_count + 1) * sizeof *a->rank_begin);
    cr_assert_arr_eq(a->actions, b->actions, n * sizeof *a->actions);
    cr_assert_arr_eq(a->producer, b->producer, n * sizeof *a->producer);
    cr_assert_eq(a->reload == NULL, b->reload == NULL);
    if (a->reload != NULL) {
        cr_assert_arr_eq(a->reload, b->reload, n * sizeof *a->reload);
    }
}

static void read_back(const char *path, const char *id, struct pp_stored_execution *e) {
    struct pp_store *store = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_store_open_read(path, &store, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_store_read_execution(store, id, e, &err), PP_OK, "%s", err.message);
    pp_store_close(store);
}

Test(execution, comes_back_as_it_went_in) {
    struct executed x;
    uint64_t seed = 1;
    executed_init(&x, "Interleaved1F1B", 2, 2, 4, 8);
    draw_modules(&x, &seed);
    struct pp_trace t = executed_trace(&x, 1000, 500);
    for (int32_t at = 0; at < x.sched->action_count; at++) {
        t.queue_ns[at] -= random_below(&seed, 100); /* before 0, too: clocks of two processes */
    }
    struct pp_store *store = open_store(x.path);
    struct pp_execution_inputs inputs = executed_inputs(&x);
    const struct pp_costs costs = {
        .f_ns = x.f_ns, .i_ns = x.i_ns, .w_ns = x.w_ns, .b_ns = x.b_ns, .recv_b_ns = x.latency_ns};
    inputs.costs = &costs;
    struct pp_execution *e = begin_execution(store, &x, &inputs);
    struct pp_err err = {0};
    char id[33];
    strcpy(id, pp_execution_id(e));
    add_step(e, 0, &t);
    struct pp_execution_step blank = {.step = 1, .wall_ns = 77, .trace = &t};
    cr_assert_eq(pp_execution_add_step(e, &blank, &err), PP_OK, "%s", err.message);
    struct pp_execution_step nan_loss = {.step = 2, .has_loss = true, .loss = NAN};
    cr_assert_eq(pp_execution_add_step(e, &nan_loss, &err), PP_OK, "%s", err.message);
    add_profile(e, &x);
    add_profile(e, &x);
    cr_assert_eq(pp_execution_end(e, PP_EXECUTION_FAILED, "{\"code\":\"E_RUN\"}", &err), PP_OK);
    pp_execution_close(e);
    struct pp_stored_execution out;
    struct pp_trace back;
    struct pp_profile_row *rows = NULL;
    int32_t count = 0;
    cr_assert_eq(pp_store_read_execution(store, id, &out, &err), PP_OK, "%s", err.message);
    expect_same_sched(x.sched, out.sched);
    cr_assert_str_eq(out.id, id);
    cr_assert_str_eq(out.workload, inputs.workload);
    cr_assert_str_eq(out.model_key, inputs.model_key);
    cr_assert_str_eq(out.device, inputs.device);
    cr_assert_str_eq(out.transport, inputs.transport);
    cr_assert_str_eq(out.machine, inputs.machine);
    cr_assert_str_eq(out.options, inputs.options);
    cr_assert_str_eq(out.error, "{\"code\":\"E_RUN\"}");
    cr_assert_str_eq(out.program_hash, x.hash);
    cr_assert_str_eq(out.plan_id, "");
    cr_assert_eq(out.state, PP_EXECUTION_FAILED);
    cr_assert_eq(out.started_at, inputs.started_at);
    cr_assert_eq(out.predicted_makespan_ns, 123456);
    cr_assert_arr_eq(out.message_bytes, x.message_bytes, 4 * sizeof *x.message_bytes);
    cr_assert_arr_eq(out.costs.f_ns, x.f_ns, 4 * sizeof *x.f_ns);
    cr_assert_arr_eq(out.costs.b_ns, x.b_ns, 4 * sizeof *x.b_ns);
    cr_assert_arr_eq(out.costs.recv_b_ns, x.latency_ns, 4 * sizeof *x.latency_ns);
    cr_assert(out.costs.recv_f_ns == NULL && out.costs.pair_ns == NULL);
    for (int s = 0; s < 4; s++) {
        cr_assert_eq(out.split[s].embedding, x.split[s].embedding);
        cr_assert_eq(out.split[s].head, x.split[s].head);
        cr_assert_eq(out.split[s].layer_begin, x.split[s].layer_begin);
        cr_assert_eq(out.split[s].layer_end, x.split[s].layer_end);
    }
    cr_assert_eq(out.step_count, 3);
    cr_assert(out.steps[0].has_loss && out.steps[0].loss == 2.5 && out.steps[0].has_trace);
    cr_assert(!out.steps[1].has_loss && !out.steps[1].has_trace && out.steps[1].wall_ns == 77);
    cr_assert_eq(out.steps[0].makespan_ns, out.steps[1].makespan_ns);
    cr_assert(!out.steps[2].has_loss && out.steps[2].makespan_ns == 0);
    cr_assert_eq(pp_store_read_trace(store, &out, 0, &back, &err), PP_OK, "%s", err.message);
    size_t bytes = (size_t)x.sched->action_count * sizeof *t.start_ns;
    cr_assert_arr_eq(back.start_ns, t.start_ns, bytes);
    cr_assert_arr_eq(back.end_ns, t.end_ns, bytes);
    cr_assert_arr_eq(back.queue_ns, t.queue_ns, bytes);
    cr_assert_eq(back.end_ns[x.sched->action_count], 0);
    struct pp_trace no;
    cr_assert_eq(pp_store_read_trace(store, &out, 1, &no, &err), PP_E_NOT_FOUND);
    cr_assert_eq(pp_store_read_profile(store, &out, &rows, &count, &err), PP_OK, "%s", err.message);
    cr_assert_eq(count, 10 * 3);
    cr_assert_eq(rows[0].module, PP_MODULE_EMBEDDING);
    cr_assert_eq(rows[29].median_ns, x.module_ns[9][PP_W]);
    free(rows);
    pp_trace_deinit(&back);
    pp_trace_deinit(&t);
    pp_stored_execution_deinit(&out);
    pp_store_close(store);
    executed_deinit(&x);
}

/* Stores the schedule as a program of its own, reads it back and compares. */
static void expect_rebuilt(struct pp_store *store, const struct pp_sched *lowered, int32_t number) {
    struct pp_execution_inputs inputs = {.workload = "spin",
                                         .model_key = "k",
                                         .device = "host",
                                         .transport = "local",
                                         .machine = "here"};
    struct pp_execution *e = NULL;
    struct pp_stored_execution out;
    struct pp_err err = {0};
    char hash[65];
    snprintf(hash, sizeof hash, "%064x", (unsigned)number);
    inputs.program_hash = hash;
    cr_assert_eq(pp_store_add_program(store, hash, lowered, NULL, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_execution_begin(store, &inputs, &e, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_store_read_execution(store, pp_execution_id(e), &out, &err), PP_OK, "%s",
                 err.message);
    expect_same_sched(lowered, out.sched);
    cr_assert(out.split == NULL && out.cost_block == NULL);
    cr_assert_str_eq(out.options, "{}");
    pp_execution_close(e);
    pp_stored_execution_deinit(&out);
}

/* Any lowered schedule, also with pairs, offloading, numbered reductions. */
Test(execution, every_random_program_is_rebuilt_exactly) {
    uint64_t seed = 20;
    struct executed x;
    executed_init(&x, "1F1B", 2, 1, 2, 2);
    struct pp_store *store = open_store(x.path);
    int offloading = 0;
    for (int k = 0; k < 150; k++) {
        struct lowered_case c;
        draw_lowered(&c, &seed, &draw_usual);
        expect_rebuilt(store, c.lowered, k);
        offloading += c.lowered->reload != NULL;
        lowered_case_deinit(&c);
    }
    cr_assert(offloading > 10);
    pp_store_close(store);
    executed_deinit(&x);
}

Test(execution, every_kind_of_program_is_rebuilt_exactly) {
    struct executed x;
    executed_init(&x, "1F1B", 2, 1, 2, 2);
    struct pp_store *store = open_store(x.path);
    int bidirectional = 0;
    int sliced = 0;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        struct pp_gen_config config = {.rank_count = 4,
                                       .stages_per_rank = info->default_stages_per_rank,
                                       .microbatch_count = 8,
                                       .slice_count = info->takes_slices ? 2 : 0};
        struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
        struct pp_sched *order = NULL;
        struct pp_sched *lowered = NULL;
        struct pp_err err = {0};
        cr_assert_eq(pp_schedule_generate(info, &config, &order, &err), PP_OK, "%s: %s", info->name,
                     err.message);
        cr_assert_eq(pp_sched_lower(order, &options, &lowered, &err), PP_OK, "%s", err.message);
        bidirectional += lowered->part_count != lowered->stage_count;
        sliced += lowered->slice_count > 1;
        expect_rebuilt(store, lowered, i);
        pp_sched_destroy(order);
        pp_sched_destroy(lowered);
    }
    cr_assert(bidirectional > 0 && sliced > 0);
    pp_store_close(store);
    executed_deinit(&x);
}

Test(execution, the_same_program_twice_is_one_and_two_executions_a_second_are_two) {
    struct executed x;
    executed_init(&x, "1F1B", 2, 1, 4, 2);
    struct pp_store *store = open_store(x.path);
    struct pp_execution_inputs inputs = executed_inputs(&x);
    struct pp_execution *a = begin_execution(store, &x, &inputs);
    struct pp_execution *b = begin_execution(store, &x, &inputs);
    cr_assert_str_neq(pp_execution_id(a), pp_execution_id(b));
    cr_assert_eq(count_rows(x.path, "SELECT count(*) FROM programs"), 1);
    struct pp_execution_summary *list = NULL;
    struct pp_err err = {0};
    int32_t count = 0;
    cr_assert_eq(pp_store_list_executions(store, &list, &count, &err), PP_OK, "%s", err.message);
    cr_assert_eq(count, 2);
    cr_assert_str_eq(list[1].id, pp_execution_id(b));
    cr_assert_str_eq(list[1].workload, "transformer");
    cr_assert_eq(list[1].state, PP_EXECUTION_RUNNING);
    cr_assert_eq(list[1].step_count, 0);
    struct pp_stored_execution last;
    cr_assert_eq(pp_store_read_execution(store, NULL, &last, &err), PP_OK);
    cr_assert_str_eq(last.id, pp_execution_id(b));
    cr_assert_eq(pp_store_read_execution(store, "zz", &last, &err), PP_E_NOT_FOUND);
    char none[2] = "0";
    while (strchr("0123456789abcdef", none[0]) != NULL &&
           (none[0] == pp_execution_id(a)[0] || none[0] == pp_execution_id(b)[0])) {
        none[0]++;
    }
    struct pp_stored_execution no;
    cr_assert_eq(pp_store_read_execution(store, none, &no, &err), PP_E_NOT_FOUND);
    int32_t plans = -1;
    cr_assert_eq(pp_store_count_ids(store, pp_execution_id(a), &plans, &count, &err), PP_OK);
    cr_assert(plans == 0 && count == 1);
    cr_assert_eq(pp_store_count_ids(store, "nothing", &plans, &count, &err), PP_OK);
    cr_assert(plans == 0 && count == 0);
    free(list);
    pp_stored_execution_deinit(&last);
    pp_execution_close(a);
    pp_execution_close(b);
    pp_store_close(store);
    executed_deinit(&x);
}

Test(execution, ids_of_programs_plans_and_calibrations_must_be_stored) {
    struct executed x;
    executed_init(&x, "1F1B", 2, 1, 4, 2);
    struct pp_store *store = open_store(x.path);
    struct pp_execution_inputs inputs = executed_inputs(&x);
    struct pp_execution *e = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_execution_begin(store, &inputs, &e, &err), PP_E_STORE);
    cr_assert(strstr(err.message, "holds no program") != NULL, "%s", err.message);
    cr_assert_eq(pp_store_add_program(store, x.hash, x.sched, NULL, &err), PP_OK);
    inputs.plan_id = "00000000000000000000000000000000";
    cr_assert_eq(pp_execution_begin(store, &inputs, &e, &err), PP_E_STORE);
    inputs.plan_id = NULL;
    inputs.calibration_id = "00000000000000000000000000000000";
    cr_assert_eq(pp_execution_begin(store, &inputs, &e, &err), PP_E_STORE);
    cr_assert_eq(count_rows(x.path, "SELECT count(*) FROM executions"), 0);
    pp_store_close(store);
    executed_deinit(&x);
}

/* ---- old databases ---- */

static void make_version_1(const char *path) {
    change_rows(path, schema_1);
    change_rows(path, "PRAGMA application_id = 1886415982; PRAGMA user_version = 1; "
                      "INSERT INTO stage_costs VALUES ('a', '[]', '[]')");
}

Test(execution, a_database_of_version_1_is_upgraded_when_it_is_written) {
    struct executed x;
    executed_init(&x, "1F1B", 2, 1, 4, 2);
    make_version_1(x.path);
    struct pp_store *store = open_store(x.path);
    struct pp_execution_inputs inputs = executed_inputs(&x);
    struct pp_execution *e = begin_execution(store, &x, &inputs);
    pp_execution_close(e);
    pp_store_close(store);
    cr_assert_eq(count_rows(x.path, "PRAGMA user_version"), 2);
    cr_assert_eq(count_rows(x.path, "SELECT count(*) FROM stage_costs"), 1);
    cr_assert_eq(count_rows(x.path, "SELECT count(*) FROM executions"), 1);
    /* the same tables as in a new one */
    struct executed fresh;
    executed_init(&fresh, "1F1B", 2, 1, 4, 2);
    pp_store_close(open_store(fresh.path));
    static const char tables[] = "SELECT count(*) FROM sqlite_master";
    cr_assert_eq(count_rows(x.path, tables), count_rows(fresh.path, tables));
    executed_deinit(&fresh);
    executed_deinit(&x);
}

Test(execution, a_database_of_version_1_is_read_as_it_is) {
    struct executed x;
    executed_init(&x, "1F1B", 2, 1, 4, 2);
    make_version_1(x.path);
    struct pp_store *store = NULL;
    struct pp_err err = {0};
    struct pp_stored_execution e;
    struct pp_execution_summary *list = NULL;
    int32_t count = -1;
    cr_assert_eq(pp_store_open_read(x.path, &store, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_store_read_execution(store, "ab", &e, &err), PP_E_NOT_FOUND);
    cr_assert_eq(pp_store_read_execution(store, NULL, &e, &err), PP_E_NOT_FOUND);
    cr_assert_eq(pp_store_list_executions(store, &list, &count, &err), PP_OK);
    cr_assert_eq(count, 0);
    cr_assert_null(list);
    int32_t plans = -1;
    cr_assert_eq(pp_store_count_ids(store, "ab", &plans, &count, &err), PP_OK);
    cr_assert(plans == 0 && count == 0);
    pp_store_close(store);
    cr_assert_eq(count_rows(x.path, "PRAGMA user_version"), 1);
    executed_deinit(&x);
}

/* Whatever keeps an upgrade from ending leaves a database of version 1. */
Test(execution, an_upgrade_that_fails_changes_nothing) {
    struct executed x;
    executed_init(&x, "1F1B", 2, 1, 4, 2);
    make_version_1(x.path);
    change_rows(x.path, "CREATE TABLE profiles (mine TEXT)");
    struct pp_store *store = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_store_open(x.path, &store, &err), PP_E_STORE);
    cr_assert_eq(count_rows(x.path, "PRAGMA user_version"), 1);
    cr_assert_eq(count_rows(x.path, "SELECT count(*) FROM sqlite_master WHERE name = 'programs'"),
                 0);
    executed_deinit(&x);
}

/* ---- what goes wrong ---- */

Test(execution, a_crash_between_steps_leaves_earlier_steps_readable) {
    struct executed x;
    uint64_t seed = 3;
    executed_init(&x, "ZBH1", 2, 1, 4, 4);
    draw_modules(&x, &seed);
    struct pp_trace t = executed_trace(&x, 0, 0);
    pid_t child = fork();
    if (child == 0) {
        struct pp_store *store = NULL;
        struct pp_execution *e = NULL;
        struct pp_execution_inputs inputs = executed_inputs(&x);
        struct pp_execution_step step = {.trace = &t, .keep_trace = true};
        pp_store_open(x.path, &store, NULL);
        pp_store_add_program(store, x.hash, x.sched, NULL, NULL);
        pp_execution_begin(store, &inputs, &e, NULL);
        for (step.step = 0; step.step < 3; step.step++) {
            pp_execution_add_step(e, &step, NULL);
        }
        raise(SIGKILL);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    struct pp_stored_execution e;
    struct pp_store *store = open_store(x.path);
    struct pp_trace back;
    struct pp_err err = {0};
    read_back(x.path, NULL, &e);
    cr_assert_eq(e.state, PP_EXECUTION_RUNNING);
    cr_assert_eq(e.step_count, 3);
    cr_assert_eq(pp_store_read_trace(store, &e, 2, &back, &err), PP_OK, "%s", err.message);
    cr_assert_arr_eq(back.end_ns, t.end_ns, (size_t)x.sched->action_count * sizeof *t.end_ns);
    pp_trace_deinit(&back);
    pp_trace_deinit(&t);
    pp_stored_execution_deinit(&e);
    pp_store_close(store);
    executed_deinit(&x);
}

Test(execution, a_step_that_cannot_be_stored_leaves_the_others) {
    struct executed x;
    uint64_t seed = 4;
    executed_init(&x, "1F1B", 4, 1, 16, 8);
    draw_modules(&x, &seed);
    struct pp_trace t = executed_trace(&x, 0, 0);
    struct pp_store *store = open_store(x.path);
    struct pp_execution_inputs inputs = executed_inputs(&x);
    struct pp_execution *e = begin_execution(store, &x, &inputs);
    struct pp_execution_step step = {.step = 1, .trace = &t, .keep_trace = true};
    struct pp_err err = {0};
    add_step(e, 0, &t);
    /* SQLite's own limit gives the same error as a full disk */
    sqlite3 *db = *(sqlite3 **)store;
    sqlite3_exec(db, "PRAGMA max_page_count = 1", NULL, NULL, NULL);
    cr_assert_eq(pp_execution_add_step(e, &step, &err), PP_E_STORE);
    cr_assert(strstr(err.message, "full") != NULL, "%s", err.message);
    cr_assert_eq(count_rows(x.path, "SELECT count(*) FROM execution_steps"), 1);
    sqlite3_exec(db, "PRAGMA max_page_count = 100000", NULL, NULL, NULL);
    cr_assert_eq(pp_execution_add_step(e, &step, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_execution_add_step(e, &step, &err), PP_E_STORE, "a step twice");
    cr_assert_eq(count_rows(x.path, "SELECT count(DISTINCT step) FROM samples"), 2);
    /* another program holds the database */
    sqlite3 *other = NULL;
    sqlite3_open(x.path, &other);
    sqlite3_busy_timeout(db, 10);
    cr_assert_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    step.step = 2;
    cr_assert_eq(pp_execution_add_step(e, &step, &err), PP_E_STORE);
    cr_assert(strstr(err.hint, "another program holds") != NULL, "%s", err.hint);
    cr_assert_eq(pp_execution_end(e, PP_EXECUTION_DONE, NULL, &err), PP_E_STORE);
    sqlite3_exec(other, "COMMIT", NULL, NULL, NULL);
    sqlite3_close(other);
    cr_assert_eq(pp_execution_add_step(e, &step, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_execution_end(e, PP_EXECUTION_DONE, NULL, &err), PP_OK, "%s", err.message);
    pp_execution_close(e);
    pp_store_close(store);
    pp_trace_deinit(&t);
    executed_deinit(&x);
}

/* Rows that somebody edited: every one is refused, none crashes. */
Test(execution, edited_rows_are_refused) {
    static const char *const edits[] = {
        "UPDATE programs SET schedule_text = replace(schedule_text, '0F0', '0F1')",
        "UPDATE programs SET schedule_text = 'nonsense'",
        "UPDATE programs SET rank_count = 3",
        "UPDATE programs SET stage_count = 1000000000",
        "UPDATE programs SET stage_ranks = '[1,0]'",
        "UPDATE programs SET stage_ranks = '[0,99]'",
        "UPDATE programs SET message_bytes = '[0]'",
        "UPDATE programs SET message_bytes = '[0,-1]'",
        "UPDATE programs SET part_count = 1",
        "UPDATE programs SET slice_count = 3",
        "UPDATE executions SET split = '[[1,0,1,0]]'",
        "UPDATE executions SET split = '[[1,0,1,0],[0,5,1,1]]'",
        "UPDATE executions SET split = '[[1,0,1,0],[0,\"a\",1,1]]'",
        "UPDATE executions SET predicted_makespan_ns = -1",
        "UPDATE executions SET costs = '{}'",
        "UPDATE executions SET costs = '[]'",
        "UPDATE executions SET costs = '{\"f_ns\":[1,-1]}'",
        "UPDATE executions SET costs = "
        "'{\"f_ns\":[1,1],\"i_ns\":[1,1],\"w_ns\":[1,1],\"b_ns\":[1]}'",
        "UPDATE execution_steps SET makespan_ns = -5",
        "UPDATE sample_rows SET action = 1000 WHERE action = 3",
        "UPDATE sample_rows SET stage = 1 - stage WHERE action = 3",
        "UPDATE sample_rows SET type = 'nothing' WHERE action = 3",
        "UPDATE sample_rows SET end_ns = start_ns - 1 WHERE action = 3",
        "UPDATE sample_rows SET microbatch = 7 WHERE action = 0",
        "DELETE FROM sample_rows WHERE action = 5",
        "UPDATE profiles SET type = 'B' WHERE module = 1 AND type = 'F'",
        "UPDATE sample_rows SET end_ns = start_ns + 1000000000000000000",
        "UPDATE sample_rows SET start_ns = -1000000000000000000",
        "UPDATE sample_rows SET queue_ns = -1000000000000000000",
        "UPDATE sample_rows SET end_ns = 9223372036854775807 WHERE action = 3",
        "UPDATE profiles SET median_ns = -1",
        "UPDATE profiles SET median_ns = 2000000000000000000",
        "UPDATE profiles SET spread_ns = 9223372036854775807",
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        struct executed x;
        uint64_t seed = 5;
        executed_init(&x, "1F1B", 2, 1, 4, 4);
        draw_modules(&x, &seed);
        struct pp_trace t = executed_trace(&x, 0, 0);
        struct pp_store *store = open_store(x.path);
        struct pp_execution_inputs inputs = executed_inputs(&x);
        struct pp_execution *e = begin_execution(store, &x, &inputs);
        add_step(e, 0, &t);
        add_profile(e, &x);
        pp_execution_close(e);
        pp_trace_deinit(&t);
        change_rows(x.path, edits[i]);
        struct pp_stored_execution out = {0};
        struct pp_profile_row *rows = NULL;
        int32_t count = 0;
        struct pp_err err = {0};
        enum pp_status status = pp_store_read_execution(store, NULL, &out, &err);
        if (status == PP_OK) {
            status = pp_store_read_trace(store, &out, 0, &t, &err);
        }
        if (status == PP_OK) {
            pp_trace_deinit(&t);
            status = pp_store_read_profile(store, &out, &rows, &count, &err);
        }
        cr_assert_eq(status, PP_E_STORE, "%s was taken", edits[i]);
        cr_assert(strstr(err.message, "cannot be read back") != NULL, "%s", err.message);
        pp_stored_execution_deinit(&out);
        pp_store_close(store);
        executed_deinit(&x);
    }
}

/* Nothing is added to a program that is not what its name says. */
Test(execution, an_edited_program_is_not_run_again) {
    static const char *const edits[] = {
        "UPDATE programs SET stage_count = 7",
        "UPDATE programs SET schedule_text = replace(schedule_text, '0F0', '0F1')",
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        struct executed x;
        struct pp_err err = {0};
        executed_init(&x, "1F1B", 2, 1, 4, 4);
        struct pp_store *store = open_store(x.path);
        cr_assert_eq(pp_store_add_program(store, x.hash, x.sched, NULL, &err), PP_OK);
        cr_assert_eq(pp_store_add_program(store, x.hash, x.sched, NULL, &err), PP_OK);
        change_rows(x.path, edits[i]);
        cr_assert_eq(pp_store_add_program(store, x.hash, x.sched, NULL, &err), PP_E_STORE, "%s",
                     edits[i]);
        cr_assert(strstr(err.message, "cannot be read back") != NULL, "%s", err.message);
        pp_store_close(store);
        executed_deinit(&x);
    }
}

/* A trace of 10^4 actions in 50 ms: printed, and asserted only where it was asked for. */
Test(execution, storing_a_step_of_ten_thousand_actions) {
    struct executed x;
    uint64_t seed = 6;
    executed_init(&x, "Interleaved1F1B", 8, 4, 64, 32);
    draw_modules(&x, &seed);
    struct pp_trace t = executed_trace(&x, 0, 0);
    struct pp_store *store = open_store(x.path);
    struct pp_execution_inputs inputs = executed_inputs(&x);
    struct pp_execution *e = begin_execution(store, &x, &inputs);
    int64_t best_ns = INT64_MAX;
    for (int64_t step = 0; step < 5; step++) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        add_step(e, step, &t);
        clock_gettime(CLOCK_MONOTONIC, &to);
        best_ns = pp_min_i64(best_ns, (to.tv_sec - from.tv_sec) * INT64_C(1000000000) + to.tv_nsec -
                                          from.tv_nsec);
    }
    int64_t ten_thousand_ns = best_ns * 10000 / x.sched->action_count;
    printf("%d actions in %.1f ms: %.1f ms for 10^4\n", x.sched->action_count,
           (double)best_ns / 1e6, (double)ten_thousand_ns / 1e6);
    if (getenv("PP_TEST_TIMES") != NULL) {
        cr_assert_leq(ten_thousand_ns, 50000000);
    }
    cr_assert_eq(count_rows(x.path, "SELECT count(*) FROM samples"),
                 5 * (int64_t)x.sched->action_count);
    pp_execution_close(e);
    pp_store_close(store);
    pp_trace_deinit(&t);
    executed_deinit(&x);
}
