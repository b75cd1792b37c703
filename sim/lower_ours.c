/* Our places for receives: in the order of the sends of each directed pair of ranks, and at most
 * some cells of compute before the consumer unless that order asks for earlier.
 *
 * A receive is due at the earliest consumer among it and the later receives of its channel. Sorted
 * by when they are due, ties by sender and then by the sender's order (a stable counting sort over
 * the receivers' actions), receives of one channel stand in its order. */
#include "sim/lower_priv.h"

#include <stdlib.h>
#include <string.h>

struct channels {
    struct pp_lower *l;
    int32_t *consumer; /* [action_count] action on another rank that needs the output, or -1 */
    int32_t *due;      /* [action_count] of an action with a consumer: first action of the cell
                          before which its receive is due */
    int32_t *due_end;  /* [action_count + 1] how many receives are due at a cell or before */
    int32_t *makers;   /* actions with consumers, sorted by when their receives are due */
    int32_t *soonest;  /* [rank_count] */
};

static void find_consumers(struct channels *c) {
    const struct pp_sched *s = c->l->s;
    memset(c->consumer, -1, (size_t)s->action_count * sizeof *c->consumer);
    for (int32_t at = 0; at < s->action_count; at++) {
        int32_t producer = s->producer[at];
        if (producer >= 0 && pp_lower_receiver(s, &s->actions[producer]) >= 0) {
            c->consumer[producer] = s->actions[at].pair == 2 ? at - 1 : at;
        }
    }
}

/* Finds when receives are due and counts them there. The sends of a rank are walked from the back,
 * so that what is soonest so far is what comes later in the channel. */
static void find_due(struct channels *c) {
    const struct pp_sched *s = c->l->s;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        c->soonest[rank] = INT32_MAX;
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        for (int32_t at = s->rank_begin[rank + 1] - 1; at >= s->rank_begin[rank]; at--) {
            int32_t consumer = c->consumer[at];
            if (consumer >= 0) {
                int32_t *soonest = &c->soonest[s->stage_rank[s->actions[consumer].stage]];
                *soonest = consumer < *soonest ? consumer : *soonest;
                c->due[at] = *soonest;
                c->due_end[*soonest]++;
            }
        }
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            if (c->consumer[at] >= 0) {
                c->soonest[s->stage_rank[s->actions[c->consumer[at]].stage]] = INT32_MAX;
            }
        }
    }
}

/* From counts to ends, by way of beginnings, which placing moves. */
static void sort_by_due(struct channels *c) {
    const struct pp_sched *s = c->l->s;
    int32_t sum = 0;
    for (int32_t at = 0; at <= s->action_count; at++) {
        int32_t count = c->due_end[at];
        c->due_end[at] = sum;
        sum += count;
    }
    for (int32_t at = 0; at < s->action_count; at++) {
        if (c->consumer[at] >= 0) {
            c->makers[c->due_end[c->due[at]]++] = at;
        }
    }
}

/* Puts a rank's items, before each cell the receives due up to `look_ahead` cells on. */
static void put_rank(struct channels *c, int32_t rank, int32_t *received_p) {
    struct pp_lower *l = c->l;
    const struct pp_sched *s = l->s;
    int32_t end = s->rank_begin[rank + 1];
    int32_t horizon = pp_lower_compute_from(s, s->rank_begin[rank], end);
    int32_t due = horizon; /* last cell within the horizon */
    for (int32_t i = 0; i <= l->options->look_ahead && horizon < end; i++) {
        due = horizon;
        horizon = pp_lower_compute_from(s, horizon + pp_sched_cell_size(s, horizon), end);
    }
    for (int32_t i = l->item_begin[rank]; i < l->item_begin[rank + 1]; i++) {
        const struct pp_lower_item *item = &l->items[i];
        if (item->type > PP_B) {
            pp_lower_put_item(l, rank, item);
            continue;
        }
        for (; *received_p < c->due_end[due]; (*received_p)++) {
            const struct pp_action *a = &s->actions[c->makers[*received_p]];
            pp_lower_put_recv(l, a, pp_lower_receiver(s, a));
        }
        pp_lower_put_item(l, rank, item);
        for (int32_t at = item->index; at < item->index + pp_sched_cell_size(s, item->index);
             at++) {
            if (c->consumer[at] >= 0) {
                pp_lower_put_send(l, &s->actions[at]);
            }
        }
        if (horizon < end) {
            due = horizon;
            horizon = pp_lower_compute_from(s, horizon + pp_sched_cell_size(s, horizon), end);
        }
    }
}

enum pp_status pp_lower_ours(struct pp_lower *l, struct pp_err *err) {
    const struct pp_sched *s = l->s;
    size_t count = (size_t)s->action_count;
    struct channels c = {.l = l};
    c.consumer = malloc((3 * count) * sizeof *c.consumer);
    c.due_end = calloc(count + 1, sizeof *c.due_end);
    c.soonest = malloc((size_t)s->rank_count * sizeof *c.soonest);
    enum pp_status status = PP_OK;
    if (c.consumer == NULL || c.due_end == NULL || c.soonest == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory to lower %d actions", s->action_count);
    } else {
        c.due = c.consumer + count;
        c.makers = c.due + count;
        find_consumers(&c);
        find_due(&c);
        sort_by_due(&c);
        int32_t received = 0;
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            put_rank(&c, rank, &received);
        }
    }
    free(c.consumer);
    free(c.due_end);
    free(c.soonest);
    return status;
}
