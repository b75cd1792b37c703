#include "reports/deadlock_json.h"

static json_t *end_json(const struct pp_sched *s, int32_t rank, int32_t action) {
    char text[PP_ACTION_TEXT_BYTES];
    json_t *end = json_object();
    json_object_set_new(end, "rank", json_integer(rank));
    json_object_set_new(end, "action", json_string(pp_action_text(&s->actions[action], text)));
    return end;
}

json_t *pp_json_deadlock(const struct pp_sched *s, const struct pp_deadlock *deadlock) {
    json_t *cycle = json_array();
    for (int32_t i = 0; i < deadlock->wait_count; i++) {
        const struct pp_wait *w = &deadlock->waits[i];
        json_t *wait = end_json(s, w->rank, w->action);
        json_object_set_new(wait, "waits_for", end_json(s, w->for_rank, w->for_action));
        json_array_append_new(cycle, wait);
    }
    return cycle;
}
