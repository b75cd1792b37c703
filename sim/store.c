#include "sim/store_priv.h"

#include "costmodel/embedded.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    APPLICATION_ID = 0x70706c6e, /* "ppln" */
    BUSY_MS = 5000,
};

const struct pp_cost_field pp_cost_fields[] = {
#define FIELD(name)                                                                                \
    { #name, offsetof(struct pp_stage_cost, name) }
    FIELD(f_ns),
    FIELD(i_ns),
    FIELD(w_ns),
    FIELD(f_flops),
    FIELD(i_flops),
    FIELD(w_flops),
    FIELD(recv_ns),
    FIELD(recv_grad_ns),
    FIELD(p2p_bytes),
    FIELD(param_count),
    FIELD(expert_count),
    FIELD(trainable_count),
    FIELD(expert_trainable_count),
    FIELD(weight_bytes),
    FIELD(grad_bytes),
    FIELD(optimizer_bytes),
    FIELD(activation_bytes),
    FIELD(weight_grad_bytes),
    FIELD(f_transient_bytes),
    FIELD(b_transient_bytes),
    FIELD(logits_bytes),
#undef FIELD
};

_Static_assert(sizeof pp_cost_fields / sizeof pp_cost_fields[0] * sizeof(int64_t) ==
                   sizeof(struct pp_stage_cost),
               "a field of struct pp_stage_cost is not stored");

int32_t pp_cost_field_count(void) {
    return (int32_t)(sizeof pp_cost_fields / sizeof pp_cost_fields[0]);
}

static const char *advice(int code) {
    switch (code & 0xff) {
    case SQLITE_FULL:
        return "free some disk space and run the command again; what was stored before is still "
               "there";
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return "check that the folder exists and that it and the file are writable";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "another program holds the database; try again when it is done";
    case SQLITE_IOERR: /* also a full disk, where SQLite's own files beside the database meet it */
        return "the disk may be full or failing; what was stored before is still there";
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return "this is no usable SQLite database; choose another --db file";
    default:
        return "";
    }
}

enum pp_status pp_store_fail(const struct pp_store *store, const char *doing, struct pp_err *err) {
    int code = sqlite3_errcode(store->db);
    if (code == SQLITE_NOMEM) {
        return pp_fail(err, PP_E_NOMEM, "out of memory %s", doing);
    }
    pp_fail(err, PP_E_STORE, "%s: cannot %s: %s", store->path, doing, sqlite3_errmsg(store->db));
    pp_hint(err, "%s", advice(code));
    pp_err_place(err, store->path, 0, 0);
    return PP_E_STORE;
}

enum pp_status pp_store_exec(const struct pp_store *store, const char *sql, struct pp_err *err) {
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? PP_OK
               : pp_store_fail(store, "change the database", err);
}

enum pp_status pp_store_prepare(const struct pp_store *store, const char *sql,
                                sqlite3_stmt **stmt_p, struct pp_err *err) {
    return sqlite3_prepare_v2(store->db, sql, -1, stmt_p, NULL) == SQLITE_OK
               ? PP_OK
               : pp_store_fail(store, "use the tables", err);
}

static enum pp_status read_int(const struct pp_store *store, const char *sql, int64_t *value_p,
                               struct pp_err *err) {
    sqlite3_stmt *stmt = NULL;
    PP_TRY(pp_store_prepare(store, sql, &stmt, err));
    enum pp_status status = PP_OK;
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        *value_p = sqlite3_column_int64(stmt, 0);
    } else {
        status = pp_store_fail(store, "read the database", err);
    }
    sqlite3_finalize(stmt);
    return status;
}

enum pp_status pp_store_end(const struct pp_store *store, enum pp_status status,
                            struct pp_err *err) {
    if (status == PP_OK) {
        status = pp_store_exec(store, "COMMIT", err);
    }
    if (status != PP_OK) {
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return status;
}

/* Brings the tables up to this program's version: all that are missing, or none. Version n is the
 * first n texts of pp_embedded_schema. */
static enum pp_status upgrade_schema(struct pp_store *store, struct pp_err *err) {
    char stamp[96];
    snprintf(stamp, sizeof stamp, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             APPLICATION_ID, PP_STORE_EXECUTIONS);
    int64_t version = 0;
    PP_TRY(pp_store_exec(store, "BEGIN IMMEDIATE", err));
    /* another process may have made the tables while this one waited for the lock */
    enum pp_status status = read_int(store, "PRAGMA user_version", &version, err);
    bool lacks = version < PP_STORE_EXECUTIONS;
    for (; status == PP_OK && version < PP_STORE_EXECUTIONS; version++) {
        status = pp_store_exec(store, pp_embedded_schema[version].text, err);
    }
    if (status == PP_OK && lacks) {
        status = pp_store_exec(store, stamp, err);
    }
    status = pp_store_end(store, status, err);
    store->version = PP_STORE_EXECUTIONS;
    return status;
}

/* Ours, empty, or somebody else's? Another program's database is never touched. */
static enum pp_status check_owner(struct pp_store *store, bool may_create, struct pp_err *err) {
    int64_t tables = 0;
    int64_t owner = 0;
    int64_t version = 0;
    PP_TRY(read_int(store, "SELECT count(*) FROM sqlite_master", &tables, err));
    PP_TRY(read_int(store, "PRAGMA application_id", &owner, err));
    PP_TRY(read_int(store, "PRAGMA user_version", &version, err));
    enum pp_status status = PP_OK;
    if (tables == 0 && owner == 0) {
        if (may_create) {
            return upgrade_schema(store, err);
        }
        status = pp_fail(err, PP_E_STORE, "%s holds no plans", store->path);
        pp_hint(err, "make it with `pipeplan plan RECIPE.yaml --db %s`", store->path);
    } else if (owner != APPLICATION_ID) {
        status = pp_fail(err, PP_E_STORE, "%s is another program's database", store->path);
        pp_hint(err, "choose another --db file; this one was left as it is");
    } else if (version < PP_STORE_PLANS || version > PP_STORE_EXECUTIONS) {
        status = pp_fail(err, PP_E_STORE, "%s has schema version %lld, this pipeplan reads %d",
                         store->path, (long long)version, PP_STORE_EXECUTIONS);
        pp_hint(err, "use the pipeplan that wrote it, or another --db file");
    } else if (version < PP_STORE_EXECUTIONS && may_create) {
        return upgrade_schema(store, err);
    }
    store->version = version;
    pp_err_place(status == PP_OK ? NULL : err, store->path, 0, 0);
    return status;
}

static enum pp_status open_with(const char *path, int flags, bool writes, struct pp_store **store_p,
                                struct pp_err *err) {
    struct pp_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the database");
    }
    pp_copy(store->path, sizeof store->path, path);
    enum pp_status status = PP_OK;
    if (sqlite3_open_v2(path, &store->db, flags | SQLITE_OPEN_EXRESCODE, NULL) != SQLITE_OK) {
        status = pp_store_fail(store, "open the database", err);
    }
    if (status == PP_OK) {
        sqlite3_busy_timeout(store->db, BUSY_MS);
        status = check_owner(store, writes, err);
    }
    if (status == PP_OK && writes) {
        status = pp_store_exec(store, "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON", err);
    }
    if (status != PP_OK) {
        pp_store_close(store);
        return status;
    }
    *store_p = store;
    return PP_OK;
}

enum pp_status pp_store_open(const char *path, struct pp_store **store_p, struct pp_err *err) {
    if (path[0] == '\0' || strcmp(path, ":memory:") == 0) {
        pp_fail(err, PP_E_STORE, "\"%s\" is no file: what it stores would be lost", path);
        pp_hint(err, "name a file, such as plans.db");
        return PP_E_STORE;
    }
    return open_with(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, true, store_p, err);
}

/* May nobody here write into the database's folder? */
static bool is_write_protected(const char *path) {
    struct pp_text folder = {0};
    const char *slash = strrchr(path, '/');
    pp_text_add(&folder, path, slash == NULL ? 0 : (size_t)(slash - path) + 1);
    pp_text_puts(&folder, ".");
    bool is_protected = !folder.failed && access(folder.bytes, W_OK) != 0;
    pp_text_free(&folder);
    return is_protected;
}

/* Opened for writing where that is possible, although nothing is written: the last writer to close
 * removes the files that SQLite keeps beside a database in WAL mode, a reader leaves them. In a
 * folder that is not writable such a database opens only as immutable, which it is there; one
 * that is only busy is not opened so, for its writer is at work. */
enum pp_status pp_store_open_read(const char *path, struct pp_store **store_p, struct pp_err *err) {
    if (access(path, F_OK) != 0 &&
        errno == ENOENT) { /* of "", too, which SQLite takes for a new one */
        pp_fail(err, PP_E_STORE, "there is no database \"%s\"", path);
        pp_hint(err, "`pipeplan plan RECIPE.yaml --db FILE` makes one");
        return PP_E_STORE;
    }
    enum pp_status status = open_with(path, SQLITE_OPEN_READWRITE, false, store_p, err);
    bool plain = strpbrk(path, "?#%") == NULL; /* characters that a URI would read otherwise */
    if (status != PP_E_STORE || !plain || !is_write_protected(path)) {
        return status;
    }
    char *uri = sqlite3_mprintf("file:%s?immutable=1", path);
    if (uri != NULL &&
        open_with(uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, false, store_p, NULL) == PP_OK) {
        status = PP_OK;
    }
    sqlite3_free(uri);
    return status;
}

void pp_store_close(struct pp_store *store) {
    if (store != NULL) {
        sqlite3_close(store->db);
        free(store);
    }
}
