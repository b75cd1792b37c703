/* The command line: what every command shares. One file a command, cmd_<name>.c; adding one means a
 * file and a row in the table of main.c. */
#ifndef PP_REPORTS_CLI_CLI_H
#define PP_REPORTS_CLI_CLI_H

#include "costmodel/base.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>

/* One invocation. */
struct pp_cli {
    const char *command;               /* "split" */
    bool json;                         /* --json: exactly one document on out, errors included */
    FILE *out;                         /* results */
    FILE *messages;                    /* messages and progress */
    const volatile sig_atomic_t *stop; /* nonzero after Ctrl-C */
};

/*
 * A command parses argv (argv[0] is its own name), writes its result to cli->out and returns.
 * On failure it fills `err` and writes nothing to cli->out: main prints the error, as one line on
 * `messages` and, with --json, as {"schema", "error"} on `out`. A command whose negative answer is
 * itself a document (fixes of a split, a plan set without a fitting plan) hands that document,
 * error member included, to pp_cli_answer and returns what that returns.
 */
typedef enum pp_status pp_command(struct pp_cli *cli, int argc, char **argv, struct pp_err *err);

pp_command pp_cmd_split, pp_cmd_schedule, pp_cmd_check, pp_cmd_simulate, pp_cmd_plan, pp_cmd_report,
    pp_cmd_export, pp_cmd_run, pp_cmd_compare, pp_cmd_calibrate, pp_cmd_doctor, pp_cmd_models,
    pp_cmd_hardware;

/* Exit code of a status: 0 fine, 1 negative answer, 2 usage, 3 input, 4 environment, 5 store,
 * 6 run failed, 130 interrupted. */
int pp_exit_code(enum pp_status status);

/* "pipeplan: message (file:line:column)" and "  hint" on `messages`. */
void pp_cli_complain(const struct pp_cli *cli, const struct pp_err *err);

/* Writes the command's document, prints the error line on `messages` if there is one, and marks the
 * answer as given, so that main does not print the error a second time. Takes the reference. */
enum pp_status pp_cli_answer(struct pp_cli *cli, json_t *document, struct pp_err *err);

/* ---- options ---- */

enum pp_option_kind {
    PP_OPT_HEADING,  /* no flag: `help` heads those that follow in --help */
    PP_OPT_FLAG,     /* bool *: set to true */
    PP_OPT_TEXT,     /* const char ** */
    PP_OPT_INT,      /* int64_t *, within [low, high] */
    PP_OPT_DURATION, /* int64_t * ns; "12us", bare = us */
    PP_OPT_RATIO,    /* int64_t[2]: numerator, denominator */
    PP_OPT_BYTES,    /* int64_t *: "64MiB", bare = bytes; at most high */
    PP_OPT_RATE,     /* int64_t * bytes a second: "400Gb/s", "50GB/s" */
    PP_OPT_LIST,     /* struct pp_option_list *: may be repeated */
};

enum { PP_OPTION_LIST_MAX = 256 };
struct pp_option_list {
    const char *items[PP_OPTION_LIST_MAX];
    int32_t count;
};

struct pp_option {
    const char *name; /* with its dashes: "--layers"; "" of a heading */
    enum pp_option_kind kind;
    void *value;
    bool *given_p; /* set to true if present; may be NULL */
    int64_t low, high;
    const char *what; /* for the help text: "L" and what it is */
    const char *help;
};

/*
 * Parses argv[1..]: `--name value` or `--name=value`; the rest are positional. --json and --help
 * are known to every command. A flag given twice: the last wins (lists: all).
 * @param positional  [positional_max]; fewer or more than the command takes is for the caller
 * (count_p)
 * @return PP_OK; PP_E_USAGE (unknown flag, with the nearest known one; missing value; a value that
 * does not parse); PP_E_RANGE (parses, out of range). --help prints and returns PP_OK with
 *         *helped_p true.
 */
struct pp_usage {
    const char *synopsis; /* "pipeplan split --layers L --pp P [options]" */
    const char *about;    /* a sentence or two */
    const char *example;
    const struct pp_option *options;
    int32_t option_count;
};
enum pp_status pp_parse_options(struct pp_cli *cli, const struct pp_usage *usage, int argc,
                                char **argv, const char **positional, int32_t positional_max,
                                int32_t *count_p, bool *helped_p, struct pp_err *err);

/* PP_E_USAGE "missing --layers" unless given. */
enum pp_status pp_need_option(bool given, const char *name, const struct pp_usage *usage,
                              struct pp_err *err);

#endif
