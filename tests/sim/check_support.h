/* Lowered schedules for the tests of the check, also with their receives moved. */
#ifndef PP_TESTS_CHECK_SUPPORT_H
#define PP_TESTS_CHECK_SUPPORT_H

#include "sim/check.h"
#include "tests/sim/lower_support.h"

/* An empty lowered schedule for the same ranks and stages. */
static inline struct pp_sched *like(const struct pp_sched *s) {
    struct pp_sched *t = NULL;
    cr_assert_eq(pp_sched_create(s->rank_count, s->stage_count, s->microbatch_count, s->stage_rank,
                                 &t, NULL),
                 PP_OK);
    if (s->part_count < s->stage_count) {
        cr_assert_eq(pp_sched_set_bidirectional(t, NULL), PP_OK);
    }
    cr_assert_eq(pp_sched_set_slices(t, s->slice_count, NULL), PP_OK);
    pp_sched_set_lowered(t);
    return t;
}

/* Copies the cell that begins with action `at`. @return its size */
static inline int32_t copy_cell(struct pp_sched *to, const struct pp_sched *s, int32_t at) {
    const struct pp_action *a = &s->actions[at];
    int32_t rank = s->stage_rank[a->stage];
    struct pp_err err = {0};
    if (a->pair == 1) {
        cr_assert_eq(pp_sched_add_pair(to, rank, a->type, a->stage, a->microbatch, a[1].type,
                                       a[1].stage, a[1].microbatch, &err),
                     PP_OK, "%s", err.message);
        return 2;
    }
    cr_assert_eq(pp_sched_add(to, rank, a->type, a->stage, a->microbatch, &err), PP_OK, "%s",
                 err.message);
    return 1;
}

static inline struct pp_sched *sealed(struct pp_sched *s) {
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_seal(s, &err), PP_OK, "%s", err.message);
    return s;
}

/* Lowers, and leaves out what never waits, UNSHARD, RESHARD and REDUCE_GRAD. */
static inline struct pp_sched *lower_transfers(const struct pp_sched *s, enum pp_lower_mode mode) {
    struct pp_sched *whole = lower(s, mode);
    struct pp_sched *t = like(whole);
    for (int32_t at = 0; at < whole->action_count;) {
        bool local = whole->actions[at].type >= PP_UNSHARD;
        at += local ? 1 : copy_cell(t, whole, at);
    }
    pp_sched_destroy(whole);
    return sealed(t);
}

/* Every rank's receives moved to the beginning, in the order in which PyTorch places them. */
static inline struct pp_sched *hoist_receives(const struct pp_sched *s) {
    struct pp_sched *t = like(s);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        for (int32_t pass = 0; pass < 2; pass++) {
            for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1];) {
                bool now = is_recv(&s->actions[at]) == (pass == 0);
                at += now ? copy_cell(t, s, at) : pp_sched_cell_size(s, at);
            }
        }
    }
    return sealed(t);
}

/*
 * Every receive moved to right before its use. With `by_parity` as PyTorch's defer_pp_recv: before
 * a SEND to a higher rank, first those from that rank that stand before it.
 */
static inline struct pp_sched *defer_receives(const struct pp_sched *s, bool by_parity) {
    struct pp_sched *t = like(s);
    bool *placed = calloc((size_t)s->action_count, sizeof *placed);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1];) {
            const struct pp_action *a = &s->actions[at];
            if (is_recv(a)) {
                at++;
                continue;
            }
            if (by_parity && (a->type == PP_SEND_F || a->type == PP_SEND_B)) {
                int32_t peer = s->stage_rank[a->type == PP_SEND_F ? a->stage + 1 : a->stage - 1];
                for (int32_t i = s->rank_begin[rank]; rank < peer && i < at; i++) {
                    if (is_recv(&s->actions[i]) && !placed[i] &&
                        s->stage_rank[s->actions[s->producer[i]].stage] == peer) {
                        placed[i] = true;
                        copy_cell(t, s, i);
                    }
                }
            }
            for (int32_t i = at; i < at + pp_sched_cell_size(s, at) && a->type <= PP_B; i++) {
                int32_t needed = s->producer[i];
                if (needed >= 0 && is_recv(&s->actions[needed]) && !placed[needed]) {
                    placed[needed] = true;
                    copy_cell(t, s, needed);
                }
            }
            at += copy_cell(t, s, at);
        }
    }
    free(placed);
    return sealed(t);
}

#endif
