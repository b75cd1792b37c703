/* Our way of lowering, what both have in common, and what is refused. */
#include "tests/sim/lower_support.h"

#include "sim/lower_priv.h"
#include "tests/sim/random_sched.h"

/* ---- ours ---- */

/* Cells of compute between a RECV and its consumer's cell, on the RECV's rank. */
static int32_t cells_early(const struct pp_sched *s, int32_t recv, int32_t consumer) {
    int32_t cells = 0;
    for (int32_t at = recv; at < consumer; at++) {
        cells += s->actions[at].type <= PP_B && s->actions[at].cell != s->actions[consumer].cell &&
                 s->actions[at].pair != 2;
    }
    return cells;
}

/* Each RECV at most `look_ahead` cells early, unless a later one of its channel is needed then. */
static void expect_near(const struct pp_sched *s, int32_t look_ahead) {
    int32_t *consumer = malloc((size_t)s->action_count * sizeof *consumer);
    for (int32_t at = 0; at < s->action_count; at++) {
        if (s->producer[at] >= 0) {
            consumer[s->producer[at]] = at;
        }
    }
    for (int32_t at = 0; at < s->action_count; at++) {
        if (!is_recv(&s->actions[at])) {
            continue;
        }
        int32_t end = s->rank_begin[s->stage_rank[s->actions[at].stage] + 1];
        int32_t soonest = consumer[at];
        for (int32_t later = at; later < end; later++) {
            if (is_recv(&s->actions[later]) &&
                channel_of(s, &s->actions[later]) == channel_of(s, &s->actions[at]) &&
                consumer[later] < soonest) {
                soonest = consumer[later];
            }
        }
        cr_assert_leq(cells_early(s, at, soonest), look_ahead);
    }
    free(consumer);
}

static void expect_ours(const struct pp_sched *s, int32_t look_ahead) {
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_OURS);
    options.look_ahead = look_ahead;
    struct pp_sched *lowered = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_lower(s, &options, &lowered, &err), PP_OK, "%s", err.message);
    cr_assert_eq(lowered->part_count, s->part_count);
    cr_assert_eq(lowered->slice_count, s->slice_count);
    cr_assert(runs_without_buffers(lowered));
    expect_near(lowered, look_ahead);
    expect_same_compute(s, lowered);
    pp_sched_destroy(lowered);
}

Test(lower, ours_runs_without_buffers_for_random_orders) {
    uint64_t seed = 5;
    for (int i = 0; i < 3000; i++) {
        struct pp_sched *s = draw_schedule(&seed);
        cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
        expect_ours(s, i % 4);
        pp_sched_destroy(s);
    }
}

Test(lower, both_modes_run_without_buffers_for_every_generator) {
    int asked = 0;
    int made = 0;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        for (int32_t p = 1; p <= 5; p++) {
            for (int32_t m = 1; m <= 12; m++) {
                struct pp_gen_config c = {.rank_count = p,
                                          .stages_per_rank = info->default_stages_per_rank,
                                          .microbatch_count = m};
                struct pp_sched *s = NULL;
                if (asked++ % CASE_STEP != 0 || pp_schedule_generate(info, &c, &s, NULL) != PP_OK) {
                    continue;
                }
                expect_ours(s, PP_LOWER_LOOK_AHEAD);
                struct pp_sched *torch = lower(s, PP_LOWER_TORCH);
                cr_assert(runs_without_buffers(torch), "%s %d %d", info->name, p, m);
                pp_sched_destroy(torch);
                pp_sched_destroy(s);
                made++;
            }
        }
    }
    cr_assert_geq(made, 300 / CASE_STEP);
    cr_log_info("generated and lowered: %d", made);
}

/* Two pipelines from both ends: stage 3 begins the second, stage 2 ends the first. */
static struct pp_sched *both_ends(int32_t slice_count) {
    static const int32_t stage_rank[] = {0, 1, 2, 2, 1, 0};
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_sched_create(3, 6, 4, stage_rank, &s, NULL), PP_OK);
    cr_assert_eq(pp_sched_set_bidirectional(s, NULL), PP_OK);
    cr_assert_eq(pp_sched_set_slices(s, slice_count, NULL), PP_OK);
    for (int32_t rank = 0; rank < 3; rank++) {
        for (int32_t m = 0; m < 4; m++) {
            pp_sched_add(s, rank, PP_F, rank, m, NULL);
            pp_sched_add(s, rank, PP_F, 5 - rank, m, NULL);
            pp_sched_add(s, rank, PP_OFFLOAD, rank, m, NULL);
        }
        for (int32_t m = 3; m >= 0; m--) {
            pp_sched_add(s, rank, PP_RELOAD, rank, m, NULL);
            pp_sched_add(s, rank, PP_B, rank, m, NULL);
            pp_sched_add(s, rank, PP_I, 5 - rank, m, NULL);
            pp_sched_add(s, rank, PP_W, 5 - rank, m, NULL);
        }
    }
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_seal(s, &err), PP_OK, "%s", err.message);
    return s;
}

Test(lower, two_pipelines_slices_and_offloads) {
    for (int32_t slices = 1; slices <= 4; slices *= 2) {
        struct pp_sched *s = both_ends(slices);
        for (int32_t look_ahead = 0; look_ahead < 6; look_ahead++) {
            expect_ours(s, look_ahead);
        }
        struct pp_sched *torch = lower(s, PP_LOWER_TORCH);
        cr_expect(runs_without_buffers(torch));
        int32_t sends = 0;
        for (int32_t at = 0; at < torch->action_count; at++) {
            sends += is_send(&torch->actions[at]);
            cr_expect(torch->actions[at].type != PP_SEND_F || torch->actions[at].stage % 3 != 2);
        }
        cr_expect_eq(sends, 2 * 2 * 2 * 4); /* pipelines, edges, directions, microbatches */
        pp_sched_destroy(torch);
        pp_sched_destroy(s);
    }
}

Test(lower, ours_as_written_down) {
    struct pp_err err = {0};
    struct pp_sched *s = parse_csv("0F0,0F1,0F2,,0B0,0B1,0B2\n,1F0,1B0,1F1,1B1,1F2,1B2\n", &err);
    cr_assert_not_null(s, "%s", err.message);
    struct pp_sched *lowered = lower(s, PP_LOWER_OURS);
    struct pp_text csv = {0};
    pp_sched_csv_write(lowered, &csv, NULL);
    cr_expect_str_eq(csv.bytes,
                     "0UNSHARD,0F0,0SEND_F0,0RECV_B0,0F1,0SEND_F1,0RECV_B1,0F2,0SEND_F2,0RECV_B2,"
                     "0B0,0B1,0B2,0REDUCE_GRAD,0RESHARD\r\n"
                     "1UNSHARD,1RECV_F0,1RECV_F1,1F0,1B0,1SEND_B0,1RECV_F2,1F1,1B1,1SEND_B1,1F2,"
                     "1B2,1SEND_B2,1REDUCE_GRAD,1RESHARD\r\n");
    pp_text_free(&csv);
    pp_sched_destroy(lowered);
    pp_sched_destroy(s);
}

/* A pair of stages 8 and 1 is left behind; in a set of CPython's 8 comes before 1. */
Test(lower, stages_freed_together_ascend_in_ours) {
    static const char *const freed[] = {
        [PP_LOWER_TORCH] = "OVERLAP_F_B,8RESHARD,1RESHARD,9UNSHARD,9F1",
        [PP_LOWER_OURS] = "OVERLAP_F_B,1RESHARD,8RESHARD,9UNSHARD,9F1",
        [PP_LOWER_BATCHED] = "OVERLAP_F_B,1RESHARD,8RESHARD,9UNSHARD,9F1",
    };
    struct pp_err err = {0};
    struct pp_sched *s = parse_csv("0F0,1F0,2F0,3F0,4F0,5F0,6F0,7F0,8F0,9F0,"
                                   "9B0,8B0,7B0,6B0,5B0,4B0,3B0,2B0,"
                                   "0F1,1F1,2F1,3F1,4F1,5F1,6F1,7F1,(8F1;1B0)OVERLAP_F_B,9F1,0B0,"
                                   "9B1,8B1,7B1,6B1,5B1,4B1,3B1,2B1,1B1,0B1\n",
                                   &err);
    cr_assert_not_null(s, "%s", err.message);
    for (enum pp_lower_mode mode = 0; mode < PP_LOWER_MODE_COUNT; mode++) {
        struct pp_lower_options options = {.mode = mode, .max_active_stages = 1};
        struct pp_sched *lowered = NULL;
        struct pp_text csv = {0};
        cr_assert_eq(pp_sched_lower(s, &options, &lowered, NULL), PP_OK);
        cr_assert_eq(pp_sched_csv_write(lowered, &csv, NULL), PP_OK);
        cr_expect_not_null(strstr(csv.bytes, freed[mode]), "%s", csv.bytes);
        pp_text_free(&csv);
        pp_sched_destroy(lowered);
    }
    pp_sched_destroy(s);
}

Test(lower, a_deadlock_names_its_cycle) {
    struct pp_err err = {0};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_TORCH);
    struct pp_sched *lowered = NULL;
    struct pp_sched *s = parse_csv(
        "0F0,0F1,0F2,(0F3;0B2)OVERLAP_F_B,0B0,0B1,0B3\n1F0,1F1,1B1,1F3,1F2,1B0,1B2,1B3\n", &err);
    cr_assert_not_null(s, "%s", err.message);
    cr_assert_eq(pp_sched_lower(s, &options, &lowered, &err), PP_E_DEADLOCK);
    cr_expect_str_eq(err.message,
                     "the ranks wait in a cycle: rank 0 waits in 0B2 for 1B2 of rank 1, "
                     "rank 1 waits in 1F3 for 0F3 of rank 0");
    cr_expect_null(lowered);
    pp_sched_destroy(s);
    s = parse_csv("1F0,1B0,0F0,0B0\n2F0,2B0\n", &err); /* its own rank's */
    cr_assert_not_null(s, "%s", err.message);
    cr_assert_eq(pp_sched_lower(s, &options, &lowered, &err), PP_E_DEADLOCK);
    cr_expect_str_eq(err.message,
                     "the ranks wait in a cycle: rank 0 waits in 1F0 for 0F0 of rank 0");
    pp_sched_destroy(s);
}

Test(lower, options_and_a_second_lowering_are_refused) {
    struct pp_sched *s = make_schedule("1F1B", 2, 1, 2);
    struct pp_sched *lowered = lower(s, PP_LOWER_OURS);
    struct pp_sched *again = NULL;
    struct pp_err err = {0};
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_TORCH);
    cr_expect_eq(pp_sched_lower(lowered, &options, &again, &err), PP_E_ARG);
    options.max_active_stages = 0;
    cr_expect_eq(pp_sched_lower(s, &options, &again, &err), PP_E_RANGE);
    options.max_active_stages = 1;
    options.look_ahead = -1;
    cr_expect_eq(pp_sched_lower(s, &options, &again, &err), PP_E_RANGE);
    cr_expect_null(again);
    pp_sched_destroy(lowered);
    pp_sched_destroy(s);
}
