/* A step as flushes one after the other. The state between two flushes is when each rank is through
 * with the first: a flush turns such a state into the next, and a state moved by some time into the
 * next moved by that time. So once a state is an earlier one moved, the flushes since then repeat
 * for ever. What a rank's collective lane is behind by is no part of it, as no compute waits for
 * the lane: its backlog through all the flushes that repeat has a closed form. */
#include "sim/step.h"

#include <stdlib.h>

#define CLOCK_MAX_NS (INT64_MAX / 4)

struct pp_step {
    const struct pp_sched *s;
    struct pp_trace trace; /* of the flushes behind the first */
    int32_t *last_action;  /* [rank_count] its last compute action */
    int32_t *used;         /* [stage_count] stages by rank, then by their first use */
    int32_t *reduced;      /* [stage_count] stages by rank, then by their last B or W */
    int32_t *last_weight;  /* [stage_count] that B or W */
    int32_t *first_use;    /* [stage_count] its first action */
    int32_t *stages_begin; /* [rank_count + 1] of a rank in `used` and `reduced` */
    int64_t *stage_begin;  /* [stage_count] when it is gathered */
    int64_t *through;      /* [PP_STEP_MAX_FLUSHES + 1][rank_count] end of compute after so many */
    int64_t *lane_full;    /* likewise [][rank_count]: when the lane would be through with the
                              reductions of that flush, had it nothing left from those before */
    int64_t *lane; /* [rank_count] when the lane is through, in the end with the optimizer */
    int64_t *reductions_ns; /* [rank_count] all reductions of a flush */
};

/* ---- what a schedule says once and for all ---- */

static void list_stages(struct pp_step *step) {
    const struct pp_sched *s = step->s;
    int32_t used = 0;
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        step->last_weight[stage] = -1;
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        step->stages_begin[rank] = used;
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            const struct pp_action *a = &s->actions[at];
            if (!pp_action_is_compute(a)) {
                continue;
            }
            step->last_action[rank] = at;
            if (a->type == PP_F && step->last_weight[a->stage] < 0) {
                step->first_use[a->stage] = at;
                step->used[used++] = a->stage;
            }
            step->last_weight[a->stage] = at; /* a stage's list ends in a B or W */
        }
        int32_t reduced = used;
        for (int32_t at = s->rank_begin[rank + 1] - 1; at >= s->rank_begin[rank]; at--) {
            const struct pp_action *a = &s->actions[at];
            if (pp_action_is_compute(a) && step->last_weight[a->stage] == at) {
                step->reduced[--reduced] = a->stage;
            }
        }
    }
    step->stages_begin[s->rank_count] = used;
}

enum pp_status pp_step_create(const struct pp_sched *s, struct pp_step **step_p,
                              struct pp_err *err) {
    PP_ASSERT(s->sealed && !s->lowered);
    size_t ranks = (size_t)s->rank_count;
    size_t stages = (size_t)s->stage_count;
    struct pp_step *step = calloc(1, sizeof *step);
    if (step == NULL || pp_trace_init(&step->trace, s, NULL) != PP_OK) {
        free(step);
        return pp_fail(err, PP_E_NOMEM, "out of memory for a step of %d actions", s->action_count);
    }
    step->s = s;
    step->last_action = malloc((2 * ranks + 1 + 4 * stages) * sizeof *step->last_action);
    size_t rows = 2 * (PP_STEP_MAX_FLUSHES + 1) + 2;
    step->stage_begin = malloc((stages + rows * ranks) * sizeof *step->stage_begin);
    if (step->last_action == NULL || step->stage_begin == NULL) {
        pp_step_destroy(step);
        return pp_fail(err, PP_E_NOMEM, "out of memory for a step of %d ranks", s->rank_count);
    }
    step->stages_begin = step->last_action + ranks;
    step->used = step->stages_begin + ranks + 1;
    step->reduced = step->used + stages;
    step->last_weight = step->reduced + stages;
    step->first_use = step->last_weight + stages;
    step->through = step->stage_begin + stages;
    step->lane_full = step->through + (PP_STEP_MAX_FLUSHES + 1) * ranks;
    step->lane = step->lane_full + (PP_STEP_MAX_FLUSHES + 1) * ranks;
    step->reductions_ns = step->lane + ranks;
    list_stages(step);
    *step_p = step;
    return PP_OK;
}

void pp_step_destroy(struct pp_step *step) {
    if (step != NULL) {
        pp_trace_deinit(&step->trace);
        free(step->last_action);
        free(step->stage_begin);
        free(step);
    }
}

/* ---- one run ---- */

struct run {
    struct pp_step *step;
    const struct pp_step_inputs *in;
    bool gathers;
    int32_t flush; /* the last simulated */
    int32_t since; /* flush whose end is that of `flush` moved by cycle_ns; `flush` if there is none
                    */
    int64_t cycle_ns;
};

static int64_t *row(const struct pp_step *step, int64_t *rows, int32_t flush) {
    return rows + (ptrdiff_t)flush * step->s->rank_count;
}

static int64_t figure(const int64_t *figures, int32_t i) {
    return figures == NULL ? 0 : figures[i];
}

static enum pp_status check_figures(const int64_t *figures, int32_t count, const char *what,
                                    struct pp_err *err) {
    for (int32_t i = 0; figures != NULL && i < count; i++) {
        if (figures[i] < 0 || figures[i] > PP_COST_MAX_NS) {
            return pp_fail(err, PP_E_RANGE, "%s %d is %lld ns, expected 0 to %lld", what, i,
                           (long long)figures[i], (long long)PP_COST_MAX_NS);
        }
    }
    return PP_OK;
}

static enum pp_status check_inputs(const struct pp_step *step, const struct pp_step_inputs *in,
                                   struct pp_err *err) {
    if (in->flush_count < 1) {
        return pp_fail(err, PP_E_RANGE, "flushes of a step: got %lld, need at least 1",
                       (long long)in->flush_count);
    }
    for (int32_t rank = 0; in->begin_ns != NULL && rank < step->s->rank_count; rank++) {
        if (in->begin_ns[rank] < 0 || in->begin_ns[rank] > CLOCK_MAX_NS) {
            return pp_fail(err, PP_E_RANGE, "begin of rank %d is %lld ns, expected 0 to %lld", rank,
                           (long long)in->begin_ns[rank], (long long)CLOCK_MAX_NS);
        }
    }
    PP_TRY(check_figures(in->unshard_ns, step->s->stage_count, "gather of stage", err));
    PP_TRY(check_figures(in->reduce_ns, step->s->stage_count, "reduction of stage", err));
    return check_figures(in->optimizer_ns, step->s->rank_count, "optimizer of rank", err);
}

static enum pp_status too_long(const struct run *r, struct pp_err *err) {
    return pp_fail(err, PP_E_RANGE, "a step of %lld flushes does not fit the clock",
                   (long long)r->in->flush_count);
}

/* Gathers every rank's stages one after the other. @return when the last rank has its first */
static int64_t gather(struct run *r) {
    struct pp_step *step = r->step;
    int64_t gathered = 0;
    for (int32_t rank = 0; rank < step->s->rank_count; rank++) {
        int64_t begin = figure(r->in->begin_ns, rank);
        int64_t end = begin;
        for (int32_t i = step->stages_begin[rank]; i < step->stages_begin[rank + 1]; i++) {
            end += figure(r->in->unshard_ns, step->used[i]);
            step->stage_begin[step->used[i]] = end;
            if (i == step->stages_begin[rank]) {
                gathered = pp_max_i64(gathered, end);
            }
        }
        r->gathers = r->gathers || end > begin;
        step->through[rank] = begin;
        step->lane[rank] = end;
    }
    return gathered;
}

/* Does a REDUCE_GRAD follow `a` after every microbatch? */
static bool is_weight(const struct pp_action *a) {
    return a->type == PP_W || a->type == PP_B;
}

/* From the back: how long reductions from here on take, and when the last ends if none waits for
 * one of an earlier flush. */
struct backlog {
    int64_t ns, end_ns;
};

static void add_reduction(struct backlog *b, const struct run *r, int32_t stage, int64_t from_ns) {
    b->ns += figure(r->in->reduce_ns, stage);
    b->end_ns = pp_max_i64(b->end_ns, from_ns + b->ns);
}

static struct backlog backlog_of(const struct run *r, const struct pp_trace *trace, int32_t rank) {
    const struct pp_step *step = r->step;
    const struct pp_sched *s = step->s;
    struct backlog b = {0, 0};
    if (r->in->reduce == PP_REDUCE_MICROBATCH) {
        for (int32_t at = s->rank_begin[rank + 1] - 1; at >= s->rank_begin[rank]; at--) {
            if (is_weight(&s->actions[at])) {
                add_reduction(&b, r, s->actions[at].stage, trace->end_ns[at]);
            }
        }
        return b;
    }
    for (int32_t i = step->stages_begin[rank + 1] - 1; i >= step->stages_begin[rank]; i--) {
        int32_t stage = step->reduced[i];
        add_reduction(&b, r, stage, trace->end_ns[step->last_weight[stage]]);
    }
    return b;
}

/* Notes what the flush just simulated did. Ends are within the clock, or it is refused. */
static enum pp_status note_flush(struct run *r, const struct pp_trace *trace, struct pp_err *err) {
    struct pp_step *step = r->step;
    r->flush++;
    for (int32_t rank = 0; rank < step->s->rank_count; rank++) {
        int64_t end = trace->end_ns[step->last_action[rank]];
        if (end > CLOCK_MAX_NS) {
            return too_long(r, err);
        }
        struct backlog b = backlog_of(r, trace, rank);
        row(step, step->through, r->flush)[rank] = end;
        row(step, step->lane_full, r->flush)[rank] = b.end_ns;
        step->reductions_ns[rank] = b.ns;
        if (r->in->reduce != PP_REDUCE_STEP) {
            step->lane[rank] = pp_max_i64(step->lane[rank] + b.ns, b.end_ns);
        }
        if (b.end_ns > CLOCK_MAX_NS || step->lane[rank] > CLOCK_MAX_NS) {
            return too_long(r, err);
        }
    }
    return PP_OK;
}

/* Is the state after flush `a` that after `b` moved by one time? */
static bool is_moved(const struct pp_step *step, int32_t a, int32_t b) {
    const int64_t *x = row(step, step->through, a);
    const int64_t *y = row(step, step->through, b);
    for (int32_t rank = 1; rank < step->s->rank_count; rank++) {
        if (x[rank] - y[rank] != x[0] - y[0]) {
            return false;
        }
    }
    return true;
}

/* Looks for an earlier state that is this one moved. That before the first flush is none if stages
 * were gathered in it. */
static bool find_cycle(struct run *r) {
    const struct pp_step *step = r->step;
    for (r->since = r->flush - 1; r->since >= (r->gathers ? 1 : 0); r->since--) {
        if (is_moved(step, r->flush, r->since)) {
            r->cycle_ns =
                row(step, step->through, r->flush)[0] - row(step, step->through, r->since)[0];
            return true;
        }
    }
    r->since = r->flush;
    return false;
}

/* The first flush: ranks begin when their first stage is there. Where another stage then begins
 * before it is there itself, once more with all of them at hand. */
static enum pp_status run_first(struct run *r, const struct pp_eval *eval,
                                const struct pp_costs *costs, struct pp_trace *trace,
                                struct pp_err *err) {
    struct pp_step *step = r->step;
    int64_t *begin = row(step, step->through, 0);
    struct pp_eval_inputs in = {.costs = costs, .begin_ns = begin};
    for (int32_t rank = 0; rank < step->s->rank_count; rank++) {
        begin[rank] = step->stage_begin[step->used[step->stages_begin[rank]]];
    }
    PP_TRY(pp_eval_run_with(eval, &in, trace, err));
    for (int32_t stage = 0; stage < step->s->stage_count; stage++) {
        if (trace->start_ns[step->first_use[stage]] < step->stage_begin[stage]) {
            in.stage_begin_ns = step->stage_begin;
            return pp_eval_run_with(eval, &in, trace, err);
        }
    }
    return PP_OK;
}

/* Simulates flushes until the rest repeats. */
static enum pp_status run_flushes(struct run *r, const struct pp_eval *eval,
                                  const struct pp_costs *costs, struct pp_trace *trace,
                                  struct pp_err *err) {
    struct pp_step *step = r->step;
    struct pp_eval_inputs in = {.costs = costs};
    PP_TRY(run_first(r, eval, costs, trace, err));
    PP_TRY(note_flush(r, trace, err));
    while (r->flush < r->in->flush_count && !find_cycle(r) && r->flush < PP_STEP_MAX_FLUSHES) {
        in.begin_ns = row(step, step->through, r->flush);
        PP_TRY(pp_eval_run_with(eval, &in, &step->trace, err));
        PP_TRY(note_flush(r, &step->trace, err));
    }
    return PP_OK;
}

/* Adds what the lane of `rank` does in the flushes behind the last simulated. It is through when it
 * has done without a pause all from some flush on, whichever flush gives the latest end: of flush q
 * and those that are q moved, the last, or else none before the last simulated, which is in `lane`
 * already. */
static void extend_lane(const struct run *r, int32_t rank) {
    struct pp_step *step = r->step;
    int64_t n = r->in->flush_count;
    int64_t cycle = r->flush - r->since;
    int64_t each = step->reductions_ns[rank];
    int64_t end = step->lane[rank] + (n - r->flush) * each;
    for (int32_t q = r->since + 1; q <= r->flush; q++) {
        int64_t times = (n - q) / cycle;
        int64_t after = (n - q) % cycle; /* flushes behind that one */
        end = pp_max_i64(end,
                         row(step, step->lane_full, q)[rank] + times * r->cycle_ns + after * each);
    }
    step->lane[rank] = end;
}

/* The end of the step from what the flushes did. */
static enum pp_status finish(struct run *r, struct pp_step_times *t, struct pp_err *err) {
    struct pp_step *step = r->step;
    int64_t n = r->in->flush_count;
    int32_t last = r->flush; /* flush n is this one moved */
    int64_t moved_ns = 0;
    if (n > r->flush) {
        int64_t cycle = r->flush - r->since;
        last = r->since + (int32_t)((n - r->since - 1) % cycle) + 1;
        if (!pp_mul_i64((n - r->since - 1) / cycle, r->cycle_ns, &moved_ns) ||
            moved_ns > CLOCK_MAX_NS) {
            return too_long(r, err);
        }
    }
    int64_t optimizer_most = 0;
    int64_t alone = 0; /* without a barrier */
    for (int32_t rank = 0; rank < step->s->rank_count; rank++) {
        int64_t all_ns = 0;
        if (r->in->reduce == PP_REDUCE_STEP) {
            step->lane[rank] = pp_max_i64(step->lane[rank] + step->reductions_ns[rank],
                                          row(step, step->lane_full, last)[rank] + moved_ns);
        } else if (!pp_mul_i64(n, step->reductions_ns[rank], &all_ns) || all_ns > CLOCK_MAX_NS) {
            return too_long(r, err);
        } else if (n > r->flush) {
            extend_lane(r, rank);
        }
        int64_t optimizer = figure(r->in->optimizer_ns, rank);
        t->flushes_ns = pp_max_i64(t->flushes_ns, row(step, step->through, last)[rank] + moved_ns);
        t->reduced_ns = pp_max_i64(t->reduced_ns, step->lane[rank]);
        alone = pp_max_i64(alone, step->lane[rank] + optimizer);
        optimizer_most = pp_max_i64(optimizer_most, optimizer);
    }
    for (int32_t rank = 0; rank < step->s->rank_count; rank++) {
        step->lane[rank] =
            (r->in->barrier ? t->reduced_ns : step->lane[rank]) + figure(r->in->optimizer_ns, rank);
    }
    t->step_ns = r->in->barrier ? t->reduced_ns + optimizer_most : alone;
    t->flushes_run = r->flush;
    return t->reduced_ns > CLOCK_MAX_NS ? too_long(r, err) : PP_OK;
}

enum pp_status pp_step_run(struct pp_step *step, const struct pp_eval *eval,
                           const struct pp_costs *costs, const struct pp_step_inputs *in,
                           struct pp_trace *trace, struct pp_step_times *times_p,
                           struct pp_err *err) {
    PP_ASSERT(trace->sched == step->s);
    PP_TRY(check_inputs(step, in, err));
    struct run r = {.step = step, .in = in};
    struct pp_step_times times = {.gathered_ns = gather(&r)};
    PP_TRY(run_flushes(&r, eval, costs, trace, err));
    if (r.since == r.flush) { /* not found, or not looked for */
        r.since = r.flush - 1;
        r.cycle_ns = 0;
        for (int32_t rank = 0; rank < step->s->rank_count; rank++) {
            r.cycle_ns = pp_max_i64(r.cycle_ns, row(step, step->through, r.flush)[rank] -
                                                    row(step, step->through, r.since)[rank]);
        }
    }
    PP_TRY(finish(&r, &times, err));
    *times_p = times;
    return PP_OK;
}

const int64_t *pp_step_done_ns(const struct pp_step *step) {
    return step->lane;
}
