/**
 * @file plan_json.h
 * Planning results as JSON, under the names of the command-line contract.
 */
#ifndef PP_REPORTS_PLAN_JSON_H
#define PP_REPORTS_PLAN_JSON_H

#include "reports/json.h"
#include "sim/plan.h"

/** Adds `current`, `plans`, the picks by plan id, and `lints` to a document. */
void pp_json_plan_set(json_t *document, const struct pp_recipe *recipe,
                      const struct pp_plan_set *set);

#endif
