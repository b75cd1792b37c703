/* The engine's rules one by one, on schedules small enough to work the times out by hand. F takes
 * 10, I 12, W 8, B 20 ns unless a case says otherwise, and a byte a ns. */
#include "tests/sim/engine_support.h"

/* ---- messages ---- */

/* A message leaves when its maker ends, moves for its bytes and arrives the latency later. */
Test(engine, bytes_hold_the_lanes_and_latency_the_consumer) {
    run_case(&(struct engine_case){.ranks = 2,
                                   .stages = 2,
                                   .microbatches = 1,
                                   .stage_rank = {0, 1},
                                   .nic = {0, 1},
                                   .latency = 3,
                                   .f_bytes = {0, 5},
                                   .b_bytes = {6},
                                   .rows = {"0F0:0-10 0SEND_F0:10-15 0RECV_B0:48-57 0B0:57-77",
                                            "1RECV_F0:10-18 1F0:18-28 1B0:28-48 1SEND_B0:48-54"}});
}

/* Neither end has to wait for its rank, but the message for both: 1RECV_F1 stands behind 1F0. */
Test(engine, a_rendezvous_waits_for_the_later_gate) {
    run_case(&(struct engine_case){
        .ranks = 2,
        .stages = 2,
        .microbatches = 2,
        .stage_rank = {0, 1},
        .nic = {0, 1},
        .f = {10, 30},
        .f_bytes = {0, 5},
        .rows = {"0F0:0-10 0SEND_F0:10-15 0F1:10-20 0SEND_F1:45-50 0RECV_B0:100-100 0B0:100-120 "
                 "0RECV_B1:120-120 0B1:120-140",
                 "1RECV_F0:10-15 1F0:15-45 1RECV_F1:45-50 1F1:50-80 1B0:80-100 1SEND_B0:100-100 "
                 "1B1:100-120 1SEND_B1:120-120"}});
}

/* A queue is held by a transfer until it has moved, not until it has arrived. */
Test(engine, messages_follow_each_other_at_the_pace_of_their_bytes) {
    run_case(&(struct engine_case){
        .ranks = 2,
        .stages = 2,
        .microbatches = 2,
        .stage_rank = {0, 1},
        .nic = {0, 1},
        .latency = 100,
        .f = {1},
        .f_bytes = {0, 5},
        .rows = {"0F0:0-1 0SEND_F0:1-6 0F1:1-2 0SEND_F1:6-11 0RECV_B0:146-246 0B0:246-266 "
                 "0RECV_B1:266-366 0B1:366-386",
                 "1RECV_F0:1-106 1RECV_F1:6-111 1F0:106-116 1F1:116-126 1B0:126-146 "
                 "1SEND_B0:146-146 1B1:146-166 1SEND_B1:266-266"}});
}

/* ---- queues ---- */

/* 0SEND_F1 stands behind 0RECV_B0: apart, it goes when 1RECV_F1 is there (40: its gate is 1B0); in
 * one queue a pair, when 0RECV_B0 has moved, too (47). */
static const struct engine_case two_ways = {.ranks = 2,
                                            .stages = 2,
                                            .microbatches = 2,
                                            .stage_rank = {0, 1},
                                            .nic = {0, 1},
                                            .f_bytes = {0, 5},
                                            .b_bytes = {7}};

Test(engine, directed_queues_run_side_by_side) {
    struct engine_case c = two_ways;
    c.rows[0] = "0F0:0-10 0SEND_F0:10-15 0RECV_B0:45-52 0F1:10-20 0SEND_F1:45-50 0B0:52-72 "
                "0RECV_B1:80-87 0B1:87-107";
    c.rows[1] = "1RECV_F0:10-15 1F0:15-25 1B0:25-45 1SEND_B0:45-52 1RECV_F1:45-50 1F1:50-60 "
                "1B1:60-80 1SEND_B1:80-87";
    run_case(&c);
}

Test(engine, a_pair_of_ranks_may_share_a_queue) {
    struct engine_case c = two_ways;
    c.runtime.comms.channels = PP_CHANNELS_PAIR;
    c.rows[0] = "0F0:0-10 0SEND_F0:10-15 0RECV_B0:45-52 0F1:10-20 0SEND_F1:52-57 0B0:52-72 "
                "0RECV_B1:87-94 0B1:94-114";
    c.rows[1] = "1RECV_F0:10-15 1F0:15-25 1B0:25-45 1SEND_B0:45-52 1RECV_F1:52-57 1F1:57-67 "
                "1B1:67-87 1SEND_B1:87-94";
    run_case(&c);
}

/* 1RECV_F1 stands before 1SEND_F0 and lasts until 64: with one queue a rank the message to rank 2
 * waits for it. */
static const struct engine_case three_ranks = {.ranks = 3,
                                               .stages = 3,
                                               .microbatches = 2,
                                               .stage_rank = {0, 1, 2},
                                               .nic = {0, 1, 2},
                                               .f = {30, 5, 5},
                                               .f_bytes = {0, 4, 4}};

Test(engine, queues_of_other_pairs_run_side_by_side) {
    struct engine_case c = three_ranks;
    c.runtime.comms.channels = PP_CHANNELS_PAIR;
    c.rows[0] = "0F0:0-30 0SEND_F0:30-34 0F1:30-60 0SEND_F1:60-64 0RECV_B0:118-118 0B0:118-138 "
                "0RECV_B1:138-138 0B1:138-158";
    c.rows[1] = "1RECV_F0:30-34 1F0:34-39 1RECV_F1:60-64 1SEND_F0:39-43 1F1:64-69 1SEND_F1:69-73 "
                "1RECV_B0:98-98 1B0:98-118 1SEND_B0:118-118 1RECV_B1:118-118 1B1:118-138 "
                "1SEND_B1:138-138";
    c.rows[2] = "2RECV_F0:39-43 2F0:43-48 2RECV_F1:69-73 2F1:73-78 2B0:78-98 2SEND_B0:98-98 "
                "2B1:98-118 2SEND_B1:118-118";
    run_case(&c);
}

Test(engine, a_rank_may_have_one_queue) {
    struct engine_case c = three_ranks;
    c.runtime.comms.channels = PP_CHANNELS_RANK;
    c.rows[0] = "0F0:0-30 0SEND_F0:30-34 0F1:30-60 0SEND_F1:60-64 0RECV_B0:122-122 0B0:122-142 "
                "0RECV_B1:142-142 0B1:142-162";
    c.rows[1] = "1RECV_F0:30-34 1F0:34-39 1RECV_F1:60-64 1SEND_F0:64-68 1F1:64-69 1SEND_F1:73-77 "
                "1RECV_B0:102-102 1B0:102-122 1SEND_B0:122-122 1RECV_B1:122-122 1B1:122-142 "
                "1SEND_B1:142-142";
    c.rows[2] = "2RECV_F0:64-68 2F0:68-73 2RECV_F1:73-77 2F1:77-82 2B0:82-102 2SEND_B0:102-102 "
                "2B1:102-122 2SEND_B1:122-122";
    run_case(&c);
}

/* With a place 0SEND_F1 does not wait for rank 1, which is in 1F0; 0SEND_F2 does, for the place. */
Test(engine, a_place_lets_one_message_ahead) {
    run_case(&(struct engine_case){
        .ranks = 2,
        .stages = 2,
        .microbatches = 3,
        .stage_rank = {0, 1},
        .nic = {0, 1},
        .runtime.comms.buffer_count = 1,
        .f = {10, 30},
        .latency = 3,
        .f_bytes = {0, 5},
        .rows = {"0F0:0-10 0SEND_F0:10-15 0F1:10-20 0SEND_F1:20-25 0F2:20-30 0SEND_F2:48-53 "
                 "0RECV_B0:128-131 0B0:131-151 0RECV_B1:151-151 0B1:151-171 0RECV_B2:171-171 "
                 "0B2:171-191",
                 "1RECV_F0:10-18 1F0:18-48 1RECV_F1:48-48 1F1:48-78 1RECV_F2:78-78 1F2:78-108 "
                 "1B0:108-128 1SEND_B0:128-128 1B1:128-148 1SEND_B1:148-148 1B2:148-168 "
                 "1SEND_B2:168-168"}});
}

/* ---- what compute waits for ---- */

/* Gathers one after the other, 4 ns to move and 7 more; reductions 30 and 5. */
static const struct engine_case one_rank = {.ranks = 1,
                                            .stages = 2,
                                            .microbatches = 1,
                                            .unshard_ns = {7, 7},
                                            .unshard_bytes = {4, 4},
                                            .reduce_ns = {5, 5},
                                            .reduce_bytes = {30, 30}};

Test(engine, collectives_run_one_after_the_other_beside_compute) {
    struct engine_case c = one_rank;
    c.rows[0] = "0UNSHARD:0-11 1UNSHARD:11-22 0F0:11-21 1F0:22-32 1B0:32-52 1REDUCE_GRAD:52-87 "
                "1RESHARD:52-52 0B0:52-72 0RESHARD:72-72 0REDUCE_GRAD:87-122";
    run_case(&c);
}

Test(engine, reductions_may_hold_compute_up) {
    struct engine_case c = one_rank;
    c.runtime.reduce_blocks = true;
    c.rows[0] = "0UNSHARD:0-11 1UNSHARD:11-22 0F0:11-21 1F0:22-32 1B0:32-52 1REDUCE_GRAD:52-87 "
                "1RESHARD:52-52 0B0:87-107 0RESHARD:107-107 0REDUCE_GRAD:107-142";
    run_case(&c);
}

Test(engine, trips_to_the_host_hold_up_their_backward) {
    run_case(&(struct engine_case){
        .ranks = 1,
        .stages = 1,
        .microbatches = 2,
        .offload = 30,
        .rows = {"0F0:0-10 0OFFLOAD0:10-40 0F1:10-20 0RELOAD0:40-70 0B1:20-40 0B0:70-90"}});
}

Test(engine, parts_of_a_pair_run_in_order_each_by_its_own_waits) {
    run_case(&(struct engine_case){
        .ranks = 2,
        .stages = 2,
        .microbatches = 2,
        .stage_rank = {0, 1},
        .nic = {0, 1},
        .rows = {"0F0:0-10 0SEND_F0:10-10 0RECV_B0:40-40 (0F1:10-20 0B0:40-60) 0SEND_F1:60-60 "
                 "0RECV_B1:90-90 0B1:90-110",
                 "1RECV_F0:10-10 1F0:10-20 1B0:20-40 1SEND_B0:40-40 1RECV_F1:60-60 1F1:60-70 "
                 "1B1:70-90 1SEND_B1:90-90"}});
}

Test(engine, a_pair_as_one_starts_when_both_parts_could) {
    run_case(&(struct engine_case){
        .ranks = 2,
        .stages = 2,
        .microbatches = 2,
        .stage_rank = {0, 1},
        .nic = {0, 1},
        .pair = 25,
        .rows = {"0F0:0-10 0SEND_F0:10-10 0RECV_B0:40-40 (0F1:40-65 0B0:40-65) 0SEND_F1:65-65 "
                 "0RECV_B1:95-95 0B1:95-115",
                 "1RECV_F0:10-10 1F0:10-20 1B0:20-40 1SEND_B0:40-40 1RECV_F1:65-65 1F1:65-75 "
                 "1B1:75-95 1SEND_B1:95-95"}});
}

/* Compute waits for the SENDs before it, too (0F1, 1F1), and a reduction for the last batch. */
Test(engine, nothing_passes_a_batch) {
    run_case(&(struct engine_case){
        .ranks = 2,
        .stages = 2,
        .microbatches = 2,
        .stage_rank = {0, 1},
        .nic = {0, 1},
        .runtime.batched = true,
        .latency = 3,
        .f_bytes = {0, 5},
        .b_bytes = {7},
        .reduce_ns = {35, 35},
        .rows = {"0F0:0-10 0SEND_F0:10-15 0F1:15-25 0SEND_F1:48-53 0RECV_B0:48-58 0B0:58-78 "
                 "0RECV_B1:86-96 0B1:96-116 0REDUCE_GRAD:116-151",
                 "1RECV_F0:10-18 1F0:18-28 1B0:28-48 1SEND_B0:48-55 1RECV_F1:48-56 1F1:56-66 "
                 "1B1:66-86 1SEND_B1:86-93 1REDUCE_GRAD:93-128"}});
}

/* ---- shared links ---- */

Test(engine, two_flows_share_a_nic) {
    struct engine_case c = {
        .ranks = 2,
        .stages = 2,
        .microbatches = 1,
        .stage_rank = {0, 1},
        .shared = true,
        .unshard_bytes = {100, 100},
        .rows = {"0UNSHARD:0-200 0F0:200-210 0SEND_F0:210-210 0RECV_B0:240-240 0B0:240-260 "
                 "0RESHARD:260-260",
                 "1UNSHARD:0-200 1RECV_F0:210-210 1F0:210-220 1B0:220-240 1SEND_B0:240-240 "
                 "1RESHARD:240-240"}};
    run_case(&c);
    c.collectives_use_port = true; /* each has its own */
    c.rows[0] = "0UNSHARD:0-100 0F0:100-110 0SEND_F0:110-110 0RECV_B0:140-140 0B0:140-160 "
                "0RESHARD:160-160";
    c.rows[1] = "1UNSHARD:0-100 1RECV_F0:110-110 1F0:110-120 1B0:120-140 1SEND_B0:140-140 "
                "1RESHARD:140-140";
    run_case(&c);
}

/* Half the rate each until the smaller is through at 80, then all of it for the 60 that are left.
 */
Test(engine, an_end_moves_when_another_flow_stops) {
    run_case(&(struct engine_case){
        .ranks = 2,
        .stages = 2,
        .microbatches = 1,
        .stage_rank = {0, 1},
        .shared = true,
        .unshard_bytes = {100, 40},
        .rows = {"0UNSHARD:0-140 0F0:140-150 0SEND_F0:150-150 0RECV_B0:180-180 0B0:180-200 "
                 "0RESHARD:200-200",
                 "1UNSHARD:0-80 1RECV_F0:150-150 1F0:150-160 1B0:160-180 1SEND_B0:180-180 "
                 "1RESHARD:180-180"}});
}

/* Ranks 0 and 1 share NIC 0 of 3 bytes a ns, rank 2 has its own. From 0 on 3UNSHARD and 4UNSHARD
 * have 1.5 each and 2UNSHARD 3. At 20 1SEND_F0 joins, out of NIC 0 and into NIC 2: 1, 1 and 1, and
 * 2 for 2UNSHARD. At 50 3UNSHARD is through (30 + 30 bytes): 1.5 for 4UNSHARD and the message, 1.5
 * for 2UNSHARD. At 70 the message is (30 + 30): 3 each. 4UNSHARD has 30 + 30 + 30 of 120 behind it
 * and ends at 80; 2UNSHARD 60 + 60 + 30 of 300, ends at 120. */
Test(engine, four_flows_on_three_links_get_max_min_rates) {
    run_case(&(struct engine_case){
        .ranks = 3,
        .stages = 5,
        .microbatches = 1,
        .stage_rank = {0, 1, 2, 0, 1},
        .node = {0, 0, 1},
        .nic = {0, 0, 2},
        .nic_bytes_per_s = 3 * (int64_t)BYTE_A_NS,
        .shared = true,
        .f_bytes = {0, 0, 60},
        .unshard_bytes = {0, 0, 300, 60, 120},
        .rows = {"0UNSHARD:0-0 3UNSHARD:0-50 0F0:0-10 0SEND_F0:10-10 3RECV_F0:130-130 3F0:130-140 "
                 "3SEND_F0:140-140 3RECV_B0:170-170 3B0:170-190 3SEND_B0:190-190 3RESHARD:190-190 "
                 "0RECV_B0:230-230 0B0:230-250 0RESHARD:250-250",
                 "1UNSHARD:0-0 4UNSHARD:0-80 1RECV_F0:10-10 1F0:10-20 1SEND_F0:20-70 "
                 "4RECV_F0:140-140 4F0:140-150 4B0:150-170 4SEND_B0:170-170 4RESHARD:170-170 "
                 "1RECV_B0:210-210 1B0:210-230 1SEND_B0:230-230 1RESHARD:230-230",
                 "2UNSHARD:0-120 2RECV_F0:20-70 2F0:120-130 2SEND_F0:130-130 2RECV_B0:190-190 "
                 "2B0:190-210 2SEND_B0:210-210 2RESHARD:210-210"}});
}

/* ---- what is refused ---- */

static struct pp_engine *create(const struct engine_case *c, struct pp_sched **sched_p) {
    static struct expected x;
    struct pp_engine *e = NULL;
    struct pp_err err = {0};
    *sched_p = build_case(c, &x);
    cr_assert_eq(pp_engine_create(*sched_p, &c->runtime, &e, NULL, &err), PP_OK, "%s", err.message);
    return e;
}

Test(engine, a_compute_only_schedule_is_refused) {
    struct pp_sched *s = make_schedule("1F1B", 2, 1, 2);
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    struct pp_engine *e = NULL;
    struct pp_err err = {0};
    cr_expect_eq(pp_engine_create(s, &runtime, &e, NULL, &err), PP_E_ARG);
    cr_expect_null(e);
    cr_expect(strstr(err.message, "lowered") != NULL, "%s", err.message);
    pp_sched_destroy(s);
    pp_engine_destroy(NULL);
}

/* Rank 0 would have 0RECV_B0 before 0SEND_F1 in the one queue of the pair, rank 1 the reverse. */
Test(engine, a_deadlock_is_the_one_that_check_finds) {
    struct engine_case c = two_ways;
    static struct expected x;
    c.runtime.comms.channels = PP_CHANNELS_PAIR;
    c.rows[0] = "0F0:0-0 0SEND_F0:0-0 0RECV_B0:0-0 0F1:0-0 0SEND_F1:0-0 0B0:0-0 0RECV_B1:0-0 "
                "0B1:0-0";
    c.rows[1] = "1RECV_F0:0-0 1RECV_F1:0-0 1F0:0-0 1B0:0-0 1SEND_B0:0-0 1F1:0-0 1B1:0-0 "
                "1SEND_B1:0-0";
    struct pp_sched *s = build_case(&c, &x);
    struct pp_engine *e = NULL;
    struct pp_deadlock ours = {0};
    struct pp_deadlock theirs = {0};
    struct pp_err err = {0};
    struct pp_err check_err = {0};
    cr_expect_eq(pp_engine_create(s, &c.runtime, &e, &ours, &err), PP_E_DEADLOCK);
    cr_expect_eq(pp_check_run(s, &c.runtime.comms, &theirs, &check_err), PP_E_DEADLOCK);
    cr_expect_null(e);
    cr_expect_str_eq(err.message, check_err.message);
    cr_assert_eq(ours.wait_count, theirs.wait_count);
    cr_expect_gt(ours.wait_count, 0);
    cr_expect_eq(memcmp(ours.waits, theirs.waits, (size_t)ours.wait_count * sizeof *ours.waits), 0);
    pp_deadlock_deinit(&ours);
    pp_deadlock_deinit(&theirs);
    pp_sched_destroy(s);
}

/* Without batches this runs. With them rank 0 stands with 0SEND_F1 before 0F2, rank 1 with 1SEND_B0
 * before 1W0. */
Test(engine, a_wait_of_batches_only_is_named) {
    struct engine_case c = {
        .ranks = 2,
        .stages = 2,
        .microbatches = 3,
        .stage_rank = {0, 1},
        .nic = {0, 1},
        .rows = {"0F0:0-0 0SEND_F0:0-0 0F1:0-0 0SEND_F1:0-0 0F2:0-0 0SEND_F2:0-0 0RECV_B0:0-0 "
                 "0B0:0-0 0RECV_B1:0-0 0B1:0-0 0RECV_B2:0-0 0B2:0-0",
                 "1RECV_F0:0-0 1F0:0-0 1I0:0-0 1SEND_B0:0-0 1W0:0-0 1RECV_F1:0-0 1F1:0-0 1B1:0-0 "
                 "1SEND_B1:0-0 1RECV_F2:0-0 1F2:0-0 1B2:0-0 1SEND_B2:0-0"}};
    static struct expected x;
    struct pp_sched *s = build_case(&c, &x);
    struct pp_engine *e = NULL;
    struct pp_err err = {0};
    cr_expect_eq(pp_engine_create(s, &c.runtime, &e, NULL, &err), PP_OK, "%s", err.message);
    pp_engine_destroy(e);
    e = NULL;
    c.runtime.batched = true;
    cr_expect_eq(pp_engine_create(s, &c.runtime, &e, NULL, &err), PP_E_DEADLOCK);
    cr_expect_null(e);
    cr_expect(strstr(err.message, "1SEND_B0") != NULL && strstr(err.message, "batch") != NULL, "%s",
              err.message);
    pp_sched_destroy(s);
}

/* One figure of a sound case that is not. */
static void expect_refused(struct pp_engine *e, const struct case_costs *k, struct pp_trace *t,
                           const char *words) {
    struct pp_err err = {0};
    cr_expect_eq(pp_engine_run(e, &k->costs, &k->net, t, &err), PP_E_RANGE, "%s", words);
    cr_expect(strstr(err.message, words) != NULL, "expected %s: %s", words, err.message);
    cr_expect_eq(pp_engine_run_events(e, &k->costs, &k->net, t, NULL, &err), PP_E_RANGE);
}

Test(engine, figures_out_of_range_are_named) {
    struct engine_case c = one_rank;
    struct pp_sched *s;
    struct pp_trace t;
    struct case_costs k;
    c.rows[0] = "0UNSHARD:0-0 1UNSHARD:0-0 0F0:0-0 1F0:0-0 1B0:0-0 1REDUCE_GRAD:0-0 1RESHARD:0-0 "
                "0B0:0-0 0RESHARD:0-0 0REDUCE_GRAD:0-0";
    struct pp_engine *e = create(&c, &s);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    fill_case(&c, &k);
    cr_expect_eq(pp_engine_run(e, &k.costs, &k.net, &t, NULL), PP_OK);
    int64_t bad[2] = {0, -1};
    k.costs.unshard_ns = bad;
    expect_refused(e, &k, &t, "UNSHARD of stage 1: got -1 ns");
    bad[1] = PP_COST_MAX_NS + 1;
    k.costs.unshard_ns = c.unshard_ns;
    k.costs.reduce_ns = bad;
    expect_refused(e, &k, &t, "REDUCE_GRAD of stage 1: got 274877906945 ns");
    k.costs.reduce_ns = c.reduce_ns;
    bad[1] = PP_TRANSFER_MAX_BYTES + 1;
    k.costs.reduce_bytes = bad;
    expect_refused(e, &k, &t, "REDUCE_GRAD of stage 1: got 70368744177665 bytes");
    k.costs.reduce_bytes = c.reduce_bytes;
    k.f[1] = -5;
    expect_refused(e, &k, &t, "F of stage 1: got -5 ns");
    k.f[1] = 10;
    k.net.nic_bytes_per_s = 0;
    expect_refused(e, &k, &t, "NIC: got 0 bytes/s");
    pp_trace_deinit(&t);
    pp_engine_destroy(e);
    pp_sched_destroy(s);
}

/* INT64_MAX / 4 is 2305843009213693951: four times 576460752 s to move, 60 ns of compute, 5 + 5 + 7
 * of fixed times and what one gather takes besides. */
Test(engine, the_clock_has_room_for_all_together) {
    struct engine_case c = one_rank;
    struct pp_sched *s;
    struct pp_trace t;
    struct case_costs k;
    c.rows[0] = "0UNSHARD:0-0 1UNSHARD:0-0 0F0:0-0 1F0:0-0 1B0:0-0 1REDUCE_GRAD:0-0 1RESHARD:0-0 "
                "0B0:0-0 0RESHARD:0-0 0REDUCE_GRAD:0-0";
    struct pp_engine *e = create(&c, &s);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    fill_case(&c, &k);
    int64_t bytes[2] = {576460752, 576460752};
    int64_t unshard_ns[2] = {1213693951 - 60 - 17, 7};
    k.costs.unshard_bytes = k.costs.reduce_bytes = bytes;
    k.costs.unshard_ns = unshard_ns;
    k.net.nic_bytes_per_s = 1;
    for (int shared = 0; shared < 2; shared++) {
        k.net.shared = shared == 1;
        cr_expect_eq(pp_engine_run(e, &k.costs, &k.net, &t, NULL), PP_OK);
        cr_expect_eq(t.end_ns[9], t.start_ns[9] + 576460752000000005);
        unshard_ns[0]++;
        expect_refused(e, &k, &t, "all durations together");
        unshard_ns[0]--;
        bytes[1] = PP_TRANSFER_MAX_BYTES;
        expect_refused(e, &k, &t, "all durations together");
        bytes[1] = 576460752;
    }
    pp_trace_deinit(&t);
    pp_engine_destroy(e);
    pp_sched_destroy(s);
}

Test(engine, every_type_has_a_lane_and_every_runtime_a_name) {
    cr_expect_str_eq(pp_lane_text(pp_lane_of(PP_W)), "compute");
    cr_expect_str_eq(pp_lane_text(pp_lane_of(PP_SEND_B)), "send");
    cr_expect_str_eq(pp_lane_text(pp_lane_of(PP_RECV_F)), "receive");
    cr_expect_str_eq(pp_lane_text(pp_lane_of(PP_RESHARD)), "collective");
    cr_expect_str_eq(pp_lane_text(pp_lane_of(PP_RELOAD)), "host");
    cr_expect_str_eq(pp_runtime_text(PP_RUNTIME_MEGATRON), "megatron");
    cr_expect(pp_runtime_of(PP_RUNTIME_MEGATRON).batched);
    cr_expect(!pp_runtime_of(PP_RUNTIME_OURS).batched);
    cr_expect_eq(pp_runtime_of(PP_RUNTIME_TORCH).comms.channels, PP_CHANNELS_PAIR);
    cr_expect(pp_runtime_of(PP_RUNTIME_TORCH).reduce_blocks);
}

/* ---- bindings ---- */

static int32_t find(const struct pp_sched *s, enum pp_action_type type, int32_t stage, int32_t mb) {
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        if (a->type == type && a->stage == stage && a->microbatch == mb) {
            return at;
        }
    }
    return -1;
}

/* The messages of messages_follow_each_other_..., where 0SEND_F1 is held by 0SEND_F0 (6), 1RECV_F1
 * by 1RECV_F0, which is released when 0SEND_F0 ends and itself ends 100 later, 1F0 by 1RECV_F0, and
 * 0RECV_B0 by 1B0, the gate of its sender. */
Test(engine, a_start_is_bound_by_what_ended_last) {
    struct engine_case c = {
        .ranks = 2,
        .stages = 2,
        .microbatches = 2,
        .stage_rank = {0, 1},
        .nic = {0, 1},
        .latency = 100,
        .f = {1},
        .f_bytes = {0, 5},
        .rows = {"0F0:0-0 0SEND_F0:0-0 0F1:0-0 0SEND_F1:0-0 0RECV_B0:0-0 0B0:0-0 0RECV_B1:0-0 "
                 "0B1:0-0",
                 "1RECV_F0:0-0 1RECV_F1:0-0 1F0:0-0 1F1:0-0 1B0:0-0 1SEND_B0:0-0 1B1:0-0 "
                 "1SEND_B1:0-0"}};
    struct pp_sched *s;
    struct pp_trace t;
    struct case_costs k;
    struct pp_engine *e = create(&c, &s);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    fill_case(&c, &k);
    cr_assert_eq(pp_engine_run(e, &k.costs, &k.net, &t, NULL), PP_OK);
    const struct {
        enum pp_action_type type;
        int32_t stage, microbatch;
        enum pp_action_type by;
        int32_t by_stage, by_microbatch;
    } rows[] = {{PP_SEND_F, 0, 0, PP_F, 0, 0},      {PP_RECV_F, 1, 0, PP_F, 0, 0},
                {PP_SEND_F, 0, 1, PP_SEND_F, 0, 0}, {PP_RECV_F, 1, 1, PP_SEND_F, 0, 0},
                {PP_F, 1, 0, PP_RECV_F, 1, 0},      {PP_F, 1, 1, PP_F, 1, 0},
                {PP_RECV_B, 0, 0, PP_B, 1, 0},      {PP_B, 0, 0, PP_RECV_B, 0, 0},
                {PP_SEND_B, 1, 1, PP_B, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int32_t at = find(s, rows[i].type, rows[i].stage, rows[i].microbatch);
        cr_expect_eq(pp_engine_binding(e, &t, at).action,
                     find(s, rows[i].by, rows[i].by_stage, rows[i].by_microbatch), "row %zu", i);
    }
    cr_expect_eq(pp_engine_binding(e, &t, find(s, PP_F, 0, 0)).action, -1);
    pp_trace_deinit(&t);
    pp_engine_destroy(e);
    pp_sched_destroy(s);
}
