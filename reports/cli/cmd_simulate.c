/* `pipeplan simulate`: times, bubbles and activations of a schedule, by name or from a CSV. */
#include "reports/cli/cli.h"
#include "reports/cli/cost_options.h"
#include "reports/cli/sched_options.h"
#include "reports/cli/vary_options.h"
#include "reports/deadlock_json.h"
#include "reports/json.h"
#include "reports/table.h"
#include "sim/metrics.h"
#include "sim/schedule_csv.h"

#include <stdlib.h>
#include <string.h>

struct flags {
    struct pp_sched_options sched;
    struct pp_cost_options costs;
    struct pp_vary_options vary;
};

/* Everything that one simulation makes. */
struct simulation {
    const struct flags *flags;
    const struct pp_schedule_info *info; /* NULL for a CSV */
    struct pp_sched *sched;
    struct pp_eval *eval;
    struct pp_stage_costs costs;
    struct pp_trace trace;
    struct pp_metrics metrics;
    struct pp_variation variation;
    int64_t *busy_ns;            /* [rank_count] */
    struct pp_activation *peaks; /* [rank_count] */
    struct pp_deadlock deadlock;
};

static void simulation_deinit(struct simulation *sim) {
    pp_deadlock_deinit(&sim->deadlock);
    free(sim->peaks);
    free(sim->busy_ns);
    pp_trace_deinit(&sim->trace);
    pp_stage_costs_deinit(&sim->costs);
    pp_eval_destroy(sim->eval);
    pp_sched_destroy(sim->sched);
}

/* ---- running it ---- */

static enum pp_status run(struct simulation *sim, struct pp_err *err) {
    const struct pp_sched *s = sim->sched;
    PP_TRY(pp_stage_costs_init(&sim->costs, &sim->flags->costs, s, err));
    enum pp_status status = pp_eval_create(s, &sim->eval, &sim->deadlock, err);
    if (status != PP_OK) {
        pp_err_place(err, sim->flags->sched.csv, 0, 0);
        return status;
    }
    PP_TRY(pp_trace_init(&sim->trace, s, err));
    sim->busy_ns = malloc((size_t)s->rank_count * sizeof *sim->busy_ns);
    sim->peaks = malloc((size_t)s->rank_count * sizeof *sim->peaks);
    if (sim->busy_ns == NULL || sim->peaks == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", s->rank_count);
    }
    PP_TRY(pp_eval_run(sim->eval, &sim->costs.costs, &sim->trace, err));
    pp_metrics_of(&sim->trace, &sim->metrics, sim->busy_ns);
    return pp_stage_costs_peaks(&sim->costs, s, sim->peaks, err);
}

/* ---- the answer ---- */

static json_t *fraction_json(int64_t num, int64_t den) {
    return num % den == 0 ? json_integer(num / den) : json_real((double)num / (double)den);
}

static json_t *action_json(const struct pp_sched *s, int32_t action) {
    char text[PP_ACTION_TEXT_BYTES];
    return json_string(pp_action_text(&s->actions[action], text));
}

static json_t *rank_json(const struct simulation *sim, int32_t rank) {
    const struct pp_activation *peak = &sim->peaks[rank];
    json_t *row = json_object();
    json_object_set_new(row, "rank", json_integer(rank));
    json_object_set_new(row, "stages", json_integer(pp_sched_stages_of(sim->sched, rank)));
    json_object_set_new(row, "busy_ns", json_integer(sim->busy_ns[rank]));
    json_object_set_new(row, "idle_ns",
                        json_integer(sim->metrics.makespan_ns - sim->busy_ns[rank]));
    json_object_set_new(row, "peak_activation", fraction_json(peak->units, peak->per_share));
    json_object_set_new(row, "peak_action", action_json(sim->sched, peak->action));
    return row;
}

static json_t *document_of(const struct pp_cli *cli, const struct simulation *sim) {
    const struct pp_sched *s = sim->sched;
    const struct pp_metrics *m = &sim->metrics;
    char id[65];
    pp_sched_csv_sha256(s, id);
    json_t *document = pp_json_document(cli->command);
    json_object_set_new(document, "schedule",
                        sim->info == NULL ? json_null() : json_string(sim->info->name));
    json_object_set_new(document, "schedule_id", json_string(id));
    json_object_set_new(document, "stages", json_integer(s->stage_count));
    json_object_set_new(document, "microbatches", json_integer(s->microbatch_count));
    json_object_set_new(document, "makespan_ns", json_integer(m->makespan_ns));
    json_object_set_new(document, "span_ns", json_integer(m->span_ns));
    json_object_set_new(document, "bubble_ratio", json_real(m->bubble_ratio));
    json_object_set_new(document, "span_bubble_ratio", json_real(m->span_bubble_ratio));
    json_object_set_new(document, "over_ideal_ratio", json_real(m->over_ideal_ratio));
    json_t *ranks = json_array();
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        json_array_append_new(ranks, rank_json(sim, rank));
    }
    json_object_set_new(document, "ranks", ranks);
    pp_variation_put(&sim->variation, document);
    return document;
}

static void rank_row(const struct simulation *sim, int32_t rank, struct pp_table *t) {
    const struct pp_activation *peak = &sim->peaks[rank];
    char number[PP_NUMBER_BYTES];
    char fraction[PP_FRACTION_BYTES];
    char action[PP_ACTION_TEXT_BYTES];
    pp_table_cell(t, "%d", rank);
    pp_table_cell(t, "%s", pp_us_text(sim->busy_ns[rank], number));
    pp_table_cell(t, "%s", pp_us_text(sim->metrics.makespan_ns - sim->busy_ns[rank], number));
    pp_table_cell(t, "%s", pp_fraction_text(peak->units, peak->per_share, fraction));
    pp_table_cell(t, "%s", pp_action_text(&sim->sched->actions[peak->action], action));
}

static enum pp_status print_text(const struct pp_cli *cli, const struct simulation *sim,
                                 struct pp_err *err) {
    const struct pp_sched *s = sim->sched;
    const struct pp_metrics *m = &sim->metrics;
    char makespan[PP_NUMBER_BYTES];
    char span[PP_NUMBER_BYTES];
    fprintf(cli->out, "%s: %d ranks, %d stages, %d microbatches, %d actions\n",
            sim->info == NULL ? sim->flags->sched.csv : sim->info->name, s->rank_count,
            s->stage_count, s->microbatch_count, s->action_count);
    fprintf(cli->out, "makespan %s us, longest span of a rank %s us\n",
            pp_us_text(m->makespan_ns, makespan), pp_us_text(m->span_ns, span));
    fprintf(cli->out, "bubble ratio %.6f, span bubble ratio %.6f, over ideal ratio %.6f\n\n",
            m->bubble_ratio, m->span_bubble_ratio, m->over_ideal_ratio);
    struct pp_table t;
    pp_table_init(&t, "rrrrl");
    pp_table_row(&t, (const char *const[]){"rank", "busy (us)", "idle (us)",
                                           "peak activation (shares)", "at"});
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        rank_row(sim, rank, &t);
    }
    enum pp_status status = pp_table_print(&t, cli->out, err);
    pp_table_deinit(&t);
    pp_variation_print(&sim->variation, cli->out);
    return status;
}

/* The result, and, above the memory limit, an error beside it. */
static enum pp_status answer(struct pp_cli *cli, const struct simulation *sim, struct pp_err *err) {
    if (!cli->json) {
        PP_TRY(print_text(cli, sim, err));
    }
    struct pp_activation worst;
    json_t *document = cli->json ? document_of(cli, sim) : json_object();
    if (pp_activation_check(&sim->flags->costs, sim->sched, sim->peaks, &worst, err) != PP_OK) {
        const int64_t *limit = sim->flags->costs.limit;
        json_t *error = pp_json_error(err);
        json_object_set_new(error, "rank", json_integer(worst.rank));
        json_object_set_new(error, "action", action_json(sim->sched, worst.action));
        json_object_set_new(error, "peak_activation", fraction_json(worst.units, worst.per_share));
        json_object_set_new(error, "memory_limit", fraction_json(limit[0], limit[1]));
        json_object_set_new(document, "error", error);
    }
    return pp_cli_answer(cli, document, err);
}

/* A deadlock as an answer: each wait names the next. */
static enum pp_status answer_deadlock(struct pp_cli *cli, const struct simulation *sim,
                                      struct pp_err *err) {
    json_t *error = pp_json_error(err);
    json_object_set_new(error, "cycle", pp_json_deadlock(sim->sched, &sim->deadlock));
    json_t *document = pp_json_document(cli->command);
    json_object_set_new(document, "error", error);
    return pp_cli_answer(cli, document, err);
}

static enum pp_status simulate(struct pp_cli *cli, const struct flags *flags,
                               const struct pp_usage *usage, struct pp_err *err) {
    struct simulation sim = {.flags = flags};
    PP_TRY(pp_vary_options_check(&flags->vary, err));
    enum pp_status status =
        pp_sched_options_make(&flags->sched, &flags->costs, usage, &sim.info, &sim.sched, err);
    if (status == PP_OK) {
        status = run(&sim, err);
    }
    if (status == PP_OK) {
        status = pp_variation_run(&sim.variation, &flags->vary, sim.sched, &sim.costs.costs,
                                  cli->stop, err);
    }
    if (status == PP_OK) {
        status = answer(cli, &sim, err);
    } else if (status == PP_E_DEADLOCK) {
        status = answer_deadlock(cli, &sim, err);
    }
    simulation_deinit(&sim);
    return status;
}

enum pp_status pp_cmd_simulate(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    struct flags flags = {.costs = PP_COST_OPTIONS_DEFAULT, .vary = PP_VARY_OPTIONS_DEFAULT};
    struct pp_option options[PP_SCHED_OPTION_COUNT + PP_COST_OPTION_COUNT + PP_VARY_OPTION_COUNT];
    pp_sched_options_rows(&flags.sched, options);
    pp_cost_options_rows(&flags.costs, options + PP_SCHED_OPTION_COUNT);
    pp_vary_options_rows(&flags.vary, options + PP_SCHED_OPTION_COUNT + PP_COST_OPTION_COUNT);
    const struct pp_usage usage = {
        .synopsis = "pipeplan simulate (--schedule NAME --pp P --microbatches M | --csv FILE "
                    "--stages S) [COSTS] [VARIATION]",
        .about = "Runs a schedule on paper: makespan, bubbles, and what each rank does and holds.",
        .example = "pipeplan simulate --schedule 1F1B --pp 4 --microbatches 16 --t-f 1ms --t-i "
                   "1.1ms --t-w 0.9ms --t-p2p 50us",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
    };
    int32_t count;
    bool helped;
    PP_TRY(pp_parse_options(cli, &usage, argc, argv, NULL, 0, &count, &helped, err));
    return helped ? PP_OK : simulate(cli, &flags, &usage, err);
}
