#include "tests/sim/sail_support.h"

enum { MOST_STAGES = 256 };

/* What is asked of PipeOffload: durations of a rank's whole share, `limit` in chunks, 0 = none. */
struct ask {
    int32_t p, v, m;
    int64_t f_ns, i_ns, w_ns, p2p_ns, offload_ns;
    int64_t limit;
    uint64_t noise; /* seed of what stages cost more than their part; 0 = nothing */
};

struct got {
    enum pp_status status;
    int64_t makespan_ns, peak; /* in chunks */
    int32_t offloaded;         /* trips */
};

struct columns {
    int64_t f[MOST_STAGES], i[MOST_STAGES], w[MOST_STAGES], b[MOST_STAGES];
    int64_t p2p[MOST_STAGES], offload[MOST_STAGES], one[MOST_STAGES], none[MOST_STAGES];
    int64_t limit[MOST_STAGES];
    struct pp_gen_costs gen;
};

static void fill_columns(const struct ask *a, struct columns *c) {
    uint64_t seed = a->noise;
    int32_t most = a->noise == 0 ? 1 : 100;
    for (int32_t s = 0; s < a->p * a->v; s++) {
        c->f[s] = a->f_ns / a->v + random_below(&seed, most);
        c->i[s] = a->i_ns / a->v + random_below(&seed, most);
        c->w[s] = a->w_ns / a->v + random_below(&seed, most);
        c->b[s] = c->i[s] + c->w[s];
        c->p2p[s] = a->p2p_ns;
        c->offload[s] = a->offload_ns / a->v + random_below(&seed, most);
        c->one[s] = 1;
        c->none[s] = 0;
        c->limit[s] = a->limit;
    }
    c->gen = (struct pp_gen_costs){.times = {.f_ns = c->f,
                                             .i_ns = c->i,
                                             .w_ns = c->w,
                                             .b_ns = c->b,
                                             .recv_f_ns = c->p2p,
                                             .recv_b_ns = c->p2p,
                                             .offload_ns = c->offload},
                                   .f_adds = c->one,
                                   .i_frees = c->none,
                                   .w_frees = c->one,
                                   .limit = a->limit > 0 ? c->limit : NULL};
}

static void evaluate(const struct pp_sched *s, const struct columns *c, struct got *got) {
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_metrics metrics;
    struct pp_rank_memory peaks[MOST_STAGES];
    struct pp_memory_model model = {.f_adds = c->one, .w_frees = c->one};
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(e, &c->gen.times, &t, NULL), PP_OK);
    pp_metrics_of(&t, &metrics, NULL);
    pp_memory_peaks_timed(&t, &model, peaks);
    got->makespan_ns = metrics.makespan_ns;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        got->peak = peaks[rank].peak > got->peak ? peaks[rank].peak : got->peak;
    }
    for (int32_t at = 0; at < s->action_count; at++) {
        got->offloaded += s->actions[at].type == PP_OFFLOAD;
    }
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
}

/* The schedule's order alone, as its file holds it. */
static struct pp_sched *without_transfers(const struct pp_sched *s) {
    struct pp_text csv = {0};
    cr_assert_eq(pp_sched_csv_write(s, &csv, NULL), PP_OK);
    struct pp_err err = {0};
    struct pp_sched *plain = parse_csv(csv.bytes, &err);
    cr_assert_not_null(plain, "%s", err.message);
    pp_text_free(&csv);
    return plain;
}

/* A lane has a microbatch's computing time for a round trip of each chunk that it offloads. */
static void expect_lane_carries(const struct pp_sched *s, const struct columns *c) {
    int64_t spare_ns[MOST_STAGES] = {0};
    bool seen[MOST_STAGES] = {false};
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        spare_ns[s->stage_rank[stage]] += c->f[stage] + c->i[stage] + c->w[stage];
    }
    for (int32_t at = 0; at < s->action_count; at++) {
        int32_t stage = s->actions[at].stage;
        if (s->actions[at].type == PP_OFFLOAD && !seen[stage]) {
            seen[stage] = true;
            spare_ns[s->stage_rank[stage]] -= 2 * c->offload[stage];
        }
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        cr_assert_geq(spare_ns[rank], 0, "rank %d", rank);
    }
}

/* Generates and evaluates; whatever is asked, no time may be lost against the order alone. */
static struct got answer(const struct ask *a) {
    static struct columns c;
    struct got got = {0};
    struct got plain = {0};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    fill_columns(a, &c);
    struct pp_gen_config config = {
        .rank_count = a->p, .stages_per_rank = a->v, .microbatch_count = a->m, .costs = &c.gen};
    got.status = pp_schedule_generate(find_schedule("PipeOffload"), &config, &s, &err);
    cr_assert(got.status == PP_OK || (got.status == PP_E_LIMIT && a->limit > 0), "%s", err.message);
    if (got.status == PP_OK) {
        struct pp_sched *order = without_transfers(s);
        expect_lane_carries(s, &c);
        evaluate(s, &c, &got);
        evaluate(order, &c, &plain);
        cr_assert_eq(got.makespan_ns, plain.makespan_ns, "p %d v %d m %d offload %ld", a->p, a->v,
                     a->m, (long)a->offload_ns);
        cr_assert_leq(got.peak, plain.peak);
        cr_assert(a->limit == 0 || got.peak <= a->limit, "p %d v %d m %d offload %ld: %ld of %ld",
                  a->p, a->v, a->m, (long)a->offload_ns, (long)got.peak, (long)a->limit);
        pp_sched_destroy(order);
        pp_sched_destroy(s);
    }
    return got;
}

enum { SHARE_NS = 960000 }; /* F, I and W of a rank's whole share */

static struct ask even(int32_t p, int32_t v, int32_t m, int64_t offload_ns) {
    return (struct ask){.p = p,
                        .v = v,
                        .m = m,
                        .f_ns = SHARE_NS,
                        .i_ns = SHARE_NS,
                        .w_ns = SHARE_NS,
                        .offload_ns = offload_ns};
}

/* Half of the chunks are free as long as their round trips fit: one way takes at most as long as a
 * microbatch's computing. */
Test(gen_offload, half_of_the_chunks_leave_little_more_than_a_quarter_of_the_memory) {
    enum { P = 8, V = 16 };
    for (int32_t m = 3 * P; m <= 8 * P; m += 5 * P) {
        struct ask all = even(P, V, m, 0);
        all.limit = INT32_MAX; /* fits without an offload */
        struct got without = answer(&all);
        cr_assert_eq(without.offloaded, 0);
        for (int32_t eighths = 0; eighths <= 8; eighths++) {
            struct ask a = even(P, V, m, (int64_t)3 * SHARE_NS * eighths / 8);
            struct got half = answer(&a);
            cr_expect_eq(half.makespan_ns, without.makespan_ns);
            cr_expect_leq(half.peak, 0.30 * (double)without.peak, "m %d %d/8: %ld of %ld", m,
                          eighths, (long)half.peak, (long)without.peak);
            cr_log_info("m %d, one way %d/8 of a microbatch: %ld of %ld chunks, %.1f %%; 1F1B "
                        "holds %d",
                        m, eighths, (long)half.peak, (long)without.peak,
                        100.0 * (double)half.peak / (double)without.peak, P * V);
        }
    }
}

/* Offloading everything takes a lane that carries it there and back while a microbatch computes. */
Test(gen_offload, all_of_the_chunks_can_leave_if_one_round_trip_fits) {
    for (int32_t v = 2; v <= 8; v *= 2) {
        struct ask a = even(8, v, 32, (int64_t)3 * SHARE_NS / 2);
        a.limit = 4;
        cr_expect_eq(answer(&a).status, PP_OK, "v %d", v);
        a.offload_ns += 10 * v;
        cr_expect_eq(answer(&a).status, PP_E_LIMIT, "v %d", v);
    }
}

Test(gen_offload, a_limit_moves_as_much_as_it_takes) {
    struct ask a = even(4, 6, 12, SHARE_NS / 2);
    int32_t more = 0;
    int32_t steps = 0;
    for (a.limit = 20; a.limit > 0; a.limit--) {
        struct got got = answer(&a);
        if (got.status != PP_OK) {
            break;
        }
        cr_expect_geq(got.offloaded, more);
        steps += got.offloaded > more;
        more = got.offloaded;
    }
    cr_expect_lt(a.limit, 4);
    cr_expect_geq(steps, 6);
}

/* Without a limit half of the chunks leave, the middle one among them. */
Test(gen_offload, half_of_the_chunks_are_the_first_ones) {
    for (int32_t v = 1; v <= 7; v++) {
        struct pp_sched *s = make_schedule("PipeOffload", 4, v, 12);
        for (int32_t k = 0; k < v; k++) {
            bool leaves = false;
            for (int32_t at = s->rank_begin[0]; at < s->rank_begin[1]; at++) {
                leaves =
                    leaves || (s->actions[at].type == PP_OFFLOAD && s->actions[at].stage == 4 * k);
            }
            cr_expect_eq(leaves, 2 * k < v, "chunk %d of %d", k, v);
        }
        pp_sched_destroy(s);
    }
}

/* Odd ranks, one chunk, few microbatches, any times: answer() does the looking. */
Test(gen_offload, whatever_is_asked_no_time_is_lost_and_limits_hold) {
    uint64_t seed = 31;
    int refused = 0;
    int offloaded = 0;
    for (int n = 0; n < 1500; n++) {
        struct ask a = {.p = 1 + random_below(&seed, 8),
                        .v = 1 + random_below(&seed, 8),
                        .m = 1 + random_below(&seed, 20),
                        .f_ns = random_below(&seed, 4) * 1000,
                        .i_ns = random_below(&seed, 4) * 1000,
                        .w_ns = random_below(&seed, 4) * 1000,
                        .p2p_ns = random_below(&seed, 3) * 50,
                        .offload_ns = random_below(&seed, 5) * 1000,
                        .limit = random_below(&seed, 2) * (1 + random_below(&seed, 30)),
                        .noise = n % 2 == 0 ? 0 : next_random(&seed)};
        struct got got = answer(&a);
        refused += got.status == PP_E_LIMIT;
        offloaded += got.offloaded > 0;
    }
    cr_log_info("%d of 1500 above their limit, %d offload", refused, offloaded);
    cr_assert_gt(offloaded, 700);
    cr_assert_lt(refused, 500);
}
