/* Cost of the runtime beside what is run: of an action, with a workload that does nothing, over the
 * local transport without buffers, on one thread; of a handoff between two threads; of the
 * checksum. Not a test: build the target `bench` with the release preset and run it on a quiet
 * machine. Budget: 1 us an action, 200 ns aimed at.
 */
#include "exec/drive.h"
#include "exec/local/local.h"
#include "exec/message.h"
#include "sim/engine.h"
#include "sim/generate.h"
#include "sim/lower.h"
#include "tests/bench/bench.h"

#include <string.h>

enum { STAGES = 64, RANKS = 16 };

struct setting {
    const char *name;
    int32_t p, v, m;
    int64_t bytes;
    bool threads;
};

struct subject {
    struct pp_sched *plain, *lowered;
    struct pp_engine *engine;
    struct pp_trace expected, trace;
    struct pp_program *program;
    struct pp_transport transport;
    struct pp_rank *ranks[RANKS];
    void *arenas[RANKS];
    struct pp_drive *drive;
    int64_t step;
};

static enum pp_status do_nothing(void *context, const struct pp_work *work, struct pp_err *err) {
    (void)context;
    (void)work;
    (void)err;
    return PP_OK;
}

static const struct pp_compute_ops nothing = {
    .api = PP_COMPUTE_API, .name = "nothing", .start = do_nothing};

static void make_program(struct subject *x, const struct setting *s) {
    static int64_t ns[STAGES], bytes[STAGES];
    const struct pp_schedule_info *info = NULL;
    struct pp_gen_config config = {
        .rank_count = s->p, .stages_per_rank = s->v, .microbatch_count = s->m};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    struct pp_err err = {0};
    for (int32_t i = 0; i < STAGES; i++) {
        ns[i] = 1000;
        bytes[i] = s->bytes;
    }
    const struct pp_engine_costs costs = {
        .compute = {.f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns}};
    const struct pp_program_sizes sizes = {.input_bytes = bytes, .stash_bytes = bytes};
    must(pp_schedule_find(s->name, &info, &err), &err);
    must(pp_schedule_generate(info, &config, &x->plain, &err), &err);
    must(pp_sched_lower(x->plain, &options, &x->lowered, &err), &err);
    must(pp_engine_create(x->lowered, &runtime, &x->engine, NULL, &err), &err);
    must(pp_trace_init(&x->expected, x->lowered, &err), &err);
    must(pp_trace_init_queued(&x->trace, x->lowered, &err), &err);
    must(pp_engine_run(x->engine, &costs, NULL, &x->expected, &err), &err);
    must(pp_program_create(x->lowered, &sizes, &x->expected, &x->program, &err), &err);
}

static void make(struct subject *x, const struct setting *s) {
    struct pp_err err = {0};
    const struct pp_local_options local = {.buffers = 0};
    const struct pp_drive_options drive = {.threads = s->threads};
    make_program(x, s);
    must(pp_local_open(x->program, &local, &x->transport, &err), &err);
    for (int32_t rank = 0; rank < s->p; rank++) {
        x->arenas[rank] = calloc((size_t)x->program->arena_bytes[rank] + 64, 1);
        struct pp_rank_config config = {.program = x->program,
                                        .rank = rank,
                                        .compute = &nothing,
                                        .transport = x->transport.ops,
                                        .endpoint = x->transport.endpoints[rank],
                                        .arena = x->arenas[rank],
                                        .trace = &x->trace};
        must(pp_rank_create(&config, &x->ranks[rank], &err), &err);
    }
    must(pp_drive_create(x->ranks, s->p, x->program, &drive, &x->drive, &err), &err);
}

static void unmake(struct subject *x, int32_t ranks) {
    pp_drive_destroy(x->drive);
    for (int32_t rank = 0; rank < ranks; rank++) {
        pp_rank_destroy(x->ranks[rank]);
        free(x->arenas[rank]);
    }
    pp_local_close(&x->transport);
    pp_program_destroy(x->program);
    pp_trace_deinit(&x->expected);
    pp_trace_deinit(&x->trace);
    pp_engine_destroy(x->engine);
    pp_sched_destroy(x->lowered);
    pp_sched_destroy(x->plain);
}

static void run_step(struct subject *x) {
    struct pp_err err = {0};
    struct pp_failure failure;
    must(pp_drive_step(x->drive, x->step++, &failure, &err), &err);
}

static void measure_dispatch(const struct setting *s) {
    struct subject x = {0};
    make(&x, s);
    printf("%-15s (%d,%d,%d) %7d %6lld %8.1f\n", s->name, s->p, s->v, s->m, x.lowered->action_count,
           (long long)s->bytes, ns_an_action(&x, run_step, x.lowered->action_count));
    unmake(&x, s->p);
}

/* Wall time of a step of two ranks on two threads, a handoff: with 1F1B of two ranks a message goes
 * to and fro each microbatch, and nothing else takes time. */
static void measure_handoff(int64_t bytes) {
    const struct setting s = {
        .name = "1F1B", .p = 2, .v = 1, .m = 4096, .bytes = bytes, .threads = true};
    struct subject x = {0};
    int64_t took[RUNS];
    make(&x, &s);
    for (int run = -WARM_UP; run < RUNS; run++) {
        int64_t begin = clock_ns(CLOCK_MONOTONIC);
        run_step(&x);
        if (run >= 0) {
            took[run] = clock_ns(CLOCK_MONOTONIC) - begin;
        }
    }
    printf("two threads, %lld bytes: %.0f ns a message\n", (long long)bytes,
           (double)median_of(took, RUNS) / (2 * s.m));
    unmake(&x, s.p);
}

static void measure_checksum(size_t size) {
    unsigned char *data = calloc(size, 1);
    int64_t took[RUNS];
    uint64_t sum = 0;
    size_t repeats = ((size_t)64 << 20) / size;
    for (int run = -WARM_UP; run < RUNS; run++) {
        int64_t begin = cpu_ns();
        for (size_t i = 0; i < repeats; i++) {
            data[0] = (unsigned char)sum;
            sum += pp_checksum(data, size);
        }
        if (run >= 0) {
            took[run] = cpu_ns() - begin;
        }
    }
    printf("checksum of %zu bytes: %.1f GB/s (%llx)\n", size,
           (double)(size * repeats) / (double)median_of(took, RUNS), (unsigned long long)sum & 15);
    free(data);
}

int main(void) {
    static const struct setting settings[] = {
        {"1F1B", 4, 1, 64, 0, false},
        {"1F1B", 4, 1, 64, 4096, false},
        {"Interleaved1F1B", 8, 2, 64, 0, false},
        {"Interleaved1F1B", 8, 2, 64, 4096, false},
        {"ZBVZeroBubble", 8, 2, 64, 0, false},
        {"ZBVZeroBubble", 8, 2, 64, 4096, false},
        {"GPipe", 1, 1, 256, 0, false},
    };
    printf("one thread, rendezvous   actions  bytes  ns/action\n");
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        measure_dispatch(&settings[i]);
    }
    measure_handoff(0);
    measure_handoff(4096);
    measure_checksum(4096);
    measure_checksum(1 << 20);
    measure_checksum(16 << 20);
    return 0;
}
