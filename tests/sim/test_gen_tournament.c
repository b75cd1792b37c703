/* The tournament of ranks against looking at all of them, for every number of ranks: the bottom row
 * is uneven where that is no power of two. */
#include "sim/gen_tournament.h"
#include "tests/sim/sim_support.h"

enum { MOST_RANKS = 40, CHANGES = 300 };

static int32_t first_by_looking(const struct pp_tournament *t) {
    int32_t first = 0;
    for (int32_t rank = 1; rank < t->count; rank++) {
        if (t->start_ns[rank] < t->start_ns[first]) {
            first = rank;
        }
    }
    return first;
}

/* Few values, so that starts are often equal; one in eight ranks never starts. */
static int64_t draw_start(uint64_t *seed) {
    return random_below(seed, 8) == 0 ? INT64_MAX : random_below(seed, 12);
}

Test(gen_tournament, the_first_is_the_earliest_and_of_equals_the_lowest) {
    uint64_t seed = 5;
    int64_t start_ns[MOST_RANKS];
    int32_t winner[2 * MOST_RANKS];
    for (int32_t count = 1; count <= MOST_RANKS; count++) {
        struct pp_tournament t = {.start_ns = start_ns, .winner = winner, .count = count};
        for (int32_t rank = 0; rank < count; rank++) {
            start_ns[rank] = draw_start(&seed);
        }
        pp_tournament_begin(&t);
        cr_assert_eq(pp_tournament_first(&t), first_by_looking(&t), "%d ranks", count);
        for (int i = 0; i < CHANGES; i++) {
            pp_tournament_set(&t, random_below(&seed, count), draw_start(&seed));
            cr_assert_eq(pp_tournament_first(&t), first_by_looking(&t), "%d ranks, change %d",
                         count, i);
        }
    }
}
