/**
 * @file generate.h
 * Schedules by name. One row a schedule, at the end of its generator (sim/gen_*.c). Some orders are
 * fixed by the counts alone; others are chosen for given costs of every stage and within a limit of
 * memory (uses_costs): by a heuristic or a search with a fixed number of steps, so that the same
 * input gives the same order. Names match as PyTorch matches them: case-insensitive, nothing
 * trimmed.
 */
#ifndef PP_SIM_GENERATE_H
#define PP_SIM_GENERATE_H

#include "costmodel/split.h"
#include "sim/costs.h"
#include "sim/schedule.h"

/** What generators that choose an order for given costs know. Each figure a stage or rank. */
struct pp_gen_costs {
    struct pp_costs times;
    /* Activations in any unit, [stage_count]: F adds, I frees, W frees the rest.
       All NULL: F adds 1, W frees 1. */
    const int64_t *f_adds, *i_frees, *w_frees;
    const int64_t *limit; /* [rank_count] in the same unit; NULL = the schedule's own rule */
};

struct pp_gen_config {
    int32_t rank_count;
    int32_t stages_per_rank;  /* copies of the model included */
    int32_t microbatch_count; /* of a flush, all pipelines together */
    int32_t group;            /* microbatches a group; 0 = the schedule's default */
    int32_t slice_count;      /* sequence slices a microbatch; 0 = the schedule's default */
    /* NULL = 1 us for F, I and W of a rank's share, no transfer */
    const struct pp_gen_costs *costs;
};

struct pp_schedule_info {
    const char *name; /* "Interleaved1F1B" */
    enum pp_schedule_kind kind;
    enum pp_placement placement;           /* what the schedule needs */
    enum pp_placement automodel_placement; /* what Automodel gives it; differs for DualPipeV */
    int32_t min_stages_per_rank, max_stages_per_rank; /* max 0 = any */
    int32_t default_stages_per_rank;
    bool in_pytorch;       /* known to PyTorch and Automodel by this name */
    bool splits_backward;  /* uses I and W */
    bool offloads;         /* plans OFFLOAD and RELOAD */
    bool is_bidirectional; /* a second copy of the model runs from the other end */
    bool takes_group, takes_slices, uses_costs;
    int32_t default_slices;      /* 0 where it takes none */
    const char *microbatch_rule; /* one line, for people */
    /* Closed forms: arithmetic in p, v, m, g (group), s (slices), F, I, W, B, T, then where it
       holds, as " for m >= p"; "at most" there makes it a bound. Tests simulate what they say. */
    const char *bubble; /* share of the makespan at zero p2p */
    const char *memory; /* peak activations of the worst rank, in its whole share of a microbatch */
    const char *source;
    /** Rules beyond the stages a rank: microbatches, ranks, group.
     *  @return PP_OK, PP_E_MICROBATCH, PP_E_RANGE */
    enum pp_status (*check)(const struct pp_gen_config *config, struct pp_err *err);
    /** Adds every rank's actions; config has been checked.
     *  @return PP_OK, PP_E_LIMIT (no order fits the memory limit), PP_E_NOMEM */
    enum pp_status (*generate)(const struct pp_gen_config *config, struct pp_sched *s,
                               struct pp_err *err);
};

int32_t pp_schedule_count(void);
/** PyTorch's and Automodel's come first: indices 0 to this - 1. */
int32_t pp_schedule_torch_count(void);
const struct pp_schedule_info *pp_schedule_at(int32_t index);

/**
 * Idle time of Interleaved1F1B (ns) in closed form, (p-1) T/v + (2pv-p-2) c: what the zero-bubble
 * papers print for it (Qi et al., arXiv 2401.10241, table 5; arXiv 2405.15362, table 8). The
 * evaluated order waits for p c more: (p-1) T/v + 2(pv-1) c while c is small.
 * @param work_ns      T: F, I and W of a rank's whole share of a microbatch
 * @param transfer_ns  c: between neighbouring ranks, one way
 */
int64_t pp_interleaved_1f1b_idle_ns(int64_t ranks, int64_t stages_per_rank, int64_t work_ns,
                                    int64_t transfer_ns);

/**
 * @return PP_OK, PP_E_SCHEDULE (the hint gives the name that works for the five names that
 *         Automodel's documentation lists and PyTorch refuses, else all names)
 */
enum pp_status pp_schedule_find(const char *name, const struct pp_schedule_info **info_p,
                                struct pp_err *err);

/** The same among the names that PyTorch, and so Automodel, knows. */
enum pp_status pp_schedule_find_torch(const char *name, const struct pp_schedule_info **info_p,
                                      struct pp_err *err);

/**
 * Which of PyTorch's schedules an unknown name may have meant, likeliest first: the one that stands
 * for a name of Automodel's documentation, then by how many letters differ, ties in the table's
 * order.
 * @param nearest  [pp_schedule_torch_count()]
 */
void pp_schedule_nearest(const char *name, const struct pp_schedule_info **nearest);

/** Every rule of the schedule: counts in range, stages a rank, microbatches.
 *  @return PP_OK, PP_E_RANGE, PP_E_STAGES, PP_E_MICROBATCH */
enum pp_status pp_schedule_check(const struct pp_schedule_info *info,
                                 const struct pp_gen_config *config, struct pp_err *err);

/**
 * Checks and makes the empty schedule: counts and placement, by which the costs of its stages can
 * be told before its actions are added. @return as pp_schedule_check, PP_E_NOMEM
 */
enum pp_status pp_schedule_begin(const struct pp_schedule_info *info,
                                 const struct pp_gen_config *config, struct pp_sched **sched_p,
                                 struct pp_err *err);

/** Adds the actions and seals. `config` as given to pp_schedule_begin, now with costs.
 *  @return PP_OK, PP_E_RANGE (as pp_costs_check), PP_E_LIMIT (no order fits the memory limit),
 *          PP_E_NOMEM */
enum pp_status pp_schedule_finish(const struct pp_schedule_info *info,
                                  const struct pp_gen_config *config, struct pp_sched *s,
                                  struct pp_err *err);

/** Both in one. */
enum pp_status pp_schedule_generate(const struct pp_schedule_info *info,
                                    const struct pp_gen_config *config, struct pp_sched **sched_p,
                                    struct pp_err *err);

#endif
