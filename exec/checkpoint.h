/**
 * @file checkpoint.h
 * What a run needs to go on: one file a stage (parameters and moments) and a manifest. A checkpoint
 * is there whole or not at all: each file is written under another name, synced and renamed, the
 * manifest last, by process 0, after all processes are done. Older ones are removed only then.
 *
 *   DIR/step-00000010/stage-0003.bin   DIR/step-00000010/manifest
 *
 * A stage's file is a header, then its tensors in the order of compute.h's `state`, then a
 * checksum. It belongs to what the stage holds, not to a schedule: a run of another schedule with
 * the same stages, on ranks placed in another way, can go on from it, bit for bit. Copies of a
 * stage (DualPipe) are one stage here: `state` gives both the number of the one in the model, their
 * contents are the same, and the first process that holds one writes it; both read it.
 *
 * The folder is shared by all processes, tensors are in host memory. A step that has a complete
 * checkpoint is written again under other names (stage-0003.g1.bin), and the manifest decides. A
 * process that limits its files' sizes must ignore SIGXFSZ to be told of it here.
 */
#ifndef PP_EXEC_CHECKPOINT_H
#define PP_EXEC_CHECKPOINT_H

#include "exec/compute.h"
#include "exec/control.h"

/** What a checkpoint must agree with to be used. */
struct pp_checkpoint_key {
    int64_t step; /* steps that are done */
    uint64_t seed;
    int32_t stage_count;
    char model[PP_HASH_BYTES];   /* of shape, stages and data: who resumes must train the same */
    char program[PP_HASH_BYTES]; /* that wrote it; only told */
};

/** The ranks of this process whose state is written or read. */
struct pp_checkpoint_ranks {
    const struct pp_compute_ops *compute;
    void *const *contexts; /* [count] */
    int32_t count;
    int32_t rank_begin; /* number of the first; only told */
};

/**
 * Writes DIR/step-NNNNNNNN; all processes call it.
 * @param keep  complete checkpoints to leave, at least 1
 * @return PP_OK; PP_E_IO (disk full, no right: names file, rank and stage; earlier checkpoints are
 * as they were, nothing half-written is left), PP_E_NOMEM. All processes get the same status.
 */
enum pp_status pp_checkpoint_write(const char *folder, const struct pp_checkpoint_key *key,
                                   const struct pp_checkpoint_ranks *ranks,
                                   const struct pp_control *control, int32_t keep,
                                   struct pp_err *err);

/** The newest complete checkpoint of a folder. @return PP_OK, PP_E_NOT_FOUND, PP_E_FILE (the newest
 *  manifest cannot be read: says what to remove) */
enum pp_status pp_checkpoint_find(const char *folder, struct pp_checkpoint_key *key_p,
                                  struct pp_err *err);

/** Reads that of expected->step back into the ranks, whose state stays as it is if any file is not
 *  as it should be. expected->program is not looked at.
 *  @return PP_OK; PP_E_FILE (missing, cut, changed: which file), PP_E_VALUE (of another model, seed
 *  or other stages: both are named), PP_E_NOMEM */
enum pp_status pp_checkpoint_read(const char *folder, const struct pp_checkpoint_key *expected,
                                  const struct pp_checkpoint_ranks *ranks, struct pp_err *err);

#endif
