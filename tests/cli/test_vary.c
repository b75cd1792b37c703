#include "tests/cli/run.h"

#define RUN "simulate --schedule 1F1B --pp 4 --microbatches 8 --t-p2p 100ns "

static json_t *variation_of(const char *args) {
    json_t *d = run_json(args, 0);
    json_t *v = json_object_get(d, "variation");
    cr_assert_not_null(v, "%s", args);
    json_incref(v);
    json_decref(d);
    return v;
}

/* ---- what it prints ---- */

Test(cli_vary, nothing_is_said_unless_something_varies) {
    json_t *d = run_json(RUN, 0);
    cr_assert_null(json_object_get(d, "variation"));
    json_decref(d);
    struct ran r = run_plan(RUN);
    cr_assert_null(strstr(text_of(&r.out), "varying"));
    ran_free(&r);
}

Test(cli_vary, figures_are_echoed_with_seed_and_samples) {
    json_t *v = variation_of(RUN "--jitter 5% --seed 7 --samples 200");
    cr_assert_eq(integer_of(v, "samples"), 200);
    cr_assert_eq(integer_of(v, "seed"), 7);
    static const char *const ascending[] = {"min_ns", "p5_ns", "p50_ns", "p95_ns", "max_ns"};
    for (int i = 1; i < 5; i++) {
        cr_assert_lt(integer_of(v, ascending[i - 1]), integer_of(v, ascending[i]));
    }
    cr_assert_geq(integer_of(v, "mean_ns"), integer_of(v, "steady_ns"));
    cr_assert_eq(json_object_size(v), 9, "and no member more");
    json_decref(v);
    v = variation_of(RUN "--jitter 5%");
    cr_assert_eq(integer_of(v, "samples"), 1000);
    cr_assert_eq(integer_of(v, "seed"), 0);
    json_t *d = run_json(RUN, 0);
    cr_assert_eq(integer_of(v, "steady_ns"), integer_of(d, "makespan_ns"));
    json_decref(d);
    json_decref(v);
    struct ran r = run_plan(RUN "--jitter 5% --seed 7 --samples 1");
    cr_assert_not_null(strstr(text_of(&r.out), "varying: 1 sample, seed 7; makespan (us): steady"));
    ran_free(&r);
}

Test(cli_vary, the_same_bytes_for_any_number_of_threads_and_the_seed_counts) {
    static const char *const flags[] = {"--threads 1",   "--threads 2",  "--threads 3",
                                        "--threads 8",   "--threads 0",  "",
                                        "--jitter=1/20", "--jitter 0.05"};
    for (int json = 0; json < 2; json++) {
        char args[256];
        struct ran first = {0};
        for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
            snprintf(args, sizeof args,
                     RUN "--jitter 5%% --slow-ranks 10%%:2 --seed 3 --samples 300 %s %s", flags[i],
                     json ? "--json" : "");
            struct ran r = run_plan(args);
            cr_assert_eq(r.code, 0);
            if (i > 0) {
                cr_assert_str_eq(text_of(&r.out), text_of(&first.out), "%s", flags[i]);
                ran_free(&r);
            } else {
                first = r;
            }
        }
        snprintf(args, sizeof args, RUN "--jitter 5%% --slow-ranks 10%%:2 --seed 4 --samples 300%s",
                 json ? " --json" : "");
        struct ran other = run_plan(args);
        cr_assert_str_neq(text_of(&other.out), text_of(&first.out));
        ran_free(&other);
        ran_free(&first);
    }
}

Test(cli_vary, every_flag_varies_and_zero_does_not) {
    static const char *const vary[] = {"--jitter 0.1",        "--jitter-rank 0.1",
                                       "--jitter-stage 0.1",  "--jitter-microbatch 0.1",
                                       "--stragglers 0.01:3", "--slow-ranks 5%:3"};
    static const char *const steady[] = {"--jitter 0",
                                         "--jitter-rank 0",
                                         "--jitter-stage 0%",
                                         "--jitter-microbatch 0/5",
                                         "--stragglers 0:3 --seed 5",
                                         "--slow-ranks 100%:1"};
    for (size_t i = 0; i < sizeof vary / sizeof vary[0]; i++) {
        char args[256];
        snprintf(args, sizeof args, RUN "%s", vary[i]);
        json_t *v = variation_of(args);
        cr_assert_gt(integer_of(v, "max_ns"), integer_of(v, "min_ns"), "%s", vary[i]);
        json_decref(v);
        snprintf(args, sizeof args, RUN "%s", steady[i]);
        v = variation_of(args);
        cr_assert_eq(integer_of(v, "max_ns"), integer_of(v, "min_ns"), "%s", steady[i]);
        cr_assert_eq(integer_of(v, "max_ns"), integer_of(v, "steady_ns"), "%s", steady[i]);
        json_decref(v);
    }
    json_t *v = variation_of("simulate --schedule 1F1B --pp 4 --microbatches 8 --stragglers 1:3 "
                             "--slow-ranks 100%:1.5 --samples 3");
    cr_assert_eq(2 * integer_of(v, "mean_ns"), 9 * integer_of(v, "steady_ns"));
    json_decref(v);
}

/* Several flushes are varied as one run; their microbatches are all different. */
Test(cli_vary, all_flushes_of_a_step_vary) {
    json_t *v = variation_of(RUN "--flushes 3 --jitter-microbatch 5% --samples 50");
    json_t *d = run_json(RUN "--flushes 3", 0);
    cr_assert_eq(integer_of(v, "steady_ns"), integer_of(d, "makespan_ns"));
    json_decref(d);
    json_decref(v);
    expect_error(RUN "--flushes 3 --microbatch-lengths /dev/null", 3, "E_CSV",
                 "expected one a line for each of 24 microbatches");
}

/* ---- files of lengths ---- */

static void with_file(const struct scratch *s, const char *bytes, size_t size, const char *run,
                      char args[512]) {
    char path[128];
    scratch_write(s, "lengths", bytes, size, path);
    snprintf(args, 512, "%s --microbatch-lengths %s", run, path);
}

static int64_t steady_of(const struct scratch *s, const char *bytes, const char *run) {
    char args[512];
    with_file(s, bytes, strlen(bytes), run, args);
    json_t *v = variation_of(args);
    int64_t steady = integer_of(v, "steady_ns");
    cr_assert_eq(steady, integer_of(v, "max_ns"), "lengths alone are no chance");
    json_decref(v);
    return steady;
}

Test(cli_vary, lengths_are_relative_to_their_mean) {
    struct scratch s = make_scratch();
    static const char one[] = "simulate --schedule GPipe --pp 1 --microbatches 4";
    static const char two[] = "simulate --schedule GPipe --pp 2 --microbatches 2";
    cr_assert_eq(steady_of(&s, "1\n1\n1\n1\n", one), 12000);
    cr_assert_eq(steady_of(&s, "4096\n4096\n4096\n4096", one), 12000, "no newline at the end");
    cr_assert_eq(steady_of(&s, "1\n2\n3\n6\n", one), 12000, "one rank: the sum is what counts");
    cr_assert_eq(steady_of(&s, "\n 1.5 \r\n\n0\n\t1/2\n2\n\n", one), 12000, "blanks, zero");
    /* ranks 0 and 1, F0 F1 B0 B1, weights w and 2 - w: the longer microbatch runs twice in a row */
    cr_assert_eq(steady_of(&s, "1\n1\n", two), 9000);
    cr_assert_eq(steady_of(&s, "2\n0\n", two), 12000);
    cr_assert_eq(steady_of(&s, "0\n1000000000\n", two), 12000);
    remove_scratch(&s);
}

Test(cli_vary, a_length_is_a_true_microbatch_of_the_flush) {
    struct scratch s = make_scratch();
    /* three slices of a sequence share its length; two pipelines have half of the microbatches each
     */
    cr_assert_eq(steady_of(&s, "3\n1\n",
                           "simulate --schedule Seq1F1B --pp 1 --microbatches 2 --slices 3 --t-f "
                           "3us --t-i 3us --t-w 3us"),
                 18000);
    steady_of(&s, "1\n2\n3\n4\n5\n6\n7\n8\n",
              "simulate --schedule DualPipe --pp 4 --microbatches 8");
    remove_scratch(&s);
}

Test(cli_vary, files_that_are_no_lengths_are_refused_with_their_line) {
    static const struct {
        const char *bytes;
        size_t size;
        int exit_code;
        const char *code, *words;
    } bad[] = {
        {"", 0, 3, "E_CSV", "0 lengths; expected one a line for each of 8 microbatches"},
        {"\n\n \n", 4, 3, "E_CSV", "0 lengths"},
        {"1\n", 2, 3, "E_CSV", "1 length; expected"},
        {"1\n2\n3\n4\n5\n6\n7\n", 14, 3, "E_CSV", "7 lengths; expected"},
        {"1\n2\n3\n4\n5\n6\n7\n8\n9\n", 18, 3, "E_CSV", "more lengths than the 8 microbatches"},
        {"1\n2\nx\n4\n5\n6\n7\n8\n", 16, 3, "E_CSV", "'x' is not a ratio"},
        {"1,2\n2\n3\n4\n5\n6\n7\n8\n", 18, 3, "E_CSV", "'1,2' is not a ratio"},
        {"1\n-2\n3\n4\n5\n6\n7\n8\n", 17, 3, "E_RANGE", "'-2' is negative"},
        {"1\n1e9\n3\n4\n5\n6\n7\n8\n", 18, 3, "E_CSV", "'1e9' is not a ratio"},
        {"1\nnan\n3\n4\n5\n6\n7\n8\n", 18, 3, "E_CSV", "'nan' is not a ratio"},
        {"1\n99999999999999999999999\n3\n4\n5\n6\n7\n8\n", 38, 3, "E_RANGE", "too many digits"},
        {"1\n1000000001\n3\n4\n5\n6\n7\n8\n", 25, 3, "E_RANGE", "more than 9 digits"},
        {"0\n0\n0\n0\n0\n0\n0\n0\n", 16, 3, "E_RANGE", "every length is 0"},
        {"1\n\0\n3\n4\n5\n6\n7\n8\n", 16, 3, "E_CSV", "is no number"},
        {"\x7f"
         "ELF\x02\x01\x01\0\0\0\0\0\0\xff\xfe",
         15, 3, "E_CSV", "is no number"},
    };
    struct scratch s = make_scratch();
    char args[512];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        with_file(&s, bad[i].bytes, bad[i].size, RUN, args);
        expect_error(args, bad[i].exit_code, bad[i].code, bad[i].words);
    }
    with_file(&s, bad[5].bytes, bad[5].size, RUN, args);
    json_t *d = run_json(args, 3);
    cr_assert_eq(integer_of(json_object_get(d, "error"), "line"), 3);
    json_decref(d);
    expect_error(RUN "--microbatch-lengths /nonexistent/x", 3, "E_FILE", "/nonexistent/x");
    expect_error(RUN "--microbatch-lengths /tmp", 3, "E_FILE", "/tmp");
    /* a line as long as a file may be, and one microbatch among very many */
    static char huge[200000];
    memset(huge, '7', sizeof huge);
    with_file(&s, huge, sizeof huge, RUN, args);
    expect_error(args, 3, "E_CSV", "a line of 200000 bytes");
    struct pp_text many = {0};
    for (int i = 0; i < 1200; i++) {
        pp_text_puts(&many, i == 700 ? "1\n" : "0\n");
    }
    with_file(&s, many.bytes, many.size, "simulate --schedule 1F1B --pp 4 --microbatches 1200",
              args);
    d = run_json(args, 3);
    cr_assert_eq(integer_of(json_object_get(d, "error"), "line"), 701);
    cr_assert_not_null(
        strstr(string_of(json_object_get(d, "error"), "message"), "more than 1000 times the mean"));
    json_decref(d);
    pp_text_free(&many);
    remove_scratch(&s);
}

/* ---- values ---- */

Test(cli_vary, values_that_make_no_sense_are_refused) {
    static const struct {
        const char *flags;
        int exit_code;
        const char *code, *words;
    } bad[] = {
        {"--jitter x", 2, "E_USAGE", "--jitter: 'x' is not a ratio"},
        {"--jitter ''", 2, "E_USAGE", "--jitter: '' is not a ratio"},
        {"--jitter %", 2, "E_USAGE", "--jitter: '' is not a ratio"},
        {"--jitter 5%%", 2, "E_USAGE", "is not a ratio"},
        {"--jitter=-0.1", 3, "E_RANGE", "--jitter: '-0.1' is negative"},
        {"--jitter 1.5", 3, "E_RANGE", "--jitter: 1.5 is more than 1"},
        {"--jitter 101%", 3, "E_RANGE", "--jitter: 101% is more than 100%"},
        {"--jitter 1/0", 3, "E_RANGE", "divides by zero"},
        {"--jitter-rank 2", 3, "E_RANGE", "--jitter-rank"},
        {"--jitter-stage nan", 2, "E_USAGE", "--jitter-stage"},
        {"--jitter-microbatch 1e-3", 2, "E_USAGE", "--jitter-microbatch"},
        {"--stragglers 0.1", 2, "E_USAGE", "--stragglers: '0.1' lacks a ':'"},
        {"--stragglers :", 2, "E_USAGE", "--stragglers: '' is not a ratio"},
        {"--stragglers 0.1:", 2, "E_USAGE", "--stragglers: '' is not a ratio"},
        {"--stragglers 2:3", 3, "E_RANGE", "--stragglers: 2 is more than 1"},
        {"--stragglers 0.1:0.5", 3, "E_RANGE", "a factor of 0.5 is less than 1"},
        {"--stragglers 0.1:1001", 3, "E_RANGE", "1001 is more than 1000"},
        {"--stragglers 0.1:3:4", 2, "E_USAGE", "'3:4' is not a ratio"},
        {"--slow-ranks 0.1:-3", 3, "E_RANGE", "--slow-ranks: '-3' is negative"},
        {"--jitter 5% --samples 0", 3, "E_RANGE", "--samples"},
        {"--jitter 5% --samples 1000001", 3, "E_RANGE", "--samples"},
        {"--jitter 5% --samples many", 2, "E_USAGE", "--samples"},
        {"--jitter 5% --seed=-1", 3, "E_RANGE", "--seed"},
        {"--jitter 5% --seed 9223372036854775808", 3, "E_RANGE", "--seed"},
        {"--jitter 5% --threads 1025", 3, "E_RANGE", "--threads"},
        {"--jitter 5% --threads=-1", 3, "E_RANGE", "--threads"},
        {"--seed 1", 2, "E_USAGE", "--seed without anything that varies; add --jitter"},
        {"--samples 10", 2, "E_USAGE", "--samples without anything that varies"},
        {"--threads 2", 2, "E_USAGE", "--threads without anything that varies"},
        {"--stragglers 1:1000 --t-f 274s", 3, "E_RANGE", "in sample 0 0F0 takes more than"},
        {"--jitter 100% --t-i 274s", 3, "E_RANGE", "in sample 0"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char args[256];
        snprintf(args, sizeof args, RUN "%s", bad[i].flags);
        expect_error(args, bad[i].exit_code, bad[i].code, bad[i].words);
    }
    expect_error(RUN "--jitter 5% --runtime torch", 2, "E_USAGE",
                 "cannot vary where communication has lanes");
    char args[600];
    snprintf(args, sizeof args, RUN "--jitter 0.%0300d1", 0);
    expect_error(args, 2, "E_USAGE", "--jitter: '0.000");
    json_t *v = variation_of(RUN "--jitter 5% --samples 10 --seed 9223372036854775807");
    cr_assert_eq(integer_of(v, "seed"), INT64_MAX);
    json_decref(v);
}

Test(cli_vary, the_help_names_every_flag) {
    static const char *const flags[] = {"--jitter R",
                                        "--jitter-rank R",
                                        "--jitter-stage R",
                                        "--jitter-microbatch R",
                                        "--stragglers P:F",
                                        "--slow-ranks P:F",
                                        "--microbatch-lengths FILE",
                                        "--seed N",
                                        "--samples N",
                                        "--threads N"};
    struct ran r = run_plan("simulate --help");
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        cr_assert_not_null(strstr(text_of(&r.out), flags[i]), "%s", flags[i]);
    }
    ran_free(&r);
}

/* Ctrl-C in the middle of a long sampling. */
Test(cli_vary, an_interrupt_ends_it) {
    struct ran r =
        run_shell("timeout --preserve-status -s INT 0.5 \"$P\" simulate --schedule 1F1B --pp 8 "
                  "--microbatches 512 --jitter 5% --samples 1000000 --json; echo $?");
    cr_assert_not_null(strstr(text_of(&r.out), "E_INTERRUPTED"), "%s", text_of(&r.out));
    cr_assert_not_null(strstr(text_of(&r.out), "\n130\n"), "%s", text_of(&r.out));
    ran_free(&r);
}
