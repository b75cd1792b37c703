/**
 * @file drive.h
 * Who polls the ranks of this process: one thread all of them (deterministic; a standstill is seen
 * at once), or one thread a rank. With a process a rank there is one rank here. Also the watchdog.
 */
#ifndef PP_EXEC_DRIVE_H
#define PP_EXEC_DRIVE_H

#include "exec/rank.h"

enum pp_failure_kind {
    PP_FAIL_NONE,
    PP_FAIL_STANDSTILL, /* no rank can advance and nothing is under way */
    PP_FAIL_DEADLINE,   /* an action took longer than it may */
    PP_FAIL_MESSAGE,    /* what came is not what was to come */
    PP_FAIL_COMPUTE,    /* the workload failed */
    PP_FAIL_DEAD,       /* another process is gone */
    PP_FAIL_ABORTED,    /* another rank failed first */
};

/** Why a step failed: the first failure, told for the rank that met it. */
struct pp_failure {
    enum pp_failure_kind kind;
    int32_t rank;               /* that failed, or (DEAD) that is gone, also of another process;
                                   -1 none */
    int32_t action;             /* at which it stood; of a message its RECV. -1 not known */
    struct pp_rank_view *views; /* [view_count] all ranks of this process then; may be NULL. Free
                                   with pp_failure_deinit */
    int32_t view_count;
};
void pp_failure_deinit(struct pp_failure *failure);

/** "standstill", "deadline", ... Never NULL. */
const char *pp_failure_text(enum pp_failure_kind kind);

struct pp_drive_options {
    bool threads;            /* one a rank */
    int64_t deadline_ns;     /* an action may take the longest of this ... */
    int64_t deadline_factor; /* ... and this often what was expected of it; 0: only deadline_ns */
    /** Asked some times a second while nothing advances: is another process gone, or has another
     *  one failed? Fills in failure->kind, rank and action and `err`. NULL: nobody to ask. */
    bool (*look_around)(void *context, struct pp_failure *failure, struct pp_err *err);
    /** Asked before a deadline is told: how does an action of another process's rank stand in this
     *  step, and where does that rank? @return false: not known. NULL: it never is. */
    bool (*look_at)(void *context, int64_t step, int32_t action, struct pp_rank_view *view_p,
                    enum pp_action_state *state_p);
    void *look_context;
};

struct pp_drive;

/**
 * @param ranks  [rank_count] of this process; not owned
 * @return PP_OK, PP_E_NOMEM, PP_E_ENV (no more threads)
 */
enum pp_status pp_drive_create(struct pp_rank **ranks, int32_t rank_count,
                               const struct pp_program *program,
                               const struct pp_drive_options *options, struct pp_drive **drive_p,
                               struct pp_err *err);
void pp_drive_destroy(struct pp_drive *drive);

/**
 * Runs one step of all ranks (pp_rank_begin to PP_FINISHED).
 * @param failure_p  filled where it fails
 * @return PP_OK; PP_E_RUN, or what a workload returned. All ranks are aborted then, their threads
 *         idle, and the drive can only be destroyed. `err` is one line that names rank, stage,
 *         microbatch and action.
 */
enum pp_status pp_drive_step(struct pp_drive *drive, int64_t step, struct pp_failure *failure_p,
                             struct pp_err *err);

/** Time 0 of the last step's traces, by clock.h. */
int64_t pp_drive_zero_ns(const struct pp_drive *drive);

/** Who waits for whom, a line a rank: action, since when, for what of which rank. */
void pp_views_table(const struct pp_program *program, const struct pp_rank_view *views,
                    int32_t count, int64_t now_ns, struct pp_text *out);

#endif
