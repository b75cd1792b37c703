/* Faults of every kind at drawn actions of drawn programs: each is diagnosed to the very action,
 * and none is worked on. The workload knows every byte that an action may be given
 * (token_support.h). What one fault is, at programs by name: test_fault.c; what training makes of
 * them: test_faults_training.c. */
#include "tests/exec/fault_support.h"
#include "tests/exec/runtime_support.h"

enum { CASES_A_RULE = 27, FULL_CASES_A_RULE = 500, FIRST_STEPS = 2, MOST_RANKS = 4 };

static struct {
    struct program_case c;
    struct run r;
    char name[192]; /* how to find it again */
} its;

static void draw_case(const struct fault_rule *rule, uint64_t seed) {
    uint64_t state = seed;
    char order[64];
    int32_t action = -1;
    for (;;) {
        program_case_make(&its.c, fault_draw_order(&state, MOST_RANKS, true, order, sizeof order),
                          &state);
        action = fault_draw_action(its.c.program, rule->struck, &state);
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
                            .deadline_ns = fault_deadline_ns(rule, threads),
                            .fault = {.kind = rule->kind,
                                      .action = action,
                                      .step = random_below(&state, FIRST_STEPS),
                                      .delay_ns = rule->delay_ns}};
    run_open(&its.r, &its.c, &how);
    char text[PP_ACTION_TEXT_BYTES];
    snprintf(its.name, sizeof its.name, "%s, seed %lld: %s at %s in step %lld, %s, %d buffers",
             order, (long long)seed, rule->name,
             pp_action_text(&its.c.lowered->actions[action], text), (long long)how.fault.step,
             threads ? "threads" : "one thread", how.buffers);
}

/* Steps before it shows go well, and those behind it where nobody is to be named. @return NULL, or
 * what is wrong */
static const char *run_case(const struct fault_rule *rule) {
    const struct pp_fault *fault = &its.r.how.fault;
    int64_t last = fault_shows_in(its.c.program, rule, fault);
    for (int64_t step = 0; step < last; step++) {
        run_step_well(&its.r, step, its.name);
    }
    if (rule->named == NAMES_NOBODY) {
        run_step_well(&its.r, last, its.name);
        run_step_well(&its.r, last + 1, its.name);
        return NULL;
    }
    enum pp_status status = run_step(&its.r, last);
    for (int32_t i = 0; i < its.c.lowered->rank_count; i++) {
        if (its.r.tokens[i].wrong[0] != '\0') {
            return "an action was given what is wrong";
        }
    }
    return fault_verdict(its.c.program, rule, fault->action, status, &its.r.failure, &its.r.err);
}

static void run_cases(int32_t rule, uint64_t seed, int32_t cases, struct fault_tally *tally) {
    for (int32_t i = 0; i < cases; i++) {
        draw_case(&fault_rules[rule], seed + (uint64_t)i);
        const char *wrong = run_case(&fault_rules[rule]);
        fault_count(tally, wrong, its.name, &its.r.failure, &its.r.err);
        run_close(&its.r);
        program_case_deinit(&its.c);
    }
}

enum { SEEDS_A_RULE = 100000 };

Test(faults, each_is_diagnosed_exactly) {
    bool full = getenv("PP_TEST_FULL") != NULL;
    struct fault_tally all = {0};
    for (int32_t rule = 0; rule < FAULT_RULES; rule++) {
        struct fault_tally tally = {0};
        int64_t begin_ns = pp_now_ns();
        run_cases(rule, (uint64_t)(rule * SEEDS_A_RULE), full ? FULL_CASES_A_RULE : CASES_A_RULE,
                  &tally);
        fault_print(&tally, fault_rules[rule].name, (double)(pp_now_ns() - begin_ns) * 1e-9);
        all.injected += tally.injected;
        all.exact += tally.exact;
    }
    printf("%d faults injected, %d diagnosed exactly\n", all.injected, all.exact);
    cr_assert_geq(all.injected, 200);
    cr_assert_eq(all.exact, all.injected);
}

/* Found among thousands: another message of the channel was named than the one that held it up. */
Test(faults, those_that_were_not_exact_once) {
    static const int32_t seeds[] = {600038, 600059, 600125, 800092, 800102, 800370, 800403, 800427};
    struct fault_tally tally = {0};
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        run_cases(seeds[i] / SEEDS_A_RULE, (uint64_t)seeds[i], 1, &tally);
    }
    cr_assert_eq(tally.exact, tally.injected);
}
