#include "reports/split_changes.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct pp_split_asked ask(const char *schedule, int32_t layers, int32_t pp,
                                 int32_t per_stage, enum pp_round round) {
    struct pp_split_asked asked = {
        .req = {.layer_count = layers,
                .pp_size = pp,
                .has_layers_per_stage = per_stage != -9,
                .layers_per_stage = per_stage,
                .round = round},
        .schedule = schedule,
    };
    if (pp_schedule_find(schedule, &asked.info, NULL) == PP_OK) {
        pp_split_use_schedule(&asked.req, asked.info);
    }
    return asked;
}

static bool works(const struct pp_split_asked *asked) {
    struct pp_split split;
    return asked->info != NULL && pp_split_stages(&asked->req, &split, NULL) == PP_OK &&
           pp_place_check_automodel(asked->info->automodel_placement, asked->req.pp_size,
                                    split.stage_count, NULL) == PP_OK;
}

static int32_t apply(struct pp_split_asked *asked, const struct pp_split_change *c) {
    int32_t options = 0;
    if (c->sets_layers) {
        asked->req.layer_count = c->layer_count;
        options++;
    }
    if (c->rest.sets_layers_per_stage) {
        asked->req.has_layers_per_stage = true;
        asked->req.layers_per_stage = c->rest.layers_per_stage;
        options++;
    }
    if (c->rest.sets_round) {
        asked->req.round = c->rest.round;
        options++;
    }
    if (c->rest.sets_pp) {
        asked->req.pp_size = c->rest.pp_size;
        options++;
    }
    if (c->schedule != NULL) {
        asked->info = c->schedule;
        pp_split_use_schedule(&asked->req, c->schedule);
        options++;
    }
    return options;
}

/* Every change of one refusal works, in the order promised. @return their number */
static int32_t check(const struct pp_split_asked *asked) {
    struct pp_split_change changes[PP_SPLIT_MAX_CHANGES];
    int32_t count = pp_split_changes(asked, changes);
    int32_t options_before = 1;
    int64_t distance_before = 0;
    cr_assert_gt(count, 0, "%s: layers %d, pp %d, per stage %d (%d), round %d", asked->schedule,
                 asked->req.layer_count, asked->req.pp_size, asked->req.layers_per_stage,
                 asked->req.has_layers_per_stage, (int)asked->req.round);
    for (int32_t i = 0; i < count; i++) {
        struct pp_split_asked after = *asked;
        int32_t options = apply(&after, &changes[i]);
        struct pp_text text = {0};
        pp_split_change_text(&changes[i], &text);
        cr_assert(works(&after), "%s: layers %d, pp %d, per stage %d, round %d: change %s",
                  asked->schedule, asked->req.layer_count, asked->req.pp_size,
                  asked->req.layers_per_stage, (int)asked->req.round, text.bytes);
        pp_text_free(&text);
        int64_t distance = 0;
        if (changes[i].rest.sets_layers_per_stage && asked->req.has_layers_per_stage) {
            distance =
                llabs((long long)changes[i].rest.layers_per_stage - asked->req.layers_per_stage);
        }
        cr_assert_geq(options, options_before);
        cr_assert(options > options_before || distance >= distance_before);
        options_before = options;
        distance_before = distance;
    }
    return count;
}

Test(split_changes, each_works_for_every_refusal_of_a_grid) {
    const char *schedules[] = {"1F1B",      "Interleaved1F1B", "ZBVZeroBubble",
                               "DualPipeV", "v_schedule",      "bogus"};
    const int32_t layers[] = {0, 2, 5, 12, 61};
    const int32_t ranks[] = {0, 2, 3, 16};
    const int32_t per_stage[] = {-9, 0, 2, 3, 8};
    int refused = 0;
    for (size_t s = 0; s < sizeof schedules / sizeof schedules[0]; s++) {
        for (size_t l = 0; l < sizeof layers / sizeof layers[0]; l++) {
            for (size_t p = 0; p < sizeof ranks / sizeof ranks[0]; p++) {
                for (size_t n = 0; n < sizeof per_stage / sizeof per_stage[0]; n++) {
                    for (enum pp_round round = PP_ROUND_NONE; round <= PP_ROUND_COUNT; round++) {
                        struct pp_split_asked asked =
                            ask(schedules[s], layers[l], ranks[p], per_stage[n], round);
                        if (!works(&asked)) {
                            check(&asked);
                            refused++;
                        }
                    }
                }
            }
        }
    }
    cr_assert_gt(refused, 1500, "%d", refused);
}

Test(split_changes, values_far_out_of_range_have_some) {
    struct pp_split_asked asked = ask("Interleaved1F1B", PP_MAX_LAYERS + 1, 0, 0, PP_ROUND_COUNT);
    check(&asked);
    asked = ask("bogus", PP_MAX_LAYERS, PP_MAX_RANKS + 1, -9, PP_ROUND_NONE);
    check(&asked);
}

static void expect_first(const struct pp_split_asked *asked, const char *wanted) {
    struct pp_split_change changes[PP_SPLIT_MAX_CHANGES];
    cr_assert_gt(pp_split_changes(asked, changes), 0);
    struct pp_text text = {0};
    pp_split_change_text(&changes[0], &text);
    cr_assert_str_eq(text.bytes, wanted);
    pp_text_free(&text);
}

Test(split_changes, the_smallest_comes_first) {
    struct pp_split_asked asked = ask("1F1B", 32, 4, 7, PP_ROUND_NONE);
    expect_first(&asked, "--round down");
    asked = ask("ZBVZeroBubble", 32, 4, 2, PP_ROUND_NONE);
    expect_first(&asked, "--pp 8");
    asked = ask("zero_bubble", 32, 4, -9, PP_ROUND_NONE);
    expect_first(&asked, "--schedule InterleavedZeroBubble");
    asked = ask("1F1B", 0, 4, 3, PP_ROUND_NONE);
    expect_first(&asked, "--layers 10");
    asked = ask("1F1B", 32, 4, 8, PP_ROUND_COUNT);
    expect_first(&asked, "--round up");
}

Test(split_changes, a_schedule_that_would_hang_is_not_advised) {
    struct pp_split_asked asked = ask("DualPipeW", 32, 4, -9, PP_ROUND_NONE);
    struct pp_split_change changes[PP_SPLIT_MAX_CHANGES];
    int32_t count = pp_split_changes(&asked, changes);
    for (int32_t i = 0; i < count; i++) {
        cr_assert_str_neq(changes[i].schedule->name, "DualPipeV");
    }
}
