/* Reading stored runs and plans back. A database may have been edited by hand, so every row is
 * checked as if it came from outside. */
#include "sim/store_priv.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static enum pp_status bad_row(const struct pp_store *store, const char *id, const char *column,
                              struct pp_err *err) {
    return pp_store_bad_row(store, column, "plan", id, err);
}

static void copy_id(sqlite3_stmt *stmt, int column, char id[33]) {
    pp_store_copy_id(stmt, column, 33, id);
}

void pp_stored_run_deinit(struct pp_stored_run *run) {
    free(run->recipe_path);
    free(run->recipe_text);
    free(run->settings);
    free(run->csv_text);
    *run = (struct pp_stored_run){0};
}

enum pp_status pp_store_read_run(struct pp_store *store, const char *id,
                                 struct pp_stored_run *run_p, struct pp_err *err) {
    static const char sql[] =
        "SELECT run_id, recipe_path, recipe_text, settings, schedule_csv_text, current_plan_id, "
        "best_plan_id, (SELECT max(limit_bytes) FROM plan_rows WHERE plan_rows.run_id = "
        "runs.run_id) FROM runs WHERE ?1 IS NULL OR substr(run_id, 1, length(?1)) = ?1 "
        "ORDER BY rowid DESC LIMIT iif(?1 IS NULL, 1, 2)";
    if (id != NULL) {
        PP_TRY(pp_store_check_id(id, "run", err));
    }
    sqlite3_stmt *stmt = NULL;
    struct pp_stored_run run = {0};
    bool failed = false;
    PP_TRY(pp_store_prepare(store, sql, &stmt, err));
    sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
    enum pp_status status = pp_store_step_one(store, stmt, "run", id == NULL ? "yet" : id, err);
    if (status == PP_OK) {
        copy_id(stmt, 0, run.run_id);
        run.recipe_path = pp_store_copy_text(stmt, 1, &failed);
        run.recipe_text = pp_store_copy_text(stmt, 2, &failed);
        run.settings = pp_store_copy_text(stmt, 3, &failed);
        run.csv_text = pp_store_copy_text(stmt, 4, &failed);
        copy_id(stmt, 5, run.current_id);
        copy_id(stmt, 6, run.best_id);
        run.limit_bytes = sqlite3_column_int64(stmt, 7);
        status = failed ? pp_fail(err, PP_E_NOMEM, "out of memory reading a run")
                        : pp_store_check_unique(store, stmt, "run", id, err);
    }
    sqlite3_finalize(stmt);
    if (status != PP_OK) {
        pp_stored_run_deinit(&run);
        return status;
    }
    *run_p = run;
    return PP_OK;
}

static bool read_stage(const json_t *stage, struct pp_stage_cost *cost) {
    bool good = json_array_size(stage) == (size_t)pp_cost_field_count();
    for (int32_t f = 0; good && f < pp_cost_field_count(); f++) {
        json_t *item = json_array_get(stage, (size_t)f);
        int64_t value = json_integer_value(item);
        good = json_is_integer(item) && value >= 0;
        memcpy((char *)cost + pp_cost_fields[f].offset, &value, sizeof value);
    }
    return good;
}

static struct pp_stage_cost *read_costs(const char *text, int32_t stage_count) {
    struct pp_stage_cost *costs = calloc((size_t)stage_count, sizeof *costs);
    json_t *stages = json_loads(text, 0, NULL);
    bool good = costs != NULL && json_array_size(stages) == (size_t)stage_count;
    for (int32_t s = 0; good && s < stage_count; s++) {
        good = read_stage(json_array_get(stages, (size_t)s), &costs[s]);
    }
    json_decref(stages);
    if (!good) {
        free(costs);
        return NULL;
    }
    return costs;
}

enum plan_column {
    P_ID,
    P_RUN,
    P_SCHEDULE,
    P_PP,
    P_LPS,
    P_ROUND,
    P_STAGES,
    P_PER_RANK,
    P_LAYERS,
    P_RANKS,
    P_MBS,
    P_LOCAL,
    P_MICROBATCHES,
    P_FLUSHES,
    P_DP,
    P_CSV,
    P_FQNS,
    P_FLUSH_NS,
    P_STEP_NS,
    P_BUBBLE,
    P_PEAK,
    P_RESIDENT,
    P_RESERVED,
    P_LIMIT,
    P_FITS,
    P_WHY,
    P_COSTS
};

static const char plan_sql[] =
    "SELECT plan_id, run_id, schedule, pp_size, layers_per_stage, round, num_virtual_stages, "
    "stages_per_rank, layer_counts, stage_ranks, pp_microbatch_size, local_batch_size, "
    "num_microbatches, flushes_per_step, dp_size, uses_csv, uses_fqns, flush_time_ns, "
    "step_time_ns, bubble_ratio, peak_memory_bytes, resident_memory_bytes, "
    "reserved_memory_bytes, limit_bytes, fits, why, stage_costs.stages "
    "FROM plan_rows LEFT JOIN stage_costs USING (costs_id) "
    "WHERE substr(plan_id, 1, length(?1)) = ?1 LIMIT 2";

static int32_t small(sqlite3_stmt *stmt, enum plan_column column, int64_t low, int64_t high,
                     bool *good_p) {
    return (int32_t)pp_store_within(stmt, (int)column, low, high, good_p);
}

static bool read_config(sqlite3_stmt *stmt, struct pp_plan *plan) {
    struct pp_plan_config *c = &plan->config;
    bool good = true;
    c->pp_size = small(stmt, P_PP, 1, PP_SCHED_MAX_RANKS, &good);
    c->has_layers_per_stage = sqlite3_column_type(stmt, P_LPS) != SQLITE_NULL;
    c->layers_per_stage = small(stmt, P_LPS, 0, PP_MAX_LAYERS, &good);
    c->microbatch_size = small(stmt, P_MBS, 1, INT32_MAX, &good);
    c->local_batch_size = small(stmt, P_LOCAL, 1, INT32_MAX, &good);
    c->uses_csv = sqlite3_column_int(stmt, P_CSV) != 0;
    c->uses_fqns = sqlite3_column_int(stmt, P_FQNS) != 0;
    const char *round = (const char *)sqlite3_column_text(stmt, P_ROUND);
    if (round != NULL && pp_round_parse(round, &c->round, NULL) != PP_OK) {
        return false;
    }
    const char *schedule = (const char *)sqlite3_column_text(stmt, P_SCHEDULE);
    return good && (schedule == NULL || pp_schedule_find(schedule, &c->schedule, NULL) == PP_OK);
}

static bool read_shape(sqlite3_stmt *stmt, struct pp_plan *plan) {
    bool good = true;
    plan->stage_count = small(stmt, P_STAGES, 1, PP_SCHED_MAX_STAGES, &good);
    plan->stages_per_rank = small(stmt, P_PER_RANK, 1, PP_SCHED_MAX_STAGES, &good);
    plan->microbatch_count = small(stmt, P_MICROBATCHES, 1, PP_SCHED_MAX_MICROBATCHES, &good);
    plan->flush_count = sqlite3_column_int64(stmt, P_FLUSHES);
    plan->dp_size = sqlite3_column_int64(stmt, P_DP);
    if (!good) {
        return false;
    }
    plan->layer_counts = pp_store_column_i32s(stmt, P_LAYERS, plan->stage_count, 0, PP_MAX_LAYERS);
    plan->stage_rank =
        pp_store_column_i32s(stmt, P_RANKS, plan->stage_count, 0, plan->config.pp_size - 1);
    return plan->layer_counts != NULL && plan->stage_rank != NULL;
}

static bool read_figures(sqlite3_stmt *stmt, struct pp_plan *plan) {
    plan->flush_ns = sqlite3_column_int64(stmt, P_FLUSH_NS);
    plan->step_ns = sqlite3_column_int64(stmt, P_STEP_NS);
    plan->bubble_ratio = sqlite3_column_double(stmt, P_BUBBLE);
    plan->reserved_bytes = sqlite3_column_int64(stmt, P_RESERVED);
    plan->limit_bytes = sqlite3_column_int64(stmt, P_LIMIT);
    plan->fits = sqlite3_column_int(stmt, P_FITS) != 0;
    plan->evaluated = true;
    const char *why = (const char *)sqlite3_column_text(stmt, P_WHY);
    pp_copy(plan->why, sizeof plan->why, why == NULL ? "" : why);
    const char *costs = (const char *)sqlite3_column_text(stmt, P_COSTS);
    if (costs == NULL) {
        return true;
    }
    plan->has_costs = true;
    plan->stage_costs = read_costs(costs, plan->stage_count);
    plan->peak_bytes = pp_store_column_i64s(stmt, P_PEAK, plan->config.pp_size, 0, INT64_MAX);
    plan->base_bytes = pp_store_column_i64s(stmt, P_RESIDENT, plan->config.pp_size, 0, INT64_MAX);
    for (int32_t r = 0; plan->peak_bytes != NULL && r < plan->config.pp_size; r++) {
        if (plan->peak_bytes[r] > plan->max_peak_bytes) {
            plan->max_peak_bytes = plan->peak_bytes[r];
        }
    }
    return plan->stage_costs != NULL && plan->peak_bytes != NULL && plan->base_bytes != NULL;
}

enum pp_status pp_store_read_plan(struct pp_store *store, const char *id, struct pp_plan *plan_p,
                                  char run_id_p[33], struct pp_err *err) {
    sqlite3_stmt *stmt = NULL;
    struct pp_plan plan = {0};
    char run_id[33] = "";
    PP_TRY(pp_store_check_id(id, "plan", err));
    PP_TRY(pp_store_prepare(store, plan_sql, &stmt, err));
    sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
    enum pp_status status = pp_store_step_one(store, stmt, "plan", id, err);
    if (status == PP_OK) {
        copy_id(stmt, P_ID, plan.id);
        copy_id(stmt, P_RUN, run_id);
        if (!read_config(stmt, &plan)) {
            status = bad_row(store, plan.id, "a setting", err);
        } else if (!read_shape(stmt, &plan)) {
            status = bad_row(store, plan.id, "the split", err);
        } else if (!read_figures(stmt, &plan)) {
            status = bad_row(store, plan.id, "a figure", err);
        } else {
            status = pp_store_check_unique(store, stmt, "plan", id, err);
        }
    }
    sqlite3_finalize(stmt);
    if (status != PP_OK) {
        pp_plan_deinit(&plan);
        return status;
    }
    *plan_p = plan;
    memcpy(run_id_p, run_id, sizeof run_id);
    return PP_OK;
}

enum pp_status pp_store_list_plans(struct pp_store *store, const char *run_id,
                                   struct pp_plan_summary **list_p, int32_t *count_p,
                                   struct pp_err *err) {
    static const char sql[] =
        "SELECT plan_id, coalesce(schedule, 'no pipeline'), coalesce(step_time_ns, 0), "
        "coalesce((SELECT max(value) FROM json_each(peak_memory_bytes)), 0), coalesce(fits, 0), "
        "count(*) OVER () FROM plan_rows WHERE run_id = ?1 ORDER BY position IS NULL, position";
    sqlite3_stmt *stmt = NULL;
    struct pp_plan_summary *list = NULL;
    int32_t count = 0;
    PP_TRY(pp_store_prepare(store, sql, &stmt, err));
    sqlite3_bind_text(stmt, 1, run_id, -1, SQLITE_STATIC);
    enum pp_status status = PP_OK;
    int code;
    while (status == PP_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (list == NULL) {
            list = calloc((size_t)sqlite3_column_int64(stmt, 5), sizeof *list);
        }
        if (list == NULL) {
            status = pp_fail(err, PP_E_NOMEM, "out of memory listing the plans");
            break;
        }
        struct pp_plan_summary *s = &list[count++];
        copy_id(stmt, 0, s->plan_id);
        pp_copy(s->schedule, sizeof s->schedule, (const char *)sqlite3_column_text(stmt, 1));
        s->step_ns = sqlite3_column_int64(stmt, 2);
        s->max_peak_bytes = sqlite3_column_int64(stmt, 3);
        s->fits = sqlite3_column_int(stmt, 4) != 0;
    }
    if (status == PP_OK && code != SQLITE_DONE) {
        status = pp_store_fail(store, "list the plans", err);
    }
    sqlite3_finalize(stmt);
    if (status != PP_OK) {
        free(list);
        return status;
    }
    *list_p = list;
    *count_p = count;
    return PP_OK;
}

enum pp_status pp_store_read_overrides(struct pp_store *store, const char *plan_id, char **json_p,
                                       struct pp_err *err) {
    sqlite3_stmt *stmt = NULL;
    bool failed = false;
    PP_TRY(
        pp_store_prepare(store, "SELECT overrides FROM plan_rows WHERE plan_id = ?1", &stmt, err));
    sqlite3_bind_text(stmt, 1, plan_id, -1, SQLITE_STATIC);
    enum pp_status status = pp_store_step_one(store, stmt, "plan", plan_id, err);
    if (status == PP_OK) {
        char *text = pp_store_copy_text(stmt, 0, &failed);
        status = failed ? pp_fail(err, PP_E_NOMEM, "out of memory reading a plan") : PP_OK;
        *json_p = text;
    }
    sqlite3_finalize(stmt);
    return status;
}
