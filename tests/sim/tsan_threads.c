/* Everything of sim/ that runs on threads, for the thread sanitizer: a plain program, as Criterion
 * cannot run under it. Also built and run without it; what comes out is looked at by the tests. */
#include "sim/parallel.h"
#include "sim/plan.h"
#include "sim/vary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECES = 2000, THREADS = 8, STAGES = 8 };

static void must(bool fine, const char *what, const struct pp_err *err) {
    if (!fine) {
        fprintf(stderr, "%s: %s\n", what, err->message);
        exit(1);
    }
}

static enum pp_status piece(void *context, int32_t index, int32_t worker, struct pp_err *err) {
    int64_t *sums = context; /* [THREADS]: one a worker, without a lock */
    sums[worker] += index;
    return index >= PIECES ? pp_fail(err, PP_E_RANGE, "piece %d", index) : PP_OK;
}

static void run_pieces(void) {
    struct pp_err err = {0};
    int64_t sums[THREADS] = {0};
    int64_t sum = 0;
    must(pp_parallel_for(PIECES, THREADS, piece, sums, &err) == PP_OK, "pieces", &err);
    for (int i = 0; i < THREADS; i++) {
        sum += sums[i];
    }
    must(sum == (int64_t)PIECES * (PIECES - 1) / 2, "sum of pieces", &err);
    for (int round = 0; round < 20; round++) {
        pp_parallel_for(2 * PIECES, THREADS, piece, sums, &err);
        must(strcmp(err.message, "piece 2000") == 0, "first failure", &err);
    }
}

static void run_samples(void) {
    struct pp_err err = {0};
    const struct pp_schedule_info *info = NULL;
    struct pp_gen_config gen = {.rank_count = 4, .stages_per_rank = 2, .microbatch_count = 16};
    struct pp_sched *s = NULL;
    must(pp_schedule_find("InterleavedZeroBubble", &info, &err) == PP_OK &&
             pp_schedule_generate(info, &gen, &s, &err) == PP_OK,
         "schedule", &err);
    const int64_t ns[STAGES] = {1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000};
    const struct pp_costs costs = {
        .f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns, .recv_f_ns = ns, .recv_b_ns = ns};
    const int64_t r = PP_VARY_ONE / 10;
    const struct pp_vary vary = {.action_sd = r,
                                 .rank_sd = r,
                                 .stage_sd = r,
                                 .microbatch_sd = r,
                                 .straggler_chance = r,
                                 .straggler_factor = 2 * PP_VARY_ONE};
    struct pp_vary_figures first = {0};
    for (int32_t threads = 1; threads <= THREADS; threads++) {
        const struct pp_vary_sampling sampling = {.sample_count = 500, .thread_count = threads};
        struct pp_vary_figures f;
        must(pp_vary_run(s, &costs, &vary, &sampling, &f, NULL, &err) == PP_OK, "samples", &err);
        first = threads == 1 ? f : first;
        must(memcmp(&first, &f, sizeof f) == 0, "samples differ", &err);
    }
    pp_sched_destroy(s);
}

static void run_search(const char *recipe_path) {
    struct pp_err err = {0};
    struct pp_recipe *recipe = NULL;
    struct pp_catalogue *cat = NULL;
    struct pp_hardware hw;
    must(pp_recipe_read(recipe_path, NULL, 0, &recipe, &err) == PP_OK, "recipe", &err);
    must(pp_catalogue_open(&cat, &err) == PP_OK, "catalogue", &err);
    const struct pp_model *model = pp_catalogue_find(cat, recipe->model_id);
    must(model != NULL, "model", &err);
    must(pp_hardware_load("h100-sxm", &hw, &err) == PP_OK, "hardware", &err);
    struct pp_plan_request request = {.run_id = "x",
                                      .recipe = recipe,
                                      .model = model,
                                      .hw = &hw,
                                      .gpu_count = 256,
                                      .search_pp = true};
    int32_t plan_count = 0;
    for (int32_t threads = 1; threads <= THREADS; threads += 7) {
        struct pp_plan_set *set = NULL;
        request.thread_count = threads;
        must(pp_plan_search(&request, &set, &err) == PP_OK, "search", &err);
        must(threads == 1 || set->plan_count == plan_count, "plans differ", &err);
        plan_count = set->plan_count;
        pp_plan_set_destroy(set);
    }
    must(plan_count > 0, "no plans", &err);
    pp_catalogue_close(cat);
    pp_recipe_destroy(recipe);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: tsan_threads RECIPE\n");
        return 2;
    }
    run_pieces();
    run_samples();
    run_search(argv[1]);
    return 0;
}
