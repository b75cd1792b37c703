/* Memory of lowered traces. A rank's five lanes run side by side, and messages of different
 * channels overtake one another, so the moments of a rank are listed and sorted: they come almost
 * in order, and what is in order is not moved. */
#include "sim/memory_priv.h"

#include <stdlib.h>
#include <string.h>

struct moment {
    int64_t time_ns;
    int64_t change;
    int32_t action;
    int32_t phase; /* 0 start, 1 end */
};

struct pp_memory_work {
    const struct pp_sched *s;
    bool *begins_gradients; /* [action_count] W or B: its stage has no unsharded gradients yet */
    struct moment *moments; /* [2 * most actions of a rank] of one rank */
    struct moment *spare;   /* [likewise] */
    int32_t moment_count;
};

/* Which W or B of a stage comes first, or first after a REDUCE_GRAD. Gradients that nothing reduces
 * are not listed: they are resident. */
static enum pp_status find_gradients(struct pp_memory_work *w, struct pp_err *err) {
    const struct pp_sched *s = w->s;
    bool *is_reduced = calloc((size_t)s->stage_count, sizeof *is_reduced);
    bool *there = calloc((size_t)s->stage_count, sizeof *there);
    bool enough = is_reduced != NULL && there != NULL;
    for (int32_t at = 0; enough && at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        is_reduced[a->stage] = is_reduced[a->stage] || a->type == PP_REDUCE_GRAD;
    }
    for (int32_t at = 0; enough && at < s->action_count; at++) {
        const struct pp_action *a = &s->actions[at];
        bool makes = a->type == PP_W || a->type == PP_B;
        w->begins_gradients[at] = makes && is_reduced[a->stage] && !there[a->stage];
        there[a->stage] = (there[a->stage] || makes) && a->type != PP_REDUCE_GRAD;
    }
    free(is_reduced);
    free(there);
    return enough ? PP_OK
                  : pp_fail(err, PP_E_NOMEM, "out of memory for the gradients of %d stages",
                            s->stage_count);
}

enum pp_status pp_memory_work_create(const struct pp_sched *lowered, struct pp_memory_work **work_p,
                                     struct pp_err *err) {
    if (!lowered->lowered) {
        return pp_fail(err, PP_E_ARG, "memory beside compute needs a lowered schedule");
    }
    int32_t most = 0;
    for (int32_t rank = 0; rank < lowered->rank_count; rank++) {
        int32_t count = lowered->rank_begin[rank + 1] - lowered->rank_begin[rank];
        most = count > most ? count : most;
    }
    struct pp_memory_work *w = calloc(1, sizeof *w);
    enum pp_status status = PP_E_NOMEM;
    if (w != NULL) {
        w->s = lowered;
        w->begins_gradients = calloc((size_t)lowered->action_count, sizeof *w->begins_gradients);
        w->moments = malloc(2 * (size_t)most * sizeof *w->moments);
        w->spare = malloc(2 * (size_t)most * sizeof *w->spare);
    }
    if (w == NULL || w->begins_gradients == NULL || w->moments == NULL || w->spare == NULL) {
        pp_fail(err, PP_E_NOMEM, "out of memory for the memory of %d actions",
                lowered->action_count);
    } else {
        status = find_gradients(w, err);
    }
    if (status != PP_OK) {
        pp_memory_work_destroy(w);
        return status;
    }
    *work_p = w;
    return PP_OK;
}

void pp_memory_work_destroy(struct pp_memory_work *w) {
    if (w != NULL) {
        free(w->begins_gradients);
        free(w->moments);
        free(w->spare);
        free(w);
    }
}

/* ---- moments of a rank ---- */

static int64_t entry(const int64_t *array, int32_t index) {
    return array == NULL ? 0 : array[index];
}

static void add_moment(struct pp_memory_work *w, int64_t time_ns, int32_t action, int32_t phase,
                       int64_t change) {
    if (change != 0) {
        w->moments[w->moment_count++] =
            (struct moment){.time_ns = time_ns, .action = action, .phase = phase, .change = change};
    }
}

/* The message that a compute action is through with, where its input came from another rank. */
static int64_t message_of(const struct pp_memory_work *w, const struct pp_memory_model *m,
                          int32_t at) {
    int32_t producer = w->s->producer[at];
    if (producer < 0) {
        return 0;
    }
    const struct pp_action *p = &w->s->actions[producer];
    return p->type == PP_RECV_F   ? entry(m->recv_f_adds, p->stage)
           : p->type == PP_RECV_B ? entry(m->recv_b_adds, p->stage)
                                  : 0;
}

static void add_compute(struct pp_memory_work *w, const struct pp_trace *t,
                        const struct pp_memory_model *m, int32_t at) {
    const struct pp_action *a = &w->s->actions[at];
    struct pp_memory_effect e = pp_memory_effect_of(m, a);
    int64_t gradients = w->begins_gradients[at] ? entry(m->grad_adds, a->stage) : 0;
    int32_t cell = m->pairs_as_one && a->pair == 2 ? at - 1 : at;
    add_moment(w, t->start_ns[at], cell, 0, e.adds + e.transient + gradients);
    add_moment(w, t->end_ns[at], cell, 1, -e.transient - e.frees - message_of(w, m, at));
}

static void add_other(struct pp_memory_work *w, const struct pp_trace *t,
                      const struct pp_memory_model *m, int32_t at) {
    const struct pp_action *a = &w->s->actions[at];
    int64_t start_ns = t->start_ns[at];
    int64_t end_ns = t->end_ns[at];
    switch ((enum pp_action_type)a->type) {
    case PP_SEND_F:
    case PP_SEND_B: {
        int64_t message = entry(a->type == PP_SEND_F ? m->send_f_adds : m->send_b_adds, a->stage);
        add_moment(w, t->end_ns[w->s->producer[at]], at, 0, message);
        add_moment(w, end_ns, at, 1, -message);
        return;
    }
    case PP_RECV_F:
    case PP_RECV_B:
        add_moment(w, start_ns, at, 0,
                   entry(a->type == PP_RECV_F ? m->recv_f_adds : m->recv_b_adds, a->stage));
        return;
    case PP_UNSHARD:
        add_moment(w, start_ns, at, 0, entry(m->unshard_adds, a->stage));
        return;
    case PP_RESHARD:
        add_moment(w, end_ns, at, 1, -entry(m->unshard_adds, a->stage));
        return;
    case PP_REDUCE_GRAD:
        add_moment(w, end_ns, at, 1, -entry(m->grad_adds, a->stage));
        return;
    case PP_OFFLOAD:
        add_moment(w, end_ns, at, 1, -entry(m->f_adds, a->stage));
        return;
    case PP_RELOAD:
        add_moment(w, start_ns, at, 0, entry(m->f_adds, a->stage));
        return;
    case PP_F:
    case PP_I:
    case PP_W:
    case PP_B:
    case PP_ACTION_TYPE_COUNT:
        break;
    }
}

/* ---- sorting ---- */

static bool is_before(const struct moment *a, const struct moment *b) {
    if (a->time_ns != b->time_ns) {
        return a->time_ns < b->time_ns;
    }
    return a->action != b->action ? a->action < b->action : a->phase < b->phase;
}

/* Merges two neighbours, each in order. */
static void merge(struct moment *first, int32_t first_count, int32_t count, struct moment *spare) {
    if (!is_before(&first[first_count], &first[first_count - 1])) {
        return;
    }
    memcpy(spare, first, (size_t)first_count * sizeof *spare);
    int32_t a = 0;
    int32_t b = first_count;
    for (int32_t to = 0; a < first_count; to++) {
        bool takes_b = b < count && is_before(&first[b], &spare[a]);
        first[to] = takes_b ? first[b++] : spare[a++];
    }
}

static void sort_moments(struct pp_memory_work *w) {
    int32_t n = w->moment_count;
    for (int32_t width = 1; width < n; width *= 2) {
        for (int32_t i = 0; i + width < n; i += 2 * width) {
            int32_t count = n - i < 2 * width ? n - i : 2 * width;
            merge(&w->moments[i], width, count, w->spare);
        }
    }
}

/* ---- walking ---- */

struct pp_memory_walk pp_memory_walk_begin_lowered(struct pp_memory_work *w,
                                                   const struct pp_trace *t,
                                                   const struct pp_memory_model *m, int32_t rank) {
    PP_ASSERT(t->sched == w->s);
    w->moment_count = 0;
    for (int32_t at = w->s->rank_begin[rank]; at < w->s->rank_begin[rank + 1]; at++) {
        if (pp_action_is_compute(&w->s->actions[at])) {
            add_compute(w, t, m, at);
        } else {
            add_other(w, t, m, at);
        }
    }
    sort_moments(w);
    return (struct pp_memory_walk){
        .trace = t, .model = m, .work = w, .end = w->moment_count, .amount = entry(m->base, rank)};
}

int64_t pp_memory_walk_next_lowered_ns(const struct pp_memory_walk *w) {
    return w->compute < w->end ? w->work->moments[w->compute].time_ns : INT64_MAX;
}

bool pp_memory_walk_step_lowered(struct pp_memory_walk *w, struct pp_memory_moment *m) {
    if (w->compute == w->end) {
        return false;
    }
    const struct moment *next = &w->work->moments[w->compute++];
    *m = (struct pp_memory_moment){.time_ns = next->time_ns, .action = next->action};
    w->amount += next->change;
    return true;
}
