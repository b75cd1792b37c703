/* Orders for the V placement, built in rounds; see gen_vrounds.h. */
#include "sim/gen_vrounds.h"

#include <stdlib.h>
#include <string.h>

enum side { DOWN, UP };

struct rank_state {
    int64_t clock, held, idle;
    int64_t allowed;     /* idle time that the pass before needed; -1 in the first */
    int32_t count[3][2]; /* actions run, by type and side */
    int32_t size;        /* the same of all kinds */
    int32_t waiting;     /* first of the W's that wait */
};

struct pp_vrounds {
    const struct pp_gen_model *model;
    int32_t rank_count, microbatch_count;
    struct pp_vrounds_flags flags;
    struct rank_state *ranks;
    int64_t *input;   /* by pp_decode_index: when it is there; -1 = not made yet */
    int64_t *place;   /* likewise, of the pass that runs */
    uint8_t *w_sides; /* [rank_count][2 * microbatch_count] in the order of their I's */
    bool *goes_down;  /* [rank_count] */
    int64_t most_allowed, most_idle;
    bool failed;
    void *block;
};

enum pp_status pp_vrounds_create(int32_t rank_count, int32_t microbatch_count,
                                 const struct pp_gen_model *model, struct pp_vrounds **rounds_p,
                                 struct pp_err *err) {
    size_t ranks = (size_t)rank_count;
    size_t actions = 6 * ranks * (size_t)microbatch_count;
    struct pp_vrounds *r = malloc(sizeof *r);
    void *block = malloc(2 * actions * sizeof *r->input + ranks * sizeof *r->ranks +
                         ranks * sizeof *r->goes_down + actions / 3);
    if (r == NULL || block == NULL) {
        free(r);
        free(block);
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks x %d microbatches", rank_count,
                       microbatch_count);
    }
    *r = (struct pp_vrounds){.model = model,
                             .rank_count = rank_count,
                             .microbatch_count = microbatch_count,
                             .input = block,
                             .block = block};
    r->place = r->input + actions;
    r->ranks = (struct rank_state *)(r->place + actions);
    r->goes_down = (bool *)(r->ranks + ranks);
    r->w_sides = (uint8_t *)(r->goes_down + ranks);
    *rounds_p = r;
    return PP_OK;
}

void pp_vrounds_destroy(struct pp_vrounds *r) {
    if (r != NULL) {
        free(r->block);
        free(r);
    }
}

static int32_t stage_on(const struct pp_vrounds *r, int32_t rank, enum side side) {
    return side == DOWN ? rank : 2 * r->rank_count - 1 - rank;
}

static int64_t index_of(const struct pp_vrounds *r, enum pp_action_type type, int32_t stage,
                        int32_t microbatch) {
    return ((int64_t)stage * 3 + (int64_t)type) * r->microbatch_count + microbatch;
}

/* When the input of a rank's next action of a kind is there; -1 if it is not made yet. */
static int64_t input_of(const struct pp_vrounds *r, int32_t rank, enum pp_action_type type,
                        enum side side) {
    int32_t next = r->ranks[rank].count[type][side];
    return next == r->microbatch_count ? -1
                                       : r->input[index_of(r, type, stage_on(r, rank, side), next)];
}

static bool has_room(const struct pp_vrounds *r, int32_t rank, int64_t more) {
    return r->ranks[rank].held + more <= r->model->limit[rank];
}

/* Makes what the action's output is the input of, there at `end` plus the transfer. */
static void feed(struct pp_vrounds *r, enum pp_action_type type, int32_t stage, int32_t microbatch,
                 int64_t end) {
    const struct pp_gen_model *m = r->model;
    if (type == PP_F && stage + 1 < 2 * r->rank_count) {
        r->input[index_of(r, PP_F, stage + 1, microbatch)] = end + m->recv_f_ns[stage + 1];
    } else if (type == PP_F) {
        r->input[index_of(r, PP_I, stage, microbatch)] = end;
    } else if (type == PP_I && stage > 0) {
        r->input[index_of(r, PP_I, stage - 1, microbatch)] = end + m->recv_b_ns[stage - 1];
    }
}

static void put(struct pp_vrounds *r, int32_t rank, enum pp_action_type type, enum side side) {
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
    r->place[index_of(r, type, stage, s->count[type][side])] = s->size++;
    if (type == PP_F) {
        s->clock = start + m->f_ns[stage];
        s->held += m->adds[stage];
    } else if (type == PP_I) {
        size_t row = (size_t)rank * 2 * (size_t)r->microbatch_count;
        r->w_sides[row + (size_t)(s->count[PP_I][DOWN] + s->count[PP_I][UP])] = (uint8_t)side;
        s->clock = start + m->i_ns[stage];
        s->held -= m->i_frees[stage];
    } else {
        s->waiting++;
        s->clock = start + m->w_ns[stage];
        s->held -= m->w_frees[stage];
    }
    feed(r, type, stage, s->count[type][side]++, s->clock);
}

static bool has_w(const struct pp_vrounds *r, int32_t rank) {
    const struct rank_state *s = &r->ranks[rank];
    return !r->failed && s->waiting < s->count[PP_I][DOWN] + s->count[PP_I][UP];
}

static enum side next_w(const struct pp_vrounds *r, int32_t rank) {
    size_t row = (size_t)rank * 2 * (size_t)r->microbatch_count;
    return r->w_sides[row + (size_t)r->ranks[rank].waiting];
}

/* W's while the input of an action is on its way: those that fit, then, if `may_delay`, one where
 * waiting would make this rank idler than any, or than the pass before allows. */
static void fill(struct pp_vrounds *r, int32_t rank, int64_t input, bool may_delay) {
    struct rank_state *s = &r->ranks[rank];
    while (has_w(r, rank) &&
           input >= s->clock + r->model->w_ns[stage_on(r, rank, next_w(r, rank))]) {
        put(r, rank, PP_W, next_w(r, rank));
    }
    int64_t most = r->most_allowed - s->allowed;
    most = r->most_idle > most ? r->most_idle : most;
    if (may_delay && has_w(r, rank) && input - s->clock > most - s->idle) {
        put(r, rank, PP_W, next_w(r, rank));
    }
}

/* Forwards until the first backward: down as many as end before the first one comes up again and
 * leave memory for what follows it. */
static void warm_up(struct pp_vrounds *r) {
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
static void level(struct pp_vrounds *r) {
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

static void backward_round(struct pp_vrounds *r) {
    int32_t last = r->rank_count - 1;
    for (int32_t rank = 0; rank <= last; rank++) {
        const int32_t *count = r->ranks[rank].count[PP_I];
        r->goes_down[rank] = count[DOWN] < count[UP] && (count[UP] == r->microbatch_count ||
                                                         input_of(r, rank, PP_I, DOWN) >= 0);
    }
    for (int32_t rank = last; rank >= 0; rank--) { /* a backward runs up the first stages ... */
        if (r->goes_down[rank]) {
            fill(r, rank, input_of(r, rank, PP_I, DOWN), true);
            put(r, rank, PP_I, DOWN);
        }
    }
    for (int32_t rank = 0; rank <= last; rank++) { /* ... and down the others */
        if (!r->goes_down[rank]) {
            fill(r, rank, input_of(r, rank, PP_I, UP), r->flags.fill_i_up);
            put(r, rank, PP_I, UP);
        }
    }
}

static void forward_round(struct pp_vrounds *r) {
    for (int32_t rank = 0; rank < r->rank_count; rank++) {
        enum side side = input_of(r, rank, PP_F, UP) >= 0 ? UP : DOWN;
        int64_t input = input_of(r, rank, PP_F, side);
        if (input < 0) {
            continue;
        }
        while (has_w(r, rank) && !has_room(r, rank, r->model->adds[stage_on(r, rank, side)])) {
            put(r, rank, PP_W, next_w(r, rank));
        }
        fill(r, rank, input, r->flags.fill_f);
        put(r, rank, PP_F, side);
    }
}

/* One pass. False: it failed. */
static bool pass(struct pp_vrounds *r) {
    size_t m = (size_t)r->microbatch_count;
    memset(r->input, 0xff, 6 * (size_t)r->rank_count * m * sizeof *r->input);
    memset(r->input, 0, m * sizeof *r->input); /* F of stage 0 */
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
        while (has_w(r, rank)) {
            put(r, rank, PP_W, next_w(r, rank));
        }
    }
    return !r->failed;
}

bool pp_vrounds_build(struct pp_vrounds *r, struct pp_vrounds_flags flags, int64_t *place) {
    int64_t best = INT64_MAX;
    r->flags = flags;
    for (int32_t rank = 0; rank < r->rank_count; rank++) {
        r->ranks[rank].allowed = -1;
    }
    while (pass(r) && r->most_idle < best) {
        best = r->most_idle;
        memcpy(place, r->place,
               6 * (size_t)r->rank_count * (size_t)r->microbatch_count * sizeof *place);
        for (int32_t rank = 0; rank < r->rank_count; rank++) {
            r->ranks[rank].allowed = r->ranks[rank].idle;
        }
    }
    return best < INT64_MAX;
}
