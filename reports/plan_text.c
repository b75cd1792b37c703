#include "reports/plan_text.h"

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

static void write_ranks(FILE *out, const struct pp_plan *plan) {
    fprintf(out, "  %4s  %-24s %6s %14s %10s  %s\n", "rank", "stages", "layers", "resident GiB",
            "peak GiB", "peak made by");
    for (int32_t r = 0; r < plan->config.pp_size; r++) {
        char stages[64] = "";
        int32_t layers = 0;
        for (int32_t s = 0; s < plan->stage_count; s++) {
            if (plan->stage_rank[s] == r) {
                size_t n = strlen(stages);
                snprintf(stages + n, sizeof stages - n, n == 0 ? "%d" : " %d", s);
                layers += plan->layer_counts[s];
            }
        }
        if (strlen(stages) > 23) {
            strcpy(stages + 20, "...");
        }
        struct pp_action a = {.stage = plan->peak_stage[r],
                              .microbatch = plan->peak_microbatch[r],
                              .type = plan->peak_type[r]};
        char text[PP_ACTION_TEXT_BYTES] = "resident states";
        if (a.stage >= 0) {
            pp_action_text(&a, text);
        }
        fprintf(out, "  %4d  %-24s %6d %14.1f %10.1f  %s\n", r, stages, layers,
                (double)plan->base_bytes[r] / GIB, (double)plan->peak_bytes[r] / GIB, text);
    }
}

static void write_current(FILE *out, const struct pp_plan_set *set) {
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
        fprintf(out, ", %lld flushes a step of %s", (long long)p->flush_count,
                pp_text_duration(p->flush_ns, flush));
        if (p->step_ns > 0) {
            fprintf(out, ", step %s", pp_text_duration(p->step_ns, step));
        }
        fprintf(out, ", peak %.1f of %.1f GiB: %s\n", (double)p->max_peak_bytes / GIB,
                (double)p->limit_bytes / GIB, p->fits ? "fits" : "does not fit");
        if (!p->fits) {
            fprintf(out, "  %s\n", p->why);
        }
        write_ranks(out, p);
    } else if (p->evaluated) {
        fputs("\n", out);
    }
}

static void write_head(FILE *out) {
    fprintf(out, "  %4s %-20s %2s %5s %5s %6s %5s %4s %6s %7s %10s %7s %9s %s\n", "#", "schedule",
            "pp", "lps", "round", "stages", "micro", "size", "flush", "bubble", "step", "change",
            "peak GiB", "fits");
}

static void write_row(FILE *out, const struct pp_plan_set *set, int32_t index) {
    const struct pp_plan *p = &set->plans[index];
    const struct pp_plan_config *c = &p->config;
    char lps[16] = "-";
    char change[16] = "-";
    char step[32];
    if (c->has_layers_per_stage) {
        snprintf(lps, sizeof lps, "%d", c->layers_per_stage);
    }
    if (set->current->step_ns > 0) {
        snprintf(change, sizeof change, "%+.1f %%",
                 100.0 * ((double)p->step_ns / (double)set->current->step_ns - 1.0));
    }
    fprintf(out, "  %4d %-20s %2d %5s %5s %6d %5d %4d %6lld %6.1f%% %10s %7s %9.1f %s\n", index + 1,
            schedule_name(p), c->pp_size, lps,
            c->round == PP_ROUND_NONE ? "-" : pp_round_name(c->round), p->stage_count,
            p->microbatch_count, c->microbatch_size, (long long)p->flush_count,
            100.0 * p->bubble_ratio, pp_text_duration(p->step_ns, step), change,
            (double)p->max_peak_bytes / GIB, p->fits ? "yes" : "no");
}

static void write_override(void *context, const char *key, const char *value) {
    fprintf(context, " --%s=%s", key, value);
}

static void write_pick(FILE *out, const struct pp_recipe *recipe, const struct pp_plan_set *set,
                       const char *title, int32_t index) {
    if (index < 0) {
        return;
    }
    fprintf(out, "\n%s%s\n", title, index == set->current_index ? ": the recipe as it is" : "");
    write_head(out);
    write_row(out, set, index);
    if (index != set->current_index) {
        fprintf(out, "  paste:");
        pp_plan_overrides(recipe, &set->plans[index].config, write_override, out);
        fprintf(out, "\n  plan %s\n", set->plans[index].id);
    }
}

/* Faster than the best that fits, if only they fitted. The plans that do not fit are sorted by how
 * much they need, so the first ones came closest. */
static void write_rejected(FILE *out, const struct pp_plan_set *set) {
    enum { SHOWN = 3 };
    int32_t shown = 0;
    for (int32_t i = 0; i < set->plan_count && shown < SHOWN; i++) {
        const struct pp_plan *p = &set->plans[i];
        if (!p->fits && (set->best < 0 || p->step_ns < set->plans[set->best].step_ns)) {
            if (shown == 0) {
                fprintf(out, "\n%s\n",
                        set->best < 0 ? "Nothing fits; closest:" : "Faster, but rejected:");
                write_head(out);
            }
            write_row(out, set, i);
            fprintf(out, "       %s\n", p->why);
            shown++;
        }
    }
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

void pp_text_plan_set(FILE *out, const struct pp_recipe *recipe, const struct pp_plan_set *set,
                      int32_t row_count) {
    write_current(out, set);
    write_pick(out, recipe, set, "Best", set->best);
    write_pick(out, recipe, set, "Best at no more memory than now", set->best_same_memory);
    if (set->other_round >= 0 && set->other_round != set->current_index) {
        write_pick(out, recipe, set,
                   set->current->config.round == PP_ROUND_DOWN ? "Rounding up instead of down"
                                                               : "Rounding down instead of up",
                   set->other_round);
    }
    if (set->plan_count > 0 && set->best >= 0) {
        fprintf(out, "\nRanked, %d plans of %lld settings looked at\n", set->plan_count,
                (long long)set->considered_count);
        write_head(out);
        for (int32_t i = 0; i < set->plan_count && i < row_count && set->plans[i].fits; i++) {
            write_row(out, set, i);
        }
    }
    write_rejected(out, set);
    write_lints(out, set);
}
