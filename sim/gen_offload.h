/**
 * @file gen_offload.h
 * Planning which activations of a timed order go to the host and come back, and when, without
 * moving any compute action.
 *
 * A rank has one lane to the host. Reloads are planned from the last to the first, each at the last
 * time that ends before its backward; then offloads from the first to the last, each at the first
 * time after its forward at which the lane is free. A trip that would leave no time away, or for
 * which the lane has none, is dropped. The same is tried with reloads in every second of equal
 * slots of the lane; the plan with the lower peak stays. As in pp_eval a transfer starts once the
 * compute actions before it in the list have ended: at the time planned for it or sooner, so no
 * backward ever waits.
 *
 *   pp_offload_init -> { pp_offload_plan -> pp_offload_peak, pp_offload_emit } -> pp_offload_deinit
 *
 * Source: Wan et al., PipeOffload, arXiv 2503.01328.
 */
#ifndef PP_SIM_GEN_OFFLOAD_H
#define PP_SIM_GEN_OFFLOAD_H

#include "sim/gen_order.h"

/** The plan of one rank at a time. Owns its arrays; the order must be timed and outlive it. */
struct pp_offload {
    const struct pp_order *order;
    int32_t rank;
    int32_t trip_count, transfer_count;
    struct pp_offload_trip *trips;         /* in the order of their forwards */
    int32_t *by_backward;                  /* [trip_count] the same by their backwards */
    struct pp_offload_transfer *transfers; /* in the lane's order */
    int32_t *trip_of;                      /* [stage * microbatches + microbatch] */
};

/** @return PP_OK, PP_E_NOMEM */
enum pp_status pp_offload_init(struct pp_offload *o, const struct pp_order *order,
                               struct pp_err *err);
void pp_offload_deinit(struct pp_offload *o);

/** Plans the trips of those stages of `rank` whose number is below `stage_end`. O(ops of the rank).
 */
void pp_offload_plan(struct pp_offload *o, int32_t rank, int32_t stage_end);

/** Peak of the planned rank's memory, as pp_memory_peaks_timed gives it. O(ops of the rank). */
int64_t pp_offload_peak(const struct pp_offload *o);

/** Adds the planned rank's actions, transfers among them. @return as pp_sched_add */
enum pp_status pp_offload_emit(const struct pp_offload *o, struct pp_sched *s, struct pp_err *err);

#endif
