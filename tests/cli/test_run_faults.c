/* Runs whose processes are killed, stopped, told to stop or left without a disk: who died is named
 * by those that are left, nobody stays behind, and no checkpoint is torn. */
#include "sim/lower.h"
#include "tests/cli/launch.h"
#include "tests/exec/fault_support.h"
#include "tests/exec/runtime_support.h"

#include <sys/mount.h>
#include <sys/stat.h>

#define MODELS PP_TEST_DIR "/cli/models/"
#define TRAIN "--model " MODELS "dense8.json --seq-len 16 --seed 7 --learning-rate 1e-2 "
#define FOREVER "--steps 1000000 --trace-every 0 "

static const int64_t LEAVE_WITHIN_NS = 5000000000; /* after a rank died */

/* ---- ranks that are killed ---- */

struct killed {
    struct pp_sched *lowered;
    int32_t action;
    int64_t step;
    char text[PP_ACTION_TEXT_BYTES];
    const char *name;
    int32_t ranks, stages, microbatches;
    char schedule[96];
};

static struct pp_sched *lower_as_run(struct pp_sched *order) {
    const struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_sched *lowered = NULL;
    cr_assert_eq(pp_sched_lower(order, &options, &lowered, NULL), PP_OK);
    pp_sched_destroy(order);
    return lowered;
}

/* Does its rank send anything further, so that others wait in this step? */
static bool is_waited_for(const struct pp_sched *s, int32_t action) {
    int32_t rank = s->stage_rank[s->actions[action].stage];
    for (int32_t i = action; i < s->rank_begin[rank + 1]; i++) {
        if (s->actions[i].type == PP_SEND_F || s->actions[i].type == PP_SEND_B) {
            return true;
        }
    }
    return false;
}

static struct killed draw_killed(uint64_t *seed, bool waited_for) {
    static const struct {
        const char *name;
        int32_t ranks, stages, microbatches;
    } orders[] = {{"1F1B", 2, 1, 4},          {"ZBH1", 3, 1, 4},     {"Interleaved1F1B", 2, 2, 4},
                  {"ZBVZeroBubble", 3, 2, 6}, {"DualPipe", 2, 2, 4}, {"PipeOffload", 2, 2, 4}};
    int32_t which = random_below(seed, (int32_t)(sizeof orders / sizeof orders[0]));
    struct killed k = {
        .lowered = lower_as_run(make_schedule(orders[which].name, orders[which].ranks,
                                              orders[which].stages, orders[which].microbatches)),
        .step = random_below(seed, 3),
        .name = orders[which].name,
        .ranks = orders[which].ranks,
        .stages = orders[which].stages,
        .microbatches = orders[which].microbatches};
    snprintf(k.schedule, sizeof k.schedule, "--schedule %s --pp %d --microbatches %d",
             orders[which].name, orders[which].ranks, orders[which].microbatches);
    do {
        k.action = random_below(seed, k.lowered->action_count);
    } while (is_waited_for(k.lowered, k.action) != waited_for);
    pp_action_text(&k.lowered->actions[k.action], k.text);
    return k;
}

static int32_t rank_of(const struct killed *k) {
    return k->lowered->stage_rank[k->lowered->actions[k->action].stage];
}

/* "rank 1 died in 1F2 (stage 1, microbatch 2) of step 1", and nobody else did. */
static void expect_death_named(const struct launch *l, const struct killed *k) {
    const struct pp_action *a = &k->lowered->actions[k->action];
    char line[256], microbatch[32] = "";
    if (a->microbatch >= 0) {
        snprintf(microbatch, sizeof microbatch, ", microbatch %d", a->microbatch);
    }
    snprintf(line, sizeof line, "rank %d died in %s (stage %d%s) of step %lld: ", rank_of(k),
             k->text, a->stage, microbatch, (long long)k->step);
    cr_assert_not_null(strstr(l->messages, line), "%s %s@%lld: \"%s\" is not in: %s", k->schedule,
                       k->text, (long long)k->step, line, l->messages);
    for (int32_t rank = 0; rank < k->lowered->rank_count; rank++) {
        snprintf(line, sizeof line, "rank %d died", rank);
        cr_assert(rank == rank_of(k) || strstr(l->messages, line) == NULL, "%s", l->messages);
    }
}

/* After its rank's last word, which may be some ms before its death. */
static void expect_left_soon(const struct launch *l, int32_t rank) {
    static struct pp_ring_reading r;
    cr_assert(read_rank(l, rank, &r));
    int64_t took_ns = l->ended_ns - r.events[r.count - 1].time_ns;
    cr_assert_leq(took_ns, LEAVE_WITHIN_NS, "it took %.1f s", (double)took_ns * 1e-9);
}

static void expect_document(const struct launch *l, const struct killed *k) {
    if (rank_of(k) == 0) {
        return; /* it would have been process 0's */
    }
    const struct pp_action *a = &k->lowered->actions[k->action];
    json_t *d = document_of(l);
    json_t *failure = json_object_get(d, "failure");
    cr_assert_str_eq(string_of(json_object_get(d, "error"), "code"), "E_RUN");
    cr_assert_str_eq(string_of(failure, "kind"), "dead");
    cr_assert_str_eq(string_of(failure, "action"), k->text);
    cr_assert_eq(integer_of(failure, "rank"), rank_of(k));
    cr_assert_eq(integer_of(failure, "stage"), a->stage);
    cr_assert(a->microbatch < 0 || integer_of(failure, "microbatch") == a->microbatch);
    json_decref(d);
}

static void kill_drawn(uint64_t seed, bool waited_for) {
    struct killed k = draw_killed(&seed, waited_for);
    struct launch l = make_launch();
    char line[512];
    snprintf(line, sizeof line,
             "exec mpirun -n %d $P run %s " TRAIN
             "--steps 4 --run-dir $D/run --json --fault kill:%s@%lld",
             k.lowered->rank_count, k.schedule, k.text, (long long)k.step);
    run_line(&l, line, 137); /* Open MPI's own rule: 128 + SIGKILL */
    expect_death_named(&l, &k);
    expect_document(&l, &k);
    expect_left_soon(&l, rank_of(&k));
    end_launch(&l);
    pp_sched_destroy(k.lowered);
}

static int32_t case_count(int32_t usual, int32_t full) {
    return getenv("PP_TEST_FULL") != NULL ? full : usual;
}

Test(run_faults, a_killed_rank_is_named_by_the_others) {
    SKIP_WITHOUT_MPI();
    for (int32_t seed = 0; seed < case_count(8, 60); seed++) {
        kill_drawn((uint64_t)seed, true);
    }
}

/* Others may be through with the step, and wait for its end. */
Test(run_faults, a_rank_killed_at_the_end_of_its_step_is_named) {
    SKIP_WITHOUT_MPI();
    for (int32_t seed = 0; seed < case_count(3, 30); seed++) {
        kill_drawn((uint64_t)(1000 + seed), false);
    }
}

/* mpirun returns 137 for the killed rank; with a shell between, what each rank's shell makes of it.
 */
Test(run_faults, survivors_leave_with_the_code_of_failed_runs) {
    SKIP_WITHOUT_MPI();
    static const char *const deaths[][2] = {
        {"1F2@1", "rank 1 died in 1F2 (stage 1, microbatch 2) of step 1"},
        {"0SEND_F2@1", "rank 0 died in 0SEND_F2 (stage 0, microbatch 2) of step 1"}};
    for (int i = 0; i < 2; i++) {
        struct launch l = make_launch();
        char line[512];
        snprintf(line, sizeof line,
                 "exec mpirun -n 2 sh -c \"$P run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN
                 "--steps 3 --run-dir $D/run --fault kill:%s || exit 6\"",
                 deaths[i][0]);
        run_line(&l, line, 6);
        cr_assert_not_null(strstr(l.messages, deaths[i][1]), "%s", l.messages);
        if (i == 0) { /* process 0 ends all; mpirun tells its code */
            cr_assert_not_null(strstr(l.messages, "with errorcode 6."), "%s", l.messages);
        }
        end_launch(&l);
    }
}

/* ---- ranks that are killed from outside ---- */

/* The losses of steps `from` to `to` of an undisturbed run are those of one that goes on from the
 * newest checkpoint in $D/c. */
static void expect_goes_on(const struct launch *l, int64_t further) {
    struct launch on = {.s = l->s};
    char line[512];
    run_line(&on,
             "exec $P run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN
             "--steps 1 --checkpoint $D/c --resume --json",
             0); /* 1 is done: tells where it stands */
    json_t *at = document_of(&on);
    int64_t from = integer_of(at, "resumed_from");
    json_decref(at);
    cr_assert_gt(from, 0);
    snprintf(line, sizeof line,
             "exec $P run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN
             "--steps %lld --checkpoint $D/c --resume --json",
             (long long)(from + further));
    run_line(&on, line, 0);
    json_t *rest = document_of(&on);
    snprintf(line, sizeof line,
             "exec $P run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN
             "--steps %lld --trace-every 0 --json",
             (long long)(from + further));
    run_line(&on, line, 0);
    json_t *whole = document_of(&on);
    cr_assert_eq(integer_of(rest, "resumed_from"), from);
    cr_assert_eq(json_array_size(json_object_get(rest, "steps")), (size_t)further);
    for (int64_t i = 0; i < further; i++) {
        json_t *ours = json_array_get(json_object_get(rest, "steps"), (size_t)i);
        json_t *theirs = json_array_get(json_object_get(whole, "steps"), (size_t)(from + i));
        cr_assert_eq(number_of(ours, "loss"), number_of(theirs, "loss"), "step %lld",
                     (long long)(from + i));
    }
    json_decref(rest);
    json_decref(whole);
    free(on.out);
    free(on.messages);
}

#define TWO_RANKS "exec mpirun -n 2 $P run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN FOREVER

static void kill_where(int32_t rank, stands *is_there, const char *flags) {
    struct launch l = make_launch();
    char line[512], who[32];
    snprintf(line, sizeof line, TWO_RANKS "--run-dir $D/run %s", flags);
    start(&l, line);
    pid_t process = stop_at(&l, rank, is_there);
    pp_sleep_until_ns(pp_now_ns() + 100 * MS); /* the other comes to wait for it */
    int64_t killed_ns = pp_now_ns();
    kill(process, SIGKILL);
    finish(&l, 137);
    cr_assert_leq(l.ended_ns - killed_ns, LEAVE_WITHIN_NS);
    snprintf(who, sizeof who, "rank %d died ", rank);
    cr_assert_not_null(strstr(l.messages, who), "\"%s\" is not in: %s", who, l.messages);
    snprintf(who, sizeof who, "rank %d died ", 1 - rank);
    cr_assert_null(strstr(l.messages, who), "%s", l.messages);
    if (strstr(flags, "--checkpoint ") != NULL) {
        expect_goes_on(&l, 2);
    }
    end_launch(&l);
}

Test(run_faults, a_rank_killed_in_a_step_is_named) {
    SKIP_WITHOUT_MPI();
    kill_where(0, is_in_a_step, "");
    kill_where(1, is_in_a_step, "--checkpoint $D/c --checkpoint-every 1");
}

/* The other waits in a call that all processes make together. */
Test(run_faults, a_rank_killed_between_steps_is_named) {
    SKIP_WITHOUT_MPI();
    kill_where(0, is_between_steps, "");
    kill_where(1, is_between_steps, "");
}

Test(run_faults, a_rank_killed_in_a_checkpoint_is_named_and_tears_none) {
    SKIP_WITHOUT_MPI();
    kill_where(0, is_in_a_checkpoint, "--checkpoint $D/c --checkpoint-every 1");
    kill_where(1, is_in_a_checkpoint, "--checkpoint $D/c --checkpoint-every 1");
}

#define LOCAL "exec $P run --schedule 1F1B --pp 2 --microbatches 4 " TRAIN

/* All ranks at once. */
Test(run_faults, a_killed_run_goes_on_from_its_checkpoint) {
    static stands *const places[] = {is_in_a_step, is_between_steps, is_in_a_checkpoint};
    for (int i = 0; i < 3; i++) {
        struct launch l = make_launch();
        start(&l, LOCAL FOREVER "--run-dir $D/run --checkpoint $D/c --checkpoint-every 1");
        kill(stop_at(&l, i % 2, places[i]), SIGKILL);
        finish(&l, 1000 + SIGKILL);
        expect_goes_on(&l, 2);
        end_launch(&l);
    }
}

/* ---- told to stop ---- */

static void expect_stopped(struct launch *l) {
    finish(l, 130);
    json_t *d = document_of(l);
    cr_assert_str_eq(string_of(json_object_get(d, "error"), "code"), "E_INTERRUPTED");
    int64_t done = (int64_t)json_array_size(json_object_get(d, "steps"));
    json_decref(d);
    expect_goes_on(l, 2);
    struct launch on = {.s = l->s};
    char line[512];
    snprintf(line, sizeof line, LOCAL "--steps %lld --checkpoint $D/c --resume --json",
             (long long)(done + 3));
    run_line(&on, line, 0);
    json_t *rest = document_of(&on);
    cr_assert_eq(integer_of(rest, "resumed_from"), done + 2); /* nothing that was done was lost */
    json_decref(rest);
    free(on.out);
    free(on.messages);
}

static void terminate_where(const char *line, int32_t rank, stands *is_there, int signals) {
    struct launch l = make_launch();
    start(&l, line);
    pid_t process = stop_at(&l, rank, is_there);
    for (int i = 0; i < signals; i++) {
        kill(process, i == 0 ? SIGTERM : SIGINT);
    }
    kill(process, SIGCONT);
    expect_stopped(&l);
    end_launch(&l);
}

#define KEEPS "--run-dir $D/run --checkpoint $D/c --checkpoint-every 1 --json"

Test(run_faults, sigterm_at_any_place_leaves_a_checkpoint) {
    terminate_where(LOCAL FOREVER KEEPS, 1, is_in_a_step, 1);
    terminate_where(LOCAL FOREVER KEEPS, 0, is_in_a_checkpoint, 1);
    terminate_where(LOCAL FOREVER KEEPS, 0, is_between_steps, 2); /* at once, as of one mind */
}

Test(run_faults, sigterm_to_one_process_stops_all) {
    SKIP_WITHOUT_MPI();
    terminate_where(TWO_RANKS KEEPS, 1, is_in_a_step, 1);
    terminate_where(TWO_RANKS KEEPS, 0, is_in_a_checkpoint, 1);
}

/* A step that never ends; who asks again, later, does not wait for it. */
Test(run_faults, a_second_sigterm_ends_it_at_once) {
    struct launch l = make_launch();
    start(&l, LOCAL "--steps 9 --run-dir $D/run --checkpoint $D/c --checkpoint-every 1 "
                    "--fault stall:1F2@4 --deadline 100s");
    static struct pp_ring_reading r;
    do {
        pp_sleep_until_ns(pp_now_ns() + 10 * MS);
    } while (!read_rank(&l, 1, &r) || r.events[r.count - 1].step < 4);
    kill(l.pid, SIGTERM);
    pp_sleep_until_ns(pp_now_ns() + 2500 * MS);
    cr_assert_eq(waitpid(l.pid, NULL, WNOHANG), 0); /* it waits for the end of the step */
    int64_t again_ns = pp_now_ns();
    kill(l.pid, SIGTERM);
    finish(&l, 130);
    cr_assert_leq(l.ended_ns - again_ns, LEAVE_WITHIN_NS);
    expect_goes_on(&l, 2);
    end_launch(&l);
}

/* ---- full disks ---- */

/* A run of two steps; one more has no room for its checkpoint. Then there is room again. */
static void expect_full_disk(struct launch *l, const char *make_full, const char *make_room) {
    struct pp_text t = {0};
    run_line(l, LOCAL "--steps 2 --checkpoint $D/c --json", 0);
    run_line(l, "cp -r $D/c/. $D/copy", 0);
    pp_text_printf(&t, "%s; " LOCAL "--steps 3 --checkpoint $D/c --resume --json", make_full);
    run_line(l, t.bytes, 4);
    const char *said = l->messages;
    cr_assert(strstr(said, "E_IO") != NULL && strstr(said, "(rank ") != NULL &&
                  strstr(said, ", stage ") != NULL &&
                  strstr(said, "/c/step-00000003/stage-000") != NULL,
              "%s", said);
    run_line(l, "diff -r $D/c $D/copy", 0); /* as it was, and nothing is left of the other */
    run_line(l, make_room, 0);
    expect_goes_on(l, 2);
    pp_text_free(&t);
}

Test(run_faults, a_checkpoint_larger_than_a_file_may_be) {
    struct launch l = make_launch();
    expect_full_disk(&l, "ulimit -f 16", "true");
    end_launch(&l);
}

Test(run_faults, a_full_disk_is_told_and_tears_no_checkpoint) {
    struct launch l = make_launch();
    char folder[128];
    snprintf(folder, sizeof folder, "%s/c", l.s.folder);
    cr_assert_eq(mkdir(folder, 0700), 0);
    if (mount("none", folder, "tmpfs", 0, "size=8m") != 0) {
        end_launch(&l);
        cr_skip_test("a disk of its own may not be mounted");
    }
    expect_full_disk(&l,
                     "dd if=/dev/zero of=$D/c/filler bs=4k 2>/dev/null; "
                     "truncate -s -48k $D/c/filler; cp $D/c/filler $D/copy/",
                     "rm $D/c/filler");
    cr_assert_eq(umount(folder), 0);
    end_launch(&l);
}

/* ---- messages between processes ---- */

/* Every process that says anything speaks of the same. @param other  or of this; NULL: only that */
static void expect_all_say(const char *messages, const char *action, const char *other) {
    for (const char *at = strstr(messages, "pipeplan: "); at != NULL;
         at = strstr(at + 1, "pipeplan: ")) {
        char line[512];
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        cr_assert(strstr(line, action) != NULL || (other != NULL && strstr(line, other) != NULL),
                  "%s is not in: %s", action, line);
    }
}

static void expect_message(const char *fault, const char *words, const char *action) {
    struct launch l = make_launch();
    char line[512];
    snprintf(line, sizeof line,
             "exec mpirun -n 3 $P run --schedule 1F1B --pp 3 --microbatches 4 " TRAIN
             "--steps 3 --run-dir $D/run --deadline 1s --deadline-factor 0 --fault %s",
             fault);
    run_line(&l, line, 6);
    cr_assert_not_null(strstr(l.messages, words), "%s: \"%s\" is not in: %s", fault, words,
                       l.messages);
    cr_assert_null(strstr(l.messages, "died"), "%s", l.messages);
    expect_all_say(l.messages, action, NULL);
    end_launch(&l);
}

Test(run_faults, messages_between_processes_are_checked) {
    SKIP_WITHOUT_MPI();
    expect_message("corrupt:1SEND_B0@1", "rank 0 stage 0 microbatch 0: 0RECV_B0, ", "0RECV_B0");
    expect_message("size:1SEND_F2@2", "rank 2 stage 2 microbatch 2: 2RECV_F2, ", "2RECV_F2");
    expect_message("duplicate:0SEND_F3@1", "rank 1 stage 1 microbatch 0: 1RECV_F0, ", "1RECV_F0");
}

/* What never comes is followed, by the rings of all, to where it should have come from. */
Test(run_faults, waits_between_processes_are_followed) {
    SKIP_WITHOUT_MPI();
    expect_message("drop:1SEND_F3", "deadline: rank 2 stage 2 microbatch 3: 2F3 waited ",
                   "2RECV_F3");
    expect_message("stall:0F2@1", "deadline: rank 0 stage 0 microbatch 2: 0F2 has run ", "0F2");
}

/* The action of that name; -1. */
static int32_t find_named(const struct pp_sched *s, const char *name) {
    for (int32_t i = 0; i < s->action_count; i++) {
        char text[PP_ACTION_TEXT_BYTES];
        if (strcmp(pp_action_text(&s->actions[i], text), name) == 0) {
            return i;
        }
    }
    return -1;
}

/* As in tests/exec/test_faults.c, with a process a rank. @return NULL, or what is wrong */
static const char *verdict_of(const struct launch *l, const struct fault_rule *rule,
                              const struct pp_program *p, int32_t struck) {
    json_t *d = document_of(l);
    json_t *failure = json_object_get(d, "failure");
    const char *wrong = NULL;
    if (failure == NULL || !json_is_string(json_object_get(failure, "action"))) {
        wrong = "no action is told";
    } else {
        int32_t named = find_named(p->sched, string_of(failure, "action"));
        if (named < 0 || !fault_may_name(p, rule, struck, named)) {
            wrong = "another action was named";
        } else if (integer_of(failure, "rank") != pp_rank_of(p->sched, named) ||
                   integer_of(failure, "stage") != p->sched->actions[named].stage) {
            wrong = "another rank or stage was named";
        }
    }
    json_decref(d);
    return wrong;
}

static const char *strike_processes(const struct fault_rule *rule, uint64_t seed) {
    static struct program_case c;
    struct killed k = draw_killed(&seed, true);
    struct launch l = make_launch();
    char line[512], text[PP_ACTION_TEXT_BYTES];
    pp_sched_destroy(k.lowered);
    make_timed_case(&c, make_schedule(k.name, k.ranks, k.stages, k.microbatches), 1000, 10);
    int32_t struck = fault_draw_action(c.program, rule->struck, &seed);
    pp_action_text(&c.lowered->actions[struck], text);
    snprintf(line, sizeof line,
             "exec mpirun -n %d $P run %s " TRAIN "--steps 4 --run-dir $D/run --deadline 1s "
             "--deadline-factor 0 --json --fault %s:%s%s@%lld",
             k.ranks, k.schedule, fault_word(rule->kind), text,
             rule->kind != PP_FAULT_DELAY  ? ""
             : rule->named == NAMES_NOBODY ? ":5ms"
                                           : ":60s",
             (long long)k.step);
    run_line(&l, line, rule->named == NAMES_NOBODY ? 0 : 6);
    const char *wrong =
        rule->named == NAMES_NOBODY ? NULL : verdict_of(&l, rule, c.program, struck);
    if (wrong != NULL) {
        printf("NOT EXACT: %s\n%s: %s\n", line, wrong, l.messages);
    }
    end_launch(&l);
    program_case_deinit(&c);
    return wrong;
}

Test(run_faults, faults_between_processes_are_diagnosed_exactly) {
    SKIP_WITHOUT_MPI();
    int32_t cases = case_count(FAULT_RULES, 10 * FAULT_RULES), exact = 0;
    for (int32_t i = 0; i < cases; i++) {
        exact += strike_processes(&fault_rules[i % FAULT_RULES], (uint64_t)(5000 + i)) == NULL;
    }
    printf("%d faults injected between processes, %d diagnosed exactly\n", cases, exact);
    cr_assert_eq(exact, cases);
}
