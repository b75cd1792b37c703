#include "sim/gen_offload.h"

#include <stdlib.h>

enum { DROPPED = -1 };

/* What one microbatch of a stage leaves behind goes to the host and back. Planned starts; a trip
 * without a reload has been dropped. */
struct pp_offload_trip {
    int32_t forward, backward; /* places of its F and its I or B among the rank's ops */
    int64_t offload_ns, reload_ns;
};

struct pp_offload_transfer {
    int64_t start_ns;   /* planned */
    int64_t changes_ns; /* when memory does: the start of a reload, the end of an offload */
    int32_t op;         /* its forward or backward among the rank's ops */
    int32_t before;     /* it stands before this op */
    bool is_reload;
};

/* The rank's part of a timed order. */
struct row {
    const struct pp_order_op *ops;
    const int64_t *start, *end;
    int32_t count;
};

static struct row row_of(const struct pp_offload *o) {
    int32_t begin = o->order->begin[o->rank];
    return (struct row){.ops = o->order->ops + begin,
                        .start = o->order->start + begin,
                        .end = o->order->end + begin,
                        .count = o->order->count[o->rank]};
}

static int64_t duration_of(const struct pp_offload *o, int32_t op) {
    return o->order->model->offload_ns[row_of(o).ops[op].stage];
}

enum pp_status pp_offload_init(struct pp_offload *o, const struct pp_order *order,
                               struct pp_err *err) {
    size_t most = 0; /* trips of a rank */
    for (int32_t rank = 0; rank < order->s->rank_count; rank++) {
        size_t n = (size_t)order->count[rank];
        most = n > most ? n : most;
    }
    size_t units = (size_t)order->s->stage_count * (size_t)order->s->microbatch_count;
    *o = (struct pp_offload){
        .order = order,
        .trips = malloc((most + 1) * sizeof *o->trips),
        .by_backward = malloc((most + 1) * sizeof *o->by_backward),
        .transfers = malloc((most + 1) * sizeof *o->transfers),
        .trip_of = malloc(units * sizeof *o->trip_of),
    };
    if (o->trips == NULL || o->by_backward == NULL || o->transfers == NULL || o->trip_of == NULL) {
        pp_offload_deinit(o);
        return pp_fail(err, PP_E_NOMEM, "out of memory for the transfers of %zu actions", most);
    }
    return PP_OK;
}

void pp_offload_deinit(struct pp_offload *o) {
    free(o->trips);
    free(o->by_backward);
    free(o->transfers);
    free(o->trip_of);
    *o = (struct pp_offload){0};
}

/* Lists the trips by forward and by backward. */
static void collect(struct pp_offload *o, int32_t stage_end) {
    struct row row = row_of(o);
    int32_t returned = 0;
    o->trip_count = 0;
    for (int32_t i = 0; i < row.count; i++) {
        const struct pp_order_op *op = &row.ops[i];
        int32_t unit = op->stage * o->order->s->microbatch_count + op->microbatch;
        if (op->stage >= stage_end || op->type == PP_W) {
            continue;
        }
        if (op->type == PP_F) {
            o->trip_of[unit] = o->trip_count;
            o->trips[o->trip_count++].forward = i;
        } else {
            o->by_backward[returned++] = o->trip_of[unit];
            o->trips[o->trip_of[unit]].backward = i;
        }
    }
}

/* With `slot_ns` > 0 the lane is cut into slots, of which the reloads take every second: late
 * reloads would leave gaps that are too short, which a busy lane cannot afford. */
static void plan_reloads(struct pp_offload *o, int64_t slot_ns) {
    struct row row = row_of(o);
    int64_t lane_ns = INT64_MAX; /* the lane is taken from here on */
    for (int32_t i = o->trip_count - 1; i >= 0; i--) {
        struct pp_offload_trip *trip = &o->trips[o->by_backward[i]];
        int64_t duration = duration_of(o, trip->forward);
        int64_t end_ns = row.start[trip->backward];
        end_ns = end_ns < lane_ns ? end_ns : lane_ns;
        end_ns -= slot_ns > 0 ? end_ns % (2 * slot_ns) : 0;
        int64_t start_ns = end_ns - duration;
        if (start_ns <= row.end[trip->forward] + duration) {
            trip->reload_ns = DROPPED;
        } else {
            trip->reload_ns = lane_ns = start_ns;
        }
    }
}

/* The first time from *start_ns on that is long enough between the reloads; *next_p is the first of
 * them that may be in the way. */
static void find_gap(const struct pp_offload *o, int64_t duration, int64_t *start_ns,
                     int32_t *next_p) {
    for (; *next_p < o->trip_count; (*next_p)++) {
        const struct pp_offload_trip *other = &o->trips[o->by_backward[*next_p]];
        if (other->reload_ns == DROPPED) {
            continue;
        }
        int64_t end_ns = other->reload_ns + duration_of(o, other->forward);
        if (other->reload_ns >= *start_ns + duration) {
            return;
        }
        *start_ns = end_ns > *start_ns ? end_ns : *start_ns;
    }
}

static void plan_offloads(struct pp_offload *o) {
    struct row row = row_of(o);
    int64_t lane_ns = 0; /* the lane is free from here on, but for reloads */
    int32_t next = 0;
    for (int32_t i = 0; i < o->trip_count; i++) {
        struct pp_offload_trip *trip = &o->trips[i];
        if (trip->reload_ns == DROPPED) {
            continue;
        }
        int64_t duration = duration_of(o, trip->forward);
        int64_t left_ns = row.end[trip->forward];
        lane_ns = left_ns > lane_ns ? left_ns : lane_ns;
        find_gap(o, duration, &lane_ns, &next);
        if (lane_ns + duration < trip->reload_ns) {
            trip->offload_ns = lane_ns;
            lane_ns += duration;
        } else {
            trip->reload_ns = DROPPED;
        }
    }
}

/* The next trip from *at on that was not dropped; NULL after the last. */
static const struct pp_offload_trip *next_trip(const struct pp_offload *o, const int32_t *order,
                                               int32_t *at) {
    for (; *at < o->trip_count; (*at)++) {
        const struct pp_offload_trip *trip = &o->trips[order == NULL ? *at : order[*at]];
        if (trip->reload_ns != DROPPED) {
            return trip;
        }
    }
    return NULL;
}

/* Merges both directions by planned start. At the same time the reload goes first: somebody waits
 * for it. */
static void merge(struct pp_offload *o) {
    int32_t leaves = 0;
    int32_t returns = 0;
    o->transfer_count = 0;
    for (;;) {
        const struct pp_offload_trip *out = next_trip(o, NULL, &leaves);
        const struct pp_offload_trip *back = next_trip(o, o->by_backward, &returns);
        if (back == NULL) {
            return; /* whatever leaves comes back */
        }
        bool is_reload = out == NULL || back->reload_ns <= out->offload_ns;
        o->transfers[o->transfer_count++] =
            (struct pp_offload_transfer){.start_ns = is_reload ? back->reload_ns : out->offload_ns,
                                         .op = is_reload ? back->backward : out->forward,
                                         .is_reload = is_reload};
        *(is_reload ? &returns : &leaves) += 1;
    }
}

/* Where each transfer stands: after all ops that have ended by its planned start, but a reload
 * before its backward even if neither takes any time; and when it runs there. */
static void place(struct pp_offload *o) {
    struct row row = row_of(o);
    int32_t at = 0;
    for (int32_t i = 0; i < o->transfer_count; i++) {
        struct pp_offload_transfer *t = &o->transfers[i];
        while (at < row.count && row.end[at] <= t->start_ns) {
            at++;
        }
        t->before = t->is_reload && t->op < at ? t->op : at;
    }
    for (int32_t i = o->transfer_count - 2; i >= 0; i--) {
        struct pp_offload_transfer *t = &o->transfers[i];
        t->before = t[1].before < t->before ? t[1].before : t->before;
    }
    int64_t lane_ns = 0;
    for (int32_t i = 0; i < o->transfer_count; i++) {
        struct pp_offload_transfer *t = &o->transfers[i];
        int64_t free_ns = t->before > 0 ? row.end[t->before - 1] : 0;
        int64_t start_ns = free_ns > lane_ns ? free_ns : lane_ns;
        lane_ns = start_ns + duration_of(o, t->op);
        t->changes_ns = t->is_reload ? start_ns : lane_ns;
    }
}

/* Memory of the rank while its list is walked. */
struct usage {
    int64_t amount, peak;
    int32_t next; /* transfer */
};

/* What the transfers do up to a moment of op `at`. */
static void transfer_until(const struct pp_offload *o, int64_t now_ns, int32_t at,
                           struct usage *u) {
    struct row row = row_of(o);
    for (; u->next < o->transfer_count; u->next++) {
        const struct pp_offload_transfer *t = &o->transfers[u->next];
        if (t->changes_ns > now_ns || (t->changes_ns == now_ns && t->before > at)) {
            return;
        }
        int64_t amount = o->order->model->adds[row.ops[t->op].stage];
        u->amount += t->is_reload ? amount : -amount;
        u->peak = u->amount > u->peak ? u->amount : u->peak;
    }
}

int64_t pp_offload_peak(const struct pp_offload *o) {
    const struct pp_gen_model *m = o->order->model;
    struct row row = row_of(o);
    struct usage u = {0};
    for (int32_t i = 0; i < row.count; i++) {
        const struct pp_order_op *op = &row.ops[i];
        transfer_until(o, row.start[i], i, &u);
        u.amount += op->type == PP_F ? m->adds[op->stage] : 0;
        u.peak = u.amount > u.peak ? u.amount : u.peak;
        transfer_until(o, row.end[i], i, &u);
        u.amount -= op->type == PP_I || op->type == PP_B ? m->i_frees[op->stage] : 0;
        u.amount -= op->type == PP_W || op->type == PP_B ? m->w_frees[op->stage] : 0;
    }
    return u.peak;
}

static int64_t plan_peak(struct pp_offload *o, int64_t slot_ns) {
    plan_reloads(o, slot_ns);
    plan_offloads(o);
    merge(o);
    place(o);
    return pp_offload_peak(o);
}

void pp_offload_plan(struct pp_offload *o, int32_t rank, int32_t stage_end) {
    o->rank = rank;
    collect(o, stage_end);
    int64_t slot_ns = 0; /* the longest transfer */
    for (int32_t i = 0; i < o->trip_count; i++) {
        int64_t duration = duration_of(o, o->trips[i].forward);
        slot_ns = duration > slot_ns ? duration : slot_ns;
    }
    int64_t late = plan_peak(o, 0);
    if (slot_ns > 0 && plan_peak(o, slot_ns) >= late) {
        plan_peak(o, 0);
    }
}

enum pp_status pp_offload_emit(const struct pp_offload *o, struct pp_sched *s, struct pp_err *err) {
    struct row row = row_of(o);
    int32_t next = 0;
    for (int32_t i = 0; i < row.count; i++) {
        for (; next < o->transfer_count && o->transfers[next].before <= i; next++) {
            const struct pp_order_op *op = &row.ops[o->transfers[next].op];
            PP_TRY(pp_sched_add(s, o->rank, o->transfers[next].is_reload ? PP_RELOAD : PP_OFFLOAD,
                                op->stage, op->microbatch, err));
        }
        PP_TRY(pp_sched_add(s, o->rank, row.ops[i].type, row.ops[i].stage, row.ops[i].microbatch,
                            err));
    }
    return PP_OK;
}
