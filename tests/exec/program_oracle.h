/* What a program has to be, written from exec/program.h alone, slowly: who holds which bytes from
 * when to when, what every action needs, and what the channels carry. */
#ifndef PP_TESTS_PROGRAM_ORACLE_H
#define PP_TESTS_PROGRAM_ORACLE_H

#include "tests/exec/program_support.h"

enum { ORACLE_USERS = 6 };

/* Criterion keeps book of every assertion, which would be most of what these loops do. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            cr_assert(false, "%s", #condition);                                                    \
        }                                                                                          \
    } while (0)
#define MUST_EQ(left, right) MUST((left) == (right))
#define MUST_LEQ(left, right) MUST((left) <= (right))

struct oracle_tenant {
    int32_t rank;
    bool on_host;
    int64_t offset, bytes;
    int32_t
        users[ORACLE_USERS]; /* in the order of the list; the first makes it, the last ends it */
    int32_t user_count;
    int64_t made_ns, end_ns; /* in the expected trace */
};

struct oracle {
    const struct pp_program *program;
    const struct pp_program_sizes *sizes;
    const struct pp_trace *expected;
    int32_t *index; /* [stage][microbatch][type] action, -1 */
    struct oracle_tenant *tenants;
    int32_t tenant_count;
};

static inline int32_t oracle_find(const struct oracle *o, enum pp_action_type type, int32_t stage,
                                  int32_t microbatch) {
    const struct pp_sched *s = o->program->sched;
    return stage < 0 ? -1
                     : o->index[((int64_t)stage * s->microbatch_count + microbatch) *
                                    PP_ACTION_TYPE_COUNT +
                                type];
}

static inline int32_t oracle_rank(const struct oracle *o, int32_t at) {
    return o->program->sched->stage_rank[o->program->sched->actions[at].stage];
}

/* Latest end of the compute actions before `at` on its rank. */
static inline int64_t oracle_hand_over(const struct oracle *o, int32_t at) {
    const struct pp_sched *s = o->program->sched;
    int64_t latest = 0;
    for (int32_t k = s->rank_begin[oracle_rank(o, at)]; k < at; k++) {
        if (pp_action_is_compute(&s->actions[k])) {
            latest = pp_max_i64(latest, o->expected->end_ns[k]);
        }
    }
    return latest;
}

/* Adds a tenant of `bytes` that these actions use, -1 for those that there are not; every one of
 * them must name the same `offsets`. */
static inline void oracle_add(struct oracle *o, bool on_host, int64_t bytes, const int32_t *users,
                              const int64_t *const *offsets, int32_t count) {
    struct oracle_tenant t = {.on_host = on_host, .bytes = bytes};
    for (int32_t i = 0; i < count; i++) {
        if (users[i] < 0) {
            continue;
        }
        int64_t offset = *offsets[i];
        MUST(t.user_count == 0 || offset == t.offset);
        t.offset = offset;
        MUST(t.user_count == 0 || users[i] > t.users[t.user_count - 1]);
        t.users[t.user_count++] = users[i];
    }
    if (bytes == 0) {
        MUST_EQ(t.offset, -1);
        return;
    }
    MUST(t.user_count >= 2);
    t.rank = oracle_rank(o, t.users[0]);
    const struct pp_program *p = o->program;
    MUST(t.offset >= 0 && t.offset % 64 == 0);
    MUST_LEQ(t.offset + bytes, on_host ? p->host_bytes[t.rank] : p->arena_bytes[t.rank]);
    enum pp_action_type type = p->sched->actions[t.users[0]].type;
    bool handed_over = type == PP_RECV_F || type == PP_RECV_B;
    t.made_ns = handed_over ? oracle_hand_over(o, t.users[0]) : o->expected->start_ns[t.users[0]];
    t.end_ns = o->expected->end_ns[t.users[t.user_count - 1]];
    o->tenants[o->tenant_count++] = t;
}

/* The input of (stage, microbatch) or, if not forward, what I or B of it receives, or the stash:
 * from its maker to its B or W, or in two parts around a trip to the host. */
static inline void oracle_add_held(struct oracle *o, int32_t stage, int32_t m) {
    const struct pp_sched *s = o->program->sched;
    struct pp_bound none = {0};
    int32_t before = pp_sched_stage_before(s, stage);
    int32_t after = pp_sched_stage_after(s, stage);
    int32_t f = oracle_find(o, PP_F, stage, m);
    int32_t b = oracle_find(o, PP_B, stage, m);
    int32_t i = oracle_find(o, PP_I, stage, m);
    int32_t w = oracle_find(o, PP_W, stage, m);
    int32_t out = oracle_find(o, PP_OFFLOAD, stage, m);
    int32_t back = oracle_find(o, PP_RELOAD, stage, m);
#define BOUND(at) ((at) < 0 ? &none : &o->program->bound[at])
    int32_t recv = oracle_find(o, PP_RECV_F, stage, m);
    int32_t maker = recv >= 0 ? recv : oracle_find(o, PP_F, before, m);
    const int64_t *made = recv >= 0 ? &BOUND(recv)->message : &BOUND(maker)->output;
    int64_t input = before < 0 ? 0 : o->sizes->input_bytes[stage];
    int64_t stash = o->sizes->stash_bytes[stage];
    int64_t gradient = after < 0 ? 0 : o->sizes->input_bytes[after];
    if (out < 0) {
        oracle_add(o, false, input, (int32_t[]){maker, f, b, i, w},
                   (const int64_t *[]){made, &BOUND(f)->input, &BOUND(b)->input, &BOUND(i)->input,
                                       &BOUND(w)->input},
                   5);
        oracle_add(o, false, stash, (int32_t[]){f, b, i, w},
                   (const int64_t *[]){&BOUND(f)->stash, &BOUND(b)->stash, &BOUND(i)->stash,
                                       &BOUND(w)->stash},
                   4);
    } else {
        oracle_add(o, false, input, (int32_t[]){maker, f, out},
                   (const int64_t *[]){made, &BOUND(f)->input, &BOUND(out)->input}, 3);
        oracle_add(o, false, stash, (int32_t[]){f, out},
                   (const int64_t *[]){&BOUND(f)->stash, &BOUND(out)->stash}, 2);
        oracle_add(o, true, input, (int32_t[]){out, back},
                   (const int64_t *[]){&BOUND(out)->host_input, &BOUND(back)->host_input}, 2);
        oracle_add(o, true, stash, (int32_t[]){out, back},
                   (const int64_t *[]){&BOUND(out)->host_stash, &BOUND(back)->host_stash}, 2);
        oracle_add(o, false, input, (int32_t[]){back, b, i, w},
                   (const int64_t *[]){&BOUND(back)->input, &BOUND(b)->input, &BOUND(i)->input,
                                       &BOUND(w)->input},
                   4);
        oracle_add(o, false, stash, (int32_t[]){back, b, i, w},
                   (const int64_t *[]){&BOUND(back)->stash, &BOUND(b)->stash, &BOUND(i)->stash,
                                       &BOUND(w)->stash},
                   4);
    }
    recv = oracle_find(o, PP_RECV_B, stage, m);
    int32_t next_i = oracle_find(o, PP_I, after, m);
    int32_t next_b = oracle_find(o, PP_B, after, m);
    maker = recv >= 0 ? recv : (next_i >= 0 ? next_i : next_b);
    made = recv >= 0 ? &BOUND(recv)->message : &BOUND(maker)->input_grad;
    oracle_add(o, false, gradient, (int32_t[]){maker, b, i, w},
               (const int64_t *[]){made, &BOUND(b)->output_grad, &BOUND(i)->output_grad,
                                   &BOUND(w)->output_grad},
               4);
}

/* What SENDs of (stage, microbatch) take. */
static inline void oracle_add_sent(struct oracle *o, int32_t stage, int32_t m) {
    struct pp_bound none = {0};
    const struct pp_sched *s = o->program->sched;
    int32_t f = oracle_find(o, PP_F, stage, m);
    int32_t send = oracle_find(o, PP_SEND_F, stage, m);
    if (send >= 0) {
        oracle_add(o, false, o->sizes->input_bytes[pp_sched_stage_after(s, stage)],
                   (int32_t[]){f, send},
                   (const int64_t *[]){&BOUND(f)->output, &BOUND(send)->message}, 2);
    }
    int32_t i = oracle_find(o, PP_I, stage, m);
    int32_t b = oracle_find(o, PP_B, stage, m);
    send = oracle_find(o, PP_SEND_B, stage, m);
    if (send >= 0) {
        oracle_add(o, false, o->sizes->input_bytes[stage], (int32_t[]){i, b, send},
                   (const int64_t *[]){&BOUND(i)->input_grad, &BOUND(b)->input_grad,
                                       &BOUND(send)->message},
                   3);
    }
#undef BOUND
}

static inline void oracle_init(struct oracle *o, const struct program_case *c) {
    const struct pp_sched *s = c->lowered;
    *o = (struct oracle){.program = c->program, .sizes = &c->sizes, .expected = &c->expected};
    size_t cells = (size_t)s->stage_count * (size_t)s->microbatch_count * PP_ACTION_TYPE_COUNT;
    o->index = malloc(cells * sizeof *o->index);
    memset(o->index, -1, cells * sizeof *o->index);
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        if (pp_action_has_microbatch(a->type)) {
            o->index[((int64_t)a->stage * s->microbatch_count + a->microbatch) *
                         PP_ACTION_TYPE_COUNT +
                     a->type] = at;
        }
    }
    o->tenants = malloc(9 * (size_t)s->action_count * sizeof *o->tenants);
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        for (int32_t m = 0; m < s->microbatch_count; m++) {
            oracle_add_held(o, stage, m);
            oracle_add_sent(o, stage, m);
        }
    }
}

static inline void oracle_deinit(struct oracle *o) {
    free(o->index);
    free(o->tenants);
}

/* ---- what actions hold ---- */

static inline void oracle_expect_fields(const struct oracle *o, int32_t at) {
    const struct pp_sched *s = o->program->sched;
    const struct pp_action *a = &s->actions[at];
    const struct pp_bound *b = &o->program->bound[at];
    int32_t before = pp_sched_stage_before(s, a->stage);
    int32_t after = pp_sched_stage_after(s, a->stage);
    bool computes = pp_action_is_compute(a);
    bool backward = computes && a->type != PP_F;
    bool trip = pp_action_is_offload(a);
    bool transfer = a->type >= PP_SEND_F && a->type <= PP_RECV_B;
    bool forward_message = a->type == PP_SEND_F || a->type == PP_RECV_B;
    int64_t input = before < 0 ? 0 : o->sizes->input_bytes[a->stage];
    int64_t output = after < 0 ? 0 : o->sizes->input_bytes[after];
    int64_t stash = o->sizes->stash_bytes[a->stage];
    MUST_EQ(b->input >= 0, (computes || trip) && input > 0);
    MUST_EQ(b->stash >= 0, (computes || trip) && stash > 0);
    MUST_EQ(b->output >= 0, a->type == PP_F && output > 0);
    MUST_EQ(b->output_grad >= 0, backward && output > 0);
    MUST_EQ(b->input_grad >= 0, (a->type == PP_I || a->type == PP_B) && input > 0);
    MUST_EQ(b->host_input >= 0, trip && input > 0);
    MUST_EQ(b->host_stash >= 0, trip && stash > 0);
    MUST_EQ(b->message_bytes, transfer ? (forward_message ? output : input) : 0);
    MUST_EQ(b->message >= 0, b->message_bytes > 0);
}

/* ---- channels ---- */

/* The k-th action with each channel's number on either side, by counting. */
static inline void oracle_expect_channels(const struct oracle *o) {
    const struct pp_program *p = o->program;
    const struct pp_sched *s = p->sched;
    int32_t *counts = calloc(2 * (size_t)p->channel_count + 1, sizeof *counts);
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        const struct pp_bound *b = &p->bound[at];
        int32_t copy = pp_program_copy_of(p, a->stage);
        bool exchanges = a->type == PP_REDUCE_GRAD && copy >= 0 &&
                         s->stage_rank[copy] != s->stage_rank[a->stage];
        bool transfer = a->type >= PP_SEND_F && a->type <= PP_RECV_B;
        MUST_EQ(b->channel >= 0, exchanges || transfer);
        if (b->channel < 0) {
            continue;
        }
        const struct pp_channel *c = &p->channels[b->channel];
        bool comes_in = a->type == PP_RECV_F || a->type == PP_RECV_B;
        int32_t other = exchanges ? s->stage_rank[copy] : other_rank(s, a);
        int32_t own = s->stage_rank[a->stage];
        MUST_EQ(c->from_rank, comes_in ? other : own);
        MUST_EQ(c->to_rank, comes_in ? own : other);
        MUST_EQ(c->copies, exchanges);
        MUST_EQ(b->sequence, counts[2 * b->channel + comes_in]++);
        if (comes_in) {
            MUST_EQ(b->sequence, p->bound[s->producer[at]].sequence);
            MUST_EQ(b->message_bytes, p->bound[s->producer[at]].message_bytes);
        }
        for (int32_t k = 0; exchanges && k < s->action_count; k++) {
            if (s->actions[k].type == PP_REDUCE_GRAD && s->actions[k].stage == copy) {
                const struct pp_channel *way_back = &p->channels[p->bound[k].channel];
                MUST_EQ(way_back->from_rank, other);
                MUST_EQ(way_back->to_rank, own);
            }
        }
    }
    for (int32_t i = 0; i < p->channel_count; i++) {
        const struct pp_channel *c = &p->channels[i];
        MUST_EQ(c->message_count, counts[2 * i]);
        MUST(c->copies || c->message_count == counts[2 * i + 1]);
        MUST(c->message_count > 0);
        MUST(i == 0 || c->from_rank > c[-1].from_rank ||
             (c->from_rank == c[-1].from_rank &&
              (c->to_rank > c[-1].to_rank ||
               (c->to_rank == c[-1].to_rank && c->copies && !c[-1].copies))));
    }
    free(counts);
}

/* ---- waits ---- */

static inline bool oracle_waits(const struct pp_bound *b, int32_t for_action) {
    bool found = false;
    for (int32_t i = 0; i < b->wait_count; i++) {
        found = found || b->waits[i] == for_action;
    }
    return found;
}

static inline void oracle_expect_wait(const struct oracle *o, int32_t at, int32_t for_action) {
    if (for_action >= 0) {
        char text[2][PP_ACTION_TEXT_BYTES];
        if (!oracle_waits(&o->program->bound[at], for_action)) {
            cr_assert(false, "%s does not wait for %s",
                      pp_action_text(&o->program->sched->actions[at], text[0]),
                      pp_action_text(&o->program->sched->actions[for_action], text[1]));
        }
    }
}

static inline void oracle_expect_waits(const struct oracle *o, int32_t at) {
    const struct pp_sched *s = o->program->sched;
    const struct pp_action *a = &s->actions[at];
    const struct pp_bound *b = &o->program->bound[at];
    int32_t unshard = -1;
    int32_t compute = -1;
    for (int32_t k = s->rank_begin[oracle_rank(o, at)]; k < at; k++) {
        compute = pp_action_is_compute(&s->actions[k]) ? k : compute;
        unshard = s->actions[k].type == PP_UNSHARD && s->actions[k].stage == a->stage ? k : unshard;
    }
    if (pp_action_is_compute(a)) {
        oracle_expect_wait(o, at, unshard);
        if (a->type == PP_F) {
            oracle_expect_wait(o, at, oracle_find(o, PP_RECV_F, a->stage, a->microbatch));
        } else if (a->type != PP_W) {
            oracle_expect_wait(o, at, oracle_find(o, PP_RECV_B, a->stage, a->microbatch));
            oracle_expect_wait(o, at, oracle_find(o, PP_RELOAD, a->stage, a->microbatch));
        }
    } else {
        oracle_expect_wait(o, at, compute);
        if (a->type == PP_RELOAD) {
            oracle_expect_wait(o, at, oracle_find(o, PP_OFFLOAD, a->stage, a->microbatch));
        }
    }
    for (int32_t i = 0; i < b->wait_count; i++) {
        int32_t wait = b->waits[i];
        MUST(wait >= 0 && wait < s->action_count && wait != at);
        MUST_EQ(oracle_rank(o, wait), oracle_rank(o, at));
        MUST_LEQ(o->expected->end_ns[wait], o->expected->start_ns[at]);
        bool free_anyway = pp_action_is_compute(a) && pp_action_is_compute(&s->actions[wait]);
        MUST(!free_anyway || (a->pair == 2 && wait == at - 1));
    }
}

static inline void oracle_mark_ended(const struct oracle *o, int32_t at, bool *ended);

static inline void oracle_mark_one(const struct oracle *o, int32_t at, bool *ended) {
    if (!ended[at]) {
        ended[at] = true;
        oracle_mark_ended(o, at, ended);
    }
}

/* Marks what has ended for certain when action `at` starts, as far as its own rank can tell: its
 * waits, of compute the cell of compute before it, and what those waited for. */
static inline void oracle_mark_ended(const struct oracle *o, int32_t at, bool *ended) {
    const struct pp_sched *s = o->program->sched;
    const struct pp_bound *b = &o->program->bound[at];
    for (int32_t i = 0; i < b->wait_count; i++) {
        oracle_mark_one(o, b->waits[i], ended);
    }
    if (!pp_action_is_compute(&s->actions[at])) {
        return;
    }
    int32_t before = (s->actions[at].pair == 2 ? at - 1 : at) - 1;
    int32_t begin = s->rank_begin[oracle_rank(o, at)];
    while (before >= begin && !pp_action_is_compute(&s->actions[before])) {
        before--;
    }
    if (before >= begin) {
        oracle_mark_one(o, before, ended);
        if (s->actions[before].pair == 2) {
            oracle_mark_one(o, before - 1, ended);
        }
    }
}

/* ---- slots ---- */

static inline bool oracle_share_bytes(const struct oracle_tenant *a,
                                      const struct oracle_tenant *b) {
    return a->rank == b->rank && a->on_host == b->on_host && a->offset < b->offset + b->bytes &&
           b->offset < a->offset + a->bytes;
}

/* Whoever shares bytes follows one another: in the expected trace, and at any speed. */
static inline void oracle_expect_slots(const struct oracle *o) {
    const struct pp_sched *s = o->program->sched;
    bool *ended = malloc((size_t)s->action_count);
    for (int32_t k = 0; k < o->tenant_count; k++) {
        const struct oracle_tenant *t = &o->tenants[k];
        int32_t begin = s->rank_begin[t->rank];
        memset(ended + begin, 0, (size_t)(s->rank_begin[t->rank + 1] - begin));
        oracle_mark_ended(o, t->users[0], ended);
        for (int32_t i = 0; i < o->tenant_count; i++) {
            const struct oracle_tenant *other = &o->tenants[i];
            if (i == k || !oracle_share_bytes(t, other) || other->users[0] > t->users[0]) {
                continue;
            }
            int32_t last = other->users[other->user_count - 1];
            int64_t slack = pp_action_is_compute(&s->actions[last]) ? 0 : 1;
            MUST(other->users[0] != t->users[0]);
            MUST_LEQ(other->end_ns + slack, t->made_ns);
            char text[2][PP_ACTION_TEXT_BYTES];
            if (!ended[last]) {
                cr_assert(false, "what %s makes is where %s may still be at work",
                          pp_action_text(&s->actions[t->users[0]], text[0]),
                          pp_action_text(&s->actions[last], text[1]));
            }
        }
    }
    free(ended);
}

/* Most bytes that are held at once on a rank in the expected trace, whatever is where. */
static inline int64_t oracle_most_bytes(const struct oracle *o, int32_t rank, bool on_host) {
    int64_t most = 0;
    for (int32_t k = 0; k < o->tenant_count; k++) {
        const struct oracle_tenant *now = &o->tenants[k];
        if (now->rank != rank || now->on_host != on_host) {
            continue;
        }
        int64_t sum = 0;
        for (int32_t i = 0; i < o->tenant_count; i++) {
            const struct oracle_tenant *t = &o->tenants[i];
            bool held = i == k || (t->made_ns <= now->made_ns && now->made_ns < t->end_ns);
            sum += t->rank == rank && t->on_host == on_host && held ? t->bytes : 0;
        }
        most = pp_max_i64(most, sum);
    }
    return most;
}

static inline void oracle_expect_program(const struct oracle *o) {
    for (int32_t at = 0; at < o->program->sched->action_count; at++) {
        oracle_expect_fields(o, at);
        oracle_expect_waits(o, at);
    }
    oracle_expect_channels(o);
    oracle_expect_slots(o);
    MUST(pp_program_in_order(o->program, o->expected, NULL));
}

#endif
