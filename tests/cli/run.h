/* Runs the program as a user does, and looks at what it printed. */
#ifndef PP_TESTS_CLI_RUN_H
#define PP_TESTS_CLI_RUN_H

#include "costmodel/base.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct ran {
    int code; /* exit code; 1000 + signal if it was killed */
    struct pp_text out, messages;
};

static inline void ran_free(struct ran *r) {
    pp_text_free(&r->out);
    pp_text_free(&r->messages);
}

static inline void read_whole(FILE *f, struct pp_text *text) {
    char bytes[4096];
    size_t n;
    pp_text_add(text, "", 0);
    while ((n = fread(bytes, 1, sizeof bytes, f)) > 0) {
        pp_text_add(text, bytes, n);
    }
}

/* A file of this test's own in a folder of its own; the folder goes with remove_scratch. */
struct scratch {
    char folder[64];
};

static inline struct scratch make_scratch(void) {
    struct scratch s;
    snprintf(s.folder, sizeof s.folder, "/tmp/pipeplan_test_XXXXXX");
    cr_assert_not_null(mkdtemp(s.folder));
    return s;
}

static inline const char *scratch_write(const struct scratch *s, const char *name,
                                        const char *bytes, size_t size, char path[128]) {
    snprintf(path, 128, "%s/%s", s->folder, name);
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(bytes, 1, size, f), size);
    fclose(f);
    return path;
}

static inline void remove_scratch(const struct scratch *s) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", s->folder);
    cr_assert_eq(system(command), 0);
}

/* Runs a shell line; $P is the program. */
static inline struct ran run_shell(const char *line) {
    struct ran r = {0};
    char errors[] = "/tmp/pipeplan_stderr_XXXXXX";
    int fd = mkstemp(errors);
    cr_assert(fd >= 0);
    struct pp_text command = {0};
    pp_text_printf(&command, "P='%s'; exec 2>'%s'; %s", PP_PROGRAM, errors, line);
    FILE *out = popen(command.bytes, "r");
    cr_assert_not_null(out);
    read_whole(out, &r.out);
    int status = pclose(out);
    r.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    FILE *messages = fdopen(fd, "rb");
    read_whole(messages, &r.messages);
    fclose(messages);
    unlink(errors);
    pp_text_free(&command);
    cr_assert(strstr(r.messages.bytes == NULL ? "" : r.messages.bytes, "Sanitizer") == NULL &&
                  strstr(r.messages.bytes == NULL ? "" : r.messages.bytes, "runtime error") == NULL,
              "%s\n%s", line, r.messages.bytes);
    return r;
}

/* Runs `pipeplan ARGS`. */
static inline struct ran run_plan(const char *args) {
    struct pp_text line = {0};
    pp_text_printf(&line, "\"$P\" %s", args);
    struct ran r = run_shell(line.bytes);
    pp_text_free(&line);
    return r;
}

static inline const char *text_of(const struct pp_text *t) {
    return t->bytes == NULL ? "" : t->bytes;
}

/* Runs `pipeplan ARGS --json`: exactly one document on stdout, with the command's schema. */
static inline json_t *run_json(const char *args, int code) {
    struct pp_text line = {0};
    pp_text_printf(&line, "%s --json", args);
    struct ran r = run_plan(line.bytes);
    json_error_t error;
    json_t *document = json_loads(text_of(&r.out), 0, &error);
    cr_assert_not_null(document, "%s: %s in: %.200s", args, error.text, text_of(&r.out));
    char schema[64];
    snprintf(schema, sizeof schema, "pipeplan.%.*s/1", (int)strcspn(args, " "), args);
    cr_assert_str_eq(json_string_value(json_object_get(document, "schema")), schema);
    cr_assert_eq(r.code, code, "%s: exit code %d, expected %d: %s", args, r.code, code,
                 text_of(&r.messages));
    ran_free(&r);
    pp_text_free(&line);
    return document;
}

static inline json_int_t integer_of(const json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    cr_assert(json_is_integer(value), "%s is no integer", key);
    return json_integer_value(value);
}

static inline double number_of(const json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "%s is no number", key);
    return json_number_value(value);
}

static inline const char *string_of(const json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    cr_assert(json_is_string(value), "%s is no text", key);
    return json_string_value(value);
}

/* The error a command gives: its code, and the words its message and hint must hold. */
static inline void expect_error(const char *args, int exit_code, const char *code,
                                const char *words) {
    json_t *document = run_json(args, exit_code);
    json_t *error = json_object_get(document, "error");
    cr_assert_not_null(error, "%s", args);
    cr_assert_str_eq(string_of(error, "code"), code, "%s: %s", args, string_of(error, "message"));
    struct pp_text all = {0};
    pp_text_printf(&all, "%s; %s", string_of(error, "message"), string_of(error, "hint"));
    cr_assert(strstr(all.bytes, words) != NULL, "%s: \"%s\" lacks \"%s\"", args, all.bytes, words);
    pp_text_free(&all);
    json_decref(document);
}

/* The compact text of a member: "[1,2]". Free it. */
static inline char *dump(const json_t *object, const char *key) {
    return json_dumps(json_object_get(object, key), JSON_COMPACT | JSON_ENCODE_ANY);
}

static inline void expect_member(const json_t *object, const char *key, const char *wanted) {
    char *text = dump(object, key);
    cr_assert_not_null(text, "%s is missing", key);
    cr_assert_str_eq(text, wanted, "%s", key);
    free(text);
}

#endif
