#include "reports/cli/cli.h"

#include "exec/registry.h"
#include "reports/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct command {
    const char *name;
    pp_command *run;
    const char *help;
} commands[] = {
    {"plan", pp_cmd_plan, "what a recipe does, and which changes are better"},
    {"report", pp_cmd_report, "pictures of a stored plan"},
    {"export", pp_cmd_export, "a stored plan as CSV or as NeMo configuration"},
    {"compare", pp_cmd_compare, "an execution and its prediction, or two of either kind"},
    {"calibrate", pp_cmd_calibrate, "what executions teach about costs"},
    {"split", pp_cmd_split, "stages, layers and module names of a split"},
    {"schedule", pp_cmd_schedule, "the order of a schedule"},
    {"check", pp_cmd_check, "does a schedule file run, and if not, why"},
    {"simulate", pp_cmd_simulate, "times, bubbles and activations of a schedule"},
    {"run", pp_cmd_run, "run a plan's schedule on this machine"},
    {"doctor", pp_cmd_doctor, "what this machine and this build have"},
    {"models", pp_cmd_models, "the model catalogue, or the shape of a config.json"},
    {"hardware", pp_cmd_hardware, "the hardware catalogue"},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static volatile sig_atomic_t stop_requested; /* written by the handler of SIGINT and SIGTERM only */

static volatile sig_atomic_t stop_requested_at; /* seconds, cut to fit; likewise */

/* Commands look at stop_requested between their parts. Who asks again, a second later at least,
 * does not want to wait for the end of one. (`timeout` sends its one signal twice.) */
static void request_stop(int signal_number) {
    struct timespec now = {0};
    (void)signal_number;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sig_atomic_t seconds = (sig_atomic_t)(now.tv_sec % SIG_ATOMIC_MAX);
    if (stop_requested != 0 && seconds - stop_requested_at > 1) {
        _exit(130);
    }
    stop_requested_at = stop_requested != 0 ? stop_requested_at : seconds;
    stop_requested = 1;
}

static void install_handlers(void) {
    struct sigaction stop = {.sa_handler = request_stop};
    sigemptyset(&stop.sa_mask);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    /* a closed pipe and a file that may not grow are write errors, not deaths */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
}

/* A standard stream that was closed would lend its number to the next file opened: output would
 * end up in a database. A file that cannot be written keeps the number and makes writing fail. */
static void hold_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
            open("/dev/null", O_RDONLY); /* takes the lowest free number, fd */
        }
    }
}

int pp_exit_code(enum pp_status status) {
    switch (status) {
    case PP_OK:
        return 0;
    case PP_E_CHECK:
    case PP_E_LIMIT:
    case PP_E_NO_FIT:
        return 1;
    case PP_E_USAGE:
        return 2;
    case PP_E_RANGE:
    case PP_E_FILE:
    case PP_E_SYNTAX:
    case PP_E_TYPE:
    case PP_E_KEY:
    case PP_E_VALUE:
    case PP_E_SCHEDULE:
    case PP_E_MICROBATCH:
    case PP_E_STAGES:
    case PP_E_BATCH:
    case PP_E_WORLD:
    case PP_E_NODIV:
    case PP_E_SINGLE:
    case PP_E_MULTI:
    case PP_E_ROUND:
    case PP_E_SPLIT:
    case PP_E_PLACEMENT:
    case PP_E_FQN:
    case PP_E_PIPELINE:
    case PP_E_NO_SHAPE:
    case PP_E_MODEL:
    case PP_E_HARDWARE:
    case PP_E_CSV:
    case PP_E_DEADLOCK:
    case PP_E_NOT_FOUND:
        return 3;
    case PP_E_ENV:
    case PP_E_IO:
    case PP_E_NOMEM:
        return 4;
    case PP_E_STORE:
        return 5;
    case PP_E_ARG:
    case PP_E_RUN:
        return 6;
    case PP_E_INTERRUPTED:
        return 130;
    case PP_STATUS_COUNT:
        break;
    }
    return 6;
}

void pp_cli_complain(const struct pp_cli *cli, const struct pp_err *err) {
    char place[PP_ERR_PLACE_BYTES + 32] = "";
    if (err->file[0] != '\0' && err->line > 0) {
        snprintf(place, sizeof place, "%s:%d:%d: ", err->file, err->line, err->column);
    } else if (strstr(err->message, err->file) == NULL) {
        snprintf(place, sizeof place, "%s: ", err->file);
    }
    /* in one piece: the processes of a run share where it goes */
    fprintf(cli->messages, "pipeplan: %s: %s%s%s%s\n", pp_status_code(err->status), place,
            err->message, err->hint[0] == '\0' ? "" : "; ", err->hint);
}

enum pp_status pp_cli_answer(struct pp_cli *cli, json_t *document, struct pp_err *err) {
    enum pp_status status = err == NULL ? PP_OK : err->status;
    if (status != PP_OK) {
        pp_cli_complain(cli, err);
    }
    struct pp_err own = {0};
    enum pp_status written = PP_OK;
    if (cli->json) {
        written = pp_json_write(document, cli->out, &own);
    }
    json_decref(document);
    if (written != PP_OK) {
        pp_cli_complain(cli, &own);
        status = written;
    }
    if (err != NULL) {
        *err = (struct pp_err){0}; /* said already */
    }
    return status;
}

static void print_version(FILE *out) {
    struct pp_device devices[PP_DEVICE_COUNT];
    pp_exec_devices(devices);
    fprintf(out, "pipeplan %s\n", PP_VERSION);
    for (int i = 0; i < PP_DEVICE_COUNT; i++) {
        fprintf(out, "  %-5s %d (%s)\n", devices[i].name, devices[i].count, devices[i].detail);
    }
}

static void print_usage(FILE *out) {
    fprintf(out, "pipeplan %s: plans pipeline-parallel training\n\n", PP_VERSION);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "  pipeplan %-10s %s\n", commands[i].name, commands[i].help);
    }
    fprintf(out, "\n`pipeplan COMMAND --help` shows its options.\n");
}

static const struct command *find_command(const char *name) {
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* An error that no command has shown yet. */
static void show_error(struct pp_cli *cli, struct pp_err *err) {
    json_t *document = NULL;
    if (cli->json && !ferror(cli->out)) { /* what cannot be written cannot say so there */
        document = pp_json_document(cli->command);
        json_object_set_new(document, "error", pp_json_error(err));
        pp_cli_answer(cli, document, err);
    } else {
        pp_cli_complain(cli, err);
    }
}

/* What was written must have arrived: a full disk or a closed pipe shows at the latest here. */
static enum pp_status finish_output(const struct pp_cli *cli, struct pp_err *err) {
    if (fflush(cli->out) == 0 && !ferror(cli->out)) {
        return PP_OK;
    }
    return pp_fail(err, PP_E_IO, "cannot write to standard output: %s", strerror(errno));
}

/* Exit code of an answer that cannot fail but in being written. */
static int finish_text(const struct pp_cli *cli) {
    struct pp_err err = {0};
    enum pp_status status = finish_output(cli, &err);
    if (status != PP_OK) {
        pp_cli_complain(cli, &err);
    }
    return pp_exit_code(status);
}

static int run_command(struct pp_cli *cli, const struct command *command, int argc, char **argv) {
    struct pp_err err = {0};
    enum pp_status status = command->run(cli, argc, argv, &err);
    if (status != PP_OK && err.status != PP_OK) {
        show_error(cli, &err);
    }
    struct pp_err late = {0};
    enum pp_status flushed = finish_output(cli, &late);
    if (flushed != PP_OK && status != PP_E_IO) {
        pp_cli_complain(cli, &late);
    }
    return pp_exit_code(status != PP_OK ? status : flushed);
}

int main(int argc, char **argv) {
    hold_standard_streams();
    install_handlers();
    struct pp_cli cli = {
        .command = "usage", .out = stdout, .messages = stderr, .stop = &stop_requested};
    const char *name = argc > 1 ? argv[1] : "";
    for (int i = 1; i < argc; i++) {
        cli.json = cli.json || strcmp(argv[i], "--json") == 0;
    }
    if (strcmp(name, "--version") == 0) {
        print_version(stdout);
        return finish_text(&cli);
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_usage(stdout);
        return finish_text(&cli);
    }
    const struct command *command = find_command(name);
    if (command != NULL) {
        cli.command = command->name;
        return run_command(&cli, command, argc - 1, argv + 1);
    }
    struct pp_err err = {0};
    if (name[0] == '\0') {
        pp_fail(&err, PP_E_USAGE, "no command given");
    } else {
        pp_fail(&err, PP_E_USAGE, "unknown command \"%.60s\"", name);
    }
    pp_hint(&err, "`pipeplan --help` lists the commands");
    show_error(&cli, &err);
    return pp_exit_code(PP_E_USAGE);
}
