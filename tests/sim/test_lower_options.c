/* What our lowering does beyond PyTorch's: stages freed after every use, gradients reduced every
 * so many microbatches. */
#include "tests/sim/lower_support.h"

#include "tests/sim/random_sched.h"

static struct pp_sched *lower_with(const struct pp_sched *s,
                                   const struct pp_lower_options *options) {
    struct pp_sched *lowered = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_lower(s, options, &lowered, &err), PP_OK, "%s", err.message);
    return lowered;
}

/* Each use has its stage gathered, no more are gathered than may be, all are freed in the end; if
 * so asked, each right after its use. */
static void expect_gathered(const struct pp_sched *l, const struct pp_lower_options *o) {
    bool active[64] = {false};
    bool used[64] = {false}; /* gathered and used since */
    for (int32_t rank = 0; rank < l->rank_count; rank++) {
        int32_t count = 0;
        for (int32_t at = l->rank_begin[rank]; at < l->rank_begin[rank + 1]; at++) {
            const struct pp_action *a = &l->actions[at];
            if (a->type == PP_UNSHARD || a->type == PP_RESHARD) {
                cr_assert_eq(active[a->stage], a->type == PP_RESHARD);
                active[a->stage] = a->type == PP_UNSHARD;
                used[a->stage] = false;
                count += a->type == PP_UNSHARD ? 1 : -1;
                cr_assert_leq(count, o->max_active_stages + 1);
                continue;
            }
            if (a->type > PP_B) {
                continue;
            }
            cr_assert(active[a->stage]);
            int32_t stages = a->pair != 0 ? 2 : 1;
            cr_assert(!o->reshard_after_use || count <= stages || count <= o->max_active_stages);
            for (int32_t g = 0; g < l->stage_count && a->pair != 2 && o->reshard_after_use; g++) {
                cr_assert_not(l->stage_rank[g] == rank && used[g]);
            }
            used[a->stage] = true;
        }
        cr_assert_eq(count, 0);
    }
}

/* Reductions of every stage take in each microbatch once, `every` at a time, at the last's end. */
static void expect_reduced(const struct pp_sched *l, int32_t every) {
    for (int32_t stage = 0; stage < l->stage_count; stage++) {
        int32_t rank = l->stage_rank[stage];
        int32_t waiting = 0;
        int32_t reduced = 0;
        int32_t last = -1;
        for (int32_t at = l->rank_begin[rank]; at < l->rank_begin[rank + 1]; at++) {
            const struct pp_action *a = &l->actions[at];
            if (a->stage != stage) {
                continue;
            }
            if (a->type == PP_W || a->type == PP_B) {
                cr_assert(every == 0 || waiting < every); /* not one too late */
                waiting++;
                last = a->microbatch;
            } else if (a->type == PP_REDUCE_GRAD) {
                reduced += waiting;
                cr_assert_eq(a->microbatch, every == 0 ? -1 : last);
                cr_assert(waiting == every ||
                          (waiting > 0 && reduced == l->microbatch_count)); /* the rest */
                waiting = 0;
            }
        }
        cr_assert_eq(reduced, l->microbatch_count);
    }
}

static void expect_csv_again(const struct pp_sched *lowered) {
    struct pp_csv_expect expect = {.stage_count = lowered->stage_count,
                                   .stage_rank = lowered->stage_rank,
                                   .is_lowered = true,
                                   .is_bidirectional = lowered->part_count != lowered->stage_count,
                                   .slice_count = lowered->slice_count};
    struct pp_text csv = {0};
    struct pp_sched *again = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_csv_write(lowered, &csv, NULL), PP_OK);
    cr_assert_eq(pp_sched_csv_parse("again", csv.bytes, csv.size, &expect, &again, &err), PP_OK,
                 "%s", err.message);
    cr_assert_eq(again->action_count, lowered->action_count);
    cr_assert_eq(memcmp(again->actions, lowered->actions,
                        (size_t)lowered->action_count * sizeof *lowered->actions),
                 0);
    pp_sched_destroy(again);
    pp_text_free(&csv);
}

static void expect_options(const struct pp_sched *s, const struct pp_lower_options *o) {
    struct pp_sched *lowered = lower_with(s, o);
    expect_same_compute(s, lowered);
    expect_gathered(lowered, o);
    expect_reduced(lowered, o->reduce_every);
    cr_assert(runs_without_buffers(lowered));
    expect_csv_again(lowered);
    pp_sched_destroy(lowered);
}

static struct pp_lower_options draw_options(uint64_t *seed) {
    return (struct pp_lower_options){.mode = random_below(seed, 2) == 0 ? PP_LOWER_OURS
                                                                        : PP_LOWER_BATCHED,
                                     .max_active_stages = 1 + random_below(seed, 4),
                                     .look_ahead = random_below(seed, 4),
                                     .reshard_after_use = random_below(seed, 2) == 0,
                                     .reduce_every = random_below(seed, 7)};
}

Test(lower_options, laws_hold_for_random_orders) {
    uint64_t seed = 31;
    for (int i = 0; i < 4000; i += CASE_STEP) {
        struct pp_lower_options o = draw_options(&seed);
        struct pp_sched *s = draw_offloading_schedule(&seed);
        expect_options(s, &o);
        pp_sched_destroy(s);
    }
}

Test(lower_options, laws_hold_for_every_generator) {
    uint64_t seed = 32;
    int made = 0;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        for (int32_t m = 4; m <= 12; m += 4) {
            struct pp_gen_config c = {.rank_count = 4,
                                      .stages_per_rank = info->default_stages_per_rank,
                                      .microbatch_count = m};
            struct pp_sched *s = NULL;
            if (pp_schedule_generate(info, &c, &s, NULL) != PP_OK) {
                continue;
            }
            for (int k = 0; k < 4; k++) {
                struct pp_lower_options o = draw_options(&seed);
                expect_options(s, &o);
            }
            pp_sched_destroy(s);
            made++;
        }
    }
    cr_assert_geq(made, 40, "%d", made);
}

static void expect_lowered(const char *text, const struct pp_lower_options *o, const char *want) {
    struct pp_err err = {0};
    struct pp_sched *s = parse_csv(text, &err);
    cr_assert_not_null(s, "%s", err.message);
    struct pp_sched *lowered = lower_with(s, o);
    struct pp_text csv = {0};
    cr_assert_eq(pp_sched_csv_write(lowered, &csv, NULL), PP_OK);
    cr_expect_str_eq(csv.bytes, want);
    pp_text_free(&csv);
    pp_sched_destroy(lowered);
    pp_sched_destroy(s);
}

Test(lower_options, as_written_down) {
    static const char order[] = "0F0,1F0,0F1,1F1,(0F2;1B0)OVERLAP_F_B,1F2,1B1,0B0,1B2,0B1,0B2\n";
    struct pp_lower_options o = {
        .mode = PP_LOWER_OURS, .max_active_stages = 1, .reshard_after_use = true};
    expect_lowered("0F0,0F1,0B0,0B1\n", &o,
                   "0UNSHARD,0F0,0RESHARD,0UNSHARD,0F1,0RESHARD,0UNSHARD,0B0,0RESHARD,"
                   "0UNSHARD,0B1,0REDUCE_GRAD,0RESHARD\r\n");
    o.max_active_stages = 2; /* the next cell's stage comes beside this one's */
    o.reduce_every = 2;
    expect_lowered(order, &o,
                   "0UNSHARD,1UNSHARD,0F0,0RESHARD,0UNSHARD,1F0,1RESHARD,1UNSHARD,0F1,0RESHARD,"
                   "0UNSHARD,1F1,1RESHARD,1UNSHARD,(0F2;1B0)OVERLAP_F_B,0RESHARD,1RESHARD,"
                   "1UNSHARD,1F2,1RESHARD,1UNSHARD,0UNSHARD,1B1,1REDUCE_GRAD1,1RESHARD,"
                   "1UNSHARD,0B0,0RESHARD,0UNSHARD,1B2,1REDUCE_GRAD2,1RESHARD,"
                   "0B1,0REDUCE_GRAD1,0RESHARD,0UNSHARD,0B2,0REDUCE_GRAD2,0RESHARD\r\n");
    o = (struct pp_lower_options){.mode = PP_LOWER_OURS, .max_active_stages = 1, .reduce_every = 1};
    expect_lowered("0F0,0F1,0I1,0B0,0W1\n1F0,1F1,1B1,1B0\n", &o,
                   "0UNSHARD,0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B1,0I1,0RECV_B0,0B0,0REDUCE_GRAD0,"
                   "0W1,0REDUCE_GRAD1,0RESHARD\r\n"
                   "1UNSHARD,1RECV_F0,1F0,1RECV_F1,1F1,1B1,1SEND_B1,1REDUCE_GRAD1,1B0,1SEND_B0,"
                   "1REDUCE_GRAD0,1RESHARD\r\n");
    o.reduce_every = 100;
    expect_lowered("0F0,0F1,0B1,0B0\n", &o, "0UNSHARD,0F0,0F1,0B1,0B0,0REDUCE_GRAD0,0RESHARD\r\n");
}

static void expect_refused(const struct pp_lower_options *o, enum pp_status status,
                           const char *word) {
    struct pp_sched *s = make_schedule("1F1B", 2, 1, 2);
    struct pp_sched *lowered = NULL;
    struct pp_err err = {0};
    cr_expect_eq(pp_sched_lower(s, o, &lowered, &err), status);
    cr_expect_not_null(strstr(err.message, word), "%s", err.message);
    cr_expect_null(lowered);
    pp_sched_destroy(s);
}

Test(lower_options, nonsense_is_refused) {
    for (enum pp_lower_mode mode = 0; mode < PP_LOWER_MODE_COUNT; mode++) {
        struct pp_lower_options o = PP_LOWER_OPTIONS_DEFAULT(mode);
        o.reduce_every = -1;
        expect_refused(&o, PP_E_RANGE, "got -1");
    }
}
