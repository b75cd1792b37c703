/* An order in which everything comes after all that it waits for, found by letting each rank run
 * until it lacks an input. */
#include "sim/engine_priv.h"

#include <stdlib.h>

struct walk {
    struct pp_engine *e;
    int32_t *next;     /* [rank_count] first action not visited, or not posted */
    int32_t *head;     /* [queue_count] first not visited; INT32_MAX when through */
    int32_t *open;     /* [rank_count] SENDs and RECVs posted and not visited */
    int32_t *ready;    /* [rank_count] stack of ranks that may advance */
    int32_t *dirty;    /* [queue_count] stack of queues whose first may be visited */
    bool *is_waiting;  /* [rank_count] */
    bool *is_dirty;    /* [queue_count] */
    int32_t *received; /* [link_count] with places: messages sent and received */
    int32_t *sent;
    int32_t ready_count, dirty_count;
};

static struct pp_engine_step *emit(struct walk *w, enum pp_engine_step_kind kind, int32_t at,
                                   int32_t rank) {
    struct pp_engine_step *step = &w->e->steps[w->e->step_count++];
    *step = (struct pp_engine_step){.at = at,
                                    .other = w->e->s->action_count,
                                    .kind = (uint32_t)kind & 15,
                                    .rank = (uint32_t)rank & 4095};
    return step;
}

static void look_at(struct walk *w, int32_t queue) {
    if (!w->is_dirty[queue]) {
        w->is_dirty[queue] = true;
        w->dirty[w->dirty_count++] = queue;
    }
}

/* Takes the first of a queue out: it is visited. */
static void take(struct walk *w, int32_t queue) {
    int32_t after = w->e->entries[w->head[queue]].after;
    w->head[queue] = after < 0 ? INT32_MAX : after;
    int32_t rank = w->e->queue_rank[queue];
    w->open[rank]--;
    if (w->is_waiting[rank]) {
        w->is_waiting[rank] = false;
        w->ready[w->ready_count++] = rank;
    }
    look_at(w, queue);
}

static bool is_posted_first(const struct walk *w, int32_t queue, int32_t at) {
    return w->head[queue] == at && at < w->next[w->e->queue_rank[queue]];
}

/* Visits the first of a queue if all that it waits for was. @return whether it was */
static bool visit_first(struct walk *w, int32_t queue) {
    struct pp_engine *e = w->e;
    int32_t head = w->head[queue];
    if (head == INT32_MAX || !is_posted_first(w, queue, head)) {
        return false;
    }
    const struct pp_action *a = &e->s->actions[head];
    bool is_send = pp_engine_is_send(a->type);
    int32_t send = is_send ? head : e->entries[head].partner;
    int32_t recv = is_send ? e->entries[head].partner : head;
    int32_t msg = pp_engine_message_of(&e->s->actions[send]);
    const struct pp_engine_message *m = &e->messages[msg];
    struct pp_engine_step *step;
    if (e->room == NULL) {
        if (!is_posted_first(w, is_send ? m->recv_queue : m->send_queue,
                             e->entries[head].partner)) {
            return false;
        }
        step = emit(w, PP_STEP_MESSAGE, send, m->from);
        step->other = recv;
        take(w, m->send_queue);
        take(w, m->recv_queue);
    } else if (is_send) {
        if (w->sent[m->link] - w->received[m->link] >= e->runtime.comms.buffer_count) {
            return false;
        }
        step = emit(w, PP_STEP_SEND, send, m->from);
        step->other = e->room[send] >= 0 ? e->room[send] : e->s->action_count;
        w->sent[m->link]++;
        take(w, m->send_queue);
        look_at(w, m->recv_queue);
    } else {
        if (w->sent[m->link] == w->received[m->link]) {
            return false;
        }
        step = emit(w, PP_STEP_RECV, recv, m->to);
        step->other = send;
        w->received[m->link]++;
        take(w, m->recv_queue);
        look_at(w, m->send_queue);
    }
    step->cost = msg;
    return true;
}

static void settle(struct walk *w) {
    while (w->dirty_count > 0) {
        int32_t queue = w->dirty[--w->dirty_count];
        w->is_dirty[queue] = false;
        while (visit_first(w, queue)) {
        }
    }
}

/* Has the cell that begins with `at` its inputs? Of its own rank what stands before is visited. */
static bool can_enter(const struct walk *w, int32_t at, int32_t size) {
    const struct pp_sched *s = w->e->s;
    for (int32_t part = at; part < at + size; part++) {
        int32_t producer = s->producer[part];
        if (producer < 0) {
            continue;
        }
        const struct pp_action *p = &s->actions[producer];
        if (pp_engine_is_transfer(p->type) ? w->head[pp_engine_queue_of(w->e, p)] <= producer
                                           : producer >= at) {
            return false;
        }
    }
    return true;
}

static void visit_compute(struct walk *w, int32_t rank, int32_t at, int32_t size) {
    const struct pp_sched *s = w->e->s;
    for (int32_t part = at; part < at + size; part++) {
        const struct pp_action *a = &s->actions[part];
        bool is_head = size == 2 && part == at;
        struct pp_engine_step *step = emit(w, is_head ? PP_STEP_PAIR : PP_STEP_COMPUTE, part, rank);
        int32_t producer = s->producer[part];
        step->cost = a->stage * PP_COMPUTE_TYPE_COUNT + a->type;
        if (producer >= 0 && pp_engine_is_transfer(s->actions[producer].type)) {
            step->other = producer;
        }
    }
}

/* How many SENDs and RECVs stand from `at` on in one piece. */
static int32_t batch_size(const struct pp_sched *s, int32_t at, int32_t end) {
    int32_t begin = at;
    while (at < end && pp_engine_is_transfer(s->actions[at].type)) {
        at++;
    }
    return at - begin;
}

/* Posts a batch: by the step of the compute action that stands right before it, or by one of its
 * own. */
static void post_batch(struct walk *w, int32_t rank, int32_t at, int32_t size) {
    const struct pp_sched *s = w->e->s;
    w->next[rank] = at + size;
    w->open[rank] += size;
    struct pp_engine_step *step = NULL;
    if (at > s->rank_begin[rank] && pp_action_is_compute(&s->actions[at - 1])) {
        step = &w->e->steps[w->e->step_count - 1];
    }
    for (int32_t i = 0; i < size; i++) {
        if (step == NULL || step->count == PP_STEP_MAX_COUNT) {
            step = emit(w, PP_STEP_POST, at + i, rank);
        }
        step->count = (step->count + 1u) & UINT16_MAX;
        int32_t queue = pp_engine_queue_of(w->e, &s->actions[at + i]);
        if (w->head[queue] == at + i) {
            look_at(w, queue);
        }
    }
}

static void visit_local(struct walk *w, int32_t rank, int32_t at) {
    const struct pp_action *a = &w->e->s->actions[at];
    if (pp_engine_is_collective(a->type)) {
        emit(w, PP_STEP_COLLECTIVE, at, rank)->cost = pp_engine_collective_of(a);
    } else if (pp_action_is_offload(a)) {
        emit(w, PP_STEP_HOST, at, rank)->cost = a->stage;
    } else {
        emit(w, PP_STEP_RESHARD, at, rank);
    }
}

/* In a batched runtime nothing passes an open batch. */
static bool is_held(struct walk *w, int32_t rank) {
    if (w->e->runtime.batched && w->open[rank] > 0) {
        settle(w);
    }
    return w->e->runtime.batched && w->open[rank] > 0;
}

/* Walks a rank's list until it must wait. */
static void advance(struct walk *w, int32_t rank) {
    const struct pp_sched *s = w->e->s;
    int32_t end = s->rank_begin[rank + 1];
    for (int32_t at = w->next[rank]; at < end; w->next[rank] = at) {
        const struct pp_action *a = &s->actions[at];
        if (is_held(w, rank)) {
            w->is_waiting[rank] = true;
            return;
        }
        if (pp_engine_is_transfer(a->type)) {
            int32_t size = batch_size(s, at, end);
            post_batch(w, rank, at, size);
            at += size;
        } else if (!pp_action_is_compute(a)) {
            visit_local(w, rank, at++);
        } else {
            int32_t size = pp_sched_cell_size(s, at);
            if (!can_enter(w, at, size)) {
                settle(w);
            }
            if (!can_enter(w, at, size)) {
                w->is_waiting[rank] = true;
                return;
            }
            visit_compute(w, rank, at, size);
            at += size;
        }
    }
}

static bool is_through(const struct walk *w) {
    for (int32_t rank = 0; rank < w->e->s->rank_count; rank++) {
        if (w->next[rank] < w->e->s->rank_begin[rank + 1] || w->open[rank] > 0) {
            return false;
        }
    }
    return true;
}

static void walk_all(struct walk *w) {
    const struct pp_sched *s = w->e->s;
    for (int32_t queue = 0; queue < w->e->queue_count; queue++) {
        int32_t first = w->e->queue_first[queue];
        w->head[queue] = first < 0 ? INT32_MAX : first;
    }
    for (int32_t rank = s->rank_count - 1; rank >= 0; rank--) {
        w->next[rank] = s->rank_begin[rank];
        w->ready[w->ready_count++] = rank;
    }
    while (w->ready_count > 0) {
        advance(w, w->ready[--w->ready_count]);
        settle(w);
    }
}

/* Names the wait of one rank: what only batches keep waiting has no cycle in pp_check_run. */
static enum pp_status fail_batched(const struct walk *w, struct pp_err *err) {
    const struct pp_sched *s = w->e->s;
    for (int32_t queue = 0; queue < w->e->queue_count; queue++) {
        int32_t head = w->head[queue];
        int32_t rank = w->e->queue_rank[queue];
        if (head == INT32_MAX || head >= w->next[rank]) {
            continue;
        }
        int32_t other = w->e->entries[head].partner;
        const struct pp_engine_message *m =
            &w->e->messages[pp_engine_message_of(&s->actions[head])];
        char text[PP_ACTION_TEXT_BYTES];
        char other_text[PP_ACTION_TEXT_BYTES];
        return pp_fail(err, PP_E_DEADLOCK,
                       "ranks wait for one another's batches for ever: rank %d has %s in a batch "
                       "that does not end before %s of rank %d, and goes on only after it",
                       rank, pp_action_text(&s->actions[head], text),
                       pp_action_text(&s->actions[other], other_text),
                       rank == m->from ? m->to : m->from);
    }
    return pp_fail(err, PP_E_DEADLOCK, "ranks wait for one another for ever");
}

static enum pp_status find_order(struct pp_engine *e, struct pp_deadlock *deadlock_p,
                                 struct pp_err *err) {
    size_t ranks = (size_t)e->s->rank_count;
    size_t queues = (size_t)e->queue_count;
    size_t links = (size_t)e->link_count;
    struct walk w = {.e = e};
    int32_t *block = calloc(3 * ranks + 2 * queues + 2 * links + ranks + queues, sizeof *block);
    if (block == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for an engine of %d actions",
                       e->s->action_count);
    }
    w.next = block;
    w.open = w.next + ranks;
    w.ready = w.open + ranks;
    w.head = w.ready + ranks;
    w.dirty = w.head + queues;
    w.received = w.dirty + queues;
    w.sent = w.received + links;
    w.is_waiting = (bool *)(w.sent + links);
    w.is_dirty = w.is_waiting + ranks;
    walk_all(&w);
    enum pp_status status = PP_OK;
    if (!is_through(&w)) {
        status = pp_check_run(e->s, &e->runtime.comms, deadlock_p, err);
        if (status == PP_OK) {
            PP_ASSERT(e->runtime.batched);
            status = fail_batched(&w, err);
        }
    }
    free(block);
    return status;
}

/* How many steps the order can take: one an action, and what posts batches. */
static size_t most_steps(const struct pp_sched *s) {
    size_t count = (size_t)s->rank_count + (size_t)s->action_count / PP_STEP_MAX_COUNT;
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        bool posts = pp_engine_is_transfer(a->type) && at > 0 && a[-1].type >= PP_UNSHARD;
        count += posts ? 2 : 1;
    }
    return count;
}

enum pp_status pp_engine_find_order(struct pp_engine *e, struct pp_deadlock *deadlock_p,
                                    struct pp_err *err) {
    e->steps = malloc(most_steps(e->s) * sizeof *e->steps);
    if (e->steps == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for an engine of %d actions",
                       e->s->action_count);
    }
    PP_TRY(find_order(e, deadlock_p, err));
    struct pp_engine_step *fit = realloc(e->steps, ((size_t)e->step_count + 1) * sizeof *fit);
    e->steps = fit != NULL ? fit : e->steps;
    return PP_OK;
}
