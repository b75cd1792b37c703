/**
 * @file checkpoint_priv.h
 * Parts of checkpoint.c: names and folders, stage files, the manifest.
 *
 * Files of a step are of a generation, 0 unless a step is written again that has a complete
 * checkpoint already: its files must stay until the new manifest has taken the place of the old.
 */
#ifndef PP_EXEC_CHECKPOINT_PRIV_H
#define PP_EXEC_CHECKPOINT_PRIV_H

#include "exec/checkpoint.h"

enum { PP_CHECKPOINT_PATH_BYTES = 4096, PP_CHECKPOINT_BLOCK_BYTES = 1 << 20 };

/* ---- names and folders: checkpoint_folder.c ---- */

/** What a checkpoint's path is made of. */
struct pp_checkpoint_place {
    const char *folder;
    int64_t step;
    int32_t generation;
};

/** DIR/step-00000010 */
void pp_checkpoint_step_path(const struct pp_checkpoint_place *place, char *path);
/** DIR/step-00000010/stage-0003.bin, or stage-0003.g1.bin of generation 1 */
void pp_checkpoint_stage_path(const struct pp_checkpoint_place *place, int32_t stage, char *path);
/** DIR/step-00000010/manifest */
void pp_checkpoint_manifest_path(const struct pp_checkpoint_place *place, char *path);
/** Last part of a path. */
const char *pp_checkpoint_name(const char *path);

/** Steps with a manifest, newest first. @param steps_p  free() it; NULL if there are none
 *  @return PP_OK (also without a folder), PP_E_FILE, PP_E_NOMEM */
enum pp_status pp_checkpoint_list(const char *folder, int64_t **steps_p, int32_t *count_p,
                                  struct pp_err *err);

/** Removes what an interrupted write left, and makes DIR/step-NNNNNNNN.
 *  @param place  its generation is set. @return PP_OK, PP_E_IO, PP_E_NOMEM */
enum pp_status pp_checkpoint_prepare(struct pp_checkpoint_place *place, struct pp_err *err);
/** Takes back what was written of a generation; other ones stay. */
void pp_checkpoint_drop(const struct pp_checkpoint_place *place);
/** Removes all of a step but one generation. */
void pp_checkpoint_tidy(const struct pp_checkpoint_place *place);
/** Removes complete checkpoints but the newest `keep`, of which `place` is one. */
void pp_checkpoint_prune(const struct pp_checkpoint_place *place, int32_t keep);

enum pp_status pp_checkpoint_sync_folder(const char *path, struct pp_err *err);

/* ---- a file under another name until it is whole: checkpoint_file.c ---- */

struct pp_checkpoint_writer {
    int descriptor;
    int error; /* errno of the first failure; later calls do nothing */
    char path[PP_CHECKPOINT_PATH_BYTES], partial[PP_CHECKPOINT_PATH_BYTES];
    char *buffer;
    size_t used;
    uint64_t checksum; /* of what left the buffer */
};

enum pp_status pp_checkpoint_open(struct pp_checkpoint_writer *w, const char *path,
                                  struct pp_err *err);
void pp_checkpoint_put(struct pp_checkpoint_writer *w, const void *data, size_t size);
/** Puts the checksum of all that was put; nothing may follow. */
void pp_checkpoint_put_checksum(struct pp_checkpoint_writer *w);
/** Syncs and renames; removes it if anything failed. @param who  "(rank 1, stage 3)"
 *  @return PP_OK, PP_E_IO */
enum pp_status pp_checkpoint_close(struct pp_checkpoint_writer *w, const char *who,
                                   struct pp_err *err);

/** Of a file: of its blocks (PP_CHECKPOINT_BLOCK_BYTES, the last may be shorter) one after the
 *  other. @param before  of the blocks before, 0 at first */
uint64_t pp_checkpoint_checksum(uint64_t before, const void *block, size_t size);

/* ---- stage files: checkpoint_stage.c ---- */

/** A stage's file as the manifest lists it. */
struct pp_checkpoint_file {
    int32_t stage, unused;
    int64_t bytes;
    uint64_t checksum;
};

/** The tensors of one stage in a rank's state. */
struct pp_checkpoint_source {
    const struct pp_compute_ops *compute;
    void *context;
    int32_t rank, stage;
};

enum pp_status pp_checkpoint_stage_write(const struct pp_checkpoint_place *place,
                                         const struct pp_checkpoint_key *key,
                                         const struct pp_checkpoint_source *source,
                                         struct pp_err *err);
/** Size and checksum of a file just written, by what is on disk. @return PP_OK, PP_E_IO */
enum pp_status pp_checkpoint_stage_look(const struct pp_checkpoint_place *place, int32_t stage,
                                        struct pp_checkpoint_file *file_p, struct pp_err *err);
/** Reads all of it: is it whole, and of this checkpoint? @return PP_OK, PP_E_FILE, PP_E_NOMEM */
enum pp_status pp_checkpoint_stage_verify(const struct pp_checkpoint_place *place,
                                          const struct pp_checkpoint_key *key,
                                          const struct pp_checkpoint_file *file,
                                          struct pp_err *err);
/** Are its tensors those of the state? And if `load`, reads them. Verify it first.
 *  @return PP_OK, PP_E_FILE, PP_E_VALUE */
enum pp_status pp_checkpoint_stage_read(const struct pp_checkpoint_place *place,
                                        const struct pp_checkpoint_source *source, bool load,
                                        struct pp_err *err);

/* ---- manifest: checkpoint_manifest.c ---- */

struct pp_manifest {
    struct pp_checkpoint_key key;
    int32_t generation;
    int32_t file_count;
    struct pp_checkpoint_file *files; /* by stage */
};

void pp_manifest_deinit(struct pp_manifest *manifest);
/** @return PP_OK, PP_E_IO, PP_E_NOMEM */
enum pp_status pp_manifest_write(const struct pp_checkpoint_place *place,
                                 const struct pp_manifest *manifest, struct pp_err *err);
/** Of place's folder and step. @return PP_OK, PP_E_FILE, PP_E_NOMEM */
enum pp_status pp_manifest_read(const struct pp_checkpoint_place *place,
                                struct pp_manifest *manifest_p, struct pp_err *err);

#endif
