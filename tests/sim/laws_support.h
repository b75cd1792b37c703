/* Schedules changed in ways whose effect on times is known. */
#ifndef PP_TESTS_LAWS_SUPPORT_H
#define PP_TESTS_LAWS_SUPPORT_H

#include "tests/sim/random_sched.h"

enum { LAWS_ACTIONS = 4096 };

/* How many cases a law is asked of. */
static inline int64_t count_of(int64_t usual) {
    return (getenv("PP_TEST_FULL") != NULL ? 10 * usual : usual) / CASE_STEP;
}

/* A sealed schedule with other numbers of microbatches. */
struct renumbered {
    struct pp_sched *s;
    int32_t from[LAWS_ACTIONS]; /* which action of the first schedule one of `s` is */
};

static inline bool keep_action(const struct pp_action *a, const int32_t *number) {
    return a->microbatch < 0 || number[a->microbatch] >= 0;
}

/* Adds the cell that begins with `at`, without the parts that are left out. @return its actions */
static inline int32_t renumber_cell(struct renumbered *r, const struct pp_sched *s, int32_t rank,
                                    int32_t at, const int32_t *number) {
    const struct pp_action *a = &s->actions[at];
    int32_t size = a->pair == 1 ? 2 : 1;
    int32_t mb[2];
    for (int32_t part = 0; part < size; part++) {
        mb[part] = a[part].microbatch < 0 ? -1 : number[a[part].microbatch];
        if (keep_action(&a[part], number)) {
            r->from[r->s->action_count + part * keep_action(a, number)] = at + part;
        }
    }
    if (size == 2 && keep_action(a, number) && keep_action(a + 1, number)) {
        cr_assert_eq(pp_sched_add_pair(r->s, rank, a->type, a->stage, mb[0], a[1].type, a[1].stage,
                                       mb[1], NULL),
                     PP_OK);
        return 2;
    }
    for (int32_t part = 0; part < size; part++) {
        if (keep_action(&a[part], number)) {
            cr_assert_eq(pp_sched_add(r->s, rank, a[part].type, a[part].stage, mb[part], NULL),
                         PP_OK);
        }
    }
    return size;
}

/* @param number  [microbatch_count] the new one of each, -1: left out */
static inline void renumber(struct renumbered *r, const struct pp_sched *s, const int32_t *number,
                            int32_t count) {
    struct pp_err err = {0};
    cr_assert_lt(s->action_count, LAWS_ACTIONS);
    cr_assert_eq(pp_sched_create(s->rank_count, s->stage_count, count, s->stage_rank, &r->s, &err),
                 PP_OK, "%s", err.message);
    if (s->part_count < s->stage_count) {
        cr_assert_eq(pp_sched_set_bidirectional(r->s, NULL), PP_OK);
    }
    if (s->lowered) {
        pp_sched_set_lowered(r->s);
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1];) {
            at += renumber_cell(r, s, rank, at, number);
        }
    }
    int32_t added = r->s->action_count;
    cr_assert_eq(pp_sched_seal(r->s, &err), PP_OK, "%s", err.message);
    cr_assert_eq(r->s->action_count, added);
}

/* In the order of ranks, as actions are added, so `from` holds after sealing. One left out. */
static inline void without_one(struct renumbered *r, const struct pp_sched *s, uint64_t *seed) {
    int32_t number[64];
    int32_t out = random_below(seed, s->microbatch_count);
    for (int32_t m = 0; m < s->microbatch_count; m++) {
        number[m] = m == out ? -1 : m - (m > out);
    }
    renumber(r, s, number, s->microbatch_count - 1);
}

static inline void permuted(struct renumbered *r, const struct pp_sched *s, uint64_t *seed) {
    int32_t number[64];
    for (int32_t m = 0; m < s->microbatch_count; m++) {
        int32_t other = random_below(seed, m + 1);
        number[m] = number[other];
        number[other] = m;
    }
    renumber(r, s, number, s->microbatch_count);
}

#endif
