/* Faults by name, and those that are done to a workload. Those that are done to messages are in
 * fault_transport.c. */
#include "exec/fault_priv.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fault_texts[] = {
#define FAULT_TEXT(name, text) text,
    PP_FAULT_LIST(FAULT_TEXT)
#undef FAULT_TEXT
};

/* ---- by name ---- */

enum { MAX_FIELD = 64 };

/* "drop:0SEND_F3:5ms@2", cut up. */
struct fields {
    char kind[MAX_FIELD], action[MAX_FIELD], delay[MAX_FIELD], step[MAX_FIELD];
};

/* Takes what stands before one of `ends` or the end. @return what follows */
static const char *take(const char *at, const char *ends, char field[MAX_FIELD]) {
    size_t size = strcspn(at, ends);
    size_t kept = size < MAX_FIELD ? size : MAX_FIELD - 1;
    memcpy(field, at, kept);
    field[kept] = '\0';
    return at + size;
}

static struct fields cut(const char *text) {
    struct fields f = {{0}, {0}, {0}, {0}};
    const char *at = take(text, ":@", f.kind);
    at = *at == ':' ? take(at + 1, ":@", f.action) : at;
    at = *at == ':' ? take(at + 1, "@", f.delay) : at;
    if (*at == '@') {
        take(at + 1, "", f.step);
    }
    return f;
}

static enum pp_status read_kind(const char *text, enum pp_fault_kind *kind_p, struct pp_err *err) {
    for (int kind = 0; kind < PP_FAULT_COUNT; kind++) {
        if (strcmp(text, fault_texts[kind]) == 0) {
            *kind_p = (enum pp_fault_kind)kind;
            return PP_OK;
        }
    }
    enum pp_status status = pp_fail(err, PP_E_VALUE, "no such fault: %s", text);
    pp_hint(err, "one of none, drop, duplicate, reorder, corrupt, size, delay, kill, stall");
    return status;
}

static enum pp_status read_action(const char *text, const struct pp_sched *s, int32_t *action_p,
                                  struct pp_err *err) {
    char name[PP_ACTION_TEXT_BYTES];
    for (int32_t i = 0; i < s->action_count; i++) {
        if (strcmp(pp_action_text(&s->actions[i], name), text) == 0) {
            *action_p = i;
            return PP_OK;
        }
    }
    enum pp_status status = pp_fail(err, PP_E_VALUE, "the program has no action %s", text);
    pp_hint(err, "%d ranks, stages 0 to %d, microbatches 0 to %d, such as %s", s->rank_count,
            s->stage_count - 1, s->microbatch_count - 1, pp_action_text(&s->actions[0], name));
    return status;
}

/* Digits, a fraction, and ns, us, ms or s; a bare number is microseconds. */
static enum pp_status read_delay(const char *text, int64_t *delay_ns_p, struct pp_err *err) {
    static const struct {
        const char *text;
        double ns;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"", 1e3}, {"ms", 1e6}, {"s", 1e9}};
    char *end;
    double value = strtod(text, &end);
    for (size_t i = 0; end != text && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].text) == 0 && value > 0 && value * units[i].ns <= 1e15) {
            *delay_ns_p = pp_round_i64(value * units[i].ns);
            return PP_OK;
        }
    }
    return pp_fail(err, PP_E_VALUE, "a delay needs a duration above 0, such as 200ms, found \"%s\"",
                   text);
}

static enum pp_status read_step(const char *text, int64_t *step_p, struct pp_err *err) {
    char *end;
    long long step = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || step < 0) {
        return pp_fail(err, PP_E_VALUE, "behind @ a step from 0 was expected, found \"%s\"", text);
    }
    *step_p = step;
    return PP_OK;
}

static bool is_send(const struct pp_action *a) {
    return a->type == PP_SEND_F || a->type == PP_SEND_B;
}

enum pp_status pp_fault_parse(const char *text, const struct pp_sched *lowered,
                              struct pp_fault *fault_p, struct pp_err *err) {
    struct fields f = cut(text);
    struct pp_fault fault = {.kind = PP_FAULT_NONE, .action = -1};
    PP_TRY(read_kind(f.kind, &fault.kind, err));
    if (fault.kind != PP_FAULT_NONE) {
        PP_TRY(read_action(f.action, lowered, &fault.action, err));
        if (pp_fault_is_about_messages(fault.kind) && !is_send(&lowered->actions[fault.action])) {
            return pp_fail(err, PP_E_VALUE, "%s is done to a SEND, %s is none", f.kind, f.action);
        }
    }
    if (fault.kind == PP_FAULT_DELAY) {
        PP_TRY(read_delay(f.delay, &fault.delay_ns, err));
    } else if (f.delay[0] != '\0') {
        return pp_fail(err, PP_E_VALUE, "%s takes no duration, found \"%s\"", f.kind, f.delay);
    }
    if (f.step[0] != '\0' || strchr(text, '@') != NULL) {
        PP_TRY(read_step(f.step, &fault.step, err));
    }
    *fault_p = fault;
    return PP_OK;
}

/* ---- a workload ---- */

static bool strikes(const struct pp_fault_compute *f, const struct pp_work *work) {
    return work->index == f->fault.action && f->step == f->fault.step;
}

static enum pp_status fault_start(void *context, const struct pp_work *work, struct pp_err *err) {
    struct pp_fault_compute *f = context;
    if (f->fault.kind == PP_FAULT_KILL && strikes(f, work)) {
        raise(SIGKILL);
    }
    if (f->fault.kind == PP_FAULT_STALL && strikes(f, work)) {
        f->stalled = true;
        return PP_OK;
    }
    return f->inner->start(f->inner_context, work, err);
}

static bool fault_done(void *context, const struct pp_work *work) {
    const struct pp_fault_compute *f = context;
    if (f->stalled && strikes(f, work)) {
        return false;
    }
    return f->inner->done == NULL || f->inner->done(f->inner_context, work);
}

static int64_t fault_wake_ns(void *context) {
    const struct pp_fault_compute *f = context;
    return f->inner->wake_ns(f->inner_context);
}

static void fault_times(void *context, int32_t index, int64_t *start_ns_p, int64_t *end_ns_p) {
    const struct pp_fault_compute *f = context;
    f->inner->times(f->inner_context, index, start_ns_p, end_ns_p);
}

static enum pp_status fault_begin_step(void *context, int64_t step, struct pp_err *err) {
    struct pp_fault_compute *f = context;
    f->step = step;
    return f->inner->begin_step == NULL ? PP_OK : f->inner->begin_step(f->inner_context, step, err);
}

static enum pp_status fault_end_step(void *context, int64_t step, struct pp_err *err) {
    const struct pp_fault_compute *f = context;
    return f->inner->end_step(f->inner_context, step, err);
}

static double fault_loss(void *context) {
    const struct pp_fault_compute *f = context;
    return f->inner->loss(f->inner_context);
}

static int32_t fault_state(void *context, int32_t index, struct pp_state *state_p) {
    const struct pp_fault_compute *f = context;
    return f->inner->state(f->inner_context, index, state_p);
}

static const void *fault_exchange(void *context, int32_t stage, int64_t *bytes_p) {
    const struct pp_fault_compute *f = context;
    return f->inner->exchange(f->inner_context, stage, bytes_p);
}

static int32_t fault_profile(void *context, struct pp_profile_row *rows, int32_t room) {
    const struct pp_fault_compute *f = context;
    return f->inner->profile(f->inner_context, rows, room);
}

void pp_fault_wrap_compute(struct pp_fault_compute *wrapped, const struct pp_compute_ops *inner,
                           void *inner_context, const struct pp_fault *fault) {
    bool stalls = fault->kind == PP_FAULT_STALL;
    *wrapped = (struct pp_fault_compute){
        .ops = {.api = PP_COMPUTE_API,
                .name = inner->name,
                .overlaps = inner->overlaps,
                .start = fault_start,
                .done = stalls || inner->done != NULL ? fault_done : NULL,
                .wake_ns = inner->wake_ns == NULL ? NULL : fault_wake_ns,
                .times = inner->times == NULL ? NULL : fault_times,
                .begin_step = fault_begin_step, /* always, to know the step */
                .end_step = inner->end_step == NULL ? NULL : fault_end_step,
                .loss = inner->loss == NULL ? NULL : fault_loss,
                .state = inner->state == NULL ? NULL : fault_state,
                .exchange = inner->exchange == NULL ? NULL : fault_exchange,
                .profile = inner->profile == NULL ? NULL : fault_profile},
        .inner = inner,
        .inner_context = inner_context,
        .fault = *fault};
}
