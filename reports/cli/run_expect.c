#include "reports/cli/run_expect.h"

#include "sim/calibration.h"
#include "sim/engine.h"

#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 7 }; /* f, i, w, b, pair, recv f, recv b */

static int64_t scaled(int64_t ns, const int64_t scale[2]) {
    int64_t product = 0;
    return pp_mul_i64(ns, scale[0], &product) ? pp_div_round_i64(product, scale[1])
                                              : PP_COST_MAX_NS;
}

/* A compute action takes at least 1 ns: the program's buffers are planned from these times. */
static void copy_costs(struct pp_run_expect *e, const struct pp_costs *from, int32_t stages,
                       const int64_t scale[2]) {
    const int64_t *given[COLUMNS] = {from->f_ns,    from->i_ns,      from->w_ns,     from->b_ns,
                                     from->pair_ns, from->recv_f_ns, from->recv_b_ns};
    for (int32_t column = 0; column < COLUMNS; column++) {
        for (int32_t s = 0; s < stages; s++) {
            int64_t ns = given[column] != NULL ? scaled(given[column][s], scale) : 0;
            e->columns[column * stages + s] = column <= 4 ? pp_max_i64(ns, 1) : ns;
        }
    }
    const int64_t *at = e->columns;
    e->costs = (struct pp_costs){.f_ns = at,
                                 .i_ns = at + stages,
                                 .w_ns = at + 2 * stages,
                                 .b_ns = at + 3 * stages,
                                 .pair_ns = from->pair_ns != NULL ? at + 4 * stages : NULL,
                                 .recv_f_ns = at + 5 * stages,
                                 .recv_b_ns = at + 6 * stages};
}

static enum pp_status play(struct pp_run_expect *e, const struct pp_sched *lowered,
                           const struct pp_engine_costs *costs, const struct pp_network *net,
                           struct pp_err *err) {
    struct pp_engine *engine = NULL;
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    PP_TRY(pp_trace_init(&e->trace, lowered, err));
    PP_TRY(pp_engine_create(lowered, &runtime, &engine, NULL, err));
    enum pp_status status = pp_engine_run(engine, costs, net, &e->trace, err);
    pp_engine_destroy(engine);
    for (int32_t at = 0; status == PP_OK && at < lowered->action_count; at++) {
        e->makespan_ns = pp_max_i64(e->makespan_ns, e->trace.end_ns[at]);
    }
    return status;
}

static enum pp_status play_given(struct pp_run_expect *e, const struct pp_sched *lowered,
                                 struct pp_err *err) {
    const struct pp_engine_costs costs = {.compute = e->costs};
    return play(e, lowered, &costs, NULL, err);
}

static enum pp_status play_calibrated(struct pp_run_expect *e, const struct pp_run_source *source,
                                      const struct pp_sched *lowered, const int64_t *input_bytes,
                                      const struct pp_calibration *calibration,
                                      struct pp_err *err) {
    struct pp_calibrated_costs costs = {0};
    PP_TRY(pp_calibration_costs(calibration, lowered, source->split, input_bytes, &costs, err));
    enum pp_status status = play(e, lowered, &costs.costs, pp_calibrated_network(&costs), err);
    pp_calibrated_costs_deinit(&costs);
    e->is_prediction = true;
    e->by = "calibration";
    pp_copy(e->calibration_id, sizeof e->calibration_id, calibration->id);
    return status;
}

/* Links of the local transport have the latency they were told to have. */
static void add_latency(struct pp_run_expect *e, int32_t stages, int64_t latency_ns) {
    for (int32_t i = 5 * stages; i < 7 * stages; i++) {
        e->columns[i] = pp_max_i64(e->columns[i], latency_ns);
    }
}

static enum pp_status expect_given(struct pp_run_expect *e, const struct pp_run_source *source,
                                   const struct pp_run_options *o, const struct pp_sched *lowered,
                                   struct pp_err *err) {
    int32_t stages = lowered->stage_count;
    const int64_t one[2] = {1, 1};
    e->columns = calloc(COLUMNS * (size_t)stages, sizeof *e->columns);
    if (e->columns == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the costs of %d stages", stages);
    }
    copy_costs(e, &source->costs, stages, source->has_model ? one : o->spin_scale);
    e->by = source->has_plan ? "the plan's costs" : "the given costs";
    e->is_prediction = !source->has_model; /* spin takes the time it is told to take */
    if (e->is_prediction) { /* nothing is sent that takes time but what --latency says */
        memset(e->columns + 5 * stages, 0, 2 * (size_t)stages * sizeof *e->columns);
    }
    add_latency(e, stages, o->latency_ns);
    return play_given(e, lowered, err);
}

enum pp_status pp_run_expect_init(struct pp_run_expect *expect, const struct pp_run_source *source,
                                  const struct pp_run_options *o, const struct pp_sched *lowered,
                                  const int64_t *input_bytes, const struct pp_run_place *place,
                                  struct pp_store *store, struct pp_err *err) {
    *expect = (struct pp_run_expect){0};
    if (store == NULL || !source->has_model) {
        return expect_given(expect, source, o, lowered, err);
    }
    struct pp_calibration calibration = {0};
    const struct pp_calibration_key key = {.model_key = place->model_key,
                                           .device = place->device,
                                           .transport = place->transport,
                                           .machine = place->machine};
    struct pp_err none = {0};
    enum pp_status status = pp_store_find_calibration(store, &key, &calibration, &none);
    if (status == PP_E_NOT_FOUND) {
        return expect_given(expect, source, o, lowered, err);
    }
    if (status != PP_OK) {
        *err = none;
        return status;
    }
    status = play_calibrated(expect, source, lowered, input_bytes, &calibration, err);
    pp_calibration_deinit(&calibration);
    return status;
}

void pp_run_expect_deinit(struct pp_run_expect *expect) {
    if (expect->trace.sched != NULL) {
        pp_trace_deinit(&expect->trace);
    }
    free(expect->columns);
    *expect = (struct pp_run_expect){0};
}
