/* Speed of what explains a trace, in ns an action: peaks of memory and causes of idle time, alone
 * and on top of a first evaluation; the same where every action waits (transfers that nothing
 * hides), and of lowered traces. Not a test: build the target `bench` with the release preset.
 * Budget: 15 ns for a first evaluation, peaks and causes together. */
#include "sim/causes.h"
#include "sim/engine.h"
#include "sim/eval.h"
#include "sim/generate.h"
#include "sim/lower.h"
#include "tests/bench/bench.h"

enum { MAX_STAGES = 256 };

struct subject {
    struct pp_sched *s, *lowered;
    struct pp_eval *e;
    struct pp_engine *engine;
    struct pp_memory_work *work;
    struct pp_costs costs;
    struct pp_trace trace, lowered_trace;
    struct pp_memory_model memory;
    struct pp_cause_inputs in, lowered_in;
    struct pp_rank_memory peaks[MAX_STAGES];
    struct pp_idle idle[MAX_STAGES];
};

static void find_peaks(struct subject *x) {
    pp_memory_peaks(x->s, &x->memory, x->peaks);
}

static void find_causes(struct subject *x) {
    pp_idle_of(&x->trace, &x->in, x->idle);
}

static void evaluate_all(struct subject *x) {
    struct pp_err err = {0};
    pp_eval_destroy(x->e);
    must(pp_eval_create(x->s, &x->e, NULL, &err), &err);
    must(pp_eval_run(x->e, &x->costs, &x->trace, &err), &err);
    x->in.context = x->e;
    find_peaks(x);
    find_causes(x);
}

static void find_peaks_lowered(struct subject *x) {
    pp_memory_peaks_lowered(x->work, &x->lowered_trace, &x->memory, x->peaks);
}

static void find_causes_lowered(struct subject *x) {
    pp_idle_of(&x->lowered_trace, &x->lowered_in, x->idle);
}

static void prepare(struct subject *x, const char *name, int32_t p, int32_t m,
                    const struct pp_costs *costs) {
    struct pp_err err = {0};
    const struct pp_schedule_info *info = NULL;
    must(pp_schedule_find(name, &info, &err), &err);
    struct pp_gen_config config = {
        .rank_count = p, .stages_per_rank = info->default_stages_per_rank, .microbatch_count = m};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_runtime runtime = pp_runtime_of(PP_RUNTIME_OURS);
    x->costs = *costs;
    must(pp_schedule_generate(info, &config, &x->s, &err), &err);
    must(pp_trace_init(&x->trace, x->s, &err), &err);
    must(pp_sched_lower(x->s, &options, &x->lowered, &err), &err);
    must(pp_trace_init(&x->lowered_trace, x->lowered, &err), &err);
    must(pp_engine_create(x->lowered, &runtime, &x->engine, NULL, &err), &err);
    struct pp_engine_costs engine_costs = {.compute = *costs};
    must(pp_engine_run(x->engine, &engine_costs, NULL, &x->lowered_trace, &err), &err);
    must(pp_memory_work_create(x->lowered, &x->work, &err), &err);
    x->in = (struct pp_cause_inputs){.binding = pp_eval_binding, .recv_f_ns = costs->recv_f_ns};
    x->lowered_in = (struct pp_cause_inputs){.binding = pp_engine_binding, .context = x->engine};
}

static void give_back(struct subject *x) {
    pp_memory_work_destroy(x->work);
    pp_engine_destroy(x->engine);
    pp_eval_destroy(x->e);
    pp_trace_deinit(&x->lowered_trace);
    pp_trace_deinit(&x->trace);
    pp_sched_destroy(x->lowered);
    pp_sched_destroy(x->s);
}

static void measure(const char *name, int32_t p, int32_t m) {
    static int64_t f[MAX_STAGES], i[MAX_STAGES], w[MAX_STAGES], b[MAX_STAGES], hop[MAX_STAGES];
    static int64_t adds[MAX_STAGES], half[MAX_STAGES], limit[MAX_STAGES];
    static struct subject x;
    for (int32_t s = 0; s < MAX_STAGES; s++) {
        f[s] = 1000;
        i[s] = 1100;
        w[s] = 900;
        b[s] = 2000;
        hop[s] = 50;
        adds[s] = 2;
        half[s] = 1;
        limit[s] = p;
    }
    double figures[6] = {0};
    for (int waits = 0; waits < 2; waits++) {
        struct pp_costs costs = {.f_ns = f,
                                 .i_ns = i,
                                 .w_ns = w,
                                 .b_ns = b,
                                 .recv_f_ns = waits ? hop : NULL,
                                 .recv_b_ns = waits ? hop : NULL};
        x = (struct subject){0};
        x.memory = (struct pp_memory_model){.f_adds = adds,
                                            .i_frees = half,
                                            .w_frees = half,
                                            .recv_f_adds = half,
                                            .recv_b_adds = half};
        prepare(&x, name, p, m, &costs);
        int32_t n = x.s->action_count;
        if (!waits) {
            figures[0] = ns_an_action(&x, evaluate_all, n);
            figures[1] = ns_an_action(&x, find_peaks, n);
            figures[2] = ns_an_action(&x, find_causes, n);
            figures[4] = ns_an_action(&x, find_peaks_lowered, x.lowered->action_count);
            figures[5] = ns_an_action(&x, find_causes_lowered, x.lowered->action_count);
        } else {
            evaluate_all(&x);
            x.in.memory = &x.memory;
            x.in.limit = limit;
            figures[3] = ns_an_action(&x, find_causes, n);
        }
        if (waits) {
            printf("%-22s %3d %5d %8d %8.1f %7.2f %7.2f %9.2f %9.2f %9.2f\n", name, p, m, n,
                   figures[0], figures[1], figures[2], figures[3], figures[4], figures[5]);
        }
        give_back(&x);
    }
}

int main(void) {
    static const char *const names[] = {"1F1B", "Interleaved1F1B", "InterleavedZeroBubble",
                                        "ZBVZeroBubble", "DualPipeV"};
    printf("%-22s %3s %5s %8s %8s %7s %7s %9s %9s %9s\n", "ns an action", "p", "m", "actions",
           "together", "peaks", "causes", "all wait", "lowered:", "");
    printf("%-22s %3s %5s %8s %8s %7s %7s %9s %9s %9s\n", "", "", "", "", "", "", "", "and limit",
           "peaks", "causes");
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        measure(names[k], 8, 32);
        measure(names[k], 16, 128);
        measure(names[k], 64, 512);
    }
    return 0;
}
