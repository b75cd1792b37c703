#include "reports/cli/lane_run.h"

#include <stdlib.h>

enum column {
    COLUMN_RECV_F,
    COLUMN_RECV_B,
    COLUMN_MESSAGE,
    COLUMN_UNSHARD,
    COLUMN_UNSHARD_BYTES,
    COLUMN_REDUCE,
    COLUMN_REDUCE_BYTES,
    COLUMN_COUNT
};

static int64_t *column_of(const struct pp_lane_run *run, enum column column) {
    return run->columns + (size_t)column * (size_t)run->lowered->stage_count;
}

/* Ranks fill nodes in order, and on a node NICs in order. A NIC is named by its first rank. */
static void place_ranks(struct pp_lane_run *run, const struct pp_lane_setup *setup) {
    int32_t count = run->lowered->rank_count;
    int32_t *node = run->places;
    int32_t *nic = run->places + count;
    int32_t a_node = setup->ranks_per_node == 0 ? count : setup->ranks_per_node;
    for (int32_t rank = 0; rank < count; rank++) {
        int32_t on_node = rank % a_node;
        node[rank] = rank / a_node;
        nic[rank] = rank - on_node % setup->ranks_per_nic;
    }
    run->net.node = node;
    run->net.nic = nic;
}

/* Latency of the message from the stage `other` to `stage`: --t-p2p, else the machine's. */
static int64_t latency_of(const struct pp_lane_run *run, const struct pp_lane_setup *setup,
                          int32_t stage, int32_t other) {
    if (other < 0) {
        return 0;
    }
    const int32_t *rank = run->lowered->stage_rank;
    bool same_node = run->net.node[rank[stage]] == run->net.node[rank[other]];
    return same_node ? setup->intra_latency_ns : setup->inter_latency_ns;
}

static void fill_columns(struct pp_lane_run *run, const struct pp_lane_options *o,
                         const struct pp_lane_setup *setup, const struct pp_stage_costs *costs,
                         bool has_p2p_time) {
    const struct pp_sched *s = run->lowered;
    bool machine = setup->has_latency && !has_p2p_time;
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        int64_t v = pp_sched_shares_of(s, s->stage_rank[stage]);
        column_of(run, COLUMN_RECV_F)[stage] =
            machine ? latency_of(run, setup, stage, pp_sched_stage_before(s, stage))
                    : costs->costs.recv_f_ns[stage];
        column_of(run, COLUMN_RECV_B)[stage] =
            machine ? latency_of(run, setup, stage, pp_sched_stage_after(s, stage))
                    : costs->costs.recv_b_ns[stage];
        column_of(run, COLUMN_MESSAGE)[stage] = o->p2p_bytes;
        column_of(run, COLUMN_UNSHARD)[stage] = pp_div_round_i64(o->unshard_ns, v);
        column_of(run, COLUMN_UNSHARD_BYTES)[stage] = pp_div_round_i64(o->unshard_bytes, v);
        column_of(run, COLUMN_REDUCE)[stage] = pp_div_round_i64(o->reduce_ns, v);
        column_of(run, COLUMN_REDUCE_BYTES)[stage] = pp_div_round_i64(o->reduce_bytes, v);
    }
    run->costs = (struct pp_engine_costs){
        .compute = costs->costs,
        .message_f_bytes = column_of(run, COLUMN_MESSAGE),
        .message_b_bytes = column_of(run, COLUMN_MESSAGE),
        .unshard_ns = column_of(run, COLUMN_UNSHARD),
        .unshard_bytes = column_of(run, COLUMN_UNSHARD_BYTES),
        .reduce_ns = column_of(run, COLUMN_REDUCE),
        .reduce_bytes = column_of(run, COLUMN_REDUCE_BYTES),
    };
    run->costs.compute.recv_f_ns = column_of(run, COLUMN_RECV_F);
    run->costs.compute.recv_b_ns = column_of(run, COLUMN_RECV_B);
}

enum pp_status pp_lane_run_init(struct pp_lane_run *run, const struct pp_lane_options *o,
                                const struct pp_lane_setup *setup, const struct pp_sched *s,
                                const struct pp_stage_costs *costs, bool has_p2p_time,
                                struct pp_deadlock *deadlock_p, struct pp_err *err) {
    *run = (struct pp_lane_run){.has_net = setup->has_links};
    PP_TRY(pp_sched_lower(s, &setup->lower, &run->lowered, err));
    run->columns = calloc((size_t)s->stage_count * COLUMN_COUNT, sizeof *run->columns);
    run->places = calloc((size_t)s->rank_count * 2, sizeof *run->places);
    if (run->columns == NULL || run->places == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the links of %d ranks", s->rank_count);
    }
    run->net = (struct pp_network){
        .port_bytes_per_s = setup->port_bytes_per_s,
        .nic_bytes_per_s = setup->nic_bytes_per_s,
        .collectives_use_port = o->collectives_in_node,
        .shared = !o->exclusive_links,
    };
    place_ranks(run, setup);
    fill_columns(run, o, setup, costs, has_p2p_time);
    return pp_engine_create(run->lowered, &setup->runtime, &run->engine, deadlock_p, err);
}

void pp_lane_run_deinit(struct pp_lane_run *run) {
    pp_engine_destroy(run->engine);
    pp_sched_destroy(run->lowered);
    free(run->places);
    free(run->columns);
}

enum pp_status pp_lane_run(struct pp_lane_run *run, struct pp_trace *trace, struct pp_err *err) {
    return pp_engine_run(run->engine, &run->costs, run->has_net ? &run->net : NULL, trace, err);
}
