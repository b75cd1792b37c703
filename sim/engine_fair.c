#include "sim/engine_fair.h"

#include <stdlib.h>

enum { NS_PER_S = 1000000000, RATE_BITS = 16, SLACK = 1 << 20, LINE = 64 };

_Static_assert(sizeof(struct pp_fair_link) == LINE, "a link is one line of the cache");

/* Whether a link is full, but for what rounding leaves: some of its flows may go at its share. */
static inline bool is_full(const struct pp_fair_link *link) {
    return link->load + SLACK >= link->rate;
}

bool pp_fair_init(struct pp_fair *f, int32_t flow_count, int32_t link_count) {
    size_t flows = (size_t)flow_count;
    size_t links = (size_t)link_count;
    *f = (struct pp_fair){.flow_count = flow_count, .link_count = link_count};
    f->flows = malloc(flows * sizeof *f->flows);
    f->ends = malloc(2 * flows * sizeof *f->ends);
    f->links = aligned_alloc(LINE, links * sizeof *f->links);
    f->dirty = malloc((3 * (links + 1) + flows + 1) * sizeof *f->dirty);
    f->taken = f->dirty + links + 1; /* a list's end is written to, too */
    f->path = f->taken + links + 1;
    f->open = f->path + links + 1;
    f->round = UINT32_MAX; /* the first begin clears the marks of rounds */
    return f->flows != NULL && f->ends != NULL && f->links != NULL && f->dirty != NULL;
}

void pp_fair_deinit(struct pp_fair *f) {
    free(f->flows);
    free(f->ends);
    free(f->links);
    free(f->dirty);
}

void pp_fair_begin(struct pp_fair *f, const struct pp_network *net, int32_t rank_count) {
    if (f->round > UINT32_MAX / 2) { /* a run has far fewer rounds than are left then */
        f->round = 1;
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
    list(f->dirty, &f->dirty_count, number, f->links[number].noted != f->round);
    f->links[number].noted = f->round;
}

/* `rate` for each of so many; all of it for none. */
static inline uint64_t share_of(uint64_t rate, int32_t count) {
    return rate / (uint32_t)(count + (count == 0));
}

static inline void set_count(struct pp_fair_link *link, int32_t count) {
    link->count = link->open = count;
    link->share = link->even = share_of(link->rate, count);
}

static inline void put_end(struct pp_fair *f, int32_t at, int32_t number, int32_t other) {
    struct pp_fair_link *link = &f->links[number];
    f->ends[at] =
        (struct pp_fair_end){.link = number, .other = other, .next = link->first, .prev = -1};
    if (link->first >= 0) {
        f->ends[link->first].prev = at;
    }
    link->first = at;
    set_count(link, link->count + 1);
}

void pp_fair_add(struct pp_fair *f, int32_t flow, const struct pp_route *route, int64_t bytes,
                 int64_t now_ns) {
    struct pp_flow *of = &f->flows[flow];
    of->left = ((unsigned __int128)bytes * NS_PER_S) << RATE_BITS;
    of->rate = 0;
    of->since_ns = now_ns;
    put_end(f, 2 * flow, route->out, route->in);
    put_end(f, 2 * flow + 1, route->in, route->out);
    /* told on one, it is told; the other then is noted if that matters to it */
    bool in_first = f->links[route->in].even < f->links[route->out].even;
    note(f, in_first ? route->in : route->out);
}

void pp_fair_remove(struct pp_fair *f, int32_t flow) {
    for (int32_t at = 2 * flow; at < 2 * flow + 2; at++) {
        const struct pp_fair_end end = f->ends[at];
        struct pp_fair_link *link = &f->links[end.link];
        if (end.next >= 0) {
            f->ends[end.next].prev = end.prev;
        }
        *(end.prev >= 0 ? &f->ends[end.prev].next : &link->first) = end.next;
        set_count(link, link->count - 1);
        if (is_full(link)) { /* else none of its flows waited for this one */
            note(f, end.link);
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

/* Lists a link's flows without a rate. Of the links that they take as well, the one with the
 * smallest share, if that is smaller than its own; else -1. */
static inline int32_t find_tighter(struct pp_fair *f, const struct pp_fair_link *link) {
    uint64_t least = link->share;
    int32_t best = -1;
    int32_t count = 0;
    int32_t open = link->open;
    for (int32_t at = link->first; count < open; at = f->ends[at].next) {
        bool is_open = f->flows[(uint32_t)at / 2].told != f->round;
        int32_t other = f->ends[at].other;
        uint64_t share = f->links[other].share | (is_open ? 0 : UINT64_MAX);
        list(f->open, &count, at, is_open);
        best = share < least ? other : best;
        least = share < least ? share : least;
    }
    return best;
}

/* Fixes the rates of a link's flows that have none, as listed: its share. */
static inline void fix(struct pp_fair *f, int32_t number, int64_t now_ns,
                       struct pp_engine_heap *heap) {
    struct pp_fair_link *link = &f->links[number];
    uint64_t rate = link->share > 0 ? link->share : 1;
    int32_t open = link->open;
    list(f->taken, &f->taken_count, number, open == link->count);
    for (int32_t i = 0; i < open; i++) {
        int32_t at = f->open[i];
        struct pp_flow *flow = &f->flows[(uint32_t)at / 2];
        flow->told = f->round;
        int32_t other_number = f->ends[at].other;
        struct pp_fair_link *other = &f->links[other_number];
        list(f->taken, &f->taken_count, other_number, other->open == other->count);
        other->room -= other->room > rate ? rate : other->room;
        other->open--;
        other->share = share_of(other->room, other->open);
        if (flow->rate != rate) {
            bool was_full = is_full(other);
            unsigned __int128 more = (unsigned __int128)rate - flow->rate; /* or less, modulo */
            link->load += more;
            other->load += more;
            if (was_full || is_full(other)) { /* else it holds up no flow, as before */
                note(f, other_number);
            }
            set_rate(f, at / 2, rate, now_ns, heap);
        }
    }
    link->open = 0;
}

/* Tells all flows of a link their rates; some have none. Shares only grow while rates are fixed; so
 * a link is the tightest of all for its flows as soon as it is tighter than those next to it, and
 * from any link a way down leads to one. */
static inline void fill(struct pp_fair *f, int32_t number, int64_t now_ns,
                        struct pp_engine_heap *heap) {
    int32_t depth = 0;
    for (int32_t on = number;;) {
        int32_t tighter = find_tighter(f, &f->links[on]);
        if (tighter >= 0) {
            f->path[depth++] = on;
            on = tighter;
            continue;
        }
        fix(f, on, now_ns, heap);
        do { /* back to what is not through */
            if (depth == 0) {
                return;
            }
            on = f->path[--depth];
        } while (f->links[on].open == 0);
    }
}

void pp_fair_tell(struct pp_fair *f, int64_t now_ns, struct pp_engine_heap *heap) {
    for (int32_t i = 0; i < f->dirty_count; i++) { /* more come with every rate that changes */
        if (f->links[f->dirty[i]].open > 0) {
            fill(f, f->dirty[i], now_ns, heap);
        }
    }
    for (int32_t i = 0; i < f->taken_count; i++) {
        struct pp_fair_link *link = &f->links[f->taken[i]];
        link->room = link->rate;
        link->open = link->count;
        link->share = link->even;
    }
    f->dirty_count = f->taken_count = 0;
    f->round++; /* nothing is told or dirty any more */
}
