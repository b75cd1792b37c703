/* Several flushes as one schedule: what pp_sched_repeat makes is what adding each action gives. */
#include "tests/sim/random_sched.h"

/* Adds cell by cell what flush `flush` of `s` holds, idle cells included. */
static void add_flush(struct pp_sched *to, const struct pp_sched *s, int32_t rank, int32_t flush) {
    int32_t first = flush * s->microbatch_count;
    int32_t cell = 0;
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        cr_assert_eq(pp_sched_add_idle(to, rank, a->cell - cell, NULL), PP_OK);
        cell = a->cell;
        if (a->type >= PP_OFFLOAD) {
            pp_sched_add(to, rank, a->type, a->stage, a->microbatch + first, NULL);
            continue;
        }
        cell++;
        if (a->pair == 1) {
            pp_sched_add_pair(to, rank, a->type, a->stage, a->microbatch + first, a[1].type,
                              a[1].stage, a[1].microbatch + first, NULL);
            at++;
        } else {
            pp_sched_add(to, rank, a->type, a->stage, a->microbatch + first, NULL);
        }
    }
    cr_assert_eq(pp_sched_add_idle(to, rank, s->cell_count[rank] - cell, NULL), PP_OK);
}

static struct pp_sched *repeat_slowly(const struct pp_sched *s, int32_t count) {
    struct pp_sched *to = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_create(s->rank_count, s->stage_count, s->microbatch_count * count,
                                 s->stage_rank, &to, NULL),
                 PP_OK);
    if (s->part_count != s->stage_count) {
        cr_assert_eq(pp_sched_set_bidirectional(to, NULL), PP_OK);
    }
    cr_assert_eq(pp_sched_set_slices(to, s->slice_count, NULL), PP_OK);
    for (int32_t flush = 0; flush < count; flush++) { /* ungrouped: sealing sorts by rank */
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            add_flush(to, s, rank, flush);
        }
    }
    cr_assert_eq(pp_sched_seal(to, &err), PP_OK, "%s", err.message);
    return to;
}

static void expect_equal(const struct pp_sched *a, const struct pp_sched *b) {
    size_t n = (size_t)a->action_count;
    size_t ranks = (size_t)a->rank_count;
    cr_assert(a->rank_count == b->rank_count && a->stage_count == b->stage_count &&
              a->microbatch_count == b->microbatch_count && a->part_count == b->part_count &&
              a->slice_count == b->slice_count && a->action_count == b->action_count &&
              a->lowered == b->lowered && a->sealed && b->sealed);
    cr_assert_eq(memcmp(a->stage_rank, b->stage_rank, (size_t)a->stage_count * sizeof(int32_t)), 0);
    cr_assert_eq(memcmp(a->rank_stages, b->rank_stages, ranks * sizeof(int32_t)), 0);
    cr_assert_eq(memcmp(a->rank_begin, b->rank_begin, (ranks + 1) * sizeof(int32_t)), 0);
    cr_assert_eq(memcmp(a->cell_count, b->cell_count, ranks * sizeof(int32_t)), 0);
    cr_assert_eq(memcmp(a->actions, b->actions, n * sizeof *a->actions), 0);
    cr_assert_eq(memcmp(a->producer, b->producer, n * sizeof(int32_t)), 0);
    cr_assert_eq(a->reload == NULL, b->reload == NULL);
    cr_assert(a->reload == NULL || memcmp(a->reload, b->reload, n * sizeof(int32_t)) == 0);
}

static void expect_repeated(const struct pp_sched *s, int32_t count) {
    struct pp_sched *repeated = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_repeat(s, count, &repeated, &err), PP_OK, "%s", err.message);
    struct pp_sched *slow = repeat_slowly(s, count);
    expect_equal(repeated, slow);
    pp_sched_destroy(slow);
    pp_sched_destroy(repeated);
}

Test(schedule_repeat, random_ones_with_pairs_idle_cells_and_offloads) {
    uint64_t seed = 21;
    for (int i = 0; i < 1500; i += CASE_STEP) {
        struct pp_sched *s = draw_offloading_schedule(&seed);
        expect_repeated(s, 1 + i % 5);
        pp_sched_destroy(s);
    }
}

Test(schedule_repeat, every_generator) {
    int made = 0;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        for (int32_t slices = 0; slices <= 2; slices += 2) {
            struct pp_gen_config c = {.rank_count = 4,
                                      .stages_per_rank = info->default_stages_per_rank,
                                      .microbatch_count = 8,
                                      .slice_count = slices};
            struct pp_sched *s = NULL;
            if (pp_schedule_generate(info, &c, &s, NULL) == PP_OK) {
                expect_repeated(s, 3);
                pp_sched_destroy(s);
                made++;
            }
        }
    }
    cr_assert_geq(made, 25, "%d", made);
}

Test(schedule_repeat, as_written_down) {
    struct pp_err err = {0};
    struct pp_sched *s = parse_csv("0F0,0F1,,0B0,0B1,\n,1F0,(1F1;1B0)OVERLAP_F_B,1I1,1W1\n", &err);
    cr_assert_not_null(s, "%s", err.message);
    struct pp_sched *repeated = NULL;
    struct pp_text csv = {0};
    cr_assert_eq(pp_sched_repeat(s, 2, &repeated, &err), PP_OK, "%s", err.message);
    cr_assert_eq(pp_sched_csv_write(repeated, &csv, NULL), PP_OK);
    cr_expect_str_eq(csv.bytes, "0F0,0F1,,0B0,0B1,,0F2,0F3,,0B2,0B3,\r\n"
                                ",1F0,(1F1;1B0)OVERLAP_F_B,1I1,1W1,,1F2,"
                                "(1F3;1B2)OVERLAP_F_B,1I3,1W3\r\n");
    pp_text_free(&csv);
    pp_sched_destroy(repeated);
    pp_sched_destroy(s);
}

static void expect_refused(const struct pp_sched *s, int32_t count, enum pp_status status,
                           const char *word) {
    struct pp_sched *repeated = NULL;
    struct pp_err err = {0};
    cr_expect_eq(pp_sched_repeat(s, count, &repeated, &err), status, "%d", count);
    cr_expect_not_null(strstr(err.message, word), "%s", err.message);
    cr_expect_null(repeated);
}

Test(schedule_repeat, too_many_are_refused) {
    struct pp_sched *s = make_schedule("1F1B", 2, 1, 2);
    expect_refused(s, 0, PP_E_RANGE, "at least 1");
    expect_refused(s, INT32_MIN, PP_E_RANGE, "at least 1");
    expect_refused(s, PP_SCHED_MAX_MICROBATCHES / 2 + 1, PP_E_RANGE, "microbatches");
    expect_refused(s, INT32_MAX, PP_E_RANGE, "microbatches");
    pp_sched_destroy(s);
    s = make_schedule("GPipe", 512, 1, 1); /* 1024 actions: few microbatches, many actions */
    expect_refused(s, PP_SCHED_MAX_ACTIONS / 1024 + 1, PP_E_RANGE, "actions");
    pp_sched_destroy(s);
    static const int32_t sixteen[16] = {0}; /* three actions each, where two would be few enough */
    cr_assert_eq(pp_sched_create(1, 16, 1, sixteen, &s, NULL), PP_OK);
    for (int32_t i = 0; i < 48; i++) {
        pp_sched_add(s, 0,
                     i < 16       ? PP_F
                     : i % 2 == 0 ? PP_I
                                  : PP_W,
                     i < 16 ? i : 23 - i / 2, 0, NULL);
    }
    cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
    expect_refused(s, PP_SCHED_MAX_ACTIONS / 40, PP_E_RANGE, "of 48 actions");
    pp_sched_destroy(s);
    static const int32_t one[] = {0}; /* two actions, and a row that is full of idle cells */
    cr_assert_eq(pp_sched_create(1, 1, 1, one, &s, NULL), PP_OK);
    cr_assert_eq(pp_sched_add_idle(s, 0, PP_SCHED_MAX_ACTIONS - 2, NULL), PP_OK);
    pp_sched_add(s, 0, PP_F, 0, 0, NULL);
    pp_sched_add(s, 0, PP_B, 0, 0, NULL);
    cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
    expect_refused(s, 2, PP_E_RANGE, "cells");
    expect_refused(s, 1000, PP_E_RANGE, "cells");
    pp_sched_destroy(s);
}
