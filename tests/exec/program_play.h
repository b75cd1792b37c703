/* Runs a program at random speeds, as rank.h says a rank does: compute in list order, everything
 * once its waits are over, messages when both sides have posted and are first in their channel,
 * nothing kept in between. Every 64 bytes of the arenas know who wrote them last. */
#ifndef PP_TESTS_PROGRAM_PLAY_H
#define PP_TESTS_PROGRAM_PLAY_H

#include "tests/exec/program_oracle.h"

enum play_state { PLAY_WAITS, PLAY_POSTED, PLAY_RUNS, PLAY_DONE };

enum { PLAY_USES = 8, PLAY_MOVES = 4096 };

struct play {
    const struct oracle *o;
    const struct pp_sched *s;
    bool overlaps;                 /* both parts of a pair may be in flight */
    bool walks_on;                 /* past what is not compute and must wait */
    uint8_t *state;                /* [action_count] enum play_state */
    int32_t *next;                 /* [rank_count] where the walk stands */
    int32_t *open;                 /* [rank_count] before it all is done */
    int32_t *posted[2], *moved[2]; /* [channel_count] by side */
    int32_t (*uses)[PLAY_USES];    /* [action_count] tenants; -1 */
    int32_t **blocks[2];           /* arena, host: [rank_count][bytes / 64] tenant */
    int32_t *weight;               /* [rank_count + channel_count] */
    int32_t moves[PLAY_MOVES];
    int32_t move_count;
    int32_t total_weight;
    char wrong[128]; /* what went wrong first; empty: nothing */
};

static inline void play_init(struct play *g, const struct oracle *o) {
    const struct pp_program *p = o->program;
    size_t actions = (size_t)p->sched->action_count;
    size_t ranks = (size_t)p->sched->rank_count;
    size_t channels = (size_t)p->channel_count + 1;
    *g = (struct play){.o = o, .s = p->sched};
    g->state = malloc(actions);
    g->next = malloc(ranks * sizeof *g->next);
    g->open = malloc(ranks * sizeof *g->open);
    for (int side = 0; side < 2; side++) {
        g->posted[side] = malloc(channels * sizeof(int32_t));
        g->moved[side] = malloc(channels * sizeof(int32_t));
        g->blocks[side] = calloc(ranks, sizeof(int32_t *));
        for (size_t rank = 0; rank < ranks; rank++) {
            int64_t bytes = side == 0 ? p->arena_bytes[rank] : p->host_bytes[rank];
            g->blocks[side][rank] = malloc((size_t)bytes / 64 * sizeof(int32_t) + 1);
        }
    }
    g->uses = malloc(actions * sizeof *g->uses);
    memset(g->uses, -1, actions * sizeof *g->uses);
    g->weight = malloc((ranks + channels) * sizeof *g->weight);
    for (int32_t t = 0; t < o->tenant_count; t++) {
        for (int32_t i = 0; i < o->tenants[t].user_count; i++) {
            int32_t *uses = g->uses[o->tenants[t].users[i]];
            int32_t n = 0;
            while (uses[n] >= 0) {
                n++;
            }
            MUST(n + 1 < PLAY_USES);
            uses[n] = t;
        }
    }
}

static inline void play_deinit(struct play *g) {
    for (int side = 0; side < 2; side++) {
        for (int32_t rank = 0; rank < g->s->rank_count; rank++) {
            free(g->blocks[side][rank]);
        }
        free(g->blocks[side]);
        free(g->posted[side]);
        free(g->moved[side]);
    }
    free(g->state);
    free(g->next);
    free(g->open);
    free(g->uses);
    free(g->weight);
}

static inline void play_fail(struct play *g, int32_t at, const char *what) {
    char text[PP_ACTION_TEXT_BYTES];
    if (g->wrong[0] == '\0') {
        snprintf(g->wrong, sizeof g->wrong, "%s of rank %d: %s",
                 pp_action_text(&g->s->actions[at], text), oracle_rank(g->o, at), what);
    }
}

/* What the action makes is written, what it uses must still be there. */
static inline void play_touch(struct play *g, int32_t at) {
    for (int32_t n = 0; g->uses[at][n] >= 0; n++) {
        const struct oracle_tenant *t = &g->o->tenants[g->uses[at][n]];
        int32_t *block = &g->blocks[t->on_host][t->rank][t->offset / 64];
        for (int64_t i = 0; i < (t->bytes + 63) / 64; i++) {
            if (t->users[0] == at && g->state[at] != PLAY_DONE) {
                block[i] = g->uses[at][n];
            } else if (block[i] != g->uses[at][n]) {
                play_fail(g, at, "what it needs was overwritten");
            }
        }
    }
}

static inline bool play_is_transfer(const struct play *g, int32_t at) {
    return g->o->program->bound[at].channel >= 0 && g->s->actions[at].type != PP_REDUCE_GRAD;
}

/* Have the waits ended, and does nothing of the same channel stand before? */
static inline bool play_may_start(const struct play *g, int32_t at) {
    const struct pp_bound *b = &g->o->program->bound[at];
    for (int32_t i = 0; i < b->wait_count; i++) {
        if (g->state[b->waits[i]] != PLAY_DONE) {
            return false;
        }
    }
    if (play_is_transfer(g, at)) {
        return b->sequence == g->posted[is_recv(&g->s->actions[at])][b->channel];
    }
    return true;
}

static inline void play_start(struct play *g, int32_t at) {
    if (play_is_transfer(g, at)) {
        g->state[at] = PLAY_POSTED;
        g->posted[is_recv(&g->s->actions[at])][g->o->program->bound[at].channel]++;
    } else {
        g->state[at] = PLAY_RUNS;
    }
    play_touch(g, at);
}

/* Where the walk may go on without anything that takes time. */
static inline void play_walk(struct play *g, int32_t rank) {
    for (int32_t end = g->s->rank_begin[rank + 1]; g->next[rank] < end; g->next[rank]++) {
        int32_t at = g->next[rank];
        const struct pp_action *a = &g->s->actions[at];
        if (!pp_action_is_compute(a)) {
            if (g->state[at] == PLAY_WAITS && !g->walks_on) {
                return;
            }
            continue;
        }
        bool both = g->overlaps && a->pair == 1;
        if (a->pair == 2 && g->state[at - 1] != PLAY_DONE) {
            return;
        }
        if (g->state[at] != PLAY_DONE && !(both && g->state[at] == PLAY_RUNS)) {
            return;
        }
    }
}

static inline void play_offer(struct play *g, int32_t at) {
    const struct pp_bound *b = &g->o->program->bound[at];
    int32_t actor = play_is_transfer(g, at) && g->state[at] != PLAY_WAITS
                        ? g->s->rank_count + b->channel
                        : oracle_rank(g->o, at);
    MUST(g->move_count < PLAY_MOVES);
    g->moves[g->move_count++] = at;
    g->total_weight += g->weight[actor];
}

/* Everything that could happen next. */
static inline void play_list_moves(struct play *g) {
    g->move_count = 0;
    g->total_weight = 0;
    for (int32_t rank = 0; rank < g->s->rank_count; rank++) {
        play_walk(g, rank);
        int32_t end = g->s->rank_begin[rank + 1];
        int32_t last = g->next[rank] < end ? g->next[rank] : end - 1;
        while (g->open[rank] < end && g->state[g->open[rank]] == PLAY_DONE) {
            g->open[rank]++;
        }
        for (int32_t at = g->open[rank]; at <= last; at++) {
            const struct pp_bound *b = &g->o->program->bound[at];
            bool can = false;
            if (g->state[at] == PLAY_WAITS) {
                can = (!pp_action_is_compute(&g->s->actions[at]) || at == last) &&
                      play_may_start(g, at);
            } else if (g->state[at] == PLAY_POSTED) {
                can = g->posted[0][b->channel] > b->sequence &&
                      g->posted[1][b->channel] > b->sequence &&
                      g->moved[is_recv(&g->s->actions[at])][b->channel] == b->sequence;
            } else {
                can = g->state[at] == PLAY_RUNS;
            }
            if (can) {
                play_offer(g, at);
            }
        }
    }
}

static inline void play_move(struct play *g, int32_t at) {
    if (g->state[at] == PLAY_WAITS) {
        play_start(g, at);
        return;
    }
    g->state[at] = PLAY_DONE;
    if (play_is_transfer(g, at)) {
        g->moved[is_recv(&g->s->actions[at])][g->o->program->bound[at].channel]++;
    }
    play_touch(g, at);
}

/* One run from beginning to end; g->wrong says how it went. */
static inline void play_run(struct play *g, uint64_t *seed) {
    static const int32_t weights[] = {1, 1, 10, 100, 1000};
    size_t channels = (size_t)g->o->program->channel_count;
    g->overlaps = random_below(seed, 2) == 0;
    g->walks_on = random_below(seed, 2) == 0;
    g->wrong[0] = '\0';
    memset(g->state, PLAY_WAITS, (size_t)g->s->action_count);
    for (int side = 0; side < 2; side++) {
        memset(g->posted[side], 0, channels * sizeof(int32_t));
        memset(g->moved[side], 0, channels * sizeof(int32_t));
    }
    for (int32_t i = 0; i < g->s->rank_count + (int32_t)channels; i++) {
        g->weight[i] = weights[random_below(seed, 5)];
    }
    memcpy(g->next, g->s->rank_begin, (size_t)g->s->rank_count * sizeof *g->next);
    memcpy(g->open, g->s->rank_begin, (size_t)g->s->rank_count * sizeof *g->open);
    for (play_list_moves(g); g->move_count > 0; play_list_moves(g)) {
        int32_t left = random_below(seed, g->total_weight);
        int32_t k = 0;
        for (;; k++) {
            bool moves = play_is_transfer(g, g->moves[k]) && g->state[g->moves[k]] != PLAY_WAITS;
            left -= g->weight[moves ? g->s->rank_count + g->o->program->bound[g->moves[k]].channel
                                    : oracle_rank(g->o, g->moves[k])];
            if (left < 0) {
                break;
            }
        }
        play_move(g, g->moves[k]);
    }
    for (int32_t at = 0; at < g->s->action_count; at++) {
        if (g->state[at] != PLAY_DONE) {
            play_fail(g, at, "the ranks stand still");
        }
    }
}

#endif
