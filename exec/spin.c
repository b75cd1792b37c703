#include "exec/spin.h"

#include <stdlib.h>
#include <time.h>

enum { NS_PER_S = 1000000000, IDLE_NS = 50000 };

enum pp_status pp_spin_init(struct pp_spin *spin, const struct pp_sched *s,
                            const int64_t *duration_ns, struct pp_err *err) {
    int64_t *until_ns = calloc((size_t)s->action_count + 1, sizeof *until_ns);
    if (until_ns == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory to run %d actions", s->action_count);
    }
    *spin = (struct pp_spin){
        .duration_ns = duration_ns, .until_ns = until_ns, .action_count = s->action_count};
    return PP_OK;
}

void pp_spin_deinit(struct pp_spin *spin) {
    free(spin->until_ns);
    *spin = (struct pp_spin){0};
}

static int64_t spin_now_ns(void *context) {
    (void)context;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static enum pp_status spin_start(void *context, const struct pp_sched *s, int32_t index,
                                 struct pp_err *err) {
    (void)s;
    (void)err;
    struct pp_spin *spin = context;
    spin->until_ns[index] = spin_now_ns(context) + spin->duration_ns[index];
    return PP_OK;
}

static bool spin_done(void *context, const struct pp_sched *s, int32_t index) {
    (void)s;
    const struct pp_spin *spin = context;
    return spin_now_ns(context) >= spin->until_ns[index];
}

static void spin_idle(void *context) {
    int64_t wake_ns = spin_now_ns(context) + IDLE_NS;
    struct timespec t = {.tv_sec = (time_t)(wake_ns / NS_PER_S), .tv_nsec = wake_ns % NS_PER_S};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

const struct pp_compute_ops pp_spin_ops = {
    .api = PP_COMPUTE_API,
    .name = "spin",
    .now_ns = spin_now_ns,
    .start = spin_start,
    .done = spin_done,
    .idle = spin_idle,
};
