/**
 * @file gen_search.h
 * Private to the generators: improves an order in makespan and span at once, within a fixed number
 * of steps. Deterministic: no clock, a generator of random numbers of its own.
 *
 * A search holds the best order so far, with its starts as keys (gen_decode.h). Climbing shifts the
 * keys of some actions, decodes, and keeps what is no worse in either figure; equal orders are
 * kept, too, so that it can walk along plateaus. It ends when both figures meet their lower bounds.
 *
 * Source: justification of project schedules (Valls et al. 2005) with random shifts.
 */
#ifndef PP_SIM_GEN_SEARCH_H
#define PP_SIM_GEN_SEARCH_H

#include "sim/gen_decode.h"

struct pp_search {
    struct pp_decoder *decoder;       /* borrowed; several searches may share it */
    struct pp_decode_figures figures; /* of the best order; PP_DECODE_ANY = none yet */
    struct pp_decode_figures bounds;  /* no order can be below */
    uint8_t *order;                   /* [action_count] the best order, for pp_decode_put */
    int64_t *keys;                    /* [action_count] its starts */
    int64_t *trial;                   /* [action_count] for the caller to fill and offer */
    uint64_t random;
};

/** @return PP_OK, PP_E_NOMEM */
enum pp_status pp_search_init(struct pp_search *s, struct pp_decoder *d, struct pp_err *err);
void pp_search_deinit(struct pp_search *s);

/** Takes what the decoder has decoded last. */
void pp_search_take(struct pp_search *s, struct pp_decode_figures figures);

/** Decodes keys and takes the order if it is no worse in either figure. @return taken */
bool pp_search_offer(struct pp_search *s, const int64_t *keys, struct pp_decode_rules rules);

/** Do the figures meet the bounds? */
bool pp_search_is_done(const struct pp_search *s);

/** Climbs from the best order for about `steps` actions decoded. Cost: about 70 ns a step. */
void pp_search_climb(struct pp_search *s, int64_t steps);

#endif
