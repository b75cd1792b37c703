#include "reports/compared.h"

#include <stdlib.h>
#include <string.h>

static void measured_deinit(struct pp_measured *m) {
    if (m->trace.sched != NULL) {
        pp_trace_deinit(&m->trace);
    }
    pp_stored_execution_deinit(&m->execution);
}

void pp_compared_deinit(struct pp_compared *c) {
    pp_comparison_deinit(&c->comparison);
    pp_prediction_deinit(&c->prediction);
    measured_deinit(&c->first);
    measured_deinit(&c->second);
    *c = (struct pp_compared){0};
}

/* ---- which step ---- */

struct timed_step {
    int64_t makespan_ns, step;
};

static int by_makespan(const void *a, const void *b) {
    const struct timed_step *x = a;
    const struct timed_step *y = b;
    return x->makespan_ns != y->makespan_ns
               ? (x->makespan_ns > y->makespan_ns) - (x->makespan_ns < y->makespan_ns)
               : (x->step > y->step) - (x->step < y->step);
}

/* Of the steps with a trace but the first, which warms up; of that if it is the only one. */
static enum pp_status choose_step(struct pp_measured *m, struct pp_err *err) {
    const struct pp_stored_execution *e = &m->execution;
    struct timed_step *steps = malloc(((size_t)e->step_count + 1) * sizeof *steps);
    int32_t count = 0;
    if (steps == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the steps of an execution");
    }
    for (int32_t i = 0; i < e->step_count; i++) {
        if (e->steps[i].has_trace) {
            steps[count++] = (struct timed_step){e->steps[i].makespan_ns, e->steps[i].step};
        }
    }
    enum pp_status status = PP_OK;
    if (count == 0) {
        status = pp_fail(err, PP_E_NOT_FOUND, "execution %.12s (%s) has no traces", e->id,
                         pp_execution_state_text(e->state));
        pp_hint(err, "run it again and keep the traces of some steps");
    } else {
        int32_t from = count > 1 ? 1 : 0;
        m->choice_count = count - from;
        qsort(steps + from, (size_t)m->choice_count, sizeof *steps, by_makespan);
        m->step = steps[from + (m->choice_count - 1) / 2].step;
    }
    free(steps);
    return status;
}

static enum pp_status load(struct pp_store *store, const char *id, int64_t step,
                           struct pp_measured *m, struct pp_err *err) {
    PP_TRY(pp_store_read_execution(store, id, &m->execution, err));
    m->step = step;
    if (step < 0) {
        PP_TRY(choose_step(m, err));
    }
    return pp_store_read_trace(store, &m->execution, m->step, &m->trace, err);
}

/* ---- two traces ---- */

static enum pp_status finish(struct pp_compared *c, enum pp_status status,
                             struct pp_compared *compared_p) {
    if (status != PP_OK) {
        pp_compared_deinit(c);
        return status;
    }
    *compared_p = *c;
    return PP_OK;
}

enum pp_status pp_compared_load(struct pp_store *store, const char *id,
                                const struct pp_compare_choice *choice,
                                struct pp_compared *compared_p, struct pp_err *err) {
    struct pp_compared c = {.is_prediction = true};
    enum pp_status status = load(store, id, choice->step, &c.second, err);
    if (status == PP_OK) {
        status = pp_predict_execution(store, &c.second.execution, choice->calibration,
                                      &c.prediction, err);
    }
    if (status == PP_OK) {
        status = pp_compare(&c.prediction.trace, &c.second.trace, choice->tolerance_ns,
                            &c.comparison, err);
    }
    return finish(&c, status, compared_p);
}

static enum pp_status check_programs(const struct pp_stored_execution *a,
                                     const struct pp_stored_execution *b, struct pp_err *err) {
    if (strcmp(a->program_hash, b->program_hash) == 0 && pp_sched_same(a->sched, b->sched)) {
        return PP_OK;
    }
    pp_fail(err, PP_E_VALUE,
            "executions %.12s and %.12s ran different programs (%.12s, %.12s): there is no action "
            "of one that is an action of the other",
            a->id, b->id, a->program_hash, b->program_hash);
    pp_hint(err, "compare each with its prediction, or their plans");
    return PP_E_VALUE;
}

enum pp_status pp_compared_load_pair(struct pp_store *store, const char *a, const char *b,
                                     const struct pp_compare_choice *choice,
                                     struct pp_compared *compared_p, struct pp_err *err) {
    struct pp_compared c = {0};
    enum pp_status status = load(store, a, choice->step, &c.first, err);
    if (status == PP_OK) {
        status = load(store, b, choice->step, &c.second, err);
    }
    if (status == PP_OK) {
        status = check_programs(&c.first.execution, &c.second.execution, err);
    }
    if (status == PP_OK) {
        status =
            pp_compare(&c.first.trace, &c.second.trace, choice->tolerance_ns, &c.comparison, err);
    }
    return finish(&c, status, compared_p);
}
