/* The walk that finds the order: each rank runs until it lacks an input, and is woken by the rank
 * that makes it. Last woken first: what was just made is used while it is near, and few ends wait
 * for anyone. */
#include "sim/eval_sweep.h"

#include "sim/schedule_room.h"

#include <stdlib.h>
#include <string.h>

/* A run ends here at the latest, and all other ranks that may run go first: else one whose inputs
 * are all there would leave behind an end for every microbatch. */
enum { RUN_MAX = 64 };

/* How far ahead in its list the next actions of a rank are fetched while it runs: it comes back
 * only after many others. */
enum { FETCH_AHEAD = 16 };

/* Of a stage and type: where its input is made and its output is used. */
struct link {
    uint64_t word;     /* key, and the sink as `out` where nobody waits */
    int32_t from_rank; /* any where there is no producer */
    int32_t to_rank;   /* -1 where nobody waits */
};

struct walk {
    const struct pp_sched *s;
    const struct link *links; /* [stage_count][PP_SWEEP_TYPE_COUNT] */
    int32_t *next;            /* [rank_count] first action not visited */
    int32_t *wait_for;        /* [rank_count] action a rank waits for; -1 if it is in `ready` or
                                 done */
    int32_t *ready;           /* [rank_count] stack of ranks that may advance */
    int32_t ready_count;
    uint64_t *word;  /* end of what is written */
    int32_t *slot;   /* [action_count] where the end of a visited action is kept */
    int32_t *unused; /* [action_count] stack of slots whose end nothing needs any more */
    int32_t unused_count, slot_count;
    bool has_pairs;
};

/* OFFLOAD and RELOAD share the row of a compute type: they have no producer, and nobody waits. */
static const struct link *link_of(const struct walk *w, const struct pp_action *a) {
    return &w->links[a->stage * PP_SWEEP_TYPE_COUNT + (a->type & (PP_SWEEP_TYPE_COUNT - 1))];
}

/* Whether the input of an action is still to be made. */
static bool is_lacking(const struct walk *w, int32_t producer, const struct link *link) {
    return producer >= w->next[link->from_rank];
}

/* Writes the action's word, takes its slots and wakes the rank that waits for it. */
static inline void visit(struct walk *w, int32_t at, int32_t producer, const struct link *link) {
    uint64_t word = link->word;
    int32_t slot = -1;
    if (producer >= 0) {
        slot = w->slot[producer];
        word |= (uint64_t)slot;
    }
    if (link->to_rank < 0) {
        *w->word++ = word;
        if (slot >= 0) {
            w->unused[w->unused_count++] = slot;
        }
        return;
    }
    if (slot < 0) { /* else the one of its input, which nothing needs any more */
        slot = w->unused_count > 0 ? w->unused[--w->unused_count] : w->slot_count++;
    }
    w->slot[at] = slot;
    *w->word++ = word | (uint64_t)slot << PP_SWEEP_SLOT_BITS;
    if (w->wait_for[link->to_rank] == at) {
        w->wait_for[link->to_rank] = -1;
        w->ready[w->ready_count++] = link->to_rank;
    }
}

static void fetch(const struct walk *w, int32_t at) {
    __builtin_prefetch(&w->s->actions[at + FETCH_AHEAD]);
    __builtin_prefetch(&w->s->producer[at + FETCH_AHEAD]);
    __builtin_prefetch(&w->slot[at + FETCH_AHEAD], 1);
}

/* Both parts of a pair, or neither: it needs the inputs of both, as where PyTorch places sends and
 * receives, so that one order serves both ways of timing pairs. @return the input that is lacking,
 * or -1 */
static int32_t visit_pair(struct walk *w, int32_t rank, int32_t at) {
    for (int32_t part = at; part < at + 2; part++) {
        if (is_lacking(w, w->s->producer[part], link_of(w, &w->s->actions[part]))) {
            return w->s->producer[part];
        }
    }
    for (int32_t part = at; part < at + 2; part++) {
        visit(w, part, w->s->producer[part], link_of(w, &w->s->actions[part]));
    }
    w->next[rank] = at + 2;
    w->has_pairs = true;
    return -1;
}

/* Goes on with a rank until it lacks an input, its run is long enough or its list ends.
 * @return first action not visited; wait_for is set where an input is lacking */
static inline int32_t go_on(struct walk *w, int32_t rank, int32_t at, int32_t stop) {
    const struct pp_sched *s = w->s;
    do {
        const struct pp_action *a = &s->actions[at];
        if (a->pair == 1) {
            int32_t lacking = visit_pair(w, rank, at);
            if (lacking >= 0) {
                w->wait_for[rank] = lacking;
                break;
            }
            at += 2;
            continue;
        }
        const struct link *link = link_of(w, a);
        int32_t producer = s->producer[at];
        if (is_lacking(w, producer, link)) {
            w->wait_for[rank] = producer;
            break;
        }
        visit(w, at, producer, link);
        w->next[rank] = ++at; /* now, as an action may wait for one of its own rank */
    } while (at < stop);
    return at;
}

/* One run of a rank that is not done. */
static inline void run(struct walk *w, int32_t rank) {
    int32_t begin = w->next[rank];
    int32_t end = w->s->rank_begin[rank + 1];
    uint64_t *head = w->word++;
    fetch(w, begin);
    int32_t at = go_on(w, rank, begin, end - begin > RUN_MAX ? begin + RUN_MAX : end);
    if (at == begin) {
        w->word = head;
        return;
    }
    *head = pp_sweep_run_word((struct pp_sweep_run){.at = begin,
                                                    .count = at - begin,
                                                    .rank = rank,
                                                    .is_first = begin == w->s->rank_begin[rank]});
    if (at < end && w->wait_for[rank] < 0) { /* it may go on, after all others */
        memmove(w->ready + 1, w->ready, (size_t)w->ready_count++ * sizeof *w->ready);
        w->ready[0] = rank;
    }
}

static enum pp_status walk_all(struct walk *w, struct pp_deadlock *deadlock_p, struct pp_err *err) {
    for (int32_t rank = 0; rank < w->s->rank_count; rank++) { /* the last first: it waits */
        w->next[rank] = w->s->rank_begin[rank];
        w->wait_for[rank] = -1;
        w->ready[w->ready_count++] = rank;
    }
    while (w->ready_count > 0) {
        run(w, w->ready[--w->ready_count]);
    }
    for (int32_t rank = 0; rank < w->s->rank_count; rank++) {
        if (w->next[rank] < w->s->rank_begin[rank + 1]) {
            return pp_check_order_cycle(w->s, w->next, deadlock_p, err);
        }
    }
    return PP_OK;
}

static void fill_links(const struct pp_sched *s, struct link *links) {
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        int32_t before = pp_sched_stage_before(s, stage);
        int32_t after = pp_sched_stage_after(s, stage);
        for (int32_t type = 0; type < PP_SWEEP_TYPE_COUNT; type++) {
            int32_t from = type == PP_F ? before : type == PP_W ? -1 : after;
            int32_t to = type == PP_F ? after : type == PP_W ? -1 : before;
            uint64_t word = (uint64_t)pp_sweep_key_of(s, type, stage) << PP_SWEEP_KEY_SHIFT;
            uint64_t nobody = (uint64_t)PP_SWEEP_SLOT_SINK << PP_SWEEP_SLOT_BITS;
            *links++ = (struct link){.word = to < 0 ? word | nobody : word,
                                     .from_rank = from < 0 ? 0 : s->stage_rank[from],
                                     .to_rank = to < 0 ? -1 : s->stage_rank[to]};
        }
    }
}

/* Keeps what was written, gives the rest back. */
static void settle(struct pp_sweep *sweep, const struct walk *w) {
    sweep->word_count = w->word - sweep->words;
    sweep->slot_count = w->slot_count;
    sweep->has_pairs = w->has_pairs;
    uint64_t *words = realloc(sweep->words, (size_t)sweep->word_count * sizeof *words);
    sweep->words = words == NULL ? sweep->words : words;
}

enum pp_status pp_sweep_init(struct pp_sweep *sweep, const struct pp_sched *s,
                             struct pp_deadlock *deadlock_p, struct pp_err *err) {
    PP_ASSERT(s->sealed && !s->lowered);
    size_t ranks = (size_t)s->rank_count;
    size_t actions = (size_t)s->action_count;
    *sweep = (struct pp_sweep){.words = pp_room_alloc(2 * actions * sizeof *sweep->words)};
    struct link *links = malloc((size_t)s->stage_count * PP_SWEEP_TYPE_COUNT * sizeof *links);
    int32_t *by_rank = malloc(3 * ranks * sizeof *by_rank);
    int32_t *by_action = pp_room_alloc(2 * actions * sizeof *by_action);
    enum pp_status status;
    if (sweep->words == NULL || links == NULL || by_rank == NULL || by_action == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory to evaluate %d actions", s->action_count);
    } else {
        fill_links(s, links);
        struct walk w = {.s = s,
                         .links = links,
                         .next = by_rank,
                         .ready = by_rank + ranks,
                         .wait_for = by_rank + 2 * ranks,
                         .word = sweep->words,
                         .slot = by_action,
                         .unused = by_action + actions,
                         .slot_count = PP_SWEEP_SLOT_SINK + 1};
        status = walk_all(&w, deadlock_p, err);
        if (status == PP_OK) {
            settle(sweep, &w);
        }
    }
    free(by_action);
    free(by_rank);
    free(links);
    if (status != PP_OK) {
        pp_sweep_deinit(sweep);
    }
    return status;
}

void pp_sweep_deinit(struct pp_sweep *sweep) {
    free(sweep->words);
    *sweep = (struct pp_sweep){0};
}
