/* Timing and W placement share one engine: a cursor a rank, run until its next op waits for one
 * that has no end yet; whoever gives it that end puts it back on the list of runnable ranks. */
#include "sim/gen_order.h"

#include <stdlib.h>
#include <string.h>

enum { READY = -1, NEVER = -2 };

struct pp_order_rank {
    int64_t now, first, idle, memory;
    int32_t at;      /* next op of the source order */
    int32_t put;     /* ops timed so far */
    int32_t f_left;  /* F's not timed */
    int32_t w_ahead; /* W's timed beyond those that the source has had so far */
    int32_t w_at;    /* source op whose W is due next: an I before `at` */
    int32_t waits;   /* index into done[kind] of the op waited for, READY or NEVER (no input) */
    uint8_t waits_i; /* 1: waits for an I or B */
};

enum pp_status pp_order_init(struct pp_order *o, const struct pp_sched *s,
                             const struct pp_gen_model *model, struct pp_err *err) {
    size_t ranks = (size_t)s->rank_count;
    size_t stages = (size_t)s->stage_count;
    size_t units = stages * (size_t)s->microbatch_count;
    *o = (struct pp_order){
        .s = s,
        .model = model,
        .limit = malloc(ranks * sizeof *o->limit),
        .begin = calloc(ranks + 1, sizeof *o->begin),
        .count = calloc(ranks, sizeof *o->count),
        .ops = malloc(3 * units * sizeof *o->ops),
        .start = malloc(3 * units * sizeof *o->start),
        .end = malloc(3 * units * sizeof *o->end),
        .peak = calloc(ranks, sizeof *o->peak),
        .before = malloc(stages * sizeof *o->before),
        .after = malloc(stages * sizeof *o->after),
        .done = {malloc(units * sizeof *o->done[0]), malloc(units * sizeof *o->done[1])},
        .ranks = calloc(ranks, sizeof *o->ranks),
        .runnable = malloc(ranks * sizeof *o->runnable),
        .makespan = INT64_MAX,
        .most_makespan = INT64_MAX,
        .most_span = INT64_MAX,
    };
    if (o->limit == NULL || o->begin == NULL || o->count == NULL || o->ops == NULL ||
        o->start == NULL || o->end == NULL || o->peak == NULL || o->before == NULL ||
        o->after == NULL || o->done[0] == NULL || o->done[1] == NULL || o->ranks == NULL ||
        o->runnable == NULL) {
        pp_order_deinit(o);
        return pp_fail(err, PP_E_NOMEM, "out of memory for an order of %zu actions", 3 * units);
    }
    memcpy(o->limit, model->limit, ranks * sizeof *o->limit);
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        o->before[stage] = pp_sched_stage_before(s, stage);
        o->after[stage] = pp_sched_stage_after(s, stage);
        o->begin[s->stage_rank[stage] + 1] += 3 * s->microbatch_count;
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        o->begin[rank + 1] += o->begin[rank];
    }
    return PP_OK;
}

void pp_order_deinit(struct pp_order *o) {
    free(o->limit);
    free(o->begin);
    free(o->count);
    free(o->ops);
    free(o->start);
    free(o->end);
    free(o->peak);
    free(o->before);
    free(o->after);
    free(o->done[0]);
    free(o->done[1]);
    free(o->ranks);
    free(o->runnable);
    *o = (struct pp_order){0};
}

void pp_order_clear(struct pp_order *o) {
    memset(o->count, 0, (size_t)o->s->rank_count * sizeof *o->count);
}

void pp_order_push(struct pp_order *o, enum pp_action_type type, int32_t stage,
                   int32_t microbatch) {
    int32_t rank = o->s->stage_rank[stage];
    o->ops[o->begin[rank] + o->count[rank]++] =
        (struct pp_order_op){.stage = stage, .microbatch = microbatch, .type = (uint8_t)type};
}

void pp_order_copy(struct pp_order *to, const struct pp_order *from) {
    size_t ranks = (size_t)from->s->rank_count;
    memcpy(to->count, from->count, ranks * sizeof *to->count);
    memcpy(to->peak, from->peak, ranks * sizeof *to->peak);
    for (size_t rank = 0; rank < ranks; rank++) {
        int32_t at = from->begin[rank];
        size_t n = (size_t)from->count[rank];
        memcpy(to->ops + at, from->ops + at, n * sizeof *to->ops);
        memcpy(to->start + at, from->start + at, n * sizeof *to->start);
        memcpy(to->end + at, from->end + at, n * sizeof *to->end);
    }
    to->makespan = from->makespan;
    to->span = from->span;
    to->worst_peak = from->worst_peak;
}

bool pp_order_better(const struct pp_order *a, const struct pp_order *b) {
    if (a->makespan != b->makespan) {
        return a->makespan < b->makespan;
    }
    return a->span != b->span ? a->span < b->span : a->worst_peak < b->worst_peak;
}

void pp_order_keep_better(struct pp_order *best, const struct pp_order *trial) {
    if (trial->makespan <= best->most_makespan && trial->span <= best->most_span &&
        pp_order_better(trial, best)) {
        pp_order_copy(best, trial);
    }
}

bool pp_order_fits(const struct pp_order *o) {
    for (int32_t rank = 0; rank < o->s->rank_count; rank++) {
        if (o->peak[rank] > o->limit[rank]) {
            return false;
        }
    }
    return true;
}

enum pp_status pp_order_emit(const struct pp_order *o, struct pp_sched *s, struct pp_err *err) {
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        const struct pp_order_op *op = o->ops + o->begin[rank];
        for (int32_t i = 0; i < o->count[rank]; i++) {
            PP_TRY(pp_sched_add(s, rank, op[i].type, op[i].stage, op[i].microbatch, err));
        }
    }
    return PP_OK;
}

/* The engine: `source` gives the order, `o` takes ops and times; they may be the same. */
struct run {
    const struct pp_order *source;
    struct pp_order *o;
    const struct pp_order_fill *fill; /* NULL: the source's W's stay where they are */
    int64_t most_idle;
    int32_t runnable_count;
    int32_t left; /* ranks not finished */
};

static void begin_run(struct run *run) {
    struct pp_order *o = run->o;
    const struct pp_sched *s = o->s;
    size_t units = (size_t)s->stage_count * (size_t)s->microbatch_count;
    memset(o->done[0], -1, units * sizeof *o->done[0]);
    memset(o->done[1], -1, units * sizeof *o->done[1]);
    run->left = run->runnable_count = s->rank_count;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        o->ranks[rank] = (struct pp_order_rank){
            .first = -1, .waits = READY, .f_left = (o->begin[rank + 1] - o->begin[rank]) / 3};
        o->peak[rank] = 0;
        o->runnable[rank] = s->rank_count - 1 - rank; /* rank 0 on top of the stack */
    }
    o->makespan = o->span = o->worst_peak = 0;
}

/* Is the input there, and when? Otherwise notes what `r` waits for. */
static bool input_at(const struct pp_order *o, struct pp_order_rank *r,
                     const struct pp_order_op *op, int64_t *at) {
    int32_t m = o->s->microbatch_count;
    int32_t own = op->stage * m + op->microbatch;
    r->waits = READY;
    *at = 0;
    if (op->type == PP_F) {
        if (o->before[op->stage] < 0) {
            return true;
        }
        int32_t from = o->before[op->stage] * m + op->microbatch;
        *at = o->done[0][from] + o->model->recv_f_ns[op->stage];
        r->waits = o->done[0][from] < 0 ? from : READY;
        r->waits_i = 0;
    } else if (op->type == PP_W) {
        r->waits = o->done[1][own] < 0 ? NEVER : READY;
    } else if (o->done[0][own] < 0) {
        r->waits = NEVER; /* its own F comes later in this very list */
    } else if (o->after[op->stage] >= 0) {
        int32_t from = o->after[op->stage] * m + op->microbatch;
        *at = o->done[1][from] + o->model->recv_b_ns[op->stage];
        r->waits = o->done[1][from] < 0 ? from : READY;
        r->waits_i = 1;
    }
    return r->waits == READY;
}

/* Wakes the rank that waits for this end. */
static void wake(struct run *run, const struct pp_order_op *op, int32_t index) {
    struct pp_order *o = run->o;
    int32_t next = op->type == PP_F ? o->after[op->stage] : o->before[op->stage];
    if (next < 0) {
        return;
    }
    int32_t rank = o->s->stage_rank[next];
    struct pp_order_rank *r = &o->ranks[rank];
    if (r->waits == index && r->waits_i == (op->type != PP_F)) {
        r->waits = READY;
        o->runnable[run->runnable_count++] = rank;
    }
}

static void account(struct pp_order *o, int32_t rank, const struct pp_order_op *op) {
    const struct pp_gen_model *m = o->model;
    struct pp_order_rank *r = &o->ranks[rank];
    if (op->type == PP_F) {
        r->f_left--;
        r->memory += m->adds[op->stage];
        o->peak[rank] = r->memory > o->peak[rank] ? r->memory : o->peak[rank];
    }
    r->memory -= op->type == PP_I || op->type == PP_B ? m->i_frees[op->stage] : 0;
    r->memory -= op->type == PP_W || op->type == PP_B ? m->w_frees[op->stage] : 0;
}

static void put(struct run *run, int32_t rank, struct pp_order_op op, int64_t ready) {
    struct pp_order *o = run->o;
    struct pp_order_rank *r = &o->ranks[rank];
    int64_t start = ready > r->now ? ready : r->now;
    int32_t at = o->begin[rank] + r->put++;
    if (r->first < 0) {
        r->first = start;
    } else {
        r->idle += start - r->now;
        run->most_idle = r->idle > run->most_idle ? r->idle : run->most_idle;
    }
    r->now = start + pp_order_duration(o->model, op.type, op.stage);
    o->ops[at] = op;
    o->start[at] = start;
    o->end[at] = r->now;
    account(o, rank, &op);
    if (op.type != PP_W) {
        int32_t index = op.stage * o->s->microbatch_count + op.microbatch;
        o->done[op.type == PP_F ? 0 : 1][index] = r->now;
        wake(run, &op, index);
    }
}

/* The W due next: of the earliest I that has none yet. */
static bool next_w(const struct run *run, int32_t rank, struct pp_order_op *w) {
    struct pp_order_rank *r = &run->o->ranks[rank];
    const struct pp_order_op *ops = run->source->ops + run->source->begin[rank];
    while (r->w_at < r->at && ops[r->w_at].type != PP_I) {
        r->w_at++;
    }
    if (r->w_at == r->at) {
        return false;
    }
    *w = ops[r->w_at];
    w->type = PP_W;
    return true;
}

static void put_w(struct run *run, int32_t rank, struct pp_order_op w) {
    run->o->ranks[rank].w_at++;
    run->o->ranks[rank].w_ahead++;
    put(run, rank, w, 0);
}

static bool wanted(const struct run *run, const struct pp_order_rank *r, int64_t gap,
                   int64_t w_ns) {
    const struct pp_order_fill *fill = run->fill;
    return gap > 0 && (8 * gap >= fill->eighths * w_ns ||
                       (fill->level_idle && r->idle + gap > run->most_idle));
}

/* W's before `op`, whose input is there at `ready`. False: it does not fit the memory. */
static bool fill_before(struct run *run, int32_t rank, const struct pp_order_op *op,
                        int64_t ready) {
    struct pp_order *o = run->o;
    struct pp_order_rank *r = &o->ranks[rank];
    struct pp_order_op w;
    while (next_w(run, rank, &w) && wanted(run, r, ready - r->now, o->model->w_ns[w.stage])) {
        put_w(run, rank, w);
    }
    int64_t room = op->type == PP_F ? o->limit[rank] - o->model->adds[op->stage] : INT64_MAX;
    while (r->memory > room) {
        if (!next_w(run, rank, &w)) {
            return false;
        }
        put_w(run, rank, w);
    }
    return true;
}

/* The source has a W here: it is put, if the rank is not ahead of it and it is to be kept. */
static void pass_w(struct run *run, int32_t rank) {
    struct pp_order_rank *r = &run->o->ranks[rank];
    struct pp_order_op w;
    if (r->w_ahead <= 0 && run->fill->keep && r->f_left > run->fill->keep_f &&
        next_w(run, rank, &w)) {
        put_w(run, rank, w);
    }
    r->w_ahead--;
}

static void finish_rank(struct run *run, int32_t rank) {
    struct pp_order *o = run->o;
    struct pp_order_rank *r = &o->ranks[rank];
    struct pp_order_op w;
    while (run->fill != NULL && next_w(run, rank, &w)) {
        put_w(run, rank, w);
    }
    run->left--;
    o->count[rank] = r->put;
    o->makespan = r->now > o->makespan ? r->now : o->makespan;
    o->span = r->now - r->first > o->span ? r->now - r->first : o->span;
    o->worst_peak = o->peak[rank] > o->worst_peak ? o->peak[rank] : o->worst_peak;
}

/* Runs a rank until it waits. False: memory. */
static bool run_rank(struct run *run, int32_t rank) {
    struct pp_order_rank *r = &run->o->ranks[rank];
    const struct pp_order_op *ops = run->source->ops + run->source->begin[rank];
    int32_t count = run->source->count[rank];
    for (; r->at < count; r->at++) {
        struct pp_order_op op = ops[r->at];
        int64_t ready;
        if (run->fill != NULL && op.type == PP_W) {
            pass_w(run, rank);
            continue;
        }
        if (!input_at(run->o, r, &op, &ready)) {
            return true;
        }
        if (run->fill != NULL && !fill_before(run, rank, &op, ready)) {
            return false;
        }
        put(run, rank, op, ready);
    }
    finish_rank(run, rank);
    return true;
}

static bool run_all(struct run *run) {
    begin_run(run);
    while (run->runnable_count > 0) {
        if (!run_rank(run, run->o->runnable[--run->runnable_count])) {
            return false;
        }
    }
    return run->left == 0;
}

bool pp_order_time(struct pp_order *o) {
    struct run run = {.source = o, .o = o};
    return run_all(&run);
}

bool pp_order_refill(const struct pp_order *from, const struct pp_order_fill *fill,
                     struct pp_order *to) {
    struct run run = {.source = from, .o = to, .fill = fill};
    return run_all(&run);
}

void pp_order_keep_refilled(const struct pp_order *from, struct pp_order *trial,
                            struct pp_order *best) {
    const int32_t p = from->s->rank_count;
    const struct pp_order_fill fills[] = {
        {.eighths = 8},
        {.eighths = 6},
        {.eighths = 4},
        {.eighths = 2},
        {.eighths = 1},
        {.eighths = 8, .level_idle = true},
        {.eighths = 6, .level_idle = true},
        {.eighths = 4, .level_idle = true},
        {.eighths = 2, .level_idle = true},
        {.eighths = 8, .keep = true, .keep_f = 0},
        {.eighths = 8, .keep = true, .keep_f = p / 2},
        {.eighths = 8, .keep = true, .keep_f = p},
    };
    for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
        if (pp_order_refill(from, &fills[i], trial)) {
            pp_order_keep_better(best, trial);
        }
    }
}
