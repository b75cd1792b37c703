/**
 * @file program_priv.h
 * Private to the program: what its rooms hand to one another. program.c binds actions to channels
 * and waits and owns the object, program_slots.c plans the arenas and adds gates, program_check.c
 * holds it against times and runs it on paper, program_table.c says what it takes.
 */
#ifndef PP_EXEC_PROGRAM_PRIV_H
#define PP_EXEC_PROGRAM_PRIV_H

#include "exec/program.h"

enum { PP_SLOT_ALIGN_BYTES = 64 };

/** What the program is made from. */
struct pp_program_source {
    const struct pp_program_sizes *sizes;
    const struct pp_trace *expected;
};

/** Adds a wait that is not there yet. At most:
 *
 *   F        RECV, UNSHARD; first of its pair; gates of stash and output         5
 *   I, B     RECV, RELOAD, UNSHARD; first of its pair; gate of input gradient    5
 *   RECV     compute before (both of a pair); gate                               3
 *   OFFLOAD  compute before (2); two gates                                       4
 *   RELOAD   compute before (2); its OFFLOAD; two gates                          5
 *   UNSHARD  compute before (2); RESHARD                                         3
 */
static inline void pp_bound_wait(struct pp_bound *b, int32_t action) {
    for (int32_t i = 0; i < b->wait_count; i++) {
        if (b->waits[i] == action) {
            return;
        }
    }
    PP_ASSERT(b->wait_count < PP_PROGRAM_MAX_WAITS);
    b->waits[b->wait_count++] = action;
}

/** Input of `stage`, and its gradient; 0 if it has none. */
static inline int64_t pp_program_input_bytes(const struct pp_sched *s,
                                             const struct pp_program_sizes *sizes, int32_t stage) {
    return stage < 0 || pp_sched_stage_before(s, stage) < 0 ? 0 : sizes->input_bytes[stage];
}

/** Sets all offsets, arena_bytes and host_bytes; adds RELOAD's wait for its OFFLOAD, and gates.
 *  Compute must be in order in `expected`. @return PP_OK, PP_E_RANGE, PP_E_NOMEM */
enum pp_status pp_program_plan_slots(struct pp_program *program,
                                     const struct pp_program_source *source, struct pp_err *err);

/** Do the expected times keep to the waits so far? @return PP_OK, PP_E_RANGE, PP_E_DEADLOCK */
enum pp_status pp_program_check_expected(const struct pp_program *program,
                                         const struct pp_trace *expected, struct pp_err *err);

/** Runs it without times. @return PP_OK, PP_E_DEADLOCK, PP_E_NOMEM */
enum pp_status pp_program_run_on_paper(const struct pp_program *program, struct pp_err *err);

#endif
