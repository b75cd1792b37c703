/**
 * @file peers.h
 * What the ranks of other processes are doing, by their rings (ring.h): for a drive whose ranks do
 * not advance, and for reports. Only of processes of this machine: others are passed over.
 *
 * All processes must have created their rings before the first look: a ring that an earlier run
 * left in the folder would show a rank as dead.
 */
#ifndef PP_EXEC_PEERS_H
#define PP_EXEC_PEERS_H

#include "exec/drive.h"

struct pp_peers {
    const char *folder; /* of the rings */
    const struct pp_program *program;
    int32_t rank_begin, rank_end; /* of this process */
};

/**
 * Has another process died (PP_FAIL_DEAD), or else another rank failed (PP_FAIL_ABORTED)? A rank is
 * dead whose ring nobody holds although its last word was neither that it failed nor that it left.
 * For pp_drive_options.look_around, and between steps for pp_control.
 * @param context  a struct pp_peers
 * @param failure  kind, rank and action (-1: not known), if so
 * @param err      PP_E_RUN: which rank, in what
 */
bool pp_peers_look(void *context, struct pp_failure *failure, struct pp_err *err);

/** Where the rank of an action stands, and how that does, by its ring. For
 * pp_drive_options.look_at.
 *  @return false: it is not in that step, or its ring does not tell */
bool pp_peers_look_at(void *context, int64_t step, int32_t action, struct pp_rank_view *view_p,
                      enum pp_action_state *state_p);

/**
 * Where other processes' ranks stand, as far as can be seen, in their order.
 * @param views  [rank_count of the program] @return how many
 */
int32_t pp_peers_views(const struct pp_peers *peers, struct pp_rank_view *views);

#endif
