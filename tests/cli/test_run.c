/* run as a user runs it: plans and schedules on threads, what it stores, and how it fails. */
#include "tests/cli/run.h"

#include <math.h>
#include <signal.h>

#define MODELS PP_TEST_DIR "/cli/models/"
#define TRAIN "--model " MODELS "dense8.json --seq-len 16 --seed 7 --learning-rate 1e-2 "

/* "$D" is the folder. */
static struct ran run_in(const struct scratch *s, const char *line) {
    struct pp_text t = {0};
    pp_text_printf(&t, "D='%s'; %s", s->folder, line);
    struct ran r = run_shell(t.bytes);
    pp_text_free(&t);
    return r;
}

static json_t *document_in(const struct scratch *s, const char *line, int code) {
    struct ran r = run_in(s, line);
    json_error_t error;
    cr_assert_eq(r.code, code, "%s: exit %d, expected %d: %s", line, r.code, code,
                 text_of(&r.messages));
    json_t *document = json_loads(text_of(&r.out), 0, &error);
    cr_assert_not_null(document, "%s: %s in: %.200s", line, error.text, text_of(&r.out));
    ran_free(&r);
    return document;
}

static json_t *step_of(const json_t *document, size_t index) {
    json_t *row = json_array_get(json_object_get(document, "steps"), index);
    cr_assert_not_null(row, "no step %zu", index);
    return row;
}

static double loss_of(const json_t *document, size_t index) {
    return number_of(step_of(document, index), "loss");
}

static void expect_in_order(const json_t *document) {
    size_t i;
    json_t *row;
    cr_assert_gt(json_array_size(json_object_get(document, "steps")), 0);
    json_array_foreach(json_object_get(document, "steps"), i, row) {
        cr_assert(json_is_true(json_object_get(row, "in_order")), "step %zu", i);
    }
}

Test(run, spin_keeps_order_and_time) {
    json_t *d =
        run_json("run --schedule ZBH1 --pp 4 --microbatches 6 --t-f 5ms --t-i 5ms --t-w 5ms "
                 "--steps 2",
                 0);
    expect_in_order(d);
    int64_t predicted = integer_of(d, "predicted_makespan_ns");
    cr_assert_geq(predicted, 6 * 15000000);
    for (size_t i = 0; i < 2; i++) {
        /* sleeping never ends early; how late it ends is the timed test's business */
        cr_assert_geq(integer_of(step_of(d, i), "makespan_ns"), predicted);
    }
    cr_assert_str_eq(string_of(d, "workload"), "spin");
    json_decref(d);
}

/* The same training whatever the order, where each stage adds up its microbatches in turn. */
Test(run, training_is_the_same_under_every_schedule) {
    static const char *const lines[] = {
        "run --schedule GPipe --pp 1 --microbatches 4 " TRAIN "--steps 6",
        "run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN "--steps 6",
        "run --schedule 1F1B --pp 4 --microbatches 4 --drive one " TRAIN "--steps 6",
        "run --schedule ZBH1 --pp 2 --microbatches 4 --buffers 2 " TRAIN "--steps 6",
        "run --schedule Interleaved1F1B --pp 2 --microbatches 4 --poison " TRAIN "--steps 6",
        "run --schedule ZBVZeroBubble --pp 2 --microbatches 4 " TRAIN "--steps 6",
        "run --schedule PipeOffload --pp 2 --microbatches 4 --poison " TRAIN "--steps 6",
    };
    json_t *first = NULL;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        json_t *d = run_json(lines[i], 0);
        expect_in_order(d);
        for (size_t step = 0; first != NULL && step < 6; step++) {
            cr_assert_eq(loss_of(d, step), loss_of(first, step), "%s: step %zu: %.12g, not %.12g",
                         lines[i], step, loss_of(d, step), loss_of(first, step));
        }
        first = first == NULL ? json_incref(d) : first;
        json_decref(d);
    }
    cr_assert_lt(loss_of(first, 5), loss_of(first, 0));
    json_decref(first);
}

/* Two copies of the model see half of the microbatches each. */
Test(run, both_directions_train_one_model) {
    json_t *one = run_json("run --schedule 1F1B --pp 1 --microbatches 8 " TRAIN "--steps 4", 0);
    json_t *two = run_json("run --schedule DualPipe --pp 4 --microbatches 8 " TRAIN "--steps 4", 0);
    for (size_t step = 0; step < 4; step++) {
        cr_assert_float_eq(loss_of(two, step), loss_of(one, step), 1e-6 * loss_of(one, step));
    }
    json_decref(one);
    json_decref(two);
}

Test(run, a_mixture_of_experts_trains) {
    json_t *one = run_json("run --schedule 1F1B --pp 1 --microbatches 4 --seq-len 16 --steps 5 "
                           "--model " MODELS "moe8.json",
                           0);
    json_t *four = run_json("run --schedule ZBVZeroBubble --pp 2 --microbatches 4 --seq-len 16 "
                            "--steps 5 --model " MODELS "moe8.json",
                            0);
    for (size_t step = 0; step < 5; step++) {
        cr_assert_eq(loss_of(one, step), loss_of(four, step));
    }
    cr_assert_lt(loss_of(one, 4), loss_of(one, 0));
    json_decref(one);
    json_decref(four);
}

Test(run, a_plan_runs_from_the_database) {
    struct scratch s = make_scratch();
    struct ran planned = run_in(&s, "$P plan " MODELS "recipe8.yaml --model " MODELS
                                    "dense8.json --gpus 2 --db $D/a.db");
    cr_assert_eq(planned.code, 0, "%s", text_of(&planned.messages));
    ran_free(&planned);
    json_t *d = document_in(&s,
                            "id=$(sqlite3 $D/a.db 'SELECT plan_id FROM plans WHERE is_current');"
                            "\"$P\" run --db $D/a.db --plan $id --steps 3 --json",
                            0);
    expect_in_order(d);
    cr_assert_eq(integer_of(d, "ranks"), 2);
    cr_assert_eq(integer_of(d, "stages"), 4);
    struct ran rows = run_in(&s, "sqlite3 $D/a.db 'SELECT count(*) FROM samples'");
    cr_assert_eq(atoll(text_of(&rows.out)), 3 * integer_of(d, "actions"));
    ran_free(&rows);
    cr_assert_eq(strlen(string_of(d, "execution_id")), 32);
    json_decref(d);
    remove_scratch(&s);
}

Test(run, goes_on_from_a_checkpoint_bit_for_bit) {
    struct scratch s = make_scratch();
    json_t *whole = document_in(
        &s, "$P run --schedule 1F1B --pp 4 --microbatches 4 " TRAIN "--steps 8 --json", 0);
    json_decref(document_in(&s,
                            "$P run --schedule 1F1B --pp 4 --microbatches 4 " TRAIN
                            "--steps 5 --checkpoint $D/c --json",
                            0));
    /* another order of the same stages */
    json_t *rest = document_in(&s,
                               "$P run --schedule ZBH1 --pp 4 --microbatches 4 " TRAIN
                               "--steps 8 --checkpoint $D/c --resume --json",
                               0);
    cr_assert_eq(integer_of(rest, "resumed_from"), 5);
    cr_assert_eq(json_array_size(json_object_get(rest, "steps")), 3);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(loss_of(rest, i), loss_of(whole, 5 + i));
    }
    json_decref(whole);
    json_decref(rest);
    remove_scratch(&s);
}

/* Both copies of a stage have one file: a run in one direction reads it, and writes it. */
Test(run, both_directions_go_on_from_one_and_one_from_both) {
    static const char *const orders[] = {"DualPipe", "1F1B", "Chimera", "DualPipe", "1F1B"};
    struct scratch s = make_scratch();
    json_t *whole = document_in(
        &s, "\"$P\" run --schedule 1F1B --pp 4 --microbatches 8 " TRAIN "--steps 5 --json", 0);
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        char line[512];
        snprintf(line, sizeof line,
                 "\"$P\" run --schedule %s --pp 4 --microbatches 8 " TRAIN
                 "--steps %zu --checkpoint $D/c %s --json",
                 orders[i], i + 1, i > 0 ? "--resume" : "");
        json_t *d = document_in(&s, line, 0);
        cr_assert_eq(json_array_size(json_object_get(d, "steps")), 1, "%s", orders[i]);
        cr_assert_float_eq(loss_of(d, 0), loss_of(whole, i), 1e-5 * loss_of(whole, i));
        json_decref(d);
    }
    struct ran files = run_in(&s, "ls $D/c/step-00000005 | grep -c stage-");
    cr_assert_eq(atoi(text_of(&files.out)), 4);
    ran_free(&files);
    json_decref(whole);
    remove_scratch(&s);
}

Test(run, a_checkpoint_of_other_training_is_refused) {
    struct scratch s = make_scratch();
    json_decref(document_in(&s,
                            "$P run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN
                            "--steps 1 --checkpoint $D/c --json",
                            0));
    static const char *const others[] = {"--seed 8 --microbatches 4", "--microbatches 8",
                                         "--microbatches 4 --seq-len 8"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char line[512];
        snprintf(line, sizeof line,
                 "$P run --schedule 1F1B --pp 2 " TRAIN
                 "%s --steps 2 --checkpoint $D/c --resume --json",
                 others[i]);
        json_t *d = document_in(&s, line, 3);
        cr_assert_str_eq(string_of(json_object_get(d, "error"), "code"), "E_VALUE");
        json_decref(d);
    }
    json_t *none = document_in(&s,
                               "$P run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN
                               "--steps 1 --checkpoint $D/none --resume --json",
                               3);
    json_decref(none);
    remove_scratch(&s);
}

Test(run, sigterm_finishes_the_step_and_checkpoints) {
    struct scratch s = make_scratch();
    json_t *d = document_in(&s,
                            "\"$P\" run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN
                            "--steps 100000 --trace-every 0 --checkpoint $D/c --json & p=$!; "
                            "sleep 1.5; kill -TERM $p; wait $p",
                            130);
    cr_assert_str_eq(string_of(json_object_get(d, "error"), "code"), "E_INTERRUPTED");
    size_t done = json_array_size(json_object_get(d, "steps"));
    cr_assert_gt(done, 0);
    char line[512];
    snprintf(line, sizeof line,
             "$P run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN
             "--steps %zu --checkpoint $D/c --resume --json",
             done + 1);
    json_t *rest = document_in(&s, line, 0);
    cr_assert_eq(integer_of(rest, "resumed_from"), (json_int_t)done);
    json_decref(d);
    json_decref(rest);
    remove_scratch(&s);
}

static void expect_failure(const char *flags, const char *kind, const char *action, int rank) {
    char line[512];
    snprintf(line, sizeof line,
             "run --schedule 1F1B --pp 4 --microbatches 6 " TRAIN "--steps 3 --deadline 500ms %s",
             flags);
    json_t *d = run_json(line, 6);
    json_t *failure = json_object_get(d, "failure");
    cr_assert_not_null(failure, "%s", flags);
    cr_assert_str_eq(string_of(json_object_get(d, "error"), "code"), "E_RUN");
    cr_assert_str_eq(string_of(failure, "kind"), kind, "%s", flags);
    cr_assert_str_eq(string_of(failure, "action"), action, "%s", flags);
    cr_assert_eq(integer_of(failure, "rank"), rank, "%s", flags);
    json_decref(d);
}

Test(run, faults_are_named) {
    expect_failure("--fault corrupt:1SEND_F2", "message", "2RECV_F2", 2);
    expect_failure("--fault duplicate:2SEND_B1", "message", "1RECV_B2", 1);
    expect_failure("--fault size:0SEND_F0@1", "message", "1RECV_F0", 1);
    expect_failure("--fault stall:3B2 --drive one", "deadline", "3B2", 3);
    expect_failure("--fault stall:0F5", "deadline", "0F5", 0);
}

Test(run, a_failed_run_is_stored_as_failed) {
    struct scratch s = make_scratch();
    json_decref(document_in(&s,
                            "$P run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN
                            "--steps 3 --fault corrupt:0SEND_F1@1 --db $D/a.db --json",
                            6));
    struct ran r = run_in(&s, "sqlite3 $D/a.db \"SELECT state, json_extract(error, "
                              "'$.failure.action') FROM executions\"");
    cr_assert_str_eq(text_of(&r.out), "failed|1RECV_F1\n");
    ran_free(&r);
    remove_scratch(&s);
}

Test(run, what_cannot_run_is_refused) {
    expect_error("run --schedule 1F1B --pp 2 --microbatches 2 --model nowhere.json", 3, "E_FILE",
                 "nowhere.json");
    expect_error("run", 2, "E_USAGE", "--plan");
    expect_error("run --plan abc", 2, "E_USAGE", "--db");
    expect_error("run --db /nowhere/x.db --plan abc", 5, "E_STORE", "/nowhere/x.db");
    expect_error("run --schedule 1F1B --pp 2 --microbatches 2 --device cuda", 4, "E_ENV", "host");
    expect_error("run --schedule 1F1B --pp 2 --microbatches 2 --transport nccl", 4, "E_ENV",
                 "nccl");
    expect_error("run --schedule 1F1B --pp 2 --microbatches 2 --workload dance", 3, "E_VALUE",
                 "spin");
    expect_error("run --schedule 1F1B --pp 16 --microbatches 16 " TRAIN, 3, "E_SPLIT",
                 "16 stages for the 8 layers");
    expect_error("run --schedule Seq1F1B --pp 2 --microbatches 4 " TRAIN, 3, "E_VALUE", "spin");
    expect_error("run --schedule 1F1B --pp 2 --microbatches 2 --resume", 2, "E_USAGE",
                 "--checkpoint");
    expect_error("run --schedule 1F1B --pp 2 --microbatches 2 --fault drop:9SEND_F0", 3, "E_VALUE",
                 "9SEND_F0");
    expect_error("run --schedule 1F1B --pp 2 --microbatches 2 --fault dance:0SEND_F0", 3, "E_VALUE",
                 "drop");
    expect_error("run --schedule 1F1B --pp 2 --microbatches 2 " TRAIN "--learning-rate fast", 2,
                 "E_USAGE", "3e-4");
    expect_error("run --schedule 1F1B --pp 2 --microbatches 2 --learning-rate nan", 3, "E_RANGE",
                 "0 to 1e6");
    expect_error("run --db x.db --plan abc --microbatches 4", 2, "E_USAGE",
                 "--microbatches does not go with it");
    expect_error("run --db x.db --plan abc --t-f 5us", 2, "E_USAGE", "leave --t-f out");
    expect_error("run --db '' --plan abc", 5, "E_STORE", "pipeplan plan");
    expect_error("run --schedule 1F1B --pp 2 --microbatches 2 --checkpoint /dev/null", 4, "E_IO",
                 "/dev/null");
    expect_error("run --schedule 1F1B --pp 2 --microbatches 2 --run-dir /nowhere/x", 4, "E_IO",
                 "/nowhere/x");
}

/* What was trained before stays, and the one document says so. */
Test(run, a_step_that_cannot_be_stored_ends_the_run) {
    struct scratch s = make_scratch();
    json_decref(document_in(
        &s, "$P run --schedule 1F1B --pp 2 --microbatches 2 --steps 1 --db $D/a.db --json", 0));
    json_t *d = document_in(
        &s,
        "sqlite3 $D/a.db \"CREATE TRIGGER full BEFORE INSERT ON execution_steps WHEN NEW.step = 2 "
        "BEGIN SELECT RAISE(ABORT, 'no room'); END\"; "
        "$P run --schedule 1F1B --pp 2 --microbatches 2 --steps 9 --db $D/a.db --json",
        5);
    const char *message = string_of(json_object_get(d, "error"), "message");
    cr_assert(strstr(message, "step 2 was not stored, those before it are") != NULL &&
                  strstr(message, "no room") != NULL,
              "%s", message);
    cr_assert_eq(json_array_size(json_object_get(d, "steps")), 3);
    cr_assert_eq(strlen(string_of(d, "execution_id")), 32);
    json_decref(d);
    struct ran r = run_in(&s, "sqlite3 $D/a.db \"SELECT state, json_extract(error, '$.code'), "
                              "(SELECT count(*) FROM execution_steps WHERE execution = number) "
                              "FROM executions WHERE number = 2\"");
    cr_assert_str_eq(text_of(&r.out), "failed|E_STORE|2\n");
    ran_free(&r);
    r = run_in(&s, "$P run --schedule 1F1B --pp 2 --microbatches 2 --steps 9 --db $D/a.db");
    cr_assert_eq(r.code, 5);
    cr_assert_eq(r.out.size, 0);
    cr_assert_null(strchr(strchr(text_of(&r.messages), '\n') + 1, '\n'), "%s",
                   text_of(&r.messages));
    ran_free(&r);
    remove_scratch(&s);
}

/* What every process of a launcher finds before it knows the others, the first one says. */
Test(run, one_process_tells_what_all_find) {
    struct scratch s = make_scratch();
    static const char line[] = "export OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=%d; "
                               "$P run --schedule 1F1B --device cuda --json";
    char text[160];
    snprintf(text, sizeof text, line, 0);
    json_t *d = document_in(&s, text, 4);
    cr_assert_str_eq(string_of(json_object_get(d, "error"), "code"), "E_ENV");
    json_decref(d);
    snprintf(text, sizeof text, line, 1);
    struct ran r = run_in(&s, text);
    cr_assert_eq(r.code, 4);
    cr_assert_eq(r.out.size, 0, "%s", text_of(&r.out));
    cr_assert_eq(r.messages.size, 0, "%s", text_of(&r.messages));
    ran_free(&r);
    remove_scratch(&s);
}

Test(run, activations_above_the_limit_are_not_run) {
    expect_error("run --schedule GPipe --pp 2 --microbatches 4 --memory-limit 3", 1, "E_LIMIT",
                 "above the limit of 3");
    json_decref(run_json("run --schedule GPipe --pp 2 --microbatches 4 --memory-limit 4", 0));
}

/* Steps are counted from the beginning of the training. */
Test(run, who_resumes_what_is_done_is_told_so) {
    struct scratch s = make_scratch();
    static const char line[] =
        "$P run --schedule 1F1B --pp 2 --microbatches 2 " TRAIN "--checkpoint $D/ck --steps ";
    struct pp_text t = {0};
    pp_text_printf(&t, "%s2 >/dev/null && %s3 --resume && %s3 --resume", line, line, line);
    struct ran r = run_in(&s, t.bytes);
    cr_assert_eq(r.code, 0, "%s", text_of(&r.messages));
    cr_assert_not_null(strstr(text_of(&r.out), "resumed after step 2 of 3\n"));
    cr_assert_not_null(strstr(text_of(&r.out), "resumed after step 3 of 3: nothing is left"));
    pp_text_free(&t);
    ran_free(&r);
    remove_scratch(&s);
}

/* JSON has no NaN: a loss that is none is null, not missing. */
Test(run, a_loss_that_is_no_number_is_null) {
    json_t *d = run_json(
        "run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN "--learning-rate 1e5 --steps 8", 0);
    expect_member(step_of(d, 7), "loss", "null");
    json_decref(d);
}

Test(run, what_has_no_kernels_is_refused) {
    struct scratch s = make_scratch();
    char path[128];
    static const char gpt[] = "{\"model_type\": \"gpt2\", \"n_layer\": 4, \"n_embd\": 64, "
                              "\"n_head\": 4, \"vocab_size\": 128, \"n_positions\": 64}";
    scratch_write(&s, "gpt.json", gpt, sizeof gpt - 1, path);
    json_t *d = document_in(&s,
                            "$P run --schedule 1F1B --pp 2 --microbatches 2 --model "
                            "$D/gpt.json --json",
                            3);
    cr_assert_not_null(strstr(string_of(json_object_get(d, "error"), "message"), "positions"));
    json_decref(d);
    d = document_in(&s,
                    "$P plan " PP_TEST_DIR "/../reports/example/deepseek_v3.yaml --gpus 256 "
                    "--db $D/a.db --json",
                    0);
    json_decref(d);
    d = document_in(&s,
                    "id=$(sqlite3 $D/a.db 'SELECT best_plan_id FROM runs'); "
                    "\"$P\" run --db $D/a.db --plan $id --json",
                    3);
    cr_assert_not_null(strstr(string_of(json_object_get(d, "error"), "message"), "MLA"));
    cr_assert_not_null(strstr(string_of(json_object_get(d, "error"), "hint"), "61 layers"));
    json_decref(d);
    remove_scratch(&s);
}

Test(run, what_does_not_fit_is_refused_with_a_table) {
    struct scratch s = make_scratch();
    char path[128];
    static const char big[] =
        "{\"model_type\": \"llama\", \"num_hidden_layers\": 80, \"hidden_size\": 16384, "
        "\"intermediate_size\": 53248, \"num_attention_heads\": 128, \"num_key_value_heads\": 8, "
        "\"vocab_size\": 128256, \"tie_word_embeddings\": false}";
    scratch_write(&s, "big.json", big, sizeof big - 1, path);
    struct ran r = run_in(&s, "$P run --schedule 1F1B --pp 4 --microbatches 4 --model $D/big.json");
    cr_assert_eq(r.code, 1, "%s", text_of(&r.messages));
    cr_assert_not_null(strstr(text_of(&r.messages), "E_LIMIT"));
    cr_assert_not_null(strstr(text_of(&r.messages), "rank"));
    ran_free(&r);
    remove_scratch(&s);
}
