/* The interpreter of one rank: its life, and the walk over its list. Lanes are in rank_lanes.c. */
#include "exec/rank_priv.h"

#include <stdlib.h>
#include <string.h>

/* ---- life ---- */

enum pp_status pp_rank_create(const struct pp_rank_config *config, struct pp_rank **rank_p,
                              struct pp_err *err) {
    struct pp_rank *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for rank %d", config->rank);
    }
    r->config = *config;
    r->sched = config->program->sched;
    r->bound = config->program->bound;
    r->begin = r->sched->rank_begin[config->rank];
    r->end = r->sched->rank_begin[config->rank + 1];
    size_t count = (size_t)(r->end - r->begin);
    /* An exchange has a receive and a send at once. */
    size_t messages = 2 * count;
    r->state = calloc(count, sizeof *r->state);
    r->queue_ns = calloc(3 * count, sizeof *r->queue_ns);
    r->held = malloc(2 * count * sizeof *r->held);
    r->posted = malloc(messages * sizeof *r->posted);
    enum pp_status status =
        r->state == NULL || r->queue_ns == NULL || r->held == NULL || r->posted == NULL
            ? pp_fail(err, PP_E_NOMEM, "out of memory for %zu actions of rank %d", count,
                      config->rank)
            : pp_exchanges_create(r, err);
    if (status != PP_OK) {
        pp_rank_destroy(r);
        return status;
    }
    r->start_ns = r->queue_ns + count;
    r->end_ns = r->start_ns + count;
    r->flights = r->held + count;
    r->cursor = r->end;
    r->finished = true;
    *rank_p = r;
    return PP_OK;
}

void pp_rank_destroy(struct pp_rank *r) {
    if (r != NULL) {
        pp_exchanges_destroy(r);
        free((void *)r->state);
        free(r->queue_ns);
        free(r->held);
        free(r->posted);
        free(r);
    }
}

/* Where the rank stands. @return whether that is news */
static bool publish(struct pp_rank *r, int32_t action, int32_t waits_for, bool running) {
    uint64_t stands = (uint64_t)(action + 1) << 32 | (uint64_t)(waits_for + 1) << 1 | running;
    if (atomic_load_explicit(&r->stands, memory_order_relaxed) == stands) {
        return false;
    }
    atomic_store_explicit(&r->since_ns, pp_rank_now(r), memory_order_relaxed);
    /* who sees where it stands sees since when */
    atomic_store_explicit(&r->stands, stands, memory_order_release);
    return true;
}

enum pp_status pp_rank_begin(struct pp_rank *r, int64_t step, int64_t zero_ns, struct pp_err *err) {
    PP_ASSERT(r->finished);
    for (int32_t i = r->begin; i < r->end; i++) {
        pp_rank_set_state(r, i, PP_ACTION_AHEAD);
    }
    r->cursor = r->begin;
    r->step = step;
    r->zero_ns = zero_ns;
    r->finished = false;
    r->held_count = r->posted_count = r->posted_sends = r->flight_count = 0;
    r->failure = PP_FAIL_NONE;
    r->failed_action = -1;
    r->now_ns = 0;
    r->cursor_ns = pp_rank_now(r);
    atomic_store_explicit(&r->stands, 0, memory_order_relaxed); /* so that it is news */
    publish(r, r->cursor, -1, false);
    pp_rank_note(r, PP_EVENT_BEGIN, -1, -1);
    return pp_exchanges_begin(r, err);
}

void pp_rank_abort(struct pp_rank *r) {
    r->held_count = r->posted_count = r->posted_sends = r->flight_count = 0;
    if (r->config.transport->abort != NULL) {
        r->config.transport->abort(r->config.endpoint);
    }
}

/* ---- the walk ---- */

static enum pp_status start_if_free(struct pp_rank *r, int32_t action, bool *advanced_p,
                                    struct pp_err *err) {
    if (pp_rank_state(r, action) != PP_ACTION_AHEAD || pp_rank_open_wait(r, action) >= 0) {
        return PP_OK;
    }
    *advanced_p = true;
    r->queue_ns[action - r->begin] = r->cursor_ns;
    publish(r, action, -1, true);
    return pp_rank_start(r, action, err);
}

/* At a compute action. @param passed_p  it is done */
static enum pp_status walk_compute(struct pp_rank *r, bool *advanced_p, bool *passed_p,
                                   struct pp_err *err) {
    int32_t at = r->cursor;
    PP_TRY(start_if_free(r, at, advanced_p, err));
    if (r->sched->actions[at].pair == 1 && r->config.compute->overlaps &&
        pp_rank_state(r, at) == PP_ACTION_STARTED) {
        PP_TRY(start_if_free(r, at + 1, advanced_p, err));
    }
    *passed_p = pp_rank_state(r, at) == PP_ACTION_DONE;
    return PP_OK;
}

static enum pp_status walk(struct pp_rank *r, bool *advanced_p, struct pp_err *err) {
    while (r->cursor < r->end) {
        if (pp_action_is_compute(&r->sched->actions[r->cursor])) {
            bool passed = false;
            PP_TRY(walk_compute(r, advanced_p, &passed, err));
            if (!passed) {
                return PP_OK;
            }
            /* of a pair the second part may have ended first */
            r->cursor_ns = pp_max_i64(r->cursor_ns, r->end_ns[r->cursor - r->begin]);
        } else {
            PP_TRY(pp_rank_pass(r, r->cursor, err));
        }
        r->cursor++;
        *advanced_p = true;
    }
    return PP_OK;
}

/* A channel is a FIFO: what holds a message up is the first of its channel that is not over. */
static int32_t first_of_channel(const struct pp_rank *r, int32_t action) {
    enum pp_action_type type = (enum pp_action_type)r->sched->actions[action].type;
    if (type < PP_SEND_F || type > PP_RECV_B) {
        return action;
    }
    for (int32_t i = 0; i < r->posted_count; i++) {
        const struct pp_posted *p = &r->posted[i];
        if (p->exchange < 0 && p->m.channel == r->bound[action].channel) {
            return p->m.index;
        }
    }
    return action;
}

/* What the rank waits for at its cursor: of what is held, what that waits for. */
static int32_t waits_for(const struct pp_rank *r, int32_t action) {
    int32_t wait = pp_rank_open_wait(r, action);
    while (wait >= 0 && pp_rank_state(r, wait) == PP_ACTION_HELD) {
        int32_t deeper = pp_rank_open_wait(r, wait);
        if (deeper < 0) {
            break;
        }
        wait = deeper;
    }
    return wait < 0 ? wait : first_of_channel(r, wait);
}

/* What is left when the list is at its end. */
static int32_t last_open(const struct pp_rank *r) {
    if (r->flight_count > 0) {
        return r->flights[0];
    }
    for (int32_t i = 0; i < r->posted_count; i++) {
        if (r->posted[i].exchange < 0) {
            return r->posted[i].m.index;
        }
    }
    if (r->held_count > 0) {
        return r->held[0];
    }
    for (int32_t i = 0; i < r->exchange_count; i++) {
        if (pp_rank_state(r, r->exchanges[i].action) != PP_ACTION_DONE) {
            return r->exchanges[i].action;
        }
    }
    return -1;
}

static void note_blocked(struct pp_rank *r) {
    bool at_end = r->cursor == r->end;
    int32_t action = at_end ? -1 : r->cursor;
    int32_t wait = at_end ? last_open(r) : waits_for(r, action);
    bool running = !at_end && pp_rank_state(r, action) == PP_ACTION_STARTED;
    if (publish(r, action, wait, running) && !running) {
        pp_rank_note(r, PP_EVENT_BLOCKED, action, wait);
    }
}

static enum pp_progress fail(struct pp_rank *r, int32_t action) {
    if (r->failed_action < 0) {
        r->failed_action = action;
    }
    pp_rank_note(r, PP_EVENT_FAILED, r->failed_action, -1);
    return PP_FAILED;
}

enum pp_progress pp_rank_poll(struct pp_rank *r, struct pp_err *err) {
    bool advanced = false;
    r->now_ns = 0;
    if (r->finished) {
        return PP_FINISHED;
    }
    if (r->failure != PP_FAIL_NONE || pp_rank_move(r, &advanced, err) != PP_OK ||
        walk(r, &advanced, err) != PP_OK) {
        return fail(r, r->cursor < r->end ? r->cursor : -1);
    }
    if (r->cursor == r->end && r->posted_count == 0 && r->held_count == 0 && r->flight_count == 0 &&
        r->exchanges_open == 0) {
        r->finished = true;
        publish(r, -1, -1, false);
        pp_rank_note(r, PP_EVENT_STEP_DONE, -1, -1);
        return PP_FINISHED;
    }
    if (!advanced) {
        note_blocked(r);
    }
    return advanced ? PP_ADVANCED : PP_BLOCKED;
}
