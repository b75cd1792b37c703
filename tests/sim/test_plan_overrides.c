/* The settings that turn a recipe into a plan: which keys, in which sections, and no others. */
#include "tests/sim/plan_support.h"

static const char csv_recipe[] = "model: {pretrained_model_name_or_path: meta-llama/Llama-3.1-8B}\n"
                                 "step_scheduler: {global_batch_size: 32, local_batch_size: 4}\n"
                                 "distributed:\n"
                                 "  pp_size: 2\n"
                                 "  pipeline:\n"
                                 "    pp_schedule: Interleaved1F1B\n"
                                 "    pp_schedule_csv: order.csv\n"
                                 "    module_fqns_per_model_part: [[a], [b], [c], [d]]\n";

static const char teacher_recipe[] =
    "model: {pretrained_model_name_or_path: meta-llama/Llama-3.2-1B}\n"
    "teacher_model: {pretrained_model_name_or_path: meta-llama/Llama-3.1-8B}\n"
    "step_scheduler: {global_batch_size: 32, local_batch_size: 4}\n"
    "teacher_distributed: {pp_size: 2, pipeline: {pp_schedule: 1f1b, layers_per_stage: 16}}\n";

static const struct pp_schedule_info *schedule(const char *name) {
    const struct pp_schedule_info *info = NULL;
    cr_assert_eq(pp_schedule_find(name, &info, NULL), PP_OK);
    return info;
}

/* `wanted` is "key=value;key=value;". */
static void expect_overrides(const struct pp_recipe *recipe, const struct pp_plan_config *config,
                             const char *wanted) {
    struct pasted p = {.list = {NULL}};
    struct pp_text got = {0};
    pp_plan_overrides(recipe, config, paste, &p);
    pp_text_puts(&got, "");
    for (int i = 0; i < p.count; i += 2) {
        pp_text_printf(&got, "%s=%s;", p.list[i], p.list[i + 1]);
    }
    cr_assert_str_eq(got.bytes, wanted);
    pp_text_free(&got);
}

Test(plan_overrides, the_recipes_own_order_and_lists_are_taken_away_unless_the_plan_uses_them) {
    struct pp_recipe *r = recipe_of(csv_recipe, NULL);
    struct pp_plan_config c = {.schedule = schedule("Interleaved1F1B"),
                               .pp_size = 2,
                               .microbatch_size = 1,
                               .local_batch_size = 4,
                               .uses_csv = true,
                               .uses_fqns = true};
    expect_overrides(r, &c, "");
    c.uses_csv = false;
    expect_overrides(r, &c, "distributed.pipeline.pp_schedule_csv=none;");
    c.uses_fqns = false;
    expect_overrides(r, &c,
                     "distributed.pipeline.module_fqns_per_model_part=none;"
                     "distributed.pipeline.pp_schedule_csv=none;");
    pp_recipe_destroy(r);
}

Test(plan_overrides, every_choice_has_its_key) {
    struct pp_recipe *r = recipe_of(csv_recipe, NULL);
    struct pp_plan_config c = {.schedule = schedule("LoopedBFS"),
                               .pp_size = 4,
                               .has_layers_per_stage = true,
                               .layers_per_stage = 3,
                               .round = PP_ROUND_UP,
                               .microbatch_size = 2,
                               .local_batch_size = 8,
                               .uses_csv = true,
                               .uses_fqns = true};
    expect_overrides(
        r, &c,
        "distributed.pp_size=4;distributed.pipeline.pp_schedule=LoopedBFS;"
        "distributed.pipeline.layers_per_stage=3;"
        "distributed.pipeline.round_virtual_stages_to_pp_multiple=up;"
        "distributed.pipeline.pp_microbatch_size=2;step_scheduler.local_batch_size=8;");
    pp_recipe_destroy(r);
}

/* The batch belongs to the step, whichever model is pipelined. */
Test(plan_overrides, a_teachers_keys_stand_in_its_own_section) {
    struct pp_recipe *r = recipe_of(teacher_recipe, NULL);
    cr_assert(r->plans_teacher);
    struct pp_plan_config c = {.schedule = schedule("Interleaved1F1B"),
                               .pp_size = 2,
                               .microbatch_size = 1,
                               .local_batch_size = 8};
    expect_overrides(r, &c,
                     "teacher_distributed.pipeline.pp_schedule=Interleaved1F1B;"
                     "teacher_distributed.pipeline.layers_per_stage=none;"
                     "step_scheduler.local_batch_size=8;");
    pp_recipe_destroy(r);
}
