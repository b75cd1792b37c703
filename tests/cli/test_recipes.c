/* Real recipes: what Automodel's own examples do with their pipeline. expected_split.tsv beside
 * this file holds the facts of 52 of them (layer counts and results of Automodel's own functions);
 * the files themselves are looped over where ../shared is. */
#include "tests/cli/run.h"

#include <dirent.h>

enum { LINE_BYTES = 4096, FIELD_MAX = 48 };

static int split_fields(char *line, char **fields) {
    int n = 0;
    line[strcspn(line, "\r\n")] = '\0';
    for (char *at = line; at != NULL && n < FIELD_MAX; n++) {
        char *tab = strchr(at, '\t');
        fields[n] = at;
        if (tab != NULL) {
            *tab++ = '\0';
        }
        at = tab;
    }
    return n;
}

static void expect_split(const json_t *current, const char *what, const char *stages,
                         const char *per_rank, const char *layer_counts) {
    struct pp_text wanted = {0};
    char *counts = dump(current, "layer_counts");
    pp_text_printf(&wanted, "[%s]", layer_counts);
    cr_assert_eq(integer_of(current, "num_virtual_stages"), atoi(stages), "%s", what);
    cr_assert_eq(integer_of(current, "stages_per_rank"), atoi(per_rank), "%s", what);
    cr_assert_str_eq(counts, wanted.bytes, "%s", what);
    free(counts);
    pp_text_free(&wanted);
}

/* fields: layers pp_size schedule layers_per_stage round local_batch microbatch n_microbatches
 * num_stages stages_per_rank layer_counts */
static void check_facts(const struct scratch *scratch, char **f) {
    char path[128];
    struct pp_text recipe = {0};
    struct pp_text args = {0};
    pp_text_printf(&recipe,
                   "distributed:\n  pp_size: %s\n  pipeline:\n    pp_schedule: %s\n"
                   "    layers_per_stage: %s\n    round_virtual_stages_to_pp_multiple: %s\n"
                   "    pp_microbatch_size: %s\nstep_scheduler:\n  local_batch_size: %s\n",
                   f[1], f[2], f[3], f[4], f[6], f[5]);
    scratch_write(scratch, "recipe.yaml", recipe.bytes, recipe.size, path);
    pp_text_printf(&args, "plan %s --layers %s", path, f[0]);
    json_t *document = run_json(args.bytes, 0);
    json_t *current = json_object_get(document, "current");
    expect_split(current, recipe.bytes, f[8], f[9], f[10]);
    cr_assert_eq(integer_of(current, "num_microbatches"), atoi(f[7]));
    cr_assert_str_eq(string_of(json_object_get(current, "error"), "code"), "E_NO_SHAPE");
    expect_member(current, "step_time_ns", "null");
    expect_member(current, "peak_memory_bytes", "null");
    cr_assert_gt(number_of(current, "bubble_ratio"), 0.0);
    json_decref(document);
    pp_text_free(&recipe);
    pp_text_free(&args);
}

Test(recipes, the_splits_of_52_real_recipes_are_automodels) {
    char line[LINE_BYTES];
    char *fields[FIELD_MAX];
    int rows = 0;
    struct scratch scratch = make_scratch();
    FILE *f = fopen(PP_TEST_DIR "/cli/expected_split.tsv", "r");
    cr_assert_not_null(f);
    cr_assert_not_null(fgets(line, sizeof line, f)); /* names */
    while (fgets(line, sizeof line, f) != NULL) {
        cr_assert_eq(split_fields(line, fields), 11);
        check_facts(&scratch, fields);
        rows++;
    }
    fclose(f);
    remove_scratch(&scratch);
    cr_assert_eq(rows, 52);
}

static FILE *open_shared(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/recipes/%s", PP_SHARED_DIR, name);
    return fopen(path, "r");
}

/* "a/b.yaml" is stored as "a__b.yaml". */
static void stored_path(const char *path, char *out, size_t size) {
    struct pp_text t = {0};
    pp_text_printf(&t, "%s/recipes/", PP_SHARED_DIR);
    for (; *path != '\0'; path++) {
        pp_text_printf(&t, *path == '/' ? "__" : "%c", *path);
    }
    pp_copy(out, size, t.bytes);
    pp_text_free(&t);
}

static void check_recipe_file(char **f) {
    char path[512];
    struct pp_text args = {0};
    stored_path(f[0], path, sizeof path);
    pp_text_printf(&args, "plan '%s' --layers %s", path, f[2]);
    struct ran r = run_plan(args.bytes);
    cr_assert(r.code == 0 || r.code == 1, "%s: exit %d: %s", f[0], r.code, text_of(&r.messages));
    int code = r.code;
    ran_free(&r);
    json_t *document = run_json(args.bytes, code);
    const json_t *current = json_object_get(document, "current");
    expect_split(current, f[0], f[12], f[13], f[14]);
    cr_assert_eq(integer_of(current, "pp_size"), atoi(f[4]));
    cr_assert(pp_equal_nocase(string_of(current, "schedule"), f[5]), "%s", f[0]);
    cr_assert_eq(integer_of(current, "num_microbatches"), atoi(f[10]));
    json_decref(document);
    pp_text_free(&args);
}

Test(recipes, every_active_recipe_file_gets_automodels_answer, .timeout = 280) {
    char line[LINE_BYTES];
    char *fields[FIELD_MAX];
    int rows = 0;
    FILE *f = open_shared("expected_split.tsv");
    if (f == NULL) {
        cr_skip_test("../shared is not there");
    }
    cr_assert_not_null(fgets(line, sizeof line, f));
    while (fgets(line, sizeof line, f) != NULL) {
        cr_assert_geq(split_fields(line, fields), 15);
        if (strcmp(fields[11], "ok") == 0) {
            check_recipe_file(fields);
            rows++;
        }
    }
    fclose(f);
    cr_assert_geq(rows, 52);
}

/* Every file loads unedited: at an arbitrary depth a split may be refused, but nothing in the file
 * is. Those with pp_size 1 get the answer of Automodel's rules: no pipeline and one stage. */
static bool check_any_file(const char *name) {
    static const char *const file_errors[] = {"E_FILE",  "E_SYNTAX", "E_TYPE",    "E_KEY",
                                              "E_VALUE", "E_RANGE",  "E_PIPELINE"};
    struct pp_text args = {0};
    pp_text_printf(&args, "plan '%s/recipes/%s' --layers 48", PP_SHARED_DIR, name);
    struct ran r = run_plan(args.bytes);
    for (size_t i = 0; i < sizeof file_errors / sizeof file_errors[0]; i++) {
        cr_assert(strstr(text_of(&r.messages), file_errors[i]) == NULL, "%s: %s", name,
                  text_of(&r.messages));
    }
    json_t *document = run_json(args.bytes, r.code);
    const json_t *current = json_object_get(document, "current");
    cr_assert_not_null(current, "%s", name);
    bool inactive = integer_of(current, "pp_size") == 1;
    if (inactive) {
        expect_member(current, "schedule", "null");
        cr_assert_eq(integer_of(current, "num_virtual_stages"), 1, "%s", name);
        expect_member(current, "layer_counts", "[48]");
    }
    ran_free(&r);
    json_decref(document);
    pp_text_free(&args);
    return inactive;
}

Test(recipes, all_files_load_unedited, .timeout = 280) {
    char dir[512];
    int files = 0;
    int inactive = 0;
    snprintf(dir, sizeof dir, "%s/recipes", PP_SHARED_DIR);
    DIR *d = opendir(dir);
    if (d == NULL) {
        cr_skip_test("../shared is not there");
    }
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        size_t n = strlen(e->d_name);
        if (n > 5 && strcmp(e->d_name + n - 5, ".yaml") == 0) {
            inactive += check_any_file(e->d_name);
            files++;
        }
    }
    closedir(d);
    cr_assert_geq(files, 94);
    cr_assert_eq(files - inactive, 53);
}
