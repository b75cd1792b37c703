/**
 * @file store.h
 * Plans in SQLite: every planning run with its exact inputs, every plan with its figures.
 *
 * Tables (schema.sql): `runs` one row a planning run, `plan_rows` one a plan, `stage_costs` what
 * the stages of a plan cost (shared by plans that cut the model the same way); view `plans` for
 * people and other programs, arrays as JSON text. Ids derive from content, so the same command
 * twice stores nothing twice. A run is one transaction: it is there whole or not at all. One thread
 * a store. What was executed and learned from it lies beside them: execution.h, calibration.h.
 */
#ifndef PP_SIM_STORE_H
#define PP_SIM_STORE_H

#include "sim/plan.h"

struct pp_store;

/**
 * Opens for reading and writing, creating the database if there is none.
 * @return PP_OK, PP_E_STORE (not a database, another program's, written by a newer pipeplan, not
 *         writable, locked, disk full)
 */
enum pp_status pp_store_open(const char *path, struct pp_store **store_p, struct pp_err *err);

/** Opens an existing database for reading only. @return as pp_store_open; missing: PP_E_STORE */
enum pp_status pp_store_open_read(const char *path, struct pp_store **store_p, struct pp_err *err);
void pp_store_close(struct pp_store *store);

/** Everything a planning run was given, verbatim. Texts may be NULL where there is none. */
struct pp_run_inputs {
    const char *recipe_path;
    const char *recipe_text; /* the file, before --set */
    const char *settings;    /* JSON array of "key=value" */
    const char *model_name;  /* catalogue id or path */
    const char *model_text;  /* config.json as given with --model; NULL: from the catalogue */
    const char *hardware_name;
    const char *hardware_text;
    const char *csv_text; /* the recipe's pp_schedule_csv */
    int64_t gpu_count;
    int32_t layers; /* --layers; 0 = not given */
    bool search_pp;
};

/** Id of a run, from its inputs and this program's version. @param id_p  [33] */
enum pp_status pp_run_id(const struct pp_run_inputs *inputs, char id_p[33], struct pp_err *err);

/**
 * Stores a run and its plans in one transaction.
 * @param stop     nonzero rolls back; may be NULL
 * @param added_p  false if the run was there already; may be NULL
 * @return PP_OK, PP_E_STORE, PP_E_INTERRUPTED, PP_E_NOMEM
 */
enum pp_status pp_store_add_run(struct pp_store *store, const struct pp_run_inputs *inputs,
                                const struct pp_recipe *recipe, const struct pp_plan_set *set,
                                const char *run_id, const volatile sig_atomic_t *stop,
                                bool *added_p, struct pp_err *err);

/** A run as stored. Strings are owned; free with pp_stored_run_deinit. */
struct pp_stored_run {
    char run_id[33];
    char *recipe_path, *recipe_text, *settings, *csv_text; /* NULL where there is none */
    char current_id[33], best_id[33];                      /* empty where there is none */
    int64_t limit_bytes;
};
void pp_stored_run_deinit(struct pp_stored_run *run);

/** @param id  a run id or a unique beginning of one; NULL: the run stored last.
 *  @return PP_OK, PP_E_NOT_FOUND, PP_E_STORE, PP_E_NOMEM */
enum pp_status pp_store_read_run(struct pp_store *store, const char *id,
                                 struct pp_stored_run *run_p, struct pp_err *err);

/** The model a planning run was given. Strings are fresh memory, free with free(); *text_p is NULL
 *  where it came from the catalogue, *name_p where none was named.
 *  @param layers_p  --layers; 0: not given
 *  @return PP_OK, PP_E_NOT_FOUND, PP_E_STORE, PP_E_NOMEM */
enum pp_status pp_store_read_model(struct pp_store *store, const char *run_id, char **name_p,
                                   char **text_p, int32_t *layers_p, struct pp_err *err);

/** One plan with its stage costs and the run it belongs to. Free with pp_plan_deinit.
 *  @param id  a plan id or a unique beginning of one
 *  @return PP_OK, PP_E_NOT_FOUND, PP_E_STORE (a row that cannot be read back), PP_E_NOMEM */
enum pp_status pp_store_read_plan(struct pp_store *store, const char *id, struct pp_plan *plan_p,
                                  char run_id_p[33], struct pp_err *err);

/** What a list needs of each plan of a run, in ranked order. */
struct pp_plan_summary {
    char plan_id[33];
    char schedule[32];
    int64_t step_ns, max_peak_bytes; /* 0 where unknown */
    bool fits;
};
/** @param list_p  free with free() */
enum pp_status pp_store_list_plans(struct pp_store *store, const char *run_id,
                                   struct pp_plan_summary **list_p, int32_t *count_p,
                                   struct pp_err *err);

/** The "--key=value" overrides of a stored plan, as a JSON array. Free with free(). */
enum pp_status pp_store_read_overrides(struct pp_store *store, const char *plan_id, char **json_p,
                                       struct pp_err *err);

#endif
