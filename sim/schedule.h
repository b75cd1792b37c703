/**
 * @file schedule.h
 * The schedule: per rank, an ordered list of actions. THE object of this project: generators and
 * CSV files make it, the simulator evaluates it, the executor runs it.
 *
 * Life cycle: pp_sched_create -> pp_sched_add ... -> pp_sched_seal -> read -> pp_sched_destroy.
 * A sealed schedule never changes, so any number of threads may read it; before sealing it belongs
 * to one thread.
 *
 * Actions are flat. An OVERLAP_F_B cell of PyTorch's is two actions, one after the other, that
 * share `cell`; everything else has its own cell. Idle CSV cells are gaps in the cell numbers:
 * planning marks for people, without meaning in time.
 *
 * A compute-only schedule says what each rank computes, in which order; a lowered one (sim/lower.h,
 * or a compute_comms file) also says when it sends, receives, gathers parameters and reduces
 * gradients: all types, no idle cells. SEND and RECV are numbered by the stage on their own rank:
 * 0SEND_F3 meets 1RECV_F3, 1SEND_B3 meets 0RECV_B3.
 *
 * OFFLOAD s m stands where the activations of F s m may leave for the memory of the host, and
 * RELOAD s m where they may come back: once the compute actions before it on its rank have ended. A
 * rank has one lane for such transfers and takes them in list order; compute goes on meanwhile, but
 * I or B of s m waits for its RELOAD. They have no cell.
 *
 * Source of action language and CSV form: PyTorch 2.14.1, torch.distributed.pipelining.schedules.
 */
#ifndef PP_SIM_SCHEDULE_H
#define PP_SIM_SCHEDULE_H

#include "costmodel/base.h"

enum {
    PP_SCHED_MAX_RANKS = 4096,
    PP_SCHED_MAX_STAGES = 65536,
    PP_SCHED_MAX_MICROBATCHES = 1 << 20,
    PP_SCHED_MAX_ACTIONS = 1 << 24,         /* of a compute-only schedule */
    PP_SCHED_MAX_LOWERED_ACTIONS = 1 << 26, /* a compute action may bring a RECV, a SEND and an
                                               UNSHARD and RESHARD */
};

/* type, text in a cell. F, I, W, B are compute; OFFLOAD and RELOAD stand among them where a
 * generator plans them; the rest appears only in lowered schedules. */
#define PP_ACTION_LIST(X)                                                                          \
    X(PP_F, "F") /* forward */                                                                     \
    X(PP_I, "I") /* backward for the input */                                                      \
    X(PP_W, "W") /* backward for the weights */                                                    \
    X(PP_B, "B") /* full backward, I then W */                                                     \
    X(PP_SEND_F, "SEND_F")                                                                         \
    X(PP_RECV_F, "RECV_F")                                                                         \
    X(PP_SEND_B, "SEND_B")                                                                         \
    X(PP_RECV_B, "RECV_B")                                                                         \
    X(PP_UNSHARD, "UNSHARD")                                                                       \
    X(PP_RESHARD, "RESHARD")                                                                       \
    X(PP_REDUCE_GRAD, "REDUCE_GRAD")                                                               \
    X(PP_OFFLOAD, "OFFLOAD") /* activations to host memory; ours, never in a compute-only CSV */   \
    X(PP_RELOAD, "RELOAD")   /* and back, before the backward */

enum pp_action_type {
#define PP_ACTION_ENUM(name, text) name,
    PP_ACTION_LIST(PP_ACTION_ENUM)
#undef PP_ACTION_ENUM
        PP_ACTION_TYPE_COUNT
};

enum { PP_TRANSFER_TYPE_COUNT = PP_RECV_B - PP_SEND_F + 1 };

/** One action. 16 bytes: a rank's list is read front to back in the evaluation's hot loop. */
struct pp_action {
    int32_t stage;
    int32_t microbatch; /* -1 where the type has none */
    int32_t cell;       /* column in the rank's CSV row; equal for the two parts of a pair */
    uint8_t type;       /* enum pp_action_type */
    uint8_t pair;       /* 0 alone, 1 first part, 2 second part of OVERLAP_F_B */
    uint16_t unused;
};

/** Read-only once sealed. Arrays are owned by the schedule. */
struct pp_sched {
    int32_t rank_count, stage_count, microbatch_count;
    int32_t part_count;  /* stages of one pipeline: stage_count, or half of it where a second copy
                            of the model runs the other way (DualPipe, Chimera) */
    int32_t slice_count; /* units of a microbatch's sequence; 1 except for Seq1F1B, where
                            microbatch numbers count units: microbatch * slice_count + slice */
    int32_t action_count;
    int32_t *stage_rank;       /* [stage_count] rank that holds a stage */
    int32_t *rank_stages;      /* [rank_count] how many stages a rank holds, at least 1 */
    int32_t *rank_begin;       /* [rank_count + 1] first action of a rank (after sealing) */
    int32_t *cell_count;       /* [rank_count] cells of the CSV row, idle ones included */
    struct pp_action *actions; /* [action_count] grouped by rank, in order (after sealing) */
    int32_t *producer;         /* [action_count] the action whose output it needs first: F of the
                                  stage before, I or B of the stage after; -1 if none. Lowered: of
                                  F, I, B the RECV, or that action if it is on the same rank; of a
                                  SEND its compute action; of a RECV the SEND of the other rank */
    int32_t *reload;           /* [action_count] of an I or B the RELOAD that it waits for, else -1;
                                  NULL if nothing is offloaded */
    int32_t action_capacity;   /* room in `actions` while building */
    bool lowered;              /* with communication, see above */
    bool sealed;
};

/**
 * @param stage_rank  [stage_count], copied; every rank must hold at least one stage
 * @return PP_OK, PP_E_RANGE (counts outside the limits above, also of the fewest actions that the
 *         counts allow), PP_E_PLACEMENT, PP_E_NOMEM
 */
enum pp_status pp_sched_create(int32_t rank_count, int32_t stage_count, int32_t microbatch_count,
                               const int32_t *stage_rank, struct pp_sched **sched_p,
                               struct pp_err *err);
void pp_sched_destroy(struct pp_sched *s);

/**
 * Makes a schedule of two pipelines: stages 0..S/2-1 are the model from one end, S/2..S-1 its
 * second copy from the other, each with microbatches 0..microbatch_count-1 of its own. Before any
 * action.
 * @return PP_OK, PP_E_RANGE (an odd number of stages)
 */
enum pp_status pp_sched_set_bidirectional(struct pp_sched *s, struct pp_err *err);

/** Makes `microbatch_count` count units of a microbatch's sequence: a stage runs the forwards of a
 *  microbatch's units in order, its backwards in reverse. Before any action.
 *  @return PP_OK, PP_E_RANGE (microbatch_count is not a multiple) */
enum pp_status pp_sched_set_slices(struct pp_sched *s, int32_t slice_count, struct pp_err *err);

/** Makes a lowered schedule: pp_sched_add then takes every type, and no cell is idle. Before any
 *  action. */
void pp_sched_set_lowered(struct pp_sched *s);

/** Appends an action in a new cell of `rank`'s row: a compute action, or any if lowered; or,
 * without a cell unless lowered, OFFLOAD or RELOAD.
 *  @param microbatch  -1 for UNSHARD and RESHARD, and for a REDUCE_GRAD of all microbatches
 *  @return PP_OK, PP_E_RANGE, PP_E_PLACEMENT (the stage is on another rank), PP_E_NOMEM */
enum pp_status pp_sched_add(struct pp_sched *s, int32_t rank, enum pp_action_type type,
                            int32_t stage, int32_t microbatch, struct pp_err *err);

/** Appends an OVERLAP_F_B cell: first part, then second; one is F, the other I, W or B.
 *  @return as pp_sched_add */
enum pp_status pp_sched_add_pair(struct pp_sched *s, int32_t rank, enum pp_action_type first,
                                 int32_t first_stage, int32_t first_microbatch,
                                 enum pp_action_type second, int32_t second_stage,
                                 int32_t second_microbatch, struct pp_err *err);

/** Appends `count` idle cells. @return PP_OK, PP_E_RANGE (PP_SCHED_MAX_ACTIONS cells a rank, or
 *  lowered) */
enum pp_status pp_sched_add_idle(struct pp_sched *s, int32_t rank, int32_t count,
                                 struct pp_err *err);

/**
 * `count` flushes of a sealed schedule, one after the other: every rank's list `count` times, with
 * microbatches numbered on (flush k has k * microbatch_count ...).
 * @param repeated_p  a new schedule, sealed
 * @return PP_OK, PP_E_ARG (`s` is lowered), PP_E_RANGE (count < 1, or too many microbatches,
 *         actions or cells of a row), PP_E_NOMEM
 */
enum pp_status pp_sched_repeat(const struct pp_sched *s, int32_t count,
                               struct pp_sched **repeated_p, struct pp_err *err);

/**
 * Checks and freezes. Every (stage, microbatch) must have exactly one F and either one B or one I
 * and one W, on the stage's rank, F before I/B, I before W; OFFLOAD and RELOAD at most once, both
 * or neither, in this order between F and I/B. Whether ranks wait for one another in a cycle is
 * found by pp_eval_create. Lowered, further: between neighbouring stages of different ranks one
 * SEND and one RECV a microbatch and direction and no others, a SEND after its compute action, a
 * RECV before the one that needs it; UNSHARD and RESHARD of a stage alternate, and if there are
 * any, its compute actions stand between the two; REDUCE_GRAD, if there is any, once a stage and
 * after its last B or W, or, with microbatch numbers, each after the B or W of its number, which
 * came after the stage's REDUCE_GRAD before, and the last after all of them. The order of a
 * channel's messages is not looked at (sim/schedule_warn.h), nor whether ranks wait for one
 * another.
 * @return PP_OK, PP_E_CSV (with rank, cell, action and what is missing, double or out of order; the
 *         place is row and cell of the CSV, 1-based), PP_E_NOMEM
 * Cost: O(actions + stages * microbatches).
 */
enum pp_status pp_sched_seal(struct pp_sched *s, struct pp_err *err);

/** Stages that `rank` holds. */
static inline int32_t pp_sched_stages_of(const struct pp_sched *s, int32_t rank) {
    return s->rank_stages[rank];
}

/** Whether the type is about one microbatch: all but UNSHARD, RESHARD and REDUCE_GRAD. This last
 * may have the number of the last microbatch whose gradients it takes in (0REDUCE_GRAD3); without
 * one it takes in all. */
static inline bool pp_action_has_microbatch(enum pp_action_type type) {
    return type < PP_UNSHARD || type > PP_REDUCE_GRAD;
}

/** "F", "SEND_B", ... Never NULL. */
const char *pp_action_type_text(enum pp_action_type type);

enum { PP_ACTION_TEXT_BYTES = 48 };

/** "2F0", "1UNSHARD": PyTorch's text of one action. @return out */
const char *pp_action_text(const struct pp_action *a, char out[PP_ACTION_TEXT_BYTES]);

/** The same for writers of many: no zero at the end. @return bytes written to `out` */
size_t pp_action_put(const struct pp_action *a, char out[PP_ACTION_TEXT_BYTES]);

/** F, I, W or B? */
static inline bool pp_action_is_compute(const struct pp_action *a) {
    return a->type <= PP_B;
}

/** OFFLOAD or RELOAD? */
static inline bool pp_action_is_offload(const struct pp_action *a) {
    return a->type >= PP_OFFLOAD;
}

/** Actions that one cell holds: 2 at the first part of a pair, else 1. */
static inline int32_t pp_sched_cell_size(const struct pp_sched *s, int32_t action) {
    return s->actions[action].pair == 1 ? 2 : 1;
}

/** Stage before or after `stage` in its pipeline; -1 if it is the first or last. */
static inline int32_t pp_sched_stage_before(const struct pp_sched *s, int32_t stage) {
    return stage == 0 || stage == s->part_count ? -1 : stage - 1;
}
static inline int32_t pp_sched_stage_after(const struct pp_sched *s, int32_t stage) {
    return stage + 1 == s->stage_count || stage + 1 == s->part_count ? -1 : stage + 1;
}

/** Into how many stages the model is split on `rank`: its stages, copies counted once. A stage
 * holds 1 / this of the rank's whole share, and a unit 1 / slice_count of that. */
int32_t pp_sched_shares_of(const struct pp_sched *s, int32_t rank);

/** Rank that makes the input of `a` (F: the stage before; I, B: the stage after); -1 if none. */
int32_t pp_sched_producer_rank(const struct pp_sched *s, const struct pp_action *a);

#endif
