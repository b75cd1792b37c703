/* compare and calibrate as a user runs them, on executions that the test stores itself. */
#include "reports/stored_plan.h"
#include "tests/cli/run.h"
#include "tests/sim/execution_support.h"

#define EXAMPLE PP_TEST_DIR "/../reports/example/deepseek_v3.yaml"

/* Runs `pipeplan ARGS` with %s, the database. */
static json_t *run_db(const struct executed *x, const char *format, int code) {
    char args[512];
    snprintf(args, sizeof args, format, x->path);
    return run_json(args, code);
}

static void expect_refused(const struct executed *x, const char *args, int exit_code,
                           const char *code, const char *words) {
    char line[512];
    char command[512];
    snprintf(command, sizeof command, "%.*s --db %s %s", (int)strcspn(args, " "), args, x->path,
             args + strcspn(args, " "));
    snprintf(line, sizeof line, "%s", command);
    expect_error(line, exit_code, code, words);
}

/* Stores an execution of `x`: steps of which the first is slow, the others differ a little; the one
 * of median makespan is that of `overhead_ns`. */
static void store_execution(struct executed *x, struct pp_execution_inputs *inputs,
                            int64_t overhead_ns, char id[33]) {
    static const int64_t more_ns[] = {900000, 2000, 0, -2000};
    struct pp_store *store = open_store(x->path);
    struct pp_execution *e = begin_execution(store, x, inputs);
    struct pp_err err = {0};
    for (int64_t step = 0; step < 4; step++) {
        struct pp_trace t = executed_trace(x, overhead_ns + more_ns[step], 9000);
        add_step(e, step, &t);
        pp_trace_deinit(&t);
    }
    if (inputs->split != NULL) {
        add_profile(e, x);
    }
    cr_assert_eq(pp_execution_end(e, PP_EXECUTION_DONE, NULL, &err), PP_OK, "%s", err.message);
    strcpy(id, pp_execution_id(e));
    pp_execution_close(e);
    pp_store_close(store);
}

static char *calibrate(const struct executed *x, const char *id) {
    char args[256];
    snprintf(args, sizeof args, "calibrate --db %s%s%s", x->path, id == NULL ? "" : " --execution ",
             id == NULL ? "" : id);
    json_t *document = run_json(args, 0);
    char *calibration = strdup(string_of(document, "calibration_id"));
    json_decref(document);
    return calibration;
}

static json_t *compare_one(const struct executed *x, const char *id, const char *more) {
    char args[1024];
    snprintf(args, sizeof args, "compare --db %s %s %s", x->path, id, more);
    return run_json(args, 0);
}

/* Two programs of one model in one database. */
struct bench {
    struct executed x, y;
    char first[33], second[33];
};

static void bench_init(struct bench *b) {
    uint64_t seed = 50;
    executed_init(&b->x, "1F1B", 4, 1, 8, 8);
    executed_init(&b->y, "ZBVZeroBubble", 4, 2, 8, 8);
    draw_modules(&b->x, &seed);
    memcpy(b->y.module_ns, b->x.module_ns, sizeof b->x.module_ns);
    unlink(b->y.path);
    strcpy(b->y.path, b->x.path);
    struct pp_execution_inputs of_x = executed_inputs(&b->x);
    struct pp_execution_inputs of_y = executed_inputs(&b->y);
    store_execution(&b->x, &of_x, 5000, b->first);
    store_execution(&b->y, &of_y, 5000, b->second);
}

static void bench_deinit(struct bench *b) {
    executed_deinit(&b->y);
    executed_deinit(&b->x);
}

Test(compare, a_calibration_of_one_schedule_predicts_another) {
    struct bench b;
    bench_init(&b);
    char *calibration = calibrate(&b.x, b.first);
    json_t *document = compare_one(&b.x, b.second, "");
    json_t *a = json_object_get(document, "a");
    json_t *measured = json_object_get(document, "b");
    expect_member(document, "kind", "\"prediction\"");
    expect_member(a, "what", "\"prediction\"");
    expect_member(a, "costs_from", "\"latest\"");
    cr_assert_str_eq(string_of(a, "calibration_id"), calibration);
    expect_member(a, "learned_from_count", "1");
    expect_member(a, "learned_from_b", "false");
    cr_assert_str_eq(string_of(measured, "execution_id"), b.second);
    expect_member(measured, "step", "2");
    expect_member(measured, "steps_chosen_from", "3");
    /* without noise the prediction is exact */
    cr_assert_eq(number_of(document, "makespan_error"), 0.0);
    cr_assert_eq(integer_of(a, "makespan_ns"), integer_of(measured, "makespan_ns"));
    expect_member(json_object_get(document, "start_error_ns"), "max", "0");
    expect_member(json_object_get(document, "divergence"), "reason", "null");
    json_t *path = json_object_get(measured, "critical_path");
    cr_assert_eq(integer_of(path, "compute_ns") + integer_of(path, "message_ns") +
                     integer_of(path, "other_ns") + integer_of(path, "lag_ns"),
                 integer_of(measured, "makespan_ns"));
    cr_assert_eq(json_array_size(json_object_get(document, "ranks")), 4);
    json_decref(document);
    /* of its own execution it is a fit, which is not taken unasked */
    char args[512];
    snprintf(args, sizeof args, "compare --db %s %s", b.x.path, b.first);
    expect_error(args, 3, "E_NOT_FOUND", "nothing is known");
    char more[64];
    snprintf(more, sizeof more, "--calibration %.10s", calibration);
    document = compare_one(&b.x, b.first, more);
    expect_member(json_object_get(document, "a"), "costs_from", "\"given\"");
    expect_member(json_object_get(document, "a"), "learned_from_b", "true");
    json_decref(document);
    free(calibration);
    bench_deinit(&b);
}

Test(compare, tells_people_what_was_predicted_by_what_and_where_it_parts) {
    struct bench b;
    bench_init(&b);
    free(calibrate(&b.x, b.first));
    char args[512];
    snprintf(args, sizeof args, "compare --db %s %.8s --step 0", b.x.path, b.second);
    struct ran r = run_plan(args);
    static const char *const words[] = {"by the latest calibration of its kind",
                                        "this one not among them",
                                        "step 0",
                                        "makespan",
                                        "predicted",
                                        "measured",
                                        "bubble ratio",
                                        "rank 3 computes",
                                        "F, median of",
                                        "forward messages: waited",
                                        "critical path: compute",
                                        "first divergence beyond",
                                        "late",
                                        "the predicted makespan is off by -"};
    cr_assert_eq(r.code, 0, "%s", text_of(&r.messages));
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        cr_assert(strstr(text_of(&r.out), words[i]) != NULL, "\"%s\" is not in:\n%s", words[i],
                  text_of(&r.out));
    }
    ran_free(&r);
    bench_deinit(&b);
}

Test(compare, a_slower_step_is_off_by_what_it_is_slower) {
    struct bench b;
    bench_init(&b);
    free(calibrate(&b.x, b.first));
    json_t *document = compare_one(&b.x, b.second, "--step 1 --tolerance 0us");
    json_t *durations = json_object_get(document, "durations");
    size_t i;
    json_t *type;
    json_array_foreach(durations, i, type) {
        if (strlen(string_of(type, "type")) == 1) {
            cr_assert_eq(integer_of(type, "median_difference_ns"), 2000);
        }
    }
    cr_assert_lt(number_of(document, "makespan_error"), 0.0);
    json_t *divergence = json_object_get(document, "divergence");
    expect_member(divergence, "reason", "\"start\"");
    /* the first action ends late, so what waits for it starts late */
    expect_member(json_object_get(divergence, "b_held_up_by"), "action", "\"0F0\"");
    cr_assert_eq(integer_of(divergence, "b_start_ns") - integer_of(divergence, "a_start_ns"), 2000);
    json_decref(document);
    char args[512];
    snprintf(args, sizeof args, "compare --db %s %s --step 17", b.x.path, b.second);
    expect_error(args, 3, "E_NOT_FOUND", "no trace of step 17");
    bench_deinit(&b);
}

Test(compare, costs_are_looked_for_in_order) {
    struct bench b;
    bench_init(&b);
    char *calibration = calibrate(&b.x, b.first);
    char id[33];
    struct pp_execution_inputs inputs = executed_inputs(&b.y);
    struct pp_costs costs = {
        .f_ns = b.y.f_ns, .i_ns = b.y.i_ns, .w_ns = b.y.w_ns, .b_ns = b.y.b_ns};
    inputs.costs = &costs; /* what the last trace took, without messages */
    store_execution(&b.y, &inputs, 5000, id);
    json_t *document = compare_one(&b.x, id, "");
    expect_member(json_object_get(document, "a"), "costs_from", "\"execution\"");
    expect_member(json_object_get(document, "a"), "calibration_id", "null");
    cr_assert_lt(number_of(document, "makespan_error"), 0.0);
    json_decref(document);
    inputs.calibration_id = calibration;
    store_execution(&b.y, &inputs, 5000, id);
    document = compare_one(&b.x, id, "");
    expect_member(json_object_get(document, "a"), "costs_from", "\"stored\"");
    cr_assert_eq(number_of(document, "makespan_error"), 0.0);
    json_decref(document);
    inputs = executed_inputs(&b.y);
    inputs.model_key = "another model";
    store_execution(&b.y, &inputs, 5000, id);
    char args[512];
    snprintf(args, sizeof args, "compare --db %s %s", b.x.path, id);
    expect_error(args, 3, "E_NOT_FOUND", "nothing is known");
    snprintf(args, sizeof args, "compare --db %s %s --calibration %s", b.x.path, id, calibration);
    expect_error(args, 3, "E_VALUE", "another model");
    snprintf(args, sizeof args, "compare --db %s %s --calibration 0", b.x.path, id);
    if (calibration[0] != '0') {
        expect_error(args, 3, "E_NOT_FOUND", "no calibration 0");
    }
    free(calibration);
    bench_deinit(&b);
}

Test(compare, two_executions_of_one_program) {
    struct bench b;
    bench_init(&b);
    char other[33];
    struct pp_execution_inputs inputs = executed_inputs(&b.x);
    inputs.machine = "there";
    store_execution(&b.x, &inputs, 15000, other);
    json_t *document = compare_one(&b.x, b.first, other);
    expect_member(document, "kind", "\"executions\"");
    expect_member(json_object_get(document, "b"), "machine", "\"there\"");
    cr_assert_gt(integer_of(json_object_get(document, "b"), "makespan_ns"),
                 integer_of(json_object_get(document, "a"), "makespan_ns"));
    json_decref(document);
    document = compare_one(&b.x, other, other);
    cr_assert_eq(number_of(document, "makespan_error"), 0.0);
    expect_member(json_object_get(document, "divergence"), "reason", "null");
    json_decref(document);
    char args[512];
    snprintf(args, sizeof args, "compare --db %s %s %s", b.x.path, b.first, b.second);
    expect_error(args, 3, "E_VALUE", "different programs");
    bench_deinit(&b);
}

/* ---- with plans ---- */

struct planned {
    struct executed x;
    char plans[2][33];
};

static void planned_init(struct planned *p) {
    char args[512];
    executed_init(&p->x, "1F1B", 2, 1, 4, 4);
    unlink(p->x.path);
    snprintf(args, sizeof args, "plan " EXAMPLE " --gpus 256 --db %s", p->x.path);
    json_t *document = run_json(args, 0);
    const json_t *plans = json_object_get(document, "plans");
    for (size_t i = 0; i < 2; i++) {
        strcpy(p->plans[i], string_of(json_array_get(plans, i), "plan_id"));
    }
    json_decref(document);
}

/* The plan's own schedule, lowered, as an execution would have it. */
static void take_program(struct planned *p, const char *plan_id) {
    struct pp_store *store = open_store(p->x.path);
    struct pp_stored_plan stored;
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_err err = {0};
    cr_assert_eq(pp_stored_plan_load(store, plan_id, &stored, &err), PP_OK, "%s", err.message);
    pp_sched_destroy(p->x.sched);
    cr_assert_eq(pp_sched_lower(stored.replay.sched, &options, &p->x.sched, &err), PP_OK);
    pp_sched_csv_sha256(p->x.sched, p->x.hash);
    cr_assert_leq(p->x.sched->stage_count, 64);
    pp_stored_plan_deinit(&stored);
    pp_store_close(store);
}

Test(compare, a_plan_and_its_execution_and_two_plans) {
    struct planned p;
    char id[33];
    char args[512];
    planned_init(&p);
    take_program(&p, p.plans[0]);
    struct pp_execution_inputs inputs = executed_inputs(&p.x);
    inputs.plan_id = p.plans[0];
    inputs.split = NULL;
    inputs.workload = "spin";
    store_execution(&p.x, &inputs, 700000, id);
    for (int swapped = 0; swapped < 2; swapped++) { /* in either order, the plan predicts */
        snprintf(args, sizeof args, "%s %s", swapped ? id : p.plans[0], swapped ? p.plans[0] : id);
        json_t *document = compare_one(&p.x, args, "");
        expect_member(document, "kind", "\"prediction\"");
        expect_member(json_object_get(document, "a"), "costs_from", "\"plan\"");
        expect_member(json_object_get(document, "b"), "what", "\"execution\"");
        cr_assert_str_eq(string_of(json_object_get(document, "b"), "plan_id"), p.plans[0]);
        json_decref(document);
    }
    snprintf(args, sizeof args, "compare --db %s %s %s", p.x.path, p.plans[1], id);
    expect_error(args, 3, "E_VALUE", "not plan");
    snprintf(args, sizeof args, "compare --db %s %s", p.x.path, p.plans[1]);
    expect_error(args, 3, "E_VALUE", "alone has nothing");
    snprintf(args, sizeof args, "%s %s", p.plans[0], p.plans[1]);
    json_t *document = compare_one(&p.x, args, "");
    expect_member(document, "kind", "\"plans\"");
    cr_assert_str_eq(string_of(json_object_get(document, "b"), "plan_id"), p.plans[1]);
    cr_assert_gt(integer_of(json_object_get(document, "a"), "step_time_ns"), 0);
    expect_member(json_object_get(document, "a"), "fits", "true");
    json_decref(document);
    snprintf(args, sizeof args, "compare --db %s %s %s", p.x.path, p.plans[0], p.plans[1]);
    struct ran r = run_plan(args);
    cr_assert(r.code == 0 && strstr(text_of(&r.out), "step time") != NULL &&
                  strstr(text_of(&r.out), "peak memory") != NULL,
              "%s", text_of(&r.out));
    ran_free(&r);
    executed_deinit(&p.x);
}

/* ---- calibrate ---- */

Test(calibrate, prints_and_stores_what_it_learned) {
    struct bench b;
    bench_init(&b);
    json_t *document = run_db(&b.x, "calibrate --db %s", 0); /* the last one */
    json_t *rows = json_object_get(document, "rows");
    expect_member(document, "by", "\"module\"");
    cr_assert_eq(json_array_size(rows), 10 * 3);
    expect_member(json_array_get(rows, 0), "name", "\"embedding\"");
    expect_member(json_array_get(rows, 3), "name", "\"layer 0\"");
    expect_member(json_array_get(rows, 29), "name", "\"head\"");
    expect_member(json_array_get(rows, 29), "module", "8");
    cr_assert_eq(integer_of(json_array_get(rows, 0), "median_ns"), b.x.module_ns[0][PP_F]);
    expect_member(json_array_get(rows, 0), "n", "4");
    expect_member(json_array_get(rows, 0), "spread_ns", "10");
    json_t *f = json_array_get(json_object_get(document, "actions"), 0);
    expect_member(f, "type", "\"F\"");
    expect_member(f, "median_ns", "5000");
    expect_member(f, "spread_ns", "2000"); /* of steps 1, 2 and 3; the first is left out */
    cr_assert_eq(integer_of(f, "n"), 3 * 8 * 8);
    json_t *message = json_object_get(document, "message");
    expect_member(message, "alpha_ns", "9000");
    expect_member(message, "bytes_per_s", "null");
    char *of = dump(document, "executions");
    cr_assert(strstr(of, b.second) != NULL, "%s", of);
    free(of);
    json_decref(document);
    free(calibrate(&b.x, b.second)); /* the same again */
    cr_assert_eq(count_rows(b.x.path, "SELECT count(*) FROM calibrations"), 1);
    char args[512];
    snprintf(args, sizeof args, "calibrate --db %s --execution %s --execution %.9s", b.x.path,
             b.first, b.second);
    struct ran r = run_plan(args);
    cr_assert(r.code == 0 && strstr(text_of(&r.out), "from 2 executions") != NULL, "%s",
              text_of(&r.out));
    cr_assert(strstr(text_of(&r.out), "layer 7") != NULL &&
                  strstr(text_of(&r.out), "a message: 9 us, whatever its size") != NULL,
              "%s", text_of(&r.out));
    ran_free(&r);
    cr_assert_eq(count_rows(b.x.path, "SELECT count(*) FROM calibrations"), 2);
    bench_deinit(&b);
}

Test(calibrate, stages_of_a_workload_without_modules) {
    struct executed x;
    char id[33];
    uint64_t seed = 51;
    executed_init(&x, "1F1B", 2, 1, 4, 4);
    draw_modules(&x, &seed);
    struct pp_execution_inputs inputs = executed_inputs(&x);
    inputs.split = NULL;
    inputs.workload = "spin";
    store_execution(&x, &inputs, 0, id);
    json_t *document = run_db(&x, "calibrate --db %s", 0);
    expect_member(document, "by", "\"stage\"");
    json_t *row = json_array_get(json_object_get(document, "rows"), 0);
    expect_member(row, "stage", "0");
    cr_assert_eq(integer_of(row, "median_ns"), stage_ns(&x, 0, PP_F));
    json_decref(document);
    executed_deinit(&x);
}

Test(calibrate, what_is_wrong_is_said) {
    struct bench b;
    bench_init(&b);
    expect_error("calibrate", 2, "E_USAGE", "missing --db");
    expect_error("compare 3f9c", 2, "E_USAGE", "missing --db");
    expect_error("compare --db x.db", 2, "E_USAGE", "missing the id");
    expect_error("calibrate --db /tmp/no_such_pipeplan.db", 5, "E_STORE", "no_such_pipeplan");
    expect_error("compare --db /tmp/no_such_pipeplan.db ab", 5, "E_STORE", "no_such_pipeplan");
    cr_assert(access("/tmp/no_such_pipeplan.db", F_OK) != 0, "calibrate made a database");
    expect_refused(&b.x, "calibrate --execution zz", 3, "E_NOT_FOUND", "is no execution id");
    expect_refused(&b.x, "compare zz", 3, "E_NOT_FOUND", "names no plan and no execution");
    expect_refused(&b.x, "compare ab cd ef", 2, "E_USAGE", "unexpected argument");
    struct pp_execution_inputs inputs = executed_inputs(&b.x);
    char more[40][33];
    int count = 0;
    while (count < 20 && (count == 0 || more[count - 1][0] != b.first[0])) {
        store_execution(&b.x, &inputs, 5000, more[count++]);
    }
    if (more[count - 1][0] == b.first[0]) {
        char line[64];
        snprintf(line, sizeof line, "compare %c", b.first[0]);
        expect_refused(&b.x, line, 3, "E_NOT_FOUND", "begins the ids of");
    }
    /* one that failed before any trace was kept */
    struct pp_store *store = open_store(b.x.path);
    inputs.machine = "where nothing ran";
    struct pp_execution *e = begin_execution(store, &b.x, &inputs);
    cr_assert_eq(pp_execution_end(e, PP_EXECUTION_FAILED, "{}", NULL), PP_OK);
    char line[192];
    snprintf(line, sizeof line, "compare %s", pp_execution_id(e));
    expect_refused(&b.x, line, 3, "E_NOT_FOUND", "has no traces");
    snprintf(line, sizeof line, "calibrate --execution %s", pp_execution_id(e));
    expect_refused(&b.x, line, 3, "E_NOT_FOUND", "has no traces");
    snprintf(line, sizeof line, "calibrate --execution %s --execution %s", b.first, b.second);
    change_rows(b.x.path, "UPDATE executions SET machine = 'there' WHERE number = 2");
    expect_refused(&b.x, line, 3, "E_VALUE", "another machine");
    pp_execution_close(e);
    pp_store_close(store);
    bench_deinit(&b);
}

/* A database of plans from before executions were kept. */
Test(calibrate, an_old_database_has_no_executions) {
    struct planned p;
    char line[192];
    planned_init(&p);
    change_rows(p.x.path,
                "DROP VIEW samples; DROP TABLE profiles; DROP TABLE sample_rows; "
                "DROP TABLE execution_steps; DROP TABLE executions; "
                "DROP TABLE calibration_rows; DROP TABLE calibrations; DROP TABLE programs; "
                "PRAGMA user_version = 1");
    snprintf(line, sizeof line, "compare %s %s", p.plans[0], p.plans[0]);
    json_t *document = compare_one(&p.x, line + 8, "");
    expect_member(document, "kind", "\"plans\"");
    json_decref(document);
    expect_refused(&p.x, "compare 00000000000000", 3, "E_NOT_FOUND", "names no plan");
    cr_assert_eq(count_rows(p.x.path, "PRAGMA user_version"), 1);
    expect_refused(&p.x, "calibrate", 3, "E_NOT_FOUND", "holds no execution");
    executed_deinit(&p.x);
}
