#include "tests/cli/run.h"

#include <math.h>

/* ---- closed forms, unit costs: 1 us for a rank's whole F, I and W ---- */

static json_t *unit_run(const char *name, int p, int v, int m, const char *more) {
    char args[256];
    char stages[32] = "";
    if (v > 0) {
        snprintf(stages, sizeof stages, "--stages-per-rank %d", v);
    }
    snprintf(args, sizeof args, "simulate --schedule %s --pp %d --microbatches %d %s %s", name, p,
             m, stages, more);
    return run_json(args, 0);
}

static void expect_bubble(const char *name, int p, int v, int m, double over_3m_us) {
    json_t *d = unit_run(name, p, v, m, "");
    double makespan_us = (double)integer_of(d, "makespan_ns") / 1000.0;
    cr_assert_float_eq(makespan_us, 3.0 * m + over_3m_us, 1e-9, "%s p %d v %d m %d: %g", name, p, v,
                       m, makespan_us);
    json_t *ranks = json_object_get(d, "ranks");
    cr_assert_eq(json_array_size(ranks), (size_t)p);
    for (int r = 0; r < p; r++) {
        json_t *rank = json_array_get(ranks, (size_t)r);
        cr_assert_eq(integer_of(rank, "busy_ns"), 3000 * m);
        cr_assert_eq(integer_of(rank, "idle_ns"), integer_of(d, "makespan_ns") - 3000 * m);
    }
    cr_assert_float_eq(number_of(d, "bubble_ratio"), over_3m_us / (3 * m + over_3m_us), 1e-9);
    cr_assert_float_eq(number_of(d, "over_ideal_ratio"), over_3m_us / (3 * m), 1e-9);
    json_decref(d);
}

Test(cli_simulate, closed_forms_of_unit_costs) {
    for (int p = 2; p <= 8; p *= 2) {
        int m = 4 * p;
        expect_bubble("GPipe", p, 0, m, 3.0 * (p - 1));
        expect_bubble("1F1B", p, 0, m, 3.0 * (p - 1));
        expect_bubble("LoopedBFS", p, 2, m, 1.5 * (p - 1));
        expect_bubble("Interleaved1F1B", p, 2, m, 1.5 * (p - 1));
        expect_bubble("Interleaved1F1B", p, 4, m, 0.75 * (p - 1));
        expect_bubble("InterleavedZeroBubble", p, 2, m, 0.5 * (p - 1));
        expect_bubble("ZBVZeroBubble", p, 0, m, 0.5 * (p - 1));
    }
}

Test(cli_simulate, microbatches_are_counted_as_asked) {
    static const char *const args[] = {"simulate --schedule DualPipe --pp 4 --microbatches 8",
                                       "simulate --schedule Chimera --pp 4 --microbatches 8",
                                       "simulate --schedule Seq1F1B --slices 2 --pp 4 "
                                       "--microbatches 8"};
    for (size_t i = 0; i < sizeof args / sizeof args[0]; i++) {
        json_t *d = run_json(args[i], 0);
        cr_assert_eq(integer_of(d, "microbatches"), 8, "%s", args[i]);
        json_decref(d);
    }
}

Test(cli_simulate, span_of_zbv_has_no_bubble) {
    json_t *d = unit_run("ZBVZeroBubble", 4, 0, 16, "");
    cr_assert_eq(integer_of(d, "span_ns"), 48000);
    cr_assert_eq(number_of(d, "span_bubble_ratio"), 0.0);
    json_decref(d);
}

Test(cli_simulate, transfers_are_charged_once_an_edge_between_ranks) {
    /* one microbatch through p ranks: p-1 edges down, p-1 up */
    json_t *d = unit_run("GPipe", 4, 0, 1, "--t-p2p 100ns");
    cr_assert_eq(integer_of(d, "makespan_ns"), 4 * 3000 + 6 * 100);
    json_decref(d);
    /* in a V the two middle stages share a rank: 2p-2 edges each way for 2p stages */
    d = unit_run("ZBVZeroBubble", 2, 0, 1, "--t-p2p 100ns --t-w 0");
    cr_assert_eq(integer_of(d, "makespan_ns"), 2 * 2000 + 4 * 100);
    json_decref(d);
}

Test(cli_simulate, durations_are_shared_out_and_rounded_once) {
    /* v = 3: F 1001/3 = 334, fused B (1001+1001)/3 = 667, not 2 * 334 */
    json_t *d = unit_run("LoopedBFS", 1, 3, 1, "--t-f 1001ns --t-i 1001ns --t-w 1001ns");
    cr_assert_eq(integer_of(d, "makespan_ns"), 3 * 334 + 3 * 667);
    json_decref(d);
    d = unit_run("LoopedBFS", 1, 3, 1, "--t-f 1001ns --t-i 1ns --t-w 2ns --per-stage");
    cr_assert_eq(integer_of(d, "makespan_ns"), 3 * 1001 + 3 * 3);
    json_decref(d);
}

/* ---- activations ---- */

static json_t *rank_of(const json_t *d, size_t rank) {
    return json_array_get(json_object_get(d, "ranks"), rank);
}

Test(cli_simulate, activations_count_in_whole_shares) {
    json_t *d = unit_run("1F1B", 4, 0, 8, "");
    for (int r = 0; r < 4; r++) {
        cr_assert_eq(integer_of(rank_of(d, (size_t)r), "peak_activation"), 4 - r);
    }
    cr_assert_str_eq(string_of(rank_of(d, 0), "peak_action"), "0F3");
    json_decref(d);
    d = unit_run("Interleaved1F1B", 4, 2, 8, ""); /* p + (p-1)/v */
    cr_assert_eq(number_of(rank_of(d, 0), "peak_activation"), 5.5);
    json_decref(d);
}

Test(cli_simulate, mem_w_says_what_w_keeps) {
    const char *csv = "0F0,0I0,0F1,0W0,0I1,0W1\r\n";
    struct scratch scratch = make_scratch();
    char path[128];
    char args[256];
    scratch_write(&scratch, "a.csv", csv, strlen(csv), path);
    const struct {
        const char *ratio;
        double peak;
    } cases[] = {{"1", 2.0}, {"0", 1.0}, {"0.5", 1.5}, {"17/33", 1.0 + 17.0 / 33.0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(args, sizeof args, "simulate --csv %s --stages 1 --mem-w %s", path,
                 cases[i].ratio);
        json_t *d = run_json(args, 0);
        cr_assert_float_eq(number_of(rank_of(d, 0), "peak_activation"), cases[i].peak, 1e-11);
        json_decref(d);
    }
    /* exactly at the limit is fine, a hair below is not */
    snprintf(args, sizeof args, "simulate --csv %s --stages 1 --mem-w 17/33 --memory-limit 50/33",
             path);
    json_decref(run_json(args, 0));
    snprintf(args, sizeof args,
             "simulate --csv %s --stages 1 --mem-w 17/33 --memory-limit 1.515151515", path);
    json_t *d = run_json(args, 1);
    json_t *error = json_object_get(d, "error");
    cr_assert_str_eq(string_of(error, "code"), "E_LIMIT");
    cr_assert_str_eq(string_of(error, "action"), "0F1");
    cr_assert_eq(integer_of(error, "rank"), 0);
    cr_assert_eq(integer_of(d, "makespan_ns"), 6000); /* the document is whole */
    json_decref(d);
    remove_scratch(&scratch);
}

/* The limit is a user's, in shares: no message counts in the units of a generator. */
Test(cli_simulate, a_limit_without_an_order_names_the_rank) {
    static const char *const names[] = {"ZB1P", "ZB2P", "VMin", "VHalf", "VZB", "V1F1B"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char args[160];
        snprintf(args, sizeof args,
                 "simulate --schedule %s --pp 4 --microbatches 8 --mem-w 3/7 --memory-limit 1/2",
                 names[i]);
        expect_error(args, 1, "E_LIMIT", "memory limit of rank 0: no room for");
    }
    expect_error("simulate --schedule PipeOffload --pp 3 --stages-per-rank 3 --microbatches 5 "
                 "--mem-w 3/7 --t-offload 1s --memory-limit 1",
                 1, "E_LIMIT", "it would hold 2.333 whole shares of a microbatch with 0 of its 3");
}

/* ---- transfers to the host ---- */

static double highest_peak(const json_t *d) {
    double most = 0;
    for (size_t r = 0; r < json_array_size(json_object_get(d, "ranks")); r++) {
        double peak = number_of(rank_of(d, r), "peak_activation");
        most = peak > most ? peak : most;
    }
    return most;
}

#define OFFLOADING "--t-f 1600ns --t-i 1600ns --t-w 1600ns "

Test(cli_simulate, offloads_save_memory_and_no_time) {
    json_t *whole = unit_run("PipeOffload", 8, 16, 32, OFFLOADING "--memory-limit 8");
    static const char *const one_way[] = {"", "--t-offload 2400ns", "--t-offload 4800ns"};
    for (size_t i = 0; i < sizeof one_way / sizeof one_way[0]; i++) {
        char more[128];
        snprintf(more, sizeof more, OFFLOADING "%s", one_way[i]);
        json_t *half = unit_run("PipeOffload", 8, 16, 32, more);
        cr_expect_eq(integer_of(half, "makespan_ns"), integer_of(whole, "makespan_ns"), "%s", more);
        cr_expect_leq(highest_peak(half), 0.3 * highest_peak(whole), "%s", more);
        cr_expect_eq(integer_of(rank_of(half, 0), "busy_ns"), 32 * 4800);
        cr_expect_str_eq(string_of(half, "schedule_id"), string_of(whole, "schedule_id"));
        json_decref(half);
    }
    json_decref(whole);
}

Test(cli_simulate, a_memory_limit_makes_more_chunks_leave) {
    json_t *d = unit_run("PipeOffload", 8, 4, 32, "--t-offload 1.5us --memory-limit 1.25");
    cr_expect_leq(highest_peak(d), 1.25);
    json_decref(d);
    expect_error("simulate --schedule PipeOffload --pp 8 --stages-per-rank 4 --microbatches 32 "
                 "--t-offload 1.6us --memory-limit 1.25",
                 1, "E_LIMIT", "3 of its 4 chunks offloaded");
    expect_error("schedule --schedule PipeOffload --pp 8 --stages-per-rank 4 --microbatches 32 "
                 "--memory-limit 0.25",
                 1, "E_LIMIT", "4 of its 4 chunks offloaded");
}

/* ---- schedules from files ---- */

Test(cli_simulate, uneven_placement_shares_by_rank) {
    /* rank 0 holds stages 0 and 1, rank 1 stage 2 */
    const char *csv = "0F0,1F0,1B0,0B0\r\n2F0,2B0\r\n";
    struct scratch scratch = make_scratch();
    char path[128];
    char args[256];
    scratch_write(&scratch, "a.csv", csv, strlen(csv), path);
    snprintf(args, sizeof args, "simulate --csv %s --stages 3", path);
    json_t *d = run_json(args, 0);
    cr_assert_eq(integer_of(d, "makespan_ns"), 2 * 500 + 1000 + 2000 + 2 * 1000);
    cr_assert_eq(integer_of(rank_of(d, 0), "peak_activation"), 1);
    cr_assert_eq(integer_of(rank_of(d, 1), "peak_activation"), 1);
    json_decref(d);
    snprintf(args, sizeof args, "simulate --csv %s --stages 4", path);
    expect_error(args, 3, "E_CSV", "4");
    snprintf(args, sizeof args, "simulate --csv %s --stages 3 --pp 3", path);
    expect_error(args, 3, "E_CSV", "3");
    snprintf(args, sizeof args, "simulate --csv %s --stages 3 --microbatches 2", path);
    expect_error(args, 3, "E_CSV", "");
    snprintf(args, sizeof args, "simulate --csv %s", path);
    expect_error(args, 2, "E_USAGE", "missing --stages");
    static const char *const excluded[][2] = {
        {"--schedule", "1F1B"}, {"--stages-per-rank", "1"}, {"--group", "2"}, {"--slices", "2"}};
    for (size_t i = 0; i < sizeof excluded / sizeof excluded[0]; i++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "--csv and %s exclude", excluded[i][0]);
        snprintf(args, sizeof args, "simulate --csv %s --stages 3 %s %s", path, excluded[i][0],
                 excluded[i][1]);
        expect_error(args, 2, "E_USAGE", wanted);
    }
    remove_scratch(&scratch);
}

Test(cli_simulate, a_pair_runs_as_one_with_t_fb) {
    const char *csv = "0F0,1F0,1B0,(0F1;0B0)OVERLAP_F_B,1F1,1B1,0B1\r\n";
    struct scratch scratch = make_scratch();
    char path[128];
    char args[256];
    scratch_write(&scratch, "a.csv", csv, strlen(csv), path);
    snprintf(args, sizeof args, "simulate --csv %s --stages 2", path);
    json_t *d = run_json(args, 0);
    cr_assert_eq(integer_of(d, "makespan_ns"), 6000);
    json_decref(d);
    snprintf(args, sizeof args, "simulate --csv %s --stages 2 --t-fb 2us", path); /* 1 us of 1.5 */
    d = run_json(args, 0);
    cr_assert_eq(integer_of(d, "makespan_ns"), 5500);
    json_decref(d);
    remove_scratch(&scratch);
}

/* One after the other the backward frees before the forward adds; as one both are held. */
Test(cli_simulate, a_pair_that_runs_as_one_holds_what_both_need) {
    const char *csv = "0F0,0F1,(0B0;0F2)OVERLAP_F_B,0B1,0B2\r\n";
    struct scratch scratch = make_scratch();
    char path[128];
    char args[256];
    scratch_write(&scratch, "a.csv", csv, strlen(csv), path);
    for (int as_one = 0; as_one < 2; as_one++) {
        snprintf(args, sizeof args, "simulate --csv %s --stages 1%s", path,
                 as_one ? " --t-fb 3us" : "");
        json_t *d = run_json(args, 0);
        json_t *rank = json_array_get(json_object_get(d, "ranks"), 0);
        cr_expect_eq(integer_of(rank, "peak_activation"), 2 + as_one);
        json_decref(d);
    }
    remove_scratch(&scratch);
}

Test(cli_simulate, a_deadlock_names_its_cycle) {
    const char *csv = "0F0,0B0,0F1,0B1\r\n1F1,1F0,1B0,1B1\r\n";
    struct scratch scratch = make_scratch();
    char path[128];
    char args[256];
    scratch_write(&scratch, "a.csv", csv, strlen(csv), path);
    snprintf(args, sizeof args, "simulate --csv %s --stages 2", path);
    json_t *d = run_json(args, 3);
    json_t *error = json_object_get(d, "error");
    cr_assert_str_eq(string_of(error, "code"), "E_DEADLOCK");
    expect_member(error, "cycle",
                  "[{\"rank\":0,\"action\":\"0B0\",\"waits_for\":{\"rank\":1,\"action\":\"1B0\"}},"
                  "{\"rank\":1,\"action\":\"1F1\",\"waits_for\":{\"rank\":0,\"action\":\"0F1\"}}]");
    json_decref(d);
    remove_scratch(&scratch);
}

/* ---- cost files ---- */

static void expect_cost_error(const char *text, const char *code, int line, int column,
                              const char *words) {
    struct scratch scratch = make_scratch();
    char path[128];
    char args[256];
    scratch_write(&scratch, "c.csv", text, strlen(text), path);
    snprintf(args, sizeof args, "simulate --schedule 1F1B --pp 2 --microbatches 2 --costs %s",
             path);
    json_t *d = run_json(args, 3);
    json_t *error = json_object_get(d, "error");
    cr_assert_str_eq(string_of(error, "code"), code, "%s", text);
    cr_assert_str_eq(string_of(error, "file"), path);
    cr_assert_eq(integer_of(error, "line"), line, "%s", text);
    cr_assert_eq(integer_of(error, "column"), column, "%s", text);
    cr_assert(strstr(string_of(error, "message"), words) != NULL, "%s: %s", text,
              string_of(error, "message"));
    json_decref(d);
    remove_scratch(&scratch);
}

Test(cli_simulate, cost_file_gives_each_stage_its_own) {
    const char *text = "stage,f,i,w\r\n1, 2us,3000ns ,1\n\n0,1,1.5,0.5us";
    struct scratch scratch = make_scratch();
    char path[128];
    char args[256];
    scratch_write(&scratch, "c.csv", text, strlen(text), path);
    snprintf(args, sizeof args, "simulate --schedule GPipe --pp 2 --microbatches 1 --costs %s",
             path);
    json_t *d = run_json(args, 0);
    cr_assert_eq(integer_of(d, "makespan_ns"), 1000 + 2000 + 4000 + 2000);
    json_decref(d);
    snprintf(args, sizeof args,
             "simulate --schedule GPipe --pp 2 --microbatches 1 --t-w 1 --costs %s", path);
    expect_error(args, 2, "E_USAGE", "--t-w");
    remove_scratch(&scratch);
}

Test(cli_simulate, cost_file_errors_have_line_and_column) {
    expect_cost_error("", "E_CSV", 1, 1, "heading");
    expect_cost_error("stage,f,w,i\n", "E_CSV", 1, 9, "heading");
    expect_cost_error("stage,f,i,w\n0,1,1,1\n", "E_CSV", 2, 1, "stage 1");
    expect_cost_error("stage,f,i,w\n0,1,1,1\n0,1,1,1\n", "E_CSV", 3, 1, "line 2");
    expect_cost_error("stage,f,i,w\n0,1,1,1\n2,1,1,1\n", "E_RANGE", 3, 1, "stage: '2'");
    expect_cost_error("stage,f,i,w\n0,1, soon,1\n", "E_CSV", 2, 6, "i: 'soon'");
    expect_cost_error("stage,f,i,w\n0,1,1,-1\n", "E_RANGE", 2, 7, "negative");
    expect_cost_error("stage,f,i,w\n0,1,1,1000000s\n", "E_RANGE", 2, 7, "1000000s");
    expect_cost_error("stage,f,i,w\n0,1,1\n", "E_CSV", 2, 6, "3 fields");
    expect_cost_error("stage,f,i,w\n0,1,1,1,1\n", "E_CSV", 2, 9, "more than 4");
}

/* ---- odd values ---- */

Test(cli_simulate, refusals) {
#define SIM "simulate --schedule 1F1B --pp 4 --microbatches 8 "
    expect_error(SIM "--t-f 1000000s", 3, "E_RANGE", "F of stage 0");
    expect_error(SIM "--t-p2p 9999999999s", 3, "E_RANGE", "--t-p2p");
    expect_error(SIM "--t-f -1", 3, "E_RANGE", "negative");
    expect_error(SIM "--t-f 1h", 2, "E_USAGE", "ns, us, ms or s");
    expect_error(SIM "--mem-w 3/2", 3, "E_RANGE", "--mem-w");
    expect_error(SIM "--mem-w -0.5", 3, "E_RANGE", "--mem-w");
    expect_error(SIM "--mem-w 1/0", 3, "E_RANGE", "zero");
    expect_error(SIM "--mem-w half", 2, "E_USAGE", "--mem-w");
    expect_error(SIM "--memory-limit x", 2, "E_USAGE", "--memory-limit");
    expect_error(SIM "--memory-limit 3", 1, "E_LIMIT", "rank 0 reach 4");
    expect_error(SIM "--stages 4", 2, "E_USAGE", "--stages-per-rank");
    expect_error(SIM "--costs /dev/null", 3, "E_CSV", "the file is empty");
    expect_error(SIM "--costs /nowhere/costs.csv", 3, "E_FILE", "/nowhere/costs.csv");
    expect_error("simulate --csv /nowhere/x.csv --stages 2", 3, "E_FILE", "/nowhere/x.csv");
    expect_error("simulate --pp 4", 2, "E_USAGE", "missing --schedule");
#undef SIM
    json_t *d = unit_run("1F1B", 4, 0, 8, "--t-f 0 --t-i 0 --t-w 0");
    cr_assert_eq(integer_of(d, "makespan_ns"), 0);
    cr_assert_eq(number_of(d, "bubble_ratio"), 0.0);
    json_decref(d);
}

Test(cli_simulate, text_form) {
    struct ran r = run_plan("simulate --schedule 1F1B --pp 2 --microbatches 2 --t-f 1.5us");
    cr_assert_eq(r.code, 0);
    cr_assert(strstr(text_of(&r.out), "makespan 10.5 us") != NULL, "%s", text_of(&r.out));
    cr_assert(strstr(text_of(&r.out),
                     "   1          7        3.5                         1  1F0") != NULL,
              "%s", text_of(&r.out));
    ran_free(&r);
    r = run_plan("simulate --schedule 1F1B --pp 2 --microbatches 2 --memory-limit 1");
    cr_assert_eq(r.code, 1);
    cr_assert(strstr(text_of(&r.out), "makespan") != NULL);
    cr_assert(strstr(text_of(&r.messages), "E_LIMIT") != NULL);
    ran_free(&r);
}

/* ---- files of which only the name tells that they are two pipelines, or slices ---- */

static void expect_same_from_file(const char *schedule, const char *counts, int stages) {
    struct scratch scratch = make_scratch();
    char path[128];
    char args[512];
    snprintf(args, sizeof args, "schedule --schedule %s %s", schedule, counts);
    struct ran r = run_plan(args);
    cr_assert_eq(r.code, 0, "%s", text_of(&r.messages));
    scratch_write(&scratch, "kind.csv", text_of(&r.out), strlen(text_of(&r.out)), path);
    ran_free(&r);
    snprintf(args, sizeof args, "simulate --schedule %s %s", schedule, counts);
    json_t *named = run_json(args, 0);
    snprintf(args, sizeof args, "simulate --csv %s --stages %d --schedule %s %s", path, stages,
             schedule, counts);
    json_t *read = run_json(args, 0);
    static const char *const members[] = {"makespan_ns", "span_ns", "bubble_ratio", "ranks",
                                          "schedule_id"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        cr_expect(json_equal(json_object_get(named, members[i]), json_object_get(read, members[i])),
                  "%s: %s", schedule, members[i]);
    }
    json_decref(named);
    json_decref(read);
    remove_scratch(&scratch);
}

Test(cli_simulate, a_file_of_two_pipelines_or_slices_is_read_under_its_name) {
    expect_same_from_file("DualPipe", "--pp 4 --microbatches 10", 8);
    expect_same_from_file("Chimera", "--pp 4 --microbatches 6", 8);
    expect_same_from_file("Seq1F1B", "--pp 3 --microbatches 4 --slices 4", 3);
}

Test(cli_simulate, other_names_and_odd_counts_are_refused_with_a_file) {
    static const struct {
        const char *flags;
        int code;
        const char *words;
    } wrong[] = {
        {"--stages 2 --schedule 1F1B", 2, "exclude each other"},
        {"--stages 2 --slices 2", 2, "exclude each other"},
        {"--stages 2 --schedule DualPipe --microbatches 3", 3, "even number"},
        {"--stages 3 --schedule Chimera --microbatches 4", 3, "even number of stages"},
        {"--stages 2 --schedule DualPipe --slices 2", 3, "--slices goes with"},
        {"--stages 2 --schedule Nope", 3, "unknown schedule"},
    };
    struct scratch scratch = make_scratch();
    char path[128];
    static const char csv[] = "0F0,0B0\r\n1F0,1B0\r\n";
    scratch_write(&scratch, "a.csv", csv, strlen(csv), path);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char args[256];
        snprintf(args, sizeof args, "simulate --csv %s %s", path, wrong[i].flags);
        struct ran r = run_plan(args);
        cr_expect_eq(r.code, wrong[i].code, "%s: %s", wrong[i].flags, text_of(&r.messages));
        cr_expect_not_null(strstr(text_of(&r.messages), wrong[i].words), "%s: %s", wrong[i].flags,
                           text_of(&r.messages));
        ran_free(&r);
    }
    remove_scratch(&scratch);
}

/* Ctrl-C while a large schedule is made, lowered or run: no answer after it, at the next part. */
Test(cli_simulate, an_interrupt_ends_it) {
    struct ran r =
        run_shell("timeout --preserve-status -s INT 0.4 \"$P\" simulate --schedule GPipe "
                  "--pp 16 --microbatches 131072 --runtime torch --json; echo $?");
    cr_assert_not_null(strstr(text_of(&r.out), "E_INTERRUPTED"), "%s", text_of(&r.out));
    cr_assert_not_null(strstr(text_of(&r.out), "\n130\n"), "%s", text_of(&r.out));
    ran_free(&r);
}

/* Who asks again later does not wait for the end of a part. */
Test(cli_simulate, a_second_interrupt_ends_it_at_once) {
    struct ran r =
        run_shell("{ \"$P\" simulate --schedule VHalf --pp 64 --microbatches 8192 & p=$!; "
                  "sleep 0.3; kill -TERM $p; sleep 2.2; kill -TERM $p; wait $p; echo "
                  "$?; } 2>&1");
    cr_assert_str_eq(text_of(&r.out), "130\n"); /* not even the line that says so */
    ran_free(&r);
}
