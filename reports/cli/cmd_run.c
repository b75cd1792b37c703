/* pipeplan run: the schedule of a plan, the very one that was simulated, on real processes. */
#include "exec/clock.h"
#include "exec/peers.h"
#include "reports/cli/cli.h"
#include "reports/cli/run_answer.h"
#include "reports/cli/run_keep.h"
#include "reports/cli/run_processes.h"
#include "reports/json.h"
#include "sim/metrics.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct run {
    struct pp_cli *cli;
    struct pp_run_options options;
    struct pp_run_processes processes;
    struct pp_run_source source;
    struct pp_run_job job;
    struct pp_run_keep keep;
    struct pp_run_answer answer;
    struct pp_peers peers;
    bool shows_progress;
    bool running; /* ranks may wait for this process */
};

static bool is_first(const struct run *r) {
    return r->processes.control.process == 0;
}

/* ---- during the run ---- */

static enum pp_status on_step(void *context, const struct pp_step_report *report,
                              struct pp_err *err) {
    struct run *r = context;
    if (!is_first(r)) {
        return PP_OK;
    }
    struct pp_run_row row = {.step = report->step,
                             .has_loss = report->has_loss,
                             .loss = report->loss,
                             .wall_ns = report->wall_ns};
    if (report->trace != NULL) {
        struct pp_metrics metrics;
        pp_metrics_of(report->trace, &metrics, NULL);
        row.has_trace = true;
        row.makespan_ns = metrics.makespan_ns;
        row.bubble_ratio = metrics.bubble_ratio;
        row.in_order = pp_program_in_order(r->job.program, report->trace, NULL);
    }
    if (r->shows_progress) {
        pp_run_answer_progress(&row, r->cli->messages);
    }
    PP_TRY(pp_run_answer_add(&r->answer, &row, err));
    return pp_run_keep_step(&r->keep, report, err);
}

static enum pp_status resume(struct run *r, int64_t *first_step_p, struct pp_err *err) {
    struct pp_checkpoint_key key = {0};
    const struct pp_checkpoint_ranks ranks = {.compute = r->job.compute,
                                              .contexts = r->job.contexts,
                                              .rank_begin = r->job.rank_begin,
                                              .count = r->job.rank_end - r->job.rank_begin};
    *first_step_p = 0;
    if (!r->options.resume) {
        return PP_OK;
    }
    PP_TRY(pp_checkpoint_find(r->options.checkpoint, &key, err));
    r->job.checkpoint.step = key.step;
    PP_TRY(pp_checkpoint_read(r->options.checkpoint, &r->job.checkpoint, &ranks, err));
    r->answer.resumed_from = key.step;
    *first_step_p = key.step;
    return PP_OK;
}

static enum pp_status run_session(struct run *r, struct pp_session_result *result,
                                  struct pp_err *err) {
    const struct pp_run_options *o = &r->options;
    int64_t first_step = 0;
    PP_TRY(resume(r, &first_step, err));
    const char *folder = r->processes.folder[0] != '\0' ? r->processes.folder : NULL;
    r->peers = (struct pp_peers){.folder = folder,
                                 .program = r->job.program,
                                 .rank_begin = r->job.rank_begin,
                                 .rank_end = r->job.rank_end};
    bool looks = r->job.mpi != NULL && folder != NULL;
    const struct pp_session_config config = {
        .program = r->job.program,
        .compute = r->job.compute,
        .contexts = r->job.contexts,
        .transport = &r->job.transport,
        .control = r->job.control,
        .clock_offset_ns = r->job.clock_offset_ns,
        .rank_begin = r->job.rank_begin,
        .rank_end = r->job.rank_end,
        .drive = {.threads =
                      strcmp(o->drive, "ranks") == 0 && r->job.rank_end - r->job.rank_begin > 1,
                  .deadline_ns = o->deadline_ns,
                  .deadline_factor = r->job.expect.is_prediction ? o->deadline_factor : 0,
                  .look_around = looks ? pp_peers_look : NULL,
                  .look_at = looks ? pp_peers_look_at : NULL,
                  .look_context = &r->peers},
        .run_folder = folder,
        .first_step = first_step,
        .step_count = pp_max_i64(o->steps - first_step, 0),
        .trace_every = o->trace_every,
        .checkpoint_folder = o->checkpoint,
        .checkpoint_every = o->checkpoint_every,
        .key = r->job.checkpoint,
        .poison = o->poison,
        .stop = r->cli->stop,
        .report = on_step,
        .report_context = r,
    };
    return pp_session_run(&config, result, err);
}

/* ---- how it ended ---- */

static void print_waits(const struct run *r, const struct pp_failure *failure) {
    struct pp_text text = {0};
    pp_views_table(r->job.program, failure->views, failure->view_count, pp_now_ns(), &text);
    if (!text.failed && text.bytes != NULL) {
        fputs(text.bytes, r->cli->messages);
    }
    pp_text_free(&text);
}

static char *error_text(const struct run *r, const struct pp_failure *failure,
                        const struct pp_err *err) {
    json_t *error = pp_json_error(err);
    if (failure->kind != PP_FAIL_NONE) {
        json_object_set_new(error, "failure", pp_run_failure_json(r->job.program, failure));
    }
    char *text = json_dumps(error, JSON_COMPACT);
    json_decref(error);
    return text;
}

static enum pp_status answer(struct run *r, const struct pp_failure *failure, struct pp_err *err) {
    bool ended_well = err->status == PP_OK || err->status == PP_E_INTERRUPTED;
    bool failed_here = failure->kind != PP_FAIL_NONE && failure->kind != PP_FAIL_ABORTED;
    if (failed_here) {
        print_waits(r, failure);
    }
    if (!is_first(r)) {
        return err->status; /* main prints the line, process 0 the document */
    }
    if (!r->cli->json) {
        PP_TRY(ended_well ? pp_run_answer_text(&r->answer, r->cli->out, NULL) : PP_OK);
        return err->status;
    }
    json_t *document = pp_run_answer_json(&r->answer);
    if (failure->kind != PP_FAIL_NONE) {
        json_object_set_new(document, "failure", pp_run_failure_json(r->job.program, failure));
    }
    if (err->status != PP_OK) {
        json_object_set_new(document, "error", pp_json_error(err));
    }
    return pp_cli_answer(r->cli, document, err);
}

static enum pp_status execute(struct run *r, struct pp_store *store, struct pp_err *err) {
    struct pp_session_result result = {.failure = {.rank = -1, .action = -1}};
    PP_TRY(pp_run_keep_begin(&r->keep, store, &r->job, err));
    if (r->keep.execution != NULL) {
        pp_copy(r->answer.execution_id, sizeof r->answer.execution_id,
                pp_execution_id(r->keep.execution));
    }
    enum pp_status status = run_session(r, &result, err);
    if (status == PP_E_INTERRUPTED && r->options.checkpoint == NULL && r->keep.execution != NULL) {
        pp_hint(err, "its steps are stored; --checkpoint DIR would have kept what was trained");
    }
    char *error = status == PP_OK ? NULL : error_text(r, &result.failure, err);
    struct pp_err own = {0};
    if (pp_run_keep_end(&r->keep, &r->job, status, error, &own) != PP_OK) {
        if (own.status != status) { /* else it is what ended the run */
            pp_cli_complain(r->cli, &own);
        }
        if (status == PP_OK) {
            *err = own;
            status = own.status;
        }
    }
    free(error);
    status = answer(r, &result.failure, err);
    pp_failure_deinit(&result.failure);
    return status;
}

/* ---- before the run ---- */

static void print_need(const struct run *r) {
    struct pp_text text = {0};
    pp_program_table(r->job.program, &text);
    if (!text.failed && text.bytes != NULL) {
        fputs(text.bytes, r->cli->messages);
    }
    pp_text_free(&text);
}

/* Process 0 writes, the others read the plan only. */
static enum pp_status open_store(const struct run *r, struct pp_store **store_p,
                                 struct pp_err *err) {
    *store_p = NULL;
    if (r->options.db == NULL || (!is_first(r) && r->options.plan_id == NULL)) {
        return PP_OK;
    }
    if (!is_first(r)) {
        return pp_store_open_read(r->options.db, store_p, err);
    }
    if (r->options.plan_id != NULL && access(r->options.db, F_OK) != 0) {
        return pp_store_open_read(r->options.db, store_p, err); /* says what is missing */
    }
    return pp_store_open(r->options.db, store_p, err);
}

static enum pp_status prepare(struct run *r, const struct pp_usage *usage, struct pp_store *store,
                              struct pp_err *err) {
    PP_TRY(pp_run_source_init(&r->source, &r->options, usage, store, err));
    enum pp_status status = pp_run_job_plan(&r->job, store, err);
    if (status == PP_E_LIMIT) {
        print_need(r);
    }
    return status == PP_OK ? pp_run_job_open(&r->job, err) : status;
}

static enum pp_status run_all(struct run *r, const struct pp_usage *usage, struct pp_err *err) {
    struct pp_store *store = NULL;
    enum pp_status status = open_store(r, &store, err);
    if (status == PP_OK) {
        status = prepare(r, usage, store, err);
    }
    status = pp_run_processes_agree(&r->processes, status, err);
    if (!is_first(r) || status != PP_OK) {
        pp_store_close(store);
        store = NULL;
    }
    if (status == PP_OK) {
        r->running = true;
        status = pp_run_job_connect(&r->job, err);
    }
    if (status == PP_OK) {
        status = execute(r, store, err);
    } else {
        pp_store_close(store);
    }
    pp_run_keep_close(&r->keep);
    return status;
}

/* Process 0 speaks for all; another one says what it met itself, on the side. */
static void speak(struct run *r, struct pp_err *err) {
    if (is_first(r) || err->status == PP_OK) {
        return;
    }
    if (r->running) {
        pp_cli_complain(r->cli, err);
    }
    *err = (struct pp_err){0};
}

enum pp_status pp_cmd_run(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    struct run r = {.cli = cli, .options = PP_RUN_OPTIONS_DEFAULT};
    struct pp_run_usage usage;
    bool helped = false;
    enum pp_status status = pp_run_options_parse(cli, argc, argv, &r.options, &usage, &helped, err);
    if (status != PP_OK || helped) {
        if (!pp_run_processes_first()) {
            *err = (struct pp_err){0}; /* the first one says it for all */
        }
        return status;
    }
    r.answer = (struct pp_run_answer){.job = &r.job, .resumed_from = -1};
    r.shows_progress = isatty(fileno(cli->messages)) != 0;
    status = pp_run_processes_begin(&r.processes, &r.options, err);
    r.job = (struct pp_run_job){.options = &r.options,
                                .source = &r.source,
                                .mpi = r.processes.mpi,
                                .control = r.processes.control};
    if (status == PP_OK) {
        status = run_all(&r, &usage.usage, err);
    }
    speak(&r, err);
    if (r.running && status != PP_OK && err->status != PP_OK && r.job.mpi != NULL) {
        pp_cli_complain(cli, err); /* the process may not come back to main */
        *err = (struct pp_err){0};
    }
    pp_run_job_deinit(&r.job);
    pp_run_source_deinit(&r.source);
    pp_run_answer_deinit(&r.answer);
    pp_run_processes_end(&r.processes, status, r.running);
    return status;
}
