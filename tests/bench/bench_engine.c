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
#include "tests/bench/bench.h"

#include <string.h>

enum { STAGES = 256, RANKS = 128, RANKS_A_NODE = 4 };

struct setting {
    const char *name;
    int32_t p, v, m;
    bool fsdp, far;
    enum pp_runtime_kind runtime;
};

enum how { SWEEP, EVENTS, SHARED };

struct subject {
    int64_t f[STAGES], i[STAGES], w[STAGES], b[STAGES], latency[STAGES], message[STAGES];
    int64_t unshard[STAGES], reduce[STAGES], fixed[STAGES];
    int32_t node[RANKS], nic[RANKS];
    struct pp_engine_costs costs;
    struct pp_network net;
    struct pp_sched *plain, *lowered;
    struct pp_runtime runtime;
    struct pp_engine *engine;
    struct pp_trace trace;
    enum how how;
    int64_t events; /* of the last run by them */
};

/* Stages differ a little, so that ends do not fall together by themselves. */
static void fill(struct subject *w, const struct setting *s) {
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

static void make(struct subject *w, const struct setting *s) {
    const struct pp_schedule_info *info = NULL;
    struct pp_gen_config config = {
        .rank_count = s->p, .stages_per_rank = s->v, .microbatch_count = s->m};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_err err = {0};
    w->runtime = pp_runtime_of(s->runtime);
    options.reshard_after_use = s->fsdp;
    options.reduce_every = s->fsdp;
    must(pp_schedule_find(s->name, &info, &err), &err);
    must(pp_schedule_generate(info, &config, &w->plain, &err), &err);
    must(pp_sched_lower(w->plain, &options, &w->lowered, &err), &err);
    must(pp_engine_create(w->lowered, &w->runtime, &w->engine, NULL, &err), &err);
    must(pp_trace_init(&w->trace, w->lowered, &err), &err);
    fill(w, s);
}

static void unmake(struct subject *w) {
    pp_trace_deinit(&w->trace);
    pp_engine_destroy(w->engine);
    pp_sched_destroy(w->lowered);
    pp_sched_destroy(w->plain);
}

static void run_once(struct subject *w) {
    struct pp_err err = {0};
    w->net.shared = w->how == SHARED;
    if (w->how == SWEEP) {
        must(pp_engine_run(w->engine, &w->costs, &w->net, &w->trace, &err), &err);
    } else {
        must(pp_engine_run_events(w->engine, &w->costs, &w->net, &w->trace, &w->events, &err),
             &err);
    }
}

static void create_again(struct subject *w) {
    struct pp_err err = {0};
    pp_engine_destroy(w->engine);
    must(pp_engine_create(w->lowered, &w->runtime, &w->engine, NULL, &err), &err);
}

static double time_of(struct subject *w, enum how how) {
    w->how = how;
    return ns_an_action(w, run_once, w->lowered->action_count);
}

static void measure(const struct setting *s) {
    struct subject w = {0};
    make(&w, s);
    double n = w.lowered->action_count;
    double create = ns_an_action(&w, create_again, w.lowered->action_count);
    double sweep = time_of(&w, SWEEP);
    double by_events = n * time_of(&w, EVENTS);
    int64_t events = w.events;
    double shared = n * time_of(&w, SHARED);
    printf("%-15s (%d,%d,%d) %-4s %-4s %-5s %8.0f %7.1f %6.2f | %8lld %6.1f %6.1f | %8lld %6.1f "
           "%6.1f\n",
           s->name, s->p, s->v, s->m, s->fsdp ? "fsdp" : "p2p", s->far ? "far" : "near",
           pp_runtime_text(s->runtime), n, create, sweep, (long long)events, by_events / n,
           by_events / (double)events, (long long)w.events, shared / n, shared / (double)w.events);
    unmake(&w);
}

static int run_alone(int argc, char **arg) {
    struct setting s = {.name = arg[0],
                        .p = (int32_t)strtol(arg[1], NULL, 10),
                        .v = (int32_t)strtol(arg[2], NULL, 10),
                        .m = (int32_t)strtol(arg[3], NULL, 10),
                        .fsdp = strncmp(arg[4], "fsdp", 4) == 0,
                        .far = strstr(arg[4], "far") != NULL};
    struct subject w = {0};
    make(&w, &s);
    w.how = strcmp(arg[5], "sweep") == 0 ? SWEEP : strcmp(arg[5], "events") == 0 ? EVENTS : SHARED;
    if (argc == 7) {
        for (long i = strtol(arg[6], NULL, 10); i > 0; i--) {
            run_once(&w);
        }
        printf("%d actions, %lld events\n", w.lowered->action_count, (long long)w.events);
    } else {
        double took = w.lowered->action_count * time_of(&w, w.how);
        printf("%.1f ns an action, %.1f an event\n", took / w.lowered->action_count,
               took / (double)(w.how == SWEEP ? w.lowered->action_count : w.events));
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
