/**
 * @file program_priv.h
 * Private to the program: what its rooms hand to one another. program.c binds actions to channels
 * and waits and owns the object, program_tenants.c finds who holds what in the arenas and
 * program_slots.c where, adding gates, program_check.c holds it against times and runs it on paper,
 * program_table.c says what it takes.
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

/** What lies in a slot for a while, of the rank in hand. */
struct pp_tenant {
    int64_t made_ns;
    int64_t free_ns;     /* from when on another may be made in its slot */
    int64_t bytes;       /* rounded up */
    int32_t first, last; /* actions; last -1 while not known */
    int32_t slot, size_class;
    bool on_host;
};

/** Of a stage's microbatch: who holds what now; -1. */
struct pp_unit {
    int32_t input, stash, output_grad; /* tenants */
    int32_t offload;                   /* action */
};

/**
 * The tenants of a rank, found by one walk over its list.
 *
 * Times are those of the expected trace. A tenant is made when its first action starts if that is
 * compute, else when its rank hands that over: at the end of the compute before. So tenants are
 * made in the order of the list, and also a runtime that hands nothing over before its gates are
 * open comes to the end. The parts of a pair may run at once: what they make is made when the first
 * of them starts.
 */
struct pp_tenants {
    struct pp_program *program;
    const struct pp_sched *s;
    const struct pp_program_sizes *sizes;
    const struct pp_trace *expected;
    struct pp_unit *units; /* [stage_count * microbatch_count] */
    struct pp_tenant *list;
    int32_t count;
};

static inline int64_t pp_round_to_slot(int64_t bytes) {
    return (bytes + PP_SLOT_ALIGN_BYTES - 1) / PP_SLOT_ALIGN_BYTES * PP_SLOT_ALIGN_BYTES;
}

/** Finds those of `rank`. Offsets of its actions become the numbers of their tenants; adds RELOAD's
 *  wait for its OFFLOAD. */
void pp_tenants_find(struct pp_tenants *p, int32_t rank);

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
