#include "sim/gen_vlist.h"

#include <stdlib.h>

enum side { DOWN, UP };
enum kind { FORWARD, BACKWARD };

struct pp_vlist_rank {
    int64_t now, first, idle, memory;
    int64_t left;       /* time of the ops not yet put */
    int64_t ready;      /* of the candidate: its input is there */
    int32_t stage[2];   /* by side */
    int32_t next[2][2]; /* next microbatch by kind and side */
    int32_t w_at;       /* op of the rank whose W is due next, if it is an I */
    uint8_t kind, side; /* of the candidate */
};

enum pp_status pp_vlist_init(struct pp_vlist *l, struct pp_order *o, struct pp_err *err) {
    size_t ranks = (size_t)o->s->rank_count;
    *l = (struct pp_vlist){.o = o,
                           .ranks = calloc(ranks, sizeof *l->ranks),
                           .next = {.start_ns = calloc(ranks, sizeof *l->next.start_ns),
                                    .winner = calloc(2 * ranks, sizeof *l->next.winner),
                                    .count = o->s->rank_count}};
    if (l->ranks == NULL || l->next.start_ns == NULL || l->next.winner == NULL) {
        pp_vlist_deinit(l);
        return pp_fail(err, PP_E_NOMEM, "out of memory for %zu ranks", ranks);
    }
    pp_tournament_begin(&l->next);
    return PP_OK;
}

void pp_vlist_deinit(struct pp_vlist *l) {
    free(l->ranks);
    free(l->next.start_ns);
    free(l->next.winner);
    *l = (struct pp_vlist){0};
}

struct run {
    struct pp_vlist *l;
    struct pp_order *o;
    const struct pp_gen_model *model;
    const struct pp_vlist_rule *rule;
    int64_t most_idle;
    int32_t ranks, stages, microbatches;
};

static bool next_w(const struct run *run, int32_t rank, struct pp_order_op *w) {
    struct pp_vlist_rank *r = &run->l->ranks[rank];
    const struct pp_order_op *ops = run->o->ops + run->o->begin[rank];
    int32_t count = run->o->count[rank];
    while (r->w_at < count && ops[r->w_at].type != PP_I) {
        r->w_at++;
    }
    if (r->w_at == count) {
        return false;
    }
    *w = ops[r->w_at];
    w->type = PP_W;
    return true;
}

/* Has the input of the rank's next op of a kind and side been made, and when is it there? */
static bool input_at(const struct run *run, const struct pp_vlist_rank *r, enum kind kind,
                     enum side side, int64_t *at) {
    int32_t stage = r->stage[side];
    int32_t microbatch = r->next[kind][side];
    int32_t from = kind == FORWARD ? stage - 1 : stage + 1;
    if (from < 0) {
        *at = 0;
        return true;
    }
    if (from == run->stages) { /* the last stage's backward follows its own forward */
        *at = 0;
        return microbatch < r->next[FORWARD][side];
    }
    if (kind == BACKWARD && microbatch >= r->next[FORWARD][side]) {
        return false;
    }
    int32_t rank = from < run->ranks ? from : run->stages - 1 - from;
    if (run->l->ranks[rank].next[kind][from >= run->ranks] <= microbatch) {
        return false;
    }
    const int64_t *recv = kind == FORWARD ? run->model->recv_f_ns : run->model->recv_b_ns;
    *at = run->o->done[kind][from * run->microbatches + microbatch] + recv[stage];
    return true;
}

/* Time of the W's that must go first for a forward to fit; -1 if even all do not help. */
static int64_t time_to_fit(const struct run *run, int32_t rank, int32_t stage) {
    const struct pp_vlist_rank *r = &run->l->ranks[rank];
    int64_t over = r->memory + run->model->adds[stage] - run->o->limit[rank];
    if (over <= 0) {
        return 0;
    }
    const struct pp_order_op *ops = run->o->ops + run->o->begin[rank];
    int64_t time = 0;
    for (int32_t at = r->w_at; at < run->o->count[rank]; at++) {
        if (ops[at].type != PP_I) {
            continue;
        }
        time += run->model->w_ns[ops[at].stage];
        over -= run->model->w_frees[ops[at].stage];
        if (over <= 0) {
            return time;
        }
    }
    return -1;
}

/* When could the rank start its next op of a kind and side? INT64_MAX: not known, or not now. */
static int64_t start_of(const struct run *run, int32_t rank, enum kind kind, enum side side,
                        int64_t *ready) {
    const struct pp_vlist_rank *r = &run->l->ranks[rank];
    if (!input_at(run, r, kind, side, ready)) {
        return INT64_MAX;
    }
    int64_t start = r->now;
    if (kind == FORWARD) {
        int32_t stage = r->stage[side];
        if (r->next[FORWARD][side] - r->next[BACKWARD][side] >= run->rule->cap[stage]) {
            return INT64_MAX;
        }
        int64_t forced = time_to_fit(run, rank, stage);
        if (forced < 0) {
            return INT64_MAX;
        }
        start += forced;
    }
    return *ready > start ? *ready : start;
}

/* Key of the rank's next op of a kind and side; INT64_MAX if there is none. */
static int64_t key_of(const struct run *run, const struct pp_vlist_rank *r, int kind, int side) {
    int32_t microbatch = r->next[kind][side];
    return microbatch == run->microbatches
               ? INT64_MAX
               : run->rule->offset[kind][r->stage[side]] + microbatch * run->rule->period;
}

/* Chooses what the rank would do next: what can start first; of several, the smallest key. */
static void choose(struct run *run, int32_t rank) {
    struct pp_vlist_rank *r = &run->l->ranks[rank];
    int64_t best_start = INT64_MAX;
    int64_t best_key = INT64_MAX;
    int64_t key[2][2];
    int64_t most = INT64_MAX - run->rule->delta;
    for (int kind = FORWARD; kind <= BACKWARD; kind++) {
        for (int side = DOWN; side <= UP; side++) {
            key[kind][side] = key_of(run, r, kind, side);
            most = key[kind][side] < most ? key[kind][side] : most;
        }
    }
    most += run->rule->delta;
    for (int kind = FORWARD; kind <= BACKWARD; kind++) {
        for (int side = DOWN; side <= UP; side++) {
            int64_t own = key[kind][side];
            if (own == INT64_MAX || own > most) {
                continue;
            }
            int64_t ready;
            int64_t start = start_of(run, rank, (enum kind)kind, (enum side)side, &ready);
            if (start < best_start || (start == best_start && own < best_key)) {
                best_start = start;
                best_key = own;
                r->ready = ready;
                r->kind = (uint8_t)kind;
                r->side = (uint8_t)side;
            }
        }
    }
    pp_tournament_set(&run->l->next, rank, best_start);
}

static void put(struct run *run, int32_t rank, struct pp_order_op op, int64_t ready) {
    struct pp_order *o = run->o;
    const struct pp_gen_model *m = run->model;
    struct pp_vlist_rank *r = &run->l->ranks[rank];
    int64_t start = ready > r->now ? ready : r->now;
    int32_t at = o->begin[rank] + o->count[rank]++;
    if (r->first < 0) {
        r->first = start;
    } else {
        r->idle += start - r->now;
        run->most_idle = r->idle > run->most_idle ? r->idle : run->most_idle;
    }
    int64_t duration = pp_order_duration(m, op.type, op.stage);
    r->now = start + duration;
    r->left -= duration;
    o->ops[at] = op;
    o->start[at] = start;
    o->end[at] = r->now;
    if (op.type == PP_F) {
        r->memory += m->adds[op.stage];
        o->peak[rank] = r->memory > o->peak[rank] ? r->memory : o->peak[rank];
    }
    r->memory -= op.type == PP_I || op.type == PP_B ? m->i_frees[op.stage] : 0;
    r->memory -= op.type == PP_W || op.type == PP_B ? m->w_frees[op.stage] : 0;
}

static void put_w(struct run *run, int32_t rank, struct pp_order_op w) {
    run->l->ranks[rank].w_at++;
    put(run, rank, w, 0);
}

/* W's in the gap before the rank's candidate, and those whose memory it needs. */
static void fill_gap(struct run *run, int32_t rank, int32_t stage) {
    const struct pp_order_fill *fill = &run->rule->fill;
    struct pp_vlist_rank *r = &run->l->ranks[rank];
    struct pp_order_op w;
    for (int64_t gap; (gap = r->ready - r->now) > 0 && next_w(run, rank, &w);) {
        if (8 * gap < fill->eighths * run->model->w_ns[w.stage] &&
            !(fill->level_idle && r->idle + gap > run->most_idle)) {
            break;
        }
        put_w(run, rank, w);
    }
    int64_t room = run->o->limit[rank] - run->model->adds[stage];
    while (r->kind == FORWARD && r->memory > room && next_w(run, rank, &w)) {
        put_w(run, rank, w);
    }
}

static void commit(struct run *run, int32_t rank) {
    struct pp_vlist_rank *r = &run->l->ranks[rank];
    int kind = r->kind;
    int side = r->side;
    int32_t stage = r->stage[side];
    int32_t microbatch = r->next[kind][side];
    enum pp_action_type type = kind == FORWARD ? PP_F : run->rule->fused ? PP_B : PP_I;
    fill_gap(run, rank, stage);
    put(run, rank,
        (struct pp_order_op){.stage = stage, .microbatch = microbatch, .type = (uint8_t)type},
        r->ready);
    r->next[kind][side]++;
    run->o->done[kind][stage * run->microbatches + microbatch] = r->now;
    choose(run, rank);
    int32_t to = kind == FORWARD ? stage + 1 : stage - 1;
    if (to >= 0 && to < run->stages) {
        int32_t next = to < run->ranks ? to : run->stages - 1 - to;
        if (next != rank) {
            choose(run, next);
        }
    }
}

static void begin_run(struct run *run) {
    struct pp_order *o = run->o;
    const struct pp_gen_model *m = run->model;
    pp_order_clear(o);
    for (int32_t rank = 0; rank < run->ranks; rank++) {
        int32_t up = run->stages - 1 - rank;
        int64_t work = m->f_ns[rank] + m->f_ns[up];
        work += run->rule->fused ? m->b_ns[rank] + m->b_ns[up]
                                 : m->i_ns[rank] + m->i_ns[up] + m->w_ns[rank] + m->w_ns[up];
        o->peak[rank] = 0;
        run->l->ranks[rank] = (struct pp_vlist_rank){
            .first = -1, .left = work * run->microbatches, .stage = {rank, up}};
    }
    for (int32_t rank = 0; rank < run->ranks; rank++) {
        choose(run, rank);
    }
}

static void finish(struct run *run) {
    struct pp_order *o = run->o;
    o->makespan = o->span = o->worst_peak = 0;
    for (int32_t rank = 0; rank < run->ranks; rank++) {
        struct pp_vlist_rank *r = &run->l->ranks[rank];
        struct pp_order_op w;
        while (next_w(run, rank, &w)) {
            put_w(run, rank, w);
        }
        o->makespan = r->now > o->makespan ? r->now : o->makespan;
        o->span = r->now - r->first > o->span ? r->now - r->first : o->span;
        o->worst_peak = o->peak[rank] > o->worst_peak ? o->peak[rank] : o->worst_peak;
    }
}

bool pp_vlist_run(struct pp_vlist *l, const struct pp_vlist_rule *rule) {
    struct run run = {.l = l,
                      .o = l->o,
                      .model = l->o->model,
                      .rule = rule,
                      .ranks = l->o->s->rank_count,
                      .stages = l->o->s->stage_count,
                      .microbatches = l->o->s->microbatch_count};
    begin_run(&run);
    for (int64_t left = 2 * (int64_t)run.stages * run.microbatches; left > 0; left--) {
        int32_t first = pp_tournament_first(&l->next);
        if (l->next.start_ns[first] == INT64_MAX) {
            return false;
        }
        commit(&run, first);
        if (l->ranks[first].now + l->ranks[first].left > rule->most) {
            return false;
        }
    }
    finish(&run);
    return true;
}
