/* One thing after the other: ends of compute and of transfers are taken from a heap in order of
 * time, and whatever they let begin begins. A rank's walk through its list stands at a compute
 * action until the ends of all that this waits for are known, some of them perhaps still to come;
 * so nothing has to happen when a message arrives or a reduction is over.
 *
 * An end that is not known yet is negative; of a message, the end of its SEND then says how much it
 * waits for: -1 for nothing more, less by one for each of these: that its two ends are posted and
 * first in their queues. With places a SEND waits to be posted, first, and have room; a RECV to be
 * posted, first, and under way. */
#include "sim/engine_fair.h"
#include "sim/engine_priv.h"

#include <stdlib.h>

enum { NOTHING = -1, A_BATCH = -2, HAS_BEGUN = INT8_MIN, FETCH_AHEAD = 8 };

struct rank {
    int64_t batch_ns;  /* latest end, of those known, of SENDs and RECVs */
    int64_t gather_ns; /* when the collective lane is free */
    int64_t host_ns;
    int32_t next, last;  /* first action not begun, or not posted; end of the rank's list */
    int32_t waits_for;   /* action whose end is not known; NOTHING, A_BATCH */
    int32_t open_count;  /* batched: SENDs and RECVs posted whose end is not known */
    int32_t next_gather; /* first collective not begun; NOTHING */
    int32_t reduced;     /* last REDUCE_GRAD posted; NOTHING */
    bool gathers;        /* the lane's first moves, or will at its time in the heap */
    bool is_timed;       /* the latter */
};

struct pp_engine_events {
    struct pp_engine *e;
    const struct pp_engine_entry *entries; /* of the engine, likewise messages */
    const struct pp_engine_message *messages;
    struct pp_engine_cup computes; /* ranks: the end of their compute action, or of a batch */
    struct pp_engine_heap movers;  /* ranks: what moves on their collective lane; then queues */
    struct pp_fair fair;
    bool is_shared, is_batched, has_places, waits_more;
    int64_t now_ns, event_count;
    int64_t *start_ns, *end_ns;
    struct rank *ranks; /* [rank_count] */
    int32_t *moving;    /* [queue_count] the SEND that moves */
    int8_t *first_ends; /* [action_count] of unknown ends, before a run */
    int32_t *ready;     /* [rank_count] stack of ranks that go on */
    int32_t *begun;     /* [2 * queue_count] stack of SENDs and RECVs that begin */
    int32_t ready_count, begun_count;
};

/* ---- life ---- */

/* What each message waits for before anything is posted. */
static void fill_ends(struct pp_engine_events *ev) {
    const struct pp_engine *e = ev->e;
    for (int32_t at = 0; at < e->s->action_count; at++) {
        ev->first_ends[at] = -1;
    }
    for (int32_t at = 0; at < e->s->action_count; at++) {
        enum pp_action_type type = e->s->actions[at].type;
        if (!pp_engine_is_transfer(type)) {
            continue;
        }
        bool is_send = pp_engine_is_send(type);
        int8_t *end = &ev->first_ends[is_send || ev->has_places ? at : e->entries[at].partner];
        bool waits_third = ev->has_places && (!is_send || e->room[at] >= 0);
        *end = (int8_t)(*end - 1 - (e->prev[at] >= 0) - waits_third);
    }
}

struct pp_engine_events *pp_engine_events_create(struct pp_engine *e) {
    size_t ranks = (size_t)e->s->rank_count;
    size_t queues = (size_t)e->queue_count;
    size_t actions = (size_t)e->s->action_count;
    struct pp_engine_events *ev = calloc(1, sizeof *ev);
    if (ev == NULL) {
        return NULL;
    }
    ev->e = e;
    ev->entries = e->entries;
    ev->messages = e->messages;
    ev->is_batched = e->runtime.batched;
    ev->has_places = e->room != NULL;
    ev->waits_more =
        e->gathers || e->s->reload != NULL || (e->runtime.reduce_blocks && e->has_reductions);
    ev->ranks = malloc(ranks * sizeof *ev->ranks);
    ev->ready = malloc((ranks + 3 * queues) * sizeof *ev->ready);
    ev->first_ends = malloc(actions + 1);
    bool ok = pp_engine_cup_init(&ev->computes, e->s->rank_count) &&
              pp_engine_heap_init(&ev->movers, e->s->rank_count + e->queue_count) &&
              pp_fair_init(&ev->fair, e->s->rank_count + e->queue_count,
                           pp_network_link_count(e->s->rank_count));
    if (ev->ranks == NULL || ev->ready == NULL || ev->first_ends == NULL || !ok) {
        pp_engine_events_destroy(ev);
        return NULL;
    }
    ev->begun = ev->ready + ranks;
    ev->moving = ev->begun + 2 * queues;
    fill_ends(ev);
    return ev;
}

void pp_engine_events_destroy(struct pp_engine_events *ev) {
    if (ev != NULL) {
        pp_fair_deinit(&ev->fair);
        pp_engine_cup_deinit(&ev->computes);
        pp_engine_heap_deinit(&ev->movers);
        free(ev->ranks);
        free(ev->ready);
        free(ev->first_ends);
        free(ev);
    }
}

/* ---- what goes on ---- */

static inline void make_ready(struct pp_engine_events *ev, int32_t rank) {
    ev->ranks[rank].waits_for = NOTHING;
    ev->ready[ev->ready_count++] = rank;
}

/* An end is known, now or later, that the rank may have waited for. */
static inline void tell_end(struct pp_engine_events *ev, int32_t rank, int32_t at, int64_t end_ns) {
    ev->end_ns[at] = end_ns;
    if (ev->ranks[rank].waits_for == at) {
        make_ready(ev, rank);
    }
}

/* A SEND or RECV is over, now or later: batches wait for both. */
static inline void tell_moved(struct pp_engine_events *ev, int32_t rank, int32_t at,
                              int64_t end_ns) {
    ev->end_ns[at] = end_ns;
    if (ev->is_batched) {
        struct rank *r = &ev->ranks[rank];
        r->batch_ns = pp_max_i64(r->batch_ns, end_ns);
        if (--r->open_count == 0 && r->waits_for == A_BATCH) {
            make_ready(ev, rank);
        }
    }
}

/* ---- messages ---- */

/* One of the things that a SEND or RECV waits for, or the message of both, is there. */
static inline void let(struct pp_engine_events *ev, int32_t at) {
    if (++ev->end_ns[at] == -1) {
        ev->begun[ev->begun_count++] = at;
    }
}

static inline bool is_send_at(const struct pp_engine_events *ev, int32_t at) {
    return pp_engine_is_send(ev->entries[at].type);
}

/* `at` is posted, or first in its queue. */
static inline void let_end(struct pp_engine_events *ev, int32_t at, bool is_send) {
    let(ev, is_send || ev->has_places ? at : ev->entries[at].partner);
}

static inline void release(struct pp_engine_events *ev, int32_t at) {
    int32_t after = ev->entries[at].after;
    if (after >= 0) {
        let_end(ev, after, is_send_at(ev, after));
    }
}

static void release_recv(struct pp_engine_events *ev, const struct pp_engine_message *m,
                         int32_t recv, int64_t end_ns) {
    release(ev, recv);
    tell_moved(ev, m->to, recv, end_ns);
    tell_end(ev, m->to, recv, end_ns);
    if (ev->has_places && ev->e->room[recv] >= 0) {
        let(ev, ev->e->room[recv]);
    }
}

/* The message of a SEND has moved, now. */
static void end_message(struct pp_engine_events *ev, const struct pp_engine_message *m,
                        int32_t send) {
    int32_t recv = ev->entries[send].partner;
    release(ev, send);
    tell_moved(ev, m->from, send, ev->now_ns);
    if (!ev->has_places || ev->end_ns[recv] == HAS_BEGUN) {
        release_recv(ev, m, recv, ev->now_ns + m->latency_ns);
    }
}

static inline const struct pp_engine_message *message_at(const struct pp_engine_events *ev,
                                                         int32_t at) {
    const struct pp_engine_entry *of = &ev->entries[at];
    return &ev->messages[pp_engine_message_at((int32_t)of->stage, of->type)];
}

static void begin_send(struct pp_engine_events *ev, int32_t send) {
    const struct pp_engine_message *m = message_at(ev, send);
    int32_t ranks = ev->e->s->rank_count;
    ev->start_ns[send] = ev->now_ns;
    if (ev->has_places) {
        let(ev, ev->entries[send].partner);
    } else {
        ev->start_ns[ev->entries[send].partner] = ev->now_ns;
    }
    if (m->alone_ns == 0) {
        end_message(ev, m, send);
        return;
    }
    ev->moving[m->send_queue] = send;
    if (ev->is_shared) {
        pp_fair_add(&ev->fair, ranks + m->send_queue, &m->route, m->bytes, ev->now_ns);
    } else {
        pp_engine_heap_set(&ev->movers, ranks + m->send_queue, ev->now_ns + m->alone_ns);
    }
}

/* With places: a RECV begins once its message is under way. */
static void begin_recv(struct pp_engine_events *ev, int32_t recv) {
    int32_t send = ev->entries[recv].partner;
    ev->end_ns[recv] = HAS_BEGUN;
    ev->start_ns[recv] = ev->now_ns;
    if (ev->end_ns[send] >= 0) {
        const struct pp_engine_message *m = message_at(ev, send);
        release_recv(ev, m, recv, pp_max_i64(ev->now_ns, ev->end_ns[send] + m->latency_ns));
    }
}

/* ---- collectives ---- */

static inline const struct pp_engine_collective *collective_at(const struct pp_engine_events *ev,
                                                               int32_t at) {
    const struct pp_engine_entry *of = &ev->entries[at];
    return &ev->e->collectives[pp_engine_collective_at((int32_t)of->stage, of->type)];
}

static void end_collective(struct pp_engine_events *ev, int32_t rank, int64_t moved_ns) {
    struct rank *r = &ev->ranks[rank];
    int32_t at = r->next_gather;
    r->gather_ns = moved_ns + collective_at(ev, at)->fixed_ns;
    r->next_gather = ev->entries[at].after;
    tell_end(ev, rank, at, r->gather_ns);
}

/* Begins what is posted on a rank's lane as far as ends are known; what shares links begins when it
 * is time. */
static void gather(struct pp_engine_events *ev, int32_t rank) {
    struct rank *r = &ev->ranks[rank];
    while (!r->gathers && r->next_gather != NOTHING && r->next_gather < r->next) {
        int32_t at = r->next_gather;
        const struct pp_engine_collective *c = collective_at(ev, at);
        int64_t start_ns = pp_max_i64(ev->now_ns, r->gather_ns);
        ev->start_ns[at] = start_ns;
        if (!ev->is_shared || c->alone_ns == 0) {
            end_collective(ev, rank, start_ns + c->alone_ns);
            continue;
        }
        r->gathers = true;
        r->is_timed = start_ns > ev->now_ns;
        if (r->is_timed) {
            pp_engine_heap_set(&ev->movers, rank, start_ns);
        } else {
            pp_fair_add(&ev->fair, rank, &c->route, c->bytes, ev->now_ns);
        }
    }
}

/* The time has come of the first on a rank's lane: to begin, or its end. */
static void take_collective(struct pp_engine_events *ev, int32_t rank) {
    struct rank *r = &ev->ranks[rank];
    r->gathers = false;
    if (!r->is_timed) {
        pp_fair_remove(&ev->fair, rank);
        end_collective(ev, rank, ev->now_ns);
    }
    gather(ev, rank);
}

/* ---- a rank's walk ---- */

/* Puts off the start until `at` ended. @return false if that is not known yet: the rank waits */
static inline bool wait_for(struct pp_engine_events *ev, struct rank *r, int32_t at,
                            int64_t *start_ns) {
    if (at < 0) {
        return true;
    }
    if (ev->end_ns[at] < 0) {
        r->waits_for = at;
        return false;
    }
    *start_ns = pp_max_i64(*start_ns, ev->end_ns[at]);
    return true;
}

/* When a compute action can start, if that is known. */
static inline bool find_start(struct pp_engine_events *ev, struct rank *r, int32_t at,
                              int64_t *start_ns) {
    const struct pp_engine *e = ev->e;
    if (!wait_for(ev, r, e->entries[at].after, start_ns)) {
        return false;
    }
    return !ev->waits_more ||
           (wait_for(ev, r, e->entries[at].partner, start_ns) &&
            (e->s->reload == NULL || wait_for(ev, r, e->s->reload[at], start_ns)) &&
            (!e->runtime.reduce_blocks || wait_for(ev, r, r->reduced, start_ns)));
}

/* What the walk goes on with when the compute action ends: many events of other ranks later. */
static inline void fetch(const struct pp_engine_events *ev, int64_t at) {
    __builtin_prefetch(&ev->entries[at]);
    __builtin_prefetch(&ev->start_ns[at], 1);
    __builtin_prefetch(&ev->end_ns[at], 1);
}

/* @return the end of the compute action; -1: the rank waits */
static int64_t compute(struct pp_engine_events *ev, struct rank *r, int32_t at) {
    const struct pp_engine *e = ev->e;
    const struct pp_engine_entry *a = &e->entries[at];
    bool as_one = a->pair == 1 && e->ran_pairs;
    int64_t start_ns = ev->now_ns;
    if (ev->is_batched) {
        start_ns = pp_max_i64(start_ns, r->batch_ns);
    }
    if (!find_start(ev, r, at, &start_ns) || (as_one && !find_start(ev, r, at + 1, &start_ns))) {
        return -1;
    }
    int64_t end_ns =
        start_ns + (as_one ? e->costs->compute.pair_ns[a->stage]
                           : e->compute_ns[a->stage * PP_COMPUTE_TYPE_COUNT + a->type]);
    for (int32_t part = at; part <= at + as_one; part++) {
        ev->start_ns[part] = start_ns;
        ev->end_ns[part] = end_ns;
    }
    r->next = at + 1 + as_one;
    fetch(ev, pp_min_i64(r->next + FETCH_AHEAD, r->last - 1));
    return end_ns;
}

static void local(struct pp_engine_events *ev, int32_t rank, int32_t at) {
    struct rank *r = &ev->ranks[rank];
    enum pp_action_type type = ev->entries[at].type;
    r->next = at + 1;
    if (pp_engine_is_collective(type)) {
        r->reduced = type == PP_REDUCE_GRAD ? at : r->reduced;
        gather(ev, rank);
        return;
    }
    ev->start_ns[at] = ev->end_ns[at] = ev->now_ns;
    if (type >= PP_OFFLOAD) { /* or RELOAD */
        const int64_t *offload_ns = ev->e->costs->compute.offload_ns;
        ev->start_ns[at] = pp_max_i64(ev->now_ns, r->host_ns);
        r->host_ns =
            ev->start_ns[at] + (offload_ns == NULL ? 0 : offload_ns[ev->entries[at].stage]);
        ev->end_ns[at] = r->host_ns;
    }
}

static inline void post(struct pp_engine_events *ev, struct rank *r, int32_t at, bool is_send) {
    r->next = at + 1;
    r->open_count++;
    let_end(ev, at, is_send);
}

/* Batched: whether the rank must wait for the batches before `at`. */
static bool is_held(struct pp_engine_events *ev, int32_t rank, int32_t at) {
    struct rank *r = &ev->ranks[rank];
    enum pp_action_type type = ev->entries[at].type;
    bool goes_on = at > ev->e->s->rank_begin[rank] && pp_engine_is_transfer(type) &&
                   pp_engine_is_transfer(ev->entries[at - 1].type);
    if (goes_on) {
        return false;
    }
    if (r->open_count > 0) {
        r->waits_for = A_BATCH;
        return true;
    }
    if (r->batch_ns > ev->now_ns && type > PP_B) {
        pp_engine_cup_set(&ev->computes, rank, r->batch_ns);
        return true;
    }
    return false;
}

/* Goes on with a rank's list until it must wait. */
static inline void walk(struct pp_engine_events *ev, int32_t rank) {
    struct rank *r = &ev->ranks[rank];
    for (int32_t at = r->next; at < r->last; at = r->next) {
        enum pp_action_type type = ev->entries[at].type;
        if (ev->is_batched && is_held(ev, rank, at)) {
            return;
        }
        if (pp_engine_is_transfer(type)) {
            post(ev, r, at, pp_engine_is_send(type));
        } else if (type > PP_B) {
            local(ev, rank, at);
        } else {
            int64_t end_ns = compute(ev, r, at);
            if (end_ns > ev->now_ns) {
                pp_engine_cup_set(&ev->computes, rank, end_ns);
                return;
            }
            if (end_ns < 0) {
                return;
            }
        }
    }
}

/* ---- a run ---- */

static void begin(struct pp_engine_events *ev, const struct pp_network *net) {
    const struct pp_engine *e = ev->e;
    const struct pp_sched *s = e->s;
    ev->now_ns = ev->event_count = 0;
    pp_engine_cup_clear(&ev->computes);
    pp_engine_heap_clear(&ev->movers);
    ev->is_shared = net != NULL;
    if (net != NULL) {
        pp_fair_begin(&ev->fair, net, s->rank_count);
    }
    for (int32_t rank = s->rank_count - 1; rank >= 0; rank--) {
        ev->ranks[rank] = (struct rank){.next = s->rank_begin[rank],
                                        .last = s->rank_begin[rank + 1],
                                        .next_gather = e->collective_first[rank],
                                        .reduced = NOTHING};
        make_ready(ev, rank);
    }
    for (int32_t at = 0; at < s->action_count; at++) {
        ev->end_ns[at] = ev->first_ends[at];
    }
}

/* Everything that can begin or end at this instant. It and the walk have one caller each, and so
 * are part of the loop below. */
static inline void drain(struct pp_engine_events *ev) {
    while (ev->ready_count > 0 || ev->begun_count > 0) {
        while (ev->begun_count > 0) {
            int32_t at = ev->begun[--ev->begun_count];
            if (ev->has_places && !is_send_at(ev, at)) {
                begin_recv(ev, at);
            } else {
                begin_send(ev, at);
            }
        }
        while (ev->ready_count > 0) {
            walk(ev, ev->ready[--ev->ready_count]);
        }
    }
}

static void take_mover(struct pp_engine_events *ev) {
    int32_t id = pp_engine_heap_take(&ev->movers);
    int32_t queue = id - ev->e->s->rank_count;
    if (queue < 0) {
        take_collective(ev, id);
        return;
    }
    if (ev->is_shared) {
        pp_fair_remove(&ev->fair, id);
    }
    end_message(ev, message_at(ev, ev->moving[queue]), ev->moving[queue]);
}

static void expect_through(const struct pp_engine_events *ev) {
    for (int32_t rank = 0; rank < ev->e->s->rank_count; rank++) {
        PP_ASSERT(ev->ranks[rank].next == ev->ranks[rank].last);
        PP_ASSERT(!ev->is_batched || ev->ranks[rank].open_count == 0);
    }
}

void pp_engine_play(struct pp_engine *e, const struct pp_network *net, int64_t *start_ns,
                    int64_t *end_ns, int64_t *event_count_p) {
    struct pp_engine_events *ev = e->events;
    ev->start_ns = start_ns;
    ev->end_ns = end_ns;
    begin(ev, net);
    for (int32_t computed = NOTHING;;) { /* the rank whose compute action ended */
        drain(ev);
        if (computed != NOTHING && pp_engine_cup_at_ns(&ev->computes, computed) == ev->now_ns) {
            pp_engine_cup_set(&ev->computes, computed, INT64_MAX); /* it waits, or is through */
        }
        int64_t compute_ns = pp_engine_cup_next_ns(&ev->computes);
        int64_t moved_ns = pp_engine_heap_next_ns(&ev->movers);
        if (ev->is_shared && ev->fair.dirty_count > 0 && compute_ns > ev->now_ns &&
            moved_ns > ev->now_ns) {
            pp_fair_tell(&ev->fair, ev->now_ns, &ev->movers);
            moved_ns = pp_engine_heap_next_ns(&ev->movers);
        }
        if (compute_ns == INT64_MAX && moved_ns == INT64_MAX) {
            break;
        }
        ev->event_count++;
        ev->now_ns = pp_min_i64(compute_ns, moved_ns);
        computed = NOTHING;
        if (moved_ns <= compute_ns) {
            take_mover(ev);
        } else {
            computed = pp_engine_cup_next(&ev->computes);
            make_ready(ev, computed);
        }
    }
    expect_through(ev);
    if (event_count_p != NULL) {
        *event_count_p = ev->event_count;
    }
}
