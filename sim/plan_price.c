#include "sim/plan_price.h"

static bool is_priced(const struct pp_plan *p) {
    return p->has_costs && p->step_ns > 0;
}

/* Is `a` the better answer where both fit? The set's order breaks ties. */
static bool is_better(const struct pp_plan *a, const struct pp_plan *b) {
    if (a->step_ns != b->step_ns) {
        return a->step_ns < b->step_ns;
    }
    return a->max_peak_bytes < b->max_peak_bytes;
}

static struct pp_price_point best_within(const struct pp_plan_set *set, int64_t limit_bytes) {
    struct pp_price_point point = {.limit_bytes = limit_bytes, .plan = -1};
    for (int32_t i = 0; i < set->plan_count; i++) {
        const struct pp_plan *p = &set->plans[i];
        if (is_priced(p) && p->max_peak_bytes <= limit_bytes &&
            (point.plan < 0 || is_better(p, &set->plans[point.plan]))) {
            point.plan = i;
        }
    }
    return point;
}

/* The least memory above the limit with which the answer changes. */
static struct pp_price_point next_step(const struct pp_plan_set *set,
                                       const struct pp_price_point *now) {
    struct pp_price_point next = {.limit_bytes = now->limit_bytes, .plan = -1};
    for (int32_t i = 0; i < set->plan_count; i++) {
        const struct pp_plan *p = &set->plans[i];
        bool helps = is_priced(p) && p->max_peak_bytes > now->limit_bytes &&
                     (now->plan < 0 || p->step_ns < set->plans[now->plan].step_ns);
        if (helps && (next.plan < 0 || p->max_peak_bytes < next.limit_bytes ||
                      (p->max_peak_bytes == next.limit_bytes &&
                       p->step_ns < set->plans[next.plan].step_ns))) {
            next.plan = i;
            next.limit_bytes = p->max_peak_bytes;
        }
    }
    return next;
}

static void compare(const struct pp_plan_set *set, const struct pp_price_point *now,
                    struct pp_price_point *point) {
    if (now->plan >= 0 && point->plan >= 0) {
        point->change_ns = set->plans[point->plan].step_ns - set->plans[now->plan].step_ns;
    }
}

void pp_plan_price(const struct pp_plan_set *set, struct pp_memory_price *price) {
    int64_t limit_bytes = set->plan_count > 0 ? set->plans[0].limit_bytes : 0;
    struct pp_memory_price p = {
        .now = best_within(set, limit_bytes),
        .more = best_within(set, limit_bytes + PP_PRICE_STEP_BYTES),
        .less = best_within(set, limit_bytes - PP_PRICE_STEP_BYTES),
    };
    p.next = next_step(set, &p.now);
    compare(set, &p.now, &p.more);
    compare(set, &p.now, &p.less);
    compare(set, &p.now, &p.next);
    *price = p;
}
