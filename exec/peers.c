#include "exec/peers.h"

#include "exec/where.h"

#include <stdio.h>

static bool read_ring(const struct pp_peers *w, int32_t rank, struct pp_ring_reading *reading) {
    return pp_ring_read(w->folder, rank, w->program->hash, reading, NULL) == PP_OK &&
           reading->same_machine;
}

static bool is_own(const struct pp_peers *w, int32_t rank) {
    return rank >= w->rank_begin && rank < w->rank_end;
}

/* An index from a file. @return -1 if it is not of this rank's actions */
static int32_t checked(const struct pp_program *program, int32_t rank, int32_t action) {
    const struct pp_sched *s = program->sched;
    return action >= s->rank_begin[rank] && action < s->rank_begin[rank + 1] ? action : -1;
}

/* How a rank ended. */
static enum pp_failure_kind judge(const struct pp_ring_reading *r) {
    const struct pp_event *last = r->count > 0 ? &r->events[r->count - 1] : NULL;
    if (last != NULL && last->kind == PP_EVENT_FAILED) {
        return PP_FAIL_ABORTED;
    }
    bool well = r->alive || (last != NULL && last->kind == PP_EVENT_ENDED);
    return well ? PP_FAIL_NONE : PP_FAIL_DEAD;
}

/* "1F3 (stage 1, microbatch 3) of step 2" */
static void describe(const struct pp_program *program, int32_t action, int64_t step, char *out,
                     size_t size) {
    const struct pp_action *a = &program->sched->actions[action];
    char text[PP_ACTION_TEXT_BYTES], microbatch[32] = "";
    if (a->microbatch >= 0) {
        snprintf(microbatch, sizeof microbatch, ", microbatch %d", a->microbatch);
    }
    snprintf(out, size, "%s (stage %d%s) of step %lld", pp_action_text(a, text), a->stage,
             microbatch, (long long)step);
}

static void tell(const struct pp_peers *w, int32_t rank, const struct pp_ring_reading *r,
                 enum pp_failure_kind kind, struct pp_failure *failure, struct pp_err *err) {
    const struct pp_event *last = r->count > 0 ? &r->events[r->count - 1] : NULL;
    int32_t action = kind == PP_FAIL_DEAD ? pp_ring_last_action(r) : last->action;
    if (kind == PP_FAIL_ABORTED && action >= 0 && action < w->program->sched->action_count) {
        rank = pp_rank_of(w->program->sched, action); /* it may have failed because of another */
    }
    action = checked(w->program, rank, action);
    failure->kind = kind;
    failure->rank = rank;
    failure->action = action;
    char where[PP_WHERE_BYTES];
    if (action >= 0) {
        describe(w->program, action, last->step, where, sizeof where);
    }
    if (kind == PP_FAIL_ABORTED) {
        pp_fail(err, PP_E_RUN, "rank %d failed%s%s", rank, action >= 0 ? " in " : "",
                action >= 0 ? where : "");
    } else if (action >= 0) {
        pp_fail(err, PP_E_RUN, "rank %d died in %s: its process %lld is gone", rank, where,
                (long long)r->process);
    } else if (last == NULL) {
        pp_fail(err, PP_E_RUN, "rank %d died before its first step: its process %lld is gone", rank,
                (long long)r->process);
    } else {
        pp_fail(err, PP_E_RUN, "rank %d died %s step %lld: its process %lld is gone", rank,
                last->kind == PP_EVENT_STEP_DONE ? "after" : "in", (long long)last->step,
                (long long)r->process);
    }
}

bool pp_peers_look(void *context, struct pp_failure *failure, struct pp_err *err) {
    const struct pp_peers *w = context;
    int32_t failed = -1;
    bool cause = false; /* is it known in what? */
    struct pp_ring_reading r;
    for (int32_t rank = 0; rank < w->program->sched->rank_count; rank++) {
        if (is_own(w, rank) || !read_ring(w, rank, &r)) {
            continue;
        }
        enum pp_failure_kind kind = judge(&r);
        if (kind == PP_FAIL_DEAD) { /* before failures: those may be because of it */
            tell(w, rank, &r, kind, failure, err);
            return true;
        }
        bool knows = kind == PP_FAIL_ABORTED && r.events[r.count - 1].action >= 0;
        if (kind == PP_FAIL_ABORTED && (failed < 0 || (knows && !cause))) {
            failed = rank;
            cause = knows;
        }
    }
    if (failed < 0 || !read_ring(w, failed, &r) || judge(&r) != PP_FAIL_ABORTED) {
        return false;
    }
    tell(w, failed, &r, PP_FAIL_ABORTED, failure, err);
    return true;
}

/* ---- views ---- */

/* The REDUCE_GRAD of a stage's copy, if it is another rank's. */
static int32_t find_reduce(const struct pp_program *program, int32_t action) {
    const struct pp_sched *s = program->sched;
    int32_t copy = pp_program_copy_of(program, s->actions[action].stage);
    if (copy < 0 || s->stage_rank[copy] == pp_rank_of(s, action)) {
        return -1;
    }
    int32_t rank = s->stage_rank[copy];
    for (int32_t i = s->rank_begin[rank]; i < s->rank_begin[rank + 1]; i++) {
        if (s->actions[i].type == PP_REDUCE_GRAD && s->actions[i].stage == copy) {
            return i;
        }
    }
    return -1;
}

static int32_t find_peer(const struct pp_program *program, int32_t action) {
    enum pp_action_type type = (enum pp_action_type)program->sched->actions[action].type;
    if (type == PP_SEND_F || type == PP_SEND_B) {
        return pp_program_receiver(program, action);
    }
    if (type == PP_RECV_F || type == PP_RECV_B) {
        return program->sched->producer[action];
    }
    return type == PP_REDUCE_GRAD ? find_reduce(program, action) : -1;
}

static struct pp_rank_view view_of(const struct pp_program *program, int32_t rank,
                                   const struct pp_ring_reading *r) {
    struct pp_rank_view view = {
        .rank = rank, .action = -1, .waits_for = -1, .peer_rank = -1, .peer_action = -1};
    if (r->count > 0) {
        view.since_ns = r->events[r->count - 1].time_ns;
    }
    int32_t at = pp_ring_last_open(r);
    if (at < 0) {
        return view;
    }
    const struct pp_event *e = &r->events[at];
    view.action = checked(program, rank, e->action);
    view.since_ns = e->time_ns;
    view.running = e->kind == PP_EVENT_STARTED;
    view.waits_for = e->kind == PP_EVENT_BLOCKED ? checked(program, rank, e->other) : -1;
    for (int32_t i = at + 1; i < r->count; i++) {
        if (r->events[i].kind == PP_EVENT_DONE && r->events[i].action == view.waits_for) {
            view.waits_for = -1; /* and it has not come to go on */
        }
    }
    if (view.waits_for >= 0) {
        view.peer_action = find_peer(program, view.waits_for);
        view.peer_rank = view.peer_action < 0 ? -1 : pp_rank_of(program->sched, view.peer_action);
    }
    return view;
}

/* By the events of the step; what has been overwritten is long over. */
static enum pp_action_state state_of(const struct pp_ring_reading *r, int32_t action,
                                     int32_t stands_at) {
    for (int32_t i = r->count - 1; i >= 0; i--) {
        const struct pp_event *e = &r->events[i];
        if (e->kind == PP_EVENT_BEGIN) {
            return PP_ACTION_AHEAD;
        }
        if (e->action == action && e->kind == PP_EVENT_DONE) {
            return PP_ACTION_DONE;
        }
        if (e->action == action && (e->kind == PP_EVENT_POSTED || e->kind == PP_EVENT_STARTED)) {
            return PP_ACTION_STARTED;
        }
    }
    return action < stands_at ? PP_ACTION_DONE : PP_ACTION_AHEAD;
}

bool pp_peers_look_at(void *context, int64_t step, int32_t action, struct pp_rank_view *view_p,
                      enum pp_action_state *state_p) {
    const struct pp_peers *w = context;
    int32_t rank = pp_rank_of(w->program->sched, action);
    struct pp_ring_reading r;
    if (!read_ring(w, rank, &r) || r.count == 0 || r.events[r.count - 1].step != step) {
        return false;
    }
    *view_p = view_of(w->program, rank, &r);
    int32_t end = w->program->sched->rank_begin[rank + 1];
    *state_p = state_of(&r, action, view_p->action >= 0 ? view_p->action : end);
    return view_p->action >= 0 || view_p->waits_for >= 0;
}

int32_t pp_peers_views(const struct pp_peers *peers, struct pp_rank_view *views) {
    int32_t count = 0;
    for (int32_t rank = 0; rank < peers->program->sched->rank_count; rank++) {
        struct pp_ring_reading r;
        if (!is_own(peers, rank) && read_ring(peers, rank, &r)) {
            views[count++] = view_of(peers->program, rank, &r);
        }
    }
    return count;
}
