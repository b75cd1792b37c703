#include "sim/gen_priv.h"

#include <stdlib.h>
#include <string.h>

static const struct pp_schedule_info schedules[] = {
    {
        .name = "GPipe",
        .kind = PP_KIND_SINGLE,
        .placement = PP_PLACE_LOOP,
        .automodel_placement = PP_PLACE_LOOP,
        .min_stages_per_rank = 1,
        .max_stages_per_rank = 1,
        .default_stages_per_rank = 1,
        .microbatch_rule = "any",
        .bubble = "(p-1)/(m+p-1)",
        .memory = "m",
        .source = "Huang et al., GPipe, arXiv 1811.06965; PyTorch 2.14.1 ScheduleGPipe",
        .check = pp_gen_check_any,
        .generate = pp_gen_gpipe,
    },
    {
        .name = "1F1B",
        .kind = PP_KIND_SINGLE,
        .placement = PP_PLACE_LOOP,
        .automodel_placement = PP_PLACE_LOOP,
        .min_stages_per_rank = 1,
        .max_stages_per_rank = 1,
        .default_stages_per_rank = 1,
        .microbatch_rule = "m >= p",
        .bubble = "(p-1)/(m+p-1)",
        .memory = "p",
        .source = "Narayanan et al., PipeDream-Flush, arXiv 2006.09503; PyTorch 2.14.1 "
                  "Schedule1F1B",
        .check = pp_gen_check_1f1b,
        .generate = pp_gen_1f1b,
    },
    {
        .name = "Interleaved1F1B",
        .kind = PP_KIND_MULTI,
        .placement = PP_PLACE_LOOP,
        .automodel_placement = PP_PLACE_LOOP,
        .min_stages_per_rank = 1,
        .default_stages_per_rank = 2,
        .microbatch_rule = "m a multiple of max(1, floor(m/p))",
        .bubble = "(p-1)/(v*m+p-1) for m a multiple of p",
        .memory = "p + (p-1)/v",
        .source = "Narayanan et al., Megatron-LM, arXiv 2104.04473; PyTorch 2.14.1 "
                  "ScheduleInterleaved1F1B",
        .check = pp_gen_check_rounds,
        .generate = pp_gen_interleaved_1f1b,
    },
    {
        .name = "LoopedBFS",
        .kind = PP_KIND_MULTI,
        .placement = PP_PLACE_LOOP,
        .automodel_placement = PP_PLACE_LOOP,
        .min_stages_per_rank = 1,
        .default_stages_per_rank = 2,
        .microbatch_rule = "any",
        .bubble = "(p-1)/(v*m+p-1) for m >= p",
        .memory = "m",
        .source = "Lamy-Poirier, Breadth-First Pipeline Parallelism, arXiv 2211.05953; PyTorch "
                  "2.14.1 ScheduleLoopedBFS",
        .check = pp_gen_check_any,
        .generate = pp_gen_looped_bfs,
    },
    {
        .name = "InterleavedZeroBubble",
        .kind = PP_KIND_MULTI,
        .placement = PP_PLACE_LOOP,
        .automodel_placement = PP_PLACE_LOOP,
        .min_stages_per_rank = 1,
        .default_stages_per_rank = 2,
        .splits_backward = true,
        .microbatch_rule = "m a multiple of max(1, floor(m/p))",
        .bubble = "(p-1)/(3*v*m+p-1) for F = I = W and m a multiple of p",
        .memory = "p",
        .source = "Qi et al., Zero Bubble Pipeline Parallelism, arXiv 2401.10241; PyTorch 2.14.1 "
                  "ScheduleInterleavedZeroBubble",
        .check = pp_gen_check_rounds,
        .generate = pp_gen_interleaved_zero_bubble,
    },
    {
        .name = "ZBVZeroBubble",
        .kind = PP_KIND_MULTI,
        .placement = PP_PLACE_V,
        .automodel_placement = PP_PLACE_V,
        .min_stages_per_rank = 2,
        .max_stages_per_rank = 2,
        .default_stages_per_rank = 2,
        .splits_backward = true,
        .microbatch_rule = "any",
        .bubble = "(p-1)/(6*m+p-1) for F = I = W",
        .memory = "p",
        .source = "Qi et al., Pipeline Parallelism with Controllable Memory, arXiv 2405.15362; "
                  "PyTorch 2.14.1 ScheduleZBVZeroBubble",
        .check = pp_gen_check_any,
        .generate = pp_gen_zbv,
    },
    {
        .name = "DualPipeV",
        .kind = PP_KIND_MULTI,
        .placement = PP_PLACE_V,
        .automodel_placement = PP_PLACE_LOOP,
        .min_stages_per_rank = 2,
        .max_stages_per_rank = 2,
        .default_stages_per_rank = 2,
        .splits_backward = true,
        .microbatch_rule = "m >= 2p",
        .bubble = "(p-1)/(6*m+p-1) for F = I = W and pairs that run in order",
        .memory = "p + 1/2",
        .source = "DeepSeek, DualPipe (V form); PyTorch 2.14.1 ScheduleDualPipeV",
        .check = pp_gen_check_dualpipev,
        .generate = pp_gen_dualpipev,
    },
};

enum { SCHEDULE_COUNT = sizeof schedules / sizeof schedules[0] };

int32_t pp_schedule_count(void) {
    return SCHEDULE_COUNT;
}

const struct pp_schedule_info *pp_schedule_at(int32_t index) {
    PP_ASSERT(index >= 0 && index < SCHEDULE_COUNT);
    return &schedules[index];
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

static enum pp_status check_total(const struct pp_schedule_info *info,
                                  const struct pp_gen_config *c, struct pp_err *err) {
    int64_t most = (int64_t)c->rank_count * c->stages_per_rank * c->microbatch_count *
                   (info->splits_backward ? 3 : 2);
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
    PP_TRY(info->check(config, err));
    return check_total(info, config, err);
}

static enum pp_status create(const struct pp_schedule_info *info, const struct pp_gen_config *c,
                             struct pp_sched **sched_p, struct pp_err *err) {
    int32_t stage_count = c->rank_count * c->stages_per_rank;
    int32_t *stage_rank = malloc((size_t)stage_count * sizeof *stage_rank);
    if (stage_rank == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d stages", stage_count);
    }
    enum pp_status status = pp_place(info->placement, c->rank_count, stage_count, stage_rank, err);
    if (status == PP_OK) {
        status = pp_sched_create(c->rank_count, stage_count, c->microbatch_count, stage_rank,
                                 sched_p, err);
    }
    free(stage_rank);
    return status;
}

enum pp_status pp_schedule_generate(const struct pp_schedule_info *info,
                                    const struct pp_gen_config *config, struct pp_sched **sched_p,
                                    struct pp_err *err) {
    PP_TRY(pp_schedule_check(info, config, err));
    struct pp_sched *s = NULL;
    PP_TRY(create(info, config, &s, err));
    enum pp_status status = info->generate(config, s, err);
    if (status == PP_OK) {
        status = pp_sched_seal(s, err);
    }
    if (status != PP_OK) {
        pp_sched_destroy(s);
        return status;
    }
    *sched_p = s;
    return PP_OK;
}
