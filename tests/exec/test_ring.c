/* A rank's recent events: what is left of them when the rank is killed, and what readers refuse. */
#include "exec/ring.h"
#include "exec/clock.h"
#include "tests/exec/folder_support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static const char hash[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static struct pp_ring *make_ring(const char *folder, int32_t rank) {
    struct pp_err err = {0};
    struct pp_ring *ring = NULL;
    cr_assert_eq(pp_ring_create(folder, rank, hash, &ring, &err), PP_OK, "%s", err.message);
    return ring;
}

static struct pp_ring_reading read_ring(const char *folder, int32_t rank) {
    struct pp_err err = {0};
    struct pp_ring_reading r;
    cr_assert_eq(pp_ring_read(folder, rank, hash, &r, &err), PP_OK, "%s", err.message);
    return r;
}

static void write_event(struct pp_ring *ring, int32_t kind, int64_t step, int32_t action) {
    const struct pp_event e = {
        .time_ns = step * 1000 + action, .step = step, .action = action, .other = -1, .kind = kind};
    pp_ring_write(ring, &e);
}

Test(ring, keeps_the_last_events_in_order) {
    struct folder f = make_folder();
    struct pp_ring *ring = make_ring(f.path, 3);
    struct pp_ring_reading r = read_ring(f.path, 3);
    cr_expect(r.alive && r.same_machine);
    cr_expect_eq(r.process, getpid());
    cr_expect_eq(r.count, 0);
    for (int32_t i = 0; i < 3 * PP_RING_EVENTS; i++) {
        write_event(ring, PP_EVENT_DONE, 7, i);
        r = read_ring(f.path, 3);
        int32_t count = i + 1 < PP_RING_EVENTS ? i + 1 : PP_RING_EVENTS;
        cr_assert_eq(r.count, count);
        for (int32_t k = 0; k < count; k++) {
            cr_assert_eq(r.events[k].action, i - count + 1 + k);
            cr_assert_eq(r.events[k].step, 7);
            cr_assert_eq(r.events[k].time_ns, 7000 + r.events[k].action);
        }
    }
    write_event(ring, PP_EVENT_STEP_DONE, 7, -1);
    pp_ring_destroy(ring);
    r = read_ring(f.path, 3);
    cr_expect_not(r.alive);
    cr_expect_eq(r.count, PP_RING_EVENTS);
    cr_expect_eq(r.events[r.count - 2].kind, PP_EVENT_STEP_DONE);
    cr_expect_eq(r.events[r.count - 1].kind, PP_EVENT_ENDED);

    ring = make_ring(f.path, 3); /* empties it */
    r = read_ring(f.path, 3);
    cr_expect(r.alive);
    cr_expect_eq(r.count, 0);
    pp_ring_destroy(ring);
    remove_tree(f.path);
}

Test(ring, tells_who_gives_up_from_who_dies) {
    struct folder f = make_folder();
    struct pp_ring *ring = make_ring(f.path, 0);
    pp_ring_destroy(ring); /* before anything */
    struct pp_ring_reading early = read_ring(f.path, 0);
    cr_expect(early.count == 1 && early.events[0].kind == PP_EVENT_ENDED);
    ring = make_ring(f.path, 0);
    write_event(ring, PP_EVENT_BEGIN, 4, -1);
    write_event(ring, PP_EVENT_POSTED, 4, 11);
    write_event(ring, PP_EVENT_STARTED, 4, 12);
    write_event(ring, PP_EVENT_DONE, 4, 12);
    pp_ring_destroy(ring);
    struct pp_ring_reading r = read_ring(f.path, 0);
    cr_expect_eq(r.count, 5);
    cr_expect_eq(r.events[4].kind, PP_EVENT_FAILED);
    cr_expect(r.events[4].step == 4 && r.events[4].action == 11 && r.events[4].time_ns > 0);
    ring = make_ring(f.path, 0);
    write_event(ring, PP_EVENT_FAILED, 4, 3); /* it said so itself */
    pp_ring_destroy(ring);
    cr_expect_eq(read_ring(f.path, 0).count, 1);
    remove_tree(f.path);
}

Test(ring, in_memory_leaves_no_file) {
    struct pp_ring *ring = make_ring(NULL, 0);
    for (int32_t i = 0; i < 2 * PP_RING_EVENTS; i++) {
        write_event(ring, PP_EVENT_DONE, 0, i);
    }
    pp_ring_destroy(ring);
    pp_ring_destroy(NULL);
}

Test(ring, has_one_writer) {
    struct folder f = make_folder();
    struct pp_ring *ring = make_ring(f.path, 0), *second = NULL;
    write_event(ring, PP_EVENT_BEGIN, 0, -1);
    struct pp_err err = {0};
    cr_expect_eq(pp_ring_create(f.path, 0, hash, &second, &err), PP_E_IO);
    cr_expect_not_null(strstr(err.message, "rank-0.ring is held by another process"), "%s",
                       err.message);
    struct pp_ring_reading r = read_ring(f.path, 0); /* reading does not loosen the lock */
    r = read_ring(f.path, 0);
    cr_expect(r.alive);
    cr_expect_eq(r.count, 1); /* nor did the second writer empty it */
    pp_ring_destroy(ring);
    cr_expect_eq(pp_ring_create("/nowhere/at/all", 0, hash, &second, &err), PP_E_IO);
    cr_expect_not_null(strstr(err.message, "/nowhere/at/all/rank-0.ring"), "%s", err.message);
    remove_tree(f.path);
}

/* Writes without end, until it is killed. `time_ns` and `action` belong together. */
static void write_for_ever(const char *folder) {
    struct pp_ring *ring = NULL;
    if (pp_ring_create(folder, 0, hash, &ring, NULL) != PP_OK) {
        _exit(1);
    }
    for (int32_t i = 0;; i++) {
        const struct pp_event e = {
            .time_ns = (int64_t)i * i, .step = i, .action = i, .other = ~i, .kind = i % 7};
        pp_ring_write(ring, &e);
    }
}

static void expect_whole_events(const struct pp_ring_reading *r) {
    for (int32_t k = 0; k < r->count; k++) {
        const struct pp_event *e = &r->events[k];
        cr_assert_eq(e->time_ns, (int64_t)e->action * e->action);
        cr_assert(e->step == e->action && e->other == ~e->action && e->kind == e->action % 7);
        cr_assert(k == 0 || r->events[k - 1].action < e->action);
    }
}

Test(ring, survives_sigkill_and_shows_it_at_once) {
    struct folder f = make_folder();
    for (int round = 0; round < 10; round++) {
        pid_t child = fork();
        if (child == 0) {
            write_for_ever(f.path);
        }
        struct pp_ring_reading r = {.process = -1};
        int64_t deadline_ns = pp_now_ns() + 20000000000;
        while (r.process != child || r.count < PP_RING_EVENTS / 2) {
            r.process = pp_ring_read(f.path, 0, hash, &r, NULL) == PP_OK ? r.process : -1;
            cr_assert(pp_now_ns() < deadline_ns);
        }
        cr_expect(r.alive);
        for (int i = 0; i < 200; i++) { /* while it writes: no torn event, no waiting */
            r = read_ring(f.path, 0);
            cr_assert(r.alive);
            expect_whole_events(&r);
        }
        int32_t last = r.count > 0 ? r.events[r.count - 1].action : 0;
        kill(child, SIGKILL);
        int status = 0;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        r = read_ring(f.path, 0);
        cr_expect_not(r.alive);
        cr_expect_eq(r.process, child);
        cr_expect_geq(r.count, PP_RING_EVENTS - 1); /* at most the one it was at is lost */
        cr_expect_geq(r.events[r.count - 1].action, last);
        expect_whole_events(&r);
    }
    remove_tree(f.path);
}

static void refuses(const char *folder, const char *why) {
    struct pp_err err = {0};
    struct pp_ring_reading r;
    cr_expect_eq(pp_ring_read(folder, 0, hash, &r, &err), PP_E_FILE, "%s", why);
    cr_expect_not_null(strstr(err.message, why), "%s: %s", why, err.message);
    cr_expect_not_null(strstr(err.message, "rank-0.ring"), "%s", err.message);
}

Test(ring, refuses_what_is_no_ring) {
    struct folder f = make_folder();
    char path[PP_RING_PATH_BYTES];
    pp_ring_path(f.path, 0, path, sizeof path);
    refuses(f.path, "No such file");
    write_bytes(path, "", 0);
    refuses(f.path, "has 0 bytes, expected a ring of");
    write_bytes(path, "hello", 5);
    refuses(f.path, "has 5 bytes");
    char *zeros = calloc(1, 1 << 16);
    write_bytes(path, zeros, 1 << 16);
    free(zeros);
    refuses(f.path, "not a ring");
    unlink(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    refuses(f.path, "rank-0.ring"); /* and does not wait for somebody to write to it */
    unlink(path);
    cr_assert_eq(mkdir(path, 0700), 0);
    refuses(f.path, "directory");
    rmdir(path);

    struct pp_ring *ring = NULL;
    cr_assert_eq(pp_ring_create(f.path, 0, "feedbeef", &ring, NULL), PP_OK);
    refuses(f.path, "of program feedbeef, expected 0123456789ab");
    struct pp_ring_reading r;
    cr_expect_eq(pp_ring_read(f.path, 0, NULL, &r, NULL), PP_OK); /* of any program */
    pp_ring_destroy(ring);
    remove_tree(f.path);
}

/* Whatever the bytes are: an error, or events that were written. */
Test(ring, reader_bears_any_bytes) {
    struct folder f = make_folder();
    struct pp_ring *ring = make_ring(f.path, 0);
    for (int32_t i = 0; i <= 300; i++) { /* the last is a FAILED */
        const struct pp_event e = {
            .time_ns = (int64_t)i * i, .step = i, .action = i, .other = ~i, .kind = i % 7};
        pp_ring_write(ring, &e);
    }
    pp_ring_destroy(ring);
    char path[PP_RING_PATH_BYTES];
    pp_ring_path(f.path, 0, path, sizeof path);
    size_t size;
    char *whole = read_bytes(path, &size), *bytes = malloc(size);
    uint64_t state = 11;
    int refused = 0;
    for (int round = 0; round < 1000; round++) {
        memcpy(bytes, whole, size);
        size_t left = round % 4 == 0 ? next_number(&state) % (size + 1) : size;
        int changes = round % 4 == 1 ? 2000 : 1 + (int)(next_number(&state) % 8);
        size_t reach = round % 4 == 2 ? 256 : size; /* the header is small */
        for (int i = 0; i < changes; i++) {
            bytes[next_number(&state) % reach] ^= (char)(1u << next_number(&state) % 8);
        }
        write_bytes(path, bytes, left);
        struct pp_err err = {0};
        struct pp_ring_reading r;
        enum pp_status status = pp_ring_read(f.path, 0, hash, &r, &err);
        cr_assert(status == PP_OK || status == PP_E_FILE);
        cr_assert(status == PP_OK || err.message[0] != '\0');
        refused += status != PP_OK;
        if (status == PP_OK) {
            cr_assert_not(r.alive);
            expect_whole_events(&r);
        }
    }
    cr_expect(refused > 450 && refused < 950, "%d", refused);
    free(bytes);
    free(whole);
    remove_tree(f.path);
}

Test(ring, tells_where_a_rank_stood) {
    struct pp_ring_reading r = {.count = 0};
    cr_expect_eq(pp_ring_last_action(&r), -1);
#define EVENT(of_kind, of_action)                                                                  \
    r.events[r.count++] = (struct pp_event){.kind = (of_kind), .action = (of_action)}
    EVENT(PP_EVENT_BLOCKED, 9); /* of the step before */
    EVENT(PP_EVENT_BEGIN, -1);
    cr_expect_eq(pp_ring_last_action(&r), -1);
    EVENT(PP_EVENT_POSTED, 0);
    cr_expect_eq(pp_ring_last_action(&r), 0);
    EVENT(PP_EVENT_STARTED, 1);
    cr_expect_eq(pp_ring_last_action(&r), 1);
    EVENT(PP_EVENT_DONE, 1);
    cr_expect_eq(pp_ring_last_action(&r), 0); /* still under way */
    EVENT(PP_EVENT_BLOCKED, 2);
    EVENT(PP_EVENT_DONE, 0);
    cr_expect_eq(pp_ring_last_action(&r), 2);
    EVENT(PP_EVENT_STARTED, 2);
    EVENT(PP_EVENT_DONE, 2);
    cr_expect_eq(pp_ring_last_action(&r), -1);
    EVENT(PP_EVENT_STEP_DONE, -1);
    cr_expect_eq(pp_ring_last_action(&r), -1);
#undef EVENT
}
