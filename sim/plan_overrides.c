/* From a plan back to the recipe's own words. */
#include "sim/plan.h"

#include <stdio.h>
#include <string.h>

#define PIPELINE "distributed.pipeline."

/* Passes keys on; those of a distillation teacher stand in sections of their own. */
struct naming {
    pp_override_visit *visit;
    void *context;
    bool teacher;
};

static void name_key(void *context, const char *key, const char *value) {
    const struct naming *n = context;
    char name[128];
    bool renamed = n->teacher && strncmp(key, "distributed.", strlen("distributed.")) == 0;
    snprintf(name, sizeof name, "%s%s", renamed ? "teacher_" : "", key);
    n->visit(n->context, name, value);
}

static void visit_int(pp_override_visit *visit, void *context, const char *key, int64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    visit(context, key, text);
}

static bool same_schedule(const struct pp_recipe *r, const struct pp_schedule_info *info) {
    return r->has_pipeline_block && r->pipeline.pp_schedule != NULL &&
           pp_equal_nocase(r->pipeline.pp_schedule, info->name);
}

static void visit_split(const struct pp_recipe *r, const struct pp_plan_config *c,
                        pp_override_visit *visit, void *context) {
    const struct pp_pipeline_config *p = &r->pipeline;
    if (!c->has_layers_per_stage && p->has_layers_per_stage) {
        visit(context, PIPELINE "layers_per_stage", "none");
    }
    if (c->has_layers_per_stage &&
        (!p->has_layers_per_stage || p->layers_per_stage != c->layers_per_stage)) {
        visit_int(visit, context, PIPELINE "layers_per_stage", c->layers_per_stage);
    }
    if (c->round != p->round) {
        visit(context, PIPELINE "round_virtual_stages_to_pp_multiple", pp_round_name(c->round));
    }
    if (p->has_fqns && !c->uses_fqns) {
        visit(context, PIPELINE "module_fqns_per_model_part", "none");
    }
    if (p->pp_schedule_csv != NULL && !c->uses_csv) {
        visit(context, PIPELINE "pp_schedule_csv", "none");
    }
}

static void visit_all(const struct pp_recipe *recipe, const struct pp_plan_config *config,
                      pp_override_visit *visit, void *context) {
    if (config->pp_size != recipe->pp_size) {
        visit_int(visit, context, "distributed.pp_size", config->pp_size);
    }
    if (config->schedule != NULL) {
        if (!same_schedule(recipe, config->schedule)) {
            visit(context, PIPELINE "pp_schedule", config->schedule->name);
        }
        visit_split(recipe, config, visit, context);
        if (!recipe->has_pipeline_block ||
            config->microbatch_size != recipe->pipeline.pp_microbatch_size) {
            visit_int(visit, context, PIPELINE "pp_microbatch_size", config->microbatch_size);
        }
    }
    if (config->local_batch_size != recipe->local_batch_size) {
        visit_int(visit, context, "step_scheduler.local_batch_size", config->local_batch_size);
    }
}

void pp_plan_overrides(const struct pp_recipe *recipe, const struct pp_plan_config *config,
                       pp_override_visit *visit, void *context) {
    struct naming naming = {.visit = visit, .context = context, .teacher = recipe->plans_teacher};
    visit_all(recipe, config, name_key, &naming);
}
