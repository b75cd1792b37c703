#include "reports/cli/sched_options.h"

#include "sim/schedule_csv.h"

void pp_sched_options_rows(struct pp_sched_options *o, struct pp_option *rows) {
    const struct pp_option table[PP_SCHED_OPTION_COUNT] = {
        {"--schedule", PP_OPT_TEXT, &o->schedule, &o->has_schedule, 0, 0, "NAME",
         "as `pipeplan schedule --list` names it; with --csv DualPipe, Chimera, Seq1F1B"},
        {"--pp", PP_OPT_INT, &o->pp, &o->has_pp, 1, PP_SCHED_MAX_RANKS, "P", "pipeline ranks"},
        {"--stages-per-rank", PP_OPT_INT, &o->stages_per_rank, &o->has_stages_per_rank, 1,
         PP_SCHED_MAX_STAGES, "V", "default: the schedule's own, 1 or 2"},
        {"--microbatches", PP_OPT_INT, &o->microbatches, &o->has_microbatches, 1,
         PP_SCHED_MAX_MICROBATCHES, "M", "microbatches of one flush"},
        {"--group", PP_OPT_INT, &o->group, &o->has_group, 1, PP_SCHED_MAX_MICROBATCHES, "G",
         "group size, for schedules that have one"},
        {"--slices", PP_OPT_INT, &o->slices, &o->has_slices, 1, PP_SCHED_MAX_MICROBATCHES, "N",
         "sequence slices, for schedules that have them"},
        {"--csv", PP_OPT_TEXT, &o->csv, NULL, 0, 0, "FILE",
         "a compute-only schedule CSV instead of a name"},
        {"--stages", PP_OPT_INT, &o->stages, &o->has_stages, 1, PP_SCHED_MAX_STAGES, "S",
         "stages that the CSV has"},
    };
    for (int32_t i = 0; i < PP_SCHED_OPTION_COUNT; i++) {
        rows[i] = table[i];
    }
}

static enum pp_status refuse_foreign(const struct pp_sched_options *o,
                                     const struct pp_schedule_info *info, struct pp_err *err) {
    bool foreign_group = o->has_group && !info->takes_group;
    if (!foreign_group && !(o->has_slices && !info->takes_slices)) {
        return PP_OK;
    }
    const char *flag = foreign_group ? "--group" : "--slices";
    pp_fail(err, PP_E_VALUE, "%s does not take %s", info->name, flag);
    pp_hint(err, "leave %s out", flag);
    return PP_E_VALUE;
}

/* Costs can be told once the placement is there, and the order once the costs are. */
static enum pp_status make(const struct pp_schedule_info *info, struct pp_gen_config *config,
                           const struct pp_cost_options *cost_options, struct pp_sched **sched_p,
                           struct pp_err *err) {
    struct pp_sched *s = NULL;
    struct pp_stage_costs costs;
    PP_TRY(pp_schedule_begin(info, config, &s, err));
    enum pp_status status = pp_stage_costs_init(&costs, cost_options, s, err);
    if (status == PP_OK) {
        struct pp_gen_costs for_generator = pp_stage_costs_for_generator(&costs);
        config->costs = &for_generator;
        status = pp_schedule_finish(info, config, s, err);
        pp_stage_costs_deinit(&costs);
    }
    if (status != PP_OK) {
        pp_sched_destroy(s);
        return status;
    }
    *sched_p = s;
    return PP_OK;
}

static enum pp_status generate(const struct pp_sched_options *o,
                               const struct pp_cost_options *cost_options,
                               const struct pp_usage *usage, const struct pp_schedule_info **info_p,
                               struct pp_sched **sched_p, struct pp_err *err) {
    if (o->has_stages) {
        pp_fail(err, PP_E_USAGE, "--stages goes with --csv");
        pp_hint(err, "a schedule by name takes --stages-per-rank");
        return PP_E_USAGE;
    }
    PP_TRY(pp_need_option(o->has_schedule, "--schedule", usage, err));
    PP_TRY(pp_need_option(o->has_pp, "--pp", usage, err));
    PP_TRY(pp_need_option(o->has_microbatches, "--microbatches", usage, err));
    const struct pp_schedule_info *info = NULL;
    PP_TRY(pp_schedule_find(o->schedule, &info, err));
    PP_TRY(refuse_foreign(o, info, err));
    struct pp_gen_config config = {
        .rank_count = (int32_t)o->pp,
        .stages_per_rank =
            o->has_stages_per_rank ? (int32_t)o->stages_per_rank : info->default_stages_per_rank,
        .microbatch_count = (int32_t)o->microbatches,
        .group = o->has_group ? (int32_t)o->group : 0,
        .slice_count = o->has_slices ? (int32_t)o->slices : 0,
    };
    *info_p = info;
    return make(info, &config, cost_options, sched_p, err);
}

static enum pp_status expect_two_pipelines(struct pp_csv_expect *expect,
                                           const struct pp_schedule_info *info,
                                           struct pp_err *err) {
    if (expect->microbatch_count % 2 != 0) {
        return pp_fail(err, PP_E_MICROBATCH,
                       "%s shares %d microbatches out between two pipelines, need an even number",
                       info->name, expect->microbatch_count);
    }
    if (expect->stage_count % 2 != 0) {
        return pp_fail(err, PP_E_STAGES,
                       "%s has a stage of each copy of the model for every part, need an even "
                       "number of stages, got %d",
                       info->name, expect->stage_count);
    }
    expect->is_bidirectional = true;
    expect->microbatch_count /= 2;
    return PP_OK;
}

static enum pp_status expect_slices(struct pp_csv_expect *expect, int32_t slice_count,
                                    struct pp_err *err) {
    int64_t units = (int64_t)expect->microbatch_count * slice_count;
    if (units > PP_SCHED_MAX_MICROBATCHES) {
        return pp_fail(err, PP_E_RANGE, "%d microbatches of %d slices, need at most %d units",
                       expect->microbatch_count, slice_count, PP_SCHED_MAX_MICROBATCHES);
    }
    expect->slice_count = slice_count;
    expect->microbatch_count = (int32_t)units;
    return PP_OK;
}

enum pp_status pp_csv_expect_kind(struct pp_csv_expect *expect, const struct pp_schedule_info *info,
                                  int32_t slice_count, struct pp_err *err) {
    if (slice_count > 0 && (info == NULL || !info->takes_slices)) {
        pp_fail(err, PP_E_VALUE, "--slices goes with a --schedule that has them");
        pp_hint(err, "leave --slices out, or name Seq1F1B");
        return PP_E_VALUE;
    }
    if (info != NULL && info->is_bidirectional) {
        return expect_two_pipelines(expect, info, err);
    }
    return slice_count > 0 ? expect_slices(expect, slice_count, err) : PP_OK;
}

static enum pp_status refuse_with_csv(bool given, const char *flag, struct pp_err *err) {
    if (!given) {
        return PP_OK;
    }
    pp_fail(err, PP_E_USAGE, "--csv and %s exclude each other", flag);
    pp_hint(err, "the file holds the whole order; leave %s out", flag);
    return PP_E_USAGE;
}

/* The file holds the order; only of two pipelines or of slices it cannot tell that it is one. */
static enum pp_status read_csv(const struct pp_sched_options *o, const struct pp_usage *usage,
                               struct pp_sched **sched_p, struct pp_err *err) {
    const struct pp_schedule_info *kind = NULL;
    if (o->has_schedule) {
        PP_TRY(pp_schedule_find(o->schedule, &kind, err));
        PP_TRY(refuse_with_csv(!kind->is_bidirectional && !kind->takes_slices, "--schedule", err));
    }
    PP_TRY(refuse_with_csv(o->has_stages_per_rank, "--stages-per-rank", err));
    PP_TRY(refuse_with_csv(o->has_group, "--group", err));
    PP_TRY(refuse_with_csv(o->has_slices && kind == NULL, "--slices", err));
    PP_TRY(pp_need_option(o->has_stages, "--stages", usage, err));
    struct pp_csv_expect expect = {
        .rank_count = o->has_pp ? (int32_t)o->pp : 0,
        .stage_count = (int32_t)o->stages,
        .microbatch_count = o->has_microbatches ? (int32_t)o->microbatches : 0,
    };
    PP_TRY(pp_csv_expect_kind(&expect, kind, o->has_slices ? (int32_t)o->slices : 0, err));
    return pp_sched_csv_read(o->csv, &expect, sched_p, err);
}

enum pp_status pp_sched_options_make(const struct pp_sched_options *o,
                                     const struct pp_cost_options *cost_options,
                                     const struct pp_usage *usage,
                                     const struct pp_schedule_info **info_p,
                                     struct pp_sched **sched_p, struct pp_err *err) {
    *info_p = NULL;
    return o->csv != NULL ? read_csv(o, usage, sched_p, err)
                          : generate(o, cost_options, usage, info_p, sched_p, err);
}
