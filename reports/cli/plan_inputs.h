/* From flags to everything a planning run needs, and to the record of it that is stored. */
#ifndef PP_REPORTS_CLI_PLAN_INPUTS_H
#define PP_REPORTS_CLI_PLAN_INPUTS_H

#include "sim/plan.h"
#include "sim/store.h"

struct pp_plan_flags {
    const char *recipe_path;
    const char *model;    /* NULL: the recipe's */
    const char *hardware; /* name or path */
    int32_t layers;       /* 0: not given */
    int64_t gpus;
    bool gpus_given;
    bool search_pp;
    const char *const *settings; /* "key=value", leading dashes allowed */
    int32_t setting_count;
};

struct pp_plan_inputs {
    struct pp_recipe *recipe;
    struct pp_model model; /* hidden == 0: only the depth is known */
    struct pp_hardware hw;
    struct pp_sched *csv; /* NULL if the recipe has none */
    bool gpus_given;
    struct pp_run_inputs stored; /* what the store keeps; points into this struct */
    char run_id[33];
    char *recipe_text, *settings_json, *model_text, *hardware_text, *csv_text; /* owned */
    char model_name[256];
};

/** Reads recipe, model, hardware and schedule file. Deinit also after a failure. */
enum pp_status pp_plan_inputs_read(struct pp_plan_inputs *in, const struct pp_plan_flags *flags,
                                   struct pp_err *err);
void pp_plan_inputs_deinit(struct pp_plan_inputs *in);

/** "key=value" with leading dashes dropped, cut at the first '='. `buffer` holds the key.
 *  @return PP_OK, PP_E_USAGE */
enum pp_status pp_setting_parse(const char *text, char *buffer, size_t size,
                                struct pp_setting *setting_p, struct pp_err *err);

#endif
