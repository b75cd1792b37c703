/* Who holds what in the arenas: the walk over a rank's list that finds its tenants. */
#include "exec/program_priv.h"

static struct pp_unit *unit_of(const struct pp_tenants *p, int32_t stage, int32_t microbatch) {
    return &p->units[(int64_t)stage * p->s->microbatch_count + microbatch];
}

/* @return -1 if there is nothing to hold */
static int32_t make(struct pp_tenants *p, int32_t first, int64_t made_ns, int64_t bytes,
                    bool on_host) {
    if (bytes == 0) {
        return -1;
    }
    p->list[p->count] = (struct pp_tenant){.made_ns = made_ns,
                                           .free_ns = INT64_MAX,
                                           .bytes = pp_round_to_slot(bytes),
                                           .first = first,
                                           .last = -1,
                                           .slot = -1,
                                           .on_host = on_host};
    return p->count++;
}

/* Ends a tenant with action `last`. What its rank does not wait for anyway is waited for by a gate,
 * and has to be over before. */
static void end(struct pp_tenants *p, int64_t number, int32_t last) {
    if (number >= 0) {
        struct pp_tenant *t = &p->list[number];
        t->last = last;
        t->free_ns = p->expected->end_ns[last] + !pp_action_is_compute(&p->s->actions[last]);
    }
}

static void bind_forward(struct pp_tenants *p, int32_t at, int64_t made_ns) {
    const struct pp_action *a = &p->s->actions[at];
    struct pp_bound *b = &p->program->bound[at];
    struct pp_unit *u = unit_of(p, a->stage, a->microbatch);
    int32_t after = pp_sched_stage_after(p->s, a->stage);
    b->input = u->input;
    b->stash = u->stash = make(p, at, made_ns, p->sizes->stash_bytes[a->stage], false);
    b->output = make(p, at, made_ns, pp_program_input_bytes(p->s, p->sizes, after), false);
    if (after >= 0 && p->s->stage_rank[after] == p->s->stage_rank[a->stage]) {
        unit_of(p, after, a->microbatch)->input = (int32_t)b->output;
    }
}

static void bind_backward(struct pp_tenants *p, int32_t at, int64_t made_ns) {
    const struct pp_action *a = &p->s->actions[at];
    struct pp_bound *b = &p->program->bound[at];
    struct pp_unit *u = unit_of(p, a->stage, a->microbatch);
    int32_t before = pp_sched_stage_before(p->s, a->stage);
    b->input = u->input;
    b->stash = u->stash;
    b->output_grad = u->output_grad;
    if (a->type != PP_W) {
        b->input_grad =
            make(p, at, made_ns, pp_program_input_bytes(p->s, p->sizes, a->stage), false);
        if (before >= 0 && p->s->stage_rank[before] == p->s->stage_rank[a->stage]) {
            unit_of(p, before, a->microbatch)->output_grad = (int32_t)b->input_grad;
        }
    }
    if (a->type != PP_I) {
        end(p, u->input, at);
        end(p, u->stash, at);
        end(p, u->output_grad, at);
    }
}

static void bind_message(struct pp_tenants *p, int32_t at, int64_t made_ns) {
    const struct pp_action *a = &p->s->actions[at];
    struct pp_bound *b = &p->program->bound[at];
    struct pp_unit *u = unit_of(p, a->stage, a->microbatch);
    bool is_output = a->type == PP_SEND_F || a->type == PP_RECV_B;
    b->message_bytes = pp_program_input_bytes(
        p->s, p->sizes, is_output ? pp_sched_stage_after(p->s, a->stage) : a->stage);
    if (a->type == PP_SEND_F || a->type == PP_SEND_B) {
        const struct pp_bound *maker = &p->program->bound[p->s->producer[at]];
        b->message = is_output ? maker->output : maker->input_grad;
        end(p, b->message, at);
        return;
    }
    b->message = make(p, at, made_ns, b->message_bytes, false);
    *(is_output ? &u->output_grad : &u->input) = (int32_t)b->message;
}

static void bind_trip(struct pp_tenants *p, int32_t at, int64_t made_ns) {
    const struct pp_action *a = &p->s->actions[at];
    struct pp_bound *b = &p->program->bound[at];
    struct pp_unit *u = unit_of(p, a->stage, a->microbatch);
    int64_t input_bytes = pp_program_input_bytes(p->s, p->sizes, a->stage);
    int64_t stash_bytes = p->sizes->stash_bytes[a->stage];
    if (a->type == PP_OFFLOAD) {
        b->input = u->input;
        b->stash = u->stash;
        end(p, u->input, at);
        end(p, u->stash, at);
        b->host_input = make(p, at, made_ns, input_bytes, true);
        b->host_stash = make(p, at, made_ns, stash_bytes, true);
        u->offload = at;
        return;
    }
    pp_bound_wait(b, u->offload);
    b->host_input = p->program->bound[u->offload].host_input;
    b->host_stash = p->program->bound[u->offload].host_stash;
    end(p, b->host_input, at);
    end(p, b->host_stash, at);
    b->input = u->input = make(p, at, made_ns, input_bytes, false);
    b->stash = u->stash = make(p, at, made_ns, stash_bytes, false);
}

void pp_tenants_find(struct pp_tenants *p, int32_t rank) {
    const struct pp_sched *s = p->s;
    const int64_t *start_ns = p->expected->start_ns;
    const int64_t *end_ns = p->expected->end_ns;
    int64_t pair_ns = 0;    /* when the pair started */
    int64_t compute_ns = 0; /* latest end of compute so far */
    p->count = 0;
    for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
        const struct pp_action *a = &s->actions[at];
        if (pp_action_is_compute(a)) {
            if (a->pair == 1) {
                pair_ns = pp_min_i64(start_ns[at], start_ns[at + 1]);
            }
            int64_t made_ns = a->pair > 0 ? pair_ns : start_ns[at];
            if (a->type == PP_F) {
                bind_forward(p, at, made_ns);
            } else {
                bind_backward(p, at, made_ns);
            }
            compute_ns = pp_max_i64(compute_ns, end_ns[at]);
        } else if (a->type >= PP_SEND_F && a->type <= PP_RECV_B) {
            bind_message(p, at, compute_ns);
        } else if (pp_action_is_offload(a)) {
            bind_trip(p, at, compute_ns);
        }
    }
    for (int32_t t = 0; t < p->count; t++) {
        PP_ASSERT(p->list[t].last >= 0); /* sealed: all that is made is used */
    }
}
