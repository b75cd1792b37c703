/* COSTS: the flags that say how long actions take and what they hold, and what they mean for the
 * stages of a schedule. */
#ifndef PP_REPORTS_CLI_COST_OPTIONS_H
#define PP_REPORTS_CLI_COST_OPTIONS_H

#include "reports/cli/cli.h"
#include "sim/eval.h"
#include "sim/generate.h"
#include "sim/memory.h"

struct pp_cost_options {
    int64_t f_ns, i_ns, w_ns, pair_ns, p2p_ns, offload_ns;
    bool has_f, has_i, has_w, has_pair, has_p2p;
    bool per_stage;   /* durations are a stage's, not a rank's whole share */
    const char *file; /* stage,f,i,w; NULL = none */
    int64_t mem_w[2]; /* what W frees of a stage's activations: numerator, denominator */
    int64_t limit[2]; /* of peak activation, in a rank's whole share of one microbatch */
    bool has_limit;
};

/* 1 us each, no transfer time, everything freed by W. */
#define PP_COST_OPTIONS_DEFAULT                                                                    \
    {                                                                                              \
        .f_ns = 1000, .i_ns = 1000, .w_ns = 1000, .mem_w = {1, 1}, .limit = { 0, 1 }               \
    }

enum { PP_COST_OPTION_COUNT = 11 };

/* Writes the rows of an option table. @param rows  [PP_COST_OPTION_COUNT] */
void pp_cost_options_rows(struct pp_cost_options *o, struct pp_option *rows);

/* A schedule's costs. Activations of rank r count in 1 / (stages of r, copies once * slices * mem_w
 * denominator) of the rank's whole share, so that every amount is a whole number. */
struct pp_stage_costs {
    int64_t *columns; /* owns the arrays */
    struct pp_costs costs;
    struct pp_memory_model memory;
    const int64_t *limit; /* [rank_count] --memory-limit in the same units; NULL if not given */
    int64_t share;        /* mem_w denominator: units of one stage's activations */
};

/*
 * @param s  sealed or not: only its counts and placement are read
 * @return PP_OK, PP_E_USAGE (flags that contradict each other), PP_E_RANGE, PP_E_FILE, PP_E_CSV
 *         (a cost file that is not well-formed, with line and column), PP_E_NOMEM
 */
enum pp_status pp_stage_costs_init(struct pp_stage_costs *c, const struct pp_cost_options *o,
                                   const struct pp_sched *s, struct pp_err *err);
/* The same for a generator; points into `c`. */
struct pp_gen_costs pp_stage_costs_for_generator(const struct pp_stage_costs *c);
void pp_stage_costs_deinit(struct pp_stage_costs *c);

/* A peak in units of the rank's whole share: units / per_share. */
struct pp_activation {
    int32_t rank;
    int32_t action; /* that makes it; index into s->actions */
    int64_t units, per_share;
};

/* Highest activation of every rank. @param peaks  [rank_count]
 * @return PP_OK, PP_E_NOMEM; with offloads also as pp_eval_create, pp_eval_run */
enum pp_status pp_stage_costs_peaks(const struct pp_stage_costs *c, const struct pp_sched *s,
                                    struct pp_activation *peaks, struct pp_err *err);

/* The highest of the ranks, if it is above --memory-limit.
 * @return PP_OK, PP_E_LIMIT naming rank, action, peak and limit; then *worst_p is set */
enum pp_status pp_activation_check(const struct pp_cost_options *o, const struct pp_sched *s,
                                   const struct pp_activation *peaks, struct pp_activation *worst_p,
                                   struct pp_err *err);

enum { PP_FRACTION_BYTES = 32 };

/* "5" or "4.25", ten digits. @return out */
const char *pp_fraction_text(int64_t num, int64_t den, char out[PP_FRACTION_BYTES]);

/* Reads a cost file: heading stage,f,i,w, then every stage once, durations as on the command line.
 * @param f_ns, i_ns, w_ns  [stage_count], overwritten
 * @return PP_OK, PP_E_FILE, PP_E_CSV, PP_E_RANGE with line and column, PP_E_NOMEM */
enum pp_status pp_cost_file_read(const char *path, int32_t stage_count, int64_t *f_ns,
                                 int64_t *i_ns, int64_t *w_ns, struct pp_err *err);

#endif
