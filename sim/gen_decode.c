/* Orders from keys; see gen_decode.h. */
#include "sim/gen_decode.h"

#include <stdlib.h>
#include <string.h>

/* A kind is a type of action of one of a rank's stages: type * stages + place of the stage. */
enum { KIND_COUNT = 3 * PP_DECODE_MAX_LOCAL };

/* The next action of a kind, or nothing but NEVER where none is due: all have run, or the type
 * before it (F for I, I for W) has not run as often. */
struct head {
    int64_t key;
    int64_t input; /* when its input is there; NEVER = not made yet */
};

#define NEVER INT64_MAX

struct pp_decode_rank {
    int64_t clock, first, held;
    int64_t left; /* time of its actions that have not run */
    int32_t stage_begin, stage_count, action_begin;
    int32_t size;      /* actions run */
    int32_t choice;    /* kind that it would run next */
    int64_t first_end; /* when the soonest of its alternatives would be done */
    int32_t count[KIND_COUNT];
    int64_t cost[KIND_COUNT];
    int64_t keys_at[KIND_COUNT]; /* index of its first action among the keys */
    struct head heads[KIND_COUNT];
};

static void place(struct pp_decoder *d, const struct pp_sched *s) {
    const struct pp_gen_model *m = d->model;
    int32_t at = 0;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        struct pp_decode_rank *r = &d->ranks[rank];
        r->stage_begin = at;
        r->action_begin = 3 * at * s->microbatch_count;
        for (int32_t stage = 0; stage < s->stage_count; stage++) {
            if (s->stage_rank[stage] == rank) {
                d->rank_of[stage] = rank;
                d->local_of[stage] = at - r->stage_begin;
                d->stage_of[at++] = stage;
            }
        }
        r->stage_count = at - r->stage_begin;
        PP_ASSERT(r->stage_count <= PP_DECODE_MAX_LOCAL);
        for (int32_t i = 0; i < r->stage_count; i++) {
            int32_t stage = d->stage_of[r->stage_begin + i];
            const int64_t cost[3] = {m->f_ns[stage], m->i_ns[stage], m->w_ns[stage]};
            for (int32_t type = PP_F; type <= PP_W; type++) {
                int32_t kind = type * r->stage_count + i;
                r->cost[kind] = cost[type];
                r->keys_at[kind] = pp_decode_index(d, (enum pp_action_type)type, stage, 0);
            }
        }
    }
}

enum pp_status pp_decoder_init(struct pp_decoder *d, const struct pp_sched *s,
                               const struct pp_gen_model *model, struct pp_err *err) {
    PP_ASSERT(s->part_count == s->stage_count && s->slice_count == 1);
    size_t stages = (size_t)s->stage_count;
    size_t ranks = (size_t)s->rank_count;
    size_t actions = 3 * stages * (size_t)s->microbatch_count;
    size_t leaves = 2;
    while (leaves < ranks) {
        leaves *= 2;
    }
    *d = (struct pp_decoder){.model = model,
                             .rank_count = s->rank_count,
                             .stage_count = s->stage_count,
                             .microbatch_count = s->microbatch_count,
                             .action_count = (int64_t)actions,
                             .leaf_count = (int32_t)leaves};
    d->block = malloc((2 * actions + leaves) * sizeof *d->start + ranks * sizeof *d->ranks +
                      (leaves + 3 * stages) * sizeof *d->winner + actions);
    if (d->block == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d stages x %d microbatches",
                       s->stage_count, s->microbatch_count);
    }
    d->start = d->block;
    d->input = d->start + actions;
    d->next = d->input + actions;
    d->ranks = (struct pp_decode_rank *)(d->next + leaves);
    d->winner = (int32_t *)(d->ranks + ranks);
    d->rank_of = d->winner + leaves;
    d->local_of = d->rank_of + stages;
    d->stage_of = d->local_of + stages;
    d->order = (uint8_t *)(d->stage_of + stages);
    place(d, s);
    return PP_OK;
}

void pp_decoder_deinit(struct pp_decoder *d) {
    free(d->block);
    *d = (struct pp_decoder){0};
}

/* The rank's choice starts at `start`: plays its games of the tournament again. */
static void set_next(struct pp_decoder *d, int32_t rank, int64_t start) {
    d->next[rank] = start;
    int32_t left = rank & ~1;
    int32_t right = left + 1;
    for (int32_t at = (d->leaf_count + rank) / 2; at > 0; at /= 2) {
        d->winner[at] = d->next[right] < d->next[left] ? right : left;
        left = d->winner[at & ~1];
        right = d->winner[at | 1];
    }
}

static void refresh(struct pp_decoder *d, const int64_t *keys, struct pp_decode_rank *r,
                    int32_t kind) {
    int32_t next = r->count[kind];
    int32_t end = kind < r->stage_count ? d->microbatch_count : r->count[kind - r->stage_count];
    r->heads[kind] = (struct head){NEVER, NEVER};
    if (next < end) {
        int64_t at = r->keys_at[kind] + next;
        r->heads[kind].key = keys[at];
        r->heads[kind].input = d->input[at] < 0 ? NEVER : d->input[at];
    }
}

/* Is there memory for the next F of a stage, and after it for those of the rank's other stages with
 * smaller keys? */
static bool has_room(const struct pp_decoder *d, int32_t rank, int32_t local) {
    const struct pp_decode_rank *r = &d->ranks[rank];
    const int32_t *stages = d->stage_of + r->stage_begin;
    int64_t room = d->model->limit[rank] - r->held - d->model->adds[stages[local]];
    for (int32_t other = 0; other < r->stage_count; other++) {
        room -= r->heads[other].key < r->heads[local].key ? d->model->adds[stages[other]] : 0;
    }
    return room >= 0;
}

/* Decides what a rank would run next, from all that is known now. */
static void choose(struct pp_decoder *d, struct pp_decode_rules rules, int32_t rank) {
    struct pp_decode_rank *r = &d->ranks[rank];
    int32_t kinds = 3 * r->stage_count;
    int64_t most = NEVER;
    for (int32_t kind = 0; kind < kinds; kind++) {
        most = r->heads[kind].key < most ? r->heads[kind].key : most;
    }
    most = most > NEVER - rules.overtake ? NEVER : most + rules.overtake;
    int64_t start[KIND_COUNT];
    int64_t first_start = NEVER;
    int64_t first_end = NEVER;
    for (int32_t kind = 0; kind < kinds; kind++) {
        const struct head *h = &r->heads[kind];
        start[kind] = NEVER;
        if (h->input < NEVER && h->key <= most &&
            (kind >= r->stage_count || has_room(d, rank, kind))) {
            start[kind] = h->input > r->clock ? h->input : r->clock;
            int64_t end = start[kind] + r->cost[kind];
            first_start = start[kind] < first_start ? start[kind] : first_start;
            first_end = end < first_end ? end : first_end;
        }
    }
    if (first_start < NEVER) {
        int64_t last_start = first_start + (first_end - first_start) * rules.look / PP_DECODE_ALL;
        int64_t least = NEVER;
        for (int32_t kind = 0; kind < kinds; kind++) {
            if (start[kind] <= last_start && r->heads[kind].key < least) {
                least = r->heads[kind].key;
                r->choice = kind;
            }
        }
        first_start = start[r->choice];
    }
    r->first_end = first_end;
    set_next(d, rank, first_start);
}

/* Tells a rank that the input of an action is there from `input` on. Looks at the rank again if
 * that may change its choice. */
static void feed(struct pp_decoder *d, const int64_t *keys, struct pp_decode_rules rules,
                 enum pp_action_type type, int32_t stage, int32_t microbatch, int64_t input) {
    int32_t rank = d->rank_of[stage];
    struct pp_decode_rank *r = &d->ranks[rank];
    int32_t kind = (int32_t)type * r->stage_count + d->local_of[stage];
    d->input[r->keys_at[kind] + microbatch] = input;
    if (r->count[kind] == microbatch) {
        refresh(d, keys, r, kind);
        if (input <= r->first_end) { /* later ones are no alternative */
            choose(d, rules, rank);
        }
    }
}

/* Runs a rank's choice. */
static void run(struct pp_decoder *d, const int64_t *keys, struct pp_decode_rules rules,
                int32_t rank) {
    const struct pp_gen_model *m = d->model;
    struct pp_decode_rank *r = &d->ranks[rank];
    int32_t kind = r->choice;
    int32_t type = kind < r->stage_count ? PP_F : kind < 2 * r->stage_count ? PP_I : PP_W;
    int32_t stage = d->stage_of[r->stage_begin + kind - type * r->stage_count];
    int32_t microbatch = r->count[kind]++;
    int64_t start = d->next[rank];
    int64_t end = start + r->cost[kind];
    d->start[r->keys_at[kind] + microbatch] = start;
    d->order[r->action_begin + r->size] = (uint8_t)kind;
    r->first = r->size++ == 0 ? start : r->first;
    r->clock = end;
    r->left -= r->cost[kind];
    r->held += type == PP_F   ? m->adds[stage]
               : type == PP_I ? -m->i_frees[stage]
                              : -m->w_frees[stage];
    if (type == PP_I) {
        d->input[pp_decode_index(d, PP_W, stage, microbatch)] = end;
    } else if (type == PP_F && stage + 1 == d->stage_count) {
        d->input[pp_decode_index(d, PP_I, stage, microbatch)] = end;
    }
    refresh(d, keys, r, kind);
    if (type != PP_W) {
        refresh(d, keys, r, kind + r->stage_count);
    }
    choose(d, rules, rank);
    if (type == PP_F && stage + 1 < d->stage_count) {
        feed(d, keys, rules, PP_F, stage + 1, microbatch, end + m->recv_f_ns[stage + 1]);
    } else if (type == PP_I && stage > 0) {
        feed(d, keys, rules, PP_I, stage - 1, microbatch, end + m->recv_b_ns[stage - 1]);
    }
}

static void begin(struct pp_decoder *d, const int64_t *keys) {
    memset(d->input, 0xff, (size_t)d->action_count * sizeof *d->input);
    memset(d->input, 0, (size_t)d->microbatch_count * sizeof *d->input); /* F of stage 0 */
    for (int32_t i = 0; i < d->leaf_count; i++) {
        d->next[i] = NEVER;
    }
    for (int32_t at = d->leaf_count - 1; at > 0; at--) { /* the first leaf below each node */
        d->winner[at] = 2 * at < d->leaf_count ? d->winner[2 * at] : 2 * at - d->leaf_count;
    }
    for (int32_t rank = 0; rank < d->rank_count; rank++) {
        struct pp_decode_rank *r = &d->ranks[rank];
        r->clock = r->first = r->held = r->left = 0;
        r->size = 0;
        r->first_end = NEVER;
        memset(r->count, 0, sizeof r->count);
        for (int32_t kind = 0; kind < 3 * r->stage_count; kind++) {
            r->left += r->cost[kind] * d->microbatch_count;
            refresh(d, keys, r, kind);
        }
    }
}

bool pp_decode(struct pp_decoder *d, const int64_t *keys, struct pp_decode_rules rules,
               struct pp_decode_figures most, struct pp_decode_figures *figures_p) {
    struct pp_decode_figures f = {0, 0};
    begin(d, keys);
    choose(d, rules, d->rank_of[0]);
    for (int64_t done = 0; done < d->action_count; done++, d->steps++) {
        int32_t rank = d->winner[1];
        if (d->next[rank] == NEVER) {
            return false;
        }
        run(d, keys, rules, rank);
        const struct pp_decode_rank *r = &d->ranks[rank];
        int64_t end = r->clock + r->left; /* at the earliest */
        f.makespan_ns = end > f.makespan_ns ? end : f.makespan_ns;
        f.span_ns = end - r->first > f.span_ns ? end - r->first : f.span_ns;
        if (f.makespan_ns > most.makespan_ns || f.span_ns > most.span_ns) {
            return false;
        }
    }
    *figures_p = f;
    return true;
}

enum pp_status pp_decode_put(const struct pp_decoder *d, const uint8_t *order, struct pp_sched *s,
                             struct pp_err *err) {
    for (int32_t rank = 0; rank < d->rank_count; rank++) {
        const struct pp_decode_rank *r = &d->ranks[rank];
        int32_t count[KIND_COUNT] = {0};
        int32_t size = 3 * r->stage_count * d->microbatch_count;
        for (int32_t i = r->action_begin; i < r->action_begin + size; i++) {
            int32_t stage = d->stage_of[r->stage_begin + order[i] % r->stage_count];
            PP_TRY(pp_sched_add(s, rank, (enum pp_action_type)(order[i] / r->stage_count), stage,
                                count[order[i]]++, err));
        }
    }
    return PP_OK;
}
