/**
 * @file recipe_parts.h
 * The steps of reading a recipe, one file each. Used by recipe*.c only.
 */
#ifndef PP_COSTMODEL_RECIPE_PARTS_H
#define PP_COSTMODEL_RECIPE_PARTS_H

#include "costmodel/recipe.h"

/** distributed.*, but for the pipeline block. */
enum pp_status pp_recipe_read_distributed(struct pp_recipe *r, struct pp_err *err);

/** distributed.pipeline; pp_size must have been read. */
enum pp_status pp_recipe_read_pipeline(struct pp_recipe *r, struct pp_err *err);

/** Everything else: batch sizes, data, model, loss, optimizer, peft, nodes. */
enum pp_status pp_recipe_read_training(struct pp_recipe *r, struct pp_err *err);

/** Fills r->lints from what was read. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_recipe_lint(struct pp_recipe *r, struct pp_err *err);

/** The loss that the recipe names is the fused linear cross entropy. */
bool pp_recipe_wants_fused_loss(const struct pp_recipe *r);

#endif
