#include "sim/engine_fair.h"

#include <stdlib.h>

enum { NS_PER_S = 1000000000, RATE_BITS = 16, SLACK = 1 << 20 };

/* Whether a link is full, but for what rounding leaves: some of its flows may go at its share. */
static inline bool is_full(const struct pp_fair_link *link) {
    return link->load + SLACK >= link->rate;
}

bool pp_fair_init(struct pp_fair *f, int32_t flow_count, int32_t link_count) {
    *f = (struct pp_fair){.flow_count = flow_count, .link_count = link_count};
    f->flows = malloc((size_t)flow_count * sizeof *f->flows);
    f->link = malloc(6 * (size_t)flow_count * sizeof *f->link);
    f->next = f->link + 2 * (size_t)flow_count;
    f->prev = f->next + 2 * (size_t)flow_count;
    f->links = calloc((size_t)link_count, sizeof *f->links);
    f->dirty = malloc(3 * ((size_t)link_count + 1) * sizeof *f->dirty);
    f->taken = f->dirty + link_count + 1; /* a list's end is written to, too */
    f->path = f->taken + link_count + 1;
    f->round = UINT32_MAX; /* the first begin clears the marks of rounds */
    return f->flows != NULL && f->link != NULL && f->links != NULL && f->dirty != NULL;
}

void pp_fair_deinit(struct pp_fair *f) {
    free(f->flows);
    free(f->link);
    free(f->links);
    free(f->dirty);
}

void pp_fair_begin(struct pp_fair *f, const struct pp_network *net, int32_t rank_count) {
    if (f->round > UINT32_MAX / 2) { /* a run has far fewer rounds than are left then */
        f->round = 0;
        for (int32_t flow = 0; flow < f->flow_count; flow++) {
            f->flows[flow].told = 0;
        }
    }
    for (int32_t number = 0; number < f->link_count; number++) {
        struct pp_fair_link *link = &f->links[number];
        *link = (struct pp_fair_link){.first = -1};
        link->rate = (uint64_t)pp_network_bytes_per_s(net, rank_count, number) << RATE_BITS;
        link->room = link->share = link->even = link->rate;
    }
    f->dirty_count = f->taken_count = 0;
}

/* Adds a link to a list of those for which `is_new`, without a branch. */
static inline void list(int32_t *links, int32_t *count, int32_t number, bool is_new) {
    links[*count] = number;
    *count += is_new;
}

/* Notes a link all of whose flows are to be told their rates: something changed on it. */
static inline void note(struct pp_fair *f, int32_t number) {
    list(f->dirty, &f->dirty_count, number, !f->links[number].is_dirty);
    f->links[number].is_dirty = true;
}

/* `rate` for each of so many; all of it for none. */
static inline uint64_t share_of(uint64_t rate, int32_t count) {
    return rate / (uint32_t)(count + (count == 0));
}

static inline void set_count(struct pp_fair_link *link, int32_t count) {
    link->count = link->open = count;
    link->share = link->even = share_of(link->rate, count);
}

void pp_fair_add(struct pp_fair *f, int32_t flow, const struct pp_route *route, int64_t bytes,
                 int64_t now_ns) {
    struct pp_flow *of = &f->flows[flow];
    of->left = ((unsigned __int128)bytes * NS_PER_S) << RATE_BITS;
    of->rate = 0;
    of->since_ns = now_ns;
    f->link[2 * flow] = route->out;
    f->link[2 * flow + 1] = route->in;
    for (int32_t at = 2 * flow; at < 2 * flow + 2; at++) {
        struct pp_fair_link *link = &f->links[f->link[at]];
        f->prev[at] = -1;
        f->next[at] = link->first;
        if (link->first >= 0) {
            f->prev[link->first] = at;
        }
        link->first = at;
        set_count(link, link->count + 1);
    }
    /* told on one, it is told; the other then is noted if that matters to it */
    bool in_first = f->links[route->in].even < f->links[route->out].even;
    note(f, in_first ? route->in : route->out);
}

void pp_fair_remove(struct pp_fair *f, int32_t flow) {
    for (int32_t at = 2 * flow; at < 2 * flow + 2; at++) {
        struct pp_fair_link *link = &f->links[f->link[at]];
        int32_t next = f->next[at];
        int32_t prev = f->prev[at];
        if (next >= 0) {
            f->prev[next] = prev;
        }
        if (prev >= 0) {
            f->next[prev] = next;
        } else {
            link->first = next;
        }
        set_count(link, link->count - 1);
        if (is_full(link)) { /* else none of its flows waited for this one */
            note(f, f->link[at]);
        }
        link->load -= f->flows[flow].rate;
    }
}

static void set_rate(struct pp_fair *f, int32_t number, uint64_t rate, int64_t now_ns,
                     struct pp_engine_heap *heap) {
    struct pp_flow *flow = &f->flows[number];
    flow->left -= (unsigned __int128)flow->rate * (uint64_t)(now_ns - flow->since_ns);
    flow->rate = rate;
    flow->since_ns = now_ns;
    unsigned __int128 ns = (flow->left + rate - 1) / rate;
    bool fits = ns < (unsigned __int128)(INT64_MAX - now_ns);
    /* one that would end after the clock gets more before that */
    pp_engine_heap_set(heap, number, fits ? now_ns + (int64_t)ns : INT64_MAX - 1);
}

/* Of the links that a link's flows without a rate take as well, the one with the smallest share, if
 * that is smaller than its own; else -1. */
static inline int32_t find_tighter(const struct pp_fair *f, const struct pp_fair_link *link) {
    uint64_t least = link->share;
    int32_t best = -1;
    for (int32_t at = link->first; at >= 0; at = f->next[at]) {
        int32_t other = f->link[at ^ 1];
        bool is_told = f->flows[(uint32_t)at / 2].told == f->round;
        uint64_t share = f->links[other].share | (is_told ? UINT64_MAX : 0);
        best = share < least ? other : best;
        least = share < least ? share : least;
    }
    return best;
}

/* Fixes the rates of a link's flows that have none: its share. */
static inline void fix(struct pp_fair *f, int32_t number, int64_t now_ns,
                       struct pp_engine_heap *heap) {
    struct pp_fair_link *link = &f->links[number];
    uint64_t rate = link->share > 0 ? link->share : 1;
    list(f->taken, &f->taken_count, number, link->open == link->count);
    for (int32_t at = link->first; link->open > 0; at = f->next[at]) {
        struct pp_flow *flow = &f->flows[(uint32_t)at / 2];
        if (flow->told != f->round) {
            flow->told = f->round;
            link->open--;
            int32_t other_number = f->link[at ^ 1];
            struct pp_fair_link *other = &f->links[other_number];
            list(f->taken, &f->taken_count, other_number, other->open == other->count);
            other->room -= other->room > rate ? rate : other->room;
            other->open--;
            other->share = share_of(other->room, other->open);
            if (flow->rate != rate) {
                bool was_full = is_full(other);
                link->load += (unsigned __int128)rate - flow->rate;
                other->load += (unsigned __int128)rate - flow->rate;
                if (was_full || is_full(other)) { /* else it holds up no flow, as before */
                    note(f, other_number);
                }
                set_rate(f, at / 2, rate, now_ns, heap);
            }
        }
    }
}

/* Tells all flows of a link their rates. Shares only grow while rates are fixed; so a link is the
 * tightest of all for its flows as soon as it is tighter than those next to it, and from any link a
 * way down leads to one. */
static inline void fill(struct pp_fair *f, int32_t number, int64_t now_ns,
                        struct pp_engine_heap *heap) {
    int32_t depth = 0;
    f->path[depth++] = number;
    while (depth > 0) {
        int32_t on = f->path[depth - 1];
        const struct pp_fair_link *link = &f->links[on];
        int32_t tighter = link->open > 0 ? find_tighter(f, link) : -1;
        if (tighter >= 0) {
            f->path[depth++] = tighter;
            continue;
        }
        if (link->open > 0) {
            fix(f, on, now_ns, heap);
        }
        depth--;
    }
}

void pp_fair_tell(struct pp_fair *f, int64_t now_ns, struct pp_engine_heap *heap) {
    f->round++;
    for (int32_t i = 0; i < f->dirty_count; i++) { /* more come with every rate that changes */
        fill(f, f->dirty[i], now_ns, heap);
    }
    for (int32_t i = 0; i < f->dirty_count; i++) {
        f->links[f->dirty[i]].is_dirty = false;
    }
    for (int32_t i = 0; i < f->taken_count; i++) {
        struct pp_fair_link *link = &f->links[f->taken[i]];
        link->room = link->rate;
        link->open = link->count;
        link->share = link->even;
    }
    f->dirty_count = f->taken_count = 0;
}
