#include "exec/checkpoint.h"

#include "exec/checkpoint_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- agreeing ---- */

/* How a process fared; sent whole, so that all can tell what one of them met. */
struct verdict {
    enum pp_status status;
    struct pp_err err;
};

/* One write. */
struct writing {
    const struct pp_control *control;
    const struct pp_checkpoint_key *key;
    const struct pp_checkpoint_ranks *ranks;
    struct pp_checkpoint_place place;
    struct verdict *verdicts; /* [process_count] at process 0 */
    char *holds;              /* [stage_count] is a stage's state here? */
    char *all_holds;          /* [process_count * stage_count] at process 0 */
    int32_t *writer;          /* [stage_count] process that writes it; -1: nobody holds it */
    bool listed;              /* its manifest is in place: from here on it counts */
};

/* Everybody gets process 0's. */
static enum pp_status tell(const struct writing *w, struct verdict *v, struct pp_err *err) {
    PP_TRY(w->control->ops->broadcast(w->control->context, v, sizeof *v, err));
    if (v->status != PP_OK && err != NULL) {
        *err = v->err;
    }
    return v->status;
}

/* Everybody gets that of the first process that failed. */
static enum pp_status agree(const struct writing *w, struct verdict *v, struct pp_err *err) {
    PP_TRY(w->control->ops->gather(w->control->context, v, sizeof *v, w->verdicts, err));
    if (w->control->process == 0) {
        int32_t first = 0;
        while (first < w->control->process_count && w->verdicts[first].status == PP_OK) {
            first++;
        }
        if (first < w->control->process_count) {
            *v = w->verdicts[first];
        }
    }
    return tell(w, v, err);
}

/* ---- writing ---- */

static enum pp_status note_stages(struct writing *w, struct pp_err *err) {
    int32_t stage_count = w->key->stage_count;
    const struct pp_compute_ops *compute = w->ranks->compute;
    for (int32_t r = 0; compute->state != NULL && r < w->ranks->count; r++) {
        struct pp_state state = {0};
        int32_t count = compute->state(w->ranks->contexts[r], -1, &state);
        for (int32_t i = 0; i < count; i++) {
            compute->state(w->ranks->contexts[r], i, &state);
            if (state.stage < 0 || state.stage >= stage_count) {
                return pp_fail(err, PP_E_ARG, "state of stage %d, but there are %d stages",
                               (int)state.stage, (int)stage_count);
            }
            w->holds[state.stage] = 1;
        }
    }
    return PP_OK;
}

static enum pp_status begin(struct writing *w, struct pp_err *err) {
    size_t stage_count = (size_t)w->key->stage_count;
    w->holds = calloc(stage_count + 1, 1);
    w->writer = calloc(stage_count + 1, sizeof *w->writer);
    if (w->control->process == 0) {
        w->all_holds = calloc(stage_count * (size_t)w->control->process_count + 1, 1);
    }
    if (w->holds == NULL || w->writer == NULL ||
        (w->control->process == 0 && w->all_holds == NULL)) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for a checkpoint");
    }
    return note_stages(w, err);
}

/* Who writes what: of copies of a stage the first process's; they are the same. */
static enum pp_status share_out(struct writing *w, struct pp_err *err) {
    const struct pp_control *c = w->control;
    size_t stage_count = (size_t)w->key->stage_count;
    PP_TRY(c->ops->gather(c->context, w->holds, stage_count, w->all_holds, err));
    for (size_t s = 0; c->process == 0 && s < stage_count; s++) {
        w->writer[s] = -1;
        for (int32_t p = c->process_count - 1; p >= 0; p--) {
            w->writer[s] = w->all_holds[(size_t)p * stage_count + s] ? p : w->writer[s];
        }
    }
    PP_TRY(c->ops->broadcast(c->context, w->writer, stage_count * sizeof *w->writer, err));
    return c->ops->broadcast(c->context, &w->place.generation, sizeof w->place.generation, err);
}

static bool holds_stage(const struct pp_checkpoint_ranks *ranks, int32_t rank, int32_t stage) {
    struct pp_state state = {0};
    int32_t count = ranks->compute->state(ranks->contexts[rank], -1, &state);
    for (int32_t i = 0; i < count; i++) {
        ranks->compute->state(ranks->contexts[rank], i, &state);
        if (state.stage == stage) {
            return true;
        }
    }
    return false;
}

static struct pp_checkpoint_source source_of(const struct pp_checkpoint_ranks *ranks, int32_t rank,
                                             int32_t stage) {
    return (struct pp_checkpoint_source){.compute = ranks->compute,
                                         .context = ranks->contexts[rank],
                                         .rank = ranks->rank_begin + rank,
                                         .stage = stage};
}

static enum pp_status write_own(struct writing *w, struct pp_err *err) {
    bool any = false;
    for (int32_t s = 0; s < w->key->stage_count; s++) {
        if (w->writer[s] != w->control->process) {
            continue;
        }
        int32_t rank = 0;
        while (!holds_stage(w->ranks, rank, s)) {
            rank++;
        }
        const struct pp_checkpoint_source source = source_of(w->ranks, rank, s);
        PP_TRY(pp_checkpoint_stage_write(&w->place, w->key, &source, err));
        any = true;
    }
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_step_path(&w->place, path);
    return any ? pp_checkpoint_sync_folder(path, err) : PP_OK;
}

/* Process 0, when all stages are on disk: lists what it sees there. */
static enum pp_status finish(struct writing *w, struct pp_err *err) {
    struct pp_manifest m = {.key = *w->key, .generation = w->place.generation};
    m.files = calloc((size_t)w->key->stage_count + 1, sizeof *m.files);
    if (m.files == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for a checkpoint's manifest");
    }
    enum pp_status status = PP_OK;
    for (int32_t s = 0; s < w->key->stage_count && status == PP_OK; s++) {
        if (w->writer[s] >= 0) {
            status = pp_checkpoint_stage_look(&w->place, s, &m.files[m.file_count++], err);
        }
    }
    if (status == PP_OK) {
        status = pp_manifest_write(&w->place, &m, err);
    }
    pp_manifest_deinit(&m);
    PP_TRY(status);
    w->listed = true;
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_step_path(&w->place, path);
    PP_TRY(pp_checkpoint_sync_folder(path, err));
    return pp_checkpoint_sync_folder(w->place.folder, err);
}

/* Every process takes part in every exchange up to the one that tells of a failure. */
static enum pp_status write_all(struct writing *w, struct pp_err *err) {
    bool first = w->control->process == 0;
    struct verdict v = {.status = PP_OK};
    if (first) {
        v.status = w->verdicts == NULL
                       ? pp_fail(&v.err, PP_E_NOMEM, "out of memory for a checkpoint")
                       : pp_checkpoint_prepare(&w->place, &v.err);
    }
    PP_TRY(tell(w, &v, err));
    v.status = begin(w, &v.err);
    enum pp_status status = agree(w, &v, err);
    if (status == PP_OK) {
        status = share_out(w, err);
    }
    if (status == PP_OK) {
        v.status = write_own(w, &v.err);
        status = agree(w, &v, err);
    }
    if (status == PP_OK) {
        v.status = first ? finish(w, &v.err) : PP_OK;
        status = tell(w, &v, err);
    }
    if (status != PP_OK && first && !w->listed) {
        pp_checkpoint_drop(&w->place);
    }
    return status;
}

enum pp_status pp_checkpoint_write(const char *folder, const struct pp_checkpoint_key *key,
                                   const struct pp_checkpoint_ranks *ranks,
                                   const struct pp_control *control, int32_t keep,
                                   struct pp_err *err) {
    struct writing w = {.control = control,
                        .key = key,
                        .ranks = ranks,
                        .place = {.folder = folder, .step = key->step}};
    if (control->process == 0) {
        w.verdicts = calloc((size_t)control->process_count, sizeof *w.verdicts);
    }
    enum pp_status status = write_all(&w, err);
    if (status == PP_OK && control->process == 0) {
        pp_checkpoint_tidy(&w.place);
        pp_checkpoint_prune(&w.place, keep);
    }
    free(w.verdicts);
    free(w.holds);
    free(w.all_holds);
    free(w.writer);
    return status;
}

/* ---- reading ---- */

static enum pp_status read_manifest(const struct pp_checkpoint_place *place,
                                    struct pp_manifest *manifest_p, struct pp_err *err) {
    enum pp_status status = pp_manifest_read(place, manifest_p, err);
    if (status == PP_E_FILE) {
        char path[PP_CHECKPOINT_PATH_BYTES];
        pp_checkpoint_step_path(place, path);
        pp_hint(err, "remove %s to go on from the checkpoint before it", path);
    }
    return status;
}

enum pp_status pp_checkpoint_find(const char *folder, struct pp_checkpoint_key *key_p,
                                  struct pp_err *err) {
    int64_t *steps = NULL;
    int32_t count = 0;
    PP_TRY(pp_checkpoint_list(folder, &steps, &count, err));
    const struct pp_checkpoint_place place = {.folder = folder, .step = count > 0 ? steps[0] : 0};
    free(steps);
    if (count == 0) {
        return pp_fail(err, PP_E_NOT_FOUND, "no complete checkpoint in %s", folder);
    }
    struct pp_manifest manifest;
    PP_TRY(read_manifest(&place, &manifest, err));
    *key_p = manifest.key;
    pp_manifest_deinit(&manifest);
    return PP_OK;
}

static enum pp_status same_key(const char *path, const struct pp_checkpoint_key *found,
                               const struct pp_checkpoint_key *expected, struct pp_err *err) {
    if (strcmp(found->model, expected->model) != 0) {
        return pp_fail(err, PP_E_VALUE, "%s is of model %.12s, this run trains %.12s", path,
                       found->model, expected->model);
    }
    if (found->seed != expected->seed) {
        return pp_fail(err, PP_E_VALUE,
                       "%s is of a run with seed %" PRIu64 ", this one has seed %" PRIu64, path,
                       found->seed, expected->seed);
    }
    if (found->stage_count != expected->stage_count) {
        return pp_fail(err, PP_E_VALUE, "%s is of %d stages, this run has %d", path,
                       (int)found->stage_count, (int)expected->stage_count);
    }
    return PP_OK;
}

static const struct pp_checkpoint_file *find_file(const struct pp_manifest *m, int32_t stage) {
    for (int32_t i = 0; i < m->file_count; i++) {
        if (m->files[i].stage == stage) {
            return &m->files[i];
        }
    }
    return NULL;
}

enum pass { VERIFY, COMPARE, LOAD };

static enum pp_status read_stage(const struct pp_checkpoint_place *place,
                                 const struct pp_manifest *m,
                                 const struct pp_checkpoint_source *source, enum pass pass,
                                 struct pp_err *err) {
    const struct pp_checkpoint_file *file = find_file(m, source->stage);
    if (file == NULL) {
        char path[PP_CHECKPOINT_PATH_BYTES];
        pp_checkpoint_manifest_path(place, path);
        return pp_fail(err, PP_E_VALUE, "%s has no file of stage %d, which rank %d holds", path,
                       (int)source->stage, (int)source->rank);
    }
    return pass == VERIFY ? pp_checkpoint_stage_verify(place, &m->key, file, err)
                          : pp_checkpoint_stage_read(place, source, pass == LOAD, err);
}

static enum pp_status read_ranks(const struct pp_checkpoint_place *place,
                                 const struct pp_manifest *m,
                                 const struct pp_checkpoint_ranks *ranks, enum pass pass,
                                 struct pp_err *err) {
    for (int32_t r = 0; ranks->compute->state != NULL && r < ranks->count; r++) {
        struct pp_state state = {0};
        int32_t count = ranks->compute->state(ranks->contexts[r], -1, &state), last = -1;
        for (int32_t i = 0; i < count; i++) {
            ranks->compute->state(ranks->contexts[r], i, &state);
            if (state.stage == last) {
                continue; /* its first tensor had all of them read */
            }
            last = state.stage;
            const struct pp_checkpoint_source source = source_of(ranks, r, state.stage);
            PP_TRY(read_stage(place, m, &source, pass, err));
        }
    }
    return PP_OK;
}

enum pp_status pp_checkpoint_read(const char *folder, const struct pp_checkpoint_key *expected,
                                  const struct pp_checkpoint_ranks *ranks, struct pp_err *err) {
    struct pp_checkpoint_place place = {.folder = folder, .step = expected->step};
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_manifest_path(&place, path);
    struct pp_manifest m;
    PP_TRY(read_manifest(&place, &m, err));
    place.generation = m.generation;
    enum pp_status status = same_key(path, &m.key, expected, err);
    /* the ranks' state is touched only when all that will be read is known to be good */
    for (enum pass pass = VERIFY; pass <= LOAD && status == PP_OK; pass++) {
        status = read_ranks(&place, &m, ranks, pass, err);
    }
    pp_manifest_deinit(&m);
    return status;
}
