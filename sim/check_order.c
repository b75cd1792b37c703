/* The shortest cycle in which ranks wait for one another by their compute order alone. */
#include "sim/check_priv.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NAMED = 6, NOT_REACHED = -1 };

/* Breadth-first search over ranks; an edge is "waits for an action that the other has not run". */
struct search {
    const struct pp_sched *s;
    const int32_t *next;
    int32_t *queue;        /* [rank_count] */
    struct pp_wait *reach; /* [rank_count] wait by which a rank was reached */
    bool *reached;         /* [rank_count] */
    struct pp_wait *best;  /* [rank_count] shortest cycle so far */
    int32_t best_count;    /* rank_count + 1 before the first */
};

/* The wait of part `part` of the cell a rank is stuck in. @return false if that part has its input
 */
static bool wait_of(const struct search *b, int32_t rank, int32_t part, struct pp_wait *wait_p) {
    const struct pp_sched *s = b->s;
    int32_t at = b->next[rank];
    if (at == s->rank_begin[rank + 1] || part >= pp_sched_cell_size(s, at)) {
        return false;
    }
    at += part;
    int32_t for_rank = pp_sched_producer_rank(s, &s->actions[at]);
    if (for_rank < 0 || s->producer[at] < b->next[for_rank]) {
        return false;
    }
    *wait_p = (struct pp_wait){
        .rank = rank, .action = at, .for_rank = for_rank, .for_action = s->producer[at]};
    return true;
}

/* Keeps the cycle that `closing` completes back to `start`. */
static void keep_cycle(struct search *b, int32_t start, const struct pp_wait *closing) {
    int32_t count = 1;
    for (int32_t rank = closing->rank; rank != start; rank = b->reach[rank].rank) {
        count++;
    }
    if (count >= b->best_count) {
        return;
    }
    b->best_count = count;
    struct pp_wait wait = *closing;
    for (int32_t i = count - 1; i >= 0; i--) {
        b->best[i] = wait;
        wait = b->reach[wait.rank];
    }
}

/* Finds the shortest cycle through `start`. */
static void search_from(struct search *b, int32_t start) {
    memset(b->reached, 0, (size_t)b->s->rank_count * sizeof *b->reached);
    int32_t head = 0;
    int32_t tail = 0;
    b->queue[tail++] = start;
    while (head < tail) {
        int32_t rank = b->queue[head++];
        for (int32_t part = 0; part < 2; part++) {
            struct pp_wait wait;
            if (!wait_of(b, rank, part, &wait)) {
                continue;
            }
            if (wait.for_rank == start) {
                keep_cycle(b, start, &wait);
                return;
            }
            if (!b->reached[wait.for_rank]) {
                b->reached[wait.for_rank] = true;
                b->reach[wait.for_rank] = wait;
                b->queue[tail++] = wait.for_rank;
            }
        }
    }
}

enum pp_status pp_check_describe(const struct pp_sched *s, const struct pp_wait *waits,
                                 int32_t wait_count, struct pp_err *err) {
    struct pp_text text = {0};
    for (int32_t i = 0; i < wait_count && i < MAX_NAMED; i++) {
        char waiting[PP_ACTION_TEXT_BYTES];
        char needed[PP_ACTION_TEXT_BYTES];
        pp_text_printf(&text, "%srank %d waits in %s for %s of rank %d", i == 0 ? "" : ", ",
                       waits[i].rank, pp_action_text(&s->actions[waits[i].action], waiting),
                       pp_action_text(&s->actions[waits[i].for_action], needed), waits[i].for_rank);
    }
    if (wait_count > MAX_NAMED) {
        pp_text_printf(&text, " and so on, %d waits", wait_count);
    }
    pp_fail(err, PP_E_DEADLOCK, "the ranks wait in a cycle: %s",
            text.bytes == NULL ? "" : text.bytes);
    pp_hint(err, "on one of these ranks the needed action must stand before the waiting one");
    pp_text_free(&text);
    return PP_E_DEADLOCK;
}

enum pp_status pp_check_order_cycle(const struct pp_sched *s, const int32_t *next,
                                    struct pp_deadlock *deadlock_p, struct pp_err *err) {
    size_t rank_count = (size_t)s->rank_count;
    struct search b = {.s = s, .next = next, .best_count = s->rank_count + 1};
    b.queue = malloc(rank_count * sizeof *b.queue);
    b.reach = malloc(rank_count * sizeof *b.reach);
    b.reached = malloc(rank_count * sizeof *b.reached);
    b.best = malloc(rank_count * sizeof *b.best);
    enum pp_status status;
    if (b.queue == NULL || b.reach == NULL || b.reached == NULL || b.best == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory to name a deadlock");
        goto cleanup;
    }
    for (int32_t rank = 0; rank < s->rank_count && b.best_count > 1; rank++) {
        search_from(&b, rank);
    }
    PP_ASSERT(b.best_count <= s->rank_count); /* every stuck rank waits for a stuck one */
    status = pp_check_describe(s, b.best, b.best_count, err);
    if (deadlock_p != NULL) {
        *deadlock_p = (struct pp_deadlock){.wait_count = b.best_count, .waits = b.best};
        b.best = NULL;
    }
cleanup:
    free(b.queue);
    free(b.reach);
    free(b.reached);
    free(b.best);
    return status;
}

void pp_deadlock_deinit(struct pp_deadlock *d) {
    free(d->waits);
    *d = (struct pp_deadlock){0};
}
