/* A recipe's life: read, apply settings, resolve, lint. */
#include "costmodel/recipe.h"

#include "costmodel/recipe_fields.h"
#include "costmodel/recipe_parts.h"

#include <stdlib.h>

void pp_recipe_destroy(struct pp_recipe *recipe) {
    if (recipe == NULL) {
        return;
    }
    free(recipe->pipeline.fqns.part_begin);
    free(recipe->pipeline.fqns.names);
    free(recipe->lints);
    pp_doc_destroy(recipe->doc);
    free(recipe);
}

static enum pp_status resolve(struct pp_recipe *r, struct pp_err *err) {
    const struct pp_node *root = pp_doc_root(r->doc);
    if (pp_node_kind(root) != PP_NODE_MAPPING) {
        return pp_field_type_error(r->doc, root, "the recipe", "a mapping", err);
    }
    PP_TRY(pp_recipe_read_training(r, err)); /* before the precision policy, which may refer to the
                                                model's dtype */
    PP_TRY(pp_recipe_read_distributed(r, err));
    PP_TRY(pp_recipe_read_pipeline(r, err));
    r->fused_cross_entropy =
        pp_recipe_wants_fused_loss(r) && (r->pp_size <= 1 || r->pipeline.patch_causal_lm_model);
    return pp_recipe_lint(r, err);
}

enum pp_status pp_recipe_from_doc(struct pp_doc *doc, struct pp_recipe **recipe_p,
                                  struct pp_err *err) {
    struct pp_recipe *r = calloc(1, sizeof *r);
    if (r == NULL) {
        pp_doc_destroy(doc);
        return pp_fail(err, PP_E_NOMEM, "out of memory for a recipe");
    }
    r->doc = doc;
    enum pp_status status = resolve(r, err);
    if (status != PP_OK) {
        pp_recipe_destroy(r);
        return status;
    }
    *recipe_p = r;
    return PP_OK;
}

enum pp_status pp_recipe_read(const char *path, const struct pp_setting *settings,
                              int32_t setting_count, struct pp_recipe **recipe_p,
                              struct pp_err *err) {
    struct pp_doc *doc = NULL;
    PP_TRY(pp_doc_read(path, &doc, err));
    for (int32_t i = 0; i < setting_count; i++) {
        enum pp_status status = pp_doc_set(doc, settings[i].dotted, settings[i].value, err);
        if (status != PP_OK) {
            pp_doc_destroy(doc);
            return status;
        }
    }
    return pp_recipe_from_doc(doc, recipe_p, err);
}

int64_t pp_recipe_seq_len(const struct pp_recipe *recipe) {
    if (recipe->packed_sequence_size > 0) {
        return recipe->packed_sequence_size;
    }
    return recipe->dataset_seq_len > 0 ? recipe->dataset_seq_len : recipe->pipeline.pp_seq_len;
}
