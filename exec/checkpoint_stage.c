/* A stage's file: header, tensors each with name and count in front, checksum. Little-endian, as
 * the machines are that this runs on; elsewhere it does not build. */
#include "exec/checkpoint_priv.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian");

enum { VERSION = 1, TEXT_BYTES = 72 };
static const uint64_t stage_magic = 0x6567617473707070; /* "pppstage" */

struct file_header {
    uint64_t magic;
    uint32_t version;
    int32_t stage;
    int64_t step;
    uint64_t seed;
    int32_t stage_count, tensor_count;
    char model[TEXT_BYTES], program[TEXT_BYTES];
};

struct tensor_header {
    char name[64];
    int64_t count;
};

static_assert(sizeof(struct file_header) == 184 && sizeof(struct tensor_header) == 72, "layout");
static_assert(sizeof(((struct pp_state *)NULL)->name) == 64, "names are copied whole");

/* The next tensor of the stage from `index` on. @return its index, -1 if there is none */
static int32_t next_tensor(const struct pp_checkpoint_source *source, int32_t index,
                           struct pp_state *state) {
    int32_t count =
        source->compute->state == NULL ? 0 : source->compute->state(source->context, -1, state);
    for (; index < count; index++) {
        *state = (struct pp_state){0};
        source->compute->state(source->context, index, state);
        if (state->stage == source->stage) {
            return index;
        }
    }
    return -1;
}

static int32_t count_tensors(const struct pp_checkpoint_source *source) {
    struct pp_state state;
    int32_t count = 0;
    for (int32_t i = -1; (i = next_tensor(source, i + 1, &state)) >= 0;) {
        count++;
    }
    return count;
}

static struct tensor_header tensor_header_of(const struct pp_state *state) {
    struct tensor_header header = {.count = state->count};
    pp_copy(header.name, sizeof header.name, state->name);
    return header;
}

enum pp_status pp_checkpoint_stage_write(const struct pp_checkpoint_place *place,
                                         const struct pp_checkpoint_key *key,
                                         const struct pp_checkpoint_source *source,
                                         struct pp_err *err) {
    char path[PP_CHECKPOINT_PATH_BYTES], who[64];
    pp_checkpoint_stage_path(place, source->stage, path);
    snprintf(who, sizeof who, " (rank %d, stage %d)", (int)source->rank, (int)source->stage);
    struct file_header header = {.magic = stage_magic,
                                 .version = VERSION,
                                 .stage = source->stage,
                                 .step = key->step,
                                 .seed = key->seed,
                                 .stage_count = key->stage_count,
                                 .tensor_count = count_tensors(source)};
    pp_copy(header.model, sizeof header.model, key->model);
    pp_copy(header.program, sizeof header.program, key->program);
    struct pp_checkpoint_writer w;
    PP_TRY(pp_checkpoint_open(&w, path, err));
    pp_checkpoint_put(&w, &header, sizeof header);
    struct pp_state state;
    for (int32_t i = -1; (i = next_tensor(source, i + 1, &state)) >= 0;) {
        struct tensor_header tensor = tensor_header_of(&state);
        pp_checkpoint_put(&w, &tensor, sizeof tensor);
        pp_checkpoint_put(&w, state.data, (size_t)state.count * sizeof *state.data);
    }
    pp_checkpoint_put_checksum(&w);
    return pp_checkpoint_close(&w, who, err);
}

/* Size and trailer; leaves the file at its beginning. */
static enum pp_status look(FILE *f, const char *path, struct pp_checkpoint_file *file,
                           struct pp_err *err) {
    if (fseek(f, 0, SEEK_END) != 0 || (file->bytes = ftell(f)) < 0) {
        return pp_fail(err, PP_E_FILE, "cannot read %s: %s", path, strerror(errno));
    }
    int64_t least = (int64_t)(sizeof(struct file_header) + sizeof file->checksum);
    if (file->bytes < least) {
        return pp_fail(err, PP_E_FILE, "%s is cut off: it has %" PRId64 " bytes, at least %" PRId64,
                       path, file->bytes, least);
    }
    if (fseek(f, -(long)sizeof file->checksum, SEEK_END) != 0 ||
        fread(&file->checksum, sizeof file->checksum, 1, f) != 1 || fseek(f, 0, SEEK_SET) != 0) {
        return pp_fail(err, PP_E_FILE, "cannot read %s: %s", path, strerror(errno));
    }
    return PP_OK;
}

static enum pp_status open_stage(const char *path, FILE **file_p, struct pp_err *err) {
    *file_p = fopen(path, "rb");
    return *file_p != NULL ? PP_OK
                           : pp_fail(err, PP_E_FILE, "cannot read %s: %s", path, strerror(errno));
}

enum pp_status pp_checkpoint_stage_look(const struct pp_checkpoint_place *place, int32_t stage,
                                        struct pp_checkpoint_file *file_p, struct pp_err *err) {
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_stage_path(place, stage, path);
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        pp_fail(err, PP_E_IO, "process 0 does not see %s (stage %d): %s", path, (int)stage,
                strerror(errno));
        pp_hint(err, "checkpoints must go to a folder that all processes share");
        return PP_E_IO;
    }
    struct pp_checkpoint_file file = {.stage = stage};
    enum pp_status status = look(f, path, &file, err);
    fclose(f);
    PP_TRY(status);
    *file_p = file;
    return PP_OK;
}

static enum pp_status sum_up(FILE *f, const char *path, int64_t bytes, uint64_t *checksum_p,
                             struct pp_err *err) {
    char *block = malloc(PP_CHECKPOINT_BLOCK_BYTES);
    if (block == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for reading %s", path);
    }
    uint64_t checksum = 0;
    while (bytes > 0) {
        size_t size = (size_t)pp_min_i64(bytes, PP_CHECKPOINT_BLOCK_BYTES);
        if (fread(block, 1, size, f) != size) {
            free(block);
            return pp_fail(err, PP_E_FILE, "cannot read %s: %s", path,
                           ferror(f) ? strerror(errno) : "it became shorter");
        }
        checksum = pp_checkpoint_checksum(checksum, block, size);
        bytes -= (int64_t)size;
    }
    free(block);
    *checksum_p = checksum;
    return PP_OK;
}

static enum pp_status verify(FILE *f, const char *path, const struct pp_checkpoint_file *expected,
                             struct pp_err *err) {
    struct pp_checkpoint_file found;
    PP_TRY(look(f, path, &found, err));
    if (found.bytes != expected->bytes) {
        return pp_fail(err, PP_E_FILE, "%s has %" PRId64 " bytes, its manifest says %" PRId64, path,
                       found.bytes, expected->bytes);
    }
    uint64_t checksum = 0;
    PP_TRY(sum_up(f, path, found.bytes - (int64_t)sizeof checksum, &checksum, err));
    if (checksum != found.checksum || checksum != expected->checksum) {
        return pp_fail(err, PP_E_FILE,
                       "%s has changed: its checksum is %016" PRIx64 ", it says %016" PRIx64
                       " and its manifest %016" PRIx64,
                       path, checksum, found.checksum, expected->checksum);
    }
    return PP_OK;
}

/* A whole file, but perhaps one that was put there from elsewhere. */
static enum pp_status check_header(FILE *f, const char *path, const struct pp_checkpoint_key *key,
                                   int32_t stage, struct pp_err *err) {
    struct file_header h;
    if (fseek(f, 0, SEEK_SET) != 0 || fread(&h, sizeof h, 1, f) != 1) {
        return pp_fail(err, PP_E_FILE, "cannot read %s: %s", path, strerror(errno));
    }
    h.model[TEXT_BYTES - 1] = '\0';
    if (h.magic != stage_magic || h.version != VERSION) {
        return pp_fail(err, PP_E_FILE, "%s is not a stage's file of version %d", path, VERSION);
    }
    if (h.stage != stage || h.step != key->step || h.seed != key->seed ||
        h.stage_count != key->stage_count || strcmp(h.model, key->model) != 0) {
        return pp_fail(err, PP_E_FILE,
                       "%s is stage %d of %d after step %" PRId64 " with seed %" PRIu64
                       " of model %.12s, expected stage %d of %d, %" PRId64 ", %" PRIu64
                       " and %.12s",
                       path, h.stage, h.stage_count, h.step, h.seed, h.model, stage,
                       key->stage_count, key->step, key->seed, key->model);
    }
    return PP_OK;
}

enum pp_status pp_checkpoint_stage_verify(const struct pp_checkpoint_place *place,
                                          const struct pp_checkpoint_key *key,
                                          const struct pp_checkpoint_file *file,
                                          struct pp_err *err) {
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_stage_path(place, file->stage, path);
    FILE *f = NULL;
    PP_TRY(open_stage(path, &f, err));
    enum pp_status status = verify(f, path, file, err);
    if (status == PP_OK) {
        status = check_header(f, path, key, file->stage, err);
    }
    fclose(f);
    return status;
}

static enum pp_status read_tensor(FILE *f, const char *path, const struct pp_state *state,
                                  int32_t number, bool load, struct pp_err *err) {
    struct tensor_header found;
    if (fread(&found, sizeof found, 1, f) != 1) {
        return pp_fail(err, PP_E_FILE, "cannot read %s: %s", path, "it became shorter");
    }
    found.name[sizeof found.name - 1] = '\0';
    struct tensor_header expected = tensor_header_of(state);
    if (found.count != expected.count || strcmp(found.name, expected.name) != 0) {
        return pp_fail(err, PP_E_VALUE,
                       "%s: tensor %d is %s of %" PRId64 " numbers, this run's is %s of %" PRId64,
                       path, (int)number, found.name, found.count, expected.name, expected.count);
    }
    size_t count = (size_t)state->count;
    bool read = load ? fread(state->data, sizeof *state->data, count, f) == count
                     : fseek(f, (long)(count * sizeof *state->data), SEEK_CUR) == 0;
    return read ? PP_OK : pp_fail(err, PP_E_FILE, "cannot read %s: it became shorter", path);
}

enum pp_status pp_checkpoint_stage_read(const struct pp_checkpoint_place *place,
                                        const struct pp_checkpoint_source *source, bool load,
                                        struct pp_err *err) {
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_stage_path(place, source->stage, path);
    FILE *f = NULL;
    PP_TRY(open_stage(path, &f, err));
    struct file_header header;
    enum pp_status status = PP_OK;
    if (fread(&header, sizeof header, 1, f) != 1) {
        status = pp_fail(err, PP_E_FILE, "cannot read %s: it became shorter", path);
    } else if (header.tensor_count != count_tensors(source)) {
        status = pp_fail(err, PP_E_VALUE, "%s has %d tensors, this run's stage %d has %d", path,
                         header.tensor_count, (int)source->stage, (int)count_tensors(source));
    }
    struct pp_state state;
    int32_t number = 0;
    for (int32_t i = -1; status == PP_OK && (i = next_tensor(source, i + 1, &state)) >= 0;) {
        status = read_tensor(f, path, &state, number++, load, err);
    }
    fclose(f);
    return status;
}
