/* Where a rank stands, as others see it; and traces of ranks put together. */
#include "exec/rank_priv.h"

static int32_t find_peer(const struct pp_rank *r, int32_t action) {
    switch (r->sched->actions[action].type) {
    case PP_SEND_F:
    case PP_SEND_B:
        return pp_program_receiver(r->config.program, action);
    case PP_RECV_F:
    case PP_RECV_B:
        return r->sched->producer[action];
    default: {
        int32_t exchange = pp_exchange_of(r, action);
        return exchange >= 0 && r->exchanges[exchange].twin < 0 ? r->exchanges[exchange].peer_action
                                                                : -1;
    }
    }
}

struct pp_rank_view pp_rank_view(const struct pp_rank *r) {
    uint64_t stands = atomic_load_explicit(&r->stands, memory_order_acquire);
    struct pp_rank_view view = {.rank = r->config.rank,
                                .action = (int32_t)(stands >> 32) - 1,
                                .waits_for = (int32_t)(stands >> 1 & INT32_MAX) - 1,
                                .peer_rank = -1,
                                .peer_action = -1,
                                .since_ns =
                                    atomic_load_explicit(&r->since_ns, memory_order_relaxed),
                                .running = stands & 1};
    if (view.waits_for >= 0) {
        view.peer_action = find_peer(r, view.waits_for);
        view.peer_rank = view.peer_action < 0 ? -1 : pp_rank_of(r->sched, view.peer_action);
    }
    return view;
}

void pp_trace_settle(struct pp_trace *trace) {
    const struct pp_sched *s = trace->sched;
    for (int32_t at = 0; at < s->action_count; at++) {
        if (s->actions[at].type != PP_RECV_F && s->actions[at].type != PP_RECV_B) {
            continue;
        }
        int32_t send = s->producer[at];
        int64_t both_ns = pp_max_i64(trace->queue_ns[at], trace->queue_ns[send]);
        trace->start_ns[send] = pp_min_i64(both_ns, trace->end_ns[send]);
        trace->start_ns[at] =
            pp_min_i64(pp_max_i64(trace->start_ns[at], both_ns), trace->end_ns[at]);
    }
}
