/* Every legal change of a recipe's pipeline: which settings lead to which stages, and the walk over
 * schedules, stages, microbatch counts and microbatch sizes. */
#include "sim/plan_candidates.h"

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

struct walk {
    const struct pp_plan_world *world;
    struct pp_plan_sink *sink;
    struct split_options options;
    int32_t max_microbatch_size;
    struct pp_cost_table **tables; /* [max_microbatch_size + 1] by size; filled when needed */
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

static enum pp_status table_for(struct walk *w, int32_t microbatch_size,
                                const struct pp_cost_table **table_p, struct pp_err *err) {
    struct pp_cost_table **slot = &w->tables[microbatch_size];
    if (*slot == NULL) {
        struct pp_train train = pp_plan_train(w->world, microbatch_size);
        PP_TRY(pp_cost_table_create(w->world->req->model, w->world->req->hw, &train, slot, err));
    }
    *table_p = *slot;
    return PP_OK;
}

/* One schedule structure under one microbatch size: builds, evaluates and hands over a plan. A
 * microbatch so large that its times leave the clock's range is not offered. */
static enum pp_status try_microbatch_size(struct walk *w, const struct pp_plan_config *config,
                                          struct pp_plan_bench *bench, struct pp_err *err) {
    struct pp_plan plan = {.config = *config};
    enum pp_status status = pp_plan_build_split(w->world, &plan, err);
    if (status == PP_OK) {
        status = pp_plan_build_batch(w->world, &plan, err);
    }
    const struct pp_cost_table *table = NULL;
    if (status == PP_OK) {
        status = table_for(w, config->microbatch_size, &table, err);
    }
    if (status == PP_OK) {
        status = pp_plan_evaluate(w->world, table, bench, &plan, err);
    }
    if (status == PP_E_RANGE) {
        pp_plan_deinit(&plan);
        return PP_OK;
    }
    if (status == PP_OK) {
        status = pp_plan_sink_add(w->sink, &plan, err); /* takes the plan */
    }
    if (status != PP_OK) {
        pp_plan_deinit(&plan);
    }
    return status;
}

/* One schedule, stage count and microbatch count: the order is made once and serves every
 * microbatch size that the batch allows. */
static enum pp_status try_structure(struct walk *w, const struct pp_schedule_info *info,
                                    const struct pp_gen_config *gen,
                                    const struct split_option *option, struct pp_err *err) {
    const struct pp_plan_request *req = w->world->req;
    if (req->stop != NULL && *req->stop != 0) {
        return pp_fail(err, PP_E_INTERRUPTED, "interrupted; nothing was stored");
    }
    struct pp_sched *sched = NULL;
    struct pp_plan_bench bench = {0};
    PP_TRY(pp_schedule_generate(info, gen, &sched, err));
    enum pp_status status = pp_plan_bench_init(&bench, sched, err);
    int64_t sizes = w->world->sequences / gen->microbatch_count;
    int64_t most = least(sizes, PP_RECIPE_MAX_BATCH / gen->microbatch_count);
    for (int64_t mbs = 1; status == PP_OK && mbs <= most; mbs++) {
        if (sizes % mbs != 0) {
            continue;
        }
        struct pp_plan_config config = {
            .schedule = gen->rank_count == 1 ? NULL : info,
            .pp_size = gen->rank_count,
            .has_layers_per_stage = option->has_layers_per_stage,
            .layers_per_stage = option->layers_per_stage,
            .round = option->round,
            .microbatch_size = (int32_t)mbs,
            .local_batch_size = (int32_t)(mbs * gen->microbatch_count),
        };
        w->sink->considered_count++;
        status = try_microbatch_size(w, &config, &bench, err);
    }
    pp_plan_bench_deinit(&bench);
    pp_sched_destroy(sched);
    return status;
}

static enum pp_status try_schedule(struct walk *w, const struct pp_schedule_info *info,
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
            PP_TRY(try_structure(w, info, &gen, option, err));
        }
    }
    return PP_OK;
}

/* One rank is no pipeline: one stage, and the local batch as one microbatch. */
static enum pp_status try_without_pipeline(struct walk *w, struct pp_err *err) {
    const struct pp_schedule_info *any = NULL;
    const struct pp_gen_config gen = {.rank_count = 1, .stages_per_rank = 1, .microbatch_count = 1};
    const struct split_option none = {.round = PP_ROUND_NONE};
    PP_TRY(pp_schedule_find("GPipe", &any, err));
    return try_structure(w, any, &gen, &none, err);
}

static enum pp_status try_schedules(struct walk *w, struct pp_err *err) {
    find_options(w, PP_KIND_SINGLE);
    find_options(w, PP_KIND_MULTI);
    for (int32_t i = 0; i < pp_schedule_torch_count(); i++) {
        PP_TRY(try_schedule(w, pp_schedule_at(i), err));
    }
    return PP_OK;
}

static void free_walk(struct walk *w) {
    for (int64_t i = 0; w->tables != NULL && i <= w->max_microbatch_size; i++) {
        pp_cost_table_destroy(w->tables[i]);
    }
    free(w->tables);
    free(w->options.of[0]);
    free(w->options.of[1]);
}

enum pp_status pp_plan_candidates(const struct pp_plan_world *world, struct pp_plan_sink *sink,
                                  struct pp_err *err) {
    struct walk w = {.world = world, .sink = sink};
    w.options.max_per_rank = world->req->model->layer_count / world->pp_size;
    size_t slots = (size_t)w.options.max_per_rank + 1;
    w.options.of[PP_KIND_SINGLE] = calloc(slots, sizeof *w.options.of[0]);
    w.options.of[PP_KIND_MULTI] = calloc(slots, sizeof *w.options.of[1]);
    w.max_microbatch_size =
        (int32_t)(least(world->sequences, PP_RECIPE_MAX_BATCH) / world->pp_size);
    w.tables = calloc((size_t)w.max_microbatch_size + 1, sizeof *w.tables);
    enum pp_status status = PP_OK;
    if (w.options.of[0] == NULL || w.options.of[1] == NULL || w.tables == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for the candidates");
    }
    if (status == PP_OK) {
        status = world->pp_size == 1 ? try_without_pipeline(&w, err) : try_schedules(&w, err);
    }
    free_walk(&w);
    return status;
}
