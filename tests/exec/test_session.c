/* Sessions: what is called when, what is reported, kept and told, and what a failure leaves. */
#include "exec/session.h"
#include "tests/exec/runtime_support.h"
#include "tests/exec/state_support.h"

#include <stdatomic.h>
#include <unistd.h>

enum { RANKS = 4, STEPS = 16, POISONED = 0xff };

/* One rank's work: it notes what it is asked for, and fails where it is told to. */
struct worker {
    int32_t rank, arena_marks, host_marks, offloads;
    int64_t begun, ended, last_step; /* how many, and of which */
    int64_t fail_begin, fail_start, fail_end;
    _Atomic bool started;
    const struct worker *other; /* that is to have started, too */
    int64_t delay_ns;
    float number;
};

/* What a report said. */
struct told {
    int64_t step, wall_ns;
    double loss;
    bool has_loss, has_trace, in_order;
};

struct scene {
    struct program_case c;
    struct worker workers[RANKS];
    void *contexts[RANKS];
    struct pp_transport transport;
    struct pp_session_config config;
    struct pp_session_result result;
    struct pp_err err;
    struct told told[STEPS];
    int32_t told_count;
    int64_t stop_at, fail_report; /* steps; -1 */
    volatile sig_atomic_t stop;
};

static enum pp_status begin_step(void *context, int64_t step, struct pp_err *err) {
    struct worker *w = context;
    cr_assert_eq(w->begun, w->ended);
    w->begun++;
    w->last_step = step;
    return step == w->fail_begin ? pp_fail(err, PP_E_NOMEM, "begin fails") : PP_OK;
}

static enum pp_status end_step(void *context, int64_t step, struct pp_err *err) {
    struct worker *w = context;
    cr_assert_eq(w->last_step, step);
    w->ended++;
    w->number += 1;
    return step == w->fail_end ? pp_fail(err, PP_E_MODEL, "end fails") : PP_OK;
}

static enum pp_status start(void *context, const struct pp_work *work, struct pp_err *err) {
    struct worker *w = context;
    unsigned char *stash = work->action.type == PP_F ? work->stash : NULL;
    if (stash != NULL) {
        w->arena_marks += stash[0] == POISONED && stash[63] == POISONED;
        memset(stash, 1, 64);
    }
    if (work->action.type == PP_OFFLOAD && work->host_stash != NULL) {
        w->offloads++;
        w->host_marks += ((const unsigned char *)work->host_stash)[0] == POISONED;
    }
    atomic_store(&w->started, true);
    while (w->other != NULL && !atomic_load(&w->other->started)) {
        pp_sleep_until_ns(pp_now_ns() + 1000000);
    }
    pp_sleep_until_ns(pp_now_ns() + w->delay_ns);
    return w->last_step == w->fail_start ? pp_fail(err, PP_E_MODEL, "start fails") : PP_OK;
}

static double loss(void *context) {
    const struct worker *w = context;
    return 10 + w->rank;
}

static int32_t state(void *context, int32_t index, struct pp_state *state_p) {
    struct worker *w = context;
    if (index >= 0) {
        *state_p =
            (struct pp_state){.stage = w->rank, .name = "number", .data = &w->number, .count = 1};
    }
    return 1;
}

static const struct pp_compute_ops worker_ops = {.api = PP_COMPUTE_API,
                                                 .name = "worker",
                                                 .start = start,
                                                 .begin_step = begin_step,
                                                 .end_step = end_step,
                                                 .loss = loss,
                                                 .state = state};

static enum pp_status report(void *context, const struct pp_step_report *r, struct pp_err *err) {
    struct scene *s = context;
    cr_assert_lt(s->told_count, STEPS);
    s->told[s->told_count++] = (struct told){
        .step = r->step,
        .wall_ns = r->wall_ns,
        .loss = r->loss,
        .has_loss = r->has_loss,
        .has_trace = r->trace != NULL,
        .in_order = r->trace != NULL && pp_program_in_order(s->c.program, r->trace, NULL)};
    s->stop = r->step == s->stop_at;
    return r->step == s->fail_report ? pp_fail(err, PP_E_STORE, "report fails") : PP_OK;
}

static void open_scene(struct scene *s, const char *schedule, int32_t ranks, int64_t steps) {
    const struct pp_local_options local = {0};
    *s = (struct scene){.stop_at = -1, .fail_report = -1};
    make_timed_case(
        &s->c, make_schedule(schedule, ranks, find_schedule(schedule)->default_stages_per_rank, 8),
        1000, 100);
    cr_assert_eq(pp_local_open(s->c.program, &local, &s->transport, NULL), PP_OK);
    for (int32_t i = 0; i < ranks; i++) {
        s->workers[i] = (struct worker){
            .rank = i, .last_step = -1, .fail_begin = -1, .fail_start = -1, .fail_end = -1};
        s->contexts[i] = &s->workers[i];
    }
    s->config = (struct pp_session_config){.program = s->c.program,
                                           .compute = &worker_ops,
                                           .contexts = s->contexts,
                                           .transport = &s->transport,
                                           .control = pp_control_alone(),
                                           .rank_end = ranks,
                                           .drive = {.deadline_ns = 10000000000},
                                           .step_count = steps,
                                           .trace_every = 1,
                                           .key = make_key(0, ranks),
                                           .stop = &s->stop,
                                           .report = report,
                                           .report_context = s};
}

static enum pp_status run_scene(struct scene *s) {
    s->told_count = 0;
    pp_failure_deinit(&s->result.failure);
    return pp_session_run(&s->config, &s->result, &s->err);
}

static void close_scene(struct scene *s) {
    pp_failure_deinit(&s->result.failure);
    pp_local_close(&s->transport);
    program_case_deinit(&s->c);
}

/* ---- steps and reports ---- */

Test(session, steps_go_on_from_the_first) {
    struct scene s;
    open_scene(&s, "1F1B", 2, 5);
    s.config.first_step = 7;
    cr_assert_eq(run_scene(&s), PP_OK, "%s", s.err.message);
    cr_assert_eq(s.result.steps_done, 5);
    cr_assert_eq(s.told_count, 5);
    for (int32_t i = 0; i < 5; i++) {
        cr_expect_eq(s.told[i].step, 7 + i);
        cr_expect_gt(s.told[i].wall_ns, 0);
        cr_expect(s.told[i].has_loss && s.told[i].has_trace && s.told[i].in_order);
        cr_expect_eq(s.told[i].loss, (10.0 + 11.0) / 8);
    }
    cr_expect(s.workers[1].begun == 5 && s.workers[1].ended == 5);
    s.config.step_count = 0;
    s.config.first_step = 12;
    cr_expect_eq(run_scene(&s), PP_OK);
    cr_expect(s.result.steps_done == 0 && s.told_count == 0 && s.workers[0].begun == 5);
    close_scene(&s);
}

/* A mean over the microbatches of both directions. */
Test(session, both_directions_have_losses) {
    struct scene s;
    open_scene(&s, "DualPipe", 2, 1);
    cr_assert_eq(run_scene(&s), PP_OK, "%s", s.err.message);
    cr_expect_eq(s.told[0].loss, (10.0 + 11.0) / 8);
    close_scene(&s);
}

Test(session, records_every_nth_step_and_the_last) {
    static const bool recorded[3][4] = {{0, 0, 0, 0}, {1, 1, 1, 1}, {1, 0, 0, 1}};
    static const int64_t every[] = {0, 1, 3};
    for (int32_t kind = 0; kind < 3; kind++) {
        for (int64_t steps = 4; steps <= 5; steps++) {
            struct scene s;
            open_scene(&s, "1F1B", 2, steps);
            s.config.trace_every = every[kind];
            cr_assert_eq(run_scene(&s), PP_OK);
            for (int32_t i = 0; i < 4; i++) {
                cr_expect_eq(s.told[i].has_trace, recorded[kind][i], "every %d: step %d",
                             (int)every[kind], i);
            }
            cr_expect_eq(s.told[steps - 1].has_trace, kind > 0);
            close_scene(&s);
        }
    }
}

Test(session, poison_is_there_before_every_step) {
    for (int32_t poison = 0; poison < 2; poison++) {
        struct scene s;
        open_scene(&s, "GPipe", 2, 3);
        s.config.poison = poison == 1;
        cr_assert_eq(run_scene(&s), PP_OK);
        /* GPipe: no stash has a tenant before it */
        cr_expect(poison == 0 || s.workers[0].arena_marks == 3 * 8, "%d", s.workers[0].arena_marks);
        cr_expect(poison == 1 || s.workers[0].arena_marks <= 8);
        close_scene(&s);
    }
}

Test(session, host_memory_is_poisoned_too) {
    struct scene s;
    open_scene(&s, "PipeOffload", 2, 2);
    s.config.poison = true;
    cr_assert_eq(run_scene(&s), PP_OK, "%s", s.err.message);
    cr_expect_gt(s.workers[0].offloads, 0);
    cr_expect_eq(s.workers[0].host_marks, s.workers[0].offloads);
    close_scene(&s);
}

/* ---- stopping and checkpoints ---- */

static bool has_checkpoint(const struct folder *f, int64_t step) {
    char path[128];
    snprintf(path, sizeof path, "%s/step-%08d/manifest", f->path, (int)step);
    return access(path, F_OK) == 0;
}

/* The step that is under way is ended, recorded and kept, but none after it. */
Test(session, stops_after_the_step) {
    for (int32_t keeps = 0; keeps < 2; keeps++) {
        struct scene s;
        struct folder f = make_folder();
        open_scene(&s, "1F1B", 2, 9);
        s.config.checkpoint_folder = keeps == 1 ? f.path : NULL;
        s.config.trace_every = 100;
        s.stop_at = 2; /* asked for while its report is written: seen in the step after */
        cr_assert_eq(run_scene(&s), PP_E_INTERRUPTED);
        cr_expect_eq(s.result.steps_done, 4);
        cr_expect_eq(s.told_count, 4);
        cr_expect(s.told[0].has_trace && !s.told[2].has_trace && s.told[3].has_trace);
        cr_expect_not_null(strstr(s.err.message, "after step 4 of 9"), "%s", s.err.message);
        cr_expect_not_null(strstr(s.err.hint, keeps == 1 ? "--resume" : "were not kept"));
        cr_expect_eq(has_checkpoint(&f, 4), keeps == 1);
        cr_expect_eq(s.result.failure.kind, PP_FAIL_NONE);
        close_scene(&s);
        remove_tree(f.path);
    }
}

/* All that was asked for was done: nothing was interrupted. */
Test(session, a_stop_in_the_last_step_is_none) {
    struct scene s;
    open_scene(&s, "1F1B", 2, 3);
    s.stop_at = 1;
    cr_assert_eq(run_scene(&s), PP_OK);
    cr_expect_eq(s.result.steps_done, 3);
    close_scene(&s);
}

Test(session, checkpoints_are_counted_from_the_first_step) {
    struct scene s;
    struct folder f = make_folder();
    open_scene(&s, "1F1B", 2, 5);
    s.config.first_step = 10;
    s.config.checkpoint_folder = f.path;
    s.config.checkpoint_every = 2;
    cr_assert_eq(run_scene(&s), PP_OK, "%s", s.err.message);
    cr_expect(has_checkpoint(&f, 14) && has_checkpoint(&f, 15));
    cr_expect_eq(count_entries(f.path, "step-"), PP_CHECKPOINTS_KEPT);
    s.config.first_step = 15; /* as resumed by who asks for no more steps than were done */
    s.config.step_count = 0;
    cr_assert_eq(run_scene(&s), PP_OK);
    cr_expect_eq(count_entries(f.path, "step-"), PP_CHECKPOINTS_KEPT);
    s.config.step_count = 1;
    s.config.checkpoint_every = 0;
    cr_assert_eq(run_scene(&s), PP_OK);
    cr_expect(has_checkpoint(&f, 15) && has_checkpoint(&f, 16) && !has_checkpoint(&f, 14));
    close_scene(&s);
    remove_tree(f.path);
}

/* ---- failures ---- */

static enum pp_event_kind last_word(const struct scene *s, const char *folder, int32_t rank) {
    struct pp_ring_reading r;
    cr_assert_eq(pp_ring_read(folder, rank, s->c.program->hash, &r, NULL), PP_OK);
    cr_assert_gt(r.count, 0);
    return (enum pp_event_kind)r.events[r.count - 1].kind;
}

/* Both ends of DualPipe begin at once: the one that fails later is not the cause. */
Test(session, the_first_failure_is_told) {
    for (int32_t late = 0; late < 2; late++) {
        struct scene s;
        open_scene(&s, "DualPipe", 2, 1);
        s.config.drive.threads = true;
        s.workers[0].fail_start = s.workers[1].fail_start = 0;
        s.workers[0].other = &s.workers[1];
        s.workers[1].other = &s.workers[0];
        s.workers[late].delay_ns = 200000000;
        cr_expect_eq(run_scene(&s), PP_E_MODEL);
        cr_expect_eq(s.result.failure.rank, 1 - late, "%s", s.err.message);
        close_scene(&s);
    }
}

/* Who waits for this process between steps sees that it failed, wherever it did. */
Test(session, its_ranks_say_how_it_ended) {
    for (int32_t what = 0; what < 6; what++) {
        struct scene s;
        struct folder f = make_folder();
        open_scene(&s, "1F1B", 2, 4);
        s.config.run_folder = f.path;
        s.workers[1].fail_begin = what == 0 ? 2 : -1;
        s.workers[1].fail_start = what == 1 ? 2 : -1;
        s.workers[1].fail_end = what == 2 ? 2 : -1;
        s.fail_report = what == 3 ? 2 : -1;
        s.stop_at = what == 4 ? 1 : -1;
        cr_expect_eq(run_scene(&s) == PP_OK, what == 5);
        for (int32_t rank = 0; rank < 2; rank++) {
            cr_expect_eq(last_word(&s, f.path, rank), what < 4 ? PP_EVENT_FAILED : PP_EVENT_ENDED,
                         "%d: rank %d", what, rank);
        }
        close_scene(&s);
        remove_tree(f.path);
    }
}

Test(session, failures_end_it_where_they_are) {
    for (int32_t threads = 0; threads < 2; threads++) {
        for (int32_t what = 0; what < 5; what++) {
            struct scene s;
            struct folder f = make_folder();
            char path[128];
            open_scene(&s, "1F1B", 2, 6);
            snprintf(path, sizeof path, "%s/a/b", f.path); /* "a" is not there */
            s.config.drive.threads = threads == 1;
            s.workers[1].fail_begin = what == 0 ? 2 : -1;
            s.workers[1].fail_start = what == 1 ? 2 : -1;
            s.workers[1].fail_end = what == 2 ? 2 : -1;
            s.fail_report = what == 3 ? 2 : -1;
            s.config.checkpoint_folder = what == 4 ? path : NULL;
            s.config.checkpoint_every = what == 4 ? 3 : 0;
            static const enum pp_status expected[] = {PP_E_NOMEM, PP_E_MODEL, PP_E_MODEL,
                                                      PP_E_STORE, PP_E_IO};
            cr_expect_eq(run_scene(&s), expected[what], "%d: %s", what, s.err.message);
            cr_expect_eq(s.result.steps_done, what == 4 ? 3 : 2, "%d", what);
            cr_expect_eq(s.told_count, what >= 3 ? 3 : 2, "%d", what);
            cr_expect_eq(s.result.failure.kind, what == 1 ? PP_FAIL_COMPUTE : PP_FAIL_NONE);
            cr_expect_eq(s.result.failure.rank, what == 1 ? 1 : -1);
            cr_expect_eq(s.result.failure.view_count, what == 1 ? 2 : 0);
            close_scene(&s);
            remove_tree(f.path);
        }
    }
}

/* ---- several processes, which are threads here ---- */

static void no_watch(void *context, pp_control_look *look, void *look_context) {
    (void)context;
    (void)look;
    (void)look_context;
}

struct process {
    struct scene *scene; /* of them all */
    struct seat seat;
    struct pp_session_config config;
    struct pp_session_result result;
    enum pp_status status;
    struct pp_err err;
    int32_t reports;
    bool saw_trace;
    int64_t begins_ns; /* rank 2, in the last trace */
    int64_t stop_at;
    volatile sig_atomic_t stop;
};

static enum pp_status process_report(void *context, const struct pp_step_report *r,
                                     struct pp_err *err) {
    struct process *p = context;
    p->reports++;
    p->saw_trace = p->saw_trace || r->trace != NULL;
    p->stop = r->step == p->stop_at;
    if (r->trace != NULL) {
        p->begins_ns = r->trace->queue_ns[r->trace->sched->rank_begin[2]];
    }
    return p->seat.process == 0 ? report(p->scene, r, err) : PP_OK;
}

static void *run_process(void *argument) {
    struct process *p = argument;
    p->status = pp_session_run(&p->config, &p->result, &p->err);
    return NULL;
}

static struct process processes[RANKS];

/* Process 2 is asked to stop in its step 1. */
static void run_processes(struct scene *s, const char *folder, int64_t clock_offset_ns) {
    struct pp_control_ops ops = meeting_ops;
    struct meeting meeting = {.count = RANKS};
    pthread_t threads[RANKS];
    ops.watch = no_watch;
    open_scene(s, "1F1B", RANKS, 9);
    pthread_barrier_init(&meeting.barrier, NULL, RANKS);
    for (int32_t i = 0; i < RANKS; i++) {
        struct process *p = &processes[i];
        *p = (struct process){.scene = s, .stop_at = i == 2 ? 1 : -1};
        p->seat = (struct seat){.meeting = &meeting, .process = i};
        p->config = s->config;
        p->config.clock_offset_ns = i == 2 ? clock_offset_ns : 0;
        p->config.rank_begin = i;
        p->config.rank_end = i + 1;
        p->config.contexts = &s->contexts[i];
        p->config.drive.threads = true; /* one who drives alone would see a standstill */
        p->config.control = (struct pp_control){
            .ops = &ops, .context = &p->seat, .process = i, .process_count = RANKS};
        p->config.trace_every = 2;
        p->config.checkpoint_folder = folder;
        p->config.stop = &p->stop;
        p->config.report = process_report;
        p->config.report_context = p;
        cr_assert_eq(pthread_create(&threads[i], NULL, run_process, p), 0);
    }
    for (int32_t i = 0; i < RANKS; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&meeting.barrier);
}

/* Process 0 has everything: losses of all, traces of all, and who is asked to stop. */
Test(session, processes_end_their_steps_together) {
    struct scene s;
    struct folder f = make_folder();
    run_processes(&s, f.path, 0);
    for (int32_t i = 0; i < RANKS; i++) {
        cr_expect_eq(processes[i].status, PP_E_INTERRUPTED, "%s", processes[i].err.message);
        cr_expect_eq(processes[i].result.steps_done, 3); /* whoever of them was asked to stop */
        cr_expect_eq(processes[i].reports, 3);
        cr_expect_eq(processes[i].saw_trace, i == 0);
    }
    for (int32_t i = 0; i < 3; i++) {
        cr_expect_eq(s.told[i].loss, (10.0 + 11.0 + 12.0 + 13.0) / 8);
        cr_expect_eq(s.told[i].has_trace, i % 2 == 0);
        cr_expect(i % 2 == 1 || s.told[i].in_order, "step %d", i);
    }
    cr_expect(has_checkpoint(&f, 3));
    close_scene(&s);
    remove_tree(f.path);
}

/* The common clock is process 0's: what another one adds to its own is added to its times. */
Test(session, traces_count_by_the_common_clock) {
    struct scene s;
    struct folder f = make_folder();
    run_processes(&s, f.path, (int64_t)1 << 50);
    cr_expect_geq(processes[0].begins_ns, (int64_t)1 << 50);
    cr_expect_lt(processes[0].begins_ns, (int64_t)1 << 51);
    close_scene(&s);
    run_processes(&s, f.path, -((int64_t)1 << 50));
    cr_expect_lt(processes[0].begins_ns, -((int64_t)1 << 49));
    close_scene(&s);
    remove_tree(f.path);
}
