/* Rooms of the planner behind plan.h: context, building, evaluating. */
#ifndef PP_SIM_PLAN_PRIV_H
#define PP_SIM_PLAN_PRIV_H

#include "sim/plan.h"
#include "sim/replay.h"
#include "sim/step.h"

/* One pipeline size of the search: everything that candidates with this pp_size share. */
struct pp_plan_world {
    const struct pp_plan_request *req;
    int32_t pp_size;
    int64_t dp_size;
    int64_t global_batch; /* of a step; one flush of every replica where the recipe gives none */
    int64_t sequences; /* per data-parallel rank and step; 0 if the global batch does not divide */
    int64_t seq_len;
};

/** @return PP_OK, PP_E_WORLD. A global batch that does not divide leaves `sequences` 0. */
enum pp_status pp_plan_world_init(const struct pp_plan_request *req, int32_t pp_size,
                                  struct pp_plan_world *world_p, struct pp_err *err);

/** The recipe's own choices. @return PP_OK, PP_E_SCHEDULE */
enum pp_status pp_plan_config_of_recipe(const struct pp_recipe *recipe,
                                        struct pp_plan_config *config_p, struct pp_err *err);

/** Stages, layers and placement. @return PP_OK, a status of the split, PP_E_PLACEMENT, PP_E_FQN */
enum pp_status pp_plan_build_split(const struct pp_plan_world *world, struct pp_plan *plan,
                                   struct pp_err *err);

/** Microbatches and flushes. @return PP_OK, PP_E_BATCH, PP_E_PIPELINE, PP_E_MICROBATCH */
enum pp_status pp_plan_build_batch(const struct pp_plan_world *world, struct pp_plan *plan,
                                   struct pp_err *err);

/** What a configuration asks of the split, placed in a loop. */
struct pp_split_request pp_plan_split_request(const struct pp_plan_request *req,
                                              const struct pp_plan_config *config);

/** What evaluating plans that share one schedule needs, reused for every cost set. */
struct pp_plan_bench {
    struct pp_replay replay;
    struct pp_rank_memory *peaks; /* [rank_count] */
    struct pp_idle *idle;         /* [rank_count] */
    int64_t *limits;              /* [rank_count] bytes that may be allocated */
    struct pp_step *step;
    int64_t *step_columns; /* gathers and reductions [stage_count], optimizer [rank_count] */
};

enum pp_status pp_plan_bench_init(struct pp_plan_bench *bench, const struct pp_sched *sched,
                                  struct pp_err *err);
void pp_plan_bench_deinit(struct pp_plan_bench *bench);

/**
 * Times and memory of a plan that has been built.
 * @param table  costs for the plan's microbatch; NULL where the shape is unknown
 */
enum pp_status pp_plan_evaluate(const struct pp_plan_world *world,
                                const struct pp_cost_table *table, struct pp_plan_bench *bench,
                                struct pp_plan *plan, struct pp_err *err);

/** The bench's parts that pp_plan_time_step uses. Freed by its deinit. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_plan_step_init(struct pp_plan_bench *bench, struct pp_err *err);
void pp_plan_step_deinit(struct pp_plan_bench *bench);

/** Plays all flushes of a plan with costs, and what ends its step. The replay then holds its first
 *  flush, as after pp_replay_run. @return PP_OK, PP_E_RANGE */
enum pp_status pp_plan_time_step(const struct pp_plan_world *world,
                                 const struct pp_cost_table *table, struct pp_plan_bench *bench,
                                 struct pp_plan *plan, struct pp_err *err);

/** What a stage of a plan with a split is to the cost model. */
struct pp_stage_shape pp_plan_stage_shape(const struct pp_plan_world *world,
                                          const struct pp_plan *plan, int32_t stage,
                                          int32_t first_layer);

/** Finds the parts of the peaks of the recipe as it is and of the best plan, once it is known.
 *  @return PP_OK, PP_E_NOMEM, what making their schedule returns */
enum pp_status pp_plan_add_parts(const struct pp_plan_request *req, struct pp_plan_set *set,
                                 struct pp_err *err);

/** Training configuration of a world and microbatch size, for the cost model. */
struct pp_train pp_plan_train(const struct pp_plan_world *world, int32_t microbatch_size);

/** Builds and evaluates the recipe as it is, as far as it can be followed. What stops it is kept in
 *  `error_p`. @return PP_OK, or a failure that is not the recipe's own fault */
enum pp_status pp_plan_build_recipe(const struct pp_plan_world *world, struct pp_plan *plan,
                                    struct pp_err *error_p, struct pp_err *err);

/** Sorts the plans and finds the picks: best, best at no more memory, the other rounding. */
void pp_plan_rank(const struct pp_plan_request *req, struct pp_plan_set *set);

/** The planner's own remarks on the recipe as it is. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_plan_add_lints(const struct pp_plan_request *req, struct pp_plan_set *set,
                                 struct pp_err *err);

/** Adds a lint to the set. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_plan_lint(struct pp_plan_set *set, enum pp_lint_level level, const char *code,
                            const char *key, struct pp_err *err, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

#endif
