#include "reports/compared.h"
#include "reports/json.h"

static json_t *text_or_null(const char *text) {
    return text == NULL || text[0] == '\0' ? json_null() : pp_json_text(text);
}

static json_t *action_json(const struct pp_sched *s, int32_t at) {
    if (at < 0) {
        return json_null();
    }
    char text[PP_ACTION_TEXT_BYTES];
    return json_pack("{s:i, s:s}", "rank", s->stage_rank[s->actions[at].stage], "action",
                     pp_action_text(&s->actions[at], text));
}

static json_t *messages_json(const struct pp_comparison *c) {
    static const char *const directions[] = {"forward", "backward"};
    json_t *array = json_array();
    for (int i = 0; i < 2; i++) {
        const struct pp_message_times *a = &c->a.messages[i];
        const struct pp_message_times *b = &c->b.messages[i];
        json_array_append_new(
            array,
            json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "direction",
                      directions[i], "count", c->message_count[i], "a_wait_ns",
                      (json_int_t)a->wait_ns, "b_wait_ns", (json_int_t)b->wait_ns, "a_transfer_ns",
                      (json_int_t)a->transfer_ns, "b_transfer_ns", (json_int_t)b->transfer_ns,
                      "a_median_wait_ns", (json_int_t)a->median_wait_ns, "b_median_wait_ns",
                      (json_int_t)b->median_wait_ns, "a_median_transfer_ns",
                      (json_int_t)a->median_transfer_ns, "b_median_transfer_ns",
                      (json_int_t)b->median_transfer_ns));
    }
    return array;
}

static json_t *types_json(const struct pp_comparison *c) {
    json_t *array = json_array();
    for (int type = 0; type < PP_ACTION_TYPE_COUNT; type++) {
        const struct pp_compared_type *t = &c->types[type];
        if (t->count > 0) {
            json_array_append_new(array,
                                  json_pack("{s:s, s:i, s:I, s:I, s:I}", "type",
                                            pp_action_type_text((enum pp_action_type)type), "count",
                                            t->count, "a_median_ns", (json_int_t)t->a_ns,
                                            "b_median_ns", (json_int_t)t->b_ns,
                                            "median_difference_ns", (json_int_t)t->difference_ns));
        }
    }
    return array;
}

static json_t *ranks_json(const struct pp_comparison *c, int32_t rank_count) {
    json_t *array = json_array();
    for (int32_t r = 0; r < rank_count; r++) {
        json_array_append_new(array, json_pack("{s:i, s:I, s:I}", "rank", r, "a_busy_ns",
                                               (json_int_t)c->a.busy_ns[r], "b_busy_ns",
                                               (json_int_t)c->b.busy_ns[r]));
    }
    return array;
}

static void add_figures(json_t *side, const struct pp_compared_trace *t) {
    const struct pp_metrics *m = &t->metrics;
    json_object_set_new(side, "makespan_ns", json_integer(m->makespan_ns));
    json_object_set_new(side, "bubble_ratio", json_real(m->bubble_ratio));
    json_object_set_new(side, "span_bubble_ratio", json_real(m->span_bubble_ratio));
    json_object_set_new(side, "over_ideal_ratio", json_real(m->over_ideal_ratio));
    json_object_set_new(
        side, "critical_path",
        json_pack("{s:i, s:I, s:I, s:I, s:I}", "action_count", t->path.count, "compute_ns",
                  (json_int_t)t->path.compute_ns, "message_ns", (json_int_t)t->path.message_ns,
                  "other_ns", (json_int_t)t->path.other_ns, "lag_ns", (json_int_t)t->path.lag_ns));
}

static json_t *measured_json(const struct pp_measured *m, const struct pp_compared_trace *t) {
    const struct pp_stored_execution *e = &m->execution;
    json_t *side = json_pack("{s:s, s:s}", "what", "execution", "execution_id", e->id);
    json_object_set_new(side, "plan_id", text_or_null(e->plan_id));
    json_object_set_new(side, "program_hash", text_or_null(e->program_hash));
    json_object_set_new(side, "workload", pp_json_text(e->workload));
    json_object_set_new(side, "device", pp_json_text(e->device));
    json_object_set_new(side, "transport", pp_json_text(e->transport));
    json_object_set_new(side, "machine", pp_json_text(e->machine));
    json_object_set_new(side, "state", json_string(pp_execution_state_text(e->state)));
    json_object_set_new(side, "step", json_integer(m->step));
    json_object_set_new(side, "steps_chosen_from",
                        m->choice_count > 0 ? json_integer(m->choice_count) : json_null());
    add_figures(side, t);
    return side;
}

static json_t *predicted_json(const struct pp_prediction *p, const struct pp_compared_trace *t) {
    bool calibrated = p->calibration_id[0] != '\0';
    json_t *side =
        json_pack("{s:s, s:s}", "what", "prediction", "costs_from", pp_costs_from_text(p->from));
    json_object_set_new(side, "calibration_id", text_or_null(p->calibration_id));
    json_object_set_new(side, "learned_from_count",
                        calibrated ? json_integer(p->learned_count) : json_null());
    json_object_set_new(side, "learned_from_b", json_boolean(p->saw_it));
    add_figures(side, t);
    return side;
}

static json_t *divergence_json(const struct pp_compared *c) {
    const struct pp_comparison *k = &c->comparison;
    const struct pp_sched *s = c->second.execution.sched;
    const struct pp_trace *a = c->is_prediction ? &c->prediction.trace : &c->first.trace;
    const struct pp_trace *b = &c->second.trace;
    const struct pp_divergence *d = &k->divergence;
    json_t *object = json_pack("{s:I}", "tolerance_ns", (json_int_t)d->tolerance_ns);
    if (d->reason == PP_DIVERGED_NOT) {
        json_object_set_new(object, "reason", json_null());
        return object;
    }
    json_object_set_new(object, "reason", json_string(pp_divergence_text(d->reason)));
    json_object_set_new(object, "at", action_json(s, d->action));
    json_object_set_new(object, "position", json_integer(d->at));
    json_object_set_new(object, "a_start_ns", json_integer(a->start_ns[d->action]));
    json_object_set_new(object, "b_start_ns", json_integer(b->start_ns[d->action]));
    json_object_set_new(object, "a_held_up_by", action_json(s, d->a_before));
    json_object_set_new(object, "b_held_up_by", action_json(s, d->b_before));
    return object;
}

void pp_json_compared(json_t *document, const struct pp_compared *compared) {
    const struct pp_comparison *c = &compared->comparison;
    const struct pp_sched *s = compared->second.execution.sched;
    json_object_set_new(document, "kind",
                        json_string(compared->is_prediction ? "prediction" : "executions"));
    json_object_set_new(document, "a",
                        compared->is_prediction ? predicted_json(&compared->prediction, &c->a)
                                                : measured_json(&compared->first, &c->a));
    json_object_set_new(document, "b", measured_json(&compared->second, &c->b));
    json_object_set_new(document, "makespan_error", json_real(c->makespan_error));
    json_object_set_new(document, "start_error_ns",
                        json_pack("{s:I, s:I, s:I, s:o}", "p50", (json_int_t)c->start_p50_ns, "p95",
                                  (json_int_t)c->start_p95_ns, "max", (json_int_t)c->start_max_ns,
                                  "max_at", action_json(s, c->start_max_action)));
    json_object_set_new(document, "durations", types_json(c));
    json_object_set_new(document, "ranks", ranks_json(c, s->rank_count));
    json_object_set_new(document, "messages", messages_json(c));
    json_object_set_new(document, "divergence", divergence_json(compared));
}
