/* Programs against an oracle: buffers, waits, channels, and what the arenas take. */
#include "tests/exec/program_oracle.h"

TestSuite(program_slots, .timeout = 200);

struct ratio {
    uint64_t seed;
    double sum[2], most[2]; /* arenas, host arenas */
    int32_t count[2], exchanges, trips, gates, most_waits;
};

static void measure(const struct oracle *o, struct ratio *r) {
    const struct pp_program *p = o->program;
    for (int32_t rank = 0; rank < 2 * p->sched->rank_count; rank++) {
        bool on_host = rank % 2 == 1;
        int64_t least = oracle_most_bytes(o, rank / 2, on_host);
        int64_t taken = on_host ? p->host_bytes[rank / 2] : p->arena_bytes[rank / 2];
        cr_assert_geq(taken, least);
        cr_assert_eq(taken > 0, least > 0);
        if (least > 8192) { /* below that, rounding to 64 shows */
            double ratio = (double)taken / (double)least;
            r->sum[on_host] += ratio;
            r->most[on_host] = ratio > r->most[on_host] ? ratio : r->most[on_host];
            r->count[on_host]++;
        }
    }
    for (int32_t at = 0; at < p->sched->action_count; at++) {
        const struct pp_bound *b = &p->bound[at];
        r->exchanges += b->channel >= 0 && p->channels[b->channel].copies;
        r->trips += p->sched->actions[at].type == PP_OFFLOAD;
        r->most_waits = b->wait_count > r->most_waits ? b->wait_count : r->most_waits;
        for (int32_t i = 0; i < b->wait_count; i++) {
            enum pp_action_type type = p->sched->actions[b->waits[i]].type;
            r->gates += type == PP_SEND_F || type == PP_SEND_B || type == PP_OFFLOAD;
        }
    }
}

static void expect_one(struct pp_sched *order, const char *what, void *context) {
    struct ratio *r = context;
    struct program_case c;
    struct oracle o;
    (void)what;
    program_case_make(&c, order, &r->seed);
    oracle_init(&o, &c);
    oracle_expect_program(&o);
    measure(&o, r);
    oracle_deinit(&o);
    program_case_deinit(&c);
}

static void report(const char *what, const struct ratio *r) {
    for (int side = 0; side < 2; side++) {
        cr_log_info("%s: %s against the most held at once: mean %.3f, most %.3f of %d", what,
                    side == 0 ? "arena" : "host arena", r->sum[side] / r->count[side],
                    r->most[side], r->count[side]);
    }
    cr_log_info("%s: %d exchanges, %d trips, %d gates, at most %d waits", what, r->exchanges,
                r->trips, r->gates, r->most_waits);
    cr_expect_leq(r->most_waits, PP_PROGRAM_MAX_WAITS);
}

Test(program_slots, of_every_schedule) {
    struct ratio r = {.seed = 11};
    int32_t count = for_each_schedule(CASE_STEP == 1 ? 6 : 3, expect_one, &r);
    cr_expect_gt(count, 200);
    cr_expect_gt(r.exchanges, 20);
    cr_expect_gt(r.trips, 20);
    report("by name", &r);
}

Test(program_slots, of_drawn_orders) {
    struct ratio r = {.seed = 12};
    for (int32_t i = 0; i < 2100; i += CASE_STEP) {
        expect_one(draw_sealed_within(&r.seed, &draw_usual), "drawn", &r);
    }
    report("drawn", &r);
}

/* Trips that hide behind compute, as schedules with offloading have it. */
Test(program_slots, of_trips_that_hide) {
    struct ratio r = {.seed = 13};
    for (int32_t p = 2; p <= (CASE_STEP == 1 ? 8 : 4); p++) {
        for (int32_t share = 2; share <= 10; share += 2) {
            struct program_case c = {0};
            struct oracle o;
            program_case_lower(&c, make_schedule("PipeOffload", p, 2, 3 * p), &r.seed);
            program_case_costs(&c, &r.seed);
            program_case_sizes(&c, &r.seed);
            for (int32_t s = 0; s < PROGRAM_STAGES; s++) {
                c.times[0][s] = c.times[1][s] = c.times[2][s] = 10000;
                c.times[3][s] = 20000;
                c.times[7][s] = 10000 / share;
                c.stash_bytes[s] = 30000;
                c.input_bytes[s] = 1000;
            }
            program_case_expect(&c);
            program_case_create(&c);
            oracle_init(&o, &c);
            oracle_expect_program(&o);
            measure(&o, &r);
            oracle_deinit(&o);
            program_case_deinit(&c);
        }
    }
    report("trips that hide", &r);
}
