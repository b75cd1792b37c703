/* The flags of `simulate` that let durations vary, and the Monte Carlo that they ask for. */
#ifndef PP_REPORTS_CLI_VARY_OPTIONS_H
#define PP_REPORTS_CLI_VARY_OPTIONS_H

#include "reports/cli/cli.h"
#include "sim/vary.h"

/* As given; ratios and files are read by pp_variation_run, which knows the schedule. */
struct pp_vary_options {
    const char *jitter, *jitter_rank, *jitter_stage, *jitter_microbatch;
    const char *stragglers, *slow_ranks;
    const char *lengths; /* file */
    int64_t seed, samples, threads;
    bool has_seed, has_samples, has_threads;
};

#define PP_VARY_OPTIONS_DEFAULT                                                                    \
    { .samples = 1000 }

enum { PP_VARY_OPTION_COUNT = 11 };

/* Writes the rows of an option table. @param rows  [PP_VARY_OPTION_COUNT] */
void pp_vary_options_rows(struct pp_vary_options *o, struct pp_option *rows);

/* Whether anything is to vary, if only by 0. */
bool pp_vary_options_asked_for(const struct pp_vary_options *o);

/* What can be said before there is a schedule.
 * @return PP_OK, PP_E_USAGE (a value that does not parse; --seed, --samples or --threads where
 *         nothing varies), PP_E_RANGE */
enum pp_status pp_vary_options_check(const struct pp_vary_options *o, struct pp_err *err);

/* What came out. Not asked for: nothing is run, and nothing is shown. */
struct pp_variation {
    bool asked_for;
    int64_t seed;
    struct pp_vary_figures figures;
};

/*
 * @param o  checked
 * @return PP_OK, PP_E_FILE, PP_E_CSV, PP_E_RANGE (a file of lengths, with its line), as pp_vary_run
 */
enum pp_status pp_variation_run(struct pp_variation *variation, const struct pp_vary_options *o,
                                const struct pp_sched *s, const struct pp_costs *costs,
                                const volatile sig_atomic_t *stop, struct pp_err *err);

/* Member `variation`, if it was asked for. */
void pp_variation_put(const struct pp_variation *variation, json_t *document);
void pp_variation_print(const struct pp_variation *variation, FILE *out);

/*
 * Reads a file of lengths, one number a line, and makes weights of mean PP_VARY_ONE of them.
 * @param weight  [count]
 * @return PP_OK, PP_E_FILE, PP_E_CSV (no number, too few or many lines), PP_E_RANGE (a length
 *         negative, or above PP_VARY_MAX_FACTOR times the mean; all of them 0)
 */
enum pp_status pp_lengths_read(const char *path, int32_t count, int64_t *weight,
                               struct pp_err *err);

#endif
