/* What every command does with bad flags and with output that goes nowhere. */
#include "tests/cli/run.h"

static const char *const working[] = {
    "split --layers 100000 --pp 4 --layers-per-stage 5 --schedule LoopedBFS",
    "schedule --schedule GPipe --pp 16 --microbatches 512",
    "schedule --list",
    "simulate --schedule 1F1B --pp 256 --microbatches 256",
    "models",
    "hardware",
    "hardware h200",
};
enum { WORKING_COUNT = sizeof working / sizeof working[0] };

static int32_t count_lines(const char *text) {
    int32_t lines = 0;
    for (; *text != '\0'; text++) {
        lines += *text == '\n';
    }
    return lines;
}

/* Exit 4 and one line, where `sink` takes no output. */
static void expect_write_error(const char *command, const char *json, const char *sink) {
    struct pp_text line = {0};
    pp_text_printf(&line, "\"$P\" %s %s %s", command, json, sink);
    struct ran r = run_shell(line.bytes);
    cr_assert_eq(r.code, 4, "%s: %d %s", line.bytes, r.code, text_of(&r.messages));
    cr_assert_eq(count_lines(text_of(&r.messages)), 1, "%s: %s", line.bytes, text_of(&r.messages));
    cr_assert(strstr(text_of(&r.messages), "E_IO") != NULL);
    ran_free(&r);
    pp_text_free(&line);
}

Test(cli_robust, closed_and_full_outputs_are_exit_4_and_one_line) {
    for (int i = 0; i < WORKING_COUNT; i++) {
        expect_write_error(working[i], "", ">&-");
        expect_write_error(working[i], "--json", ">&-");
        expect_write_error(working[i], "", ">/dev/full");
        expect_write_error(working[i], "--json", ">/dev/full");
    }
    expect_write_error("--version", "", ">&-");
    expect_write_error("--help", "", ">/dev/full");
    expect_write_error("split --help", "", ">/dev/full");
}

/* The reader is gone: the program ends by itself, by an exit code and not by a signal. */
Test(cli_robust, a_closed_pipe_ends_quietly) {
    for (int i = 0; i < WORKING_COUNT; i++) {
        struct pp_text line = {0};
        pp_text_printf(&line, "{ \"$P\" %s; echo $? >&2; } | head -c 1", working[i]);
        struct ran r = run_shell(line.bytes);
        cr_assert_eq(r.out.size, 1);
        const char *messages = text_of(&r.messages);
        bool failed = strstr(messages, "E_IO") != NULL;
        cr_assert_str_eq(messages + strlen(messages) - 2, failed ? "4\n" : "0\n", "%s", messages);
        ran_free(&r);
        pp_text_free(&line);
    }
}

/* A file opened while standard output is closed must not become standard output. */
Test(cli_robust, closed_streams_are_not_lent_to_files) {
    struct ran r = run_shell("\"$P\" split --layers 8 --pp 9 --json 2>&-");
    cr_assert_eq(r.code, 3);
    cr_assert_eq(r.out.bytes[0], '{');
    ran_free(&r);
    r = run_shell("\"$P\" hardware h200 <&- 2>&-");
    cr_assert_eq(r.code, 0);
    ran_free(&r);
}

Test(cli_robust, unknown_flags_name_the_nearest) {
    expect_error("split --layer 8 --pp 2", 2, "E_USAGE", "did you mean --layers?");
    expect_error("split --layer=100000 --pp 2", 2, "E_USAGE", "did you mean --layers?");
    expect_error("schedule --microbatch 8", 2, "E_USAGE", "did you mean --microbatches?");
    expect_error("simulate --t-p2 8", 2, "E_USAGE", "did you mean --t-p2p?");
    expect_error("models --colour", 2, "E_USAGE", "usage: pipeplan models");
    expect_error("split --pp 2 --layers", 2, "E_USAGE", "--layers needs a value");
    expect_error("split --with-encoders=yes --layers 2 --pp 1", 2, "E_USAGE", "takes no value");
    expect_error("split 8 --layers 2 --pp 1", 2, "E_USAGE", "unexpected argument");
}

Test(cli_robust, a_command_is_needed) {
    struct ran r = run_plan("");
    cr_assert_eq(r.code, 2);
    cr_assert(strstr(text_of(&r.messages), "no command given") != NULL);
    ran_free(&r);
    r = run_plan("frobnicate --json");
    cr_assert_eq(r.code, 2);
    json_t *d = json_loads(text_of(&r.out), 0, NULL);
    cr_assert_not_null(d);
    json_decref(d);
    ran_free(&r);
}

Test(cli_robust, help_shows_an_example) {
    const char *commands[] = {"split", "schedule", "simulate", "models", "hardware"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        char args[64];
        snprintf(args, sizeof args, "%s --help", commands[i]);
        struct ran r = run_plan(args);
        cr_assert_eq(r.code, 0);
        cr_assert(strstr(text_of(&r.out), "example: pipeplan ") != NULL);
        ran_free(&r);
    }
}

/* ---- random mutations of working command lines and files ---- */

static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void mutate(char *text, size_t size, uint64_t *state) {
    static const char alphabet[] = "0123456789,.-+/()OVERLAPFBIWnusm \n\r\t\x7f\xff";
    for (uint64_t n = 1 + next_random(state) % 3; n > 0; n--) {
        text[next_random(state) % size] = alphabet[next_random(state) % (sizeof alphabet - 1)];
    }
}

Test(cli_robust, broken_files_give_an_answer_or_a_refusal, .timeout = 120) {
    static const char csv[] = "0F0,1F0,1B0,(0F1;0B0)OVERLAP_F_B,1F1,1I1,1W1,0B1\r\n";
    static const char costs[] = "stage,f,i,w\n0,1us,2,3ns\n1,0.5ms,1,1\n";
    struct scratch scratch = make_scratch();
    uint64_t state = 2026;
    for (int i = 0; i < 120; i++) {
        char order[sizeof csv];
        char durations[sizeof costs];
        char order_path[128];
        char durations_path[128];
        char args[400];
        memcpy(order, csv, sizeof csv);
        memcpy(durations, costs, sizeof costs);
        mutate(i % 2 == 0 ? order : durations, i % 2 == 0 ? sizeof csv - 1 : sizeof costs - 1,
               &state);
        scratch_write(&scratch, "o.csv", order, sizeof csv - 1, order_path);
        scratch_write(&scratch, "d.csv", durations, sizeof costs - 1, durations_path);
        snprintf(args, sizeof args, "simulate --csv %s --stages 2 --costs %s --json", order_path,
                 durations_path);
        struct ran r = run_plan(args);
        cr_assert(r.code == 0 || r.code == 3, "%d: %s", r.code, text_of(&r.messages));
        json_t *d = json_loads(text_of(&r.out), 0, NULL);
        cr_assert_not_null(d, "%s", text_of(&r.out));
        cr_assert_eq(json_object_get(d, "error") == NULL, r.code == 0);
        json_decref(d);
        ran_free(&r);
    }
    remove_scratch(&scratch);
}
