/* Speed and size of evaluation, one core: first (create and run), again, batches of 8 cost sets
 * with each kind of vector instructions, and from nothing (generate, seal, create, run); bytes an
 * action, allocations a run. Not a test: build the target `bench` with the release preset. Budgets:
 * 12, 2.5 and 0.6 ns; 0.2 ms for 8,192 actions and 25 ms for a million; 24 and 32 bytes; none. */
#include "sim/batch.h"
#include "sim/eval.h"
#include "sim/generate.h"
#include "tests/bench/bench.h"
#include "tests/count_memory.h"

enum { MAX_STAGES = 1024, SETS = 8, LARGE_BYTES = 1 << 20 };

struct subject {
    const struct pp_schedule_info *info;
    struct pp_gen_config config;
    struct pp_costs costs[SETS];
    struct pp_sched *s;
    struct pp_eval *e;
    struct pp_batch *b;
    struct pp_trace trace;
};

static void evaluate_first(struct subject *x) {
    struct pp_err err = {0};
    pp_eval_destroy(x->e);
    must(pp_eval_create(x->s, &x->e, NULL, &err), &err);
    must(pp_eval_run(x->e, &x->costs[0], &x->trace, &err), &err);
}

static void evaluate_again(struct subject *x) {
    struct pp_err err = {0};
    must(pp_eval_run(x->e, &x->costs[0], &x->trace, &err), &err);
}

static void evaluate_batch(struct subject *x) {
    struct pp_err err = {0};
    struct pp_batch_result results[SETS];
    must(pp_batch_run(x->b, x->costs, SETS, results, &err), &err);
}

static void all_from_nothing(struct subject *x) {
    struct pp_err err = {0};
    must(pp_schedule_generate(x->info, &x->config, &x->s, &err), &err);
    must(pp_eval_create(x->s, &x->e, NULL, &err), &err);
    must(pp_trace_init(&x->trace, x->s, &err), &err);
    must(pp_eval_run(x->e, &x->costs[0], &x->trace, &err), &err);
}

static void give_back(struct subject *x) {
    pp_trace_deinit(&x->trace);
    pp_eval_destroy(x->e);
    pp_sched_destroy(x->s);
    x->e = NULL;
    x->s = NULL;
}

static void all_and_give_back(struct subject *x) {
    all_from_nothing(x);
    give_back(x);
}

/* ns a cost set and action; -1 where the processor lacks the instructions. */
static double batch_ns(struct subject *x, enum pp_simd simd, int32_t repeats) {
    if (pp_batch_create(x->s, simd, &x->b, NULL) != PP_OK) {
        return -1;
    }
    double ns = median_ns(x, evaluate_batch, repeats);
    pp_batch_destroy(x->b);
    return ns / SETS / x->s->action_count;
}

struct row {
    const char *name;
    int32_t p, v, m;
};

static const struct row rows[] = {
    {"GPipe", 8, 1, 32},
    {"1F1B", 8, 1, 32},
    {"Interleaved1F1B", 8, 2, 32},
    {"InterleavedZeroBubble", 8, 2, 32},
    {"ZBVZeroBubble", 8, 2, 32},
    {"DualPipeV", 8, 2, 32},
    {"GPipe", 16, 1, 256},
    {"1F1B", 16, 1, 256},
    {"Interleaved1F1B", 16, 2, 128},
    {"InterleavedZeroBubble", 16, 2, 128},
    {"ZBVZeroBubble", 16, 2, 128},
    {"DualPipeV", 16, 2, 128},
    {"GPipe", 64, 1, 512},
    {"1F1B", 64, 1, 512},
    {"Interleaved1F1B", 64, 2, 512},
    {"InterleavedZeroBubble", 64, 2, 512},
    {"ZBVZeroBubble", 64, 2, 512},
    {"DualPipeV", 64, 2, 512},
    {"GPipe", 64, 1, 7812},
    {"1F1B", 64, 1, 7812},
    {"Interleaved1F1B", 64, 2, 3904},
    {"InterleavedZeroBubble", 64, 8, 640},
    {"ZBVZeroBubble", 64, 2, 2600},
    {"DualPipeV", 64, 2, 3800},
};

/* Bytes an action of what is alive now and was not at `before`. */
static double bytes_since(int64_t before, const struct subject *x) {
    return (double)(live_bytes - before) / x->s->action_count;
}

static void print_sizes(struct subject *x) {
    struct pp_err err = {0};
    int64_t begin = live_bytes;
    must(pp_schedule_generate(x->info, &x->config, &x->s, &err), &err);
    printf(" %6.1f", bytes_since(begin, x));
    begin = live_bytes;
    must(pp_trace_init(&x->trace, x->s, &err), &err);
    must(pp_eval_create(x->s, &x->e, NULL, &err), &err);
    printf(" %5.1f", bytes_since(begin, x));
    begin = live_bytes;
    must(pp_batch_create(x->s, PP_SIMD_BEST, &x->b, &err), &err);
    printf(" %5.1f", bytes_since(begin, x));
    int64_t calls = allocation_count;
    evaluate_again(x);
    evaluate_batch(x);
    printf(" %6lld\n", (long long)(allocation_count - calls));
    pp_batch_destroy(x->b);
    give_back(x);
}

static void fill_costs(struct subject *x, int64_t ns[SETS][MAX_STAGES]) {
    for (int i = 0; i < SETS; i++) {
        x->costs[i] = (struct pp_costs){.f_ns = ns[i],
                                        .i_ns = ns[i],
                                        .w_ns = ns[i],
                                        .b_ns = ns[i],
                                        .recv_f_ns = ns[i],
                                        .recv_b_ns = ns[i]};
    }
}

/* From nothing while the C library gives memory back to the system and takes it anew each time, as
 * it does until a program has freed something large. */
static void measure_fresh(const struct row *row, int64_t ns[SETS][MAX_STAGES]) {
    struct pp_err err = {0};
    struct subject x = {
        .config = {.rank_count = row->p, .stages_per_rank = row->v, .microbatch_count = row->m}};
    fill_costs(&x, ns);
    must(pp_schedule_find(row->name, &x.info, &err), &err);
    printf("%s (%d,%d,%d) from nothing, fresh pages every time: %.3f ms\n", row->name, row->p,
           row->v, row->m, median_ns(&x, all_and_give_back, 20) / 1e6);
}

/* After this the C library keeps what is freed. */
static void have_been_larger(void) {
    void *volatile large = malloc(LARGE_BYTES);
    free(large);
}

static void measure(const struct row *row, int64_t ns[SETS][MAX_STAGES]) {
    struct pp_err err = {0};
    struct subject x = {
        .config = {.rank_count = row->p, .stages_per_rank = row->v, .microbatch_count = row->m}};
    fill_costs(&x, ns);
    must(pp_schedule_find(row->name, &x.info, &err), &err);
    all_from_nothing(&x);
    int32_t n = x.s->action_count;
    int32_t repeats = 1 + 200000 / n;
    double first = median_ns(&x, evaluate_first, repeats);
    double again = median_ns(&x, evaluate_again, repeats);
    double wide = batch_ns(&x, PP_SIMD_AVX512, repeats);
    double narrow = batch_ns(&x, PP_SIMD_AVX2, repeats);
    double scalar = batch_ns(&x, PP_SIMD_NONE, repeats);
    give_back(&x);
    double all = median_ns(&x, all_and_give_back, repeats);
    printf("%-22s (%2d,%d,%4d) %7d %6.1f %6.2f %7.2f %5.2f %6.2f %7.3f", row->name, row->p, row->v,
           row->m, n, first / n, again / n, wide, narrow, scalar, all / 1e6);
    print_sizes(&x);
    fflush(stdout);
}

int main(void) {
    static int64_t ns[SETS][MAX_STAGES];
    for (int i = 0; i < SETS; i++) {
        for (int stage = 0; stage < MAX_STAGES; stage++) {
            ns[i][stage] = 1000 + stage + i;
        }
    }
    static const struct row small[] = {
        {"1F1B", 16, 1, 256}, {"Interleaved1F1B", 16, 2, 128}, {"GPipe", 16, 1, 256}};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        measure_fresh(&small[i], ns);
    }
    have_been_larger();
    printf(
        "                                                ns an action; of a batch and cost set   "
        "    ms    bytes an action    allocations\n"
        "schedule               (p, v,   m) actions  first  again  AVX-512  AVX2 scalar nothing  "
        "sched  eval batch  a run\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        measure(&rows[i], ns);
    }
    return 0;
}
