/* Faults of every kind at drawn actions of drawn programs: each is diagnosed to the very action,
 * and none is trained on. The workload knows every byte that an action may be given
 * (token_support.h). What one fault is, at hand-picked programs: test_fault.c. */
#include "tests/exec/runtime_support.h"

#include "exec/where.h"

enum {
    CASES_A_RULE = 27,
    FULL_CASES_A_RULE = 500,
    STEPS = 3, /* at most, in a case */
    DEADLINE_NS = 200000000,
    THREADS_DEADLINE_NS = 500000000, /* others may need the cores */
    SHORT_NS = 5000000
};

static const int64_t LONG_NS = 60000000000; /* longer than any deadline here */

/* ---- the rules ---- */

/* Who must be named. */
enum named {
    NOBODY,     /* the run ends well, and everything in it is right */
    ITSELF,     /* the action that was struck */
    ITS_RECV,   /* of the SEND that was struck */
    NEXT_RECV,  /* of the channel; after its last the first of the next step */
    AN_END,     /* of the message that was struck: SEND or RECV, and the line tells of both */
    RECV_OR_END /* found by its content: ITS_RECV; by waiting: AN_END */
};

enum struck { A_SEND, A_SEND_BEFORE_ANOTHER, A_SEND_OF_BYTES, WORK, A_MESSAGE };

#define SEEN(kind) (1U << (kind))
#define BY_WAITING (SEEN(PP_FAIL_STANDSTILL) | SEEN(PP_FAIL_DEADLINE))

static const struct rule {
    const char *name;
    enum pp_fault_kind kind;
    enum struck struck;
    int64_t delay_ns;
    enum named named;
    unsigned seen;     /* SEEN() of the ways in which it may be found */
    const char *words; /* in the line, if found by the message's content */
} rules[] = {
    /* The next of the channel comes in its place, or nothing comes. */
    {"drop", PP_FAULT_DROP, A_SEND, 0, ITS_RECV, SEEN(PP_FAIL_MESSAGE) | BY_WAITING, "too early"},
    /* It comes in the place of the next. */
    {"duplicate", PP_FAULT_DUPLICATE, A_SEND, 0, NEXT_RECV, SEEN(PP_FAIL_MESSAGE), "twice|doubled"},
    /* The next comes in its place; or its rank does not come to the next before this one went. */
    {"reorder", PP_FAULT_REORDER, A_SEND_BEFORE_ANOTHER, 0, RECV_OR_END,
     SEEN(PP_FAIL_MESSAGE) | BY_WAITING, "too early"},
    {"corrupt", PP_FAULT_CORRUPT, A_SEND_OF_BYTES, 0, ITS_RECV, SEEN(PP_FAIL_MESSAGE), "changed"},
    {"size", PP_FAULT_TRUNCATE, A_SEND_OF_BYTES, 0, ITS_RECV, SEEN(PP_FAIL_MESSAGE), "expected"},
    {"delay", PP_FAULT_DELAY, A_SEND, SHORT_NS, NOBODY, 0, NULL},
    {"delay past the deadline", PP_FAULT_DELAY, A_SEND, LONG_NS, AN_END, SEEN(PP_FAIL_DEADLINE),
     NULL},
    {"stall of work", PP_FAULT_STALL, WORK, 0, ITSELF, SEEN(PP_FAIL_DEADLINE), NULL},
    {"stall of a message", PP_FAULT_STALL, A_MESSAGE, 0, AN_END, BY_WAITING, NULL},
};
enum { RULE_COUNT = sizeof rules / sizeof rules[0] };

/* ---- a case ---- */

static struct {
    struct program_case c;
    struct run r;
    char name[192]; /* how to find it again */
} its;

static bool sends(int32_t at) {
    enum pp_action_type type = its.c.lowered->actions[at].type;
    return type == PP_SEND_F || type == PP_SEND_B;
}

static bool carries(int32_t at) {
    enum pp_action_type type = its.c.lowered->actions[at].type;
    return type >= PP_SEND_F && type <= PP_RECV_B;
}

/* The RECV that is `number` on the channel of a message; -1: there is none. */
static int32_t receive_at(int32_t message, int32_t number) {
    const struct pp_bound *bound = its.c.program->bound;
    for (int32_t i = 0; i < its.c.lowered->action_count; i++) {
        if (carries(i) && !sends(i) && bound[i].channel == bound[message].channel &&
            bound[i].sequence == number) {
            return i;
        }
    }
    return -1;
}

static bool may_strike(enum struck struck, int32_t at) {
    const struct pp_bound *b = &its.c.program->bound[at];
    switch (struck) {
    case A_SEND:
        return sends(at);
    case A_SEND_BEFORE_ANOTHER:
        return sends(at) && receive_at(at, b->sequence + 1) >= 0;
    case A_SEND_OF_BYTES:
        return sends(at) && b->message_bytes > 0;
    case WORK:
        return !carries(at);
    case A_MESSAGE:
        return carries(at);
    }
    return false;
}

/* An action that a rule strikes; -1: this program has none. */
static int32_t draw_action(enum struck struck, uint64_t *seed) {
    int32_t count = its.c.lowered->action_count;
    int32_t first = random_below(seed, count);
    for (int32_t i = 0; i < count; i++) {
        int32_t at = (first + i) % count;
        if (may_strike(struck, at)) {
            return at;
        }
    }
    return -1;
}

/* Any schedule there is, small. */
static void draw_program(uint64_t *seed) {
    for (;;) {
        const struct pp_schedule_info *info =
            pp_schedule_at(random_below(seed, pp_schedule_count()));
        int32_t p = 2 + random_below(seed, 3);
        struct pp_gen_config config = {.rank_count = p,
                                       .stages_per_rank = info->default_stages_per_rank,
                                       .microbatch_count = 1 + random_below(seed, 3 * p)};
        struct pp_sched *order = NULL;
        if (pp_schedule_generate(info, &config, &order, NULL) == PP_OK) {
            snprintf(its.name, sizeof its.name, "%s p=%d m=%d", info->name, p,
                     config.microbatch_count);
            program_case_make(&its.c, order, seed);
            return;
        }
    }
}

static void draw_case(const struct rule *rule, uint64_t seed) {
    uint64_t state = seed;
    int32_t action;
    for (;;) {
        draw_program(&state);
        action = draw_action(rule->struck, &state);
        if (action >= 0) {
            break;
        }
        program_case_deinit(&its.c);
    }
    bool threads = random_below(&state, 4) == 0;
    const struct how how = {.threads = threads,
                            .buffers = random_below(&state, 3),
                            .latency_ns = random_below(&state, 4) == 0 ? 20000 : 0,
                            .overlaps = random_below(&state, 2) == 0,
                            .most_polls = random_below(&state, 4),
                            .deadline_ns = threads ? THREADS_DEADLINE_NS : DEADLINE_NS,
                            .fault = {.kind = rule->kind,
                                      .action = action,
                                      .step = random_below(&state, STEPS - 1),
                                      .delay_ns = rule->delay_ns}};
    run_open(&its.r, &its.c, &how);
    char text[PP_ACTION_TEXT_BYTES];
    size_t size = strlen(its.name);
    snprintf(its.name + size, sizeof its.name - size,
             ", seed %lld: %s at %s in step %lld, %s, %d "
             "buffers",
             (long long)seed, rule->name, pp_action_text(&its.c.lowered->actions[action], text),
             (long long)how.fault.step, threads ? "threads" : "one thread", how.buffers);
}

static void end_case(void) {
    run_close(&its.r);
    program_case_deinit(&its.c);
}

/* ---- was it named? ---- */

/* One of the words that are separated by "|". */
static bool has_word(const char *line, const char *words) {
    while (words != NULL && *words != '\0') {
        char word[32];
        size_t size = strcspn(words, "|");
        snprintf(word, sizeof word, "%.*s", (int)size, words);
        if (strstr(line, word) != NULL) {
            return true;
        }
        words += size + (words[size] == '|');
    }
    return false;
}

/* Rank and action are in the line; with them, as the action's text has them, stage and microbatch.
 */
static bool line_names(const char *line, int32_t action) {
    char text[PP_ACTION_TEXT_BYTES];
    char rank[32];
    const struct pp_action *a = &its.c.lowered->actions[action];
    snprintf(rank, sizeof rank, "rank %d", its.c.lowered->stage_rank[a->stage]);
    return strstr(line, pp_action_text(a, text)) != NULL && strstr(line, rank) != NULL;
}

/* Found in the message: told whole. */
static bool line_tells(const char *line, int32_t action) {
    char where[PP_WHERE_BYTES];
    return strstr(line, pp_where(its.c.lowered, action, where)) != NULL;
}

static bool is_named(const struct rule *rule) {
    const struct pp_failure *f = &its.r.failure;
    const char *line = its.r.err.message;
    int32_t struck = its.r.how.fault.action;
    int32_t sequence = its.c.program->bound[struck].sequence;
    int32_t send =
        carries(struck) && !sends(struck) ? its.c.lowered->producer[struck] : struck;
    int32_t receive = carries(struck) ? receive_at(struck, sequence) : -1;
    int32_t next = carries(struck) ? receive_at(struck, sequence + 1) : -1;
    bool by_content = f->kind == PP_FAIL_MESSAGE;
    switch (rule->named) {
    case NOBODY:
        return f->kind == PP_FAIL_NONE;
    case ITSELF:
        return f->action == struck && line_names(line, struck);
    case NEXT_RECV:
        next = next >= 0 ? next : receive_at(struck, 0);
        return f->action == next && line_tells(line, next);
    case ITS_RECV:
        return f->action == receive &&
               (by_content ? line_tells(line, receive) : line_names(line, receive));
    case RECV_OR_END:
        if (by_content) {
            return f->action == receive && line_tells(line, receive);
        }
        break;
    case AN_END:
        break;
    }
    return (f->action == send || f->action == receive) && line_names(line, send) &&
           line_names(line, receive);
}

/* All that a failure is to say. @return NULL, or what is wrong */
static const char *verdict(const struct rule *rule, enum pp_status status) {
    const struct pp_failure *f = &its.r.failure;
    const struct pp_sched *s = its.c.lowered;
    if (status != PP_E_RUN || its.r.err.status != PP_E_RUN) {
        return status == PP_OK ? "it was not seen" : "another status";
    }
    if ((rule->seen & SEEN(f->kind)) == 0) {
        return "seen in another way than it may be";
    }
    if (f->action < 0 || !is_named(rule)) {
        return "another action was named";
    }
    if (f->rank != s->stage_rank[s->actions[f->action].stage]) {
        return "another rank was named";
    }
    if (f->kind == PP_FAIL_MESSAGE && !has_word(its.r.err.message, rule->words)) {
        return "what is wrong was not told";
    }
    if (strchr(its.r.err.message, '\n') != NULL || f->view_count != s->rank_count) {
        return "no single line, or not all ranks' views";
    }
    for (int32_t i = 0; i < s->rank_count; i++) {
        if (its.r.tokens[i].wrong[0] != '\0') {
            return "work was given what is wrong";
        }
    }
    return NULL;
}

/* Steps before the fault go well, and after it where nobody is to be named. @return NULL, or what
 * is wrong */
static const char *run_case(const struct rule *rule) {
    const struct pp_fault *fault = &its.r.how.fault;
    int64_t last = fault->step;
    if (rule->named == NEXT_RECV) {
        int32_t sequence = its.c.program->bound[fault->action].sequence;
        last += receive_at(fault->action, sequence + 1) < 0;
    }
    for (int64_t step = 0; step < last; step++) {
        run_step_well(&its.r, step, its.name);
    }
    if (rule->named == NOBODY) {
        run_step_well(&its.r, last, its.name);
        run_step_well(&its.r, last + 1, its.name);
        return NULL;
    }
    return verdict(rule, run_step(&its.r, last));
}

/* ---- all of them ---- */

static int32_t run_rule(const struct rule *rule, int32_t cases) {
    int32_t exact = 0;
    int32_t seen[PP_FAIL_ABORTED + 1] = {0};
    uint64_t first = (uint64_t)(rule - rules) * 100000;
    int64_t begin_ns = pp_now_ns();
    for (int32_t i = 0; i < cases; i++) {
        draw_case(rule, first + (uint64_t)i);
        const char *wrong = run_case(rule);
        seen[its.r.failure.kind]++;
        exact += wrong == NULL;
        if (wrong != NULL) {
            printf("NOT EXACT: %s: %s: %s\n", its.name, wrong, its.r.err.message);
        }
        end_case();
    }
    printf("%-24s %4d faults, %4d diagnosed exactly;", rule->name, cases, exact);
    for (int kind = 0; kind <= PP_FAIL_ABORTED; kind++) {
        if (seen[kind] > 0) {
            printf(" %d %s", seen[kind], pp_failure_text((enum pp_failure_kind)kind));
        }
    }
    printf("; %.1f s\n", (double)(pp_now_ns() - begin_ns) * 1e-9);
    return exact;
}

Test(faults, each_is_diagnosed_exactly, .timeout = 1800) {
    bool full = getenv("PP_TEST_FULL") != NULL;
    int32_t cases = full ? FULL_CASES_A_RULE : CASES_A_RULE;
    int32_t exact = 0;
    for (int32_t i = 0; i < RULE_COUNT; i++) {
        exact += run_rule(&rules[i], cases);
    }
    printf("%d faults injected, %d diagnosed exactly\n", RULE_COUNT * cases, exact);
    cr_assert_geq(RULE_COUNT * cases, 200);
    cr_assert_eq(exact, RULE_COUNT * cases);
}
