/* The order files of the field's own programs (../shared/golden/schedules/orders): evaluating each
 * gives the file's times, and where the text fixes the order ours is the same action for action.
 * Kinds in the files: B is the backward for the input, BW the whole one. */
#include "tests/sim/sail_support.h"

#include <dirent.h>

#define ORDERS PP_SHARED_DIR "/golden/schedules/orders"

enum { MAX_ROWS = 4096, TIME_SCALE = 1000, PROFILED_P2P = 601 };

struct order_row {
    int32_t rank, stage, microbatch;
    enum pp_action_type type;
    double start, end;
};

struct order {
    const char *file;
    struct order_row rows[MAX_ROWS];
    int32_t row_count;
    int32_t p, m, slices, stage_count;
    int32_t stage_rank[256];
    double p2p;
};

static struct order order; /* one at a time: too large for the stack of a test */

static int32_t number_after(const char *file, const char *key) {
    const char *at = strstr(file, key);
    cr_assert_not_null(at, "%s", file);
    return (int32_t)strtol(at + strlen(key), NULL, 10);
}

/* rank,idx,op,mb,stage[,seq,chunk],start,end */
static void read_row(char *line, bool has_seq) {
    char *f[12] = {0};
    int n = 0;
    for (char *at = line; n < 12; n++) {
        f[n] = at;
        at = strchr(at, ',');
        if (at == NULL) {
            n++;
            break;
        }
        *at++ = '\0';
    }
    cr_assert_eq(n, has_seq ? 9 : 7, "%s", order.file);
    cr_assert_lt(order.row_count, MAX_ROWS);
    int32_t seq = has_seq ? (int32_t)strtol(f[5], NULL, 10) : 0;
    struct order_row r = {.rank = (int32_t)strtol(f[0], NULL, 10),
                          .stage = (int32_t)strtol(f[4], NULL, 10),
                          .microbatch = (int32_t)strtol(f[3], NULL, 10) * order.slices + seq,
                          .start = strtod(f[n - 2], NULL) * TIME_SCALE,
                          .end = strtod(f[n - 1], NULL) * TIME_SCALE};
    r.type = strcmp(f[2], "F") == 0   ? PP_F
             : strcmp(f[2], "B") == 0 ? PP_I
             : strcmp(f[2], "W") == 0 ? PP_W
                                      : PP_B;
    order.stage_rank[r.stage] = r.rank;
    order.stage_count = r.stage >= order.stage_count ? r.stage + 1 : order.stage_count;
    order.rows[order.row_count++] = r;
}

static void read_order(const char *file) {
    char path[512];
    snprintf(path, sizeof path, ORDERS "/%s", file);
    order =
        (struct order){.file = file, .p = number_after(file, "_p"), .m = number_after(file, "_m")};
    if (strstr(file, "_mem") != NULL) { /* "_m" found the memory first */
        order.m = number_after(strstr(file, "_p"), "_m");
    }
    order.slices = strncmp(file, "seq1f1b", 7) == 0 ? file[7] - '0' : 1;
    order.p2p = strstr(file, "_prof") != NULL ? (double)PROFILED_P2P * TIME_SCALE : 0;
    char *text = NULL;
    size_t size = 0;
    struct pp_err err = {0};
    cr_assert_eq(pp_read_file(path, 1 << 24, &text, &size, &err), PP_OK, "%s", err.message);
    char *line = strchr(text, '\n') + 1; /* the heading */
    bool has_seq = strstr(text, "seq") != NULL && strstr(text, "seq") < line;
    for (char *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        *end = '\0';
        line[strcspn(line, "\r")] = '\0';
        read_row(line, has_seq);
    }
    free(text);
}

static struct pp_sched *sched_of_order(void) {
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_create(order.p, order.stage_count, order.m * order.slices,
                                 order.stage_rank, &s, &err),
                 PP_OK, "%s: %s", order.file, err.message);
    cr_assert_eq(pp_sched_set_slices(s, order.slices, &err), PP_OK);
    for (int32_t i = 0; i < order.row_count; i++) {
        const struct order_row *r = &order.rows[i];
        cr_assert_eq(pp_sched_add(s, r->rank, r->type, r->stage, r->microbatch, &err), PP_OK,
                     "%s: %s", order.file, err.message);
    }
    cr_assert_eq(pp_sched_seal(s, &err), PP_OK, "%s: %s", order.file, err.message);
    return s;
}

/* Durations are told by the file's own rows. */
static void expect_times(const struct pp_sched *s) {
    size_t n = (size_t)s->stage_count;
    int64_t *columns = calloc(5 * n, sizeof *columns);
    for (int32_t i = 0; i < order.row_count; i++) {
        const struct order_row *r = &order.rows[i];
        columns[(size_t)r->type * n + (size_t)r->stage] = (int64_t)(r->end - r->start + 0.5);
    }
    for (size_t i = 0; i < n; i++) {
        columns[4 * n + i] = (int64_t)order.p2p;
    }
    struct pp_costs costs = {.f_ns = columns + PP_F * n,
                             .i_ns = columns + PP_I * n,
                             .w_ns = columns + PP_W * n,
                             .b_ns = columns + PP_B * n,
                             .recv_f_ns = columns + 4 * n,
                             .recv_b_ns = columns + 4 * n};
    struct pp_eval *eval = NULL;
    struct pp_trace trace;
    struct pp_err err = {0};
    cr_assert_eq(pp_eval_create(s, &eval, NULL, &err), PP_OK, "%s: %s", order.file, err.message);
    cr_assert_eq(pp_trace_init(&trace, s, &err), PP_OK);
    cr_assert_eq(pp_eval_run(eval, &costs, &trace, &err), PP_OK);
    for (int32_t i = 0; i < order.row_count; i++) { /* grouped by rank, as the schedule is */
        const struct order_row *r = &order.rows[i];
        cr_expect(trace.start_ns[i] == (int64_t)(r->start + 0.5) &&
                      trace.end_ns[i] == (int64_t)(r->end + 0.5),
                  "%s row %d: %lld to %lld, the file has %.1f to %.1f", order.file, i + 2,
                  (long long)trace.start_ns[i], (long long)trace.end_ns[i], r->start, r->end);
    }
    pp_trace_deinit(&trace);
    pp_eval_destroy(eval);
    free(columns);
}

/* Which of our schedules must have this very order; NULL = none. */
static const char *ours_of(const char *file, int32_t *stages_per_rank_p, int32_t *group_p) {
    static const struct {
        const char *prefix, *schedule;
    } names[] = {{"gpipe_", "GPipe"}, {"1f1b_", "1F1B"}, {"zb-h1_", "ZBH1"}, {"zb-h2_", "ZBH2"}};
    *group_p = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strncmp(file, names[i].prefix, strlen(names[i].prefix)) == 0) {
            *stages_per_rank_p = 1;
            return names[i].schedule;
        }
    }
    if (strncmp(file, "gi2x", 4) == 0) {
        *stages_per_rank_p = 2;
        *group_p = number_after(file, "gi2x");
        return "GIS";
    }
    if (strncmp(file, "torch_", 6) != 0) {
        return NULL;
    }
    static char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(file + 6, "_"), file + 6);
    *stages_per_rank_p = number_after(file, "_v");
    return name;
}

static void expect_same_order(const struct pp_sched *theirs, const char *name, int32_t v,
                              int32_t group) {
    struct pp_gen_config c = {
        .rank_count = order.p, .stages_per_rank = v, .microbatch_count = order.m, .group = group};
    struct pp_sched *ours = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_schedule_generate(find_schedule(name), &c, &ours, &err), PP_OK, "%s: %s",
                 order.file, err.message);
    cr_assert_eq(ours->action_count, theirs->action_count, "%s", order.file);
    for (int32_t at = 0; at < ours->action_count; at++) {
        const struct pp_action *a = &ours->actions[at];
        const struct pp_action *b = &theirs->actions[at];
        cr_assert(a->type == b->type && a->stage == b->stage && a->microbatch == b->microbatch,
                  "%s: action %d differs", order.file, at);
    }
    pp_sched_destroy(ours);
}

Test(orders, the_files_times_are_ours_and_fixed_orders_are_the_same) {
    DIR *folder = opendir(ORDERS);
    if (folder == NULL) {
        cr_skip_test("../shared is not there");
    }
    int timed = 0;
    int same = 0;
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
        if (strstr(e->d_name, ".csv") == NULL || strncmp(e->d_name, "dualpipe", 8) == 0) {
            continue; /* pairs and two pipelines: test_gen_dualpipe.c */
        }
        read_order(e->d_name);
        struct pp_sched *s = sched_of_order();
        expect_times(s);
        timed++;
        int32_t v;
        int32_t group;
        const char *name = ours_of(e->d_name, &v, &group);
        if (name != NULL) {
            expect_same_order(s, name, v, group);
            same++;
        }
        pp_sched_destroy(s);
    }
    closedir(folder);
    cr_assert_gt(timed, 50);
    cr_assert_gt(same, 10);
    cr_log_info("%d files timed, %d of them the same order as ours", timed, same);
}
