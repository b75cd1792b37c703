/* Faults in training that checkpoints every step: what was trained before them is kept, whole, and
 * who goes on from it ends where an undisturbed run does, bit for bit. */
#include "exec/clock.h"
#include "exec/message.h"
#include "exec/session.h"
#include "tests/exec/fault_support.h"
#include "tests/exec/folder_support.h"
#include "tests/exec/pipeline_support.h"

enum { STEPS = 3, MOST_RANKS = 3, CASES_A_RULE = 4, FULL_CASES_A_RULE = 40, LAYERS = 8 };

static struct {
    struct training t; /* program and transformer; ranks are the session's */
    struct folder folder;
    char name[192];
    uint64_t undisturbed[STEPS + 1]; /* of all state, after so many steps */
} its;

/* Ranks' contexts, as they begin or as a session left them. */
struct job {
    struct pp_fault fault;
    struct pp_fault_compute faulty[TRAINING_RANKS];
    void *contexts[TRAINING_RANKS];
    uint64_t states[STEPS + 1];
    struct pp_session_result result;
    struct pp_err err;
};

static void open_ranks(struct job *job) {
    struct pp_err err = {0};
    for (int32_t i = 0; i < its.t.lowered->rank_count; i++) {
        cr_assert_eq(pp_host_create(&its.t.hosts[i], &err), PP_OK, "%s", err.message);
        cr_assert_eq(pp_transformer_open(its.t.transformer, its.t.lowered, i, &its.t.device,
                                         its.t.hosts[i], &its.t.contexts[i], &err),
                     PP_OK, "%s", err.message);
        job->contexts[i] = its.t.contexts[i];
    }
}

static void close_ranks(void) {
    for (int32_t i = 0; i < its.t.lowered->rank_count; i++) {
        pp_transformer_close(its.t.contexts[i]);
        pp_host_destroy(its.t.hosts[i]);
    }
}

/* Of parameters and moments of all ranks. */
static uint64_t sum_of_state(void) {
    uint64_t sum = 0;
    for (int32_t i = 0; i < its.t.lowered->rank_count; i++) {
        int32_t count = pp_transformer_ops.state(its.t.contexts[i], -1, NULL);
        for (int32_t k = 0; k < count; k++) {
            struct pp_state s;
            pp_transformer_ops.state(its.t.contexts[i], k, &s);
            sum = sum * 31 + pp_checksum(s.data, (size_t)s.count * sizeof *s.data);
        }
    }
    return sum;
}

static enum pp_status note_state(void *context, const struct pp_step_report *report,
                                 struct pp_err *err) {
    struct job *job = context;
    (void)err;
    job->states[report->step + 1] = sum_of_state();
    return PP_OK;
}

static struct pp_checkpoint_key make_key(int64_t step) {
    return (struct pp_checkpoint_key){.step = step,
                                      .seed = 11,
                                      .stage_count = its.t.lowered->part_count,
                                      .model = "a0a1",
                                      .program = "b0b1"};
}

struct manner {
    bool threads;
    int32_t buffers;
    int64_t deadline_ns;
};

/* To the end, or until it fails. @param folder  for checkpoints; NULL: none */
static enum pp_status run_session(struct job *job, const struct manner *how, int64_t first,
                                  const char *folder) {
    const struct pp_local_options local = {.buffers = how->buffers};
    const struct pp_compute_ops *compute = &pp_transformer_ops;
    int32_t ranks = its.t.lowered->rank_count;
    bool has_fault = job->fault.kind != PP_FAULT_NONE;
    cr_assert_eq(pp_local_open(its.t.program, &local, &its.t.transport, &job->err), PP_OK);
    if (has_fault) {
        cr_assert_eq(pp_fault_wrap(&its.t.transport, its.t.program, &job->fault, &job->err), PP_OK,
                     "%s", job->err.message);
        for (int32_t i = 0; i < ranks; i++) {
            pp_fault_wrap_compute(&job->faulty[i], &pp_transformer_ops, job->contexts[i],
                                  &job->fault);
            job->contexts[i] = &job->faulty[i];
            compute = &job->faulty[i].ops;
        }
    }
    const struct pp_session_config config = {
        .program = its.t.program,
        .compute = compute,
        .contexts = job->contexts,
        .transport = &its.t.transport,
        .control = pp_control_alone(),
        .rank_end = ranks,
        .drive = {.threads = how->threads, .deadline_ns = how->deadline_ns},
        .first_step = first,
        .step_count = STEPS - first,
        .checkpoint_folder = folder,
        .checkpoint_every = folder != NULL ? 1 : 0,
        .key = make_key(0),
        .poison = true,
        .report = note_state,
        .report_context = job};
    enum pp_status status = pp_session_run(&config, &job->result, &job->err);
    if (has_fault) {
        pp_fault_unwrap(&its.t.transport);
    }
    pp_local_close(&its.t.transport);
    return status;
}

/* What every step comes to without a fault. */
static void run_undisturbed(void) {
    struct job job = {0};
    open_ranks(&job);
    cr_assert_eq(run_session(&job, &(struct manner){.deadline_ns = FAULT_LONG_NS}, 0, NULL), PP_OK,
                 "%s", job.err.message);
    memcpy(its.undisturbed, job.states, sizeof job.states);
    close_ranks();
}

static bool same_states(const struct job *job, int64_t from, int64_t to) {
    for (int64_t step = from; step <= to; step++) {
        if (job->states[step] != its.undisturbed[step]) {
            return false;
        }
    }
    return true;
}

/* Reads the newest checkpoint back, which must be that of so many steps, and goes on from it.
 * @return NULL, or what is wrong */
static const char *go_on(int64_t steps, const struct manner *how) {
    struct job job = {0};
    struct pp_err err = {0};
    struct pp_checkpoint_key key = {0};
    enum pp_status found = pp_checkpoint_find(its.folder.path, &key, &err);
    if (steps == 0) {
        return found == PP_E_NOT_FOUND ? NULL : "a checkpoint of nothing";
    }
    if (found != PP_OK || key.step != steps) {
        return "no checkpoint, or not of the steps that were done";
    }
    open_ranks(&job);
    const struct pp_checkpoint_ranks ranks = {.compute = &pp_transformer_ops,
                                              .contexts = job.contexts,
                                              .count = its.t.lowered->rank_count};
    const char *wrong = NULL;
    if (pp_checkpoint_read(its.folder.path, &key, &ranks, &err) != PP_OK) {
        wrong = "the checkpoint cannot be read";
    } else if (sum_of_state() != its.undisturbed[steps]) {
        wrong = "the checkpoint holds another state";
    } else if (run_session(&job, how, steps, its.folder.path) != PP_OK) {
        wrong = "what goes on from the checkpoint fails";
    } else if (!same_states(&job, steps + 1, STEPS)) {
        wrong = "what goes on from the checkpoint ends elsewhere";
    }
    close_ranks();
    return wrong;
}

static void close_program(void) {
    pp_program_destroy(its.t.program);
    pp_trace_deinit(&its.t.expected);
    pp_sched_destroy(its.t.lowered);
    pp_transformer_destroy(its.t.transformer);
}

/* @return whether the rule can strike here */
static bool open_order(const struct pp_sched *order, const struct fault_rule *rule, uint64_t *seed,
                       struct pp_fault *fault) {
    struct pp_transformer_config c = small_config(
        DENSE_MODEL, LAYERS, order->microbatch_count * (order->stage_count / order->part_count));
    c.length = 4;
    its.t = (struct training){.transformer = make_transformer(&c, order->part_count),
                              .device = test_device(false)};
    make_program(&its.t, 0, *seed, order);
    *fault = (struct pp_fault){.kind = rule->kind,
                               .action = fault_draw_action(its.t.program, rule->struck, seed),
                               .step = random_below(seed, STEPS - 1),
                               .delay_ns = rule->delay_ns};
    return fault->action >= 0;
}

static void open_case(const struct fault_rule *rule, uint64_t *seed, struct pp_fault *fault) {
    char name[64];
    for (bool opened = false; !opened;) {
        struct pp_sched *order = fault_draw_order(seed, MOST_RANKS, false, name, sizeof name);
        if (order->part_count <= LAYERS) {
            opened = open_order(order, rule, seed, fault);
            if (!opened) {
                close_program();
            }
        }
        pp_sched_destroy(order);
    }
    char text[PP_ACTION_TEXT_BYTES];
    snprintf(its.name, sizeof its.name, "%s: %s at %s in step %lld", name, rule->name,
             pp_action_text(&its.t.lowered->actions[fault->action], text), (long long)fault->step);
}

/* @return NULL, or what is wrong */
static const char *run_case(const struct fault_rule *rule, struct job *job,
                            const struct manner *how) {
    int64_t done =
        rule->named == NAMES_NOBODY ? STEPS : fault_shows_in(its.t.program, rule, &job->fault);
    run_undisturbed();
    open_ranks(job);
    enum pp_status status = run_session(job, how, 0, its.folder.path);
    close_ranks();
    const char *wrong = rule->named != NAMES_NOBODY
                            ? fault_verdict(its.t.program, rule, job->fault.action, status,
                                            &job->result.failure, &job->err)
                        : status != PP_OK ? "it failed"
                                          : NULL;
    if (wrong == NULL && (job->result.steps_done != done || !same_states(job, 1, done))) {
        wrong = "the steps that were done are others, or not what they are without a fault";
    }
    return wrong != NULL ? wrong : go_on(done, how);
}

static void run_rule(int32_t rule, int32_t cases, struct fault_tally *all) {
    struct fault_tally tally = {0};
    int64_t begin_ns = pp_now_ns();
    for (int32_t i = 0; i < cases; i++) {
        struct job job = {.err = {0}};
        uint64_t seed = (uint64_t)(rule * 100000 + i);
        open_case(&fault_rules[rule], &seed, &job.fault);
        const struct manner how = {.threads = i % 4 == 3,
                                   .buffers = i % 3,
                                   .deadline_ns =
                                       fault_deadline_ns(&fault_rules[rule], i % 4 == 3)};
        its.folder = make_folder();
        const char *wrong = run_case(&fault_rules[rule], &job, &how);
        fault_count(&tally, wrong, its.name, &job.result.failure, &job.err);
        pp_failure_deinit(&job.result.failure);
        remove_tree(its.folder.path);
        close_program();
    }
    fault_print(&tally, fault_rules[rule].name, (double)(pp_now_ns() - begin_ns) * 1e-9);
    all->injected += tally.injected;
    all->exact += tally.exact;
}

Test(faults_training, what_was_trained_is_kept) {
    struct fault_tally all = {0};
    for (int32_t rule = 0; rule < FAULT_RULES; rule++) {
        run_rule(rule, getenv("PP_TEST_FULL") != NULL ? FULL_CASES_A_RULE : CASES_A_RULE, &all);
    }
    printf("%d faults injected, %d diagnosed exactly, with whole checkpoints\n", all.injected,
           all.exact);
    cr_assert_eq(all.exact, all.injected);
}
