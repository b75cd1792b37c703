/**
 * @file engine_heap.h
 * Private to the engine: which of some things happens next.
 *
 * A cup, for things that nearly all wait, as ranks do for the end of their compute action: a
 * tournament, every change replays the matches of one, without a branch that could be guessed
 * wrong.
 *
 * A heap, for things of which few wait, as transfers, at times that may change: a heap of fours, so
 * that the children of a node lie side by side, which knows the place of each. Behind the last node
 * stand times that never come, so that children are compared without looking whether they are
 * there. Of equal times any may come first: the engine's results do not depend on it.
 */
#ifndef PP_SIM_ENGINE_HEAP_H
#define PP_SIM_ENGINE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pp_engine_node {
    int64_t at_ns;
    int32_t id;
};

struct pp_engine_heap {
    struct pp_engine_node *nodes; /* [ids + 4] */
    int32_t *place;               /* [ids] -1: does not wait */
    int32_t id_count, count;
    bool has_hole; /* the first was taken, and mostly something else comes at once for its place */
};

/** @return false without memory */
bool pp_engine_heap_init(struct pp_engine_heap *h, int32_t id_count);
void pp_engine_heap_deinit(struct pp_engine_heap *h);
void pp_engine_heap_clear(struct pp_engine_heap *h);

static inline void pp_engine_heap_put(struct pp_engine_heap *h, int32_t place,
                                      struct pp_engine_node node) {
    h->nodes[place] = node;
    h->place[node.id] = place;
}

static inline void pp_engine_heap_rise(struct pp_engine_heap *h, int32_t place,
                                       struct pp_engine_node node) {
    while (place > 0) {
        int32_t parent = (place - 1) / 4;
        if (h->nodes[parent].at_ns <= node.at_ns) {
            break;
        }
        pp_engine_heap_put(h, place, h->nodes[parent]);
        place = parent;
    }
    pp_engine_heap_put(h, place, node);
}

static inline void pp_engine_heap_sink(struct pp_engine_heap *h, int32_t place,
                                       struct pp_engine_node node) {
    for (int32_t first; (first = 4 * place + 1) < h->count;) {
        const struct pp_engine_node *child = &h->nodes[first];
        int32_t left = child[1].at_ns < child[0].at_ns;
        int32_t right = 2 + (child[3].at_ns < child[2].at_ns);
        int32_t best = child[right].at_ns < child[left].at_ns ? right : left;
        if (child[best].at_ns >= node.at_ns) {
            break;
        }
        pp_engine_heap_put(h, place, child[best]);
        place = first + best;
    }
    pp_engine_heap_put(h, place, node);
}

static inline void pp_engine_heap_fill_hole(struct pp_engine_heap *h) {
    if (h->has_hole) {
        h->has_hole = false;
        h->count--;
        struct pp_engine_node last = h->nodes[h->count];
        h->nodes[h->count].at_ns = INT64_MAX;
        if (h->count > 0) {
            pp_engine_heap_sink(h, 0, last);
        }
    }
}

/** `id` happens at that time, whenever it was to happen before. */
static inline void pp_engine_heap_set(struct pp_engine_heap *h, int32_t id, int64_t at_ns) {
    struct pp_engine_node node = {.at_ns = at_ns, .id = id};
    if (h->place[id] < 0) {
        if (h->has_hole) {
            h->has_hole = false;
            pp_engine_heap_sink(h, 0, node);
        } else {
            pp_engine_heap_rise(h, h->count++, node);
        }
        return;
    }
    pp_engine_heap_fill_hole(h);
    int32_t place = h->place[id];
    if (at_ns < h->nodes[place].at_ns) {
        pp_engine_heap_rise(h, place, node);
    } else {
        pp_engine_heap_sink(h, place, node);
    }
}

/** When the next happens; INT64_MAX: nothing waits. */
static inline int64_t pp_engine_heap_next_ns(struct pp_engine_heap *h) {
    pp_engine_heap_fill_hole(h);
    return h->nodes[0].at_ns;
}

/** Takes the next. @return its id; only right after pp_engine_heap_next_ns */
static inline int32_t pp_engine_heap_take(struct pp_engine_heap *h) {
    int32_t id = h->nodes[0].id;
    h->place[id] = -1;
    h->has_hole = true;
    return id;
}

/* ---- the cup ---- */

struct pp_engine_cup {
    uint64_t *at_ns; /* [2 * size] leaves from `size` on, the winner of all at 1; unsigned, as a
                        carry makes a mask in one instruction */
    uint32_t *id;    /* [2 * size] whose time that is */
    uint32_t size;   /* a power of two */
};

/** @return false without memory */
bool pp_engine_cup_init(struct pp_engine_cup *c, int32_t id_count);
void pp_engine_cup_deinit(struct pp_engine_cup *c);
/** Nobody comes: all at INT64_MAX. */
void pp_engine_cup_clear(struct pp_engine_cup *c);

static inline int64_t pp_engine_cup_at_ns(const struct pp_engine_cup *c, int32_t id) {
    return (int64_t)c->at_ns[c->size + (uint32_t)id];
}

/** Who is next, and when; INT64_MAX: nobody comes. */
static inline int32_t pp_engine_cup_next(const struct pp_engine_cup *c) {
    return (int32_t)c->id[1];
}
static inline int64_t pp_engine_cup_next_ns(const struct pp_engine_cup *c) {
    return (int64_t)c->at_ns[1];
}

/** @param at_ns  not negative */
static inline void pp_engine_cup_set(struct pp_engine_cup *c, int32_t id, int64_t at_ns) {
    uint64_t *times = c->at_ns;
    uint32_t *ids = c->id;
    uint64_t first_ns = (uint64_t)at_ns;
    uint32_t first = (uint32_t)id;
    size_t place = (size_t)c->size + first;
    times[place] = first_ns;
    while (place > 1) {
        uint64_t other_ns = times[place ^ 1];
        first ^= (first ^ ids[place ^ 1]) & -(uint32_t)(other_ns < first_ns); /* ?: would branch */
        first_ns = other_ns < first_ns ? other_ns : first_ns;
        place /= 2;
        times[place] = first_ns;
        ids[place] = first;
    }
}

#endif
