/* Sealing what is right, in one pass: a compute order of whole microbatches that is grouped by
 * rank, as generators and files make it, without transfers to the host. Every rule is one of
 * schedule_seal.c; what breaks one, or is of another kind, is left to it, so that one place says
 * what is wrong. */
#include "sim/schedule_priv.h"
#include "sim/schedule_room.h"

#include <stdlib.h>

/* Actions of one (stage, microbatch), as index + 1; 0 = none seen yet. */
struct passes {
    int32_t forward;
    int32_t backward; /* I or B; negative once the weights are done, too */
};

/* Rows of `passes`, [microbatch_count] each. The last one stays empty: that of the neighbour which
 * the first and last stages lack. */
struct rows {
    int32_t own, before, after; /* index of the first */
    int32_t rank;
};

struct plain {
    const struct pp_action *actions;
    const struct rows *rows; /* [stage_count] */
    struct passes *passes;   /* [stage_count + 1][microbatch_count] */
    int32_t *producer;
    int32_t whole_count; /* of (stage, microbatch) that have all they need */
};

static inline int32_t index_of(int32_t pass) {
    return (pass < 0 ? -pass : pass) - 1;
}

/* Notes one action and links it with its neighbours, whichever of them came first.
 * @return false if it breaks a rule */
static inline bool take(struct plain *p, int32_t at, const struct rows *rows) {
    const struct pp_action *a = &p->actions[at];
    struct passes *own = &p->passes[rows->own + a->microbatch];
    const struct passes *before = &p->passes[rows->before + a->microbatch];
    const struct passes *after = &p->passes[rows->after + a->microbatch];
    if (a->type == PP_F) {
        int32_t consumer = after->forward;
        if (own->forward != 0) {
            return false;
        }
        own->forward = at + 1;
        p->producer[at] = before->forward - 1;
        if (consumer != 0) {
            p->producer[consumer - 1] = at;
        }
        return true;
    }
    if (a->type == PP_W) {
        p->whole_count++;
        p->producer[at] = -1;
        own->backward = -own->backward;
        return own->backward < 0;
    }
    if (own->forward == 0 || own->backward != 0 || a->type > PP_B) {
        return false;
    }
    int32_t consumer = before->backward;
    own->backward = a->type == PP_B ? -(at + 1) : at + 1;
    p->whole_count += a->type == PP_B;
    p->producer[at] = index_of(after->backward);
    if (consumer != 0) {
        p->producer[index_of(consumer)] = at;
    }
    return true;
}

/* @return false if anything is not as it should be */
static bool take_all(struct plain *p, struct pp_sched *s) {
    int32_t *rank_begin = s->rank_begin;
    int32_t action_count = s->action_count;
    int32_t rank = 0;
    rank_begin[0] = 0;
    for (int32_t at = 0; at < action_count; at++) {
        const struct rows *rows = &p->rows[p->actions[at].stage];
        if (rows->rank < rank) {
            return false;
        }
        while (rank < rows->rank) {
            rank_begin[++rank] = at;
        }
        if (!take(p, at, rows)) {
            return false;
        }
    }
    while (rank < s->rank_count) {
        rank_begin[++rank] = action_count;
    }
    return p->whole_count == s->stage_count * s->microbatch_count;
}

static void fill_rows(const struct pp_sched *s, struct rows *rows) {
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        int32_t before = pp_sched_stage_before(s, stage);
        int32_t after = pp_sched_stage_after(s, stage);
        rows[stage] =
            (struct rows){.own = stage * s->microbatch_count,
                          .before = (before < 0 ? s->stage_count : before) * s->microbatch_count,
                          .after = (after < 0 ? s->stage_count : after) * s->microbatch_count,
                          .rank = s->stage_rank[stage]};
    }
}

bool pp_sched_seal_plain(struct pp_sched *s) {
    int64_t pass_count = (int64_t)(s->stage_count + 1) * s->microbatch_count;
    if (s->lowered || s->slice_count > 1 ||
        s->action_count < 2 * (int64_t)s->stage_count * s->microbatch_count) {
        return false;
    }
    free(s->producer); /* of an earlier attempt, as reload */
    free(s->reload);
    s->reload = NULL;
    s->producer = pp_room_alloc((size_t)s->action_count * sizeof *s->producer);
    struct rows *rows = malloc((size_t)s->stage_count * sizeof *rows);
    struct plain p = {.actions = s->actions,
                      .rows = rows,
                      .passes = pp_room_alloc_zero((size_t)pass_count * sizeof *p.passes),
                      .producer = s->producer};
    bool sealed = false;
    if (rows != NULL && p.passes != NULL && p.producer != NULL) {
        fill_rows(s, rows);
        sealed = take_all(&p, s);
    }
    free(p.passes);
    free(rows);
    return sealed;
}
