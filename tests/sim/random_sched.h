/* Random schedules for property tests: any placement, fused and split backwards, pairs, idle cells.
 * An order is drawn by running the pipeline: at each step one action that could run now. */
#ifndef PP_TESTS_RANDOM_SCHED_H
#define PP_TESTS_RANDOM_SCHED_H

#include "tests/sim/sim_support.h"

struct draw {
    int32_t ranks, stages, microbatches;
    int32_t stage_rank[64];
    bool split[64][64];   /* [stage][microbatch] I and W instead of B */
    uint8_t done[64][64]; /* 0 nothing, 1 F, 2 F and I, 3 all */
};

struct candidate {
    enum pp_action_type type;
    int32_t stage, microbatch;
};

/* How large schedules may be: that many ranks, up to so many more stages, microbatches. */
struct draw_limits {
    int32_t ranks, more_stages, microbatches;
};

static const struct draw_limits draw_usual = {.ranks = 5, .more_stages = 5, .microbatches = 5};

static inline struct draw draw_shape(uint64_t *seed, const struct draw_limits *most) {
    struct draw d = {.ranks = 1 + random_below(seed, most->ranks),
                     .microbatches = 1 + random_below(seed, most->microbatches)};
    d.stages = d.ranks + random_below(seed, most->more_stages + 1);
    for (int32_t s = 0; s < d.stages; s++) {
        d.stage_rank[s] = s < d.ranks ? s : random_below(seed, d.ranks);
    }
    for (int32_t s = d.stages - 1; s > 0; s--) { /* shuffle: every rank keeps a stage */
        int32_t other = random_below(seed, s + 1);
        int32_t rank = d.stage_rank[s];
        d.stage_rank[s] = d.stage_rank[other];
        d.stage_rank[other] = rank;
    }
    for (int32_t s = 0; s < d.stages; s++) {
        for (int32_t m = 0; m < d.microbatches; m++) {
            d.split[s][m] = random_below(seed, 2) == 0;
        }
    }
    return d;
}

/* The action that (stage, microbatch) could run now. */
static inline bool could_run(const struct draw *d, int32_t s, int32_t m, struct candidate *c) {
    *c = (struct candidate){.stage = s, .microbatch = m};
    switch (d->done[s][m]) {
    case 0:
        c->type = PP_F;
        return s == 0 || d->done[s - 1][m] >= 1;
    case 1:
        c->type = d->split[s][m] ? PP_I : PP_B;
        return s == d->stages - 1 || d->done[s + 1][m] >= 2;
    case 2:
        c->type = PP_W;
        return true;
    }
    return false;
}

static inline void mark_done(struct draw *d, const struct candidate *c) {
    d->done[c->stage][c->microbatch] = c->type == PP_B ? 3 : d->done[c->stage][c->microbatch] + 1;
}

/* All that could run now. */
static inline int32_t list_candidates(const struct draw *d, struct candidate *list) {
    int32_t n = 0;
    for (int32_t s = 0; s < d->stages; s++) {
        for (int32_t m = 0; m < d->microbatches; m++) {
            n += could_run(d, s, m, &list[n]);
        }
    }
    return n;
}

/* A second action for a pair with `first`: on its rank, forward with backward. -1 if none. */
static inline int32_t find_partner(const struct draw *d, const struct candidate *list, int32_t n,
                                   const struct candidate *first) {
    for (int32_t i = 0; i < n; i++) {
        bool same = list[i].stage == first->stage && list[i].microbatch == first->microbatch;
        if (!same && d->stage_rank[list[i].stage] == d->stage_rank[first->stage] &&
            (list[i].type == PP_F) != (first->type == PP_F)) {
            return i;
        }
    }
    return -1;
}

/* Draws a whole valid schedule, not sealed. */
static inline struct pp_sched *draw_schedule_within(uint64_t *seed,
                                                    const struct draw_limits *most) {
    struct draw d = draw_shape(seed, most);
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_sched_create(d.ranks, d.stages, d.microbatches, d.stage_rank, &s, NULL), PP_OK);
    static struct candidate list[64 * 64];
    for (int32_t n = list_candidates(&d, list); n > 0; n = list_candidates(&d, list)) {
        struct candidate c = list[random_below(seed, n)];
        int32_t rank = d.stage_rank[c.stage];
        if (random_below(seed, 4) == 0) {
            pp_sched_add_idle(s, rank, 1 + random_below(seed, 3), NULL);
        }
        int32_t partner = random_below(seed, 2) == 0 ? find_partner(&d, list, n, &c) : -1;
        enum pp_status status;
        if (partner >= 0) {
            struct candidate p = list[partner];
            status = pp_sched_add_pair(s, rank, c.type, c.stage, c.microbatch, p.type, p.stage,
                                       p.microbatch, NULL);
            mark_done(&d, &p);
        } else {
            status = pp_sched_add(s, rank, c.type, c.stage, c.microbatch, NULL);
        }
        cr_assert_eq(status, PP_OK);
        mark_done(&d, &c);
    }
    return s;
}

static inline struct pp_sched *draw_schedule(uint64_t *seed) {
    return draw_schedule_within(seed, &draw_usual);
}

/* Where a stage's microbatch leaves for the host and comes back: before the n-th cell of its rank.
 */
struct trip {
    int32_t stage, microbatch, leaves, returns;
};

/* Draws trips for about half of a rank's microbatches. `first` and `count` are its actions. */
static inline int32_t draw_trips(const struct pp_action *first, int32_t count, uint64_t *seed,
                                 struct trip *trips) {
    int32_t n = 0;
    for (int32_t i = 0; i < count; i++) {
        for (int32_t k = i + 1; k < count && first[i].type == PP_F; k++) {
            bool same =
                first[k].stage == first[i].stage && first[k].microbatch == first[i].microbatch;
            if (same && first[k].type != PP_W && random_below(seed, 2) == 0) {
                int32_t room = first[k].cell - first[i].cell;
                int32_t leaves = first[i].cell + 1 + random_below(seed, room);
                int32_t returns = leaves + random_below(seed, first[k].cell - leaves + 1);
                trips[n++] = (struct trip){first[i].stage, first[i].microbatch, leaves, returns};
            }
        }
    }
    return n;
}

static inline void add_trips(struct pp_sched *s, int32_t rank, const struct trip *trips, int32_t n,
                             int32_t cell) {
    for (int32_t i = 0; i < n; i++) {
        if (trips[i].leaves == cell) {
            pp_sched_add(s, rank, PP_OFFLOAD, trips[i].stage, trips[i].microbatch, NULL);
        }
        if (trips[i].returns == cell) {
            pp_sched_add(s, rank, PP_RELOAD, trips[i].stage, trips[i].microbatch, NULL);
        }
    }
}

/* A random schedule with random trips to the host, sealed. */
static inline struct pp_sched *draw_offloading_within(uint64_t *seed,
                                                      const struct draw_limits *most) {
    static struct trip trips[64 * 64];
    struct pp_sched *plain = draw_schedule_within(seed, most);
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_seal(plain, NULL), PP_OK);
    cr_assert_eq(pp_sched_create(plain->rank_count, plain->stage_count, plain->microbatch_count,
                                 plain->stage_rank, &s, NULL),
                 PP_OK);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        const struct pp_action *a = &plain->actions[plain->rank_begin[rank]];
        const struct pp_action *end = &plain->actions[plain->rank_begin[rank + 1]];
        int32_t n = draw_trips(a, (int32_t)(end - a), seed, trips);
        for (int32_t cell = 0; a < end; cell++) {
            add_trips(s, rank, trips, n, cell);
            if (a->cell != cell) {
                pp_sched_add_idle(s, rank, 1, NULL);
            } else if (a->pair == 1) {
                pp_sched_add_pair(s, rank, a->type, a->stage, a->microbatch, a[1].type, a[1].stage,
                                  a[1].microbatch, NULL);
                a += 2;
            } else {
                pp_sched_add(s, rank, a->type, a->stage, a->microbatch, NULL);
                a++;
            }
        }
    }
    pp_sched_destroy(plain);
    cr_assert_eq(pp_sched_seal(s, &err), PP_OK, "%s", err.message);
    return s;
}

static inline struct pp_sched *draw_offloading_schedule(uint64_t *seed) {
    return draw_offloading_within(seed, &draw_usual);
}

/* Either kind, sealed. */
static inline struct pp_sched *draw_sealed_within(uint64_t *seed, const struct draw_limits *most) {
    if (random_below(seed, 3) == 0) {
        return draw_offloading_within(seed, most);
    }
    struct pp_sched *s = draw_schedule_within(seed, most);
    cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
    return s;
}

#endif
