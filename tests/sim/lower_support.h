/* What shows that a lowered schedule runs: its channels, and an interpreter without any buffer. */
#ifndef PP_TESTS_LOWER_SUPPORT_H
#define PP_TESTS_LOWER_SUPPORT_H

#include "sim/lower.h"
#include "tests/sim/sim_support.h"

static inline struct pp_sched *lower(const struct pp_sched *s, enum pp_lower_mode mode) {
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(mode);
    struct pp_sched *lowered = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_lower(s, &options, &lowered, &err), PP_OK, "%s", err.message);
    return lowered;
}

/* Both ways of lowering keep the compute actions as they were; for gathers and reductions the order
 * in which several stages are freed at once differs. */
static inline void expect_same_compute(const struct pp_sched *s, const struct pp_sched *lowered) {
    int32_t at = 0;
    for (int32_t i = 0; i < lowered->action_count; i++) {
        const struct pp_action *a = &lowered->actions[i];
        if (a->type <= PP_B || a->type >= PP_OFFLOAD) {
            const struct pp_action *b = &s->actions[at++];
            cr_assert(a->type == b->type && a->stage == b->stage &&
                      a->microbatch == b->microbatch && a->pair == b->pair);
        }
    }
    cr_assert_eq(at, s->action_count);
}

static inline bool is_send(const struct pp_action *a) {
    return a->type == PP_SEND_F || a->type == PP_SEND_B;
}

static inline bool is_recv(const struct pp_action *a) {
    return a->type == PP_RECV_F || a->type == PP_RECV_B;
}

/* Rank at the other end of a SEND or RECV. */
static inline int32_t other_rank(const struct pp_sched *s, const struct pp_action *a) {
    bool after = a->type == PP_SEND_F || a->type == PP_RECV_B;
    return s->stage_rank[after ? pp_sched_stage_after(s, a->stage)
                               : pp_sched_stage_before(s, a->stage)];
}

/* One run: a channel for every directed pair of ranks. */
struct rendezvous {
    const struct pp_sched *s;
    int32_t *sent, *received; /* [rank_count^2] SENDs and RECVs posted so far, by from * P + to */
    int32_t *number;          /* [action_count] place of a SEND or RECV in its channel */
    int32_t *next;            /* [rank_count] */
};

static inline int32_t channel_of(const struct pp_sched *s, const struct pp_action *a) {
    int32_t own = s->stage_rank[a->stage];
    int32_t other = other_rank(s, a);
    return is_send(a) ? own * s->rank_count + other : other * s->rank_count + own;
}

/* Has the input of action `at` arrived? A message moves when it is first in its channel on both
 * sides: nothing is kept in between. */
static inline bool has_input(const struct rendezvous *r, int32_t at) {
    int32_t producer = r->s->producer[at];
    if (producer < 0) {
        return true;
    }
    const struct pp_action *a = &r->s->actions[producer];
    if (producer >= r->next[r->s->stage_rank[a->stage]]) {
        return false;
    }
    return !is_recv(a) || r->number[producer] < r->sent[channel_of(r->s, a)];
}

static inline bool step(struct rendezvous *r, int32_t rank) {
    int32_t at = r->next[rank];
    if (at == r->s->rank_begin[rank + 1]) {
        return false;
    }
    const struct pp_action *a = &r->s->actions[at];
    int32_t size = a->pair == 1 ? 2 : 1;
    if (is_send(a)) {
        r->number[at] = r->sent[channel_of(r->s, a)]++;
    } else if (is_recv(a)) {
        r->number[at] = r->received[channel_of(r->s, a)]++;
    } else if (!has_input(r, at) || (size == 2 && !has_input(r, at + 1))) {
        return false;
    }
    r->next[rank] += size;
    return true;
}

/* Runs it; ranks wait only at compute actions. @return whether it came to the end and every message
 * met the receive meant for it */
static inline bool runs_without_buffers(const struct pp_sched *s) {
    size_t channels = (size_t)s->rank_count * (size_t)s->rank_count;
    struct rendezvous r = {.s = s};
    r.sent = calloc(channels, sizeof *r.sent);
    r.received = calloc(channels, sizeof *r.received);
    r.number = calloc((size_t)s->action_count, sizeof *r.number);
    r.next = malloc((size_t)s->rank_count * sizeof *r.next);
    memcpy(r.next, s->rank_begin, (size_t)s->rank_count * sizeof *r.next);
    for (bool any = true; any;) {
        any = false;
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            while (step(&r, rank)) {
                any = true;
            }
        }
    }
    bool good = true;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        good = good && r.next[rank] == s->rank_begin[rank + 1];
    }
    for (int32_t at = 0; good && at < s->action_count; at++) {
        good = !is_recv(&s->actions[at]) || r.number[at] == r.number[s->producer[at]];
    }
    free(r.sent);
    free(r.received);
    free(r.number);
    free(r.next);
    return good;
}

#endif
