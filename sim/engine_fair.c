#include "sim/engine_fair.h"

#include <stdlib.h>

enum { NS_PER_S = 1000000000, RATE_BITS = 16 };

bool pp_fair_init(struct pp_fair *f, int32_t flow_count, int32_t link_count) {
    *f = (struct pp_fair){.flow_count = flow_count, .link_count = link_count};
    f->flows = malloc((size_t)flow_count * sizeof *f->flows);
    f->links = calloc((size_t)link_count, sizeof *f->links);
    f->dirty = malloc(2 * (size_t)link_count * sizeof *f->dirty);
    f->path = f->dirty + link_count;
    f->round = UINT32_MAX; /* the first begin clears the marks of rounds */
    return f->flows != NULL && f->links != NULL && f->dirty != NULL;
}

void pp_fair_deinit(struct pp_fair *f) {
    free(f->flows);
    free(f->links);
    free(f->dirty);
}

void pp_fair_begin(struct pp_fair *f, const struct pp_network *net, int32_t rank_count) {
    if (f->round > UINT32_MAX / 2) { /* a run has far fewer rounds than are left then */
        f->round = 0;
        for (int32_t flow = 0; flow < f->flow_count; flow++) {
            f->flows[flow].seen = f->flows[flow].told = 0;
        }
        for (int32_t link = 0; link < f->link_count; link++) {
            f->links[link].seen = 0;
        }
    }
    for (int32_t link = 0; link < f->link_count; link++) {
        uint64_t rate = (uint64_t)pp_network_bytes_per_s(net, rank_count, link) << RATE_BITS;
        f->links[link] =
            (struct pp_fair_link){.rate = rate, .first = -1, .seen = f->links[link].seen};
    }
    f->dirty_count = 0;
}

/* Notes a link all of whose flows are to be told their rates: something changed on it. */
static inline void note(struct pp_fair *f, int32_t number) {
    if (!f->links[number].is_dirty) {
        f->links[number].is_dirty = true;
        f->dirty[f->dirty_count++] = number;
    }
}

void pp_fair_add(struct pp_fair *f, int32_t flow, const struct pp_route *route, int64_t bytes,
                 int64_t now_ns) {
    struct pp_flow *of = &f->flows[flow];
    of->left = ((unsigned __int128)bytes * NS_PER_S) << RATE_BITS;
    of->rate = 0;
    of->since_ns = now_ns;
    of->link[0] = route->out;
    of->link[1] = route->in;
    for (int32_t which = 0; which < 2; which++) {
        struct pp_fair_link *link = &f->links[of->link[which]];
        of->prev[which] = -1;
        of->next[which] = link->first;
        if (link->first >= 0) {
            f->flows[link->first / 2].prev[link->first % 2] = 2 * flow + which;
        }
        link->first = 2 * flow + which;
        link->count++;
        note(f, of->link[which]);
    }
}

void pp_fair_remove(struct pp_fair *f, int32_t flow) {
    const struct pp_flow *of = &f->flows[flow];
    for (int32_t which = 0; which < 2; which++) {
        struct pp_fair_link *link = &f->links[of->link[which]];
        int32_t next = of->next[which];
        int32_t prev = of->prev[which];
        if (next >= 0) {
            f->flows[next / 2].prev[next % 2] = prev;
        }
        if (prev >= 0) {
            f->flows[prev / 2].next[prev % 2] = next;
        } else {
            link->first = next;
        }
        link->count--;
        note(f, of->link[which]);
    }
}

/* Begins to fill a link, at its first use in a round. */
static inline struct pp_fair_link *open_link(struct pp_fair *f, int32_t number) {
    struct pp_fair_link *link = &f->links[number];
    if (link->seen != f->round) {
        link->seen = f->round;
        link->room = link->rate;
        link->open = link->count;
        link->share = link->count > 1 ? link->rate / (uint64_t)link->count : link->rate;
    }
    return link;
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
static int32_t find_tighter(struct pp_fair *f, const struct pp_fair_link *link) {
    uint64_t least = link->share;
    int32_t best = -1;
    for (int32_t at = link->first; at >= 0;) {
        const struct pp_flow *flow = &f->flows[at / 2];
        if (flow->told != f->round) {
            int32_t other = flow->link[1 - at % 2];
            uint64_t share = open_link(f, other)->share;
            best = share < least ? other : best;
            least = share < least ? share : least;
        }
        at = flow->next[at % 2];
    }
    return best;
}

/* Fixes the rates of a link's flows that have none: its share. */
static void fix(struct pp_fair *f, struct pp_fair_link *link, int64_t now_ns,
                struct pp_engine_heap *heap) {
    uint64_t rate = link->share > 0 ? link->share : 1;
    for (int32_t at = link->first; link->open > 0;) {
        struct pp_flow *flow = &f->flows[at / 2];
        if (flow->told != f->round) {
            flow->told = f->round;
            link->open--;
            int32_t number = flow->link[1 - at % 2];
            struct pp_fair_link *other = &f->links[number]; /* open: find_tighter looked at it */
            other->room -= other->room > rate ? rate : other->room;
            other->open--;
            other->share = other->open > 1 ? other->room / (uint64_t)other->open : other->room;
            if (flow->rate != rate) {
                set_rate(f, at / 2, rate, now_ns, heap);
                note(f, number);
            }
        }
        at = flow->next[at % 2];
    }
}

/* Tells all flows of a link their rates. Shares only grow while rates are fixed; so a link is the
 * tightest of all for its flows as soon as it is tighter than those next to it, and from any link a
 * way down leads to one. */
static void fill(struct pp_fair *f, int32_t number, int64_t now_ns, struct pp_engine_heap *heap) {
    int32_t depth = 0;
    f->path[depth++] = number;
    open_link(f, number);
    while (depth > 0) {
        struct pp_fair_link *link = &f->links[f->path[depth - 1]];
        int32_t tighter = link->open > 0 ? find_tighter(f, link) : -1;
        if (tighter >= 0) {
            f->path[depth++] = tighter;
        } else {
            fix(f, link, now_ns, heap);
            depth--;
        }
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
    f->dirty_count = 0;
}
