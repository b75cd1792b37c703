/* Orders for the V placement, built in rounds; see gen_vrounds.h. */
#include "sim/gen_vrounds.h"

#include <stdlib.h>
#include <string.h>

enum side { DOWN, UP };

struct rank_state {
    int64_t clock, held, idle;
    int64_t allowed;     /* idle time that the pass before needed; -1 in the first */
    int32_t count[3][2]; /* actions run, by type and side */
    int32_t w_at;        /* action of the rank whose W is due next, if it is an I */
    bool goes_down;      /* in this round's backward */
};

/* Before which actions a W may go though it does not fit: F, and I on the way up. */
struct flags {
    bool fill_f, fill_i_up;
};

struct rounds {
    struct pp_order *o; /* costs, limits, and where the order goes */
    const struct pp_gen_model *model;
    int32_t rank_count, microbatch_count;
    struct flags flags;
    struct rank_state *ranks;
    int64_t most_allowed, most_idle;
    bool failed;
};

static int32_t stage_on(const struct rounds *r, int32_t rank, enum side side) {
    return side == DOWN ? rank : 2 * r->rank_count - 1 - rank;
}

/* When the input of a rank's next action of a kind is there; -1 if it is not made yet. */
static int64_t input_of(const struct rounds *r, int32_t rank, enum pp_action_type type,
                        enum side side) {
    const struct pp_order *o = r->o;
    int32_t stage = stage_on(r, rank, side);
    int32_t microbatch = r->ranks[rank].count[type][side];
    if (microbatch == r->microbatch_count) {
        return -1;
    }
    int32_t own = stage * r->microbatch_count + microbatch;
    if (type == PP_F) {
        int64_t made = stage == 0 ? 0 : o->done[0][own - r->microbatch_count];
        return made < 0 ? -1 : made + r->model->recv_f_ns[stage];
    }
    bool is_last = stage + 1 == 2 * r->rank_count;
    int64_t made = is_last ? o->done[0][own] : o->done[1][own + r->microbatch_count];
    return made < 0 ? -1 : made + r->model->recv_b_ns[stage];
}

static bool has_room(const struct rounds *r, int32_t rank, int64_t more) {
    return r->ranks[rank].held + more <= r->o->limit[rank];
}

static void put(struct rounds *r, int32_t rank, enum pp_action_type type, enum side side) {
    const struct pp_gen_model *m = r->model;
    struct rank_state *s = &r->ranks[rank];
    int32_t stage = stage_on(r, rank, side);
    int64_t input = type == PP_W ? 0 : input_of(r, rank, type, side);
    if (r->failed || input < 0 || (type == PP_F && !has_room(r, rank, m->adds[stage]))) {
        r->failed = true;
        return;
    }
    int64_t start = input > s->clock ? input : s->clock;
    s->idle += s->count[PP_F][DOWN] > 0 ? start - s->clock : 0;
    r->most_idle = s->idle > r->most_idle ? s->idle : r->most_idle;
    s->clock = start + pp_order_duration(m, (uint8_t)type, stage);
    s->held += type == PP_F   ? m->adds[stage]
               : type == PP_I ? -m->i_frees[stage]
                              : -m->w_frees[stage];
    int32_t microbatch = s->count[type][side]++;
    pp_order_push(r->o, type, stage, microbatch);
    if (type == PP_W) {
        s->w_at++;
    } else {
        r->o->done[type][stage * r->microbatch_count + microbatch] = s->clock;
    }
}

/* The side of the W due next: of the earliest I that has none yet. */
static bool next_w(const struct rounds *r, int32_t rank, enum side *side) {
    struct rank_state *s = &r->ranks[rank];
    const struct pp_order_op *ops = r->o->ops + r->o->begin[rank];
    while (s->w_at < r->o->count[rank] && ops[s->w_at].type != PP_I) {
        s->w_at++;
    }
    if (r->failed || s->w_at == r->o->count[rank]) {
        return false;
    }
    *side = ops[s->w_at].stage == rank ? DOWN : UP;
    return true;
}

/* W's while the input of an action is on its way: those that fit, then, if `may_delay`, one where
 * waiting would make this rank idler than any, or than the pass before allows. */
static void fill(struct rounds *r, int32_t rank, int64_t input, bool may_delay) {
    struct rank_state *s = &r->ranks[rank];
    enum side side;
    while (next_w(r, rank, &side) && input >= s->clock + r->model->w_ns[stage_on(r, rank, side)]) {
        put(r, rank, PP_W, side);
    }
    int64_t most = r->most_allowed - s->allowed;
    most = r->most_idle > most ? r->most_idle : most;
    if (may_delay && next_w(r, rank, &side) && input - s->clock > most - s->idle) {
        put(r, rank, PP_W, side);
    }
}

/* Forwards until the first backward: down as many as end before the first one comes up again and
 * leave memory for what follows it. */
static void warm_up(struct rounds *r) {
    const struct pp_gen_model *m = r->model;
    int32_t last = r->rank_count - 1;
    for (int32_t rank = 0; rank <= last; rank++) {
        put(r, rank, PP_F, DOWN);
    }
    put(r, last, PP_F, UP);
    for (int32_t rank = last - 1; rank >= 0; rank--) {
        const struct rank_state *s = &r->ranks[rank];
        int64_t both = m->adds[stage_on(r, rank, DOWN)] + m->adds[stage_on(r, rank, UP)];
        int64_t input = input_of(r, rank, PP_F, UP);
        while (!r->failed && has_room(r, rank, both * (rank + 1)) &&
               s->clock + m->f_ns[rank] <= input && s->count[PP_F][DOWN] < r->microbatch_count) {
            for (int32_t i = 0; i <= rank; i++) {
                put(r, i, PP_F, DOWN);
            }
        }
        put(r, rank, PP_F, UP);
    }
}

/* Then each rank catches up with the one above it, the sides by turns. */
static void level(struct rounds *r) {
    enum side side = DOWN;
    for (int32_t rank = 1; rank < r->rank_count; rank++) {
        const int32_t *own = r->ranks[rank].count[PP_F];
        const int32_t *above = r->ranks[rank - 1].count[PP_F];
        while (!r->failed && (own[DOWN] + own[UP] < above[DOWN] + above[UP] ||
                              (own[UP] <= above[UP] && above[UP] < r->microbatch_count))) {
            for (int32_t i = r->rank_count - 1; i >= rank; i--) {
                if (r->ranks[i].count[PP_F][side] < r->microbatch_count) {
                    put(r, i, PP_F, side);
                }
            }
            side = side == DOWN ? UP : DOWN;
        }
    }
}

static void backward_round(struct rounds *r) {
    int32_t last = r->rank_count - 1;
    for (int32_t rank = 0; rank <= last; rank++) {
        const int32_t *count = r->ranks[rank].count[PP_I];
        r->ranks[rank].goes_down = count[DOWN] < count[UP] && (count[UP] == r->microbatch_count ||
                                                               input_of(r, rank, PP_I, DOWN) >= 0);
    }
    for (int32_t rank = last; rank >= 0; rank--) { /* a backward runs up the first stages ... */
        if (r->ranks[rank].goes_down) {
            fill(r, rank, input_of(r, rank, PP_I, DOWN), true);
            put(r, rank, PP_I, DOWN);
        }
    }
    for (int32_t rank = 0; rank <= last; rank++) { /* ... and down the others */
        if (!r->ranks[rank].goes_down) {
            fill(r, rank, input_of(r, rank, PP_I, UP), r->flags.fill_i_up);
            put(r, rank, PP_I, UP);
        }
    }
}

static void forward_round(struct rounds *r) {
    for (int32_t rank = 0; rank < r->rank_count; rank++) {
        enum side side = input_of(r, rank, PP_F, UP) >= 0 ? UP : DOWN;
        int64_t input = input_of(r, rank, PP_F, side);
        if (input < 0) {
            continue;
        }
        enum side w_side;
        while (!has_room(r, rank, r->model->adds[stage_on(r, rank, side)]) &&
               next_w(r, rank, &w_side)) {
            put(r, rank, PP_W, w_side);
        }
        fill(r, rank, input, r->flags.fill_f);
        put(r, rank, PP_F, side);
    }
}

/* One pass. False: it failed. */
static bool pass(struct rounds *r) {
    struct pp_order *o = r->o;
    size_t units = 2 * (size_t)r->rank_count * (size_t)r->microbatch_count;
    memset(o->done[0], -1, units * sizeof *o->done[0]);
    memset(o->done[1], -1, units * sizeof *o->done[1]);
    pp_order_clear(o);
    r->most_idle = 0;
    r->most_allowed = -1;
    r->failed = false;
    for (int32_t rank = 0; rank < r->rank_count; rank++) {
        int64_t allowed = r->ranks[rank].allowed;
        r->most_allowed = allowed > r->most_allowed ? allowed : r->most_allowed;
        r->ranks[rank] = (struct rank_state){.allowed = allowed};
    }
    warm_up(r);
    level(r);
    for (int32_t i = 0; i < 2 * r->microbatch_count && !r->failed; i++) {
        backward_round(r);
        forward_round(r);
    }
    for (int32_t rank = 0; rank < r->rank_count; rank++) {
        enum side side;
        while (next_w(r, rank, &side)) {
            put(r, rank, PP_W, side);
        }
    }
    return !r->failed;
}

static void keep_shorter_span(struct pp_order *best, struct pp_order *trial) {
    if (pp_order_time(trial) && (best->makespan == INT64_MAX || trial->span < best->span ||
                                 (trial->span == best->span && trial->makespan < best->makespan))) {
        pp_order_copy(best, trial);
    }
}

static void try_passes(struct rounds *r, struct pp_order *best) {
    int64_t least = INT64_MAX;
    for (int32_t rank = 0; rank < r->rank_count; rank++) {
        r->ranks[rank].allowed = -1;
    }
    while (pass(r) && r->most_idle < least) {
        least = r->most_idle;
        keep_shorter_span(best, r->o);
        for (int32_t rank = 0; rank < r->rank_count; rank++) {
            r->ranks[rank].allowed = r->ranks[rank].idle;
        }
    }
}

enum pp_status pp_vrounds_try(struct pp_order *trial, struct pp_order *best, struct pp_err *err) {
    struct rounds r = {.o = trial,
                       .model = trial->model,
                       .rank_count = trial->s->rank_count,
                       .microbatch_count = trial->s->microbatch_count};
    r.ranks = calloc((size_t)r.rank_count, sizeof *r.ranks);
    if (r.ranks == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", r.rank_count);
    }
    for (int32_t i = 0; i < 4; i++) {
        r.flags = (struct flags){.fill_f = i % 2 == 0, .fill_i_up = i / 2 == 0};
        try_passes(&r, best);
    }
    free(r.ranks);
    return PP_OK;
}
