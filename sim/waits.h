/**
 * @file waits.h
 * What an action of a lowered schedule waits for, read from the schedule alone, and which of that
 * held it up in a given trace: for traces that were measured, where the end of one action and the
 * start of the next never fall on the same nanosecond.
 *
 * Compute waits for the compute action before it on its rank, its RECV (or the same rank's action
 * that makes its input), its UNSHARD and RELOAD. A part of a pair that was in flight together with
 * the other waits for what both wait for, and not for the other. A message, SEND and RECV alike,
 * waits for the compute actions before its two ends on their ranks and for the SEND before it on
 * its channel; everything else for the compute action before it and the one before it on its lane.
 * What a runtime waits for beyond that, such as a buffer, is not known here.
 *
 * What held an action up is the one of these that ended last; of ties the compute action before it
 * on its rank, then the lowest index.
 */
#ifndef PP_SIM_WAITS_H
#define PP_SIM_WAITS_H

#include "sim/trace.h"

struct pp_waits; /* opaque; read-only once made */

/**
 * @param lowered  sealed and lowered; must outlive the waits
 * @return PP_OK, PP_E_ARG (not lowered), PP_E_DEADLOCK (ranks wait for one another for ever under
 *         rendezvous, so chains of waits would not end), PP_E_NOMEM
 * Cost: O(actions log actions).
 */
enum pp_status pp_waits_create(const struct pp_sched *lowered, struct pp_waits **waits_p,
                               struct pp_err *err);
void pp_waits_destroy(struct pp_waits *waits);

/** What held up `at`, a pp_binding_of for pp_critical_path; chains of it always end. Its lag is
 * what is left until the start, 0 where that was earlier. @param waits  a struct pp_waits */
struct pp_binding pp_waits_binding(const void *waits, const struct pp_trace *trace, int32_t at);

/** When the rank came to the action: queue_ns, else the end of the compute action before it. */
int64_t pp_waits_queue_ns(const struct pp_waits *waits, const struct pp_trace *trace, int32_t at);

#endif
