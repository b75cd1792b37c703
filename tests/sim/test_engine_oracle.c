/* The engine against a second, slow and obvious implementation of the same words, on random
 * schedules. PP_TEST_FULL=1 asks for a million of them. */
#include "sim/eval.h"
#include "tests/sim/engine_oracle.h"
#include "tests/sim/random_lowered.h"

static struct eo oracle;
static struct lowered_case drawn;

static int64_t cases(int64_t usual, int64_t full) {
    return (getenv("PP_TEST_FULL") != NULL ? full : usual) / CASE_STEP;
}

static void ask_oracle(const struct lowered_case *c, bool whole_ns) {
    oracle.s = c->lowered;
    oracle.runtime = c->runtime;
    oracle.costs = &c->costs;
    oracle.net = c->net;
    oracle.whole_ns = whole_ns;
}

/* Case `n`: everything follows from its number. */
static uint64_t draw_case(struct lowered_case *c, int64_t n, uint64_t salt,
                          const struct draw_limits *most) {
    uint64_t seed = (uint64_t)n * 0x2545f4914f6cdd1du + salt;
    draw_lowered(c, &seed, most);
    c->runtime = draw_runtime(&seed);
    draw_engine_costs(c, &seed);
    draw_network(c, &seed);
    c->net = random_below(&seed, 3) == 0 ? NULL : &c->network;
    return seed;
}

static const struct draw_limits small = {.ranks = 4, .more_stages = 3, .microbatches = 3};

/* ---- the oracle itself ---- */

/* Without batches the engine's model stands still exactly where sim/check.h's does. */
Test(engine_oracle, finds_the_deadlocks_of_check) {
    int64_t stuck = 0;
    int64_t whole = 0;
    for (int64_t n = 0; n < cases(6000, 60000); n++) {
        draw_case(&drawn, n, 11, &small);
        drawn.runtime.batched = false;
        drawn.net = NULL;
        ask_oracle(&drawn, true);
        bool runs = eo_run(&oracle);
        struct pp_err err = {0};
        enum pp_status status = pp_check_run(drawn.lowered, &drawn.runtime.comms, NULL, &err);
        cr_assert_eq(status, runs ? PP_OK : PP_E_DEADLOCK, "case %ld: %s", (long)n, err.message);
        stuck += !runs;
        whole += runs;
        lowered_case_deinit(&drawn);
    }
    cr_assert(stuck > 0 && whole > 0);
    cr_log_info("%ld deadlocks, %ld run", (long)stuck, (long)whole);
}

/* With nothing but latencies and places enough its compute actions are those of pp_eval. */
Test(engine_oracle, has_the_times_of_eval_where_nothing_is_in_the_way) {
    int64_t actions = 0;
    for (int64_t n = 0; n < cases(4000, 40000); n++) {
        draw_case(&drawn, n, 12, &small);
        drawn.runtime = (struct pp_runtime){.comms.buffer_count = 100};
        drawn.costs.message_f_bytes = drawn.costs.message_b_bytes = NULL;
        drawn.costs.unshard_ns = drawn.costs.reduce_ns = NULL;
        drawn.costs.unshard_bytes = drawn.costs.reduce_bytes = NULL;
        drawn.costs.compute.pair_ns = drawn.pair; /* else SENDs of a first part wait for both */
        struct pp_eval *e = NULL;
        struct pp_trace t;
        cr_assert_eq(pp_eval_create(drawn.order, &e, NULL, NULL), PP_OK);
        cr_assert_eq(pp_trace_init(&t, drawn.order, NULL), PP_OK);
        cr_assert_eq(pp_eval_run(e, &drawn.costs.compute, &t, NULL), PP_OK);
        ask_oracle(&drawn, true);
        bool runs = eo_run(&oracle);
        int32_t next = 0;
        for (int32_t at = 0; runs && !drawn.disturbed && at < drawn.lowered->action_count; at++) {
            const struct pp_action *a = &drawn.lowered->actions[at];
            if (pp_action_is_compute(a) || pp_action_is_offload(a)) {
                const struct pp_action *b = &drawn.order->actions[next];
                cr_assert(a->type == b->type && a->stage == b->stage);
                cr_assert(exact_equal(oracle.start[at], exact_of(t.start_ns[next])) &&
                              exact_equal(oracle.end[at], exact_of(t.end_ns[next])),
                          "case %ld action %d", (long)n, at);
                next++;
                actions++;
            }
        }
        cr_assert(runs || drawn.disturbed);
        pp_trace_deinit(&t);
        pp_eval_destroy(e);
        lowered_case_deinit(&drawn);
    }
    cr_log_info("%ld actions", (long)actions);
}

/* Five ranks, a NIC each: 0 sends to 1 and 2, 3 and 4 send to 2. What comes in at 2 is shared by
 * three; what 0 has left goes to 1. */
Test(engine_oracle, shares_as_the_book_does) {
    static const int32_t from[] = {0, 0, 3, 4};
    static const int32_t to[] = {1, 2, 2, 2};
    static const int64_t third[] = {2, 1, 1, 1};
    struct pp_sched *s = make_schedule("GPipe", 5, 1, 1);
    struct pp_network net = {.port_bytes_per_s = 1, .nic_bytes_per_s = 900};
    oracle.s = s;
    oracle.net = &net;
    oracle.transfer_count = 4;
    for (int32_t k = 0; k < 4; k++) {
        oracle.transfers[k] =
            (struct eo_transfer){.state = EO_MOVING, .links = {10 + from[k], 15 + to[k]}};
    }
    eo_share(&oracle);
    for (int32_t k = 0; k < 4; k++) {
        cr_assert(exact_equal(oracle.transfers[k].rate, exact_of(300 * third[k])));
    }
    pp_sched_destroy(s);
}

/* ---- the engine against it ---- */

struct tally {
    int64_t cases, deadlocks, actions, events, apart, lost;
    int64_t whole;         /* of those with events: equal where only ends are rounded */
    struct exact farthest; /* from the times without rounding */
    bool slow_links;
};

typedef enum pp_status engine_run(struct pp_engine *e, struct pp_trace *t, struct pp_err *err);

static enum pp_status run_any(struct pp_engine *e, struct pp_trace *t, struct pp_err *err) {
    return pp_engine_run(e, &drawn.costs, drawn.net, t, err);
}

static enum pp_status run_events(struct pp_engine *e, struct pp_trace *t, struct pp_err *err) {
    int64_t count = 0;
    enum pp_status status = pp_engine_run_events(e, &drawn.costs, drawn.net, t, &count, err);
    cr_assert(count >= 0 && count <= 2 * drawn.lowered->action_count);
    return status;
}

static void expect_time(int64_t n, int32_t at, const char *what, int64_t got, struct exact want) {
    char text[PP_ACTION_TEXT_BYTES];
    if (!exact_equal(exact_of(got), want)) {
        cr_assert_fail("case %ld: %s of action %d (%s): got %ld, need %ld", (long)n, what, at,
                       pp_action_text(&drawn.lowered->actions[at], text), (long)got,
                       (long)(want.num / want.den));
    }
}

static bool equal_times(const struct pp_trace *t) {
    for (int32_t at = 0; at < drawn.lowered->action_count; at++) {
        if (!exact_equal(exact_of(t->start_ns[at]), oracle.start[at]) ||
            !exact_equal(exact_of(t->end_ns[at]), oracle.end[at])) {
            return false;
        }
    }
    return true;
}

/* To the nanosecond. */
static void expect_times(int64_t n, const struct pp_trace *t) {
    for (int32_t at = 0; at < drawn.lowered->action_count; at++) {
        expect_time(n, at, "start", t->start_ns[at], oracle.start[at]);
        expect_time(n, at, "end", t->end_ns[at], oracle.end[at]);
    }
}

/* How far rates that are told in 2^-16 byte a second may be off in that time: nothing to speak of
 * but where links are absurdly slow. */
static struct exact rate_errors(struct exact time) {
    const struct pp_network *net = drawn.net;
    int64_t slowest =
        net->port_bytes_per_s < net->nic_bytes_per_s ? net->port_bytes_per_s : net->nic_bytes_per_s;
    int64_t sharers = oracle.transfer_count;
    return exact_ceil(exact_mul(time, exact_ratio(sharers * sharers, (__int128)slowest * 65536)));
}

/* As far from times without any rounding as there were events, at most. */
static void expect_near(int64_t n, const struct pp_trace *t, struct tally *tally) {
    ask_oracle(&drawn, false);
    cr_assert(eo_run(&oracle) || exact_lost);
    if (exact_lost) {
        tally->lost++;
        return;
    }
    for (int32_t at = 0; at < drawn.lowered->action_count; at++) {
        struct exact off = exact_sub(exact_of(t->end_ns[at]), oracle.end[at]);
        off.num = off.num < 0 ? -off.num : off.num;
        struct exact most = exact_of(oracle.event_count);
        if (tally->slow_links) {
            most = exact_add(most, rate_errors(oracle.end[at]));
        }
        if (exact_less(most, off)) {
            cr_assert_fail("case %ld: action %d is more than %ld ns off", (long)n, at,
                           (long)oracle.event_count);
        }
        tally->farthest = exact_later(tally->farthest, off);
    }
    tally->apart++;
}

static void compare(int64_t n, struct tally *tally) {
    static engine_run *const runs[] = {run_any, run_events};
    static int64_t first[EO_ACTIONS];
    struct pp_engine *e = NULL;
    struct pp_err err = {0};
    ask_oracle(&drawn, true);
    bool goes = eo_run(&oracle);
    cr_assert_not(exact_lost);
    enum pp_status status = pp_engine_create(drawn.lowered, &drawn.runtime, &e, NULL, &err);
    cr_assert_eq(status, goes ? PP_OK : PP_E_DEADLOCK, "case %ld: %s", (long)n, err.message);
    tally->cases++;
    if (!goes) {
        tally->deadlocks++;
        return;
    }
    struct pp_trace t;
    cr_assert_eq(pp_trace_init(&t, drawn.lowered, NULL), PP_OK);
    for (size_t k = 0; k < 2; k++) {
        cr_assert_eq(runs[k](e, &t, &err), PP_OK, "case %ld: %s", (long)n, err.message);
        if (oracle.event_count == 0) {
            expect_times(n, &t);
        } else if (k == 0) {
            memcpy(first, t.end_ns, (size_t)drawn.lowered->action_count * sizeof *first);
        } else {
            size_t bytes = (size_t)drawn.lowered->action_count * sizeof *first;
            cr_assert_eq(memcmp(first, t.end_ns, bytes), 0, "case %ld: two runs differ", (long)n);
        }
    }
    tally->whole += oracle.event_count > 0 && equal_times(&t);
    tally->actions += drawn.lowered->action_count;
    tally->events += oracle.event_count;
    if (oracle.event_count > 0) {
        expect_near(n, &t, tally);
    }
    pp_trace_deinit(&t);
    pp_engine_destroy(e);
}

Test(engine_oracle, times_without_sharing_are_equal) {
    struct tally tally = {0};
    for (int64_t n = 0; n < cases(74000, 750000); n++) {
        draw_case(&drawn, n, 1, &small);
        compare(n, &tally);
        lowered_case_deinit(&drawn);
    }
    cr_assert_gt(tally.deadlocks, 0);
    cr_log_info("%ld schedules, %ld deadlocks, %ld actions", (long)tally.cases,
                (long)tally.deadlocks, (long)tally.actions);
}

Test(engine_oracle, times_with_sharing_are_within_a_nanosecond_an_event) {
    static const struct draw_limits few = {.ranks = 4, .more_stages = 2, .microbatches = 3};
    struct tally tally = {.farthest = exact_of(0)};
    for (int64_t n = 0; n < cases(22000, 220000); n++) {
        draw_case(&drawn, n, 2, &few);
        drawn.net = &drawn.network;
        drawn.network.shared = true;
        compare(n, &tally);
        lowered_case_deinit(&drawn);
    }
    cr_assert(tally.apart > 0 && tally.lost < tally.apart / 50);
    cr_assert_gt(tally.whole * 100, tally.apart * 95); /* rates are not quite exact */
    cr_log_info("%ld schedules, %ld deadlocks, %ld actions, %ld events; %ld without rounding (%ld "
                "more left out), at most %.3f ns away, %ld equal",
                (long)tally.cases, (long)tally.deadlocks, (long)tally.actions, (long)tally.events,
                (long)tally.apart, (long)tally.lost,
                (double)tally.farthest.num / (double)tally.farthest.den, (long)tally.whole);
}

/* Links as slow and as fast as may be, of sizes that do not divide. */
Test(engine_oracle, times_over_absurd_links_are_near) {
    static const int64_t capacities[] = {
        1, 2, 3, 5, 7, 1000, 999983, PP_LINK_MAX_BYTES_PER_S, PP_LINK_MAX_BYTES_PER_S - 1};
    static const struct draw_limits few = {.ranks = 4, .more_stages = 2, .microbatches = 2};
    struct tally tally = {.farthest = exact_of(0), .slow_links = true};
    for (int64_t n = 0; n < cases(4000, 40000); n++) {
        uint64_t seed = draw_case(&drawn, n, 4, &few);
        int64_t capacity = capacities[random_below(&seed, 9)];
        int64_t *const bytes[] = {drawn.f_bytes, drawn.b_bytes, drawn.unshard_bytes,
                                  drawn.reduce_bytes};
        for (int32_t k = 0; k < 4 * drawn.order->stage_count; k++) {
            int64_t most = capacity >= 1 << 20 ? PP_TRANSFER_MAX_BYTES : 1000 * capacity;
            bytes[k % 4][k / 4] = random_below(&seed, 3) == 0
                                      ? random_below(&seed, 3)
                                      : (int64_t)(next_random(&seed) % (uint64_t)most);
        }
        drawn.network.port_bytes_per_s = capacity;
        drawn.network.nic_bytes_per_s = random_below(&seed, 2) == 0 ? capacity : capacity / 2 + 1;
        drawn.network.shared = random_below(&seed, 4) != 0;
        drawn.net = &drawn.network;
        compare(n, &tally);
        lowered_case_deinit(&drawn);
    }
    cr_log_info("%ld schedules, %ld deadlocks, %ld actions, %ld events; at most %.3f ns away",
                (long)tally.cases, (long)tally.deadlocks, (long)tally.actions, (long)tally.events,
                (double)tally.farthest.num / (double)tally.farthest.den);
}

/* Every named schedule, lowered both ways, under every runtime. */
Test(engine_oracle, times_of_named_schedules_too) {
    struct tally tally = {.farthest = exact_of(0)};
    uint64_t seed = 3;
    for (int32_t k = 0; k < pp_schedule_count() * 2 * PP_RUNTIME_COUNT; k += CASE_STEP) {
        const struct pp_schedule_info *info = pp_schedule_at(k / 2 / PP_RUNTIME_COUNT);
        enum pp_lower_mode mode = k % 2 == 0 ? PP_LOWER_OURS : PP_LOWER_TORCH;
        int32_t p = info->is_bidirectional ? 4 : 3;
        drawn.order = make_schedule(info->name, p, info->default_stages_per_rank, 2 * p);
        drawn.lowered = lower(drawn.order, mode);
        drawn.disturbed = false;
        drawn.runtime = pp_runtime_of((enum pp_runtime_kind)(k / 2 % PP_RUNTIME_COUNT));
        draw_engine_costs(&drawn, &seed);
        draw_network(&drawn, &seed);
        drawn.net = &drawn.network;
        drawn.network.shared = false;
        compare(k, &tally);
        drawn.network.shared = true;
        compare(k, &tally);
        lowered_case_deinit(&drawn);
    }
    cr_log_info("%ld schedules, %ld deadlocks, %ld actions, %ld events", (long)tally.cases,
                (long)tally.deadlocks, (long)tally.actions, (long)tally.events);
}
