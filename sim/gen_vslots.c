/* The authors' text leaves open what is drawn together with what: W's are in the table or not, and
 * the part in which a rank's block repeats in full stays or not. Each way wins somewhere. */
#include "sim/gen_vslots.h"

#include <stdlib.h>
#include <string.h>

enum reading {
    WITH_W,    /* W's in the slots that are free, then every op is moved */
    STEADY,    /* likewise, but ops stay where their rank's block repeats in full */
    WITHOUT_W, /* no W's: I frees all */
    READINGS,
};

enum { MOST_CELLS = 1 << 24 }; /* 400 MB; the search has its own start */

struct table {
    const struct pp_order *o; /* counts, memory and limits */
    int32_t *slot[2];         /* [stage] of the pattern: F; I or B */
    int32_t *done[2];         /* [stage * microbatches + microbatch] slot after F; after I or B */
    struct pp_order_op *cell; /* [rank * length + slot]; stage -1 = free */
    int64_t *memory;          /* [rank * length + slot] while the slot runs */
    int32_t *free_from;       /* [rank] no slot before it is free */
    int32_t length;           /* 0 if the table would be too large */
    bool fused, with_w, steady;
};

static void table_deinit(struct table *v) {
    for (int kind = 0; kind < 2; kind++) {
        free(v->slot[kind]);
        free(v->done[kind]);
    }
    free(v->cell);
    free(v->memory);
    free(v->free_from);
}

static int64_t table_length(const struct table *v) {
    int32_t last = 0;
    for (int32_t stage = 0; stage < v->o->s->stage_count; stage++) {
        last = v->slot[1][stage] > last ? v->slot[1][stage] : last;
    }
    /* A W finds a free slot within a block of its I once no block follows. */
    return last + 2 * PP_VBLOCK_SLOTS * (v->o->s->microbatch_count + (int64_t)1);
}

static bool init_cells(struct table *v) {
    size_t cells = (size_t)v->length * (size_t)v->o->s->rank_count;
    v->cell = malloc(cells * sizeof *v->cell);
    v->memory = malloc(cells * sizeof *v->memory);
    return v->cell != NULL && v->memory != NULL;
}

static enum pp_status table_init(struct table *v, const struct pp_order *o, pp_vpattern *pattern,
                                 bool fused, struct pp_err *err) {
    size_t stages = (size_t)o->s->stage_count;
    size_t units = stages * (size_t)o->s->microbatch_count;
    *v = (struct table){.o = o, .fused = fused};
    for (int kind = 0; kind < 2; kind++) {
        v->slot[kind] = malloc(stages * sizeof *v->slot[kind]);
        v->done[kind] = malloc(units * sizeof *v->done[kind]);
    }
    v->free_from = malloc((size_t)o->s->rank_count * sizeof *v->free_from);
    bool there = v->slot[0] != NULL && v->slot[1] != NULL && v->done[0] != NULL &&
                 v->done[1] != NULL && v->free_from != NULL;
    if (there) {
        pattern(o->s->rank_count, v->slot[0], v->slot[1]);
        int64_t length = table_length(v);
        v->length = length * o->s->rank_count <= MOST_CELLS ? (int32_t)length : 0;
        there = v->length == 0 || init_cells(v);
    }
    if (!there) {
        table_deinit(v);
        return pp_fail(err, PP_E_NOMEM, "out of memory for a table of %zu actions", 3 * units);
    }
    return PP_OK;
}

static int32_t width(uint8_t type) {
    return type == PP_B ? 2 : 1;
}

static struct pp_order_op *cell_at(const struct table *v, int32_t rank, int32_t slot) {
    return &v->cell[(int64_t)rank * v->length + slot];
}

static void set(struct table *v, int32_t rank, int32_t slot, struct pp_order_op op) {
    for (int32_t i = 0; i < width(op.type); i++) {
        *cell_at(v, rank, slot + i) = op;
    }
}

static void clear(struct table *v, int32_t rank, int32_t slot, uint8_t type) {
    for (int32_t i = 0; i < width(type); i++) {
        cell_at(v, rank, slot + i)->stage = -1;
    }
}

static bool is_free(const struct table *v, int32_t rank, int32_t slot) {
    return cell_at(v, rank, slot)->stage < 0;
}

/* Repeats the block. */
static void fill(struct table *v) {
    const struct pp_sched *s = v->o->s;
    size_t cells = (size_t)v->length * (size_t)s->rank_count;
    for (size_t i = 0; i < cells; i++) {
        v->cell[i].stage = -1;
    }
    for (int kind = 0; kind < 2; kind++) {
        uint8_t type = kind == 0 ? PP_F : v->fused ? PP_B : PP_I;
        for (int32_t stage = 0; stage < s->stage_count; stage++) {
            for (int32_t i = 0; i < s->microbatch_count; i++) {
                int32_t slot = v->slot[kind][stage] + PP_VBLOCK_SLOTS * i;
                v->done[kind][stage * s->microbatch_count + i] = slot + width(type);
                set(v, s->stage_rank[stage], slot,
                    (struct pp_order_op){.stage = stage, .microbatch = i, .type = type});
            }
        }
    }
}

/* A W in the first free slot after its I, first in, first out. */
static void fill_w(struct table *v) {
    for (int32_t rank = 0; rank < v->o->s->rank_count; rank++) {
        int32_t at = 0;
        for (int32_t slot = 0; slot < v->length; slot++) {
            struct pp_order_op op = *cell_at(v, rank, slot);
            if (op.stage < 0 || op.type != PP_I) {
                continue;
            }
            at = at > slot + 1 ? at : slot + 1;
            while (!is_free(v, rank, at)) {
                at++;
            }
            op.type = PP_W;
            set(v, rank, at, op);
        }
    }
}

/* What an op frees at its end. */
static int64_t frees(const struct table *v, const struct pp_order_op *op) {
    const struct pp_gen_model *m = v->o->model;
    switch (op->type) {
    case PP_F:
        return 0;
    case PP_W:
        return m->w_frees[op->stage];
    default:
        return m->i_frees[op->stage] + (v->with_w ? 0 : m->w_frees[op->stage]);
    }
}

static bool is_second_half(const struct table *v, int32_t slot, const struct pp_order_op *op) {
    int32_t index = op->stage * v->o->s->microbatch_count + op->microbatch;
    return op->type == PP_B && v->done[1][index] == slot + 1;
}

static void count_memory(struct table *v) {
    for (int32_t rank = 0; rank < v->o->s->rank_count; rank++) {
        int64_t now = 0;
        for (int32_t slot = 0; slot < v->length; slot++) {
            const struct pp_order_op *op = cell_at(v, rank, slot);
            bool is_op = op->stage >= 0;
            now += is_op && op->type == PP_F ? v->o->model->adds[op->stage] : 0;
            v->memory[(int64_t)rank * v->length + slot] = now;
            now -= is_op && (op->type != PP_B || is_second_half(v, slot, op)) ? frees(v, op) : 0;
        }
    }
}

/* First slot after every input of `op`. */
static int32_t earliest(const struct table *v, const struct pp_order_op *op) {
    int32_t m = v->o->s->microbatch_count;
    int32_t own = op->stage * m + op->microbatch;
    if (op->type == PP_W) {
        return v->done[1][own];
    }
    if (op->type == PP_F) {
        return op->stage == 0 ? 0 : v->done[0][own - m];
    }
    int32_t after = op->stage + 1 == v->o->s->stage_count ? 0 : v->done[1][own + m];
    return v->done[0][own] > after ? v->done[0][own] : after;
}

/* First slot from `to` on, up to `slot`, to which an F can be moved with the rank's memory kept. */
static int32_t after_full(const struct table *v, int32_t rank, int32_t to, int32_t slot,
                          int32_t stage) {
    const int64_t *memory = v->memory + (int64_t)rank * v->length;
    int64_t most = v->o->limit[rank] - v->o->model->adds[stage];
    int32_t at = slot;
    while (at > to && memory[at - 1] <= most) {
        at--;
    }
    return at;
}

static void move(struct table *v, int32_t rank, int32_t slot, int32_t to) {
    struct pp_order_op op = *cell_at(v, rank, slot);
    int64_t *memory = v->memory + (int64_t)rank * v->length;
    int32_t size = width(op.type);
    clear(v, rank, slot, op.type);
    set(v, rank, to, op);
    if (op.type == PP_F) {
        for (int32_t i = to; i < slot; i++) {
            memory[i] += v->o->model->adds[op.stage];
        }
    } else {
        for (int32_t i = to + size; i < slot + size; i++) {
            memory[i] -= frees(v, &op);
        }
    }
    if (op.type != PP_W) {
        int32_t index = op.stage * v->o->s->microbatch_count + op.microbatch;
        v->done[op.type == PP_F ? 0 : 1][index] = to + size;
    }
}

/* Moves the op at `slot` to the earliest free slot that its inputs and its rank's memory allow. */
static void pull(struct table *v, int32_t rank, int32_t slot) {
    struct pp_order_op op = *cell_at(v, rank, slot);
    int32_t *free_from = &v->free_from[rank];
    while (*free_from < slot && !is_free(v, rank, *free_from)) {
        ++*free_from;
    }
    int32_t to = earliest(v, &op);
    to = to > *free_from ? to : *free_from;
    to = op.type == PP_F ? after_full(v, rank, to, slot, op.stage) : to;
    for (; to < slot; to++) {
        if (is_free(v, rank, to) &&
            (op.type != PP_B || to + 1 == slot || is_free(v, rank, to + 1))) {
            move(v, rank, slot, to);
            return;
        }
    }
}

/* Does the rank's block repeat in full around `slot`? */
static bool is_steady(const struct table *v, int32_t rank, int32_t slot) {
    int32_t up = v->o->s->stage_count - 1 - rank;
    int32_t last = PP_VBLOCK_SLOTS * (v->o->s->microbatch_count - 1);
    return slot >= v->slot[1][rank] && slot >= v->slot[1][up] && slot <= v->slot[0][rank] + last;
}

static void draw_together(struct table *v) {
    int32_t ranks = v->o->s->rank_count;
    count_memory(v);
    memset(v->free_from, 0, (size_t)ranks * sizeof *v->free_from);
    for (int32_t slot = 0; slot < v->length; slot++) {
        for (int32_t rank = 0; rank < ranks; rank++) {
            const struct pp_order_op *op = cell_at(v, rank, slot);
            if (op->stage >= 0 && !is_second_half(v, slot, op) &&
                !(v->steady && is_steady(v, rank, slot))) {
                pull(v, rank, slot);
            }
        }
    }
}

static void push_all(const struct table *v, struct pp_order *to) {
    pp_order_clear(to);
    for (int32_t rank = 0; rank < v->o->s->rank_count; rank++) {
        for (int32_t slot = 0; slot < v->length; slot++) {
            const struct pp_order_op *op = cell_at(v, rank, slot);
            if (op->stage >= 0) {
                pp_order_push(to, op->type, op->stage, op->microbatch);
                slot += width(op->type) - 1;
            }
        }
    }
}

enum pp_status pp_vslots_try(pp_vpattern *pattern, bool fused, struct pp_order *trial,
                             struct pp_order *best, struct pp_err *err) {
    struct table v;
    struct pp_order source;
    PP_TRY(table_init(&v, best, pattern, fused, err));
    enum pp_status status = pp_order_init(&source, best->s, best->model, err);
    for (int reading = 0; status == PP_OK && v.length > 0 && reading < READINGS; reading++) {
        v.with_w = !fused && reading != WITHOUT_W;
        v.steady = reading == STEADY;
        fill(&v);
        if (v.with_w) {
            fill_w(&v);
        }
        draw_together(&v);
        push_all(&v, &source);
        pp_order_keep_refilled(&source, trial, best);
    }
    pp_order_deinit(&source);
    table_deinit(&v);
    return status;
}
