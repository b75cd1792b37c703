/* The store's rooms behind store.h. */
#ifndef PP_SIM_STORE_PRIV_H
#define PP_SIM_STORE_PRIV_H

#include "sim/store.h"

#include <sqlite3.h>

enum {
    PP_STORE_PLANS = 1,      /* schema version with plans only */
    PP_STORE_EXECUTIONS = 2, /* and executions, calibrations */
};

struct pp_store {
    sqlite3 *db;
    char path[PP_ERR_PLACE_BYTES];
    int64_t version; /* of its schema; PP_STORE_PLANS only where opened for reading */
};

/** Records what SQLite says, with advice for the usual causes. @return PP_E_STORE, PP_E_NOMEM */
enum pp_status pp_store_fail(const struct pp_store *store, const char *doing, struct pp_err *err);

enum pp_status pp_store_exec(const struct pp_store *store, const char *sql, struct pp_err *err);
enum pp_status pp_store_prepare(const struct pp_store *store, const char *sql,
                                sqlite3_stmt **stmt_p, struct pp_err *err);

/** Ends a transaction: COMMIT if `status` is PP_OK, ROLLBACK if not or where COMMIT fails.
 *  @return `status`, or what COMMIT says */
enum pp_status pp_store_end(const struct pp_store *store, enum pp_status status,
                            struct pp_err *err);

/* ---- ids; `what` is "plan", "execution" ... ---- */

/** Up to 32 hex digits, at least one? */
bool pp_store_is_id(const char *id);

/** @return PP_OK, PP_E_NOT_FOUND */
enum pp_status pp_store_check_id(const char *id, const char *what, struct pp_err *err);

/** Steps to the first row. @return PP_OK, PP_E_NOT_FOUND (no row), PP_E_STORE, PP_E_NOMEM */
enum pp_status pp_store_step_one(const struct pp_store *store, sqlite3_stmt *stmt, const char *what,
                                 const char *id, struct pp_err *err);

/** PP_E_NOT_FOUND if there is a second row: more than one id begins with `id`. */
enum pp_status pp_store_check_unique(const struct pp_store *store, sqlite3_stmt *stmt,
                                     const char *what, const char *id, struct pp_err *err);

/** A row that somebody changed. @return PP_E_STORE */
enum pp_status pp_store_bad_row(const struct pp_store *store, const char *column, const char *what,
                                const char *id, struct pp_err *err);

/** Texts that an id is made of: lengths come first, so that no two lists of inputs look alike. */
void pp_store_add_input(struct pp_text *t, const char *input);
/** The id of these texts. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_store_make_id(const struct pp_text *t, char id_p[33], struct pp_err *err);

/* ---- columns ---- */

/** Owned copy of a text; NULL where there is none. Sets *failed_p if out of memory. */
char *pp_store_copy_text(sqlite3_stmt *stmt, int column, bool *failed_p);
/** Copies a text of at most size - 1 bytes; empty where there is none. */
void pp_store_copy_id(sqlite3_stmt *stmt, int column, size_t size, char *id);
/** An integer within [low, high]; else 0, and *good_p turns false. */
int64_t pp_store_within(sqlite3_stmt *stmt, int column, int64_t low, int64_t high, bool *good_p);
/** A JSON array of exactly `count` integers within [low, high]. */
bool pp_store_read_i64s(const char *text, int32_t count, int64_t low, int64_t high,
                        int64_t *values);
/** The same of a column, in fresh memory; NULL if it is no such array, or out of memory. */
int64_t *pp_store_column_i64s(sqlite3_stmt *stmt, int column, int32_t count, int64_t low,
                              int64_t high);
int32_t *pp_store_column_i32s(sqlite3_stmt *stmt, int column, int32_t count, int64_t low,
                              int64_t high);
/** Appends "[1,2]". */
void pp_store_put_i64s(struct pp_text *t, const int64_t *values, int32_t count);
void pp_store_put_i32s(struct pp_text *t, const int32_t *values, int32_t count);

/** Stage costs as columns of integers: the names, and where they lie in struct pp_stage_cost. */
struct pp_cost_field {
    const char *name;
    size_t offset;
};
extern const struct pp_cost_field pp_cost_fields[];
int32_t pp_cost_field_count(void);

/** The arrays of struct pp_costs: their names, and where they lie. */
enum { PP_COSTS_ARRAYS = 8 };
extern const struct pp_cost_field pp_costs_arrays[PP_COSTS_ARRAYS];

#endif
