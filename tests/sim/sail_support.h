/* Comparing our orders with the zero-bubble authors' schedulers, row by row of sail.tsv: our
 * makespan and our span no longer, our peak within the row's memory limit or, without one, no
 * higher. */
#ifndef PP_TESTS_SAIL_SUPPORT_H
#define PP_TESTS_SAIL_SUPPORT_H

#include "sim/memory.h"
#include "sim/metrics.h"
#include "tests/sim/sim_support.h"

enum { SAIL_UNIT_NS = 1000 };

/* One row: what was asked and what they reached. Times in ns, peaks in a rank's whole share. */
struct sail_row {
    const char *scheduler;
    int32_t p, m;
    int64_t f_ns, i_ns, w_ns, p2p_ns;
    double limit; /* 0 = none */
    int64_t mem_w[2];
    double makespan_ns, span_ns, peak;
};

/* Which schedule of ours stands for a row's. */
struct sail_schedule {
    const char *schedule;
    int32_t stages_per_rank, group, slices;
};

struct sail_result {
    double makespan_ns, span_ns, peak;
};

/* Costs of every stage of an unsealed or sealed schedule: shares of the row's. */
struct sail_costs {
    int64_t *columns;
    struct pp_gen_costs gen;
    struct pp_memory_model memory;
};

static inline void sail_costs_init(struct sail_costs *c, const struct sail_row *row,
                                   const struct pp_sched *s) {
    size_t n = (size_t)s->stage_count;
    c->columns = calloc(8 * n + (size_t)s->rank_count, sizeof *c->columns);
    int64_t *column[8];
    for (size_t i = 0; i < 8; i++) {
        column[i] = c->columns + i * n;
    }
    int64_t *limit = c->columns + 8 * n;
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        int64_t parts = (int64_t)pp_sched_shares_of(s, s->stage_rank[stage]) * s->slice_count;
        column[0][stage] = pp_div_round_i64(row->f_ns, parts);
        column[1][stage] = pp_div_round_i64(row->i_ns, parts);
        column[2][stage] = pp_div_round_i64(row->w_ns, parts);
        column[3][stage] = pp_div_round_i64(row->i_ns + row->w_ns, parts);
        column[4][stage] = row->p2p_ns;
        column[5][stage] = row->mem_w[1];
        column[6][stage] = row->mem_w[1] - row->mem_w[0];
        column[7][stage] = row->mem_w[0];
        limit[s->stage_rank[stage]] = (int64_t)(row->limit * (double)parts * (double)row->mem_w[1]);
    }
    c->gen = (struct pp_gen_costs){
        .times = {.f_ns = column[0],
                  .i_ns = column[1],
                  .w_ns = column[2],
                  .b_ns = column[3],
                  .recv_f_ns = column[4],
                  .recv_b_ns = column[4]},
        .f_adds = column[5],
        .i_frees = column[6],
        .w_frees = column[7],
        .limit = row->limit > 0 ? limit : NULL,
    };
    c->memory =
        (struct pp_memory_model){.f_adds = column[5], .i_frees = column[6], .w_frees = column[7]};
}

/* Generates, evaluates and measures. */
static inline struct sail_result sail_run(const struct sail_row *row,
                                          const struct sail_schedule *ours) {
    const struct pp_schedule_info *info = find_schedule(ours->schedule);
    struct pp_gen_config config = {.rank_count = row->p,
                                   .stages_per_rank = ours->stages_per_rank > 0
                                                          ? ours->stages_per_rank
                                                          : info->default_stages_per_rank,
                                   .microbatch_count = row->m,
                                   .group = ours->group,
                                   .slice_count = ours->slices};
    struct pp_sched *s = NULL;
    struct pp_eval *eval = NULL;
    struct pp_trace trace;
    struct pp_metrics metrics;
    struct sail_costs costs;
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_begin(info, &config, &s, &err), PP_OK, "%s %d %d: %s", ours->schedule,
                 row->p, row->m, err.message);
    sail_costs_init(&costs, row, s);
    config.costs = &costs.gen;
    cr_assert_eq(pp_schedule_finish(info, &config, s, &err), PP_OK, "%s %d %d: %s", ours->schedule,
                 row->p, row->m, err.message);
    cr_assert_eq(pp_eval_create(s, &eval, NULL, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_trace_init(&trace, s, &err), PP_OK);
    cr_assert_eq(pp_eval_run(eval, &costs.gen.times, &trace, &err), PP_OK, "%s", err.message);
    pp_metrics_of(&trace, &metrics, NULL);
    struct pp_rank_memory *peaks = calloc((size_t)s->rank_count, sizeof *peaks);
    pp_memory_peaks(s, &costs.memory, peaks);
    double peak = 0;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        double parts = (double)pp_sched_shares_of(s, rank) * s->slice_count * (double)row->mem_w[1];
        peak = (double)peaks[rank].peak / parts > peak ? (double)peaks[rank].peak / parts : peak;
    }
    free(peaks);
    free(costs.columns);
    pp_trace_deinit(&trace);
    pp_eval_destroy(eval);
    pp_sched_destroy(s);
    return (struct sail_result){.makespan_ns = (double)metrics.makespan_ns,
                                .span_ns = (double)metrics.span_ns,
                                .peak = peak};
}

typedef void sail_row_fn(const struct sail_row *row, void *context);

struct sail_each {
    sail_row_fn *fn;
    void *context;
};

static inline void sail_parse_row(char *f[MAX_FIELDS], int count, void *context) {
    struct sail_each *each = context;
    cr_assert_eq(count, 12);
    struct sail_row row = {
        .scheduler = f[0],
        .p = (int32_t)strtol(f[1], NULL, 10),
        .m = (int32_t)strtol(f[2], NULL, 10),
        .f_ns = (int64_t)(strtod(f[3], NULL) * SAIL_UNIT_NS + 0.5),
        .i_ns = (int64_t)(strtod(f[4], NULL) * SAIL_UNIT_NS + 0.5),
        .w_ns = (int64_t)(strtod(f[5], NULL) * SAIL_UNIT_NS + 0.5),
        .p2p_ns = (int64_t)(strtod(f[6], NULL) * SAIL_UNIT_NS + 0.5),
        .limit = strtod(f[7], NULL),
        .makespan_ns = strtod(f[9], NULL) * SAIL_UNIT_NS,
        .span_ns = strtod(f[10], NULL) * SAIL_UNIT_NS,
        .peak = strtod(f[11], NULL),
    };
    sscanf(f[8], "%ld/%ld", &row.mem_w[0], &row.mem_w[1]);
    each->fn(&row, each->context);
}

/* Calls `fn` for every row of the table. */
static inline void sail_each_row(sail_row_fn *fn, void *context) {
    struct sail_each each = {.fn = fn, .context = context};
    each_row(PP_TEST_DIR "/sim/sail.tsv", sail_parse_row, &each);
}

struct sail_tally {
    bool (*of)(const struct sail_row *row, struct sail_schedule *ours); /* false: not this family */
    int64_t most_actions; /* rows with more ranks * microbatches are left out; 0 = none are. Of a
                             family that needs this a slow build takes one row in CASE_STEP */
    int rows, equal, better, worse;
};

static inline void sail_compare(const struct sail_row *row, void *context) {
    struct sail_tally *t = context;
    struct sail_schedule ours = {0};
    if (!t->of(row, &ours)) {
        return;
    }
    if (t->most_actions > 0 &&
        ((int64_t)row->p * row->m > t->most_actions || t->rows++ % CASE_STEP != 0)) {
        return;
    }
    struct sail_result r = sail_run(row, &ours);
    double bound = row->limit > 0 ? row->limit : row->peak;
    const double whole = 1 + 1e-9; /* the table's own rounding */
    bool worse = r.makespan_ns > row->makespan_ns * whole || r.span_ns > row->span_ns * whole ||
                 r.peak > bound + 1e-3;
    bool better = r.makespan_ns * whole < row->makespan_ns || r.span_ns * whole < row->span_ns;
    t->worse += worse;
    t->better += better && !worse;
    t->equal += !better && !worse;
    cr_expect_not(worse,
                  "%s p %d m %d F %ld I %ld W %ld c %ld limit %g mem_w %ld/%ld: makespan %.1f of "
                  "%.1f, span %.1f of %.1f, peak %.4f of %.4f",
                  row->scheduler, row->p, row->m, row->f_ns, row->i_ns, row->w_ns, row->p2p_ns,
                  row->limit, row->mem_w[0], row->mem_w[1], r.makespan_ns, row->makespan_ns,
                  r.span_ns, row->span_ns, r.peak, bound);
}

/* Compares all rows of a family and prints how many were equal, better, worse. */
static inline void sail_compare_all(const char *family, struct sail_tally *tally) {
    sail_each_row(sail_compare, tally);
    cr_assert_gt(tally->equal + tally->better + tally->worse, 0, "no row of %s", family);
    cr_log_info("%s: %d equal, %d better, %d worse", family, tally->equal, tally->better,
                tally->worse);
}

#endif
