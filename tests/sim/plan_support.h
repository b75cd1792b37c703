/* A recipe as text and everything a planning run needs around it, for tests of planner and store.
 */
#ifndef PP_TESTS_PLAN_SUPPORT_H
#define PP_TESTS_PLAN_SUPPORT_H

#include "sim/plan.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char deepseek_recipe[] = "step_scheduler:\n"
                                      "  global_batch_size: 512\n"
                                      "  local_batch_size: 4\n"
                                      "model:\n"
                                      "  config:\n"
                                      "    pretrained_model_name_or_path: deepseek-ai/DeepSeek-V3\n"
                                      "distributed:\n"
                                      "  strategy: fsdp2\n"
                                      "  pp_size: 4\n"
                                      "  ep_size: 64\n"
                                      "  activation_checkpointing: true\n"
                                      "  pipeline:\n"
                                      "    pp_schedule: interleaved1f1b\n"
                                      "    pp_microbatch_size: 1\n"
                                      "    layers_per_stage: 2\n"
                                      "    round_virtual_stages_to_pp_multiple: down\n"
                                      "dataset:\n"
                                      "  seq_len: 4096\n"
                                      "ci:\n"
                                      "  nodes: 32\n";

struct bed {
    struct pp_recipe *recipe;
    struct pp_model model;
    struct pp_hardware hw;
    struct pp_plan_request request;
};

/* `settings` are "key", "value" pairs, NULL-terminated. */
static inline struct pp_recipe *recipe_of(const char *text, const char *const *settings) {
    struct pp_err err = {0};
    struct pp_doc *doc = NULL;
    struct pp_recipe *recipe = NULL;
    cr_assert_eq(pp_doc_parse("recipe.yaml", text, strlen(text), &doc, &err), PP_OK, "%s",
                 err.message);
    for (; settings != NULL && settings[0] != NULL; settings += 2) {
        cr_assert_eq(pp_doc_set(doc, settings[0], settings[1], &err), PP_OK, "%s", err.message);
    }
    cr_assert_eq(pp_recipe_from_doc(doc, &recipe, &err), PP_OK, "%s", err.message);
    return recipe;
}

static inline void bed_init(struct bed *b, const char *text, const char *const *settings) {
    struct pp_err err = {0};
    struct pp_catalogue *cat = NULL;
    memset(b, 0, sizeof *b);
    b->recipe = recipe_of(text, settings);
    cr_assert_eq(pp_catalogue_open(&cat, &err), PP_OK, "%s", err.message);
    const struct pp_model *model = pp_catalogue_find(cat, b->recipe->model_id);
    cr_assert_not_null(model);
    b->model = *model;
    pp_catalogue_close(cat);
    cr_assert_eq(pp_hardware_load("h100-sxm", &b->hw, &err), PP_OK, "%s", err.message);
    b->request = (struct pp_plan_request){
        .run_id = "test", .recipe = b->recipe, .model = &b->model, .hw = &b->hw};
    cr_assert_eq(pp_plan_default_gpus(b->recipe, &b->request.gpu_count, &err), PP_OK, "%s",
                 err.message);
}

static inline void bed_deinit(struct bed *b) {
    pp_recipe_destroy(b->recipe);
}

static inline struct pp_plan_set *bed_search(const struct bed *b) {
    struct pp_plan_set *set = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_plan_search(&b->request, &set, &err), PP_OK, "%s", err.message);
    return set;
}

enum { MAX_SETTINGS = 40, SETTING_BYTES = 96 };

/* Overrides of a plan, collected as the settings that a user would paste. */
struct pasted {
    char text[MAX_SETTINGS][SETTING_BYTES];
    const char *list[MAX_SETTINGS + 1];
    int count;
};

static inline void paste(void *context, const char *key, const char *value) {
    struct pasted *p = context;
    cr_assert_lt(p->count + 2, MAX_SETTINGS);
    snprintf(p->text[p->count], SETTING_BYTES, "%s", key);
    snprintf(p->text[p->count + 1], SETTING_BYTES, "%s", value);
    p->list[p->count] = p->text[p->count];
    p->list[p->count + 1] = p->text[p->count + 1];
    p->count += 2;
    p->list[p->count] = NULL;
}

#endif
