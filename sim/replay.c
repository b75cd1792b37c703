#include "sim/replay.h"

#include <stdlib.h>

enum column {
    COL_F,
    COL_I,
    COL_W,
    COL_B,
    COL_RECV_F,
    COL_RECV_B,
    COL_ADDS,
    COL_I_FREES,
    COL_W_FREES,
    COL_F_TRANSIENT,
    COL_B_TRANSIENT,
    COLUMN_COUNT
};

static int64_t *column(const struct pp_replay *r, enum column c) {
    return r->columns + (int64_t)c * r->sched->stage_count;
}

static int64_t *base_column(const struct pp_replay *r) {
    return column(r, COLUMN_COUNT);
}

enum pp_status pp_replay_init(struct pp_replay *replay, const struct pp_sched *sched,
                              struct pp_err *err) {
    struct pp_replay r = {.sched = sched};
    size_t cells = (size_t)COLUMN_COUNT * (size_t)sched->stage_count + (size_t)sched->rank_count;
    r.columns = calloc(cells, sizeof *r.columns);
    enum pp_status status = PP_OK;
    if (r.columns == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for %d stages", sched->stage_count);
    }
    if (status == PP_OK) {
        status = pp_trace_init(&r.trace, sched, err);
    }
    if (status == PP_OK) {
        status = pp_eval_create(sched, &r.eval, NULL, err);
    }
    if (status != PP_OK) {
        pp_replay_deinit(&r);
        return status;
    }
    *replay = r;
    return PP_OK;
}

void pp_replay_deinit(struct pp_replay *replay) {
    pp_eval_destroy(replay->eval);
    pp_trace_deinit(&replay->trace);
    free(replay->columns);
    *replay = (struct pp_replay){0};
}

static void fill_columns(const struct pp_replay *r, const struct pp_plan *plan) {
    for (int32_t s = 0; s < plan->stage_count; s++) {
        const struct pp_stage_cost *c = &plan->stage_costs[s];
        int64_t backward_ns = c->i_ns + c->w_ns;
        int64_t kept_bytes = s == 0 ? c->activation_bytes : c->weight_grad_bytes;
        column(r, COL_F)[s] = c->f_ns;
        column(r, COL_I)[s] = s == 0 ? 0 : c->i_ns;
        column(r, COL_W)[s] = s == 0 ? backward_ns : c->w_ns;
        column(r, COL_B)[s] = backward_ns;
        column(r, COL_RECV_F)[s] = c->recv_ns;
        column(r, COL_RECV_B)[s] = c->recv_grad_ns;
        column(r, COL_ADDS)[s] = c->activation_bytes;
        column(r, COL_I_FREES)[s] = c->activation_bytes - kept_bytes;
        column(r, COL_W_FREES)[s] = kept_bytes;
        column(r, COL_F_TRANSIENT)[s] = c->f_transient_bytes;
        column(r, COL_B_TRANSIENT)[s] = c->b_transient_bytes;
    }
}

static void fill_unit_columns(const struct pp_replay *r, const struct pp_plan *plan) {
    for (int32_t s = 0; s < plan->stage_count; s++) {
        int64_t part_ns = pp_div_round_i64(1000, plan->stages_per_rank);
        column(r, COL_F)[s] = column(r, COL_I)[s] = column(r, COL_W)[s] = part_ns;
        column(r, COL_B)[s] = pp_div_round_i64(2000, plan->stages_per_rank);
    }
}

int64_t pp_replay_receive_bytes(const struct pp_plan *plan, int32_t s) {
    const int32_t *rank = plan->stage_rank;
    int64_t tensors =
        (s > 0 && rank[s - 1] != rank[s]) + (s < plan->stage_count - 1 && rank[s + 1] != rank[s]);
    return tensors * plan->microbatch_count * plan->stage_costs[s].p2p_bytes;
}

static void fill_base(const struct pp_replay *r, const struct pp_plan *plan) {
    int64_t *base = base_column(r);
    for (int32_t rank = 0; rank < r->sched->rank_count; rank++) {
        base[rank] = 0;
    }
    for (int32_t s = 0; s < plan->stage_count; s++) {
        const struct pp_stage_cost *c = &plan->stage_costs[s];
        base[plan->stage_rank[s]] +=
            c->weight_bytes + c->grad_bytes + c->optimizer_bytes + pp_replay_receive_bytes(plan, s);
    }
}

struct pp_costs pp_replay_costs(struct pp_replay *replay, const struct pp_plan *plan) {
    PP_ASSERT(plan->stage_count == replay->sched->stage_count);
    if (plan->stage_costs != NULL) {
        fill_columns(replay, plan);
        fill_base(replay, plan);
    } else {
        fill_unit_columns(replay, plan);
    }
    return (struct pp_costs){
        .f_ns = column(replay, COL_F),
        .i_ns = column(replay, COL_I),
        .w_ns = column(replay, COL_W),
        .b_ns = column(replay, COL_B),
        .recv_f_ns = column(replay, COL_RECV_F),
        .recv_b_ns = column(replay, COL_RECV_B),
    };
}

enum pp_status pp_replay_run(struct pp_replay *replay, const struct pp_plan *plan,
                             struct pp_err *err) {
    struct pp_costs costs = pp_replay_costs(replay, plan);
    return pp_eval_run(replay->eval, &costs, &replay->trace, err);
}

struct pp_memory_model pp_replay_memory(const struct pp_replay *replay) {
    return (struct pp_memory_model){
        .f_adds = column(replay, COL_ADDS),
        .i_frees = column(replay, COL_I_FREES),
        .w_frees = column(replay, COL_W_FREES),
        .f_transient = column(replay, COL_F_TRANSIENT),
        .b_transient = column(replay, COL_B_TRANSIENT),
        .base = base_column(replay),
    };
}

struct pp_cause_inputs pp_replay_causes(const struct pp_replay *replay) {
    return (struct pp_cause_inputs){.binding = pp_eval_binding,
                                    .context = replay->eval,
                                    .recv_f_ns = column(replay, COL_RECV_F)};
}

enum pp_status pp_replay_schedule(const struct pp_plan *plan, const struct pp_sched *csv,
                                  const struct pp_sched **sched_p, struct pp_sched **own_p,
                                  struct pp_err *err) {
    *own_p = NULL;
    if (plan->config.uses_csv) {
        PP_ASSERT(csv != NULL);
        *sched_p = csv;
        return PP_OK;
    }
    const struct pp_schedule_info *info = plan->config.schedule;
    if (info == NULL) { /* no pipeline: one stage, any order that takes one microbatch */
        PP_TRY(pp_schedule_find("GPipe", &info, err));
    }
    struct pp_gen_config gen = {.rank_count = plan->config.pp_size,
                                .stages_per_rank = plan->stages_per_rank,
                                .microbatch_count = plan->microbatch_count};
    PP_TRY(pp_schedule_generate(info, &gen, own_p, err));
    *sched_p = *own_p;
    return PP_OK;
}
