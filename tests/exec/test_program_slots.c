/* Programs against an oracle: buffers, waits, channels, and what the arenas take. */
#include "tests/exec/program_oracle.h"

TestSuite(program_slots, .timeout = 200);

struct ratio {
    uint64_t seed;
    const char *what;
    double sum, most;
    int32_t count, exchanges, trips, gates, most_waits;
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
            r->sum += ratio;
            r->most = ratio > r->most ? ratio : r->most;
            r->count++;
            if (ratio > 1.3 && getenv("PP_SHOW")) {
                fprintf(stderr, "%s offl %d even %d rank %d host %d: %lld of %lld, %.3f\n", r->what,
                        rank / 2, on_host, (long long)taken, (long long)least, ratio);
            }
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
    r->what = what;
    program_case_make(&c, order, &r->seed);
    oracle_init(&o, &c);
    oracle_expect_program(&o);
    measure(&o, r);
    oracle_deinit(&o);
    program_case_deinit(&c);
}

static void report(const char *what, const struct ratio *r) {
    cr_log_info("%s: arena against the most that is held at once: mean %.3f, most %.3f of %d; %d "
                "exchanges, %d trips, %d gates, at most %d waits",
                what, r->sum / r->count, r->most, r->count, r->exchanges, r->trips, r->gates,
                r->most_waits);
    cr_expect_leq(r->most_waits, PP_PROGRAM_MAX_WAITS);
}

Test(program_slots, of_every_schedule) {
    struct ratio r = {.seed = 11};
    int32_t count = for_each_schedule(CASE_STEP == 1 ? 6 : 4, expect_one, &r);
    cr_expect_gt(count, 200);
    cr_expect_gt(r.exchanges, 20);
    cr_expect_gt(r.trips, 100);
    report("by name", &r);
}

Test(program_slots, of_drawn_orders) {
    struct ratio r = {.seed = 12};
    for (int32_t i = 0; i < 2100; i += CASE_STEP) {
        expect_one(draw_sealed_within(&r.seed, &draw_usual), "drawn", &r);
    }
    report("drawn", &r);
}
