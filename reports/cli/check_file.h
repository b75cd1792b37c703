/* The verdict on a schedule file, as `pipeplan check` gives it, and a file that passes. */
#ifndef PP_REPORTS_CLI_CHECK_FILE_H
#define PP_REPORTS_CLI_CHECK_FILE_H

#include "sim/check.h"
#include "sim/lower.h"
#include "sim/schedule_csv.h"
#include "sim/schedule_warn.h"

/* What a file is held against. */
struct pp_check_asked {
    struct pp_csv_expect expect;
    struct pp_comms comms;
    enum pp_lower_mode lowering;         /* of a compute-only file */
    const struct pp_schedule_info *info; /* NULL = under no name */
};

/* Valid: no findings, no deadlock. Free with pp_verdict_deinit. */
struct pp_verdict {
    struct pp_sched *sched;   /* the file's; not sealed where its order alone is at fault, NULL
                                 where cells, placement or counts are */
    struct pp_sched *lowered; /* ours, of a compute-only file whose order runs; may be NULL */
    struct pp_findings findings;
    struct pp_deadlock deadlock;           /* wait_count 0 = none */
    const struct pp_sched *deadlock_sched; /* what its actions are of */
    struct pp_err deadlock_err;            /* in words */
    struct pp_sched_warnings warnings;
};
void pp_verdict_deinit(struct pp_verdict *v);
bool pp_verdict_is_valid(const struct pp_verdict *v);

/* Reads, seals, runs the order alone, lowers, and runs what comes of it.
 * @return PP_OK (a verdict was reached, of whatever kind), PP_E_RANGE (counts beyond the limits),
 *         PP_E_NOMEM */
enum pp_status pp_verdict_reach(const char *name, const char *text, size_t size,
                                const struct pp_check_asked *asked, struct pp_verdict *v,
                                struct pp_err *err);

/* What became of a repair. */
struct pp_repair {
    bool is_possible;
    int32_t moved_count;               /* actions pulled forward */
    struct pp_text text;               /* the file that passes */
    enum pp_lower_mode lowering;       /* of a lowered file: where receives stand now */
    char reason[PP_ERR_MESSAGE_BYTES]; /* why it is not possible */
};

/* Makes a file that passes, out of one that has this verdict and does not; looked at again before
 * it is given out. @return PP_OK, also where there is none; PP_E_NOMEM */
enum pp_status pp_verdict_repair(const struct pp_verdict *v, const struct pp_check_asked *asked,
                                 struct pp_repair *repair, struct pp_err *err);

#endif
