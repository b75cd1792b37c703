#include "sim/plan_price.h"
#include "tests/sim/plan_support.h"
#include "tests/sim/sim_support.h"

enum { MANY = 12 };

#define GIB PP_PRICE_STEP_BYTES

/* Plans by (step in ms, peak in tenths of a GiB), under a limit. */
struct front {
    struct pp_plan plans[MANY];
    struct pp_plan_set set;
};

static void set_front(struct front *f, int64_t limit, const int64_t (*rows)[2], int32_t count) {
    memset(f, 0, sizeof *f);
    for (int32_t i = 0; i < count; i++) {
        f->plans[i] = (struct pp_plan){.has_costs = true,
                                       .step_ns = rows[i][0] * 1000000,
                                       .max_peak_bytes = rows[i][1] * GIB / 10,
                                       .limit_bytes = limit * GIB / 10};
    }
    f->set.plans = f->plans;
    f->set.plan_count = count;
}

static void expect_point(const struct pp_price_point *p, int32_t plan, int64_t change_ms) {
    cr_expect_eq(p->plan, plan, "plan %d, expected %d", p->plan, plan);
    cr_expect_eq(p->change_ns, change_ms * 1000000, "change %lld", (long long)p->change_ns);
}

Test(plan_price, by_hand) {
    struct front f;
    struct pp_memory_price p;
    /* 0 is the best of 80.0; 1 needs 0.4 more, 2 0.9 more; 3 fits in 79.0, 4 in less */
    static const int64_t rows[][2] = {{100, 795}, {90, 804}, {80, 809}, {103, 790}, {120, 700}};
    set_front(&f, 800, rows, 5);
    pp_plan_price(&f.set, &p);
    expect_point(&p.now, 0, 0);
    expect_point(&p.more, 2, -20);
    expect_point(&p.less, 3, 3);
    expect_point(&p.next, 1, -10);
    cr_expect_eq(p.now.limit_bytes, 80 * GIB);
    cr_expect_eq(p.more.limit_bytes, 81 * GIB);
    cr_expect_eq(p.less.limit_bytes, 79 * GIB);
    cr_expect_eq(p.next.limit_bytes, 804 * GIB / 10);

    set_front(&f, 780, rows, 5); /* 4 is what fits, and needs 8 GiB less */
    pp_plan_price(&f.set, &p);
    expect_point(&p.now, 4, 0);
    expect_point(&p.more, 3, -17); /* just fits */
    expect_point(&p.less, 4, 0);
    expect_point(&p.next, 3, -17);

    set_front(&f, 705, rows, 5);
    pp_plan_price(&f.set, &p);
    expect_point(&p.more, 4, 0);
    expect_point(&p.less, -1, 0); /* nothing fits */

    set_front(&f, 650, rows, 5);
    pp_plan_price(&f.set, &p);
    expect_point(&p.now, -1, 0);
    expect_point(&p.more, -1, 0);
    expect_point(&p.next, 4, 0);

    set_front(&f, 900, rows, 5); /* nothing faster at any memory */
    pp_plan_price(&f.set, &p);
    expect_point(&p.now, 2, 0);
    expect_point(&p.more, 2, 0);
    expect_point(&p.next, -1, 0);
    cr_expect_eq(p.next.limit_bytes, 90 * GIB);

    f.set.plan_count = 0;
    pp_plan_price(&f.set, &p);
    cr_expect(p.now.plan < 0 && p.more.plan < 0 && p.less.plan < 0 && p.next.plan < 0);
}

Test(plan_price, plans_without_costs_have_no_price) {
    struct front f;
    struct pp_memory_price p;
    static const int64_t rows[][2] = {{10, 100}, {20, 100}, {0, 100}};
    set_front(&f, 800, rows, 3);
    f.plans[0].has_costs = false;
    pp_plan_price(&f.set, &p);
    expect_point(&p.now, 1, 0);
}

/* The best under any limit, by looking at all. */
static int64_t slow_step(const struct pp_plan_set *set, int64_t limit) {
    int64_t best = INT64_MAX;
    for (int32_t i = 0; i < set->plan_count; i++) {
        bool fits = set->plans[i].max_peak_bytes <= limit;
        best = fits && set->plans[i].step_ns < best ? set->plans[i].step_ns : best;
    }
    return best;
}

static void expect_slow(const struct pp_plan_set *set) {
    struct pp_memory_price p;
    pp_plan_price(set, &p);
    const struct pp_price_point *points[] = {&p.now, &p.more, &p.less, &p.next};
    int64_t now = slow_step(set, set->plans[0].limit_bytes);
    for (int k = 0; k < 3; k++) {
        int64_t step = slow_step(set, points[k]->limit_bytes);
        cr_assert_eq(points[k]->plan >= 0, step < INT64_MAX);
        if (points[k]->plan >= 0) {
            const struct pp_plan *plan = &set->plans[points[k]->plan];
            cr_assert_eq(plan->step_ns, step);
            cr_assert_leq(plan->max_peak_bytes, points[k]->limit_bytes);
            cr_assert_eq(points[k]->change_ns, now < INT64_MAX ? step - now : 0);
        }
    }
    int64_t next = INT64_MAX; /* the least peak under which the answer is faster */
    for (int32_t i = 0; i < set->plan_count; i++) {
        int64_t peak = set->plans[i].max_peak_bytes;
        next = slow_step(set, peak) < now && peak < next ? peak : next;
    }
    cr_assert_eq(p.next.plan >= 0, next < INT64_MAX);
    if (p.next.plan >= 0) {
        cr_assert_eq(p.next.limit_bytes, next);
        cr_assert_eq(set->plans[p.next.plan].step_ns, slow_step(set, next));
        cr_assert_eq(p.next.change_ns, now < INT64_MAX ? slow_step(set, next) - now : 0);
    }
    cr_assert(p.more.change_ns <= 0 && p.less.change_ns >= 0 && p.next.change_ns <= 0);
}

Test(plan_price, equals_a_slow_second_implementation) {
    struct front f;
    uint64_t seed = 51;
    for (int i = 0; i < 20000; i += CASE_STEP) {
        int64_t rows[MANY][2];
        int32_t count = 1 + random_below(&seed, MANY);
        for (int32_t k = 0; k < count; k++) {
            rows[k][0] = 1 + random_below(&seed, 12);
            rows[k][1] = 80 + random_below(&seed, 60);
        }
        set_front(&f, 100, rows, count);
        expect_slow(&f.set);
    }
}

Test(plan_price, of_a_planned_recipe) {
    struct bed b;
    bed_init(&b, deepseek_recipe, NULL);
    struct pp_plan_set *set = bed_search(&b);
    struct pp_memory_price p;
    cr_assert_geq(set->best, 0);
    expect_slow(set);
    pp_plan_price(set, &p);
    cr_expect_eq(p.now.plan, set->best);
    cr_expect_eq(p.now.limit_bytes, b.hw.memory_bytes);
    cr_expect_geq(p.next.plan, 0, "a faster plan is among those that do not fit");
    pp_plan_set_destroy(set);
    bed_deinit(&b);
}
