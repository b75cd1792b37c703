#include "exec/session.h"

#include "exec/clock.h"

#include <stdlib.h>
#include <string.h>

enum { ARENA_ALIGN = 64, POISON = 0xff }; /* bytes of all ones are NaNs */

struct session {
    const struct pp_session_config *config;
    struct pp_failure *failure; /* of the result */
    int32_t count;              /* ranks of this process */
    struct pp_rank **ranks;     /* [count] */
    struct pp_ring **rings;     /* [count] */
    void **arenas, **hosts;     /* [count] */
    struct pp_trace trace;      /* of all ranks; other processes' parts after gathering */
    int64_t
        *gathered_ns; /* [process_count * 3 * action_count] at process 0, if there are several */
    int64_t *mine_ns; /* [3 * action_count] likewise, at all of them */
    struct pp_drive *drive;
    bool driving; /* a step is under way: ranks say themselves how it ends */
};

/* What every process tells at the end of a step, and what process 0 decides from it. */
struct step_word {
    double loss;
    int64_t stop;
};

static bool is_distributed(const struct session *s) {
    return s->config->control.process_count > 1;
}

/* What a drive asks while its ranks wait, asked between steps. */
static bool look_around(void *context, struct pp_err *err) {
    const struct session *s = context;
    const struct pp_drive_options *drive = &s->config->drive;
    return drive->look_around(drive->look_context, s->failure, err);
}

/* ---- open and close ---- */

static enum pp_status alloc_arena(int64_t bytes, void **memory_p, struct pp_err *err) {
    *memory_p = NULL;
    if (bytes == 0) {
        return PP_OK;
    }
    int64_t rounded = pp_div_ceil_i64(bytes, ARENA_ALIGN) * ARENA_ALIGN;
    *memory_p = aligned_alloc(ARENA_ALIGN, (size_t)rounded);
    return *memory_p != NULL ? PP_OK
                             : pp_fail(err, PP_E_NOMEM, "out of memory for an arena of %lld bytes",
                                       (long long)bytes);
}

static enum pp_status open_rank(struct session *s, int32_t i, struct pp_err *err) {
    const struct pp_session_config *c = s->config;
    int32_t rank = c->rank_begin + i;
    PP_TRY(alloc_arena(c->program->arena_bytes[rank], &s->arenas[i], err));
    PP_TRY(alloc_arena(c->program->host_bytes[rank], &s->hosts[i], err));
    PP_TRY(pp_ring_create(c->run_folder, rank, c->program->hash, &s->rings[i], err));
    struct pp_rank_config config = {
        .program = c->program,
        .rank = rank,
        .compute = c->compute,
        .compute_context = c->contexts[i],
        .transport = c->transport->ops,
        .endpoint = c->transport->endpoints[rank],
        .arena = s->arenas[i],
        .host_arena = s->hosts[i],
        .ring = s->rings[i],
        .trace = c->trace_every > 0 ? &s->trace : NULL,
    };
    return pp_rank_create(&config, &s->ranks[i], err);
}

static enum pp_status open_gathering(struct session *s, struct pp_err *err) {
    const struct pp_session_config *c = s->config;
    size_t n = 3 * (size_t)c->program->sched->action_count;
    if (!is_distributed(s) || c->trace_every == 0) {
        return PP_OK;
    }
    s->mine_ns = malloc(n * sizeof *s->mine_ns);
    if (c->control.process == 0) {
        s->gathered_ns = malloc(n * (size_t)c->control.process_count * sizeof *s->gathered_ns);
    }
    if (s->mine_ns == NULL || (c->control.process == 0 && s->gathered_ns == NULL)) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the traces of %d processes",
                       c->control.process_count);
    }
    return PP_OK;
}

static enum pp_status open_session(struct session *s, struct pp_err *err) {
    const struct pp_session_config *c = s->config;
    size_t n = (size_t)s->count;
    s->ranks = calloc(n, sizeof(struct pp_rank *));
    s->rings = calloc(n, sizeof(struct pp_ring *));
    s->arenas = calloc(n, sizeof(void *));
    s->hosts = calloc(n, sizeof(void *));
    if (s->ranks == NULL || s->rings == NULL || s->arenas == NULL || s->hosts == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d ranks", s->count);
    }
    if (c->trace_every > 0) {
        PP_TRY(pp_trace_init_queued(&s->trace, c->program->sched, err));
    }
    PP_TRY(open_gathering(s, err));
    for (int32_t i = 0; i < s->count; i++) {
        PP_TRY(open_rank(s, i, err));
    }
    return pp_drive_create(s->ranks, s->count, c->program, &c->drive, &s->drive, err);
}

static void close_session(struct session *s) {
    pp_drive_destroy(s->drive);
    for (int32_t i = 0; i < s->count; i++) {
        if (s->ranks != NULL) {
            pp_rank_destroy(s->ranks[i]);
        }
        if (s->rings != NULL) {
            pp_ring_destroy(s->rings[i]);
        }
        free(s->arenas != NULL ? s->arenas[i] : NULL);
        free(s->hosts != NULL ? s->hosts[i] : NULL);
    }
    free(s->ranks);
    free(s->rings);
    free(s->arenas);
    free(s->hosts);
    free(s->gathered_ns);
    free(s->mine_ns);
    pp_trace_deinit(&s->trace);
}

/* ---- a step ---- */

static void poison_arenas(const struct session *s) {
    const struct pp_program *program = s->config->program;
    for (int32_t i = 0; i < s->count; i++) {
        int32_t rank = s->config->rank_begin + i;
        if (s->arenas[i] != NULL) {
            memset(s->arenas[i], POISON, (size_t)program->arena_bytes[rank]);
        }
        if (s->hosts[i] != NULL) {
            memset(s->hosts[i], POISON, (size_t)program->host_bytes[rank]);
        }
    }
}

typedef enum pp_status step_hook(void *context, int64_t step, struct pp_err *err);

static enum pp_status call_all(const struct session *s, step_hook *hook, int64_t step,
                               struct pp_err *err) {
    for (int32_t i = 0; hook != NULL && i < s->count; i++) {
        PP_TRY(hook(s->config->contexts[i], step, err));
    }
    return PP_OK;
}

/* Time 0 of the step by this process's clock: process 0 names it, once all are ready. */
static enum pp_status agree_on_zero(const struct session *s, int64_t *zero_p, struct pp_err *err) {
    const struct pp_control *control = &s->config->control;
    if (!is_distributed(s)) {
        *zero_p = pp_now_ns();
        return PP_OK;
    }
    PP_TRY(control->ops->barrier(control->context, err));
    int64_t zero = pp_now_ns();
    PP_TRY(control->ops->broadcast(control->context, &zero, sizeof zero, err));
    *zero_p = zero - s->config->clock_offset_ns;
    return PP_OK;
}

/* Own ranks' times count from when they began; from the step's time 0 then. */
static void count_from(const struct session *s, int64_t zero_ns) {
    const struct pp_sched *sched = s->trace.sched;
    int64_t later_ns = pp_drive_zero_ns(s->drive) - zero_ns;
    int32_t begin = sched->rank_begin[s->config->rank_begin];
    int32_t end = sched->rank_begin[s->config->rank_end];
    for (int32_t at = begin; at < end; at++) {
        s->trace.start_ns[at] += later_ns;
        s->trace.end_ns[at] += later_ns;
        s->trace.queue_ns[at] += later_ns;
    }
}

static void copy_part(const struct pp_trace *trace, int32_t rank, const int64_t *from) {
    const struct pp_sched *sched = trace->sched;
    int32_t begin = sched->rank_begin[rank];
    size_t bytes = (size_t)(sched->rank_begin[rank + 1] - begin) * sizeof *from;
    size_t n = (size_t)sched->action_count;
    memcpy(trace->start_ns + begin, from + begin, bytes);
    memcpy(trace->end_ns + begin, from + n + begin, bytes);
    memcpy(trace->queue_ns + begin, from + 2 * n + begin, bytes);
}

/* Puts the parts of all processes together at process 0: process i drives rank i. */
static enum pp_status gather_trace(struct session *s, struct pp_err *err) {
    const struct pp_control *control = &s->config->control;
    size_t n = (size_t)s->trace.sched->action_count;
    if (is_distributed(s)) {
        memcpy(s->mine_ns, s->trace.start_ns, n * sizeof *s->mine_ns);
        memcpy(s->mine_ns + n, s->trace.end_ns, n * sizeof *s->mine_ns);
        memcpy(s->mine_ns + 2 * n, s->trace.queue_ns, n * sizeof *s->mine_ns);
        PP_TRY(control->ops->gather(control->context, s->mine_ns, 3 * n * sizeof *s->mine_ns,
                                    s->gathered_ns, err));
        for (int32_t rank = 1; control->process == 0 && rank < control->process_count; rank++) {
            copy_part(&s->trace, rank, s->gathered_ns + (size_t)rank * 3 * n);
        }
    }
    if (control->process == 0) {
        pp_trace_settle(&s->trace);
    }
    return PP_OK;
}

/* Losses together, in the order of processes; stops all if one was asked to. */
static enum pp_status exchange_words(const struct session *s, struct step_word *word,
                                     struct pp_err *err) {
    const struct pp_control *control = &s->config->control;
    if (!is_distributed(s)) {
        return PP_OK;
    }
    size_t n = (size_t)control->process_count;
    struct step_word *all = calloc(n, sizeof *all);
    if (all == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %zu processes", n);
    }
    enum pp_status status = control->ops->gather(control->context, word, sizeof *word, all, err);
    if (status == PP_OK && control->process == 0) {
        *word = (struct step_word){0};
        for (size_t i = 0; i < n; i++) {
            word->loss += all[i].loss;
            word->stop |= all[i].stop;
        }
    }
    free(all);
    return status != PP_OK ? status
                           : control->ops->broadcast(control->context, word, sizeof *word, err);
}

/* Microbatches that have a loss: both directions' where there are two copies of the model. */
static double loss_count(const struct pp_sched *sched) {
    return (double)sched->microbatch_count * (sched->stage_count / sched->part_count);
}

static bool records(const struct pp_session_config *c, int64_t done) {
    return c->trace_every > 0 && (done % c->trace_every == 0 || done + 1 == c->step_count);
}

static enum pp_status run_step(struct session *s, int64_t done, bool *stop_p,
                               struct pp_failure *failure, struct pp_err *err) {
    const struct pp_session_config *c = s->config;
    int64_t step = c->first_step + done;
    int64_t zero_ns = 0;
    if (c->poison) {
        poison_arenas(s);
    }
    PP_TRY(call_all(s, c->compute->begin_step, step, err));
    PP_TRY(agree_on_zero(s, &zero_ns, err));
    s->driving = true;
    PP_TRY(pp_drive_step(s->drive, step, failure, err));
    s->driving = false;
    PP_TRY(call_all(s, c->compute->end_step, step, err));
    struct step_word word = {.stop = c->stop != NULL && *c->stop != 0};
    for (int32_t i = 0; c->compute->loss != NULL && i < s->count; i++) {
        word.loss += c->compute->loss(c->contexts[i]);
    }
    PP_TRY(exchange_words(s, &word, err));
    int64_t wall_ns = pp_now_ns() - zero_ns;
    *stop_p = word.stop != 0;
    bool recorded = records(c, done) || (*stop_p && c->trace_every > 0);
    if (recorded) {
        count_from(s, zero_ns);
        PP_TRY(gather_trace(s, err));
    }
    struct pp_step_report report = {
        .step = step,
        .has_loss = c->compute->loss != NULL,
        .loss = word.loss / loss_count(c->program->sched),
        .wall_ns = wall_ns,
        .trace = recorded && c->control.process == 0 ? &s->trace : NULL,
    };
    return c->report != NULL ? c->report(c->report_context, &report, err) : PP_OK;
}

static enum pp_status write_checkpoint(const struct session *s, int64_t steps_done,
                                       struct pp_err *err) {
    const struct pp_session_config *c = s->config;
    struct pp_checkpoint_key key = c->key;
    key.step = c->first_step + steps_done;
    const struct pp_checkpoint_ranks ranks = {.compute = c->compute,
                                              .contexts = c->contexts,
                                              .rank_begin = c->rank_begin,
                                              .count = s->count};
    return pp_checkpoint_write(c->checkpoint_folder, &key, &ranks, &c->control, PP_CHECKPOINTS_KEPT,
                               err);
}

static enum pp_status run_steps(struct session *s, struct pp_session_result *result,
                                struct pp_err *err) {
    const struct pp_session_config *c = s->config;
    bool stop = false;
    int64_t saved = 0; /* steps of this session that a checkpoint holds */
    while (result->steps_done < c->step_count && !stop) {
        PP_TRY(run_step(s, result->steps_done, &stop, &result->failure, err));
        int64_t done = ++result->steps_done;
        bool last = done == c->step_count || stop;
        bool due = last || (c->checkpoint_every > 0 && done % c->checkpoint_every == 0);
        if (c->checkpoint_folder != NULL && due && done > saved) {
            PP_TRY(write_checkpoint(s, done, err));
            saved = done;
        }
    }
    if (result->steps_done == c->step_count) {
        return PP_OK;
    }
    pp_fail(err, PP_E_INTERRUPTED, "stopped after step %lld of %lld",
            (long long)(c->first_step + result->steps_done),
            (long long)(c->first_step + c->step_count));
    pp_hint(err, "%s",
            c->checkpoint_folder != NULL
                ? "the checkpoint holds everything; --resume goes on from it"
                : "its parameters were not kept; --checkpoint DIR would have");
    return PP_E_INTERRUPTED;
}

/* What failed between steps: other processes wait for this one, and are to see that it failed, not
 * that it left. */
static void tell_others(const struct session *s, int64_t step) {
    const struct pp_event event = {
        .time_ns = pp_now_ns(), .step = step, .action = -1, .other = -1, .kind = PP_EVENT_FAILED};
    for (int32_t i = 0; i < s->count; i++) {
        pp_ring_write(s->rings[i], &event);
    }
}

enum pp_status pp_session_run(const struct pp_session_config *config,
                              struct pp_session_result *result_p, struct pp_err *err) {
    PP_ASSERT(config->rank_begin < config->rank_end && config->step_count >= 0);
    struct session s = {.config = config,
                        .failure = &result_p->failure,
                        .count = config->rank_end - config->rank_begin};
    const struct pp_control *control = &config->control;
    *result_p = (struct pp_session_result){.failure = {.rank = -1, .action = -1}};
    enum pp_status status = open_session(&s, err);
    if (status == PP_OK && is_distributed(&s)) { /* before one looks, all rings are there */
        status = control->ops->barrier(control->context, err);
    }
    if (status == PP_OK) {
        control->ops->watch(control->context,
                            config->drive.look_around != NULL ? look_around : NULL, &s);
        status = run_steps(&s, result_p, err);
        control->ops->watch(control->context, NULL, NULL);
        if (status != PP_OK && status != PP_E_INTERRUPTED && !s.driving) {
            tell_others(&s, config->first_step + result_p->steps_done);
        }
    }
    close_session(&s);
    return status;
}
