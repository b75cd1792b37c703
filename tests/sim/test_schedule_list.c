/* What `schedule --list` states is what the simulation gives: the closed forms of bubble and memory
 * of every schedule, at the unit costs that they are stated for. */
#include "tests/sim/formula.h"
#include "tests/sim/sail_support.h"

enum { MICROBATCHES_A_RANK = 4 };

static struct sail_row unit_row(int32_t p, int32_t m) {
    return (struct sail_row){
        .p = p, .m = m, .f_ns = 1000000, .i_ns = 1000000, .w_ns = 1000000, .mem_w = {1, 1}};
}

static struct formula variables(const struct pp_schedule_info *info, int32_t p, int32_t v,
                                int32_t m) {
    struct formula f = {0};
    f.value['p'] = p;
    f.value['v'] = v;
    f.value['m'] = m;
    f.value['g'] = p;
    f.value['s'] = info->default_slices;
    f.value['F'] = f.value['I'] = f.value['W'] = 1;
    f.value['B'] = 2;
    f.value['T'] = 3;
    return f;
}

static void compare_bubble(const struct pp_schedule_info *info, struct formula *f, double bubble) {
    double stated = formula_of(f, info->bubble);
    if (bubble < stated - 1e-6) {
        cr_log_info("%s p %.0f v %.0f: bubble %.6f, better than the closed form's %.6f", info->name,
                    f->value['p'], f->value['v'], bubble, stated);
    }
    cr_expect_leq(bubble, stated + 1e-6, "%s p %.0f v %.0f: bubble %.7f, stated %s = %.7f",
                  info->name, f->value['p'], f->value['v'], bubble, info->bubble, stated);
}

static void compare_memory(const struct pp_schedule_info *info, struct formula *f, double peak) {
    double stated = formula_of(f, info->memory);
    bool is_bound = strstr(info->memory, "at most") != NULL;
    cr_expect(peak < stated + 1e-9 && (is_bound || peak > stated - 1e-9),
              "%s p %.0f v %.0f: peak %.4f, stated %s = %.4f", info->name, f->value['p'],
              f->value['v'], peak, info->memory, stated);
}

static void compare_forms(const struct pp_schedule_info *info, int32_t p, int32_t v) {
    int32_t m = MICROBATCHES_A_RANK * p;
    struct sail_row row = unit_row(p, m);
    struct sail_schedule ours = {.schedule = info->name, .stages_per_rank = v};
    struct sail_result r = sail_run(&row, &ours);
    struct formula f = variables(info, p, v, m);
    if (v == 2 || strstr(info->bubble, "for v = 2") == NULL) {
        compare_bubble(info, &f, 1 - 3e6 * m / r.makespan_ns);
    }
    compare_memory(info, &f, r.peak);
}

Test(schedule_list, closed_forms_hold) {
    static const int32_t ranks[] = {4, 8, 16, 32};
    const int rank_counts = CASE_STEP > 1 ? 3 : 4;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        for (int k = 0; k < rank_counts; k++) {
            compare_forms(info, ranks[k], info->default_stages_per_rank);
        }
        if (info->max_stages_per_rank == 0) {
            compare_forms(info, 4, 2 * info->default_stages_per_rank);
        }
    }
}

Test(schedule_list, every_row_names_its_rules_and_its_source) {
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        cr_expect_neq(info->microbatch_rule[0], '\0', "%s", info->name);
        cr_expect_neq(info->bubble[0], '\0', "%s", info->name);
        cr_expect_neq(info->memory[0], '\0', "%s", info->name);
        cr_expect_neq(info->source[0], '\0', "%s", info->name);
        cr_expect_eq(info->in_pytorch, i < pp_schedule_torch_count(), "%s", info->name);
    }
}
