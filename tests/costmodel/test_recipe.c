#include "costmodel/nearest.h"
#include "costmodel/recipe.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum pp_status try_text(const char *text, struct pp_recipe **recipe_p, struct pp_err *err) {
    struct pp_doc *doc = NULL;
    enum pp_status status = pp_doc_parse("r.yaml", text, strlen(text), &doc, err);
    return status == PP_OK ? pp_recipe_from_doc(doc, recipe_p, err) : status;
}

static struct pp_recipe *read_text(const char *text) {
    struct pp_recipe *r = NULL;
    struct pp_err err = {0};
    cr_assert_eq(try_text(text, &r, &err), PP_OK, "%d:%d %s", err.line, err.column, err.message);
    return r;
}

static const struct pp_lint *find_lint(const struct pp_recipe *r, const char *code) {
    for (int32_t i = 0; i < r->lint_count; i++) {
        if (strcmp(r->lints[i].code, code) == 0) {
            return &r->lints[i];
        }
    }
    return NULL;
}

Test(recipe, an_empty_block_takes_automodels_defaults) {
    struct pp_recipe *r = read_text("distributed:\n  pp_size: 2\n  pipeline: {}\n");
    const struct pp_pipeline_config *p = &r->pipeline;
    cr_assert(r->has_pipeline_block);
    cr_assert_str_eq(p->pp_schedule, "1f1b");
    cr_assert_null(p->pp_schedule_csv);
    cr_assert(p->pp_microbatch_size == 1 && p->pp_batch_size == 1);
    cr_assert(!p->has_layers_per_stage && p->round == PP_ROUND_NONE && !p->has_fqns);
    cr_assert(p->patch_inner_model && p->patch_causal_lm_model);
    cr_assert(!p->patch_stage_backward_maybe_with_nosync && !p->scale_grads_in_schedule);
    cr_assert(p->dtype == NULL && p->loss_fn == NULL && p->pp_seq_len == 0);
    cr_assert_str_eq(r->strategy, "fsdp2");
    cr_assert(r->pp_size == 2 && r->tp_size == 1 && r->cp_size == 1 && r->ep_size == 1);
    cr_assert(r->dp_size == 0 && r->dp_replicate_size == 0 && !r->sequence_parallel);
    cr_assert(r->recompute == PP_RECOMPUTE_NONE && r->defer_fsdp_grad_sync);
    cr_assert(!r->has_reshard_after_forward);
    cr_assert(r->param_dtype == PP_DTYPE_BF16 && r->reduce_dtype == PP_DTYPE_FP32);
    cr_assert(r->global_batch_size == 0 && r->local_batch_size == 1 && r->node_count == 0);
    cr_assert(r->model_id == NULL && r->model_config == NULL && !r->peft);
    cr_assert_eq(r->model_dtype, PP_DTYPE_BF16);
    cr_assert_eq(pp_recipe_seq_len(r), 0);
    cr_assert_eq(r->lint_count, 0);
    pp_recipe_destroy(r);
}

/* Every field we read, none at its default. */
static const char full_text[] =
    "recipe: TrainFinetuneRecipeForNextTokenPrediction\n"
    "step_scheduler:\n  global_batch_size: 512\n  local_batch_size: 16\n"
    "model:\n"
    "  _target_: nemo_automodel.NeMoAutoModelForCausalLM.from_config\n"
    "  config:\n"
    "    pretrained_model_name_or_path: acme/Deep-61\n"
    "    num_hidden_layers: 61\n"
    "    text_config: {vocab_size: 1000}\n"
    "  torch_dtype: torch.float32\n"
    "  backend: {attn: te, enable_fsdp_optimizations: true}\n"
    "distributed:\n"
    "  strategy: FSDP2\n"
    "  pp_size: 4\n  tp_size: 2\n  cp_size: 2\n  ep_size: 8\n  dp_size: 16\n"
    "  dp_replicate_size: 2\n  sequence_parallel: true\n"
    "  activation_checkpointing: Selective\n  defer_fsdp_grad_sync: false\n"
    "  reshard_after_forward: true\n"
    "  mp_policy: {param_dtype: float16, reduce_dtype: bf16, output_dtype: float32}\n"
    "  pipeline:\n"
    "    pp_schedule: Interleaved1F1B\n    pp_schedule_csv: s.csv\n    pp_microbatch_size: 2\n"
    "    pp_batch_size: 8\n    layers_per_stage: 8\n"
    "    round_virtual_stages_to_pp_multiple: up\n"
    "    module_fqns_per_model_part: [[model.embed_tokens, model.layers.0], [lm_head]]\n"
    "    patch_inner_model: false\n    patch_causal_lm_model: false\n"
    "    patch_stage_backward_maybe_with_nosync: true\n    dtype: torch.bfloat16\n"
    "    scale_grads_in_schedule: true\n    loss_fn: a.b.loss\n    pp_seq_len: 4096\n"
    "loss_fn: {_target_: nemo_automodel.components.loss.linear_ce.FusedLinearCrossEntropy}\n"
    "dataset: {seq_len: 2048}\n"
    "packed_sequence: {packed_sequence_size: 8192}\n"
    "optimizer: {_target_: torch.optim.AdamW, lr: 1e-5}\n"
    "peft: {dim: 32}\n"
    "benchmark: {num_nodes: 8}\n";

Test(recipe, every_field_is_read) {
    struct pp_recipe *r = read_text(full_text);
    const struct pp_pipeline_config *p = &r->pipeline;
    cr_assert_str_eq(p->pp_schedule, "Interleaved1F1B");
    cr_assert_str_eq(p->pp_schedule_csv, "s.csv");
    cr_assert(p->pp_microbatch_size == 2 && p->pp_batch_size == 8);
    cr_assert(p->has_layers_per_stage && p->layers_per_stage == 8 && p->round == PP_ROUND_UP);
    cr_assert(p->has_fqns && p->fqns.part_count == 2);
    cr_assert(p->fqns.part_begin[1] == 2 && p->fqns.part_begin[2] == 3);
    cr_assert_str_eq(p->fqns.names[2], "lm_head");
    cr_assert(!p->patch_inner_model && !p->patch_causal_lm_model);
    cr_assert(p->patch_stage_backward_maybe_with_nosync && p->scale_grads_in_schedule);
    cr_assert_str_eq(p->dtype, "torch.bfloat16");
    cr_assert_str_eq(p->loss_fn, "a.b.loss");
    cr_assert_eq(p->pp_seq_len, 4096);
    cr_assert_str_eq(r->strategy, "fsdp2");
    cr_assert(r->pp_size == 4 && r->tp_size == 2 && r->cp_size == 2 && r->ep_size == 8);
    cr_assert(r->dp_size == 16 && r->dp_replicate_size == 2 && r->sequence_parallel);
    cr_assert(r->recompute == PP_RECOMPUTE_SELECTIVE && !r->defer_fsdp_grad_sync);
    cr_assert(r->has_reshard_after_forward && r->reshard_after_forward);
    cr_assert(r->param_dtype == PP_DTYPE_FP16 && r->reduce_dtype == PP_DTYPE_BF16);
    cr_assert(r->global_batch_size == 512 && r->local_batch_size == 16);
    cr_assert(r->dataset_seq_len == 2048 && r->packed_sequence_size == 8192);
    cr_assert_eq(pp_recipe_seq_len(r), 8192);
    cr_assert_str_eq(r->model_id, "acme/Deep-61");
    cr_assert_eq(pp_node_count(r->model_config), 3);
    cr_assert_eq(r->model_dtype, PP_DTYPE_FP32);
    cr_assert(r->enable_fsdp_optimizations);
    cr_assert_str_eq(r->attention_backend, "te");
    cr_assert_not(r->fused_cross_entropy, "not kept without patch_causal_lm_model");
    cr_assert_str_eq(r->optimizer, "AdamW");
    cr_assert(r->peft && r->peft_dim == 32 && r->node_count == 8);
    static const char *const codes[] = {
        "W_CSV_NAME",       "W_BATCH_OVERWRITTEN", "W_NOSYNC_OVERWRITTEN",    "W_SCALE_GRADS",
        "W_DTYPE_MISMATCH", "W_LOSS_FN",           "W_FQNS_LAYERS_PER_STAGE", "W_THD",
        "W_FUSED_CE",
    };
    cr_assert_eq(r->lint_count, sizeof codes / sizeof *codes);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        const struct pp_lint *lint = find_lint(r, codes[i]);
        cr_assert_not_null(lint, "%s", codes[i]);
        cr_assert(lint->line > 0 && lint->column > 0 && lint->message[0] != '\0');
        cr_assert(strlen(lint->message) + 1 < sizeof lint->message, "%s is cut", codes[i]);
    }
    cr_assert_eq(find_lint(r, "W_BATCH_OVERWRITTEN")->line, 30);
    pp_recipe_destroy(r);
}

#define PP2(block) "distributed:\n  pp_size: 2\n  pipeline:\n" block

Test(recipe, lints_that_need_a_recipe_of_their_own) {
    static const struct {
        const char *text, *code;
    } cases[] = {
        {"distributed: {pp_size: 1, pipeline: {foo: 1}}", "W_PP_DISABLED"},
        {"autopipeline: {pp_schedule: 1f1b}", "W_AUTOPIPELINE"},
        {"teacher_distributed: {pipeline: {}}", "W_TEACHER"},
        {PP2("    round_virtual_stages_to_pp_multiple: up"), "W_ROUND_IGNORED"},
        {PP2("    pp_schedule: dualpipev"), "W_DUALPIPEV_PLACEMENT"},
        {PP2("    pp_schedule: ZBVZeroBubble"), "W_V_LOSS"},
        {PP2("    dtype: bf16"), "W_DTYPE_UNUSED"},
        {"dataset: {seq_length: 8}\n" PP2("    pp_schedule: 1f1b"), "W_SEQ_LENGTH"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pp_recipe *r = read_text(cases[i].text);
        cr_assert_eq(r->lint_count, 1, "%s: %d", cases[i].code, r->lint_count);
        cr_assert_str_eq(r->lints[0].code, cases[i].code);
        pp_recipe_destroy(r);
    }
}

Test(recipe, strings_mean_what_automodels_loader_makes_of_them) {
    struct pp_recipe *r = read_text("distributed:\n  dp_size: none\n  tp_size:\n  ep_size: '4'\n"
                                    "  pp_size: 2\n  activation_checkpointing: \"off\"\n"
                                    "  pipeline:\n    layers_per_stage: None\n"
                                    "    pp_schedule_csv: ''\n    patch_inner_model: 'false'\n"
                                    "    pp_microbatch_size: 0o4\n");
    cr_assert(r->dp_size == 0 && r->tp_size == 1 && r->ep_size == 4);
    cr_assert(!r->pipeline.has_layers_per_stage && r->pipeline.pp_schedule_csv == NULL);
    cr_assert(!r->pipeline.patch_inner_model && r->pipeline.pp_microbatch_size == 4);
    cr_assert_eq(r->recompute, PP_RECOMPUTE_NONE);
    pp_recipe_destroy(r);
}

Test(recipe, dtype_names) {
    static const struct {
        const char *name;
        int bytes; /* 0: unknown */
    } cases[] = {
        {"bfloat16", 2}, {"torch.bfloat16", 2}, {"BF16", 2},    {"torch.bf16", 0},  {"fp16", 0},
        {"fp32", 0},     {"Half", 2},           {"float32", 4}, {"torch.float", 4}, {"double", 8},
        {"int8", 8},     {"complex64", 0},      {"", 0},        {"torch.", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum pp_dtype dtype = PP_DTYPE_BF16;
        bool known = pp_dtype_from_name(cases[i].name, &dtype);
        cr_assert_eq(known ? pp_dtype_bytes(dtype) : 0, cases[i].bytes, "%s", cases[i].name);
    }
}

struct refusal {
    const char *text;
    enum pp_status status;
    int32_t line, column;
    const char *part; /* of message and hint */
};

Test(recipe, what_automodel_or_reason_refuses_is_refused_with_its_place) {
    static const struct refusal cases[] = {
        {"[1]", PP_E_TYPE, 1, 1, "a mapping"},
        {"distributed: 4", PP_E_TYPE, 1, 14, "a mapping"},
        {"model: gpt", PP_E_TYPE, 1, 8, "a mapping"},
        {"distributed:\n  pp_size: 4\n", PP_E_PIPELINE, 2, 12, "pipeline: {}"},
        {"distributed:\n  pp_size: 4\n  pipeline: null\n", PP_E_PIPELINE, 2, 12, "pipeline: {}"},
        {"distributed:\n  pp_size: 4\n  pipeline: x\n", PP_E_TYPE, 3, 13, "a mapping"},
        {"distributed: {pp_size: 2, strategy: ddp, pipeline: {}}", PP_E_PIPELINE, 1, 37, "fsdp2"},
        {"distributed: {strategy: fsdp}", PP_E_VALUE, 1, 25, "mean fsdp2"},
        {"distributed: {pp_size: 0}", PP_E_RANGE, 1, 24, "1 to"},
        {"distributed: {tp_size: -1}", PP_E_RANGE, 1, 24, "1 to"},
        {"distributed: {dp_size: 1000000000000000000000000000000}", PP_E_RANGE, 1, 24, "1 to"},
        {"distributed: {pp_size: two}", PP_E_TYPE, 1, 24, "an integer"},
        {"distributed: {pp_size: 2.0}", PP_E_TYPE, 1, 24, "a float ('2.0')"},
        {"distributed: {pp_size: true}", PP_E_TYPE, 1, 24, "a boolean"},
        {"distributed: {pp_size: $PP}", PP_E_TYPE, 1, 24, "--set distributed.pp_size="},
        {"distributed: {activation_checkpointing: maybe}", PP_E_VALUE, 1, 41, "selective"},
        {"distributed: {activation_checkpointing: 1}", PP_E_TYPE, 1, 41, "selective"},
        {"distributed: {mp_policy: {param_dtype: fp32}}", PP_E_VALUE, 1, 40, "float32"},
        {PP2("    _target_: x.y"), PP_E_KEY, 4, 5, "remove it"},
        {PP2("    foo: 1"), PP_E_KEY, 4, 5, "'foo'"},
        {PP2("    pp_microbatchsize: 1"), PP_E_KEY, 4, 5, "mean pp_microbatch_size"},
        {PP2("    pp_schedule: null"), PP_E_PIPELINE, 4, 18, "both null"},
        {PP2("    pp_schedule: none\n    pp_schedule_csv: a.csv"), PP_E_PIPELINE, 4, 18, "stages"},
        {PP2("    pp_schedule: 3"), PP_E_TYPE, 4, 18, "a string"},
        {PP2("    pp_microbatch_size: x"), PP_E_TYPE, 4, 25, "an integer"},
        {PP2("    pp_microbatch_size: null"), PP_E_TYPE, 4, 25, "null"},
        {PP2("    pp_microbatch_size: 0"), PP_E_RANGE, 4, 25, "is 0"},
        {PP2("    pp_microbatch_size: -2"), PP_E_RANGE, 4, 25, "is -2"},
        {PP2("    pp_batch_size: 99999999999"), PP_E_RANGE, 4, 20, "1048576"},
        {PP2("    layers_per_stage: 0"), PP_E_RANGE, 4, 23, "is 0"},
        {PP2("    layers_per_stage: 2.5"), PP_E_TYPE, 4, 23, "a float"},
        {PP2("    round_virtual_stages_to_pp_multiple: garbage"), PP_E_ROUND, 4, 42, "up, down"},
        {PP2("    round_virtual_stages_to_pp_multiple: Up"), PP_E_ROUND, 4, 42, "up, down"},
        {PP2("    round_virtual_stages_to_pp_multiple: 1"), PP_E_TYPE, 4, 42, "up, down"},
        {PP2("    module_fqns_per_model_part: []"), PP_E_VALUE, 4, 33, "empty"},
        {PP2("    module_fqns_per_model_part: [a]"), PP_E_TYPE, 4, 34, "list of lists"},
        {PP2("    module_fqns_per_model_part: [[a], [1]]"), PP_E_TYPE, 4, 40, "module name"},
        {PP2("    patch_inner_model: 1"), PP_E_TYPE, 4, 24, "true or false"},
        {PP2("    dtype: fp16"), PP_E_VALUE, 4, 12, "no dtype"},
        {PP2("    dtype: 16"), PP_E_TYPE, 4, 12, "dtype"},
        {PP2("    loss_fn: [x]"), PP_E_TYPE, 4, 14, "dotted"},
        {PP2("    pp_seq_len: 0"), PP_E_RANGE, 4, 17, "is 0"},
        {"step_scheduler: {local_batch_size: 0}", PP_E_RANGE, 1, 36, "is 0"},
        {"step_scheduler: {global_batch_size: 1e30}", PP_E_TYPE, 1, 37, "an integer"},
        {"dataset: {seq_len: [1]}", PP_E_TYPE, 1, 20, "a sequence"},
        {"packed_sequence: {packed_sequence_size: -1}", PP_E_RANGE, 1, 41, "is -1"},
        {"model: {torch_dtype: fp16}", PP_E_VALUE, 1, 22, "no dtype"},
        {"peft: {dim: 0}", PP_E_RANGE, 1, 13, "is 0"},
        {"ci: {nodes: many}", PP_E_TYPE, 1, 13, "an integer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct refusal *c = &cases[i];
        struct pp_recipe *r = NULL;
        struct pp_err err = {0};
        cr_assert_eq(try_text(c->text, &r, &err), c->status, "%s: %s %s", c->text,
                     pp_status_code(err.status), err.message);
        cr_assert_null(r);
        cr_assert(err.line == c->line && err.column == c->column, "%s: %d:%d %s", c->text, err.line,
                  err.column, err.message);
        cr_assert(strstr(err.message, c->part) != NULL || strstr(err.hint, c->part) != NULL,
                  "%s: %s (%s)", c->text, err.message, err.hint);
        cr_assert_str_eq(err.file, "r.yaml");
    }
}

Test(recipe, with_pp_size_1_nothing_in_the_block_is_an_error) {
    struct pp_recipe *r = read_text("distributed:\n  pp_size: 1\n  pipeline:\n    foo: 1\n"
                                    "    pp_microbatch_size: 4\n");
    cr_assert(r->has_pipeline_block && r->pipeline.pp_microbatch_size == 1);
    pp_recipe_destroy(r);
    r = read_text("distributed:\n  pipeline:\n    pp_microbatch_size: 4\n");
    cr_assert_eq(r->pipeline.pp_microbatch_size, 4);
    pp_recipe_destroy(r);
}

static const char *write_temporary(char path[32], const char *text) {
    strcpy(path, "/tmp/pp_recipe_XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    FILE *f = fdopen(fd, "w");
    fputs(text, f);
    fclose(f);
    return path;
}

Test(recipe, settings_are_applied_in_order) {
    char path[32];
    write_temporary(path, "distributed:\n  pp_size: 2\n  pipeline: {pp_schedule: 1f1b}\n");
    const struct pp_setting settings[] = {
        {"distributed.pipeline.pp_schedule", "gpipe"},
        {"distributed.pipeline.layers_per_stage", "3"},
        {"distributed.pipeline.pp_schedule", "interleaved1f1b"},
        {"distributed.pipeline.module_fqns_per_model_part", "[['a'], ['b', 'c']]"},
        {"step_scheduler.local_batch_size", "8"},
    };
    struct pp_recipe *r = NULL;
    cr_assert_eq(pp_recipe_read(path, settings, 5, &r, NULL), PP_OK);
    cr_assert_str_eq(r->pipeline.pp_schedule, "interleaved1f1b");
    cr_assert(r->pipeline.has_layers_per_stage && r->pipeline.layers_per_stage == 3);
    cr_assert(r->local_batch_size == 8 && r->pipeline.fqns.part_begin[2] == 3);
    pp_recipe_destroy(r);
    const struct pp_setting bad[] = {{"distributed.pipeline.layers_per_stage", "-1"},
                                     {"distributed.pipeline.nonsense", "1"},
                                     {"distributed.pp_size.x", "1"}};
    static const enum pp_status statuses[] = {PP_E_RANGE, PP_E_KEY, PP_E_VALUE};
    for (int i = 0; i < 3; i++) {
        struct pp_err err = {0};
        r = NULL;
        cr_assert_eq(pp_recipe_read(path, &bad[i], 1, &r, &err), statuses[i], "%s", err.message);
        cr_assert_null(r);
        cr_assert_eq(strncmp(err.message, "--set distributed.", 18), 0, "%s", err.message);
        cr_assert_eq(err.line, 0);
    }
    remove(path);
}

Test(recipe, nearest_word) {
    static const char *const words[] = {"pp_schedule", "pp_schedule_csv", "dtype"};
    cr_assert_str_eq(pp_nearest("pp_shedule", words, 3), "pp_schedule");
    cr_assert_str_eq(pp_nearest("DTYPES", words, 3), "dtype");
    cr_assert_null(pp_nearest("something_else", words, 3));
    cr_assert_null(pp_nearest("x", words, 0));
    char longword[300];
    memset(longword, 'x', 299);
    longword[299] = '\0';
    cr_assert_null(pp_nearest(longword, words, 3));
}

/* Random edits of a whole recipe: any answer is fine, but it must be one. */
Test(recipe, mutated_recipes_break_nothing) {
    static const char *const spice[] = {
        "0", "-1", "null", "[1]", "{a: 1}", "99999999999999999999", "1e999", "'", "x", "true",
        "~", ": ", "\n",   "*a",  "2.5"};
    uint32_t rng = 99;
    int read = 0;
    for (int i = 0; i < 2500; i++) {
        char text[2 * sizeof full_text];
        strcpy(text, full_text);
        for (int k = 0; k <= i % 3; k++) {
            rng = rng * 1664525u + 1013904223u;
            size_t at = (rng >> 8) % strlen(text);
            rng = rng * 1664525u + 1013904223u;
            const char *word = spice[(rng >> 8) % (sizeof spice / sizeof *spice)];
            size_t drop = (rng >> 20) % 8;
            char tail[2 * sizeof full_text];
            strcpy(tail, strlen(text + at) > drop ? text + at + drop : "");
            snprintf(text + at, sizeof text - at, "%s%s", word, tail);
        }
        struct pp_recipe *r = NULL;
        struct pp_err err = {0};
        if (try_text(text, &r, &err) == PP_OK) {
            read++;
            cr_assert(r->pp_size >= 1 && r->local_batch_size >= 1);
            cr_assert(r->pipeline.pp_microbatch_size >= 1);
            pp_recipe_destroy(r);
        } else {
            cr_assert(err.message[0] != '\0' && r == NULL);
        }
    }
    cr_assert_gt(read, 50);
}

/* --- the oracle: Automodel's own recipes, field by field ---------------------------------- */

enum { COLUMNS = 33 };

static char *shared_text(const char *name) {
    char path[512];
    char *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, PP_SHARED_DIR "/recipes/%s", name);
    return pp_read_file(path, 1 << 24, &text, &size, NULL) == PP_OK ? text : NULL;
}

/* Splits at tabs in place. */
static int split_row(char *line, char *cells[COLUMNS]) {
    int n = 0;
    for (char *p = line; n < COLUMNS; n++) {
        cells[n] = p;
        p = strchr(p, '\t');
        if (p == NULL) {
            return n + 1;
        }
        *p++ = '\0';
    }
    return n;
}

static void expect_number(const char *row, const char *column, const char *cell, int64_t value) {
    cr_assert_eq(cell[0] != '\0' ? strtoll(cell, NULL, 10) : 0, value, "%s %s: '%s', %lld", row,
                 column, cell, (long long)value);
}

static void expect_text(const char *row, const char *column, const char *cell, const char *value) {
    cr_assert_str_eq(cell, value != NULL ? value : "", "%s %s: '%s', '%s'", row, column, cell,
                     value != NULL ? value : "");
}

static void expect_flag(const char *row, const char *column, const char *cell, bool value,
                        bool absent) {
    bool expected = cell[0] != '\0' ? strcmp(cell, "True") == 0 : absent;
    cr_assert_eq(value, expected, "%s %s: '%s'", row, column, cell);
}

static void compare_sizes(const struct pp_recipe *r, char **c) {
    static const char *const names[] = {"pp", "tp", "cp", "ep", "dp", "replicate"};
    const int32_t values[] = {r->pp_size, r->tp_size, r->cp_size,
                              r->ep_size, r->dp_size, r->dp_replicate_size};
    for (int i = 0; i < 6; i++) {
        bool size_1 = c[6 + i][0] == '\0' && i < 4;
        expect_number(c[0], names[i], size_1 ? "1" : c[6 + i], values[i]);
    }
    bool named = strchr(c[5], '.') == NULL && c[5][0] != '\0'; /* else a _target_: not read */
    expect_text(c[0], "strategy", named ? c[5] : "fsdp2", r->strategy);
}

static void compare_pipeline(const struct pp_recipe *r, char **c) {
    static const char *const rounds[] = {"", "up", "down"};
    const struct pp_pipeline_config *p = &r->pipeline;
    expect_text(c[0], "schedule", c[12], p->pp_schedule);
    expect_text(c[0], "csv", c[13], p->pp_schedule_csv);
    expect_number(c[0], "microbatch", c[14][0] != '\0' ? c[14] : "1", p->pp_microbatch_size);
    expect_number(c[0], "batch", c[15][0] != '\0' ? c[15] : "1", p->pp_batch_size);
    expect_number(c[0], "layers_per_stage", c[16],
                  p->has_layers_per_stage ? p->layers_per_stage : 0);
    expect_text(c[0], "round", c[17], rounds[p->round]);
    cr_assert_eq(p->has_fqns, c[18][0] != '\0');
    expect_flag(c[0], "patch_inner", c[19], p->patch_inner_model, true);
    expect_flag(c[0], "patch_causal", c[20], p->patch_causal_lm_model, true);
    expect_text(c[0], "dtype", c[21], p->dtype);
    expect_flag(c[0], "scale_grads", c[22], p->scale_grads_in_schedule, false);
    expect_number(c[0], "pp_seq_len", c[23], p->pp_seq_len);
}

static void compare_training(const struct pp_recipe *r, char **c) {
    expect_number(c[0], "local", c[24][0] != '\0' ? c[24] : "1", r->local_batch_size);
    expect_number(c[0], "global", c[25], r->global_batch_size);
    expect_number(c[0], "seq_len", c[26], r->dataset_seq_len);
    expect_number(c[0], "packed", c[27], r->packed_sequence_size);
    expect_flag(c[0], "recompute", c[28], r->recompute == PP_RECOMPUTE_FULL, false);
    expect_flag(c[0], "defer", c[29], r->defer_fsdp_grad_sync, true);
    expect_flag(c[0], "optimizations", c[30], r->enable_fsdp_optimizations, false);
    expect_number(c[0], "nodes", c[31], r->node_count);
    cr_assert_eq(r->peft, strcmp(c[32], "yes") == 0, "%s peft", c[0]);
    if (c[4][0] == '\0') {
        expect_text(c[0], "model", c[3], r->model_id);
    } else {
        expect_number(
            c[0], "layers override", c[4],
            strtoll(pp_node_text(pp_node_get(r->model_config, "num_hidden_layers")), NULL, 10));
    }
}

static struct pp_recipe *read_shared(const char *row_path) {
    char path[600] = PP_SHARED_DIR "/recipes/";
    size_t n = strlen(path);
    for (const char *p = row_path; *p != '\0' && n + 3 < sizeof path; p++) {
        path[n++] = *p == '/' ? '_' : *p;
        if (*p == '/') {
            path[n++] = '_';
        }
    }
    path[n] = '\0';
    struct pp_recipe *r = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_recipe_read(path, NULL, 0, &r, &err), PP_OK, "%s:%d:%d %s", path, err.line,
                 err.column, err.message);
    return r;
}

Test(recipe, automodels_own_recipes_field_by_field) {
    char *table = shared_text("recipes.tsv");
    if (table == NULL) {
        cr_skip_test("../shared is not there");
    }
    int rows = 0;
    int compared = 0;
    for (char *line = strchr(table, '\n') + 1; *line != '\0'; rows++) {
        char *end = strchr(line, '\n');
        *end = '\0';
        char *c[COLUMNS];
        cr_assert_eq(split_row(line, c), COLUMNS);
        struct pp_recipe *r = read_shared(c[0]);
        bool own_mesh = strncmp(c[1], "teacher", 7) != 0; /* else the columns are the teacher's */
        if (own_mesh) {
            compare_sizes(r, c);
            compare_training(r, c);
            compared++;
        }
        if (own_mesh && strcmp(c[1], "autopipeline") != 0) {
            compare_pipeline(r, c);
        }
        cr_assert_eq(find_lint(r, "W_AUTOPIPELINE") != NULL, strcmp(c[1], "autopipeline") == 0);
        pp_recipe_destroy(r);
        line = end + 1;
    }
    free(table);
    cr_assert_eq(rows, 94);
    cr_assert_eq(compared, 92);
}
