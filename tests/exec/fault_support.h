/* What a fault must be diagnosed as: the rules, and who is named by each. */
#ifndef PP_TESTS_FAULT_SUPPORT_H
#define PP_TESTS_FAULT_SUPPORT_H

#include "exec/drive.h"
#include "exec/fault.h"
#include "exec/where.h"
#include "tests/sim/sim_support.h"

enum {
    FAULT_DEADLINE_NS = 200000000,
    FAULT_THREADS_DEADLINE_NS = 500000000, /* others may need the cores */
    FAULT_SHORT_NS = 5000000
};
#define FAULT_LONG_NS ((int64_t)60000000000) /* longer than any deadline here */

enum fault_named {
    NAMES_NOBODY,     /* the run ends well, and everything in it is right */
    NAMES_ITSELF,     /* the action that was struck */
    NAMES_ITS_RECV,   /* of the SEND that was struck */
    NAMES_NEXT_RECV,  /* of the channel; after its last the first of the next step */
    NAMES_AN_END,     /* of the message that was struck, SEND or RECV; the line tells of both */
    NAMES_RECV_OR_END /* found by content: ITS_RECV; by waiting: AN_END */
};

enum fault_struck { A_SEND, A_SEND_BEFORE_ANOTHER, A_SEND_OF_BYTES, ANY_WORK, ANY_MESSAGE };

#define SEEN(kind) (1U << (kind))
#define SEEN_BY_WAITING (SEEN(PP_FAIL_STANDSTILL) | SEEN(PP_FAIL_DEADLINE))

struct fault_rule {
    const char *name;
    enum pp_fault_kind kind;
    enum fault_struck struck;
    int64_t delay_ns;
    enum fault_named named;
    unsigned seen;     /* SEEN() of the ways in which it may be found */
    const char *words; /* one of them is in the line, if found by content */
};

static const struct fault_rule fault_rules[] = {
    /* The next of the channel comes in its place, or nothing comes. */
    {"drop", PP_FAULT_DROP, A_SEND, 0, NAMES_ITS_RECV, SEEN(PP_FAIL_MESSAGE) | SEEN_BY_WAITING,
     "too early|one or more were lost"},
    /* It comes in the place of the next. */
    {"duplicate", PP_FAULT_DUPLICATE, A_SEND, 0, NAMES_NEXT_RECV, SEEN(PP_FAIL_MESSAGE),
     "sent twice|doubled"},
    /* The next comes in its place; or its rank does not come to the next before this one went. */
    {"reorder", PP_FAULT_REORDER, A_SEND_BEFORE_ANOTHER, 0, NAMES_RECV_OR_END,
     SEEN(PP_FAIL_MESSAGE) | SEEN_BY_WAITING, "too early"},
    {"corrupt", PP_FAULT_CORRUPT, A_SEND_OF_BYTES, 0, NAMES_ITS_RECV, SEEN(PP_FAIL_MESSAGE),
     "changed"},
    {"size", PP_FAULT_TRUNCATE, A_SEND_OF_BYTES, 0, NAMES_ITS_RECV, SEEN(PP_FAIL_MESSAGE),
     "expected"},
    {"delay", PP_FAULT_DELAY, A_SEND, FAULT_SHORT_NS, NAMES_NOBODY, 0, NULL},
    {"delay past the deadline", PP_FAULT_DELAY, A_SEND, FAULT_LONG_NS, NAMES_AN_END,
     SEEN(PP_FAIL_DEADLINE), NULL},
    {"stall of work", PP_FAULT_STALL, ANY_WORK, 0, NAMES_ITSELF, SEEN(PP_FAIL_DEADLINE), NULL},
    {"stall of a message", PP_FAULT_STALL, ANY_MESSAGE, 0, NAMES_AN_END, SEEN_BY_WAITING, NULL},
};
enum { FAULT_RULES = sizeof fault_rules / sizeof fault_rules[0] };

/* As --fault names it. */
static inline const char *fault_word(enum pp_fault_kind kind) {
    static const char *const words[] = {
#define FAULT_WORD(name, text) text,
        PP_FAULT_LIST(FAULT_WORD)
#undef FAULT_WORD
    };
    return words[kind];
}

/* ---- where it strikes ---- */

static inline bool fault_sends(const struct pp_program *p, int32_t at) {
    enum pp_action_type type = p->sched->actions[at].type;
    return type == PP_SEND_F || type == PP_SEND_B;
}

static inline bool fault_carries(const struct pp_program *p, int32_t at) {
    enum pp_action_type type = p->sched->actions[at].type;
    return type >= PP_SEND_F && type <= PP_RECV_B;
}

/* The RECV that is `number` on the channel of a message; -1: there is none. */
static inline int32_t fault_receive(const struct pp_program *p, int32_t message, int32_t number) {
    for (int32_t i = 0; i < p->sched->action_count; i++) {
        if (fault_carries(p, i) && !fault_sends(p, i) &&
            p->bound[i].channel == p->bound[message].channel && p->bound[i].sequence == number) {
            return i;
        }
    }
    return -1;
}

/* The RECV behind it on its channel, in its step; -1. */
static inline int32_t fault_next(const struct pp_program *p, int32_t message) {
    return fault_receive(p, message, p->bound[message].sequence + 1);
}

static inline bool fault_may_strike(const struct pp_program *p, enum fault_struck struck,
                                    int32_t at) {
    switch (struck) {
    case A_SEND:
        return fault_sends(p, at);
    case A_SEND_BEFORE_ANOTHER:
        return fault_sends(p, at) && fault_next(p, at) >= 0;
    case A_SEND_OF_BYTES:
        return fault_sends(p, at) && p->bound[at].message_bytes > 0;
    case ANY_WORK:
        return !fault_carries(p, at);
    case ANY_MESSAGE:
        return fault_carries(p, at);
    }
    return false;
}

/* -1: this program has none. */
static inline int32_t fault_draw_action(const struct pp_program *p, enum fault_struck struck,
                                        uint64_t *seed) {
    int32_t first = random_below(seed, p->sched->action_count);
    for (int32_t i = 0; i < p->sched->action_count; i++) {
        int32_t at = (first + i) % p->sched->action_count;
        if (fault_may_strike(p, struck, at)) {
            return at;
        }
    }
    return -1;
}

/* Any schedule there is, small. @param slices  also those that cut sequences */
static inline struct pp_sched *fault_draw_order(uint64_t *seed, int32_t most_ranks, bool slices,
                                                char *name, size_t size) {
    for (;;) {
        const struct pp_schedule_info *info =
            pp_schedule_at(random_below(seed, pp_schedule_count()));
        int32_t p = 2 + random_below(seed, most_ranks - 1);
        struct pp_gen_config config = {.rank_count = p,
                                       .stages_per_rank = info->default_stages_per_rank,
                                       .microbatch_count = 1 + random_below(seed, 3 * p)};
        struct pp_sched *order = NULL;
        if ((slices || !info->takes_slices) &&
            pp_schedule_generate(info, &config, &order, NULL) == PP_OK) {
            snprintf(name, size, "%s p=%d m=%d", info->name, p, config.microbatch_count);
            return order;
        }
    }
}

/* Where nothing is to be waited for, a machine that is busy must not look like a fault. */
static inline int64_t fault_deadline_ns(const struct fault_rule *rule, bool threads) {
    return (rule->seen & SEEN(PP_FAIL_DEADLINE)) == 0 ? FAULT_LONG_NS
           : threads                                  ? FAULT_THREADS_DEADLINE_NS
                                                      : FAULT_DEADLINE_NS;
}

/* The step in which it shows. */
static inline int64_t fault_shows_in(const struct pp_program *p, const struct fault_rule *rule,
                                     const struct pp_fault *fault) {
    return fault->step + (rule->named == NAMES_NEXT_RECV && fault_next(p, fault->action) < 0);
}

/* ---- who is named ---- */

/* One of the words that "|" separates. */
static inline bool fault_has_word(const char *line, const char *words) {
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

/* Its rank, and its text, which has stage and microbatch. */
static inline bool fault_line_names(const struct pp_program *p, const char *line, int32_t action) {
    char text[PP_ACTION_TEXT_BYTES];
    char rank[32];
    snprintf(rank, sizeof rank, "rank %d", pp_rank_of(p->sched, action));
    return strstr(line, pp_action_text(&p->sched->actions[action], text)) != NULL &&
           strstr(line, rank) != NULL;
}

/* "rank 1 stage 3 microbatch 2: 3RECV_F2" */
static inline bool fault_line_tells(const struct pp_program *p, const char *line, int32_t action) {
    char where[PP_WHERE_BYTES];
    return strstr(line, pp_where(p->sched, action, where)) != NULL;
}

static inline bool fault_is_named(const struct pp_program *p, const struct fault_rule *rule,
                                  int32_t struck, const struct pp_failure *f, const char *line) {
    bool carries = fault_carries(p, struck);
    int32_t send = carries && !fault_sends(p, struck) ? p->sched->producer[struck] : struck;
    int32_t receive = carries ? fault_receive(p, struck, p->bound[struck].sequence) : -1;
    int32_t next = carries ? fault_next(p, struck) : -1;
    bool by_content = f->kind == PP_FAIL_MESSAGE;
    switch (rule->named) {
    case NAMES_NOBODY:
        return f->kind == PP_FAIL_NONE;
    case NAMES_ITSELF:
        return f->action == struck && fault_line_names(p, line, struck);
    case NAMES_NEXT_RECV:
        next = next >= 0 ? next : fault_receive(p, struck, 0);
        return f->action == next && fault_line_tells(p, line, next);
    case NAMES_ITS_RECV:
        return f->action == receive && (by_content ? fault_line_tells(p, line, receive)
                                                   : fault_line_names(p, line, receive));
    case NAMES_RECV_OR_END:
        if (by_content) {
            return f->action == receive && fault_line_tells(p, line, receive);
        }
        break;
    case NAMES_AN_END:
        break;
    }
    return (f->action == send || f->action == receive) && fault_line_names(p, line, send) &&
           fault_line_names(p, line, receive);
}

/* May `named` be told for what was struck? */
static inline bool fault_may_name(const struct pp_program *p, const struct fault_rule *rule,
                                  int32_t struck, int32_t named) {
    bool carries = fault_carries(p, struck);
    int32_t send = carries && !fault_sends(p, struck) ? p->sched->producer[struck] : struck;
    int32_t receive = carries ? fault_receive(p, struck, p->bound[struck].sequence) : -1;
    int32_t next = carries ? fault_next(p, struck) : -1;
    switch (rule->named) {
    case NAMES_NOBODY:
        return false;
    case NAMES_ITSELF:
        return named == struck;
    case NAMES_ITS_RECV:
        return named == receive;
    case NAMES_NEXT_RECV:
        return named == (next >= 0 ? next : fault_receive(p, struck, 0));
    case NAMES_AN_END:
    case NAMES_RECV_OR_END:
        return named == send || named == receive;
    }
    return false;
}

/* All that the failure of a step is to say. @return NULL, or what is wrong */
static inline const char *fault_verdict(const struct pp_program *p, const struct fault_rule *rule,
                                        int32_t struck, enum pp_status status,
                                        const struct pp_failure *f, const struct pp_err *err) {
    if (status != PP_E_RUN || err->status != PP_E_RUN) {
        return status == PP_OK ? "it was not seen" : "another status";
    }
    if ((rule->seen & SEEN(f->kind)) == 0) {
        return "seen in another way than it may be";
    }
    if (f->action < 0 || !fault_is_named(p, rule, struck, f, err->message)) {
        return "another action was named";
    }
    if (f->rank != pp_rank_of(p->sched, f->action)) {
        return "another rank was named";
    }
    if (f->kind == PP_FAIL_MESSAGE && !fault_has_word(err->message, rule->words)) {
        return "what is wrong was not told";
    }
    if (strchr(err->message, '\n') != NULL || f->view_count != p->sched->rank_count) {
        return "no single line, or not all ranks' views";
    }
    return NULL;
}

/* ---- counting ---- */

struct fault_tally {
    int32_t injected, exact;
    int32_t seen[PP_FAIL_ABORTED + 1];
};

static inline void fault_count(struct fault_tally *t, const char *wrong, const char *name,
                               const struct pp_failure *f, const struct pp_err *err) {
    t->injected++;
    t->exact += wrong == NULL;
    t->seen[f->kind]++;
    if (wrong != NULL) {
        printf("NOT EXACT: %s: %s: %s\n", name, wrong, err->message);
    }
}

static inline void fault_print(const struct fault_tally *t, const char *name, double seconds) {
    printf("%-24s %4d faults, %4d diagnosed exactly;", name, t->injected, t->exact);
    for (int kind = 0; kind <= PP_FAIL_ABORTED; kind++) {
        if (t->seen[kind] > 0) {
            printf(" %d %s", t->seen[kind],
                   kind == PP_FAIL_NONE ? "harmless" : pp_failure_text((enum pp_failure_kind)kind));
        }
    }
    printf("; %.1f s\n", seconds);
}

#endif
