/* What a plan costs and needs, figure by figure against slow sums of the same parts, and the order
 * that follows from it. */
#include "tests/sim/plan_support.h"

#include "sim/replay.h"

#include <stdlib.h>

/* Every parallel size and precision differs from its default. */
static const char varied_recipe[] =
    "step_scheduler: {global_batch_size: 48, local_batch_size: 4}\n"
    "model: {pretrained_model_name_or_path: meta-llama/Llama-3.1-8B, torch_dtype: float32}\n"
    "peft: {dim: 16}\n"
    "loss_fn: {_target_: a.b.FusedLinearCrossEntropy}\n"
    "distributed:\n"
    "  pp_size: 2\n"
    "  tp_size: 2\n"
    "  cp_size: 2\n"
    "  dp_replicate_size: 3\n"
    "  sequence_parallel: true\n"
    "  activation_checkpointing: selective\n"
    "  defer_fsdp_grad_sync: false\n"
    "  reshard_after_forward: true\n"
    "  mp_policy: {param_dtype: float16, reduce_dtype: bfloat16}\n"
    "  pipeline: {pp_schedule: InterleavedZeroBubble, pp_microbatch_size: 1}\n"
    "dataset: {seq_len: 2048}\n";

/* Six GPUs a pipeline rank: ranks 0 and 1 begin on one node of eight, yet some hops leave it. */
static const char straddling_recipe[] =
    "step_scheduler: {global_batch_size: 48, local_batch_size: 8}\n"
    "model: {pretrained_model_name_or_path: meta-llama/Llama-3.1-8B}\n"
    "distributed:\n"
    "  pp_size: 4\n"
    "  pipeline: {pp_schedule: interleaved1f1b, pp_microbatch_size: 1, layers_per_stage: 3,\n"
    "             round_virtual_stages_to_pp_multiple: up}\n"
    "packed_sequence: {packed_sequence_size: 8192}\n"
    "dataset: {seq_len: 2048}\n";

static const struct {
    const char *text;
    int64_t gpus;
    struct pp_train train; /* microbatch size 1 */
    enum pp_reduce reduce; /* dense models reduce in every flush, and so do MoE models without
                              enable_fsdp_optimizations; what is not deferred, W carries */
} cases[] = {
    {deepseek_recipe,
     256,
     {.seq_len = 4096,
      .microbatch_size = 1,
      .tp = 1,
      .cp = 1,
      .ep = 64,
      .dp = 64,
      .pp = 4,
      .recompute = PP_RECOMPUTE_FULL,
      .param_dtype = PP_DTYPE_BF16,
      .state_dtype = PP_DTYPE_BF16,
      .reduce_dtype = PP_DTYPE_FP32,
      .defer_grad_sync = true},
     PP_REDUCE_FLUSH},
    {varied_recipe,
     48,
     {.seq_len = 2048,
      .microbatch_size = 1,
      .tp = 2,
      .cp = 2,
      .ep = 1,
      .dp = 6,
      .dp_replicate = 3,
      .pp = 2,
      .sequence_parallel = true,
      .recompute = PP_RECOMPUTE_SELECTIVE,
      .param_dtype = PP_DTYPE_FP16,
      .state_dtype = PP_DTYPE_FP32,
      .reduce_dtype = PP_DTYPE_BF16,
      .reshard_after_forward = true,
      .fused_cross_entropy = true,
      .peft = true,
      .peft_dim = 16},
     PP_REDUCE_STEP},
    {straddling_recipe,
     24,
     {.seq_len = 8192,
      .microbatch_size = 1,
      .tp = 1,
      .cp = 1,
      .ep = 1,
      .dp = 6,
      .pp = 4,
      .param_dtype = PP_DTYPE_BF16,
      .state_dtype = PP_DTYPE_BF16,
      .reduce_dtype = PP_DTYPE_FP32,
      .defer_grad_sync = true},
     PP_REDUCE_FLUSH},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

static struct pp_plan_set *search_case(struct bed *b, size_t i) {
    bed_init(b, cases[i].text, NULL);
    b->request.gpu_count = cases[i].gpus;
    struct pp_plan_set *set = bed_search(b);
    cr_assert_eq(set->current_error.status, PP_OK, "%s", set->current_error.message);
    cr_assert_gt(set->plan_count, 0);
    return set;
}

static struct pp_cost_table *make_table(const struct bed *b, size_t i, int32_t microbatch_size) {
    struct pp_train train = cases[i].train;
    struct pp_cost_table *table = NULL;
    struct pp_err err = {0};
    train.microbatch_size = microbatch_size;
    cr_assert_eq(pp_cost_table_create(&b->model, &b->hw, &train, &table, &err), PP_OK, "%s",
                 err.message);
    return table;
}

/* Any replica's message between two pipeline ranks that leaves its node. */
static bool leaves_node(const struct bed *b, const struct pp_plan *p, int32_t from, int32_t to) {
    int64_t k = b->request.gpu_count / p->config.pp_size;
    for (int64_t i = 0; i < k; i++) {
        if ((from * k + i) / b->hw.gpus_per_node != (to * k + i) / b->hw.gpus_per_node) {
            return true;
        }
    }
    return false;
}

static void expect_stage_costs(const struct bed *b, const struct pp_cost_table *table,
                               const struct pp_plan *p) {
    int32_t first = 0;
    for (int32_t s = 0; s < p->stage_count; s++) {
        const int32_t *rank = p->stage_rank;
        struct pp_stage_cost want;
        struct pp_stage_shape shape = {
            .first_layer = first,
            .layer_count = p->layer_counts[s],
            .has_embedding = s == 0,
            .has_head = s == p->stage_count - 1,
            .prev_other_node = s > 0 && leaves_node(b, p, rank[s - 1], rank[s]),
            .next_other_node = s + 1 < p->stage_count && leaves_node(b, p, rank[s], rank[s + 1]),
        };
        pp_cost_stage(table, &shape, &want);
        cr_assert_arr_eq(&p->stage_costs[s], &want, sizeof want, "stage %d", s);
        first += p->layer_counts[s];
    }
}

/* --- a step the slow way: all its flushes as one schedule, then each rank's collectives --- */

struct slow_end {
    int64_t flushes_ns, reduced_ns;
};

/* Durations as PyTorch's runtime has them: stage 0 has no input to give a gradient to. */
static struct pp_costs costs_of(const struct pp_plan *p, int64_t (*columns)[256]) {
    for (int32_t s = 0; s < p->stage_count; s++) {
        const struct pp_stage_cost *c = &p->stage_costs[s];
        columns[0][s] = c->f_ns;
        columns[1][s] = s == 0 ? 0 : c->i_ns;
        columns[2][s] = s == 0 ? c->i_ns + c->w_ns : c->w_ns;
        columns[3][s] = c->i_ns + c->w_ns;
        columns[4][s] = c->recv_ns;
        columns[5][s] = c->recv_grad_ns;
    }
    return (struct pp_costs){.f_ns = columns[0],
                             .i_ns = columns[1],
                             .w_ns = columns[2],
                             .b_ns = columns[3],
                             .recv_f_ns = columns[4],
                             .recv_b_ns = columns[5]};
}

/* A rank's reductions, one after the other: of every flush or of the last, each after the last
 * backward of its stage. @return the end of the last, or of the rank's compute */
static int64_t reduce_rank(const struct pp_trace *t, const struct pp_plan *p, int32_t rank,
                           bool every_flush, int64_t lane_ns, const int64_t *reduce_ns) {
    const struct pp_sched *all = t->sched;
    int32_t left[256];
    for (int64_t flush = 0; flush < p->flush_count; flush++) {
        for (int32_t s = 0; s < p->stage_count; s++) {
            left[s] = p->microbatch_count;
        }
        for (int32_t at = all->rank_begin[rank]; at < all->rank_begin[rank + 1]; at++) {
            const struct pp_action *a = &all->actions[at];
            bool is_weight = a->type == PP_W || a->type == PP_B;
            if (is_weight && a->microbatch / p->microbatch_count == flush &&
                --left[a->stage] == 0 && (every_flush || flush == p->flush_count - 1)) {
                lane_ns = lane_ns > t->end_ns[at] ? lane_ns : t->end_ns[at];
                lane_ns += reduce_ns[a->stage];
            }
        }
    }
    return lane_ns;
}

static struct slow_end play_step(const struct pp_plan *p, const struct pp_sched *all,
                                 const struct pp_step_cost *stages, bool gathers,
                                 bool every_flush) {
    static int64_t columns[6][256];
    int64_t gathered_ns[256] = {0};
    int64_t reduce_ns[256];
    int64_t lane_ns[64] = {0};
    bool seen[256] = {false};
    struct pp_costs costs = costs_of(p, columns);
    struct pp_eval *eval = NULL;
    struct pp_trace trace;
    struct slow_end end = {0, 0};
    for (int32_t at = 0; at < all->action_count; at++) {
        int32_t s = all->actions[at].stage;
        int32_t rank = all->stage_rank[s];
        reduce_ns[s] = stages[s].grad_sync_ns;
        if (!seen[s]) {
            seen[s] = true;
            lane_ns[rank] += gathers ? stages[s].param_gather_ns : 0;
            gathered_ns[s] = lane_ns[rank];
        }
    }
    struct pp_eval_inputs in = {.costs = &costs, .stage_begin_ns = gathered_ns};
    cr_assert_eq(pp_eval_create(all, &eval, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&trace, all, NULL), PP_OK);
    cr_assert_eq(pp_eval_run_with(eval, &in, &trace, NULL), PP_OK);
    for (int32_t rank = 0; rank < all->rank_count; rank++) {
        int64_t through = trace.end_ns[all->rank_begin[rank + 1] - 1];
        int64_t reduced = reduce_rank(&trace, p, rank, every_flush, lane_ns[rank], reduce_ns);
        end.flushes_ns = through > end.flushes_ns ? through : end.flushes_ns;
        end.reduced_ns = reduced > end.reduced_ns ? reduced : end.reduced_ns;
    }
    pp_eval_destroy(eval);
    pp_trace_deinit(&trace);
    return end;
}

/* The largest update of a rank. */
static int64_t slow_optimizer(const struct pp_cost_table *table, const struct pp_plan *p) {
    int64_t worst_ns = 0;
    for (int32_t rank = 0; rank < p->config.pp_size; rank++) {
        struct pp_stage_cost sum = {0};
        struct pp_step_cost step;
        for (int32_t s = 0; s < p->stage_count; s++) {
            int64_t *to = (int64_t *)&sum;
            const int64_t *from = (const int64_t *)&p->stage_costs[s];
            for (size_t i = 0; p->stage_rank[s] == rank && i < sizeof sum / sizeof *to; i++) {
                to[i] += from[i];
            }
        }
        pp_cost_step(table, &sum, &step);
        worst_ns = step.optimizer_ns > worst_ns ? step.optimizer_ns : worst_ns;
    }
    return worst_ns;
}

static void expect_step(const struct pp_cost_table *table, const struct pp_plan *p,
                        enum pp_reduce reduce) {
    const struct pp_sched *sched = NULL;
    struct pp_sched *own = NULL;
    struct pp_sched *all = NULL;
    struct pp_step_cost stages[256];
    cr_assert(p->stage_count <= 256 && p->config.pp_size <= 64);
    for (int32_t s = 0; s < p->stage_count; s++) {
        pp_cost_step(table, &p->stage_costs[s], &stages[s]);
    }
    cr_assert_eq(pp_replay_schedule(p, NULL, &sched, &own, NULL), PP_OK);
    cr_assert_eq(pp_sched_repeat(sched, (int32_t)p->flush_count, &all, NULL), PP_OK);
    bool every_flush = reduce == PP_REDUCE_FLUSH;
    struct slow_end with = play_step(p, all, stages, true, every_flush);
    struct slow_end without = play_step(p, all, stages, false, every_flush);
    cr_assert_eq(p->reduce, reduce);
    cr_assert_eq(p->flushes_ns, without.flushes_ns);
    cr_assert_eq(p->step_cost.param_gather_ns, with.flushes_ns - without.flushes_ns);
    cr_assert_eq(p->step_cost.grad_sync_ns, with.reduced_ns - with.flushes_ns);
    cr_assert_eq(p->step_cost.optimizer_ns, slow_optimizer(table, p));
    cr_assert_eq(p->step_ns, with.reduced_ns + slow_optimizer(table, p));
    cr_assert_leq(p->flushes_ns, p->flush_ns * p->flush_count);
    pp_sched_destroy(all);
    pp_sched_destroy(own);
}

/* A rank's memory walked action by action, with PyTorch's rules written out once more. */
struct walked {
    int64_t base, peak;
    struct pp_action at; /* the first that reaches the peak */
};

static int64_t buffers_of(const struct pp_plan *p, int32_t s) {
    int64_t tensors = 0;
    if (s > 0 && p->stage_rank[s - 1] != p->stage_rank[s]) {
        tensors++; /* activations come in */
    }
    if (s + 1 < p->stage_count && p->stage_rank[s + 1] != p->stage_rank[s]) {
        tensors++; /* gradients come in */
    }
    return tensors * p->microbatch_count * p->stage_costs[s].p2p_bytes;
}

static struct walked walk_memory(const struct pp_plan *p, const struct pp_sched *sched,
                                 int32_t rank) {
    struct walked w = {.at = {.stage = -1, .microbatch = -1}};
    for (int32_t s = 0; s < p->stage_count; s++) {
        const struct pp_stage_cost *c = &p->stage_costs[s];
        if (p->stage_rank[s] == rank) {
            w.base += c->weight_bytes + c->grad_bytes + c->optimizer_bytes + buffers_of(p, s);
        }
    }
    int64_t now = w.base;
    w.peak = w.base;
    for (int32_t i = sched->rank_begin[rank]; i < sched->rank_begin[rank + 1]; i++) {
        const struct pp_action *a = &sched->actions[i];
        const struct pp_stage_cost *c = &p->stage_costs[a->stage];
        int64_t kept_for_w = a->stage == 0 ? c->activation_bytes : c->weight_grad_bytes;
        now += a->type == PP_F ? c->activation_bytes : 0;
        int64_t while_running =
            now + (a->type == PP_F ? c->f_transient_bytes : c->b_transient_bytes);
        if (while_running > w.peak) {
            w.peak = while_running;
            w.at = *a;
        }
        now -= a->type == PP_I   ? c->activation_bytes - kept_for_w
               : a->type == PP_W ? kept_for_w
               : a->type == PP_B ? c->activation_bytes
                                 : 0;
    }
    cr_assert_eq(now, w.base, "rank %d keeps something after the flush", rank);
    return w;
}

static void expect_memory(const struct pp_cost_table *table, const struct pp_plan *p) {
    const struct pp_sched *sched = NULL;
    struct pp_sched *own = NULL;
    int64_t reserved = pp_cost_reserved_bytes(table);
    cr_assert_eq(pp_replay_schedule(p, NULL, &sched, &own, NULL), PP_OK);
    cr_assert_eq(p->reserved_bytes, reserved);
    for (int32_t rank = 0; rank < p->config.pp_size; rank++) {
        struct walked w = walk_memory(p, sched, rank);
        cr_assert_eq(p->peak_bytes[rank], pp_cost_with_slack(table, w.peak) + reserved);
        cr_assert_eq(p->base_bytes[rank], pp_cost_with_slack(table, w.base) + reserved);
        cr_assert_eq(p->peak_stage[rank], w.at.stage);
        cr_assert_eq(p->peak_microbatch[rank], w.at.microbatch);
        cr_assert_eq(p->peak_type[rank], w.at.type);
    }
    pp_sched_destroy(own);
}

Test(plan_evaluate, stages_steps_and_memory_are_the_sums_of_their_parts) {
    for (size_t i = 0; i < CASE_COUNT; i++) {
        struct bed b;
        struct pp_plan_set *set = search_case(&b, i);
        for (int32_t k = 0; k < set->plan_count; k += 1 + set->plan_count / 16) {
            const struct pp_plan *p = &set->plans[k];
            struct pp_cost_table *table = make_table(&b, i, p->config.microbatch_size);
            expect_stage_costs(&b, table, p);
            expect_step(table, p, cases[i].reduce);
            expect_memory(table, p);
            pp_cost_table_destroy(table);
        }
        pp_plan_set_destroy(set);
        bed_deinit(&b);
    }
}

/* MoE models under enable_fsdp_optimizations wait for the last flush; dense ones do not. */
Test(plan_evaluate, who_reduces_once_a_step) {
    static const char *const on[] = {"model.backend.enable_fsdp_optimizations", "true", NULL};
    static const struct {
        size_t i;
        enum pp_reduce reduce;
    } rows[] = {{0, PP_REDUCE_STEP}, {2, PP_REDUCE_FLUSH}};
    for (size_t k = 0; k < 2; k++) {
        struct bed b;
        bed_init(&b, cases[rows[k].i].text, on);
        b.request.gpu_count = cases[rows[k].i].gpus;
        struct pp_plan_set *set = bed_search(&b);
        for (int32_t n = 0; n < set->plan_count; n += 1 + set->plan_count / 16) {
            const struct pp_plan *p = &set->plans[n];
            struct pp_cost_table *table = make_table(&b, rows[k].i, p->config.microbatch_size);
            expect_step(table, p, rows[k].reduce);
            pp_cost_table_destroy(table);
        }
        pp_plan_set_destroy(set);
        bed_deinit(&b);
    }
}

/* Without a pipeline one rank runs its flushes one after the other, and nothing overlaps. */
Test(plan_evaluate, a_step_without_a_pipeline_is_the_sum_of_its_parts) {
    struct bed b;
    bed_init(&b, straddling_recipe, NULL);
    b.request.gpu_count = 24;
    b.request.search_pp = true;
    struct pp_plan_set *set = bed_search(&b);
    int seen = 0;
    for (int32_t i = 0; i < set->plan_count; i++) {
        const struct pp_plan *p = &set->plans[i];
        if (p->config.pp_size > 1) {
            continue;
        }
        struct pp_train train = cases[2].train;
        struct pp_cost_table *table = NULL;
        struct pp_step_cost step;
        train.pp = 1;
        train.dp = 24;
        train.microbatch_size = p->config.microbatch_size;
        train.reshard_after_forward = true;
        train.defer_grad_sync = p->flush_count > 1;
        cr_assert_eq(pp_cost_table_create(&b.model, &b.hw, &train, &table, NULL), PP_OK);
        pp_cost_step(table, &p->stage_costs[0], &step);
        cr_assert_eq(p->reduce, PP_REDUCE_STEP);
        cr_assert_eq(p->flushes_ns, p->flush_ns * p->flush_count);
        cr_assert_eq(p->step_ns, p->flushes_ns + step.grad_sync_ns + step.optimizer_ns);
        pp_cost_table_destroy(table);
        seen++;
    }
    cr_assert_geq(seen, 2);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

Test(plan_evaluate, what_does_not_fit_names_the_rank_and_its_action) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    b.hw.memory_bytes = (int64_t)40 << 30;
    struct pp_plan_set *set = bed_search(&b);
    const struct pp_plan *p = set->current;
    int32_t worst = 0;
    for (int32_t r = 1; r < p->config.pp_size; r++) {
        worst = p->peak_bytes[r] > p->peak_bytes[worst] ? r : worst;
    }
    struct pp_action a = {.stage = p->peak_stage[worst],
                          .microbatch = p->peak_microbatch[worst],
                          .type = p->peak_type[worst]};
    char action[PP_ACTION_TEXT_BYTES];
    char wanted[96];
    snprintf(wanted, sizeof wanted, "rank %d needs %.1f GiB in %s, ", worst,
             (double)p->max_peak_bytes / (double)(1 << 30), pp_action_text(&a, action));
    cr_assert_eq(strncmp(p->why, wanted, strlen(wanted)), 0, "%s lacks %s", p->why, wanted);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

static int compare_i64(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* A limit that half of the plans keep. */
static int64_t median_peak(const struct pp_plan_set *set) {
    int64_t *peaks = malloc((size_t)set->plan_count * sizeof *peaks);
    cr_assert_not_null(peaks);
    for (int32_t i = 0; i < set->plan_count; i++) {
        peaks[i] = set->plans[i].max_peak_bytes;
    }
    qsort(peaks, (size_t)set->plan_count, sizeof *peaks, compare_i64);
    int64_t median = peaks[set->plan_count / 2];
    free(peaks);
    return median;
}

static void expect_order(const struct pp_plan_set *set) {
    for (int32_t i = 1; i < set->plan_count; i++) {
        const struct pp_plan *a = &set->plans[i - 1];
        const struct pp_plan *b = &set->plans[i];
        cr_assert(a->fits || !b->fits, "rows %d and %d", i - 1, i);
        if (a->fits && b->fits) {
            cr_assert_leq(a->step_ns, b->step_ns);
            cr_assert(a->step_ns < b->step_ns || a->max_peak_bytes <= b->max_peak_bytes);
        } else if (!a->fits) {
            cr_assert_leq(a->max_peak_bytes, b->max_peak_bytes);
        }
    }
}

static int32_t slow_best(const struct pp_plan_set *set, int64_t most_bytes) {
    int32_t best = -1;
    for (int32_t i = 0; i < set->plan_count; i++) {
        const struct pp_plan *p = &set->plans[i];
        if (p->max_peak_bytes <= p->limit_bytes && p->max_peak_bytes <= most_bytes &&
            (best < 0 || p->step_ns < set->plans[best].step_ns)) {
            best = i;
        }
    }
    return best;
}

Test(plan_evaluate, those_that_fit_come_first_by_step_time_the_others_by_peak) {
    for (size_t i = 0; i < CASE_COUNT; i++) {
        struct bed b;
        struct pp_plan_set *set = search_case(&b, i);
        b.hw.memory_bytes = median_peak(set);
        pp_plan_set_destroy(set);
        set = bed_search(&b);
        cr_assert_gt(set->plan_count, 2);
        cr_assert(set->plans[0].fits && !set->plans[set->plan_count - 1].fits);
        expect_order(set);
        cr_assert_eq(set->best, slow_best(set, INT64_MAX));
        cr_assert_eq(set->best_same_memory, slow_best(set, set->current->max_peak_bytes));
        pp_plan_set_destroy(set);
        bed_deinit(&b);
    }
}

/* A step that lasts longer than a peak has bytes, number against number, is no reason to come last.
 */
Test(plan_evaluate, a_plan_that_does_not_fit_never_comes_first_however_slow_the_others_are) {
    static const char *const settings[] = {"step_scheduler.global_batch_size", "8192", NULL};
    struct bed b;
    bed_init(&b, deepseek_recipe, settings);
    struct pp_plan_set *set = bed_search(&b);
    int32_t first_unfit = 0;
    while (first_unfit < set->plan_count && set->plans[first_unfit].fits) {
        first_unfit++;
    }
    cr_assert(first_unfit > 0 && first_unfit < set->plan_count);
    cr_assert_gt(set->plans[0].step_ns, set->plans[first_unfit].max_peak_bytes);
    expect_order(set);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

/* "No more memory" means as much is fine: the best such change is its own best. */
Test(plan_evaluate, the_best_at_no_more_memory_stays_it_once_chosen) {
    struct bed b;
    struct pp_plan_set *set = search_case(&b, 2);
    struct pasted p = {.list = {NULL}};
    cr_assert_geq(set->best_same_memory, 0);
    pp_plan_overrides(b.recipe, &set->plans[set->best_same_memory].config, paste, &p);
    struct bed again;
    bed_init(&again, straddling_recipe, p.list);
    again.request.gpu_count = cases[2].gpus;
    struct pp_plan_set *after = bed_search(&again);
    cr_assert_geq(after->current_index, 0);
    cr_assert_eq(after->best_same_memory, after->current_index);
    pp_plan_set_destroy(after);
    bed_deinit(&again);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

/* 1F1B without transfers: (m + p - 1) slots of a forward and a backward, 1 us and 2 us. */
Test(plan_evaluate, unit_costs_are_those_of_a_ranks_whole_share) {
    static const char *const settings[] = {"distributed.pipeline.pp_schedule", "1f1b",
                                           "distributed.pipeline.layers_per_stage", "none", NULL};
    struct bed b;
    bed_init(&b, deepseek_recipe, settings);
    b.model = (struct pp_model){.layer_count = 61};
    struct pp_plan_set *set = bed_search(&b);
    cr_assert_eq(set->current->flush_ns, (4 + 4 - 1) * 3000);
    cr_assert_eq(set->current->step_ns, 0);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

Test(plan_evaluate, failures_keep_their_code_without_an_error_record) {
    struct bed b;
    struct pp_plan_set *set = NULL;
    const struct pp_schedule_info *info = NULL;
    bed_init(&b, deepseek_recipe, NULL);
    b.request.gpu_count = 130;
    cr_assert_eq(pp_plan_search(&b.request, &set, NULL), PP_E_WORLD);
    cr_assert_null(set);
    cr_assert_eq(pp_schedule_find("zero_bubble", &info, NULL), PP_E_SCHEDULE);
    bed_deinit(&b);
}
