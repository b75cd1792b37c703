/* What PyTorch runs but gets wrong without a word. */
#include "sim/lower.h"
#include "sim/schedule_warn.h"
#include "tests/sim/sim_support.h"

struct warned {
    const char *text;
    bool is_lowered;
    const char *name;  /* of the schedule, or NULL */
    const char *codes; /* in order, with a blank behind each */
    const char *word;  /* of the first message */
};

static const char v_shaped[] = /* both directions between each two ranks */
    "0F0,0SEND_F0,3RECV_F0,3F0,3B0,3SEND_B0,0RECV_B0,0B0\n"
    "1RECV_F0,1F0,2F0,2SEND_F0,2RECV_B0,2B0,1B0,1SEND_B0\n";

static const struct warned rows[] = {
    {"0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n", false, NULL, "", NULL},
    {"0F1,0F0,0B0,0B1\n1F1,1B1,1F0,1B0\n", false, NULL, "W_LOSS_ORDER ", "row 2, column 3: 1F0"},
    {"0F1,0F0,0B0,0B1\n1F0,1B0,1F1,1B1\n", false, NULL, "", NULL}, /* only the last stage's count */
    {"0F0,0F1,0B1,0B0\n1F0,1F1,1B1,1B0\n", false, NULL, "", NULL}, /* nor do backwards */
    {"0F0,3F0,3B0,0B0\n1F0,2F0,2B0,1B0\n", false, NULL, "", NULL},
    {"0F0,3F0,3B0,0B0\n1F0,2F0,2B0,1B0\n", false, "ZBVZeroBubble", "", NULL},
    {"0F0,3F0,3B0,0B0\n1F0,2F0,2B0,1B0\n", false, "DualPipeV", "W_PLACEMENT ", "stage 2 runs on"},
    {"0F0,3F0,3B0,0B0\n1F0,2F0,2B0,1B0\n", false, "Interleaved1F1B", "W_PLACEMENT ", "loop"},
    {"0F0,2F0,2B0,0B0\n1F0,3F0,3B0,1B0\n", false, "Interleaved1F1B", "", NULL},
    {"0F0,2F0,2B0,0B0\n1F0,3F0,3B0,1B0\n", false, "ZBVZeroBubble", "W_PLACEMENT ", "in a V"},
    {"0F0,2F0,2B0,0B0\n1F0,1B0\n", false, "ZBVZeroBubble", "W_PLACEMENT ",
     "cannot build 3 stages on 2 ranks in a V"},
    {"0F0,2F0,2B0,0B0\n1F0,1B0\n", false, "Chimera", "", NULL}, /* Automodel has no such name */
    {v_shaped, true, NULL, "", NULL},
    {"0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1\n"
     "1RECV_F1,1RECV_F0,1F0,1B0,1SEND_B0,1F1,1B1,1SEND_B1\n",
     true, NULL, "W_FIFO ", "row 2, column 1: 1RECV_F1 is message 1"},
    {"0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,0B0,0RECV_B1,0B1\n"
     "1RECV_F0,1RECV_F1,1F1,1F0,1B0,1SEND_B0,1B1,1SEND_B1\n",
     true, NULL, "W_LOSS_ORDER ", "1F0 runs after 1F1"},
};

Test(schedule_warn, finds_what_is_wrong_and_nothing_else) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct warned *row = &rows[i];
        const struct pp_schedule_info *info = row->name == NULL ? NULL : find_schedule(row->name);
        struct pp_csv_expect expect = {.is_lowered = row->is_lowered};
        struct pp_sched *s = NULL;
        struct pp_err err = {0};
        struct pp_sched_warnings w;
        cr_assert_eq(pp_sched_csv_parse("w", row->text, strlen(row->text), &expect, &s, &err),
                     PP_OK, "%zu: %s", i, err.message);
        cr_assert_eq(pp_sched_warn(s, info, &w, &err), PP_OK);
        char codes[64] = "";
        for (int32_t k = 0; k < w.count; k++) {
            strcat(strcat(codes, w.items[k].code), " ");
            cr_log_info("%s %s", w.items[k].code, w.items[k].message);
        }
        cr_expect_str_eq(codes, row->codes, "row %zu", i);
        cr_expect(row->word == NULL || strstr(w.items[0].message, row->word) != NULL, "row %zu: %s",
                  i, w.items[0].message);
        pp_sched_destroy(s);
    }
}

/* Stages 0 and 1 are the model from one end, 2 and 3 its copy from the other. */
Test(schedule_warn, the_last_stage_of_either_pipeline_counts) {
    static const struct {
        const char *text, *word; /* NULL: no warning */
    } cases[] = {
        {"0F0,0F1,3F0,3F1,3B0,3B1,0B0,0B1\n2F0,2F1,1F0,1F1,1B0,1B1,2B0,2B1\n", NULL},
        {"0F0,0F1,3F0,3F1,3B0,3B1,0B0,0B1\n2F0,2F1,1F1,1F0,1B0,1B1,2B0,2B1\n", "1F0 runs after"},
        {"0F0,0F1,3F1,3F0,3B0,3B1,0B0,0B1\n2F0,2F1,1F0,1F1,1B0,1B1,2B0,2B1\n", "3F0 runs after"},
    };
    struct pp_csv_expect expect = {.is_bidirectional = true};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pp_sched *s = NULL;
        struct pp_err err = {0};
        struct pp_sched_warnings w;
        cr_assert_eq(
            pp_sched_csv_parse("w", cases[i].text, strlen(cases[i].text), &expect, &s, &err), PP_OK,
            "%s", err.message);
        cr_assert_eq(pp_sched_warn(s, NULL, &w, &err), PP_OK);
        cr_assert_eq(w.count, cases[i].word != NULL, "%zu", i);
        cr_expect(w.count == 0 || strstr(w.items[0].message, cases[i].word) != NULL, "%s",
                  w.items[0].message);
        pp_sched_destroy(s);
    }
}

Test(schedule_warn, lowered_schedules_of_every_generator_are_fifo) {
    int made = 0;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        const struct pp_schedule_info *info = pp_schedule_at(i);
        for (enum pp_lower_mode mode = PP_LOWER_TORCH; mode <= PP_LOWER_OURS; mode++) {
            struct pp_gen_config c = {.rank_count = 4,
                                      .stages_per_rank = info->default_stages_per_rank,
                                      .microbatch_count = 16};
            struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(mode);
            struct pp_sched *s = NULL;
            struct pp_sched *lowered = NULL;
            struct pp_sched_warnings w;
            if (pp_schedule_generate(info, &c, &s, NULL) != PP_OK) {
                continue;
            }
            made++;
            cr_assert_eq(pp_sched_lower(s, &options, &lowered, NULL), PP_OK);
            cr_assert_eq(pp_sched_warn(lowered, NULL, &w, NULL), PP_OK);
            for (int32_t k = 0; k < w.count; k++) {
                cr_expect_str_neq(w.items[k].code, "W_FIFO", "%s: %s", info->name,
                                  w.items[k].message);
            }
            pp_sched_destroy(lowered);
            pp_sched_destroy(s);
        }
    }
    cr_assert_geq(made, 14);
}
