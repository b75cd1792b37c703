/** @file where.h How errors and reports name an action: always by rank, stage, microbatch and text.
 */
#ifndef PP_EXEC_WHERE_H
#define PP_EXEC_WHERE_H

#include "sim/schedule.h"

enum { PP_WHERE_BYTES = 128 };

/** Rank of an action of a sealed schedule. */
static inline int32_t pp_rank_of(const struct pp_sched *s, int32_t action) {
    return s->stage_rank[s->actions[action].stage];
}

/** "rank 1 stage 3 microbatch 2: 3RECV_F2"; without a microbatch "rank 1 stage 3: 3UNSHARD".
 *  @return out */
const char *pp_where(const struct pp_sched *s, int32_t action, char out[PP_WHERE_BYTES]);

#endif
