/* Speed of the verdict, on lowered schedules: ns an action and the whole, without parsing. Not a
 * test: build the target `bench` with the release preset and run it on a quiet machine. Budgets:
 * 50 ms for 10^5 actions, 2 s for 64 ranks with 10^5 each; a deadlock is found and named in as
 * much. */
#include "sim/check.h"
#include "sim/generate.h"
#include "sim/lower.h"
#include "tests/bench/bench.h"

static void measure(const char *name, int32_t p, int32_t v, int32_t m, enum pp_lower_mode mode,
                    enum pp_channels channels) {
    const struct pp_schedule_info *info = NULL;
    struct pp_gen_config config = {.rank_count = p, .stages_per_rank = v, .microbatch_count = m};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(mode);
    struct pp_comms comms = {.channels = channels};
    struct pp_sched *s = NULL;
    struct pp_sched *lowered = NULL;
    struct pp_err err = {0};
    must(pp_schedule_find(name, &info, &err), &err);
    must(pp_schedule_generate(info, &config, &s, &err), &err);
    must(pp_sched_lower(s, &options, &lowered, &err), &err);
    int64_t took[RUNS];
    enum pp_status status = PP_OK;
    for (int run = 0; run < RUNS; run++) {
        int64_t begin = cpu_ns();
        status = pp_check_run(lowered, &comms, NULL, &err);
        took[run] = cpu_ns() - begin;
    }
    double ns = (double)median_of(took, RUNS);
    printf("%-22s (%d,%d,%d) %-5s %-8s %-10s %9d %9.1f %9.2f\n", name, p, v, m,
           mode == PP_LOWER_TORCH ? "torch" : "ours", pp_channels_text(channels),
           pp_status_code(status), lowered->action_count, ns / lowered->action_count, ns / 1e6);
    pp_sched_destroy(lowered);
    pp_sched_destroy(s);
}

int main(void) {
    printf("schedule                                                   verdict      actions "
           "ns/action        ms\n");
    static const int32_t sizes[][3] = {{8, 2, 32}, {8, 2, 1600}, {64, 2, 12800}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int32_t p = sizes[i][0];
        int32_t v = sizes[i][1];
        int32_t m = sizes[i][2];
        measure("Interleaved1F1B", p, v, m, PP_LOWER_OURS, PP_CHANNELS_DIRECTED);
        measure("ZBVZeroBubble", p, v, m, PP_LOWER_OURS, PP_CHANNELS_DIRECTED);
        measure("Interleaved1F1B", p, v, m, PP_LOWER_TORCH, PP_CHANNELS_PAIR);
        measure("Interleaved1F1B", p, v, m, PP_LOWER_TORCH, PP_CHANNELS_RANK);
        measure("Interleaved1F1B", p, v, m, PP_LOWER_OURS, PP_CHANNELS_PAIR);
    }
    return 0;
}
