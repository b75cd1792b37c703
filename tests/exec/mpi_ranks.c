/* One process of several that mpirun starts: what they say to one another, and what they notice.
 *
 *   mpi_ranks runs      ranks that are driven, several schedules
 *   mpi_ranks traffic   control, clock, refused programs, and messages of whole steps
 *   mpi_ranks large     a message of more than one piece (2 processes)
 *   mpi_ranks faults    messages that are not what they should be (4 processes)
 *   mpi_ranks kill FOLDER   rank 1 dies of SIGKILL: the others say so, and where
 *
 * A plain program: mpirun starts no Criterion. */
#include "exec/clock.h"
#include "exec/mpi/mpi.h"
#include "exec/peers.h"
#include "exec/spin.h"
#include "sim/engine.h"
#include "sim/generate.h"
#include "sim/lower.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_STAGES = 64 };

static int failures; /* of this process; it has one thread */

#define CHECK(cond, ...)                                                                           \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            failures++;                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold: ", __FILE__, __LINE__, #cond);               \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
        }                                                                                          \
    } while (0)

static uint64_t next_number(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* ---- programs ---- */

struct plan {
    struct pp_sched *lowered;
    struct pp_program *program;
};

static void must(enum pp_status status, const struct pp_err *err) {
    if (status != PP_OK) {
        fprintf(stderr, "mpi_ranks: %s\n", err->message);
        exit(3);
    }
}

static struct plan make_plan(const char *name, int32_t ranks, int32_t microbatches, int64_t bytes) {
    struct plan p = {NULL, NULL};
    struct pp_err err = {0};
    const struct pp_schedule_info *info = NULL;
    struct pp_sched *order = NULL;
    must(pp_schedule_find(name, &info, &err), &err);
    const struct pp_gen_config c = {.rank_count = ranks,
                                    .stages_per_rank = info->default_stages_per_rank,
                                    .microbatch_count = microbatches};
    must(pp_schedule_generate(info, &c, &order, &err), &err);
    const struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    must(pp_sched_lower(order, &options, &p.lowered, &err), &err);
    pp_sched_destroy(order);
    int64_t ones[MAX_STAGES], input[MAX_STAGES];
    for (int32_t s = 0; s < MAX_STAGES; s++) {
        ones[s] = 1000;
        input[s] = s % 5 == 4 ? 0 : bytes * (1 + s % 3); /* now and then nothing */
    }
    const struct pp_engine_costs costs = {
        .compute = {.f_ns = ones, .i_ns = ones, .w_ns = ones, .b_ns = ones}};
    const struct pp_program_sizes sizes = {.input_bytes = input, .stash_bytes = input};
    const struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    struct pp_engine *engine = NULL;
    struct pp_trace trace;
    must(pp_engine_create(p.lowered, &runtime, &engine, NULL, &err), &err);
    must(pp_trace_init(&trace, p.lowered, &err), &err);
    must(pp_engine_run(engine, &costs, NULL, &trace, &err), &err);
    must(pp_program_create(p.lowered, &sizes, &trace, &p.program, &err), &err);
    pp_trace_deinit(&trace);
    pp_engine_destroy(engine);
    return p;
}

static void free_plan(struct plan *p) {
    pp_program_destroy(p->program);
    pp_sched_destroy(p->lowered);
}

/* ---- control ---- */

static void check_control(struct pp_mpi *mpi) {
    const struct pp_control c = pp_mpi_control(mpi);
    struct pp_err err = {0};
    static const size_t sizes[] = {1, 1000, ((size_t)1 << 26) + 3}; /* the last in pieces */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i], count = (size_t)c.process_count;
        if (i == 2 && c.process_count > 2) {
            continue; /* twice is enough */
        }
        unsigned char *mine = malloc(size), *all = c.process == 0 ? malloc(size * count) : NULL;
        memset(mine, 10 + c.process, size);
        mine[size - 1] = (unsigned char)(100 + c.process);
        CHECK(c.ops->gather(c.context, mine, size, all, &err) == PP_OK, "%s", err.message);
        for (size_t p = 0; c.process == 0 && p < count; p++) {
            const unsigned char *from = all + p * size;
            CHECK(from[size - 1] == 100 + p && (size == 1 || from[0] == 10 + p), "%zu", p);
            CHECK(size == 1 || memcmp(from, from + 1, size - 2) == 0, "%zu", p);
        }
        CHECK(c.ops->broadcast(c.context, mine, size, &err) == PP_OK, "%s", err.message);
        CHECK(mine[size - 1] == 100 && (size == 1 || mine[0] == 10), "%d", mine[0]);
        CHECK(size == 1 || memcmp(mine, mine + 1, size - 2) == 0, "broadcast");
        CHECK(c.ops->barrier(c.context, &err) == PP_OK, "%s", err.message);
        free(mine);
        free(all);
    }
}

static void check_clock(struct pp_mpi *mpi) {
    struct pp_err err = {0};
    int64_t offset_ns = -1;
    CHECK(pp_mpi_clock_offset(mpi, &offset_ns, &err) == PP_OK, "%s", err.message);
    CHECK(offset_ns == 0, "%lld ns on one machine", (long long)offset_ns);
}

static void check_refused(struct pp_mpi *mpi) {
    const struct pp_control c = pp_mpi_control(mpi);
    struct pp_err err = {0};
    struct pp_transport t;
    struct plan p = make_plan("1F1B", c.process_count, c.process_count, 8);
    char expected[128];
    p.program->hash[0] = c.process == c.process_count - 1 ? 'x' : 'y';
    CHECK(pp_mpi_open(mpi, p.program, &t, &err) == PP_E_RUN, "another program");
    snprintf(expected, sizeof expected, "process %d runs program x%.11s, process 0 runs y%.11s",
             c.process_count - 1, p.program->hash + 1, p.program->hash + 1);
    CHECK(strcmp(err.message, expected) == 0, "%s", err.message);
    free_plan(&p);
    p = make_plan("1F1B", c.process_count + 1, c.process_count + 1, 8);
    CHECK(pp_mpi_open(mpi, p.program, &t, &err) == PP_E_RUN, "more ranks");
    snprintf(expected, sizeof expected, "the schedule has %d ranks, but %d processes were started",
             c.process_count + 1, c.process_count);
    CHECK(strcmp(err.message, expected) == 0, "%s", err.message);
    free_plan(&p);
}

/* ---- whole steps of messages ---- */

struct item {
    struct pp_message m;
    bool outgoing, posted, done;
    int32_t sender; /* action */
};

struct traffic {
    const struct pp_program *program;
    struct item *items;
    int32_t count;
};

static void add_item(struct traffic *t, int32_t own, int32_t sender, bool outgoing, int64_t bytes) {
    const struct pp_bound *b = &t->program->bound[sender]; /* both sides have the sender's number */
    t->items[t->count++] = (struct item){.m = {.program = t->program,
                                               .index = own,
                                               .channel = b->channel,
                                               .sequence = b->sequence,
                                               .bytes = bytes,
                                               .data = malloc((size_t)bytes + 1)},
                                         .outgoing = outgoing,
                                         .sender = sender};
}

static int32_t find_reduce(const struct pp_program *p, int32_t stage) {
    int32_t i = 0;
    while (p->sched->actions[i].type != PP_REDUCE_GRAD || p->sched->actions[i].stage != stage) {
        i++;
    }
    return i;
}

/* What one rank sends and receives in a step. */
static struct traffic traffic_of(const struct pp_program *program, int32_t rank) {
    const struct pp_sched *s = program->sched;
    struct traffic t = {.program = program};
    int32_t begin = s->rank_begin[rank], end = s->rank_begin[rank + 1];
    t.items = calloc((size_t)(end - begin) * 2 + 1, sizeof *t.items);
    for (int32_t i = begin; i < end; i++) {
        const struct pp_bound *b = &program->bound[i];
        enum pp_action_type type = (enum pp_action_type)s->actions[i].type;
        if (type == PP_SEND_F || type == PP_SEND_B) {
            add_item(&t, i, i, true, b->message_bytes);
        } else if (type == PP_RECV_F || type == PP_RECV_B) {
            add_item(&t, i, s->producer[i], false, b->message_bytes);
        } else if (type == PP_REDUCE_GRAD && b->channel >= 0) {
            add_item(&t, i, i, true, 5000);
            add_item(&t, i, find_reduce(program, pp_program_copy_of(program, s->actions[i].stage)),
                     false, 5000);
        }
    }
    return t;
}

static void fill(const struct item *it, unsigned char *data) {
    uint64_t state = (uint64_t)it->sender << 20 ^ (uint64_t)it->m.step;
    uint64_t word = next_number(&state);
    for (int64_t i = 0; i < it->m.bytes; i += 8) {
        word = (word ^ (uint64_t)i) * 0x9e3779b97f4a7c15u;
        memcpy(data + i, &word, (size_t)pp_min_i64(8, it->m.bytes - i));
    }
}

/* May it be posted: is all before it in its channel? */
static bool is_next(const struct traffic *t, const struct item *it) {
    for (int32_t i = 0; i < t->count; i++) {
        if (t->items[i].m.channel == it->m.channel && !t->items[i].posted &&
            t->items[i].m.sequence < it->m.sequence) {
            return false;
        }
    }
    return true;
}

static void finish_item(const struct pp_transport *transport, int32_t rank, struct item *it,
                        int64_t begin_ns) {
    it->done = true;
    if (it->outgoing) {
        return;
    }
    unsigned char *expected = malloc((size_t)it->m.bytes + 1);
    fill(it, expected);
    CHECK(memcmp(expected, it->m.data, (size_t)it->m.bytes) == 0, "data of message %d",
          it->m.sequence);
    free(expected);
    int64_t peer_ns = transport->ops->peer_posted_ns(transport->endpoints[rank], &it->m);
    CHECK(peer_ns >= begin_ns && peer_ns <= pp_now_ns(), "%lld", (long long)(peer_ns - begin_ns));
}

static void run_traffic(struct pp_mpi *mpi, const struct pp_transport *transport,
                        const struct pp_program *program, int64_t step, uint64_t *state) {
    const struct pp_control c = pp_mpi_control(mpi);
    struct pp_err err = {0};
    struct traffic t = traffic_of(program, c.process);
    void *endpoint = transport->endpoints[c.process];
    must(c.ops->barrier(c.context, &err), &err);
    int64_t begin_ns = pp_now_ns() - 1000000000; /* others may have left the barrier before */
    for (int32_t left = t.count; left > 0;) {
        struct item *it = &t.items[next_number(state) % (uint64_t)t.count];
        bool done = false;
        if (!it->posted && is_next(&t, it)) {
            it->m.step = step;
            it->posted = true;
            if (it->outgoing) {
                fill(it, it->m.data);
            }
            must(it->outgoing ? transport->ops->post_send(endpoint, &it->m, &err)
                              : transport->ops->post_recv(endpoint, &it->m, &err),
                 &err);
        } else if (it->posted && !it->done) {
            must(transport->ops->test(endpoint, &it->m, &done, &err), &err);
        }
        if (done) {
            finish_item(transport, c.process, it, begin_ns);
            left--;
        }
    }
    for (int32_t i = 0; i < t.count; i++) {
        free(t.items[i].m.data);
    }
    free(t.items);
}

static void check_traffic(struct pp_mpi *mpi, const char *name, int32_t microbatches, int64_t bytes,
                          int steps) {
    const struct pp_control c = pp_mpi_control(mpi);
    struct pp_err err = {0};
    struct pp_transport transport;
    struct plan p = make_plan(name, c.process_count, microbatches, bytes);
    must(pp_mpi_open(mpi, p.program, &transport, &err), &err);
    for (int32_t rank = 0; rank < c.process_count; rank++) {
        CHECK((transport.endpoints[rank] != NULL) == (rank == c.process), "rank %d", rank);
    }
    CHECK(transport.ops->under_way(transport.endpoints[c.process]), "others may act");
    uint64_t state = 7 + (uint64_t)c.process;
    for (int step = 0; step < steps; step++) {
        run_traffic(mpi, &transport, p.program, step, &state);
    }
    pp_mpi_close(mpi, &transport);
    free_plan(&p);
}

static void traffic(struct pp_mpi *mpi) {
    check_control(mpi);
    check_clock(mpi);
    check_refused(mpi);
    int32_t p = pp_mpi_control(mpi).process_count;
    check_traffic(mpi, "1F1B", 2 * p, 100, 20);
    check_traffic(mpi, "1F1B", 2 * p, 200000, 3);
    check_traffic(mpi, "Interleaved1F1B", 2 * p, 3000, 5);
    check_traffic(mpi, "ZBVZeroBubble", 2 * p, 3000, 5);
    if (p % 2 == 0) {
        check_traffic(mpi, "DualPipe", 2 * p, 3000, 5); /* and gradients between copies */
    }
}

/* ---- faults: each rank of four is the receiver of another one ---- */

static struct item *find_item(struct traffic *t, bool outgoing, int32_t channel, int32_t number) {
    for (int32_t i = 0; i < t->count; i++) {
        const struct pp_message *m = &t->items[i].m;
        if (t->items[i].outgoing == outgoing && m->channel == channel && m->sequence == number) {
            return &t->items[i];
        }
    }
    return NULL;
}

static int32_t find_channel(const struct pp_program *p, int32_t from, int32_t to) {
    int32_t i = 0;
    while (p->channels[i].from_rank != from || p->channels[i].to_rank != to) {
        i++;
    }
    return i;
}

/* Sends the first messages of a channel, wrong in the way that is for the receiver to name. */
static void send_wrong(const struct pp_transport *transport, int32_t rank, struct traffic *t,
                       int32_t to) {
    void *endpoint = transport->endpoints[rank];
    int32_t channel = find_channel(t->program, rank, to);
    struct pp_err err = {0};
    struct pp_envelope e;
    for (int32_t number = 0; number < 3; number++) {
        struct item *it = find_item(t, true, channel, number);
        it->m.step = 4;
        fill(it, it->m.data);
        if (to == 2 && number == 1) {
            continue; /* lost */
        }
        pp_envelope_fill(&e, &it->m, 0);
        if (to == 1 && number == 1) {
            e.bytes += 8;
            it->m.envelope = &e;
        }
        if (to == 3 && number == 1) {
            ((unsigned char *)it->m.data)[3] ^= 4; /* changed after its checksum was made */
            it->m.envelope = &e;
        }
        must(transport->ops->post_send(endpoint, &it->m, &err), &err);
        if (to == 0 && number == 0) { /* doubled */
            must(transport->ops->post_send(endpoint, &it->m, &err), &err);
        }
    }
}

/* Takes the first message, which is right, and the second. */
static void receive_wrong(const struct pp_transport *transport, int32_t rank, struct traffic *t,
                          int32_t from) {
    static const char *const said[] = {"(doubled)", "came with 3008 bytes, expected 3000",
                                       "came too early", "(checksum)"};
    void *endpoint = transport->endpoints[rank];
    int32_t channel = find_channel(t->program, from, rank);
    enum pp_status status = PP_OK;
    struct pp_err err = {0};
    for (int32_t number = 0; number < 2; number++) {
        struct item *it = find_item(t, false, channel, number);
        it->m.step = 4;
        must(transport->ops->post_recv(endpoint, &it->m, &err), &err);
    }
    for (int32_t number = 0; number < 2; number++) {
        struct item *it = find_item(t, false, channel, number);
        bool done = false;
        while (!done && status == PP_OK) {
            status = transport->ops->test(endpoint, &it->m, &done, &err);
        }
        CHECK((status == PP_OK) == (number == 0), "message %d: %s", number, err.message);
    }
    char where[64];
    snprintf(where, sizeof where, "rank %d stage %d microbatch 1: %dRECV_", rank, rank, rank);
    CHECK(status == PP_E_RUN && strstr(err.message, said[rank]) != NULL, "%s: %s", said[rank],
          err.message);
    CHECK(strncmp(err.message, where, strlen(where)) == 0, "%s: %s", where, err.message);
}

static void faults(struct pp_mpi *mpi) {
    const struct pp_control c = pp_mpi_control(mpi);
    struct pp_err err = {0};
    struct pp_transport transport;
    struct plan p = make_plan("1F1B", 4, 8, 1500);
    must(pp_mpi_open(mpi, p.program, &transport, &err), &err);
    struct traffic t = traffic_of(p.program, c.process);
    int32_t other = c.process ^ 1;
    send_wrong(&transport, c.process, &t, other);
    receive_wrong(&transport, c.process, &t, other);
    must(c.ops->barrier(c.context, &err), &err); /* all have seen theirs */
    int all[4] = {0};
    must(c.ops->gather(c.context, &failures, sizeof failures, all, &err), &err);
    if (c.process == 0 && all[0] + all[1] + all[2] + all[3] == 0) {
        printf("all faults were named\n");
        fflush(stdout);
    }
    must(c.ops->barrier(c.context, &err), &err); /* the first to leave so ends the others */
    transport.ops->abort(transport.endpoints[c.process]);
    for (int32_t i = 0; i < t.count; i++) {
        free(t.items[i].m.data);
    }
    free(t.items);
    pp_mpi_close(mpi, &transport);
    free_plan(&p);
}

/* ---- whole runs ---- */

/* One rank, driven as a run drives it. Its compute lets time pass. */
struct runner {
    struct pp_mpi *mpi;
    struct plan plan;
    struct pp_transport transport;
    struct pp_trace trace;
    struct pp_spin *spin;
    struct pp_ring *ring;
    struct pp_rank *rank;
    struct pp_drive *drive;
    struct pp_peers peers;
    void *arena;
    int64_t *duration_ns;
};

static void open_runner(struct runner *r, struct pp_mpi *mpi, const char *schedule,
                        const struct pp_compute_ops *compute, bool threads, const char *folder) {
    int32_t own = pp_mpi_control(mpi).process, count = pp_mpi_control(mpi).process_count;
    struct pp_err err = {0};
    *r = (struct runner){.mpi = mpi, .plan = make_plan(schedule, count, 2 * count, 5000)};
    const struct pp_program *program = r->plan.program;
    must(pp_mpi_open(mpi, program, &r->transport, &err), &err);
    must(pp_trace_init_queued(&r->trace, r->plan.lowered, &err), &err);
    r->duration_ns = calloc((size_t)r->plan.lowered->action_count, sizeof *r->duration_ns);
    for (int32_t i = 0; i < r->plan.lowered->action_count; i++) {
        r->duration_ns[i] = pp_action_is_compute(&r->plan.lowered->actions[i]) ? 50000 : 0;
    }
    must(pp_spin_create(program, r->duration_ns, &r->spin, &err), &err);
    must(pp_ring_create(folder, own, program->hash, &r->ring, &err), &err);
    r->arena = aligned_alloc(64, (size_t)(program->arena_bytes[own] + 127) / 64 * 64);
    memset(r->arena, 0, (size_t)program->arena_bytes[own]);
    const struct pp_rank_config config = {.program = program,
                                          .rank = own,
                                          .compute = compute,
                                          .compute_context = r->spin,
                                          .transport = r->transport.ops,
                                          .endpoint = r->transport.endpoints[own],
                                          .arena = r->arena,
                                          .ring = r->ring,
                                          .trace = &r->trace};
    must(pp_rank_create(&config, &r->rank, &err), &err);
    r->peers = (struct pp_peers){
        .folder = folder, .program = program, .rank_begin = own, .rank_end = own + 1};
    const struct pp_drive_options options = {.threads = threads,
                                             .deadline_ns = 20000000000,
                                             .look_around = folder == NULL ? NULL : pp_peers_look,
                                             .look_context = &r->peers};
    must(pp_drive_create(&r->rank, 1, program, &options, &r->drive, &err), &err);
}

static void close_runner(struct runner *r) {
    pp_drive_destroy(r->drive);
    pp_rank_destroy(r->rank);
    pp_ring_destroy(r->ring);
    pp_spin_destroy(r->spin);
    pp_trace_deinit(&r->trace);
    pp_mpi_close(r->mpi, &r->transport);
    free(r->arena);
    free(r->duration_ns);
    free_plan(&r->plan);
}

static enum pp_status run_step(struct runner *r, int64_t step, struct pp_failure *failure,
                               struct pp_err *err) {
    const struct pp_control c = pp_mpi_control(r->mpi);
    must(c.ops->barrier(c.context, err), err);
    return pp_drive_step(r->drive, step, failure, err);
}

/* All ranks' parts at process 0; times are each rank's own, as are the waits that are checked. */
static void check_order(struct runner *r) {
    const struct pp_control c = pp_mpi_control(r->mpi);
    const struct pp_sched *s = r->plan.lowered;
    size_t n = (size_t)s->action_count, size = n * sizeof(int64_t);
    int64_t *mine = malloc(2 * size), *all = malloc(2 * size * (size_t)c.process_count);
    struct pp_err err = {0};
    for (size_t i = 0; i < n; i++) { /* from when a SEND's receiver was ready is not known here */
        bool send = s->actions[i].type == PP_SEND_F || s->actions[i].type == PP_SEND_B;
        r->trace.start_ns[i] = send ? r->trace.queue_ns[i] : r->trace.start_ns[i];
    }
    memcpy(mine, r->trace.start_ns, size);
    memcpy(mine + n, r->trace.end_ns, size);
    must(c.ops->gather(c.context, mine, 2 * size, all, &err), &err);
    for (int32_t rank = 0; c.process == 0 && rank < c.process_count; rank++) {
        for (int32_t i = s->rank_begin[rank]; i < s->rank_begin[rank + 1]; i++) {
            r->trace.start_ns[i] = all[(size_t)rank * 2 * n + (size_t)i];
            r->trace.end_ns[i] = all[(size_t)rank * 2 * n + n + (size_t)i];
        }
    }
    int32_t wrong = -1;
    CHECK(c.process != 0 || pp_program_in_order(r->plan.program, &r->trace, &wrong), "action %d",
          wrong);
    free(mine);
    free(all);
}

static void runs(struct pp_mpi *mpi) {
    static const char *const names[] = {"1F1B", "ZBVZeroBubble", "DualPipe"};
    for (int i = 0; i < 3; i++) {
        if (i == 2 && pp_mpi_control(mpi).process_count % 2 != 0) {
            continue;
        }
        struct runner r;
        open_runner(&r, mpi, names[i], &pp_spin_ops, i == 1, NULL);
        for (int64_t step = 0; step < 3; step++) {
            struct pp_failure failure;
            struct pp_err err = {0};
            must(run_step(&r, step, &failure, &err), &err);
        }
        check_order(&r);
        close_runner(&r);
    }
}

/* ---- a rank that dies ---- */

static bool may_die; /* in the last step */

static enum pp_status start_or_die(void *context, const struct pp_work *work, struct pp_err *err) {
    const struct pp_action *a = &work->action;
    if (may_die && a->type == PP_F && a->stage == 1 && a->microbatch == 3) {
        kill(getpid(), SIGKILL);
    }
    return pp_spin_ops.start(context, work, err);
}

static void die(struct pp_mpi *mpi, const char *folder) {
    struct pp_compute_ops ops = pp_spin_ops;
    struct runner r;
    ops.start = start_or_die;
    signal(SIGTERM, SIG_IGN); /* mpirun's, some ms after a rank died */
    open_runner(&r, mpi, "1F1B", &ops, false, folder);
    struct pp_failure failure = {.kind = PP_FAIL_NONE};
    struct pp_err err = {0};
    enum pp_status status = PP_OK;
    for (int64_t step = 0; step < 3 && status == PP_OK; step++) {
        may_die = step == 2;
        status = run_step(&r, step, &failure, &err);
    }
    int32_t own = pp_mpi_control(mpi).process;
    struct pp_rank_view views[8];
    printf("rank %d: status %s failure %s of rank %d: %s; sees %d others\n", own,
           pp_status_code(status), pp_failure_text(failure.kind), failure.rank, err.message,
           pp_peers_views(&r.peers, views));
    fflush(stdout);
    pp_sleep_until_ns(pp_now_ns() + 300000000); /* else this one is seen to be gone */
    _Exit(6);
}

int main(int argc, char **argv) {
    struct pp_mpi *mpi = NULL;
    struct pp_err err = {0};
    const char *what = argc > 1 ? argv[1] : "";
    CHECK(pp_mpi_built() && pp_mpi_launched(), "started by mpirun");
    must(pp_mpi_begin(&mpi, &err), &err);
    if (strcmp(what, "traffic") == 0) {
        traffic(mpi);
    } else if (strcmp(what, "runs") == 0) {
        runs(mpi);
    } else if (strcmp(what, "large") == 0) {
        check_traffic(mpi, "GPipe", 1, ((int64_t)1 << 25) + 5, 1); /* twice that is sent */
    } else if (strcmp(what, "faults") == 0) {
        faults(mpi);
    } else if (strcmp(what, "kill") == 0 && argc > 2) {
        die(mpi, argv[2]);
    } else {
        CHECK(false, "unknown: %s", what);
    }
    if (failures == 0 && pp_mpi_control(mpi).process == 0) {
        printf("all is well\n");
    }
    pp_mpi_end(mpi);
    return failures != 0;
}
