/**
 * @file deadlock_json.h
 * A wait cycle in JSON documents: an array of {"rank", "action", "waits_for": {"rank", "action"}},
 * each leading to the next and the last to the first.
 */
#ifndef PP_REPORTS_DEADLOCK_JSON_H
#define PP_REPORTS_DEADLOCK_JSON_H

#include "sim/check.h"

#include <jansson.h>

/** @param s  the schedule whose actions the waits are of. @return a new array; NULL: no memory */
json_t *pp_json_deadlock(const struct pp_sched *s, const struct pp_deadlock *deadlock);

#endif
