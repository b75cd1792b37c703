#include "reports/cli/run_keep.h"

#include <stdlib.h>
#include <time.h>

#include <jansson.h>

/* What is not a column of its own. Free with free(). */
static char *options_text(const struct pp_run_job *job) {
    const struct pp_run_options *o = job->options;
    json_t *options =
        json_pack("{s:s, s:I, s:I, s:b, s:s, s:I, s:I, s:I}", "schedule", job->source->name,
                  "flushes", (json_int_t)job->source->flush_count, "seed", (json_int_t)o->seed,
                  "scale_grads_in_schedule", (int)o->scale_in_schedule, "drive", o->drive,
                  "buffers", (json_int_t)o->buffers, "seq_len", (json_int_t)job->source->seq_len,
                  "microbatch_size", (json_int_t)job->source->microbatch_size);
    char *text = json_dumps(options, JSON_COMPACT);
    json_decref(options);
    return text;
}

enum pp_status pp_run_keep_begin(struct pp_run_keep *keep, struct pp_store *store,
                                 const struct pp_run_job *job, struct pp_err *err) {
    *keep = (struct pp_run_keep){.store = store};
    if (store == NULL) {
        return PP_OK;
    }
    const struct pp_run_source *source = job->source;
    char *options = options_text(job);
    const struct pp_execution_inputs inputs = {
        .program_hash = job->program->hash,
        .plan_id = source->has_plan ? source->plan.plan.id : NULL,
        .workload = source->has_model ? "transformer" : "spin",
        .model_key = job->model_key,
        .split = source->split,
        .device = job->options->device,
        .transport = job->transport.ops->name,
        .machine = job->machine,
        .options = options,
        .predicted_makespan_ns = job->expect.is_prediction ? job->expect.makespan_ns : 0,
        .calibration_id = job->expect.calibration_id[0] != '\0' ? job->expect.calibration_id : NULL,
        .costs = job->expect.is_prediction && job->expect.calibration_id[0] == '\0'
                     ? &job->expect.costs
                     : NULL,
        .started_at = (int64_t)time(NULL),
    };
    enum pp_status status = options == NULL
                                ? pp_fail(err, PP_E_NOMEM, "out of memory for the record of a run")
                                : pp_store_add_program(store, job->program->hash, job->lowered,
                                                       job->sizes.input_bytes, err);
    if (status == PP_OK) {
        status = pp_execution_begin(store, &inputs, &keep->execution, err);
    }
    free(options);
    return status;
}

enum pp_status pp_run_keep_step(struct pp_run_keep *keep, const struct pp_step_report *report,
                                struct pp_err *err) {
    const struct pp_execution_step step = {.step = report->step,
                                           .has_loss = report->has_loss,
                                           .loss = report->loss,
                                           .wall_ns = report->wall_ns,
                                           .trace = report->trace,
                                           .keep_trace = report->trace != NULL};
    struct pp_err cause = {0};
    enum pp_status status =
        keep->execution == NULL ? PP_OK : pp_execution_add_step(keep->execution, &step, &cause);
    if (status != PP_OK) {
        pp_fail(err, status, "step %lld was not stored, those before it are: %s",
                (long long)step.step, cause.message);
        pp_hint(err, "%s", cause.hint);
    }
    return status;
}

/* Rows of this process's ranks. Modules that several ranks hold (copies) are told by the last. */
static void own_profile(const struct pp_run_job *job, struct pp_profile_row *rows, int32_t room) {
    int32_t count = 0;
    for (int32_t i = 0; job->compute->profile != NULL && i < job->rank_end - job->rank_begin; i++) {
        count += job->compute->profile(job->contexts[i], rows + count, room - count);
        count = count < room ? count : room;
    }
}

/* At process 0 the rows of all processes; a row that stands for nothing has count 0. */
static enum pp_status gather_profile(const struct pp_run_job *job, struct pp_profile_row **all_p,
                                     int32_t *count_p, struct pp_err *err) {
    const struct pp_control *control = &job->control;
    int32_t room = 2 * 3 * (job->source->shape.layers + 2); /* a rank may hold two copies */
    size_t size = (size_t)room * sizeof **all_p;
    struct pp_profile_row *mine = calloc((size_t)room, sizeof *mine);
    struct pp_profile_row *all = calloc((size_t)control->process_count, size);
    enum pp_status status = mine == NULL || all == NULL
                                ? pp_fail(err, PP_E_NOMEM, "out of memory for the profile")
                                : PP_OK;
    if (status == PP_OK) {
        own_profile(job, mine, room);
        status = control->ops->gather(control->context, mine, size, all, err);
    }
    free(mine);
    if (status != PP_OK) {
        free(all);
        return status;
    }
    *all_p = all;
    *count_p = control->process_count * room;
    return PP_OK;
}

static enum pp_status keep_profile(struct pp_run_keep *keep, const struct pp_run_job *job,
                                   struct pp_err *err) {
    struct pp_profile_row *rows = NULL;
    int32_t count = 0;
    PP_TRY(gather_profile(job, &rows, &count, err));
    int32_t kept = 0;
    for (int32_t i = 0; i < count; i++) {
        if (rows[i].count > 0) {
            rows[kept++] = rows[i];
        }
    }
    enum pp_status status = keep->execution == NULL
                                ? PP_OK
                                : pp_execution_add_profile(keep->execution, rows, kept, err);
    free(rows);
    return status;
}

enum pp_status pp_run_keep_end(struct pp_run_keep *keep, const struct pp_run_job *job,
                               enum pp_status ended, const char *error, struct pp_err *err) {
    enum pp_execution_state state = ended == PP_OK              ? PP_EXECUTION_DONE
                                    : ended == PP_E_INTERRUPTED ? PP_EXECUTION_INTERRUPTED
                                                                : PP_EXECUTION_FAILED;
    if (state != PP_EXECUTION_FAILED && job->source->has_model) {
        PP_TRY(keep_profile(keep, job, err));
    }
    return keep->execution == NULL ? PP_OK : pp_execution_end(keep->execution, state, error, err);
}

void pp_run_keep_close(struct pp_run_keep *keep) {
    pp_execution_close(keep->execution);
    pp_store_close(keep->store);
    *keep = (struct pp_run_keep){0};
}
