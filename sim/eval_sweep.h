/**
 * @file eval_sweep.h
 * Private to the evaluation: an order in which every action of a schedule comes after its producer
 * and after the action before it on its rank, packed for a linear sweep.
 *
 * The order is a list of runs: a rank goes on until it lacks an input, so within a run the time at
 * which the rank is free stays in a register. Ends that another action waits for stand in slots
 * that are used again as soon as that action has run: some two a rank, whatever the schedule's
 * size, so what a sweep reads stays in the first cache.
 *
 * A run is one word that tells where it is, then a word an action:
 *   run     rank 12 bits | count 20 | first 1 | at 31
 *   action  key 18 | out 23 | in 23
 */
#ifndef PP_SIM_EVAL_SWEEP_H
#define PP_SIM_EVAL_SWEEP_H

#include "sim/check.h"

enum {
    PP_SWEEP_TYPE_COUNT = PP_B + 1,
    PP_SWEEP_SLOT_NONE = 0, /* `in` of an action without producer: its end is always 0 */
    PP_SWEEP_SLOT_SINK = 1, /* `out` of an action that no other rank's action waits for */
    PP_SWEEP_SLOT_BITS = 23,
    PP_SWEEP_KEY_SHIFT = 2 * PP_SWEEP_SLOT_BITS,
};

_Static_assert(PP_SCHED_MAX_STAGES *PP_SWEEP_TYPE_COUNT <= 1 << (64 - PP_SWEEP_KEY_SHIFT),
               "a key fits its bits");
_Static_assert(PP_SCHED_MAX_RANKS <= 1 << 12 && PP_SCHED_MAX_ACTIONS <= INT32_MAX,
               "a run fits its word");

struct pp_sweep {
    uint64_t *words;
    int64_t word_count;
    int32_t slot_count; /* both special ones included */
    bool has_pairs;
};

/** Index of a stage and type: all of one type side by side, so that types which do not appear take
 *  no room in a cache. */
static inline int32_t pp_sweep_key_of(const struct pp_sched *s, int32_t type, int32_t stage) {
    return type * s->stage_count + stage;
}

/** One run, unpacked. */
struct pp_sweep_run {
    int32_t at, count, rank;
    bool is_first; /* of its rank */
};

static inline struct pp_sweep_run pp_sweep_run_of(uint64_t word) {
    return (struct pp_sweep_run){.at = (int32_t)(word & INT32_MAX),
                                 .count = (int32_t)(word >> 32 & 0xfffff),
                                 .rank = (int32_t)(word >> 52),
                                 .is_first = (word >> 31 & 1) != 0};
}

static inline uint64_t pp_sweep_run_word(struct pp_sweep_run run) {
    return (uint64_t)run.rank << 52 | (uint64_t)run.count << 32 | (uint64_t)run.is_first << 31 |
           (uint64_t)run.at;
}

static inline size_t pp_sweep_in(uint64_t word) {
    return (size_t)(word & ((1U << PP_SWEEP_SLOT_BITS) - 1));
}
static inline size_t pp_sweep_out(uint64_t word) {
    return (size_t)(word >> PP_SWEEP_SLOT_BITS & ((1U << PP_SWEEP_SLOT_BITS) - 1));
}
static inline size_t pp_sweep_key(uint64_t word) {
    return (size_t)(word >> PP_SWEEP_KEY_SHIFT);
}

/**
 * @param s           sealed and compute-only
 * @param deadlock_p  as pp_eval_create
 * @return PP_OK, PP_E_DEADLOCK, PP_E_NOMEM
 * Cost: O(actions + stages).
 */
enum pp_status pp_sweep_init(struct pp_sweep *sweep, const struct pp_sched *s,
                             struct pp_deadlock *deadlock_p, struct pp_err *err);
void pp_sweep_deinit(struct pp_sweep *sweep);

#endif
