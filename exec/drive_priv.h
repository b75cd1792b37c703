/* What the files of the driver share: who polls, how it waits, and what it says when it fails. */
#ifndef PP_EXEC_DRIVE_PRIV_H
#define PP_EXEC_DRIVE_PRIV_H

#include "exec/rank_priv.h"

struct pp_threads;

struct pp_drive {
    struct pp_rank **ranks;
    int32_t rank_count;
    const struct pp_program *program;
    struct pp_drive_options options;
    int64_t zero_ns;            /* of the step */
    struct pp_threads *threads; /* NULL: one thread drives all */
};

/* ---- waiting: drive.c ---- */

/* How long nothing has advanced, for one who polls. */
struct pp_idle {
    int32_t rounds;
    bool alone; /* as many cores as pollers: a short while of waiting costs nobody anything */
};

/* Nothing advanced: waits a little, longer each time, but never past wake_ns (INT64_MAX: no work in
 * flight, 0: some does not tell its end). @param may_sleep  nothing but that work can go on */
void pp_idle_wait(struct pp_idle *idle, int64_t wake_ns, bool may_sleep);

/* ---- watching: watch.c ---- */

enum { PP_WATCH_NS = 20000000 }; /* how often it is looked around while nothing advances */

/* Asked while nothing advances; *look_ns is 0 when something did. */
static inline bool pp_watch_is_due(int64_t *look_ns) {
    int64_t now_ns = pp_now_ns();
    bool due = *look_ns != 0 && now_ns > *look_ns;
    if (*look_ns == 0 || due) {
        *look_ns = now_ns + PP_WATCH_NS;
    }
    return due;
}

/* Has an action taken too long, or has another process failed? Any thread may ask.
 * @return true: failure and err are filled, but for the views */
bool pp_watch(const struct pp_drive *d, struct pp_failure *failure, struct pp_err *err);

/* Nothing can advance any more. Fills failure and err, but for the views. */
enum pp_status pp_watch_standstill(const struct pp_drive *d, struct pp_failure *failure,
                                   struct pp_err *err);

/* `rank` could not go on: `err` is filled. */
void pp_watch_failed(const struct pp_drive *d, const struct pp_rank *rank,
                     struct pp_failure *failure, struct pp_err *err);

/* All views, while the ranks stand where they failed. */
void pp_watch_views(const struct pp_drive *d, struct pp_failure *failure);

/* ---- threads: drive_threads.c ---- */

enum pp_status pp_threads_create(struct pp_drive *d, struct pp_err *err);
void pp_threads_destroy(struct pp_drive *d);
/* All ranks have begun; runs them until all have finished or one has failed. */
enum pp_status pp_threads_step(struct pp_drive *d, struct pp_failure *failure, struct pp_err *err);

#endif
