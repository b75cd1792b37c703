/* What held up a start: of all that the action waited for, what ended right then. */
#include "sim/engine_priv.h"

struct search {
    const struct pp_engine *e;
    const struct pp_trace *t;
    int64_t start_ns;
    int32_t best;   /* lowest action that ends at start_ns; -1 */
    int32_t follow; /* else a RECV that was released when it started, at start_ns, long before its
                       end; -1 */
};

static void consider(struct search *b, int32_t at) {
    if (at >= 0 && b->t->end_ns[at] == b->start_ns && (b->best < 0 || at < b->best)) {
        b->best = at;
    }
}

/* A SEND or RECV that had to be released first. A RECV is when its message has moved: at its SEND's
 * end, and its own comes the latency later. */
static void consider_release(struct search *b, int32_t at) {
    if (at < 0) {
        return;
    }
    if (pp_engine_is_send(b->e->s->actions[at].type) || b->t->end_ns[at] == b->start_ns) {
        consider(b, at);
    } else if (b->t->end_ns[b->e->entries[at].partner] == b->start_ns) {
        consider(b, b->e->entries[at].partner);
    } else if (b->t->start_ns[at] == b->start_ns) {
        b->follow = at;
    }
}

/* The batch before, if the runtime is batched and no compute action stands between: that, or a
 * later batch, waited for whatever stands before. */
static void consider_batch(struct search *b, int32_t at) {
    const struct pp_sched *s = b->e->s;
    int32_t begin = s->rank_begin[s->stage_rank[s->actions[at].stage]];
    if (!b->e->runtime.batched) {
        return;
    }
    bool own = pp_engine_is_transfer(s->actions[at].type);
    bool seen = false;
    for (int32_t before = at - 1; before >= begin; before--) {
        enum pp_action_type type = s->actions[before].type;
        bool is_transfer = pp_engine_is_transfer(type);
        if (type <= PP_B || (seen && !is_transfer)) {
            return;
        }
        own = own && is_transfer;
        if (is_transfer && !own) {
            seen = true;
            consider(b, before);
        }
    }
}

static void consider_gate(struct search *b, int32_t at) {
    consider(b, b->e->gate[at]);
    consider_batch(b, at);
}

static void consider_message(struct search *b, int32_t at) {
    const struct pp_engine *e = b->e;
    bool is_send = pp_engine_is_send(e->s->actions[at].type);
    int32_t partner = e->entries[at].partner;
    bool rendezvous = e->room == NULL;
    consider_gate(b, at);
    consider_release(b, e->prev[at]);
    if (rendezvous || (!is_send && b->t->start_ns[partner] == b->start_ns)) {
        consider_gate(b, partner);
        consider_release(b, e->prev[partner]);
    }
    if (!rendezvous && (is_send || b->t->start_ns[partner] == b->start_ns)) {
        consider_release(b, e->room[is_send ? at : partner]);
    }
}

/* The last REDUCE_GRAD before; those before a compute action held that up as well. */
static void consider_reduce(struct search *b, int32_t at) {
    const struct pp_sched *s = b->e->s;
    int32_t begin = s->rank_begin[s->stage_rank[s->actions[at].stage]];
    for (int32_t before = at - 1; before >= begin && s->actions[before].type > PP_B; before--) {
        if (s->actions[before].type == PP_REDUCE_GRAD) {
            consider(b, before);
            return;
        }
    }
}

static void consider_compute(struct search *b, int32_t at) {
    const struct pp_engine *e = b->e;
    consider(b, e->s->producer[at]);
    consider(b, e->entries[at].partner);
    if (e->s->reload != NULL) {
        consider(b, e->s->reload[at]);
    }
    if (e->runtime.reduce_blocks) {
        consider_reduce(b, at);
    }
    consider_batch(b, at);
}

static void consider_all(struct search *b, int32_t at) {
    const struct pp_engine *e = b->e;
    const struct pp_action *a = &e->s->actions[at];
    if (pp_action_is_compute(a)) {
        consider_compute(b, at);
        if (a->pair != 0 && e->ran_pairs) {
            consider_compute(b, a->pair == 1 ? at + 1 : at - 1);
        }
    } else if (pp_engine_is_transfer(a->type)) {
        consider_message(b, at);
    } else {
        consider_gate(b, at);
        consider(b, e->prev[at]);
    }
}

struct pp_binding pp_engine_binding(const void *engine, const struct pp_trace *trace, int32_t at) {
    const struct pp_engine *e = engine;
    struct search b = {.e = e, .t = trace, .start_ns = trace->start_ns[at], .best = -1};
    const struct pp_action *a = &e->s->actions[at];
    int32_t before = e->gate[a->pair == 2 && e->ran_pairs ? at - 1 : at];
    if (before >= 0 && trace->end_ns[before] == b.start_ns) {
        return (struct pp_binding){.action = before};
    }
    for (b.follow = at; b.best < 0 && b.follow >= 0;) {
        int32_t next = b.follow;
        b.follow = -1;
        consider_all(&b, next);
    }
    return (struct pp_binding){.action = b.best};
}
