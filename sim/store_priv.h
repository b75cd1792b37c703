/* The store's rooms behind store.h. */
#ifndef PP_SIM_STORE_PRIV_H
#define PP_SIM_STORE_PRIV_H

#include "sim/store.h"

#include <sqlite3.h>

struct pp_store {
    sqlite3 *db;
    char path[PP_ERR_PLACE_BYTES];
};

/** Records what SQLite says, with advice for the usual causes. @return PP_E_STORE, PP_E_NOMEM */
enum pp_status pp_store_fail(const struct pp_store *store, const char *doing, struct pp_err *err);

enum pp_status pp_store_exec(const struct pp_store *store, const char *sql, struct pp_err *err);
enum pp_status pp_store_prepare(const struct pp_store *store, const char *sql,
                                sqlite3_stmt **stmt_p, struct pp_err *err);

/** Stage costs as columns of integers: the names, and where they lie in struct pp_stage_cost. */
struct pp_cost_field {
    const char *name;
    size_t offset;
};
extern const struct pp_cost_field pp_cost_fields[];
int32_t pp_cost_field_count(void);

#endif
