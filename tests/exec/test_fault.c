/* What is broken on purpose is seen, and the right one is named. */
#include "tests/exec/runtime_support.h"

#include "exec/where.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CASES = 40 };

static struct program_case c;
static struct run r;

static void make_case(uint64_t *seed) {
    static const char *const names[] = {"1F1B",          "GPipe",  "Interleaved1F1B",
                                        "ZBVZeroBubble", "ZBH1",   "DualPipeV",
                                        "DualPipe",      "Hanayo", "LoopedBFS"};
    const struct pp_schedule_info *info =
        find_schedule(names[random_below(seed, (int32_t)(sizeof names / sizeof names[0]))]);
    int32_t p = 2 * (1 + random_below(seed, 2));
    make_timed_case(&c, make_schedule(info->name, p, info->default_stages_per_rank, 2 * p), 1000,
                    10);
}

static bool is_a_send(int32_t at) {
    const struct pp_action *a = &c.lowered->actions[at];
    return a->type == PP_SEND_F || a->type == PP_SEND_B;
}

static int32_t draw_action(uint64_t *seed, bool wanted(int32_t at)) {
    for (;;) {
        int32_t at = random_below(seed, c.lowered->action_count);
        if (wanted(at)) {
            return at;
        }
    }
}

/* RECV that is `number` on the channel of a SEND; -1. */
static int32_t receive_at(int32_t send, int32_t number) {
    for (int32_t i = 0; i < c.lowered->action_count; i++) {
        const struct pp_action *a = &c.lowered->actions[i];
        if ((a->type == PP_RECV_F || a->type == PP_RECV_B) &&
            c.program->bound[i].channel == c.program->bound[send].channel &&
            c.program->bound[i].sequence == number) {
            return i;
        }
    }
    return -1;
}

static bool has_next(int32_t at) {
    return is_a_send(at) && receive_at(at, c.program->bound[at].sequence + 1) >= 0;
}

static struct how how_of(enum pp_fault_kind kind, int32_t action, uint64_t *seed) {
    return (struct how){.threads = random_below(seed, 4) == 0,
                        .buffers = random_below(seed, 3),
                        .most_polls = random_below(seed, 3),
                        .deadline_ns = 200000000,
                        .fault = {.kind = kind, .action = action}};
}

/* The failure names rank and action, and the line says them, with stage and microbatch: its own,
 * or, where a SEND holds another action up, that one's. */
static void expect_named(int32_t action, const char *what) {
    char text[PP_ACTION_TEXT_BYTES];
    char place[PP_WHERE_BYTES];
    const struct pp_action *a = &c.lowered->actions[action];
    pp_action_text(a, text);
    if (is_a_send(action)) {
        snprintf(place, sizeof place, "rank %d stage ", c.lowered->stage_rank[a->stage]);
    } else {
        snprintf(place, sizeof place, "rank %d stage %d", c.lowered->stage_rank[a->stage],
                 a->stage);
    }
    cr_assert_eq(r.failure.action, action, "%s: %s: %d was expected: %s", what,
                 pp_failure_text(r.failure.kind), action, r.err.message);
    cr_assert_eq(r.failure.rank, c.lowered->stage_rank[a->stage], "%s: %s", what, r.err.message);
    cr_assert_not_null(strstr(r.err.message, place), "%s: %s", what, r.err.message);
    cr_assert_not_null(strstr(r.err.message, text), "%s: %s", what, r.err.message);
    cr_assert_null(strchr(r.err.message, '\n'));
    cr_assert_eq(r.failure.view_count, c.lowered->rank_count);
}

/* Runs into it. @return whether the first step failed */
static bool strike(enum pp_fault_kind kind, int32_t action, uint64_t *seed) {
    struct how how = how_of(kind, action, seed);
    run_open(&r, &c, &how);
    enum pp_status status = run_step(&r, 0);
    cr_assert(status == PP_OK || status == PP_E_RUN);
    return status != PP_OK;
}

static void close_case(void) {
    run_close(&r);
    program_case_deinit(&c);
}

/* Nothing came, or the next came in its place. */
Test(fault, drop) {
    for (uint64_t seed = 0; seed < CASES; seed++) {
        uint64_t state = seed;
        make_case(&state);
        int32_t send = draw_action(&state, is_a_send);
        cr_assert(strike(PP_FAULT_DROP, send, &state));
        cr_assert_neq(r.failure.kind, PP_FAIL_COMPUTE);
        expect_named(receive_at(send, c.program->bound[send].sequence), "drop");
        close_case();
    }
}

/* The next of the channel is met by it, if need be in the next step. */
Test(fault, duplicate) {
    for (uint64_t seed = 0; seed < CASES; seed++) {
        uint64_t state = seed;
        make_case(&state);
        int32_t send = draw_action(&state, is_a_send);
        int32_t next = receive_at(send, c.program->bound[send].sequence + 1);
        bool failed = strike(PP_FAULT_DUPLICATE, send, &state);
        cr_assert_eq(failed, next >= 0);
        if (!failed) {
            cr_assert_eq(run_step(&r, 1), PP_E_RUN);
        }
        cr_assert_eq(r.failure.kind, PP_FAIL_MESSAGE);
        cr_assert_not_null(strstr(r.err.message, failed ? "doubled" : "twice"), "%s",
                           r.err.message);
        expect_named(failed ? next : receive_at(send, 0), "duplicate");
        close_case();
    }
}

/* Its place is taken by the next; or, where its rank does not come to the next before it is sent,
 * nothing goes on, and the rank is named that waits for it. */
Test(fault, reorder) {
    int32_t met = 0;
    for (uint64_t seed = 0; seed < CASES; seed++) {
        uint64_t state = seed;
        make_case(&state);
        int32_t send = draw_action(&state, has_next);
        cr_assert(strike(PP_FAULT_REORDER, send, &state));
        met += r.failure.kind == PP_FAIL_MESSAGE;
        int32_t receive = receive_at(send, c.program->bound[send].sequence);
        bool is_sender = r.failure.kind != PP_FAIL_MESSAGE && r.failure.action == send;
        expect_named(is_sender ? send : receive, "reorder");
        close_case();
    }
    cr_assert_gt(met, CASES / 4);
}

Test(fault, corrupt) {
    for (uint64_t seed = 0; seed < CASES; seed++) {
        uint64_t state = seed;
        make_case(&state);
        int32_t send = draw_action(&state, is_a_send);
        cr_assert(strike(PP_FAULT_CORRUPT, send, &state));
        cr_assert_eq(r.failure.kind, PP_FAIL_MESSAGE);
        cr_assert_not_null(strstr(r.err.message, "changed"), "%s", r.err.message);
        expect_named(receive_at(send, c.program->bound[send].sequence), "corrupt");
        close_case();
    }
}

Test(fault, another_size) {
    for (uint64_t seed = 0; seed < CASES; seed++) {
        uint64_t state = seed;
        make_case(&state);
        int32_t send = draw_action(&state, is_a_send);
        cr_assert(strike(PP_FAULT_TRUNCATE, send, &state));
        cr_assert_eq(r.failure.kind, PP_FAIL_MESSAGE);
        cr_assert_not_null(strstr(r.err.message, "191 bytes, expected 192"), "%s", r.err.message);
        expect_named(receive_at(send, c.program->bound[send].sequence), "size");
        close_case();
    }
}

/* Late, but right: what was behind it in its channel, too. */
Test(fault, delay) {
    for (uint64_t seed = 0; seed < 8; seed++) {
        uint64_t state = seed;
        make_case(&state);
        int32_t send = draw_action(&state, is_a_send);
        struct how how = how_of(PP_FAULT_DELAY, send, &state);
        how.fault.delay_ns = 20000000;
        run_open(&r, &c, &how);
        run_step_well(&r, 0, "delay");
        cr_assert_geq(r.trace.end_ns[receive_at(send, c.program->bound[send].sequence)],
                      r.trace.queue_ns[send] + how.fault.delay_ns);
        run_step_well(&r, 1, "after a delay");
        close_case();
    }
}

static bool is_work(int32_t at) {
    enum pp_action_type type = c.lowered->actions[at].type;
    return type < PP_SEND_F || (type > PP_RECV_B && type != PP_RESHARD);
}

/* Work that never ends is what the deadline finds, however many wait for it. */
Test(fault, stall_of_work) {
    for (uint64_t seed = 0; seed < 6; seed++) {
        uint64_t state = seed;
        make_case(&state);
        int32_t action = draw_action(&state, is_work);
        int64_t before_ns = pp_now_ns();
        struct how how = how_of(PP_FAULT_STALL, action, &state);
        how.threads = seed % 2 == 0;
        run_open(&r, &c, &how);
        cr_assert_eq(run_step(&r, 0), PP_E_RUN);
        cr_assert_eq(r.failure.kind, PP_FAIL_DEADLINE);
        cr_assert_geq(pp_now_ns() - before_ns, how.deadline_ns);
        expect_named(action, "stall");
        close_case();
    }
}

static bool is_message(int32_t at) {
    enum pp_action_type type = c.lowered->actions[at].type;
    return type >= PP_SEND_F && type <= PP_RECV_B;
}

/* A message that is handed over and never ends: one side or the other is named. */
Test(fault, stall_of_a_message) {
    for (uint64_t seed = 0; seed < 6; seed++) {
        uint64_t state = seed;
        make_case(&state);
        int32_t action = draw_action(&state, is_message);
        int32_t send = is_a_send(action) ? action : c.lowered->producer[action];
        int32_t receive = receive_at(send, c.program->bound[send].sequence);
        cr_assert(strike(PP_FAULT_STALL, action, &state));
        cr_assert_eq(r.failure.kind, r.how.threads ? PP_FAIL_DEADLINE : PP_FAIL_STANDSTILL);
        expect_named(r.failure.action == send ? send : receive, "stall");
        close_case();
    }
}

Test(fault, kill) {
    for (uint64_t seed = 0; seed < 4; seed++) {
        uint64_t state = seed;
        make_case(&state);
        int32_t action = draw_action(&state, seed % 2 == 0 ? is_work : is_message);
        pid_t child = fork();
        if (child == 0) {
            strike(PP_FAULT_KILL, action, &state);
            _exit(0);
        }
        int status = 0;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        program_case_deinit(&c);
    }
}

/* A fault acts once, in its step. */
Test(fault, only_in_its_step) {
    uint64_t state = 3;
    make_case(&state);
    int32_t send = draw_action(&state, is_a_send);
    struct how how = {.fault = {.kind = PP_FAULT_CORRUPT, .action = send, .step = 2}};
    run_open(&r, &c, &how);
    run_step_well(&r, 0, "before");
    run_step_well(&r, 1, "before");
    cr_assert_eq(run_step(&r, 2), PP_E_RUN);
    expect_named(receive_at(send, c.program->bound[send].sequence), "step 2");
    close_case();
}

/* ---- by name ---- */

Test(fault, is_read) {
    struct pp_fault f;
    struct pp_err err = {0};
    char text[PP_ACTION_TEXT_BYTES];
    make_timed_case(&c, make_schedule("1F1B", 2, 1, 4), 1000, 10);
    cr_assert_eq(pp_fault_parse("drop:0SEND_F3", c.lowered, &f, &err), PP_OK, "%s", err.message);
    cr_assert(f.kind == PP_FAULT_DROP && f.step == 0);
    cr_assert_str_eq(pp_action_text(&c.lowered->actions[f.action], text), "0SEND_F3");
    cr_assert_eq(pp_fault_parse("delay:1SEND_B0:200ms@7", c.lowered, &f, &err), PP_OK);
    cr_assert(f.kind == PP_FAULT_DELAY && f.step == 7 && f.delay_ns == 200000000);
    cr_assert_eq(pp_fault_parse("delay:1SEND_B0:1.5", c.lowered, &f, &err), PP_OK);
    cr_assert_eq(f.delay_ns, 1500);
    cr_assert_eq(pp_fault_parse("kill:1F1@5", c.lowered, &f, &err), PP_OK);
    cr_assert(f.kind == PP_FAULT_KILL && f.step == 5);
    cr_assert_eq(pp_fault_parse("none", c.lowered, &f, &err), PP_OK);
    cr_assert_eq(f.kind, PP_FAULT_NONE);
    program_case_deinit(&c);
}

Test(fault, is_refused) {
    static const char *const wrong[] = {"",
                                        "break:0F0",
                                        "drop",
                                        "drop:",
                                        "drop:0F0",
                                        "drop:0",
                                        "drop:0SEND_F9",
                                        "delay:0SEND_F0",
                                        "delay:0SEND_F0:x",
                                        "kill:0F0@",
                                        "kill:0F0@x",
                                        "kill:0F0@-1",
                                        "drop:0SEND_F0:5ms",
                                        "delay:0SEND_F0:0ms",
                                        "delay:0SEND_F0:1h"};
    struct pp_fault f;
    make_timed_case(&c, make_schedule("1F1B", 2, 1, 4), 1000, 10);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct pp_err err = {0};
        cr_expect_eq(pp_fault_parse(wrong[i], c.lowered, &f, &err), PP_E_VALUE, "%s", wrong[i]);
        cr_expect_neq(err.message[0], '\0');
    }
    struct pp_transport transport;
    struct pp_err err = {0};
    cr_assert_eq(pp_local_open(c.program, &(struct pp_local_options){0}, &transport, &err), PP_OK);
    cr_assert_eq(pp_fault_parse("reorder:0SEND_F3", c.lowered, &f, &err), PP_OK);
    cr_assert_eq(pp_fault_wrap(&transport, c.program, &f, &err), PP_E_VALUE);
    pp_local_close(&transport);
    program_case_deinit(&c);
}

Test(fault, needs_bytes_to_break) {
    struct pp_transport transport;
    struct pp_err err = {0};
    struct pp_fault f;
    make_timed_case(&c, make_schedule("1F1B", 2, 1, 4), 1000, 10);
    pp_program_destroy(c.program);
    c.program = NULL;
    memset(c.input_bytes, 0, sizeof c.input_bytes);
    program_case_create(&c);
    cr_assert_eq(pp_local_open(c.program, &(struct pp_local_options){0}, &transport, &err), PP_OK);
    cr_assert_eq(pp_fault_parse("corrupt:0SEND_F1", c.lowered, &f, &err), PP_OK);
    cr_assert_eq(pp_fault_wrap(&transport, c.program, &f, &err), PP_E_VALUE);
    cr_assert_eq(pp_fault_parse("size:0SEND_F1", c.lowered, &f, &err), PP_OK);
    cr_assert_eq(pp_fault_wrap(&transport, c.program, &f, &err), PP_E_VALUE);
    pp_local_close(&transport);
    program_case_deinit(&c);
}
