#include "reports/cli/sched_warnings.h"

void pp_sched_warnings_print(const struct pp_cli *cli, const struct pp_sched_warnings *warnings) {
    for (int32_t i = 0; i < warnings->count; i++) {
        fprintf(cli->messages, "pipeplan: warning: %s: %s\n", warnings->items[i].code,
                warnings->items[i].message);
    }
}

json_t *pp_sched_warnings_json(const struct pp_sched_warnings *warnings) {
    json_t *rows = json_array();
    for (int32_t i = 0; i < warnings->count; i++) {
        json_t *row = json_object();
        json_object_set_new(row, "code", json_string(warnings->items[i].code));
        json_object_set_new(row, "message", json_string(warnings->items[i].message));
        json_array_append_new(rows, row);
    }
    return rows;
}
