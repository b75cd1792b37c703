#include "reports/compared.h"
#include "reports/table.h"

enum { SHOWN_RANKS = 16 }; /* --json has all */

static void row_times(struct pp_table *t, const char *what, int64_t a_ns, int64_t b_ns) {
    char a[PP_NUMBER_BYTES];
    char b[PP_NUMBER_BYTES];
    char more[PP_NUMBER_BYTES];
    int64_t off_ns = b_ns - a_ns;
    pp_table_cell(t, "%s", what);
    pp_table_cell(t, "%s", pp_us_text(a_ns, a));
    pp_table_cell(t, "%s", pp_us_text(b_ns, b));
    pp_table_cell(t, "%s%s", off_ns < 0 ? "-" : "+",
                  pp_us_text(off_ns < 0 ? -off_ns : off_ns, more));
    if (a_ns > 0) {
        pp_table_cell(t, "%+.1f", 100.0 * (double)off_ns / (double)a_ns);
    } else {
        pp_table_cell(t, "%s", "-");
    }
}

static void row_ratios(struct pp_table *t, const char *what, double a, double b) {
    pp_table_cell(t, "%s", what);
    pp_table_cell(t, "%.4f", a);
    pp_table_cell(t, "%.4f", b);
    pp_table_cell(t, "%+.4f", b - a);
    pp_table_cell(t, "%s", "-");
}

static const char *name_of(const struct pp_sched *s, int32_t at, char out[64]) {
    char text[PP_ACTION_TEXT_BYTES];
    if (at < 0) {
        pp_copy(out, 64, "nothing");
    } else {
        snprintf(out, 64, "%s on rank %d", pp_action_text(&s->actions[at], text),
                 s->stage_rank[s->actions[at].stage]);
    }
    return out;
}

/* ---- heads ---- */

static void write_measured(FILE *out, const char *as, const struct pp_measured *m) {
    const struct pp_stored_execution *e = &m->execution;
    fprintf(out, "%-10s execution %.12s (%s), %s on %s over %s, %d ranks, step %lld", as, e->id,
            pp_execution_state_text(e->state), e->workload, e->device, e->transport,
            e->sched->rank_count, (long long)m->step);
    if (m->choice_count > 0) {
        fprintf(out, ": the median of %d", m->choice_count);
    }
    fputc('\n', out);
}

static void write_predicted(FILE *out, const struct pp_prediction *p) {
    fprintf(out, "%-10s by %s", "predicted", pp_costs_from_words(p->from));
    if (p->calibration_id[0] != '\0') {
        fprintf(out, ": %.12s, learned from %d execution%s, %s", p->calibration_id,
                p->learned_count, p->learned_count == 1 ? "" : "s",
                p->saw_it ? "this one AMONG them: a fit, not a prediction"
                          : "this one not among them");
    }
    fputc('\n', out);
}

/* ---- figures ---- */

static void write_path_rows(struct pp_table *t, const struct pp_path *a, const struct pp_path *b) {
    row_times(t, "critical path: compute", a->compute_ns, b->compute_ns);
    row_times(t, "  messages", a->message_ns, b->message_ns);
    row_times(t, "  collectives, host", a->other_ns, b->other_ns);
    row_times(t, "  between actions", a->lag_ns, b->lag_ns);
}

static void write_message_rows(struct pp_table *t, const struct pp_comparison *c) {
    static const char *const waits[] = {"forward messages: waited", "backward messages: waited"};
    for (int i = 0; i < 2; i++) {
        if (c->message_count[i] > 0) {
            const struct pp_message_times *a = &c->a.messages[i];
            const struct pp_message_times *b = &c->b.messages[i];
            row_times(t, waits[i], a->median_wait_ns, b->median_wait_ns);
            row_times(t, "  moved", a->median_transfer_ns, b->median_transfer_ns);
        }
    }
}

static enum pp_status write_figures(FILE *out, const struct pp_compared *compared,
                                    struct pp_err *err) {
    const struct pp_comparison *c = &compared->comparison;
    struct pp_table t;
    pp_table_init(&t, "lrrrr");
    pp_table_cell(&t, "%s", "times in us");
    pp_table_cell(&t, "%s", compared->is_prediction ? "predicted" : "a");
    pp_table_cell(&t, "%s", compared->is_prediction ? "measured" : "b");
    pp_table_cell(&t, "%s", "difference");
    pp_table_cell(&t, "%s", "%");
    row_times(&t, "makespan", c->a.metrics.makespan_ns, c->b.metrics.makespan_ns);
    row_ratios(&t, "bubble ratio", c->a.metrics.bubble_ratio, c->b.metrics.bubble_ratio);
    int32_t ranks = compared->second.execution.sched->rank_count;
    for (int32_t r = 0; r < ranks && r < SHOWN_RANKS; r++) {
        char what[32];
        snprintf(what, sizeof what, "rank %d computes", r);
        row_times(&t, what, c->a.busy_ns[r], c->b.busy_ns[r]);
    }
    for (int type = 0; type < PP_ACTION_TYPE_COUNT; type++) {
        const struct pp_compared_type *k = &c->types[type];
        char what[64];
        bool is_message = type >= PP_SEND_F && type <= PP_RECV_B; /* told below */
        if (k->count > 0 && !is_message && (type <= PP_B || k->a_ns > 0 || k->b_ns > 0)) {
            snprintf(what, sizeof what, "%s, median of %d",
                     pp_action_type_text((enum pp_action_type)type), k->count);
            row_times(&t, what, k->a_ns, k->b_ns);
        }
    }
    write_message_rows(&t, c);
    write_path_rows(&t, &c->a.path, &c->b.path);
    enum pp_status status = pp_table_print(&t, out, err);
    pp_table_deinit(&t);
    return status;
}

static void write_starts(FILE *out, const struct pp_compared *compared) {
    const struct pp_comparison *c = &compared->comparison;
    char p50[PP_NUMBER_BYTES];
    char p95[PP_NUMBER_BYTES];
    char most[PP_NUMBER_BYTES];
    char name[64];
    fprintf(out, "starts of compute: half within %s us, 95 %% within %s us, at most %s us (%s)\n",
            pp_us_text(c->start_p50_ns, p50), pp_us_text(c->start_p95_ns, p95),
            pp_us_text(c->start_max_ns, most),
            name_of(compared->second.execution.sched, c->start_max_action, name));
}

static void write_divergence(FILE *out, const struct pp_compared *compared) {
    const struct pp_divergence *d = &compared->comparison.divergence;
    const struct pp_sched *s = compared->second.execution.sched;
    const struct pp_trace *a =
        compared->is_prediction ? &compared->prediction.trace : &compared->first.trace;
    const struct pp_trace *b = &compared->second.trace;
    const char *as = compared->is_prediction ? "predicted" : "in a";
    char tolerance[PP_NUMBER_BYTES];
    char name[64];
    char other[64];
    char times[2][PP_NUMBER_BYTES];
    pp_us_text(d->tolerance_ns, tolerance);
    if (d->reason == PP_DIVERGED_NOT) {
        fprintf(out, "no divergence along the critical path beyond %s us\n", tolerance);
        return;
    }
    fprintf(out, "first divergence beyond %s us along the critical path: %s, ", tolerance,
            name_of(s, d->action, name));
    if (d->reason == PP_DIVERGED_START) {
        int64_t later_ns = b->start_ns[d->action] - a->start_ns[d->action];
        fprintf(out, "%s us %s (%s %s us), held up by %s\n",
                pp_us_text(later_ns < 0 ? -later_ns : later_ns, times[0]),
                later_ns < 0 ? "early" : "late", as, pp_us_text(a->start_ns[d->action], times[1]),
                name_of(s, d->b_before, other));
    } else {
        fprintf(out, "held up by %s", name_of(s, d->b_before, other));
        fprintf(out, " (%s by %s)\n", as, name_of(s, d->a_before, other));
    }
}

enum pp_status pp_text_compared(FILE *out, const struct pp_compared *compared, struct pp_err *err) {
    if (compared->is_prediction) {
        write_predicted(out, &compared->prediction);
        write_measured(out, "measured", &compared->second);
    } else {
        write_measured(out, "a", &compared->first);
        write_measured(out, "b", &compared->second);
    }
    fputc('\n', out);
    PP_TRY(write_figures(out, compared, err));
    fputc('\n', out);
    write_starts(out, compared);
    write_divergence(out, compared);
    if (compared->is_prediction) {
        fprintf(out, "the predicted makespan is off by %+.2f %%\n",
                100.0 * compared->comparison.makespan_error);
    }
    return PP_OK;
}
