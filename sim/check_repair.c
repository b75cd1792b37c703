#include "sim/check_repair.h"

#include "sim/schedule_priv.h"

#include <stdlib.h>
#include <string.h>

enum { NOBODY = INT32_MAX };

/* What is to run, action by action of the given schedule. A unit is a cell, or a part of one that
 * was split; its number is that of its first action. */
struct repair {
    const struct pp_sched *s;
    struct pp_sched *to;
    struct pp_sched_slot *slots; /* [stage_count * microbatch_count] */
    uint8_t *lacks;              /* [action_count] inputs that are not there yet */
    bool *has_run;               /* [action_count]; set from the beginning where it is no compute */
    bool *is_split;              /* [action_count] a pair that is no unit any more, at both parts */
    int32_t *next;               /* [rank_count] first action that has not run */
    /* Of each rank, heaps within its own range of indices, earliest first: units that can run, and
       parts that could if their pair was split (also such as have run since). */
    int32_t *ready, *parts;            /* [action_count] */
    int32_t *ready_count, *part_count; /* [rank_count] */
    int32_t *best; /* [2 * leaves] tree over ranks: the one whose first ready unit is nearest */
    int32_t leaves;
    int32_t moved_count;
    void *block;
};

/* ---- heaps of indices ---- */

static void heap_add(int32_t *heap, int32_t *count_p, int32_t item) {
    int32_t at = (*count_p)++;
    for (; at > 0 && heap[(at - 1) / 2] > item; at = (at - 1) / 2) {
        heap[at] = heap[(at - 1) / 2];
    }
    heap[at] = item;
}

static int32_t heap_take(int32_t *heap, int32_t *count_p) {
    int32_t first = heap[0];
    int32_t item = heap[--*count_p];
    int32_t at = 0;
    for (int32_t child = 1; child < *count_p; child = 2 * at + 1) {
        child += child + 1 < *count_p && heap[child + 1] < heap[child];
        if (heap[child] >= item) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = item;
    return first;
}

static int32_t *heap_of(const struct repair *p, int32_t *heaps, int32_t rank) {
    return heaps + p->s->rank_begin[rank];
}

/* ---- the tree over ranks ---- */

/* How far the first ready unit of a rank is from where the rank stands. */
static int32_t way(const struct repair *p, int32_t rank) {
    return rank >= p->s->rank_count || p->ready_count[rank] == 0
               ? NOBODY
               : heap_of(p, p->ready, rank)[0] - p->next[rank];
}

static void update(struct repair *p, int32_t rank) {
    for (int32_t at = (p->leaves + rank) / 2; at > 0; at /= 2) {
        int32_t left = p->best[2 * at];
        int32_t right = p->best[2 * at + 1];
        p->best[at] = way(p, right) < way(p, left) ? right : left;
    }
}

/* ---- what waits for what ---- */

static int32_t rank_of(const struct repair *p, int32_t at) {
    return p->s->stage_rank[p->s->actions[at].stage];
}

static struct pp_sched_slot *slot_of(const struct repair *p, int32_t stage, int32_t microbatch) {
    return &p->slots[(int64_t)stage * p->s->microbatch_count + microbatch];
}

/* The other part of the unit to which an action belongs; -1 if it is alone. */
static int32_t partner(const struct repair *p, int32_t at) {
    uint8_t pair = p->s->actions[at].pair;
    return pair == 0 || p->is_split[at] ? -1 : pair == 1 ? at + 1 : at - 1;
}

/* Calls `gives` for each action that needs the output of action `at`. */
static void each_user(struct repair *p, int32_t at, void (*gives)(struct repair *, int32_t)) {
    const struct pp_sched *s = p->s;
    const struct pp_action *a = &s->actions[at];
    const struct pp_sched_slot *own = slot_of(p, a->stage, a->microbatch);
    if (a->type == PP_F) {
        int32_t after = pp_sched_stage_after(s, a->stage);
        gives(p, own->backward - 1);
        if (after >= 0) {
            gives(p, slot_of(p, after, a->microbatch)->forward - 1);
        }
    } else if (a->type != PP_W) {
        int32_t before = pp_sched_stage_before(s, a->stage);
        if (own->weight != own->backward) {
            gives(p, own->weight - 1);
        }
        if (before >= 0) {
            gives(p, slot_of(p, before, a->microbatch)->backward - 1);
        }
    }
}

static void count_input(struct repair *p, int32_t at) {
    p->lacks[at]++;
}

/* Puts an action that lacks nothing where it can be found. */
static void offer(struct repair *p, int32_t at) {
    int32_t rank = rank_of(p, at);
    int32_t other = partner(p, at);
    if (other >= 0 && p->lacks[other] > 0) {
        heap_add(heap_of(p, p->parts, rank), &p->part_count[rank], at);
        return;
    }
    heap_add(heap_of(p, p->ready, rank), &p->ready_count[rank],
             other >= 0 && other < at ? other : at);
    update(p, rank);
}

static void give_input(struct repair *p, int32_t at) {
    if (!p->has_run[at] && --p->lacks[at] == 0) { /* it has as the second part of the same pair */
        offer(p, at);
    }
}

/* Within a pair the second part may use what the first makes. */
static void join_pairs(struct repair *p) {
    const struct pp_sched *s = p->s;
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        if (a->pair == 1 && a->type == PP_F && a[1].stage == a->stage &&
            a[1].microbatch == a->microbatch && a[1].type != PP_W) {
            if (p->lacks[at + 1] == 1) {
                p->lacks[at + 1] = 0;
            } else { /* what it needs comes from another stage, after the first part */
                p->is_split[at] = p->is_split[at + 1] = true;
                p->moved_count++;
            }
        }
    }
}

/* ---- the run ---- */

static enum pp_status add_unit(struct repair *p, int32_t at, struct pp_err *err) {
    const struct pp_action *a = &p->s->actions[at];
    int32_t rank = rank_of(p, at);
    if (partner(p, at) >= 0) {
        return pp_sched_add_pair(p->to, rank, a->type, a->stage, a->microbatch, a[1].type,
                                 a[1].stage, a[1].microbatch, err);
    }
    return pp_sched_add(p->to, rank, a->type, a->stage, a->microbatch, err);
}

/* Runs the first ready unit of a rank. */
static enum pp_status run_unit(struct repair *p, int32_t rank, struct pp_err *err) {
    int32_t at = heap_take(heap_of(p, p->ready, rank), &p->ready_count[rank]);
    int32_t size = partner(p, at) >= 0 ? 2 : 1;
    PP_TRY(add_unit(p, at, err));
    p->moved_count += at != p->next[rank] ? size : 0;
    for (int32_t i = at; i < at + size; i++) {
        p->has_run[i] = true;
    }
    while (p->next[rank] < p->s->rank_begin[rank + 1] && p->has_run[p->next[rank]]) {
        p->next[rank]++;
    }
    update(p, rank);
    for (int32_t i = at; i < at + size; i++) {
        each_user(p, i, give_input);
    }
    return PP_OK;
}

/* Splits the pair whose ready part is nearest to where its rank stands. */
static void split_one(struct repair *p) {
    int32_t nearest = -1;
    int32_t shortest = NOBODY;
    for (int32_t rank = 0; rank < p->s->rank_count; rank++) {
        int32_t *heap = heap_of(p, p->parts, rank);
        while (p->part_count[rank] > 0 && (p->has_run[heap[0]] || p->is_split[heap[0]])) {
            heap_take(heap, &p->part_count[rank]);
        }
        if (p->part_count[rank] > 0 && heap[0] - p->next[rank] < shortest) {
            nearest = heap[0];
            shortest = heap[0] - p->next[rank];
        }
    }
    PP_ASSERT(nearest >= 0); /* what each action needs is no cycle, so one can run */
    int32_t first = p->s->actions[nearest].pair == 1 ? nearest : nearest - 1;
    p->is_split[first] = p->is_split[first + 1] = true;
    p->moved_count += shortest == 0; /* else it is counted as pulled forward */
    offer(p, nearest);
}

static enum pp_status run_all(struct repair *p, int32_t compute_count, struct pp_err *err) {
    while (p->to->action_count < compute_count) {
        if (way(p, p->best[1]) == NOBODY) {
            split_one(p);
        }
        PP_TRY(run_unit(p, p->best[1], err));
    }
    return PP_OK;
}

/* ---- the beginning ---- */

static enum pp_status refuse(const struct pp_action *a, const char *why, struct pp_err *err) {
    char text[PP_ACTION_TEXT_BYTES];
    pp_fail(err, PP_E_CSV, "%s %s: no other order mends that", pp_action_text(a, text), why);
    pp_hint(err, "every stage needs F and B (or I and W) of every microbatch, once");
    return PP_E_CSV;
}

/* Notes where each action stands. @param compute_count_p  how many there are */
static enum pp_status fill_slots(struct repair *p, int32_t *compute_count_p, struct pp_err *err) {
    const struct pp_sched *s = p->s;
    *compute_count_p = 0;
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        p->has_run[at] = !pp_action_is_compute(a);
        if (a->type == PP_OFFLOAD || a->type == PP_RELOAD) {
            return refuse(a, "is bound to its place", err);
        }
        if (!pp_action_is_compute(a)) {
            continue;
        }
        struct pp_sched_slot *slot = slot_of(p, a->stage, a->microbatch);
        int32_t *forward_or_backward = a->type == PP_F ? &slot->forward : &slot->backward;
        if ((a->type != PP_W && *forward_or_backward != 0) ||
            ((a->type == PP_W || a->type == PP_B) && slot->weight != 0)) {
            return refuse(a, "is one too many", err);
        }
        if (a->type != PP_W) {
            *forward_or_backward = at + 1;
        }
        if (a->type == PP_W || a->type == PP_B) {
            slot->weight = at + 1;
        }
        ++*compute_count_p;
    }
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        for (int32_t m = 0; m < s->microbatch_count; m++) {
            const struct pp_sched_slot *slot = slot_of(p, stage, m);
            if (slot->forward == 0 || slot->backward == 0 || slot->weight == 0) {
                struct pp_action a = {.stage = stage, .microbatch = m};
                a.type = slot->forward == 0 ? PP_F : slot->backward == 0 ? PP_B : PP_W;
                return refuse(&a, "is missing", err);
            }
        }
    }
    return PP_OK;
}

/* Finds what can run at once. */
static void begin(struct repair *p) {
    const struct pp_sched *s = p->s;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        p->next[rank] = s->rank_begin[rank];
        while (p->next[rank] < s->rank_begin[rank + 1] && p->has_run[p->next[rank]]) {
            p->next[rank]++;
        }
    }
    for (int32_t i = 0; i < p->leaves; i++) {
        p->best[p->leaves + i] = i;
    }
    for (int32_t at = p->leaves - 1; at > 0; at--) {
        p->best[at] = p->best[2 * at];
    }
    for (int32_t at = 0; at < s->action_count; at++) {
        if (pp_action_is_compute(&s->actions[at])) {
            each_user(p, at, count_input);
        }
    }
    join_pairs(p);
    for (int32_t at = 0; at < s->action_count; at++) {
        /* of a pair that is whole the second part speaks for both */
        bool is_whole_first =
            s->actions[at].pair == 1 && partner(p, at) >= 0 && p->lacks[at + 1] == 0;
        if (pp_action_is_compute(&s->actions[at]) && p->lacks[at] == 0 && !is_whole_first) {
            offer(p, at);
        }
    }
}

static enum pp_status repair_init(struct repair *p, const struct pp_sched *s, struct pp_err *err) {
    size_t actions = (size_t)s->action_count;
    size_t ranks = (size_t)s->rank_count;
    *p = (struct repair){.s = s, .leaves = 1};
    while (p->leaves < s->rank_count) {
        p->leaves *= 2;
    }
    size_t numbers = 2 * actions + 3 * ranks + 2 * (size_t)p->leaves;
    p->slots = calloc((size_t)s->stage_count * (size_t)s->microbatch_count, sizeof *p->slots);
    int32_t *at = calloc(1, numbers * sizeof *at + 3 * actions);
    p->block = at;
    if (p->slots == NULL || at == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory to reorder %d actions", s->action_count);
    }
    p->ready = at;
    p->parts = at + actions;
    p->next = p->parts + actions;
    p->ready_count = p->next + ranks;
    p->part_count = p->ready_count + ranks;
    p->best = p->part_count + ranks;
    p->lacks = (uint8_t *)(at + numbers);
    p->has_run = (bool *)(p->lacks + actions);
    p->is_split = p->has_run + actions;
    PP_TRY(pp_sched_create(s->rank_count, s->stage_count, s->microbatch_count, s->stage_rank,
                           &p->to, err));
    if (s->part_count < s->stage_count) {
        PP_TRY(pp_sched_set_bidirectional(p->to, err));
    }
    return PP_OK;
}

enum pp_status pp_check_repair(const struct pp_sched *s, struct pp_sched **repaired_p,
                               int32_t *moved_p, struct pp_err *err) {
    PP_ASSERT(s->slice_count == 1); /* slices of one sequence wait for one another, too */
    struct repair p;
    int32_t compute_count;
    enum pp_status status = repair_init(&p, s, err);
    if (status == PP_OK) {
        status = fill_slots(&p, &compute_count, err);
    }
    if (status == PP_OK) {
        begin(&p);
        status = run_all(&p, compute_count, err);
    }
    if (status == PP_OK) {
        status = pp_sched_seal(p.to, err);
    }
    if (status == PP_OK) {
        *repaired_p = p.to;
        *moved_p = p.moved_count;
        p.to = NULL;
    }
    pp_sched_destroy(p.to);
    free(p.slots);
    free(p.block);
    return status;
}
