/**
 * @file gen_vlist.h
 * List scheduling for the V placement (rank r holds stages r and 2P-1-r): on every rank, the op
 * that can start first runs first; where several could, a key says which. What it makes of keys
 * adapts to the costs and the memory by itself, so a search has few figures to vary.
 *
 * Within a stage, microbatches go in order, forward and backward. A W is run, first in, first out,
 * where the rank waits long enough or its memory is needed.
 */
#ifndef PP_SIM_GEN_VLIST_H
#define PP_SIM_GEN_VLIST_H

#include "sim/gen_order.h"
#include "sim/gen_tournament.h"

#define PP_VLIST_ANY (INT64_MAX / 4) /* of `delta`: whatever can start may go first */

/** What decides; arrays belong to the caller. Keys are in [-INT64_MAX / 4, INT64_MAX / 4]. */
struct pp_vlist_rule {
    const int64_t
        *offset[2];     /* [stage] key of microbatch 0, of F and of I or B; small goes first */
    int64_t period;     /* from one microbatch's key to the next */
    const int32_t *cap; /* [stage] most microbatches between F and I or B */
    int64_t delta;      /* nothing goes before a key that is smaller by more than this */
    struct pp_order_fill fill; /* `keep` means nothing here */
    bool fused;                /* B instead of I and W */
    int64_t most;              /* gives up once the makespan is sure to exceed this */
};

struct pp_vlist {
    struct pp_order *o; /* limits, and where the order goes; not owned */
    struct pp_vlist_rank *ranks;
    struct pp_tournament next; /* by the start of what each rank would do next */
};

/** @return PP_OK, PP_E_NOMEM */
enum pp_status pp_vlist_init(struct pp_vlist *l, struct pp_order *o, struct pp_err *err);
void pp_vlist_deinit(struct pp_vlist *l);

/**
 * Schedules by the rule into l->o, timed. With PP_VLIST_ANY and caps that leave room for one
 * microbatch of each rank's other stage, any limit that holds one microbatch of both is met.
 * @return false if it gave up or got stuck: no rank has both an op it may run and the memory
 * Cost: O(ops * log ranks), about 60 ns an op; no allocation.
 */
bool pp_vlist_run(struct pp_vlist *l, const struct pp_vlist_rule *rule);

#endif
