#include "reports/cli/sched_options.h"

void pp_sched_options_rows(struct pp_sched_options *o, struct pp_option *rows) {
    const struct pp_option table[PP_SCHED_OPTION_COUNT] = {
        {"--schedule", PP_OPT_TEXT, &o->schedule, &o->has_schedule, 0, 0, "NAME",
         "as `pipeplan schedule --list` names it"},
        {"--pp", PP_OPT_INT, &o->pp, &o->has_pp, 1, PP_SCHED_MAX_RANKS, "P", "pipeline ranks"},
        {"--stages-per-rank", PP_OPT_INT, &o->stages_per_rank, &o->has_stages_per_rank, 1,
         PP_SCHED_MAX_STAGES, "V", "default: the schedule's own, 1 or 2"},
        {"--microbatches", PP_OPT_INT, &o->microbatches, &o->has_microbatches, 1,
         PP_SCHED_MAX_MICROBATCHES, "M", "microbatches of one flush"},
        {"--group", PP_OPT_INT, &o->group, &o->has_group, 1, PP_SCHED_MAX_MICROBATCHES, "G",
         "group size, for schedules that have one"},
        {"--slices", PP_OPT_INT, &o->slices, &o->has_slices, 1, PP_SCHED_MAX_MICROBATCHES, "N",
         "sequence slices, for schedules that have them"},
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

enum pp_status pp_sched_options_make(const struct pp_sched_options *o,
                                     const struct pp_cost_options *cost_options,
                                     const struct pp_usage *usage,
                                     const struct pp_schedule_info **info_p,
                                     struct pp_sched **sched_p, struct pp_err *err) {
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
    PP_TRY(make(info, &config, cost_options, sched_p, err));
    if (info_p != NULL) {
        *info_p = info;
    }
    return PP_OK;
}
