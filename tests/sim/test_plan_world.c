/* Which worlds can hold a recipe, which one is assumed, and what stands where there is no pipeline.
 */
#include "tests/sim/plan_support.h"

#define NO_NODES "ci.nodes", "none"

/* Worlds that the recipe cannot use: 256 GPUs are 64 replicas of 4 pipeline ranks. */
Test(plan_world, replicas_must_suit_the_recipes_own_sizes) {
    static const struct {
        const char *settings[3];
        const char *words;
    } cases[] = {
        {{"distributed.dp_replicate_size", "3", NULL}, "dp_replicate_size"},
        {{"distributed.dp_size", "32", NULL}, "--gpus 128"},
        {{"distributed.ep_size", "48", NULL}, "multiple of 48"},
        {{"distributed.tp_size", "3", NULL}, "multiple of 12"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bed b;
        struct pp_plan_set *set = NULL;
        struct pp_err err = {0};
        bed_init(&b, deepseek_recipe, NULL);
        pp_recipe_destroy(b.recipe);
        b.recipe = recipe_of(deepseek_recipe, cases[i].settings);
        b.request.recipe = b.recipe;
        b.request.gpu_count = 256;
        cr_assert_eq(pp_plan_search(&b.request, &set, &err), PP_E_WORLD, "%s", err.message);
        cr_assert(strstr(err.message, cases[i].words) != NULL ||
                      strstr(err.hint, cases[i].words) != NULL,
                  "%s; %s", err.message, err.hint);
        bed_deinit(&b);
    }
}

/* Nodes times 8 where that holds the sizes, a given dp_size, else the smallest dp that divides both
 * experts and batch. */
Test(plan_world, the_world_that_is_assumed) {
    static const struct {
        const char *settings[9];
        int64_t gpus;
    } cases[] = {
        {{NULL}, 256},
        {{NO_NODES, NULL}, 256},
        {{NO_NODES, "distributed.ep_size", "2", NULL}, 8},
        {{NO_NODES, "distributed.ep_size", "2", "distributed.dp_size", "16", NULL}, 64},
        {{NO_NODES, "distributed.ep_size", "6", "step_scheduler.global_batch_size", "72", NULL},
         24},
        {{NO_NODES, "distributed.ep_size", "2", "step_scheduler.global_batch_size", "48",
          "distributed.dp_replicate_size", "3", NULL},
         24},
        {{"ci.nodes", "3", "distributed.ep_size", "4", NULL}, 16},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bed b;
        bed_init(&b, deepseek_recipe, cases[i].settings);
        cr_assert_eq(b.request.gpu_count, cases[i].gpus, "case %zu: %lld", i,
                     (long long)b.request.gpu_count);
        bed_deinit(&b);
    }
}

/* Without a pipeline the local batch runs whole. */
Test(plan_world, a_recipe_without_a_pipeline_is_one_stage_and_one_microbatch) {
    static const char *const settings[] = {"distributed.pp_size", "1",
                                           "step_scheduler.global_batch_size", "1024", NULL};
    struct bed b;
    bed_init(&b, deepseek_recipe, settings);
    struct pp_plan_set *set = bed_search(&b);
    const struct pp_plan *p = set->current;
    cr_assert_eq(set->current_error.status, PP_OK, "%s", set->current_error.message);
    cr_assert_null(p->config.schedule);
    cr_assert_eq(p->stage_count, 1);
    cr_assert_eq(p->layer_counts[0], 61);
    cr_assert_eq(p->microbatch_count, 1);
    cr_assert_eq(p->config.microbatch_size, 4);
    cr_assert_float_eq(p->bubble_ratio, 0, 1e-12);
    cr_assert_geq(set->current_index, 0);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

/* Without a pipeline, gradients wait unsharded only where several flushes make a step. */
Test(plan_world, one_flush_without_a_pipeline_defers_no_gradient) {
    static const char *const once[] = {"distributed.pp_size", "1",
                                       "step_scheduler.global_batch_size", "1024", NULL};
    static const char *const twice[] = {"distributed.pp_size", "1",
                                        "step_scheduler.global_batch_size", "2048", NULL};
    const char *const *settings[] = {once, twice};
    int64_t grad_bytes[2];
    for (int i = 0; i < 2; i++) {
        struct bed b;
        bed_init(&b, deepseek_recipe, settings[i]);
        struct pp_plan_set *set = bed_search(&b);
        cr_assert_eq(set->current->flush_count, i + 1);
        grad_bytes[i] = set->current->stage_costs[0].grad_bytes;
        pp_plan_set_destroy(set);
        bed_deinit(&b);
    }
    cr_assert_lt(grad_bytes[0], grad_bytes[1] / 2);
}
