/* `pipeplan check` as a user meets it. */
#include "tests/cli/run.h"

#include <sys/stat.h>

/* Writes a schedule and returns the options that check it: "check FILE --pp ..." */
struct asked {
    struct scratch scratch;
    char line[512];
};

static struct asked ask(const char *csv, const char *options) {
    struct asked a = {.scratch = make_scratch()};
    char path[128];
    scratch_write(&a.scratch, "s.csv", csv, strlen(csv), path);
    snprintf(a.line, sizeof a.line, "check %s %s", path, options);
    return a;
}

/* A file with two ranks, one stage each, and two microbatches. */
static const char two[] = "--pp 2 --stages 2 --microbatches 2";
static const char good[] = "0F0,0F1,0B0,0B1\r\n,1F0,1B0,1F1,1B1\r\n";
static const char hanging[] = "0F0,0B0,0F1,0B1\r\n1F0,1F1,1B0,1B1\r\n";

Test(cli_check, a_valid_file_is_told_so_with_all_that_was_assumed) {
    struct asked a = ask(good, two);
    json_t *d = run_json(a.line, 0);
    expect_member(d, "valid", "true");
    expect_member(d, "errors", "[]");
    expect_member(d, "warnings", "[]");
    expect_member(d, "deadlock", "null");
    expect_member(d, "repair", "null");
    expect_member(d, "format", "\"csv\"");
    expect_member(d, "channels", "\"directed\"");
    expect_member(d, "comms", "\"rendezvous\"");
    expect_member(d, "lowering", "\"ours\"");
    json_decref(d);
    struct ran r = run_plan(a.line);
    cr_assert_eq(r.code, 0);
    cr_assert(strstr(text_of(&r.out), "s.csv: valid (csv, lowering ours") != NULL, "%s",
              text_of(&r.out));
    cr_assert_str_eq(text_of(&r.messages), "");
    ran_free(&r);
    remove_scratch(&a.scratch);
}

Test(cli_check, a_deadlock_is_the_shortest_cycle) {
    struct asked a = ask(hanging, two);
    json_t *d = run_json(a.line, 1);
    expect_member(d, "valid", "false");
    expect_member(d, "errors", "[]");
    expect_member(d, "deadlock",
                  "[{\"rank\":0,\"action\":\"0B0\",\"waits_for\":{\"rank\":1,\"action\":\"1B0\"}},"
                  "{\"rank\":1,\"action\":\"1F1\",\"waits_for\":{\"rank\":0,\"action\":\"0F1\"}}]");
    json_decref(d);
    struct ran r = run_plan(a.line);
    cr_assert_eq(r.code, 1);
    cr_assert(strstr(text_of(&r.out), "rank 0 stands in 0B0, which waits for 1B0 of rank 1") !=
              NULL);
    cr_assert(strstr(text_of(&r.messages), "E_CHECK") != NULL);
    ran_free(&r);
    remove_scratch(&a.scratch);
}

/* Receives right before their use, both directions over one channel: pytorch/pytorch#172668. */
Test(cli_check, transfers_that_hang_are_named) {
    static const char late[] = "0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1\r\n"
                               "1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1\r\n";
    char options[128];
    snprintf(options, sizeof options, "%s --format csv-comms --channels pair", two);
    struct asked a = ask(late, options);
    json_t *d = run_json(a.line, 1);
    expect_member(
        d, "deadlock",
        "[{\"rank\":0,\"action\":\"0SEND_F1\",\"waits_for\":{\"rank\":1,\"action\":\"1RECV_F1\"}},"
        "{\"rank\":1,\"action\":\"1SEND_B0\",\"waits_for\":{\"rank\":0,\"action\":\"0RECV_B0\"}}]");
    expect_member(d, "lowering", "\"file\"");
    json_decref(d);
    static const char *const others[] = {" --channels directed", " --comms buffered:1"};
    for (int i = 0; i < 2; i++) { /* the last of an option given twice counts */
        char line[640];
        snprintf(line, sizeof line, "%s%s", a.line, others[i]);
        json_decref(run_json(line, 0));
    }
    remove_scratch(&a.scratch);
}

Test(cli_check, all_errors_are_listed) {
    struct asked a = ask("0F0,hello,0F1,0B1,0F1\r\n1F0,1F1,1B0,1W0,5B9\r\n", two);
    json_t *d = run_json(a.line, 1);
    expect_member(d, "valid", "false");
    json_t *errors = json_object_get(d, "errors");
    static const struct {
        int row, column;
        const char *action, *words;
    } wanted[] = {
        {1, 2, "hello", "is not an action"}, {2, 5, "5B9", "stage out of range"},
        {1, 5, "0F1", "a second time"},      {2, 4, "1W0", "a second time"},
        {1, 5, "0B0", "never runs 0B0"},     {2, 5, "1B1", "never runs 1B1"},
    };
    cr_assert_eq(json_array_size(errors), sizeof wanted / sizeof wanted[0]);
    for (size_t i = 0; i < json_array_size(errors); i++) {
        json_t *e = json_array_get(errors, i);
        cr_expect_str_eq(string_of(e, "code"), "E_CSV");
        cr_expect_eq(integer_of(e, "row"), wanted[i].row);
        cr_expect_eq(integer_of(e, "column"), wanted[i].column);
        cr_expect_str_eq(string_of(e, "action"), wanted[i].action);
        cr_expect(strstr(string_of(e, "message"), wanted[i].words) != NULL, "%s",
                  string_of(e, "message"));
    }
    json_decref(d);
    remove_scratch(&a.scratch);
}

/* For people: an error a line, warnings behind them, and where the search ended. */
Test(cli_check, errors_and_warnings_are_printed) {
    struct asked a = ask("0F0,hello,0F1,0B1,0B0\r\n1F0,1F1,1B0,1B1\r\n", two);
    struct ran r = run_plan(a.line);
    cr_assert_eq(r.code, 1);
    cr_expect(strstr(text_of(&r.out), "s.csv: not valid (csv") != NULL, "%s", text_of(&r.out));
    cr_expect(strstr(text_of(&r.out), "  E_CSV: row 1, column 2: 'hello' is not an action\n") !=
                  NULL,
              "%s", text_of(&r.out));
    cr_expect(strstr(text_of(&r.out), "and perhaps more") == NULL);
    ran_free(&r);
    remove_scratch(&a.scratch);
    a = ask("0F0,0F1,0B0,0B1\r\n1F1,1F0,1B0,1B1\r\n", two);
    r = run_plan(a.line);
    cr_assert_eq(r.code, 0);
    cr_expect(strstr(text_of(&r.out), "  W_LOSS_ORDER: row 2, column 2: 1F0") != NULL, "%s",
              text_of(&r.out));
    ran_free(&r);
    remove_scratch(&a.scratch);
}

static int count_lines(const char *text, const char *beginning) {
    int n = 0;
    for (; (text = strstr(text, beginning)) != NULL; text++) {
        n++;
    }
    return n;
}

Test(cli_check, the_search_ends_after_a_hundred_errors) {
    for (int bad = 99; bad <= 150; bad += bad < 101 ? 1 : 49) {
        struct pp_text csv = {0};
        pp_text_puts(&csv, "0F0,0F1,0B0,0B1");
        for (int i = 0; i < bad; i++) {
            pp_text_puts(&csv, ",x");
        }
        pp_text_puts(&csv, "\r\n1F0,1F1,1B0,1B1\r\n");
        struct asked a = ask(csv.bytes, two);
        struct ran r = run_plan(a.line);
        cr_assert_eq(r.code, 1);
        cr_expect_eq(count_lines(text_of(&r.out), "  E_CSV: "), bad < 100 ? bad : 100, "%d", bad);
        cr_expect_eq(strstr(text_of(&r.out), "and perhaps more: the search ends after 100") != NULL,
                     bad >= 100, "%d", bad);
        ran_free(&r);
        remove_scratch(&a.scratch);
        pp_text_free(&csv);
    }
}

Test(cli_check, all_errors_of_transfers_are_listed) {
    char options[128];
    snprintf(options, sizeof options, "%s --format csv-comms", two);
    struct asked a = ask("0SEND_F0,0F0,0F1,0SEND_F1,0RECV_B0,0B0,0B1,0RECV_B1,0RECV_F0\r\n"
                         "1RECV_F0,1F0,1RECV_F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1\r\n",
                         options);
    json_t *d = run_json(a.line, 1);
    json_t *errors = json_object_get(d, "errors");
    static const char *const actions[] = {"0SEND_F0", "0RECV_B1", "0RECV_F0", "1RECV_F0",
                                          "1SEND_B1"};
    cr_assert_eq(json_array_size(errors), 5);
    for (size_t i = 0; i < 5; i++) {
        cr_expect_str_eq(string_of(json_array_get(errors, i), "action"), actions[i]);
    }
    json_decref(d);
    remove_scratch(&a.scratch);
}

/* What each file is told. Options are those of `two` and more. */
Test(cli_check, faults_of_a_file_are_exit_1_with_their_reason) {
    static const struct {
        const char *csv, *more, *words;
    } cases[] = {
        {"", "", "0 rows"},
        {"\r\n\r\n", "", "holds no action"},
        {"0F0,0B0,0F1,0B1\r\n", "", "1 row"},
        {"0F0,0B0,0F1,0B1\r\n1F0,1B0,1F1,1B1\r\n\r\n", "", "row 3 is one too many"},
        {"1F0,1B0,1F1,1B1\r\n0F0,0B0,0F1,0B1\r\n", "--placement loop", "belongs to rank 1"},
        {"0F0,0B0,0F1,0B1\r\n1F0,1B0,1F1,1B1,0F1\r\n", "", "stage 0 began on rank 0"},
        {"0F0,0B0,0F1,0B1x\r\n1F0,1B0,1F1,1B1\r\n", "", "after the microbatch"},
        {"0F0,0F1,0B0,0B1\r\n1F0,\"1B0,1F1,1B1\r\n", "", "closing quote"},
        {"0F0,0SEND_F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", "", "communication action"},
        {"0F0,,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", "--format csv-comms", "idle cell"},
        {"0F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", "--format csv-comms", "never runs 0SEND_F0"},
        {"\xef\xbb\xbf"
         "0F0",
         "", "byte order mark"},
        {"\x80\xff,0F0\r\n\r\n", "", "is not an action"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char options[128];
        snprintf(options, sizeof options, "%s %s", two, cases[i].more);
        struct asked a = ask(cases[i].csv, options);
        json_t *d = run_json(a.line, 1);
        char *errors = dump(d, "errors");
        cr_expect(strstr(errors, cases[i].words) != NULL, "%zu: %s", i, errors);
        expect_member(d, "valid", "false");
        free(errors);
        json_decref(d);
        remove_scratch(&a.scratch);
    }
}

Test(cli_check, at_most_a_hundred_errors_are_listed) {
    struct pp_text csv = {0};
    for (int i = 0; i < 1000; i++) {
        pp_text_puts(&csv, i == 0 ? "x" : ",x");
    }
    struct asked a = ask(csv.bytes, two);
    json_t *d = run_json(a.line, 1);
    cr_assert_eq(json_array_size(json_object_get(d, "errors")), 100);
    expect_member(d, "more_errors", "true");
    json_decref(d);
    pp_text_free(&csv);
    remove_scratch(&a.scratch);
}

Test(cli_check, what_cannot_be_read_or_asked_is_exit_3) {
    struct asked a = ask(good, "");
    struct scratch *s = &a.scratch;
    char zero[128];
    scratch_write(s, "zero.csv", "0F0,\0,0B0", 9, zero);
    struct {
        const char *file, *options, *code, *words;
    } cases[] = {
        {"nowhere.csv", "--pp 2 --stages 2 --microbatches 2", "E_FILE", "nowhere.csv"},
        {"", "--pp 2 --stages 2 --microbatches 2", "E_FILE", "directory"},
        {"zero.csv", "--pp 2 --stages 2 --microbatches 2", "E_FILE", "byte 5 is zero"},
        {"s.csv", "--pp 0 --stages 2 --microbatches 2", "E_RANGE", "--pp"},
        {"s.csv", "--pp 2 --stages 2 --microbatches 2000000", "E_RANGE", "--microbatches"},
        {"s.csv", "--pp 2 --stages 65536 --microbatches 1000000", "E_RANGE", "the limit is"},
        {"s.csv", "--pp 4 --stages 2 --microbatches 2", "E_PLACEMENT", "every rank holds"},
        {"s.csv", "--pp 2 --stages 3 --microbatches 2 --placement v", "E_PLACEMENT", "3"},
        {"s.csv", "--pp 2 --stages 2 --microbatches 2 --comms buffered:-1", "E_RANGE", "buffered"},
        {"s.csv", "--pp 2 --stages 2 --microbatches 2 --schedule v_schedule", "E_SCHEDULE", "ZBV"},
        {"s.csv", "--pp 2 --stages 4 --microbatches 3 --schedule DualPipe", "E_MICROBATCH", "even"},
        {"s.csv", "--pp 2 --stages 3 --microbatches 2 --schedule DualPipe", "E_STAGES", "even"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[512];
        snprintf(line, sizeof line, "check %s/%s %s", s->folder, cases[i].file, cases[i].options);
        expect_error(line, 3, cases[i].code, cases[i].words);
    }
    remove_scratch(s);
}

Test(cli_check, wrong_usage_is_exit_2) {
    static const char *const lines[][2] = {
        {"check", "one schedule file"},
        {"check a.csv", "--pp"},
        {"check a.csv b.csv --pp 2 --stages 2 --microbatches 2", "b.csv"},
        {"check a.csv --pp 2 --microbatches 2", "--stages"},
        {"check a.csv --pp 2 --stages 2", "--microbatches"},
        {"check a.csv --pp two --stages 2 --microbatches 2", "--pp"},
        {"check a.csv --pp 2 --stages 2 --microbatches 2 --format json", "csv or csv-comms"},
        {"check a.csv --pp 2 --stages 2 --microbatches 2 --channels none",
         "directed, pair or rank"},
        {"check a.csv --pp 2 --stages 2 --microbatches 2 --lowering best",
         "torch, ours or batched"},
        {"check a.csv --pp 2 --stages 2 --microbatches 2 --placement zigzag", "loop or v"},
        {"check a.csv --pp 2 --stages 2 --microbatches 2 --comms lots", "rendezvous"},
        {"check a.csv --pp 2 --stages 2 --microbatches 2 --comms buffered:many", "buffered"},
        {"check a.csv --pp 2 --stages 2 --microbatches 2 --repiar x", "--repair"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        expect_error(lines[i][0], 2, "E_USAGE", lines[i][1]);
    }
}

/* ---- warnings ---- */

static void expect_warning(const char *csv, const char *options, const char *code) {
    struct asked a = ask(csv, options);
    json_t *d = run_json(a.line, 0);
    expect_member(d, "valid", "true");
    json_t *warnings = json_object_get(d, "warnings");
    cr_assert_eq(json_array_size(warnings), 1);
    cr_assert_str_eq(string_of(json_array_get(warnings, 0), "code"), code);
    cr_assert_gt(strlen(string_of(json_array_get(warnings, 0), "message")), 0);
    json_decref(d);
    remove_scratch(&a.scratch);
}

Test(cli_check, what_pytorch_gets_wrong_without_a_word_is_a_warning) {
    expect_warning("0F0,0F1,0B0,0B1\r\n1F1,1F0,1B0,1B1\r\n", two, "W_LOSS_ORDER");
    char options[128];
    snprintf(options, sizeof options, "%s --format csv-comms", two);
    expect_warning("0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1\r\n"
                   "1RECV_F1,1RECV_F0,1F0,1B0,1SEND_B0,1F1,1B1,1SEND_B1\r\n",
                   options, "W_FIFO");
    expect_warning("0F0,3F0,3B0,0B0\r\n1F0,2F0,2B0,1B0\r\n",
                   "--pp 2 --stages 4 --microbatches 1 --schedule Interleaved1F1B", "W_PLACEMENT");
}

/* ---- repair ---- */

static void expect_file(const struct scratch *s, const char *name, const char *wanted) {
    char path[128];
    char *text = NULL;
    size_t size;
    struct pp_err err = {0};
    snprintf(path, sizeof path, "%s/%s", s->folder, name);
    enum pp_status status = pp_read_file(path, 1 << 20, &text, &size, &err);
    if (wanted == NULL) {
        cr_assert_eq(status, PP_E_FILE, "%s is there", name);
        return;
    }
    cr_assert_eq(status, PP_OK, "%s", err.message);
    cr_assert_str_eq(text, wanted);
    free(text);
}

static void repair_line(const struct asked *a, const char *name, const char *more, char *line,
                        size_t size) {
    snprintf(line, size, "%s --repair %s/%s %s", a->line, a->scratch.folder, name, more);
}

Test(cli_check, a_repaired_file_passes_and_what_was_right_stays) {
    char line[768];
    struct asked a = ask(hanging, two);
    repair_line(&a, "out.csv", "", line, sizeof line);
    json_t *d = run_json(line, 1);
    json_t *repair = json_object_get(d, "repair");
    expect_member(repair, "written", "true");
    expect_member(repair, "moved_actions", "1");
    json_decref(d);
    expect_file(&a.scratch, "out.csv", "0F0,0F1,0B0,0B1\r\n1F0,1F1,1B0,1B1\r\n");
    struct ran r = run_plan(line);
    cr_expect(strstr(text_of(&r.out), "out.csv: written, 1 actions moved\n") != NULL, "%s",
              text_of(&r.out));
    ran_free(&r);
    snprintf(line, sizeof line, "check %s/out.csv %s", a.scratch.folder, two);
    json_decref(run_json(line, 0));
    /* onto itself, once it passes */
    repair_line(&a, "s.csv", "", line, sizeof line);
    json_decref(run_json(line, 1));
    json_decref(run_json(line, 0));
    expect_file(&a.scratch, "s.csv", "0F0,0F1,0B0,0B1\r\n1F0,1F1,1B0,1B1\r\n");
    remove_scratch(&a.scratch);
    a = ask(good, two);
    repair_line(&a, "out.csv", "", line, sizeof line);
    json_decref(run_json(line, 0));
    expect_file(&a.scratch, "out.csv", good);
    remove_scratch(&a.scratch);
}

Test(cli_check, what_cannot_be_repaired_is_not_written) {
    static const struct {
        const char *csv, *options, *words;
    } cases[] = {
        {"0F0,0F1,0B0,0B1,0F0\r\n1F0,1F1,1B0,1B1\r\n", "", "one too many"},
        {"0F0,0F1,0B0\r\n1F0,1F1,1B0,1B1\r\n", "", "missing"},
        {"0F0,0F1,0B0,x\r\n1F0,1F1,1B0,1B1\r\n", "", "cells"},
        {"0F0,0F1,0B0,0B1\r\n1F0,1B0,1F1,1B1\r\n", "--channels rank", "--lowering torch"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char options[128];
        char line[768];
        snprintf(options, sizeof options, "%s %s", two, cases[i].options);
        struct asked a = ask(cases[i].csv, options);
        repair_line(&a, "out.csv", "", line, sizeof line);
        json_t *d = run_json(line, 1);
        json_t *repair = json_object_get(d, "repair");
        expect_member(repair, "written", "false");
        cr_expect(strstr(string_of(repair, "reason"), cases[i].words) != NULL, "%s",
                  string_of(repair, "reason"));
        json_decref(d);
        expect_file(&a.scratch, "out.csv", NULL);
        remove_scratch(&a.scratch);
    }
}

/* Lowered: the same over channels that carry our places of receives and that do not. */
Test(cli_check, a_lowered_file_is_repaired_by_lowering_it_again) {
    static const char late[] = "0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1\r\n"
                               "1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1\r\n";
    static const char no_receive[] = "0F0,0SEND_F0,0F1,0SEND_F1,0B0,0RECV_B1,0B1\r\n"
                                     "1RECV_F0,1F0,1B0,1SEND_B0,1RECV_F1,1F1,1B1,1SEND_B1\r\n";
    static const char *const channels[] = {"rank", "pair", "directed"};
    for (int i = 0; i < 6; i++) {
        char options[128];
        char line[768];
        snprintf(options, sizeof options, "%s --format csv-comms --channels %s", two,
                 channels[i % 3]);
        struct asked a = ask(i < 3 ? late : no_receive, options);
        repair_line(&a, "out.csv", "", line, sizeof line);
        json_decref(run_json(line, i == 2 ? 0 : 1)); /* directed channels carry the first */
        snprintf(line, sizeof line, "check %s/out.csv %s", a.scratch.folder, options);
        json_decref(run_json(line, 0));
        remove_scratch(&a.scratch);
    }
}

Test(cli_check, a_place_that_cannot_be_written_is_exit_4_and_leaves_nothing) {
    char line[768];
    struct asked a = ask(good, two);
    repair_line(&a, "no/such/folder.csv", "", line, sizeof line);
    expect_error(line, 4, "E_IO", "cannot write");
    repair_line(&a, "", "", line, sizeof line); /* the folder itself */
    expect_error(line, 4, "E_IO", "cannot write");
    char list[128];
    snprintf(list, sizeof list, "ls -A %s", a.scratch.folder);
    struct ran r = run_shell(list);
    cr_assert_str_eq(text_of(&r.out), "s.csv\n");
    ran_free(&r);
    remove_scratch(&a.scratch);
}

Test(cli_check, a_repaired_file_keeps_its_place) {
    static const char passing[] = "0F0,0F1,0B0,0B1\r\n1F0,1F1,1B0,1B1\r\n";
    char line[768];
    char file[128];
    char link_to[128];
    struct stat there;
    struct asked a = ask(hanging, two);
    snprintf(file, sizeof file, "%s/s.csv", a.scratch.folder);
    snprintf(link_to, sizeof link_to, "%s/link.csv", a.scratch.folder);
    cr_assert_eq(chmod(file, 0640), 0);
    cr_assert_eq(symlink("s.csv", link_to), 0);
    cr_assert_eq(stat(file, &there), 0);
    ino_t old = there.st_ino;
    repair_line(&a, "link.csv", "", line, sizeof line);
    json_decref(run_json(line, 1));
    cr_assert_eq(lstat(link_to, &there), 0);
    cr_expect(S_ISLNK(there.st_mode), "the link was replaced");
    cr_assert_eq(stat(file, &there), 0);
    cr_expect_eq(there.st_mode & 0777, 0640);
    cr_expect_neq(there.st_ino, old, "written over, not replaced as a whole");
    expect_file(&a.scratch, "s.csv", passing);
    /* what is no file is written to */
    char pipe_line[1024];
    snprintf(pipe_line, sizeof pipe_line,
             "mkfifo %s/pipe && { timeout 20 cat %s/pipe > %s/read.csv & } && "
             "$P %s --repair %s/pipe > /dev/null; wait; test -p %s/pipe",
             a.scratch.folder, a.scratch.folder, a.scratch.folder, a.line, a.scratch.folder,
             a.scratch.folder);
    struct ran r = run_shell(pipe_line);
    cr_expect_eq(r.code, 0, "%s", text_of(&r.messages));
    ran_free(&r);
    expect_file(&a.scratch, "read.csv", passing);
    remove_scratch(&a.scratch);
}

/* Every name's file passes under its name, in every lowering, as written by `schedule`. */
Test(cli_check, what_schedule_writes_passes) {
    static const char *const cases[][3] = {
        {"GPipe", "--stages-per-rank 1", "--stages 4"},
        {"1F1B", "--stages-per-rank 1", "--stages 4"},
        {"Interleaved1F1B", "--stages-per-rank 2", "--stages 8"},
        {"InterleavedZeroBubble", "--stages-per-rank 2", "--stages 8"},
        {"ZBVZeroBubble", "--stages-per-rank 2", "--stages 8"},
        {"DualPipeV", "--stages-per-rank 2", "--stages 8"},
        {"DualPipe", "--stages-per-rank 2", "--stages 8"},
    };
    struct scratch s = make_scratch();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[512];
        snprintf(line, sizeof line,
                 "\"$P\" schedule --schedule %s --pp 4 %s --microbatches 8 > %s/a.csv", cases[i][0],
                 cases[i][1], s.folder);
        struct ran r = run_shell(line);
        cr_assert_eq(r.code, 0, "%s", text_of(&r.messages));
        ran_free(&r);
        for (int torch = 0; torch < 2; torch++) {
            snprintf(line, sizeof line,
                     "check %s/a.csv --pp 4 %s --microbatches 8 --schedule %s --lowering %s",
                     s.folder, cases[i][2], cases[i][0],
                     torch ? "torch --channels rank" : "ours --channels directed");
            json_t *d = run_json(line, 0);
            expect_member(d, "valid", "true");
            json_decref(d);
        }
    }
    remove_scratch(&s);
}

/* One microbatch of two slices: the backward must take the later slice first. */
Test(cli_check, slices_are_checked_for_their_order_where_their_number_is_given) {
    static const char sliced[] = "--pp 1 --stages 1 --schedule Seq1F1B";
    struct asked a = ask("0F0,0F1,0B0,0B1\r\n", sliced);
    char line[640];
    snprintf(line, sizeof line, "%s --microbatches 2", a.line);
    json_decref(run_json(line, 0)); /* two units, nothing known of their slices */
    snprintf(line, sizeof line, "%s --microbatches 1 --slices 2", a.line);
    json_t *d = run_json(line, 1);
    const char *message = json_string_value(
        json_object_get(json_array_get(json_object_get(d, "errors"), 0), "message"));
    cr_assert(message != NULL && strstr(message, "backward of the slice after it") != NULL, "%s",
              message);
    json_decref(d);
    remove_scratch(&a.scratch);
    a = ask("0F0,0F1,0B1,0B0\r\n", sliced);
    snprintf(line, sizeof line, "%s --microbatches 1 --slices 2", a.line);
    json_decref(run_json(line, 0));
    snprintf(line, sizeof line, "%s --microbatches 1048576 --slices 2", a.line);
    json_decref(run_json(line, 3));
    remove_scratch(&a.scratch);
    a = ask(good, two);
    snprintf(line, sizeof line, "%s --slices 2", a.line);
    json_decref(run_json(line, 3));
    remove_scratch(&a.scratch);
}

Test(cli_check, a_repair_is_offered_where_only_the_order_is_at_fault) {
    struct asked a = ask(hanging, two);
    struct ran r = run_plan(a.line);
    cr_expect_not_null(strstr(text_of(&r.messages), "--repair OUT"), "%s", text_of(&r.messages));
    ran_free(&r);
    remove_scratch(&a.scratch);
    a = ask("0F0x,0F1,0B0,0B1\r\n,1F0,1B0,1F1,1B1\r\n", two);
    r = run_plan(a.line);
    cr_expect_null(strstr(text_of(&r.messages), "--repair OUT"), "%s", text_of(&r.messages));
    cr_expect_not_null(strstr(text_of(&r.messages), "write stage, type, microbatch"), "%s",
                       text_of(&r.messages));
    ran_free(&r);
    remove_scratch(&a.scratch);
}
