#include "reports/plan_text.h"

#include "reports/table.h"
#include "sim/plan_price.h"

#include <string.h>

static const double GIB = 1024.0 * 1024.0 * 1024.0;

const char *pp_text_duration(int64_t ns, char out[32]) {
    static const struct {
        int64_t least_ns;
        double unit_ns;
        const char *name;
    } units[] = {{1000000000, 1e9, "s"}, {1000000, 1e6, "ms"}, {0, 1e3, "us"}};
    int u = 0;
    while (ns < units[u].least_ns) {
        u++;
    }
    double value = (double)ns / units[u].unit_ns;
    int digits = value >= 100.0 ? 0 : value >= 10.0 ? 1 : 2;
    snprintf(out, 32, "%.*f %s", digits, value, units[u].name);
    return out;
}

static const char *schedule_name(const struct pp_plan *plan) {
    if (plan->config.schedule == NULL) {
        return plan->config.pp_size > 1 ? "no known schedule" : "no pipeline";
    }
    return plan->config.schedule->name;
}

/* "3 x 5, 2 x 23": runs of equal layer counts. */
static void write_layers(FILE *out, const struct pp_plan *plan) {
    int32_t begin = 0;
    for (int32_t s = 1; s <= plan->stage_count; s++) {
        if (s == plan->stage_count || plan->layer_counts[s] != plan->layer_counts[begin]) {
            fprintf(out, "%s%d x %d", begin == 0 ? "" : ", ", s - begin, plan->layer_counts[begin]);
            begin = s;
        }
    }
}

/* "0 4 8", the beginning of many; returns how many layers they hold. */
static int32_t list_stages(const struct pp_plan *plan, int32_t rank, char *out, size_t size) {
    enum { SHOWN_BYTES = 23 };
    int32_t layers = 0;
    size_t n = 0;
    for (int32_t s = 0; s < plan->stage_count; s++) {
        if (plan->stage_rank[s] == rank) {
            snprintf(out + n, size - n, n == 0 ? "%d" : " %d", s);
            n = strlen(out);
            layers += plan->layer_counts[s];
        }
    }
    if (n > SHOWN_BYTES) {
        pp_copy(out + SHOWN_BYTES - 3, size - SHOWN_BYTES + 3, "...");
    }
    return layers;
}

/* Tables stand two blanks in: an empty first column, and the blanks behind it. */
static enum pp_status write_ranks(FILE *out, const struct pp_plan *plan, struct pp_err *err) {
    static const char *const heading[] = {
        "", "rank", "stages", "layers", "resident GiB", "peak GiB", "peak made by"};
    struct pp_table t;
    pp_table_init(&t, "lrlrrrl");
    pp_table_row(&t, heading);
    for (int32_t r = 0; r < plan->config.pp_size; r++) {
        char stages[64] = "";
        char text[PP_ACTION_TEXT_BYTES];
        int32_t layers = list_stages(plan, r, stages, sizeof stages);
        const char *action = pp_plan_peak_action(plan, r, text);
        pp_table_cell(&t, "%s", "");
        pp_table_cell(&t, "%d", r);
        pp_table_cell(&t, "%s", stages);
        pp_table_cell(&t, "%d", layers);
        pp_table_cell(&t, "%.1f", (double)plan->base_bytes[r] / GIB);
        pp_table_cell(&t, "%.1f", (double)plan->peak_bytes[r] / GIB);
        pp_table_cell(&t, "%s", action != NULL ? action : "resident states");
    }
    enum pp_status status = pp_table_print(&t, out, err);
    pp_table_deinit(&t);
    return status;
}

/* Where a flush's idle time goes, in shares of all ranks' time: together the bubble. */
static void write_idle(FILE *out, const struct pp_plan *plan) {
    double all_ns = (double)plan->flush_ns * plan->config.pp_size;
    const char *separator = "  idle: ";
    for (enum pp_cause c = PP_CAUSE_FILL; c < PP_CAUSE_COUNT; c++) {
        if (plan->evaluated && plan->idle_ns[c] > 0) {
            fprintf(out, "%s%.1f %% %s", separator, 100.0 * (double)plan->idle_ns[c] / all_ns,
                    pp_cause_words(c));
            separator = ", ";
        }
    }
    fputs(separator[0] == ',' ? "\n" : "", out);
}

static enum pp_status write_current(FILE *out, const struct pp_plan_set *set, struct pp_err *err) {
    const struct pp_plan *p = set->current;
    const struct pp_plan_config *c = &p->config;
    fprintf(out, "As it is: %s, pp %d", schedule_name(p), c->pp_size);
    if (p->layer_counts != NULL) {
        fprintf(out, ", %d stages, %d a rank (", p->stage_count, p->stages_per_rank);
        write_layers(out, p);
        fprintf(out, " layers)");
    }
    if (p->microbatch_count > 0) {
        fprintf(out, ", %d microbatches of %d", p->microbatch_count, c->microbatch_size);
    }
    fputs("\n", out);
    if (set->current_error.status != PP_OK) {
        fprintf(out, "  %s: %s%s%s\n", pp_status_code(set->current_error.status),
                set->current_error.message, set->current_error.hint[0] == '\0' ? "" : "; ",
                set->current_error.hint);
    }
    if (p->evaluated) {
        fprintf(out, "  bubble %.1f %%%s", 100.0 * p->bubble_ratio,
                p->has_costs ? "" : " (unit costs)");
    }
    if (p->has_costs) {
        char step[32];
        char flush[32];
        pp_text_duration(p->flush_ns, flush);
        if (p->step_ns > 0) {
            fprintf(out, ", %lld flush%s a step of %s, step %s", (long long)p->flush_count,
                    p->flush_count == 1 ? "" : "es", flush, pp_text_duration(p->step_ns, step));
        } else {
            fprintf(out, ", one flush %s", flush);
        }
        fprintf(out, ", peak %.1f of %.1f GiB: %s\n", (double)p->max_peak_bytes / GIB,
                (double)p->limit_bytes / GIB, p->fits ? "fits" : "does not fit");
        if (!p->fits) {
            fprintf(out, "  %s\n", p->why);
        }
        write_idle(out, p);
        return write_ranks(out, p, err);
    }
    fputs(p->evaluated ? "\n" : "", out);
    write_idle(out, p);
    return PP_OK;
}

static void begin_rows(struct pp_table *t) {
    static const char *const heading[] = {"",       "#",      "schedule", "pp",       "lps",
                                          "round",  "stages", "micro",    "size",     "flush",
                                          "bubble", "step",   "change",   "peak GiB", "fits"};
    pp_table_init(t, "lrlrrrrrrrrrrrl");
    pp_table_row(t, heading);
}

static void add_row(struct pp_table *t, const struct pp_plan_set *set, int32_t index) {
    const struct pp_plan *p = &set->plans[index];
    const struct pp_plan_config *c = &p->config;
    char lps[16] = "-";
    char step[32];
    if (c->has_layers_per_stage) {
        snprintf(lps, sizeof lps, "%d", c->layers_per_stage);
    }
    pp_table_cell(t, "%s", "");
    pp_table_cell(t, "%d", index + 1);
    pp_table_cell(t, "%s", schedule_name(p));
    pp_table_cell(t, "%d", c->pp_size);
    pp_table_cell(t, "%s", lps);
    pp_table_cell(t, "%s", c->round == PP_ROUND_NONE ? "-" : pp_round_name(c->round));
    pp_table_cell(t, "%d", p->stage_count);
    pp_table_cell(t, "%d", p->microbatch_count);
    pp_table_cell(t, "%d", c->microbatch_size);
    pp_table_cell(t, "%lld", (long long)p->flush_count);
    pp_table_cell(t, "%.1f%%", 100.0 * p->bubble_ratio);
    pp_table_cell(t, "%s", pp_text_duration(p->step_ns, step));
    if (set->current->step_ns > 0) {
        pp_table_cell(t, "%+.1f %%",
                      100.0 * ((double)p->step_ns / (double)set->current->step_ns - 1.0));
    } else {
        pp_table_cell(t, "-");
    }
    pp_table_cell(t, "%.1f", (double)p->max_peak_bytes / GIB);
    pp_table_cell(t, "%s%s%s", p->fits ? "yes" : "no: ", p->why,
                  index == set->current_index ? " (as it is)" : "");
}

static enum pp_status end_rows(struct pp_table *t, FILE *out, struct pp_err *err) {
    enum pp_status status = pp_table_print(t, out, err);
    pp_table_deinit(t);
    return status;
}

static void write_override(void *context, const char *key, const char *value) {
    fprintf(context, " --%s=%s", key, value);
}

static enum pp_status write_pick(FILE *out, const struct pp_recipe *recipe,
                                 const struct pp_plan_set *set, const char *title, int32_t index,
                                 struct pp_err *err) {
    struct pp_table t;
    if (index < 0) {
        return PP_OK;
    }
    fprintf(out, "\n%s%s\n", title, index == set->current_index ? ": the recipe as it is" : "");
    begin_rows(&t);
    add_row(&t, set, index);
    PP_TRY(end_rows(&t, out, err));
    if (index != set->current_index) {
        if (strcmp(title, "Best") == 0) {
            write_idle(out, &set->plans[index]);
        }
        fprintf(out, "  paste:");
        pp_plan_overrides(recipe, &set->plans[index].config, write_override, out);
        fprintf(out, "\n  plan %s\n", set->plans[index].id);
    }
    return PP_OK;
}

/* "saves 1.2 s a step (plan 4)"; plans are numbered as in the ranked table. */
static void write_change(FILE *out, const struct pp_price_point *point) {
    char time[32];
    int64_t change = point->change_ns;
    if (point->plan < 0) {
        fputs("leaves nothing that fits", out);
    } else if (change == 0) {
        fputs("changes nothing", out);
    } else {
        fprintf(out, "%s %s a step (plan %d)", change < 0 ? "saves" : "costs",
                pp_text_duration(change < 0 ? -change : change, time), point->plan + 1);
    }
}

/* What memory is worth. */
static void write_price(FILE *out, const struct pp_plan_set *set) {
    struct pp_memory_price p;
    pp_plan_price(set, &p);
    double missing = (double)(p.next.limit_bytes - p.now.limit_bytes) / GIB;
    if (p.now.plan >= 0) {
        fputs("\nMemory: a GiB more ", out);
        write_change(out, &p.more);
        fputs(", a GiB less ", out);
        write_change(out, &p.less);
        if (p.next.plan >= 0) {
            fprintf(out, "; the next faster plan needs %.1f GiB more and ", missing);
            write_change(out, &p.next);
        }
        fputs("\n", out);
    } else if (p.next.plan >= 0) {
        char step[32];
        fprintf(out, "\nMemory: with %.1f GiB more something fits, at %s a step\n", missing,
                pp_text_duration(set->plans[p.next.plan].step_ns, step));
    }
}

static enum pp_status write_ranked(FILE *out, const struct pp_plan_set *set, int32_t row_count,
                                   struct pp_err *err) {
    struct pp_table t;
    if (set->best < 0) {
        return PP_OK;
    }
    fprintf(out, "\nRanked: %d plan%s from %lld settings looked at\n", set->plan_count,
            set->plan_count == 1 ? "" : "s", (long long)set->considered_count);
    begin_rows(&t);
    for (int32_t i = 0; i < set->plan_count && i < row_count && set->plans[i].fits; i++) {
        add_row(&t, set, i);
    }
    return end_rows(&t, out, err);
}

/* Faster than the best that fits, if only they fitted. The plans that do not fit are sorted by how
 * much they need, so the first ones came closest. */
static enum pp_status write_rejected(FILE *out, const struct pp_plan_set *set, struct pp_err *err) {
    enum { SHOWN = 3 };
    struct pp_table t;
    int32_t shown = 0;
    begin_rows(&t);
    for (int32_t i = 0; i < set->plan_count && shown < SHOWN; i++) {
        const struct pp_plan *p = &set->plans[i];
        if (!p->fits && (set->best < 0 || p->step_ns < set->plans[set->best].step_ns)) {
            add_row(&t, set, i);
            shown++;
        }
    }
    if (shown == 0) {
        pp_table_deinit(&t);
        return PP_OK;
    }
    fprintf(out, "\n%s\n", set->best < 0 ? "Nothing fits; closest:" : "Faster, but rejected:");
    return end_rows(&t, out, err);
}

static void write_lints(FILE *out, const struct pp_plan_set *set) {
    static const char *const levels[] = {"note", "warning", "error"};
    for (int32_t i = 0; i < set->lint_count; i++) {
        const struct pp_lint *l = &set->lints[i];
        fprintf(out, "%s%s %s: %s", i == 0 ? "\n" : "", levels[l->level], l->code, l->message);
        if (l->line > 0) {
            fprintf(out, " (line %d)", l->line);
        }
        fputs("\n", out);
    }
}

enum pp_status pp_text_plan_set(FILE *out, const struct pp_recipe *recipe,
                                const struct pp_plan_set *set, int32_t row_count,
                                struct pp_err *err) {
    bool is_down = set->current->config.round == PP_ROUND_DOWN;
    PP_TRY(write_current(out, set, err));
    PP_TRY(write_pick(out, recipe, set, "Best", set->best, err));
    PP_TRY(write_pick(out, recipe, set, "Best at no more memory than now", set->best_same_memory,
                      err));
    if (set->other_round != set->current_index) {
        PP_TRY(write_pick(out, recipe, set,
                          is_down ? "Rounding up instead of down" : "Rounding down instead of up",
                          set->other_round, err));
    }
    PP_TRY(write_ranked(out, set, row_count, err));
    PP_TRY(write_rejected(out, set, err));
    write_price(out, set);
    write_lints(out, set);
    return PP_OK;
}
