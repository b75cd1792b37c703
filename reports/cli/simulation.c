#include "reports/cli/simulation.h"

#include "sim/step.h"

#include <stdlib.h>

void pp_simulation_deinit(struct pp_simulation *sim) {
    pp_deadlock_deinit(&sim->deadlock);
    free(sim->peaks);
    free(sim->idle);
    free(sim->busy_ns);
    pp_trace_deinit(&sim->trace);
    pp_memory_work_destroy(sim->memory_work);
    pp_lane_run_deinit(&sim->lanes);
    pp_eval_destroy(sim->eval);
    pp_stage_costs_deinit(&sim->costs);
    pp_sched_destroy(sim->repeated);
    pp_sched_destroy(sim->flush);
}

const struct pp_sched *pp_simulation_compute(const struct pp_simulation *sim) {
    return sim->repeated != NULL ? sim->repeated : sim->flush;
}

const struct pp_sched *pp_simulation_ran(const struct pp_simulation *sim) {
    return sim->lanes.lowered != NULL ? sim->lanes.lowered : pp_simulation_compute(sim);
}

struct pp_cause_inputs pp_simulation_cause_inputs(const struct pp_simulation *sim) {
    bool on_lanes = sim->setup.on_lanes;
    return (struct pp_cause_inputs){
        .binding = on_lanes ? pp_engine_binding : pp_eval_binding,
        .context = on_lanes ? (const void *)sim->lanes.engine : (const void *)sim->eval,
        .flush_microbatches = sim->repeated != NULL ? sim->flush->microbatch_count : 0,
        .memory = sim->costs.limit != NULL ? &sim->costs.memory : NULL,
        .limit = sim->costs.limit,
        .memory_work = sim->memory_work,
        .recv_f_ns = sim->costs.costs.recv_f_ns,
    };
}

static enum pp_status make_schedule(struct pp_simulation *sim, const struct pp_usage *usage,
                                    struct pp_err *err) {
    const struct pp_simulate_flags *f = sim->flags;
    PP_TRY(pp_sched_options_make(&f->sched, &f->costs, usage, &sim->info, &sim->flush, err));
    PP_TRY(pp_lane_options_read(&f->lanes, sim->flush->microbatch_count, &sim->setup, err));
    if (f->lanes.flushes > 1) {
        PP_TRY(pp_sched_repeat(sim->flush, (int32_t)f->lanes.flushes, &sim->repeated, err));
    }
    return pp_stage_costs_init(&sim->costs, &f->costs, sim->flush, err);
}

/* An order that runs by itself can still hang by the way in which it communicates. */
static void hint_at_lanes(const struct pp_simulation *sim, struct pp_err *err) {
    const struct pp_lane_setup *setup = &sim->setup;
    if (!setup->on_lanes || setup->lower.mode != PP_LOWER_OURS) {
        return;
    }
    if (setup->runtime.comms.channels != PP_CHANNELS_DIRECTED) {
        pp_hint(err, "our lowering is made for --channels directed; for others take --lowering "
                     "torch");
    } else if (setup->runtime.batched) {
        pp_hint(err, "in batches this order wants its receives elsewhere: take --lowering "
                     "batched, or another --runtime");
    }
}

static enum pp_status prepare(struct pp_simulation *sim, struct pp_err *err) {
    const struct pp_simulate_flags *f = sim->flags;
    const struct pp_sched *s = pp_simulation_compute(sim);
    enum pp_status status =
        sim->setup.on_lanes ? pp_lane_run_init(&sim->lanes, &f->lanes, &sim->setup, s, &sim->costs,
                                               f->costs.has_p2p, &sim->deadlock, err)
                            : pp_eval_create(s, &sim->eval, &sim->deadlock, err);
    if (status == PP_E_DEADLOCK) {
        pp_err_place(err, f->sched.csv, 0, 0);
        hint_at_lanes(sim, err);
    }
    return status;
}

static enum pp_status alloc_figures(struct pp_simulation *sim, struct pp_err *err) {
    size_t ranks = (size_t)sim->flush->rank_count;
    PP_TRY(pp_trace_init(&sim->trace, pp_simulation_ran(sim), err));
    if (sim->setup.on_lanes && sim->costs.limit != NULL) {
        PP_TRY(pp_memory_work_create(sim->lanes.lowered, &sim->memory_work, err));
    }
    sim->busy_ns = malloc(ranks * sizeof *sim->busy_ns);
    sim->idle = malloc(ranks * sizeof *sim->idle);
    sim->peaks = malloc(ranks * sizeof *sim->peaks);
    if (sim->busy_ns == NULL || sim->idle == NULL || sim->peaks == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", sim->flush->rank_count);
    }
    return PP_OK;
}

/* Without a barrier ranks begin their next step one by one. */
static enum pp_status find_pace(struct pp_simulation *sim, struct pp_err *err) {
    const struct pp_lane_options *o = &sim->flags->lanes;
    sim->step_ns = sim->pace_ns = sim->metrics.makespan_ns + o->optimizer_ns;
    if (!o->no_barrier) {
        return PP_OK;
    }
    const struct pp_sched *s = pp_simulation_compute(sim);
    int64_t *optimizer_ns = malloc((size_t)s->rank_count * sizeof *optimizer_ns);
    struct pp_trace trace = {0};
    struct pp_step *step = NULL;
    enum pp_status status = pp_step_create(s, &step, err);
    if (status == PP_OK) {
        status = pp_trace_init(&trace, s, err);
    }
    if (status == PP_OK && optimizer_ns == NULL) {
        status = pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", s->rank_count);
    }
    if (status == PP_OK) {
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            optimizer_ns[rank] = o->optimizer_ns;
        }
        const struct pp_step_inputs in = {.flush_count = 1, .optimizer_ns = optimizer_ns};
        status = pp_step_pace(step, sim->eval, &sim->costs.costs, &in, &trace, &sim->pace_ns, err);
    }
    pp_step_destroy(step);
    pp_trace_deinit(&trace);
    free(optimizer_ns);
    return status;
}

static enum pp_status check_stop(const struct pp_simulation *sim, struct pp_err *err) {
    return *sim->stop == 0 ? PP_OK : pp_fail(err, PP_E_INTERRUPTED, "interrupted");
}

enum pp_status pp_simulation_run(struct pp_simulation *sim, const struct pp_usage *usage,
                                 struct pp_err *err) {
    PP_TRY(make_schedule(sim, usage, err));
    PP_TRY(check_stop(sim, err));
    PP_TRY(prepare(sim, err));
    PP_TRY(check_stop(sim, err));
    PP_TRY(alloc_figures(sim, err));
    if (sim->setup.on_lanes) {
        PP_TRY(pp_lane_run(&sim->lanes, &sim->trace, err));
    } else {
        PP_TRY(pp_eval_run(sim->eval, &sim->costs.costs, &sim->trace, err));
    }
    PP_TRY(check_stop(sim, err));
    pp_metrics_of(&sim->trace, &sim->metrics, sim->busy_ns);
    PP_TRY(find_pace(sim, err));
    struct pp_cause_inputs causes = pp_simulation_cause_inputs(sim);
    pp_idle_of(&sim->trace, &causes, sim->idle);
    PP_TRY(check_stop(sim, err));
    return pp_stage_costs_peaks(&sim->costs, sim->flush, sim->peaks, err);
}
