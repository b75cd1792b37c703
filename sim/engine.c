#include "sim/engine_priv.h"

#include <stdlib.h>

const char *pp_lane_text(enum pp_lane lane) {
    static const char *const texts[] = {
#define PP_LANE_TEXT(name, text) text,
        PP_LANE_LIST(PP_LANE_TEXT)
#undef PP_LANE_TEXT
    };
    return lane < PP_LANE_COUNT ? texts[lane] : "?";
}

enum pp_lane pp_lane_of(enum pp_action_type type) {
    if (type <= PP_B) {
        return PP_LANE_COMPUTE;
    }
    if (pp_engine_is_transfer(type)) {
        return pp_engine_is_send(type) ? PP_LANE_SEND : PP_LANE_RECV;
    }
    return type >= PP_OFFLOAD ? PP_LANE_HOST : PP_LANE_COLLECTIVE;
}

const char *pp_runtime_text(enum pp_runtime_kind kind) {
    static const char *const texts[] = {
#define PP_RUNTIME_TEXT(name, text) text,
        PP_RUNTIME_LIST(PP_RUNTIME_TEXT)
#undef PP_RUNTIME_TEXT
    };
    return kind < PP_RUNTIME_COUNT ? texts[kind] : "?";
}

struct pp_runtime pp_runtime_of(enum pp_runtime_kind kind) {
    switch (kind) {
    case PP_RUNTIME_TORCH:
        return (struct pp_runtime){.comms = {.channels = PP_CHANNELS_PAIR}, .reduce_blocks = true};
    case PP_RUNTIME_MEGATRON: /* one group call a batch: its operations do not wait for each other
                               */
        return (struct pp_runtime){.comms = {.channels = PP_CHANNELS_DIRECTED}, .batched = true};
    case PP_RUNTIME_OURS:
    case PP_RUNTIME_COUNT:
        break;
    }
    return (struct pp_runtime){.comms = {.channels = PP_CHANNELS_DIRECTED}};
}

/* ---- life ---- */

static bool allocate(struct pp_engine *e) {
    const struct pp_sched *s = e->s;
    size_t actions = (size_t)s->action_count;
    size_t stages = (size_t)s->stage_count;
    size_t ranks = (size_t)s->rank_count;
    size_t queues = 4 * stages + ranks; /* two links a border of stages, two queues a link */
    bool has_places = e->runtime.comms.buffer_count > 0;
    e->entries = malloc((actions + 1) * sizeof *e->entries);
    e->prev = malloc((has_places ? 3 : 2) * (actions + 1) * sizeof *e->prev);
    e->queue_first = malloc((2 * queues + ranks) * sizeof *e->queue_first);
    e->messages = malloc(2 * stages * sizeof *e->messages);
    e->collectives = calloc(2 * stages, sizeof *e->collectives);
    e->type_count = calloc(stages, sizeof *e->type_count);
    e->pair_count = calloc(stages, sizeof *e->pair_count);
    e->lanes = malloc(ranks * sizeof *e->lanes);
    e->compute_ns = malloc(stages * PP_COMPUTE_TYPE_COUNT * sizeof *e->compute_ns);
    e->gathered_ns = malloc((stages + queues) * sizeof *e->gathered_ns);
    if (e->entries == NULL || e->prev == NULL || e->queue_first == NULL || e->messages == NULL ||
        e->collectives == NULL || e->type_count == NULL || e->pair_count == NULL ||
        e->lanes == NULL || e->compute_ns == NULL || e->gathered_ns == NULL) {
        return false;
    }
    e->gate = e->prev + actions;
    e->room = has_places ? e->gate + actions : NULL;
    e->queue_rank = e->queue_first + queues;
    e->collective_first = e->queue_rank + queues;
    e->free_ns = e->gathered_ns + stages;
    return true;
}

enum pp_status pp_engine_create(const struct pp_sched *lowered, const struct pp_runtime *runtime,
                                struct pp_engine **engine_p, struct pp_deadlock *deadlock_p,
                                struct pp_err *err) {
    PP_ASSERT(lowered->sealed && runtime->comms.buffer_count >= 0 &&
              runtime->comms.channels < PP_CHANNELS_COUNT);
    if (!lowered->lowered) {
        return pp_fail(err, PP_E_ARG,
                       "the engine needs a lowered schedule, got a compute-only one");
    }
    struct pp_engine *e = calloc(1, sizeof *e);
    enum pp_status status = PP_OK;
    if (e != NULL) {
        e->s = lowered;
        e->runtime = *runtime;
    }
    if (e == NULL || !allocate(e)) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for an engine of %d actions",
                         lowered->action_count);
    } else {
        status = pp_engine_make_graph(e, err);
        status = status == PP_OK ? pp_engine_find_order(e, deadlock_p, err) : status;
    }
    if (status == PP_OK) {
        e->events = pp_engine_events_create(e);
        status = e->events != NULL
                     ? PP_OK
                     : pp_fail(err, PP_E_NOMEM, "out of memory for an engine of %d actions",
                               lowered->action_count);
    }
    if (status != PP_OK) {
        pp_engine_destroy(e);
        return status;
    }
    *engine_p = e;
    return PP_OK;
}

void pp_engine_destroy(struct pp_engine *e) {
    if (e != NULL) {
        pp_engine_events_destroy(e->events);
        free(e->steps);
        free(e->entries);
        free(e->prev); /* gate and room are in its block, likewise below */
        free(e->queue_first);
        free(e->messages);
        free(e->collectives);
        free(e->type_count);
        free(e->pair_count);
        free(e->lanes);
        free(e->compute_ns);
        free(e->gathered_ns);
        free(e);
    }
}

/* ---- the costs of a run ---- */

static enum pp_status check_range(const struct pp_engine_costs *c, int32_t stage,
                                  struct pp_err *err) {
    const struct {
        const int64_t *of;
        int64_t most;
        const char *what, *unit;
    } columns[] = {{c->message_f_bytes, PP_TRANSFER_MAX_BYTES, "forward message", "bytes"},
                   {c->message_b_bytes, PP_TRANSFER_MAX_BYTES, "backward message", "bytes"},
                   {c->unshard_bytes, PP_TRANSFER_MAX_BYTES, "UNSHARD", "bytes"},
                   {c->reduce_bytes, PP_TRANSFER_MAX_BYTES, "REDUCE_GRAD", "bytes"},
                   {c->unshard_ns, PP_COST_MAX_NS, "UNSHARD", "ns"},
                   {c->reduce_ns, PP_COST_MAX_NS, "REDUCE_GRAD", "ns"}};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        if (columns[i].of != NULL &&
            (columns[i].of[stage] < 0 || columns[i].of[stage] > columns[i].most)) {
            return pp_fail(err, PP_E_RANGE, "%s of stage %d: got %lld %s, need 0 to %lld",
                           columns[i].what, stage, (long long)columns[i].of[stage], columns[i].unit,
                           (long long)columns[i].most);
        }
    }
    return PP_OK;
}

static enum pp_status check_costs(const struct pp_engine *e, const struct pp_engine_costs *costs,
                                  const struct pp_network *net, struct pp_err *err) {
    PP_TRY(pp_costs_check(&costs->compute, e->s, err));
    for (int32_t stage = 0; stage < e->s->stage_count; stage++) {
        PP_TRY(check_range(costs, stage, err));
    }
    return net == NULL ? PP_OK : pp_network_check(net, e->s->rank_count, err);
}

static int64_t figure(const int64_t *of, int32_t stage) {
    return of == NULL ? 0 : of[stage];
}

static int64_t alone_ns(const struct pp_engine *e, const struct pp_network *net, int64_t bytes,
                        const struct pp_route *route) {
    if (net == NULL || bytes == 0) {
        return 0;
    }
    int32_t ranks = e->s->rank_count;
    return pp_network_alone_ns(bytes, pp_min_i64(pp_network_bytes_per_s(net, ranks, route->out),
                                                 pp_network_bytes_per_s(net, ranks, route->in)));
}

static void fill_transfers(struct pp_engine *e, const struct pp_network *net) {
    const struct pp_engine_costs *c = e->costs;
    for (int32_t i = 0; i < 2 * e->s->stage_count; i++) {
        int32_t stage = i / 2;
        bool is_first = i % 2 == 0; /* F, UNSHARD */
        struct pp_engine_message *m = &e->messages[i];
        if (m->from >= 0) {
            m->route =
                net == NULL ? (struct pp_route){-1, -1} : pp_network_message(net, m->from, m->to);
            m->latency_ns = pp_costs_transfer_ns(&c->compute, e->s, is_first, stage);
            m->bytes = figure(is_first ? c->message_f_bytes : c->message_b_bytes, stage);
            m->alone_ns = alone_ns(e, net, m->bytes, &m->route);
        }
        struct pp_engine_collective *of = &e->collectives[i];
        of->route = net == NULL ? (struct pp_route){-1, -1}
                                : pp_network_collective(net, e->s->stage_rank[stage]);
        of->bytes = figure(is_first ? c->unshard_bytes : c->reduce_bytes, stage);
        of->alone_ns = alone_ns(e, net, of->bytes, &of->route);
        of->fixed_ns = figure(is_first ? c->unshard_ns : c->reduce_ns, stage);
    }
}

static void fill_compute(struct pp_engine *e) {
    const struct pp_costs *c = &e->costs->compute;
    const int64_t *durations[PP_COMPUTE_TYPE_COUNT] = {
        [PP_F] = c->f_ns, [PP_I] = c->i_ns, [PP_W] = c->w_ns, [PP_B] = c->b_ns};
    for (int32_t stage = 0; stage < e->s->stage_count; stage++) {
        for (int32_t type = 0; type < PP_COMPUTE_TYPE_COUNT; type++) {
            e->compute_ns[stage * PP_COMPUTE_TYPE_COUNT + type] = durations[type][stage];
        }
    }
}

/* sum + count * ns, or INT64_MAX. */
static int64_t add_all(int64_t sum, int64_t count, int64_t ns) {
    int64_t all;
    return pp_mul_i64(count, ns, &all) && pp_add_i64(sum, all, &sum) ? sum : INT64_MAX;
}

/* All durations of a stage: what its rank computes, receives, gathers, reduces and offloads. */
static int64_t stage_ns(const struct pp_engine *e, int32_t stage, int64_t sum) {
    const int32_t *count = e->type_count[stage];
    const int32_t *in_pair = e->pair_count[stage];
    for (int32_t type = 0; type < PP_COMPUTE_TYPE_COUNT; type++) {
        int32_t parts = e->ran_pairs ? 0 : in_pair[type];
        sum =
            add_all(sum, count[type] + parts, e->compute_ns[stage * PP_COMPUTE_TYPE_COUNT + type]);
    }
    if (e->ran_pairs) {
        sum = add_all(sum, in_pair[PP_COMPUTE_TYPE_COUNT], e->costs->compute.pair_ns[stage]);
    }
    for (int32_t backward = 0; backward < 2; backward++) {
        const struct pp_engine_message *m = &e->messages[2 * stage + backward];
        const struct pp_engine_collective *c = &e->collectives[2 * stage + backward];
        if (m->from >= 0) {
            int32_t messages = count[backward == 0 ? PP_RECV_F : PP_RECV_B];
            sum = add_all(add_all(sum, messages, m->alone_ns), messages, m->latency_ns);
        }
        int32_t collectives = count[backward == 0 ? PP_UNSHARD : PP_REDUCE_GRAD];
        sum = add_all(add_all(sum, collectives, c->alone_ns), collectives, c->fixed_ns);
    }
    return add_all(sum, (int64_t)count[PP_OFFLOAD] + count[PP_RELOAD],
                   figure(e->costs->compute.offload_ns, stage));
}

static enum pp_status prepare(struct pp_engine *e, const struct pp_engine_costs *costs,
                              const struct pp_network *net, struct pp_err *err) {
    PP_TRY(check_costs(e, costs, net, err));
    e->costs = costs;
    e->ran_pairs = e->has_pairs && costs->compute.pair_ns != NULL;
    fill_transfers(e, net);
    fill_compute(e);
    int64_t sum = 0;
    for (int32_t stage = 0; stage < e->s->stage_count && sum <= INT64_MAX / 4; stage++) {
        sum = stage_ns(e, stage, sum);
    }
    if (sum > INT64_MAX / 4) {
        return pp_fail(err, PP_E_RANGE,
                       "all durations together are more than %lld ns: the clock has no room for "
                       "them",
                       (long long)(INT64_MAX / 4));
    }
    return PP_OK;
}

static bool moves_bytes(const struct pp_engine *e) {
    for (int32_t i = 0; i < 2 * e->s->stage_count; i++) {
        if ((e->messages[i].from >= 0 && e->messages[i].alone_ns > 0) ||
            e->collectives[i].alone_ns > 0) {
            return true;
        }
    }
    return false;
}

enum pp_status pp_engine_run(struct pp_engine *e, const struct pp_engine_costs *costs,
                             const struct pp_network *net, struct pp_trace *trace,
                             struct pp_err *err) {
    PP_ASSERT(trace->sched == e->s);
    PP_TRY(prepare(e, costs, net, err));
    trace->end_ns[e->s->action_count] = 0;
    if (net != NULL && net->shared && moves_bytes(e)) {
        pp_engine_play(e, net, trace->start_ns, trace->end_ns, NULL);
    } else {
        pp_engine_sweep(e, trace->start_ns, trace->end_ns);
    }
    return PP_OK;
}

enum pp_status pp_engine_run_events(struct pp_engine *e, const struct pp_engine_costs *costs,
                                    const struct pp_network *net, struct pp_trace *trace,
                                    int64_t *event_count_p, struct pp_err *err) {
    PP_ASSERT(trace->sched == e->s);
    PP_TRY(prepare(e, costs, net, err));
    trace->end_ns[e->s->action_count] = 0;
    bool shared = net != NULL && net->shared && moves_bytes(e);
    pp_engine_play(e, shared ? net : NULL, trace->start_ns, trace->end_ns, event_count_p);
    return PP_OK;
}
