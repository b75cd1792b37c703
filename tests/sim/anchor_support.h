/* One flush under even costs: what it takes and holds. And the totals of anchors.tsv, which other
 * simulators reached. */
#ifndef PP_TESTS_ANCHOR_SUPPORT_H
#define PP_TESTS_ANCHOR_SUPPORT_H

#include "sim/memory.h"
#include "sim/metrics.h"
#include "tests/sim/sim_support.h"

enum { UNIT = 240000 }; /* one unit of time in ns: a slice of a stage is a whole number, too */

/* Durations of a rank's whole share in ns; pair 0 = its parts run in order. */
struct flush {
    const char *schedule;
    int32_t p, v, m, slices;
    int64_t f, i, w, pair, p2p;
};

struct flush_result {
    int64_t makespan, span, busy; /* busy: of the rank that computes most */
    int64_t peak;                 /* most units held by a rank */
    int64_t share;                /* units of a rank's whole share of a microbatch */
    int64_t least_peak;           /* the same of the rank that holds least */
};

/* Costs of every stage, all arrays in one. */
struct flush_costs {
    int64_t *block;
    struct pp_gen_costs gen;
};

static inline struct flush_costs flush_costs_of(const struct flush *f, const struct pp_sched *s) {
    size_t n = (size_t)s->stage_count;
    struct flush_costs c = {.block = calloc(6 * n, sizeof *c.block)};
    const int64_t whole[6] = {f->f, f->i, f->w, f->i + f->w, f->pair, f->p2p};
    for (size_t k = 0; k < 6; k++) {
        for (size_t stage = 0; stage < n; stage++) {
            int64_t parts = (int64_t)pp_sched_shares_of(s, s->stage_rank[stage]) * s->slice_count;
            c.block[k * n + stage] = k == 5 ? whole[k] : pp_div_round_i64(whole[k], parts);
        }
    }
    c.gen.times = (struct pp_costs){.f_ns = c.block,
                                    .i_ns = c.block + n,
                                    .w_ns = c.block + 2 * n,
                                    .b_ns = c.block + 3 * n,
                                    .pair_ns = f->pair > 0 ? c.block + 4 * n : NULL,
                                    .recv_f_ns = c.block + 5 * n,
                                    .recv_b_ns = c.block + 5 * n};
    return c;
}

static inline void flush_peaks(const struct pp_sched *s, struct flush_result *r) {
    struct pp_rank_memory *peaks = calloc((size_t)s->rank_count, sizeof *peaks);
    int64_t *ones = malloc((size_t)s->stage_count * sizeof *ones);
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        ones[stage] = 1;
    }
    struct pp_memory_model one_each = {.f_adds = ones, .w_frees = ones};
    pp_memory_peaks(s, &one_each, peaks);
    r->least_peak = INT64_MAX;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        r->peak = peaks[rank].peak > r->peak ? peaks[rank].peak : r->peak;
        r->least_peak = peaks[rank].peak < r->least_peak ? peaks[rank].peak : r->least_peak;
    }
    r->share = (int64_t)pp_sched_shares_of(s, 0) * s->slice_count;
    free(ones);
    free(peaks);
}

/* Generates for the costs, runs, measures. */
static inline struct flush_result run_flush(const struct flush *f) {
    const struct pp_schedule_info *info = find_schedule(f->schedule);
    struct pp_gen_config config = {.rank_count = f->p,
                                   .stages_per_rank =
                                       f->v > 0 ? f->v : info->default_stages_per_rank,
                                   .microbatch_count = f->m,
                                   .slice_count = f->slices};
    struct pp_sched *s = NULL;
    struct pp_eval *eval = NULL;
    struct pp_trace trace;
    struct pp_metrics metrics;
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_begin(info, &config, &s, &err), PP_OK, "%s p %d v %d m %d: %s",
                 f->schedule, f->p, f->v, f->m, err.message);
    struct flush_costs costs = flush_costs_of(f, s);
    config.costs = &costs.gen;
    cr_assert_eq(pp_schedule_finish(info, &config, s, &err), PP_OK, "%s p %d v %d m %d: %s",
                 f->schedule, f->p, f->v, f->m, err.message);
    cr_assert_eq(pp_eval_create(s, &eval, NULL, &err), PP_OK, "%s p %d v %d m %d: %s", f->schedule,
                 f->p, f->v, f->m, err.message);
    cr_assert_eq(pp_trace_init(&trace, s, &err), PP_OK);
    cr_assert_eq(pp_eval_run(eval, &costs.gen.times, &trace, &err), PP_OK, "%s", err.message);
    pp_metrics_of(&trace, &metrics, NULL);
    struct flush_result r = {
        .makespan = metrics.makespan_ns, .span = metrics.span_ns, .busy = metrics.max_busy_ns};
    flush_peaks(s, &r);
    pp_trace_deinit(&trace);
    pp_eval_destroy(eval);
    pp_sched_destroy(s);
    free(costs.block);
    return r;
}

/* A row of anchors.tsv, compared with ours of another name. */
struct anchor_tally {
    const char *strategy, *schedule;
    int64_t
        most_actions; /* rows with more ranks * stages a rank * microbatches: left out; 0 = none */
    int equal, better, worse;
};

static inline int64_t anchor_ns(const char *units) {
    return (int64_t)(strtod(units, NULL) * UNIT + 0.5);
}

static inline void anchor_compare(char *f[MAX_FIELDS], int count, void *context) {
    struct anchor_tally *t = context;
    cr_assert_eq(count, 10);
    struct flush flush = {.schedule = t->schedule,
                          .p = (int32_t)strtol(f[2], NULL, 10),
                          .v = (int32_t)strtol(f[3], NULL, 10),
                          .m = (int32_t)strtol(f[4], NULL, 10),
                          .f = anchor_ns(f[5]),
                          .pair = anchor_ns(f[7]),
                          .p2p = anchor_ns(f[8])};
    if (strcmp(f[1], t->strategy) != 0 ||
        (t->most_actions > 0 && (int64_t)flush.p * flush.v * flush.m > t->most_actions)) {
        return;
    }
    flush.w = flush.f;
    flush.i = anchor_ns(f[6]) - flush.w;
    struct flush_result r = run_flush(&flush);
    double theirs = strtod(f[9], NULL);
    double ours = (double)r.makespan / UNIT;
    const double rounding = 1e-5 * theirs; /* the table has six digits */
    t->equal += ours >= theirs - rounding && ours <= theirs + rounding;
    t->better += ours < theirs - rounding;
    t->worse += ours > theirs + rounding;
    cr_expect_leq(ours, theirs + rounding, "%s p %s v %s m %s F %s B %s pair %s p2p %s: %g of %g",
                  f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], ours, theirs);
}

/* Ours no longer than any row of the strategy; prints how many were equal, better, worse. */
static inline void anchor_compare_all(struct anchor_tally *t) {
    each_row(PP_TEST_DIR "/sim/anchors.tsv", anchor_compare, t);
    cr_assert_gt(t->equal + t->better + t->worse, 0, "no row of %s", t->strategy);
    cr_log_info("%s: %d equal, %d better, %d worse", t->strategy, t->equal, t->better, t->worse);
}

#endif
