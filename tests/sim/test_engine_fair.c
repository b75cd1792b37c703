/* Max-min fair rates against their definition, after every change of random sets of flows: no link
 * carries more than it can, and each flow has a link that is full and on which none is faster. */
#include "sim/engine_fair.h"
#include "tests/sim/sim_support.h"

enum { RANKS = 6, FLOWS = 24, CHANGES = 400 / CASE_STEP, CASES = 60, UNIT = 1 << 16 };

struct world {
    struct pp_fair fair;
    struct pp_engine_heap heap;
    struct pp_network net;
    int32_t node[RANKS], nic[RANKS];
    struct pp_route route[FLOWS];
    bool moves[FLOWS];
    int64_t now_ns;
};

static void make_world(struct world *w, uint64_t *seed) {
    static const int64_t rates[] = {1, 3, 7, 1000, 1000000007, PP_LINK_MAX_BYTES_PER_S};
    *w = (struct world){0};
    for (int32_t rank = 0; rank < RANKS; rank++) {
        w->node[rank] = rank / 2;
        w->nic[rank] = rank / 2 * 2 + (random_below(seed, 2) == 0 ? rank % 2 : 0);
    }
    int32_t rate = random_below(seed, 6);
    w->net = (struct pp_network){
        .node = w->node,
        .nic = w->nic,
        .nic_bytes_per_s = rates[rate],
        .port_bytes_per_s = rates[rate > 0 && rate < 5 ? rate - random_below(seed, 2) : rate],
        .collectives_use_port = random_below(seed, 2) == 0,
        .shared = true};
    cr_assert(pp_fair_init(&w->fair, FLOWS, pp_network_link_count(RANKS)));
    cr_assert(pp_engine_heap_init(&w->heap, FLOWS));
    pp_engine_heap_clear(&w->heap);
    pp_fair_begin(&w->fair, &w->net, RANKS);
}

static void change(struct world *w, uint64_t *seed) {
    int32_t flow = random_below(seed, FLOWS);
    if (w->moves[flow]) {
        pp_fair_remove(&w->fair, flow);
        pp_engine_heap_set(&w->heap, flow, -1); /* to the top, and out */
        cr_assert_eq(pp_engine_heap_next_ns(&w->heap), -1);
        cr_assert_eq(pp_engine_heap_take(&w->heap), flow);
    } else {
        int32_t from = random_below(seed, RANKS);
        int32_t to = random_below(seed, RANKS);
        w->route[flow] = from == to ? pp_network_collective(&w->net, from)
                                    : pp_network_message(&w->net, from, to);
        pp_fair_add(&w->fair, flow, &w->route[flow], PP_TRANSFER_MAX_BYTES, w->now_ns);
    }
    w->moves[flow] = !w->moves[flow];
}

static bool takes(const struct world *w, int32_t flow, int32_t link) {
    return w->moves[flow] && (w->route[flow].out == link || w->route[flow].in == link);
}

/* Whether a link is full, up to what rounding leaves, with `flow` one of its fastest. */
static bool holds_back(const struct world *w, int32_t link, int32_t flow) {
    unsigned __int128 sum = 0;
    uint64_t count = 0;
    uint64_t rate = (uint64_t)pp_network_bytes_per_s(&w->net, RANKS, link) * UNIT;
    for (int32_t other = 0; other < FLOWS; other++) {
        if (takes(w, other, link)) {
            sum += w->fair.flows[other].rate;
            count++;
            if (w->fair.flows[other].rate > w->fair.flows[flow].rate + FLOWS) {
                return false;
            }
        }
    }
    cr_assert(sum <= rate, "link %d is overfull", link);
    return sum + FLOWS * count >= rate;
}

/* Loads are kept up by differences: they must not drift. */
static void expect_loads(const struct world *w) {
    for (int32_t link = 0; link < pp_network_link_count(RANKS); link++) {
        unsigned __int128 sum = 0;
        for (int32_t flow = 0; flow < FLOWS; flow++) {
            sum += takes(w, flow, link) ? w->fair.flows[flow].rate : 0;
        }
        cr_assert(w->fair.links[link].load == sum, "link %d", link);
    }
}

static void expect_fair(const struct world *w, int32_t seed, int32_t step) {
    expect_loads(w);
    for (int32_t flow = 0; flow < FLOWS; flow++) {
        if (w->moves[flow]) {
            bool out = holds_back(w, w->route[flow].out, flow);
            bool in = holds_back(w, w->route[flow].in, flow);
            cr_assert(out || in, "case %d, step %d: flow %d could be faster than %llu", seed, step,
                      flow, (unsigned long long)w->fair.flows[flow].rate);
        }
    }
}

/* The first in the heap is the first to end, and ends when it has nothing left. */
static void expect_ends(struct world *w) {
    int64_t first_ns = INT64_MAX;
    for (int32_t flow = 0; flow < FLOWS; flow++) {
        if (w->moves[flow]) {
            const struct pp_flow *of = &w->fair.flows[flow];
            unsigned __int128 ns = (of->left + of->rate - 1) / of->rate;
            ns += (unsigned __int128)of->since_ns;
            first_ns = ns < (unsigned __int128)first_ns ? (int64_t)ns : first_ns;
        }
    }
    int64_t next_ns = pp_engine_heap_next_ns(&w->heap);
    cr_assert(next_ns == first_ns || (next_ns == INT64_MAX - 1 && first_ns >= next_ns));
}

Test(engine_fair, rates_are_max_min_after_every_change) {
    for (int32_t seed = 0; seed < CASES; seed++) {
        uint64_t state = (uint64_t)seed;
        struct world w;
        make_world(&w, &state);
        for (int32_t step = 0; step < CHANGES; step++) {
            for (int32_t n = 1 + random_below(&state, 3); n > 0; n--) {
                change(&w, &state);
            }
            pp_fair_tell(&w.fair, w.now_ns, &w.heap);
            expect_fair(&w, seed, step);
            expect_ends(&w);
            w.now_ns += random_below(&state, 1000);
        }
        pp_fair_deinit(&w.fair);
        pp_engine_heap_deinit(&w.heap);
    }
}

Test(engine_fair, a_flow_alone_takes_as_long_as_the_header_says) {
    uint64_t state = 7;
    for (int32_t i = 0; i < 2000; i++) {
        struct world w;
        make_world(&w, &state);
        int64_t bytes = 1 + (int64_t)(next_random(&state) >> (18 + random_below(&state, 46)));
        int64_t begin_ns = random_below(&state, 1 << 30);
        w.route[0] = pp_network_message(&w.net, 0, 1 + random_below(&state, RANKS - 1));
        pp_fair_add(&w.fair, 0, &w.route[0], bytes, begin_ns);
        pp_fair_tell(&w.fair, begin_ns, &w.heap);
        int64_t rate = pp_min_i64(pp_network_bytes_per_s(&w.net, RANKS, w.route[0].out),
                                  pp_network_bytes_per_s(&w.net, RANKS, w.route[0].in));
        int64_t ns = pp_network_alone_ns(bytes, rate);
        cr_assert_eq(pp_engine_heap_next_ns(&w.heap),
                     ns < INT64_MAX - begin_ns ? begin_ns + ns : INT64_MAX - 1);
        pp_fair_deinit(&w.fair);
        pp_engine_heap_deinit(&w.heap);
    }
}
