/* What the pictures of a stored run say about themselves. */
#include "tests/cli/run.h"

#define EXAMPLE PP_TEST_DIR "/../reports/example/deepseek_v3.yaml"

/* The title of a plan, from the figures of the JSON document. */
static void title_of(const json_t *plan, const char *role, struct pp_text *out) {
    pp_text_printf(
        out, ">%s: %s, pp %d, %d stages a rank, %d microbatches of %d, bubble %.1f %%, ", role,
        string_of(plan, "schedule"), (int)integer_of(plan, "pp_size"),
        (int)integer_of(plan, "stages_per_rank"), (int)integer_of(plan, "num_microbatches"),
        (int)integer_of(plan, "pp_microbatch_size"), 100 * number_of(plan, "bubble_ratio"));
    pp_text_printf(out, "step %.1f s", 1e-9 * number_of(plan, "step_time_ns"));
}

static void expect_in(const char *svg, const char *words) {
    cr_assert_not_null(strstr(svg, words), "%s is not in the picture", words);
}

Test(report, pictures_name_the_recipe_as_it_is_and_the_best) {
    struct scratch s = make_scratch();
    struct pp_text args = {0};
    struct pp_text title = {0};
    static const char *const pictures[] = {"gantt.svg", "memory.svg"};
    pp_text_printf(&args, "plan " EXAMPLE " --gpus 256 --db %s/p.db", s.folder);
    json_t *document = run_json(args.bytes, 0);
    args.size = 0;
    pp_text_printf(&args, "report --db %s/p.db --out %s", s.folder, s.folder);
    json_decref(run_json(args.bytes, 0));
    const json_t *best = json_array_get(json_object_get(document, "plans"), 0);
    for (size_t i = 0; i < sizeof pictures / sizeof pictures[0]; i++) {
        char path[128];
        char *svg = NULL;
        size_t size = 0;
        snprintf(path, sizeof path, "%s/%s", s.folder, pictures[i]);
        cr_assert_eq(pp_read_file(path, 1 << 26, &svg, &size, NULL), PP_OK);
        title.size = 0;
        title_of(json_object_get(document, "current"), "as it is", &title);
        expect_in(svg, title.bytes);
        title.size = 0;
        title_of(best, "best", &title);
        expect_in(svg, title.bytes);
        free(svg);
    }
    json_decref(document);
    pp_text_free(&args);
    pp_text_free(&title);
    remove_scratch(&s);
}

Test(report, a_plan_is_drawn_once_with_the_run_it_belongs_to) {
    struct scratch s = make_scratch();
    struct pp_text args = {0};
    pp_text_printf(&args, "plan " EXAMPLE " --gpus 256 --db %s/p.db", s.folder);
    json_t *first = run_json(args.bytes, 0);
    args.size = 0;
    pp_text_printf(&args, "plan " EXAMPLE " --gpus 512 --db %s/p.db", s.folder);
    json_decref(run_json(args.bytes, 0));
    const char *best = string_of(first, "best");
    args.size = 0;
    pp_text_printf(&args, "report --db %s/p.db --out %s --plan %s --plan %.12s", s.folder, s.folder,
                   best, best);
    json_t *report = run_json(args.bytes, 0);
    cr_assert_str_eq(string_of(report, "run_id"), string_of(first, "run_id"));
    char path[128];
    char *svg = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/gantt.svg", s.folder);
    cr_assert_eq(pp_read_file(path, 1 << 26, &svg, &size, NULL), PP_OK);
    const char *title = strstr(svg, ">best: ");
    cr_assert_not_null(title);
    cr_assert_null(strstr(title + 1, ">best: "));
    free(svg);
    json_decref(first);
    json_decref(report);
    pp_text_free(&args);
    remove_scratch(&s);
}

Test(report, without_costs_only_the_order_is_drawn_and_said_so) {
    struct scratch s = make_scratch();
    struct pp_text line = {0};
    pp_text_printf(&line,
                   "cd %s; \"$P\" plan " EXAMPLE " --gpus 256 --layers 43 --db p.db --set "
                   "model.config.pretrained_model_name_or_path=nobody/knows >/dev/null && "
                   "\"$P\" report --db p.db --out .",
                   s.folder);
    struct ran r = run_shell(line.bytes);
    cr_assert_eq(r.code, 0, "%s", text_of(&r.messages));
    cr_assert_str_eq(text_of(&r.out), "./gantt.svg\n./gantt.png\n");
    cr_assert(strstr(text_of(&r.messages), "E_NO_SHAPE") != NULL, "%s", text_of(&r.messages));
    ran_free(&r);
    pp_text_free(&line);
    remove_scratch(&s);
}

/* A user's own gnuplot settings change nothing. */
Test(report, pictures_do_not_depend_on_the_users_gnuplot) {
    struct scratch s = make_scratch();
    struct pp_text line = {0};
    pp_text_printf(&line,
                   "cd %s; \"$P\" plan " EXAMPLE " --gpus 256 --db p.db >/dev/null && "
                   "\"$P\" report --db p.db --out a >/dev/null; mkdir home; "
                   "printf 'set grid lw 9\nset title \"mine\"\n' >home/.gnuplot; "
                   "HOME=$PWD/home GNUTERM=x11 LC_ALL=de_DE.UTF-8 \"$P\" report --db p.db --out b "
                   ">/dev/null; diff -r a b && ls b | wc -l",
                   s.folder);
    struct ran r = run_shell(line.bytes);
    cr_assert_str_eq(text_of(&r.out), "6\n", "%s", text_of(&r.messages));
    ran_free(&r);
    pp_text_free(&line);
    remove_scratch(&s);
}
