#include "sim/causes.h"

#include "sim/causes_priv.h"

const char *pp_cause_text(enum pp_cause cause) {
    static const char *const texts[PP_CAUSE_COUNT] = {
#define PP_CAUSE_TEXT(name, text, words) [name] = text,
        PP_CAUSE_LIST(PP_CAUSE_TEXT)
#undef PP_CAUSE_TEXT
    };
    PP_ASSERT((unsigned)cause < PP_CAUSE_COUNT);
    return texts[cause];
}

const char *pp_cause_words(enum pp_cause cause) {
    static const char *const phrases[PP_CAUSE_COUNT] = {
#define PP_CAUSE_PHRASE(name, text, words) [name] = words,
        PP_CAUSE_LIST(PP_CAUSE_PHRASE)
#undef PP_CAUSE_PHRASE
    };
    PP_ASSERT((unsigned)cause < PP_CAUSE_COUNT);
    return phrases[cause];
}

/* ---- chains ---- */

static enum pp_cause cause_of_lane(enum pp_action_type type) {
    switch (type) {
    case PP_F:
    case PP_I:
    case PP_W:
    case PP_B:
        return PP_CAUSE_DEPENDENCY;
    case PP_SEND_F:
    case PP_RECV_F:
    case PP_SEND_B:
    case PP_RECV_B:
        return PP_CAUSE_P2P;
    case PP_UNSHARD:
    case PP_RESHARD:
    case PP_REDUCE_GRAD:
        return PP_CAUSE_COLLECTIVE;
    case PP_OFFLOAD:
    case PP_RELOAD:
    case PP_ACTION_TYPE_COUNT:
        break;
    }
    return PP_CAUSE_MEMORY;
}

struct pp_chain pp_chain_of(const struct pp_gaps *gaps, const struct pp_gap *gap) {
    int32_t at = gap->ended_by;
    return (struct pp_chain){.trace = gaps->trace,
                             .in = gaps->in,
                             .begin_ns = gap->begin_ns,
                             .now_ns = gap->end_ns,
                             .at = at,
                             /* the trace's last action is part of its own chain */
                             .inside = gaps->trace->start_ns[at] < gap->end_ns};
}

bool pp_chain_next(struct pp_chain *c, struct pp_link *link) {
    while (c->now_ns > c->begin_ns) {
        *link = (struct pp_link){.end_ns = c->now_ns, .action = -1, .cause = PP_CAUSE_P2P};
        if (c->inside) {
            link->action = c->at;
            link->cause = cause_of_lane(c->trace->sched->actions[c->at].type);
            c->now_ns = pp_min_i64(c->now_ns, c->trace->start_ns[c->at]);
        } else {
            int32_t before = c->in->binding(c->in->context, c->trace, c->at).action;
            if (before < 0) {
                link->cause = PP_CAUSE_FILL;
                c->now_ns = c->begin_ns;
            } else {
                c->at = before;
                c->now_ns = pp_min_i64(c->now_ns, c->trace->end_ns[before]);
            }
        }
        c->inside = !c->inside;
        link->start_ns = c->now_ns = pp_max_i64(c->now_ns, c->begin_ns);
        if (link->start_ns < link->end_ns) {
            return true;
        }
    }
    return false;
}

/* ---- sums ---- */

static int64_t overlap_ns(const struct pp_link *l, int64_t from, int64_t to) {
    return pp_max_i64(0, pp_min_i64(l->end_ns, to) - pp_max_i64(l->start_ns, from));
}

/* All but imbalance, which is told from dependency when every rank is known. */
static void add_gap(void *context, struct pp_gaps *g, const struct pp_gap *gap) {
    int64_t *ns = ((struct pp_idle *)context)->ns;
    struct pp_chain chain = pp_chain_of(g, gap);
    for (struct pp_link l; pp_chain_next(&chain, &l);) {
        int64_t blocked_ns = 0;
        enum pp_cause cause = l.cause;
        if (cause == PP_CAUSE_DEPENDENCY) {
            blocked_ns = overlap_ns(&l, gap->blocked_from_ns, gap->blocked_to_ns);
            cause = gap->compute;
        }
        ns[PP_CAUSE_MEMORY] += blocked_ns;
        ns[cause] += l.end_ns - l.start_ns - blocked_ns;
    }
}

static int64_t sum_ns(const struct pp_idle *idle) {
    int64_t sum = 0;
    for (int c = 0; c < PP_CAUSE_COUNT; c++) {
        sum += idle->ns[c];
    }
    return sum;
}

void pp_idle_of(const struct pp_trace *trace, const struct pp_cause_inputs *in,
                struct pp_idle *ranks) {
    struct pp_gaps gaps = pp_gaps_of(trace, in);
    int32_t rank_count = trace->sched->rank_count;
    int64_t least_ns = INT64_MAX;
    for (int32_t rank = 0; rank < rank_count; rank++) {
        ranks[rank] = (struct pp_idle){0};
        pp_gaps_visit(&gaps, rank, add_gap, &ranks[rank]);
        least_ns = pp_min_i64(least_ns, sum_ns(&ranks[rank]));
    }
    for (int32_t rank = 0; rank < rank_count; rank++) {
        int64_t *ns = ranks[rank].ns;
        int64_t less_ns = sum_ns(&ranks[rank]) - least_ns;
        ns[PP_CAUSE_IMBALANCE] = pp_min_i64(ns[PP_CAUSE_DEPENDENCY], less_ns);
        ns[PP_CAUSE_DEPENDENCY] -= ns[PP_CAUSE_IMBALANCE];
    }
}

/* ---- critical path ---- */

int32_t pp_critical_path(const struct pp_trace *trace, const struct pp_cause_inputs *in,
                         int32_t *path, int32_t path_capacity) {
    int32_t last = pp_gaps_of(trace, in).last;
    int32_t count = 0;
    for (int32_t at = last; at >= 0; at = in->binding(in->context, trace, at).action) {
        count++;
    }
    int32_t place = count < path_capacity ? count : path_capacity;
    for (int32_t at = last; place > 0; at = in->binding(in->context, trace, at).action) {
        path[--place] = at;
    }
    return count;
}
