/**
 * @file gen_decode.h
 * Private to the generators: an order of F, I and W from keys, for given costs and hard memory
 * limits, by list scheduling in global time. Any placement of one pipeline with few stages a rank.
 *
 * Every action has a key. A rank knows the next action of each of its stages and types; of those
 * that could run, it takes the one with the smallest key (rules say how far it waits for one, and
 * how far keys may be passed over). Of all ranks, the one that starts earliest goes first. So
 *   - any order, with its places as keys and nothing passed over, decodes to itself, timed;
 *   - the starts of an order are keys, too: changed a little, they give a similar order that fits.
 * Microbatches of a stage and type run in their own order.
 *
 * An F never takes memory that F of the rank's other stages with smaller keys will need. With keys
 * by microbatch first and everything passable, decoding therefore never gets stuck while each rank
 * has room for one microbatch on all of its stages.
 *
 * Source: serial and parallel schedule generation, active schedules (Giffler and Thompson 1960).
 */
#ifndef PP_SIM_GEN_DECODE_H
#define PP_SIM_GEN_DECODE_H

#include "sim/gen_priv.h"

enum {
    PP_DECODE_MAX_LOCAL = 4, /* stages a rank */
    PP_DECODE_ALL = 8,       /* of `look` */
};

/** By key only: no action passes over a smaller key that is still to come on its rank. */
#define PP_DECODE_STRICT ((struct pp_decode_rules){.look = 0, .overtake = 0})

struct pp_decode_rules {
    int32_t look;     /* a rank may wait for a smaller key, up to this many eighths of the soonest
                         alternative's time: 0 = it never waits, PP_DECODE_ALL = until that
                         alternative would be done */
    int64_t overtake; /* by how much an action's key may exceed the smallest one that is still to
                         come on its rank, inputs made or not */
};

struct pp_decode_figures {
    int64_t makespan_ns, span_ns; /* as in metrics.h */
};

#define PP_DECODE_ANY ((struct pp_decode_figures){INT64_MAX, INT64_MAX})

/** A decoder and its last result. */
struct pp_decoder {
    const struct pp_gen_model *model; /* borrowed; its limits are the hard ones */
    int32_t rank_count, stage_count, microbatch_count;
    int64_t action_count;
    int64_t *start; /* [stage_count][3 types][microbatch_count] once decoded */
    uint8_t *order; /* [action_count] kinds by rank and place, for pp_decode_put */
    int64_t steps;  /* actions run by all decodes: a measure of work without a clock */
    /* the rest is private */
    int32_t *rank_of, *local_of; /* [stage_count] */
    int32_t *stage_of;           /* [stage_count] grouped by rank, ascending */
    int64_t *input;              /* when an action's input is there; -1 = not made yet */
    struct pp_decode_rank *ranks;
    int64_t *next;   /* [leaf_count] when each rank's choice starts; INT64_MAX = it has none */
    int32_t *winner; /* [leaf_count] tournament over `next`, root at 1 */
    int32_t leaf_count;
    void *block;
};

/**
 * @param s  counts and placement: one pipeline, no slices, at most PP_DECODE_MAX_LOCAL stages a
 * rank
 * @return PP_OK, PP_E_NOMEM
 */
enum pp_status pp_decoder_init(struct pp_decoder *d, const struct pp_sched *s,
                               const struct pp_gen_model *model, struct pp_err *err);
void pp_decoder_deinit(struct pp_decoder *d);

/** Index of an action in keys and starts. */
static inline int64_t pp_decode_index(const struct pp_decoder *d, enum pp_action_type type,
                                      int32_t stage, int32_t microbatch) {
    return ((int64_t)stage * 3 + (int64_t)type) * d->microbatch_count + microbatch;
}

/**
 * @param keys  [action_count], by pp_decode_index, at most INT64_MAX / 2 in size
 * @param most  gives up once one of these is sure to be exceeded
 * @return false: gave up, or stuck (keys that contradict the stages' order, or memory held by
 *         forwards that cannot go on); no output is written then
 * Cost: O(actions * (stages a rank + log ranks)), about 70 ns an action; no allocation.
 */
bool pp_decode(struct pp_decoder *d, const int64_t *keys, struct pp_decode_rules rules,
               struct pp_decode_figures most, struct pp_decode_figures *figures_p);

/** Adds the actions of an order that was decoded. @return as pp_sched_add */
enum pp_status pp_decode_put(const struct pp_decoder *d, const uint8_t *order, struct pp_sched *s,
                             struct pp_err *err);

#endif
