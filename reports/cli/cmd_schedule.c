/* `pipeplan schedule`: the order of a schedule, as PyTorch's CSV or as JSON; and the list of
 * schedules. */
#include "reports/cli/cli.h"
#include "reports/cli/cost_options.h"
#include "reports/cli/sched_options.h"
#include "reports/json.h"
#include "reports/table.h"
#include "sim/schedule_csv.h"

#include <stdlib.h>
#include <string.h>

/* A JSON document holds every cell as a value of its own; the CSV has no such limit. */
enum { JSON_MAX_CELLS = 1 << 21 };

struct flags {
    struct pp_sched_options sched;
    struct pp_cost_options costs;
    const char *format;
    bool list;
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

static enum pp_status list(struct pp_cli *cli, struct pp_err *err) {
    if (cli->json) {
        return list_json(cli);
    }
    struct pp_table t;
    pp_table_init(&t, "llllll");
    pp_table_row(&t, (const char *const[]){"name", "stages a rank", "microbatches", "bubble",
                                           "memory", "source"});
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        char stages[48];
        stages_text(info, stages, sizeof stages);
        pp_table_row(&t, (const char *const[]){info->name, stages, info->microbatch_rule,
                                               info->bubble, info->memory, info->source});
    }
    enum pp_status status = pp_table_print(&t, cli->out, err);
    pp_table_deinit(&t);
    if (status == PP_OK) {
        fprintf(cli->out, "\np ranks, v stages a rank, m microbatches; bubble over makespan at "
                          "zero transfer time; memory in microbatches of a rank's whole share; "
                          "T that share's time for one, c a transfer's\n");
    }
    return status;
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

static enum pp_status write_json(struct pp_cli *cli, const struct pp_schedule_info *info,
                                 const struct pp_sched *s, const char *csv) {
    char id[65];
    pp_sched_csv_sha256(s, id);
    json_t *document = pp_json_document(cli->command);
    json_object_set_new(document, "schedule", json_string(info->name));
    json_object_set_new(document, "schedule_id", json_string(id));
    json_object_set_new(document, "ranks", json_integer(s->rank_count));
    json_object_set_new(document, "stages", json_integer(s->stage_count));
    json_object_set_new(document, "microbatches", json_integer(s->microbatch_count));
    json_object_set_new(document, "actions", json_integer(s->action_count));
    json_object_set_new(document, "stage_ranks", pp_json_i32s(s->stage_rank, s->stage_count));
    json_t *rows = json_array();
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        json_array_append_new(rows, row_json(&csv));
    }
    json_object_set_new(document, "rows", rows);
    return pp_cli_answer(cli, document, NULL);
}

static enum pp_status write_order(struct pp_cli *cli, const struct pp_schedule_info *info,
                                  const struct pp_sched *s, struct pp_err *err) {
    if (cli->json) {
        PP_TRY(check_json_size(s, err));
    }
    struct pp_text csv = {0};
    enum pp_status status = pp_sched_csv_write(s, &csv, err);
    if (status == PP_OK && cli->json) {
        status = write_json(cli, info, s, csv.bytes);
    } else if (status == PP_OK) {
        fwrite(csv.bytes, 1, csv.size, cli->out); /* main looks at the stream's errors */
    }
    pp_text_free(&csv);
    return status;
}

/* No schedule of this version changes its order with the costs, but wrong ones are told, and an
   order above the limit is not handed out. */
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

static enum pp_status check_format(const char *format, struct pp_err *err) {
    if (strcmp(format, "csv") == 0 || strcmp(format, "json") == 0) {
        return PP_OK;
    }
    pp_fail(err, PP_E_USAGE, "--format: '%.40s' is not one of this version's; expected csv or json",
            format);
    if (strcmp(format, "csv-comms") == 0) {
        pp_hint(err, "PyTorch lowers the compute-only csv by itself when it loads it");
    }
    return PP_E_USAGE;
}

static enum pp_status order(struct pp_cli *cli, const struct flags *flags,
                            const struct pp_usage *usage, struct pp_err *err) {
    const struct pp_schedule_info *info = NULL;
    struct pp_sched *s = NULL;
    PP_TRY(pp_sched_options_make(&flags->sched, &flags->costs, usage, &info, &s, err));
    enum pp_status status = check_costs(&flags->costs, s, err);
    if (status == PP_OK) {
        status = write_order(cli, info, s, err);
    }
    pp_sched_destroy(s);
    return status;
}

enum pp_status pp_cmd_schedule(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    struct flags flags = {.costs = PP_COST_OPTIONS_DEFAULT, .format = "csv"};
    struct pp_option options[PP_SCHED_OPTION_COUNT + PP_COST_OPTION_COUNT + 2] = {
        {"--list", PP_OPT_FLAG, &flags.list, NULL, 0, 0, "", "the schedules and their rules"},
        {"--format", PP_OPT_TEXT, &flags.format, NULL, 0, 0, "csv|json", "default: csv"},
    };
    pp_sched_options_rows(&flags.sched, options + 2);
    pp_cost_options_rows(&flags.costs, options + 2 + PP_SCHED_OPTION_COUNT);
    const struct pp_usage usage = {
        .synopsis = "pipeplan schedule --schedule NAME --pp P --microbatches M [--stages-per-rank "
                    "V] [COSTS] [--format csv|json] | --list",
        .about = "The order in which each rank runs its actions, as PyTorch's compute-only CSV: a "
                 "row a rank.",
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
    PP_TRY(check_format(flags.format, err));
    cli->json = cli->json || strcmp(flags.format, "json") == 0;
    return flags.list ? list(cli, err) : order(cli, &flags, &usage, err);
}
