#include "sim/plan.h"

#include "sim/plan_candidates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum pp_status pp_plan_sink_add(struct pp_plan_sink *sink, const struct pp_plan *plan,
                                struct pp_err *err) {
    if (sink->plan_count == PP_PLAN_MAX_ROWS) {
        pp_fail(err, PP_E_RANGE, "more than %d legal plans", PP_PLAN_MAX_ROWS);
        pp_hint(err, "a smaller global batch, more --gpus, or no --search-pp");
        return PP_E_RANGE;
    }
    if (sink->plan_count == sink->capacity) {
        int32_t capacity = sink->capacity == 0 ? 16 : 2 * sink->capacity;
        struct pp_plan *plans = realloc(sink->plans, (size_t)capacity * sizeof *plans);
        if (plans == NULL) {
            return pp_fail(err, PP_E_NOMEM, "out of memory for %d plans", capacity);
        }
        sink->plans = plans;
        sink->capacity = capacity;
    }
    sink->plans[sink->plan_count++] = *plan;
    return PP_OK;
}

static void name_plan(const char *run_id, struct pp_plan *plan) {
    const struct pp_plan_config *c = &plan->config;
    char text[256];
    int n = snprintf(text, sizeof text, "%s|%s|%d|%d|%d|%d|%d|%d%d", run_id,
                     c->schedule == NULL ? "-" : c->schedule->name, c->pp_size,
                     c->has_layers_per_stage ? c->layers_per_stage : 0, (int)c->round,
                     c->microbatch_size, c->local_batch_size, c->uses_csv, c->uses_fqns);
    char hex[65];
    pp_sha256_hex(text, (size_t)n, hex);
    memcpy(plan->id, hex, sizeof plan->id - 1);
    plan->id[sizeof plan->id - 1] = '\0';
}

/* Makes the schedule of a single plan and evaluates it: for the recipe as it is. */
static enum pp_status evaluate_alone(const struct pp_plan_world *world, struct pp_plan *plan,
                                     struct pp_err *err) {
    const struct pp_plan_request *req = world->req;
    const struct pp_sched *sched = NULL;
    struct pp_sched *own = NULL;
    struct pp_cost_table *table = NULL;
    struct pp_plan_bench bench = {0};
    PP_TRY(pp_replay_schedule(plan, req->csv, &sched, &own, err));
    enum pp_status status = pp_plan_bench_init(&bench, sched, err);
    if (status == PP_OK && req->model->hidden > 0) {
        struct pp_train train = pp_plan_train(world, plan->config.microbatch_size);
        status = pp_cost_table_create(req->model, req->hw, &train, &table, err);
    }
    if (status == PP_OK) {
        status = pp_plan_evaluate(world, table, &bench, plan, err);
    }
    pp_plan_bench_deinit(&bench);
    pp_cost_table_destroy(table);
    pp_sched_destroy(own);
    return status;
}

static enum pp_status pass_on(const struct pp_err *own, struct pp_err *err) {
    if (err != NULL) {
        *err = *own;
    }
    return own->status;
}

enum pp_status pp_plan_build_recipe(const struct pp_plan_world *world, struct pp_plan *plan,
                                    struct pp_err *error_p, struct pp_err *err) {
    enum pp_status status = pp_plan_config_of_recipe(world->req->recipe, &plan->config, error_p);
    if (status == PP_OK) {
        status = pp_plan_build_split(world, plan, error_p);
    }
    if (status == PP_OK) {
        status = pp_plan_build_batch(world, plan, error_p);
    }
    /* a batch that does not divide into flushes leaves one flush well defined */
    if (status == PP_OK || (status == PP_E_BATCH && plan->microbatch_count > 0)) {
        struct pp_err own = {0};
        enum pp_status evaluated = evaluate_alone(world, plan, &own);
        if (evaluated == PP_E_DEADLOCK) { /* of the recipe's own order */
            *error_p = own;
        } else if (evaluated != PP_OK) {
            return pass_on(&own, err);
        }
    }
    return status == PP_E_NOMEM ? pp_fail(err, PP_E_NOMEM, "out of memory") : PP_OK;
}

/* Where the shape is unknown that is the answer's main limit: any trouble with the batch becomes a
 * remark beside it. */
static enum pp_status note_unknown_shape(const struct pp_plan_request *req, struct pp_plan_set *set,
                                         struct pp_err *err) {
    struct pp_err *own = &set->current_error;
    if (req->model->hidden > 0 || !set->current->evaluated) {
        return PP_OK;
    }
    if (own->status != PP_OK) {
        PP_TRY(pp_plan_lint(set, PP_LINT_ERROR, pp_status_code(own->status), "step_scheduler", err,
                            "%.300s", own->message));
    }
    pp_fail(own, PP_E_NO_SHAPE,
            "the shape of %s is unknown: split, schedule and unit-cost bubble only",
            req->recipe->model_id != NULL ? req->recipe->model_id : "the model");
    pp_hint(own, "give its config.json with --model");
    return PP_OK;
}

static enum pp_status search_sizes(const struct pp_plan_request *req, struct pp_plan_sink *sink,
                                   struct pp_err *err) {
    const struct pp_recipe *r = req->recipe;
    int64_t ranks = req->gpu_count / ((int64_t)r->tp_size * r->cp_size);
    for (int32_t pp = 1; pp <= ranks && pp <= req->model->layer_count; pp++) {
        struct pp_plan_world world;
        if ((pp != r->pp_size && !req->search_pp) || ranks % pp != 0 ||
            pp_plan_world_init(req, pp, &world, NULL) != PP_OK) {
            continue;
        }
        PP_TRY(pp_plan_candidates(&world, sink, err));
    }
    return PP_OK;
}

/* The recipe as it is joins the rows where no candidate is the same: with an order or module lists
 * of its own. */
static enum pp_status add_current_row(const struct pp_plan_world *world,
                                      const struct pp_plan_set *set, struct pp_plan_sink *sink,
                                      struct pp_err *err) {
    const struct pp_plan_config *c = &set->current->config;
    struct pp_plan row = {0};
    struct pp_err own = {0};
    if (set->current_error.status != PP_OK || (!c->uses_csv && !c->uses_fqns)) {
        return PP_OK;
    }
    enum pp_status status = pp_plan_build_recipe(world, &row, &own, err);
    if (status == PP_OK) {
        status = pp_plan_sink_add(sink, &row, err); /* takes the row */
    }
    if (status != PP_OK) {
        pp_plan_deinit(&row);
    }
    return status;
}

static enum pp_status fill_set(const struct pp_plan_request *req, struct pp_plan_set *set,
                               struct pp_err *err) {
    struct pp_plan_world world;
    struct pp_plan_sink sink = {0};
    PP_TRY(pp_plan_world_init(req, req->recipe->pp_size, &world, err));
    PP_TRY(pp_plan_build_recipe(&world, set->current, &set->current_error, err));
    PP_TRY(note_unknown_shape(req, set, err));
    enum pp_status status = PP_OK;
    if (req->model->hidden > 0) {
        status = search_sizes(req, &sink, err);
        if (status == PP_OK) {
            status = add_current_row(&world, set, &sink, err);
        }
    }
    set->plans = sink.plans;
    set->plan_count = sink.plan_count;
    set->considered_count = sink.considered_count;
    PP_TRY(status);
    for (int32_t i = 0; i < set->plan_count; i++) {
        name_plan(req->run_id, &set->plans[i]);
    }
    name_plan(req->run_id, set->current);
    pp_plan_rank(req, set);
    PP_TRY(pp_plan_add_parts(req, set, err));
    return pp_plan_add_lints(req, set, err);
}

enum pp_status pp_plan_search(const struct pp_plan_request *req, struct pp_plan_set **set_p,
                              struct pp_err *err) {
    struct pp_plan_set *set = calloc(1, sizeof *set);
    struct pp_plan *current = calloc(1, sizeof *current);
    struct pp_lint *lints = calloc((size_t)req->recipe->lint_count + 1, sizeof *lints);
    if (set == NULL || current == NULL || lints == NULL) {
        free(set);
        free(current);
        free(lints);
        return pp_fail(err, PP_E_NOMEM, "out of memory for a plan");
    }
    for (int32_t i = 0; i < req->recipe->lint_count; i++) {
        lints[i] = req->recipe->lints[i];
    }
    *set = (struct pp_plan_set){
        .current = current, .lints = lints, .lint_count = req->recipe->lint_count};
    enum pp_status status = fill_set(req, set, err);
    if (status != PP_OK) {
        pp_plan_set_destroy(set);
        return status;
    }
    *set_p = set;
    return PP_OK;
}

void pp_plan_set_destroy(struct pp_plan_set *set) {
    if (set == NULL) {
        return;
    }
    for (int32_t i = 0; i < set->plan_count; i++) {
        pp_plan_deinit(&set->plans[i]);
    }
    pp_plan_deinit(set->current);
    free(set->current);
    free(set->plans);
    free(set->lints);
    free(set);
}
