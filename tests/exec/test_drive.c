/* Who drives the ranks: failures, views, the watchdog. */
#include "tests/exec/runtime_support.h"

#include "exec/where.h"

static struct program_case c;
static struct run r;

static void make_case(const char *name, int32_t p, int32_t m) {
    make_timed_case(&c, make_schedule(name, p, find_schedule(name)->default_stages_per_rank, m),
                    1000, 10);
}

static int32_t find(const char *text) {
    char name[PP_ACTION_TEXT_BYTES];
    int32_t at = 0;
    while (strcmp(pp_action_text(&c.lowered->actions[at], name), text) != 0) {
        at++;
        cr_assert_lt(at, c.lowered->action_count, "no %s", text);
    }
    return at;
}

Test(drive, failure_kinds_have_names) {
    cr_assert_str_eq(pp_failure_text(PP_FAIL_STANDSTILL), "standstill");
    cr_assert_str_eq(pp_failure_text(PP_FAIL_DEADLINE), "deadline");
    cr_assert_str_eq(pp_failure_text(PP_FAIL_DEAD), "dead");
}

Test(drive, many_steps) {
    for (int threads = 0; threads < 2; threads++) {
        make_case("ZBVZeroBubble", 3, 6);
        run_open(&r, &c, &(struct how){.threads = threads == 1});
        for (int64_t step = 0; step < 100; step++) {
            run_step_well(&r, step, "step");
        }
        run_close(&r);
        program_case_deinit(&c);
    }
}

/* What a workload returns comes through, with the rank and the action. */
Test(drive, a_failing_workload) {
    for (int threads = 0; threads < 2; threads++) {
        make_case("1F1B", 4, 8);
        run_open(&r, &c, &(struct how){.threads = threads == 1, .most_polls = 2});
        r.tokens[2].failing = find("2B3");
        r.tokens[2].failing_step = 1;
        run_step_well(&r, 0, "before");
        cr_assert_eq(run_step(&r, 1), PP_E_VALUE);
        cr_assert_eq(r.failure.kind, PP_FAIL_COMPUTE);
        cr_assert_eq(r.failure.rank, 2);
        cr_assert_eq(r.failure.action, find("2B3"));
        cr_assert_eq(r.failure.view_count, 4);
        cr_assert_str_eq(r.err.message, "told to fail");
        run_close(&r);
        program_case_deinit(&c);
    }
}

/* One thread sees at once that nothing goes on, without any deadline, and says who waits for what.
 */
Test(drive, a_standstill_is_seen_at_once) {
    make_case("1F1B", 3, 4);
    run_open(&r, &c, &(struct how){.fault = {.kind = PP_FAULT_DROP, .action = find("1SEND_F3")}});
    int64_t begin_ns = pp_now_ns();
    cr_assert_eq(run_step(&r, 0), PP_E_RUN);
    cr_assert_lt(pp_now_ns() - begin_ns, 1000000000);
    cr_assert_eq(r.failure.kind, PP_FAIL_STANDSTILL);
    cr_assert_eq(r.failure.action, find("2RECV_F3"));
    cr_assert_not_null(strstr(r.err.message, "rank 2 stage 2 microbatch 3: 2F3 waited"), "%s",
                       r.err.message);
    cr_assert_not_null(strstr(r.err.message, "2RECV_F3 from rank 1, 1SEND_F3 is said to be done"),
                       "%s", r.err.message);
    run_close(&r);
    program_case_deinit(&c);
}

/* All ranks are in the table, and each says for what it waits. */
Test(drive, the_table_of_views) {
    make_case("1F1B", 3, 4);
    run_open(&r, &c, &(struct how){.fault = {.kind = PP_FAULT_DROP, .action = find("1SEND_F3")}});
    cr_assert_eq(run_step(&r, 0), PP_E_RUN);
    struct pp_text out = {0};
    pp_views_table(c.program, r.failure.views, r.failure.view_count, pp_now_ns(), &out);
    cr_assert_not_null(strstr(out.bytes, "rank 2"), "%s", out.bytes);
    cr_assert_not_null(strstr(out.bytes, "for 2RECV_F3 (1SEND_F3 of rank 1)"), "%s", out.bytes);
    cr_assert_not_null(strstr(out.bytes, "rank 0"));
    int lines = 0;
    for (const char *at = out.bytes; *at != '\0'; at++) {
        lines += *at == '\n';
    }
    cr_assert_eq(lines, 3);
    pp_text_free(&out);
    run_close(&r);
    program_case_deinit(&c);
}

/* Behind work that takes too long all others wait: it alone is named, and a rank that only waits
 * for a slow one is not late. */
Test(drive, the_root_of_a_chain_of_waits_is_named) {
    for (int threads = 0; threads < 2; threads++) {
        make_case("GPipe", 4, 6);
        run_open(&r, &c,
                 &(struct how){.threads = threads == 1,
                               .deadline_ns = 100000000,
                               .fault = {.kind = PP_FAULT_STALL, .action = find("0F2")}});
        cr_assert_eq(run_step(&r, 0), PP_E_RUN);
        cr_assert_eq(r.failure.kind, PP_FAIL_DEADLINE);
        cr_assert_eq(r.failure.action, find("0F2"), "%s", r.err.message);
        cr_assert_not_null(strstr(r.err.message, "rank 0 stage 0 microbatch 2: 0F2 has run"), "%s",
                           r.err.message);
        cr_assert(r.failure.views[0].running);
        cr_assert_eq(r.failure.views[3].waits_for, find("3RECV_F2"));
        cr_assert_eq(r.failure.views[3].peer_rank, 2);
        run_close(&r);
        program_case_deinit(&c);
    }
}

/* A message that takes its time is no failure before the deadline; a factor of what is expected can
 * put that off. */
Test(drive, slow_is_not_late) {
    make_case("1F1B", 2, 4);
    int32_t send = find("0SEND_F1");
    run_open(
        &r, &c,
        &(struct how){.deadline_ns = 2000000000,
                      .fault = {.kind = PP_FAULT_DELAY, .action = send, .delay_ns = 60000000}});
    run_step_well(&r, 0, "a delay within the deadline");
    run_close(&r);
    program_case_deinit(&c);
}

/* What is expected of an action, often enough, goes before a deadline that is shorter. */
Test(drive, a_factor_puts_the_deadline_off) {
    for (int64_t factor = 0; factor <= 10000000; factor += 10000000) {
        make_case("1F1B", 2, 4);
        run_open(&r, &c,
                 &(struct how){.fault = {.kind = PP_FAULT_DELAY,
                                         .action = find("0SEND_F1"),
                                         .delay_ns = 200000000}});
        pp_drive_destroy(r.drive);
        const struct pp_drive_options options = {.deadline_ns = 20000000,
                                                 .deadline_factor = factor};
        cr_assert_eq(pp_drive_create(r.ranks, 2, c.program, &options, &r.drive, &r.err), PP_OK);
        cr_assert_eq(run_step(&r, 0), factor == 0 ? PP_E_RUN : PP_OK, "%s", r.err.message);
        run_close(&r);
        program_case_deinit(&c);
    }
}

/* ---- look_around ---- */

struct looking {
    int32_t asked;
    enum pp_failure_kind kind;
};

static bool look(void *context, struct pp_failure *failure, struct pp_err *err) {
    struct looking *x = context;
    if (++x->asked < 3) {
        return false;
    }
    failure->kind = x->kind;
    failure->rank = 7;
    failure->action = 1;
    pp_fail(err, PP_E_RUN, "rank 7 is gone");
    return true;
}

/* While nothing advances it is asked, again and again, and what it says is told. */
Test(drive, others_are_asked_for) {
    for (int threads = 0; threads < 2; threads++) {
        struct looking x = {.kind = PP_FAIL_DEAD};
        make_case("1F1B", 2, 4);
        run_open(&r, &c, &(struct how){.fault = {.kind = PP_FAULT_STALL, .action = find("1F1")}});
        pp_drive_destroy(r.drive);
        struct pp_drive_options options = {
            .threads = threads == 1, .look_around = look, .look_context = &x};
        cr_assert_eq(pp_drive_create(r.ranks, 2, c.program, &options, &r.drive, &r.err), PP_OK);
        cr_assert_eq(run_step(&r, 0), PP_E_RUN);
        cr_assert_eq(r.failure.kind, PP_FAIL_DEAD);
        cr_assert_eq(r.failure.rank, 7);
        cr_assert_str_eq(r.err.message, "rank 7 is gone");
        cr_assert_eq(x.asked, 3);
        run_close(&r);
        program_case_deinit(&c);
    }
}

/* A rank of another process, as its ring would show it. */
struct elsewhere {
    int32_t asked;
    int64_t busy_until_ns; /* so long it gets on all the time */
    struct pp_rank_view view;
};

static bool see(void *context, int64_t step, int32_t action, struct pp_rank_view *view_p,
                enum pp_action_state *state_p) {
    struct elsewhere *e = context;
    cr_assert_eq(step, 0);
    cr_assert_eq(pp_rank_of(c.lowered, action), 0);
    e->asked++;
    *view_p = e->view;
    view_p->since_ns = pp_min_i64(pp_now_ns(), e->busy_until_ns);
    *state_p = e->view.action < 0 ? PP_ACTION_DONE : PP_ACTION_AHEAD;
    return true;
}

/* Drives rank 1 alone, to which rank 0 sends nothing. */
static int64_t wait_in_vain(struct elsewhere *e, int32_t rank, int32_t action) {
    make_case("1F1B", 2, 4);
    run_open(&r, &c, &(struct how){0});
    pp_drive_destroy(r.drive);
    struct pp_drive_options options = {
        .threads = true, .deadline_ns = 50000000, .look_at = see, .look_context = e};
    cr_assert_eq(pp_drive_create(&r.ranks[1], 1, c.program, &options, &r.drive, &r.err), PP_OK);
    int64_t begin_ns = pp_now_ns();
    cr_assert_eq(pp_drive_step(r.drive, 0, &r.failure, &r.err), PP_E_RUN);
    int64_t took_ns = pp_now_ns() - begin_ns;
    cr_assert_eq(r.failure.kind, PP_FAIL_DEADLINE);
    cr_assert_eq(r.failure.rank, rank, "%s", r.err.message);
    cr_assert_eq(r.failure.action, action, "%s", r.err.message);
    run_close(&r);
    program_case_deinit(&c);
    return took_ns;
}

/* Whoever waits for a rank of another process is not late before that one is, which is then named.
 */
Test(drive, who_waits_for_another_process_is_excused_while_it_works) {
    struct elsewhere e = {
        .busy_until_ns = pp_now_ns() + 600000000,
        .view = {
            .action = 0, .waits_for = -1, .peer_rank = -1, .peer_action = -1, .running = true}};
    cr_assert_geq(wait_in_vain(&e, 0, 0), 600000000);
    cr_assert_geq(e.asked, 2);
    e.busy_until_ns = pp_now_ns(); /* it has left the step, and what it sent was lost */
    e.view.action = -1;
    e.view.running = false;
    make_case("1F1B", 2, 4);
    int32_t recv = find("1RECV_F0");
    program_case_deinit(&c);
    cr_assert_geq(wait_in_vain(&e, 1, recv), 50000000);
}

/* ---- traces ---- */

/* A transfer begins when both sides are there; a SEND that had to wait shows it. */
Test(drive, a_settled_trace) {
    make_case("1F1B", 4, 8);
    run_open(&r, &c, &(struct how){.threads = true, .most_polls = 3});
    run_step_well(&r, 0, "step");
    for (int32_t i = 0; i < c.lowered->action_count; i++) {
        const struct pp_action *a = &c.lowered->actions[i];
        cr_assert_leq(r.trace.queue_ns[i], r.trace.start_ns[i]);
        cr_assert_leq(r.trace.start_ns[i], r.trace.end_ns[i]);
        if (a->type == PP_RECV_F || a->type == PP_RECV_B) {
            int32_t send = c.lowered->producer[i];
            cr_assert_geq(r.trace.start_ns[i], r.trace.queue_ns[send]);
            cr_assert_leq(r.trace.start_ns[send], r.trace.start_ns[i]);
            cr_assert_geq(r.trace.start_ns[send], r.trace.queue_ns[i]);
            cr_assert_geq(r.trace.start_ns[send], r.trace.end_ns[c.lowered->producer[send]]);
        }
    }
    run_close(&r);
    program_case_deinit(&c);
}

Test(drive, settles_what_is_not_known) {
    struct pp_trace t;
    make_case("1F1B", 2, 2);
    cr_assert_eq(pp_trace_init_queued(&t, c.lowered, NULL), PP_OK);
    int32_t send = find("0SEND_F0");
    int32_t receive = find("1RECV_F0");
    t.queue_ns[send] = t.start_ns[send] = 100;
    t.end_ns[send] = 400;
    t.queue_ns[receive] = t.start_ns[receive] = 300;
    t.end_ns[receive] = 350;
    pp_trace_settle(&t);
    cr_assert_eq(t.start_ns[send], 300);
    cr_assert_eq(t.start_ns[receive], 300);
    t.queue_ns[receive] = 600; /* a clock that is off: never beyond the end */
    pp_trace_settle(&t);
    cr_assert_eq(t.start_ns[send], 400);
    cr_assert_eq(t.start_ns[receive], 350);
    pp_trace_deinit(&t);
    program_case_deinit(&c);
}
