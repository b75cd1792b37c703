#include "costmodel/cost_priv.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct pp_train plain = {
    .seq_len = 4096,
    .microbatch_size = 1,
    .tp = 1,
    .cp = 1,
    .ep = 1,
    .dp = 1,
    .pp = 4,
    .param_dtype = PP_DTYPE_BF16,
    .state_dtype = PP_DTYPE_FP32,
    .reduce_dtype = PP_DTYPE_FP32,
    .defer_grad_sync = true,
    .fused_cross_entropy = true,
};

/* A GPT of the papers: LayerNorm, GELU, all heads alike. */
static struct pp_model gpt(int32_t layers, int64_t hidden, int64_t heads, int64_t kv_heads,
                           int64_t vocab) {
    return (struct pp_model){.id = "gpt",
                             .layer_count = layers,
                             .hidden = hidden,
                             .heads = heads,
                             .kv_heads = kv_heads,
                             .head_dim = hidden / heads,
                             .ffn = 4 * hidden,
                             .vocab = vocab,
                             .tied = false};
}

static struct pp_model shipped(const char *id) {
    struct pp_catalogue *cat = NULL;
    cr_assert_eq(pp_catalogue_open(&cat, NULL), PP_OK);
    const struct pp_model *found = pp_catalogue_find(cat, id);
    cr_assert_not_null(found, "%s", id);
    struct pp_model m = *found;
    pp_catalogue_close(cat);
    return m;
}

static struct pp_hardware machine(const char *name) {
    struct pp_hardware hw;
    cr_assert_eq(pp_hardware_load(name, &hw, NULL), PP_OK);
    return hw;
}

static struct pp_cost_table *table_on(const struct pp_hardware *hw, const struct pp_model *m,
                                      const struct pp_train *t) {
    struct pp_cost_table *table = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_cost_table_create(m, hw, t, &table, &err), PP_OK, "%s: %s", m->id, err.message);
    return table;
}

static struct pp_stage_shape layers(int32_t first, int32_t count) {
    return (struct pp_stage_shape){.first_layer = first, .layer_count = count};
}

static struct pp_stage_cost stage_of(const struct pp_model *m, const struct pp_train *t,
                                     struct pp_stage_shape shape) {
    struct pp_hardware hw = machine("h100-sxm");
    struct pp_cost_table *table = table_on(&hw, m, t);
    struct pp_stage_cost cost;
    pp_cost_stage(table, &shape, &cost);
    pp_cost_table_destroy(table);
    return cost;
}

/* What one more layer costs: the first `layer` of a middle stage, against an empty stage. */
static struct pp_stage_cost layer_of(const struct pp_model *m, const struct pp_train *t,
                                     int32_t layer) {
    struct pp_stage_cost one = stage_of(m, t, layers(layer, 1));
    struct pp_stage_cost none = stage_of(m, t, layers(layer, 0));
    one.activation_bytes -= none.activation_bytes;
    return one;
}

static struct pp_stage_cost whole(const struct pp_model *m, const struct pp_train *t) {
    return stage_of(m, t,
                    (struct pp_stage_shape){
                        .layer_count = m->layer_count, .has_embedding = true, .has_head = true});
}

/* The one-line formula that 17 measured peaks of cut Llama models bear out (mean error 0.45 %):
 * b s (12 h + 4 k d + 6 f + 4 a) / (t c). */
Test(cost, activations_of_a_modern_layer) {
    struct pp_model m = shipped("meta-llama/Llama-3.1-70B");
    for (int32_t tp = 1; tp <= 8; tp *= 2) {
        for (int32_t cp = 1; cp <= 8; cp *= 2) {
            struct pp_train t = plain;
            t.tp = tp;
            t.cp = cp;
            t.sequence_parallel = true;
            t.microbatch_size = 2;
            int64_t a =
                2 * 4096 * (12 * m.hidden + 4 * m.kv_heads * m.head_dim + 6 * m.ffn + 4 * m.heads);
            struct pp_stage_cost c = layer_of(&m, &t, 3);
            cr_expect_eq(c.activation_bytes, a / tp / cp);
            int64_t scores = 2 * 4096 * 4 * m.heads;
            cr_expect_eq(c.weight_grad_bytes, (a - scores) / tp / cp);
        }
    }
}

/* Without sequence parallelism the residual stream is on every rank: 10 sbh of the 34 in
 * Korthikanti's layer, 8 of them here (no dropout). */
Test(cost, tensor_parallelism_alone_keeps_the_stream_whole) {
    struct pp_model m = gpt(8, 4096, 32, 32, 50000);
    struct pp_train t = plain;
    int64_t unsplit = layer_of(&m, &t, 0).activation_bytes;
    t.tp = 8;
    int64_t stream = 4096 * 8 * m.hidden;
    cr_expect_eq(layer_of(&m, &t, 0).activation_bytes, stream + (unsplit - stream) / 8);
}

/* Megatron's CI model of 7e9: one layer a chunk is 0.907 GiB, the logits 6.0 GiB unfused. */
Test(cost, the_seven_billion_ci_model) {
    struct pp_model m = gpt(32, 4096, 32, 8, 131200);
    struct pp_train t = plain;
    t.seq_len = 8192;
    t.fused_cross_entropy = false;
    const double gib = 1024.0 * 1024 * 1024;
    cr_expect_float_eq((double)layer_of(&m, &t, 0).activation_bytes / gib, 0.907, 0.001);
    struct pp_stage_cost last = stage_of(&m, &t, (struct pp_stage_shape){31, 1, .has_head = true});
    cr_expect_float_eq((double)last.logits_bytes / gib, 6.0, 0.02);
    t.fused_cross_entropy = true;
    last = stage_of(&m, &t, (struct pp_stage_shape){31, 1, .has_head = true});
    cr_expect_eq(last.logits_bytes, 2 * (int64_t)8192 * 131200);
}

/* Korthikanti's figure 1 counts 18 bytes a parameter of 12 L h^2 / (p t), biases and norms left
 * out. */
Test(cost, eighteen_bytes_a_parameter_without_sharding) {
    struct pp_model m = gpt(96, 12288, 96, 96, 51200);
    struct pp_train t = plain;
    t.tp = 8;
    struct pp_stage_cost c = stage_of(&m, &t, layers(12, 12));
    int64_t params = 12 * m.hidden * m.hidden * 12 / 8;
    cr_expect_eq(c.param_count, params);
    cr_expect_eq(c.weight_bytes + c.grad_bytes + c.optimizer_bytes, 18 * params);
}

/* FSDP2 in a pipeline: gathered weights and unsharded gradients whatever dp is, states sharded. */
Test(cost, fsdp_shards_states_and_only_states) {
    struct pp_model m = gpt(16, 4096, 32, 32, 51200);
    struct pp_train t = plain;
    t.dp = 64;
    struct pp_stage_cost c = stage_of(&m, &t, layers(0, 4));
    int64_t p = c.param_count;
    cr_expect_eq(c.weight_bytes, 2 * p + 4 * p / 64);
    cr_expect_eq(c.grad_bytes, 4 * p + 4 * p / 64);
    cr_expect_eq(c.optimizer_bytes, 8 * p / 64);
    t.reshard_after_forward = true;
    t.defer_grad_sync = false;
    struct pp_stage_cost r = stage_of(&m, &t, layers(0, 4));
    cr_expect_eq(r.weight_bytes, 4 * p / 64);
    cr_expect_eq(r.grad_bytes, 4 * p / 64);
    cr_expect_eq(r.f_transient_bytes - c.f_transient_bytes, 2 * p / 4, "one layer gathered");
    cr_expect_eq(r.b_transient_bytes - c.b_transient_bytes, 2 * p / 4 + 4 * p / 4);
    cr_expect_gt(r.f_ns, c.f_ns, "a pipeline does not prefetch");
    t.dp_replicate = 8;
    cr_expect_eq(stage_of(&m, &t, layers(0, 4)).optimizer_bytes, p);
}

/* Experts are sharded over their own data-parallel ranks, dp cp tp / ep. */
Test(cost, experts_have_their_own_shards) {
    struct pp_model m = shipped("deepseek-ai/DeepSeek-V3");
    struct pp_train t = plain;
    t.dp = 64;
    t.ep = 64;
    struct pp_stage_cost c = layer_of(&m, &t, 30);
    int64_t expert = 3 * m.hidden * m.expert_ffn;
    cr_expect_eq(c.expert_count, 256 / 64 * expert);
    int64_t rest = pp_model_layer_params(&m, 30, false) - 256 * expert;
    cr_expect_eq(c.param_count, rest + c.expert_count);
    int64_t owned = (rest + 63) / 64 + c.expert_count;
    cr_expect_eq(c.optimizer_bytes, 8 * owned);
    struct pp_stage_cost dense = layer_of(&m, &t, 0);
    t.tp = 2;
    int64_t split = layer_of(&m, &t, 30).param_count - c.expert_count;
    cr_expect_eq(layer_of(&m, &t, 30).optimizer_bytes,
                 8 * ((split + 63) / 64 + c.expert_count / 2));
    cr_expect_eq(dense.expert_count, 0);
    cr_expect_eq(dense.param_count, pp_model_layer_params(&m, 0, false));
}

/* Bytes a token saved by DeepSeek-V3's layers (checked on three measured peaks, +0.1 to +0.6 %). */
Test(cost, activations_of_latent_attention_and_experts) {
    struct pp_model m = shipped("deepseek-ai/DeepSeek-V3");
    struct pp_train t = plain;
    int64_t h = 7168;
    int64_t attention = 6 * h + 4 * 1536 + 2 * (512 + 64) + 2 * 512 +
                        128 * (2 * 192 + 2 * 256 + 2 * 192 + 2 * 128 + 4);
    int64_t experts = 4 * h + 6 * 2048 + 8 * (2 * h + 6 * 2048) + 8 * 256;
    cr_expect_eq(layer_of(&m, &t, 30).activation_bytes, 4096 * (attention + experts));
    cr_expect_eq(layer_of(&m, &t, 0).activation_bytes, 4096 * (attention + 4 * h + 6 * 18432));
}

/* Model FLOPs a token, causal attention halved, as Megatron-Bridge and Automodel state them. */
Test(cost, flops_match_published_figures_per_token) {
    static const struct {
        const char *id;
        double gflops;
    } rows[] = {{"meta-llama/Llama-3.1-8B", 51.5},
                {"meta-llama/Llama-3.1-70B", 449.2},
                {"meta-llama/Llama-3.1-405B", 2524}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pp_model m = shipped(rows[i].id);
        struct pp_train t = plain;
        t.seq_len = 8192;
        double per_token = 3.0 * (double)whole(&m, &t).f_flops / 8192 / 1e9;
        cr_expect_float_eq(per_token / rows[i].gflops, 1, 0.002, "%s: %.1f", m.id, per_token);
    }
}

/* The zero-bubble paper's table 1: F - W is attention's forward, I - W its backward; 2.5 times as
 * much with FlashAttention; both halved by the causal mask. */
Test(cost, passes_differ_by_attention_alone) {
    struct pp_model m = gpt(8, 4096, 32, 32, 50000);
    struct pp_train t = plain;
    struct pp_stage_cost c = layer_of(&m, &t, 0);
    int64_t s = 4096, h = 4096;
    cr_expect_eq(c.w_flops, s * h * 24 * h);
    cr_expect_eq(c.f_flops - c.w_flops, s * h * 2 * s);
    cr_expect_eq(c.i_flops - c.w_flops, s * h * 5 * s);
    cr_expect(c.w_ns < c.f_ns && c.f_ns < c.i_ns, "%lld %lld %lld", (long long)c.w_ns,
              (long long)c.f_ns, (long long)c.i_ns);
}

Test(cost, six_flops_a_parameter_and_token) {
    static const char *const ids[] = {"meta-llama/Llama-3.1-8B", "Qwen/Qwen2.5-32B",
                                      "microsoft/phi-4", "Qwen/Qwen3-8B"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct pp_model m = shipped(ids[i]);
        struct pp_train t = plain;
        t.seq_len = 1024;
        struct pp_stage_cost c = whole(&m, &t);
        double work = (double)(c.f_flops + c.i_flops + c.w_flops);
        double n = (double)(pp_model_total_params(&m, false) - pp_model_embedding_params(&m));
        cr_expect_float_eq(work / (6 * n * 1024), 1, 0.03, "%s: %.3f", m.id, work / (6 * n * 1024));
    }
}

Test(cost, stages_are_sums_of_layers) {
    static const char *const ids[] = {"deepseek-ai/DeepSeek-V3", "openai/gpt-oss-120b",
                                      "google/gemma-3-27b-pt", "gpt3-175b"};
    struct pp_hardware hw = machine("b200");
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct pp_model m = shipped(ids[i]);
        struct pp_cost_table *table = table_on(&hw, &m, &plain);
        for (int32_t cut = 1; cut < m.layer_count; cut++) {
            struct pp_stage_cost a, b, ab;
            pp_cost_stage(table, &(struct pp_stage_shape){0, cut, .has_embedding = true}, &a);
            pp_cost_stage(table,
                          &(struct pp_stage_shape){cut, m.layer_count - cut, .has_head = true}, &b);
            pp_cost_stage(table, &(struct pp_stage_shape){0, m.layer_count, .has_embedding = true},
                          &ab);
            struct pp_stage_cost head;
            pp_cost_stage(table, &(struct pp_stage_shape){cut, 0, .has_head = true}, &head);
            cr_assert_eq(a.f_ns + b.f_ns, ab.f_ns + head.f_ns);
            cr_assert_eq(a.i_ns + b.i_ns, ab.i_ns + head.i_ns);
            cr_assert_eq(a.w_flops + b.w_flops, ab.w_flops + head.w_flops);
            cr_assert_eq(a.optimizer_bytes + b.optimizer_bytes,
                         ab.optimizer_bytes + head.optimizer_bytes);
            cr_assert_eq(a.activation_bytes + b.activation_bytes,
                         ab.activation_bytes + head.activation_bytes);
            cr_assert(a.b_transient_bytes <= ab.b_transient_bytes);
        }
        pp_cost_table_destroy(table);
    }
}

Test(cost, parameters_of_all_stages_are_the_models) {
    static const char *const ids[] = {"deepseek-ai/DeepSeek-V3", "meta-llama/Llama-3.1-8B",
                                      "google/gemma-2-9b", "gpt3-175b", "openai/gpt-oss-20b"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct pp_model m = shipped(ids[i]);
        cr_expect_eq(whole(&m, &plain).param_count, pp_model_total_params(&m, false), "%s", m.id);
        struct pp_stage_cost head =
            stage_of(&m, &plain, (struct pp_stage_shape){m.layer_count, 0, .has_head = true});
        int64_t matrix = m.tied ? m.hidden * m.vocab : 0; /* a copy on the other end */
        cr_expect_eq(head.param_count, pp_model_head_params(&m) + matrix, "%s", m.id);
    }
}

static int64_t time_of(const struct pp_stage_cost *c) {
    return c->f_ns + c->i_ns + c->w_ns;
}

static int64_t bytes_of(const struct pp_stage_cost *c) {
    return c->weight_bytes + c->grad_bytes + c->optimizer_bytes + c->activation_bytes;
}

Test(cost, more_work_costs_more) {
    static const char *const ids[] = {"deepseek-ai/DeepSeek-V3", "meta-llama/Llama-3.1-70B",
                                      "openai/gpt-oss-120b", "Qwen/Qwen3-30B-A3B"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct pp_model m = shipped(ids[i]);
        struct pp_train t = plain, more = plain;
        struct pp_stage_shape shape = {0, 8, .has_embedding = true};
        struct pp_stage_cost base = stage_of(&m, &t, shape);
        more.microbatch_size = 2;
        struct pp_stage_cost c = stage_of(&m, &more, shape);
        cr_expect(time_of(&c) > time_of(&base) && bytes_of(&c) > bytes_of(&base), "%s", m.id);
        cr_expect_lt(time_of(&c), 2 * time_of(&base), "%s: larger is more efficient", m.id);
        more = plain;
        more.seq_len *= 2;
        c = stage_of(&m, &more, shape);
        cr_expect(time_of(&c) > time_of(&base) && bytes_of(&c) > bytes_of(&base), "%s", m.id);
        shape.layer_count = 9;
        c = stage_of(&m, &t, shape);
        cr_expect(time_of(&c) > time_of(&base) && bytes_of(&c) > bytes_of(&base), "%s", m.id);
        shape.has_head = true;
        struct pp_stage_cost headed = stage_of(&m, &t, shape);
        cr_expect(time_of(&headed) > time_of(&c) && bytes_of(&headed) > bytes_of(&c), "%s", m.id);
    }
}

Test(cost, parallelism_divides) {
    struct pp_model m = shipped("meta-llama/Llama-3.1-70B");
    struct pp_stage_shape shape = layers(20, 8);
    struct pp_train t = plain;
    struct pp_stage_cost last = stage_of(&m, &t, shape);
    for (t.tp = 2; t.tp <= 8; t.tp *= 2) {
        struct pp_stage_cost c = stage_of(&m, &t, shape);
        cr_expect(time_of(&c) < time_of(&last), "tp %d", t.tp);
        cr_expect(time_of(&c) * 2 > time_of(&last), "tp %d is not free", t.tp);
        cr_expect(bytes_of(&c) < bytes_of(&last), "tp %d", t.tp);
        last = c;
    }
    t = plain;
    t.seq_len = 32768;
    last = stage_of(&m, &t, shape);
    for (t.cp = 2; t.cp <= 8; t.cp *= 2) {
        struct pp_stage_cost c = stage_of(&m, &t, shape);
        cr_expect(time_of(&c) < time_of(&last), "cp %d", t.cp);
        cr_expect_eq(c.p2p_bytes, last.p2p_bytes / 2, "cp %d", t.cp);
        last = c;
    }
}

Test(cost, recompute_trades_time_for_memory) {
    static const char *const ids[] = {"deepseek-ai/DeepSeek-V3", "meta-llama/Llama-3.1-70B"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct pp_model m = shipped(ids[i]);
        struct pp_train t = plain;
        struct pp_stage_cost none = layer_of(&m, &t, 10);
        t.recompute = PP_RECOMPUTE_SELECTIVE;
        struct pp_stage_cost some = layer_of(&m, &t, 10);
        t.recompute = PP_RECOMPUTE_FULL;
        struct pp_stage_cost full = layer_of(&m, &t, 10);
        cr_expect_eq(full.activation_bytes, 2 * 4096 * m.hidden);
        cr_expect(full.activation_bytes < some.activation_bytes &&
                  some.activation_bytes < none.activation_bytes);
        cr_expect(none.i_ns < some.i_ns && some.i_ns < full.i_ns);
        cr_expect_leq(llabs(full.i_ns - none.i_ns - none.f_ns), 1, "each is rounded once");
        cr_expect_eq(full.i_flops - none.i_flops, none.f_flops);
        cr_expect(full.f_ns == none.f_ns && full.w_ns == none.w_ns);
        cr_expect_geq(full.b_transient_bytes, none.activation_bytes);
        cr_expect_eq(full.weight_grad_bytes, none.weight_grad_bytes);
        struct pp_stage_shape head = {m.layer_count, 0, .has_head = true};
        t.recompute = PP_RECOMPUTE_NONE;
        int64_t i_ns = stage_of(&m, &t, head).i_ns;
        t.recompute = PP_RECOMPUTE_FULL;
        cr_expect_eq(stage_of(&m, &t, head).i_ns, i_ns, "the head is not recomputed");
    }
}

Test(cost, frozen_weights_have_no_gradients) {
    struct pp_model m = shipped("deepseek-ai/DeepSeek-V3");
    struct pp_train t = plain;
    struct pp_stage_cost full = layer_of(&m, &t, 10);
    t.peft = true;
    t.peft_dim = 8;
    struct pp_stage_cost lora = layer_of(&m, &t, 10);
    cr_expect_lt(lora.grad_bytes, full.grad_bytes / 50);
    cr_expect_lt(lora.optimizer_bytes, full.optimizer_bytes / 50);
    cr_expect_lt(lora.w_ns, full.w_ns);
    cr_expect_lt(lora.w_flops, full.w_flops / 10);
    cr_expect_gt(lora.f_ns, full.f_ns, "adapters are extra work");
    cr_expect_gt(lora.param_count, full.param_count);
    cr_expect_eq(lora.param_count - lora.trainable_count, full.param_count);
}

Test(cost, windows_shorten_attention) {
    struct pp_model m = shipped("openai/gpt-oss-120b");
    struct pp_stage_cost windowed = layer_of(&m, &plain, 0), whole_layer = layer_of(&m, &plain, 1);
    cr_expect_lt(windowed.f_flops, whole_layer.f_flops);
    cr_expect_eq(windowed.w_flops, whole_layer.w_flops);
    cr_expect_eq(windowed.param_count, whole_layer.param_count);
}

Test(cost, distance_costs) {
    struct pp_model m = shipped("deepseek-ai/DeepSeek-V3");
    struct pp_stage_shape near = layers(10, 2), far = {10, 2, .prev_other_node = true};
    struct pp_stage_cost a = stage_of(&m, &plain, near), b = stage_of(&m, &plain, far);
    cr_expect_lt(a.recv_ns, b.recv_ns);
    cr_expect_eq(a.recv_grad_ns, b.recv_grad_ns);
    cr_expect_eq(a.p2p_bytes, 2 * 4096 * 7168);
    struct pp_train t = plain;
    t.dp = 64;
    t.ep = 8;
    int64_t one_node = layer_of(&m, &t, 10).f_ns;
    t.ep = 64;
    cr_expect_gt(layer_of(&m, &t, 10).f_ns, one_node, "dispatch between nodes");
}

Test(cost, step_and_reserve) {
    struct pp_model m = shipped("meta-llama/Llama-3.1-70B");
    struct pp_hardware hw = machine("h100-sxm");
    struct pp_train t = plain;
    struct pp_stage_cost rank;
    struct pp_step_cost one, many;
    struct pp_cost_table *table = table_on(&hw, &m, &t);
    pp_cost_stage(table, &(struct pp_stage_shape){0, 20, .has_embedding = true}, &rank);
    pp_cost_step(table, &rank, &one);
    cr_expect_eq(one.grad_sync_ns, 0);
    cr_expect_eq(one.param_gather_ns, 0);
    cr_expect_gt(one.optimizer_ns, 0);
    int64_t alone = pp_cost_reserved_bytes(table);
    cr_expect_eq(pp_cost_with_slack(table, 1000000), 1090000);
    pp_cost_table_destroy(table);
    t.dp = 16;
    table = table_on(&hw, &m, &t);
    pp_cost_stage(table, &(struct pp_stage_shape){0, 20, .has_embedding = true}, &rank);
    pp_cost_step(table, &rank, &many);
    cr_expect_gt(many.grad_sync_ns, many.param_gather_ns, "fp32 out, bf16 back");
    cr_expect_gt(many.param_gather_ns, 0);
    cr_expect_lt(many.optimizer_ns, one.optimizer_ns / 15);
    cr_expect_gt(pp_cost_reserved_bytes(table), alone);
    pp_cost_table_destroy(table);
}

Test(cost, refusals) {
    struct pp_hardware hw = machine("h100-sxm"), broken = {.name = "nothing"};
    struct pp_model m = shipped("deepseek-ai/DeepSeek-V3"), depth = {.id = "x", .layer_count = 5};
    struct pp_cost_table *table = NULL;
    struct pp_err err = {0};
    cr_expect_eq(pp_cost_table_create(&depth, &hw, &plain, &table, &err), PP_E_NO_SHAPE);
    cr_expect_eq(pp_cost_table_create(&m, &broken, &plain, &table, &err), PP_E_RANGE);
    static const struct {
        int32_t tp, ep, dp, dp_replicate;
        enum pp_status status;
    } groups[] = {{3, 1, 1, 0, PP_E_MODEL}, {1, 7, 7, 0, PP_E_MODEL}, {1, 8, 4, 0, PP_E_WORLD},
                  {1, 1, 4, 3, PP_E_WORLD}, {0, 1, 1, 0, PP_E_RANGE}, {1, 1, -1, 0, PP_E_RANGE}};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        struct pp_train t = plain;
        t.tp = groups[i].tp;
        t.ep = groups[i].ep;
        t.dp = groups[i].dp;
        t.dp_replicate = groups[i].dp_replicate;
        err = (struct pp_err){0};
        cr_expect_eq(pp_cost_table_create(&m, &hw, &t, &table, &err), groups[i].status, "%zu: %s",
                     i, err.message);
        cr_expect(err.message[0] != '\0');
    }
    struct pp_train t = plain;
    t.seq_len = 1000000000;
    t.microbatch_size = 1000000;
    cr_expect_eq(pp_cost_table_create(&m, &hw, &t, &table, &err), PP_E_RANGE);
    m.hidden = INT64_MAX;
    cr_expect_eq(pp_cost_table_create(&m, &hw, &plain, &table, &err), PP_E_RANGE);
    cr_expect_null(table);
    pp_cost_table_destroy(NULL);
}

/* Random shapes from tiny to absurd: an error or costs that are not negative, never overflow. */
Test(cost, no_input_overflows) {
    uint64_t state = 7;
    struct pp_hardware hw = machine("gb200");
    int fine = 0, refused = 0;
    for (int round = 0; round < 3000; round++) {
        int64_t r[16];
        for (int i = 0; i < 16; i++) { /* spread over magnitudes; powers of two divide each other */
            state = state * 6364136223846793005u + 1442695040888963407u;
            r[i] = INT64_C(1) << (state >> 40) % (round % 3 == 0 ? 40 : 14);
        }
        struct pp_model m = gpt((int32_t)(r[0] % 200000), r[1], r[2], r[2], r[3]);
        m.head_dim = r[4] % 512 + 1;
        m.ffn = r[5];
        m.gated = r[6] % 2 == 0;
        if (round % 2 == 0) {
            m.experts = r[7] % 4096;
            m.experts_per_token = 1;
            m.expert_ffn = r[8];
        }
        struct pp_train t = plain;
        t.seq_len = r[9];
        t.microbatch_size = (int32_t)(r[10] % INT32_MAX);
        t.tp = (int32_t)(r[11] % 64);
        t.ep = (int32_t)(r[12] % 64);
        t.dp = (int32_t)(r[13] % 100000);
        t.recompute = (enum pp_recompute)(round % 3);
        struct pp_cost_table *table = NULL;
        struct pp_err err = {0};
        if (pp_cost_table_create(&m, &hw, &t, &table, &err) != PP_OK) {
            cr_assert(err.message[0] != '\0');
            refused++;
            continue;
        }
        struct pp_stage_cost c;
        struct pp_step_cost step;
        pp_cost_stage(table, &(struct pp_stage_shape){0, m.layer_count, true, true, false, false},
                      &c);
        pp_cost_step(table, &c, &step);
        cr_assert(c.f_ns > 0 && c.i_ns > 0 && c.w_ns > 0 && bytes_of(&c) > 0);
        cr_assert(c.f_ns < INT64_C(1) << 54 && step.optimizer_ns > 0);
        pp_cost_table_destroy(table);
        fine++;
    }
    cr_assert(fine > 150 && refused > 300, "%d %d", fine, refused);
}

/* Two collectives (or pairs of them) a layer, forward and backward, each with its fixed cost. */
Test(cost, parallel_layers_talk_twice_a_pass) {
    struct pp_model m = shipped("meta-llama/Llama-3.1-70B");
    struct pp_hardware quick = machine("h100-sxm"), slow = quick;
    slow.collective_latency_ns += 1000000;
    struct pp_train t = plain;
    t.tp = 2;
    struct pp_stage_shape shape = layers(10, 1);
    struct pp_stage_cost a, b;
    struct pp_cost_table *table = table_on(&quick, &m, &t);
    pp_cost_stage(table, &shape, &a);
    pp_cost_table_destroy(table);
    table = table_on(&slow, &m, &t);
    pp_cost_stage(table, &shape, &b);
    pp_cost_table_destroy(table);
    cr_expect_eq(b.f_ns - a.f_ns, 2 * 750000);
    cr_expect_eq(b.i_ns - a.i_ns, 2 * 750000);
    cr_expect_eq(b.w_ns, a.w_ns);
    m = shipped("deepseek-ai/DeepSeek-V3"); /* experts: dispatch and combine */
    t.tp = 1;
    t.dp = t.ep = 4;
    table = table_on(&quick, &m, &t);
    pp_cost_stage(table, &shape, &a);
    pp_cost_table_destroy(table);
    table = table_on(&slow, &m, &t);
    pp_cost_stage(table, &shape, &b);
    pp_cost_table_destroy(table);
    cr_expect_eq(b.f_ns - a.f_ns, 2 * 1000000);
    cr_expect_eq(b.i_ns - a.i_ns, 2 * 1000000);
}

Test(cost, collectives_by_the_ring) {
    struct pp_hardware hw = {.gpus_per_node = 8,
                             .intra_node = {.bytes_per_s = 400000000000},
                             .inter_node = {.bytes_per_s = 50000000000},
                             .intra_link_efficiency = 0.5,
                             .inter_link_efficiency = 0.8};
    const double gb = 1e9, inside = 0.5 * 400, outside = 0.8 * 50; /* bytes a ns */
    cr_expect_float_eq(pp_gather_ns(&hw, (struct pp_group){1, 1}, gb), 0, 1e-6);
    cr_expect_float_eq(pp_gather_ns(&hw, (struct pp_group){8, 1}, gb), gb * 7 / 8 / inside, 1);
    cr_expect_float_eq(pp_reduce_pair_ns(&hw, (struct pp_group){8, 1}, gb), 2 * gb * 7 / 8 / inside,
                       1);
    /* one rank a node has one port; two ranks a node share a ring over two */
    cr_expect_float_eq(pp_gather_ns(&hw, (struct pp_group){4, 8}, gb), gb * 3 / 4 / outside, 1);
    cr_expect_float_eq(pp_gather_ns(&hw, (struct pp_group){4, 4}, gb), gb * 3 / 4 / (2 * outside),
                       1);
    /* eight ports outrun the links inside, which then set the pace */
    cr_expect_float_eq(pp_gather_ns(&hw, (struct pp_group){16, 1}, gb), gb * 15 / 16 / inside, 1);
    cr_expect_float_eq(pp_message_ns(&hw, true, gb), gb / outside, 1);
}

/* A token visits a node once; free routing to 8 of 64 ranks on 8 nodes reaches 5.25 of them. */
Test(cost, dispatch_crosses_to_each_node_once) {
    struct pp_cost_context c = {.model = {.hidden = 1000, .experts = 64, .experts_per_token = 8},
                                .hw = {.gpus_per_node = 8,
                                       .intra_node = {.bytes_per_s = 1000000000000},
                                       .inter_node = {.bytes_per_s = 10000000000},
                                       .intra_link_efficiency = 1,
                                       .inter_link_efficiency = 1},
                                .moe_tokens = 1000,
                                .ep = 64,
                                .width = 2};
    const double bytes = 2e6, free_nodes = 8 * (1 - pow(7.0 / 8, 8));
    cr_expect_float_eq(pp_dispatch_ns(&c), bytes * free_nodes * 7 / 8 / 10, 1);
    c.model.expert_groups = 8;
    c.model.groups_per_token = 4;
    cr_expect_float_eq(pp_dispatch_ns(&c), bytes * 4 * 7 / 8 / 10, 1);
    c.ep = 8; /* within a node: one copy for each expert elsewhere */
    cr_expect_float_eq(pp_dispatch_ns(&c), bytes * 8 * 7 / 8 / 1000, 1);
    c.ep = 1;
    cr_expect_float_eq(pp_dispatch_ns(&c), 0, 1e-9);
}

/* One wave of 128 x 256 tiles over all multiprocessors, and the first tile of a second one. */
Test(cost, products_go_in_waves) {
    struct pp_hardware hw = {.bf16_flops_per_s = 1000000000000000,
                             .memory_bytes_per_s = INT64_MAX / 2,
                             .sm_count = 100,
                             .gemm_efficiency = 1,
                             .memory_efficiency = 1,
                             .gemm_wave_share = 1};
    double full = pp_gemm_ns(&hw, 2, 1280, 2560, 4096);
    cr_expect_float_eq(full, 2.0 * 1280 * 2560 * (4096 + 60) / 1e6, 1);
    cr_expect_float_eq(pp_gemm_ns(&hw, 2, 1280, 2561, 4096), 2 * full, 1);
    hw.gemm_wave_share = 0;
    cr_expect_lt(pp_gemm_ns(&hw, 2, 1280, 2561, 4096), 1.11 * full);
    hw.gemm_duration_exponent = 0.03;
    double longer = pp_gemm_ns(&hw, 2, 12800, 25600, 4096);
    cr_expect_float_eq(longer / (100 * full), pow(100 * full / 1e6, 0.03), 1e-9);
}
