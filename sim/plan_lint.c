/* Remarks that need the model or the world: the recipe's own are in costmodel/recipe_lint.c. */
#include "sim/plan_priv.h"

#include "costmodel/utf8.h"
#include "sim/schedule_warn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum pp_status pp_plan_lint(struct pp_plan_set *set, enum pp_lint_level level, const char *code,
                            const char *key, struct pp_err *err, const char *format, ...) {
    struct pp_lint *lints = realloc(set->lints, ((size_t)set->lint_count + 1) * sizeof *set->lints);
    if (lints == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for a remark");
    }
    set->lints = lints;
    struct pp_lint *lint = &lints[set->lint_count];
    *lint = (struct pp_lint){.level = level, .code = code};
    pp_copy(lint->key, sizeof lint->key, key);
    va_list args;
    va_start(args, format);
    vsnprintf(lint->message, sizeof lint->message, format, args);
    va_end(args);
    pp_utf8_make_line(lint->message);
    set->lint_count++;
    return PP_OK;
}

/* What PyTorch would run wrongly without a word, of the recipe's own order. */
static enum pp_status add_csv_lints(const struct pp_plan_request *req, struct pp_plan_set *set,
                                    struct pp_err *err) {
    struct pp_sched_warnings warnings = {0};
    PP_TRY(pp_sched_warn(req->csv, set->current->config.schedule, &warnings, err));
    for (int32_t i = 0; i < warnings.count; i++) {
        PP_TRY(pp_plan_lint(set, PP_LINT_ERROR, warnings.items[i].code,
                            "distributed.pipeline.pp_schedule_csv", err, "%s",
                            warnings.items[i].message));
    }
    return PP_OK;
}

/* Each flush divides all that the step has gathered so far. */
static enum pp_status add_scale_lint(struct pp_plan_set *set, struct pp_err *err) {
    const struct pp_plan *current = set->current;
    return pp_plan_lint(set, PP_LINT_ERROR, "W_SCALE_GRADS_FLUSHES",
                        "distributed.pipeline.scale_grads_in_schedule", err,
                        "a step has %lld flushes, and each divides all gradients gathered so far "
                        "again: those of a flush count 1/%d of those of the next, which is wrong",
                        (long long)current->flush_count, current->microbatch_count);
}

enum { LEAST_GRAD_SYNC_PERCENT = 1 };

/* Says what the other choice of defer_fsdp_grad_sync would do, where it matters: time if gradients
 * are reduced after every microbatch, memory if they are kept whole and do not fit. */
static enum pp_status compare_grad_sync(struct pp_plan_set *set, bool defers,
                                        const struct pp_plan *other, struct pp_err *err) {
    const struct pp_plan *now = set->current;
    const char *key = "distributed.defer_fsdp_grad_sync";
    const double gib = 1024.0 * 1024.0 * 1024.0;
    double percent = 100.0 * ((double)now->step_ns / (double)other->step_ns - 1);
    double peak = (double)other->max_peak_bytes / gib;
    if (!defers && percent >= LEAST_GRAD_SYNC_PERCENT) {
        return pp_plan_lint(set, PP_LINT_INFO, "W_GRAD_SYNC_EACH_MICROBATCH", key, err,
                            "reducing gradients after every microbatch makes a step %.1f %% "
                            "longer; true needs a peak of %.1f instead of %.1f GiB, which %s",
                            percent, peak, (double)now->max_peak_bytes / gib,
                            other->fits ? "fits" : "does not fit");
    }
    if (defers && !now->fits && other->fits) {
        return pp_plan_lint(set, PP_LINT_INFO, "W_GRAD_SYNC_DEFERRED", key, err,
                            "gradients of all microbatches are kept whole and do not fit; with "
                            "false they are reduced after every microbatch: a peak of %.1f GiB, "
                            "which fits, and a step %.1f %% longer",
                            peak, 100.0 * ((double)other->step_ns / (double)now->step_ns - 1));
    }
    return PP_OK;
}

/* Plays the recipe with the other choice. */
static enum pp_status add_grad_sync_lint(const struct pp_plan_request *req, struct pp_plan_set *set,
                                         struct pp_err *err) {
    struct pp_recipe recipe = *req->recipe; /* only read, and not for longer */
    struct pp_plan_request turned = *req;
    struct pp_plan_world world;
    struct pp_plan plan = {0};
    struct pp_err own = {0};
    recipe.defer_fsdp_grad_sync = !recipe.defer_fsdp_grad_sync;
    turned.recipe = &recipe;
    PP_TRY(pp_plan_world_init(&turned, recipe.pp_size, &world, err));
    enum pp_status status = pp_plan_build_recipe(&world, &plan, &own, err);
    if (status == PP_OK && plan.step_ns > 0) {
        status = compare_grad_sync(set, req->recipe->defer_fsdp_grad_sync, &plan, err);
    }
    pp_plan_deinit(&plan);
    return status;
}

enum pp_status pp_plan_add_lints(const struct pp_plan_request *req, struct pp_plan_set *set,
                                 struct pp_err *err) {
    const struct pp_recipe *r = req->recipe;
    const struct pp_plan *current = set->current;
    if (pp_recipe_seq_len(r) == 0) {
        PP_TRY(pp_plan_lint(set, PP_LINT_WARNING, "W_SEQ_LEN_ASSUMED", "dataset.seq_len", err,
                            "the recipe does not say how long its sequences are: %d tokens "
                            "assumed; --set dataset.seq_len=N gives the real length",
                            PP_PLAN_ASSUMED_SEQ_LEN));
    }
    if (r->pipeline.scale_grads_in_schedule && r->pp_size > 1 && current->flush_count > 1) {
        PP_TRY(add_scale_lint(set, err));
    }
    if (r->pp_size > 1 && current->step_ns > 0 && (!r->defer_fsdp_grad_sync || !current->fits)) {
        PP_TRY(add_grad_sync_lint(req, set, err));
    }
    if (req->model->tied && r->pp_size > 1) {
        PP_TRY(pp_plan_lint(set, PP_LINT_WARNING, "W_TIED", "model", err,
                            "input and output embeddings of %s are one matrix: the first and the "
                            "last stage both need it, and Automodel refuses such models",
                            req->model->id));
    }
    if (current->config.has_layers_per_stage && current->layer_counts != NULL &&
        current->layer_counts[0] > current->config.layers_per_stage) {
        PP_TRY(pp_plan_lint(set, PP_LINT_INFO, "W_LAYERS_PER_STAGE",
                            "distributed.pipeline.layers_per_stage", err,
                            "layers_per_stage %d only sets the number of stages: the largest stage "
                            "holds %d layers",
                            current->config.layers_per_stage, current->layer_counts[0]));
    }
    return req->csv != NULL ? add_csv_lints(req, set, err) : PP_OK;
}
