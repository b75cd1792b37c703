#include "sim/check_priv.h"

#include <stdlib.h>
#include <string.h>

const char *pp_channels_text(enum pp_channels channels) {
    static const char *const texts[] = {
#define PP_CHANNELS_TEXT(name, text) text,
        PP_CHANNELS_LIST(PP_CHANNELS_TEXT)
#undef PP_CHANNELS_TEXT
    };
    return channels < PP_CHANNELS_COUNT ? texts[channels] : "?";
}

/* ---- the links and queues of a placement ---- */

/* The link between two ranks; makes both ways at their first use. */
static int32_t link_between(struct pp_check *c, int32_t *first_of, int32_t from, int32_t to) {
    for (int32_t link = first_of[from]; link >= 0; link = c->links[link].next_of_from) {
        if (c->links[link].to == to) {
            return link;
        }
    }
    int32_t link = c->link_count;
    c->links[link] = (struct pp_check_link){from, to, 0, 0, 0, 0, first_of[from]};
    c->links[link + 1] = (struct pp_check_link){to, from, 0, 0, 0, 0, first_of[to]};
    first_of[from] = link;
    first_of[to] = link + 1;
    c->link_count += 2;
    return link;
}

static void make_links(struct pp_check *c, int32_t *first_of) {
    const struct pp_sched *s = c->s;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        first_of[rank] = -1;
    }
    for (int32_t i = 0; i < s->stage_count * PP_TRANSFER_TYPE_COUNT; i++) {
        c->link_of[i] = -1;
    }
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        int32_t after = pp_sched_stage_after(s, stage);
        if (after < 0 || s->stage_rank[after] == s->stage_rank[stage]) {
            continue;
        }
        int32_t link = link_between(c, first_of, s->stage_rank[stage], s->stage_rank[after]);
        int32_t *before_of = c->link_of + (ptrdiff_t)stage * PP_TRANSFER_TYPE_COUNT;
        int32_t *after_of = c->link_of + (ptrdiff_t)after * PP_TRANSFER_TYPE_COUNT;
        before_of[PP_SEND_F - PP_SEND_F] = after_of[PP_RECV_F - PP_SEND_F] = link;
        after_of[PP_SEND_B - PP_SEND_F] = before_of[PP_RECV_B - PP_SEND_F] = link ^ 1;
    }
}

static void make_queues(struct pp_check *c) {
    for (int32_t i = 0; i < c->link_count; i++) {
        struct pp_check_link *link = &c->links[i];
        switch (c->comms->channels) {
        case PP_CHANNELS_DIRECTED:
            link->send_queue = 2 * i;
            link->recv_queue = 2 * i + 1;
            break;
        case PP_CHANNELS_PAIR:
            link->send_queue = i;
            link->recv_queue = i ^ 1;
            break;
        case PP_CHANNELS_RANK:
            link->send_queue = link->from;
            link->recv_queue = link->to;
            break;
        case PP_CHANNELS_COUNT:
            break;
        }
    }
    c->queue_count = c->comms->channels == PP_CHANNELS_RANK ? c->s->rank_count : 2 * c->link_count;
    for (int32_t i = 0; i < c->queue_count; i++) {
        c->queues[i] = (struct pp_check_queue){-1, -1};
    }
}

/* ---- one run ---- */

static void wake(struct pp_check *c, int32_t rank) {
    if (c->is_waiting[rank]) {
        c->is_waiting[rank] = false;
        c->ready[c->ready_count++] = rank;
    }
}

static void look_at(struct pp_check *c, int32_t queue) {
    if (!c->is_dirty[queue]) {
        c->is_dirty[queue] = true;
        c->dirty[c->dirty_count++] = queue;
    }
}

static void post(struct pp_check *c, int32_t at) {
    const struct pp_action *a = &c->s->actions[at];
    const struct pp_check_link *link = &c->links[pp_check_link_of(c, a)];
    int32_t number = pp_check_is_send(a) ? link->send_queue : link->recv_queue;
    struct pp_check_queue *queue = &c->queues[number];
    c->after[at] = -1;
    if (queue->head < 0) {
        queue->head = at;
        look_at(c, number);
    } else {
        c->after[queue->tail] = at;
    }
    queue->tail = at;
}

/* Takes the first of a queue out: it is done. */
static void take(struct pp_check *c, struct pp_check_queue *queue) {
    c->done[queue->head] = 1;
    queue->head = c->after[queue->head];
}

static void receive(struct pp_check *c, struct pp_check_link *link) {
    take(c, &c->queues[link->recv_queue]);
    link->received++;
    wake(c, link->to);
}

static void send(struct pp_check *c, struct pp_check_link *link) {
    take(c, &c->queues[link->send_queue]);
    link->sent++;
}

/* Is the first of `queue` on this link? `at_send_side`: as its SEND, else as its RECV. */
static bool is_first(const struct pp_check *c, int32_t queue, int32_t link, bool at_send_side) {
    int32_t head = c->queues[queue].head;
    const struct pp_action *a = &c->s->actions[head < 0 ? 0 : head];
    return head >= 0 && pp_check_link_of(c, a) == link && pp_check_is_send(a) == at_send_side;
}

/* Finishes the first of a queue if it can be. @return whether it was */
static bool finish_first(struct pp_check *c, int32_t queue) {
    int32_t head = c->queues[queue].head;
    if (head < 0) {
        return false;
    }
    const struct pp_action *a = &c->s->actions[head];
    bool is_send = pp_check_is_send(a);
    int32_t number = pp_check_link_of(c, a);
    struct pp_check_link *link = &c->links[number];
    int32_t other = is_send ? link->recv_queue : link->send_queue;
    if (c->comms->buffer_count == 0) {
        if (!is_first(c, other, number, !is_send)) {
            return false;
        }
        send(c, link);
        receive(c, link);
    } else if (is_send) {
        if (link->sent - link->received >= c->comms->buffer_count) {
            return false;
        }
        send(c, link);
    } else {
        if (link->sent == link->received) {
            return false;
        }
        receive(c, link);
    }
    look_at(c, other);
    return true;
}

static void settle(struct pp_check *c) {
    while (c->dirty_count > 0) {
        int32_t queue = c->dirty[--c->dirty_count];
        c->is_dirty[queue] = false;
        while (finish_first(c, queue)) {
        }
    }
}

/* Has the cell that begins with action `at` its inputs? */
static bool can_enter(const struct pp_check *c, int32_t at, int32_t size) {
    for (int32_t i = 0; i < size; i++) {
        int32_t producer = c->s->producer[at + i];
        if (producer >= 0 && c->done[producer] == 0) {
            return false;
        }
    }
    return true;
}

/* After a compute action of a schedule without communication: its neighbour stage may go on. */
static void hand_over(struct pp_check *c, const struct pp_action *a) {
    if (c->s->lowered || a->type == PP_W || a->type > PP_B) {
        return;
    }
    int32_t stage = a->type == PP_F ? pp_sched_stage_after(c->s, a->stage)
                                    : pp_sched_stage_before(c->s, a->stage);
    if (stage >= 0) {
        wake(c, c->s->stage_rank[stage]);
    }
}

/* Walks a rank's list until it must wait. */
static void advance(struct pp_check *c, int32_t rank) {
    const struct pp_sched *s = c->s;
    int32_t at = c->next[rank];
    int32_t end = s->rank_begin[rank + 1];
    while (at < end) {
        if (pp_check_is_transfer(&s->actions[at])) {
            post(c, at++);
            continue;
        }
        int32_t size = pp_sched_cell_size(s, at);
        if (!can_enter(c, at, size)) {
            settle(c); /* what was posted on the way may be done by now */
            if (!can_enter(c, at, size)) {
                c->is_waiting[rank] = true;
                break;
            }
        }
        for (int32_t i = 0; i < size; i++, at++) {
            c->done[at] = 1;
            hand_over(c, &s->actions[at]);
        }
    }
    c->next[rank] = at;
    settle(c);
}

/* Runs to the end. @return whether everything is done */
static bool run(struct pp_check *c) {
    for (int32_t rank = c->s->rank_count - 1; rank >= 0; rank--) {
        c->next[rank] = c->s->rank_begin[rank];
        c->ready[c->ready_count++] = rank;
    }
    while (c->ready_count > 0) {
        advance(c, c->ready[--c->ready_count]);
    }
    for (int32_t rank = 0; rank < c->s->rank_count; rank++) {
        if (c->next[rank] < c->s->rank_begin[rank + 1]) {
            return false;
        }
    }
    for (int32_t queue = 0; queue < c->queue_count; queue++) {
        if (c->queues[queue].head >= 0) {
            return false;
        }
    }
    return true;
}

/* ---- the workspace ---- */

/* Cuts the next array of `count` from a block; NULL without one. */
static void *cut(char *block, size_t *used_p, size_t count, size_t size) {
    size_t begin = *used_p;
    *used_p += (count * size + 7) / 8 * 8;
    return block == NULL ? NULL : block + begin;
}

/* Lays the arrays out in `block`, which may be NULL. @return the bytes it takes */
static size_t lay_out(struct pp_check *c, char *block) {
    const struct pp_sched *s = c->s;
    size_t ranks = (size_t)s->rank_count;
    size_t stages = (size_t)s->stage_count;
    size_t actions = (size_t)s->action_count;
    size_t queues = 4 * stages + ranks; /* two links a border of stages, two queues a link */
    size_t used = 0;
    c->done = cut(block, &used, actions, sizeof *c->done);
    c->is_waiting = cut(block, &used, ranks, sizeof *c->is_waiting);
    c->is_dirty = cut(block, &used, queues, sizeof *c->is_dirty);
    c->next = cut(block, &used, ranks, sizeof *c->next);
    c->ready = cut(block, &used, ranks, sizeof *c->ready);
    c->dirty = cut(block, &used, queues, sizeof *c->dirty);
    c->link_of = cut(block, &used, stages * PP_TRANSFER_TYPE_COUNT, sizeof *c->link_of);
    c->links = cut(block, &used, 2 * stages, sizeof *c->links);
    c->queues = cut(block, &used, queues, sizeof *c->queues);
    c->after = cut(block, &used, s->lowered ? actions : 0, sizeof *c->after);
    return used;
}

enum pp_status pp_check_run(const struct pp_sched *s, const struct pp_comms *comms,
                            struct pp_deadlock *deadlock_p, struct pp_err *err) {
    PP_ASSERT(s->sealed && comms->buffer_count >= 0 && comms->channels < PP_CHANNELS_COUNT);
    struct pp_check c = {.s = s, .comms = comms};
    char *block = calloc(1, lay_out(&c, NULL));
    if (block == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory to check %d actions", s->action_count);
    }
    lay_out(&c, block);
    make_links(&c, c.ready); /* empty so far */
    make_queues(&c);
    enum pp_status status = PP_OK;
    if (!run(&c)) {
        status = s->lowered ? pp_check_comm_cycle(&c, deadlock_p, err)
                            : pp_check_order_cycle(s, c.next, deadlock_p, err);
    }
    free(block);
    return status;
}
