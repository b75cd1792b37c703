/* Checking and freezing a schedule: groups actions by rank, finds what is double, out of order or
 * missing, and links every action to its producer. */
#include "sim/schedule_priv.h"

#include <stdlib.h>
#include <string.h>

/* Groups actions by rank, keeping each rank's order. Generators and files come grouped already. */
static enum pp_status group_by_rank(struct pp_sched *s, struct pp_err *err) {
    int32_t *begin = s->rank_begin;
    memset(begin, 0, ((size_t)s->rank_count + 1) * sizeof *begin);
    bool grouped = true;
    int32_t last_rank = 0;
    for (int32_t at = 0; at < s->action_count; at++) {
        int32_t rank = s->stage_rank[s->actions[at].stage];
        begin[rank + 1]++;
        grouped = grouped && rank >= last_rank;
        last_rank = rank;
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        begin[rank + 1] += begin[rank];
    }
    if (grouped) {
        return PP_OK;
    }
    struct pp_action *sorted = malloc((size_t)s->action_count * sizeof *sorted);
    int32_t *next = malloc((size_t)s->rank_count * sizeof *next);
    if (sorted == NULL || next == NULL) {
        free(sorted);
        free(next);
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d actions", s->action_count);
    }
    memcpy(next, begin, (size_t)s->rank_count * sizeof *next);
    for (int32_t at = 0; at < s->action_count; at++) {
        sorted[next[s->stage_rank[s->actions[at].stage]]++] = s->actions[at];
    }
    free(next);
    free(s->actions);
    s->actions = sorted;
    s->action_capacity = s->action_count;
    return PP_OK;
}

enum pp_status pp_sched_misplaced(const struct pp_sched *s, int32_t at, const char *why,
                                  struct pp_err *err) {
    const struct pp_action *a = &s->actions[at];
    int32_t rank = s->stage_rank[a->stage];
    char text[PP_ACTION_TEXT_BYTES];
    enum pp_status status = pp_fail(err, PP_E_CSV, "row %d, column %d: %s %s", rank + 1,
                                    a->cell + 1, pp_action_text(a, text), why);
    pp_err_place(err, NULL, rank + 1, a->cell + 1);
    return status;
}

/* A stage runs the forwards of a microbatch's slices in order and the backwards in reverse: a slice
 * attends to what the earlier ones kept. `slot` is one of an array with its neighbours around it.
 */
static enum pp_status check_slice(const struct pp_sched *s, int32_t at,
                                  const struct pp_sched_slot *slot, struct pp_err *err) {
    const struct pp_action *a = &s->actions[at];
    int32_t slice = a->microbatch % s->slice_count;
    if (a->type == PP_F && slice > 0 && slot[-1].forward == 0) {
        return pp_sched_misplaced(s, at, "comes before the forward of the slice before it", err);
    }
    if ((a->type == PP_I || a->type == PP_B) && slice < s->slice_count - 1 &&
        slot[1].backward == 0) {
        return pp_sched_misplaced(s, at, "comes before the backward of the slice after it", err);
    }
    return PP_OK;
}

/* Notes one action in its slot. */
static enum pp_status note(const struct pp_sched *s, int32_t at, struct pp_sched_slot *slot,
                           struct pp_err *err) {
    enum pp_action_type type = s->actions[at].type;
    if (type == PP_F) {
        if (slot->forward != 0) {
            return pp_sched_misplaced(s, at, "appears a second time", err);
        }
        slot->forward = at + 1;
        return PP_OK;
    }
    if (slot->forward == 0) {
        return pp_sched_misplaced(s, at, "comes before its forward; F must run first", err);
    }
    if (type == PP_W) {
        if (slot->backward == 0) {
            return pp_sched_misplaced(
                s, at, "comes before its I; the backward for the input must run first", err);
        }
        if (slot->weight != 0) {
            return pp_sched_misplaced(s, at, "computes weight gradients a second time", err);
        }
        slot->weight = at + 1;
        return PP_OK;
    }
    if (slot->backward != 0) {
        return pp_sched_misplaced(s, at, "runs a second backward; need one B, or one I and one W",
                                  err);
    }
    slot->backward = at + 1;
    if (type == PP_B) {
        slot->weight = at + 1;
    }
    return PP_OK;
}

/* What (stage, microbatch) `index` lacks. */
static struct pp_action missing_of(const struct pp_sched *s, int64_t index,
                                   const struct pp_sched_slot *slot) {
    enum pp_action_type type = slot->forward == 0 ? PP_F : slot->backward == 0 ? PP_B : PP_W;
    return (struct pp_action){.stage = (int32_t)(index / s->microbatch_count),
                              .microbatch = (int32_t)(index % s->microbatch_count),
                              .type = (uint8_t)type};
}

/* Reports that it is missing. */
static enum pp_status missing(const struct pp_sched *s, const struct pp_action *a,
                              struct pp_err *err) {
    int32_t rank = s->stage_rank[a->stage];
    char text[PP_ACTION_TEXT_BYTES];
    enum pp_status status = pp_fail(
        err, PP_E_CSV, "rank %d never runs %s%s: stage %d, microbatch %d is incomplete in row %d",
        rank, pp_action_text(a, text), a->type == PP_B ? " (or I and W)" : "", a->stage,
        a->microbatch, rank + 1);
    pp_hint(err, "every stage needs F and B (or I and W) of microbatches 0 to %d",
            s->microbatch_count - 1);
    pp_err_place(err, NULL, rank + 1, s->cell_count[rank]);
    return status;
}

/* Notes a failure at an action, or gives it back. */
static enum pp_status take_at(const struct pp_sched *s, int32_t at, enum pp_status status,
                              struct pp_findings *f, const struct pp_err *err) {
    char text[PP_ACTION_TEXT_BYTES];
    return status == PP_OK || f == NULL
               ? status
               : pp_findings_take(f, status, err, pp_action_text(&s->actions[at], text));
}

/* Fills the slots. If the schedule has fewer actions than slots only the first ones are there: one
 * of those is then incomplete, so memory stays in proportion to the actions. */
static enum pp_status note_all(const struct pp_sched *s, struct pp_sched_slot *slots,
                               int64_t slot_count, struct pp_findings *f, struct pp_err *err) {
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        int64_t index = (int64_t)a->stage * s->microbatch_count + a->microbatch;
        if (a->type <= PP_B && index < slot_count) {
            enum pp_status status = note(s, at, &slots[index], err);
            if (status == PP_OK) {
                status = check_slice(s, at, &slots[index], err);
            }
            PP_TRY(take_at(s, at, status, f, err));
        }
    }
    for (int64_t i = 0; i < slot_count && (f == NULL || !f->is_partial); i++) {
        if (slots[i].weight == 0) { /* set last in every legal order */
            struct pp_action a = missing_of(s, i, &slots[i]);
            char text[PP_ACTION_TEXT_BYTES];
            PP_TRY(pp_findings_take(f, missing(s, &a, err), err, pp_action_text(&a, text)));
        }
    }
    return PP_OK;
}

static void link_producers(struct pp_sched *s, const struct pp_sched_slot *slots) {
    int32_t microbatch_count = s->microbatch_count;
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        const struct pp_sched_slot *slot =
            &slots[(int64_t)a->stage * microbatch_count + a->microbatch];
        int32_t producer = -1;
        if (a->type == PP_F) {
            producer = pp_sched_stage_before(s, a->stage) < 0
                           ? -1
                           : slot[-(ptrdiff_t)microbatch_count].forward - 1;
        } else if (a->type == PP_I || a->type == PP_B) {
            producer =
                pp_sched_stage_after(s, a->stage) < 0 ? -1 : slot[microbatch_count].backward - 1;
        }
        s->producer[at] = producer;
    }
}

static enum pp_status check_and_link(struct pp_sched *s, struct pp_findings *f,
                                     struct pp_err *err) {
    int64_t slot_count = (int64_t)s->stage_count * s->microbatch_count;
    if (slot_count > s->action_count) {
        slot_count = (int64_t)s->action_count + 1;
    }
    struct pp_sched_slot *slots = calloc((size_t)slot_count + 1, sizeof *slots);
    free(s->producer); /* of an earlier attempt */
    s->producer = malloc(((size_t)s->action_count + 1) * sizeof *s->producer);
    enum pp_status status = PP_OK;
    if (slots == NULL || s->producer == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for %d actions", s->action_count);
    } else {
        status = note_all(s, slots, slot_count, f, err);
    }
    /* the transfers are looked at beside the whole compute order only */
    if (status == PP_OK && f != NULL && f->count > 0) {
        *err = f->items[0].err;
        status = err->status;
    }
    if (status == PP_OK && s->lowered) {
        status = pp_sched_seal_lowered(s, slots, f, err);
    } else if (status == PP_OK) {
        link_producers(s, slots);
    }
    if (status == PP_OK) {
        status = pp_sched_seal_offloads(s, slots, err);
    }
    free(slots);
    return status;
}

/* Room for actions that did not come. */
static void give_back(struct pp_sched *s) {
    if (s->action_capacity > s->action_count && s->action_count > 0) {
        struct pp_action *actions = realloc(s->actions, (size_t)s->action_count * sizeof *actions);
        if (actions != NULL) {
            s->actions = actions;
            s->action_capacity = s->action_count;
        }
    }
}

enum pp_status pp_sched_seal_all(struct pp_sched *s, struct pp_findings *f, struct pp_err *err) {
    PP_ASSERT(!s->sealed && (f == NULL || err != NULL));
    if (!pp_sched_seal_plain(s)) {
        PP_TRY(group_by_rank(s, err));
        PP_TRY(check_and_link(s, f, err));
    }
    give_back(s);
    s->sealed = true;
    return PP_OK;
}

enum pp_status pp_sched_seal(struct pp_sched *s, struct pp_err *err) {
    return pp_sched_seal_all(s, NULL, err);
}
