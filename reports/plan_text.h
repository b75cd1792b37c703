/**
 * @file plan_text.h
 * Planning results for people: what the recipe does, what would be better and how to get it.
 */
#ifndef PP_REPORTS_PLAN_TEXT_H
#define PP_REPORTS_PLAN_TEXT_H

#include "sim/plan.h"

#include <stdio.h>

/** Writes the summary, the recipe as it is rank by rank, the picks with their overrides, the first
 *  `row_count` ranked plans, the better-looking ones that do not fit and why, and the remarks.
 * Write errors are left to the stream. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_text_plan_set(FILE *out, const struct pp_recipe *recipe,
                                const struct pp_plan_set *set, int32_t row_count,
                                struct pp_err *err);

/** "12.3 s", "45.6 ms", "789 us". @return out */
const char *pp_text_duration(int64_t ns, char out[32]);

#endif
