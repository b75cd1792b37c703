/* The shortest cycle of a run with communication that stands still.
 *
 * What stands is queues: the first of each waits for an operation of another rank, which is behind
 * the first of another queue, or not posted because its rank stands before a compute action whose
 * receives are not done, each behind the first of some queue. So every queue leads to one or two
 * others, and some of them form a cycle. A shortest cycle never meets a rank twice: with one queue
 * a rank that is plain; else a step to the queue in which the operation is posted leads back at
 * once (two ranks, and there is nothing shorter), and all other steps go by the rank's compute
 * action, of which there is one. */
#include "sim/check_priv.h"

#include <stdlib.h>
#include <string.h>

struct search {
    const struct pp_check *c;
    int32_t *posted_sends, *posted_recvs; /* [link_count] */
    int32_t (*blockers)[2]; /* [rank_count] queues in which the receives stand that its compute
                               action lacks; -1 */
    int32_t *came_from;     /* [queue_count] in the search */
    int32_t *seen_in;       /* [queue_count] search in which it was reached */
    int32_t *fringe;        /* [queue_count] */
    bool *is_led_to;        /* [queue_count] by some other: all others are in no cycle */
    int32_t *best;          /* [queue_count] shortest cycle so far */
    int32_t best_count;     /* INT32_MAX before the first */
    void *block;
};

static enum pp_status search_init(struct search *b, const struct pp_check *c, struct pp_err *err) {
    size_t links = (size_t)c->link_count;
    size_t queues = (size_t)c->queue_count;
    size_t ranks = (size_t)c->s->rank_count;
    *b = (struct search){.c = c, .best_count = INT32_MAX};
    int32_t *at = calloc(2 * links + 2 * ranks + 4 * queues + queues, sizeof *at);
    if (at == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory to name a deadlock");
    }
    b->block = at;
    b->posted_sends = at;
    b->posted_recvs = at + links;
    b->blockers = (int32_t(*)[2])(at + 2 * links);
    b->came_from = at + 2 * links + 2 * ranks;
    b->seen_in = b->came_from + queues;
    b->fringe = b->seen_in + queues;
    b->best = b->fringe + queues;
    b->is_led_to = (bool *)(b->best + queues);
    return PP_OK;
}

static const struct pp_check_link *link_at(const struct search *b, int32_t at, int32_t *number_p) {
    *number_p = pp_check_link_of(b->c, &b->c->s->actions[at]);
    return &b->c->links[*number_p];
}

static void count_posted(struct search *b) {
    const struct pp_sched *s = b->c->s;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        for (int32_t at = s->rank_begin[rank]; at < b->c->next[rank]; at++) {
            const struct pp_action *a = &s->actions[at];
            if (pp_check_is_transfer(a)) {
                int32_t *posted = pp_check_is_send(a) ? b->posted_sends : b->posted_recvs;
                posted[pp_check_link_of(b->c, a)]++;
            }
        }
    }
}

/* Notes where the receives are that a rank's compute action lacks. @return the wait if it needs
 * what the same rank would do later */
static bool note_blockers(struct search *b, int32_t rank, struct pp_wait *wait_p) {
    const struct pp_sched *s = b->c->s;
    int32_t at = b->c->next[rank];
    b->blockers[rank][0] = b->blockers[rank][1] = -1;
    if (at == s->rank_begin[rank + 1]) {
        return false;
    }
    for (int32_t part = 0; part < pp_sched_cell_size(s, at); part++) {
        int32_t producer = s->producer[at + part];
        if (producer < 0 || b->c->done[producer] != 0) {
            continue;
        }
        if (producer > at) {
            *wait_p = (struct pp_wait){rank, at + part, rank, producer};
            return true;
        }
        int32_t number;
        b->blockers[rank][part] = link_at(b, producer, &number)->recv_queue;
    }
    return false;
}

/* The queues that must move before the first of `queue` can be done. @return how many, at most 2 */
static int32_t leads_to(const struct search *b, int32_t queue, int32_t others[2]) {
    int32_t head = b->c->queues[queue].head;
    int32_t number;
    const struct pp_check_link *link = link_at(b, head, &number);
    bool is_send = pp_check_is_send(&b->c->s->actions[head]);
    bool is_posted =
        is_send ? b->posted_recvs[number] > link->received : b->posted_sends[number] > link->sent;
    if (is_posted) {
        others[0] = is_send ? link->recv_queue : link->send_queue;
        return 1;
    }
    const int32_t *blockers = b->blockers[is_send ? link->to : link->from];
    int32_t count = 0;
    for (int32_t part = 0; part < 2; part++) {
        if (blockers[part] >= 0) {
            others[count++] = blockers[part];
        }
    }
    return count;
}

/* Keeps the cycle that ends in `last` and goes on at `start`, if it is shorter. */
static void keep(struct search *b, int32_t start, int32_t last) {
    int32_t count = 1;
    for (int32_t queue = last; queue != start; queue = b->came_from[queue]) {
        count++;
    }
    if (count >= b->best_count) {
        return;
    }
    b->best_count = count;
    for (int32_t queue = last; count > 0; queue = b->came_from[queue]) {
        b->best[--count] = queue;
    }
}

/* Breadth first, from one queue back to itself. */
static void search_from(struct search *b, int32_t start) {
    int32_t head = 0;
    int32_t tail = 0;
    b->fringe[tail++] = start;
    b->seen_in[start] = start + 1;
    while (head < tail) {
        int32_t queue = b->fringe[head++];
        int32_t others[2];
        int32_t count = leads_to(b, queue, others);
        for (int32_t i = 0; i < count; i++) {
            if (others[i] == start) {
                keep(b, start, queue);
                return;
            }
            if (b->seen_in[others[i]] != start + 1) {
                b->seen_in[others[i]] = start + 1;
                b->came_from[others[i]] = queue;
                b->fringe[tail++] = others[i];
            }
        }
    }
}

/* The operation of that kind and number, from 0, that `rank` has for a link; -1 if it has fewer. */
static int32_t find_number(const struct pp_check *c, int32_t rank, int32_t link, bool is_send,
                           int32_t number) {
    const struct pp_sched *s = c->s;
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        if (pp_check_is_transfer(a) && pp_check_link_of(c, a) == link &&
            pp_check_is_send(a) == is_send && number-- == 0) {
            return at;
        }
    }
    return -1;
}

/* What the first of a queue waits for. */
static struct pp_wait wait_of(const struct search *b, int32_t queue) {
    int32_t head = b->c->queues[queue].head;
    int32_t number;
    const struct pp_check_link *link = link_at(b, head, &number);
    bool is_send = pp_check_is_send(&b->c->s->actions[head]);
    int32_t rank = is_send ? link->from : link->to;
    int32_t for_rank = is_send ? link->to : link->from;
    /* a send waits for the next receive: that of its own number, or the one that makes room */
    int32_t for_action =
        find_number(b->c, for_rank, number, !is_send, is_send ? link->received : link->sent);
    return (struct pp_wait){rank, head, for_rank, for_action};
}

/* Finds the shortest cycle among queues. */
static void search_all(struct search *b) {
    for (int32_t queue = 0; queue < b->c->queue_count; queue++) {
        int32_t others[2];
        int32_t count = b->c->queues[queue].head < 0 ? 0 : leads_to(b, queue, others);
        for (int32_t i = 0; i < count; i++) {
            b->is_led_to[others[i]] = true;
        }
    }
    for (int32_t queue = 0; queue < b->c->queue_count && b->best_count > 2; queue++) {
        if (b->is_led_to[queue]) {
            search_from(b, queue);
        }
    }
}

enum pp_status pp_check_comm_cycle(const struct pp_check *c, struct pp_deadlock *deadlock_p,
                                   struct pp_err *err) {
    struct search b;
    PP_TRY(search_init(&b, c, err));
    struct pp_wait own;
    bool waits_for_itself = false;
    count_posted(&b);
    for (int32_t rank = 0; rank < c->s->rank_count && !waits_for_itself; rank++) {
        waits_for_itself = note_blockers(&b, rank, &own);
    }
    if (!waits_for_itself) {
        search_all(&b);
        PP_ASSERT(b.best_count < INT32_MAX); /* sealed: every SEND has its RECV */
    }
    int32_t count = waits_for_itself ? 1 : b.best_count;
    struct pp_wait *waits = malloc((size_t)count * sizeof *waits);
    enum pp_status status;
    if (waits == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory to name a deadlock");
    } else {
        for (int32_t i = 0; i < count; i++) {
            waits[i] = waits_for_itself ? own : wait_of(&b, b.best[i]);
        }
        status = pp_check_describe(c->s, waits, count, err);
        if (deadlock_p != NULL) {
            *deadlock_p = (struct pp_deadlock){.wait_count = count, .waits = waits};
            waits = NULL;
        }
    }
    free(waits);
    free(b.block);
    return status;
}
