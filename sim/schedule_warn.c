#include "sim/schedule_warn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static void warn(struct pp_sched_warnings *warnings,
                                                       const char *code, const char *format, ...) {
    struct pp_sched_warning *w = &warnings->items[warnings->count++];
    w->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(w->message, sizeof w->message, format, args);
    va_end(args);
}

/* @return whether it warned */
static bool warn_loss_order(const struct pp_sched *s, int32_t stage,
                            struct pp_sched_warnings *warnings) {
    int32_t rank = s->stage_rank[stage];
    int32_t last = -1;
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        if (a->type != PP_F || a->stage != stage) {
            continue;
        }
        if (a->microbatch < last) {
            warn(warnings, "W_LOSS_ORDER",
                 "row %d, column %d: %dF%d runs after %dF%d, but the last stage must run its "
                 "forwards in the order of the microbatches: PyTorch mixes up the losses, and "
                 "gradients are wrong",
                 rank + 1, a->cell + 1, stage, a->microbatch, stage, last);
            return true;
        }
        last = a->microbatch;
    }
    return false;
}

/* Numbers the SENDs, or the RECVs, of each channel. */
struct channel_count {
    const struct pp_sched *s;
    int32_t *number; /* [action_count] */
    int32_t *count;  /* [rank_count] messages between a rank and each other one; 0 between ranks */
};

/* Rank at the other end of a SEND or RECV. */
static int32_t other_rank(const struct pp_sched *s, const struct pp_action *a) {
    bool after = a->type == PP_SEND_F || a->type == PP_RECV_B;
    return s->stage_rank[after ? pp_sched_stage_after(s, a->stage)
                               : pp_sched_stage_before(s, a->stage)];
}

static void number_messages(struct channel_count *c, int32_t rank, enum pp_action_type forward,
                            enum pp_action_type backward) {
    const struct pp_sched *s = c->s;
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        if (a->type == forward || a->type == backward) {
            c->number[at] = c->count[other_rank(s, a)]++;
        }
    }
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        if (a->type == forward || a->type == backward) {
            c->count[other_rank(s, a)] = 0;
        }
    }
}

static void warn_fifo(const struct channel_count *c, struct pp_sched_warnings *warnings) {
    const struct pp_sched *s = c->s;
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        if ((a->type != PP_RECV_F && a->type != PP_RECV_B) ||
            c->number[at] == c->number[s->producer[at]]) {
            continue;
        }
        int32_t rank = s->stage_rank[a->stage];
        char text[PP_ACTION_TEXT_BYTES];
        char send[PP_ACTION_TEXT_BYTES];
        warn(warnings, "W_FIFO",
             "row %d, column %d: %s is message %d that rank %d receives from rank %d, but %s is "
             "message %d sent: messages are matched by their order, so tensors are mixed up",
             rank + 1, a->cell + 1, pp_action_text(a, text), c->number[at] + 1, rank,
             other_rank(s, a), pp_action_text(&s->actions[s->producer[at]], send),
             c->number[s->producer[at]] + 1);
        return;
    }
}

static enum pp_status check_fifo(const struct pp_sched *s, struct pp_sched_warnings *warnings,
                                 struct pp_err *err) {
    struct channel_count c = {.s = s};
    c.number = malloc((size_t)s->action_count * sizeof *c.number);
    c.count = calloc((size_t)s->rank_count, sizeof *c.count);
    enum pp_status status = PP_OK;
    if (c.number == NULL || c.count == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for %d actions", s->action_count);
    } else {
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            number_messages(&c, rank, PP_SEND_F, PP_SEND_B);
            number_messages(&c, rank, PP_RECV_F, PP_RECV_B);
        }
        warn_fifo(&c, warnings);
    }
    free(c.number);
    free(c.count);
    return status;
}

static enum pp_status check_placement(const struct pp_sched *s, const struct pp_schedule_info *info,
                                      struct pp_sched_warnings *warnings, struct pp_err *err) {
    int32_t *built = malloc((size_t)s->stage_count * sizeof *built);
    if (built == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d stages", s->stage_count);
    }
    bool is_v = info->automodel_placement == PP_PLACE_V;
    if (pp_place(info->automodel_placement, s->rank_count, s->stage_count, built, NULL) != PP_OK) {
        warn(warnings, "W_PLACEMENT",
             "under the name %s Automodel cannot build %d stages on %d ranks in a %s", info->name,
             s->stage_count, s->rank_count, is_v ? "V" : "loop");
        free(built);
        return PP_OK;
    }
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        if (built[stage] != s->stage_rank[stage]) {
            warn(warnings, "W_PLACEMENT",
                 "stage %d runs on rank %d, but under the name %s Automodel builds stages in a %s, "
                 "this one on rank %d; pair a V-shaped file with ZBVZeroBubble, a looped one with "
                 "Interleaved1F1B",
                 stage, s->stage_rank[stage], info->name, is_v ? "V" : "loop", built[stage]);
            break;
        }
    }
    free(built);
    return PP_OK;
}

enum pp_status pp_sched_warn(const struct pp_sched *s, const struct pp_schedule_info *info,
                             struct pp_sched_warnings *warnings, struct pp_err *err) {
    PP_ASSERT(s->sealed);
    warnings->count = 0;
    for (int32_t last = s->part_count - 1; last < s->stage_count; last += s->part_count) {
        if (warn_loss_order(s, last, warnings)) {
            break;
        }
    }
    if (s->lowered) {
        PP_TRY(check_fifo(s, warnings, err));
    }
    if (info != NULL && info->in_pytorch) {
        PP_TRY(check_placement(s, info, warnings, err));
    }
    return PP_OK;
}
