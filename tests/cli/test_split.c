#include "tests/cli/run.h"

Test(cli_split, gives_what_automodel_gives) {
    json_t *d = run_json("split --layers 10 --pp 2 --schedule Interleaved1F1B", 0);
    cr_assert_eq(integer_of(d, "num_virtual_stages"), 4);
    cr_assert_eq(integer_of(d, "stages_per_rank"), 2);
    expect_member(d, "layer_counts", "[3,3,2,2]");
    expect_member(d, "stage_ids", "[[0,2],[1,3]]");
    expect_member(d, "warnings", "[]");
    expect_member(d, "module_fqns_per_model_part",
                  "[[\"model.embed_tokens\",\"model.layers.0\",\"model.layers.1\","
                  "\"model.layers.2\",\"model.rotary_emb\"],"
                  "[\"model.layers.3\",\"model.layers.4\",\"model.layers.5\",\"model.rotary_emb\"],"
                  "[\"model.layers.6\",\"model.layers.7\",\"model.rotary_emb\"],"
                  "[\"model.layers.8\",\"model.layers.9\",\"model.norm\",\"lm_head\","
                  "\"model.rotary_emb\"]]");
    json_decref(d);
}

Test(cli_split, default_schedule_is_1f1b) {
    json_t *d = run_json("split --layers 7 --pp 3", 0);
    cr_assert_str_eq(string_of(d, "schedule"), "1F1B");
    expect_member(d, "layer_counts", "[3,2,2]");
    expect_member(d, "stage_ids", "[[0],[1],[2]]");
    json_decref(d);
}

Test(cli_split, encoders_come_on_request) {
    json_t *d = run_json("split --layers 4 --pp 1 --with-encoders", 0);
    json_t *names = json_array_get(json_object_get(d, "module_fqns_per_model_part"), 0);
    cr_assert_eq(json_array_size(names), 1 + 15 + 4 + 3);
    cr_assert_str_eq(json_string_value(json_array_get(names, 1)), "model.vision_tower");
    json_decref(d);
}

Test(cli_split, v_places_in_a_v_and_dualpipev_in_a_loop_with_a_warning) {
    json_t *d = run_json("split --layers 8 --pp 2 --schedule zbvzerobubble", 0);
    expect_member(d, "stage_ids", "[[0,3],[1,2]]");
    json_decref(d);
    d = run_json("split --layers 8 --pp 2 --schedule DualPipeV", 0);
    expect_member(d, "stage_ids", "[[0,2],[1,3]]");
    cr_assert_eq(json_array_size(json_object_get(d, "warnings")), 1);
    json_decref(d);
}

Test(cli_split, huge_layers_per_stage_is_one_stage) {
    json_t *d = run_json("split --layers 8 --pp 1 --layers-per-stage 99999999999999999999", 0);
    cr_assert_eq(integer_of(d, "num_virtual_stages"), 1);
    json_decref(d);
}

/* ---- refusals: every fix is applied by giving the options again, changed ---- */

enum { MAX_OPTIONS = 8 };

static const struct refusal {
    const char *code;
    const char *options[2 * MAX_OPTIONS]; /* flag, value, ... */
} refusals[] = {
    {"E_NODIV", {"--layers", "32", "--pp", "4", "--layers-per-stage", "7"}},
    {"E_NODIV",
     {"--layers", "61", "--pp", "8", "--layers-per-stage", "2", "--schedule", "ZBVZeroBubble"}},
    {"E_SINGLE", {"--layers", "32", "--pp", "4", "--layers-per-stage", "4"}},
    {"E_SINGLE", {"--layers", "32", "--pp", "4", "--layers-per-stage", "64", "--round", "down"}},
    {"E_MULTI",
     {"--layers", "32", "--pp", "4", "--layers-per-stage", "8", "--schedule", "LoopedBFS"}},
    {"E_MULTI",
     {"--layers", "6", "--pp", "4", "--layers-per-stage", "1", "--schedule", "Interleaved1F1B",
      "--round", "down"}},
    {"E_SPLIT", {"--layers", "3", "--pp", "4"}},
    {"E_SPLIT", {"--layers", "7", "--pp", "4", "--schedule", "ZBVZeroBubble"}},
    {"E_SPLIT",
     {"--layers", "7", "--pp", "4", "--layers-per-stage", "1", "--schedule", "Interleaved1F1B",
      "--round", "up"}},
    {"E_PLACEMENT",
     {"--layers", "32", "--pp", "4", "--layers-per-stage", "2", "--schedule", "ZBVZeroBubble"}},
    {"E_ROUND", {"--layers", "32", "--pp", "4", "--layers-per-stage", "8", "--round", "UP"}},
    {"E_ROUND", {"--layers", "32", "--pp", "4", "--round", "nearest"}},
    {"E_ROUND", {"--layers", "32", "--pp", "4", "--round", "''"}},
    {"E_RANGE", {"--layers", "32", "--pp", "4", "--layers-per-stage", "0"}},
    {"E_RANGE", {"--layers", "32", "--pp", "4", "--layers-per-stage", "-3"}},
    {"E_RANGE", {"--layers", "32", "--pp", "0"}},
    {"E_RANGE", {"--layers", "32", "--pp", "-4", "--layers-per-stage", "8"}},
    {"E_RANGE", {"--layers", "32", "--pp", "1000000000000"}},
    {"E_RANGE", {"--layers", "0", "--pp", "4"}},
    {"E_RANGE", {"--layers", "-1", "--pp", "0", "--round", "x", "--schedule", "y"}},
    {"E_RANGE", {"--layers", "99999999999999999999", "--pp", "2"}},
    {"E_SCHEDULE", {"--layers", "32", "--pp", "4", "--schedule", "interleaved_1f1b"}},
    {"E_SCHEDULE", {"--layers", "32", "--pp", "4", "--schedule", "1F1B ", "--round", "up"}},
    {"E_SCHEDULE", {"--layers", "3", "--pp", "4", "--schedule", "dfs"}},
    {"E_SCHEDULE",
     {"--layers", "32", "--pp", "4", "--schedule", "zero", "--layers-per-stage", "5"}},
};

static void add_option(struct pp_text *line, const char *flag, const char *value) {
    bool quoted = value[0] == '\'';
    pp_text_printf(line, quoted ? " %s %s" : " %s '%s'", flag, value);
}

/* The command with a fix's values in the place of its own. Free it. */
static char *changed_line(const struct refusal *r, json_t *fix) {
    struct pp_text line = {0};
    pp_text_puts(&line, "split");
    for (int i = 0; i < 2 * MAX_OPTIONS && r->options[i] != NULL; i += 2) {
        if (json_object_get(fix, r->options[i]) == NULL) {
            add_option(&line, r->options[i], r->options[i + 1]);
        }
    }
    const char *flag;
    json_t *value;
    json_object_foreach(fix, flag, value) {
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        add_option(&line, flag, json_is_integer(value) ? number : json_string_value(value));
    }
    return line.bytes;
}

Test(cli_split, every_fix_of_every_refusal_makes_the_command_succeed, .timeout = 120) {
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        char *line = changed_line(&refusals[i], NULL);
        json_t *d = run_json(line, 3);
        json_t *error = json_object_get(d, "error");
        cr_assert_str_eq(string_of(error, "code"), refusals[i].code, "%s", line);
        cr_assert_str_neq(string_of(error, "message"), "");
        cr_assert_str_neq(string_of(error, "hint"), "", "%s", line);
        json_t *fixes = json_object_get(error, "fixes");
        cr_assert_gt(json_array_size(fixes), 0, "%s", line);
        size_t k;
        json_t *fix;
        json_array_foreach(fixes, k, fix) {
            char *again = changed_line(&refusals[i], fix);
            json_decref(run_json(again, 0));
            free(again);
        }
        json_decref(d);
        free(line);
    }
}

Test(cli_split, values_that_do_not_parse_are_usage) {
    expect_error("split --layers 2.5 --pp 4", 2, "E_USAGE", "--layers: '2.5'");
    expect_error("split --layers 8 --pp four", 2, "E_USAGE", "--pp: 'four'");
    expect_error("split --layers 8 --pp 4 --layers-per-stage 2.5", 2, "E_USAGE",
                 "--layers-per-stage");
    expect_error("split --layers 8", 2, "E_USAGE", "missing --pp");
    expect_error("split --pp 8", 2, "E_USAGE", "missing --layers");
}

Test(cli_split, text_shows_rank_stage_and_layers) {
    struct ran r = run_plan("split --layers 9 --pp 2 --schedule ZBVZeroBubble");
    cr_assert_eq(r.code, 0);
    cr_assert_str_eq(text_of(&r.out),
                     "ZBVZeroBubble: 9 layers in 4 stages, 2 a rank on 2 ranks, placed in a v\n\n"
                     "rank  stage  count  layers\n"
                     "   0      0      3  0-2\n"
                     "   0      3      2  7-8\n"
                     "   1      1      2  3-4\n"
                     "   1      2      2  5-6\n");
    ran_free(&r);
}

Test(cli_split, text_of_a_refusal_names_the_fixes) {
    struct ran r = run_plan("split --layers 32 --pp 4 --layers-per-stage 7");
    cr_assert_eq(r.code, 3);
    cr_assert_str_eq(text_of(&r.out), "");
    cr_assert(strstr(text_of(&r.messages), "E_NODIV") != NULL);
    cr_assert(strstr(text_of(&r.messages), "works: --round down\n") != NULL, "%s",
              text_of(&r.messages));
    ran_free(&r);
}
