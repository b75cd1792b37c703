#include "sim/memory_parts.h"

#include "sim/memory_priv.h"

int64_t pp_memory_parts_sum(const struct pp_memory_parts *parts) {
    int64_t sum = 0;
#define ADD(member, text, words) sum += parts->member;
    PP_MEMORY_PART_LIST(ADD)
#undef ADD
    return sum;
}

static void add_resident(const struct pp_plan *plan, const struct pp_gathered_bytes *gathered,
                         int32_t rank, struct pp_memory_parts *p) {
    for (int32_t s = 0; s < plan->stage_count; s++) {
        if (plan->stage_rank[s] == rank) {
            const struct pp_stage_cost *c = &plan->stage_costs[s];
            int64_t unsharded = gathered == NULL ? 0 : gathered[s].resident;
            p->parameters += c->weight_bytes - unsharded;
            p->unsharded += unsharded;
            p->gradients += c->grad_bytes;
            p->optimizer += c->optimizer_bytes;
            p->p2p += pp_replay_receive_bytes(plan, s);
        }
    }
}

/* The action of the plan's peak in the rank's list; -1 if resident memory is the peak. */
static int32_t peak_action(const struct pp_sched *s, const struct pp_plan *plan, int32_t rank) {
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        if (a->stage == plan->peak_stage[rank] && a->microbatch == plan->peak_microbatch[rank] &&
            a->type == plan->peak_type[rank]) {
            return at;
        }
    }
    return -1;
}

/* What microbatches hold when action `peak` runs. */
static void add_activations(const struct pp_replay *replay, const struct pp_plan *plan,
                            int32_t rank, int32_t peak, struct pp_memory_parts *p) {
    const struct pp_sched *s = replay->sched;
    struct pp_memory_model model = pp_replay_memory(replay);
    int64_t held = 0;
    for (int32_t at = s->rank_begin[rank]; at <= peak; at++) {
        const struct pp_action *a = &s->actions[at];
        struct pp_memory_effect e = pp_memory_effect_of(&model, a);
        int64_t logits = plan->stage_costs[a->stage].logits_bytes;
        held += e.adds - (at < peak ? e.frees : 0);
        p->logits += a->type == PP_F ? logits : 0;
        bool ends = at < peak && (a->type == PP_B || a->type == PP_I);
        p->logits -= ends ? logits : 0;
    }
    p->activations = held - p->logits;
}

static void add_transient(const struct pp_plan *plan, const struct pp_gathered_bytes *gathered,
                          const struct pp_action *a, struct pp_memory_parts *p) {
    const struct pp_stage_cost *c = &plan->stage_costs[a->stage];
    int64_t unsharded = 0;
    if (gathered != NULL) {
        const struct pp_gathered_bytes *g = &gathered[a->stage];
        unsharded = a->type == PP_F ? g->f_transient : g->b_transient;
    }
    p->unsharded += unsharded;
    p->transient = (a->type == PP_F ? c->f_transient_bytes : c->b_transient_bytes) - unsharded;
}

void pp_plan_memory_parts(const struct pp_replay *replay, const struct pp_plan *plan,
                          const struct pp_gathered_bytes *gathered, int32_t rank,
                          struct pp_memory_parts *parts) {
    PP_ASSERT(plan->has_costs);
    struct pp_memory_parts p = {0};
    int32_t peak = plan->peak_stage[rank] < 0 ? -1 : peak_action(replay->sched, plan, rank);
    add_resident(plan, gathered, rank, &p);
    if (peak >= 0) {
        add_activations(replay, plan, rank, peak, &p);
        add_transient(plan, gathered, &replay->sched->actions[peak], &p);
    }
    p.reserved = plan->reserved_bytes;
    p.slack = plan->peak_bytes[rank] - pp_memory_parts_sum(&p);
    *parts = p;
}
