/* Which settings the search looks at. */
#include "tests/sim/plan_support.h"
#include "tests/sim/sim_support.h"

/* The largest batch, but in slow builds one whose flushes are never as long as they may be. */
enum { SEQUENCES = CASE_STEP > 1 ? 1 << 16 : 1 << 30 };

static const char deep_pipeline[] =
    "model: {pretrained_model_name_or_path: meta-llama/Llama-3.1-8B}\n"
    "step_scheduler: {global_batch_size: %d, local_batch_size: 64}\n"
    "distributed: {pp_size: 32, pipeline: {pp_schedule: 1f1b}}\n"
    "dataset: {seq_len: 128}\n";

/* The largest batch a recipe may have is searched in seconds, and only for what a recipe can say.
 */
Test(plan_candidates, an_absurd_batch_is_cut_into_flushes_that_a_recipe_may_have) {
    struct bed b;
    char recipe[512];
    snprintf(recipe, sizeof recipe, deep_pipeline, SEQUENCES);
    bed_init(&b, recipe, NULL);
    struct pp_plan_set *set = bed_search(&b);
    cr_assert_gt(set->plan_count, 10);
    for (int32_t i = 0; i < set->plan_count; i++) {
        const struct pp_plan *p = &set->plans[i];
        cr_assert_leq(p->config.local_batch_size, PP_RECIPE_MAX_BATCH);
        cr_assert_eq(p->config.local_batch_size * p->flush_count * p->dp_size, SEQUENCES);
        cr_assert_leq((int64_t)3 * p->microbatch_count * p->stage_count, PP_PLAN_MAX_FLUSH_ACTIONS);
    }
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

/* One row answers what the other rounding would do, whichever the recipe has. */
Test(plan_candidates, the_other_rounding_is_one_of_the_rows) {
    static const struct {
        const char *word;
        enum pp_round other;
        int32_t stage_count;
    } rounds[] = {{"down", PP_ROUND_UP, 32}, {"up", PP_ROUND_DOWN, 28}};
    for (size_t i = 0; i < sizeof rounds / sizeof rounds[0]; i++) {
        const char *settings[] = {"distributed.pipeline.round_virtual_stages_to_pp_multiple",
                                  rounds[i].word, NULL};
        struct bed b;
        bed_init(&b, deepseek_recipe, settings);
        struct pp_plan_set *set = bed_search(&b);
        cr_assert_geq(set->other_round, 0);
        const struct pp_plan *other = &set->plans[set->other_round];
        cr_assert_eq(other->stage_count, rounds[i].stage_count);
        cr_assert_eq(other->config.round, rounds[i].other);
        cr_assert_eq(other->config.layers_per_stage, 2);
        pp_plan_set_destroy(set);
        bed_deinit(&b);
    }
}
