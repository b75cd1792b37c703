/* The verdict found the slow way: every interleaving of every step that could be taken, in a model
 * written from the definition in sim/check.h and sharing nothing with sim/check.c. For schedules of
 * few actions. */
#ifndef PP_TESTS_CHECK_ORACLE_H
#define PP_TESTS_CHECK_ORACLE_H

#include "sim/check.h"
#include "tests/sim/sim_support.h"

enum {
    ORACLE_RANKS = 3,
    ORACLE_ACTIONS = 52, /* and 12 bits for the ranks' cursors: a state is one number */
    ORACLE_CURSOR_BITS = 4,
    ORACLE_STATES = 1 << 19,
    ORACLE_FIRST_TABLE = 1 << 12, /* small programs should stay in the cache */
    ORACLE_CYCLE = 8
};

/* done: actions that ran or, of transfers, are done. posted: those that their rank has passed, the
 * first of them not being at its cursor. */
struct oracle_state {
    uint64_t done, posted;
    int8_t cursor[ORACLE_RANKS];
};

struct oracle {
    const struct pp_sched *s;
    struct pp_comms comms;
    int32_t rank_of[ORACLE_ACTIONS];
    int32_t peer_of[ORACLE_ACTIONS];  /* rank at the other end of a transfer */
    int32_t match_of[ORACLE_ACTIONS]; /* its transfer of that number */
    uint64_t ahead[ORACLE_ACTIONS];   /* transfers earlier in the same queue */
    uint64_t sends, recvs;
    uint64_t alike[ORACLE_ACTIONS];           /* transfers of the same rank, peer and direction */
    struct oracle_state found[ORACLE_STATES]; /* in the order in which they were reached */
    int32_t found_count;
    uint64_t seen[2 * ORACLE_STATES]; /* hash table of states; 0 = empty */
    uint64_t table_size;
    struct oracle_state last; /* of the states in which nothing can be done */
    int32_t last_count;
};

static inline uint64_t bit(int32_t at) {
    return (uint64_t)1 << at;
}

static inline bool oracle_is_send(const struct oracle *o, int32_t at) {
    return (o->sends & bit(at)) != 0;
}

static inline bool oracle_is_transfer(const struct oracle *o, int32_t at) {
    return ((o->sends | o->recvs) & bit(at)) != 0;
}

static inline int32_t oracle_peer(const struct pp_sched *s, const struct pp_action *a) {
    bool up = a->type == PP_SEND_F || a->type == PP_RECV_B;
    return s
        ->stage_rank[up ? pp_sched_stage_after(s, a->stage) : pp_sched_stage_before(s, a->stage)];
}

static inline bool oracle_same_queue(const struct oracle *o, int32_t x, int32_t y) {
    if (o->rank_of[x] != o->rank_of[y]) {
        return false;
    }
    bool same_peer = o->peer_of[x] == o->peer_of[y];
    switch (o->comms.channels) {
    case PP_CHANNELS_RANK:
        return true;
    case PP_CHANNELS_PAIR:
        return same_peer;
    default:
        return same_peer && oracle_is_send(o, x) == oracle_is_send(o, y);
    }
}

static inline void oracle_actions(struct oracle *o) {
    const struct pp_sched *s = o->s;
    o->sends = o->recvs = 0;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            enum pp_action_type type = s->actions[at].type;
            o->rank_of[at] = rank;
            if (type == PP_SEND_F || type == PP_SEND_B) {
                o->sends |= bit(at);
            } else if (type == PP_RECV_F || type == PP_RECV_B) {
                o->recvs |= bit(at);
            } else {
                continue;
            }
            o->peer_of[at] = oracle_peer(s, &s->actions[at]);
        }
    }
}

static inline void oracle_relations(struct oracle *o) {
    int32_t n = o->s->action_count;
    for (int32_t x = 0; x < n; x++) {
        o->ahead[x] = o->alike[x] = 0;
        for (int32_t y = 0; oracle_is_transfer(o, x) && y < n; y++) {
            if (!oracle_is_transfer(o, y)) {
                continue;
            }
            o->ahead[x] |= y < x && oracle_same_queue(o, x, y) ? bit(y) : 0;
            o->alike[x] |= o->rank_of[x] == o->rank_of[y] && o->peer_of[x] == o->peer_of[y] &&
                                   oracle_is_send(o, x) == oracle_is_send(o, y)
                               ? bit(y)
                               : 0;
        }
    }
    for (int32_t x = 0; x < n; x++) {
        for (int32_t y = 0; oracle_is_transfer(o, x) && y < n; y++) {
            if (oracle_is_transfer(o, y) && o->rank_of[y] == o->peer_of[x] &&
                o->peer_of[y] == o->rank_of[x] && oracle_is_send(o, x) != oracle_is_send(o, y) &&
                __builtin_popcountll(o->alike[x] & (bit(x) - 1)) ==
                    __builtin_popcountll(o->alike[y] & (bit(y) - 1))) {
                o->match_of[x] = y;
            }
        }
    }
}

static inline bool oracle_is_first(const struct oracle *o, const struct oracle_state *t,
                                   int32_t at) {
    return (t->posted & bit(at)) != 0 && (t->done & bit(at)) == 0 && (o->ahead[at] & ~t->done) == 0;
}

/* A rank goes one step on. @return whether it can */
static inline bool oracle_walk(const struct oracle *o, struct oracle_state *t, int32_t rank) {
    int32_t at = t->cursor[rank];
    if (at == o->s->rank_begin[rank + 1]) {
        return false;
    }
    if (oracle_is_transfer(o, at)) {
        t->posted |= bit(at);
        t->cursor[rank]++;
        return true;
    }
    uint64_t cell = o->s->actions[at].pair == 1 ? bit(at) | bit(at + 1) : bit(at);
    for (int32_t i = at; i < o->s->action_count && (cell & bit(i)) != 0; i++) {
        int32_t producer = o->s->producer[i];
        if (producer >= 0 && (t->done & bit(producer)) == 0) {
            return false;
        }
    }
    t->posted |= cell;
    t->done |= cell;
    t->cursor[rank] = (int8_t)(at + (o->s->actions[at].pair == 1 ? 2 : 1));
    return true;
}

/* A transfer gets done. @return whether it can */
static inline bool oracle_pass(const struct oracle *o, struct oracle_state *t, int32_t x) {
    if (!oracle_is_transfer(o, x) || !oracle_is_first(o, t, x)) {
        return false;
    }
    int32_t y = o->match_of[x];
    if (o->comms.buffer_count == 0) {
        if (!oracle_is_first(o, t, y)) {
            return false;
        }
        t->done |= bit(x) | bit(y);
        return true;
    }
    int32_t unreceived =
        __builtin_popcountll(t->done & o->alike[x]) - __builtin_popcountll(t->done & o->alike[y]);
    if (oracle_is_send(o, x) ? unreceived >= o->comms.buffer_count : (t->done & bit(y)) == 0) {
        return false;
    }
    t->done |= bit(x);
    return true;
}

/* A state as one number, never 0. */
static inline uint64_t oracle_key(const struct oracle *o, const struct oracle_state *t) {
    uint64_t key = t->done;
    for (int32_t rank = 0; rank < o->s->rank_count; rank++) {
        uint64_t passed = (uint64_t)(t->cursor[rank] - o->s->rank_begin[rank]);
        key |= passed << (ORACLE_ACTIONS + rank * ORACLE_CURSOR_BITS);
    }
    return ~key;
}

/* Puts a state into the table. @return false if it was there */
static inline bool oracle_put(struct oracle *o, const struct oracle_state *t) {
    uint64_t key = oracle_key(o, t);
    uint64_t hash = key * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 32) * 0x94d049bb133111ebu;
    uint64_t at = hash >> 40 & (o->table_size - 1);
    for (; o->seen[at] != 0; at = (at + 1) & (o->table_size - 1)) {
        if (o->seen[at] == key) {
            return false;
        }
    }
    o->seen[at] = key;
    return true;
}

static inline void oracle_empty_table(struct oracle *o, uint64_t size) {
    o->table_size = size;
    memset(o->seen, 0, size * sizeof *o->seen);
}

/* Notes a state unless it was reached before. */
static inline void oracle_reach(struct oracle *o, const struct oracle_state *t) {
    if (!oracle_put(o, t)) {
        return;
    }
    if (o->found_count == ORACLE_STATES) {
        cr_assert_fail("more states than the oracle has room for");
    }
    o->found[o->found_count++] = *t;
    if ((uint64_t)o->found_count * 2 > o->table_size && o->found_count < ORACLE_STATES) {
        oracle_empty_table(o, o->table_size * 4 < 2 * ORACLE_STATES ? o->table_size * 4
                                                                    : 2 * ORACLE_STATES);
        for (int32_t i = 0; i < o->found_count; i++) {
            oracle_put(o, &o->found[i]);
        }
    }
}

/* Takes every step that is possible in a state. @return whether there was one */
static inline bool oracle_step(struct oracle *o, const struct oracle_state *now) {
    bool any = false;
    for (int32_t rank = 0; rank < o->s->rank_count; rank++) {
        struct oracle_state t = *now;
        if (oracle_walk(o, &t, rank)) {
            any = true;
            oracle_reach(o, &t);
        }
    }
    for (uint64_t open = now->posted & ~now->done; open != 0; open &= open - 1) {
        struct oracle_state t = *now;
        if (oracle_pass(o, &t, __builtin_ctzll(open))) {
            any = true;
            oracle_reach(o, &t);
        }
    }
    return any;
}

/* Explores all; o->last is the state in which it ends, o->last_count in how many different ones. */
static inline bool oracle_runs(struct oracle *o, const struct pp_sched *s,
                               const struct pp_comms *comms) {
    cr_assert(s->action_count < ORACLE_ACTIONS && s->rank_count <= ORACLE_RANKS);
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        cr_assert_lt(s->rank_begin[rank + 1] - s->rank_begin[rank], 1 << ORACLE_CURSOR_BITS);
    }
    o->s = s;
    o->comms = *comms;
    o->found_count = o->last_count = 0;
    oracle_actions(o);
    oracle_relations(o);
    oracle_empty_table(o, ORACLE_FIRST_TABLE);
    struct oracle_state first = {0};
    for (int32_t rank = 0; rank < ORACLE_RANKS && rank < s->rank_count; rank++) {
        first.cursor[rank] = (int8_t)s->rank_begin[rank];
    }
    oracle_reach(o, &first);
    for (int32_t i = 0; i < o->found_count; i++) {
        struct oracle_state now = o->found[i];
        if (!oracle_step(o, &now)) {
            o->last_count++;
            o->last = now;
        }
    }
    return o->last.done == bit(s->action_count) - 1;
}

/* ---- the cycle ---- */

/* May `next` be the entry after `entry`: an entry's transfer waits for another of a rank, and that
 * is behind `next`, or behind a compute action that needs a receive that is, or is, `next`. */
static inline bool oracle_follows(const struct oracle *o, int32_t target, int32_t next) {
    if (o->rank_of[next] != o->rank_of[target] || !oracle_is_transfer(o, next) ||
        !oracle_is_first(o, &o->last, next)) {
        return false;
    }
    if ((o->last.posted & bit(target)) != 0) {
        return (o->ahead[target] & bit(next)) != 0;
    }
    int32_t at = o->last.cursor[o->rank_of[target]];
    for (int32_t part = 0; part < (o->s->actions[at].pair == 1 ? 2 : 1); part++) {
        int32_t needed = o->s->producer[at + part];
        if (needed >= 0 && (o->last.done & bit(needed)) == 0 &&
            (needed == next || (o->ahead[needed] & bit(next)) != 0)) {
            return true;
        }
    }
    return false;
}

/* What the first transfer of a queue waits for. */
static inline int32_t oracle_target(const struct oracle *o, int32_t x) {
    int32_t y = o->match_of[x];
    if (!oracle_is_send(o, x) || o->comms.buffer_count == 0) {
        return y;
    }
    for (int32_t at = 0;; at++) { /* the first receive of the pair that is not done */
        if ((o->alike[y] & bit(at)) != 0 && (o->last.done & bit(at)) == 0) {
            return at;
        }
    }
}

/* Length of the shortest way from `at` to `start`, at most `most`. */
static inline int32_t oracle_way(const struct oracle *o, int32_t start, int32_t at, int32_t most) {
    int32_t best = most + 1;
    for (int32_t next = 0; most > 0 && next < o->s->action_count; next++) {
        if (oracle_follows(o, oracle_target(o, at), next)) {
            int32_t length = next == start ? 1 : 1 + oracle_way(o, start, next, most - 1);
            best = length < best ? length : best;
        }
    }
    return best;
}

/* Does a rank wait for what it would itself do later? */
static inline bool oracle_waits_for_itself(const struct oracle *o) {
    for (int32_t rank = 0; rank < o->s->rank_count; rank++) {
        int32_t at = o->last.cursor[rank];
        int32_t end = o->s->rank_begin[rank + 1];
        for (int32_t i = at; i < end && i < at + (o->s->actions[at].pair == 1 ? 2 : 1); i++) {
            int32_t needed = o->s->producer[i];
            if (needed >= at && o->rank_of[needed] == rank) {
                return true;
            }
        }
    }
    return false;
}

/* Fewest entries of any cycle of a lowered schedule that stands still. */
static inline int32_t oracle_shortest(const struct oracle *o) {
    if (oracle_waits_for_itself(o)) {
        return 1;
    }
    int32_t best = ORACLE_CYCLE + 1;
    for (int32_t x = 0; x < o->s->action_count; x++) {
        if (oracle_is_transfer(o, x) && oracle_is_first(o, &o->last, x)) {
            int32_t length = oracle_way(o, x, x, best - 1);
            best = length < best ? length : best;
        }
    }
    return best;
}

/* The same of a schedule without communication: from rank to rank, by the actions that the compute
 * action at which each stands still needs. */
static inline int32_t oracle_order_way(const struct oracle *o, int32_t start, int32_t rank,
                                       int32_t most) {
    int32_t best = most + 1;
    int32_t at = o->last.cursor[rank];
    int32_t end = o->s->rank_begin[rank + 1];
    for (int32_t i = at; most > 0 && i < end && i < at + pp_sched_cell_size(o->s, at); i++) {
        int32_t needed = o->s->producer[i];
        if (needed >= 0 && (o->last.done & bit(needed)) == 0) {
            int32_t next = o->rank_of[needed];
            int32_t length = next == start ? 1 : 1 + oracle_order_way(o, start, next, most - 1);
            best = length < best ? length : best;
        }
    }
    return best;
}

static inline int32_t oracle_shortest_order(const struct oracle *o) {
    int32_t best = ORACLE_CYCLE + 1;
    for (int32_t rank = 0; rank < o->s->rank_count; rank++) {
        int32_t length = oracle_order_way(o, rank, rank, best - 1);
        best = length < best ? length : best;
    }
    return best;
}

/* Every entry is what it says, on a rank of its own, and leads to the next. */
static inline void oracle_accepts(const struct oracle *o, const struct pp_deadlock *d) {
    for (int32_t i = 0; i < d->wait_count; i++) {
        const struct pp_wait *w = &d->waits[i];
        const struct pp_wait *next = &d->waits[(i + 1) % d->wait_count];
        cr_assert(o->rank_of[w->action] == w->rank && o->rank_of[w->for_action] == w->for_rank);
        cr_assert_eq(next->rank, w->for_rank);
        for (int32_t k = 0; k < i; k++) {
            cr_assert_neq(d->waits[k].rank, w->rank, "a rank stands twice in a cycle");
        }
        if (!o->s->lowered) {
            cr_assert(w->for_action == o->s->producer[w->action] &&
                      (o->last.done & bit(w->for_action)) == 0);
            int32_t cursor = o->last.cursor[w->rank];
            cr_assert(w->action >= cursor && w->action < cursor + pp_sched_cell_size(o->s, cursor));
        } else if (d->wait_count > 1) {
            cr_assert(oracle_is_first(o, &o->last, w->action));
            cr_assert_eq(oracle_target(o, w->action), w->for_action);
            cr_assert(oracle_follows(o, w->for_action, next->action));
        }
    }
}

struct oracle_tally {
    int64_t valid, deadlocks, longest, states;
};

/* Compares the verdict, and the cycle, of one schedule under one setting. */
static inline void oracle_compare(struct oracle *o, const struct pp_sched *s,
                                  const struct pp_comms *comms, struct oracle_tally *tally) {
    struct pp_deadlock d = {0};
    struct pp_err err = {0};
    enum pp_status status = pp_check_run(s, comms, &d, &err);
    bool runs = oracle_runs(o, s, comms);
    tally->states += o->found_count;
    cr_assert_eq(o->last_count, 1, "two ends: the model is not monotone");
    cr_assert_eq(status, runs ? PP_OK : PP_E_DEADLOCK, "%s", err.message);
    if (runs) {
        tally->valid++;
        return;
    }
    tally->deadlocks++;
    tally->longest = d.wait_count > tally->longest ? d.wait_count : tally->longest;
    oracle_accepts(o, &d);
    cr_assert_eq(d.wait_count, s->lowered ? oracle_shortest(o) : oracle_shortest_order(o), "%s",
                 err.message);
    pp_deadlock_deinit(&d);
}

/* The same under every kind of channels, without buffer and with one or two places. */
static inline void oracle_compare_all(struct oracle *o, const struct pp_sched *s,
                                      struct oracle_tally *tally) {
    for (enum pp_channels channels = 0; channels < PP_CHANNELS_COUNT; channels++) {
        for (int32_t places = 0; places <= 2; places++) {
            struct pp_comms comms = {.channels = channels, .buffer_count = places};
            oracle_compare(o, s, &comms, tally);
        }
    }
}

#endif
