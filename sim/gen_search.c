/* Hill climbing over keys; see gen_search.h. */
#include "sim/gen_search.h"

#include <stdlib.h>
#include <string.h>

static int64_t max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Most forward time that a rank can spend before its first I: each F takes memory. */
static int64_t forward_time(const struct pp_decoder *d, int32_t rank) {
    const struct pp_gen_model *m = d->model;
    int64_t most = 0; /* all of its F's */
    int64_t best = 0; /* most time that a unit of memory buys, rounded up */
    for (int32_t stage = 0; stage < d->stage_count; stage++) {
        if (d->rank_of[stage] == rank) {
            most += m->f_ns[stage] * d->microbatch_count;
            best = m->adds[stage] <= 0
                       ? most
                       : max_i64(best, pp_div_ceil_i64(m->f_ns[stage], m->adds[stage]));
        }
    }
    return best == 0 || m->limit[rank] > most / best ? most : best * m->limit[rank];
}

/* Bounds. A rank cannot begin before the first microbatch comes; between its first F and its first
 * I that microbatch passes through all later stages while the rank has only F's to run. */
static struct pp_decode_figures lower_bounds(const struct pp_decoder *d) {
    const struct pp_gen_model *m = d->model;
    struct pp_decode_figures bounds = {0, 0};
    for (int32_t rank = 0; rank < d->rank_count; rank++) {
        int64_t arrival = 0, chain = 0, busy = 0;
        int32_t first = -1, last = -1;
        for (int32_t stage = 0; stage < d->stage_count; stage++) {
            if (d->rank_of[stage] == rank) {
                first = first < 0 ? stage : first;
                last = stage;
                busy += m->f_ns[stage] + m->i_ns[stage] + m->w_ns[stage];
            }
            arrival += first < 0 ? m->f_ns[stage] + m->recv_f_ns[stage + 1] : 0;
            chain += first < 0 ? 0 : m->f_ns[stage] + (stage > first ? m->recv_f_ns[stage] : 0);
        }
        for (int32_t stage = d->stage_count - 1; stage > last; stage--) {
            chain += m->i_ns[stage] + m->recv_b_ns[stage - 1];
        }
        int64_t span = busy * d->microbatch_count + max_i64(0, chain - forward_time(d, rank));
        bounds.span_ns = max_i64(bounds.span_ns, span);
        bounds.makespan_ns = max_i64(bounds.makespan_ns, arrival + span);
    }
    return bounds;
}

enum pp_status pp_search_init(struct pp_search *s, struct pp_decoder *d, struct pp_err *err) {
    size_t actions = (size_t)d->action_count;
    *s = (struct pp_search){.decoder = d, .figures = PP_DECODE_ANY, .random = 1};
    s->keys = malloc(actions * (2 * sizeof *s->keys + sizeof *s->order));
    if (s->keys == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the order of %zu actions", actions);
    }
    s->trial = s->keys + actions;
    s->order = (uint8_t *)(s->trial + actions);
    s->bounds = lower_bounds(d);
    return PP_OK;
}

void pp_search_deinit(struct pp_search *s) {
    free(s->keys);
    *s = (struct pp_search){0};
}

void pp_search_take(struct pp_search *s, struct pp_decode_figures figures) {
    const struct pp_decoder *d = s->decoder;
    s->figures = figures;
    memcpy(s->keys, d->start, (size_t)d->action_count * sizeof *s->keys);
    memcpy(s->order, d->order, (size_t)d->action_count);
}

bool pp_search_offer(struct pp_search *s, const int64_t *keys, struct pp_decode_rules rules) {
    struct pp_decode_figures f;
    if (!pp_decode(s->decoder, keys, rules, s->figures, &f)) {
        return false;
    }
    pp_search_take(s, f);
    return true;
}

bool pp_search_is_done(const struct pp_search *s) {
    return s->figures.makespan_ns <= s->bounds.makespan_ns &&
           s->figures.span_ns <= s->bounds.span_ns;
}

static uint64_t next_random(uint64_t *state) { /* splitmix64 (Steele et al. 2014) */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 0 to n - 1, n >= 1. */
static int64_t below(struct pp_search *s, int64_t n) {
    return (int64_t)(next_random(&s->random) % (uint64_t)n);
}

/* A part of 0 to n - 1: mostly short, sometimes any. */
struct range {
    int32_t begin, end;
};

static struct range draw_range(struct pp_search *s, int32_t n) {
    int64_t most = below(s, 4) > 0 ? min_i64(n, 8) : n;
    int32_t begin = (int32_t)below(s, n);
    return (struct range){begin, (int32_t)min_i64(n, begin + 1 + below(s, most))};
}

/* Shifts the keys of some actions: stages and microbatches that follow one another, together or
 * each by its own amount, of one type or of all, up to a few actions' time. */
static void shift_keys(struct pp_search *s, int64_t unit_ns) {
    const struct pp_decoder *d = s->decoder;
    struct range stages = draw_range(s, d->stage_count);
    struct range microbatches = draw_range(s, d->microbatch_count);
    int64_t most = unit_ns * (1 + below(s, 16)) / 2;
    int64_t shift = below(s, 2 * most + 1) - most;
    bool together = below(s, 3) != 0;
    int32_t type = (int32_t)below(s, 3);
    for (int32_t stage = stages.begin; stage < stages.end; stage++) {
        int64_t *keys = s->trial + pp_decode_index(d, (enum pp_action_type)type, stage, 0);
        for (int32_t i = microbatches.begin; i < microbatches.end; i++) {
            keys[i] += together ? shift : below(s, 2 * most + 1) - most;
        }
    }
}

/* From strict, which only moves actions about, to free, which mends what the shift has torn. */
static struct pp_decode_rules draw_rules(struct pp_search *s, int64_t unit_ns) {
    switch (below(s, 6)) {
    case 0:
        return PP_DECODE_STRICT;
    case 1:
    case 2:
        return (struct pp_decode_rules){.look = PP_DECODE_ALL, .overtake = unit_ns / 2};
    case 3:
        return (struct pp_decode_rules){.look = PP_DECODE_ALL, .overtake = 3 * unit_ns};
    case 4:
        return (struct pp_decode_rules){.look = PP_DECODE_ALL, .overtake = INT64_MAX};
    default:
        return (struct pp_decode_rules){.look = PP_DECODE_ALL / 2, .overtake = INT64_MAX};
    }
}

void pp_search_climb(struct pp_search *s, int64_t steps) {
    struct pp_decoder *d = s->decoder;
    const struct pp_gen_model *m = d->model;
    int64_t end = d->steps + steps;
    int64_t total_ns = 0;
    for (int32_t stage = 0; stage < d->stage_count; stage++) {
        total_ns += m->f_ns[stage] + m->i_ns[stage] + m->w_ns[stage];
    }
    int64_t unit_ns = total_ns / (3 * d->stage_count);
    while (d->steps < end && !pp_search_is_done(s)) {
        memcpy(s->trial, s->keys, (size_t)d->action_count * sizeof *s->keys);
        for (int64_t n = below(s, 2); n >= 0; n--) {
            shift_keys(s, unit_ns);
        }
        d->steps++; /* a decode may stop at once */
        pp_search_offer(s, s->trial, draw_rules(s, unit_ns));
    }
}
