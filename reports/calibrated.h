/**
 * @file calibrated.h
 * A calibration made from stored executions, and how it is shown.
 */
#ifndef PP_REPORTS_CALIBRATED_H
#define PP_REPORTS_CALIBRATED_H

#include "sim/calibration.h"

#include <jansson.h>
#include <stdio.h>

/**
 * Learns from all stored traces of each execution but its first, which warms up, unless that is its
 * only one; and from their profiles. Stores nothing.
 * @param ids    [count] executions or unique beginnings of ids; one named twice counts once
 * @param count  0: the execution begun last that has traces
 * @return PP_OK, PP_E_NOT_FOUND, PP_E_VALUE, PP_E_STORE, PP_E_NOMEM
 */
enum pp_status pp_calibrate_executions(struct pp_store *store, const char *const *ids,
                                       int32_t count, struct pp_calibration *calibration_p,
                                       struct pp_err *err);

/** For people. Write errors are left to the stream. @return PP_OK, PP_E_NOMEM */
enum pp_status pp_text_calibration(FILE *out, const struct pp_calibration *calibration,
                                   struct pp_err *err);

/** Adds the members to the document of `calibrate`. */
void pp_json_calibration(json_t *document, const struct pp_calibration *calibration);

#endif
