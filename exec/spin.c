/* Lets time pass. Each action has an end by the clock, reckoned from when it could start: not from
 * when the rank happened to look. */
#include "exec/spin.h"
#include "exec/clock.h"

#include <stdlib.h>

/* Lanes of a rank, as the engine has them; two of compute, for the parts of a pair. */
enum lane { LANE_COMPUTE, LANE_SECOND, LANE_COLLECTIVE, LANE_HOST, LANE_COUNT };

struct pp_spin {
    const struct pp_program *program;
    const int64_t *duration_ns;
    int64_t *start_ns; /* [action_count] */
    int64_t lane_end_ns[LANE_COUNT];
    int32_t *flights; /* [action_count] started, and not yet asked for after their end */
    int32_t flight_count;
};

enum pp_status pp_spin_create(const struct pp_program *program, const int64_t *duration_ns,
                              struct pp_spin **spin_p, struct pp_err *err) {
    struct pp_spin *spin = calloc(1, sizeof *spin);
    size_t count = (size_t)program->sched->action_count;
    int64_t *start_ns = calloc(count, sizeof *start_ns);
    int32_t *flights = malloc(count * sizeof *flights);
    if (spin == NULL || start_ns == NULL || flights == NULL) {
        free(spin);
        free(start_ns);
        free(flights);
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d actions",
                       program->sched->action_count);
    }
    spin->program = program;
    spin->duration_ns = duration_ns;
    spin->start_ns = start_ns;
    spin->flights = flights;
    *spin_p = spin;
    return PP_OK;
}

void pp_spin_destroy(struct pp_spin *spin) {
    if (spin != NULL) {
        free(spin->start_ns);
        free(spin->flights);
        free(spin);
    }
}

static enum lane lane_of(const struct pp_action *a, bool overlaps) {
    if (pp_action_is_compute(a)) {
        return overlaps && a->pair == 2 ? LANE_SECOND : LANE_COMPUTE;
    }
    return pp_action_is_offload(a) ? LANE_HOST : LANE_COLLECTIVE;
}

/* The second part of a pair has a lane beside compute while the first runs; what comes behind waits
 * for both, as the walk does not go on before. */
static enum pp_status start(struct pp_spin *spin, const struct pp_work *work, bool overlaps) {
    int64_t *lane_end_ns = &spin->lane_end_ns[lane_of(&work->action, overlaps)];
    int64_t start_ns = pp_max_i64(work->ready_ns, *lane_end_ns);
    spin->start_ns[work->index] = start_ns;
    *lane_end_ns = start_ns + spin->duration_ns[work->index];
    spin->flights[spin->flight_count++] = work->index;
    return PP_OK;
}

static enum pp_status spin_start(void *context, const struct pp_work *work, struct pp_err *err) {
    (void)err;
    return start(context, work, false);
}

static enum pp_status spin_start_overlap(void *context, const struct pp_work *work,
                                         struct pp_err *err) {
    (void)err;
    return start(context, work, true);
}

static int64_t end_of(const struct pp_spin *spin, int32_t index) {
    return spin->start_ns[index] + spin->duration_ns[index];
}

static void forget(struct pp_spin *spin, int32_t index) {
    for (int32_t i = 0; i < spin->flight_count; i++) {
        if (spin->flights[i] == index) {
            spin->flights[i] = spin->flights[--spin->flight_count];
            return;
        }
    }
}

static bool spin_done(void *context, const struct pp_work *work) {
    bool done = pp_now_ns() >= end_of(context, work->index);
    if (done) {
        forget(context, work->index);
    }
    return done;
}

static int64_t spin_wake_ns(void *context) {
    const struct pp_spin *spin = context;
    int64_t wake_ns = INT64_MAX;
    for (int32_t i = 0; i < spin->flight_count; i++) {
        wake_ns = pp_min_i64(wake_ns, end_of(spin, spin->flights[i]));
    }
    return spin->flight_count > 0 ? wake_ns : 0;
}

static void spin_times(void *context, int32_t index, int64_t *start_ns_p, int64_t *end_ns_p) {
    const struct pp_spin *spin = context;
    *start_ns_p = spin->start_ns[index];
    *end_ns_p = end_of(spin, index);
}

const struct pp_compute_ops pp_spin_ops = {.api = PP_COMPUTE_API,
                                           .name = "spin",
                                           .start = spin_start,
                                           .done = spin_done,
                                           .wake_ns = spin_wake_ns,
                                           .times = spin_times};

const struct pp_compute_ops pp_spin_overlap_ops = {.api = PP_COMPUTE_API,
                                                   .name = "spin",
                                                   .overlaps = true,
                                                   .start = spin_start_overlap,
                                                   .done = spin_done,
                                                   .wake_ns = spin_wake_ns,
                                                   .times = spin_times};
