#include "reports/cli/simulation_idle.h"

#include "reports/table.h"

#include <stdlib.h>

struct pp_idle pp_idle_total(const struct pp_idle *ranks, int32_t rank_count) {
    struct pp_idle total = {0};
    for (int32_t rank = 0; rank < rank_count; rank++) {
        for (enum pp_cause c = 0; c < PP_CAUSE_COUNT; c++) {
            total.ns[c] += ranks[rank].ns[c];
        }
    }
    return total;
}

json_t *pp_idle_json(const struct pp_idle *idle) {
    json_t *object = json_object();
    for (enum pp_cause c = 0; c < PP_CAUSE_COUNT; c++) {
        char key[32];
        snprintf(key, sizeof key, "%s_ns", pp_cause_text(c));
        json_object_set_new(object, key, json_integer(idle->ns[c]));
    }
    return object;
}

static double sum_of(const struct pp_idle *idle) {
    double sum = 0;
    for (enum pp_cause c = 0; c < PP_CAUSE_COUNT; c++) {
        sum += (double)idle->ns[c];
    }
    return sum;
}

void pp_idle_print_line(FILE *out, const struct pp_idle *total) {
    double all = sum_of(total);
    bool printed[PP_CAUSE_COUNT] = {false};
    for (int32_t i = 0; i < PP_CAUSE_COUNT && all > 0; i++) {
        enum pp_cause largest = PP_CAUSE_COUNT;
        for (enum pp_cause c = 0; c < PP_CAUSE_COUNT; c++) {
            if (!printed[c] && (largest == PP_CAUSE_COUNT || total->ns[c] > total->ns[largest])) {
                largest = c;
            }
        }
        printed[largest] = true;
        if (total->ns[largest] > 0) {
            fprintf(out, "%s%.1f %% %s", i == 0 ? "idle: " : ", ",
                    100.0 * (double)total->ns[largest] / all, pp_cause_text(largest));
        }
    }
    fprintf(out, all > 0 ? "\n" : "");
}

enum pp_status pp_idle_print_ranks(FILE *out, const struct pp_idle *ranks, int32_t rank_count,
                                   struct pp_err *err) {
    struct pp_idle total = pp_idle_total(ranks, rank_count);
    char align[PP_CAUSE_COUNT + 2] = "r";
    const char *heading[PP_CAUSE_COUNT + 1] = {"idle (us) of rank"};
    enum pp_cause shown[PP_CAUSE_COUNT];
    int32_t n = 0;
    for (enum pp_cause c = 0; c < PP_CAUSE_COUNT; c++) {
        if (total.ns[c] > 0) {
            shown[n++] = c;
            align[n] = 'r';
            heading[n] = pp_cause_text(c);
        }
    }
    align[n + 1] = '\0';
    if (n == 0) {
        fprintf(out, "\nno rank is ever idle\n");
        return PP_OK;
    }
    fprintf(out, "\n");
    struct pp_table t;
    pp_table_init(&t, align);
    pp_table_row(&t, heading);
    for (int32_t rank = 0; rank < rank_count; rank++) {
        pp_table_cell(&t, "%d", rank);
        for (int32_t i = 0; i < n; i++) {
            char number[PP_NUMBER_BYTES];
            pp_table_cell(&t, "%s", pp_us_text(ranks[rank].ns[shown[i]], number));
        }
    }
    enum pp_status status = pp_table_print(&t, out, err);
    pp_table_deinit(&t);
    return status;
}

/* ---- the critical path ---- */

/* @return its last actions, *count_p of them; NULL: no memory */
static int32_t *path_of(const struct pp_simulation *sim, int32_t *count_p, int32_t *length_p) {
    struct pp_cause_inputs in = pp_simulation_cause_inputs(sim);
    int32_t most =
        (int32_t)pp_min_i64(sim->flags->critical_path, pp_simulation_ran(sim)->action_count);
    int32_t *path = malloc((size_t)most * sizeof *path);
    if (path != NULL) {
        *length_p = pp_critical_path(&sim->trace, &in, path, most);
        *count_p = *length_p < most ? *length_p : most;
    }
    return path;
}

json_t *pp_critical_path_json(const struct pp_simulation *sim) {
    const struct pp_sched *s = pp_simulation_ran(sim);
    int32_t count;
    int32_t length;
    int32_t *path = path_of(sim, &count, &length);
    if (path == NULL) {
        return NULL;
    }
    json_t *rows = json_array();
    for (int32_t i = 0; i < count; i++) {
        char text[PP_ACTION_TEXT_BYTES];
        const struct pp_action *a = &s->actions[path[i]];
        json_t *row = json_object();
        json_object_set_new(row, "rank", json_integer(s->stage_rank[a->stage]));
        json_object_set_new(row, "action", json_string(pp_action_text(a, text)));
        json_object_set_new(row, "start_ns", json_integer(sim->trace.start_ns[path[i]]));
        json_object_set_new(row, "end_ns", json_integer(sim->trace.end_ns[path[i]]));
        json_array_append_new(rows, row);
    }
    free(path);
    return rows;
}

enum pp_status pp_critical_path_print(FILE *out, const struct pp_simulation *sim,
                                      struct pp_err *err) {
    const struct pp_sched *s = pp_simulation_ran(sim);
    int32_t count;
    int32_t length;
    int32_t *path = path_of(sim, &count, &length);
    if (path == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the critical path");
    }
    fprintf(out, "\ncritical path: %d action%s, %s%d\n", length, length == 1 ? "" : "s",
            count < length ? "the last " : "all ", count);
    struct pp_table t;
    pp_table_init(&t, "rrlr");
    pp_table_row(&t, (const char *const[]){"start (us)", "rank", "action", "takes (us)"});
    for (int32_t i = 0; i < count; i++) {
        char text[PP_ACTION_TEXT_BYTES];
        char number[PP_NUMBER_BYTES];
        const struct pp_action *a = &s->actions[path[i]];
        int64_t start = sim->trace.start_ns[path[i]];
        pp_table_cell(&t, "%s", pp_us_text(start, number));
        pp_table_cell(&t, "%d", s->stage_rank[a->stage]);
        pp_table_cell(&t, "%s", pp_action_text(a, text));
        pp_table_cell(&t, "%s", pp_us_text(sim->trace.end_ns[path[i]] - start, number));
    }
    enum pp_status status = pp_table_print(&t, out, err);
    pp_table_deinit(&t);
    free(path);
    return status;
}
