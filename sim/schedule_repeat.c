/* Several flushes of a schedule, one after the other. */
#include "sim/schedule.h"

#include <stdlib.h>

static enum pp_status check_limits(const struct pp_sched *s, int32_t count, struct pp_err *err) {
    PP_ASSERT(s->sealed);
    if (s->lowered) {
        return pp_fail(err, PP_E_ARG,
                       "a lowered schedule cannot be repeated: repeat the compute-only one, then "
                       "lower it");
    }
    if (count < 1) {
        return pp_fail(err, PP_E_RANGE, "flushes: got %d, need at least 1", count);
    }
    int64_t microbatches = (int64_t)s->microbatch_count * count;
    if (microbatches > PP_SCHED_MAX_MICROBATCHES) {
        return pp_fail(err, PP_E_RANGE, "%d flushes of %d microbatches are %lld, the limit is %d",
                       count, s->microbatch_count, (long long)microbatches,
                       PP_SCHED_MAX_MICROBATCHES);
    }
    int64_t actions = (int64_t)s->action_count * count;
    if (actions > PP_SCHED_MAX_ACTIONS) {
        return pp_fail(err, PP_E_RANGE, "%d flushes of %d actions are %lld, the limit is %d", count,
                       s->action_count, (long long)actions, PP_SCHED_MAX_ACTIONS);
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int64_t cells = (int64_t)s->cell_count[rank] * count; /* idle ones need no action */
        if (cells > PP_SCHED_MAX_ACTIONS) {
            return pp_fail(err, PP_E_RANGE,
                           "%d flushes of %d cells on rank %d are %lld, the limit is %d", count,
                           s->cell_count[rank], rank, (long long)cells, PP_SCHED_MAX_ACTIONS);
        }
    }
    return PP_OK;
}

/* Puts every rank's list `count` times behind one another. */
static void fill(const struct pp_sched *s, int32_t count, struct pp_sched *repeated) {
    struct pp_action *to = repeated->actions;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        for (int32_t flush = 0; flush < count; flush++) {
            for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
                *to = s->actions[at];
                to->microbatch += flush * s->microbatch_count;
                to->cell += flush * s->cell_count[rank];
                to++;
            }
        }
        repeated->cell_count[rank] = s->cell_count[rank] * count;
    }
    repeated->action_count = s->action_count * count;
}

enum pp_status pp_sched_repeat(const struct pp_sched *s, int32_t count,
                               struct pp_sched **repeated_p, struct pp_err *err) {
    PP_TRY(check_limits(s, count, err));
    struct pp_sched *repeated = NULL;
    PP_TRY(pp_sched_create(s->rank_count, s->stage_count, s->microbatch_count * count,
                           s->stage_rank, &repeated, err));
    repeated->part_count = s->part_count;
    repeated->slice_count = s->slice_count;
    repeated->action_capacity = s->action_count * count;
    repeated->actions = malloc((size_t)repeated->action_capacity * sizeof *repeated->actions);
    enum pp_status status;
    if (repeated->actions == NULL) {
        status =
            pp_fail(err, PP_E_NOMEM, "out of memory for %d actions", repeated->action_capacity);
    } else {
        fill(s, count, repeated);
        status = pp_sched_seal(repeated, err);
    }
    if (status != PP_OK) {
        pp_sched_destroy(repeated);
        return status;
    }
    *repeated_p = repeated;
    return PP_OK;
}
