#include "sim/compare.h"

#include "sim/causes.h"
#include "sim/robust.h"

#include <stdlib.h>
#include <string.h>

struct comparer {
    const struct pp_sched *s;
    const struct pp_trace *a, *b;
    struct pp_waits *waits;
    int64_t *values[3]; /* scratch, [action_count] each */
    struct pp_comparison *out;
};

bool pp_sched_same(const struct pp_sched *a, const struct pp_sched *b) {
    return a == b ||
           (a->rank_count == b->rank_count && a->stage_count == b->stage_count &&
            a->microbatch_count == b->microbatch_count && a->part_count == b->part_count &&
            a->action_count == b->action_count && a->lowered == b->lowered &&
            memcmp(a->stage_rank, b->stage_rank, (size_t)a->stage_count * sizeof(int32_t)) == 0 &&
            memcmp(a->rank_begin, b->rank_begin, ((size_t)a->rank_count + 1) * sizeof(int32_t)) ==
                0 &&
            memcmp(a->actions, b->actions, (size_t)a->action_count * sizeof *a->actions) == 0);
}

const char *pp_divergence_text(enum pp_divergence_reason reason) {
    static const char *const texts[] = {"", "start", "predecessor"};
    return texts[reason];
}

void pp_comparison_deinit(struct pp_comparison *c) {
    free(c->a.busy_ns);
    free(c->b.busy_ns);
    free(c->a.path.actions);
    free(c->b.path.actions);
    *c = (struct pp_comparison){0};
}

static enum pp_status no_memory(struct pp_err *err) {
    return pp_fail(err, PP_E_NOMEM, "out of memory comparing two traces");
}

/* ---- one trace ---- */

static int64_t *path_share(struct pp_path *path, enum pp_action_type type) {
    if (type <= PP_B) {
        return &path->compute_ns;
    }
    return type <= PP_RECV_B ? &path->message_ns : &path->other_ns;
}

static enum pp_status find_path(const struct comparer *c, const struct pp_trace *t,
                                struct pp_path *path, struct pp_err *err) {
    struct pp_cause_inputs in = {.binding = pp_waits_binding, .context = c->waits};
    path->count = pp_critical_path(t, &in, NULL, 0);
    path->actions = malloc(((size_t)path->count + 1) * sizeof *path->actions);
    if (path->actions == NULL) {
        return no_memory(err);
    }
    pp_critical_path(t, &in, path->actions, path->count);
    int64_t now_ns = 0;
    for (int32_t i = 0; i < path->count; i++) {
        int32_t at = path->actions[i];
        path->lag_ns += pp_max_i64(0, t->start_ns[at] - now_ns);
        now_ns = pp_max_i64(now_ns, t->start_ns[at]);
        *path_share(path, c->s->actions[at].type) += pp_max_i64(0, t->end_ns[at] - now_ns);
        now_ns = pp_max_i64(now_ns, t->end_ns[at]);
    }
    return PP_OK;
}

static int32_t time_messages(const struct comparer *c, const struct pp_trace *t,
                             enum pp_action_type recv, struct pp_message_times *times) {
    int64_t *waits = c->values[0];
    int64_t *transfers = c->values[1];
    int32_t count = 0;
    for (int32_t at = 0; at < c->s->action_count; at++) {
        if (c->s->actions[at].type == recv) {
            waits[count] = pp_max_i64(0, t->start_ns[at] - pp_waits_queue_ns(c->waits, t, at));
            transfers[count] = t->end_ns[at] - t->start_ns[at];
            times->wait_ns += waits[count];
            times->transfer_ns += transfers[count++];
        }
    }
    times->median_wait_ns = pp_median(waits, count);
    times->median_transfer_ns = pp_median(transfers, count);
    return count;
}

static enum pp_status look_at(const struct comparer *c, const struct pp_trace *t,
                              struct pp_compared_trace *out, struct pp_err *err) {
    out->busy_ns = calloc((size_t)c->s->rank_count, sizeof *out->busy_ns);
    if (out->busy_ns == NULL) {
        return no_memory(err);
    }
    pp_metrics_of(t, &out->metrics, out->busy_ns);
    c->out->message_count[0] = time_messages(c, t, PP_RECV_F, &out->messages[0]);
    c->out->message_count[1] = time_messages(c, t, PP_RECV_B, &out->messages[1]);
    return find_path(c, t, &out->path, err);
}

/* ---- both ---- */

static int64_t distance(int64_t x, int64_t y) {
    return x > y ? x - y : y - x;
}

static void compare_starts(const struct comparer *c) {
    struct pp_comparison *out = c->out;
    int64_t *off = c->values[0];
    int32_t count = 0;
    out->start_max_action = -1;
    for (int32_t at = 0; at < c->s->action_count; at++) {
        if (pp_action_is_compute(&c->s->actions[at])) {
            int64_t ns = distance(c->a->start_ns[at], c->b->start_ns[at]);
            if (out->start_max_action < 0 || ns > out->start_max_ns) {
                out->start_max_ns = ns;
                out->start_max_action = at;
            }
            off[count++] = ns;
        }
    }
    out->start_p50_ns = pp_quantile(off, count, 0.5);
    out->start_p95_ns = pp_quantile(off, count, 0.95);
}

static void compare_type(const struct comparer *c, enum pp_action_type type) {
    struct pp_compared_type *out = &c->out->types[type];
    for (int32_t at = 0; at < c->s->action_count; at++) {
        if (c->s->actions[at].type == type) {
            int64_t a_ns = c->a->end_ns[at] - c->a->start_ns[at];
            int64_t b_ns = c->b->end_ns[at] - c->b->start_ns[at];
            c->values[0][out->count] = a_ns;
            c->values[1][out->count] = b_ns;
            c->values[2][out->count++] = b_ns - a_ns;
        }
    }
    out->a_ns = pp_median(c->values[0], out->count);
    out->b_ns = pp_median(c->values[1], out->count);
    out->difference_ns = pp_median(c->values[2], out->count);
}

static int64_t end_of(const struct pp_trace *t, int32_t at) {
    return at < 0 ? 0 : t->end_ns[at];
}

static struct pp_divergence diverge(const struct comparer *c, int64_t tolerance_ns) {
    const struct pp_path *path = &c->out->b.path;
    for (int32_t i = 0; i < path->count; i++) {
        int32_t at = path->actions[i];
        struct pp_divergence d = {.tolerance_ns = tolerance_ns,
                                  .at = i,
                                  .action = at,
                                  .a_before = pp_waits_binding(c->waits, c->a, at).action,
                                  .b_before = pp_waits_binding(c->waits, c->b, at).action};
        if (distance(c->a->start_ns[at], c->b->start_ns[at]) > tolerance_ns) {
            d.reason = PP_DIVERGED_START;
            return d;
        }
        if (d.a_before != d.b_before &&
            end_of(c->a, d.a_before) - end_of(c->a, d.b_before) > tolerance_ns) {
            d.reason = PP_DIVERGED_PREDECESSOR;
            return d;
        }
    }
    return (struct pp_divergence){
        .tolerance_ns = tolerance_ns, .at = -1, .action = -1, .a_before = -1, .b_before = -1};
}

static enum pp_status compare(struct comparer *c, int64_t tolerance_ns, struct pp_err *err) {
    struct pp_comparison *out = c->out;
    for (int i = 0; i < 3; i++) {
        c->values[i] = malloc((size_t)c->s->action_count * sizeof *c->values[i]);
        if (c->values[i] == NULL) {
            return no_memory(err);
        }
    }
    PP_TRY(pp_waits_create(c->s, &c->waits, err));
    PP_TRY(look_at(c, c->a, &out->a, err));
    PP_TRY(look_at(c, c->b, &out->b, err));
    int64_t a_ns = out->a.metrics.makespan_ns;
    int64_t b_ns = out->b.metrics.makespan_ns;
    out->makespan_error = b_ns > 0 ? (double)a_ns / (double)b_ns - 1.0 : 0.0;
    compare_starts(c);
    for (int type = 0; type < PP_ACTION_TYPE_COUNT; type++) {
        compare_type(c, (enum pp_action_type)type);
    }
    out->divergence =
        diverge(c, tolerance_ns < 0 ? a_ns / PP_COMPARE_TOLERANCE_SHARE : tolerance_ns);
    return PP_OK;
}

enum pp_status pp_compare(const struct pp_trace *a, const struct pp_trace *b, int64_t tolerance_ns,
                          struct pp_comparison *comparison_p, struct pp_err *err) {
    if (!pp_sched_same(a->sched, b->sched)) {
        return pp_fail(err, PP_E_ARG, "traces of two schedules cannot be compared");
    }
    struct pp_comparison out = {0};
    struct comparer c = {.s = a->sched, .a = a, .b = b, .out = &out};
    enum pp_status status = compare(&c, tolerance_ns, err);
    pp_waits_destroy(c.waits);
    for (int i = 0; i < 3; i++) {
        free(c.values[i]);
    }
    if (status != PP_OK) {
        pp_comparison_deinit(&out);
        return status;
    }
    *comparison_p = out;
    return PP_OK;
}
