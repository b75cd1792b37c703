/* pipeplan compare: predicted and measured, or two executions, or two plans. */
#include "reports/cli/cli.h"
#include "reports/compared.h"
#include "reports/json.h"
#include "reports/plan_text.h"
#include "reports/table.h"

#include <string.h>

enum { MAX_IDS = 2 };

struct flags {
    const char *db;
    const char *ids[MAX_IDS];
    int32_t id_count;
    struct pp_compare_choice choice;
};

/* ---- what an id names ---- */

static enum pp_status find_kind(struct pp_store *store, const char *id, bool *is_plan_p,
                                struct pp_err *err) {
    int32_t plans = 0;
    int32_t executions = 0;
    PP_TRY(pp_store_count_ids(store, id, &plans, &executions, err));
    if (plans + executions == 1) {
        *is_plan_p = plans == 1;
        return PP_OK;
    }
    if (plans + executions == 0) {
        pp_fail(err, PP_E_NOT_FOUND, "\"%s\" names no plan and no execution of the database", id);
        pp_hint(err, "the view plans and the table executions show the ids");
    } else {
        pp_fail(err, PP_E_NOT_FOUND, "\"%s\" begins the ids of %d plans and %d executions", id,
                plans, executions);
        pp_hint(err, "give more of the id");
    }
    return PP_E_NOT_FOUND;
}

/* ---- executions ---- */

static enum pp_status show_compared(struct pp_cli *cli, const struct pp_compared *compared,
                                    struct pp_err *err) {
    if (!cli->json) {
        return pp_text_compared(cli->out, compared, err);
    }
    json_t *document = pp_json_document("compare");
    pp_json_compared(document, compared);
    return pp_cli_answer(cli, document, err);
}

/* The plan must be the one that was run: actions of another are other actions. */
static enum pp_status check_plan(struct pp_store *store, const char *plan_id,
                                 const struct pp_stored_execution *e, struct pp_err *err) {
    struct pp_plan plan;
    char run_id[33];
    PP_TRY(pp_store_read_plan(store, plan_id, &plan, run_id, err));
    enum pp_status status = PP_OK;
    if (strcmp(plan.id, e->plan_id) != 0) {
        status = pp_fail(err, PP_E_VALUE, "execution %.12s ran %s%.12s, not plan %.12s", e->id,
                         e->plan_id[0] == '\0' ? "no stored plan" : "plan ", e->plan_id, plan.id);
        pp_hint(err, "`pipeplan compare --db FILE %.12s` holds it against its own prediction",
                e->id);
    }
    pp_plan_deinit(&plan);
    return status;
}

static enum pp_status compare_executions(struct pp_cli *cli, struct pp_store *store,
                                         const struct flags *f, const bool *is_plan,
                                         struct pp_err *err) {
    struct pp_compared compared = {0};
    const char *plan = f->id_count == 2 && is_plan[0]   ? f->ids[0]
                       : f->id_count == 2 && is_plan[1] ? f->ids[1]
                                                        : NULL;
    const char *execution = plan == f->ids[0] ? f->ids[1] : f->ids[0];
    enum pp_status status;
    if (f->id_count == 2 && plan == NULL) {
        status = pp_compared_load_pair(store, f->ids[0], f->ids[1], &f->choice, &compared, err);
    } else {
        status = pp_compared_load(store, execution, &f->choice, &compared, err);
    }
    if (status == PP_OK && plan != NULL) {
        status = check_plan(store, plan, &compared.second.execution, err);
    }
    if (status == PP_OK) {
        status = show_compared(cli, &compared, err);
    }
    pp_compared_deinit(&compared);
    return status;
}

/* ---- plans ---- */

static json_t *plan_json(const struct pp_plan *p) {
    const struct pp_schedule_info *schedule = p->config.schedule;
    json_t *o = json_pack("{s:s, s:s}", "what", "plan", "plan_id", p->id);
    json_object_set_new(o, "schedule",
                        schedule == NULL ? json_null() : json_string(schedule->name));
    json_object_set_new(o, "pp_size", json_integer(p->config.pp_size));
    json_object_set_new(o, "step_time_ns", p->step_ns > 0 ? json_integer(p->step_ns) : json_null());
    json_object_set_new(o, "bubble_ratio", json_real(p->bubble_ratio));
    json_object_set_new(o, "max_peak_memory_bytes",
                        p->has_costs ? json_integer(p->max_peak_bytes) : json_null());
    json_object_set_new(o, "fits", p->has_costs ? json_boolean(p->fits) : json_null());
    return o;
}

static void add_plan_row(struct pp_table *t, const char *name, const struct pp_plan *p) {
    static const double GIB = 1024.0 * 1024.0 * 1024.0;
    char step[32] = "not known";
    pp_table_cell(t, "%s", name);
    pp_table_cell(t, "%.12s", p->id);
    pp_table_cell(t, "%s", p->config.schedule == NULL ? "no pipeline" : p->config.schedule->name);
    pp_table_cell(t, "%s", p->step_ns > 0 ? pp_text_duration(p->step_ns, step) : step);
    pp_table_cell(t, "%.4f", p->bubble_ratio);
    if (p->has_costs) {
        pp_table_cell(t, "%.1f GiB", (double)p->max_peak_bytes / GIB);
        pp_table_cell(t, "%s", p->fits ? "yes" : "no");
    } else {
        pp_table_cell(t, "%s", "not known");
        pp_table_cell(t, "%s", "not known");
    }
}

static enum pp_status show_plans(struct pp_cli *cli, const struct pp_plan *a,
                                 const struct pp_plan *b, struct pp_err *err) {
    if (cli->json) {
        json_t *document = pp_json_document("compare");
        json_object_set_new(document, "kind", json_string("plans"));
        json_object_set_new(document, "a", plan_json(a));
        json_object_set_new(document, "b", plan_json(b));
        return pp_cli_answer(cli, document, err);
    }
    static const char *const heading[] = {"",       "plan",        "schedule", "step time",
                                          "bubble", "peak memory", "fits"};
    struct pp_table t;
    pp_table_init(&t, "lllrrrl");
    pp_table_row(&t, heading);
    add_plan_row(&t, "a", a);
    add_plan_row(&t, "b", b);
    enum pp_status status = pp_table_print(&t, cli->out, err);
    pp_table_deinit(&t);
    return status;
}

static enum pp_status compare_plans(struct pp_cli *cli, struct pp_store *store,
                                    const struct flags *f, struct pp_err *err) {
    struct pp_plan a;
    struct pp_plan b;
    char run_id[33];
    PP_TRY(pp_store_read_plan(store, f->ids[0], &a, run_id, err));
    enum pp_status status = pp_store_read_plan(store, f->ids[1], &b, run_id, err);
    if (status == PP_OK) {
        status = show_plans(cli, &a, &b, err);
        pp_plan_deinit(&b);
    }
    pp_plan_deinit(&a);
    return status;
}

/* ---- the command ---- */

static enum pp_status compare_in(struct pp_cli *cli, struct pp_store *store, const struct flags *f,
                                 struct pp_err *err) {
    bool is_plan[MAX_IDS] = {false, false};
    for (int32_t i = 0; i < f->id_count; i++) {
        PP_TRY(find_kind(store, f->ids[i], &is_plan[i], err));
    }
    if (is_plan[0] && is_plan[1]) {
        return compare_plans(cli, store, f, err);
    }
    if (f->id_count == 1 && is_plan[0]) {
        pp_fail(err, PP_E_VALUE, "%.32s is a plan, which alone has nothing to be compared with",
                f->ids[0]);
        pp_hint(err, "give an execution of it, or another plan");
        return PP_E_VALUE;
    }
    return compare_executions(cli, store, f, is_plan, err);
}

enum pp_status pp_cmd_compare(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    struct flags f = {.choice = {.step = -1, .tolerance_ns = -1}};
    const struct pp_option options[] = {
        {"--db", PP_OPT_TEXT, &f.db, NULL, 0, 0, "FILE", "database with plans and executions"},
        {"--step", PP_OPT_INT, &f.choice.step, NULL, 0, INT64_MAX / 4, "N",
         "step of the execution; else the one of median makespan, the first left out"},
        {"--calibration", PP_OPT_TEXT, &f.choice.calibration, NULL, 0, 0, "ID",
         "predict with this one; else with what the execution was predicted with, else the latest"},
        {"--tolerance", PP_OPT_DURATION, &f.choice.tolerance_ns, NULL, 0, 0, "D",
         "traces diverge beyond this; else 1 % of the first makespan"},
    };
    const struct pp_usage usage = {
        .synopsis = "pipeplan compare --db FILE A [B] [--step N] [--calibration ID] "
                    "[--tolerance D]",
        .about = "Holds an execution against its prediction (A, with or without its plan), two "
                 "executions of one program against one another, or two plans side by side. A "
                 "and B are ids, or unique beginnings of ids.",
        .example = "pipeplan compare --db plans.db 3f9c",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
    };
    bool helped = false;
    PP_TRY(pp_parse_options(cli, &usage, argc, argv, f.ids, MAX_IDS, &f.id_count, &helped, err));
    if (helped) {
        return PP_OK;
    }
    PP_TRY(pp_need_option(f.db != NULL, "--db", &usage, err));
    PP_TRY(pp_need_option(f.id_count > 0, "the id of an execution", &usage, err));
    struct pp_store *store = NULL;
    PP_TRY(pp_store_open_read(f.db, &store, err));
    enum pp_status status = compare_in(cli, store, &f, err);
    pp_store_close(store);
    return status;
}
