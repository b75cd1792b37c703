/**
 * @file compared.h
 * Stored executions held against their prediction or against one another: loaded, compared, shown.
 */
#ifndef PP_REPORTS_COMPARED_H
#define PP_REPORTS_COMPARED_H

#include "reports/prediction.h"
#include "sim/compare.h"

#include <jansson.h>
#include <stdio.h>

/** Which steps to look at, and how. */
struct pp_compare_choice {
    int64_t step; /* -1: of the steps with a trace, the first left out if there are others,
                     the one with the median makespan */
    const char *calibration; /* NULL: looked for, see prediction.h */
    int64_t tolerance_ns;    /* negative: see pp_compare */
};

/** An execution and the step of it that is looked at. */
struct pp_measured {
    struct pp_stored_execution execution;
    struct pp_trace trace;
    int64_t step;
    int32_t choice_count; /* steps that it was chosen from */
};

/** Owned; free with pp_compared_deinit. */
struct pp_compared {
    bool is_prediction;               /* a is the prediction of b, else a is `first` */
    struct pp_measured first, second; /* second is b */
    struct pp_prediction prediction;
    struct pp_comparison comparison;
};

/** Of one execution, against its prediction.
 *  @param id  an execution or a unique beginning of its id
 *  @return PP_OK, PP_E_NOT_FOUND (also no trace of the step), as pp_predict_execution */
enum pp_status pp_compared_load(struct pp_store *store, const char *id,
                                const struct pp_compare_choice *choice,
                                struct pp_compared *compared_p, struct pp_err *err);

/** Two executions. @return as above; PP_E_VALUE: of two programs */
enum pp_status pp_compared_load_pair(struct pp_store *store, const char *a, const char *b,
                                     const struct pp_compare_choice *choice,
                                     struct pp_compared *compared_p, struct pp_err *err);
void pp_compared_deinit(struct pp_compared *compared);

/** For people. Write errors are left to the stream. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_text_compared(FILE *out, const struct pp_compared *compared, struct pp_err *err);

/** Adds the members to the document of `compare`. */
void pp_json_compared(json_t *document, const struct pp_compared *compared);

#endif
