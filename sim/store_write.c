/* Storing a planning run: one transaction, prepared statements, ids from content. */
#include "sim/store_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

struct writer {
    struct pp_store *store;
    const char *run_id;
    const struct pp_recipe *recipe;
    const struct pp_plan_set *set;
    const volatile sig_atomic_t *stop;
    sqlite3_stmt *insert_plan, *insert_costs;
    struct pp_text text; /* scratch for JSON */
    bool failed;         /* a value could not be bound */
};

enum pp_status pp_run_id(const struct pp_run_inputs *in, char id_p[33], struct pp_err *err) {
    struct pp_text t = {0};
    pp_store_add_input(&t, PP_VERSION);
    pp_store_add_input(&t, in->recipe_text);
    pp_store_add_input(&t, in->settings);
    pp_store_add_input(&t, in->model_name);
    pp_store_add_input(&t, in->model_text);
    pp_store_add_input(&t, in->hardware_text);
    pp_store_add_input(&t, in->csv_text);
    pp_text_printf(&t, "%lld;%d;%d", (long long)in->gpu_count, in->layers, in->search_pp);
    enum pp_status status = pp_store_make_id(&t, id_p, err);
    pp_text_free(&t);
    return status;
}

static void bind(struct writer *w, sqlite3_stmt *stmt, const char *name, const char *text) {
    int at = sqlite3_bind_parameter_index(stmt, name);
    PP_ASSERT(at > 0);
    int code = text == NULL ? sqlite3_bind_null(stmt, at)
                            : sqlite3_bind_text(stmt, at, text, -1, SQLITE_TRANSIENT);
    w->failed = w->failed || code != SQLITE_OK;
}

static void bind_int(struct writer *w, sqlite3_stmt *stmt, const char *name, bool known,
                     int64_t value) {
    int at = sqlite3_bind_parameter_index(stmt, name);
    PP_ASSERT(at > 0);
    int code = known ? sqlite3_bind_int64(stmt, at, value) : sqlite3_bind_null(stmt, at);
    w->failed = w->failed || code != SQLITE_OK;
}

/* Runs a bound statement and readies it for the next row. */
static enum pp_status put(const struct writer *w, sqlite3_stmt *stmt, struct pp_err *err) {
    if (w->failed || w->text.failed) {
        return pp_fail(err, PP_E_NOMEM, "out of memory storing the run");
    }
    int code = sqlite3_step(stmt);
    enum pp_status status =
        code == SQLITE_DONE ? PP_OK : pp_store_fail(w->store, "store the run", err);
    sqlite3_reset(stmt);
    return status;
}

static const char *json_i32s(struct writer *w, const int32_t *values, int32_t count) {
    w->text.size = 0;
    pp_store_put_i32s(&w->text, values, count);
    return w->text.bytes;
}

static const char *json_i64s(struct writer *w, const int64_t *values, int32_t count) {
    w->text.size = 0;
    pp_store_put_i64s(&w->text, values, count);
    return w->text.bytes;
}

static const char *json_peak_actions(struct writer *w, const struct pp_plan *plan) {
    w->text.size = 0;
    pp_text_puts(&w->text, "[");
    for (int32_t r = 0; r < plan->config.pp_size; r++) {
        char text[PP_ACTION_TEXT_BYTES];
        const char *action = pp_plan_peak_action(plan, r, text);
        pp_text_puts(&w->text, r == 0 ? "" : ",");
        if (action == NULL) {
            pp_text_puts(&w->text, "null");
        } else {
            pp_text_printf(&w->text, "\"%s\"", action);
        }
    }
    pp_text_puts(&w->text, "]");
    return w->text.bytes;
}

static void add_override(void *context, const char *key, const char *value) {
    char text[192];
    snprintf(text, sizeof text, "--%s=%s", key, value);
    json_array_append_new(context, json_string(text));
}

static enum pp_status bind_json(struct writer *w, sqlite3_stmt *stmt, const char *name,
                                json_t *json, struct pp_err *err) {
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory storing the run");
    }
    bind(w, stmt, name, text);
    free(text);
    return PP_OK;
}

static json_t *overrides_of(const struct writer *w, const struct pp_plan *plan) {
    json_t *array = json_array();
    pp_plan_overrides(w->recipe, &plan->config, add_override, array);
    return array;
}

/* Stores the stage costs unless a plan with the same ones did; binds their id to the plan's row. */
static enum pp_status put_costs(struct writer *w, const struct pp_plan *plan, struct pp_err *err) {
    if (plan->stage_costs == NULL) {
        bind(w, w->insert_plan, ":costs_id", NULL);
        return PP_OK;
    }
    w->text.size = 0;
    for (int32_t s = 0; s < plan->stage_count; s++) {
        for (int32_t f = 0; f < pp_cost_field_count(); f++) {
            int64_t value;
            memcpy(&value, (const char *)&plan->stage_costs[s] + pp_cost_fields[f].offset,
                   sizeof value);
            pp_text_printf(&w->text, "%s%lld",
                           f > 0   ? ","
                           : s > 0 ? "],["
                                   : "[[",
                           (long long)value);
        }
    }
    pp_text_puts(&w->text, "]]");
    if (w->text.failed) {
        return pp_fail(err, PP_E_NOMEM, "out of memory storing the run");
    }
    char id[65];
    pp_sha256_hex(w->text.bytes, w->text.size, id);
    id[32] = '\0';
    bind(w, w->insert_plan, ":costs_id", id);
    bind(w, w->insert_costs, ":costs_id", id);
    bind(w, w->insert_costs, ":stages", w->text.bytes);
    json_t *fields = json_array();
    for (int32_t f = 0; f < pp_cost_field_count(); f++) {
        json_array_append_new(fields, json_string(pp_cost_fields[f].name));
    }
    PP_TRY(bind_json(w, w->insert_costs, ":fields", fields, err));
    return put(w, w->insert_costs, err);
}

static void bind_choices(struct writer *w, const struct pp_plan *plan) {
    sqlite3_stmt *stmt = w->insert_plan;
    const struct pp_plan_config *c = &plan->config;
    bind(w, stmt, ":plan_id", plan->id);
    bind(w, stmt, ":run_id", w->run_id);
    bind(w, stmt, ":schedule", c->schedule == NULL ? NULL : c->schedule->name);
    bind_int(w, stmt, ":pp_size", true, c->pp_size);
    bind_int(w, stmt, ":layers_per_stage", c->has_layers_per_stage, c->layers_per_stage);
    bind(w, stmt, ":round", c->round == PP_ROUND_NONE ? NULL : pp_round_name(c->round));
    bind_int(w, stmt, ":num_virtual_stages", true, plan->stage_count);
    bind_int(w, stmt, ":stages_per_rank", true, plan->stages_per_rank);
    bind(w, stmt, ":layer_counts", json_i32s(w, plan->layer_counts, plan->stage_count));
    bind(w, stmt, ":stage_ranks", json_i32s(w, plan->stage_rank, plan->stage_count));
    bind_int(w, stmt, ":pp_microbatch_size", true, c->microbatch_size);
    bind_int(w, stmt, ":local_batch_size", true, c->local_batch_size);
    bind_int(w, stmt, ":num_microbatches", true, plan->microbatch_count);
    bind_int(w, stmt, ":flushes_per_step", true, plan->flush_count);
    bind_int(w, stmt, ":dp_size", true, plan->dp_size);
    bind_int(w, stmt, ":uses_csv", true, c->uses_csv);
    bind_int(w, stmt, ":uses_fqns", true, c->uses_fqns);
}

static void bind_figures(struct writer *w, const struct pp_plan *plan) {
    sqlite3_stmt *stmt = w->insert_plan;
    bool known = plan->has_costs;
    int32_t ranks = plan->config.pp_size;
    bind_int(w, stmt, ":flush_time_ns", true, plan->flush_ns);
    bind_int(w, stmt, ":step_time_ns", plan->step_ns > 0, plan->step_ns);
    bind_int(w, stmt, ":grad_sync_ns", known, plan->step_cost.grad_sync_ns);
    bind_int(w, stmt, ":param_gather_ns", known, plan->step_cost.param_gather_ns);
    bind_int(w, stmt, ":optimizer_ns", known, plan->step_cost.optimizer_ns);
    sqlite3_bind_double(stmt, sqlite3_bind_parameter_index(stmt, ":bubble_ratio"),
                        plan->bubble_ratio);
    bind(w, stmt, ":peak_memory_bytes", known ? json_i64s(w, plan->peak_bytes, ranks) : NULL);
    bind(w, stmt, ":resident_memory_bytes", known ? json_i64s(w, plan->base_bytes, ranks) : NULL);
    bind_int(w, stmt, ":reserved_memory_bytes", known, plan->reserved_bytes);
    bind(w, stmt, ":peak_actions", known ? json_peak_actions(w, plan) : NULL);
    bind_int(w, stmt, ":limit_bytes", known, plan->limit_bytes);
    bind_int(w, stmt, ":fits", known, plan->fits);
    bind(w, stmt, ":why", plan->why);
}

static enum pp_status put_plan(struct writer *w, const struct pp_plan *plan, int32_t position,
                               struct pp_err *err) {
    if (w->stop != NULL && *w->stop != 0) {
        return pp_fail(err, PP_E_INTERRUPTED, "interrupted; nothing was stored");
    }
    bind_choices(w, plan);
    bind_figures(w, plan);
    bind_int(w, w->insert_plan, ":position", position > 0, position);
    PP_TRY(bind_json(w, w->insert_plan, ":overrides", overrides_of(w, plan), err));
    PP_TRY(put_costs(w, plan, err));
    return put(w, w->insert_plan, err);
}

static json_t *lints_json(const struct pp_plan_set *set) {
    static const char *const levels[] = {"info", "warning", "error"};
    json_t *array = json_array();
    for (int32_t i = 0; i < set->lint_count; i++) {
        const struct pp_lint *l = &set->lints[i];
        json_array_append_new(array,
                              json_pack("{s:s, s:s, s:s, s:s}", "code", l->code, "level",
                                        levels[l->level], "key", l->key, "message", l->message));
    }
    return array;
}

static const char *id_at(const struct pp_plan_set *set, int32_t index) {
    return index < 0 ? NULL : set->plans[index].id;
}

static enum pp_status put_run(struct writer *w, const struct pp_run_inputs *in,
                              struct pp_err *err) {
    static const char sql[] =
        "INSERT INTO runs VALUES (:run_id, :tool_version, :recipe_path, :recipe_text, :settings, "
        ":model_name, :model_text, :hardware_name, :hardware_text, :csv, :gpu_count, :layers, "
        ":search_pp, :considered, :current, :best, :same_memory, :other_round, :error, :lints)";
    const struct pp_plan_set *set = w->set;
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(w->store, sql, &stmt, err));
    bind(w, stmt, ":run_id", w->run_id);
    bind(w, stmt, ":tool_version", PP_VERSION);
    bind(w, stmt, ":recipe_path", in->recipe_path);
    bind(w, stmt, ":recipe_text", in->recipe_text);
    bind(w, stmt, ":settings", in->settings);
    bind(w, stmt, ":model_name", in->model_name);
    bind(w, stmt, ":model_text", in->model_text);
    bind(w, stmt, ":hardware_name", in->hardware_name);
    bind(w, stmt, ":hardware_text", in->hardware_text);
    bind(w, stmt, ":csv", in->csv_text);
    bind_int(w, stmt, ":gpu_count", true, in->gpu_count);
    bind_int(w, stmt, ":layers", in->layers > 0, in->layers);
    bind_int(w, stmt, ":search_pp", true, in->search_pp);
    bind_int(w, stmt, ":considered", true, set->considered_count);
    bind(w, stmt, ":current", set->current->evaluated ? set->current->id : NULL);
    bind(w, stmt, ":best", id_at(set, set->best));
    bind(w, stmt, ":same_memory", id_at(set, set->best_same_memory));
    bind(w, stmt, ":other_round", id_at(set, set->other_round));
    bind(w, stmt, ":error", NULL);
    enum pp_status status = PP_OK;
    if (set->current_error.status != PP_OK) {
        status = bind_json(w, stmt, ":error",
                           json_pack("{s:s, s:s, s:s}", "code",
                                     pp_status_code(set->current_error.status), "message",
                                     set->current_error.message, "hint", set->current_error.hint),
                           err);
    }
    if (status == PP_OK) {
        status = bind_json(w, stmt, ":lints", lints_json(set), err);
    }
    if (status == PP_OK) {
        status = put(w, stmt, err);
    }
    sqlite3_finalize(stmt);
    return status;
}

static enum pp_status put_plans(struct writer *w, struct pp_err *err) {
    static const char plan_sql[] =
        "INSERT OR IGNORE INTO plan_rows VALUES (:plan_id, :run_id, :position, :schedule, "
        ":pp_size, :layers_per_stage, :round, :num_virtual_stages, :stages_per_rank, "
        ":layer_counts, :stage_ranks, :pp_microbatch_size, :local_batch_size, :num_microbatches, "
        ":flushes_per_step, :dp_size, :uses_csv, :uses_fqns, :flush_time_ns, :step_time_ns, "
        ":grad_sync_ns, :param_gather_ns, :optimizer_ns, :bubble_ratio, :peak_memory_bytes, "
        ":resident_memory_bytes, :reserved_memory_bytes, :peak_actions, :limit_bytes, :fits, "
        ":why, :overrides, :costs_id)";
    static const char costs_sql[] =
        "INSERT OR IGNORE INTO stage_costs VALUES (:costs_id, :fields, :stages)";
    PP_TRY(pp_store_prepare(w->store, plan_sql, &w->insert_plan, err));
    PP_TRY(pp_store_prepare(w->store, costs_sql, &w->insert_costs, err));
    for (int32_t i = 0; i < w->set->plan_count; i++) {
        PP_TRY(put_plan(w, &w->set->plans[i], i + 1, err));
    }
    return w->set->current->evaluated ? put_plan(w, w->set->current, 0, err) : PP_OK;
}

static enum pp_status run_exists(struct writer *w, bool *exists_p, struct pp_err *err) {
    const struct pp_store *store = w->store;
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(store, "SELECT 1 FROM runs WHERE run_id = :run_id", &stmt, err));
    bind(w, stmt, ":run_id", w->run_id);
    int code = sqlite3_step(stmt);
    *exists_p = code == SQLITE_ROW;
    enum pp_status status = code == SQLITE_ROW || code == SQLITE_DONE
                                ? PP_OK
                                : pp_store_fail(store, "read the runs", err);
    sqlite3_finalize(stmt);
    return status;
}

enum pp_status pp_store_add_run(struct pp_store *store, const struct pp_run_inputs *inputs,
                                const struct pp_recipe *recipe, const struct pp_plan_set *set,
                                const char *run_id, const volatile sig_atomic_t *stop,
                                bool *added_p, struct pp_err *err) {
    struct writer w = {
        .store = store, .run_id = run_id, .recipe = recipe, .set = set, .stop = stop};
    bool exists = false;
    PP_TRY(pp_store_exec(store, "BEGIN IMMEDIATE", err));
    enum pp_status status = run_exists(&w, &exists, err);
    if (status == PP_OK && !exists) {
        status = put_run(&w, inputs, err);
    }
    if (status == PP_OK && !exists) {
        status = put_plans(&w, err);
    }
    status = pp_store_end(store, status, err);
    if (status == PP_OK && added_p != NULL) {
        *added_p = !exists;
    }
    sqlite3_finalize(w.insert_plan);
    sqlite3_finalize(w.insert_costs);
    pp_text_free(&w.text);
    return status;
}
