/* What check_instructions.sh counts. Under callgrind every figure is a dump of its own, named here;
 * a line for each, in their order, says how many actions it was. Built optimised in every build,
 * without sanitizers. */
#include "sim/batch.h"
#include "sim/eval.h"
#include "sim/generate.h"
#include "tests/bench/bench.h"

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else /* nothing is dumped then, and the check is left out */
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS
#endif

enum { SETS = 8, STAGES = 64 };

struct subject {
    const struct pp_schedule_info *info;
    struct pp_gen_config config;
    struct pp_costs costs[SETS];
    struct pp_sched *s;
    struct pp_eval *e;
    struct pp_trace trace;
    struct pp_batch *b;
    struct pp_batch_result results[SETS];
};

static void generate(struct subject *x) {
    struct pp_err err = {0};
    must(pp_schedule_generate(x->info, &x->config, &x->s, &err), &err);
}

static void evaluate_first(struct subject *x) {
    struct pp_err err = {0};
    must(pp_eval_create(x->s, &x->e, NULL, &err), &err);
    must(pp_eval_run(x->e, &x->costs[0], &x->trace, &err), &err);
}

static void evaluate_again(struct subject *x) {
    struct pp_err err = {0};
    must(pp_eval_run(x->e, &x->costs[0], &x->trace, &err), &err);
}

static void evaluate_batch(struct subject *x) {
    struct pp_err err = {0};
    must(pp_batch_run(x->b, x->costs, SETS, x->results, &err), &err);
}

static void measure(struct subject *x, const char *what, void (*work)(struct subject *x),
                    int32_t times) {
    CALLGRIND_ZERO_STATS;
    work(x);
    CALLGRIND_DUMP_STATS;
    printf("%s %s\t%d\n", x->info->name, what, times * x->s->action_count);
}

static void measure_all(const char *name, const struct pp_costs *costs, bool has_avx2) {
    struct pp_err err = {0};
    struct subject x = {.config = {.rank_count = 16, .microbatch_count = 64}};
    must(pp_schedule_find(name, &x.info, &err), &err);
    x.config.stages_per_rank = x.info->default_stages_per_rank;
    for (int i = 0; i < SETS; i++) {
        x.costs[i] = *costs;
    }
    measure(&x, "generate", generate, 1);
    must(pp_trace_init(&x.trace, x.s, &err), &err);
    measure(&x, "first", evaluate_first, 1);
    measure(&x, "again", evaluate_again, 1);
    if (has_avx2) {
        must(pp_batch_create(x.s, PP_SIMD_AVX2, &x.b, &err), &err);
        measure(&x, "batch AVX2", evaluate_batch, SETS);
    }
    must(pp_batch_create(x.s, PP_SIMD_NONE, &x.b, &err), &err);
    measure(&x, "batch scalar", evaluate_batch, SETS);
}

int main(void) {
    static const char *const names[] = {
        "GPipe", "1F1B", "Interleaved1F1B", "InterleavedZeroBubble", "ZBVZeroBubble", "DualPipeV"};
    static int64_t ns[STAGES];
    for (int i = 0; i < STAGES; i++) {
        ns[i] = 1000 + i;
    }
    struct pp_costs costs = {
        .f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns, .recv_f_ns = ns, .recv_b_ns = ns};
    struct pp_sched *s = NULL;
    struct pp_batch *b = NULL;
    const struct pp_schedule_info *info = NULL;
    struct pp_gen_config config = {.rank_count = 1, .stages_per_rank = 1, .microbatch_count = 1};
    struct pp_err err = {0};
    must(pp_schedule_find("GPipe", &info, &err), &err);
    must(pp_schedule_generate(info, &config, &s, &err), &err);
    bool has_avx2 = pp_batch_create(s, PP_SIMD_AVX2, &b, &err) == PP_OK;
    pp_batch_destroy(b);
    pp_sched_destroy(s);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        measure_all(names[i], &costs, has_avx2);
    }
    return 0; /* what was made stays: freeing is none of the figures */
}
