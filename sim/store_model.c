/* The model of a planning run, for who runs one of its plans. */
#include "sim/store_priv.h"

#include <stdlib.h>

enum pp_status pp_store_read_model(struct pp_store *store, const char *run_id, char **name_p,
                                   char **text_p, int32_t *layers_p, struct pp_err *err) {
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(
        store, "SELECT model_name, model_text, layers FROM runs WHERE run_id = ?1", &stmt, err));
    sqlite3_bind_text(stmt, 1, run_id, -1, SQLITE_STATIC);
    enum pp_status status = PP_OK;
    int code = sqlite3_step(stmt);
    if (code == SQLITE_ROW) {
        bool failed = false;
        char *name = pp_store_copy_text(stmt, 0, &failed);
        char *text = pp_store_copy_text(stmt, 1, &failed);
        if (failed) {
            free(name);
            free(text);
            status = pp_fail(err, PP_E_NOMEM, "out of memory reading the model of a run");
        } else {
            *name_p = name;
            *text_p = text;
            *layers_p = sqlite3_column_int(stmt, 2);
        }
    } else if (code == SQLITE_DONE) {
        status = pp_fail(err, PP_E_NOT_FOUND, "no planning run %.40s in %s", run_id, store->path);
    } else {
        status = pp_store_fail(store, "read the model of a run", err);
    }
    sqlite3_finalize(stmt);
    return status;
}
