/* Causes of lowered traces, under every runtime. */
#include "sim/engine.h"
#include "sim/lower.h"
#include "tests/sim/causes_support.h"

enum { MANY = 64 };

struct inputs {
    int64_t f[MANY], i[MANY], w[MANY], b[MANY], pair[MANY], recv_f[MANY], recv_b[MANY];
    int64_t offload[MANY], message_f[MANY], message_b[MANY];
    int64_t unshard_ns[MANY], unshard_bytes[MANY], reduce_ns[MANY], reduce_bytes[MANY];
    int32_t node[MANY], nic[MANY];
    struct pp_engine_costs costs;
    struct pp_network net;
    int64_t adds[MANY], frees_i[MANY], frees_w[MANY], transient[MANY], gathered[MANY], limit[MANY];
    struct pp_memory_model memory;
};

static void draw_inputs(struct inputs *x, uint64_t *seed, int i) {
    for (int32_t s = 0; s < MANY; s++) {
        x->f[s] = random_below(seed, 5);
        x->i[s] = random_below(seed, 5);
        x->w[s] = random_below(seed, 5);
        x->b[s] = random_below(seed, 9);
        x->pair[s] = random_below(seed, 9);
        x->recv_f[s] = random_below(seed, 3);
        x->recv_b[s] = random_below(seed, 3);
        x->offload[s] = random_below(seed, 6);
        x->message_f[s] = random_below(seed, 4);
        x->message_b[s] = random_below(seed, 4);
        x->unshard_ns[s] = random_below(seed, 3);
        x->unshard_bytes[s] = random_below(seed, 4);
        x->reduce_ns[s] = random_below(seed, 3);
        x->reduce_bytes[s] = random_below(seed, 4);
        x->node[s] = s / 2;
        x->nic[s] = s / 2 * 2; /* two ranks share one */
        x->frees_i[s] = random_below(seed, 4);
        x->frees_w[s] = random_below(seed, 4);
        x->adds[s] = x->frees_i[s] + x->frees_w[s];
        x->transient[s] = random_below(seed, 3);
        x->gathered[s] = random_below(seed, 5);
        x->limit[s] = random_below(seed, 40);
    }
    x->costs = (struct pp_engine_costs){.compute = {.f_ns = x->f,
                                                    .i_ns = x->i,
                                                    .w_ns = x->w,
                                                    .b_ns = x->b,
                                                    .pair_ns = i % 2 == 0 ? x->pair : NULL,
                                                    .recv_f_ns = x->recv_f,
                                                    .recv_b_ns = x->recv_b,
                                                    .offload_ns = x->offload},
                                        .message_f_bytes = x->message_f,
                                        .message_b_bytes = x->message_b,
                                        .unshard_ns = x->unshard_ns,
                                        .unshard_bytes = x->unshard_bytes,
                                        .reduce_ns = x->reduce_ns,
                                        .reduce_bytes = x->reduce_bytes};
    x->net = (struct pp_network){.node = x->node,
                                 .nic = x->nic,
                                 .port_bytes_per_s = 1000000000,
                                 .nic_bytes_per_s = 500000000,
                                 .collectives_use_port = i % 3 == 0};
    x->memory = (struct pp_memory_model){.f_adds = x->adds,
                                         .i_frees = x->frees_i,
                                         .w_frees = x->frees_w,
                                         .f_transient = x->transient,
                                         .unshard_adds = x->gathered,
                                         .grad_adds = x->gathered,
                                         .recv_f_adds = x->message_f,
                                         .send_b_adds = x->message_b};
}

static struct pp_sched *draw_lowered(uint64_t *seed, int i, int32_t *flush) {
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_sched *s;
    struct pp_sched *lowered = NULL;
    struct pp_err err = {0};
    *flush = 0;
    if (i % 3 == 0) {
        s = draw_offloading_schedule(seed);
    } else {
        s = draw_schedule(seed);
        cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
    }
    if (i % 3 == 1) {
        struct pp_sched *all = NULL;
        *flush = s->microbatch_count;
        cr_assert_eq(pp_sched_repeat(s, 2, &all, &err), PP_OK, "%s", err.message);
        pp_sched_destroy(s);
        s = all;
    }
    options.mode = i % 4 == 1 ? PP_LOWER_TORCH : PP_LOWER_OURS;
    options.max_active_stages = 1 + random_below(seed, 3);
    if (options.mode == PP_LOWER_OURS) {
        options.reshard_after_use = i % 2 == 0;
        options.reduce_every = random_below(seed, 3);
    }
    cr_assert_eq(pp_sched_lower(s, &options, &lowered, &err), PP_OK, "%s", err.message);
    pp_sched_destroy(s);
    return lowered;
}

static void expect_contiguous(const struct pp_trace *t, const struct pp_cause_inputs *in) {
    static int32_t path[1 << 11];
    int32_t n = pp_critical_path(t, in, path, 1 << 11);
    cr_assert(n > 0 && n <= 1 << 11);
    cr_assert_eq(t->start_ns[path[0]], 0);
    for (int32_t k = 1; k < n; k++) {
        cr_assert_eq(t->start_ns[path[k]], t->end_ns[path[k - 1]]);
    }
    for (int32_t at = 0; at < t->sched->action_count; at++) {
        cr_assert_leq(t->end_ns[at], t->end_ns[path[n - 1]]);
        cr_assert(at >= path[n - 1] || t->end_ns[at] < t->end_ns[path[n - 1]]);
    }
}

Test(causes_lowered, equal_those_of_a_slow_second_implementation) {
    static struct inputs x;
    struct pp_idle seen = {0};
    uint64_t seed = 41;
    int ran[PP_RUNTIME_COUNT] = {0};
    for (int i = 0; i < 2400; i += CASE_STEP) {
        int32_t flush;
        struct pp_sched *s = draw_lowered(&seed, i, &flush);
        struct pp_runtime runtime = pp_runtime_of((enum pp_runtime_kind)(i / 4 % PP_RUNTIME_COUNT));
        struct pp_engine *e = NULL;
        struct pp_memory_work *work = NULL;
        struct pp_trace t;
        struct pp_err err = {0};
        draw_inputs(&x, &seed, i);
        x.net.shared = i % 5 == 0;
        if (i % 7 == 0) {
            runtime.reduce_blocks = !runtime.reduce_blocks;
        }
        if (i % 11 == 0) {
            runtime.comms.buffer_count = 1;
        }
        enum pp_status status = pp_engine_create(s, &runtime, &e, NULL, &err);
        if (status == PP_E_DEADLOCK) { /* of a lowering under a runtime that it is not for */
            pp_sched_destroy(s);
            continue;
        }
        cr_assert_eq(status, PP_OK, "%s", err.message);
        cr_assert_eq(pp_trace_init(&t, s, NULL), PP_OK);
        cr_assert_eq(pp_memory_work_create(s, &work, NULL), PP_OK);
        cr_assert_eq(pp_engine_run(e, &x.costs, i % 3 > 0 ? &x.net : NULL, &t, &err), PP_OK, "%s",
                     err.message);
        struct pp_cause_inputs in = {
            .binding = pp_engine_binding, .context = e, .flush_microbatches = flush};
        if (i % 4 > 1) {
            in.memory = &x.memory;
            in.limit = x.limit;
            in.memory_work = i % 8 > 3 ? work : NULL;
        }
        char what[32];
        snprintf(what, sizeof what, "schedule %d", i);
        expect_slow_causes(&t, &in, &seen, what);
        expect_contiguous(&t, &in);
        ran[i / 4 % PP_RUNTIME_COUNT]++;
        pp_memory_work_destroy(work);
        pp_engine_destroy(e);
        pp_trace_deinit(&t);
        pp_sched_destroy(s);
    }
    for (int k = 0; k < PP_CAUSE_COUNT; k++) {
        cr_log_info("%s: %lld ns", pp_cause_text((enum pp_cause)k), (long long)seen.ns[k]);
        cr_assert_gt(seen.ns[k], 100);
    }
    for (int k = 0; k < PP_RUNTIME_COUNT; k++) {
        cr_log_info("%s: %d ran", pp_runtime_text((enum pp_runtime_kind)k), ran[k]);
        cr_assert_gt(ran[k], 200 / CASE_STEP);
    }
}
