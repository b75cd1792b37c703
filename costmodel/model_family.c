/* Traits of the model families, as the modeling code of each in Hugging Face transformers builds
 * its modules. Facts only; the counts they lead to are checked in tests/costmodel/test_model.c. */
#include "costmodel/model_priv.h"

#include <string.h>

static const struct pp_family families[] = {
    /* name, tied, gated, norm vectors, norms, attention bias, output bias, mlp bias, qk norm,
       head dim, has */
    {"llama", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_KEY_NO, PP_QK_NONE, 0, 0},
    {"mistral", false, true, 1, 2, PP_NEVER, PP_NEVER, PP_NEVER, PP_QK_NONE, 0, 0},
    {"ministral", false, true, 1, 2, PP_NEVER, PP_NEVER, PP_NEVER, PP_QK_NONE, 0, 0},
    {"ministral3", false, true, 1, 2, PP_NEVER, PP_NEVER, PP_NEVER, PP_QK_NONE, 0, 0},
    {"mixtral", false, true, 1, 2, PP_NEVER, PP_NEVER, PP_NEVER, PP_QK_NONE, 0, 0},
    {"qwen2", false, true, 1, 2, PP_ALWAYS, PP_NEVER, PP_NEVER, PP_QK_NONE, 0, 0},
    {"qwen2_vl_text", false, true, 1, 2, PP_ALWAYS, PP_NEVER, PP_NEVER, PP_QK_NONE, 0, 0},
    {"qwen2_vl", false, true, 1, 2, PP_ALWAYS, PP_NEVER, PP_NEVER, PP_QK_NONE, 0, 0},
    {"qwen2_5_vl_text", false, true, 1, 2, PP_ALWAYS, PP_NEVER, PP_NEVER, PP_QK_NONE, 0, 0},
    {"qwen2_5_vl", false, true, 1, 2, PP_ALWAYS, PP_NEVER, PP_NEVER, PP_QK_NONE, 0, 0},
    {"qwen2_moe", false, true, 1, 2, PP_KEY_YES, PP_NEVER, PP_NEVER, PP_QK_NONE, 0,
     PP_HAS_SHARED_GATE},
    {"qwen3", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_HEAD, 128, 0},
    {"qwen3_vl_text", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_HEAD, 128, 0},
    {"qwen3_moe", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_HEAD, 0, 0},
    {"qwen3_vl_moe_text", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_HEAD, 0, 0},
    {"deepseek_v2", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 0,
     PP_HAS_NOAUX_CORRECTION},
    {"deepseek_v3", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 0,
     PP_HAS_CORRECTION},
    {"deepseek_v32", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 0,
     PP_HAS_CORRECTION},
    {"kimi_k2", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 0,
     PP_HAS_CORRECTION},
    {"glm4_moe_lite", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 0,
     PP_HAS_CORRECTION},
    {"glm_moe_dsa", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 0,
     PP_HAS_CORRECTION},
    {"glm4_moe", false, true, 1, 2, PP_KEY_NO, PP_NEVER, PP_NEVER, PP_QK_HEAD_IF, 0,
     PP_HAS_CORRECTION},
    {"glm4v_moe_text", false, true, 1, 2, PP_KEY_YES, PP_NEVER, PP_NEVER, PP_QK_NONE, 0,
     PP_HAS_CORRECTION},
    {"glm", false, true, 1, 2, PP_KEY_NO, PP_NEVER, PP_NEVER, PP_QK_NONE, 128, 0},
    {"glm4", false, true, 1, 4, PP_KEY_NO, PP_NEVER, PP_NEVER, PP_QK_NONE, 128, 0},
    {"dots1", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_HEAD, 0, PP_HAS_CORRECTION},
    {"minimax_m2", false, true, 1, 2, PP_NEVER, PP_NEVER, PP_NEVER, PP_QK_FULL_UNLESS, 0,
     PP_HAS_CORRECTION},
    {"gpt_oss", false, true, 1, 2, PP_KEY_YES, PP_KEY_YES, PP_NEVER, PP_QK_NONE, 64,
     PP_HAS_SINKS | PP_HAS_ROUTER_BIAS | PP_HAS_WINDOW_ALTERNATING},
    {"gemma", true, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 256, 0},
    {"gemma2", true, true, 1, 4, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 256,
     PP_HAS_WINDOW_ALTERNATING},
    {"gemma3_text", true, true, 1, 4, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_HEAD, 256, 0},
    {"phi3", false, true, 1, 2, PP_NEVER, PP_NEVER, PP_NEVER, PP_QK_NONE, 0, 0},
    {"phi", false, false, 2, 1, PP_ALWAYS, PP_ALWAYS, PP_ALWAYS, PP_QK_NONE, 0, PP_HAS_HEAD_BIAS},
    {"phimoe", false, true, 2, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 0, 0},
    {"nemotron", false, false, 2, 2, PP_KEY_NO, PP_KEY_NO, PP_KEY_NO, PP_QK_NONE, 0, 0},
    {"granite", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_KEY_NO, PP_QK_NONE, 0, 0},
    {"granitemoe", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 0, 0},
    {"olmo", false, true, 0, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 0, 0},
    {"olmo2", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_FULL, 0, 0},
    {"olmo3", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_FULL, 0, 0},
    {"olmoe", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_FULL, 0, 0},
    {"smollm3", true, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_KEY_NO, PP_QK_NONE, 0, 0},
    {"seed_oss", false, true, 1, 2, PP_KEY_YES, PP_NEVER, PP_KEY_NO, PP_QK_NONE, 128, 0},
    {"exaone4", false, true, 1, 2, PP_NEVER, PP_NEVER, PP_NEVER, PP_QK_HEAD, 0, 0},
    {"ernie4_5", true, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_KEY_NO, PP_QK_NONE, 128, 0},
    {"internlm2", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 0, 0},
    {"internlm3", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_KEY_NO, PP_QK_NONE, 0, 0},
    {"baichuan", false, true, 1, 2, PP_NEVER, PP_NEVER, PP_NEVER, PP_QK_NONE, 0, 0},
    {"stablelm", false, true, 2, 2, PP_KEY_NO, PP_NEVER, PP_NEVER, PP_QK_NONE, 0, 0},
    {"cohere", true, true, 1, 1, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_FULL_IF, 0, 0},
    {"cohere2", true, true, 1, 1, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 0, 0},
    {"starcoder2", true, false, 2, 2, PP_KEY_YES, PP_KEY_YES, PP_KEY_YES, PP_QK_NONE, 0, 0},
    {"llama4_text", false, true, 1, 2, PP_KEY_NO, PP_KEY_NO, PP_NEVER, PP_QK_NONE, 128,
     PP_HAS_LLAMA4_MLP},
    {"gpt2", true, false, 2, 2, PP_ALWAYS, PP_ALWAYS, PP_ALWAYS, PP_QK_NONE, 0,
     PP_HAS_POSITIONS | PP_HAS_FFN_4H},
    {"gpt_bigcode", true, false, 2, 2, PP_ALWAYS, PP_ALWAYS, PP_ALWAYS, PP_QK_NONE, 0,
     PP_HAS_POSITIONS | PP_HAS_FFN_4H | PP_HAS_MULTI_QUERY},
    {"gpt_neox", false, false, 2, 2, PP_KEY_YES, PP_KEY_YES, PP_ALWAYS, PP_QK_NONE, 0, 0},
    {"gptj", false, false, 2, 1, PP_NEVER, PP_NEVER, PP_ALWAYS, PP_QK_NONE, 0,
     PP_HAS_FFN_4H | PP_HAS_HEAD_BIAS},
    {"opt", true, false, 2, 2, PP_ALWAYS, PP_ALWAYS, PP_ALWAYS, PP_QK_NONE, 0,
     PP_HAS_POSITIONS | PP_HAS_POSITION_OFFSET},
    {"bloom", true, false, 2, 2, PP_ALWAYS, PP_ALWAYS, PP_ALWAYS, PP_QK_NONE, 0,
     PP_HAS_EMBEDDING_NORM | PP_HAS_FFN_4H},
    {"falcon", true, false, 2, 1, PP_KEY_NO, PP_KEY_NO, PP_KEY_NO, PP_QK_NONE, 0,
     PP_HAS_FFN_4H | PP_HAS_MULTI_QUERY},
};

static const struct pp_family unknown_family = {"",
                                                false,
                                                true,
                                                1,
                                                2,
                                                PP_KEY_NO,
                                                PP_KEY_NO,
                                                PP_KEY_NO,
                                                PP_QK_HEAD_IF,
                                                0,
                                                PP_HAS_NOAUX_CORRECTION};

const struct pp_family *pp_family_find(const char *model_type) {
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        if (strcmp(families[i].name, model_type) == 0) {
            return &families[i];
        }
    }
    return &unknown_family;
}

int64_t pp_family_default(const struct pp_family *family, const char *key) {
    static const struct {
        const char *family, *key;
        int64_t value;
    } defaults[] = {
        /* the published text towers leave out what equals their class's default */
        {"gemma3_text", "vocab_size", 262208},     {"gemma3_text", "num_attention_heads", 8},
        {"gemma3_text", "num_key_value_heads", 4}, {"gemma3_text", "sliding_window_pattern", 6},
        {"cohere2", "sliding_window_pattern", 4},
    };
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        if (strcmp(defaults[i].family, family->name) == 0 && strcmp(defaults[i].key, key) == 0) {
            return defaults[i].value;
        }
    }
    return 0;
}
