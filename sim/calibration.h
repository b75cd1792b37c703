/**
 * @file calibration.h
 * What executions teach about costs, so that the next one can be predicted, also of another
 * schedule or another split of the same model.
 *
 * Learned are, all as medians: how long each module of the model takes for F, I and W (or, of a
 * workload without modules, each stage for F, I, W and B); what an action takes beyond its modules,
 * by type (B = I + W + that once); how long UNSHARD, REDUCE_GRAD and transfers to the host take;
 * a message by its size, timed from when both its sides were ready to its arrival; and what passes
 * between the end of what an action waits for (sim/waits.h) and its start.
 */
#ifndef PP_SIM_CALIBRATION_H
#define PP_SIM_CALIBRATION_H

#include "sim/engine.h"
#include "sim/execution.h"
#include "sim/robust.h"

struct pp_action_fit {
    int64_t median_ns, spread_ns; /* spread: median absolute deviation */
    int32_t count;                /* 0: such actions were not seen */
};

/* What passes between actions: name in the database and in JSON. */
#define PP_LAG_LIST(X)                                                                             \
    X(PP_LAG_COMPUTE, "compute") /* from compute to the next compute of the rank */                \
    X(PP_LAG_POST, "post")       /* from compute to a message that it held up */                   \
    X(PP_LAG_WAKE, "wake")       /* from a message to the compute that it held up */

enum pp_lag_kind {
#define PP_LAG_ENUM(name, text) name,
    PP_LAG_LIST(PP_LAG_ENUM)
#undef PP_LAG_ENUM
        PP_LAG_COUNT
};

/** "compute", ... Never NULL. */
const char *pp_lag_text(enum pp_lag_kind kind);

/** Owned; free with pp_calibration_deinit. */
struct pp_calibration {
    char id[33]; /* from content; empty until stored */
    char *model_key, *device, *transport, *machine;
    bool by_stage;               /* rows[].module is a stage, and B has rows of its own */
    struct pp_profile_row *rows; /* by module and type */
    int32_t row_count;
    struct pp_action_fit actions[PP_ACTION_TYPE_COUNT]; /* of compute what its row or rows do not
                                                           explain; may be negative */
    struct pp_line link;
    struct pp_action_fit lags[PP_LAG_COUNT];
    int32_t sample_count; /* compute actions that were looked at */
    double residual;      /* median of |measured - fitted| / measured over them */
    char (*executions)[33];
    int32_t execution_count;
};
void pp_calibration_deinit(struct pp_calibration *calibration);

/** One execution to learn from. */
struct pp_calibration_source {
    const struct pp_stored_execution *execution;
    const struct pp_trace *traces; /* [trace_count] of its schedule */
    int32_t trace_count;
    const struct pp_profile_row *rows; /* [row_count] of its modules */
    int32_t row_count;
};

/**
 * Learns. All sources must be of one model, device, transport and machine, as their executions say.
 * @return PP_OK, PP_E_VALUE (they are not), PP_E_NOT_FOUND (no trace, or modules without a
 *         profile), PP_E_NOMEM
 * Cost: O(n log n) of all samples.
 */
enum pp_status pp_calibration_fit(const struct pp_calibration_source *sources, int32_t count,
                                  struct pp_calibration *calibration_p, struct pp_err *err);

/** Costs ready for the engine. Owned; free with pp_calibrated_costs_deinit. */
struct pp_calibrated_costs {
    int64_t *f_ns, *i_ns, *w_ns, *b_ns; /* [stage_count], at least 1; with the lag before them */
    struct pp_engine_costs costs;       /* these, and what messages and the rest take */
    struct pp_network network;          /* every rank with a port of its own on one node */
    bool sizes_matter;                  /* else the engine is run without the network */
    int64_t *block;                     /* one block of memory for all arrays */
    int32_t *places;
};
void pp_calibrated_costs_deinit(struct pp_calibrated_costs *costs);

/** What pp_engine_run takes beside `costs`; NULL where sizes do not matter. */
static inline const struct pp_network *
pp_calibrated_network(const struct pp_calibrated_costs *costs) {
    return costs->sizes_matter ? &costs->network : NULL;
}

/**
 * What the stages of any split of the model cost.
 * @param sched          says how stages follow one another; lowered or not
 * @param split          [stage_count]; may be NULL if calibration->by_stage
 * @param message_bytes  [stage_count] as of pp_store_add_program; NULL = zeros
 * @return PP_OK, PP_E_NOT_FOUND (a module or stage that the calibration has not seen, with its
 *         name), PP_E_NOMEM
 */
enum pp_status pp_calibration_costs(const struct pp_calibration *calibration,
                                    const struct pp_sched *sched,
                                    const struct pp_split_stage *split,
                                    const int64_t *message_bytes,
                                    struct pp_calibrated_costs *costs_p, struct pp_err *err);

/* ---- in the database ---- */

/** Stores it and fills in its id; the same twice is stored once.
 *  @return PP_OK, PP_E_STORE, PP_E_NOMEM */
enum pp_status pp_store_add_calibration(struct pp_store *store, struct pp_calibration *calibration,
                                        struct pp_err *err);

/** @param id  a calibration's id or a unique beginning of one
 *  @return PP_OK, PP_E_NOT_FOUND, PP_E_STORE, PP_E_NOMEM */
enum pp_status pp_store_read_calibration(struct pp_store *store, const char *id,
                                         struct pp_calibration *calibration_p, struct pp_err *err);

/** What a calibration is asked for. */
struct pp_calibration_key {
    const char *model_key, *device, *transport, *machine;
    const char *not_alone_from; /* leaves out those learned from this execution alone, which would
                                   predict what they have seen; NULL: takes them, too */
};

/** The latest of its kind. @return PP_OK, PP_E_NOT_FOUND, PP_E_STORE, PP_E_NOMEM */
enum pp_status pp_store_find_calibration(struct pp_store *store,
                                         const struct pp_calibration_key *key,
                                         struct pp_calibration *calibration_p, struct pp_err *err);

#endif
