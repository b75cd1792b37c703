/* A second, slow and obvious implementation of sim/engine.h, from its words alone: what every
 * action waits for as an explicit graph, and links shared event by event in exact fractions.
 *
 * All times are fractions. With `whole_ns` the end of a transfer is rounded up as the engine does
 * it, else nothing is rounded. */
#ifndef PP_TESTS_ENGINE_ORACLE_H
#define PP_TESTS_ENGINE_ORACLE_H

#include "sim/engine.h"
#include "tests/sim/exact.h"
#include "tests/sim/lower_support.h"

enum { EO_ACTIONS = 1024, EO_EDGES = 64 * EO_ACTIONS, EO_LINKS = 64 };

/* What an action, or a transfer, waits for: the end or the release of others. */
struct eo_wait {
    int32_t action;
    bool release; /* of its place in its queue; else its end */
};

/* A list of waits: begin .. end in `waits`. */
struct eo_list {
    int32_t begin, end;
};

enum eo_state { EO_UNKNOWN, EO_KNOWN, EO_MOVING, EO_DONE };

/* A transfer: of a message, or of a collective. */
struct eo_transfer {
    int32_t send, recv; /* of a collective the action twice */
    struct eo_list waits;
    enum eo_state state;
    struct exact t, end;     /* moves from t to end */
    struct exact left, rate; /* in bytes / 10^9: what one byte a second moves in a ns is 1 */
    int64_t alone_ns;        /* without sharing */
    int32_t links[2];
    bool has_rate;
};

struct eo {
    const struct pp_sched *s;
    struct pp_runtime runtime;
    const struct pp_engine_costs *costs;
    const struct pp_network *net;
    bool whole_ns;

    int32_t rank_of[EO_ACTIONS], batch_of[EO_ACTIONS]; /* number of the run of SENDs and RECVs */
    int32_t transfer_of[EO_ACTIONS];                   /* -1 none */
    struct eo_list waits[EO_ACTIONS];
    struct eo_wait pool[EO_EDGES];
    int32_t pool_count;
    struct eo_transfer transfers[EO_ACTIONS];
    int32_t transfer_count;

    struct exact start[EO_ACTIONS], end[EO_ACTIONS], release[EO_ACTIONS];
    bool known[EO_ACTIONS];
    struct exact now;
    int64_t event_count; /* starts and ends of transfers that take time */
};

static inline bool eo_is_message(const struct pp_action *a) {
    return is_send(a) || is_recv(a);
}

static inline bool eo_is_collective(const struct pp_action *a) {
    return a->type == PP_UNSHARD || a->type == PP_REDUCE_GRAD;
}

/* ---- the graph ---- */

static inline void eo_add(struct eo *o, struct eo_list *list, int32_t action, bool release) {
    cr_assert_lt(o->pool_count, EO_EDGES);
    o->pool[o->pool_count++] = (struct eo_wait){.action = action, .release = release};
    list->end = o->pool_count;
}

static inline struct eo_list eo_open(const struct eo *o) {
    return (struct eo_list){.begin = o->pool_count, .end = o->pool_count};
}

/* "The latest end of the compute actions before it in its rank's list; in a batched runtime every
 * SEND and RECV of earlier batches counts as well." */
static inline void eo_gate(struct eo *o, struct eo_list *list, int32_t at) {
    const struct pp_action *actions = o->s->actions;
    for (int32_t i = o->s->rank_begin[o->rank_of[at]]; i < at; i++) {
        bool earlier_batch = eo_is_message(&actions[i]) &&
                             (!eo_is_message(&actions[at]) || o->batch_of[i] != o->batch_of[at]);
        if (pp_action_is_compute(&actions[i]) || (o->runtime.batched && earlier_batch)) {
            eo_add(o, list, i, false);
        }
    }
}

/* "Compute starts at the latest of ..." for one part of a cell that begins with `first`. */
static inline void eo_compute(struct eo *o, struct eo_list *list, int32_t first, int32_t at) {
    const struct pp_sched *s = o->s;
    const struct pp_action *a = &s->actions[at];
    int32_t last_unshard = -1;
    for (int32_t i = s->rank_begin[o->rank_of[at]]; i < first; i++) {
        const struct pp_action *b = &s->actions[i];
        if (pp_action_is_compute(b) || (o->runtime.batched && eo_is_message(b)) ||
            (o->runtime.reduce_blocks && b->type == PP_REDUCE_GRAD)) {
            eo_add(o, list, i, false);
        }
        if (b->type == PP_UNSHARD && b->stage == a->stage) {
            last_unshard = i;
        }
    }
    if (last_unshard >= 0) {
        eo_add(o, list, last_unshard, false);
    }
    if (s->producer[at] >= 0) {
        eo_add(o, list, s->producer[at], false); /* its RECV, or the action on this rank */
    }
    if (s->reload != NULL && s->reload[at] >= 0) {
        eo_add(o, list, s->reload[at], false);
    }
}

/* The action before `at` in its queue, or on its lane; -1 if none. */
static inline int32_t eo_before(const struct eo *o, int32_t at) {
    const struct pp_sched *s = o->s;
    const struct pp_action *a = &s->actions[at];
    for (int32_t i = at - 1; i >= s->rank_begin[o->rank_of[at]]; i--) {
        const struct pp_action *b = &s->actions[i];
        bool same = eo_is_collective(a) && eo_is_collective(b);
        same = same || (pp_action_is_offload(a) && pp_action_is_offload(b));
        if (eo_is_message(a) && eo_is_message(b)) {
            bool same_peer = other_rank(s, a) == other_rank(s, b);
            same = o->runtime.comms.channels == PP_CHANNELS_RANK ||
                   (o->runtime.comms.channels == PP_CHANNELS_PAIR && same_peer) ||
                   (same_peer && is_send(a) == is_send(b));
        }
        if (same) {
            return i;
        }
    }
    return -1;
}

/* How many SENDs (or RECVs) to the same peer stand before. */
static inline int32_t eo_number(const struct eo *o, int32_t at) {
    const struct pp_sched *s = o->s;
    int32_t n = 0;
    for (int32_t i = s->rank_begin[o->rank_of[at]]; i < at; i++) {
        n += eo_is_message(&s->actions[i]) && is_send(&s->actions[i]) == is_send(&s->actions[at]) &&
             other_rank(s, &s->actions[i]) == other_rank(s, &s->actions[at]);
    }
    return n;
}

/* The SEND or RECV number `number` between the ranks of `at`, on the other side of it (or, `own`,
 * on its own side). -1 if none */
static inline int32_t eo_find(const struct eo *o, int32_t at, int32_t number, bool own) {
    const struct pp_sched *s = o->s;
    const struct pp_action *a = &s->actions[at];
    int32_t rank = own ? o->rank_of[at] : other_rank(s, a);
    int32_t peer = own ? other_rank(s, a) : o->rank_of[at];
    for (int32_t i = s->rank_begin[rank]; i < s->rank_begin[rank + 1]; i++) {
        const struct pp_action *b = &s->actions[i];
        if (eo_is_message(b) && (is_send(a) == is_send(b)) == own && other_rank(s, b) == peer &&
            eo_number(o, i) == number) {
            return i;
        }
    }
    return -1;
}

static inline int64_t eo_figure(const int64_t *figures, int32_t stage) {
    return figures == NULL ? 0 : figures[stage];
}

/* The stage whose F (or I, B) takes in what a SEND sends. */
static inline int32_t eo_consumer(const struct pp_sched *s, const struct pp_action *send) {
    return send->type == PP_SEND_F ? pp_sched_stage_after(s, send->stage)
                                   : pp_sched_stage_before(s, send->stage);
}

static inline int64_t eo_bytes(const struct eo *o, const struct eo_transfer *x) {
    const struct pp_action *a = &o->s->actions[x->send];
    switch ((enum pp_action_type)a->type) {
    case PP_SEND_F:
        return eo_figure(o->costs->message_f_bytes, eo_consumer(o->s, a));
    case PP_SEND_B:
        return eo_figure(o->costs->message_b_bytes, eo_consumer(o->s, a));
    case PP_UNSHARD:
        return eo_figure(o->costs->unshard_bytes, a->stage);
    default:
        return eo_figure(o->costs->reduce_bytes, a->stage);
    }
}

/* Latency of a message, fixed time of a collective. */
static inline int64_t eo_lag(const struct eo *o, const struct eo_transfer *x) {
    const struct pp_action *a = &o->s->actions[x->send];
    switch ((enum pp_action_type)a->type) {
    case PP_SEND_F:
        return eo_figure(o->costs->compute.recv_f_ns, eo_consumer(o->s, a));
    case PP_SEND_B:
        return eo_figure(o->costs->compute.recv_b_ns, eo_consumer(o->s, a));
    case PP_UNSHARD:
        return eo_figure(o->costs->unshard_ns, a->stage);
    default:
        return eo_figure(o->costs->reduce_ns, a->stage);
    }
}

/* Two links: ports out, ports in, NICs out, NICs in. */
static inline void eo_route(const struct eo *o, struct eo_transfer *x) {
    const struct pp_network *net = o->net;
    int32_t p = o->s->rank_count;
    int32_t from = o->rank_of[x->send];
    int32_t to = o->rank_of[x->recv];
    bool port = x->send == x->recv ? net->collectives_use_port : net->node[from] == net->node[to];
    x->links[0] = port ? from : 2 * p + net->nic[from];
    x->links[1] = port ? p + to : 3 * p + net->nic[to];
}

static inline int64_t eo_capacity(const struct eo *o, int32_t link) {
    return link < 2 * o->s->rank_count ? o->net->port_bytes_per_s : o->net->nic_bytes_per_s;
}

static inline void eo_measure(struct eo *o, struct eo_transfer *x) {
    int64_t bytes = eo_bytes(o, x);
    x->alone_ns = 0;
    x->left = exact_of(0);
    if (bytes > 0 && o->net != NULL) {
        eo_route(o, x);
        int64_t a = eo_capacity(o, x->links[0]);
        int64_t b = eo_capacity(o, x->links[1]);
        x->left = (struct exact){.num = (__int128)bytes * 1000000000, .den = 1};
        x->alone_ns = (int64_t)exact_ceil(exact_div(x->left, exact_of(a < b ? a : b))).num;
    }
}

static inline void eo_add_transfer(struct eo *o, int32_t send, int32_t recv) {
    struct eo_transfer *x = &o->transfers[o->transfer_count];
    *x = (struct eo_transfer){.send = send, .recv = recv, .waits = eo_open(o)};
    o->transfer_of[send] = o->transfer_of[recv] = o->transfer_count++;
    int32_t k = o->runtime.comms.buffer_count;
    bool collective = send == recv;
    eo_gate(o, &x->waits, send);
    if (eo_before(o, send) >= 0) {
        eo_add(o, &x->waits, eo_before(o, send), !collective);
    }
    if (!collective && k == 0) {
        eo_gate(o, &x->waits, recv);
        if (eo_before(o, recv) >= 0) {
            eo_add(o, &x->waits, eo_before(o, recv), true);
        }
    } else if (!collective && eo_number(o, recv) >= k) {
        eo_add(o, &x->waits, eo_find(o, recv, eo_number(o, recv) - k, true), true);
    }
    eo_measure(o, x);
}

/* What an action itself waits for; of a SEND and a collective nothing but its transfer. */
static inline void eo_action(struct eo *o, int32_t at) {
    const struct pp_action *a = &o->s->actions[at];
    struct eo_list *list = &o->waits[at];
    *list = eo_open(o);
    if (pp_action_is_compute(a)) {
        eo_compute(o, list, at, at);
        if (a->pair == 1 && o->costs->compute.pair_ns != NULL) {
            eo_compute(o, list, at, at + 1);
        }
    } else if (is_recv(a)) {
        eo_gate(o, list, at);
        if (eo_before(o, at) >= 0) {
            eo_add(o, list, eo_before(o, at), true);
        }
    } else if (pp_action_is_offload(a)) {
        eo_gate(o, list, at);
        if (eo_before(o, at) >= 0) {
            eo_add(o, list, eo_before(o, at), false);
        }
    } else if (a->type == PP_RESHARD) {
        eo_gate(o, list, at);
    }
}

static inline void eo_graph(struct eo *o) {
    const struct pp_sched *s = o->s;
    cr_assert_leq(s->action_count, EO_ACTIONS);
    cr_assert_leq(4 * s->rank_count, EO_LINKS);
    o->pool_count = o->transfer_count = 0;
    int32_t batch = 0;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            o->rank_of[at] = rank;
            batch += at == s->rank_begin[rank] || !eo_is_message(&s->actions[at]);
            o->batch_of[at] = batch;
            o->transfer_of[at] = -1;
            o->known[at] = false;
        }
    }
    for (int32_t at = 0; at < s->action_count; at++) {
        eo_action(o, at);
        if (eo_is_collective(&s->actions[at])) {
            eo_add_transfer(o, at, at);
        } else if (is_send(&s->actions[at])) {
            int32_t recv = eo_find(o, at, eo_number(o, at), false);
            cr_assert_geq(recv, 0);
            eo_add_transfer(o, at, recv);
        }
    }
}

/* ---- times, as far as they are known ---- */

/* The latest of all that is waited for. @return whether all of it is known */
static inline bool eo_latest(const struct eo *o, const struct eo_list *list, struct exact *latest) {
    *latest = exact_of(0);
    for (int32_t i = list->begin; i < list->end; i++) {
        const struct eo_wait *w = &o->pool[i];
        if (!o->known[w->action]) {
            return false;
        }
        *latest = exact_later(*latest, w->release ? o->release[w->action] : o->end[w->action]);
    }
    return true;
}

static inline int64_t eo_duration(const struct eo *o, int32_t at) {
    const struct pp_action *a = &o->s->actions[at];
    const struct pp_costs *c = &o->costs->compute;
    if (a->pair == 1 && c->pair_ns != NULL) {
        return c->pair_ns[a->stage];
    }
    switch ((enum pp_action_type)a->type) {
    case PP_F:
        return c->f_ns[a->stage];
    case PP_I:
        return c->i_ns[a->stage];
    case PP_W:
        return c->w_ns[a->stage];
    case PP_B:
        return c->b_ns[a->stage];
    case PP_OFFLOAD:
    case PP_RELOAD:
        return eo_figure(c->offload_ns, a->stage);
    default:
        return 0;
    }
}

static inline void eo_set(struct eo *o, int32_t at, struct exact start, struct exact end,
                          struct exact release) {
    o->start[at] = start;
    o->end[at] = end;
    o->release[at] = release;
    o->known[at] = true;
}

/* @return whether the action's times are known now and were not before */
static inline bool eo_settle(struct eo *o, int32_t at) {
    const struct pp_action *a = &o->s->actions[at];
    struct exact from;
    int32_t x_at = o->transfer_of[at];
    const struct eo_transfer *x = x_at < 0 ? NULL : &o->transfers[x_at];
    if (o->known[at] || (x != NULL && x->state != EO_DONE) || !eo_latest(o, &o->waits[at], &from)) {
        return false;
    }
    struct exact lag = exact_of(x == NULL ? 0 : eo_lag(o, x));
    if (is_send(a)) {
        eo_set(o, at, x->t, x->end, x->end);
    } else if (is_recv(a)) {
        from = exact_later(from, x->t);
        struct exact moved = exact_later(from, x->end);
        eo_set(o, at, from, exact_later(from, exact_add(x->end, lag)), moved);
    } else if (x != NULL) {
        struct exact end = exact_add(x->end, lag);
        eo_set(o, at, x->t, end, end);
    } else {
        struct exact end = exact_add(from, exact_of(eo_duration(o, at)));
        eo_set(o, at, from, end, end);
        if (a->pair == 1 && o->costs->compute.pair_ns != NULL) {
            eo_set(o, at + 1, from, end, end);
        }
    }
    return true;
}

/* ---- transfers ---- */

static inline bool eo_shares(const struct eo *o) {
    return o->net != NULL && o->net->shared;
}

/* @return whether more is known of the transfer than before */
static inline bool eo_start(struct eo *o, struct eo_transfer *x) {
    bool moved = false;
    if (x->state == EO_UNKNOWN && eo_latest(o, &x->waits, &x->t)) {
        x->state = EO_KNOWN;
        moved = true;
    }
    bool sharing = eo_shares(o) && x->alone_ns > 0;
    if (x->state == EO_KNOWN && !sharing) {
        x->end = exact_add(x->t, exact_of(x->alone_ns));
        x->state = EO_DONE;
        moved = true;
    } else if (x->state == EO_KNOWN && !exact_less(o->now, x->t)) {
        x->state = EO_MOVING;
        o->event_count++;
        moved = true;
    }
    return moved;
}

/* Everything that can be told at this moment, over and over until nothing moves. */
static inline void eo_relax(struct eo *o) {
    for (bool moved = true; moved;) {
        moved = false;
        for (int32_t at = 0; at < o->s->action_count; at++) {
            if (o->transfer_of[at] >= 0) {
                moved = eo_start(o, &o->transfers[o->transfer_of[at]]) || moved;
            }
            moved = eo_settle(o, at) || moved;
        }
    }
}

/* Progressive filling: all rates grow alike; where a link is full, its transfers stay. */
static inline void eo_share(struct eo *o) {
    struct exact room[EO_LINKS];
    int32_t links = 4 * o->s->rank_count;
    for (int32_t link = 0; link < links; link++) {
        room[link] = exact_of(eo_capacity(o, link));
    }
    for (int32_t i = 0; i < o->transfer_count; i++) {
        o->transfers[i].has_rate = false;
    }
    for (;;) {
        int32_t full = -1;
        struct exact level = {0};
        for (int32_t link = 0; link < links; link++) {
            int32_t growing = 0;
            for (int32_t i = 0; i < o->transfer_count; i++) {
                const struct eo_transfer *x = &o->transfers[i];
                growing += x->state == EO_MOVING && !x->has_rate &&
                           (x->links[0] == link || x->links[1] == link);
            }
            struct exact at = growing == 0 ? level : exact_div(room[link], exact_of(growing));
            if (growing > 0 && (full < 0 || exact_less(at, level))) {
                full = link;
                level = at;
            }
        }
        if (full < 0) {
            return;
        }
        for (int32_t i = 0; i < o->transfer_count; i++) {
            struct eo_transfer *x = &o->transfers[i];
            if (x->state == EO_MOVING && !x->has_rate &&
                (x->links[0] == full || x->links[1] == full)) {
                x->has_rate = true;
                x->rate = level;
                room[x->links[0]] = exact_sub(room[x->links[0]], level);
                room[x->links[1]] = exact_sub(room[x->links[1]], level);
            }
        }
    }
}

/* When the next transfer starts or ends. @return whether there is one */
static inline bool eo_next(const struct eo *o, struct exact *next) {
    bool any = false;
    for (int32_t i = 0; i < o->transfer_count; i++) {
        const struct eo_transfer *x = &o->transfers[i];
        if (x->state == EO_KNOWN || x->state == EO_MOVING) {
            struct exact at = x->t;
            if (x->state == EO_MOVING) {
                at = exact_add(o->now, exact_div(x->left, x->rate));
                at = o->whole_ns ? exact_ceil(at) : at;
            }
            *next = any && exact_less(*next, at) ? *next : at;
            any = true;
        }
    }
    return any;
}

static inline void eo_advance(struct eo *o, struct exact to) {
    struct exact passed = exact_sub(to, o->now);
    o->now = to;
    for (int32_t i = 0; i < o->transfer_count; i++) {
        struct eo_transfer *x = &o->transfers[i];
        if (x->state == EO_MOVING) {
            x->left = exact_sub(x->left, exact_mul(x->rate, passed));
            if (!exact_less(exact_of(0), x->left)) {
                x->state = EO_DONE;
                x->end = to;
                o->event_count++;
            }
        }
    }
}

/* @return whether every action came to its end */
static inline bool eo_run(struct eo *o) {
    exact_lost = false;
    eo_graph(o);
    o->now = exact_of(0);
    o->event_count = 0;
    eo_relax(o);
    for (struct exact next = {0}; eo_shares(o) && !exact_lost; eo_relax(o)) {
        eo_share(o); /* once a moment: all that ends or starts then has done so */
        if (!eo_next(o, &next)) {
            break;
        }
        eo_advance(o, next);
    }
    for (int32_t at = 0; at < o->s->action_count; at++) {
        if (!o->known[at]) {
            return false;
        }
    }
    return true;
}

#endif
