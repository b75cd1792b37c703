/* models and hardware. */
#include "tests/cli/run.h"

static const char tiny[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 8, \"intermediate_size\": 16,\n"
    " \"num_attention_heads\": 2, \"num_hidden_layers\": 3, \"vocab_size\": 10,\n"
    " \"tie_word_embeddings\": false}\n";

Test(cli_models, a_config_gives_counts_and_shape) {
    struct scratch scratch = make_scratch();
    char path[128];
    char args[256];
    scratch_write(&scratch, "config.json", tiny, sizeof tiny - 1, path);
    snprintf(args, sizeof args, "models %s", path);
    json_t *d = run_json(args, 0);
    /* a layer: 4 h^2 attention, 3 h f MLP, 2 norms; embedding, head, final norm */
    cr_assert_eq(integer_of(d, "parameters_total"), 3 * (4 * 64 + 3 * 8 * 16 + 16) + 160 + 8);
    cr_assert_eq(integer_of(d, "parameters_active"), integer_of(d, "parameters_total"));
    cr_assert_eq(integer_of(json_object_get(d, "shape"), "layers"), 3);
    json_decref(d);
    struct ran r = run_plan(args);
    cr_assert(strstr(text_of(&r.out), "parameters_total") != NULL);
    ran_free(&r);
    remove_scratch(&scratch);
}

Test(cli_models, the_catalogue) {
    json_t *d = run_json("models", 0);
    json_t *rows = json_object_get(d, "models");
    cr_assert_gt(json_array_size(rows), 20);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        cr_assert_gt(integer_of(row, "layers"), 0, "%s", string_of(row, "id"));
    }
    json_decref(d);
    struct ran r = run_plan("models");
    cr_assert_eq(r.code, 0);
    cr_assert(strstr(text_of(&r.out), "deepseek-ai/DeepSeek-V3 ") != NULL);
    ran_free(&r);
}

Test(cli_models, bad_files) {
    expect_error("models /nowhere/config.json", 3, "E_FILE", "/nowhere/config.json");
    expect_error("models /tmp", 3, "E_FILE", "/tmp");
    expect_error("models /dev/null", 3, "E_SYNTAX", "");
    expect_error("models a.json b.json", 2, "E_USAGE", "unexpected argument");
    struct scratch scratch = make_scratch();
    char path[128];
    char args[256];
    for (size_t size = 1; size + 2 < sizeof tiny; size += 20) { /* cut short */
        scratch_write(&scratch, "config.json", tiny, size, path);
        snprintf(args, sizeof args, "models %s", path);
        json_t *d = run_json(args, 3);
        cr_assert_not_null(json_object_get(d, "error"));
        json_decref(d);
    }
    remove_scratch(&scratch);
}

Test(cli_hardware, table_and_details) {
    json_t *d = run_json("hardware", 0);
    cr_assert_geq(json_array_size(json_object_get(d, "hardware")), 5);
    json_decref(d);
    d = run_json("hardware H100-SXM", 0);
    cr_assert_str_eq(string_of(d, "name"), "h100-sxm");
    cr_assert_eq(integer_of(d, "bf16_flops_per_s"), 989400000000000);
    cr_assert_eq(integer_of(d, "gpus_per_node"), 8);
    json_decref(d);
    struct ran r = run_plan("hardware gb200");
    cr_assert_eq(r.code, 0);
    cr_assert(strstr(text_of(&r.out), "memory_bytes_per_s") != NULL);
    ran_free(&r);
    r = run_plan("hardware");
    cr_assert(strstr(text_of(&r.out), "b200") != NULL);
    ran_free(&r);
}

Test(cli_hardware, unknown_names_get_the_list) {
    expect_error("hardware h900", 3, "E_HARDWARE", "h100-sxm");
}
