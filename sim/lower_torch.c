/* PyTorch's places for sends and receives (PyTorch 2.14.1, _add_send_recv). It goes over the ranks
 * in ascending order, again and again; in each pass a rank puts its next item if the inputs are
 * there. A send is put behind its action and its receive, at that moment, at the receiver's end.
 *
 * Here a rank that lacks an input is looked at again only when the input is made: in the same pass
 * if the maker is a lower rank, else in the next. So the cost is in the items, not in the passes.
 */
#include "sim/lower_priv.h"

#include "sim/check.h"

#include <stdlib.h>

enum { WORD_BITS = 64 };

struct passes {
    struct pp_lower *l;
    int32_t *next_item;   /* [rank_count] */
    int32_t *next_action; /* [rank_count] first action not put; those before it have been */
    int32_t *wait_for;    /* [rank_count] action that a rank lacks; -1 if none */
    uint64_t *now;        /* bit set over ranks: to look at in this pass, */
    uint64_t *later;      /* and in the next */
    int32_t word_count;
};

static void set_bit(uint64_t *bits, int32_t rank) {
    bits[rank / WORD_BITS] |= (uint64_t)1 << rank % WORD_BITS;
}

/* Puts what follows action `at` of `rank`, and wakes the rank that waits for it. */
static void pass_on(struct passes *p, int32_t rank, int32_t at) {
    const struct pp_sched *s = p->l->s;
    const struct pp_action *a = &s->actions[at];
    int32_t receiver = pp_lower_receiver(s, a);
    if (receiver < 0) {
        return;
    }
    pp_lower_put_send(p->l, a);
    pp_lower_put_recv(p->l, a, receiver);
    int32_t other = s->stage_rank[receiver];
    if (p->wait_for[other] == at) {
        p->wait_for[other] = -1;
        set_bit(other > rank ? p->now : p->later, other);
    }
}

/* Looks at a rank: puts its next item if it can. */
static void look_at(struct passes *p, int32_t rank) {
    struct pp_lower *l = p->l;
    const struct pp_lower_item *item = &l->items[p->next_item[rank]];
    if (item->type <= PP_B) {
        p->wait_for[rank] = pp_lower_lacking(l->s, p->next_action, item->index);
        if (p->wait_for[rank] >= 0) {
            return;
        }
    }
    pp_lower_put_item(l, rank, item);
    if (item->type <= PP_B) {
        int32_t end = item->index + pp_sched_cell_size(l->s, item->index);
        p->next_action[rank] = end;
        for (int32_t at = item->index; at < end; at++) {
            pass_on(p, rank, at);
        }
    }
    if (++p->next_item[rank] < l->item_begin[rank + 1]) {
        set_bit(p->later, rank);
    }
}

/* @return whether a rank was looked at */
static bool pass(struct passes *p) {
    bool any = false;
    for (int32_t word = 0; word < p->word_count; word++) {
        while (p->now[word] != 0) {
            int32_t rank = word * WORD_BITS + __builtin_ctzll(p->now[word]);
            p->now[word] &= p->now[word] - 1;
            look_at(p, rank);
            any = true;
        }
    }
    uint64_t *done = p->now;
    p->now = p->later;
    p->later = done;
    return any;
}

/* Names the shortest cycle of waits. */
static enum pp_status deadlock(struct passes *p, struct pp_err *err) {
    const struct pp_lower *l = p->l;
    for (int32_t rank = 0; rank < l->s->rank_count; rank++) {
        int32_t item = p->next_item[rank]; /* of a stuck rank a cell that lacks an input */
        p->next_action[rank] =
            item < l->item_begin[rank + 1] ? l->items[item].index : l->s->rank_begin[rank + 1];
    }
    return pp_check_order_cycle(l->s, p->next_action, NULL, err);
}

static enum pp_status run(struct passes *p, struct pp_err *err) {
    struct pp_lower *l = p->l;
    for (int32_t rank = 0; rank < l->s->rank_count; rank++) {
        p->next_item[rank] = l->item_begin[rank];
        p->next_action[rank] = l->s->rank_begin[rank];
        p->wait_for[rank] = -1;
        set_bit(p->now, rank);
    }
    while (pass(p)) {
    }
    for (int32_t rank = 0; rank < l->s->rank_count; rank++) {
        if (p->next_item[rank] < l->item_begin[rank + 1]) {
            return deadlock(p, err);
        }
    }
    return PP_OK;
}

enum pp_status pp_lower_torch(struct pp_lower *l, struct pp_err *err) {
    int32_t rank_count = l->s->rank_count;
    struct passes p = {.l = l, .word_count = rank_count / WORD_BITS + 1};
    p.next_item = malloc(3 * (size_t)rank_count * sizeof *p.next_item);
    uint64_t *bits = calloc(2 * (size_t)p.word_count, sizeof *bits);
    enum pp_status status;
    if (p.next_item == NULL || bits == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", rank_count);
    } else {
        p.next_action = p.next_item + rank_count;
        p.wait_for = p.next_action + rank_count;
        p.now = bits;
        p.later = bits + p.word_count;
        status = run(&p, err);
    }
    free(p.next_item);
    free(bits);
    return status;
}
