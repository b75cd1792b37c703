/* `pipeplan check`: does a schedule file run, under declared communication, and if not, why. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "reports/cli/check_file.h"
#include "reports/cli/comms_words.h"
#include "reports/cli/cli.h"
#include "reports/cli/sched_options.h"
#include "reports/cli/sched_warnings.h"

#include "costmodel/value.h"
#include "reports/deadlock_json.h"
#include "reports/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct flags {
    const char *file, *format, *placement, *schedule, *comms, *channels, *lowering, *repair;
    int64_t pp, stages, microbatches, slices;
    bool has_pp, has_stages, has_microbatches, has_slices;
};

/* One check: what was asked, what was found. */
struct check {
    const struct flags *flags;
    struct pp_check_asked asked;
    int32_t *stage_rank; /* of --placement, else NULL */
    char *text;
    size_t size;
    struct pp_verdict verdict;
    struct pp_repair repair;
    bool is_written; /* the repaired file */
};

static void check_deinit(struct check *c) {
    pp_text_free(&c->repair.text);
    pp_verdict_deinit(&c->verdict);
    free(c->text);
    free(c->stage_rank);
}

/* ---- what is asked ---- */

static enum pp_status read_words(const struct flags *flags, struct pp_check_asked *asked,
                                 struct pp_err *err) {
    static const char *const formats[] = {"csv", "csv-comms"};
    int32_t format;
    PP_TRY(pp_choose_word("--format", flags->format, formats, 2, &format, err));
    asked->expect.is_lowered = format == 1;
    PP_TRY(pp_channels_word(flags->channels, &asked->comms.channels, err));
    PP_TRY(pp_lowering_word(flags->lowering, &asked->lowering, err));
    return pp_comms_word(flags->comms, &asked->comms.buffer_count, err);
}

/* A schedule's name says how stages and microbatches are to be read. */
static enum pp_status read_name(struct check *c, struct pp_err *err) {
    const struct flags *flags = c->flags;
    if (flags->schedule != NULL) {
        PP_TRY(pp_schedule_find(flags->schedule, &c->asked.info, err));
    }
    return pp_csv_expect_kind(&c->asked.expect, c->asked.info,
                              flags->has_slices ? (int32_t)flags->slices : 0, err);
}

static enum pp_status read_placement(struct check *c, struct pp_err *err) {
    struct pp_csv_expect *expect = &c->asked.expect;
    if (expect->stage_count < expect->rank_count) {
        return pp_fail(err, PP_E_PLACEMENT, "%d stages on %d ranks: every rank holds at least one",
                       expect->stage_count, expect->rank_count);
    }
    if (c->flags->placement == NULL) {
        return PP_OK;
    }
    int32_t placement;
    PP_TRY(pp_choose_word("--placement", c->flags->placement, (const char *const[]){"loop", "v"}, 2,
                          &placement, err));
    c->stage_rank = malloc((size_t)expect->stage_count * sizeof *c->stage_rank);
    if (c->stage_rank == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for %d stages", expect->stage_count);
    }
    expect->stage_rank = c->stage_rank;
    return pp_place(placement == 0 ? PP_PLACE_LOOP : PP_PLACE_V, expect->rank_count,
                    expect->stage_count, c->stage_rank, err);
}

static enum pp_status read_asked(struct check *c, struct pp_err *err) {
    const struct flags *flags = c->flags;
    PP_TRY(read_words(flags, &c->asked, err));
    c->asked.expect.rank_count = (int32_t)flags->pp;
    c->asked.expect.stage_count = (int32_t)flags->stages;
    c->asked.expect.microbatch_count = (int32_t)flags->microbatches;
    PP_TRY(read_name(c, err));
    PP_TRY(read_placement(c, err));
    int64_t fewest = 2 * flags->stages * c->asked.expect.microbatch_count;
    if (fewest > PP_SCHED_MAX_ACTIONS) {
        return pp_fail(err, PP_E_RANGE,
                       "%lld stages x %d microbatches need at least %lld actions, the limit is %d",
                       (long long)flags->stages, c->asked.expect.microbatch_count,
                       (long long)fewest, PP_SCHED_MAX_ACTIONS);
    }
    return PP_OK;
}

static enum pp_status read_text(struct check *c, struct pp_err *err) {
    const char *path = c->flags->file;
    PP_TRY(pp_read_file(path,
                        c->asked.expect.is_lowered ? PP_CSV_MAX_LOWERED_BYTES : PP_CSV_MAX_BYTES,
                        &c->text, &c->size, err));
    const char *zero = memchr(c->text, 0, c->size);
    if (zero == NULL) {
        return PP_OK;
    }
    enum pp_status status = pp_fail(err, PP_E_FILE, "byte %lld is zero: this is not a text file",
                                    (long long)(zero - c->text) + 1);
    pp_err_place(err, path, 0, 0);
    return status;
}

/* ---- the repaired file ---- */

static int write_all(FILE *f, const char *bytes, size_t size) {
    int why = fwrite(bytes, 1, size, f) == size ? 0 : errno;
    return fclose(f) != 0 && why == 0 ? errno : why;
}

/* Writes beside it and renames, so that `path` is never a part of a file. @return 0 or an errno */
static int replace_file(const char *path, mode_t mode, const char *bytes, size_t size) {
    struct pp_text temporary = {0};
    pp_text_printf(&temporary, "%s.%ld.tmp", path, (long)getpid());
    FILE *f = temporary.failed ? NULL : fopen(temporary.bytes, "wbx");
    int why = temporary.failed ? ENOMEM : errno;
    if (f != NULL) {
        why = mode != 0 && fchmod(fileno(f), mode) != 0 ? errno : 0;
        int unwritten = write_all(f, bytes, size);
        why = why != 0 ? why : unwritten;
        if (why == 0 && rename(temporary.bytes, path) != 0) {
            why = errno;
        }
        if (why != 0) {
            unlink(temporary.bytes);
        }
    }
    pp_text_free(&temporary);
    return why;
}

/* A file is replaced, where a link leads to one, too; what is none, as a pipe, is written to. */
static enum pp_status write_whole(const char *path, const char *bytes, size_t size,
                                  struct pp_err *err) {
    struct stat there;
    int why;
    if (stat(path, &there) == 0 && S_ISREG(there.st_mode)) {
        char *file = realpath(path, NULL);
        why = file == NULL ? errno : replace_file(file, there.st_mode & 0777, bytes, size);
        free(file);
    } else if (lstat(path, &there) != 0) {
        why = replace_file(path, 0, bytes, size);
    } else {
        FILE *f = fopen(path, "wb");
        why = f == NULL ? errno : write_all(f, bytes, size);
    }
    return why == 0 ? PP_OK : pp_fail(err, PP_E_IO, "cannot write %s: %s", path, strerror(why));
}

/* A file without fault is its own repair, byte for byte. */
static enum pp_status repair(struct check *c, struct pp_err *err) {
    const char *path = c->flags->repair;
    if (path == NULL) {
        return PP_OK;
    }
    if (pp_verdict_is_valid(&c->verdict)) {
        PP_TRY(write_whole(path, c->text, c->size, err));
    } else {
        PP_TRY(pp_verdict_repair(&c->verdict, &c->asked, &c->repair, err));
        if (!c->repair.is_possible) {
            return PP_OK;
        }
        PP_TRY(write_whole(path, c->repair.text.bytes, c->repair.text.size, err));
    }
    c->is_written = true;
    return PP_OK;
}

/* ---- the answer ---- */

static json_t *number_or_null(int32_t number) {
    return number > 0 ? json_integer(number) : json_null();
}

static json_t *finding_json(const struct pp_finding *f) {
    json_t *row = json_object();
    json_object_set_new(row, "code", json_string(pp_status_code(f->err.status)));
    json_object_set_new(row, "message", pp_json_text(f->err.message));
    json_object_set_new(row, "hint", pp_json_text(f->err.hint));
    json_object_set_new(row, "row", number_or_null(f->err.line));
    json_object_set_new(row, "column", number_or_null(f->err.column));
    json_object_set_new(row, "action",
                        f->action[0] == '\0' ? json_null() : pp_json_text(f->action));
    return row;
}

static json_t *repair_json(const struct check *c) {
    if (c->flags->repair == NULL) {
        return json_null();
    }
    json_t *row = json_object();
    json_object_set_new(row, "file", pp_json_text(c->flags->repair));
    json_object_set_new(row, "written", json_boolean(c->is_written));
    json_object_set_new(row, "moved_actions", json_integer(c->repair.moved_count));
    json_object_set_new(row, "lowering", /* of a lowered file: where its receives stand now */
                        c->repair.text.size == 0 || !c->asked.expect.is_lowered
                            ? json_null()
                            : json_string(pp_lower_mode_text(c->repair.lowering)));
    json_object_set_new(row, "reason",
                        c->repair.reason[0] == '\0' ? json_null() : pp_json_text(c->repair.reason));
    return row;
}

static json_t *document_of(const struct pp_cli *cli, const struct check *c) {
    const struct pp_verdict *v = &c->verdict;
    json_t *document = pp_json_document(cli->command);
    json_t *errors = json_array();
    for (int32_t i = 0; i < v->findings.count; i++) {
        json_array_append_new(errors, finding_json(&v->findings.items[i]));
    }
    json_object_set_new(document, "file", pp_json_text(c->flags->file));
    json_object_set_new(document, "valid", json_boolean(pp_verdict_is_valid(v)));
    json_object_set_new(document, "errors", errors);
    json_object_set_new(document, "more_errors",
                        json_boolean(v->findings.count == PP_FINDINGS_MAX));
    json_object_set_new(document, "warnings", pp_sched_warnings_json(&v->warnings));
    json_object_set_new(document, "deadlock",
                        v->deadlock.wait_count == 0
                            ? json_null()
                            : pp_json_deadlock(v->deadlock_sched, &v->deadlock));
    json_object_set_new(document, "repair", repair_json(c));
    json_object_set_new(document, "format", json_string(c->flags->format));
    json_object_set_new(document, "channels", json_string(c->flags->channels));
    json_object_set_new(document, "comms", json_string(c->flags->comms));
    json_object_set_new(document, "lowering",
                        json_string(c->asked.expect.is_lowered ? "file" : c->flags->lowering));
    json_object_set_new(document, "placement",
                        json_string(c->flags->placement == NULL ? "file" : c->flags->placement));
    json_object_set_new(document, "schedule",
                        c->asked.info == NULL ? json_null() : json_string(c->asked.info->name));
    return document;
}

static void print_text(const struct pp_cli *cli, const struct check *c) {
    const struct pp_verdict *v = &c->verdict;
    bool is_lowered = c->asked.expect.is_lowered;
    fprintf(cli->out, "%s: %s (%s, %s%s%s%s channels, %s)\n", c->flags->file,
            pp_verdict_is_valid(v)       ? "valid"
            : v->deadlock.wait_count > 0 ? "hangs"
                                         : "not valid",
            c->flags->format, is_lowered ? "" : "lowering ", is_lowered ? "" : c->flags->lowering,
            is_lowered ? "" : ", ", c->flags->channels, c->flags->comms);
    for (int32_t i = 0; i < v->findings.count; i++) {
        fprintf(cli->out, "  %s: %s\n", pp_status_code(v->findings.items[i].err.status),
                v->findings.items[i].err.message);
    }
    if (v->findings.count == PP_FINDINGS_MAX) {
        fprintf(cli->out, "  and perhaps more: the search ends after %d\n", PP_FINDINGS_MAX);
    }
    for (int32_t i = 0; i < v->deadlock.wait_count; i++) {
        const struct pp_wait *w = &v->deadlock.waits[i];
        char action[PP_ACTION_TEXT_BYTES];
        char needed[PP_ACTION_TEXT_BYTES];
        fprintf(cli->out, "  rank %d stands in %s, which waits for %s of rank %d\n", w->rank,
                pp_action_text(&v->deadlock_sched->actions[w->action], action),
                pp_action_text(&v->deadlock_sched->actions[w->for_action], needed), w->for_rank);
    }
    for (int32_t i = 0; i < v->warnings.count; i++) {
        fprintf(cli->out, "  %s: %s\n", v->warnings.items[i].code, v->warnings.items[i].message);
    }
    if (c->is_written) {
        fprintf(cli->out, "  %s: written, %d actions moved\n", c->flags->repair,
                c->repair.moved_count);
    }
}

/* What is wrong with the file, in one line. */
static void describe(const struct check *c, struct pp_err *err) {
    const struct pp_verdict *v = &c->verdict;
    if (v->deadlock.wait_count > 0) {
        pp_fail(err, PP_E_CHECK, "%s", v->deadlock_err.message);
    } else {
        pp_fail(err, PP_E_CHECK, "%d error%s, the first: %s", v->findings.count,
                v->findings.count == 1 ? "" : "s", v->findings.items[0].err.message);
    }
    if (c->flags->repair == NULL && v->sched != NULL) { /* only its order is at fault */
        pp_hint(err, "--repair OUT writes an order that runs, if there is one");
    } else if (c->flags->repair == NULL) {
        pp_hint(err, "%s", v->findings.items[0].err.hint);
    } else if (!c->is_written) {
        pp_hint(err, "not repaired, %s not written: %.250s", c->flags->repair, c->repair.reason);
    }
    pp_err_place(err, c->flags->file, 0, 0);
}

/* The answer, and, unless all went well, an error beside it: a repaired file that could not be
 * written, else that the file is not valid. */
static enum pp_status answer(struct pp_cli *cli, const struct check *c, struct pp_err *err) {
    json_t *document = NULL;
    if (cli->json) {
        document = document_of(cli, c);
        if (err->status != PP_OK) {
            json_object_set_new(document, "error", pp_json_error(err));
        }
    } else {
        print_text(cli, c);
    }
    if (err->status == PP_OK && !pp_verdict_is_valid(&c->verdict)) {
        describe(c, err);
    }
    return pp_cli_answer(cli, document, err);
}

static enum pp_status check(struct pp_cli *cli, const struct flags *flags, struct pp_err *err) {
    struct check c = {.flags = flags};
    enum pp_status status = read_asked(&c, err);
    if (status == PP_OK) {
        status = read_text(&c, err);
    }
    if (status == PP_OK) {
        status = pp_verdict_reach(flags->file, c.text, c.size, &c.asked, &c.verdict, err);
    }
    if (status == PP_OK) {
        *err = (struct pp_err){0}; /* of what was wrong with the file; the verdict holds it */
        status = repair(&c, err);
        if (status == PP_OK) {
            *err = (struct pp_err){0};
        }
        if (status == PP_OK || status == PP_E_IO) {
            status = answer(cli, &c, err);
        }
    }
    check_deinit(&c);
    return status;
}

enum pp_status pp_cmd_check(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    struct flags flags = {
        .format = "csv", .comms = "rendezvous", .channels = "directed", .lowering = "ours"};
    const struct pp_option options[] = {
        {"--pp", PP_OPT_INT, &flags.pp, &flags.has_pp, 1, PP_SCHED_MAX_RANKS, "P",
         "pipeline ranks, a row each"},
        {"--stages", PP_OPT_INT, &flags.stages, &flags.has_stages, 1, PP_SCHED_MAX_STAGES, "S",
         "stages, both copies of a bidirectional schedule counted"},
        {"--microbatches", PP_OPT_INT, &flags.microbatches, &flags.has_microbatches, 1,
         PP_SCHED_MAX_MICROBATCHES, "M",
         "microbatches of one flush; of Seq1F1B its units, unless --slices is given"},
        {"--format", PP_OPT_TEXT, &flags.format, NULL, 0, 0, "csv|csv-comms",
         "compute-only, or with communication; default csv"},
        {"--placement", PP_OPT_TEXT, &flags.placement, NULL, 0, 0, "loop|v",
         "where stages must be; default: where the file has them"},
        {"--schedule", PP_OPT_TEXT, &flags.schedule, NULL, 0, 0, "NAME",
         "the name under which it is to run: its kind, and W_PLACEMENT"},
        {"--slices", PP_OPT_INT, &flags.slices, &flags.has_slices, 1, PP_SCHED_MAX_MICROBATCHES,
         "N", "slices of a sequence: checks their order; --microbatches then counts whole ones"},
        {"--comms", PP_OPT_TEXT, &flags.comms, NULL, 0, 0, "rendezvous|buffered:K",
         "a send ends when it is received, or while fewer than K are not; default rendezvous"},
        {"--channels", PP_OPT_TEXT, &flags.channels, NULL, 0, 0, "rank|pair|directed",
         "what shares a queue: all of a rank, of two ranks, or one way; default directed"},
        {"--lowering", PP_OPT_TEXT, &flags.lowering, NULL, 0, 0, "torch|ours|batched",
         "where sends and receives of a compute-only file go; default ours"},
        {"--repair", PP_OPT_TEXT, &flags.repair, NULL, 0, 0, "OUT",
         "write a reordered file that passes"},
    };
    const struct pp_usage usage = {
        .synopsis = "pipeplan check FILE.csv --pp P --stages S --microbatches M [options]",
        .about = "Does a schedule file run to its end under the declared communication? Tells all "
                 "its errors, or the shortest cycle of waits.",
        .example = "pipeplan check torch.csv --pp 4 --stages 8 --microbatches 16 --channels pair "
                   "--lowering torch --repair better.csv",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
    };
    int32_t count;
    bool helped;
    PP_TRY(pp_parse_options(cli, &usage, argc, argv, &flags.file, 1, &count, &helped, err));
    if (helped) {
        return PP_OK;
    }
    if (count != 1) {
        pp_fail(err, PP_E_USAGE, "expected one schedule file, got %d", count);
        pp_hint(err, "usage: %s", usage.synopsis);
        return PP_E_USAGE;
    }
    PP_TRY(pp_need_option(flags.has_pp, "--pp", &usage, err));
    PP_TRY(pp_need_option(flags.has_stages, "--stages", &usage, err));
    PP_TRY(pp_need_option(flags.has_microbatches, "--microbatches", &usage, err));
    return check(cli, &flags, err);
}
