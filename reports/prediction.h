/**
 * @file prediction.h
 * What a stored execution should have done, by the best costs that are known without looking at it.
 */
#ifndef PP_REPORTS_PREDICTION_H
#define PP_REPORTS_PREDICTION_H

#include "sim/calibration.h"

/* Where costs come from, in the order in which they are looked for; name in JSON, words. */
#define PP_COSTS_FROM_LIST(X)                                                                      \
    X(PP_COSTS_GIVEN, "given", "the calibration that was asked for")                               \
    X(PP_COSTS_STORED, "stored", "the calibration it was predicted with when it ran")              \
    X(PP_COSTS_EXECUTION, "execution", "the costs it was predicted with when it ran")              \
    X(PP_COSTS_LATEST, "latest", "the latest calibration of its kind")                             \
    X(PP_COSTS_PLAN, "plan", "the costs of its plan, which are of the plan's hardware")

enum pp_costs_from {
#define PP_COSTS_FROM_ENUM(name, text, words) name,
    PP_COSTS_FROM_LIST(PP_COSTS_FROM_ENUM)
#undef PP_COSTS_FROM_ENUM
        PP_COSTS_FROM_COUNT
};

/** "given", ...; "the calibration that was asked for", ... Never NULL. */
const char *pp_costs_from_text(enum pp_costs_from from);
const char *pp_costs_from_words(enum pp_costs_from from);

/** Owned; free with pp_prediction_deinit. */
struct pp_prediction {
    struct pp_trace trace; /* of execution->sched */
    enum pp_costs_from from;
    char calibration_id[33]; /* empty: none */
    int32_t learned_count;   /* executions that it was learned from */
    bool saw_it;             /* this one among them: no prediction, then, but a fit */
};

/**
 * Plays the execution's own program.
 * @param execution    must outlive the prediction
 * @param calibration  id, or a unique beginning of one; NULL: looked for
 * @return PP_OK, PP_E_NOT_FOUND (no costs of any kind; no such calibration; one that has not seen
 *         a module), PP_E_VALUE (a calibration of another model), PP_E_STORE, PP_E_RANGE,
 * PP_E_NOMEM
 */
enum pp_status pp_predict_execution(struct pp_store *store,
                                    const struct pp_stored_execution *execution,
                                    const char *calibration, struct pp_prediction *prediction_p,
                                    struct pp_err *err);
void pp_prediction_deinit(struct pp_prediction *prediction);

#endif
