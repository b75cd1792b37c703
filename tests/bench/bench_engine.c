/* Speed of the engine on lowered schedules: the sweep, the event queue where nothing is shared, and
 * where links are. Not a test: build the target `bench` with the release preset and run it on a
 * quiet machine. Budgets at 64 ranks: 35 ns an event without contention, 150 with.
 *
 *   p2p     gathered once, reduced once: nearly all traffic is messages
 *   fsdp    gathered before every use, reduced after every backward: collectives beside messages
 *   near    four ranks a node, with one NIC; neighbours of the pipeline are mostly in one node
 *   far     the same nodes, but each neighbour is in another: every message takes two shared NICs
 *
 * With arguments SCHEDULE P V M LAYOUT HOW one row, HOW is sweep, events or shared; one more
 * argument, and it is run so many times without a clock, for callgrind.
 */
#include "sim/engine.h"
#include "sim/generate.h"
#include "sim/lower.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NS_PER_S = 1000000000, RUNS = 9, STAGES = 256, RANKS = 128, RANKS_A_NODE = 4 };

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void must(enum pp_status status, const struct pp_err *err) {
    if (status != PP_OK) {
        fprintf(stderr, "%s: %s\n", pp_status_code(status), err->message);
        exit(1);
    }
}

struct setting {
    const char *name;
    int32_t p, v, m;
    bool fsdp, far;
    enum pp_runtime_kind runtime;
};

struct world {
    int64_t f[STAGES], i[STAGES], w[STAGES], b[STAGES], latency[STAGES], message[STAGES];
    int64_t unshard[STAGES], reduce[STAGES], fixed[STAGES];
    int32_t node[RANKS], nic[RANKS];
    struct pp_engine_costs costs;
    struct pp_network net;
    struct pp_sched *plain, *lowered;
    struct pp_engine *engine;
    struct pp_trace trace;
};

/* Stages differ a little, so that ends do not fall together by themselves. */
static void fill(struct world *w, const struct setting *s) {
    for (int32_t stage = 0; stage < STAGES; stage++) {
        w->f[stage] = 1000003 + 1117 * (stage % 13);
        w->i[stage] = w->w[stage] = 1000033 + 971 * (stage % 11);
        w->b[stage] = 2 * w->i[stage];
        w->latency[stage] = 10000;
        w->message[stage] = 16 << 20;
        w->unshard[stage] = 24 << 20;
        w->reduce[stage] = 24 << 20;
        w->fixed[stage] = 20000;
    }
    int32_t nodes = s->p / RANKS_A_NODE;
    for (int32_t rank = 0; rank < s->p; rank++) {
        w->node[rank] = s->far ? rank % nodes : rank / RANKS_A_NODE;
        w->nic[rank] = s->far ? rank % nodes : rank / RANKS_A_NODE;
    }
    w->costs = (struct pp_engine_costs){.compute = {.f_ns = w->f,
                                                    .i_ns = w->i,
                                                    .w_ns = w->w,
                                                    .b_ns = w->b,
                                                    .recv_f_ns = w->latency,
                                                    .recv_b_ns = w->latency},
                                        .message_f_bytes = w->message,
                                        .message_b_bytes = w->message,
                                        .unshard_ns = w->fixed,
                                        .unshard_bytes = w->unshard,
                                        .reduce_ns = w->fixed,
                                        .reduce_bytes = w->reduce};
    w->net = (struct pp_network){.node = w->node,
                                 .nic = w->nic,
                                 .port_bytes_per_s = 400000000000,
                                 .nic_bytes_per_s = s->fsdp ? 200000000000 : 50000000000,
                                 .shared = true};
}

static void make(struct world *w, const struct setting *s) {
    const struct pp_schedule_info *info = NULL;
    struct pp_gen_config config = {
        .rank_count = s->p, .stages_per_rank = s->v, .microbatch_count = s->m};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_runtime runtime = pp_runtime_of(s->runtime);
    struct pp_err err = {0};
    options.reshard_after_use = s->fsdp;
    options.reduce_every = s->fsdp;
    must(pp_schedule_find(s->name, &info, &err), &err);
    must(pp_schedule_generate(info, &config, &w->plain, &err), &err);
    must(pp_sched_lower(w->plain, &options, &w->lowered, &err), &err);
    must(pp_engine_create(w->lowered, &runtime, &w->engine, NULL, &err), &err);
    must(pp_trace_init(&w->trace, w->lowered, &err), &err);
    fill(w, s);
}

static void unmake(struct world *w) {
    pp_trace_deinit(&w->trace);
    pp_engine_destroy(w->engine);
    pp_sched_destroy(w->lowered);
    pp_sched_destroy(w->plain);
}

enum how { SWEEP, EVENTS, SHARED };

/* @return events, if it was by them */
static int64_t run_once(struct world *w, enum how how) {
    struct pp_err err = {0};
    int64_t events = 0;
    w->net.shared = how == SHARED;
    if (how == SWEEP) {
        must(pp_engine_run(w->engine, &w->costs, &w->net, &w->trace, &err), &err);
    } else {
        must(pp_engine_run_events(w->engine, &w->costs, &w->net, &w->trace, &events, &err), &err);
    }
    return events;
}

/* Median ns of a run; each time is of so many runs that it covers some 400,000 actions. */
static double time_of(struct world *w, enum how how, int64_t *events_p) {
    int64_t took[RUNS];
    int32_t repeats = 400000 / w->lowered->action_count + 1;
    for (int run = -1; run < RUNS; run++) { /* the first warms up */
        int64_t begin = now_ns();
        for (int32_t i = 0; i < repeats; i++) {
            *events_p = run_once(w, how);
        }
        took[run < 0 ? 0 : run] = now_ns() - begin;
    }
    qsort(took, RUNS, sizeof took[0], compare);
    return (double)took[RUNS / 2] / repeats;
}

static double create_time(struct world *w, const struct setting *s) {
    int64_t took[RUNS];
    struct pp_runtime runtime = pp_runtime_of(s->runtime);
    for (int run = 0; run < RUNS; run++) {
        struct pp_engine *e = NULL;
        int64_t begin = now_ns();
        must(pp_engine_create(w->lowered, &runtime, &e, NULL, NULL), NULL);
        took[run] = now_ns() - begin;
        pp_engine_destroy(e);
    }
    qsort(took, RUNS, sizeof took[0], compare);
    return (double)took[RUNS / 2];
}

static void measure(const struct setting *s) {
    struct world w = {0};
    int64_t events = 0;
    int64_t shared_events = 0;
    make(&w, s);
    double n = w.lowered->action_count;
    double create = create_time(&w, s);
    double sweep = time_of(&w, SWEEP, &events);
    double by_events = time_of(&w, EVENTS, &events);
    double shared = time_of(&w, SHARED, &shared_events);
    printf("%-15s (%d,%d,%d) %-4s %-4s %-5s %8.0f %7.1f %6.2f | %8lld %6.1f %6.1f | %8lld %6.1f "
           "%6.1f\n",
           s->name, s->p, s->v, s->m, s->fsdp ? "fsdp" : "p2p", s->far ? "far" : "near",
           pp_runtime_text(s->runtime), n, create / n, sweep / n, (long long)events, by_events / n,
           by_events / (double)events, (long long)shared_events, shared / n,
           shared / (double)shared_events);
    unmake(&w);
}

static int run_alone(int argc, char **arg) {
    struct setting s = {.name = arg[0],
                        .p = (int32_t)strtol(arg[1], NULL, 10),
                        .v = (int32_t)strtol(arg[2], NULL, 10),
                        .m = (int32_t)strtol(arg[3], NULL, 10),
                        .fsdp = strncmp(arg[4], "fsdp", 4) == 0,
                        .far = strstr(arg[4], "far") != NULL};
    struct world w = {0};
    make(&w, &s);
    enum how how = strcmp(arg[5], "sweep") == 0    ? SWEEP
                   : strcmp(arg[5], "events") == 0 ? EVENTS
                                                   : SHARED;
    int64_t events = 0;
    if (argc == 7) {
        for (long i = strtol(arg[6], NULL, 10); i > 0; i--) {
            events = run_once(&w, how);
        }
        printf("%d actions, %lld events\n", w.lowered->action_count, (long long)events);
    } else {
        double took = time_of(&w, how, &events);
        printf("%.1f ns an action, %.1f an event\n", took / w.lowered->action_count,
               took / (double)(how == SWEEP ? w.lowered->action_count : events));
    }
    unmake(&w);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 7 || argc == 8) {
        return run_alone(argc - 1, argv + 1);
    }
    printf(
        "                                                                        ns/action | not "
        "shared  ns/action /event | shared    ns/action /event\n"
        "schedule                                       actions  create  sweep |   events       "
        "         |   events\n");
    static const int32_t sizes[][3] = {{8, 2, 32}, {64, 2, 64}, {64, 2, 512}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int layout = 0; layout < 4; layout++) {
            struct setting s = {.name = "Interleaved1F1B",
                                .p = sizes[i][0],
                                .v = sizes[i][1],
                                .m = sizes[i][2],
                                .fsdp = layout >= 2,
                                .far = layout % 2 == 1};
            measure(&s);
        }
        struct setting zb = {
            .name = "ZBVZeroBubble", .p = sizes[i][0], .v = 2, .m = sizes[i][2], .far = true};
        measure(&zb);
    }
    return 0;
}
