/**
 * @file plan.h
 * The planner: a recipe, a model, hardware and a world in; the recipe as it is and every legal
 * change of its pipeline out, evaluated and ranked.
 *
 * Candidates: schedule x layers_per_stage x rounding x microbatch size x local batch (hence number
 * of flushes) at a constant global batch; pp_size too if asked. Legal means what Automodel accepts
 * for recipes (local_batch // microbatch >= pp, schedule rules, split rules, placement it can
 * build). Ranked by step time among those that fit.
 */
#ifndef PP_SIM_PLAN_H
#define PP_SIM_PLAN_H

#include "costmodel/cost.h"
#include "sim/generate.h"

#include <signal.h>

enum { PP_PLAN_MAX_CANDIDATES = 200000 };

struct pp_plan_request {
    const struct pp_recipe *recipe;
    const struct pp_model *model; /* hidden == 0: only the depth is known */
    const struct pp_hardware *hw;
    int64_t gpu_count; /* the world; see pp_plan_default_gpus */
    bool search_pp;
    const struct pp_sched *csv; /* the recipe's pp_schedule_csv, read and sealed; NULL if none */
    int32_t thread_count;       /* 0 = one */
    const volatile sig_atomic_t *stop; /* set to nonzero to interrupt; may be NULL */
};

/** The choices that make a plan. */
struct pp_plan_config {
    const struct pp_schedule_info *schedule; /* NULL: no pipeline (pp_size 1) */
    int32_t pp_size;
    bool has_layers_per_stage;
    int32_t layers_per_stage;
    enum pp_round round;
    int32_t microbatch_size;
    int32_t local_batch_size;
    bool uses_csv, uses_fqns;
};

struct pp_plan {
    char id[33]; /* from content: run inputs and config */
    struct pp_plan_config config;
    int32_t stage_count, stages_per_rank;
    int32_t *layer_counts;    /* [stage_count] */
    int32_t *stage_rank;      /* [stage_count] */
    int32_t microbatch_count; /* a flush */
    int64_t flush_count;      /* a step */
    int64_t dp_size;
    bool has_costs;                    /* false: E_NO_SHAPE; times and memory are then absent */
    struct pp_stage_cost *stage_costs; /* [stage_count]; NULL without costs */
    struct pp_step_cost step_cost;
    int64_t flush_ns; /* makespan of one flush; unit costs (1 us) without has_costs */
    int64_t step_ns;
    double bubble_ratio;
    int64_t *peak_bytes;                       /* [pp_size]; NULL without costs */
    char (*peak_action)[PP_ACTION_TEXT_BYTES]; /* [pp_size] what makes the peak */
    int64_t *base_bytes;                       /* [pp_size] resident part of the peak */
    int64_t limit_bytes;                       /* a GPU's memory */
    bool fits;
    char why[160]; /* remark: why it does not fit, why it is not chosen */
};

struct pp_plan_set {
    char run_id[33];
    struct pp_plan *current;     /* NULL if the recipe as it is has no split */
    struct pp_err current_error; /* status PP_OK if the recipe is legal as it is */
    int32_t plan_count;
    struct pp_plan *plans;    /* ranked: those that fit by step time, then the others by peak */
    int32_t best;             /* index; -1 if none fits */
    int32_t best_same_memory; /* best at no more memory than the recipe as it is; -1 if none */
    int32_t other_round;      /* the recipe with the other rounding; -1 if not legal */
    int64_t considered_count; /* candidates looked at, refused ones included */
    int32_t lint_count;
    struct pp_lint *lints; /* the recipe's and the planner's */
};

/** The recipe's nodes x gpus_per_node of 8, else the smallest legal world. @return PP_OK,
 * PP_E_WORLD */
enum pp_status pp_plan_default_gpus(const struct pp_recipe *recipe, int64_t *gpu_count_p,
                                    struct pp_err *err);

/**
 * @return PP_OK (also when nothing fits: best == -1), PP_E_WORLD (gpu_count cannot hold the
 * parallel sizes), PP_E_RANGE, PP_E_INTERRUPTED, PP_E_NOMEM
 */
enum pp_status pp_plan_search(const struct pp_plan_request *req, struct pp_plan_set **set_p,
                              struct pp_err *err);
void pp_plan_set_destroy(struct pp_plan_set *set);

/** NeMo overrides that turn the recipe into this plan, one "key=value" a call, in a fixed order;
 *  only keys that differ from the recipe. */
typedef void pp_override_visit(void *context, const char *key, const char *value);
void pp_plan_overrides(const struct pp_recipe *recipe, const struct pp_plan *plan,
                       pp_override_visit *visit, void *context);

#endif
