/* Reading executions back. A database may have been edited by hand, so every row is checked as if
 * it came from outside. */
#include "sim/execution.h"
#include "sim/schedule_csv.h"
#include "sim/store_priv.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { MAX_MODULE = 1 << 20 };

static const int64_t MAX_STEP = INT64_MAX / 4;
static const int64_t MAX_SAMPLE = INT64_MAX / 8;

static enum pp_status bad_row(const struct pp_store *store, const char *id, const char *column,
                              struct pp_err *err) {
    return pp_store_bad_row(store, column, "execution", id, err);
}

static bool holds_executions(const struct pp_store *store) {
    return store->version >= PP_STORE_EXECUTIONS;
}

static bool find_state(const char *text, enum pp_execution_state *state_p) {
    for (int i = 0; text != NULL && i < PP_EXECUTION_STATE_COUNT; i++) {
        if (strcmp(text, pp_execution_state_text((enum pp_execution_state)i)) == 0) {
            *state_p = (enum pp_execution_state)i;
            return true;
        }
    }
    return false;
}

static bool find_type(const char *text, enum pp_action_type *type_p) {
    for (int i = 0; text != NULL && i < PP_ACTION_TYPE_COUNT; i++) {
        if (strcmp(text, pp_action_type_text((enum pp_action_type)i)) == 0) {
            *type_p = (enum pp_action_type)i;
            return true;
        }
    }
    return false;
}

void pp_stored_execution_deinit(struct pp_stored_execution *e) {
    char *const texts[] = {e->workload, e->model_key, e->device, e->transport,
                           e->machine,  e->options,   e->error};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        free(texts[i]);
    }
    pp_sched_destroy(e->sched);
    free(e->message_bytes);
    free(e->split);
    free(e->cost_block);
    free(e->steps);
    *e = (struct pp_stored_execution){0};
}

/* ---- the program ---- */

enum column {
    C_NUMBER,
    C_ID,
    C_PLAN,
    C_HASH,
    C_WORKLOAD,
    C_KEY,
    C_SPLIT,
    C_DEVICE,
    C_TRANSPORT,
    C_MACHINE,
    C_OPTIONS,
    C_PREDICTED,
    C_CALIBRATION,
    C_COSTS,
    C_STARTED,
    C_STATE,
    C_ERROR,
    C_RANKS,
    C_STAGES,
    C_MICROBATCHES,
    C_PARTS,
    C_SLICES,
    C_STAGE_RANKS,
    C_BYTES,
    C_SCHEDULE
};

static bool read_sched(sqlite3_stmt *stmt, struct pp_stored_execution *e, struct pp_err *err) {
    bool good = true;
    struct pp_csv_expect expect = {.is_lowered = true};
    expect.rank_count = (int32_t)pp_store_within(stmt, C_RANKS, 1, PP_SCHED_MAX_RANKS, &good);
    expect.stage_count = (int32_t)pp_store_within(stmt, C_STAGES, 1, PP_SCHED_MAX_STAGES, &good);
    expect.microbatch_count =
        (int32_t)pp_store_within(stmt, C_MICROBATCHES, 1, PP_SCHED_MAX_MICROBATCHES, &good);
    expect.slice_count =
        (int32_t)pp_store_within(stmt, C_SLICES, 1, PP_SCHED_MAX_MICROBATCHES, &good);
    int64_t parts = pp_store_within(stmt, C_PARTS, 1, PP_SCHED_MAX_STAGES, &good);
    if (!good) {
        return false;
    }
    expect.is_bidirectional = parts != expect.stage_count;
    int32_t *stage_rank =
        pp_store_column_i32s(stmt, C_STAGE_RANKS, expect.stage_count, 0, expect.rank_count - 1);
    const char *text = (const char *)sqlite3_column_text(stmt, C_SCHEDULE);
    expect.stage_rank = stage_rank;
    good = stage_rank != NULL && text != NULL &&
           pp_sched_csv_parse("the stored program", text, strlen(text), &expect, &e->sched, err) ==
               PP_OK;
    free(stage_rank);
    if (good) {
        e->message_bytes =
            pp_store_column_i64s(stmt, C_BYTES, expect.stage_count, 0, INT64_MAX / 4);
    }
    return good && e->message_bytes != NULL && e->sched->part_count == parts;
}

static bool read_split(const char *text, struct pp_stored_execution *e) {
    int32_t count = e->sched->stage_count;
    json_t *stages = json_loads(text, 0, NULL);
    e->split = calloc((size_t)count, sizeof *e->split);
    bool good = e->split != NULL && json_array_size(stages) == (size_t)count;
    for (int32_t s = 0; good && s < count; s++) {
        const json_t *stage = json_array_get(stages, (size_t)s);
        int64_t values[4];
        good = json_array_size(stage) == 4;
        for (size_t i = 0; good && i < 4; i++) {
            json_t *item = json_array_get(stage, i);
            values[i] = json_integer_value(item);
            good = json_is_integer(item) && values[i] >= 0 && values[i] <= MAX_MODULE;
        }
        good = good && values[0] <= 1 && values[3] <= 1 && values[1] <= values[2];
        if (good) {
            e->split[s] = (struct pp_split_stage){.embedding = values[0] == 1,
                                                  .layer_begin = (int32_t)values[1],
                                                  .layer_end = (int32_t)values[2],
                                                  .head = values[3] == 1};
        }
    }
    json_decref(stages);
    return good;
}

static bool read_costs(const char *text, struct pp_stored_execution *e) {
    size_t count = (size_t)e->sched->stage_count;
    json_t *object = json_loads(text, 0, NULL);
    e->cost_block = calloc(PP_COSTS_ARRAYS * count, sizeof *e->cost_block);
    bool good = e->cost_block != NULL && json_is_object(object);
    for (size_t i = 0; good && i < PP_COSTS_ARRAYS; i++) {
        const json_t *array = json_object_get(object, pp_costs_arrays[i].name);
        int64_t *values = e->cost_block + i * count;
        good = array == NULL || json_array_size(array) == count;
        for (size_t s = 0; good && array != NULL && s < count; s++) {
            json_t *item = json_array_get(array, s);
            values[s] = json_integer_value(item);
            good = json_is_integer(item) && values[s] >= 0 && values[s] <= PP_COST_MAX_NS;
        }
        if (good && array != NULL) {
            memcpy((char *)&e->costs + pp_costs_arrays[i].offset, &values, sizeof values);
        }
    }
    json_decref(object);
    const struct pp_costs *c = &e->costs;
    return good && c->f_ns != NULL && c->i_ns != NULL && c->w_ns != NULL && c->b_ns != NULL;
}

/* ---- one execution ---- */

static enum pp_status read_steps(const struct pp_store *store, struct pp_stored_execution *e,
                                 struct pp_err *err) {
    static const char sql[] =
        "SELECT step, loss, coalesce(makespan_ns, 0), wall_ns, has_trace, count(*) OVER () "
        "FROM execution_steps WHERE execution = ?1 ORDER BY step";
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(store, sql, &stmt, err));
    sqlite3_bind_int64(stmt, 1, e->number);
    int code = SQLITE_DONE;
    bool good = true;
    while (good && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (e->steps == NULL) {
            e->steps = calloc((size_t)sqlite3_column_int64(stmt, 5), sizeof *e->steps);
        }
        if (e->steps == NULL) {
            sqlite3_finalize(stmt);
            return pp_fail(err, PP_E_NOMEM, "out of memory for the steps of an execution");
        }
        e->steps[e->step_count++] =
            (struct pp_stored_step){.step = pp_store_within(stmt, 0, 0, MAX_STEP, &good),
                                    .has_loss = sqlite3_column_type(stmt, 1) != SQLITE_NULL,
                                    .loss = sqlite3_column_double(stmt, 1),
                                    .makespan_ns = pp_store_within(stmt, 2, 0, MAX_STEP, &good),
                                    .wall_ns = pp_store_within(stmt, 3, 0, MAX_STEP, &good),
                                    .has_trace = sqlite3_column_int(stmt, 4) != 0};
    }
    enum pp_status status = PP_OK;
    if (!good) {
        status = bad_row(store, e->id, "a step", err);
    } else if (code != SQLITE_DONE) {
        status = pp_store_fail(store, "read the steps", err);
    }
    sqlite3_finalize(stmt);
    return status;
}

static bool read_texts(sqlite3_stmt *stmt, struct pp_stored_execution *e, bool *failed_p) {
    pp_store_copy_id(stmt, C_PLAN, sizeof e->plan_id, e->plan_id);
    pp_store_copy_id(stmt, C_HASH, sizeof e->program_hash, e->program_hash);
    pp_store_copy_id(stmt, C_CALIBRATION, sizeof e->calibration_id, e->calibration_id);
    e->workload = pp_store_copy_text(stmt, C_WORKLOAD, failed_p);
    e->model_key = pp_store_copy_text(stmt, C_KEY, failed_p);
    e->device = pp_store_copy_text(stmt, C_DEVICE, failed_p);
    e->transport = pp_store_copy_text(stmt, C_TRANSPORT, failed_p);
    e->machine = pp_store_copy_text(stmt, C_MACHINE, failed_p);
    e->options = pp_store_copy_text(stmt, C_OPTIONS, failed_p);
    e->error = pp_store_copy_text(stmt, C_ERROR, failed_p);
    e->number = sqlite3_column_int64(stmt, C_NUMBER);
    e->started_at = sqlite3_column_int64(stmt, C_STARTED);
    bool good = true;
    e->predicted_makespan_ns = pp_store_within(stmt, C_PREDICTED, 0, MAX_STEP, &good);
    return good && find_state((const char *)sqlite3_column_text(stmt, C_STATE), &e->state);
}

static enum pp_status read_row(const struct pp_store *store, sqlite3_stmt *stmt,
                               struct pp_stored_execution *e, struct pp_err *err) {
    bool failed = false;
    struct pp_err cause = {0};
    pp_store_copy_id(stmt, C_ID, sizeof e->id, e->id);
    bool good = read_texts(stmt, e, &failed);
    if (failed) {
        return pp_fail(err, PP_E_NOMEM, "out of memory reading an execution");
    }
    if (!good) {
        return bad_row(store, e->id, "the state", err);
    }
    if (!read_sched(stmt, e, &cause)) {
        return cause.status == PP_E_NOMEM
                   ? pp_fail(err, PP_E_NOMEM, "out of memory for a stored program")
                   : bad_row(store, e->id, "the program", err);
    }
    const char *split = (const char *)sqlite3_column_text(stmt, C_SPLIT);
    if (split != NULL && !read_split(split, e)) {
        return bad_row(store, e->id, "the split", err);
    }
    const char *costs = (const char *)sqlite3_column_text(stmt, C_COSTS);
    if (costs != NULL && !read_costs(costs, e)) {
        return bad_row(store, e->id, "the costs", err);
    }
    return PP_OK;
}

static enum pp_status none(const struct pp_store *store, const char *id, struct pp_err *err) {
    pp_fail(err, PP_E_NOT_FOUND, "%s holds no execution%s%s", store->path, id == NULL ? "" : " ",
            id == NULL ? "" : id);
    pp_hint(err, "`pipeplan run --db %s --plan ID` makes one", store->path);
    return PP_E_NOT_FOUND;
}

enum pp_status pp_store_read_execution(struct pp_store *store, const char *id,
                                       struct pp_stored_execution *execution_p,
                                       struct pp_err *err) {
    static const char sql[] =
        "SELECT number, execution_id, plan_id, program_hash, workload, model_key, split, device, "
        "transport, machine, options, coalesce(predicted_makespan_ns, 0), calibration_id, "
        "costs, started_at, state, error, rank_count, stage_count, microbatch_count, part_count, "
        "slice_count, stage_ranks, message_bytes, schedule_text "
        "FROM executions JOIN programs USING (program_hash) "
        "WHERE ?1 IS NULL OR substr(execution_id, 1, length(?1)) = ?1 "
        "ORDER BY number DESC LIMIT iif(?1 IS NULL, 1, 2)";
    if (id != NULL) {
        PP_TRY(pp_store_check_id(id, "execution", err));
    }
    if (!holds_executions(store)) {
        return none(store, id, err);
    }
    sqlite3_stmt *stmt = NULL;
    struct pp_stored_execution e = {0};
    PP_TRY(pp_store_prepare(store, sql, &stmt, err));
    sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
    enum pp_status status =
        pp_store_step_one(store, stmt, "execution", id == NULL ? "yet" : id, err);
    if (status == PP_OK) {
        status = read_row(store, stmt, &e, err);
    }
    if (status == PP_OK) {
        status = pp_store_check_unique(store, stmt, "execution", id, err);
    }
    sqlite3_finalize(stmt);
    if (status == PP_OK) {
        status = read_steps(store, &e, err);
    }
    if (status != PP_OK) {
        pp_stored_execution_deinit(&e);
        return status;
    }
    *execution_p = e;
    return PP_OK;
}

/* ---- what it measured ---- */

static int64_t magnitude(int64_t ns) {
    return ns < 0 ? -ns : ns;
}

/* The next sample, which must be of the action `at`. @param left_p  what the samples that follow
 * may take and wait altogether, so that no sum of a trace's times leaves 64 bits */
static bool read_sample(sqlite3_stmt *stmt, const struct pp_sched *s, int32_t at,
                        struct pp_trace *t, int64_t *left_p, bool *queued_p) {
    bool good = at < s->action_count;
    enum pp_action_type type;
    if (!good || !find_type((const char *)sqlite3_column_text(stmt, 2), &type)) {
        return false;
    }
    const struct pp_action *a = &s->actions[at];
    t->start_ns[at] = pp_store_within(stmt, 6, -MAX_SAMPLE, MAX_SAMPLE, &good);
    t->end_ns[at] = pp_store_within(stmt, 7, t->start_ns[at], MAX_SAMPLE, &good);
    *queued_p = *queued_p && sqlite3_column_type(stmt, 5) != SQLITE_NULL;
    t->queue_ns[at] = pp_store_within(stmt, 5, -MAX_SAMPLE, MAX_SAMPLE, &good);
    *left_p -= t->end_ns[at] - t->start_ns[at] + magnitude(t->start_ns[at] - t->queue_ns[at]);
    int32_t microbatch =
        sqlite3_column_type(stmt, 4) == SQLITE_NULL ? -1 : sqlite3_column_int(stmt, 4);
    return good && *left_p >= 0 && sqlite3_column_int64(stmt, 0) == at && type == a->type &&
           sqlite3_column_int64(stmt, 1) == s->stage_rank[a->stage] &&
           sqlite3_column_int64(stmt, 3) == a->stage && microbatch == a->microbatch;
}

static enum pp_status read_samples(const struct pp_store *store,
                                   const struct pp_stored_execution *e, int64_t step,
                                   struct pp_trace *t, struct pp_err *err) {
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(store,
                            "SELECT action, rank, type, stage, microbatch, queue_ns, start_ns, "
                            "end_ns FROM sample_rows WHERE execution = ?1 AND step = ?2 "
                            "ORDER BY action",
                            &stmt, err));
    sqlite3_bind_int64(stmt, 1, e->number);
    sqlite3_bind_int64(stmt, 2, step);
    int code = SQLITE_DONE;
    int32_t count = 0;
    int64_t left_ns = INT64_MAX / 2;
    bool good = true;
    bool queued = true;
    while (good && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        good = read_sample(stmt, e->sched, count++, t, &left_ns, &queued);
    }
    enum pp_status status = PP_OK;
    if (good && code != SQLITE_DONE) {
        status = pp_store_fail(store, "read the samples", err);
    } else if (!good || (count > 0 && count != e->sched->action_count)) {
        status = bad_row(store, e->id, "a sample", err);
    } else if (count == 0) {
        status = pp_fail(err, PP_E_NOT_FOUND, "execution %s has no trace of step %lld", e->id,
                         (long long)step);
        pp_hint(err, "the table execution_steps lists its steps, the view samples those with one");
    }
    sqlite3_finalize(stmt);
    if (!queued) {
        t->queue_ns = NULL; /* part of the same block of memory */
    }
    return status;
}

enum pp_status pp_store_read_trace(struct pp_store *store,
                                   const struct pp_stored_execution *execution, int64_t step,
                                   struct pp_trace *trace_p, struct pp_err *err) {
    struct pp_trace t = {0};
    PP_TRY(pp_trace_init_queued(&t, execution->sched, err));
    enum pp_status status = read_samples(store, execution, step, &t, err);
    if (status != PP_OK) {
        pp_trace_deinit(&t);
        return status;
    }
    *trace_p = t;
    return PP_OK;
}

enum pp_status pp_store_read_profile(struct pp_store *store,
                                     const struct pp_stored_execution *execution,
                                     struct pp_profile_row **rows_p, int32_t *count_p,
                                     struct pp_err *err) {
    sqlite3_stmt *stmt = NULL;
    struct pp_profile_row *rows = NULL;
    int32_t count = 0;
    bool good = true;
    int code = SQLITE_DONE;
    PP_TRY(pp_store_prepare(store,
                            "SELECT module, type, median_ns, spread_ns, count, count(*) OVER () "
                            "FROM profiles WHERE execution = ?1 ORDER BY module, type",
                            &stmt, err));
    sqlite3_bind_int64(stmt, 1, execution->number);
    while (good && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (rows == NULL) {
            rows = calloc((size_t)sqlite3_column_int64(stmt, 5), sizeof *rows);
        }
        if (rows == NULL) {
            break;
        }
        struct pp_profile_row *r = &rows[count++];
        r->module = (int32_t)pp_store_within(stmt, 0, PP_MODULE_EMBEDDING, MAX_MODULE, &good);
        r->median_ns = pp_store_within(stmt, 2, 0, PP_COST_MAX_NS, &good);
        r->spread_ns = pp_store_within(stmt, 3, 0, PP_COST_MAX_NS, &good);
        r->count = (int32_t)pp_store_within(stmt, 4, 0, INT32_MAX, &good);
        good = good && find_type((const char *)sqlite3_column_text(stmt, 1), &r->type) &&
               r->type <= PP_W;
    }
    enum pp_status status = PP_OK;
    if (!good) {
        status = bad_row(store, execution->id, "a profile row", err);
    } else if (code == SQLITE_ROW) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for a profile");
    } else if (code != SQLITE_DONE) {
        status = pp_store_fail(store, "read the profiles", err);
    }
    sqlite3_finalize(stmt);
    if (status != PP_OK) {
        free(rows);
        return status;
    }
    *rows_p = rows;
    *count_p = count;
    return PP_OK;
}

/* ---- lists ---- */

static bool read_summary(sqlite3_stmt *stmt, struct pp_execution_summary *s) {
    bool good = true;
    pp_store_copy_id(stmt, 0, sizeof s->id, s->id);
    pp_store_copy_id(stmt, 1, sizeof s->plan_id, s->plan_id);
    pp_store_copy_id(stmt, 2, sizeof s->program_hash, s->program_hash);
    pp_store_copy_id(stmt, 3, sizeof s->workload, s->workload);
    pp_store_copy_id(stmt, 4, sizeof s->device, s->device);
    pp_store_copy_id(stmt, 5, sizeof s->transport, s->transport);
    s->started_at = sqlite3_column_int64(stmt, 7);
    s->step_count = pp_store_within(stmt, 8, 0, MAX_STEP, &good);
    s->trace_count = pp_store_within(stmt, 9, 0, MAX_STEP, &good);
    return good && find_state((const char *)sqlite3_column_text(stmt, 6), &s->state);
}

enum pp_status pp_store_list_executions(struct pp_store *store,
                                        struct pp_execution_summary **list_p, int32_t *count_p,
                                        struct pp_err *err) {
    static const char sql[] =
        "SELECT execution_id, plan_id, program_hash, workload, device, transport, state, "
        "started_at, (SELECT count(*) FROM execution_steps AS s WHERE s.execution = number), "
        "(SELECT total(has_trace) FROM execution_steps AS s WHERE s.execution = number), "
        "count(*) OVER () FROM executions ORDER BY number";
    struct pp_execution_summary *list = NULL;
    sqlite3_stmt *stmt = NULL;
    int32_t count = 0;
    if (holds_executions(store)) {
        PP_TRY(pp_store_prepare(store, sql, &stmt, err));
    }
    enum pp_status status = PP_OK;
    int code = SQLITE_DONE;
    while (status == PP_OK && stmt != NULL && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (list == NULL) {
            list = calloc((size_t)sqlite3_column_int64(stmt, 10), sizeof *list);
        }
        if (list == NULL) {
            status = pp_fail(err, PP_E_NOMEM, "out of memory listing the executions");
        } else if (!read_summary(stmt, &list[count++])) {
            status = bad_row(store, list[count - 1].id, "the state", err);
        }
    }
    if (status == PP_OK && code != SQLITE_DONE) {
        status = pp_store_fail(store, "list the executions", err);
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

static enum pp_status count_ids(const struct pp_store *store, const char *sql, const char *id,
                                int32_t *count_p, struct pp_err *err) {
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(store, sql, &stmt, err));
    sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC);
    enum pp_status status = PP_OK;
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        *count_p = sqlite3_column_int(stmt, 0);
    } else {
        status = pp_store_fail(store, "read the database", err);
    }
    sqlite3_finalize(stmt);
    return status;
}

enum pp_status pp_store_count_ids(struct pp_store *store, const char *id, int32_t *plan_count_p,
                                  int32_t *execution_count_p, struct pp_err *err) {
    *plan_count_p = 0;
    *execution_count_p = 0;
    if (!pp_store_is_id(id)) {
        return PP_OK;
    }
    PP_TRY(count_ids(store,
                     "SELECT count(*) FROM plan_rows WHERE substr(plan_id, 1, length(?1)) = ?1", id,
                     plan_count_p, err));
    return holds_executions(store) ? count_ids(store,
                                               "SELECT count(*) FROM executions WHERE "
                                               "substr(execution_id, 1, length(?1)) = ?1",
                                               id, execution_count_p, err)
                                   : PP_OK;
}
