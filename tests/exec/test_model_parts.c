/* What a transformer is made of besides arithmetic: drawn numbers, shapes, sizes, state, what it
 * refuses, and the actions that do not compute. */
#include "exec/model/layout.h"
#include "exec/model/profile.h"
#include "exec/model/stash.h"
#include "sim/lower.h"
#include "tests/exec/train_support.h"

/* ---- numbers ---- */

Test(draw, numbers_are_what_the_header_says) { /* by a few lines of Python */
    cr_assert_eq(pp_draw_stream(""), 0xcbf29ce484222325u);
    cr_assert_eq(pp_draw_stream("tokens"), 0x93fab8f021712b13u);
    cr_assert_eq(pp_draw_stream("lm_head.weight"), 0xab67eb515e1b6f0du);
    cr_assert_eq(pp_draw(0, pp_draw_stream(""), 0), 2538440 * 0x1p-23f);
    cr_assert_eq(pp_draw(1, pp_draw_stream("tokens"), 5), 2639214 * 0x1p-23f);
    cr_assert_eq(pp_draw(2024, pp_draw_stream("lm_head.weight"), 123456789), -1747896 * 0x1p-23f);
    cr_assert_eq(pp_draw(UINT64_MAX, pp_draw_stream("model.norm.weight"), UINT64_MAX),
                 -6871033 * 0x1p-23f);
}

Test(draw, numbers_are_even_over_their_range) {
    double sum = 0;
    double squares = 0;
    enum { COUNT = 200000 };
    for (int32_t i = 0; i < COUNT; i++) {
        double x = (double)pp_draw(3, 4, (uint64_t)i);
        cr_assert(x >= -1 && x < 1);
        sum += x;
        squares += x * x;
    }
    cr_assert_lt(fabs(sum / COUNT), 0.005);
    cr_assert_lt(fabs(squares / COUNT - 1.0 / 3), 0.003);
}

Test(draw, tokens_are_what_the_header_says) {
    struct pp_transformer_config c = small_config(DENSE_MODEL, 2, 4);
    c.length = 9;
    c.seed = 7;
    c.shape.vocab = 50;
    struct pp_transformer *t = make_transformer(&c, 1);
    static const int32_t expected[] = {11, 12, 17, 42, 43, 41, 12, 17, 42, 17};
    int32_t tokens[10];
    pp_draw_tokens(t, 3, 2, 1, tokens);
    cr_assert_eq(memcmp(tokens, expected, sizeof tokens), 0);
    pp_transformer_destroy(t);
}

Test(draw, a_text_is_taken_piece_by_piece) {
    struct pp_transformer_config c = small_config(DENSE_MODEL, 2, 4);
    int32_t text[3 * 8 + 5];
    for (int32_t i = 0; i < 3 * 8 + 5; i++) {
        text[i] = i % 24;
    }
    c.tokens = text;
    c.token_count = 3 * 8 + 5;
    struct pp_transformer *t = make_transformer(&c, 1);
    int32_t tokens[8];
    for (int32_t n = 0; n < 20; n++) { /* 2 sequences of 4 microbatches */
        pp_draw_tokens(t, n / 8, n / 2 % 4, n % 2, tokens);
        cr_assert_eq(memcmp(tokens, text + n % 3 * 8, sizeof tokens), 0);
    }
    pp_transformer_destroy(t);
}

/* ---- shapes ---- */

static void expect_refused(struct pp_shape s, const char *part) {
    struct pp_err err = {0};
    cr_assert_eq(pp_shape_check(&s, &err), PP_E_MODEL, "%s was accepted", part);
    cr_assert_not_null(strstr(err.message, part), "\"%s\" does not say %s", err.message, part);
}

#define REFUSED(kind, field, value, part)                                                          \
    do {                                                                                           \
        struct pp_shape s = small_shape(kind, 2);                                                  \
        s.field = value;                                                                           \
        expect_refused(s, part);                                                                   \
    } while (0)

Test(shape, refusals_name_what_is_wrong) {
    for (int32_t kind = 0; kind < MODEL_KIND_COUNT; kind++) {
        struct pp_shape fine = small_shape(kind, 2);
        cr_assert_eq(pp_shape_check(&fine, NULL), PP_OK);
    }
    REFUSED(DENSE_MODEL, layers, 0, "layers is 0");
    REFUSED(DENSE_MODEL, layers, PP_SHAPE_MAX_LAYERS + 1, "layers is 1025");
    REFUSED(DENSE_MODEL, hidden, 0, "hidden is 0");
    REFUSED(DENSE_MODEL, hidden, (int64_t)1 << 40, "hidden is 1099511627776");
    REFUSED(DENSE_MODEL, vocab, 1, "vocab is 1");
    REFUSED(DENSE_MODEL, heads, 0, "heads is 0");
    REFUSED(DENSE_MODEL, kv_heads, 0, "kv_heads is 0");
    REFUSED(DENSE_MODEL, kv_heads, 5, "kv_heads is 5");
    REFUSED(DENSE_MODEL, kv_heads, 3, "4 heads cannot share 3 kv_heads");
    REFUSED(DENSE_MODEL, head_dim, 7, "head_dim is 7, expected an even");
    REFUSED(DENSE_MODEL, head_dim, 1 << 20, "heads * head_dim is 4194304");
    REFUSED(DENSE_MODEL, window, -1, "window is -1");
    REFUSED(DENSE_MODEL, ffn, 0, "ffn is 0");
    REFUSED(DENSE_MODEL, rope_theta, 0, "rope_theta is 0");
    REFUSED(DENSE_MODEL, rope_theta, NAN, "rope_theta is nan");
    REFUSED(DENSE_MODEL, norm_epsilon, -1e-6f, "norm_epsilon is -1e-06");
    REFUSED(DENSE_MODEL, norm_epsilon, INFINITY, "norm_epsilon is inf");
    REFUSED(MOE_MODEL, experts, -1, "experts is -1");
    REFUSED(MOE_MODEL, experts, 1, "takes 2 of 1 experts");
    REFUSED(MOE_MODEL, experts_per_token, 0, "takes 0 of 5 experts");
    REFUSED(MOE_MODEL, experts_per_token, 6, "takes 6 of 5 experts");
    REFUSED(MOE_MODEL, expert_ffn, 0, "expert_ffn is 0");
    REFUSED(MOE_MODEL, shared_ffn, -4, "shared_ffn is -4");
    struct pp_shape huge = small_shape(DENSE_MODEL, 1024);
    huge.hidden = huge.ffn = PP_SHAPE_MAX_WIDTH;
    expect_refused(huge, "parameters, expected at most");
}

/* ---- transformers ---- */

static enum pp_status create(const struct pp_transformer_config *c, struct pp_err *err) {
    struct pp_transformer *t = NULL;
    enum pp_status status = pp_transformer_create(c, &t, err);
    cr_assert((t != NULL) == (status == PP_OK));
    pp_transformer_destroy(t);
    return status;
}

Test(transformer, stages_must_cover_the_model_once_in_order) {
    struct pp_stage_modules m[3];
    struct pp_transformer_config c = small_config(DENSE_MODEL, 4, 2);
    c.stages = m;
    c.stage_count = 3;
    struct pp_err err = {0};
    split_evenly(4, 3, m);
    cr_assert_eq(create(&c, &err), PP_OK);
    m[0].embedding = false;
    cr_assert_eq(create(&c, &err), PP_E_FQN);
    split_evenly(4, 3, m);
    m[1].head = true;
    cr_assert_eq(create(&c, &err), PP_E_FQN);
    split_evenly(4, 3, m);
    m[1].layer_begin++;
    cr_assert_eq(create(&c, &err), PP_E_FQN);
    cr_assert_not_null(strstr(err.message, "stage 1"));
    split_evenly(4, 3, m);
    m[2].layer_end--;
    cr_assert_eq(create(&c, &err), PP_E_FQN);
    cr_assert_not_null(strstr(err.message, "3 layers, the model has 4"));
    split_evenly(4, 3, m);
    m[1].layer_end = 5;
    cr_assert_eq(create(&c, &err), PP_E_FQN);
}

Test(transformer, counts_and_texts_are_checked) {
    struct pp_stage_modules m[1];
    split_evenly(4, 1, m);
    struct pp_transformer_config c = small_config(MOE_MODEL, 4, 2);
    c.stages = m;
    c.stage_count = 1;
    cr_assert_eq(create(&c, NULL), PP_OK);
    c.microbatches = 0;
    cr_assert_eq(create(&c, NULL), PP_E_RANGE);
    c.microbatches = 2;
    c.sequences = 1 << 20;
    cr_assert_eq(create(&c, NULL), PP_OK);
    c.length = 9; /* times two experts */
    cr_assert_eq(create(&c, NULL), PP_E_RANGE);
    c.sequences = 0;
    cr_assert_eq(create(&c, NULL), PP_E_RANGE);
    c.sequences = 1;
    int32_t text[10] = {0};
    c.tokens = text;
    c.token_count = 9;
    cr_assert_eq(create(&c, NULL), PP_E_RANGE);
    c.token_count = 10;
    cr_assert_eq(create(&c, NULL), PP_OK);
    text[3] = 24;
    struct pp_err err = {0};
    cr_assert_eq(create(&c, &err), PP_E_RANGE);
    cr_assert_not_null(strstr(err.message, "token 3 of the text is 24, expected 0 to 23"));
    text[3] = -1;
    cr_assert_eq(create(&c, NULL), PP_E_RANGE);
    c.shape.layers = 0;
    cr_assert_eq(create(&c, NULL), PP_E_MODEL);
}

static enum pp_status open_one(const struct pp_transformer *t, struct pp_sched *s,
                               const struct pp_device_ops *device, struct pp_err *err) {
    struct pp_host *host = NULL;
    struct pp_transformer_rank *rank = NULL;
    cr_assert_eq(pp_host_create(&host, NULL), PP_OK);
    enum pp_status status = pp_transformer_open(t, s, 0, device, host, &rank, err);
    pp_transformer_close(rank);
    pp_host_destroy(host);
    pp_sched_destroy(s);
    return status;
}

Test(transformer, schedules_that_do_not_fit_are_refused) {
    struct pp_transformer_config c = small_config(MOE_MODEL, 4, 4);
    struct pp_transformer *t = make_transformer(&c, 2);
    struct pp_err err = {0};
    cr_assert_eq(open_one(t, make_schedule("1F1B", 2, 1, 4), &pp_host_ops, &err), PP_OK);
    cr_assert_eq(open_one(t, make_schedule("Seq1F1B", 2, 1, 4), &pp_host_ops, &err), PP_E_SCHEDULE);
    cr_assert_not_null(strstr(err.message, "slices"));
    cr_assert_not_null(strstr(err.hint, "1F1B"));
    cr_assert_eq(open_one(t, make_schedule("1F1B", 2, 1, 5), &pp_host_ops, &err), PP_E_RANGE);
    cr_assert_eq(open_one(t, make_schedule("1F1B", 3, 1, 4), &pp_host_ops, &err), PP_E_STAGES);
    cr_assert_eq(open_one(t, make_schedule("DualPipe", 2, 2, 4), &pp_host_ops, &err), PP_OK);
    struct pp_device_ops simple = pp_host_ops;
    simple.route = NULL;
    cr_assert_eq(open_one(t, make_schedule("1F1B", 2, 1, 4), &simple, &err), PP_E_MODEL);
    pp_transformer_destroy(t);
}

/* ---- sizes and state ---- */

Test(sizes, a_dense_layer_keeps_what_the_table_says) {
    struct pp_shape s = small_shape(DENSE_MODEL, 8);
    s.hidden = 64;
    s.heads = 4;
    s.head_dim = 16;
    s.ffn = 192;
    struct pp_batch_shape batch = {2, 32};
    struct pp_stage_modules one = {.layer_begin = 2, .layer_end = 3};
    struct pp_stage_modules two = {.layer_begin = 2, .layer_end = 4};
    int64_t kept = pp_stash_bytes(&s, &two, &batch, 4) - pp_stash_bytes(&s, &one, &batch, 4);
    int64_t statistics = 2 + 4; /* of norms and of attention */
    cr_assert_eq(kept, 64 * 4 * (6 * 64 + 2 * 32 + 3 * 192 + statistics));
    int64_t half = pp_stash_bytes(&s, &two, &batch, 2) - pp_stash_bytes(&s, &one, &batch, 2);
    cr_assert_eq(half, 64 * 2 * (6 * 64 + 2 * 32 + 3 * 192) + 64 * 4 * statistics);
}

Test(sizes, state_is_what_the_modules_hold) {
    for (int32_t kind = 0; kind < MODEL_KIND_COUNT; kind++) {
        struct pp_transformer_config c = small_config(kind, 5, 2);
        struct pipeline p;
        open_pipeline(&p, &c, 3);
        struct tensors t = list_tensors(p.ranks, 3, 3, false);
        int64_t held = 0;
        for (int32_t i = 0; i < t.count; i++) {
            held += t.states[i].count;
            cr_assert_eq(t.states[i].grad == NULL, i % 3 != 0);
            cr_assert_eq((uintptr_t)find_tensor(&t, t.states[i].name), (uintptr_t)&t.states[i]);
        }
        int64_t params = 0;
        for (int32_t module = PP_MODULE_EMBEDDING; module <= c.shape.layers; module++) {
            params += pp_shape_module_params(&c.shape, module);
        }
        cr_assert_eq(held, 3 * params);
        int64_t fixed = p.fixed_bytes[0] + p.fixed_bytes[1] + p.fixed_bytes[2];
        cr_assert(fixed >= 16 * params && fixed < 16 * params + 3 * 40000);
        free(t.states);
        close_pipeline(&p);
    }
}

Test(sizes, what_is_taken_on_the_device_is_what_was_told) {
    static const char *const names[] = {"1F1B", "Interleaved1F1B", "DualPipe"};
    for (int32_t kind = 0; kind < MODEL_KIND_COUNT; kind++) {
        for (int32_t i = 0; i < 3; i++) {
            struct pp_transformer_config c = small_config(kind, 5, 4);
            struct pp_sched *s = make_schedule(names[i], 2, i == 0 ? 1 : 2, 4);
            struct pp_transformer *t = make_transformer(&c, s->part_count);
            int64_t input[8];
            int64_t stash[8];
            int64_t fixed[8];
            int64_t told = 0;
            pp_transformer_sizes(t, s, sizeof(float), input, stash, fixed);
            for (int32_t module = PP_MODULE_EMBEDDING; i == 2 && module <= c.shape.layers;
                 module++) { /* what comes from the copies: the runtime's, not the device's */
                told -= 4 * pp_shape_module_params(&c.shape, module);
            }
            for (int32_t stage = 0; stage < s->stage_count; stage++) {
                told += s->stage_rank[stage] == 0 ? fixed[stage] : 0;
            }
            allocated_bytes = 0;
            struct pp_device_ops device = test_device(false);
            cr_assert_eq(open_one(t, s, &device, NULL), PP_OK);
            cr_assert(allocated_bytes <= told && allocated_bytes > told - 8, "%lld bytes, not %lld",
                      (long long)allocated_bytes, (long long)told);
            pp_transformer_destroy(t);
        }
    }
}

Test(sizes, parameters_are_drawn_by_name) {
    struct pp_transformer_config c = small_config(MOE_SHARED_MODEL, 3, 2);
    struct pipeline p;
    open_pipeline(&p, &c, 2);
    struct tensors t = list_tensors(p.ranks, 2, 2, false);
    static const char *const names[] = {"model.layers.2.mlp.experts.gate_up_proj",
                                        "model.layers.1.mlp.shared_experts.up_proj.weight",
                                        "model.layers.0.self_attn.k_proj.weight",
                                        "model.layers.2.mlp.experts.down_proj",
                                        "model.embed_tokens.weight",
                                        "model.layers.1.mlp.gate.weight",
                                        "lm_head.weight"};
    static const int64_t in[] = {16, 16, 16, 16, 1024, 16, 16};
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++) {
        const struct pp_state *state = find_tensor(&t, names[i]);
        for (int64_t k = 0; k < state->count; k++) {
            float drawn = pp_draw(c.seed, pp_draw_stream(names[i]), (uint64_t)k);
            cr_assert_eq(state->data[k], drawn * (float)(1 / sqrt((double)in[i])));
        }
    }
    const struct pp_state *norm = find_tensor(&t, "model.layers.1.post_attention_layernorm.weight");
    const struct pp_state *moment = find_tensor(&t, "lm_head.weight.v");
    for (int64_t k = 0; k < 16; k++) {
        cr_assert(norm->data[k] == 1 && moment->data[k] == 0);
    }
    free(t.states);
    close_pipeline(&p);
}

/* ---- actions that do not compute ---- */

static struct pp_sched *lower_reducing_often(int32_t microbatches) {
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    options.reduce_every = 1;
    struct pp_sched *s = make_schedule("GPipe", 1, 1, microbatches);
    struct pp_sched *lowered = NULL;
    cr_assert_eq(pp_sched_lower(s, &options, &lowered, NULL), PP_OK);
    pp_sched_destroy(s);
    return lowered;
}

Test(actions, only_the_last_of_several_reductions_scales_and_adds) {
    struct pp_transformer_config c = small_config(DENSE_MODEL, 2, 4);
    struct pipeline p;
    open_pipeline(&p, &c, 1);
    struct pp_program program = {.sched = lower_reducing_often(4)};
    int64_t bytes;
    float *grads = (float *)pp_transformer_ops.exchange(p.ranks[0], 0, &bytes);
    int64_t count = bytes / (int64_t)sizeof *grads;
    float *copy = malloc((size_t)bytes);
    for (int64_t i = 0; i < count; i++) {
        grads[i] = (float)i;
        copy[i] = 0.5f;
    }
    int32_t reductions = 0;
    for (int32_t i = 0; i < program.sched->action_count; i++) {
        const struct pp_action *a = &program.sched->actions[i];
        if (a->type == PP_REDUCE_GRAD) {
            struct pp_work w = {.program = &program, .index = i, .action = *a, .copy_grad = copy};
            cr_assert_eq(grads[7], 7);
            start_action(p.ranks[0], &w, PP_REDUCE_GRAD);
            reductions++;
        }
    }
    cr_assert_eq(reductions, 4);
    for (int64_t i = 0; i < count; i++) {
        cr_assert_eq(grads[i], ((float)i + 0.5f) * 0.25f);
    }
    free(copy);
    pp_sched_destroy((struct pp_sched *)program.sched);
    close_pipeline(&p);
}

Test(actions, what_is_offloaded_comes_back_elsewhere) {
    struct pp_transformer_config c = small_config(MOE_SHARED_MODEL, 4, 1);
    struct pipeline p;
    struct pipeline straight;
    open_pipeline(&p, &c, 2);
    open_pipeline(&straight, &c, 2);
    run_step(&straight, 0, false, false);
    int64_t bytes = p.input_bytes[1];
    void *stream = take_buffer(bytes);
    void *grad = take_buffer(bytes);
    void *stash = take_buffer(p.stash_bytes[0]);
    struct pp_work first = {.action = {.stage = 0}, .output = stream, .stash = stash};
    for (int32_t i = 0; i < 2; i++) {
        pp_transformer_ops.begin_step(p.ranks[i], 0, NULL);
    }
    start_action(p.ranks[0], &first, PP_F);
    struct pp_work w = {.action = {.stage = 1},
                        .input = stream,
                        .stash = take_buffer(p.stash_bytes[1]),
                        .host_input = take_buffer(bytes),
                        .host_stash = take_buffer(p.stash_bytes[1])};
    start_action(p.ranks[1], &w, PP_F);
    start_action(p.ranks[1], &w, PP_OFFLOAD);
    give_buffer(w.stash, p.stash_bytes[1]);
    memset(stream, POISON, (size_t)bytes);
    w.input = take_buffer(bytes);
    w.stash = take_buffer(p.stash_bytes[1]);
    start_action(p.ranks[1], &w, PP_RELOAD);
    give_buffer(w.host_input, bytes);
    give_buffer(w.host_stash, p.stash_bytes[1]);
    w.input_grad = grad;
    start_action(p.ranks[1], &w, PP_B);
    first.output_grad = grad;
    first.host_stash = take_buffer(p.stash_bytes[0]);
    start_action(p.ranks[0], &first, PP_OFFLOAD); /* no input: the first stage */
    memset(stash, POISON, (size_t)p.stash_bytes[0]);
    start_action(p.ranks[0], &first, PP_RELOAD);
    give_buffer(first.host_stash, p.stash_bytes[0]);
    start_action(p.ranks[0], &first, PP_B);
    struct tensors a = list_tensors(p.ranks, 2, 2, false);
    struct tensors b = list_tensors(straight.ranks, 2, 2, false);
    cr_assert(compare_tensors(&a, &b).bitwise);
    give_buffer(w.input, bytes);
    give_buffer(w.stash, p.stash_bytes[1]);
    give_buffer(stash, p.stash_bytes[0]);
    give_buffer(stream, bytes);
    give_buffer(grad, bytes);
    free(a.states);
    free(b.states);
    close_pipeline(&p);
    close_pipeline(&straight);
}

Test(actions, nothing_is_taken_while_a_step_runs) {
    struct pp_transformer_config c = small_config(MOE_SHARED_MODEL, 3, 2);
    struct pipeline p;
    open_pipeline(&p, &c, 2);
    allocated_bytes = 0;
    run_step(&p, 0, true, true);
    cr_assert_eq(allocated_bytes, 0);
    close_pipeline(&p);
}

Test(actions, messages_are_not_the_transformers) {
    struct pp_transformer_config c = small_config(DENSE_MODEL, 2, 1);
    struct pipeline p;
    open_pipeline(&p, &c, 1);
    struct pp_work w = {.action = {.stage = 0, .type = PP_SEND_F}};
    struct pp_err err = {0};
    cr_assert_eq(pp_transformer_ops.start(p.ranks[0], &w, &err), PP_E_ARG);
    cr_assert_not_null(strstr(err.message, "0SEND_F0"));
    close_pipeline(&p);
}

/* ---- profile ---- */

Test(profile, median_and_spread_of_the_last) {
    struct pp_profile p = {0};
    cr_assert_eq(pp_profile_init(&p, PP_MODULE_EMBEDDING, 4, NULL), PP_OK);
    struct pp_profile_row rows[4];
    cr_assert_eq(pp_profile_rows(&p, rows, 4), 0);
    for (int32_t i = 0; i < 100; i++) {
        pp_profile_add(&p, 1, PP_I, i < 36 ? 1000000 : i); /* 36..99 stay */
    }
    pp_profile_add(&p, PP_MODULE_EMBEDDING, PP_W, 7);
    pp_profile_add(&p, 2, PP_F, 4);
    pp_profile_add(&p, 2, PP_F, 10);
    cr_assert_eq(pp_profile_rows(&p, rows, 2), 3);
    cr_assert_eq(pp_profile_rows(&p, rows, 4), 3);
    cr_assert(rows[0].module == PP_MODULE_EMBEDDING && rows[0].type == PP_W &&
              rows[0].median_ns == 7 && rows[0].spread_ns == 0 && rows[0].count == 1);
    cr_assert(rows[1].module == 1 && rows[1].type == PP_I && rows[1].median_ns == 67 &&
              rows[1].spread_ns == 16 && rows[1].count == 100);
    cr_assert(rows[2].module == 2 && rows[2].type == PP_F && rows[2].median_ns == 7 &&
              rows[2].spread_ns == 3 && rows[2].count == 2);
    pp_profile_deinit(&p);
}

Test(profile, every_module_that_ran_has_its_rows) {
    struct pp_transformer_config c = small_config(MOE_MODEL, 3, 2);
    struct pipeline p;
    open_pipeline(&p, &c, 2);
    run_step(&p, 0, false, false);
    struct pp_profile_row rows[32];
    int32_t found = 0;
    for (int32_t rank = 0; rank < 2; rank++) {
        int32_t count = pp_transformer_ops.profile(p.ranks[rank], rows, 32);
        for (int32_t i = 0; i < count; i++) {
            cr_assert_eq(rows[i].count, 2);
            cr_assert(rows[i].module != PP_MODULE_EMBEDDING || rows[i].type != PP_I);
            cr_assert(rows[i].module != 3 || rows[i].type != PP_W); /* the head's W is in its I */
        }
        found += count;
    }
    cr_assert_eq(found, 2 + 3 * 3 + 2);
    close_pipeline(&p);
}
