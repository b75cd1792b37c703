/* What Automodel ignores, overwrites or gets wrong, said before anybody waits for a GPU. Facts:
 * Automodel 36044ad3; each lint is one function and one row of the table. */
#include "costmodel/recipe_fields.h"
#include "costmodel/recipe_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPELINE "distributed.pipeline"

static bool is_given(const struct pp_recipe *r, const char *key) {
    return pp_field_find(r->doc, key) != NULL;
}

/* Writes the message and returns true, so that a lint ends in one line. */
static bool say(struct pp_lint *lint, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool say(struct pp_lint *lint, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(lint->message, sizeof lint->message, format, args);
    va_end(args);
    return true;
}

static bool pp_disabled(const struct pp_recipe *r, struct pp_lint *lint) {
    return r->pp_size <= 1 && r->has_pipeline_block &&
           say(lint, "the block has no effect: pp_size is %d; set pp_size above 1 to pipeline",
               r->pp_size);
}

static bool autopipeline(const struct pp_recipe *r, struct pp_lint *lint) {
    return is_given(r, "autopipeline") &&
           say(lint, "the block is from an older Automodel and is not read any more; its settings "
                     "belong into distributed.pipeline");
}

static bool teacher(const struct pp_recipe *r, struct pp_lint *lint) {
    if (r->plans_teacher) {
        return say(lint,
                   "only the teacher is pipelined, so its pipeline is planned; a teacher runs "
                   "forward only, but times and memory here are those of training");
    }
    return is_given(r, "teacher_distributed.pipeline") &&
           say(lint, "the teacher's pipeline is not planned, only that of the model in training");
}

static bool batch_overwritten(const struct pp_recipe *r, struct pp_lint *lint) {
    return is_given(r, PIPELINE ".pp_batch_size") &&
           say(lint,
               "pp_batch_size (%d) has no effect: recipes put step_scheduler."
               "local_batch_size (%d) in its place",
               r->pipeline.pp_batch_size, r->local_batch_size);
}

static bool nosync_overwritten(const struct pp_recipe *r, struct pp_lint *lint) {
    return is_given(r, PIPELINE ".patch_stage_backward_maybe_with_nosync") &&
           say(lint,
               "the key has no effect: recipes put model.backend.enable_fsdp_optimizations (%s) "
               "in its place",
               r->enable_fsdp_optimizations ? "true" : "false");
}

static bool round_ignored(const struct pp_recipe *r, struct pp_lint *lint) {
    return r->pipeline.round != PP_ROUND_NONE && !r->pipeline.has_layers_per_stage &&
           say(lint, "rounding has no effect without layers_per_stage: the schedule alone decides "
                     "the stage count then");
}

static bool scale_grads(const struct pp_recipe *r, struct pp_lint *lint) {
    return r->pipeline.scale_grads_in_schedule &&
           say(lint, "each call of the schedule divides all gradients accumulated so far again: "
                     "wrong as soon as a step has more than one; recipes scale by the number of "
                     "label tokens anyway, so leave it false");
}

static bool dtype_mismatch(const struct pp_recipe *r, struct pp_lint *lint) {
    enum pp_dtype pipeline = PP_DTYPE_BF16;
    enum pp_dtype activation = r->param_dtype;
    const struct pp_node *output = pp_field_find(r->doc, "distributed.mp_policy.output_dtype");
    if (r->pipeline.dtype == NULL || !pp_dtype_from_name(r->pipeline.dtype, &pipeline)) {
        return false;
    }
    if (output != NULL) {
        pp_dtype_from_name(pp_node_text(output), &activation);
    }
    return pipeline != activation &&
           say(lint,
               "dtype %s is not what crosses the stage boundaries (mp_policy's output or "
               "parameter dtype): receive buffers get the wrong size; leave dtype out",
               r->pipeline.dtype);
}

/* Only a known sequence length makes the shapes static, and only static shapes use the dtype. The
 * VLM recipe does not look at the data for it. */
static bool dtype_unused(const struct pp_recipe *r, struct pp_lint *lint) {
    const struct pp_node *recipe = pp_field_find(r->doc, "recipe");
    const char *name = recipe != NULL ? pp_node_text(recipe) : NULL;
    bool infers = name == NULL || strstr(name, "VLM") == NULL;
    bool inferred = infers && (r->packed_sequence_size > 0 || is_given(r, "dataset.seq_len"));
    return r->pipeline.dtype != NULL && r->pipeline.pp_seq_len == 0 && !inferred &&
           say(lint, "dtype has no effect: the sequence length is not known before the first "
                     "step, so shapes and dtypes are exchanged at run time");
}

static bool loss_fn(const struct pp_recipe *r, struct pp_lint *lint) {
    return r->pipeline.loss_fn != NULL &&
           say(lint, "the key has no effect: recipes take the top-level loss_fn");
}

static bool has_schedule(const struct pp_recipe *r, const char *name) {
    return r->pipeline.pp_schedule != NULL && pp_equal_nocase(r->pipeline.pp_schedule, name);
}

static bool dualpipev_placement(const struct pp_recipe *r, struct pp_lint *lint) {
    return has_schedule(r, "DualPipeV") &&
           say(lint,
               "Automodel places DualPipeV's stages in a loop, but the schedule wants them in "
               "a V: training hangs in the first step; ZBVZeroBubble is placed correctly");
}

static bool v_loss(const struct pp_recipe *r, struct pp_lint *lint) {
    return has_schedule(r, "ZBVZeroBubble") &&
           say(lint,
               "the last stage is on pipeline rank 0, but recipes report the loss of rank %d: "
               "the logged loss is 0 (gradients are right)",
               r->pp_size - 1);
}

static bool csv_name(const struct pp_recipe *r, struct pp_lint *lint) {
    return r->pipeline.pp_schedule_csv != NULL &&
           say(lint,
               "the CSV replaces only the order of actions: pp_schedule (%s) still decides "
               "how many stages a rank has and where they are, and must match the file",
               r->pipeline.pp_schedule);
}

static bool fqns_layers_per_stage(const struct pp_recipe *r, struct pp_lint *lint) {
    return r->pipeline.has_fqns && r->pipeline.has_layers_per_stage &&
           say(lint, "module_fqns_per_model_part decides the stages; layers_per_stage is not used, "
                     "but still checked, and can still make the start fail");
}

static bool seq_length(const struct pp_recipe *r, struct pp_lint *lint) {
    return is_given(r, "dataset.seq_length") && !is_given(r, "dataset.seq_len") &&
           r->packed_sequence_size == 0 && r->pipeline.pp_seq_len == 0 &&
           say(lint,
               "the pipeline infers its sequence length from dataset.seq_len, not from "
               "seq_length: shapes are exchanged at run time, which can take minutes; set "
               "distributed.pipeline.pp_seq_len to %lld",
               (long long)r->dataset_seq_len);
}

/* Does the data loader's collate function pack sequences without padding? */
static bool emits_thd(const struct pp_recipe *r) {
    static const char *const keys[] = {"dataloader.collate_fn", "dataloader.collate_fn._target_"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct pp_node *node = pp_field_find(r->doc, keys[i]);
        const char *text = node != NULL ? pp_node_text(node) : NULL;
        if (text != NULL && strstr(text, "thd") != NULL) {
            return true;
        }
    }
    return false;
}

static bool thd(const struct pp_recipe *r, struct pp_lint *lint) {
    return r->cp_size > 1 && strcmp(r->attention_backend, "te") == 0 &&
           (emits_thd(r) || r->packed_sequence_size > 0) &&
           say(lint,
               "packed sequences with cp_size %d and TE attention: the batch becomes "
               "local_batch_size / pp_microbatch_size (%d / %d) and the microbatch size 1; "
               "the number of microbatches stays",
               r->cp_size, r->local_batch_size, r->pipeline.pp_microbatch_size);
}

static bool fused_loss(const struct pp_recipe *r, struct pp_lint *lint) {
    return pp_recipe_wants_fused_loss(r) && !r->fused_cross_entropy &&
           say(lint, "with patch_causal_lm_model false Automodel replaces FusedLinearCrossEntropy "
                     "by MaskedCrossEntropy: the last stage holds the full logits");
}

struct lint_rule {
    const char *code;
    enum pp_lint_level level;
    bool without_pipeline; /* looked at with pp_size 1, too */
    const char *key;
    bool (*check)(const struct pp_recipe *r, struct pp_lint *lint);
};

static const struct lint_rule rules[] = {
    {"W_PP_DISABLED", PP_LINT_WARNING, true, PIPELINE, pp_disabled},
    {"W_AUTOPIPELINE", PP_LINT_WARNING, true, "autopipeline", autopipeline},
    {"W_TEACHER", PP_LINT_WARNING, true, "teacher_distributed.pipeline", teacher},
    {"W_DUALPIPEV_PLACEMENT", PP_LINT_ERROR, false, PIPELINE ".pp_schedule", dualpipev_placement},
    {"W_V_LOSS", PP_LINT_WARNING, false, PIPELINE ".pp_schedule", v_loss},
    {"W_CSV_NAME", PP_LINT_WARNING, false, PIPELINE ".pp_schedule_csv", csv_name},
    {"W_BATCH_OVERWRITTEN", PP_LINT_WARNING, false, PIPELINE ".pp_batch_size", batch_overwritten},
    {"W_NOSYNC_OVERWRITTEN", PP_LINT_WARNING, false,
     PIPELINE ".patch_stage_backward_maybe_with_nosync", nosync_overwritten},
    {"W_ROUND_IGNORED", PP_LINT_WARNING, false, PIPELINE ".round_virtual_stages_to_pp_multiple",
     round_ignored},
    {"W_FQNS_LAYERS_PER_STAGE", PP_LINT_WARNING, false, PIPELINE ".layers_per_stage",
     fqns_layers_per_stage},
    {"W_SCALE_GRADS", PP_LINT_WARNING, false, PIPELINE ".scale_grads_in_schedule", scale_grads},
    {"W_DTYPE_MISMATCH", PP_LINT_WARNING, false, PIPELINE ".dtype", dtype_mismatch},
    {"W_DTYPE_UNUSED", PP_LINT_INFO, false, PIPELINE ".dtype", dtype_unused},
    {"W_LOSS_FN", PP_LINT_WARNING, false, PIPELINE ".loss_fn", loss_fn},
    {"W_SEQ_LENGTH", PP_LINT_WARNING, false, "dataset.seq_length", seq_length},
    {"W_THD", PP_LINT_INFO, false, "distributed.cp_size", thd},
    {"W_FUSED_CE", PP_LINT_WARNING, false, "loss_fn", fused_loss},
};
enum { RULE_COUNT = sizeof rules / sizeof *rules };

enum pp_status pp_recipe_lint(struct pp_recipe *r, struct pp_err *err) {
    struct pp_lint found[RULE_COUNT];
    int32_t count = 0;
    for (size_t i = 0; i < RULE_COUNT; i++) {
        const struct lint_rule *rule = &rules[i];
        struct pp_lint *lint = &found[count];
        *lint = (struct pp_lint){.level = rule->level, .code = rule->code};
        if ((r->pp_size > 1 || rule->without_pipeline) && rule->check(r, lint)) {
            const struct pp_node *node = pp_doc_find(r->doc, rule->key);
            struct pp_place place = node != NULL ? pp_node_place(node) : (struct pp_place){0};
            pp_copy(lint->key, sizeof lint->key, rule->key);
            lint->line = place.line;
            lint->column = place.column;
            count++;
        }
    }
    if (count == 0) {
        return PP_OK;
    }
    r->lints = malloc((size_t)count * sizeof *r->lints);
    if (r->lints == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d remarks", count);
    }
    memcpy(r->lints, found, (size_t)count * sizeof *r->lints);
    r->lint_count = count;
    return PP_OK;
}
