#include "sim/memory.h"

#include "sim/memory_priv.h"

static int64_t entry(const int64_t *array, int32_t index) {
    return array == NULL ? 0 : array[index];
}

struct pp_memory_effect pp_memory_effect_of(const struct pp_memory_model *model,
                                            const struct pp_action *a) {
    struct pp_memory_effect e = {0};
    if (pp_action_is_offload(a)) {
        *(a->type == PP_OFFLOAD ? &e.frees : &e.adds) = entry(model->f_adds, a->stage);
        return e;
    }
    if (a->type == PP_F) {
        e.adds = entry(model->f_adds, a->stage);
        e.transient = entry(model->f_transient, a->stage);
        return e;
    }
    e.transient = entry(model->b_transient, a->stage);
    e.frees = (a->type != PP_W ? entry(model->i_frees, a->stage) : 0) +
              (a->type != PP_I ? entry(model->w_frees, a->stage) : 0);
    return e;
}

/* Effect of the cell that begins with action `at`, and how many actions it covers. */
static struct pp_memory_effect cell_effect(const struct pp_sched *s,
                                           const struct pp_memory_model *model, int32_t at,
                                           int32_t *size_p) {
    struct pp_memory_effect e = pp_memory_effect_of(model, &s->actions[at]);
    *size_p = 1;
    if (model->pairs_as_one && s->actions[at].pair == 1) {
        struct pp_memory_effect second = pp_memory_effect_of(model, &s->actions[at + 1]);
        e.adds += second.adds;
        e.transient += second.transient;
        e.frees += second.frees;
        *size_p = 2;
    }
    return e;
}

/* A column that may be NULL, for reading without asking each time: zeros are at[0] alone. */
struct column {
    const int64_t *at;
    int32_t mask;
};

static struct column column_of(const int64_t *array) {
    static const int64_t zero[1] = {0};
    return array == NULL ? (struct column){zero, 0} : (struct column){array, -1};
}

static int64_t figure(struct column c, int32_t stage) {
    return c.at[stage & c.mask];
}

/* Peak of a rank without offloads or pairs that run as one: the hot loop of a search. */
static struct pp_rank_memory plain_peak(const struct pp_sched *s,
                                        const struct pp_memory_model *model, int32_t rank) {
    const struct column f_adds = column_of(model->f_adds);
    const struct column i_frees = column_of(model->i_frees);
    const struct column w_frees = column_of(model->w_frees);
    const struct column f_transient = column_of(model->f_transient);
    const struct column b_transient = column_of(model->b_transient);
    int64_t amount = entry(model->base, rank);
    struct pp_rank_memory peak = {.peak = amount, .peak_action = -1};
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        int64_t frees = 0;
        int64_t high;
        if (a->type == PP_F) {
            amount += figure(f_adds, a->stage);
            high = amount + figure(f_transient, a->stage);
        } else {
            high = amount + figure(b_transient, a->stage);
            frees = (a->type != PP_W ? figure(i_frees, a->stage) : 0) +
                    (a->type != PP_I ? figure(w_frees, a->stage) : 0);
        }
        if (high > peak.peak) {
            peak = (struct pp_rank_memory){.peak = high, .peak_action = at};
        }
        amount -= frees;
    }
    return peak;
}

/* The same with offloads that take no time, or pairs as one. */
static struct pp_rank_memory cell_peak(const struct pp_sched *s,
                                       const struct pp_memory_model *model, int32_t rank) {
    int64_t amount = entry(model->base, rank);
    struct pp_rank_memory peak = {.peak = amount, .peak_action = -1};
    int32_t size;
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at += size) {
        struct pp_memory_effect e = cell_effect(s, model, at, &size);
        amount += e.adds;
        if (amount + e.transient > peak.peak) {
            peak = (struct pp_rank_memory){.peak = amount + e.transient, .peak_action = at};
        }
        amount -= e.frees;
    }
    return peak;
}

void pp_memory_peaks(const struct pp_sched *s, const struct pp_memory_model *model,
                     struct pp_rank_memory *peaks) {
    PP_ASSERT(!s->lowered);
    bool is_plain = s->reload == NULL && !model->pairs_as_one;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        peaks[rank] = is_plain ? plain_peak(s, model, rank) : cell_peak(s, model, rank);
    }
}

/* The next action of a row, from `at` on. */
static int32_t next_of_row(const struct pp_memory_walk *w, int32_t at, bool host) {
    while (at < w->end && pp_action_is_offload(&w->trace->sched->actions[at]) != host) {
        at++;
    }
    return at;
}

struct pp_memory_walk pp_memory_walk_begin(const struct pp_trace *trace,
                                           const struct pp_memory_model *model, int32_t rank) {
    struct pp_memory_walk w = {.trace = trace,
                               .model = model,
                               .end = trace->sched->rank_begin[rank + 1],
                               .amount = entry(model->base, rank)};
    w.compute = next_of_row(&w, trace->sched->rank_begin[rank], false);
    w.host = next_of_row(&w, trace->sched->rank_begin[rank], true);
    return w;
}

/* Start or end of the compute row's next cell, whose effect is `e`. @return its actions */
static int32_t compute_moment(const struct pp_memory_walk *w, struct pp_memory_effect *e,
                              struct pp_memory_moment *m) {
    *m = (struct pp_memory_moment){.time_ns = INT64_MAX, .action = w->compute};
    if (w->compute == w->end) {
        return 0;
    }
    int32_t size;
    *e = cell_effect(w->trace->sched, w->model, w->compute, &size);
    m->time_ns =
        w->running ? w->trace->end_ns[w->compute + size - 1] : w->trace->start_ns[w->compute];
    return size;
}

/* End of the next OFFLOAD, or start of the next RELOAD. */
static struct pp_memory_moment host_moment(const struct pp_memory_walk *w) {
    struct pp_memory_moment m = {.time_ns = INT64_MAX, .action = w->host};
    if (w->host < w->end) {
        bool leaves = w->trace->sched->actions[w->host].type == PP_OFFLOAD;
        m.time_ns = leaves ? w->trace->end_ns[w->host] : w->trace->start_ns[w->host];
    }
    return m;
}

int64_t pp_memory_walk_next_ns(const struct pp_memory_walk *w) {
    struct pp_memory_effect e;
    struct pp_memory_moment m;
    if (w->work != NULL) {
        return pp_memory_walk_next_lowered_ns(w);
    }
    compute_moment(w, &e, &m);
    return pp_min_i64(m.time_ns, host_moment(w).time_ns);
}

bool pp_memory_walk_step(struct pp_memory_walk *w, struct pp_memory_moment *m) {
    struct pp_memory_effect e;
    if (w->work != NULL) {
        return pp_memory_walk_step_lowered(w, m);
    }
    int32_t size = compute_moment(w, &e, m);
    struct pp_memory_moment host = host_moment(w);
    if (host.time_ns < m->time_ns || (host.time_ns == m->time_ns && host.action < m->action)) {
        *m = host;
        e = pp_memory_effect_of(w->model, &w->trace->sched->actions[w->host]);
        w->amount += e.adds - e.frees;
        w->host = next_of_row(w, w->host + 1, true);
        return true;
    }
    if (size == 0) {
        return false;
    }
    w->amount += w->running ? -e.frees - e.transient : e.adds + e.transient;
    w->compute = w->running ? next_of_row(w, w->compute + size, false) : w->compute;
    w->running = !w->running;
    return true;
}

static struct pp_rank_memory peak_of(struct pp_memory_walk w) {
    struct pp_rank_memory peak = {.peak = w.amount, .peak_action = -1};
    for (struct pp_memory_moment m; pp_memory_walk_step(&w, &m);) {
        if (w.amount > peak.peak) {
            peak = (struct pp_rank_memory){.peak = w.amount, .peak_action = m.action};
        }
    }
    return peak;
}

void pp_memory_peaks_timed(const struct pp_trace *trace, const struct pp_memory_model *model,
                           struct pp_rank_memory *peaks) {
    if (trace->sched->reload == NULL) {
        pp_memory_peaks(trace->sched, model, peaks);
        return;
    }
    PP_ASSERT(!trace->sched->lowered);
    for (int32_t rank = 0; rank < trace->sched->rank_count; rank++) {
        peaks[rank] = peak_of(pp_memory_walk_begin(trace, model, rank));
    }
}

void pp_memory_peaks_lowered(struct pp_memory_work *work, const struct pp_trace *trace,
                             const struct pp_memory_model *model, struct pp_rank_memory *peaks) {
    for (int32_t rank = 0; rank < trace->sched->rank_count; rank++) {
        peaks[rank] = peak_of(pp_memory_walk_begin_lowered(work, trace, model, rank));
    }
}

static int32_t points_of(struct pp_memory_walk w, struct pp_memory_point *points) {
    int32_t n = 0;
    points[n++] = (struct pp_memory_point){.time_ns = 0, .amount = w.amount};
    for (struct pp_memory_moment m; pp_memory_walk_step(&w, &m);) {
        points[n++] = (struct pp_memory_point){.time_ns = m.time_ns, .amount = w.amount};
    }
    return n;
}

int32_t pp_memory_timeline(const struct pp_trace *trace, const struct pp_memory_model *model,
                           int32_t rank, struct pp_memory_point *points) {
    PP_ASSERT(!trace->sched->lowered);
    return points_of(pp_memory_walk_begin(trace, model, rank), points);
}

int32_t pp_memory_timeline_lowered(struct pp_memory_work *work, const struct pp_trace *trace,
                                   const struct pp_memory_model *model, int32_t rank,
                                   struct pp_memory_point *points) {
    return points_of(pp_memory_walk_begin_lowered(work, trace, model, rank), points);
}
