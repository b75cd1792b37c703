/* Storing executions: programs, steps, samples. One transaction a call. */
#include "sim/execution.h"
#include "sim/schedule_csv.h"
#include "sim/store_priv.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct pp_execution {
    struct pp_store *store;
    int64_t number;
    char id[33];
    sqlite3_stmt *insert_step, *insert_sample, *insert_profile, *update_state;
};

const char *pp_execution_state_text(enum pp_execution_state state) {
    static const char *const texts[PP_EXECUTION_STATE_COUNT] = {
#define STATE_TEXT(name, text) [name] = text,
        PP_EXECUTION_STATE_LIST(STATE_TEXT)
#undef STATE_TEXT
    };
    PP_ASSERT((unsigned)state < PP_EXECUTION_STATE_COUNT);
    return texts[state];
}

/* Values of one row, bound from the first parameter on. */
struct row {
    sqlite3_stmt *stmt;
    int next;
    bool failed;
};

static struct row begin_row(sqlite3_stmt *stmt) {
    return (struct row){.stmt = stmt, .next = 1};
}

static void add_int(struct row *r, bool known, int64_t value) {
    int code =
        known ? sqlite3_bind_int64(r->stmt, r->next, value) : sqlite3_bind_null(r->stmt, r->next);
    r->next++;
    r->failed = r->failed || code != SQLITE_OK;
}

/* The text must stay as it is until the row is put. */
static void add_text(struct row *r, const char *text) {
    int code = text == NULL
                   ? sqlite3_bind_null(r->stmt, r->next)
                   : sqlite3_bind_text(r->stmt, r->next, text, (int)strlen(text), SQLITE_STATIC);
    r->next++;
    r->failed = r->failed || code != SQLITE_OK;
}

static void add_real(struct row *r, bool known, double value) {
    int code =
        known ? sqlite3_bind_double(r->stmt, r->next, value) : sqlite3_bind_null(r->stmt, r->next);
    r->next++;
    r->failed = r->failed || code != SQLITE_OK;
}

static enum pp_status put(const struct row *r, const struct pp_store *store, struct pp_err *err) {
    if (r->failed) {
        return pp_fail(err, PP_E_NOMEM, "out of memory storing an execution");
    }
    int code = sqlite3_step(r->stmt);
    enum pp_status status =
        code == SQLITE_DONE ? PP_OK : pp_store_fail(store, "store the execution", err);
    sqlite3_reset(r->stmt);
    return status;
}

/* ---- programs ---- */

static enum pp_status put_program(const struct pp_store *store, const char *hash,
                                  const struct pp_sched *s, const char *stage_ranks,
                                  const char *message_bytes, const char *csv, struct pp_err *err) {
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(
        store, "INSERT OR IGNORE INTO programs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", &stmt, err));
    struct row r = begin_row(stmt);
    add_text(&r, hash);
    add_int(&r, true, s->rank_count);
    add_int(&r, true, s->stage_count);
    add_int(&r, true, s->microbatch_count);
    add_int(&r, true, s->part_count);
    add_int(&r, true, s->slice_count);
    add_text(&r, stage_ranks);
    add_text(&r, message_bytes);
    add_text(&r, csv);
    enum pp_status status = put(&r, store, err);
    sqlite3_finalize(stmt);
    return status;
}

/* One that was there already must be the same: what is stored of its executions has its counts. */
static enum pp_status check_program(const struct pp_store *store, const char *hash,
                                    const struct pp_sched *s, const char *csv, struct pp_err *err) {
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(store,
                            "SELECT rank_count = ?2 AND stage_count = ?3 AND microbatch_count = ?4 "
                            "AND part_count = ?5 AND slice_count = ?6 AND schedule_text = ?7 "
                            "FROM programs WHERE program_hash = ?1",
                            &stmt, err));
    struct row r = begin_row(stmt);
    add_text(&r, hash);
    add_int(&r, true, s->rank_count);
    add_int(&r, true, s->stage_count);
    add_int(&r, true, s->microbatch_count);
    add_int(&r, true, s->part_count);
    add_int(&r, true, s->slice_count);
    add_text(&r, csv);
    enum pp_status status = PP_OK;
    if (r.failed) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory storing a program");
    } else if (sqlite3_step(stmt) != SQLITE_ROW) {
        status = pp_store_fail(store, "read the programs", err);
    } else if (sqlite3_column_int(stmt, 0) != 1) {
        status = pp_store_bad_row(store, "the schedule", "program", hash, err);
    }
    sqlite3_finalize(stmt);
    return status;
}

enum pp_status pp_store_add_program(struct pp_store *store, const char *hash,
                                    const struct pp_sched *lowered, const int64_t *message_bytes,
                                    struct pp_err *err) {
    PP_ASSERT(lowered->sealed && lowered->lowered && strlen(hash) == 64);
    struct pp_text ranks = {0};
    struct pp_text bytes = {0};
    struct pp_text csv = {0};
    pp_store_put_i32s(&ranks, lowered->stage_rank, lowered->stage_count);
    if (message_bytes != NULL) {
        pp_store_put_i64s(&bytes, message_bytes, lowered->stage_count);
    } else {
        pp_text_puts(&bytes, "[0");
        for (int32_t s = 1; s < lowered->stage_count; s++) {
            pp_text_puts(&bytes, ",0");
        }
        pp_text_puts(&bytes, "]");
    }
    enum pp_status status = pp_sched_csv_write(lowered, &csv, err);
    if (status == PP_OK && (ranks.failed || bytes.failed)) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory storing a program");
    }
    if (status == PP_OK) {
        status = put_program(store, hash, lowered, ranks.bytes, bytes.bytes, csv.bytes, err);
    }
    if (status == PP_OK) {
        status = check_program(store, hash, lowered, csv.bytes, err);
    }
    pp_text_free(&ranks);
    pp_text_free(&bytes);
    pp_text_free(&csv);
    return status;
}

/* ---- beginning ---- */

const struct pp_cost_field pp_costs_arrays[PP_COSTS_ARRAYS] = {
    {"f_ns", offsetof(struct pp_costs, f_ns)},
    {"i_ns", offsetof(struct pp_costs, i_ns)},
    {"w_ns", offsetof(struct pp_costs, w_ns)},
    {"b_ns", offsetof(struct pp_costs, b_ns)},
    {"pair_ns", offsetof(struct pp_costs, pair_ns)},
    {"recv_f_ns", offsetof(struct pp_costs, recv_f_ns)},
    {"recv_b_ns", offsetof(struct pp_costs, recv_b_ns)},
    {"offload_ns", offsetof(struct pp_costs, offload_ns)},
};

_Static_assert(PP_COSTS_ARRAYS * sizeof(int64_t *) == sizeof(struct pp_costs),
               "an array of struct pp_costs is not stored");

/* An object of those that are there. */
static void put_costs(struct pp_text *t, const struct pp_costs *costs, int32_t count) {
    const char *between = "{";
    for (int i = 0; i < PP_COSTS_ARRAYS; i++) {
        const int64_t *values;
        memcpy(&values, (const char *)costs + pp_costs_arrays[i].offset, sizeof values);
        if (values != NULL) {
            pp_text_printf(t, "%s\"%s\":", between, pp_costs_arrays[i].name);
            pp_store_put_i64s(t, values, count);
            between = ",";
        }
    }
    pp_text_puts(t, "}");
}

static void put_split(struct pp_text *t, const struct pp_split_stage *split, int32_t count) {
    for (int32_t s = 0; s < count; s++) {
        pp_text_printf(t, "%s[%d,%d,%d,%d]", s == 0 ? "[" : ",", split[s].embedding,
                       split[s].layer_begin, split[s].layer_end, split[s].head);
    }
    pp_text_puts(t, "]");
}

static enum pp_status read_stage_count(const struct pp_store *store, const char *hash,
                                       int32_t *count_p, struct pp_err *err) {
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(store, "SELECT stage_count FROM programs WHERE program_hash = ?", &stmt,
                            err));
    sqlite3_bind_text(stmt, 1, hash, -1, SQLITE_STATIC);
    enum pp_status status = PP_OK;
    switch (sqlite3_step(stmt)) {
    case SQLITE_ROW:
        *count_p = sqlite3_column_int(stmt, 0);
        break;
    case SQLITE_DONE:
        status = pp_fail(err, PP_E_STORE, "%s holds no program %.12s", store->path, hash);
        pp_hint(err, "programs are stored before the executions that run them");
        break;
    default:
        status = pp_store_fail(store, "read the programs", err);
    }
    sqlite3_finalize(stmt);
    return status;
}

/* The first id, from the inputs and a count, that no execution has. */
static enum pp_status find_id(const struct pp_store *store, const struct pp_execution_inputs *in,
                              const char *split, const char *costs, char id_p[33],
                              struct pp_err *err) {
    const char *const texts[] = {
        in->program_hash, in->plan_id, in->workload, in->model_key,      split, in->device,
        in->transport,    in->machine, in->options,  in->calibration_id, costs};
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(store, "SELECT 1 FROM executions WHERE execution_id = ?", &stmt, err));
    enum pp_status status = PP_OK;
    int code = SQLITE_ROW;
    for (int64_t same = 0; status == PP_OK && code == SQLITE_ROW; same++) {
        struct pp_text t = {0};
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            pp_store_add_input(&t, texts[i]);
        }
        pp_text_printf(&t, "%lld;%lld", (long long)in->started_at, (long long)same);
        status = pp_store_make_id(&t, id_p, err);
        pp_text_free(&t);
        sqlite3_reset(stmt);
        sqlite3_bind_text(stmt, 1, id_p, -1, SQLITE_STATIC);
        code = status == PP_OK ? sqlite3_step(stmt) : SQLITE_DONE;
    }
    if (status == PP_OK && code != SQLITE_DONE) {
        status = pp_store_fail(store, "read the executions", err);
    }
    sqlite3_finalize(stmt);
    return status;
}

static enum pp_status put_execution(struct pp_execution *e, const struct pp_execution_inputs *in,
                                    const char *split, const char *costs, struct pp_err *err) {
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(e->store,
                            "INSERT INTO executions VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                            "?, ?, ?, ?, 'running', NULL)",
                            &stmt, err));
    struct row r = begin_row(stmt);
    add_text(&r, e->id);
    add_text(&r, in->plan_id);
    add_text(&r, in->program_hash);
    add_text(&r, in->workload);
    add_text(&r, in->model_key);
    add_text(&r, split);
    add_text(&r, in->device);
    add_text(&r, in->transport);
    add_text(&r, in->machine);
    add_text(&r, in->options == NULL ? "{}" : in->options);
    add_int(&r, in->predicted_makespan_ns > 0, in->predicted_makespan_ns);
    add_text(&r, in->calibration_id);
    add_text(&r, costs);
    add_int(&r, true, in->started_at);
    enum pp_status status = put(&r, e->store, err);
    e->number = sqlite3_last_insert_rowid(e->store->db);
    sqlite3_finalize(stmt);
    return status;
}

static enum pp_status prepare_all(struct pp_execution *e, struct pp_err *err) {
    PP_TRY(pp_store_prepare(e->store, "INSERT INTO execution_steps VALUES (?, ?, ?, ?, ?, ?)",
                            &e->insert_step, err));
    PP_TRY(pp_store_prepare(e->store,
                            "INSERT INTO sample_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                            &e->insert_sample, err));
    PP_TRY(pp_store_prepare(e->store, "INSERT OR REPLACE INTO profiles VALUES (?, ?, ?, ?, ?, ?)",
                            &e->insert_profile, err));
    return pp_store_prepare(e->store, "UPDATE executions SET state = ?, error = ? WHERE number = ?",
                            &e->update_state, err);
}

static enum pp_status begin(struct pp_execution *e, const struct pp_execution_inputs *in,
                            struct pp_err *err) {
    struct pp_text split = {0};
    struct pp_text costs = {0};
    int32_t stage_count = 0;
    PP_TRY(prepare_all(e, err));
    PP_TRY(pp_store_exec(e->store, "BEGIN IMMEDIATE", err));
    enum pp_status status = read_stage_count(e->store, in->program_hash, &stage_count, err);
    if (status == PP_OK && in->split != NULL) {
        put_split(&split, in->split, stage_count);
    }
    if (status == PP_OK && in->costs != NULL) {
        put_costs(&costs, in->costs, stage_count);
    }
    if (status == PP_OK && (split.failed || costs.failed)) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory storing an execution");
    }
    if (status == PP_OK) {
        status = find_id(e->store, in, split.bytes, costs.bytes, e->id, err);
    }
    if (status == PP_OK) {
        status = put_execution(e, in, split.bytes, costs.bytes, err);
    }
    pp_text_free(&split);
    pp_text_free(&costs);
    return pp_store_end(e->store, status, err);
}

enum pp_status pp_execution_begin(struct pp_store *store, const struct pp_execution_inputs *inputs,
                                  struct pp_execution **execution_p, struct pp_err *err) {
    struct pp_execution *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for an execution");
    }
    e->store = store;
    enum pp_status status = begin(e, inputs, err);
    if (status != PP_OK) {
        pp_execution_close(e);
        return status;
    }
    *execution_p = e;
    return PP_OK;
}

const char *pp_execution_id(const struct pp_execution *execution) {
    return execution->id;
}

void pp_execution_close(struct pp_execution *e) {
    if (e != NULL) {
        sqlite3_finalize(e->insert_step);
        sqlite3_finalize(e->insert_sample);
        sqlite3_finalize(e->insert_profile);
        sqlite3_finalize(e->update_state);
        free(e);
    }
}

/* ---- what it measures ---- */

static int64_t last_end_ns(const struct pp_trace *t) {
    int64_t last = 0;
    for (int32_t at = 0; at < t->sched->action_count; at++) {
        last = pp_max_i64(last, t->end_ns[at]);
    }
    return last;
}

static enum pp_status put_samples(const struct pp_execution *e, int64_t step,
                                  const struct pp_trace *t, struct pp_err *err) {
    const struct pp_sched *s = t->sched;
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        struct row r = begin_row(e->insert_sample);
        add_int(&r, true, e->number);
        add_int(&r, true, step);
        add_int(&r, true, at);
        add_int(&r, true, s->stage_rank[a->stage]);
        add_text(&r, pp_action_type_text(a->type));
        add_int(&r, true, a->stage);
        add_int(&r, a->microbatch >= 0, a->microbatch);
        add_int(&r, t->queue_ns != NULL, t->queue_ns == NULL ? 0 : t->queue_ns[at]);
        add_int(&r, true, t->start_ns[at]);
        add_int(&r, true, t->end_ns[at]);
        PP_TRY(put(&r, e->store, err));
    }
    return PP_OK;
}

enum pp_status pp_execution_add_step(struct pp_execution *e, const struct pp_execution_step *step,
                                     struct pp_err *err) {
    const struct pp_trace *t = step->trace;
    PP_TRY(pp_store_exec(e->store, "BEGIN IMMEDIATE", err));
    struct row r = begin_row(e->insert_step);
    add_int(&r, true, e->number);
    add_int(&r, true, step->step);
    add_real(&r, step->has_loss, step->loss);
    add_int(&r, t != NULL, t == NULL ? 0 : last_end_ns(t));
    add_int(&r, true, step->wall_ns);
    add_int(&r, true, t != NULL && step->keep_trace);
    enum pp_status status = put(&r, e->store, err);
    if (status == PP_OK && t != NULL && step->keep_trace) {
        status = put_samples(e, step->step, t, err);
    }
    return pp_store_end(e->store, status, err);
}

enum pp_status pp_execution_add_profile(struct pp_execution *e, const struct pp_profile_row *rows,
                                        int32_t count, struct pp_err *err) {
    PP_TRY(pp_store_exec(e->store, "BEGIN IMMEDIATE", err));
    enum pp_status status = PP_OK;
    for (int32_t i = 0; status == PP_OK && i < count; i++) {
        struct row r = begin_row(e->insert_profile);
        add_int(&r, true, e->number);
        add_int(&r, true, rows[i].module);
        add_text(&r, pp_action_type_text(rows[i].type));
        add_int(&r, true, rows[i].median_ns);
        add_int(&r, true, rows[i].spread_ns);
        add_int(&r, true, rows[i].count);
        status = put(&r, e->store, err);
    }
    return pp_store_end(e->store, status, err);
}

enum pp_status pp_execution_end(struct pp_execution *e, enum pp_execution_state state,
                                const char *error, struct pp_err *err) {
    struct row r = begin_row(e->update_state);
    add_text(&r, pp_execution_state_text(state));
    add_text(&r, error);
    add_int(&r, true, e->number);
    return put(&r, e->store, err);
}
