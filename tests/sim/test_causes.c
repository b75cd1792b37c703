#include "sim/metrics.h"
#include "tests/sim/causes_support.h"
#include "tests/sim/random_memory.h"

enum { MANY = 4096 };

struct cost_set {
    int64_t f[MANY], i[MANY], w[MANY], b[MANY], pair[MANY], recv_f[MANY], recv_b[MANY];
    int64_t offload[MANY];
    struct pp_costs costs;
};

static struct pp_costs all_costs(const struct cost_set *c) {
    return (struct pp_costs){.f_ns = c->f,
                             .i_ns = c->i,
                             .w_ns = c->w,
                             .b_ns = c->b,
                             .recv_f_ns = c->recv_f,
                             .recv_b_ns = c->recv_b,
                             .offload_ns = c->offload};
}

static void draw_costs(struct cost_set *c, uint64_t *seed, bool pairs) {
    for (int32_t s = 0; s < 64; s++) {
        c->f[s] = random_below(seed, 5);
        c->i[s] = random_below(seed, 5);
        c->w[s] = random_below(seed, 5);
        c->b[s] = random_below(seed, 9);
        c->pair[s] = random_below(seed, 10);
        c->recv_f[s] = random_below(seed, 4);
        c->recv_b[s] = random_below(seed, 4);
        c->offload[s] = random_below(seed, 8);
    }
    c->costs = all_costs(c);
    c->costs.pair_ns = pairs ? c->pair : NULL;
}

static void even_costs(struct cost_set *c, int64_t f, int64_t i, int64_t w, int64_t p2p) {
    for (int32_t s = 0; s < MANY; s++) {
        c->f[s] = f;
        c->i[s] = i;
        c->w[s] = w;
        c->b[s] = i + w;
        c->recv_f[s] = c->recv_b[s] = p2p;
        c->offload[s] = 1;
    }
    c->costs = all_costs(c);
}

/* A trace and what made it. */
struct run {
    struct pp_sched *s;
    struct pp_eval *e;
    struct pp_trace t;
    struct pp_cause_inputs in;
};

static struct run run_of(struct pp_sched *s, const struct pp_costs *costs) {
    struct run r = {.s = s};
    struct pp_err err = {0};
    cr_assert_eq(pp_eval_create(s, &r.e, NULL, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_trace_init(&r.t, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(r.e, costs, &r.t, &err), PP_OK, "%s", err.message);
    r.in = (struct pp_cause_inputs){
        .binding = pp_eval_binding, .context = r.e, .recv_f_ns = costs->recv_f_ns};
    return r;
}

static void end_run(struct run *r) {
    pp_trace_deinit(&r->t);
    pp_eval_destroy(r->e);
    pp_sched_destroy(r->s);
}

/* `count` flushes one after the other. Takes `s`. */
static struct pp_sched *repeat(struct pp_sched *s, int32_t count) {
    struct pp_sched *all = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_repeat(s, count, &all, &err), PP_OK, "%s", err.message);
    pp_sched_destroy(s);
    return all;
}

/* Sums of a rank are its idle time, whatever else. */
static struct pp_idle expect_exact_sums(const struct run *r, struct pp_idle *ranks) {
    struct pp_metrics metrics;
    struct pp_idle total = {0};
    int64_t busy[256];
    pp_metrics_of(&r->t, &metrics, busy);
    pp_idle_of(&r->t, &r->in, ranks);
    for (int32_t rank = 0; rank < r->s->rank_count; rank++) {
        int64_t sum = 0;
        for (int c = 0; c < PP_CAUSE_COUNT; c++) {
            cr_assert_geq(ranks[rank].ns[c], 0);
            sum += ranks[rank].ns[c];
            total.ns[c] += ranks[rank].ns[c];
        }
        cr_assert_eq(sum, metrics.makespan_ns - busy[rank]);
    }
    return total;
}

/* --- against the slow one ----------------------------------------------------------------------*/

static struct pp_sched *draw_any(uint64_t *seed, int i, int32_t *flush) {
    struct pp_sched *s = draw_sealed_within(seed, &draw_usual);
    *flush = 0;
    if (i % 3 == 1) {
        *flush = s->microbatch_count;
        s = repeat(s, 1 + random_below(seed, 3));
    }
    return s;
}

/* Durations of each action, so that no two of a stage need be equal. */
static void run_uneven(struct run *r, const struct cost_set *c, uint64_t *seed) {
    static int64_t duration[MANY];
    static int64_t transfer[MANY];
    cr_assert_leq(r->s->action_count, MANY);
    for (int32_t at = 0; at < r->s->action_count; at++) {
        duration[at] = random_below(seed, 6);
        transfer[at] = c->recv_f[0];
    }
    struct pp_eval_inputs in = {
        .costs = &c->costs, .duration_ns = duration, .transfer_ns = transfer};
    cr_assert_eq(pp_eval_run_with(r->e, &in, &r->t, NULL), PP_OK);
    r->in.recv_f_ns = NULL;
}

Test(causes, equal_those_of_a_slow_second_implementation) {
    static struct cost_set c;
    static struct drawn_memory a;
    struct pp_idle seen = {0};
    uint64_t seed = 21;
    int cases = 0;
    for (int i = 0; i < 10000; i += CASE_STEP == 1 ? 1 : 11, cases++) {
        int32_t flush;
        struct pp_sched *s = draw_any(&seed, i, &flush);
        draw_costs(&c, &seed, i % 2 == 0);
        draw_memory(&a, 4, &seed);
        struct run r = run_of(s, &c.costs);
        if (i % 5 == 0) {
            run_uneven(&r, &c, &seed);
        }
        r.in.flush_microbatches = flush;
        if (i % 4 > 0) {
            r.in.memory = &a.model;
            r.in.limit = i % 4 > 1 ? a.limit : NULL;
        }
        char what[32];
        snprintf(what, sizeof what, "schedule %d", i);
        expect_slow_causes(&r.t, &r.in, &seen, what);
        end_run(&r);
    }
    for (int k = 0; k < PP_CAUSE_COUNT; k++) {
        cr_log_info("%s: %lld ns", pp_cause_text((enum pp_cause)k), (long long)seen.ns[k]);
        cr_assert(k == PP_CAUSE_COLLECTIVE || seen.ns[k] > 500);
    }
    cr_log_info("%d schedules", cases);
}

/* Does `at`, with its transfer, end when `part` starts that waits for it? */
static bool slow_holds(const struct run *r, const struct pp_costs *costs, int32_t at, int32_t part,
                       int64_t *lag) {
    const struct pp_sched *s = r->s;
    const struct pp_action *a = &s->actions[part];
    *lag = 0;
    if (s->producer[part] == at) {
        *lag = pp_costs_transfer_ns(costs, s, a->type == PP_F, a->stage);
    } else if (s->reload == NULL || s->reload[part] != at) {
        return false;
    }
    return r->t.end_ns[at] + *lag == r->t.start_ns[part];
}

/* The compute action before on the rank, if that was it; of a transfer to the host the transfer
 * before; else the first in the list of inputs and RELOADs that were. */
static struct pp_binding slow_binding(const struct run *r, const struct pp_costs *costs,
                                      int32_t at) {
    const struct pp_sched *s = r->s;
    int32_t other = s->actions[at].pair == 1 ? at + 1 : at - 1;
    bool as_one = s->actions[at].pair != 0 && r->t.start_ns[at] == r->t.start_ns[other] &&
                  r->t.end_ns[at] == r->t.end_ns[other];
    int32_t first = as_one && s->actions[at].pair == 2 ? at - 1 : at;
    int32_t begin = s->rank_begin[s->stage_rank[s->actions[at].stage]];
    for (int host = 0; host <= pp_action_is_offload(&s->actions[at]); host++) {
        int32_t before = first - 1;
        while (before >= begin && pp_action_is_offload(&s->actions[before]) != (host == 1)) {
            before--;
        }
        if (before >= begin && r->t.end_ns[before] == r->t.start_ns[at]) {
            return (struct pp_binding){.action = before};
        }
    }
    for (int32_t b = 0; b < s->action_count; b++) {
        for (int32_t part = first; part <= (as_one ? first + 1 : first); part++) {
            int64_t lag;
            if (!pp_action_is_offload(&s->actions[at]) && slow_holds(r, costs, b, part, &lag)) {
                return (struct pp_binding){.action = b, .lag_ns = lag};
            }
        }
    }
    return (struct pp_binding){.action = -1};
}

/* And every binding ends, its lag included, when the action starts; only at time 0 nothing binds.
 */
Test(causes, bindings_of_the_evaluation_are_exact) {
    static struct cost_set c;
    uint64_t seed = 23;
    for (int i = 0; i < 2000; i += CASE_STEP) {
        int32_t flush;
        struct pp_sched *s = draw_any(&seed, i, &flush);
        draw_costs(&c, &seed, i % 2 == 0);
        struct run r = run_of(s, &c.costs);
        for (int32_t at = 0; at < s->action_count; at++) {
            struct pp_binding b = pp_eval_binding(r.e, &r.t, at);
            struct pp_binding slow = slow_binding(&r, &c.costs, at);
            int64_t from = b.action < 0 ? 0 : r.t.end_ns[b.action] + b.lag_ns;
            cr_assert_eq(from, r.t.start_ns[at]);
            cr_assert(b.action == slow.action && b.lag_ns == slow.lag_ns,
                      "schedule %d: action %d waits for %d and %d ns, slow: %d and %d ns", i, at,
                      b.action, (int)b.lag_ns, slow.action, (int)slow.lag_ns);
        }
        end_run(&r);
    }
}

/* --- by formula --------------------------------------------------------------------------------*/

static void expect_idle(const struct pp_idle *idle, const struct pp_idle *expected,
                        const char *what, int32_t rank) {
    for (int c = 0; c < PP_CAUSE_COUNT; c++) {
        cr_expect_eq(idle->ns[c], expected->ns[c], "%s, rank %d: %s is %lld, expected %lld", what,
                     rank, pp_cause_text((enum pp_cause)c), (long long)idle->ns[c],
                     (long long)expected->ns[c]);
    }
}

/* Rank r waits r forwards for its first, then for its first backward as the last rank's comes back
 * over p-1-r ranks. Afterwards, in GPipe the backwards drain over r ranks. In 1F1B the last p-1-r
 * of them also wait for a forward each that others still run. */
Test(causes, gpipe_and_1f1b_fill_and_drain) {
    static struct cost_set c;
    even_costs(&c, 10, 12, 8, 0);
    for (int32_t p = 1; p <= 12; p++) {
        for (int32_t m = p; m <= 3 * p; m += p) {
            for (int is_1f1b = 0; is_1f1b < 2; is_1f1b++) {
                const char *name = is_1f1b ? "1F1B" : "GPipe";
                struct pp_idle ranks[16];
                struct run r = run_of(make_schedule(name, p, 1, m), &c.costs);
                expect_exact_sums(&r, ranks);
                for (int32_t k = 0; k < p; k++) {
                    int64_t behind = p - 1 - k;
                    struct pp_idle expected = {0};
                    expected.ns[PP_CAUSE_FILL] = 10 * k + behind * (is_1f1b ? 20 : 30);
                    expected.ns[PP_CAUSE_DRAIN] = 20 * k + behind * (is_1f1b ? 10 : 0);
                    expect_idle(&ranks[k], &expected, name, k);
                }
                end_run(&r);
            }
        }
    }
}

/* The slow stage computes all the time between its first and last action; each further microbatch
 * makes the others wait for what it takes longer, wherever they are in the pipeline. */
Test(causes, a_slow_stage_is_imbalance_for_the_others) {
    static struct cost_set c;
    for (int32_t slow = 0; slow < 4; slow++) {
        struct pp_idle ranks[4];
        struct pp_idle more[4];
        even_costs(&c, 10, 10, 10, 0);
        c.f[slow] = 15;
        c.b[slow] = 30;
        struct run r = run_of(make_schedule("1F1B", 4, 1, 40), &c.costs);
        expect_exact_sums(&r, ranks);
        struct run r2 = run_of(make_schedule("1F1B", 4, 1, 41), &c.costs);
        expect_exact_sums(&r2, more);
        for (int32_t k = 0; k < 4; k++) {
            struct pp_idle expected = ranks[k];
            expected.ns[PP_CAUSE_IMBALANCE] += k == slow ? 0 : 15; /* one more microbatch */
            expect_idle(&more[k], &expected, "one more microbatch", k);
            cr_expect_eq(ranks[k].ns[PP_CAUSE_MEMORY], 0);
            cr_expect_eq(ranks[k].ns[PP_CAUSE_P2P], 0);
        }
        end_run(&r);
        end_run(&r2);
    }
}

/* Each hop of the first forward and of the first backward is waited for by every rank once. The
 * other waits of the first backward and of the end are for compute, which is as much later. */
Test(causes, latency_is_exposed_p2p) {
    static struct cost_set c;
    for (int32_t p = 2; p <= 6; p++) {
        struct pp_idle ranks[8];
        struct pp_idle without[8];
        even_costs(&c, 10, 10, 10, 0);
        struct run r = run_of(make_schedule("GPipe", p, 1, 2 * p), &c.costs);
        expect_exact_sums(&r, without);
        c.costs.recv_f_ns = c.costs.recv_b_ns = c.recv_f;
        for (int32_t s = 0; s < p; s++) {
            c.recv_f[s] = 3;
        }
        struct run slow = run_of(make_schedule("GPipe", p, 1, 2 * p), &c.costs);
        expect_exact_sums(&slow, ranks);
        for (int32_t k = 0; k < p; k++) {
            struct pp_idle expected = without[k];
            expected.ns[PP_CAUSE_P2P] += 3 * (p - 1);
            expected.ns[PP_CAUSE_FILL] += 3 * (p - 1 - k);
            expected.ns[PP_CAUSE_DRAIN] += 3 * k;
            expect_idle(&ranks[k], &expected, "hops of 3 ns", k);
        }
        end_run(&r);
        end_run(&slow);
    }
}

/* An order that stays below a limit waits for memory as soon as the limit is told, and only then.
 */
Test(causes, memory_only_with_a_limit) {
    static struct cost_set c;
    int64_t one[64];
    int64_t limit[64];
    for (int32_t s = 0; s < 64; s++) {
        one[s] = 1;
    }
    struct pp_memory_model model = {.f_adds = one, .w_frees = one};
    static const char *const names[] = {"VMin", "VHalf"};
    for (int n = 0; n < 2; n++) {
        struct pp_idle ranks[8];
        struct pp_rank_memory peaks[8];
        even_costs(&c, 10, 13, 7, 0);
        struct run r = run_of(make_schedule(names[n], 4, 2, 12), &c.costs);
        struct pp_idle before = expect_exact_sums(&r, ranks);
        cr_expect_eq(before.ns[PP_CAUSE_MEMORY], 0);
        pp_memory_peaks(r.s, &model, peaks);
        for (int32_t k = 0; k < 4; k++) {
            limit[k] = peaks[k].peak;
        }
        r.in.memory = &model;
        struct pp_idle no_limit = expect_exact_sums(&r, ranks);
        cr_expect_eq(no_limit.ns[PP_CAUSE_MEMORY], 0);
        r.in.limit = limit;
        struct pp_idle limited = expect_exact_sums(&r, ranks);
        for (int32_t k = 0; k < 4; k++) {
            limit[k] = 1000;
        }
        struct pp_idle roomy = expect_exact_sums(&r, ranks);
        cr_expect_eq(roomy.ns[PP_CAUSE_MEMORY], 0);
        cr_log_info("%s: dependency %d, of that memory %d", names[n],
                    (int)before.ns[PP_CAUSE_DEPENDENCY], (int)limited.ns[PP_CAUSE_MEMORY]);
        cr_expect(n != 0 || limited.ns[PP_CAUSE_MEMORY] > 0);
        cr_expect_eq(limited.ns[PP_CAUSE_FILL], before.ns[PP_CAUSE_FILL]);
        cr_expect_eq(limited.ns[PP_CAUSE_DRAIN], before.ns[PP_CAUSE_DRAIN]);
        end_run(&r);
    }
}

/* A second flush costs what 1F1B's ends do not overlap: rank 0's next flush begins when it is
 * through with the first, and the wait for it is no fill. */
Test(causes, flushes_have_gaps_between_them) {
    static struct cost_set c;
    even_costs(&c, 10, 12, 8, 0);
    for (int32_t p = 2; p <= 6; p++) {
        struct pp_idle ranks[8];
        struct pp_idle alone[8];
        int32_t m = 2 * p;
        struct run r1 = run_of(make_schedule("1F1B", p, 1, m), &c.costs);
        expect_exact_sums(&r1, alone);
        struct run r = run_of(repeat(make_schedule("1F1B", p, 1, m), 3), &c.costs);
        r.in.flush_microbatches = m;
        expect_exact_sums(&r, ranks);
        for (int32_t k = 0; k < p; k++) {
            /* from the end of its flush to the first F of the next: k backwards, k forwards */
            cr_expect_eq(ranks[k].ns[PP_CAUSE_FLUSH], 2 * 30 * k);
            cr_expect_eq(ranks[k].ns[PP_CAUSE_FILL], 3 * alone[k].ns[PP_CAUSE_FILL] - 2 * 10 * k);
            cr_expect_eq(ranks[k].ns[PP_CAUSE_DRAIN], 3 * alone[k].ns[PP_CAUSE_DRAIN] - 2 * 20 * k);
        }
        end_run(&r);
        end_run(&r1);
    }
}

/* --- every generated schedule ------------------------------------------------------------------*/

static void add_piece(void *context, const struct pp_idle_piece *piece) {
    ((struct pp_idle *)context)->ns[piece->cause] += piece->end_ns - piece->start_ns;
}

/* Each action starts at the end of the one before, and its lag; the first at 0. */
static void expect_contiguous(const struct run *r) {
    static int32_t path[MANY];
    struct pp_metrics metrics;
    pp_metrics_of(&r->t, &metrics, NULL);
    int32_t n = pp_critical_path(&r->t, &r->in, path, MANY);
    cr_assert(n > 0 && n <= MANY);
    cr_assert_eq(r->t.start_ns[path[0]], 0);
    cr_assert_eq(r->t.end_ns[path[n - 1]], metrics.makespan_ns);
    for (int32_t at = 0; at < path[n - 1]; at++) {
        cr_assert_lt(r->t.end_ns[at], metrics.makespan_ns);
    }
    int64_t length = 0;
    for (int32_t k = 0; k < n; k++) {
        struct pp_binding b = r->in.binding(r->in.context, &r->t, path[k]);
        cr_assert_eq(b.action, k == 0 ? -1 : path[k - 1]);
        cr_assert_eq(r->t.start_ns[path[k]], k == 0 ? 0 : r->t.end_ns[path[k - 1]] + b.lag_ns);
        length += r->t.end_ns[path[k]] - r->t.start_ns[path[k]] + b.lag_ns;
    }
    cr_assert_eq(length, metrics.makespan_ns);
    int32_t tail[3] = {-1, -1, -1};
    cr_assert_eq(pp_critical_path(&r->t, &r->in, tail, 2), n);
    cr_assert_eq(tail[1], n >= 2 ? path[n - 1] : -1);
    cr_assert_eq(tail[0], n >= 2 ? path[n - 2] : path[n - 1]);
    cr_assert_eq(tail[2], -1);
    cr_assert_eq(pp_critical_path(&r->t, &r->in, NULL, 0), n);
}

Test(causes, every_schedule_sums_exactly_and_has_a_critical_path) {
    static struct cost_set c;
    uint64_t seed = 5;
    int cases = 0;
    for (int32_t n = 0; n < pp_schedule_count(); n++) {
        const struct pp_schedule_info *info = pp_schedule_at(n);
        int32_t step = info->is_bidirectional ? 2 : 1;
        for (int32_t p = step; p <= (CASE_STEP == 1 ? 6 : 3); p += step, cases++) {
            struct pp_idle ranks[8];
            draw_costs(&c, &seed, p % 3 == 0);
            struct run r = run_of(
                make_schedule(info->name, p, info->default_stages_per_rank, 4 * p), &c.costs);
            expect_exact_sums(&r, ranks);
            for (int32_t k = 0; k < p; k++) {
                struct pp_idle sums = {0};
                pp_idle_pieces(&r.t, &r.in, k, add_piece, &sums);
                expect_idle(&sums, &ranks[k], info->name, k);
            }
            expect_contiguous(&r);
            end_run(&r);
        }
    }
    cr_assert_geq(cases, 100 / CASE_STEP);
}

/* A gap of many links: rank 0 runs its W's when rank 1 is through. */
Test(causes, a_long_chain_is_told_in_order) {
    enum { M = 400 };
    static struct cost_set c;
    static const int32_t place[2] = {0, 1};
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_sched_create(2, 2, M, place, &s, NULL), PP_OK);
    for (int32_t m = 0; m < M; m++) {
        pp_sched_add(s, 0, PP_F, 0, m, NULL);
        pp_sched_add(s, 1, PP_F, 1, m, NULL);
    }
    for (int32_t m = 0; m < M; m++) {
        pp_sched_add(s, 0, PP_I, 0, m, NULL);
        pp_sched_add(s, 1, PP_B, 1, m, NULL);
    }
    for (int32_t m = 0; m < M; m++) {
        pp_sched_add(s, 0, PP_W, 0, m, NULL);
    }
    cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
    even_costs(&c, 2, 1, 1, 1);
    struct run r = run_of(s, &c.costs);
    struct pp_idle ranks[2];
    expect_exact_sums(&r, ranks);
    static struct paint paint;
    struct pp_idle seen = {0};
    paint = (struct paint){0};
    pp_idle_pieces(&r.t, &r.in, 1, paint_piece, &paint);
    cr_assert_eq(paint.now, r.t.end_ns[3 * M - 1]);
    cr_assert_gt(ranks[1].ns[PP_CAUSE_DRAIN], M);
    expect_slow_causes(&r.t, &r.in, &seen, "long chain");
    end_run(&r);
}
