#include "reports/plan_json.h"

#include "sim/memory_parts.h"
#include "sim/plan_price.h"

static json_t *known_int(bool known, int64_t value) {
    return known ? json_integer(value) : json_null();
}

static void add_override(void *context, const char *key, const char *value) {
    json_array_append_new(context, json_sprintf("--%s=%s", key, value));
}

static json_t *peak_actions(const struct pp_plan *plan) {
    json_t *array = json_array();
    for (int32_t r = 0; r < plan->config.pp_size; r++) {
        char text[PP_ACTION_TEXT_BYTES];
        const char *action = pp_plan_peak_action(plan, r, text);
        json_array_append_new(array, action == NULL ? json_null() : json_string(action));
    }
    return array;
}

static void add_choices(json_t *o, const struct pp_plan *plan) {
    const struct pp_plan_config *c = &plan->config;
    bool split = plan->stage_count > 0 && plan->layer_counts != NULL;
    bool placed = split && plan->stage_rank != NULL;
    json_object_set_new(o, "plan_id", json_string(plan->id));
    json_object_set_new(o, "schedule",
                        c->schedule == NULL ? json_null() : json_string(c->schedule->name));
    json_object_set_new(o, "pp_size", json_integer(c->pp_size));
    json_object_set_new(o, "layers_per_stage",
                        known_int(c->has_layers_per_stage, c->layers_per_stage));
    json_object_set_new(
        o, "round", c->round == PP_ROUND_NONE ? json_null() : json_string(pp_round_name(c->round)));
    json_object_set_new(o, "num_virtual_stages", known_int(split, plan->stage_count));
    json_object_set_new(o, "stages_per_rank", known_int(split, plan->stages_per_rank));
    json_object_set_new(o, "layer_counts",
                        split ? pp_json_i32s(plan->layer_counts, plan->stage_count) : json_null());
    json_object_set_new(o, "stage_ranks",
                        placed ? pp_json_i32s(plan->stage_rank, plan->stage_count) : json_null());
    json_object_set_new(o, "pp_microbatch_size", json_integer(c->microbatch_size));
    json_object_set_new(o, "local_batch_size", json_integer(c->local_batch_size));
    json_object_set_new(o, "num_microbatches",
                        known_int(plan->microbatch_count > 0, plan->microbatch_count));
    json_object_set_new(o, "flushes_per_step", known_int(plan->flush_count > 0, plan->flush_count));
    json_object_set_new(o, "dp_size", json_integer(plan->dp_size));
}

/* Where the idle time of one flush goes, all ranks together. */
static json_t *idle_json(const struct pp_plan *plan) {
    json_t *o = json_object();
    for (enum pp_cause c = PP_CAUSE_FILL; c < PP_CAUSE_COUNT; c++) {
        json_object_set_new(o, pp_cause_text(c), json_integer(plan->idle_ns[c]));
    }
    return o;
}

/* What each rank's peak consists of. */
static json_t *parts_json(const struct pp_plan *plan) {
    json_t *array = json_array();
    for (int32_t r = 0; r < plan->config.pp_size; r++) {
        json_t *o = json_object();
#define ADD_PART(member, text, words)                                                              \
    json_object_set_new(o, text, json_integer(plan->parts[r].member));
        PP_MEMORY_PART_LIST(ADD_PART)
#undef ADD_PART
        json_array_append_new(array, o);
    }
    return array;
}

static void add_figures(json_t *o, const struct pp_plan *plan) {
    bool known = plan->has_costs;
    int32_t ranks = plan->config.pp_size;
    json_object_set_new(o, "step_time_ns", known_int(known && plan->step_ns > 0, plan->step_ns));
    json_object_set_new(o, "flush_time_ns", known_int(known, plan->flush_ns));
    bool has_step = known && plan->step_ns > 0; /* all flushes and the three sum to the step */
    json_object_set_new(o, "flushes_time_ns", known_int(has_step, plan->flushes_ns));
    json_object_set_new(o, "param_gather_ns", known_int(has_step, plan->step_cost.param_gather_ns));
    json_object_set_new(o, "grad_sync_ns", known_int(has_step, plan->step_cost.grad_sync_ns));
    json_object_set_new(o, "optimizer_ns", known_int(has_step, plan->step_cost.optimizer_ns));
    json_object_set_new(o, "bubble_ratio",
                        plan->evaluated ? json_real(plan->bubble_ratio) : json_null());
    json_object_set_new(o, "bubble_of",
                        plan->evaluated ? json_string(known ? "costs" : "unit costs")
                                        : json_null());
    json_object_set_new(o, "idle_ns", plan->evaluated ? idle_json(plan) : json_null());
    json_object_set_new(o, "peak_memory_bytes",
                        known ? pp_json_i64s(plan->peak_bytes, ranks) : json_null());
    json_object_set_new(o, "resident_memory_bytes",
                        known ? pp_json_i64s(plan->base_bytes, ranks) : json_null());
    json_object_set_new(o, "peak_actions", known ? peak_actions(plan) : json_null());
    if (plan->parts != NULL) { /* of the recipe as it is and of the best plan */
        json_object_set_new(o, "peak_parts_bytes", parts_json(plan));
    }
    json_object_set_new(o, "memory_limit_bytes", known_int(known, plan->limit_bytes));
    json_object_set_new(o, "fits", known ? json_boolean(plan->fits) : json_null());
    json_object_set_new(o, "why", json_string(plan->why));
}

/* One plan: what it does and the overrides that produce it. Unknown figures are null. */
static json_t *plan_json(const struct pp_recipe *recipe, const struct pp_plan *plan) {
    json_t *o = json_object();
    json_t *overrides = json_array();
    add_choices(o, plan);
    add_figures(o, plan);
    pp_plan_overrides(recipe, &plan->config, add_override, overrides);
    json_object_set_new(o, "overrides", overrides);
    return o;
}

static json_t *lints_json(const struct pp_lint *lints, int32_t count) {
    static const char *const levels[] = {"info", "warning", "error"};
    json_t *array = json_array();
    for (int32_t i = 0; i < count; i++) {
        const struct pp_lint *l = &lints[i];
        json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "code", l->code, "level", levels[l->level],
                              "key", l->key, "message", l->message);
        if (l->line > 0) {
            json_object_set_new(o, "line", json_integer(l->line));
            json_object_set_new(o, "column", json_integer(l->column));
        }
        json_array_append_new(array, o);
    }
    return array;
}

static json_t *id_at(const struct pp_plan_set *set, int32_t index) {
    return index < 0 ? json_null() : json_string(set->plans[index].id);
}

static json_t *price_point(const struct pp_plan_set *set, const struct pp_price_point *point) {
    bool fits = point->plan >= 0;
    json_t *o = json_object();
    json_object_set_new(o, "memory_limit_bytes", json_integer(point->limit_bytes));
    json_object_set_new(o, "plan_id", id_at(set, point->plan));
    json_object_set_new(o, "step_time_ns",
                        fits ? json_integer(set->plans[point->plan].step_ns) : json_null());
    json_object_set_new(o, "change_ns", fits ? json_integer(point->change_ns) : json_null());
    return o;
}

/* Null where no plan has costs. */
static json_t *price_json(const struct pp_plan_set *set) {
    struct pp_memory_price price;
    pp_plan_price(set, &price);
    if (price.now.plan < 0 && price.next.plan < 0) {
        return json_null();
    }
    json_t *o = json_object();
    json_object_set_new(o, "now", price_point(set, &price.now));
    json_object_set_new(o, "one_gib_more", price_point(set, &price.more));
    json_object_set_new(o, "one_gib_less", price_point(set, &price.less));
    json_object_set_new(o, "next_change",
                        price.next.plan < 0 ? json_null() : price_point(set, &price.next));
    return o;
}

void pp_json_plan_set(json_t *document, const struct pp_recipe *recipe,
                      const struct pp_plan_set *set) {
    json_t *current = plan_json(recipe, set->current);
    json_object_set_new(current, "error",
                        set->current_error.status == PP_OK ? json_null()
                                                           : pp_json_error(&set->current_error));
    json_object_set_new(document, "current", current);
    json_object_set_new(document, "best", id_at(set, set->best));
    json_object_set_new(document, "best_at_no_more_memory", id_at(set, set->best_same_memory));
    json_object_set_new(document, "other_round", id_at(set, set->other_round));
    json_object_set_new(document, "memory_price", price_json(set));
    json_object_set_new(document, "considered", json_integer(set->considered_count));
    json_object_set_new(document, "lints", lints_json(set->lints, set->lint_count));
    json_t *plans = json_array();
    for (int32_t i = 0; i < set->plan_count; i++) {
        json_array_append_new(plans, plan_json(recipe, &set->plans[i]));
    }
    json_object_set_new(document, "plans", plans);
}
