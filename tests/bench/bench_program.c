/* Speed of making a program, in ns an action of the lowered schedule: all of it, and holding a
 * recorded trace against it. Not a test: build the target `bench` with the release preset. */
#include "exec/program.h"
#include "sim/engine.h"
#include "sim/generate.h"
#include "sim/lower.h"
#include "tests/bench/bench.h"

enum { MAX_STAGES = 256 };

struct subject {
    struct pp_sched *lowered;
    struct pp_trace trace;
    struct pp_program_sizes sizes;
    struct pp_program *program;
};

static void create(struct subject *x) {
    struct pp_err err = {0};
    pp_program_destroy(x->program);
    must(pp_program_create(x->lowered, &x->sizes, &x->trace, &x->program, &err), &err);
}

static void hold_against(struct subject *x) {
    if (!pp_program_in_order(x->program, &x->trace, NULL)) {
        exit(1);
    }
}

static void prepare(struct subject *x, const char *name, int32_t p, int32_t m) {
    static int64_t ns[MAX_STAGES], twice_ns[MAX_STAGES], hop_ns[MAX_STAGES];
    struct pp_err err = {0};
    const struct pp_schedule_info *info = NULL;
    must(pp_schedule_find(name, &info, &err), &err);
    struct pp_gen_config config = {
        .rank_count = p, .stages_per_rank = info->default_stages_per_rank, .microbatch_count = m};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    struct pp_sched *order = NULL;
    struct pp_engine *engine = NULL;
    for (int32_t s = 0; s < MAX_STAGES; s++) {
        ns[s] = 1000;
        twice_ns[s] = 2000;
        hop_ns[s] = 50;
    }
    struct pp_engine_costs costs = {.compute = {.f_ns = ns,
                                                .i_ns = ns,
                                                .w_ns = ns,
                                                .b_ns = twice_ns,
                                                .recv_f_ns = hop_ns,
                                                .recv_b_ns = hop_ns,
                                                .offload_ns = hop_ns}};
    must(pp_schedule_generate(info, &config, &order, &err), &err);
    must(pp_sched_lower(order, &options, &x->lowered, &err), &err);
    must(pp_trace_init(&x->trace, x->lowered, &err), &err);
    must(pp_engine_create(x->lowered, &runtime, &engine, NULL, &err), &err);
    must(pp_engine_run(engine, &costs, NULL, &x->trace, &err), &err);
    pp_engine_destroy(engine);
    pp_sched_destroy(order);
}

static void measure(const char *name, int32_t p, int32_t m) {
    static int64_t input_bytes[MAX_STAGES], stash_bytes[MAX_STAGES];
    struct subject x = {.sizes = {.input_bytes = input_bytes, .stash_bytes = stash_bytes}};
    for (int32_t s = 0; s < MAX_STAGES; s++) {
        input_bytes[s] = 1 << 20;
        stash_bytes[s] = (34 << 20) + (s == 0 ? 1 << 20 : 0);
    }
    prepare(&x, name, p, m);
    int32_t n = x.lowered->action_count;
    double create_ns = ns_an_action(&x, create, n);
    double order_ns = ns_an_action(&x, hold_against, n);
    printf("%-22s %3d %5d %8d %8.1f %8.2f\n", name, p, m, n, create_ns, order_ns);
    pp_program_destroy(x.program);
    pp_trace_deinit(&x.trace);
    pp_sched_destroy(x.lowered);
}

int main(void) {
    static const char *const names[] = {"1F1B", "Interleaved1F1B", "InterleavedZeroBubble",
                                        "DualPipe", "PipeOffload"};
    printf("%-22s %3s %5s %8s %8s %8s\n", "ns an action", "p", "m", "actions", "create",
           "in order");
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        measure(names[k], 8, 32);
        measure(names[k], 16, 128);
        measure(names[k], 32, 512);
    }
    return 0;
}
