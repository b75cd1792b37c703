#include "tests/sim/lower_support.h"

#include "sim/lower_priv.h"
#include "tests/sim/random_sched.h"

/* ---- PyTorch's own files ---- */

static void expect_torch(const struct pp_sched *s, const char *digits, const char *label) {
    struct pp_sched *lowered = lower(s, PP_LOWER_TORCH);
    cr_expect(has_id(lowered, digits), "%s", label);
    pp_sched_destroy(lowered);
}

static void index_row(char *f[MAX_FIELDS], int count, void *context) {
    int *equal = context;
    cr_assert_eq(count, 7);
    if (strcmp(f[6], "-") == 0) {
        return;
    }
    struct pp_sched *s =
        make_schedule(f[0], (int32_t)strtol(f[1], NULL, 10), (int32_t)strtol(f[2], NULL, 10),
                      (int32_t)strtol(f[3], NULL, 10));
    char label[96];
    snprintf(label, sizeof label, "%s pp %s v %s m %s", f[0], f[1], f[2], f[3]);
    expect_torch(s, f[6], label);
    pp_sched_destroy(s);
    ++*equal;
}

Test(lower, torch_mode_is_pytorchs_byte_for_byte) {
    int rows = 0;
    each_row(PP_TEST_DIR "/sim/torch_index.tsv", index_row, &rows);
    cr_assert_geq(rows, 400);
    cr_log_info("lowered orders of PyTorch's schedules: %d", rows);
}

static void custom_row(char *f[MAX_FIELDS], int count, void *context) {
    (void)context;
    cr_assert_eq(count, 7);
    struct pp_sched *s = parse_custom(f);
    expect_torch(s, f[5], f[6]);
    pp_sched_destroy(s);
}

Test(lower, torch_mode_is_pytorchs_for_hand_made_orders) {
    cr_assert_geq(each_row(PP_TEST_DIR "/sim/torch_custom.tsv", custom_row, NULL), 90);
}

/* Sums over 20000 walks of a set under random additions and removals, made by CPython 3.11 with the
 * same numbers. */
Test(lower, stage_sets_are_walked_as_cpython_walks_them) {
    static const struct {
        int32_t most, stages;
        const char *digits;
    } rows[] = {{4, 16, "170a0d3cf25bb889"},
                {4, 200, "73d19e27b5d26d49"},
                {12, 64, "08cb8981e7786b1b"},
                {60, 5000, "837e8567afa32b1d"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static int32_t slots[1024];
        static int32_t spare[1024];
        static bool has[5000];
        memset(has, 0, sizeof has);
        cr_assert_leq(pp_stage_set_most_slots(rows[i].most), 1024);
        struct pp_stage_set set = {.slots = slots};
        pp_stage_set_clear(&set);
        struct pp_sha256 hash;
        pp_sha256_begin(&hash);
        uint64_t seed = 7;
        for (int n = 0; n < 20000; n++) {
            int32_t stage = random_below(&seed, rows[i].stages);
            if (has[stage]) {
                pp_stage_set_remove(&set, stage);
                has[stage] = false;
            } else if (set.used < rows[i].most) {
                pp_stage_set_add(&set, stage, spare);
                has[stage] = true;
            }
            const char *comma = "";
            for (int32_t k = 0; k < set.slot_count; k++) {
                char text[16];
                if (slots[k] >= 0) {
                    snprintf(text, sizeof text, "%s%d", comma, slots[k]);
                    pp_sha256_add(&hash, text, strlen(text));
                    comma = ",";
                }
            }
            pp_sha256_add(&hash, "\n", 1);
        }
        char hex[65];
        pp_sha256_end(&hash, hex);
        cr_expect_eq(strncmp(hex, rows[i].digits, 16), 0, "%d of %d: %s", rows[i].most,
                     rows[i].stages, hex);
    }
}

/* ---- PyTorch's passes as they are told, slowly ---- */

enum { SLOW_MOST = 4096 };

/* A rank's list; each entry one action or a pair. */
struct slow_list {
    int32_t count;
    struct slow_item {
        struct pp_action part[2];
        int32_t size;
    } items[SLOW_MOST];
};

static void slow_add(struct slow_list *list, struct slow_item item) {
    cr_assert_lt(list->count, SLOW_MOST);
    list->items[list->count++] = item;
}

static void slow_add_type(struct slow_list *list, enum pp_action_type type, int32_t stage,
                          int32_t microbatch) {
    struct pp_action a = {.type = (uint8_t)type, .stage = stage, .microbatch = microbatch};
    slow_add(list, (struct slow_item){.part = {a}, .size = 1});
}

static bool holds(const int32_t *list, int32_t count, int32_t stage) {
    for (int32_t i = 0; i < count; i++) {
        if (list[i] == stage) {
            return true;
        }
    }
    return false;
}

/* The distinct stages used from item `at` on, up to the bound. */
static int32_t slow_wanted(const struct slow_list *list, int32_t at, int32_t bound,
                           int32_t *wanted) {
    int32_t count = 0;
    for (; at < list->count; at++) {
        const struct slow_item *item = &list->items[at];
        bool added = false;
        for (int32_t i = 0; i < item->size; i++) {
            if (!holds(wanted, count, item->part[i].stage)) {
                wanted[count++] = item->part[i].stage;
                added = true;
            }
        }
        if (item->size == 2 ? count >= bound : added && count == bound) {
            break;
        }
    }
    return count;
}

static void slow_gather(const struct slow_list *in, int32_t bound, struct slow_list *out) {
    int32_t slots[1024];
    int32_t spare[1024];
    struct pp_stage_set active = {.slots = slots};
    pp_stage_set_clear(&active);
    for (int32_t at = 0; at <= in->count; at++) {
        int32_t wanted[64];
        int32_t count = slow_wanted(in, at, bound, wanted);
        int32_t evict[64];
        int32_t evict_count = 0;
        for (int32_t i = 0; i < active.slot_count; i++) {
            if (slots[i] >= 0 && !holds(wanted, count, slots[i])) {
                evict[evict_count++] = slots[i];
            }
        }
        for (int32_t i = 0; i < evict_count; i++) {
            pp_stage_set_remove(&active, evict[i]);
            slow_add_type(out, PP_RESHARD, evict[i], -1);
        }
        for (int32_t i = 0; i < count; i++) {
            if (!holds(slots, active.slot_count, wanted[i])) {
                pp_stage_set_add(&active, wanted[i], spare);
                slow_add_type(out, PP_UNSHARD, wanted[i], -1);
            }
        }
        if (at < in->count) {
            slow_add(out, in->items[at]);
        }
    }
}

static void slow_reduce(const struct slow_list *in, int32_t microbatch_count,
                        struct slow_list *out) {
    int32_t done[64] = {0};
    for (int32_t at = 0; at < in->count; at++) {
        const struct slow_item *item = &in->items[at];
        slow_add(out, *item);
        for (int32_t i = 0; i < item->size; i++) {
            const struct pp_action *a = &item->part[i];
            if ((a->type == PP_W || a->type == PP_B) && ++done[a->stage] == microbatch_count) {
                slow_add_type(out, PP_REDUCE_GRAD, a->stage, -1);
            }
        }
    }
}

/* have[rank][type][stage][microbatch] */
typedef bool slow_have[8][PP_ACTION_TYPE_COUNT][16][8];

static bool slow_ready(const struct pp_sched *s, const slow_have have, int32_t rank,
                       const struct slow_item *item) {
    for (int32_t i = 0; i < item->size; i++) {
        const struct pp_action *a = &item->part[i];
        int32_t m = a->microbatch;
        int32_t g = a->stage;
        if (a->type == PP_F && g > 0 && !have[rank][PP_RECV_F][g][m] &&
            !have[rank][PP_F][g - 1][m]) {
            return false;
        }
        if ((a->type == PP_I || a->type == PP_B) && g < s->stage_count - 1 &&
            !have[rank][PP_RECV_B][g][m] && !have[rank][PP_I][g + 1][m] &&
            !have[rank][PP_B][g + 1][m]) {
            return false;
        }
    }
    return true;
}

static void slow_run(const struct pp_sched *s, slow_have have, int32_t rank,
                     const struct slow_item *item, struct slow_list *out) {
    slow_add(&out[rank], *item);
    for (int32_t i = 0; i < item->size; i++) {
        const struct pp_action *a = &item->part[i];
        if (a->microbatch < 0) {
            continue;
        }
        have[rank][a->type][a->stage][a->microbatch] = true;
        int32_t other = a->type == PP_F                      ? a->stage + 1
                        : a->type == PP_I || a->type == PP_B ? a->stage - 1
                                                             : -1;
        if (other < 0 || other == s->stage_count || s->stage_rank[other] == rank) {
            continue;
        }
        int32_t receiver = s->stage_rank[other];
        enum pp_action_type recv = a->type == PP_F ? PP_RECV_F : PP_RECV_B;
        slow_add_type(&out[rank], a->type == PP_F ? PP_SEND_F : PP_SEND_B, a->stage, a->microbatch);
        slow_add_type(&out[receiver], recv, other, a->microbatch);
        have[receiver][recv][other][a->microbatch] = true;
    }
}

/* @return whether all came to the end */
static bool slow_transfers(const struct pp_sched *s, const struct slow_list *in,
                           struct slow_list *out) {
    static slow_have have;
    memset(have, 0, sizeof have);
    int32_t next[8] = {0};
    bool progress = true;
    bool unfinished = true;
    while (progress && unfinished) {
        progress = false;
        unfinished = false;
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            if (next[rank] == in[rank].count) {
                continue;
            }
            unfinished = true;
            const struct slow_item *item = &in[rank].items[next[rank]];
            if (slow_ready(s, have, rank, item)) {
                slow_run(s, have, rank, item, out);
                next[rank]++;
                progress = true;
            }
        }
    }
    return !unfinished;
}

/* Lowers slowly and writes it as CSV; false where PyTorch would give up. */
static bool slow_lower(const struct pp_sched *s, int32_t bound, struct pp_text *csv) {
    static struct slow_list compute[8], gathered[8], reduced[8], lowered[8];
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        compute[rank].count = gathered[rank].count = reduced[rank].count = lowered[rank].count = 0;
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            struct slow_item item = {.part = {s->actions[at]}, .size = 1};
            if (s->actions[at].pair == 1) {
                item.part[item.size++] = s->actions[++at];
            }
            slow_add(&compute[rank], item);
        }
        slow_gather(&compute[rank], bound, &gathered[rank]);
        slow_reduce(&gathered[rank], s->microbatch_count, &reduced[rank]);
    }
    if (!slow_transfers(s, reduced, lowered)) {
        return false;
    }
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        for (int32_t at = 0; at < lowered[rank].count; at++) {
            const struct slow_item *item = &lowered[rank].items[at];
            char text[2][PP_ACTION_TEXT_BYTES];
            pp_action_text(&item->part[0], text[0]);
            pp_action_text(&item->part[1], text[1]);
            pp_text_puts(csv, at == 0 ? "" : ",");
            if (item->size == 2) {
                pp_text_printf(csv, "(%s;%s)OVERLAP_F_B", text[0], text[1]);
            } else {
                pp_text_puts(csv, text[0]);
            }
        }
        pp_text_puts(csv, "\r\n");
    }
    return true;
}

static void expect_slow(const struct pp_sched *s, int32_t bound, int *deadlocks) {
    struct pp_lower_options options = PP_LOWER_OPTIONS_DEFAULT(PP_LOWER_TORCH);
    options.max_active_stages = bound;
    struct pp_sched *lowered = NULL;
    struct pp_err err = {0};
    enum pp_status status = pp_sched_lower(s, &options, &lowered, &err);
    struct pp_text slow = {0};
    if (slow_lower(s, bound, &slow)) {
        cr_assert_eq(status, PP_OK, "%s", err.message);
        struct pp_text fast = {0};
        cr_assert_eq(pp_sched_csv_write(lowered, &fast, NULL), PP_OK);
        cr_assert_str_eq(fast.bytes, slow.bytes);
        pp_text_free(&fast);
    } else {
        cr_assert_eq(status, PP_E_DEADLOCK);
        cr_assert_not_null(strstr(err.message, " waits in "), "%s", err.message);
        ++*deadlocks;
    }
    pp_text_free(&slow);
    pp_sched_destroy(lowered);
}

Test(lower, torch_mode_is_what_the_slow_passes_give) {
    uint64_t seed = 3;
    int deadlocks = 0;
    for (int i = 0; i < 3000; i++) {
        struct pp_sched *s = draw_schedule(&seed);
        cr_assert_eq(pp_sched_seal(s, NULL), PP_OK);
        expect_slow(s, 1 + i % 5, &deadlocks);
        pp_sched_destroy(s);
    }
    cr_expect_eq(deadlocks, 0);
}

/* Rows shuffled as far as each stays legal by itself, so that many wait in a cycle. */
static struct pp_sched *draw_tangled(uint64_t *seed) {
    struct pp_sched *source = draw_schedule(seed);
    cr_assert_eq(pp_sched_seal(source, NULL), PP_OK);
    struct pp_sched *s = NULL;
    for (int attempt = 0;; attempt++) {
        pp_sched_create(source->rank_count, source->stage_count, source->microbatch_count,
                        source->stage_rank, &s, NULL);
        for (int32_t rank = 0; rank < s->rank_count; rank++) {
            int32_t begin = source->rank_begin[rank];
            int32_t swapped = begin + random_below(seed, source->rank_begin[rank + 1] - begin);
            for (int32_t at = begin; at < source->rank_begin[rank + 1]; at++) {
                int32_t from = at;
                if (attempt < 50 && swapped + 1 < source->rank_begin[rank + 1]) {
                    from = at == swapped ? at + 1 : at == swapped + 1 ? swapped : at;
                }
                const struct pp_action *a = &source->actions[from];
                pp_sched_add(s, rank, a->type, a->stage, a->microbatch, NULL);
            }
        }
        if (pp_sched_seal(s, NULL) == PP_OK) {
            pp_sched_destroy(source);
            return s;
        }
        pp_sched_destroy(s);
    }
}

Test(lower, torch_mode_gives_up_where_the_slow_passes_do) {
    uint64_t seed = 4;
    int deadlocks = 0;
    for (int i = 0; i < 3000; i++) {
        struct pp_sched *s = draw_tangled(&seed);
        expect_slow(s, 3, &deadlocks);
        pp_sched_destroy(s);
    }
    cr_expect_geq(deadlocks, 100);
    cr_log_info("deadlocks: %d of 3000", deadlocks);
}

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

/* The compute actions, gathers and reductions are those of PyTorch's mode, but for the order in
 * which several stages are freed at once; so compare the compute only. */
static void expect_same_compute(const struct pp_sched *s, const struct pp_sched *lowered) {
    int32_t at = 0;
    for (int32_t i = 0; i < lowered->action_count; i++) {
        const struct pp_action *a = &lowered->actions[i];
        if (a->type <= PP_B || a->type >= PP_OFFLOAD) {
            const struct pp_action *b = &s->actions[at++];
            cr_assert(a->type == b->type && a->stage == b->stage &&
                      a->microbatch == b->microbatch && a->pair == b->pair);
        }
    }
    cr_assert_eq(at, s->action_count);
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
