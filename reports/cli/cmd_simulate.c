/* `pipeplan simulate`: times, bubbles and activations of a schedule, by name or from a CSV. */
#include "reports/cli/simulation.h"
#include "reports/cli/simulation_idle.h"
#include "reports/deadlock_json.h"
#include "reports/json.h"
#include "reports/table.h"
#include "sim/schedule_csv.h"

#include <stdlib.h>
#include <string.h>

/* ---- the answer ---- */

/* Of one flush, as a user counts them: both pipelines' together, and not their units. */
static int32_t microbatches_of(const struct pp_sched *s) {
    int32_t pipelines = s->part_count < s->stage_count ? 2 : 1;
    return s->microbatch_count / s->slice_count * pipelines;
}

static json_t *fraction_json(int64_t num, int64_t den) {
    return num % den == 0 ? json_integer(num / den) : json_real((double)num / (double)den);
}

static json_t *action_json(const struct pp_sched *s, int32_t action) {
    char text[PP_ACTION_TEXT_BYTES];
    return json_string(pp_action_text(&s->actions[action], text));
}

static json_t *rank_json(const struct pp_simulation *sim, int32_t rank) {
    const struct pp_activation *peak = &sim->peaks[rank];
    json_t *row = json_object();
    json_object_set_new(row, "rank", json_integer(rank));
    json_object_set_new(row, "stages", json_integer(pp_sched_stages_of(sim->flush, rank)));
    json_object_set_new(row, "busy_ns", json_integer(sim->busy_ns[rank]));
    json_object_set_new(row, "idle_ns",
                        json_integer(sim->metrics.makespan_ns - sim->busy_ns[rank]));
    json_object_set_new(row, "idle_causes", pp_idle_json(&sim->idle[rank]));
    json_object_set_new(row, "peak_activation", fraction_json(peak->units, peak->per_share));
    json_object_set_new(row, "peak_action", action_json(sim->flush, peak->action));
    return row;
}

/* How ranks talked; null where nothing but the time of a transfer was asked for. */
static json_t *communication_json(const struct pp_simulation *sim) {
    const struct pp_lane_setup *setup = &sim->setup;
    if (!setup->on_lanes) {
        return json_null();
    }
    json_t *row = json_object();
    const struct pp_comms *comms = &setup->runtime.comms;
    json_object_set_new(row, "runtime", json_string(pp_runtime_text(setup->kind)));
    json_object_set_new(row, "lowering", json_string(pp_lower_mode_text(setup->lower.mode)));
    json_object_set_new(row, "channels", json_string(pp_channels_text(comms->channels)));
    json_object_set_new(row, "buffers", json_integer(comms->buffer_count));
    json_object_set_new(row, "shared_links",
                        json_boolean(setup->has_links && !sim->flags->lanes.exclusive_links));
    json_object_set_new(row, "actions", json_integer(sim->lanes.lowered->action_count));
    return row;
}

static json_t *document_of(const struct pp_cli *cli, const struct pp_simulation *sim) {
    const struct pp_sched *s = sim->flush;
    const struct pp_metrics *m = &sim->metrics;
    char id[65];
    pp_sched_csv_sha256(s, id);
    json_t *document = pp_json_document(cli->command);
    json_object_set_new(document, "schedule",
                        sim->info == NULL ? json_null() : json_string(sim->info->name));
    json_object_set_new(document, "schedule_id", json_string(id));
    json_object_set_new(document, "stages", json_integer(s->stage_count));
    json_object_set_new(document, "microbatches", json_integer(microbatches_of(s)));
    json_object_set_new(document, "flushes", json_integer(sim->flags->lanes.flushes));
    json_object_set_new(document, "communication", communication_json(sim));
    json_object_set_new(document, "makespan_ns", json_integer(m->makespan_ns));
    json_object_set_new(document, "step_ns", json_integer(sim->step_ns));
    json_object_set_new(document, "pace_ns", json_integer(sim->pace_ns));
    json_object_set_new(document, "span_ns", json_integer(m->span_ns));
    json_object_set_new(document, "bubble_ratio", json_real(m->bubble_ratio));
    json_object_set_new(document, "span_bubble_ratio", json_real(m->span_bubble_ratio));
    json_object_set_new(document, "over_ideal_ratio", json_real(m->over_ideal_ratio));
    json_t *ranks = json_array();
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        json_array_append_new(ranks, rank_json(sim, rank));
    }
    json_object_set_new(document, "ranks", ranks);
    struct pp_idle total = pp_idle_total(sim->idle, s->rank_count);
    json_object_set_new(document, "idle_causes", pp_idle_json(&total));
    if (sim->flags->critical_path > 0) {
        json_object_set_new(document, "critical_path", pp_critical_path_json(sim));
    }
    pp_variation_put(&sim->variation, document);
    return document;
}

static void rank_row(const struct pp_simulation *sim, int32_t rank, struct pp_table *t) {
    const struct pp_activation *peak = &sim->peaks[rank];
    char number[PP_NUMBER_BYTES];
    char fraction[PP_FRACTION_BYTES];
    char action[PP_ACTION_TEXT_BYTES];
    pp_table_cell(t, "%d", rank);
    pp_table_cell(t, "%s", pp_us_text(sim->busy_ns[rank], number));
    pp_table_cell(t, "%s", pp_us_text(sim->metrics.makespan_ns - sim->busy_ns[rank], number));
    pp_table_cell(t, "%s", pp_fraction_text(peak->units, peak->per_share, fraction));
    pp_table_cell(t, "%s", pp_action_text(&sim->flush->actions[peak->action], action));
}

static enum pp_status print_text(const struct pp_cli *cli, const struct pp_simulation *sim,
                                 struct pp_err *err) {
    const struct pp_sched *s = sim->flush;
    const struct pp_metrics *m = &sim->metrics;
    char number[PP_NUMBER_BYTES];
    char span[PP_NUMBER_BYTES];
    fprintf(cli->out, "%s: %d ranks, %d stages, %d microbatches, %d actions\n",
            sim->info == NULL ? sim->flags->sched.csv : sim->info->name, s->rank_count,
            s->stage_count, microbatches_of(s), s->action_count);
    if (sim->setup.on_lanes) {
        fprintf(cli->out, "on lanes as runtime %s: %s lowering, %s channels, %d actions\n",
                pp_runtime_text(sim->setup.kind), pp_lower_mode_text(sim->setup.lower.mode),
                pp_channels_text(sim->setup.runtime.comms.channels),
                sim->lanes.lowered->action_count);
    }
    fprintf(cli->out, "makespan %s us, longest span of a rank %s us\n",
            pp_us_text(m->makespan_ns, number), pp_us_text(m->span_ns, span));
    if (sim->repeated != NULL || sim->flags->lanes.optimizer_ns > 0) {
        fprintf(cli->out, "step of %lld flush%s%s %s us\n", (long long)sim->flags->lanes.flushes,
                sim->repeated != NULL ? "es" : "",
                sim->flags->lanes.optimizer_ns > 0 ? " and the optimizer" : "",
                pp_us_text(sim->step_ns, number));
    }
    if (sim->flags->lanes.no_barrier) {
        fprintf(cli->out, "in the long run, without a barrier, %s us a step\n",
                pp_us_text(sim->pace_ns, number));
    }
    fprintf(cli->out, "bubble ratio %.6f, span bubble ratio %.6f, over ideal ratio %.6f\n",
            m->bubble_ratio, m->span_bubble_ratio, m->over_ideal_ratio);
    struct pp_idle total = pp_idle_total(sim->idle, s->rank_count);
    pp_idle_print_line(cli->out, &total);
    fprintf(cli->out, "\n");
    struct pp_table t;
    pp_table_init(&t, "rrrrl");
    pp_table_row(&t, (const char *const[]){"rank", "busy (us)", "idle (us)",
                                           "peak activation (shares)", "at"});
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        rank_row(sim, rank, &t);
    }
    enum pp_status status = pp_table_print(&t, cli->out, err);
    pp_table_deinit(&t);
    if (status == PP_OK && sim->flags->explain) {
        status = pp_idle_print_ranks(cli->out, sim->idle, s->rank_count, err);
    }
    if (status == PP_OK && sim->flags->critical_path > 0) {
        status = pp_critical_path_print(cli->out, sim, err);
    }
    if (status == PP_OK) {
        pp_variation_print(&sim->variation, cli->out);
    }
    return status;
}

/* The result, and, above the memory limit, an error beside it. */
static enum pp_status answer(struct pp_cli *cli, const struct pp_simulation *sim,
                             struct pp_err *err) {
    if (!cli->json) {
        PP_TRY(print_text(cli, sim, err));
    }
    struct pp_activation worst;
    json_t *document = cli->json ? document_of(cli, sim) : json_object();
    if (pp_activation_check(&sim->flags->costs, sim->flush, sim->peaks, &worst, err) != PP_OK) {
        const int64_t *limit = sim->flags->costs.limit;
        json_t *error = pp_json_error(err);
        json_object_set_new(error, "rank", json_integer(worst.rank));
        json_object_set_new(error, "action", action_json(sim->flush, worst.action));
        json_object_set_new(error, "peak_activation", fraction_json(worst.units, worst.per_share));
        json_object_set_new(error, "memory_limit", fraction_json(limit[0], limit[1]));
        json_object_set_new(document, "error", error);
    }
    return pp_cli_answer(cli, document, err);
}

/* A deadlock as an answer: each wait names the next. */
static enum pp_status answer_deadlock(struct pp_cli *cli, const struct pp_simulation *sim,
                                      struct pp_err *err) {
    json_t *error = pp_json_error(err);
    json_object_set_new(error, "cycle", pp_json_deadlock(pp_simulation_ran(sim), &sim->deadlock));
    json_t *document = pp_json_document(cli->command);
    json_object_set_new(document, "error", error);
    return pp_cli_answer(cli, document, err);
}

/* What does not go together is refused before anything is simulated. */
static enum pp_status check_flags(const struct pp_simulate_flags *flags, struct pp_err *err) {
    PP_TRY(pp_vary_options_check(&flags->vary, err));
    const char *flag = pp_lane_options_flag(&flags->lanes);
    if (flag != NULL && pp_vary_options_asked_for(&flags->vary)) {
        pp_fail(err, PP_E_USAGE,
                "durations cannot vary where communication has lanes, which %s asks for", flag);
        pp_hint(err, "leave out the flags of either; --t-p2p alone needs no lanes");
        return PP_E_USAGE;
    }
    return PP_OK;
}

static enum pp_status simulate(struct pp_cli *cli, const struct pp_simulate_flags *flags,
                               const struct pp_usage *usage, struct pp_err *err) {
    struct pp_simulation sim = {.flags = flags, .stop = cli->stop};
    PP_TRY(check_flags(flags, err));
    enum pp_status status = pp_simulation_run(&sim, usage, err);
    if (status == PP_OK) {
        status = pp_variation_run(&sim.variation, &flags->vary, pp_simulation_compute(&sim),
                                  &sim.costs.costs, cli->stop, err);
    }
    if (status == PP_OK) {
        status = answer(cli, &sim, err);
    } else if (status == PP_E_DEADLOCK && pp_simulation_ran(&sim) != NULL) {
        status = answer_deadlock(cli, &sim, err);
    }
    pp_simulation_deinit(&sim);
    return status;
}

enum pp_status pp_cmd_simulate(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    struct pp_simulate_flags flags = {.costs = PP_COST_OPTIONS_DEFAULT,
                                      .lanes = PP_LANE_OPTIONS_DEFAULT,
                                      .vary = PP_VARY_OPTIONS_DEFAULT};
    const struct pp_option own[] = {
        {"", PP_OPT_HEADING, NULL, NULL, 0, 0, "", "OUTPUT:"},
        {"--explain", PP_OPT_FLAG, &flags.explain, NULL, 0, 0, "",
         "say of every rank why it is idle"},
        {"--critical-path", PP_OPT_INT, &flags.critical_path, NULL, 0, PP_SCHED_MAX_LOWERED_ACTIONS,
         "N", "show the last N actions of the critical path"},
    };
    enum { OWN_COUNT = sizeof own / sizeof own[0] };
    struct pp_option options[PP_SCHED_OPTION_COUNT + PP_COST_OPTION_COUNT + PP_LANE_OPTION_COUNT +
                             PP_VARY_OPTION_COUNT + OWN_COUNT];
    struct pp_option *row = options;
    pp_sched_options_rows(&flags.sched, row);
    pp_cost_options_rows(&flags.costs, row += PP_SCHED_OPTION_COUNT);
    pp_lane_options_rows(&flags.lanes, row += PP_COST_OPTION_COUNT);
    pp_vary_options_rows(&flags.vary, row += PP_LANE_OPTION_COUNT);
    memcpy(row + PP_VARY_OPTION_COUNT, own, sizeof own);
    const struct pp_usage usage = {
        .synopsis = "pipeplan simulate (--schedule NAME --pp P --microbatches M | --csv FILE "
                    "--stages S) [COSTS] [COMMUNICATION] [VARIATION]",
        .about = "Runs a schedule on paper: makespan, bubbles, why ranks are idle, and what each "
                 "rank does and holds.",
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
