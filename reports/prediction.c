#include "reports/prediction.h"

#include "reports/stored_plan.h"

#include <string.h>

const char *pp_costs_from_text(enum pp_costs_from from) {
    static const char *const texts[PP_COSTS_FROM_COUNT] = {
#define FROM_TEXT(name, text, words) [name] = text,
        PP_COSTS_FROM_LIST(FROM_TEXT)
#undef FROM_TEXT
    };
    PP_ASSERT((unsigned)from < PP_COSTS_FROM_COUNT);
    return texts[from];
}

const char *pp_costs_from_words(enum pp_costs_from from) {
    static const char *const phrases[PP_COSTS_FROM_COUNT] = {
#define FROM_WORDS(name, text, words) [name] = words,
        PP_COSTS_FROM_LIST(FROM_WORDS)
#undef FROM_WORDS
    };
    PP_ASSERT((unsigned)from < PP_COSTS_FROM_COUNT);
    return phrases[from];
}

void pp_prediction_deinit(struct pp_prediction *p) {
    pp_trace_deinit(&p->trace);
    *p = (struct pp_prediction){0};
}

static enum pp_status play(struct pp_prediction *p, const struct pp_sched *sched,
                           const struct pp_engine_costs *costs, const struct pp_network *net,
                           struct pp_err *err) {
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    struct pp_engine *engine = NULL;
    PP_TRY(pp_trace_init(&p->trace, sched, err));
    PP_TRY(pp_engine_create(sched, &runtime, &engine, NULL, err));
    enum pp_status status = pp_engine_run(engine, costs, net, &p->trace, err);
    pp_engine_destroy(engine);
    return status;
}

/* ---- calibrations ---- */

static enum pp_status check_key(const struct pp_calibration *c, const struct pp_stored_execution *e,
                                struct pp_err *err) {
    if (strcmp(c->model_key, e->model_key) == 0) {
        return PP_OK;
    }
    pp_fail(err, PP_E_VALUE, "calibration %.12s is of another model than execution %.12s", c->id,
            e->id);
    pp_hint(err, "calibrate from executions of this model, or leave --calibration out");
    return PP_E_VALUE;
}

/* Takes the calibration. */
static enum pp_status play_calibration(struct pp_prediction *p, const struct pp_stored_execution *e,
                                       struct pp_calibration *c, enum pp_costs_from from,
                                       struct pp_err *err) {
    struct pp_calibrated_costs costs = {0};
    enum pp_status status = check_key(c, e, err);
    if (status == PP_OK) {
        status = pp_calibration_costs(c, e->sched, e->split, e->message_bytes, &costs, err);
    }
    if (status == PP_OK) {
        status = play(p, e->sched, &costs.costs, pp_calibrated_network(&costs), err);
    }
    p->from = from;
    p->learned_count = c->execution_count;
    for (int32_t i = 0; i < c->execution_count; i++) {
        p->saw_it = p->saw_it || strcmp(c->executions[i], e->id) == 0;
    }
    pp_copy(p->calibration_id, sizeof p->calibration_id, c->id);
    pp_calibrated_costs_deinit(&costs);
    pp_calibration_deinit(c);
    return status;
}

/* ---- the rest ---- */

static enum pp_status no_costs(const struct pp_stored_execution *e, struct pp_err *err) {
    pp_fail(err, PP_E_NOT_FOUND, "nothing is known that predicts execution %.12s", e->id);
    pp_hint(err, "run another plan of the model, then `pipeplan calibrate --execution ID`");
    return PP_E_NOT_FOUND;
}

static enum pp_status play_plan(struct pp_prediction *p, struct pp_store *store,
                                const struct pp_stored_execution *e, struct pp_err *err) {
    struct pp_stored_plan stored = {0};
    if (e->plan_id[0] == '\0') {
        return no_costs(e, err);
    }
    PP_TRY(pp_stored_plan_load(store, e->plan_id, &stored, err));
    enum pp_status status = PP_OK;
    if (stored.plan.stage_costs == NULL || stored.plan.stage_count != e->sched->stage_count) {
        status = no_costs(e, err);
    } else {
        struct pp_engine_costs costs = {.compute = pp_replay_costs(&stored.replay, &stored.plan)};
        p->from = PP_COSTS_PLAN;
        status = play(p, e->sched, &costs, NULL, err);
    }
    pp_stored_plan_deinit(&stored);
    return status;
}

static enum pp_status predict(struct pp_prediction *p, struct pp_store *store,
                              const struct pp_stored_execution *e, const char *given,
                              struct pp_err *err) {
    struct pp_calibration c = {0};
    const char *named = given != NULL                  ? given
                        : e->calibration_id[0] != '\0' ? e->calibration_id
                                                       : NULL;
    if (named != NULL) {
        PP_TRY(pp_store_read_calibration(store, named, &c, err));
        return play_calibration(p, e, &c, given != NULL ? PP_COSTS_GIVEN : PP_COSTS_STORED, err);
    }
    if (e->cost_block != NULL) {
        struct pp_engine_costs costs = {.compute = e->costs};
        p->from = PP_COSTS_EXECUTION;
        return play(p, e->sched, &costs, NULL, err);
    }
    const struct pp_calibration_key key = {.model_key = e->model_key,
                                           .device = e->device,
                                           .transport = e->transport,
                                           .machine = e->machine,
                                           .not_alone_from = e->id};
    struct pp_err none = {0};
    enum pp_status status = pp_store_find_calibration(store, &key, &c, &none);
    if (status == PP_OK) {
        return play_calibration(p, e, &c, PP_COSTS_LATEST, err);
    }
    if (status == PP_E_NOT_FOUND) {
        return play_plan(p, store, e, err);
    }
    if (err != NULL) {
        *err = none;
    }
    return status;
}

enum pp_status pp_predict_execution(struct pp_store *store,
                                    const struct pp_stored_execution *execution,
                                    const char *calibration, struct pp_prediction *prediction_p,
                                    struct pp_err *err) {
    struct pp_prediction p = {0};
    enum pp_status status = predict(&p, store, execution, calibration, err);
    if (status != PP_OK) {
        pp_prediction_deinit(&p);
        return status;
    }
    *prediction_p = p;
    return PP_OK;
}
