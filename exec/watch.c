/* What is wrong when nothing goes on: whose fault it is, told for the rank that stands, in a line.
 */
#include "exec/drive_priv.h"

#include <stdio.h>
#include <stdlib.h>

const char *pp_failure_text(enum pp_failure_kind kind) {
    static const char *const texts[] = {
        [PP_FAIL_NONE] = "none",         [PP_FAIL_STANDSTILL] = "standstill",
        [PP_FAIL_DEADLINE] = "deadline", [PP_FAIL_MESSAGE] = "message",
        [PP_FAIL_COMPUTE] = "compute",   [PP_FAIL_DEAD] = "dead",
        [PP_FAIL_ABORTED] = "aborted"};
    return kind >= PP_FAIL_NONE && kind <= PP_FAIL_ABORTED ? texts[kind] : "unknown";
}

void pp_watch_views(const struct pp_drive *d, struct pp_failure *failure) {
    failure->views = malloc((size_t)d->rank_count * sizeof *failure->views);
    failure->view_count = failure->views == NULL ? 0 : d->rank_count;
    for (int32_t i = 0; i < failure->view_count; i++) {
        failure->views[i] = pp_rank_view(d->ranks[i]);
    }
}

/* ---- whose fault ---- */

/* Of this process; NULL if it runs elsewhere. */
static const struct pp_rank *find_rank(const struct pp_drive *d, int32_t rank) {
    for (int32_t i = 0; i < d->rank_count; i++) {
        if (d->ranks[i]->config.rank == rank) {
            return d->ranks[i];
        }
    }
    return NULL;
}

/* What a rank stands at or for: an action of its own. */
static int32_t stands_at(const struct pp_rank_view *v) {
    return v->waits_for >= 0 ? v->waits_for : v->action;
}

/* How an action stands, and where its rank does. @return false: not known */
static bool look_at(const struct pp_drive *d, int32_t action, struct pp_rank_view *view_p,
                    enum pp_action_state *state_p) {
    const struct pp_rank *rank = find_rank(d, pp_rank_of(d->program->sched, action));
    if (rank == NULL) {
        return d->options.look_at != NULL &&
               d->options.look_at(d->options.look_context, d->ranks[0]->step, action, view_p,
                                  state_p);
    }
    *view_p = pp_rank_view(rank);
    *state_p = pp_rank_state(rank, action);
    return true;
}

/* A SEND may be held up by an earlier message of its channel that is not taken yet: the receiver's
 * wait for that one then, as long as the sender's. */
static struct pp_rank_view wait_for_first(const struct pp_drive *d, struct pp_rank_view v) {
    const struct pp_sched *s = d->program->sched;
    const struct pp_bound *bound = d->program->bound;
    const struct pp_rank *peer = find_rank(d, v.peer_rank);
    int32_t first = v.peer_action;
    enum pp_action_type type = (enum pp_action_type)s->actions[first].type;
    if (peer == NULL || (type != PP_RECV_F && type != PP_RECV_B)) {
        return v;
    }
    for (int32_t i = peer->begin; i < peer->end; i++) {
        if ((s->actions[i].type == PP_RECV_F || s->actions[i].type == PP_RECV_B) &&
            bound[i].channel == bound[first].channel && bound[i].sequence < bound[first].sequence &&
            pp_rank_state(peer, i) == PP_ACTION_STARTED) {
            first = i;
        }
    }
    if (first != v.peer_action) {
        v = (struct pp_rank_view){.rank = peer->config.rank,
                                  .action = pp_rank_view(peer).action,
                                  .waits_for = first,
                                  .peer_rank = v.rank,
                                  .peer_action = s->producer[first],
                                  .since_ns = v.since_ns};
    }
    return v;
}

/* Follows a rank that waits to the one that it waits for in the end: one that runs, or one whose
 * message the other side has handed over, so that it should have come. In a circle of waits nobody
 * is the first; then it ends somewhere on it. */
static struct pp_rank_view find_root(const struct pp_drive *d, const struct pp_rank *rank) {
    struct pp_rank_view v = pp_rank_view(rank);
    for (int32_t steps = 0; steps < d->program->sched->rank_count; steps++) {
        struct pp_rank_view peer;
        enum pp_action_state state;
        if (v.running || v.peer_rank < 0 || !look_at(d, v.peer_action, &peer, &state)) {
            break;
        }
        if (state >= PP_ACTION_STARTED) {
            return wait_for_first(d, v);
        }
        v = peer;
    }
    return v;
}

/* ---- in words ---- */

/* "3F2 has waited 0.512 s for 3RECV_F2 from rank 0, which says it sent it" */
static void describe(const struct pp_drive *d, const struct pp_rank_view *v, int64_t now_ns,
                     char *text, size_t size) {
    const struct pp_sched *s = d->program->sched;
    char wait[PP_ACTION_TEXT_BYTES];
    char peer[PP_ACTION_TEXT_BYTES];
    double waited_s = (double)(now_ns - v->since_ns) * 1e-9;
    if (v->waits_for < 0) {
        snprintf(text, size, "%s for %.3f s", v->running ? "has run" : "has stood", waited_s);
        return;
    }
    int at = snprintf(text, size, "waited %.3f s for ", waited_s);
    text += at;
    size -= (size_t)at;
    pp_action_text(&s->actions[v->waits_for], wait);
    if (v->peer_action < 0) {
        snprintf(text, size, "%s of its own", wait);
        return;
    }
    enum pp_action_type type = (enum pp_action_type)s->actions[v->waits_for].type;
    bool sends = type == PP_SEND_F || type == PP_SEND_B;
    struct pp_rank_view other;
    enum pp_action_state state;
    bool known = look_at(d, v->peer_action, &other, &state);
    pp_action_text(&s->actions[v->peer_action], peer);
    snprintf(text, size, "%s %s rank %d, %s %s there", wait, sends ? "to" : "from", v->peer_rank,
             peer,
             !known                       ? "which is another process; not known how it stands"
             : state == PP_ACTION_DONE    ? "is said to be done"
             : state == PP_ACTION_STARTED ? "is handed over, but not done"
                                          : "is not reached");
}

/* "rank 1 stage 3 microbatch 2: 3F2 waited ..." for the rank that is to be named. */
static enum pp_status tell(const struct pp_drive *d, struct pp_rank_view v,
                           enum pp_failure_kind kind, struct pp_failure *failure,
                           struct pp_err *err) {
    char where[PP_WHERE_BYTES];
    char what[256];
    describe(d, &v, pp_now_ns(), what, sizeof what);
    failure->kind = kind;
    failure->rank = v.rank;
    failure->action = stands_at(&v);
    if (failure->action < 0) {
        return pp_fail(err, PP_E_RUN, "%s: rank %d at the end of its list %s",
                       pp_failure_text(kind), v.rank, what);
    }
    int32_t at = v.action >= 0 ? v.action : failure->action;
    return pp_fail(err, PP_E_RUN, "%s: %s %s", pp_failure_text(kind),
                   pp_where(d->program->sched, at, where), what);
}

/* ---- standstill ---- */

enum pp_status pp_watch_standstill(const struct pp_drive *d, struct pp_failure *failure,
                                   struct pp_err *err) {
    int32_t first = 0;
    while (first + 1 < d->rank_count && d->ranks[first]->finished) {
        first++;
    }
    return tell(d, find_root(d, d->ranks[first]), PP_FAIL_STANDSTILL, failure, err);
}

/* ---- deadline ---- */

static bool is_late(const struct pp_drive *d, struct pp_rank_view v, int64_t now_ns) {
    const struct pp_drive_options *o = &d->options;
    int32_t action = v.action >= 0 ? v.action : v.waits_for;
    int64_t factor_ns = 0;
    int64_t limit_ns = o->deadline_ns;
    if (action < 0) {
        return false; /* at its end */
    }
    if (o->deadline_factor > 0 &&
        pp_mul_i64(o->deadline_factor, d->program->expected_ns[action], &factor_ns)) {
        limit_ns = pp_max_i64(limit_ns, factor_ns);
    }
    return limit_ns > 0 && now_ns - v.since_ns > limit_ns;
}

bool pp_watch(const struct pp_drive *d, struct pp_failure *failure, struct pp_err *err) {
    int64_t now_ns = pp_now_ns();
    if (d->options.look_around != NULL &&
        d->options.look_around(d->options.look_context, failure, err)) {
        if (err->status == PP_OK) {
            pp_fail(err, PP_E_RUN, "%s", pp_failure_text(failure->kind));
        }
        return true;
    }
    /* One that waits for another is late only if that one is: a bubble may be long. */
    struct pp_rank_view worst = {.since_ns = INT64_MAX};
    for (int32_t i = 0; i < d->rank_count; i++) {
        if (is_late(d, pp_rank_view(d->ranks[i]), now_ns)) {
            struct pp_rank_view root = find_root(d, d->ranks[i]);
            worst = is_late(d, root, now_ns) && root.since_ns < worst.since_ns ? root : worst;
        }
    }
    if (worst.since_ns < INT64_MAX) {
        tell(d, worst, PP_FAIL_DEADLINE, failure, err);
    }
    return worst.since_ns < INT64_MAX;
}

/* ---- a rank that failed ---- */

void pp_watch_failed(const struct pp_drive *d, const struct pp_rank *rank,
                     struct pp_failure *failure, struct pp_err *err) {
    failure->kind = rank->failure == PP_FAIL_NONE ? PP_FAIL_COMPUTE : rank->failure;
    failure->rank = rank->config.rank;
    failure->action = rank->failed_action;
    /* A message may be missing because who was to send it is gone: that is the cause to tell. */
    struct pp_failure found = *failure;
    struct pp_err cause = {0};
    if (failure->kind == PP_FAIL_MESSAGE && d->options.look_around != NULL &&
        d->options.look_around(d->options.look_context, &found, &cause) &&
        found.kind == PP_FAIL_DEAD) {
        *failure = found;
        *err = cause;
    }
}

/* ---- table ---- */

void pp_views_table(const struct pp_program *program, const struct pp_rank_view *views,
                    int32_t count, int64_t now_ns, struct pp_text *out) {
    const struct pp_sched *s = program->sched;
    for (int32_t i = 0; i < count; i++) {
        const struct pp_rank_view *v = &views[i];
        char at[PP_ACTION_TEXT_BYTES] = "end";
        char text[PP_ACTION_TEXT_BYTES];
        if (v->action >= 0) {
            pp_action_text(&s->actions[v->action], at);
        }
        pp_text_printf(out, "rank %-4d %-12s %s %9.3f s", v->rank, at,
                       v->running ? "runs since " : "waits since",
                       (double)(now_ns - v->since_ns) * 1e-9);
        if (v->waits_for >= 0) {
            pp_text_printf(out, "  for %s", pp_action_text(&s->actions[v->waits_for], text));
        }
        if (v->peer_action >= 0) {
            pp_text_printf(out, " (%s of rank %d)",
                           pp_action_text(&s->actions[v->peer_action], text), v->peer_rank);
        }
        pp_text_puts(out, "\n");
    }
}
