/* Transfers in rounds. In each round every rank runs its next cell if the inputs came in an earlier
 * one, and what the round computed changes hands right after it: a rank's sends and receives of one
 * round, or of several in which it computes nothing, stand side by side. A rank that lacks an input
 * is looked at again in the round after the one that makes it, so the cost is in the cells. */
#include "sim/lower_priv.h"

#include "sim/check.h"

#include <stdlib.h>

struct rounds {
    struct pp_lower *l;
    int32_t *next_item;   /* [rank_count] */
    int32_t *next_action; /* [rank_count] first action not put; those before it have been */
    int32_t *wait_for;    /* [rank_count] action that a rank lacks; -1 if none */
    int32_t *cell;        /* [rank_count] of a rank in `ran`, what it computed in this round */
    int32_t *now, *later; /* ranks to look at in this round, and in the next */
    int32_t *ran;         /* ranks that computed in this round, in the order of `now` */
    int32_t now_count, later_count, ran_count;
};

/* Puts a rank's gathers and reductions up to its next cell, and that cell if its inputs are there.
 */
static void look_at(struct rounds *r, int32_t rank) {
    struct pp_lower *l = r->l;
    for (; r->next_item[rank] < l->item_begin[rank + 1]; r->next_item[rank]++) {
        const struct pp_lower_item *item = &l->items[r->next_item[rank]];
        if (item->type <= PP_B) {
            r->wait_for[rank] = pp_lower_lacking(l->s, r->next_action, item->index);
            if (r->wait_for[rank] < 0) {
                pp_lower_put_item(l, rank, item);
                r->cell[rank] = item->index;
                r->ran[r->ran_count++] = rank;
                r->next_item[rank]++;
            }
            return;
        }
        pp_lower_put_item(l, rank, item);
    }
}

/* What `rank` computed in this round goes to where it is needed; who waits for it is woken. */
static void hand_over(struct rounds *r, int32_t rank) {
    const struct pp_sched *s = r->l->s;
    int32_t end = r->cell[rank] + pp_sched_cell_size(s, r->cell[rank]);
    r->next_action[rank] = end;
    r->later[r->later_count++] = rank;
    for (int32_t at = r->cell[rank]; at < end; at++) {
        int32_t receiver = pp_lower_receiver(s, &s->actions[at]);
        if (receiver < 0) {
            continue;
        }
        int32_t other = s->stage_rank[receiver];
        pp_lower_put_send(r->l, &s->actions[at]);
        pp_lower_put_recv(r->l, &s->actions[at], receiver);
        if (r->wait_for[other] == at) {
            r->wait_for[other] = -1;
            r->later[r->later_count++] = other;
        }
    }
}

static void play_round(struct rounds *r) {
    r->ran_count = r->later_count = 0;
    for (int32_t i = 0; i < r->now_count; i++) {
        look_at(r, r->now[i]);
    }
    for (int32_t i = 0; i < r->ran_count; i++) {
        hand_over(r, r->ran[i]);
    }
    int32_t *done = r->now;
    r->now = r->later;
    r->now_count = r->later_count;
    r->later = done;
}

static enum pp_status play(struct rounds *r, struct pp_err *err) {
    const struct pp_lower *l = r->l;
    for (int32_t rank = 0; rank < l->s->rank_count; rank++) {
        r->next_item[rank] = l->item_begin[rank];
        r->next_action[rank] = l->s->rank_begin[rank];
        r->wait_for[rank] = -1;
        r->now[r->now_count++] = rank;
    }
    while (r->now_count > 0) {
        play_round(r);
    }
    bool stuck = false;
    for (int32_t rank = 0; rank < l->s->rank_count; rank++) {
        int32_t item = r->next_item[rank];
        bool through = item == l->item_begin[rank + 1];
        r->next_action[rank] = through ? l->s->rank_begin[rank + 1] : l->items[item].index;
        stuck = stuck || !through;
    }
    return stuck ? pp_check_order_cycle(l->s, r->next_action, NULL, err) : PP_OK;
}

enum pp_status pp_lower_batched(struct pp_lower *l, struct pp_err *err) {
    size_t ranks = (size_t)l->s->rank_count;
    struct rounds r = {.l = l};
    int32_t *rows = malloc(7 * ranks * sizeof *rows);
    if (rows == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %zu ranks", ranks);
    }
    r.next_item = rows;
    r.next_action = rows + ranks;
    r.wait_for = rows + 2 * ranks;
    r.cell = rows + 3 * ranks;
    r.now = rows + 4 * ranks;
    r.later = rows + 5 * ranks;
    r.ran = rows + 6 * ranks;
    enum pp_status status = play(&r, err);
    free(rows);
    return status;
}
