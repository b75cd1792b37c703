/* Verdicts on real schedules: which placement of receives completes on which channels. */
#include "sim/schedule_csv.h"
#include "tests/sim/check_support.h"

/* ---- executor.md 2.3: rendezvous, pp 2, 3, 4, 8 with m = pp, 2 pp, 4 pp ---- */

enum placement { ASAP, DEFERRED, HOISTED, PLACEMENT_COUNT };

struct family {
    const char *name;
    int32_t stages_per_rank;
};

/* Do receives meet sends of the same name on every directed pair of ranks? */
static bool keeps_fifo(const struct pp_sched *s) {
    for (int32_t at = 0; at < s->action_count; at++) {
        for (int32_t other = at + 1; is_recv(&s->actions[at]) && other < s->action_count; other++) {
            const struct pp_action *a = &s->actions[at];
            const struct pp_action *b = &s->actions[other];
            int32_t from = s->producer[at];
            int32_t from_other = is_recv(b) ? s->producer[other] : -1;
            if (from_other >= 0 && s->stage_rank[a->stage] == s->stage_rank[b->stage] &&
                s->stage_rank[s->actions[from].stage] ==
                    s->stage_rank[s->actions[from_other].stage] &&
                from > from_other) {
                return false;
            }
        }
    }
    return true;
}

struct cell {
    int completes, right, of; /* right: and every receive gets what it names */
};

static void count(const struct pp_sched *s, struct cell cells[PP_CHANNELS_COUNT]) {
    bool fifo = keeps_fifo(s);
    for (enum pp_channels channels = 0; channels < PP_CHANNELS_COUNT; channels++) {
        struct pp_comms comms = {.channels = channels};
        bool completes = pp_check_run(s, &comms, NULL, NULL) == PP_OK;
        cells[channels].completes += completes;
        cells[channels].right += completes && fifo;
        cells[channels].of++;
    }
}

static void count_family(const struct family *f,
                         struct cell cells[PLACEMENT_COUNT][PP_CHANNELS_COUNT]) {
    static const int32_t ranks[] = {2, 3, 4, 8};
    for (int i = 0; i < 12; i++) {
        int32_t p = ranks[i / 3];
        struct pp_gen_config c = {
            .rank_count = p, .stages_per_rank = f->stages_per_rank, .microbatch_count = p << i % 3};
        struct pp_sched *s = NULL;
        if (pp_schedule_generate(find_schedule(f->name), &c, &s, NULL) != PP_OK) {
            continue; /* DualPipeV needs two microbatches a rank */
        }
        struct pp_sched *asap = lower(s, PP_LOWER_TORCH);
        struct pp_sched *deferred = defer_receives(asap, true);
        struct pp_sched *hoisted = hoist_receives(asap);
        count(asap, cells[ASAP]);
        count(deferred, cells[DEFERRED]);
        count(hoisted, cells[HOISTED]);
        pp_sched_destroy(hoisted);
        pp_sched_destroy(deferred);
        pp_sched_destroy(asap);
        pp_sched_destroy(s);
    }
}

/* The table's rows. Its cells count what completes when a RECV only meets the SEND of its name;
 * here a wrong meeting completes, with W_FIFO, so they are compared with what is right as well. */
Test(check_schedules, placements_of_receives_complete_where_they_are_known_to) {
    static const struct {
        const char *name;
        struct family of[4];
        struct cell cells[PLACEMENT_COUNT][PP_CHANNELS_COUNT];
    } groups[] = {
        {"1F1B",
         {{"1F1B", 1}},
         {[ASAP] = {{12, 12, 12}, {12, 12, 12}, {12, 12, 12}},
          [DEFERRED] = {{12, 12, 12}, {0, 0, 12}, {0, 0, 12}},
          [HOISTED] = {{12, 12, 12}, {0, 0, 12}, {0, 0, 12}}}},
        {"Interleaved1F1B",
         {{"Interleaved1F1B", 2}, {"Interleaved1F1B", 3}},
         {[ASAP] = {{24, 24, 24}, {24, 24, 24}, {24, 24, 24}},
          [DEFERRED] = {{24, 24, 24}, {0, 0, 24}, {0, 0, 24}},
          [HOISTED] = {{24, 24, 24}, {0, 0, 24}, {0, 0, 24}}}},
        {"InterleavedZeroBubble, ZBVZeroBubble, DualPipeV",
         {{"InterleavedZeroBubble", 2}, {"ZBVZeroBubble", 2}, {"DualPipeV", 2}},
         {[ASAP] = {{32, 32, 32}, {32, 32, 32}, {32, 32, 32}},
          [DEFERRED] = {{32, 16, 32}, {0, 0, 32}, {0, 0, 32}},
          [HOISTED] = {{32, 32, 32}, {0, 0, 32}, {0, 0, 32}}}},
        {"GPipe, LoopedBFS", /* deferred: not in the table, 12 and 30 found here */
         {{"GPipe", 1}, {"LoopedBFS", 2}, {"LoopedBFS", 3}},
         {[ASAP] = {{36, 36, 36}, {36, 36, 36}, {36, 36, 36}},
          [DEFERRED] = {{36, 36, 36}, {30, 30, 36}, {12, 12, 36}},
          [HOISTED] = {{36, 36, 36}, {0, 0, 36}, {0, 0, 36}}}},
    };
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        struct cell cells[PLACEMENT_COUNT][PP_CHANNELS_COUNT] = {0};
        for (const struct family *f = groups[g].of; f->name != NULL; f++) {
            count_family(f, cells);
        }
        for (int at = 0; at < PLACEMENT_COUNT * PP_CHANNELS_COUNT; at++) {
            static const char *const names[] = {"asap", "deferred", "hoisted"};
            const struct cell *found = &cells[at / PP_CHANNELS_COUNT][at % PP_CHANNELS_COUNT];
            const struct cell *known =
                &groups[g].cells[at / PP_CHANNELS_COUNT][at % PP_CHANNELS_COUNT];
            cr_expect(found->completes == known->completes && found->right == known->right &&
                          found->of == known->of,
                      "%s, %s, %s: %d complete, %d right, of %d; need %d, %d, %d", groups[g].name,
                      names[at / PP_CHANNELS_COUNT],
                      pp_channels_text((enum pp_channels)(at % PP_CHANNELS_COUNT)),
                      found->completes, found->right, found->of, known->completes, known->right,
                      known->of);
        }
    }
}

/* ---- pytorch/pytorch#172668 ---- */

/* Receives right before their use on a channel that both directions share: each of two ranks stands
 * in a SEND behind which the RECV waits that would let the other go on. */
Test(check_schedules, late_receives_on_a_shared_channel_leave_both_ranks_in_a_send) {
    struct pp_sched *s = make_schedule("1F1B", 2, 1, 4);
    struct pp_sched *torch = lower(s, PP_LOWER_TORCH);
    struct pp_sched *late = defer_receives(torch, false);
    for (enum pp_channels channels = PP_CHANNELS_PAIR; channels <= PP_CHANNELS_RANK; channels++) {
        struct pp_comms comms = {.channels = channels};
        struct pp_deadlock d = {0};
        struct pp_err err = {0};
        cr_assert_eq(pp_check_run(late, &comms, &d, &err), PP_E_DEADLOCK);
        cr_assert_eq(d.wait_count, 2);
        cr_assert(strstr(err.message, "rank 0 waits in 0SEND_F1 for 1RECV_F1 of rank 1, rank 1 "
                                      "waits in 1SEND_B0 for 0RECV_B0 of rank 0") != NULL,
                  "%s", err.message);
        pp_deadlock_deinit(&d);
        comms.buffer_count = 1; /* what hides it where messages are small */
        cr_assert_eq(pp_check_run(late, &comms, NULL, &err), PP_OK, "%s", err.message);
        comms.buffer_count = 0;
        cr_assert_eq(pp_check_run(torch, &comms, NULL, &err), PP_OK, "%s", err.message);
    }
    struct pp_comms directed = {.channels = PP_CHANNELS_DIRECTED};
    cr_assert_eq(pp_check_run(late, &directed, NULL, NULL), PP_OK);
    pp_sched_destroy(late);
    pp_sched_destroy(torch);
    pp_sched_destroy(s);
}

/* ---- no false verdict ---- */

/* Everything that any generator makes, in both lowerings: ours over directed channels, PyTorch's
 * over all. */
Test(check_schedules, every_generated_schedule_runs_to_its_end) {
    int count = 0;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        const int32_t step = CASE_STEP > 1 ? 19 : info->uses_costs ? 3 : 1; /* these search long */
        for (int32_t code = i % step; code < 8 * 4 * 20; code += step) {
            struct pp_gen_config c = {.rank_count = 1 + code % 8,
                                      .stages_per_rank = 1 + code / 8 % 4,
                                      .microbatch_count = 1 + code / 32};
            struct pp_sched *s = NULL;
            struct pp_err err = {0};
            if (pp_schedule_generate(info, &c, &s, NULL) != PP_OK) {
                continue;
            }
            struct pp_comms comms = {.channels = PP_CHANNELS_DIRECTED};
            cr_assert_eq(pp_check_run(s, &comms, NULL, &err), PP_OK, "%s", err.message);
            struct pp_sched *ours = lower(s, PP_LOWER_OURS);
            struct pp_sched *torch = lower(s, PP_LOWER_TORCH);
            cr_assert_eq(pp_check_run(ours, &comms, NULL, &err), PP_OK, "%s", err.message);
            for (comms.channels = 0; comms.channels < PP_CHANNELS_COUNT; comms.channels++) {
                cr_assert_eq(pp_check_run(torch, &comms, NULL, &err), PP_OK, "%s", err.message);
            }
            pp_sched_destroy(torch);
            pp_sched_destroy(ours);
            pp_sched_destroy(s);
            count++;
        }
    }
    cr_log_info("%d schedules", count);
}

struct golden {
    int computes, lowered;
};

/* A file of PyTorch's; NULL if it has none that can be read. */
static struct pp_sched *read_golden(const char *file, bool is_lowered) {
    char path[256];
    struct pp_csv_expect expect = {.is_lowered = is_lowered};
    struct pp_sched *s = NULL;
    snprintf(path, sizeof path, PP_SHARED_DIR "/golden/torch/%s", file);
    return file[0] != '\0' && pp_sched_csv_read(path, &expect, &s, NULL) == PP_OK ? s : NULL;
}

static void expect_running(const struct pp_sched *s, enum pp_channels channels, const char *file) {
    struct pp_comms comms = {.channels = channels};
    struct pp_err err = {0};
    cr_expect_eq(pp_check_run(s, &comms, NULL, &err), PP_OK, "%s, %s: %s", file,
                 pp_channels_text(channels), err.message);
}

/* A compute-only file in our lowering. */
static void check_computes(const char *file, struct golden *golden) {
    struct pp_sched *s = read_golden(file, false);
    if (s == NULL) {
        return; /* GPipe and 1F1B: their orders hold REDUCE_GRAD */
    }
    struct pp_sched *ours = lower(s, PP_LOWER_OURS);
    expect_running(ours, PP_CHANNELS_DIRECTED, file);
    golden->computes++;
    pp_sched_destroy(ours);
    pp_sched_destroy(s);
}

/* schedule, pp, v, mb, valid, error, file, num_steps, csv_sha256, comms_file, ... */
static void golden_row(char *f[MAX_FIELDS], int count, void *context) {
    struct golden *golden = context;
    if (count < 10 || strcmp(f[4], "1") != 0) {
        return;
    }
    check_computes(f[6], golden);
    struct pp_sched *torch = read_golden(f[9], true);
    for (enum pp_channels i = 0; torch != NULL && i < PP_CHANNELS_COUNT; i++) {
        expect_running(torch, i, f[9]);
    }
    golden->lowered += torch != NULL;
    pp_sched_destroy(torch);
}

/* file, pp, num_stages, mb, stage_to_rank, csv_sha256, error, ... */
static void custom_row(char *f[MAX_FIELDS], int count, void *context) {
    if (count >= 7 && f[6][0] == '\0') {
        check_computes(f[0], context);
    }
}

Test(check_schedules, every_golden_schedule_of_pytorch_runs_to_its_end) {
    static const char index[] = PP_SHARED_DIR "/golden/torch/index.tsv";
    if (!has_shared(index)) {
        cr_skip_test("../shared is not there");
    }
    struct golden golden = {0};
    each_row(index, golden_row, &golden);
    each_row(PP_SHARED_DIR "/golden/torch/custom.tsv", custom_row, &golden);
    cr_log_info("%d compute-only, %d lowered files", golden.computes, golden.lowered);
    cr_assert(golden.computes > 400 && golden.lowered > 100);
}

Test(check_schedules, a_rank_that_waits_for_itself_is_a_cycle_of_one) {
    struct pp_err err = {0};
    struct pp_sched *s = parse_csv("1F0,0F0,1B0,0B0\n", &err);
    cr_assert_not_null(s, "%s", err.message);
    struct pp_comms comms = {0};
    struct pp_deadlock d = {0};
    cr_assert_eq(pp_check_run(s, &comms, &d, &err), PP_E_DEADLOCK);
    cr_assert(d.wait_count == 1 && d.waits[0].action == 0 && d.waits[0].for_action == 1);
    pp_deadlock_deinit(&d);
    struct pp_sched *ours = lower(s, PP_LOWER_OURS);
    cr_assert_eq(pp_check_run(ours, &comms, &d, &err), PP_E_DEADLOCK);
    cr_assert_eq(d.wait_count, 1);
    pp_deadlock_deinit(&d);
    pp_sched_destroy(ours);
    pp_sched_destroy(s);
}
