/* One thing after the other: ends of compute and of transfers are taken from a heap in order of
 * time, and whatever they let begin begins. A rank's walk through its list stands at a compute
 * action until the ends of all that this waits for are known, some of them perhaps still to come;
 * so nothing has to happen when a message arrives or a reduction is over.
 *
 * An end that is not known yet is -1. Ids in the heap: ranks (the end of their compute action, or,
 * batched, of a batch), then what moves, by where it does: each rank's collective lane, each
 * queue's SEND. */
#include "sim/engine_fair.h"
#include "sim/engine_priv.h"

#include <stdlib.h>
#include <string.h>

enum { UNKNOWN = -1, NOTHING = -1, A_BATCH = -2 };

struct rank {
    int64_t batch_ns;  /* latest end, of those known, of SENDs and RECVs */
    int64_t gather_ns; /* when the collective lane is free */
    int64_t host_ns;
    int32_t next;        /* first action not begun, or not posted */
    int32_t waits_for;   /* action whose end is not known; NOTHING, A_BATCH */
    int32_t open_count;  /* SENDs and RECVs posted whose end is not known */
    int32_t next_gather; /* first collective not begun; NOTHING */
    int32_t reduced;     /* last REDUCE_GRAD posted; NOTHING */
    bool gathers;        /* the lane's first moves, or will at its time in the heap */
    bool is_timed;       /* the latter */
};

struct queue {
    int32_t head; /* first not released; NOTHING */
    int32_t rank;
    bool is_busy; /* the first has begun */
    bool is_dirty;
};

/* Messages of a directed rank pair: SENDs begun, RECVs begun, RECVs released. */
struct link {
    int32_t sent, begun, released;
};

/* Of a stage's SENDs or RECVs of one type. */
struct port {
    int32_t queue, message;
};

struct pp_engine_events {
    struct pp_engine *e;
    struct pp_engine_heap heap;
    struct pp_fair fair;
    bool is_shared;
    int64_t now_ns, event_count;
    int64_t *start_ns, *end_ns;
    struct rank *ranks;   /* [rank_count] */
    struct queue *queues; /* [queue_count] */
    struct link *links;   /* [link_count] */
    struct port *ports;   /* [stage_count * PP_TRANSFER_TYPE_COUNT] */
    int32_t *ready;       /* [rank_count] stack of ranks that go on */
    int32_t *dirty;       /* [queue_count] stack of queues whose first may begin */
    int32_t ready_count, dirty_count;
};

/* ---- life ---- */

static void fill_ports(struct pp_engine_events *ev) {
    const struct pp_engine *e = ev->e;
    for (int32_t stage = 0; stage < e->s->stage_count; stage++) {
        for (int32_t i = 0; i < PP_TRANSFER_TYPE_COUNT; i++) {
            struct pp_action a = {.stage = stage, .type = (uint8_t)(PP_SEND_F + i)};
            int32_t message = pp_engine_message_of(e->s, &a);
            struct port *port = &ev->ports[stage * PP_TRANSFER_TYPE_COUNT + i];
            *port = (struct port){NOTHING, NOTHING};
            if (message >= 0 && e->messages[message].from >= 0) {
                const struct pp_engine_message *m = &e->messages[message];
                bool is_send = pp_engine_is_send(a.type);
                *port = (struct port){.queue = is_send ? m->send_queue : m->recv_queue,
                                      .message = message};
            }
        }
    }
}

struct pp_engine_events *pp_engine_events_create(struct pp_engine *e) {
    size_t ranks = (size_t)e->s->rank_count;
    size_t queues = (size_t)e->queue_count;
    size_t ids = 2 * ranks + queues;
    struct pp_engine_events *ev = calloc(1, sizeof *ev);
    if (ev == NULL) {
        return NULL;
    }
    ev->e = e;
    ev->ranks = malloc(ranks * sizeof *ev->ranks);
    ev->queues = malloc((queues + 1) * sizeof *ev->queues);
    ev->links = malloc(((size_t)e->link_count + 1) * sizeof *ev->links);
    ev->ports = malloc((size_t)e->s->stage_count * PP_TRANSFER_TYPE_COUNT * sizeof *ev->ports);
    ev->ready = malloc((ranks + queues) * sizeof *ev->ready);
    ev->heap.nodes = malloc(ids * sizeof *ev->heap.nodes);
    ev->heap.place = malloc(ids * sizeof *ev->heap.place);
    bool fair =
        pp_fair_init(&ev->fair, (int32_t)(ranks + queues), pp_network_link_count(e->s->rank_count));
    if (ev->ranks == NULL || ev->queues == NULL || ev->links == NULL || ev->ports == NULL ||
        ev->ready == NULL || ev->heap.nodes == NULL || ev->heap.place == NULL || !fair) {
        pp_engine_events_destroy(ev);
        return NULL;
    }
    ev->dirty = ev->ready + ranks;
    fill_ports(ev);
    return ev;
}

void pp_engine_events_destroy(struct pp_engine_events *ev) {
    if (ev != NULL) {
        pp_fair_deinit(&ev->fair);
        free(ev->ranks);
        free(ev->queues);
        free(ev->links);
        free(ev->ports);
        free(ev->ready);
        free(ev->heap.nodes);
        free(ev->heap.place);
        free(ev);
    }
}

/* ---- what goes on ---- */

static void make_ready(struct pp_engine_events *ev, int32_t rank) {
    ev->ranks[rank].waits_for = NOTHING;
    ev->ready[ev->ready_count++] = rank;
}

static inline void look_at(struct pp_engine_events *ev, int32_t queue) {
    if (!ev->queues[queue].is_dirty) {
        ev->queues[queue].is_dirty = true;
        ev->dirty[ev->dirty_count++] = queue;
    }
}

/* An end is known, now or later, that the rank may have waited for. */
static inline void tell_end(struct pp_engine_events *ev, int32_t rank, int32_t at, int64_t end_ns) {
    ev->end_ns[at] = end_ns;
    if (ev->ranks[rank].waits_for == at) {
        make_ready(ev, rank);
    }
}

/* The same of a SEND or RECV, that batches wait for. */
static inline void tell_moved(struct pp_engine_events *ev, int32_t rank, int32_t at,
                              int64_t end_ns) {
    struct rank *r = &ev->ranks[rank];
    r->batch_ns = pp_max_i64(r->batch_ns, end_ns);
    if (--r->open_count == 0 && r->waits_for == A_BATCH) {
        make_ready(ev, rank);
    }
    tell_end(ev, rank, at, end_ns);
}

/* ---- messages ---- */

static inline void release(struct pp_engine_events *ev, int32_t number) {
    struct queue *queue = &ev->queues[number];
    queue->head = ev->e->after[queue->head];
    queue->is_busy = false;
    look_at(ev, number);
}

static void release_recv(struct pp_engine_events *ev, const struct pp_engine_message *m,
                         int64_t end_ns) {
    int32_t recv = ev->queues[m->recv_queue].head;
    release(ev, m->recv_queue);
    tell_moved(ev, m->to, recv, end_ns);
    if (ev->e->room != NULL) {
        ev->links[m->link].released++;
        look_at(ev, m->send_queue); /* there is a place */
    }
}

/* The message of a queue's first has moved, now. */
static void end_message(struct pp_engine_events *ev, const struct pp_engine_message *m) {
    int32_t send = ev->queues[m->send_queue].head;
    const struct queue *recv_queue = &ev->queues[m->recv_queue];
    bool has_recv =
        ev->e->room == NULL || (recv_queue->is_busy && recv_queue->head == ev->e->partner[send]);
    release(ev, m->send_queue);
    tell_moved(ev, m->from, send, ev->now_ns);
    if (has_recv) {
        release_recv(ev, m, ev->now_ns + m->latency_ns);
    }
}

static void begin_send(struct pp_engine_events *ev, const struct pp_engine_message *m) {
    int32_t ranks = ev->e->s->rank_count;
    struct queue *queue = &ev->queues[m->send_queue];
    queue->is_busy = true;
    ev->start_ns[queue->head] = ev->now_ns;
    if (m->alone_ns == 0) {
        end_message(ev, m);
    } else if (ev->is_shared) {
        pp_fair_add(&ev->fair, ranks + m->send_queue, &m->route, m->bytes, ev->now_ns);
    } else {
        pp_engine_heap_set(&ev->heap, 2 * ranks + m->send_queue, ev->now_ns + m->alone_ns);
    }
}

/* With places: a RECV begins once its message is under way. */
static void begin_recv(struct pp_engine_events *ev, const struct pp_engine_message *m) {
    struct queue *queue = &ev->queues[m->recv_queue];
    int64_t moved_ns = ev->end_ns[ev->e->partner[queue->head]];
    queue->is_busy = true;
    ev->start_ns[queue->head] = ev->now_ns;
    ev->links[m->link].begun++;
    if (moved_ns != UNKNOWN) {
        release_recv(ev, m, pp_max_i64(ev->now_ns, moved_ns + m->latency_ns));
    }
}

static const struct port *port_of(const struct pp_engine_events *ev, int32_t at) {
    const struct pp_action *a = &ev->e->s->actions[at];
    return &ev->ports[a->stage * PP_TRANSFER_TYPE_COUNT + a->type - PP_SEND_F];
}

/* Begins the first of a queue if all that it waits for has ended. */
static void try_first(struct pp_engine_events *ev, int32_t number) {
    struct queue *queue = &ev->queues[number];
    int32_t head = queue->head;
    if (head == NOTHING || queue->is_busy || head >= ev->ranks[queue->rank].next) {
        return;
    }
    bool is_send = pp_engine_is_send(ev->e->s->actions[head].type);
    int32_t partner = ev->e->partner[head];
    const struct pp_engine_message *m =
        &ev->e->messages[port_of(ev, is_send ? head : partner)->message];
    if (ev->e->room == NULL) {
        struct queue *peer = &ev->queues[is_send ? m->recv_queue : m->send_queue];
        if (peer->head == partner && partner < ev->ranks[peer->rank].next) {
            peer->is_busy = true;
            ev->start_ns[partner] = ev->start_ns[head] = ev->now_ns;
            begin_send(ev, m);
        }
        return;
    }
    struct link *link = &ev->links[m->link];
    if (is_send && link->sent - link->released < ev->e->runtime.comms.buffer_count) {
        link->sent++;
        begin_send(ev, m);
        look_at(ev, m->recv_queue);
    } else if (!is_send && link->begun < link->sent) {
        begin_recv(ev, m);
    }
}

/* ---- collectives ---- */

static void end_collective(struct pp_engine_events *ev, int32_t rank, int64_t moved_ns) {
    struct rank *r = &ev->ranks[rank];
    int32_t at = r->next_gather;
    r->gather_ns =
        moved_ns + ev->e->collectives[pp_engine_collective_of(&ev->e->s->actions[at])].fixed_ns;
    r->next_gather = ev->e->after[at];
    tell_end(ev, rank, at, r->gather_ns);
}

/* Begins what is posted on a rank's lane as far as ends are known; what shares links begins when it
 * is time. */
static void gather(struct pp_engine_events *ev, int32_t rank) {
    struct rank *r = &ev->ranks[rank];
    while (!r->gathers && r->next_gather != NOTHING && r->next_gather < r->next) {
        int32_t at = r->next_gather;
        const struct pp_engine_collective *c =
            &ev->e->collectives[pp_engine_collective_of(&ev->e->s->actions[at])];
        int64_t start_ns = pp_max_i64(ev->now_ns, r->gather_ns);
        ev->start_ns[at] = start_ns;
        if (!ev->is_shared || c->alone_ns == 0) {
            end_collective(ev, rank, start_ns + c->alone_ns);
            continue;
        }
        r->gathers = true;
        r->is_timed = start_ns > ev->now_ns;
        if (r->is_timed) {
            pp_engine_heap_set(&ev->heap, ev->e->s->rank_count + rank, start_ns);
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
    if (ev->end_ns[at] == UNKNOWN) {
        r->waits_for = at;
        return false;
    }
    *start_ns = pp_max_i64(*start_ns, ev->end_ns[at]);
    return true;
}

/* When a compute action can start, if that is known. */
static bool find_start(struct pp_engine_events *ev, struct rank *r, int32_t at, int64_t *start_ns) {
    const struct pp_engine *e = ev->e;
    return wait_for(ev, r, e->s->producer[at], start_ns) &&
           wait_for(ev, r, e->partner[at], start_ns) &&
           (e->s->reload == NULL || wait_for(ev, r, e->s->reload[at], start_ns)) &&
           (!e->runtime.reduce_blocks || wait_for(ev, r, r->reduced, start_ns));
}

/* @return the end of the compute action; UNKNOWN: the rank waits */
static int64_t compute(struct pp_engine_events *ev, struct rank *r, int32_t at) {
    const struct pp_engine *e = ev->e;
    const struct pp_action *a = &e->s->actions[at];
    bool as_one = a->pair == 1 && e->ran_pairs;
    int64_t start_ns = ev->now_ns;
    if (e->runtime.batched) {
        start_ns = pp_max_i64(start_ns, r->batch_ns);
    }
    if (!find_start(ev, r, at, &start_ns) || (as_one && !find_start(ev, r, at + 1, &start_ns))) {
        return UNKNOWN;
    }
    int64_t end_ns =
        start_ns + (as_one ? e->costs->compute.pair_ns[a->stage]
                           : e->compute_ns[a->stage * PP_COMPUTE_TYPE_COUNT + a->type]);
    for (int32_t part = at; part <= at + as_one; part++) {
        ev->start_ns[part] = start_ns;
        ev->end_ns[part] = end_ns;
    }
    r->next = at + 1 + as_one;
    return end_ns;
}

static void local(struct pp_engine_events *ev, int32_t rank, int32_t at) {
    struct rank *r = &ev->ranks[rank];
    const struct pp_action *a = &ev->e->s->actions[at];
    r->next = at + 1;
    if (pp_engine_is_collective(a->type)) {
        r->reduced = a->type == PP_REDUCE_GRAD ? at : r->reduced;
        gather(ev, rank);
        return;
    }
    ev->start_ns[at] = ev->end_ns[at] = ev->now_ns;
    if (pp_action_is_offload(a)) {
        const int64_t *offload_ns = ev->e->costs->compute.offload_ns;
        ev->start_ns[at] = pp_max_i64(ev->now_ns, r->host_ns);
        r->host_ns = ev->start_ns[at] + (offload_ns == NULL ? 0 : offload_ns[a->stage]);
        ev->end_ns[at] = r->host_ns;
    }
}

static void post(struct pp_engine_events *ev, struct rank *r, int32_t at) {
    int32_t queue = port_of(ev, at)->queue;
    r->next = at + 1;
    r->open_count++;
    if (ev->queues[queue].head == at) {
        look_at(ev, queue);
    }
}

/* Batched: whether the rank must wait for the batches before `at`. */
static bool is_held(struct pp_engine_events *ev, int32_t rank, int32_t at) {
    struct rank *r = &ev->ranks[rank];
    const struct pp_sched *s = ev->e->s;
    bool goes_on = at > s->rank_begin[rank] && pp_engine_is_transfer(s->actions[at].type) &&
                   pp_engine_is_transfer(s->actions[at - 1].type);
    if (goes_on) {
        return false;
    }
    if (r->open_count > 0) {
        r->waits_for = A_BATCH;
        return true;
    }
    if (r->batch_ns > ev->now_ns && !pp_action_is_compute(&s->actions[at])) {
        pp_engine_heap_set(&ev->heap, rank, r->batch_ns);
        return true;
    }
    return false;
}

/* Goes on with a rank's list until it must wait. */
static void walk(struct pp_engine_events *ev, int32_t rank) {
    const struct pp_sched *s = ev->e->s;
    struct rank *r = &ev->ranks[rank];
    int32_t last = s->rank_begin[rank + 1];
    for (int32_t at = r->next; at < last; at = r->next) {
        const struct pp_action *a = &s->actions[at];
        if (ev->e->runtime.batched && is_held(ev, rank, at)) {
            return;
        }
        if (pp_engine_is_transfer(a->type)) {
            post(ev, r, at);
        } else if (!pp_action_is_compute(a)) {
            local(ev, rank, at);
        } else {
            int64_t end_ns = compute(ev, r, at);
            if (end_ns > ev->now_ns) {
                pp_engine_heap_set(&ev->heap, rank, end_ns);
                return;
            }
            if (end_ns == UNKNOWN) {
                return;
            }
        }
    }
}

/* ---- a run ---- */

static void begin(struct pp_engine_events *ev, const struct pp_network *net) {
    const struct pp_engine *e = ev->e;
    int32_t ranks = e->s->rank_count;
    ev->now_ns = ev->event_count = 0;
    ev->heap.count = 0;
    ev->heap.has_hole = false;
    ev->is_shared = net != NULL;
    if (net != NULL) {
        pp_fair_begin(&ev->fair, net, ranks);
    }
    for (int32_t id = 0; id < 2 * ranks + e->queue_count; id++) {
        ev->heap.place[id] = -1;
    }
    for (int32_t rank = ranks - 1; rank >= 0; rank--) {
        ev->ranks[rank] = (struct rank){.next = e->s->rank_begin[rank],
                                        .next_gather = e->collective_first[rank],
                                        .reduced = NOTHING};
        make_ready(ev, rank);
    }
    for (int32_t queue = 0; queue < e->queue_count; queue++) {
        ev->queues[queue] =
            (struct queue){.head = e->queue_first[queue], .rank = e->queue_rank[queue]};
    }
    for (int32_t link = 0; link < e->link_count; link++) {
        ev->links[link] = (struct link){0};
    }
    for (int32_t at = 0; at < e->s->action_count; at++) {
        ev->end_ns[at] = UNKNOWN;
    }
}

/* Everything that can begin or end at this instant. */
static void drain(struct pp_engine_events *ev) {
    while (ev->ready_count > 0 || ev->dirty_count > 0) {
        while (ev->ready_count > 0) {
            walk(ev, ev->ready[--ev->ready_count]);
        }
        while (ev->dirty_count > 0) {
            int32_t queue = ev->dirty[--ev->dirty_count];
            ev->queues[queue].is_dirty = false;
            try_first(ev, queue);
        }
    }
}

static void take(struct pp_engine_events *ev, int32_t id) {
    int32_t ranks = ev->e->s->rank_count;
    ev->event_count++;
    if (id < ranks) {
        walk(ev, id);
    } else if (id < 2 * ranks) {
        take_collective(ev, id - ranks);
    } else {
        int32_t head = ev->queues[id - 2 * ranks].head;
        if (ev->is_shared) {
            pp_fair_remove(&ev->fair, id - ranks);
        }
        end_message(ev, &ev->e->messages[port_of(ev, head)->message]);
    }
}

static void expect_through(const struct pp_engine_events *ev) {
    for (int32_t rank = 0; rank < ev->e->s->rank_count; rank++) {
        PP_ASSERT(ev->ranks[rank].next == ev->e->s->rank_begin[rank + 1]);
        PP_ASSERT(ev->ranks[rank].open_count == 0);
    }
}

void pp_engine_play(struct pp_engine *e, const struct pp_network *net, int64_t *start_ns,
                    int64_t *end_ns, int64_t *event_count_p) {
    struct pp_engine_events *ev = e->events;
    ev->start_ns = start_ns;
    ev->end_ns = end_ns;
    begin(ev, net);
    drain(ev);
    for (;;) {
        int64_t next_ns = pp_engine_heap_next_ns(&ev->heap);
        if (next_ns > ev->now_ns && ev->fair.dirty_count > 0 && ev->is_shared) {
            pp_fair_tell(&ev->fair, ev->now_ns, &ev->heap, e->s->rank_count);
            next_ns = pp_engine_heap_next_ns(&ev->heap);
        }
        if (next_ns == INT64_MAX) {
            break;
        }
        ev->now_ns = next_ns;
        take(ev, pp_engine_heap_take(&ev->heap));
        drain(ev);
    }
    expect_through(ev);
    if (event_count_p != NULL) {
        *event_count_p = ev->event_count;
    }
}
