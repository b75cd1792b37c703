/* Times and memory of one plan: cost model in, evaluator through, figures out. */
#include "sim/metrics.h"
#include "sim/plan_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* Does any replica's hop between these two ranks leave the node? Automodel's rank order has pp
 * outermost, so rank r of the pipeline is GPUs [r * k, (r + 1) * k), k = world / pp. */
static bool crosses_node(const struct pp_plan_world *world, int32_t rank_a, int32_t rank_b) {
    int64_t k = world->req->gpu_count / world->pp_size;
    int64_t node = world->req->hw->gpus_per_node;
    int64_t low = rank_a < rank_b ? rank_a : rank_b;
    int64_t high = rank_a < rank_b ? rank_b : rank_a;
    return low * k / node != ((high + 1) * k - 1) / node;
}

struct pp_stage_shape pp_plan_stage_shape(const struct pp_plan_world *world,
                                          const struct pp_plan *plan, int32_t s,
                                          int32_t first_layer) {
    const int32_t *rank = plan->stage_rank;
    int32_t last = plan->stage_count - 1;
    return (struct pp_stage_shape){
        .first_layer = first_layer,
        .layer_count = plan->layer_counts[s],
        .has_embedding = s == 0,
        .has_head = s == last,
        .prev_other_node = s > 0 && crosses_node(world, rank[s], rank[s - 1]),
        .next_other_node = s < last && crosses_node(world, rank[s], rank[s + 1]),
    };
}

static enum pp_status cost_stages(const struct pp_plan_world *world,
                                  const struct pp_cost_table *table, struct pp_plan *plan,
                                  struct pp_err *err) {
    int32_t n = plan->stage_count;
    plan->stage_costs = calloc((size_t)n, sizeof *plan->stage_costs);
    if (plan->stage_costs == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the costs of %d stages", n);
    }
    int32_t first = 0;
    for (int32_t s = 0; s < n; s++) {
        struct pp_stage_shape shape = pp_plan_stage_shape(world, plan, s, first);
        pp_cost_stage(table, &shape, &plan->stage_costs[s]);
        first += plan->layer_counts[s];
    }
    return PP_OK;
}

static enum pp_status alloc_peaks(struct pp_plan *plan, struct pp_err *err) {
    size_t n = (size_t)plan->config.pp_size;
    plan->peak_bytes = calloc(n, sizeof *plan->peak_bytes);
    plan->base_bytes = calloc(n, sizeof *plan->base_bytes);
    plan->peak_stage = calloc(n, sizeof *plan->peak_stage);
    plan->peak_microbatch = calloc(n, sizeof *plan->peak_microbatch);
    plan->peak_type = calloc(n, sizeof *plan->peak_type);
    if (plan->peak_bytes == NULL || plan->base_bytes == NULL || plan->peak_stage == NULL ||
        plan->peak_microbatch == NULL || plan->peak_type == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the peaks of %d ranks",
                       plan->config.pp_size);
    }
    return PP_OK;
}

const char *pp_plan_peak_action(const struct pp_plan *plan, int32_t rank,
                                char out[PP_ACTION_TEXT_BYTES]) {
    struct pp_action a = {.stage = plan->peak_stage[rank],
                          .microbatch = plan->peak_microbatch[rank],
                          .type = plan->peak_type[rank]};
    return a.stage < 0 ? NULL : pp_action_text(&a, out);
}

static void say_what_does_not_fit(struct pp_plan *plan, int32_t rank) {
    const double gib = 1024.0 * 1024.0 * 1024.0;
    char text[PP_ACTION_TEXT_BYTES];
    const char *action = pp_plan_peak_action(plan, rank, text);
    snprintf(plan->why, sizeof plan->why, "rank %d needs %.1f GiB in %s, %.1f GiB above the limit",
             rank, (double)plan->peak_bytes[rank] / gib,
             action != NULL ? action : "the resident states",
             (double)(plan->peak_bytes[rank] - plan->limit_bytes) / gib);
}

static enum pp_status measure_memory(const struct pp_plan_world *world,
                                     const struct pp_cost_table *table, struct pp_plan_bench *b,
                                     struct pp_plan *plan, struct pp_err *err) {
    const struct pp_sched *s = b->replay.sched;
    struct pp_memory_model model = pp_replay_memory(&b->replay);
    PP_TRY(alloc_peaks(plan, err));
    pp_memory_peaks(s, &model, b->peaks);
    plan->reserved_bytes = pp_cost_reserved_bytes(table);
    int32_t worst = 0;
    for (int32_t r = 0; r < s->rank_count; r++) {
        int32_t at = b->peaks[r].peak_action;
        plan->base_bytes[r] = pp_cost_with_slack(table, model.base[r]) + plan->reserved_bytes;
        plan->peak_bytes[r] = pp_cost_with_slack(table, b->peaks[r].peak) + plan->reserved_bytes;
        plan->peak_stage[r] = at < 0 ? -1 : s->actions[at].stage;
        plan->peak_microbatch[r] = at < 0 ? -1 : s->actions[at].microbatch;
        plan->peak_type[r] = at < 0 ? 0 : s->actions[at].type;
        worst = plan->peak_bytes[r] > plan->peak_bytes[worst] ? r : worst;
    }
    plan->max_peak_bytes = plan->peak_bytes[worst];
    plan->limit_bytes = world->req->hw->memory_bytes;
    plan->fits = plan->max_peak_bytes <= plan->limit_bytes;
    if (!plan->fits) {
        say_what_does_not_fit(plan, worst);
    }
    return PP_OK;
}

/* The most that can be allocated so that slack and reserved memory still fit. */
static int64_t allocatable_bytes(const struct pp_cost_table *table, int64_t limit_bytes) {
    int64_t room = limit_bytes - pp_cost_reserved_bytes(table);
    int64_t low = 0;
    int64_t high = pp_max_i64(room, 0);
    while (low < high) {
        int64_t middle = high - (high - low) / 2;
        if (pp_cost_with_slack(table, middle) <= room) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/* @param table  NULL: without memory */
static void explain_idle(const struct pp_plan_world *world, const struct pp_cost_table *table,
                         struct pp_plan_bench *b, struct pp_plan *plan) {
    struct pp_cause_inputs in = pp_replay_causes(&b->replay);
    struct pp_memory_model model;
    int32_t rank_count = b->replay.sched->rank_count;
    if (table != NULL) {
        int64_t limit = allocatable_bytes(table, world->req->hw->memory_bytes);
        for (int32_t rank = 0; rank < rank_count; rank++) {
            b->limits[rank] = limit;
        }
        model = pp_replay_memory(&b->replay);
        in.memory = &model;
        in.limit = b->limits;
    }
    pp_idle_of(&b->replay.trace, &in, b->idle);
    for (int32_t rank = 0; rank < rank_count; rank++) {
        for (int c = 0; c < PP_CAUSE_COUNT; c++) {
            plan->idle_ns[c] += b->idle[rank].ns[c];
        }
    }
}

enum pp_status pp_plan_bench_init(struct pp_plan_bench *bench, const struct pp_sched *sched,
                                  struct pp_err *err) {
    struct pp_plan_bench b = {0};
    PP_TRY(pp_replay_init(&b.replay, sched, err));
    b.peaks = calloc((size_t)sched->rank_count, sizeof *b.peaks);
    b.idle = calloc((size_t)sched->rank_count, sizeof *b.idle);
    b.limits = calloc((size_t)sched->rank_count, sizeof *b.limits);
    bool lacks = b.peaks == NULL || b.idle == NULL || b.limits == NULL;
    enum pp_status status =
        lacks ? pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", sched->rank_count)
              : pp_plan_step_init(&b, err);
    if (status != PP_OK) {
        pp_plan_bench_deinit(&b);
        return status;
    }
    *bench = b;
    return PP_OK;
}

void pp_plan_bench_deinit(struct pp_plan_bench *bench) {
    pp_plan_step_deinit(bench);
    pp_replay_deinit(&bench->replay);
    free(bench->peaks);
    free(bench->idle);
    free(bench->limits);
    *bench = (struct pp_plan_bench){0};
}

enum pp_status pp_plan_evaluate(const struct pp_plan_world *world,
                                const struct pp_cost_table *table, struct pp_plan_bench *bench,
                                struct pp_plan *plan, struct pp_err *err) {
    if (table != NULL) {
        PP_TRY(cost_stages(world, table, plan, err));
    }
    if (table != NULL && plan->flush_count > 0) { /* its first flush is the one to look at */
        PP_TRY(pp_plan_time_step(world, table, bench, plan, err));
    } else {
        PP_TRY(pp_replay_run(&bench->replay, plan, err));
    }
    struct pp_metrics metrics;
    pp_metrics_of(&bench->replay.trace, &metrics, NULL);
    plan->flush_ns = metrics.makespan_ns;
    plan->bubble_ratio = metrics.bubble_ratio;
    explain_idle(world, table, bench, plan);
    plan->evaluated = true;
    if (table == NULL) {
        return PP_OK;
    }
    plan->has_costs = true;
    return measure_memory(world, table, bench, plan, err);
}
