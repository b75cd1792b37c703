/* The Monte Carlo: samples in blocks on threads, a workspace each, then figures of all. */
#include "sim/vary.h"

#include "sim/parallel.h"
#include "sim/vary_draw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_ACTIONS = 1 << 14, /* a piece of work: enough for its handing out not to count */
    BLOCK_MAX_SAMPLES = 256,
};

static enum pp_status check_field(int64_t value, int64_t low, int64_t high, const char *name,
                                  struct pp_err *err) {
    if (value >= low && value <= high) {
        return PP_OK;
    }
    return pp_fail(err, PP_E_RANGE, "%s is %lld, expected %lld to %lld parts of 1/%lld", name,
                   (long long)value, (long long)low, (long long)high, (long long)PP_VARY_ONE);
}

static enum pp_status check_factor(int64_t factor, const char *name, struct pp_err *err) {
    return factor == 0
               ? PP_OK
               : check_field(factor, PP_VARY_ONE, PP_VARY_MAX_FACTOR * PP_VARY_ONE, name, err);
}

enum pp_status pp_vary_check(const struct pp_vary *vary, int32_t microbatch_count,
                             struct pp_err *err) {
    PP_TRY(check_field(vary->action_sd, 0, PP_VARY_ONE, "action_sd", err));
    PP_TRY(check_field(vary->rank_sd, 0, PP_VARY_ONE, "rank_sd", err));
    PP_TRY(check_field(vary->stage_sd, 0, PP_VARY_ONE, "stage_sd", err));
    PP_TRY(check_field(vary->microbatch_sd, 0, PP_VARY_ONE, "microbatch_sd", err));
    PP_TRY(check_field(vary->straggler_chance, 0, PP_VARY_ONE, "straggler_chance", err));
    PP_TRY(check_field(vary->rank_straggler_chance, 0, PP_VARY_ONE, "rank_straggler_chance", err));
    PP_TRY(check_factor(vary->straggler_factor, "straggler_factor", err));
    PP_TRY(check_factor(vary->rank_straggler_factor, "rank_straggler_factor", err));
    for (int32_t i = 0; vary->microbatch_weight != NULL && i < microbatch_count; i++) {
        char name[48];
        snprintf(name, sizeof name, "microbatch_weight[%d]", i);
        PP_TRY(check_field(vary->microbatch_weight[i], 0, PP_VARY_MAX_FACTOR * PP_VARY_ONE, name,
                           err));
    }
    return PP_OK;
}

/* ---- one worker ---- */

struct worker {
    struct pp_vary_work work;
    struct pp_eval *eval; /* its own: an evaluation writes into it; NULL: not set up yet */
    struct pp_trace trace;
    int64_t *duration_ns, *transfer_ns; /* [action_count] */
};

static void worker_deinit(struct worker *w) {
    pp_vary_work_deinit(&w->work);
    pp_eval_destroy(w->eval);
    pp_trace_deinit(&w->trace);
    free(w->duration_ns);
    free(w->transfer_ns);
    *w = (struct worker){0};
}

static enum pp_status worker_init(struct worker *w, const struct pp_sched *s,
                                  const struct pp_costs *costs, const struct pp_vary *vary,
                                  struct pp_err *err) {
    size_t bytes = (size_t)s->action_count * sizeof *w->duration_ns;
    *w = (struct worker){.duration_ns = malloc(bytes), .transfer_ns = malloc(bytes)};
    enum pp_status status = PP_E_NOMEM;
    if (w->duration_ns == NULL || w->transfer_ns == NULL) {
        pp_fail(err, PP_E_NOMEM, "out of memory to vary %d actions", s->action_count);
    } else {
        status = pp_vary_work_init(&w->work, s, costs, vary, err);
    }
    if (status == PP_OK) {
        status = pp_trace_init(&w->trace, s, err);
    }
    if (status == PP_OK && vary->action_sd == 0) {
        status = pp_vary_work_transfers(&w->work, 0, w->transfer_ns, err);
    }
    if (status == PP_OK) {
        status = pp_eval_create(s, &w->eval, NULL, err);
    }
    if (status != PP_OK) {
        worker_deinit(w);
    }
    return status;
}

/* The last end: every rank's last action is a compute action, which no transfer to the host
 * outlasts. */
static int64_t makespan_of(const struct pp_trace *t) {
    int64_t last = 0;
    for (int32_t rank = 0; rank < t->sched->rank_count; rank++) {
        last = pp_max_i64(last, t->end_ns[t->sched->rank_begin[rank + 1] - 1]);
    }
    return last;
}

static enum pp_status run_sample(struct worker *w, const struct pp_costs *costs, int32_t sample,
                                 int64_t *makespan_p, struct pp_err *err) {
    const struct pp_eval_inputs in = {
        .costs = costs, .duration_ns = w->duration_ns, .transfer_ns = w->transfer_ns};
    PP_TRY(pp_vary_work_durations(&w->work, sample, w->duration_ns, err));
    if (w->work.vary->action_sd > 0) {
        PP_TRY(pp_vary_work_transfers(&w->work, sample, w->transfer_ns, err));
    }
    PP_TRY(pp_eval_run_with(w->eval, &in, &w->trace, err));
    *makespan_p = makespan_of(&w->trace);
    return PP_OK;
}

/* ---- all samples ---- */

struct run {
    const struct pp_sched *s;
    const struct pp_costs *costs;
    const struct pp_vary *vary;
    const struct pp_vary_sampling *sampling;
    int32_t block_size; /* samples */
    struct worker *workers;
    int64_t *samples;
};

static enum pp_status run_block(void *context, int32_t block, int32_t worker, struct pp_err *err) {
    const struct run *r = context;
    struct worker *w = &r->workers[worker];
    if (w->eval == NULL) {
        PP_TRY(worker_init(w, r->s, r->costs, r->vary, err));
    }
    int64_t begin = (int64_t)block * r->block_size;
    int64_t end = pp_min_i64(begin + r->block_size, r->sampling->sample_count);
    for (int64_t k = begin; k < end; k++) {
        const volatile sig_atomic_t *stop = r->sampling->stop;
        if (worker == 0 && stop != NULL && *stop != 0) { /* the thread that takes signals */
            return pp_fail(err, PP_E_INTERRUPTED, "interrupted");
        }
        PP_TRY(run_sample(w, r->costs, (int32_t)k, &r->samples[k], err));
    }
    return PP_OK;
}

static enum pp_status run_all(struct run *r, struct pp_err *err) {
    int32_t samples = r->sampling->sample_count;
    int32_t threads = r->sampling->thread_count <= 0 ? pp_parallel_threads(PP_PARALLEL_MAX_THREADS)
                                                     : r->sampling->thread_count;
    r->block_size = (int32_t)pp_min_i64(BLOCK_MAX_SAMPLES, 1 + BLOCK_ACTIONS / r->s->action_count);
    int32_t blocks = (samples - 1) / r->block_size + 1;
    threads = (int32_t)pp_min_i64(pp_min_i64(threads, blocks), PP_PARALLEL_MAX_THREADS);
    r->workers = calloc((size_t)threads, sizeof *r->workers);
    if (r->workers == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d threads", threads);
    }
    enum pp_status status = pp_parallel_for(blocks, threads, run_block, r, err);
    for (int32_t i = 0; i < threads; i++) {
        worker_deinit(&r->workers[i]);
    }
    free(r->workers);
    return status;
}

/* Without any variation but the weights. */
static enum pp_status run_steady(const struct run *r, int64_t *steady_p, struct pp_err *err) {
    const struct pp_vary steady = {.microbatch_weight = r->vary->microbatch_weight};
    struct worker w;
    PP_TRY(worker_init(&w, r->s, r->costs, &steady, err));
    enum pp_status status = run_sample(&w, r->costs, 0, steady_p, err);
    worker_deinit(&w);
    return status;
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The smallest that at least `percent` of the samples do not exceed. */
static int64_t quantile(const int64_t *sorted, int32_t count, int32_t percent) {
    return sorted[pp_div_ceil_i64((int64_t)count * percent, 100) - 1];
}

static int64_t mean_of(const int64_t *samples, int32_t count) {
    __int128 twice = count; /* for rounding to nearest */
    for (int32_t i = 0; i < count; i++) {
        twice += (__int128)2 * samples[i];
    }
    return (int64_t)(twice / ((int64_t)2 * count));
}

/* Sorts the samples. */
static void figure_out(int64_t *samples, int32_t count, struct pp_vary_figures *f) {
    qsort(samples, (size_t)count, sizeof *samples, compare);
    f->sample_count = count;
    f->mean_ns = mean_of(samples, count);
    f->min_ns = samples[0];
    f->p5_ns = quantile(samples, count, 5);
    f->p50_ns = quantile(samples, count, 50);
    f->p95_ns = quantile(samples, count, 95);
    f->max_ns = samples[count - 1];
}

enum pp_status pp_vary_run(const struct pp_sched *s, const struct pp_costs *costs,
                           const struct pp_vary *vary, const struct pp_vary_sampling *sampling,
                           struct pp_vary_figures *figures_p, int64_t *samples_p,
                           struct pp_err *err) {
    int32_t count = sampling->sample_count;
    PP_ASSERT(s->sealed);
    PP_TRY(pp_vary_check(vary, pp_vary_microbatches(s), err));
    PP_TRY(pp_costs_check(costs, s, err));
    if (count < 1 || count > PP_VARY_MAX_SAMPLES) {
        return pp_fail(err, PP_E_RANGE, "%d samples, expected 1 to %d", count, PP_VARY_MAX_SAMPLES);
    }
    struct run r = {.s = s, .costs = costs, .vary = vary, .sampling = sampling};
    struct pp_vary_figures figures = {0};
    PP_TRY(run_steady(&r, &figures.steady_ns, err));
    size_t bytes = (size_t)count * sizeof *r.samples;
    r.samples = malloc(bytes);
    if (r.samples == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d samples", count);
    }
    enum pp_status status = run_all(&r, err);
    if (status == PP_OK) {
        if (samples_p != NULL) {
            memcpy(samples_p, r.samples, bytes);
        }
        figure_out(r.samples, count, &figures);
        *figures_p = figures;
    }
    free(r.samples);
    return status;
}

enum pp_status pp_vary_draw(const struct pp_sched *s, const struct pp_costs *costs,
                            const struct pp_vary *vary, int32_t sample, int64_t *duration_ns,
                            int64_t *transfer_ns, struct pp_err *err) {
    struct pp_vary_work work;
    PP_ASSERT(s->sealed && sample >= 0);
    PP_TRY(pp_vary_check(vary, pp_vary_microbatches(s), err));
    PP_TRY(pp_costs_check(costs, s, err));
    PP_TRY(pp_vary_work_init(&work, s, costs, vary, err));
    enum pp_status status = pp_vary_work_durations(&work, sample, duration_ns, err);
    if (status == PP_OK) {
        status = pp_vary_work_transfers(&work, sample, transfer_ns, err);
    }
    pp_vary_work_deinit(&work);
    return status;
}
