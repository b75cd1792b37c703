/* Non-delay list scheduling: of all stages, the F or I that can start first comes next. Where
 * memory holds fewer microbatches than there are stages, a fixed turn of forwards and backwards
 * makes stages wait for inputs while gradients wait for them; this does not. Never stuck: the last
 * stage that holds a microbatch can run its I, or the one after it, holding none, the F. */
#include "sim/gen_tournament.h"
#include "sim/gen_zb.h"

static const int64_t NEVER = INT64_MAX;

struct next {
    enum pp_action_type type;
    int64_t start_ns; /* NEVER: nothing can start before others have run */
};

static int64_t next_f(const struct pp_zb_play *p, int32_t stage) {
    const struct pp_zb_stage *s = &p->stages[stage];
    bool has_input = stage == 0 ? s->f_count < p->microbatch_count : s->f_count < s[-1].f_count;
    if (!has_input || s->f_count - s->i_count == s->lead) {
        return NEVER;
    }
    return pp_max_i64(s->clock_ns + pp_zb_forced_ns(p, stage), pp_zb_f_ready(p, stage));
}

static int64_t next_i(const struct pp_zb_play *p, int32_t stage) {
    const struct pp_zb_stage *s = &p->stages[stage];
    bool has_gradient = stage == p->stage_count - 1 || s->i_count < s[1].i_count;
    if (s->i_count == s->f_count || !has_gradient) {
        return NEVER;
    }
    return pp_max_i64(s->clock_ns, pp_zb_i_ready(p, stage));
}

/* The earlier one; with `prefers_gradients` an I that the F would hold up, where this stage can
 * afford to wait for it. */
static struct next next_of(const struct pp_zb_play *p, int32_t stage) {
    const struct pp_zb_stage *s = &p->stages[stage];
    int64_t f = next_f(p, stage);
    int64_t i = next_i(p, stage);
    bool waits = p->variant.prefers_gradients && i != NEVER && f != NEVER &&
                 i < f + p->model->f_ns[stage] && i - s->clock_ns <= p->worst_span_ns - s->span_ns;
    if (i <= f || waits) {
        return (struct next){.type = PP_I, .start_ns = i};
    }
    return (struct next){.type = PP_F, .start_ns = f};
}

static void update(const struct pp_zb_play *p, const struct pp_tournament *t, int32_t stage) {
    if (stage >= 0 && stage < p->stage_count) {
        pp_tournament_set(t, stage, next_of(p, stage).start_ns);
    }
}

void pp_zb_play_by_time(struct pp_zb_play *p) {
    struct pp_tournament t = {.start_ns = p->scratch, .winner = p->winner, .count = p->stage_count};
    for (int32_t stage = 0; stage < p->stage_count; stage++) {
        t.start_ns[stage] = next_of(p, stage).start_ns;
    }
    pp_tournament_begin(&t);
    int64_t action_count = (int64_t)2 * p->stage_count * p->microbatch_count;
    for (int64_t i = 0; i < action_count; i++) {
        int32_t stage = pp_tournament_first(&t);
        struct next next = next_of(p, stage);
        PP_ASSERT(next.start_ns != NEVER);
        if (next.type == PP_F) {
            pp_zb_put_f(p, stage);
        } else {
            pp_zb_put_i(p, stage);
        }
        update(p, &t, stage - 1);
        update(p, &t, stage);
        update(p, &t, stage + 1);
    }
}
