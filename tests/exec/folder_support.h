/* A folder for one test, and files to be damaged in it. */
#ifndef PP_TESTS_FOLDER_SUPPORT_H
#define PP_TESTS_FOLDER_SUPPORT_H

#include "costmodel/base.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* splitmix64: the same numbers everywhere. */
static inline uint64_t next_number(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

struct folder {
    char path[64];
};

static inline struct folder make_folder(void) {
    struct folder f = {.path = "/tmp/pipeplan-test-XXXXXX"};
    cr_assert_not_null(mkdtemp(f.path));
    return f;
}

static inline void remove_tree(const char *path) {
    DIR *dir = opendir(path);
    if (dir == NULL) {
        unlink(path);
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            char inner[1024];
            cr_assert_lt(snprintf(inner, sizeof inner, "%s/%s", path, e->d_name), 1024);
            remove_tree(inner);
        }
    }
    closedir(dir);
    rmdir(path);
}

static inline void write_bytes(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f, "%s", path);
    cr_assert_eq(fwrite(bytes, 1, size, f), size);
    cr_assert_eq(fclose(f), 0);
}

/* free() it */
static inline char *read_bytes(const char *path, size_t *size_p) {
    char *bytes = NULL;
    struct pp_err err = {0};
    cr_assert_eq(pp_read_file(path, 1 << 30, &bytes, size_p, &err), PP_OK, "%s", err.message);
    return bytes;
}

/* Entries of a folder whose name has `part` in it; "": all. */
static inline int count_entries(const char *path, const char *part) {
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return 0;
    }
    int count = 0;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        count += e->d_name[0] != '.' && strstr(e->d_name, part) != NULL;
    }
    closedir(dir);
    return count;
}

static inline bool exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

#endif
