/* Each rank's own items: UNSHARD before a stage is used, RESHARD when others are used sooner,
 * REDUCE_GRAD once a stage's gradients, or those of some of its microbatches, are whole.
 *
 * Wanted at a cell are the stages used next, its own included: the first distinct ones up to the
 * bound, and one more where the last two come with one pair. A rank's cells are walked from the
 * back with the stages nearest in use in front, which gives what is wanted at each; where that
 * changes from one cell to the next, it is noted. The walk from the front gathers and frees at the
 * notes. Where stages are freed after every use there is nothing to find out: the walk from the
 * front looks at one cell and the next. */
#include "sim/lower_priv.h"

#include <stdlib.h>

/* A stage and the cell of its next use. */
struct near {
    int32_t stage, cell;
};

struct walk {
    struct pp_lower *l;
    struct near *near; /* [near_most] stages by next use */
    int32_t near_count, near_most;
    int32_t *notes; /* a stack; each: the stages wanted, how many, the action from which on */
    int64_t note_count, note_capacity;
    int32_t *wanted_by;    /* [stage_count] the last note that wants a stage; 0 before the first */
    int32_t note_number;   /* of the note that holds */
    bool *is_active;       /* [stage_count] */
    int32_t *weight_count; /* [stage_count] microbatches whose gradients are whole */
    struct pp_stage_set active;
    int32_t *spare; /* for the set */
    int32_t *freed; /* [near_most] */
};

/* ---- from the back: what is wanted ---- */

/* How many of the nearest are wanted. */
static int32_t wanted_count(const struct walk *w) {
    int32_t most = w->near_most - 1;
    if (w->near_count <= most) {
        return w->near_count;
    }
    return w->near[most].cell == w->near[most - 1].cell ? most + 1 : most;
}

/* Puts the stage of `a` in front. @return its place before; near_most if it was not among them */
static int32_t use(struct walk *w, const struct pp_action *a) {
    int32_t place = 0;
    while (place < w->near_count && w->near[place].stage != a->stage) {
        place++;
    }
    bool is_new = place == w->near_count;
    if (is_new && w->near_count < w->near_most) {
        w->near_count++;
    }
    int32_t moved = is_new ? w->near_count - 1 : place;
    for (int32_t i = moved; i > 0; i--) {
        w->near[i] = w->near[i - 1];
    }
    w->near[0] = (struct near){.stage = a->stage, .cell = a->cell};
    return is_new ? w->near_most : place;
}

/* Notes that from action `at` on the first `count` are wanted. */
static enum pp_status note(struct walk *w, int32_t at, int32_t count, struct pp_err *err) {
    if (w->note_count + count + 2 > w->note_capacity) {
        int64_t capacity = 2 * w->note_capacity + count + 2;
        int32_t *notes = realloc(w->notes, (size_t)capacity * sizeof *notes);
        if (notes == NULL) {
            return pp_fail(err, PP_E_NOMEM, "out of memory for the stages of a rank");
        }
        w->notes = notes;
        w->note_capacity = capacity;
    }
    for (int32_t i = 0; i < count; i++) {
        w->notes[w->note_count++] = w->near[i].stage;
    }
    w->notes[w->note_count++] = count;
    w->notes[w->note_count++] = at;
    return PP_OK;
}

static enum pp_status note_rank(struct walk *w, int32_t rank, struct pp_err *err) {
    const struct pp_sched *s = w->l->s;
    int32_t behind = -1; /* first action of the cell behind */
    w->near_count = 0;
    for (int32_t at = s->rank_begin[rank + 1] - 1; at >= s->rank_begin[rank]; at--) {
        if (!pp_action_is_compute(&s->actions[at])) {
            continue;
        }
        int32_t count = wanted_count(w);
        if (behind >= 0) {
            PP_TRY(note(w, behind, count, err));
        }
        bool all_wanted = use(w, &s->actions[at]) < count;
        if (s->actions[at].pair == 2) {
            all_wanted = use(w, &s->actions[--at]) < count && all_wanted;
        }
        if (behind >= 0 && all_wanted && wanted_count(w) == count) {
            w->note_count -= count + 2; /* nothing changes there */
        }
        behind = at;
    }
    return note(w, behind, wanted_count(w), err);
}

/* ---- from the front: the items ---- */

static enum pp_status add(struct pp_lower *l, int32_t index, enum pp_action_type type,
                          int32_t microbatch, struct pp_err *err) {
    if (l->item_count == l->item_capacity) {
        if (l->item_capacity >= PP_SCHED_MAX_LOWERED_ACTIONS) {
            return pp_fail(err, PP_E_RANGE, "more than %d actions after lowering",
                           PP_SCHED_MAX_LOWERED_ACTIONS);
        }
        int32_t capacity = l->item_capacity + l->item_capacity / 2 + 64;
        struct pp_lower_item *items = realloc(l->items, (size_t)capacity * sizeof *items);
        if (items == NULL) {
            return pp_fail(err, PP_E_NOMEM, "out of memory for %d actions", capacity);
        }
        l->items = items;
        l->item_capacity = capacity;
    }
    l->items[l->item_count++] =
        (struct pp_lower_item){.index = index, .type = (int32_t)type, .microbatch = microbatch};
    return PP_OK;
}

static int compare_stages(const void *a, const void *b) {
    return *(const int32_t *)a - *(const int32_t *)b;
}

/* Frees the active stages that the note in force does not want, in PyTorch's order or ascending. */
static enum pp_status free_unwanted(struct walk *w, struct pp_err *err) {
    int32_t count = 0;
    for (int32_t i = 0; i < w->active.slot_count; i++) {
        int32_t stage = w->active.slots[i];
        if (stage >= 0 && w->wanted_by[stage] != w->note_number) {
            w->freed[count++] = stage;
        }
    }
    if (w->l->options->mode != PP_LOWER_TORCH) {
        qsort(w->freed, (size_t)count, sizeof *w->freed, compare_stages);
    }
    for (int32_t i = 0; i < count; i++) {
        pp_stage_set_remove(&w->active, w->freed[i]);
        w->is_active[w->freed[i]] = false;
        PP_TRY(add(w->l, w->freed[i], PP_RESHARD, -1, err));
    }
    return PP_OK;
}

/* Takes the topmost note and makes its stages the active ones. */
static enum pp_status follow_note(struct walk *w, struct pp_err *err) {
    int32_t count = w->notes[w->note_count - 2];
    w->note_count -= count + 2;
    const int32_t *wanted = &w->notes[w->note_count];
    w->note_number++;
    for (int32_t i = 0; i < count; i++) {
        w->wanted_by[wanted[i]] = w->note_number;
    }
    PP_TRY(free_unwanted(w, err));
    for (int32_t i = 0; i < count; i++) {
        if (!w->is_active[wanted[i]]) {
            w->is_active[wanted[i]] = true;
            pp_stage_set_add(&w->active, wanted[i], w->spare);
            PP_TRY(add(w->l, wanted[i], PP_UNSHARD, -1, err));
        }
    }
    return PP_OK;
}

/* Puts a cell, and the reductions that it makes possible. */
static enum pp_status add_cell(struct walk *w, int32_t at, struct pp_err *err) {
    const struct pp_sched *s = w->l->s;
    int32_t every = w->l->options->reduce_every;
    PP_TRY(add(w->l, at, (enum pp_action_type)s->actions[at].type, -1, err));
    for (int32_t i = 0; i < pp_sched_cell_size(s, at); i++) {
        const struct pp_action *a = &s->actions[at + i];
        if (a->type != PP_W && a->type != PP_B) {
            continue;
        }
        int32_t count = ++w->weight_count[a->stage];
        if (count == s->microbatch_count || (every > 0 && count % every == 0)) {
            PP_TRY(add(w->l, a->stage, PP_REDUCE_GRAD, every > 0 ? a->microbatch : -1, err));
        }
    }
    return PP_OK;
}

static enum pp_status add_rank(struct walk *w, int32_t rank, struct pp_err *err) {
    const struct pp_sched *s = w->l->s;
    pp_stage_set_clear(&w->active);
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1];
         at += pp_sched_cell_size(s, at)) {
        if (w->note_count > 0 && w->notes[w->note_count - 1] == at) {
            PP_TRY(follow_note(w, err));
        }
        PP_TRY(add_cell(w, at, err));
    }
    w->note_number++; /* wants nothing */
    return free_unwanted(w, err);
}

/* Gathers the stages of a cell that are not there, and counts them. */
static enum pp_status gather_for(struct walk *w, int32_t at, int32_t *active_p,
                                 struct pp_err *err) {
    const struct pp_sched *s = w->l->s;
    for (int32_t i = 0; i < pp_sched_cell_size(s, at); i++) {
        int32_t stage = s->actions[at + i].stage;
        if (!w->is_active[stage]) {
            w->is_active[stage] = true;
            ++*active_p;
            PP_TRY(add(w->l, stage, PP_UNSHARD, -1, err));
        }
    }
    return PP_OK;
}

/* Stages of the cell that are not there yet. */
static int32_t lacking_count(const struct walk *w, int32_t at) {
    const struct pp_action *a = &w->l->s->actions[at];
    int32_t count = !w->is_active[a[0].stage];
    return a[0].pair == 1 && a[1].stage != a[0].stage ? count + !w->is_active[a[1].stage] : count;
}

/* Each cell with its stages gathered before and freed behind it. Those of the next cell are
 * gathered with them where the bound allows, to come while this one computes. */
static enum pp_status add_rank_resharding(struct walk *w, int32_t rank, struct pp_err *err) {
    const struct pp_sched *s = w->l->s;
    int32_t end = s->rank_begin[rank + 1];
    int32_t active = 0;
    for (int32_t at = s->rank_begin[rank]; at < end; at += pp_sched_cell_size(s, at)) {
        if (!pp_action_is_compute(&s->actions[at])) {
            PP_TRY(add_cell(w, at, err));
            continue;
        }
        PP_TRY(gather_for(w, at, &active, err));
        int32_t next = pp_lower_compute_from(s, at + pp_sched_cell_size(s, at), end);
        if (next < end && active + lacking_count(w, next) <= w->l->options->max_active_stages) {
            PP_TRY(gather_for(w, next, &active, err));
        }
        PP_TRY(add_cell(w, at, err));
        for (int32_t i = 0; i < pp_sched_cell_size(s, at); i++) {
            int32_t stage = s->actions[at + i].stage;
            if (w->is_active[stage]) {
                w->is_active[stage] = false;
                active--;
                PP_TRY(add(w->l, stage, PP_RESHARD, -1, err));
            }
        }
    }
    return PP_OK;
}

static enum pp_status walk_init(struct walk *w, struct pp_err *err) {
    struct pp_lower *l = w->l;
    size_t rank_count = (size_t)l->s->rank_count;
    size_t stage_count = (size_t)l->s->stage_count;
    int32_t bound = l->options->max_active_stages;
    w->near_most = (bound < l->s->stage_count ? bound : l->s->stage_count) + 1;
    size_t near_most = (size_t)w->near_most;
    size_t slot_count = (size_t)pp_stage_set_most_slots(w->near_most);
    w->near = malloc(near_most * sizeof *w->near);
    w->freed = malloc(near_most * sizeof *w->freed);
    w->active.slots = malloc(slot_count * sizeof *w->active.slots);
    w->spare = malloc(slot_count * sizeof *w->spare);
    w->wanted_by = calloc(stage_count, sizeof *w->wanted_by);
    w->is_active = calloc(stage_count, sizeof *w->is_active);
    w->weight_count = calloc(stage_count, sizeof *w->weight_count);
    l->item_begin = calloc(rank_count + 1, sizeof *l->item_begin);
    l->item_capacity = l->s->action_count + 3 * l->s->stage_count;
    l->items = malloc((size_t)l->item_capacity * sizeof *l->items);
    if (w->near == NULL || w->freed == NULL || w->active.slots == NULL || w->spare == NULL ||
        w->wanted_by == NULL || w->is_active == NULL || w->weight_count == NULL ||
        l->item_begin == NULL || l->items == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory to lower %d actions", l->s->action_count);
    }
    return PP_OK;
}

enum pp_status pp_lower_own_items(struct pp_lower *l, struct pp_err *err) {
    struct walk w = {.l = l};
    enum pp_status status = walk_init(&w, err);
    for (int32_t rank = 0; status == PP_OK && rank < l->s->rank_count; rank++) {
        if (l->options->reshard_after_use) {
            status = add_rank_resharding(&w, rank, err);
        } else {
            status = note_rank(&w, rank, err);
            status = status == PP_OK ? add_rank(&w, rank, err) : status;
        }
        l->item_begin[rank + 1] = l->item_count;
    }
    free(w.near);
    free(w.notes);
    free(w.freed);
    free(w.active.slots);
    free(w.spare);
    free(w.wanted_by);
    free(w.is_active);
    free(w.weight_count);
    return status;
}
