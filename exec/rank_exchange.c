/* Exchanges of gradients between the two copies of a stage; the rule is told at struct pp_exchange.
 */
#include "exec/rank_priv.h"

#include <stdlib.h>
#include <string.h>

static int32_t find_reduce(const struct pp_sched *s, int32_t stage) {
    int32_t rank = s->stage_rank[stage];
    for (int32_t i = s->rank_begin[rank]; i < s->rank_begin[rank + 1]; i++) {
        if (s->actions[i].type == PP_REDUCE_GRAD && s->actions[i].stage == stage) {
            return i;
        }
    }
    return -1;
}

/* By channel and number of what comes in, twins last, as their channel is -1. */
static int compare(const void *left, const void *right) {
    const struct pp_exchange *a = left;
    const struct pp_exchange *b = right;
    if (a->in.channel != b->in.channel) {
        return a->in.channel > b->in.channel ? -1 : 1;
    }
    if (a->in.sequence != b->in.sequence) {
        return a->in.sequence < b->in.sequence ? -1 : 1;
    }
    return (a->action > b->action) - (a->action < b->action);
}

static struct pp_message message_of(const struct pp_rank *r, int32_t own, int32_t bound) {
    return (struct pp_message){.program = r->config.program,
                               .index = own,
                               .channel = r->bound[bound].channel,
                               .sequence = r->bound[bound].sequence};
}

static void find_twins(struct pp_rank *r) {
    for (int32_t i = 0; i < r->exchange_count; i++) {
        struct pp_exchange *x = &r->exchanges[i];
        x->twin = -1;
        for (int32_t k = 0; k < r->exchange_count; k++) {
            x->twin = r->exchanges[k].action == x->peer_action ? k : x->twin;
        }
    }
}

enum pp_status pp_exchanges_create(struct pp_rank *r, struct pp_err *err) {
    const struct pp_sched *s = r->sched;
    if (s->part_count == s->stage_count) {
        return PP_OK;
    }
    r->exchanges = calloc((size_t)s->rank_stages[r->config.rank], sizeof *r->exchanges);
    if (r->exchanges == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the exchanges of rank %d",
                       r->config.rank);
    }
    for (int32_t i = r->begin; i < r->end; i++) {
        if (s->actions[i].type == PP_REDUCE_GRAD) {
            int32_t copy = pp_program_copy_of(r->config.program, s->actions[i].stage);
            int32_t peer = find_reduce(s, copy);
            PP_ASSERT(r->exchange_count < s->rank_stages[r->config.rank] && peer >= 0);
            r->exchanges[r->exchange_count++] = (struct pp_exchange){.action = i,
                                                                     .peer_action = peer,
                                                                     .in = message_of(r, i, peer),
                                                                     .out = message_of(r, i, i)};
        }
    }
    if (r->exchange_count > 1) {
        qsort(r->exchanges, (size_t)r->exchange_count, sizeof *r->exchanges, compare);
    }
    find_twins(r);
    return PP_OK;
}

void pp_exchanges_destroy(struct pp_rank *r) {
    for (int32_t i = 0; i < r->exchange_count; i++) {
        free(r->exchanges[i].scratch);
    }
    free(r->exchanges);
}

/* The rank's own block of an exchange. */
static const void *block_of(const struct pp_rank *r, const struct pp_exchange *x,
                            int64_t *bytes_p) {
    *bytes_p = 0;
    return r->config.compute->exchange == NULL
               ? NULL
               : r->config.compute->exchange(r->config.compute_context,
                                             r->sched->actions[x->action].stage, bytes_p);
}

/* The scratch is as large as the own block: copies are alike. */
static enum pp_status open_exchange(struct pp_rank *r, struct pp_exchange *x, struct pp_err *err) {
    block_of(r, x, &x->bytes);
    x->scratch = x->bytes > 0 ? malloc((size_t)x->bytes) : NULL;
    if (x->bytes > 0 && x->scratch == NULL) {
        char where[PP_WHERE_BYTES];
        return pp_fail(err, PP_E_NOMEM, "%s: out of memory for %lld bytes of its copy's gradients",
                       pp_where(r->sched, x->action, where), (long long)x->bytes);
    }
    return PP_OK;
}

enum pp_status pp_exchanges_begin(struct pp_rank *r, struct pp_err *err) {
    r->exchanges_open = r->exchange_count;
    for (int32_t i = 0; i < r->exchange_count; i++) {
        struct pp_exchange *x = &r->exchanges[i];
        if (x->scratch == NULL) {
            PP_TRY(open_exchange(r, x, err));
        }
        x->reached = x->sent = x->received = x->started = false;
        if (x->twin < 0) {
            x->in.step = x->out.step = r->step;
            x->in.bytes = x->bytes;
            x->in.data = x->scratch;
            PP_TRY(pp_rank_post(r, &x->in, false, i, err));
        }
    }
    return PP_OK;
}

enum pp_status pp_exchange_reach(struct pp_rank *r, int32_t exchange, struct pp_err *err) {
    struct pp_exchange *x = &r->exchanges[exchange];
    x->reached = true;
    pp_rank_set_state(r, x->action, PP_ACTION_STARTED);
    pp_rank_note(r, PP_EVENT_POSTED, x->action, -1);
    if (x->twin >= 0) {
        return PP_OK;
    }
    const void *block = block_of(r, x, &x->out.bytes);
    x->out.data = (void *)(uintptr_t)block; /* to send: not written to */
    return pp_rank_post(r, &x->out, true, exchange, err);
}

/* Both sides of twins at once, before either is started. */
static void swap_twins(struct pp_rank *r, struct pp_exchange *x) {
    struct pp_exchange *pair[2] = {x, &r->exchanges[x->twin]};
    for (int side = 0; side < 2; side++) {
        int64_t bytes;
        const void *block = block_of(r, pair[1 - side], &bytes);
        if (pair[side]->bytes > 0) {
            PP_ASSERT(bytes == pair[side]->bytes);
            memcpy(pair[side]->scratch, block, (size_t)bytes);
        }
        pair[side]->sent = pair[side]->received = true;
    }
}

enum pp_status pp_exchanges_move(struct pp_rank *r, bool *advanced_p, struct pp_err *err) {
    for (int32_t i = 0; i < r->exchange_count; i++) {
        struct pp_exchange *x = &r->exchanges[i];
        if (!x->reached || x->started) {
            continue;
        }
        if (x->twin >= 0 && !x->sent && r->exchanges[x->twin].reached) {
            swap_twins(r, x);
        }
        if (x->sent && x->received) {
            x->started = true;
            *advanced_p = true;
            PP_TRY(pp_rank_start(r, x->action, err));
        }
    }
    return PP_OK;
}
