/* Memory of lowered traces against one that lists every interval in which something is there, and
 * sums those that hold at a moment. */
#include "tests/sim/random_lowered.h"
#include "tests/sim/random_memory.h"

enum { MAX_INTERVALS = 8192 };

/* --- times: every lane as late as it likes -----------------------------------------------------*/

static void draw_compute_times(struct pp_trace *t, int32_t rank, uint64_t *seed, bool as_one) {
    const struct pp_sched *s = t->sched;
    int64_t now = random_below(seed, 10);
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        if (!pp_action_is_compute(a)) {
            continue;
        }
        if (as_one && a->pair == 2) {
            t->start_ns[at] = t->start_ns[at - 1];
            t->end_ns[at] = t->end_ns[at - 1];
            continue;
        }
        t->start_ns[at] = now + random_below(seed, 3);
        t->end_ns[at] = now = t->start_ns[at] + random_below(seed, 6);
    }
}

/* When the compute action before, or the first after that `needs` it, ends or starts. */
static int64_t gate_of(const struct pp_trace *t, int32_t rank, int32_t at) {
    for (int32_t k = at - 1; k >= t->sched->rank_begin[rank]; k--) {
        if (pp_action_is_compute(&t->sched->actions[k])) {
            return t->end_ns[k];
        }
    }
    return 0;
}

static int64_t need_of(const struct pp_trace *t, int32_t rank, int32_t at) {
    const struct pp_action *a = &t->sched->actions[at];
    for (int32_t k = at + 1; k < t->sched->rank_begin[rank + 1]; k++) {
        const struct pp_action *b = &t->sched->actions[k];
        bool recv = t->sched->producer[k] == at;
        bool unshard = a->type == PP_UNSHARD && b->stage == a->stage && pp_action_is_compute(b);
        if (recv || unshard) {
            return t->start_ns[k];
        }
    }
    return INT64_MAX;
}

static void draw_times(struct pp_trace *t, uint64_t *seed, bool as_one) {
    const struct pp_sched *s = t->sched;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        draw_compute_times(t, rank, seed, as_one);
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int64_t host = 0; /* one transfer to the host after the other */
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            enum pp_action_type type = s->actions[at].type;
            int64_t gate = gate_of(t, rank, at);
            int64_t need = need_of(t, rank, at);
            if (type <= PP_B) {
                continue;
            }
            gate = type >= PP_OFFLOAD && host > gate ? host : gate;
            int64_t late = type == PP_RESHARD ? 0 : random_below(seed, 30);
            t->start_ns[at] = need < gate + late ? need : gate + late;
            t->end_ns[at] = t->start_ns[at] + (type == PP_RESHARD ? 0 : random_below(seed, 20));
            host = type >= PP_OFFLOAD ? t->end_ns[at] : host;
        }
    }
}

/* --- the slow one ------------------------------------------------------------------------------*/

struct key {
    int64_t time_ns;
    int32_t action, phase;
};

static int compare_keys(struct key a, struct key b) {
    return a.time_ns != b.time_ns ? (a.time_ns > b.time_ns) - (a.time_ns < b.time_ns)
           : a.action != b.action ? (a.action > b.action) - (a.action < b.action)
                                  : (a.phase > b.phase) - (a.phase < b.phase);
}

struct interval {
    struct key begin, end;
    int64_t amount;
};

struct slow {
    const struct pp_trace *t;
    const struct drawn_memory *a;
    int32_t rank;
    struct interval list[MAX_INTERVALS];
    int32_t count;
};

static struct key key_of(const struct slow *w, int32_t at, int phase) {
    int32_t place = w->a->model.pairs_as_one && w->t->sched->actions[at].pair == 2 ? at - 1 : at;
    return (struct key){.time_ns = phase == 0 ? w->t->start_ns[at] : w->t->end_ns[at],
                        .action = place,
                        .phase = phase};
}

static void add(struct slow *w, struct key begin, struct key end, int64_t amount) {
    cr_assert_lt(w->count, MAX_INTERVALS);
    w->list[w->count++] = (struct interval){.begin = begin, .end = end, .amount = amount};
}

/* The first action after `at`, or before any (-1), of a stage that is one of two types. */
static int32_t next_of(const struct slow *w, int32_t at, int32_t stage, int32_t microbatch,
                       enum pp_action_type one, enum pp_action_type other) {
    const struct pp_sched *s = w->t->sched;
    for (int32_t k = at + 1; k < s->rank_begin[w->rank + 1]; k++) {
        const struct pp_action *b = &s->actions[k];
        if (b->stage == stage && (microbatch < 0 || b->microbatch == microbatch) &&
            (b->type == one || b->type == other)) {
            return k;
        }
    }
    return -1;
}

static void list_action(struct slow *w, int32_t at) {
    const struct pp_action *a = &w->t->sched->actions[at];
    int32_t stage = a->stage;
    int32_t m = a->microbatch;
    if (a->type == PP_F) {
        int32_t i = next_of(w, at, stage, m, PP_I, PP_B);
        int32_t x = next_of(w, at, stage, m, PP_W, PP_B);
        add(w, key_of(w, at, 0), key_of(w, i, 1), w->a->i_frees[stage]);
        add(w, key_of(w, at, 0), key_of(w, x, 1), w->a->w_frees[stage]);
        add(w, key_of(w, at, 0), key_of(w, at, 1), w->a->f_transient[stage]);
    } else if (a->type <= PP_B) {
        add(w, key_of(w, at, 0), key_of(w, at, 1), w->a->b_transient[stage]);
    } else if (a->type == PP_OFFLOAD) { /* not there between the two */
        int32_t back = next_of(w, at, stage, m, PP_RELOAD, PP_RELOAD);
        add(w, key_of(w, at, 1), key_of(w, back, 0), -w->a->f_adds[stage]);
    } else if (a->type == PP_UNSHARD) {
        int32_t end = next_of(w, at, stage, -1, PP_RESHARD, PP_RESHARD);
        add(w, key_of(w, at, 0), key_of(w, end, 1), w->a->unshard[stage]);
    } else if (a->type == PP_RECV_F || a->type == PP_RECV_B) {
        int32_t user = a->type == PP_RECV_F ? next_of(w, at, stage, m, PP_F, PP_F)
                                            : next_of(w, at, stage, m, PP_I, PP_B);
        add(w, key_of(w, at, 0), key_of(w, user, 1),
            a->type == PP_RECV_F ? w->a->recv_f[stage] : w->a->recv_b[stage]);
    } else if (a->type == PP_SEND_F || a->type == PP_SEND_B) {
        struct key made = {.action = at};
        for (int32_t k = w->t->sched->rank_begin[w->rank]; k < at; k++) {
            const struct pp_action *b = &w->t->sched->actions[k];
            bool makes =
                a->type == PP_SEND_F ? b->type == PP_F : (b->type == PP_I || b->type == PP_B);
            if (b->stage == stage && b->microbatch == m && makes) {
                made.time_ns = w->t->end_ns[k];
            }
        }
        add(w, made, key_of(w, at, 1),
            a->type == PP_SEND_F ? w->a->send_f[stage] : w->a->send_b[stage]);
    }
}

/* Gradients of a stage: from the first W or B to the next reduction, and so on. */
static void list_gradients(struct slow *w, int32_t stage) {
    int32_t at = w->t->sched->rank_begin[w->rank] - 1;
    for (;;) {
        int32_t first = next_of(w, at, stage, -1, PP_W, PP_B);
        if (first < 0) {
            return;
        }
        at = next_of(w, first, stage, -1, PP_REDUCE_GRAD, PP_REDUCE_GRAD);
        cr_assert_geq(at, 0, "nothing reduces what comes last");
        add(w, key_of(w, first, 0), key_of(w, at, 1), w->a->grad[stage]);
    }
}

static int64_t slow_amount(const struct slow *w, struct key now) {
    int64_t sum = w->a->base[w->rank];
    for (int32_t i = 0; i < w->count; i++) {
        const struct interval *v = &w->list[i];
        sum += compare_keys(v->begin, now) <= 0 && compare_keys(now, v->end) < 0 ? v->amount : 0;
    }
    return sum;
}

static void list_all(struct slow *w, int32_t rank) {
    const struct pp_sched *s = w->t->sched;
    w->rank = rank;
    w->count = 0;
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        list_action(w, at);
    }
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        if (s->stage_rank[stage] == rank) {
            list_gradients(w, stage);
        }
    }
}

static struct pp_rank_memory slow_peak(const struct slow *w) {
    struct pp_rank_memory peak = {.peak = w->a->base[w->rank], .peak_action = -1};
    struct key at = {0};
    for (int32_t i = 0; i < 2 * w->count; i++) {
        struct key now = i % 2 == 0 ? w->list[i / 2].begin : w->list[i / 2].end;
        int64_t amount = slow_amount(w, now);
        if (amount > peak.peak ||
            (amount == peak.peak && peak.peak_action >= 0 && compare_keys(now, at) < 0)) {
            peak = (struct pp_rank_memory){.peak = amount, .peak_action = now.action};
            at = now;
        }
    }
    return peak;
}

/* After all that happens at a time, the timeline is at the sum of what is there. */
static void expect_timeline(const struct slow *w, struct pp_memory_work *work, int64_t peak) {
    static struct pp_memory_point points[2 * MAX_INTERVALS + 1];
    int32_t n = pp_memory_timeline_lowered(work, w->t, &w->a->model, w->rank, points);
    const struct pp_sched *s = w->t->sched;
    cr_assert_leq(n, 2 * (s->rank_begin[w->rank + 1] - s->rank_begin[w->rank]) + 1);
    int64_t highest = 0;
    for (int32_t k = 0; k < n; k++) {
        highest = points[k].amount > highest ? points[k].amount : highest;
        cr_assert(k == 0 || points[k].time_ns >= points[k - 1].time_ns);
        if (k + 1 == n || points[k + 1].time_ns > points[k].time_ns) {
            struct key last = {.time_ns = points[k].time_ns, .action = INT32_MAX, .phase = 1};
            cr_assert_eq(points[k].amount, slow_amount(w, last));
        }
    }
    cr_assert_eq(highest, peak);
    cr_assert_eq(points[0].amount, w->a->base[w->rank]);
    cr_assert_eq(points[n - 1].amount, w->a->base[w->rank], "memory does not return to its start");
}

Test(memory_lowered, equals_a_sum_over_all_intervals) {
    static struct lowered_case drawn;
    static struct drawn_memory a;
    static struct slow w;
    uint64_t seed = 31;
    int64_t seen[PP_ACTION_TYPE_COUNT] = {0};
    int64_t peak_at[PP_ACTION_TYPE_COUNT] = {0};
    for (int i = 0; i < 1200; i += CASE_STEP) {
        bool as_one = i % 5 == 0;
        draw_lowered(&drawn, &seed, &draw_usual);
        const struct pp_sched *s = drawn.lowered;
        struct pp_trace t;
        struct pp_memory_work *work = NULL;
        struct pp_rank_memory peaks[RL_STAGES];
        cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
        cr_assert_eq(pp_memory_work_create(s, &work, NULL), PP_OK);
        draw_memory(&a, 20, &seed);
        a.model.pairs_as_one = as_one;
        draw_times(&t, &seed, as_one);
        pp_memory_peaks_lowered(work, &t, &a.model, peaks);
        w.t = &t;
        w.a = &a;
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            list_all(&w, rank);
            struct pp_rank_memory slow = slow_peak(&w);
            cr_assert_eq(peaks[rank].peak, slow.peak, "schedule %d rank %d: %lld, slow %lld", i,
                         rank, (long long)peaks[rank].peak, (long long)slow.peak);
            cr_assert_eq(peaks[rank].peak_action, slow.peak_action);
            expect_timeline(&w, work, slow.peak);
            if (slow.peak_action >= 0) {
                peak_at[s->actions[slow.peak_action].type]++;
            }
        }
        for (int32_t at = 0; at < s->action_count; at++) {
            seen[s->actions[at].type]++;
        }
        pp_memory_work_destroy(work);
        pp_trace_deinit(&t);
        lowered_case_deinit(&drawn);
    }
    for (int k = 0; k < PP_ACTION_TYPE_COUNT; k++) {
        cr_assert_gt(seen[k], 0, "no %s", pp_action_type_text((enum pp_action_type)k));
    }
    cr_assert(peak_at[PP_RECV_F] > 0 && peak_at[PP_SEND_F] > 0 && peak_at[PP_UNSHARD] > 0);
}

/* By hand: one rank, one stage gathered, two microbatches, reduced once each. */
Test(memory_lowered, gradients_beside_their_reduction) {
    static const int32_t place[1] = {0};
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_create(1, 1, 2, place, &s, NULL), PP_OK);
    pp_sched_set_lowered(s);
    pp_sched_add(s, 0, PP_UNSHARD, 0, -1, NULL);
    pp_sched_add(s, 0, PP_F, 0, 0, NULL);
    pp_sched_add(s, 0, PP_B, 0, 0, NULL);
    pp_sched_add(s, 0, PP_REDUCE_GRAD, 0, 0, NULL);
    pp_sched_add(s, 0, PP_F, 0, 1, NULL);
    pp_sched_add(s, 0, PP_B, 0, 1, NULL);
    pp_sched_add(s, 0, PP_RESHARD, 0, -1, NULL);
    pp_sched_add(s, 0, PP_REDUCE_GRAD, 0, 1, NULL);
    cr_assert_eq(pp_sched_seal(s, &err), PP_OK, "%s", err.message);
    static const int64_t start[] = {0, 10, 20, 30, 30, 40, 50, 60};
    int64_t end[] = {10, 20, 30, 60, 40, 50, 50, 90, 0};
    static const int64_t f[1] = {100};
    static const int64_t gathered[1] = {1000};
    static const int64_t gradients[1] = {10000};
    int64_t begins[8];
    memcpy(begins, start, sizeof begins);
    struct pp_trace t = {.sched = s, .start_ns = begins, .end_ns = end};
    struct pp_memory_model m = {
        .f_adds = f, .w_frees = f, .unshard_adds = gathered, .grad_adds = gradients};
    struct pp_memory_work *work = NULL;
    struct pp_memory_point points[17];
    struct pp_rank_memory peak;
    cr_assert_eq(pp_memory_work_create(s, &work, NULL), PP_OK);
    pp_memory_peaks_lowered(work, &t, &m, &peak);
    cr_expect_eq(peak.peak, 21100);
    cr_expect_eq(peak.peak_action, 5);
    static const int64_t expected[][2] = {{0, 0},      {0, 1000},   {10, 1100},  {20, 11100},
                                          {30, 11000}, {30, 11100}, {40, 21100}, {50, 21000},
                                          {50, 20000}, {60, 10000}, {90, 0}};
    int32_t n = pp_memory_timeline_lowered(work, &t, &m, 0, points);
    cr_assert_eq(n, 11);
    for (int32_t k = 0; k < n; k++) {
        cr_expect_eq(points[k].time_ns, expected[k][0]);
        cr_expect_eq(points[k].amount, expected[k][1]);
    }
    pp_memory_work_destroy(work);
    pp_sched_destroy(s);
}

/* What nothing reduces is not counted: it would never go. */
Test(memory_lowered, gradients_without_a_reduction_are_resident) {
    static const int32_t place[1] = {0};
    static const int64_t amount[1] = {100};
    struct pp_sched *s = NULL;
    struct pp_trace t;
    struct pp_memory_work *work = NULL;
    struct pp_rank_memory peak;
    cr_assert_eq(pp_sched_create(1, 1, 1, place, &s, NULL), PP_OK);
    pp_sched_set_lowered(s);
    pp_sched_add(s, 0, PP_F, 0, 0, NULL);
    pp_sched_add(s, 0, PP_B, 0, 0, NULL);
    cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    struct pp_memory_model m = {.f_adds = amount, .w_frees = amount, .grad_adds = amount};
    cr_assert_eq(pp_memory_work_create(s, &work, NULL), PP_OK);
    pp_memory_peaks_lowered(work, &t, &m, &peak);
    cr_expect_eq(peak.peak, 100);
    pp_memory_work_destroy(work);
    pp_trace_deinit(&t);
    pp_sched_destroy(s);
}

Test(memory_lowered, needs_a_lowered_schedule) {
    struct pp_sched *s = make_schedule("1F1B", 2, 1, 2);
    struct pp_memory_work *work = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_memory_work_create(s, &work, &err), PP_E_ARG);
    cr_assert_null(work);
    pp_sched_destroy(s);
}
