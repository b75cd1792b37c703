/* Checking what lowering adds to a schedule: every transfer between ranks once on both sides, sends
 * after and receives before the compute action they serve, parameters gathered where they are used,
 * gradients reduced when they are whole. */
#include "sim/schedule_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* The transfers of one (stage, microbatch) by type, as index + 1; 0 = none seen yet. */
struct transfers {
    int32_t of[PP_TRANSFER_TYPE_COUNT];
};

/* What a stage has done so far. */
struct stage_state {
    int32_t weight_count;  /* microbatches whose gradients are whole */
    int32_t reduced_count; /* of these, before its last REDUCE_GRAD; -1 before the first */
    int32_t reduced_at;    /* that REDUCE_GRAD */
    bool is_gathered;      /* between UNSHARD and RESHARD */
};

struct check {
    const struct pp_sched *s;
    const struct pp_sched_slot *slots;
    struct transfers *transfers;  /* [stage_count * microbatch_count] */
    struct stage_state *stages;   /* [stage_count] */
    bool gathers, reduces;        /* whether the schedule has any UNSHARD, any REDUCE_GRAD */
    struct pp_findings *findings; /* NULL: the first failure ends the check */
};

static int64_t slot_index(const struct pp_sched *s, int32_t stage, int32_t microbatch) {
    return (int64_t)stage * s->microbatch_count + microbatch;
}

/* The stage at the other end; -1 if there is none. */
static int32_t peer_stage(const struct pp_sched *s, enum pp_action_type type, int32_t stage) {
    return type == PP_SEND_F || type == PP_RECV_B ? pp_sched_stage_after(s, stage)
                                                  : pp_sched_stage_before(s, stage);
}

static bool crosses_ranks(const struct pp_sched *s, int32_t stage, int32_t peer) {
    return peer >= 0 && s->stage_rank[peer] != s->stage_rank[stage];
}

/* The action of the other end that makes a RECV possible: its SEND. */
static enum pp_action_type sender_of(enum pp_action_type recv) {
    return recv == PP_RECV_F ? PP_SEND_F : PP_SEND_B;
}

static enum pp_status check_transfer(struct check *c, int32_t at, struct pp_err *err) {
    const struct pp_sched *s = c->s;
    const struct pp_action *a = &s->actions[at];
    int64_t index = slot_index(s, a->stage, a->microbatch);
    int32_t peer = peer_stage(s, a->type, a->stage);
    char why[96];
    if (!crosses_ranks(s, a->stage, peer)) {
        if (peer < 0) {
            snprintf(why, sizeof why, "has no other end: stage %d is the %s of its pipeline",
                     a->stage, pp_sched_stage_after(s, a->stage) < 0 ? "last" : "first");
        } else {
            snprintf(why, sizeof why, "is no transfer: stages %d and %d are on one rank", a->stage,
                     peer);
        }
        return pp_sched_misplaced(s, at, why, err);
    }
    int32_t *seen = &c->transfers[index].of[a->type - PP_SEND_F];
    if (*seen != 0) {
        return pp_sched_misplaced(s, at, "appears a second time", err);
    }
    *seen = at + 1;
    bool forward = a->type == PP_SEND_F || a->type == PP_RECV_F;
    int32_t served = forward ? c->slots[index].forward - 1 : c->slots[index].backward - 1;
    char text[PP_ACTION_TEXT_BYTES];
    pp_action_text(&s->actions[served], text);
    if ((a->type == PP_SEND_F || a->type == PP_SEND_B) && at < served) {
        snprintf(why, sizeof why, "comes before %s, which makes what it sends", text);
        return pp_sched_misplaced(s, at, why, err);
    }
    if ((a->type == PP_RECV_F || a->type == PP_RECV_B) && at > served) {
        snprintf(why, sizeof why, "comes after %s, which needs it", text);
        return pp_sched_misplaced(s, at, why, err);
    }
    return PP_OK;
}

/* REDUCE_GRAD: one of all microbatches, or numbered ones, each of which takes in what became whole
 * since the one before. */
static enum pp_status check_reduction(const struct check *c, int32_t at, struct stage_state *state,
                                      struct pp_err *err) {
    const struct pp_sched *s = c->s;
    const struct pp_action *a = &s->actions[at];
    if (state->reduced_count >= 0 &&
        (a->microbatch < 0 || s->actions[state->reduced_at].microbatch < 0)) {
        return pp_sched_misplaced(s, at,
                                  a->microbatch == s->actions[state->reduced_at].microbatch
                                      ? "appears a second time"
                                      : "needs a microbatch number on all of its stage's "
                                        "REDUCE_GRADs, or one for all microbatches",
                                  err);
    }
    if (a->microbatch < 0 && state->weight_count != s->microbatch_count) {
        return pp_sched_misplaced(s, at, "comes before its stage's last B or W", err);
    }
    if (a->microbatch >= 0) {
        int32_t weight = c->slots[slot_index(s, a->stage, a->microbatch)].weight - 1;
        if (weight > at) {
            return pp_sched_misplaced(s, at, "comes before the B or W of its microbatch", err);
        }
        if (state->reduced_count >= 0 && weight < state->reduced_at) {
            return pp_sched_misplaced(
                s, at, "takes in a microbatch that its stage's REDUCE_GRAD before has", err);
        }
    }
    state->reduced_count = state->weight_count;
    state->reduced_at = at;
    return PP_OK;
}

static enum pp_status check_stage_action(struct check *c, int32_t at, struct pp_err *err) {
    const struct pp_sched *s = c->s;
    enum pp_action_type type = s->actions[at].type;
    struct stage_state *state = &c->stages[s->actions[at].stage];
    if (type <= PP_B) {
        state->weight_count += type == PP_W || type == PP_B;
        return !c->gathers || state->is_gathered
                   ? PP_OK
                   : pp_sched_misplaced(s, at, "runs outside of its stage's UNSHARD and RESHARD",
                                        err);
    }
    if (type == PP_UNSHARD || type == PP_RESHARD) {
        if (state->is_gathered == (type == PP_UNSHARD)) {
            return pp_sched_misplaced(s, at,
                                      type == PP_UNSHARD
                                          ? "gathers a stage that is gathered already"
                                          : "frees a stage that is not gathered",
                                      err);
        }
        state->is_gathered = type == PP_UNSHARD;
    } else if (type == PP_REDUCE_GRAD) {
        return check_reduction(c, at, state, err);
    }
    return PP_OK;
}

/* Reports an action that the rank of `stage` lacks. @param microbatch  -1 where it has none */
static enum pp_status missing(const struct check *c, enum pp_action_type type, int32_t stage,
                              int32_t microbatch, const char *why, struct pp_err *err) {
    const struct pp_sched *s = c->s;
    struct pp_action a = {.stage = stage, .microbatch = microbatch, .type = (uint8_t)type};
    int32_t rank = s->stage_rank[stage];
    char text[PP_ACTION_TEXT_BYTES];
    enum pp_status status = pp_fail(err, PP_E_CSV, "rank %d never runs %s in row %d: %s", rank,
                                    pp_action_text(&a, text), rank + 1, why);
    pp_err_place(err, NULL, rank + 1, s->cell_count[rank]);
    return pp_findings_take(c->findings, status, err, text);
}

/* Microbatch of the stage's last B or W. */
static int32_t last_weight(const struct check *c, int32_t stage) {
    int32_t last = 0;
    for (int32_t m = 1; m < c->s->microbatch_count; m++) {
        if (c->slots[slot_index(c->s, stage, m)].weight >
            c->slots[slot_index(c->s, stage, last)].weight) {
            last = m;
        }
    }
    return last;
}

static enum pp_status check_missing(const struct check *c, struct pp_err *err) {
    const struct pp_sched *s = c->s;
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        const struct stage_state *state = &c->stages[stage];
        if (state->is_gathered) {
            PP_TRY(
                missing(c, PP_RESHARD, stage, -1, "the stage is still gathered at the end", err));
        }
        if (c->reduces && state->reduced_count < 0) {
            PP_TRY(
                missing(c, PP_REDUCE_GRAD, stage, -1, "other stages reduce their gradients", err));
        } else if (c->reduces && state->reduced_count < s->microbatch_count) {
            PP_TRY(missing(c, PP_REDUCE_GRAD, stage, last_weight(c, stage),
                           "a B or W of the stage comes after its last REDUCE_GRAD", err));
        }
        for (enum pp_action_type type = PP_SEND_F; type <= PP_RECV_B; type++) {
            if (!crosses_ranks(s, stage, peer_stage(s, type, stage))) {
                continue;
            }
            for (int32_t m = 0; m < s->microbatch_count; m++) {
                if (c->transfers[slot_index(s, stage, m)].of[type - PP_SEND_F] == 0) {
                    PP_TRY(missing(c, type, stage, m, "every transfer needs one SEND and one RECV",
                                   err));
                }
            }
        }
    }
    return PP_OK;
}

static enum pp_status check_all(struct check *c, struct pp_err *err) {
    const struct pp_sched *s = c->s;
    for (int32_t at = 0; at < s->action_count; at++) {
        c->gathers = c->gathers || s->actions[at].type == PP_UNSHARD;
        c->reduces = c->reduces || s->actions[at].type == PP_REDUCE_GRAD;
    }
    for (int32_t at = 0; at < s->action_count; at++) {
        enum pp_action_type type = s->actions[at].type;
        enum pp_status status = type >= PP_SEND_F && type <= PP_RECV_B
                                    ? check_transfer(c, at, err)
                                    : check_stage_action(c, at, err);
        if (status != PP_OK) {
            char text[PP_ACTION_TEXT_BYTES];
            PP_TRY(
                pp_findings_take(c->findings, status, err, pp_action_text(&s->actions[at], text)));
        }
    }
    PP_TRY(check_missing(c, err));
    if (c->findings != NULL && c->findings->count > 0) {
        *err = c->findings->items[0].err;
        return err->status;
    }
    return PP_OK;
}

/* The action whose output `a` needs, as index + 1; 0 if none. */
static int32_t producer_of(const struct check *c, const struct pp_action *a) {
    const struct pp_sched *s = c->s;
    enum pp_action_type type = a->type;
    if (type >= PP_UNSHARD || type == PP_W) {
        return 0;
    }
    int64_t own = slot_index(s, a->stage, a->microbatch);
    if (type == PP_SEND_F || type == PP_SEND_B) {
        return type == PP_SEND_F ? c->slots[own].forward : c->slots[own].backward;
    }
    enum pp_action_type recv = type == PP_F || type == PP_RECV_F ? PP_RECV_F : PP_RECV_B;
    int32_t peer = peer_stage(s, recv, a->stage);
    if (peer < 0) {
        return 0;
    }
    int64_t other = slot_index(s, peer, a->microbatch);
    if (type == recv) {
        return c->transfers[other].of[sender_of(recv) - PP_SEND_F];
    }
    if (crosses_ranks(s, a->stage, peer)) {
        return c->transfers[own].of[recv - PP_SEND_F];
    }
    return type == PP_F ? c->slots[other].forward : c->slots[other].backward;
}

enum pp_status pp_sched_seal_lowered(struct pp_sched *s, const struct pp_sched_slot *slots,
                                     struct pp_findings *f, struct pp_err *err) {
    size_t slot_count = (size_t)s->stage_count * (size_t)s->microbatch_count;
    struct check c = {.s = s, .slots = slots, .findings = f};
    c.transfers = calloc(slot_count, sizeof *c.transfers);
    c.stages = calloc((size_t)s->stage_count, sizeof *c.stages);
    enum pp_status status = PP_OK;
    for (int32_t stage = 0; c.stages != NULL && stage < s->stage_count; stage++) {
        c.stages[stage].reduced_count = -1;
    }
    if (c.transfers == NULL || c.stages == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for %d actions", s->action_count);
    } else {
        status = check_all(&c, err);
    }
    for (int32_t at = 0; status == PP_OK && at < s->action_count; at++) {
        s->producer[at] = producer_of(&c, &s->actions[at]) - 1;
    }
    free(c.transfers);
    free(c.stages);
    return status;
}
