#include "sim/metrics.h"
#include "tests/sim/random_sched.h"

enum { MANY = 4096 };

/* Cost arrays of random size for any schedule of these tests. */
struct cost_set {
    int64_t f[MANY], i[MANY], w[MANY], b[MANY], pair[MANY], recv_f[MANY], recv_b[MANY];
    int64_t offload[MANY];
    struct pp_costs costs;
};

static void draw_costs(struct cost_set *c, uint64_t *seed, int32_t stages, bool pairs) {
    for (int32_t s = 0; s < stages; s++) {
        c->f[s] = random_below(seed, 1000);
        c->i[s] = random_below(seed, 1000);
        c->w[s] = random_below(seed, 1000);
        c->b[s] = random_below(seed, 2000);
        c->pair[s] = random_below(seed, 2000);
        c->recv_f[s] = random_below(seed, 300);
        c->recv_b[s] = random_below(seed, 300);
        c->offload[s] = random_below(seed, 2000);
    }
    c->costs = (struct pp_costs){.f_ns = c->f,
                                 .i_ns = c->i,
                                 .w_ns = c->w,
                                 .b_ns = c->b,
                                 .pair_ns = pairs ? c->pair : NULL,
                                 .recv_f_ns = c->recv_f,
                                 .recv_b_ns = c->recv_b,
                                 .offload_ns = c->offload};
}

static void even_costs(struct cost_set *c, int32_t stages, int64_t f, int64_t i, int64_t w,
                       int64_t b) {
    for (int32_t s = 0; s < stages; s++) {
        c->f[s] = f;
        c->i[s] = i;
        c->w[s] = w;
        c->b[s] = b;
    }
    c->costs = (struct pp_costs){.f_ns = c->f, .i_ns = c->i, .w_ns = c->w, .b_ns = c->b};
}

/* --- a second, slow and obvious implementation ------------------------------------------------ */

/* The action that `at` needs from a neighbour stage, found by looking at all of them. */
static int32_t slow_producer(const struct pp_sched *s, int32_t at) {
    const struct pp_action *a = &s->actions[at];
    for (int32_t i = 0; i < s->action_count; i++) {
        const struct pp_action *p = &s->actions[i];
        bool forward =
            a->type == PP_F && p->type == PP_F && p->stage == pp_sched_stage_before(s, a->stage);
        bool backward = (a->type == PP_B || a->type == PP_I) &&
                        (p->type == PP_B || p->type == PP_I) &&
                        p->stage == pp_sched_stage_after(s, a->stage);
        if (p->microbatch == a->microbatch && (forward || backward)) {
            return i;
        }
    }
    return -1;
}

/* The RELOAD that the backward `at` waits for; -1 if what it needs never left. */
static int32_t slow_reload(const struct pp_sched *s, int32_t at) {
    const struct pp_action *a = &s->actions[at];
    for (int32_t i = 0; i < s->action_count && (a->type == PP_I || a->type == PP_B); i++) {
        const struct pp_action *r = &s->actions[i];
        if (r->type == PP_RELOAD && r->stage == a->stage && r->microbatch == a->microbatch) {
            return i;
        }
    }
    return -1;
}

/* What an action waits for, looked up once a schedule. */
struct slow_needs {
    int32_t producer[MANY], reload[MANY];
};

static void slow_look_up(const struct pp_sched *s, struct slow_needs *needs) {
    for (int32_t at = 0; at < s->action_count; at++) {
        needs->producer[at] = slow_producer(s, at);
        needs->reload[at] = s->reload == NULL ? -1 : slow_reload(s, at);
    }
}

static int64_t slow_duration(const struct pp_sched *s, const struct pp_eval_inputs *in,
                             int32_t at) {
    const struct pp_action *a = &s->actions[at];
    const struct pp_costs *c = in->costs;
    bool as_one = a->pair == 1 && c->pair_ns != NULL;
    if (in->duration_ns != NULL) {
        return in->duration_ns[at];
    }
    return as_one                  ? c->pair_ns[a->stage]
           : a->type >= PP_OFFLOAD ? c->offload_ns[a->stage]
           : a->type == PP_F       ? c->f_ns[a->stage]
           : a->type == PP_I       ? c->i_ns[a->stage]
           : a->type == PP_W       ? c->w_ns[a->stage]
                                   : c->b_ns[a->stage];
}

static int64_t slow_arrival(const struct pp_sched *s, const struct slow_needs *needs,
                            const struct pp_eval_inputs *in, int32_t at, const int64_t *end) {
    int32_t producer = needs->producer[at];
    int64_t reloaded = needs->reload[at] < 0 ? 0 : end[needs->reload[at]];
    if (producer < 0) {
        return reloaded;
    }
    const struct pp_action *a = &s->actions[at];
    bool same = s->stage_rank[a->stage] == s->stage_rank[s->actions[producer].stage];
    int64_t transfer = in->transfer_ns != NULL ? in->transfer_ns[at]
                       : a->type == PP_F       ? in->costs->recv_f_ns[a->stage]
                                               : in->costs->recv_b_ns[a->stage];
    int64_t arrival = end[producer] + (same ? 0 : transfer);
    return arrival > reloaded ? arrival : reloaded;
}

/* Repeats "start when everything before me has ended" until nothing moves. */
static void slow_times(const struct pp_sched *s, const struct slow_needs *needs,
                       const struct pp_eval_inputs *in, int64_t *start, int64_t *end) {
    memset(end, 0, (size_t)s->action_count * sizeof *end);
    for (bool moved = true; moved;) {
        moved = false;
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            int64_t free_at = in->begin_ns == NULL ? 0 : in->begin_ns[rank];
            int64_t host_free_at = free_at;
            for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
                if (s->actions[at].type >= PP_OFFLOAD) {
                    start[at] = host_free_at > free_at ? host_free_at : free_at;
                    host_free_at = start[at] + slow_duration(s, in, at);
                    moved = moved || end[at] != host_free_at;
                    end[at] = host_free_at;
                    continue;
                }
                int64_t begin = slow_arrival(s, needs, in, at, end);
                bool as_one = in->costs->pair_ns != NULL && s->actions[at].pair == 1;
                if (as_one && slow_arrival(s, needs, in, at + 1, end) > begin) {
                    begin = slow_arrival(s, needs, in, at + 1, end);
                }
                begin = begin > free_at ? begin : free_at;
                int64_t ends = begin + slow_duration(s, in, at);
                moved = moved || ends != end[at];
                start[at] = begin;
                end[at] = free_at = ends;
                if (as_one) {
                    at++;
                    start[at] = begin;
                    end[at] = ends;
                }
            }
        }
    }
}

/* Runs actions as long as any can; a pair needs both inputs. @return actions that ran */
static int32_t slow_run(const struct pp_sched *s, int32_t *next, bool *ran) {
    int32_t count = 0;
    memset(ran, 0, (size_t)s->action_count * sizeof *ran);
    memcpy(next, s->rank_begin, (size_t)s->rank_count * sizeof *next);
    for (bool moved = true; moved;) {
        moved = false;
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            int32_t at = next[rank];
            if (at == s->rank_begin[rank + 1]) {
                continue;
            }
            int32_t size = s->actions[at].pair == 1 ? 2 : 1;
            bool can = true;
            for (int32_t i = at; i < at + size; i++) {
                int32_t producer = slow_producer(s, i);
                can = can && (producer < 0 || ran[producer]);
            }
            for (int32_t i = at; can && i < at + size; i++) {
                ran[i] = true;
                count++;
            }
            next[rank] += can ? size : 0;
            moved = moved || can;
        }
    }
    return count;
}

/* --- times -------------------------------------------------------------------------------------*/

static void expect_equal(const struct pp_sched *s, const struct slow_needs *needs,
                         const struct pp_eval_inputs *in, const struct pp_trace *t) {
    static int64_t start[MANY], end[MANY];
    slow_times(s, needs, in, start, end);
    for (int32_t at = 0; at < s->action_count; at++) {
        if (t->start_ns[at] != start[at] || t->end_ns[at] != end[at]) {
            cr_assert_fail("action %d: %ld to %ld, need %ld to %ld", at, (long)t->start_ns[at],
                           (long)t->end_ns[at], (long)start[at], (long)end[at]);
        }
    }
}

/* By costs, and with what pp_eval_run_with may be told beyond them. */
static void expect_same_times(const struct pp_sched *s, const struct pp_costs *c, uint64_t *seed) {
    static struct slow_needs needs;
    static int64_t duration[MANY], transfer[MANY], begin[64];
    cr_assert_lt(s->action_count, MANY);
    slow_look_up(s, &needs);
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_err err = {0};
    cr_assert_eq(pp_eval_create(s, &e, NULL, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(e, c, &t, &err), PP_OK, "%s", err.message);
    struct pp_eval_inputs in = {.costs = c};
    expect_equal(s, &needs, &in, &t);
    for (int32_t at = 0; at < s->action_count; at++) {
        duration[at] = random_below(seed, 1000);
        transfer[at] = random_below(seed, 300);
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        begin[rank] = random_below(seed, 2000);
    }
    int32_t which = random_below(seed, 8);
    in.duration_ns = (which & 1) != 0 ? duration : NULL;
    in.transfer_ns = (which & 2) != 0 ? transfer : NULL;
    in.begin_ns = (which & 4) != 0 ? begin : NULL;
    cr_assert_eq(pp_eval_run_with(e, &in, &t, &err), PP_OK, "%s", err.message);
    expect_equal(s, &needs, &in, &t);
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
}

/* A tenth of the cases as large as the other tests' schedules, the rest small. */
static const struct draw_limits *limits_of(int64_t n) {
    static const struct draw_limits small = {.ranks = 4, .more_stages = 3, .microbatches = 3};
    return n % 10 == 0 ? &draw_usual : &small;
}

static int64_t cases(int64_t usual, int64_t full) {
    return (getenv("PP_TEST_FULL") != NULL ? full : usual) / CASE_STEP;
}

Test(eval, times_equal_those_of_a_slow_second_implementation) {
    static struct cost_set c;
    uint64_t seed = 1;
    int64_t count = cases(70000, 700000);
    for (int64_t n = 0; n < count; n++) {
        struct pp_sched *s = draw_schedule_within(&seed, limits_of(n));
        struct pp_err err = {0};
        cr_assert_eq(pp_sched_seal(s, &err), PP_OK, "%s", err.message);
        draw_costs(&c, &seed, s->stage_count, random_below(&seed, 2) == 0);
        expect_same_times(s, &c.costs, &seed);
        pp_sched_destroy(s);
    }
    cr_log_info("%ld schedules", (long)count);
}

Test(eval, offloads_too) {
    static struct cost_set c;
    uint64_t seed = 4;
    int64_t offloads = 0;
    int64_t count = cases(35000, 350000);
    for (int64_t n = 0; n < count; n++) {
        struct pp_sched *s = draw_offloading_within(&seed, limits_of(n));
        offloads += s->reload != NULL;
        draw_costs(&c, &seed, s->stage_count, random_below(&seed, 2) == 0);
        expect_same_times(s, &c.costs, &seed);
        pp_sched_destroy(s);
    }
    cr_assert_gt(offloads, count / 2);
    cr_log_info("%ld schedules, %ld with offloads", (long)count, (long)offloads);
}

Test(eval, named_schedules_too) {
    static struct cost_set c;
    uint64_t seed = 2;
    for (int32_t n = 0; n < pp_schedule_count(); n++) {
        const struct pp_schedule_info *info = pp_schedule_at(n);
        int32_t step = info->is_bidirectional ? 2 : 1;
        for (int32_t p = step; p <= 4; p += step) {
            struct pp_sched *s =
                make_schedule(info->name, p, info->default_stages_per_rank, 2 * p + 2 * (p == 1));
            draw_costs(&c, &seed, s->stage_count, p % 2 == 0);
            expect_same_times(s, &c.costs, &seed);
            pp_sched_destroy(s);
        }
    }
}

Test(eval, costs_out_of_range_are_refused) {
    static struct cost_set c;
    struct pp_sched *s = make_schedule("1F1B", 2, 1, 2);
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_err err = {0};
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    even_costs(&c, 2, 1, 1, 1, 2);
    c.f[1] = -1;
    cr_assert_eq(pp_eval_run(e, &c.costs, &t, &err), PP_E_RANGE);
    cr_assert_not_null(strstr(err.message, "F of stage 1"), "%s", err.message);
    c.f[1] = PP_COST_MAX_NS + 1;
    cr_assert_eq(pp_eval_run(e, &c.costs, &t, &err), PP_E_RANGE);
    c.f[1] = PP_COST_MAX_NS;
    cr_assert_eq(pp_eval_run(e, &c.costs, &t, &err), PP_OK);
    c.costs.offload_ns = c.offload;
    c.offload[0] = -1;
    cr_assert_eq(pp_eval_run(e, &c.costs, &t, &err), PP_E_RANGE);
    cr_assert_not_null(strstr(err.message, "offload of stage 0"), "%s", err.message);
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
    pp_sched_destroy(s);
}

/* --- deadlocks ---------------------------------------------------------------------------------*/

/* Shuffles neighbours within a row, then seals. @return NULL where a rule of the row breaks */
static struct pp_sched *disturb(struct pp_sched *s, uint64_t *seed) {
    for (int32_t n = 1 + random_below(seed, 12); n > 0; n--) {
        int32_t x = random_below(seed, s->action_count);
        int32_t y = random_below(seed, s->action_count);
        struct pp_action *a = &s->actions[x];
        struct pp_action *b = &s->actions[y];
        if (s->stage_rank[a->stage] != s->stage_rank[b->stage] || a->pair != 0 || b->pair != 0) {
            continue;
        }
        struct pp_action old = *a;
        int32_t cell = b->cell;
        *a = *b;
        a->cell = old.cell;
        *b = old;
        b->cell = cell;
    }
    if (pp_sched_seal(s, NULL) != PP_OK) {
        pp_sched_destroy(s);
        return NULL;
    }
    return s;
}

enum { FAR = 1000 };

/* Length of the shortest cycle of ranks that wait for one another, by Floyd and Warshall. */
static int32_t slow_shortest_cycle(const struct pp_sched *s, const int32_t *next, const bool *ran) {
    int32_t far[8][8];
    for (int32_t i = 0; i < 8; i++) {
        for (int32_t j = 0; j < 8; j++) {
            far[i][j] = FAR;
        }
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        for (int32_t at = next[rank]; at < s->rank_begin[rank + 1]; at++) {
            int32_t producer = slow_producer(s, at);
            if (producer >= 0 && !ran[producer]) {
                far[rank][s->stage_rank[s->actions[producer].stage]] = 1;
            }
            if (s->actions[at].pair != 1) {
                break;
            }
        }
    }
    for (int32_t k = 0; k < 8; k++) {
        for (int32_t i = 0; i < 8; i++) {
            for (int32_t j = 0; j < 8; j++) {
                int32_t around = far[i][k] + far[k][j];
                far[i][j] = around < far[i][j] ? around : far[i][j];
            }
        }
    }
    int32_t best = FAR;
    for (int32_t i = 0; i < 8; i++) {
        best = far[i][i] < best ? far[i][i] : best;
    }
    return best;
}

static void expect_cycle(const struct pp_sched *s, const struct pp_deadlock *d, const int32_t *next,
                         const bool *ran, const struct pp_err *err) {
    cr_assert_eq(d->wait_count, slow_shortest_cycle(s, next, ran), "%s", err->message);
    for (int32_t i = 0; i < d->wait_count; i++) {
        const struct pp_wait *w = &d->waits[i];
        int32_t head = next[w->rank];
        cr_assert(w->action == head || (s->actions[head].pair == 1 && w->action == head + 1));
        cr_assert_eq(w->for_action, slow_producer(s, w->action));
        cr_assert_not(ran[w->for_action]);
        cr_assert_eq(w->for_rank, s->stage_rank[s->actions[w->for_action].stage]);
        cr_assert_eq(d->waits[(i + 1) % d->wait_count].rank, w->for_rank);
        char text[PP_ACTION_TEXT_BYTES];
        cr_assert(i >= 6 || strstr(err->message,
                                   pp_action_text(&s->actions[w->for_action], text)) != NULL,
                  "%s", err->message);
    }
}

Test(eval, deadlocks_are_those_of_a_slow_second_implementation) {
    static int32_t next[MANY];
    static bool ran[MANY];
    uint64_t seed = 3;
    int broken = 0;
    int whole = 0;
    for (int i = 0; i < 3000; i++) {
        struct pp_sched *s = draw_schedule(&seed);
        s = disturb(s, &seed);
        if (s == NULL) {
            continue;
        }
        bool complete = slow_run(s, next, ran) == s->action_count;
        struct pp_eval *e = NULL;
        struct pp_deadlock d = {0};
        struct pp_err err = {0};
        enum pp_status status = pp_eval_create(s, &e, &d, &err);
        cr_assert_eq(status, complete ? PP_OK : PP_E_DEADLOCK);
        if (complete) {
            whole++;
        } else {
            broken++;
            expect_cycle(s, &d, next, ran, &err);
        }
        pp_deadlock_deinit(&d);
        pp_eval_destroy(e);
        pp_sched_destroy(s);
    }
    cr_assert_gt(broken, 100);
    cr_assert_gt(whole, 100);
    cr_log_info("disturbed orders: %d deadlock, %d do not", broken, whole);
}

Test(eval, a_deadlock_is_named_with_actions_and_ranks) {
    struct pp_err err = {0};
    struct pp_sched *s = parse_csv("0F0,0B0,0F1,0B1\r\n1F0,1F1,1B0,1B1\r\n", &err);
    cr_assert_not_null(s, "%s", err.message);
    struct pp_eval *e = NULL;
    struct pp_deadlock d = {0};
    cr_assert_eq(pp_eval_create(s, &e, &d, &err), PP_E_DEADLOCK);
    cr_assert_eq(d.wait_count, 2);
    cr_assert_str_eq(err.message,
                     "the ranks wait in a cycle: rank 0 waits in 0B0 for 1B0 of rank 1, "
                     "rank 1 waits in 1F1 for 0F1 of rank 0");
    pp_deadlock_deinit(&d);
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_E_DEADLOCK);
    pp_sched_destroy(s);
    s = parse_csv("1F0,0F0,1B0,0B0\r\n", &err);
    cr_assert_eq(pp_eval_create(s, &e, &d, &err), PP_E_DEADLOCK);
    cr_assert_eq(d.wait_count, 1);
    cr_assert_null(e);
    pp_deadlock_deinit(&d);
    pp_sched_destroy(s);
}

/* --- closed forms ------------------------------------------------------------------------------*/

static int64_t makespan_of(const struct pp_sched *s, const struct pp_costs *c) {
    struct pp_eval *e = NULL;
    struct pp_trace t;
    struct pp_metrics metrics;
    cr_assert_eq(pp_eval_create(s, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_eval_run(e, c, &t, NULL), PP_OK);
    pp_metrics_of(&t, &metrics, NULL);
    pp_trace_deinit(&t);
    pp_eval_destroy(e);
    return metrics.makespan_ns;
}

/* Makespan of a schedule whose rank's whole share costs f and b a microbatch. */
static int64_t makespan(const char *name, int32_t p, int32_t v, int32_t m, int64_t f, int64_t i,
                        int64_t w) {
    static struct cost_set c;
    struct pp_sched *s = make_schedule(name, p, v, m);
    even_costs(&c, s->stage_count, f / v, i / v, w / v, (i + w) / v);
    int64_t result = makespan_of(s, &c.costs);
    pp_sched_destroy(s);
    return result;
}

Test(eval, makespans_are_the_closed_forms) {
    int cases = 0;
    for (int32_t p = 1; p <= 16; p++) {
        for (int32_t m = p; m <= 5 * p; m += 1 + p / 2) {
            static const int64_t costs[][3] = {{12000, 12000, 12000}, {24000, 36000, 12000}};
            for (int k = 0; k < 2; k++) {
                int64_t f = costs[k][0];
                int64_t i = costs[k][1];
                int64_t w = costs[k][2];
                int64_t t = f + i + w;
                cr_expect_eq(makespan("GPipe", p, 1, m, f, i, w), (m + p - 1) * t);
                cr_expect_eq(makespan("1F1B", p, 1, m, f, i, w), (m + p - 1) * t);
                for (int32_t v = 1; v <= 4; v++) {
                    int64_t expected = m * t + (p - 1) * t / v;
                    cr_expect_eq(makespan("LoopedBFS", p, v, m, f, i, w), expected);
                    int32_t whole = m / p * p;
                    expected = whole * t + (p - 1) * t / v;
                    cr_expect_eq(makespan("Interleaved1F1B", p, v, whole, f, i, w), expected,
                                 "p %d v %d m %d", p, v, whole);
                    cases += 2;
                }
                cases += 2;
            }
        }
    }
    cr_log_info("closed forms: %d cases", cases);
}

Test(eval, zero_bubble_makespans_at_unit_costs) {
    int64_t unit = 12000;
    for (int32_t p = 1; p <= 9; p++) {
        for (int32_t m = 2 * p; m <= 6 * p; m += 2 * p) {
            int64_t v_placed = 3 * m * unit + (p - 1) * unit / 2;
            cr_expect_eq(makespan("ZBVZeroBubble", p, 2, m, unit, unit, unit), v_placed);
            cr_expect_eq(makespan("DualPipeV", p, 2, m, unit, unit, unit), v_placed);
            for (int32_t v = 1; v <= 4; v++) {
                cr_expect_eq(makespan("InterleavedZeroBubble", p, v, m, unit, unit, unit),
                             3 * m * unit + (p - 1) * unit / v, "p %d v %d m %d", p, v, m);
            }
        }
    }
}

/* The figures of DeepSeek's order at 4 ranks and 10 microbatches, in stage units F = I = W = 1, for
 * pairs that take 3, 2.5 and 2 units. */
Test(eval, dualpipev_with_pairs_as_one) {
    static struct cost_set c;
    static const int64_t known[][2] = {{3000, 66000}, {2500, 59000}, {2000, 52000}};
    struct pp_sched *s = make_schedule("DualPipeV", 4, 2, 10);
    even_costs(&c, 8, 1000, 1000, 1000, 2000);
    c.costs.pair_ns = c.pair;
    for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
        for (int32_t stage = 0; stage < 8; stage++) {
            c.pair[stage] = known[k][0];
        }
        cr_expect_eq(makespan_of(s, &c.costs), known[k][1], "pair %d: %d", (int)known[k][0],
                     (int)makespan_of(s, &c.costs));
    }
    pp_sched_destroy(s);
}
