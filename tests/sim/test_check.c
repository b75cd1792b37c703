/* The verdict: against an exhaustive search, and on what is known of real schedules. */
#include "sim/lower.h"
#include "tests/sim/check_oracle.h"
#include "tests/sim/check_support.h"

/* The exhaustive search takes minutes for everything: PP_TEST_FULL=1 asks for that, else a part is
 * searched, chosen by its number. */
enum {
    RANDOM_COUNT = CASE_STEP > 1 ? 1000 : 10000,
    PART = CASE_STEP > 1 ? 400 : 40,
    SMALL_PART = CASE_STEP > 1 ? 40 : 1,
};
enum { FULL_RANDOM_COUNT = 1000000 };

static bool is_full(void) {
    return getenv("PP_TEST_FULL") != NULL;
}

/* One in how many is searched, unless all are. */
static int32_t stride(int32_t part) {
    return is_full() ? 1 : part;
}

/* ---- small programs, written down action by action ---- */

enum { PROGRAM_RANKS = 3, PROGRAM_LENGTH = 8 };

/* Six stages looped over three ranks, so that every rank can send to every other one. */
struct program {
    struct pp_sched s;
    int32_t stage_rank[2 * PROGRAM_RANKS];
    int32_t rank_begin[PROGRAM_RANKS + 1];
    struct pp_action actions[PROGRAM_RANKS * PROGRAM_LENGTH];
    int32_t producer[PROGRAM_RANKS * PROGRAM_LENGTH];
};

static void program_init(struct program *p) {
    *p = (struct program){.stage_rank = {0, 1, 2, 0, 1, 2}};
    p->s = (struct pp_sched){.rank_count = PROGRAM_RANKS,
                             .stage_count = 2 * PROGRAM_RANKS,
                             .part_count = 2 * PROGRAM_RANKS,
                             .microbatch_count = 1,
                             .slice_count = 1,
                             .stage_rank = p->stage_rank,
                             .rank_begin = p->rank_begin,
                             .actions = p->actions,
                             .producer = p->producer,
                             .lowered = true,
                             .sealed = true};
}

/* A SEND of `rank` to `peer`, or its RECV from it: forwards to the rank after, backwards else. */
static struct pp_action transfer(int32_t rank, int32_t peer, bool is_send) {
    bool forward = (is_send ? rank + 1 : peer + 1) % PROGRAM_RANKS == (is_send ? peer : rank);
    /* stages 0 to 3 hold borders 0|1, 1|2, 2|0; the sender of a backward is the later stage */
    int32_t from = is_send ? rank : peer;
    int32_t stage;
    if (forward) {
        stage = is_send ? from : from + 1;
    } else {
        int32_t sender = from == 0 ? 3 : from;
        stage = is_send ? sender : sender - 1;
    }
    return (struct pp_action){.stage = stage,
                              .type = (uint8_t)(is_send ? (forward ? PP_SEND_F : PP_SEND_B)
                                                        : (forward ? PP_RECV_F : PP_RECV_B))};
}

static void program_add(struct program *p, struct pp_action a, int32_t producer) {
    p->producer[p->s.action_count] = producer;
    p->actions[p->s.action_count++] = a;
}

/* ---- all programs of sends and receives ---- */

enum { RAW_LENGTH = 4, RAW_KINDS = 4, RAW_LISTS = 1 + 4 + 16 + 64 + 256 };

/* Kind of an operation: bit 0 whether it sends, bit 1 to which of the two others. */
struct raw_list {
    int32_t count;
    int8_t kind[RAW_LENGTH];
    int8_t counts[RAW_KINDS];
};

static void make_raw_lists(struct raw_list *lists) {
    int32_t n = 0;
    for (int32_t length = 0; length <= RAW_LENGTH; length++) {
        for (int32_t code = 0; code < 1 << (2 * length); code++) {
            struct raw_list list = {.count = length};
            for (int32_t i = 0; i < length; i++) {
                list.kind[i] = (int8_t)(code >> (2 * i) & 3);
                list.counts[list.kind[i]]++;
            }
            lists[n++] = list;
        }
    }
    cr_assert_eq(n, RAW_LISTS);
}

/* The other ranks of 0, 1, 2 in ascending order: bit 1 of a kind chooses. */
static int32_t raw_peer(int32_t rank, int32_t kind) {
    static const int8_t peers[PROGRAM_RANKS][2] = {{1, 2}, {0, 2}, {0, 1}};
    return peers[rank][kind >> 1];
}

static int32_t raw_kind(int32_t rank, int32_t peer, bool is_send) {
    return (raw_peer(rank, 2) == peer ? 2 : 0) | is_send;
}

/* As many sends as receives, both ways, between two ranks. */
static bool raw_match(const struct raw_list *a, int32_t rank, const struct raw_list *b,
                      int32_t peer) {
    return a->counts[raw_kind(rank, peer, true)] == b->counts[raw_kind(peer, rank, false)] &&
           a->counts[raw_kind(rank, peer, false)] == b->counts[raw_kind(peer, rank, true)];
}

static void raw_program(struct program *p, const struct raw_list *const lists[PROGRAM_RANKS]) {
    p->s.action_count = 0;
    for (int32_t rank = 0; rank < PROGRAM_RANKS; rank++) {
        for (int32_t i = 0; i < lists[rank]->count; i++) {
            int32_t kind = lists[rank]->kind[i];
            program_add(p, transfer(rank, raw_peer(rank, kind), kind & 1), -1);
        }
        p->rank_begin[rank + 1] = p->s.action_count;
    }
}

/* Fewer ranks are those with an empty list. */
Test(check, all_programs_of_up_to_3_ranks_and_4_transfers_as_in_the_exhaustive_search) {
    static struct raw_list lists[RAW_LISTS];
    static struct oracle oracle;
    struct oracle_tally tally = {0};
    struct program p;
    int64_t programs = 0;
    make_raw_lists(lists);
    program_init(&p);
    for (int32_t a = 0; a < RAW_LISTS; a++) {
        for (int32_t b = 0; b < RAW_LISTS; b++) {
            if (!raw_match(&lists[a], 0, &lists[b], 1)) {
                continue;
            }
            for (int32_t c = 0; c < RAW_LISTS; c++) {
                if (raw_match(&lists[a], 0, &lists[c], 2) &&
                    raw_match(&lists[b], 1, &lists[c], 2) && programs++ % stride(PART) == 0) {
                    raw_program(&p, (const struct raw_list *[]){&lists[a], &lists[b], &lists[c]});
                    oracle_compare_all(&oracle, &p.s, &tally);
                }
            }
        }
    }
    cr_log_info("%ld programs, 1 in %d x 9 settings: %ld valid, %ld deadlocks, cycles up to %ld; "
                "%ld states",
                programs, stride(PART), tally.valid, tally.deadlocks, tally.longest, tally.states);
}

/* ---- random programs ---- */

enum { RANDOM_LENGTH = 6 };

/* Transfers between random ranks, then compute actions that need a random receive of their rank, or
 * none, or two as a pair; all shuffled, receives mostly before what needs them. */
static void random_program(struct program *p, uint64_t *seed) {
    struct pp_action list[PROGRAM_RANKS][RANDOM_LENGTH];
    int32_t count[PROGRAM_RANKS] = {0};
    int32_t tries = random_below(seed, 16);
    for (int32_t i = 0; i < tries; i++) {
        int32_t from = random_below(seed, PROGRAM_RANKS);
        int32_t to = (from + 1 + random_below(seed, PROGRAM_RANKS - 1)) % PROGRAM_RANKS;
        if (count[from] < RANDOM_LENGTH && count[to] < RANDOM_LENGTH) {
            list[from][count[from]++] = transfer(from, to, true);
            list[to][count[to]++] = transfer(to, from, false);
        }
    }
    p->s.action_count = 0;
    for (int32_t rank = 0; rank < PROGRAM_RANKS; rank++) {
        while (count[rank] < RANDOM_LENGTH && random_below(seed, 8) > 0) {
            list[rank][count[rank]++] = (struct pp_action){.stage = rank, .type = PP_F};
        }
        for (int32_t i = count[rank] - 1; i > 0; i--) {
            int32_t k = random_below(seed, i + 1);
            struct pp_action a = list[rank][i];
            list[rank][i] = list[rank][k];
            list[rank][k] = a;
        }
        int32_t begin = p->rank_begin[rank];
        for (int32_t i = 0; i < count[rank]; i++) {
            int32_t reach = random_below(seed, 50) == 0 ? count[rank] : i;
            int32_t needed = reach == 0 ? -1 : random_below(seed, reach);
            bool needs =
                list[rank][i].type == PP_F && needed >= 0 &&
                (list[rank][needed].type == PP_RECV_F || list[rank][needed].type == PP_RECV_B);
            program_add(p, list[rank][i], needs ? begin + needed : -1);
            struct pp_action *last = &p->actions[p->s.action_count - 1];
            if (i > 0 && last->type == PP_F && last[-1].type == PP_F && last[-1].pair == 0 &&
                random_below(seed, 2) == 0) {
                last[-1].pair = 1;
                last->pair = 2;
            }
        }
        p->rank_begin[rank + 1] = p->s.action_count;
    }
}

Test(check, random_programs_of_3_ranks_and_6_actions_as_in_the_exhaustive_search) {
    static struct oracle oracle;
    struct oracle_tally tally = {0};
    struct program p;
    uint64_t seed = 1;
    program_init(&p);
    int32_t count = is_full() ? FULL_RANDOM_COUNT : RANDOM_COUNT;
    for (int32_t i = 0; i < count; i++) {
        random_program(&p, &seed);
        struct pp_comms comms = {.channels = (enum pp_channels)random_below(&seed, 3),
                                 .buffer_count = random_below(&seed, 3)};
        oracle_compare(&oracle, &p.s, &comms, &tally);
    }
    cr_log_info("%d random programs: %ld valid, %ld deadlocks, cycles up to %ld; %ld states", count,
                tally.valid, tally.deadlocks, tally.longest, tally.states);
}

/* ---- all small schedules ---- */

/* A shape and what became of it: every order of every rank's actions, with and without pairs. */
struct shape {
    int32_t ranks, stages, microbatches;
    bool split;
    int32_t stage_rank[6];
    struct pp_action lists[PROGRAM_RANKS][24 * 4][4]; /* orders that a rank may have */
    int32_t list_count[PROGRAM_RANKS], length[PROGRAM_RANKS];
};

struct small_tally {
    struct oracle *oracle;
    struct oracle_tally order, torch, ours, late, early;
    int64_t shapes, schedules, searched;
};

/* May `list` follow on a rank: F before B, I before W, of each stage and microbatch? */
static bool is_in_order(const struct pp_action *list, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        for (int32_t k = i + 1; k < n; k++) {
            if (list[i].stage == list[k].stage && list[i].microbatch == list[k].microbatch &&
                (list[k].type == PP_F || (list[k].type == PP_I && list[i].type == PP_W))) {
                return false;
            }
        }
    }
    return true;
}

/* Adds an order as it is, and with its first two neighbours that may be one as a pair. */
static void keep_order(struct shape *x, int32_t rank, const struct pp_action *list) {
    int32_t n = x->length[rank];
    if (!is_in_order(list, n)) {
        return;
    }
    memcpy(x->lists[rank][x->list_count[rank]++], list, (size_t)n * sizeof *list);
    for (int32_t i = 0; i + 1 < n; i++) {
        bool same =
            list[i].stage == list[i + 1].stage && list[i].microbatch == list[i + 1].microbatch;
        if (!same && (list[i].type == PP_F) != (list[i + 1].type == PP_F)) {
            struct pp_action *paired = x->lists[rank][x->list_count[rank]++];
            memcpy(paired, list, (size_t)n * sizeof *list);
            paired[i].pair = 1;
            paired[i + 1].pair = 2;
            return;
        }
    }
}

/* All orders of list[from..]. */
static void permute(struct shape *x, int32_t rank, struct pp_action *list, int32_t from) {
    if (from >= x->length[rank] - 1) {
        keep_order(x, rank, list);
        return;
    }
    for (int32_t i = from; i < x->length[rank] && i < 4; i++) {
        struct pp_action a = list[from];
        list[from] = list[i];
        list[i] = a;
        permute(x, rank, list, from + 1);
        list[i] = list[from];
        list[from] = a;
    }
}

/* @return false if a rank has no stage, or more than 4 actions */
static bool list_orders(struct shape *x) {
    for (int32_t rank = 0; rank < x->ranks; rank++) {
        struct pp_action list[4];
        int32_t n = 0;
        int32_t held = 0;
        for (int32_t stage = 0; stage < x->stages; stage++) {
            held += x->stage_rank[stage] == rank;
        }
        if (held == 0 || held * x->microbatches * (x->split ? 3 : 2) > 4) {
            return false;
        }
        for (int32_t stage = 0; stage < x->stages; stage++) {
            for (int32_t m = 0; x->stage_rank[stage] == rank && m < x->microbatches; m++) {
                struct pp_action a = {.stage = stage, .microbatch = m};
                static const uint8_t types[2][3] = {{PP_F, PP_B}, {PP_F, PP_I, PP_W}};
                for (int32_t i = 0; i < (x->split ? 3 : 2); i++) {
                    a.type = types[x->split][i];
                    list[n++] = a;
                }
            }
        }
        x->length[rank] = n;
        x->list_count[rank] = 0;
        permute(x, rank, list, 0);
    }
    return true;
}

static struct pp_sched *build_small(const struct shape *x, const int32_t *which) {
    struct pp_sched *s = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_sched_create(x->ranks, x->stages, x->microbatches, x->stage_rank, &s, &err),
                 PP_OK);
    for (int32_t rank = 0; rank < x->ranks; rank++) {
        const struct pp_action *list = x->lists[rank][which[rank]];
        for (int32_t i = 0; i < x->length[rank]; i++) {
            const struct pp_action *a = &list[i];
            enum pp_status status;
            if (a->pair == 1) {
                i++;
                status = pp_sched_add_pair(s, rank, a->type, a->stage, a->microbatch, a[1].type,
                                           a[1].stage, a[1].microbatch, &err);
            } else {
                status = pp_sched_add(s, rank, a->type, a->stage, a->microbatch, &err);
            }
            cr_assert_eq(status, PP_OK, "%s", err.message);
        }
    }
    cr_assert_eq(pp_sched_seal(s, &err), PP_OK, "%s", err.message);
    return s;
}

/* Judges one schedule: its order alone, lowered in both modes, and PyTorch's with its receives
 * moved: late, to their use, and early, to the beginning. */
static void judge_small(const struct pp_sched *s, struct small_tally *t) {
    struct pp_comms none = {0};
    int64_t deadlocks = t->order.deadlocks;
    oracle_compare(t->oracle, s, &none, &t->order);
    bool runs = t->order.deadlocks == deadlocks;
    struct pp_sched *ours = lower_transfers(s, PP_LOWER_OURS);
    deadlocks = t->ours.deadlocks;
    struct pp_comms directed = {.channels = PP_CHANNELS_DIRECTED};
    oracle_compare(t->oracle, ours, &directed, &t->ours);
    cr_assert_eq(t->ours.deadlocks == deadlocks, runs, "our lowering adds or hides a deadlock");
    oracle_compare_all(t->oracle, ours, &t->ours);
    pp_sched_destroy(ours);
    if (!runs) {
        return;
    }
    struct pp_sched *torch = lower_transfers(s, PP_LOWER_TORCH);
    struct pp_sched *late = defer_receives(torch, false);
    struct pp_sched *early = hoist_receives(torch);
    deadlocks = t->torch.deadlocks;
    oracle_compare_all(t->oracle, torch, &t->torch);
    cr_assert_eq(t->torch.deadlocks, deadlocks, "PyTorch's lowering hangs");
    oracle_compare_all(t->oracle, late, &t->late);
    oracle_compare_all(t->oracle, early, &t->early);
    pp_sched_destroy(torch);
    pp_sched_destroy(late);
    pp_sched_destroy(early);
}

static void judge_shape(struct shape *x, struct small_tally *t) {
    if (!list_orders(x)) {
        return;
    }
    t->shapes++;
    int32_t which[PROGRAM_RANKS] = {0};
    for (int32_t rank = 0; rank < x->ranks;) {
        if (t->schedules++ % stride(SMALL_PART) == 0) {
            struct pp_sched *s = build_small(x, which);
            judge_small(s, t);
            pp_sched_destroy(s);
            t->searched++;
        }
        for (rank = 0; rank < x->ranks && ++which[rank] == x->list_count[rank]; rank++) {
            which[rank] = 0;
        }
    }
}

/* Every placement of up to two stages a rank. */
Test(check, all_schedules_of_up_to_3_ranks_and_4_actions_as_in_the_exhaustive_search) {
    static struct oracle oracle;
    static struct shape x;
    struct small_tally t = {.oracle = &oracle};
    for (x.ranks = 1; x.ranks <= 3; x.ranks++) {
        for (x.stages = x.ranks; x.stages <= 2 * x.ranks; x.stages++) {
            for (int32_t code = 0; code < 729; code++) {
                int32_t rest = code;
                for (int32_t stage = 0; stage < x.stages; stage++, rest /= x.ranks) {
                    x.stage_rank[stage] = rest % x.ranks;
                }
                if (rest > 0) {
                    break;
                }
                for (int32_t kind = 0; kind < 3; kind++) { /* fused, two microbatches, split */
                    x.microbatches = kind == 1 ? 2 : 1;
                    x.split = kind == 2;
                    judge_shape(&x, &t);
                }
            }
        }
    }
    cr_log_info("%ld shapes, %ld schedules, %ld searched: order alone %ld valid, %ld deadlocks",
                t.shapes, t.schedules, t.searched, t.order.valid, t.order.deadlocks);
    cr_log_info("x settings: ours %ld and %ld, torch %ld and %ld, late %ld and %ld, early %ld and "
                "%ld; longest cycle %ld",
                t.ours.valid, t.ours.deadlocks, t.torch.valid, t.torch.deadlocks, t.late.valid,
                t.late.deadlocks, t.early.valid, t.early.deadlocks, t.early.longest);
}
