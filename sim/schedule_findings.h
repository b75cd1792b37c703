/**
 * @file schedule_findings.h
 * All that is wrong with a schedule, instead of the first: reading and sealing note a failure here
 * and go on behind it. One thread an object.
 */
#ifndef PP_SIM_SCHEDULE_FINDINGS_H
#define PP_SIM_SCHEDULE_FINDINGS_H

#include "sim/schedule.h"

enum { PP_FINDINGS_MAX = 100 };

struct pp_finding {
    struct pp_err err; /* line = row, column = cell, both 1-based; 0 = the file, the row */
    char action[PP_ACTION_TEXT_BYTES]; /* as far as it is known; may be empty */
};

/** Zero-initialised is empty; free with pp_findings_deinit. */
struct pp_findings {
    struct pp_finding *items; /* [count] */
    int32_t count;            /* at most PP_FINDINGS_MAX: then the search ends */
    bool is_partial;          /* actions on wrong ranks were left out: others are not missing */
};
void pp_findings_deinit(struct pp_findings *f);

/**
 * What to do about a failure.
 * @param f       NULL: nothing is noted
 * @param err     of `status`; not NULL if `f` is not
 * @param action  copied
 * @return PP_OK, to go on: `status` was PP_OK, or a fault of the file (PP_E_CSV, PP_E_PLACEMENT)
 *         and could be noted; else `status`
 */
enum pp_status pp_findings_take(struct pp_findings *f, enum pp_status status,
                                const struct pp_err *err, const char *action);

/** pp_sched_seal that goes on. @return as pp_sched_seal; PP_E_CSV if anything was noted in `f`,
 *  which may hold earlier findings, and then `err` is the first of them */
enum pp_status pp_sched_seal_all(struct pp_sched *s, struct pp_findings *f, struct pp_err *err);

#endif
