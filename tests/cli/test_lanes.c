/* `simulate` with communication: lanes, links, data-parallel traffic, steps of several flushes. */
#include "tests/cli/run.h"

#define GPIPE2 "simulate --schedule GPipe --pp 2 --microbatches 1 "
#define UNIT 1000

static json_int_t makespan_of(const char *args) {
    json_t *d = run_json(args, 0);
    json_int_t makespan = integer_of(d, "makespan_ns");
    json_decref(d);
    return makespan;
}

/* Every rank's causes sum to its idle time, and the totals to the ranks'. */
static void expect_causes_sum(const json_t *d) {
    const json_t *total = json_object_get(d, "idle_causes");
    const json_t *ranks = json_object_get(d, "ranks");
    const char *cause;
    json_t *value;
    json_object_foreach((json_t *)total, cause, value) {
        json_int_t sum = 0;
        for (size_t r = 0; r < json_array_size(ranks); r++) {
            sum += integer_of(json_object_get(json_array_get(ranks, r), "idle_causes"), cause);
        }
        cr_assert_eq(json_integer_value(value), sum, "%s", cause);
    }
    for (size_t r = 0; r < json_array_size(ranks); r++) {
        const json_t *rank = json_array_get(ranks, r);
        json_int_t sum = 0;
        json_object_foreach(json_object_get(rank, "idle_causes"), cause, value) {
            cr_assert_geq(json_integer_value(value), 0);
            sum += json_integer_value(value);
        }
        cr_assert_eq(sum, integer_of(rank, "idle_ns"), "rank %zu", r);
    }
}

static json_int_t cause_of(const json_t *d, const char *cause) {
    return integer_of(json_object_get(d, "idle_causes"), cause);
}

/* ---- transfers ---- */

Test(cli_lanes, latency_alone_is_what_it_is_without_lanes) {
    cr_assert_eq(makespan_of(GPIPE2 "--t-p2p 100ns"), 6 * UNIT + 200);
    cr_assert_eq(makespan_of(GPIPE2 "--t-p2p 100ns --runtime ours"), 6 * UNIT + 200);
}

Test(cli_lanes, bytes_take_their_time_on_the_link) {
    cr_assert_eq(makespan_of(GPIPE2 "--p2p-bytes 1000 --link-bandwidth 1GB/s"), 6 * UNIT + 2000);
    cr_assert_eq(makespan_of(GPIPE2 "--p2p-bytes 1000 --link-bandwidth 3GB/s"),
                 6 * UNIT + 2 * 334); /* 333 1/3, rounded up */
    /* between nodes the NIC counts, within one it does not */
    cr_assert_eq(makespan_of(GPIPE2 "--p2p-bytes 1000 --link-bandwidth 1GB/s --nic-bandwidth "
                                    "500MB/s --ranks-per-node 1"),
                 6 * UNIT + 4000);
    cr_assert_eq(makespan_of(GPIPE2 "--p2p-bytes 1000 --link-bandwidth 1GB/s --nic-bandwidth "
                                    "500MB/s --ranks-per-node 2"),
                 6 * UNIT + 2000);
}

Test(cli_lanes, a_machine_brings_its_links) {
    json_t *d = run_json(GPIPE2 "--hardware h100-sxm --p2p-bytes 64MiB", 0);
    cr_assert_gt(integer_of(d, "makespan_ns"), 6 * UNIT + 2 * 100000);
    cr_assert_gt(cause_of(d, "p2p_ns"), 0);
    json_decref(d);
    cr_assert_lt(makespan_of(GPIPE2 "--hardware h100-sxm --p2p-bytes 64MiB"),
                 makespan_of(GPIPE2 "--hardware h100-sxm --p2p-bytes 64MiB --ranks-per-node 1"));
}

/* ---- links that are shared ---- */

/* Rank 1's last gradient message and its reduction leave by one NIC at one moment, 1 us each alone.
 */
#define REDUCE_BESIDE_P2P                                                                          \
    GPIPE2 "--ranks-per-node 1 --link-bandwidth 1GB/s --p2p-bytes 1000 --reduce-bytes 1000 "

Test(cli_lanes, a_reduction_slows_the_message_beside_it) {
    cr_assert_eq(makespan_of(REDUCE_BESIDE_P2P "--exclusive-links"), 9 * UNIT);
    cr_assert_eq(makespan_of(REDUCE_BESIDE_P2P), 10 * UNIT);
    /* within the node the collective has a port of its own */
    cr_assert_eq(makespan_of(REDUCE_BESIDE_P2P "--collectives-in-node"), 9 * UNIT);
}

/* ---- runtimes ---- */

Test(cli_lanes, a_batched_runtime_overlaps_nothing) {
    const char *costs = "simulate --schedule 1F1B --pp 4 --microbatches 12 --p2p-bytes 400 "
                        "--link-bandwidth 1GB/s --runtime ";
    char args[256];
    json_int_t makespan[3];
    const char *const runtimes[] = {"ours", "torch", "megatron"};
    for (int i = 0; i < 3; i++) {
        snprintf(args, sizeof args, "%s%s", costs, runtimes[i]);
        json_t *d = run_json(args, 0);
        makespan[i] = integer_of(d, "makespan_ns");
        expect_causes_sum(d);
        cr_assert_gt(cause_of(d, "p2p_ns"), 0);
        cr_assert_str_eq(string_of(json_object_get(d, "communication"), "runtime"), runtimes[i]);
        json_decref(d);
    }
    cr_assert_leq(makespan[0], makespan[1]);
    cr_assert_lt(makespan[0], makespan[2]);
}

Test(cli_lanes, pytorchs_runtime_gathers_and_reduces_as_asked) {
    static const char *const asks[] = {"--reshard-after-forward", "--reduce microbatch",
                                       "--reduce flush --flushes 2"};
    char args[256];
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        snprintf(args, sizeof args,
                 "simulate --schedule 1F1B --pp 4 --microbatches 8 --t-unshard 1us --t-reduce 1us "
                 "--runtime torch %s",
                 asks[i]);
        json_t *d = run_json(args, 0);
        const json_t *ways = json_object_get(d, "communication");
        cr_assert_str_eq(string_of(ways, "lowering"), "torch", "%s", asks[i]);
        cr_assert_str_eq(string_of(ways, "channels"), "pair", "%s", asks[i]);
        expect_causes_sum(d);
        json_decref(d);
    }
}

Test(cli_lanes, an_order_that_hangs_by_its_channels_gets_a_hint) {
    const char *base = "simulate --pp 4 --microbatches 8 ";
    char args[256];
    snprintf(args, sizeof args, "%s --schedule 1F1B --channels pair", base);
    expect_error(args, 3, "E_DEADLOCK", "--lowering torch");
    snprintf(args, sizeof args, "%s --schedule Interleaved1F1B --runtime megatron", base);
    json_decref(run_json(args, 0));
    strcat(args, " --lowering ours");
    expect_error(args, 3, "E_DEADLOCK", "--lowering batched");
}

/* ---- causes ---- */

/* The input of an F comes a transfer after it was made; until then it is not memory that it lacks.
 */
Test(cli_lanes, the_cause_memory_knows_transfers_and_lanes) {
    const char *args = "simulate --schedule VHalf --pp 4 --microbatches 8 --memory-limit 3 "
                       "--t-p2p 500ns --t-f 3us";
    char on_lanes[256];
    snprintf(on_lanes, sizeof on_lanes, "%s --comms buffered:1000", args);
    json_t *plain = run_json(args, 0);
    json_t *lanes = run_json(on_lanes, 0);
    cr_assert_eq(cause_of(plain, "memory_ns"), 1000);
    cr_assert(json_equal(json_object_get(plain, "ranks"), json_object_get(lanes, "ranks")));
    json_decref(plain);
    json_decref(lanes);
}

/* ---- data-parallel traffic ---- */

Test(cli_lanes, parameters_are_gathered_before_their_first_use) {
    /* each rank gathers for 500 ns before its F; rank 1's gather hides behind rank 0's F */
    json_t *d = run_json(GPIPE2 "--t-unshard 500ns", 0);
    cr_assert_eq(integer_of(d, "makespan_ns"), 500 + 6 * UNIT);
    cr_assert_eq(cause_of(d, "collective_ns"), 500 + 500); /* rank 1 waits for rank 0's gather */
    json_decref(d);
}

Test(cli_lanes, gradients_are_reduced_as_often_as_asked) {
    const char *base = "simulate --schedule 1F1B --pp 2 --microbatches 4 --flushes 2 --t-reduce "
                       "5us --reduce ";
    char args[256];
    json_int_t actions[3];
    const char *const words[] = {"step", "flush", "microbatch"};
    for (int i = 0; i < 3; i++) {
        snprintf(args, sizeof args, "%s%s", base, words[i]);
        json_t *d = run_json(args, 0);
        actions[i] = integer_of(json_object_get(d, "communication"), "actions");
        expect_causes_sum(d);
        json_decref(d);
    }
    cr_assert_eq(actions[1] - actions[0], 2);     /* one more of each of two stages */
    cr_assert_eq(actions[2] - actions[0], 2 * 7); /* eight instead of one */
}

Test(cli_lanes, parameters_freed_after_use_are_gathered_again) {
    json_int_t kept =
        makespan_of("simulate --schedule 1F1B --pp 2 --microbatches 4 --t-unshard 1us");
    json_int_t freed = makespan_of("simulate --schedule 1F1B --pp 2 --microbatches 4 --t-unshard "
                                   "1us --reshard-after-forward");
    cr_assert_gt(freed, kept);
}

/* ---- steps ---- */

Test(cli_lanes, flushes_follow_each_other_without_a_barrier) {
    /* rank 0 of GPipe is the last to end and the first to begin: 2 flushes are 2 makespans */
    cr_assert_eq(makespan_of("simulate --schedule GPipe --pp 4 --microbatches 8 --flushes 2"),
                 2 * 3 * UNIT * (8 + 3));
    /* ZB-H2 ends in a slant and goes on in it: span, not makespan, for all flushes but one */
    json_t *one = run_json("simulate --schedule ZBH2 --pp 4 --microbatches 12", 0);
    json_t *two = run_json("simulate --schedule ZBH2 --pp 4 --microbatches 12 --flushes 2", 0);
    cr_assert_eq(integer_of(two, "makespan_ns"),
                 integer_of(one, "makespan_ns") + integer_of(one, "span_ns"));
    expect_causes_sum(two);
    json_decref(one);
    json_decref(two);
}

Test(cli_lanes, the_optimizer_ends_the_step) {
    json_t *d = run_json(GPIPE2 "--t-optimizer 3us", 0);
    cr_assert_eq(integer_of(d, "makespan_ns"), 6 * UNIT);
    cr_assert_eq(integer_of(d, "step_ns"), 9 * UNIT);
    json_decref(d);
}

Test(cli_lanes, without_a_barrier_steps_keep_their_slant) {
    json_t *d = run_json("simulate --schedule ZBH2 --pp 4 --microbatches 12 --t-optimizer 2us "
                         "--no-barrier",
                         0);
    cr_assert_eq(integer_of(d, "step_ns"), integer_of(d, "makespan_ns") + 2 * UNIT);
    cr_assert_eq(integer_of(d, "pace_ns"), integer_of(d, "span_ns") + 2 * UNIT);
    json_decref(d);
    expect_error(GPIPE2 "--no-barrier --runtime ours", 2, "E_USAGE", "--no-barrier");
}

/* ---- causes and the critical path ---- */

Test(cli_lanes, a_pipeline_of_equal_stages_fills_and_drains) {
    json_t *d = run_json("simulate --schedule GPipe --pp 4 --microbatches 8", 0);
    expect_causes_sum(d);
    json_int_t idle = 4 * 3 * 3 * UNIT; /* (p - 1) (F + B) of each rank */
    cr_assert_eq(cause_of(d, "fill_ns") + cause_of(d, "drain_ns"), idle);
    json_decref(d);
}

Test(cli_lanes, the_critical_path_has_no_holes) {
    json_t *d = run_json("simulate --schedule Interleaved1F1B --pp 4 --microbatches 8 --p2p-bytes "
                         "300 --link-bandwidth 1GB/s --critical-path 100000",
                         0);
    const json_t *path = json_object_get(d, "critical_path");
    size_t n = json_array_size(path);
    cr_assert_gt(n, 10);
    json_int_t end = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(path, i);
        cr_assert_eq(integer_of(row, "start_ns"), end, "entry %zu", i);
        end = integer_of(row, "end_ns");
    }
    cr_assert_eq(end, integer_of(d, "makespan_ns"));
    json_decref(d);
    d = run_json("simulate --schedule 1F1B --pp 4 --microbatches 8 --critical-path 3", 0);
    cr_assert_eq(json_array_size(json_object_get(d, "critical_path")), 3);
    json_decref(d);
}

Test(cli_lanes, text_says_the_same) {
    struct ran r = run_plan("simulate --schedule 1F1B --pp 2 --microbatches 2 --t-p2p 100ns "
                            "--runtime torch --explain --critical-path 4 --flushes 2");
    cr_assert_eq(r.code, 0, "%s", text_of(&r.messages));
    const char *const words[] = {
        "on lanes as runtime torch", "idle: ",           "idle (us) of rank", "p2p",
        "critical path: ",           "step of 2 flushes"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        cr_assert_not_null(strstr(text_of(&r.out), words[i]), "%s in\n%s", words[i],
                           text_of(&r.out));
    }
    ran_free(&r);
}

Test(cli_lanes, nobody_is_idle_where_there_is_one_rank) {
    struct ran r =
        run_plan("simulate --schedule GPipe --pp 1 --microbatches 1 --t-f 0 --t-i 0 --t-w "
                 "0 --explain --critical-path 3");
    cr_assert_eq(r.code, 0, "%s", text_of(&r.messages));
    cr_assert_not_null(strstr(text_of(&r.out), "\n\nno rank is ever idle\n"), "%s",
                       text_of(&r.out));
    cr_assert_not_null(strstr(text_of(&r.out), "critical path: 1 action, all 1"), "%s",
                       text_of(&r.out));
    ran_free(&r);
}

/* ---- nonsense ---- */

Test(cli_lanes, nonsense_is_refused) {
    expect_error(GPIPE2 "--runtime nemo", 2, "E_USAGE", "megatron");
    expect_error(GPIPE2 "--p2p-bytes 10", 2, "E_USAGE", "--p2p-bytes needs links");
    expect_error(GPIPE2 "--ranks-per-node 1", 2, "E_USAGE", "--ranks-per-node needs links");
    expect_error(GPIPE2 "--collectives-in-node --t-reduce 1us", 2, "E_USAGE", "needs links");
    expect_error(GPIPE2 "--p2p-bytes -1 --link-bandwidth 1GB/s", 3, "E_RANGE", "--p2p-bytes");
    expect_error(GPIPE2 "--p2p-bytes 9999999GiB --link-bandwidth 1GB/s", 3, "E_RANGE",
                 "--p2p-bytes");
    expect_error(GPIPE2 "--link-bandwidth 0GB/s", 3, "E_RANGE", "--link-bandwidth");
    expect_error(GPIPE2 "--link-bandwidth 10", 2, "E_USAGE", "--link-bandwidth");
    expect_error(GPIPE2 "--hardware tractor", 3, "E_HARDWARE", "tractor");
    expect_error(GPIPE2 "--reduce sometimes", 2, "E_USAGE", "--reduce");
    expect_error(GPIPE2 "--lowering megatron", 2, "E_USAGE", "batched");
    expect_error(GPIPE2 "--comms buffered", 2, "E_USAGE", "--comms");
    expect_error(GPIPE2 "--ranks-per-node 0", 3, "E_RANGE", "--ranks-per-node");
    expect_error(GPIPE2 "--flushes 2000000", 3, "E_RANGE", "--flushes");
    /* 2^46 bytes at a byte a second: 2 million years */
    expect_error(GPIPE2 "--p2p-bytes 65536GiB --link-bandwidth 1B/s", 3, "E_RANGE", "");
}
