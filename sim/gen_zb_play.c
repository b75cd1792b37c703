/* The pipeline of gen_zb.h: what an action does, how many forwards come first, and the W's, which
 * the zero-bubble authors' rule places (Qi et al., arXiv 2401.10241, section 3): as many as fit a
 * gap, and one more where waiting would make this stage the one that waited longest. */
#include "sim/gen_zb.h"

static int64_t *f_end(const struct pp_zb_play *p, int32_t stage, int32_t microbatch) {
    return &p->f_end_ns[(int64_t)stage * p->microbatch_count + microbatch];
}

static int64_t *i_end(const struct pp_zb_play *p, int32_t stage, int32_t microbatch) {
    return &p->i_end_ns[(int64_t)stage * p->microbatch_count + microbatch];
}

int64_t pp_zb_f_ready(const struct pp_zb_play *p, int32_t stage) {
    return stage == 0 ? 0
                      : *f_end(p, stage - 1, p->stages[stage].f_count) + p->model->recv_f_ns[stage];
}

int64_t pp_zb_i_ready(const struct pp_zb_play *p, int32_t stage) {
    return stage == p->stage_count - 1
               ? 0
               : *i_end(p, stage + 1, p->stages[stage].i_count) + p->model->recv_b_ns[stage];
}

static void put(struct pp_zb_play *p, int32_t stage, enum pp_action_type type, int64_t ready_ns,
                int64_t duration_ns) {
    struct pp_zb_stage *s = &p->stages[stage];
    int64_t start = pp_max_i64(s->clock_ns, ready_ns);
    if (s->f_count > 0 || p->variant.counts_fill) {
        s->span_ns += start - s->clock_ns;
        p->worst_span_ns = pp_max_i64(p->worst_span_ns, s->span_ns);
    }
    s->clock_ns = start + duration_ns;
    int32_t at = s->f_count + s->i_count + s->w_count;
    p->order[(int64_t)stage * 3 * p->microbatch_count + at] = (uint8_t)type;
}

static bool has_w(const struct pp_zb_stage *s) {
    return s->w_count < s->i_count;
}

static void put_w(struct pp_zb_play *p, int32_t stage) {
    put(p, stage, PP_W, 0, p->model->w_ns[stage]);
    p->stages[stage].w_count++;
    p->stages[stage].memory -= p->model->w_frees[stage];
}

static void fill_gap(struct pp_zb_play *p, int32_t stage, int64_t until_ns) {
    struct pp_zb_stage *s = &p->stages[stage];
    if (p->variant.holds > 0) {
        return;
    }
    while (has_w(s) && s->clock_ns + p->model->w_ns[stage] <= until_ns) {
        put_w(p, stage);
    }
    int64_t gap = until_ns - s->clock_ns;
    if (has_w(s) && gap > 0 && (p->variant.fills_any_gap || s->span_ns + gap > p->worst_span_ns)) {
        put_w(p, stage);
    }
}

void pp_zb_put_f(struct pp_zb_play *p, int32_t stage) {
    struct pp_zb_stage *s = &p->stages[stage];
    int64_t adds = p->model->adds[stage];
    while (adds > p->limit[stage] - s->memory) {
        PP_ASSERT(has_w(s));
        put_w(p, stage);
    }
    int64_t ready = pp_zb_f_ready(p, stage);
    fill_gap(p, stage, ready);
    put(p, stage, PP_F, ready, p->model->f_ns[stage]);
    *f_end(p, stage, s->f_count++) = s->clock_ns;
    s->memory += adds;
    p->peak = pp_max_i64(p->peak, s->memory);
}

void pp_zb_put_i(struct pp_zb_play *p, int32_t stage) {
    struct pp_zb_stage *s = &p->stages[stage];
    int64_t ready = pp_zb_i_ready(p, stage);
    fill_gap(p, stage, ready);
    put(p, stage, PP_I, ready, p->model->i_ns[stage]);
    *i_end(p, stage, s->i_count++) = s->clock_ns;
    s->memory -= p->model->i_frees[stage];
    while (p->variant.holds > 0 && s->i_count - s->w_count > p->variant.holds * stage) {
        put_w(p, stage);
    }
}

int64_t pp_zb_forced_ns(const struct pp_zb_play *p, int32_t stage) {
    const struct pp_zb_stage *s = &p->stages[stage];
    int64_t excess = p->model->adds[stage] - (p->limit[stage] - s->memory);
    if (excess <= 0) {
        return 0;
    }
    int64_t n = s->i_count - s->w_count;
    int64_t frees = p->model->w_frees[stage];
    if (frees > 0 && pp_div_ceil_i64(excess, frees) < n) {
        n = pp_div_ceil_i64(excess, frees);
    }
    return n * p->model->w_ns[stage];
}

/* ---- leads ---- */

/* Forwards that a stage's memory holds at once. */
static int32_t most_forwards(const struct pp_zb_play *p, int32_t stage) {
    int64_t adds = p->model->adds[stage];
    int64_t most = adds > 0 ? p->limit[stage] / adds : p->microbatch_count;
    return most < p->microbatch_count ? (int32_t)most : p->microbatch_count;
}

/* Ends of the first forwards if nothing else ran, as none of the lead waits for anything else. */
static void play_forwards(struct pp_zb_play *p) {
    int32_t most = 1;
    for (int32_t stage = 0; stage < p->stage_count; stage++) {
        int32_t here = most_forwards(p, stage);
        most = here > most ? here : most;
    }
    for (int32_t stage = 0; stage < p->stage_count; stage++) {
        int64_t clock = 0;
        for (int32_t k = 0; k < most; k++) {
            int64_t ready = stage == 0 ? 0 : *f_end(p, stage - 1, k) + p->model->recv_f_ns[stage];
            clock = pp_max_i64(clock, ready) + p->model->f_ns[stage];
            *f_end(p, stage, k) = clock;
        }
    }
}

/* From the last stage up: the forwards for which there is time while the first gradient climbs. */
static void lead_by_time(struct pp_zb_play *p, bool must_end) {
    play_forwards(p);
    int32_t last = p->stage_count - 1;
    p->stages[last].lead = 1;
    int64_t gradient = *f_end(p, last, 0) + p->model->i_ns[last];
    for (int32_t stage = last - 1; stage >= 0; stage--) {
        int64_t arrival = gradient + p->model->recv_b_ns[stage];
        /* "starts before" as an end: one that starts at the arrival is too late */
        int64_t latest = must_end ? arrival : arrival + p->model->f_ns[stage] - 1;
        int32_t most = most_forwards(p, stage);
        int32_t n = 1;
        while (n < most && *f_end(p, stage, n) <= latest) {
            n++;
        }
        p->stages[stage].lead = n;
        gradient = pp_max_i64(*f_end(p, stage, n - 1), arrival) + p->model->i_ns[stage];
    }
}

/* Falling from stage to stage, so that each has a forward to run while it waits for the next
 * gradient; where a stage has run all there are, the next one may have, too. */
static void make_fall(struct pp_zb_play *p) {
    for (int32_t stage = 1; stage < p->stage_count; stage++) {
        int32_t before = p->stages[stage - 1].lead;
        int32_t most = before == p->microbatch_count || before == 1 ? before : before - 1;
        p->stages[stage].lead = p->stages[stage].lead < most ? p->stages[stage].lead : most;
    }
}

static void lead_by_place(struct pp_zb_play *p, enum pp_zb_lead lead) {
    int32_t most = p->microbatch_count;
    for (int32_t stage = 0; stage < p->stage_count; stage++) {
        int32_t below = p->stage_count - stage;
        int32_t here = most_forwards(p, stage);
        most = here < most ? here : most;
        here = lead == PP_ZB_LEAD_1F1B ? below : lead == PP_ZB_LEAD_DOUBLE ? 2 * below - 1 : most;
        most = here < most ? here : most;
        p->stages[stage].lead = most;
    }
}

static void set_leads(struct pp_zb_play *p, enum pp_zb_lead lead) {
    if (lead == PP_ZB_LEAD_ENDED || lead == PP_ZB_LEAD_STARTED) {
        lead_by_time(p, lead == PP_ZB_LEAD_ENDED);
        make_fall(p);
    } else {
        lead_by_place(p, lead);
    }
}

/* ---- all of it ---- */

static void reset(struct pp_zb_play *p) {
    p->worst_span_ns = p->peak = 0;
    for (int32_t stage = 0; stage < p->stage_count; stage++) {
        int64_t work = p->model->f_ns[stage] + p->model->i_ns[stage] + p->model->w_ns[stage];
        p->stages[stage] = (struct pp_zb_stage){.span_ns = work * p->microbatch_count};
        p->worst_span_ns = pp_max_i64(p->worst_span_ns, p->stages[stage].span_ns);
    }
}

struct pp_zb_result pp_zb_play_variant(struct pp_zb_play *p, struct pp_zb_variant variant) {
    p->variant = variant;
    reset(p);
    set_leads(p, variant.lead);
    if (variant.by_time) {
        pp_zb_play_by_time(p);
    } else {
        pp_zb_play_rounds(p);
    }
    struct pp_zb_result result = {.peak = p->peak};
    for (int32_t stage = 0; stage < p->stage_count; stage++) {
        while (has_w(&p->stages[stage])) {
            put_w(p, stage);
        }
        int64_t end = p->stages[stage].clock_ns;
        int64_t start = *f_end(p, stage, 0) - p->model->f_ns[stage];
        result.makespan_ns = pp_max_i64(result.makespan_ns, end);
        result.span_ns = pp_max_i64(result.span_ns, end - start);
    }
    return result;
}
