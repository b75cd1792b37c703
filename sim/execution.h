/**
 * @file execution.h
 * Executed runs in SQLite: what ran where, each step's time and loss, and the traces of the steps
 * that the caller chose. (The store's `runs` are planning runs.)
 *
 * Life cycle of a writer: pp_store_open, pp_store_add_program, pp_execution_begin,
 * pp_execution_add_step after each step, pp_execution_add_profile at the end, pp_execution_end,
 * pp_execution_close. Every call is one transaction, so after a crash all steps before it are there
 * and the execution stays in the state `running`. Statements are prepared once; a step's samples
 * cost about a us each. One thread a store, and the store outlives the execution.
 *
 * A database written before executions were kept (schema version 1) gets their tables when it is
 * opened for writing; opened for reading only it simply holds no execution.
 */
#ifndef PP_SIM_EXECUTION_H
#define PP_SIM_EXECUTION_H

#include "sim/costs.h"
#include "sim/profile.h"
#include "sim/store.h"

/** What of the model a stage holds. */
struct pp_split_stage {
    bool embedding, head; /* head: final norm, head and loss */
    int32_t layer_begin, layer_end;
};

/* state, text in the database */
#define PP_EXECUTION_STATE_LIST(X)                                                                 \
    X(PP_EXECUTION_RUNNING, "running") /* or its process died */                                   \
    X(PP_EXECUTION_DONE, "done")                                                                   \
    X(PP_EXECUTION_FAILED, "failed")                                                               \
    X(PP_EXECUTION_INTERRUPTED, "interrupted")

enum pp_execution_state {
#define PP_EXECUTION_STATE_ENUM(name, text) name,
    PP_EXECUTION_STATE_LIST(PP_EXECUTION_STATE_ENUM)
#undef PP_EXECUTION_STATE_ENUM
        PP_EXECUTION_STATE_COUNT
};

/** "running", ... Never NULL. */
const char *pp_execution_state_text(enum pp_execution_state state);

/* ---- writing ---- */

/**
 * Stores what ranks execute, unless it is there.
 * @param hash           names it (pp_program.hash): 64 hex digits
 * @param lowered        sealed and lowered; comes back from the database action by action the same
 * @param message_bytes  [stage_count] of what a stage receives from the one before, and as much
 * goes back; NULL = zeros
 * @return PP_OK, PP_E_STORE, PP_E_NOMEM
 */
enum pp_status pp_store_add_program(struct pp_store *store, const char *hash,
                                    const struct pp_sched *lowered, const int64_t *message_bytes,
                                    struct pp_err *err);

/** What is executed, and where. Texts are any UTF-8; those that may be NULL say so. */
struct pp_execution_inputs {
    const char *program_hash; /* of a stored program */
    const char *plan_id;      /* of a stored plan, whole; NULL: of none */
    const char *workload;     /* "spin", "transformer" */
    const char *model_key;    /* what was run, for calibrations: equal keys, equal modules (of spin:
                                 equal stages). A hash of the shape and the microbatch's size */
    const struct pp_split_stage *split; /* [stage_count]; NULL: the workload has no modules */
    const char *device, *transport;     /* "host", "local" */
    const char *machine;                /* host name or kind: where times compare */
    const char *options;                /* JSON object of all else; NULL: {} */
    int64_t predicted_makespan_ns;      /* of a step; 0: not known */
    const char *calibration_id;         /* what that was predicted with; NULL: none */
    const struct pp_costs *costs;       /* what else it was predicted with, [stage_count], such as
                                           what the stages of spin were told to take; NULL: none */
    int64_t started_at;                 /* unix seconds */
};

struct pp_execution; /* opaque: one that is being written */

/** @return PP_OK, PP_E_STORE (as pp_store_open; also a program, plan or calibration that is not
 *          stored), PP_E_NOMEM */
enum pp_status pp_execution_begin(struct pp_store *store, const struct pp_execution_inputs *inputs,
                                  struct pp_execution **execution_p, struct pp_err *err);

/** Its id, 32 hex digits: from the inputs, and a count where one with the same began in the same
 *  second. */
const char *pp_execution_id(const struct pp_execution *execution);

struct pp_execution_step {
    int64_t step; /* from 0; each once an execution */
    bool has_loss;
    double loss; /* NaN is kept as no loss */
    int64_t wall_ns;
    const struct pp_trace *trace; /* of the program's schedule, all ranks; NULL: not known */
    bool keep_trace;              /* store its samples, too, not just its makespan */
};

/** After a step, never inside one. @return PP_OK; PP_E_STORE: nothing of the step was stored, but
 *  the execution can go on; PP_E_NOMEM */
enum pp_status pp_execution_add_step(struct pp_execution *execution,
                                     const struct pp_execution_step *step, struct pp_err *err);

/** Adds rows; a row of the same module and type replaces the one before. @return as add_step */
enum pp_status pp_execution_add_profile(struct pp_execution *execution,
                                        const struct pp_profile_row *rows, int32_t count,
                                        struct pp_err *err);

/** @param error  JSON, of a state other than done; NULL: none. @return as add_step */
enum pp_status pp_execution_end(struct pp_execution *execution, enum pp_execution_state state,
                                const char *error, struct pp_err *err);

/** Frees; stores nothing. NULL is fine. */
void pp_execution_close(struct pp_execution *execution);

/* ---- reading ---- */

struct pp_stored_step {
    int64_t step;
    bool has_loss, has_trace;
    double loss;
    int64_t wall_ns;
    int64_t makespan_ns; /* 0: not known */
};

/** An execution as stored. All is owned; free with pp_stored_execution_deinit. */
struct pp_stored_execution {
    int64_t number;                               /* its key in the tables */
    char id[33], plan_id[33], calibration_id[33]; /* empty where there is none */
    char program_hash[65];
    char *workload, *model_key, *device, *transport, *machine, *options;
    char *error; /* JSON; NULL: none */
    enum pp_execution_state state;
    int64_t started_at, predicted_makespan_ns;
    struct pp_sched *sched;       /* the program: lowered, sealed */
    int64_t *message_bytes;       /* [stage_count] */
    struct pp_split_stage *split; /* [stage_count]; NULL: none */
    int64_t *cost_block;          /* owns the arrays of `costs`; NULL: none were stored */
    struct pp_costs costs;        /* [stage_count] */
    struct pp_stored_step *steps; /* [step_count] in order */
    int32_t step_count;
};
void pp_stored_execution_deinit(struct pp_stored_execution *execution);

/** @param id  an execution's id or a unique beginning of one; NULL: the one begun last
 *  @return PP_OK, PP_E_NOT_FOUND, PP_E_STORE (also a row that cannot be read back), PP_E_NOMEM */
enum pp_status pp_store_read_execution(struct pp_store *store, const char *id,
                                       struct pp_stored_execution *execution_p, struct pp_err *err);

/** The trace of a stored step, of execution->sched, with queue_ns unless none was stored. Free with
 *  pp_trace_deinit. @return PP_OK, PP_E_NOT_FOUND (no trace of this step), PP_E_STORE, PP_E_NOMEM
 */
enum pp_status pp_store_read_trace(struct pp_store *store,
                                   const struct pp_stored_execution *execution, int64_t step,
                                   struct pp_trace *trace_p, struct pp_err *err);

/** @param rows_p  by module and type; free with free(). @return PP_OK, PP_E_STORE, PP_E_NOMEM */
enum pp_status pp_store_read_profile(struct pp_store *store,
                                     const struct pp_stored_execution *execution,
                                     struct pp_profile_row **rows_p, int32_t *count_p,
                                     struct pp_err *err);

/** What a list needs of each execution. */
struct pp_execution_summary {
    char id[33], plan_id[33], program_hash[65];
    char workload[32], device[32], transport[32];
    enum pp_execution_state state;
    int64_t started_at;
    int64_t step_count, trace_count;
};

/** All, in the order in which they began. @param list_p  free with free(); NULL if count is 0
 *  @return PP_OK, PP_E_STORE, PP_E_NOMEM */
enum pp_status pp_store_list_executions(struct pp_store *store,
                                        struct pp_execution_summary **list_p, int32_t *count_p,
                                        struct pp_err *err);

/** How many plans and how many executions have ids that begin so; 0 of what is no id.
 *  @return PP_OK, PP_E_STORE */
enum pp_status pp_store_count_ids(struct pp_store *store, const char *id, int32_t *plan_count_p,
                                  int32_t *execution_count_p, struct pp_err *err);

#endif
