/* One sample of durations and transfers. Factors of ranks, stages and microbatches are drawn once a
 * sample, into tables that fit a cache; what is left an action is one or two draws of its own. */
#include "sim/vary_draw.h"

#include "sim/vary_normal.h"

#include <stdlib.h>

enum column { COLUMN_OFFLOAD = PP_B + 1, COLUMN_PAIR, COLUMN_COUNT };

/* What a draw is about. Part of its counter, never to be renumbered: draws would change. */
enum about {
    ABOUT_RANK,
    ABOUT_STAGE,
    ABOUT_MICROBATCH,
    ABOUT_ACTION,
    ABOUT_TRANSFER,
};

/* Products are held below this. What exceeds it is refused in the end: no factor but 0 is below
 * 2^-20, so one that follows cannot bring it down to PP_COST_MAX_NS. */
#define MOST_NS ((int64_t)1 << 62)

static uint64_t key_of(const struct pp_vary *vary, int32_t sample) {
    return pp_vary_bits(pp_vary_mix(vary->seed), (uint64_t)sample);
}

/* Ranks and microbatches of a flush stand in the place of the stage or of the microbatch. */
static uint64_t counter_of(enum about about, uint64_t type, int32_t stage, int32_t microbatch) {
    return (uint64_t)about << 45 | type << 41 | (uint64_t)stage << 21 | (uint64_t)microbatch;
}

static uint64_t action_counter(enum about about, const struct pp_action *a) {
    return counter_of(about, a->type, a->stage, a->microbatch);
}

/* 1 + sd * z, from 0 on. Without a branch on the sign: half of them would be mispredicted. */
static int64_t jitter(int64_t sd, uint64_t bits) {
    const int64_t half = (int64_t)1 << (PP_VARY_Z_SHIFT - 1);
    int64_t part = (sd * pp_vary_normal(bits) + half) >> PP_VARY_Z_SHIFT;
    int64_t minus = -(int64_t)(bits >> 63); /* 0 or -1: all bits */
    return pp_max_i64(0, PP_VARY_ONE + ((part ^ minus) - minus));
}

/* By the bits that a normal draw leaves. */
static bool happens(int64_t chance, uint64_t bits) {
    return (int64_t)(bits % ((uint64_t)1 << PP_VARY_SPARE_BITS)) < chance;
}

/* x * factor, to nearest. Nearly always 64 bits are enough. */
static int64_t times(int64_t x, int64_t factor) {
    const uint64_t half = (uint64_t)PP_VARY_ONE / 2;
    if (((uint64_t)x | (uint64_t)factor << 15) < (uint64_t)1 << 39) {
        return (int64_t)(((uint64_t)x * (uint64_t)factor + half) >> 20);
    }
    unsigned __int128 product = (unsigned __int128)(uint64_t)x * (uint64_t)factor;
    uint64_t ns = (uint64_t)((product + half) >> 20);
    return ns < (uint64_t)MOST_NS ? (int64_t)ns : MOST_NS;
}

static int64_t straggling(int64_t factor) {
    return factor == 0 ? PP_VARY_ONE : factor;
}

/* ---- the tables ---- */

static int32_t unit_count(const struct pp_sched *s) {
    return s->microbatch_count * (s->stage_count / s->part_count);
}

int32_t pp_vary_microbatches(const struct pp_sched *s) {
    return unit_count(s) / s->slice_count;
}

static void copy_costs(struct pp_vary_work *w, const struct pp_costs *c) {
    const int64_t *columns[COLUMN_COUNT] = {[PP_F] = c->f_ns,
                                            [PP_I] = c->i_ns,
                                            [PP_W] = c->w_ns,
                                            [PP_B] = c->b_ns,
                                            [COLUMN_OFFLOAD] = c->offload_ns,
                                            [COLUMN_PAIR] = c->pair_ns};
    for (int32_t stage = 0; stage < w->s->stage_count; stage++) {
        for (int32_t i = 0; i < COLUMN_COUNT; i++) {
            w->plain_ns[stage * COLUMN_COUNT + i] = columns[i] == NULL ? 0 : columns[i][stage];
        }
        for (int32_t forward = 0; forward < 2; forward++) {
            w->arrive_ns[stage * 2 + forward] = pp_costs_transfer_ns(c, w->s, forward == 1, stage);
        }
    }
}

/* Factors of this sample's microbatches, each for all units of its sequence. */
static void draw_microbatches(const struct pp_vary_work *w, uint64_t key) {
    const struct pp_vary *v = w->vary;
    int32_t slices = w->s->slice_count;
    for (int32_t i = 0; i < pp_vary_microbatches(w->s); i++) {
        int64_t factor = v->microbatch_weight == NULL ? PP_VARY_ONE : v->microbatch_weight[i];
        if (v->microbatch_sd > 0) {
            uint64_t bits = pp_vary_bits(key, counter_of(ABOUT_MICROBATCH, 0, 0, i));
            factor = times(factor, jitter(v->microbatch_sd, bits));
        }
        for (int32_t k = 0; k < slices; k++) {
            w->factor[(int64_t)i * slices + k] = factor;
        }
    }
}

static void draw_stage(const struct pp_vary_work *w, uint64_t key, int32_t stage) {
    const struct pp_vary *v = w->vary;
    int32_t rank = w->s->stage_rank[stage];
    uint64_t bits = pp_vary_bits(key, counter_of(ABOUT_RANK, 0, rank, 0));
    int64_t factors[] = {
        jitter(v->rank_sd, bits),
        happens(v->rank_straggler_chance, bits) ? straggling(v->rank_straggler_factor)
                                                : PP_VARY_ONE,
        jitter(v->stage_sd, pp_vary_bits(key, counter_of(ABOUT_STAGE, 0, stage, 0)))};
    for (int32_t i = stage * COLUMN_COUNT; i < (stage + 1) * COLUMN_COUNT; i++) {
        w->stage_ns[i] = w->plain_ns[i];
        for (size_t k = 0; k < sizeof factors / sizeof factors[0]; k++) {
            w->stage_ns[i] = times(w->stage_ns[i], factors[k]);
        }
    }
}

enum pp_status pp_vary_work_init(struct pp_vary_work *w, const struct pp_sched *s,
                                 const struct pp_costs *costs, const struct pp_vary *vary,
                                 struct pp_err *err) {
    bool stages_vary = vary->rank_sd > 0 || vary->stage_sd > 0 || vary->rank_straggler_chance > 0;
    bool microbatches_vary = vary->microbatch_sd > 0 || vary->microbatch_weight != NULL;
    size_t table = (size_t)s->stage_count * COLUMN_COUNT;
    size_t arrive = (size_t)s->stage_count * 2;
    size_t units = microbatches_vary ? (size_t)unit_count(s) : 0;
    *w = (struct pp_vary_work){.s = s, .vary = vary, .pairs_as_one = costs->pair_ns != NULL};
    w->cells = malloc((2 * table + arrive + units) * sizeof *w->cells);
    if (w->cells == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory to vary %d stages", s->stage_count);
    }
    w->plain_ns = w->cells;
    w->stage_ns = stages_vary ? w->plain_ns + table : w->plain_ns;
    w->arrive_ns = w->plain_ns + 2 * table;
    w->factor = microbatches_vary ? w->arrive_ns + arrive : NULL;
    copy_costs(w, costs);
    if (microbatches_vary && vary->microbatch_sd == 0) {
        draw_microbatches(w, 0); /* once for all samples */
    }
    return PP_OK;
}

void pp_vary_work_deinit(struct pp_vary_work *w) {
    free(w->cells);
    *w = (struct pp_vary_work){0};
}

/* ---- a sample ---- */

static enum pp_status refuse(const struct pp_sched *s, int32_t sample, const char *what,
                             const int64_t *ns, struct pp_err *err) {
    char text[PP_ACTION_TEXT_BYTES];
    int32_t at = 0;
    while (ns[at] <= PP_COST_MAX_NS) {
        at++;
    }
    pp_fail(err, PP_E_RANGE, "in sample %d %s%s takes more than %lld ns", sample, what,
            pp_action_text(&s->actions[at], text), (long long)PP_COST_MAX_NS);
    pp_hint(err, "give shorter durations, or less variation");
    return PP_E_RANGE;
}

/* What the actions of a rank, stage or microbatch share in this sample. */
static void draw_shared(const struct pp_vary_work *w, uint64_t key) {
    for (int32_t stage = 0; w->stage_ns != w->plain_ns && stage < w->s->stage_count; stage++) {
        draw_stage(w, key, stage);
    }
    if (w->vary->microbatch_sd > 0) {
        draw_microbatches(w, key);
    }
}

/* An action's duration before what is drawn for it alone. */
static int64_t shared_ns(const struct pp_vary_work *w, const struct pp_action *a) {
    int32_t column = pp_action_is_offload(a) ? COLUMN_OFFLOAD : a->type;
    if (w->pairs_as_one && a->pair != 0) {
        if (a->pair == 2) {
            return 0; /* nobody looks at it */
        }
        column = COLUMN_PAIR;
    }
    int64_t ns = w->stage_ns[a->stage * COLUMN_COUNT + column];
    if (w->factor != NULL) {
        int32_t before = a->stage < w->s->part_count ? 0 : w->s->microbatch_count;
        ns = times(ns, w->factor[before + a->microbatch]);
    }
    return ns;
}

enum pp_status pp_vary_work_durations(struct pp_vary_work *w, int32_t sample, int64_t *duration_ns,
                                      struct pp_err *err) {
    /* copies: what is written must not make the loop read them again */
    const struct pp_vary_work work = *w;
    const struct pp_vary v = *w->vary;
    const int32_t count = w->s->action_count;
    const struct pp_action *actions = w->s->actions;
    const uint64_t key = key_of(&v, sample);
    const int64_t factor = straggling(v.straggler_factor);
    const bool varies = v.action_sd > 0 || v.straggler_chance > 0;
    int64_t longest = 0;
    draw_shared(w, key);
    for (int32_t at = 0; at < count; at++) {
        int64_t ns = shared_ns(&work, &actions[at]);
        if (varies) {
            uint64_t bits = pp_vary_bits(key, action_counter(ABOUT_ACTION, &actions[at]));
            ns = v.action_sd > 0 ? times(ns, jitter(v.action_sd, bits)) : ns;
            if (happens(v.straggler_chance, bits)) {
                ns = times(ns, factor);
            }
        }
        duration_ns[at] = ns;
        longest = pp_max_i64(longest, ns);
    }
    return longest <= PP_COST_MAX_NS ? PP_OK : refuse(w->s, sample, "", duration_ns, err);
}

enum pp_status pp_vary_work_transfers(const struct pp_vary_work *w, int32_t sample,
                                      int64_t *transfer_ns, struct pp_err *err) {
    const int64_t *arrive_ns = w->arrive_ns;
    const int64_t sd = w->vary->action_sd;
    const int32_t count = w->s->action_count;
    const struct pp_action *actions = w->s->actions;
    const uint64_t key = key_of(w->vary, sample);
    int64_t longest = 0;
    for (int32_t at = 0; at < count; at++) {
        const struct pp_action *a = &actions[at];
        bool has_input = a->type == PP_F || a->type == PP_I || a->type == PP_B;
        int64_t ns = has_input ? arrive_ns[a->stage * 2 + (a->type == PP_F)] : 0;
        if (sd > 0 && ns > 0) {
            ns = times(ns, jitter(sd, pp_vary_bits(key, action_counter(ABOUT_TRANSFER, a))));
        }
        transfer_ns[at] = ns;
        longest = pp_max_i64(longest, ns);
    }
    return longest <= PP_COST_MAX_NS ? PP_OK
                                     : refuse(w->s, sample, "the transfer to ", transfer_ns, err);
}
