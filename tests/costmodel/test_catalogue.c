#include "costmodel/model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Published totals (without prediction layers) and the parameters one token uses. */
static const struct {
    const char *id;
    int32_t layers;
    int64_t total, active;
} totals[] = {
    {"meta-llama/Llama-3.2-1B", 16, 1235814400, 1235814400},
    {"meta-llama/Llama-3.2-3B", 28, 3212749824, 3212749824},
    {"meta-llama/Llama-3.1-8B", 32, 8030261248, 8030261248},
    {"meta-llama/Llama-3.1-70B", 80, 70553706496, 70553706496},
    {"meta-llama/Llama-3.1-405B", 126, 405853388800, 405853388800},
    {"Qwen/Qwen2.5-7B", 28, 7615616512, 7615616512},
    {"Qwen/Qwen2.5-32B", 64, 32763876352, 32763876352},
    {"Qwen/Qwen2.5-72B", 80, 72706203648, 72706203648},
    {"Qwen/Qwen3-4B", 36, 4022468096, 4022468096},
    {"Qwen/Qwen3-8B", 36, 8190735360, 8190735360},
    {"Qwen/Qwen3-32B", 64, 32762123264, 32762123264},
    {"Qwen/Qwen3-30B-A3B", 48, 30532122624, 3353032704},
    {"Qwen/Qwen3-235B-A22B", 94, 235093634560, 22190763520},
    {"mistralai/Mistral-7B-v0.1", 32, 7241732096, 7241732096},
    {"mistralai/Mistral-7B-v0.3", 32, 7248023552, 7248023552},
    {"mistralai/Mixtral-8x7B-v0.1", 32, 46702792704, 12879925248},
    {"mistralai/Mixtral-8x22B-v0.1", 56, 140620634112, 39152031744},
    {"deepseek-ai/DeepSeek-V2-Lite", 27, 15706484224, 2661150208},
    {"deepseek-ai/DeepSeek-V3", 61, 671026419200, 37552297472},
    {"moonshotai/Moonlight-16B-A3B", 27, 15960110208, 2914776192},
    {"moonshotai/Kimi-K2-Base", 61, 1026408232448, 32861500928},
    {"openai/gpt-oss-20b", 24, 20914757184, 4187440704},
    {"openai/gpt-oss-120b", 36, 116829156672, 5711982912},
    {"google/gemma-2-9b", 42, 9241705984, 9241705984},
    {"google/gemma-2-27b", 46, 27227128320, 27227128320},
    {"google/gemma-3-1b-pt", 26, 999885952, 999885952},
    {"google/gemma-3-27b-pt", 62, 27009346304, 27009346304},
    {"microsoft/phi-4", 40, 14659507200, 14659507200},
    {"zai-org/GLM-4.5", 92, 352797829024, 33632266144},
    {"zai-org/GLM-4.5-Air", 46, 106852251264, 13424129664},
    {"nvidia/Nemotron-4-340B-Base", 96, 341029195776, 341029195776},
    {"MiniMaxAI/MiniMax-M2", 62, 228689764864, 11030553088},
    {"openai-community/gpt2", 12, 124439808, 124439808},
    {"openai-community/gpt2-xl", 48, 1557611200, 1557611200},
    {"gpt3-175b", 96, 174604259328, 174604259328},
    {"nvidia/Minitron-4B-Base", 32, 4190509056, 4190509056},
};

static struct pp_catalogue *open_catalogue(void) {
    struct pp_catalogue *cat = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_catalogue_open(&cat, &err), PP_OK, "%s:%d: %s", err.file, err.line,
                 err.message);
    return cat;
}

Test(catalogue, counts_what_the_makers_publish) {
    struct pp_catalogue *cat = open_catalogue();
    for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
        const struct pp_model *m = pp_catalogue_find(cat, totals[i].id);
        cr_assert_not_null(m, "%s", totals[i].id);
        cr_expect_str_eq(m->id, totals[i].id);
        cr_expect_eq(m->layer_count, totals[i].layers, "%s", m->id);
        cr_expect_eq(pp_model_total_params(m, false), totals[i].total, "%s: %lld", m->id,
                     (long long)pp_model_total_params(m, false));
        cr_expect_eq(pp_model_total_params(m, true), totals[i].active, "%s: %lld", m->id,
                     (long long)pp_model_total_params(m, true));
    }
    pp_catalogue_close(cat);
}

Test(catalogue, finds_by_alias_and_by_the_last_path_component) {
    static const struct {
        const char *asked, *found;
    } names[] = {
        {"/path/to/deepseek-v32", "deepseek-ai/DeepSeek-V3.2"},
        {"deepseek-v3", "deepseek-ai/DeepSeek-V3"},
        {"/models/DeepSeek_V3/", "deepseek-ai/DeepSeek-V3"},
        {"meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.1-70B"},
        {"moonshotai/Kimi-K2.5", "moonshotai/Kimi-K2-Base"},
        {"zai-org/GLM-4.7", "zai-org/GLM-4.5"},
        {"MiniMaxAI/MiniMax-M2.7", "MiniMaxAI/MiniMax-M2"},
        {"Qwen/Qwen3-VL-235B-A22B-Instruct", "Qwen/Qwen3-235B-A22B"},
        {"Qwen/Qwen3-30B-A3B-Thinking-2507", "Qwen/Qwen3-30B-A3B"},
        {"LLAMA-3.1-8B", "meta-llama/Llama-3.1-8B"},
    };
    struct pp_catalogue *cat = open_catalogue();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct pp_model *m = pp_catalogue_find(cat, names[i].asked);
        cr_assert_not_null(m, "%s", names[i].asked);
        cr_expect_str_eq(m->id, names[i].found, "%s gave %s", names[i].asked, m->id);
    }
    static const char *const unknown[] = {
        "",          "/",        "...",          "model",
        "/dev/null", "deepseek", "deepseek-ai/", "deepseek-ai/DeepSeek-V4-Pro"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        cr_expect_null(pp_catalogue_find(cat, unknown[i]), "%s", unknown[i]);
    }
    pp_catalogue_close(cat);
}

Test(catalogue, depth_only_models_say_so) {
    struct pp_catalogue *cat = open_catalogue();
    const struct pp_model *m = pp_catalogue_find(cat, "zai-org/GLM-5.1");
    cr_assert_not_null(m);
    cr_assert_eq(m->hidden, 0);
    cr_assert_eq(m->layer_count, 78);
    int32_t depth_only = 0;
    for (int32_t i = 0; i < pp_catalogue_count(cat); i++) {
        m = pp_catalogue_at(cat, i);
        cr_expect(m->source[0] != '\0', "%s has no source", m->id);
        cr_expect(m->layer_count > 0, "%s", m->id);
        depth_only += m->hidden == 0;
    }
    cr_assert_eq(depth_only, 20);
    cr_assert_null(pp_catalogue_at(cat, pp_catalogue_count(cat)));
    cr_assert_null(pp_catalogue_at(cat, -1));
    pp_catalogue_close(cat);
}

/* Model and layer count of a row of the expected splits; false if the count is not known. */
static bool split_row(char *line, char **model_p, int *layers_p) {
    char *cells[4] = {0};
    char *at = line;
    for (int n = 0; n < 4 && at != NULL; n++) {
        cells[n] = at;
        at = strchr(at, '\t');
        if (at != NULL) {
            *at++ = '\0';
        }
    }
    *model_p = cells[1];
    return cells[3] != NULL && sscanf(cells[2], "%d", layers_p) == 1 &&
           strcmp(cells[3], "unknown") != 0;
}

Test(catalogue, knows_the_depth_of_every_model_in_the_recipes) {
    FILE *f = fopen(PP_SHARED_DIR "/recipes/expected_split.tsv", "r");
    if (f == NULL) {
        cr_skip_test("../shared is not there");
    }
    struct pp_catalogue *cat = open_catalogue();
    char line[4096];
    int rows = 0, known = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        char *model = NULL;
        int layers = 0;
        if (rows++ == 0 || !split_row(line, &model, &layers)) {
            continue;
        }
        const struct pp_model *m = pp_catalogue_find(cat, model);
        cr_assert_not_null(m, "%s", model);
        cr_expect_eq(m->layer_count, layers, "%s: %d, not %d", model, m->layer_count, layers);
        known++;
    }
    fclose(f);
    pp_catalogue_close(cat);
    cr_assert_eq(known, 52, "%d", known);
}
