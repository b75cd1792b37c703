#include "sim/schedule_add.h"

#include "sim/schedule_room.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 256 };

static enum pp_status check_counts(int32_t rank_count, int32_t stage_count,
                                   int32_t microbatch_count, struct pp_err *err) {
    if (rank_count < 1 || rank_count > PP_SCHED_MAX_RANKS) {
        return pp_fail(err, PP_E_RANGE, "ranks: got %d, need 1 to %d", rank_count,
                       PP_SCHED_MAX_RANKS);
    }
    if (stage_count < 1 || stage_count > PP_SCHED_MAX_STAGES) {
        return pp_fail(err, PP_E_RANGE, "stages: got %d, need 1 to %d", stage_count,
                       PP_SCHED_MAX_STAGES);
    }
    if (microbatch_count < 1 || microbatch_count > PP_SCHED_MAX_MICROBATCHES) {
        return pp_fail(err, PP_E_RANGE, "microbatches: got %d, need 1 to %d", microbatch_count,
                       PP_SCHED_MAX_MICROBATCHES);
    }
    int64_t fewest = (int64_t)2 * stage_count * microbatch_count;
    if (fewest > PP_SCHED_MAX_ACTIONS) {
        return pp_fail(err, PP_E_RANGE,
                       "%d stages x %d microbatches need at least %lld actions, the limit is %d",
                       stage_count, microbatch_count, (long long)fewest, PP_SCHED_MAX_ACTIONS);
    }
    return PP_OK;
}

/* Takes the placement over; every rank must hold a stage. */
static enum pp_status place(struct pp_sched *s, const int32_t *stage_rank, struct pp_err *err) {
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        int32_t rank = stage_rank[stage];
        if (rank < 0 || rank >= s->rank_count) {
            return pp_fail(err, PP_E_PLACEMENT, "stage %d is on rank %d, need 0 to %d", stage, rank,
                           s->rank_count - 1);
        }
        s->stage_rank[stage] = rank;
        s->rank_stages[rank]++;
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        if (s->rank_stages[rank] == 0) {
            return pp_fail(err, PP_E_PLACEMENT, "rank %d holds none of the %d stages", rank,
                           s->stage_count);
        }
    }
    return PP_OK;
}

enum pp_status pp_sched_create(int32_t rank_count, int32_t stage_count, int32_t microbatch_count,
                               const int32_t *stage_rank, struct pp_sched **sched_p,
                               struct pp_err *err) {
    PP_TRY(check_counts(rank_count, stage_count, microbatch_count, err));
    struct pp_sched *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for a schedule");
    }
    s->rank_count = rank_count;
    s->stage_count = stage_count;
    s->microbatch_count = microbatch_count;
    s->part_count = stage_count;
    s->slice_count = 1;
    s->stage_rank = malloc((size_t)stage_count * sizeof *s->stage_rank);
    s->rank_stages = calloc((size_t)rank_count, sizeof *s->rank_stages);
    s->rank_begin = calloc((size_t)rank_count + 1, sizeof *s->rank_begin);
    s->cell_count = calloc((size_t)rank_count, sizeof *s->cell_count);
    enum pp_status status;
    if (s->stage_rank == NULL || s->rank_stages == NULL || s->rank_begin == NULL ||
        s->cell_count == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for a schedule of %d ranks, %d stages",
                         rank_count, stage_count);
    } else {
        status = place(s, stage_rank, err);
    }
    if (status != PP_OK) {
        pp_sched_destroy(s);
        return status;
    }
    *sched_p = s;
    return PP_OK;
}

void pp_sched_destroy(struct pp_sched *s) {
    if (s != NULL) {
        free(s->stage_rank);
        free(s->rank_stages);
        free(s->rank_begin);
        free(s->cell_count);
        free(s->actions);
        free(s->producer);
        free(s->reload);
        free(s);
    }
}

enum pp_status pp_sched_set_bidirectional(struct pp_sched *s, struct pp_err *err) {
    PP_ASSERT(!s->sealed && s->action_count == 0);
    if (s->stage_count % 2 != 0) {
        return pp_fail(
            err, PP_E_RANGE,
            "two pipelines over %d stages, need an even number: a copy of the model each",
            s->stage_count);
    }
    s->part_count = s->stage_count / 2;
    return PP_OK;
}

enum pp_status pp_sched_set_slices(struct pp_sched *s, int32_t slice_count, struct pp_err *err) {
    PP_ASSERT(!s->sealed && s->action_count == 0);
    if (slice_count < 1 || s->microbatch_count % slice_count != 0) {
        return pp_fail(err, PP_E_RANGE, "%d units are no whole microbatches of %d slices",
                       s->microbatch_count, slice_count);
    }
    s->slice_count = slice_count;
    return PP_OK;
}

void pp_sched_set_lowered(struct pp_sched *s) {
    PP_ASSERT(!s->sealed && s->action_count == 0);
    s->lowered = true;
}

static int32_t most_actions(const struct pp_sched *s) {
    return s->lowered ? PP_SCHED_MAX_LOWERED_ACTIONS : PP_SCHED_MAX_ACTIONS;
}

/* Whether actions of the type may have this microbatch, or -1 for none. */
static bool may_have(const struct pp_sched *s, enum pp_action_type type, int32_t microbatch) {
    if (microbatch == -1) {
        return !pp_action_has_microbatch(type);
    }
    return (uint32_t)microbatch < (uint32_t)s->microbatch_count &&
           (pp_action_has_microbatch(type) || type == PP_REDUCE_GRAD);
}

/* Why an action was refused; called only when it was. */
static enum pp_status refuse(const struct pp_sched *s, int32_t rank, enum pp_action_type type,
                             int32_t stage, int32_t microbatch, struct pp_err *err) {
    if (rank < 0 || rank >= s->rank_count) {
        return pp_fail(err, PP_E_RANGE, "rank %d is out of range, need 0 to %d", rank,
                       s->rank_count - 1);
    }
    if (type > PP_B && type < PP_OFFLOAD && !s->lowered) {
        return pp_fail(err, PP_E_RANGE, "%s is not a compute action, need F, I, W or B",
                       pp_action_type_text(type));
    }
    if (stage < 0 || stage >= s->stage_count) {
        return pp_fail(err, PP_E_RANGE, "stage %d is out of range, need 0 to %d", stage,
                       s->stage_count - 1);
    }
    if ((type == PP_UNSHARD || type == PP_RESHARD) && microbatch != -1) {
        return pp_fail(err, PP_E_RANGE, "%s has no microbatch, need -1, got %d",
                       pp_action_type_text(type), microbatch);
    }
    if (!may_have(s, type, microbatch)) {
        return pp_fail(err, PP_E_RANGE, "microbatch %d is out of range, need 0 to %d", microbatch,
                       s->microbatch_count - 1);
    }
    if (s->stage_rank[stage] != rank) {
        struct pp_action a = {.stage = stage, .microbatch = microbatch, .type = (uint8_t)type};
        char text[PP_ACTION_TEXT_BYTES];
        return pp_fail(err, PP_E_PLACEMENT, "%s on rank %d, but stage %d is on rank %d",
                       pp_action_text(&a, text), rank, stage, s->stage_rank[stage]);
    }
    return pp_fail(err, PP_E_RANGE, "rank %d has more than %d cells", rank, most_actions(s));
}

static bool is_acceptable(const struct pp_sched *s, int32_t rank, enum pp_action_type type,
                          int32_t stage, int32_t microbatch) {
    return (uint32_t)rank < (uint32_t)s->rank_count &&
           (type <= PP_B || type >= PP_OFFLOAD || s->lowered) &&
           (uint32_t)stage < (uint32_t)s->stage_count && may_have(s, type, microbatch) &&
           s->stage_rank[stage] == rank && s->cell_count[rank] < most_actions(s);
}

/* Makes room for `extra` more actions. */
static enum pp_status reserve(struct pp_sched *s, int32_t extra, struct pp_err *err) {
    if (s->action_count + extra <= s->action_capacity) {
        return PP_OK;
    }
    if (s->action_count + extra > most_actions(s)) {
        return pp_fail(err, PP_E_RANGE, "more than %d actions", most_actions(s));
    }
    int32_t capacity = s->action_capacity < FIRST_CAPACITY ? FIRST_CAPACITY : s->action_capacity;
    if (capacity == s->action_capacity) {
        capacity *= 2;
    }
    struct pp_action *actions = realloc(s->actions, (size_t)capacity * sizeof *actions);
    if (actions == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d actions", capacity);
    }
    s->actions = actions;
    s->action_capacity = capacity;
    return PP_OK;
}

enum pp_status pp_sched_expect(struct pp_sched *s, int32_t action_count, struct pp_err *err) {
    if (s->actions != NULL) {
        return PP_OK; /* it grows as it goes */
    }
    struct pp_action *actions = pp_room_alloc((size_t)action_count * sizeof *actions);
    if (actions == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d actions", action_count);
    }
    s->actions = actions;
    s->action_capacity = action_count;
    return PP_OK;
}

static void append(struct pp_sched *s, enum pp_action_type type, int32_t stage, int32_t microbatch,
                   int32_t cell, uint8_t pair) {
    s->actions[s->action_count++] = (struct pp_action){.stage = stage,
                                                       .microbatch = microbatch,
                                                       .cell = cell,
                                                       .type = (uint8_t)type,
                                                       .pair = pair};
}

enum pp_status pp_sched_add(struct pp_sched *s, int32_t rank, enum pp_action_type type,
                            int32_t stage, int32_t microbatch, struct pp_err *err) {
    PP_ASSERT(!s->sealed);
    if (pp_sched_try_add(s, rank, type, stage, microbatch)) {
        return PP_OK;
    }
    if (!is_acceptable(s, rank, type, stage, microbatch)) {
        return refuse(s, rank, type, stage, microbatch, err);
    }
    PP_TRY(reserve(s, 1, err));
    append(s, type, stage, microbatch, s->cell_count[rank], 0);
    s->cell_count[rank] += type <= PP_B || s->lowered; /* to the host: no cell in compute-only */
    return PP_OK;
}

enum pp_status pp_sched_add_pair(struct pp_sched *s, int32_t rank, enum pp_action_type first,
                                 int32_t first_stage, int32_t first_microbatch,
                                 enum pp_action_type second, int32_t second_stage,
                                 int32_t second_microbatch, struct pp_err *err) {
    PP_ASSERT(!s->sealed);
    if (!is_acceptable(s, rank, first, first_stage, first_microbatch)) {
        return refuse(s, rank, first, first_stage, first_microbatch, err);
    }
    if (!is_acceptable(s, rank, second, second_stage, second_microbatch)) {
        return refuse(s, rank, second, second_stage, second_microbatch, err);
    }
    if ((first == PP_F) == (second == PP_F) || first > PP_B || second > PP_B) {
        return pp_fail(err, PP_E_RANGE, "a pair of %s and %s, need one F and one of I, W, B",
                       pp_action_type_text(first), pp_action_type_text(second));
    }
    PP_TRY(reserve(s, 2, err));
    int32_t cell = s->cell_count[rank]++;
    append(s, first, first_stage, first_microbatch, cell, 1);
    append(s, second, second_stage, second_microbatch, cell, 2);
    return PP_OK;
}

enum pp_status pp_sched_add_idle(struct pp_sched *s, int32_t rank, int32_t count,
                                 struct pp_err *err) {
    PP_ASSERT(!s->sealed);
    if (rank < 0 || rank >= s->rank_count) {
        return pp_fail(err, PP_E_RANGE, "rank %d is out of range, need 0 to %d", rank,
                       s->rank_count - 1);
    }
    if (s->lowered) {
        return pp_fail(err, PP_E_RANGE, "a lowered schedule has no idle cells");
    }
    if (count < 0 || count > PP_SCHED_MAX_ACTIONS - s->cell_count[rank]) {
        return pp_fail(err, PP_E_RANGE, "%d more idle cells on rank %d, which has %d of %d", count,
                       rank, s->cell_count[rank], PP_SCHED_MAX_ACTIONS);
    }
    s->cell_count[rank] += count;
    return PP_OK;
}

int32_t pp_sched_shares_of(const struct pp_sched *s, int32_t rank) {
    return (int32_t)((int64_t)pp_sched_stages_of(s, rank) * s->part_count / s->stage_count);
}

int32_t pp_sched_producer_rank(const struct pp_sched *s, const struct pp_action *a) {
    int32_t stage = -1;
    if (a->type == PP_F) {
        stage = pp_sched_stage_before(s, a->stage);
    } else if (a->type == PP_I || a->type == PP_B) {
        stage = pp_sched_stage_after(s, a->stage);
    }
    return stage < 0 ? -1 : s->stage_rank[stage];
}

const char *pp_action_type_text(enum pp_action_type type) {
    static const char *const texts[] = {
#define PP_ACTION_TEXT(name, text) text,
        PP_ACTION_LIST(PP_ACTION_TEXT)
#undef PP_ACTION_TEXT
    };
    return type < PP_ACTION_TYPE_COUNT ? texts[type] : "?";
}

/* Decimal digits of n >= 0. Schedules are written by the million, so not by printf. */
static size_t put_number(int32_t n, char *out) {
    char digits[12];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    for (size_t i = 0; i < count; i++) {
        out[i] = digits[count - 1 - i];
    }
    return count;
}

size_t pp_action_put(const struct pp_action *a, char out[PP_ACTION_TEXT_BYTES]) {
    size_t n = put_number(a->stage, out);
    for (const char *c = pp_action_type_text(a->type); *c != '\0'; c++) {
        out[n++] = *c;
    }
    if (a->microbatch >= 0) {
        n += put_number(a->microbatch, out + n);
    }
    return n;
}

const char *pp_action_text(const struct pp_action *a, char out[PP_ACTION_TEXT_BYTES]) {
    out[pp_action_put(a, out)] = '\0';
    return out;
}
