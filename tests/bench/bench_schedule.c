/* Speed of schedules, in ns a compute action: generate and seal, and lowering both ways. Not a
 * test: build the target `bench` with the release preset and run it on a quiet machine. Budgets: 50
 * ns; lowering linear: at (64,2,512) at most 3 times what it is at (8,2,32). */
#include "sim/generate.h"
#include "sim/lower.h"
#include "tests/bench/bench.h"

struct subject {
    const struct pp_schedule_info *info;
    struct pp_gen_config config;
    struct pp_sched *s;
    enum pp_lower_mode mode;
};

static void generate(struct subject *x) {
    struct pp_err err = {0};
    pp_sched_destroy(x->s);
    must(pp_schedule_generate(x->info, &x->config, &x->s, &err), &err);
}

static void lower(struct subject *x) {
    struct pp_err err = {0};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(x->mode);
    struct pp_sched *lowered = NULL;
    must(pp_sched_lower(x->s, &options, &lowered, &err), &err);
    pp_sched_destroy(lowered);
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

static void measure(const struct row *row) {
    struct pp_err err = {0};
    struct subject x = {
        .config = {.rank_count = row->p, .stages_per_rank = row->v, .microbatch_count = row->m}};
    must(pp_schedule_find(row->name, &x.info, &err), &err);
    generate(&x);
    int32_t n = x.s->action_count;
    double generated = ns_an_action(&x, generate, n);
    x.mode = PP_LOWER_TORCH;
    double torch = ns_an_action(&x, lower, n);
    x.mode = PP_LOWER_OURS;
    double ours = ns_an_action(&x, lower, n);
    double to_s = (double)n / NS_PER_S;
    printf("%-22s (%2d,%d,%3d) %7d %8.1f %7.1f %7.1f %9.5f %8.5f", row->name, row->p, row->v,
           row->m, n, generated, torch, ours, generated * to_s, torch * to_s);
    if (row->lower_s > 0) {
        printf(" %8.3f %7.3f", row->generate_s, row->lower_s);
    }
    printf("\n");
    pp_sched_destroy(x.s);
}

int main(void) {
    printf("ns a compute action                            generate   lower               seconds  "
           "   PyTorch's seconds\n"
           "schedule               (p, v,  m) actions          PyTorch    ours  generate    lower "
           "generate   lower\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        measure(&rows[i]);
    }
    return 0;
}
