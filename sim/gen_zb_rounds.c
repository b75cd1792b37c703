/* The zero-bubble authors' heuristic (Qi et al., arXiv 2401.10241, section 3): the lead, then in
 * turn a forward and a backward of every stage. */
#include "sim/gen_zb.h"

/* Would an F now hold up the next I, and can this stage afford to wait for that? Only one that is
 * two ahead of the next stage has a forward to put off. */
static bool puts_off(const struct pp_zb_play *p, int32_t stage) {
    const struct pp_zb_stage *s = &p->stages[stage];
    if (stage == p->stage_count - 1 || s->f_count < s[1].f_count + 2) {
        return false;
    }
    const struct pp_gen_model *m = p->model;
    int64_t end = s->clock_ns + pp_zb_forced_ns(p, stage) + m->f_ns[stage];
    int64_t gradient =
        s[1].clock_ns + m->f_ns[stage + 1] + m->i_ns[stage + 1] + m->recv_b_ns[stage];
    return end > gradient && gradient - s->clock_ns <= p->worst_span_ns - s->span_ns;
}

/* wants[stage] = 0: the stage puts its F off. */
static void decide(const struct pp_zb_play *p, int64_t *wants) {
    for (int32_t stage = p->stage_count - 1; stage >= 0; stage--) {
        bool follows = p->variant.spreads && stage + 1 < p->stage_count && !wants[stage + 1];
        wants[stage] = !p->variant.prefers_gradients || !(follows || puts_off(p, stage));
    }
}

/* Each stage one F, except those that put it off, as long as the next I does not need it. */
static void forward_round(struct pp_zb_play *p) {
    int64_t *wants = p->scratch;
    decide(p, wants);
    for (int32_t stage = 0; stage < p->stage_count; stage++) {
        const struct pp_zb_stage *s = &p->stages[stage];
        bool has_input = stage == 0 ? s->f_count < p->microbatch_count : s->f_count < s[-1].f_count;
        if (has_input && (wants[stage] || s->f_count == s->i_count)) {
            pp_zb_put_f(p, stage);
        }
    }
}

static void backward_round(struct pp_zb_play *p) {
    for (int32_t stage = p->stage_count - 1; stage >= 0; stage--) {
        pp_zb_put_i(p, stage);
    }
}

void pp_zb_play_rounds(struct pp_zb_play *p) {
    for (int32_t stage = 0; stage < p->stage_count; stage++) {
        while (p->stages[stage].f_count < p->stages[stage].lead) {
            pp_zb_put_f(p, stage);
        }
    }
    backward_round(p);
    for (int32_t i = 1; i < p->microbatch_count; i++) {
        forward_round(p);
        backward_round(p);
    }
}
