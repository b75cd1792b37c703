/* A step in the long run: when ranks begin their steps is a state that each step turns into the
 * next; once a state is an earlier one moved by some time, the steps since then repeat for ever. */
#include "sim/step.h"

#include <stdlib.h>
#include <string.h>

/* Is `b` the state `a` moved by one time? */
static bool is_moved(const int64_t *a, const int64_t *b, int32_t count) {
    for (int32_t i = 1; i < count; i++) {
        if (b[i] - a[i] != b[0] - a[0]) {
            return false;
        }
    }
    return true;
}

/* The slowest rank's way from `a` to `b`. */
static int64_t longest_way(const int64_t *a, const int64_t *b, int32_t count) {
    int64_t way = 0;
    for (int32_t i = 0; i < count; i++) {
        way = pp_max_i64(way, b[i] - a[i]);
    }
    return way;
}

/* @param states  [PP_STEP_MAX_STEPS + 1][rank_count], the first filled */
static enum pp_status find_pace(struct pp_step *step, const struct pp_eval *eval,
                                const struct pp_costs *costs, struct pp_step_inputs *in,
                                struct pp_trace *trace, int64_t *states, int64_t *pace_ns_p,
                                struct pp_err *err) {
    int32_t ranks = trace->sched->rank_count;
    for (int32_t i = 1; i <= PP_STEP_MAX_STEPS; i++) {
        int64_t *state = states + (ptrdiff_t)i * ranks;
        struct pp_step_times times;
        in->begin_ns = state - ranks;
        PP_TRY(pp_step_run(step, eval, costs, in, trace, &times, err));
        memcpy(state, pp_step_done_ns(step), (size_t)ranks * sizeof *state);
        for (int32_t since = i - 1; since >= 0; since--) {
            const int64_t *earlier = states + (ptrdiff_t)since * ranks;
            if (is_moved(earlier, state, ranks)) {
                *pace_ns_p = pp_div_round_i64(state[0] - earlier[0], i - since);
                return PP_OK;
            }
        }
        *pace_ns_p = longest_way(state - ranks, state, ranks);
    }
    return PP_OK;
}

enum pp_status pp_step_pace(struct pp_step *step, const struct pp_eval *eval,
                            const struct pp_costs *costs, const struct pp_step_inputs *in,
                            struct pp_trace *trace, int64_t *pace_ns_p, struct pp_err *err) {
    size_t ranks = (size_t)trace->sched->rank_count;
    int64_t *states = calloc((PP_STEP_MAX_STEPS + 1) * ranks, sizeof *states);
    if (states == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for steps of %zu ranks", ranks);
    }
    if (in->begin_ns != NULL) {
        memcpy(states, in->begin_ns, ranks * sizeof *states);
    }
    struct pp_step_inputs own = *in;
    enum pp_status status = find_pace(step, eval, costs, &own, trace, states, pace_ns_p, err);
    free(states);
    return status;
}
