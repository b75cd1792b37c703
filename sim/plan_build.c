/* From choices to a plan that can be evaluated: split, placement, batch. Automodel's rules for
 * recipes (36044ad3, recipes/llm/train_ft.py and training/step_scheduler.py), PyTorch's for
 * schedules. */
#include "sim/plan_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum pp_status pp_plan_config_of_recipe(const struct pp_recipe *recipe,
                                        struct pp_plan_config *config_p, struct pp_err *err) {
    const struct pp_pipeline_config *p = &recipe->pipeline;
    struct pp_plan_config c = {
        .pp_size = recipe->pp_size,
        .microbatch_size = p->pp_microbatch_size,
        .local_batch_size = recipe->local_batch_size,
    };
    if (recipe->pp_size > 1) {
        c.has_layers_per_stage = p->has_layers_per_stage;
        c.layers_per_stage = p->layers_per_stage;
        c.round = p->round;
        c.uses_csv = p->pp_schedule_csv != NULL;
        c.uses_fqns = p->has_fqns;
    } else {
        c.microbatch_size = recipe->local_batch_size; /* the whole local batch at once */
    }
    *config_p = c; /* the rest is known also where the schedule is not */
    return recipe->pp_size > 1 ? pp_schedule_find_torch(p->pp_schedule, &config_p->schedule, err)
                               : PP_OK;
}

static enum pp_status alloc_split(struct pp_plan *plan, struct pp_err *err) {
    size_t n = (size_t)plan->stage_count;
    plan->layer_counts = malloc(n * sizeof *plan->layer_counts);
    plan->stage_rank = malloc(n * sizeof *plan->stage_rank);
    if (plan->layer_counts == NULL || plan->stage_rank == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d stages", plan->stage_count);
    }
    return PP_OK;
}

struct pp_split_request pp_plan_split_request(const struct pp_plan_request *req,
                                              const struct pp_plan_config *config) {
    return (struct pp_split_request){
        .layer_count = req->model->layer_count,
        .pp_size = config->pp_size,
        .layers_per_stage = config->layers_per_stage,
        .has_layers_per_stage = config->has_layers_per_stage,
        .round = config->round,
        .kind = config->schedule->kind,
    };
}

static void put_setting(struct pp_text *t, const char *key, const char *value) {
    pp_text_printf(t, " --set distributed.%s=%s", key, value);
}

static void put_fix(struct pp_text *t, const struct pp_split_fix *fix) {
    char number[16];
    if (fix->sets_layers_per_stage) {
        snprintf(number, sizeof number, "%d", fix->layers_per_stage);
        put_setting(t, "pipeline.layers_per_stage", number);
    }
    if (fix->sets_round) {
        put_setting(t, "pipeline.round_virtual_stages_to_pp_multiple", pp_round_name(fix->round));
    }
    if (fix->sets_pp) {
        snprintf(number, sizeof number, "%d", fix->pp_size);
        put_setting(t, "pp_size", number);
    }
    if (fix->sets_schedule) {
        put_setting(t, "pipeline.pp_schedule",
                    fix->kind == PP_KIND_SINGLE ? "1F1B" : "Interleaved1F1B");
    }
}

/* Advice for a refused split: the first changes that work, ready to paste. */
static void hint_split(const struct pp_split_request *req, struct pp_err *err) {
    enum { SHOWN = 2 };
    struct pp_split_fix fixes[PP_SPLIT_MAX_FIXES];
    struct pp_text text = {0};
    int32_t count = pp_split_fixes(req, fixes);
    for (int32_t i = 0; i < count && i < SHOWN; i++) {
        pp_text_puts(&text, i == 0 ? "try" : ", or");
        put_fix(&text, &fixes[i]);
    }
    if (count > 0 && !text.failed) {
        pp_hint(err, "%s", text.bytes);
    }
    pp_text_free(&text);
}

/* Automodel computes the stage count from layers_per_stage even where the module lists decide. */
static enum pp_status count_stages(const struct pp_plan_world *world, struct pp_plan *plan,
                                   struct pp_err *err) {
    const struct pp_plan_config *c = &plan->config;
    if (c->schedule == NULL) {
        plan->stage_count = plan->stages_per_rank = 1;
        return PP_OK;
    }
    struct pp_split_request req = pp_plan_split_request(world->req, &plan->config);
    struct pp_split split = {0};
    enum pp_status status = pp_split_stages(&req, &split, err);
    if (status != PP_OK) {
        hint_split(&req, err);
        return status;
    }
    plan->stage_count = split.stage_count;
    plan->stages_per_rank = split.stages_per_rank;
    return PP_OK;
}

static enum pp_status use_fqns(const struct pp_plan_world *world, struct pp_plan *plan,
                               struct pp_err *err) {
    const struct pp_fqn_lists *lists = &world->req->recipe->pipeline.fqns;
    const struct pp_schedule_info *info = plan->config.schedule;
    int32_t pp = plan->config.pp_size;
    int32_t per_rank = lists->part_count / pp;
    bool single = info->kind == PP_KIND_SINGLE;
    if (lists->part_count % pp != 0 || (single ? per_rank != 1 : per_rank < 2)) {
        pp_fail(err, PP_E_FQN,
                "module_fqns_per_model_part has %d parts; %s on %d pipeline ranks needs %s",
                lists->part_count, info->name, pp,
                single ? "one a rank" : "the same number, at least two, on every rank");
        pp_hint(err, "write %d lists", pp * (single ? 1 : 2));
        return PP_E_FQN;
    }
    plan->stage_count = lists->part_count;
    plan->stages_per_rank = per_rank;
    PP_TRY(alloc_split(plan, err));
    enum pp_status status =
        pp_fqn_check(lists, world->req->model->layer_count, pp, plan->layer_counts, err);
    if (status != PP_OK) { /* of such a split nothing is known to tell */
        free(plan->layer_counts);
        free(plan->stage_rank);
        plan->layer_counts = NULL;
        plan->stage_rank = NULL;
    }
    return status;
}

/* The recipe's CSV replaces the order only: its stages must lie where the name puts them. */
static enum pp_status check_csv(const struct pp_plan_world *world, const struct pp_plan *plan,
                                struct pp_err *err) {
    const struct pp_sched *csv = world->req->csv;
    const char *path = world->req->recipe->pipeline.pp_schedule_csv;
    if (csv->rank_count != plan->config.pp_size || csv->stage_count != plan->stage_count) {
        enum pp_status status = pp_fail(
            err, PP_E_CSV, "%s holds %d ranks and %d stages; the recipe builds %d and %d", path,
            csv->rank_count, csv->stage_count, plan->config.pp_size, plan->stage_count);
        pp_hint(err, "choose layers_per_stage so that %d stages are built, or another file",
                csv->stage_count);
        return status;
    }
    for (int32_t s = 0; s < csv->stage_count; s++) {
        if (csv->stage_rank[s] != plan->stage_rank[s]) {
            pp_fail(
                err, PP_E_PLACEMENT,
                "%s runs stage %d on rank %d, but under the name %s Automodel builds it on rank "
                "%d",
                path, s, csv->stage_rank[s], plan->config.schedule->name, plan->stage_rank[s]);
            pp_hint(err, "pair a V-shaped file with pp_schedule=ZBVZeroBubble, a looped one "
                         "with Interleaved1F1B");
            return PP_E_PLACEMENT;
        }
    }
    return PP_OK;
}

enum pp_status pp_plan_build_split(const struct pp_plan_world *world, struct pp_plan *plan,
                                   struct pp_err *err) {
    const struct pp_schedule_info *info = plan->config.schedule;
    PP_TRY(count_stages(world, plan, err));
    if (plan->config.uses_fqns) {
        PP_TRY(use_fqns(world, plan, err));
    } else {
        PP_TRY(alloc_split(plan, err));
        for (int32_t s = 0; s < plan->stage_count; s++) {
            plan->layer_counts[s] =
                pp_split_layers_of(world->req->model->layer_count, plan->stage_count, s);
        }
    }
    enum pp_placement placement = info == NULL ? PP_PLACE_LOOP : info->automodel_placement;
    PP_TRY(pp_place(placement, plan->config.pp_size, plan->stage_count, plan->stage_rank, err));
    enum pp_status status =
        pp_place_check_automodel(placement, plan->config.pp_size, plan->stage_count, err);
    if (status != PP_OK) {
        struct pp_split_request req = pp_plan_split_request(world->req, &plan->config);
        req.placement = placement;
        hint_split(&req, err);
        return status;
    }
    if (info != NULL && info->placement != info->automodel_placement) {
        pp_fail(
            err, PP_E_PLACEMENT,
            "%s needs its stages in a V, but Automodel places them in a loop: the run would hang",
            info->name);
        pp_hint(err, "use ZBVZeroBubble, which Automodel places in a V");
        return PP_E_PLACEMENT;
    }
    return plan->config.uses_csv ? check_csv(world, plan, err) : PP_OK;
}

static enum pp_status check_flushes(const struct pp_plan_world *world, struct pp_plan *plan,
                                    struct pp_err *err) {
    int64_t local = plan->config.local_batch_size;
    if (world->sequences > 0 && world->sequences % local == 0) {
        plan->flush_count = world->sequences / local;
        return PP_OK;
    }
    int64_t replicas = local * world->dp_size;
    int64_t global_batch = world->global_batch;
    pp_fail(err, PP_E_BATCH,
            "global_batch_size %lld is not a multiple of local_batch_size %lld * dp %lld = %lld",
            (long long)global_batch, (long long)local, (long long)world->dp_size,
            (long long)replicas);
    pp_hint(err,
            "--set step_scheduler.global_batch_size=%lld, a smaller local batch, or "
            "other --gpus",
            (long long)(pp_div_ceil_i64(global_batch, replicas) * replicas));
    return PP_E_BATCH;
}

enum pp_status pp_plan_build_batch(const struct pp_plan_world *world, struct pp_plan *plan,
                                   struct pp_err *err) {
    const struct pp_plan_config *c = &plan->config;
    plan->dp_size = world->dp_size;
    if (c->local_batch_size % c->microbatch_size != 0) {
        pp_fail(err, PP_E_BATCH, "local_batch_size %d is not a multiple of pp_microbatch_size %d",
                c->local_batch_size, c->microbatch_size);
        pp_hint(err, "--set step_scheduler.local_batch_size=%lld",
                (long long)(pp_div_ceil_i64(c->local_batch_size, c->microbatch_size) *
                            c->microbatch_size));
        return PP_E_BATCH;
    }
    plan->microbatch_count = c->local_batch_size / c->microbatch_size;
    if (c->schedule != NULL) {
        if (plan->microbatch_count < c->pp_size) {
            pp_fail(err, PP_E_PIPELINE,
                    "local_batch_size %d // pp_microbatch_size %d = %d microbatches; Automodel's "
                    "recipes need at least pp_size = %d",
                    c->local_batch_size, c->microbatch_size, plan->microbatch_count, c->pp_size);
            pp_hint(err, "--set step_scheduler.local_batch_size=%lld",
                    (long long)c->pp_size * c->microbatch_size);
            return PP_E_PIPELINE;
        }
        struct pp_gen_config gen = {.rank_count = c->pp_size,
                                    .stages_per_rank = plan->stages_per_rank,
                                    .microbatch_count = plan->microbatch_count};
        PP_TRY(pp_schedule_check(c->schedule, &gen, err));
    }
    if (c->uses_csv && world->req->csv->microbatch_count != plan->microbatch_count) {
        return pp_fail(err, PP_E_CSV, "%s holds %d microbatches; the recipe's batch gives %d",
                       world->req->recipe->pipeline.pp_schedule_csv,
                       world->req->csv->microbatch_count, plan->microbatch_count);
    }
    return check_flushes(world, plan, err);
}

void pp_plan_deinit(struct pp_plan *plan) {
    free(plan->layer_counts);
    free(plan->stage_rank);
    free(plan->stage_costs);
    free(plan->peak_bytes);
    free(plan->base_bytes);
    free(plan->peak_stage);
    free(plan->peak_microbatch);
    free(plan->peak_type);
    free(plan->parts);
    *plan = (struct pp_plan){0};
}
