/* The engine at its limits: the largest schedules, the longest costs, links that are as slow or as
 * fast as may be, and what is out of range: a clear answer or a clear refusal. */
#include "sim/engine.h"
#include "sim/metrics.h"
#include "tests/sim/lower_support.h"

enum { FEW = 8 };

static int64_t *column(int32_t stages, int64_t ns) {
    int64_t *figures = malloc((size_t)stages * sizeof *figures);
    for (int32_t stage = 0; stage < stages; stage++) {
        figures[stage] = ns;
    }
    return figures;
}

struct machine {
    struct pp_sched *order, *lowered;
    struct pp_engine *engine;
    struct pp_trace trace;
    int32_t *node, *nic;
    struct pp_network net;
};

/* Ranks on a node and a NIC of their own each, 1 byte a ns. Our lowering wants a channel a
 * direction; PyTorch's runs under every runtime. */
static struct machine open_machine(struct pp_sched *order, enum pp_runtime_kind kind) {
    enum pp_lower_mode mode = kind == PP_RUNTIME_OURS ? PP_LOWER_OURS : PP_LOWER_TORCH;
    struct machine m = {.order = order, .lowered = lower(order, mode)};
    struct pp_runtime runtime = pp_runtime_of(kind);
    struct pp_err err = {0};
    cr_assert_eq(pp_engine_create(m.lowered, &runtime, &m.engine, NULL, &err), PP_OK, "%s",
                 err.message);
    cr_assert_eq(pp_trace_init(&m.trace, m.lowered, NULL), PP_OK);
    m.node = malloc((size_t)order->rank_count * sizeof *m.node);
    m.nic = malloc((size_t)order->rank_count * sizeof *m.nic);
    for (int32_t rank = 0; rank < order->rank_count; rank++) {
        m.node[rank] = m.nic[rank] = rank;
    }
    m.net = (struct pp_network){.node = m.node,
                                .nic = m.nic,
                                .port_bytes_per_s = 1000000000,
                                .nic_bytes_per_s = 1000000000};
    return m;
}

static void close_machine(struct machine *m) {
    pp_trace_deinit(&m->trace);
    pp_engine_destroy(m->engine);
    pp_sched_destroy(m->lowered);
    pp_sched_destroy(m->order);
    free(m->node);
    free(m->nic);
}

static int64_t last_end(const struct machine *m) {
    int64_t last = 0;
    for (int32_t at = 0; at < m->lowered->action_count; at++) {
        last = m->trace.end_ns[at] > last ? m->trace.end_ns[at] : last;
    }
    return last;
}

static struct pp_engine_costs computing(const int64_t *f, const int64_t *b) {
    return (struct pp_engine_costs){.compute = {.f_ns = f, .i_ns = f, .w_ns = f, .b_ns = b}};
}

/* ---- counts ---- */

Test(limits_engine, a_million_microbatches) {
    int32_t count = PP_SCHED_MAX_MICROBATCHES / CASE_STEP;
    struct machine m = open_machine(make_schedule("1F1B", 2, 1, count), PP_RUNTIME_OURS);
    int64_t *longest = column(2, PP_COST_MAX_NS);
    struct pp_engine_costs costs = computing(longest, longest);
    struct pp_err err = {0};
    cr_assert_eq(pp_engine_run(m.engine, &costs, NULL, &m.trace, &err), PP_OK, "%s", err.message);
    cr_assert_eq(last_end(&m), 2 * (int64_t)(count + 1) * PP_COST_MAX_NS);
    costs.compute.recv_f_ns = costs.compute.recv_b_ns = longest;
    cr_assert_eq(pp_engine_run(m.engine, &costs, NULL, &m.trace, &err), PP_OK, "%s", err.message);
    free(longest);
    close_machine(&m);
}

Test(limits_engine, four_thousand_ranks) {
    int32_t p = PP_SCHED_MAX_RANKS;
    for (int32_t kind = 0; kind < PP_RUNTIME_COUNT; kind++) {
        struct machine m =
            open_machine(make_schedule("GPipe", p, 1, 4), (enum pp_runtime_kind)kind);
        int64_t *f = column(p, 1000);
        int64_t *b = column(p, 2000);
        int64_t *bytes = column(p, 7);
        struct pp_engine_costs costs = computing(f, b);
        struct pp_err err = {0};
        cr_assert_eq(pp_engine_run(m.engine, &costs, NULL, &m.trace, &err), PP_OK);
        cr_assert_eq(last_end(&m), (int64_t)(4 + p - 1) * 3000);
        costs.message_f_bytes = costs.message_b_bytes = bytes;
        for (int shared = 0; shared < 2; shared++) {
            m.net.shared = shared == 1;
            cr_assert_eq(pp_engine_run(m.engine, &costs, &m.net, &m.trace, &err), PP_OK, "%s",
                         err.message);
            cr_assert_geq(last_end(&m), (int64_t)(4 + p - 1) * 3000 + 2 * (p - 1) * 7);
        }
        free(f);
        free(b);
        free(bytes);
        close_machine(&m);
    }
}

/* ---- costs ---- */

Test(limits_engine, nothing_takes_any_time_in_any_schedule) {
    for (int32_t k = 0; k < pp_schedule_count(); k++) {
        const struct pp_schedule_info *info = pp_schedule_at(k);
        struct machine m = open_machine(
            make_schedule(info->name, 4, info->default_stages_per_rank, 8), PP_RUNTIME_OURS);
        int64_t *none = column(m.order->stage_count, 0);
        int64_t *longest = column(m.order->stage_count, PP_COST_MAX_NS);
        struct pp_engine_costs costs = computing(none, none);
        struct pp_err err = {0};
        costs.message_f_bytes = costs.message_b_bytes = none;
        costs.unshard_bytes = costs.unshard_ns = costs.reduce_bytes = costs.reduce_ns = none;
        for (int shared = 0; shared < 2; shared++) {
            m.net.shared = shared == 1;
            cr_assert_eq(pp_engine_run(m.engine, &costs, &m.net, &m.trace, &err), PP_OK);
            cr_assert_eq(last_end(&m), 0, "%s", info->name);
            cr_assert_eq(pp_engine_run_events(m.engine, &costs, &m.net, &m.trace, NULL, &err),
                         PP_OK);
            cr_assert_eq(last_end(&m), 0, "%s", info->name);
        }
        costs = computing(longest, longest);
        costs.compute.recv_f_ns = costs.compute.recv_b_ns = costs.compute.offload_ns = longest;
        costs.unshard_ns = costs.reduce_ns = longest;
        cr_assert_eq(pp_engine_run(m.engine, &costs, NULL, &m.trace, &err), PP_OK, "%s",
                     err.message);
        cr_assert_geq(last_end(&m), 16 * PP_COST_MAX_NS, "%s", info->name);
        free(none);
        free(longest);
        close_machine(&m);
    }
}

Test(limits_engine, one_action) {
    struct machine m = open_machine(make_schedule("1F1B", 1, 1, 1), PP_RUNTIME_MEGATRON);
    int64_t longest[] = {PP_COST_MAX_NS};
    int64_t none[] = {0};
    struct pp_engine_costs costs = computing(none, longest);
    cr_assert_eq(pp_engine_run(m.engine, &costs, NULL, &m.trace, NULL), PP_OK);
    cr_assert_eq(last_end(&m), PP_COST_MAX_NS);
    close_machine(&m);
}

/* The clock holds INT64_MAX / 4: one message of 2305843009 s, and 213693951 ns of anything. */
Test(limits_engine, all_durations_together_fit_the_clock_or_are_refused) {
    enum { SECONDS = 2305843009, REST = 213693951 };
    struct machine m = open_machine(make_schedule("GPipe", 2, 1, 1), PP_RUNTIME_OURS);
    int64_t ns[FEW][2];
    int64_t message_bytes[2] = {0, SECONDS};
    m.net.port_bytes_per_s = m.net.nic_bytes_per_s = 1;
    for (int32_t k = 0; k < FEW; k++) {
        for (int64_t more = 0; more < 2; more++) {
            memset(ns, 0, sizeof ns);
            ns[k][k == 3 ? 0 : 1] = REST + more;
            struct pp_engine_costs costs = {.compute = {.f_ns = ns[0],
                                                        .i_ns = ns[6],
                                                        .w_ns = ns[7],
                                                        .b_ns = ns[1],
                                                        .recv_f_ns = ns[2],
                                                        .recv_b_ns = ns[3]},
                                            .message_f_bytes = message_bytes,
                                            .unshard_ns = ns[4],
                                            .reduce_ns = ns[5]};
            struct pp_err err = {0};
            /* GPipe has neither I nor W */
            enum pp_status want = more == 1 && k < 6 ? PP_E_RANGE : PP_OK;
            for (int shared = 0; shared < 2; shared++) {
                m.net.shared = shared == 1;
                cr_assert_eq(pp_engine_run(m.engine, &costs, &m.net, &m.trace, &err), want,
                             "column %d: %s", k, err.message);
                cr_assert(want != PP_OK || last_end(&m) <= INT64_MAX / 4);
            }
        }
    }
    memset(ns, 0, sizeof ns);
    const int64_t *none = ns[0];
    struct pp_engine_costs costs = computing(none, none);
    const int64_t **const columns[] = {&costs.message_f_bytes, &costs.message_b_bytes,
                                       &costs.unshard_bytes, &costs.reduce_bytes};
    for (size_t k = 0; k < 4; k++) {
        int64_t bytes[2] = {SECONDS + 1, SECONDS + 1};
        *columns[k] = bytes;
        cr_assert_eq(pp_engine_run(m.engine, &costs, &m.net, &m.trace, NULL), PP_E_RANGE);
        bytes[0] = bytes[1] = PP_TRANSFER_MAX_BYTES;
        cr_assert_eq(pp_engine_run(m.engine, &costs, &m.net, &m.trace, NULL), PP_E_RANGE);
        bytes[0] = bytes[1] = SECONDS / 2;
        cr_assert_eq(pp_engine_run(m.engine, &costs, &m.net, &m.trace, NULL), PP_OK);
        *columns[k] = NULL;
    }
    close_machine(&m);
}

/* Full after the first stage, and stages gathered twice for one reduction. */
Test(limits_engine, no_duration_is_left_out_of_the_sum) {
    enum { SECONDS = 2305843009, REST = 213693951 };
    struct pp_sched *order = make_schedule("GPipe", 2, 1, 1);
    struct pp_lower_options twice = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct machine m = open_machine(order, PP_RUNTIME_OURS);
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    struct pp_sched *lowered = NULL;
    struct pp_engine *e = NULL;
    struct pp_trace t;
    int64_t f[2] = {REST, 0};
    int64_t b[2] = {0, 0};
    int64_t bytes[2] = {SECONDS, 0};
    struct pp_engine_costs costs = computing(f, b);
    costs.message_b_bytes = bytes;
    m.net.port_bytes_per_s = m.net.nic_bytes_per_s = 1;
    cr_assert_eq(pp_engine_run(m.engine, &costs, &m.net, &m.trace, NULL), PP_OK);
    f[1] = 1;
    cr_assert_eq(pp_engine_run(m.engine, &costs, &m.net, &m.trace, NULL), PP_E_RANGE);
    twice.reshard_after_use = true;
    cr_assert_eq(pp_sched_lower(order, &twice, &lowered, NULL), PP_OK);
    cr_assert_eq(pp_engine_create(lowered, &runtime, &e, NULL, NULL), PP_OK);
    cr_assert_eq(pp_trace_init(&t, lowered, NULL), PP_OK);
    f[0] = f[1] = 0;
    int64_t unshard[2] = {0, REST / 2};
    costs.unshard_ns = unshard;
    cr_assert_eq(pp_engine_run(e, &costs, &m.net, &t, NULL), PP_OK);
    unshard[1]++;
    cr_assert_eq(pp_engine_run(e, &costs, &m.net, &t, NULL), PP_E_RANGE);
    int64_t reduce[2] = {0, REST};
    costs.unshard_ns = NULL;
    costs.reduce_ns = reduce;
    cr_assert_eq(pp_engine_run(e, &costs, &m.net, &t, NULL), PP_OK);
    reduce[1]++;
    cr_assert_eq(pp_engine_run(e, &costs, &m.net, &t, NULL), PP_E_RANGE);
    pp_trace_deinit(&t);
    pp_engine_destroy(e);
    pp_sched_destroy(lowered);
    close_machine(&m);
}

Test(limits_engine, bytes_out_of_range_are_refused_with_their_stage) {
    struct machine m = open_machine(make_schedule("1F1B", 2, 1, 2), PP_RUNTIME_TORCH);
    int64_t none[2] = {0};
    for (size_t k = 0; k < 4; k++) {
        int64_t bytes[2] = {0};
        struct pp_engine_costs costs = computing(none, none);
        const int64_t **const columns[] = {&costs.message_b_bytes, &costs.message_f_bytes,
                                           &costs.unshard_bytes, &costs.reduce_bytes};
        *columns[k] = bytes;
        struct pp_err err = {0};
        int32_t stage = k == 0 ? 0 : 1;
        bytes[stage] = -1;
        cr_assert_eq(pp_engine_run(m.engine, &costs, &m.net, &m.trace, &err), PP_E_RANGE);
        cr_assert_not_null(strstr(err.message, stage == 0 ? "stage 0" : "stage 1"), "%s",
                           err.message);
        bytes[stage] = PP_TRANSFER_MAX_BYTES + 1;
        cr_assert_eq(pp_engine_run(m.engine, &costs, &m.net, &m.trace, &err), PP_E_RANGE);
        cr_assert_not_null(strstr(err.message, stage == 0 ? "stage 0" : "stage 1"), "%s",
                           err.message);
        bytes[stage] = PP_TRANSFER_MAX_BYTES;
        cr_assert_eq(pp_engine_run(m.engine, &costs, &m.net, &m.trace, &err), PP_OK, "%s",
                     err.message);
    }
    int64_t bad[2] = {0, PP_COST_MAX_NS + 1};
    struct pp_err err = {0};
    struct pp_engine_costs costs = computing(none, none);
    costs.unshard_ns = bad;
    cr_assert_eq(pp_engine_run(m.engine, &costs, NULL, &m.trace, &err), PP_E_RANGE);
    costs.unshard_ns = NULL;
    costs.reduce_ns = bad;
    bad[1] = -1;
    cr_assert_eq(pp_engine_run(m.engine, &costs, NULL, &m.trace, &err), PP_E_RANGE);
    cr_assert_not_null(strstr(err.message, "stage 1"), "%s", err.message);
    close_machine(&m);
}

/* ---- links ---- */

Test(limits_engine, links_out_of_range_are_refused) {
    int32_t node[] = {0, 0, 1, 1};
    int32_t nic[] = {0, 0, 2, 2};
    struct pp_network good = {
        .node = node, .nic = nic, .port_bytes_per_s = 1, .nic_bytes_per_s = 1};
    struct pp_err err = {0};
    cr_assert_eq(pp_network_check(&good, 4, &err), PP_OK, "%s", err.message);
    static const int64_t bad[] = {0, -1, INT64_MIN, PP_LINK_MAX_BYTES_PER_S + 1, INT64_MAX};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        struct pp_network net = good;
        net.port_bytes_per_s = bad[k];
        cr_assert_eq(pp_network_check(&net, 4, &err), PP_E_RANGE);
        net = good;
        net.nic_bytes_per_s = bad[k];
        cr_assert_eq(pp_network_check(&net, 4, &err), PP_E_RANGE);
    }
    good.port_bytes_per_s = good.nic_bytes_per_s = PP_LINK_MAX_BYTES_PER_S;
    cr_assert_eq(pp_network_check(&good, 4, &err), PP_OK);
    static const int32_t bad_nics[][4] = {{0, 0, 2, 4}, {-1, 0, 2, 2}, {0, 2, 2, 2}, {3, 3, 3, 3}};
    for (size_t k = 0; k < sizeof bad_nics / sizeof bad_nics[0]; k++) {
        memcpy(nic, bad_nics[k], sizeof nic);
        cr_assert_eq(pp_network_check(&good, 4, &err), PP_E_RANGE, "%zu", k);
    }
}

Test(limits_engine, time_of_a_transfer_alone) {
    cr_assert_eq(pp_network_alone_ns(0, 1), 0);
    cr_assert_eq(pp_network_alone_ns(1, PP_LINK_MAX_BYTES_PER_S), 1);
    cr_assert_eq(pp_network_alone_ns(1, 1000000000), 1);
    cr_assert_eq(pp_network_alone_ns(1, 999999999), 2);
    cr_assert_eq(pp_network_alone_ns(3, 2000000000), 2);
    cr_assert_eq(pp_network_alone_ns(9223372036, 1), 9223372036000000000);
    cr_assert_eq(pp_network_alone_ns(9223372037, 1), INT64_MAX);
    cr_assert_eq(pp_network_alone_ns(PP_TRANSFER_MAX_BYTES, 1), INT64_MAX);
    cr_assert_eq(pp_network_alone_ns(PP_TRANSFER_MAX_BYTES, PP_LINK_MAX_BYTES_PER_S), 500000000);
}

/* ---- schedules that are none for it ---- */

Test(limits_engine, compute_only_schedules_and_deadlocks_are_refused) {
    struct pp_sched *order = make_schedule("1F1B", 2, 1, 2);
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    struct pp_engine *e = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_engine_create(order, &runtime, &e, NULL, &err), PP_E_ARG);
    cr_assert_null(e);
    cr_assert_not_null(strstr(err.message, "lowered"), "%s", err.message);
    pp_engine_destroy(NULL);
    pp_sched_destroy(order);
}
