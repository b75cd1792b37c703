/* Hand-made lowered schedules with the times that they should take, written beside each action. */
#ifndef PP_TESTS_ENGINE_SUPPORT_H
#define PP_TESTS_ENGINE_SUPPORT_H

#include "sim/engine.h"
#include "sim/lower.h"
#include "tests/sim/random_sched.h"

enum { CASE_STAGES = 64, CASE_RANKS = 16, CASE_ACTIONS = 512 };

/* One byte takes a ns on every link of these tests unless a case says otherwise. */
enum { BYTE_A_NS = 1000000000 };

struct engine_case {
    int32_t ranks, stages, microbatches;
    int32_t stage_rank[8];
    struct pp_runtime runtime;
    int64_t f[8], i[8], w[8], b[8]; /* 0: 10, 12, 8, 20 */
    int64_t pair, latency, offload; /* pair 0: part by part */
    int64_t f_bytes[8], b_bytes[8]; /* of messages */
    int64_t unshard_ns[8], unshard_bytes[8], reduce_ns[8], reduce_bytes[8];
    int32_t node[8], nic[8];
    int64_t port_bytes_per_s, nic_bytes_per_s; /* 0: BYTE_A_NS */
    bool shared, collectives_use_port;
    const char *rows[8]; /* "0F0:0-10 (1F0:10-35 0B0:10-35) 0SEND_F0:10-15" */
};

struct expected {
    int64_t start_ns[CASE_ACTIONS], end_ns[CASE_ACTIONS];
    int32_t count;
};

static inline const char *read_action(const char *at, struct candidate *c, struct expected *x) {
    char *end = NULL;
    c->stage = (int32_t)strtol(at, &end, 10);
    c->type = PP_F;
    for (enum pp_action_type type = PP_F; type < PP_ACTION_TYPE_COUNT; type++) {
        const char *text = pp_action_type_text(type);
        if (strncmp(end, text, strlen(text)) == 0 &&
            strlen(text) >= strlen(pp_action_type_text(c->type))) {
            c->type = type;
        }
    }
    at = end + strlen(pp_action_type_text(c->type));
    c->microbatch = *at == ':' ? -1 : (int32_t)strtol(at, &end, 10);
    at += strspn(at, "0123456789");
    cr_assert_eq(*at, ':', "times missing at %s", at);
    x->start_ns[x->count] = strtoll(at + 1, &end, 10);
    cr_assert_eq(*end, '-', "end missing at %s", end);
    x->end_ns[x->count++] = strtoll(end + 1, &end, 10);
    return end;
}

static inline struct pp_sched *build_case(const struct engine_case *c, struct expected *x) {
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_create(c->ranks, c->stages, c->microbatches, c->stage_rank, &s, &err),
                 PP_OK, "%s", err.message);
    pp_sched_set_lowered(s);
    x->count = 0;
    for (int32_t rank = 0; rank < c->ranks; rank++) {
        for (const char *at = c->rows[rank]; *at != '\0'; at += strspn(at, " ")) {
            struct candidate a;
            struct candidate b;
            bool is_pair = *at == '(';
            at = read_action(at + is_pair, &a, x);
            if (is_pair) {
                at = read_action(at + 1, &b, x);
                cr_assert_eq(*at++, ')');
                cr_assert_eq(pp_sched_add_pair(s, rank, a.type, a.stage, a.microbatch, b.type,
                                               b.stage, b.microbatch, &err),
                             PP_OK, "%s", err.message);
            } else {
                cr_assert_eq(pp_sched_add(s, rank, a.type, a.stage, a.microbatch, &err), PP_OK,
                             "%s", err.message);
            }
        }
    }
    cr_assert_eq(pp_sched_seal(s, &err), PP_OK, "%s", err.message);
    return s;
}

struct case_costs {
    int64_t f[8], i[8], w[8], b[8], pair[8], latency[8], offload[8];
    struct pp_engine_costs costs;
    struct pp_network net;
};

static inline void fill_case(const struct engine_case *c, struct case_costs *k) {
    for (int stage = 0; stage < 8; stage++) {
        k->f[stage] = c->f[stage] > 0 ? c->f[stage] : 10;
        k->i[stage] = c->i[stage] > 0 ? c->i[stage] : 12;
        k->w[stage] = c->w[stage] > 0 ? c->w[stage] : 8;
        k->b[stage] = c->b[stage] > 0 ? c->b[stage] : 20;
        k->pair[stage] = c->pair;
        k->latency[stage] = c->latency;
        k->offload[stage] = c->offload;
    }
    k->costs = (struct pp_engine_costs){.compute = {.f_ns = k->f,
                                                    .i_ns = k->i,
                                                    .w_ns = k->w,
                                                    .b_ns = k->b,
                                                    .pair_ns = c->pair > 0 ? k->pair : NULL,
                                                    .recv_f_ns = k->latency,
                                                    .recv_b_ns = k->latency,
                                                    .offload_ns = k->offload},
                                        .message_f_bytes = c->f_bytes,
                                        .message_b_bytes = c->b_bytes,
                                        .unshard_ns = c->unshard_ns,
                                        .unshard_bytes = c->unshard_bytes,
                                        .reduce_ns = c->reduce_ns,
                                        .reduce_bytes = c->reduce_bytes};
    k->net = (struct pp_network){
        .node = c->node,
        .nic = c->nic,
        .port_bytes_per_s = c->port_bytes_per_s > 0 ? c->port_bytes_per_s : BYTE_A_NS,
        .nic_bytes_per_s = c->nic_bytes_per_s > 0 ? c->nic_bytes_per_s : BYTE_A_NS,
        .collectives_use_port = c->collectives_use_port,
        .shared = c->shared};
}

static inline void expect_times(const struct pp_trace *t, const struct expected *x,
                                const char *how) {
    for (int32_t at = 0; at < t->sched->action_count; at++) {
        char text[PP_ACTION_TEXT_BYTES];
        cr_expect(t->start_ns[at] == x->start_ns[at] && t->end_ns[at] == x->end_ns[at],
                  "%s: %s of rank %d: %lld-%lld, expected %lld-%lld", how,
                  pp_action_text(&t->sched->actions[at], text),
                  t->sched->stage_rank[t->sched->actions[at].stage], (long long)t->start_ns[at],
                  (long long)t->end_ns[at], (long long)x->start_ns[at], (long long)x->end_ns[at]);
    }
}

/* What every binding is: an action that ends right when the other starts, at no lag; nothing only
 * at time 0; and never in a circle. */
static inline void expect_bindings(const struct pp_engine *e, const struct pp_trace *t) {
    const struct pp_sched *s = t->sched;
    for (int32_t at = 0; at < s->action_count; at++) {
        int32_t steps = 0;
        for (int32_t now = at; now >= 0; steps++) {
            struct pp_binding b = pp_engine_binding(e, t, now);
            char text[PP_ACTION_TEXT_BYTES];
            pp_action_text(&s->actions[now], text);
            cr_assert_eq(b.lag_ns, 0);
            cr_assert(
                b.action < 0 ? t->start_ns[now] == 0 : t->end_ns[b.action] == t->start_ns[now],
                "%s starts at %lld, bound by %d", text, (long long)t->start_ns[now], b.action);
            cr_assert_leq(steps, s->action_count, "%s: bound in a circle", text);
            now = b.action >= 0 && t->start_ns[b.action] == t->start_ns[now] ? b.action : -1;
        }
    }
}

/* Runs a case every way and compares with the times beside its actions. */
static inline void run_case(const struct engine_case *c) {
    static struct expected x;
    struct case_costs k;
    struct pp_sched *s = build_case(c, &x);
    struct pp_engine *e = NULL;
    struct pp_trace t;
    struct pp_err err = {0};
    fill_case(c, &k);
    cr_assert_eq(pp_engine_create(s, &c->runtime, &e, NULL, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
    cr_assert_eq(pp_engine_run(e, &k.costs, &k.net, &t, &err), PP_OK, "%s", err.message);
    expect_times(&t, &x, "run");
    expect_bindings(e, &t);
    memset(t.start_ns, 0x55, (size_t)s->action_count * sizeof *t.start_ns);
    memset(t.end_ns, 0x55, ((size_t)s->action_count + 1) * sizeof *t.end_ns);
    int64_t events = 0;
    cr_assert_eq(pp_engine_run_events(e, &k.costs, &k.net, &t, &events, &err), PP_OK, "%s",
                 err.message);
    expect_times(&t, &x, "events");
    cr_expect_gt(events, 0);
    pp_trace_deinit(&t);
    pp_engine_destroy(e);
    pp_sched_destroy(s);
}

#endif
