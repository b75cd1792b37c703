/**
 * @file replay.h
 * A plan's stage costs played through its schedule: the step between "what a stage costs" and "what
 * happens when". The planner replays thousands of plans with it; reports replay a stored one.
 *
 * A replay is a workspace for one schedule, filled again for every plan that shares it, without
 * allocation. One thread a replay.
 *
 * PyTorch's runtime is modelled where it differs from the textbook (torch-pipelining.md section 8):
 * stage 0 has no input gradient, so its I does nothing and its W does the whole backward; a receive
 * buffer exists for every microbatch of every tensor that comes from another rank.
 */
#ifndef PP_SIM_REPLAY_H
#define PP_SIM_REPLAY_H

#include "sim/causes.h"
#include "sim/eval.h"
#include "sim/memory.h"
#include "sim/plan.h"

struct pp_replay {
    const struct pp_sched *sched; /* not owned */
    struct pp_eval *eval;
    struct pp_trace trace; /* of the last pp_replay_run */
    int64_t *columns;      /* cost and memory arrays, [stage_count] each, then base [ranks] */
};

/** @param sched  sealed; must outlive the replay. @return PP_OK, PP_E_DEADLOCK, PP_E_NOMEM */
enum pp_status pp_replay_init(struct pp_replay *replay, const struct pp_sched *sched,
                              struct pp_err *err);
void pp_replay_deinit(struct pp_replay *replay);

/**
 * Plays one flush of the plan into replay->trace. Without stage_costs: unit costs, 1 us for a
 * rank's whole F, I and W. @return PP_OK, PP_E_RANGE
 */
enum pp_status pp_replay_run(struct pp_replay *replay, const struct pp_plan *plan,
                             struct pp_err *err);

/** Fills in the plan's costs without playing them. They point into the replay. */
struct pp_costs pp_replay_costs(struct pp_replay *replay, const struct pp_plan *plan);

/** Memory of the plan that was run, or whose costs were filled in, last: bytes allocated, before
 * allocator slack and reserved memory. Points into the replay. Only for plans with stage_costs. */
struct pp_memory_model pp_replay_memory(const struct pp_replay *replay);

/** For the causes of idle time in the trace; `memory` and `limit` are left to the caller. */
struct pp_cause_inputs pp_replay_causes(const struct pp_replay *replay);

/** Receive buffers of a stage of a plan with stage_costs, part of its rank's base. */
int64_t pp_replay_receive_bytes(const struct pp_plan *plan, int32_t stage);

/** The schedule a plan runs: generated, or NULL in *own_p where it is the given CSV.
 *  @param sched_p  what to run; *own_p is to be destroyed by the caller */
enum pp_status pp_replay_schedule(const struct pp_plan *plan, const struct pp_sched *csv,
                                  const struct pp_sched **sched_p, struct pp_sched **own_p,
                                  struct pp_err *err);

#endif
