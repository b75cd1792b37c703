/* What an order costs until it may run, every schedule: generate and seal, lower our way, check; in
 * ns a compute action, at (8 ranks, 32 microbatches) and (64, 512). Not a test. Linear means: the
 * second at most 3 times the first. Costs are those that Qi et al. profiled (arXiv 2401.10241,
 * table 9, 1.5B), so orders that depend on costs have something to choose. */
#include "sim/check.h"
#include "sim/generate.h"
#include "sim/lower.h"
#include "tests/bench/bench.h"

/* Few runs: at 64 ranks some orders are searched for a second or two. */
enum { MAX_STAGES = 1024, ENOUGH_ACTIONS = 100000, FEW = 5 };

/* Of a rank's whole share, ns. */
enum { F_NS = 18522000, I_NS = 18086000, W_NS = 9337000, P2P_NS = 601000 };

struct times {
    int64_t generate_ns, lower_ns, check_ns;
};

/* Costs of the stages of a schedule that has no actions yet. */
static void fill_costs(const struct pp_sched *s, int64_t ns[5][MAX_STAGES]) {
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        int64_t parts = (int64_t)pp_sched_shares_of(s, s->stage_rank[stage]) * s->slice_count;
        ns[0][stage] = F_NS / parts;
        ns[1][stage] = I_NS / parts;
        ns[2][stage] = W_NS / parts;
        ns[3][stage] = ns[1][stage] + ns[2][stage];
        ns[4][stage] = P2P_NS;
    }
}

/* Once through; @return compute actions */
static int32_t run(const struct pp_schedule_info *info, struct pp_gen_config config,
                   struct times *t) {
    static const struct pp_comms comms = {.channels = PP_CHANNELS_DIRECTED};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    struct pp_err err = {0};
    struct pp_sched *s = NULL;
    struct pp_sched *lowered = NULL;
    int64_t ns[5][MAX_STAGES];
    int64_t begin = cpu_ns();
    must(pp_schedule_begin(info, &config, &s, &err), &err);
    fill_costs(s, ns);
    struct pp_gen_costs costs = {.times = {.f_ns = ns[0],
                                           .i_ns = ns[1],
                                           .w_ns = ns[2],
                                           .b_ns = ns[3],
                                           .recv_f_ns = ns[4],
                                           .recv_b_ns = ns[4]}};
    config.costs = &costs;
    must(pp_schedule_finish(info, &config, s, &err), &err);
    int64_t generated = cpu_ns();
    must(pp_sched_lower(s, &options, &lowered, &err), &err);
    int64_t lowered_at = cpu_ns();
    must(pp_check_run(lowered, &comms, NULL, &err), &err);
    int64_t checked = cpu_ns();
    *t = (struct times){generated - begin, lowered_at - generated, checked - lowered_at};
    int32_t actions = s->action_count;
    pp_sched_destroy(lowered);
    pp_sched_destroy(s);
    return actions;
}

/* Prints a line; @return ns a compute action in all */
static double measure(const struct pp_schedule_info *info, int32_t p, int32_t m) {
    struct pp_gen_config config = {
        .rank_count = p, .stages_per_rank = info->default_stages_per_rank, .microbatch_count = m};
    int64_t generate[FEW];
    int64_t lower[FEW];
    int64_t check[FEW];
    struct times t;
    int32_t actions = run(info, config, &t);
    int32_t repeats = t.generate_ns > NS_PER_S / 100 ? 1 : 1 + ENOUGH_ACTIONS / actions;
    for (int i = -1; i < FEW; i++) {
        struct times sum = {0};
        for (int32_t n = 0; n < repeats; n++) {
            run(info, config, &t);
            sum.generate_ns += t.generate_ns;
            sum.lower_ns += t.lower_ns;
            sum.check_ns += t.check_ns;
        }
        if (i >= 0) {
            generate[i] = sum.generate_ns;
            lower[i] = sum.lower_ns;
            check[i] = sum.check_ns;
        }
    }
    double all = (double)repeats * actions;
    double g = (double)median_of(generate, FEW) / all;
    double l = (double)median_of(lower, FEW) / all;
    double c = (double)median_of(check, FEW) / all;
    printf("%-22s (%2d,%d,%3d) %7d %9.1f %6.1f %6.1f %9.1f", info->name, p,
           info->default_stages_per_rank, m, actions, g, l, c, g + l + c);
    return g + l + c;
}

int main(void) {
    printf("%-22s %-10s %9s %9s %6s %6s %9s  ratio\n", "schedule", "(p,v,m)", "actions", "generate",
           "lower", "check", "in all");
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        double small = measure(pp_schedule_at(i), 8, 32);
        printf("\n");
        double large = measure(pp_schedule_at(i), 64, 512);
        printf(" %6.2f\n", large / small);
    }
    return 0;
}
