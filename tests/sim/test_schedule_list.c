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

/* One condition on a variable: "m >= 3*p/2", "p even", "m a multiple of g". */
static bool is_met(struct formula *f, char variable, const char *condition) {
    static const char at_least[] = ">= ", at_most[] = "<= ", multiple[] = "a multiple of ";
    double value = f->value[(int)variable];
    if (strncmp(condition, at_least, strlen(at_least)) == 0) {
        return value >= formula_begin(f, condition + strlen(at_least));
    }
    if (strncmp(condition, at_most, strlen(at_most)) == 0) {
        return value <= formula_begin(f, condition + strlen(at_most));
    }
    if (strncmp(condition, multiple, strlen(multiple)) == 0) {
        return fmod(value, formula_begin(f, condition + strlen(multiple))) == 0;
    }
    if (strncmp(condition, "= 2", 3) == 0) {
        return value == 2;
    }
    return strncmp(condition, "even", 4) != 0 || fmod(value, 2) == 0;
}

/* Whether a form is stated for these ranks, stages and microbatches: all that it says of p, v and m
   behind its first " for ". */
static bool is_stated(struct formula *f, const char *form) {
    const char *at = strstr(form, " for ");
    if (at == NULL) {
        return true;
    }
    for (; at[0] != '\0' && at[1] != '\0' && at[2] != '\0' && *at != ';'; at++) {
        if (at[0] == ' ' && strchr("pvm", at[1]) != NULL && at[2] == ' ' &&
            !is_met(f, at[1], at + 3)) {
            return false;
        }
    }
    return true;
}

static void compare_forms(const struct pp_schedule_info *info, int32_t p, int32_t v, int32_t m) {
    struct pp_gen_config config = {.rank_count = p, .stages_per_rank = v, .microbatch_count = m};
    if (pp_schedule_check(info, &config, NULL) != PP_OK) {
        return;
    }
    struct sail_row row = unit_row(p, m);
    struct sail_schedule ours = {.schedule = info->name, .stages_per_rank = v};
    struct sail_result r = sail_run(&row, &ours);
    struct formula f = variables(info, p, v, m);
    if (is_stated(&f, info->bubble)) {
        compare_bubble(info, &f, 1 - 3e6 * m / r.makespan_ns);
    }
    if (is_stated(&f, info->memory)) {
        compare_memory(info, &f, r.peak);
    }
}

Test(schedule_list, closed_forms_hold) {
    static const int32_t ranks[] = {4, 8, 16, 32};
    const int rank_counts = CASE_STEP > 1 ? 3 : 4;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        int32_t v = info->default_stages_per_rank;
        for (int k = 0; k < rank_counts; k++) {
            compare_forms(info, ranks[k], v, MICROBATCHES_A_RANK * ranks[k]);
        }
        if (info->max_stages_per_rank == 0) {
            compare_forms(info, 4, 2 * v, MICROBATCHES_A_RANK * 4);
        }
    }
}

/* Few microbatches, odd ones, more than any form names as its least: a form says where it ends. */
Test(schedule_list, closed_forms_say_for_which_counts_they_hold) {
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        const int32_t most = CASE_STEP > 1 && info->uses_costs ? 3 : 4; /* some search for long */
        for (int32_t p = 1; p <= most; p++) {
            for (int32_t m = 1; m <= (MICROBATCHES_A_RANK + 1) * p; m++) {
                compare_forms(info, p, info->default_stages_per_rank, m);
            }
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
