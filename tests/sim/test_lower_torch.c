/* PyTorch's way of lowering against its own files, and against its passes as they are told. */
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

Test(lower_torch, torch_mode_is_pytorchs_byte_for_byte) {
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

Test(lower_torch, torch_mode_is_pytorchs_for_hand_made_orders) {
    cr_assert_geq(each_row(PP_TEST_DIR "/sim/torch_custom.tsv", custom_row, NULL), 90);
}

/* Sums over 20000 walks of a set under random additions and removals, made by CPython 3.11 with the
 * same numbers. */
Test(lower_torch, stage_sets_are_walked_as_cpython_walks_them) {
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

Test(lower_torch, torch_mode_is_what_the_slow_passes_give) {
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

Test(lower_torch, torch_mode_gives_up_where_the_slow_passes_do) {
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
