/**
 * @file gen_order.h
 * An order under construction, for generators that choose by costs: per rank a list of F, I, W and
 * B, timed as pp_eval would (start = max(end before on the rank, end of the producer + transfer)),
 * but changeable and without allocation once made. Integers only; the same input, the same order.
 *
 *   pp_order_init -> { pp_order_clear, pp_order_push ..., pp_order_time or pp_order_refill }
 *                 -> pp_order_emit -> pp_order_deinit
 */
#ifndef PP_SIM_GEN_ORDER_H
#define PP_SIM_GEN_ORDER_H

#include "sim/gen_priv.h"

struct pp_order_op {
    int32_t stage, microbatch;
    uint8_t type; /* PP_F, PP_I, PP_W or PP_B */
};

/** Everything is owned but `s` and `model`, which must outlive it. One thread. */
struct pp_order {
    const struct pp_sched *s; /* counts and placement; needs no actions */
    const struct pp_gen_model *model;
    int64_t *limit;          /* [rank_count] memory, the model's; a generator may lower it */
    int32_t *begin;          /* [rank_count + 1] first room of a rank */
    int32_t *count;          /* [rank_count] ops of a rank */
    struct pp_order_op *ops; /* rank r: ops[begin[r]] .. ops[begin[r] + count[r] - 1] */

    /* After pp_order_time or pp_order_refill. */
    int64_t *start, *end;   /* like ops, ns */
    int64_t *peak;          /* [rank_count] memory, seen after a forward, before any release */
    int64_t makespan, span; /* last end; longest time of a rank from first start to last end;
                               makespan is INT64_MAX while there is no order */
    int64_t worst_peak;     /* of any rank */

    int64_t most_makespan, most_span; /* nothing longer is kept here; INT64_MAX unless set */

    int32_t *before, *after; /* [stage_count] pp_sched_stage_before, _after */
    int64_t *done[2];        /* [stage * microbatches + microbatch] end of F, of I or B; -1 = not */
    struct pp_order_rank *ranks; /* workspace */
    int32_t *runnable;
};

/** @param s  unsealed, with counts, placement, slices set. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_order_init(struct pp_order *o, const struct pp_sched *s,
                             const struct pp_gen_model *model, struct pp_err *err);
void pp_order_deinit(struct pp_order *o);

void pp_order_clear(struct pp_order *o);

/** Appends to the list of the stage's rank. At most one F, I and W (or F and B) of each stage and
 *  microbatch: not checked. */
void pp_order_push(struct pp_order *o, enum pp_action_type type, int32_t stage, int32_t microbatch);

/** Makes `to` the same order, times included; both of the same schedule. */
void pp_order_copy(struct pp_order *to, const struct pp_order *from);

/**
 * Start and end of every op, makespan, span and peaks.
 * @return false if ranks wait for one another in a circle. Cost: O(ops), about 10 ns an op.
 */
bool pp_order_time(struct pp_order *o);

/** When refilling puts the next W into the gap before an F or I. */
struct pp_order_fill {
    int32_t eighths; /* the gap is at least so many eighths of the W; 8 = only where it fits */
    bool level_idle; /* the gap would make this rank the one that idled longest so far */
    bool keep;      /* besides, a W goes no later than it was, while its rank has more F's to run */
    int32_t keep_f; /* than so many */
};

/**
 * The order of `from`, which needs no times, with its W's placed anew, first in, first out: in gaps
 * as `fill` says, where memory forces one before an F, the rest at the end. Times `to` on the way,
 * as pp_order_time.
 * @return false if an F does not fit the limit even so, or ranks wait in a circle
 */
bool pp_order_refill(const struct pp_order *from, const struct pp_order_fill *fill,
                     struct pp_order *to);

/** Does every rank's peak keep its limit? */
bool pp_order_fits(const struct pp_order *o);

/** Is `a` better than `b`: shorter makespan, then span, then lower worst peak? */
bool pp_order_better(const struct pp_order *a, const struct pp_order *b);

/** Copies `trial` to `best` if it is better, and no longer than `best` allows. */
void pp_order_keep_better(struct pp_order *best, const struct pp_order *trial);

/** Refills `from`, which may be `best`, in every way that has paid off somewhere and keeps what is
 *  better than `best`.
 *  @param trial  workspace, with the limits to keep */
void pp_order_keep_refilled(const struct pp_order *from, struct pp_order *trial,
                            struct pp_order *best);

/** Adds every op to `s`, the schedule it was made for. @return as pp_sched_add */
enum pp_status pp_order_emit(const struct pp_order *o, struct pp_sched *s, struct pp_err *err);

/** Duration of an op. */
static inline int64_t pp_order_duration(const struct pp_gen_model *m, uint8_t type, int32_t stage) {
    const int64_t *const ns[] = {
        [PP_F] = m->f_ns, [PP_I] = m->i_ns, [PP_W] = m->w_ns, [PP_B] = m->b_ns};
    return ns[type][stage];
}

#endif
