/* pipeplan doctor: what this machine and this build have, and what that is good for. */
#include "exec/registry.h"
#include "reports/cli/cli.h"
#include "reports/cli/run_job.h"
#include "reports/json.h"
#include "reports/table.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_CHECKS = 12, DETAIL_BYTES = 160 };

struct check {
    const char *name;
    bool there;
    bool needed; /* by commands that every user has; else only by what `what_for` says */
    char detail[DETAIL_BYTES];
    const char *what_for, *hint;
};

struct checks {
    struct check rows[MAX_CHECKS];
    int32_t count;
};

static struct check *add(struct checks *c, const char *name, const char *what_for,
                         const char *hint) {
    PP_ASSERT(c->count < MAX_CHECKS);
    struct check *row = &c->rows[c->count++];
    *row = (struct check){.name = name, .what_for = what_for, .hint = hint};
    return row;
}

/* The first line that a program on PATH prints; it is not trusted with anything else. */
static bool first_line(const char *command, char *line, size_t size) {
    FILE *pipe = popen(command, "r");
    bool got = pipe != NULL && fgets(line, (int)size, pipe) != NULL;
    if (pipe != NULL) {
        got = pclose(pipe) == 0 && got;
    }
    line[got ? strcspn(line, "\n") : 0] = '\0';
    return got;
}

static void add_programs(struct checks *c) {
    struct check *gnuplot = add(c, "gnuplot", "report", "apt-get install gnuplot-nox");
    gnuplot->there = first_line("gnuplot --version 2>/dev/null", gnuplot->detail, DETAIL_BYTES);
    gnuplot->needed = true;
    struct check *mpirun = add(c, "mpirun", "run --transport mpi", "apt-get install openmpi-bin");
    mpirun->there = first_line("mpirun --version 2>/dev/null", mpirun->detail, DETAIL_BYTES);
}

static void add_devices(struct checks *c) {
    struct pp_device devices[PP_DEVICE_COUNT];
    pp_exec_devices(devices);
    for (int32_t i = 0; i < PP_DEVICE_COUNT; i++) {
        bool host = strcmp(devices[i].name, "host") == 0;
        struct check *row =
            add(c, devices[i].name, host ? "run --device host" : "run --device cuda",
                host ? "apt-get install libopenblas-dev, and build again"
                     : "a GPU with its driver, and a build with the CUDA toolkit");
        row->there = devices[i].count > 0;
        snprintf(row->detail, sizeof row->detail, "%s", devices[i].detail);
    }
    struct check *mpi =
        add(c, "MPI", "run --transport mpi", "apt-get install libopenmpi-dev, and build again");
    mpi->there = pp_mpi_built();
    pp_mpi_describe(mpi->detail, sizeof mpi->detail);
}

static void add_machine(struct checks *c) {
    struct check *machine = add(c, "machine", "run", "");
    machine->there = true;
    snprintf(machine->detail, sizeof machine->detail, "%ld cores, %.1f GiB of memory free",
             sysconf(_SC_NPROCESSORS_ONLN),
             (double)pp_run_available_bytes() / (1024.0 * 1024.0 * 1024.0));
    struct check *sqlite = add(c, "SQLite", "--db", "apt-get install libsqlite3-0");
    sqlite->there = sqlite3_libversion_number() >= 3037000;
    sqlite->needed = true;
    snprintf(sqlite->detail, sizeof sqlite->detail, "%s", sqlite3_libversion());
}

static json_t *document_of(const struct checks *c) {
    json_t *document = pp_json_document("doctor");
    json_t *rows = json_array();
    json_object_set_new(document, "version", json_string(PP_VERSION));
    for (int32_t i = 0; i < c->count; i++) {
        const struct check *row = &c->rows[i];
        json_array_append_new(rows, json_pack("{s:s, s:b, s:b, s:o, s:s, s:s}", "name", row->name,
                                              "there", (int)row->there, "needed", (int)row->needed,
                                              "detail", pp_json_text(row->detail), "for",
                                              row->what_for, "hint", row->there ? "" : row->hint));
    }
    json_object_set_new(document, "checks", rows);
    return document;
}

static enum pp_status print_text(const struct checks *c, FILE *out, struct pp_err *err) {
    static const char *const heading[] = {"", "there", "what", "for"};
    struct pp_table t;
    pp_table_init(&t, "llll");
    pp_table_row(&t, heading);
    for (int32_t i = 0; i < c->count; i++) {
        const struct check *row = &c->rows[i];
        pp_table_cell(&t, "%s", row->name);
        pp_table_cell(&t, "%s", row->there ? "yes" : "no");
        pp_table_cell(&t, "%s", row->there ? row->detail : row->hint);
        pp_table_cell(&t, "%s", row->what_for);
    }
    fprintf(out, "pipeplan %s\n", PP_VERSION);
    enum pp_status status = pp_table_print(&t, out, err);
    pp_table_deinit(&t);
    return status;
}

enum pp_status pp_cmd_doctor(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    const struct pp_usage usage = {
        .synopsis = "pipeplan doctor",
        .about = "What this machine and this build have, and what that is good for. Exit code 4 "
                 "if something is missing that plans and reports need.",
        .example = "pipeplan doctor --json",
    };
    int32_t count = 0;
    bool helped = false;
    PP_TRY(pp_parse_options(cli, &usage, argc, argv, NULL, 0, &count, &helped, err));
    if (helped) {
        return PP_OK;
    }
    struct checks checks = {.count = 0};
    add_machine(&checks);
    add_devices(&checks);
    add_programs(&checks);
    struct pp_err verdict = {0};
    for (int32_t i = 0; i < checks.count; i++) {
        const struct check *row = &checks.rows[i];
        if (row->needed && !row->there && verdict.status == PP_OK) {
            pp_fail(&verdict, PP_E_ENV, "%s is missing, which `%s` needs", row->name,
                    row->what_for);
            pp_hint(&verdict, "%s", row->hint);
        }
    }
    if (!cli->json) {
        PP_TRY(print_text(&checks, cli->out, err));
    }
    json_t *document = cli->json ? document_of(&checks) : NULL;
    if (document != NULL && verdict.status != PP_OK) {
        json_object_set_new(document, "error", pp_json_error(&verdict));
    }
    *err = verdict;
    return pp_cli_answer(cli, document, err);
}
