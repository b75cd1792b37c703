/**
 * @file gen_tournament.h
 * Private to the generators that schedule by time: which of some ranks starts first, known again in
 * O(log ranks) after one of them changed. Of equal starts the lower rank's is first.
 */
#ifndef PP_SIM_GEN_TOURNAMENT_H
#define PP_SIM_GEN_TOURNAMENT_H

#include <stdint.h>

/** Arrays are the caller's. Leaves stand at winner[count + rank], the first of all at winner[1]. */
struct pp_tournament {
    int64_t *start_ns; /* [count] INT64_MAX = never */
    int32_t *winner;   /* [2 * count] */
    int32_t count;     /* at least 1 */
};

static inline void pp_tournament_play(const struct pp_tournament *t, int32_t node) {
    int32_t a = t->winner[2 * node];
    int32_t b = t->winner[2 * node + 1];
    int64_t a_ns = t->start_ns[a];
    int64_t b_ns = t->start_ns[b];
    t->winner[node] = a_ns < b_ns || (a_ns == b_ns && a < b) ? a : b;
}

/** Plays all matches, by the starts that are there. */
static inline void pp_tournament_begin(const struct pp_tournament *t) {
    for (int32_t rank = 0; rank < t->count; rank++) {
        t->winner[t->count + rank] = rank;
    }
    for (int32_t node = t->count - 1; node > 0; node--) {
        pp_tournament_play(t, node);
    }
}

static inline void pp_tournament_set(const struct pp_tournament *t, int32_t rank,
                                     int64_t start_ns) {
    t->start_ns[rank] = start_ns;
    for (int32_t node = (t->count + rank) / 2; node > 0; node /= 2) {
        pp_tournament_play(t, node);
    }
}

static inline int32_t pp_tournament_first(const struct pp_tournament *t) {
    return t->winner[1];
}

#endif
