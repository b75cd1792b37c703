/* `pipeplan schedule`: the order of a schedule, as PyTorch's CSV or as JSON, lowered or not; and
 * the list of schedules. */
#include "reports/cli/cli.h"
#include "reports/cli/comms_words.h"
#include "reports/cli/cost_options.h"
#include "reports/cli/sched_options.h"
#include "reports/cli/sched_warnings.h"
#include "reports/json.h"
#include "sim/eval.h"
#include "sim/lower.h"
#include "sim/schedule_csv.h"

#include <stdlib.h>
#include <string.h>

/* A JSON document holds every cell as a value of its own; the CSV has no such limit. */
enum { JSON_MAX_CELLS = 1 << 21 };

struct flags {
    struct pp_sched_options sched;
    struct pp_cost_options costs;
    const char *format;
    const char *lowering; /* NULL = by the schedule */
    bool list;
};

/* What is handed out. */
struct order {
    const struct pp_schedule_info *info; /* NULL for a file */
    struct pp_sched *compute;
    struct pp_sched *lowered; /* NULL for compute-only */
    enum pp_lower_mode mode;
    struct pp_sched_warnings warnings; /* of a file; what we generate is ours to answer for */
};

/* ---- --list ---- */

static void stages_text(const struct pp_schedule_info *info, char *out, size_t size) {
    int32_t low = info->min_stages_per_rank;
    if (info->max_stages_per_rank == low) {
        snprintf(out, size, "%d", low);
    } else if (info->max_stages_per_rank == 0) {
        snprintf(out, size, "%d or more, default %d", low, info->default_stages_per_rank);
    } else {
        snprintf(out, size, "%d to %d, default %d", low, info->max_stages_per_rank,
                 info->default_stages_per_rank);
    }
}

static json_t *info_json(const struct pp_schedule_info *info) {
    json_t *row = json_object();
    json_object_set_new(row, "name", json_string(info->name));
    json_object_set_new(row, "kind",
                        json_string(info->kind == PP_KIND_SINGLE ? "single" : "multi"));
    json_object_set_new(row, "placement",
                        json_string(info->placement == PP_PLACE_V ? "v" : "loop"));
    json_object_set_new(row, "min_stages_per_rank", json_integer(info->min_stages_per_rank));
    json_object_set_new(row, "max_stages_per_rank",
                        info->max_stages_per_rank == 0 ? json_null()
                                                       : json_integer(info->max_stages_per_rank));
    json_object_set_new(row, "default_stages_per_rank",
                        json_integer(info->default_stages_per_rank));
    json_object_set_new(row, "splits_backward", json_boolean(info->splits_backward));
    json_object_set_new(row, "in_pytorch", json_boolean(info->in_pytorch));
    json_object_set_new(row, "offloads", json_boolean(info->offloads));
    json_object_set_new(row, "bidirectional", json_boolean(info->is_bidirectional));
    json_object_set_new(row, "takes_group", json_boolean(info->takes_group));
    json_object_set_new(row, "takes_slices", json_boolean(info->takes_slices));
    json_object_set_new(row, "uses_costs", json_boolean(info->uses_costs));
    json_object_set_new(row, "microbatches", json_string(info->microbatch_rule));
    json_object_set_new(row, "bubble", json_string(info->bubble));
    json_object_set_new(row, "memory", json_string(info->memory));
    json_object_set_new(row, "source", json_string(info->source));
    return row;
}

static enum pp_status list_json(struct pp_cli *cli) {
    json_t *rows = json_array();
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        json_array_append_new(rows, info_json(pp_schedule_at(i)));
    }
    json_t *document = pp_json_document(cli->command);
    json_object_set_new(document, "schedules", rows);
    return pp_cli_answer(cli, document, NULL);
}

static void print_info(FILE *out, const struct pp_schedule_info *info) {
    char stages[48];
    stages_text(info, stages, sizeof stages);
    fprintf(out, "%s%s\n  stages a rank  %s\n  microbatches   %s\n  bubble         %s\n",
            info->name, info->in_pytorch ? " (PyTorch)" : "", stages, info->microbatch_rule,
            info->bubble);
    fprintf(out, "  memory         %s\n  source         %s\n\n", info->memory, info->source);
}

static enum pp_status list(struct pp_cli *cli) {
    if (cli->json) {
        return list_json(cli);
    }
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        print_info(cli->out, pp_schedule_at(i));
    }
    fprintf(cli->out, "p ranks, v stages a rank, m microbatches, g --group, s --slices; F, I, W, "
                      "B = I + W, T = F + B\ndurations of a rank's whole share, c a transfer's. "
                      "Bubble: share of the makespan at zero\ntransfer time. Memory: peak of the "
                      "worst rank in microbatches of a rank's whole share.\n");
    return PP_OK;
}

/* ---- one schedule ---- */

/* The cells of one CSV row; *text_p moves to the next. No cell holds a comma or a quote. */
static json_t *row_json(const char **text_p) {
    json_t *row = json_array();
    const char *cell = *text_p;
    for (;;) {
        size_t size = strcspn(cell, ",\r");
        json_array_append_new(row, json_stringn(cell, size));
        if (cell[size] != ',') {
            *text_p = cell + size + strlen("\r\n");
            return row;
        }
        cell += size + 1;
    }
}

static enum pp_status check_json_size(const struct pp_sched *s, struct pp_err *err) {
    int64_t cells = 0;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        cells += s->cell_count[rank];
    }
    if (cells <= JSON_MAX_CELLS) {
        return PP_OK;
    }
    pp_fail(err, PP_E_RANGE, "%lld cells are too many for JSON; the limit is %d", (long long)cells,
            JSON_MAX_CELLS);
    pp_hint(err, "ask for --format csv");
    return PP_E_RANGE;
}

static enum pp_status write_json(struct pp_cli *cli, const struct order *o, const char *csv) {
    const struct pp_sched *s = o->lowered != NULL ? o->lowered : o->compute;
    char id[65];
    pp_sched_csv_sha256(o->compute, id);
    json_t *document = pp_json_document(cli->command);
    json_object_set_new(document, "schedule",
                        o->info == NULL ? json_null() : json_string(o->info->name));
    json_object_set_new(document, "schedule_id", json_string(id));
    json_object_set_new(document, "lowering",
                        o->lowered == NULL ? json_null()
                                           : json_string(pp_lower_mode_text(o->mode)));
    json_object_set_new(document, "ranks", json_integer(s->rank_count));
    json_object_set_new(document, "stages", json_integer(s->stage_count));
    json_object_set_new(document, "microbatches", json_integer(s->microbatch_count));
    json_object_set_new(document, "actions", json_integer(s->action_count));
    json_object_set_new(document, "stage_ranks", pp_json_i32s(s->stage_rank, s->stage_count));
    json_object_set_new(document, "warnings", pp_sched_warnings_json(&o->warnings));
    json_t *rows = json_array();
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        json_array_append_new(rows, row_json(&csv));
    }
    json_object_set_new(document, "rows", rows);
    return pp_cli_answer(cli, document, NULL);
}

static enum pp_status write_order(struct pp_cli *cli, const struct order *o, struct pp_err *err) {
    const struct pp_sched *s = o->lowered != NULL ? o->lowered : o->compute;
    if (cli->json) {
        PP_TRY(check_json_size(s, err));
    }
    struct pp_text csv = {0};
    enum pp_status status = pp_sched_csv_write(s, &csv, err);
    if (status == PP_OK && cli->json) {
        status = write_json(cli, o, csv.bytes);
    } else if (status == PP_OK) {
        pp_sched_warnings_print(cli, &o->warnings);
        fwrite(csv.bytes, 1, csv.size, cli->out); /* main looks at the stream's errors */
    }
    pp_text_free(&csv);
    return status;
}

/* Wrong costs are told whether or not the order depends on them, and an order above the limit is
   not handed out. */
static enum pp_status check_costs(const struct pp_cost_options *o, const struct pp_sched *s,
                                  struct pp_err *err) {
    struct pp_stage_costs costs;
    PP_TRY(pp_stage_costs_init(&costs, o, s, err));
    struct pp_activation worst;
    struct pp_activation *peaks = malloc((size_t)s->rank_count * sizeof *peaks);
    enum pp_status status;
    if (peaks == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", s->rank_count);
    } else {
        status = pp_stage_costs_peaks(&costs, s, peaks, err);
    }
    if (status == PP_OK) {
        status = pp_activation_check(o, s, peaks, &worst, err);
    }
    free(peaks);
    pp_stage_costs_deinit(&costs);
    return status;
}

/* A file may hold what no run can do, or what PyTorch runs and gets wrong. */
static enum pp_status check_file(const char *path, struct order *o, struct pp_err *err) {
    struct pp_eval *eval = NULL;
    enum pp_status status = pp_eval_create(o->compute, &eval, NULL, err);
    pp_eval_destroy(eval);
    if (status != PP_OK) {
        pp_err_place(err, path, 0, 0);
        return status;
    }
    return pp_sched_warn(o->compute, NULL, &o->warnings, err);
}

static bool is_lowered(const struct flags *flags) {
    return strcmp(flags->format, "csv-comms") == 0 || flags->lowering != NULL;
}

/* PyTorch's way for what PyTorch knows, files of its format among it; ours for the rest. */
static enum pp_status lower(const struct flags *flags, struct order *o, struct pp_err *err) {
    o->mode = o->info == NULL || o->info->in_pytorch ? PP_LOWER_TORCH : PP_LOWER_OURS;
    if (flags->lowering != NULL) {
        PP_TRY(pp_lowering_word(flags->lowering, &o->mode, err));
    }
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(o->mode);
    return pp_sched_lower(o->compute, &options, &o->lowered, err);
}

static enum pp_status check_format(const struct flags *flags, struct pp_err *err) {
    const char *format = flags->format;
    const char *lowering = flags->lowering;
    if (strcmp(format, "csv") != 0 && strcmp(format, "csv-comms") != 0 &&
        strcmp(format, "json") != 0) {
        return pp_fail(err, PP_E_USAGE,
                       "--format: '%.40s' is none; expected csv, csv-comms or json", format);
    }
    if (lowering == NULL) {
        return PP_OK;
    }
    enum pp_lower_mode mode;
    PP_TRY(pp_lowering_word(lowering, &mode, err));
    if (strcmp(format, "csv") == 0) {
        pp_fail(err, PP_E_USAGE, "--lowering goes with csv-comms, but the format is csv");
        pp_hint(err, "add --format csv-comms, or leave --lowering out");
        return PP_E_USAGE;
    }
    return PP_OK;
}

static enum pp_status order(struct pp_cli *cli, const struct flags *flags,
                            const struct pp_usage *usage, struct pp_err *err) {
    struct order o = {0};
    enum pp_status status =
        pp_sched_options_make(&flags->sched, &flags->costs, usage, &o.info, &o.compute, err);
    if (status == PP_OK && flags->sched.csv != NULL) {
        status = check_file(flags->sched.csv, &o, err);
    }
    if (status == PP_OK) {
        status = check_costs(&flags->costs, o.compute, err);
    }
    if (status == PP_OK && is_lowered(flags)) {
        status = lower(flags, &o, err);
    }
    if (status == PP_OK) {
        status = write_order(cli, &o, err);
    }
    pp_sched_destroy(o.lowered);
    pp_sched_destroy(o.compute);
    return status;
}

enum pp_status pp_cmd_schedule(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    struct flags flags = {.costs = PP_COST_OPTIONS_DEFAULT, .format = "csv"};
    struct pp_option options[PP_SCHED_OPTION_COUNT + PP_COST_OPTION_COUNT + 3] = {
        {"--list", PP_OPT_FLAG, &flags.list, NULL, 0, 0, "", "the schedules and their rules"},
        {"--format", PP_OPT_TEXT, &flags.format, NULL, 0, 0, "F",
         "csv (default), csv-comms (lowered: with communication) or json"},
        {"--lowering", PP_OPT_TEXT, &flags.lowering, NULL, 0, 0, "L",
         "torch, ours or batched; default: torch for what PyTorch knows, else ours"},
    };
    pp_sched_options_rows(&flags.sched, options + 3);
    pp_cost_options_rows(&flags.costs, options + 3 + PP_SCHED_OPTION_COUNT);
    const struct pp_usage usage = {
        .synopsis = "pipeplan schedule (--schedule NAME --pp P --microbatches M [--stages-per-rank "
                    "V] | --csv FILE --stages S) [COSTS] [--format csv|csv-comms|json] "
                    "[--lowering torch|ours] | --list",
        .about = "The order in which each rank runs its actions, as PyTorch's CSV, compute-only "
                 "or lowered: a row a rank. Or the order of a file of yours.",
        .example = "pipeplan schedule --schedule ZBVZeroBubble --pp 4 --microbatches 8",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
    };
    int32_t count;
    bool helped;
    PP_TRY(pp_parse_options(cli, &usage, argc, argv, NULL, 0, &count, &helped, err));
    if (helped) {
        return PP_OK;
    }
    PP_TRY(check_format(&flags, err));
    cli->json = cli->json || strcmp(flags.format, "json") == 0;
    return flags.list ? list(cli) : order(cli, &flags, &usage, err);
}
