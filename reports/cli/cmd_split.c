/* `pipeplan split`: stages, layers and module names as NeMo Automodel makes them. */
#include "costmodel/fqn.h"
#include "costmodel/value.h"
#include "reports/cli/cli.h"
#include "reports/json.h"
#include "reports/split_changes.h"
#include "reports/table.h"

#include <stdlib.h>
#include <string.h>

static const char default_schedule[] = "1f1b"; /* Automodel's PipelineConfig */

/* The flags as written: numbers stay text, because one out of range still gets fixes. */
struct flags {
    const char *layers, *pp, *layers_per_stage, *schedule, *round;
    bool with_encoders;
};

/* A split that works. stage_rank is owned. */
struct result {
    const struct pp_split_asked *asked;
    struct pp_split split;
    int32_t *stage_rank; /* [split.stage_count] */
    bool with_encoders;
};

/* Keeps the first error of several. */
static void note(struct pp_err *first, const struct pp_err *err) {
    if (first->status == PP_OK) {
        *first = *err;
    }
}

/* Reads a whole number. Out of range: notes that in *first, and *value_p is the nearest refused
 * value. @return PP_OK, PP_E_USAGE (no number) */
static enum pp_status read_number(const char *flag, const char *text, int32_t high,
                                  int32_t *value_p, struct pp_err *first, struct pp_err *err) {
    int64_t value;
    struct pp_err own = {0};
    enum pp_status status = pp_parse_int(text, 1, high, &value, &own);
    if (status == PP_OK) {
        *value_p = (int32_t)value;
        return PP_OK;
    }
    struct pp_err named = {0};
    pp_fail(&named, status, "%s: %s", flag, own.message);
    if (status != PP_E_RANGE) {
        *err = named;
        return status;
    }
    bool low_side = text[0] == '-' || pp_parse_int(text, -INT64_MAX, 0, &value, NULL) == PP_OK;
    *value_p = low_side ? 0 : high + 1;
    note(first, &named);
    return PP_OK;
}

/* More layers a stage than any model has mean one stage, whatever the number. */
static enum pp_status read_layers_per_stage(const char *text, struct pp_split_request *req,
                                            struct pp_err *first, struct pp_err *err) {
    if (text == NULL) {
        return PP_OK;
    }
    struct pp_err own = {0};
    req->has_layers_per_stage = true;
    PP_TRY(
        read_number("--layers-per-stage", text, INT32_MAX - 1, &req->layers_per_stage, &own, err));
    if (req->layers_per_stage < 1) {
        pp_fail(first->status == PP_OK ? first : NULL, PP_E_RANGE,
                "--layers-per-stage: '%.60s' is out of range; expected at least 1", text);
    }
    return PP_OK;
}

/* @return PP_OK with *asked_p filled and, where the values are refused, *first filled; PP_E_USAGE
 */
static enum pp_status read_flags(const struct flags *flags, struct pp_split_asked *asked_p,
                                 struct pp_err *first, struct pp_err *err) {
    struct pp_split_request *req = &asked_p->req;
    PP_TRY(read_number("--layers", flags->layers, PP_MAX_LAYERS, &req->layer_count, first, err));
    PP_TRY(read_number("--pp", flags->pp, PP_MAX_RANKS, &req->pp_size, first, err));
    PP_TRY(read_layers_per_stage(flags->layers_per_stage, req, first, err));
    struct pp_err own = {0};
    asked_p->schedule = flags->schedule;
    if (pp_schedule_find_torch(flags->schedule, &asked_p->info, &own) == PP_OK) {
        pp_split_use_schedule(req, asked_p->info);
    } else {
        note(first, &own);
    }
    if (flags->round != NULL && pp_round_parse(flags->round, &req->round, &own) != PP_OK) {
        req->round = PP_ROUND_COUNT;
        note(first, &own);
    }
    return PP_OK;
}

/* ---- refusals ---- */

/* The best changes in words, where the error brings no advice of its own. */
static void hint_changes(const struct pp_split_change *changes, int32_t count, struct pp_err *err) {
    struct pp_text text = {0};
    for (int32_t i = 0; i < count && i < 3; i++) {
        pp_text_puts(&text, i == 0 ? "" : "; or ");
        pp_split_change_text(&changes[i], &text);
    }
    if (text.size > 0) {
        pp_hint(err, "these work: %s", text.bytes);
    }
    pp_text_free(&text);
}

static enum pp_status refuse(struct pp_cli *cli, const struct pp_split_asked *asked,
                             struct pp_err *err) {
    struct pp_split_change changes[PP_SPLIT_MAX_CHANGES];
    int32_t count = pp_split_changes(asked, changes);
    bool has_advice = err->hint[0] != '\0';
    if (!has_advice) {
        hint_changes(changes, count, err);
    }
    json_t *fixes = json_array();
    for (int32_t i = 0; i < count; i++) {
        json_array_append_new(fixes, pp_split_change_json(&changes[i]));
    }
    json_t *error = pp_json_error(err);
    json_object_set_new(error, "fixes", fixes);
    json_t *document = pp_json_document(cli->command);
    json_object_set_new(document, "error", error);
    enum pp_status status = pp_cli_answer(cli, document, err);
    for (int32_t i = 0; i < count && has_advice && !cli->json; i++) {
        struct pp_text text = {0};
        pp_split_change_text(&changes[i], &text);
        fprintf(cli->messages, "  works: %s\n", text.bytes == NULL ? "" : text.bytes);
        pp_text_free(&text);
    }
    return status;
}

/* ---- the result ---- */

static const char *placement_name(enum pp_placement placement) {
    return placement == PP_PLACE_V ? "v" : "loop";
}

/* What a user should know about a split that works; empty if nothing. */
static void warn(const struct pp_schedule_info *info, char *text, size_t size) {
    text[0] = '\0';
    if (info->placement != info->automodel_placement) {
        snprintf(text, size,
                 "%s needs its stages in a %s, but Automodel places them in a %s: the run would "
                 "hang; use ZBVZeroBubble, which Automodel places in a v",
                 info->name, placement_name(info->placement),
                 placement_name(info->automodel_placement));
    }
}

static void append_name(void *context, int32_t stage, const char *name) {
    json_array_append_new(json_array_get(context, (size_t)stage), json_string(name));
}

static enum pp_status names_json(const struct result *r, json_t *parts, struct pp_err *err) {
    for (int32_t s = 0; s < r->split.stage_count; s++) {
        json_array_append_new(parts, json_array());
    }
    struct pp_fqn_options options = {.with_encoders = r->with_encoders};
    return pp_fqn_generate(r->asked->req.layer_count, r->split.stage_count, &options, append_name,
                           parts, err);
}

static json_t *layer_counts_json(const struct result *r) {
    json_t *counts = json_array();
    for (int32_t s = 0; s < r->split.stage_count; s++) {
        int32_t layers = pp_split_layers_of(r->asked->req.layer_count, r->split.stage_count, s);
        json_array_append_new(counts, json_integer(layers));
    }
    return counts;
}

static json_t *stage_ids_json(const struct result *r) {
    json_t *ranks = json_array();
    for (int32_t rank = 0; rank < r->asked->req.pp_size; rank++) {
        json_array_append_new(ranks, json_array());
    }
    for (int32_t s = 0; s < r->split.stage_count; s++) {
        json_array_append_new(json_array_get(ranks, (size_t)r->stage_rank[s]), json_integer(s));
    }
    return ranks;
}

static json_t *warnings_json(const struct pp_schedule_info *info) {
    char text[256];
    warn(info, text, sizeof text);
    json_t *warnings = json_array();
    if (text[0] != '\0') {
        json_array_append_new(warnings, json_string(text));
    }
    return warnings;
}

static enum pp_status answer_json(struct pp_cli *cli, const struct result *r, struct pp_err *err) {
    const struct pp_schedule_info *info = r->asked->info;
    json_t *document = pp_json_document(cli->command);
    json_object_set_new(document, "schedule", json_string(info->name));
    json_object_set_new(document, "layers", json_integer(r->asked->req.layer_count));
    json_object_set_new(document, "pp_size", json_integer(r->asked->req.pp_size));
    json_object_set_new(document, "placement",
                        json_string(placement_name(info->automodel_placement)));
    json_object_set_new(document, "num_virtual_stages", json_integer(r->split.stage_count));
    json_object_set_new(document, "stages_per_rank", json_integer(r->split.stages_per_rank));
    json_object_set_new(document, "layer_counts", layer_counts_json(r));
    json_object_set_new(document, "stage_ids", stage_ids_json(r));
    json_t *parts = json_array();
    json_object_set_new(document, "module_fqns_per_model_part", parts);
    json_object_set_new(document, "warnings", warnings_json(info));
    enum pp_status status = names_json(r, parts, err);
    if (status != PP_OK) {
        json_decref(document);
        return status;
    }
    return pp_cli_answer(cli, document, NULL);
}

/* One row a stage, in the order in which ranks hold them. */
static void stage_row(const struct result *r, int32_t stage, struct pp_table *t) {
    int32_t layers = r->asked->req.layer_count;
    int32_t first = pp_split_first_layer(layers, r->split.stage_count, stage);
    int32_t next = pp_split_first_layer(layers, r->split.stage_count, stage + 1);
    pp_table_cell(t, "%d", r->stage_rank[stage]);
    pp_table_cell(t, "%d", stage);
    pp_table_cell(t, "%d", next - first);
    pp_table_cell(t, next - first == 1 ? "%d" : "%d-%d", first, next - 1);
}

static enum pp_status print_table(struct pp_cli *cli, const struct result *r, struct pp_err *err) {
    struct pp_table t;
    pp_table_init(&t, "rrrl");
    pp_table_row(&t, (const char *const[]){"rank", "stage", "count", "layers"});
    int32_t pp = r->asked->req.pp_size;
    bool v = r->asked->info->automodel_placement == PP_PLACE_V;
    for (int32_t rank = 0; rank < pp; rank++) {
        for (int32_t wave = 0; wave < r->split.stages_per_rank; wave++) {
            int32_t column = v && wave % 2 == 1 ? pp - 1 - rank : rank;
            stage_row(r, wave * pp + column, &t);
        }
    }
    enum pp_status status = pp_table_print(&t, cli->out, err);
    pp_table_deinit(&t);
    return status;
}

static enum pp_status answer(struct pp_cli *cli, const struct result *r, struct pp_err *err) {
    if (cli->json) {
        return answer_json(cli, r, err);
    }
    const struct pp_schedule_info *info = r->asked->info;
    char warning[256];
    warn(info, warning, sizeof warning);
    if (warning[0] != '\0') {
        fprintf(cli->messages, "pipeplan: warning: %s\n", warning);
    }
    fprintf(cli->out, "%s: %d layers in %d stages, %d a rank on %d ranks, placed in a %s\n\n",
            info->name, r->asked->req.layer_count, r->split.stage_count, r->split.stages_per_rank,
            r->asked->req.pp_size, placement_name(info->automodel_placement));
    return print_table(cli, r, err);
}

static enum pp_status split(struct pp_cli *cli, const struct flags *flags, struct pp_err *err) {
    struct pp_split_asked asked = {0};
    struct result r = {.asked = &asked, .with_encoders = flags->with_encoders};
    struct pp_err refusal = {0};
    PP_TRY(read_flags(flags, &asked, &refusal, err));
    if (refusal.status != PP_OK || pp_split_stages(&asked.req, &r.split, &refusal) != PP_OK) {
        *err = refusal;
        return refuse(cli, &asked, err);
    }
    r.stage_rank = malloc((size_t)r.split.stage_count * sizeof *r.stage_rank);
    if (r.stage_rank == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d stages", r.split.stage_count);
    }
    enum pp_status status =
        pp_place(asked.req.placement, asked.req.pp_size, r.split.stage_count, r.stage_rank, err);
    if (status == PP_OK) {
        status = answer(cli, &r, err);
    }
    free(r.stage_rank);
    return status;
}

enum pp_status pp_cmd_split(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    struct flags flags = {.schedule = default_schedule};
    const struct pp_option options[] = {
        {"--layers", PP_OPT_TEXT, &flags.layers, NULL, 0, 0, "L", "transformer layers"},
        {"--pp", PP_OPT_TEXT, &flags.pp, NULL, 0, 0, "P", "pipeline ranks"},
        {"--layers-per-stage", PP_OPT_TEXT, &flags.layers_per_stage, NULL, 0, 0, "N",
         "layers a virtual stage; without it one stage a rank, or two"},
        {"--schedule", PP_OPT_TEXT, &flags.schedule, NULL, 0, 0, "NAME", "default: 1F1B"},
        {"--round", PP_OPT_TEXT, &flags.round, NULL, 0, 0, "up|down",
         "round the stage count to a multiple of the ranks"},
        {"--with-encoders", PP_OPT_FLAG, &flags.with_encoders, NULL, 0, 0, "",
         "name the multimodal encoders, too"},
    };
    const struct pp_usage usage = {
        .synopsis = "pipeplan split --layers L --pp P [--layers-per-stage N] [--schedule NAME] "
                    "[--round up|down] [--with-encoders]",
        .about = "Virtual stages, their layers, ranks and module names, as NeMo Automodel makes "
                 "them.",
        .example = "pipeplan split --layers 61 --pp 8 --layers-per-stage 4 --schedule "
                   "Interleaved1F1B --round up",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
    };
    int32_t count;
    bool helped;
    PP_TRY(pp_parse_options(cli, &usage, argc, argv, NULL, 0, &count, &helped, err));
    if (helped) {
        return PP_OK;
    }
    PP_TRY(pp_need_option(flags.layers != NULL, "--layers", &usage, err));
    PP_TRY(pp_need_option(flags.pp != NULL, "--pp", &usage, err));
    return split(cli, &flags, err);
}
