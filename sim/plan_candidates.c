/* Every legal change of a recipe's pipeline: which settings lead to which stages, and the walk over
 * schedules, stages, microbatch counts and microbatch sizes. The walk lists groups of candidates
 * that share a schedule; threads evaluate the groups, and their plans are taken in the order of the
 * walk, so that the set, and the first failure, do not depend on the threads. */
#include "sim/plan_candidates.h"

#include "sim/parallel.h"

#include <stdlib.h>
#include <string.h>

/* Settings that give a number of stages a rank; has == false: none found yet. */
struct split_option {
    bool has, has_layers_per_stage;
    int32_t layers_per_stage;
    enum pp_round round;
};

/* options[kind][stages_per_rank], 1 <= stages_per_rank <= max. */
struct split_options {
    int32_t max_per_rank;
    struct split_option *of[2];
};

enum {
    MOST_THREADS = 8,
    GROUPS_AT_ONCE = 256, /* evaluated before their plans are taken: bounds what is held twice */
};

/* Candidates that share a schedule: one structure under every microbatch size. */
struct group {
    const struct pp_schedule_info *info;
    struct pp_gen_config gen;
    struct split_option option;
    struct pp_plan_sink found;
    enum pp_status status;
};

/* What one thread keeps between groups. */
struct desk {
    struct pp_cost_table **tables; /* [max_microbatch_size + 1] by size; filled when needed */
};

struct walk {
    const struct pp_plan_world *world;
    struct pp_plan_sink *sink;
    struct split_options options;
    int32_t max_microbatch_size;
    struct group *groups;
    int32_t group_count, group_capacity;
    struct group *block; /* those at work */
    struct desk *desks;  /* [thread_count] */
    int32_t thread_count;
};

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void note_option(struct walk *w, const struct pp_split_request *req) {
    struct pp_split split = {0};
    w->sink->considered_count++;
    if (pp_split_stages(req, &split, NULL) != PP_OK) {
        return;
    }
    struct split_option *o = &w->options.of[req->kind][split.stages_per_rank];
    if (!o->has) {
        *o = (struct split_option){true, req->has_layers_per_stage, req->layers_per_stage,
                                   req->round};
    }
}

/* The recipe's own word first. */
static void order_rounds(enum pp_round first, enum pp_round rounds[PP_ROUND_COUNT]) {
    int n = 0;
    rounds[n++] = first;
    for (int r = PP_ROUND_NONE; r < PP_ROUND_COUNT; r++) {
        if (r != (int)first) {
            rounds[n++] = (enum pp_round)r;
        }
    }
}

/* The first settings that reach a stage count name it: the recipe's own word for word, then the
 * recipe's with another rounding, then none, then layers_per_stage ever further from the recipe's.
 */
static void find_options(struct walk *w, enum pp_schedule_kind kind) {
    const struct pp_pipeline_config *p = &w->world->req->recipe->pipeline;
    const int32_t layers = w->world->req->model->layer_count;
    const struct pp_split_request own = {.layer_count = layers,
                                         .pp_size = w->world->pp_size,
                                         .layers_per_stage = p->layers_per_stage,
                                         .has_layers_per_stage = p->has_layers_per_stage,
                                         .round = p->round,
                                         .kind = kind};
    note_option(w, &own);
    enum pp_round rounds[PP_ROUND_COUNT];
    order_rounds(p->round, rounds);
    int32_t base = p->has_layers_per_stage
                       ? p->layers_per_stage
                       : (layers + 2 * w->world->pp_size - 1) / (2 * w->world->pp_size);
    base = base > layers ? layers : base;
    struct pp_split_request req = {
        .layer_count = layers, .pp_size = w->world->pp_size, .kind = kind};
    for (int32_t distance = 0; distance <= layers; distance++) {
        for (int sign = distance == 0 ? 1 : -1; sign <= 1; sign += 2) {
            int32_t lps = base + sign * distance;
            for (int r = 0; r < PP_ROUND_COUNT && lps >= 1 && lps <= layers; r++) {
                req.has_layers_per_stage = true;
                req.layers_per_stage = lps;
                req.round = rounds[r];
                note_option(w, &req);
            }
        }
        if (distance == 0) { /* null comes right after the recipe's own */
            req.has_layers_per_stage = false;
            req.layers_per_stage = 0;
            req.round = p->round;
            note_option(w, &req);
        }
    }
}

static enum pp_status table_for(const struct walk *w, const struct desk *desk,
                                int32_t microbatch_size, const struct pp_cost_table **table_p,
                                struct pp_err *err) {
    struct pp_cost_table **slot = &desk->tables[microbatch_size];
    if (*slot == NULL) {
        struct pp_train train = pp_plan_train(w->world, microbatch_size);
        PP_TRY(pp_cost_table_create(w->world->req->model, w->world->req->hw, &train, slot, err));
    }
    *table_p = *slot;
    return PP_OK;
}

/* One schedule structure under one microbatch size: builds, evaluates and hands over a plan. A
 * microbatch so large that its times leave the clock's range is not offered. */
static enum pp_status try_microbatch_size(const struct walk *w, const struct desk *desk,
                                          const struct pp_plan_config *config,
                                          struct pp_plan_bench *bench, struct pp_plan_sink *found,
                                          struct pp_err *err) {
    struct pp_plan plan = {.config = *config};
    enum pp_status status = pp_plan_build_split(w->world, &plan, err);
    if (status == PP_OK) {
        status = pp_plan_build_batch(w->world, &plan, err);
    }
    const struct pp_cost_table *table = NULL;
    if (status == PP_OK) {
        status = table_for(w, desk, config->microbatch_size, &table, err);
    }
    if (status == PP_OK) {
        status = pp_plan_evaluate(w->world, table, bench, &plan, err);
    }
    if (status == PP_E_RANGE) {
        pp_plan_deinit(&plan);
        return PP_OK;
    }
    if (status == PP_OK) {
        status = pp_plan_sink_add(found, &plan, err); /* takes the plan */
    }
    if (status != PP_OK) {
        pp_plan_deinit(&plan);
    }
    return status;
}

/* Only the caller's thread may look: that is the one whose signal handler writes. */
static enum pp_status check_stop(const struct walk *w, struct pp_err *err) {
    const volatile sig_atomic_t *stop = w->world->req->stop;
    return stop != NULL && *stop != 0
               ? pp_fail(err, PP_E_INTERRUPTED, "interrupted; nothing was stored")
               : PP_OK;
}

/* One schedule, stage count and microbatch count: the order is made once and serves every
 * microbatch size that the batch allows. */
static enum pp_status try_structure(const struct walk *w, const struct desk *desk,
                                    struct group *group, struct pp_err *err) {
    const struct pp_gen_config *gen = &group->gen;
    struct pp_sched *sched = NULL;
    struct pp_plan_bench bench = {0};
    PP_TRY(pp_schedule_generate(group->info, gen, &sched, err));
    enum pp_status status = pp_plan_bench_init(&bench, sched, err);
    int64_t sizes = w->world->sequences / gen->microbatch_count;
    int64_t most = least(sizes, PP_RECIPE_MAX_BATCH / gen->microbatch_count);
    for (int64_t mbs = 1; status == PP_OK && mbs <= most; mbs++) {
        if (sizes % mbs != 0) {
            continue;
        }
        struct pp_plan_config config = {
            .schedule = gen->rank_count == 1 ? NULL : group->info,
            .pp_size = gen->rank_count,
            .has_layers_per_stage = group->option.has_layers_per_stage,
            .layers_per_stage = group->option.layers_per_stage,
            .round = group->option.round,
            .microbatch_size = (int32_t)mbs,
            .local_batch_size = (int32_t)(mbs * gen->microbatch_count),
        };
        group->found.considered_count++;
        status = try_microbatch_size(w, desk, &config, &bench, &group->found, err);
    }
    pp_plan_bench_deinit(&bench);
    pp_sched_destroy(sched);
    return status;
}

/* A pp_parallel_work. */
static enum pp_status try_group(void *context, int32_t index, int32_t worker, struct pp_err *err) {
    const struct walk *w = context;
    struct group *group = &w->block[index];
    group->status = worker == 0 ? check_stop(w, err) : PP_OK;
    if (group->status == PP_OK) {
        group->status = try_structure(w, &w->desks[worker], group, err);
    }
    return group->status;
}

static enum pp_status add_group(struct walk *w, const struct pp_schedule_info *info,
                                const struct pp_gen_config *gen, const struct split_option *option,
                                struct pp_err *err) {
    if (w->group_count == w->group_capacity) {
        int32_t capacity = w->group_capacity == 0 ? 64 : 2 * w->group_capacity;
        struct group *groups = realloc(w->groups, (size_t)capacity * sizeof *groups);
        if (groups == NULL) {
            return pp_fail(err, PP_E_NOMEM, "out of memory for the candidates");
        }
        w->groups = groups;
        w->group_capacity = capacity;
    }
    w->groups[w->group_count++] = (struct group){.info = info, .gen = *gen, .option = *option};
    return PP_OK;
}

/* Moves a group's plans to the sink of the walk; frees those it cannot take. */
static enum pp_status take_plans(struct walk *w, struct group *group, struct pp_err *err) {
    enum pp_status status = PP_OK;
    for (int32_t i = 0; i < group->found.plan_count; i++) {
        struct pp_plan *plan = &group->found.plans[i];
        if (status == PP_OK) {
            status = pp_plan_sink_add(w->sink, plan, err);
        }
        if (status != PP_OK) {
            pp_plan_deinit(plan);
        }
    }
    w->sink->considered_count += group->found.considered_count;
    free(group->found.plans);
    group->found = (struct pp_plan_sink){0};
    return status;
}

static enum pp_status try_block(struct walk *w, int32_t count, struct pp_err *err) {
    PP_TRY(check_stop(w, err));
    struct pp_err why = {0};
    pp_parallel_for(count, w->thread_count, try_group, w, &why);
    enum pp_status status = PP_OK;
    for (int32_t i = 0; i < count; i++) { /* the first failure in order of the walk */
        struct group *group = &w->block[i];
        struct pp_err *own = status == PP_OK ? err : NULL;
        enum pp_status taken = take_plans(w, group, own);
        if (taken == PP_OK && group->status != PP_OK && own != NULL) {
            taken = group->status;
            *own = why;
        }
        status = status == PP_OK ? taken : status;
    }
    return status == PP_OK ? check_stop(w, err) : status;
}

static enum pp_status try_groups(struct walk *w, struct pp_err *err) {
    for (int32_t done = 0; done < w->group_count; done += GROUPS_AT_ONCE) {
        w->block = w->groups + done;
        PP_TRY(try_block(w, (int32_t)least(GROUPS_AT_ONCE, w->group_count - done), err));
    }
    return PP_OK;
}

static enum pp_status list_schedule(struct walk *w, const struct pp_schedule_info *info,
                                    struct pp_err *err) {
    if (info->placement != info->automodel_placement) {
        return PP_OK; /* Automodel would hang */
    }
    for (int32_t v = 1; v <= w->options.max_per_rank; v++) {
        const struct split_option *option = &w->options.of[info->kind][v];
        int64_t most = least(w->world->sequences,
                             PP_PLAN_MAX_FLUSH_ACTIONS / ((int64_t)3 * v * w->world->pp_size));
        for (int64_t m = w->world->pp_size; option->has && m <= most; m++) {
            struct pp_gen_config gen = {.rank_count = w->world->pp_size,
                                        .stages_per_rank = v,
                                        .microbatch_count = (int32_t)m};
            if (w->world->sequences % m != 0 || pp_schedule_check(info, &gen, NULL) != PP_OK) {
                continue;
            }
            PP_TRY(add_group(w, info, &gen, option, err));
        }
    }
    return PP_OK;
}

/* One rank is no pipeline: one stage, and the local batch as one microbatch. */
static enum pp_status list_without_pipeline(struct walk *w, struct pp_err *err) {
    const struct pp_schedule_info *any = NULL;
    const struct pp_gen_config gen = {.rank_count = 1, .stages_per_rank = 1, .microbatch_count = 1};
    const struct split_option none = {.round = PP_ROUND_NONE};
    PP_TRY(pp_schedule_find("GPipe", &any, err));
    return add_group(w, any, &gen, &none, err);
}

static enum pp_status list_schedules(struct walk *w, struct pp_err *err) {
    find_options(w, PP_KIND_SINGLE);
    find_options(w, PP_KIND_MULTI);
    for (int32_t i = 0; i < pp_schedule_torch_count(); i++) {
        PP_TRY(list_schedule(w, pp_schedule_at(i), err));
    }
    return PP_OK;
}

static void free_walk(struct walk *w) {
    for (int32_t d = 0; w->desks != NULL && d < w->thread_count; d++) {
        struct pp_cost_table **tables = w->desks[d].tables;
        for (int64_t i = 0; tables != NULL && i <= w->max_microbatch_size; i++) {
            pp_cost_table_destroy(tables[i]);
        }
        free(tables);
    }
    free(w->desks);
    free(w->groups);
    free(w->options.of[0]);
    free(w->options.of[1]);
}

static enum pp_status init_walk(struct walk *w, struct pp_err *err) {
    const struct pp_plan_request *req = w->world->req;
    size_t slots = (size_t)w->options.max_per_rank + 1;
    w->options.of[PP_KIND_SINGLE] = calloc(slots, sizeof *w->options.of[0]);
    w->options.of[PP_KIND_MULTI] = calloc(slots, sizeof *w->options.of[1]);
    w->thread_count = req->thread_count > 0 ? (int32_t)least(req->thread_count, MOST_THREADS)
                                            : pp_parallel_threads(MOST_THREADS);
    w->desks = calloc((size_t)w->thread_count, sizeof *w->desks);
    bool there = w->options.of[0] != NULL && w->options.of[1] != NULL && w->desks != NULL;
    for (int32_t d = 0; there && d < w->thread_count; d++) {
        w->desks[d].tables =
            calloc((size_t)w->max_microbatch_size + 1, sizeof(struct pp_cost_table *));
        there = w->desks[d].tables != NULL;
    }
    return there ? PP_OK : pp_fail(err, PP_E_NOMEM, "out of memory for the candidates");
}

enum pp_status pp_plan_candidates(const struct pp_plan_world *world, struct pp_plan_sink *sink,
                                  struct pp_err *err) {
    struct walk w = {.world = world, .sink = sink};
    w.options.max_per_rank = world->req->model->layer_count / world->pp_size;
    w.max_microbatch_size =
        (int32_t)(least(world->sequences, PP_RECIPE_MAX_BATCH) / world->pp_size);
    enum pp_status status = init_walk(&w, err);
    if (status == PP_OK) {
        status = world->pp_size == 1 ? list_without_pipeline(&w, err) : list_schedules(&w, err);
    }
    if (status == PP_OK) {
        status = try_groups(&w, err);
    }
    free_walk(&w);
    return status;
}
