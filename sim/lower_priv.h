/**
 * @file lower_priv.h
 * Private to lowering: what its passes hand to one another. First every rank's own items (compute,
 * gathers, reductions), then the lowered actions, where the modes differ.
 */
#ifndef PP_SIM_LOWER_PRIV_H
#define PP_SIM_LOWER_PRIV_H

#include "sim/lower.h"

/** One entry of a rank before transfers are added. */
struct pp_lower_item {
    int32_t index; /* PP_UNSHARD, PP_RESHARD, PP_REDUCE_GRAD: the stage; else an action of the
                      compute-only schedule, first part of a pair */
    int32_t type;
    int32_t microbatch; /* of a PP_REDUCE_GRAD, or -1 */
};

struct pp_lower {
    const struct pp_sched *s; /* compute-only */
    const struct pp_lower_options *options;
    struct pp_lower_item *items; /* [item_count] grouped by rank */
    int32_t item_count, item_capacity;
    int32_t *item_begin;       /* [rank_count + 1] */
    struct pp_action *actions; /* lowered, grouped by rank */
    int32_t *action_end;       /* [rank_count + 1] behind the last one put to each rank so far */
    int32_t *cell_count;       /* [rank_count] */
};

/** Stage on another rank that needs the output of `a`; -1 if there is none. */
static inline int32_t pp_lower_receiver(const struct pp_sched *s, const struct pp_action *a) {
    int32_t stage = -1;
    if (a->type == PP_F) {
        stage = pp_sched_stage_after(s, a->stage);
    } else if (a->type == PP_I || a->type == PP_B) {
        stage = pp_sched_stage_before(s, a->stage);
    }
    return stage >= 0 && s->stage_rank[stage] != s->stage_rank[a->stage] ? stage : -1;
}

/** The next cell of compute from action `at` on; `end` if there is none. */
static inline int32_t pp_lower_compute_from(const struct pp_sched *s, int32_t at, int32_t end) {
    while (at < end && !pp_action_is_compute(&s->actions[at])) {
        at++;
    }
    return at;
}

/** An input of the cell that begins with action `at` that is not made yet, or -1.
 *  @param next_action  [rank_count] first action not put of each rank */
int32_t pp_lower_lacking(const struct pp_sched *s, const int32_t *next_action, int32_t at);

/** Fills `items`: gathers, frees and reductions between the compute actions.
 *  @return PP_OK, PP_E_RANGE, PP_E_NOMEM */
enum pp_status pp_lower_own_items(struct pp_lower *l, struct pp_err *err);

/** Puts an item to its rank's actions: a cell, or a gather, free or reduction. */
void pp_lower_put_item(struct pp_lower *l, int32_t rank, const struct pp_lower_item *item);

/** Puts the SEND of the output of `a` to its rank, or the RECV to that of `receiver`. */
void pp_lower_put_send(struct pp_lower *l, const struct pp_action *a);
void pp_lower_put_recv(struct pp_lower *l, const struct pp_action *a, int32_t receiver);

/** Puts all items and transfers. @return PP_OK, PP_E_NOMEM; all but ours also PP_E_DEADLOCK */
enum pp_status pp_lower_torch(struct pp_lower *l, struct pp_err *err);
enum pp_status pp_lower_batched(struct pp_lower *l, struct pp_err *err);
enum pp_status pp_lower_ours(struct pp_lower *l, struct pp_err *err);

/** A set of stages that is walked in the order of a CPython set of the same ints with the same
 *  history. PyTorch frees stages in that order. */
struct pp_stage_set {
    int32_t *slots; /* stage, or one of the two below */
    int32_t slot_count, used, filled;
};
enum { PP_STAGE_SET_EMPTY = -1, PP_STAGE_SET_REMOVED = -2 };

/** Slots that a set of up to `most` stages may come to need. */
int32_t pp_stage_set_most_slots(int32_t most);
/** Empties it; `slots` has room for the most. */
void pp_stage_set_clear(struct pp_stage_set *set);
/** @param stage  not in the set
 *  @param spare  as large as `slots`; not kept */
void pp_stage_set_add(struct pp_stage_set *set, int32_t stage, int32_t *spare);
/** @param stage  in the set */
void pp_stage_set_remove(struct pp_stage_set *set, int32_t stage);

#endif
