#include "tests/sim/plan_support.h"

#include "sim/replay.h"

static void same_plan(const struct pp_plan *a, const struct pp_plan *b) {
    cr_assert_eq(a->stage_count, b->stage_count);
    cr_assert_eq(a->microbatch_count, b->microbatch_count);
    cr_assert_eq(a->flush_count, b->flush_count);
    cr_assert_eq(a->config.schedule, b->config.schedule);
    cr_assert_eq(a->step_ns, b->step_ns);
    for (int32_t s = 0; s < a->stage_count; s++) {
        cr_assert_eq(a->layer_counts[s], b->layer_counts[s]);
        cr_assert_eq(a->stage_rank[s], b->stage_rank[s]);
    }
    for (int32_t r = 0; r < a->config.pp_size; r++) {
        cr_assert_eq(a->peak_bytes[r], b->peak_bytes[r]);
    }
}

Test(plan, overrides_pasted_into_the_recipe_give_the_plan) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    struct pp_plan_set *set = bed_search(&b);
    cr_assert_gt(set->plan_count, 50);
    for (int32_t i = 0; i < set->plan_count; i += 1 + set->plan_count / 24) {
        struct pasted p = {.list = {NULL}};
        struct bed again;
        pp_plan_overrides(b.recipe, &set->plans[i].config, paste, &p);
        bed_init(&again, deepseek_recipe, p.list);
        struct pp_plan_set *other = bed_search(&again);
        cr_assert_eq(other->current_error.status, PP_OK, "%s", other->current_error.message);
        same_plan(other->current, &set->plans[i]);
        pp_plan_set_destroy(other);
        bed_deinit(&again);
    }
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

Test(plan, the_recipe_as_it_is_follows_automodels_split) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    struct pp_plan_set *set = bed_search(&b);
    const struct pp_plan *c = set->current;
    cr_assert_eq(set->current_error.status, PP_OK);
    cr_assert_eq(c->stage_count, 28);
    cr_assert_eq(c->stages_per_rank, 7);
    cr_assert_eq(c->layer_counts[4], 3);
    cr_assert_eq(c->layer_counts[5], 2);
    cr_assert_eq(c->microbatch_count, 4);
    cr_assert_eq(c->flush_count, 2); /* 512 sequences over 64 replicas of 4 */
    cr_assert_eq(c->dp_size, 64);
    cr_assert_geq(set->current_index, 0);
    same_plan(c, &set->plans[set->current_index]);
    const struct pp_plan *up = &set->plans[set->other_round];
    cr_assert_eq(up->stage_count, 32);
    cr_assert_eq(up->config.round, PP_ROUND_UP);
    cr_assert_eq(up->config.layers_per_stage, 2);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

Test(plan, rows_are_legal_distinct_ranked_and_keep_the_global_batch) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    struct pp_plan_set *set = bed_search(&b);
    for (int32_t i = 0; i < set->plan_count; i++) {
        const struct pp_plan *p = &set->plans[i];
        cr_assert_eq(p->flush_count * p->config.local_batch_size * p->dp_size, 512);
        cr_assert_eq(p->microbatch_count * p->config.microbatch_size, p->config.local_batch_size);
        cr_assert_geq(p->microbatch_count, p->config.pp_size);
        cr_assert(strcmp(p->config.schedule->name, "DualPipeV") != 0, "Automodel would hang");
        cr_assert_eq(p->fits, p->max_peak_bytes <= p->limit_bytes);
        cr_assert_eq(p->fits, p->why[0] == '\0');
        if (i > 0) {
            const struct pp_plan *before = &set->plans[i - 1];
            cr_assert(before->fits || !p->fits);
            cr_assert(!p->fits || before->step_ns <= p->step_ns);
        }
        for (int32_t j = 0; j < i; j++) {
            cr_assert(strcmp(p->id, set->plans[j].id) != 0);
        }
    }
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

Test(plan, more_memory_lets_more_fit_and_never_makes_the_best_slower) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    int64_t last_ns = INT64_MAX;
    for (int64_t gib = 40; gib <= 640; gib *= 2) {
        b.hw.memory_bytes = gib << 30;
        struct pp_plan_set *set = bed_search(&b);
        int64_t best_ns = set->best < 0 ? INT64_MAX : set->plans[set->best].step_ns;
        cr_assert_leq(best_ns, last_ns);
        if (set->best_same_memory >= 0) {
            cr_assert_leq(set->plans[set->best_same_memory].max_peak_bytes,
                          set->current->max_peak_bytes);
            cr_assert_leq(best_ns, set->plans[set->best_same_memory].step_ns);
        }
        last_ns = best_ns;
        pp_plan_set_destroy(set);
    }
    cr_assert_lt(last_ns, INT64_MAX);
    bed_deinit(&b);
}

/* A setting that breaks the recipe, and what is said of it. Legal changes are listed all the same.
 */
static const struct {
    const char *setting[3];
    enum pp_status status;
    bool split_known;
} broken[] = {
    {{"distributed.pipeline.round_virtual_stages_to_pp_multiple", "none", NULL}, PP_E_NODIV, false},
    {{"distributed.pipeline.pp_schedule", "1f1b", NULL}, PP_E_SINGLE, false},
    {{"distributed.pipeline.layers_per_stage", "40", NULL}, PP_E_MULTI, false},
    {{"distributed.pipeline.pp_schedule", "zero_bubble", NULL}, PP_E_SCHEDULE, false},
    {{"distributed.pipeline.pp_schedule", "ZBVZeroBubble", NULL}, PP_E_PLACEMENT, true},
    {{"distributed.pipeline.pp_schedule", "DualPipeV", NULL}, PP_E_PLACEMENT, true},
    {{"distributed.pipeline.pp_microbatch_size", "3", NULL}, PP_E_BATCH, true},
    {{"distributed.pipeline.pp_microbatch_size", "2", NULL}, PP_E_PIPELINE, true},
    {{"step_scheduler.global_batch_size", "576", NULL}, PP_E_BATCH, true},
};

Test(plan, an_illegal_recipe_is_said_to_be_and_still_gets_legal_changes) {
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct bed b;
        bed_init(&b, deepseek_recipe, broken[i].setting);
        struct pp_plan_set *set = bed_search(&b);
        cr_assert_eq(set->current_error.status, broken[i].status, "%s: %s", broken[i].setting[1],
                     set->current_error.message);
        cr_assert(set->current_error.hint[0] != '\0', "%s has no advice", broken[i].setting[1]);
        cr_assert_eq(set->current->layer_counts != NULL, broken[i].split_known);
        cr_assert_gt(set->plan_count, 0);
        cr_assert_eq(set->current_index, -1);
        pp_plan_set_destroy(set);
        bed_deinit(&b);
    }
}

Test(plan, an_unknown_shape_leaves_split_and_unit_cost_bubble) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    b.model = (struct pp_model){.layer_count = 61};
    struct pp_plan_set *set = bed_search(&b);
    cr_assert_eq(set->current_error.status, PP_E_NO_SHAPE);
    cr_assert_eq(set->current->stage_count, 28);
    cr_assert_not(set->current->has_costs);
    cr_assert_eq(set->current->step_ns, 0);
    /* interleaved, p = m = 4, v = 7, F = 1, B = 2 of a rank: (p-1)/v of a microbatch is idle, up to
     * the rounding of a 7th of a microsecond */
    cr_assert_float_eq(set->current->bubble_ratio, (3.0 / 7.0) / (4.0 + 3.0 / 7.0), 1e-3);
    cr_assert_eq(set->plan_count, 0);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

Test(plan, worlds_that_cannot_hold_the_sizes_are_refused_with_advice) {
    static const int64_t worlds[] = {0, 3, 64, 130};
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    for (size_t i = 0; i < sizeof worlds / sizeof worlds[0]; i++) {
        struct pp_plan_set *set = NULL;
        struct pp_err err = {0};
        b.request.gpu_count = worlds[i];
        cr_assert_eq(pp_plan_search(&b.request, &set, &err), PP_E_WORLD);
        cr_assert(strstr(err.hint, "--gpus") != NULL, "%s", err.hint);
        cr_assert_null(set);
    }
    bed_deinit(&b);
}

static void assert_distinct(const struct pp_plan_set *set) {
    for (int32_t i = 0; i < set->plan_count; i++) {
        for (int32_t j = 0; j < i; j++) {
            cr_assert_str_neq(set->plans[i].id, set->plans[j].id);
        }
    }
}

Test(plan, searching_pp_offers_other_sizes_and_never_a_worse_best) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    b.hw.memory_bytes = (int64_t)400 << 30;
    struct pp_plan_set *fixed = bed_search(&b);
    b.request.search_pp = true;
    struct pp_plan_set *free_pp = bed_search(&b);
    bool other = false;
    for (int32_t i = 0; i < free_pp->plan_count; i++) {
        int32_t pp = free_pp->plans[i].config.pp_size;
        other = other || pp != 4;
        cr_assert_eq(256 / pp % 64, 0, "ep 64 does not fit into 256 / %d", pp);
    }
    cr_assert(other);
    assert_distinct(free_pp);
    cr_assert_gt(free_pp->plan_count, fixed->plan_count);
    cr_assert_leq(free_pp->plans[free_pp->best].step_ns, fixed->plans[fixed->best].step_ns);
    pp_plan_set_destroy(fixed);
    pp_plan_set_destroy(free_pp);
    bed_deinit(&b);
}

/* Sizes whose world is impossible are passed over, also when such a size comes first. */
Test(plan, searching_pp_passes_over_sizes_that_the_experts_do_not_divide) {
    static const char *const settings[] = {"distributed.pp_size", "3", "ci.nodes", "24", NULL};
    struct bed b;
    bed_init(&b, deepseek_recipe, settings);
    b.request.search_pp = true;
    struct pp_plan_set *set = bed_search(&b);
    for (int32_t i = 0; i < set->plan_count; i++) {
        cr_assert_eq(192 / set->plans[i].config.pp_size % 64, 0);
    }
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

/* null where layers_per_stage would lead to the same stages: the row is the recipe's, word for word
 */
Test(plan, the_recipe_as_it_is_is_one_of_the_rows) {
    static const char *const settings[][6] = {
        {"distributed.pipeline.layers_per_stage", "none", NULL},
        {"distributed.pipeline.layers_per_stage", "none", "distributed.pipeline.pp_schedule",
         "1f1b", NULL},
        {"distributed.pipeline.layers_per_stage", "100", "distributed.pipeline.pp_schedule", "1f1b",
         NULL},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        struct bed b;
        bed_init(&b, deepseek_recipe, settings[i]);
        b.recipe->pipeline.round = PP_ROUND_UP;
        struct pp_plan_set *set = bed_search(&b);
        cr_assert_geq(set->current_index, 0);
        cr_assert_str_eq(set->plans[set->current_index].id, set->current->id);
        pp_plan_set_destroy(set);
        bed_deinit(&b);
    }
}

/* The answer may be that no pipeline is needed: each local batch that divides is one row. */
Test(plan, searching_pp_offers_no_pipeline_too) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    b.request.search_pp = true;
    struct pp_plan_set *set = bed_search(&b);
    int32_t rows = 0;
    for (int32_t i = 0; i < set->plan_count; i++) {
        const struct pp_plan *p = &set->plans[i];
        if (p->config.pp_size == 1) {
            rows++;
            cr_assert_null(p->config.schedule);
            cr_assert_eq(p->microbatch_count, 1);
            cr_assert_eq(p->config.microbatch_size, p->config.local_batch_size);
            cr_assert_eq(p->flush_count * p->config.local_batch_size * p->dp_size, 512);
            cr_assert_float_eq(p->bubble_ratio, 0, 1e-12);
        }
    }
    cr_assert_eq(rows, 2); /* 512 sequences over 256 GPUs: a local batch of 1 or 2 */
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

Test(plan, a_stop_request_ends_the_search) {
    volatile sig_atomic_t stop = 1;
    struct bed b;
    struct pp_plan_set *set = NULL;
    bed_init(&b, deepseek_recipe, NULL);
    b.request.stop = &stop;
    cr_assert_eq(pp_plan_search(&b.request, &set, NULL), PP_E_INTERRUPTED);
    cr_assert_null(set);
    bed_deinit(&b);
}

/* The first stage computes no input gradient in PyTorch: its I is empty and its W is the backward.
 */
Test(plan, a_split_backward_has_an_empty_i_on_the_first_stage) {
    struct bed b;
    static const char *const settings[] = {"distributed.pipeline.pp_schedule",
                                           "InterleavedZeroBubble", NULL};
    bed_init(&b, deepseek_recipe, settings);
    struct pp_plan_set *set = bed_search(&b);
    const struct pp_sched *sched = NULL;
    struct pp_sched *own = NULL;
    struct pp_replay replay;
    cr_assert_eq(pp_replay_schedule(set->current, NULL, &sched, &own, NULL), PP_OK);
    cr_assert_eq(pp_replay_init(&replay, sched, NULL), PP_OK);
    cr_assert_eq(pp_replay_run(&replay, set->current, NULL), PP_OK);
    const struct pp_stage_cost *first = &set->current->stage_costs[0];
    int32_t seen = 0;
    for (int32_t a = 0; a < sched->action_count; a++) {
        int64_t ns = replay.trace.end_ns[a] - replay.trace.start_ns[a];
        if (sched->actions[a].stage == 0 && sched->actions[a].type == PP_I) {
            cr_assert_eq(ns, 0);
            seen++;
        }
        if (sched->actions[a].stage == 0 && sched->actions[a].type == PP_W) {
            cr_assert_eq(ns, first->i_ns + first->w_ns);
            seen++;
        }
    }
    cr_assert_eq(seen, 8);
    pp_replay_deinit(&replay);
    pp_sched_destroy(own);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}
