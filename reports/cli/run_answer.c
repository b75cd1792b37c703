#include "reports/cli/run_answer.h"

#include "reports/json.h"
#include "reports/table.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { MANY_ROWS = 24, SHOWN_FIRST = 4 };

enum pp_status pp_run_answer_add(struct pp_run_answer *a, const struct pp_run_row *row,
                                 struct pp_err *err) {
    if (a->row_count == a->row_capacity) {
        int64_t capacity = a->row_capacity == 0 ? 64 : 2 * a->row_capacity;
        struct pp_run_row *rows = realloc(a->rows, (size_t)capacity * sizeof *rows);
        if (rows == NULL) {
            return pp_fail(err, PP_E_NOMEM, "out of memory for %lld steps", (long long)capacity);
        }
        a->rows = rows;
        a->row_capacity = capacity;
    }
    a->rows[a->row_count++] = *row;
    return PP_OK;
}

void pp_run_answer_deinit(struct pp_run_answer *a) {
    free(a->rows);
    *a = (struct pp_run_answer){0};
}

void pp_run_answer_progress(const struct pp_run_row *row, FILE *to) {
    fprintf(to, "step %lld", (long long)row->step);
    if (row->has_loss) {
        fprintf(to, "  loss %.6f", row->loss);
    }
    fprintf(to, "  %.3f ms\n", (double)row->wall_ns / 1e6);
}

/* ---- JSON ---- */

static json_t *row_json(const struct pp_run_row *row) {
    json_t *o = json_object();
    json_object_set_new(o, "step", json_integer(row->step));
    bool is_number = row->has_loss && isfinite(row->loss); /* JSON knows no NaN */
    json_object_set_new(o, "loss", is_number ? json_real(row->loss) : json_null());
    json_object_set_new(o, "wall_ns", json_integer(row->wall_ns));
    json_object_set_new(o, "makespan_ns",
                        row->has_trace ? json_integer(row->makespan_ns) : json_null());
    json_object_set_new(o, "bubble_ratio",
                        row->has_trace ? json_real(row->bubble_ratio) : json_null());
    json_object_set_new(o, "in_order", row->has_trace ? json_boolean(row->in_order) : json_null());
    return o;
}

static json_t *memory_json(const struct pp_program *program) {
    json_t *ranks = json_array();
    for (int32_t rank = 0; rank < program->sched->rank_count; rank++) {
        json_t *o = json_object();
        json_object_set_new(o, "rank", json_integer(rank));
        json_object_set_new(o, "fixed_bytes", json_integer(program->fixed_bytes[rank]));
        json_object_set_new(o, "arena_bytes", json_integer(program->arena_bytes[rank]));
        json_object_set_new(o, "host_bytes", json_integer(program->host_bytes[rank]));
        json_array_append_new(ranks, o);
    }
    return ranks;
}

static json_t *text_or_null(const char *text) {
    return text[0] == '\0' ? json_null() : pp_json_text(text);
}

/* Of a step, as a user counts them: both pipelines' together, and not their units. */
static int32_t microbatches_of(const struct pp_sched *s) {
    return s->microbatch_count / s->slice_count * (s->stage_count / s->part_count);
}

static void put_what(json_t *document, const struct pp_run_answer *a) {
    const struct pp_run_job *job = a->job;
    const struct pp_run_source *source = job->source;
    json_object_set_new(document, "execution_id", text_or_null(a->execution_id));
    json_object_set_new(document, "plan_id",
                        source->has_plan ? json_string(source->plan.plan.id) : json_null());
    json_object_set_new(document, "program_hash", json_string(job->program->hash));
    json_object_set_new(document, "schedule", pp_json_text(source->name));
    json_object_set_new(document, "workload",
                        json_string(source->has_model ? "transformer" : "spin"));
    json_object_set_new(document, "device", json_string("host"));
    json_object_set_new(document, "transport", json_string(job->transport.ops->name));
    json_object_set_new(document, "ranks", json_integer(job->lowered->rank_count));
    json_object_set_new(document, "stages", json_integer(job->lowered->stage_count));
    json_object_set_new(document, "microbatches", json_integer(microbatches_of(job->lowered)));
    json_object_set_new(document, "flushes", json_integer(source->flush_count));
    json_object_set_new(document, "actions", json_integer(job->lowered->action_count));
}

json_t *pp_run_answer_json(const struct pp_run_answer *a) {
    const struct pp_run_job *job = a->job;
    const struct pp_run_expect *expect = &job->expect;
    json_t *document = pp_json_document("run");
    put_what(document, a);
    json_object_set_new(document, "predicted_makespan_ns",
                        expect->is_prediction ? json_integer(expect->makespan_ns) : json_null());
    json_object_set_new(document, "predicted_by",
                        expect->is_prediction ? json_string(expect->by) : json_null());
    json_object_set_new(document, "calibration_id", text_or_null(expect->calibration_id));
    json_object_set_new(document, "resumed_from",
                        a->resumed_from >= 0 ? json_integer(a->resumed_from) : json_null());
    json_object_set_new(document, "memory", memory_json(job->program));
    json_t *remarks = json_array();
    for (int32_t i = 0; i < job->source->remarks.count; i++) {
        json_array_append_new(remarks, json_string(job->source->remarks.items[i]));
    }
    json_object_set_new(document, "remarks", remarks);
    json_t *steps = json_array();
    for (int64_t i = 0; i < a->row_count; i++) {
        json_array_append_new(steps, row_json(&a->rows[i]));
    }
    json_object_set_new(document, "steps", steps);
    return document;
}

static json_t *action_json(const struct pp_program *program, int32_t at) {
    char text[PP_ACTION_TEXT_BYTES];
    return at < 0 ? json_null() : json_string(pp_action_text(&program->sched->actions[at], text));
}

static json_t *view_json(const struct pp_program *program, const struct pp_rank_view *v) {
    json_t *o = json_object();
    json_object_set_new(o, "rank", json_integer(v->rank));
    json_object_set_new(o, "action", action_json(program, v->action));
    json_object_set_new(o, "running", json_boolean(v->running));
    json_object_set_new(o, "waits_for", action_json(program, v->waits_for));
    json_object_set_new(o, "peer_rank",
                        v->peer_rank >= 0 ? json_integer(v->peer_rank) : json_null());
    json_object_set_new(o, "peer_action", action_json(program, v->peer_action));
    return o;
}

json_t *pp_run_failure_json(const struct pp_program *program, const struct pp_failure *failure) {
    const struct pp_action *a =
        failure->action >= 0 ? &program->sched->actions[failure->action] : NULL;
    json_t *o = json_object();
    json_object_set_new(o, "kind", json_string(pp_failure_text(failure->kind)));
    json_object_set_new(o, "rank", failure->rank >= 0 ? json_integer(failure->rank) : json_null());
    json_object_set_new(o, "stage", a != NULL ? json_integer(a->stage) : json_null());
    json_object_set_new(o, "microbatch",
                        a != NULL && a->microbatch >= 0 ? json_integer(a->microbatch)
                                                        : json_null());
    json_object_set_new(o, "action", action_json(program, failure->action));
    json_t *waits = json_array();
    for (int32_t i = 0; i < failure->view_count; i++) {
        json_array_append_new(waits, view_json(program, &failure->views[i]));
    }
    json_object_set_new(o, "waits", waits);
    return o;
}

/* ---- text ---- */

static void ms_cell(struct pp_table *t, bool known, int64_t ns) {
    if (known) {
        pp_table_cell(t, "%.3f ms", (double)ns / 1e6);
    } else {
        pp_table_cell(t, "-");
    }
}

static void percent_cell(struct pp_table *t, bool known, const char *sign, double share) {
    char number[PP_NUMBER_BYTES];
    snprintf(number, sizeof number, "%.1f", 100.0 * share);
    if (known) {
        pp_table_cell(t, "%s%s %%", share > 0 ? sign : "", number);
    } else {
        pp_table_cell(t, "-");
    }
}

static void print_row(const struct pp_run_row *row, const struct pp_run_expect *expect,
                      struct pp_table *t) {
    double expected = (double)pp_max_i64(expect->makespan_ns, 1);
    pp_table_cell(t, "%lld", (long long)row->step);
    if (row->has_loss) {
        pp_table_cell(t, "%.6f", row->loss);
    } else {
        pp_table_cell(t, "-");
    }
    ms_cell(t, true, row->wall_ns);
    ms_cell(t, row->has_trace, row->makespan_ns);
    percent_cell(t, row->has_trace && expect->is_prediction, "+",
                 ((double)row->makespan_ns - expected) / expected);
    percent_cell(t, row->has_trace, "", row->bubble_ratio);
    pp_table_cell(t, "%s", !row->has_trace ? "-" : row->in_order ? "as planned" : "BROKEN");
}

static void print_heading(const struct pp_run_answer *a, FILE *out) {
    const struct pp_run_job *job = a->job;
    const struct pp_run_source *s = job->source;
    fprintf(out, "%s: %d ranks, %d stages, %d microbatches a step, %d actions, %s over %s\n",
            s->name, job->lowered->rank_count, job->lowered->stage_count,
            microbatches_of(job->lowered), job->lowered->action_count,
            s->has_model ? "a transformer" : "spin", job->transport.ops->name);
    if (s->has_plan) {
        fprintf(out, "plan %s, ", s->plan.plan.id);
    }
    fprintf(out, "program %.16s", job->program->hash);
    if (a->execution_id[0] != '\0') {
        fprintf(out, ", stored as execution %s", a->execution_id);
    }
    fputc('\n', out);
    if (a->resumed_from >= 0) {
        fprintf(out, "resumed after step %lld of %lld%s\n", (long long)a->resumed_from,
                (long long)job->options->steps,
                a->resumed_from < job->options->steps ? "" : ": nothing is left to do");
    }
    for (int32_t i = 0; i < s->remarks.count; i++) {
        fprintf(out, "note: %s\n", s->remarks.items[i]);
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (s->has_model && job->lowered->rank_count > cores) {
        fprintf(out,
                "note: %d ranks share %ld cores, so no schedule keeps its predicted time here\n",
                job->lowered->rank_count, cores);
    }
    if (job->expect.is_prediction) {
        fprintf(out, "predicted by %s: %.3f ms a step without the optimizer\n", job->expect.by,
                (double)job->expect.makespan_ns / 1e6);
    } else {
        fprintf(out, "no prediction: nothing of this model was measured here before; `pipeplan "
                     "calibrate` learns from this run\n");
    }
}

enum pp_status pp_run_answer_text(const struct pp_run_answer *a, FILE *out, struct pp_err *err) {
    static const char *const heading[] = {"step",      "loss",   "wall", "makespan",
                                          "predicted", "bubble", "order"};
    struct pp_table t;
    print_heading(a, out);
    pp_table_init(&t, "rrrrrrl");
    pp_table_row(&t, heading);
    int64_t left_out = a->row_count > MANY_ROWS ? a->row_count - MANY_ROWS : 0;
    for (int64_t i = 0; i < a->row_count; i++) {
        if (i == SHOWN_FIRST) {
            i += left_out;
        }
        print_row(&a->rows[i], &a->job->expect, &t);
    }
    enum pp_status status = pp_table_print(&t, out, err);
    if (left_out > 0) {
        fprintf(out, "%lld steps between the first and the last are left out; --json has all\n",
                (long long)left_out);
    }
    pp_table_deinit(&t);
    return status;
}
