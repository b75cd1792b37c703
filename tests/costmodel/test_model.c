#include "costmodel/model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum pp_status parse(const char *text, struct pp_model *m, struct pp_err *err) {
    struct pp_doc *doc = NULL;
    enum pp_status status = pp_doc_parse("config.json", text, strlen(text), &doc, err);
    if (status == PP_OK) {
        status = pp_model_from_node(doc, pp_doc_root(doc), NULL, NULL, m, err);
    }
    pp_doc_destroy(doc);
    return status;
}

static int64_t total_of(const char *text, bool active) {
    struct pp_model m;
    struct pp_err err = {0};
    cr_assert_eq(parse(text, &m, &err), PP_OK, "%s", err.message);
    return pp_model_total_params(&m, active);
}

static const char *const tiny = "{\"model_type\": \"llama\", \"hidden_size\": 64, "
                                "\"num_hidden_layers\": 3, \"num_attention_heads\": 4, "
                                "\"intermediate_size\": 128, \"vocab_size\": 100}";

Test(model, a_tiny_llama_by_hand) {
    /* layer: 4 * 64 * 64 attention, 3 * 64 * 128 MLP, 2 * 64 norms */
    const int64_t layer = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64;
    cr_assert_eq(total_of(tiny, false), 3 * layer + 2 * 64 * 100 + 64);
    cr_assert_eq(total_of(tiny, true), 3 * layer + 2 * 64 * 100 + 64);
}

/* One line of a totals table: file, 11 tab-separated columns, total, active, first and last layer.
 */
static void check_row(char *line, const char *dir) {
    char *cells[16] = {0};
    int n = 0;
    for (char *at = line; at != NULL && n < 16; n++) {
        cells[n] = at;
        at = strchr(at, '\t');
        if (at != NULL) {
            *at++ = '\0';
        }
    }
    cr_assert(n >= 14, "%s", line);
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", dir, cells[0]);
    struct pp_doc *doc = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_doc_read(path, &doc, &err), PP_OK, "%s: %s", path, err.message);
    struct pp_model m;
    cr_assert_eq(pp_model_from_node(doc, pp_doc_root(doc), NULL, NULL, &m, &err), PP_OK, "%s: %s",
                 path, err.message);
    pp_doc_destroy(doc);
    cr_assert_eq(m.layer_count, atoi(cells[3]), "%s", path);
    cr_assert_eq(m.tied, strcmp(cells[9], "True") == 0, "%s", path);
    cr_expect_eq(pp_model_total_params(&m, false), atoll(cells[12]), "%s: total %lld, not %s", path,
                 (long long)pp_model_total_params(&m, false), cells[12]);
    cr_expect_eq(pp_model_total_params(&m, true), atoll(cells[13]), "%s: active %lld, not %s", path,
                 (long long)pp_model_total_params(&m, true), cells[13]);
    char layers[64];
    snprintf(layers, sizeof layers, "%lld,%lld", (long long)pp_model_layer_params(&m, 0, false),
             (long long)pp_model_layer_params(&m, m.layer_count - 1, false));
    cr_expect_str_eq(layers, cells[14], "%s: layers %s, not %s", path, layers, cells[14]);
}

Test(model, agrees_with_every_published_config) {
    const char *dir = PP_SHARED_DIR "/models";
    FILE *f = fopen(PP_SHARED_DIR "/models/models.tsv", "r");
    if (f == NULL) {
        cr_skip_test("../shared is not there");
    }
    char line[4096];
    int rows = 0;
    cr_assert_not_null(fgets(line, sizeof line, f));
    while (fgets(line, sizeof line, f) != NULL) {
        check_row(line, dir);
        rows++;
    }
    fclose(f);
    cr_assert_eq(rows, 36);
}

/* Totals of families that the catalogue does not ship, as their makers publish them. */
Test(model, other_families_count_as_published) {
    static const struct {
        const char *what, *config;
        int64_t total;
    } rows[] = {
        {"Llama-2-7B, no kv heads, no head_dim, no tie key",
         "{model_type: llama, hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32, "
         "intermediate_size: 11008, vocab_size: 32000}",
         6738415616},
        {"Qwen2.5-0.5B, tied",
         "{model_type: qwen2, hidden_size: 896, num_hidden_layers: 24, num_attention_heads: 14, "
         "num_key_value_heads: 2, intermediate_size: 4864, vocab_size: 151936, "
         "tie_word_embeddings: true}",
         494032768},
        {"Qwen3-0.6B, tied",
         "{model_type: qwen3, hidden_size: 1024, num_hidden_layers: 28, num_attention_heads: 16, "
         "num_key_value_heads: 8, head_dim: 128, intermediate_size: 3072, vocab_size: 151936, "
         "tie_word_embeddings: true}",
         596049920},
        {"Gemma-2B",
         "{model_type: gemma, hidden_size: 2048, num_hidden_layers: 18, num_attention_heads: 8, "
         "num_key_value_heads: 1, head_dim: 256, intermediate_size: 16384, vocab_size: 256000}",
         2506172416},
        {"Gemma-2-2B",
         "{model_type: gemma2, hidden_size: 2304, num_hidden_layers: 26, num_attention_heads: 8, "
         "num_key_value_heads: 4, intermediate_size: 9216, vocab_size: 256000}",
         2614341888},
        {"Phi-3-mini",
         "{model_type: phi3, hidden_size: 3072, num_hidden_layers: 32, num_attention_heads: 32, "
         "num_key_value_heads: 32, intermediate_size: 8192, vocab_size: 32064}",
         3821079552},
        {"Phi-2",
         "{model_type: phi, hidden_size: 2560, num_hidden_layers: 32, num_attention_heads: 32, "
         "intermediate_size: 10240, vocab_size: 51200}",
         2779683840},
        {"Pythia-6.9B",
         "{model_type: gpt_neox, hidden_size: 4096, num_hidden_layers: 32, "
         "num_attention_heads: 32, intermediate_size: 16384, vocab_size: 50432}",
         6857302016},
        {"OPT-6.7B",
         "{model_type: opt, hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32, "
         "ffn_dim: 16384, vocab_size: 50272, max_position_embeddings: 2048}",
         6658473984},
        {"BLOOM-7B1",
         "{model_type: bloom, n_embd: 4096, n_layer: 30, n_head: 32, vocab_size: 250880}",
         7069016064},
        {"Falcon-7B",
         "{model_type: falcon, hidden_size: 4544, num_hidden_layers: 32, "
         "num_attention_heads: 71, multi_query: true, vocab_size: 65024}",
         6921720704},
        {"OLMo-2-7B",
         "{model_type: olmo2, hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32, "
         "intermediate_size: 11008, vocab_size: 100352}",
         7298617344},
        {"OLMoE-1B-7B",
         "{model_type: olmoe, hidden_size: 2048, num_hidden_layers: 16, num_attention_heads: 16, "
         "intermediate_size: 1024, vocab_size: 50304, num_experts: 64, num_experts_per_tok: 8}",
         6919161856},
        {"Qwen1.5-MoE-A2.7B, a gated shared expert",
         "{model_type: qwen2_moe, hidden_size: 2048, num_hidden_layers: 24, "
         "num_attention_heads: 16, num_key_value_heads: 16, intermediate_size: 5632, "
         "moe_intermediate_size: 1408, shared_expert_intermediate_size: 5632, num_experts: 60, "
         "num_experts_per_tok: 4, decoder_sparse_step: 1, vocab_size: 151936}",
         14315784192},
        {"DeepSeek-V2",
         "{model_type: deepseek_v2, hidden_size: 5120, num_hidden_layers: 60, "
         "num_attention_heads: 128, num_key_value_heads: 128, intermediate_size: 12288, "
         "moe_intermediate_size: 1536, n_routed_experts: 160, num_experts_per_tok: 6, "
         "n_shared_experts: 2, first_k_dense_replace: 1, q_lora_rank: 1536, kv_lora_rank: 512, "
         "qk_nope_head_dim: 128, qk_rope_head_dim: 64, v_head_dim: 128, vocab_size: 102400}",
         235741434880},
        {"StarCoder2-15B",
         "{model_type: starcoder2, hidden_size: 6144, num_hidden_layers: 40, "
         "num_attention_heads: 48, num_key_value_heads: 4, intermediate_size: 24576, "
         "vocab_size: 49152, tie_word_embeddings: false}",
         15957889024},
        {"Command-R, one norm a layer",
         "{model_type: cohere, hidden_size: 8192, num_hidden_layers: 40, "
         "num_attention_heads: 64, num_key_value_heads: 64, intermediate_size: 22528, "
         "vocab_size: 256000}",
         34980831232},
        {"Phi-3.5-MoE, biases on attention and head",
         "{model_type: phimoe, hidden_size: 4096, num_hidden_layers: 32, "
         "num_attention_heads: 32, num_key_value_heads: 8, intermediate_size: 6400, "
         "vocab_size: 32064, num_local_experts: 16, num_experts_per_tok: 2, "
         "attention_bias: true, lm_head_bias: true}",
         41873153344},
        {"Granite-3.1-8B",
         "{model_type: granite, hidden_size: 4096, num_hidden_layers: 40, "
         "num_attention_heads: 32, num_key_value_heads: 8, intermediate_size: 12800, "
         "vocab_size: 49155, tie_word_embeddings: true}",
         8170848256},
        {"SmolLM2-1.7B",
         "{model_type: llama, hidden_size: 2048, num_hidden_layers: 24, "
         "num_attention_heads: 32, num_key_value_heads: 32, intermediate_size: 8192, "
         "vocab_size: 49152, tie_word_embeddings: true}",
         1711376384},
        {"GLM-4-9B-0414, four norms",
         "{model_type: glm4, hidden_size: 4096, num_hidden_layers: 40, "
         "num_attention_heads: 32, num_key_value_heads: 2, head_dim: 128, "
         "intermediate_size: 13696, vocab_size: 151552, attention_bias: true}",
         9400279040},
        {"Mistral-Nemo-12B",
         "{model_type: mistral, hidden_size: 5120, num_hidden_layers: 40, "
         "num_attention_heads: 32, num_key_value_heads: 8, head_dim: 128, "
         "intermediate_size: 14336, vocab_size: 131072}",
         12247782400},
        {"Mistral-Small-24B",
         "{model_type: mistral, hidden_size: 5120, num_hidden_layers: 40, "
         "num_attention_heads: 32, num_key_value_heads: 8, head_dim: 128, "
         "intermediate_size: 32768, vocab_size: 131072}",
         23572403200},
        {"Seed-OSS-36B",
         "{model_type: seed_oss, hidden_size: 5120, num_hidden_layers: 64, "
         "num_attention_heads: 80, num_key_value_heads: 8, head_dim: 128, "
         "intermediate_size: 27648, vocab_size: 155136}",
         36151104512},
        {"SmolLM3-3B",
         "{model_type: smollm3, hidden_size: 2048, num_hidden_layers: 36, "
         "num_attention_heads: 16, num_key_value_heads: 4, intermediate_size: 11008, "
         "vocab_size: 128256}",
         3075098624},
        {"ERNIE-4.5-0.3B",
         "{model_type: ernie4_5, hidden_size: 1024, num_hidden_layers: 18, "
         "num_attention_heads: 16, num_key_value_heads: 2, head_dim: 128, "
         "intermediate_size: 3072, vocab_size: 103424}",
         360748032},
        {"StableLM-2-1.6B",
         "{model_type: stablelm, hidden_size: 2048, num_hidden_layers: 24, "
         "num_attention_heads: 32, num_key_value_heads: 32, intermediate_size: 5632, "
         "vocab_size: 100352, use_qkv_bias: true}",
         1644515328},
        {"dots.llm1",
         "{model_type: dots1, hidden_size: 4096, num_hidden_layers: 62, "
         "num_attention_heads: 32, num_key_value_heads: 32, head_dim: 128, "
         "intermediate_size: 10944, moe_intermediate_size: 1408, n_routed_experts: "
         "128, num_experts_per_tok: 6, n_shared_experts: 2, first_k_dense_replace: 1, "
         "vocab_size: 152064}",
         142774381696},
        {"Gemma-3-4B text tower",
         "{model_type: gemma3_text, hidden_size: 2560, num_hidden_layers: 34, "
         "num_attention_heads: 8, num_key_value_heads: 4, head_dim: 256, "
         "intermediate_size: 10240, vocab_size: 262208}",
         3880263168},
        {"GPT-J-6B", "{model_type: gptj, n_embd: 4096, n_layer: 28, n_head: 16, vocab_size: 50400}",
         6050882784},
        {"EXAONE-4.0-1.2B",
         "{model_type: exaone4, hidden_size: 2048, num_hidden_layers: 30, "
         "num_attention_heads: 32, num_key_value_heads: 8, head_dim: 64, "
         "intermediate_size: 4096, vocab_size: 102400, tie_word_embeddings: true}",
         1279391488},
        {"Llama-4-Scout text tower",
         "{model_type: llama4_text, hidden_size: 5120, num_hidden_layers: 48, "
         "num_attention_heads: 40, num_key_value_heads: 8, head_dim: 128, "
         "intermediate_size: 8192, intermediate_size_mlp: 16384, num_local_experts: "
         "16, num_experts_per_tok: 1, interleave_moe_layer_step: 1, vocab_size: "
         "202048}",
         107769861120},
        {"Falcon-40B",
         "{model_type: falcon, hidden_size: 8192, num_hidden_layers: 60, "
         "num_attention_heads: 128, num_kv_heads: 8, new_decoder_architecture: true, "
         "vocab_size: 65024}",
         41303293952},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t total = total_of(rows[i].config, false);
        cr_expect_eq(total, rows[i].total, "%s: %lld, not %lld", rows[i].what, (long long)total,
                     (long long)rows[i].total);
    }
}

static enum pp_status parse_with(const char *text, const char *overrides, struct pp_model *m,
                                 struct pp_err *err) {
    struct pp_doc *doc = NULL, *over = NULL;
    cr_assert_eq(pp_doc_parse("config.json", text, strlen(text), &doc, err), PP_OK);
    cr_assert_eq(pp_doc_parse("recipe.yaml", overrides, strlen(overrides), &over, err), PP_OK);
    enum pp_status status =
        pp_model_from_node(doc, pp_doc_root(doc), over, pp_doc_root(over), m, err);
    pp_doc_destroy(doc);
    pp_doc_destroy(over);
    return status;
}

Test(model, overrides_win_and_null_takes_away) {
    struct pp_model m;
    struct pp_err err = {0};
    cr_assert_eq(parse_with(tiny, "{num_hidden_layers: 5, foreign: [1]}", &m, &err), PP_OK);
    cr_assert_eq(m.layer_count, 5);
    cr_assert_eq(m.hidden, 64);
    cr_assert_eq(parse_with(tiny, "{head_dim: 32}", &m, &err), PP_OK);
    cr_assert_eq(m.head_dim, 32);
    cr_assert_eq(parse_with(tiny, "{n_layer: null, num_hidden_layers: null}", &m, &err), PP_E_KEY);
    cr_assert_eq(parse_with(tiny, "{num_hidden_layers: many}", &m, &err), PP_E_TYPE);
    cr_assert_str_eq(err.file, "recipe.yaml");
}

Test(model, the_language_tower_of_a_multimodal_model_is_read) {
    const char *nested =
        "{model_type: qwen3_vl_moe, tie_word_embeddings: false, vision_config: {hidden_size: 9},"
        " text_config: {model_type: qwen3_moe, hidden_size: 2048, num_hidden_layers: 48,"
        " num_attention_heads: 32, num_key_value_heads: 4, head_dim: 128, intermediate_size: 6144,"
        " num_experts: 128, num_experts_per_tok: 8, moe_intermediate_size: 768,"
        " vocab_size: 151936}}";
    struct pp_model m;
    struct pp_err err = {0};
    cr_assert_eq(parse(nested, &m, &err), PP_OK, "%s", err.message);
    cr_assert_str_eq(m.family, "qwen3_moe");
    cr_assert_eq(pp_model_total_params(&m, false), 30532122624);
}

Test(model, towers_that_rely_on_the_defaults_of_their_class) {
    const char *nested = "{model_type: gemma3, text_config: {model_type: gemma3_text,"
                         " hidden_size: 2560, intermediate_size: 10240, num_hidden_layers: 34,"
                         " sliding_window: 1024}}";
    struct pp_model m;
    struct pp_err err = {0};
    cr_assert_eq(parse(nested, &m, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_model_total_params(&m, false), 3880263168);
    cr_assert_eq(m.sliding_every, 6);
    cr_assert(m.tied);
}

Test(model, a_family_nobody_knows_says_so) {
    struct pp_model m;
    struct pp_err err = {0};
    cr_assert_eq(parse_with(tiny, "{model_type: brandnew}", &m, &err), PP_OK);
    cr_assert(strstr(m.source, "'brandnew' is not known") != NULL, "%s", m.source);
    cr_assert_eq(parse_with(tiny, "{}", &m, &err), PP_OK);
    cr_assert_null(strstr(m.source, "not known"));
}

Test(model, which_layers_are_moe) {
    struct pp_model m;
    struct pp_err err = {0};
    const char *sparse =
        "{model_type: qwen2_moe, hidden_size: 64, num_hidden_layers: 8, num_attention_heads: 4,"
        " intermediate_size: 128, moe_intermediate_size: 32, num_experts: 4,"
        " num_experts_per_tok: 2, decoder_sparse_step: 2, mlp_only_layers: [3], vocab_size: 10}";
    cr_assert_eq(parse(sparse, &m, &err), PP_OK, "%s", err.message);
    static const bool moe[] = {false, true, false, false, false, true, false, true};
    for (int32_t i = 0; i < 8; i++) {
        cr_expect_eq(pp_model_is_moe_layer(&m, i), moe[i], "layer %d", i);
    }
}

Test(model, mistakes_say_what_and_where) {
    static const struct {
        const char *overrides;
        enum pp_status status;
        const char *says;
    } rows[] = {
        {"{hidden_size: null}", PP_E_KEY, "hidden_size|n_embd"},
        {"{vocab_size: null}", PP_E_KEY, "vocab_size"},
        {"{intermediate_size: null}", PP_E_KEY, "intermediate_size"},
        {"{hidden_size: '64'}", PP_E_TYPE, "hidden_size"},
        {"{hidden_size: 64.5}", PP_E_TYPE, "hidden_size"},
        {"{hidden_size: [64]}", PP_E_TYPE, "hidden_size is a sequence"},
        {"{tie_word_embeddings: 1}", PP_E_TYPE, "tie_word_embeddings"},
        {"{model_type: 7}", PP_E_TYPE, "model_type"},
        {"{hidden_size: 0}", PP_E_RANGE, "0"},
        {"{hidden_size: -64}", PP_E_RANGE, "-64"},
        {"{hidden_size: 99999999999999999999999}", PP_E_RANGE, "hidden_size"},
        {"{num_hidden_layers: 1000000000}", PP_E_RANGE, "num_hidden_layers"},
        {"{num_hidden_layers: 100000, hidden_size: 8000000, head_dim: 64, intermediate_size: "
         "90000000}",
         PP_E_RANGE, "parameters"},
        {"{num_attention_heads: 3}", PP_E_MODEL, "not divisible"},
        {"{num_key_value_heads: 3}", PP_E_MODEL, "num_key_value_heads"},
        {"{num_experts: 4}", PP_E_KEY, "num_experts_per_tok"},
        {"{num_experts: 4, num_experts_per_tok: 5}", PP_E_MODEL, "experts"},
        {"{num_experts: 4, num_experts_per_tok: 1, mlp_only_layers: 3}", PP_E_TYPE, "list"},
        {"{num_experts: 4, num_experts_per_tok: 1, mlp_only_layers: [-1]}", PP_E_RANGE, "-1"},
        {"{kv_lora_rank: 8}", PP_E_KEY, "qk_nope_head_dim"},
        {"{is_encoder_decoder: true}", PP_E_MODEL, "decoder"},
        {"{mamba_d_state: 128}", PP_E_MODEL, "mamba_d_state"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pp_model m = {.hidden = 77};
        struct pp_err err = {0};
        cr_expect_eq(parse_with(tiny, rows[i].overrides, &m, &err), rows[i].status, "%s: %s %s",
                     rows[i].overrides, pp_status_code(err.status), err.message);
        cr_expect(strstr(err.message, rows[i].says) != NULL, "%s: %s", rows[i].overrides,
                  err.message);
        cr_expect(err.file[0] != '\0', "%s: no place", rows[i].overrides);
        cr_expect_eq(m.hidden, 77, "outputs are written only on success");
    }
}

Test(model, random_damage_never_crashes) {
    static const char *const texts[] = {
        "{\"model_type\": \"deepseek_v3\", \"hidden_size\": 7168, \"num_hidden_layers\": 61, "
        "\"num_attention_heads\": 128, \"intermediate_size\": 18432, "
        "\"moe_intermediate_size\": 2048, \"n_routed_experts\": 256, "
        "\"num_experts_per_tok\": 8, \"n_shared_experts\": 1, \"first_k_dense_replace\": 3, "
        "\"q_lora_rank\": 1536, \"kv_lora_rank\": 512, \"qk_nope_head_dim\": 128, "
        "\"qk_rope_head_dim\": 64, \"v_head_dim\": 128, \"vocab_size\": 129280}",
        "{\"model_type\": \"gpt_oss\", \"hidden_size\": 2880, \"num_hidden_layers\": 4, "
        "\"num_attention_heads\": 64, \"num_key_value_heads\": 8, \"head_dim\": 64, "
        "\"intermediate_size\": 2880, \"num_local_experts\": 32, \"num_experts_per_tok\": 4, "
        "\"vocab_size\": 201088, \"sliding_window\": 128, "
        "\"layer_types\": [\"sliding_attention\", \"full_attention\"]}",
    };
    static const char bytes[] = "0123456789-.,:{}[]\"ntf x";
    uint64_t state = 99;
    int fine = 0;
    for (int round = 0; round < 4000; round++) {
        char text[1024];
        snprintf(text, sizeof text, "%s", texts[round % 2]);
        size_t size = strlen(text);
        for (int hit = 0; hit < 1 + round % 3; hit++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            text[(state >> 33) % size] = bytes[(state >> 20) % (sizeof bytes - 1)];
        }
        struct pp_model m;
        struct pp_err err = {0};
        if (parse(text, &m, &err) == PP_OK) {
            cr_assert_gt(pp_model_total_params(&m, false), 0);
            cr_assert_leq(pp_model_total_params(&m, true), pp_model_total_params(&m, false));
            fine++;
        } else {
            cr_assert(err.message[0] != '\0');
        }
    }
    cr_assert(fine > 50, "%d", fine);
}
