/* Speed of schedules, in ns a compute action: generate and seal, first evaluation (create and run),
 * re-evaluation, and lowering both ways. Not a test: build the target `bench` with the release
 * preset and run it on a quiet machine. Budgets: 50, 15 and 2.5 ns; lowering linear: at (64,2,512)
 * at most 3 times what it is at (8,2,32). */
#include "sim/eval.h"
#include "sim/generate.h"
#include "sim/lower.h"

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
    enum pp_lower_mode mode;
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

static void lower(struct subject *x) {
    struct pp_err err = {0};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(x->mode);
    struct pp_sched *lowered = NULL;
    must(pp_sched_lower(x->s, &options, &lowered, &err), &err);
    pp_sched_destroy(lowered);
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

/* What is measured, and the seconds that PyTorch 2.14.1 takes to generate the order and for the
 * three passes of its lowering (UNSHARD and RESHARD, REDUCE_GRAD, SEND and RECV), measured by us in
 * one process; 0 where it cannot. */
struct row {
    const char *name;
    int32_t p, v, m;
    double generate_s, lower_s;
};

static const struct row rows[] = {
    {"Interleaved1F1B", 8, 2, 32, 0.001, 0.013},
    {"InterleavedZeroBubble", 8, 2, 32, 0.003, 0.022},
    {"ZBVZeroBubble", 8, 2, 32, 0.001, 0.013},
    {"DualPipeV", 8, 2, 32, 0.001, 0.006},
    {"1F1B", 8, 1, 32, 0, 0},
    {"Interleaved1F1B", 16, 2, 128, 0.004, 0.180},
    {"InterleavedZeroBubble", 16, 2, 128, 0.023, 0.656},
    {"ZBVZeroBubble", 16, 2, 128, 0.008, 0.435},
    {"DualPipeV", 16, 2, 128, 0.013, 0.189},
    {"1F1B", 16, 1, 128, 0, 0},
    {"Interleaved1F1B", 64, 2, 512, 0.300, 12.094},
    {"InterleavedZeroBubble", 64, 2, 512, 0.708, 24.791},
    {"ZBVZeroBubble", 64, 2, 512, 0.260, 23.472},
    {"DualPipeV", 64, 2, 512, 0.331, 9.219},
    {"1F1B", 64, 1, 512, 0, 0},
};

static void measure(const struct row *row, const int64_t *ns) {
    struct pp_err err = {0};
    struct subject x = {
        .config = {.rank_count = row->p, .stages_per_rank = row->v, .microbatch_count = row->m},
        .costs = {
            .f_ns = ns, .i_ns = ns, .w_ns = ns, .b_ns = ns, .recv_f_ns = ns, .recv_b_ns = ns}};
    must(pp_schedule_find(row->name, &x.info, &err), &err);
    generate(&x);
    double generated = ns_per_action(&x, generate);
    must(pp_trace_init(&x.trace, x.s, &err), &err);
    double first = ns_per_action(&x, evaluate_first);
    double again = ns_per_action(&x, evaluate_again);
    x.mode = PP_LOWER_TORCH;
    double torch = ns_per_action(&x, lower);
    x.mode = PP_LOWER_OURS;
    double ours = ns_per_action(&x, lower);
    double to_s = (double)x.s->action_count / NS_PER_S;
    printf("%-22s (%2d,%d,%3d) %7d %8.1f %6.1f %6.2f %7.1f %7.1f %9.5f %8.5f", row->name, row->p,
           row->v, row->m, x.s->action_count, generated, first, again, torch, ours,
           generated * to_s, torch * to_s);
    if (row->lower_s > 0) {
        printf(" %8.3f %7.3f", row->generate_s, row->lower_s);
    }
    printf("\n");
    pp_trace_deinit(&x.trace);
    pp_eval_destroy(x.e);
    pp_sched_destroy(x.s);
}

int main(void) {
    int64_t ns[MAX_STAGES];
    for (int i = 0; i < MAX_STAGES; i++) {
        ns[i] = 1000 + i;
    }
    printf("ns a compute action                            generate         again   lower        "
           "       seconds     PyTorch's seconds\n"
           "schedule               (p, v,  m) actions            first        PyTorch    ours  "
           "generate    lower generate   lower\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        measure(&rows[i], ns);
    }
    return 0;
}
