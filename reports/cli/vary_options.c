#include "reports/cli/vary_options.h"

#include "costmodel/value.h"
#include "reports/json.h"
#include "reports/table.h"
#include "sim/parallel.h"

#include <stdlib.h>
#include <string.h>

void pp_vary_options_rows(struct pp_vary_options *o, struct pp_option *rows) {
    const struct pp_option table[PP_VARY_OPTION_COUNT] = {
        {"", PP_OPT_HEADING, NULL, NULL, 0, 0, "",
         "VARIATION (adds the makespans of samples in which durations vary):"},
        {"--jitter", PP_OPT_TEXT, &o->jitter, NULL, 0, 0, "R",
         "standard deviation of each action and transfer: 0.05 or 5%"},
        {"--jitter-rank", PP_OPT_TEXT, &o->jitter_rank, NULL, 0, 0, "R",
         "the same of each rank, for a whole sample"},
        {"--jitter-stage", PP_OPT_TEXT, &o->jitter_stage, NULL, 0, 0, "R",
         "the same of each stage"},
        {"--jitter-microbatch", PP_OPT_TEXT, &o->jitter_microbatch, NULL, 0, 0, "R",
         "the same of each microbatch"},
        {"--stragglers", PP_OPT_TEXT, &o->stragglers, NULL, 0, 0, "P:F",
         "an action takes F times as long with probability P: 1%:3"},
        {"--slow-ranks", PP_OPT_TEXT, &o->slow_ranks, NULL, 0, 0, "P:F",
         "the same of a rank, for a whole sample"},
        {"--microbatch-lengths", PP_OPT_TEXT, &o->lengths, NULL, 0, 0, "FILE",
         "one number a line, a line a microbatch: durations in proportion, mean as given"},
        {"--seed", PP_OPT_INT, &o->seed, &o->has_seed, 0, INT64_MAX, "N",
         "of the draws; default 0"},
        {"--samples", PP_OPT_INT, &o->samples, &o->has_samples, 1, PP_VARY_MAX_SAMPLES, "N",
         "default 1000 where anything varies"},
        {"--threads", PP_OPT_INT, &o->threads, &o->has_threads, 0, PP_PARALLEL_MAX_THREADS, "N",
         "for the samples, which do not depend on it; default 0: all"},
    };
    memcpy(rows, table, sizeof table);
}

/* ---- ratios ---- */

enum { RATIO_BYTES = 64 };

/* Says which flag the value belongs to. */
static enum pp_status in_flag(const char *flag, enum pp_status status, const struct pp_err *why,
                              struct pp_err *err) {
    return pp_fail(err, status, "%s: %.600s", flag, why->message);
}

/* "0.05", "1/20" or "5%" in parts of PP_VARY_ONE, to nearest. */
static enum pp_status parse_parts(const char *flag, const char *begin, size_t size, int64_t most,
                                  int64_t *parts_p, struct pp_err *err) {
    char text[RATIO_BYTES];
    int64_t num;
    int64_t den;
    struct pp_err why = {0};
    bool percent = size > 0 && begin[size - 1] == '%';
    size -= percent;
    if (size >= sizeof text) {
        return pp_fail(err, PP_E_USAGE, "%s: '%.40s...' is not a ratio; expected 0.05, 1/20 or 5%%",
                       flag, begin);
    }
    memcpy(text, begin, size);
    text[size] = '\0';
    enum pp_status status = pp_parse_ratio(text, &num, &den, &why);
    if (status != PP_OK) {
        return in_flag(flag, status, &why, err);
    }
    den *= percent ? 100 : 1;
    if (num > most * den) {
        return pp_fail(err, PP_E_RANGE, "%s: %s%s is more than %lld%s", flag, text,
                       percent ? "%" : "", (long long)(percent ? most * 100 : most),
                       percent ? "%" : "");
    }
    *parts_p = pp_div_round_i64(num * PP_VARY_ONE, den);
    return PP_OK;
}

static enum pp_status parse_sd(const char *flag, const char *text, int64_t *sd_p,
                               struct pp_err *err) {
    return text == NULL ? PP_OK : parse_parts(flag, text, strlen(text), 1, sd_p, err);
}

/* "P:F" */
static enum pp_status parse_stragglers(const char *flag, const char *text, int64_t *chance_p,
                                       int64_t *factor_p, struct pp_err *err) {
    if (text == NULL) {
        return PP_OK;
    }
    const char *colon = strchr(text, ':');
    if (colon == NULL) {
        return pp_fail(err, PP_E_USAGE,
                       "%s: '%.40s' lacks a ':'; expected a chance and a factor, such as 1%%:3",
                       flag, text);
    }
    PP_TRY(parse_parts(flag, text, (size_t)(colon - text), 1, chance_p, err));
    PP_TRY(parse_parts(flag, colon + 1, strlen(colon + 1), PP_VARY_MAX_FACTOR, factor_p, err));
    if (*factor_p < PP_VARY_ONE) {
        return pp_fail(err, PP_E_RANGE, "%s: a factor of %.40s is less than 1; a straggler is late",
                       flag, colon + 1);
    }
    return PP_OK;
}

static enum pp_status parse_all(const struct pp_vary_options *o, struct pp_vary *v,
                                struct pp_err *err) {
    PP_TRY(parse_sd("--jitter", o->jitter, &v->action_sd, err));
    PP_TRY(parse_sd("--jitter-rank", o->jitter_rank, &v->rank_sd, err));
    PP_TRY(parse_sd("--jitter-stage", o->jitter_stage, &v->stage_sd, err));
    PP_TRY(parse_sd("--jitter-microbatch", o->jitter_microbatch, &v->microbatch_sd, err));
    PP_TRY(parse_stragglers("--stragglers", o->stragglers, &v->straggler_chance,
                            &v->straggler_factor, err));
    v->seed = (uint64_t)o->seed;
    return parse_stragglers("--slow-ranks", o->slow_ranks, &v->rank_straggler_chance,
                            &v->rank_straggler_factor, err);
}

/* ---- running it ---- */

bool pp_vary_options_asked_for(const struct pp_vary_options *o) {
    return o->jitter != NULL || o->jitter_rank != NULL || o->jitter_stage != NULL ||
           o->jitter_microbatch != NULL || o->stragglers != NULL || o->slow_ranks != NULL ||
           o->lengths != NULL;
}

/* A seed that nothing draws from is a flag forgotten, not a wish. */
static enum pp_status check_idle_flags(const struct pp_vary_options *o, struct pp_err *err) {
    if (!o->has_seed && !o->has_samples && !o->has_threads) {
        return PP_OK;
    }
    pp_fail(err, PP_E_USAGE, "%s without anything that varies",
            o->has_seed      ? "--seed"
            : o->has_samples ? "--samples"
                             : "--threads");
    pp_hint(err, "add --jitter, --jitter-rank, --jitter-stage, --jitter-microbatch, --stragglers, "
                 "--slow-ranks or --microbatch-lengths");
    return PP_E_USAGE;
}

enum pp_status pp_vary_options_check(const struct pp_vary_options *o, struct pp_err *err) {
    struct pp_vary vary = {0};
    return pp_vary_options_asked_for(o) ? parse_all(o, &vary, err) : check_idle_flags(o, err);
}

enum pp_status pp_variation_run(struct pp_variation *variation, const struct pp_vary_options *o,
                                const struct pp_sched *s, const struct pp_costs *costs,
                                const volatile sig_atomic_t *stop, struct pp_err *err) {
    struct pp_vary vary = {0};
    struct pp_vary_figures figures;
    int64_t *weight = NULL;
    const struct pp_vary_sampling sampling = {
        .sample_count = (int32_t)o->samples, .thread_count = (int32_t)o->threads, .stop = stop};
    *variation = (struct pp_variation){.asked_for = pp_vary_options_asked_for(o), .seed = o->seed};
    if (!variation->asked_for) {
        return PP_OK;
    }
    PP_TRY(parse_all(o, &vary, err));
    enum pp_status status = PP_OK;
    if (o->lengths != NULL) {
        int32_t count = pp_vary_microbatches(s);
        weight = malloc((size_t)count * sizeof *weight);
        status = weight == NULL
                     ? pp_fail(err, PP_E_NOMEM, "out of memory for %d microbatches", count)
                     : pp_lengths_read(o->lengths, count, weight, err);
    }
    if (status == PP_OK) {
        vary.microbatch_weight = weight;
        status = pp_vary_run(s, costs, &vary, &sampling, &figures, NULL, err);
    }
    if (status == PP_OK) {
        variation->figures = figures;
    }
    free(weight);
    return status;
}

/* ---- the answer ---- */

struct figure {
    const char *key, *name;
    int64_t ns;
};
enum { FIGURE_COUNT = 7 };

static void list_figures(const struct pp_vary_figures *f, struct figure figures[FIGURE_COUNT]) {
    const struct figure list[FIGURE_COUNT] = {
        {"steady_ns", "steady", f->steady_ns}, {"mean_ns", "mean", f->mean_ns},
        {"min_ns", "min", f->min_ns},          {"p5_ns", "p5", f->p5_ns},
        {"p50_ns", "p50", f->p50_ns},          {"p95_ns", "p95", f->p95_ns},
        {"max_ns", "max", f->max_ns}};
    memcpy(figures, list, sizeof list);
}

void pp_variation_put(const struct pp_variation *variation, json_t *document) {
    struct figure figures[FIGURE_COUNT];
    if (!variation->asked_for) {
        return;
    }
    json_t *member = json_object();
    json_object_set_new(member, "samples", json_integer(variation->figures.sample_count));
    json_object_set_new(member, "seed", json_integer(variation->seed));
    list_figures(&variation->figures, figures);
    for (int i = 0; i < FIGURE_COUNT; i++) {
        json_object_set_new(member, figures[i].key, json_integer(figures[i].ns));
    }
    json_object_set_new(document, "variation", member);
}

void pp_variation_print(const struct pp_variation *variation, FILE *out) {
    struct figure figures[FIGURE_COUNT];
    char number[PP_NUMBER_BYTES];
    if (!variation->asked_for) {
        return;
    }
    fprintf(out,
            "\nvarying: %d sample%s, seed %lld; makespan (us):", variation->figures.sample_count,
            variation->figures.sample_count == 1 ? "" : "s", (long long)variation->seed);
    list_figures(&variation->figures, figures);
    for (int i = 0; i < FIGURE_COUNT; i++) {
        fprintf(out, "%s %s %s", i == 0 ? "" : ",", figures[i].name,
                pp_us_text(figures[i].ns, number));
    }
    fprintf(out, "\n");
}
