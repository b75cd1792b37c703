/* The manifest: lines of a key and its value, one of each in this order, then a line a stage, and a
 * last one with the checksum of all before. Read back only what is exactly so. */
#include "exec/checkpoint_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 1 << 24, MAX_STAGES = PP_SCHED_MAX_STAGES, VERSION = 1, LINE_BYTES = 256 };

void pp_manifest_deinit(struct pp_manifest *manifest) {
    free(manifest->files);
    *manifest = (struct pp_manifest){0};
}

static const char *or_dash(const char *text) {
    return text[0] == '\0' ? "-" : text;
}

static void put_stage(struct pp_text *t, const struct pp_checkpoint_place *place,
                      const struct pp_checkpoint_file *file) {
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_stage_path(place, file->stage, path);
    pp_text_printf(t, "stage %d %s %" PRId64 " %016" PRIx64 "\n", (int)file->stage,
                   pp_checkpoint_name(path), file->bytes, file->checksum);
}

static void put_head(struct pp_text *t, const struct pp_manifest *m) {
    pp_text_printf(t,
                   "pipeplan-checkpoint %d\nstep %" PRId64 "\nseed %" PRIu64
                   "\nstages %d\ngeneration %d\nmodel %s\nprogram %s\nfiles %d\n",
                   VERSION, m->key.step, m->key.seed, (int)m->key.stage_count, (int)m->generation,
                   or_dash(m->key.model), or_dash(m->key.program), (int)m->file_count);
}

enum pp_status pp_manifest_write(const struct pp_checkpoint_place *place,
                                 const struct pp_manifest *manifest, struct pp_err *err) {
    struct pp_text t = {0};
    put_head(&t, manifest);
    for (int32_t i = 0; i < manifest->file_count; i++) {
        put_stage(&t, place, &manifest->files[i]);
    }
    if (!t.failed) {
        pp_text_printf(&t, "end %016" PRIx64 "\n", pp_checkpoint_checksum(0, t.bytes, t.size));
    }
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_manifest_path(place, path);
    struct pp_checkpoint_writer w;
    enum pp_status status = t.failed ? pp_fail(err, PP_E_NOMEM, "out of memory for %s", path)
                                     : pp_checkpoint_open(&w, path, err);
    if (status == PP_OK) {
        pp_checkpoint_put(&w, t.bytes, t.size);
        status = pp_checkpoint_close(&w, "", err);
    }
    pp_text_free(&t);
    return status;
}

/* ---- reading ---- */

struct reader {
    const char *path, *text;
    size_t size, at;
    int32_t line;
};

static enum pp_status bad(const struct reader *r, const char *expected, struct pp_err *err) {
    pp_fail(err, PP_E_FILE, "%s is not a whole manifest: line %d, expected %s", r->path,
            (int)r->line, expected);
    return PP_E_FILE;
}

/* The next line, without its end. @return false if it has none, is too long or has zeros in it */
static bool next_line(struct reader *r, char line[LINE_BYTES]) {
    const char *from = r->text + r->at;
    const char *end = memchr(from, '\n', r->size - r->at);
    size_t size = end == NULL ? LINE_BYTES : (size_t)(end - from);
    r->line++;
    if (size >= LINE_BYTES) {
        return false;
    }
    memcpy(line, from, size);
    line[size] = '\0';
    r->at += size + 1;
    return strlen(line) == size;
}

/* The value of the next line, which must have this key. @return NULL: it has another */
static const char *next_value(struct reader *r, const char *key, char line[LINE_BYTES]) {
    size_t size = strlen(key);
    return next_line(r, line) && strncmp(line, key, size) == 0 && line[size] == ' '
               ? line + size + 1
               : NULL;
}

static bool take_unsigned(const char *text, uint64_t most, uint64_t *number_p) {
    uint64_t number = 0;
    if (text == NULL || text[0] == '\0' || (text[0] == '0' && text[1] != '\0')) {
        return false;
    }
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number)) {
            return false;
        }
    }
    *number_p = number;
    return *text == '\0' && number <= most;
}

static bool next_number(struct reader *r, const char *key, uint64_t most, uint64_t *number_p) {
    char line[LINE_BYTES];
    return take_unsigned(next_value(r, key, line), most, number_p);
}

static bool next_hash(struct reader *r, const char *key, char hash[PP_HASH_BYTES]) {
    char line[LINE_BYTES];
    const char *value = next_value(r, key, line);
    if (value == NULL || value[0] == '\0' || strlen(value) >= PP_HASH_BYTES) {
        return false;
    }
    for (const char *c = value; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~') {
            return false;
        }
    }
    return pp_copy(hash, PP_HASH_BYTES, strcmp(value, "-") == 0 ? "" : value);
}

static enum pp_status read_head(struct reader *r, struct pp_manifest *m, struct pp_err *err) {
    uint64_t version, step, stages, generation, files;
    if (!next_number(r, "pipeplan-checkpoint", VERSION, &version) || version != VERSION) {
        return bad(r, "pipeplan-checkpoint 1", err);
    }
    if (!next_number(r, "step", INT64_MAX, &step)) {
        return bad(r, "step and a number", err);
    }
    if (!next_number(r, "seed", UINT64_MAX, &m->key.seed)) {
        return bad(r, "seed and a number", err);
    }
    if (!next_number(r, "stages", MAX_STAGES, &stages)) {
        return bad(r, "stages and a number", err);
    }
    if (!next_number(r, "generation", INT32_MAX, &generation)) {
        return bad(r, "generation and a number", err);
    }
    if (!next_hash(r, "model", m->key.model)) {
        return bad(r, "model and its hash", err);
    }
    if (!next_hash(r, "program", m->key.program)) {
        return bad(r, "program and its hash", err);
    }
    if (!next_number(r, "files", stages, &files)) {
        return bad(r, "files and a number, at most that of stages", err);
    }
    m->key.step = (int64_t)step;
    m->key.stage_count = (int32_t)stages;
    m->generation = (int32_t)generation;
    m->file_count = (int32_t)files;
    return PP_OK;
}

/* "3 stage-0003.bin 1234 0123456789abcdef"; the name must be the one that the stage has: no path
 * comes from a file. */
static bool take_stage(char *value, const struct pp_checkpoint_place *place, int32_t stage_count,
                       struct pp_checkpoint_file *file) {
    char *rest = NULL;
    const char *stage = value == NULL ? NULL : strtok_r(value, " ", &rest);
    const char *name = stage == NULL ? NULL : strtok_r(NULL, " ", &rest);
    const char *bytes = name == NULL ? NULL : strtok_r(NULL, " ", &rest);
    const char *checksum = bytes == NULL ? NULL : strtok_r(NULL, " ", &rest);
    uint64_t number, size;
    if (checksum == NULL || rest[0] != '\0' || strlen(checksum) != 16 ||
        strspn(checksum, "0123456789abcdef") != 16 ||
        !take_unsigned(stage, (uint64_t)stage_count - 1, &number) ||
        !take_unsigned(bytes, INT64_MAX, &size)) {
        return false;
    }
    *file = (struct pp_checkpoint_file){
        .stage = (int32_t)number, .bytes = (int64_t)size, .checksum = strtoull(checksum, NULL, 16)};
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_stage_path(place, file->stage, path);
    return strcmp(name, pp_checkpoint_name(path)) == 0;
}

static enum pp_status read_stages(struct reader *r, const struct pp_checkpoint_place *place,
                                  struct pp_manifest *m, struct pp_err *err) {
    if (m->file_count == 0) {
        return PP_OK;
    }
    m->files = calloc((size_t)m->file_count, sizeof *m->files);
    if (m->files == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %s", r->path);
    }
    for (int32_t i = 0; i < m->file_count; i++) {
        char line[LINE_BYTES];
        const char *value = next_value(r, "stage", line);
        char copy[LINE_BYTES] = "";
        if (value != NULL) {
            pp_copy(copy, sizeof copy, value);
        }
        if (!take_stage(copy, place, m->key.stage_count, &m->files[i]) ||
            (i > 0 && m->files[i].stage <= m->files[i - 1].stage)) {
            return bad(r, "a stage, its file's name, size and checksum", err);
        }
    }
    return PP_OK;
}

static enum pp_status read_end(struct reader *r, struct pp_err *err) {
    uint64_t checksum = pp_checkpoint_checksum(0, r->text, r->at);
    char line[LINE_BYTES], expected[32];
    snprintf(expected, sizeof expected, "end %016" PRIx64, checksum);
    if (!next_line(r, line) || strcmp(line, expected) != 0) {
        return bad(r, "the end with the checksum of what is before", err);
    }
    r->line++;
    return r->at == r->size ? PP_OK : bad(r, "nothing more", err);
}

static enum pp_status parse(struct reader *r, const struct pp_checkpoint_place *place,
                            struct pp_manifest *m, struct pp_err *err) {
    PP_TRY(read_head(r, m, err));
    struct pp_checkpoint_place own = *place;
    own.generation = m->generation;
    PP_TRY(read_stages(r, &own, m, err));
    PP_TRY(read_end(r, err));
    if (m->key.step != place->step) {
        return pp_fail(err, PP_E_FILE, "%s is of step %" PRId64 ", its folder of step %" PRId64,
                       r->path, m->key.step, place->step);
    }
    return PP_OK;
}

enum pp_status pp_manifest_read(const struct pp_checkpoint_place *place,
                                struct pp_manifest *manifest_p, struct pp_err *err) {
    char path[PP_CHECKPOINT_PATH_BYTES], *text = NULL;
    pp_checkpoint_manifest_path(place, path);
    struct reader r = {.path = path};
    PP_TRY(pp_read_file(path, MAX_BYTES, &text, &r.size, err));
    r.text = text;
    struct pp_manifest m = {0};
    enum pp_status status = parse(&r, place, &m, err);
    free(text);
    if (status != PP_OK) {
        pp_manifest_deinit(&m);
        return status;
    }
    *manifest_p = m;
    return PP_OK;
}
