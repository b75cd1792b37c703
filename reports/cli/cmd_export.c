/* pipeplan export: a stored plan in the words of those who run it. */
#include "reports/cli/cli.h"
#include "reports/cli/plan_inputs.h"
#include "reports/cli/sched_warnings.h"
#include "reports/json.h"
#include "reports/stored_plan.h"
#include "sim/lower.h"
#include "sim/schedule_csv.h"

#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 128 };

static enum pp_status unreadable(const struct pp_stored_plan *stored, const char *what,
                                 struct pp_err *err) {
    pp_fail(err, PP_E_STORE, "%s of plan %s cannot be read back", what, stored->plan.id);
    pp_hint(err, "the database was changed from outside; plan again into a new one");
    return PP_E_STORE;
}

/* A stored JSON array of "key=value". */
static enum pp_status parse_list(const struct pp_stored_plan *stored, const char *text,
                                 const char *what, json_t **list_p, struct pp_err *err) {
    json_t *list = json_loads(text, 0, NULL);
    bool good = json_is_array(list);
    for (size_t i = 0; good && i < json_array_size(list); i++) {
        const char *item = json_string_value(json_array_get(list, i));
        good = item != NULL && strchr(item, '=') != NULL;
    }
    if (!good) {
        json_decref(list);
        return unreadable(stored, what, err);
    }
    *list_p = list;
    return PP_OK;
}

static enum pp_status read_overrides(struct pp_store *store, const struct pp_stored_plan *stored,
                                     json_t **list_p, struct pp_err *err) {
    char *text = NULL;
    PP_TRY(pp_store_read_overrides(store, stored->plan.id, &text, err));
    enum pp_status status = parse_list(stored, text, "overrides", list_p, err);
    free(text);
    return status;
}

static enum pp_status export_csv(struct pp_store *store, const struct pp_stored_plan *stored,
                                 struct pp_text *out, struct pp_err *err) {
    (void)store;
    return pp_sched_csv_write(stored->replay.sched, out, err);
}

static enum pp_status export_csv_comms(struct pp_store *store, const struct pp_stored_plan *stored,
                                       struct pp_text *out, struct pp_err *err) {
    (void)store;
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_TORCH);
    struct pp_sched *lowered = NULL;
    PP_TRY(pp_sched_lower(stored->replay.sched, &options, &lowered, err));
    enum pp_status status = pp_sched_csv_write(lowered, out, err);
    pp_sched_destroy(lowered);
    return status;
}

static enum pp_status export_cli(struct pp_store *store, const struct pp_stored_plan *stored,
                                 struct pp_text *out, struct pp_err *err) {
    json_t *list = NULL;
    PP_TRY(read_overrides(store, stored, &list, err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        pp_text_printf(out, "%s%s", i == 0 ? "" : " ", json_string_value(json_array_get(list, i)));
    }
    pp_text_puts(out, "\n");
    json_decref(list);
    return PP_OK;
}

/* Writes the recipe with the run's own settings and then the plan's overrides. */
static enum pp_status rewrite(const struct pp_stored_plan *stored, const json_t *settings,
                              const json_t *overrides, struct pp_text *out, struct pp_err *err) {
    const struct pp_stored_run *run = &stored->run;
    size_t own = json_array_size(settings);
    size_t n = own + json_array_size(overrides);
    struct pp_setting *changes = calloc(n + 1, sizeof *changes);
    char(*keys)[KEY_BYTES] = calloc(n + 1, sizeof *keys);
    struct pp_doc *doc = NULL;
    enum pp_status status = changes == NULL || keys == NULL
                                ? pp_fail(err, PP_E_NOMEM, "out of memory for the overrides")
                                : PP_OK;
    for (size_t i = 0; status == PP_OK && i < n; i++) {
        const char *text = json_string_value(i < own ? json_array_get(settings, i)
                                                     : json_array_get(overrides, i - own));
        if (pp_setting_parse(text, keys[i], KEY_BYTES, &changes[i], NULL) != PP_OK) {
            status = unreadable(stored, "a setting", err);
        }
    }
    if (status == PP_OK) {
        status =
            pp_doc_parse(run->recipe_path, run->recipe_text, strlen(run->recipe_text), &doc, err);
    }
    if (status == PP_OK) {
        status = pp_recipe_rewrite(doc, changes, (int32_t)n, out, err);
    }
    pp_doc_destroy(doc);
    free(changes);
    free(keys);
    return status;
}

static enum pp_status export_yaml(struct pp_store *store, const struct pp_stored_plan *stored,
                                  struct pp_text *out, struct pp_err *err) {
    json_t *overrides = NULL;
    json_t *settings = NULL;
    enum pp_status status = read_overrides(store, stored, &overrides, err);
    if (status == PP_OK) {
        status = parse_list(stored, stored->run.settings, "the settings", &settings, err);
    }
    if (status == PP_OK) {
        status = rewrite(stored, settings, overrides, out, err);
    }
    json_decref(overrides);
    json_decref(settings);
    return status;
}

static const struct format {
    const char *name;
    enum pp_status (*make)(struct pp_store *store, const struct pp_stored_plan *stored,
                           struct pp_text *out, struct pp_err *err);
} formats[] = {
    {"csv", export_csv},             /* PyTorch's compute-only schedule file */
    {"csv-comms", export_csv_comms}, /* its lowered form, with communication */
    {"nemo-cli", export_cli},        /* overrides to paste behind the launch command */
    {"nemo-yaml", export_yaml},      /* the recipe with only the pipeline's keys changed */
};

static const struct format *find_format(const char *name) {
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            return &formats[i];
        }
    }
    return NULL;
}

static enum pp_status answer(struct pp_cli *cli, const char *plan_id, const char *format,
                             const struct pp_sched_warnings *warnings, const struct pp_text *text,
                             struct pp_err *err) {
    if (text->failed) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the export");
    }
    if (cli->json) {
        json_t *document = pp_json_document("export");
        json_object_set_new(document, "plan_id", pp_json_text(plan_id));
        json_object_set_new(document, "format", json_string(format));
        json_object_set_new(document, "warnings", pp_sched_warnings_json(warnings));
        json_object_set_new(document, "text", json_stringn(text->bytes, text->size));
        return pp_cli_answer(cli, document, err);
    }
    pp_sched_warnings_print(cli, warnings);
    fwrite(text->bytes, 1, text->size, cli->out);
    return PP_OK;
}

struct flags {
    const char *db, *plan_id, *format_name;
    bool force;
};

/* A plan may run the recipe's own order, which PyTorch may run and get wrong. */
static enum pp_status check_order(const struct pp_stored_plan *stored, bool force,
                                  struct pp_sched_warnings *warnings, struct pp_err *err) {
    if (stored->csv == NULL) {
        return PP_OK;
    }
    PP_TRY(pp_sched_warn(stored->csv, stored->plan.config.schedule, warnings, err));
    if (warnings->count == 0 || force) {
        return PP_OK;
    }
    pp_fail(err, PP_E_CSV, "the recipe's schedule file: %s: %s", warnings->items[0].code,
            warnings->items[0].message);
    pp_hint(err, "mend the file and plan again; --force exports the plan all the same");
    return PP_E_CSV;
}

static enum pp_status export_plan(struct pp_cli *cli, const struct flags *flags,
                                  const struct format *format, struct pp_err *err) {
    struct pp_store *store = NULL;
    struct pp_stored_plan stored = {0};
    struct pp_sched_warnings warnings = {0};
    struct pp_text text = {0};
    PP_TRY(pp_store_open_read(flags->db, &store, err));
    enum pp_status status = pp_stored_plan_load(store, flags->plan_id, &stored, err);
    if (status == PP_OK) {
        status = check_order(&stored, flags->force, &warnings, err);
    }
    if (status == PP_OK) {
        status = format->make(store, &stored, &text, err);
    }
    if (status == PP_OK) {
        status = answer(cli, stored.plan.id, format->name, &warnings, &text, err);
    }
    pp_text_free(&text);
    pp_stored_plan_deinit(&stored);
    pp_store_close(store);
    return status;
}

enum pp_status pp_cmd_export(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    struct flags flags = {0};
    const struct pp_option options[] = {
        {"--db", PP_OPT_TEXT, &flags.db, NULL, 0, 0, "FILE",
         "database that `pipeplan plan --db` wrote"},
        {"--plan", PP_OPT_TEXT, &flags.plan_id, NULL, 0, 0, "ID",
         "plan, or a unique beginning of its id"},
        {"--format", PP_OPT_TEXT, &flags.format_name, NULL, 0, 0, "F",
         "csv, csv-comms (lowered, as PyTorch does it), nemo-cli or nemo-yaml"},
        {"--force", PP_OPT_FLAG, &flags.force, NULL, 0, 0, "",
         "also a plan with an order that PyTorch runs, but gets wrong"},
    };
    const struct pp_usage usage = {
        .synopsis = "pipeplan export --db FILE --plan ID --format csv|csv-comms|nemo-cli|nemo-yaml "
                    "[--force]",
        .about = "Prints a stored plan as PyTorch's schedule CSV, compute-only or lowered, as NeMo "
                 "overrides, or as the recipe with only the pipeline's keys changed.",
        .example = "pipeplan export --db plans.db --plan 3f9c --format nemo-yaml > better.yaml",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
    };
    int32_t count = 0;
    bool helped = false;
    PP_TRY(pp_parse_options(cli, &usage, argc, argv, NULL, 0, &count, &helped, err));
    if (helped) {
        return PP_OK;
    }
    PP_TRY(pp_need_option(flags.db != NULL, "--db", &usage, err));
    PP_TRY(pp_need_option(flags.plan_id != NULL, "--plan", &usage, err));
    PP_TRY(pp_need_option(flags.format_name != NULL, "--format", &usage, err));
    const struct format *format = find_format(flags.format_name);
    if (format == NULL) {
        pp_fail(err, PP_E_USAGE, "--format %.40s: expected csv, csv-comms, nemo-cli or nemo-yaml",
                flags.format_name);
        pp_hint(err, "trace comes with a later version");
        return PP_E_USAGE;
    }
    return export_plan(cli, &flags, format, err);
}
