/* Orders from keys; see gen_decode.h. */
#include "sim/gen_decode.h"

#include <stdlib.h>
#include <string.h>

enum { KIND_COUNT = 3 * PP_DECODE_MAX_LOCAL }; /* kind: type and stage of an action, in its rank */

struct pp_decode_rank {
    int64_t clock, first, held;
    int64_t left; /* time of its actions that have not run */
    int32_t stage_begin, stage_count, action_begin;
    int32_t size;              /* actions run */
    int32_t count[KIND_COUNT]; /* the same by kind */
    int32_t choice;            /* kind that it would run next */
};

static int32_t kind_of(int32_t type, int32_t local) {
    return type * PP_DECODE_MAX_LOCAL + local;
}

static int64_t cost_of(const struct pp_gen_model *m, int32_t type, int32_t stage) {
    return type == PP_F ? m->f_ns[stage] : type == PP_I ? m->i_ns[stage] : m->w_ns[stage];
}

static void place(struct pp_decoder *d, const struct pp_sched *s) {
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

/* Is there memory for the next F of a stage, and after it for those of the rank's other stages with
 * smaller keys? */
static bool has_room(const struct pp_decoder *d, const int64_t *keys, int32_t rank, int32_t stage,
                     int64_t key) {
    const struct pp_decode_rank *r = &d->ranks[rank];
    const int64_t *adds = d->model->adds;
    int64_t room = d->model->limit[rank] - r->held - adds[stage];
    for (int32_t local = 0; local < r->stage_count && room >= 0; local++) {
        int32_t other = d->stage_of[r->stage_begin + local];
        int32_t next = r->count[kind_of(PP_F, local)];
        if (other != stage && next < d->microbatch_count &&
            keys[pp_decode_index(d, PP_F, other, next)] < key) {
            room -= adds[other];
        }
    }
    return room >= 0;
}

struct candidate {
    int64_t key, start, end;
    int32_t kind;
};

/* Actions that the rank could run next. *least_p: smallest key of all that it must run still. */
static int32_t list_candidates(const struct pp_decoder *d, const int64_t *keys, int32_t rank,
                               struct candidate list[KIND_COUNT], int64_t *least_p) {
    const struct pp_decode_rank *r = &d->ranks[rank];
    int32_t n = 0;
    int64_t least = INT64_MAX;
    for (int32_t local = 0; local < r->stage_count; local++) {
        int32_t stage = d->stage_of[r->stage_begin + local];
        int32_t most_count = d->microbatch_count;
        for (int32_t type = PP_F; type <= PP_W; type++) {
            int32_t kind = kind_of(type, local);
            int32_t next = r->count[kind];
            bool is_due = next < most_count;
            most_count = next; /* no I before its F, no W before its I */
            if (!is_due) {
                continue;
            }
            int64_t at = pp_decode_index(d, (enum pp_action_type)type, stage, next);
            int64_t key = keys[at];
            int64_t input = d->input[at];
            least = key < least ? key : least;
            if (input >= 0 && (type != PP_F || has_room(d, keys, rank, stage, key))) {
                int64_t start = input > r->clock ? input : r->clock;
                list[n++] =
                    (struct candidate){key, start, start + cost_of(d->model, type, stage), kind};
            }
        }
    }
    *least_p = least;
    return n;
}

/* Decides what a rank would run next, from all that is known now. */
static void choose(struct pp_decoder *d, const int64_t *keys, struct pp_decode_rules rules,
                   int32_t rank) {
    struct candidate list[KIND_COUNT];
    int64_t least;
    int32_t n = list_candidates(d, keys, rank, list, &least);
    int64_t most = least > INT64_MAX - rules.overtake ? INT64_MAX : least + rules.overtake;
    int64_t first_start = INT64_MAX;
    int64_t first_end = INT64_MAX;
    for (int32_t i = 0; i < n; i++) {
        if (list[i].key <= most) {
            first_start = list[i].start < first_start ? list[i].start : first_start;
            first_end = list[i].end < first_end ? list[i].end : first_end;
        }
    }
    int64_t last_start = first_start + (first_end - first_start) * rules.look / PP_DECODE_ALL;
    const struct candidate *best = NULL;
    for (const struct candidate *c = list; c < list + n; c++) {
        if (c->key <= most && c->start <= last_start && (best == NULL || c->key < best->key)) {
            best = c;
        }
    }
    if (best != NULL) {
        d->ranks[rank].choice = best->kind;
    }
    set_next(d, rank, best == NULL ? INT64_MAX : best->start);
}

/* Runs a rank's choice. @return the rank whose action gets its input by that; -1 if none */
static int32_t run(struct pp_decoder *d, int32_t rank) {
    const struct pp_gen_model *m = d->model;
    struct pp_decode_rank *r = &d->ranks[rank];
    int32_t type = r->choice / PP_DECODE_MAX_LOCAL;
    int32_t stage = d->stage_of[r->stage_begin + r->choice % PP_DECODE_MAX_LOCAL];
    int32_t microbatch = r->count[r->choice]++;
    int64_t cost = cost_of(m, type, stage);
    int64_t start = d->next[rank];
    int64_t end = start + cost;
    d->start[pp_decode_index(d, (enum pp_action_type)type, stage, microbatch)] = start;
    d->order[r->action_begin + r->size] = (uint8_t)r->choice;
    r->first = r->size++ == 0 ? start : r->first;
    r->clock = end;
    r->left -= cost;
    if (type == PP_W) {
        r->held -= m->w_frees[stage];
        return -1;
    }
    if (type == PP_F) {
        r->held += m->adds[stage];
        if (stage + 1 == d->stage_count) {
            d->input[pp_decode_index(d, PP_I, stage, microbatch)] = end;
            return -1;
        }
        d->input[pp_decode_index(d, PP_F, stage + 1, microbatch)] = end + m->recv_f_ns[stage + 1];
        return d->rank_of[stage + 1];
    }
    r->held -= m->i_frees[stage];
    d->input[pp_decode_index(d, PP_W, stage, microbatch)] = end;
    if (stage == 0) {
        return -1;
    }
    d->input[pp_decode_index(d, PP_I, stage - 1, microbatch)] = end + m->recv_b_ns[stage - 1];
    return d->rank_of[stage - 1];
}

static void begin(struct pp_decoder *d) {
    const struct pp_gen_model *m = d->model;
    memset(d->input, 0xff, (size_t)d->action_count * sizeof *d->input);
    memset(d->input, 0, (size_t)d->microbatch_count * sizeof *d->input); /* F of stage 0 */
    for (int32_t i = 0; i < d->leaf_count; i++) {
        d->next[i] = INT64_MAX;
    }
    for (int32_t at = d->leaf_count - 1; at > 0; at--) { /* the first leaf below each node */
        d->winner[at] = 2 * at < d->leaf_count ? d->winner[2 * at] : 2 * at - d->leaf_count;
    }
    for (int32_t rank = 0; rank < d->rank_count; rank++) {
        struct pp_decode_rank *r = &d->ranks[rank];
        r->clock = r->first = r->held = r->left = 0;
        r->size = 0;
        memset(r->count, 0, sizeof r->count);
        for (int32_t i = 0; i < r->stage_count; i++) {
            int32_t stage = d->stage_of[r->stage_begin + i];
            r->left += (m->f_ns[stage] + m->i_ns[stage] + m->w_ns[stage]) * d->microbatch_count;
        }
    }
}

bool pp_decode(struct pp_decoder *d, const int64_t *keys, struct pp_decode_rules rules,
               struct pp_decode_figures most, struct pp_decode_figures *figures_p) {
    struct pp_decode_figures f = {0, 0};
    begin(d);
    choose(d, keys, rules, d->rank_of[0]);
    for (int64_t done = 0; done < d->action_count; done++, d->steps++) {
        int32_t rank = d->winner[1];
        if (d->next[rank] == INT64_MAX) {
            return false;
        }
        int32_t fed = run(d, rank);
        const struct pp_decode_rank *r = &d->ranks[rank];
        int64_t end = r->clock + r->left; /* at the earliest */
        f.makespan_ns = end > f.makespan_ns ? end : f.makespan_ns;
        f.span_ns = end - r->first > f.span_ns ? end - r->first : f.span_ns;
        if (f.makespan_ns > most.makespan_ns || f.span_ns > most.span_ns) {
            return false;
        }
        choose(d, keys, rules, rank);
        if (fed >= 0 && fed != rank) {
            choose(d, keys, rules, fed);
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
            int32_t stage = d->stage_of[r->stage_begin + order[i] % PP_DECODE_MAX_LOCAL];
            PP_TRY(pp_sched_add(s, rank, (enum pp_action_type)(order[i] / PP_DECODE_MAX_LOCAL),
                                stage, count[order[i]]++, err));
        }
    }
    return PP_OK;
}
