/* Checking OFFLOAD and RELOAD: both or neither for a stage's microbatch, in this order between its
 * forward and its backward; and telling the backwards what they wait for. */
#include "sim/schedule_priv.h"

#include <stdlib.h>

/* Transfers of one (stage, microbatch), as index + 1; 0 = none seen yet. */
struct round_trip {
    int32_t offload, reload;
};

static bool any_offload(const struct pp_sched *s) {
    for (int32_t at = 0; at < s->action_count; at++) {
        if (pp_action_is_offload(&s->actions[at])) {
            return true;
        }
    }
    return false;
}

static enum pp_status note(const struct pp_sched *s, int32_t at, const struct pp_sched_slot *slot,
                           struct round_trip *trip, struct pp_err *err) {
    if (s->actions[at].type == PP_OFFLOAD) {
        if (trip->offload != 0) {
            return pp_sched_misplaced(s, at, "appears a second time", err);
        }
        if (at < slot->forward - 1) {
            return pp_sched_misplaced(s, at, "comes before its forward; F must run first", err);
        }
        trip->offload = at + 1;
        return PP_OK;
    }
    if (trip->reload != 0) {
        return pp_sched_misplaced(s, at, "appears a second time", err);
    }
    if (trip->offload == 0) {
        return pp_sched_misplaced(s, at, "comes before its OFFLOAD; it must leave first", err);
    }
    if (at > slot->backward - 1) {
        return pp_sched_misplaced(s, at, "comes after its backward, which needs it", err);
    }
    trip->reload = at + 1;
    return PP_OK;
}

static enum pp_status note_all(const struct pp_sched *s, const struct pp_sched_slot *slots,
                               struct round_trip *trips, struct pp_err *err) {
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        if (pp_action_is_offload(a)) {
            int64_t index = (int64_t)a->stage * s->microbatch_count + a->microbatch;
            PP_TRY(note(s, at, &slots[index], &trips[index], err));
        }
    }
    int64_t slot_count = (int64_t)s->stage_count * s->microbatch_count;
    for (int64_t i = 0; i < slot_count; i++) {
        if (trips[i].offload != 0 && trips[i].reload == 0) {
            return pp_sched_misplaced(s, trips[i].offload - 1,
                                      "has no RELOAD; its backward needs what it moves", err);
        }
        if (trips[i].reload != 0) {
            s->reload[slots[i].backward - 1] = trips[i].reload - 1;
        }
    }
    return PP_OK;
}

enum pp_status pp_sched_seal_offloads(struct pp_sched *s, const struct pp_sched_slot *slots,
                                      struct pp_err *err) {
    free(s->reload); /* of an earlier attempt */
    s->reload = NULL;
    if (!any_offload(s)) {
        return PP_OK;
    }
    size_t slot_count = (size_t)s->stage_count * (size_t)s->microbatch_count;
    struct round_trip *trips = calloc(slot_count, sizeof *trips);
    s->reload = malloc((size_t)s->action_count * sizeof *s->reload);
    enum pp_status status;
    if (trips == NULL || s->reload == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for %d actions", s->action_count);
    } else {
        for (int32_t at = 0; at < s->action_count; at++) {
            s->reload[at] = -1;
        }
        status = note_all(s, slots, trips, err);
    }
    free(trips);
    return status;
}
