/* Recipes that bring their own order (pp_schedule_csv): what must agree with what Automodel builds.
 */
#include "tests/sim/plan_support.h"

#include "sim/schedule_csv.h"

static const char csv_recipe[] =
    "model: {pretrained_model_name_or_path: meta-llama/Llama-3.2-1B}\n"
    "step_scheduler: {global_batch_size: 16, local_batch_size: 2}\n"
    "distributed:\n"
    "  pp_size: 2\n"
    "  pipeline: {pp_schedule: Interleaved1F1B, pp_schedule_csv: order.csv}\n"
    "dataset: {seq_len: 1024}\n";

/* Two ranks, two stages a rank, two microbatches, but for the lines that are wrong. */
static const struct {
    const char *csv;
    enum pp_status status;
    const char *words;
} orders[] = {
    {"0F0,0F1,2F0,2F1,2B0,2B1,0B0,0B1\n1F0,1F1,3F0,3F1,3B0,3B1,1B0,1B1\n", PP_OK, ""},
    {"2F0,0F0,0F1,2F1,2B0,2B1,0B0,0B1\n1F0,1F1,3F0,3F1,3B0,3B1,1B0,1B1\n", PP_E_DEADLOCK,
     "rank 0 waits in 2F0 for 1F0 of rank 1"},
    {"0F0,0F1,3F0,3F1,3B0,3B1,0B0,0B1\n1F0,1F1,2F0,2F1,2B0,2B1,1B0,1B1\n", PP_E_PLACEMENT,
     "stage 2 on rank 1"},
    {"0F0,2F0,2B0,0B0\n1F0,3F0,3B0,1B0\n", PP_E_CSV, "1 microbatches"},
    {"0F0,0F1,0B0,0B1\n1F0,1F1,1B0,1B1\n", PP_E_CSV, "2 ranks and 2 stages"},
};

Test(plan_csv, an_order_that_does_not_suit_the_recipe_is_named_and_changes_are_still_listed) {
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        struct bed b;
        struct pp_sched *csv = NULL;
        struct pp_csv_expect any = {0};
        struct pp_err err = {0};
        bed_init(&b, csv_recipe, NULL);
        cr_assert_eq(
            pp_sched_csv_parse("order.csv", orders[i].csv, strlen(orders[i].csv), &any, &csv, &err),
            PP_OK, "%s", err.message);
        b.request.csv = csv;
        struct pp_plan_set *set = bed_search(&b);
        cr_assert_eq(set->current_error.status, orders[i].status, "order %zu: %s", i,
                     set->current_error.message);
        cr_assert(strstr(set->current_error.message, orders[i].words) != NULL, "order %zu: %s", i,
                  set->current_error.message);
        cr_assert_eq(set->current_index >= 0, orders[i].status == PP_OK);
        cr_assert_gt(set->plan_count, 0);
        pp_plan_set_destroy(set);
        pp_sched_destroy(csv);
        bed_deinit(&b);
    }
}

/* The last stage takes microbatch 1 first: PyTorch would train on wrong gradients. */
Test(plan_csv, an_order_that_goes_wrong_in_silence_is_remarked) {
    static const char swapped[] =
        "0F1,0F0,2F1,2F0,2B1,2B0,0B1,0B0\n1F1,1F0,3F1,3F0,3B1,3B0,1B1,1B0\n";
    struct bed b;
    struct pp_sched *csv = NULL;
    struct pp_csv_expect any = {0};
    struct pp_err err = {0};
    bed_init(&b, csv_recipe, NULL);
    cr_assert_eq(pp_sched_csv_parse("order.csv", swapped, strlen(swapped), &any, &csv, &err), PP_OK,
                 "%s", err.message);
    b.request.csv = csv;
    struct pp_plan_set *set = bed_search(&b);
    int32_t found = 0;
    for (int32_t i = 0; i < set->lint_count; i++) {
        if (strcmp(set->lints[i].code, "W_LOSS_ORDER") == 0) {
            cr_expect_eq(set->lints[i].level, PP_LINT_ERROR);
            cr_expect_str_eq(set->lints[i].key, "distributed.pipeline.pp_schedule_csv");
            found++;
        }
    }
    cr_expect_eq(found, 1);
    pp_plan_set_destroy(set);
    pp_sched_destroy(csv);
    bed_deinit(&b);
}
