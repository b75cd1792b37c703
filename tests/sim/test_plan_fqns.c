/* Recipes that bring their own module lists (module_fqns_per_model_part). */
#include "tests/sim/plan_support.h"

struct lists {
    struct pp_text text;
    int32_t stage;
};

static void add_name(void *context, int32_t stage, const char *name) {
    struct lists *l = context;
    pp_text_puts(&l->text, stage != l->stage ? (l->stage < 0 ? "[" : "], [") : ", ");
    pp_text_puts(&l->text, name);
    l->stage = stage;
}

/* The even lists that Automodel itself would write, as YAML. */
static void add_lists(struct pp_text *out, int32_t stage_count) {
    struct lists l = {.stage = -1};
    const struct pp_fqn_options options = {.with_encoders = false};
    cr_assert_eq(pp_fqn_generate(16, stage_count, &options, add_name, &l, NULL), PP_OK);
    pp_text_printf(out, "[%s]]", l.text.bytes);
    pp_text_free(&l.text);
}

Test(plan_fqns, lists_decide_the_stages_and_must_suit_the_schedule) {
    static const struct {
        const char *schedule;
        int32_t part_count;
        enum pp_status status;
    } cases[] = {
        {"1f1b", 2, PP_OK},
        {"1f1b", 4, PP_E_FQN},
        {"interleaved1f1b", 2, PP_E_FQN},
        {"interleaved1f1b", 3, PP_E_FQN},
        {"interleaved1f1b", 4, PP_OK},
        {"interleaved1f1b", 8, PP_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bed b;
        struct pp_text text = {0};
        pp_text_printf(&text,
                       "model: {pretrained_model_name_or_path: meta-llama/Llama-3.2-1B}\n"
                       "step_scheduler: {global_batch_size: 16, local_batch_size: 2}\n"
                       "distributed: {pp_size: 2, pipeline: {pp_schedule: %s, "
                       "module_fqns_per_model_part: ",
                       cases[i].schedule);
        add_lists(&text, cases[i].part_count);
        pp_text_puts(&text, "}}\ndataset: {seq_len: 1024}\n");
        bed_init(&b, text.bytes, NULL);
        struct pp_plan_set *set = bed_search(&b);
        cr_assert_eq(set->current_error.status, cases[i].status, "case %zu: %s", i,
                     set->current_error.message);
        if (cases[i].status == PP_OK) {
            cr_assert_eq(set->current->stage_count, cases[i].part_count);
            cr_assert_eq(set->current->layer_counts[0], 16 / cases[i].part_count);
            cr_assert_geq(set->current_index, 0);
            cr_assert(set->plans[set->current_index].config.uses_fqns);
        }
        cr_assert_gt(set->plan_count, 1);
        pp_plan_set_destroy(set);
        bed_deinit(&b);
        pp_text_free(&text);
    }
}

/* Of a split that is none, nothing is told. */
Test(plan_fqns, lists_in_another_order_have_no_split) {
    static const char text[] =
        "model: {pretrained_model_name_or_path: meta-llama/Llama-3.2-1B}\n"
        "step_scheduler: {global_batch_size: 16, local_batch_size: 2}\n"
        "distributed: {pp_size: 2, pipeline: {pp_schedule: 1f1b, module_fqns_per_model_part: "
        "[[model.layers.1, model.layers.0], [lm_head]]}}\n"
        "dataset: {seq_len: 1024}\n";
    struct bed b;
    bed_init(&b, text, NULL);
    struct pp_plan_set *set = bed_search(&b);
    cr_assert_eq(set->current_error.status, PP_E_FQN, "%s", set->current_error.message);
    cr_assert_null(set->current->layer_counts);
    cr_assert_null(set->current->stage_rank);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}
