/* Random lowered schedules, runtimes, costs and networks for tests of the engine. */
#ifndef PP_TESTS_RANDOM_LOWERED_H
#define PP_TESTS_RANDOM_LOWERED_H

#include "sim/engine.h"
#include "sim/lower.h"
#include "tests/sim/random_sched.h"

enum { RL_STAGES = 64 };

struct lowered_case {
    struct pp_sched *order, *lowered;
    struct pp_runtime runtime;
    int64_t f[RL_STAGES], i[RL_STAGES], w[RL_STAGES], b[RL_STAGES], pair[RL_STAGES];
    int64_t recv_f[RL_STAGES], recv_b[RL_STAGES], offload[RL_STAGES];
    int64_t f_bytes[RL_STAGES], b_bytes[RL_STAGES];
    int64_t unshard_ns[RL_STAGES], unshard_bytes[RL_STAGES];
    int64_t reduce_ns[RL_STAGES], reduce_bytes[RL_STAGES];
    struct pp_engine_costs costs;
    int32_t node[RL_STAGES], nic[RL_STAGES];
    struct pp_network network;
    const struct pp_network *net; /* NULL or &network */
    bool disturbed;               /* neighbours of a rank swapped after lowering */
};

static inline void lowered_case_deinit(struct lowered_case *c) {
    pp_sched_destroy(c->order);
    pp_sched_destroy(c->lowered);
}

/* ---- orders ---- */

static inline struct pp_lower_options draw_lower_options(uint64_t *seed) {
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    options.mode = (enum pp_lower_mode)random_below(seed, PP_LOWER_MODE_COUNT);
    options.max_active_stages = 1 + random_below(seed, 3);
    if (options.mode != PP_LOWER_TORCH) {
        options.look_ahead = random_below(seed, 4);
        options.reshard_after_use = random_below(seed, 2) == 0;
        options.reduce_every = random_below(seed, 3);
    }
    return options;
}

/* Copies the lists with some neighbours of a rank swapped. @return NULL where a rule breaks */
static inline struct pp_sched *disturb_lowered(const struct pp_sched *s, uint64_t *seed) {
    static int32_t order[4096];
    struct pp_sched *copy = NULL;
    cr_assert_lt(s->action_count, 4096);
    cr_assert_eq(pp_sched_create(s->rank_count, s->stage_count, s->microbatch_count, s->stage_rank,
                                 &copy, NULL),
                 PP_OK);
    pp_sched_set_lowered(copy);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int32_t begin = s->rank_begin[rank];
        int32_t n = s->rank_begin[rank + 1] - begin;
        for (int32_t k = 0; k < n; k++) {
            order[k] = begin + k;
        }
        for (int32_t swaps = random_below(seed, 4); swaps > 0 && n > 1; swaps--) {
            int32_t k = random_below(seed, n - 1);
            if (s->actions[order[k]].pair == 0 && s->actions[order[k + 1]].pair == 0) {
                int32_t first = order[k];
                order[k] = order[k + 1];
                order[k + 1] = first;
            }
        }
        for (int32_t k = 0; k < n; k++) {
            const struct pp_action *a = &s->actions[order[k]];
            if (a->pair == 1) {
                pp_sched_add_pair(copy, rank, a->type, a->stage, a->microbatch, a[1].type,
                                  a[1].stage, a[1].microbatch, NULL);
            } else if (a->pair == 0) {
                pp_sched_add(copy, rank, a->type, a->stage, a->microbatch, NULL);
            }
        }
    }
    if (pp_sched_seal(copy, NULL) != PP_OK) {
        pp_sched_destroy(copy);
        return NULL;
    }
    return copy;
}

/* Lowers `c->order`. */
static inline void draw_lowering(struct lowered_case *c, uint64_t *seed) {
    struct pp_lower_options options = draw_lower_options(seed);
    struct pp_err err = {0};
    c->disturbed = false;
    cr_assert_eq(pp_sched_lower(c->order, &options, &c->lowered, &err), PP_OK, "%s", err.message);
    if (random_below(seed, 4) == 0) {
        struct pp_sched *other = disturb_lowered(c->lowered, seed);
        if (other != NULL) {
            pp_sched_destroy(c->lowered);
            c->lowered = other;
            c->disturbed = true;
        }
    }
}

static inline void draw_lowered(struct lowered_case *c, uint64_t *seed,
                                const struct draw_limits *most) {
    c->order = draw_sealed_within(seed, most);
    draw_lowering(c, seed);
}

/* ---- runtimes, costs, networks ---- */

static inline struct pp_runtime draw_runtime(uint64_t *seed) {
    if (random_below(seed, 4) == 0) {
        return pp_runtime_of(random_below(seed, PP_RUNTIME_COUNT));
    }
    return (struct pp_runtime){
        .comms = {.channels = random_below(seed, PP_CHANNELS_COUNT),
                  .buffer_count = random_below(seed, 2) == 0 ? 0 : 1 + random_below(seed, 3)},
        .batched = random_below(seed, 2) == 0,
        .reduce_blocks = random_below(seed, 2) == 0};
}

/* Zeros, ties, or figures up to `scale`. */
static inline void draw_figures(int64_t *figures, int32_t count, int32_t scale, uint64_t *seed) {
    int32_t most = random_below(seed, 4) == 0 ? 2 : scale;
    for (int32_t k = 0; k < count; k++) {
        figures[k] = random_below(seed, 6) == 0 ? 0 : random_below(seed, most);
    }
}

static inline void draw_engine_costs_below(struct lowered_case *c, int32_t scale, uint64_t *seed) {
    int32_t n = c->order->stage_count;
    int64_t *const times[] = {c->f,      c->i,      c->w,       c->b,          c->pair,
                              c->recv_f, c->recv_b, c->offload, c->unshard_ns, c->reduce_ns};
    int64_t *const bytes[] = {c->f_bytes, c->b_bytes, c->unshard_bytes, c->reduce_bytes};
    for (size_t k = 0; k < sizeof times / sizeof times[0]; k++) {
        draw_figures(times[k], n, scale, seed);
    }
    for (size_t k = 0; k < sizeof bytes / sizeof bytes[0]; k++) {
        draw_figures(bytes[k], n, 2 * scale, seed);
    }
    bool some = random_below(seed, 8) != 0;
    c->costs = (struct pp_engine_costs){
        .compute = {.f_ns = c->f,
                    .i_ns = c->i,
                    .w_ns = c->w,
                    .b_ns = c->b,
                    .pair_ns = random_below(seed, 2) == 0 ? c->pair : NULL,
                    .recv_f_ns = some ? c->recv_f : NULL,
                    .recv_b_ns = random_below(seed, 8) != 0 ? c->recv_b : NULL,
                    .offload_ns = random_below(seed, 8) != 0 ? c->offload : NULL},
        .message_f_bytes = random_below(seed, 8) != 0 ? c->f_bytes : NULL,
        .message_b_bytes = some ? c->b_bytes : NULL,
        .unshard_ns = random_below(seed, 4) != 0 ? c->unshard_ns : NULL,
        .unshard_bytes = random_below(seed, 4) != 0 ? c->unshard_bytes : NULL,
        .reduce_ns = random_below(seed, 4) != 0 ? c->reduce_ns : NULL,
        .reduce_bytes = random_below(seed, 4) != 0 ? c->reduce_bytes : NULL};
}

static inline void draw_engine_costs(struct lowered_case *c, uint64_t *seed) {
    static const int32_t scales[] = {2, 4, 12, 1000, 1000000};
    draw_engine_costs_below(c, scales[random_below(seed, 5)], seed);
}

/* Nodes of one or more ranks, NICs of one or more ranks of a node. */
static inline void draw_network(struct lowered_case *c, uint64_t *seed) {
    static const int64_t capacities[] = {1000000000, 2000000000, 3000000000, 500000000,
                                         1500000000, 1234567891, 999999937,  7000000000};
    int32_t p = c->order->rank_count;
    int32_t nodes = 1 + random_below(seed, 3);
    for (int32_t r = 0; r < p; r++) {
        c->node[r] = 100 - 7 * random_below(seed, nodes);
        c->nic[r] = r;
        for (int32_t other = 0; other < r; other++) {
            if (c->node[other] == c->node[r] && random_below(seed, 2) == 0) {
                c->nic[r] = c->nic[other];
            }
        }
    }
    c->network = (struct pp_network){.node = c->node,
                                     .nic = c->nic,
                                     .port_bytes_per_s = capacities[random_below(seed, 8)],
                                     .nic_bytes_per_s = capacities[random_below(seed, 8)],
                                     .collectives_use_port = random_below(seed, 2) == 0};
}

#endif
