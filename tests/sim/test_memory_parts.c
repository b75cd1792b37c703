/* What peaks consist of, against sums by state of every microbatch, and against what the cost model
 * says where parameters stay sharded. */
#include "sim/memory_parts.h"
#include "tests/sim/plan_support.h"

#include <stdlib.h>

static const char llama_recipe[] =
    "step_scheduler: {global_batch_size: 64, local_batch_size: 8}\n"
    "model: {pretrained_model_name_or_path: meta-llama/Llama-3.1-8B}\n"
    "distributed:\n"
    "  pp_size: 4\n"
    "  reshard_after_forward: true\n"
    "  pipeline: {pp_schedule: InterleavedZeroBubble, pp_microbatch_size: 1}\n"
    "dataset: {seq_len: 4096}\n"
    "ci: {nodes: 4}\n";

static const char moe_recipe[] =
    "step_scheduler: {global_batch_size: 512, local_batch_size: 8}\n"
    "model: {pretrained_model_name_or_path: deepseek-ai/DeepSeek-V3}\n"
    "distributed:\n"
    "  pp_size: 4\n"
    "  ep_size: 64\n"
    "  activation_checkpointing: true\n"
    "  pipeline: {pp_schedule: interleaved1f1b, pp_microbatch_size: 1}\n"
    "dataset: {seq_len: 4096}\n"
    "ci: {nodes: 32}\n";

static const char *const recipes[] = {moe_recipe, llama_recipe};

/* What one microbatch of a stage holds when action `peak` runs, logits apart. */
static int64_t slow_held(const struct pp_sched *s, const struct pp_stage_cost *c, int32_t stage,
                         int32_t microbatch, int32_t peak, int64_t *logits) {
    bool has_f = false;
    bool after_i = false;
    bool after_all = false;
    for (int32_t at = s->rank_begin[s->stage_rank[stage]]; at <= peak; at++) {
        const struct pp_action *a = &s->actions[at];
        if (a->stage == stage && a->microbatch == microbatch) {
            has_f = has_f || a->type == PP_F;
            after_i = after_i || (at < peak && a->type == PP_I);
            after_all = after_all || (at < peak && (a->type == PP_W || a->type == PP_B));
        }
    }
    if (!has_f || after_all) {
        return 0;
    }
    if (after_i) { /* stage 0's I does nothing */
        return stage == 0 ? c->activation_bytes : c->weight_grad_bytes;
    }
    *logits += c->logits_bytes;
    return c->activation_bytes - c->logits_bytes;
}

static int32_t find_peak(const struct pp_sched *s, const struct pp_plan *p, int32_t rank) {
    struct pp_action wanted = {.stage = p->peak_stage[rank],
                               .microbatch = p->peak_microbatch[rank],
                               .type = p->peak_type[rank]};
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        if (a->stage == wanted.stage && a->microbatch == wanted.microbatch &&
            a->type == wanted.type) {
            return at;
        }
    }
    return -1;
}

static void expect_parts(const struct pp_plan *p, const struct pp_sched *s, int32_t rank) {
    struct pp_memory_parts x = {0};
    const struct pp_memory_parts *parts = &p->parts[rank];
    int32_t peak = find_peak(s, p, rank);
    cr_assert_geq(peak, 0);
    int64_t weights = 0;
    for (int32_t stage = 0; stage < p->stage_count; stage++) {
        const struct pp_stage_cost *c = &p->stage_costs[stage];
        if (p->stage_rank[stage] != rank) {
            continue;
        }
        weights += c->weight_bytes;
        x.gradients += c->grad_bytes;
        x.optimizer += c->optimizer_bytes;
        bool before = stage > 0 && p->stage_rank[stage - 1] != rank;
        bool after = stage + 1 < p->stage_count && p->stage_rank[stage + 1] != rank;
        x.p2p += (before + after) * p->microbatch_count * c->p2p_bytes;
        for (int32_t m = 0; m < p->microbatch_count; m++) {
            x.activations += slow_held(s, c, stage, m, peak, &x.logits);
        }
    }
    const struct pp_action *a = &s->actions[peak];
    const struct pp_stage_cost *c = &p->stage_costs[a->stage];
    int64_t while_it_runs = a->type == PP_F ? c->f_transient_bytes : c->b_transient_bytes;
    cr_expect_eq(parts->gradients, x.gradients);
    cr_expect_eq(parts->optimizer, x.optimizer);
    cr_expect_eq(parts->p2p, x.p2p);
    cr_expect_eq(parts->activations, x.activations);
    cr_expect_eq(parts->logits, x.logits);
    cr_expect_eq(parts->parameters + parts->unsharded + parts->transient, weights + while_it_runs);
    cr_expect_eq(parts->reserved, p->reserved_bytes);
    cr_expect_gt(parts->parameters, 0);
    cr_expect_gt(parts->unsharded, 0);
    cr_expect_geq(parts->transient, 0);
    cr_expect_geq(parts->slack, 0);
    cr_expect_eq(pp_memory_parts_sum(parts), p->peak_bytes[rank]);
}

/* Slack is a fixed share of what is allocated: the parts are right if that comes out, too. */
static void expect_slack(const struct bed *b, const struct pp_memory_parts *parts) {
    int64_t allocated = pp_memory_parts_sum(parts) - parts->slack - parts->reserved;
    cr_expect_eq(parts->slack, pp_round_i64((double)allocated * b->hw.allocator_slack_frac));
}

static void expect_plan(const struct bed *b, const struct pp_plan *p) {
    const struct pp_sched *s = NULL;
    struct pp_sched *own = NULL;
    cr_assert_eq(pp_replay_schedule(p, NULL, &s, &own, NULL), PP_OK);
    cr_assert_not_null(p->parts);
    for (int32_t rank = 0; rank < p->config.pp_size; rank++) {
        expect_parts(p, s, rank);
        expect_slack(b, &p->parts[rank]);
    }
    pp_sched_destroy(own);
}

Test(memory_parts, sum_to_the_peaks) {
    static const char *const schedules[] = {"1f1b", "gpipe", "interleaved1f1b",
                                            "InterleavedZeroBubble", "ZBVZeroBubble"};
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 5; k++) {
            const char *const settings[] = {"distributed.pipeline.pp_schedule", schedules[k], NULL};
            struct bed b;
            bed_init(&b, recipes[i], settings);
            struct pp_plan_set *set = bed_search(&b);
            cr_assert(set->current->has_costs, "%s: %s", schedules[k], set->current_error.message);
            expect_plan(&b, set->current);
            if (set->best >= 0) {
                expect_plan(&b, &set->plans[set->best]);
            }
            for (int32_t n = 0; n < set->plan_count; n++) {
                cr_assert((set->plans[n].parts != NULL) == (n == set->best));
            }
            pp_plan_set_destroy(set);
            bed_deinit(&b);
        }
    }
}

/* What is gathered moves between parts, by the stages of the rank and by the peak's action. */
Test(memory_parts, gathered_parameters_are_told_apart) {
    static const char *const schedules[] = {"gpipe", "interleaved1f1b"};
    int forward = 0;
    int ranks = 0;
    for (int k = 0; k < 2; k++) {
        const char *const settings[] = {"distributed.pipeline.pp_schedule", schedules[k], NULL};
        struct bed b;
        bed_init(&b, recipes[k], settings);
        struct pp_plan_set *set = bed_search(&b);
        const struct pp_plan *p = set->current;
        const struct pp_sched *s = NULL;
        struct pp_sched *own = NULL;
        struct pp_replay replay;
        struct pp_gathered_bytes gathered[64];
        cr_assert_eq(pp_replay_schedule(p, NULL, &s, &own, NULL), PP_OK);
        cr_assert_eq(pp_replay_init(&replay, s, NULL), PP_OK);
        pp_replay_costs(&replay, p);
        for (int32_t n = 0; n < p->stage_count; n++) {
            gathered[n] = (struct pp_gathered_bytes){
                .resident = 10 + n, .f_transient = 1000 + n, .b_transient = 2000 + n};
        }
        for (int32_t rank = 0; rank < p->config.pp_size; rank++, ranks++) {
            struct pp_memory_parts parts;
            struct pp_memory_parts plain;
            bool is_f = p->peak_type[rank] == PP_F;
            int64_t resident = 0;
            for (int32_t n = 0; n < p->stage_count; n++) {
                resident += p->stage_rank[n] == rank ? gathered[n].resident : 0;
            }
            int64_t passing = (is_f ? 1000 : 2000) + p->peak_stage[rank];
            pp_plan_memory_parts(&replay, p, gathered, rank, &parts);
            pp_plan_memory_parts(&replay, p, NULL, rank, &plain);
            cr_expect_eq(plain.unsharded, 0);
            cr_expect_eq(parts.unsharded, resident + passing);
            cr_expect_eq(plain.parameters - parts.parameters, resident);
            cr_expect_eq(plain.transient - parts.transient, passing);
            cr_expect_eq(plain.slack, parts.slack);
            forward += is_f;
        }
        pp_replay_deinit(&replay);
        pp_sched_destroy(own);
        pp_plan_set_destroy(set);
        bed_deinit(&b);
    }
    cr_assert(forward > 0 && forward < ranks, "%d of %d", forward, ranks);
}

/* Idle time by cause is the bubble, in plans of every kind. */
Test(memory_parts, idle_time_of_plans_is_their_bubble) {
    for (int i = 0; i < 2; i++) {
        struct bed b;
        bed_init(&b, recipes[i], NULL);
        b.request.search_pp = true;
        struct pp_plan_set *set = bed_search(&b);
        cr_assert_gt(set->plan_count, 10);
        for (int32_t n = 0; n < set->plan_count; n++) {
            const struct pp_plan *p = &set->plans[n];
            double sum = 0;
            for (int c = 0; c < PP_CAUSE_COUNT; c++) {
                cr_assert_geq(p->idle_ns[c], 0);
                sum += (double)p->idle_ns[c];
            }
            cr_assert_float_eq(sum / ((double)p->config.pp_size * (double)p->flush_ns),
                               p->bubble_ratio, 1e-12);
        }
        pp_plan_set_destroy(set);
        bed_deinit(&b);
    }
}

/* The causes of a plan's flush under a limit of its hardware's memory, figured out again: the most
 * that may be allocated is the largest that fits with its slack and what is reserved. */
static int64_t expect_idle(const struct bed *b, const struct pp_plan *p) {
    const struct pp_sched *s = NULL;
    struct pp_sched *own = NULL;
    struct pp_replay replay;
    struct pp_idle ranks[16];
    int64_t limits[16];
    int64_t room = b->hw.memory_bytes - p->reserved_bytes;
    int64_t fits = 0;
    for (int64_t bit = (int64_t)1 << 50; bit > 0; bit /= 2) {
        int64_t tried = fits + bit;
        int64_t slack = pp_round_i64((double)tried * b->hw.allocator_slack_frac);
        fits = tried + slack <= room ? tried : fits;
    }
    cr_assert_eq(pp_replay_schedule(p, NULL, &s, &own, NULL), PP_OK);
    cr_assert_eq(pp_replay_init(&replay, s, NULL), PP_OK);
    cr_assert_eq(pp_replay_run(&replay, p, NULL), PP_OK);
    for (int32_t rank = 0; rank < p->config.pp_size; rank++) {
        limits[rank] = fits;
    }
    struct pp_memory_model model = pp_replay_memory(&replay);
    struct pp_cause_inputs in = pp_replay_causes(&replay);
    in.memory = &model;
    in.limit = limits;
    pp_idle_of(&replay.trace, &in, ranks);
    for (int c = 0; c < PP_CAUSE_COUNT; c++) {
        int64_t sum = 0;
        for (int32_t rank = 0; rank < p->config.pp_size; rank++) {
            sum += ranks[rank].ns[c];
        }
        cr_assert_eq(p->idle_ns[c], sum, "%s", pp_cause_text((enum pp_cause)c));
    }
    pp_replay_deinit(&replay);
    pp_sched_destroy(own);
    return p->idle_ns[PP_CAUSE_MEMORY];
}

/* By halves down to the byte from which on nothing waits for memory. */
Test(memory_parts, memory_makes_plans_wait_up_to_a_byte) {
    struct bed b;
    bed_init(&b, llama_recipe, NULL);
    int64_t low = 0;
    int64_t high = (int64_t)1 << 40;
    bool waited = false;
    while (low + 1 < high) {
        b.hw.memory_bytes = low + (high - low) / 2;
        struct pp_plan_set *set = bed_search(&b);
        bool waits = expect_idle(&b, set->current) > 0;
        waited = waited || waits;
        *(waits ? &low : &high) = b.hw.memory_bytes;
        pp_plan_set_destroy(set);
    }
    cr_assert(waited, "nothing ever waits");
    bed_deinit(&b);
}

/* What is gathered is what a stage holds more without reshard_after_forward, and what its actions
 * need more with it, where all layers are alike. */
Test(memory_parts, gathered_parameters_are_what_resharding_moves) {
    struct bed b;
    bed_init(&b, llama_recipe, NULL);
    for (int deferred = 0; deferred < 2; deferred++) {
        b.model.tied = deferred == 1; /* a head beside the embedding then has no matrix */
        struct pp_train train = {.seq_len = 4096,
                                 .microbatch_size = 1,
                                 .tp = 2,
                                 .cp = 1,
                                 .ep = 1,
                                 .dp = 4,
                                 .pp = 4,
                                 .param_dtype = PP_DTYPE_BF16,
                                 .state_dtype = PP_DTYPE_FP32,
                                 .reduce_dtype = PP_DTYPE_FP32,
                                 .defer_grad_sync = deferred == 1};
        struct pp_cost_table *stays = NULL;
        struct pp_cost_table *goes = NULL;
        cr_assert_eq(pp_cost_table_create(&b.model, &b.hw, &train, &stays, NULL), PP_OK);
        train.reshard_after_forward = true;
        cr_assert_eq(pp_cost_table_create(&b.model, &b.hw, &train, &goes, NULL), PP_OK);
        for (int k = 0; k < 6; k++) {
            struct pp_stage_shape shape = {.first_layer = 3,
                                           .layer_count = k % 3,
                                           .has_embedding = k >= 3,
                                           .has_head = k == 5 || k % 3 == 0};
            struct pp_stage_cost all;
            struct pp_stage_cost shard;
            struct pp_gathered_bytes resident;
            struct pp_gathered_bytes passing;
            pp_cost_stage(stays, &shape, &all);
            pp_cost_stage(goes, &shape, &shard);
            pp_cost_gathered(stays, &shape, &resident);
            pp_cost_gathered(goes, &shape, &passing);
            cr_expect_eq(resident.resident, all.weight_bytes - shard.weight_bytes);
            cr_expect_gt(resident.resident, 0);
            cr_expect_eq(resident.f_transient + resident.b_transient + passing.resident, 0);
            if (!shape.has_embedding && !shape.has_head) {
                cr_expect_eq(passing.f_transient, shard.f_transient_bytes - all.f_transient_bytes);
                cr_expect_eq(passing.b_transient, shard.b_transient_bytes - all.b_transient_bytes);
            }
            cr_expect(passing.f_transient > 0 && passing.f_transient <= shard.f_transient_bytes);
            cr_expect(passing.b_transient > 0 && passing.b_transient <= shard.b_transient_bytes);
        }
        pp_cost_table_destroy(stays);
        pp_cost_table_destroy(goes);
    }
    bed_deinit(&b);
}
