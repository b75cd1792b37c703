/* What a plan costs and needs, figure by figure, and the order that follows from it. */
#include "tests/sim/plan_support.h"

Test(plan_evaluate, failures_keep_their_code_without_an_error_record) {
    struct bed b;
    struct pp_plan_set *set = NULL;
    const struct pp_schedule_info *info = NULL;
    bed_init(&b, deepseek_recipe, NULL);
    b.request.gpu_count = 130;
    cr_assert_eq(pp_plan_search(&b.request, &set, NULL), PP_E_WORLD);
    cr_assert_null(set);
    cr_assert_eq(pp_schedule_find("zero_bubble", &info, NULL), PP_E_SCHEDULE);
    bed_deinit(&b);
}
