/**
 * @file generate.h
 * Schedules by name. One table row a schedule: adding one means one generator and one row.
 * Names match as PyTorch matches them: case-insensitive, nothing trimmed.
 */
#ifndef PP_SIM_GENERATE_H
#define PP_SIM_GENERATE_H

#include "costmodel/split.h"
#include "sim/schedule.h"

struct pp_gen_config {
    int32_t rank_count;
    int32_t stages_per_rank;
    int32_t microbatch_count;
};

struct pp_schedule_info {
    const char *name; /* "Interleaved1F1B" */
    enum pp_schedule_kind kind;
    enum pp_placement placement;           /* what the schedule needs */
    enum pp_placement automodel_placement; /* what Automodel gives it; differs for DualPipeV */
    int32_t min_stages_per_rank, max_stages_per_rank; /* max 0 = any */
    int32_t default_stages_per_rank;
    bool splits_backward;        /* uses I and W */
    const char *microbatch_rule; /* one line, for people */
    const char *bubble;          /* closed form at zero p2p, for people; "" if none */
    const char *memory;          /* peak activations of the worst rank; "" if none */
    const char *source;
    /** Microbatch rule. @return PP_OK, PP_E_MICROBATCH */
    enum pp_status (*check)(const struct pp_gen_config *config, struct pp_err *err);
    /** Adds every rank's actions; config has been checked. */
    enum pp_status (*generate)(const struct pp_gen_config *config, struct pp_sched *s,
                               struct pp_err *err);
};

int32_t pp_schedule_count(void);
const struct pp_schedule_info *pp_schedule_at(int32_t index);

/**
 * @return PP_OK, PP_E_SCHEDULE (the hint gives the name that works for the five names that
 *         Automodel's documentation lists and PyTorch refuses, else all names)
 */
enum pp_status pp_schedule_find(const char *name, const struct pp_schedule_info **info_p,
                                struct pp_err *err);

/**
 * Which schedules an unknown name may have meant, likeliest first: the one that stands for a name
 * of Automodel's documentation, then by how many letters differ, ties in the table's order.
 * @param nearest  [pp_schedule_count()]
 */
void pp_schedule_nearest(const char *name, const struct pp_schedule_info **nearest);

/** Every rule of the schedule: counts in range, stages a rank, microbatches.
 *  @return PP_OK, PP_E_RANGE, PP_E_STAGES, PP_E_MICROBATCH */
enum pp_status pp_schedule_check(const struct pp_schedule_info *info,
                                 const struct pp_gen_config *config, struct pp_err *err);

/** Checks, generates and seals. @return as pp_schedule_check, PP_E_NOMEM */
enum pp_status pp_schedule_generate(const struct pp_schedule_info *info,
                                    const struct pp_gen_config *config, struct pp_sched **sched_p,
                                    struct pp_err *err);

#endif
