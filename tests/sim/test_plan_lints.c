/* The planner's own remarks: each appears where it applies, and only there. */
#include "tests/sim/plan_support.h"

static const struct {
    const char *code;
    const char *model; /* in the recipe below */
    const char *setting[7];
    bool expected;
} remarks[] = {
    {"W_TIED", "meta-llama/Llama-3.2-1B", {NULL}, true},
    {"W_TIED", "meta-llama/Llama-3.2-1B", {"distributed.pp_size", "1", NULL}, false},
    {"W_TIED", "meta-llama/Llama-3.1-8B", {NULL}, false},
    {"W_SEQ_LEN_ASSUMED", "meta-llama/Llama-3.1-8B", {NULL}, true},
    {"W_SEQ_LEN_ASSUMED", "meta-llama/Llama-3.1-8B", {"dataset.seq_len", "512", NULL}, false},
    {"W_SCALE_GRADS_FLUSHES",
     "meta-llama/Llama-3.1-8B",
     {"distributed.pipeline.scale_grads_in_schedule", "true", NULL},
     true},
    {"W_SCALE_GRADS_FLUSHES",
     "meta-llama/Llama-3.1-8B",
     {"distributed.pipeline.scale_grads_in_schedule", "true", "step_scheduler.global_batch_size",
      "32", NULL},
     false},
    {"W_SCALE_GRADS_FLUSHES", "meta-llama/Llama-3.1-8B", {NULL}, false},
    {"W_SCALE_GRADS_FLUSHES", /* without a pipeline its block has no effect */
     "meta-llama/Llama-3.1-8B",
     {"distributed.pipeline.scale_grads_in_schedule", "true", "distributed.pp_size", "1",
      "step_scheduler.global_batch_size", "256", NULL},
     false},
    {"W_GRAD_SYNC_EACH_MICROBATCH",
     "meta-llama/Llama-3.1-8B",
     {"distributed.defer_fsdp_grad_sync", "false", "dataset.seq_len", "512", NULL},
     true},
    {"W_GRAD_SYNC_EACH_MICROBATCH", /* a step 0.2 % longer */
     "meta-llama/Llama-3.1-8B",
     {"distributed.defer_fsdp_grad_sync", "false", "dataset.seq_len", "1160", NULL},
     false},
    {"W_GRAD_SYNC_EACH_MICROBATCH", /* backwards so long that reductions hide behind them */
     "meta-llama/Llama-3.1-8B",
     {"distributed.defer_fsdp_grad_sync", "false", "dataset.seq_len", "8192", NULL},
     false},
    {"W_GRAD_SYNC_EACH_MICROBATCH",
     "meta-llama/Llama-3.1-8B",
     {"dataset.seq_len", "512", NULL},
     false},
    {"W_GRAD_SYNC_DEFERRED", "Qwen/Qwen2.5-32B", {"dataset.seq_len", "512", NULL}, true},
    {"W_GRAD_SYNC_DEFERRED",
     "Qwen/Qwen2.5-32B",
     {"distributed.defer_fsdp_grad_sync", "false", "dataset.seq_len", "512", NULL},
     false},
    {"W_GRAD_SYNC_DEFERRED", /* fits as it is */
     "meta-llama/Llama-3.1-8B",
     {"dataset.seq_len", "512", NULL},
     false},
    {"W_GRAD_SYNC_DEFERRED", /* does not fit either way */
     "meta-llama/Llama-3.1-405B",
     {"dataset.seq_len", "512", NULL},
     false},
    {"W_LAYERS_PER_STAGE",
     "meta-llama/Llama-3.1-8B",
     {"distributed.pipeline.layers_per_stage", "3",
      "distributed.pipeline.round_virtual_stages_to_pp_multiple", "down", NULL},
     true},
    {"W_LAYERS_PER_STAGE",
     "meta-llama/Llama-3.1-8B",
     {"distributed.pipeline.layers_per_stage", "4", NULL},
     false},
};

static bool has_remark(const struct pp_plan_set *set, const char *code) {
    for (int32_t i = 0; i < set->lint_count; i++) {
        if (strcmp(set->lints[i].code, code) == 0) {
            return true;
        }
    }
    return false;
}

Test(plan_lints, each_remark_appears_where_it_applies_and_only_there) {
    for (size_t i = 0; i < sizeof remarks / sizeof remarks[0]; i++) {
        struct bed b;
        char text[512];
        snprintf(text, sizeof text,
                 "model: {pretrained_model_name_or_path: %s}\n"
                 "step_scheduler: {global_batch_size: 64, local_batch_size: 4}\n"
                 "distributed: {pp_size: 2, pipeline: {pp_schedule: interleaved1f1b}}\n"
                 "ci: {nodes: 2}\n",
                 remarks[i].model);
        bed_init(&b, text, remarks[i].setting);
        struct pp_plan_set *set = bed_search(&b);
        cr_assert_eq(has_remark(set, remarks[i].code), remarks[i].expected, "row %zu: %s", i,
                     remarks[i].code);
        pp_plan_set_destroy(set);
        bed_deinit(&b);
    }
}
