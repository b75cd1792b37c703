/**
 * @file schedule_add.h
 * Private to what builds schedules by the million: room for all actions at once, and the case of
 * pp_sched_add in which nothing is wrong, inline.
 */
#ifndef PP_SIM_SCHEDULE_ADD_H
#define PP_SIM_SCHEDULE_ADD_H

#include "sim/schedule.h"

/** Makes room for `action_count` actions in all, > 0; sealing gives back what was not used. Before
 * any action.
 *  @return PP_OK, PP_E_NOMEM */
enum pp_status pp_sched_expect(struct pp_sched *s, int32_t action_count, struct pp_err *err);

/** Appends a compute action as pp_sched_add does, if there is room and nothing is wrong with it.
 *  @return false if not, with nothing done */
static inline bool pp_sched_try_add(struct pp_sched *s, int32_t rank, enum pp_action_type type,
                                    int32_t stage, int32_t microbatch) {
    if (type > PP_B || (uint32_t)stage >= (uint32_t)s->stage_count ||
        (uint32_t)microbatch >= (uint32_t)s->microbatch_count || s->stage_rank[stage] != rank ||
        s->action_count >= s->action_capacity || s->cell_count[rank] >= PP_SCHED_MAX_ACTIONS) {
        return false;
    }
    s->actions[s->action_count++] = (struct pp_action){.stage = stage,
                                                       .microbatch = microbatch,
                                                       .cell = s->cell_count[rank]++,
                                                       .type = (uint8_t)type};
    return true;
}

#endif
