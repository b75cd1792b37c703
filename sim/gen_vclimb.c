#include "sim/gen_vclimb.h"

#include "sim/gen_vlist.h"

#include <stdlib.h>
#include <string.h>

enum {
    KINDS = 2, /* F; I or B */
    STEPS = 400,
    EASY_OPS = 500000, /* more steps where they come to no more ops than these, */
    MOST_STEPS = 2000,
};

/* What is varied. */
struct genes {
    int64_t *offset[KINDS]; /* [stage] when microbatch 0 should pass, ns */
    int32_t *cap;           /* [stage] most microbatches between F and I or B */
    int64_t period, delta;
    struct pp_order_fill fill;
    bool by_slots; /* F, I and B ordered as if each took its slots and transfers no time */
};

struct climb {
    struct pp_order *trial, *best;
    struct pp_order slots; /* ordered by slots */
    struct pp_gen_model slot_model;
    struct pp_vlist list, slot_list; /* into `trial`, into `slots` */
    struct genes now, next;
    int64_t makespan, span; /* of `now` */
    int64_t work;           /* of a microbatch on the busiest rank, ns */
    int64_t ops, ops_left;  /* of an order; that may still be scheduled */
    uint64_t random;
    int32_t ranks, stages;
    bool fused;
    int32_t *slot[KINDS]; /* [stage] of the block */
    int64_t *block;
};

/* splitmix64, below n. */
static int64_t draw(struct climb *c, int64_t n) {
    uint64_t z = c->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (int64_t)((z ^ z >> 31) % (uint64_t)n);
}

static void genes_copy(struct genes *to, const struct genes *from, int32_t stages) {
    struct genes own = *to;
    memcpy(own.offset[0], from->offset[0], (size_t)stages * sizeof *own.offset[0]);
    memcpy(own.offset[1], from->offset[1], (size_t)stages * sizeof *own.offset[1]);
    memcpy(own.cap, from->cap, (size_t)stages * sizeof *own.cap);
    *to = *from;
    to->offset[0] = own.offset[0];
    to->offset[1] = own.offset[1];
    to->cap = own.cap;
}

static bool decode(struct climb *c, const struct genes *g) {
    struct pp_vlist_rule rule = {.offset = {g->offset[0], g->offset[1]},
                                 .period = g->period,
                                 .cap = g->cap,
                                 .delta = g->delta,
                                 .fill = g->fill,
                                 .fused = c->fused,
                                 .most = g->by_slots ? INT64_MAX : c->makespan};
    if (!g->by_slots) {
        return pp_vlist_run(&c->list, &rule);
    }
    return pp_vlist_run(&c->slot_list, &rule) && pp_order_refill(&c->slots, &g->fill, c->trial);
}

/* Decodes `next`; it becomes `now` if it is no worse. */
static void try_next(struct climb *c) {
    const struct pp_order *o = c->trial;
    c->ops_left -= c->ops;
    if (!decode(c, &c->next)) {
        return;
    }
    pp_order_keep_better(c->best, o);
    if (o->makespan < c->makespan || (o->makespan == c->makespan && o->span <= c->span)) {
        struct genes worse = c->now;
        c->now = c->next;
        c->next = worse;
        c->makespan = o->makespan;
        c->span = o->span;
    }
}

/* As many microbatches as the block has between F and I or B, and more by `slack`; the way down
 * leaves memory for one on the way up. */
static void set_caps(const struct climb *c, struct genes *g, int32_t slack) {
    const struct pp_gen_model *m = c->trial->model;
    for (int32_t stage = 0; stage < c->stages; stage++) {
        int64_t cap = (g->offset[1][stage] - g->offset[0][stage]) / c->work + 1 + slack;
        int32_t up = c->stages - 1 - stage;
        if (stage < c->ranks && m->adds[stage] > 0) {
            int64_t most = (c->trial->limit[stage] - m->adds[up]) / m->adds[stage];
            cap = most < cap ? most : cap;
        }
        g->cap[stage] = cap < 1 ? 1 : (int32_t)cap;
    }
}

/* The block's slots as they are, under different rules. The first can not get stuck. */
static void seed(struct climb *c) {
    static const int64_t delta_slots[] = {0, 2, 3, 6, 12, 24}; /* after PP_VLIST_ANY */
    enum { DELTAS = 1 + sizeof delta_slots / sizeof *delta_slots };
    int32_t fills = c->fused ? 1 : 2;
    for (int32_t i = 0; i < DELTAS * fills * 4 && c->ops_left > 0; i++) {
        struct genes *g = &c->next;
        for (int32_t stage = 0; stage < c->stages; stage++) {
            g->offset[0][stage] = c->slot[0][stage] * c->work / PP_VBLOCK_SLOTS;
            g->offset[1][stage] = c->slot[1][stage] * c->work / PP_VBLOCK_SLOTS;
        }
        int32_t delta = i % DELTAS;
        int32_t variant = i / DELTAS;
        g->period = c->work;
        g->delta = delta == 0 ? PP_VLIST_ANY : delta_slots[delta - 1] * c->work / PP_VBLOCK_SLOTS;
        g->by_slots = variant % 2 == 1;
        set_caps(c, g, variant / 2 % 2);
        g->fill = (struct pp_order_fill){.eighths = variant / 4 == 0 ? 8 : 4};
        try_next(c);
    }
}

/* Changes an offset, slope or cap of a span of ranks. */
static void mutate_span(struct climb *c, struct genes *g, int64_t step) {
    int32_t low = (int32_t)draw(c, c->ranks);
    int32_t high = low + 1 + (int32_t)draw(c, c->ranks - low);
    bool up = draw(c, 2) == 1;
    int64_t *offset = g->offset[draw(c, 2)];
    int64_t what = draw(c, 12);
    for (int32_t rank = low; rank < c->ranks; rank++) {
        int32_t stage = up ? c->stages - 1 - rank : rank;
        bool inside = rank < high;
        if (what < 3) {
            g->cap[stage] += !inside ? 0 : step > 0 ? 1 : g->cap[stage] > 1 ? -1 : 0;
        } else if (what < 6) {
            offset[stage] += step * ((inside ? rank : high) - low);
        } else {
            offset[stage] += inside ? step : 0;
        }
    }
}

static void mutate(struct climb *c, struct genes *g) {
    static const int64_t parts[] = {48, 24, 12, 6, 3, 2};
    int64_t step = c->work / parts[draw(c, 6)];
    step = draw(c, 2) == 1 ? step : -step;
    switch (draw(c, 16)) {
    case 0:
        g->period += step / 4;
        break;
    case 1:
        g->delta = g->delta == PP_VLIST_ANY ? 4 * c->work : g->delta + 2 * step;
        g->delta = g->delta < 0 ? 0 : g->delta;
        break;
    case 2:
        g->fill.eighths = 1 + (int32_t)draw(c, 8);
        break;
    case 3:
        g->fill.level_idle = !g->fill.level_idle;
        g->by_slots = draw(c, 2) == 1;
        break;
    default:
        mutate_span(c, g, step);
    }
}

static void climb(struct climb *c) {
    int64_t steps = EASY_OPS / c->ops;
    steps = steps < STEPS ? STEPS : steps > MOST_STEPS ? MOST_STEPS : steps;
    for (int64_t i = 0; i < steps && c->ops_left > 0; i++) {
        genes_copy(&c->next, &c->now, c->stages);
        do {
            mutate(c, &c->next);
        } while (draw(c, 3) == 0);
        try_next(c);
    }
}

/* A slot for F, I and W, two for B, nothing for transfers. */
static void set_slot_model(struct climb *c, int64_t *column) {
    c->slot_model = *c->trial->model;
    c->slot_model.f_ns = c->slot_model.i_ns = c->slot_model.w_ns = column;
    c->slot_model.b_ns = column + c->stages;
    c->slot_model.recv_f_ns = c->slot_model.recv_b_ns = column + 2 * c->stages;
    for (int32_t stage = 0; stage < c->stages; stage++) {
        c->slot_model.f_ns[stage] = c->work / PP_VBLOCK_SLOTS;
        c->slot_model.b_ns[stage] = 2 * c->slot_model.f_ns[stage];
    }
}

static int64_t most_work(const struct climb *c) {
    const struct pp_gen_model *m = c->trial->model;
    int64_t most = PP_VBLOCK_SLOTS; /* nothing may cost anything */
    for (int32_t rank = 0; rank < c->ranks; rank++) {
        int32_t up = c->stages - 1 - rank;
        int64_t work = m->f_ns[rank] + m->f_ns[up];
        work += c->fused ? m->b_ns[rank] + m->b_ns[up]
                         : m->i_ns[rank] + m->i_ns[up] + m->w_ns[rank] + m->w_ns[up];
        most = work > most ? work : most;
    }
    return most;
}

static enum pp_status init(struct climb *c, struct pp_err *err) {
    enum { COLUMNS = 3 + 2 * KINDS + 2 }; /* the last for two caps and two slots of half the size */
    size_t n = (size_t)c->stages;
    c->block = calloc(COLUMNS * n, sizeof *c->block);
    if (c->block == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for a search over %zu stages", n);
    }
    set_slot_model(c, c->block);
    int64_t *at = c->block + 3 * n;
    c->now = (struct genes){.offset = {at, at + n}, .cap = (int32_t *)(at + 4 * n)};
    c->next = (struct genes){.offset = {at + 2 * n, at + 3 * n}, .cap = c->now.cap + n};
    c->slot[0] = c->next.cap + n;
    c->slot[1] = c->slot[0] + n;
    PP_TRY(pp_order_init(&c->slots, c->trial->s, &c->slot_model, err));
    memcpy(c->slots.limit, c->trial->limit, (size_t)c->ranks * sizeof *c->slots.limit);
    PP_TRY(pp_vlist_init(&c->list, c->trial, err));
    return pp_vlist_init(&c->slot_list, &c->slots, err);
}

enum pp_status pp_vclimb(pp_vpattern *pattern, bool fused, int64_t most_ops, struct pp_order *trial,
                         struct pp_order *best, struct pp_err *err) {
    struct climb c = {.trial = trial,
                      .best = best,
                      .makespan = INT64_MAX,
                      .span = INT64_MAX,
                      .ranks = trial->s->rank_count,
                      .stages = trial->s->stage_count,
                      .ops = (int64_t)trial->s->stage_count * trial->s->microbatch_count * 3,
                      .ops_left = most_ops,
                      .fused = fused};
    c.work = most_work(&c);
    enum pp_status status = init(&c, err);
    if (status == PP_OK) {
        pattern(c.ranks, c.slot[0], c.slot[1]);
        seed(&c);
        climb(&c);
    }
    pp_vlist_deinit(&c.list);
    pp_vlist_deinit(&c.slot_list);
    pp_order_deinit(&c.slots);
    free(c.block);
    return status;
}
