/**
 * @file gen_rounds.h
 * Private to the interleaved generators: which stage and microbatch the i-th forward or backward of
 * a rank is on. Microbatches go in rounds of K; within a round a rank does K microbatches of its
 * first stage, K of its second and so on; backwards take the stages from the last.
 */
#ifndef PP_SIM_GEN_ROUNDS_H
#define PP_SIM_GEN_ROUNDS_H

#include "sim/gen_priv.h"

struct pp_gen_rounds {
    int32_t rank_count, stages_per_rank, rank;
    int32_t round_size;  /* K microbatches */
    int32_t pass_count;  /* forwards of a rank; as many backwards */
    int32_t ahead_count; /* forwards before the first backward */
};

struct pp_gen_pass {
    int32_t stage, microbatch;
};

static inline int32_t pp_gen_round_count(int32_t rank_count, int32_t microbatch_count) {
    return microbatch_count / rank_count > 1 ? microbatch_count / rank_count : 1;
}

/** @param lead  forwards ahead for each rank that follows: 2 for 1F1B, 1 for zero bubble */
static inline struct pp_gen_rounds pp_gen_rounds_of(const struct pp_gen_config *c, int32_t rank,
                                                    int32_t lead) {
    struct pp_gen_rounds o = {
        .rank_count = c->rank_count, .stages_per_rank = c->stages_per_rank, .rank = rank};
    o.round_size = c->microbatch_count / pp_gen_round_count(c->rank_count, c->microbatch_count);
    o.pass_count = c->microbatch_count * c->stages_per_rank;
    int64_t ahead = (int64_t)(c->stages_per_rank - 1) * o.round_size +
                    (int64_t)lead * (c->rank_count - 1 - rank);
    o.ahead_count = ahead < o.pass_count ? (int32_t)ahead : o.pass_count;
    return o;
}

/** Goes through a rank's forwards, or backwards, in their order. */
struct pp_gen_walk {
    struct pp_gen_pass next;
    int32_t step;              /* of the stage from chunk to chunk: rank_count, or back */
    int32_t left, chunks_left; /* microbatches of this chunk, chunks of this round */
    int32_t round_size, stages_per_rank;
};

static inline struct pp_gen_walk pp_gen_forwards(const struct pp_gen_rounds *o) {
    return (struct pp_gen_walk){.next = {.stage = o->rank},
                                .step = o->rank_count,
                                .left = o->round_size,
                                .chunks_left = o->stages_per_rank,
                                .round_size = o->round_size,
                                .stages_per_rank = o->stages_per_rank};
}

static inline struct pp_gen_walk pp_gen_backwards(const struct pp_gen_rounds *o) {
    struct pp_gen_walk w = pp_gen_forwards(o);
    w.next.stage += (o->stages_per_rank - 1) * o->rank_count;
    w.step = -o->rank_count;
    return w;
}

/** @return the next; never after the last: pass_count in all */
static inline struct pp_gen_pass pp_gen_take(struct pp_gen_walk *w) {
    struct pp_gen_pass pass = w->next;
    w->next.microbatch++;
    if (--w->left == 0) {
        w->left = w->round_size;
        if (--w->chunks_left > 0) {
            w->next.stage += w->step;
            w->next.microbatch -= w->round_size;
        } else {
            w->chunks_left = w->stages_per_rank;
            w->next.stage -= (w->stages_per_rank - 1) * w->step;
        }
    }
    return pass;
}

#endif
