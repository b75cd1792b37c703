/* What the peaks of the plans that are shown in full consist of: their orders are made once more.
 */
#include "sim/memory_parts.h"
#include "sim/plan_priv.h"

#include <stdlib.h>

static enum pp_status find_gathered(const struct pp_plan_world *world, const struct pp_plan *plan,
                                    struct pp_gathered_bytes *gathered, struct pp_err *err) {
    struct pp_train train = pp_plan_train(world, plan->config.microbatch_size);
    struct pp_cost_table *table = NULL;
    PP_TRY(pp_cost_table_create(world->req->model, world->req->hw, &train, &table, err));
    int32_t first = 0;
    for (int32_t s = 0; s < plan->stage_count; s++) {
        struct pp_stage_shape shape = pp_plan_stage_shape(world, plan, s, first);
        pp_cost_gathered(table, &shape, &gathered[s]);
        first += plan->layer_counts[s];
    }
    pp_cost_table_destroy(table);
    return PP_OK;
}

static enum pp_status fill_parts(const struct pp_plan_request *req, struct pp_plan *plan,
                                 struct pp_gathered_bytes *gathered, struct pp_err *err) {
    struct pp_plan_world world;
    const struct pp_sched *sched = NULL;
    struct pp_sched *own = NULL;
    struct pp_replay replay = {0};
    PP_TRY(pp_plan_world_init(req, plan->config.pp_size, &world, err));
    PP_TRY(find_gathered(&world, plan, gathered, err));
    PP_TRY(pp_replay_schedule(plan, req->csv, &sched, &own, err));
    enum pp_status status = pp_replay_init(&replay, sched, err);
    if (status == PP_OK) {
        pp_replay_costs(&replay, plan);
        for (int32_t rank = 0; rank < plan->config.pp_size; rank++) {
            pp_plan_memory_parts(&replay, plan, gathered, rank, &plan->parts[rank]);
        }
    }
    pp_replay_deinit(&replay);
    pp_sched_destroy(own);
    return status;
}

static enum pp_status add_parts(const struct pp_plan_request *req, struct pp_plan *plan,
                                struct pp_err *err) {
    if (!plan->has_costs) {
        return PP_OK;
    }
    struct pp_gathered_bytes *gathered = calloc((size_t)plan->stage_count, sizeof *gathered);
    plan->parts = calloc((size_t)plan->config.pp_size, sizeof *plan->parts);
    enum pp_status status = PP_E_NOMEM;
    if (gathered == NULL || plan->parts == NULL) {
        pp_fail(err, PP_E_NOMEM, "out of memory for the memory of %d ranks", plan->config.pp_size);
    } else {
        status = fill_parts(req, plan, gathered, err);
    }
    free(gathered);
    return status;
}

enum pp_status pp_plan_add_parts(const struct pp_plan_request *req, struct pp_plan_set *set,
                                 struct pp_err *err) {
    PP_TRY(add_parts(req, set->current, err));
    return set->best < 0 ? PP_OK : add_parts(req, &set->plans[set->best], err);
}
