#include "exec/checkpoint_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A path too long for its buffer is cut, and the cut one is not there or cannot be made. */
void pp_checkpoint_step_path(const struct pp_checkpoint_place *place, char *path) {
    snprintf(path, PP_CHECKPOINT_PATH_BYTES, "%s/step-%08" PRId64, place->folder, place->step);
}

void pp_checkpoint_stage_path(const struct pp_checkpoint_place *place, int32_t stage, char *path) {
    char generation[16] = "";
    if (place->generation > 0) {
        snprintf(generation, sizeof generation, ".g%d", (int)place->generation);
    }
    snprintf(path, PP_CHECKPOINT_PATH_BYTES, "%s/step-%08" PRId64 "/stage-%04d%s.bin",
             place->folder, place->step, (int)stage, generation);
}

void pp_checkpoint_manifest_path(const struct pp_checkpoint_place *place, char *path) {
    snprintf(path, PP_CHECKPOINT_PATH_BYTES, "%s/step-%08" PRId64 "/manifest", place->folder,
             place->step);
}

const char *pp_checkpoint_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* ---- names of ours ---- */

/* Decimal digits, at least `least`, as printf pads them. @return behind them, NULL if there are
 * none
 */
static const char *take_number(const char *text, int least, int64_t *number_p) {
    int64_t number = 0;
    int digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9'; digits++) {
        if (!pp_mul_i64(number, 10, &number) || !pp_add_i64(number, text[digits] - '0', &number)) {
            return NULL;
        }
    }
    bool canonical = digits == least || (digits > least && text[0] != '0');
    *number_p = number;
    return canonical ? text + digits : NULL;
}

/* "step-00000010" */
static bool is_step(const char *name, int64_t *step_p) {
    const char *end = strncmp(name, "step-", 5) == 0 ? take_number(name + 5, 8, step_p) : NULL;
    return end != NULL && *end == '\0';
}

/* "stage-0003.bin", "stage-0003.g1.bin", either with ".tmp": whose generation? */
static bool is_stage(const char *name, int64_t *generation_p, bool *partial_p) {
    int64_t stage;
    const char *end = strncmp(name, "stage-", 6) == 0 ? take_number(name + 6, 4, &stage) : NULL;
    *generation_p = 0;
    if (end != NULL && strncmp(end, ".g", 2) == 0) {
        end = take_number(end + 2, 1, generation_p);
    }
    if (end == NULL || strncmp(end, ".bin", 4) != 0) {
        return false;
    }
    *partial_p = strcmp(end, ".bin.tmp") == 0;
    return *partial_p || strcmp(end, ".bin") == 0;
}

/* ---- listing ---- */

static int newer_first(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static bool is_complete(const char *folder, int64_t step) {
    const struct pp_checkpoint_place place = {.folder = folder, .step = step};
    char path[PP_CHECKPOINT_PATH_BYTES];
    struct stat st;
    pp_checkpoint_manifest_path(&place, path);
    return stat(path, &st) == 0;
}

/* Steps that have a folder, in no order. */
static enum pp_status list_steps(const char *folder, int64_t **steps_p, int32_t *count_p,
                                 struct pp_err *err) {
    *steps_p = NULL;
    *count_p = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return errno == ENOENT
                   ? PP_OK
                   : pp_fail(err, PP_E_FILE, "cannot read %s: %s", folder, strerror(errno));
    }
    int32_t room = 0;
    enum pp_status status = PP_OK;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        int64_t step;
        if (!is_step(e->d_name, &step)) {
            continue;
        }
        if (*count_p == room) {
            room = room == 0 ? 16 : room * 2;
            int64_t *grown = realloc(*steps_p, (size_t)room * sizeof *grown);
            if (grown == NULL) {
                status = pp_fail(err, PP_E_NOMEM, "out of memory for the steps in %s", folder);
                break;
            }
            *steps_p = grown;
        }
        (*steps_p)[(*count_p)++] = step;
    }
    closedir(dir);
    if (status != PP_OK) {
        free(*steps_p);
        *steps_p = NULL;
    }
    return status;
}

enum pp_status pp_checkpoint_list(const char *folder, int64_t **steps_p, int32_t *count_p,
                                  struct pp_err *err) {
    int64_t *steps = NULL;
    int32_t count = 0, complete = 0;
    PP_TRY(list_steps(folder, &steps, &count, err));
    for (int32_t i = 0; i < count; i++) {
        if (is_complete(folder, steps[i])) {
            steps[complete++] = steps[i];
        }
    }
    if (complete > 0) {
        qsort(steps, (size_t)complete, sizeof *steps, newer_first);
    }
    *steps_p = steps;
    *count_p = complete;
    return PP_OK;
}

/* ---- removing: only files with names of ours; what cannot be removed stays ---- */

enum what { PARTIAL, ONE_GENERATION, ALL_BUT_ONE };

static bool goes(const char *name, enum what what, int64_t generation) {
    int64_t of = 0;
    bool partial = false;
    if (strcmp(name, "manifest.tmp") == 0) {
        return true;
    }
    if (!is_stage(name, &of, &partial)) {
        return false;
    }
    switch (what) {
    case PARTIAL:
        return partial;
    case ONE_GENERATION:
        return partial || of == generation;
    case ALL_BUT_ONE:
        return partial || of != generation;
    }
    return false;
}

static void remove_files(const struct pp_checkpoint_place *place, enum what what,
                         int64_t generation) {
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_step_path(place, path);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (goes(e->d_name, what, generation)) {
            unlinkat(dirfd(dir), e->d_name, 0);
        }
    }
    closedir(dir);
}

static void remove_step(const char *folder, int64_t step) {
    const struct pp_checkpoint_place place = {.folder = folder, .step = step};
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_manifest_path(&place, path);
    unlink(path); /* first: from here on it is none */
    remove_files(&place, ALL_BUT_ONE, -1);
    pp_checkpoint_step_path(&place, path);
    rmdir(path);
}

void pp_checkpoint_drop(const struct pp_checkpoint_place *place) {
    remove_files(place, ONE_GENERATION, place->generation);
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_step_path(place, path);
    rmdir(path); /* stays where another generation is in it */
}

void pp_checkpoint_tidy(const struct pp_checkpoint_place *place) {
    remove_files(place, ALL_BUT_ONE, place->generation);
}

void pp_checkpoint_prune(const struct pp_checkpoint_place *place, int32_t keep) {
    int64_t *steps = NULL;
    int32_t count = 0, kept = 1;
    if (pp_checkpoint_list(place->folder, &steps, &count, NULL) != PP_OK) {
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        if (steps[i] != place->step && ++kept > keep) {
            remove_step(place->folder, steps[i]);
        }
    }
    free(steps);
}

/* ---- preparing ---- */

static enum pp_status make_folder(const char *path, struct pp_err *err) {
    struct stat st;
    if (mkdir(path, 0777) == 0 ||
        (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))) {
        return PP_OK;
    }
    return pp_fail(err, PP_E_IO, "cannot make folder %s: %s", path, strerror(errno));
}

/* What interrupted writes left in complete checkpoints, and folders that never became one. */
static enum pp_status clean(const char *folder, struct pp_err *err) {
    int64_t *steps = NULL;
    int32_t count = 0;
    PP_TRY(list_steps(folder, &steps, &count, err));
    for (int32_t i = 0; i < count; i++) {
        struct pp_checkpoint_place place = {.folder = folder, .step = steps[i]};
        struct pp_manifest manifest;
        if (!is_complete(folder, steps[i])) {
            remove_step(folder, steps[i]);
        } else if (pp_manifest_read(&place, &manifest, NULL) == PP_OK) {
            place.generation = manifest.generation;
            pp_checkpoint_tidy(&place);
            pp_manifest_deinit(&manifest);
        } else {
            remove_files(&place, PARTIAL, 0);
        }
    }
    free(steps);
    return PP_OK;
}

/* One that no file of the step has, also where its manifest cannot be read. */
static int32_t free_generation(const struct pp_checkpoint_place *place) {
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_step_path(place, path);
    DIR *dir = opendir(path);
    int64_t last = -1;
    for (struct dirent *e = dir == NULL ? NULL : readdir(dir); e != NULL; e = readdir(dir)) {
        int64_t generation;
        bool partial;
        if (is_stage(e->d_name, &generation, &partial) && generation < INT32_MAX) {
            last = pp_max_i64(last, generation);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return (int32_t)(last + 1);
}

enum pp_status pp_checkpoint_prepare(struct pp_checkpoint_place *place, struct pp_err *err) {
    PP_TRY(make_folder(place->folder, err));
    PP_TRY(clean(place->folder, err));
    place->generation = free_generation(place);
    char path[PP_CHECKPOINT_PATH_BYTES];
    pp_checkpoint_step_path(place, path);
    return make_folder(path, err);
}

enum pp_status pp_checkpoint_sync_folder(const char *path, struct pp_err *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* EINVAL: a file system that cannot, and needs not */
    bool synced = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    return synced ? PP_OK
                  : pp_fail(err, PP_E_IO, "cannot sync folder %s: %s", path, strerror(error));
}
