/* Ranks over the local transport: every schedule moves every tensor to where it belongs. */
#include "exec/where.h"
#include "tests/exec/runtime_support.h"

static bool is_full(void) {
    return getenv("PP_TEST_FULL") != NULL;
}

static const struct how hows[] = {
    {.buffers = 0},
    {.buffers = 1},
    {.most_polls = 5},
    {.most_polls = 5, .overlaps = true},
    {.latency_ns = 5000},
    {.threads = true},
    {.threads = true, .buffers = 2, .most_polls = 3, .overlaps = true},
};

/* In every way two steps, so that what one leaves behind meets the next. */
static void run_every_way(struct program_case *c, const char *what) {
    static struct run r;
    for (size_t i = 0; i < sizeof hows / sizeof hows[0]; i++) {
        char how[128];
        snprintf(how, sizeof how, "%s, way %zu", what, i);
        run_open(&r, c, &hows[i]);
        run_step_well(&r, 0, how);
        run_step_well(&r, 1, how);
        run_close(&r);
    }
    program_case_deinit(c);
}

static void run_order(struct pp_sched *order, const char *what, void *context) {
    uint64_t *seed = context;
    static struct program_case c;
    program_case_make(&c, order, seed);
    run_every_way(&c, what);
}

/* Few microbatches and more than ranks, as far as the schedule takes them. */
static void run_schedule(const struct pp_schedule_info *info, int32_t p, uint64_t *seed) {
    const int32_t microbatches[] = {2 * p, p + 1, 2};
    int32_t taken = 0;
    for (int k = 0; k < 3 && taken < (CASE_STEP == 1 ? 2 : 1); k++) {
        struct pp_gen_config config = {.rank_count = p,
                                       .stages_per_rank = info->default_stages_per_rank,
                                       .microbatch_count = microbatches[k]};
        struct pp_sched *order = NULL;
        if (pp_schedule_generate(info, &config, &order, NULL) == PP_OK) {
            char what[96];
            snprintf(what, sizeof what, "%s p=%d m=%d", info->name, p, microbatches[k]);
            run_order(order, what, seed);
            taken++;
        }
    }
    cr_assert(taken > 0 || p % 2 == 1, "%s was not run with %d ranks", info->name, p);
}

static void run_all(int32_t p) {
    uint64_t seed = (uint64_t)p;
    for (int32_t i = 0; i < pp_schedule_count(); i++) {
        run_schedule(pp_schedule_at(i), p, &seed);
    }
}

Test(rank, every_schedule_of_two_ranks) {
    run_all(2);
}

Test(rank, every_schedule_of_three_ranks) {
    run_all(3);
}

Test(rank, every_schedule_of_four_ranks) {
    run_all(4);
}

Test(rank, every_schedule_at_many_counts) {
    uint64_t seed = 9;
    if (!is_full()) {
        cr_skip_test("PP_TEST_FULL=1 runs it");
    }
    cr_assert_gt(for_each_schedule(8, run_order, &seed), 100);
}

/* ---- random orders ---- */

Test(rank, random_orders) {
    static struct program_case c;
    static struct run r;
    for (uint64_t seed = 0; seed < (is_full() ? 2000 : 100); seed++) {
        uint64_t state = seed;
        char what[32];
        struct how how = {.buffers = random_below(&state, 3),
                          .most_polls = random_below(&state, 4),
                          .overlaps = random_below(&state, 2) == 0,
                          .threads = seed % 16 == 0};
        snprintf(what, sizeof what, "seed %d", (int)seed);
        program_case_make(&c, draw_sealed_within(&state, &draw_usual), &state);
        if (c.lowered->rank_count <= RUN_RANKS) {
            run_open(&r, &c, &how);
            run_step_well(&r, 0, what);
            run_step_well(&r, 1, what);
            run_close(&r);
        }
        program_case_deinit(&c);
    }
}

/* ---- orders by hand ---- */

static void expect_every_way(struct pp_sched *order, const char *what) {
    static struct program_case c;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_seal(order, &err), PP_OK, "%s: %s", what, err.message);
    make_timed_case(&c, order, 1000, 10);
    run_every_way(&c, what);
}

/* Two copies of a model of so many stages, down and up; where ranks are odd in number, the one in
 * the middle holds both copies of a stage. A rank runs first the backwards that begin nearer to it;
 * with `alternate` all of one copy before the other. */
static struct pp_sched *two_copies(int32_t ranks, int32_t microbatches, bool alternate) {
    int32_t stage_rank[16];
    struct pp_sched *s = NULL;
    for (int32_t stage = 0; stage < ranks; stage++) {
        stage_rank[stage] = stage;
        stage_rank[ranks + stage] = ranks - 1 - stage;
    }
    cr_assert_eq(pp_sched_create(ranks, 2 * ranks, microbatches, stage_rank, &s, NULL), PP_OK);
    cr_assert_eq(pp_sched_set_bidirectional(s, NULL), PP_OK);
    for (int32_t rank = 0; rank < ranks; rank++) {
        for (int32_t part = 0; part < 4; part++) {
            bool forward = alternate ? part % 2 == 0 : part < 2;
            bool is_first = alternate ? part < 2 : part % 2 == 0;
            bool up = is_first == (!forward && rank < ranks / 2);
            up = alternate ? !is_first : up;
            for (int32_t k = 0; k < microbatches; k++) {
                cr_assert_eq(pp_sched_add(s, rank, forward ? PP_F : PP_B,
                                          up ? 2 * ranks - 1 - rank : rank, k, NULL),
                             PP_OK);
            }
        }
    }
    return s;
}

Test(rank, copies_of_a_stage_on_one_rank) {
    for (int32_t ranks = 1; ranks <= 5; ranks++) {
        char what[64];
        snprintf(what, sizeof what, "two copies on %d ranks", ranks);
        expect_every_way(two_copies(ranks, 3, false), what);
    }
    /* One copy is through, and comes to reduce, before the other begins. */
    expect_every_way(two_copies(1, 3, true), "two copies, one after the other");
}

/* The second part of a pair takes what the first makes: it waits for it, overlapping or not. */
Test(rank, a_pair_that_hands_over_within) {
    const int32_t stage_rank[] = {0, 1};
    struct pp_sched *s = NULL;
    cr_assert_eq(pp_sched_create(2, 2, 4, stage_rank, &s, NULL), PP_OK);
    for (int32_t k = 0; k < 4; k++) {
        cr_assert_eq(pp_sched_add(s, 0, PP_F, 0, k, NULL), PP_OK);
        cr_assert_eq(pp_sched_add_pair(s, 1, PP_F, 1, k, PP_B, 1, k, NULL), PP_OK);
    }
    for (int32_t k = 0; k < 4; k++) {
        cr_assert_eq(pp_sched_add(s, 0, PP_B, 0, k, NULL), PP_OK);
    }
    expect_every_way(s, "a pair of the same microbatch");
}

/* ---- exchanges ---- */

enum { LATE_POLLS = 20 };

/* A transport that takes its time to send gradients, as a network does that reads them where they
 * are. */
struct slow {
    const struct pp_transport_ops *inner;
    void *endpoint;
    const struct pp_program *program;
    int32_t rank, polls;
    bool sending;
};

static enum pp_status slow_send(void *endpoint, const struct pp_message *m, struct pp_err *err) {
    struct slow *s = endpoint;
    s->sending = s->program->channels[m->channel].copies;
    s->polls = 0;
    return s->inner->post_send(s->endpoint, m, err);
}

static enum pp_status slow_receive(void *endpoint, const struct pp_message *m, struct pp_err *err) {
    struct slow *s = endpoint;
    return s->inner->post_recv(s->endpoint, m, err);
}

static enum pp_status slow_test(void *endpoint, const struct pp_message *m, bool *done_p,
                                struct pp_err *err) {
    struct slow *s = endpoint;
    const struct pp_channel *channel = &s->program->channels[m->channel];
    PP_TRY(s->inner->test(s->endpoint, m, done_p, err));
    if (channel->copies && channel->from_rank == s->rank) {
        *done_p = *done_p && ++s->polls >= LATE_POLLS;
        s->sending = !*done_p;
    }
    return PP_OK;
}

static bool slow_under_way(void *endpoint) {
    return ((const struct slow *)endpoint)->sending;
}

static const struct pp_transport_ops slow_ops = {.api = PP_TRANSPORT_API,
                                                 .name = "slow",
                                                 .post_send = slow_send,
                                                 .post_recv = slow_receive,
                                                 .test = slow_test,
                                                 .under_way = slow_under_way};

static struct slow slows[2];
static int32_t reduced;

/* Adding to what is still being read would send something else. */
static enum pp_status reduce_only_what_is_sent(void *context, const struct pp_work *w,
                                               struct pp_err *err) {
    if (w->action.type == PP_REDUCE_GRAD) {
        cr_assert_not(slows[pp_rank_of(w->program->sched, w->index)].sending);
        reduced++;
    }
    return token_ops.start(context, w, err);
}

Test(rank, gradients_are_added_to_when_they_are_sent) {
    static struct program_case c;
    static struct run r;
    struct pp_compute_ops ops = token_ops;
    ops.start = reduce_only_what_is_sent;
    make_timed_case(&c, make_schedule("DualPipe", 2, 2, 4), 1000, 100);
    run_open(&r, &c, &(struct how){0});
    pp_drive_destroy(r.drive);
    for (int32_t i = 0; i < 2; i++) {
        slows[i] = (struct slow){.inner = r.transport.ops,
                                 .endpoint = r.transport.endpoints[i],
                                 .program = c.program,
                                 .rank = i};
        pp_rank_destroy(r.ranks[i]);
        const struct pp_rank_config config = {.program = c.program,
                                              .rank = i,
                                              .compute = &ops,
                                              .compute_context = r.contexts[i],
                                              .transport = &slow_ops,
                                              .endpoint = &slows[i],
                                              .arena = r.arenas[i],
                                              .host_arena = r.host_arenas[i],
                                              .trace = &r.trace};
        cr_assert_eq(pp_rank_create(&config, &r.ranks[i], &r.err), PP_OK);
    }
    const struct pp_drive_options drive = {0};
    cr_assert_eq(pp_drive_create(r.ranks, 2, c.program, &drive, &r.drive, &r.err), PP_OK);
    run_step_well(&r, 0, "gradients are sent late");
    cr_assert_eq(reduced, c.lowered->stage_count);
    cr_assert_geq(slows[1].polls, LATE_POLLS);
    run_close(&r);
    program_case_deinit(&c);
}
