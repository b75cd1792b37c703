/**
 * @file ring.h
 * The recent events of a rank, in a file that is mapped: what was written survives the death of the
 * process, also by SIGKILL, and other processes of the machine can read it. The writer holds a lock
 * on the file as long as it lives, so that its death is seen at once and no number of a process can
 * deceive. (A process that it forks and that does not exec holds it, too.)
 *
 * One writer a ring; writing is a few stores, without a system call. A reader may see an event that
 * is being written: each has its number in front and a checksum behind, and torn ones are left out.
 */
#ifndef PP_EXEC_RING_H
#define PP_EXEC_RING_H

#include "exec/program.h"

enum { PP_RING_EVENTS = 256, PP_RING_PATH_BYTES = 4096 };

enum pp_event_kind {
    PP_EVENT_BEGIN,
    PP_EVENT_POSTED,
    PP_EVENT_STARTED,
    PP_EVENT_DONE,
    PP_EVENT_BLOCKED,
    PP_EVENT_STEP_DONE,
    PP_EVENT_FAILED,
    PP_EVENT_ENDED /* its writer left of its own will, after a step or before the first */
};

struct pp_event {
    int64_t time_ns, step;
    int32_t action; /* index; -1 none */
    int32_t other;  /* action it waits for; -1 none */
    int32_t kind;   /* enum pp_event_kind */
    int32_t unused;
};

struct pp_ring;

/** Path of a rank's ring in a run's folder: DIR/rank-3.ring. */
void pp_ring_path(const char *folder, int32_t rank, char *path, size_t size);

/** Creates (or empties) the file and locks it. @param folder  NULL: memory only, no file
 *  @return PP_OK, PP_E_IO (cannot be written, or another process holds it), PP_E_NOMEM */
enum pp_status pp_ring_create(const char *folder, int32_t rank, const char *program_hash,
                              struct pp_ring **ring_p, struct pp_err *err);
/** Leaves the file. Within a step a last event says that the rank failed: it gave up, but did not
 * die. */
void pp_ring_destroy(struct pp_ring *ring);

void pp_ring_write(struct pp_ring *ring, const struct pp_event *event);

/** What is left of a rank. */
struct pp_ring_reading {
    bool alive;        /* its writer lives; says nothing if not of the same machine */
    bool same_machine; /* written on this machine since it was started */
    int64_t process;   /* its process number */
    int32_t count;     /* events, oldest first */
    struct pp_event events[PP_RING_EVENTS];
};

/** Never waits. @param program_hash  NULL: of any program
 *  @return PP_OK, PP_E_FILE (no ring, not a ring, of another program) */
enum pp_status pp_ring_read(const char *folder, int32_t rank, const char *program_hash,
                            struct pp_ring_reading *reading_p, struct pp_err *err);

/** Where the rank stood by its last events: like pp_rank_view, as far as the ring tells. The last
 *  BLOCKED, STARTED or POSTED event of the step that no DONE follows. @return its index, or -1 */
int32_t pp_ring_last_open(const struct pp_ring_reading *reading);
/** The action of that event; of a rank at the end of its list what it waited for there.
 *  @return index of an action, or -1 */
int32_t pp_ring_last_action(const struct pp_ring_reading *reading);

#endif
