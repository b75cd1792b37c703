/* pipeplan report: pictures of stored plans. */
#include "reports/cli/cli.h"
#include "reports/json.h"
#include "reports/picture.h"
#include "reports/plan_text.h"
#include "reports/stored_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    MAX_PLANS = 8,
    ALL_FILES = 6, /* gantt, memory, pareto, each as SVG and PNG */
    TITLE_BYTES = 192,
    PATH_BYTES = 4096,
    MAX_DRAWN_ACTIONS =
        100000, /* of a plan: a whole step is drawn up to here, else its first flush */
};

struct report {
    struct pp_store *store;
    struct pp_stored_run run;
    const char *dir;
    struct pp_stored_plan plans[MAX_PLANS];
    char titles[MAX_PLANS][TITLE_BYTES];
    int32_t flushes[MAX_PLANS]; /* drawn of each plan */
    int32_t plan_count;
    json_t *files;
};

/* Makes the folder and those above it that are missing. */
static enum pp_status make_dir(const char *dir, struct pp_err *err) {
    char path[PATH_BYTES];
    if (!pp_copy(path, sizeof path, dir)) {
        return pp_fail(err, PP_E_IO, "--out is longer than %d bytes", PATH_BYTES - 1);
    }
    for (char *at = path + 1; at[-1] != '\0'; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char end = *at;
        struct stat st;
        *at = '\0';
        int why = mkdir(path, 0777) == 0 ? 0 : errno;
        if (why != 0 && (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))) {
            pp_fail(err, PP_E_IO, "cannot make the folder %s: %s", path, strerror(why));
            pp_hint(err, "choose an --out folder that can be made and written");
            return PP_E_IO;
        }
        *at = end;
    }
    return PP_OK;
}

static int32_t flushes_to_draw(const struct pp_stored_plan *s) {
    int64_t actions = 0;
    bool known = pp_mul_i64(s->plan.flush_count, s->replay.sched->action_count, &actions);
    bool few = known && s->plan.flush_count >= 1 && actions <= MAX_DRAWN_ACTIONS;
    return few ? (int32_t)s->plan.flush_count : 1;
}

static void title_plan(struct report *r, int32_t index, bool is_current, bool is_best) {
    const struct pp_plan *p = &r->plans[index].plan;
    char step[32] = "unit costs";
    char flushes[48] = "";
    if (p->step_ns > 0) {
        pp_text_duration(p->step_ns, step);
    }
    r->flushes[index] = flushes_to_draw(&r->plans[index]);
    if (p->flush_count > 1) {
        snprintf(flushes, sizeof flushes,
                 r->flushes[index] == 1 ? " (first of %lld flushes)" : " (%lld flushes)",
                 (long long)p->flush_count);
    }
    snprintf(r->titles[index], TITLE_BYTES,
             "%s%s, pp %d, %d stages a rank, %d microbatches of %d, bubble %.1f %%, step %s%s",
             is_current ? "as it is: "
             : is_best  ? "best: "
                        : "",
             p->config.schedule == NULL ? "no pipeline" : p->config.schedule->name,
             p->config.pp_size, p->stages_per_rank, p->microbatch_count, p->config.microbatch_size,
             100.0 * p->bubble_ratio, step, flushes);
}

static enum pp_status add_plan(struct report *r, const char *id, struct pp_err *err) {
    if (r->plan_count == MAX_PLANS) {
        return pp_fail(err, PP_E_RANGE, "at most %d plans a report", MAX_PLANS);
    }
    struct pp_stored_plan *slot = &r->plans[r->plan_count];
    PP_TRY(pp_stored_plan_load(r->store, id, slot, err));
    for (int32_t i = 0; i < r->plan_count; i++) {
        if (strcmp(r->plans[i].plan.id, slot->plan.id) == 0) { /* named twice, drawn once */
            pp_stored_plan_deinit(slot);
            return PP_OK;
        }
    }
    title_plan(r, r->plan_count, strcmp(slot->plan.id, r->run.current_id) == 0,
               strcmp(slot->plan.id, r->run.best_id) == 0);
    r->plan_count++;
    return PP_OK;
}

static enum pp_status choose_plans(struct report *r, const struct pp_option_list *ids,
                                   struct pp_err *err) {
    for (int32_t i = 0; i < ids->count; i++) {
        PP_TRY(add_plan(r, ids->items[i], err));
    }
    if (ids->count == 0 && r->run.current_id[0] != '\0') {
        PP_TRY(add_plan(r, r->run.current_id, err));
    }
    if (ids->count == 0 && r->run.best_id[0] != '\0' &&
        strcmp(r->run.best_id, r->run.current_id) != 0) {
        PP_TRY(add_plan(r, r->run.best_id, err));
    }
    if (r->plan_count == 0) {
        pp_fail(err, PP_E_NOT_FOUND, "run %s has no plan to draw: nothing legal fits",
                r->run.run_id);
        pp_hint(err, "name one with --plan");
        return PP_E_NOT_FOUND;
    }
    return PP_OK;
}

static void wrote(struct report *r, const char *name) {
    static const char *const endings[] = {"svg", "png"};
    for (int i = 0; i < 2; i++) {
        struct pp_text path = {0};
        pp_text_printf(&path, "%s/%s.%s", r->dir, name, endings[i]);
        json_array_append_new(r->files, path.failed ? NULL : pp_json_text(path.bytes));
        pp_text_free(&path);
    }
}

static enum pp_status draw_gantt(struct report *r, struct pp_err *err) {
    struct pp_gantt charts[MAX_PLANS];
    for (int32_t i = 0; i < r->plan_count; i++) {
        charts[i] = (struct pp_gantt){r->titles[i], &r->plans[i].replay.trace, r->flushes[i]};
    }
    PP_TRY(pp_picture_gantt(charts, r->plan_count, r->dir, err));
    wrote(r, "gantt");
    return PP_OK;
}

struct timelines {
    struct pp_memory_point **points; /* [rank_count] owned */
    int32_t *counts;                 /* [rank_count] */
};

static void free_timelines(struct timelines *t, int32_t rank_count) {
    for (int32_t r = 0; t->points != NULL && r < rank_count; r++) {
        free(t->points[r]);
    }
    free(t->points);
    free(t->counts);
}

static enum pp_status read_timelines(const struct pp_stored_plan *plan, int32_t flush_count,
                                     struct timelines *t, struct pp_err *err) {
    size_t ranks = (size_t)plan->plan.config.pp_size;
    t->points = calloc(ranks, sizeof *t->points);
    t->counts = calloc(ranks, sizeof *t->counts);
    if (t->points == NULL || t->counts == NULL) {
        return pp_fail(err, PP_E_NOMEM, "out of memory for the timelines");
    }
    for (int32_t r = 0; r < plan->plan.config.pp_size; r++) {
        PP_TRY(pp_stored_plan_memory(plan, r, flush_count, &t->points[r], &t->counts[r], err));
    }
    return PP_OK;
}

static enum pp_status draw_memory(struct report *r, struct pp_err *err) {
    struct timelines lines[MAX_PLANS] = {0};
    struct pp_memory_chart charts[MAX_PLANS];
    int32_t count = 0;
    enum pp_status status = PP_OK;
    for (int32_t i = 0; status == PP_OK && i < r->plan_count; i++) {
        if (r->plans[i].plan.has_costs) {
            status = read_timelines(&r->plans[i], r->flushes[i], &lines[i], err);
            charts[count++] = (struct pp_memory_chart){
                .title = r->titles[i],
                .rank_count = r->plans[i].plan.config.pp_size,
                .points = (const struct pp_memory_point *const *)lines[i].points,
                .point_counts = lines[i].counts,
                .limit_bytes = r->plans[i].plan.limit_bytes,
            };
        }
    }
    if (status == PP_OK && count > 0) {
        status = pp_picture_memory(charts, count, r->dir, err);
        wrote(r, "memory");
    }
    for (int32_t i = 0; i < r->plan_count; i++) {
        free_timelines(&lines[i], r->plans[i].plan.config.pp_size);
    }
    return status;
}

static enum pp_status draw_pareto(struct report *r, struct pp_err *err) {
    struct pp_plan_summary *list = NULL;
    int32_t count = 0;
    PP_TRY(pp_store_list_plans(r->store, r->run.run_id, &list, &count, err));
    struct pp_pareto_point *points = calloc((size_t)count + 1, sizeof *points);
    enum pp_status status =
        points == NULL ? pp_fail(err, PP_E_NOMEM, "out of memory for %d plans", count) : PP_OK;
    int32_t known = 0;
    for (int32_t i = 0; status == PP_OK && i < count; i++) {
        if (list[i].step_ns > 0 && list[i].max_peak_bytes > 0) {
            points[known++] = (struct pp_pareto_point){
                .step_ns = list[i].step_ns,
                .peak_bytes = list[i].max_peak_bytes,
                .fits = list[i].fits,
                .is_current = strcmp(list[i].plan_id, r->run.current_id) == 0,
                .is_best = strcmp(list[i].plan_id, r->run.best_id) == 0,
                .label = list[i].schedule,
            };
        }
    }
    if (status == PP_OK && known > 0) {
        status = pp_picture_pareto(points, known, r->run.limit_bytes, r->dir, err);
        wrote(r, "pareto");
    }
    free(points);
    free(list);
    return status;
}

static enum pp_status check_stop(const struct pp_cli *cli, struct pp_err *err) {
    return *cli->stop == 0 ? PP_OK : pp_fail(err, PP_E_INTERRUPTED, "interrupted");
}

static enum pp_status draw(const struct pp_cli *cli, struct report *r, struct pp_err *err) {
    PP_TRY(make_dir(r->dir, err));
    PP_TRY(draw_gantt(r, err));
    PP_TRY(check_stop(cli, err));
    PP_TRY(draw_memory(r, err));
    PP_TRY(check_stop(cli, err));
    PP_TRY(draw_pareto(r, err));
    if (json_array_size(r->files) < ALL_FILES) {
        fprintf(cli->messages,
                "pipeplan: only %zu of %d pictures: plans without costs (E_NO_SHAPE) "
                "have no memory to draw\n",
                json_array_size(r->files), ALL_FILES);
    }
    return PP_OK;
}

static enum pp_status answer(struct pp_cli *cli, const struct report *r, struct pp_err *err) {
    if (cli->json) {
        json_t *document = pp_json_document("report");
        json_object_set_new(document, "run_id", json_string(r->run.run_id));
        json_object_set(document, "files", r->files);
        return pp_cli_answer(cli, document, err);
    }
    for (size_t i = 0; i < json_array_size(r->files); i++) {
        fprintf(cli->out, "%s\n", json_string_value(json_array_get(r->files, i)));
    }
    return PP_OK;
}

/* The run asked for, else the one that the first plan asked for belongs to, else the last. */
static enum pp_status read_run(struct report *r, const char *run_id,
                               const struct pp_option_list *ids, struct pp_err *err) {
    char of_plan[33];
    if (run_id == NULL && ids->count > 0) {
        struct pp_plan plan;
        PP_TRY(pp_store_read_plan(r->store, ids->items[0], &plan, of_plan, err));
        pp_plan_deinit(&plan);
        run_id = of_plan;
    }
    return pp_store_read_run(r->store, run_id, &r->run, err);
}

static enum pp_status report(struct pp_cli *cli, const char *db, const char *run_id,
                             const struct pp_option_list *ids, const char *dir,
                             struct pp_err *err) {
    struct report r = {.dir = dir, .files = json_array()};
    enum pp_status status = pp_store_open_read(db, &r.store, err);
    if (status == PP_OK) {
        status = read_run(&r, run_id, ids, err);
    }
    if (status == PP_OK) {
        status = choose_plans(&r, ids, err);
    }
    if (status == PP_OK) {
        status = draw(cli, &r, err);
    }
    if (status == PP_OK) {
        status = answer(cli, &r, err);
    }
    for (int32_t i = 0; i < r.plan_count; i++) {
        pp_stored_plan_deinit(&r.plans[i]);
    }
    pp_stored_run_deinit(&r.run);
    pp_store_close(r.store);
    json_decref(r.files);
    return status;
}

enum pp_status pp_cmd_report(struct pp_cli *cli, int argc, char **argv, struct pp_err *err) {
    const char *db = NULL;
    const char *run_id = NULL;
    const char *dir = NULL;
    struct pp_option_list ids = {.count = 0};
    const struct pp_option options[] = {
        {"--db", PP_OPT_TEXT, &db, NULL, 0, 0, "FILE", "database that `pipeplan plan --db` wrote"},
        {"--run", PP_OPT_TEXT, &run_id, NULL, 0, 0, "ID", "planning run (default: the last one)"},
        {"--plan", PP_OPT_LIST, &ids, NULL, 0, 0, "ID",
         "plan to draw; may be repeated (default: the recipe as it is, and the best)"},
        {"--out", PP_OPT_TEXT, &dir, NULL, 0, 0, "DIR", "folder for the pictures"},
    };
    const struct pp_usage usage = {
        .synopsis = "pipeplan report --db FILE --out DIR [--run ID] [--plan ID]...",
        .about = "Draws gantt, memory and pareto, each as .svg and .png.",
        .example = "pipeplan report --db plans.db --out pictures",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
    };
    int32_t count = 0;
    bool helped = false;
    PP_TRY(pp_parse_options(cli, &usage, argc, argv, NULL, 0, &count, &helped, err));
    if (helped) {
        return PP_OK;
    }
    PP_TRY(pp_need_option(db != NULL, "--db", &usage, err));
    PP_TRY(pp_need_option(dir != NULL && dir[0] != '\0', "--out", &usage, err));
    return report(cli, db, run_id, &ids, dir, err);
}
