/* Where a planning run takes its model and its world from. */
#include "tests/cli/run.h"

#define EXAMPLE PP_TEST_DIR "/../reports/example/deepseek_v3.yaml"

static int64_t layers_of(const char *args) {
    json_t *document = run_json(args, 0);
    int64_t layers = integer_of(json_object_get(document, "model"), "layers");
    json_decref(document);
    return layers;
}

Test(plan_inputs, a_recipe_may_shorten_the_model_and_the_command_line_decides) {
#define PLAN "plan " EXAMPLE " --gpus 256"
    cr_assert_eq(layers_of(PLAN), 61);
    cr_assert_eq(layers_of(PLAN " --set model.config.num_hidden_layers=24"), 24);
    cr_assert_eq(layers_of(PLAN " --set model.config.text_config.num_hidden_layers=28"), 28);
    cr_assert_eq(layers_of(PLAN " --layers 32 --set model.config.num_hidden_layers=24"), 32);
}

/* A batch that does not divide over a world that was only assumed is not the recipe's fault. */
Test(plan_inputs, a_batch_is_blamed_only_for_a_world_that_was_given) {
    json_t *document = run_json("plan " EXAMPLE " --set step_scheduler.global_batch_size=576", 0);
    const json_t *current = json_object_get(document, "current");
    expect_member(document, "gpus_given", "false");
    cr_assert_str_eq(string_of(json_object_get(current, "error"), "code"), "E_BATCH");
    json_decref(document);
    expect_error(PLAN " --set step_scheduler.global_batch_size=576", 3, "E_BATCH", "576");
}
