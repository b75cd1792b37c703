#include "sim/plan.h"

#include "costmodel/utf8.h"
#include "sim/plan_candidates.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum pp_status pp_plan_lint(struct pp_plan_set *set, enum pp_lint_level level, const char *code,
                            const char *key, struct pp_err *err, const char *format, ...) {
    struct pp_lint *lints = realloc(set->lints, ((size_t)set->lint_count + 1) * sizeof *set->lints);
    if (lints == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for a remark");
    }
    set->lints = lints;
    struct pp_lint *lint = &lints[set->lint_count];
    *lint = (struct pp_lint){.level = level, .code = code};
    pp_copy(lint->key, sizeof lint->key, key);
    va_list args;
    va_start(args, format);
    vsnprintf(lint->message, sizeof lint->message, format, args);
    va_end(args);
    pp_utf8_make_line(lint->message);
    set->lint_count++;
    return PP_OK;
}

enum pp_status pp_plan_sink_add(struct pp_plan_sink *sink, const struct pp_plan *plan,
                                struct pp_err *err) {
    if (sink->plan_count == PP_PLAN_MAX_ROWS) {
        pp_fail(err, PP_E_RANGE, "more than %d legal plans", PP_PLAN_MAX_ROWS);
        pp_hint(err, "a smaller global batch, more --gpus, or no --search-pp");
        return PP_E_RANGE;
    }
    if (sink->plan_count == sink->capacity) {
        int32_t capacity = sink->capacity == 0 ? 256 : 2 * sink->capacity;
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

/* Follows the recipe as far as it can be followed. What stops it is kept in `error_p`; only
 * failures that are not the recipe's own fault are returned. */
static enum pp_status build_recipe(const struct pp_plan_world *world, struct pp_plan *plan,
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

static int compare_i64(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

/* Those that fit by step time, then the rest by how much they need; every tie broken by choices, so
 * that the order is total. */
static int compare_plans(const void *pa, const void *pb) {
    const struct pp_plan *a = pa;
    const struct pp_plan *b = pb;
    const int64_t keys[][2] = {
        {!a->fits, !b->fits},
        {a->fits ? a->step_ns : a->max_peak_bytes, b->fits ? b->step_ns : b->max_peak_bytes},
        {a->fits ? a->max_peak_bytes : a->step_ns, b->fits ? b->max_peak_bytes : b->step_ns},
        {a->flush_ns, b->flush_ns},
        {a->stage_count, b->stage_count},
        {a->config.pp_size, b->config.pp_size},
        {a->config.local_batch_size, b->config.local_batch_size},
        {a->config.microbatch_size, b->config.microbatch_size},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int order = compare_i64(keys[i][0], keys[i][1]);
        if (order != 0) {
            return order;
        }
    }
    return strcmp(a->id, b->id);
}

static bool same_choices(const struct pp_plan *a, const struct pp_plan *b) {
    return a->config.schedule == b->config.schedule && a->config.pp_size == b->config.pp_size &&
           a->stage_count == b->stage_count &&
           a->config.microbatch_size == b->config.microbatch_size &&
           a->config.local_batch_size == b->config.local_batch_size &&
           a->config.uses_csv == b->config.uses_csv && a->config.uses_fqns == b->config.uses_fqns;
}

static int32_t find_choices(const struct pp_plan_set *set, const struct pp_plan *like) {
    for (int32_t i = 0; i < set->plan_count; i++) {
        if (same_choices(&set->plans[i], like)) {
            return i;
        }
    }
    return -1;
}

/* The recipe with the other rounding: its stage count, then the candidate that has it. */
static int32_t find_other_round(const struct pp_plan_request *req, const struct pp_plan_set *set) {
    const struct pp_plan *current = set->current;
    const struct pp_plan_config *c = &current->config;
    if (c->schedule == NULL || !c->has_layers_per_stage || c->uses_csv || c->uses_fqns) {
        return -1;
    }
    struct pp_split_request split_req = {
        .layer_count = req->model->layer_count,
        .pp_size = c->pp_size,
        .layers_per_stage = c->layers_per_stage,
        .has_layers_per_stage = true,
        .round = c->round == PP_ROUND_DOWN ? PP_ROUND_UP : PP_ROUND_DOWN,
        .kind = c->schedule->kind,
    };
    struct pp_split split = {0};
    if (pp_split_stages(&split_req, &split, NULL) != PP_OK) {
        return -1;
    }
    struct pp_plan like = *current;
    like.stage_count = split.stage_count;
    return find_choices(set, &like);
}

static void pick(const struct pp_plan_request *req, struct pp_plan_set *set) {
    if (set->plan_count > 0) { /* qsort takes no NULL */
        qsort(set->plans, (size_t)set->plan_count, sizeof *set->plans, compare_plans);
    }
    set->best = set->plan_count > 0 && set->plans[0].fits ? 0 : -1;
    set->best_same_memory = -1;
    for (int32_t i = 0; i < set->plan_count && set->current->has_costs; i++) {
        if (set->plans[i].fits && set->plans[i].max_peak_bytes <= set->current->max_peak_bytes) {
            set->best_same_memory = i;
            break;
        }
    }
    set->current_index = find_choices(set, set->current);
    set->other_round = find_other_round(req, set);
}

static enum pp_status add_lints(const struct pp_plan_request *req, struct pp_plan_set *set,
                                struct pp_err *err) {
    const struct pp_recipe *r = req->recipe;
    const struct pp_plan *current = set->current;
    if (pp_recipe_seq_len(r) == 0) {
        PP_TRY(pp_plan_lint(set, PP_LINT_WARNING, "W_SEQ_LEN_ASSUMED", "dataset.seq_len", err,
                            "the recipe does not say how long its sequences are: %d tokens "
                            "assumed; --set dataset.seq_len=N gives the real length",
                            PP_PLAN_ASSUMED_SEQ_LEN));
    }
    if (r->pipeline.scale_grads_in_schedule && current->flush_count > 1) {
        PP_TRY(pp_plan_lint(set, PP_LINT_ERROR, "W_SCALE_GRADS_FLUSHES",
                            "distributed.pipeline.scale_grads_in_schedule", err,
                            "a step has %lld flushes, and each divides all gradients gathered so "
                            "far again: the gradients are wrong",
                            (long long)current->flush_count));
    }
    if (req->model->tied && r->pp_size > 1) {
        PP_TRY(pp_plan_lint(set, PP_LINT_WARNING, "W_TIED", "model", err,
                            "input and output embeddings of %s are one matrix: the first and the "
                            "last stage both need it, and Automodel refuses such models",
                            req->model->id));
    }
    if (current->config.has_layers_per_stage && current->layer_counts != NULL &&
        current->layer_counts[0] > current->config.layers_per_stage) {
        PP_TRY(pp_plan_lint(set, PP_LINT_INFO, "W_LAYERS_PER_STAGE",
                            "distributed.pipeline.layers_per_stage", err,
                            "layers_per_stage %d only sets the number of stages: the largest stage "
                            "holds %d layers",
                            current->config.layers_per_stage, current->layer_counts[0]));
    }
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
static enum pp_status add_current_row(const struct pp_plan_world *world, struct pp_plan_sink *sink,
                                      struct pp_err *err) {
    struct pp_plan row = {0};
    struct pp_err own = {0};
    enum pp_status status = build_recipe(world, &row, &own, err);
    if (status == PP_OK && own.status == PP_OK && (row.config.uses_csv || row.config.uses_fqns)) {
        status = pp_plan_sink_add(sink, &row, err);
        if (status == PP_OK) {
            return PP_OK;
        }
    }
    pp_plan_deinit(&row);
    return status;
}

static enum pp_status fill_set(const struct pp_plan_request *req, struct pp_plan_set *set,
                               struct pp_err *err) {
    struct pp_plan_world world;
    struct pp_plan_sink sink = {0};
    PP_TRY(pp_plan_world_init(req, req->recipe->pp_size, &world, err));
    PP_TRY(build_recipe(&world, set->current, &set->current_error, err));
    PP_TRY(note_unknown_shape(req, set, err));
    enum pp_status status = PP_OK;
    if (req->model->hidden > 0) {
        status = search_sizes(req, &sink, err);
        if (status == PP_OK) {
            status = add_current_row(&world, &sink, err);
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
    pick(req, set);
    return add_lints(req, set, err);
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
