/* A planning result as text and as JSON: what is shown is what the plan says. */
#include "tests/sim/plan_support.h"

#include "reports/plan_json.h"
#include "reports/plan_text.h"

#include <stdlib.h>

/* The text of a set; free it. */
static char *text_of_set(const struct bed *b, const struct pp_plan_set *set) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    cr_assert_eq(pp_text_plan_set(out, b->recipe, set, 5, NULL), PP_OK);
    fclose(out);
    return text;
}

/* Takes the next line of *text_p with all blanks made single. */
static bool next_line(const char **text_p, char *line, size_t size) {
    size_t n = 0;
    const char *p = *text_p;
    if (*p == '\0') {
        return false;
    }
    for (; *p != '\0' && *p != '\n'; p++) {
        bool blank = *p == ' ' && (n == 0 || line[n - 1] == ' ');
        if (!blank && n + 1 < size) {
            line[n++] = *p;
        }
    }
    line[n] = '\0';
    *text_p = *p == '\n' ? p + 1 : p;
    return true;
}

/* How many lines begin with `wanted` behind the line `heading`, up to the next empty one. */
static int count_lines(const char *text, const char *heading, const char *wanted) {
    char line[512];
    bool inside = false;
    int n = 0;
    while (next_line(&text, line, sizeof line)) {
        inside = line[0] != '\0' && (inside || strncmp(line, heading, strlen(heading)) == 0);
        n += inside && strncmp(line, wanted, strlen(wanted)) == 0;
    }
    return n;
}

static void expect_rank_line(const char *text, const struct pp_plan *p, int32_t rank) {
    struct pp_text wanted = {0};
    char action[PP_ACTION_TEXT_BYTES];
    int32_t layers = 0;
    pp_text_printf(&wanted, "%d ", rank);
    for (int32_t s = 0; s < p->stage_count; s++) {
        if (p->stage_rank[s] == rank) {
            pp_text_printf(&wanted, "%d ", s);
            layers += p->layer_counts[s];
        }
    }
    pp_text_printf(&wanted, "%d %.1f %.1f %s", layers, (double)p->base_bytes[rank] / 0x1p30,
                   (double)p->peak_bytes[rank] / 0x1p30, pp_plan_peak_action(p, rank, action));
    cr_assert_eq(count_lines(text, "As it is", wanted.bytes), 1, "no line \"%s\" in\n%s",
                 wanted.bytes, text);
    pp_text_free(&wanted);
}

Test(plan_views, text_shows_every_rank_and_the_change_of_step_time) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    struct pp_plan_set *set = bed_search(&b);
    char *text = text_of_set(&b, set);
    for (int32_t rank = 0; rank < 4; rank++) {
        expect_rank_line(text, set->current, rank);
    }
    const struct pp_plan *best = &set->plans[set->best];
    char step[32];
    char wanted[128];
    snprintf(wanted, sizeof wanted, "1 %s 4 %d %s %d %d %d %lld %.1f%% %s %+.1f %% %.1f yes",
             best->config.schedule->name, best->config.layers_per_stage,
             pp_round_name(best->config.round), best->stage_count, best->microbatch_count,
             best->config.microbatch_size, (long long)best->flush_count, 100 * best->bubble_ratio,
             pp_text_duration(best->step_ns, step),
             100 * ((double)best->step_ns / (double)set->current->step_ns - 1),
             (double)best->max_peak_bytes / 0x1p30);
    cr_assert_eq(count_lines(text, "Best", wanted), 1, "no line \"%s\" in\n%s", wanted, text);
    cr_assert_eq(count_lines(text, "Ranked", wanted), 1);
    cr_assert_eq(count_lines(text, "Rounding up instead of down", "paste: --distributed"), 1);
    free(text);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

Test(plan_views, text_says_why_faster_plans_were_rejected) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    struct pp_plan_set *set = bed_search(&b);
    char *text = text_of_set(&b, set);
    int32_t faster = 0;
    for (int32_t i = 0; i < set->plan_count && faster < 3; i++) {
        const struct pp_plan *p = &set->plans[i];
        if (!p->fits && p->step_ns < set->plans[set->best].step_ns) {
            cr_assert_not_null(strstr(text, p->why), "%s is not in\n%s", p->why, text);
            faster++;
        }
    }
    cr_assert_gt(faster, 0);
    cr_assert_eq(count_lines(text, "Faster, but rejected", ""), 2 + faster);
    free(text);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}

Test(plan_views, durations_have_three_figures_and_the_unit_that_suits) {
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "0.00 us"},          {1234, "1.23 us"},       {123456, "123 us"},
        {1000000, "1.00 ms"},    {98765432, "98.8 ms"},   {1000000000, "1.00 s"},
        {12345678901, "12.3 s"}, {123456789012, "123 s"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[32];
        cr_assert_str_eq(pp_text_duration(cases[i].ns, out), cases[i].text);
    }
}

static void expect_plan(const json_t *o, const struct pp_plan *p) {
    cr_assert_str_eq(json_string_value(json_object_get(o, "plan_id")), p->id);
    cr_assert_eq(json_is_true(json_object_get(o, "fits")), p->fits);
    cr_assert_eq(json_integer_value(json_object_get(o, "step_time_ns")), p->step_ns);
    cr_assert_eq(json_integer_value(json_object_get(o, "flushes_per_step")), p->flush_count);
    for (int32_t r = 0; r < p->config.pp_size; r++) {
        const json_t *peaks = json_object_get(o, "peak_memory_bytes");
        const json_t *resident = json_object_get(o, "resident_memory_bytes");
        const json_t *actions = json_object_get(o, "peak_actions");
        char action[PP_ACTION_TEXT_BYTES];
        cr_assert_eq(json_integer_value(json_array_get(peaks, (size_t)r)), p->peak_bytes[r]);
        cr_assert_eq(json_integer_value(json_array_get(resident, (size_t)r)), p->base_bytes[r]);
        cr_assert_str_eq(json_string_value(json_array_get(actions, (size_t)r)),
                         pp_plan_peak_action(p, r, action));
    }
}

Test(plan_views, json_holds_the_figures_of_every_plan) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    struct pp_plan_set *set = bed_search(&b);
    json_t *document = json_object();
    pp_json_plan_set(document, b.recipe, set);
    const json_t *plans = json_object_get(document, "plans");
    cr_assert_eq(json_array_size(plans), (size_t)set->plan_count);
    for (int32_t i = 0; i < set->plan_count; i++) {
        expect_plan(json_array_get(plans, (size_t)i), &set->plans[i]);
    }
    expect_plan(json_object_get(document, "current"), set->current);
    cr_assert_str_eq(json_string_value(json_object_get(document, "best_at_no_more_memory")),
                     set->plans[set->best_same_memory].id);
    json_decref(document);
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}
