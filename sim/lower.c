/* Lowering: the entry, the counts, and the pen that writes lowered actions. */
#include "sim/lower_priv.h"

#include <stdlib.h>

const char *pp_lower_mode_text(enum pp_lower_mode mode) {
    static const char *const texts[] = {
#define PP_LOWER_MODE_TEXT(name, text) text,
        PP_LOWER_MODE_LIST(PP_LOWER_MODE_TEXT)
#undef PP_LOWER_MODE_TEXT
    };
    return mode < PP_LOWER_MODE_COUNT ? texts[mode] : "?";
}

int32_t pp_lower_lacking(const struct pp_sched *s, const int32_t *next_action, int32_t at) {
    for (int32_t i = 0; i < pp_sched_cell_size(s, at); i++) {
        int32_t producer = s->producer[at + i];
        if (producer >= 0 &&
            producer >= next_action[pp_sched_producer_rank(s, &s->actions[at + i])]) {
            return producer;
        }
    }
    return -1;
}

static void put(struct pp_lower *l, int32_t rank, enum pp_action_type type, int32_t stage,
                int32_t microbatch) {
    l->actions[l->action_end[rank]++] = (struct pp_action){.stage = stage,
                                                           .microbatch = microbatch,
                                                           .cell = l->cell_count[rank]++,
                                                           .type = (uint8_t)type};
}

void pp_lower_put_item(struct pp_lower *l, int32_t rank, const struct pp_lower_item *item) {
    if (item->type >= PP_UNSHARD && item->type <= PP_REDUCE_GRAD) {
        put(l, rank, (enum pp_action_type)item->type, item->index, item->microbatch);
        return;
    }
    int32_t cell = l->cell_count[rank]++;
    for (int32_t i = 0; i < pp_sched_cell_size(l->s, item->index); i++) {
        struct pp_action *a = &l->actions[l->action_end[rank]++];
        *a = l->s->actions[item->index + i];
        a->cell = cell;
    }
}

void pp_lower_put_send(struct pp_lower *l, const struct pp_action *a) {
    put(l, l->s->stage_rank[a->stage], a->type == PP_F ? PP_SEND_F : PP_SEND_B, a->stage,
        a->microbatch);
}

void pp_lower_put_recv(struct pp_lower *l, const struct pp_action *a, int32_t receiver) {
    put(l, l->s->stage_rank[receiver], a->type == PP_F ? PP_RECV_F : PP_RECV_B, receiver,
        a->microbatch);
}

/* Counts what each rank will hold, and sets its first place. */
static enum pp_status make_room(struct pp_lower *l, struct pp_err *err) {
    const struct pp_sched *s = l->s;
    int64_t total = 0;
    l->action_end = calloc((size_t)s->rank_count + 1, sizeof *l->action_end);
    l->cell_count = calloc((size_t)s->rank_count, sizeof *l->cell_count);
    if (l->action_end == NULL || l->cell_count == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", s->rank_count);
    }
    for (int32_t at = 0; at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        int32_t receiver = pp_lower_receiver(s, a);
        l->action_end[s->stage_rank[a->stage]] += (a->pair == 2) + (receiver >= 0);
        if (receiver >= 0) {
            l->action_end[s->stage_rank[receiver]]++;
        }
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        int32_t count = l->action_end[rank] + l->item_begin[rank + 1] - l->item_begin[rank];
        l->action_end[rank] = (int32_t)total;
        total += count;
        if (total > PP_SCHED_MAX_LOWERED_ACTIONS) {
            return pp_fail(err, PP_E_RANGE, "more than %d actions after lowering",
                           PP_SCHED_MAX_LOWERED_ACTIONS);
        }
    }
    l->actions = malloc((size_t)total * sizeof *l->actions);
    return l->actions != NULL
               ? PP_OK
               : pp_fail(err, PP_E_NOMEM, "out of memory for %lld actions", (long long)total);
}

/* Makes a sealed schedule of the actions, which it takes over. */
static enum pp_status finish(struct pp_lower *l, struct pp_sched **lowered_p, struct pp_err *err) {
    const struct pp_sched *s = l->s;
    struct pp_sched *lowered = NULL;
    PP_TRY(pp_sched_create(s->rank_count, s->stage_count, s->microbatch_count, s->stage_rank,
                           &lowered, err));
    pp_sched_set_lowered(lowered);
    lowered->part_count = s->part_count;
    lowered->slice_count = s->slice_count;
    lowered->actions = l->actions;
    lowered->action_count = l->action_end[s->rank_count - 1];
    lowered->action_capacity = lowered->action_count;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        lowered->cell_count[rank] = l->cell_count[rank];
    }
    l->actions = NULL;
    enum pp_status status = pp_sched_seal(lowered, err);
    if (status != PP_OK) {
        pp_sched_destroy(lowered);
        return status;
    }
    *lowered_p = lowered;
    return PP_OK;
}

static enum pp_status check(const struct pp_sched *s, const struct pp_lower_options *options,
                            struct pp_err *err) {
    PP_ASSERT(s->sealed);
    if (s->lowered) {
        return pp_fail(err, PP_E_ARG, "the schedule is lowered already");
    }
    if (options->max_active_stages < 1) {
        return pp_fail(err, PP_E_RANGE, "active stages: got %d, need at least 1",
                       options->max_active_stages);
    }
    if (options->look_ahead < 0) {
        return pp_fail(err, PP_E_RANGE, "look-ahead: got %d, need at least 0", options->look_ahead);
    }
    if (options->reduce_every < 0) {
        return pp_fail(err, PP_E_RANGE, "microbatches a reduction: got %d, need at least 0",
                       options->reduce_every);
    }
    return PP_OK;
}

enum pp_status pp_sched_lower(const struct pp_sched *s, const struct pp_lower_options *options,
                              struct pp_sched **lowered_p, struct pp_err *err) {
    PP_TRY(check(s, options, err));
    struct pp_lower l = {.s = s, .options = options};
    enum pp_status status = pp_lower_own_items(&l, err);
    if (status == PP_OK) {
        status = make_room(&l, err);
    }
    if (status == PP_OK) {
        static enum pp_status (*const place[])(struct pp_lower *, struct pp_err *) = {
            [PP_LOWER_TORCH] = pp_lower_torch,
            [PP_LOWER_OURS] = pp_lower_ours,
            [PP_LOWER_BATCHED] = pp_lower_batched,
        };
        status = place[options->mode](&l, err);
    }
    if (status == PP_OK) {
        status = finish(&l, lowered_p, err);
    }
    free(l.items);
    free(l.item_begin);
    free(l.actions);
    free(l.action_end);
    free(l.cell_count);
    return status;
}
