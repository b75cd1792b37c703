/* What simulators written elsewhere say about the same schedules under the same costs, row by row
 * and to the last digit that they print: Victarry's visualizer (the rows "viz" of anchors.tsv) and
 * an evaluator of PyTorch's lists (torchpp.tsv). */
#include "sim/engine.h"
#include "tests/sim/anchor_support.h"
#include "tests/sim/lower_support.h"

enum { PER_UNIT = 120 }; /* ns: latencies of 0.1, quarters and sixths are whole */

struct golden {
    const char *schedule;
    int32_t p, v, m;
    double f, i, w, pair, p2p; /* of a rank's whole share; pair 0: its parts run in order */
};

/* Costs of each stage of a golden row: a share each. */
struct golden_costs {
    int64_t f[256], i[256], w[256], b[256], pair[256], p2p[256];
    struct pp_costs costs;
};

static int64_t whole_ns(double units) {
    double ns = units * PER_UNIT;
    int64_t nearest = pp_round_i64(ns);
    cr_assert(ns - (double)nearest < 1e-3 && (double)nearest - ns < 1e-3, "%g is not whole", ns);
    return nearest;
}

static void golden_costs_init(struct golden_costs *c, const struct golden *g,
                              const struct pp_sched *s) {
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        double share = 1.0 / pp_sched_shares_of(s, s->stage_rank[stage]);
        c->f[stage] = whole_ns(g->f * share);
        c->i[stage] = whole_ns(g->i * share);
        c->w[stage] = whole_ns(g->w * share);
        c->b[stage] = c->i[stage] + c->w[stage];
        c->pair[stage] = whole_ns(g->pair * share);
        c->p2p[stage] = whole_ns(g->p2p);
    }
    c->costs = (struct pp_costs){.f_ns = c->f,
                                 .i_ns = c->i,
                                 .w_ns = c->w,
                                 .b_ns = c->b,
                                 .pair_ns = g->pair > 0 ? c->pair : NULL,
                                 .recv_f_ns = c->p2p,
                                 .recv_b_ns = c->p2p};
}

static struct pp_metrics evaluate(const struct pp_sched *s, const struct pp_costs *costs) {
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_metrics metrics;
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(e, costs, &t, NULL), PP_OK);
    pp_metrics_of(&t, &metrics, NULL);
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
    return metrics;
}

/* Last end by the engine: transfers that nobody waits for but the one who gets them. */
static int64_t by_engine(const struct pp_sched *s, const struct pp_costs *costs) {
    struct pp_sched *lowered = lower(s, PP_LOWER_OURS);
    struct pp_runtime runtime = {.comms = {.channels = PP_CHANNELS_DIRECTED,
                                           .buffer_count = s->microbatch_count * s->stage_count}};
    struct pp_engine_costs all = {.compute = *costs};
    struct pp_engine *e = NULL;
    struct pp_trace t;
    struct pp_err err = {0};
    int64_t last = 0;
    cr_assert_eq(pp_engine_create(lowered, &runtime, &e, NULL, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_trace_init(&t, lowered, NULL), PP_OK);
    cr_assert_eq(pp_engine_run(e, &all, NULL, &t, &err), PP_OK, "%s", err.message);
    for (int32_t at = 0; at < lowered->action_count; at++) {
        last = t.end_ns[at] > last ? t.end_ns[at] : last;
    }
    pp_trace_deinit(&t);
    pp_engine_destroy(e);
    pp_sched_destroy(lowered);
    return last;
}

/* ---- Victarry's visualizer ---- */

/* Which schedule of ours a strategy is, and how many of its rows there are without and with a
 * latency. Without, all are equal. With one only the first two are: the others make a sender wait
 * for its transfers where the pipeline fills and drains, and W for a transfer after its own
 * backward, so ours are no longer. */
static const struct strategy {
    const char *name, *schedule;
    int plain, latencies;
    bool equal;
} strategies[] = {{"1f1b", "1F1B", 7, 14, true},
                  {"interleave", "Interleaved1F1B", 8, 14, true},
                  {"1f1b_overlap", "1F1BOverlap", 16, 32, false},
                  {"1f1b_interleave_overlap", "Interleaved1F1BOverlap", 11, 20, false},
                  {"dualpipe", "DualPipe", 13, 24, false},
                  {"dualpipe_v", "DualPipeV", 19, 36, false},
                  {"zb1p", "ZBH1", 8, 16, false}};

enum { STRATEGIES = sizeof strategies / sizeof strategies[0] };

struct viz_tally {
    int plain[STRATEGIES], latencies[STRATEGIES];
    int shorter;
};

static void compare_viz(const char *name, const struct golden *row, double total,
                        struct viz_tally *tally) {
    static struct golden_costs c;
    for (size_t k = 0; k < STRATEGIES; k++) {
        if (strcmp(name, strategies[k].name) != 0) {
            continue;
        }
        struct pp_sched *s = make_schedule(strategies[k].schedule, row->p, row->v, row->m);
        golden_costs_init(&c, row, s);
        int64_t ours = evaluate(s, &c.costs).makespan_ns;
        int64_t theirs = whole_ns(total);
        bool equal = strategies[k].equal || row->p2p <= 0;
        if (strategies[k].equal) {
            cr_expect_eq(by_engine(s, &c.costs), theirs, "%s p %d v %d m %d p2p %g by the engine",
                         name, row->p, row->v, row->m, row->p2p);
        }
        cr_expect(equal ? ours == theirs : ours <= theirs, "%s p %d v %d m %d p2p %g: %ld of %ld",
                  name, row->p, row->v, row->m, row->p2p, (long)ours, (long)theirs);
        pp_sched_destroy(s);
        tally->shorter += ours < theirs;
        *(row->p2p > 0 ? &tally->latencies[k] : &tally->plain[k]) += 1;
    }
}

static void anchor_row(char *f[MAX_FIELDS], int count, void *context) {
    cr_assert_eq(count, 10);
    struct golden row = {.p = (int32_t)strtol(f[2], NULL, 10),
                         .v = (int32_t)strtol(f[3], NULL, 10),
                         .m = (int32_t)strtol(f[4], NULL, 10),
                         .f = strtod(f[5], NULL),
                         .w = strtod(f[6], NULL) / 2,
                         .i = strtod(f[6], NULL) / 2,
                         .pair = strtod(f[7], NULL),
                         .p2p = strtod(f[8], NULL)};
    if (strcmp(f[0], "viz") == 0) {
        compare_viz(f[1], &row, strtod(f[9], NULL), context);
    }
}

Test(goldens, the_visualizers_totals) {
    struct viz_tally tally = {0};
    each_row(PP_TEST_DIR "/sim/anchors.tsv", anchor_row, &tally);
    for (size_t k = 0; k < STRATEGIES; k++) {
        cr_expect_eq(tally.plain[k], strategies[k].plain, "%s", strategies[k].name);
        cr_expect_eq(tally.latencies[k], strategies[k].latencies, "%s", strategies[k].name);
    }
    cr_log_info("shorter than theirs, by transfers that hold up a sender there: %d rows",
                tally.shorter);
}

/* strategy devices stages batches F B D W FB p2p total_time ... status */
static void viz_row(char *f[MAX_FIELDS], int count, void *context) {
    if (count < 17 || strcmp(f[16], "ok") != 0) {
        return;
    }
    const char *name = strncmp(f[0], "README:", 7) == 0 ? f[0] + 7 : f[0];
    bool copies = strcmp(name, "dualpipe") == 0; /* its stages are those of one copy */
    struct golden row = {.p = (int32_t)strtol(f[1], NULL, 10),
                         .m = (int32_t)strtol(f[3], NULL, 10)};
    int32_t shares = (int32_t)strtol(f[2], NULL, 10) / row.p;
    row.v = copies ? 2 : shares;
    row.f = strtod(f[4], NULL) * shares;
    row.i = row.w = strtod(f[5], NULL) * shares / 2;
    row.pair = strtod(f[8], NULL) * shares;
    row.p2p = strtod(f[9], NULL);
    compare_viz(name, &row, strtod(f[10], NULL), context);
}

Test(goldens, the_visualizers_table_itself) {
    const char *path = PP_SHARED_DIR "/golden/schedules/viz.tsv";
    if (!has_shared(path)) {
        cr_skip_test("../shared is not there");
    }
    struct viz_tally tally = {0};
    each_row(path, viz_row, &tally);
    int rows = 0;
    for (size_t k = 0; k < STRATEGIES; k++) {
        rows += tally.plain[k] + tally.latencies[k];
    }
    cr_assert_eq(rows, 240); /* all that ended well */
}

/* ---- PyTorch's lists through another evaluator ---- */

/* Peaks of the ranks as the table prints them. W frees as much of a microbatch as their model has
 * it: all where costs are units, else 73728 of 201216. */
static void expect_peaks(const struct golden *row, const struct pp_sched *s, const char *text) {
    int64_t adds[256], w_frees[256], i_frees[256];
    struct pp_rank_memory peaks[64];
    int64_t whole = row->f > 100 ? 201216 : 1;
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        adds[stage] = whole;
        w_frees[stage] = whole == 1 ? 1 : 73728;
        i_frees[stage] = whole - w_frees[stage];
    }
    struct pp_memory_model model = {.f_adds = adds, .i_frees = i_frees, .w_frees = w_frees};
    pp_memory_peaks(s, &model, peaks);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        char ours[32];
        snprintf(ours, sizeof ours, "%.6g", (double)peaks[rank].peak / (double)(whole * row->v));
        size_t length = strcspn(text, ",");
        cr_expect(strlen(ours) == length && strncmp(ours, text, length) == 0,
                  "%s p %d v %d m %d: peak %s, expected %s", row->schedule, row->p, row->v, row->m,
                  ours, text);
        text += length + (text[length] == ',');
    }
    cr_expect_eq(*text, '\0');
}

struct torchpp_tally {
    int rows, by_engine;
    int peaks;
};

static bool has_pairs(const struct pp_sched *s) {
    for (int32_t at = 0; at < s->action_count; at++) {
        if (s->actions[at].pair != 0) {
            return true;
        }
    }
    return false;
}

static void torchpp_row(char *f[MAX_FIELDS], int count, void *context) {
    static struct golden_costs c;
    struct torchpp_tally *tally = context;
    cr_assert_eq(count, 11);
    struct golden row = {.schedule = f[0],
                         .p = (int32_t)strtol(f[1], NULL, 10),
                         .v = (int32_t)strtol(f[2], NULL, 10),
                         .m = (int32_t)strtol(f[3], NULL, 10),
                         .f = strtod(f[4], NULL),
                         .i = strtod(f[5], NULL),
                         .w = strtod(f[6], NULL),
                         .p2p = strtod(f[7], NULL)};
    struct pp_sched *s = make_schedule(row.schedule, row.p, row.v, row.m);
    golden_costs_init(&c, &row, s);
    struct pp_metrics metrics = evaluate(s, &c.costs);
    cr_expect_eq(metrics.makespan_ns, whole_ns(strtod(f[8], NULL)), "%s p %d v %d m %d p2p %g: %ld",
                 row.schedule, row.p, row.v, row.m, row.p2p, (long)metrics.makespan_ns);
    cr_expect_eq(metrics.span_ns, whole_ns(strtod(f[9], NULL)), "%s p %d v %d m %d p2p %g: %ld",
                 row.schedule, row.p, row.v, row.m, row.p2p, (long)metrics.span_ns);
    if (!has_pairs(s)) { /* else the SEND of a first part waits for the second */
        cr_expect_eq(by_engine(s, &c.costs), metrics.makespan_ns, "%s p %d v %d m %d p2p %g",
                     row.schedule, row.p, row.v, row.m, row.p2p);
        tally->by_engine++;
    }
    expect_peaks(&row, s, f[10]);
    tally->rows++;
    tally->peaks += s->rank_count;
    pp_sched_destroy(s);
}

Test(goldens, makespans_spans_and_peaks_of_pytorchs_lists) {
    struct torchpp_tally tally = {0};
    each_row(PP_TEST_DIR "/sim/torchpp.tsv", torchpp_row, &tally);
    cr_assert_eq(tally.rows, 288);
    cr_assert_eq(tally.by_engine, 266);
    cr_log_info("%d rows, %d of them by the engine, peaks of %d ranks", tally.rows, tally.by_engine,
                tally.peaks);
}

/* scheduler p m tF tB tW tComm mem_limit makespan bubble peak_mem_max seconds nstages_per_rank
 * span_max bubble_span peak_per_rank status */
static void torchpp_full_row(char *f[MAX_FIELDS], int count, void *context) {
    if (count == 17 && strcmp(f[16], "ok") == 0) {
        char *packed[MAX_FIELDS] = {f[0], f[1], f[12], f[2],  f[3], f[4],
                                    f[5], f[6], f[8],  f[13], f[15]};
        torchpp_row(packed, 11, context);
    }
}

Test(goldens, the_evaluators_table_itself) {
    const char *path = PP_SHARED_DIR "/golden/schedules/torchpp.tsv";
    if (!has_shared(path)) {
        cr_skip_test("../shared is not there");
    }
    struct torchpp_tally tally = {0};
    each_row(path, torchpp_full_row, &tally);
    cr_assert_eq(tally.rows, 288);
}
