/**
 * @file plan.h
 * The planner: a recipe, a model, hardware and a world in; the recipe as it is and every legal
 * change of its pipeline out, evaluated and ranked.
 *
 * Candidates: schedule x layers_per_stage x rounding x microbatch size x local batch (hence number
 * of flushes) at a constant global batch; pp_size too if asked, 1 (no pipeline) included. Legal
 * means what Automodel accepts in recipes: local_batch // microbatch >= pp, the schedule's
 * microbatch rule, the split's rules, a placement it builds right (not DualPipeV, which it places
 * in a loop). Settings that lead to the same stages are one candidate, named by the settings
 * nearest to the recipe's own. Ranked by step time among those that fit.
 *
 * Life cycle: pp_plan_search fills a set, pp_plan_set_destroy frees it. Requests are read only.
 */
#ifndef PP_SIM_PLAN_H
#define PP_SIM_PLAN_H

#include "costmodel/cost.h"
#include "sim/causes.h"
#include "sim/generate.h"
#include "sim/step.h"
#include "sim/trace.h"

#include <signal.h>

enum {
    PP_PLAN_MAX_ROWS = 50000,            /* candidates kept; more is refused with advice */
    PP_PLAN_MAX_FLUSH_ACTIONS = 1 << 21, /* larger flushes are not offered */
    PP_PLAN_ASSUMED_SEQ_LEN = 4096,      /* where the recipe does not say */
};

struct pp_plan_request {
    const char *run_id; /* identifies the inputs; plan ids derive from it */
    const struct pp_recipe *recipe;
    const struct pp_model *model; /* hidden == 0: only the depth is known */
    const struct pp_hardware *hw;
    int64_t gpu_count; /* the world; see pp_plan_default_gpus */
    bool search_pp;
    const struct pp_sched *csv; /* the recipe's pp_schedule_csv, read and sealed; NULL if none */
    const volatile sig_atomic_t *stop; /* nonzero interrupts; may be NULL. Written by the thread
                                          that searches, as by a signal handler */
    int32_t thread_count; /* at most 8 are used; 0: as many as the process may. Any number gives
                             the same set */
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
    bool uses_csv, uses_fqns; /* the recipe's own order; the recipe's own module lists */
};

struct pp_memory_parts; /* sim/memory_parts.h */

struct pp_plan {
    char id[33]; /* from content: run_id and config */
    struct pp_plan_config config;

    /* where the layers go */
    int32_t stage_count, stages_per_rank; /* 0: the split was refused */
    int32_t *layer_counts;                /* [stage_count] */
    int32_t *stage_rank;                  /* [stage_count] */

    /* how the batch is cut; 0: refused */
    int32_t microbatch_count; /* a flush */
    int64_t flush_count;      /* a step */
    int64_t dp_size;

    /* what one flush does; costs are absent (NULL, 0) where the model's shape is unknown, and times
       are then those of unit costs, 1 us for a rank's whole F, I and W */
    bool evaluated, has_costs;
    struct pp_stage_cost *stage_costs; /* [stage_count] */
    int64_t flush_ns;                  /* one flush alone, its stages gathered before */
    enum pp_reduce reduce;             /* after which flushes gradients are reduced */
    int64_t flushes_ns; /* all flushes of a step, one into the other; less than flush_count *
                           flush_ns where ranks end one after the other */
    struct pp_step_cost step_cost; /* what shows: param_gather_ns: how much later the flushes end
                                      because stages are gathered first; grad_sync_ns: from there
                                      to the last reduction; optimizer_ns: from there to the end */
    int64_t step_ns; /* flushes_ns and the three of step_cost; 0 without costs or flushes */
    double bubble_ratio;
    int64_t idle_ns[PP_CAUSE_COUNT]; /* of one flush, all ranks together */
    int64_t *peak_bytes;             /* [pp_size] upper end, reserved memory included */
    int64_t *base_bytes;             /* [pp_size] the part that is resident all the time */
    int32_t *peak_stage;             /* [pp_size] the action that makes the peak; -1: none */
    int32_t *peak_microbatch;        /* [pp_size] */
    uint8_t *peak_type;              /* [pp_size] enum pp_action_type */
    int64_t max_peak_bytes, limit_bytes;
    int64_t reserved_bytes;        /* part of every peak: context, communicators */
    struct pp_memory_parts *parts; /* [pp_size] of the peaks; only of the recipe as it is and of the
                                      best plan, else NULL */
    bool fits;
    char why[200]; /* remark: what does not fit, and by how much */
};

struct pp_plan_set {
    struct pp_plan *current;     /* the recipe as it is, as far as it can be followed; never NULL */
    struct pp_err current_error; /* PP_OK: legal. PP_E_NO_SHAPE: legal, but shape unknown */
    int32_t plan_count;
    struct pp_plan *plans;    /* those that fit by step time, then the others by peak */
    int32_t current_index;    /* the recipe as it is among `plans`; -1 if it is not legal */
    int32_t best;             /* -1 if none fits */
    int32_t best_same_memory; /* best at no more memory than the recipe as it is; -1 if none */
    int32_t other_round;      /* the recipe with the other rounding; -1 if not legal */
    int64_t considered_count; /* settings looked at, refused ones included */
    int32_t lint_count;
    struct pp_lint *lints; /* the recipe's, then the planner's */
};

/**
 * The recipe's nodes times 8 if they can hold its parallel sizes, else the smallest legal world:
 * the smallest dp for which ep and the global batch divide. @return PP_OK, PP_E_WORLD
 */
enum pp_status pp_plan_default_gpus(const struct pp_recipe *recipe, int64_t *gpu_count_p,
                                    struct pp_err *err);

/**
 * A recipe that is itself illegal is not a failure: set->current_error says why, and legal changes
 * are still listed.
 * @return PP_OK (also when nothing fits: best == -1), PP_E_WORLD (gpu_count cannot hold the
 * parallel sizes), PP_E_RANGE, PP_E_MODEL, PP_E_INTERRUPTED, PP_E_NOMEM
 */
enum pp_status pp_plan_search(const struct pp_plan_request *req, struct pp_plan_set **set_p,
                              struct pp_err *err);
void pp_plan_set_destroy(struct pp_plan_set *set);

/** Frees what a single plan owns. */
void pp_plan_deinit(struct pp_plan *plan);

/** Text of the action that makes a rank's peak. @return out, or NULL where the resident states do
 */
const char *pp_plan_peak_action(const struct pp_plan *plan, int32_t rank,
                                char out[PP_ACTION_TEXT_BYTES]);

/** Called once per override, in a fixed order. `value` "none" stands for null. */
typedef void pp_override_visit(void *context, const char *key, const char *value);

/** The settings that turn the recipe into this plan; only keys that differ from the recipe. */
void pp_plan_overrides(const struct pp_recipe *recipe, const struct pp_plan_config *config,
                       pp_override_visit *visit, void *context);

#endif
