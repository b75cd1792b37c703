/* The step of a plan: what the cost model says of each stage's gathers and reductions and each
 * rank's optimizer, played with all flushes of the step.
 *
 * When gradients are reduced is NeMo Automodel's rule (36044ad3; reference nemo.md section 7).
 * Under a pipeline FSDP reduces after a flush's last backward of a stage, so in every flush;
 * enable_fsdp_optimizations puts a patch in place that lets MoE models wait for the last backward
 * of the step. Without a pipeline every model waits for that. Where gradients are not deferred at
 * all, what shows of the reductions is part of the stages' W (costmodel/cost.c), and only what HSDP
 * adds up among its replicas is left. Recipes clip gradients by the norm of all ranks (1.0 if not
 * told otherwise), so the optimizer begins on all of them at once. */
#include "sim/plan_priv.h"

#include <stdlib.h>

static int64_t *unshard_column(const struct pp_plan_bench *b) {
    return b->step_columns;
}

static int64_t *reduce_column(const struct pp_plan_bench *b) {
    return b->step_columns + b->replay.sched->stage_count;
}

static int64_t *optimizer_column(const struct pp_plan_bench *b) {
    return b->step_columns + 2 * (ptrdiff_t)b->replay.sched->stage_count;
}

enum pp_status pp_plan_step_init(struct pp_plan_bench *b, struct pp_err *err) {
    const struct pp_sched *s = b->replay.sched;
    size_t cells = 2 * (size_t)s->stage_count + (size_t)s->rank_count;
    b->step_columns = calloc(cells, sizeof *b->step_columns);
    if (b->step_columns == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d stages", s->stage_count);
    }
    return pp_step_create(s, &b->step, err);
}

void pp_plan_step_deinit(struct pp_plan_bench *b) {
    pp_step_destroy(b->step);
    free(b->step_columns);
}

static enum pp_reduce reduce_of(const struct pp_plan_world *world) {
    const struct pp_recipe *r = world->req->recipe;
    bool waits_for_step = r->enable_fsdp_optimizations && world->req->model->experts > 0;
    return world->pp_size == 1 || waits_for_step || !r->defer_fsdp_grad_sync ? PP_REDUCE_STEP
                                                                             : PP_REDUCE_FLUSH;
}

/* Fills the columns. @return whether anything is gathered */
static bool fill_columns(const struct pp_cost_table *table, const struct pp_plan_bench *b,
                         const struct pp_plan *plan) {
    bool gathers = false;
    for (int32_t s = 0; s < plan->stage_count; s++) {
        struct pp_step_cost cost;
        pp_cost_step(table, &plan->stage_costs[s], &cost);
        unshard_column(b)[s] = cost.param_gather_ns;
        reduce_column(b)[s] = cost.grad_sync_ns;
        gathers = gathers || cost.param_gather_ns > 0;
    }
    for (int32_t rank = 0; rank < plan->config.pp_size; rank++) {
        struct pp_stage_cost sum = {0};
        struct pp_step_cost cost;
        for (int32_t s = 0; s < plan->stage_count; s++) {
            if (plan->stage_rank[s] == rank) {
                sum.trainable_count += plan->stage_costs[s].trainable_count;
                sum.expert_trainable_count += plan->stage_costs[s].expert_trainable_count;
            }
        }
        pp_cost_step(table, &sum, &cost);
        optimizer_column(b)[rank] = cost.optimizer_ns;
    }
    return gathers;
}

enum pp_status pp_plan_time_step(const struct pp_plan_world *world,
                                 const struct pp_cost_table *table, struct pp_plan_bench *b,
                                 struct pp_plan *plan, struct pp_err *err) {
    bool gathers = fill_columns(table, b, plan);
    struct pp_costs costs = pp_replay_costs(&b->replay, plan);
    struct pp_step_inputs in = {.flush_count = plan->flush_count,
                                .reduce = reduce_of(world),
                                .unshard_ns = gathers ? unshard_column(b) : NULL,
                                .reduce_ns = reduce_column(b),
                                .optimizer_ns = optimizer_column(b),
                                .barrier = true};
    struct pp_step_times t;
    PP_TRY(pp_step_run(b->step, b->replay.eval, &costs, &in, &b->replay.trace, &t, err));
    struct pp_step_times bare = t;
    if (gathers) { /* once more, for what they cost; leaves the first flush without them */
        in.unshard_ns = NULL;
        PP_TRY(pp_step_run(b->step, b->replay.eval, &costs, &in, &b->replay.trace, &bare, err));
    }
    plan->reduce = in.reduce;
    /* gathers never shorten; of two bounds from above the lower one holds */
    plan->flushes_ns = bare.flushes_ns < t.flushes_ns ? bare.flushes_ns : t.flushes_ns;
    plan->step_cost = (struct pp_step_cost){
        .param_gather_ns = t.flushes_ns - plan->flushes_ns,
        .grad_sync_ns = t.reduced_ns - t.flushes_ns,
        .optimizer_ns = t.step_ns - t.reduced_ns,
    };
    plan->step_ns = t.step_ns;
    return PP_OK;
}
