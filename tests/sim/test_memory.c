#include "sim/metrics.h"
#include "tests/sim/random_memory.h"
#include "tests/sim/random_sched.h"

enum { MANY = 64 };

/* What one action holds at the moment `t`, given as position in its rank's row: an action at k runs
 * from k to k + 1, frees count just after k + 1. Slow and obvious: everything is summed anew. */
static int64_t slow_amount(const struct pp_sched *s, const struct drawn_memory *a, int32_t rank,
                           int32_t running) {
    int64_t sum = a->base[rank];
    int32_t with = s->actions[running].pair;
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *x = &s->actions[at];
        bool together = a->model.pairs_as_one &&
                        ((with == 1 && at == running + 1) || (with == 2 && at == running - 1));
        bool runs = at == running || together;
        bool over = at < running && !runs;
        if (x->type == PP_F) {
            sum += (runs || over) ? a->f_adds[x->stage] : 0;
            sum += runs ? a->f_transient[x->stage] : 0;
        } else {
            sum -= over && x->type != PP_W ? a->i_frees[x->stage] : 0;
            sum -= over && x->type != PP_I ? a->w_frees[x->stage] : 0;
            sum += runs ? a->b_transient[x->stage] : 0;
        }
    }
    return sum;
}

Test(memory, peaks_equal_those_of_a_slow_second_implementation) {
    static struct drawn_memory a;
    uint64_t seed = 11;
    for (int i = 0; i < 400; i++) {
        struct pp_sched *s = draw_schedule(&seed);
        cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
        draw_memory(&a, 100, &seed);
        a.model.pairs_as_one = i % 2 == 0;
        struct pp_rank_memory peaks[MANY];
        pp_memory_peaks(s, &a.model, peaks);
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            int64_t best = a.base[rank];
            int32_t first = -1;
            for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
                int64_t amount = slow_amount(s, &a, rank, at);
                first = amount > best ? at : first;
                best = amount > best ? amount : best;
            }
            cr_assert_eq(peaks[rank].peak, best);
            cr_assert_eq(peaks[rank].peak_action, first);
        }
        pp_sched_destroy(s);
    }
}

/* Peak activations of every rank in chunks, with F adding one chunk and the backward freeing it. */
static void chunk_peaks(const char *name, int32_t p, int32_t v, int32_t m, int64_t *chunks) {
    int64_t one[MANY];
    for (int32_t s = 0; s < MANY; s++) {
        one[s] = 1;
    }
    struct pp_sched *s = make_schedule(name, p, v, m);
    cr_assert_leq(s->stage_count, MANY);
    struct pp_memory_model model = {.f_adds = one, .w_frees = one};
    struct pp_rank_memory peaks[MANY];
    pp_memory_peaks(s, &model, peaks);
    for (int32_t rank = 0; rank < p; rank++) {
        chunks[rank] = peaks[rank].peak;
        cr_assert_eq(s->actions[peaks[rank].peak_action].type, PP_F);
    }
    pp_sched_destroy(s);
}

static int64_t highest(const int64_t *values, int32_t n) {
    int64_t most = 0;
    for (int32_t i = 0; i < n; i++) {
        most = values[i] > most ? values[i] : most;
    }
    return most;
}

Test(memory, peak_activations_are_the_closed_forms) {
    int64_t peak[MANY];
    for (int32_t p = 1; p <= 8; p++) {
        for (int32_t m = p; m <= 6 * p; m += p) {
            chunk_peaks("1F1B", p, 1, m, peak);
            for (int32_t r = 0; r < p; r++) {
                cr_expect_eq(peak[r], m < p - r ? m : p - r);
            }
            chunk_peaks("GPipe", p, 1, m, peak);
            cr_expect_eq(peak[p - 1], m);
            for (int32_t v = 1; v <= 4; v++) {
                chunk_peaks("LoopedBFS", p, v, m, peak);
                cr_expect_eq(peak[0], m * v);
                chunk_peaks("Interleaved1F1B", p, v, m, peak);
                if (m >= 3 * p) { /* p + (p-1)/v whole shares */
                    cr_expect_eq(peak[0], p * v + p - 1, "p %d v %d m %d", p, v, m);
                }
            }
            if (m >= 2 * p) {
                chunk_peaks("ZBVZeroBubble", p, 2, m, peak);
                for (int32_t r = 0; r < p; r++) {
                    cr_expect_eq(peak[r], 2 * p, "ZBV p %d m %d rank %d", p, m, r);
                }
                chunk_peaks("DualPipeV", p, 2, m, peak);
                cr_expect_eq(highest(peak, p), 2 * p + 1, "DualPipeV p %d m %d", p, m);
                for (int32_t v = 1; v <= 4; v++) {
                    chunk_peaks("InterleavedZeroBubble", p, v, m, peak);
                    cr_expect_eq(highest(peak, p), p * v, "p %d v %d m %d", p, v, m);
                }
            }
        }
    }
}

/* The amount just before and after each moment follows from the points; the highest is the peak. */
Test(memory, the_timeline_rises_to_the_peak_and_ends_where_it_began) {
    static struct drawn_memory a;
    int64_t ns[MANY];
    uint64_t seed = 13;
    for (int i = 0; i < 200; i++) {
        for (int32_t s = 0; s < MANY; s++) {
            ns[s] = 1 + random_below(&seed, 50);
        }
        struct pp_costs costs = {.f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns};
        costs.pair_ns = i % 2 == 0 ? ns : NULL;
        struct pp_sched *s = draw_schedule(&seed);
        struct pp_eval *e = NULL;
        struct pp_trace t;
        cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
        cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
        cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
        cr_assert_eq(pp_eval_run(e, &costs, &t, NULL), PP_OK);
        draw_memory(&a, 100, &seed);
        a.model.pairs_as_one = i % 2 == 0;
        struct pp_rank_memory peaks[MANY];
        pp_memory_peaks(s, &a.model, peaks);
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            int32_t room = 2 * (s->rank_begin[rank + 1] - s->rank_begin[rank]) + 1;
            struct pp_memory_point *points = malloc((size_t)room * sizeof *points);
            int32_t n = pp_memory_timeline(&t, &a.model, rank, points);
            cr_assert_leq(n, room);
            int64_t highest = 0;
            for (int32_t k = 0; k < n; k++) {
                highest = points[k].amount > highest ? points[k].amount : highest;
                cr_assert(k == 0 || points[k].time_ns >= points[k - 1].time_ns);
            }
            cr_assert_eq(highest, peaks[rank].peak);
            cr_assert_eq(points[0].amount, a.base[rank]);
            cr_assert_eq(points[n - 1].amount, a.base[rank]);
            free(points);
        }
        pp_trace_deinit(&t);
        pp_eval_destroy(e);
        pp_sched_destroy(s);
    }
}

/* --- with transfers to the host ----------------------------------------------------------------*/

/* What action `at` changes by the moment (time, place in the list, phase), 1 the later phase. */
static int64_t slow_change(const struct pp_trace *t, const struct drawn_memory *a, int32_t at,
                           int64_t time_ns, int32_t place, int phase) {
    const struct pp_action *x = &t->sched->actions[at];
    int64_t adds = a->f_adds[x->stage];
    int64_t frees =
        (x->type != PP_W ? a->i_frees[x->stage] : 0) + (x->type != PP_I ? a->w_frees[x->stage] : 0);
    int64_t transient = x->type == PP_F ? a->f_transient[x->stage] : a->b_transient[x->stage];
    bool before = at < place;
    bool own = at == place;
    bool started = t->start_ns[at] < time_ns || (t->start_ns[at] == time_ns && (before || own));
    bool ended =
        t->end_ns[at] < time_ns || (t->end_ns[at] == time_ns && (before || (own && phase == 1)));
    switch (x->type) {
    case PP_OFFLOAD:
        return ended ? -adds : 0;
    case PP_RELOAD:
        return started ? adds : 0;
    case PP_F:
        return (started ? adds : 0) + (started && !ended ? transient : 0);
    default:
        return (ended ? -frees : 0) + (started && !ended ? transient : 0);
    }
}

/* The highest of all moments, everything summed anew for each. */
static int64_t slow_peak(const struct pp_trace *t, const struct drawn_memory *a, int32_t rank) {
    const struct pp_sched *s = t->sched;
    int64_t best = a->base[rank];
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        for (int phase = 0; phase < 2; phase++) {
            int64_t time_ns = phase == 0 ? t->start_ns[at] : t->end_ns[at];
            int64_t sum = a->base[rank];
            for (int32_t i = s->rank_begin[rank]; i < s->rank_begin[rank + 1]; i++) {
                sum += slow_change(t, a, i, time_ns, at, phase);
            }
            best = sum > best ? sum : best;
        }
    }
    return best;
}

static void expect_peaks(const struct pp_sched *s, const struct drawn_memory *a,
                         const struct pp_costs *costs, bool instant) {
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_rank_memory peaks[MANY];
    struct pp_rank_memory untimed[MANY];
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(e, costs, &t, NULL), PP_OK);
    pp_memory_peaks_timed(&t, &a->model, peaks);
    pp_memory_peaks(s, &a->model, untimed);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        cr_assert_eq(peaks[rank].peak, slow_peak(&t, a, rank));
        if (instant) {
            cr_assert_eq(untimed[rank].peak, peaks[rank].peak);
            cr_assert_eq(untimed[rank].peak_action, peaks[rank].peak_action);
        }
        int32_t room = 2 * (s->rank_begin[rank + 1] - s->rank_begin[rank]) + 1;
        struct pp_memory_point *points = malloc((size_t)room * sizeof *points);
        int32_t n = pp_memory_timeline(&t, &a->model, rank, points);
        cr_assert_leq(n, room);
        int64_t highest = 0;
        for (int32_t k = 0; k < n; k++) {
            highest = points[k].amount > highest ? points[k].amount : highest;
            cr_assert(k == 0 || points[k].time_ns >= points[k - 1].time_ns);
        }
        cr_assert_eq(highest, peaks[rank].peak);
        cr_assert_eq(points[n - 1].amount, a->base[rank]);
        free(points);
    }
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
}

/* Few different times, so that many moments coincide. */
Test(memory, offloads_free_and_add_when_they_run) {
    static struct drawn_memory a;
    int64_t ns[MANY];
    int64_t offload[MANY];
    uint64_t seed = 17;
    for (int i = 0; i < 400; i++) {
        for (int32_t s = 0; s < MANY; s++) {
            ns[s] = random_below(&seed, 4);
            offload[s] = i % 3 == 0 ? 0 : random_below(&seed, 6);
        }
        struct pp_costs costs = {
            .f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns, .offload_ns = offload};
        struct pp_sched *s = draw_offloading_schedule(&seed);
        draw_memory(&a, 100, &seed);
        expect_peaks(s, &a, &costs, i % 3 == 0);
        pp_sched_destroy(s);
    }
}

Test(memory, a_model_without_activations_peaks_at_its_base) {
    int64_t base[] = {5, 7};
    struct pp_memory_model model = {.base = base};
    struct pp_rank_memory peaks[2];
    struct pp_sched *s = make_schedule("1F1B", 2, 1, 4);
    pp_memory_peaks(s, &model, peaks);
    cr_assert_eq(peaks[1].peak, 7);
    cr_assert_eq(peaks[1].peak_action, -1);
    pp_sched_destroy(s);
}

Test(metrics, a_pair_that_runs_as_one_counts_once) {
    struct pp_err err = {0};
    struct pp_sched *s = parse_csv("0F0,0F1,0B0,0B1\r\n1F0,(1F1;1B0)OVERLAP_F_B,1B1\r\n", &err);
    cr_assert_not_null(s, "%s", err.message);
    int64_t ns[] = {1000, 1000};
    int64_t pair[] = {1500, 1500};
    struct pp_costs costs = {.f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns, .pair_ns = pair};
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_metrics metrics;
    int64_t busy[2];
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(e, &costs, &t, NULL), PP_OK);
    pp_metrics_of(&t, &metrics, busy);
    cr_assert_eq(busy[0], 4000);
    cr_assert_eq(busy[1], 3500);
    cr_assert_eq(metrics.makespan_ns, 5500); /* F0 1000, F0 2000, pair 3500, B1 4500, B1 5500 */
    cr_assert_eq(metrics.total_busy_ns, 7500);
    cr_assert_float_eq(metrics.bubble_ratio, 1.0 - 7500.0 / 11000.0, 1e-12);
    cr_assert_eq(metrics.span_ns, 5500);
    costs.pair_ns = NULL;
    cr_assert_eq(pp_eval_run(e, &costs, &t, NULL), PP_OK);
    pp_metrics_of(&t, &metrics, busy);
    cr_assert_eq(busy[1], 4000);
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
    pp_sched_destroy(s);
}

/* A rank that waits for the host is idle. */
Test(metrics, transfers_to_the_host_are_no_work) {
    static const int32_t rank[] = {0};
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_sched_create(1, 1, 1, rank, &s, NULL), PP_OK);
    static const enum pp_action_type row[] = {PP_F, PP_OFFLOAD, PP_RELOAD, PP_B};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(pp_sched_add(s, 0, row[i], 0, 0, NULL), PP_OK);
    }
    cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
    int64_t ns[] = {100};
    int64_t offload[] = {70};
    struct pp_costs costs = {.f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns, .offload_ns = offload};
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_metrics metrics;
    int64_t busy;
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(e, &costs, &t, NULL), PP_OK);
    pp_metrics_of(&t, &metrics, &busy);
    cr_expect_eq(busy, 200);
    cr_expect_eq(metrics.makespan_ns, 340);
    cr_expect_eq(metrics.span_ns, 340);
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
    pp_sched_destroy(s);
}

/* --- PyTorch's schedules through another evaluator ---------------------------------------------
 */

struct agreement {
    int compared;
};

/* Makespan of `s` in the row's own unit. `times` are tF, tB (input), tW of a rank's share and
 * tComm, in columns that are either units or microseconds. */
static double evaluate_row(const struct pp_sched *s, int32_t v, char *const times[4]) {
    static int64_t cost[4][256], full[256];
    double scale = strtod(times[0], NULL) < 100 ? 120000.0 : 120.0; /* divisible by every v */
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        for (int k = 0; k < 4; k++) {
            cost[k][stage] = pp_round_i64(strtod(times[k], NULL) * scale / (k < 3 ? v : 1));
        }
        full[stage] = cost[1][stage] + cost[2][stage];
    }
    struct pp_costs costs = {.f_ns = cost[0],
                             .i_ns = cost[1],
                             .w_ns = cost[2],
                             .b_ns = full,
                             .recv_f_ns = cost[3],
                             .recv_b_ns = cost[3]};
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_metrics metrics;
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(e, &costs, &t, NULL), PP_OK);
    pp_metrics_of(&t, &metrics, NULL);
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
    return (double)metrics.makespan_ns / scale;
}

/* Highest peak of any rank, in whole shares of a microbatch. */
static double worst_peak(const struct pp_sched *s, int32_t v) {
    int64_t one[256];
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        one[stage] = 1;
    }
    struct pp_memory_model model = {.f_adds = one, .w_frees = one};
    struct pp_rank_memory peaks[64];
    pp_memory_peaks(s, &model, peaks);
    int64_t most = 0;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        most = peaks[rank].peak > most ? peaks[rank].peak : most;
    }
    return (double)most / v;
}

static bool nearly(double a, double b) {
    return a - b <= 1e-5 * b && b - a <= 1e-5 * b;
}

/* scheduler p m tF tB tW tComm mem_limit makespan bubble peak_mem_max seconds nstages_per_rank ...
 */
static void torchpp_row(char *f[MAX_FIELDS], int count, void *context) {
    struct agreement *sum = context;
    if (count < 13 || strcmp(f[0], "scheduler") == 0 || f[8][0] == '\0') {
        return;
    }
    int32_t v = (int32_t)strtol(f[12], NULL, 10);
    struct pp_sched *s =
        make_schedule(f[0], (int32_t)strtol(f[1], NULL, 10), v, (int32_t)strtol(f[2], NULL, 10));
    double makespan = evaluate_row(s, v, f + 3);
    double peak = worst_peak(s, v);
    cr_expect(nearly(makespan, strtod(f[8], NULL)), "%s p %s m %s v %d c %s: %f, expected %s", f[0],
              f[1], f[2], v, f[6], makespan, f[8]);
    cr_expect(nearly(peak, strtod(f[10], NULL)), "%s p %s m %s v %d: peak %f, expected %s", f[0],
              f[1], f[2], v, peak, f[10]);
    sum->compared++;
    pp_sched_destroy(s);
}

Test(metrics, pytorchs_schedules_take_what_another_evaluator_says) {
    const char *path = PP_SHARED_DIR "/golden/schedules/torchpp.tsv";
    if (!has_shared(path)) {
        cr_skip_test("../shared is not there");
    }
    struct agreement sum = {0};
    each_row(path, torchpp_row, &sum);
    cr_assert_gt(sum.compared, 200);
    cr_log_info("torchpp: makespan and peak of %d rows compared", sum.compared);
}
