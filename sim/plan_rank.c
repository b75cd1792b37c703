/* The order of plans, and which of them stand out. */
#include "sim/plan_priv.h"

#include <stdlib.h>
#include <string.h>

static int compare_i64(int64_t a, int64_t b) {
    return (a > b) - (a < b);
}

/* Those that fit by step time, then the rest by how much they need; every tie broken by choices, so
 * that the order is total. */
static int compare_plans(const void *pa, const void *pb) {
    const struct pp_plan *a = pa;
    const struct pp_plan *b = pb;
    const int64_t keys[][2] = {
        {!a->fits, !b->fits},
        {a->fits ? a->step_ns : a->max_peak_bytes, b->fits ? b->step_ns : b->max_peak_bytes},
        {a->fits ? a->max_peak_bytes : a->step_ns, b->fits ? b->max_peak_bytes : b->step_ns},
        {a->flush_ns, b->flush_ns},
        {a->stage_count, b->stage_count},
        {a->config.pp_size, b->config.pp_size},
        {a->config.local_batch_size, b->config.local_batch_size},
        {a->config.microbatch_size, b->config.microbatch_size},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int order = compare_i64(keys[i][0], keys[i][1]);
        if (order != 0) {
            return order;
        }
    }
    return strcmp(a->id, b->id);
}

static bool same_choices(const struct pp_plan *a, const struct pp_plan *b) {
    return a->config.schedule == b->config.schedule && a->config.pp_size == b->config.pp_size &&
           a->stage_count == b->stage_count &&
           a->config.microbatch_size == b->config.microbatch_size &&
           a->config.local_batch_size == b->config.local_batch_size &&
           a->config.uses_csv == b->config.uses_csv && a->config.uses_fqns == b->config.uses_fqns;
}

static int32_t find_choices(const struct pp_plan_set *set, const struct pp_plan *like) {
    for (int32_t i = 0; i < set->plan_count; i++) {
        if (same_choices(&set->plans[i], like)) {
            return i;
        }
    }
    return -1;
}

/* The recipe with the other rounding: its stage count, then the candidate that has it. */
static int32_t find_other_round(const struct pp_plan_request *req, const struct pp_plan_set *set) {
    const struct pp_plan *current = set->current;
    const struct pp_plan_config *c = &current->config;
    if (c->schedule == NULL || !c->has_layers_per_stage || c->uses_csv || c->uses_fqns) {
        return -1;
    }
    struct pp_plan_config other = *c;
    other.round = c->round == PP_ROUND_DOWN ? PP_ROUND_UP : PP_ROUND_DOWN;
    struct pp_split_request split_req = pp_plan_split_request(req, &other);
    struct pp_split split = {0};
    if (pp_split_stages(&split_req, &split, NULL) != PP_OK) {
        return -1;
    }
    struct pp_plan like = *current;
    like.stage_count = split.stage_count;
    return find_choices(set, &like);
}

void pp_plan_rank(const struct pp_plan_request *req, struct pp_plan_set *set) {
    if (set->plan_count > 0) { /* qsort takes no NULL */
        qsort(set->plans, (size_t)set->plan_count, sizeof *set->plans, compare_plans);
    }
    set->best = set->plan_count > 0 && set->plans[0].fits ? 0 : -1;
    set->best_same_memory = -1;
    for (int32_t i = 0; i < set->plan_count && set->current->has_costs; i++) {
        if (set->plans[i].fits && set->plans[i].max_peak_bytes <= set->current->max_peak_bytes) {
            set->best_same_memory = i;
            break;
        }
    }
    set->current_index = find_choices(set, set->current);
    set->other_round = find_other_round(req, set);
}
