/**
 * @file memory.h
 * Memory of each rank over the course of a schedule, in any integer unit.
 *
 * F adds at its start; I, B and W free at their end, so the peak is seen before the release. A
 * transient lives while its action runs. Actions of a rank run one after the other, so the peak
 * does not depend on times, except for a pair that runs as one (both parts start, then both end).
 *
 * OFFLOAD frees what F added, at its end; RELOAD adds it again at its start. They run beside the
 * compute actions, so with them the peak does depend on times; what happens at the same time counts
 * in the order of the rank's list.
 *
 * In lowered traces, further:
 * - UNSHARD adds a stage's gathered parameters at its start, RESHARD frees them;
 * - a stage's unsharded gradients appear at the start of its first W or B in the rank's list, and
 *   of the first after each of its REDUCE_GRADs, which frees those before it at its end: while a
 *   reduction runs beside later backwards, both are there. Of a stage that is not reduced they are
 *   not counted: they are resident;
 * - RECV adds its message at its start, the action that needs it frees it at its end;
 * - SEND's message is there from the end of the action that makes it to the SEND's end.
 * What happens at the same time counts in the order of the rank's list here, too, the start of an
 * action before its end; a message to be sent counts where its SEND stands.
 */
#ifndef PP_SIM_MEMORY_H
#define PP_SIM_MEMORY_H

#include "sim/trace.h"

/** Arrays are [stage_count]; NULL stands for zeros. i_frees + w_frees = f_adds for each stage. */
struct pp_memory_model {
    const int64_t *f_adds;
    const int64_t *i_frees;
    const int64_t *w_frees;
    const int64_t *f_transient, *b_transient; /* while F runs; while I, W or B runs */
    const int64_t *base;                      /* [rank_count] resident all the time */
    bool pairs_as_one;
    /* of lowered traces */
    const int64_t *unshard_adds, *grad_adds;
    const int64_t *recv_f_adds, *recv_b_adds; /* of the stage that receives */
    const int64_t *send_f_adds, *send_b_adds; /* of the stage that sends */
};

struct pp_rank_memory {
    int64_t peak;
    int32_t peak_action; /* index into sched->actions of the action that makes it; -1 if none */
};

/** The peaks of a compute-only schedule if transfers to the host take no time.
 *  @param peaks  [rank_count]. Cost: O(actions), no allocation. */
void pp_memory_peaks(const struct pp_sched *s, const struct pp_memory_model *model,
                     struct pp_rank_memory *peaks);

/** The peaks under a compute-only trace; without offloads those of pp_memory_peaks.
 *  @param peaks  [rank_count]. Cost: O(actions), no allocation. */
void pp_memory_peaks_timed(const struct pp_trace *trace, const struct pp_memory_model *model,
                           struct pp_rank_memory *peaks);

struct pp_memory_work; /* opaque workspace of one lowered schedule; one thread a workspace */

/** @param lowered  sealed; must outlive the workspace. @return PP_OK, PP_E_ARG (not lowered),
 *  PP_E_NOMEM */
enum pp_status pp_memory_work_create(const struct pp_sched *lowered, struct pp_memory_work **work_p,
                                     struct pp_err *err);
void pp_memory_work_destroy(struct pp_memory_work *work);

/** The peaks under a lowered trace.
 *  @param peaks  [rank_count]. Cost: O(n log n) of the actions of a rank, about n where its lanes
 *                keep near its list's order; no allocation. */
void pp_memory_peaks_lowered(struct pp_memory_work *work, const struct pp_trace *trace,
                             const struct pp_memory_model *model, struct pp_rank_memory *peaks);

/** One step of a rank's memory: from time_ns on it is `amount`. */
struct pp_memory_point {
    int64_t time_ns, amount;
};

/**
 * The timeline of one rank under a compute-only trace: at most 2 * actions of the rank + 1 points.
 * @param points  caller's array, [2 * (rank_begin[rank+1] - rank_begin[rank]) + 1]
 * @return number of points
 */
int32_t pp_memory_timeline(const struct pp_trace *trace, const struct pp_memory_model *model,
                           int32_t rank, struct pp_memory_point *points);

/** The same of a lowered trace. */
int32_t pp_memory_timeline_lowered(struct pp_memory_work *work, const struct pp_trace *trace,
                                   const struct pp_memory_model *model, int32_t rank,
                                   struct pp_memory_point *points);

#endif
