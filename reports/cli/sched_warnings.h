/* Warnings of a schedule in the words of the program, shared by `schedule` and `export`. */
#ifndef PP_REPORTS_CLI_SCHED_WARNINGS_H
#define PP_REPORTS_CLI_SCHED_WARNINGS_H

#include "reports/cli/cli.h"
#include "sim/schedule_warn.h"

/* One line each on `messages`. */
void pp_sched_warnings_print(const struct pp_cli *cli, const struct pp_sched_warnings *warnings);

/* [{"code", "message"}]; a new reference */
json_t *pp_sched_warnings_json(const struct pp_sched_warnings *warnings);

#endif
