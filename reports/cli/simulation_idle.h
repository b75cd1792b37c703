/* Why ranks were idle, and the critical path, as `simulate` says them. */
#ifndef PP_REPORTS_CLI_SIMULATION_IDLE_H
#define PP_REPORTS_CLI_SIMULATION_IDLE_H

#include "reports/cli/simulation.h"

#include <jansson.h>
#include <stdio.h>

struct pp_idle pp_idle_total(const struct pp_idle *ranks, int32_t rank_count);

/* {"fill_ns": ..., ...}, a member a cause. */
json_t *pp_idle_json(const struct pp_idle *idle);

/* "idle: 66.7 % fill, 33.3 % drain": the largest first; nothing where nothing is idle. */
void pp_idle_print_line(FILE *out, const struct pp_idle *total);

/* A table, rank by cause, in us. Causes that no rank has are left out. */
enum pp_status pp_idle_print_ranks(FILE *out, const struct pp_idle *ranks, int32_t rank_count,
                                   struct pp_err *err);

/* The last actions of the critical path: [{rank, action, start_ns, end_ns}]. NULL: no memory */
json_t *pp_critical_path_json(const struct pp_simulation *sim);
enum pp_status pp_critical_path_print(FILE *out, const struct pp_simulation *sim,
                                      struct pp_err *err);

#endif
