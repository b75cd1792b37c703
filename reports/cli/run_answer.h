/* What a run says: a row a step, and at the end all of it, as text or as one document. */
#ifndef PP_REPORTS_CLI_RUN_ANSWER_H
#define PP_REPORTS_CLI_RUN_ANSWER_H

#include "reports/cli/cli.h"
#include "reports/cli/run_job.h"

struct pp_run_row {
    int64_t step;
    bool has_loss, has_trace, in_order;
    double loss;
    int64_t makespan_ns, wall_ns; /* makespan: 0 without a trace */
    double bubble_ratio;
};

struct pp_run_answer {
    const struct pp_run_job *job;
    const char *schedule;
    char execution_id[33];   /* empty: not stored */
    int64_t resumed_from;    /* step; -1: from the beginning */
    struct pp_run_row *rows; /* [row_count], owned */
    int64_t row_count, row_capacity;
};

/** @return PP_OK, PP_E_NOMEM */
enum pp_status pp_run_answer_add(struct pp_run_answer *a, const struct pp_run_row *row,
                                 struct pp_err *err);
void pp_run_answer_deinit(struct pp_run_answer *a);

/* One line of progress, for people who wait. */
void pp_run_answer_progress(const struct pp_run_row *row, FILE *to);

json_t *pp_run_answer_json(const struct pp_run_answer *a);
/* @return PP_OK, PP_E_NOMEM */
enum pp_status pp_run_answer_text(const struct pp_run_answer *a, FILE *out, struct pp_err *err);

/* {"kind", "rank", "stage", "microbatch", "action", "waits": [...]}. */
json_t *pp_run_failure_json(const struct pp_program *program, const struct pp_failure *failure);

#endif
