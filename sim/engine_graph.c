/* What waits for what: queues, partners, lanes. */
#include "sim/engine_priv.h"

#include <stdlib.h>

/* ---- directed rank pairs and queues ---- */

/* Links by their sender, while they are numbered. Link l ^ 1 is the way back. */
struct links {
    int32_t *first_of;  /* [rank_count] link; -1 */
    int32_t *next, *to; /* [2 * stage_count] of a link */
};

static int32_t link_between(struct pp_engine *e, struct links *l, int32_t from, int32_t to) {
    for (int32_t link = l->first_of[from]; link >= 0; link = l->next[link]) {
        if (l->to[link] == to) {
            return link;
        }
    }
    int32_t link = e->link_count;
    l->to[link] = to;
    l->to[link + 1] = from;
    l->next[link] = l->first_of[from];
    l->first_of[from] = link;
    l->next[link + 1] = l->first_of[to];
    l->first_of[to] = link + 1;
    e->link_count += 2;
    return link;
}

static void set_queues(struct pp_engine *e, struct pp_engine_message *m) {
    switch (e->runtime.comms.channels) {
    case PP_CHANNELS_DIRECTED:
        m->send_queue = 2 * m->link;
        m->recv_queue = 2 * m->link + 1;
        break;
    case PP_CHANNELS_PAIR:
        m->send_queue = m->link;
        m->recv_queue = m->link ^ 1;
        break;
    case PP_CHANNELS_RANK:
        m->send_queue = m->from;
        m->recv_queue = m->to;
        break;
    case PP_CHANNELS_COUNT:
        break;
    }
    e->queue_rank[m->send_queue] = m->from;
    e->queue_rank[m->recv_queue] = m->to;
}

static void make_links(struct pp_engine *e, struct links *l) {
    const struct pp_sched *s = e->s;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        l->first_of[rank] = -1;
    }
    for (int32_t msg = 0; msg < 2 * s->stage_count; msg++) {
        int32_t stage = msg / 2;
        int32_t peer =
            msg % 2 == 0 ? pp_sched_stage_before(s, stage) : pp_sched_stage_after(s, stage);
        struct pp_engine_message *m = &e->messages[msg];
        *m = (struct pp_engine_message){.from = -1, .to = -1};
        if (peer >= 0 && s->stage_rank[peer] != s->stage_rank[stage]) {
            m->from = s->stage_rank[peer];
            m->to = s->stage_rank[stage];
            m->link = link_between(e, l, m->from, m->to);
        }
    }
    bool by_rank = e->runtime.comms.channels == PP_CHANNELS_RANK;
    e->queue_count = by_rank ? s->rank_count : 2 * e->link_count;
    for (int32_t queue = 0; queue < e->queue_count; queue++) {
        e->queue_first[queue] = -1;
        e->queue_rank[queue] = 0;
    }
    for (int32_t msg = 0; msg < 2 * s->stage_count; msg++) {
        if (e->messages[msg].from >= 0) {
            set_queues(e, &e->messages[msg]);
        }
    }
}

/* ---- chains ---- */

/* What was last, of each queue, rank and stage, as an action or -1. */
struct last {
    int32_t *of_queue;                                /* [queue_count] */
    int32_t *unshard;                                 /* [stage_count] */
    int32_t *link_sends, *link_recvs;                 /* [link_count] how many so far */
    int32_t *sends, *recvs, *offset;                  /* messages by link and number */
    int32_t of_compute, of_collective, of_host, none; /* of the rank */
};

static void chain(struct pp_engine *e, int32_t at, int32_t *last_p, int32_t *first_p) {
    e->prev[at] = *last_p;
    if (*last_p >= 0) {
        e->entries[*last_p].after = at;
    } else if (first_p != NULL) {
        *first_p = at;
    }
    *last_p = at;
}

static void count_one(struct pp_engine *e, const struct pp_action *a) {
    if (a->pair == 0) {
        e->type_count[a->stage][a->type]++;
        return;
    }
    e->pair_count[a->stage][a->type]++;
    e->pair_count[a->stage][PP_COMPUTE_TYPE_COUNT] += a->pair == 1;
    e->has_pairs = true;
}

static void chain_one(struct pp_engine *e, struct last *last, int32_t rank, int32_t at) {
    const struct pp_action *a = &e->s->actions[at];
    e->gate[at] = last->of_compute;
    e->prev[at] = -1;
    e->entries[at] = (struct pp_engine_entry){.partner = -1,
                                              .after = -1,
                                              .stage = (uint32_t)a->stage & UINT16_MAX,
                                              .type = a->type,
                                              .pair = a->pair};
    count_one(e, a);
    if (pp_action_is_compute(a)) {
        int32_t producer = e->s->producer[at];
        bool is_received = producer >= 0 && !pp_action_is_compute(&e->s->actions[producer]);
        e->entries[at].partner = last->unshard[a->stage];
        e->entries[at].after = is_received ? producer : -1;
        last->of_compute = at;
    } else if (pp_engine_is_transfer(a->type)) {
        int32_t queue = pp_engine_queue_of(e, a);
        chain(e, at, &last->of_queue[queue], &e->queue_first[queue]);
        int32_t link = e->messages[pp_engine_message_of(a)].link;
        if (pp_engine_is_send(a->type)) {
            last->sends[last->offset[link] + last->link_sends[link]++] = at;
        } else {
            last->recvs[last->offset[link] + last->link_recvs[link]++] = at;
        }
    } else if (pp_engine_is_collective(a->type)) {
        chain(e, at, &last->of_collective, &e->collective_first[rank]);
        if (a->type == PP_UNSHARD) {
            last->unshard[a->stage] = at;
        }
        e->gathers = e->gathers || a->type == PP_UNSHARD;
        e->has_reductions = e->has_reductions || a->type == PP_REDUCE_GRAD;
    } else if (pp_action_is_offload(a)) {
        chain(e, at, &last->of_host, NULL);
    }
}

/* The k-th SEND of a link meets its k-th RECV. */
static void match(struct pp_engine *e, const struct last *last) {
    int32_t places = e->runtime.comms.buffer_count;
    for (int32_t link = 0; link < e->link_count; link++) {
        PP_ASSERT(last->link_sends[link] == last->link_recvs[link]); /* sealed */
        const int32_t *sends = last->sends + last->offset[link];
        const int32_t *recvs = last->recvs + last->offset[link];
        int32_t count = last->link_sends[link];
        for (int32_t k = 0; k < count; k++) {
            e->entries[sends[k]].partner = recvs[k];
            e->entries[recvs[k]].partner = sends[k];
            if (e->room != NULL) {
                e->room[sends[k]] = k < places ? -1 : recvs[k - places];
                e->room[recvs[k]] = k < count - places ? sends[k + places] : -1;
            }
        }
    }
}

static void chain_all(struct pp_engine *e, struct last *last) {
    const struct pp_sched *s = e->s;
    for (int32_t rank = 0; rank < s->rank_count; rank++) {
        e->collective_first[rank] = -1;
        last->of_compute = last->of_collective = last->of_host = -1;
        for (int32_t at = s->rank_begin[rank]; at < s->rank_begin[rank + 1]; at++) {
            chain_one(e, last, rank, at);
        }
    }
    match(e, last);
}

/* Where each link's messages begin among all. Sealed: one a microbatch and kind of message. @return
 * how many
 */
static int32_t lay_out_messages(const struct pp_engine *e, int32_t *offset) {
    for (int32_t link = 0; link < e->link_count; link++) {
        offset[link] = 0;
    }
    for (int32_t msg = 0; msg < 2 * e->s->stage_count; msg++) {
        if (e->messages[msg].from >= 0) {
            offset[e->messages[msg].link] += e->s->microbatch_count;
        }
    }
    int32_t total = 0;
    for (int32_t link = 0; link < e->link_count; link++) {
        int32_t count = offset[link];
        offset[link] = total;
        total += count;
    }
    return total;
}

enum pp_status pp_engine_make_graph(struct pp_engine *e, struct pp_err *err) {
    const struct pp_sched *s = e->s;
    size_t stages = (size_t)s->stage_count;
    size_t ranks = (size_t)s->rank_count;
    /* links: 2 a border of stages at most, so 2 * stages; queues twice as many, or a rank */
    int32_t *block = malloc((ranks + 2 * 2 * stages + (4 * stages + ranks) + stages +
                             3 * 2 * stages + 2 * (size_t)s->action_count) *
                            sizeof *block);
    if (block == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for an engine of %d actions",
                       s->action_count);
    }
    struct links l = {.first_of = block};
    l.next = l.first_of + ranks;
    l.to = l.next + 2 * stages;
    struct last last = {.of_queue = l.to + 2 * stages};
    last.unshard = last.of_queue + 4 * stages + ranks;
    last.link_sends = last.unshard + stages;
    last.link_recvs = last.link_sends + 2 * stages;
    last.offset = last.link_recvs + 2 * stages;
    last.sends = last.offset + 2 * stages;
    make_links(e, &l);
    for (int32_t queue = 0; queue < e->queue_count; queue++) {
        last.of_queue[queue] = -1;
    }
    for (int32_t stage = 0; stage < s->stage_count; stage++) {
        last.unshard[stage] = -1;
    }
    for (int32_t link = 0; link < e->link_count; link++) {
        last.link_sends[link] = last.link_recvs[link] = 0;
    }
    last.recvs = last.sends + lay_out_messages(e, last.offset);
    chain_all(e, &last);
    free(block);
    return PP_OK;
}
