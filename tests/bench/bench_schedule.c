/* Speed of schedules, in ns an action: generate and seal, first evaluation (create and run) and
 * re-evaluation. Not a test: build the target `bench` with the release preset and run it on a quiet
 * machine. Budgets: 50, 15 and 2.5 ns. */
#include "sim/eval.h"
#include "sim/generate.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { NS_PER_S = 1000000000, RUNS = 15, WARM_UP = 3, MAX_STAGES = 256 };

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

struct subject {
    const struct pp_schedule_info *info;
    struct pp_gen_config config;
    struct pp_costs costs;
    struct pp_sched *s;
    struct pp_eval *e;
    struct pp_trace trace;
};

static void must(enum pp_status status, const struct pp_err *err) {
    if (status != PP_OK) {
        fprintf(stderr, "%s: %s\n", pp_status_code(status), err->message);
        exit(1);
    }
}

static void generate(struct subject *x) {
    struct pp_err err = {0};
    pp_sched_destroy(x->s);
    must(pp_schedule_generate(x->info, &x->config, &x->s, &err), &err);
}

static void evaluate_first(struct subject *x) {
    struct pp_err err = {0};
    pp_eval_destroy(x->e);
    must(pp_eval_create(x->s, &x->e, NULL, &err), &err);
    must(pp_eval_run(x->e, &x->costs, &x->trace, &err), &err);
}

static void evaluate_again(struct subject *x) {
    struct pp_err err = {0};
    must(pp_eval_run(x->e, &x->costs, &x->trace, &err), &err);
}

/* Median over the runs, each repeated so that it lasts a while. */
static double ns_per_action(struct subject *x, void (*work)(struct subject *x)) {
    int64_t took[RUNS];
    int32_t repeats = 1 + 400000 / x->s->action_count;
    for (int run = -WARM_UP; run < RUNS; run++) {
        int64_t begin = now_ns();
        for (int32_t i = 0; i < repeats; i++) {
            work(x);
        }
        if (run >= 0) {
            took[run] = now_ns() - begin;
        }
    }
    qsort(took, RUNS, sizeof took[0], compare);
    return (double)took[RUNS / 2] / repeats / x->s->action_count;
}

static void measure(const char *name, int32_t p, int32_t v, int32_t m, const int64_t *ns) {
    struct pp_err err = {0};
    struct subject x = {
        .config = {.rank_count = p, .stages_per_rank = v, .microbatch_count = m},
        .costs = {
            .f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns, .recv_f_ns = ns, .recv_b_ns = ns}};
    must(pp_schedule_find(name, &x.info, &err), &err);
    generate(&x);
    double generated = ns_per_action(&x, generate);
    must(pp_trace_init(&x.trace, x.s, &err), &err);
    double first = ns_per_action(&x, evaluate_first);
    double again = ns_per_action(&x, evaluate_again);
    printf("%-24s (%d,%d,%d) %8d %10.1f %8.1f %8.2f\n", name, p, v, m, x.s->action_count, generated,
           first, again);
    pp_trace_deinit(&x.trace);
    pp_eval_destroy(x.e);
    pp_sched_destroy(x.s);
}

int main(void) {
    static const char *const names[] = {"Interleaved1F1B", "InterleavedZeroBubble", "ZBVZeroBubble",
                                        "DualPipeV"};
    static const int32_t sizes[][3] = {{8, 2, 32}, {16, 2, 128}, {64, 2, 512}};
    int64_t ns[MAX_STAGES];
    for (int i = 0; i < MAX_STAGES; i++) {
        ns[i] = 1000 + i;
    }
    printf("ns an action                         actions   generate    first    again\n");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            measure(names[k], sizes[i][0], sizes[i][1], sizes[i][2], ns);
        }
        measure("1F1B", sizes[i][0], 1, sizes[i][2], ns);
    }
    return 0;
}
