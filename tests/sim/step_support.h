/* A second way of computing a step: all its flushes as one schedule, relaxed until nothing moves;
 * reductions sorted and served one by one. */
#ifndef PP_TESTS_STEP_SUPPORT_H
#define PP_TESTS_STEP_SUPPORT_H

#include "sim/step.h"
#include "tests/sim/random_sched.h"

enum { MOST_STAGES = 64, MOST_RANKS = 16 };

struct figures {
    int64_t f[MOST_STAGES], i[MOST_STAGES], w[MOST_STAGES], b[MOST_STAGES], pair[MOST_STAGES];
    int64_t recv_f[MOST_STAGES], recv_b[MOST_STAGES], offload[MOST_STAGES];
    int64_t unshard[MOST_STAGES], reduce[MOST_STAGES], optimizer[MOST_RANKS];
    struct pp_costs costs;
    struct pp_step_inputs in;
};

/* `most` sets how large; small ones make ties and cycles of several flushes likelier. */
static inline void draw_figures(struct figures *c, uint64_t *seed, int32_t most) {
    int32_t wide = 1 + random_below(seed, 4 * most);
    for (int32_t s = 0; s < MOST_STAGES; s++) {
        c->f[s] = random_below(seed, most);
        c->i[s] = random_below(seed, most);
        c->w[s] = random_below(seed, most);
        c->b[s] = random_below(seed, 2 * most);
        c->pair[s] = random_below(seed, 2 * most);
        c->recv_f[s] = random_below(seed, most / 2 + 1);
        c->recv_b[s] = random_below(seed, most / 2 + 1);
        c->offload[s] = random_below(seed, 2 * most);
        c->unshard[s] = random_below(seed, wide);
        c->reduce[s] = random_below(seed, wide);
    }
    for (int32_t rank = 0; rank < MOST_RANKS; rank++) {
        c->optimizer[rank] = random_below(seed, most);
    }
    c->costs = (struct pp_costs){.f_ns = c->f,
                                 .i_ns = c->i,
                                 .w_ns = c->w,
                                 .b_ns = c->b,
                                 .pair_ns = random_below(seed, 2) == 0 ? c->pair : NULL,
                                 .recv_f_ns = c->recv_f,
                                 .recv_b_ns = c->recv_b,
                                 .offload_ns = c->offload};
    c->in =
        (struct pp_step_inputs){.reduce = (enum pp_reduce)random_below(seed, 3),
                                .unshard_ns = random_below(seed, 2) == 0 ? c->unshard : NULL,
                                .reduce_ns = random_below(seed, 4) == 0 ? NULL : c->reduce,
                                .optimizer_ns = random_below(seed, 4) == 0 ? NULL : c->optimizer,
                                .barrier = random_below(seed, 2) == 0};
}

/* ---- the slow way ---- */

static inline int64_t most_of(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static inline int64_t duration(const struct pp_costs *c, const struct pp_action *a) {
    const int64_t *of[] = {[PP_F] = c->f_ns, [PP_I] = c->i_ns, [PP_W] = c->w_ns, [PP_B] = c->b_ns};
    return of[a->type][a->stage];
}

/* When what `at` waits for is there. */
static inline int64_t ready(const struct pp_sched *s, const struct figures *c,
                            const int64_t *gathered, const int64_t *end, int32_t at) {
    const struct pp_action *a = &s->actions[at];
    int32_t producer = s->producer[at];
    int64_t t = gathered[a->stage];
    if (producer >= 0) {
        bool same = s->stage_rank[a->stage] == s->stage_rank[s->actions[producer].stage];
        const int64_t *lag = a->type == PP_F ? c->recv_f : c->recv_b;
        t = most_of(t, end[producer] + (same ? 0 : lag[a->stage]));
    }
    return s->reload != NULL && s->reload[at] >= 0 ? most_of(t, end[s->reload[at]]) : t;
}

/* One walk over a rank. @return whether an end moved */
static inline bool relax(const struct pp_sched *s, const struct figures *c, const int64_t *gathered,
                         int32_t rank, int64_t *end) {
    bool moved = false;
    int64_t free_at = 0;
    int64_t host_at = 0;
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        int64_t was = end[at];
        if (a->type >= PP_OFFLOAD) {
            end[at] = host_at = most_of(host_at, free_at) + c->offload[a->stage];
        } else if (a->pair == 1 && c->costs.pair_ns != NULL) {
            int64_t begin = most_of(free_at, ready(s, c, gathered, end, at));
            begin = most_of(begin, ready(s, c, gathered, end, at + 1));
            end[at] = free_at = begin + c->pair[a->stage];
            end[++at] = free_at;
        } else {
            free_at = most_of(free_at, ready(s, c, gathered, end, at)) + duration(&c->costs, a);
            end[at] = free_at;
        }
        moved = moved || end[a - s->actions] != was;
    }
    return moved;
}

struct reduction {
    int64_t from_ns, ns;
};

static inline int by_arrival(const void *a, const void *b) {
    int64_t x = ((const struct reduction *)a)->from_ns;
    int64_t y = ((const struct reduction *)b)->from_ns;
    return (x > y) - (x < y);
}

/* All reductions of a rank, served one by one from `free_at` on. @return the last end */
static inline int64_t serve(const struct pp_sched *s, const struct figures *c,
                            int32_t flush_microbatches, int32_t rank, const int64_t *end,
                            int64_t free_at) {
    static struct reduction list[1 << 14];
    static int32_t left[MOST_STAGES]; /* microbatches that lack their weight gradients */
    int32_t n = 0;
    int32_t flushes = s->microbatch_count / flush_microbatches;
    for (int32_t flush = 0; flush < flushes; flush++) {
        for (int32_t stage = 0; stage < s->stage_count; stage++) {
            left[stage] = flush_microbatches;
        }
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            const struct pp_action *a = &s->actions[at];
            if ((a->type != PP_W && a->type != PP_B) ||
                a->microbatch / flush_microbatches != flush) {
                continue;
            }
            bool is_last = --left[a->stage] == 0;
            bool asked = c->in.reduce == PP_REDUCE_MICROBATCH ? true
                         : c->in.reduce == PP_REDUCE_FLUSH    ? is_last
                                                              : is_last && flush == flushes - 1;
            if (asked && c->in.reduce_ns != NULL) {
                list[n++] = (struct reduction){end[at], c->reduce[a->stage]};
            }
        }
    }
    qsort(list, (size_t)n, sizeof *list, by_arrival);
    for (int32_t i = 0; i < n; i++) {
        free_at = most_of(free_at, list[i].from_ns) + list[i].ns;
    }
    return free_at;
}

static inline struct pp_step_times slow_step(const struct pp_sched *s, const struct figures *c) {
    struct pp_sched *all = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_repeat(s, (int32_t)c->in.flush_count, &all, &err), PP_OK, "%s",
                 err.message);
    int64_t gathered[MOST_STAGES];
    int64_t lane[MOST_RANKS] = {0};
    struct pp_step_times t = {0};
    memset(gathered, -1, sizeof gathered);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            int32_t stage = s->actions[at].stage;
            if (gathered[stage] < 0) {
                bool is_first = at == s->rank_begin[rank];
                lane[rank] += c->in.unshard_ns == NULL ? 0 : c->unshard[stage];
                gathered[stage] = lane[rank];
                t.gathered_ns = is_first ? most_of(t.gathered_ns, lane[rank]) : t.gathered_ns;
            }
        }
    }
    int64_t *end = calloc((size_t)all->action_count, sizeof *end);
    for (bool moved = true; moved;) {
        moved = false;
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            moved = relax(all, c, gathered, rank, end) || moved;
        }
    }
    int64_t through[MOST_RANKS];
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        through[rank] = end[all->rank_begin[rank + 1] - 1];
        t.flushes_ns = most_of(t.flushes_ns, through[rank]);
        lane[rank] = serve(all, c, s->microbatch_count, rank, end, lane[rank]);
        through[rank] = most_of(through[rank], lane[rank]);
        t.reduced_ns = most_of(t.reduced_ns, through[rank]);
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int64_t begin = c->in.barrier ? t.reduced_ns : through[rank];
        t.step_ns =
            most_of(t.step_ns, begin + (c->in.optimizer_ns == NULL ? 0 : c->optimizer[rank]));
    }
    free(end);
    pp_sched_destroy(all);
    return t;
}

/* ---- one against the other ---- */

struct bench {
    const struct pp_sched *s;
    struct pp_eval *eval;
    struct pp_step *step;
    struct pp_trace trace;
};

static inline struct bench bench_of(const struct pp_sched *s) {
    struct bench b = {.s = s};
    struct pp_err err = {0};
    cr_assert(s->stage_count <= MOST_STAGES && s->rank_count <= MOST_RANKS);
    cr_assert_eq(pp_eval_create(s, &b.eval, NULL, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_step_create(s, &b.step, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_trace_init(&b.trace, s, NULL), PP_OK);
    return b;
}

static inline void bench_free(struct bench *b) {
    pp_eval_destroy(b->eval);
    pp_step_destroy(b->step);
    pp_trace_deinit(&b->trace);
}

static inline struct pp_step_times run(struct bench *b, const struct figures *c) {
    struct pp_step_times t;
    struct pp_err err = {0};
    cr_assert_eq(pp_step_run(b->step, b->eval, &c->costs, &c->in, &b->trace, &t, &err), PP_OK, "%s",
                 err.message);
    return t;
}

static inline void expect_times(const struct pp_step_times *t, const struct pp_step_times *want,
                                const char *label) {
    cr_assert(t->gathered_ns == want->gathered_ns && t->flushes_ns == want->flushes_ns &&
                  t->reduced_ns == want->reduced_ns && t->step_ns == want->step_ns,
              "%s: %lld %lld %lld %lld, want %lld %lld %lld %lld", label, (long long)t->gathered_ns,
              (long long)t->flushes_ns, (long long)t->reduced_ns, (long long)t->step_ns,
              (long long)want->gathered_ns, (long long)want->flushes_ns,
              (long long)want->reduced_ns, (long long)want->step_ns);
}

/* @return whether some flushes were a product */
static inline bool expect_slow(struct bench *b, const struct figures *c, const char *label) {
    struct pp_step_times t = run(b, c);
    struct pp_step_times want = slow_step(b->s, c);
    cr_assert_leq(t.flushes_run, c->in.flush_count);
    cr_assert(t.flushes_run < PP_STEP_MAX_FLUSHES || c->in.flush_count <= PP_STEP_MAX_FLUSHES);
    expect_times(&t, &want, label);
    return t.flushes_run < c->in.flush_count;
}

#endif
