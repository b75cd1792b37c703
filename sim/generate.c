#include "sim/gen_priv.h"

#include <stdlib.h>
#include <string.h>

static const struct pp_schedule_info *const schedules[] = {
#define PP_SCHEDULE_ROW(id) &pp_gen_info_##id,
    PP_SCHEDULE_LIST(PP_SCHEDULE_ROW)
#undef PP_SCHEDULE_ROW
};

enum { SCHEDULE_COUNT = sizeof schedules / sizeof schedules[0] };

int32_t pp_schedule_count(void) {
    return SCHEDULE_COUNT;
}

const struct pp_schedule_info *pp_schedule_at(int32_t index) {
    PP_ASSERT(index >= 0 && index < SCHEDULE_COUNT);
    return schedules[index];
}

int32_t pp_schedule_torch_count(void) {
    int32_t n = 0;
    while (n < SCHEDULE_COUNT && schedules[n]->in_pytorch) {
        n++;
    }
    return n;
}

static enum pp_status check_ranges(const struct pp_gen_config *c, struct pp_err *err) {
    if (c->rank_count < 1 || c->rank_count > PP_SCHED_MAX_RANKS) {
        return pp_fail(err, PP_E_RANGE, "ranks: got %d, need 1 to %d", c->rank_count,
                       PP_SCHED_MAX_RANKS);
    }
    int32_t most_stages = PP_SCHED_MAX_STAGES / c->rank_count;
    if (c->stages_per_rank < 1 || c->stages_per_rank > most_stages) {
        return pp_fail(err, PP_E_RANGE, "stages a rank: got %d, need 1 to %d with %d ranks",
                       c->stages_per_rank, most_stages, c->rank_count);
    }
    if (c->microbatch_count < 1 || c->microbatch_count > PP_SCHED_MAX_MICROBATCHES) {
        return pp_fail(err, PP_E_RANGE, "microbatches: got %d, need 1 to %d", c->microbatch_count,
                       PP_SCHED_MAX_MICROBATCHES);
    }
    return PP_OK;
}

static enum pp_status check_stages(const struct pp_schedule_info *info,
                                   const struct pp_gen_config *c, struct pp_err *err) {
    int32_t low = info->min_stages_per_rank;
    int32_t high = info->max_stages_per_rank;
    if (c->stages_per_rank >= low && (high == 0 || c->stages_per_rank <= high)) {
        return PP_OK;
    }
    if (low == high) {
        return pp_fail(err, PP_E_STAGES, "%s needs exactly %d stage%s a rank: got %d", info->name,
                       low, low == 1 ? "" : "s", c->stages_per_rank);
    }
    return pp_fail(err, PP_E_STAGES, "%s needs at least %d stages a rank: got %d", info->name, low,
                   c->stages_per_rank);
}

static enum pp_status check_slices(const struct pp_schedule_info *info,
                                   const struct pp_gen_config *c, struct pp_err *err) {
    if (c->group != 0 && !info->takes_group) {
        return pp_fail(err, PP_E_VALUE, "%s has no groups: got %d", info->name, c->group);
    }
    if (c->slice_count != 0 && !info->takes_slices) {
        return pp_fail(err, PP_E_VALUE, "%s has no slices: got %d", info->name, c->slice_count);
    }
    if (c->slice_count < 0 ||
        (int64_t)pp_gen_slices(info, c) * c->microbatch_count > PP_SCHED_MAX_MICROBATCHES) {
        return pp_fail(err, PP_E_RANGE, "slices: %d of %d microbatches, need 1 to %d units in all",
                       c->slice_count, c->microbatch_count, PP_SCHED_MAX_MICROBATCHES);
    }
    return PP_OK;
}

/* Actions that the schedule has at most. */
static int64_t most_actions(const struct pp_schedule_info *info, const struct pp_gen_config *c) {
    return (int64_t)c->rank_count * c->stages_per_rank * pp_gen_unit_count(info, c) *
           ((info->splits_backward ? 3 : 2) + (info->offloads ? 2 : 0));
}

static enum pp_status check_total(const struct pp_schedule_info *info,
                                  const struct pp_gen_config *c, struct pp_err *err) {
    int64_t most = most_actions(info, c);
    if (most <= PP_SCHED_MAX_ACTIONS) {
        return PP_OK;
    }
    return pp_fail(err, PP_E_RANGE,
                   "%d ranks x %d stages a rank x %d microbatches make up to %lld actions, the "
                   "limit is %d",
                   c->rank_count, c->stages_per_rank, c->microbatch_count, (long long)most,
                   PP_SCHED_MAX_ACTIONS);
}

enum pp_status pp_schedule_check(const struct pp_schedule_info *info,
                                 const struct pp_gen_config *config, struct pp_err *err) {
    PP_TRY(check_ranges(config, err));
    PP_TRY(check_stages(info, config, err));
    PP_TRY(check_slices(info, config, err));
    PP_TRY(info->check(config, err));
    return check_total(info, config, err);
}

int32_t pp_gen_slices(const struct pp_schedule_info *info, const struct pp_gen_config *c) {
    int32_t slices = c->slice_count > 0 ? c->slice_count : info->default_slices;
    return slices > 0 ? slices : 1;
}

int32_t pp_gen_unit_count(const struct pp_schedule_info *info, const struct pp_gen_config *c) {
    return c->microbatch_count * pp_gen_slices(info, c) / (info->is_bidirectional ? 2 : 1);
}

static enum pp_status create(const struct pp_schedule_info *info, const struct pp_gen_config *c,
                             struct pp_sched **sched_p, struct pp_err *err) {
    int32_t stage_count = c->rank_count * c->stages_per_rank;
    int32_t *stage_rank = malloc((size_t)stage_count * sizeof *stage_rank);
    if (stage_rank == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d stages", stage_count);
    }
    struct pp_sched *s = NULL;
    enum pp_status status = pp_place(info->placement, c->rank_count, stage_count, stage_rank, err);
    if (status == PP_OK) {
        status = pp_sched_create(c->rank_count, stage_count, pp_gen_unit_count(info, c), stage_rank,
                                 &s, err);
    }
    if (status == PP_OK && info->is_bidirectional) {
        status = pp_sched_set_bidirectional(s, err);
    }
    if (status == PP_OK) {
        status = pp_sched_set_slices(s, pp_gen_slices(info, c), err);
    }
    free(stage_rank);
    if (status != PP_OK) {
        pp_sched_destroy(s);
        return status;
    }
    *sched_p = s;
    return PP_OK;
}

enum pp_status pp_schedule_begin(const struct pp_schedule_info *info,
                                 const struct pp_gen_config *config, struct pp_sched **sched_p,
                                 struct pp_err *err) {
    PP_TRY(pp_schedule_check(info, config, err));
    return create(info, config, sched_p, err);
}

enum pp_status pp_schedule_finish(const struct pp_schedule_info *info,
                                  const struct pp_gen_config *config, struct pp_sched *s,
                                  struct pp_err *err) {
    if (config->costs != NULL) {
        PP_TRY(pp_costs_check(&config->costs->times, s, err));
    }
    PP_TRY(pp_sched_expect(s, (int32_t)most_actions(info, config), err));
    PP_TRY(info->generate(config, s, err));
    return pp_sched_seal(s, err);
}

enum pp_status pp_schedule_generate(const struct pp_schedule_info *info,
                                    const struct pp_gen_config *config, struct pp_sched **sched_p,
                                    struct pp_err *err) {
    struct pp_sched *s = NULL;
    PP_TRY(pp_schedule_begin(info, config, &s, err));
    enum pp_status status = pp_schedule_finish(info, config, s, err);
    if (status != PP_OK) {
        pp_sched_destroy(s);
        return status;
    }
    *sched_p = s;
    return PP_OK;
}
