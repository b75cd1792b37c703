/* What is seen of other processes' ranks by their rings. */
#include "exec/peers.h"
#include "exec/where.h"
#include "tests/exec/folder_support.h"
#include "tests/exec/program_support.h"

#include <signal.h>
#include <sys/wait.h>

enum { RANKS = 4, MOST_EVENTS = 64 };

struct scene {
    struct folder folder;
    struct program_case c;
    struct pp_ring *rings[RANKS];
    struct pp_event events[RANKS][MOST_EVENTS]; /* written since the ring was made */
    int32_t event_count[RANKS];
    struct pp_peers peers; /* of rank 0 */
};

static void make_ring(struct scene *s, int32_t rank) {
    struct pp_err err = {0};
    cr_assert_eq(pp_ring_create(s->folder.path, rank, s->c.program->hash, &s->rings[rank], &err),
                 PP_OK, "%s", err.message);
    s->event_count[rank] = 0;
}

/* Its process ends as it should. */
static void end_ring(struct scene *s, int32_t rank) {
    pp_ring_destroy(s->rings[rank]);
    s->rings[rank] = NULL;
}

/* A process that wrote the same ends without a word. */
static void die(struct scene *s, int32_t rank) {
    end_ring(s, rank);
    pid_t child = fork();
    if (child == 0) {
        struct pp_ring *ring = NULL;
        if (pp_ring_create(s->folder.path, rank, s->c.program->hash, &ring, NULL) != PP_OK) {
            _exit(1);
        }
        for (int32_t i = 0; i < s->event_count[rank]; i++) {
            pp_ring_write(ring, &s->events[rank][i]);
        }
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
}

static void make_scene(struct scene *s, const char *schedule, int32_t stages_per_rank) {
    uint64_t seed = 3;
    *s = (struct scene){.folder = make_folder()};
    program_case_make(&s->c, make_schedule(schedule, RANKS, stages_per_rank, 8), &seed);
    for (int32_t rank = 0; rank < RANKS; rank++) {
        make_ring(s, rank);
    }
    s->peers = (struct pp_peers){
        .folder = s->folder.path, .program = s->c.program, .rank_begin = 0, .rank_end = 1};
}

static void end_scene(struct scene *s) {
    for (int32_t rank = 0; rank < RANKS; rank++) {
        pp_ring_destroy(s->rings[rank]);
    }
    program_case_deinit(&s->c);
    remove_tree(s->folder.path);
}

static void note(struct scene *s, int32_t rank, int32_t kind, int64_t step, int32_t action,
                 int32_t other) {
    const struct pp_event e = {.time_ns = 1000 + (int64_t)action,
                               .step = step,
                               .action = action,
                               .other = other,
                               .kind = kind};
    pp_ring_write(s->rings[rank], &e);
    cr_assert_lt(s->event_count[rank], MOST_EVENTS);
    s->events[rank][s->event_count[rank]++] = e;
}

static int32_t find_action(const struct scene *s, enum pp_action_type type, int32_t stage,
                           int32_t microbatch) {
    const struct pp_sched *lowered = s->c.lowered;
    int32_t at = -1;
    for (int32_t i = 0; i < lowered->action_count; i++) {
        const struct pp_action *a = &lowered->actions[i];
        at = a->type == type && a->stage == stage && a->microbatch == microbatch ? i : at;
    }
    cr_assert_geq(at, 0);
    return at;
}

static void expect_quiet(struct scene *s) {
    struct pp_failure failure = {.kind = PP_FAIL_NONE};
    struct pp_err err = {0};
    cr_expect_not(pp_peers_look(&s->peers, &failure, &err), "%s", err.message);
    cr_expect_eq(failure.kind, PP_FAIL_NONE);
}

static void expect_seen(struct scene *s, enum pp_failure_kind kind, int32_t rank, int32_t action,
                        const char *message) {
    struct pp_failure failure = {.kind = PP_FAIL_NONE};
    struct pp_err err = {0};
    cr_assert(pp_peers_look(&s->peers, &failure, &err), "%s", message);
    cr_expect_eq(failure.kind, kind);
    cr_expect_eq(failure.rank, rank);
    cr_expect_eq(failure.action, action);
    cr_expect_eq(err.status, PP_E_RUN);
    cr_expect_eq(strncmp(err.message, message, strlen(message)), 0, "%s", err.message);
}

static void begin_all(struct scene *s, int64_t step) {
    for (int32_t rank = 0; rank < RANKS; rank++) {
        note(s, rank, PP_EVENT_BEGIN, step, -1, -1);
    }
}

Test(peers, names_a_dead_rank_and_where_it_stood) {
    struct scene s;
    make_scene(&s, "1F1B", 1);
    expect_quiet(&s);
    begin_all(&s, 5);
    expect_quiet(&s);
    int32_t f = find_action(&s, PP_F, 2, 1);
    note(&s, 2, PP_EVENT_STARTED, 5, f, -1);
    expect_quiet(&s);
    die(&s, 2);
    expect_seen(&s, PP_FAIL_DEAD, 2, f,
                "rank 2 died in 2F1 (stage 2, microbatch 1) of step 5: its process ");

    /* others that failed since, because of it, come after it */
    note(&s, 1, PP_EVENT_FAILED, 5, -1, -1);
    expect_seen(&s, PP_FAIL_DEAD, 2, f, "rank 2 died in 2F1");
    end_scene(&s);
}

Test(peers, names_a_dead_rank_that_stood_nowhere) {
    struct scene s;
    make_scene(&s, "1F1B", 1);
    die(&s, 3);
    expect_seen(&s, PP_FAIL_DEAD, 3, -1, "rank 3 died before its first step: its process ");
    make_ring(&s, 3);
    begin_all(&s, 0);
    die(&s, 3);
    expect_seen(&s, PP_FAIL_DEAD, 3, -1, "rank 3 died in step 0: ");
    make_ring(&s, 3);
    note(&s, 3, PP_EVENT_STARTED, 0, INT32_MAX, -1); /* of a file: anything */
    die(&s, 3);
    expect_seen(&s, PP_FAIL_DEAD, 3, -1, "rank 3 died in step 0: ");
    end_scene(&s);
}

Test(peers, between_steps_who_says_so_may_leave) {
    struct scene s;
    make_scene(&s, "1F1B", 1);
    begin_all(&s, 7);
    note(&s, 1, PP_EVENT_STEP_DONE, 7, -1, -1);
    end_ring(&s, 1);
    expect_quiet(&s);
    note(&s, 2, PP_EVENT_STEP_DONE, 7, -1, -1);
    die(&s, 2);
    expect_seen(&s, PP_FAIL_DEAD, 2, -1, "rank 2 died after step 7: ");
    end_scene(&s);
}

Test(peers, names_a_rank_that_failed) {
    struct scene s;
    make_scene(&s, "1F1B", 1);
    begin_all(&s, 1);
    int32_t recv = find_action(&s, PP_RECV_F, 1, 0);
    note(&s, 1, PP_EVENT_FAILED, 1, recv, -1);
    expect_seen(&s, PP_FAIL_ABORTED, 1, recv,
                "rank 1 failed in 1RECV_F0 (stage 1, microbatch 0) of step 1");
    end_ring(&s, 1); /* also when it has gone */
    note(&s, 2, PP_EVENT_FAILED, 1, -1, -1);
    expect_seen(&s, PP_FAIL_ABORTED, 1, recv, "rank 1 failed in 1RECV_F0");
    make_ring(&s, 1);
    expect_seen(&s, PP_FAIL_ABORTED, 2, -1, "rank 2 failed");
    note(&s, 3, PP_EVENT_STARTED, 1, find_action(&s, PP_F, 3, 0), -1);
    end_ring(&s, 3); /* gave up within the step, as by a deadline */
    end_ring(&s, 2);
    make_ring(&s, 2);
    expect_seen(&s, PP_FAIL_ABORTED, 3, find_action(&s, PP_F, 3, 0), "rank 3 failed in 3F0");
    end_scene(&s);
}

/* Ranks that left because of another do not say in what they failed. */
Test(peers, names_the_rank_that_failed_by_itself) {
    struct scene s;
    make_scene(&s, "1F1B", 1);
    begin_all(&s, 1);
    int32_t recv = find_action(&s, PP_RECV_F, 2, 0);
    note(&s, 1, PP_EVENT_FAILED, 1, -1, -1);
    end_ring(&s, 1);
    expect_seen(&s, PP_FAIL_ABORTED, 1, -1, "rank 1 failed");
    note(&s, 2, PP_EVENT_FAILED, 1, recv, -1);
    note(&s, 3, PP_EVENT_FAILED, 1, -1, -1);
    expect_seen(&s, PP_FAIL_ABORTED, 2, recv, "rank 2 failed in 2RECV_F0");
    end_scene(&s);
}

Test(peers, passes_over_what_cannot_be_read) {
    struct scene s;
    make_scene(&s, "1F1B", 1);
    begin_all(&s, 1);
    char path[PP_RING_PATH_BYTES];
    struct pp_rank_view views[RANKS];
    cr_expect_eq(pp_peers_views(&s.peers, views), RANKS - 1);
    end_ring(&s, 2);
    pp_ring_path(s.folder.path, 2, path, sizeof path);
    write_bytes(path, "no ring", 7);
    expect_quiet(&s);
    unlink(path);
    expect_quiet(&s);
    cr_expect_eq(pp_peers_views(&s.peers, views), RANKS - 2);
    cr_expect(views[0].rank == 1 && views[1].rank == 3);
    s.peers.folder = "/nowhere/at/all";
    expect_quiet(&s);
    cr_expect_eq(pp_peers_views(&s.peers, views), 0);
    end_scene(&s);
}

Test(peers, shows_where_others_stand) {
    struct scene s;
    make_scene(&s, "1F1B", 1);
    begin_all(&s, 0);
    int32_t recv = find_action(&s, PP_RECV_F, 2, 0), send = find_action(&s, PP_SEND_F, 1, 0);
    int32_t f = find_action(&s, PP_F, 2, 0), busy = find_action(&s, PP_F, 1, 0);
    int32_t back = find_action(&s, PP_SEND_B, 3, 7);
    note(&s, 1, PP_EVENT_STARTED, 0, busy, -1);
    note(&s, 2, PP_EVENT_POSTED, 0, recv, -1);
    note(&s, 2, PP_EVENT_BLOCKED, 0, f, recv);
    note(&s, 3, PP_EVENT_BLOCKED, 0, -1, back); /* at the end of its list */
    struct pp_rank_view v[RANKS];
    cr_assert_eq(pp_peers_views(&s.peers, v), RANKS - 1);
    cr_expect(v[0].rank == 1 && v[0].action == busy && v[0].running && v[0].waits_for == -1);
    cr_expect_eq(v[0].since_ns, 1000 + busy);
    cr_expect(v[1].rank == 2 && v[1].action == f && !v[1].running && v[1].waits_for == recv);
    cr_expect(v[1].peer_rank == 1 && v[1].peer_action == send);
    cr_expect(v[2].rank == 3 && v[2].action == -1 && v[2].waits_for == back);
    cr_expect(v[2].peer_rank == 2 && v[2].peer_action == find_action(&s, PP_RECV_B, 2, 7));
    note(&s, 2, PP_EVENT_DONE, 0, recv, -1);
    cr_assert_eq(pp_peers_views(&s.peers, v), RANKS - 1);
    cr_expect(v[1].action == f && v[1].waits_for == -1 && v[1].peer_rank == -1);
    end_scene(&s);
}

Test(peers, shows_who_waits_for_a_copy) {
    struct scene s;
    make_scene(&s, "DualPipe", find_schedule("DualPipe")->default_stages_per_rank);
    begin_all(&s, 0);
    const struct pp_sched *lowered = s.c.lowered;
    for (int32_t i = 0; i < lowered->action_count; i++) {
        int32_t rank = pp_rank_of(lowered, i);
        if (lowered->actions[i].type != PP_REDUCE_GRAD || rank == 0) {
            continue;
        }
        note(&s, rank, PP_EVENT_POSTED, 0, i, -1);
        note(&s, rank, PP_EVENT_BLOCKED, 0, -1, i);
        struct pp_rank_view v[RANKS];
        cr_assert_eq(pp_peers_views(&s.peers, v), RANKS - 1);
        const struct pp_rank_view *of = &v[rank - 1];
        cr_expect_eq(of->waits_for, i);
        cr_assert_geq(of->peer_action, 0);
        const struct pp_action *peer = &lowered->actions[of->peer_action];
        cr_expect_eq(peer->type, PP_REDUCE_GRAD);
        cr_expect_eq(peer->stage, pp_program_copy_of(s.c.program, lowered->actions[i].stage));
        cr_expect_eq(of->peer_rank, lowered->stage_rank[peer->stage]);
    }
    end_scene(&s);
}
