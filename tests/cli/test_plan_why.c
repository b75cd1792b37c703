/* What `plan` says about idle time, memory's parts and memory's price. */
#include "tests/cli/run.h"

#define EXAMPLE PP_TEST_DIR "/../reports/example/deepseek_v3.yaml"
#define PLAN "plan " EXAMPLE " --gpus 256"

static json_int_t sum_of(const json_t *object, size_t members) {
    const char *key;
    json_t *value;
    json_int_t sum = 0;
    cr_assert_eq(json_object_size(object), members);
    json_object_foreach((json_t *)object, key, value) {
        cr_assert(json_integer_value(value) >= 0, "%s is negative", key);
        sum += json_integer_value(value);
    }
    return sum;
}

static void expect_idle_is_bubble(const json_t *plan) {
    const json_t *idle = json_object_get(plan, "idle_ns");
    double all = (double)integer_of(plan, "flush_time_ns") * (double)integer_of(plan, "pp_size");
    cr_assert_float_eq((double)sum_of(idle, 8) / all, number_of(plan, "bubble_ratio"), 1e-12);
    cr_assert_gt(integer_of(idle, "fill") + integer_of(idle, "drain"), 0);
}

static void expect_parts_are_peaks(const json_t *plan) {
    const json_t *parts = json_object_get(plan, "peak_parts_bytes");
    const json_t *peaks = json_object_get(plan, "peak_memory_bytes");
    cr_assert_eq(json_array_size(parts), (size_t)integer_of(plan, "pp_size"));
    for (size_t r = 0; r < json_array_size(parts); r++) {
        cr_assert_eq(sum_of(json_array_get(parts, r), 10),
                     json_integer_value(json_array_get(peaks, r)));
    }
}

Test(plan_why, idle_time_parts_of_peaks_and_the_price_of_memory) {
    json_t *document = run_json(PLAN, 0);
    const json_t *current = json_object_get(document, "current");
    const char *best = string_of(document, "best");
    size_t i;
    json_t *plan;
    expect_idle_is_bubble(current);
    expect_parts_are_peaks(current);
    json_array_foreach(json_object_get(document, "plans"), i, plan) {
        bool is_best = strcmp(string_of(plan, "plan_id"), best) == 0;
        expect_idle_is_bubble(plan);
        cr_assert_eq(json_object_get(plan, "peak_parts_bytes") != NULL, is_best);
        if (is_best) {
            expect_parts_are_peaks(plan);
        }
    }
    const json_t *price = json_object_get(document, "memory_price");
    const json_t *now = json_object_get(price, "now");
    const json_t *more = json_object_get(price, "one_gib_more");
    const json_t *less = json_object_get(price, "one_gib_less");
    cr_assert_str_eq(string_of(now, "plan_id"), best);
    cr_assert_eq(integer_of(more, "memory_limit_bytes") - integer_of(now, "memory_limit_bytes"),
                 1 << 30);
    cr_assert_eq(integer_of(now, "memory_limit_bytes") - integer_of(less, "memory_limit_bytes"),
                 1 << 30);
    cr_assert_eq(integer_of(now, "step_time_ns") + integer_of(more, "change_ns"),
                 integer_of(more, "step_time_ns"));
    cr_assert_lt(integer_of(json_object_get(price, "next_change"), "change_ns"), 0);
    json_decref(document);
}

Test(plan_why, is_told_to_people) {
    struct ran r = run_plan(PLAN);
    const char *text = text_of(&r.out);
    cr_assert_not_null(strstr(text, "\n  idle: "), "%s", text);
    cr_assert_not_null(strstr(text, "% the pipeline fills, "), "%s", text);
    cr_assert_not_null(strstr(text, "\nMemory: a GiB more saves "), "%s", text);
    cr_assert_not_null(strstr(text, ", a GiB less "), "%s", text);
    ran_free(&r);
    r = run_plan(PLAN " --hardware a100-40-sxm");
    text = text_of(&r.out);
    cr_assert_not_null(strstr(text, "\nMemory: with "), "%s", text);
    cr_assert_not_null(strstr(text, " GiB more something fits, at "), "%s", text);
    ran_free(&r);
}

/* Without a shape there are unit costs: causes, but neither memory nor a price. */
Test(plan_why, without_a_shape) {
    struct ran r = run_plan(PLAN " --json --set model.config.pretrained_model_name_or_path=a/b "
                                 "--layers 61");
    json_t *document = json_loads(text_of(&r.out), 0, NULL);
    cr_assert_not_null(document, "%s", text_of(&r.out));
    const json_t *current = json_object_get(document, "current");
    cr_assert_gt(sum_of(json_object_get(current, "idle_ns"), 8), 0);
    cr_assert_null(json_object_get(current, "peak_parts_bytes"));
    cr_assert(json_is_null(json_object_get(document, "memory_price")));
    json_decref(document);
    ran_free(&r);
}
